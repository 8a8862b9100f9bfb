/* batch_norm.c - y = xh gain + bias with xh = (x - mean) r, r = 1 / sqrt(variance + eps), channel by channel of x [N, C, ...].
 *
 *   dbias = sum(dy),   dgain = sum(dy xh),   dx = r gain (dy - mean(dy) - xh mean(dy xh))
 *
 * What needs all values of a channel is two operators with several results: the statistics of x, and the sums of the
 * gradient. What remains, y and dx, is pointwise, so that the planner fuses it with what comes before and after. The
 * statistics carry no gradient: dx is the whole of it. */
#include "graph/op.h"

enum { STATS, MEAN, SCALE, VARIANCE, BATCH_NORM, SUMS, DGAIN, DBIAS, DOT, SUM, DX };
extern const clg__op clg__ops_batch_norm[];
#define OP(name) (&clg__ops_batch_norm[name])

typedef struct norm_attr {
    double eps;
} norm_attr;

typedef struct part_attr {
    clg__part part;
    norm_attr norm;
} part_attr;

/* ---- shapes ------------------------------------------------------------------------------------------------------ */

typedef struct extents {
    int64_t outer, channels, inner;
} extents;

static extents extents_of(const clg_tensor *x)
{
    extents e = {x->shape.dim[0], x->shape.dim[1], 1};
    for (int d = 2; d < x->shape.rank; d++) e.inner *= x->shape.dim[d];
    return e;
}

static clg_shape channel_shape(const clg_tensor *x) /* [C, 1, ...]: what broadcasts to x */
{
    clg_shape shape = {.rank = x->shape.rank - 1, .dim = {x->shape.dim[1]}};
    for (int d = 1; d < shape.rank; d++) shape.dim[d] = 1;
    return shape;
}

static int64_t part_at(int64_t channels, int i) { return i * clg__part_end(0, channels); }

/* [mean, r, variance] or [dgain, dbias]: not an element more, for these may be computed among other gradients */
static clg_status several_infer(clg__infer *i)
{
    const int64_t channels = i->in[0]->shape.dim[1];
    i->shape = CLG_SHAPE(part_at(channels, i->op == OP(STATS) ? 2 : 1) + channels);
    return CLG_OK;
}

static clg_tensor *part(int op, int at, clg_tensor *all, clg_tensor *x, const norm_attr *norm, clg_tensor *dy)
{
    const part_attr attr = {{part_at(x->shape.dim[1], at), channel_shape(x)}, *norm};
    return clg__apply_n(OP(op), &attr, sizeof attr, (clg_tensor *const[]){all, x, dy}, OP(op)->arity);
}

/* ---- launches ---------------------------------------------------------------------------------------------------- */

static clg_status several_record(clg__record *r)
{
    const norm_attr *attr = r->node->attr;
    const extents    e = extents_of(r->node->in[0]);
    if (e.inner > INT32_MAX || e.outer > INT32_MAX)
        return clg__op_fail(r->node->in[0], "batch_norm", CLG_UNSUPPORTED, "an extent is beyond 2^31"), CLG_UNSUPPORTED;
#define EXTENTS CLG__UINT(e.outer), CLG__UINT(e.channels), CLG__UINT(e.inner), CLG__ULONG(part_at(e.channels, 1))
    if (r->node->op == OP(STATS))
        return clg__record_units(r, "batch_norm", "batch_norm_stats", NULL, (uint64_t)e.channels,
                                 CLG__ARGS(CLG__IN(0), CLG__OUT, EXTENTS, CLG__FLOAT(attr->eps)));
    return clg__record_units(r, "batch_norm", "batch_norm_sums", NULL, (uint64_t)e.channels,
                             CLG__ARGS(CLG__IN(0), CLG__IN(1), CLG__IN(2), CLG__IN(3), CLG__OUT, EXTENTS));
}

/* ---- references -------------------------------------------------------------------------------------------------- */

#define EACH_ELEMENT(i, c, e)                                                \
    for (int64_t i = 0, c = 0; i < (e).outer * (e).channels * (e).inner; i++, \
                 c = i / (e).inner % (e).channels)

static void stats_reference(const clg__ref *r)
{
    const extents    e = extents_of(r->node->in[0]);
    const double    *x = r->in[0], count = (double)(e.outer * e.inner);
    const norm_attr *attr = r->node->attr;
    double *mean = r->out, *scale = mean + part_at(e.channels, 1), *variance = mean + part_at(e.channels, 2);
    for (int64_t i = 0; i < r->node->count; i++) r->out[i] = 0.0;
    EACH_ELEMENT(i, c, e) mean[c] += x[i] / count;
    EACH_ELEMENT(i, c, e) variance[c] += (x[i] - mean[c]) * (x[i] - mean[c]);
    for (int64_t c = 0; c < e.channels; c++) {
        scale[c] = 1.0 / sqrt(variance[c] / count + attr->eps);
        variance[c] /= count - 1.0;
    }
}

static void sums_reference(const clg__ref *r)
{
    const extents e = extents_of(r->node->in[0]);
    const double *x = r->in[0], *mean = r->in[1], *scale = r->in[2], *dy = r->in[3];
    const int64_t next = part_at(e.channels, 1);
    double       *out = r->out;
    for (int64_t i = 0; i < r->node->count; i++) out[i] = 0.0;
    EACH_ELEMENT(i, c, e) {
        const double xh = (x[i] - mean[c]) * scale[c];
        out[c] += dy[i] * xh;
        out[next + c] += dy[i];
    }
}

static void norm_reference(const clg__ref *r)
{
    const extents e = extents_of(r->node->in[0]);
    EACH_ELEMENT(i, c, e) r->out[i] = (r->in[0][i] - r->in[1][c]) * (r->in[2][c] * r->in[3][c]) + r->in[4][c];
}

static void dx_reference(const clg__ref *r)
{
    const extents e = extents_of(r->node->in[0]);
    EACH_ELEMENT(i, c, e)
        r->out[i] = r->in[2][c] * r->in[3][c] * (r->in[4][i] - (r->in[5][c] + (r->in[0][i] - r->in[1][c]) * r->in[2][c] *
                                                                r->in[6][c]) * r->in[7][0]);
}

/* ---- gradients --------------------------------------------------------------------------------------------------- */

static clg_tensor *norm_gradient(const clg__grad *g, int input)
{
    clg_tensor *const *in = g->out->in, *x = in[0], *mean = in[1], *scale = in[2], *gain = in[3], *dy = g->dout;
    const norm_attr   *norm = g->out->attr;
    clg_tensor *all = clg__apply_once(OP(SUMS), norm, sizeof *norm, (clg_tensor *const[]){x, mean, scale, dy}, 4);
    if (!all) return NULL;
    if (input == 3) return part(DGAIN, 0, all, x, norm, dy);
    if (input == 4) return part(DBIAS, 1, all, x, norm, dy);
    clg_tensor *dot = part(DOT, 0, all, x, norm, dy), *sum = part(SUM, 1, all, x, norm, dy);
    clg_tensor *share = clg_scalar(x->graph, (double)x->shape.dim[1] / (double)x->count);
    return clg__apply_attr(OP(DX), norm, x, mean, scale, gain, dy, sum, dot, share);
}

static clg_tensor *channel_mean(clg_tensor *x)
{
    return x ? clg_scale(clg__reduce_to(x, channel_shape(x)), 1.0 / (double)(x->count / x->shape.dim[1])) : NULL;
}

/* dbias, dgain or dx as plain nodes of x, gain and dy. */
static clg_tensor *plain(const clg_tensor *node, clg_tensor *const *in)
{
    const bool  is_dx = node->op == OP(DX);
    clg_tensor *x = is_dx ? in[0] : in[1], *gain = is_dx ? in[3] : NULL, *dy = is_dx ? in[4] : in[2];
    const norm_attr *norm = is_dx ? node->attr : &((const part_attr *)node->attr)->norm;
    if (!x || !dy) return NULL;
    if (node->op == OP(DBIAS)) return clg__reduce_to(dy, node->shape);
    clg_tensor *centered = clg_sub(x, channel_mean(x)), *variance = channel_mean(clg_mul(centered, centered));
    clg_tensor *deviation = clg_sqrt(clg_add(variance, clg_scalar(x->graph, norm->eps)));
    clg_tensor *xh = clg_div(centered, deviation);
    if (node->op == OP(DGAIN)) return clg__reduce_to(clg_mul(dy, xh), node->shape);
    clg_tensor *inner = clg_sub(clg_sub(dy, channel_mean(dy)), clg_mul(xh, channel_mean(clg_mul(dy, xh))));
    return clg_mul(clg_div(gain, deviation), inner);
}

static clg_tensor *plain_gradient(const clg__grad *g, int input)
{
    return g->out->op != OP(DX) && input == 0 ? NULL : clg__plain_gradient(g, input, plain);
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

#define SEVERAL(name_, arity_)                                                                                            \
    {.name = #name_, .arity = arity_, .flags = CLG__NO_GRAD, .infer = several_infer, .record = several_record, \
     .reference = name_##_reference}
#define STATISTIC(name_)                                                                                                \
    {.name = #name_, .arity = 1, .flags = CLG__VIEW | CLG__PART | CLG__NO_GRAD, .infer = clg__part_infer, \
     .reference = clg__part_reference}
#define PART(name_)                                                                                       \
    {.name = #name_, .arity = 3, .flags = CLG__VIEW | CLG__PART, .infer = clg__part_infer, .gradient = plain_gradient, \
     .reference = clg__part_reference}
#define batch_norm_stats_reference stats_reference
#define batch_norm_sums_reference  sums_reference

const clg__op clg__ops_batch_norm[] = {
    [STATS] = SEVERAL(batch_norm_stats, 1),
    [MEAN] = STATISTIC(batch_norm_mean),
    [SCALE] = STATISTIC(batch_norm_scale),
    [VARIANCE] = STATISTIC(batch_norm_variance),
    [BATCH_NORM] = {.name = "batch_norm", .arity = 5, .flags = CLG__POINTWISE, .expr = "(a - b) * (c * d) + e",
                    .infer = clg__infer_broadcast, .gradient = norm_gradient, .reference = norm_reference},
    [SUMS] = SEVERAL(batch_norm_sums, 4),
    [DGAIN] = PART(batch_norm_dgain),
    [DBIAS] = PART(batch_norm_dbias),
    [DOT] = STATISTIC(batch_norm_dot),
    [SUM] = STATISTIC(batch_norm_sum),
    [DX] = {.name = "batch_norm_dx", .arity = 8, .flags = CLG__POINTWISE, .expr = "c * d * (e - (f + (a - b) * (c * g)) * h)",
            .infer = clg__infer_broadcast, .gradient = plain_gradient, .reference = dx_reference},
    {0},
};

/* running = (1 - momentum) running + momentum now */
static void move(clg_tensor *running, clg_tensor *now, double momentum)
{
    if (!running || !now) return;
    clg_tensor *next = clg_add(clg_scale(running, 1.0 - momentum), clg_scale(clg_reshape(now, running->shape), momentum));
    clg_graph_add_update(running->graph, clg_assign(running, next));
}

clg_tensor *clg_batch_norm(clg_tensor *x, clg_tensor *gain, clg_tensor *bias, const clg_batch_norm_desc *desc)
{
    const clg_batch_norm_desc d = desc ? *desc : (clg_batch_norm_desc){0};
    const norm_attr           norm = {d.eps != 0.0 ? d.eps : 1e-5};
    const double              momentum = d.momentum != 0.0 ? d.momentum : 0.1;
    if (!x || !gain || !bias) return NULL;
    if (x->shape.rank < 2 || x->shape.dim[1] < 1 || x->dtype != CLG_F32)
        return clg__op_fail(x, "batch_norm", CLG_INVALID_SHAPE, "x must be f32 [N, C, ...]");
    const clg_tensor *const each[] = {gain, bias, d.running_mean, d.running_var};
    for (int i = 0; i < 4; i++)
        if (each[i] ? !clg_shape_equal(each[i]->shape, CLG_SHAPE(x->shape.dim[1])) : !d.training)
            return clg__op_fail(x, "batch_norm", CLG_INVALID_SHAPE, "gain, bias and running statistics must be [%lld]",
                                (long long)x->shape.dim[1]);
    if (!(norm.eps > 0.0) || !isfinite(norm.eps) || !(momentum >= 0.0 && momentum <= 1.0))
        return clg__op_fail(x, "batch_norm", CLG_INVALID_ARGUMENT, "eps must be positive and the momentum in [0, 1]");
    if (!d.training) {
        clg_tensor *scale = clg_div(gain, clg_sqrt(clg_add(d.running_var, clg_scalar(x->graph, norm.eps))));
        clg_tensor *shift = clg_sub(bias, clg_mul(d.running_mean, scale)); /* what a convolution's epilogue takes */
        return clg_add(clg_mul(x, clg_reshape(scale, channel_shape(x))), clg_reshape(shift, channel_shape(x)));
    }
    if (x->count / x->shape.dim[1] < 2)
        return clg__op_fail(x, "batch_norm", CLG_INVALID_SHAPE, "training needs at least two values a channel");
    clg_tensor *stats = clg__apply_attr(OP(STATS), &norm, x);
    clg_tensor *mean = part(MEAN, 0, stats, x, &norm, NULL), *scale = part(SCALE, 1, stats, x, &norm, NULL);
    move(d.running_mean, mean, momentum);
    move(d.running_var, part(VARIANCE, 2, stats, x, &norm, NULL), momentum);
    return clg__apply_attr(OP(BATCH_NORM), &norm, x, mean, scale, clg_reshape(gain, channel_shape(x)),
                           clg_reshape(bias, channel_shape(x)));
}
