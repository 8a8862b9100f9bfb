/* test_fusion.c - what operators are made one, and that it changes no value: operators with their gradients, epilogues,
 * and what is packed. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "plan_fixture.h"

/* The result that a plan for both computes, and the gradient times `factor`, are those of kernels of their own. */
static void expect_as_alone(clg_tensor *loss, clg_tensor *dx, size_t fused, size_t alone, float factor)
{
    float        value[2], d[2][45];
    const size_t size = (size_t)dx->count * 4;
    for (int k = 0; k < 2; k++) {
        clg_plan *plan = PLAN(loss, dx);
        assert_int_equal(clg_plan_statistics(plan).launches, k ? alone : fused);
        clg_plan_run(plan);
        value[k] = (float)clg_tensor_scalar(loss);
        assert_int_equal(clg_tensor_read(dx, d[k], size), CLG_OK);
        clg_plan_destroy(&plan);
        setenv("CLGRAD_REWRITE", "0", 1);
    }
    unsetenv("CLGRAD_REWRITE");
    assert_float_equal(value[0], value[1], 4e-7f * value[1]);
    for (int64_t i = 0; i < dx->count; i++) assert_float_equal(d[0][i], d[1][i], 4e-7f * factor);
}

static void a_loss_comes_with_its_gradient(void **state)
{
    (void)state;
    float         value[45];
    const int32_t known[5] = {0, 8, 3, 8, 5}, few[5] = {-1, 2, -1, 4, 0}, none[5] = {-1, -1, -1, -1, -1};
    const int32_t *const each[] = {known, few, none};
    for (size_t i = 0; i < CLG__COUNT(value); i++) value[i] = 4.0f * clg_random_uniform(3, i) - 2.0f;
    clg_graph  *g = new_graph();
    clg_tensor *x = given(g, CLG_SHAPE(5, 9), value), *labels = clg_input(g, CLG_I32, CLG_SHAPE(5)), *d[4];
    clg_tensor *loss = clg_cross_entropy(x, labels), *twice = clg_scale(loss, 2.0), *square = clg_mul(loss, loss);
    assert_int_equal(clg_gradients(loss, &x, 1, &d[0]), CLG_OK);
    assert_int_equal(clg_gradients(twice, &x, 1, &d[1]), CLG_OK);
    assert_int_equal(clg_gradients(square, &x, 1, &d[2]), CLG_OK);
    for (size_t i = 0; i < CLG__COUNT(each); i++) {
        assert_int_equal(clg_tensor_write(labels, each[i], sizeof known), CLG_OK);
        expect_as_alone(loss, d[0], 2, 3, 1.0f);   /* rows, mean; no kernel writes a number that is known */
        expect_as_alone(twice, d[1], 4, 5, 2.0f);  /* one that is computed, and twice the loss */
        expect_as_alone(square, d[2], 5, 7, 4.0f); /* one that waits for the loss */
    }
    assert_int_equal(LAUNCHES(d[0]), 1);
    assert_int_equal(LAUNCHES(loss), 2);

    clg_tensor *logits = clg_neg(x), *dx, *of_no_rows = clg_cross_entropy(clg_input(g, CLG_F32, CLG_SHAPE(0, 3)), clg_input(g, CLG_I32, CLG_SHAPE(0)));
    loss = clg_cross_entropy(logits, labels);
    assert_int_equal(clg_gradients(loss, &x, 1, &dx), CLG_OK);
    clg_plan *plan = PLAN(loss, dx);
    assert_true(clg_plan_statistics(plan).planned_bytes < 2 * sizeof value); /* in place */
    clg_plan_destroy(&plan);
    assert_int_equal(clg_tensor_write(labels, known, sizeof known), CLG_OK);
    expect_as_alone(loss, dx, 4, 5, 1.0f);
    assert_int_equal(clg_gradients(of_no_rows, &of_no_rows->in[0], 1, &d[3]), CLG_OK);
    plan = PLAN(of_no_rows, d[3]);
    clg_plan_run(plan);
    EXPECT(of_no_rows, 0);
    clg_plan_destroy(&plan);
    clg_graph_destroy(&g);
}

/* The gradients of sum(c (x + layer_norm(x))) to x, gain and bias, and those of sum(c dx) to x and c; how many launches the first take. */
static size_t residual_gradients(bool rewrite, float got[5][95])
{
    enum { ROWS = 5, N = 19 };
    float value[3][ROWS * N];
    for (size_t i = 0; i < CLG__COUNT(value); i++)
        for (size_t k = 0; k < ROWS * N; k++) value[i][k] = 4.0f * clg_random_uniform(i, k) - 2.0f;
    setenv("CLGRAD_REWRITE", rewrite ? "1" : "0", 1);
    clg_graph  *g = new_graph();
    clg_tensor *x = given(g, CLG_SHAPE(ROWS, N), value[0]), *c = given(g, CLG_SHAPE(ROWS, N), value[1]);
    clg_tensor *gain = given(g, CLG_SHAPE(N), value[2]), *bias = given(g, CLG_SHAPE(N), value[2] + N), *d[5];
    clg_tensor *y = clg_add(x, clg_layer_norm(x, gain, bias, 0.0)), *loss = clg_sum(clg_mul(c, y), NULL);
    assert_int_equal(clg_gradients(loss, (clg_tensor *[]){x, gain, bias}, 3, d), CLG_OK);
    assert_int_equal(clg_gradients(clg_sum(clg_mul(c, d[0]), NULL), (clg_tensor *[]){x, c}, 2, d + 3), CLG_OK);
    const size_t count = LAUNCHES(d[0], d[1], d[2]);
    clg_plan    *plan = planned(d, 5);
    clg_plan_run(plan);
    for (int i = 0; i < 5; i++) assert_int_equal(clg_tensor_read(d[i], got[i], (size_t)d[i]->count * 4), CLG_OK);
    clg_plan_destroy(&plan);
    clg_graph_destroy(&g);
    return count;
}

static void a_residuals_gradient_is_added_by_layer_norm(void **state)
{
    (void)state;
    static float fused[5][95], plain[5][95];
    assert_int_equal(residual_gradients(true, fused), 4); /* dy, the normalisation's, its sums, and the joining of these */
    residual_gradients(false, plain);
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < (i == 1 || i == 2 ? 19 : 95); k++)
            assert_float_equal(fused[i][k], plain[i][k], 1e-5f * (1.0f + (plain[i][k] < 0.0f ? -plain[i][k] : plain[i][k])));
}

/* Nothing is copied where the parts lie in their result as they do among the gradients: 19 channels leave a gap there. */
static void parts_are_computed_where_they_are_packed(void **state)
{
    (void)state;
    static const int64_t channels[] = {16, 19};
    size_t               launched[2];
    for (int i = 0; i < 2; i++) {
        const int64_t c = channels[i];
        clg_model    *m = clg_model_create(ctx, NULL);
        clg_graph    *g = clg_graph_create(ctx, &(clg_graph_desc){.training = true});
        clg_tensor   *x = clg_input(g, CLG_F32, CLG_SHAPE(4, c, 1, 1)), *w = clg_input(g, CLG_F32, CLG_SHAPE(4, c, 1, 1));
        clg_tensor   *loss = clg_sum(clg_mul(clg_nn_batch_norm2d(m, "norm", x, NULL), w), NULL);
        clg_tensor   *packed = clg_model_gradients(m, loss);
        float         value[4 * 19], got[64];
        for (int64_t k = 0; k < 4 * c; k++) value[k] = (float)((k + 1) * (k / c));
        assert_int_equal(clg_tensor_write(x, value, (size_t)x->count * 4), CLG_OK);
        assert_int_equal(clg_tensor_write(w, value, (size_t)w->count * 4), CLG_OK);
        clg_plan *plan = PLAN(packed);
        launched[i] = clg_plan_statistics(plan).launches;
        clg_plan_run(plan);
        assert_true(packed->count <= 64);
        assert_int_equal(clg_tensor_read(packed, got, (size_t)packed->count * 4), CLG_OK);
        const int64_t bias = clg__part_end(0, c);
        for (int64_t k = 0; k < c; k++) {
            double sum = 0.0, mean = 0.0, square = 0.0, dot = 0.0;
            for (int n = 0; n < 4; n++) sum += (double)value[n * c + k], mean += (double)value[n * c + k] / 4.0;
            for (int n = 0; n < 4; n++) {
                const double apart = (double)value[n * c + k] - mean;
                square += apart * apart / 4.0, dot += (double)value[n * c + k] * apart;
            }
            assert_true(fabs((double)got[k] - dot / sqrt(square + 1e-5)) < 1e-5 * dot);
            assert_true(got[bias + k] == (float)sum);
        }
        clg_plan_destroy(&plan);
        clg_graph_destroy(&g);
        clg_model_destroy(&m);
    }
    assert_int_equal(launched[1], launched[0] + 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_loss_comes_with_its_gradient, begin),
        cmocka_unit_test_setup(a_residuals_gradient_is_added_by_layer_norm, begin),
        cmocka_unit_test_setup(parts_are_computed_where_they_are_packed, begin),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}
