/* builtin.c - the kernels of cl/gemm.cl: their specialisation and their grid.
 *
 * cpu: groups, as many as the cores, claim units of C's tiles, each of which wants copies of its operands: so units are few,
 * and their number in each direction is what costs the least by a model of the cycles.
 * gpu: a group of side x side items multiplies one tile. */
#include "base/tile.h"
#include "blas/tuned.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct shape {
    clg__tile tile;
    bool      pack_a, pack_b; /* cpu: operands are copied */
    uint32_t  step;           /* cpu: depth of a panel */
    uint32_t  block;          /* cpu: vectors of packed A, at most */
    int64_t   down, across;   /* units over C's rows, over its columns; gpu: groups */
} shape;

enum {
    ROUNDS      = 16,      /* at most so many units a core */
    READ        = 1,       /* cycles that a vector's misses of the caches take where it is read in place, */
    COPY        = 8,       /* to pack it, misses included, */
    TRANSPOSE   = 12,      /* to do so transposed, */
    FAR         = 2,       /* so many times as many where A's rows are LONG_ROW bytes or more: each lies in a page of its own */
    SMALL_BLOCK = 4,       /* tiles of A that a group may pack in any case */
    MOST_BLOCK  = 5 << 18, /* bytes, for private memory lies on a stack */
    SAME_SET    = 4096,    /* bytes: so far apart, lines compete for one set of a cache */
    FEW_PANELS  = 4,       /* that read A in place for less than its packing costs, */
    MORE_PANELS = 32,      /* the same where packing transposes it */
    LONG_ROW    = 8192,    /* bytes: in place, a panel of B of such rows falls out of the caches */
    MANY_TILES  = 256,     /* of A, for which a panel of B is best read in order */
};

#define UNEVEN 0.15 /* of a unit: what the last core to end takes longer */

/* What the cpu body takes as an argument, so that few programs serve all products: cl/gemm.cl. Epilogues that many networks
 * have are in every program; another one makes a program of its own. */
enum { TURN_A = 1, TURN_B = 2, PACK_A = 4, PACK_B = 8, ADD_BIAS = 16, READ_OTHER = 32, FIRST_EPILOGUE = 64 };
static const char *const usual_epilogues[] = {
    "a < (T)0 ? (T)0 : a",  /* relu */
    "b <= (T)0 ? (T)0 : a", /* its gradient */
    "a + b", "b + a",       /* a residual, in either order */
};

/* Bytes of a row of A as it is stored. */
static int64_t row_of_a(const clg__gemm *g)
{
    return (g->trans_a ? g->m : g->k) * (int64_t)sizeof(float);
}

/* Cycles until all is done: units are claimed, so cores have as much to do as each other, but for the last unit; and the core
 * that takes that one may be a slow one. */
static double cost(const clg__gemm *g, const shape *s, uint32_t vec, uint32_t cores)
{
    const int64_t tall = CLG__CEIL_DIV(g->m, s->tile.m), wide = CLG__CEIL_DIV(g->n, s->tile.cols);
    const int64_t units = s->down * s->across * CLG__MAX(g->batch, 1);
    const int     far = row_of_a(g) >= LONG_ROW ? FAR : 1;
    const double  a = s->tile.m / (double)vec * (!s->pack_a ? READ : far * (g->trans_a ? COPY : TRANSPOSE));
    const double  b = s->tile.n * (!s->pack_b ? READ : g->trans_b ? TRANSPOSE : COPY);
    const double  each[2] = {(double)tall / (double)s->down, (double)wide / (double)s->across}, tile = clg__tile_cycles(&s->tile);
    const double  most[2] = {ceil(each[0]), ceil(each[1])};
    const double  average = each[0] * each[1] * tile + each[0] * a + each[1] * b;
    const double  largest = most[0] * most[1] * tile + most[0] * a + most[1] * b;
    return (double)CLG__MAX(g->k, 1) * ((double)(CLG__CEIL_DIV(units, cores) - 1) * average + (1.0 + UNEVEN) * largest);
}

/* A tile that won at another shape of its class may waste more of this one. */
static clg__tile tuned_tile(clg__tile model, const clg__choice *tuned, const clg__gemm *g, uint32_t vec)
{
    clg__tile     t = model;
    const int64_t least = CLG__CEIL_DIV(g->m, model.m) * model.m * CLG__CEIL_DIV(g->n, model.cols) * model.cols;
    if (tuned->m > 0) t.m = tuned->m, t.n = tuned->n, t.cols = tuned->n * vec;
    if (CLG__CEIL_DIV(g->m, t.m) * t.m * CLG__CEIL_DIV(g->n, t.cols) * t.cols > least + least / 10) t = model;
    if (tuned->k > 0) t.k = tuned->k;
    return t;
}

static shape choose_panels(const clg_device_info *info, const clg__gemm *g, const clg__choice *tuned)
{
    const clg_profile *p = &info->profile;
    const uint32_t     cores = CLG__MAX(info->compute_units, 1);
    shape              s = {.down = 1, .across = 1};
    s.tile = tuned_tile(clg__tile_registers(p, (uint64_t)g->m, (uint64_t)g->n, (uint64_t)g->k), tuned, g, p->vec);

    /* A block streams through the multiplications in order, so it may take all of the cache: fewer blocks pack B less often. */
    const uint64_t block = CLG__MIN(info->local_memory, MOST_BLOCK) / sizeof(float);
    s.block = (uint32_t)CLG__MAX(block, SMALL_BLOCK * (s.tile.m * s.tile.k + p->vec)) / p->vec;

    /* A tile's rows are read once a panel, a panel once a tile: copies pay where that is often, or what is read in place
     * would not stay in the caches meanwhile. */
    s.pack_a = CLG__CEIL_DIV(g->n, s.tile.cols) > (g->trans_a ? FEW_PANELS : MORE_PANELS) || row_of_a(g) % SAME_SET == 0;
    s.pack_b = g->trans_b || g->n % s.tile.cols != 0 || g->n * (int64_t)sizeof(float) >= LONG_ROW ||
               g->m > MANY_TILES * (int64_t)s.tile.m;
    if (tuned->pack_b && !g->trans_b && g->n % s.tile.cols == 0) s.pack_b = tuned->pack_b == 2;

    const int64_t tall = CLG__CEIL_DIV(g->m, s.tile.m), wide = CLG__CEIL_DIV(g->n, s.tile.cols), most = ROUNDS * (int64_t)cores;
    const int64_t passes = CLG__MAX(CLG__CEIL_DIV(g->k, s.tile.k), 1);
    s.step = (uint32_t)CLG__ROUND_UP(CLG__MAX(CLG__CEIL_DIV(g->k, passes), 1), p->vec);
    const int64_t least = s.pack_a ? CLG__CEIL_DIV(tall, (int64_t)(s.block * p->vec / (s.step * s.tile.m + p->vec))) : 1;
    shape         best = s;
    double        lowest = INFINITY;
    for (s.down = least; s.down <= CLG__MIN(tall, least + most); s.down++)
        for (s.across = 1; s.across <= CLG__MIN(wide, CLG__MAX(most / s.down, 1)); s.across++) {
            const double c = cost(g, &s, p->vec, cores);
            if (c >= lowest) continue;
            lowest = c;
            best = s;
        }
    return best;
}

static shape choose_shape(const clg_device_info *info, const clg__gemm *gemm, clg__choice tuned)
{
    if (strcmp(info->profile.base, "cpu") == 0) return choose_panels(info, gemm, &tuned);
    clg_profile p = info->profile;
    if (tuned.m > 0) p.tile_m = tuned.m, p.tile_n = tuned.n;
    if (tuned.k > 0) p.tile_k = tuned.k;
    const clg__tile t = clg__tile_choose(&p, info->local_memory, (uint64_t)gemm->m, (uint64_t)gemm->n);
    return (shape){.tile = t, .down = CLG__CEIL_DIV(gemm->m, t.m), .across = CLG__CEIL_DIV(gemm->n, t.cols)};
}

/* The number of the product's epilogue in the cpu body, 0 being none. */
static uint32_t epilogue_number(const clg__gemm *gemm)
{
    uint32_t i = 0;
    if (!gemm->epilogue) return 0;
    while (i < CLG__COUNT(usual_epilogues) && strcmp(gemm->epilogue, usual_epilogues[i]) != 0) i++;
    return i + 1;
}

static uint32_t flags_of(const clg__gemm *g, const shape *s)
{
    return (g->trans_a ? TURN_A : 0u) | (g->trans_b ? TURN_B : 0u) | (s->pack_a ? PACK_A : 0u) | (s->pack_b ? PACK_B : 0u) |
           (g->bias ? ADD_BIAS : 0u) | (g->other ? READ_OTHER : 0u) | epilogue_number(g) * FIRST_EPILOGUE;
}

static void define_panels(clg__text *defines, const clg__gemm *gemm, const shape *s)
{
    clg__text_append(defines, "#define BLOCK %u\n#define TURN_A %du\n#define TURN_B %du\n#define PACK_A %du\n"
                     "#define PACK_B %du\n#define ADD_BIAS %du\n#define READ_OTHER %du\n#define FIRST_EPILOGUE %du\n"
                     "#define EPILOGUES(X)", s->block, TURN_A, TURN_B, PACK_A, PACK_B, ADD_BIAS, READ_OTHER, FIRST_EPILOGUE);
    for (uint32_t i = 0; i < CLG__COUNT(usual_epilogues); i++)
        clg__text_append(defines, " X(%u, (%s))", i + 1, usual_epilogues[i]);
    if (epilogue_number(gemm) > CLG__COUNT(usual_epilogues))
        clg__text_append(defines, " X(%u, (%s))", epilogue_number(gemm), gemm->epilogue);
    clg__text_append(defines, "\n");
}

static clg__program *program_of(clg_context *ctx, const clg__gemm *gemm, const shape *s)
{
    clg__text defines = {0};
    if (s) clg__tile_define(&defines, &s->tile);
    if (s && s->tile.side == 1)
        define_panels(&defines, gemm, s);
    else
        clg__text_append(&defines, "#define BIAS %d\n#define OTHER %d\n#define EPILOGUE(T, a, b) (%s)\n", gemm->bias,
                         gemm->other, gemm->epilogue ? gemm->epilogue : "a");
    if (s && s->tile.side > 1)
        clg__text_append(&defines, "#define TRANS_A %d\n#define TRANS_B %d\n", gemm->trans_a, gemm->trans_b);
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
    const shape s = choose_shape(ctx->info, gemm, clg__tuned_choice(ctx, gemm));
    snprintf(text, size, "built-in %s %ux%ux%u %c%c%s%s", s.tile.side == 1 ? "panel" : "tile", s.tile.m, s.tile.cols,
             s.tile.k, gemm->trans_a ? 'T' : 'N', gemm->trans_b ? 'T' : 'N', s.pack_a ? ", A packed" : "",
             s.pack_b ? ", B packed" : "");
    const clg__value args[] = {
        SPAN(at->a), SPAN(at->b), SPAN(at->c), SPAN(at->bias), SPAN(at->other),
        I32(gemm->m), I32(gemm->n), I32(gemm->k),
        U64(gemm->stride_a), U64(gemm->stride_b), U64(gemm->stride_c), F32(gemm->beta),
        I32(s.step), U32(flags_of(gemm, &s)), U32(gemm->batch), U32(s.down), U32(s.across), /* cpu */
    };
    const bool   cpu = s.tile.side == 1;
    const size_t arg_count = CLG__COUNT(args) - (cpu ? 0 : 5), cores = CLG__MAX(ctx->info->compute_units, 1);
    return clg__kernel_create(ctx, &(clg__kernel_desc){
        .program = program_of(ctx, gemm, &s), .name = "gemm", .args = args, .arg_count = arg_count,
        .groups = {cpu ? CLG__MIN(cores, (size_t)(s.across * s.down * gemm->batch)) : (size_t)s.across,
                   cpu ? 1 : (size_t)s.down, cpu ? 1 : (size_t)gemm->batch},
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
