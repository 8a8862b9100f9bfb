/* conv2d.cl - y[n, o, p] = epilogue(sum over c, h, w of weight[o, c, h, w] x[n, c, at(p, h, w)] + bias[o], ...), and
 * its gradients: matrix products whose right operand is never stored but gathered from images, out of bounds as zeros.
 *
 * KH, KW, STRIDE_H, STRIDE_W, PAD_H, PAD_W, DIL_H, DIL_W   of the convolution
 * BACKWARD          conv2d: 0 forward; 1 backward data, where x is dy, y is dx and weight comes from conv2d_swap
 * BIAS, OTHER       1: there is a bias of each output channel; a tensor of the result's shape
 * CHANNELS          how many more tensors there are with a number for each output channel: 0 to 2
 * EPILOGUE(T, a, b, c, d)  what becomes of a sum a, by the elements of these
 * TILE_*            as in gemm.cl; or
 * FEW_ROWS          1, 2 or 4, in their place, on GPUs: groups have no more outputs, and products would waste most of a tile
 *
 * Sizes are those of one group: x [images, groups * channels, src], y [images, groups * rows, dst], weight
 * [groups * rows, taps] with taps = channels * KH * KW. A pixel p of dst, y0 = p / dst_w, meets pixel
 *   y0 STRIDE_H - PAD_H + h DIL_H              of src forward,
 *   (y0 + PAD_H - h DIL_H) / STRIDE_H          of src backward, where that divides.
 *
 * conv2d            weight times gathered [taps, pixels]
 * conv2d_filter     dw[o, tap] partial sums, dy times gathered [pixels, taps]: a group sums some of the images
 * conv2d_few        FEW_ROWS, as conv2d: a unit is (image, group, WG pixels), and an item has one pixel
 * conv2d_few_filter FEW_ROWS, as conv2d_filter: a unit is (share of the images, group, output, nine taps)
 * conv2d_sum        adds the partial sums
 * conv2d_swap       weight [groups, rows, channels, KH KW] -> [groups, channels, rows, KH KW] */
#if !defined(KH) || !defined(KW) || !defined(STRIDE_H) || !defined(STRIDE_W) || !defined(PAD_H) || \
    !defined(PAD_W) || !defined(DIL_H) || !defined(DIL_W) || !defined(BACKWARD) || !defined(BIAS) || \
    !defined(OTHER) || !defined(CHANNELS) || !defined(EPILOGUE) || !(defined(TILE_SIDE) || defined(FEW_ROWS))
#error "conv2d.cl needs KH, KW, STRIDE_*, PAD_*, DIL_*, BACKWARD, BIAS, OTHER, CHANNELS, EPILOGUE, and TILE_* or FEW_ROWS"
#endif
#define WINDOW (KH * KW)

/* The source row (or column) that a pixel meets at a tap; negative or too large where there is none. */
#if BACKWARD
#define MEETS(at, tap, STRIDE, PAD, DIL) \
    (((at) + PAD - (tap) * DIL) % STRIDE == 0 ? ((at) + PAD - (tap) * DIL) / STRIDE : -1)
#else
#define MEETS(at, tap, STRIDE, PAD, DIL) ((at) * STRIDE - PAD + (tap) * DIL)
#endif
#define ROW_OF(y, h) MEETS(y, h, STRIDE_H, PAD_H, DIL_H)
#define COL_OF(x, w) MEETS(x, w, STRIDE_W, PAD_W, DIL_W)

typedef struct images {
    global const float *data; /* the whole tensor */
    ulong size;               /* its elements */
    int   src_h, src_w, dst_w;
} images;

/* What pixel (py, px) meets at tap (h, w) of the plane that starts at element `plane`. */
static inline float gather_one(const images *x, const ulong plane, const int py, const int px, const int h, const int w)
{
    const int sy = ROW_OF(py, h), sx = COL_OF(px, w);
    return sy >= 0 && sy < x->src_h && sx >= 0 && sx < x->src_w ? x->data[plane + sy * x->src_w + sx] : 0.0f;
}

#ifdef FEW_ROWS
#if FEW_ROWS == 4
typedef float4 few;
#define WEIGHTS(w)      (float4)((w)[0], (w)[row1], (w)[row2], (w)[row3])
#define EACH_FEW(F)     F(0, sum.x) F(1, sum.y) F(2, sum.z) F(3, sum.w)
#elif FEW_ROWS == 2
typedef float2 few;
#define WEIGHTS(w)      (float2)((w)[0], (w)[row1])
#define EACH_FEW(F)     F(0, sum.x) F(1, sum.y)
#else
typedef float few;
#define WEIGHTS(w)      (w)[0]
#define EACH_FEW(F)     F(0, sum)
#endif

KERNEL conv2d_few(TENSOR_OF(const float, weight), TENSOR_OF(const float, x), OPERANDS, TENSOR(y), const int images_,
                  const int groups, const int rows, const int channels, const int src_h, const int src_w, const int dst_h,
                  const int dst_w CLAIMS)
{
    const int   pixels = dst_h * dst_w, taps = channels * WINDOW;
    const int   row1 = min(1, rows - 1) * taps, row2 = min(2, rows - 1) * taps, row3 = min(3, rows - 1) * taps;
    const uint  tiles = (pixels + WG - 1) / WG;
    const ulong plane = (ulong)src_h * src_w;
    const images from = {x + x_at, (ulong)images_ * groups * channels * plane, src_h, src_w, dst_w};
    const operands with = OPERANDS_OF((ulong)images_ * groups * rows * pixels);
    weight += weight_at, y += y_at;

    EACH_UNIT(u, images_ * groups * tiles) {
        const int   p = u % tiles * WG + get_local_id(0), py = p / dst_w, px = p % dst_w;
        const ulong ng = u / tiles, row = ng % groups * rows;
        global const float *w = weight + row * taps;
        few sum = 0.0f;
        if (p >= pixels) continue;
        for (int c = 0; c < channels; c++)
            for (int t = 0; t < WINDOW; t++, w++)
                sum = fma((few)gather_one(&from, (ng * channels + c) * plane, py, px, t / KW, t % KW), WEIGHTS(w), sum);
#define PUT_FEW(i, value)                                                                                    \
        if (i < rows) {                                                                                      \
            const ulong at = (ng * rows + i) * pixels + p;                                                   \
            const float a = BIAS ? value + with.bias[row + i] : value, b = OTHER ? with.other[at] : 0.0f;    \
            const float c = CHANNELS > 0 ? with.channel0[row + i] : 0.0f;                                    \
            const float d = CHANNELS > 1 ? with.channel1[row + i] : 0.0f;                                    \
            y[at] = EPILOGUE(float, a, b, c, d);                                                             \
        }
        EACH_FEW(PUT_FEW)
    }
}

/* Nine taps, whose sums compilers keep in registers as they are no array: each tap's place, sum, and total. */
#define TAPS 9
#define EACH_TAP(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8)
#define TAP_PLACE(t)                                                                             \
    const int tap##t = min(first + t, taps - 1), down##t = tap##t % WINDOW / KW * DIL_H, across##t = tap##t % KW * DIL_W; \
    const ulong plane##t = tap##t / WINDOW * plane;                                              \
    float sum##t = 0.0f;
#define TAP_ADD(t)                                                                               \
    {                                                                                            \
        const int  sy = py + down##t, sx = px + across##t;                                       \
        const bool inside = sy >= 0 && sy < src_h && sx >= 0 && sx < src_w;                      \
        const float v = from[plane##t + (inside ? sy * src_w + sx : 0)];                         \
        sum##t = fma(d, inside ? v : 0.0f, sum##t);                                              \
    }
#define TAP_PUT(t)                                                                               \
    sum##t = wg_sum(sum##t, tmp);                                                                \
    if (get_local_id(0) == 0 && first + t < taps) to[t] = sum##t;

KERNEL conv2d_few_filter(TENSOR_OF(const float, dy), TENSOR_OF(const float, x), TENSOR(partial), const int images_,
                         const int groups, const int rows, const int channels, const int src_h, const int src_w,
                         const int dst_h, const int dst_w, const int shares CLAIMS)
{
    local float tmp[WG];
    const int   pixels = dst_h * dst_w, taps = channels * WINDOW;
    const uint  chunks = (taps + TAPS - 1) / TAPS;
    const ulong plane = (ulong)src_h * src_w;
    dy += dy_at, x += x_at, partial += partial_at;

    EACH_UNIT(u, shares * groups * rows * chunks) {
        const int   first = u % chunks * TAPS;
        const ulong so = u / chunks, o = so % (groups * rows), share = so / (groups * rows);
        const int   n0 = share * images_ / shares, n1 = (share + 1) * images_ / shares;
        EACH_TAP(TAP_PLACE)
        for (int n = n0; n < n1; n++) {
            global const float *from = x + (n * (ulong)groups + o / rows) * channels * plane;
            global const float *of = dy + ((ulong)n * groups * rows + o) * pixels;
            for (int p = get_local_id(0); p < pixels; p += WG) {
                const int   py = p / dst_w * STRIDE_H - PAD_H, px = p % dst_w * STRIDE_W - PAD_W;
                const float d = of[p];
                EACH_TAP(TAP_ADD)
            }
        }
        global float *to = partial + so * taps + first;
        EACH_TAP(TAP_PUT)
    }
}
#elif TILE_SIDE == 1
/* Lanes from <= lane < until of the row that starts, for lane 0, at `at`, which may lie outside of the tensor. */
static inline vec load_lanes(const images *x, const long at, const int from, const int until)
{
    if (at >= 0 && at + VEC <= (long)x->size) return VLOAD(x->data + at);
    float t[VEC] = {0.0f};
    for (int i = from; i < until; i++) t[i] = x->data[at + i];
    return VLOAD(t);
}

/* to[i * step] = gather_one for VEC pixels from (py, px) on, in the i-th plane from element `plane` on, for i < count.
 * With a stride of 1, pixels of one row meet neighbours: one load for each row that the pixels touch. */
static inline void gather(vec *to, const int step, const int count, const images *x, const ulong plane, int py, int px,
                          const int h, const int w)
{
    const ulong size = (ulong)x->src_h * x->src_w;
#if STRIDE_H == 1 && STRIDE_W == 1
    const int y = ROW_OF(py, h), left = COL_OF(px, w);
    if (px + VEC <= x->dst_w && y >= 0 && y < x->src_h && left >= 0 && left + VEC <= x->src_w) {
        global const float *p = x->data + plane + y * x->src_w + left;
        for (int i = 0; i < count; i++, p += size) to[i * step] = VLOAD(p);
        return;
    }
    for (int lane = 0; lane < VEC; py++, px = 0) {
        const int  sy = ROW_OF(py, h), sx = COL_OF(px, w) - lane, end = min(VEC, lane + x->dst_w - px);
        const bool inside = sy >= 0 && sy < x->src_h;
        const int  from = inside ? max(lane, -sx) : VEC, until = min(end, x->src_w - sx);
        const ivec keep = (LANES >= from) & (LANES < until);
        long at = (long)plane + sy * x->src_w + sx;
        for (int i = 0; i < count; i++, at += size) {
            const vec before = lane == 0 ? (vec)0.0f : to[i * step];
            to[i * step] = keep ? load_lanes(x, at, from, until) : before;
        }
        lane = end;
    }
#else
    float t[VEC];
    for (int i = 0; i < count; i++) {
        int y = py, col = px;
        for (int lane = 0; lane < VEC; lane++) {
            t[lane] = gather_one(x, plane + i * size, y, col, h, w);
            if (++col == x->dst_w) col = 0, y++;
        }
        to[i * step] = VLOAD(t);
    }
#endif
}

/* A unit is (image, group, block of rows, TILE_COLS pixels). */
TILE_KERNEL conv2d(TENSOR_OF(const float, weight), TENSOR_OF(const float, x), OPERANDS, TENSOR(y), const int images_,
                   const int groups, const int rows, const int channels, const int src_h,
                   const int src_w, const int dst_h, const int dst_w, const int row_block CLAIMS)
{
    vec panel[TILE_K * TILE_N], tile[TILE_M * TILE_N];
    const int pixels = dst_h * dst_w, taps = channels * WINDOW;
    const uint blocks = (rows + row_block - 1) / row_block, tiles = (pixels + TILE_COLS - 1) / TILE_COLS;
    const ulong plane = (ulong)src_h * src_w;
    const images from = {x + x_at, (ulong)images_ * groups * channels * plane, src_h, src_w, dst_w};
    const operands with = OPERANDS_OF((ulong)images_ * groups * rows * pixels);
    weight += weight_at, y += y_at;

    EACH_UNIT(u, images_ * groups * blocks * tiles) {
        const int p = u % tiles * TILE_COLS, i0 = u / tiles % blocks * row_block, i1 = min(i0 + row_block, rows);
        const ulong ng = u / (tiles * blocks), g = ng % groups; /* image and group, group */
        for (int k0 = 0; k0 < taps; k0 += TILE_K) {
            const int depth = min(TILE_K, taps - k0);
            for (int v = 0; v < TILE_N; v++)
                for (int i = 0; i < min(WINDOW, depth); i++) { /* all channels of one tap at a time */
                    const int tap = (k0 + i) % WINDOW, count = (depth - i + WINDOW - 1) / WINDOW;
                    const ulong first = (ng * channels + (k0 + i) / WINDOW) * plane;
                    gather(panel + i * TILE_N + v, WINDOW * TILE_N, count, &from, first, (p + v * VEC) / dst_w,
                           (p + v * VEC) % dst_w, tap / KW, tap % KW);
                }
            for (int i = i0; i < i1; i += TILE_M) {
                const int count = min(TILE_M, i1 - i);
                const ulong row = g * rows + i;
                tile_multiply(tile, count, weight + row * taps + k0, taps, 1, panel, depth);
                for (int r = 0; r < count; r++)
                    for (int v = 0; v < TILE_N && p + v * VEC < pixels; v++) {
                        const int left = pixels - p - v * VEC;
                        const ulong at = (ng * rows + i + r) * pixels + p + v * VEC;
                        global float *to = y + at;
                        vec sum = tile[r * TILE_N + v];
                        if (k0 > 0) sum += load_part(to, left);
                        if (k0 + depth == taps) {
                            const vec b = OTHER ? load_part(with.other + at, left) : (vec)0.0f;
                            if (BIAS) sum += with.bias[row + r];
                            sum = EPILOGUE(vec, sum, b, (vec)(CHANNELS > 0 ? with.channel0[row + r] : 0.0f),
                                           (vec)(CHANNELS > 1 ? with.channel1[row + r] : 0.0f));
                        }
                        store_part(sum, to, left);
                    }
            }
        }
    }
}

/* A unit is (share of the images, group, block of rows, TILE_COLS taps): partial[share, group * rows + o, tap]. */
TILE_KERNEL conv2d_filter(TENSOR_OF(const float, dy), TENSOR_OF(const float, x), TENSOR(partial), const int images_,
                          const int groups, const int rows, const int channels, const int src_h, const int src_w,
                          const int dst_h, const int dst_w, const int shares, const int row_block CLAIMS)
{
    vec panel[TILE_K * TILE_N], tile[TILE_M * TILE_N];
    const int pixels = dst_h * dst_w, taps = channels * WINDOW;
    const uint blocks = (rows + row_block - 1) / row_block, tiles = (taps + TILE_COLS - 1) / TILE_COLS;
    const ulong plane = (ulong)src_h * src_w;
    const images from = {x + x_at, (ulong)images_ * groups * channels * plane, src_h, src_w, dst_w};
    dy += dy_at, partial += partial_at;

    EACH_UNIT(u, shares * groups * blocks * tiles) {
        const int tap0 = u % tiles * TILE_COLS, i0 = u / tiles % blocks * row_block, i1 = min(i0 + row_block, rows);
        const ulong sg = u / (tiles * blocks), g = sg % groups, share = sg / groups;
        const int n0 = share * images_ / shares, n1 = (share + 1) * images_ / shares;
        for (int n = n0; n < n1; n++)
            for (int p = 0; p < pixels; p += TILE_K) {
                const ulong ng = n * groups + g;
                const int depth = min(TILE_K, pixels - p);
                for (int k = 0; k < depth; k += VEC)
                    for (int v = 0; v < TILE_N; v++) {
                        const int py = (p + k) / dst_w, px = (p + k) % dst_w;
                        vec r[VEC];
                        for (int i = 0; i < VEC; i++) {
                            const int tap = min(tap0 + v * VEC + i, taps - 1);
                            vec one; /* in a register, as r[i] would not be */
                            gather(&one, 1, 1, &from, (ng * channels + tap / WINDOW) * plane, py, px,
                                   tap % WINDOW / KW, tap % KW);
                            r[i] = one;
                        }
                        transpose_tile(r);
                        UNROLL for (int i = 0; i < VEC; i++) panel[(k + i) * TILE_N + v] = r[i];
                    }
                for (int i = i0; i < i1; i += TILE_M) {
                    const int count = min(TILE_M, i1 - i);
                    tile_multiply(tile, count, dy + (ng * rows + i) * pixels + p, pixels, 1, panel, depth);
                    for (int r = 0; r < count; r++)
                        for (int v = 0; v < TILE_N && tap0 + v * VEC < taps; v++) {
                            const int left = taps - tap0 - v * VEC;
                            global float *to = partial + (sg * rows + i + r) * taps + tap0 + v * VEC;
                            vec sum = tile[r * TILE_N + v];
                            if (n > n0 || p > 0) sum += load_part(to, left);
                            store_part(sum, to, left);
                        }
                }
            }
    }
}
#else
/* tile [TILE_K][PITCH_B] = what pixels p0 + 0 1 2... meet at taps k0 + 0 1 2..., of which `depth` exist; `from` is the
 * first channel's plane. A load is always made, of the plane's first element in place of one outside, so that none
 * waits for another. */
INLINE void fill_with_pixels(local float4 *tile, global const float *from, const int p0, const int pixels,
                                    const int k0, const int depth, const int src_h, const int src_w, const int dst_w)
{
    const int step = max(ITEMS / TILE_N, 1), k1 = ITEMS > TILE_N ? ITEM / TILE_N : 0;
    for (int c = ITEM % TILE_N; c < TILE_N; c += ITEMS) {
        const int p = p0 + c, py = p / dst_w, px = p % dst_w;
        _Pragma("unroll 4") for (int k = 0; k < TILE_K; k += step) {
            const int tap = k0 + min(k + k1, depth - 1), h = tap % WINDOW / KW, w = tap % KW;
            const int sy = ROW_OF(py, h), sx = COL_OF(px, w);
            const bool inside = sy >= 0 && sy < src_h && sx >= 0 && sx < src_w && p < pixels && k + k1 < depth;
            const float v = from[tap / WINDOW * (ulong)(src_h * src_w) + (inside ? sy * src_w + sx : 0)];
            if (TILE_K % step == 0 || k + k1 < TILE_K) ((local float *)tile)[(k + k1) * PITCH_B * 4 + c] = inside ? v : 0.0f;
        }
    }
}

TILE_KERNEL conv2d(TENSOR_OF(const float, weight), TENSOR_OF(const float, x), OPERANDS, TENSOR(y), const int images_,
                   const int groups, const int rows, const int channels, const int src_h,
                   const int src_w, const int dst_h, const int dst_w, const int row_block)
{
    local float4 tile_a[TILE_K * PITCH_A], tile_b[TILE_K * PITCH_B];
    item_row sum[ITEM_M];
    const int pixels = dst_h * dst_w, taps = channels * WINDOW;
    const uint blocks = (rows + row_block - 1) / row_block, tiles = (pixels + TILE_N - 1) / TILE_N;
    weight += weight_at, x += x_at, y += y_at;

    const uint u = get_group_id(0); /* one unit a group */
    const int p0 = u % tiles * TILE_N, i0 = u / tiles % blocks * row_block; /* row_block is TILE_M */
    const ulong ng = u / (tiles * blocks), row = ng % groups * rows + i0;
    global const float *from = x + ng * channels * (ulong)(src_h * src_w);
    EACH_ITEM_ROW(CLEAR_SUM)
    for (int k = 0; k < taps; k += TILE_K) {
        tile_fill(tile_a, TILE_M, weight + row * taps + k, taps, true, rows - i0, taps - k);
        fill_with_pixels(tile_b, from, p0, pixels, k, taps - k, src_h, src_w, dst_w);
        barrier(CLK_LOCAL_MEM_FENCE);
        tile_multiply(sum, tile_a, tile_b, min(TILE_K, taps - k));
        barrier(CLK_LOCAL_MEM_FENCE); /* what follows overwrites the tiles */
    }
    const ulong at = (ng * rows + i0 + ITEM_ROW) * pixels + p0 + ITEM_COL;
    global float *to = y + at;
    const int below = rows - i0 - ITEM_ROW, beside = pixels - p0 - ITEM_COL;
    bias += bias_at + row + ITEM_ROW, other += other_at + at;
    channel0 += channel0_at + row + ITEM_ROW, channel1 += channel1_at + row + ITEM_ROW;
#define PUT(i, col, four)                                                                                  \
    if ((i) < below) {                                                                                     \
        const float4 a = BIAS ? four + bias[i] : four;                                                     \
        const float4 b = OTHER ? load4(other + (i) * (ulong)pixels + (col), beside - (col)) : (float4)0.0f; \
        const float4 c = CHANNELS > 0 ? channel0[i] : 0.0f, d = CHANNELS > 1 ? channel1[i] : 0.0f;         \
        store4(EPILOGUE(float4, a, b, c, d), to + (i) * (ulong)pixels + (col), beside - (col));            \
    }
#define PUT_ROW(i) EACH_FOUR(PUT, i)
    EACH_ITEM_ROW(PUT_ROW)
#undef PUT
}

/* Where a tap lies from the pixel that a window begins at. */
typedef struct tap_place {
    ulong at; /* in elements */
    int   y, x;
} tap_place;

/* tile [TILE_K][PITCH_B] = what pixels p0 + 0 1 2... meet at the tile's taps, zeros from `pixels` on; places are those of
 * taps that exist. */
INLINE void fill_with_taps(local float4 *tile, local const tap_place *places, global const float *from,
                                  const int p0, const int pixels, const int taps, const int src_h, const int src_w,
                                  const int dst_w)
{
    const int step = max(ITEMS / TILE_K, 1), t1 = ITEMS > TILE_K ? ITEM / TILE_K : 0;
    for (int k = ITEM % TILE_K; k < TILE_K; k += ITEMS) {
        const int p = p0 + k, y = p / dst_w * STRIDE_H - PAD_H, x = p % dst_w * STRIDE_W - PAD_W;
        _Pragma("unroll 4") for (int t = 0; t < TILE_N; t += step) {
            const tap_place place = places[min(t + t1, taps - 1)];
            const int  sy = y + place.y, sx = x + place.x;
            const bool inside = sy >= 0 && sy < src_h && sx >= 0 && sx < src_w && p < pixels && t + t1 < taps;
            const float v = from[inside ? place.at + (y * src_w + x) : 0];
            if (TILE_N % step == 0 || t + t1 < TILE_N) ((local float *)tile)[k * PITCH_B * 4 + t + t1] = inside ? v : 0.0f;
        }
    }
}

TILE_KERNEL conv2d_filter(TENSOR_OF(const float, dy), TENSOR_OF(const float, x), TENSOR(partial), const int images_,
                          const int groups, const int rows, const int channels, const int src_h, const int src_w,
                          const int dst_h, const int dst_w, const int shares, const int row_block)
{
    local float4    tile_a[TILE_K * PITCH_A], tile_b[TILE_K * PITCH_B];
    local tap_place places[TILE_N];
    item_row sum[ITEM_M];
    const int pixels = dst_h * dst_w, taps = channels * WINDOW;
    const uint blocks = (rows + row_block - 1) / row_block, tiles = (taps + TILE_N - 1) / TILE_N;
    const ulong plane = (ulong)src_h * src_w;
    dy += dy_at, x += x_at, partial += partial_at;

    const uint u = get_group_id(0); /* one unit a group */
    const int tap0 = u % tiles * TILE_N, i0 = u / tiles % blocks * row_block; /* row_block is TILE_M */
    const ulong sg = u / (tiles * blocks), g = sg % groups, share = sg / groups;
    const int n0 = share * images_ / shares, n1 = (share + 1) * images_ / shares;
    for (int t = ITEM; t < TILE_N; t += ITEMS) {
        const int tap = tap0 + t, h = tap % WINDOW / KW * DIL_H, w = tap % KW * DIL_W;
        places[t] = (tap_place){tap / WINDOW * plane + h * src_w + w, h, w};
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    EACH_ITEM_ROW(CLEAR_SUM)
    for (int n = n0, p = 0; n < n1;) { /* one loop: another around the sums would cost registers */
        const ulong ng = n * (ulong)groups + g;
        const int left = pixels - p;
        tile_fill(tile_a, TILE_M, dy + (ng * rows + i0) * pixels + p, pixels, true, rows - i0, left);
        fill_with_taps(tile_b, places, x + ng * channels * plane, p, pixels, taps - tap0, src_h, src_w, dst_w);
        barrier(CLK_LOCAL_MEM_FENCE);
        tile_multiply(sum, tile_a, tile_b, min(TILE_K, left));
        barrier(CLK_LOCAL_MEM_FENCE); /* what follows overwrites the tiles */
        p = left > TILE_K ? p + TILE_K : 0;
        n += left <= TILE_K;
    }
    global float *to = partial + (sg * rows + i0 + ITEM_ROW) * taps + tap0 + ITEM_COL;
    const int below = rows - i0 - ITEM_ROW, beside = taps - tap0 - ITEM_COL;
#define PUT(i, t, four) \
    if ((i) < below) store4(four, to + (i) * (ulong)taps + (t), beside - (t));
    EACH_ITEM_ROW(PUT_ROW)
#undef PUT
}
#endif

/* y[i] = sum over the shares of partial[share, i]. */
KERNEL conv2d_sum(TENSOR_OF(const float, partial), TENSOR(y), const int shares, const uint count CLAIMS)
{
    const uint chunk = WG * VEC;
    partial += partial_at, y += y_at;
    EACH_UNIT(u, (count + chunk - 1) / chunk) {
        const uint left = min(chunk, count - u * chunk);
        global const float *in = partial + u * chunk;
        global float *out = y + u * chunk;
        EACH_VEC(i, left) {
            vec sum = 0.0f;
            for (int s = 0; s < shares; s++) sum += VLOAD(in + (ulong)s * count + i);
            VPUT(sum, out + i);
        }
        EACH_TAIL(i, left) {
            float sum = 0.0f;
            for (int s = 0; s < shares; s++) sum += in[(ulong)s * count + i];
            out[i] = sum;
        }
    }
}

KERNEL conv2d_swap(TENSOR_OF(const float, weight), TENSOR(swapped), const uint groups, const uint rows,
                   const uint channels CLAIMS)
{
    weight += weight_at, swapped += swapped_at;
    EACH_UNIT(u, groups * channels) {
        const ulong g = u / channels, c = u % channels;
        for (uint i = get_local_id(0); i < rows * WINDOW; i += WG)
            swapped[u * (ulong)rows * WINDOW + i] =
                weight[((g * rows + i / WINDOW) * channels + c) * WINDOW + i % WINDOW];
    }
}
