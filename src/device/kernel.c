/* kernel.c - launches: a cl_kernel whose arguments are set once, with the sizes it is enqueued with.
 *
 * A span is two arguments, the buffer and the offset in elements (TENSOR in cl/prelude.cl). A kernel that takes one more
 * than it is given claims its units (CLAIMS there) and gets a counter. Kernels count groups in 32 bits, so no more are
 * accepted. */
#include "device/cl_types.h"
#include <stdlib.h>
#include <string.h>

struct clg__kernel {
    cl_kernel        cl;
    cl_mem           claims; /* the counter of a kernel whose groups claim their units, or NULL */
    char            *name;
    size_t           global[3], local[3];
    clg_context     *pending_in; /* waits for its program there, as this says: */
    clg__kernel_desc desc;
    clg__value      *args;
    clg__kernel     *next;
};

/* ---- creation ---------------------------------------------------------------------------------------------------- */

static cl_int set_arg(cl_kernel kernel, cl_uint *index, const clg__value *value)
{
    const cl_uint i = (*index)++;
    switch (value->kind) {
    case CLG__SPAN: {
        const cl_mem   mem = value->span.buffer ? value->span.buffer->mem : NULL;
        const cl_ulong at = value->span.at;
        const cl_int   code = clSetKernelArg(kernel, i, sizeof mem, &mem);
        return code != CL_SUCCESS ? code : clSetKernelArg(kernel, (*index)++, sizeof at, &at);
    }
    case CLG__I32:   return clSetKernelArg(kernel, i, sizeof value->i32, &value->i32);
    case CLG__U32:   return clSetKernelArg(kernel, i, sizeof value->u32, &value->u32);
    case CLG__U64:   return clSetKernelArg(kernel, i, sizeof value->u64, &value->u64);
    case CLG__F32:   return clSetKernelArg(kernel, i, sizeof value->f32, &value->f32);
    case CLG__LOCAL: return clSetKernelArg(kernel, i, value->local_bytes, NULL);
    }
    return CL_INVALID_ARG_VALUE;
}

static clg_status set_args(clg_context *ctx, clg__kernel *kernel, const clg__kernel_desc *desc)
{
    cl_uint index = 0, expected = 0;
    for (size_t i = 0; i < desc->arg_count; i++) {
        const cl_int code = set_arg(kernel->cl, &index, &desc->args[i]);
        if (code != CL_SUCCESS) return clg__cl_fail(ctx, code, "kernel %s: argument %zu", kernel->name, i);
    }
    clGetKernelInfo(kernel->cl, CL_KERNEL_NUM_ARGS, sizeof expected, &expected, NULL);
    if (expected == index + 1) {
        cl_uint none = 0;
        cl_int  code = CL_SUCCESS;
        kernel->claims = clCreateBuffer(ctx->cl, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, sizeof none, &none, &code);
        if (!kernel->claims) return clg__cl_fail(ctx, code, "kernel %s: the counter of its claims", kernel->name);
        if (clSetKernelArg(kernel->cl, index, sizeof kernel->claims, &kernel->claims) == CL_SUCCESS) index++;
    }
    if (index != expected)
        return clg__fail(&ctx->root, CLG_INTERNAL, "kernel %s takes %u arguments, not %u", kernel->name, expected,
                         index);
    return CLG_OK;
}

static clg_status set_sizes(clg_context *ctx, clg__kernel *kernel, const clg__kernel_desc *desc)
{
    const bool given = desc->local[0] || desc->local[1] || desc->local[2];
    size_t     items = 1, required[3] = {0};
    if (desc->groups[0] == 0) return clg__fail(&ctx->root, CLG_INTERNAL, "kernel %s: no groups", kernel->name);
    for (int i = 0; i < 3; i++) {
        const size_t groups = desc->groups[i] ? desc->groups[i] : 1;
        kernel->local[i] = given ? CLG__MAX(desc->local[i], 1) : i == 0 ? ctx->info->profile.wg : 1;
        if (groups > UINT32_MAX || kernel->local[i] > UINT32_MAX || groups > SIZE_MAX / kernel->local[i])
            return clg__fail(&ctx->root, CLG_UNSUPPORTED, "kernel %s: %zu groups of %zu items are too many",
                             kernel->name, groups, kernel->local[i]);
        kernel->global[i] = groups * kernel->local[i];
        items = items > SIZE_MAX / kernel->local[i] ? SIZE_MAX : items * kernel->local[i];
    }
    /* The driver's limit for this very kernel is not asked: rusticl says 32 and runs 256. */
    if (items > ctx->info->max_work_group)
        return clg__fail(&ctx->root, CLG_UNSUPPORTED,
                         "kernel %s wants groups of %zu items and %s runs at most %zu; a profile with a smaller wg or "
                         "tile may help", kernel->name, items, ctx->info->name, ctx->info->max_work_group);
    clGetKernelWorkGroupInfo(kernel->cl, ctx->device, CL_KERNEL_COMPILE_WORK_GROUP_SIZE, sizeof required, required,
                             NULL);
    if (required[0] && memcmp(required, kernel->local, sizeof required) != 0)
        return clg__fail(&ctx->root, CLG_INTERNAL, "kernel %s is compiled for groups of %zux%zux%zu, not %zux%zux%zu",
                         kernel->name, required[0], required[1], required[2], kernel->local[0], kernel->local[1],
                         kernel->local[2]);
    return CLG_OK;
}

static clg_status complete(clg_context *ctx, clg__kernel *kernel, const clg__kernel_desc *desc)
{
    cl_int    code = CL_OUT_OF_HOST_MEMORY;
    clg__text name = {0};
    clg__text_append(&name, desc->program->number ? "%s_k%u" : "%s", kernel->name, desc->program->number);
    if (name.data) kernel->cl = clCreateKernel(desc->program->cl, name.data, &code);
    clg__text_free(&name);
    if (!kernel->cl)
        return clg__cl_fail(ctx, code, "%s has no usable kernel %s", desc->program->title, kernel->name);
    const clg_status status = set_args(ctx, kernel, desc);
    return status == CLG_OK ? set_sizes(ctx, kernel, desc) : status;
}

/* ---- creation that waits for programs ---------------------------------------------------------------------------- */

static clg_status defer(clg_context *ctx, clg__kernel *kernel, const clg__kernel_desc *desc)
{
    clg__text *names = &desc->program->names;
    bool       named = false;
    for (size_t at = 0; at < names->size; at += strlen(names->data + at) + 1)
        named = named || strcmp(names->data + at, kernel->name) == 0;
    if (!named) clg__text_append(names, "%s%c", kernel->name, '\0');
    kernel->args = clg__calloc(&ctx->root, desc->arg_count, sizeof *kernel->args);
    if (!kernel->args || names->failed)
        return clg__fail(&ctx->root, CLG_OUT_OF_MEMORY, "out of host memory for a kernel");
    if (desc->arg_count) memcpy(kernel->args, desc->args, desc->arg_count * sizeof *kernel->args);
    kernel->desc = *desc;
    kernel->desc.args = kernel->args;
    kernel->desc.name = kernel->name;
    kernel->pending_in = ctx;
    *ctx->last_pending = kernel;
    ctx->last_pending = &kernel->next;
    return CLG_OK;
}

static void forget(clg__kernel *kernel)
{
    clg__kernel **at = kernel->pending_in ? &kernel->pending_in->pending : NULL;
    while (at && *at != kernel) at = &(*at)->next;
    if (at) {
        *at = kernel->next;
        if (!*at) kernel->pending_in->last_pending = at;
    }
    kernel->pending_in = NULL;
    kernel->next = NULL;
    free(kernel->args);
    kernel->args = NULL;
}

void clg__builds_defer(clg_context *ctx)
{
    if (!clg__usable(ctx) || ctx->deferring) return;
    ctx->deferring = true;
    ctx->pending = NULL;
    ctx->last_pending = &ctx->pending;
}

clg_status clg__builds_finish(clg_context *ctx)
{
    if (!ctx || !ctx->deferring || ctx->later) return clg_context_status(ctx);
    ctx->deferring = false;
    bool ok = clg__programs_build(ctx);
    while (ctx->pending) {
        clg__kernel *kernel = ctx->pending;
        ok = ok && complete(ctx, kernel, &kernel->desc) == CLG_OK;
        forget(kernel);
    }
    return clg_context_status(ctx);
}

void clg_context_build_later(clg_context *ctx)
{
    if (!clg__usable(ctx)) return;
    clg__builds_defer(ctx);
    ctx->later = true;
}

clg__kernel *clg__kernel_create(clg_context *ctx, const clg__kernel_desc *desc)
{
    if (!clg__usable(ctx)) return NULL;
    if (!desc->program) {
        clg__fail(&ctx->root, CLG_INTERNAL, "kernel %s: there is no program", desc->name);
        return NULL;
    }
    const size_t name_size = strlen(desc->name) + 1;
    clg__kernel *kernel = clg__calloc(&ctx->root, 1, sizeof *kernel);
    if (!kernel) return NULL;
    kernel->name = clg__calloc(&ctx->root, name_size, 1);
    if (kernel->name) {
        memcpy(kernel->name, desc->name, name_size);
        if ((ctx->deferring ? defer : complete)(ctx, kernel, desc) == CLG_OK) return kernel;
    }
    clg__kernel_destroy(&kernel);
    return NULL;
}

void clg__kernel_destroy(clg__kernel **kernel)
{
    if (!kernel || !*kernel) return;
    forget(*kernel);
    if ((*kernel)->cl) clReleaseKernel((*kernel)->cl);
    if ((*kernel)->claims) clReleaseMemObject((*kernel)->claims);
    free((*kernel)->name);
    free(*kernel);
    *kernel = NULL;
}

const char *clg__kernel_name(const clg__kernel *kernel)
{
    return kernel ? kernel->name : "";
}

/* ---- launch ------------------------------------------------------------------------------------------------------ */

clg_status clg__kernel_enqueue(clg_context *ctx, clg__kernel *kernel)
{
    if (!clg__usable(ctx)) return clg_context_status(ctx);
    if (kernel && kernel->pending_in == ctx && ctx->later) { /* the first launch since clg_context_build_later */
        ctx->later = false;
        if (clg__builds_finish(ctx) != CLG_OK) return ctx->root.status;
    }
    if (!kernel || !kernel->cl) return clg__fail(&ctx->root, CLG_INTERNAL, "there is no kernel to launch");
    const cl_int code =
        clEnqueueNDRangeKernel(ctx->queue, kernel->cl, 3, NULL, kernel->global, kernel->local, 0, NULL,
                               clg__trace(ctx, CLG_TRACE_KERNEL, kernel->name, 0));
    char fault[1024] = "";
    if (code != CL_SUCCESS)
        clg__driver_fault(ctx->list, ctx->info->platform, fault, sizeof fault);
    if (*fault) return clg__cl_fail(ctx, code, "kernel %s: %s", kernel->name, fault);
    if (code != CL_SUCCESS)
        return clg__cl_fail(ctx, code, "kernel %s (%zux%zux%zu items in groups of %zux%zux%zu) on %s", kernel->name,
                            kernel->global[0], kernel->global[1], kernel->global[2], kernel->local[0],
                            kernel->local[1], kernel->local[2], ctx->info->name);
    ctx->counters.launches++;
    return CLG_OK;
}
