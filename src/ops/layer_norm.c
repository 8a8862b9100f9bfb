/* layer_norm.c - y = xh gain + bias with xh = (x - mean(x)) r, r = 1 / sqrt(mean((x - mean(x))^2) + eps), row by row.
 *
 *   dx = r (q - mean(q) - xh mean(q xh)) with q = dy gain,   dgain = sum over rows of dy xh,   dbias = sum over rows of dy
 *
 * One operator computes all three, as parts of its result, and adds to dx what else x's gradient is made of where that is known
 * by then: a residual's. Mean and r are computed again from x there: the row is in the
 * cache by then, and nothing but x need be kept. Every group adds up its own rows' share of dgain and dbias; a second
 * kernel joins the groups' in their order. */
#include "graph/op.h"

enum { LAYER_NORM, GRAD, DX, DGAIN, DBIAS };
extern const clg__op clg__ops_layer_norm[];

typedef struct norm_attr {
    double eps;
} norm_attr;

/* Groups of the gradient: each costs a row of partial sums. */
enum { GROUPS_PER_UNIT = 4 };

static clg_status norm_infer(clg__infer *i) /* x, gain, and bias or dy; and what is added to dx, or not */
{
    const clg_shape x = i->in[0]->shape;
    if (x.rank < 1 || x.dim[x.rank - 1] < 1) return clg__infer_fail(i, "x must be [..., n]");
    const clg_shape row = CLG_SHAPE(x.dim[x.rank - 1]);
    const bool      back = i->op == &clg__ops_layer_norm[GRAD];
    for (int k = 0; k < i->arity; k++) {
        if (i->in[k]->dtype != CLG_F32) return clg__infer_fail(i, "input %d must be f32", k);
        if (!clg_shape_equal(i->in[k]->shape, k == 0 || (k >= 2 && back) ? x : row))
            return clg__infer_fail(i, "gain and bias must be [%lld]", (long long)row.dim[0]);
    }
    i->shape = x;
    if (back) i->shape = CLG_SHAPE(clg__part_end(clg__part_end(0, i->in[0]->count), row.dim[0]) + row.dim[0]);
    return CLG_OK;
}

static clg_status norm_record(clg__record *r)
{
    const norm_attr *attr = r->node->attr;
    return clg__record_rows(r, "layer_norm", "layer_norm",
                            CLG__ARGS(CLG__IN(0), CLG__IN(1), CLG__IN(2), CLG__OUT, CLG__ROWS, CLG__COLS,
                                      CLG__FLOAT(attr->eps)));
}

static clg_status grad_record(clg__record *r)
{
    const norm_attr *attr = r->node->attr;
    const bool       adds = r->node->arity > 3;
    const uint64_t   groups = CLG__MAX(1, CLG__MIN(r->rows, (uint64_t)r->compute_units * GROUPS_PER_UNIT));
    const int64_t    gain_at = clg__part_end(0, r->node->in[0]->count), bias_at = clg__part_end(gain_at, (int64_t)r->n);
    const int        sums = clg__record_workspace(r, groups * 2 * r->n * 4);
    const clg_status status = clg__record_kernel(
        r, &(clg__launch){"layer_norm", "layer_norm_grad", NULL,
                          CLG__ARGS(CLG__IN(0), CLG__IN(1), CLG__IN(2), CLG__IN(adds ? 3 : 0), CLG__OUT, CLG__WS(sums),
                                    CLG__ROWS, CLG__COLS, CLG__FLOAT(attr->eps), CLG__UINT(adds)), {groups}, {0}, false});
    if (status != CLG_OK) return status;
    return clg__record_units(r, "layer_norm", "layer_norm_join", NULL, (r->n + 63) / 64,
                             CLG__ARGS(CLG__WS(sums), CLG__OUT, CLG__UINT(groups), CLG__COLS, CLG__ULONG(gain_at),
                                       CLG__ULONG(bias_at)));
}

/* ---- references -------------------------------------------------------------------------------------------------- */

typedef struct moments {
    double mean, scale;
} moments;

static moments moments_of(const double *x, size_t n, double eps)
{
    double mean = 0.0, square = 0.0;
    for (size_t i = 0; i < n; i++) mean += x[i] / (double)n;
    for (size_t i = 0; i < n; i++) square += (x[i] - mean) * (x[i] - mean) / (double)n;
    return (moments){mean, 1.0 / sqrt(square + eps)};
}

static void norm_reference(const clg__ref *r)
{
    const norm_attr *attr = r->node->attr;
    for (size_t row = 0; row < r->rows; row++) {
        const double *x = r->in[0] + row * r->n;
        const moments m = moments_of(x, r->n, attr->eps);
        for (size_t i = 0; i < r->n; i++) r->out[row * r->n + i] = (x[i] - m.mean) * m.scale * r->in[1][i] + r->in[2][i];
    }
}

static void grad_reference(const clg__ref *r)
{
    const norm_attr *attr = r->node->attr;
    const int64_t    gain_at = clg__part_end(0, r->node->in[0]->count), bias_at = clg__part_end(gain_at, (int64_t)r->n);
    for (int64_t i = gain_at; i < r->node->count; i++) r->out[i] = 0.0;
    for (size_t row = 0; row < r->rows; row++) {
        const double *x = r->in[0] + row * r->n, *gain = r->in[1], *dy = r->in[2] + row * r->n, n = (double)r->n;
        const moments m = moments_of(x, r->n, attr->eps);
        double        sum = 0.0, dot = 0.0;
        for (size_t i = 0; i < r->n; i++) {
            const double xh = (x[i] - m.mean) * m.scale;
            sum += dy[i] * gain[i] / n;
            dot += dy[i] * gain[i] * xh / n;
            r->out[gain_at + (int64_t)i] += dy[i] * xh;
            r->out[bias_at + (int64_t)i] += dy[i];
        }
        for (size_t i = 0; i < r->n; i++)
            r->out[row * r->n + i] = m.scale * (dy[i] * gain[i] - sum - (x[i] - m.mean) * m.scale * dot) +
                                     (r->node->arity > 3 ? r->in[3][row * r->n + i] : 0.0);
    }
}

/* ---- gradients --------------------------------------------------------------------------------------------------- */

typedef struct part_attr {
    clg__part part;
    norm_attr norm;
} part_attr;

static clg_tensor *norm_gradient(const clg__grad *g, int input)
{
    const clg_tensor *x = g->out->in[0], *gain = g->out->in[1];
    clg_tensor *const in[] = {g->out->in[0], g->out->in[1], g->dout};
    clg_tensor       *all = clg__find_newest(&clg__ops_layer_norm[GRAD], g->out->attr, sizeof(norm_attr), in, 3);
    if (!all) all = clg__apply_n(&clg__ops_layer_norm[GRAD], g->out->attr, sizeof(norm_attr), in, 3);
    const int64_t     gain_at = clg__part_end(0, x->count), bias_at = clg__part_end(gain_at, gain->count);
    const clg__part   parts[] = {{0, x->shape}, {gain_at, gain->shape}, {bias_at, gain->shape}};
    const part_attr   attr = {parts[input], *(const norm_attr *)g->out->attr};
    return clg__apply_attr(&clg__ops_layer_norm[DX + input], &attr, all, in[0], in[1], in[2]);
}

/* The other parts are made after dx, and then of the operator that adds. */
static clg_tensor *dx_added(clg_tensor *sum, const clg_tensor *t)
{
    const part_attr *attr = t->attr;
    if (sum->id > t->id || t->arity > 4 || !clg__may_rewrite(t->graph)) return NULL;
    clg_tensor *all = clg__apply_attr(&clg__ops_layer_norm[GRAD], &attr->norm, t->in[1], t->in[2], t->in[3], sum);
    return clg__apply_attr(&clg__ops_layer_norm[DX], attr, all, t->in[1], t->in[2], t->in[3], sum);
}

static clg_tensor *row_mean(clg_tensor *x)
{
    return clg_mean(x, &(clg_reduce_desc){.axes = {-1}, .count = 1, .keepdims = true});
}

static clg_tensor *plain(const clg_tensor *node, clg_tensor *const *in)
{
    const part_attr *attr = node->attr;
    clg_tensor *x = in[1], *gain = in[2], *dy = in[3], *centered = clg_sub(x, row_mean(x));
    if (!dy) return NULL;
    if (node->op == &clg__ops_layer_norm[DBIAS]) return clg__reduce_to(dy, gain->shape);
    clg_tensor *variance = row_mean(clg_mul(centered, centered));
    clg_tensor *deviation = clg_sqrt(clg_add(variance, clg_scalar(x->graph, attr->norm.eps)));
    clg_tensor *xh = clg_div(centered, deviation);
    if (node->op == &clg__ops_layer_norm[DGAIN]) return clg__reduce_to(clg_mul(dy, xh), node->shape);
    clg_tensor *q = clg_mul(dy, gain);
    return clg_div(clg_sub(clg_sub(q, row_mean(q)), clg_mul(xh, row_mean(clg_mul(q, xh)))), deviation);
}

static clg_tensor *part_gradient(const clg__grad *g, int input)
{
    return input == 0 ? NULL : input == 4 ? g->dout : clg__plain_gradient(g, input, plain);
}

#define PART(name_, ...)                                                                                            \
    {.name = #name_, .flags = CLG__VIEW | CLG__PART, .infer = clg__part_infer, .gradient = part_gradient,           \
     .reference = clg__part_reference, __VA_ARGS__}
const clg__op clg__ops_layer_norm[] = {
    [LAYER_NORM] = {.name = "layer_norm", .arity = 3, .flags = CLG__INPLACE, .infer = norm_infer, .record = norm_record,
                    .gradient = norm_gradient, .reference = norm_reference},
    [GRAD] = {.name = "layer_norm_grad", .arity = CLG__VARIADIC, .flags = CLG__NO_GRAD, .infer = norm_infer, .record = grad_record,
              .reference = grad_reference},
    [DX] = PART(layer_norm_dx, .arity = CLG__VARIADIC, .added = dx_added),
    [DGAIN] = PART(layer_norm_dgain, .arity = 4),
    [DBIAS] = PART(layer_norm_dbias, .arity = 4),
    {0},
};

clg_tensor *clg_layer_norm(clg_tensor *x, clg_tensor *gain, clg_tensor *bias, double eps)
{
    if (eps < 0.0 || !isfinite(eps)) return clg__op_fail(x, "layer_norm", CLG_INVALID_ARGUMENT, "eps is %g", eps);
    return clg__apply_attr(&clg__ops_layer_norm[LAYER_NORM], &((norm_attr){eps != 0.0 ? eps : 1e-5}), x, gain, bias);
}
