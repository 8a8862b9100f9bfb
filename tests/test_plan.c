/* test_plan.c - what plans do: fusion, assignments, outputs, what a run moves, and limits. */
#include "plan/plan.h"
#include <clgrad/clgrad.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "plan_fixture.h"

/* ---- fusion ------------------------------------------------------------------------------------------------------ */

static void pointwise_chains_are_one_launch(void **state)
{
    (void)state;
    clg_graph  *g = new_graph();
    clg_tensor *x = clg_input(g, CLG_F32, CLG_SHAPE(5, 7)), *row = clg_input(g, CLG_F32, CLG_SHAPE(7));
    clg_tensor *column = clg_input(g, CLG_F32, CLG_SHAPE(5, 1));
    clg_tensor *y =
        clg_tanh(clg_div(clg_mul(clg_relu(clg_add(x, row)), column), clg_add(clg_exp(x), clg_scalar(g, 1.0))));
    assert_int_equal(LAUNCHES(y), 1);
    assert_int_equal(LAUNCHES(y, clg_neg(y)), 1); /* two results of one kernel */
    setenv("CLGRAD_REWRITE", "0", 1);
    assert_int_equal(LAUNCHES(y), 7);
    clg_graph_destroy(&g);
}

/* Numbers, nodes and results of one kernel are limited: what is more becomes another kernel, never an error. */
static void long_chains_are_parted(void **state)
{
    (void)state;
    enum { MANY = 300 };
    clg_graph  *g = new_graph();
    clg_tensor *x = given(g, CLG_SHAPE(2), (const float[]){1, 2}), *scaled = x, *summed = x, *y = clg_neg(x), *fan[MANY];
    for (int i = 0; i < MANY; i++) {
        scaled = clg_scale(scaled, i % 2 ? 2.0 : 0.5);
        summed = clg_add(summed, x);
        fan[i] = clg_sum(clg_mul(y, x), NULL);
    }
    assert_true(LAUNCHES(scaled) > 1 && LAUNCHES(summed) > 1);
    clg_plan *plan = PLAN(scaled, summed), *wide = planned(fan, MANY);
    clg_plan_run(plan);
    clg_plan_run(wide);
    EXPECT(scaled, 1, 2);
    EXPECT(summed, MANY + 1, 2 * (MANY + 1));
    for (int i = 0; i < MANY; i++) EXPECT(fan[i], -5);
    clg_plan_destroy(&plan);
    clg_plan_destroy(&wide);
    clg_graph_destroy(&g);
}

static void activations_fold_into_products(void **state)
{
    (void)state;
    clg_graph  *g = new_graph();
    clg_tensor *x = clg_input(g, CLG_F32, CLG_SHAPE(5, 7)), *w = clg_input(g, CLG_F32, CLG_SHAPE(7, 3));
    clg_tensor *b = clg_input(g, CLG_F32, CLG_SHAPE(3)), *image = clg_input(g, CLG_F32, CLG_SHAPE(2, 1, 6, 6));
    clg_tensor *filter = clg_input(g, CLG_F32, CLG_SHAPE(4, 1, 3, 3));
    clg_tensor *y = clg_matmul(x, w, &(clg_matmul_desc){.bias = b}), *z = clg_relu(y);
    clg_tensor *convolved = clg_conv2d(image, filter, NULL, NULL);
    assert_int_equal(LAUNCHES(y), 1);
    assert_int_equal(LAUNCHES(z), 1);
    assert_int_equal(LAUNCHES(clg_relu(convolved)), LAUNCHES(convolved));
    assert_int_equal(LAUNCHES(y, z), 2); /* the product itself is wanted too */
    assert_int_equal(LAUNCHES(clg_add(z, clg_neg(y))), 2);
    clg_tensor *other = clg_input(g, CLG_F32, CLG_SHAPE(5, 3)), *row = clg_input(g, CLG_F32, CLG_SHAPE(1, 3));
    clg_tensor *long_x = clg_input(g, CLG_F32, CLG_SHAPE(2, 5, 7)), *long_y = clg_matmul(long_x, w, NULL);
    assert_int_equal(LAUNCHES(clg_sub(other, clg_matmul(x, w, NULL))), 1); /* a second operand, on either side */
    assert_int_equal(LAUNCHES(clg_sub(clg_matmul(x, w, NULL), other)), 1);
    assert_int_equal(LAUNCHES(clg_add(clg_matmul(x, w, NULL), row)), 2); /* not one that is broadcast */
    assert_int_equal(LAUNCHES(clg_add(clg_matmul(x, w, NULL), clg_scalar(g, 1.0))), 2);
    assert_int_equal(LAUNCHES(clg_relu(long_y)), 1); /* reshaped between */
    assert_int_equal(LAUNCHES(clg_relu(long_y), long_y), 2);
    setenv("CLGRAD_REWRITE", "0", 1);
    assert_int_equal(LAUNCHES(z), 2);
    clg_graph_destroy(&g);
}

static double bytes(clg_tensor *out)
{
    clg_plan    *plan = planned(&out, 1);
    const double n = clg_plan_statistics(plan).bytes;
    clg_plan_destroy(&plan);
    return n;
}

/* At evaluation batch norm is a scale and a shift of channels, which one small kernel computes. */
static void normalisation_and_residuals_fold_into_convolutions(void **state)
{
    (void)state;
    for (int kernel = 1; kernel <= 3; kernel += 2) {
        clg_graph  *g = new_graph();
        clg_tensor *x = clg_input(g, CLG_F32, CLG_SHAPE(2, 9, 6, 7)), *w = clg_input(g, CLG_F32, CLG_SHAPE(11, 9, kernel, kernel));
        clg_tensor *each[4], *column = clg_input(g, CLG_F32, CLG_SHAPE(7)), *channel[3];
        for (int i = 0; i < 4; i++) each[i] = clg_input(g, CLG_F32, CLG_SHAPE(11));
        for (int i = 0; i < 3; i++) channel[i] = clg_reshape(each[i], CLG_SHAPE(11, 1, 1));
        clg_tensor *y = clg_conv2d(x, w, kernel == 3 ? each[0] : NULL, &(clg_conv2d_desc){.pad = kernel / 2, .stride = 1});
        clg_tensor *residual = clg_input(g, CLG_F32, clg_tensor_shape(y));
        const clg_batch_norm_desc desc = {.running_mean = each[2], .running_var = each[3]};
        clg_tensor  *norm = clg_batch_norm(y, each[0], each[1], &desc), *z = clg_relu(clg_add(norm, residual));
        const size_t alone = LAUNCHES(clg_mul(y, channel[0])); /* a window of one pixel may be a matrix product without */
        if (kernel == 3) assert_int_equal(LAUNCHES(y), alone);
        assert_int_equal(LAUNCHES(norm), alone + 1);
        assert_int_equal(LAUNCHES(clg_relu(norm)), alone + 1);
        assert_int_equal(LAUNCHES(z), alone + 1);
        /* read: x, the weight, perhaps a bias, four times and two numbers a channel, the residual; written: two numbers, z */
        assert_true(bytes(z) <= 4.0 * (double)(x->count + w->count + 2 * z->count + 9 * 11));
        assert_int_equal(LAUNCHES(clg_relu(clg_mul(channel[0], y))), alone);
        assert_int_equal(LAUNCHES(z, norm), alone + 2); /* what is wanted between ends the chain */
        assert_int_equal(LAUNCHES(clg_mul(y, column)), LAUNCHES(y) + 1);
        clg_tensor *three = clg_add(clg_sub(clg_mul(y, channel[0]), channel[1]), channel[2]);
        assert_int_equal(LAUNCHES(three), alone + 1);
        assert_int_equal(LAUNCHES(clg_tanh(clg_neg(z))), alone + 2); /* a chain is not endless */
        setenv("CLGRAD_REWRITE", "0", 1);
        assert_int_equal(LAUNCHES(z), LAUNCHES(y) + 9);
        unsetenv("CLGRAD_REWRITE");
        clg_graph_destroy(&g);
    }
}

static void second_operands_keep_their_side(void **state)
{
    (void)state;
    clg_graph  *g = new_graph();
    clg_tensor *a = given(g, CLG_SHAPE(2, 2), (const float[]){1, 2, 3, 4}), *b = given(g, CLG_SHAPE(2, 2), (const float[]){1, 0, 2, 1});
    clg_tensor *c = given(g, CLG_SHAPE(2, 2), (const float[]){10, 20, 30, 40}); /* a b = 5 2 11 4, b a = 1 2 5 8 */
    clg_tensor *right = clg_sub(c, clg_matmul(a, b, NULL)), *left = clg_sub(clg_matmul(a, b, NULL), c);
    clg_tensor *both = clg_sub(clg_matmul(a, b, NULL), clg_matmul(b, a, NULL));
    clg_plan   *plan = PLAN(right, left, both);
    assert_int_equal(clg_plan_statistics(plan).launches, 4);
    clg_plan_run(plan);
    EXPECT(right, 5, 18, 19, 36);
    EXPECT(left, -5, -18, -19, -36);
    EXPECT(both, 4, 0, 6, -4);
    clg_plan_destroy(&plan);
    clg_graph_destroy(&g);
}

static void a_diamond_through_a_reduction_stays_apart(void **state)
{
    (void)state;
    clg_graph  *g = new_graph();
    clg_tensor *x = given(g, CLG_SHAPE(4), (const float[]){1, 2, 3, 2}), *twice = clg_add(x, x);
    clg_tensor *y = clg_div(twice, clg_sum(twice, NULL));
    clg_plan   *plan = PLAN(y);
    assert_int_equal(clg_plan_statistics(plan).launches, 3);
    clg_plan_run(plan);
    EXPECT(y, 0.125f, 0.25f, 0.375f, 0.25f);
    clg_plan_destroy(&plan);
    clg_graph_destroy(&g);
}

static void reductions_read_through_pointwise_chains(void **state)
{
    (void)state;
    clg_graph  *g = new_graph();
    clg_tensor *a = clg_input(g, CLG_F32, CLG_SHAPE(37, 19)), *b = clg_input(g, CLG_F32, CLG_SHAPE(37, 19));
    clg_tensor *row = clg_input(g, CLG_F32, CLG_SHAPE(19)), *one = clg_input(g, CLG_F32, CLG_SCALAR), *loss = clg_mse(a, b), *da;
    const clg_reduce_desc rows = {.axes = {1}, .count = 1}, columns = {.axes = {0}, .count = 1};
    assert_int_equal(LAUNCHES(loss), 1);
    assert_true(bytes(loss) <= 4.0 * (2 * 37 * 19 + 1));
    assert_int_equal(LAUNCHES(clg_max(clg_abs(clg_sub(a, one)), &rows)), 1);
    assert_int_equal(LAUNCHES(clg_min(clg_scale(clg_abs(a), 2.0), &columns)), 1);
    assert_int_equal(LAUNCHES(clg_argmax(clg_add(a, b), 0, false)), 1);
    clg_tensor *sum = clg_add(a, b), *square = clg_mul(sum, sum);
    assert_int_equal(LAUNCHES(clg_sum(clg_exp(square), NULL), square), 2); /* reads what is there anyway, */
    assert_true(bytes(clg_sum(clg_exp(square), NULL)) <= 4.0 * (2 * 37 * 19 + 1));
    assert_int_equal(LAUNCHES(clg_sum(square, NULL), clg_max(square, NULL)), 3); /* computes nothing twice, */
    assert_int_equal(LAUNCHES(clg_sum(clg_sub(a, row), NULL)), 2); /* and has one index for all */
    assert_int_equal(clg_gradients(loss, &a, 1, &da), CLG_OK);
    assert_int_equal(LAUNCHES(loss, da), 3); /* the gradient with the difference, their scalar */
    setenv("CLGRAD_REWRITE", "0", 1);
    assert_int_equal(LAUNCHES(loss), 3);
    unsetenv("CLGRAD_REWRITE");

    clg_tensor *s = clg_state(g, CLG_F32, CLG_SHAPE(3)), *before = clg_sum(clg_mul(s, s), NULL);
    clg_tensor *next = clg_assign(s, clg_add(s, clg_full(g, CLG_SHAPE(3), 1.0))), *after = clg_sum(clg_mul(s, s), NULL);
    clg_plan   *plan = PLAN(before, next, after);
    assert_int_equal(clg_plan_statistics(plan).launches, 3);
    assert_int_equal(clg_tensor_write(s, (const float[]){1, 2, 3}, 12), CLG_OK);
    clg_plan_run(plan);
    EXPECT(before, 14);
    EXPECT(after, 29);
    clg_plan_destroy(&plan);
    clg_graph_destroy(&g);
}

static clg_tensor *small_network(clg_model *m, clg_tensor *x)
{
    x = clg_relu(clg_nn_conv2d(m, "conv", x, &(clg_conv2d_desc){.channels = 3, .kernel = 3}));
    x = clg_flatten(clg_max_pool2d(x, &(clg_pool2d_desc){.kernel = 2}), 1);
    x = clg_relu(clg_nn_linear(m, "fc1", x, &(clg_linear_desc){.features = 9, .no_bias = true}));
    return clg_nn_linear(m, "fc2", x, &(clg_linear_desc){.features = 5});
}

typedef struct training {
    clg_model     *m;
    clg_graph     *g;
    clg_tensor    *x, *labels, *loss;
    clg_optimizer *opt;
    clg_plan      *step;
} training;

static training start_training(clg_context *in)
{
    training t = {.m = clg_model_create(in, &(clg_model_desc){.seed = 5}),
                  .g = clg_graph_create(in, &(clg_graph_desc){.training = true})};
    t.x = clg_input(t.g, CLG_F32, CLG_SHAPE(8, 1, 8, 8));
    t.labels = clg_input(t.g, CLG_I32, CLG_SHAPE(8));
    t.loss = clg_cross_entropy(small_network(t.m, t.x), t.labels);
    t.opt = clg_adam_create(t.m, NULL);
    return t;
}

static void end_training(training *t)
{
    clg_plan_destroy(&t->step);
    clg_optimizer_destroy(&t->opt);
    clg_graph_destroy(&t->g);
    clg_model_destroy(&t->m);
}

static void feed(const training *t)
{
    float   x[8 * 64];
    int32_t labels[8];
    for (size_t i = 0; i < CLG__COUNT(x); i++) x[i] = clg_random_uniform(1, i);
    for (size_t i = 0; i < 8; i++) labels[i] = (int32_t)(i % 5);
    clg_tensor_write(t->x, x, sizeof x);
    clg_tensor_write(t->labels, labels, sizeof labels);
}

static void an_optimizer_step_is_one_launch(void **state)
{
    (void)state;
    training    t = start_training(ctx);
    clg_tensor *gradients = clg_model_gradients(t.m, t.loss);
    assert_int_equal(clg_model_count(t.m), 5);
    const size_t without = LAUNCHES(t.loss, gradients);
    t.step = clg_plan_train(t.loss, t.opt);
    assert_non_null(t.step);
    assert_int_equal(clg_plan_statistics(t.step).launches, without + 1);
    const size_t fused = clg_plan_statistics(t.step).launches;
    clg_plan_destroy(&t.step);
    setenv("CLGRAD_REWRITE", "0", 1);
    t.step = clg_plan_train(t.loss, t.opt);
    assert_non_null(t.step);
    assert_true(clg_plan_statistics(t.step).launches > fused + 10);
    end_training(&t);
}

/* ---- assignments ------------------------------------------------------------------------------------------------- */

static void assignments_take_effect_in_order(void **state)
{
    (void)state;
    clg_graph  *g = new_graph();
    clg_tensor *a = clg_state(g, CLG_F32, CLG_SHAPE(3)), *one = clg_full(g, CLG_SHAPE(3), 1.0);
    clg_tensor *before = clg_scale(a, 10.0), *count = clg_assign(a, clg_add(a, one)), *after = clg_scale(a, 10.0);
    clg_tensor *again = clg_assign(a, clg_mul(a, a)), *last = clg_sum(a, NULL);
    for (int rewrite = 0; rewrite < 2; rewrite++) {
        setenv("CLGRAD_REWRITE", rewrite ? "1" : "0", 1);
        assert_int_equal(clg_tensor_write(a, (const float[]){1, 2, 3}, 12), CLG_OK);
        clg_plan *plan = PLAN(before, count, after, again, last);
        clg_plan_run(plan);
        EXPECT(before, 10, 20, 30);
        EXPECT(after, 20, 30, 40);
        EXPECT(a, 4, 9, 16);
        EXPECT(last, 29);
        clg_plan_run(plan);
        EXPECT(before, 40, 90, 160);
        EXPECT(a, 25, 100, 289);
        clg_plan_destroy(&plan);
    }
    clg_graph_destroy(&g);
}

static void states_can_be_exchanged(void **state)
{
    (void)state;
    clg_graph  *g = new_graph();
    clg_tensor *a = given(g, CLG_SHAPE(2, 2), (const float[]){1, 2, 3, 4}),
               *b = given(g, CLG_SHAPE(2, 2), (const float[]){5, 6, 7, 8});
    clg_tensor *old_a = clg_scale(a, 1.0), *old_b = clg_scale(b, 1.0); /* a, b = b, a */
    clg_plan   *plan = PLAN(clg_assign(a, old_b), clg_assign(b, old_a));
    clg_plan_run(plan);
    EXPECT(a, 5, 6, 7, 8);
    EXPECT(b, 1, 2, 3, 4);
    clg_plan_run(plan);
    EXPECT(a, 1, 2, 3, 4);
    clg_plan_destroy(&plan);
    plan = PLAN(clg_assign(a, clg_transpose(a, 0, 1))); /* reads other elements than it writes */
    clg_plan_run(plan);
    EXPECT(a, 1, 3, 2, 4);
    clg_plan_destroy(&plan);
    plan = PLAN(clg_assign(a, clg_add(a, clg_transpose(a, 0, 1))), clg_assign(b, clg_matmul(b, b, NULL)));
    clg_plan_run(plan);
    EXPECT(a, 2, 5, 5, 8);
    EXPECT(b, 67, 78, 91, 106);
    clg_plan_destroy(&plan);
    clg_graph_destroy(&g);
}

static void anything_can_be_assigned(void **state)
{
    (void)state;
    clg_graph  *g = new_graph();
    clg_tensor *a = clg_state(g, CLG_F32, CLG_SHAPE(2, 2)), *b = clg_state(g, CLG_F32, CLG_SHAPE(4));
    clg_tensor *x = given(g, CLG_SHAPE(4), (const float[]){1, 2, 3, 4}), *c = clg_state(g, CLG_F32, CLG_SCALAR);
    clg_tensor *n = clg_state(g, CLG_I32, CLG_SHAPE(3)), *m = clg_state(g, CLG_I32, CLG_SHAPE(3)),
               *none = clg_state(g, CLG_F32, CLG_SHAPE(0));
    assert_int_equal(clg_tensor_write(n, (const int32_t[]){16777217, -5, 7}, 12), CLG_OK); /* no float32 */
    clg_plan *plan = PLAN(clg_assign(a, clg_reshape(x, CLG_SHAPE(2, 2))), clg_assign(b, clg_full(g, CLG_SHAPE(4), 2.5)),
                          clg_assign(c, clg_sum(x, NULL)), clg_assign(m, n), clg_assign(none, none));
    clg_plan_run(plan);
    int32_t whole[3];
    EXPECT(a, 1, 2, 3, 4);
    EXPECT(b, 2.5f, 2.5f, 2.5f, 2.5f);
    EXPECT(c, 10);
    assert_int_equal(clg_tensor_read(m, whole, sizeof whole), CLG_OK);
    assert_true(whole[0] == 16777217 && whole[1] == -5 && whole[2] == 7);
    clg_plan_destroy(&plan);
    plan = PLAN(clg_assign(b, clg_reshape(a, CLG_SHAPE(4))), clg_assign(a, clg_reshape(x, CLG_SHAPE(2, 2))));
    assert_int_equal(clg_tensor_write(x, (const float[]){9, 8, 7, 6}, 16), CLG_OK);
    clg_plan_run(plan);
    EXPECT(b, 1, 2, 3, 4); /* read before it was overwritten */
    EXPECT(a, 9, 8, 7, 6);
    clg_plan_destroy(&plan);
    clg_graph_destroy(&g);
}

/* ---- outputs ----------------------------------------------------------------------------------------------------- */

static void anything_can_be_an_output(void **state)
{
    (void)state;
    clg_graph  *g = new_graph();
    clg_tensor *x = given(g, CLG_SHAPE(2, 2), (const float[]){1, 2, 3, 4}), *view = clg_reshape(x, CLG_SHAPE(4));
    clg_tensor *y = clg_neg(x), *shown = clg_flatten(y, 0), *z = clg_exp(clg_sub(y, y)),
               *constant = clg_full(g, CLG_SHAPE(3), 0.5);
    clg_tensor *none = clg_neg(clg_input(g, CLG_F32, CLG_SHAPE(0, 3))), *total = clg_sum(none, NULL);
    clg_plan   *plan = PLAN(x, view, shown, z, y, constant, none, total, z);
    clg_plan_run(plan);
    EXPECT(x, 1, 2, 3, 4);
    EXPECT(view, 1, 2, 3, 4);
    EXPECT(y, -1, -2, -3, -4);
    EXPECT(shown, -1, -2, -3, -4);
    EXPECT(z, 1, 1, 1, 1);
    EXPECT(constant, 0.5f, 0.5f, 0.5f);
    EXPECT(total, 0);
    assert_int_equal(clg_tensor_read(none, NULL, 0), CLG_OK);
    clg_plan *later = PLAN(clg_scale(z, 3.0)), *third = PLAN(clg_neg(shown)); /* outputs of one plan inside another */
    clg_plan_run(later);
    clg_plan_run(third);
    assert_int_equal(clg_context_finish(ctx), CLG_OK);
    clg_plan_destroy(&third);
    clg_plan_destroy(&later);
    clg_plan_destroy(&plan);
    clg_graph_destroy(&g);
}

static void dumps_name_every_launch(void **state)
{
    (void)state;
    training t = start_training(ctx);
    char    *text = NULL;
    size_t   size = 0;
    FILE    *to = open_memstream(&text, &size);
    t.step = clg_plan_train(t.loss, t.opt);
    clg_plan_dump(t.step, to);
    clg_plan_dump(NULL, to);
    fclose(to);
    static const char *const words[] = {"conv2d",        "relu",   "gemm",           "conv2d_pool",
                                        "cross_entropy", "assign", "the parameters", "bytes planned"};
    for (size_t i = 0; i < CLG__COUNT(words); i++)
        if (!strstr(text, words[i])) fail_msg("the dump does not mention %s:\n%s", words[i], text);
    free(text);
    end_training(&t);
}

/* ---- runs -------------------------------------------------------------------------------------------------------- */

static void a_steady_step_moves_nothing_but_its_numbers(void **state)
{
    (void)state;
    enum { STEPS = 10 };
    training t = start_training(ctx);
    t.step = clg_plan_train(t.loss, t.opt);
    assert_non_null(t.step);
    feed(&t);
    clg_plan_run(t.step);
    const double first = clg_tensor_scalar(t.loss);
    const clg_counters before = clg_context_counters(ctx);
    for (int i = 0; i < STEPS; i++) clg_plan_run(t.step);
    assert_int_equal(clg_context_finish(ctx), CLG_OK);
    const clg_counters after = clg_context_counters(ctx);
    assert_int_equal(after.allocations, before.allocations);
    assert_int_equal(after.bytes_allocated, before.bytes_allocated);
    assert_int_equal(after.program_builds, before.program_builds);
    assert_int_equal(after.program_loads, before.program_loads);
    assert_int_equal(after.bytes_from_device, before.bytes_from_device);
    assert_in_range(after.bytes_to_device - before.bytes_to_device, 1, STEPS * 16); /* Adam's numbers */
    assert_int_equal(after.launches - before.launches, STEPS * clg_plan_statistics(t.step).launches);
    assert_true(clg_tensor_scalar(t.loss) < first);
    end_training(&t);
}

static void memory_of_a_plan_is_as_stated(void **state)
{
    (void)state;
    training       t = start_training(ctx);
    const uint64_t before = clg_context_counters(ctx).bytes_allocated;
    t.step = clg_plan_train(t.loss, t.opt);
    const clg_plan_stats stats = clg_plan_statistics(t.step);
    assert_true(stats.planned_bytes < stats.unplanned_bytes);
    assert_true(stats.persistent_bytes > 0 && stats.nodes > stats.launches);
    const uint64_t held = clg_context_counters(ctx).bytes_allocated - before;
    assert_true(held >= stats.planned_bytes + stats.persistent_bytes &&
                held <= stats.planned_bytes + stats.persistent_bytes + 4096);
    end_training(&t);
}

static void count_runs(void *user, uint64_t run)
{
    uint64_t *next = user;
    assert_int_equal(run, *next);
    ++*next;
}

static void the_hook_is_called_before_each_run(void **state)
{
    (void)state;
    clg_graph *g = new_graph();
    uint64_t   next = 0;
    clg_plan  *plan = PLAN(clg_neg(clg_input(g, CLG_F32, CLG_SHAPE(2))));
    clg_plan_on_run(plan, count_runs, &next);
    for (int i = 0; i < 3; i++) clg_plan_run(plan);
    assert_int_equal(next, 3);
    clg_plan_destroy(&plan);
    clg_graph_destroy(&g);
}

static void too_much_memory_is_refused(void **state)
{
    (void)state;
    const clg_device_info *device = clg_context_device(ctx);
    const int64_t          whole = (int64_t)(device->memory / 4), most = (int64_t)(device->max_allocation / 4);
    const uint64_t         before = clg_context_counters(ctx).bytes_allocated;
    clg_graph             *g = new_graph();
    clg_tensor *x = clg_input(g, CLG_F32, CLG_SHAPE(most / 16 + 1, 16)),
               *wide = clg_input(g, CLG_F32, CLG_SHAPE(whole / 2, 1));
    clg_tensor            *row = clg_input(g, CLG_F32, CLG_SHAPE(1, 4));
    clg_tensor *result = clg_add(wide, row), *between = clg_sum(clg_transpose(clg_add(wide, row), 0, 1), NULL);
    clg_tensor *const      refused[] = {result, between, clg_sum(clg_transpose(x, 0, 1), NULL)};
    for (size_t i = 0; i < CLG__COUNT(refused); i++) {
        assert_null(clg_plan_create(refused[i]));
        assert_int_equal(clg_context_status(ctx), CLG_OUT_OF_MEMORY);
        assert_non_null(strstr(clg_context_error(ctx), "MiB"));
        assert_non_null(strstr(clg_context_error(ctx), device->name));
        clg_context_clear_error(ctx);
        assert_int_equal(clg_context_counters(ctx).bytes_allocated, before);
    }
    clg_tensor *small = clg_neg(row);
    clg_plan   *plan = PLAN(small);
    clg_plan_run(plan);
    EXPECT(small, 0, 0, 0, 0);
    clg_plan_destroy(&plan);
    clg_graph_destroy(&g);
}

/* One by one they would be as many as its units, and take as much longer. */
static void kernels_of_a_plan_are_built_as_two_programs(void **state)
{
    (void)state;
    clg_context *own = clg_context_create(NULL);
    training     t = start_training(own);
    t.step = clg_plan_train(t.loss, t.opt);
    if (t.step) feed(&t);
    clg_plan_run(t.step);
    assert_false(clg_context_failed(own));
    const clg_counters counters = clg_context_counters(own);
    assert_int_equal(counters.program_builds + counters.program_loads, 2);
    clg_context_destroy(&own);
}

/* ---- several uses of one model ------------------------------------------------------------------------------------ */

static void fill_ones(float *value, clg_shape shape, uint64_t seed, double scale)
{
    (void)seed, (void)scale;
    for (int64_t i = 0; i < clg_shape_count(shape); i++) value[i] = 1.0f;
}

static clg_tensor *one(clg_model *m, clg_graph *g, const char *name)
{
    return clg_model_parameter(m, g, name, CLG_SHAPE(1), fill_ones, 0.0);
}

static void losses_that_share_a_model_alternate(void **state)
{
    (void)state;
    clg_model     *m = clg_model_create(ctx, NULL);
    clg_graph     *g = new_graph(), *h = new_graph();
    clg_optimizer *opt = clg_sgd_create(m, &(clg_sgd_desc){.lr = 0.125f});
    clg_tensor    *both = clg_sum(clg_add(one(m, g, "a"), one(m, g, "b")), NULL), *first = clg_sum(one(m, h, "a"), NULL);
    clg_plan      *p = clg_plan_train(both, opt), *q = clg_plan_train(first, opt);
    assert_true(p && q);
    clg_plan_run(p);
    clg_plan_run(q);
    EXPECT(one(m, g, "a"), 0.75f);
    EXPECT(one(m, g, "b"), 0.875f); /* the second loss does not reach it */
}

static void gradients_that_would_mix_are_refused(void **state)
{
    (void)state;
    clg_model  *m = clg_model_create(ctx, NULL);
    clg_graph  *g = new_graph();
    clg_tensor *a = one(m, g, "a"), *l1 = clg_sum(a, NULL), *l2 = clg_sum(clg_mul(a, a), NULL);
    clg_tensor *both[] = {clg_model_gradients(m, l1), clg_model_gradients(m, l2)};
    assert_null(clg_plan_create_all(both, 2));
    assert_non_null(strstr(clg_context_error(ctx), "one gradient"));
    clg_context_clear_error(ctx);
    clg_tensor *decay = clg_add(l1, clg_sum(clg_mul(clg_model_arena(m, g), clg_model_arena(m, g)), NULL));
    assert_null(clg_model_gradients(m, decay));
    assert_non_null(strstr(clg_context_error(ctx), "clg_model_arena"));
}

static void count_run(void *user, uint64_t run)
{
    *(uint64_t *)user += run + 1;
}

static void hooks_add_to_the_optimizer(void **state)
{
    (void)state;
    clg_model     *m = clg_model_create(ctx, NULL);
    clg_graph     *g = new_graph();
    clg_optimizer *opt = clg_sgd_create(m, &(clg_sgd_desc){.lr = 0.5f});
    clg_plan      *p = clg_plan_train(clg_sum(one(m, g, "a"), NULL), opt);
    uint64_t       runs = 0;
    clg_plan_on_run(p, count_run, &runs);
    clg_plan_run(p);
    clg_plan_run(p);
    assert_int_equal(runs, 1 + 2);
    EXPECT(one(m, g, "a"), 0.0f);
}

static void the_last_entry_of_a_quarantine_counts(void **state) /* with or without the end of its line */
{
    (void)state;
    static const char *const entries[] = {"cpu refuse softmax", "cpu refuse softmax\n", "cpu refuse tanh\ncpu refuse softmax"};
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
        clg_context *other = clg_context_create(&(clg_context_desc){.profile = "cpu", .quarantine = entries[i]});
        clg_tensor  *x = clg_input(clg_graph_create(other, NULL), CLG_F32, CLG_SHAPE(2, 3));
        clg_plan    *plan = clg_plan_create(clg_log_softmax(x)); /* another operator */
        assert_non_null(plan);
        assert_null(clg_plan_create(clg_softmax(x)));
        assert_int_equal(clg_context_status(other), CLG_UNSUPPORTED);
        clg_context_destroy(&other);
    }
}

static void stale_reshapes_are_refused(void **state)
{
    (void)state;
    clg_graph  *g = new_graph();
    clg_tensor *s = clg_state(g, CLG_F32, CLG_SHAPE(2, 3)), *flat = clg_flatten(s, 0);
    clg_tensor *early = clg_sum(flat, NULL), *set = clg_assign(s, clg_full(g, CLG_SHAPE(2, 3), 2.0));
    clg_tensor *late[] = {set, clg_exp(flat)}, *fine[] = {early, set, clg_exp(clg_reshape(s, CLG_SHAPE(3, 2)))};
    assert_null(clg_plan_create_all(late, 2));
    assert_non_null(strstr(clg_context_error(ctx), "reshape after it"));
    clg_context_clear_error(ctx);
    clg_plan *p = planned(fine, 3);
    clg_plan_run(p);
    clg_plan_run(p);
    EXPECT(early, 12.0f); /* what the first run assigned */
}

/* Results beyond the profile's limit go past the caches: whatever their alignment, but not where an input is read. */
static void large_results_stream(void **state)
{
    (void)state;
    enum { MOST = 40 * 64 };
    static const clg_shape shapes[] = {{.rank = 2, .dim = {40, 64}}, {.rank = 2, .dim = {31, 77}}, {.rank = 2, .dim = {3, 5}}};
    float                  value[MOST], got[MOST];
    for (int i = 0; i < MOST; i++) value[i] = 0.25f * (float)(i % 37) - 4.0f;
    for (size_t k = 0; k < CLG__COUNT(shapes); k++) {
        clg_context  *own = clg_context_create(&(clg_context_desc){.profile = "cpu,stream=1"});
        clg_graph    *g = clg_graph_create(own, NULL);
        const int64_t rows = shapes[k].dim[0], n = shapes[k].dim[1];
        clg_tensor   *x = given(g, shapes[k], value), *row = given(g, CLG_SHAPE(n), value), *sum = clg_state(g, CLG_F32, shapes[k]);
        clg_tensor   *y = clg_mul(x, row);
        clg_plan     *p = clg_plan_create(y), *in_place = clg_plan_create(clg_assign(sum, clg_add(sum, x)));
        assert_true(p && in_place);
        assert_int_equal(strstr(p->source.data, "VPUT_PAST") != NULL, rows * n * 4 > 1024);
        assert_null(strstr(in_place->source.data, "VPUT_PAST"));
        clg_plan_run(p);
        assert_int_equal(clg_tensor_read(y, got, (size_t)(rows * n) * 4), CLG_OK);
        for (int64_t i = 0; i < rows * n; i++) assert_true(got[i] == value[i] * value[i % n]);
        clg_plan_run(in_place);
        clg_plan_run(in_place);
        assert_int_equal(clg_tensor_read(sum, got, (size_t)(rows * n) * 4), CLG_OK);
        for (int64_t i = 0; i < rows * n; i++) assert_true(got[i] == 2.0f * value[i]);
        clg_context_destroy(&own);
    }
}

static void missing_arrays_are_survived(void **state)
{
    (void)state;
    clg_graph  *g = new_graph();
    clg_tensor *x = clg_input(g, CLG_F32, CLG_SHAPE(3)), *loss = clg_sum(x, NULL), *out;
    assert_null(clg_plan_create_all(NULL, 2));
    assert_int_equal(clg_gradients(loss, NULL, 1, &out), CLG_INVALID_ARGUMENT);
    assert_int_equal(clg_gradients(loss, &x, 1, NULL), CLG_INVALID_ARGUMENT);
    assert_false(clg_loader_next(NULL, x, x));
    clg_plan_dump(clg_plan_create(loss), NULL);
    char text[8] = "keep";
    assert_string_equal(clg_profile_text(NULL, text, sizeof text), "keep");
    assert_int_equal(clg_tensor_read(x, NULL, 12), CLG_INVALID_ARGUMENT);
    clg_context_clear_error(ctx);
    assert_int_equal(clg_tensor_write(x, NULL, 12), CLG_INVALID_ARGUMENT);
    clg_context_clear_error(ctx);
    assert_null(clg_input(g, (clg_dtype)9, CLG_SHAPE(3)));
}

int main(int argc, char **argv) /* an argument selects tests: "assign*" */
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(pointwise_chains_are_one_launch, begin),
        cmocka_unit_test_setup(long_chains_are_parted, begin),
        cmocka_unit_test_setup(activations_fold_into_products, begin),
        cmocka_unit_test_setup(normalisation_and_residuals_fold_into_convolutions, begin),
        cmocka_unit_test_setup(reductions_read_through_pointwise_chains, begin),
        cmocka_unit_test_setup(second_operands_keep_their_side, begin),
        cmocka_unit_test_setup(a_diamond_through_a_reduction_stays_apart, begin),
        cmocka_unit_test_setup(an_optimizer_step_is_one_launch, begin),
        cmocka_unit_test_setup(assignments_take_effect_in_order, begin),
        cmocka_unit_test_setup(states_can_be_exchanged, begin),
        cmocka_unit_test_setup(anything_can_be_assigned, begin),
        cmocka_unit_test_setup(anything_can_be_an_output, begin),
        cmocka_unit_test_setup(dumps_name_every_launch, begin),
        cmocka_unit_test_setup(a_steady_step_moves_nothing_but_its_numbers, begin),
        cmocka_unit_test_setup(memory_of_a_plan_is_as_stated, begin),
        cmocka_unit_test_setup(the_hook_is_called_before_each_run, begin),
        cmocka_unit_test_setup(losses_that_share_a_model_alternate, begin),
        cmocka_unit_test_setup(gradients_that_would_mix_are_refused, begin),
        cmocka_unit_test_setup(hooks_add_to_the_optimizer, begin),
        cmocka_unit_test_setup(the_last_entry_of_a_quarantine_counts, begin),
        cmocka_unit_test_setup(stale_reshapes_are_refused, begin),
        cmocka_unit_test_setup(large_results_stream, begin),
        cmocka_unit_test_setup(missing_arrays_are_survived, begin),
        cmocka_unit_test_setup(too_much_memory_is_refused, begin),
        cmocka_unit_test_setup(kernels_of_a_plan_are_built_as_two_programs, begin),
    };
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, open_context, close_context);
}
