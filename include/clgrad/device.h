/* device.h - OpenCL devices, and the context that everything else is created from. */
#ifndef CLGRAD_DEVICE_H
#define CLGRAD_DEVICE_H

#include <clgrad/base.h>
#include <clgrad/profile.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- listing -------------------------------------------------------------------------------------------------- */

typedef enum clg_device_type {
    CLG_DEVICE_GPU,         /* with memory of its own */
    CLG_DEVICE_IGPU,        /* a GPU that shares the host's memory */
    CLG_DEVICE_ACCELERATOR,
    CLG_DEVICE_CPU,
    CLG_DEVICE_OTHER,
} clg_device_type;

typedef struct clg_device_info {
    int             platform, device; /* "P:D" selects it */
    clg_device_type type;
    bool            available;   /* can be used now */
    bool            is_default;  /* what a context takes when nothing is said */
    char           *name, *vendor, *driver;      /* the driver's own strings */
    char           *version, *c_version;         /* "OpenCL 3.0 ...", "OpenCL C 1.2 ..." */
    char           *extensions;                  /* separated by spaces */
    uint64_t        memory, max_allocation, local_memory; /* bytes */
    uint32_t        compute_units, clock_mhz, vector_width; /* native width of a float vector */
    size_t          max_work_group;
    clg_profile     profile;     /* what would be used for it, overrides included */
    const char     *gemm_engine; /* "clblast" or "built-in" */
} clg_device_info;

typedef struct clg_platform_info {
    char *name, *vendor, *version;
} clg_platform_info;

typedef struct clg_device_list {
    clg_platform_info *platforms;
    size_t             platform_count;
    clg_device_info   *devices; /* ordered by platform, then device; a platform without any is normal */
    size_t             device_count;
} clg_device_list;

/* All platforms and devices of this machine. No platform at all is an empty list, not an error.
 * NULL only when out of memory. */
CLG_API clg_device_list *clg_device_list_create(void);
CLG_API void             clg_device_list_destroy(clg_device_list **list);

/* The device that `selector` means: "P:D", "gpu", "cpu", or a case-insensitive part of a device's or platform's name;
 * NULL or "" means the default (a discrete GPU, then an integrated one, then an accelerator, then a CPU). When nothing
 * or several match, returns NULL with a text in `error` that lists the candidates (1 KiB is plenty). */
CLG_API const clg_device_info *clg_device_list_select(const clg_device_list *list, const char *selector, char *error,
                                                      size_t error_size);

CLG_API const char *clg_device_type_name(clg_device_type type); /* "GPU", "integrated GPU", ... */

/* ---- context -------------------------------------------------------------------------------------------------- */

typedef struct clg_context clg_context;

typedef struct clg_context_desc {
    const char *device;  /* as clg_device_list_select; NULL: $CLGRAD_DEVICE, else the best */
    const char *profile; /* as clg_profile_parse; NULL: $CLGRAD_PROFILE, else by the device */
    const char *quarantine; /* entries as in doctor.h; NULL: those that are kept for the device */
    bool        no_cache; /* build every program anew, store none */
    bool        trace;    /* keep the times of what is enqueued, for clg_context_trace and clg_plan_measure */
    const char *dump_programs; /* a directory: the source of every program in use goes there as <unit>-<hash>.cl, exactly as
                                * it is compiled; that of generated programs as generated-<hash>.cl;
                                * NULL: $CLGRAD_DUMP_PROGRAMS, else none is written */
} clg_context_desc;

/* Opens a device. Returns a context even when that fails, so that clg_context_error can say why; a failed context turns
 * every constructor into NULL. NULL only when out of host memory.
 *
 * A process that forks before it has used clgrad may use it on both sides. After that the child may not: what it has
 * inherited can only be destroyed (which leaves the memory to the end of the process), a device list is empty and a context
 * fails (CLG_UNSUPPORTED), for drivers do not survive a fork. A child that calls exec is as free as any program. */
CLG_API clg_context *clg_context_create(const clg_context_desc *desc);

/* Waits for the device, then frees everything created from the context. */
CLG_API void clg_context_destroy(clg_context **ctx);

/* The first error since the context was created or cleared; clg_context_failed(NULL) is true. */
CLG_API bool       clg_context_failed(const clg_context *ctx);
CLG_API clg_status clg_context_status(const clg_context *ctx);

/* The error's text: what was wrong, where, what to do. When the context has not failed: the text of the last file
 * operation that returned a status other than CLG_OK, else "". Never NULL; valid until the next call on the context. */
CLG_API const char *clg_context_error(const clg_context *ctx);

/* The compiler's log that belongs to the error, or "". */
CLG_API const char *clg_context_build_log(const clg_context *ctx);

/* Forgets the error, so that a long-lived program can go on; a context that could not be opened stays failed. */
CLG_API void clg_context_clear_error(clg_context *ctx);

/* For layers, optimisers and data sets outside the library. clg_context_fail records an error as the library's own
 * functions do (the first one wins) and returns `status`. clg_context_own makes the context call destroy(object) when it
 * ends, before it destroys what was created earlier; false when out of memory. clg_context_disown takes that back. */
CLG_API clg_status clg_context_fail(clg_context *ctx, clg_status status, const char *format, ...) CLG_PRINTF(3, 4);
CLG_API bool       clg_context_own(clg_context *ctx, void *object, void (*destroy)(void *object));
CLG_API void       clg_context_disown(clg_context *ctx, void *object);

/* The kernels of the plans that are made from here on are built together, when the first of these plans runs: quicker than
 * plan by plan. What is wrong with a kernel is told then. */
CLG_API void clg_context_build_later(clg_context *ctx);

/* Waits until the device has done everything that was enqueued. */
CLG_API clg_status clg_context_finish(clg_context *ctx);

CLG_API const clg_device_info *clg_context_device(const clg_context *ctx);

/* What the context has done so far; subtract two readings to measure a stretch. */
typedef struct clg_counters {
    uint64_t bytes_to_device, bytes_from_device;
    uint64_t allocations;      /* device buffers ever created */
    uint64_t bytes_allocated;  /* held now */
    uint64_t launches;         /* kernels enqueued, a CLBlast call counting as one */
    uint64_t program_builds;   /* from source */
    uint64_t program_loads;    /* from the cache on disk */
} clg_counters;

CLG_API clg_counters clg_context_counters(const clg_context *ctx);

/* ---- times ------------------------------------------------------------------------------------------------------ */

typedef enum clg_trace_kind { CLG_TRACE_KERNEL, CLG_TRACE_UPLOAD, CLG_TRACE_DOWNLOAD, CLG_TRACE_HOST } clg_trace_kind;

typedef struct clg_trace_event {
    clg_trace_kind kind;
    const char    *name;  /* of the kernel, or what the host did; valid during the call */
    uint64_t       bytes; /* of a transfer */
    double         start, end; /* seconds, on the host's CLOCK_MONOTONIC */
} clg_trace_event;

/* Waits for the device, then calls each(user, event) for all that a context opened with .trace has done since the last
 * call, and forgets it. It is kept in memory until then. */
typedef void clg_trace_fn(void *user, const clg_trace_event *event);
CLG_API clg_status clg_context_trace(clg_context *ctx, clg_trace_fn *each, void *user);

#ifdef __cplusplus
}
#endif
#endif
