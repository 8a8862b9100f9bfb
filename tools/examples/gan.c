/* gan.c [EPOCHS [DIR [DEVICE]]] - a generative adversarial network (Goodfellow et al. 2014) on images of 28 x 28 in IDX
 * files; writes gan.png: pictures made of random points.
 *
 * Two models, two optimisers, two plans of one graph: each updates its own model and takes the other as it is.
 *
 * cc gan.c $(pkg-config --cflags --libs clgrad) -o gan */
#include <clgrad/clgrad.h>
#include "sheet.h"

enum { BATCH = 100, LATENT = 64, SIDE = 28 };

static clg_tensor *dense(clg_model *m, const char *name, clg_tensor *x, int features)
{
    return clg_nn_linear(m, name, x, &(clg_linear_desc){.features = features, .init = CLG_INIT_HE_UNIFORM});
}

static clg_tensor *generator(clg_model *m, clg_tensor *z) /* [N, LATENT] -> [N, SIDE * SIDE] */
{
    z = clg_leaky_relu(dense(m, "fc1", z, 256), 0.2);
    z = clg_leaky_relu(dense(m, "fc2", z, 512), 0.2);
    return clg_sigmoid(dense(m, "fc3", z, SIDE * SIDE));
}

static clg_tensor *discriminator(clg_model *m, clg_tensor *x) /* -> [N, 1]: the logit that it is real */
{
    x = clg_nn_dropout(m, clg_leaky_relu(dense(m, "fc1", x, 256), 0.2), 0.3);
    x = clg_nn_dropout(m, clg_leaky_relu(dense(m, "fc2", x, 128), 0.2), 0.3);
    return dense(m, "fc3", x, 1);
}

int main(int argc, char **argv)
{
    const unsigned epochs = argc > 1 ? (unsigned)atoi(argv[1]) : 30;
    clg_context *ctx    = clg_context_create(&(clg_context_desc){.device = argc > 3 ? argv[3] : NULL});
    clg_dataset *data   = clg_dataset_open_idx(ctx, argc > 2 ? argv[2] : "/usr/share/datasets/fashion-mnist", "train");
    clg_model   *gen    = clg_model_create(ctx, &(clg_model_desc){.seed = 1});
    clg_model   *dis    = clg_model_create(ctx, &(clg_model_desc){.seed = 2});

    clg_graph  *g    = clg_graph_create(ctx, &(clg_graph_desc){.training = true});
    clg_tensor *x    = clg_input(g, CLG_F32, CLG_SHAPE(BATCH, 1, SIDE, SIDE));
    clg_tensor *y    = clg_input(g, CLG_I32, CLG_SHAPE(BATCH)); /* the loader's labels; unused */
    clg_tensor *z    = clg_input(g, CLG_F32, CLG_SHAPE(BATCH, LATENT));
    clg_tensor *real = discriminator(dis, clg_flatten(x, 1)), *fake = discriminator(dis, generator(gen, z));
    clg_tensor *ones = clg_full(g, CLG_SHAPE(BATCH, 1), 1.0), *zeros = clg_full(g, CLG_SHAPE(BATCH, 1), 0.0);
    clg_tensor *dis_loss = clg_add(clg_bce_with_logits(real, ones), clg_bce_with_logits(fake, zeros));
    clg_tensor *gen_loss = clg_bce_with_logits(fake, ones);
    const clg_adam_desc adam = {.lr = 2e-4f, .beta1 = 0.5};
    clg_plan   *dis_step = clg_plan_train(dis_loss, clg_adam_create(dis, &adam));
    clg_plan   *gen_step = clg_plan_train(gen_loss, clg_adam_create(gen, &adam));

    clg_graph  *eg    = clg_graph_create(ctx, NULL);
    clg_tensor *sheet = generator(gen, clg_share(eg, z));
    clg_plan   *draw  = clg_plan_create(sheet);

    static float noise[BATCH * LATENT], picture[BATCH * SIDE * SIDE];
    uint64_t     draws = 0;
    bool         ok = !clg_context_failed(ctx);
    for (unsigned epoch = 0; epoch < epochs && ok; epoch++) {
        clg_loader it = clg_loader_begin(data, &(clg_loader_desc){.batch = BATCH, .shuffle = true, .seed = epoch});
        while (clg_loader_next(&it, x, y)) {
            clg_fill_normal(noise, CLG_SHAPE(BATCH, LATENT), ++draws, 1.0);
            clg_tensor_write(z, noise, sizeof noise);
            clg_plan_run(dis_step);
            clg_plan_run(gen_step);
        }
        printf("epoch %u  discriminator %.4f  generator %.4f\n", epoch + 1, clg_tensor_scalar(dis_loss),
               clg_tensor_scalar(gen_loss));
        clg_fill_normal(noise, CLG_SHAPE(BATCH, LATENT), 0, 1.0); /* the same points every time */
        clg_tensor_write(z, noise, sizeof noise);
        clg_plan_run(draw);
        ok = !clg_tensor_read(sheet, picture, sizeof picture) &&
             sheet_write(ctx, "gan.png", picture, 10, 10, SIDE, SIDE);
    }
    if (clg_context_failed(ctx)) fprintf(stderr, "gan: %s\n", clg_context_error(ctx)); /* the first error sticks */
    clg_context_destroy(&ctx);
    return !ok;
}
