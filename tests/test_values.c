/* test_values.c - operators on values whose results are known from mathematics, and where numbers are special: NaN,
 * infinity, zero, and the places where an operator bends. */
#include "graph/graph.h"
#include <clgrad/clgrad.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "fixture.h"

static int failures;

/* ---- pointwise --------------------------------------------------------------------------------------------------- */

#define SPECIALS NAN, INFINITY, -INFINITY, -0.0f, 0.0f, 1.0f, -1.0f, 0.5f, 2.0f, 100.0f, -100.0f
enum { SPECIAL_COUNT = 11 };

static const struct {
    clg_tensor *(*apply)(clg_tensor *);
    float       expected[SPECIAL_COUNT];
} known[] = {
    {clg_neg, {NAN, -INFINITY, INFINITY, 0.0f, -0.0f, -1.0f, 1.0f, -0.5f, -2.0f, -100.0f, 100.0f}},
    {clg_exp,
     {NAN, INFINITY, 0.0f, 1.0f, 1.0f, 2.7182818284590f, 0.36787944117144f, 1.6487212707001f, 7.3890560989307f,
      INFINITY, 0.0f}},
    {clg_log,
     {NAN, INFINITY, NAN, -INFINITY, -INFINITY, 0.0f, NAN, -0.69314718055995f, 0.69314718055995f, 4.6051701859881f,
      NAN}},
    {clg_sqrt, {NAN, INFINITY, NAN, -0.0f, 0.0f, 1.0f, NAN, 0.70710678118655f, 1.4142135623731f, 10.0f, NAN}},
    {clg_relu, {NAN, INFINITY, 0.0f, 0.0f, 0.0f, 1.0f, 0.0f, 0.5f, 2.0f, 100.0f, 0.0f}},
    {clg_sigmoid,
     {NAN, 1.0f, 0.0f, 0.5f, 0.5f, 0.73105857863000f, 0.26894142136999f, 0.62245933120186f, 0.88079707797788f, 1.0f,
      0.0f}},
    {clg_tanh,
     {NAN, 1.0f, -1.0f, -0.0f, 0.0f, 0.76159415595576f, -0.76159415595576f, 0.46211715726001f, 0.96402758007582f, 1.0f,
      -1.0f}},
    {clg_abs, {NAN, INFINITY, INFINITY, 0.0f, 0.0f, 1.0f, 1.0f, 0.5f, 2.0f, 100.0f, 100.0f}},
    {clg_sign, {NAN, 1.0f, -1.0f, -0.0f, 0.0f, 1.0f, -1.0f, 1.0f, 1.0f, 1.0f, -1.0f}},
    {clg_softplus,
     {NAN, INFINITY, 0.0f, 0.69314718055995f, 0.69314718055995f, 1.3132616875182f, 0.31326168751822f, 0.97407698418011f,
      2.1269280110430f, 100.0f, 3.7835058536770e-44f}},
    {clg_silu,
     {NAN, INFINITY, NAN, -0.0f, 0.0f, 0.73105857863000f, -0.26894142136999f, 0.31122966560093f, 1.7615941559558f, 100.0f,
      0.0f}},
    {clg_cos,
     {NAN, NAN, NAN, 1.0f, 1.0f, 0.54030230586814f, 0.54030230586814f, 0.87758256189037f, -0.41614683654714f,
      0.86231887228768f, 0.86231887228768f}},
};

static bool as_expected(float got, float expected)
{
    if (isnan(expected) || isinf(expected)) return isnan(expected) ? isnan(got) : got == expected;
    const double ulp = 0x1p-23 * fabs((double)expected) + 1e-37;
    return fabs((double)got - (double)expected) <= 5.0 * ulp; /* what OpenCL allows tanh */
}

static clg_tensor *input_of(clg_graph *g, clg_shape shape, const float *value)
{
    clg_tensor *t = clg_input(g, CLG_F32, shape);
    assert_int_equal(clg_tensor_write(t, value, (size_t)clg_shape_count(shape) * sizeof *value), CLG_OK);
    return t;
}

static void expect_values(clg_tensor *t, const char *what, const float *expected, size_t count)
{
    float got[16];
    assert_true(count <= CLG__COUNT(got) && t->count == (int64_t)count);
    assert_int_equal(clg_tensor_read(t, got, count * sizeof *got), CLG_OK);
    for (size_t i = 0; i < count; i++)
        if (!as_expected(got[i], expected[i])) {
            fprintf(stderr, "%s[%zu] is %.9g instead of %.9g\n", what, i, (double)got[i], (double)expected[i]);
            failures++;
        }
}

static void pointwise_operators_give_known_values(void **state)
{
    (void)state;
    static const float special[] = {SPECIALS};
    clg_graph  *g = clg_graph_create(ctx, NULL);
    clg_tensor *x = input_of(g, CLG_SHAPE(SPECIAL_COUNT), special), *outs[CLG__COUNT(known)];
    for (size_t i = 0; i < CLG__COUNT(known); i++) outs[i] = known[i].apply(x);
    clg_plan *plan = clg_plan_create_all(outs, CLG__COUNT(known));
    clg_plan_run(plan);
    for (size_t i = 0; i < CLG__COUNT(known); i++)
        expect_values(outs[i], outs[i]->op->name, known[i].expected, SPECIAL_COUNT);
    clg_plan_destroy(&plan);
    clg_graph_destroy(&g);
    assert_int_equal(failures, 0);
}

/* ---- all others --------------------------------------------------------------------------------------------------- */

typedef struct probe {
    const char *what;
    clg_tensor *out;
    size_t      count;
    float       expected[8];
} probe;

static void operators_give_known_values(void **state)
{
    (void)state;
    clg_graph  *g = clg_graph_create(ctx, NULL);
    clg_tensor *a = input_of(g, CLG_SHAPE(2, 3), (const float[]){1, 2, 3, 4, 5, 6});
    clg_tensor *b = input_of(g, CLG_SHAPE(3, 2), (const float[]){7, 8, 9, 10, 11, 12});
    clg_tensor *row = input_of(g, CLG_SHAPE(3), (const float[]){1, -2, 0.5f});
    clg_tensor *bias = input_of(g, CLG_SHAPE(2), (const float[]){0.5f, -1});
    clg_tensor *odd = input_of(g, CLG_SHAPE(2, 3), (const float[]){1, NAN, 3, -INFINITY, -5, -6});
    clg_tensor *huge = input_of(g, CLG_SHAPE(2, 3), (const float[]){1e30f, 1e30f, -1e30f, -1e4f, -1e4f, -1e4f - 1});
    clg_tensor *high = input_of(g, CLG_SHAPE(2, 2), (const float[]){1e4f, -1e4f, 1e4f, 0});
    clg_tensor *tie = input_of(g, CLG_SHAPE(4), (const float[]){2, 5, 5, 1});
    clg_tensor *image = input_of(g, CLG_SHAPE(1, 1, 3, 3), (const float[]){1, 2, 3, 4, 5, 6, 7, 8, 9});
    clg_tensor *hole = input_of(g, CLG_SHAPE(1, 1, 2, 4), (const float[]){1, NAN, -1, -2, 3, 4, -3, -4});
    clg_tensor *filter = input_of(g, CLG_SHAPE(1, 1, 2, 2), (const float[]){1, 2, 3, 4});
    clg_tensor *labels = clg_input(g, CLG_I32, CLG_SHAPE(2)), *beyond = clg_input(g, CLG_I32, CLG_SHAPE(2));
    clg_tensor *none = clg_input(g, CLG_I32, CLG_SHAPE(2));
    assert_int_equal(clg_tensor_write(labels, (const int32_t[]){0, 1}, 8), CLG_OK);
    assert_int_equal(clg_tensor_write(beyond, (const int32_t[]){0, 2}, 8), CLG_OK);
    assert_int_equal(clg_tensor_write(none, (const int32_t[]){-1, -7}, 8), CLG_OK);
    const clg_reduce_desc last = {.axes = {-1}, .count = 1};
    clg_tensor *d_tie, *d_none, *d_relu;
    clg_tensor *zero = input_of(g, CLG_SHAPE(2), (const float[]){0.0f, -0.0f});
    clg_gradients(clg_max(tie, NULL), &tie, 1, &d_tie);
    clg_gradients(clg_cross_entropy(high, none), &high, 1, &d_none);
    clg_gradients(clg_sum(clg_relu(zero), NULL), &zero, 1, &d_relu);
    clg_tensor *one_zero = input_of(g, CLG_SHAPE(3), (const float[]){-3, 0, 1}), *d_prod, *d_prods;
    clg_tensor *far = input_of(g, CLG_SHAPE(3), (const float[]){10001, 10002, 10003});
    clg_gradients(clg_prod(one_zero, NULL), &one_zero, 1, &d_prod);
    clg_gradients(clg_prod(zero, NULL), &zero, 1, &d_prods);
    clg_tensor *limits = input_of(g, CLG_SHAPE(4), (const float[]){3e38f, -3e38f, 17, -17}), *d_limits, *d_twice;
    clg_gradients(clg_sum(clg_gelu_tanh(limits), NULL), &limits, 1, &d_limits);
    clg_gradients(clg_sum(d_limits, NULL), &limits, 1, &d_twice);
    clg_tensor *ends = input_of(g, CLG_SHAPE(3, 3), (const float[]){-INFINITY, 2, -3, INFINITY, 0, 3, INFINITY, -INFINITY, 2});
    clg_tensor *d_ends;
    clg_gradients(clg_sum(clg_prod(ends, &last), NULL), &ends, 1, &d_ends);
    clg_tensor *d_pow, *d_equal, *d_leaky, *d_clamp;
    clg_gradients(clg_sum(clg_pow(zero, clg_scalar(g, 2)), NULL), &zero, 1, &d_pow);
    clg_gradients(clg_sum(clg_maximum(zero, clg_scalar(g, 0)), NULL), &zero, 1, &d_equal);
    clg_gradients(clg_sum(clg_leaky_relu(zero, 0.125), NULL), &zero, 1, &d_leaky);
    clg_gradients(clg_sum(clg_clamp(zero, 0, 1), NULL), &zero, 1, &d_clamp);
    const probe probes[] = {
        {"a + row", clg_add(a, row), 6, {2, 0, 3.5f, 5, 3, 6.5f}},
        {"a - row", clg_sub(a, row), 6, {0, 4, 2.5f, 3, 7, 5.5f}},
        {"a * row", clg_mul(a, row), 6, {1, -4, 1.5f, 4, -10, 3}},
        {"a / row", clg_div(a, row), 6, {1, -1, 6, 4, -2.5f, 12}},
        {"maximum with NaN", clg_maximum(odd, row), 6, {1, NAN, 3, 1, -2, 0.5f}},
        {"minimum with NaN", clg_minimum(row, odd), 6, {1, NAN, 0.5f, -INFINITY, -5, -6}},
        {"clamp with NaN", clg_clamp(odd, -5.5, 2), 6, {1, NAN, 2, -5.5f, -5, -5.5f}},
        {"odd < a", clg_less(odd, a), 6, {0, 0, 0, 1, 1, 1}},
        {"row ^ 2", clg_pow(row, clg_scalar(g, 2)), 3, {1, 4, 0.25f}},
        {"its derivative at 0", d_pow, 2, {0, 0}},
        {"maximum's derivative where equal", d_equal, 2, {0.5f, 0.5f}},
        {"leaky_relu's derivative at 0", d_leaky, 2, {0.125f, 0.125f}},
        {"clamp's derivative at its bound", d_clamp, 2, {1, 1}},
        {"row / 0", clg_div(row, clg_scalar(g, 0.0)), 3, {INFINITY, -INFINITY, INFINITY}},
        {"odd == odd", clg_equal(odd, odd), 6, {1, 0, 1, 1, 1, 1}},
        {"sum", clg_sum(a, &last), 2, {6, 15}},
        {"mean", clg_mean(a, &last), 2, {2, 5}},
        {"max", clg_max(a, &last), 2, {3, 6}},
        {"min with NaN", clg_min(odd, &last), 2, {NAN, -INFINITY}},
        {"prod", clg_prod(a, &last), 2, {6, 120}},
        {"prod's derivative, with a zero", d_prod, 3, {0, -3, 0}},
        {"and with two", d_prods, 2, {0, 0}},
        {"gelu_tanh's derivative far from 0", d_limits, 4, {1, 0, 1, 0}},
        {"and the second", d_twice, 4, {0, 0, 0, 0}},
        {"prod's derivative, with an infinite value", clg_slice(d_ends, 0, 0, 1, 1), 3, {-6, INFINITY, -INFINITY}},
        {"and a zero", clg_slice(d_ends, 0, 1, 2, 1), 3, {0, INFINITY, NAN}},
        {"and with two", clg_slice(d_ends, 0, 2, 3, 1), 3, {-INFINITY, INFINITY, -INFINITY}},
        {"unbiased variance", clg_variance(a, &last, 1), 2, {1, 1}},
        {"variance far from 0", clg_variance(far, NULL, 0), 1, {0.66666666666667f}},
        {"argmax with NaN", clg_to_f32(clg_argmax(odd, -1, false)), 2, {1, 1}},
        {"argmax of equal ones", clg_to_f32(clg_argmax(tie, 0, false)), 1, {1}},
        {"argmax of columns", clg_to_f32(clg_argmax(odd, 0, true)), 3, {0, 0, 0}},
        {"max with NaN", clg_max(odd, &last), 2, {NAN, -5}},
        {"sum with NaN", clg_sum(odd, &last), 2, {NAN, -INFINITY}},
        {"equal maxima share", d_tie, 4, {0, 0.5f, 0.5f, 0}},
        {"softmax",
         clg_softmax(a),
         6,
         {0.090030573170380f, 0.24472847105480f, 0.66524095577482f, 0.090030573170380f, 0.24472847105480f,
          0.66524095577482f}},
        {"log_softmax",
         clg_log_softmax(a),
         6,
         {-2.4076059644444f, -1.4076059644444f, -0.40760596444438f, -2.4076059644444f, -1.4076059644444f,
          -0.40760596444438f}},
        {"softmax with NaN", clg_softmax(odd), 6, {NAN, NAN, NAN, 0, 0.73105857863000f, 0.26894142136999f}},
        {"softmax of the huge",
         clg_softmax(huge),
         6,
         {0.5f, 0.5f, 0, 0.42231879825152f, 0.42231879825152f, 0.15536240349697f}},
        {"log_softmax far below", clg_log_softmax(high), 4, {0, -2e4f, 0, -1e4f}},
        {"a b", clg_matmul(a, b, NULL), 4, {58, 64, 139, 154}},
        {"a b + bias", clg_matmul(a, b, &(clg_matmul_desc){.bias = bias}), 4, {58.5f, 63, 139.5f, 153}},
        {"a^T", clg_transpose(a, 0, 1), 6, {1, 4, 2, 5, 3, 6}},
        {"conv2d", clg_conv2d(image, filter, NULL, NULL), 4, {37, 47, 67, 77}}, /* cross-correlation */
        {"max_pool2d", clg_max_pool2d(image, &(clg_pool2d_desc){.kernel = 2, .stride = 1}), 4, {5, 6, 8, 9}},
        {"max_pool2d with NaN", clg_max_pool2d(hole, &(clg_pool2d_desc){.kernel = 2}), 2, {NAN, -1}},
        {"avg_pool2d", clg_avg_pool2d(image, &(clg_pool2d_desc){.kernel = 2, .pad = 1}), 4, {0.25f, 1.25f, 2.75f, 7}},
        {"avg_pool2d of real elements",
         clg_avg_pool2d(image, &(clg_pool2d_desc){.kernel = 2, .pad = 1, .exclude_pad = true}),
         4,
         {1, 2.5f, 5.5f, 7}},
        {"cross_entropy far off", clg_cross_entropy(high, labels), 1, {5e3f}},
        {"cross_entropy of no class", clg_cross_entropy(high, beyond), 1, {NAN}},
        {"cross_entropy of no rows", clg_cross_entropy(high, none), 1, {0}},
        {"its gradient", d_none, 4, {0, 0, 0, 0}},
        {"count_correct", clg_count_correct(high, labels), 1, {1}},
        {"mse", clg_mse(a, row), 1, {18.416666666667f}},
        {"bce", clg_bce_with_logits(high, clg_full(g, CLG_SHAPE(2, 2), 0.5)), 1, {3750.1732867951f}},
        {"relu's derivative at 0", d_relu, 2, {0, 0}},
    };
    clg_tensor *outs[CLG__COUNT(probes)];
    for (size_t i = 0; i < CLG__COUNT(probes); i++) outs[i] = probes[i].out;
    clg_plan *plan = clg_plan_create_all(outs, CLG__COUNT(probes));
    if (!plan) fail_msg("%s\n%s", clg_context_error(ctx), clg_context_build_log(ctx));
    clg_plan_run(plan);
    for (size_t i = 0; i < CLG__COUNT(probes); i++) {
        expect_values(outs[i], probes[i].what, probes[i].expected, probes[i].count);
    }
    clg_plan_destroy(&plan);
    clg_graph_destroy(&g);
    assert_int_equal(failures, 0);
}

/* ---- refusals ---------------------------------------------------------------------------------------------------- */

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    clg_graph  *g = clg_graph_create(ctx, NULL);
    clg_tensor *x = clg_input(g, CLG_F32, CLG_SHAPE(2, 3)), *i = clg_input(g, CLG_I32, CLG_SHAPE(2, 3));
    clg_tensor *empty = clg_input(g, CLG_F32, CLG_SHAPE(0, 3)), *image = clg_input(g, CLG_F32, CLG_SHAPE(1, 2, 5, 5));
    clg_tensor *labels = clg_input(g, CLG_I32, CLG_SHAPE(2)), *row = clg_input(g, CLG_F32, CLG_SHAPE(5));
    clg_tensor *bytes = clg_input(g, CLG_U8, CLG_SHAPE(2, 3)), *parts[2];
    const int64_t few[] = {1, 0}, bad[] = {-1, 0}, sizes[] = {1, 1};
#define REFUSED(call, ...)                                                                             \
    {                                                                                                  \
        static const char *const says[] = {__VA_ARGS__};                                               \
        assert_null(call);                                                                             \
        for (size_t k = 0; k < CLG__COUNT(says); k++)                                                  \
            if (!strstr(clg_context_error(ctx), says[k])) fail_msg("%s: %s", #call, clg_context_error(ctx)); \
        clg_context_clear_error(ctx);                                                                  \
    }
    REFUSED(clg_add(x, i), "add([2, 3], [2, 3])", "input 1 must be f32")
    REFUSED(clg_less(x, bytes), "less", "f32 or i32")
    REFUSED(clg_where(i, x, row), "where([2, 3], [2, 3], [5])", "broadcast")
    REFUSED(clg_clamp(x, 2.0, 1.0), "clamp([2, 3])", "from 2 to 1")
    REFUSED(clg_clamp(x, 0.0, NAN), "clamp")
    REFUSED(clg_next(x), "next([2, 3])", "i32")
    REFUSED(clg_min(empty, NULL), "min([0, 3])", "no elements")
    REFUSED(clg_variance(x, &(clg_reduce_desc){.axes = {0}, .count = 1}, 2), "variance", "correction is 2")
    REFUSED(clg_variance(x, &(clg_reduce_desc){.axes = {2}, .count = 1}, 0), "variance([2, 3])", "axis 2")
    REFUSED(clg_argmax(x, 2, false), "argmax([2, 3])", "axis 2")
    REFUSED(clg_argmax(empty, 0, false), "argmax([0, 3])", "no elements")
    REFUSED(clg_softmax_along(x, -3), "softmax([2, 3])", "axis -3")
    REFUSED(clg_permute(x, (const int[]){0, 0}), "permute([2, 3])", "twice")
    REFUSED(clg_slice(x, 1, 1, 4, 1), "slice([2, 3])", "from 1 to 4 by 1")
    REFUSED(clg_slice(x, 1, 2, 1, 1), "slice")
    REFUSED(clg_slice(x, 0, 0, 2, -1), "slice", "by -1")
    REFUSED(clg_pad(x, few, bad, 0.0), "pad([2, 3])", "-1 after")
    REFUSED(clg_pad(bytes, few, few, 0.0), "place", "u8")
    REFUSED(clg_concat((clg_tensor *[]){x, i}, 2, 0), "concat", "all must be f32, or all i32")
    REFUSED(clg_concat((clg_tensor *[]){x, row}, 2, 0), "concat([2, 3], [5])", "ranks")
    REFUSED(clg_concat((clg_tensor *[]){x, empty}, 2, 1), "concat([2, 3], [0, 3])", "axis 1")
    REFUSED(clg_gather(x, labels, 0), "gather([2, 3], [2])", "axis 0")
    REFUSED(clg_gather(x, x, 0), "gather", "index i32")
    REFUSED(clg_take(x, labels, 2), "take([2, 3])", "axis 2")
    REFUSED(clg_one_hot(i, 3), "one_hot([2, 3])", "[rows]")
    REFUSED(clg_cross_entropy_with(x, labels, &(clg_cross_entropy_desc){.smoothing = 1.0}), "cross_entropy", "smoothing is 1")
    REFUSED(clg_cross_entropy_with(x, labels, &(clg_cross_entropy_desc){.weight = row}), "cross_entropy", "[3]")
    REFUSED(clg_huber(x, x, 0.0), "huber([2, 3])", "positive")
    REFUSED(clg_kl_divergence(x, row), "kl_divergence([2, 3])", "alike")
    REFUSED(clg_dropout(x, &(clg_dropout_desc){.rate = -0.5}), "dropout([2, 3])", "-0.5")
    REFUSED(clg_augment(x, NULL), "augment([2, 3])", "[N, C, H, W]")
    REFUSED(clg_augment(image, &(clg_augment_desc){.crop_hw = {3, 9}}), "augment([1, 2, 5, 5])", "3 x 9")
    REFUSED(clg_augment(image, &(clg_augment_desc){.crop_hw = {-1, 5}}), "augment", "-1 x 5")
    REFUSED(clg_augment(image, &(clg_augment_desc){.shift = 5}), "augment", "shift is 5")
    REFUSED(clg_augment(image, &(clg_augment_desc){.pad = -1}), "augment", "pad -1")
    REFUSED(clg_conv_transpose2d(image, image, NULL, NULL), "conv_transpose2d([1, 2, 5, 5])", "1 channels")
    REFUSED(clg_conv_transpose2d(image, clg_input(g, CLG_F32, CLG_SHAPE(2, 1, 3, 3)), NULL,
                                 &(clg_conv2d_desc){.stride = 2, .out_pad = 2}), "conv_transpose2d", "out_pad 2")
    clg_tensor *line = clg_input(g, CLG_F32, CLG_SHAPE(1, 2, 5)), *taps = clg_input(g, CLG_F32, CLG_SHAPE(4, 2, 3));
    REFUSED(clg_conv1d(image, x, NULL, NULL), "conv1d([1, 2, 5, 5], [2, 3])", "[N, C, L]")
    REFUSED(clg_conv1d(line, x, NULL, NULL), "conv1d([1, 2, 5], [2, 3])", "[channels, C / groups, K]")
    REFUSED(clg_conv1d(line, taps, NULL, &(clg_conv1d_desc){.groups = 2}), "conv1d([1, 2, 5], [4, 2, 3])", "[channels, 2 / 2, K]")
    REFUSED(clg_conv1d(line, taps, row, NULL), "conv1d([1, 2, 5], [4, 2, 3], [5])", "the bias must be [4]")
    REFUSED(clg_conv1d(line, taps, NULL, &(clg_conv1d_desc){.dilation = 3}), "conv1d([1, 2, 5], [4, 2, 3])", "length is 7")
    REFUSED(clg_conv1d(line, taps, NULL, &(clg_conv1d_desc){.stride = -1}), "conv1d([1, 2, 5])", "stride -1, pad 0")
    REFUSED(clg_adaptive_avg_pool2d(image, 0, 2), "adaptive_avg_pool2d", "0x2")
    REFUSED(clg_global_max_pool2d(x), "global_max_pool2d([2, 3])", "[N, C, H, W]")
    assert_int_not_equal(clg_split(x, 1, sizes, 2, parts), CLG_OK);
    assert_non_null(strstr(clg_context_error(ctx), "split([2, 3]): axis 1 cannot be split into these 2 parts"));
    clg_context_clear_error(ctx);
    clg_graph_destroy(&g);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(pointwise_operators_give_known_values),
        cmocka_unit_test(operators_give_known_values),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}
