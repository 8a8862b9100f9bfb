/* builtin.c - the kernels of cl/gemm.cl: their specialisation and their grid.
 *
 * cpu: every group computes its share of C's tiles with its own copies of operands, so groups are few, as many as the
 * cores or a small multiple, and their number in each direction is what costs the least by a model of the cycles.
 * gpu: a group of side x side items multiplies one tile. */
#include "base/tile.h"
#include "blas/engines.h"
#include <stdio.h>
#include <string.h>

typedef struct shape {
    clg__tile tile;
    bool      pack_a, pack_b; /* cpu: operands are copied */
    uint32_t  block_tiles;    /* cpu: tiles of A that a group may pack */
    int64_t   down, across;   /* groups over C's rows, over its columns */
} shape;

enum {
    ROUNDS      = 4,       /* at most so many groups a core */
    COPY        = 4,       /* cycles to pack a vector, misses of the caches included */
    TRANSPOSE   = 8,       /* the same, transposed */
    SMALL_BLOCK = 4,       /* tiles of A that a group may pack in any case */
    MOST_BLOCK  = 5 << 18, /* bytes, for private memory lies on a stack */
};

static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* Cycles of the busiest group, times the groups that a core gets. */
static double cost(const clg__gemm *g, const shape *s, uint32_t vec, uint32_t cores)
{
    const double  k = (double)CLG__MAX(g->k, 1);
    const int64_t rows = ceil_div(ceil_div(g->m, s->tile.m), s->down) * s->tile.m;
    const int64_t panels = ceil_div(ceil_div(g->n, s->tile.cols), s->across);
    const double  tiles = (double)(rows / s->tile.m * panels);
    const double  a = s->pack_a ? (double)rows / vec * (g->trans_a ? COPY : TRANSPOSE) : 0.0;
    const double  b = s->pack_b ? (double)(panels * s->tile.n) * (g->trans_b ? TRANSPOSE : COPY) : 0.0;
    return (tiles * clg__tile_cycles(&s->tile) + a + b) * k *
           (double)ceil_div(s->down * s->across * CLG__MAX(g->batch, 1), cores);
}

static shape choose_panels(const clg_device_info *info, const clg__gemm *g)
{
    const clg_profile *p = &info->profile;
    const uint32_t     cores = CLG__MAX(info->compute_units, 1);
    shape              s = {.down = 1, .across = 1};
    s.tile = clg__tile_registers(p, (uint64_t)g->m, (uint64_t)g->n, (uint64_t)g->k);

    /* A tile's rows are read once a panel: copies pay from the second on. A panel serves every tile of rows. */
    s.pack_a = g->n > s.tile.cols;
    s.pack_b = g->trans_b || g->n < s.tile.cols || g->m > 4 * (int64_t)s.tile.m;
    if (!s.pack_a) s.tile.m = CLG__MIN(s.tile.m, 8); /* a register to each row's address */
    const uint64_t tile_bytes = (uint64_t)ceil_div(s.tile.m, p->vec) * p->vec * s.tile.k * sizeof(float);
    s.block_tiles = (uint32_t)CLG__MAX(CLG__MIN(info->local_memory * 5 / 8, MOST_BLOCK) / tile_bytes, SMALL_BLOCK);

    const int64_t tall = ceil_div(g->m, s.tile.m), wide = ceil_div(g->n, s.tile.cols);
    const int64_t least = s.pack_a ? ceil_div(tall, s.block_tiles) : 1;
    double        best = 0.0;
    for (int64_t down = least; down <= CLG__MIN(tall, least + ROUNDS * (int64_t)cores); down++)
        for (int64_t across = 1; across <= CLG__MIN(wide, ROUNDS * (int64_t)cores); across++) {
            shape t = s;
            t.down = down;
            t.across = across;
            const double c = cost(g, &t, p->vec, cores);
            if (best > 0.0 && c >= best) continue;
            best = c;
            s.down = down, s.across = across;
        }
    return s;
}

static shape choose_shape(const clg_device_info *info, const clg__gemm *gemm)
{
    if (strcmp(info->profile.base, "cpu") == 0) return choose_panels(info, gemm);
    const clg__tile t = clg__tile_choose(&info->profile, info->local_memory, (uint64_t)gemm->m, (uint64_t)gemm->n);
    return (shape){.tile = t, .down = ceil_div(gemm->m, t.m), .across = ceil_div(gemm->n, t.cols)};
}

static clg__program *program_of(clg_context *ctx, const clg__gemm *gemm, const shape *s)
{
    clg__text defines = {0};
    clg__text_append(&defines, "#define BIAS %d\n#define OTHER %d\n#define EPILOGUE(T, a, b) (%s)\n", gemm->bias,
                     gemm->other, gemm->epilogue ? gemm->epilogue : "a");
    if (s) {
        clg__text_append(&defines, "#define TRANS_A %d\n#define TRANS_B %d\n", gemm->trans_a, gemm->trans_b);
        clg__tile_define(&defines, &s->tile);
        if (s->tile.side == 1)
            clg__text_append(&defines, "#define PACK_A %d\n#define PACK_B %d\n#define BLOCK_TILES %u\n", s->pack_a,
                             s->pack_b, s->block_tiles);
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
        SPAN(at->a), SPAN(at->b), SPAN(at->c), SPAN(at->bias), SPAN(at->other),
        I32(gemm->m), I32(gemm->n), I32(gemm->k),
        U64(gemm->stride_a), U64(gemm->stride_b), U64(gemm->stride_c), F32(gemm->beta),
    };
    return clg__kernel_create(ctx, &(clg__kernel_desc){
        .program = program_of(ctx, gemm, &s), .name = "gemm", .args = args, .arg_count = CLG__COUNT(args),
        .groups = {(size_t)s.across, (size_t)s.down, (size_t)gemm->batch},
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
