/* gemm.cl - C = epilogue(op(A) op(B) + beta C + bias, other), batched; C [m, n] row-major, op(A) [m, k], op(B) [k, n].
 *
 * BIAS               1: bias[j] is added to column j
 * OTHER              1: `other` is a tensor of C's shape and strides
 * EPILOGUE(T, a, b)  what becomes of a value, a vec or a float, once its sum is complete; b is other's element
 * TILE_*             as in prelude.cl; without them there is only gemm_finish
 * TRANS_A, TRANS_B   with them: 1 when A is stored [k, m], B [n, k]
 * PACK_A, PACK_B     with TILE_SIDE 1: 1 when an item copies its operand into private memory, BLOCK_TILES tiles of A at
 *                    most and one panel of B, 0 when it reads it in place (B only untransposed, of TILE_COLS columns or
 *                    more)
 *
 * CPU body: the groups, of one item each, share C's tiles evenly. An item goes through the depth TILE_K at a time: it
 * packs its rows of A, transposed in registers where need be, so that the broadcasts of a tile read one stream, then
 * each panel of TILE_COLS columns of B in turn, and multiplies every tile of A with it. Sums of more than TILE_K
 * products continue in C. GPU body: a group computes TILE_M x TILE_N of C. The groups are (columns, rows, batch). */
#if !defined(BIAS) || !defined(OTHER) || !defined(EPILOGUE)
#error "gemm.cl needs BIAS, OTHER and EPILOGUE"
#elif defined(TILE_SIDE) && (!defined(TRANS_A) || !defined(TRANS_B))
#error "gemm.cl needs TRANS_A and TRANS_B"
#elif defined(TILE_SIDE) && TILE_SIDE == 1 && (!defined(PACK_A) || !defined(PACK_B) || !defined(BLOCK_TILES))
#error "gemm.cl needs PACK_A, PACK_B and BLOCK_TILES"
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
#define MULTIPLE(x, of) (((x) + (of) - 1) / (of) * (of))
/* Packed, A lies in tiles [depth][A_WIDE]; the distance of two tiles is off the powers of two, for caches have sets. */
#define A_WIDE MULTIPLE(TILE_M, VEC)
#define A_TILE (TILE_K * A_WIDE + VEC)
#if PACK_A
#define A_SPACE private
#else
#define A_SPACE global
#endif
#if PACK_B
#define B_SPACE private
#else
#define B_SPACE global
#endif

/* Where the share of group `g` of `groups` begins: tiles are dealt out as evenly as they can be. */
static inline int share_of(const int extent, const int tile, const ulong g, const ulong groups)
{
    const ulong tiles = (extent + tile - 1) / tile;
    return min((int)(tiles * g / groups) * tile, extent);
}

/* The vector at p, of which what lies behind `end` is zero. */
static inline vec load_within(global const float *p, global const float *end)
{
    return load_part(p, (int)min((long)(end - p), (long)VEC));
}

/* Packing: to [tile][k][wide vectors] = what lies at from[k * ld + i], or transposed from[i * ld + k], for i below
 * `count`, dealt to tiles of `tile` and `distance` vectors apart. Lanes past a tile's end hold neighbours or zeros. */
static inline void pack(vec *to, global const float *from, const ulong ld, global const float *end, const int count,
                        const int depth, const int tile, const int wide, const int distance)
{
    for (int k = 0; k < depth; k++, from += ld, to += wide)
        for (int i = 0, t = 0; i < count; i += tile, t += distance)
            UNROLL for (int v = 0; v < wide; v++) to[t + v] = load_within(from + i + v * VEC, end);
}

/* VEC rows; those past the first `rows` (or all, where that is less than one) repeat the last one that there is. */
static inline void load_square(vec *r, global const float *from, const ulong ld, global const float *end,
                               const int rows)
{
    if (rows >= VEC && from + (VEC - 1) * ld + VEC <= end) {
        UNROLL for (int i = 0; i < VEC; i++) r[i] = VLOAD(from + i * ld);
        return;
    }
    vec edge[VEC];
    for (int i = 0; i < VEC; i++) edge[i] = load_within(from + (min(i, rows - 1) * (long)ld), end);
    UNROLL for (int i = 0; i < VEC; i++) r[i] = edge[i];
}

static inline void pack_transposed(vec *to, global const float *from, const ulong ld, global const float *end,
                                   const int count, const int depth, const int tile, const int wide, const int distance)
{
    for (int i = 0; i < count; i += tile, to += distance)
        for (int v = 0; v < wide; v++)
            for (int k = 0; k < depth; k += VEC) {
                vec r[VEC];
                load_square(r, from + (i + v * VEC) * ld + k, ld, end, count - i - v * VEC);
                transpose_tile(r);
                UNROLL for (int e = 0; e < VEC; e++) to[(k + e) * wide + v] = r[e];
            }
}

#if TRANS_A
#define PACK_ROWS pack
#else
#define PACK_ROWS pack_transposed
#endif
#if TRANS_B
#define PACK_COLS pack_transposed
#else
#define PACK_COLS pack
#endif

/* acc = the tile of A at a times the panel of B at b; row[i] is where A's row i begins, unless packed. */
static inline void multiply(vec acc[TILE_M][TILE_N], A_SPACE const float *a, const ulong *row, const ulong a_step,
                            B_SPACE const float *b, const ulong b_step, const int depth)
{
    UNROLL for (int i = 0; i < TILE_M; i++)
        UNROLL for (int v = 0; v < TILE_N; v++) acc[i][v] = 0.0f;
    for (int k = 0; k < depth; k++, a += a_step, b += b_step) {
        vec panel[TILE_N];
        UNROLL for (int v = 0; v < TILE_N; v++) panel[v] = VLOAD(b + v * VEC);
        UNROLL for (int i = 0; i < TILE_M; i++) {
            const vec s = a[PACK_A ? i : row[i]];
            UNROLL for (int v = 0; v < TILE_N; v++) acc[i][v] = fma(s, panel[v], acc[i][v]);
        }
    }
}

/* c = acc + keep c, where the sum is complete (`last`) finished; columns from `first` to before `end`, `rows` rows. */
static inline void store(vec acc[TILE_M][TILE_N], global float *c, const ulong n, global const float *bias,
                         global const float *other, const float keep, const bool last, const int rows, const int first,
                         const int end)
{
    if (first == 0 && end >= TILE_COLS) {
        UNROLL for (int i = 0; i < TILE_M; i++)
            if (i < rows)
                UNROLL for (int v = 0; v < TILE_N; v++) {
                    const ulong at = i * n + v * VEC;
                    vec sum = acc[i][v];
                    if (keep != 0.0f) sum = fma((vec)keep, VLOAD(c + at), sum);
                    if (last) sum = finish(sum, bias + v * VEC, other + at, VEC);
                    VPUT(sum, c + at);
                }
        return;
    }
    float part[TILE_M][TILE_COLS];
    UNROLL for (int i = 0; i < TILE_M; i++)
        UNROLL for (int v = 0; v < TILE_N; v++) VSTORE(acc[i][v], &part[i][v * VEC]);
    for (int i = 0; i < rows; i++)
        for (int j = first; j < min(end, TILE_COLS); j++) {
            const ulong at = i * n + j;
            float sum = part[i][j];
            if (keep != 0.0f) sum = fma(keep, c[at], sum);
            c[at] = last ? finish_one(sum, bias + j, other + at) : sum;
        }
}

TILE_KERNEL gemm(TENSOR_OF(const float, a), TENSOR_OF(const float, b), TENSOR(c), TENSOR_OF(const float, bias),
                 TENSOR_OF(const float, other), const int m, const int n, const int k, const ulong stride_a,
                 const ulong stride_b, const ulong stride_c, const float beta)
{
#if PACK_A
    vec block[BLOCK_TILES * A_TILE / VEC];
#endif
#if PACK_B
    vec panel[TILE_K * TILE_N];
#endif
    a += a_at + get_group_id(2) * stride_a;
    b += b_at + get_group_id(2) * stride_b;
    c += c_at + get_group_id(2) * stride_c;
    bias += bias_at, other += other_at + get_group_id(2) * stride_c;

    const int i0 = share_of(m, TILE_M, get_group_id(1), get_num_groups(1));
    const int i1 = share_of(m, TILE_M, get_group_id(1) + 1, get_num_groups(1));
    const int j0 = share_of(n, TILE_COLS, get_group_id(0), get_num_groups(0));
    const int j1 = share_of(n, TILE_COLS, get_group_id(0) + 1, get_num_groups(0));
    const ulong lda = TRANS_A ? m : k, ldb = TRANS_B ? k : n;
    const ulong a_row = TRANS_A ? 1 : lda, a_k = TRANS_A ? lda : 1;
    const ulong b_col = TRANS_B ? ldb : 1, b_k = TRANS_B ? 1 : ldb;
    global const float *a_end = a + (ulong)m * k, *b_end = b + (ulong)k * n;
    const int passes = max((k + TILE_K - 1) / TILE_K, 1); /* of equal depth but for the last */
    const int step = max(MULTIPLE((k + passes - 1) / passes, VEC), 1);

    for (int k0 = 0; k0 == 0 || k0 < k; k0 += step) {
        const int depth = min(step, k - k0);
        const bool last = k0 + depth == k;
#if PACK_A
        PACK_ROWS(block, a + i0 * a_row + k0 * a_k, lda, a_end, i1 - i0, depth, TILE_M, A_WIDE / VEC, A_TILE / VEC);
#endif
        for (int j = j0; j < j1; j += TILE_COLS) {
#if PACK_B
            const int at = j;
            PACK_COLS(panel, b + k0 * b_k + j * b_col, ldb, b_end, min(n - j, TILE_COLS), depth, TILE_COLS, TILE_N, 0);
            private const float *right = (private const float *)panel;
#else
            const int at = min(j, n - TILE_COLS); /* the last panel overlaps the one before */
            global const float *right = b + k0 * b_k + at;
#endif
            for (int i = i0; i < i1; i += TILE_M) {
                const int rows = min(TILE_M, i1 - i);
                vec acc[TILE_M][TILE_N];
                ulong row[TILE_M]; /* rows past the end repeat the last one */
                UNROLL for (int r = 0; r < TILE_M; r++) row[r] = min(r, rows - 1) * a_row;
#if PACK_A
                private const float *left = (private const float *)block + (i - i0) / TILE_M * A_TILE;
#else
                global const float *left = a + i * a_row + k0 * a_k;
#endif
                multiply(acc, left, row, PACK_A ? A_WIDE : a_k, right, PACK_B ? TILE_COLS : ldb, depth);
                const ulong to = i * (ulong)n + at;
                store(acc, c + to, n, bias + at, other + to, k0 > 0 ? 1.0f : beta, last, rows, j - at, n - at);
            }
        }
    }
}
#else
/* c = finish(sum + beta c), of which `left` elements of a row exist. */
static inline void put4(float4 sum, const float beta, global float *c, global const float *bias,
                        global const float *other, const int left)
{
    if (beta != 0.0f) sum = fma((float4)beta, load4(c, left), sum);
#if BIAS
    sum += load4(bias, left);
#endif
#if OTHER
    const float4 with = load4(other, left);
#else
    const float4 with = 0.0f;
#endif
    store4(EPILOGUE(float4, sum, with), c, left);
}

TILE_KERNEL gemm(TENSOR_OF(const float, a), TENSOR_OF(const float, b), TENSOR(c), TENSOR_OF(const float, bias),
                 TENSOR_OF(const float, other), const int m, const int n, const int k, const ulong stride_a,
                 const ulong stride_b, const ulong stride_c, const float beta)
{
    local float4 tile_a[TILE_K * PITCH_A], tile_b[TILE_K * PITCH_B];
    item_row sum[ITEM_M];
    const int i0 = get_group_id(1) * TILE_M, j0 = get_group_id(0) * TILE_N;
    const ulong lda = TRANS_A ? m : k, ldb = TRANS_B ? k : n, at = get_group_id(2) * stride_c + i0 * (ulong)n + j0;
    a += a_at + get_group_id(2) * stride_a + i0 * (TRANS_A ? 1 : lda);
    b += b_at + get_group_id(2) * stride_b + j0 * (TRANS_B ? ldb : 1);
    c += c_at + at, bias += bias_at + j0, other += other_at + at;

    EACH_ITEM_ROW(CLEAR_SUM)
    for (int left = k; left > 0; left -= TILE_K) {
        tile_fill(tile_a, TILE_M, a, lda, !TRANS_A, m - i0, left);
        tile_fill(tile_b, TILE_N, b, ldb, TRANS_B, n - j0, left);
        barrier(CLK_LOCAL_MEM_FENCE);
        tile_multiply(sum, tile_a, tile_b, min(TILE_K, left));
        barrier(CLK_LOCAL_MEM_FENCE); /* the next depth overwrites the tiles */
        a += TILE_K * (TRANS_A ? lda : 1), b += TILE_K * (TRANS_B ? 1 : ldb);
    }
    const ulong mine = ITEM_ROW * (ulong)n + ITEM_COL;
    const int below = m - i0 - ITEM_ROW, beside = n - j0 - ITEM_COL; /* what there is from the item's first element on */
    c += mine, other += mine, bias += ITEM_COL;
#define PUT(i, j, four) \
    if ((i) < below) put4(four, beta, c + (i) * (ulong)n + (j), bias + (j), other + (i) * (ulong)n + (j), beside - (j));
#define PUT_ROW(i) EACH_FOUR(PUT, i)
    EACH_ITEM_ROW(PUT_ROW)
}
#endif
