/* matmul.c - Y[b] = op(A[b]) op(B[b]) (+ bias): [M, K] times [K, N], op transposing where the flag says so.
 *
 * Leading dimensions are batches; inside the operator each input has either all of them or none. The gradients are
 * products again: dA = dY op(B)^T and dB = op(A)^T dY, with the operands exchanged where A or B is stored transposed. */
#include "graph/op.h"

typedef struct matmul_attr {
    bool trans_a, trans_b;
} matmul_attr;

extern const clg__op clg__ops_matmul[];

static int64_t last(const clg_tensor *t, int from_end) { return t->shape.dim[t->shape.rank - from_end]; }

/* The problem, or false when the shapes do not fit. */
static bool problem(const clg_tensor *a, const clg_tensor *b, const matmul_attr *attr, clg__gemm *p)
{
    *p = (clg__gemm){0};
    if (a->shape.rank < 2 || b->shape.rank < 2) return false;
    *p = (clg__gemm){.trans_a = attr->trans_a, .trans_b = attr->trans_b,
                     .m = last(a, attr->trans_a ? 1 : 2), .k = last(a, attr->trans_a ? 2 : 1),
                     .n = last(b, attr->trans_b ? 2 : 1), .batch = 1};
    return last(b, attr->trans_b ? 1 : 2) == p->k;
}

static clg_shape lead(clg_shape s)
{
    s.rank -= 2;
    return s;
}

static clg_status matmul_infer(clg__infer *i)
{
    clg__gemm p;
    for (int k = 0; k < i->arity; k++)
        if (i->in[k]->dtype != CLG_F32) return clg__infer_fail(i, "input %d must be f32", k);
    const matmul_attr *attr = i->attr;
    if (!problem(i->in[0], i->in[1], attr, &p))
        return clg__infer_fail(i, "the inner extents differ, or an input has no two dimensions (trans_a %d, trans_b %d)",
                               attr->trans_a, attr->trans_b);
    const clg_shape a = lead(i->in[0]->shape), b = lead(i->in[1]->shape);
    i->shape = a.rank ? a : b;
    if ((a.rank && !clg_shape_equal(a, i->shape)) || (b.rank && !clg_shape_equal(b, i->shape)))
        return clg__infer_fail(i, "the leading dimensions differ");
    if (i->shape.rank + 2 > CLG_MAX_RANK) return clg__infer_fail(i, "too many dimensions");
    i->shape.dim[i->shape.rank++] = p.m;
    i->shape.dim[i->shape.rank++] = p.n;
    if (i->arity == 3 && !clg_shape_equal(i->in[2]->shape, CLG_SHAPE(p.n)))
        return clg__infer_fail(i, "the bias must be [%lld]", (long long)p.n);
    return CLG_OK;
}

static clg_status matmul_record(clg__record *r)
{
    const clg_tensor *y = r->node, *a = y->in[0], *b = y->in[1];
    clg__gemm         p;
    problem(a, b, y->attr, &p);
    p.batch = y->count / (p.m * p.n);
    p.stride_a = a->shape.rank > 2 ? p.m * p.k : 0;
    p.stride_b = b->shape.rank > 2 ? p.k * p.n : 0;
    p.stride_c = p.m * p.n;
    p.bias = y->arity == 3;
    return clg__record_gemm(r, &p, CLG__IN(0), CLG__IN(1), CLG__OUT, p.bias ? CLG__IN(2) : CLG__OUT);
}

static clg__cost matmul_cost(const clg_tensor *y)
{
    clg__gemm p;
    problem(y->in[0], y->in[1], y->attr, &p);
    return (clg__cost){.flops = 2.0 * (double)y->count * (double)p.k};
}

static clg_tensor *product(clg_tensor *a, clg_tensor *b, bool trans_a, bool trans_b)
{
    return clg_matmul(a, b, &(clg_matmul_desc){.trans_a = trans_a, .trans_b = trans_b});
}

static clg_tensor *matmul_gradient(const clg__grad *g, int input)
{
    const matmul_attr *t = g->out->attr;
    clg_tensor        *a = g->out->in[0], *b = g->out->in[1], *dy = g->dout, *d;
    if (input == 2) return clg__reduce_to(dy, g->out->in[2]->shape);
    if (input == 0)
        d = t->trans_a ? product(b, dy, t->trans_b, true) : product(dy, b, false, !t->trans_b);
    else
        d = t->trans_b ? product(dy, a, true, t->trans_a) : product(a, dy, !t->trans_a, false);
    return clg__reduce_to(d, g->out->in[input]->shape);
}

static void matmul_reference(const clg__ref *r)
{
    const clg_tensor  *y = r->node, *ta = y->in[0], *tb = y->in[1];
    const matmul_attr *t = y->attr;
    clg__gemm          p;
    problem(ta, tb, t, &p);
    for (int64_t at = 0; at < y->count; at++) {
        const int64_t j = at % p.n, i = at / p.n % p.m, batch = at / p.n / p.m;
        const double *a = r->in[0] + (ta->shape.rank > 2 ? batch * p.m * p.k : 0);
        const double *b = r->in[1] + (tb->shape.rank > 2 ? batch * p.k * p.n : 0);
        double        sum = y->arity == 3 ? r->in[2][j] : 0.0;
        for (int64_t k = 0; k < p.k; k++)
            sum += (t->trans_a ? a[k * p.m + i] : a[i * p.k + k]) * (t->trans_b ? b[j * p.k + k] : b[k * p.n + j]);
        r->out[at] = sum;
    }
}

const clg__op clg__ops_matmul[] = {
    {.name = "matmul", .arity = CLG__VARIADIC, .flags = CLG__EPILOGUE | CLG__EPILOGUE_OTHER, .infer = matmul_infer,
     .record = matmul_record, .gradient = matmul_gradient, .reference = matmul_reference, .cost = matmul_cost},
    {0},
};

/* x with its leading dimensions broadcast to `batch`. */
static clg_tensor *with_lead(clg_tensor *x, clg_shape batch)
{
    batch.dim[batch.rank++] = last(x, 2);
    batch.dim[batch.rank++] = last(x, 1);
    return clg_expand(x, batch);
}

clg_tensor *clg_matmul(clg_tensor *a, clg_tensor *b, const clg_matmul_desc *desc)
{
    const clg_matmul_desc d = desc ? *desc : (clg_matmul_desc){0};
    const matmul_attr     attr = {d.trans_a, d.trans_b};
    if (!a || !b) return NULL;
    clg_shape batch;
    if (a->shape.rank >= 2 && b->shape.rank >= 2 && (a->shape.rank > 2 || b->shape.rank > 2)) {
        if (b->shape.rank == 2 && !d.trans_a) { /* one matrix for all rows: a single product */
            clg_shape y = a->shape;
            y.dim[y.rank - 1] = 1;
            clg_tensor *flat = clg_matmul(clg_reshape(a, CLG_SHAPE(clg_shape_count(y), last(a, 1))), b, &d);
            y.dim[y.rank - 1] = clg_tensor_shape(flat).dim[1];
            return flat ? clg_reshape(flat, y) : NULL;
        }
        char text[128];
        if (!clg__broadcast(lead(a->shape), lead(b->shape), &batch) || batch.rank + 2 > CLG_MAX_RANK)
            return clg__op_fail(a, "matmul", CLG_INVALID_SHAPE, "the leading dimensions do not broadcast to those of %s",
                                clg_shape_text(b->shape, text, sizeof text));
        if (a->shape.rank > 2) a = with_lead(a, batch);
        if (b->shape.rank > 2) b = with_lead(b, batch);
    }
    return d.bias ? clg__apply_attr(&clg__ops_matmul[0], &attr, a, b, d.bias)
                  : clg__apply_attr(&clg__ops_matmul[0], &attr, a, b);
}
