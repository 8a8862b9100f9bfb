/* shape.c - reshape (a view: no launch) and transpose (a copy: y[a, d2, b, d1, c] = x[a, d1, b, d2, c]). */
#include "graph/op.h"
#include <string.h>

typedef struct transpose_attr {
    int a, b; /* a < b */
} transpose_attr;

enum { RESHAPE, TRANSPOSE };
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

/* x as [outer, d1, middle, d2, inner] */
static void split(const clg_tensor *x, const transpose_attr *t, uint64_t extent[5])
{
    for (int i = 0; i < 5; i++) extent[i] = 1;
    for (int i = 0; i < x->shape.rank; i++)
        extent[i < t->a ? 0 : i == t->a ? 1 : i < t->b ? 2 : i == t->b ? 3 : 4] *= (uint64_t)x->shape.dim[i];
}

static clg_status transpose_infer(clg__infer *i)
{
    const transpose_attr *t = i->attr;
    if (i->in[0]->dtype != CLG_F32) return clg__infer_fail(i, "the input must be f32");
    i->shape = i->in[0]->shape;
    i->shape.dim[t->a] = i->in[0]->shape.dim[t->b];
    i->shape.dim[t->b] = i->in[0]->shape.dim[t->a];
    return CLG_OK;
}

static clg_status transpose_record(clg__record *r)
{
    uint64_t e[5];
    split(r->node->in[0], r->node->attr, e);
    return clg__record_units(r, "transpose", "transpose", NULL, e[0] * e[3] * e[2],
                             CLG__ARGS(CLG__IN(0), CLG__OUT, CLG__UINT(e[0] * e[3] * e[2]), CLG__UINT(e[1]), CLG__UINT(e[2]),
                                       CLG__UINT(e[3]), CLG__UINT(e[4])));
}

static clg_tensor *transpose_gradient(const clg__grad *g, int input)
{
    const transpose_attr *t = g->out->attr;
    (void)input;
    return clg_transpose(g->dout, t->a, t->b);
}

static void transpose_reference(const clg__ref *r)
{
    uint64_t e[5];
    double  *y = r->out;
    split(r->node->in[0], r->node->attr, e);
    for (uint64_t o = 0; o < e[0]; o++)
        for (uint64_t j = 0; j < e[3]; j++)
            for (uint64_t m = 0; m < e[2]; m++)
                for (uint64_t i = 0; i < e[1]; i++)
                    for (uint64_t c = 0; c < e[4]; c++)
                        *y++ = r->in[0][(((o * e[1] + i) * e[2] + m) * e[3] + j) * e[4] + c];
}

clg_tensor *clg_transpose(clg_tensor *x, int a, int b)
{
    if (!x) return NULL;
    const int rank = x->shape.rank;
    if (a < 0) a += rank;
    if (b < 0) b += rank;
    if (a < 0 || b < 0 || a >= rank || b >= rank)
        return clg__op_fail(x, "transpose", CLG_INVALID_ARGUMENT, "a dimension is out of range for rank %d", rank);
    if (a == b) return x;
    return clg__apply_attr(&clg__ops_shape[TRANSPOSE], &((transpose_attr){CLG__MIN(a, b), CLG__MAX(a, b)}), x);
}

const clg__op clg__ops_shape[] = {
    [RESHAPE] = {.name = "reshape", .arity = 1, .flags = CLG__VIEW, .infer = reshape_infer, .gradient = reshape_gradient,
                 .reference = reshape_reference},
    [TRANSPOSE] = {.name = "transpose", .arity = 1, .infer = transpose_infer, .record = transpose_record,
                   .gradient = transpose_gradient, .reference = transpose_reference},
    {0},
};
