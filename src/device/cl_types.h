/* cl_types.h - the OpenCL side of contexts, buffers, programs and kernels, for src/device and src/blas alone.
 *
 * A context owns one in-order queue. `queue` is NULL exactly when it failed to open; such a context stays failed, so
 * clg__usable is all that a call has to ask before it touches OpenCL. */
#ifndef CLG_CL_TYPES_H
#define CLG_CL_TYPES_H

#include "device/device.h"
#include <CL/cl.h>

enum {
    CLG__SLOTS      = 16,
    CLG__SLOT_BYTES = 1 << 20, /* larger writes block instead of being staged */
};

typedef struct clg__builders clg__builders;

typedef struct clg__slot { /* host memory that a write in flight reads from */
    void    *data;
    size_t   capacity;
    cl_event event; /* of the last write from it, or NULL */
} clg__slot;

typedef struct clg__traced clg__traced;
typedef struct clg__tuned  clg__tuned;

struct clg_context {
    clg__root        root;
    int              process; /* clg__process when it was opened */
    clg_device_list *list;
    clg_device_info *info; /* in list; its profile is the one in use */
    cl_device_id     device;
    cl_context       cl;
    cl_command_queue queue;
    bool             slow_fma; /* the device has no instruction for it, or does not say so */
    clg_counters     counters;
    clg__program    *programs; /* newest first */
    bool             deferring; /* between clg__builds_defer and clg__builds_finish */
    bool             later;     /* clg_context_build_later: finish is called by the first launch */
    clg__kernel     *pending, **last_pending;
    clg__builders   *builders; /* or NULL */
    uint64_t         built_elsewhere; /* kernels, by builders */
    char            *dump_dir;  /* NULL: sources are not written */
    double           opened; /* clg__seconds */
    clg__slot        slots[CLG__SLOTS];
    unsigned         next_slot;
    bool             tracing;
    clg__traced     *trace;
    size_t           trace_count, trace_capacity;
    char            *quarantine; /* entries, one a line */
    clg_profile      general;    /* for operators whose own kernels are in quarantine */
    clg__tuned      *tuned; /* src/blas/tuned.c; NULL: not asked for yet */
};

struct clg__buffer { /* not an object of the context: whoever made it destroys it */
    clg_context *ctx;
    cl_mem       mem;
    size_t       size;
};

struct clg__program {
    clg__object   object;
    clg__program *next;
    cl_program    cl;
    char         *source, *title; /* title: "cl/softmax.cl", for messages */
    clg__text     names;          /* of the kernels that wait for it, each with its terminating zero */
    unsigned      number;         /* in a bundle, from 1 on: kernel f is f_k1 in cl; 0: alone */
    size_t        sent;           /* of the names, to builders */
    bool          begun, built;   /* by builders */
    uint64_t      key;
    bool          known;   /* to the driver, from this or an earlier process */
    bool          unsaved; /* built from source, to be stored on disk when the context ends */
};

/* fork.c: which process this is, counted from its first ancestor that used OpenCL; and whether this one may: it may not
 * where an ancestor has. */
extern int clg__process;
bool       clg__may_use_opencl(void);

static inline bool clg__usable(const clg_context *ctx)
{
    return ctx && ctx->queue && ctx->root.status == CLG_OK && ctx->process == clg__process;
}

/* "CL_INVALID_VALUE"; never NULL. */
const char *clg__cl_name(cl_int code);

/* Fails the context with the text, the OpenCL error's name and number; the status is OUT_OF_MEMORY where the code says
 * so, else OPENCL. */
clg_status clg__cl_fail(clg_context *ctx, cl_int code, const char *format, ...) CLG_PRINTF(3, 4);

/* list.c */
cl_device_id     clg__list_device_id(const clg_device_list *list, const clg_device_info *info);
cl_platform_id   clg__list_platform_id(const clg_device_list *list, const clg_device_info *info);
clg_device_info *clg__list_info(clg_device_list *list, const clg_device_info *info); /* the same, to be changed */
const char      *clg__list_engine(const clg_profile *profile);

/* profile.c */
const char *clg__profile_base(const clg_device_info *info);
void clg__profile_of(clg_profile *profile, const char *base, const clg_device_info *info);
/* The device's profile with `text` applied, over what suits the device under the base that the text names. */
clg_status clg__profile_apply(clg_device_info *info, const char *text, char *error, size_t error_size);

void       clg__profile_avoid(clg_device_info *info, const char *quarantine); /* values that are in quarantine */

/* quarantine.c */
clg_status clg__quarantine_open(clg_context *ctx, const char *given); /* given NULL: the file's entries */
bool       clg__quarantine_has(const char *entries, const char *base, const char *key, unsigned value);

/* buffer.c */
void clg__slots_free(clg_context *ctx);

/* pocl.c. The first is called before a driver is, which looks once for the directory of its files. The second: why the
 * driver of this platform cannot compile, when it does that into files and they cannot be written; or "". The third
 * makes a buffer. Between the last two one context at a time is taken down. */
void         clg__driver_begins(void);
void         clg__driver_fault(const clg_device_list *list, int platform, char *text, size_t size);
cl_mem       clg__driver_buffer(clg_context *ctx, size_t bytes, cl_int *code);
void         clg__teardown_begins(void);
void         clg__teardown_ends(void);

/* cache.c: a program's binary on disk. `known`: this or an earlier process had it built. */
cl_program clg__binary_load(clg_context *ctx, const char *source, bool *known);
void       clg__binary_store(clg_context *ctx, const char *source, cl_program program);
void       clg__binary_mark(clg_context *ctx, const char *source); /* known from now on */

/* program.c */
extern const char clg__build_options[];
void clg__programs_save(clg_context *ctx); /* on disk, as far as that is quick */
bool clg__programs_build(clg_context *ctx); /* all that were deferred */

/* bundle.c: adds a program's source to a bundle, as its number `number`. */
void clg__bundle_append(clg__text *text, const char *source, unsigned number);

/* builders.c: has builders build the programs and their kernels, and calls `done` when a program is in the driver's
 * cache. */
typedef void clg__built(clg_context *ctx, clg__program *program);
void clg__builders_run(clg_context *ctx, clg__program *const *programs, size_t count, clg__built *done);
void clg__builders_warm(clg_context *ctx); /* starts them when the cache is empty: they will be needed */
void   clg__builders_destroy(clg__builders **builders);

/* trace.c: where the event of a command that is about to be enqueued goes; NULL unless the context traces. */
cl_event *clg__trace(clg_context *ctx, clg_trace_kind kind, const char *name, uint64_t bytes);

#endif
