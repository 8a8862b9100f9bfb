/* ops.h - the operators. Each returns NULL, with an error in the context that names the operator and the shapes, when its
 * inputs do not fit; each passes a NULL input on as NULL.
 *
 * Shapes are written [N, C, H, W]. Two inputs "broadcast" as in NumPy: aligned at the last dimension, an extent of 1 or a
 * missing dimension repeats. Unless said otherwise tensors are float32, and every operator can be differentiated, any
 * number of times. NaN and infinity propagate as in IEEE arithmetic. */
#ifndef CLGRAD_OPS_H
#define CLGRAD_OPS_H

#include <clgrad/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- pointwise, with broadcasting ------------------------------------------------------------------------------ */

CLG_API clg_tensor *clg_add(clg_tensor *a, clg_tensor *b);
CLG_API clg_tensor *clg_sub(clg_tensor *a, clg_tensor *b);
CLG_API clg_tensor *clg_mul(clg_tensor *a, clg_tensor *b);
CLG_API clg_tensor *clg_div(clg_tensor *a, clg_tensor *b);
CLG_API clg_tensor *clg_neg(clg_tensor *x);
CLG_API clg_tensor *clg_exp(clg_tensor *x);
CLG_API clg_tensor *clg_log(clg_tensor *x);
CLG_API clg_tensor *clg_sqrt(clg_tensor *x);
CLG_API clg_tensor *clg_relu(clg_tensor *x);    /* max(x, 0); the derivative at 0 is 0 */
CLG_API clg_tensor *clg_sigmoid(clg_tensor *x); /* 1 / (1 + exp(-x)) */
CLG_API clg_tensor *clg_tanh(clg_tensor *x);
CLG_API clg_tensor *clg_erf(clg_tensor *x);
CLG_API clg_tensor *clg_gelu(clg_tensor *x);      /* x Phi(x), Phi the normal distribution; Hendrycks & Gimpel 2016 */
CLG_API clg_tensor *clg_gelu_tanh(clg_tensor *x); /* x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2: GPT-2's */
CLG_API clg_tensor *clg_silu(clg_tensor *x);      /* x sigmoid(x); Elfwing, Uchibe & Doya 2017 */
CLG_API clg_tensor *clg_softplus(clg_tensor *x);  /* log(1 + exp(x)) */
CLG_API clg_tensor *clg_leaky_relu(clg_tensor *x, double slope); /* x > 0 ? x : slope x; the derivative at 0 is slope */
CLG_API clg_tensor *clg_elu(clg_tensor *x, double alpha); /* x > 0 ? x : alpha (exp(x) - 1); Clevert et al. 2015 */
CLG_API clg_tensor *clg_sin(clg_tensor *x);
CLG_API clg_tensor *clg_cos(clg_tensor *x);
CLG_API clg_tensor *clg_abs(clg_tensor *x);  /* the derivative at 0 is 0 */
CLG_API clg_tensor *clg_sign(clg_tensor *x); /* -1, 0 or 1 (NaN of NaN); its gradient is zero */
CLG_API clg_tensor *clg_pow(clg_tensor *a, clg_tensor *b); /* a^b; NaN for negative a and fractional b */
CLG_API clg_tensor *clg_scale(clg_tensor *x, double factor);
CLG_API clg_tensor *clg_minimum(clg_tensor *a, clg_tensor *b); /* of two elements; a NaN wins; equal ones share the gradient */
CLG_API clg_tensor *clg_maximum(clg_tensor *a, clg_tensor *b);

/* min(max(x, low), high); the derivative is 1 from low to high, both included. Either bound may be infinite. */
CLG_API clg_tensor *clg_clamp(clg_tensor *x, double low, double high);

/* 1 where the comparison holds, else 0 (also for NaN); the gradient is zero. f32 or i32, and i32 is compared as f32: exact
 * to 2^24. For a > b exchange the arguments. */
CLG_API clg_tensor *clg_equal(clg_tensor *a, clg_tensor *b);
CLG_API clg_tensor *clg_less(clg_tensor *a, clg_tensor *b);
CLG_API clg_tensor *clg_less_equal(clg_tensor *a, clg_tensor *b);

/* a where the condition (f32 or i32) is not 0, else b. */
CLG_API clg_tensor *clg_where(clg_tensor *condition, clg_tensor *a, clg_tensor *b);
CLG_API clg_tensor *clg_to_f32(clg_tensor *x); /* of i32: the numbers as f32, without a gradient */
CLG_API clg_tensor *clg_next(clg_tensor *x);   /* of i32: x + 1, for counters */

/* ---- reductions ------------------------------------------------------------------------------------------------ */

typedef struct clg_reduce_desc {
    int  axes[CLG_MAX_RANK]; /* which, when count > 0; negative counts from the end */
    int  count;              /* 0: all of them */
    bool keepdims;           /* reduced axes stay, with extent 1 */
} clg_reduce_desc;

/* desc may be NULL. The mean, maximum and minimum of no elements are errors, their sum is 0, their product 1. Equal maxima
 * (or minima) share the gradient. */
CLG_API clg_tensor *clg_sum(clg_tensor *x, const clg_reduce_desc *desc);
CLG_API clg_tensor *clg_mean(clg_tensor *x, const clg_reduce_desc *desc);
CLG_API clg_tensor *clg_max(clg_tensor *x, const clg_reduce_desc *desc);
CLG_API clg_tensor *clg_min(clg_tensor *x, const clg_reduce_desc *desc);
CLG_API clg_tensor *clg_prod(clg_tensor *x, const clg_reduce_desc *desc);

/* sum((x - mean)^2) / (count - correction): correction 0 is the variance of these numbers, 1 the unbiased estimate. */
CLG_API clg_tensor *clg_variance(clg_tensor *x, const clg_reduce_desc *desc, int correction);

/* i32: the index of the first largest element along the axis; NaN is the largest. keepdims: the axis stays, with extent 1.
 * Not differentiable. */
CLG_API clg_tensor *clg_argmax(clg_tensor *x, int axis, bool keepdims);

/* exp(x - max) / sum(exp(x - max)) along the last axis, and its logarithm. */
CLG_API clg_tensor *clg_softmax(clg_tensor *x);
CLG_API clg_tensor *clg_log_softmax(clg_tensor *x);
CLG_API clg_tensor *clg_softmax_along(clg_tensor *x, int axis); /* along any axis; negative from the end */
CLG_API clg_tensor *clg_log_softmax_along(clg_tensor *x, int axis);

/* y = (x - mean) / sqrt(variance + eps) * gain + bias along the last axis of x [..., n], with the variance of its n values
 * (divided by n); gain and bias [n]. Ba, Kiros & Hinton 2016. eps 0 means 1e-5. */
CLG_API clg_tensor *clg_layer_norm(clg_tensor *x, clg_tensor *gain, clg_tensor *bias, double eps);

/* ---- shape ----------------------------------------------------------------------------------------------------- */

CLG_API clg_tensor *clg_reshape(clg_tensor *x, clg_shape shape);    /* one extent may be -1: what remains */
CLG_API clg_tensor *clg_flatten(clg_tensor *x, int from);           /* joins the dimensions from `from` on */
CLG_API clg_tensor *clg_transpose(clg_tensor *x, int a, int b);     /* swaps two dimensions; negative from the end */
CLG_API clg_tensor *clg_permute(clg_tensor *x, const int *axes);    /* dimension d of the result is axes[d] of x */
CLG_API clg_tensor *clg_expand(clg_tensor *x, clg_shape shape);     /* broadcasts x to `shape` */

/* What follows takes f32 or i32. Elements start, start + step, ... before stop, of one axis; negative positions count from
 * the end, CLG_END is it. step 0 means 1. A slice of a slice is one copy. */
#define CLG_END INT64_MAX
CLG_API clg_tensor *clg_slice(clg_tensor *x, int axis, int64_t start, int64_t stop, int64_t step);

/* Cuts an axis into parts of these sizes (NULL: equal ones) into out[count]. */
CLG_API clg_status  clg_split(clg_tensor *x, int axis, const int64_t *sizes, size_t count, clg_tensor **out);
CLG_API clg_tensor *clg_concat(clg_tensor *const *in, size_t count, int axis); /* alike in all other extents */

/* before[d] and after[d] elements of this value (of i32: a whole number) more on either side of each dimension d. */
CLG_API clg_tensor *clg_pad(clg_tensor *x, const int64_t *before, const int64_t *after, double value);

/* x and index i32 alike besides the axis -> index's shape: y[i, j, k] = x[i, index[i, j, k], k] for axis 1 (PyTorch's gather,
 * NumPy's take_along_axis); zeros for an index out of range. Differentiable in x; equal indices add in their order. */
CLG_API clg_tensor *clg_gather(clg_tensor *x, clg_tensor *index, int axis);

/* Whole slices of x: the axis is replaced by the dimensions of the index (ONNX's Gather, NumPy's take); as clg_embedding. */
CLG_API clg_tensor *clg_take(clg_tensor *x, clg_tensor *index, int axis);

/* table [R, ...], index i32 [...] -> [..., ...]: row index[i] of the table for every i; zeros for an index out of range.
 * Differentiable in the table. */
CLG_API clg_tensor *clg_embedding(clg_tensor *table, clg_tensor *index);

/* ---- linear algebra -------------------------------------------------------------------------------------------- */

typedef struct clg_matmul_desc {
    bool        trans_a, trans_b; /* transpose the last two dimensions first */
    clg_tensor *bias;             /* [N], added to every row; may be NULL */
} clg_matmul_desc;

/* op(a) [..., M, K] times op(b) [..., K, N] = [..., M, N]; the leading dimensions broadcast. desc may be NULL. */
CLG_API clg_tensor *clg_matmul(clg_tensor *a, clg_tensor *b, const clg_matmul_desc *desc);

typedef struct clg_attention_desc {
    int    heads;
    bool   causal; /* a position sees itself and those before it */
    double scale;  /* of the scores; 0 means 1 / sqrt(D) */
} clg_attention_desc;

/* qkv [B, T, 3 * heads * D]: the queries of all heads, then the keys, then the values -> [B, T, heads * D]: for each head
 * softmax(scale q k^T) v; Vaswani et al. 2017. No matrix [T, T] is ever in memory. Differentiable once. */
CLG_API clg_tensor *clg_attention(clg_tensor *qkv, const clg_attention_desc *desc);

/* ---- images ---------------------------------------------------------------------------------------------------- */

/* The fields that a call does not need it ignores: `channels`, `init` and `gain` are for clg_nn_conv2d; clg_conv2d takes the
 * kernel's extents from the weight. The _hw fields {height, width} override their square sibling where not {0, 0}. */
typedef struct clg_conv2d_desc {
    int  channels;                /* of the output */
    int  kernel, kernel_hw[2];
    int  stride, stride_hw[2];    /* 0 means 1 */
    int  pad, pad_hw[2];          /* zeros on either side */
    int  dilation, dilation_hw[2]; /* 0 means 1 */
    int  groups;                  /* 0 means 1 */
    bool no_bias;
    int  init;                    /* a clg_init of nn.h */
    double gain;                  /* times that; 0 means 1 */
    int  out_pad, out_pad_hw[2];  /* clg_conv_transpose2d: rows and columns more, less than the stride */
} clg_conv2d_desc;

/* x [N, C, H, W], weight [channels, C / groups, KH, KW], bias [channels] or NULL -> [N, channels, OH, OW] with
 * OH = floor((H + 2 pad - dilation (KH - 1) - 1) / stride) + 1: cross-correlation, as every framework has it. */
CLG_API clg_tensor *clg_conv2d(clg_tensor *x, clg_tensor *weight, clg_tensor *bias, const clg_conv2d_desc *desc);

/* x [N, C, H, W], weight [C, channels / groups, KH, KW], bias [channels] or NULL -> [N, channels, OH, OW] with
 * OH = (H - 1) stride - 2 pad + dilation (KH - 1) + 1 + out_pad: the gradient of a convolution, as PyTorch's ConvTranspose2d. */
CLG_API clg_tensor *clg_conv_transpose2d(clg_tensor *x, clg_tensor *weight, clg_tensor *bias, const clg_conv2d_desc *desc);

typedef struct clg_conv1d_desc {
    int stride, pad, dilation, groups; /* as clg_conv2d_desc's */
} clg_conv1d_desc;

/* x [N, C, L], weight [channels, C / groups, K], bias [channels] or NULL -> [N, channels, OL], as clg_conv2d. */
CLG_API clg_tensor *clg_conv1d(clg_tensor *x, clg_tensor *weight, clg_tensor *bias, const clg_conv1d_desc *desc);

typedef struct clg_batch_norm_desc {
    bool        training; /* by the batch's own statistics, else by the running ones */
    double      eps;      /* 0 means 1e-5 */
    double      momentum; /* of the running statistics; 0 means 0.1 */
    clg_tensor *running_mean, *running_var; /* states [C]; in training they may be NULL */
} clg_batch_norm_desc;

/* y = (x - mean) / sqrt(variance + eps) * gain + bias for each channel of x [N, C, ...]; gain and bias [C]. Ioffe & Szegedy
 * 2015. In training mean and variance are those of the batch, which must have two values a channel, and every training
 * plan of the graph moves the running ones: r = (1 - momentum) r + momentum s, with s the mean and the unbiased variance. */
CLG_API clg_tensor *clg_batch_norm(clg_tensor *x, clg_tensor *gain, clg_tensor *bias, const clg_batch_norm_desc *desc);

typedef struct clg_pool2d_desc {
    int  kernel, kernel_hw[2];
    int  stride, stride_hw[2]; /* 0 means the kernel's extent */
    int  pad, pad_hw[2];       /* at most half the kernel; never wins a maximum */
    bool exclude_pad;          /* averages divide by the number of real elements */
} clg_pool2d_desc;

/* x [N, C, H, W] -> [N, C, OH, OW] with OH = floor((H + 2 pad - kernel) / stride) + 1. The first maximum of a window, in
 * row-major order, takes its gradient; NaN wins. */
CLG_API clg_tensor *clg_max_pool2d(clg_tensor *x, const clg_pool2d_desc *desc);
CLG_API clg_tensor *clg_avg_pool2d(clg_tensor *x, const clg_pool2d_desc *desc);

/* x [N, C, H, W] -> [N, C]: the mean or the maximum of each plane. */
CLG_API clg_tensor *clg_global_avg_pool2d(clg_tensor *x);
CLG_API clg_tensor *clg_global_max_pool2d(clg_tensor *x);

/* x [N, C, H, W] -> [N, C, height, width] for any extents: output i covers the rows from floor(i H / height) up to
 * ceil((i + 1) H / height), and columns likewise, as PyTorch's. Maxima as clg_max_pool2d's. */
CLG_API clg_tensor *clg_adaptive_avg_pool2d(clg_tensor *x, int height, int width);
CLG_API clg_tensor *clg_adaptive_max_pool2d(clg_tensor *x, int height, int width);

/* ---- regularisation -------------------------------------------------------------------------------------------- */

typedef struct clg_dropout_desc {
    double      rate; /* the probability of a zero, in [0, 1) */
    uint64_t    seed;
    clg_tensor *step; /* i32 [1]: the mask is a function of it; NULL: see below */
} clg_dropout_desc;

/* y = x / (1 - rate), or 0 with probability `rate`: the same mask on every device for the same seed and step, and for the
 * same x or, without a step, place of the call in the graph. Without a step it is x itself in a graph that does not train; in
 * one that does, every run of a training plan draws a new mask. Srivastava et al. 2014. */
CLG_API clg_tensor *clg_dropout(clg_tensor *x, const clg_dropout_desc *desc);

typedef struct clg_augment_desc {
    bool        flip;       /* mirrors left and right, with a chance of one half */
    int         shift;      /* moves by up to so many pixels down or up and to either side; 0 comes in */
    int         crop_hw[2]; /* takes a window of this height and width from anywhere; 0: the picture's own */
    int         pad;        /* of the picture before that, with 0 on all sides */
    uint64_t    seed;
    clg_tensor *step;       /* i32 [1]: the draws are a function of it; NULL: see below */
} clg_augment_desc;

/* Pictures x [N, C, H, W] -> [N, C, crop], changed at random, all channels of a picture alike: the same on every device for
 * the same seed and step, and for the same x or, without a step, place of the call in the graph. Without a step, every run of a
 * training plan changes them anew, and in a graph that does not train it is their middle, or x itself. */
CLG_API clg_tensor *clg_augment(clg_tensor *x, const clg_augment_desc *desc);

/* ---- losses and metrics, all scalars --------------------------------------------------------------------------- */

/* mean over the rows of -log_softmax(logits)[label]; logits [N, classes] f32, labels [N] i32. A row with a negative label
 * is left out of sum and count (the loss of no rows is 0); a label >= classes makes the loss NaN. */
CLG_API clg_tensor *clg_cross_entropy(clg_tensor *logits, clg_tensor *labels);

typedef struct clg_cross_entropy_desc {
    double      smoothing; /* this share of a row's weight is spread over all classes; Szegedy et al. 2016 */
    clg_tensor *weight;    /* [classes], or NULL: all 1 */
    bool        ignore;    /* rows with the label `ignored` are left out, as those with a negative one are */
    int         ignored;
} clg_cross_entropy_desc;

/* sum over rows i and classes c of - weight[c] t[i, c] log_softmax(logits)[i, c], divided by the sum of weight[label[i]], with
 * t = (1 - smoothing) [c is the label] + smoothing / classes: PyTorch's. desc may be NULL. */
CLG_API clg_tensor *clg_cross_entropy_with(clg_tensor *logits, clg_tensor *labels, const clg_cross_entropy_desc *desc);

/* labels i32 [rows] -> [rows, classes]: 1 at the label; zeros for a negative one, NaN for one beyond. Not differentiable. */
CLG_API clg_tensor *clg_one_hot(clg_tensor *labels, int64_t classes);

CLG_API clg_tensor *clg_l1(clg_tensor *a, clg_tensor *b); /* mean(|a - b|) */

/* mean(d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2)) with d = a - b; Huber 1964. */
CLG_API clg_tensor *clg_huber(clg_tensor *a, clg_tensor *b, double delta);

CLG_API clg_tensor *clg_hinge(clg_tensor *x, clg_tensor *y); /* mean(max(0, 1 - x y)) for labels y of -1 or 1 */

/* sum(p (log p - log_q)) / rows for probabilities p and logarithms log_q, both [rows, ...]; 0 log 0 is 0. */
CLG_API clg_tensor *clg_kl_divergence(clg_tensor *log_q, clg_tensor *p);

/* mean((a - b)^2) */
CLG_API clg_tensor *clg_mse(clg_tensor *a, clg_tensor *b);

/* mean(max(x, 0) - x y + log(1 + exp(-|x|))) for targets y in [0, 1]. */
CLG_API clg_tensor *clg_bce_with_logits(clg_tensor *logits, clg_tensor *targets);

/* The number of rows whose first largest logit is the label; arguments as clg_cross_entropy. Not differentiable. */
CLG_API clg_tensor *clg_count_correct(clg_tensor *logits, clg_tensor *labels);

/* ---- data ------------------------------------------------------------------------------------------------------ */

/* table [R, ...] u8, f32 or i32, index [N] i32 -> [N, ...]: rows of the table; a u8 table comes out as f32 with
 * y = (x * scale) + shift, an f32 table likewise, an i32 table unchanged. An index out of range gives zeros (f32) or -1
 * (i32). scale 0 means 1. Not differentiable. */
CLG_API clg_tensor *clg_take_rows(clg_tensor *table, clg_tensor *index, double scale, double shift);

/* ---- the table of operators ------------------------------------------------------------------------------------ */

typedef struct clg_op_info {
    const char *name;
    int         inputs;         /* -1: any number */
    bool        differentiable, pointwise; /* chains of pointwise operators become one kernel */
    bool        in_place, view; /* the result may lie where the first input lay; is its memory */
} clg_op_info;

/* The i-th operator that the library knows, those that gradients are made of included; false behind the last. info may
 * be NULL. */
CLG_API bool clg_op_info_get(size_t i, clg_op_info *info);

#ifdef __cplusplus
}
#endif
#endif
