/* engine.c - which engine multiplies, and the call that hides it. */
#include "blas/tuned.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Below this the transposed, padded copies that CLBlast makes of its operands cost more than they gain. */
static const int64_t clblast_least = 32;

/* Kernels count rows, columns and depth in 32 bits, with room for a tile beyond the end. */
static const int64_t largest = INT64_C(1) << 30;

const char *clg__gemm_engine_name(clg__gemm_engine engine)
{
    switch (engine) {
    case CLG__GEMM_AUTO:    return "auto";
    case CLG__GEMM_BUILTIN: return "built-in";
    case CLG__GEMM_CLBLAST: return "clblast";
    }
    return "unknown";
}

clg__gemm_engine clg__gemm_choose(clg_context *ctx, const clg__gemm *gemm)
{
    if (!clg__gemm_has_clblast() || !clg__usable(ctx) || !ctx->info->profile.clblast) return CLG__GEMM_BUILTIN;
    const clg__gemm_engine tuned = clg__tuned_choice(ctx, gemm).engine;
    if (tuned != CLG__GEMM_AUTO) return tuned;
    const int64_t least = CLG__MIN(gemm->m, CLG__MIN(gemm->n, gemm->k));
    return least >= clblast_least && gemm->batch <= 1 ? CLG__GEMM_CLBLAST : CLG__GEMM_BUILTIN;
}

/* CLBlast refuses empty sums, which are our C = epilogue(beta C + bias); gemm_finish wants C's batches side by side. */
static bool by_clblast(clg_context *ctx, const clg__gemm *gemm, clg__gemm_engine engine)
{
    if (engine == CLG__GEMM_AUTO) engine = clg__gemm_choose(ctx, gemm);
    return engine == CLG__GEMM_CLBLAST && gemm->k > 0 &&
           (gemm->batch <= 1 || gemm->stride_c == gemm->m * gemm->n);
}

size_t clg__gemm_workspace(clg_context *ctx, const clg__gemm *gemm, clg__gemm_engine engine)
{
    return clg__usable(ctx) && by_clblast(ctx, gemm, engine) ? clg__clblast_workspace(ctx, gemm) : 0;
}

clg__gemm_call *clg__gemm_create(clg_context *ctx, const clg__gemm *gemm, clg__gemm_engine engine,
                                 const clg__operands *operands)
{
    clg__operands at = *operands;
    clg__gemm     g = *gemm;
    if (!clg__usable(ctx)) return NULL;
    if (!g.bias) at.bias = at.c; /* arguments that are set, yet never read */
    if (!g.other) at.other = at.c;
    if (g.batch == 0) g.batch = 1;
    if (g.m < 1 || g.n < 1 || g.k < 0 || g.batch < 1 || g.n > largest || g.k > largest ||
        g.batch > largest || g.m > largest / g.batch) {
        clg__fail(&ctx->root, CLG_UNSUPPORTED, "a matrix product of %" PRId64 " x %" PRId64 " x %" PRId64
                  ", %" PRId64 " times, is outside the range of the kernels", g.m, g.n, g.k, g.batch);
        return NULL;
    }

    clg__gemm_call *call = clg__calloc(&ctx->root, 1, sizeof *call);
    if (!call) return NULL;
    if (by_clblast(ctx, &g, engine)) {
        snprintf(call->text, sizeof call->text, "CLBlast %c%c", g.trans_a ? 'T' : 'N', g.trans_b ? 'T' : 'N');
        call->clblast = clg__clblast_create(ctx, &g, &at);
        if (g.bias || g.epilogue) call->kernel = clg__builtin_finish(ctx, &g, &at);
    } else {
        call->kernel = clg__builtin_gemm(ctx, &g, &at, call->text, sizeof call->text);
    }
    if (clg__usable(ctx)) return call;
    clg__gemm_destroy(&call);
    return NULL;
}

void clg__gemm_destroy(clg__gemm_call **call)
{
    if (!call || !*call) return;
    clg__kernel_destroy(&(*call)->kernel);
    clg__clblast_destroy((*call)->clblast);
    free(*call);
    *call = NULL;
}

clg_status clg__gemm_enqueue(clg_context *ctx, clg__gemm_call *call)
{
    if (!clg__usable(ctx)) return clg_context_status(ctx);
    if (!call) return clg__fail(&ctx->root, CLG_INTERNAL, "there is no matrix product to launch");
    if (call->clblast) clg__clblast_enqueue(ctx, call->clblast);
    if (call->kernel) clg__kernel_enqueue(ctx, call->kernel);
    return ctx->root.status;
}

size_t clg__gemm_launches(const clg__gemm_call *call)
{
    if (!call) return 0;
    return (call->clblast ? clg__clblast_launches(call->clblast) : 0) + (call->kernel ? 1 : 0);
}

const char *clg__gemm_text(const clg__gemm_call *call)
{
    return call ? call->text : "";
}
