/* test_recurrent.c - layers that go through a sequence: outputs and gradients through time are PyTorch's (1.13, float64), for
 * weights and inputs that are sines. A gradient is compared by its product with another sine. */
#include <clgrad/clgrad.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "fixture.h"

enum { N = 2, STEPS = 3, FEATURES = 3, UNITS = 2, OUTPUTS = N * STEPS * UNITS, MOST = 8 * FEATURES };

typedef clg_tensor *layer(clg_model *m, const char *name, clg_tensor *x, const clg_recurrent_desc *desc);

/* y = layer(x); gradients of sum(y value(5)) by x, weight_ih, weight_hh, bias_ih, bias_hh, each times value(6) */
static const struct {
    const char *what;
    layer      *layer;
    bool        relu;
    int         gates;
    double      y[OUTPUTS], slope[5];
} cases[] = {
    {"rnn", clg_nn_rnn, false, 1,
     {0.998907624, -0.737332616, 0.853627704, 0.991863075, 0.979683085, 0.516120418, 0.998910245, -0.731788241, 0.846549364,
      0.992111443, 0.980543685, 0.492371283},
     {1.65213381, -1.33186755, 1.29134894, 0.119809616, 0.119809616}},
    {"rnn with relu", clg_nn_rnn, true, 1,
     {3.75600038, 0, 4.5751232, 2.74862215, 7.3195522, 0.165419984, 3.75720228, 0, 4.54666173, 2.76729094, 7.33377273,
      0.120791279},
     {0.684108154, -1.74951348, 6.92431681, 0.0364532405, 0.0364532405}},
    {"lstm", clg_nn_lstm, false, 4,
     {-0.654188688, -0.0937303342, -0.249190645, -0.694627107, -0.331140225, -0.450709887, -0.654330643, -0.0954163724,
      -0.243541384, -0.695589455, -0.336692512, -0.445535578},
     {0.124069139, 0.46040458, -0.0275793295, 0.0168402514, 0.0168402514}},
    {"gru", clg_nn_gru, false, 3,
     {-0.70704947, -0.348707242, -0.530738217, -0.926097139, -0.597016782, -0.678774109, -0.709777703, -0.350371334,
      -0.518101423, -0.92746443, -0.588162646, -0.671316864},
     {-0.698914873, 0.827067272, -0.196184011, -0.00927132903, -0.12587866}},
};

static double value(int k, size_t i) { return sin(1.0 + 0.7 * (double)i + 0.3 * k); }

static void expect(const char *what, const char *which, double got, double expected, double size)
{
    if (fabs(got - expected) > 3e-6 * (1.0 + size)) fail_msg("%s: %s is %.8g instead of %.8g", what, which, got, expected);
}

static clg_tensor *sines(clg_graph *g, clg_shape shape, int k)
{
    float       v[MOST];
    clg_tensor *t = clg_input(g, CLG_F32, shape);
    for (size_t i = 0; i < (size_t)clg_tensor_count(t); i++) v[i] = (float)value(k, i);
    assert_int_equal(clg_tensor_write(t, v, (size_t)clg_tensor_count(t) * sizeof *v), CLG_OK);
    return t;
}

static void layers_agree_with_pytorch(void **state)
{
    (void)state;
    static const char *const parts[] = {"x", "weight_ih", "weight_hh", "bias_ih", "bias_hh"};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        clg_model               *m = clg_model_create(ctx, NULL);
        clg_graph               *g = clg_graph_create(ctx, &(clg_graph_desc){.training = true});
        const clg_recurrent_desc desc = {.units = UNITS, .relu = cases[c].relu};
        const clg_recurrent_desc only_last = {.units = UNITS, .relu = cases[c].relu, .last = true};
        clg_tensor *x = sines(g, CLG_SHAPE(N, STEPS, FEATURES), 0), *wrt[5] = {x}, *outs[7];
        clg_tensor *y = outs[5] = cases[c].layer(m, "r", x, &desc);
        outs[6] = cases[c].layer(m, "r", x, &only_last);
        const int       rows = cases[c].gates * UNITS;
        const clg_shape shapes[] = {CLG_SHAPE(rows, FEATURES), CLG_SHAPE(rows, UNITS), CLG_SHAPE(rows), CLG_SHAPE(rows)};
        for (int k = 1; k < 5; k++) {
            char name[32];
            snprintf(name, sizeof name, "r.%s", parts[k]);
            wrt[k] = clg_model_parameter(m, g, name, shapes[k - 1], NULL, 0.0);
        }
        clg_tensor *loss = clg_sum(clg_mul(y, sines(g, CLG_SHAPE(N, STEPS, UNITS), 5)), NULL);
        assert_int_equal(clg_gradients(loss, wrt, 5, outs), CLG_OK);
        clg_plan *plan = clg_plan_create_all(outs, 7);
        if (!plan) fail_msg("%s: %s", cases[c].what, clg_context_error(ctx));
        for (size_t i = 0; i < clg_model_count(m); i++) {
            float w[MOST];
            int   k = 1;
            while (strcmp(parts[k], clg_model_name(m, i) + 2) != 0) k++;
            const size_t count = (size_t)clg_shape_count(clg_model_shape(m, i));
            for (size_t e = 0; e < count; e++) w[e] = (float)value(k, e);
            assert_int_equal(clg_model_write(m, i, w, count), CLG_OK);
        }
        clg_plan_run(plan);
        float got[OUTPUTS], last[N * UNITS];
        assert_int_equal(clg_tensor_read(y, got, sizeof got), CLG_OK);
        assert_int_equal(clg_tensor_read(outs[6], last, sizeof last), CLG_OK);
        for (int i = 0; i < OUTPUTS; i++) expect(cases[c].what, "an output", (double)got[i], cases[c].y[i], fabs(cases[c].y[i]));
        for (int i = 0; i < N * UNITS; i++)
            assert_true(last[i] == got[i / UNITS * STEPS * UNITS + (STEPS - 1) * UNITS + i % UNITS]);
        for (int k = 0; k < 5; k++) {
            float  d[MOST];
            double sum = 0.0, size = 0.0;
            const size_t count = (size_t)clg_tensor_count(outs[k]);
            assert_int_equal(clg_tensor_read(outs[k], d, count * sizeof *d), CLG_OK);
            for (size_t i = 0; i < count; i++) {
                sum += (double)d[i] * value(6, i);
                size += fabs((double)d[i]);
            }
            expect(cases[c].what, parts[k], sum, cases[c].slope[k], size);
        }
        clg_plan_destroy(&plan);
        clg_graph_destroy(&g);
        clg_model_destroy(&m);
    }
    assert_false(clg_context_failed(ctx));
}

/* The sum of a sequence of which the first element alone matters later: the state has to carry it. */
static void a_layer_learns_to_remember(void **state)
{
    (void)state;
    enum { ROWS = 32, LONG = 9 };
    static float in[ROWS * LONG], out[ROWS];
    clg_model  *m = clg_model_create(ctx, &(clg_model_desc){.seed = 2});
    clg_graph  *g = clg_graph_create(ctx, &(clg_graph_desc){.training = true});
    clg_tensor *x = clg_input(g, CLG_F32, CLG_SHAPE(ROWS, LONG, 1)), *y = clg_input(g, CLG_F32, CLG_SHAPE(ROWS, 1));
    clg_tensor *h = clg_nn_gru(m, "gru", x, &(clg_recurrent_desc){.units = 8, .last = true});
    clg_tensor *loss = clg_mse(clg_nn_linear(m, "head", h, &(clg_linear_desc){.features = 1}), y);
    clg_plan   *step = clg_plan_train(loss, clg_adam_create(m, &(clg_adam_desc){.lr = 0.02f}));
    for (int i = 0; i < ROWS * LONG; i++) in[i] = 2.0f * clg_random_uniform(7, (uint64_t)i) - 1.0f;
    for (int i = 0; i < ROWS; i++) out[i] = in[i * LONG];
    clg_tensor_write(x, in, sizeof in);
    clg_tensor_write(y, out, sizeof out);
    for (int t = 0; t < 300; t++) clg_plan_run(step);
    assert_true(clg_tensor_scalar(loss) < 0.02); /* the mean alone leaves 0.33 */
    clg_plan_destroy(&step);
    assert_false(clg_context_failed(ctx));
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    clg_model  *m = clg_model_create(ctx, NULL);
    clg_graph  *g = clg_graph_create(ctx, NULL);
    clg_tensor *x = clg_input(g, CLG_F32, CLG_SHAPE(2, 3)), *good = clg_input(g, CLG_F32, CLG_SHAPE(2, 3, 4));
    const struct {
        clg_tensor *x;
        const char *name;
        int         units;
        const char *says;
    } refused[] = {{x, "r", 2, "[N, steps, features]"}, {good, "r", 0, "units"}, {good, "", 2, "a name"}};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        assert_null(clg_nn_lstm(m, refused[i].name, refused[i].x, &(clg_recurrent_desc){.units = refused[i].units}));
        assert_non_null(strstr(clg_context_error(ctx), refused[i].says));
        assert_non_null(strstr(clg_context_error(ctx), "lstm"));
        clg_context_clear_error(ctx);
    }
    assert_null(clg_nn_gru(m, "r", NULL, NULL));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_agree_with_pytorch),
        cmocka_unit_test(a_layer_learns_to_remember),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}
