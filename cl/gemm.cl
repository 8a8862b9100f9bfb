/* gemm.cl - C = epilogue(op(A) op(B) + beta C + bias, other), batched; C [m, n] row-major, op(A) [m, k], op(B) [k, n].
 *
 * BIAS               1: bias[j] is added to column j
 * OTHER              1: `other` is a tensor of C's shape and strides
 * EPILOGUE(T, a, b)  what becomes of a value, a vec or a float, once its sum is complete; b is other's element
 * TILE_*             as in prelude.cl; without them there is only gemm_finish
 * TRANS_A, TRANS_B   with them: 1 when A is stored [k, m], B [n, k]
 *
 * CPU body: an item computes `rows` x `cols` of C, a panel of TILE_COLS columns at a time: TILE_K rows of op(B) are
 * packed into private memory, transposed in registers where need be, and multiplied with every TILE_M rows of A, which
 * is read in place. Sums of more than TILE_K products continue in C. GPU body: a group computes TILE_M x TILE_N of C.
 * Either way the groups are (columns, rows, batch). */
#if !defined(BIAS) || !defined(OTHER) || !defined(EPILOGUE)
#error "gemm.cl needs BIAS, OTHER and EPILOGUE"
#elif defined(TILE_SIDE) && (!defined(TRANS_A) || !defined(TRANS_B))
#error "gemm.cl needs TRANS_A and TRANS_B"
#endif

/* A complete sum, of which `left` lanes count; bias and other point to what belongs to its first. */
static inline vec finish(vec sum, global const float *bias, global const float *other, const int left)
{
#if BIAS
    sum += load_part(bias, left);
#endif
#if OTHER
    const vec with = load_part(other, left);
#else
    const vec with = 0.0f;
#endif
    return EPILOGUE(vec, sum, with);
}

static inline float finish_one(float sum, global const float *bias, global const float *other)
{
#if BIAS
    sum += *bias;
#endif
#if OTHER
    const float with = *other;
#else
    const float with = 0.0f;
#endif
    return EPILOGUE(float, sum, with);
}

#ifndef TILE_SIDE
/* What a product leaves to do that was computed elsewhere: c = epilogue(c + bias, other), a row at a time. */
KERNEL gemm_finish(TENSOR(c), TENSOR_OF(const float, bias), TENSOR_OF(const float, other), const uint rows,
                   const uint n)
{
    c += c_at, bias += bias_at, other += other_at;
    EACH_ROW(r, rows) {
        global float *row = c + r * (ulong)n;
        global const float *with = other + r * (ulong)n;
        EACH_VEC(j, n) VPUT(finish(VLOAD(row + j), bias + j, with + j, VEC), row + j);
        EACH_TAIL(j, n) row[j] = finish_one(row[j], bias + j, with + j);
    }
}
#elif TILE_SIDE == 1
/* panel [depth][TILE_N] = op(B) from row k, column j on; b points there, `cols` and `depth` remain. */
static inline void pack(vec *panel, global const float *b, const ulong ldb, const int cols, const int depth)
{
#if TRANS_B
    for (int k = 0; k < depth; k += VEC)
        for (int v = 0; v < TILE_N; v++) {
            vec r[VEC];
            for (int i = 0; i < VEC; i++) r[i] = load_part(b + min(v * VEC + i, cols - 1) * ldb + k, depth - k);
            transpose_tile(r);
            UNROLL for (int i = 0; i < VEC; i++) panel[(k + i) * TILE_N + v] = r[i];
        }
#else
    for (int k = 0; k < depth; k++, b += ldb)
        for (int v = 0; v < TILE_N; v++) panel[k * TILE_N + v] = load_part(b + v * VEC, cols - v * VEC);
#endif
}

TILE_KERNEL gemm(TENSOR_OF(const float, a), TENSOR_OF(const float, b), TENSOR(c), TENSOR_OF(const float, bias),
                 TENSOR_OF(const float, other), const int m, const int n, const int k, const ulong stride_a,
                 const ulong stride_b, const ulong stride_c, const float beta, const int rows, const int cols)
{
    vec panel[TILE_K * TILE_N], tile[TILE_M * TILE_N];
    a += a_at + get_global_id(2) * stride_a;
    b += b_at + get_global_id(2) * stride_b;
    c += c_at + get_global_id(2) * stride_c;
    bias += bias_at, other += other_at + get_global_id(2) * stride_c;

    const int i0 = get_global_id(1) * rows, i1 = min(i0 + rows, m);
    const int j0 = get_global_id(0) * cols, j1 = min(j0 + cols, n);
    const ulong lda = TRANS_A ? m : k, ldb = TRANS_B ? k : n;
    const ulong a_row = TRANS_A ? 1 : lda, a_k = TRANS_A ? lda : 1;
    const ulong b_col = TRANS_B ? ldb : 1, b_k = TRANS_B ? 1 : ldb;

    for (int j = j0; j < j1; j += TILE_COLS)
        for (int k0 = 0; k0 == 0 || k0 < k; k0 += TILE_K) {
            const int depth = min(TILE_K, k - k0);
            const bool last = k0 + depth == k;
            const float keep = k0 > 0 ? 1.0f : beta;
            pack(panel, b + k0 * b_k + j * b_col, ldb, n - j, depth);
            for (int i = i0; i < i1; i += TILE_M) {
                const int count = min(TILE_M, i1 - i);
                tile_multiply(tile, count, a + k0 * a_k + i * a_row, a_row, a_k, panel, depth);
                for (int r = 0; r < count; r++)
                    for (int v = 0; v < TILE_N && j + v * VEC < n; v++) {
                        const int left = n - j - v * VEC;
                        const ulong at = (i + r) * (ulong)n + j + v * VEC;
                        global float *to = c + at;
                        vec sum = tile[r * TILE_N + v];
                        if (keep != 0.0f) sum = fma((vec)keep, load_part(to, left), sum);
                        if (last) sum = finish(sum, bias + j + v * VEC, other + at, left);
                        store_part(sum, to, left);
                    }
            }
        }
}
#else
TILE_KERNEL gemm(TENSOR_OF(const float, a), TENSOR_OF(const float, b), TENSOR(c), TENSOR_OF(const float, bias),
                 TENSOR_OF(const float, other), const int m, const int n, const int k, const ulong stride_a,
                 const ulong stride_b, const ulong stride_c, const float beta, const int rows, const int cols)
{
    local float tile_a[TILE_K * PITCH_A], tile_b[TILE_K * PITCH_B];
    float sum[ITEM_M][ITEM_N] = {{0.0f}};
    a += a_at + get_group_id(2) * stride_a;
    b += b_at + get_group_id(2) * stride_b;
    c += c_at + get_group_id(2) * stride_c;
    bias += bias_at, other += other_at + get_group_id(2) * stride_c;

    const int i0 = get_group_id(1) * rows, j0 = get_group_id(0) * cols; /* rows is TILE_M, cols TILE_N */
    const ulong a_row = TRANS_A ? 1 : k, a_k = TRANS_A ? m : 1, b_col = TRANS_B ? k : 1, b_k = TRANS_B ? 1 : n;
    for (int k0 = 0; k0 < k; k0 += TILE_K) {
        for (int e = ITEM; e < TILE_K * TILE_M; e += ITEMS) { /* neighbours read neighbours in memory */
            const int i = TRANS_A ? e % TILE_M : e / TILE_K, d = TRANS_A ? e / TILE_M : e % TILE_K;
            const bool inside = i0 + i < m && k0 + d < k;
            tile_a[d * PITCH_A + i] = inside ? a[(i0 + i) * a_row + (k0 + d) * a_k] : 0.0f;
        }
        for (int e = ITEM; e < TILE_K * TILE_N; e += ITEMS) {
            const int j = TRANS_B ? e / TILE_K : e % TILE_N, d = TRANS_B ? e % TILE_K : e / TILE_N;
            const bool inside = j0 + j < n && k0 + d < k;
            tile_b[d * PITCH_B + j] = inside ? b[(j0 + j) * b_col + (k0 + d) * b_k] : 0.0f;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        tile_multiply(sum, tile_a, tile_b, min(TILE_K, k - k0));
        barrier(CLK_LOCAL_MEM_FENCE); /* the next depth overwrites the tiles */
    }
    for (int r = 0; r < ITEM_M; r++)
        for (int s = 0; s < ITEM_N; s++) {
            const int i = i0 + r * TILE_SIDE + get_local_id(1), j = j0 + s * TILE_SIDE + get_local_id(0);
            if (i >= m || j >= n) continue;
            const ulong at = i * (ulong)n + j;
            float v = sum[r][s];
            if (beta != 0.0f) v = fma(beta, c[at], v);
            c[at] = finish_one(v, bias + j, other + at);
        }
}
#endif
