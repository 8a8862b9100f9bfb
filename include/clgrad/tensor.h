/* tensor.h - graphs and the tensors in them.
 *
 * Calling an operator computes nothing: it adds a node to a graph and returns the tensor that the node will produce. A
 * plan (plan.h) made from some of those tensors computes them, as often as it is run. Tensors belong to their graph. */
#ifndef CLGRAD_TENSOR_H
#define CLGRAD_TENSOR_H

#include <clgrad/device.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct clg_graph  clg_graph;
typedef struct clg_tensor clg_tensor;

typedef struct clg_graph_desc {
    bool training; /* layers that differ between training and inference ask for this */
    bool observed; /* its plans run every node alone and keep its value, for clg_plan_walk: slowly, and in much memory */
} clg_graph_desc;

CLG_API clg_graph *clg_graph_create(clg_context *ctx, const clg_graph_desc *desc);
CLG_API void       clg_graph_destroy(clg_graph **graph); /* destroy the plans made from it first */
CLG_API bool       clg_graph_training(const clg_graph *graph);

CLG_API clg_context *clg_graph_context(const clg_graph *graph);
CLG_API clg_context *clg_tensor_context(const clg_tensor *t);
CLG_API clg_graph   *clg_tensor_graph(const clg_tensor *t);
CLG_API clg_shape    clg_tensor_shape(const clg_tensor *t); /* of NULL: the scalar shape */
CLG_API clg_dtype    clg_tensor_dtype(const clg_tensor *t);
CLG_API int64_t      clg_tensor_count(const clg_tensor *t); /* elements */

/* A label for messages and plan dumps, copied; returns t. */
CLG_API clg_tensor *clg_tensor_named(clg_tensor *t, const char *name);
CLG_API const char *clg_tensor_name(const clg_tensor *t); /* "" when it has none */

/* Where t comes from: the name of the operator that computes it ("leaf": what persists), and what that reads. */
CLG_API const char *clg_tensor_op(const clg_tensor *t);
CLG_API int         clg_tensor_input_count(const clg_tensor *t);
CLG_API clg_tensor *clg_tensor_input(const clg_tensor *t, int i);

/* ---- leaves --------------------------------------------------------------------------------------------------- */

/* Persistent tensors keep their value between runs and may be written: inputs, states and parameters. They start as
 * zeros. An input is what the program feeds in; a state is what assignments carry from run to run. */
CLG_API clg_tensor *clg_input(clg_graph *g, clg_dtype dtype, clg_shape shape);
CLG_API clg_tensor *clg_state(clg_graph *g, clg_dtype dtype, clg_shape shape);

/* The same persistent tensor, seen from another graph of the same context. */
CLG_API clg_tensor *clg_share(clg_graph *g, clg_tensor *persistent);

/* A float32 tensor whose every element is `value`. */
CLG_API clg_tensor *clg_full(clg_graph *g, clg_shape shape, double value);
CLG_API clg_tensor *clg_scalar(clg_graph *g, double value);

/* A node that, when a plan computes it, stores `value` in `dst`: persistent, of the same shape and type. Nodes created
 * earlier read the old value, nodes created later the new. Reading the returned tensor reads `dst`; so does a reshape of
 * `dst`, which therefore must not be older than an assignment that its reader is younger than (an error of the plan). */
CLG_API clg_tensor *clg_assign(clg_tensor *dst, clg_tensor *value);

/* What layers carry from step to step, such as running statistics: an assignment that every training plan of the graph
 * (clg_plan_train) is to compute too. */
CLG_API void        clg_graph_add_update(clg_graph *g, clg_tensor *assignment);
CLG_API size_t      clg_graph_update_count(const clg_graph *g);
CLG_API clg_tensor *clg_graph_update(const clg_graph *g, size_t i);

/* ---- differentiation ------------------------------------------------------------------------------------------ */

/* d loss / d wrt[i] into out[i], as ordinary nodes of the graph (so they can be differentiated again), by reverse-mode
 * accumulation. `loss` has one element. Where the loss does not depend on wrt[i], out[i] is a tensor of zeros. */
CLG_API clg_status clg_gradients(clg_tensor *loss, clg_tensor *const *wrt, size_t count, clg_tensor **out);

/* The same from the middle of the chain rule: dy is d loss / d y, of y's shape, for a loss that need not be in the graph. */
CLG_API clg_status clg_gradients_from(clg_tensor *y, clg_tensor *dy, clg_tensor *const *wrt, size_t count,
                                      clg_tensor **out);

/* ---- values --------------------------------------------------------------------------------------------------- */

/* Copies `bytes` (the whole tensor) between the host and a persistent tensor, or from the output of a plan. Reading
 * waits for the device; writing copies the data before it returns and waits for nothing. An output is zeros until its plan
 * has run; the last value stays when the plan is destroyed, as long as the graph. */
CLG_API clg_status clg_tensor_write(clg_tensor *t, const void *data, size_t bytes);
CLG_API clg_status clg_tensor_read(clg_tensor *t, void *data, size_t bytes);

/* Values that go to a persistent tensor beside what the device computes, on a queue of their own, from pinned memory of the
 * tensor's size. In turn: fill the memory (asking for it waits until the last send has left it); send; acquire, after which
 * plans that are run see the values; when the runs that read them have been enqueued, release, which later sends wait for. */
typedef struct clg_upload clg_upload;
CLG_API clg_upload *clg_upload_create(clg_tensor *t);
CLG_API void        clg_upload_destroy(clg_upload **upload);
CLG_API void       *clg_upload_memory(clg_upload *upload);
CLG_API clg_status  clg_upload_send(clg_upload *upload);
CLG_API clg_status  clg_upload_acquire(clg_upload *upload);
CLG_API clg_status  clg_upload_release(clg_upload *upload);

/* Reads a float32 tensor of one element; NaN (and an error in the context) when that fails. */
CLG_API double clg_tensor_scalar(clg_tensor *t);

/* What the values of a tensor that can be read (f32 or i32) are like; waits for the device. */
typedef struct clg_tensor_stats {
    int64_t count, nans, infinities;
    double  min, max, mean; /* of the others; NaN when there are none */
    int64_t first;          /* the first element that is infinite or not a number, and its value; -1: none is */
    double  value;
} clg_tensor_stats;

CLG_API clg_status clg_tensor_measure(clg_tensor *t, clg_tensor_stats *stats);

/* A number that no other persistent tensor of the process ever has; 0 for others. Shared tensors have it in common. */
CLG_API uint64_t clg_tensor_storage_id(const clg_tensor *t);

#ifdef __cplusplus
}
#endif
#endif
