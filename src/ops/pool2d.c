/* pool2d.c - the maximum or the mean of every window of every plane of x [N, C, H, W].
 *
 * Means are linear: avg_pool2d and avg_pool2d_grad are each other's gradients. Of the maximum, max_pool2d_grad(x, dy)
 * puts dy where x has its windows' maxima and max_pool2d_pick(x, g) takes g from there; these are each other's
 * gradients in their second input, and constant in x wherever they can be differentiated. */
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

static clg_status pool_infer(clg__infer *i)
{
    const pool_attr *a = i->attr;
    i->shape = pooled(a);
    for (int k = 0; k < i->arity; k++) {
        const bool x_like = k == 0 || i->op == &clg__ops_pool2d[MAX_POOL_PICK];
        if (i->in[k]->dtype != CLG_F32) return clg__infer_fail(i, "input %d must be f32", k);
        if (!clg_shape_equal(i->in[k]->shape, x_like ? a->x : i->shape))
            return clg__infer_fail(i, "input %d does not have the shape of this pooling", k);
    }
    return CLG_OK;
}

static clg_status max_grad_infer(clg__infer *i)
{
    const clg_status status = pool_infer(i);
    i->shape = ((const pool_attr *)i->attr)->x;
    return status;
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

static clg_tensor *max_gradient(const clg__grad *g, int input)
{
    (void)input;
    return clg__apply_attr(&clg__ops_pool2d[MAX_POOL_GRAD], (const pool_attr *)g->out->attr, g->out->in[0], g->dout);
}

static clg_tensor *max_grad_gradient(const clg__grad *g, int input)
{
    if (input == 0) return NULL;
    return clg__apply_attr(&clg__ops_pool2d[MAX_POOL_PICK], (const pool_attr *)g->out->attr, g->out->in[0], g->dout);
}

static clg_tensor *max_pick_gradient(const clg__grad *g, int input)
{
    if (input == 0) return NULL;
    return clg__apply_attr(&clg__ops_pool2d[MAX_POOL_GRAD], (const pool_attr *)g->out->attr, g->out->in[0], g->dout);
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
    clg__arg args[8] = {CLG__IN(0)};
    size_t   count = 1;
    if (r->node->arity == 2) args[count++] = CLG__IN(1);
    args[count++] = CLG__OUT;
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

static int64_t winner(const window *w, int64_t width, const double *x)
{
    int64_t best = w->x;
    for (int64_t k = 0; k < w->rows * w->cols; k++) {
        const int64_t at = w->x + k / w->cols * width + k % w->cols;
        if (!isnan(x[best]) && (isnan(x[at]) || x[at] > x[best])) best = at;
    }
    return best;
}

static void pool_reference(const clg__ref *r)
{
    const clg__op   *op = r->node->op;
    const pool_attr *a = r->node->attr;
    const clg_shape  y = pooled(a);
    const int64_t    width = a->x.dim[3], windows = clg_shape_count(y);
    for (int64_t i = 0; i < r->node->count; i++) r->out[i] = 0.0;
    for (int64_t i = 0; i < windows; i++) {
        const window w = window_at(a, y.dim, i);
        if (op == &clg__ops_pool2d[MAX_POOL]) r->out[i] = r->in[0][winner(&w, width, r->in[0])];
        else if (op == &clg__ops_pool2d[MAX_POOL_GRAD]) r->out[winner(&w, width, r->in[0])] += r->in[1][i];
        else if (op == &clg__ops_pool2d[MAX_POOL_PICK]) r->out[i] = r->in[1][winner(&w, width, r->in[0])];
        else {
            const int64_t whole = (int64_t)a->kernel[0] * a->kernel[1];
            const double  share = 1.0 / (double)(a->exclude_pad ? w.rows * w.cols : whole);
            for (int64_t k = 0; k < w.rows * w.cols; k++) {
                const int64_t at = w.x + k / w.cols * width + k % w.cols;
                if (op == &clg__ops_pool2d[AVG_POOL]) r->out[i] += r->in[0][at] * share;
                else r->out[at] += r->in[0][i] * share;
            }
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
    clg_tensor *fused = op == MAX_POOL ? clg__conv2d_pool(x, &a) : NULL;
    return fused ? fused : clg__apply_attr(&clg__ops_pool2d[op], &a, x);
}

clg_tensor *clg_max_pool2d(clg_tensor *x, const clg_pool2d_desc *desc) { return pool(x, desc, MAX_POOL); }
clg_tensor *clg_avg_pool2d(clg_tensor *x, const clg_pool2d_desc *desc) { return pool(x, desc, AVG_POOL); }

const clg__op clg__ops_pool2d[] = {
    {.name = "max_pool2d", .arity = 1, .infer = pool_infer, .gradient = max_gradient, .record = pool_record,
     .reference = pool_reference},
    {.name = "max_pool2d_grad", .arity = 2, .infer = max_grad_infer, .gradient = max_grad_gradient,
     .record = pool_record, .reference = pool_reference},
    {.name = "max_pool2d_pick", .arity = 2, .infer = pool_infer, .gradient = max_pick_gradient, .record = pool_record,
     .reference = pool_reference},
    {.name = "avg_pool2d", .arity = 1, .infer = pool_infer, .gradient = avg_gradient, .record = pool_record,
     .reference = pool_reference},
    {.name = "avg_pool2d_grad", .arity = 1, .infer = avg_grad_infer, .gradient = avg_grad_gradient,
     .record = pool_record, .reference = pool_reference},
    {0},
};
