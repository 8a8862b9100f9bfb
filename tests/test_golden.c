/* test_golden.c - ten training steps of two networks against a run in double precision (golden/golden.py).
 *
 * PyTorch's float32 stays within 1.3e-7 of these curves, relative, and its float64 within 3e-16. TOLERANCE leaves a
 * factor of 80 for other orders of summation; the curves themselves move by 1e-3 to 1e-1 from step to step. */
#include "base/base.h"
#include "golden/loss_curves.h"
#include <clgrad/clgrad.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define TOLERANCE 1e-5

static clg_tensor *classifier(clg_model *m, clg_tensor *x)
{
    x = clg_relu(clg_nn_linear(m, "fc1", x, &(clg_linear_desc){.features = GOLDEN_HIDDEN}));
    return clg_nn_linear(m, "fc2", x, &(clg_linear_desc){.features = GOLDEN_CLASSES});
}

static clg_tensor *cnn(clg_model *m, clg_tensor *x)
{
    x = clg_relu(clg_nn_conv2d(m, "conv1", x, &(clg_conv2d_desc){.channels = GOLDEN_CNN_CHANNELS, .kernel = 3}));
    return classifier(m, clg_flatten(clg_max_pool2d(x, &(clg_pool2d_desc){.kernel = 2}), 1));
}

static clg_optimizer *sgd(clg_model *m)
{
    return clg_sgd_create(m, &(clg_sgd_desc){.lr = (float)GOLDEN_SGD_LR, .momentum = (float)GOLDEN_SGD_MOMENTUM});
}

static clg_optimizer *adam(clg_model *m)
{
    return clg_adam_create(m, &(clg_adam_desc){.lr = (float)GOLDEN_ADAM_LR, .beta1 = GOLDEN_ADAM_BETA1,
                                               .beta2 = GOLDEN_ADAM_BETA2, .eps = GOLDEN_ADAM_EPS});
}

typedef struct curve {
    clg_tensor *(*network)(clg_model *m, clg_tensor *x);
    clg_optimizer *(*optimizer)(clg_model *m);
    clg_shape     input;
    uint64_t      seed;
    const char   *parameters[6]; /* the streams' order, not the model's */
    const double *losses;
} curve;

/* Values (u - 1/2) * scale of stream `seed`: weights have the scale 1, biases 1/4. */
static void write_parameters(clg_model *m, const curve *c)
{
    for (size_t i = 0; i < clg_model_count(m); i++) {
        size_t stream = 0;
        while (stream < 6 && c->parameters[stream] && strcmp(c->parameters[stream], clg_model_name(m, i)) != 0)
            stream++;
        assert_true(stream < 6 && c->parameters[stream]);
        const size_t count = (size_t)clg_shape_count(clg_model_shape(m, i));
        const float scale = strstr(clg_model_name(m, i), ".bias") ? 0.25f : 1.0f;
        float *value = malloc(count * sizeof *value);
        assert_non_null(value);
        for (size_t k = 0; k < count; k++)
            value[k] = (clg_random_uniform(c->seed + 200 + stream, k) - 0.5f) * scale;
        assert_int_equal(clg_model_write(m, i, value, count), CLG_OK);
        free(value);
    }
}

static void write_batch(const curve *c, uint64_t batch, clg_tensor *x, clg_tensor *y)
{
    const size_t count = (size_t)clg_tensor_count(x);
    float *value = malloc(count * sizeof *value);
    int32_t label[GOLDEN_BATCH];
    assert_non_null(value);
    for (size_t i = 0; i < count; i++) value[i] = clg_random_uniform(c->seed + batch, i);
    for (size_t i = 0; i < GOLDEN_BATCH; i++)
        label[i] = (int32_t)(clg_random_u32(c->seed + 100 + batch, i) % GOLDEN_CLASSES);
    assert_int_equal(clg_tensor_write(x, value, count * sizeof *value), CLG_OK);
    assert_int_equal(clg_tensor_write(y, label, sizeof label), CLG_OK);
    free(value);
}

static void follow(const curve *c)
{
    clg_context *ctx = clg_context_create(NULL);
    clg_model *m = clg_model_create(ctx, NULL);
    clg_graph *g = clg_graph_create(ctx, &(clg_graph_desc){.training = true});
    clg_tensor *x = clg_input(g, CLG_F32, c->input), *y = clg_input(g, CLG_I32, CLG_SHAPE(GOLDEN_BATCH));
    clg_tensor *loss = clg_cross_entropy(c->network(m, x), y);
    clg_plan *step = clg_plan_train(loss, c->optimizer(m));
    if (clg_context_failed(ctx)) fail_msg("%s", clg_context_error(ctx));
    write_parameters(m, c);
    for (uint64_t t = 0; t < GOLDEN_STEPS; t++) {
        write_batch(c, t % GOLDEN_BATCHES, x, y);
        clg_plan_run(step);
        const double got = clg_tensor_scalar(loss);
        if (!(fabs(got - c->losses[t]) <= TOLERANCE * c->losses[t]))
            fail_msg("step %d: the loss is %.9f instead of %.9f. %s", (int)t, got, c->losses[t],
                     clg_context_error(ctx));
    }
    clg_context_destroy(&ctx);
}

static const curve mlp_curve = {
    .network = classifier, .optimizer = sgd, .seed = GOLDEN_MLP_SEED, .losses = golden_mlp_losses,
    .input = {.rank = 2, .dim = {GOLDEN_BATCH, GOLDEN_MLP_IN}},
    .parameters = {"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"},
};

static const curve cnn_curve = {
    .network = cnn, .optimizer = adam, .seed = GOLDEN_CNN_SEED, .losses = golden_cnn_losses,
    .input = {.rank = 4, .dim = {GOLDEN_BATCH, GOLDEN_CNN_IN}},
    .parameters = {"conv1.weight", "conv1.bias", "fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"},
};

static void mlp_follows(void **state)
{
    (void)state;
    follow(&mlp_curve);
}

static void cnn_follows(void **state)
{
    (void)state;
    follow(&cnn_curve);
}

/* A gradient that never changes makes Adam's step lr itself: p = p (1 - lr decay) - lr. */
static void adamw_decays_apart_from_the_gradient(void **state)
{
    (void)state;
    clg_context *ctx = clg_context_create(NULL);
    clg_model   *m = clg_model_create(ctx, NULL);
    clg_graph   *g = clg_graph_create(ctx, &(clg_graph_desc){.training = true});
    clg_tensor  *p = clg_model_parameter(m, g, "p", CLG_SHAPE(1), NULL, 0.0);
    clg_plan    *step = clg_plan_train(clg_sum(clg_scale(p, 0.5), NULL),
                                       clg_adam_create(m, &(clg_adam_desc){.lr = 0.125f, .weight_decay = 0.5}));
    double       expected = 3.0;
    float        value = 3.0f;
    assert_int_equal(clg_model_write(m, 0, &value, 1), CLG_OK);
    for (int t = 0; t < 5; t++) {
        clg_plan_run(step);
        expected = expected * (1.0 - 0.125 * 0.5) - 0.125;
        assert_int_equal(clg_model_read(m, 0, &value, 1), CLG_OK);
        assert_true(fabs((double)value - expected) < 1e-5);
    }
    clg_context_destroy(&ctx);
}

/* loss = sum(c exp(p)), whole, and cut between y = exp(p) and the gradient c that comes from somewhere else. */
static void a_given_gradient_updates_alike(void **state)
{
    (void)state;
    enum { N = 21 };
    float        c[N], d[N], value[2][N];
    clg_context *ctx = clg_context_create(NULL);
    for (int cut = 0; cut < 2; cut++) {
        clg_model  *m = clg_model_create(ctx, NULL);
        clg_graph  *g = clg_graph_create(ctx, &(clg_graph_desc){.training = true});
        clg_tensor *p = clg_model_parameter(m, g, "p", CLG_SHAPE(N), NULL, 0.0), *y = clg_exp(p), *dp = NULL;
        clg_tensor *dy = clg_input(g, CLG_F32, CLG_SHAPE(N));
        for (int i = 0; i < N; i++) c[i] = 0.1f * (float)(i + 1);
        assert_int_equal(clg_tensor_write(dy, c, sizeof c), CLG_OK);
        clg_optimizer *opt = clg_sgd_create(m, &(clg_sgd_desc){.lr = 0.1f, .momentum = 0.5f});
        if (!cut) {
            clg_plan *step = clg_plan_train(clg_sum(clg_mul(y, dy), NULL), opt);
            for (int t = 0; t < 3; t++) clg_plan_run(step);
        } else {
            clg_tensor *given = clg_input(g, CLG_F32, clg_tensor_shape(clg_model_arena(m, g)));
            float       padded[64] = {0};
            assert_int_equal(clg_gradients_from(y, dy, &p, 1, &dp), CLG_OK);
            clg_plan *backward = clg_plan_create(dp), *step = clg_plan_update(given, opt);
            for (int t = 0; t < 3; t++) {
                clg_plan_run(backward);
                assert_int_equal(clg_tensor_read(dp, d, sizeof d), CLG_OK);
                memcpy(padded, d, sizeof d);
                assert_int_equal(clg_tensor_write(given, padded, (size_t)clg_tensor_count(given) * 4), CLG_OK);
                clg_plan_run(step);
            }
        }
        assert_int_equal(clg_model_read(m, 0, value[cut], N), CLG_OK);
    }
    for (int i = 0; i < N; i++) assert_true(fabsf(value[0][i] - value[1][i]) < 1e-6f && value[0][i] < 0.0f);
    assert_null(clg_plan_update(NULL, NULL));
    assert_int_equal(clg_gradients_from(NULL, NULL, NULL, 0, NULL), CLG_INVALID_ARGUMENT);
    assert_false(clg_context_failed(ctx));
    clg_context_destroy(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mlp_follows),
        cmocka_unit_test(cnn_follows),
        cmocka_unit_test(adamw_decays_apart_from_the_gradient),
        cmocka_unit_test(a_given_gradient_updates_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
