/* cache.c - built programs on disk (base/cache.c), keyed by everything that a binary depends on: source, options,
 * device, driver and platform version. A file without data says only that the driver has built the program before, and
 * is likely to have it in a cache of its own. */
#include "device/cl_types.h"
#include <pthread.h>
#include <stdio.h>
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

static char           pocl_directory[4096];
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Where pocl's documentation says that it is. */
static void find_pocl(void)
{
    const char *given = getenv("POCL_CACHE_DIR"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    const size_t size = sizeof pocl_directory;
    if (given) snprintf(pocl_directory, size, "%s", given);
    else if (xdg && *xdg) snprintf(pocl_directory, size, "%s/pocl/kcache", xdg);
    else snprintf(pocl_directory, size, "%s%s/pocl/kcache", home ? home : "/tmp", home ? "/.cache" : "");
}

void clg__driver_begins(void) { pthread_once(&once, find_pocl); }

void clg__driver_fault(const char *platform, char *text, size_t size)
{
    *text = 0;
    if (strcmp(platform, "Portable Computing Language") != 0) return;
    clg__driver_begins();
    const int code = clg__directory_fault(pocl_directory);
    if (code)
        snprintf(text, size, "pocl compiles into files in %.500s, and cannot write there: %s. Set POCL_CACHE_DIR to a "
                 "directory that can be written and has room", pocl_directory, strerror(code));
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
