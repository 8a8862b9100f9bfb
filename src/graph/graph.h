/* graph.h - the inside of graphs and models, for src/plan.
 *
 * A graph is its nodes in creation order, which is a topological order. Leaves refer to storages: persistent device memory
 * that several graphs may see and that is allocated when the first plan (or write) needs it. A storage is freed with the
 * last graph, model or plan that refers to it; it is the only thing in the library that is counted. */
#ifndef CLG_GRAPH_INTERNAL_H
#define CLG_GRAPH_INTERNAL_H

#include "graph/op.h"
#include <clgrad/nn.h>

typedef struct clg__storage clg__storage;
struct clg__storage {
    uint64_t    id;     /* unique in the process, never 0 */
    int64_t     count;  /* elements */
    clg__root  *root;
    struct clg__buffer *buffer; /* NULL until it is needed: clg__storage_ready in src/plan */
    void (*release)(clg__storage *self); /* frees the buffer; set together with it */
    void (*fill)(const clg__storage *self, void *host); /* first values; NULL: zeros */
    void       *owner;  /* for fill */
    const char *what;   /* for messages: "the parameters" */
    uint64_t    version; /* counts the writes: clg__storage_changed */
    int         refs;
    clg_dtype   dtype;
    bool        sealed; /* count is final */
    bool        fed;    /* an input, which is written before each run as a rule */
    bool        unseen; /* others may write it, who do not say so: an upload, the owner of its cl_mem */
};

clg__storage *clg__storage_create(clg__root *root, clg_dtype dtype, int64_t count, const char *what);
void          clg__storage_retain(clg__storage *s);
void          clg__storage_release(clg__storage **s);

/* Plans keep what they have made of a storage until it changes (src/plan/kept.c): whoever writes one, or is about to enqueue
 * that, says so. The version never falls; it differs from the one that was told last if somebody may have written. */
void     clg__storage_changed(clg__storage *s);
uint64_t clg__storage_version(clg__storage *s);

struct clg_graph {
    clg__object    object;
    clg_context   *ctx;
    clg__arena     arena;
    clg_tensor   **nodes;
    uint32_t       count;
    size_t         capacity;
    clg__storage **storages; /* each held once */
    size_t         storage_count, storage_capacity;
    clg_tensor   **updates;
    size_t         update_count, update_capacity;
    bool           training, observed; /* observed: nothing is fused, every value readable */
    bool           alone; /* its plans fuse nothing: for checks of single operators */
};

/* Makes the graph hold on to `s`; false when out of memory. */
bool clg__graph_hold(clg_graph *g, clg__storage *s);

/* The leaf of g for elements [offset, offset + shape) of `s`, created when it is new. */
clg_tensor *clg__leaf(clg_graph *g, clg__storage *s, int64_t offset, clg_shape shape);

/* The node whose memory a chain of views shows. */
const clg_tensor *clg__base_of(const clg_tensor *t);

/* How many elements from the start of that memory on. */
int64_t clg__view_offset(const clg_tensor *t);

/* clg_gradients, but out[i] is NULL where the loss does not depend on wrt[i]. */
clg_status clg__gradients_or_null(clg_tensor *loss, clg_tensor *const *wrt, size_t count, clg_tensor **out);

/* ---- operators that the graph itself knows (core.c) ---------------------------------------------------------------- */

enum { CLG__OP_LEAF, CLG__OP_FULL, CLG__OP_ASSIGN, CLG__OP_PACK };
extern const clg__op clg__ops_core[];
#define clg__op_leaf   clg__ops_core[CLG__OP_LEAF]
#define clg__op_full   clg__ops_core[CLG__OP_FULL]
#define clg__op_assign clg__ops_core[CLG__OP_ASSIGN]
#define clg__op_pack   clg__ops_core[CLG__OP_PACK]

typedef struct clg__full_attr {
    clg_shape shape;
    double    value;
} clg__full_attr;

typedef struct clg__assign_attr {
    clg_tensor *to; /* a leaf of the same graph */
} clg__assign_attr;

/* pack: the inputs laid out one after another in `storage`, input i from element offset[i] on. */
typedef struct clg__pack_attr {
    clg__storage *storage;
    int64_t       offset[]; /* arity of them */
} clg__pack_attr;

/* ---- models ------------------------------------------------------------------------------------------------------- */

/* Parameters start at multiples of this many elements, so that vectors over one parameter are aligned. */
enum { CLG__PARAMETER_ALIGN = 16 };

typedef struct clg__parameter {
    char        *name;
    clg_shape    shape;
    int64_t      count, offset;
    clg_fill_fn *fill;
    double       scale;
    clg__storage *in; /* the model's values, or its states */
    bool         frozen;
} clg__parameter;

struct clg_model {
    clg__object     object;
    clg_context    *ctx;
    clg__storage   *values, *gradients, *states;
    clg__parameter *parameters;
    size_t          count, capacity;
    uint64_t        seed;
};

/* ---- the double-precision interpreter (reference.c) ---------------------------------------------------------------- */

/* Computes nodes on the host by the operators' references. Leaves take their values from `leaf`. */
typedef struct clg__reference clg__reference;
clg__reference *clg__reference_create(clg_graph *g);
void            clg__reference_destroy(clg__reference **ref);
void            clg__reference_set(clg__reference *ref, const clg_tensor *leaf, const double *value);
/* The value of t, computed anew from the leaves; NULL when out of memory or an operator has no reference. */
const double *clg__reference_value(clg__reference *ref, const clg_tensor *t);

#endif
