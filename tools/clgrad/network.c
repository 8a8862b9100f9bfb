/* network.c - cnn: conv2d 32 3x3, ReLU, max pool 2x2, linear 128, ReLU, linear; mlp: linear 512, ReLU, twice, linear.
 *
 * Metadata: "network" is the name, "classes" the number of outputs, "image" the input's "channels,height,width". */
#include "network.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static clg_tensor *cnn(clg_model *m, clg_tensor *x, int classes)
{
    x = clg_relu(clg_nn_conv2d(m, "conv1", x, &(clg_conv2d_desc){.channels = 32, .kernel = 3}));
    x = clg_flatten(clg_max_pool2d(x, &(clg_pool2d_desc){.kernel = 2}), 1);
    x = clg_relu(clg_nn_linear(m, "fc1", x, &(clg_linear_desc){.features = 128}));
    return clg_nn_linear(m, "fc2", x, &(clg_linear_desc){.features = classes});
}

static clg_tensor *mlp(clg_model *m, clg_tensor *x, int classes)
{
    x = clg_relu(clg_nn_linear(m, "fc1", clg_flatten(x, 1), &(clg_linear_desc){.features = 512}));
    x = clg_relu(clg_nn_linear(m, "fc2", x, &(clg_linear_desc){.features = 512}));
    return clg_nn_linear(m, "fc3", x, &(clg_linear_desc){.features = classes});
}

/* ---- resnet18: He et al. 2015, as torchvision has it, and with its names ----------------------------------------- */

static clg_tensor *conv_norm(clg_model *m, const char *at, const char *conv, const char *norm, clg_tensor *x, int channels,
                             int kernel, int stride)
{
    char name[64];
    snprintf(name, sizeof name, "%s%s", at, conv);
    x = clg_nn_conv2d(m, name, x, &(clg_conv2d_desc){.channels = channels, .kernel = kernel, .stride = stride,
                                                     .pad = kernel / 2, .no_bias = true, .init = CLG_INIT_HE_NORMAL_OUT});
    snprintf(name, sizeof name, "%s%s", at, norm);
    return clg_nn_batch_norm2d(m, name, x, NULL);
}

static clg_tensor *basic_block(clg_model *m, const char *at, clg_tensor *x, int channels, int stride)
{
    clg_tensor *y = clg_relu(conv_norm(m, at, "conv1", "bn1", x, channels, 3, stride));
    y = conv_norm(m, at, "conv2", "bn2", y, channels, 3, 1);
    if (clg_tensor_shape(x).dim[1] != channels || stride != 1)
        x = conv_norm(m, at, "downsample.0", "downsample.1", x, channels, 1, stride);
    return clg_relu(clg_add(y, x));
}

static clg_tensor *resnet18(clg_model *m, clg_tensor *x, int classes)
{
    x = clg_relu(conv_norm(m, "", "conv1", "bn1", x, 64, 7, 2));
    x = clg_max_pool2d(x, &(clg_pool2d_desc){.kernel = 3, .stride = 2, .pad = 1});
    for (int stage = 1, channels = 64; stage <= 4; stage++, channels *= 2)
        for (int block = 0; block < 2; block++) {
            char at[16];
            snprintf(at, sizeof at, "layer%d.%d.", stage, block);
            x = basic_block(m, at, x, channels, stage > 1 && block == 0 ? 2 : 1);
        }
    return clg_nn_linear(m, "fc", clg_global_avg_pool2d(x), &(clg_linear_desc){.features = classes});
}

/* ---- gpt: GPT-2 (Radford et al. 2019), small, with its names; the output layer has weights of its own ---------------- */

enum { GPT_LAYERS = 6, GPT_HEADS = 6, GPT_WIDTH = 384 };

static clg_tensor *dense(clg_model *m, const char *at, const char *layer, clg_tensor *x, int features)
{
    char name[64];
    snprintf(name, sizeof name, "%s%s", at, layer);
    return clg_nn_linear(m, name, x, &(clg_linear_desc){.features = features, .init = CLG_INIT_GPT2});
}

static clg_tensor *norm(clg_model *m, const char *at, const char *layer, clg_tensor *x)
{
    char name[64];
    snprintf(name, sizeof name, "%s%s", at, layer);
    return clg_nn_layer_norm(m, name, x, NULL);
}

/* tokens i32 [N, context] -> logits of the token after each [N * context, classes] */
static clg_tensor *gpt(clg_model *m, clg_tensor *tokens, int classes)
{
    const clg_shape places = CLG_SHAPE(clg_tensor_shape(tokens).dim[1], GPT_WIDTH);
    clg_tensor *x = clg_nn_embedding(m, "wte", tokens, &(clg_embedding_desc){classes, GPT_WIDTH, CLG_INIT_GPT2});
    x = clg_add(x, clg_model_parameter(m, clg_tensor_graph(tokens), "wpe.weight", places, clg_fill_normal, 0.02));
    for (int layer = 0; layer < GPT_LAYERS; layer++) {
        char at[16];
        snprintf(at, sizeof at, "h.%d.", layer);
        clg_tensor *y = dense(m, at, "attn.c_attn", norm(m, at, "ln_1", x), 3 * GPT_WIDTH);
        y = clg_attention(y, &(clg_attention_desc){.heads = GPT_HEADS, .causal = true});
        x = clg_add(x, dense(m, at, "attn.c_proj", y, GPT_WIDTH));
        y = clg_gelu_tanh(dense(m, at, "mlp.c_fc", norm(m, at, "ln_2", x), 4 * GPT_WIDTH));
        x = clg_add(x, dense(m, at, "mlp.c_proj", y, GPT_WIDTH));
    }
    x = dense(m, "", "lm_head", norm(m, "", "ln_f", x), classes);
    return clg_reshape(x, CLG_SHAPE(-1, classes));
}

static clg_optimizer *adamw(clg_model *m) { return clg_adam_create(m, &(clg_adam_desc){.lr = 3e-4f, .weight_decay = 0.01}); }
static clg_optimizer *sgd(clg_model *m) { return clg_sgd_create(m, &(clg_sgd_desc){.lr = 0.01f, .momentum = 0.9f}); }
static clg_optimizer *adam(clg_model *m) { return clg_adam_create(m, NULL); }

static const network_kind kinds[] = {
    {.name = "cnn", .build = cnn, .optimizer = adam, .example = {3, {1, 28, 28}}, .classes = 10, .batch = 128},
    {.name = "mlp", .build = mlp, .optimizer = adam, .example = {3, {1, 28, 28}}, .classes = 10, .batch = 128},
    {.name = "resnet18", .build = resnet18, .optimizer = sgd, .example = {3, {3, 224, 224}}, .classes = 1000, .batch = 8},
    {.name = "gpt", .build = gpt, .optimizer = adamw, .example = {1, {256}}, .classes = 65, .batch = 8},
};

const network_kind *network_find(const char *name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (!strcmp(kinds[i].name, name)) return &kinds[i];
    return NULL;
}

clg_tensor *network_build(const network *net, clg_model *model, clg_tensor *x)
{
    const network_kind *kind = network_find(net->name);
    return kind ? kind->build(model, x, net->classes) : NULL;
}

clg_status network_save(const network *net, clg_model *model, const char *path)
{
    char classes[16], image[64];
    snprintf(classes, sizeof classes, "%d", net->classes);
    snprintf(image, sizeof image, "%lld,%lld,%lld", (long long)net->image.dim[0], (long long)net->image.dim[1],
             (long long)net->image.dim[2]);
    const clg_metadata meta[] = {{"network", net->name}, {"classes", classes}, {"image", image}};
    return clg_model_save_with(model, path, meta, sizeof meta / sizeof meta[0]);
}

clg_status network_describe(clg_context *ctx, const char *path, network *net)
{
    char       name[sizeof net->name], classes[16], image[64], end;
    clg_status status = clg_file_metadata(ctx, path, "network", name, sizeof name);
    if (!status) status = clg_file_metadata(ctx, path, "classes", classes, sizeof classes);
    if (!status) status = clg_file_metadata(ctx, path, "image", image, sizeof image);
    if (status) return status;

    long long c = 0, h = 0, w = 0;
    int       n = 0;
    const bool well_formed = network_find(name) && sscanf(classes, "%5d%c", &n, &end) == 1 && n >= 1 &&
                             n <= NETWORK_MAX_CLASSES &&
                             sscanf(image, "%9lld,%9lld,%9lld%c", &c, &h, &w, &end) == 3 && c > 0 && h > 0 && w > 0;
    if (!well_formed) return CLG_FORMAT;
    *net = (network){.classes = n, .image = CLG_SHAPE(c, h, w)};
    memcpy(net->name, name, sizeof name);
    return CLG_OK;
}

bool network_fits(const network *net, const clg_dataset *data, const char *part, char *error, size_t size)
{
    const clg_shape have = clg_dataset_shape(data);
    const clg_shape image = CLG_SHAPE(have.dim[1], have.dim[2], have.dim[3]);
    const long long largest = (long long)clg_dataset_classes(data) - 1;
    if (!clg_shape_equal(image, net->image)) {
        char want_text[128], have_text[128];
        snprintf(error, size, "the %s images are %s and the network takes %s", part,
                 clg_shape_text(image, have_text, sizeof have_text),
                 clg_shape_text(net->image, want_text, sizeof want_text));
        return false;
    }
    if (largest >= net->classes) {
        snprintf(error, size, "the %s labels reach %lld and the network has %d classes, 0 to %d", part, largest,
                 net->classes, net->classes - 1);
        return false;
    }
    return true;
}
