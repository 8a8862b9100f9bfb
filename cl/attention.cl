/* attention.cl - O = softmax(scale Q K^T) V for each head, and its gradient: formulas and layouts in src/ops/attention.c.
 *
 * WIDTH   of a head
 * CAUSAL  1: a query sees its own position and those before it
 * TILE_*  CPU body, as in prelude.cl
 * KEYS    CPU body: a row of scores that is at hand at once, whole panels
 * QUERIES CPU body, gradient: rows of them, whole tiles
 * BLOCK   GPU body: queries, and keys, that a group holds in local memory at once
 * BACK    GPU body: 1: the kernels of the gradient, 0: the other
 *
 * Queries are scaled when they are read. Scores are masked with -INFINITY, whose exponential is 0; a query sees one key at
 * least, and those it sees come first. */
#if !defined(WIDTH) || !defined(CAUSAL)
#error "attention.cl needs WIDTH and CAUSAL"
#endif

#ifdef TILE_SIDE
#if !defined(QUERIES) || !defined(KEYS)
#error "attention.cl needs QUERIES and KEYS"
#endif
#define PANEL (TILE_N * VEC)
#define WIDE  ((WIDTH + PANEL - 1) / PANEL * PANEL)
#define LINES ((TILE_M + VEC - 1) / VEC * VEC) /* a number for each row of a tile, in whole vectors */
#define PITCH (KEYS + LINES)                   /* of scores: room for a tile past the end, off the powers of two */

/* acc [TILE_M][TILE_N] += A B: A's element (i, k) at a[i * row_step + k * k_step], B's rows b_step apart. */
#define MULTIPLY(acc, a, row_step, k_step, b, b_step, depth)                                                  \
    for (uint k_ = 0; k_ < (depth); k_++) {                                                                   \
        vec b_[TILE_N];                                                                                       \
        UNROLL for (int v_ = 0; v_ < TILE_N; v_++) b_[v_] = VLOAD((b) + k_ * (b_step) + v_ * VEC);            \
        UNROLL for (int i_ = 0; i_ < TILE_M; i_++) {                                                          \
            const vec s_ = (a)[i_ * (row_step) + k_ * (k_step)];                                              \
            UNROLL for (int v_ = 0; v_ < TILE_N; v_++) acc[i_][v_] = fma(s_, b_[v_], acc[i_][v_]);            \
        }                                                                                                     \
    }
#define EACH_OF_TILE(i, v) UNROLL for (int i = 0; i < TILE_M; i++) UNROLL for (int v = 0; v < TILE_N; v++)

/* Of a score less its row's largest or the logarithm of its sum; what is less than 2^-125 is 0. */
static inline vec exp_of(const vec x)
{
    return x < (vec)-87.0f ? (vec)0.0f : quick_exp_within(x > (vec)0.0f ? (vec)0.0f : x);
}

/* `rows` of `in` as columns, panel by panel: out [padded / PANEL][WIDTH][PANEL], zeros behind the end. */
static inline void pack_columns(global const float *in, const ulong pitch, const uint rows, global float *out,
                                const uint padded)
{
    for (uint j = 0; j < padded; j += VEC)
        for (int d = 0; d < WIDTH; d += VEC) {
            vec r[VEC];
            UNROLL for (int i = 0; i < VEC; i++)
                r[i] = j + i < rows ? load_part(in + (j + i) * pitch + d, WIDTH - d) : (vec)0.0f;
            transpose_tile(r);
            for (int i = 0; i < min(VEC, WIDTH - d); i++)
                VPUT(r[i], out + (j / PANEL * (ulong)WIDTH + d + i) * PANEL + j % PANEL);
        }
}

/* The same rows as they are: out [WIDE / PANEL][padded][PANEL]. */
static inline void pack_rows(global const float *in, const ulong pitch, const uint rows, global float *out,
                             const uint padded)
{
    for (uint j = 0; j < rows; j++)
        for (int d = 0; d < WIDE; d += VEC)
            VPUT(load_part(in + j * pitch + d, WIDTH - d), out + (d / PANEL * (ulong)padded + j) * PANEL + d % PANEL);
}

/* Rows with zeros around them. */
static inline void load_block(vec *to, global const float *from, const ulong pitch, const uint rows, const uint all,
                              const float factor)
{
    for (uint r = 0; r < all; r++)
        for (int d = 0; d < WIDE; d += VEC)
            to[(r * WIDE + d) / VEC] = r < rows ? load_part(from + r * pitch + d, WIDTH - d) * factor : (vec)0.0f;
}

#define HEAD_OF(index) (((index) / heads * length) * pitch + (index) % heads * WIDTH)

/* Rows that the next head will want: they lie a page apart, which no hardware prefetcher foresees. */
static inline void fetch_rows(global const float *in, const ulong pitch, const uint rows)
{
    for (uint r = 0; r < rows; r++)
        for (int d = 0; d < WIDTH; d += 16) FETCH(in + r * pitch + d);
}

/* packed: for each group K as columns, then V as rows, of the head at hand. A unit is a tile of queries of a head. */
KERNEL attention(TENSOR(qkv), TENSOR(packed), TENSOR(out), const ulong logs, const uint batch, const uint length,
                 const uint heads, const uint padded, const float scale CLAIMS)
{
    const ulong third = heads * WIDTH, pitch = 3 * third;
    qkv += qkv_at, out += out_at;
    global float *kt = packed + packed_at + get_group_id(0) * (ulong)padded * (WIDTH + WIDE);
    global float *v = kt + (ulong)padded * WIDTH;
    const uint tiles = (length + TILE_M - 1) / TILE_M;
    uint       last = batch * heads;
    EACH_UNIT(u, batch * heads * tiles) {
        const uint head = u / tiles, from = u % tiles * TILE_M, rows = min(length - from, (uint)TILE_M);
        if (head != last) {
            global const float *k = qkv + HEAD_OF(head) + third;
            pack_columns(k, pitch, length, kt, padded);
            pack_rows(k + third, pitch, length, v, padded);
            last = head;
        }
        vec q[TILE_M * WIDE / VEC], s[TILE_M * PITCH / VEC], acc[TILE_M * WIDE / VEC], total[TILE_M];
        float most[LINES], next[LINES], fade[LINES];
        load_block(q, qkv + HEAD_OF(head) + from * pitch, pitch, rows, TILE_M, scale);
        if (head + 1 < batch * heads)
            for (int i = 0; i < 3; i++) fetch_rows(qkv + HEAD_OF(head + 1) + from * pitch + i * third, pitch, rows);
        for (uint i = 0; i < LINES; i++) most[i] = -INFINITY, next[i] = 0.0f;
        for (uint i = 0; i < TILE_M; i++) total[i] = 0.0f;
        for (uint i = 0; i < TILE_M * WIDE / VEC; i++) acc[i] = 0.0f;
        const uint reach = CAUSAL ? min(length, from + TILE_M) : length;
        for (uint j = 0; j < reach; j += KEYS) {
            const uint keys = min(reach - j, (uint)KEYS);
            vec        high[TILE_M];
            for (uint i = 0; i < TILE_M; i++) high[i] = -INFINITY;
            for (uint p = 0; p < keys; p += PANEL) {
                vec c[TILE_M][TILE_N];
                EACH_OF_TILE(i, n) c[i][n] = 0.0f;
                MULTIPLY(c, (const float *)q, WIDE, 1, kt + (j + p) * (ulong)WIDTH, PANEL, WIDTH)
                if (j + p + PANEL > (CAUSAL ? from + 1 : length))
                    EACH_OF_TILE(i, n) {
                        const int seen = (int)(CAUSAL ? min(length, from + i + 1) : length) - (int)(j + p);
                        c[i][n] = LANES + n * VEC < seen ? c[i][n] : (vec)-INFINITY;
                    }
                EACH_OF_TILE(i, n) {
                    s[(i * PITCH + p) / VEC + n] = c[i][n];
                    high[i] = c[i][n] > high[i] ? c[i][n] : high[i];
                }
            }
            for (uint i = 0; i < TILE_M; i++) next[i] = fmax(most[i], hmax(high[i]));
            for (uint i = 0; i < LINES; i += VEC) { /* a row's maximum may grow: what there is fades */
                const vec e = exp_of(VLOAD(most + i) - VLOAD(next + i));
                VSTORE(e, fade + i);
            }
            for (uint i = 0; i < TILE_M; i++) total[i] *= fade[i], most[i] = next[i];
            for (uint k = 0; k < keys; k += VEC)
                for (uint i = 0; i < TILE_M; i++) {
                    vec *e = s + (i * PITCH + k) / VEC;
                    total[i] += *e = exp_of(*e - next[i]);
                }
            for (uint d = 0; d < WIDE; d += PANEL) {
                vec c[TILE_M][TILE_N];
                EACH_OF_TILE(i, n) c[i][n] = acc[(i * WIDE + d) / VEC + n] * fade[i];
                MULTIPLY(c, (const float *)s, PITCH, 1, v + (d * (ulong)padded + j * PANEL), PANEL, keys)
                EACH_OF_TILE(i, n) acc[(i * WIDE + d) / VEC + n] = c[i][n];
            }
        }
        global float *to = out + (head / heads * (ulong)length + from) * third + head % heads * WIDTH;
        for (uint r = 0; r < rows; r++) {
            next[r] = hsum(total[r]);
            for (int d = 0; d < WIDTH; d += VEC)
                store_part(acc[(r * WIDE + d) / VEC] * (1.0f / next[r]), to + r * third + d, WIDTH - d);
        }
        for (int r = 0; r < (int)rows; r += VEC)
            store_part(VLOAD(most + r) + log(VLOAD(next + r)), out + logs + head * (ulong)length + from + r, (int)rows - r);
    }
}

/* packed: for each group K as columns, V as columns, K as rows, dK and dV [padded + TILE_M][WIDE], of the head at hand. */
KERNEL attention_grad(TENSOR(qkv), TENSOR(packed), TENSOR(out), TENSOR(dout), TENSOR(dqkv), const ulong logs,
                      const uint batch, const uint length, const uint heads, const uint padded, const float scale CLAIMS)
{
    const ulong third = heads * WIDTH, pitch = 3 * third, sums = (padded + TILE_M) * (ulong)WIDE;
    qkv += qkv_at, out += out_at, dout += dout_at, dqkv += dqkv_at;
    packed += packed_at + get_group_id(0) * (padded * (ulong)(2 * WIDTH + WIDE) + 2 * sums);
    global float *kt = packed, *vt = kt + (ulong)padded * WIDTH, *k = vt + (ulong)padded * WIDTH;
    global float *dk = k + (ulong)padded * WIDE, *dv = dk + sums;
    EACH_UNIT(head, batch * heads) {
        global const float *in = qkv + HEAD_OF(head);
        global float       *grad = dqkv + HEAD_OF(head);
        pack_columns(in + third, pitch, length, kt, padded);
        pack_columns(in + 2 * third, pitch, length, vt, padded);
        pack_rows(in + third, pitch, length, k, padded);
        for (uint i = 0; i < 2 * sums; i += VEC) VPUT((vec)0.0f, dk + i);
        for (uint from = 0; from < length; from += QUERIES) {
            const uint rows = min(length - from, (uint)QUERIES), tall = (rows + TILE_M - 1) / TILE_M * TILE_M;
            const ulong at = (head / heads * (ulong)length + from) * third + head % heads * WIDTH;
            vec q[QUERIES * WIDE / VEC], g[QUERIES * WIDE / VEC], dq[QUERIES * WIDE / VEC];
            vec s[QUERIES * PITCH / VEC], ds[QUERIES * PITCH / VEC];
            float log_sum[QUERIES], inner[QUERIES];
            load_block(q, in + from * pitch, pitch, rows, tall, scale);
            load_block(g, dout + at, third, rows, tall, 1.0f);
            for (uint r = 0; r < tall; r++) {
                vec dot = 0.0f;
                for (int d = 0; d < WIDTH && r < rows; d += VEC)
                    dot = fma(g[(r * WIDE + d) / VEC], load_part(out + at + r * third + d, WIDTH - d), dot);
                inner[r] = hsum(dot);
                log_sum[r] = r < rows ? out[logs + head * (ulong)length + from + r] : INFINITY;
            }
            for (uint i = 0; i < tall * WIDE / VEC; i++) dq[i] = 0.0f;
            const uint end = CAUSAL ? min(length, from + QUERIES) : length;
            for (uint j = 0; j < end; j += KEYS) {
                const uint width = min(end - j, (uint)KEYS);
                for (uint t = 0; t < tall; t += TILE_M) {
                    const uint reach = CAUSAL ? min(length, from + t + TILE_M) : length;
                    const uint keys = reach <= j ? 0 : min(reach - j, (uint)KEYS);
                    vec *p = s + t * PITCH / VEC, *dp = ds + t * PITCH / VEC;
                    for (uint e = 0; e < keys; e += PANEL) {
                        vec c[TILE_M][TILE_N];
                        EACH_OF_TILE(i, n) c[i][n] = 0.0f;
                        MULTIPLY(c, (const float *)q + t * WIDE, WIDE, 1, kt + (j + e) * (ulong)WIDTH, PANEL, WIDTH)
                        EACH_OF_TILE(i, n) p[(i * PITCH + e) / VEC + n] = c[i][n], c[i][n] = 0.0f;
                        MULTIPLY(c, (const float *)g + t * WIDE, WIDE, 1, vt + (j + e) * (ulong)WIDTH, PANEL, WIDTH)
                        EACH_OF_TILE(i, n) dp[(i * PITCH + e) / VEC + n] = c[i][n];
                    }
                    for (uint i = 0; i < TILE_M; i++) {
                        const int seen = CAUSAL ? min((int)keys, (int)(from + t + i + 1) - (int)j) : (int)keys;
                        for (uint e = 0; e < width + TILE_M - 1; e += VEC) { /* the last tile of keys sees zeros */
                            const uint x = (i * PITCH + e) / VEC;
                            p[x] = LANES + (int)e < seen ? exp_of(p[x] - log_sum[t + i]) : (vec)0.0f;
                            dp[x] = LANES + (int)e < seen ? p[x] * (dp[x] - inner[t + i]) : (vec)0.0f;
                        }
                    }
                    for (uint d = 0; d < WIDE && keys; d += PANEL) {
                        vec c[TILE_M][TILE_N];
                        EACH_OF_TILE(i, n) c[i][n] = dq[((t + i) * WIDE + d) / VEC + n];
                        MULTIPLY(c, (const float *)dp, PITCH, 1, k + (d * (ulong)padded + j * PANEL), PANEL, keys)
                        EACH_OF_TILE(i, n) dq[((t + i) * WIDE + d) / VEC + n] = c[i][n];
                    }
                }
                for (uint t = 0; t < width; t += TILE_M) { /* keys; queries before the first that sees one of them give nothing */
                    const uint first = CAUSAL && j + t > from ? min(j + t - from, tall) : 0;
                    for (uint d = 0; d < WIDE; d += PANEL) {
                        global float *to = dk + (j + t) * (ulong)WIDE + d;
                        vec c[TILE_M][TILE_N];
                        EACH_OF_TILE(i, n) c[i][n] = VLOAD(to + i * WIDE + n * VEC);
                        MULTIPLY(c, (const float *)ds + t + first * PITCH, 1, PITCH, (const float *)q + first * WIDE + d, WIDE,
                                 tall - first)
                        EACH_OF_TILE(i, n) VPUT(c[i][n], to + i * WIDE + n * VEC);
                        to = dv + (j + t) * (ulong)WIDE + d;
                        EACH_OF_TILE(i, n) c[i][n] = VLOAD(to + i * WIDE + n * VEC);
                        MULTIPLY(c, (const float *)s + t + first * PITCH, 1, PITCH, (const float *)g + first * WIDE + d, WIDE,
                                 tall - first)
                        EACH_OF_TILE(i, n) VPUT(c[i][n], to + i * WIDE + n * VEC);
                    }
                }
            }
            for (uint r = 0; r < rows; r++)
                for (int d = 0; d < WIDTH; d += VEC)
                    store_part(dq[(r * WIDE + d) / VEC] * scale, grad + (from + r) * pitch + d, WIDTH - d);
        }
        for (uint r = 0; r < length; r++)
            for (int d = 0; d < WIDTH; d += VEC) {
                store_part(VLOAD(dk + r * (ulong)WIDE + d), grad + r * pitch + third + d, WIDTH - d);
                store_part(VLOAD(dv + r * (ulong)WIDE + d), grad + r * pitch + 2 * third + d, WIDTH - d);
            }
    }
}
#else
#if !defined(BLOCK) || !defined(BACK)
#error "attention.cl needs TILE_SIDE, or BLOCK and BACK"
#endif
#define PITCH  (WIDTH + 1) /* off the powers of two, for local memory has banks */
#define SQUARE (BLOCK + 1)
#define MINE   ((BLOCK * WIDTH + WG - 1) / WG) /* elements of a block that are an item's */
#if MINE <= 16 /* constants leave arrays in registers */
#define EACH_MINE(e, m) \
    UNROLL for (uint m = 0, e = get_local_id(0); m < MINE; m++, e += WG) if (BLOCK * WIDTH % WG == 0 || e < BLOCK * WIDTH)
#else
#define EACH_MINE(e, m) for (uint e = get_local_id(0), m = 0; e < BLOCK * WIDTH; e += WG, m++)
#endif
#define EACH_SCORE(e)   for (uint e = get_local_id(0); e < BLOCK * BLOCK; e += WG)
#define EACH_LINE(r)    for (uint r = get_local_id(0); r < BLOCK; r += WG)
#define HEAD_OF(index)  (((index) / heads * length) * pitch + (index) % heads * WIDTH)
#define UNIT_OF(u)                                                                                          \
    const uint blocks = (length + BLOCK - 1) / BLOCK, head = (u) / blocks, mine = (u) % blocks * BLOCK;     \
    const ulong third = heads * WIDTH, pitch = 3 * third, at = head / heads * (ulong)length * third + head % heads * WIDTH; \
    global const float *q0 = qkv + HEAD_OF(head), *k0 = q0 + third, *v0 = k0 + third;

static inline void load_block(local float *to, global const float *from, const ulong pitch, const uint rows,
                              const float factor)
{
    EACH_MINE(e, m) {
        const uint r = e / WIDTH, d = e % WIDTH;
        to[r * PITCH + d] = r < rows ? from[r * pitch + d] * factor : 0.0f;
    }
}

static inline float dot_rows(local const float *a, local const float *b)
{
    float sum = 0.0f;
    for (uint d = 0; d < WIDTH; d++) sum = fma(a[d], b[d], sum);
    return sum;
}

#if !BACK
KERNEL attention(TENSOR(qkv), TENSOR(out), const ulong logs, const uint batch, const uint length, const uint heads,
                 const float scale CLAIMS)
{
    local float q[BLOCK * PITCH], k[BLOCK * PITCH], v[BLOCK * PITCH], s[BLOCK * SQUARE];
    local float most[BLOCK], total[BLOCK], fade[BLOCK];
    float acc[MINE];
    qkv += qkv_at, out += out_at;
    EACH_UNIT(u, batch * heads * ((length + BLOCK - 1) / BLOCK)) {
        UNIT_OF(u)
        load_block(q, q0 + mine * pitch, pitch, length - mine, scale);
        EACH_LINE(r) most[r] = -INFINITY, total[r] = 0.0f;
        for (uint m = 0; m < MINE; m++) acc[m] = 0.0f;
        for (uint j = 0; j < (CAUSAL ? min(length, mine + BLOCK) : length); j += BLOCK) {
            load_block(k, k0 + j * pitch, pitch, length - j, 1.0f);
            load_block(v, v0 + j * pitch, pitch, length - j, 1.0f);
            barrier(CLK_LOCAL_MEM_FENCE);
            EACH_SCORE(e) {
                const uint r = e / BLOCK, c = e % BLOCK;
                const bool seen = j + c < length && (!CAUSAL || j + c <= mine + r);
                s[r * SQUARE + c] = seen ? dot_rows(q + r * PITCH, k + c * PITCH) : -INFINITY;
            }
            barrier(CLK_LOCAL_MEM_FENCE);
            EACH_LINE(r) {
                float next = most[r], sum = 0.0f;
                for (uint c = 0; c < BLOCK; c++) next = fmax(next, s[r * SQUARE + c]);
                for (uint c = 0; c < BLOCK; c++) sum += s[r * SQUARE + c] = exp(s[r * SQUARE + c] - next);
                fade[r] = exp(most[r] - next);
                total[r] = fma(total[r], fade[r], sum);
                most[r] = next;
            }
            barrier(CLK_LOCAL_MEM_FENCE);
            EACH_MINE(e, m) {
                const uint r = e / WIDTH, d = e % WIDTH;
                acc[m] *= fade[r];
                for (uint c = 0; c < BLOCK; c++) acc[m] = fma(s[r * SQUARE + c], v[c * PITCH + d], acc[m]);
            }
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        EACH_MINE(e, m) {
            const uint r = e / WIDTH, d = e % WIDTH;
            if (mine + r < length) out[at + (mine + r) * third + d] = acc[m] / total[r];
        }
        EACH_LINE(r) if (mine + r < length) out[logs + head * (ulong)length + mine + r] = most[r] + log(total[r]);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
}

#else
/* P and dS of a block of queries, from `i`, and one of keys, from `j`. */
static inline void scores(local float *p, local float *ds, local const float *q, local const float *k, local const float *v,
                          local const float *g, local const float *log_sum, local const float *inner, const uint i,
                          const uint j, const uint length)
{
    EACH_SCORE(e) {
        const uint r = e / BLOCK, c = e % BLOCK;
        const bool seen = i + r < length && j + c < length && (!CAUSAL || j + c <= i + r);
        const float value = seen ? exp(dot_rows(q + r * PITCH, k + c * PITCH) - log_sum[r]) : 0.0f;
        p[r * SQUARE + c] = value;
        ds[r * SQUARE + c] = seen ? value * (dot_rows(g + r * PITCH, v + c * PITCH) - inner[r]) : 0.0f;
    }
}

/* What belongs to queries from `i` on: themselves, dO, log sums, and D. */
#define LOAD_QUERIES(i)                                                                                        \
    load_block(q, q0 + (i) * pitch, pitch, length - (i), scale);                                               \
    load_block(g, dout + at + (i) * third, third, length - (i), 1.0f);                                         \
    EACH_LINE(r) {                                                                                             \
        const uint row = min((i) + r, length - 1);                                                             \
        float sum = 0.0f;                                                                                      \
        for (uint d = 0; d < WIDTH; d++) sum = fma(dout[at + row * third + d], out[at + row * third + d], sum); \
        inner[r] = sum;                                                                                        \
        log_sum[r] = out[logs + head * (ulong)length + row];                                                   \
    }

KERNEL attention_grad_queries(TENSOR(qkv), TENSOR(out), TENSOR(dout), TENSOR(dqkv), const ulong logs, const uint batch,
                              const uint length, const uint heads, const float scale CLAIMS)
{
    local float q[BLOCK * PITCH], k[BLOCK * PITCH], v[BLOCK * PITCH], g[BLOCK * PITCH];
    local float p[BLOCK * SQUARE], ds[BLOCK * SQUARE], log_sum[BLOCK], inner[BLOCK];
    float acc[MINE];
    qkv += qkv_at, out += out_at, dout += dout_at, dqkv += dqkv_at;
    EACH_UNIT(u, batch * heads * ((length + BLOCK - 1) / BLOCK)) {
        UNIT_OF(u)
        LOAD_QUERIES(mine)
        for (uint m = 0; m < MINE; m++) acc[m] = 0.0f;
        for (uint j = 0; j < (CAUSAL ? min(length, mine + BLOCK) : length); j += BLOCK) {
            load_block(k, k0 + j * pitch, pitch, length - j, 1.0f);
            load_block(v, v0 + j * pitch, pitch, length - j, 1.0f);
            barrier(CLK_LOCAL_MEM_FENCE);
            scores(p, ds, q, k, v, g, log_sum, inner, mine, j, length);
            barrier(CLK_LOCAL_MEM_FENCE);
            EACH_MINE(e, m) {
                const uint r = e / WIDTH, d = e % WIDTH;
                for (uint c = 0; c < BLOCK; c++) acc[m] = fma(ds[r * SQUARE + c], k[c * PITCH + d], acc[m]);
            }
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        EACH_MINE(e, m) {
            const uint r = e / WIDTH, d = e % WIDTH;
            if (mine + r < length) dqkv[HEAD_OF(head) + (mine + r) * pitch + d] = acc[m] * scale;
        }
    }
}

KERNEL attention_grad_keys(TENSOR(qkv), TENSOR(out), TENSOR(dout), TENSOR(dqkv), const ulong logs, const uint batch,
                           const uint length, const uint heads, const float scale CLAIMS)
{
    local float q[BLOCK * PITCH], k[BLOCK * PITCH], v[BLOCK * PITCH], g[BLOCK * PITCH];
    local float p[BLOCK * SQUARE], ds[BLOCK * SQUARE], log_sum[BLOCK], inner[BLOCK];
    float dk[MINE], dv[MINE];
    qkv += qkv_at, out += out_at, dout += dout_at, dqkv += dqkv_at;
    EACH_UNIT(u, batch * heads * ((length + BLOCK - 1) / BLOCK)) {
        UNIT_OF(u)
        load_block(k, k0 + mine * pitch, pitch, length - mine, 1.0f);
        load_block(v, v0 + mine * pitch, pitch, length - mine, 1.0f);
        for (uint m = 0; m < MINE; m++) dk[m] = dv[m] = 0.0f;
        for (uint i = CAUSAL ? mine : 0; i < length; i += BLOCK) {
            LOAD_QUERIES(i)
            barrier(CLK_LOCAL_MEM_FENCE);
            scores(p, ds, q, k, v, g, log_sum, inner, i, mine, length);
            barrier(CLK_LOCAL_MEM_FENCE);
            EACH_MINE(e, m) {
                const uint c = e / WIDTH, d = e % WIDTH;
                for (uint r = 0; r < BLOCK; r++) {
                    dk[m] = fma(ds[r * SQUARE + c], q[r * PITCH + d], dk[m]);
                    dv[m] = fma(p[r * SQUARE + c], g[r * PITCH + d], dv[m]);
                }
            }
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        EACH_MINE(e, m) {
            const uint c = e / WIDTH, d = e % WIDTH;
            global float *to = dqkv + HEAD_OF(head) + (mine + c) * pitch + third + d;
            if (mine + c < length) to[0] = dk[m], to[third] = dv[m];
        }
    }
}
#endif
#endif
