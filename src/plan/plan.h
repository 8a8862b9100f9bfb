/* plan.h - the inside of plans.
 *
 * Making a plan goes through these stages, each a file:
 *   build.c    prune: which nodes do the outputs need; and the order of the stages
 *   fuse.c     which nodes run together: a step is one operator with its epilogue, or a group of pointwise nodes
 *   place.c    where each value lies: in a storage, or in an interval of memory that lives from step to step
 *   kept.c     which steps need to run only once, and again when what they read has changed
 *   record.c   each step's operator says what it launches
 *   pointwise.c  the kernel of a group of pointwise nodes, generated
 *   memory.c   the intervals get their addresses
 *   bind.c     buffers, programs and kernels come into being, arguments are set
 * and run.c runs it; walk.c does so node by node; cost.c knows what that takes at least. */
#ifndef CLG_PLAN_INTERNAL_H
#define CLG_PLAN_INTERNAL_H

#include "blas/gemm.h"
#include "device/device.h"
#include "graph/graph.h"
#include <clgrad/plan.h>

/* ---- memory (memory.c) ------------------------------------------------------------------------------------------- */

typedef struct clg__interval {
    uint64_t bytes;
    int      first, last; /* steps in which it is alive, both included */
    int      slab;        /* filled in: which slab, */
    uint64_t offset;      /* and where in it, in bytes */
} clg__interval;

typedef struct clg__slabs {
    uint64_t *bytes; /* of each */
    int       count;
} clg__slabs;

/* Assigns every interval an address such that intervals alive at the same time do not overlap. Greedy by size: large ones
 * first, each into the lowest gap that fits, in slabs of at most `max_slab` bytes; offsets are multiples of `align`.
 * Intervals of zero bytes get slab -1. False when one is larger than max_slab, or memory runs out. */
bool clg__plan_memory(clg__interval *intervals, size_t count, uint64_t max_slab, uint64_t align, clg__slabs *slabs);

/* ---- steps and launches ------------------------------------------------------------------------------------------ */

typedef struct clg__place {
    clg__storage *storage;  /* or NULL, and then */
    int           interval; /* -1: nowhere */
    int64_t       offset;   /* elements */
} clg__place;

/* Of what a value is made, in the eyes of a plan (kept.c). */
typedef enum clg__lasting {
    CLG__CHANGES, /* of inputs, or of what the plan writes */
    CLG__NUMBERS, /* of numbers alone */
    CLG__LASTS,   /* and of storages that last */
} clg__lasting;

/* A storage that launches refer to. */
typedef struct clg__held {
    clg__storage *storage;
    bool          written; /* by each run */
    bool          source;  /* something is kept that is made of it */
} clg__held;

typedef struct clg__step {
    const clg_tensor **nodes; /* in creation order */
    int                count;
    int                op; /* the operator among them: those before it make its first input, those behind are its epilogue;
                            * -1: all are pointwise, in one generated kernel */
    const clg_tensor  *forward; /* NULL, or the node before it that its kernels compute as well: clg__op.forward */
    clg__lasting       lasting;
} clg__step;

typedef struct clg__planned_arg { /* a clg__arg whose tensor has become a place */
    clg__value_kind kind;
    clg__place      place;
    union {
        int32_t  i32;
        uint32_t u32;
        uint64_t u64;
        float    f32;
    };
} clg__planned_arg;

typedef struct clg__planned {
    int               step;
    const char       *unit, *kernel, *defines; /* unit NULL: a kernel of the plan's generated program */
    clg__planned_arg *args; /* of a GEMM: a, b, c, bias, other, workspace */
    size_t            arg_count;
    uint64_t          groups[3];
    uint32_t          local[3];
    clg__gemm         gemm;
    bool              is_gemm, kept; /* kept: left out while its sources are as they were */
    clg__gemm_engine  engine;
    clg__kernel      *launch;
    clg__gemm_call   *call;
} clg__planned;

typedef struct clg__hook {
    clg_plan_hook    *call;
    void             *user;
    struct clg__hook *next;
} clg__hook;

struct clg_plan {
    clg__object    object;
    clg_context   *ctx;
    clg_graph     *graph;
    clg__arena     arena;
    size_t         node_count; /* of the graph when the plan was made; the arrays below are indexed by node id */
    bool          *needed;
    bool          *is_output;
    int           *step_of;  /* or -1 */
    int           *last_use; /* step that reads the node's memory last; step_count: of another run perhaps */
    clg__place    *place;
    clg__step     *steps;
    int            step_count;
    clg__interval *intervals;
    size_t         interval_count, interval_capacity;
    clg__planned  *launches;
    size_t         launch_count, launch_capacity;
    clg__text      source; /* generated kernels */
    clg__text     *bodies; /* one each, to find equal ones again */
    size_t         body_count, body_capacity;
    clg__buffer  **slabs;
    clg__slabs     slab_sizes;
    clg__held     *held;
    size_t         held_count, held_capacity;
    uint64_t       prepared; /* the version of all sources for which the kept launches have run; 0: none */
    clg__hook     *hooks, **last_hook;
    uint64_t       runs;
    bool           observed; /* every node alone, and readable */
    size_t         guard; /* elements of slack around every interval, for tests */
    clg_plan_stats stats;
    double        *seconds; /* of each launch, once measured */
};

/* A growing array of the plan: room for one more. NULL when out of memory (the plan's context has failed then). */
void *clg__plan_grow(clg_plan *p, void *array, size_t *capacity, size_t count, size_t size);

bool clg__plan_fuse(clg_plan *p);   /* needed -> steps, in the order of execution */
bool clg__plan_place(clg_plan *p);  /* steps -> place, intervals */
bool clg__plan_keep(clg_plan *p);   /* in the midst of that: storages that are placed -> held, lasting, last_use */
bool clg__plan_fits(clg_plan *p);   /* what must persist is compared with the device's memory */
bool clg__plan_record(clg_plan *p); /* steps -> launches */
bool clg__plan_bind(clg_plan *p);   /* launches -> kernels */

/* All stages but the last: nothing is allocated on the device or built. clg__plan_bind makes a plan of it. */
clg_plan *clg__plan_prepare(clg_tensor *const *outs, size_t count, size_t guard);

/* Does `in` last, so that what is made of it can be kept? Then its storage becomes a source (kept.c). */
bool clg__plan_lasts(clg_plan *p, const clg_tensor *in);
/* The version of all sources, never 0. */
uint64_t clg__plan_version(const clg_plan *p);

/* What comes before the launches of a run: hooks, and word of what it writes (run.c). */
void clg__plan_begin(clg_plan *p);
/* Enqueues launch i. */
clg_status clg__plan_launch(clg_plan *p, size_t i);

/* What a step costs at least (cost.c). */
clg__cost clg__plan_cost(const clg_plan *p, int step);

/* Records the generated kernel of a pointwise step. */
clg_status clg__plan_pointwise(clg_plan *p, int step);

/* The nodes before the step's operator as macros and arguments of its kernels (pointwise.c); `args` has room for both limits
 * of fuse.c together. NULL: out of memory. */
enum { CLG__MOST_PRODUCED = 8 }; /* tensors, and numbers, that make an operator's input */
const char *clg__plan_producer(clg_plan *p, int step, clg__planned_arg *args, size_t *count);

/* The memory that t shows: its base's place, moved by views. */
clg__place clg__plan_where(const clg_plan *p, const clg_tensor *t);
int        clg__plan_interval(clg_plan *p, uint64_t bytes, int first, int last); /* -1 when out of memory */
bool       clg__plan_add_launch(clg_plan *p, const clg__planned *launch);

/* Does node t read the element it writes at the same index from `in`, and nothing else of it? */
bool clg__reads_exactly(const clg_tensor *t, const clg_tensor *in);

/* ---- values (value.c) -------------------------------------------------------------------------------------------- */

/* Allocates the storage and gives it its first values, unless that has happened. */
clg_status clg__storage_ready(clg__storage *s);

/* clg_plan_create_all with `guard` elements of slack on both sides of every interval. clg__plan_guards_fill writes a
 * pattern over all planned memory; clg__plan_guards_intact tells whether every slack still has it. For tests. */
clg_plan  *clg__plan_create_guarded(clg_tensor *const *outs, size_t count, size_t guard);
clg_status clg__plan_guards_fill(clg_plan *p);
bool       clg__plan_guards_intact(clg_plan *p);

#endif
