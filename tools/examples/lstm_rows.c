/* lstm_rows.c [EPOCHS [DIR [DEVICE]]] - an LSTM reads images of IDX files row by row and names their class.
 *
 * cc lstm_rows.c $(pkg-config --cflags --libs clgrad) -o lstm_rows */
#include <clgrad/clgrad.h>
#include <stdio.h>
#include <stdlib.h>

enum { BATCH = 100, SIDE = 28 };

static clg_tensor *network(clg_model *m, clg_tensor *x) /* rows become the steps of a sequence, columns features */
{
    x = clg_reshape(x, CLG_SHAPE(BATCH, SIDE, SIDE));
    x = clg_nn_lstm(m, "lstm", x, &(clg_recurrent_desc){.units = 64, .last = true});
    return clg_nn_linear(m, "out", x, &(clg_linear_desc){.features = 10});
}

int main(int argc, char **argv)
{
    const unsigned epochs = argc > 1 ? (unsigned)atoi(argv[1]) : 5;
    const char  *dir    = argc > 2 ? argv[2] : "/usr/share/datasets/fashion-mnist";
    clg_context *ctx    = clg_context_create(&(clg_context_desc){.device = argc > 3 ? argv[3] : NULL});
    clg_model   *net    = clg_model_create(ctx, &(clg_model_desc){.seed = 1});
    clg_dataset *train  = clg_dataset_open_idx(ctx, dir, "train");
    clg_dataset *test   = clg_dataset_open_idx(ctx, dir, "t10k");

    clg_graph  *tg   = clg_graph_create(ctx, &(clg_graph_desc){.training = true});
    clg_tensor *x    = clg_input(tg, CLG_F32, CLG_SHAPE(BATCH, 1, SIDE, SIDE));
    clg_tensor *y    = clg_input(tg, CLG_I32, CLG_SHAPE(BATCH));
    clg_tensor *loss = clg_cross_entropy(network(net, x), y);
    clg_plan   *step = clg_plan_train(loss, clg_adam_create(net, &(clg_adam_desc){.lr = 2e-3f}));

    clg_graph  *eg   = clg_graph_create(ctx, NULL);
    clg_tensor *ex   = clg_input(eg, CLG_F32, CLG_SHAPE(BATCH, 1, SIDE, SIDE));
    clg_tensor *ey   = clg_input(eg, CLG_I32, CLG_SHAPE(BATCH));
    clg_tensor *hits = clg_count_correct(network(net, ex), ey);
    clg_plan   *eval = clg_plan_create(hits);

    for (unsigned epoch = 0; epoch < epochs && !clg_context_failed(ctx); epoch++) {
        double     right = 0.0;
        clg_loader it = clg_loader_begin(train, &(clg_loader_desc){.batch = BATCH, .shuffle = true, .seed = epoch});
        while (clg_loader_next(&it, x, y)) clg_plan_run(step);
        it = clg_loader_begin(test, &(clg_loader_desc){.batch = BATCH});
        for (; clg_loader_next(&it, ex, ey); right += clg_tensor_scalar(hits)) clg_plan_run(eval);
        printf("epoch %u  loss %.4f  accuracy %.2f%%\n", epoch + 1, clg_tensor_scalar(loss),
               100.0 * right / (double)clg_dataset_count(test));
    }
    const bool failed = clg_context_failed(ctx);
    if (failed) fprintf(stderr, "lstm_rows: %s\n", clg_context_error(ctx)); /* the first error sticks */
    clg_context_destroy(&ctx);
    return failed;
}
