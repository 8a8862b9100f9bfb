/* trace.c - what the device did and when, in a context that was opened to tell.
 *
 * Each enqueued command leaves its event and the host's time of the call. Devices have clocks of their own: a command was
 * queued after the host began to enqueue it, so the largest (host's begin - device's queued) over all commands brings the
 * device's times to the host's clock, to within the time of the quickest call. */
#include "device/cl_types.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct clg__traced {
    clg_trace_kind kind;
    char           name[48];
    uint64_t       bytes;
    double         start, end; /* of host work; of others the start of the call */
    cl_event       event;      /* NULL: host work, or the call failed */
};

static clg__traced *add(clg_context *ctx, clg_trace_kind kind, const char *name, uint64_t bytes)
{
    if (!ctx || !ctx->tracing) return NULL;
    if (ctx->trace_count == ctx->trace_capacity) {
        const size_t more = ctx->trace_capacity ? 2 * ctx->trace_capacity : 256;
        clg__traced *moved = realloc(ctx->trace, more * sizeof *moved);
        if (!moved) return clg__fail(&ctx->root, CLG_OUT_OF_MEMORY, "out of host memory for a trace"), NULL;
        ctx->trace = moved;
        ctx->trace_capacity = more;
    }
    clg__traced *t = &ctx->trace[ctx->trace_count++];
    *t = (clg__traced){.kind = kind, .bytes = bytes, .start = clg__seconds()};
    strncpy(t->name, name, sizeof t->name - 1);
    return t;
}

cl_event *clg__trace(clg_context *ctx, clg_trace_kind kind, const char *name, uint64_t bytes)
{
    clg__traced *t = add(ctx, kind, name, bytes);
    return t ? &t->event : NULL;
}

void clg__trace_host(clg_context *ctx, const char *name, double start)
{
    clg__traced *t = add(ctx, CLG_TRACE_HOST, name, 0);
    if (!t) return;
    t->end = t->start;
    t->start = start;
}

static bool device_time(const clg__traced *t, cl_profiling_info which, double *seconds)
{
    cl_ulong   ns = 0;
    /* an upload beside the main queue may be under way */
    const bool ok = t->event && clWaitForEvents(1, &t->event) == CL_SUCCESS &&
                    clGetEventProfilingInfo(t->event, which, sizeof ns, &ns, NULL) == CL_SUCCESS;
    *seconds = 1e-9 * (double)ns;
    return ok;
}

size_t clg__trace_count(const clg_context *ctx) { return ctx ? ctx->trace_count : 0; }

double clg__trace_busy(const clg_context *ctx, size_t from, size_t to)
{
    double sum = 0.0, start, end;
    for (size_t i = from; i < to && i < ctx->trace_count; i++)
        if (device_time(&ctx->trace[i], CL_PROFILING_COMMAND_START, &start) &&
            device_time(&ctx->trace[i], CL_PROFILING_COMMAND_END, &end))
            sum += end - start;
    return sum;
}

void clg__trace_forget(clg_context *ctx)
{
    for (size_t i = 0; i < ctx->trace_count; i++)
        if (ctx->trace[i].event) clReleaseEvent(ctx->trace[i].event);
    ctx->trace_count = 0;
}

clg_status clg_context_trace(clg_context *ctx, clg_trace_fn *each, void *user)
{
    const clg_status status = clg_context_finish(ctx);
    if (status != CLG_OK) return status;
    if (!ctx->tracing)
        return clg__fail(&ctx->root, CLG_INVALID_ARGUMENT, "the context keeps no times: open it with clg_context_desc.trace");
    double at, ahead = -(double)INFINITY;
    for (size_t i = 0; i < ctx->trace_count; i++)
        if (device_time(&ctx->trace[i], CL_PROFILING_COMMAND_QUEUED, &at)) ahead = fmax(ahead, ctx->trace[i].start - at);
    for (size_t i = 0; i < ctx->trace_count && each; i++) {
        const clg__traced *t = &ctx->trace[i];
        clg_trace_event    told = {.kind = t->kind, .name = t->name, .bytes = t->bytes, .start = t->start, .end = t->end};
        if (t->kind != CLG_TRACE_HOST) {
            if (!device_time(t, CL_PROFILING_COMMAND_START, &told.start) ||
                !device_time(t, CL_PROFILING_COMMAND_END, &told.end))
                continue;
            told.start += ahead;
            told.end += ahead;
        }
        each(user, &told);
    }
    clg__trace_forget(ctx);
    return CLG_OK;
}
