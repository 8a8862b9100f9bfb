/* gather.c - y[.., j, ..] = x[.., index[.., j, ..], ..] along an axis, and its gradient, which adds what flows back in the
 * order of j. Each is the other's gradient. An index out of range takes zeros and gives nothing. */
#include "graph/op.h"

typedef struct gather_attr {
    int       axis;
    clg_shape x;
} gather_attr;

enum { GATHER, GATHER_GRAD };
extern const clg__op clg__ops_gather[];

static clg_status gather_infer(clg__infer *i) /* x or dy, and the index */
{
    const gather_attr *a = i->attr;
    clg_shape          index = i->in[1]->shape, same = index;
    const bool         back = i->op == &clg__ops_gather[GATHER_GRAD];
    if (i->in[0]->dtype != CLG_F32 || i->in[1]->dtype != CLG_I32) return clg__infer_fail(i, "x must be f32 and the index i32");
    if (index.rank == a->x.rank) same.dim[a->axis] = a->x.dim[a->axis];
    if (!clg_shape_equal(same, a->x))
        return clg__infer_fail(i, "the index must have the extents of x, besides that of axis %d", a->axis);
    if (back && !clg_shape_equal(i->in[0]->shape, index)) return clg__infer_fail(i, "dy does not have the shape of this gather");
    i->shape = back ? a->x : index;
    return CLG_OK;
}

typedef struct extents {
    uint64_t outer, length, count, inner;
} extents;

static extents extents_of(const clg_tensor *t)
{
    const gather_attr *a = t->attr;
    extents            e = {1, (uint64_t)a->x.dim[a->axis], (uint64_t)t->in[1]->shape.dim[a->axis], 1};
    for (int d = 0; d < a->x.rank; d++)
        if (d != a->axis) *(d < a->axis ? &e.outer : &e.inner) *= (uint64_t)a->x.dim[d];
    return e;
}

static clg_status gather_record(clg__record *r)
{
    const extents  e = extents_of(r->node);
    const bool     back = r->node->op == &clg__ops_gather[GATHER_GRAD];
    const uint64_t lanes = (uint64_t)r->profile->wg * r->profile->vec;
    return clg__record_units(r, "gather", r->node->op->name, NULL, back ? e.outer * ((e.inner + lanes - 1) / lanes) : e.outer,
                             CLG__ARGS(CLG__IN(0), CLG__IN(1), CLG__OUT, CLG__UINT(e.outer), CLG__UINT(e.length),
                                       CLG__UINT(e.count), CLG__UINT(e.inner)));
}

static void gather_reference(const clg__ref *r)
{
    const extents e = extents_of(r->node);
    const bool    back = r->node->op == &clg__ops_gather[GATHER_GRAD];
    for (int64_t i = 0; i < r->node->count; i++) r->out[i] = 0.0;
    for (uint64_t i = 0; i < e.outer * e.count * e.inner; i++) {
        const double at = r->in[1][i];
        if (at < 0.0 || at >= (double)e.length) continue;
        const uint64_t from = (i / (e.count * e.inner) * e.length + (uint64_t)at) * e.inner + i % e.inner;
        r->out[back ? from : i] += r->in[0][back ? i : from];
    }
}

static clg_tensor *gather_gradient(const clg__grad *g, int input)
{
    const bool back = g->out->op == &clg__ops_gather[GATHER_GRAD];
    (void)input;
    return clg__apply_attr(&clg__ops_gather[back ? GATHER : GATHER_GRAD], (const gather_attr *)g->out->attr, g->dout,
                           g->out->in[1]);
}

#define ROW(name_)                                                                         \
    {.name = name_, .arity = 2, .infer = gather_infer, .record = gather_record, .gradient = gather_gradient, \
     .reference = gather_reference}
const clg__op clg__ops_gather[] = {[GATHER] = ROW("gather"), [GATHER_GRAD] = ROW("gather_grad"), {0}};

clg_tensor *clg_gather(clg_tensor *x, clg_tensor *index, int axis)
{
    if (!x || !clg__find_axis(x, "gather", &axis)) return NULL;
    return clg__apply_attr(&clg__ops_gather[GATHER], &((gather_attr){axis, x->shape}), x, index);
}

clg_tensor *clg_take(clg_tensor *x, clg_tensor *index, int axis) /* rows of a table, after the axis has come to the front */
{
    if (!x || !index || !clg__find_axis(x, "take", &axis)) return NULL;
    int front[CLG_MAX_RANK], back[CLG_MAX_RANK], n = 0;
    const int rank = x->shape.rank, more = index->shape.rank;
    if (rank + more - 1 > CLG_MAX_RANK)
        return clg__op_fail(x, "take", CLG_INVALID_SHAPE, "the result would have more than %d dimensions", CLG_MAX_RANK);
    front[n++] = axis;
    for (int d = 0; d < rank; d++)
        if (d != axis) front[n++] = d;
    for (int d = 0; d < rank + more - 1; d++)
        back[d] = d < axis ? more + d : d < axis + more ? d - axis : d;
    return clg_permute(clg_embedding(clg_permute(x, front), index), back);
}
