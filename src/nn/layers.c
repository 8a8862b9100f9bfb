/* layers.c - layers: parameters from the model, an operator on them. */
#include "init.h"
#include "layer.h"
#include <stdio.h>

clg_tensor *clg__layer_fail(clg_tensor *x, const char *layer, const char *name, const char *what)
{
    char shape[128];
    clg_context_fail(clg_tensor_context(x), CLG_INVALID_SHAPE, "%s \"%s\" on %s: %s", layer, name ? name : "",
                     clg_shape_text(clg_tensor_shape(x), shape, sizeof shape), what);
    return NULL;
}

clg_tensor *clg__layer_tensor(clg__tensor_of_model *get, clg_model *m, clg_tensor *x, const char *name, const char *part,
                              clg_shape shape, clg_fill_fn *fill, double scale)
{
    char full[256];
    if (snprintf(full, sizeof full, "%s.%s", name, part) >= (int)sizeof full)
        return clg__layer_fail(x, "layer", name, "the name is too long");
    return get(m, clg_tensor_graph(x), full, shape, fill, scale);
}
#define parameter(...) clg__layer_tensor(clg_model_parameter, __VA_ARGS__)
#define state(...)     clg__layer_tensor(clg_model_state, __VA_ARGS__)

clg_tensor *clg__layer_end(clg_model *m, size_t before, clg_tensor *y)
{
    if (!y) clg_model_truncate(m, before);
    return y;
}

clg_tensor *clg_nn_linear(clg_model *m, const char *name, clg_tensor *x, const clg_linear_desc *desc)
{
    if (!m || !x) return NULL;
    const clg_linear_desc d = desc ? *desc : (clg_linear_desc){0};
    const clg_shape       shape = clg_tensor_shape(x);
    clg_fill_fn          *fill;
    double                scale;
    if (!name || !*name) return clg__layer_fail(x, "linear", name, "a layer needs a name");
    if (shape.rank < 1) return clg__layer_fail(x, "linear", name, "the input must be [..., in]");
    if (d.features < 1) return clg__layer_fail(x, "linear", name, "features must be at least 1");
    const int64_t in = shape.dim[shape.rank - 1];
    if (in < 1) return clg__layer_fail(x, "linear", name, "the last dimension is empty");
    if (!clg__init(d.init, (double)in, (double)d.features, &fill, &scale))
        return clg__layer_fail(x, "linear", name, "unknown initialiser");
    if (d.gain != 0.0) scale *= d.gain;
    const size_t before = clg_model_count(m);
    clg_tensor *w = parameter(m, x, name, "weight", CLG_SHAPE(in, d.features), fill, scale);
    clg_tensor *b = d.no_bias ? NULL : parameter(m, x, name, "bias", CLG_SHAPE(d.features), NULL, 0.0);
    if (!b && !d.no_bias) w = NULL;
    clg_tensor *rows = shape.rank > 1 ? x : clg_reshape(x, CLG_SHAPE(1, in));
    clg_tensor *y = clg_matmul(rows, w, &(clg_matmul_desc){.bias = b});
    return clg__layer_end(m, before, shape.rank > 1 ? y : clg_reshape(y, CLG_SHAPE(d.features)));
}

clg_tensor *clg_nn_conv2d(clg_model *m, const char *name, clg_tensor *x, const clg_conv2d_desc *desc)
{
    if (!m || !x) return NULL;
    const clg_conv2d_desc d = desc ? *desc : (clg_conv2d_desc){0};
    const clg_shape       shape = clg_tensor_shape(x);
    const int64_t         groups = d.groups ? d.groups : 1;
    const bool            square = d.kernel_hw[0] == 0 && d.kernel_hw[1] == 0;
    const int64_t         kh = square ? d.kernel : d.kernel_hw[0], kw = square ? d.kernel : d.kernel_hw[1];
    clg_fill_fn          *fill;
    double                scale;
    if (!name || !*name) return clg__layer_fail(x, "conv2d", name, "a layer needs a name");
    if (shape.rank != 4) return clg__layer_fail(x, "conv2d", name, "the input must be [N, C, H, W]");
    if (d.channels < 1) return clg__layer_fail(x, "conv2d", name, "channels must be at least 1");
    if (kh < 1 || kw < 1) return clg__layer_fail(x, "conv2d", name, "the kernel must be at least 1");
    if (groups < 1 || shape.dim[1] % groups || d.channels % groups || shape.dim[1] < 1)
        return clg__layer_fail(x, "conv2d", name, "groups must divide the channels of input and output");
    const int64_t each = shape.dim[1] / groups;
    if (!clg__init(d.init, (double)each * (double)(kh * kw), (double)d.channels / (double)groups * (double)(kh * kw),
                   &fill, &scale))
        return clg__layer_fail(x, "conv2d", name, "unknown initialiser");
    if (d.gain != 0.0) scale *= d.gain;
    const size_t before = clg_model_count(m);
    clg_tensor *w = parameter(m, x, name, "weight", CLG_SHAPE(d.channels, each, kh, kw), fill, scale);
    clg_tensor *b = d.no_bias ? NULL : parameter(m, x, name, "bias", CLG_SHAPE(d.channels), NULL, 0.0);
    return clg__layer_end(m, before, b || d.no_bias ? clg_conv2d(x, w, b, &d) : NULL);
}

/* ---- normalisation ----------------------------------------------------------------------------------------------- */

typedef struct scale_and_shift {
    clg_tensor *gain, *bias;
} scale_and_shift;

static void ones(float *value, clg_shape shape, uint64_t seed, double scale)
{
    (void)seed, (void)scale;
    for (int64_t i = 0; i < clg_shape_count(shape); i++) value[i] = 1.0f;
}

static scale_and_shift norm_parameters(clg_model *m, clg_tensor *x, const char *name, int64_t n)
{
    return (scale_and_shift){parameter(m, x, name, "weight", CLG_SHAPE(n), ones, 0.0),
                             parameter(m, x, name, "bias", CLG_SHAPE(n), NULL, 0.0)};
}

clg_tensor *clg_nn_batch_norm2d(clg_model *m, const char *name, clg_tensor *x, const clg_norm_desc *desc)
{
    if (!m || !x) return NULL;
    const clg_norm_desc d = desc ? *desc : (clg_norm_desc){0};
    const clg_shape     shape = clg_tensor_shape(x);
    if (!name || !*name) return clg__layer_fail(x, "batch_norm2d", name, "a layer needs a name");
    if (shape.rank != 4 || shape.dim[1] < 1)
        return clg__layer_fail(x, "batch_norm2d", name, "the input must be [N, C, H, W]");
    const size_t          before = clg_model_count(m);
    const scale_and_shift p = norm_parameters(m, x, name, shape.dim[1]);
    clg_tensor *mean = state(m, x, name, "running_mean", CLG_SHAPE(shape.dim[1]), NULL, 0.0);
    clg_tensor *variance = state(m, x, name, "running_var", CLG_SHAPE(shape.dim[1]), ones, 0.0);
    const clg_batch_norm_desc how = {clg_graph_training(clg_tensor_graph(x)), d.eps, d.momentum, mean, variance};
    return clg__layer_end(m, before, mean && variance ? clg_batch_norm(x, p.gain, p.bias, &how) : NULL);
}

clg_tensor *clg_nn_layer_norm(clg_model *m, const char *name, clg_tensor *x, const clg_norm_desc *desc)
{
    if (!m || !x) return NULL;
    const clg_shape shape = clg_tensor_shape(x);
    if (!name || !*name) return clg__layer_fail(x, "layer_norm", name, "a layer needs a name");
    if (shape.rank < 1 || shape.dim[shape.rank - 1] < 1)
        return clg__layer_fail(x, "layer_norm", name, "the input must be [..., n]");
    const size_t          before = clg_model_count(m);
    const scale_and_shift p = norm_parameters(m, x, name, shape.dim[shape.rank - 1]);
    return clg__layer_end(m, before, clg_layer_norm(x, p.gain, p.bias, desc ? desc->eps : 0.0));
}

clg_tensor *clg_nn_dropout(clg_model *m, clg_tensor *x, double rate)
{
    return m ? clg_dropout(x, &(clg_dropout_desc){.rate = rate, .seed = clg_model_seed(m)}) : NULL;
}

clg_tensor *clg_nn_embedding(clg_model *m, const char *name, clg_tensor *index, const clg_embedding_desc *desc)
{
    if (!m || !index) return NULL;
    const clg_embedding_desc d = desc ? *desc : (clg_embedding_desc){0};
    clg_fill_fn             *fill;
    double                   scale;
    if (!name || !*name) return clg__layer_fail(index, "embedding", name, "a layer needs a name");
    if (d.rows < 1 || d.features < 1)
        return clg__layer_fail(index, "embedding", name, "rows and features must be at least 1");
    if (!clg__init(d.init == CLG_INIT_DEFAULT ? CLG_INIT_NORMAL : d.init, (double)d.rows, (double)d.features, &fill,
                   &scale))
        return clg__layer_fail(index, "embedding", name, "unknown initialiser");
    const size_t before = clg_model_count(m);
    clg_tensor  *w = parameter(m, index, name, "weight", CLG_SHAPE(d.rows, d.features), fill, scale);
    return clg__layer_end(m, before, clg_embedding(w, index));
}
