/* builtin.c - the kernels of cl/gemm.cl: their specialisation and their grid.
 *
 * cpu: an item multiplies a block of rows x cols of C, both multiples of the register tile. Blocks are tall, because a
 * packed panel of B serves all rows of one, and there are enough of them to keep every core busy to the end.
 * gpu: a group of side x side items multiplies one tile. */
#include "blas/engines.h"
#include <stdio.h>
#include <string.h>

typedef struct shape {
    uint32_t side, tile_m, tile_n, tile_k;
    int64_t  rows, cols; /* of C, by one group */
} shape;

enum {
    MOST_ROWS        = 256, /* of a block: what of A one panel meets should stay in a core's own cache */
    BLOCKS_PER_CORE  = 8,   /* that many blocks let cores finish together */
    LEAST_TILES_HIGH = 4,   /* below this, packing a panel costs more than the balance gains */
    ITEM_OUTPUTS     = 8,   /* most rows, and most columns, of an item's share of a local tile */
};

static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

static shape cpu_shape(const clg_device_info *info, const clg__gemm *gemm)
{
    const clg_profile *p = &info->profile;
    shape s = {.side = 1, .tile_m = p->tile_m, .tile_n = p->tile_n, .tile_k = p->tile_k};
    if (gemm->n <= p->vec) s.tile_n = 1;
    const int64_t width = (int64_t)s.tile_n * p->vec;
    const int64_t enough = (int64_t)CLG__MAX(info->compute_units, 1) * BLOCKS_PER_CORE;

    s.cols = width;
    s.rows = round_up(ceil_div(gemm->m, ceil_div(gemm->m, MOST_ROWS)), s.tile_m);
#define BLOCKS(rows, cols) (ceil_div(gemm->m, rows) * ceil_div(gemm->n, cols) * gemm->batch)
    while (s.rows > LEAST_TILES_HIGH * (int64_t)s.tile_m && BLOCKS(s.rows, s.cols) < enough)
        s.rows = round_up(ceil_div(s.rows, 2), s.tile_m);
    while (s.cols < gemm->n && BLOCKS(s.rows, s.cols + width) >= 2 * enough) s.cols += width;
#undef BLOCKS
    return s;
}

static shape gpu_shape(const clg_device_info *info)
{
    const clg_profile *p = &info->profile;
    shape s = {.side = 16, .tile_k = p->tile_k};
    while (s.side > 2 && s.side * s.side > p->wg) s.side /= 2;
    s.tile_m = CLG__MIN(p->tile_m, s.side * ITEM_OUTPUTS);
    s.tile_n = CLG__MIN(p->tile_n, s.side * ITEM_OUTPUTS);
    while (s.tile_k > 1 && s.tile_k * (s.tile_m + s.tile_n + 2) * sizeof(float) > info->local_memory) s.tile_k /= 2;
    s.rows = s.tile_m;
    s.cols = s.tile_n;
    return s;
}

static clg__program *program_of(clg_context *ctx, const clg__gemm *gemm, const shape *s)
{
    clg__text defines = {0};
    clg__text_append(&defines, "#define BIAS %d\n#define EPILOGUE(T, a) (%s)\n", gemm->bias,
                     gemm->epilogue ? gemm->epilogue : "a");
    if (s)
        clg__text_append(&defines,
                         "#define TRANS_A %d\n#define TRANS_B %d\n#define TILE_SIDE %u\n#define TILE_M %u\n"
                         "#define TILE_N %u\n#define TILE_K %u\n",
                         gemm->trans_a, gemm->trans_b, s->side, s->tile_m, s->tile_n, s->tile_k);
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
    const bool cpu = strcmp(ctx->info->profile.base, "cpu") == 0;
    const shape s = cpu ? cpu_shape(ctx->info, gemm) : gpu_shape(ctx->info);
    snprintf(text, size, "built-in %s %ux%u %c%c", cpu ? "panel" : "tile", s.tile_m,
             cpu ? s.tile_n * ctx->info->profile.vec : s.tile_n, gemm->trans_a ? 'T' : 'N', gemm->trans_b ? 'T' : 'N');
    const clg__value args[] = {
        SPAN(at->a), SPAN(at->b), SPAN(at->c), SPAN(at->bias), I32(gemm->m), I32(gemm->n), I32(gemm->k),
        U64(gemm->stride_a), U64(gemm->stride_b), U64(gemm->stride_c), F32(gemm->beta), I32(s.rows), I32(s.cols),
    };
    return clg__kernel_create(ctx, &(clg__kernel_desc){
        .program = program_of(ctx, gemm, &s), .name = "gemm", .args = args, .arg_count = CLG__COUNT(args),
        .groups = {(size_t)ceil_div(gemm->n, s.cols), (size_t)ceil_div(gemm->m, s.rows), (size_t)gemm->batch},
        .local = {s.side, s.side, 1}});
}

clg__kernel *clg__builtin_finish(clg_context *ctx, const clg__gemm *gemm, const clg__operands *at)
{
    const clg_device_info *info = ctx->info;
    const int64_t rows = gemm->m * gemm->batch; /* batches of C lie one behind the other */
    const int64_t most = (int64_t)CLG__MAX(info->compute_units, 1) * info->profile.groups;
    const clg__value args[] = {SPAN(at->c), SPAN(at->bias), U32(rows), U32(gemm->n)};
    return clg__kernel_create(ctx, &(clg__kernel_desc){
        .program = program_of(ctx, gemm, NULL), .name = "gemm_finish", .args = args, .arg_count = CLG__COUNT(args),
        .groups = {(size_t)CLG__MIN(rows, most)}});
}
