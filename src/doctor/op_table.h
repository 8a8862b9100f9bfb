/* op_table.h - one table of all operators, read by cases.c alone: a row is an operator as the public interface calls it,
 * the shapes and the kind of values of its inputs, and what may be asked of its result (cases.h says how).
 *
 * Values keep away from where an operator bends (relu at 0, equal maxima), or a difference would see both sides. */
#ifndef CLG_DOCTOR_OP_TABLE_H
#define CLG_DOCTOR_OP_TABLE_H

#include "doctor/cases.h"

#define DIMS(...) {.rank = (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), .dim = {__VA_ARGS__}}
#define NO_DIMS   {.rank = 0}

/* ---- builders ---------------------------------------------------------------------------------------------------- */

#define BUILDER(name, ...)                                                    \
    static clg_tensor *build_##name(const op_row *row, clg_tensor *const *in) \
    {                                                                         \
        (void)row;                                                            \
        return __VA_ARGS__;                                                   \
    }

BUILDER(add, clg_add(in[0], in[1]))
BUILDER(sub, clg_sub(in[0], in[1]))
BUILDER(mul, clg_mul(in[0], in[1]))
BUILDER(div, clg_div(in[0], in[1]))
BUILDER(neg, clg_neg(in[0]))
BUILDER(exp, clg_exp(in[0]))
BUILDER(log, clg_log(in[0]))
BUILDER(sqrt, clg_sqrt(in[0]))
BUILDER(relu, clg_relu(in[0]))
BUILDER(sigmoid, clg_sigmoid(in[0]))
BUILDER(tanh, clg_tanh(in[0]))
BUILDER(erf, clg_erf(in[0]))
BUILDER(gelu, clg_gelu(in[0]))
BUILDER(gelu_tanh, clg_gelu_tanh(in[0]))
BUILDER(scale, clg_scale(in[0], row->with.numbers[0]))
BUILDER(equal, clg_equal(in[0], in[1]))
BUILDER(less, clg_less(in[0], in[1]))
BUILDER(less_equal, clg_less_equal(in[0], in[1]))
BUILDER(sin, clg_sin(in[0]))
BUILDER(cos, clg_cos(in[0]))
BUILDER(pow, clg_pow(in[0], in[1]))
BUILDER(abs, clg_abs(in[0]))
BUILDER(minimum, clg_minimum(in[0], in[1]))
BUILDER(maximum, clg_maximum(in[0], in[1]))
BUILDER(clamp, clg_clamp(in[0], row->with.numbers[0], row->with.numbers[1]))
BUILDER(where, clg_where(in[0], in[1], in[2]))
BUILDER(leaky_relu, clg_leaky_relu(in[0], row->with.numbers[0]))
BUILDER(elu, clg_elu(in[0], row->with.numbers[0]))
BUILDER(softplus, clg_softplus(in[0]))
BUILDER(silu, clg_silu(in[0]))
BUILDER(to_f32, clg_to_f32(in[0]))
BUILDER(square_of_sum, clg_mul(clg_add(in[0], in[1]), clg_add(in[0], in[1])))
BUILDER(sum, clg_sum(in[0], &row->with.reduce))
BUILDER(mean, clg_mean(in[0], &row->with.reduce))
BUILDER(max, clg_max(in[0], &row->with.reduce))
BUILDER(min, clg_min(in[0], &row->with.reduce))
BUILDER(prod, clg_prod(in[0], &row->with.reduce))
BUILDER(variance, clg_variance(in[0], &row->with.reduce, row->with.reduce.count % 2))
BUILDER(argmax, clg_argmax(in[0], row->with.dims[0], row->with.dims[1]))
BUILDER(softmax_along, clg_softmax_along(in[0], row->with.dims[0]))
BUILDER(log_softmax_along, clg_log_softmax_along(in[0], row->with.dims[0]))
BUILDER(softmax, clg_softmax(in[0]))
BUILDER(log_softmax, clg_log_softmax(in[0]))
BUILDER(layer_norm, clg_layer_norm(in[0], in[1], in[2], row->with.numbers[0]))
BUILDER(attention, clg_attention(in[0], &row->with.attention))
BUILDER(global_avg_pool2d, clg_global_avg_pool2d(in[0]))
BUILDER(reshape, clg_reshape(in[0], row->with.shape))
BUILDER(flatten, clg_flatten(in[0], row->with.dims[0]))
BUILDER(transpose, clg_transpose(in[0], row->with.dims[0], row->with.dims[1]))
BUILDER(expand, clg_expand(in[0], row->with.shape))
BUILDER(permute, clg_permute(in[0], row->with.axes))
BUILDER(slice, clg_slice(clg_slice(in[0], row->with.dims[0], 1, CLG_END, 2), -1, -3, -1, 1))
BUILDER(pad, clg_pad(in[0], row->with.pad[0], row->with.pad[1], 2.0))
BUILDER(concat, clg_concat(in, in[2] ? 3 : 2, row->with.dims[0]))
BUILDER(gather, clg_gather(in[0], in[1], row->with.dims[0]))
BUILDER(take, clg_take(in[0], in[1], row->with.dims[0]))
BUILDER(full, clg_add(in[0], clg_sum(clg_full(in[0]->graph, row->with.shape, 0.75), NULL)))
BUILDER(matmul, clg_matmul(in[0], in[1], &(clg_matmul_desc){row->with.matmul.trans_a, row->with.matmul.trans_b, in[2]}))
BUILDER(conv2d, clg_conv2d(in[0], in[1], in[2], &row->with.conv))
BUILDER(conv_transpose2d, clg_conv_transpose2d(in[0], in[1], in[2], &row->with.conv))
BUILDER(conv1d, clg_conv1d(in[0], in[1], in[2], &row->with.conv1d))
BUILDER(global_max_pool2d, clg_global_max_pool2d(in[0]))
BUILDER(adaptive_avg_pool2d, clg_adaptive_avg_pool2d(in[0], row->with.dims[0], row->with.dims[1]))
BUILDER(adaptive_max_pool2d, clg_adaptive_max_pool2d(in[0], row->with.dims[0], row->with.dims[1]))
BUILDER(max_pool2d, clg_max_pool2d(in[0], &row->with.pool))
BUILDER(conv2d_pool, clg_max_pool2d(clg_relu(clg_conv2d(in[0], in[1], in[2], &row->with.conv_pool.conv)),
                                    &row->with.conv_pool.pool))
BUILDER(max_pool2d_of_relu, clg_max_pool2d(clg_relu(in[0]), &row->with.pool))
BUILDER(avg_pool2d, clg_avg_pool2d(in[0], &row->with.pool))
BUILDER(cross_entropy, clg_cross_entropy(in[0], in[1]))
BUILDER(count_correct, clg_count_correct(in[0], in[1]))
BUILDER(cross_entropy_with, clg_cross_entropy_with(in[0], in[1], &(clg_cross_entropy_desc){
    row->with.numbers[0], in[2], row->with.numbers[1] != 0.0, (int)row->with.numbers[1]}))
BUILDER(dropout, clg_dropout(in[0], &(clg_dropout_desc){row->with.numbers[0], 9, clg_next(in[1])}))
BUILDER(augment, clg_augment(in[0], &(clg_augment_desc){row->with.dims[0], row->with.dims[1],
    {row->with.dims[2], row->with.dims[3]}, row->with.dims[4], 11, clg_next(in[1])}))
BUILDER(l1, clg_l1(in[0], in[1]))
BUILDER(huber, clg_huber(in[0], in[1], 0.75))
BUILDER(hinge, clg_hinge(in[0], in[1]))
BUILDER(kl_divergence, clg_kl_divergence(in[0], in[1]))
BUILDER(mse, clg_mse(in[0], in[1]))
BUILDER(bce_with_logits, clg_bce_with_logits(in[0], in[1]))
BUILDER(assign, clg_assign(clg_state(in[0]->graph, CLG_F32, in[0]->shape), clg_neg(in[0])))
BUILDER(embedding, clg_embedding(in[0], in[1]))
BUILDER(take_rows, clg_take_rows(in[0], in[1], row->with.numbers[0], row->with.numbers[1]))

/* Pointwise nodes that reductions read through: of a tensor, of integers, of one number in memory and one that is not. */
static clg_tensor *chain(clg_tensor *const *in)
{
    return clg_scale(clg_mul(clg_sub(in[0], clg_to_f32(in[1])), in[2]), 0.5);
}

BUILDER(sum_of_chain, clg_sum(chain(in), &row->with.reduce))
BUILDER(max_of_chain, clg_max(chain(in), &row->with.reduce))
BUILDER(argmax_of_chain, clg_argmax(chain(in), row->with.dims[0], false))

static clg_tensor *build_split(const op_row *row, clg_tensor *const *in)
{
    clg_tensor *part[3];
    clg_split(in[0], row->with.dims[0], (const int64_t[]){2, 1, 4}, 3, part);
    return clg_add(clg_mul(part[0], part[1]), clg_mul(part[1], clg_sum(part[2], NULL)));
}

static clg_tensor *build_batch_norm(const op_row *row, clg_tensor *const *in)
{
    clg_batch_norm_desc desc = row->with.norm;
    if (!desc.training) {
        desc.running_mean = clg_state(in[0]->graph, CLG_F32, in[1]->shape);
        desc.running_var = clg_state(in[0]->graph, CLG_F32, in[1]->shape);
    }
    return clg_batch_norm(in[0], in[1], in[2], &desc);
}

/* What a convolution's epilogue can hold: normalised by running statistics, which are 0, with a residual or without, ReLU. A
 * window of one pixel without a bias is a matrix product. */
static clg_tensor *build_conv2d_norm(const op_row *row, clg_tensor *const *in)
{
    const clg_shape w = in[1]->shape, channels = CLG_SHAPE(w.dim[0]);
    clg_tensor *gain = clg_sum(in[1], &(clg_reduce_desc){.axes = {1, 2, 3}, .count = 3}), *state = clg_state(in[0]->graph, CLG_F32, channels);
    clg_tensor *y = clg_conv2d(in[0], in[1], w.dim[2] > 1 ? gain : NULL, &row->with.conv);
    y = clg_batch_norm(y, gain, clg_neg(gain), &(clg_batch_norm_desc){.eps = 0.25, .running_mean = state, .running_var = state});
    return clg_relu(in[2] ? clg_add(in[2], y) : y);
}

/* What the epilogue of its gradient, a convolution of its own, can hold. */
static clg_tensor *build_conv_transpose2d_add(const op_row *row, clg_tensor *const *in)
{
    return clg_relu(clg_add(in[2], clg_conv_transpose2d(in[0], in[1], NULL, &row->with.conv)));
}

/* ---- pointwise --------------------------------------------------------------------------------------------------- */

#define EACH_LENGTH(name, values, flags, terms)                               \
    {#name, build_##name, {{values, DIMS(17)}}, flags, terms, {.dims = {0}}}, \
    {#name, build_##name, {{values, DIMS(3, 5, 67)}}, flags, terms, {.dims = {0}}}

#define ONE_LENGTH(name, values, flags, number) \
    {#name, build_##name, {{values, DIMS(3, 67)}}, flags, 16, {.numbers = {number}}}

/* Alike; leading, trailing, middle, both sides; scalars; ranks to 6; empty. */
#define EACH_BROADCAST(name, a, b, flags)                                                                      \
    {#name, build_##name, {{a, DIMS(19, 13)}, {b, DIMS(19, 13)}}, flags, 1, {.dims = {0}}},                    \
    {#name, build_##name, {{a, DIMS(5, 67)}, {b, DIMS(67)}}, flags, 5, {.dims = {0}}},                         \
    {#name, build_##name, {{a, DIMS(67, 1)}, {b, DIMS(67, 5)}}, flags, 5, {.dims = {0}}},                      \
    {#name, build_##name, {{a, DIMS(3, 5, 7)}, {b, DIMS(3, 1, 7)}}, flags, 5, {.dims = {0}}},                  \
    {#name, build_##name, {{a, DIMS(3, 1, 17)}, {b, DIMS(1, 11, 1)}}, flags, 51, {.dims = {0}}},               \
    {#name, build_##name, {{a, NO_DIMS}, {b, DIMS(2, 33)}}, flags, 66, {.dims = {0}}},                         \
    {#name, build_##name, {{a, NO_DIMS}, {b, NO_DIMS}}, flags, 1, {.dims = {0}}},                              \
    {#name, build_##name, {{a, DIMS(2, 3, 2, 5, 3)}, {b, DIMS(3, 1, 5, 1)}}, flags, 12, {.dims = {0}}},        \
    {#name, build_##name, {{a, DIMS(2, 1, 3, 1, 2, 1)}, {b, DIMS(3, 1, 5, 1, 7)}}, flags, 105, {.dims = {0}}}, \
    {#name, build_##name, {{a, DIMS(1, 1)}, {b, DIMS(1)}}, flags, 1, {.dims = {0}}},                           \
    {#name, build_##name, {{a, DIMS(0, 3)}, {b, DIMS(3)}}, flags, 1, {.dims = {0}}}

#define FEW_BROADCASTS(name, a, b, flags)                                                        \
    {#name, build_##name, {{a, DIMS(19, 13)}, {b, DIMS(19, 13)}}, flags, 1, {.dims = {0}}},      \
    {#name, build_##name, {{a, DIMS(7, 1, 65)}, {b, DIMS(1, 3, 1)}}, flags, 455, {.dims = {0}}}, \
    {#name, build_##name, {{a, DIMS(67)}, {b, NO_DIMS}}, flags, 67, {.dims = {0}}}

static const op_row pointwise_rows[] = {
    EACH_LENGTH(neg, NORMAL, EXACT, 1),
    {"neg", build_neg, {{NORMAL, NO_DIMS}}, EXACT, 1, {.dims = {0}}},
    {"sqrt", build_sqrt, {{POSITIVE, NO_DIMS}}, 0, 1, {.dims = {0}}},
    EACH_LENGTH(exp, NORMAL, SMOOTH, 1),
    EACH_LENGTH(log, POSITIVE, SMOOTH, 1),
    EACH_LENGTH(sqrt, POSITIVE, SMOOTH, 1),
    EACH_LENGTH(relu, AWAY, EXACT | SMOOTH, 1),
    EACH_LENGTH(sigmoid, NORMAL, SMOOTH, 8),
    EACH_LENGTH(tanh, NORMAL, SMOOTH, 1),
    EACH_LENGTH(erf, NORMAL, SMOOTH, 4),
    EACH_LENGTH(gelu, NORMAL, SMOOTH, 16),
    EACH_LENGTH(gelu_tanh, NORMAL, SMOOTH, 16),
    ONE_LENGTH(sin, NORMAL, SMOOTH, 4),
    ONE_LENGTH(cos, NORMAL, SMOOTH, 4),
    ONE_LENGTH(abs, AWAY, EXACT | SMOOTH, 1),
    ONE_LENGTH(leaky_relu, AWAY, EXACT | SMOOTH, 0.25),
    ONE_LENGTH(elu, AWAY, SMOOTH, 1.5),
    ONE_LENGTH(softplus, NORMAL, SMOOTH, 0),
    ONE_LENGTH(silu, NORMAL, SMOOTH, 0),
    {"clamp", build_clamp, {{NORMAL, DIMS(3, 67)}}, EXACT | SMOOTH, 1, {.numbers = {-0.75, 1.25}}},
    {"pow", build_pow, {{POSITIVE, DIMS(7, 1, 65)}, {NORMAL, DIMS(1, 3, 1)}}, SMOOTH, 64 * 455, {.dims = {0}}},
    {"minimum", build_minimum, {{NORMAL, DIMS(7, 1, 65)}, {NORMAL, DIMS(1, 3, 1)}}, EXACT | SMOOTH, 1, {.dims = {0}}},
    {"maximum", build_maximum, {{NORMAL, DIMS(19, 13)}, {NORMAL, DIMS(19, 13)}}, EXACT | SMOOTH, 1, {.dims = {0}}},
    {"where", build_where, {{BITS, DIMS(3, 1, 67)}, {WHOLE, DIMS(3, 5, 67)}, {WHOLE, DIMS(67)}}, EXACT | SMOOTH, 15,
     {.dims = {0}}},
    {"less", build_less, {{BITS, DIMS(5, 67)}, {UNIT, DIMS(67)}}, EXACT | FIXED, 1, {.dims = {0}}},
    {"less_equal", build_less_equal, {{WHOLE, DIMS(5, 13)}, {BITS, DIMS(5, 1)}}, EXACT | FIXED, 1, {.dims = {0}}},
    {"to_f32", build_to_f32, {{NUMBERS, DIMS(5, 13)}}, EXACT | FIXED, 1, {.dims = {0}}},
    {"mul", build_scale, {{NORMAL, DIMS(5, 13)}}, SMOOTH, 1, {.numbers = {-1.75}}},
    FEW_BROADCASTS(add, WHOLE, WHOLE, EXACT),
    {"sub", build_sub, {{WHOLE, DIMS(7, 1, 65)}, {WHOLE, DIMS(1, 3, 1)}}, EXACT, 455, {.dims = {0}}},
    {"equal", build_equal, {{WHOLE, DIMS(7, 1, 65)}, {WHOLE, DIMS(1, 3, 1)}}, EXACT | FIXED, 1, {.dims = {0}}},
    {"add", build_square_of_sum, {{NORMAL, DIMS(5, 31)}, {NORMAL, DIMS(31)}}, SMOOTH, 5, {.dims = {0}}},
    {"bce", build_bce_with_logits, {{AWAY, DIMS(19, 13)}, {UNIT, DIMS(19, 13)}}, SMOOTH, 247, {.dims = {0}}},
    {"bce", build_bce_with_logits, {{AWAY, DIMS(7, 1, 65)}, {UNIT, DIMS(3, 1)}}, SMOOTH, 1365, {.dims = {0}}},
    {"abs", build_l1, {{NORMAL, DIMS(19, 13)}, {NORMAL, DIMS(19, 13)}}, 0, 247, {.dims = {0}}},
    {"clamp", build_huber, {{NORMAL, DIMS(19, 13)}, {NORMAL, DIMS(13)}}, SMOOTH, 247, {.dims = {0}}},
    {"relu", build_hinge, {{NORMAL, DIMS(19, 13)}, {NORMAL, DIMS(19, 13)}}, SMOOTH, 247, {.dims = {0}}},
    {"log", build_kl_divergence, {{NORMAL, DIMS(19, 13)}, {POSITIVE, DIMS(19, 13)}}, SMOOTH, 247, {.dims = {0}}},
    {"mul", build_mse, {{NORMAL, DIMS(19, 13)}, {NORMAL, DIMS(13)}}, SMOOTH, 247, {.dims = {0}}},
    {"full", build_full, {{NORMAL, DIMS(5)}}, 0, 35, {.shape = DIMS(5, 7)}},
};

static const op_row broadcast_rows[] = {
    EACH_BROADCAST(mul, WHOLE, WHOLE, EXACT),
    FEW_BROADCASTS(div, POSITIVE, AWAY, SMOOTH),
};

/* ---- reductions -------------------------------------------------------------------------------------------------- */

#define LONG_REDUCTIONS(name, values, flags)                                                                  \
    {#name, build_##name, {{values, DIMS(100003)}}, flags, 100003, {.dims = {0}}},                            \
    {#name, build_##name, {{values, DIMS(3, 100003)}}, flags, 100003, {.reduce = {.axes = {1}, .count = 1}}}, \
    {#name, build_##name, {{values, DIMS(70001, 3)}}, flags, 70001, {.reduce = {.axes = {0}, .count = 1}}},   \
    {#name, build_##name, {{values, DIMS(2, 9001, 5)}}, flags, 9001, {.reduce = {.axes = {-2}, .count = 1}}}, \
    {#name, build_##name, {{values, DIMS(37, 1031)}}, flags, 1031,                                            \
     {.reduce = {.axes = {1}, .count = 1, .keepdims = true}}},                                                \
    {#name, build_##name, {{values, DIMS(37, 1031)}}, flags, 37, {.reduce = {.axes = {0}, .count = 1}}}

#define OF_CHAIN(name, flags, ...) \
    {#name, build_##name##_of_chain, {{WHOLE, DIMS(__VA_ARGS__)}, {BITS, DIMS(__VA_ARGS__)}, {WHOLE, NO_DIMS}}, (flags) | EXACT | FIXED, 1, \
     {.dims = {1}}}

static const op_row reduce_rows[] = {
    OF_CHAIN(sum, EVERY_AXES, 3, 5, 37),
    OF_CHAIN(max, EVERY_AXES, 3, 5, 37),
    OF_CHAIN(argmax, 0, 3, 67),
    OF_CHAIN(argmax, 0, 3, 5, 37),
    {"sum", build_sum, {{WHOLE, DIMS(3, 5, 7)}}, EXACT | EVERY_AXES, 105, {.dims = {0}}},
    {"sum", build_sum, {{WHOLE, DIMS(2, 3, 2, 1, 3)}}, EXACT | EVERY_AXES | FIXED, 36, {.dims = {0}}},
    {"sum", build_sum, {{WHOLE, DIMS(2, 3, 2, 3, 2, 3)}}, EXACT, 36, {.reduce = {.axes = {0, 2, -2}, .count = 3}}},
    {"sum", build_sum, {{NORMAL, DIMS(17, 67)}}, 0, 1139, {.dims = {0}}},
    {"sum", build_sum, {{NORMAL, NO_DIMS}}, EXACT, 1, {.dims = {0}}},
    {"sum", build_sum, {{NORMAL, DIMS(1, 1)}}, EXACT, 1, {.reduce = {.axes = {0}, .count = 1}}},
    {"sum", build_sum, {{NORMAL, DIMS(0, 3)}}, EXACT, 1, {.reduce = {.axes = {0}, .count = 1}}},
    {"sum", build_sum, {{NORMAL, DIMS(3, 0)}}, EXACT, 1, {.reduce = {.axes = {0}, .count = 1}}},
    {"sum", build_sum, {{NORMAL, DIMS(0)}}, EXACT, 1, {.dims = {0}}},
    {"sum", build_mean, {{POSITIVE, DIMS(3, 5, 7)}}, 0, 7, {.reduce = {.axes = {-1}, .count = 1}}},
    {"sum", build_mean, {{POSITIVE, DIMS(20011)}}, 0, 20011, {.dims = {0}}},
    {"sum", build_mean, {{NORMAL, NO_DIMS}}, EXACT, 1, {.dims = {0}}},
    {"sum", build_global_avg_pool2d, {{NORMAL, DIMS(2, 3, 7, 5)}}, SMOOTH, 35, {.dims = {0}}},
    {"max", build_max, {{DISTINCT, DIMS(3, 5, 7)}}, EXACT | EVERY_AXES | FIXED, 105, {.dims = {0}}},
    {"max", build_max, {{DISTINCT, DIMS(3, 5, 7)}}, EXACT | SMOOTH, 5, {.reduce = {.axes = {1}, .count = 1}}},
    {"max", build_max, {{DISTINCT, NO_DIMS}}, EXACT, 1, {.dims = {0}}},
    {"max", build_max, {{DISTINCT, DIMS(0, 3)}}, EXACT, 1, {.reduce = {.axes = {1}, .count = 1}}},
    {"min", build_min, {{DISTINCT, DIMS(3, 5, 7)}}, EXACT | SMOOTH, 5, {.reduce = {.axes = {1}, .count = 1}}},
    {"min", build_min, {{DISTINCT, DIMS(3, 67)}}, EXACT, 67, {.reduce = {.axes = {-1}, .count = 1}}},
    {"prod", build_prod, {{POSITIVE, DIMS(3, 5, 7)}}, SMOOTH, 100, {.reduce = {.axes = {1, 2}, .count = 2}}},
    {"prod", build_prod, {{WHOLE, DIMS(17, 5, 6)}}, 0, 5, {.reduce = {.axes = {1}, .count = 1}}}, /* with zeros */
    {"prod", build_prod, {{WHOLE, DIMS(0, 3)}}, EXACT, 1, {.reduce = {.axes = {0}, .count = 1}}},
    {"sum", build_variance, {{NORMAL, DIMS(3, 5, 7)}}, SMOOTH, 105, {.dims = {0}}},
    {"sum", build_variance, {{POSITIVE, DIMS(5, 67)}}, SMOOTH, 67, {.reduce = {.axes = {-1}, .count = 1}}},
    {"argmax", build_argmax, {{WHOLE, DIMS(37, 131)}}, EXACT | FIXED, 1, {.dims = {1}}},
    {"argmax", build_argmax, {{WHOLE, DIMS(3, 131, 67)}}, EXACT | FIXED, 1, {.dims = {-2, true}}},
    {"argmax", build_argmax, {{WHOLE, DIMS(5)}}, EXACT | FIXED, 1, {.dims = {0}}},
};

static const op_row long_rows[] = {
    LONG_REDUCTIONS(sum, WHOLE, EXACT),
    OF_CHAIN(sum, EVERY_AXES, 20011, 3),
    {"sum", build_sum, {{WHOLE, DIMS(257, 4099)}}, EXACT | FIXED, 257, {.reduce = {.axes = {0}, .count = 1}}},
    LONG_REDUCTIONS(max, DISTINCT, EXACT),
};

/* ---- softmax ----------------------------------------------------------------------------------------------------- */

/* A second derivative has four sums over the row. */
#define EACH_ROW_LENGTH(name)                                                      \
    {#name, build_##name, {{NORMAL, DIMS(1)}}, SMOOTH, 4, {.dims = {0}}},          \
    {#name, build_##name, {{NORMAL, DIMS(5, 10)}}, SMOOTH, 40, {.dims = {0}}},     \
    {#name, build_##name, {{NORMAL, DIMS(3, 2, 67)}}, SMOOTH, 268, {.dims = {0}}}, \
    {#name, build_##name, {{NORMAL, DIMS(1, 1031)}}, SMOOTH, 4124, {.dims = {0}}}, \
    {#name, build_##name, {{NORMAL, DIMS(307, 16)}}, SMOOTH, 64, {.dims = {0}}},   \
    {#name, build_##name, {{NORMAL, DIMS(0, 5)}}, SMOOTH, 1, {.dims = {0}}}

static const op_row softmax_rows[] = {
    EACH_ROW_LENGTH(softmax),
    EACH_ROW_LENGTH(log_softmax),
    {"softmax", build_softmax_along, {{NORMAL, DIMS(3, 67, 5)}}, SMOOTH, 268, {.dims = {1}}},
    {"log_softmax", build_log_softmax_along, {{NORMAL, DIMS(67, 3)}}, SMOOTH, 268, {.dims = {-2}}},
    {"softmax", build_softmax_along, {{NORMAL, DIMS(3, 19, 101)}}, SMOOTH, 76, {.dims = {1}}},
    {"log_softmax", build_log_softmax_along, {{NORMAL, DIMS(2, 3, 7, 1, 45)}}, SMOOTH, 28, {.dims = {2}}},
    {"softmax", build_softmax_along, {{NORMAL, DIMS(1, 5, 1031)}}, SMOOTH, 20, {.dims = {1}}}, /* several strips */
    {"log_softmax", build_log_softmax_along, {{NORMAL, DIMS(5, 41, 7)}}, SMOOTH, 20, {.dims = {0}}},
    {"softmax", build_softmax_along, {{NORMAL, DIMS(3, 5, 1)}}, SMOOTH, 20, {.dims = {1}}},
    {"cross_entropy", build_cross_entropy, {{NORMAL, DIMS(1, 1)}, {LABELS, DIMS(1)}}, SMOOTH, 1, {.dims = {0}}},
    {"cross_entropy", build_cross_entropy, {{NORMAL, DIMS(7, 10)}, {LABELS, DIMS(7)}}, SMOOTH, 70, {.dims = {0}}},
    {"cross_entropy", build_cross_entropy, {{NORMAL, DIMS(67, 33)}, {LABELS, DIMS(67)}}, SMOOTH, 2211, {.dims = {0}}},
    {"cross_entropy", build_cross_entropy, {{NORMAL, DIMS(3, 1031)}, {LABELS, DIMS(3)}}, SMOOTH, 3093, {.dims = {0}}},
    {"cross_entropy", build_cross_entropy, {{NORMAL, DIMS(5, 3)}, {NO_LABELS, DIMS(5)}}, SMOOTH, 15, {.dims = {0}}},
    {"cross_entropy", build_cross_entropy, {{NORMAL, DIMS(0, 3)}, {LABELS, DIMS(0)}}, SMOOTH, 1, {.dims = {0}}},
    {"one_hot", build_cross_entropy_with, {{NORMAL, DIMS(7, 10)}, {LABELS, DIMS(7)}, {POSITIVE, DIMS(10)}}, SMOOTH, 280,
     {.numbers = {0.125}}},
    {"one_hot", build_cross_entropy_with, {{NORMAL, DIMS(67, 3)}, {LABELS, DIMS(67)}}, SMOOTH, 268, {.numbers = {0.0, 2.0}}},
    {"one_hot", build_cross_entropy_with, {{NORMAL, DIMS(5, 3)}, {NO_LABELS, DIMS(5)}}, 0, 15, {.numbers = {0.5}}},
    {"dropout", build_dropout, {{WHOLE, DIMS(3, 5, 67)}, {NUMBERS, DIMS(1)}}, EXACT | SMOOTH, 1, {.numbers = {0.5}}},
    {"dropout", build_dropout, {{NORMAL, DIMS(7)}, {BITS, DIMS(1)}}, 0, 1, {.numbers = {0.2}}},
    {"augment", build_augment, {{WHOLE, DIMS(9, 1, 7, 5)}, {NUMBERS, DIMS(1)}}, EXACT | SMOOTH, 1, {.dims = {1, 0, 0, 0, 0}}},
    {"augment", build_augment, {{WHOLE, DIMS(9, 3, 5, 19)}, {NUMBERS, DIMS(1)}}, EXACT | SMOOTH, 1, {.dims = {0, 2, 0, 0, 0}}},
    {"augment", build_augment, {{NORMAL, DIMS(9, 2, 8, 7)}, {BITS, DIMS(1)}}, SMOOTH, 1, {.dims = {1, 1, 5, 6, 2}}},
    {"augment_grad", build_augment, {{WHOLE, DIMS(5, 1, 1, 3)}, {BITS, DIMS(1)}}, EXACT | SMOOTH, 1, {.dims = {1, 0, 1, 2, 0}}},
    {"count_correct", build_count_correct, {{DISTINCT, DIMS(67, 3)}, {LABELS, DIMS(67)}}, EXACT | FIXED, 67,
     {.dims = {0}}},
    {"count_correct", build_count_correct, {{WHOLE, DIMS(301, 9)}, {LABELS, DIMS(301)}}, EXACT | FIXED, 301,
     {.dims = {0}}},
    {"count_correct", build_count_correct, {{NORMAL, DIMS(0, 9)}, {LABELS, DIMS(0)}}, EXACT | FIXED, 1, {.dims = {0}}},
};

/* A second derivative has some twenty sums over the row, or over the rows. */
#define LAYER_NORM(n, terms, eps, ...)                                                                               \
    {"layer_norm", build_layer_norm, {{NORMAL, DIMS(__VA_ARGS__)}, {NORMAL, DIMS(n)}, {NORMAL, DIMS(n)}}, SMOOTH, terms, \
     {.numbers = {eps}}}

#define BATCH_NORM(c, terms, train, e, ...)                                                                          \
    {train ? "batch_norm" : "mul", build_batch_norm, {{NORMAL, DIMS(__VA_ARGS__)}, {NORMAL, DIMS(c)}, {NORMAL, DIMS(c)}}, \
     SMOOTH, terms, {.norm = {.training = train, .eps = e}}}

static const op_row norm_rows[] = {
    LAYER_NORM(67, 1340, 0.0, 3, 5, 67),
    LAYER_NORM(16, 600, 0.125, 29, 16),
    LAYER_NORM(5, 100, 0.25, 5),
    {"layer_norm", build_layer_norm, {{NORMAL, DIMS(7, 1)}, {NORMAL, DIMS(1)}, {NORMAL, DIMS(1)}}, FIXED, 1, /* dx is 0 */
     {.dims = {0}}},
    LAYER_NORM(384, 7680, 0.0, 2, 9, 384),
    LAYER_NORM(3, 1, 0.0, 0, 3),
    BATCH_NORM(3, 2400, true, 0.0, 2, 3, 11, 13),
    BATCH_NORM(5, 1400, true, 0.125, 7, 5, 3, 3),
    BATCH_NORM(19, 1000, true, 0.0, 33, 19),
    BATCH_NORM(67, 4000, true, 0.0, 131, 67),
    BATCH_NORM(2, 60000, true, 0.0, 3, 2, 71, 73),
    BATCH_NORM(3, 280, false, 0.5, 2, 3, 5, 7),
};

/* ---- shape and data ---------------------------------------------------------------------------------------------- */

static const op_row shape_rows[] = {
    {"reshape", build_reshape, {{NORMAL, DIMS(6, 5)}}, EXACT, 1, {.shape = DIMS(2, -1, 3)}},
    {"reshape", build_reshape, {{NORMAL, DIMS(1)}}, EXACT, 1, {.shape = NO_DIMS}},
    {"reshape", build_reshape, {{NORMAL, DIMS(0, 4)}}, EXACT, 1, {.shape = DIMS(2, 0)}},
    {"reshape", build_flatten, {{NORMAL, DIMS(3, 5, 7)}}, EXACT, 1, {.dims = {1}}},
    {"reshape", build_flatten, {{NORMAL, DIMS(3, 5)}}, EXACT, 1, {.dims = {-2}}},
    {"permute", build_transpose, {{NORMAL, DIMS(17, 67)}}, EXACT, 1, {.dims = {0, 1}}},
    {"permute", build_transpose, {{NORMAL, DIMS(3, 5, 7)}}, EXACT, 1, {.dims = {0, -1}}},
    {"permute", build_transpose, {{NORMAL, DIMS(2, 3, 5, 7)}}, EXACT, 1, {.dims = {2, 1}}},
    {"permute", build_transpose, {{NORMAL, DIMS(2, 3, 2, 5, 3)}}, EXACT, 1, {.dims = {0, 3}}},
    {"permute", build_transpose, {{NORMAL, DIMS(2, 3, 2, 1, 3, 2)}}, EXACT, 1, {.dims = {-1, 1}}},
    {"permute", build_transpose, {{NORMAL, DIMS(2, 0)}}, EXACT, 1, {.dims = {0, 1}}},
    {"permute", build_permute, {{NORMAL, DIMS(2, 3, 4, 5, 3, 2)}}, EXACT, 1, {.axes = {2, 0, -1, 4, 1, 3}}},
    {"permute", build_permute, {{NUMBERS, DIMS(3, 5, 67)}}, EXACT | FIXED, 1, {.axes = {1, 0, 2}}},
    {"permute", build_transpose, {{NORMAL, DIMS(131, 70)}}, EXACT, 1, {.dims = {0, 1}}}, /* several blocks either way, */
    {"permute", build_transpose, {{NUMBERS, DIMS(2, 3, 521)}}, EXACT | FIXED, 1, {.dims = {1, 2}}}, /* flat ones */
    {"permute", build_transpose, {{NORMAL, DIMS(1, 1400, 1, 2)}}, EXACT, 1, {.dims = {1, -1}}},
    {"permute", build_permute, {{NORMAL, DIMS(2, 17, 1, 3, 2, 33)}}, EXACT, 1, {.axes = {5, 3, 2, 1, 0, 4}}},
    {"slice", build_slice, {{WHOLE, DIMS(8, 3, 7)}}, EXACT | SMOOTH, 1, {.dims = {0}}},
    {"slice", build_slice, {{NORMAL, DIMS(3, 67)}}, EXACT, 1, {.dims = {1}}},
    {"slice", build_split, {{WHOLE, DIMS(3, 7, 5)}}, EXACT | SMOOTH, 1, {.dims = {1}}},
    {"place", build_pad, {{WHOLE, DIMS(3, 5, 67)}}, EXACT | SMOOTH, 1, {.pad = {{0, 2, 1}, {1, 0, 3}}}},
    {"place", build_pad, {{NUMBERS, DIMS(2, 1)}}, EXACT | FIXED, 1, {.pad = {{0, 2}, {1, 0}}}},
    {"place", build_pad, {{WHOLE, DIMS(0, 5)}}, EXACT, 1, {.pad = {{1, 0}, {0, 0}}}},
    {"concat", build_concat, {{WHOLE, DIMS(3, 2, 19)}, {WHOLE, DIMS(3, 5, 19)}, {WHOLE, DIMS(3, 1, 19)}}, EXACT | SMOOTH, 1,
     {.dims = {1}}},
    {"concat", build_concat, {{WHOLE, DIMS(3, 2)}, {WHOLE, DIMS(3, 5)}}, EXACT, 1, {.dims = {-1}}},
    {"concat", build_concat, {{WHOLE, DIMS(0, 67)}, {WHOLE, DIMS(3, 67)}}, EXACT, 1, {.dims = {0}}},
    {"expand", build_expand, {{WHOLE, NO_DIMS}}, EXACT, 21, {.shape = DIMS(3, 7)}},
    {"expand", build_expand, {{WHOLE, DIMS(3, 1)}}, EXACT, 10, {.shape = DIMS(2, 3, 5)}},
    {"expand", build_expand, {{WHOLE, DIMS(2, 1, 3, 1)}}, EXACT, 35, {.shape = DIMS(2, 5, 3, 7)}},
    {"assign", build_assign, {{NORMAL, DIMS(3, 67)}}, EXACT, 1, {.dims = {0}}},
    {"take_rows", build_take_rows, {{NORMAL, DIMS(5, 7)}, {INDICES, DIMS(13)}}, FIXED, 1, {.numbers = {0.5, -0.25}}},
    {"take_rows", build_take_rows, {{BYTES, DIMS(5, 3, 67)}, {INDICES, DIMS(13)}}, FIXED, 1,
     {.numbers = {1.0 / 255.0, -0.5}}},
    {"take_rows", build_take_rows, {{NUMBERS, DIMS(5)}, {INDICES, DIMS(13)}}, EXACT | FIXED, 1,
     {.numbers = {2.0, 3.0}}},
    {"take_rows", build_take_rows, {{NORMAL, DIMS(5)}, {INDICES, DIMS(1)}}, EXACT | FIXED, 1, {.dims = {0}}},
    {"take_rows", build_take_rows, {{NORMAL, DIMS(5, 2)}, {INDICES, DIMS(0)}}, EXACT | FIXED, 1, {.dims = {0}}},
};

static const op_row embedding_rows[] = {
    {"gather", build_gather, {{WHOLE, DIMS(5, 3, 67)}, {INDICES, DIMS(5, 13, 67)}}, EXACT | SMOOTH, 13, {.dims = {1}}},
    {"gather", build_gather, {{WHOLE, DIMS(17, 5)}, {INDICES, DIMS(17, 1)}}, EXACT, 1, {.dims = {-1}}},
    {"embedding", build_take, {{WHOLE, DIMS(3, 5, 7)}, {INDICES, DIMS(2, 3)}}, EXACT | SMOOTH, 6, {.dims = {1}}},
    {"embedding", build_embedding, {{WHOLE, DIMS(7, 67)}, {INDICES, DIMS(3, 13)}}, EXACT | SMOOTH, 39, {.dims = {0}}},
    {"embedding", build_embedding, {{WHOLE, DIMS(2, 3, 5)}, {INDICES, DIMS(301)}}, EXACT, 301, {.dims = {0}}},
    {"embedding", build_embedding, {{NORMAL, DIMS(5)}, {INDICES, NO_DIMS}}, EXACT, 1, {.dims = {0}}},
    {"embedding", build_embedding, {{NORMAL, DIMS(5, 2)}, {INDICES, DIMS(0)}}, EXACT, 1, {.dims = {0}}},
};

/* ---- products ---------------------------------------------------------------------------------------------------- */

#define TRANSPOSED(a, b) {.matmul = {.trans_a = a, .trans_b = b}}
#define ALL_TRANSPOSITIONS(m, k, n, values, flags, terms)                                                           \
    {"matmul", build_matmul, {{values, DIMS(m, k)}, {values, DIMS(k, n)}}, flags, terms, TRANSPOSED(false, false)}, \
    {"matmul", build_matmul, {{values, DIMS(k, m)}, {values, DIMS(k, n)}}, flags, terms, TRANSPOSED(true, false)},  \
    {"matmul", build_matmul, {{values, DIMS(m, k)}, {values, DIMS(n, k)}}, flags, terms, TRANSPOSED(false, true)},  \
    {"matmul", build_matmul, {{values, DIMS(k, m)}, {values, DIMS(n, k)}}, flags, terms, TRANSPOSED(true, true)}

static const op_row matmul_rows[] = {
    ALL_TRANSPOSITIONS(13, 17, 19, WHOLE, EXACT | SMOOTH, 19),
    ALL_TRANSPOSITIONS(31, 131, 67, NORMAL, SMOOTH, 131),
    ALL_TRANSPOSITIONS(1, 33, 1, WHOLE, EXACT, 33),
    ALL_TRANSPOSITIONS(5, 1, 7, WHOLE, EXACT, 7),
    /* CLBlast's where the profile has it, whose kernels take seconds to compile: forward only */
    {"matmul", build_matmul, {{WHOLE, DIMS(64, 64)}, {WHOLE, DIMS(64, 64)}, {WHOLE, DIMS(64)}}, EXACT | FIXED, 64,
     {.dims = {0}}},
    {"matmul", build_matmul, {{WHOLE, DIMS(7, 301)}, {WHOLE, DIMS(301, 10)}, {WHOLE, DIMS(10)}}, EXACT, 301,
     {.dims = {0}}},
    {"matmul", build_matmul, {{WHOLE, DIMS(31, 5)}, {WHOLE, DIMS(3, 5)}, {WHOLE, DIMS(3)}}, EXACT, 31,
     TRANSPOSED(false, true)},
    {"matmul", build_matmul, {{WHOLE, DIMS(3, 5, 7)}, {WHOLE, DIMS(7, 11)}, {WHOLE, DIMS(11)}}, EXACT, 15,
     {.dims = {0}}},
    {"matmul", build_matmul, {{WHOLE, DIMS(3, 5, 7)}, {WHOLE, DIMS(3, 7, 11)}}, EXACT | SMOOTH, 11, {.dims = {0}}},
    {"matmul", build_matmul, {{WHOLE, DIMS(3, 7, 5)}, {WHOLE, DIMS(11, 7)}}, EXACT | SMOOTH, 15,
     TRANSPOSED(true, true)},
    {"matmul", build_matmul, {{WHOLE, DIMS(5, 7)}, {WHOLE, DIMS(2, 3, 7, 11)}}, EXACT | SMOOTH, 66, {.dims = {0}}},
    {"matmul", build_matmul, {{WHOLE, DIMS(7, 5)}, {WHOLE, DIMS(3, 11, 7)}}, EXACT | SMOOTH, 33,
     TRANSPOSED(true, true)},
    {"matmul", build_matmul, {{WHOLE, DIMS(3, 1, 5, 7)}, {WHOLE, DIMS(2, 7, 3)}, {WHOLE, DIMS(3)}}, EXACT, 30,
     {.dims = {0}}},
    {"matmul", build_matmul, {{WHOLE, DIMS(2, 1, 7, 5)}, {WHOLE, DIMS(1, 3, 7, 3)}}, EXACT | SMOOTH, 15,
     TRANSPOSED(true, false)},
    {"matmul", build_matmul, {{WHOLE, DIMS(0, 7)}, {WHOLE, DIMS(7, 3)}}, EXACT, 1, {.dims = {0}}},
    {"matmul", build_matmul, {{WHOLE, DIMS(5, 0)}, {WHOLE, DIMS(0, 3)}, {WHOLE, DIMS(3)}}, EXACT, 5, {.dims = {0}}},
    {"matmul", build_matmul, {{WHOLE, DIMS(2, 5, 0)}, {WHOLE, DIMS(0, 3)}}, EXACT, 5, {.dims = {0}}},
};

/* Sums over positions of sums over a head's width; b, t, heads, width. */
#define ATTENTION(b, t, h, d, ...) \
    {"attention", build_attention, {{NORMAL, DIMS(b, t, 3 * (h) * (d))}}, 0, 4 * (t) * (d), {.attention = {h, __VA_ARGS__}}}

static const op_row attention_rows[] = {
    ATTENTION(2, 7, 2, 5, .causal = true),
    ATTENTION(1, 37, 1, 17, .causal = false),
    ATTENTION(1, 150, 3, 16, .causal = true),
    ATTENTION(1, 271, 1, 33, .causal = true),
    ATTENTION(1, 149, 1, 7, .causal = false, .scale = 0.5),
    ATTENTION(1, 1, 1, 1, .causal = true),
    ATTENTION(0, 5, 2, 1, .causal = true),
};

/* ---- images ------------------------------------------------------------------------------------------------------ */

#define CONV(flags, terms, n, c, h, w, k, each, kh, kw, ...)                                                \
    {"conv2d", build_conv2d, {{WHOLE, DIMS(n, c, h, w)}, {WHOLE, DIMS(k, each, kh, kw)}, {WHOLE, DIMS(k)}}, \
     (flags) | EXACT, terms, {.conv = {__VA_ARGS__}}}

/* Products that Winograd's F(4x4, 3x3) sums are larger than a convolution's: with unit variances, and G, B and O the
 * matrices in cl/winograd.cl, one dimension of output k has the variance sum_i O[i][k]^2 |G[i]|^2 |B[i]|^2 instead of 3,
 * at most 94.3 / 3 = 31.4, and two dimensions its square; but 9 times fewer of them are added, and a sum of n is off by
 * sqrt(n) roundings: growth 31.4 / 3 = 10.5. Backward filter likewise: at most 96.8 / 4, divided by sqrt(16), 6.1. F(2x2,
 * 3x3) has 5 / 3 / 3 < 1. A rounding of each transform is added: 1.5. Terms count under a square root. */
#define WINOGRAD(flags, terms, n, c, h, w, k, ...)                                                                     \
    {"conv2d", build_conv2d, {{NORMAL, DIMS(n, c, h, w)}, {NORMAL, DIMS(k, c, 3, 3)}, {NORMAL, DIMS(k)}}, flags,        \
     (terms) * 12.0 * 12.0, {.conv = {__VA_ARGS__}}}

#define RESIDUAL(values, ...) {values, DIMS(__VA_ARGS__)}
#define CONV_NORM(values, flags, terms, n, c, h, w, k, each, kh, kw, other, ...)                                         \
    {"conv2d", build_conv2d_norm, {{values, DIMS(n, c, h, w)}, {values, DIMS(k, each, kh, kw)}, other}, (flags) | FIXED, \
     terms, {.conv = {__VA_ARGS__}}}

static const op_row conv_rows[] = {
    CONV(SMOOTH, 98, 2, 3, 7, 7, 5, 3, 3, 3, .pad_hw = {1, 0}), /* exact: padded alike it may be Winograd's */
    WINOGRAD(0, 98, 2, 3, 7, 7, 5, .pad = 1),
    CONV(0, 400, 3, 6, 10, 9, 6, 1, 3, 3, .groups = 6, .pad = 1),
    CONV(0, 224, 1, 1, 14, 14, 33, 1, 3, 3, .pad_hw = {1, 2}),
    CONV(0, 20, 0, 2, 5, 5, 3, 2, 3, 3, .pad = 1),
    WINOGRAD(SMOOTH, 315, 2, 19, 7, 6, 35, .pad = 1),
    WINOGRAD(0, 288, 3, 32, 4, 4, 16, .pad = 0),
    WINOGRAD(0, 540, 1, 16, 5, 109, 8, .pad = 2),
    WINOGRAD(0, 630, 5, 9, 14, 9, 33, .pad = 1),
    CONV(SMOOTH, 72, 2, 4, 11, 8, 6, 2, 3, 2, .stride = 2, .pad_hw = {1, 0}, .groups = 2),
    CONV(SMOOTH, 90, 1, 2, 9, 11, 3, 2, 3, 3, .dilation = 2, .stride_hw = {1, 2}, .pad = 2),
    CONV(0, 196, 1, 17, 14, 14, 33, 17, 1, 1, .stride = 1),
    CONV(0, 1, 1, 1, 1, 1, 1, 1, 1, 1, .stride = 1),
    {"conv2d", build_conv2d, {{WHOLE, DIMS(3, 5, 7, 9)}, {WHOLE, DIMS(6, 5, 1, 1)}}, SMOOTH | EXACT, 189, {.conv = {0}}}, /* no bias */
    CONV(0, 180, 2, 9, 9, 11, 20, 9, 3, 3, .stride = 2, .pad = 1),
    CONV(0, 240, 1, 6, 12, 9, 18, 3, 5, 3, .stride_hw = {3, 2}, .pad = 2, .dilation = 2, .groups = 2),
    CONV(0, 147, 1, 3, 17, 19, 7, 3, 7, 5, .stride = 2, .pad_hw = {3, 2}),
    CONV(SMOOTH, 234, 2, 3, 13, 9, 6, 1, 3, 3, .groups = 3, .stride = 2, .dilation_hw = {1, 2}, .pad = 2), /* depthwise, */
    CONV(0, 408, 2, 4, 12, 17, 4, 2, 4, 4, .groups = 2, .stride = 3, .pad = 1),                             /* nearly so */
    CONV(0, 420, 1, 21, 11, 23, 3, 21, 5, 4, .pad_hw = {2, 0}), /* few outputs */
    CONV(0, 289, 1, 1, 18, 17, 2, 1, 17, 17, .stride = 1),      /* many taps, */
    CONV(0, 63, 1, 3, 7, 9, 9, 3, 1, 1, .stride_hw = {1, 2}),   /* and few */
    CONV_NORM(WHOLE, EXACT, 1, 2, 4, 11, 8, 6, 2, 3, 2, RESIDUAL(WHOLE, 2, 6, 6, 4), .stride = 2, .pad_hw = {1, 0}, .groups = 2),
    CONV_NORM(WHOLE, EXACT, 1, 2, 9, 9, 11, 20, 9, 3, 3, RESIDUAL(WHOLE, 2, 20, 5, 6), .stride = 2, .pad = 1),
    CONV_NORM(WHOLE, EXACT, 1, 2, 9, 9, 11, 20, 9, 3, 3, RESIDUAL(NOTHING, 0), .stride = 2, .pad = 1),
    CONV_NORM(WHOLE, EXACT, 1, 3, 5, 7, 9, 6, 5, 1, 1, RESIDUAL(WHOLE, 3, 6, 7, 9), .stride = 1),
    CONV_NORM(NORMAL, 0, 12 * 12 * 171, 2, 19, 7, 6, 35, 19, 3, 3, RESIDUAL(NORMAL, 2, 35, 7, 6), .pad = 1), /* as WINOGRAD */
    CONV_NORM(NORMAL, 0, 12 * 12 * 144, 3, 16, 13, 50, 33, 16, 3, 3, RESIDUAL(NORMAL, 3, 33, 11, 48), .pad = 0),
};

#define CONV_TRANSPOSE(flags, terms, n, c, h, w, k, each, kh, kw, ...)                                                    \
    {"conv2d_backward_data", build_conv_transpose2d,                                                                      \
     {{WHOLE, DIMS(n, c, h, w)}, {WHOLE, DIMS(c, each, kh, kw)}, {WHOLE, DIMS(k)}}, (flags) | EXACT, terms, {.conv = {__VA_ARGS__}}}

#define CONV_TRANSPOSE_ADD(values, flags, terms, n, c, h, w, k, H, W, kh, kw, ...)                                         \
    {"conv2d_backward_data", build_conv_transpose2d_add,                                                                  \
     {{values, DIMS(n, c, h, w)}, {values, DIMS(c, k, kh, kw)}, {values, DIMS(n, k, H, W)}}, (flags) | FIXED, terms,      \
     {.conv = {__VA_ARGS__}}}

/* The windows of rows above, so that programs are shared. */
static const op_row conv_transpose_rows[] = {
    CONV_TRANSPOSE(SMOOTH, 144, 2, 6, 6, 4, 4, 2, 3, 2, .stride = 2, .pad_hw = {1, 0}, .groups = 2),
    CONV_TRANSPOSE(0, 180, 2, 20, 5, 6, 9, 9, 3, 3, .stride = 2, .pad = 1, .out_pad_hw = {0, 1}),
    CONV_TRANSPOSE(0, 60, 0, 3, 5, 5, 3, 3, 3, 3, .pad = 1),
    CONV_TRANSPOSE_ADD(WHOLE, EXACT, 1, 2, 20, 5, 6, 9, 9, 11, 3, 3, .stride = 2, .pad = 1),
    CONV_TRANSPOSE_ADD(WHOLE, EXACT, 1, 3, 6, 7, 9, 5, 7, 9, 1, 1, .stride = 1),
    CONV_TRANSPOSE_ADD(NORMAL, 0, 12 * 12 * 171, 2, 19, 7, 6, 35, 7, 6, 3, 3, .pad = 1), /* as WINOGRAD */
    {"conv2d", build_conv1d, {{WHOLE, DIMS(2, 4, 19)}, {WHOLE, DIMS(6, 2, 3)}, {WHOLE, DIMS(6)}}, EXACT | SMOOTH, 72,
     {.conv1d = {.stride = 2, .pad = 1, .groups = 2}}},
    {"conv2d", build_conv1d, {{WHOLE, DIMS(1, 2, 70001)}, {WHOLE, DIMS(2, 1, 3)}, {WHOLE, DIMS(2)}}, EXACT, 70001,
     {.conv1d = {.pad = 1, .groups = 2}}}, /* a row that no cache holds */
};

#define POOLS(name, values, flags)                                                                                  \
    {#name, build_##name, {{values, DIMS(2, 3, 8, 11)}}, flags, 4, {.pool = {.kernel = 2}}},                        \
    {#name, build_##name, {{values, DIMS(2, 3, 9, 11)}}, flags, 9, {.pool = {.kernel = 3, .stride = 2, .pad = 1}}}, \
    {#name, build_##name, {{values, DIMS(1, 2, 7, 13)}}, flags, 8,                                                  \
     {.pool = {.kernel_hw = {2, 4}, .stride_hw = {1, 3}, .pad_hw = {0, 2}}}},                                       \
    {#name, build_##name, {{values, DIMS(2, 32, 26, 26)}}, flags, 4, {.pool = {.kernel = 2}}},                      \
    {#name, build_##name, {{values, DIMS(0, 3, 4, 4)}}, flags, 4, {.pool = {.kernel = 2}}}

static const op_row pool_rows[] = {
    POOLS(max_pool2d, DISTINCT, EXACT | SMOOTH),
    {"max_pool2d", build_max_pool2d_of_relu, {{DISTINCT, DIMS(2, 3, 9, 11)}}, EXACT | SMOOTH, 9,
     {.pool = {.kernel = 3, .stride = 2, .pad = 1}}},
    POOLS(avg_pool2d, NORMAL, SMOOTH),
    {"max", build_global_max_pool2d, {{DISTINCT, DIMS(2, 3, 7, 5)}}, EXACT, 1, {.dims = {0}}},
    {"adaptive_avg_pool2d", build_adaptive_avg_pool2d, {{NORMAL, DIMS(2, 3, 7, 11)}}, SMOOTH, 16, {.dims = {3, 4}}},
    {"adaptive_avg_pool2d", build_adaptive_avg_pool2d, {{NORMAL, DIMS(1, 2, 3, 5)}}, 0, 16, {.dims = {5, 7}}},
    {"adaptive_max_pool2d", build_adaptive_max_pool2d, {{DISTINCT, DIMS(2, 3, 7, 11)}}, EXACT | SMOOTH, 4, {.dims = {3, 4}}},
    {"avg_pool2d", build_adaptive_avg_pool2d, {{NORMAL, DIMS(2, 3, 8, 6)}}, 0, 4, {.dims = {4, 3}}},
    {"avg_pool2d", build_avg_pool2d, {{NORMAL, DIMS(2, 3, 9, 11)}}, 0, 9,
     {.pool = {.kernel = 3, .stride = 2, .pad = 1, .exclude_pad = true}}},
};

/* Enough images for their lanes, with a rest; windows that leave rows and columns over. */
#define CONV_POOL(values, flags, terms, n, c, h, w, k, kh, kw, bias, ...)                                                 \
    {"conv2d_pool", build_conv2d_pool, {{values, DIMS(n, c, h, w)}, {values, DIMS(k, c, kh, kw)}, {bias, DIMS(k)}}, flags, \
     terms, {.conv_pool = {__VA_ARGS__}}}

static const op_row conv_pool_rows[] = {
    CONV_POOL(WHOLE, EXACT | FIXED, 9, 37, 1, 22, 23, 7, 3, 3, WHOLE, .pool = {.kernel = 2}),
    CONV_POOL(WHOLE, EXACT | FIXED, 25, 16, 1, 43, 7, 9, 5, 5, WHOLE, .pool = {.kernel = 3}, .conv = {.pad = 2}),
    CONV_POOL(NORMAL, SMOOTH, 19 * 9, 19, 1, 9, 8, 5, 3, 3, NORMAL, .pool = {.kernel = 2}),
    CONV_POOL(NORMAL, 0, 19 * 18, 17, 2, 11, 12, 3, 3, 3, NOTHING, .pool = {.kernel_hw = {3, 2}}, .conv = {.pad_hw = {0, 1}}),
    CONV_POOL(NORMAL, 0, 17 * 18, 9, 3, 13, 14, 4, 2, 3, NORMAL, .pool = {.kernel_hw = {1, 2}},
              .conv = {.stride = 2, .dilation_hw = {2, 1}, .pad = 1}),
    CONV_POOL(NORMAL, 0, 17, 17, 1, 1, 1, 1, 1, 1, NORMAL, .pool = {.kernel = 1}),
};

/* ---- the table --------------------------------------------------------------------------------------------------- */

#define EACH_TABLE(X)                                                                                               \
    X(pointwise) X(broadcast) X(reduce) X(long) X(softmax) X(norm) X(shape) X(embedding) X(matmul) X(attention)     \
    X(conv) X(conv_transpose) X(pool) X(conv_pool)

#endif
