/* gemm_desc.h - one matrix product, as an operator asks for it and a GEMM engine carries it out:
 *
 *   C[b] = epilogue(op(A[b]) op(B[b]) + beta C[b] + bias)     C [m, n], op(A) [m, k], op(B) [k, n], bias [n], row-major
 *
 * A is stored [m, k], or [k, m] when trans_a; likewise B. All are dense: lda is k or m, and so on. stride_* is the
 * distance in elements between one batch's matrix and the next, 0 for a matrix that all batches share. */
#ifndef CLG_GEMM_DESC_H
#define CLG_GEMM_DESC_H

#include <stdbool.h>
#include <stdint.h>

typedef struct clg__gemm {
    bool        trans_a, trans_b, bias;
    int64_t     m, n, k, batch; /* batch 0 means 1 */
    int64_t     stride_a, stride_b, stride_c;
    float       beta;
    const char *epilogue; /* an OpenCL C expression in `a` of type T, such as "a < (T)0 ? (T)0 : a"; NULL: a itself */
} clg__gemm;

#endif
