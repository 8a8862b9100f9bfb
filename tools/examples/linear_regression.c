/* linear_regression.c [DEVICE] - y = 3x + noise: one Dense(1), trained by gradient descent on the mean squared error.
 *
 * cc linear_regression.c $(pkg-config --cflags --libs clgrad) -lm -o linear_regression */
#include <clgrad/clgrad.h>
#include <math.h>
#include <stdio.h>

enum { POINTS = 256, EPOCHS = 1000 };

int main(int argc, char **argv)
{
    const double noise = 0.1; /* its standard deviation */
    float        x[POINTS], y[POINTS], slope = NAN, intercept = NAN;
    double       mean = 0.0, spread = 0.0;
    clg_fill_normal(y, CLG_SHAPE(POINTS), 1, noise);
    for (int i = 0; i < POINTS; i++) {
        x[i] = 2.0f * clg_random_uniform(2, (uint64_t)i) - 1.0f;
        y[i] += 3.0f * x[i];
        mean += (double)x[i] / POINTS;
    }
    for (int i = 0; i < POINTS; i++) spread += ((double)x[i] - mean) * ((double)x[i] - mean);

    clg_context *ctx   = clg_context_create(&(clg_context_desc){.device = argc > 1 ? argv[1] : NULL});
    clg_model   *model = clg_model_create(ctx, &(clg_model_desc){.seed = 1});
    clg_graph   *g     = clg_graph_create(ctx, &(clg_graph_desc){.training = true});
    clg_tensor  *tx    = clg_input(g, CLG_F32, CLG_SHAPE(POINTS, 1));
    clg_tensor  *ty    = clg_input(g, CLG_F32, CLG_SHAPE(POINTS, 1));
    clg_tensor  *loss  = clg_mse(clg_nn_linear(model, "dense", tx, &(clg_linear_desc){.features = 1}), ty);
    clg_plan    *step  = clg_plan_train(loss, clg_sgd_create(model, &(clg_sgd_desc){.lr = 0.1f}));

    clg_tensor_write(tx, x, sizeof x); /* all points are one batch, and stay on the device */
    clg_tensor_write(ty, y, sizeof y);
    for (int epoch = 0; epoch < EPOCHS; epoch++) clg_plan_run(step);

    for (size_t i = 0; i < clg_model_count(model); i++) /* dense.weight [1, 1] and dense.bias [1] */
        clg_model_read(model, i, clg_shape_equal(clg_model_shape(model, i), CLG_SHAPE(1)) ? &intercept : &slope, 1);
    /* What the noise leaves unknown: the standard errors of a least-squares fit. */
    printf("slope %.4f +- %.4f  intercept %.4f +- %.4f  loss %.4f\n", (double)slope, noise / sqrt(spread),
           (double)intercept, noise * sqrt(1.0 / POINTS + mean * mean / spread), clg_tensor_scalar(loss));
    const bool failed = clg_context_failed(ctx);
    if (failed) fprintf(stderr, "linear_regression: %s\n", clg_context_error(ctx)); /* the first error sticks */
    clg_context_destroy(&ctx); /* owns everything created from it */
    return failed;
}
