/* core.c - the four operators that belong to the graph itself and that the plan carries out without a kernel of theirs:
 * leaf (a persistent value), full (one number everywhere), assign (into a leaf), pack (side by side in one storage). */
#include "graph/graph.h"
#include <string.h>

static clg_status leaf_infer(clg__infer *i)
{
    i->shape = *(const clg_shape *)i->attr;
    return CLG_OK;
}

static clg_status full_infer(clg__infer *i)
{
    i->shape = ((const clg__full_attr *)i->attr)->shape;
    return clg_shape_count(i->shape) < 0 ? clg__infer_fail(i, "malformed shape") : CLG_OK;
}

static void full_reference(const clg__ref *r)
{
    const clg__full_attr *attr = r->node->attr;
    for (int64_t i = 0; i < r->node->count; i++) r->out[i] = attr->value;
}

static clg_status assign_infer(clg__infer *i)
{
    i->shape = i->in[0]->shape;
    i->dtype = i->in[0]->dtype;
    return CLG_OK;
}

static void assign_reference(const clg__ref *r)
{
    if (r->node->count) memcpy(r->out, r->in[0], (size_t)r->node->count * sizeof *r->out);
}

static clg_tensor *assign_gradient(const clg__grad *g, int input)
{
    (void)input;
    return g->dout;
}

static clg_status pack_infer(clg__infer *i)
{
    i->shape = CLG_SHAPE(((const clg__pack_attr *)i->attr)->storage->count);
    return CLG_OK;
}

static void pack_reference(const clg__ref *r)
{
    const clg__pack_attr *attr = r->node->attr;
    for (int k = 0; k < r->node->arity; k++)
        for (int64_t i = 0; i < r->node->in[k]->count; i++) r->out[attr->offset[k] + i] = r->in[k][i];
}

const clg__op clg__ops_core[] = {
    [CLG__OP_LEAF] = {.name = "leaf", .flags = CLG__LEAF | CLG__NO_GRAD, .infer = leaf_infer},
    [CLG__OP_FULL] = {.name = "full", .flags = CLG__NO_GRAD, .infer = full_infer, .reference = full_reference},
    [CLG__OP_ASSIGN] = {.name = "assign", .arity = 1, .flags = CLG__POINTWISE, .expr = "a", .infer = assign_infer,
                        .gradient = assign_gradient, .reference = assign_reference},
    [CLG__OP_PACK] = {.name = "pack", .arity = CLG__VARIADIC, .flags = CLG__NO_GRAD, .infer = pack_infer,
                      .reference = pack_reference},
    {0},
};
