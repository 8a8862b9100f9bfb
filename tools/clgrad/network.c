/* network.c - the table of networks, and the way from --model to a graph. */
#include "network.h"
#include "source.h"
#include "spec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- resnet18: He et al. 2015, as torchvision has it, and with its names ----------------------------------------- */

static clg_tensor *conv_norm(clg_model *m, const char *at, const char *conv, const char *norm, clg_tensor *x,
                             int channels, int kernel, int stride)
{
    char name[64];
    snprintf(name, sizeof name, "%s%s", at, conv);
    x = clg_nn_conv2d(m, name, x,
                      &(clg_conv2d_desc){.channels = channels,
                                         .kernel = kernel,
                                         .stride = stride,
                                         .pad = kernel / 2,
                                         .no_bias = true,
                                         .init = CLG_INIT_HE_NORMAL_OUT});
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

/* ---- gpt: GPT-2 (Radford et al. 2019), small, with its names; the output layer has weights of its own ------------ */

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

static clg_optimizer *adamw(clg_model *m)
{
    return clg_adam_create(m, &(clg_adam_desc){.lr = 3e-4f, .weight_decay = 0.01});
}
/* A rate of 0.1 for 256 images, in proportion: Goyal et al., "Accurate, large minibatch SGD", 2017 */
static clg_optimizer *sgd(clg_model *m)
{
    return clg_sgd_create(m, &(clg_sgd_desc){.lr = 0.1f * 8 / 256, .momentum = 0.9f});
}
static clg_optimizer *adam(clg_model *m) { return clg_adam_create(m, NULL); }

static const network_kind kinds[] = {
    {.name = "cnn",
     .optimizer = adam,
     .example = {3, {1, 28, 28}},
     .classes = 10,
     .batch = 128,
     .spec = "conv1:conv2d(32,3) relu max_pool2d(2) flatten fc1:linear(128) relu fc2:linear(classes)"},
    {.name = "mlp",
     .optimizer = adam,
     .example = {3, {1, 28, 28}},
     .classes = 10,
     .batch = 128,
     .spec = "flatten fc1:linear(512) relu fc2:linear(512) relu fc3:linear(classes)"},
    {.name = "resnet18",
     .build = resnet18,
     .optimizer = sgd,
     .example = {3, {3, 224, 224}},
     .classes = 1000,
     .batch = 8},
    {.name = "gpt", .build = gpt, .optimizer = adamw, .example = {1, {256}}, .classes = 65, .batch = 8},
};

const network_kind *network_find(const char *name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (!strcmp(kinds[i].name, name)) return &kinds[i];
    return NULL;
}

/* ---- --model ----------------------------------------------------------------------------------------------------- */

/* A SPEC's file, to be freed; one byte more than is allowed tells that it is too long. */
static char *read_spec(const command *cmd, const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    char *text = file ? malloc(SPEC_MAX_TEXT + 1) : NULL;
    if (!file) return usage(cmd, "--model %s: %s", path, strerror(errno)), NULL;
    errno = 0;
    if (text) *size = fread(text, 1, SPEC_MAX_TEXT + 1, file);
    const bool failed = !text || ferror(file);
    if (failed) usage(cmd, "--model %s: %s", path, errno ? strerror(errno) : "cannot be read");
    else if (*size > SPEC_MAX_TEXT)
        usage(cmd, "--model %s: more than %d characters, which is no network", path, SPEC_MAX_TEXT);
    if (failed || *size > SPEC_MAX_TEXT) free(text), text = NULL;
    fclose(file);
    return text;
}

/* `path` is the file that the text is in, or NULL. */
static int refuse(const command *cmd, const char *path, const char *text, size_t size, const spec_error *error)
{
    const bool named = cmd == &command_train || path;
    char       shown[1024];
    return usage(cmd, "%s%s%s%s%s", named ? "--model" : "", path ? " " : "", path ? path : "", named ? ": " : "",
                 spec_show(text, size, error, shown, sizeof shown));
}

char *network_model(const command *cmd, const char *given)
{
    const size_t length = strlen(given);
    const bool   is_file = given[0] == '@' || ends_with(given, ".spec");
    size_t       size = length;
    char        *text = is_file ? read_spec(cmd, given + (given[0] == '@'), &size) : strdup(given), *compact = NULL;
    spec_error   error = {"out of memory", 0};
    if (!text) return NULL;
    if (!is_file && network_find(given)) return text;
    spec *s = spec_parse(text, size, &error);
    if (s) compact = malloc(size + 1);
    if (compact) {
        spec_compact(text, size, compact);
    } else {
        if (!is_file && !strpbrk(given, " (:\t\n")) /* one word: it might have been meant for a name */
            snprintf(error.text + strlen(error.text), sizeof error.text - strlen(error.text), " (networks: %s)",
                     NETWORK_NAMES);
        refuse(cmd, is_file ? given + (given[0] == '@') : NULL, text, size, &error);
    }
    free(s);
    free(text);
    return compact;
}

clg_tensor *network_input(clg_graph *g, const network *net, int64_t rows)
{
    clg_shape shape = {.rank = net->input.rank + 1, .dim = {rows}};
    for (int d = 0; d < net->input.rank; d++) shape.dim[d + 1] = net->input.dim[d];
    return clg_input(g, CLG_F32, shape);
}

/* The layers one after another; false with the error. */
static bool try_layers(const spec *s, clg_model *model, clg_tensor *x, network *net, int classes, spec_error *error)
{
    clg_context *ctx = clg_model_context(model);
    char         shape[128];
    for (size_t i = 0; i < s->count; i++) {
        x = spec_build_layer(s, i, model, x, classes);
        error->at = s->layer[i].at;
        if (!x) return snprintf(error->text, sizeof error->text, "%s", clg_context_error(ctx)), false;
    }
    const clg_shape y = clg_tensor_shape(x);
    const char     *last = s->layer[s->count - 1].kind->name;
    if (!strcmp(last, "softmax"))
        snprintf(error->text, sizeof error->text, "softmax at the end: leave it out, the loss has its own");
    else if (y.rank != 2)
        snprintf(error->text, sizeof error->text,
                 "the network ends with %s and not with [N, classes]: is there a flatten missing?",
                 clg_shape_text(y, shape, sizeof shape));
    else if (net->classes && y.dim[1] != net->classes)
        snprintf(error->text, sizeof error->text, "the network has %lld outputs for %d classes", (long long)y.dim[1],
                 net->classes);
    else if (y.dim[1] > NETWORK_MAX_CLASSES)
        snprintf(error->text, sizeof error->text, "the network has %lld outputs, and there are %d classes at most",
                 (long long)y.dim[1], NETWORK_MAX_CLASSES);
    else if (!clg_model_count(model))
        snprintf(error->text, sizeof error->text, "the network has nothing to learn");
    else
        net->classes = (int)y.dim[1];
    return !*error->text;
}

int network_check(const command *cmd, clg_context *ctx, network *net, int classes)
{
    if (net->classes) classes = net->classes;
    if (network_find(net->model)) {
        net->classes = classes;
        return 0;
    }
    spec_error error = {"", 0};
    spec      *s = spec_parse(net->model, strlen(net->model), &error);
    clg_model *model = clg_model_create(ctx, NULL);
    clg_graph *g = clg_graph_create(ctx, NULL);
    clg_tensor *x = network_window(net, network_input(g, net, 2));
    int status = !s || !x ? EXIT_RUN : 0;
    if (!status && !try_layers(s, model, x, net, classes, &error)) {
        clg_context_clear_error(ctx);
        status = refuse(cmd, NULL, net->model, strlen(net->model), &error);
    } else if (status) {
        fail_context(cmd, ctx);
    }
    clg_graph_destroy(&g);
    clg_model_destroy(&model);
    free(s);
    return status;
}

/* ---- graphs ------------------------------------------------------------------------------------------------------ */

clg_tensor *network_kind_build(const network_kind *kind, clg_model *model, clg_tensor *x, int classes)
{
    if (!kind->spec) return kind->build(model, x, classes);
    spec *s = spec_parse(kind->spec, strlen(kind->spec), NULL);
    x = s ? spec_build(s, model, x, classes) : NULL;
    free(s);
    return x;
}

clg_tensor *network_window(const network *net, clg_tensor *x)
{
    if (!x || !net->window.rank) return x;
    const clg_shape shape = clg_tensor_shape(x);
    if (shape.dim[2] == net->window.dim[0] && shape.dim[3] == net->window.dim[1]) return x;
    return clg_augment(x, &(clg_augment_desc){.crop_hw = {(int)net->window.dim[0], (int)net->window.dim[1]}});
}

/* One number for each place of the first axis of an example, as [1, places, 1, ...]. */
static clg_tensor *by_channel(clg_tensor *x, const float *value)
{
    clg_shape shape = {.rank = clg_tensor_shape(x).rank, .dim = {1, 1, 1, 1, 1, 1}};
    shape.dim[1] = clg_tensor_shape(x).dim[1];
    clg_tensor *t = clg_state(clg_tensor_graph(x), CLG_F32, shape);
    clg_tensor_write(t, value, (size_t)shape.dim[1] * sizeof *value);
    return t;
}

clg_tensor *network_build(const network *net, clg_model *model, clg_tensor *x)
{
    x = network_window(net, x);
    if (x && net->mean) x = clg_sub(x, by_channel(x, net->mean));
    if (x && net->std) x = clg_div(x, by_channel(x, net->std));
    const network_kind *kind = network_find(net->model);
    const network_kind  listed = {.spec = net->model};
    return network_kind_build(kind ? kind : &listed, model, x, net->classes);
}

int64_t network_elements(const clg_model *model, size_t from, size_t to, bool states)
{
    int64_t sum = 0;
    for (size_t i = from; i < to; i++)
        if (clg_model_is_state(model, i) == states) sum += clg_shape_count(clg_model_shape(model, i));
    return sum;
}

const char *network_word(const network *net) { return net->input.rank == 3 ? "images" : "examples"; }

const char *network_class_name(const network *net, int class, char number[16])
{
    if (net->class_names) return net->class_names[class];
    snprintf(number, 16, "%d", class);
    return number;
}

bool network_fits(const network *net, const clg_dataset *data, const char *part, char *error, size_t size)
{
    const clg_shape have = clg_dataset_shape(data);
    clg_shape       one = {.rank = have.rank - 1};
    for (int d = 0; d < one.rank; d++) one.dim[d] = have.dim[d + 1];
    const long long largest = (long long)clg_dataset_classes(data) - 1;
    if (!clg_shape_equal(one, net->input)) {
        char want_text[128], have_text[128];
        snprintf(error, size, "the %s %s are %s and the network takes %s", part, have.rank == 4 ? "images" : "examples",
                 clg_shape_text(one, have_text, sizeof have_text),
                 clg_shape_text(net->input, want_text, sizeof want_text));
        return false;
    }
    if (net->regression != (clg_dataset_outputs(data) > 0)) {
        snprintf(error, size, "the %s data have %s and the network predicts %s", part,
                 net->regression ? "classes" : "numbers", net->regression ? "numbers" : "classes");
        return false;
    }
    if (net->regression && clg_dataset_outputs(data) != net->classes) {
        snprintf(error, size, "the %s data have %lld targets and the network predicts %d", part,
                 (long long)clg_dataset_outputs(data), net->classes);
        return false;
    }
    if (largest >= net->classes) {
        snprintf(error, size, "the %s labels reach %lld and the network has %d classes, 0 to %d", part, largest,
                 net->classes, net->classes - 1);
        return false;
    }
    return true;
}
