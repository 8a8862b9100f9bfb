/* vae.c [EPOCHS [DIR [DEVICE]]] - a variational autoencoder (Kingma & Welling 2013) on images of 28 x 28 in IDX files;
 * writes vae.png: pictures decoded from random points.
 *
 * cc vae.c $(pkg-config --cflags --libs clgrad) -o vae */
#include <clgrad/clgrad.h>
#include "sheet.h"

enum { BATCH = 100, LATENT = 16, HIDDEN = 256, SIDE = 28 };

static clg_tensor *linear(clg_model *m, const char *name, clg_tensor *x, int features)
{
    return clg_nn_linear(m, name, x, &(clg_linear_desc){.features = features});
}

/* z [N, LATENT] -> the logits of the pictures [N, SIDE * SIDE] */
static clg_tensor *decoder(clg_model *m, clg_tensor *z)
{
    return linear(m, "picture", clg_relu(linear(m, "decode", z, HIDDEN)), SIDE * SIDE);
}

int main(int argc, char **argv)
{
    const unsigned epochs = argc > 1 ? (unsigned)atoi(argv[1]) : 20;
    clg_context *ctx    = clg_context_create(&(clg_context_desc){.device = argc > 3 ? argv[3] : NULL});
    clg_dataset *data   = clg_dataset_open_idx(ctx, argc > 2 ? argv[2] : "/usr/share/datasets/fashion-mnist", "train");
    clg_model   *m      = clg_model_create(ctx, &(clg_model_desc){.seed = 1});

    clg_graph  *g    = clg_graph_create(ctx, &(clg_graph_desc){.training = true});
    clg_tensor *x    = clg_input(g, CLG_F32, CLG_SHAPE(BATCH, 1, SIDE, SIDE));
    clg_tensor *y    = clg_input(g, CLG_I32, CLG_SHAPE(BATCH)); /* the loader's labels; unused */
    clg_tensor *eps  = clg_input(g, CLG_F32, CLG_SHAPE(BATCH, LATENT));
    clg_tensor *flat = clg_flatten(x, 1);
    clg_tensor *h    = clg_relu(linear(m, "encode", flat, HIDDEN));
    clg_tensor *mean = linear(m, "mean", h, LATENT), *log_var = linear(m, "log_var", h, LATENT);
    clg_tensor *z    = clg_add(mean, clg_mul(clg_exp(clg_scale(log_var, 0.5)), eps)); /* so z can be differentiated */

    /* In nats a picture: the decoder's error, and KL(N(mean, var) || N(0, 1)) = sum(mean^2 + var - log var - 1) / 2. */
    clg_tensor *wrong = clg_scale(clg_bce_with_logits(decoder(m, z), flat), SIDE * SIDE);
    clg_tensor *excess = clg_sub(clg_add(clg_mul(mean, mean), clg_exp(log_var)), clg_add(log_var, clg_scalar(g, 1.0)));
    clg_tensor *kl    = clg_scale(clg_mean(excess, NULL), 0.5 * LATENT);
    clg_tensor *loss  = clg_add(wrong, kl);
    clg_plan   *step  = clg_plan_train_with(loss, clg_adam_create(m, &(clg_adam_desc){.lr = 1e-3f}), &kl, 1);

    clg_graph  *eg    = clg_graph_create(ctx, NULL);
    clg_tensor *sheet = clg_sigmoid(decoder(m, clg_share(eg, eps)));
    clg_plan   *draw  = clg_plan_create(sheet);

    static float noise[BATCH * LATENT], picture[BATCH * SIDE * SIDE];
    uint64_t     draws = 0;
    bool         ok = !clg_context_failed(ctx);
    for (unsigned epoch = 0; epoch < epochs && ok; epoch++) {
        clg_loader it = clg_loader_begin(data, &(clg_loader_desc){.batch = BATCH, .shuffle = true, .seed = epoch});
        while (clg_loader_next(&it, x, y)) {
            clg_fill_normal(noise, CLG_SHAPE(BATCH, LATENT), ++draws, 1.0);
            clg_tensor_write(eps, noise, sizeof noise);
            clg_plan_run(step);
        }
        printf("epoch %u  loss %.2f  of it KL %.2f\n", epoch + 1, clg_tensor_scalar(loss), clg_tensor_scalar(kl));
        clg_fill_normal(noise, CLG_SHAPE(BATCH, LATENT), 0, 1.0); /* the same points every time */
        clg_tensor_write(eps, noise, sizeof noise);
        clg_plan_run(draw);
        ok = !clg_tensor_read(sheet, picture, sizeof picture) &&
             sheet_write(ctx, "vae.png", picture, 10, 10, SIDE, SIDE);
    }
    if (clg_context_failed(ctx)) fprintf(stderr, "vae: %s\n", clg_context_error(ctx)); /* the first error sticks */
    clg_context_destroy(&ctx);
    return !ok;
}
