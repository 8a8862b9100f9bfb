/* softmax.c - y = softmax(x) and log_softmax(x) along an axis.
 *
 *   softmax      dx = y (dy - sum(y dy))
 *   log_softmax  dx = dy - exp(y) sum(dy)
 *
 * The gradients read y and never x, so x may be overwritten once y exists. */
#include "graph/op.h"

typedef struct softmax_attr {
    int axis;
} softmax_attr;

enum { SOFTMAX, SOFTMAX_GRAD, LOG_SOFTMAX, LOG_SOFTMAX_GRAD };
extern const clg__op clg__ops_softmax[];

typedef struct extents {
    uint64_t outer, length, inner; /* elements of a column lie `inner` apart */
} extents;

static extents extents_of(clg_shape s, int axis)
{
    extents e = {1, (uint64_t)s.dim[axis], 1};
    for (int d = 0; d < s.rank; d++)
        if (d != axis) *(d < axis ? &e.outer : &e.inner) *= (uint64_t)s.dim[d];
    return e;
}

static int axis_of(const clg_tensor *t) { return ((const softmax_attr *)t->attr)->axis; }

static double log_sum_exp(const double *x, size_t length, size_t inner)
{
    double max = -(double)INFINITY, sum = 0.0;
    for (size_t i = 0; i < length; i++) max = isnan(x[i * inner]) ? x[i * inner] : fmax(max, x[i * inner]);
    for (size_t i = 0; i < length; i++) sum += exp(x[i * inner] - max);
    return max + log(sum);
}

static void softmax_reference(const clg__ref *r)
{
    const int     op = (int)(r->node->op - clg__ops_softmax);
    const extents e = extents_of(r->node->shape, axis_of(r->node));
    for (size_t column = 0; column < e.outer * e.inner; column++) {
        const size_t  first = column / e.inner * e.length * e.inner + column % e.inner, end = first + e.length * e.inner;
        const double *x = r->in[0], *dy = r->in[r->node->arity - 1];
        double        sum = 0.0;
        if (op == SOFTMAX || op == LOG_SOFTMAX) sum = log_sum_exp(x + first, e.length, e.inner);
        for (size_t i = first; i < end && op == SOFTMAX_GRAD; i += e.inner) sum += x[i] * dy[i];
        for (size_t i = first; i < end && op == LOG_SOFTMAX_GRAD; i += e.inner) sum += dy[i];
        for (size_t i = first; i < end; i += e.inner)
            r->out[i] = op == SOFTMAX        ? exp(x[i] - sum)
                        : op == LOG_SOFTMAX  ? x[i] - sum
                        : op == SOFTMAX_GRAD ? x[i] * (dy[i] - sum)
                                             : dy[i] - exp(x[i]) * sum;
    }
}

enum {
    STRIP  = 64,      /* vectors, as in cl/softmax.cl */
    LEAST  = 256,     /* columns of a strip, or rows are read in pieces too small for memory to like */
    CACHED = 1 << 16, /* elements of a strip that a CPU finds again in a cache */
};

static clg_status softmax_record(clg__record *r) /* the kernels are named like the operator */
{
    static const char *const along[] = {"softmax_along", "softmax_grad_along", "log_softmax_along", "log_softmax_grad_along"};
    const extents  e = extents_of(r->node->shape, axis_of(r->node));
    const char    *kernel = e.inner > 1 ? along[r->node->op - clg__ops_softmax] : r->node->op->name;
    const uint64_t vec = r->profile->vec, items = r->profile->wg;
    const uint64_t width = CLG__MIN(CLG__ROUND_UP(CLG__MAX(CACHED / CLG__MAX(e.length, 1), LEAST), vec), STRIP * vec);
    const uint64_t strips = items > 1 ? CLG__CEIL_DIV(e.outer * e.inner, items) : e.outer * CLG__CEIL_DIV(e.inner, width);
    clg__arg       args[7] = {CLG__IN(0), CLG__IN(1)}, *last = args + r->node->arity;
    *last++ = CLG__OUT, *last++ = CLG__UINT(e.outer), *last++ = CLG__UINT(e.length);
    if (e.inner > 1) *last++ = CLG__UINT(e.inner), *last++ = CLG__UINT(width);
    return clg__record_units(r, "softmax", kernel, NULL, e.inner > 1 ? strips : e.outer, args, (size_t)(last - args));
}

static clg_tensor *apply_like(const clg_tensor *t, int op, clg_tensor *y, clg_tensor *dy)
{
    return clg__apply_attr(&clg__ops_softmax[op], (const softmax_attr *)t->attr, y, dy);
}

static clg_tensor *softmax_gradient(const clg__grad *g, int input)
{
    (void)input;
    return apply_like(g->out, SOFTMAX_GRAD, g->out, g->dout);
}

static clg_tensor *log_softmax_gradient(const clg__grad *g, int input)
{
    (void)input;
    return apply_like(g->out, LOG_SOFTMAX_GRAD, g->out, g->dout);
}

static clg_tensor *sum_along(clg_tensor *x, const clg_tensor *t)
{
    return clg_sum(x, &(clg_reduce_desc){.axes = {axis_of(t)}, .count = 1, .keepdims = true});
}

/* z = y (d - sum(y d)): dd = y (g - sum(y g)), dy = g (d - sum(y d)) - d sum(y g) */
static clg_tensor *softmax_grad_gradient(const clg__grad *g, int input)
{
    clg_tensor *z = g->out, *y = z->in[0], *d = z->in[1], *dz = g->dout;
    if (input == 1) return apply_like(z, SOFTMAX_GRAD, y, dz);
    return clg_sub(clg_mul(dz, clg_sub(d, sum_along(clg_mul(y, d), z))), clg_mul(d, sum_along(clg_mul(y, dz), z)));
}

/* z = d - exp(y) sum(d): dd = g - sum(exp(y) g), dy = -g exp(y) sum(d) */
static clg_tensor *log_softmax_grad_gradient(const clg__grad *g, int input)
{
    clg_tensor *z = g->out, *weighted = clg_mul(g->dout, clg_exp(z->in[0]));
    return input == 1 ? clg_sub(g->dout, sum_along(weighted, z)) : clg_neg(clg_mul(weighted, sum_along(z->in[1], z)));
}

static clg_status softmax_infer(clg__infer *i)
{
    const clg_shape s = i->in[0]->shape;
    const int       axis = ((const softmax_attr *)i->attr)->axis;
    if (s.rank == 0) return clg__infer_fail(i, "a scalar has no last axis");
    const extents e = extents_of(s, axis);
    if (e.outer * e.inner > INT32_MAX || e.length > INT32_MAX) return clg__infer_fail(i, "an extent is beyond 2^31");
    return clg__infer_same(i);
}

#define ROW(name_, arity_)                                                                                        \
    {.name = #name_, .arity = arity_, .flags = CLG__INPLACE, .infer = softmax_infer, .record = softmax_record, \
     .gradient = name_##_gradient, .reference = softmax_reference}
const clg__op clg__ops_softmax[] = {
    [SOFTMAX] = ROW(softmax, 1),
    [SOFTMAX_GRAD] = ROW(softmax_grad, 2),
    [LOG_SOFTMAX] = ROW(log_softmax, 1),
    [LOG_SOFTMAX_GRAD] = ROW(log_softmax_grad, 2),
    {0},
};

static clg_tensor *last(clg_tensor *x, int op)
{
    return x ? clg__apply_attr(&clg__ops_softmax[op], &((softmax_attr){x->shape.rank - 1}), x) : NULL;
}

enum { FEW_BESIDE = 16, FEW_COLUMNS = 256 };

/* Few columns would leave lanes or items idle: there and back by transposition. */
static clg_tensor *along(clg_tensor *x, int axis, const char *name, int op)
{
    if (!x || !clg__find_axis(x, name, &axis)) return NULL;
    const extents e = extents_of(x->shape, axis);
    if (e.inner > 1 && (e.inner < FEW_BESIDE || e.outer * e.inner < FEW_COLUMNS))
        return clg_transpose(last(clg_transpose(x, axis, -1), op), axis, -1);
    return clg__apply_attr(&clg__ops_softmax[op], &((softmax_attr){axis}), x);
}

clg_tensor *clg_softmax(clg_tensor *x) { return last(x, SOFTMAX); }
clg_tensor *clg_log_softmax(clg_tensor *x) { return last(x, LOG_SOFTMAX); }
clg_tensor *clg_softmax_along(clg_tensor *x, int axis) { return along(x, axis, "softmax", SOFTMAX); }
clg_tensor *clg_log_softmax_along(clg_tensor *x, int axis) { return along(x, axis, "log_softmax", LOG_SOFTMAX); }
