/* softmax.c - y = softmax(x) and log_softmax(x) along the last axis.
 *
 *   softmax      dx = y (dy - sum(y dy))
 *   log_softmax  dx = dy - exp(y) sum(dy)
 *
 * The gradients read y and never x, so x may be overwritten once y exists. */
#include "graph/op.h"

enum { SOFTMAX, SOFTMAX_GRAD, LOG_SOFTMAX, LOG_SOFTMAX_GRAD };
extern const clg__op clg__ops_softmax[];

static double log_sum_exp(const double *x, size_t n)
{
    double max = -(double)INFINITY, sum = 0.0;
    for (size_t i = 0; i < n; i++) max = isnan(x[i]) ? x[i] : fmax(max, x[i]);
    for (size_t i = 0; i < n; i++) sum += exp(x[i] - max);
    return max + log(sum);
}

static void softmax_reference(const clg__ref *r)
{
    for (size_t i = 0; i < r->rows * r->n; i++) r->out[i] = exp(r->in[0][i] - log_sum_exp(r->in[0] + i / r->n * r->n, r->n));
}

static void log_softmax_reference(const clg__ref *r)
{
    for (size_t i = 0; i < r->rows * r->n; i++) r->out[i] = r->in[0][i] - log_sum_exp(r->in[0] + i / r->n * r->n, r->n);
}

static void softmax_grad_reference(const clg__ref *r)
{
    for (size_t row = 0; row < r->rows; row++) {
        const double *y = r->in[0] + row * r->n, *dy = r->in[1] + row * r->n;
        double        dot = 0.0;
        for (size_t i = 0; i < r->n; i++) dot += y[i] * dy[i];
        for (size_t i = 0; i < r->n; i++) r->out[row * r->n + i] = y[i] * (dy[i] - dot);
    }
}

static void log_softmax_grad_reference(const clg__ref *r)
{
    for (size_t row = 0; row < r->rows; row++) {
        const double *y = r->in[0] + row * r->n, *dy = r->in[1] + row * r->n;
        double        sum = 0.0;
        for (size_t i = 0; i < r->n; i++) sum += dy[i];
        for (size_t i = 0; i < r->n; i++) r->out[row * r->n + i] = dy[i] - exp(y[i]) * sum;
    }
}

static clg_status softmax_record(clg__record *r) /* the kernel is named like the operator */
{
    const char *kernel = r->node->op->name;
    return r->node->arity == 1 ? clg__record_rows(r, "softmax", kernel, CLG__ARGS(CLG__IN(0), CLG__OUT, CLG__ROWS, CLG__COLS))
                               : clg__record_rows(r, "softmax", kernel,
                                                  CLG__ARGS(CLG__IN(0), CLG__IN(1), CLG__OUT, CLG__ROWS, CLG__COLS));
}

static clg_tensor *softmax_gradient(const clg__grad *g, int input)
{
    (void)input;
    return clg__apply(&clg__ops_softmax[SOFTMAX_GRAD], g->out, g->dout);
}

static clg_tensor *log_softmax_gradient(const clg__grad *g, int input)
{
    (void)input;
    return clg__apply(&clg__ops_softmax[LOG_SOFTMAX_GRAD], g->out, g->dout);
}

static clg_tensor *row_sum(clg_tensor *x)
{
    return clg_sum(x, &(clg_reduce_desc){.axes = {-1}, .count = 1, .keepdims = true});
}

/* z = y (d - sum(y d)): dd = y (g - sum(y g)), dy = g (d - sum(y d)) - d sum(y g) */
static clg_tensor *softmax_grad_gradient(const clg__grad *g, int input)
{
    clg_tensor *y = g->out->in[0], *d = g->out->in[1], *dz = g->dout;
    if (input == 1) return clg__apply(&clg__ops_softmax[SOFTMAX_GRAD], y, dz);
    return clg_sub(clg_mul(dz, clg_sub(d, row_sum(clg_mul(y, d)))), clg_mul(d, row_sum(clg_mul(y, dz))));
}

/* z = d - exp(y) sum(d): dd = g - sum(exp(y) g), dy = -g exp(y) sum(d) */
static clg_tensor *log_softmax_grad_gradient(const clg__grad *g, int input)
{
    clg_tensor *y = g->out->in[0], *d = g->out->in[1], *weighted = clg_mul(g->dout, clg_exp(y));
    return input == 1 ? clg_sub(g->dout, row_sum(weighted)) : clg_neg(clg_mul(weighted, row_sum(d)));
}

static clg_status softmax_infer(clg__infer *i)
{
    if (i->in[0]->shape.rank == 0) return clg__infer_fail(i, "a scalar has no last axis");
    return clg__infer_same(i);
}

#define ROW(name_, arity_)                                                                                        \
    {.name = #name_, .arity = arity_, .flags = CLG__INPLACE, .infer = softmax_infer, .record = softmax_record, \
     .gradient = name_##_gradient, .reference = name_##_reference}
const clg__op clg__ops_softmax[] = {
    [SOFTMAX] = ROW(softmax, 1),
    [SOFTMAX_GRAD] = ROW(softmax_grad, 2),
    [LOG_SOFTMAX] = ROW(log_softmax, 1),
    [LOG_SOFTMAX_GRAD] = ROW(log_softmax_grad, 2),
    {0},
};

clg_tensor *clg_softmax(clg_tensor *x) { return clg__apply(&clg__ops_softmax[SOFTMAX], x); }
clg_tensor *clg_log_softmax(clg_tensor *x) { return clg__apply(&clg__ops_softmax[LOG_SOFTMAX], x); }

/* Along another axis: there and back by transposition. */
static clg_tensor *along(clg_tensor *x, int axis, const char *name, clg_tensor *(*f)(clg_tensor *))
{
    if (!x || !clg__find_axis(x, name, &axis)) return NULL;
    return clg_transpose(f(clg_transpose(x, axis, -1)), axis, -1);
}

clg_tensor *clg_softmax_along(clg_tensor *x, int axis) { return along(x, axis, "softmax", clg_softmax); }
clg_tensor *clg_log_softmax_along(clg_tensor *x, int axis) { return along(x, axis, "log_softmax", clg_log_softmax); }
