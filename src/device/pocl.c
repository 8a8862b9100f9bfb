/* pocl.c - what must be known of one driver, pocl 3.1, which ends the process where others return an error:
 *
 * - it compiles into files, a kernel again at its first launch, and aborts when there is no room for one then. So whether it
 *   can write is looked at before programs are built, and said where something failed that may come of it;
 * - it reserves a buffer's memory at the first command on it, and aborts when there is none: on a CPU memory is asked for as
 *   the host's, which is reserved at once and costs no driver anything there;
 * - it leaves that memory in small pages, whose walks cost a large product 2 to 4%: what fills huge ones is clgrad's own;
 * - it aborts, rarely, when several threads take contexts down at the same moment: one does so after the other. */
#define _DEFAULT_SOURCE /* madvise */
#include "device/cl_types.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { HUGE_PAGE = 1 << 21 };

static char            directory[4096];
static pthread_once_t  once = PTHREAD_ONCE_INIT;
static pthread_mutex_t teardown = PTHREAD_MUTEX_INITIALIZER;

/* Where its documentation says that it is. */
static void find_directory(void)
{
    const char *given = getenv("POCL_CACHE_DIR"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    const size_t size = sizeof directory;
    if (given) snprintf(directory, size, "%s", given);
    else if (xdg && *xdg) snprintf(directory, size, "%s/pocl/kcache", xdg);
    else snprintf(directory, size, "%s%s/pocl/kcache", home ? home : "/tmp", home ? "/.cache" : "");
}

static bool is_pocl(const clg_device_list *list, int platform)
{
    return strcmp(list->platforms[platform].name, "Portable Computing Language") == 0;
}

void clg__driver_begins(void) { pthread_once(&once, find_directory); }

void clg__driver_fault(const clg_device_list *list, int platform, char *text, size_t size)
{
    *text = 0;
    if (!is_pocl(list, platform)) return;
    clg__driver_begins();
    const int code = clg__directory_fault(directory);
    if (code)
        snprintf(text, size, "pocl compiles into files in %.500s, and cannot write there: %s. Set POCL_CACHE_DIR to a "
                 "directory that can be written and has room", directory, strerror(code));
}

static void CL_CALLBACK free_memory(cl_mem mem, void *memory)
{
    (void)mem;
    free(memory);
}

static cl_mem create_in_huge_pages(clg_context *ctx, size_t bytes, cl_int *code)
{
    void *memory = aligned_alloc(HUGE_PAGE, CLG__ROUND_UP(bytes, HUGE_PAGE));
    *code = CL_OUT_OF_HOST_MEMORY;
    if (!memory) return NULL;
#ifdef MADV_HUGEPAGE
    madvise(memory, bytes, MADV_HUGEPAGE); /* or it stays in small ones */
#endif
    cl_mem mem = clCreateBuffer(ctx->cl, CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR, bytes, memory, code);
    if (mem && (*code = clSetMemObjectDestructorCallback(mem, free_memory, memory)) == CL_SUCCESS) return mem;
    if (mem) clReleaseMemObject(mem);
    free(memory);
    return NULL;
}

cl_mem clg__driver_buffer(clg_context *ctx, size_t bytes, cl_int *code)
{
    const bool cpu = ctx->info->type == CLG_DEVICE_CPU;
    if (cpu && bytes >= HUGE_PAGE && is_pocl(ctx->list, ctx->info->platform)) return create_in_huge_pages(ctx, bytes, code);
    return clCreateBuffer(ctx->cl, CL_MEM_READ_WRITE | (cpu ? CL_MEM_ALLOC_HOST_PTR : 0), bytes, NULL, code);
}

void clg__teardown_begins(void) { pthread_mutex_lock(&teardown); }
void clg__teardown_ends(void) { pthread_mutex_unlock(&teardown); }
