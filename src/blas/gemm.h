/* gemm.h - matrix products on the device: one interface over CLBlast and the built-in kernels of cl/gemm.cl, and the
 * choice between them (engine.c), which depends on the profile, the shape, what was tuned, and whether CLBlast was built
 * in. */
#ifndef CLG_BLAS_GEMM_H
#define CLG_BLAS_GEMM_H

#include "base/gemm_desc.h"
#include "device/device.h"

typedef enum clg__gemm_engine { CLG__GEMM_AUTO, CLG__GEMM_BUILTIN, CLG__GEMM_CLBLAST } clg__gemm_engine;

bool        clg__gemm_has_clblast(void);
const char *clg__gemm_engine_name(clg__gemm_engine engine); /* "built-in", "clblast" */

/* Which engine AUTO means for this problem on this context. */
clg__gemm_engine clg__gemm_choose(clg_context *ctx, const clg__gemm *gemm);

/* Temporary device memory that the product needs, in bytes; known before anything is built, so that it can be planned. */
size_t clg__gemm_workspace(clg_context *ctx, const clg__gemm *gemm, clg__gemm_engine engine);

typedef struct clg__gemm_call clg__gemm_call;

typedef struct clg__operands {
    clg__span a, b, c, bias, other, workspace; /* bias, other: where the product has them; workspace: unless 0 bytes */
} clg__operands;

/* Prepares one product on fixed operands: builds kernels and sets arguments. C overlaps no other operand. m, n, batch
 * > 0; k may be 0. */
clg__gemm_call *clg__gemm_create(clg_context *ctx, const clg__gemm *gemm, clg__gemm_engine engine,
                                 const clg__operands *at);
void            clg__gemm_destroy(clg__gemm_call **call);
clg_status      clg__gemm_enqueue(clg_context *ctx, clg__gemm_call *call); /* counts its launches */
size_t          clg__gemm_launches(const clg__gemm_call *call);
const char     *clg__gemm_text(const clg__gemm_call *call); /* for plan dumps: "built-in panel 14x32x512 NN" */

#endif
