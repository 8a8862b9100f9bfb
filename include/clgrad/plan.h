/* plan.h - from a graph to what the device does.
 *
 * Creating a plan prunes the graph to what its outputs need, fuses, assigns memory, builds the kernels and sets their
 * arguments; running it enqueues them and returns. After creation a plan neither allocates on the device nor builds. */
#ifndef CLGRAD_PLAN_H
#define CLGRAD_PLAN_H

#include <clgrad/tensor.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct clg_plan clg_plan;

/* A plan that computes `out`, or several outputs (assignments among them). Outputs can be read after a run. */
CLG_API clg_plan *clg_plan_create(clg_tensor *out);
CLG_API clg_plan *clg_plan_create_all(clg_tensor *const *outs, size_t count);
CLG_API void      clg_plan_destroy(clg_plan **plan);

/* Enqueues one run and returns without waiting. Nothing happens on a NULL plan or in a failed context. What is made of
 * parameters and states alone, none of which the plan writes, is kept from run to run, and made anew once one of them has
 * been written: by clg_tensor_write, a file that is loaded, another plan's run. Whoever uploads to one (clg_upload) or has
 * asked for its cl_mem may write it unseen: nothing that is made of that is kept. */
CLG_API void clg_plan_run(clg_plan *plan);

/* `hook` is called before each run, with the number of runs before it: the place to write inputs that change each step.
 * Hooks are called in the order in which they were added (a training plan's optimiser adds the first). */
typedef void clg_plan_hook(void *user, uint64_t run);
CLG_API void clg_plan_on_run(clg_plan *plan, clg_plan_hook *hook, void *user);

/* Runs the plan once, hooks included, and calls visit(user, t) when t has been computed: then t and what it was computed from
 * (clg_tensor_input) can be read, and assignments that come later have not been made. false ends the run there. For plans of a
 * graph that was created with .observed; of an operator with several results, t is each of these. */
typedef bool clg_plan_visit(void *user, clg_tensor *t);
CLG_API clg_status clg_plan_walk(clg_plan *plan, clg_plan_visit *visit, void *user);

typedef struct clg_plan_stats {
    size_t nodes;          /* of the graph, after pruning */
    size_t launches;       /* kernels of a run */
    size_t kept_launches;  /* of these, that only the first run makes, and one after a change: their results are kept */
    size_t planned_bytes;  /* peak device memory for intermediate values */
    size_t unplanned_bytes; /* what they would take if none shared memory */
    size_t persistent_bytes; /* inputs, states, parameters and outputs */
    double bytes, flops;   /* of a run without them, at least: what its steps read and write, and their arithmetic, a multiply-add
                            * being two and the products of a convolution counted as such however they are computed */
} clg_plan_stats;

CLG_API clg_plan_stats clg_plan_statistics(const clg_plan *plan);

/* Runs the plan once and then `runs` times, hooks included and one close behind the other as in a training, and keeps each
 * launch's median time of these on the device. The context must have been opened with .trace; what it has traced so far is
 * dropped. */
CLG_API clg_status clg_plan_measure(clg_plan *plan, int runs);

/* A line per step: what it computes, its shapes, where its result lies, the bytes and operations that it needs at least,
 * and the time, once measured; under it a line per launch, which says "kept" where its results are. */
CLG_API void clg_plan_dump(const clg_plan *plan, FILE *to);

#ifdef __cplusplus
}
#endif
#endif
