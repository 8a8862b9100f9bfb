/* builder_main.c - clgrad-builder P:D, started by builders.c: builds programs until its socket, which is its standard input,
 * closes or stays silent.
 *
 * A kernel's first launch may compile it again, for the size of its groups. So each kernel named is launched here too: one
 * group, with buffers of zeros, and 1 for every extent and count. A kernel that crashes on that takes this process with it,
 * and the context builds it as if there were no builders. */
#include "device/builders.h"
#include "device/cl_types.h"
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SCRATCH_BYTES = 1 << 20, LOCAL_BYTES = 1 << 10, IDLE_MS = 10 * 1000 };

static bool read_all(void *data, size_t size)
{
    char *to = data;
    while (size > 0) {
        struct pollfd input = {.fd = 0, .events = POLLIN};
        if (poll(&input, 1, IDLE_MS) <= 0) return false;
        const ssize_t got = read(0, to, size);
        if (got <= 0) return false;
        to += got;
        size -= (size_t)got;
    }
    return true;
}

static cl_int set_least(cl_kernel kernel, cl_uint index, cl_mem scratch)
{
    static const char               one[16] = {1}; /* of any integer type; as a float next to nothing */
    cl_kernel_arg_address_qualifier where = 0;
    cl_int code = clGetKernelArgInfo(kernel, index, CL_KERNEL_ARG_ADDRESS_QUALIFIER, sizeof where, &where, NULL);
    if (code != CL_SUCCESS) return code;
    if (where == CL_KERNEL_ARG_ADDRESS_LOCAL) return clSetKernelArg(kernel, index, LOCAL_BYTES, NULL);
    if (where != CL_KERNEL_ARG_ADDRESS_PRIVATE) return clSetKernelArg(kernel, index, sizeof scratch, &scratch);
    code = CL_INVALID_ARG_SIZE;
    for (size_t size = sizeof one; size > 0 && code != CL_SUCCESS; size /= 2)
        code = clSetKernelArg(kernel, index, size, one);
    return code;
}

static cl_int launch(clg_context *ctx, cl_program program, const char *name, cl_mem scratch)
{
    size_t    local[3] = {0};
    cl_uint   args = 0;
    cl_int    code = CL_SUCCESS;
    cl_kernel kernel = clCreateKernel(program, name, &code);
    if (!kernel) return code;
    clGetKernelInfo(kernel, CL_KERNEL_NUM_ARGS, sizeof args, &args, NULL);
    clGetKernelWorkGroupInfo(kernel, ctx->device, CL_KERNEL_COMPILE_WORK_GROUP_SIZE, sizeof local, local, NULL);
    for (cl_uint i = 0; i < args && code == CL_SUCCESS; i++) code = set_least(kernel, i, scratch);
    if (code == CL_SUCCESS && local[0])
        code = clEnqueueNDRangeKernel(ctx->queue, kernel, 3, NULL, local, local, 0, NULL, NULL);
    if (code == CL_SUCCESS) code = clFinish(ctx->queue);
    clReleaseKernel(kernel);
    return code;
}

/* Programs already built here: a job brings its program every time, for it may be another builder's. */
static cl_program program_of(clg_context *ctx, const char *source)
{
    static struct {
        char      *source;
        cl_program program;
    } kept[8];
    static size_t count;
    for (size_t i = 0; i < count; i++)
        if (strcmp(kept[i].source, source) == 0) return kept[i].program;
    cl_int     code = CL_SUCCESS;
    cl_program program = clCreateProgramWithSource(ctx->cl, 1, &source, NULL, &code);
    if (!program || clBuildProgram(program, 1, &ctx->device, clg__build_options, NULL, NULL) != CL_SUCCESS) return NULL;
    if (ctx->info->type != CLG_DEVICE_CPU) clg__binary_store(ctx, source, program);
    if (count < CLG__COUNT(kept) && (kept[count].source = strdup(source))) kept[count++].program = program;
    return program;
}

int main(int argc, char **argv)
{
    setenv("CLGRAD_BUILDERS", "0", 1); /* builders start none */
    clg_context *ctx = argc == 2 ? clg_context_create(&(clg_context_desc){.device = argv[1], .quarantine = ""}) : NULL;
    if (!ctx || clg_context_failed(ctx)) return 1;
    clg__buffer *scratch = clg__buffer_create(ctx, SCRATCH_BYTES, "scratch memory");
    void        *zeros = calloc(1, SCRATCH_BYTES);
    if (!scratch || !zeros || clg__buffer_write(ctx, scratch, 0, zeros, SCRATCH_BYTES) != CLG_OK) return 1;
    program_of(ctx, "kernel void warm(global int *x) { *x = 0; }"); /* drivers have much to load before the first one */
    for (clg__job job; read_all(&job, sizeof job);) {
        const size_t size = (size_t)job.source_size + job.name_size;
        char        *text = malloc(size + 1);
        if (!text || job.source_size == 0 || !read_all(text, size)) return 1;
        text[job.source_size - 1] = text[size] = '\0';
        const cl_program program = program_of(ctx, text);
        const bool       named = job.name_size > 0;
        const bool       ok = program && (!named || launch(ctx, program, text + job.source_size, scratch->mem) == CL_SUCCESS);
        const char       answer = ok ? CLG__BUILT : CLG__NOT_BUILT;
        free(text);
        if (write(0, &answer, 1) != 1) return 1;
    }
    _exit(0); /* nobody waits for what the driver would tidy up */
}
