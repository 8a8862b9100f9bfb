/* reduce.c - sum (times a factor, which makes it the mean), maximum, minimum and product over any axes.
 *
 * The shape is seen as runs of reduced and kept dimensions; the runs are reduced one after another, the innermost first,
 * each as [outer, length, inner] -> [outer, inner]. A long run with little beside it is cut into segments that another
 * pass joins, so that the device has enough to do, and large columns so that a CPU reads whole rows, not a piece of each
 * page. The order of additions depends on the shape and the device alone. */
#include "graph/op.h"
#include <math.h>

typedef struct reduce_attr {
    unsigned axes; /* bit i: dimension i is reduced */
    float    factor;
} reduce_attr;

enum { SUM, MAX, MIN, PROD };
extern const clg__op clg__ops_reduce[];

static clg_status reduce_infer(clg__infer *i) /* the reduced extents become 1 */
{
    const reduce_attr *attr = i->attr;
    if (i->in[0]->dtype != CLG_F32) return clg__infer_fail(i, "the input must be f32");
    i->shape = i->in[0]->shape;
    for (int d = 0; d < i->shape.rank; d++)
        if (attr->axes >> d & 1) i->shape.dim[d] = 1;
    return CLG_OK;
}

typedef struct pass {
    uint64_t outer, length, inner, segment; /* segments of `segment` along length */
} pass;

enum {
    STRIP_CPU = 128, STRIP_GPU = 4, /* vectors of an item, as in cl/reduce.cl */
    PAGES     = 1 << 20, /* elements that lie in more pages than a CPU knows the places of: better read one after another */
};

static uint64_t wanted_of(const clg__record *r) { return (uint64_t)r->compute_units * 4; } /* units of work */

static uint64_t widest(const clg__record *r) /* strip of columns */
{
    return (uint64_t)r->profile->wg * r->profile->vec * (r->profile->wg == 1 ? STRIP_CPU : STRIP_GPU);
}

static clg_status record_pass(clg__record *r, const pass *p, float factor, clg__arg from, clg__arg to)
{
    static const char *const all[] = {[SUM] = "#define REDUCE_SUM\n", [MAX] = "#define REDUCE_MAX\n",
                                      [MIN] = "#define REDUCE_MIN\n", [PROD] = "#define REDUCE_PROD\n"};
    const uint64_t segments = CLG__MAX(1, (p->length + p->segment - 1) / p->segment);
    const uint64_t lanes = (uint64_t)r->profile->wg * r->profile->vec, units = CLG__MAX(p->outer * segments, 1);
    const uint64_t parts = CLG__MIN(CLG__CEIL_DIV(p->inner, 4 * lanes), CLG__CEIL_DIV(wanted_of(r), units)); /* of a row */
    const uint64_t width = CLG__MIN(CLG__ROUND_UP(CLG__CEIL_DIV(p->inner, CLG__MAX(parts, 1)), lanes), widest(r));
    clg__text      defines = {0};
    clg_status     status;
    clg__text_append(&defines, "%s%s", all[r->node->op - clg__ops_reduce], from.kind == CLG__ARG_SOURCE ? r->producer : "");
    if (p->inner == 1)
        status = clg__record_units(r, "reduce", "reduce_rows", defines.data, p->outer * segments,
                                   CLG__ARGS(from, to, CLG__UINT(p->outer), CLG__UINT(p->length), CLG__UINT(p->segment),
                                             CLG__FLOAT(factor)));
    else
        status = clg__record_units(r, "reduce", "reduce_cols", defines.data, p->outer * segments * CLG__CEIL_DIV(p->inner, width),
                                   CLG__ARGS(from, to, CLG__UINT(p->outer), CLG__UINT(p->length), CLG__UINT(p->inner),
                                             CLG__UINT(p->segment), CLG__UINT(width), CLG__FLOAT(factor)));
    clg__text_free(&defines);
    return status;
}

static clg_status reduce_record(clg__record *r)
{
    const clg_tensor  *x = r->node->in[0];
    const reduce_attr *attr = r->node->attr;
    uint64_t           run[CLG_MAX_RANK + 1] = {1}; /* run[0] kept, run[1] reduced, run[2] kept, ... */
    int                runs = 0;
    for (int d = 0; d < x->shape.rank; d++) {
        if (x->shape.dim[d] == 1) continue;
        if ((attr->axes >> d & 1) != (unsigned)(runs & 1)) run[++runs] = 1;
        run[runs] *= (uint64_t)x->shape.dim[d];
    }
    if (runs == 0) run[++runs] = 1; /* nothing to reduce: a copy */

    clg__arg from = CLG__SOURCE;
    for (int last = runs & 1 ? runs : runs - 1; last > 0; last -= 2) {
        pass p = {1, run[last], 1, CLG__MAX(1, run[last])};
        for (int i = 0; i < last; i++) p.outer *= run[i];
        for (int i = last + 1; i <= runs; i += 2) p.inner *= run[i];
        const uint64_t lanes = (uint64_t)r->profile->wg * r->profile->vec;
        const bool     paged = r->profile->wg == 1 && p.inner > 1 && p.outer * p.length * p.inner >= PAGES;
        const uint64_t beside = p.outer * (p.inner == 1 ? 1 : CLG__CEIL_DIV(p.inner, paged ? widest(r) : lanes));
        const uint64_t wanted = wanted_of(r), least = paged ? 16 : 16 * lanes;
        if (p.length >= 4 * least && beside < wanted) {
            p.segment = CLG__MAX(p.length / (wanted / beside + 1), least);
            const int      half = clg__record_workspace(r, p.outer * ((p.length + p.segment - 1) / p.segment) * p.inner * 4);
            const clg_status status = record_pass(r, &p, 1.0f, from, CLG__WS(half));
            if (status != CLG_OK) return status;
            from = CLG__WS(half);
            p.length = p.segment = (p.length + p.segment - 1) / p.segment;
        }
        const bool       done = last <= 2;
        const clg__arg   to = done ? CLG__OUT : CLG__WS(clg__record_workspace(r, p.outer * p.inner * 4));
        const clg_status status = record_pass(r, &p, done ? attr->factor : 1.0f, from, to);
        if (status != CLG_OK) return status;
        from = to;
    }
    return CLG_OK;
}

static void reduce_reference(const clg__ref *r)
{
    const clg_tensor  *x = r->node->in[0];
    const reduce_attr *attr = r->node->attr;
    const int          op = (int)(r->node->op - clg__ops_reduce);
    const double       start = op == SUM ? 0.0 : op == PROD ? 1.0 : op == MAX ? -(double)INFINITY : (double)INFINITY;
    for (int64_t i = 0; i < r->node->count; i++) r->out[i] = start;
    for (int64_t i = 0; i < x->count; i++) {
        int64_t at = 0, stride = 1, rest = i;
        for (int d = x->shape.rank - 1; d >= 0; d--) {
            if (!(attr->axes >> d & 1)) {
                at += rest % x->shape.dim[d] * stride;
                stride *= x->shape.dim[d];
            }
            rest /= x->shape.dim[d];
        }
        const double v = r->in[0][i];
        if (op == SUM) r->out[at] += v * (double)attr->factor;
        else if (op == PROD) r->out[at] *= v;
        else if ((op == MAX ? v > r->out[at] : v < r->out[at]) || isnan(v)) r->out[at] = v;
    }
}

static clg_tensor *sum_gradient(const clg__grad *g, int input)
{
    const reduce_attr *attr = g->out->attr;
    clg_tensor        *d = clg_expand(g->dout, g->out->in[input]->shape);
    return attr->factor == 1.0f ? d : clg_scale(d, (double)attr->factor);
}

static clg_tensor *sum_over(clg_tensor *x, unsigned axes)
{
    return clg__apply_attr(&clg__ops_reduce[SUM], &((reduce_attr){axes, 1.0f}), x);
}

static clg_tensor *max_gradient(const clg__grad *g, int input) /* shared among equal maxima or minima */
{
    const reduce_attr *attr = g->out->attr;
    clg_tensor        *hit = clg_equal(g->out->in[input], g->out);
    return clg_mul(hit, clg_div(g->dout, sum_over(hit, attr->axes)));
}

/* The product of the others: p / x, with p the product of all that can be divided by, in which 1 stands for 0 and the sign for
 * what is infinite. Zeros count for 0 and infinite values for infinity where there are more of them than the element itself. */
static clg_tensor *prod_gradient(const clg__grad *g, int input)
{
    const reduce_attr *attr = g->out->attr;
    clg_tensor        *x = g->out->in[input], *none = clg_scalar(x->graph, 0.0), *one = clg_scalar(x->graph, 1.0);
    clg_tensor        *infinity = clg_scalar(x->graph, (double)INFINITY);
    clg_tensor        *null = clg_equal(x, none), *endless = clg_equal(clg_abs(x), infinity);
    clg_tensor        *other = clg_where(null, one, clg_where(endless, clg_sign(x), x));
    clg_tensor        *p = clg__apply_attr(&clg__ops_reduce[PROD], attr, other);
    clg_tensor        *finite = clg_equal(endless, sum_over(endless, attr->axes));
    clg_tensor        *quotient = clg_mul(clg_div(p, other), clg_where(finite, one, infinity));
    return clg_mul(clg_equal(null, sum_over(null, attr->axes)), clg_mul(g->dout, quotient));
}

#define ROW(name_, gradient_) \
    {.name = name_, .arity = 1, .flags = CLG__PRODUCED, .infer = reduce_infer, .record = reduce_record, .gradient = gradient_, .reference = reduce_reference}
const clg__op clg__ops_reduce[] = {
    [SUM] = ROW("sum", sum_gradient),
    [MAX] = ROW("max", max_gradient),
    [MIN] = ROW("min", max_gradient),
    [PROD] = ROW("prod", prod_gradient),
    {0},
};

typedef struct kind {
    const char *name;
    int         op;
    bool        mean; /* the sum is divided by the number of elements less `correction` */
    int         correction;
} kind;

static clg_tensor *reduce(clg_tensor *x, const clg_reduce_desc *desc, kind what)
{
    if (!x) return NULL;
    const clg_reduce_desc d = desc ? *desc : (clg_reduce_desc){0};
    reduce_attr           attr = {.factor = 1.0f};
    if (d.count < 0 || d.count > CLG_MAX_RANK)
        return clg__op_fail(x, what.name, CLG_INVALID_ARGUMENT, "%d axes", d.count);
    if (d.count == 0) attr.axes = (1u << x->shape.rank) - 1;
    for (int i = 0; i < d.count; i++) {
        const int axis = d.axes[i] < 0 ? d.axes[i] + x->shape.rank : d.axes[i];
        if (axis < 0 || axis >= x->shape.rank || attr.axes >> axis & 1)
            return clg__op_fail(x, what.name, CLG_INVALID_ARGUMENT, "axis %d is out of range or named twice (rank %d)",
                                d.axes[i], x->shape.rank);
        attr.axes |= 1u << axis;
    }
    int64_t   over = 1;
    clg_shape shape = {0};
    for (int i = 0; i < x->shape.rank; i++) {
        const bool reduced = attr.axes >> i & 1;
        if (reduced) over *= x->shape.dim[i];
        if (!reduced || d.keepdims) shape.dim[shape.rank++] = reduced ? 1 : x->shape.dim[i];
    }
    if (over == 0 && (what.mean || what.op == MAX || what.op == MIN))
        return clg__op_fail(x, what.name, CLG_INVALID_SHAPE, "there is no %s of no elements", what.name);
    if (what.mean && over <= what.correction)
        return clg__op_fail(x, what.name, CLG_INVALID_SHAPE, "the correction is %d, but there are only %lld elements",
                            what.correction, (long long)over);
    if (what.mean) attr.factor = (float)(1.0 / (double)(over - what.correction));
    return clg_reshape(clg__apply_attr(&clg__ops_reduce[what.op], &attr, x), shape);
}

clg_tensor *clg_sum(clg_tensor *x, const clg_reduce_desc *desc) { return reduce(x, desc, (kind){"sum", SUM, false, 0}); }
clg_tensor *clg_mean(clg_tensor *x, const clg_reduce_desc *desc) { return reduce(x, desc, (kind){"mean", SUM, true, 0}); }
clg_tensor *clg_max(clg_tensor *x, const clg_reduce_desc *desc) { return reduce(x, desc, (kind){"max", MAX, false, 0}); }
clg_tensor *clg_min(clg_tensor *x, const clg_reduce_desc *desc) { return reduce(x, desc, (kind){"min", MIN, false, 0}); }
clg_tensor *clg_prod(clg_tensor *x, const clg_reduce_desc *desc) { return reduce(x, desc, (kind){"prod", PROD, false, 0}); }

clg_tensor *clg_variance(clg_tensor *x, const clg_reduce_desc *desc, int correction) /* two passes: nothing cancels */
{
    clg_reduce_desc kept = desc ? *desc : (clg_reduce_desc){0};
    kept.keepdims = true;
    if (correction < 0) return clg__op_fail(x, "variance", CLG_INVALID_ARGUMENT, "the correction is %d", correction);
    clg_tensor *d = clg_sub(x, reduce(x, &kept, (kind){"variance", SUM, true, 0}));
    return reduce(clg_mul(d, d), desc, (kind){"variance", SUM, true, correction});
}

static clg_tensor *planes(clg_tensor *x, const char *name, clg_tensor *(*f)(clg_tensor *, const clg_reduce_desc *))
{
    if (x && x->shape.rank != 4) return clg__op_fail(x, name, CLG_INVALID_SHAPE, "x must be [N, C, H, W]");
    return f(x, &(clg_reduce_desc){.axes = {2, 3}, .count = 2});
}

clg_tensor *clg_global_avg_pool2d(clg_tensor *x) { return planes(x, "global_avg_pool2d", clg_mean); }
clg_tensor *clg_global_max_pool2d(clg_tensor *x) { return planes(x, "global_max_pool2d", clg_max); }
