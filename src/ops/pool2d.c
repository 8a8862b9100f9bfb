/* pool2d.c - the maximum or the mean of every window of every plane of x [N, C, H, W].
 *
 * Means are linear: avg_pool2d and avg_pool2d_grad are each other's gradients. max_pool2d gives the maxima and, beside
 * them, a code: the tap of each window that won. With it max_pool2d_grad(code, dy) puts dy there and max_pool2d_pick(code,
 * g) takes g from there; these are each other's gradients in their second input, and the code is constant. */
#include "ops/conv2d.h"
#include <stdio.h>

static const int64_t largest = INT64_C(1) << 30; /* planes and pixels are counted in 32 bits */

/* ---- shapes ------------------------------------------------------------------------------------------------------ */

static clg_shape pooled(const pool_attr *a)
{
    clg_shape y = a->x;
    for (int d = 0; d < 2; d++)
        y.dim[2 + d] = (a->x.dim[2 + d] + 2 * (int64_t)a->pad[d] - a->kernel[d]) / a->stride[d] + 1;
    return y;
}

static int64_t code_part(const pool_attr *a) { return clg__part_end(0, clg_shape_count(pooled(a))); }

static clg_status pool_infer(clg__infer *i)
{
    const pool_attr *a = i->attr;
    i->shape = i->op == &clg__ops_pool2d[MAX_POOL] ? CLG_SHAPE(code_part(a) + clg_shape_count(pooled(a))) : pooled(a);
    if (i->in[0]->dtype != CLG_F32) return clg__infer_fail(i, "x must be f32");
    return clg_shape_equal(i->in[0]->shape, a->x) ? CLG_OK : clg__infer_fail(i, "x does not have the shape of this pooling");
}

static clg_status coded_infer(clg__infer *i) /* a max_pool2d; dy of y's shape, or g of x's */
{
    const pool_attr *a = i->attr;
    const bool       pick = i->op == &clg__ops_pool2d[MAX_POOL_PICK];
    i->shape = pick ? pooled(a) : a->x;
    return clg_shape_equal(i->in[1]->shape, pick ? a->x : pooled(a)) && i->in[1]->dtype == CLG_F32
               ? CLG_OK : clg__infer_fail(i, "input 1 does not have the shape of this pooling");
}

static clg_status avg_grad_infer(clg__infer *i)
{
    const pool_attr *a = i->attr;
    if (i->in[0]->dtype != CLG_F32 || !clg_shape_equal(i->in[0]->shape, pooled(a)))
        return clg__infer_fail(i, "dy does not have the shape of this pooling");
    i->shape = a->x;
    return CLG_OK;
}

/* ---- gradients --------------------------------------------------------------------------------------------------- */

static clg_tensor *max_gradient(const clg__grad *g, int input) /* of the value: its inputs are max_pool2d and x */
{
    clg_tensor *both = g->out->in[0];
    return input ? clg__apply_attr(&clg__ops_pool2d[MAX_POOL_GRAD], (const pool_attr *)both->attr, both, g->dout) : NULL;
}

static clg_tensor *coded_gradient(const clg__grad *g, int input)
{
    const int other = g->out->op == &clg__ops_pool2d[MAX_POOL_GRAD] ? MAX_POOL_PICK : MAX_POOL_GRAD;
    return input ? clg__apply_attr(&clg__ops_pool2d[other], (const pool_attr *)g->out->attr, g->out->in[0], g->dout) : NULL;
}

/* Whether ReLU let a maximum through shows in the maximum itself: fewer elements than y has. */
static clg_tensor *max_grad_masked(const clg_tensor *d, clg_tensor *y)
{
    const pool_attr *a = d->attr;
    clg_tensor      *both = d->in[0];
    if (both->op != &clg__ops_pool2d[MAX_POOL] || both->in[0] != y) return NULL;
    clg_tensor *value = clg__apply_attr(&clg__ops_pool2d[MAX_POOL_VALUE], &((clg__part){0, pooled(a)}), both, y);
    clg_tensor *dy = clg__apply(clg__op_find("relu_grad"), value, d->in[1]);
    return clg__apply_attr(&clg__ops_pool2d[MAX_POOL_GRAD], a, both, dy);
}

static clg_tensor *avg_gradient(const clg__grad *g, int input)
{
    (void)input;
    return clg__apply_attr(&clg__ops_pool2d[AVG_POOL_GRAD], (const pool_attr *)g->out->attr, g->dout);
}

static clg_tensor *avg_grad_gradient(const clg__grad *g, int input)
{
    (void)input;
    return clg__apply_attr(&clg__ops_pool2d[AVG_POOL], (const pool_attr *)g->out->attr, g->dout);
}

/* ---- launches ---------------------------------------------------------------------------------------------------- */

static clg_status pool_record(clg__record *r)
{
    const pool_attr *a = r->node->attr;
    const clg_shape  y = pooled(a);
    const int64_t    planes = y.dim[0] * y.dim[1];
    char             defines[512];
    if (r->node->count == 0) return CLG_OK;
    snprintf(defines, sizeof defines,
             "#define KH %d\n#define KW %d\n#define STRIDE_H %d\n#define STRIDE_W %d\n"
             "#define PAD_H %d\n#define PAD_W %d\n#define EXCLUDE_PAD %d\n", a->kernel[0], a->kernel[1], a->stride[0],
             a->stride[1], a->pad[0], a->pad[1], a->exclude_pad);
    clg__arg args[9] = {CLG__IN(0)};
    size_t   count = 1;
    if (r->node->arity == 2) args[count++] = CLG__IN(1);
    args[count++] = CLG__OUT;
    if (r->node->arity == 2 || r->node->op == &clg__ops_pool2d[MAX_POOL]) args[count++] = CLG__ULONG(code_part(a));
    args[count++] = CLG__UINT(planes);
    args[count++] = CLG__INT(a->x.dim[2]);
    args[count++] = CLG__INT(a->x.dim[3]);
    args[count++] = CLG__INT(y.dim[2]);
    args[count++] = CLG__INT(y.dim[3]);
    return clg__record_units(r, "pool2d", r->node->op->name, defines, (uint64_t)planes, args, count);
}

/* ---- references: one walk over all windows ----------------------------------------------------------------------- */

typedef struct window {
    int64_t y, rows, cols; /* index in y; extents inside of the image */
    int64_t x;             /* index in x of its first element */
} window;

static window window_at(const pool_attr *a, const int64_t *Y, int64_t i)
{
    const int64_t *X = a->x.dim, at[2] = {i / Y[3] % Y[2], i % Y[3]};
    int64_t        from[2], size[2];
    for (int d = 0; d < 2; d++) {
        const int64_t first = at[d] * a->stride[d] - a->pad[d];
        from[d] = CLG__MAX(first, 0);
        size[d] = CLG__MIN(first + a->kernel[d], X[2 + d]) - from[d];
    }
    return (window){.y = i, .rows = size[0], .cols = size[1],
                    .x = (i / (Y[2] * Y[3]) * X[2] + from[0]) * X[3] + from[1]};
}

/* The index in x of a tap of window i; -1 outside of the image. */
static int64_t element_at(const pool_attr *a, const int64_t *Y, int64_t i, int64_t tap)
{
    const int64_t *X = a->x.dim, h = i / Y[3] % Y[2] * a->stride[0] - a->pad[0] + tap / a->kernel[1];
    const int64_t  v = i % Y[3] * a->stride[1] - a->pad[1] + tap % a->kernel[1];
    return h < 0 || h >= X[2] || v < 0 || v >= X[3] ? -1 : (i / (Y[2] * Y[3]) * X[2] + h) * X[3] + v;
}

static void max_reference(const clg__ref *r)
{
    const pool_attr *a = r->node->attr;
    const clg_shape  y = pooled(a);
    for (int64_t i = 0; i < clg_shape_count(y); i++) {
        int64_t code = -1;
        for (int64_t tap = 0; tap < (int64_t)a->kernel[0] * a->kernel[1]; tap++) {
            const int64_t at = element_at(a, y.dim, i, tap);
            if (at < 0 || (code >= 0 && (isnan(r->out[i]) || r->in[0][at] <= r->out[i]))) continue;
            r->out[i] = r->in[0][at];
            code = tap;
        }
        r->out[code_part(a) + i] = (double)code;
    }
}

static void coded_reference(const clg__ref *r)
{
    const pool_attr *a = r->node->attr;
    const clg_shape  y = pooled(a);
    const bool       pick = r->node->op == &clg__ops_pool2d[MAX_POOL_PICK];
    for (int64_t i = 0; i < r->node->count; i++) r->out[i] = 0.0;
    for (int64_t i = 0; i < clg_shape_count(y); i++) {
        const int64_t at = element_at(a, y.dim, i, (int64_t)r->in[0][code_part(a) + i]);
        if (pick) r->out[i] = r->in[1][at];
        else r->out[at] += r->in[1][i];
    }
}

static void avg_reference(const clg__ref *r)
{
    const pool_attr *a = r->node->attr;
    const clg_shape  y = pooled(a);
    const int64_t    width = a->x.dim[3];
    for (int64_t i = 0; i < r->node->count; i++) r->out[i] = 0.0;
    for (int64_t i = 0; i < clg_shape_count(y); i++) {
        const window  w = window_at(a, y.dim, i);
        const int64_t whole = (int64_t)a->kernel[0] * a->kernel[1];
        const double  share = 1.0 / (double)(a->exclude_pad ? w.rows * w.cols : whole);
        for (int64_t k = 0; k < w.rows * w.cols; k++) {
            const int64_t at = w.x + k / w.cols * width + k % w.cols;
            if (r->node->op == &clg__ops_pool2d[AVG_POOL]) r->out[i] += r->in[0][at] * share;
            else r->out[at] += r->in[0][i] * share;
        }
    }
}

/* ---- interface --------------------------------------------------------------------------------------------------- */

static clg_tensor *pool(clg_tensor *x, const clg_pool2d_desc *desc, int op)
{
    static const clg_pool2d_desc none = {0};
    const clg_pool2d_desc       *p = desc ? desc : &none;
    const char                  *name = clg__ops_pool2d[op].name;
    if (!x) return NULL;
    if (x->shape.rank != 4) return clg__op_fail(x, name, CLG_INVALID_SHAPE, "x must be [N, C, H, W]");
    pool_attr a = {.exclude_pad = p->exclude_pad, .x = x->shape};
    for (int d = 0; d < 2; d++) {
        const bool kernel = p->kernel_hw[0] || p->kernel_hw[1], stride = p->stride_hw[0] || p->stride_hw[1];
        const bool padded = p->pad_hw[0] || p->pad_hw[1];
        a.kernel[d] = kernel ? p->kernel_hw[d] : p->kernel;
        a.stride[d] = stride ? p->stride_hw[d] : p->stride ? p->stride : a.kernel[d];
        a.pad[d] = padded ? p->pad_hw[d] : p->pad;
        const char *extent = d ? "width" : "height";
        if (a.kernel[d] < 1 || a.stride[d] < 1 || a.pad[d] < 0 || a.pad[d] > a.kernel[d] / 2)
            return clg__op_fail(x, name, CLG_INVALID_ARGUMENT,
                                "%s: kernel %d, stride %d, pad %d: kernel and stride must be positive, the pad at most "
                                "half the kernel", extent, a.kernel[d], a.stride[d], a.pad[d]);
        if (x->shape.dim[2 + d] + 2 * (int64_t)a.pad[d] < a.kernel[d])
            return clg__op_fail(x, name, CLG_INVALID_SHAPE, "the window's %s is %d, more than the padded image's %lld",
                                extent, a.kernel[d], (long long)(x->shape.dim[2 + d] + 2 * (int64_t)a.pad[d]));
    }
    if (x->shape.dim[2] == 0 || x->shape.dim[3] == 0)
        return clg__op_fail(x, name, CLG_INVALID_SHAPE, "the images are empty");
    const clg_shape s = x->shape;
    if (s.dim[2] > largest / s.dim[3] || (s.dim[1] && s.dim[0] > largest / s.dim[1]) || s.dim[1] > largest ||
        (int64_t)a.kernel[0] * a.kernel[1] > largest)
        return clg__op_fail(x, name, CLG_UNSUPPORTED, "more than 2^30 pixels a plane, or planes, are not supported");
    if (op == AVG_POOL) return clg__apply_attr(&clg__ops_pool2d[op], &a, x);
    clg_tensor *fused = clg__conv2d_pool(x, &a);
    if (fused) return fused;
    clg_tensor *both = clg__apply_attr(&clg__ops_pool2d[op], &a, x);
    return clg__apply_attr(&clg__ops_pool2d[MAX_POOL_VALUE], &((clg__part){0, pooled(&a)}), both, x);
}

clg_tensor *clg_max_pool2d(clg_tensor *x, const clg_pool2d_desc *desc) { return pool(x, desc, MAX_POOL); }
clg_tensor *clg_avg_pool2d(clg_tensor *x, const clg_pool2d_desc *desc) { return pool(x, desc, AVG_POOL); }

const clg__op clg__ops_pool2d[] = {
    [MAX_POOL] = {.name = "max_pool2d", .arity = 1, .flags = CLG__NO_GRAD | CLG__BYTES, .infer = pool_infer, .record = pool_record,
                  .reference = max_reference},
    [MAX_POOL_VALUE] = {.name = "max_pool2d_value", .arity = 2, .flags = CLG__VIEW | CLG__PART, .infer = clg__part_infer,
                        .gradient = max_gradient, .reference = clg__part_reference},
    [MAX_POOL_GRAD] = {.name = "max_pool2d_grad", .arity = 2, .infer = coded_infer, .gradient = coded_gradient,
                       .masked = max_grad_masked, .record = pool_record, .reference = coded_reference},
    [MAX_POOL_PICK] = {.name = "max_pool2d_pick", .arity = 2, .infer = coded_infer, .gradient = coded_gradient,
                       .record = pool_record, .reference = coded_reference},
    [AVG_POOL] = {.name = "avg_pool2d", .arity = 1, .infer = pool_infer, .gradient = avg_gradient,
                  .record = pool_record, .reference = avg_reference},
    [AVG_POOL_GRAD] = {.name = "avg_pool2d_grad", .arity = 1, .infer = avg_grad_infer, .gradient = avg_grad_gradient,
                       .record = pool_record, .reference = avg_reference},
    {0},
};
