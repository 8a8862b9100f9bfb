/* conv2d_pool.cl - y = max over a window of relu(conv2d(x, weight) + bias), and its gradient in weight and bias, with one
 * image a lane.
 *
 * KH, KW, STRIDE_H, STRIDE_W, DIL_H, DIL_W   of the convolution; its border lies in memory around x
 * POOL_H, POOL_W                             the window of the maximum, and its stride
 * BIAS                                       1: there is one
 * ROWS                                       output channels that a unit of work holds in registers
 * FILTER_ITEMS, FILTER_ROWS, FILTER_LANES    with WG > 1, of conv2d_pool_filter: items of a group, channels of an item, an
 *                                            even number, and images of an item, 1 or 2
 *
 * x by lanes [blocks, channels, h, w, VEC], code [blocks, rows, pixels, VEC] in bytes, y and dy [n, rows, pixels]. A group's items
 * share the pooled pixels of a unit, which is a block of VEC images and some rows. Lanes behind the last image compute
 * with zeros and are not stored. The first maximum wins, NaN before anything else. */
#if !defined(KH) || !defined(KW) || !defined(STRIDE_H) || !defined(STRIDE_W) || !defined(DIL_H) || !defined(DIL_W) || \
    !defined(POOL_H) || !defined(POOL_W) || !defined(BIAS) || !defined(ROWS)
#error "conv2d_pool.cl needs KH, KW, STRIDE_*, DIL_*, POOL_*, BIAS and ROWS"
#elif WG > 1 && (!defined(FILTER_ITEMS) || !defined(FILTER_ROWS) || !defined(FILTER_LANES))
#error "conv2d_pool.cl needs FILTER_ITEMS, FILTER_ROWS and FILTER_LANES"
#endif
#define WINDOW  (KH * KW)
#define PLACES  (POOL_H * POOL_W)
#define LANE(t) ((ulong)(t) * VEC)
#if WG == 1
#define STRIP (6 * VEC) /* pixels that an item brings from memory, or there, at once: an image's neighbours one after another */
#define STRIP_COUNT(p0, pixels) min(STRIP, (pixels) - (p0))
#else
#define STRIP 1 /* neighbours store neighbours */
#define STRIP_COUNT(p0, pixels) 1 /* a constant: what a loop of unknown length indexes lies in memory */
#endif
/* While pixel i is computed, the caches are asked for a line of the strip at p; all lines of a strip, as its pixels go by. */
#if WG == 1
#define FETCH_LINE(p, step, i) FETCH((p) + (i) % VEC * (step) + (i) / VEC * VEC)
#else
#define FETCH_LINE(p, step, i)
#endif
/* The first pixel of a strip, or of a vector: the last one overlaps that before, for a part of a vector takes long. */
#define OVERLAP(at, count) ((count) < VEC || STRIP == 1 ? (at) : min(at, (count) - VEC))

#if VEC == 1
typedef char code_vec;
#define CODE  convert_char
#define PLACE convert_int
#else
typedef CAT(char, VEC) code_vec __attribute__((aligned(VEC < 4 ? VEC : 4)));
#define CODE  CAT(convert_char, VEC)
#define PLACE CAT(convert_int, VEC)
#endif

/* Element (place, tap) of a pooled pixel whose first element is at p, in rows of `w` vectors. Within a window 32 bits do, and
 * GPUs add 64 bits in several instructions. */
#if WG == 1
#define WITHIN(row, column, w) LANE((row) * (w) + (column))
#else
#define WITHIN(row, column, w) (uint)((row) * (w)) * VEC + (column) * VEC
#endif
#define TAP(p, place, kh, kw, w) \
    VLOAD((p) + WITHIN((place) / POOL_W * STRIDE_H + (kh) * DIL_H, (place) % POOL_W * STRIDE_W + (kw) * DIL_W, w))

/* Pixels i from p0 on, with `at` where their windows begin in a plane. */
#define EACH_PIXEL(i, p0, count, at, plane)                                                                              \
    global const float *at = (plane) + LANE((p0) / dst_w * POOL_H * STRIDE_H * w + (p0) % dst_w * POOL_W * STRIDE_W);    \
    for (int i = 0, column = (p0) % dst_w; i < (count);                                                                  \
         i++, column = column + 1 < dst_w ? column + 1 : 0,                                                              \
             at += LANE(POOL_W * STRIDE_W + (column ? 0 : POOL_H * STRIDE_H * w - dst_w * POOL_W * STRIDE_W)))

/* r[i] = pixel i, `count` of them, of VEC images, `left` of them and zeros behind, that lie `step` apart; and back. */
static inline void load_strip(vec *r, global const float *p, const ulong step, const int left, const int count)
{
#if STRIP == 1
    float t[VEC] = {0.0f};
    EACH_LANE(i, min(VEC, left)) t[i] = p[i * step];
    r[0] = VLOAD(t);
#else
    for (int i = 0; i < count; i += VEC) {
        const int at = OVERLAP(i, count);
        vec t[VEC];
        if (count >= VEC && left >= VEC) {
            UNROLL for (int j = 0; j < VEC; j++) t[j] = VLOAD(p + j * step + at);
        } else {
            vec edge[VEC];
            for (int j = 0; j < VEC; j++) edge[j] = j < left ? load_part(p + j * step + at, count - at) : 0.0f;
            UNROLL for (int j = 0; j < VEC; j++) t[j] = edge[j];
        }
        transpose_tile(t);
        UNROLL for (int j = 0; j < VEC; j++) r[at + j] = t[j];
    }
#endif
}

static inline void store_strip(const vec *r, global float *p, const ulong step, const int left, const int count)
{
#if STRIP == 1
    float t[VEC];
    VSTORE(r[0], t);
    EACH_LANE(i, min(VEC, left)) p[i * step] = t[i];
#else
    for (int i = 0; i < count; i += VEC) {
        const int at = OVERLAP(i, count);
        vec t[VEC];
        UNROLL for (int j = 0; j < VEC; j++) t[j] = r[at + j];
        transpose_tile(t);
        if (count >= VEC && left >= VEC) {
            UNROLL for (int j = 0; j < VEC; j++) VPUT(t[j], p + j * step + at);
        } else {
            vec edge[VEC];
            UNROLL for (int j = 0; j < VEC; j++) edge[j] = t[j];
            for (int j = 0; j < min(VEC, left); j++) store_part(edge[j], p + j * step + at, count - at);
        }
    }
#endif
}

KERNEL conv2d_pool_lanes(TENSOR_OF(const float, x), TENSOR(out), const ulong x_part, const int n, const uint blocks,
                         const int channels, const int src_h, const int src_w, const int pad_h, const int pad_w CLAIMS)
{
    const int h = src_h + 2 * pad_h, w = src_w + 2 * pad_w;
    x += x_at, out += out_at + x_part;
    EACH_UNIT(u, blocks * channels * h) { /* a row of a plane, which without a border is one row */
        const int  y = u % h - pad_h, c = u / h % channels, first = u / (h * channels) * VEC, count = min(VEC, n - first);
        const bool inside = y >= 0 && y < src_h;
        global float *to = out + LANE(u * w);
        for (int px = (int)get_local_id(0) * VEC; px < w; px += WG * VEC) {
            vec r[VEC];
            EACH_LANE(i, VEC) {
                float t[VEC] = {0.0f};
                const int from = max(px, pad_w), until = min(px + VEC, pad_w + src_w);
                global const float *row = x + (((ulong)(first + i) * channels + c) * src_h + y) * src_w - pad_w;
                if (inside && i < count && from == px && until == px + VEC) {
                    r[i] = VLOAD(row + px);
                    continue;
                }
                if (inside && i < count)
                    EACH_LANE(k, until - px)
                        if (px + k >= from) t[k] = row[px + k];
                r[i] = VLOAD(t);
            }
            transpose_tile(r);
            EACH_LANE(i, min(VEC, w - px)) VPUT(r[i], to + LANE(px + i));
        }
    }
}

KERNEL conv2d_pool(TENSOR_OF(const float, weight), TENSOR_OF(const float, bias), TENSOR(y), const ulong code_part,
                   const ulong x_part, const int n, const uint blocks, const int rows, const int channels, const int h,
                   const int w, const int dst_h, const int dst_w CLAIMS)
{
    y += y_at, weight += weight_at, bias += bias_at;
    global char        *code = (global char *)(y + code_part);
    global const float *x = y + x_part;
    const int  pixels = dst_h * dst_w, taps = channels * WINDOW;
    const uint parts = (rows + ROWS - 1) / ROWS;

    EACH_UNIT(u, blocks * parts) {
        const int   first = u % parts * ROWS, block = u / parts;
        const ivec  behind = WG == 1 ? (ivec)0 : (ivec)(LANES >= n - block * VEC); /* the last image, where a GPU has no place */
        const ulong plane = (ulong)h * w, image = (ulong)rows * pixels;
        global const float *weights[ROWS];
        UNROLL for (int r = 0; r < ROWS; r++) weights[r] = weight + min(first + r, rows - 1) * (ulong)taps;
        for (int p0 = (int)get_local_id(0) * STRIP; p0 < pixels; p0 += WG * STRIP) {
            const int count = STRIP_COUNT(p0, pixels);
            vec tile[ROWS][STRIP];
            global float *to[ROWS];
            UNROLL for (int r = 0; r < ROWS; r++)
                to[r] = y + ((ulong)block * VEC * rows + min(first + r, rows - 1)) * pixels + p0;
            EACH_PIXEL(i, p0, count, corner, x + LANE(block * channels * plane)) {
                global const float *at = corner;
                UNROLL for (int r = 0; r < ROWS; r++) FETCH_LINE(to[r], image, i);
                vec sum[ROWS][PLACES];
                UNROLL for (int r = 0; r < ROWS; r++)
                    UNROLL for (int k = 0; k < PLACES; k++)
#if BIAS
                        sum[r][k] = bias[min(first + r, rows - 1)];
#else
                        sum[r][k] = 0.0f;
#endif
                for (int c = 0; c < channels; c++, at += LANE(plane))
                    UNROLL for (int kh = 0; kh < KH; kh++)
                        UNROLL for (int kw = 0; kw < KW; kw++)
                            UNROLL for (int r = 0; r < ROWS; r++) {
                                const vec s = (weights[r] + (uint)(c * WINDOW))[kh * KW + kw];
                                UNROLL for (int k = 0; k < PLACES; k++)
                                    sum[r][k] = fma(s, TAP(at, k, kh, kw, w), sum[r][k]);
                            }
                UNROLL for (int r = 0; r < ROWS; r++) {
                    vec  best = sum[r][0];
                    ivec place = 0;
                    UNROLL for (int k = 1; k < PLACES; k++) {
                        const ivec take = !(sum[r][k] <= best) & (best == best);
                        best = take ? sum[r][k] : best;
                        place = take ? (ivec)k : place;
                    }
                    tile[r][i] = best < 0.0f ? 0.0f : best;
                    if (first + r < rows)
                        *(global code_vec *)(code + LANE(((ulong)block * rows + first + r) * pixels + p0 + i)) =
                            CODE((best <= 0.0f) | behind ? (ivec)-1 : place);
                }
            }
            UNROLL for (int r = 0; r < ROWS; r++)
                if (first + r < rows) store_strip(tile[r], to[r], image, n - (int)block * VEC, count);
        }
    }
}

#if WG == 1
/* partial[block, row, tap] = the sum over the block's images; tap `taps` is the bias. */
KERNEL conv2d_pool_filter(TENSOR_OF(const float, saved), TENSOR_OF(const float, dy), TENSOR(partial), const ulong code_part,
                          const ulong x_part, const int n, const uint blocks, const int rows, const int channels,
                          const int h, const int w, const int dst_h, const int dst_w CLAIMS)
{
    local float tmp[WG];
    saved += saved_at, dy += dy_at, partial += partial_at;
    global const char  *code = (global const char *)(saved + code_part);
    global const float *x = saved + x_part;
    const int   pixels = dst_h * dst_w, taps = channels * WINDOW;
    const ulong plane = (ulong)h * w, image = (ulong)rows * pixels;

    EACH_UNIT(u, blocks * rows) { /* a row of a block, for more leave no registers */
        const int block = u / rows, row = u % rows, left = n - block * VEC;
        global const float *from = dy + block * VEC * image + row * (ulong)pixels;
        global const char  *codes = code + LANE(u * (ulong)pixels);
        for (int c = 0; c < channels; c++) {
            vec sum[WINDOW], sum_b = 0.0f;
            UNROLL for (int t = 0; t < WINDOW; t++) sum[t] = 0.0f;
            for (int p0 = (int)get_local_id(0) * STRIP; p0 < pixels; p0 += WG * STRIP) {
                const int count = STRIP_COUNT(p0, pixels);
                vec tile[STRIP];
                load_strip(tile, from + p0, image, left, count);
                EACH_PIXEL(i, p0, count, at, x + LANE((block * channels + c) * plane)) {
                    FETCH_LINE(from + min(p0 + STRIP, pixels), image, i);
                    const ivec place = PLACE(*(global const code_vec *)(codes + LANE(p0 + i)));
                    const vec d = place >= 0 ? tile[i] : 0.0f;
                    ivec across = place;
                    UNROLL for (int m = 1; m < POOL_H; m++)
                        across = place >= m * POOL_W ? place - m * POOL_W : across;
                    sum_b += d;
                    UNROLL for (int kh = 0; kh < KH; kh++)
                        UNROLL for (int kw = 0; kw < KW; kw++) { /* the tap of the maximum: its row, then its column */
                            vec v = 0.0f;
                            UNROLL for (int k = 0; k < POOL_W; k++) {
                                vec t = TAP(at, k, kh, kw, w);
                                UNROLL for (int m = 1; m < POOL_H; m++)
                                    t = place >= m * POOL_W ? TAP(at, m * POOL_W + k, kh, kw, w) : t;
                                v = k == 0 ? t : across >= k ? t : v;
                            }
                            sum[kh * KW + kw] = fma(d, v, sum[kh * KW + kw]); /* tests/test_doctor.py edits this */
                        }
                }
            }
            global float *to = partial + u * (ulong)(taps + 1);
            UNROLL for (int t = 0; t < WINDOW; t++) {
                const float all = wg_sum(hsum(sum[t]), tmp);
                if (get_local_id(0) == 0) to[c * WINDOW + t] = all;
            }
            const float all = wg_sum(hsum(sum_b), tmp);
            if (c == 0 && get_local_id(0) == 0) to[taps] = all;
        }
    }
}
#else
/* The gradient where items are many: as a GPU multiplies as fast as it selects, and four times as fast as it reads local memory,
 * nothing is gathered by the maximum's place. An item takes dy apart into what belongs to each place, zeros elsewhere, once for
 * all taps, and multiplies each with all taps. It has FILTER_ROWS channels, for which it reads x once, in pairs, which some
 * devices multiply at once, and of a pixel FILTER_LANES images. Offsets in a share have 32 bits, from bases that all items
 * share: most devices add the two as they read. */
#if FILTER_LANES == 1
typedef float images_at;
typedef uchar codes_at;
#define IMAGE(v, l) (v)
#else
typedef float2 images_at __attribute__((aligned(4)));
typedef uchar2 codes_at;
#define IMAGE(v, l) ((l) == 0 ? (v).x : (v).y)
#endif
#define PAIRS  (FILTER_ROWS / 2)
#define TAPS_B (WINDOW + 1) /* of a channel; the last one is the bias */
#define SUMS   (PAIRS * TAPS_B)
#define HALF   (FILTER_ITEMS / 2)
#define AT(type, p, bytes) (*(global const type *)((global const char *)(p) + (bytes)))

/* Before the products where registers are few, as large windows have them; else behind, where it delays none. */
#define ADD_BIAS                                              \
    UNROLL for (int q = 0; q < PAIRS; q++)                    \
        UNROLL for (int l = 0; l < FILTER_LANES; l++)         \
            sum[q][WINDOW] += where_both(place[q][l].x < PLACES, place[q][l].y < PLACES, d[q][l]);

static inline float2 where_both(const bool first, const bool second, const float2 v)
{
    return (float2)(first ? v.x : 0.0f, second ? v.y : 0.0f);
}

/* A group is (FILTER_ROWS channels, share of the images): partial[share, row, tap], with `blocks` blocks in a share. */
__attribute__((reqd_work_group_size(FILTER_ITEMS, 1, 1))) kernel void
conv2d_pool_filter(TENSOR_OF(const float, saved), TENSOR_OF(const float, dy), TENSOR(partial), const ulong code_part,
                   const ulong x_part, const int n, const uint blocks, const int rows, const int channels, const int h,
                   const int w, const int dst_h, const int dst_w)
{
    local float2 tmp[SUMS * (HALF + 1)];
    const uint  pixels = dst_h * dst_w, taps = channels * WINDOW, me = get_local_id(0), row = get_group_id(0) * FILTER_ROWS;
    const uint  share = get_group_id(1), n0 = share * blocks * VEC, n1 = min(n0 + blocks * VEC, (uint)n);
    const uint  plane = h * w, image = rows * pixels;
    global const uchar *codes[FILTER_ROWS];
    global const float *from[FILTER_ROWS];
    saved += saved_at, partial += partial_at + ((ulong)share * rows + row) * (taps + 1);
    UNROLL for (int r = 0; r < FILTER_ROWS; r++) {
        const uint o = min(row + r, rows - 1u) * pixels;
        codes[r] = (global const uchar *)(saved + code_part) + (ulong)n0 * image + o * VEC;
        from[r] = dy + dy_at + (ulong)n0 * image + o;
    }
    for (int c = 0; c < channels; c++) {
        global const float *x = saved + x_part + ((ulong)n0 * channels + c * VEC) * plane;
        float2 sum[PAIRS][TAPS_B];
        UNROLL for (int i = 0; i < SUMS; i++) sum[i / TAPS_B][i % TAPS_B] = 0.0f;
        for (uint e = me; e < pixels * (VEC / FILTER_LANES); e += FILTER_ITEMS) {
            const uint p = e / (VEC / FILTER_LANES), lane = e % (VEC / FILTER_LANES) * FILTER_LANES;
            uint at = 4 * ((p / dst_w * POOL_H * STRIDE_H * w + p % dst_w * POOL_W * STRIDE_W) * VEC + lane);
            uint at_dy = 4 * (lane * image + p), at_code = e * FILTER_LANES; /* in bytes, as `at` */
            for (uint i = n0 + lane; i < n1; i += VEC) {
                float2 d[PAIRS][FILTER_LANES];
                int2   place[PAIRS][FILTER_LANES];
                UNROLL for (int q = 0; q < PAIRS; q++) {
                    const codes_at first = AT(codes_at, codes[2 * q], at_code), second = AT(codes_at, codes[2 * q + 1], at_code);
                    UNROLL for (int l = 0; l < FILTER_LANES; l++) {
                        const uint there = at_dy + (i + l < n1 ? 4 * l * image : 0); /* behind the last image is no place */
                        d[q][l] = (float2)(AT(float, from[2 * q], there), AT(float, from[2 * q + 1], there));
                        place[q][l] = (int2)(IMAGE(first, l), IMAGE(second, l));
                    }
                }
                if (FILTER_LANES == 1) ADD_BIAS
                UNROLL for (int y = 0; y < POOL_H; y++)
                    UNROLL for (int kw = 0; kw < KW; kw++)
                        UNROLL for (int k = y * POOL_W; k < (y + 1) * POOL_W; k++)
                            UNROLL for (int kh = 0; kh < KH; kh++) {
                                global const float *line = &AT(float, x + (uint)((y * STRIDE_H + kh * DIL_H) * w) * VEC, at);
                                const images_at v = AT(images_at, line, 4 * (k % POOL_W * STRIDE_W + kw * DIL_W) * VEC);
                                UNROLL for (int l = 0; l < FILTER_LANES; l++)
                                    UNROLL for (int q = 0; q < PAIRS; q++)
                                        sum[q][kh * KW + kw] =
                                            fma(where_both(place[q][l].x == k, place[q][l].y == k, d[q][l]),
                                                (float2)IMAGE(v, l), sum[q][kh * KW + kw]);
                            }
                if (FILTER_LANES > 1) ADD_BIAS
                at += 4 * VEC * channels * plane, at_dy += 4 * VEC * image, at_code += VEC * image;
            }
        }
        UNROLL for (int i = 0; i < SUMS; i++)
            if (me >= HALF) tmp[i * (HALF + 1) + me - HALF] = sum[i / TAPS_B][i % TAPS_B];
        barrier(CLK_LOCAL_MEM_FENCE);
        UNROLL for (int i = 0; i < SUMS; i++)
            if (me < HALF) tmp[i * (HALF + 1) + me] += sum[i / TAPS_B][i % TAPS_B];
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint i = me; i < SUMS; i += FILTER_ITEMS) {
            const uint r = i / TAPS_B * 2, t = i % TAPS_B, to = t < WINDOW ? c * WINDOW + t : taps;
            float2 all = 0.0f;
            for (int k = 0; k < HALF; k++) all += tmp[i * (HALF + 1) + k];
            if (to == taps && c > 0) continue;
            if (row + r < rows) partial[r * (taps + 1) + to] = all.x;
            if (row + r + 1 < rows) partial[(r + 1) * (taps + 1) + to] = all.y;
        }
        barrier(CLK_LOCAL_MEM_FENCE); /* what follows overwrites tmp */
    }
}
#endif

KERNEL conv2d_pool_sum(TENSOR_OF(const float, partial), TENSOR(dw), const ulong db_part, const uint blocks,
                       const uint rows, const int taps CLAIMS)
{
    partial += partial_at, dw += dw_at;
    EACH_UNIT(r, rows)
        for (int t = get_local_id(0); t <= taps; t += WG) {
            float sum = 0.0f;
            for (uint b = 0; b < blocks; b++) sum += partial[((ulong)b * rows + r) * (taps + 1) + t];
            if (t < taps) dw[(ulong)r * taps + t] = sum;
            else dw[db_part + r] = sum;
        }
}
