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

#else
#include <clblast_c.h>

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

clg_status clg__clblast_enqueue(clg_context *ctx, const clg__clblast *product)
{
    const clg__gemm     *g = &product->gemm;
    const clg__operands *at = &product->at;
    for (int64_t i = 0; i < g->batch; i++) {
        const CLBlastStatusCode code = CLBlastSgemmWithTempBuffer(
            CLBlastLayoutRowMajor, transpose(g->trans_a), transpose(g->trans_b), (size_t)g->m, (size_t)g->n,
            (size_t)g->k, 1.0f, at->a.buffer->mem, at->a.at + (size_t)(i * g->stride_a), lda(g), at->b.buffer->mem,
            at->b.at + (size_t)(i * g->stride_b), ldb(g), g->beta, at->c.buffer->mem,
            at->c.at + (size_t)(i * g->stride_c), (size_t)g->n, &ctx->queue,
            clg__trace(ctx, CLG_TRACE_KERNEL, "CLBlast SGEMM", 0), product->temporary);
        if (code != CLBlastSuccess) return failed(ctx, g, "SGEMM", code);
        ctx->counters.launches++;
    }
    return CLG_OK;
}

size_t clg__clblast_launches(const clg__clblast *product) { return (size_t)product->gemm.batch; }
#endif
