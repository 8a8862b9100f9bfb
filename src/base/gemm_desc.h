/* gemm_desc.h - one matrix product, as an operator asks for it and a GEMM engine carries it out:
 *
 *   C[i] = epilogue(op(A[i]) op(B[i]) + beta C[i] + bias, other[i])
 *
 * C and other are [m, n], op(A) [m, k], op(B) [k, n], bias [n], row-major; other's batches lie as C's do.
 * A is stored [m, k], or [k, m] when trans_a; likewise B. All are dense: lda is k or m, and so on. stride_* is the
 * distance in elements between one batch's matrix and the next, 0 for a matrix that all batches share. */
#ifndef CLG_GEMM_DESC_H
#define CLG_GEMM_DESC_H

#include <stdbool.h>
#include <stdint.h>

typedef struct clg__gemm {
    bool        trans_a, trans_b, bias, other;
    int64_t     m, n, k, batch; /* batch 0 means 1 */
    int64_t     stride_a, stride_b, stride_c;
    float       beta;
    const char *epilogue; /* an OpenCL C expression of type T in `a`, such as "a < (T)0 ? (T)0 : a", and, where `other`
                           * is set, in other's element `b`; NULL: a itself */
} clg__gemm;

#endif
