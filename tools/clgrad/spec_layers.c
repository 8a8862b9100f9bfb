/* spec_layers.c - the layers of a SPEC: a row gives a kind's name, its arguments with their limits, and how it is
 * built. */
#include "spec.h"

#include <stdio.h>

static clg_tensor *misfit(clg_tensor *x, const spec_site *at, const char *wanted)
{
    char shape[128];
    clg_context_fail(clg_tensor_context(x), CLG_INVALID_SHAPE, "%s takes %s, not %s", at->name, wanted,
                     clg_shape_text(clg_tensor_shape(x), shape, sizeof shape));
    return NULL;
}

static int units(const spec_site *at, int i) { return at->value[i].word ? at->classes : at->value[i].whole[0]; }

/* Calls that need nothing but x, and those with one number. */
#define PLAIN(name) \
    static clg_tensor *build_##name(const spec_site *at, clg_tensor *x) { return (void)at, clg_##name(x); }
#define WITH_REAL(name) \
    static clg_tensor *build_##name(const spec_site *at, clg_tensor *x) { return clg_##name(x, at->value[0].real); }

PLAIN(relu)
PLAIN(sigmoid)
PLAIN(tanh)
PLAIN(gelu)
PLAIN(gelu_tanh)
PLAIN(silu)
PLAIN(softplus)
PLAIN(softmax)
PLAIN(global_avg_pool2d)
PLAIN(global_max_pool2d)
WITH_REAL(leaky_relu)
WITH_REAL(elu)
WITH_REAL(scale)

static clg_tensor *build_linear(const spec_site *at, clg_tensor *x)
{
    return clg_nn_linear(at->model, at->name, x,
                         &(clg_linear_desc){.features = units(at, 0), .no_bias = !at->value[1].whole[0]});
}

static clg_tensor *build_conv2d(const spec_site *at, clg_tensor *x)
{
    const spec_value *v = at->value;
    clg_conv2d_desc   d = {.channels = units(at, 0), .groups = v[5].whole[0], .no_bias = !v[6].whole[0]};
    for (int i = 0; i < 2; i++) {
        const int kernel = v[1].whole[i], dilation = v[4].whole[i];
        d.kernel_hw[i] = kernel, d.stride_hw[i] = v[2].whole[i], d.dilation_hw[i] = dilation;
        d.pad_hw[i] = v[3].word ? dilation * (kernel - 1) / 2 : v[3].whole[i];
        if (v[3].word && dilation * (kernel - 1) % 2) {
            clg_context_fail(clg_model_context(at->model), CLG_INVALID_ARGUMENT, "%s: pad=same needs an odd kernel",
                             at->name);
            return NULL;
        }
    }
    return clg_nn_conv2d(at->model, at->name, x, &d);
}

static clg_tensor *pool2d(const spec_site *at, clg_tensor *x,
                          clg_tensor *(*pool)(clg_tensor *, const clg_pool2d_desc *))
{
    const spec_value *v = at->value;
    clg_pool2d_desc   d = {0};
    for (int i = 0; i < 2; i++)
        d.kernel_hw[i] = v[0].whole[i], d.stride_hw[i] = v[1].whole[i], d.pad_hw[i] = v[2].whole[i];
    return pool(x, &d);
}

static clg_tensor *build_max_pool2d(const spec_site *at, clg_tensor *x) { return pool2d(at, x, clg_max_pool2d); }
static clg_tensor *build_avg_pool2d(const spec_site *at, clg_tensor *x) { return pool2d(at, x, clg_avg_pool2d); }

static clg_tensor *build_adaptive_avg_pool2d(const spec_site *at, clg_tensor *x)
{
    return clg_adaptive_avg_pool2d(x, at->value[0].whole[0], at->value[0].whole[1]);
}

static clg_tensor *build_adaptive_max_pool2d(const spec_site *at, clg_tensor *x)
{
    return clg_adaptive_max_pool2d(x, at->value[0].whole[0], at->value[0].whole[1]);
}

static clg_tensor *build_flatten(const spec_site *at, clg_tensor *x) { return (void)at, clg_flatten(x, 1); }

static clg_tensor *build_reshape(const spec_site *at, clg_tensor *x)
{
    clg_shape shape = CLG_SHAPE(clg_tensor_shape(x).dim[0]);
    for (int i = 0; i < CLG_MAX_RANK - 1 && at->value[i].given; i++) shape.dim[shape.rank++] = at->value[i].whole[0];
    return clg_reshape(x, shape);
}

static clg_tensor *build_transpose(const spec_site *at, clg_tensor *x)
{
    return clg_transpose(x, at->value[0].whole[0], at->value[1].whole[0]);
}

static clg_tensor *build_dropout(const spec_site *at, clg_tensor *x)
{
    return clg_nn_dropout(at->model, x, at->value[0].real);
}

static clg_tensor *build_batch_norm(const spec_site *at, clg_tensor *x)
{
    const clg_shape     shape = clg_tensor_shape(x);
    const clg_norm_desc d = {.eps = at->value[0].real, .momentum = at->value[1].real};
    if (shape.rank != 2 && shape.rank != 4) return misfit(x, at, "[N, C] or [N, C, H, W]");
    if (shape.rank == 2) x = clg_reshape(x, CLG_SHAPE(shape.dim[0], shape.dim[1], 1, 1));
    x = clg_nn_batch_norm2d(at->model, at->name, x, &d);
    return shape.rank == 2 ? clg_reshape(x, shape) : x;
}

static clg_tensor *build_layer_norm(const spec_site *at, clg_tensor *x)
{
    return clg_nn_layer_norm(at->model, at->name, x, &(clg_norm_desc){.eps = at->value[0].real});
}

typedef clg_tensor *recurrent(clg_model *, const char *, clg_tensor *, const clg_recurrent_desc *);

static clg_tensor *through_time(const spec_site *at, clg_tensor *x, recurrent *layer)
{
    const spec_value *v = at->value;
    return layer(at->model, at->name, x,
                 &(clg_recurrent_desc){.units = v[0].whole[0], .last = !v[1].whole[0], .no_bias = !v[2].whole[0]});
}

static clg_tensor *build_rnn(const spec_site *at, clg_tensor *x) { return through_time(at, x, clg_nn_rnn); }
static clg_tensor *build_lstm(const spec_site *at, clg_tensor *x) { return through_time(at, x, clg_nn_lstm); }
static clg_tensor *build_gru(const spec_site *at, clg_tensor *x) { return through_time(at, x, clg_nn_gru); }

#define NEEDED(name, type, least, most)           {name, type, least, most, false, 0.0}
#define OPTIONAL(name, type, least, most, preset) {name, type, least, most, true, preset}
#define BIAS      OPTIONAL("bias", SPEC_WHOLE, 0, 1, 1)
#define POOL \
    { \
        NEEDED("kernel", SPEC_PAIR, 1, 1024), OPTIONAL("stride", SPEC_PAIR, 1, 1024, 0), \
            OPTIONAL("pad", SPEC_PAIR, 0, 512, 0) \
    }
#define EPS       OPTIONAL("eps", SPEC_REAL, 1e-12, 1, 1e-5)
#define RECURRENT {NEEDED("units", SPEC_WHOLE, 1, 65536), OPTIONAL("sequence", SPEC_WHOLE, 0, 1, 0), BIAS}
#define EXTENT(name) OPTIONAL(name, SPEC_WHOLE, -1, 16777216, 0)

const spec_kind spec_kinds[] = {
    {"linear", "x W + b along the last axis", build_linear, {NEEDED("features", SPEC_UNITS, 1, 16777216), BIAS}},
    {"conv2d",
     "of [N, C, H, W]; pad=same keeps H and W",
     build_conv2d,
     {NEEDED("channels", SPEC_UNITS, 1, 65536), NEEDED("kernel", SPEC_PAIR, 1, 1024),
      OPTIONAL("stride", SPEC_PAIR, 1, 1024, 1), OPTIONAL("pad", SPEC_PAD, 0, 1024, 0),
      OPTIONAL("dilation", SPEC_PAIR, 1, 1024, 1), OPTIONAL("groups", SPEC_WHOLE, 1, 65536, 1), BIAS}},
    {"max_pool2d", "stride: the kernel's extent unless given", build_max_pool2d, POOL},
    {"avg_pool2d", "likewise", build_avg_pool2d, POOL},
    {"global_avg_pool2d", "[N, C, H, W] to [N, C]", build_global_avg_pool2d, {{0}}},
    {"global_max_pool2d", "[N, C, H, W] to [N, C]", build_global_max_pool2d, {{0}}},
    {"adaptive_avg_pool2d", "to these extents", build_adaptive_avg_pool2d, {NEEDED("extent", SPEC_PAIR, 1, 65536)}},
    {"adaptive_max_pool2d", "likewise", build_adaptive_max_pool2d, {NEEDED("extent", SPEC_PAIR, 1, 65536)}},
    {"flatten", "to [N, everything]", build_flatten, {{0}}},
    {"reshape",
     "to [N, a, ...]; one may be -1",
     build_reshape,
     {NEEDED("a", SPEC_WHOLE, -1, 16777216), EXTENT("b"), EXTENT("c"), EXTENT("d"), EXTENT("e")}},
    {"transpose",
     "swaps two axes; 0 is N",
     build_transpose,
     {NEEDED("a", SPEC_WHOLE, 1, 5), NEEDED("b", SPEC_WHOLE, 1, 5)}},
    {"relu", "max(x, 0)", build_relu, {{0}}},
    {"leaky_relu", "x > 0 ? x : slope x", build_leaky_relu, {OPTIONAL("slope", SPEC_REAL, -1e6, 1e6, 0.01)}},
    {"elu", "x > 0 ? x : alpha (exp(x) - 1)", build_elu, {OPTIONAL("alpha", SPEC_REAL, -1e6, 1e6, 1.0)}},
    {"sigmoid", "1 / (1 + exp(-x))", build_sigmoid, {{0}}},
    {"tanh", "", build_tanh, {{0}}},
    {"gelu", "x Phi(x)", build_gelu, {{0}}},
    {"gelu_tanh", "GPT-2's", build_gelu_tanh, {{0}}},
    {"silu", "x sigmoid(x)", build_silu, {{0}}},
    {"softplus", "log(1 + exp(x))", build_softplus, {{0}}},
    {"softmax", "along the last axis; not at the end: the loss has its own", build_softmax, {{0}}},
    {"scale", "x times a number", build_scale, {NEEDED("by", SPEC_REAL, -1e6, 1e6)}},
    {"dropout", "zeros while training", build_dropout, {NEEDED("rate", SPEC_REAL, 0, 0.999)}},
    {"batch_norm", "of [N, C] or [N, C, H, W]", build_batch_norm, {EPS, OPTIONAL("momentum", SPEC_REAL, 1e-6, 1, 0.1)}},
    {"layer_norm", "along the last axis", build_layer_norm, {EPS}},
    {"rnn", "[N, steps, features] to [N, units], or with sequence=1 to [N, steps, units]", build_rnn, RECURRENT},
    {"lstm", "likewise", build_lstm, RECURRENT},
    {"gru", "likewise", build_gru, RECURRENT},
    {0},
};

clg_tensor *spec_build_layer(const spec *s, size_t i, clg_model *model, clg_tensor *x, int classes)
{
    const spec_layer *layer = &s->layer[i];
    if (!x || !model) return NULL;
    return layer->kind->build(&(spec_site){model, layer->name, layer->value, classes}, x);
}

clg_tensor *spec_build(const spec *s, clg_model *model, clg_tensor *x, int classes)
{
    for (size_t i = 0; i < s->count; i++) x = spec_build_layer(s, i, model, x, classes);
    return x;
}
