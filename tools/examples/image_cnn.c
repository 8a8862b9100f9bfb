/* image_cnn.c DIR [DEVICE] - train a small convolutional network on images in IDX files, such as MNIST.
 *
 * cc image_cnn.c $(pkg-config --cflags --libs clgrad) -o image_cnn */
#include <clgrad/clgrad.h>
#include <stdio.h>

enum { BATCH = 100, EPOCHS = 5 };

static clg_tensor *network(clg_model *m, clg_tensor *x)
{
    x = clg_nn_conv2d(m, "conv1", x, &(clg_conv2d_desc){.channels = 32, .kernel = 3, .pad = 1});
    x = clg_max_pool2d(clg_relu(x), &(clg_pool2d_desc){.kernel = 2});
    x = clg_nn_conv2d(m, "conv2", x, &(clg_conv2d_desc){.channels = 64, .kernel = 3, .pad = 1});
    x = clg_max_pool2d(clg_relu(x), &(clg_pool2d_desc){.kernel = 2});
    x = clg_relu(clg_nn_linear(m, "fc1", clg_flatten(x, 1), &(clg_linear_desc){.features = 128}));
    return clg_nn_linear(m, "fc2", x, &(clg_linear_desc){.features = 10});
}

int main(int argc, char **argv)
{
    const char *dir = argc > 1 ? argv[1] : "/usr/share/datasets/fashion-mnist";
    const char *dev = argc > 2 ? argv[2] : NULL; /* NULL: the best device found */

    clg_context *ctx   = clg_context_create(&(clg_context_desc){.device = dev});
    clg_model   *net   = clg_model_create(ctx, &(clg_model_desc){.seed = 1});
    clg_dataset *train = clg_dataset_open_idx(ctx, dir, "train");
    clg_dataset *test  = clg_dataset_open_idx(ctx, dir, "t10k");

    /* One function, two graphs, one set of parameters. */
    clg_graph  *tg   = clg_graph_create(ctx, &(clg_graph_desc){.training = true});
    clg_tensor *x    = clg_input(tg, CLG_F32, CLG_SHAPE(BATCH, 1, 28, 28));
    clg_tensor *y    = clg_input(tg, CLG_I32, CLG_SHAPE(BATCH));
    clg_tensor *loss = clg_cross_entropy(network(net, x), y);
    clg_plan   *step = clg_plan_train(loss, clg_adam_create(net, &(clg_adam_desc){.lr = 1e-3f}));

    clg_graph  *eg   = clg_graph_create(ctx, NULL);
    clg_tensor *ex   = clg_input(eg, CLG_F32, CLG_SHAPE(BATCH, 1, 28, 28));
    clg_tensor *ey   = clg_input(eg, CLG_I32, CLG_SHAPE(BATCH));
    clg_tensor *hits = clg_count_correct(network(net, ex), ey);
    clg_plan   *eval = clg_plan_create(hits);

    for (unsigned epoch = 0; epoch < EPOCHS && !clg_context_failed(ctx); epoch++) {
        clg_loader it = clg_loader_begin(train, &(clg_loader_desc){.batch = BATCH, .shuffle = true, .seed = epoch});
        while (clg_loader_next(&it, x, y)) clg_plan_run(step); /* enqueues, never waits */
        double right = 0.0;
        it = clg_loader_begin(test, &(clg_loader_desc){.batch = BATCH});
        for (; clg_loader_next(&it, ex, ey); right += clg_tensor_scalar(hits)) clg_plan_run(eval);
        printf("epoch %u  loss %.4f  accuracy %.2f%%\n", epoch + 1, clg_tensor_scalar(loss),
               100.0 * right / (double)clg_dataset_count(test));
    }
    const bool failed = clg_context_failed(ctx) || clg_model_save(net, "image_cnn.safetensors");
    if (failed) fprintf(stderr, "image_cnn: %s\n", clg_context_error(ctx)); /* the first error sticks */
    clg_context_destroy(&ctx); /* owns everything created from it */
    return failed;
}
