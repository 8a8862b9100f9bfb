/* winograd.cl - 3x3 convolution with stride 1 by Winograd's F(m x m, 3x3), m = WINOGRAD = 2 or 4, in A = m + 2:
 *
 *   y  = O^T [sum over c of (G w G^T) * (B^T x B)] O       of every A x A window of x, m x m of y
 *   dw = G^T [sum over windows of (B^T x B) * (O dy O^T)] G
 *
 * where * is elementwise: A * A matrix products take the place of one, with (3 m / A)^2 times fewer products. Backward
 * data is forward with the filter turned round and transposed. A NaN or an infinity in x spreads over its windows.
 *
 * WINOGRAD          2 or 4
 * FILTER            1: the kernels of backward filter, 0: of forward and backward data
 * BIAS, OTHER, CHANNELS, EPILOGUE, TILE_*   as in conv2d.cl, TILE_SIDE being 1
 * PAST                     1: results are more than the caches hold, and go past them
 *
 * Images are NCHW outside. Within, channels are lanes: a region of an image is turned so by transposing in registers and
 * gets its border of zeros there. A block is `wide` columns of `high` rows of windows, rows counting on through the
 * images; its first windows are those that there are, zeros behind them up to CAP. Windows of a block, of t < A * A:
 *   v [t][C / VEC][cap][VEC]     x transformed
 *   u [t][C][NR]                 weights of NR output channels
 *   m [t][cap][NR]               products; O dy O^T in backward filter
 * Each t is padded by a vector, for strides of powers of two fall into the same cache lines.
 *
 * winograd_weights  w -> u of all outputs
 * winograd          a unit is a block: its v stays in cache for all outputs
 * winograd_input    x -> v of all blocks
 * winograd_few      a unit is NR outputs of all blocks, whose weights are transformed as they are needed
 * winograd_filter   a unit is a share of the blocks: partial [share][K / NR][C][9][NR]
 * winograd_filter_few   a unit is NR outputs: the same of one share, from v of all blocks
 * winograd_sum      partial -> dw */
#if !defined(WINOGRAD) || !defined(FILTER) || !defined(BIAS) || !defined(OTHER) || !defined(CHANNELS) || !defined(EPILOGUE) || \
    !defined(PAST) || !defined(TILE_SIDE)
#error "winograd.cl needs WINOGRAD, FILTER, BIAS, OTHER, CHANNELS, EPILOGUE, PAST, TILE_SIDE, TILE_M, TILE_N and TILE_K"
#endif
#define A  (WINOGRAD + 2)
#define NR (TILE_N * VEC)
#define U_STEP(depth) ((ulong)(depth) * NR + VEC)

/* ---- transforms: one dimension in place, at a stride ------------------------------------------------------------- */

#define C_(x) ((vec)(x))
#if WINOGRAD == 4
static inline void by_b(vec *d, const int s) /* B^T d */
{
    const vec d1 = d[s], d2 = d[2 * s], d3 = d[3 * s], d4 = d[4 * s];
    const vec p = fma(C_(-4.0f), d2, d4), q = fma(C_(-4.0f), d1, d3), r = d4 - d2, t = 2.0f * (d3 - d1);
    d[0] = fma(C_(4.0f), d[0], fma(C_(-5.0f), d2, d4));
    d[5 * s] = fma(C_(4.0f), d1, fma(C_(-5.0f), d3, d[5 * s]));
    d[s] = p + q, d[2 * s] = p - q, d[3 * s] = r + t, d[4 * s] = r - t;
}

static inline void by_o(vec *d, const int s) /* O^T d: 6 become 4 */
{
    const vec a = d[s] + d[2 * s], b = d[s] - d[2 * s], c = d[3 * s] + d[4 * s], e = d[3 * s] - d[4 * s];
    d[0] = d[0] + a + c;
    d[s] = fma(C_(2.0f), e, b);
    d[2 * s] = fma(C_(4.0f), c, a);
    d[3 * s] = fma(C_(8.0f), e, b) + d[5 * s];
}

static inline void spread_by_o(vec *d, const int s) /* O d: 4 become 6 */
{
    const vec d0 = d[0], d1 = d[s], d2 = d[2 * s], d3 = d[3 * s];
    const vec even = d0 + d2, odd = d1 + d3, f = fma(C_(4.0f), d2, d0), g = fma(C_(8.0f), d3, 2.0f * d1);
    d[s] = even + odd, d[2 * s] = even - odd, d[3 * s] = f + g, d[4 * s] = f - g, d[5 * s] = d3;
}

static inline void spread_by_g(vec *d, const int s) /* G d: 3 become 6 */
{
    const vec d0 = d[0], d1 = d[s], d2 = d[2 * s];
    const vec a = (d0 + d2) * (-1.0f / 6), b = d1 * (1.0f / 6);
    const vec c = fma(d0, C_(1.0f / 24), d2 * (1.0f / 6)), e = d1 * (1.0f / 12);
    d[0] = d0 * 0.25f, d[s] = a - b, d[2 * s] = a + b, d[3 * s] = c + e, d[4 * s] = c - e, d[5 * s] = d2;
}

static inline void by_g(vec *d, const int s) /* G^T d: 6 become 3 */
{
    const vec d1 = d[s], d2 = d[2 * s], d3 = d[3 * s], d4 = d[4 * s];
    const vec a = (d1 + d2) * (-1.0f / 6), b = d3 + d4;
    d[0] = fma(b, C_(1.0f / 24), fma(C_(0.25f), d[0], a));
    d[s] = fma(d3 - d4, C_(1.0f / 12), (d2 - d1) * (1.0f / 6));
    d[2 * s] = fma(b, C_(1.0f / 6), a) + d[5 * s];
}
#else
static inline void by_b(vec *d, const int s)
{
    const vec d1 = d[s], d2 = d[2 * s];
    d[0] -= d2, d[s] = d1 + d2, d[2 * s] = d2 - d1, d[3 * s] = d1 - d[3 * s];
}

static inline void by_o(vec *d, const int s)
{
    const vec d1 = d[s], d2 = d[2 * s];
    d[0] += d1 + d2, d[s] = d1 - d2 - d[3 * s];
}

static inline void spread_by_o(vec *d, const int s)
{
    const vec d0 = d[0], d1 = d[s];
    d[s] = d0 + d1, d[2 * s] = d0 - d1, d[3 * s] = -d1;
}

static inline void spread_by_g(vec *d, const int s)
{
    const vec a = (d[0] + d[2 * s]) * 0.5f, b = d[s] * 0.5f;
    d[3 * s] = d[2 * s], d[s] = a + b, d[2 * s] = a - b;
}

static inline void by_g(vec *d, const int s)
{
    const vec a = (d[s] + d[2 * s]) * 0.5f, b = (d[s] - d[2 * s]) * 0.5f;
    d[0] += a, d[s] = b, d[2 * s] = a + d[3 * s];
}
#endif
#define SPREAD(f, n, t)                             \
    {                                               \
        UNROLL for (int k = 0; k < (n); k++) f((t) + k, A); \
        UNROLL for (int k = 0; k < A; k++) f((t) + k * A, 1); \
    }
#define SHRINK(f, n, t)                             \
    {                                               \
        UNROLL for (int k = 0; k < A; k++) f((t) + k * A, 1); \
        UNROLL for (int k = 0; k < (n); k++) f((t) + k, A); \
    }

/* ---- rows of pixels to lanes and back ---------------------------------------------------------------------------- */

typedef struct images {
    global const float *data; /* the whole tensor */
    ulong size;               /* its elements */
    int   channels, h, w;
} images;

/* region [rows][cols][VEC] = pixels from (y0, x0) on of VEC channels from `channel` of image n, zeros outside. A vector
 * of pixels may be written past each row, and is then overwritten. */
static inline void load_region(global float *region, const images *x, const int n, const int channel, const int y0,
                               const int x0, const int rows, const int cols)
{
    const ulong plane = (ulong)x->h * x->w, first = (n * (ulong)x->channels + channel) * plane;
    const int lanes = min(VEC, x->channels - channel), c0 = max(x0, 0), c1 = min(x0 + cols, x->w);
    for (int i = 0; i < rows; i++, region += cols * VEC) {
        const int y = y0 + i;
        int done = 0;
        if (y >= 0 && y < x->h && c0 < c1) {
            for (; done < c0 - x0; done++) VPUT((vec)0.0f, region + done * VEC);
            const ulong at = first + (ulong)y * x->w;
            for (int c = c0; c < c1; c += VEC) {
                const int from = max(min(c, c1 - VEC), c0); /* the last vector may overlap the one before */
                vec r[VEC];
                load_turned(r, x->data + at + from, plane, lanes, c1 - from, x->size - at - from);
                UNROLL for (int j = 0; j < VEC; j++) VPUT(r[j], region + (from - x0 + j) * VEC);
            }
            done = c1 - x0;
        }
        for (; done < cols; done++) VPUT((vec)0.0f, region + done * VEC);
    }
}

/* ---- blocks ------------------------------------------------------------------------------------------------------ */

typedef struct grid {
    int rows, per_image, cols; /* rows of windows in all images, in one; columns */
    int high, wide;            /* of a block */
    int cap;                   /* windows that a block holds: high * wide or a few more */
} grid;

static inline uint blocks_of(const grid *g)
{
    return (uint)((g->rows + g->high - 1) / g->high) * ((g->cols + g->wide - 1) / g->wide);
}

typedef struct block {
    int row, row_end, col, cols; /* of windows */
} block;

static inline block block_at(const grid *g, const uint b)
{
    const int across = (g->cols + g->wide - 1) / g->wide, row = b / across * g->high, col = b % across * g->wide;
    return (block){row, min(row + g->high, g->rows), col, min(g->wide, g->cols - col)};
}

/* Rows of the block that lie in the same image as `row`, from it on. */
static inline int rows_together(const grid *g, const block *b, const int row)
{
    return min(b->row_end, (row / g->per_image + 1) * g->per_image) - row;
}

/* v[t] of one vector of channels = B^T window B; x has a border of `pad`. */
static inline void transform_input(global float *v, const ulong t_step, global float *region, const images *x,
                                   const grid *g, const block *b, const int channel, const int pad)
{
    const int cols = b->cols * WINOGRAD + 2;
    for (int row = b->row, rows; row < b->row_end; row += rows) {
        rows = rows_together(g, b, row);
        load_region(region, x, row / g->per_image, channel, row % g->per_image * WINOGRAD - pad,
                    b->col * WINOGRAD - pad, rows * WINOGRAD + 2, cols);
        for (int i = 0; i < rows * b->cols; i++, v += VEC) {
            global const float *p = region + (i / b->cols * cols + i % b->cols) * (WINOGRAD * VEC);
            vec d[A * A];
            UNROLL for (int h = 0; h < A; h++)
                UNROLL for (int w = 0; w < A; w++) d[h * A + w] = VLOAD(p + (h * cols + w) * VEC);
            SPREAD(by_b, A, d)
            UNROLL for (int t = 0; t < A * A; t++) VPUT(d[t], v + t * t_step);
        }
    }
    for (int i = (b->row_end - b->row) * b->cols; i < g->cap; i++, v += VEC)
        for (int t = 0; t < A * A; t++) VPUT((vec)0.0f, v + t * t_step);
}

/* m[t] of one vector of output channels = O dy O^T. */
static inline void transform_gradient(global float *m, const ulong t_step, global float *region, const images *dy,
                                      const grid *g, const block *b, const int channel)
{
    const int cols = b->cols * WINOGRAD;
    for (int row = b->row, rows; row < b->row_end; row += rows) {
        rows = rows_together(g, b, row);
        load_region(region, dy, row / g->per_image, channel, row % g->per_image * WINOGRAD, b->col * WINOGRAD,
                    rows * WINOGRAD, cols);
        for (int i = 0; i < rows * b->cols; i++, m += NR) {
            global const float *p = region + (i / b->cols * cols + i % b->cols) * (WINOGRAD * VEC);
            vec d[A * A];
            UNROLL for (int h = 0; h < WINOGRAD; h++)
                UNROLL for (int w = 0; w < WINOGRAD; w++) d[h * A + w] = VLOAD(p + (h * cols + w) * VEC);
            SPREAD(spread_by_o, WINOGRAD, d)
            UNROLL for (int t = 0; t < A * A; t++) VPUT(d[t], m + t * t_step);
        }
    }
}

/* y of one vector of output channels, from `channel` on, = epilogue(O^T m O, with). */
static inline void transform_output(global float *y, const operands *with, global const float *m, const ulong t_step,
                                    global float *region, const images *shape, const grid *g, const block *b,
                                    const int channel)
{
    const int   x0 = b->col * WINOGRAD, cols = min(b->cols * WINOGRAD, shape->w - x0);
    const int   lanes = min(VEC, shape->channels - channel);
    const ulong plane = (ulong)shape->h * shape->w;
    for (int row = b->row, count; row < b->row_end; row += count) {
        count = rows_together(g, b, row);
        const int y0 = row % g->per_image * WINOGRAD, rows = min(count * WINOGRAD, shape->h - y0);
        for (int i = 0; i < count * b->cols; i++, m += NR) {
            const int top = i / b->cols * WINOGRAD, left = i % b->cols * WINOGRAD;
            vec d[A * A];
            UNROLL for (int t = 0; t < A * A; t++) d[t] = VLOAD(m + t * t_step);
            SHRINK(by_o, WINOGRAD, d)
            UNROLL for (int h = 0; h < WINOGRAD; h++)
                UNROLL for (int w = 0; w < WINOGRAD; w++)
                    if (top + h < rows && left + w < cols)
                        VPUT(d[h * A + w], region + ((top + h) * cols + left + w) * VEC);
        }
        /* rows of the full width follow each other in memory */
        const int runs = cols == shape->w ? 1 : rows, length = rows * cols / runs;
        const ulong image = row / g->per_image;
        ulong at = (image * shape->channels + channel) * plane + (ulong)y0 * shape->w + x0;
        for (int run = 0; run < runs; run++, at += shape->w)
            for (int p = 0; p < length; p += VEC) {
                const int from = max(min(p, length - VEC), 0);
                vec r[VEC];
                UNROLL for (int j = 0; j < VEC; j++) r[j] = VLOAD(region + ((ulong)run * length + from + j) * VEC);
                finish_turned(r, with, y, at + from, channel, plane, lanes, length - from);
            }
    }
}

/* ---- weights ----------------------------------------------------------------------------------------------------- */

typedef struct filters {
    global const float *data;
    ulong size, row_step, channel_step; /* elements from one output channel to the next, one input channel to the next */
    int   rows, turn;                   /* output channels; 1: the taps in reverse order */
} filters;

/* u [t][end - begin][NR] = G w G^T of input channels begin to end, output channels from `row` on. */
static inline void transform_weights(global float *u, const filters *w, const int row, const int begin, const int end)
{
    const ulong t_step = U_STEP(end - begin);
    for (int v = 0; v < NR && row + v < w->rows; v += VEC)
        for (int c = begin; c < end; c++) {
            const ulong at = (row + v) * w->row_step + c * w->channel_step;
            vec tap[9], d[A * A];
            UNROLL for (int q = 0; q < 9; q += VEC) {
                vec r[VEC];
                load_turned(r, w->data + at + q, w->row_step, min(VEC, w->rows - row - v), 9 - q, w->size - at - q);
                UNROLL for (int j = 0; j < VEC; j++)
                    if (q + j < 9) tap[q + j] = r[j];
            }
            UNROLL for (int k = 0; k < 9; k++) d[k / 3 * A + k % 3] = w->turn ? tap[8 - k] : tap[k];
            SPREAD(spread_by_g, 3, d)
            UNROLL for (int t = 0; t < A * A; t++) VPUT(d[t], u + t * t_step + (c - begin) * NR + v);
        }
}

/* m [rows = TILE_M][NR] (+)= v [depth / VEC][pitch] u [depth][NR] */
static inline void multiply(global float *m, global const float *v, const ulong pitch, global const float *u, int depth,
                            const bool add)
{
    vec acc[TILE_M][TILE_N];
    UNROLL for (int i = 0; i < TILE_M; i++)
        UNROLL for (int j = 0; j < TILE_N; j++) acc[i][j] = add ? VLOAD(m + i * NR + j * VEC) : (vec)0.0f;
    for (; depth > 0; depth -= VEC, v += pitch) {
        const int count = min(depth, VEC);
        for (int k = 0; k < count; k++, u += NR) {
            vec b[TILE_N];
            UNROLL for (int j = 0; j < TILE_N; j++) b[j] = VLOAD(u + j * VEC);
            UNROLL for (int i = 0; i < TILE_M; i++) {
                const vec s = v[i * VEC + k];
                UNROLL for (int j = 0; j < TILE_N; j++) acc[i][j] = fma(s, b[j], acc[i][j]);
            }
        }
    }
    UNROLL for (int i = 0; i < TILE_M; i++)
        UNROLL for (int j = 0; j < TILE_N; j++) VPUT(acc[i][j], m + i * NR + j * VEC);
}

/* m [t][cap][NR] (+)= v u */
static inline void multiply_block(global float *m, const ulong m_step, global const float *v, const ulong v_step,
                                  const grid *g, global const float *u, const int depth, const bool add)
{
    for (int t = 0; t < A * A; t++)
        for (int i = 0; i < g->cap; i += TILE_M)
            multiply(m + t * m_step + i * NR, v + t * v_step + i * VEC, (ulong)g->cap * VEC, u + t * U_STEP(depth),
                     depth, add);
}

#define GRID     const int n, const int rows, const int cols, const int high, const int wide, const int cap
#define GRID_OF  {n * rows, rows, cols, high, wide, cap}
#define V_STEP   ((ulong)((channels + VEC - 1) / VEC) * cap * VEC + VEC)
#define M_STEP   ((ulong)cap * NR + VEC)

TILE_KERNEL winograd_input(TENSOR_OF(const float, x), TENSOR(v), TENSOR(scratch), const ulong scratch_size, GRID,
                           const int channels, const int src_h, const int src_w, const int pad CLAIMS)
{
    const images from = {x + x_at, (ulong)n * channels * src_h * src_w, channels, src_h, src_w};
    const grid   g = GRID_OF;
    const uint   parts = (channels + VEC - 1) / VEC;
    global float *region = scratch + scratch_at + get_group_id(0) * scratch_size;
    v += v_at;
    EACH_UNIT(at, blocks_of(&g) * parts) {
        const block b = block_at(&g, at / parts);
        const ulong part = at % parts;
        transform_input(v + at / parts * (A * A * V_STEP) + part * cap * VEC, V_STEP, region, &from, &g, &b, part * VEC,
                        pad);
    }
}

#if !FILTER
TILE_KERNEL winograd_weights(TENSOR_OF(const float, weight), TENSOR(u), const int outputs, const int channels,
                             const int turn CLAIMS)
{
    const filters w = {weight + weight_at, (ulong)outputs * channels * 9, turn ? 9 : channels * 9,
                       turn ? outputs * 9 : 9, outputs, turn};
    u += u_at;
    EACH_UNIT(k, (outputs + NR - 1) / NR)
        transform_weights(u + k * (A * A * U_STEP(channels)), &w, k * NR, 0, channels);
}

TILE_KERNEL winograd(TENSOR_OF(const float, u), TENSOR_OF(const float, x), OPERANDS, TENSOR(y),
                     TENSOR(scratch), const ulong scratch_size, GRID, const int outputs, const int channels,
                     const int src_h, const int src_w, const int dst_h, const int dst_w, const int pad CLAIMS)
{
    const images from = {x + x_at, (ulong)n * channels * src_h * src_w, channels, src_h, src_w};
    const images to = {0, 0, outputs, dst_h, dst_w};
    const grid   g = GRID_OF;
    global float *v = scratch + scratch_at + get_group_id(0) * scratch_size, *m = v + A * A * V_STEP;
    global float *region = m + A * A * M_STEP;
    const operands with = OPERANDS_OF((ulong)n * outputs * dst_h * dst_w);
    u += u_at, y += y_at;

    EACH_UNIT(at, blocks_of(&g)) {
        const block b = block_at(&g, at);
        for (int c = 0; c < channels; c += VEC)
            transform_input(v + (ulong)c * cap, V_STEP, region, &from, &g, &b, c, pad);
        for (int k = 0; k < outputs; k += NR) {
            multiply_block(m, M_STEP, v, V_STEP, &g, u + k / NR * (A * A * U_STEP(channels)), channels, false);
            for (int j = 0; j < NR && k + j < outputs; j += VEC)
                transform_output(y, &with, m + j, M_STEP, region, &to, &g, &b, k + j);
        }
    }
}

TILE_KERNEL winograd_few(TENSOR_OF(const float, weight), TENSOR_OF(const float, v), OPERANDS, TENSOR(y),
                         TENSOR(scratch), const ulong scratch_size, GRID, const int outputs,
                         const int channels, const int dst_h, const int dst_w, const int turn, const int depth CLAIMS)
{
    const filters w = {weight + weight_at, (ulong)outputs * channels * 9, turn ? 9 : channels * 9,
                       turn ? outputs * 9 : 9, outputs, turn};
    const images to = {0, 0, outputs, dst_h, dst_w};
    const grid   g = GRID_OF;
    global float *u = scratch + scratch_at + get_group_id(0) * scratch_size, *m = u + A * A * U_STEP(depth);
    global float *region = m + blocks_of(&g) * A * A * M_STEP;
    const operands with = OPERANDS_OF((ulong)n * outputs * dst_h * dst_w);
    v += v_at, y += y_at;

    EACH_UNIT(unit, (outputs + NR - 1) / NR) {
        const int k = unit * NR;
        for (int c = 0; c < channels; c += depth) { /* depth is a multiple of VEC */
            const int end = min(c + depth, channels);
            transform_weights(u, &w, k, c, end);
            for (uint at = 0; at < blocks_of(&g); at++)
                multiply_block(m + at * (A * A * M_STEP), M_STEP, v + at * (A * A * V_STEP) + (ulong)c * cap, V_STEP,
                               &g, u, end - c, c > 0);
        }
        for (uint at = 0; at < blocks_of(&g); at++) {
            const block b = block_at(&g, at);
            for (int j = 0; j < NR && k + j < outputs; j += VEC)
                transform_output(y, &with, m + at * (A * A * M_STEP) + j, M_STEP, region, &to, &g, &b, k + j);
        }
    }
}
#else
#define SUM_M (VEC == 16 ? 8 : VEC < 4 ? VEC : 4) /* lanes of v that multiply a row of outputs at a time */

/* to [SUM_M][NR] (+)= sum over windows of v [window][VEC] times d [window][NR] */
static inline void multiply_windows(global float *to, global const float *v, global const float *d, const int windows,
                                    const bool add)
{
    vec acc[SUM_M][TILE_N];
    UNROLL for (int i = 0; i < SUM_M; i++)
        UNROLL for (int j = 0; j < TILE_N; j++) acc[i][j] = add ? VLOAD(to + i * NR + j * VEC) : (vec)0.0f;
    for (int k = 0; k < windows; k++, v += VEC, d += NR) {
        vec b[TILE_N];
        UNROLL for (int j = 0; j < TILE_N; j++) b[j] = VLOAD(d + j * VEC);
        UNROLL for (int i = 0; i < SUM_M; i++) {
            const vec s = v[i];
            UNROLL for (int j = 0; j < TILE_N; j++) acc[i][j] = fma(s, b[j], acc[i][j]);
        }
    }
    UNROLL for (int i = 0; i < SUM_M; i++)
        UNROLL for (int j = 0; j < TILE_N; j++) VPUT(acc[i][j], to + i * NR + j * VEC);
}

/* dw [C][9][NR] (+)= G^T (sum over the windows of blocks first to end of v d) G; product: room for A * A * VEC * NR */
static inline void filter_of_blocks(global float *dw, const bool add, global float *product, global const float *v,
                                    const ulong v_step, global const float *d, const ulong d_step, const grid *g,
                                    const uint first, const uint end, const int channels)
{
    for (int c = 0; c < channels; c += VEC) {
        for (uint at = first; at < end; at++) {
            const block b = block_at(g, at);
            const int windows = (b.row_end - b.row) * b.cols;
            for (int t = 0; t < A * A; t++)
                for (int i = 0; i < VEC; i += SUM_M)
                    multiply_windows(product + (t * VEC + i) * NR,
                                     v + (at - first) * (A * A * v_step) + t * v_step + (ulong)c * g->cap + i,
                                     d + (at - first) * (A * A * d_step) + t * d_step, windows, at > first);
        }
        for (int i = 0; i < min(VEC, channels - c); i++)
            for (int j = 0; j < NR; j += VEC) {
                vec x[A * A];
                UNROLL for (int t = 0; t < A * A; t++) x[t] = VLOAD(product + (t * VEC + i) * NR + j);
                SHRINK(by_g, 3, x)
                UNROLL for (int k = 0; k < 9; k++) {
                    global float *to = dw + ((c + i) * 9 + k) * NR + j;
                    const vec sum = x[k / 3 * A + k % 3];
                    VPUT(add ? VLOAD(to) + sum : sum, to);
                }
            }
    }
}

TILE_KERNEL winograd_filter(TENSOR_OF(const float, x), TENSOR_OF(const float, dy), TENSOR(partial), TENSOR(scratch),
                            const ulong scratch_size, GRID, const int outputs, const int channels, const int src_h,
                            const int src_w, const int dst_h, const int dst_w, const int pad, const int shares CLAIMS)
{
    const images from = {x + x_at, (ulong)n * channels * src_h * src_w, channels, src_h, src_w};
    const images to = {dy + dy_at, (ulong)n * outputs * dst_h * dst_w, outputs, dst_h, dst_w};
    const grid   g = GRID_OF;
    const ulong  parts = (outputs + NR - 1) / NR, count = (ulong)channels * 9 * NR;
    global float *v = scratch + scratch_at + get_group_id(0) * scratch_size, *d = v + A * A * V_STEP;
    global float *product = d + A * A * M_STEP, *region = product + A * A * VEC * NR;
    partial += partial_at;

    EACH_UNIT(share, shares) {
        const uint first = (ulong)share * blocks_of(&g) / shares, end = ((ulong)share + 1) * blocks_of(&g) / shares;
        for (uint at = first; at < end; at++) {
            const block b = block_at(&g, at);
            for (int c = 0; c < channels; c += VEC)
                transform_input(v + (ulong)c * cap, V_STEP, region, &from, &g, &b, c, pad);
            for (int k = 0; k < outputs; k += NR) {
                for (int j = 0; j < NR && k + j < outputs; j += VEC)
                    transform_gradient(d + j, M_STEP, region, &to, &g, &b, k + j);
                filter_of_blocks(partial + (share * parts + k / NR) * count, at > first, product, v, V_STEP, d, M_STEP,
                                 &g, at, at + 1, channels);
            }
        }
    }
}

TILE_KERNEL winograd_filter_few(TENSOR_OF(const float, v), TENSOR_OF(const float, dy), TENSOR(partial), TENSOR(scratch),
                                const ulong scratch_size, GRID, const int outputs, const int channels, const int dst_h,
                                const int dst_w CLAIMS)
{
    const images to = {dy + dy_at, (ulong)n * outputs * dst_h * dst_w, outputs, dst_h, dst_w};
    const grid   g = GRID_OF;
    const uint   blocks = blocks_of(&g);
    global float *d = scratch + scratch_at + get_group_id(0) * scratch_size, *product = d + blocks * (A * A * M_STEP);
    global float *region = product + A * A * VEC * NR;
    v += v_at, partial += partial_at;

    EACH_UNIT(unit, (outputs + NR - 1) / NR) {
        for (uint at = 0; at < blocks; at++) {
            const block b = block_at(&g, at);
            for (int j = 0; j < NR && (int)unit * NR + j < outputs; j += VEC)
                transform_gradient(d + at * (A * A * M_STEP) + j, M_STEP, region, &to, &g, &b, unit * NR + j);
        }
        filter_of_blocks(partial + unit * ((ulong)channels * 9 * NR), false, product, v, V_STEP, d, M_STEP, &g, 0,
                         blocks, channels);
    }
}

TILE_KERNEL winograd_sum(TENSOR_OF(const float, partial), TENSOR(dw), const int outputs, const int channels,
                         const int shares CLAIMS)
{
    const int   count = channels * 9;
    const ulong parts = (outputs + NR - 1) / NR, each = (ulong)count * NR;
    partial += partial_at, dw += dw_at;
    EACH_UNIT(unit, (outputs + VEC - 1) / VEC) {
        const int k = unit * VEC;
        global const float *from = partial + k / NR * each + k % NR;
        for (int p = 0; p < count; p += VEC) {
            const int i = max(min(p, count - VEC), 0);
            vec r[VEC];
            UNROLL for (int j = 0; j < VEC; j++) r[j] = VLOAD(from + (ulong)(i + j) * NR);
            for (int s = 1; s < shares; s++)
                UNROLL for (int j = 0; j < VEC; j++) r[j] += VLOAD(from + s * parts * each + (ulong)(i + j) * NR);
            store_turned(r, dw + (ulong)k * count + i, count, min(VEC, outputs - k), count - i);
        }
    }
}
#endif
