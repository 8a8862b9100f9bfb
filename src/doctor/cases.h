/* cases.h - the operator table on a device: what clg_doctor_run and tests/test_ops.c share.
 *
 * A case is a row of op_table.h. Its results, gradients and, where smooth, gradients of gradients are compared with the
 * double-precision interpreter. Many cases share a plan, since what differs only in sizes is compiled once; when a plan of
 * many does not build, run or keep within its memory, halves of it are tried. The loss of a case is sum(y w), its slope
 * sum(d loss / d input * v), with w and v drawn at random.
 *
 *   terms    how many products or sums one element of a result or of a gradient accumulates: float32 may be off by
 *            sqrt(terms) roundings of the tensor's largest element, times a constant that is the same for all rows
 *   EXACT    values are small integers, so that every sum is a float32: the device must agree to the last bit
 *   SMOOTH   has a second derivative that differences can see
 *   EVERY_AXES  the row stands for one case per non-empty subset of the axes */
#ifndef CLG_DOCTOR_CASES_H
#define CLG_DOCTOR_CASES_H

#include "graph/graph.h"
#include "plan/plan.h"

typedef enum op_values {
    NOTHING,
    NORMAL,   /* uniform in [-2, 2] */
    POSITIVE, /* uniform in [0.5, 2.5] */
    AWAY,     /* 0.5 to 2, of either sign */
    DISTINCT, /* in [-1, 1], every element its own, in shuffled order */
    WHOLE,    /* integers from -4 to 4 */
    UNIT,     /* uniform in [0, 1] */
    LABELS,   /* i32: a class, or -1 for every third row */
    NO_LABELS, /* i32: -1 */
    INDICES,  /* i32: rows of in[0], also some before the first and beyond the last */
    BYTES,    /* u8 */
    NUMBERS,  /* i32 */
    BITS,     /* i32: 0 or 1 */
} op_values;

typedef struct op_input {
    op_values values;
    clg_shape shape;
} op_input;

enum op_row_flags {
    EXACT      = 1 << 0,
    SMOOTH     = 1 << 1,
    EVERY_AXES = 1 << 2,
    FIXED      = 1 << 3, /* forward only: there is no derivative, or other rows have it */
};

typedef struct op_row op_row;
struct op_row {
    const char *op; /* a name of the registry: it has to occur in what `build` makes */
    clg_tensor *(*build)(const op_row *row, clg_tensor *const *in);
    op_input    in[3];
    unsigned    flags;
    double      terms; /* 0 means 1 */
    union {
        clg_reduce_desc reduce;
        clg_matmul_desc matmul;
        clg_conv2d_desc conv;
        clg_conv1d_desc conv1d;
        clg_pool2d_desc pool;
        clg_batch_norm_desc norm;
        clg_attention_desc attention;
        struct {
            clg_conv2d_desc conv;
            clg_pool2d_desc pool;
        } conv_pool;
        clg_shape       shape;
        int             dims[5];
        double          numbers[2];
        int             axes[CLG_MAX_RANK];
        int64_t         pad[2][CLG_MAX_RANK];
    } with;
};

enum {
    CLG__CASE_INPUTS = 3,
    CLG__CASE_LEAVES = 2 * CLG__CASE_INPUTS + 1, /* inputs, w, the v */
    CLG__CASE_OUTS   = 2 * CLG__CASE_INPUTS + 2, /* y, first derivatives, second ones (of w too) */
};

typedef struct clg__case {
    op_row      row;
    const char *table;
    char        name[40]; /* "conv2d.5": the sixth case whose row names conv2d */
    int64_t     elements; /* of its inputs */
} clg__case;

clg__case *clg__cases_create(size_t *count); /* all there are; to be freed; NULL: out of memory */

typedef struct clg__fault {
    const clg__case *of;     /* NULL: of many together, and of none of them alone */
    char             text[512];
} clg__fault;

typedef struct clg__check {
    uint64_t seed;      /* of the values */
    bool     guarded;   /* what the plan places starts at odd offsets, between guards */
    bool     displaced; /* guarded, and inputs and results are copied there; without fusion, or the copies would be folded into
                           the operators */
    bool     thorough;  /* the reference's own gradients against differences; the same bits in a second run */
    bool     graph_only; /* of a batch: no values */
    void    *user;
    void (*failed)(void *user, const clg__fault *fault); /* called for every case that fails, once or more */
} clg__check;

/* Leaves the context without an error. */
void clg__cases_check(clg_context *ctx, const clg__case *cases, size_t count, const clg__check *check);

/* The name of the first operator in the case's graph whose result is wrong for the inputs that the device itself computed;
 * NULL when every one is right by itself. */
const char *clg__case_blame(clg_context *ctx, const clg__case *c, uint64_t seed);

/* ---- a graph of cases (batch.c) ----------------------------------------------------------------------------------- */

typedef struct clg__subject {
    const clg__case *of;
    clg_tensor *leaf[CLG__CASE_LEAVES], *out[CLG__CASE_OUTS];
    op_values   values[CLG__CASE_LEAVES];
    double     *value[CLG__CASE_LEAVES];
    int         inputs, leaves, outs;
    clg_tensor *wrt[CLG__CASE_INPUTS + 1]; /* float inputs, then w */
    clg_tensor *d[CLG__CASE_INPUTS], *dd[CLG__CASE_INPUTS + 1];
    int         wrts;
    clg_tensor *loss, *slope;
    double      largest[CLG__CASE_OUTS]; /* element of a result, in a few draws of the values: one may nearly cancel */
    uint64_t    seed;
    uint32_t    first, last; /* its nodes: from first on, before last */
} clg__subject;

typedef struct clg__batch {
    clg_context  *ctx;
    clg_graph    *g;
    clg__subject *subjects;
    size_t        count;
    clg_tensor  **outs;
    size_t        out_count;
} clg__batch;

/* The graph and the values; a case that cannot be built is told to `failed` and left out. */
bool clg__batch_open(clg__batch *b, clg_context *ctx, const clg__case *cases, size_t count, const clg__check *check);
void clg__batch_close(clg__batch *b);
bool clg__batch_has(const clg__batch *b, size_t subject, const char *op);

double *clg__subject_draw(const clg__subject *s, int leaf, uint64_t seed); /* to be freed */
void    clg__case_fault(const clg__check *check, const clg__case *of, const char *format, ...) CLG_PRINTF(3, 4);

/* What float32 may be off by, in a tensor whose largest element is `largest`. */
double clg__case_tolerance(const op_row *row, double largest);

#endif
