/* cache.c - built programs on disk (base/cache.c), keyed by everything that a binary depends on: source, options,
 * device, driver and platform version. A file without data says only that the driver has built the program before, and
 * is likely to have it in a cache of its own. */
#include "device/cl_types.h"
#include <stdlib.h>
#include <string.h>

enum { MAX_BINARY = 1 << 28 };

static clg__cache_key key_of(const clg_context *ctx, const char *source)
{
    const clg_device_info *info = ctx->info;
    const char *const parts[] = {source, clg__build_options, info->name, info->driver, info->version,
                                 ctx->list->platforms[info->platform].version};
    clg__cache_key key = {0};
    for (size_t i = 0; i < CLG__COUNT(parts); i++)
        clg__cache_key_add(&key, parts[i], strlen(parts[i]) + 1); /* with its end, so that parts cannot run together */
    return key;
}

static cl_program build_binary(clg_context *ctx, const unsigned char *binary, size_t size)
{
    cl_int     status = CL_SUCCESS, code = CL_SUCCESS;
    cl_program program = clCreateProgramWithBinary(ctx->cl, 1, &ctx->device, &size, &binary, &status, &code);
    if (!program) return NULL;
    if (code == CL_SUCCESS && status == CL_SUCCESS &&
        clBuildProgram(program, 1, &ctx->device, clg__build_options, NULL, NULL) == CL_SUCCESS)
        return program;
    clReleaseProgram(program);
    return NULL;
}

cl_program clg__binary_load(clg_context *ctx, const char *source, bool *known)
{
    const clg__cache_key key = key_of(ctx, source);
    size_t               size = 0;
    unsigned char       *binary = clg__cache_read(ctx->root.cache_dir, &key, &size);
    cl_program           program = size > 0 ? build_binary(ctx, binary, size) : NULL;
    *known = binary != NULL;
    free(binary);
    return program;
}

void clg__binary_mark(clg_context *ctx, const char *source)
{
    const clg__cache_key key = key_of(ctx, source);
    clg__cache_write(ctx->root.cache_dir, &key, "", 0);
}

void clg__binary_store(clg_context *ctx, const char *source, cl_program program)
{
    size_t size = 0;
    if (!ctx->root.cache_dir ||
        clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, NULL) != CL_SUCCESS || size == 0 ||
        size > MAX_BINARY)
        return;
    const clg__cache_key key = key_of(ctx, source);
    unsigned char       *binary = malloc(size);
    if (binary && clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL) == CL_SUCCESS)
        clg__cache_write(ctx->root.cache_dir, &key, binary, size);
    free(binary);
}
