/* attention.cl - O = softmax(scale Q K^T) V for each head, and its gradient: formulas and layouts in src/ops/attention.c.
 *
 * WIDTH   of a head
 * CAUSAL  1: a query sees its own position and those before it
 * TILE_*  CPU body, as in prelude.cl; with QUERIES and KEYS, the blocks in which the matrix of scores is gone through:
 *         QUERIES a multiple of TILE_M, KEYS one of TILE_M and of PANEL
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

/* PANEL rows of `in`, of which `left` are there, as columns: out [WIDTH][PANEL]. */
static inline void pack_columns(global const float *in, const ulong pitch, const int left, global float *out)
{
    for (int v = 0; v < TILE_N; v++)
        for (int d = 0; d < WIDTH; d += VEC) {
            vec r[VEC];
            UNROLL for (int i = 0; i < VEC; i++)
                r[i] = v * VEC + i < left ? load_part(in + (v * VEC + i) * pitch + d, WIDTH - d) : (vec)0.0f;
            transpose_tile(r);
            for (int i = 0; i < min(VEC, WIDTH - d); i++) VPUT(r[i], out + (d + i) * PANEL + v * VEC);
        }
}

/* The same rows as they are: out [WIDE / PANEL][padded][PANEL]. */
static inline void pack_rows(global const float *in, const ulong pitch, const int left, global float *out, const uint padded)
{
    for (int j = 0; j < PANEL; j++)
        for (int d = 0; d < WIDE; d += VEC)
            VPUT(j < left ? load_part(in + j * pitch + d, WIDTH - d) : (vec)0.0f,
                 out + (d / PANEL * (ulong)padded + j) * PANEL + d % PANEL);
}

#define HEAD_OF(index) (((index) / heads * length) * pitch + (index) % heads * WIDTH)

/* packed: for each head K as columns, panel by panel, then V as rows; for the gradient K as columns, V as columns, K as
 * rows. A unit is a panel of a head. */
#define PACK(name, columns, back)                                                                                   \
    KERNEL name(TENSOR(qkv), TENSOR(packed), const uint batch, const uint length, const uint heads, const uint padded) \
    {                                                                                                               \
        const ulong third = heads * WIDTH, pitch = 3 * third;                                                       \
        const uint panels = padded / PANEL;                                                                         \
        qkv += qkv_at, packed += packed_at;                                                                         \
        EACH_UNIT(u, batch * heads * panels) {                                                                      \
            const uint head = u / panels, from = u % panels * PANEL;                                                \
            const int left = (int)length - (int)from;                                                               \
            global const float *k = qkv + HEAD_OF(head) + third + from * pitch, *v = k + third;                     \
            global float *out = packed + head * (ulong)padded * (columns * WIDTH + WIDE);                           \
            pack_columns(k, pitch, left, out + from * WIDTH);                                                       \
            out += padded * WIDTH;                                                                                  \
            if (back) pack_columns(v, pitch, left, out + from * WIDTH), out += padded * WIDTH;                      \
            pack_rows(back ? k : v, pitch, left, out + from * PANEL, padded);                                       \
        }                                                                                                           \
    }
PACK(attention_pack, 1, 0)
PACK(attention_pack_grad, 2, 1)

/* A block of rows with zeros around it. */
static inline void load_block(vec *to, global const float *from, const ulong pitch, const uint rows, const float factor)
{
    for (uint r = 0; r < QUERIES; r++)
        for (int d = 0; d < WIDE; d += VEC)
            to[(r * WIDE + d) / VEC] = r < rows ? load_part(from + r * pitch + d, WIDTH - d) * factor : (vec)0.0f;
}

KERNEL attention(TENSOR(qkv), TENSOR(packed), TENSOR(out), const ulong logs, const uint batch, const uint length,
                 const uint heads, const uint padded, const float scale)
{
    const ulong third = heads * WIDTH, pitch = 3 * third;
    qkv += qkv_at, packed += packed_at, out += out_at;
    const uint blocks = (length + QUERIES - 1) / QUERIES;
    EACH_UNIT(u, batch * heads * blocks) {
        const uint head = u / blocks, from = u % blocks * QUERIES, rows = min(length - from, (uint)QUERIES);
        global const float *kt = packed + head * (ulong)padded * (WIDTH + WIDE), *v = kt + padded * WIDTH;
        vec q[QUERIES * WIDE / VEC], s[QUERIES * KEYS / VEC], acc[QUERIES * WIDE / VEC], total[QUERIES];
        float most[QUERIES], fade[TILE_M];
        load_block(q, qkv + HEAD_OF(head) + from * pitch, pitch, rows, scale);
        for (uint r = 0; r < QUERIES; r++) most[r] = -INFINITY, total[r] = 0.0f;
        for (uint i = 0; i < QUERIES * WIDE / VEC; i++) acc[i] = 0.0f;
        for (uint j = 0; j < (CAUSAL ? min(length, from + QUERIES) : length); j += KEYS)
            for (uint t = 0; t < QUERIES; t += TILE_M) {
                const uint reach = CAUSAL ? min(length, from + t + TILE_M) : length;
                if (reach <= j) continue;
                const uint keys = min(reach - j, (uint)KEYS);
                for (uint p = 0; p < keys; p += PANEL) {
                    vec c[TILE_M][TILE_N];
                    EACH_OF_TILE(i, n) c[i][n] = 0.0f;
                    MULTIPLY(c, (const float *)q + t * WIDE, WIDE, 1, kt + (j + p) * (ulong)WIDTH, PANEL, WIDTH)
                    EACH_OF_TILE(i, n) s[((t + i) * KEYS + p) / VEC + n] = c[i][n];
                }
                for (uint i = 0; i < TILE_M; i++) { /* the row's maximum may grow: what there is fades */
                    const uint r = t + i;
                    const int seen = CAUSAL ? min((int)keys, (int)(from + r + 1) - (int)j) : (int)keys;
                    vec *row = s + r * KEYS / VEC, high = -INFINITY, sum = 0.0f;
                    for (int k = 0; k < (int)keys; k += VEC) {
                        row[k / VEC] = LANES + k < seen ? row[k / VEC] : (vec)-INFINITY;
                        high = fmax(high, row[k / VEC]);
                    }
                    const float next = fmax(most[r], hmax(high));
                    for (int k = 0; k < (int)keys; k += VEC) sum += row[k / VEC] = exp(row[k / VEC] - next);
                    fade[i] = exp(most[r] - next);
                    total[r] = fma(total[r], (vec)fade[i], sum);
                    most[r] = next;
                }
                for (uint d = 0; d < WIDE; d += PANEL) {
                    vec c[TILE_M][TILE_N];
                    EACH_OF_TILE(i, n) c[i][n] = acc[((t + i) * WIDE + d) / VEC + n] * fade[i];
                    MULTIPLY(c, (const float *)s + t * KEYS, KEYS, 1, v + d * (ulong)padded + j * PANEL, PANEL, keys)
                    EACH_OF_TILE(i, n) acc[((t + i) * WIDE + d) / VEC + n] = c[i][n];
                }
            }
        for (uint r = 0; r < rows; r++) {
            const ulong row = head / heads * (ulong)length + from + r;
            const float sum = hsum(total[r]);
            for (int d = 0; d < WIDTH; d += VEC)
                store_part(acc[(r * WIDE + d) / VEC] / sum, out + row * third + head % heads * WIDTH + d, WIDTH - d);
            out[logs + head * (ulong)length + from + r] = most[r] + log(sum);
        }
    }
}

/* sums: for each group dK and dV [padded][WIDE] of the head at hand. */
KERNEL attention_grad(TENSOR(qkv), TENSOR(packed), TENSOR(out), TENSOR(dout), TENSOR(dqkv), TENSOR(sums), const ulong logs,
                      const uint batch, const uint length, const uint heads, const uint padded, const float scale)
{
    const ulong third = heads * WIDTH, pitch = 3 * third;
    qkv += qkv_at, packed += packed_at, out += out_at, dout += dout_at, dqkv += dqkv_at;
    global float *dk = sums + sums_at + get_group_id(0) * 2 * (ulong)padded * WIDE, *dv = dk + padded * WIDE;
    EACH_UNIT(head, batch * heads) {
        global const float *kt = packed + head * (ulong)padded * (2 * WIDTH + WIDE), *vt = kt + padded * WIDTH;
        global const float *k = vt + padded * WIDTH;
        global float *grad = dqkv + HEAD_OF(head);
        for (uint i = 0; i < 2 * padded * WIDE; i += VEC) VPUT((vec)0.0f, dk + i);
        for (uint from = 0; from < length; from += QUERIES) {
            const uint rows = min(length - from, (uint)QUERIES);
            const ulong at = (head / heads * (ulong)length + from) * third + head % heads * WIDTH;
            vec q[QUERIES * WIDE / VEC], g[QUERIES * WIDE / VEC], dq[QUERIES * WIDE / VEC];
            vec s[QUERIES * KEYS / VEC], ds[QUERIES * KEYS / VEC];
            float log_sum[QUERIES], inner[QUERIES];
            load_block(q, qkv + HEAD_OF(head) + from * pitch, pitch, rows, scale);
            load_block(g, dout + at, third, rows, 1.0f);
            for (uint r = 0; r < QUERIES; r++) {
                vec dot = 0.0f;
                for (int d = 0; d < WIDTH && r < rows; d += VEC)
                    dot = fma(g[(r * WIDE + d) / VEC], load_part(out + at + r * third + d, WIDTH - d), dot);
                inner[r] = hsum(dot);
                log_sum[r] = r < rows ? out[logs + head * (ulong)length + from + r] : INFINITY;
            }
            for (uint i = 0; i < QUERIES * WIDE / VEC; i++) dq[i] = 0.0f;
            const uint end = CAUSAL ? min(length, from + QUERIES) : length;
            for (uint j = 0; j < end; j += KEYS) {
                const uint width = min((end - j + PANEL - 1) / PANEL * PANEL, (uint)KEYS);
                for (uint t = 0; t < QUERIES; t += TILE_M) {
                    const uint reach = CAUSAL ? min(length, from + t + TILE_M) : length;
                    const uint keys = reach <= j ? 0 : min(reach - j, (uint)KEYS);
                    for (uint p = 0; p < width; p += PANEL) {
                        vec c[TILE_M][TILE_N];
                        EACH_OF_TILE(i, n) c[i][n] = 0.0f;
                        if (p >= keys) {
                            EACH_OF_TILE(i, n) s[((t + i) * KEYS + p) / VEC + n] = ds[((t + i) * KEYS + p) / VEC + n] = 0.0f;
                            continue;
                        }
                        MULTIPLY(c, (const float *)q + t * WIDE, WIDE, 1, kt + (j + p) * (ulong)WIDTH, PANEL, WIDTH)
                        EACH_OF_TILE(i, n) {
                            const int seen = CAUSAL ? min((int)keys, (int)(from + t + i + 1) - (int)j) : (int)keys;
                            const vec e = exp(c[i][n] - log_sum[t + i]);
                            s[((t + i) * KEYS + p) / VEC + n] = LANES + (int)(p + n * VEC) < seen ? e : (vec)0.0f;
                            c[i][n] = 0.0f;
                        }
                        MULTIPLY(c, (const float *)g + t * WIDE, WIDE, 1, vt + (j + p) * (ulong)WIDTH, PANEL, WIDTH)
                        EACH_OF_TILE(i, n) {
                            const uint e = ((t + i) * KEYS + p) / VEC + n;
                            ds[e] = s[e] * (c[i][n] - inner[t + i]);
                        }
                    }
                    for (uint d = 0; d < WIDE && keys; d += PANEL) {
                        vec c[TILE_M][TILE_N];
                        EACH_OF_TILE(i, n) c[i][n] = dq[((t + i) * WIDE + d) / VEC + n];
                        MULTIPLY(c, (const float *)ds + t * KEYS, KEYS, 1, k + d * (ulong)padded + j * PANEL, PANEL, keys)
                        EACH_OF_TILE(i, n) dq[((t + i) * WIDE + d) / VEC + n] = c[i][n];
                    }
                }
                for (uint t = 0; t < width; t += TILE_M) { /* keys; queries before the first that sees one of them give nothing */
                    const uint first = CAUSAL && j + t > from ? min(j + t - from, (uint)QUERIES) : 0;
                    for (uint d = 0; d < WIDE; d += PANEL) {
                        global float *to = dk + (j + t) * (ulong)WIDE + d;
                        vec c[TILE_M][TILE_N];
                        EACH_OF_TILE(i, n) c[i][n] = VLOAD(to + i * WIDE + n * VEC);
                        MULTIPLY(c, (const float *)ds + t + first * KEYS, 1, KEYS, (const float *)q + first * WIDE + d, WIDE,
                                 QUERIES - first)
                        EACH_OF_TILE(i, n) VPUT(c[i][n], to + i * WIDE + n * VEC);
                        to = dv + (j + t) * (ulong)WIDE + d;
                        EACH_OF_TILE(i, n) c[i][n] = VLOAD(to + i * WIDE + n * VEC);
                        MULTIPLY(c, (const float *)s + t + first * KEYS, 1, KEYS, (const float *)g + first * WIDE + d, WIDE,
                                 QUERIES - first)
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
                 const float scale)
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
                              const uint length, const uint heads, const float scale)
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
                           const uint length, const uint heads, const float scale)
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
