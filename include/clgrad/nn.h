/* nn.h - models: named parameters that several graphs share, and the layers that create them.
 *
 * A layer called with a name that the model already has uses those parameters (and their shapes must fit); otherwise it
 * adds them. All parameters of a model lie in one contiguous device buffer, allocated when the first plan that uses the
 * model is created, or its values are first read, written, saved or loaded; from then on no parameter can be added. A layer
 * that fails adds none. */
#ifndef CLGRAD_NN_H
#define CLGRAD_NN_H

#include <clgrad/ops.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct clg_model clg_model;

typedef struct clg_model_desc {
    uint64_t seed; /* of the initial values: the same on every device */
} clg_model_desc;

CLG_API clg_model *clg_model_create(clg_context *ctx, const clg_model_desc *desc);
CLG_API void       clg_model_destroy(clg_model **model); /* after the graphs and optimisers that use it */

CLG_API clg_context *clg_model_context(const clg_model *model);
CLG_API uint64_t     clg_model_seed(const clg_model *model);

/* ---- parameters ------------------------------------------------------------------------------------------------ */

/* Fills a value of this shape; deterministic in its arguments. */
typedef void clg_fill_fn(float *value, clg_shape shape, uint64_t seed, double scale);

CLG_API void clg_fill_uniform(float *value, clg_shape shape, uint64_t seed, double scale); /* U(-scale, scale) */
CLG_API void clg_fill_normal(float *value, clg_shape shape, uint64_t seed, double scale);  /* N(0, scale^2) */

/* scale Q, for the value seen as a matrix of shape.dim[0] rows: a random Q with orthonormal rows or, where there are more
 * rows than columns, orthonormal columns; Saxe, McClelland & Ganguli 2013. */
CLG_API void clg_fill_orthogonal(float *value, clg_shape shape, uint64_t seed, double scale);

/* The parameter `name` of shape `shape` as a tensor of graph g; created when new, with fill(value, shape, seed, scale)
 * for its first value (NULL: zeros), where seed derives from the model's seed and the name. */
CLG_API clg_tensor *clg_model_parameter(clg_model *model, clg_graph *g, const char *name, clg_shape shape,
                                        clg_fill_fn *fill, double scale);

/* Likewise a state, which a layer keeps besides what it learns, such as a running mean: saved and loaded like a parameter,
 * but without a gradient, and nothing for the optimiser. */
CLG_API clg_tensor *clg_model_state(clg_model *model, clg_graph *g, const char *name, clg_shape shape, clg_fill_fn *fill,
                                    double scale);

/* Takes back what was added after the first `count` parameters and states, as a layer that fails does: their tensors are not to
 * be used any more. Nothing happens once nothing can be added. */
CLG_API void clg_model_truncate(clg_model *model, size_t count);

CLG_API size_t      clg_model_count(const clg_model *model); /* parameters and states (tensors) */
CLG_API bool        clg_model_is_state(const clg_model *model, size_t i);
CLG_API const char *clg_model_name(const clg_model *model, size_t i);
CLG_API clg_shape   clg_model_shape(const clg_model *model, size_t i);
CLG_API clg_status  clg_model_read(clg_model *model, size_t i, float *value, size_t count);
CLG_API clg_status  clg_model_write(clg_model *model, size_t i, const float *value, size_t count);

/* The whole parameter buffer as one tensor [n] of graph g, for optimisers; nothing can be added to the model any more.
 * Padding between parameters is zero and has a zero gradient. */
CLG_API clg_tensor *clg_model_arena(clg_model *model, clg_graph *g);

/* d loss / d (every parameter), laid out as the arena. */
CLG_API clg_tensor *clg_model_gradients(clg_model *model, clg_tensor *loss);

/* Freezes the parameter `layer`, or all those named "<layer>.<part>" ("": every one), or thaws them. Plans that train or
 * update and are created from then on leave what is frozen as it is, weight decay included, and do not compute its gradient;
 * states still move. Returns how many parameters that are. */
CLG_API size_t clg_model_freeze(clg_model *model, const char *layer);
CLG_API size_t clg_model_thaw(clg_model *model, const char *layer);
CLG_API bool   clg_model_is_frozen(const clg_model *model, size_t i);

/* 1 where a parameter is learnt and 0 where one is frozen now, laid out as the arena; NULL when none is frozen. */
CLG_API clg_tensor *clg_model_mask(clg_model *model, clg_graph *g);

/* ---- initialisers (values: 0 is each layer's default) ----------------------------------------------------------- */

typedef enum clg_init {
    CLG_INIT_DEFAULT,        /* Glorot uniform */
    CLG_INIT_GLOROT_UNIFORM, /* U(-a, a), a = sqrt(6 / (fan_in + fan_out)); Glorot & Bengio 2010 */
    CLG_INIT_GLOROT_NORMAL,  /* N(0, 2 / (fan_in + fan_out)) */
    CLG_INIT_HE_UNIFORM,     /* U(-a, a), a = sqrt(6 / fan_in); He et al. 2015 */
    CLG_INIT_HE_NORMAL,      /* N(0, 2 / fan_in) */
    CLG_INIT_ZEROS,
    CLG_INIT_HE_NORMAL_OUT,  /* N(0, 2 / fan_out): what keeps the gradient's size; torchvision's for ResNet */
    CLG_INIT_NORMAL,         /* N(0, 1) */
    CLG_INIT_GPT2,           /* N(0, 0.02^2) */
    CLG_INIT_UNIFORM,        /* U(-0.05, 0.05) */
    CLG_INIT_ORTHOGONAL,     /* clg_fill_orthogonal */
    CLG_INIT_COUNT
} clg_init;

/* ---- layers ---------------------------------------------------------------------------------------------------- */

typedef struct clg_linear_desc {
    int  features; /* of the output */
    bool no_bias;
    int  init;     /* a clg_init, of the weight; the bias starts at zero */
    double gain;   /* times that; 0 means 1 */
} clg_linear_desc;

/* x [..., in] -> x W + b [..., features]; parameters name.weight [in, features], name.bias [features]. */
CLG_API clg_tensor *clg_nn_linear(clg_model *model, const char *name, clg_tensor *x, const clg_linear_desc *desc);

/* x [N, C, H, W] -> conv2d(x) [N, channels, OH, OW]; parameters name.weight [channels, C / groups, KH, KW] and
 * name.bias [channels]. */
CLG_API clg_tensor *clg_nn_conv2d(clg_model *model, const char *name, clg_tensor *x, const clg_conv2d_desc *desc);

typedef struct clg_norm_desc {
    double eps;      /* 0 means 1e-5 */
    double momentum; /* of batch_norm2d's running statistics; 0 means 0.1 */
} clg_norm_desc;

/* x [N, C, H, W] -> clg_batch_norm by the batch's statistics in a graph that trains, else by the running ones; parameters
 * name.weight, name.bias [C], states name.running_mean, name.running_var [C]. desc may be NULL, here and below. */
CLG_API clg_tensor *clg_nn_batch_norm2d(clg_model *model, const char *name, clg_tensor *x, const clg_norm_desc *desc);

/* x [..., n] -> clg_layer_norm; parameters name.weight, name.bias [n]. */
CLG_API clg_tensor *clg_nn_layer_norm(clg_model *model, const char *name, clg_tensor *x, const clg_norm_desc *desc);

/* clg_dropout with the model's seed: x itself where the graph does not train. */
CLG_API clg_tensor *clg_nn_dropout(clg_model *model, clg_tensor *x, double rate);

typedef struct clg_embedding_desc {
    int rows, features; /* of the table */
    int init;           /* a clg_init; 0: N(0, 1) */
} clg_embedding_desc;

/* index i32 [...] -> clg_embedding [..., features]; parameter name.weight [rows, features]. */
CLG_API clg_tensor *clg_nn_embedding(clg_model *model, const char *name, clg_tensor *index, const clg_embedding_desc *desc);

typedef struct clg_recurrent_desc {
    int  units;   /* of the state, and the output */
    bool last;    /* only the last step's output: [N, units] */
    bool no_bias;
    bool relu;    /* clg_nn_rnn: ReLU in place of tanh */
} clg_recurrent_desc;

/* x [N, steps, features] -> the state h after every step, [N, steps, units]; it starts as zeros. Parameters name.weight_ih
 * [gates units, features], name.weight_hh [gates units, units], name.bias_ih and name.bias_hh [gates units], with the gates
 * one after another; all start in U(-1 / sqrt(units), 1 / sqrt(units)): PyTorch's conventions. With a = W_ih x + b_ih and
 * b = W_hh h + b_hh, both cut into gates, and s the sigmoid:
 *   rnn   h' = tanh(a + b); Elman 1990
 *   lstm  gates i, f, g, o: c' = s(a_f + b_f) c + s(a_i + b_i) tanh(a_g + b_g), h' = s(a_o + b_o) tanh(c');
 *         Hochreiter & Schmidhuber 1997, Gers et al. 2000
 *   gru   gates r, z, n: n = tanh(a_n + s(a_r + b_r) b_n), z = s(a_z + b_z), h' = (1 - z) n + z h; Cho et al. 2014 */
CLG_API clg_tensor *clg_nn_rnn(clg_model *model, const char *name, clg_tensor *x, const clg_recurrent_desc *desc);
CLG_API clg_tensor *clg_nn_lstm(clg_model *model, const char *name, clg_tensor *x, const clg_recurrent_desc *desc);
CLG_API clg_tensor *clg_nn_gru(clg_model *model, const char *name, clg_tensor *x, const clg_recurrent_desc *desc);

#ifdef __cplusplus
}
#endif
#endif
