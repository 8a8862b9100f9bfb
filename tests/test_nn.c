/* test_nn.c - what layers keep besides parameters: the running statistics of batch normalisation, the steps of dropout
 * and of augmentation. */
#include "base/base.h"
#include <clgrad/clgrad.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum { N = 4, C = 2, HW = 3 };

static float value_at(int n, int c, int i) { return (float)(n * 3 + i * i) * (c ? 0.5f : -2.0f) + 7.0f; }

static void moments_of(int c, double *mean, double *unbiased)
{
    *mean = *unbiased = 0.0;
    for (int n = 0; n < N; n++)
        for (int i = 0; i < HW; i++) *mean += (double)value_at(n, c, i) / (N * HW);
    for (int n = 0; n < N; n++)
        for (int i = 0; i < HW; i++) *unbiased += pow((double)value_at(n, c, i) - *mean, 2.0) / (N * HW - 1);
}

static void write_values(clg_tensor *x)
{
    float value[N * C * HW];
    for (int i = 0; i < N * C * HW; i++) value[i] = value_at(i / (C * HW), i / HW % C, i % HW);
    assert_int_equal(clg_tensor_write(x, value, sizeof value), CLG_OK);
}

static clg_tensor *norm(clg_model *m, bool training, clg_tensor **x)
{
    clg_graph *g = clg_graph_create(clg_model_context(m), &(clg_graph_desc){.training = training});
    *x = clg_input(g, CLG_F32, CLG_SHAPE(N, C, 1, HW));
    return clg_nn_batch_norm2d(m, "bn", *x, NULL);
}

static size_t entry(const clg_model *m, const char *name)
{
    for (size_t i = 0; i < clg_model_count(m); i++)
        if (strcmp(clg_model_name(m, i), name) == 0) return i;
    fail_msg("the model has no %s", name);
    return 0;
}

/* Five steps with a large weight decay: the statistics move as PyTorch moves them, and the optimiser leaves them alone. */
static void running_statistics_follow_the_batches(void **state)
{
    (void)state;
    clg_context *ctx = clg_context_create(NULL);
    clg_model   *m = clg_model_create(ctx, NULL);
    clg_tensor  *x, *y = norm(m, true, &x);
    clg_plan *step = clg_plan_train(clg_mean(clg_mul(y, y), NULL), clg_adam_create(m, &(clg_adam_desc){.weight_decay = 1.0}));
    const size_t mean_at = entry(m, "bn.running_mean"), var_at = entry(m, "bn.running_var"), gain_at = entry(m, "bn.weight");
    double       mean[C], var[C], running_mean[C] = {0}, running_var[C] = {1.0, 1.0};
    float        got[C];
    assert_true(clg_model_is_state(m, mean_at) && clg_model_is_state(m, var_at) && !clg_model_is_state(m, gain_at));
    for (int c = 0; c < C; c++) moments_of(c, &mean[c], &var[c]);
    write_values(x);
    for (int t = 0; t < 5; t++) {
        clg_plan_run(step);
        for (int c = 0; c < C; c++) {
            running_mean[c] = 0.9 * running_mean[c] + 0.1 * mean[c];
            running_var[c] = 0.9 * running_var[c] + 0.1 * var[c];
        }
    }
    assert_int_equal(clg_model_read(m, mean_at, got, C), CLG_OK);
    for (int c = 0; c < C; c++) assert_true(fabs((double)got[c] - running_mean[c]) <= 1e-6 * fabs(running_mean[c]));
    assert_int_equal(clg_model_read(m, var_at, got, C), CLG_OK);
    for (int c = 0; c < C; c++) assert_true(fabs((double)got[c] - running_var[c]) <= 1e-6 * running_var[c]);
    assert_false(clg_context_failed(ctx));
    clg_context_destroy(&ctx);
}

/* Statistics go through a file into another model, which looks at its input by them. */
static void inference_uses_the_saved_statistics(void **state)
{
    (void)state;
    char path[64];
    snprintf(path, sizeof path, "test_nn-%ld.safetensors", (long)getpid());
    clg_context *ctx = clg_context_create(NULL);
    clg_model   *first = clg_model_create(ctx, NULL), *second = clg_model_create(ctx, NULL);
    clg_tensor  *x, *y = norm(first, false, &x);
    const float  mean[C] = {3.0f, -1.0f}, var[C] = {4.0f, 0.25f};
    float        got[N * C * HW];
    assert_non_null(y);
    assert_int_equal(clg_model_write(first, entry(first, "bn.running_mean"), mean, C), CLG_OK);
    assert_int_equal(clg_model_write(first, entry(first, "bn.running_var"), var, C), CLG_OK);
    assert_int_equal(clg_model_save(first, path), CLG_OK);
    y = norm(second, false, &x);
    clg_plan *plan = clg_plan_create(y);
    assert_int_equal(clg_model_load(second, path), CLG_OK);
    unlink(path);
    write_values(x);
    clg_plan_run(plan);
    assert_int_equal(clg_tensor_read(y, got, sizeof got), CLG_OK);
    for (int i = 0; i < N * C * HW; i++) {
        const int    c = i / HW % C;
        const double expected = ((double)value_at(i / (C * HW), c, i % HW) - (double)mean[c]) / sqrt((double)var[c] + 1e-5);
        assert_true(fabs((double)got[i] - expected) <= 1e-5 * (1.0 + fabs(expected)));
    }
    assert_false(clg_context_failed(ctx));
    clg_context_destroy(&ctx);
}

/* What is dropped gets no gradient, the next step drops others, and inference drops nothing. */
static void dropout_draws_a_mask_a_step(void **state)
{
    (void)state;
    enum { COUNT = 1003, STEPS = 3 };
    static float before[COUNT], after[COUNT], y[STEPS][COUNT];
    clg_context *ctx = clg_context_create(NULL);
    clg_model   *m = clg_model_create(ctx, &(clg_model_desc){.seed = 5});
    clg_graph   *g = clg_graph_create(ctx, &(clg_graph_desc){.training = true});
    clg_tensor  *w = clg_model_parameter(m, g, "w", CLG_SHAPE(COUNT), clg_fill_normal, 1.0), *kept = clg_nn_dropout(m, w, 0.25);
    clg_tensor  *other = clg_nn_dropout(m, w, 0.25), *apart = clg_sum(clg_equal(kept, other), NULL);
    clg_tensor  *extra[] = {kept, apart};
    clg_plan    *step = clg_plan_train_with(clg_sum(kept, NULL), clg_sgd_create(m, &(clg_sgd_desc){.lr = 0.75f}), extra, 2);
    for (int t = 0; t < STEPS; t++) {
        int count = 0, same = 0;
        assert_int_equal(clg_model_read(m, entry(m, "w"), before, COUNT), CLG_OK);
        clg_plan_run(step);
        assert_int_equal(clg_tensor_read(kept, y[t], sizeof y[t]), CLG_OK);
        assert_int_equal(clg_model_read(m, entry(m, "w"), after, COUNT), CLG_OK);
        for (int i = 0; i < COUNT; i++) {
            const bool is_kept = fabsf(y[t][i]) > 0.0f;
            assert_true(fabsf(y[t][i] - (is_kept ? before[i] / 0.75f : 0.0f)) <= 1e-6f * fabsf(y[t][i]));
            assert_true(fabsf(before[i] - after[i] - (is_kept ? 1.0f : 0.0f)) <= 1e-5f);
            count += is_kept;
            same += t > 0 && is_kept == (fabsf(y[t - 1][i]) > 0.0f);
        }
        assert_in_range(count, 690, 815); /* 752 on average, 14 of deviation */
        if (t > 0) assert_in_range(same, 560, 695); /* 627, 15 */
        assert_in_range((int)clg_tensor_scalar(apart), 560, 695);
    }
    clg_graph *inference = clg_graph_create(ctx, NULL);
    clg_tensor *x = clg_input(inference, CLG_F32, CLG_SHAPE(3));
    assert_ptr_equal(clg_nn_dropout(m, x, 0.5), x);
    assert_false(clg_context_failed(ctx));
    assert_null(clg_nn_dropout(m, x, 1.0));
    assert_non_null(strstr(clg_context_error(ctx), "dropout([3])"));
    clg_context_destroy(&ctx);
}

/* Pictures whose pixels are 1, 2, ...: two neighbours in the result tell how a picture was changed. */
enum { PICTURES = 601, SIDE = 9, WINDOW = 7, SHIFT = 1, PLACES = 2 * SHIFT + SIDE - WINDOW + 1 };

static int kind_of(const float *picture) /* of [2, WINDOW, WINDOW]: its place, down and across, and whether it is mirrored; all pixels checked */
{
    const int at = WINDOW / 2, middle = (int)picture[at * WINDOW + at] - 1, next = (int)picture[at * WINDOW + at + 1] - 1;
    const int mirrored = next < middle, down = middle / SIDE - at, across = middle % SIDE - at;
    for (int i = 0; i < 2 * WINDOW * WINDOW; i++) {
        const int c = i / (WINDOW * WINDOW), y = i / WINDOW % WINDOW + down, j = i % WINDOW, x = (mirrored ? WINDOW - 1 - j : j) + across;
        const int pixel = y >= 0 && y < SIDE && x >= 0 && x < SIDE ? (c ? -1 : 1) * (y * SIDE + x + 1) : 0;
        assert_int_equal((int)picture[i], pixel);
    }
    assert_in_range(down + SHIFT, 0, PLACES - 1);
    assert_in_range(across + SHIFT, 0, PLACES - 1);
    return (mirrored * PLACES + down + SHIFT) * PLACES + across + SHIFT;
}

static clg_tensor *pictures(clg_graph *g)
{
    static float value[PICTURES][2][SIDE * SIDE];
    clg_tensor  *x = clg_input(g, CLG_F32, CLG_SHAPE(PICTURES, 2, SIDE, SIDE));
    for (int n = 0; n < PICTURES; n++)
        for (int i = 0; i < SIDE * SIDE; i++) value[n][0][i] = (float)(i + 1), value[n][1][i] = -(float)(i + 1);
    assert_int_equal(clg_tensor_write(x, value, sizeof value), CLG_OK);
    return x;
}

static void augmentation_draws_anew_each_step(void **state)
{
    (void)state;
    enum { STEPS = 3, KINDS = 2 * PLACES * PLACES };
    static float          y[PICTURES][2 * WINDOW * WINDOW];
    static int            kind[2][STEPS][PICTURES];
    const clg_augment_desc d = {.flip = true, .shift = SHIFT, .crop_hw = {WINDOW, WINDOW}, .seed = 3};
    for (int again = 0; again < 2; again++) {
        clg_context *ctx = clg_context_create(NULL);
        clg_model   *m = clg_model_create(ctx, NULL);
        clg_graph   *g = clg_graph_create(ctx, &(clg_graph_desc){.training = true});
        clg_tensor  *w = clg_model_parameter(m, g, "w", CLG_SHAPE(1), clg_fill_normal, 1.0), *changed = clg_augment(pictures(g), &d);
        clg_plan    *step = clg_plan_train_with(clg_sum(w, NULL), clg_sgd_create(m, NULL), &changed, 1);
        for (int t = 0; t < STEPS; t++) {
            clg_plan_run(step);
            assert_int_equal(clg_tensor_read(changed, y, sizeof y), CLG_OK);
            for (int n = 0; n < PICTURES; n++) kind[again][t][n] = kind_of(y[n]);
        }
        clg_graph  *inference = clg_graph_create(ctx, NULL);
        clg_tensor *x = pictures(inference), *middle = clg_augment(x, &d);
        assert_ptr_equal(clg_augment(x, &(clg_augment_desc){.flip = true, .shift = 2}), x);
        clg_plan_run(clg_plan_create(middle));
        assert_int_equal(clg_tensor_read(middle, y, sizeof y), CLG_OK);
        for (int n = 0; n < PICTURES; n++) assert_int_equal(kind_of(y[n]), (SHIFT + 1) * PLACES + SHIFT + 1);
        assert_false(clg_context_failed(ctx));
        clg_context_destroy(&ctx);
    }
    assert_memory_equal(kind[0], kind[1], sizeof kind[0]);
    int of[2][PLACES][PLACES] = {{{0}}}, rows[PLACES] = {0}, columns[PLACES] = {0}, mirrored = 0, same = 0;
    for (int t = 0; t < STEPS; t++)
        for (int n = 0; n < PICTURES; n++) {
            const int k = kind[0][t][n];
            (&of[0][0][0])[k]++;
            mirrored += k / (PLACES * PLACES), rows[k / PLACES % PLACES]++, columns[k % PLACES]++;
            same += t > 0 && k == kind[0][t - 1][n];
        }
    assert_in_range(mirrored, 817, 986); /* of 1803: half, and four times the deviation of 21 */
    /* Places are the sum of two draws of three: 1, 2, 3, 2, 1 ninths. */
    static const int ninths[PLACES] = {1, 2, 3, 2, 1};
    for (int k = 0; k < PLACES; k++) {
        const double p = ninths[k] / 9.0, mean = 1803.0 * p, reach = 4.0 * sqrt(mean * (1.0 - p));
        assert_true(fabs(rows[k] - mean) < reach && fabs(columns[k] - mean) < reach);
    }
    for (int k = 0; k < KINDS; k++) { /* all combinations: the draws do not depend on each other */
        const double p = ninths[k / PLACES % PLACES] * ninths[k % PLACES] / 162.0, mean = 1803.0 * p;
        assert_true(fabs((&of[0][0][0])[k] - mean) < 5.0 * sqrt(mean));
    }
    assert_in_range(same, 10, 120); /* 1202 * 361 / 13122 = 33 */
}

static void names_are_parameters_or_states(void **state)
{
    (void)state;
    clg_context *ctx = clg_context_create(NULL);
    clg_model   *m = clg_model_create(ctx, NULL);
    clg_graph   *g = clg_graph_create(ctx, NULL);
    assert_non_null(clg_model_state(m, g, "a", CLG_SHAPE(3), NULL, 0.0));
    assert_null(clg_model_parameter(m, g, "a", CLG_SHAPE(3), NULL, 0.0));
    assert_int_equal(clg_context_status(ctx), CLG_INVALID_ARGUMENT);
    clg_context_clear_error(ctx);
    clg_tensor *one = clg_input(g, CLG_F32, CLG_SHAPE(1, C));
    clg_tensor *gain = clg_full(g, CLG_SHAPE(C), 1.0);
    assert_null(clg_batch_norm(one, gain, gain, &(clg_batch_norm_desc){.training = true}));
    assert_non_null(strstr(clg_context_error(ctx), "two values"));
    clg_context_destroy(&ctx);
}

/* Layers of every kind whose last operator is refused, or that find one of their names taken: the model is as before, and what
 * comes instead may have other shapes and the same names. */
static void a_layer_that_fails_adds_nothing(void **state)
{
    (void)state;
    clg_context *ctx = clg_context_create(NULL);
    clg_model   *m = clg_model_create(ctx, NULL);
    clg_graph   *g = clg_graph_create(ctx, &(clg_graph_desc){.training = true});
    clg_tensor  *image = clg_input(g, CLG_F32, CLG_SHAPE(2, 3, 4, 4)), *rows = clg_input(g, CLG_F32, CLG_SHAPE(2, 3));
    clg_tensor  *one = clg_input(g, CLG_F32, CLG_SHAPE(1, 3, 1, 1)), *steps = clg_input(g, CLG_F32, CLG_SHAPE(2, 3, 4));
    assert_non_null(clg_nn_linear(m, "first", rows, &(clg_linear_desc){.features = 2}));
    const char *const taken[] = {"a.bias", "d.bias", "e.bias_hh"};
    for (size_t i = 0; i < CLG__COUNT(taken); i++) assert_non_null(clg_model_state(m, g, taken[i], CLG_SHAPE(1), NULL, 0.0));
    const size_t before = clg_model_count(m);
    for (int k = 0; k < 6; k++) {
        clg_tensor *y = k == 0   ? clg_nn_linear(m, "a", rows, &(clg_linear_desc){.features = 2})
                        : k == 1 ? clg_nn_conv2d(m, "b", image, &(clg_conv2d_desc){.channels = 2, .kernel = 5})
                        : k == 2 ? clg_nn_batch_norm2d(m, "c", one, NULL)
                        : k == 3 ? clg_nn_layer_norm(m, "d", rows, NULL)
                        : k == 4 ? clg_nn_gru(m, "e", steps, &(clg_recurrent_desc){.units = 2})
                                 : clg_nn_embedding(m, "f", rows, &(clg_embedding_desc){.rows = 2, .features = 2});
        assert_null(y);
        assert_true(clg_context_failed(ctx));
        clg_context_clear_error(ctx);
        if (clg_model_count(m) != before) fail_msg("layer %d left %zu parameters", k, clg_model_count(m) - before);
    }
    clg_tensor *y = clg_nn_conv2d(m, "b", image, &(clg_conv2d_desc){.channels = 2, .kernel = 3});
    assert_string_equal(clg_model_name(m, before), "b.weight");
    assert_int_equal(clg_shape_count(clg_model_shape(m, before)), 54);
    clg_plan *plan = clg_plan_create(y);
    clg_plan_run(plan);
    clg_model_truncate(m, before); /* too late */
    assert_int_equal(clg_model_count(m), before + 2);
    clg_context_destroy(&ctx);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(running_statistics_follow_the_batches),
        cmocka_unit_test(inference_uses_the_saved_statistics),
        cmocka_unit_test(dropout_draws_a_mask_a_step),
        cmocka_unit_test(augmentation_draws_anew_each_step),
        cmocka_unit_test(names_are_parameters_or_states),
        cmocka_unit_test(a_layer_that_fails_adds_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
