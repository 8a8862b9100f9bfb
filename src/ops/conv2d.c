/* conv2d.c - y[n, o, p] = sum over c, h, w of weight[o, c, h, w] x[n, c, p stride - pad + (h, w) dilation] + bias[o].
 *
 * The convolution is bilinear in x and weight, so its two gradients are operators of the same kind, and each one's
 * gradients are the other two:
 *   conv2d(x, w) -> y     conv2d_backward_data(w, dy) -> dx     conv2d_backward_filter(x, dy) -> dw
 * Their attributes carry the shape of what they compute. All three become matrix products in cl/conv2d.cl. */
#include "ops/conv2d.h"
#include <string.h>

/* The kernels count taps, pixels and units of work in 32 bits. */
static const int64_t largest = INT64_C(1) << 30;

/* ---- shapes ------------------------------------------------------------------------------------------------------ */

static bool product_fits(int64_t a, int64_t b, int64_t c)
{
    int64_t ab, abc;
    return !clg__mul_overflows(a, b, &ab) && !clg__mul_overflows(ab, c, &abc) && abc <= largest;
}

static bool supported(clg_shape x, clg_shape w, clg_shape y, int groups)
{
    const int64_t planes = CLG__MAX(x.dim[0], 1) * groups, rows = w.dim[0] / groups;
    return x.dim[0] <= largest && product_fits(w.dim[1], w.dim[2], w.dim[3]) && product_fits(rows, w.dim[2], w.dim[3]) &&
           product_fits(planes, x.dim[2], x.dim[3]) && product_fits(planes, y.dim[2], y.dim[3]);
}

/* What is said of a convolution whose tensors have 1 or 2 extents. */
static const struct {
    const char *image, *kernel, *side[2];
} terms[] = {[1] = {"[N, C, L]", "K", {"", "length"}}, [2] = {"[N, C, H, W]", "KH, KW", {"height", "width"}}};

/* x and w are the shapes of the inputs as seen with two extents. */
static clg_status check(clg__infer *i, clg_shape x, clg_shape w, int extents)
{
    const char      *kernel = terms[extents].kernel;
    const conv_attr *a = i->attr;
    for (int k = 0; k < i->arity; k++)
        if (i->in[k]->dtype != CLG_F32) return clg__infer_fail(i, "input %d must be f32", k);
    if (i->arity < 2 || i->arity > 3) return clg__infer_fail(i, "takes x, weight and perhaps a bias");
    if (x.rank != 4) return clg__infer_fail(i, "x must be %s", terms[extents].image);
    if (w.rank != 4 || i->in[1]->count == 0)
        return clg__infer_fail(i, "the weight must be [channels, C / groups, %s] without an empty extent", kernel);
    if (w.dim[0] % a->groups != 0 || x.dim[1] % a->groups != 0 || x.dim[1] / a->groups != w.dim[1])
        return clg__infer_fail(i, "with %d group%s, x of %lld channels needs a weight of [channels, %lld / %d, %s] "
                               "and channels divisible by %d", a->groups, a->groups == 1 ? "" : "s",
                               (long long)x.dim[1], (long long)x.dim[1], a->groups, kernel, a->groups);
    if (i->arity == 3 && !clg_shape_equal(i->in[2]->shape, CLG_SHAPE(w.dim[0])))
        return clg__infer_fail(i, "the bias must be [%lld]", (long long)w.dim[0]);

    i->shape = CLG_SHAPE(x.dim[0], w.dim[0], 0, 0);
    for (int d = 0; d < 2; d++) {
        const int64_t padded = x.dim[2 + d] + 2 * (int64_t)a->pad[d];
        if (x.dim[2 + d] > largest || padded > largest || w.dim[2 + d] > largest)
            return clg__infer_fail(i, "images of that extent are not supported");
        const int64_t window = a->dilation[d] * (w.dim[2 + d] - 1) + 1;
        if (padded < window)
            return clg__infer_fail(i, "the window's %s is %lld, more than the padded image's %lld",
                                   terms[extents].side[d], (long long)window, (long long)padded);
        i->shape.dim[2 + d] = (padded - window) / a->stride[d] + 1;
    }
    if (!supported(x, w, i->shape, a->groups))
        return clg__infer_fail(i, "more than 2^30 pixels in all images and groups, or taps, are not supported");
    return CLG_OK;
}

static clg_status conv_infer(clg__infer *i) { return check(i, i->in[0]->shape, i->in[1]->shape, 2); }

static clg_status data_infer(clg__infer *i)
{
    i->shape = ((const conv_attr *)i->attr)->x;
    return CLG_OK;
}

static clg_status filter_infer(clg__infer *i)
{
    i->shape = ((const conv_attr *)i->attr)->w;
    return CLG_OK;
}

/* ---- gradients --------------------------------------------------------------------------------------------------- */

static conv_attr attr_of(const clg_tensor *node)
{
    conv_attr a = *(const conv_attr *)node->attr;
    if (node->op == &clg__ops_conv2d[CONV]) {
        a.x = node->in[0]->shape;
        a.w = node->in[1]->shape;
        a.y = node->shape;
    }
    return a;
}

static clg_tensor *conv_gradient(const clg__grad *g, int input)
{
    const conv_attr a = attr_of(g->out);
    switch (input) {
    case 0:  return clg__apply_attr(&clg__ops_conv2d[DATA], &a, g->out->in[1], g->dout);
    case 1:  return clg__apply_attr(&clg__ops_conv2d[FILTER], &a, g->out->in[0], g->dout);
    default: return clg_sum(g->dout, &(clg_reduce_desc){.axes = {0, 2, 3}, .count = 3});
    }
}

static clg_tensor *data_gradient(const clg__grad *g, int input) /* of dx = data(w, dy) */
{
    const conv_attr a = attr_of(g->out);
    return input == 0 ? clg__apply_attr(&clg__ops_conv2d[FILTER], &a, g->dout, g->out->in[1])
                      : clg__apply_attr(&clg__ops_conv2d[CONV], &a, g->dout, g->out->in[0]);
}

static clg_tensor *filter_gradient(const clg__grad *g, int input) /* of dw = filter(x, dy) */
{
    const conv_attr a = attr_of(g->out);
    return input == 0 ? clg__apply_attr(&clg__ops_conv2d[DATA], &a, g->dout, g->out->in[1])
                      : clg__apply_attr(&clg__ops_conv2d[CONV], &a, g->out->in[0], g->dout);
}

/* ---- launches ---------------------------------------------------------------------------------------------------- */

enum {
    UNITS_PER_CORE = 8, /* that many units of work let cores finish together */
    MOST_SHARES    = 64,
    FEW_TAPS       = 9, /* TAPS in cl/conv2d.cl */
};

/* Rows of the product that a unit of work computes: a packed panel serves them all, where units are a CPU's. */
static uint64_t rows_of(const clg__tile *t, uint64_t rows) { return t->side == 1 ? rows : t->m; }

void clg__conv2d_epilogue(clg__text *text, const clg__record *r)
{
    clg__text_append(text, "#define BIAS %d\n#define OTHER %d\n#define CHANNELS %d\n#define EPILOGUE(T, a, b, c, d) (%s)\n",
                     r->node->arity == 3, r->other, r->channels, r->epilogue ? r->epilogue : "a");
}

/* Groups of so few outputs that a GPU's tile of a product would be mostly waste: 1, 2 or 4, else 0. */
static uint32_t few_rows(const clg__record *r, uint64_t rows)
{
    if (strcmp(r->profile->base, "cpu") == 0 || rows > 4) return 0;
    return rows == 3 ? 4 : (uint32_t)rows;
}

static void write_defines(clg__text *text, const clg__record *r, const conv_attr *a, const clg__tile *t, bool backward)
{
    const char *const names[] = {"H", "W"};
    for (int d = 0; d < 2; d++)
        clg__text_append(text, "#define K%s %d\n#define STRIDE_%s %d\n#define PAD_%s %d\n#define DIL_%s %d\n", names[d],
                         (int)a->w.dim[2 + d], names[d], a->stride[d], names[d], a->pad[d], names[d], a->dilation[d]);
    clg__text_append(text, "#define BACKWARD %d\n", backward);
    clg__conv2d_epilogue(text, r);
    if (t->side) clg__tile_define(text, t);
    else clg__text_append(text, "#define FEW_ROWS %u\n", t->m);
}

static clg_status launch(clg__record *r, const char *kernel, const clg__text *defines, const clg__tile *t, uint64_t units,
                         const clg__arg *args, size_t count)
{
    const uint64_t most = t->side != 1 ? units : clg__record_groups(r, units); /* groups of many items take one unit each */
    return clg__record_kernel(r, &(clg__launch){
        .unit = "conv2d", .kernel = kernel, .defines = defines->data, .args = args,
        .arg_count = t->side ? count : count - 1, /* the last is the height of a block of tiles */
        .groups = {CLG__MIN(units, most)}, .local = {t->side, t->side, t->side > 0}});
}

static clg_status record_swap(clg__record *r, const conv_attr *a, const char *defines, clg__arg to)
{
    const clg__arg args[] = {CLG__IN(0), to, CLG__UINT(a->groups), CLG__UINT(a->w.dim[0] / a->groups), CLG__UINT(a->w.dim[1])};
    return clg__record_kernel(r, &(clg__launch){
        .unit = "conv2d", .kernel = "conv2d_swap", .defines = defines, .args = args, .arg_count = CLG__COUNT(args),
        .groups = {clg__record_groups(r, (uint64_t)a->x.dim[1])}, .prepares = true});
}

/* dst = weight times what `src` has at its taps; weight is [groups * rows, channels * KH * KW]. */
static clg_status record_product(clg__record *r, const conv_attr *a, bool backward, clg__arg weight, clg__arg src,
                                 clg__arg bias)
{
    const clg_shape from = backward ? a->y : a->x, to = backward ? a->x : a->y;
    const uint64_t  n = (uint64_t)from.dim[0], groups = (uint64_t)a->groups, rows = (uint64_t)to.dim[1] / groups;
    const uint64_t  pixels = (uint64_t)(to.dim[2] * to.dim[3]);
    const uint64_t  enough = (uint64_t)CLG__MAX(r->compute_units, 1) * UNITS_PER_CORE;
    const uint32_t  few = few_rows(r, rows);
    const clg__tile t = few ? (clg__tile){.m = few, .cols = r->profile->wg}
                            : clg__tile_choose(r->profile, r->local_memory, rows, pixels);
    const uint64_t  shared = n * groups * CLG__CEIL_DIV(pixels, t.cols);
    uint64_t        block = rows_of(&t, rows);
    while (block > t.m && shared * CLG__CEIL_DIV(rows, block) < enough) block = CLG__CEIL_DIV(CLG__CEIL_DIV(block, 2), t.m) * t.m;

    clg__text defines = {0};
    write_defines(&defines, r, a, &t, backward);
    clg_status status = CLG_OK;
    if (backward)
        status = record_swap(r, a, defines.data, weight);
    if (status == CLG_OK)
        status = launch(r, few ? "conv2d_few" : "conv2d", &defines, &t, shared * CLG__CEIL_DIV(rows, block),
                        CLG__ARGS(weight, src, CONV_OPERANDS(bias), CLG__OUT, CLG__INT(n), CLG__INT(groups), CLG__INT(rows),
                                  CLG__INT((uint64_t)from.dim[1] / groups), CLG__INT(from.dim[2]),
                                  CLG__INT(from.dim[3]), CLG__INT(to.dim[2]), CLG__INT(to.dim[3]), CLG__INT(block)));
    clg__text_free(&defines);
    return status;
}

/* A window of one pixel: each image is a matrix [channels, pixels], and the product is one with the weight. */
static bool is_product(const conv_attr *a)
{
    return a->groups == 1 && a->w.dim[2] * a->w.dim[3] == 1 && a->stride[0] * a->stride[1] == 1 && a->pad[0] + a->pad[1] == 0;
}

static clg_status record_gemm(clg__record *r, const conv_attr *a, bool backward, clg__arg weight, clg__arg src)
{
    const int64_t pixels = a->x.dim[2] * a->x.dim[3], k = a->w.dim[0], c = a->w.dim[1];
    clg__gemm     g = {.trans_a = backward, .m = backward ? c : k, .n = pixels, .k = backward ? k : c, .batch = a->x.dim[0]};
    g.stride_b = g.k * pixels;
    g.stride_c = g.m * pixels;
    return clg__record_gemm(r, &g, weight, src, CLG__OUT, CLG__OUT);
}

static clg_status conv_record(clg__record *r)
{
    const conv_attr a = attr_of(r->node);
    const clg__arg  bias = CLG__IN(r->node->arity == 3 ? 2 : 1);
    clg_status      status;
    if (r->node->count == 0) return CLG_OK;
    if (is_product(&a) && r->node->arity == 2 && !r->channels) return record_gemm(r, &a, false, CLG__IN(1), CLG__IN(0));
    if (clg__conv2d_lanes(r, &a, CONV, &status)) return status;
    return record_product(r, &a, false, CLG__IN(1), CLG__IN(0), bias);
}

static clg_status data_record(clg__record *r)
{
    const conv_attr *a = r->node->attr;
    clg_status       status;
    if (r->node->count == 0) return CLG_OK;
    if (is_product(a) && !r->channels) return record_gemm(r, a, true, CLG__IN(0), CLG__IN(1));
    if (clg__conv2d_lanes(r, a, DATA, &status)) return status;
    const int swapped = clg__record_workspace(r, (uint64_t)r->node->in[0]->count * sizeof(float));
    return record_product(r, a, true, CLG__WS(swapped), CLG__IN(1), CLG__IN(0));
}

/* Each share of the images leaves a partial sum of the whole filter; a second launch adds them, always in one order. */
static clg_status filter_record(clg__record *r)
{
    const conv_attr *a = r->node->attr;
    clg_status       status;
    if (a->x.dim[0] > 0 && clg__conv2d_lanes(r, a, FILTER, &status)) return status;
    const uint64_t   n = (uint64_t)a->x.dim[0], groups = (uint64_t)a->groups, rows = (uint64_t)a->w.dim[0] / groups;
    const uint64_t   count = (uint64_t)r->node->count, taps = count / (uint64_t)a->w.dim[0];
    const bool       few = few_rows(r, rows) > 0;
    const clg__tile  t = few ? (clg__tile){.m = 1, .cols = FEW_TAPS} : clg__tile_choose(r->profile, r->local_memory, rows, taps);
    const uint64_t   block = rows_of(&t, rows), each = groups * CLG__CEIL_DIV(rows, block) * CLG__CEIL_DIV(taps, t.cols);
    const uint64_t   wanted = CLG__CEIL_DIV((uint64_t)CLG__MAX(r->compute_units, 1) * UNITS_PER_CORE, each);
    const uint64_t   shares = CLG__MIN(CLG__MIN(wanted, n), MOST_SHARES);
    const uint64_t   bytes = shares * count * sizeof(float);
    const clg__arg   partial = shares == 1 ? CLG__OUT : CLG__WS(clg__record_workspace(r, bytes));

    clg__text defines = {0};
    write_defines(&defines, r, a, &t, false);
    status = CLG_OK;
    if (shares > 0)
        status = launch(r, few ? "conv2d_few_filter" : "conv2d_filter", &defines, &t, shares * each,
                        CLG__ARGS(CLG__IN(1), CLG__IN(0), partial, CLG__INT(n), CLG__INT(groups), CLG__INT(rows),
                                  CLG__INT(a->w.dim[1]), CLG__INT(a->x.dim[2]), CLG__INT(a->x.dim[3]),
                                  CLG__INT(a->y.dim[2]), CLG__INT(a->y.dim[3]), CLG__INT(shares), CLG__INT(block)));
    if (shares != 1 && status == CLG_OK)
        status = clg__record_units(r, "conv2d", "conv2d_sum", defines.data,
                                   CLG__CEIL_DIV(count, (uint64_t)r->profile->wg * r->profile->vec),
                                   CLG__ARGS(partial, CLG__OUT, CLG__INT(shares), CLG__UINT(count)));
    clg__text_free(&defines);
    return status;
}

/* ---- references: one walk over all products x w -> y, each operator summing into another of the three ----------- */

static void walk(const conv_attr *a, int op, const double *x, const double *w, const double *y, double *out)
{
    const int64_t *X = a->x.dim, *W = a->w.dim, *Y = a->y.dim, rows = W[0] / a->groups;
    for (int64_t no = 0; no < Y[0] * Y[1]; no++)
        for (int64_t p = 0; p < Y[2] * Y[3]; p++)
            for (int64_t t = 0; t < W[1] * W[2] * W[3]; t++) {
                const int64_t n = no / Y[1], o = no % Y[1], c = o / rows * W[1] + t / (W[2] * W[3]);
                const int64_t h = p / Y[3] * a->stride[0] - a->pad[0] + t / W[3] % W[2] * a->dilation[0];
                const int64_t v = p % Y[3] * a->stride[1] - a->pad[1] + t % W[3] * a->dilation[1];
                if (h < 0 || h >= X[2] || v < 0 || v >= X[3]) continue;
                const int64_t xi = ((n * X[1] + c) * X[2] + h) * X[3] + v, wi = o * W[1] * W[2] * W[3] + t;
                const int64_t yi = no * Y[2] * Y[3] + p;
                if (op == CONV) out[yi] += x[xi] * w[wi];
                else if (op == DATA) out[xi] += w[wi] * y[yi];
                else out[wi] += x[xi] * y[yi];
            }
}

static void conv_reference(const clg__ref *r)
{
    const conv_attr a = attr_of(r->node);
    const int64_t   pixels = a.y.dim[2] * a.y.dim[3];
    for (int64_t i = 0; i < r->node->count; i++)
        r->out[i] = r->node->arity == 3 ? r->in[2][i / pixels % a.y.dim[1]] : 0.0;
    walk(&a, CONV, r->in[0], r->in[1], NULL, r->out);
}

static void data_reference(const clg__ref *r)
{
    for (int64_t i = 0; i < r->node->count; i++) r->out[i] = 0.0;
    walk(r->node->attr, DATA, NULL, r->in[0], r->in[1], r->out);
}

static void filter_reference(const clg__ref *r)
{
    for (int64_t i = 0; i < r->node->count; i++) r->out[i] = 0.0;
    walk(r->node->attr, FILTER, r->in[0], NULL, r->in[1], r->out);
}

/* All three do the same products; Winograd's count as what they replace. */
static clg__cost conv_cost(const clg_tensor *t)
{
    const conv_attr a = attr_of(t);
    return (clg__cost){.flops = 2.0 * (double)clg_shape_count(a.y) * (double)(a.w.dim[1] * a.w.dim[2] * a.w.dim[3])};
}

/* ---- interface --------------------------------------------------------------------------------------------------- */

/* The attributes that the descriptor gives; false, with an error, when they make no sense. */
static bool attr_from(const clg_conv2d_desc *desc, const clg_tensor *x, const char *name, conv_attr *a)
{
    static const clg_conv2d_desc none = {0};
    const clg_conv2d_desc       *d = desc ? desc : &none;
    *a = (conv_attr){.groups = d->groups ? d->groups : 1};
    for (int i = 0; i < 2; i++) {
        const bool stride = d->stride_hw[0] || d->stride_hw[1], pad = d->pad_hw[0] || d->pad_hw[1];
        const bool dilation = d->dilation_hw[0] || d->dilation_hw[1];
        a->stride[i] = stride ? d->stride_hw[i] : d->stride ? d->stride : 1;
        a->pad[i] = pad ? d->pad_hw[i] : d->pad;
        a->dilation[i] = dilation ? d->dilation_hw[i] : d->dilation ? d->dilation : 1;
    }
    if (a->groups >= 1 && a->stride[0] >= 1 && a->stride[1] >= 1 && a->pad[0] >= 0 && a->pad[1] >= 0 && a->dilation[0] >= 1 &&
        a->dilation[1] >= 1)
        return true;
    clg__op_fail(x, name, CLG_INVALID_ARGUMENT,
                 "groups %d, stride %dx%d, pad %dx%d, dilation %dx%d: pads may not be negative, the others must be positive",
                 a->groups, a->stride[0], a->stride[1], a->pad[0], a->pad[1], a->dilation[0], a->dilation[1]);
    return false;
}

clg_tensor *clg_conv2d(clg_tensor *x, clg_tensor *weight, clg_tensor *bias, const clg_conv2d_desc *desc)
{
    conv_attr a;
    if (!x || !weight || !attr_from(desc, x, "conv2d", &a)) return NULL;
    return bias ? clg__apply_attr(&clg__ops_conv2d[CONV], &a, x, weight, bias)
                : clg__apply_attr(&clg__ops_conv2d[CONV], &a, x, weight);
}

/* The gradient of the convolution that makes x's shape of the result's. */
clg_tensor *clg_conv_transpose2d(clg_tensor *x, clg_tensor *weight, clg_tensor *bias, const clg_conv2d_desc *desc)
{
    static const char name[] = "conv_transpose2d";
    conv_attr         a;
    if (!x || !weight || !attr_from(desc, x, name, &a)) return NULL;
    a.y = x->shape;
    a.w = weight->shape;
    if (a.y.rank != 4 || a.w.rank != 4 || weight->count == 0 || x->dtype != CLG_F32 || weight->dtype != CLG_F32)
        return clg__op_fail(x, name, CLG_INVALID_SHAPE, "x must be f32 [N, C, H, W], the weight f32 [C, channels / groups, KH, KW]");
    if (a.w.dim[0] != a.y.dim[1] || a.w.dim[0] % a.groups != 0)
        return clg__op_fail(x, name, CLG_INVALID_SHAPE, "the weight is for %lld channels in %d groups", (long long)a.w.dim[0],
                            a.groups);
    const int64_t channels = a.w.dim[1] * a.groups;
    a.x = CLG_SHAPE(a.y.dim[0], channels, 0, 0);
    if (bias && !clg_shape_equal(bias->shape, CLG_SHAPE(channels)))
        return clg__op_fail(x, name, CLG_INVALID_SHAPE, "the bias must be [%lld]", (long long)channels);
    for (int d = 0; d < 2; d++) {
        const int more = !desc ? 0 : desc->out_pad_hw[0] || desc->out_pad_hw[1] ? desc->out_pad_hw[d] : desc->out_pad;
        if (more < 0 || more >= a.stride[d])
            return clg__op_fail(x, name, CLG_INVALID_ARGUMENT, "out_pad %d: it must be less than the stride", more);
        if (a.y.dim[2 + d] > largest || a.w.dim[2 + d] > largest || a.stride[d] > largest || a.dilation[d] > largest)
            return clg__op_fail(x, name, CLG_UNSUPPORTED, "images of that extent are not supported");
        a.x.dim[2 + d] = (a.y.dim[2 + d] - 1) * a.stride[d] - 2 * (int64_t)a.pad[d] + a.dilation[d] * (a.w.dim[2 + d] - 1) + 1 + more;
        if (a.x.dim[2 + d] < 1 || a.y.dim[2 + d] < 1)
            return clg__op_fail(x, name, CLG_INVALID_SHAPE, "the result's %s would be %lld", d ? "width" : "height",
                                (long long)a.x.dim[2 + d]);
        if (a.x.dim[2 + d] > largest) return clg__op_fail(x, name, CLG_UNSUPPORTED, "images of that extent are not supported");
    }
    if (!supported(a.x, a.w, a.y, a.groups))
        return clg__op_fail(x, name, CLG_UNSUPPORTED, "more than 2^30 pixels in all images and groups, or taps");
    clg_tensor *y = clg__apply_attr(&clg__ops_conv2d[DATA], &a, weight, x);
    return bias ? clg_add(y, clg_reshape(bias, CLG_SHAPE(channels, 1, 1))) : y;
}

/* [a, b, n] as [a, b, 1, n]; what has another rank, as nothing. */
static clg_shape lifted(clg_shape s) { return s.rank == 3 ? CLG_SHAPE(s.dim[0], s.dim[1], 1, s.dim[2]) : CLG_SCALAR; }

clg_tensor *clg_conv1d(clg_tensor *x, clg_tensor *weight, clg_tensor *bias, const clg_conv1d_desc *desc)
{
    static const clg__op  named = {.name = "conv1d"};
    const clg_conv1d_desc d = desc ? *desc : (clg_conv1d_desc){0};
    const conv_attr       a = {.groups = d.groups ? d.groups : 1, .stride = {1, d.stride ? d.stride : 1}, .pad = {0, d.pad},
                               .dilation = {1, d.dilation ? d.dilation : 1}};
    if (!x || !weight) return NULL;
    if (a.groups < 1 || a.stride[1] < 1 || a.pad[1] < 0 || a.dilation[1] < 1)
        return clg__op_fail(x, named.name, CLG_INVALID_ARGUMENT, "groups %d, stride %d, pad %d, dilation %d: the pad may not be "
                            "negative, the others must be positive", a.groups, a.stride[1], a.pad[1], a.dilation[1]);
    clg_tensor *in[] = {x, weight, bias};
    clg__infer  i = {.graph = x->graph, .op = &named, .in = in, .arity = bias ? 3 : 2, .attr = &a};
    if (check(&i, lifted(x->shape), lifted(weight->shape), 1) != CLG_OK) return NULL;
    in[0] = clg_reshape(x, lifted(x->shape));
    in[1] = clg_reshape(weight, lifted(weight->shape));
    clg_tensor *y = bias ? clg__apply_attr(&clg__ops_conv2d[CONV], &a, in[0], in[1], bias)
                         : clg__apply_attr(&clg__ops_conv2d[CONV], &a, in[0], in[1]);
    return y ? clg_reshape(y, CLG_SHAPE(y->shape.dim[0], y->shape.dim[1], y->shape.dim[3])) : NULL;
}

const clg__op clg__ops_conv2d[] = {
    {.name = "conv2d", .arity = CLG__VARIADIC, .flags = CLG__EPILOGUE | CLG__EPILOGUE_OTHER | CLG__EPILOGUE_CHAIN, .infer = conv_infer, .gradient = conv_gradient,
     .record = conv_record, .reference = conv_reference, .cost = conv_cost},
    {.name = "conv2d_backward_data", .arity = 2, .flags = CLG__EPILOGUE | CLG__EPILOGUE_OTHER | CLG__EPILOGUE_CHAIN, .infer = data_infer,
     .gradient = data_gradient, .record = data_record, .reference = data_reference, .cost = conv_cost},
    {.name = "conv2d_backward_filter", .arity = 2, .infer = filter_infer, .gradient = filter_gradient,
     .record = filter_record, .reference = filter_reference, .cost = conv_cost},
    {0},
};
