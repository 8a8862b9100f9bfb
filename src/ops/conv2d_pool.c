/* conv2d_pool.c - max_pool2d(relu(conv2d(x, w, b))) as one operator, for few input channels and windows side by side.
 *
 * There the convolution is small and its result large: 32 channels of it, of which pooling keeps a quarter. So the result
 * never reaches memory. The kernels hold one image a lane: x is laid out as [N / lanes, C, H, W, lanes] with the
 * convolution's border, after which every tap of every pixel is an aligned vector and no image size leaves a tail.
 *
 *   conv2d_pool         [value [N, O, PH, PW] | code [N / lanes, O, PH PW, lanes], in bytes | x by lanes]
 *   conv2d_pool_filter  (conv2d_pool, dvalue) -> [dw | db]
 *
 * code is the place of the maximum in its window, or -1 where ReLU let nothing through. All other derivatives are made
 * of the operators that this one stands for. */
#include "ops/conv2d.h"

typedef struct fused_attr {
    conv_attr conv;
    pool_attr pool;
    int64_t   lanes;
} fused_attr;

enum { FUSED, VALUE, FUSED_FILTER, DW, DB };
extern const clg__op clg__ops_conv2d_pool[];
#define OP(name) (&clg__ops_conv2d_pool[name])

enum {
    MOST_TAPS = 32,          /* of one output: beyond, the convolution is worth its own kernel */
    MOST_OF_BLOCK = 1 << 29, /* elements, which GPUs have offsets of 32 bits in bytes for */
};

typedef struct layout {
    clg_shape value;
    int64_t   rows, channels, pixels, taps, blocks; /* pixels of the pooled image */
    int64_t   height, width;                        /* of x with its border */
    int64_t   code, x, end, db, filter_end;         /* elements */
} layout;

static layout layout_of(const fused_attr *a)
{
    const int64_t *x = a->conv.x.dim, *y = a->conv.y.dim;
    layout l = {.rows = y[1], .channels = x[1], .taps = x[1] * a->conv.w.dim[2] * a->conv.w.dim[3],
                .blocks = (x[0] + a->lanes - 1) / a->lanes, .height = x[2] + 2 * a->conv.pad[0],
                .width = x[3] + 2 * a->conv.pad[1]};
    l.value = CLG_SHAPE(x[0], y[1], y[2] / a->pool.kernel[0], y[3] / a->pool.kernel[1]);
    l.pixels = l.value.dim[2] * l.value.dim[3];
    l.code = clg__part_end(0, x[0] * l.rows * l.pixels);
    l.x = clg__part_end(l.code, (l.blocks * l.rows * l.pixels * a->lanes + 3) / 4);
    l.end = clg__part_end(l.x, l.blocks * l.channels * l.height * l.width * a->lanes);
    l.db = clg__part_end(0, l.rows * l.taps);
    l.filter_end = clg__part_end(l.db, l.rows);
    return l;
}

static clg_status fused_infer(clg__infer *i)
{
    i->shape = CLG_SHAPE(layout_of(i->attr).end);
    return CLG_OK;
}

static clg_status filter_infer(clg__infer *i)
{
    i->shape = CLG_SHAPE(layout_of(i->attr).filter_end);
    return CLG_OK;
}

/* ---- gradients --------------------------------------------------------------------------------------------------- */

typedef struct chain { /* what the operator stands for */
    const fused_attr *attr;
    clg_tensor       *x, *w, *y, *pooled; /* y after ReLU */
    const clg__op    *relu_grad;
} chain;

static chain chain_of(const fused_attr *a, clg_tensor *const *in, int arity)
{
    chain c = {.attr = a, .x = in[0], .w = in[1], .relu_grad = clg__op_find("relu_grad")};
    c.y = clg_relu(clg__apply_n(&clg__ops_conv2d[CONV], &a->conv, sizeof a->conv, in, arity));
    c.pooled = clg__apply_attr(&clg__ops_pool2d[MAX_POOL], &a->pool, c.y);
    return c;
}

static clg_tensor *to_conv(const chain *c, clg_tensor *dvalue)
{
    clg_tensor *d = clg__apply_attr(&clg__ops_pool2d[MAX_POOL_GRAD], &c->attr->pool, c->pooled, dvalue);
    return clg__apply(c->relu_grad, c->y, d);
}

static clg_tensor *from_conv(const chain *c, clg_tensor *d)
{
    return clg__apply_attr(&clg__ops_pool2d[MAX_POOL_PICK], &c->attr->pool, c->pooled,
                           clg__apply(c->relu_grad, c->y, d));
}

static clg_tensor *value_gradient(const clg__grad *g, int input) /* inputs: node, x, w, perhaps b */
{
    clg_tensor *const *in = g->out->in;
    const fused_attr  *a = in[0]->attr;
    const layout       l = layout_of(a);
    if (input == 0) return NULL;
    if (input == 1) {
        const chain c = chain_of(a, in + 1, g->out->arity - 1);
        return clg__apply_attr(&clg__ops_conv2d[DATA], &a->conv, c.w, to_conv(&c, g->dout));
    }
    clg_tensor *both = clg__apply_once(OP(FUSED_FILTER), a, sizeof *a, CLG__PACK(in[0], g->dout));
    clg_tensor *inputs[5] = {both, g->dout};
    for (int k = 1; k < g->out->arity; k++) inputs[1 + k] = in[k];
    const clg__part dw = {0, a->conv.w}, db = {l.db, CLG_SHAPE(l.rows)};
    return clg__apply_n(OP(input == 2 ? DW : DB), input == 2 ? &dw : &db, sizeof dw, inputs, g->out->arity + 1);
}

static clg_tensor *filter_gradient(const clg__grad *g, int input) /* inputs: node, dvalue, x, w, perhaps b */
{
    clg_tensor *const *in = g->out->in;
    const fused_attr  *a = in[0]->attr;
    if (input != 1 && input != 2) return NULL;
    const chain c = chain_of(a, in + 2, g->out->arity - 2);
    if (g->out->op == OP(DB)) {
        const int64_t rows = g->dout->count;
        return input == 2 ? NULL : from_conv(&c, clg_expand(clg_reshape(g->dout, CLG_SHAPE(1, rows, 1, 1)), a->conv.y));
    }
    return input == 1 ? from_conv(&c, clg__apply_attr(&clg__ops_conv2d[CONV], &a->conv, c.x, g->dout))
                      : clg__apply_attr(&clg__ops_conv2d[DATA], &a->conv, g->dout, to_conv(&c, in[1]));
}

/* ---- launches ---------------------------------------------------------------------------------------------------- */

enum {
    ROWS = 2,            /* output channels that a unit of the forward kernel holds in registers */
    FILTER_ITEMS = 64,   /* most of a group of the gradient on GPUs: some of them run in step, and few sums are added up */
    FILTER_SUMMANDS = 4, /* least of an item, lest adding up the items' sums takes as long as they do */
};

typedef struct filter { /* the gradient's launch on GPUs */
    int     items, rows, lanes;
    int64_t parts, blocks, shares; /* blocks of a share */
} filter;

/* What an item of the gradient on GPUs holds in registers, which are 128 where they are few: sums of its rows, elements of x. */
static int64_t held(const fused_attr *a, int rows, int lanes)
{
    const int64_t window = a->conv.w.dim[2] * a->conv.w.dim[3];
    int64_t       reads = 1, most = window;
    for (int d = 0; d < 2; d++) {
        const int64_t k = a->conv.w.dim[2 + d], places = a->pool.kernel[d];
        reads *= (places - 1) * a->conv.stride[d] + (k - 1) * a->conv.dilation[d] + 1;
        most *= places;
    }
    return rows * (window + 1) + lanes * CLG__MIN(reads, most);
}

static filter filter_of(const clg__record *r, const fused_attr *a, const layout *l)
{
    filter f = {.items = (int)CLG__MIN(r->profile->wg, (uint32_t)FILTER_ITEMS), .lanes = a->lanes > 1 ? 2 : 1};
    f.rows = held(a, 4, f.lanes) <= 80 ? 4 : 2;
    if (held(a, f.rows, f.lanes) > 128) f.lanes = 1;
    f.parts = CLG__CEIL_DIV(l->rows, f.rows);
    const int64_t each = l->pixels * a->lanes, wanted = (int64_t)clg__record_groups(r, UINT32_MAX);
    const int64_t block = a->lanes * CLG__MAX(l->rows * l->pixels, l->channels * l->height * l->width);
    f.blocks = CLG__MAX(CLG__CEIL_DIV(l->blocks * f.parts, wanted), CLG__CEIL_DIV(FILTER_SUMMANDS * f.items * f.lanes, each));
    f.blocks = CLG__MIN(CLG__MIN(f.blocks, MOST_OF_BLOCK / block), l->blocks);
    f.shares = CLG__CEIL_DIV(l->blocks, f.blocks);
    return f;
}

static clg_status record(clg__record *r, bool forward)
{
    const fused_attr *a = r->node->attr;
    const layout      l = layout_of(a);
    const int         bias = (forward ? r->node : r->node->in[0])->arity == 3; /* one program for both */
    const bool        many = r->profile->wg > 1;
    const filter      f = many ? filter_of(r, a, &l) : (filter){.blocks = l.blocks, .shares = l.blocks};
    clg__text         defines = {0};
    clg_status        status = CLG_OK;
    clg__text_append(&defines, "#define KH %d\n#define KW %d\n#define STRIDE_H %d\n#define STRIDE_W %d\n#define DIL_H %d\n"
                     "#define DIL_W %d\n#define POOL_H %d\n#define POOL_W %d\n#define BIAS %d\n#define ROWS %d\n", (int)a->conv.w.dim[2], (int)a->conv.w.dim[3], a->conv.stride[0],
                     a->conv.stride[1], a->conv.dilation[0], a->conv.dilation[1], a->pool.kernel[0], a->pool.kernel[1],
                     bias, ROWS);
    if (many)
        clg__text_append(&defines, "#define FILTER_ITEMS %d\n#define FILTER_ROWS %d\n#define FILTER_LANES %d\n", f.items,
                         f.rows, f.lanes);
#define LAUNCH(kernel, units, ...) \
    if (status == CLG_OK) \
        status = clg__record_units(r, "conv2d_pool", kernel, defines.data, (uint64_t)(units), CLG__ARGS(__VA_ARGS__))
    const int64_t n = a->conv.x.dim[0];
    if (forward) {
        const bool    plain = !a->conv.pad[0] && !a->conv.pad[1]; /* a plane is a row */
        const int64_t high = plain ? 1 : a->conv.x.dim[2], wide = a->conv.x.dim[3] * (plain ? a->conv.x.dim[2] : 1);
        LAUNCH("conv2d_pool_lanes", l.blocks * l.channels * (high + 2 * a->conv.pad[0]), CLG__IN(0), CLG__OUT, CLG__ULONG(l.x),
               CLG__INT(n), CLG__UINT(l.blocks), CLG__INT(l.channels), CLG__INT(high), CLG__INT(wide),
               CLG__INT(a->conv.pad[0]), CLG__INT(a->conv.pad[1]));
        LAUNCH("conv2d_pool", l.blocks * ((l.rows + ROWS - 1) / ROWS), CLG__IN(1), CLG__IN(bias ? 2 : 1),
               CLG__OUT, CLG__ULONG(l.code), CLG__ULONG(l.x), CLG__INT(n), CLG__UINT(l.blocks), CLG__INT(l.rows),
               CLG__INT(l.channels), CLG__INT(l.height), CLG__INT(l.width), CLG__INT(l.value.dim[2]),
               CLG__INT(l.value.dim[3]));
    } else {
        const int partial = clg__record_workspace(r, (uint64_t)(f.shares * l.rows * (l.taps + 1)) * sizeof(float));
        const clg__arg args[] = {CLG__IN(0), CLG__IN(1), CLG__WS(partial), CLG__ULONG(l.code), CLG__ULONG(l.x), CLG__INT(n),
                                 CLG__UINT(f.blocks), CLG__INT(l.rows), CLG__INT(l.channels), CLG__INT(l.height),
                                 CLG__INT(l.width), CLG__INT(l.value.dim[2]), CLG__INT(l.value.dim[3])};
        clg__launch launch = {.unit = "conv2d_pool", .kernel = "conv2d_pool_filter", .defines = defines.data, .args = args,
                              .arg_count = CLG__COUNT(args)};
        if (many) {
            launch.groups[0] = (uint64_t)f.parts, launch.groups[1] = (uint64_t)f.shares;
            launch.local[0] = (uint32_t)f.items, launch.local[1] = launch.local[2] = 1;
        } else {
            launch.groups[0] = clg__record_groups(r, (uint64_t)(l.blocks * l.rows));
        }
        status = clg__record_kernel(r, &launch);
        LAUNCH("conv2d_pool_sum", l.rows, CLG__WS(partial), CLG__OUT, CLG__ULONG(l.db), CLG__UINT(f.shares),
               CLG__UINT(l.rows), CLG__INT(l.taps));
    }
#undef LAUNCH
    clg__text_free(&defines);
    return status;
}

static clg_status fused_record(clg__record *r) { return record(r, true); }
static clg_status filter_record(clg__record *r) { return record(r, false); }

/* ---- references -------------------------------------------------------------------------------------------------- */

/* x by lanes, at image n and the tap of pixel (h, v) of the convolution. */
static int64_t x_at(const fused_attr *a, const layout *l, int64_t n, int64_t tap, int64_t h, int64_t v)
{
    const int64_t kh = a->conv.w.dim[2], kw = a->conv.w.dim[3], c = tap / (kh * kw);
    h = h * a->conv.stride[0] + tap / kw % kh * a->conv.dilation[0];
    v = v * a->conv.stride[1] + tap % kw * a->conv.dilation[1];
    return l->x + (((n / a->lanes * l->channels + c) * l->height + h) * l->width + v) * a->lanes + n % a->lanes;
}

/* Four codes an element: the element, and what a code counts in it, which is one more than the kernel's. */
static int64_t code_at(const fused_attr *a, const layout *l, int64_t n, int64_t o, int64_t p, int64_t *unit)
{
    const int64_t at = ((n / a->lanes * l->rows + o) * l->pixels + p) * a->lanes + n % a->lanes;
    *unit = INT64_C(1) << at % 4 * 8;
    return l->code + at / 4;
}

static void fused_reference(const clg__ref *r)
{
    const fused_attr *a = r->node->attr;
    const layout      l = layout_of(a);
    const int64_t    *X = a->conv.x.dim, pw = l.value.dim[3], window = (int64_t)a->pool.kernel[0] * a->pool.kernel[1];
    for (int64_t i = 0; i < l.end; i++) r->out[i] = 0.0;
    for (int64_t i = 0; i < clg_shape_count(a->conv.x); i++) {
        const int64_t n = i / (X[1] * X[2] * X[3]), row = i / X[3] % X[2] + a->conv.pad[0];
        const int64_t at = ((n / a->lanes * X[1] + i / (X[2] * X[3]) % X[1]) * l.height + row) * l.width;
        r->out[l.x + (at + i % X[3] + a->conv.pad[1]) * a->lanes + n % a->lanes] = r->in[0][i];
    }
    for (int64_t i = 0; i < clg_shape_count(l.value); i++) {
        const int64_t n = i / (l.rows * l.pixels), o = i / l.pixels % l.rows, p = i % l.pixels;
        double        best = 0.0;
        int64_t       code = -1, unit;
        for (int64_t k = 0; k < window; k++) {
            const int64_t h = p / pw * a->pool.kernel[0] + k / a->pool.kernel[1];
            const int64_t v = p % pw * a->pool.kernel[1] + k % a->pool.kernel[1];
            double        sum = r->node->arity == 3 ? r->in[2][o] : 0.0;
            for (int64_t t = 0; t < l.taps; t++) sum += r->in[1][o * l.taps + t] * r->out[x_at(a, &l, n, t, h, v)];
            if (k == 0 || (!isnan(best) && !(sum <= best))) best = sum, code = k;
        }
        r->out[i] = best < 0.0 ? 0.0 : best;
        double *codes = &r->out[code_at(a, &l, n, o, p, &unit)];
        *codes += best <= 0.0 ? 0.0 : (double)((code + 1) * unit);
    }
}

static void filter_reference(const clg__ref *r)
{
    const fused_attr *a = r->node->attr;
    const layout      l = layout_of(a);
    const int64_t     pw = l.value.dim[3];
    for (int64_t i = 0; i < l.filter_end; i++) r->out[i] = 0.0;
    for (int64_t i = 0; i < clg_shape_count(l.value); i++) {
        const int64_t n = i / (l.rows * l.pixels), o = i / l.pixels % l.rows, p = i % l.pixels;
        int64_t       unit;
        const double  codes = r->in[0][code_at(a, &l, n, o, p, &unit)];
        const int64_t code = (int64_t)codes / unit % 256 - 1;
        if (code < 0) continue;
        const int64_t h = p / pw * a->pool.kernel[0] + code / a->pool.kernel[1];
        const int64_t v = p % pw * a->pool.kernel[1] + code % a->pool.kernel[1];
        for (int64_t t = 0; t < l.taps; t++) r->out[o * l.taps + t] += r->in[1][i] * r->in[0][x_at(a, &l, n, t, h, v)];
        r->out[l.db + o] += r->in[1][i];
    }
}

/* ---- interface --------------------------------------------------------------------------------------------------- */

clg_tensor *clg__conv2d_pool(clg_tensor *x, const pool_attr *pool)
{
    if (!clg__may_rewrite(x->graph) || x->op != clg__op_find("relu") || x->in[0]->op != &clg__ops_conv2d[CONV]) return NULL;
    const clg_tensor *conv = x->in[0];
    fused_attr        a = {.conv = *(const conv_attr *)conv->attr, .pool = *pool};
    a.conv.x = conv->in[0]->shape;
    a.conv.w = conv->in[1]->shape;
    a.conv.y = conv->shape;
    a.lanes = clg_context_device(clg_tensor_context(x))->profile.vec;
    for (int d = 0; d < 2; d++) /* windows side by side; what the last one does not reach is never computed */
        if (pool->stride[d] != pool->kernel[d] || pool->pad[d] || pool->kernel[d] > 3) return NULL;
    if (a.conv.groups != 1 || a.conv.w.dim[1] * a.conv.w.dim[2] * a.conv.w.dim[3] > MOST_TAPS || conv->count == 0 ||
        a.conv.x.dim[0] * 2 < a.lanes)
        return NULL;
    const layout l = layout_of(&a);
    if (CLG__MAX(l.rows * l.pixels, l.channels * l.height * l.width) * a.lanes > MOST_OF_BLOCK) return NULL;
    clg_tensor *node = clg__apply_n(OP(FUSED), &a, sizeof a, conv->in, conv->arity);
    clg_tensor *in[4] = {node};
    for (int k = 0; k < conv->arity; k++) in[1 + k] = conv->in[k];
    return clg__apply_n(OP(VALUE), &(clg__part){0, l.value}, sizeof(clg__part), in, conv->arity + 1);
}

/* The convolution's products, as those of conv2d and of its gradient. */
static clg__cost fused_cost(const clg_tensor *t)
{
    const conv_attr *a = &((const fused_attr *)t->attr)->conv;
    return (clg__cost){.flops = 2.0 * (double)clg_shape_count(a->y) * (double)(a->w.dim[1] * a->w.dim[2] * a->w.dim[3])};
}

#define A_PART .arity = CLG__VARIADIC, .flags = CLG__VIEW | CLG__PART, .infer = clg__part_infer, .reference = clg__part_reference
const clg__op clg__ops_conv2d_pool[] = {
    [FUSED] = {.name = "conv2d_pool", .arity = CLG__VARIADIC, .flags = CLG__NO_GRAD | CLG__BYTES | CLG__MERGED, .infer = fused_infer,
               .record = fused_record, .reference = fused_reference, .cost = fused_cost},
    [VALUE] = {.name = "conv2d_pool_value", .gradient = value_gradient, A_PART},
    [FUSED_FILTER] = {.name = "conv2d_pool_filter", .arity = 2, .flags = CLG__NO_GRAD | CLG__MERGED, .infer = filter_infer,
                      .record = filter_record, .reference = filter_reference, .cost = fused_cost},
    [DW] = {.name = "conv2d_pool_dw", .gradient = filter_gradient, A_PART},
    [DB] = {.name = "conv2d_pool_db", .gradient = filter_gradient, A_PART},
    {0},
};
