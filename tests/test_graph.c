/* test_graph.c - errors while a graph is built, differentiation, models, sharing, and orders of destruction. */
#include "graph/graph.h"
#include <clgrad/clgrad.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "fixture.h"

static int clear_error(void **state)
{
    (void)state;
    clg_context_clear_error(ctx);
    return 0;
}

static clg_tensor *floats(clg_graph *g, clg_shape shape) { return clg_input(g, CLG_F32, shape); }

static void run_once(clg_tensor *const *outs, size_t count)
{
    clg_plan *plan = clg_plan_create_all(outs, count);
    if (!plan) fail_msg("%s", clg_context_error(ctx));
    clg_plan_run(plan);
    assert_int_equal(clg_context_finish(ctx), CLG_OK);
    clg_plan_destroy(&plan);
}

static void draw(clg_tensor *t, uint64_t seed, float *value)
{
    for (int64_t i = 0; i < t->count; i++) value[i] = 2.0f * clg_random_uniform(seed, (uint64_t)i) - 1.0f;
    assert_int_equal(clg_tensor_write(t, value, (size_t)t->count * sizeof *value), CLG_OK);
}

/* ---- errors ------------------------------------------------------------------------------------------------------ */

/* The context has failed so, and says all of `words`; it goes on after being cleared. */
static void expect_error(clg_status status, const char *const *words)
{
    if (clg_context_status(ctx) != status)
        fail_msg("status %s: %s", clg_status_text(clg_context_status(ctx)), clg_context_error(ctx));
    for (; *words; words++)
        if (!strstr(clg_context_error(ctx), *words))
            fail_msg("\"%s\" does not say \"%s\"", clg_context_error(ctx), *words);
    assert_null(clg_graph_create(ctx, NULL)); /* it sticks */
    clg_context_clear_error(ctx);
    assert_false(clg_context_failed(ctx));
    assert_string_equal(clg_context_error(ctx), "");
}

#define REJECT(call, status, ...)                                    \
    do {                                                             \
        assert_null(call);                                           \
        expect_error(status, (const char *const[]){__VA_ARGS__, NULL}); \
    } while (0)
#define SHAPE(call, ...)    REJECT(call, CLG_INVALID_SHAPE, __VA_ARGS__)
#define ARGUMENT(call, ...) REJECT(call, CLG_INVALID_ARGUMENT, __VA_ARGS__)

static void bad_operands_are_named(void **state)
{
    (void)state;
    clg_graph  *g = new_graph(), *h = new_graph();
    clg_tensor *x = floats(g, CLG_SHAPE(2, 3)), *y = floats(g, CLG_SHAPE(4)), *s = floats(g, CLG_SCALAR);
    clg_tensor *n = clg_input(g, CLG_I32, CLG_SHAPE(2)), *image = floats(g, CLG_SHAPE(1, 2, 5, 5)),
               *z = floats(h, CLG_SHAPE(2, 3));
    clg_tensor *w = floats(g, CLG_SHAPE(4, 3, 3, 3)), *none = floats(g, CLG_SHAPE(0, 3));
    clg_tensor *deep = floats(g, CLG_SHAPE(1, 1, 1, 1, 2, 3));
    SHAPE(clg_add(x, y), "add", "[2, 3]", "[4]");
    SHAPE(clg_mul(clg_tensor_named(y, "velocity"), x), "mul", "velocity", "[2, 3]");
    SHAPE(clg_add(x, n), "add");
    SHAPE(clg_exp(n), "exp", "f32");
    ARGUMENT(clg_sub(x, z), "sub", "different graphs");
    ARGUMENT(clg_sum(x, &(clg_reduce_desc){.axes = {2}, .count = 1}), "sum", "axis 2");
    ARGUMENT(clg_mean(x, &(clg_reduce_desc){.axes = {-3}, .count = 1}), "mean", "axis -3");
    ARGUMENT(clg_max(x, &(clg_reduce_desc){.axes = {0, -2}, .count = 2}), "max", "twice");
    ARGUMENT(clg_max(x, &(clg_reduce_desc){.count = 7}), "max", "7 axes");
    SHAPE(clg_mean(none, NULL), "mean", "no elements");
    SHAPE(clg_max(none, &(clg_reduce_desc){.axes = {0}, .count = 1}), "max", "no elements");
    SHAPE(clg_softmax(s), "softmax");
    SHAPE(clg_reshape(x, CLG_SHAPE(4, 2)), "reshape", "[2, 3]", "[4, 2]");
    SHAPE(clg_reshape(x, CLG_SHAPE(4, -1)), "reshape", "6");
    SHAPE(clg_reshape(x, CLG_SHAPE(-1, -1)), "reshape");
    SHAPE(clg_reshape(x, ((clg_shape){.rank = 7, .dim = {6, 1, 1, 1, 1, 1}})), "reshape");
    SHAPE(clg_reshape(x, ((clg_shape){.rank = -1})), "reshape");
    ARGUMENT(clg_flatten(x, 3), "flatten", "3");
    ARGUMENT(clg_transpose(x, 0, 2), "transpose");
    ARGUMENT(clg_permute(x, NULL), "permute", "axes");
    ARGUMENT(clg_pad(x, NULL, (const int64_t[]){0, 0}, 0.0), "pad", "[2, 3]");
    ARGUMENT(clg_pad(n, (const int64_t[]){1}, (const int64_t[]){0}, 0.5), "pad", "0.5");
    ARGUMENT(clg_pad(n, (const int64_t[]){1}, (const int64_t[]){0}, (double)NAN), "pad", "nan");
    ARGUMENT(clg_pad(n, (const int64_t[]){1}, (const int64_t[]){0}, 0x1p31), "pad", "i32");
    assert_non_null(clg_pad(n, (const int64_t[]){1}, (const int64_t[]){0}, -0x1p31));
    SHAPE(clg_expand(x, CLG_SHAPE(2, 4)), "expand", "[2, 3]", "[2, 4]");
    SHAPE(clg_expand(x, CLG_SHAPE(3)), "expand");
    SHAPE(clg_matmul(x, x, NULL), "matmul", "[2, 3]");
    SHAPE(clg_matmul(x, y, NULL), "matmul", "[4]");
    SHAPE(clg_matmul(x, x, &(clg_matmul_desc){.trans_b = true, .bias = y}), "matmul", "bias", "[2]");
    SHAPE(clg_matmul(floats(g, CLG_SHAPE(2, 3, 4)), floats(g, CLG_SHAPE(3, 4, 5)), NULL), "matmul");
    SHAPE(clg_matmul(deep, floats(g, CLG_SHAPE(5, 3)), NULL), "matmul");
    SHAPE(clg_conv2d(image, w, NULL, NULL), "conv2d", "[1, 2, 5, 5]", "[4, 3, 3, 3]");
    SHAPE(clg_conv2d(x, w, NULL, NULL), "conv2d");
    SHAPE(clg_max_pool2d(x, &(clg_pool2d_desc){.kernel = 2}), "pool2d", "[2, 3]");
    SHAPE(clg_cross_entropy(x, y), "cross_entropy", "labels");
    SHAPE(clg_cross_entropy(y, n), "cross_entropy", "logits");
    SHAPE(clg_cross_entropy(x, clg_input(g, CLG_I32, CLG_SHAPE(3))), "cross_entropy", "[2]", "[3]");
    SHAPE(clg_count_correct(x, x), "count_correct");
    SHAPE(clg_take_rows(x, y, 0, 0), "take_rows", "index");
    SHAPE(clg_take_rows(s, n, 0, 0), "take_rows", "rows");
    assert_non_null(clg_add(x, x));
    clg_graph_destroy(&g);
    clg_graph_destroy(&h);
}

static void bad_windows_are_rejected(void **state)
{
    (void)state;
    clg_graph  *g = new_graph();
    clg_tensor *x = floats(g, CLG_SHAPE(1, 2, 5, 5)), *w = floats(g, CLG_SHAPE(4, 2, 3, 3)),
               *b = floats(g, CLG_SHAPE(3));
    static const clg_conv2d_desc convs[] = {{.stride = -1}, {.pad = -1},    {.dilation = -1}, {.dilation = 3},
                                            {.groups = 3},  {.groups = -1}, {.groups = 2}};
    static const clg_pool2d_desc pools[] = {{.kernel = 0}, {.kernel = -2}, {.kernel = 6}, {.kernel = 2, .stride = -1},
                                            {.kernel = 2, .pad = -1}, {.kernel = 2, .pad = 2}};
    for (size_t i = 0; i < CLG__COUNT(convs); i++) {
        assert_null(clg_conv2d(x, w, NULL, &convs[i]));
        assert_non_null(strstr(clg_context_error(ctx), "conv2d"));
        clg_context_clear_error(ctx);
    }
    for (size_t i = 0; i < CLG__COUNT(pools); i++) {
        assert_null(clg_max_pool2d(x, &pools[i]));
        assert_non_null(strstr(clg_context_error(ctx), "pool2d"));
        clg_context_clear_error(ctx);
        assert_null(clg_avg_pool2d(x, &pools[i]));
        assert_non_null(strstr(clg_context_error(ctx), "pool2d"));
        clg_context_clear_error(ctx);
    }
    assert_null(clg_max_pool2d(x, NULL));
    clg_context_clear_error(ctx);
    SHAPE(clg_conv2d(x, w, b, NULL), "conv2d", "[4]");
    clg_graph_destroy(&g);
}

static void huge_shapes_do_not_overflow(void **state)
{
    (void)state;
    clg_graph    *g = new_graph();
    const int64_t big = INT64_C(1) << 40;
    REJECT(clg_input(g, CLG_F32, CLG_SHAPE(big, big)), CLG_INVALID_SHAPE, "1099511627776");
    REJECT(clg_state(g, CLG_F32, CLG_SHAPE(-1)), CLG_INVALID_SHAPE, "[-1]");
    SHAPE(clg_full(g, CLG_SHAPE(big, 2, big), 1.0), "full");
    clg_tensor *column = floats(g, CLG_SHAPE(big, 1)), *row = floats(g, CLG_SHAPE(1, big));
    assert_true(column && row); /* nothing is allocated yet */
    SHAPE(clg_add(column, row), "add", "1099511627776");
    SHAPE(clg_matmul(column, row, NULL), "matmul");
    SHAPE(clg_expand(floats(g, CLG_SCALAR), CLG_SHAPE(big, big)), "expand");
    SHAPE(clg_reshape(row, CLG_SHAPE(big, big, -1)), "reshape");
    clg_tensor *ten = floats(g, CLG_SHAPE(10)), *odd = clg_slice(ten, 0, 1, CLG_END, 2);
    assert_int_equal(clg_tensor_count(clg_slice(ten, 0, 0, CLG_END, INT64_MAX)), 1); /* the first element alone */
    assert_int_equal(clg_tensor_count(clg_slice(odd, 0, 2, CLG_END, INT64_MAX)), 1);
    SHAPE(clg_input(g, CLG_F32, ((clg_shape){.rank = 9})), "input");
    clg_graph_destroy(&g);
}

static void null_passes_through(void **state)
{
    (void)state;
    clg_graph  *g = new_graph();
    clg_tensor *x = floats(g, CLG_SHAPE(2, 3));
    clg_tensor *const results[] = {
        clg_add(NULL, x), clg_add(x, NULL), clg_exp(NULL), clg_scale(NULL, 2.0), clg_sum(NULL, NULL),
        clg_softmax(NULL), clg_reshape(NULL, CLG_SCALAR), clg_flatten(NULL, 1), clg_transpose(NULL, 0, 1),
        clg_expand(NULL, CLG_SCALAR), clg_matmul(NULL, x, NULL), clg_matmul(x, NULL, NULL),
        clg_conv2d(NULL, NULL, NULL, NULL), clg_max_pool2d(NULL, NULL), clg_avg_pool2d(NULL, NULL),
        clg_cross_entropy(NULL, x), clg_mse(x, NULL), clg_bce_with_logits(NULL, x), clg_count_correct(NULL, NULL),
        clg_take_rows(NULL, NULL, 0.0, 0.0), clg_assign(NULL, x), clg_assign(x, NULL), clg_share(g, NULL),
        clg_share(NULL, x), clg_input(NULL, CLG_F32, CLG_SCALAR), clg_full(NULL, CLG_SCALAR, 1.0),
        clg_tensor_named(NULL, "x"), clg_nn_linear(NULL, "a", x, NULL), clg_nn_conv2d(NULL, "a", x, NULL),
        clg_model_arena(NULL, g), clg_model_gradients(NULL, x),
    };
    for (size_t i = 0; i < CLG__COUNT(results); i++)
        if (results[i]) fail_msg("result %zu is not NULL", i);
    assert_null(clg_plan_create(NULL));
    assert_null(clg_plan_train(NULL, NULL));
    assert_null(clg_adam_create(NULL, NULL));
    clg_plan_run(NULL);
    clg_plan_destroy(NULL);
    clg_graph_destroy(NULL);
    clg_model_destroy(NULL);
    clg_optimizer_destroy(NULL);
    assert_int_equal(clg_tensor_storage_id(NULL), 0);
    assert_int_equal(clg_tensor_count(NULL), 0);
    assert_int_equal(clg_tuning_choices(NULL, NULL, NULL, 0) + clg_quarantine(NULL, NULL, NULL, 0, NULL, 0), 0);
    assert_true(clg_op_info_get(0, NULL));
    assert_false(clg_op_info_get(SIZE_MAX, NULL));
    assert_false(clg_context_failed(ctx));
    clg_graph_destroy(&g);
}

static void values_are_moved_whole_or_not_at_all(void **state)
{
    (void)state;
    clg_graph  *g = new_graph();
    clg_tensor *x = floats(g, CLG_SHAPE(2, 3)), *y = clg_exp(x), *n = clg_input(g, CLG_I32, CLG_SCALAR);
    float       value[7] = {1, 2, 3, 4, 5, 6, 7};
    static const char *const size[] = {"24", NULL}, *const nothing[] = {"read", "[2, 3]", "no value", NULL},
                             *const f32[] = {"f32", NULL}, *const empty[] = {"upload", "[0]", "empty", NULL};
    assert_int_equal(clg_tensor_write(x, value, 28), CLG_INVALID_ARGUMENT);
    expect_error(CLG_INVALID_ARGUMENT, size);
    assert_int_equal(clg_tensor_read(x, value, 20), CLG_INVALID_ARGUMENT);
    expect_error(CLG_INVALID_ARGUMENT, size);
    assert_int_equal(clg_tensor_read(y, value, 24), CLG_INVALID_ARGUMENT);
    expect_error(CLG_INVALID_ARGUMENT, nothing);
    assert_true(isnan(clg_tensor_scalar(n)));
    expect_error(CLG_INVALID_ARGUMENT, f32);
    assert_true(isnan(clg_tensor_scalar(x)));
    clg_context_clear_error(ctx);
    assert_null(clg_upload_create(floats(g, CLG_SHAPE(0))));
    expect_error(CLG_INVALID_ARGUMENT, empty);
    assert_int_equal(clg_tensor_read(x, value, 24), CLG_OK); /* an input starts as zeros */
    for (int i = 0; i < 6; i++) assert_true(value[i] == 0.0f);
    assert_true(value[6] == 7.0f);
    clg_graph_destroy(&g);
}

static void assignments_want_a_target_that_fits(void **state)
{
    (void)state;
    clg_graph  *g = new_graph(), *h = new_graph();
    clg_tensor *a = clg_state(g, CLG_F32, CLG_SHAPE(2, 3)), *b = clg_state(h, CLG_F32, CLG_SHAPE(2, 3));
    clg_tensor *n = clg_state(g, CLG_I32, CLG_SHAPE(2, 3));
    ARGUMENT(clg_assign(clg_exp(a), a), "assign", "not persistent");
    ARGUMENT(clg_assign(clg_reshape(a, CLG_SHAPE(3, 2)), clg_exp(clg_reshape(a, CLG_SHAPE(3, 2)))), "assign",
             "not persistent");
    ARGUMENT(clg_assign(a, b), "assign", "different graphs", "clg_share");
    SHAPE(clg_assign(a, clg_transpose(a, 0, 1)), "assign", "[3, 2]", "[2, 3]");
    SHAPE(clg_assign(a, n), "assign", "i32", "f32");
    ARGUMENT(clg_share(h, clg_exp(a)), "share", "not persistent");
    static const char *const update[] = {"[2, 3]", "not an assignment of this graph", NULL};
    clg_graph_add_update(g, a);
    expect_error(CLG_INVALID_ARGUMENT, update);
    clg_graph_add_update(h, clg_assign(a, clg_exp(a)));
    expect_error(CLG_INVALID_ARGUMENT, update);
    assert_int_equal(clg_graph_update_count(g) + clg_graph_update_count(h), 0);
    ARGUMENT(clg_plan_create_all((clg_tensor *const[]){a, b}, 2), "plan", "different graphs");
    clg_graph_destroy(&g);
    clg_graph_destroy(&h);
}

static void bad_layers_name_themselves(void **state)
{
    (void)state;
    clg_graph  *g = new_graph();
    clg_model  *m = clg_model_create(ctx, NULL);
    clg_tensor *x = floats(g, CLG_SHAPE(4, 5)), *image = floats(g, CLG_SHAPE(1, 3, 8, 8));
    char        lengthy[300];
    memset(lengthy, 'a', sizeof lengthy - 1);
    lengthy[sizeof lengthy - 1] = '\0';
    SHAPE(clg_nn_linear(m, "fc", x, NULL), "fc", "[4, 5]", "features");
    SHAPE(clg_nn_linear(m, "fc", x, &(clg_linear_desc){.features = -1}), "fc", "features");
    SHAPE(clg_nn_linear(m, "fc", x, &(clg_linear_desc){.features = 1, .init = 99}), "fc", "initialiser");
    SHAPE(clg_nn_linear(m, "", x, &(clg_linear_desc){.features = 1}), "name");
    SHAPE(clg_nn_linear(m, NULL, x, &(clg_linear_desc){.features = 1}), "name");
    SHAPE(clg_nn_linear(m, lengthy, x, &(clg_linear_desc){.features = 1}), "too long");
    SHAPE(clg_nn_linear(m, "fc", floats(g, CLG_SCALAR), &(clg_linear_desc){.features = 1}), "fc", "[]");
    SHAPE(clg_nn_conv2d(m, "conv", x, &(clg_conv2d_desc){.channels = 4, .kernel = 3}), "conv", "[4, 5]");
    SHAPE(clg_nn_conv2d(m, "conv", image, &(clg_conv2d_desc){.kernel = 3}), "conv", "channels");
    SHAPE(clg_nn_conv2d(m, "conv", image, &(clg_conv2d_desc){.channels = 4}), "conv", "kernel");
    SHAPE(clg_nn_conv2d(m, "conv", image, &(clg_conv2d_desc){.channels = 4, .kernel = 3, .groups = 2}), "conv",
          "groups");
    assert_int_equal(clg_model_count(m), 0);

    assert_non_null(clg_nn_linear(m, "fc", x, &(clg_linear_desc){.features = 7}));
    SHAPE(clg_nn_linear(m, "fc", x, &(clg_linear_desc){.features = 8}), "fc.weight", "[5, 7]", "[5, 8]");
    SHAPE(clg_model_parameter(m, g, "empty", CLG_SHAPE(0, 3), NULL, 0.0), "empty", "[0, 3]");
    clg_model *nothing = clg_model_create(ctx, NULL);
    ARGUMENT(clg_model_arena(nothing, g), "no parameters");
    ARGUMENT(clg_model_gradients(m, clg_sum(x, NULL)), "does not depend");
    ARGUMENT(clg_nn_linear(m, "late", x, &(clg_linear_desc){.features = 2}), "late.weight", "[5, 2]", "plan");
    ARGUMENT(clg_adam_create(m, &(clg_adam_desc){.beta1 = 1.5}), "optimizer");
    ARGUMENT(clg_sgd_create(m, &(clg_sgd_desc){.lr = NAN}), "optimizer");
    clg_graph_destroy(&g);
    clg_model_destroy(&m);
    clg_model_destroy(&nothing);
}

/* ---- differentiation --------------------------------------------------------------------------------------------- */

static const double *value_of(clg__reference **ref, const clg_tensor *t)
{
    clg__reference_destroy(ref);
    *ref = clg__reference_create(t->graph);
    assert_non_null(*ref);
    return clg__reference_value(*ref, t);
}

static void gradients_want_one_number(void **state)
{
    (void)state;
    clg_graph  *g = new_graph(), *h = new_graph();
    clg_tensor *x = floats(g, CLG_SHAPE(3)), *z = floats(h, CLG_SHAPE(3)), *n = clg_input(g, CLG_I32, CLG_SCALAR), *d;
    static const char *const shape[] = {"gradients", "[3]", NULL}, *const type[] = {"i32", NULL},
                             *const other[] = {"wrt[0]", NULL};
    assert_int_equal(clg_gradients(clg_exp(x), &x, 1, &d), CLG_INVALID_SHAPE);
    expect_error(CLG_INVALID_SHAPE, shape);
    assert_int_equal(clg_gradients(n, &x, 1, &d), CLG_INVALID_SHAPE);
    expect_error(CLG_INVALID_SHAPE, type);
    assert_int_equal(clg_gradients(clg_sum(x, NULL), &z, 1, &d), CLG_INVALID_ARGUMENT);
    expect_error(CLG_INVALID_ARGUMENT, other);
    assert_int_equal(clg_gradients(NULL, &x, 1, &d), CLG_INVALID_ARGUMENT);
    assert_null(d);
    clg_graph_destroy(&g);
    clg_graph_destroy(&h);
}

static void gradients_add_up_and_vanish(void **state)
{
    (void)state;
    clg_graph  *g = new_graph();
    clg_tensor *x = clg_full(g, CLG_SHAPE(3), 2.0), *unused = floats(g, CLG_SHAPE(4)), *y = clg_mul(x, x);
    clg_tensor *loss = clg_sum(clg_add(clg_add(y, x), clg_mul(y, x)), NULL); /* x^2 + x + x^3: 2x + 1 + 3x^2 = 17 */
    clg_tensor *only_counted = clg_sum(clg_equal(x, x), NULL);
    clg_tensor *late = floats(g, CLG_SHAPE(2)), *wrt[] = {x, unused, loss, late, y}, *d[5], *e;
    clg__reference *ref = NULL;
    assert_int_equal(clg_gradients(loss, wrt, 5, d), CLG_OK);
    for (int i = 0; i < 3; i++) assert_true(fabs(value_of(&ref, d[0])[i] - 17.0) < 1e-12);
    assert_true(clg_shape_equal(d[1]->shape, unused->shape) && value_of(&ref, d[1])[3] == 0.0);
    assert_true(value_of(&ref, d[2])[0] == 1.0);
    assert_true(clg_shape_equal(d[3]->shape, late->shape) && value_of(&ref, d[3])[1] == 0.0);
    assert_true(fabs(value_of(&ref, d[4])[0] - 3.0) < 1e-12); /* of y, on the way: 1 + x */
    assert_int_equal(clg_gradients(only_counted, &x, 1, &e), CLG_OK);
    assert_true(value_of(&ref, e)[0] == 0.0);
    clg__reference_destroy(&ref);
    clg_graph_destroy(&g);
}

typedef struct mlp {
    clg_tensor *x, *labels, *w1, *b1, *w2, *b2, *loss;
} mlp;

static mlp build_mlp(clg_graph *g)
{
    mlp n = {.x = floats(g, CLG_SHAPE(6, 5)),
             .labels = clg_input(g, CLG_I32, CLG_SHAPE(6)),
             .w1 = floats(g, CLG_SHAPE(5, 7)),
             .b1 = floats(g, CLG_SHAPE(7)),
             .w2 = floats(g, CLG_SHAPE(7, 3)),
             .b2 = floats(g, CLG_SHAPE(3))};
    clg_tensor *hidden = clg_tanh(clg_matmul(n.x, n.w1, &(clg_matmul_desc){.bias = n.b1}));
    n.loss = clg_cross_entropy(clg_matmul(hidden, n.w2, &(clg_matmul_desc){.bias = n.b2}), n.labels);
    return n;
}

static size_t count_nodes(const clg_graph *g, uint32_t from, const char *op)
{
    size_t count = 0;
    for (uint32_t i = from; i < g->count; i++) count += strcmp(g->nodes[i]->op->name, op) == 0;
    return count;
}

static void only_wanted_gradients_are_built(void **state)
{
    (void)state;
    clg_graph     *g = new_graph();
    const mlp      n = build_mlp(g);
    const uint32_t before = g->count;
    clg_tensor    *wrt[] = {n.w1, n.b1, n.w2, n.b2, n.x}, *d[5];
    assert_int_equal(clg_gradients(n.loss, wrt, 4, d), CLG_OK);
    assert_int_equal(count_nodes(g, before, "matmul"), 3); /* dW1, dW2 and what passes through the second layer */
    const uint32_t then = g->count;
    assert_int_equal(clg_gradients(n.loss, &n.b2, 1, d), CLG_OK);
    assert_int_equal(count_nodes(g, then, "matmul"), 0);
    const uint32_t last = g->count;
    assert_int_equal(clg_gradients(n.loss, wrt, 5, d), CLG_OK);
    assert_int_equal(count_nodes(g, last, "matmul"), 4); /* now of the images too */
    clg_graph_destroy(&g);
}

/* The Hessian times v, as the gradient of (gradient . v), against differences of the gradient, in double precision; and
 * the device against that. */
static void second_derivatives_of_a_network(void **state)
{
    (void)state;
    enum { PARAMETERS = 4, MOST = 35 };
    clg_graph  *g = new_graph();
    const mlp   n = build_mlp(g);
    clg_tensor *wrt[PARAMETERS] = {n.w1, n.b1, n.w2, n.b2}, *d[PARAMETERS], *hv[PARAMETERS], *v[PARAMETERS],
               *slope = NULL;
    float       start[PARAMETERS][MOST], direction[PARAMETERS][MOST], x[30], got[MOST];
    const int32_t labels[6] = {0, 2, -1, 1, 2, 0};
    const double  step = 1e-5;
    assert_int_equal(clg_gradients(n.loss, wrt, PARAMETERS, d), CLG_OK);
    for (int i = 0; i < PARAMETERS; i++) {
        v[i] = floats(g, wrt[i]->shape);
        clg_tensor *part = clg_sum(clg_mul(d[i], v[i]), NULL);
        slope = slope ? clg_add(slope, part) : part;
    }
    assert_int_equal(clg_gradients(slope, wrt, PARAMETERS, hv), CLG_OK);
    draw(n.x, 1, x);
    assert_int_equal(clg_tensor_write(n.labels, labels, sizeof labels), CLG_OK);
    for (int i = 0; i < PARAMETERS; i++) {
        draw(wrt[i], 2 + (uint64_t)i, start[i]);
        draw(v[i], 7 + (uint64_t)i, direction[i]);
    }
    run_once(hv, PARAMETERS);

    clg__reference *ref[3]; /* at the point, before it, beyond it */
    for (int k = 0; k < 3; k++) {
        double value[MOST];
        ref[k] = clg__reference_create(g);
        assert_non_null(ref[k]);
        for (int i = 0; i < 30; i++) value[i] = (double)x[i];
        clg__reference_set(ref[k], n.x, value);
        for (int i = 0; i < 6; i++) value[i] = labels[i];
        clg__reference_set(ref[k], n.labels, value);
        for (int p = 0; p < PARAMETERS; p++) {
            for (int64_t i = 0; i < wrt[p]->count; i++)
                value[i] = (double)start[p][i] + (double)direction[p][i] * step * (k == 1 ? -1.0 : k == 2 ? 1.0 : 0.0);
            clg__reference_set(ref[k], wrt[p], value);
            for (int64_t i = 0; i < wrt[p]->count; i++) value[i] = (double)direction[p][i];
            clg__reference_set(ref[k], v[p], value);
        }
    }
    for (int p = 0; p < PARAMETERS; p++) {
        const double *hessian = clg__reference_value(ref[0], hv[p]);
        const double *before = clg__reference_value(ref[1], d[p]), *beyond = clg__reference_value(ref[2], d[p]);
        assert_true(hessian && before && beyond);
        assert_int_equal(clg_tensor_read(hv[p], got, (size_t)hv[p]->count * 4), CLG_OK);
        double largest = 0.0;
        for (int64_t i = 0; i < wrt[p]->count; i++) largest = fmax(largest, fabs(hessian[i]));
        assert_true(largest > 1e-3);
        for (int64_t i = 0; i < wrt[p]->count; i++) {
            assert_true(fabs((beyond[i] - before[i]) / (2.0 * step) - hessian[i]) < 1e-7 * largest);
            assert_true(fabs((double)got[i] - hessian[i]) < 1e-5 * largest);
        }
    }
    for (int k = 0; k < 3; k++) clg__reference_destroy(&ref[k]);
    clg_graph_destroy(&g);
}

/* ---- models ------------------------------------------------------------------------------------------------------ */

static void first_values(const char *profile, uint64_t seed, bool reversed, float *value, size_t count)
{
    clg_context *own = clg_context_create(&(clg_context_desc){.profile = profile});
    clg_model   *m = clg_model_create(own, &(clg_model_desc){.seed = seed});
    clg_graph   *g = clg_graph_create(own, NULL);
    clg_tensor  *x = floats(g, CLG_SHAPE(2, 40));
    assert_non_null(clg_nn_linear(m, reversed ? "b" : "a", x, &(clg_linear_desc){.features = 30}));
    assert_non_null(clg_nn_linear(m, reversed ? "a" : "b", x, &(clg_linear_desc){.features = 30}));
    size_t a = 0;
    while (strcmp(clg_model_name(m, a), "a.weight") != 0) a++;
    assert_int_equal(clg_model_read(m, a, value, count), CLG_OK);
    clg_context_destroy(&own);
}

static void first_values_depend_on_seed_and_name_alone(void **state)
{
    (void)state;
    enum { COUNT = 1200 };
    float          cpu[COUNT], gpu[COUNT], reversed[COUNT], other[COUNT];
    const uint64_t stream = clg__hash(7 ^ 0x9e3779b97f4a7c15u, "a.weight", 8);
    const double   a = sqrt(6.0 / 70.0);
    first_values("cpu", 7, false, cpu, COUNT);
    first_values("gpu", 7, false, gpu, COUNT);
    first_values("cpu", 7, true, reversed, COUNT);
    first_values("cpu", 8, false, other, COUNT);
    assert_memory_equal(cpu, gpu, sizeof cpu);
    assert_memory_equal(cpu, reversed, sizeof cpu);
    size_t same = 0;
    for (uint64_t i = 0; i < COUNT; i++) {
        const double expected = a * (2.0 * (double)clg_random_uniform(stream, i) - 1.0);
        assert_true(fabs((double)cpu[i] - expected) <= 0x1p-24);
        same += cpu[i] == other[i];
    }
    assert_true(same < 5);
}

static void initialisers_have_their_spread(void **state)
{
    (void)state;
    enum { IN = 60, OUT = 200, CHANNELS = 32, COUNT = IN * OUT, CONV = CHANNELS * 8 * 9 };
    static const struct {
        int    init;
        bool   uniform;
        double linear, conv; /* variances */
    } rows[] = {
        {CLG_INIT_DEFAULT, true, 2.0 / (IN + OUT), 2.0 / (9 * 8 + 9 * 16)},
        {CLG_INIT_GLOROT_UNIFORM, true, 2.0 / (IN + OUT), 2.0 / (9 * 8 + 9 * 16)},
        {CLG_INIT_GLOROT_NORMAL, false, 2.0 / (IN + OUT), 2.0 / (9 * 8 + 9 * 16)},
        {CLG_INIT_HE_UNIFORM, true, 2.0 / IN, 2.0 / (9 * 8)},
        {CLG_INIT_HE_NORMAL, false, 2.0 / IN, 2.0 / (9 * 8)},
        {CLG_INIT_ZEROS, true, 0.0, 0.0},
        {CLG_INIT_HE_NORMAL_OUT, false, 2.0 / OUT, 2.0 / (9 * 16)},
        {CLG_INIT_NORMAL, false, 1.0, 1.0},
        {CLG_INIT_GPT2, false, 4e-4, 4e-4},
        {CLG_INIT_UNIFORM, true, 0.0025 / 3, 0.0025 / 3},
        {CLG_INIT_ORTHOGONAL, false, 1.0 / OUT, 1.0 / 72},
    };
    assert_int_equal(CLG__COUNT(rows), CLG_INIT_COUNT);
    for (size_t r = 0; r < CLG__COUNT(rows); r++) {
        clg_model *m = clg_model_create(ctx, &(clg_model_desc){.seed = r});
        clg_graph *g = new_graph();
        assert_non_null(clg_nn_linear(m, "fc", floats(g, CLG_SHAPE(1, IN)),
                                      &(clg_linear_desc){.features = OUT, .init = rows[r].init}));
        assert_non_null(
            clg_nn_conv2d(m, "conv", floats(g, CLG_SHAPE(1, 16, 5, 5)),
                          &(clg_conv2d_desc){.channels = CHANNELS, .kernel = 3, .groups = 2, .init = rows[r].init}));
        assert_int_equal(clg_model_count(m), 4);
        for (size_t i = 0; i < 4; i++) {
            static float value[COUNT];
            const bool   bias = i % 2, conv = i >= 2;
            const size_t count = (size_t)clg_shape_count(clg_model_shape(m, i));
            assert_int_equal(count, bias ? (conv ? CHANNELS : OUT) : conv ? CONV : COUNT);
            assert_int_equal(clg_model_read(m, i, value, count), CLG_OK);
            double mean = 0.0, square = 0.0, largest = 0.0;
            for (size_t k = 0; k < count; k++) {
                mean += (double)value[k] / (double)count;
                square += (double)value[k] * (double)value[k] / (double)count;
                largest = fmax(largest, fabs((double)value[k]));
            }
            const double variance = bias ? 0.0 : conv ? rows[r].conv : rows[r].linear, bound = sqrt(3.0 * variance);
            assert_true(fabs(square - variance) <= 0.1 * variance); /* 3.4 standard deviations of 2304 normal values */
            assert_true(fabs(mean) <= 5.0 * sqrt(variance / (double)count));
            if (rows[r].uniform) assert_true(largest <= bound * (1.0 + 1e-6) && largest >= 0.99 * bound);
            else if (!bias) assert_true(largest > 2.5 * sqrt(variance) && largest < 6.0 * sqrt(variance));
        }
        clg_graph_destroy(&g);
        clg_model_destroy(&m);
    }
}

/* pack: every parameter's gradient in its place; one that the loss does not see, and the padding, are zero. */
static void gradients_lie_as_the_parameters_do(void **state)
{
    (void)state;
    clg_model  *m = clg_model_create(ctx, &(clg_model_desc){.seed = 3});
    clg_graph  *g = new_graph();
    clg_tensor *x = floats(g, CLG_SHAPE(9, 5));
    float       data[45];
    clg_nn_linear(m, "unseen", x, &(clg_linear_desc){.features = 11});
    clg_tensor *y = clg_nn_linear(m, "fc2", clg_relu(clg_nn_linear(m, "fc1", x, &(clg_linear_desc){.features = 7})),
                                  &(clg_linear_desc){.features = 3});
    clg_tensor *loss = clg_mean(clg_mul(y, y), NULL);
    clg_tensor *packed = clg_model_gradients(m, loss), *arena = clg_model_arena(m, g);
    assert_non_null(packed);
    assert_true(clg_shape_equal(packed->shape, arena->shape));
    clg_tensor *wrt[8], *d[8], *outs[9] = {packed};
    const size_t parameters = clg_model_count(m);
    assert_int_equal(parameters, 6);
    for (size_t i = 0; i < parameters; i++)
        wrt[i] = clg_model_parameter(m, g, clg_model_name(m, i), clg_model_shape(m, i), NULL, 0.0);
    assert_int_equal(clg_gradients(loss, wrt, parameters, d), CLG_OK);
    for (size_t i = 0; i < parameters; i++) outs[1 + i] = d[i];
    draw(x, 1, data);
    run_once(outs, 1 + parameters);

    const size_t total = (size_t)packed->count;
    float       *all = malloc(total * sizeof *all), each[64];
    bool        *seen = calloc(total, sizeof *seen);
    assert_true(all && seen);
    assert_int_equal(clg_tensor_read(packed, all, total * 4), CLG_OK);
    for (size_t i = 0; i < parameters; i++) {
        const size_t count = (size_t)d[i]->count, at = (size_t)wrt[i]->offset;
        bool         zero = true;
        assert_true(at % CLG__PARAMETER_ALIGN == 0 && at + count <= total && count <= CLG__COUNT(each));
        assert_int_equal(clg_tensor_read(d[i], each, count * 4), CLG_OK);
        assert_memory_equal(all + at, each, count * 4);
        for (size_t k = 0; k < count; k++) seen[at + k] = true, zero = zero && each[k] == 0.0f;
        assert_int_equal(zero, strncmp(clg_model_name(m, i), "unseen", 6) == 0);
    }
    for (size_t k = 0; k < total; k++) assert_true(seen[k] || all[k] == 0.0f);
    free(all);
    free(seen);
    clg_graph_destroy(&g);
    clg_model_destroy(&m);
}

static void parameters_are_read_and_written(void **state)
{
    (void)state;
    clg_model  *m = clg_model_create(ctx, NULL);
    clg_graph  *g = new_graph();
    clg_tensor *w = clg_model_parameter(m, g, "w", CLG_SHAPE(3), NULL, 0.0);
    float       value[4] = {0};
    static const char *const which[] = {"1 parameter", NULL}, *const size[] = {"w", "4", "3", NULL};
    assert_int_equal(clg_model_write(m, 0, (const float[]){1, 2, 3}, 3), CLG_OK);
    assert_int_equal(clg_tensor_read(w, value, 12), CLG_OK);
    assert_true(value[0] == 1.0f && value[1] == 2.0f && value[2] == 3.0f);
    assert_int_equal(clg_tensor_write(w, (const float[]){4, 5, 6}, 12), CLG_OK);
    assert_int_equal(clg_model_read(m, 0, value, 3), CLG_OK);
    assert_true(value[0] == 4.0f && value[2] == 6.0f);
    assert_int_equal(clg_model_read(m, 1, value, 3), CLG_INVALID_ARGUMENT);
    expect_error(CLG_INVALID_ARGUMENT, which);
    assert_int_equal(clg_model_write(m, 0, value, 4), CLG_INVALID_SHAPE);
    expect_error(CLG_INVALID_SHAPE, size);
    clg_graph_destroy(&g);
    clg_model_destroy(&m);
}

/* ---- sharing and lifetimes --------------------------------------------------------------------------------------- */

static void graphs_share_persistent_tensors(void **state)
{
    (void)state;
    clg_graph  *g = new_graph(), *h = new_graph();
    clg_tensor *a = clg_state(g, CLG_F32, CLG_SHAPE(3)), *b = clg_share(h, a),
               *other = clg_state(h, CLG_F32, CLG_SHAPE(3));
    float       value[3];
    assert_ptr_equal(clg_tensor_graph(b), h);
    assert_ptr_equal(clg_share(h, a), b);
    assert_true(clg_tensor_storage_id(a) != 0 && clg_tensor_storage_id(a) == clg_tensor_storage_id(b));
    assert_true(clg_tensor_storage_id(a) != clg_tensor_storage_id(other));
    clg_tensor *next = clg_assign(a, clg_add(a, clg_scalar(g, 2.0))), *twice = clg_scale(b, 2.0);
    run_once(&next, 1);
    run_once(&twice, 1);
    assert_int_equal(clg_tensor_read(twice, value, sizeof value), CLG_OK);
    for (int i = 0; i < 3; i++) assert_true(value[i] == 4.0f);
    clg_graph_destroy(&g); /* the storage lives on with h */
    assert_int_equal(clg_tensor_read(b, value, sizeof value), CLG_OK);
    assert_true(value[1] == 2.0f);
    clg_graph_destroy(&h);

    clg_context *elsewhere = clg_context_create(NULL);
    clg_graph   *k = clg_graph_create(elsewhere, NULL);
    clg_graph   *mine = new_graph();
    ARGUMENT(clg_share(k, clg_state(mine, CLG_F32, CLG_SHAPE(3))), "share", "contexts");
    clg_context_destroy(&elsewhere);
    clg_graph_destroy(&mine);
}

static void memory_returns_in_every_order_of_destruction(void **state)
{
    (void)state;
    const uint64_t before = clg_context_counters(ctx).bytes_allocated;
    for (int order = 0; order < 4; order++) {
        clg_model     *m = clg_model_create(ctx, NULL);
        clg_graph     *g = new_graph();
        clg_tensor *x = floats(g, CLG_SHAPE(4, 5)), *y = clg_nn_linear(m, "fc", x, &(clg_linear_desc){.features = 3});
        clg_tensor    *loss = clg_mean(clg_mul(y, y), NULL);
        clg_optimizer *opt = clg_adam_create(m, NULL);
        clg_plan      *plan = clg_plan_train(loss, opt), *again = clg_plan_create(y);
        assert_true(plan && again);
        clg_plan_run(plan);
        clg_plan_run(again);
        if (order & 1) clg_graph_destroy(&g);
        if (order & 2) clg_plan_destroy(&again);
        clg_plan_destroy(&plan);
        clg_plan_destroy(&again);
        if (order & 2) clg_optimizer_destroy(&opt);
        clg_graph_destroy(&g);
        clg_model_destroy(&m);
        clg_optimizer_destroy(&opt);
        assert_false(clg_context_failed(ctx));
        assert_int_equal(clg_context_counters(ctx).bytes_allocated, before);
    }
    clg_context *whole = clg_context_create(NULL); /* and everything with its context */
    clg_model   *m = clg_model_create(whole, NULL);
    clg_graph   *g = clg_graph_create(whole, NULL);
    clg_tensor  *y = clg_nn_linear(m, "fc", floats(g, CLG_SHAPE(4, 5)), &(clg_linear_desc){.features = 3});
    clg_plan    *plan = clg_plan_train(clg_mean(clg_mul(y, y), NULL), clg_adam_create(m, NULL));
    clg_plan_run(plan);
    assert_false(clg_context_failed(whole));
    clg_context_destroy(&whole);
    assert_null(whole);
}

int main(int argc, char **argv) /* an argument selects tests: "bad*" */
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(bad_operands_are_named, clear_error),
        cmocka_unit_test_setup(bad_windows_are_rejected, clear_error),
        cmocka_unit_test_setup(huge_shapes_do_not_overflow, clear_error),
        cmocka_unit_test_setup(null_passes_through, clear_error),
        cmocka_unit_test_setup(values_are_moved_whole_or_not_at_all, clear_error),
        cmocka_unit_test_setup(assignments_want_a_target_that_fits, clear_error),
        cmocka_unit_test_setup(bad_layers_name_themselves, clear_error),
        cmocka_unit_test_setup(gradients_want_one_number, clear_error),
        cmocka_unit_test_setup(gradients_add_up_and_vanish, clear_error),
        cmocka_unit_test_setup(only_wanted_gradients_are_built, clear_error),
        cmocka_unit_test_setup(second_derivatives_of_a_network, clear_error),
        cmocka_unit_test_setup(first_values_depend_on_seed_and_name_alone, clear_error),
        cmocka_unit_test_setup(initialisers_have_their_spread, clear_error),
        cmocka_unit_test_setup(gradients_lie_as_the_parameters_do, clear_error),
        cmocka_unit_test_setup(parameters_are_read_and_written, clear_error),
        cmocka_unit_test_setup(graphs_share_persistent_tensors, clear_error),
        cmocka_unit_test_setup(memory_returns_in_every_order_of_destruction, clear_error),
    };
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, open_context, close_context);
}
