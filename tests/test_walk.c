/* test_walk.c - plans that are walked: node by node, each readable, and the same results as when they are run. */
#include "fixture.h"

#include <math.h>
#include <string.h>

static void no_failure(void)
{
    if (clg_context_failed(ctx)) fail_msg("%s", clg_context_error(ctx));
}

static void values_are_measured(void **state)
{
    (void)state;
    clg_graph       *g = new_graph();
    clg_tensor      *x = clg_state(g, CLG_F32, CLG_SHAPE(2, 3)), *i = clg_state(g, CLG_I32, CLG_SHAPE(2));
    const float      value[6] = {1.0f, -2.0f, (float)INFINITY, 4.0f, (float)NAN, (float)NAN};
    const int32_t    whole[2] = {-3, 5};
    clg_tensor_stats s;
    clg_tensor_write(x, value, sizeof value);
    clg_tensor_write(i, whole, sizeof whole);
    assert_int_equal(clg_tensor_measure(x, &s), CLG_OK);
    assert_true(s.count == 6 && s.nans == 2 && s.infinities == 1 && s.first == 2 && isinf(s.value));
    assert_true(s.min <= -2.0 && s.min >= -2.0 && s.max >= 4.0 && s.max <= 4.0 && s.mean >= 1.0 && s.mean <= 1.0);
    assert_int_equal(clg_tensor_measure(clg_reshape(i, CLG_SHAPE(2, 1)), &s), CLG_OK);
    assert_true(s.count == 2 && s.first == -1 && s.min <= -3.0 && s.max >= 5.0 && s.mean >= 1.0 && s.mean <= 1.0);
    assert_int_equal(clg_tensor_measure(clg_scalar(g, 0.5), &s), CLG_OK);
    assert_true(s.count == 1 && s.first == -1 && s.mean >= 0.5 && s.mean <= 0.5);
    no_failure();
    assert_int_equal(clg_tensor_measure(NULL, &s), CLG_INVALID_ARGUMENT);
    assert_int_equal(clg_tensor_measure(clg_relu(x), &s), CLG_INVALID_ARGUMENT); /* no plan has computed it */
    assert_true(clg_context_failed(ctx));
    clg_context_clear_error(ctx);
    clg_graph_destroy(&g);
}

/* ---- the first value that is no number --------------------------------------------------------------------------- */

typedef struct found {
    clg_tensor      *at;
    clg_tensor_stats bad, input;
    int              visited, after;
} found;

static bool find_bad(void *user, clg_tensor *t)
{
    found           *f = user;
    clg_tensor_stats s;
    f->visited++;
    if (f->at) f->after++;
    if (clg_tensor_measure(t, &s) || s.first < 0 || f->at) return true;
    f->at = t;
    f->bad = s;
    clg_tensor_measure(clg_tensor_input(t, 0), &f->input);
    return false;
}

static void the_log_of_a_negative_number_is_found(void **state)
{
    (void)state;
    clg_graph  *g = clg_graph_create(ctx, &(clg_graph_desc){.observed = true});
    clg_tensor *x = clg_tensor_named(clg_input(g, CLG_F32, CLG_SHAPE(2, 3)), "x"), *kept = clg_state(g, CLG_F32, CLG_SCALAR);
    clg_tensor *y = clg_log(clg_add(clg_exp(x), clg_scalar(g, -1.0)));
    clg_tensor *sum = clg_assign(kept, clg_add(kept, clg_sum(clg_relu(clg_neg(y)), NULL)));
    clg_plan   *plan = clg_plan_create(sum);
    float       value[6] = {1, 2, 3, 4, 5, 6};
    found       f = {0};
    clg_tensor_write(x, value, sizeof value);
    assert_int_equal(clg_plan_walk(plan, find_bad, &f), CLG_OK);
    assert_true(!f.at && f.visited == 8);
    const double before = clg_tensor_scalar(kept);
    value[4] = -0.5f;
    clg_tensor_write(x, value, sizeof value);
    f = (found){0};
    assert_int_equal(clg_plan_walk(plan, find_bad, &f), CLG_OK);
    assert_true(f.at && f.after == 0 && f.visited == 3);
    assert_string_equal(clg_tensor_op(f.at), "log");
    assert_true(clg_shape_equal(clg_tensor_shape(f.at), CLG_SHAPE(2, 3)));
    assert_true(f.bad.first == 4 && isnan(f.bad.value) && f.bad.nans == 1 && f.bad.infinities == 0);
    assert_true(f.input.first == -1 && fabs(f.input.min - (exp(-0.5) - 1.0)) < 1e-6 && fabs(f.input.max - (exp(6.0) - 1.0)) < 1e-3);
    clg_tensor *add = clg_tensor_input(f.at, 0), *exp_x = clg_tensor_input(add, 0);
    assert_string_equal(clg_tensor_op(add), "add");
    assert_string_equal(clg_tensor_op(exp_x), "exp");
    assert_string_equal(clg_tensor_name(clg_tensor_input(exp_x, 0)), "x");
    assert_string_equal(clg_tensor_op(clg_tensor_input(exp_x, 0)), "leaf");
    assert_null(clg_tensor_input(exp_x, 1));
    assert_true(clg_tensor_scalar(kept) >= before && clg_tensor_scalar(kept) <= before); /* the walk ended before */
    no_failure();
    clg_plan_destroy(&plan);
    clg_graph_destroy(&g);
}

static void others_cannot_be_walked(void **state)
{
    (void)state;
    clg_graph *g = new_graph();
    clg_plan  *plan = clg_plan_create(clg_relu(clg_input(g, CLG_F32, CLG_SHAPE(2))));
    found      f = {0};
    no_failure();
    assert_int_equal(clg_plan_walk(NULL, find_bad, &f), CLG_INVALID_ARGUMENT);
    assert_int_equal(clg_plan_walk(plan, NULL, &f), CLG_INVALID_ARGUMENT);
    assert_non_null(strstr(clg_context_error(ctx), "no function"));
    clg_context_clear_error(ctx);
    assert_int_equal(clg_plan_walk(plan, find_bad, &f), CLG_INVALID_ARGUMENT);
    assert_non_null(strstr(clg_context_error(ctx), ".observed"));
    clg_context_clear_error(ctx);
    clg_plan_destroy(&plan);
    clg_graph_destroy(&g);
}

/* ---- a walk is a run --------------------------------------------------------------------------------------------- */

enum { BATCH = 4, VALUES = 4096 };

typedef struct seen {
    char ops[4096];
    int  bad;
} seen;

static bool note(void *user, clg_tensor *t)
{
    seen            *s = user;
    clg_tensor_stats stats;
    if (clg_tensor_measure(t, &stats) || stats.first >= 0) s->bad++;
    if (!strstr(s->ops, clg_tensor_op(t))) strcat(strcat(s->ops, clg_tensor_op(t)), " ");
    return true;
}

/* Three steps of a network of everything, walked or run; its parameters and states. */
static size_t train(bool walked, float value[VALUES], seen *s)
{
    clg_model  *m = clg_model_create(ctx, &(clg_model_desc){.seed = 7});
    clg_graph  *g = clg_graph_create(ctx, &(clg_graph_desc){.training = true, .observed = walked});
    clg_tensor *x = clg_input(g, CLG_F32, CLG_SHAPE(BATCH, 1, 6, 6)), *y = clg_input(g, CLG_I32, CLG_SHAPE(BATCH));
    clg_tensor *h = clg_nn_conv2d(m, "conv", x, &(clg_conv2d_desc){.channels = 6, .kernel = 3});
    h = clg_max_pool2d(clg_relu(h), &(clg_pool2d_desc){.kernel = 2});
    h = clg_nn_batch_norm2d(m, "bn", h, NULL);
    h = clg_attention(clg_reshape(h, CLG_SHAPE(BATCH, 4, 6)), &(clg_attention_desc){.heads = 1});
    h = clg_nn_dropout(m, clg_nn_layer_norm(m, "ln", clg_flatten(h, 1), NULL), 0.25);
    clg_tensor    *loss = clg_cross_entropy(clg_nn_linear(m, "fc", h, &(clg_linear_desc){.features = 3}), y);
    clg_optimizer *opt = clg_sgd_create(m, &(clg_sgd_desc){.lr = 0.01f, .momentum = 0.9f, .gradient = {.clip_norm = 1.0}});
    clg_plan      *plan = clg_plan_train(loss, opt);
    float          pixels[BATCH * 36];
    int32_t        labels[BATCH] = {0, 1, 2, 1};
    size_t         at = 0;
    for (uint64_t step = 0; step < 3; step++) {
        for (uint64_t i = 0; i < BATCH * 36; i++) pixels[i] = clg_random_uniform(step, i);
        clg_tensor_write(x, pixels, sizeof pixels);
        clg_tensor_write(y, labels, sizeof labels);
        if (walked) clg_plan_walk(plan, note, s);
        else clg_plan_run(plan);
    }
    for (size_t i = 0; i < clg_model_count(m); i++) {
        const size_t count = (size_t)clg_shape_count(clg_model_shape(m, i));
        assert_true(at + count <= VALUES);
        clg_model_read(m, i, value + at, count);
        at += count;
    }
    no_failure();
    clg_plan_destroy(&plan);
    clg_optimizer_destroy(&opt);
    clg_graph_destroy(&g);
    clg_model_destroy(&m);
    return at;
}

static void a_walk_is_a_run(void **state)
{
    (void)state;
    static float run[VALUES], walk[VALUES];
    seen         s = {0};
    const size_t count = train(false, run, NULL);
    assert_int_equal(train(true, walk, &s), count);
    assert_int_equal(s.bad, 0);
    static const char *const ops[] = {"conv2d ", "max_pool2d ", "batch_norm", "attention ", "layer_norm ", "dropout ", "cross_entropy ", "assign "};
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++)
        if (!strstr(s.ops, ops[i])) fail_msg("no %sin %s", ops[i], s.ops);
    assert_null(strstr(s.ops, "conv2d_pool"));
    /* Gradients of norm 1 at most, whose sums round differently when fused: by less than 100 roundings, 1e-5 of them. Three
     * steps move a parameter by lr (1 + 1.9 + 2.71) = 0.06 of that. */
    for (size_t i = 0; i < count; i++)
        if (!(fabs((double)run[i] - (double)walk[i]) <= 1e-6 * (1.0 + fabs((double)run[i]))))
            fail_msg("value %zu of %zu is %g in a run and %g in a walk", i, count, (double)run[i], (double)walk[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_measured), cmocka_unit_test(the_log_of_a_negative_number_is_found),
        cmocka_unit_test(others_cannot_be_walked), cmocka_unit_test(a_walk_is_a_run)};
    return cmocka_run_group_tests(tests, open_context, close_context);
}
