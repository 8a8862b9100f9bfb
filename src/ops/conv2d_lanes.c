/* conv2d_lanes.c - which convolutions are done with channels as lanes, on CPU devices: by Winograd in cl/winograd.cl,
 * else directly in cl/conv2d_direct.cl; what is left are the matrix products of cl/conv2d.cl.
 *
 * Either way a core takes blocks of outputs whose input and products stay in its cache, in a workspace of its own. */
#include "ops/conv2d.h"
#include <string.h>

enum {
    CACHED         = 1 << 18, /* floats of transformed windows that stay in a core's cache while weights pass by */
    FEW_WEIGHTS    = 3 << 18, /* floats of transformed weights beyond which blocks may not each read them again */
    PIXELS         = 784,     /* outputs of a block of direct convolution */
    CHUNK          = 128,     /* taps in a few channels: their weights stay in half of the first cache */
    MOST_TAPS      = 256, MOST_ROWS = 64, /* as in cl/conv2d_direct.cl */
    LARGEST_REGION = 1 << 24, /* floats */
    MOST_WINDOWS   = 256,     /* of winograd_few */
    DEPTH          = 64,      /* channels whose weights winograd_few transforms at a time */
};

static void write_defines(clg__text *text, const clg__record *r, int op, const clg__tile *tile)
{
    clg__text_append(text, "#define FILTER %d\n#define PAST %d\n", op == FILTER,
                     op != FILTER && clg__past_caches(r->profile, (uint64_t)r->node->count));
    clg__conv2d_epilogue(text, r);
    clg__tile_define(text, tile);
}

/* ---- Winograd: kernels and layouts in cl/winograd.cl ------------------------------------------------------------- */

/* A convolution as cl/winograd.cl sees it, which for backward data is one of dy. */
typedef struct winograd {
    int      op;
    int64_t  m;       /* outputs of a window in each direction: 2 or 4 */
    int64_t  images, channels, outputs, pad;
    int64_t  src[2], dst[2];
    int64_t  rows, cols, high, wide, cap, blocks; /* a grid of windows, and blocks of them */
    int64_t  lanes, width;                        /* VEC, NR */
    uint64_t v, product, region;                  /* floats of a block */
    uint64_t cores;
    clg__tile tile;
} winograd;

/* Blocks such that the last one to finish does so early, among those whose windows stay in cache. */
static void choose_blocks(winograd *w)
{
    const int64_t squared = (w->m + 2) * (w->m + 2), most = CLG__MAX(CACHED / (squared * w->channels), 24);
    const int64_t rows = w->images * w->rows, across = (w->cols + most - 1) / most;
    int64_t       best = INT64_MAX;
    w->wide = (w->cols + across - 1) / across;
    for (int64_t high = 1; high <= rows && (high == 1 || (across == 1 && high * w->wide <= most)); high++) {
        const int64_t cap = CLG__ROUND_UP(high * w->wide, w->tile.m), blocks = (rows + high - 1) / high * across;
        const int64_t cost = (int64_t)CLG__CEIL_DIV((uint64_t)blocks, w->cores) * (cap + 4); /* a block reads all weights */
        if (cost > best) continue;
        best = cost;
        w->high = high, w->cap = cap, w->blocks = blocks;
    }
}

static bool winograd_of(winograd *w, const clg__record *r, const conv_attr *a, int op)
{
    if (strcmp(r->profile->base, "cpu") != 0 || r->profile->winograd < 2 || a->groups != 1) return false;
    for (int d = 0; d < 2; d++)
        if (a->w.dim[2 + d] != 3 || a->stride[d] != 1 || a->dilation[d] != 1 || a->pad[d] != a->pad[0] || a->pad[d] > 2)
            return false;
    const clg_shape *from = op == DATA ? &a->y : &a->x, *to = op == DATA ? &a->x : &a->y;
    *w = (winograd){.op = op, .m = r->profile->winograd, .images = a->x.dim[0],
                    .channels = from->dim[1], .outputs = to->dim[1],
                    .pad = op == DATA ? 2 - a->pad[0] : a->pad[0], .lanes = r->profile->vec,
                    .cores = (uint64_t)CLG__MAX(r->compute_units, 1),
                    .tile = clg__tile_choose(r->profile, r->local_memory, UINT32_MAX, (uint64_t)to->dim[1])};
    if (w->channels < w->lanes / 2 || w->outputs < w->lanes / 2) return false;
    memcpy(w->src, from->dim + 2, sizeof w->src);
    memcpy(w->dst, to->dim + 2, sizeof w->dst);
    w->rows = (w->dst[0] + w->m - 1) / w->m, w->cols = (w->dst[1] + w->m - 1) / w->m;
    choose_blocks(w);
    const int64_t squared = (w->m + 2) * (w->m + 2);
    w->width = w->lanes * w->tile.n;
    w->v = (uint64_t)(squared * (CLG__ROUND_UP(w->channels, w->lanes) * w->cap + w->lanes));
    w->product = (uint64_t)(squared * (w->cap * w->width + w->lanes));
    w->region = (uint64_t)(((w->high * w->m + 2) * (w->wide * w->m + 2) + w->lanes) * w->lanes);
    return true;
}

/* Is it better to transform weights for all windows than windows for all weights? */
static bool few_windows(const winograd *w)
{
    const int64_t squared = (w->m + 2) * (w->m + 2);
    return (uint64_t)w->blocks < w->cores ||
           (w->blocks * w->cap < MOST_WINDOWS && squared * w->channels * w->outputs > FEW_WEIGHTS);
}

static uint64_t most_groups(const winograd *w, int64_t units) { return CLG__MIN(w->cores, (uint64_t)units); }

#define GRID_ARGS(w) CLG__INT((w)->images), CLG__INT((w)->rows), CLG__INT((w)->cols), CLG__INT((w)->high), \
                     CLG__INT((w)->wide), CLG__INT((w)->cap)

enum { COMPUTES = false, PREPARES = true };

static clg_status winograd_launch(clg__record *r, const winograd *w, const char *kernel, bool prepares, uint64_t groups,
                                  const clg__arg *args, size_t count)
{
    clg__text defines = {0};
    clg__text_append(&defines, "#define WINOGRAD %d\n", (int)w->m);
    write_defines(&defines, r, w->op, &w->tile);
    const clg_status status = clg__record_kernel(r, &(clg__launch){
        .unit = "winograd", .kernel = kernel, .defines = defines.data, .args = args, .arg_count = count,
        .groups = {groups}, .local = {1, 1, 1}, .prepares = prepares});
    clg__text_free(&defines);
    return status;
}

static clg_status winograd_input(clg__record *r, const winograd *w, clg__arg x, clg__arg v)
{
    const uint64_t groups = most_groups(w, w->blocks * (CLG__ROUND_UP(w->channels, w->lanes) / w->lanes));
    return winograd_launch(r, w, "winograd_input", COMPUTES, groups,
                           CLG__ARGS(x, v, clg__floats_of(r, groups * w->region), CLG__ULONG(w->region), GRID_ARGS(w),
                                     CLG__INT(w->channels), CLG__INT(w->src[0]), CLG__INT(w->src[1]), CLG__INT(w->pad)));
}

static clg_status winograd_product(clg__record *r, const winograd *w, clg__arg weight, clg__arg src, clg__arg bias)
{
    const int64_t squared = (w->m + 2) * (w->m + 2), parts = (w->outputs + w->width - 1) / w->width;
    clg_status    status;
    if (few_windows(w)) {
        const int64_t  depth = CLG__ROUND_UP(CLG__MIN(w->channels, DEPTH), w->lanes);
        const uint64_t groups = most_groups(w, parts);
        const uint64_t u = (uint64_t)(squared * (depth * w->width + w->lanes));
        const uint64_t each = u + (uint64_t)w->blocks * w->product + w->region;
        const clg__arg v = clg__floats_of(r, (uint64_t)w->blocks * w->v);
        status = winograd_input(r, w, src, v);
        if (status != CLG_OK) return status;
        return winograd_launch(r, w, "winograd_few", COMPUTES, groups,
                               CLG__ARGS(weight, v, CONV_OPERANDS(bias), CLG__OUT, clg__floats_of(r, groups * each), CLG__ULONG(each),
                                         GRID_ARGS(w), CLG__INT(w->outputs), CLG__INT(w->channels), CLG__INT(w->dst[0]),
                                         CLG__INT(w->dst[1]), CLG__INT(w->op == DATA), CLG__INT(depth)));
    }
    const uint64_t groups = most_groups(w, w->blocks), each = w->v + w->product + w->region;
    const clg__arg u = clg__floats_of(r, (uint64_t)(squared * parts * (w->channels * w->width + w->lanes)));
    status = winograd_launch(r, w, "winograd_weights", PREPARES, most_groups(w, parts),
                             CLG__ARGS(weight, u, CLG__INT(w->outputs), CLG__INT(w->channels), CLG__INT(w->op == DATA)));
    if (status != CLG_OK) return status;
    return winograd_launch(r, w, "winograd", COMPUTES, groups,
                           CLG__ARGS(u, src, CONV_OPERANDS(bias), CLG__OUT, clg__floats_of(r, groups * each), CLG__ULONG(each), GRID_ARGS(w),
                                     CLG__INT(w->outputs), CLG__INT(w->channels), CLG__INT(w->src[0]),
                                     CLG__INT(w->src[1]), CLG__INT(w->dst[0]), CLG__INT(w->dst[1]), CLG__INT(w->pad)));
}

static clg_status winograd_gradient(clg__record *r, const winograd *w, clg__arg x, clg__arg dy)
{
    const int64_t  squared = (w->m + 2) * (w->m + 2), parts = (w->outputs + w->width - 1) / w->width;
    const bool     few = few_windows(w);
    const uint64_t shares = few ? 1 : most_groups(w, w->blocks), units = few ? most_groups(w, parts) : shares;
    const uint64_t sum = (uint64_t)(squared * w->lanes * w->width);
    const uint64_t each = (few ? (uint64_t)w->blocks * w->product : w->v + w->product) + sum + w->region;
    const uint64_t kept = shares * (uint64_t)(parts * w->channels * 9 * w->width) + (uint64_t)(w->lanes * w->width);
    const clg__arg partial = clg__floats_of(r, kept);
    clg_status     status;
    if (few) {
        const clg__arg v = clg__floats_of(r, (uint64_t)w->blocks * w->v);
        status = winograd_input(r, w, x, v);
        if (status == CLG_OK)
            status = winograd_launch(r, w, "winograd_filter_few", COMPUTES, units,
                                     CLG__ARGS(v, dy, partial, clg__floats_of(r, units * each), CLG__ULONG(each),
                                               GRID_ARGS(w), CLG__INT(w->outputs), CLG__INT(w->channels),
                                               CLG__INT(w->dst[0]), CLG__INT(w->dst[1])));
    } else {
        status = winograd_launch(r, w, "winograd_filter", COMPUTES, units,
                                 CLG__ARGS(x, dy, partial, clg__floats_of(r, units * each), CLG__ULONG(each), GRID_ARGS(w),
                                           CLG__INT(w->outputs), CLG__INT(w->channels), CLG__INT(w->src[0]),
                                           CLG__INT(w->src[1]), CLG__INT(w->dst[0]), CLG__INT(w->dst[1]),
                                           CLG__INT(w->pad), CLG__INT(shares)));
    }
    if (status != CLG_OK) return status;
    return winograd_launch(r, w, "winograd_sum", COMPUTES, most_groups(w, (w->outputs + w->lanes - 1) / w->lanes),
                           CLG__ARGS(partial, CLG__OUT, CLG__INT(w->outputs), CLG__INT(w->channels), CLG__INT(shares)));
}

/* ---- direct: kernels and layouts in cl/conv2d_direct.cl ----------------------------------------------------------- */

typedef struct direct {
    const conv_attr *a;
    int      op;
    int64_t  images, channels, outputs; /* of a group */
    int64_t  src[2], dst[2];
    int64_t  low[2], spread[2], step[2], skip[2], up[2];
    int64_t  high, wide, rows, cols, plane;
    int64_t  lanes, width; /* VEC, NR */
    uint64_t cores;
    clg__tile tile;
} direct;

int64_t clg__conv2d_meets(const conv_attr *a, int op, int d, int64_t *low)
{
    const int64_t taps = a->w.dim[2 + d], stride = a->stride[d];
    int64_t       last = INT64_MIN;
    *low = INT64_MAX;
    for (int64_t tap = 0; tap < taps; tap++) {
        int64_t at = tap * a->dilation[d] - a->pad[d];
        if (op == DATA) at = ((at % stride + stride) % stride - at) / stride;
        *low = CLG__MIN(*low, at);
        last = CLG__MAX(last, at);
    }
    return last - *low + 1;
}

static void meet(direct *c, int d)
{
    const conv_attr *a = c->a;
    const int64_t    stride = a->stride[d];
    c->spread[d] = clg__conv2d_meets(a, c->op, d, &c->low[d]);
    c->skip[d] = c->op != DATA && a->w.dim[2] * a->w.dim[3] == 1 ? stride : 1;
    c->step[d] = c->op == DATA ? 1 : stride / c->skip[d];
    c->up[d] = c->op == DATA ? stride : 1;
}

/* A block's outputs, so that its region and the weights of a few channels stay in cache. */
static void choose_block(direct *c)
{
    const int64_t rows = (c->dst[0] + c->up[0] - 1) / c->up[0], cols = (c->dst[1] + c->up[1] - 1) / c->up[1];
    const int64_t all = c->op == FILTER ? c->images * rows : rows, pieces = c->op == FILTER ? 2 : 0;
    const int64_t share = c->images * c->a->groups * rows * cols / (int64_t)(4 * c->cores);
    const int64_t pixels = CLG__MIN(CLG__MAX(share, c->tile.m), PIXELS);
    const int64_t most = c->op == FILTER ? cols : pixels, across = (cols + most - 1) / most;
    c->wide = (cols + across - 1) / across;
    if (across > 1) c->wide = CLG__ROUND_UP(c->wide, c->tile.m);
    if (c->op != FILTER && c->tile.m > 1 && CLG__ROUND_UP(c->wide, c->tile.m - 1) < CLG__ROUND_UP(c->wide, c->tile.m)) c->tile.m--;
    c->cols = ((c->op == FILTER ? c->wide : CLG__ROUND_UP(c->wide, c->tile.m)) - 1) * c->step[1] + c->spread[1];
    c->high = CLG__MIN(CLG__MIN(CLG__MAX(pixels / c->wide, 1), all), MOST_ROWS);
    for (;; c->high = (c->high + 1) / 2) {
        c->high = (all + (all + c->high - 1) / c->high - 1) / ((all + c->high - 1) / c->high); /* equal blocks */
        c->rows = (c->high - 1) * c->step[0] + c->spread[0];
        if (pieces) c->rows = c->high * c->step[0] + (c->high / c->dst[0] + pieces) * c->spread[0];
        c->plane = CLG__ROUND_UP(c->rows * c->cols + c->lanes, 16) + 16;
        if (c->high == 1 || c->plane * c->channels <= CACHED) return;
    }
}

static bool direct_of(direct *c, const clg__record *r, const conv_attr *a, int op)
{
    const int64_t window = a->w.dim[2] * a->w.dim[3], lanes = r->profile->vec;
    const clg_shape *from = op == DATA ? &a->y : &a->x, *to = op == DATA ? &a->x : &a->y;
    if (strcmp(r->profile->base, "cpu") != 0 || !r->profile->direct || window > MOST_TAPS) return false;
    *c = (direct){.a = a, .op = op, .images = a->x.dim[0], .channels = from->dim[1] / a->groups,
                  .outputs = to->dim[1] / a->groups, .lanes = lanes, .cores = (uint64_t)CLG__MAX(r->compute_units, 1),
                  .tile = clg__tile_choose(r->profile, r->local_memory, UINT32_MAX, (uint64_t)(to->dim[1] / a->groups))};
    const bool spread = op == DATA && a->stride[0] * a->stride[1] > 1; /* slow as a product, however few the outputs */
    if ((c->outputs < lanes / 2 && !spread) || c->channels * window < 8) return false;
    memcpy(c->src, from->dim + 2, sizeof c->src);
    memcpy(c->dst, to->dim + 2, sizeof c->dst);
    for (int d = 0; d < 2; d++) meet(c, d);
    if (op != FILTER && window == 1 && a->stride[0] * a->stride[1] == 1 && a->pad[0] + a->pad[1] == 0) {
        c->src[1] *= c->src[0], c->dst[1] *= c->dst[0]; /* an image is one row */
        c->src[0] = c->dst[0] = 1;
    }
    c->width = lanes * c->tile.n;
    choose_block(c);
    return c->plane <= LARGEST_REGION / c->channels;
}

static clg_status direct_launch(clg__record *r, const direct *c, const char *kernel, bool prepares, uint64_t units,
                                const clg__arg *args, size_t count)
{
    clg__text defines = {0};
    clg__text_append(&defines, "#define STEP %d\n#define NARROW 0\n", (int)c->step[1]);
    write_defines(&defines, r, c->op, &c->tile);
    const clg_status status = clg__record_kernel(r, &(clg__launch){
        .unit = "conv2d_direct", .kernel = kernel, .defines = defines.data, .args = args, .arg_count = count,
        .groups = {CLG__MIN(c->cores, units)}, .local = {1, 1, 1}, .prepares = prepares});
    clg__text_free(&defines);
    return status;
}

#define SHAPE_ARGS(c) CLG__INT((c)->images), CLG__INT((c)->a->groups), CLG__INT((c)->channels), CLG__INT((c)->outputs), \
                      CONV_INTS((c)->src), CONV_INTS((c)->dst)
#define AXES_ARGS(c)  CONV_INTS((c)->a->w.dim + 2), CONV_INTS((c)->a->stride), CONV_INTS((c)->a->pad), CONV_INTS((c)->a->dilation), \
                      CLG__INT((c)->op == DATA)
#define REGION_ARGS(c, rows) CLG__INT((c)->high), CLG__INT((c)->wide), CONV_INTS((c)->low), CLG__INT(rows), \
                             CLG__INT((c)->cols), CLG__INT((c)->plane), CLG__INT((c)->step[0]), CONV_INTS((c)->skip)

static clg_status direct_product(clg__record *r, const direct *c, clg__arg weight, clg__arg src, clg__arg bias)
{
    const int64_t  window = c->a->w.dim[2] * c->a->w.dim[3], parts = (c->outputs + c->width - 1) / c->width;
    const int64_t  padded = CLG__ROUND_UP(c->wide, c->tile.m);
    const uint64_t down = CLG__CEIL_DIV(CLG__CEIL_DIV((uint64_t)c->dst[0], (uint64_t)c->up[0]), (uint64_t)c->high);
    const uint64_t across = CLG__CEIL_DIV(CLG__CEIL_DIV((uint64_t)c->dst[1], (uint64_t)c->up[1]), (uint64_t)c->wide);
    const uint64_t units = (uint64_t)(c->images * c->a->groups) * down * across;
    const uint64_t each = (uint64_t)(c->channels * c->plane +
                                     (c->high * c->up[0] * padded * c->up[1] + c->lanes) * c->width);
    const clg__arg packed = clg__floats_of(r, (uint64_t)(c->a->groups * parts * c->channels * window * c->width));
    clg_status     status = direct_launch(r, c, "conv2d_pack", PREPARES, (uint64_t)(c->a->groups * parts),
                                          CLG__ARGS(weight, packed, CLG__INT(c->a->groups), CLG__INT(c->channels),
                                                    CLG__INT(c->outputs), AXES_ARGS(c)));
    if (status != CLG_OK) return status;
    return direct_launch(r, c, "conv2d_direct", COMPUTES, units,
                         CLG__ARGS(packed, src, CONV_OPERANDS(bias), CLG__OUT, clg__floats_of(r, CLG__MIN(c->cores, units) * each),
                                   CLG__ULONG(each), SHAPE_ARGS(c), AXES_ARGS(c), REGION_ARGS(c, c->rows),
                                   CLG__INT(CHUNK)));
}

static clg_status direct_gradient(clg__record *r, const direct *c, clg__arg x, clg__arg dy)
{
    const int64_t  taps = c->channels * c->a->w.dim[2] * c->a->w.dim[3], kept = CLG__ROUND_UP(taps, 16);
    const int64_t  parts = (c->outputs + c->width - 1) / c->width;
    const uint64_t blocks = CLG__CEIL_DIV((uint64_t)(c->images * c->dst[0]), (uint64_t)c->high);
    const uint64_t shares = CLG__MIN(c->cores, blocks);
    const uint64_t each = (uint64_t)(c->channels * c->plane + (c->high * c->wide + c->lanes) * c->width + kept);
    const clg__arg partial =
        clg__floats_of(r, (shares * (uint64_t)(c->a->groups * parts * kept) + (uint64_t)c->lanes) * (uint64_t)c->width);
    clg_status status = direct_launch(r, c, "conv2d_share", COMPUTES, shares,
                                      CLG__ARGS(x, dy, partial, clg__floats_of(r, shares * each), CLG__ULONG(each),
                                                SHAPE_ARGS(c), AXES_ARGS(c), REGION_ARGS(c, c->spread[0]),
                                                CLG__INT(shares)));
    if (status != CLG_OK) return status;
    return direct_launch(r, c, "conv2d_add", COMPUTES, (uint64_t)c->a->groups * CLG__CEIL_DIV((uint64_t)c->outputs, (uint64_t)c->lanes),
                         CLG__ARGS(partial, CLG__OUT, CLG__INT(c->a->groups), CLG__INT(c->outputs), CLG__INT(taps),
                                   CLG__INT(shares)));
}

/* ---- choice -------------------------------------------------------------------------------------------------------- */

bool clg__conv2d_lanes(clg__record *r, const conv_attr *a, int op, clg_status *status)
{
    const clg__arg bias = CLG__IN(op == CONV && r->node->arity == 3 ? 2 : 0);
    const clg__arg weight = CLG__IN(op == CONV ? 1 : 0), src = CLG__IN(op == CONV ? 0 : 1);
    winograd       w;
    direct         c;
    const bool     fast = winograd_of(&w, r, a, op);
    if (!fast && clg__conv2d_narrow(r, a, op, status)) return true;
    if (!fast && !direct_of(&c, r, a, op)) return false;
    if (op == FILTER)
        *status = fast ? winograd_gradient(r, &w, CLG__IN(0), CLG__IN(1)) : direct_gradient(r, &c, CLG__IN(0), CLG__IN(1));
    else
        *status = fast ? winograd_product(r, &w, weight, src, bias) : direct_product(r, &c, weight, src, bias);
    return true;
}
