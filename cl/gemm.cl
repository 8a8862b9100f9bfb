/* gemm.cl - C = epilogue(op(A) op(B) + beta C + bias, other), batched; C [m, n] row-major, op(A) [m, k], op(B) [k, n].
 *
 * TILE_*             as in prelude.cl; without them there is only gemm_finish
 *
 * Of the GPU body and of gemm_finish:
 * BIAS               1: bias[j] is added to column j
 * OTHER              1: `other` is a tensor of C's shape and strides
 * EPILOGUE(T, a, b)  what becomes of a value, a vec or a float, once its sum is complete; b is other's element
 * TRANS_A, TRANS_B   with TILE_*: 1 when A is stored [k, m], B [n, k]
 *
 * Of the CPU body, where all that is an argument, for a program takes long to build:
 * TURN_A, TURN_B, PACK_A, PACK_B, ADD_BIAS, READ_OTHER, FIRST_EPILOGUE   bits of `flags`, the number of an epilogue
 *                    beginning at the last. PACK_*: an item copies its operand into private memory; otherwise it reads
 *                    it in place (B only untransposed and of whole panels)
 * EPILOGUES(X)       X(number, expression of type T in a and b) for each
 * BLOCK              vectors of packed A at most
 *
 * CPU body: the groups, of one item each, claim units of C's tiles. An item goes through the depth `step` at a time: it
 * may pack its rows of A, transposed in registers where need be, so that the broadcasts of a tile read one stream, and
 * multiplies every tile of A with each panel of TILE_COLS columns of B in turn, which it may pack, too: a part after each
 * tile of the panel before, having asked for its lines during the tile, one at a time, for a burst of misses keeps the
 * multiplication from its own. Sums of more than `step` products are added up in C.
 * GPU body: a group computes TILE_M x TILE_N of C. The groups are (columns, rows, batch). */
#if defined(TILE_SIDE) && TILE_SIDE == 1
#if !defined(BLOCK) || !defined(EPILOGUES) || !defined(FIRST_EPILOGUE)
#error "gemm.cl needs BLOCK, EPILOGUES and the bits of its flags"
#endif
#else
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

#endif

#ifndef TILE_SIDE
/* What a product leaves to do that was computed elsewhere: c = epilogue(c + bias, other), a row at a time. */
KERNEL gemm_finish(TENSOR(c), TENSOR_OF(const float, bias), TENSOR_OF(const float, other), const uint rows,
                   const uint n CLAIMS)
{
    c += c_at, bias += bias_at, other += other_at;
    EACH_UNIT(r, rows) {
        global float *row = c + r * (ulong)n;
        global const float *with = other + r * (ulong)n;
        EACH_VEC(j, n) VPUT(finish(VLOAD(row + j), bias + j, with + j, VEC), row + j);
        EACH_TAIL(j, n) row[j] = finish_one(row[j], bias + j, with + j);
    }
}
#elif TILE_SIDE == 1
#define A_WIDE ((TILE_M + VEC - 1) / VEC) /* vectors of a tile of A at one depth */

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

typedef vec packed_vec __attribute__((aligned(4)));
#define PACK(v, p) (*(private packed_vec *)(p) = (v))

/* Packing: to [tile][k][tile's lanes] = what lies at from[k * ld + i], or turned at from[i * ld + k], for i below `count`,
 * dealt to tiles of `tile` lanes in `wide` vectors, `distance` elements apart. A vector's lanes past its tile's end are
 * overwritten by what is packed next, so the last vector comes first where tiles are turned; lanes past `count` hold
 * neighbours or zeros. */
static inline __attribute__((always_inline)) void pack(private float *to, global const float *from, const ulong ld,
                                                       global const float *end, const int count, const int depth,
                                                       const int tile, const int wide, const int distance)
{
    const int inside = min((long)depth, (end - from - (count + tile + VEC)) / (long)ld); /* no load passes the end */
    int k = 0;
    for (; k < inside; k++, from += ld, to += tile)
        for (int i = 0, t = 0; i < count; i += tile, t += distance)
            UNROLL for (int v = 0; v < wide; v++) PACK(VLOAD(from + i + v * VEC), to + t + v * VEC);
    for (; k < depth; k++, from += ld, to += tile)
        for (int i = 0, t = 0; i < count; i += tile, t += distance)
            UNROLL for (int v = 0; v < wide; v++) PACK(load_within(from + i + v * VEC, end), to + t + v * VEC);
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

static void pack_turned(private float *to, global const float *from, const ulong ld, global const float *end,
                        const int count, const int depth, const int tile, const int wide, const int distance)
{
    for (int i = 0; i < count; i += tile, to += distance)
        for (int v = wide - 1; v >= 0; v--)
            for (int k = 0; k < depth; k += VEC) {
                vec r[VEC];
                load_square(r, from + (i + v * VEC) * ld + k, ld, end, count - i - v * VEC);
                transpose_tile(r);
                UNROLL for (int e = 0; e < VEC; e++) PACK(r[e], to + (k + e) * tile + v * VEC);
            }
}

/* op(A), a row being what a tile has TILE_M of, or op(B), where it has TILE_COLS columns. */
typedef struct operand {
    global const float *at, *end;
    ulong ld;
    bool  turned, packed; /* turned: what lies side by side is of one row or column */
} operand;
#define DEEPER(o) ((o)->turned ? 1 : (o)->ld) /* elements to the same row or column at the next depth, */
#define BESIDE(o) ((o)->turned ? (o)->ld : 1) /* to the next one at the same depth */

/* Packs what lies `from` on. */
static inline __attribute__((always_inline)) void pack_some(private float *to, const operand *o,
                                                            global const float *from, const int count, const int depth,
                                                            const int tile, const int wide, const int distance)
{
    if (o->turned) pack_turned(to, from, o->ld, o->end, count, depth, tile, wide, distance);
    else pack(to, from, o->ld, o->end, count, depth, tile, wide, distance);
}

static void pack_panel(private float *to, const operand *b, global const float *from, const int cols, const int depth)
{
    pack_some(to, b, from, min(cols, TILE_COLS), depth, TILE_COLS, TILE_N, 0);
}

/* Lines of memory: `inner` of them `step` elements apart, the next `inner` `jump` elements on, and so forth. */
typedef struct lines {
    global const float *at;
    uint                inner;
    ulong               step, jump;
} lines;

/* What a tile asks for meanwhile: its place in C, of C_LINES, then `count` of what is packed after it. */
typedef struct wanted {
    lines c, next;
    int   count;
} wanted;
#define C_LINES (TILE_M * TILE_N)

static inline void fetch(const wanted *w, const uint line)
{
    const lines l = line < C_LINES ? w->c : w->next;
    const uint  i = line < C_LINES ? line : line - C_LINES;
    FETCH(l.at + (i / l.inner * l.jump + i % l.inner * l.step));
}

/* acc += the tile of A at a times the first `wide` vectors of the panel of B at b; row r of A begins at a[at(r)] and goes on
 * in steps of a_step. */
#define MULTIPLY(name, a_space, b_space, at, wide)                                                                     \
    static inline __attribute__((always_inline)) void name(vec acc[TILE_M][TILE_N], a_space const float *a,            \
                                                           const ulong *row, const ulong a_step,                       \
                                                           b_space const float *b, const ulong b_step, const int depth,\
                                                           const wanted *soon)                                         \
    {                                                                                                                  \
        const int every = max(depth / (C_LINES + soon->count), 1);                                                     \
        for (int k = 0, line = 0; k < depth; line++) {                                                                 \
            fetch(soon, line);                                                                                         \
            for (const int stop = min(k + every, depth); k < stop; k++, a += a_step, b += b_step) {                    \
                vec panel[TILE_N];                                                                                     \
                UNROLL for (int v = 0; v < (wide); v++) panel[v] = VLOAD(b + v * VEC);                                 \
                UNROLL for (int r = 0; r < TILE_M; r++) {                                                              \
                    const vec s = a[at(r)];                                                                            \
                    UNROLL for (int v = 0; v < (wide); v++) acc[r][v] = fma(s, panel[v], acc[r][v]);                   \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }
#define PACKED(r)   (r)
#define IN_PLACE(r) row[r]
MULTIPLY(multiply_packed, private, private, PACKED, TILE_N)
MULTIPLY(multiply_packed_a, private, global, PACKED, TILE_N)
MULTIPLY(multiply_packed_b, global, private, IN_PLACE, TILE_N)
MULTIPLY(multiply_in_place, global, global, IN_PLACE, TILE_N)
MULTIPLY(multiply_narrow, global, private, IN_PLACE, 1)

/* The tile of C's `rows` rows and `cols` columns at c. Rows past the end repeat the last one, and are stored before it. */
#define EACH_SUM(i, v) UNROLL for (int i = TILE_M - 1; i >= 0; i--) UNROLL for (int v = 0; v < TILE_N; v++)
#define EACH_PLACE(i, v) \
    for (int i = 0; i < rows; i++) for (int v = 0; v < TILE_N && v * VEC < cols; v++)

/* c = acc + keep c */
static inline void store(vec acc[TILE_M][TILE_N], global float *c, const ulong n, const float keep, const int rows,
                         const int cols)
{
    if (rows == TILE_M && cols >= TILE_COLS) {
        if (keep != 0.0f) EACH_SUM(i, v) acc[i][v] = fma(keep, VLOAD(c + i * n + v * VEC), acc[i][v]);
        EACH_SUM(i, v) VPUT(acc[i][v], c + i * n + v * VEC);
        return;
    }
    vec sum[TILE_M][TILE_N];
    EACH_SUM(i, v) sum[i][v] = acc[i][v];
    EACH_PLACE(i, v) {
        vec s = sum[i][v];
        if (keep != 0.0f) s = fma(keep, load_part(c + i * n + v * VEC, cols - v * VEC), s);
        store_part(s, c + i * n + v * VEC, cols - v * VEC);
    }
}

/* c = epilogue(c + bias, other) of complete sums, which the caches still hold. */
static inline void finish_tile(global float *c, const ulong n, global const float *bias, global const float *other,
                               const int rows, const int cols, const uint flags)
{
    typedef vec T;
    vec add[TILE_N];
    for (int v = 0; v < TILE_N; v++) add[v] = flags & ADD_BIAS ? load_part(bias + v * VEC, cols - v * VEC) : (vec)0.0f;
    EACH_PLACE(i, v) {
        const ulong at = i * n + v * VEC;
        const int   left = cols - v * VEC;
        const vec   b = flags & READ_OTHER ? load_part(other + at, left) : add[v];
        vec         a = load_part(c + at, left) + add[v];
        switch (flags / FIRST_EPILOGUE) {
#define CASE(number, expression) case number: a = expression; break;
            EPILOGUES(CASE)
        }
        store_part(a, c + at, left);
    }
}

/* A unit at some of its depth; what the sums before it are multiplied by, and what is to do with complete ones. */
typedef struct work {
    operand a, b;
    global float *c;
    global const float *bias, *other;
    ulong n;
    int   rows, cols, depth;
    float keep;
    uint  rest;
} work;

/* The tile of C at row i, column j, from packed A at `left`, or where it lies, and the panel of B, or where it lies. */
static inline __attribute__((always_inline)) void multiply_tile(const work *w, const int i, const int j,
                                                                private const float *left, private const float *panel,
                                                                const wanted *soon)
{
    const int rows = min(TILE_M, w->rows - i), cols = min(TILE_COLS, w->cols - j);
    global const float *top = w->a.at + i * BESIDE(&w->a), *side = w->b.at + j * BESIDE(&w->b);
    const ulong at = i * w->n + j, a_step = DEEPER(&w->a), ldb = w->b.ld;
    vec acc[TILE_M][TILE_N];
    ulong row[TILE_M];
    UNROLL for (int r = 0; r < TILE_M; r++) row[r] = min(r, rows - 1) * BESIDE(&w->a);
    EACH_SUM(r, v) acc[r][v] = 0.0f;
    if (w->a.packed && w->b.packed) multiply_packed(acc, left, row, TILE_M, panel, TILE_COLS, w->depth, soon);
    else if (w->a.packed) multiply_packed_a(acc, left, row, TILE_M, side, ldb, w->depth, soon);
    else if (w->b.packed && cols <= VEC) multiply_narrow(acc, top, row, a_step, panel, TILE_COLS, w->depth, soon);
    else if (w->b.packed) multiply_packed_b(acc, top, row, a_step, panel, TILE_COLS, w->depth, soon);
    else multiply_in_place(acc, top, row, a_step, side, ldb, w->depth, soon);
    store(acc, w->c + at, w->n, w->keep, rows, cols);
    if (w->rest) finish_tile(w->c + at, w->n, w->bias + j, w->other + at, rows, cols, w->rest);
}

static inline __attribute__((always_inline)) void multiply_work(const work *w, private float *block,
                                                                private float *panel, private float *next_panel)
{
    const int distance = w->depth * TILE_M + VEC; /* of two tiles, off the powers of two, for caches have sets */
    const int tiles = (w->rows + TILE_M - 1) / TILE_M;
    const int part = ((w->depth + tiles - 1) / tiles + VEC - 1) / VEC * VEC; /* of a panel, packed after a tile */
    if (w->a.packed) pack_some(block, &w->a, w->a.at, w->rows, w->depth, TILE_M, A_WIDE, distance);
    if (w->b.packed) pack_panel(panel, &w->b, w->b.at, w->cols, w->depth);
    for (int j = 0; j < w->cols; j += TILE_COLS) {
        const int next = j + TILE_COLS, depth = w->b.packed && next < w->cols ? w->depth : 0;
        for (int i = 0, tile = 0; i < w->rows; i += TILE_M, tile++) {
            const int packed = min(tile * part, depth), now = min(part, depth - packed);
            global const float *from = w->b.at + (next * BESIDE(&w->b) + packed * DEEPER(&w->b));
            const lines own = {w->c + (i * w->n + j), TILE_N, VEC, w->n}, rows_of_b = {from, TILE_N, VEC, w->b.ld},
                        cols_of_b = {from, TILE_COLS, w->b.ld, VEC};
            const wanted soon = {own, w->b.turned ? cols_of_b : rows_of_b, now * TILE_N};
            multiply_tile(w, i, j, block + tile * distance, panel, &soon);
            if (now > 0) pack_panel(next_panel + packed * TILE_COLS, &w->b, from, w->cols - next, now);
        }
        private float *const done = panel;
        panel = next_panel, next_panel = done;
    }
}

/* C's tiles are dealt out evenly to `down` x `across` units in each product of the batch. */
TILE_KERNEL gemm(TENSOR_OF(const float, a), TENSOR_OF(const float, b), TENSOR(c), TENSOR_OF(const float, bias),
                 TENSOR_OF(const float, other), const int m, const int n, const int k, const ulong stride_a,
                 const ulong stride_b, const ulong stride_c, const float beta, const int step, const uint flags,
                 const uint batch, const uint down, const uint across CLAIMS)
{
    float block[BLOCK * VEC] __attribute__((aligned(64))), panels[2][TILE_K * TILE_COLS] __attribute__((aligned(64)));
    const bool trans_a = flags & TURN_A, trans_b = flags & TURN_B;
    a += a_at, b += b_at, c += c_at, bias += bias_at, other += other_at;
    EACH_UNIT(u, batch * down * across) {
        const uint i_share = u / across % down, j_share = u % across, product = u / across / down;
        const int i0 = share_of(m, TILE_M, i_share, down), j0 = share_of(n, TILE_COLS, j_share, across);
        const ulong at = product * stride_c + i0 * (ulong)n + j0;
        global const float *at_a = a + product * stride_a, *at_b = b + product * stride_b;
        work w = {{at_a, at_a + (ulong)m * k, trans_a ? m : k, !trans_a, flags & PACK_A},
                  {at_b, at_b + (ulong)k * n, trans_b ? k : n, trans_b, flags & PACK_B},
                  c + at, bias + j0, other + at, n, share_of(m, TILE_M, i_share + 1, down) - i0,
                  share_of(n, TILE_COLS, j_share + 1, across) - j0, 0, beta, 0};
        w.a.at += i0 * BESIDE(&w.a), w.b.at += j0 * BESIDE(&w.b);
        for (int k0 = 0; k0 == 0 || k0 < k; k0 += step) {
            w.depth = min(step, k - k0);
            if (k0 + w.depth == k) w.rest = flags & ~(TURN_A | TURN_B | PACK_A | PACK_B);
            multiply_work(&w, block, panels[0], panels[1]);
            w.a.at += w.depth * DEEPER(&w.a), w.b.at += w.depth * DEEPER(&w.b), w.keep = 1.0f;
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
