/* op.h - all that an operator unit sees: nodes, shape inference, differentiation, launches, references.
 *
 * An operator is one clg__op in the table clg__ops_<unit> of src/ops/<unit>.c. It never sees OpenCL: what it may launch is
 * declared here (rows, pointwise, kernel, gemm) and carried out by src/plan. */
#ifndef CLG_OP_H
#define CLG_OP_H

#include "base/base.h"
#include "base/gemm_desc.h"
#include "base/tile.h"
#include <clgrad/ops.h>
#include <math.h>

typedef struct clg__op     clg__op;
typedef struct clg__infer  clg__infer;
typedef struct clg__grad   clg__grad;
typedef struct clg__record clg__record;
typedef struct clg__ref    clg__ref;

/* ---- nodes ------------------------------------------------------------------------------------------------------ */

struct clg_tensor {
    clg_graph          *graph;
    const clg__op      *op;
    clg_tensor        **in; /* arity of them */
    const void         *attr; /* the operator's own attributes, copied */
    struct clg__storage *storage; /* persistent tensors, and outputs of plans: where the value lies */
    const char         *name;   /* or NULL */
    int64_t             count;  /* elements */
    int64_t             offset; /* in storage, in elements */
    uint32_t            id;     /* creation order, a topological order */
    int                 arity;
    clg_dtype           dtype;
    clg_shape           shape;
};

enum {
    CLG__VARIADIC   = -1,
    CLG__MAX_INPUTS = 8, /* of an operator of fixed arity */
};

enum clg__flags {
    CLG__POINTWISE = 1 << 0, /* `expr` computes an element from the elements of the broadcast inputs */
    CLG__INPLACE   = 1 << 1, /* the output may lie where the first input lay */
    CLG__VIEW      = 1 << 2, /* no launch: the output is the first input's memory */
    CLG__LEAF      = 1 << 3, /* no launch: the value is there before the plan runs */
    CLG__NO_GRAD   = 1 << 4, /* the derivative is zero everywhere, or makes no sense */
    CLG__EPILOGUE  = 1 << 5, /* record honours clg__record.epilogue */
    CLG__EPILOGUE_OTHER = 1 << 7, /* and clg__record.other with it */
    CLG__EPILOGUE_CHAIN = 1 << 10, /* and clg__record.channels: of a result [N, C, ...]; made of several nodes */
    CLG__PRODUCED  = 1 << 11, /* record reads its first input as CLG__SOURCE, honouring clg__record.producer */
    CLG__PART      = 1 << 6, /* with CLG__VIEW: attr starts with a clg__part, which says where in the first input */
    CLG__BYTES     = 1 << 8, /* what lies outside the parts of the result is no float32 */
    CLG__MERGED    = 1 << 9, /* made of other operators where clg__may_rewrite, and not missed elsewhere */
};

/* The least a device has to do: bytes to and from memory, floating-point operations (a multiply-add is two). */
typedef struct clg__cost {
    double bytes, flops;
} clg__cost;

struct clg__op {
    const char *name;
    int         arity; /* or CLG__VARIADIC */
    unsigned    flags;
    const char *expr;  /* pointwise: OpenCL C in a, b, c, ... (the inputs) of type T, a float or a vector of floats */
    const clg__op *forward; /* of a gradient: the operator of which it reads all inputs, first, and which record can compute with it */
    unsigned    numbers;    /* bit k: record takes input k, of one element, as CLG__NUMBER */
    clg_status (*infer)(clg__infer *i);
    clg_tensor *(*gradient)(const clg__grad *g, int input); /* d loss / d in[input]; NULL result: zero */
    clg_tensor *(*added)(clg_tensor *sum, const clg_tensor *t); /* sum + t where that saves work: a node, or NULL */
    clg_tensor *(*masked)(const clg_tensor *d, clg_tensor *y); /* relu_grad(y, d), d the gradient of y = relu(), likewise */
    clg_status (*record)(clg__record *r);
    void (*reference)(const clg__ref *r);
    clg__cost (*cost)(const clg_tensor *t); /* NULL, or .bytes 0: inputs and output; NULL: one operation an element */
};

/* The registry: every table of src/ops, generated from src/ops/meson.build. Ends with NULL. */
extern const clg__op *const clg__registry[];
const clg__op *clg__op_find(const char *name);

/* ---- building --------------------------------------------------------------------------------------------------- */

/* Adds a node. NULL, with an error that names the operator and its inputs' shapes, when the inputs do not fit, belong to
 * different graphs, or one is NULL (then the error is there already). attr may be NULL. */
clg_tensor *clg__apply_n(const clg__op *op, const void *attr, size_t attr_size, clg_tensor *const *in, int arity);

#define CLG__PACK(...)  ((clg_tensor *const[]){__VA_ARGS__}), (int)(sizeof((clg_tensor *[]){__VA_ARGS__}) / sizeof(clg_tensor *))
#define clg__apply(op, ...)            clg__apply_n((op), NULL, 0, CLG__PACK(__VA_ARGS__))
#define clg__apply_attr(op, attr, ...) clg__apply_n((op), (attr), sizeof *(attr), CLG__PACK(__VA_ARGS__))

/* The node that clg__apply_n would add, or an equal one that is there since the newest of its inputs was added: for
 * gradients of several inputs that one kernel computes. */
clg_tensor *clg__apply_once(const clg__op *op, const void *attr, size_t attr_size, clg_tensor *const *in, int arity);

/* The newest node of `op` with these attributes whose inputs begin with these; or NULL. */
clg_tensor *clg__find_newest(const clg__op *op, const void *attr, size_t attr_size, clg_tensor *const *in, int arity);

/* Counts a negative axis from the last one; false, with the error in the context, when x has no such axis. */
bool clg__find_axis(const clg_tensor *x, const char *op, int *axis);

/* Fails the context of the graph that `any` belongs to: "<op>(<shape of any>): <text>". Returns NULL for convenience. */
clg_tensor *clg__op_fail(const clg_tensor *any, const char *op, clg_status status, const char *format, ...)
    CLG_PRINTF(4, 5);

/* i32 [1], one more at each run of a training plan: a state of the graph's own, with its update. */
clg_tensor *clg__own_step(clg_graph *g);

/* May operators be made one with their inputs? Not with CLGRAD_REWRITE=0, nor when the profile says fuse=0. */
bool clg__may_rewrite(const clg_graph *g); /* nor in one that is observed */

/* ---- shape inference -------------------------------------------------------------------------------------------- */

struct clg__infer {
    clg_graph         *graph;
    const clg__op     *op;
    clg_tensor *const *in;
    int                arity;
    const void        *attr;
    clg_shape          shape; /* to be filled in; dtype starts as f32 */
    clg_dtype          dtype;
};

clg_status clg__infer_same(clg__infer *i);      /* the first input's shape; all inputs f32 and of that shape */
clg_status clg__infer_broadcast(clg__infer *i); /* NumPy's broadcast of all inputs; all f32 */
clg_status clg__infer_broadcast_mixed(clg__infer *i, unsigned whole); /* where bit k is set, input k may be i32 */
clg_status clg__infer_fail(clg__infer *i, const char *format, ...) CLG_PRINTF(2, 3);

/* ---- several results ----------------------------------------------------------------------------------------------
 *
 * An operator with several results is a node [n] of flag CLG__NO_GRAD whose kernels lay them side by side, each from a
 * multiple of CLG__PART_ALIGN on. What its callers get are parts: rows of the operator table with the flags CLG__VIEW |
 * CLG__PART and with clg__part_infer and clg__part_reference, whose first input is that node, and whose further inputs are
 * those that it is differentiated by: `gradient` is asked for them. */

enum { CLG__PART_ALIGN = 16 };

typedef struct clg__part {
    int64_t   offset; /* elements */
    clg_shape shape;
} clg__part;

static inline int64_t clg__part_end(int64_t offset, int64_t count) /* where the next part starts */
{
    return (offset + count + CLG__PART_ALIGN - 1) / CLG__PART_ALIGN * CLG__PART_ALIGN;
}

clg_status clg__part_infer(clg__infer *i);
void       clg__part_reference(const clg__ref *r);

/* ---- differentiation -------------------------------------------------------------------------------------------- */

struct clg__grad {
    clg_tensor *out;  /* the node; its inputs are out->in */
    clg_tensor *dout; /* d loss / d out, of out's shape */
};

/* Sums x over the dimensions along which `shape` was broadcast to x's shape; x itself when there are none. */
clg_tensor *clg__reduce_to(clg_tensor *x, clg_shape shape);

/* The gradient of a fused operator by what it computes, in plain nodes: sum(plain(in) dout), differentiated by in[input]
 * while the other inputs stay as they are. For gradients of gradients, which need to be right rather than fast. */
clg_tensor *clg__plain_gradient(const clg__grad *g, int input,
                                clg_tensor *(*plain)(const clg_tensor *node, clg_tensor *const *in));

/* ---- launches --------------------------------------------------------------------------------------------------- */

typedef enum clg__arg_kind {
    CLG__ARG_IN, CLG__ARG_OUT, CLG__ARG_FORWARD, CLG__ARG_OTHER, CLG__ARG_CHANNEL, CLG__ARG_WORKSPACE, /* a TENSOR */
    CLG__ARG_I32, CLG__ARG_U32, CLG__ARG_U64, CLG__ARG_F32,
    CLG__ARG_ROWS, CLG__ARG_COLS, /* const uint: see clg__record */
    CLG__ARG_SOURCE, /* the first input: a TENSOR, or what it is made of */
    CLG__ARG_NUMBER, /* a NUMBER: an input of one element, in memory or not */
} clg__arg_kind;

typedef struct clg__arg {
    clg__arg_kind kind;
    union {
        int      index; /* of the input, the operand or the workspace */
        int32_t  i32;
        uint32_t u32;
        uint64_t u64;
        float    f32;
    };
} clg__arg;

#define CLG__IN(i)  ((clg__arg){.kind = CLG__ARG_IN, .index = (i)})
#define CLG__SOURCE ((clg__arg){.kind = CLG__ARG_SOURCE})
#define CLG__NUMBER(i) ((clg__arg){.kind = CLG__ARG_NUMBER, .index = (i)})
#define CLG__OUT    ((clg__arg){.kind = CLG__ARG_OUT})
#define CLG__FORWARD ((clg__arg){.kind = CLG__ARG_FORWARD}) /* the result of clg__record.forward */
#define CLG__OTHER  ((clg__arg){.kind = CLG__ARG_OTHER}) /* the epilogue's operand, where there is one */
#define CLG__CHANNEL(i) ((clg__arg){.kind = CLG__ARG_CHANNEL, .index = (i)}) /* likewise one of a number a channel */
#define CLG__WS(i)  ((clg__arg){.kind = CLG__ARG_WORKSPACE, .index = (i)})
#define CLG__INT(v) ((clg__arg){.kind = CLG__ARG_I32, .i32 = (int32_t)(v)})
#define CLG__UINT(v) ((clg__arg){.kind = CLG__ARG_U32, .u32 = (uint32_t)(v)})
#define CLG__ULONG(v) ((clg__arg){.kind = CLG__ARG_U64, .u64 = (uint64_t)(v)})
#define CLG__FLOAT(v) ((clg__arg){.kind = CLG__ARG_F32, .f32 = (float)(v)})
#define CLG__ROWS   ((clg__arg){.kind = CLG__ARG_ROWS})
#define CLG__COLS   ((clg__arg){.kind = CLG__ARG_COLS})
#define CLG__ARGS(...) ((const clg__arg[]){__VA_ARGS__}), (sizeof((const clg__arg[]){__VA_ARGS__}) / sizeof(clg__arg))

enum { CLG__MOST_CHANNELS = 2 }; /* operands of an epilogue */

/* What `record` is given. It is called once per plan, before memory is assigned; the launches are kept. */
struct clg__record {
    const clg_tensor  *node;
    const clg_profile *profile;
    uint32_t           compute_units;
    uint64_t           local_memory; /* bytes of a work-group */
    const char        *epilogue; /* an expression in a and T to apply to the result, or NULL; only for operators that fuse */
    bool               other;    /* the epilogue has a second operand b, of the result's shape: CLG__OTHER */
    int                channels; /* and so many, c and d, with a number for each channel: CLG__CHANNEL */
    bool               forward;  /* compute the op's `forward` as well: CLG__FORWARD */
    const char        *producer; /* macros by which a kernel computes its first input as it reads it, or "": cl/prelude.cl */
    uint64_t           rows, n;  /* the first input seen as a matrix: its last dimension is n */
    struct clg__recorder *recorder;
};

typedef struct clg__launch {
    const char     *unit, *kernel; /* cl/<unit>.cl */
    const char     *defines;       /* "#define K 3\n" lines, or NULL; copied */
    const clg__arg *args;
    size_t          arg_count;
    uint64_t        groups[3]; /* 0 means 1 */
    uint32_t        local[3];  /* all 0: {profile wg, 1, 1} */
    bool            prepares;  /* of the CLG__INs alone, CLG__WSs that no other launch writes: a weight, packed. It may be
                                * left out while the inputs are as they were */
} clg__launch;

/* Are so many floats more than the caches hold? They are then better written past them. */
static inline bool clg__past_caches(const clg_profile *p, uint64_t count)
{
    return p->stream && count >= (uint64_t)p->stream * (1024 / sizeof(float));
}

/* `bytes` of device memory that live from the first to the last launch of this operator; the index for CLG__WS. */
int clg__record_workspace(clg__record *r, uint64_t bytes);

clg_status clg__record_kernel(clg__record *r, const clg__launch *launch);

/* How many groups share `units` of work: as many as the profile likes. */
uint64_t clg__record_groups(const clg__record *r, uint64_t units);

/* A kernel whose groups take units of work in turn: `units` of them, in clg__record_groups. */
clg_status clg__record_units(clg__record *r, const char *unit, const char *kernel, const char *defines, uint64_t units,
                             const clg__arg *args, size_t arg_count);

/* clg__record_units with one row of the first input as the unit. */
clg_status clg__record_rows(clg__record *r, const char *unit, const char *kernel, const clg__arg *args,
                            size_t arg_count);

/* C = op(A) op(B) into `c`; bias is ignored unless gemm->bias. The epilogue is the record's. */
clg_status clg__record_gemm(clg__record *r, const clg__gemm *gemm, clg__arg a, clg__arg b, clg__arg c, clg__arg bias);

/* ---- references ------------------------------------------------------------------------------------------------- */

/* The operator in double precision on the host; integers come as doubles. */
struct clg__ref {
    const clg_tensor    *node;
    const double *const *in;
    double              *out;
    size_t               rows, n; /* as in clg__record */
};

#endif
