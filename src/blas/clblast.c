/* clblast.c - CLBlast's SGEMM, the one file that knows CLBlast.
 *
 * CLBlast copies operands into padded, transposed temporaries where its kernels want them so. The memory for these is
 * the caller's workspace, handed over as a sub-buffer, for CLBlast takes no offset into it; it is made larger by
 * ALIGNMENT, since a sub-buffer's origin has to be aligned. Which temporaries are needed depends on the operands'
 * offsets too, which are not known when the workspace is planned: an odd offset is the worst case. Batches are enqueued
 * one by one. */
#include "blas/engines.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#ifndef CLG_CLBLAST

bool clg__gemm_has_clblast(void) { return false; }

size_t clg__clblast_workspace(clg_context *ctx, const clg__gemm *gemm)
{
    (void)ctx, (void)gemm;
    return 0;
}

clg__clblast *clg__clblast_create(clg_context *ctx, const clg__gemm *gemm, const clg__operands *at)
{
    (void)gemm, (void)at;
    clg__fail(&ctx->root, CLG_UNSUPPORTED, "this library was built without CLBlast");
    return NULL;
}

void clg__clblast_destroy(clg__clblast *product) { (void)product; }

clg_status clg__clblast_enqueue(clg_context *ctx, const clg__clblast *product)
{
    (void)product;
    return clg_context_status(ctx);
}

size_t clg__clblast_launches(const clg__clblast *product)
{
    (void)product;
    return 0;
}

int         clg__clblast_sets(void) { return 0; }
int         clg__clblast_kernel_of(int set) { return (void)set, 0; }
bool        clg__clblast_suits(int set, bool cpu) { return (void)set, (void)cpu, false; }
const char *clg__clblast_kernel_name(int kernel) { return (void)kernel, ""; }
char       *clg__clblast_set_text(int set, char *text, size_t size) { return (void)set, (void)size, text; }
bool        clg__clblast_use(clg_context *ctx, int set) { return (void)ctx, (void)set, false; }

#else
#include <clblast_c.h>
#include <pthread.h>
#include <stdio.h>

struct clg__clblast {
    clg__gemm     gemm;
    clg__operands at;
    cl_mem        temporary; /* NULL: none needed */
};

enum { ALIGNMENT = 4096 };

bool clg__gemm_has_clblast(void) { return true; }

static CLBlastTranspose transpose(bool yes) { return yes ? CLBlastTransposeYes : CLBlastTransposeNo; }
static size_t lda(const clg__gemm *g) { return (size_t)(g->trans_a ? g->m : g->k); }
static size_t ldb(const clg__gemm *g) { return (size_t)(g->trans_b ? g->k : g->n); }

static clg_status failed(clg_context *ctx, const clg__gemm *g, const char *what, CLBlastStatusCode code)
{
    return clg__fail(&ctx->root, CLG_OPENCL, "CLBlast: %s for a matrix product of %" PRId64 " x %" PRId64 " x %" PRId64
                     ": status %d; the profile key clblast=0 uses the built-in kernels instead", what, g->m, g->n, g->k,
                     (int)code);
}

static size_t temporary_size(clg_context *ctx, const clg__gemm *g)
{
    size_t bytes = 0;
    const CLBlastStatusCode code = CLBlastSGemmTempBufferSize(
        CLBlastLayoutRowMajor, transpose(g->trans_a), transpose(g->trans_b), (size_t)g->m, (size_t)g->n, (size_t)g->k,
        1, lda(g), 1, ldb(g), 1, (size_t)g->n, &ctx->queue, &bytes);
    if (code != CLBlastSuccess) failed(ctx, g, "no size of temporaries", code);
    return code == CLBlastSuccess ? bytes : 0;
}

size_t clg__clblast_workspace(clg_context *ctx, const clg__gemm *gemm)
{
    const size_t bytes = temporary_size(ctx, gemm);
    return bytes > 0 ? bytes + ALIGNMENT : 0;
}

clg__clblast *clg__clblast_create(clg_context *ctx, const clg__gemm *gemm, const clg__operands *at)
{
    const size_t bytes = temporary_size(ctx, gemm);
    if (!clg__usable(ctx)) return NULL;
    if (bytes > 0 && !at->workspace.buffer) {
        clg__fail(&ctx->root, CLG_INTERNAL, "CLBlast: no workspace of %zu bytes", bytes);
        return NULL;
    }
    clg__clblast *product = clg__calloc(&ctx->root, 1, sizeof *product);
    if (!product) return NULL;
    product->gemm = *gemm;
    product->gemm.epilogue = NULL; /* the caller's, and not ours to apply */
    product->at = *at;
    if (bytes > 0) {
        const size_t origin = (size_t)at->workspace.at * sizeof(float);
        const cl_buffer_region region = {.origin = (origin + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT, .size = bytes};
        cl_int code = CL_SUCCESS;
        product->temporary = clCreateSubBuffer(at->workspace.buffer->mem, CL_MEM_READ_WRITE,
                                               CL_BUFFER_CREATE_TYPE_REGION, &region, &code);
        if (!product->temporary) {
            clg__cl_fail(ctx, code, "CLBlast: no sub-buffer of %zu bytes for its temporaries", bytes);
            free(product);
            return NULL;
        }
    }
    return product;
}

void clg__clblast_destroy(clg__clblast *product)
{
    if (!product) return;
    if (product->temporary) clReleaseMemObject(product->temporary);
    free(product);
}

static CLBlastStatusCode sgemm(clg_context *ctx, const clg__clblast *product, int64_t i, cl_event *event,
                               cl_mem temporary)
{
    const clg__gemm     *g = &product->gemm;
    const clg__operands *at = &product->at;
    return CLBlastSgemmWithTempBuffer(
        CLBlastLayoutRowMajor, transpose(g->trans_a), transpose(g->trans_b), (size_t)g->m, (size_t)g->n,
        (size_t)g->k, 1.0f, at->a.buffer->mem, at->a.at + (size_t)(i * g->stride_a), lda(g), at->b.buffer->mem,
        at->b.at + (size_t)(i * g->stride_b), ldb(g), g->beta, at->c.buffer->mem,
        at->c.at + (size_t)(i * g->stride_c), (size_t)g->n, &ctx->queue, event, temporary);
}

/* Parameters that changed since the workspace was planned, by another context's tuning, may want a larger one. */
clg_status clg__clblast_enqueue(clg_context *ctx, const clg__clblast *product)
{
    const clg__gemm *g = &product->gemm;
    for (int64_t i = 0; i < g->batch; i++) {
        cl_event *event = clg__trace(ctx, CLG_TRACE_KERNEL, "CLBlast SGEMM", 0);
        CLBlastStatusCode code = sgemm(ctx, product, i, event, product->temporary);
        if (code == CLBlastInsufficientMemoryTemp) code = sgemm(ctx, product, i, event, NULL); /* CLBlast allocates it */
        if (code != CLBlastSuccess) return failed(ctx, g, "SGEMM", code);
        ctx->counters.launches++;
    }
    return CLG_OK;
}

size_t clg__clblast_launches(const clg__clblast *product) { return (size_t)product->gemm.batch; }

/* ---- parameters -------------------------------------------------------------------------------------------------- */

enum { PARAMETERS = 16 };

static const struct {
    const char *name, *parameter[PARAMETERS];
    size_t      count;
} kernels[CLG__CLBLAST_KERNELS] = {
    {"Xgemm", {"GEMMK", "KREG", "KWG", "KWI", "MDIMA", "MDIMC", "MWG", "NDIMB", "NDIMC", "NWG", "SA", "SB", "STRM", "STRN",
               "VWM", "VWN"}, 16},
    {"XgemmDirect", {"KWID", "MDIMAD", "MDIMCD", "NDIMBD", "NDIMCD", "PADA", "PADB", "VWMD", "VWND", "WGD"}, 10},
    {"GemmRoutine", {"XGEMM_MIN_INDIRECT_SIZE"}, 1}, /* m n k below its cube go to XgemmDirect */
};

/* The first of a kernel is for CPUs; then tiles through local memory, small to large, and through registers alone. */
static const struct {
    int    kernel;
    size_t value[PARAMETERS];
} sets[] = {
    {0, {0, 1, 16, 2, 8, 8, 128, 16, 16, 128, 0, 0, 0, 0, 8, 4}},
    {0, {0, 1, 32, 2, 16, 16, 64, 8, 8, 64, 1, 1, 0, 0, 4, 4}},
    {0, {0, 1, 16, 2, 16, 16, 128, 8, 8, 128, 1, 1, 0, 0, 8, 8}},
    {0, {0, 1, 32, 2, 8, 8, 64, 8, 8, 64, 0, 0, 0, 0, 4, 4}},
    {0, {1, 4, 1, 1, 8, 8, 64, 8, 8, 32, 0, 0, 0, 0, 4, 4}},
    {1, {8, 8, 8, 8, 8, 0, 0, 8, 4, 64}},
    {1, {2, 8, 8, 8, 8, 1, 1, 4, 4, 32}},
    {1, {2, 16, 16, 8, 8, 1, 1, 2, 2, 32}},
    {2, {128}},
    {2, {256}},
    {2, {1024}},
};

int         clg__clblast_sets(void) { return (int)CLG__COUNT(sets); }
int         clg__clblast_kernel_of(int set) { return sets[set].kernel; }
bool        clg__clblast_suits(int set, bool cpu) { return !cpu || sets[set].kernel != 0 || sets[set].value[10] == 0; }
const char *clg__clblast_kernel_name(int kernel) { return kernels[kernel].name; }

char *clg__clblast_set_text(int set, char *text, size_t size)
{
    size_t at = 0;
    for (size_t i = 0; i < kernels[sets[set].kernel].count && at < size; i++)
        at += (size_t)snprintf(text + at, size - at, "%s%s=%zu", i ? " " : "", kernels[sets[set].kernel].parameter[i],
                               sets[set].value[i]);
    return text;
}

bool clg__clblast_use(clg_context *ctx, int set)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static struct {
        cl_device_id device;
        int          set; /* and 1 */
    } used[CLG__CLBLAST_KERNELS];
    const int   kernel = sets[set].kernel;
    const char *names[PARAMETERS];
    memcpy(names, kernels[kernel].parameter, sizeof names);
    pthread_mutex_lock(&mutex);
    bool done = used[kernel].device == ctx->device && used[kernel].set == set + 1; /* again would compile all again */
    if (!done && CLBlastOverrideParameters(ctx->device, kernels[kernel].name, CLBlastPrecisionSingle,
                                           kernels[kernel].count, names, sets[set].value) == CLBlastSuccess) {
        used[kernel].device = ctx->device;
        used[kernel].set = set + 1;
        done = true;
    }
    pthread_mutex_unlock(&mutex);
    return done;
}
#endif
