/* engines.h - what gemm.h's call is made of: a kernel of cl/gemm.cl (builtin.c), or a CLBlast product (clblast.c) and,
 * where there is a bias or an epilogue, a kernel that applies them. */
#ifndef CLG_BLAS_ENGINES_H
#define CLG_BLAS_ENGINES_H

#include "blas/gemm.h"
#include "device/cl_types.h"

typedef struct clg__clblast clg__clblast;

struct clg__gemm_call {
    clg__clblast *clblast; /* NULL: the built-in engine */
    clg__kernel  *kernel;  /* the product, or what is left to do after CLBlast's; NULL: nothing */
    char          text[64];
};

/* builtin.c */
clg__kernel *clg__builtin_gemm(clg_context *ctx, const clg__gemm *gemm, const clg__operands *at, char *text,
                               size_t size);
clg__kernel *clg__builtin_finish(clg_context *ctx, const clg__gemm *gemm, const clg__operands *at);

/* clblast.c */
size_t        clg__clblast_workspace(clg_context *ctx, const clg__gemm *gemm);
clg__clblast *clg__clblast_create(clg_context *ctx, const clg__gemm *gemm, const clg__operands *at);
void          clg__clblast_destroy(clg__clblast *product); /* NULL is fine */
clg_status    clg__clblast_enqueue(clg_context *ctx, const clg__clblast *product);
size_t        clg__clblast_launches(const clg__clblast *product);

/* Sets of CLBlast's parameters, which hold for a device in the whole process from clg__clblast_use on; what CLBlast had
 * before cannot be had back. A set's text is "GEMMK=0 KREG=1 ...". */
enum { CLG__CLBLAST_KERNELS = 3 };
int         clg__clblast_sets(void); /* how many; 0 without CLBlast */
int         clg__clblast_kernel_of(int set);
bool        clg__clblast_suits(int set, bool cpu); /* sets that use local memory are slow on CPUs */
const char *clg__clblast_kernel_name(int kernel);
char       *clg__clblast_set_text(int set, char *text, size_t size);
bool        clg__clblast_use(clg_context *ctx, int set);

#endif
