/* buffer.c - device memory, and the way of bytes to it and back.
 *
 * A small write is copied into one of a few staging slots and enqueued; a slot is waited for only when its turn comes
 * again, so a training step's writes never wait for the step before. */
#include "device/cl_types.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const double MIB = 1024.0 * 1024.0;

static clg_status out_of_memory(clg_context *ctx, size_t bytes, const char *what)
{
    const clg_device_info *info = ctx->info;
    return clg__fail(&ctx->root, CLG_OUT_OF_MEMORY,
                     "%s: %.1f MiB (%zu bytes) of device memory needed; %s has %.1f MiB, of which %.1f MiB are in use "
                     "here, and gives at most %.1f MiB in one piece: use a smaller batch, model or data set",
                     what, (double)bytes / MIB, bytes, info->name, (double)info->memory / MIB,
                     (double)ctx->counters.bytes_allocated / MIB, (double)info->max_allocation / MIB);
}

clg__buffer *clg__buffer_create(clg_context *ctx, size_t bytes, const char *what)
{
    if (!clg__usable(ctx)) return NULL;
    const clg_device_info *info = ctx->info;
    const uint64_t held = ctx->counters.bytes_allocated, free_bytes = info->memory > held ? info->memory - held : 0;
    if (bytes == 0) bytes = 16; /* OpenCL has no empty buffers */
    if ((info->max_allocation && bytes > info->max_allocation) || (info->memory && bytes > free_bytes)) {
        out_of_memory(ctx, bytes, what);
        return NULL;
    }
    clg__buffer *buffer = clg__calloc(&ctx->root, 1, sizeof *buffer);
    if (!buffer) return NULL;
    cl_int code = CL_SUCCESS;
    buffer->mem = clg__driver_buffer(ctx, bytes, &code);
    if (!buffer->mem) {
        free(buffer);
        if (code == CL_MEM_OBJECT_ALLOCATION_FAILURE || code == CL_OUT_OF_HOST_MEMORY || code == CL_OUT_OF_RESOURCES ||
            code == CL_INVALID_BUFFER_SIZE)
            out_of_memory(ctx, bytes, what);
        else clg__cl_fail(ctx, code, "%s: cannot create a buffer of %zu bytes", what, bytes);
        return NULL;
    }
    buffer->ctx = ctx;
    buffer->size = bytes;
    ctx->counters.allocations++;
    ctx->counters.bytes_allocated += bytes;
    return buffer;
}

void clg__buffer_destroy(clg__buffer **buffer)
{
    if (!buffer || !*buffer) return;
    clReleaseMemObject((*buffer)->mem);
    (*buffer)->ctx->counters.bytes_allocated -= (*buffer)->size;
    free(*buffer);
    *buffer = NULL;
}

void *clg__buffer_handle(const clg__buffer *buffer)
{
    return buffer ? buffer->mem : NULL;
}

size_t clg__buffer_size(const clg__buffer *buffer)
{
    return buffer ? buffer->size : 0;
}

static clg_status check_range(clg_context *ctx, const clg__buffer *buffer, size_t at, size_t bytes, const char *verb)
{
    if (!buffer) return clg__fail(&ctx->root, CLG_INTERNAL, "%s no buffer", verb);
    if (at > buffer->size || bytes > buffer->size - at)
        return clg__fail(&ctx->root, CLG_INTERNAL, "%s bytes %zu to %zu of a buffer of %zu", verb, at, at + bytes,
                         buffer->size);
    return CLG_OK;
}

/* A slot of at least `bytes` that no write in flight reads from; NULL on an error. */
static clg__slot *take_slot(clg_context *ctx, size_t bytes)
{
    clg__slot *slot = &ctx->slots[ctx->next_slot++ % CLG__SLOTS];
    if (slot->event) {
        const cl_int code = clWaitForEvents(1, &slot->event);
        clReleaseEvent(slot->event);
        slot->event = NULL;
        if (code != CL_SUCCESS) {
            clg__cl_fail(ctx, code, "an earlier write to %s failed", ctx->info->name);
            return NULL;
        }
    }
    if (slot->capacity < bytes) {
        size_t capacity = 4096;
        while (capacity < bytes) capacity *= 2;
        void *data = clg__calloc(&ctx->root, 1, capacity);
        if (!data) return NULL;
        free(slot->data);
        slot->data = data;
        slot->capacity = capacity;
    }
    return slot;
}

void clg__slots_free(clg_context *ctx)
{
    for (size_t i = 0; i < CLG__SLOTS; i++) {
        if (ctx->slots[i].event) clReleaseEvent(ctx->slots[i].event);
        free(ctx->slots[i].data);
    }
}

clg_status clg__buffer_write(clg_context *ctx, clg__buffer *buffer, size_t at, const void *data, size_t bytes)
{
    if (!clg__usable(ctx)) return clg_context_status(ctx);
    if (bytes == 0) return CLG_OK;
    if (!data) return clg__fail(&ctx->root, CLG_INVALID_ARGUMENT, "writing %zu bytes from NULL", bytes);
    if (check_range(ctx, buffer, at, bytes, "writing") != CLG_OK) return ctx->root.status;

    cl_int code;
    if (bytes > CLG__SLOT_BYTES) {
        code = clEnqueueWriteBuffer(ctx->queue, buffer->mem, CL_TRUE, at, bytes, data, 0, NULL,
                                    clg__trace(ctx, CLG_TRACE_UPLOAD, "write", bytes));
    } else {
        clg__slot *slot = take_slot(ctx, bytes);
        if (!slot) return ctx->root.status;
        memcpy(slot->data, data, bytes);
        cl_event *trace = clg__trace(ctx, CLG_TRACE_UPLOAD, "write", bytes);
        code = clEnqueueWriteBuffer(ctx->queue, buffer->mem, CL_FALSE, at, bytes, slot->data, 0, NULL, &slot->event);
        if (code == CL_SUCCESS && trace && clRetainEvent(slot->event) == CL_SUCCESS) *trace = slot->event;
        if (code == CL_SUCCESS) code = clFlush(ctx->queue); /* what a step enqueued before starts now at the latest */
    }
    if (code != CL_SUCCESS) return clg__cl_fail(ctx, code, "writing %zu bytes to %s failed", bytes, ctx->info->name);
    ctx->counters.bytes_to_device += bytes;
    return CLG_OK;
}

clg_status clg__buffer_read(clg_context *ctx, clg__buffer *buffer, size_t at, void *data, size_t bytes)
{
    if (!clg__usable(ctx)) return clg_context_status(ctx);
    if (bytes == 0) return CLG_OK;
    if (!data) return clg__fail(&ctx->root, CLG_INVALID_ARGUMENT, "reading %zu bytes to NULL", bytes);
    if (check_range(ctx, buffer, at, bytes, "reading") != CLG_OK) return ctx->root.status;
    const cl_int code = clEnqueueReadBuffer(ctx->queue, buffer->mem, CL_TRUE, at, bytes, data, 0, NULL,
                                            clg__trace(ctx, CLG_TRACE_DOWNLOAD, "read", bytes));
    if (code != CL_SUCCESS) return clg__cl_fail(ctx, code, "reading %zu bytes from %s failed", bytes, ctx->info->name);
    ctx->counters.bytes_from_device += bytes;
    return CLG_OK;
}
