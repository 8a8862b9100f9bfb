/* conv2d.cl - y[n, o, p] = epilogue(sum over c, h, w of weight[o, c, h, w] x[n, c, at(p, h, w)] + bias[o]), and its
 * gradients: matrix products whose right operand is never stored but gathered from images, out of bounds as zeros.
 *
 * KH, KW, STRIDE_H, STRIDE_W, PAD_H, PAD_W, DIL_H, DIL_W   of the convolution
 * BACKWARD          conv2d: 0 forward; 1 backward data, where x is dy, y is dx and weight comes from conv2d_swap
 * BIAS, EPILOGUE, TILE_*   as in gemm.cl, BIAS being one value a row
 *
 * Sizes are those of one group: x [images, groups * channels, src], y [images, groups * rows, dst], weight
 * [groups * rows, taps] with taps = channels * KH * KW. A pixel p of dst, y0 = p / dst_w, meets pixel
 *   y0 STRIDE_H - PAD_H + h DIL_H              of src forward,
 *   (y0 + PAD_H - h DIL_H) / STRIDE_H          of src backward, where that divides.
 *
 * conv2d            weight times gathered [taps, pixels]
 * conv2d_filter     dw[o, tap] partial sums, dy times gathered [pixels, taps]: a group sums some of the images
 * conv2d_sum        adds the partial sums
 * conv2d_swap       weight [groups, rows, channels, KH KW] -> [groups, channels, rows, KH KW] */
#if !defined(KH) || !defined(KW) || !defined(STRIDE_H) || !defined(STRIDE_W) || !defined(PAD_H) || \
    !defined(PAD_W) || !defined(DIL_H) || !defined(DIL_W) || !defined(BACKWARD) || !defined(BIAS) || \
    !defined(EPILOGUE) || !defined(TILE_SIDE)
#error "conv2d.cl needs KH, KW, STRIDE_*, PAD_*, DIL_*, BACKWARD, BIAS, EPILOGUE, TILE_SIDE, TILE_M, TILE_N and TILE_K"
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

#if TILE_SIDE == 1
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
TILE_KERNEL conv2d(TENSOR_OF(const float, weight), TENSOR_OF(const float, x), TENSOR_OF(const float, bias), TENSOR(y),
                   const int images_, const int groups, const int rows, const int channels, const int src_h,
                   const int src_w, const int dst_h, const int dst_w, const int row_block)
{
    vec panel[TILE_K * TILE_N], tile[TILE_M * TILE_N];
    const int pixels = dst_h * dst_w, taps = channels * WINDOW;
    const uint blocks = (rows + row_block - 1) / row_block, tiles = (pixels + TILE_COLS - 1) / TILE_COLS;
    const ulong plane = (ulong)src_h * src_w;
    const images from = {x + x_at, (ulong)images_ * groups * channels * plane, src_h, src_w, dst_w};
    weight += weight_at, bias += bias_at, y += y_at;

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
                        global float *to = y + (ng * rows + i + r) * pixels + p + v * VEC;
                        vec sum = tile[r * TILE_N + v];
                        if (k0 > 0) sum += load_part(to, left);
                        if (k0 + depth == taps) {
#if BIAS
                            sum += bias[row + r];
#endif
                            sum = EPILOGUE(vec, sum);
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
                          const int dst_h, const int dst_w, const int shares, const int row_block)
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
TILE_KERNEL conv2d(TENSOR_OF(const float, weight), TENSOR_OF(const float, x), TENSOR_OF(const float, bias), TENSOR(y),
                   const int images_, const int groups, const int rows, const int channels, const int src_h,
                   const int src_w, const int dst_h, const int dst_w, const int row_block)
{
    local float tile_a[TILE_K * PITCH_A], tile_b[TILE_K * PITCH_B];
    const int pixels = dst_h * dst_w, taps = channels * WINDOW;
    const uint blocks = (rows + row_block - 1) / row_block, tiles = (pixels + TILE_N - 1) / TILE_N;
    const ulong plane = (ulong)src_h * src_w;
    const images from = {x + x_at, (ulong)images_ * groups * channels * plane, src_h, src_w, dst_w};
    weight += weight_at, bias += bias_at, y += y_at;

    EACH_UNIT(u, images_ * groups * blocks * tiles) {
        const int p0 = u % tiles * TILE_N, i0 = u / tiles % blocks * row_block; /* row_block is TILE_M */
        const ulong ng = u / (tiles * blocks), g = ng % groups;
        float sum[ITEM_M][ITEM_N] = {{0.0f}};
        for (int k0 = 0; k0 < taps; k0 += TILE_K) {
            for (int e = ITEM; e < TILE_K * TILE_M; e += ITEMS) {
                const int i = i0 + e / TILE_K, k = k0 + e % TILE_K;
                const bool inside = i < rows && k < taps;
                tile_a[e % TILE_K * PITCH_A + e / TILE_K] = inside ? weight[(g * rows + i) * taps + k] : 0.0f;
            }
            for (int e = ITEM; e < TILE_K * TILE_N; e += ITEMS) {
                const int p = p0 + e % TILE_N, k = k0 + e / TILE_N;
                const ulong channel = (ng * channels + k / WINDOW) * plane;
                const bool inside = p < pixels && k < taps;
                tile_b[e / TILE_N * PITCH_B + e % TILE_N] =
                    inside ? gather_one(&from, channel, p / dst_w, p % dst_w, k % WINDOW / KW, k % KW) : 0.0f;
            }
            barrier(CLK_LOCAL_MEM_FENCE);
            tile_multiply(sum, tile_a, tile_b, min(TILE_K, taps - k0));
            barrier(CLK_LOCAL_MEM_FENCE); /* what follows overwrites the tiles */
        }
        for (int r = 0; r < ITEM_M; r++)
            for (int c = 0; c < ITEM_N; c++) {
                const int i = i0 + r * TILE_SIDE + get_local_id(1), p = p0 + c * TILE_SIDE + get_local_id(0);
                if (i >= rows || p >= pixels) continue;
                float v = sum[r][c];
#if BIAS
                v += bias[g * rows + i];
#endif
                y[(ng * rows + i) * pixels + p] = EPILOGUE(float, v);
            }
    }
}

TILE_KERNEL conv2d_filter(TENSOR_OF(const float, dy), TENSOR_OF(const float, x), TENSOR(partial), const int images_,
                          const int groups, const int rows, const int channels, const int src_h, const int src_w,
                          const int dst_h, const int dst_w, const int shares, const int row_block)
{
    local float tile_a[TILE_K * PITCH_A], tile_b[TILE_K * PITCH_B];
    const int pixels = dst_h * dst_w, taps = channels * WINDOW;
    const uint blocks = (rows + row_block - 1) / row_block, tiles = (taps + TILE_N - 1) / TILE_N;
    const ulong plane = (ulong)src_h * src_w;
    const images from = {x + x_at, (ulong)images_ * groups * channels * plane, src_h, src_w, dst_w};
    dy += dy_at, partial += partial_at;

    EACH_UNIT(u, shares * groups * blocks * tiles) {
        const int tap0 = u % tiles * TILE_N, i0 = u / tiles % blocks * row_block; /* row_block is TILE_M */
        const ulong sg = u / (tiles * blocks), g = sg % groups, share = sg / groups;
        const int q0 = share * images_ / shares * pixels, q1 = (share + 1) * images_ / shares * pixels;
        float sum[ITEM_M][ITEM_N] = {{0.0f}};
        for (int q = q0; q < q1; q += TILE_K) { /* pixels of all images of the share */
            for (int e = ITEM; e < TILE_K * TILE_M; e += ITEMS) {
                const int i = i0 + e / TILE_K, n = (q + e % TILE_K) / pixels, p = (q + e % TILE_K) % pixels;
                const bool inside = i < rows && q + e % TILE_K < q1;
                tile_a[e % TILE_K * PITCH_A + e / TILE_K] =
                    inside ? dy[((n * groups + g) * rows + i) * pixels + p] : 0.0f;
            }
            for (int e = ITEM; e < TILE_K * TILE_N; e += ITEMS) {
                const int t = tap0 + e / TILE_K, n = (q + e % TILE_K) / pixels, p = (q + e % TILE_K) % pixels;
                const ulong channel = ((n * groups + g) * channels + t / WINDOW) * plane;
                const bool inside = t < taps && q + e % TILE_K < q1;
                tile_b[e % TILE_K * PITCH_B + e / TILE_K] =
                    inside ? gather_one(&from, channel, p / dst_w, p % dst_w, t % WINDOW / KW, t % KW) : 0.0f;
            }
            barrier(CLK_LOCAL_MEM_FENCE);
            tile_multiply(sum, tile_a, tile_b, min(TILE_K, q1 - q));
            barrier(CLK_LOCAL_MEM_FENCE); /* what follows overwrites the tiles */
        }
        for (int r = 0; r < ITEM_M; r++)
            for (int c = 0; c < ITEM_N; c++) {
                const int i = i0 + r * TILE_SIDE + get_local_id(1), t = tap0 + c * TILE_SIDE + get_local_id(0);
                if (i < rows && t < taps) partial[(sg * rows + i) * taps + t] = sum[r][c];
            }
    }
}
#endif

/* y[i] = sum over the shares of partial[share, i]. */
KERNEL conv2d_sum(TENSOR_OF(const float, partial), TENSOR(y), const int shares, const uint count)
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
                   const uint channels)
{
    weight += weight_at, swapped += swapped_at;
    EACH_UNIT(u, groups * channels) {
        const ulong g = u / channels, c = u % channels;
        for (uint i = get_local_id(0); i < rows * WINDOW; i += WG)
            swapped[u * (ulong)rows * WINDOW + i] =
                weight[((g * rows + i / WINDOW) * channels + c) * WINDOW + i % WINDOW];
    }
}
