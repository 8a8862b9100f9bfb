/* argmax.c - the index of the first largest element along an axis, as i32. NaN is the largest. */
#include "graph/op.h"

typedef struct argmax_attr {
    int axis;
} argmax_attr;

extern const clg__op clg__ops_argmax[];

/* x as [outer, length, inner] */
static void split(const clg_tensor *x, int axis, uint64_t extent[3])
{
    for (int i = 0; i < 3; i++) extent[i] = 1;
    for (int i = 0; i < x->shape.rank; i++) extent[i < axis ? 0 : i == axis ? 1 : 2] *= (uint64_t)x->shape.dim[i];
}

static clg_status argmax_infer(clg__infer *i)
{
    const int axis = ((const argmax_attr *)i->attr)->axis;
    i->shape = i->in[0]->shape;
    i->dtype = CLG_I32;
    if (i->in[0]->dtype != CLG_F32) return clg__infer_fail(i, "the input must be f32");
    if (i->shape.dim[axis] < 1) return clg__infer_fail(i, "there is no largest of no elements");
    if (i->shape.dim[axis] > INT32_MAX) return clg__infer_fail(i, "more than 2^31 elements are not supported");
    i->shape.dim[axis] = 1;
    return CLG_OK;
}

static clg_status argmax_record(clg__record *r)
{
    uint64_t e[3];
    split(r->node->in[0], ((const argmax_attr *)r->node->attr)->axis, e);
    const uint64_t lanes = (uint64_t)r->profile->wg * r->profile->vec;
    return clg__record_units(r, "argmax", "argmax", r->producer, e[0] * (e[2] == 1 ? 1 : (e[2] + lanes - 1) / lanes),
                             CLG__ARGS(CLG__SOURCE, CLG__OUT, CLG__UINT(e[0]), CLG__UINT(e[1]), CLG__UINT(e[2])));
}

static void argmax_reference(const clg__ref *r)
{
    uint64_t e[3];
    split(r->node->in[0], ((const argmax_attr *)r->node->attr)->axis, e);
    for (uint64_t o = 0; o < e[0]; o++)
        for (uint64_t i = 0; i < e[2]; i++) {
            const double *x = r->in[0] + o * e[1] * e[2] + i;
            uint64_t      best = 0;
            for (uint64_t k = 1; k < e[1]; k++) {
                const double v = x[k * e[2]], w = x[best * e[2]];
                if (v > w || (isnan(v) && !isnan(w))) best = k;
            }
            r->out[o * e[2] + i] = (double)best;
        }
}

const clg__op clg__ops_argmax[] = {
    {.name = "argmax", .arity = 1, .flags = CLG__NO_GRAD | CLG__PRODUCED, .infer = argmax_infer, .record = argmax_record,
     .reference = argmax_reference},
    {0},
};

clg_tensor *clg_argmax(clg_tensor *x, int axis, bool keepdims)
{
    if (!x || !clg__find_axis(x, "argmax", &axis)) return NULL;
    clg_tensor *y = clg__apply_attr(&clg__ops_argmax[0], &(argmax_attr){axis}, x);
    clg_shape   shape = {0};
    for (int d = 0; d < x->shape.rank; d++)
        if (d != axis) shape.dim[shape.rank++] = x->shape.dim[d];
    return keepdims ? y : clg_reshape(y, shape);
}
