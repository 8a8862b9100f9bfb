/* builtin.c - the kernels of cl/gemm.cl: their specialisation and their grid.
 *
 * cpu: an item multiplies a block of rows x cols of C, both multiples of the register tile. Blocks are tall, because a
 * packed panel of B serves all rows of one, and there are enough of them to keep every core busy to the end.
 * gpu: a group of side x side items multiplies one tile. */
#include "base/tile.h"
#include "blas/engines.h"
#include <stdio.h>

typedef struct shape {
    clg__tile tile;
    int64_t   rows, cols; /* of C, by one group */
} shape;

enum {
    MOST_ROWS        = 256, /* of a block: what of A one panel meets should stay in a core's own cache */
    BLOCKS_PER_CORE  = 8,   /* that many blocks let cores finish together */
    LEAST_TILES_HIGH = 4,   /* below this, packing a panel costs more than the balance gains */
};

static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

static shape choose_shape(const clg_device_info *info, const clg__gemm *gemm)
{
    const clg__tile t = clg__tile_choose(&info->profile, info->local_memory, (uint64_t)gemm->m, (uint64_t)gemm->n);
    shape s = {.tile = t, .rows = t.m, .cols = t.cols};
    if (t.side > 1) return s;
    const int64_t enough = (int64_t)CLG__MAX(info->compute_units, 1) * BLOCKS_PER_CORE;
    s.rows = round_up(ceil_div(gemm->m, ceil_div(gemm->m, MOST_ROWS)), t.m);
#define BLOCKS(rows, cols) (ceil_div(gemm->m, rows) * ceil_div(gemm->n, cols) * gemm->batch)
    while (s.rows > LEAST_TILES_HIGH * (int64_t)t.m && BLOCKS(s.rows, s.cols) < enough)
        s.rows = round_up(ceil_div(s.rows, 2), t.m);
    while (s.cols < gemm->n && BLOCKS(s.rows, s.cols + t.cols) >= 2 * enough) s.cols += t.cols;
#undef BLOCKS
    return s;
}

static clg__program *program_of(clg_context *ctx, const clg__gemm *gemm, const shape *s)
{
    clg__text defines = {0};
    clg__text_append(&defines, "#define BIAS %d\n#define OTHER %d\n#define EPILOGUE(T, a, b) (%s)\n", gemm->bias,
                     gemm->other, gemm->epilogue ? gemm->epilogue : "a");
    if (s) {
        clg__text_append(&defines, "#define TRANS_A %d\n#define TRANS_B %d\n", gemm->trans_a, gemm->trans_b);
        clg__tile_define(&defines, &s->tile);
    }
    clg__program *program = NULL;
    if (defines.failed) clg__fail(&ctx->root, CLG_OUT_OF_MEMORY, "out of host memory while preparing a matrix product");
    else program = clg__program_get(ctx, &(clg__program_desc){.unit = "gemm", .defines = defines.data});
    clg__text_free(&defines);
    return program;
}

#define SPAN(s) {.kind = CLG__SPAN, .span = (s)}
#define I32(v)  {.kind = CLG__I32, .i32 = (int32_t)(v)}
#define U32(v)  {.kind = CLG__U32, .u32 = (uint32_t)(v)}
#define U64(v)  {.kind = CLG__U64, .u64 = (uint64_t)(v)}
#define F32(v)  {.kind = CLG__F32, .f32 = (v)}

clg__kernel *clg__builtin_gemm(clg_context *ctx, const clg__gemm *gemm, const clg__operands *at, char *text,
                               size_t size)
{
    const shape s = choose_shape(ctx->info, gemm);
    snprintf(text, size, "built-in %s %ux%u %c%c", s.tile.side == 1 ? "panel" : "tile", s.tile.m, s.tile.cols,
             gemm->trans_a ? 'T' : 'N', gemm->trans_b ? 'T' : 'N');
    const clg__value args[] = {
        SPAN(at->a), SPAN(at->b), SPAN(at->c), SPAN(at->bias), SPAN(at->other), I32(gemm->m), I32(gemm->n), I32(gemm->k),
        U64(gemm->stride_a), U64(gemm->stride_b), U64(gemm->stride_c), F32(gemm->beta), I32(s.rows), I32(s.cols),
    };
    return clg__kernel_create(ctx, &(clg__kernel_desc){
        .program = program_of(ctx, gemm, &s), .name = "gemm", .args = args, .arg_count = CLG__COUNT(args),
        .groups = {(size_t)ceil_div(gemm->n, s.cols), (size_t)ceil_div(gemm->m, s.rows), (size_t)gemm->batch},
        .local = {s.tile.side, s.tile.side, 1}});
}

clg__kernel *clg__builtin_finish(clg_context *ctx, const clg__gemm *gemm, const clg__operands *at)
{
    const clg_device_info *info = ctx->info;
    const int64_t rows = gemm->m * gemm->batch; /* batches of C lie one behind the other */
    const int64_t most = (int64_t)CLG__MAX(info->compute_units, 1) * info->profile.groups;
    const clg__value args[] = {SPAN(at->c), SPAN(at->bias), SPAN(at->other), U32(rows), U32(gemm->n)};
    return clg__kernel_create(ctx, &(clg__kernel_desc){
        .program = program_of(ctx, gemm, NULL), .name = "gemm_finish", .args = args, .arg_count = CLG__COUNT(args),
        .groups = {(size_t)CLG__MIN(rows, most)}});
}
