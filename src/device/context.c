/* context.c - one open device: its OpenCL context, its in-order queue, and the error record of all that uses it. */
#include "device/cl_types.h"
#include <clgrad/cl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

double clg__seconds(void)
{
    struct timespec t = {0};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static const char *or_environment(const char *value, const char *variable)
{
    if (!value) value = getenv(variable);
    return value && *value ? value : NULL;
}

static clg_status choose_profile(clg_context *ctx, const char *text)
{
    char error[512];
    const clg_status status = clg__profile_apply(ctx->info, text, error, sizeof error);
    return status == CLG_OK ? status : clg__fail(&ctx->root, status, "%s", error);
}

static clg_status open_device(clg_context *ctx, const clg_context_desc *desc)
{
    if (!clg__may_use_opencl())
        return clg__fail(&ctx->root, CLG_UNSUPPORTED, "OpenCL was in use when this process was forked, and drivers do not survive "
                         "that; fork before the first context or device list, or start a program of its own (exec)");
    ctx->list = clg_device_list_create();
    if (!ctx->list) return clg__fail(&ctx->root, CLG_OUT_OF_MEMORY, "out of host memory while listing OpenCL devices");
    char error[CLG__ERROR_TEXT];
    const clg_device_info *info =
        clg_device_list_select(ctx->list, or_environment(desc->device, "CLGRAD_DEVICE"), error, sizeof error);
    if (!info) return clg__fail(&ctx->root, CLG_NO_DEVICE, "%s", error);
    ctx->info = clg__list_info(ctx->list, info);
    ctx->device = clg__list_device_id(ctx->list, info);
    const clg_status status = choose_profile(ctx, or_environment(desc->profile, "CLGRAD_PROFILE"));
    if (status != CLG_OK) return status;
    if (clg__quarantine_open(ctx, desc->quarantine) != CLG_OK) return ctx->root.status;

    cl_device_fp_config config = 0;
    clGetDeviceInfo(ctx->device, CL_DEVICE_SINGLE_FP_CONFIG, sizeof config, &config, NULL);
    ctx->slow_fma = !(config & CL_FP_FMA);
    cl_int code = CL_SUCCESS;
    const cl_context_properties properties[] = {
        CL_CONTEXT_PLATFORM, (cl_context_properties)clg__list_platform_id(ctx->list, info), 0};
    ctx->cl = clCreateContext(properties, 1, &ctx->device, NULL, NULL, &code);
    if (!ctx->cl) return clg__cl_fail(ctx, code, "cannot open %s", info->name);
    ctx->tracing = desc->trace;
    ctx->queue = clCreateCommandQueue(ctx->cl, ctx->device, desc->trace ? CL_QUEUE_PROFILING_ENABLE : 0, &code);
    if (!ctx->queue) return clg__cl_fail(ctx, code, "cannot create a command queue on %s", info->name);
    if (!desc->no_cache) ctx->root.cache_dir = clg__cache_dir();
    const char *dump = or_environment(desc->dump_programs, "CLGRAD_DUMP_PROGRAMS");
    struct stat place;
    if (dump && (stat(dump, &place) || !S_ISDIR(place.st_mode)))
        return clg__fail(&ctx->root, CLG_IO, "%s: no directory, and sources of programs were to be written there (%s)", dump,
                         desc->dump_programs ? "dump_programs" : "CLGRAD_DUMP_PROGRAMS");
    if (dump && !(ctx->dump_dir = strdup(dump)))
        return clg__fail(&ctx->root, CLG_OUT_OF_MEMORY, "out of host memory while opening %s", info->name);
    ctx->opened = clg__seconds();
    clg__builders_warm(ctx);
    return CLG_OK;
}

clg_context *clg_context_create(const clg_context_desc *desc)
{
    clg_context *ctx = calloc(1, sizeof *ctx);
    if (!ctx) return NULL;
    ctx->process = clg__process;
    open_device(ctx, desc ? desc : &(clg_context_desc){0});
    return ctx;
}

void clg_context_destroy(clg_context **pointer)
{
    if (!pointer || !*pointer) return;
    clg_context *ctx = *pointer;
    *pointer = NULL;
    if (ctx->process != clg__process) return; /* the parent's, and as it was at some moment of its work */
    clg__builders_destroy(&ctx->builders);
    if (ctx->queue) {
        clFinish(ctx->queue);
        clg__programs_save(ctx);
    }
    clg__teardown_begins();
    clg__root_destroy_children(&ctx->root);
    clg__slots_free(ctx);
    clg__trace_forget(ctx);
    free(ctx->trace);
    if (ctx->queue) clReleaseCommandQueue(ctx->queue);
    if (ctx->cl) clReleaseContext(ctx->cl);
    clg__teardown_ends();
    clg_device_list_destroy(&ctx->list);
    free(ctx->root.cache_dir);
    free(ctx->dump_dir);
    free(ctx->quarantine);
    free(ctx->root.build_log);
    free(ctx);
}

bool clg_context_failed(const clg_context *ctx)
{
    return clg_context_status(ctx) != CLG_OK;
}

clg_status clg_context_status(const clg_context *ctx)
{
    if (!ctx) return CLG_OUT_OF_MEMORY;
    return ctx->process == clg__process ? ctx->root.status : CLG_UNSUPPORTED;
}

const char *clg_context_error(const clg_context *ctx)
{
    if (!ctx) return "no context: out of memory";
    if (ctx->process == clg__process) return ctx->root.text;
    return "this context belongs to the process that this one was forked from; here it can only be destroyed";
}

const char *clg_context_build_log(const clg_context *ctx)
{
    return ctx && ctx->root.build_log ? ctx->root.build_log : "";
}

void clg_context_clear_error(clg_context *ctx)
{
    if (!ctx || !ctx->queue || ctx->process != clg__process) return; /* there is no device to go on with */
    free(ctx->root.build_log);
    ctx->root.build_log = NULL;
    if (ctx->root.status != CLG_OK) ctx->root.cleared++;
    ctx->root.status = CLG_OK;
    ctx->root.cl_code = 0;
    ctx->root.text[0] = '\0';
}

clg_status clg_context_fail(clg_context *ctx, clg_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    clg__vfail(clg__context_root(ctx), status, format, args);
    va_end(args);
    return status;
}

typedef struct owned { /* somebody else's object in the tree */
    clg__object node;
    void       *object;
    void (*destroy)(void *object);
} owned;

static void destroy_owned(clg__object *node)
{
    owned *o = (owned *)node;
    if (o->destroy) o->destroy(o->object);
    free(o);
}

bool clg_context_own(clg_context *ctx, void *object, void (*destroy)(void *object))
{
    owned *o = ctx && object ? clg__calloc(&ctx->root, 1, sizeof *o) : NULL;
    if (!o) return false;
    o->object = object;
    o->destroy = destroy;
    clg__adopt(&ctx->root, &o->node, destroy_owned);
    return true;
}

void clg_context_disown(clg_context *ctx, void *object)
{
    clg__object *node = ctx ? ctx->root.newest : NULL;
    while (node && !(node->destroy == destroy_owned && ((owned *)node)->object == object)) node = node->older;
    if (!node) return;
    ((owned *)node)->destroy = NULL;
    clg__destroy(node);
}

clg_status clg_context_finish(clg_context *ctx)
{
    if (!clg__usable(ctx)) return clg_context_status(ctx);
    const cl_int code = clFinish(ctx->queue);
    return code == CL_SUCCESS ? CLG_OK : clg__cl_fail(ctx, code, "waiting for %s failed", ctx->info->name);
}

const clg_device_info *clg_context_device(const clg_context *ctx)
{
    return ctx ? ctx->info : NULL;
}

clg_counters clg_context_counters(const clg_context *ctx)
{
    return ctx ? ctx->counters : (clg_counters){0};
}

cl_context clg_context_cl_context(const clg_context *ctx)
{
    return ctx ? ctx->cl : NULL;
}

cl_device_id clg_context_cl_device(const clg_context *ctx)
{
    return ctx ? ctx->device : NULL;
}

cl_command_queue clg_context_cl_queue(const clg_context *ctx)
{
    return ctx ? ctx->queue : NULL;
}
