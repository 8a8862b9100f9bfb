/* upload.c - a second way to the device: a pinned buffer and a queue of its own, whose copies run beside the main queue.
 *
 *     release   what is sent later waits for all that the main queue has been given so far (the readers of what was sent before)
 *     send      copies the pinned memory
 *     acquire   what the main queue is given from now on waits for that copy */
#include "device/cl_types.h"
#include <clgrad/tensor.h>
#include <stdlib.h>

struct clg_upload {
    clg__object      object;
    clg_context     *ctx;
    cl_command_queue queue;
    cl_mem           target, pinned;
    size_t           at, bytes;
    void            *memory; /* the pinned buffer, mapped */
    cl_event         sent, released; /* or NULL */
};

static void drop(cl_event *event)
{
    if (*event) clReleaseEvent(*event);
    *event = NULL;
}

static void upload_free(clg__object *object)
{
    clg_upload *u = (clg_upload *)object;
    if (u->memory) clEnqueueUnmapMemObject(u->queue, u->pinned, u->memory, 0, NULL, NULL);
    if (u->queue) clFinish(u->queue), clReleaseCommandQueue(u->queue);
    drop(&u->sent);
    drop(&u->released);
    if (u->pinned) clReleaseMemObject(u->pinned);
    clReleaseMemObject(u->target);
    free(u);
}

clg_upload *clg__upload_create(clg_context *ctx, clg__buffer *buffer, size_t at, size_t bytes)
{
    clg_upload *u = clg__usable(ctx) ? clg__calloc(&ctx->root, 1, sizeof *u) : NULL;
    if (!u) return NULL;
    cl_int code = clRetainMemObject(buffer->mem);
    u->ctx = ctx;
    u->target = buffer->mem;
    u->at = at;
    u->bytes = bytes;
    clg__adopt(&ctx->root, &u->object, upload_free);
    u->queue = clCreateCommandQueue(ctx->cl, ctx->device, ctx->tracing ? CL_QUEUE_PROFILING_ENABLE : 0, &code);
    if (u->queue) u->pinned = clCreateBuffer(ctx->cl, CL_MEM_READ_WRITE | CL_MEM_ALLOC_HOST_PTR, bytes, NULL, &code);
    if (u->pinned)
        u->memory = clEnqueueMapBuffer(u->queue, u->pinned, CL_TRUE, CL_MAP_READ | CL_MAP_WRITE, 0, bytes, 0, NULL, NULL, &code);
    if (!u->memory) clg__cl_fail(ctx, code, "cannot prepare an upload of %zu bytes to %s", bytes, ctx->info->name);
    else clg_upload_release(u);
    if (clg_context_failed(ctx)) clg_upload_destroy(&u);
    return u;
}

void clg_upload_destroy(clg_upload **upload)
{
    if (!upload || !*upload) return;
    clg__destroy(&(*upload)->object);
    *upload = NULL;
}

static clg_status check(clg_upload *u, cl_int code, const char *what)
{
    return code == CL_SUCCESS ? CLG_OK : clg__cl_fail(u->ctx, code, "%s an upload of %zu bytes failed", what, u->bytes);
}

void *clg_upload_memory(clg_upload *u)
{
    if (!u || !clg__usable(u->ctx)) return NULL;
    const cl_int code = u->sent ? clWaitForEvents(1, &u->sent) : CL_SUCCESS;
    return check(u, code, "waiting for") ? NULL : u->memory;
}

clg_status clg_upload_send(clg_upload *u)
{
    if (!u || !clg__usable(u->ctx)) return u ? clg_context_status(u->ctx) : CLG_INVALID_ARGUMENT;
    drop(&u->sent);
    cl_event *trace = clg__trace(u->ctx, CLG_TRACE_UPLOAD, "send", u->bytes);
    cl_int    code = clEnqueueWriteBuffer(u->queue, u->target, CL_FALSE, u->at, u->bytes, u->memory, u->released != NULL,
                                          u->released ? &u->released : NULL, &u->sent);
    if (code == CL_SUCCESS && trace && clRetainEvent(u->sent) == CL_SUCCESS) *trace = u->sent;
    if (code == CL_SUCCESS) code = clFlush(u->queue);
    u->ctx->counters.bytes_to_device += u->bytes;
    return check(u, code, "starting");
}

clg_status clg_upload_acquire(clg_upload *u)
{
    if (!u || !clg__usable(u->ctx)) return u ? clg_context_status(u->ctx) : CLG_INVALID_ARGUMENT;
    return u->sent ? check(u, clEnqueueBarrierWithWaitList(u->ctx->queue, 1, &u->sent, NULL), "waiting for") : CLG_OK;
}

clg_status clg_upload_release(clg_upload *u)
{
    if (!u || !clg__usable(u->ctx)) return u ? clg_context_status(u->ctx) : CLG_INVALID_ARGUMENT;
    drop(&u->released);
    cl_int code = clEnqueueMarkerWithWaitList(u->ctx->queue, 0, NULL, &u->released);
    if (code == CL_SUCCESS) code = clFlush(u->ctx->queue);
    return check(u, code, "releasing");
}
