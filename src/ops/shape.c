/* shape.c - reshape: a view, without a launch. */
#include "graph/op.h"
#include <string.h>

enum { RESHAPE };
extern const clg__op clg__ops_shape[];

static clg_status reshape_infer(clg__infer *i)
{
    i->shape = *(const clg_shape *)i->attr;
    i->dtype = i->in[0]->dtype;
    char text[128];
    return clg_shape_count(i->shape) == i->in[0]->count
               ? CLG_OK : clg__infer_fail(i, "%s has another number of elements", clg_shape_text(i->shape, text, sizeof text));
}

static clg_tensor *reshape_gradient(const clg__grad *g, int input)
{
    return clg_reshape(g->dout, g->out->in[input]->shape);
}

static void reshape_reference(const clg__ref *r)
{
    if (r->node->count) memcpy(r->out, r->in[0], (size_t)r->node->count * sizeof *r->out);
}

clg_tensor *clg_reshape(clg_tensor *x, clg_shape shape)
{
    if (!x) return NULL;
    if (clg_shape_equal(x->shape, shape)) return x;
    int64_t known = 1;
    int     open = -1;
    for (int i = 0; i < shape.rank && i < CLG_MAX_RANK; i++) {
        if (shape.dim[i] == -1 && open < 0)
            open = i;
        else if (shape.dim[i] < 0 || clg__mul_overflows(known, shape.dim[i], &known))
            return clg__op_fail(x, "reshape", CLG_INVALID_SHAPE, "dimension %d of the new shape is %lld", i,
                                (long long)shape.dim[i]);
    }
    if (open >= 0) {
        if (known == 0 || x->count % known)
            return clg__op_fail(x, "reshape", CLG_INVALID_SHAPE, "%lld elements cannot be divided by the other extents",
                                (long long)x->count);
        shape.dim[open] = x->count / known;
    }
    return clg__apply_attr(&clg__ops_shape[RESHAPE], &shape, x);
}

clg_tensor *clg_flatten(clg_tensor *x, int from)
{
    if (!x) return NULL;
    if (from < 0) from += x->shape.rank;
    if (from < 0 || from > x->shape.rank || from >= CLG_MAX_RANK)
        return clg__op_fail(x, "flatten", CLG_INVALID_ARGUMENT, "no dimension %d in rank %d", from, x->shape.rank);
    clg_shape shape = {.rank = from + 1};
    shape.dim[from] = 1;
    for (int i = 0; i < x->shape.rank; i++)
        if (i < from) shape.dim[i] = x->shape.dim[i];
        else shape.dim[from] *= x->shape.dim[i];
    return clg_reshape(x, shape);
}

const clg__op clg__ops_shape[] = {
    [RESHAPE] = {.name = "reshape", .arity = 1, .flags = CLG__VIEW, .infer = reshape_infer, .gradient = reshape_gradient,
                 .reference = reshape_reference},
    {0},
};
