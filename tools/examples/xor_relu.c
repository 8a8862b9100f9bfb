/* xor_relu.c [DEVICE] - XOR by Dense(2) ReLU and Dense(1) sigmoid, under binary cross-entropy and Adam.
 *
 * Two hidden units are just enough, so a start decides: where a unit is zero on all four rows it stays so, and the loss
 * ends at log 2, or two thirds or a half of it. Most seeds
 * end there. Therefore several are tried; success is one that gets all four right.
 *
 * cc xor_relu.c $(pkg-config --cflags --libs clgrad) -o xor_relu */
#include <clgrad/clgrad.h>
#include <stdio.h>

enum { SEEDS = 10, STEPS = 1000 };

static const float inputs[4][2] = {{0, 0}, {0, 1}, {1, 0}, {1, 1}};
static const float targets[4]   = {0, 1, 1, 0};

/* The number of rows that the network gets right; p is what it says of each. */
static int train(clg_context *ctx, uint64_t seed, float *p)
{
    clg_model  *model = clg_model_create(ctx, &(clg_model_desc){.seed = seed});
    clg_graph  *g     = clg_graph_create(ctx, &(clg_graph_desc){.training = true});
    clg_tensor *x     = clg_input(g, CLG_F32, CLG_SHAPE(4, 2));
    clg_tensor *y     = clg_input(g, CLG_F32, CLG_SHAPE(4, 1));
    clg_tensor *h     = clg_relu(clg_nn_linear(model, "hidden", x, &(clg_linear_desc){.features = 2}));
    clg_tensor *logit = clg_nn_linear(model, "out", h, &(clg_linear_desc){.features = 1});
    clg_tensor *loss  = clg_bce_with_logits(logit, y); /* the sigmoid is in the loss, where it cannot overflow */
    clg_plan   *step  = clg_plan_train(loss, clg_adam_create(model, &(clg_adam_desc){.lr = 0.02f}));
    clg_tensor *prob  = clg_sigmoid(logit);
    clg_plan   *eval  = clg_plan_create(prob);

    clg_tensor_write(x, inputs, sizeof inputs);
    clg_tensor_write(y, targets, sizeof targets);
    for (int i = 0; i < STEPS; i++) clg_plan_run(step);
    clg_plan_run(eval);
    int right = 0;
    if (clg_tensor_read(prob, p, sizeof targets) == CLG_OK)
        for (int i = 0; i < 4; i++) right += (p[i] > 0.5f) == (targets[i] > 0.5f);
    printf("seed %2llu  loss %.4f  0^0 %.3f  0^1 %.3f  1^0 %.3f  1^1 %.3f  %s\n", (unsigned long long)seed,
           clg_tensor_scalar(loss), (double)p[0], (double)p[1], (double)p[2], (double)p[3],
           right == 4 ? "solved" : "stuck");
    clg_plan_destroy(&eval);
    clg_plan_destroy(&step);
    return right;
}

int main(int argc, char **argv)
{
    clg_context *ctx    = clg_context_create(&(clg_context_desc){.device = argc > 1 ? argv[1] : NULL});
    int          solved = 0;
    for (uint64_t seed = 1; seed <= SEEDS && !clg_context_failed(ctx); seed++)
        solved += train(ctx, seed, (float[4]){0}) == 4;
    printf("%d of %d seeds solved\n", solved, SEEDS);
    if (clg_context_failed(ctx)) fprintf(stderr, "xor_relu: %s\n", clg_context_error(ctx));
    const bool failed = clg_context_failed(ctx) || solved == 0;
    clg_context_destroy(&ctx);
    return failed;
}
