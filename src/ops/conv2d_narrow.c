/* conv2d_narrow.c - convolutions whose groups have fewer outputs than a vector has lanes, on CPU devices: pixels are lanes in
 * the narrow kernels of cl/conv2d_direct.cl. Depthwise convolutions are of this kind, and so are an image's last layers. */
#include "ops/conv2d.h"
#include <string.h>

enum {
    CACHED         = 1 << 16, /* floats of a region and its sums that stay in a core's cache */
    MOST_TAPS      = 256, MOST_PHASES = 64, /* as in cl/conv2d_direct.cl */
    MOST_AT_ONCE   = 4, /* outputs, whose sums are in registers */
    UNITS_PER_CORE = 8,
    LARGEST_SUMS   = 1 << 20, /* floats */
    ROOM           = 5, /* vectors behind a region that loads may touch: a run of four, and one that is written behind */
};

typedef struct narrow {
    const conv_attr *a;
    int      op;
    int64_t  images, channels, outputs; /* of a group */
    int64_t  src[2], dst[2], low[2], spread[2], step[2], up[2];
    int64_t  high, wide, rows, pitch, plane; /* a block of a phase's outputs, and its region */
    int64_t  lanes, at_once;
    uint64_t cores, units;
} narrow;

/* Blocks that stay in cache, and are enough for all cores. */
static void choose_block(narrow *c)
{
    const int64_t tall = CLG__CEIL_DIV(c->dst[0], c->up[0]), across = CLG__CEIL_DIV(c->dst[1], c->up[1]);
    const int64_t phases = c->up[0] * c->up[1], parts = c->step[0] * c->step[1];
    const int64_t wanted = (int64_t)c->cores * UNITS_PER_CORE, planes = c->images * c->a->groups;
    int64_t       least = c->op == FILTER ? 1 : CLG__CEIL_DIV(wanted, planes); /* of blocks of an image */
    for (c->wide = across, c->high = tall;; ) {
        c->rows = c->high + (c->spread[0] - 1) / c->step[0];
        c->pitch = c->wide + (c->spread[1] - 1) / c->step[1];
        c->plane = parts * c->rows * c->pitch + c->pitch - c->wide + ROOM * c->lanes;
        const int64_t floats = c->channels * c->plane + c->at_once * phases * c->high * c->pitch;
        const int64_t blocks = CLG__CEIL_DIV(tall, c->high) * CLG__CEIL_DIV(across, c->wide);
        if (floats <= CACHED && blocks >= CLG__MIN(least, tall)) break;
        if (c->high > 1) c->high = (c->high + 1) / 2;
        else if (c->wide > 16 * c->lanes) c->wide = CLG__ROUND_UP((c->wide + 1) / 2, c->lanes);
        else break;
    }
    c->units = (uint64_t)(planes * CLG__CEIL_DIV(tall, c->high) * CLG__CEIL_DIV(across, c->wide));
}

static bool narrow_of(narrow *c, const clg__record *r, const conv_attr *a, int op)
{
    const clg_shape *from = op == DATA ? &a->y : &a->x, *to = op == DATA ? &a->x : &a->y;
    if (strcmp(r->profile->base, "cpu") != 0 || !r->profile->direct || a->w.dim[2] * a->w.dim[3] > MOST_TAPS) return false;
    *c = (narrow){.a = a, .op = op, .images = a->x.dim[0], .channels = from->dim[1] / a->groups, .outputs = to->dim[1] / a->groups,
                  .lanes = r->profile->vec, .cores = (uint64_t)CLG__MAX(r->compute_units, 1)};
    if (c->outputs >= c->lanes / 2) return false;
    c->at_once = op == FILTER ? 1 : CLG__CEIL_DIV(c->outputs, CLG__CEIL_DIV(c->outputs, MOST_AT_ONCE));
    memcpy(c->src, from->dim + 2, sizeof c->src);
    memcpy(c->dst, to->dim + 2, sizeof c->dst);
    for (int d = 0; d < 2; d++) {
        c->spread[d] = clg__conv2d_meets(a, op, d, &c->low[d]);
        c->step[d] = op == DATA ? 1 : a->stride[d];
        c->up[d] = op == DATA ? a->stride[d] : 1;
    }
    if (c->up[0] > MOST_PHASES || c->up[1] > MOST_PHASES || c->up[0] * c->up[1] > MOST_PHASES) return false;
    choose_block(c);
    return c->channels * c->plane <= 1 << 24 && c->channels * c->outputs * a->w.dim[2] * a->w.dim[3] <= LARGEST_SUMS;
}

static clg_status launch(clg__record *r, const narrow *c, const char *kernel, uint64_t units, const clg__arg *args, size_t count)
{
    const clg__tile tile = {.side = 1, .m = 1, .n = 1, .k = 1, .cols = (uint32_t)c->lanes};
    clg__text       defines = {0};
    clg__text_append(&defines, "#define STEP %d\n#define NARROW %d\n#define FILTER %d\n#define PAST 0\n", (int)c->step[1],
                     (int)c->at_once, c->op == FILTER);
    clg__conv2d_epilogue(&defines, r);
    clg__tile_define(&defines, &tile);
    const clg_status status = clg__record_kernel(r, &(clg__launch){
        .unit = "conv2d_direct", .kernel = kernel, .defines = defines.data, .args = args, .arg_count = count,
        .groups = {CLG__MIN(c->cores, units)}, .local = {1, 1, 1}});
    clg__text_free(&defines);
    return status;
}

#define SHAPE_ARGS(c) CLG__INT((c)->images), CLG__INT((c)->a->groups), CLG__INT((c)->channels), CLG__INT((c)->outputs), \
                      CONV_INTS((c)->src), CONV_INTS((c)->dst), CONV_INTS((c)->a->w.dim + 2), CONV_INTS((c)->a->stride), CONV_INTS((c)->a->pad), \
                      CONV_INTS((c)->a->dilation), CLG__INT((c)->op == DATA)
#define BLOCK_ARGS(c) CLG__INT((c)->high), CLG__INT((c)->wide), CONV_INTS((c)->low), CLG__INT((c)->rows), CLG__INT((c)->pitch), \
                      CLG__INT((c)->plane), CLG__INT((c)->step[0])

static clg_status product(clg__record *r, const narrow *c, clg__arg weight, clg__arg src, clg__arg bias)
{
    const uint64_t length = (uint64_t)CLG__ROUND_UP(c->high * c->pitch, 4 * c->lanes), groups = CLG__MIN(c->cores, c->units);
    const uint64_t each = (uint64_t)(c->channels * c->plane) + (uint64_t)(c->at_once * c->up[0] * c->up[1]) * length +
                          (uint64_t)c->lanes;
    return launch(r, c, "conv2d_narrow", c->units,
                  CLG__ARGS(weight, src, CONV_OPERANDS(bias), CLG__OUT, clg__floats_of(r, groups * each), CLG__ULONG(each),
                            SHAPE_ARGS(c), BLOCK_ARGS(c)));
}

static clg_status gradient(clg__record *r, const narrow *c)
{
    const uint64_t groups = (uint64_t)c->a->groups, count = (uint64_t)r->node->count, sums = count / groups;
    const uint64_t shares = CLG__MIN(CLG__CEIL_DIV(c->cores * UNITS_PER_CORE, groups), (uint64_t)c->images);
    const uint64_t units = shares * groups, length = (uint64_t)CLG__ROUND_UP(c->high * c->pitch, c->lanes);
    const uint64_t each = (uint64_t)(c->channels * c->plane) + length + (sums + 1) * (uint64_t)c->lanes;
    const clg__arg partial = shares == 1 ? CLG__OUT : clg__floats_of(r, shares * count);
    const clg_status status =
        launch(r, c, "conv2d_narrow_filter", units,
               CLG__ARGS(CLG__IN(0), CLG__IN(1), partial, clg__floats_of(r, CLG__MIN(c->cores, units) * each), CLG__ULONG(each),
                         SHAPE_ARGS(c), BLOCK_ARGS(c), CLG__INT(shares)));
    if (status != CLG_OK || shares == 1) return status;
    return launch(r, c, "conv2d_narrow_add", CLG__CEIL_DIV(count, (uint64_t)c->lanes),
                  CLG__ARGS(partial, CLG__OUT, CLG__INT(count), CLG__INT(shares)));
}

bool clg__conv2d_narrow(clg__record *r, const conv_attr *a, int op, clg_status *status)
{
    const clg__arg bias = CLG__IN(op == CONV && r->node->arity == 3 ? 2 : 0);
    narrow         c;
    if (!narrow_of(&c, r, a, op)) return false;
    *status = op == FILTER ? gradient(r, &c) : product(r, &c, CLG__IN(op == CONV ? 1 : 0), CLG__IN(op == CONV ? 0 : 1), bias);
    return true;
}
