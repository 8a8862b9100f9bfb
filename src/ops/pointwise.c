/* pointwise.c - y[i] = f(a[i], b[i]), inputs broadcast as in NumPy.
 *
 * A row is a name, the number of inputs and an expression that is both OpenCL C (T: float or a vector of floats) and C
 * (T: double, the reference); src/plan joins chains of such nodes into one generated kernel, so gradients are written as
 * the plain nodes of their formula. They read the result instead of the input where they can: then the input need not
 * be kept, and the node can be folded into the epilogue of the product before it. */
#include "graph/op.h"
#include <string.h>

/* (1 + tanh(u / 2)) / 2 = 1 / (1 + exp(-u)) with u = sqrt(8 / pi) (a + 0.044715 a^3), and u' */
#define GATE       ((T)1 / ((T)1 + exp(a * ((T)-1.59576912f - (T)0.07135482f * a * a))))
#define GATE_SLOPE ((T)1.59576912f + (T)0.21406445f * WITHIN * WITHIN)
#define WITHIN     fmin(fmax(a, (T)-16.0f), (T)16.0f) /* beyond, GATE (1 - GATE) is 0, and a^2 may be infinite */

#define POINTWISE_TABLE(X)                                                                  \
    X(add, 2, a + b)                                                                        \
    X(sub, 2, a - b)                                                                        \
    X(mul, 2, a * b)                                                                        \
    X(div, 2, a / b)                                                                        \
    X(neg, 1, -a)                                                                           \
    X(exp, 1, exp(a))                                                                       \
    X(log, 1, log(a))                                                                       \
    X(sqrt, 1, sqrt(a))                                                                     \
    X(relu, 1, a < (T)0 ? (T)0 : a)                                                         \
    X(relu_grad, 2, a <= (T)0 ? (T)0 : b) /* of relu's result and its gradient */           \
    X(sigmoid, 1, (T)1 / ((T)1 + exp(-a)))                                                  \
    X(tanh, 1, tanh(a))                                                                     \
    X(sin, 1, sin(a))                                                                       \
    X(cos, 1, cos(a))                                                                       \
    X(pow, 2, pow(a, b))                                                                    \
    X(abs, 1, fabs(a))                                                                      \
    X(sign, 1, a > (T)0 ? (T)1 : a < (T)0 ? (T)-1 : a)                                      \
    X(minimum, 2, ((a < b) | (a != a)) ? a : b)                                             \
    X(maximum, 2, ((a > b) | (a != a)) ? a : b)                                             \
    X(share, 2, a < b ? (T)0 : a == b ? (T)0.5f : (T)1) /* a's of the maximum's gradient */ \
    X(clamp, 3, a < b ? b : a > c ? c : a)                                                  \
    X(inside, 3, ((a >= b) & (a <= c)) ? (T)1 : (T)0)                                       \
    X(where, 3, a != (T)0 ? b : c)                                                          \
    X(leaky_relu, 2, a > (T)0 ? a : a * b)                                                  \
    X(leaky_slope, 2, a > (T)0 ? (T)1 : b)                                                  \
    X(elu, 2, a > (T)0 ? a : b * expm1(a))                                                  \
    X(softplus, 1, (a < (T)0 ? (T)0 : a) + log1p(exp(-fabs(a))))                            \
    X(silu, 1, a / ((T)1 + exp(-a)))                                                        \
    X(equal, 2, a == b ? (T)1 : (T)0)                                                       \
    X(less, 2, a < b ? (T)1 : (T)0)                                                         \
    X(less_equal, 2, a <= b ? (T)1 : (T)0)                                                  \
    X(next, 1, a + (T)1) /* of i32 */                                                       \
    X(to_f32, 1, a) /* of i32; the kernel has read it as a float */                         \
    X(erf, 1, erf(a))                                                                       \
    X(gelu, 1, a * ((T)0.5f + (T)0.5f * erf(a * (T)0.70710678f)))                           \
    X(gelu_grad, 2, b * ((T)0.5f + (T)0.5f * erf(a * (T)0.70710678f) +                      \
                         a * (T)0.39894228f * exp((T)-0.5f * a * a)))                       \
    X(gelu_tanh, 1, a * GATE)                                                               \
    X(gelu_tanh_grad, 2, b * GATE * ((T)1 + WITHIN * GATE_SLOPE * ((T)1 - GATE)))           \
    X(bce, 2, (a > (T)0 ? a : (T)0) - a * b + log1p(exp(-fabs(a))))                         \
    X(expand, 1, a)

#define EACH_FLAT(X) X(sign) X(share) X(inside) X(leaky_slope) X(equal) X(less) X(less_equal) X(next) X(to_f32)

typedef double T;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wfloat-equal"
#define REFERENCE(name, arity, ...)                       \
    static T name##_value(T a, T b, T c)                  \
    {                                                     \
        (void)b, (void)c;                                 \
        return __VA_ARGS__;                               \
    }
POINTWISE_TABLE(REFERENCE)
#pragma GCC diagnostic pop

/* Where element `i` of the result is found in an input of shape `in`. */
static size_t broadcast_index(clg_shape out, clg_shape in, size_t i)
{
    size_t at = 0, stride = 1;
    for (int d = out.rank - 1; d >= 0; d--) {
        const size_t extent = (size_t)out.dim[d], index = i % extent;
        const int    k = d - (out.rank - in.rank);
        i /= extent;
        if (k < 0) continue;
        if (in.dim[k] != 1) at += index * stride;
        stride *= (size_t)in.dim[k];
    }
    return at;
}

static void each(const clg__ref *r, T (*f)(T, T, T))
{
    const clg_tensor *t = r->node;
    for (size_t i = 0; i < (size_t)t->count; i++) {
        T v[3] = {0.0, 0.0, 0.0};
        for (int k = 0; k < t->arity; k++) v[k] = r->in[k][broadcast_index(t->shape, t->in[k]->shape, i)];
        r->out[i] = f(v[0], v[1], v[2]);
    }
}
#define EACH(name, arity, ...) \
    static void name##_reference(const clg__ref *r) { each(r, name##_value); }
POINTWISE_TABLE(EACH)

#define INDEX(name, arity, ...) OP_##name,
enum { POINTWISE_TABLE(INDEX) };
extern const clg__op clg__ops_pointwise[];
#define OP(name) (&clg__ops_pointwise[OP_##name])

/* ---- gradients --------------------------------------------------------------------------------------------------- */

#define A    (g->out->in[0])
#define B    (g->out->in[1])
#define C    (g->out->in[2])
#define Y    (g->out)
#define DY   (g->dout)
#define GRADIENT(name) static clg_tensor *name##_gradient(const clg__grad *g, int input)

/* The gradient of an input is summed over the dimensions along which that input was broadcast. */
static clg_tensor *to(const clg__grad *g, int input, clg_tensor *d) { return clg__reduce_to(d, g->out->in[input]->shape); }

GRADIENT(add) { return to(g, input, DY); }
GRADIENT(sub) { return to(g, input, input == 0 ? DY : clg_neg(DY)); }
GRADIENT(mul) { return to(g, input, clg_mul(DY, input == 0 ? B : A)); }
GRADIENT(div) { return to(g, input, input == 0 ? clg_div(DY, B) : clg_neg(clg_div(clg_mul(DY, Y), B))); }
GRADIENT(neg) { return (void)input, clg_neg(DY); }
GRADIENT(exp) { return (void)input, clg_mul(DY, Y); }
GRADIENT(log) { return (void)input, clg_div(DY, A); }
GRADIENT(sqrt) { return (void)input, clg_div(clg_scale(DY, 0.5), Y); }
GRADIENT(relu)
{
    clg_tensor *d = DY->op->masked ? DY->op->masked(DY, Y) : NULL;
    return (void)input, d ? d : clg__apply(OP(relu_grad), Y, DY);
}
GRADIENT(relu_grad) { return input == 0 ? NULL : clg__apply(OP(relu_grad), A, DY); }
#define FLAT(name) GRADIENT(name) { return (void)g, (void)input, NULL; } /* piecewise constant, or of integers */
EACH_FLAT(FLAT)
GRADIENT(expand) { return to(g, input, DY); }
GRADIENT(sin) { return (void)input, clg_mul(DY, clg_cos(A)); }
GRADIENT(cos) { return (void)input, clg_neg(clg_mul(DY, clg_sin(A))); }
GRADIENT(abs) { return (void)input, clg_mul(DY, clg_sign(A)); }
GRADIENT(maximum) { return to(g, input, clg_mul(DY, clg__apply(OP(share), input ? B : A, input ? A : B))); }
GRADIENT(minimum) { return to(g, input, clg_mul(DY, clg__apply(OP(share), input ? A : B, input ? B : A))); }
GRADIENT(softplus) { return (void)input, clg_mul(DY, clg_sigmoid(A)); }

GRADIENT(clamp) /* the bounds are numbers */
{
    return input == 0 ? clg_mul(DY, clg__apply(OP(inside), A, B, C)) : NULL;
}

GRADIENT(leaky_relu)
{
    return input == 0 ? clg_mul(DY, clg__apply(OP(leaky_slope), A, B)) : NULL;
}

static clg_tensor *number(const clg_tensor *like, double value) { return clg_scalar(like->graph, value); }

GRADIENT(elu) /* dy (1 or alpha exp(x)); exp of the minimum, for infinity is not to meet the zero of the other branch */
{
    if (input != 0) return NULL;
    clg_tensor *zero = number(A, 0.0), *below = clg_mul(B, clg_exp(clg_minimum(A, zero)));
    return clg_mul(DY, clg_where(clg_less(zero, A), number(A, 1.0), below));
}

GRADIENT(where)
{
    clg_tensor *zero = number(DY, 0.0);
    if (input == 0) return NULL;
    return to(g, input, input == 1 ? clg_where(A, DY, zero) : clg_where(A, zero, DY));
}

/* dy b a^(b - 1), dy a^b log(a); no NaN from 0 infinity where b or a is 0 */
GRADIENT(pow)
{
    clg_tensor *zero = number(DY, 0.0);
    if (input == 0)
        return to(g, 0, clg_mul(DY, clg_where(B, clg_mul(B, clg_pow(A, clg_sub(B, number(B, 1.0)))), zero)));
    clg_tensor *null = clg_mul(clg_equal(A, zero), clg_less_equal(zero, B));
    return to(g, 1, clg_mul(DY, clg_where(null, zero, clg_mul(Y, clg_log(A)))));
}

GRADIENT(sigmoid) /* dy y (1 - y) */
{
    (void)input;
    clg_tensor *d = clg_mul(DY, Y);
    return clg_sub(d, clg_mul(d, Y));
}

GRADIENT(tanh) /* dy (1 - y^2) */
{
    (void)input;
    return clg_sub(DY, clg_mul(DY, clg_mul(Y, Y)));
}

GRADIENT(erf) /* dy exp(-x^2) 2 / sqrt(pi) */
{
    (void)input;
    return clg_mul(DY, clg_scale(clg_exp(clg_neg(clg_mul(A, A))), 1.1283791670955126));
}

GRADIENT(gelu) { return (void)input, clg__apply(OP(gelu_grad), A, DY); }
GRADIENT(gelu_tanh) { return (void)input, clg__apply(OP(gelu_tanh_grad), A, DY); }

GRADIENT(silu) /* dy s (1 + x (1 - s)) */
{
    clg_tensor *s = clg_sigmoid(A), *one = number(A, 1.0);
    return (void)input, clg_mul(DY, clg_mul(s, clg_add(one, clg_mul(A, clg_sub(one, s)))));
}

static clg_tensor *one_plus(clg_tensor *x) { return x ? clg_add(x, clg_scalar(x->graph, 1.0)) : NULL; }

/* dy (Phi(x) + x phi(x)) */
static clg_tensor *gelu_grad_plain(const clg_tensor *node, clg_tensor *const *in)
{
    clg_tensor *x = in[0], *phi = clg_scale(clg_exp(clg_scale(clg_mul(x, x), -0.5)), 0.3989422804014327);
    clg_tensor *Phi = clg_scale(one_plus(clg_erf(clg_scale(x, 0.7071067811865476))), 0.5);
    return (void)node, clg_mul(in[1], clg_add(Phi, clg_mul(x, phi)));
}

/* dy (s + x s (1 - s) u') */
static clg_tensor *gelu_tanh_grad_plain(const clg_tensor *node, clg_tensor *const *in)
{
    clg_tensor *x = clg_clamp(in[0], -16.0, 16.0), *square = clg_mul(x, x); /* beyond, nothing changes */
    clg_tensor *s = clg_sigmoid(clg_scale(clg_mul(x, one_plus(clg_scale(square, 0.044715))), 1.5957691216057308));
    clg_tensor *slope = clg_scale(one_plus(clg_scale(square, 0.134145)), 1.5957691216057308);
    return (void)node, clg_mul(in[1], clg_mul(s, one_plus(clg_mul(clg_mul(x, slope), one_plus(clg_neg(s))))));
}

GRADIENT(gelu_grad)
{
    return input == 1 ? clg__apply(OP(gelu_grad), A, DY) : clg__plain_gradient(g, input, gelu_grad_plain);
}

GRADIENT(gelu_tanh_grad)
{
    return input == 1 ? clg__apply(OP(gelu_tanh_grad), A, DY) : clg__plain_gradient(g, input, gelu_tanh_grad_plain);
}

GRADIENT(bce) /* dy (sigmoid(a) - b); dy (-a) */
{
    return to(g, input, clg_mul(DY, input == 0 ? clg_sub(clg_sigmoid(A), B) : clg_neg(A)));
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

/* The inputs that may be i32: what is compared, conditions. */
static unsigned whole_inputs(const clg__op *op)
{
    return op == OP(equal) || op == OP(less) || op == OP(less_equal) ? 3 : op == OP(where) || op == OP(to_f32) ? 1 : 0;
}

static clg_status pointwise_infer(clg__infer *i)
{
    if (i->op == OP(next)) {
        i->shape = i->in[0]->shape;
        i->dtype = CLG_I32;
        return i->in[0]->dtype == CLG_I32 ? CLG_OK : clg__infer_fail(i, "the input must be i32");
    }
    if (i->op != OP(expand)) return clg__infer_broadcast_mixed(i, whole_inputs(i->op));
    clg_shape  both;
    const bool fits = clg__broadcast(i->in[0]->shape, *(const clg_shape *)i->attr, &both);
    i->shape = *(const clg_shape *)i->attr;
    if (i->in[0]->dtype != CLG_F32) return clg__infer_fail(i, "the input must be f32");
    char text[128];
    return fits && clg_shape_equal(both, i->shape)
               ? CLG_OK : clg__infer_fail(i, "cannot broadcast to %s", clg_shape_text(i->shape, text, sizeof text));
}

#define TEXT_(...)  #__VA_ARGS__
#define TEXT(...)   TEXT_(__VA_ARGS__)
#define FLAGS(name) CLG__POINTWISE | (1ull << OP_##name & FLAT_ONES ? CLG__NO_GRAD : 0)
#define BIT(name)   | 1ull << OP_##name
#define FLAT_ONES   (0 EACH_FLAT(BIT))
#define ROW(name_, arity_, ...)                                                                            \
    {.name = #name_, .arity = arity_, .flags = FLAGS(name_), .expr = TEXT(__VA_ARGS__), .infer = pointwise_infer, \
     .gradient = name_##_gradient, .reference = name_##_reference},
const clg__op clg__ops_pointwise[] = {POINTWISE_TABLE(ROW){0}};

clg_tensor *clg_add(clg_tensor *a, clg_tensor *b) { return clg__apply(OP(add), a, b); }
clg_tensor *clg_sub(clg_tensor *a, clg_tensor *b) { return clg__apply(OP(sub), a, b); }
clg_tensor *clg_mul(clg_tensor *a, clg_tensor *b) { return clg__apply(OP(mul), a, b); }
clg_tensor *clg_div(clg_tensor *a, clg_tensor *b) { return clg__apply(OP(div), a, b); }
clg_tensor *clg_neg(clg_tensor *x) { return clg__apply(OP(neg), x); }
clg_tensor *clg_exp(clg_tensor *x) { return clg__apply(OP(exp), x); }
clg_tensor *clg_log(clg_tensor *x) { return clg__apply(OP(log), x); }
clg_tensor *clg_sqrt(clg_tensor *x) { return clg__apply(OP(sqrt), x); }
clg_tensor *clg_relu(clg_tensor *x) { return clg__apply(OP(relu), x); }
clg_tensor *clg_sigmoid(clg_tensor *x) { return clg__apply(OP(sigmoid), x); }
clg_tensor *clg_tanh(clg_tensor *x) { return clg__apply(OP(tanh), x); }
clg_tensor *clg_erf(clg_tensor *x) { return clg__apply(OP(erf), x); }
clg_tensor *clg_gelu(clg_tensor *x) { return clg__apply(OP(gelu), x); }
clg_tensor *clg_gelu_tanh(clg_tensor *x) { return clg__apply(OP(gelu_tanh), x); }
clg_tensor *clg_softplus(clg_tensor *x) { return clg__apply(OP(softplus), x); }
clg_tensor *clg_silu(clg_tensor *x) { return clg__apply(OP(silu), x); }
clg_tensor *clg_sin(clg_tensor *x) { return clg__apply(OP(sin), x); }
clg_tensor *clg_cos(clg_tensor *x) { return clg__apply(OP(cos), x); }
clg_tensor *clg_abs(clg_tensor *x) { return clg__apply(OP(abs), x); }
clg_tensor *clg_sign(clg_tensor *x) { return clg__apply(OP(sign), x); }
clg_tensor *clg_pow(clg_tensor *a, clg_tensor *b) { return clg__apply(OP(pow), a, b); }
clg_tensor *clg_minimum(clg_tensor *a, clg_tensor *b) { return clg__apply(OP(minimum), a, b); }
clg_tensor *clg_maximum(clg_tensor *a, clg_tensor *b) { return clg__apply(OP(maximum), a, b); }
clg_tensor *clg_equal(clg_tensor *a, clg_tensor *b) { return clg__apply(OP(equal), a, b); }
clg_tensor *clg_less(clg_tensor *a, clg_tensor *b) { return clg__apply(OP(less), a, b); }
clg_tensor *clg_less_equal(clg_tensor *a, clg_tensor *b) { return clg__apply(OP(less_equal), a, b); }

clg_tensor *clg_where(clg_tensor *condition, clg_tensor *a, clg_tensor *b)
{
    return clg__apply(OP(where), condition, a, b);
}

clg_tensor *clg_leaky_relu(clg_tensor *x, double slope)
{
    return x ? clg__apply(OP(leaky_relu), x, number(x, slope)) : NULL;
}

clg_tensor *clg_elu(clg_tensor *x, double alpha) { return x ? clg__apply(OP(elu), x, number(x, alpha)) : NULL; }

clg_tensor *clg_clamp(clg_tensor *x, double low, double high)
{
    if (!(low <= high)) return clg__op_fail(x, "clamp", CLG_INVALID_ARGUMENT, "from %g to %g is no interval", low, high);
    return x ? clg__apply(OP(clamp), x, number(x, low), number(x, high)) : NULL;
}

clg_tensor *clg_next(clg_tensor *x) { return clg__apply(OP(next), x); }
clg_tensor *clg_to_f32(clg_tensor *x) { return x && x->dtype == CLG_F32 ? x : clg__apply(OP(to_f32), x); }

clg_tensor *clg_scale(clg_tensor *x, double factor)
{
    return x ? clg_mul(x, clg_scalar(clg_tensor_graph(x), factor)) : NULL;
}

clg_tensor *clg_expand(clg_tensor *x, clg_shape shape)
{
    return x && clg_shape_equal(x->shape, shape) ? x : clg__apply_attr(OP(expand), &shape, x);
}

/* ---- losses that are pointwise ----------------------------------------------------------------------------------- */

clg_tensor *clg_mse(clg_tensor *a, clg_tensor *b)
{
    clg_tensor *d = clg_sub(a, b);
    return clg_mean(clg_mul(d, d), NULL);
}

clg_tensor *clg_bce_with_logits(clg_tensor *logits, clg_tensor *targets)
{
    return clg_mean(clg__apply(OP(bce), logits, targets), NULL);
}
