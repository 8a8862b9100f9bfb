/* transfer.c [DIR [DEVICE]] - convolutions learnt on classes 0 to 4 of IDX files serve classes 5 to 9, of which only
 * those among the first 1000 images are seen: a new head on them frozen, then all; beside it, a head on random ones.
 * Features and heads are models of their own: an optimiser updates its model and takes others as they are.
 *
 * cc transfer.c $(pkg-config --cflags --libs clgrad) -o transfer */
#include <clgrad/clgrad.h>
#include <stdio.h>

enum { BATCH = 100, FEW = 1000 };

typedef struct stage {
    clg_tensor *x[2], *y[2], *hits, *rows; /* of training and of testing; what the test counts */
    clg_plan   *head_step, *features_step, *eval;
} stage;

static clg_tensor *network(clg_model *features, clg_model *head, clg_tensor *x)
{
    x = clg_relu(clg_nn_conv2d(features, "conv1", x, &(clg_conv2d_desc){.channels = 16, .kernel = 3, .pad = 1}));
    x = clg_max_pool2d(x, &(clg_pool2d_desc){.kernel = 2});
    x = clg_relu(clg_nn_conv2d(features, "conv2", x, &(clg_conv2d_desc){.channels = 32, .kernel = 3, .pad = 1}));
    x = clg_max_pool2d(x, &(clg_pool2d_desc){.kernel = 2});
    x = clg_relu(clg_nn_linear(head, "fc", clg_flatten(x, 1), &(clg_linear_desc){.features = 64}));
    return clg_nn_linear(head, "out", x, &(clg_linear_desc){.features = 5});
}

static stage prepare(clg_context *ctx, clg_model *features, clg_model *head, int first, bool frozen)
{
    stage s = {0};
    for (int i = 0; i < 2; i++) {
        clg_graph  *g   = clg_graph_create(ctx, &(clg_graph_desc){.training = i == 0});
        clg_tensor *map = clg_input(g, CLG_I32, CLG_SHAPE(10));
        int32_t     to[10]; /* five labels become 0 to 4, the others -1, which losses and counts leave out */
        for (int c = 0; c < 10; c++) to[c] = c >= first && c < first + 5 ? c - first : -1;
        clg_tensor_write(map, to, sizeof to);
        s.x[i] = clg_input(g, CLG_F32, CLG_SHAPE(BATCH, 1, 28, 28));
        s.y[i] = clg_input(g, CLG_I32, CLG_SHAPE(BATCH));
        clg_tensor *label = clg_take_rows(map, s.y[i], 0.0, 0.0), *logits = network(features, head, s.x[i]);
        clg_tensor *loss = clg_cross_entropy(logits, label);
        if (i == 0) s.head_step = clg_plan_train(loss, clg_adam_create(head, NULL));
        if (i == 0 && !frozen) s.features_step = clg_plan_train(loss, clg_adam_create(features, NULL));
        s.hits = clg_count_correct(logits, label);
        s.rows = clg_sum(clg_less_equal(clg_scalar(g, 0.0), label), NULL);
    }
    s.eval = clg_plan_create_all((clg_tensor *[]){s.hits, s.rows}, 2);
    return s;
}

static void run(const char *name, stage s, clg_dataset *train, clg_dataset *test, uint64_t epochs)
{
    double     right = 0.0, rows = 0.0;
    clg_loader it;
    for (uint64_t epoch = 0; epoch < epochs; epoch++)
        for (it = clg_loader_begin(train, &(clg_loader_desc){.batch = BATCH, .shuffle = true, .seed = epoch});
             clg_loader_next(&it, s.x[0], s.y[0]); clg_plan_run(s.features_step)) /* NULL: nothing happens */
            clg_plan_run(s.head_step);
    it = clg_loader_begin(test, &(clg_loader_desc){.batch = BATCH});
    for (; clg_loader_next(&it, s.x[1], s.y[1]); right += clg_tensor_scalar(s.hits), rows += clg_tensor_scalar(s.rows))
        clg_plan_run(s.eval);
    if (rows > 0.0) printf("%s: accuracy %.2f%%\n", name, 100.0 * right / rows);
}

int main(int argc, char **argv)
{
    const char  *dir = argc > 1 ? argv[1] : "/usr/share/datasets/fashion-mnist";
    clg_context *ctx = clg_context_create(&(clg_context_desc){.device = argc > 2 ? argv[2] : NULL});
    clg_dataset *train = clg_dataset_open_idx(ctx, dir, "train"), *few = clg_dataset_open_idx(ctx, dir, "train");
    clg_dataset *test = clg_dataset_open_idx(ctx, dir, "t10k");
    clg_model   *m[4]; /* features, and three heads */
    for (uint64_t i = 0; i < 4; i++) m[i] = clg_model_create(ctx, &(clg_model_desc){.seed = 1 + i});
    clg_dataset_limit(few, FEW);
    run("classes 5 to 9, head on random features", prepare(ctx, m[0], m[1], 5, true), few, test, 20);
    run("classes 0 to 4, features and head", prepare(ctx, m[0], m[2], 0, false), train, test, 1);
    run("classes 5 to 9, new head on these features", prepare(ctx, m[0], m[3], 5, true), few, test, 20);
    run("classes 5 to 9, then all", prepare(ctx, m[0], m[3], 5, false), few, test, 20);
    const bool failed = clg_context_failed(ctx);
    if (failed) fprintf(stderr, "transfer: %s\n", clg_context_error(ctx)); /* the first error sticks */
    clg_context_destroy(&ctx);
    return failed;
}
