/* device.h - what the rest of the library sees of OpenCL: buffers, programs, kernels. No cl_ type appears here; they
 * are in device/cl_types.h for src/device and src/blas alone.
 *
 * Every call accepts a failed context and does nothing then; errors go to the context. */
#ifndef CLG_DEVICE_INTERNAL_H
#define CLG_DEVICE_INTERNAL_H

#include "base/base.h"
#include <clgrad/device.h>

static inline clg__root *clg__context_root(clg_context *ctx) { return (clg__root *)ctx; }

/* ---- buffers (buffer.c) ------------------------------------------------------------------------------------------ */

typedef struct clg__buffer clg__buffer;

/* Uninitialised device memory. `what` names it in the error ("the parameters"), which says how much was needed and how
 * much the device has. Zero bytes give a buffer of a few bytes. Counted in `allocations` and `bytes_allocated`. */
clg__buffer *clg__buffer_create(clg_context *ctx, size_t bytes, const char *what);
void         clg__buffer_destroy(clg__buffer **buffer);
size_t       clg__buffer_size(const clg__buffer *buffer);
void        *clg__buffer_handle(const clg__buffer *buffer); /* its cl_mem */

/* Write copies `data` into a staging slot and enqueues; it waits only when all slots are still in flight (a large write
 * may be blocking). Read waits. Offsets and sizes in bytes. Both counted. Zero-sized: no-ops. */
clg_status clg__buffer_write(clg_context *ctx, clg__buffer *buffer, size_t at, const void *data, size_t bytes);
clg_status clg__buffer_read(clg_context *ctx, clg__buffer *buffer, size_t at, void *data, size_t bytes);

/* upload.c: to bytes of a buffer (tensor.h has the rest). */
struct clg_upload *clg__upload_create(clg_context *ctx, clg__buffer *buffer, size_t at, size_t bytes);

/* ---- programs (program.c) ---------------------------------------------------------------------------------------- */

/* A program is `defines` + prelude.cl + the embedded unit cl/<unit>.cl (when unit is set) + `source` (when set), built
 * with the profile's macros WG and VEC defined. Kept by the context: the same three give the same program again. */
typedef struct clg__program clg__program;

typedef struct clg__program_desc {
    const char *unit;    /* "softmax" for cl/softmax.cl, or NULL */
    const char *defines; /* "#define X 1\n" lines, or NULL */
    const char *source;  /* generated code, or NULL */
} clg__program_desc;

clg__program *clg__program_get(clg_context *ctx, const clg__program_desc *desc); /* owned by the context */
clg_status    clg__units_read(clg_context *ctx); /* can all of cl/ be read? CLGRAD_CL_DIR may be wrong */

/* Between these two calls programs and kernels are only noted; the second one builds all of them, in parallel where that
 * helps (builders.c). A kernel cannot be enqueued before. Returns the context's status. */
void       clg__builds_defer(clg_context *ctx);
clg_status clg__builds_finish(clg_context *ctx);

/* ---- times (trace.c): nothing unless the context was opened with .trace -------------------------------------------- */

void   clg__trace_host(clg_context *ctx, const char *name, double start); /* host work that ends now; start: clg__seconds */
size_t clg__trace_count(const clg_context *ctx);
double clg__trace_busy(const clg_context *ctx, size_t from, size_t to); /* seconds that those commands ran, once finished */
void   clg__trace_forget(clg_context *ctx);
double clg__seconds(void); /* a clock that only runs forward */

/* ---- quarantine (quarantine.c) ------------------------------------------------------------------------------------- */

/* The profile by which the operator launches its kernels; NULL, with the error in the context, when it may not. */
const clg_profile *clg__profile_for(clg_context *ctx, const char *op);

/* The file: its entries, to be freed, or NULL with the error reported; entries "" remove it. */
char      *clg__quarantine_load(clg_context *ctx);
clg_status clg__quarantine_save(clg_context *ctx, const char *entries);

/* ---- kernels (kernel.c) ------------------------------------------------------------------------------------------ */

typedef struct clg__span { /* TENSOR(p) in a kernel: a buffer and an offset in elements, two arguments */
    clg__buffer *buffer;
    uint64_t     at;
} clg__span;

typedef enum clg__value_kind { CLG__SPAN, CLG__I32, CLG__U32, CLG__U64, CLG__F32, CLG__LOCAL } clg__value_kind;

typedef struct clg__value {
    clg__value_kind kind;
    union {
        clg__span span;
        int32_t   i32;
        uint32_t  u32;
        uint64_t  u64;
        float     f32;
        size_t    local_bytes;
    };
} clg__value;

typedef struct clg__kernel_desc {
    clg__program     *program;
    const char       *name;
    const clg__value *args;
    size_t            arg_count;
    size_t            groups[3]; /* groups[0] > 0; of the others 0 means 1 */
    size_t            local[3];  /* all 0: {WG, 1, 1}; must equal the kernel's reqd_work_group_size */
} clg__kernel_desc;

/* One launch, its arguments set once and for all. NULL on an error. groups[0] == 0 is an error of the caller: empty
 * work records nothing. */
typedef struct clg__kernel clg__kernel;
clg__kernel *clg__kernel_create(clg_context *ctx, const clg__kernel_desc *desc);
void         clg__kernel_destroy(clg__kernel **kernel);
clg_status   clg__kernel_enqueue(clg_context *ctx, clg__kernel *kernel);
const char  *clg__kernel_name(const clg__kernel *kernel);

#endif
