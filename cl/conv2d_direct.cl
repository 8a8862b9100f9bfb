/* conv2d_direct.cl - any convolution and its gradients on a CPU, without a matrix of gathered pixels, but from a copy of
 * a region of the image that has its border of zeros. Output channels are lanes, and pixels of a row are broadcast;
 * where a group has few outputs, as in a depthwise convolution, pixels are lanes, and weights are broadcast.
 *
 * STEP                     forward, backward filter: pixels of the region from one output to the next along a row
 * FILTER                   1: the kernels of backward filter, 0: of forward and backward data
 * NARROW                   pixels are lanes: so many outputs at a time, 1 to 4; 0: outputs are lanes
 * BIAS, OTHER, CHANNELS, EPILOGUE, TILE_*   as in conv2d.cl, TILE_SIDE being 1
 * PAST                     1: results are more than the caches hold, and go past them
 *
 * All three of an axis: output `at` meets pixel at * stride + tap * dil - pad. Backward data falls into as many phases
 * as there are remainders of `at` by the stride: output phase + i * stride meets pixel i + offset of dy, for those taps
 * for which this divides. Each phase is a convolution with stride 1; forward is a single one.
 *
 * Sizes are those of a group: `channels` in, `outputs` out. A block is high x wide of a phase's outputs; of a region
 * [channels][plane], rows of `cols`, every skip-th pixel is kept, where a window of one tap needs no others.
 *
 * conv2d_pack     weight -> packed [group][K / NR][phase][channel][tap of the phase][NR]
 * conv2d_direct   a unit is a block of an image and group: its region is copied once for all outputs; about `depth`
 *                 products are summed in registers at a time, without those of rows of zeros
 * conv2d_share    backward filter, a unit is a share of all rows of dy: partial [share][group][K / NR][C KH KW][NR]
 * conv2d_add      partial -> dw
 *
 * With pixels as lanes, a region [channels][plane] is parted by the remainders of its rows and columns by the steps,
 * [step_h * STEP][rows][pitch]: a tap then lies at one distance from every output of a block, whose rows, of `pitch`, follow
 * each other as one long row. What is summed in a row's border is never stored.
 *
 * conv2d_narrow   a unit is a block of an image and group
 * conv2d_narrow_filter   a unit is a group in a share of the images: partial [share][weight]. An infinity or a NaN of x may
 *                 spread to taps beside those that meet it
 * conv2d_narrow_add      partial -> dw */
#if !defined(STEP) || !defined(FILTER) || !defined(NARROW) || !defined(BIAS) || !defined(OTHER) || !defined(CHANNELS) || !defined(EPILOGUE) || \
    !defined(PAST) || !defined(TILE_SIDE)
#error "conv2d_direct.cl needs STEP, FILTER, NARROW, BIAS, OTHER, CHANNELS, EPILOGUE, PAST, TILE_SIDE, TILE_M, TILE_N and TILE_K"
#endif
#define NR (TILE_N * VEC)
#define MOST_TAPS 256 /* of a window, and of a window in a few channels */
#define MOST_ROWS 64  /* of a block */
#define MOST_LISTS 4  /* of the taps that rows of a block meet */
#define MOST_PHASES 64

typedef struct axis {
    int taps, stride, pad, dil, back;
} axis;

static inline int phases_of(const axis *a) { return a->back ? a->stride : 1; }

static inline int phase_of(const axis *a, const int tap)
{
    const int n = phases_of(a), at = (tap * a->dil - a->pad) % n;
    return at < 0 ? at + n : at;
}

static inline int taps_of_phase(const axis *a, const int phase, const int end)
{
    int n = 0;
    for (int tap = 0; tap < end; tap++) n += phase_of(a, tap) == phase;
    return n;
}

static inline int offset_of(const axis *a, const int tap)
{
    return a->back ? (phase_of(a, tap) + a->pad - tap * a->dil) / a->stride : tap * a->dil - a->pad;
}

#define AXES const int kh, const int kw, const int stride_h, const int stride_w, const int pad_h, const int pad_w, \
             const int dil_h, const int dil_w, const int back
#define AXIS_H {kh, stride_h, pad_h, dil_h, back}
#define AXIS_W {kw, stride_w, pad_w, dil_w, back}
#define SHAPE const int n, const int groups, const int channels, const int outputs, const int src_h, const int src_w, \
              const int dst_h, const int dst_w
#if !NARROW
/* low: what the first output meets at its first tap; rows, cols: of a region; step_h as STEP */
#define REGION const int high, const int wide, const int low_h, const int low_w, const int rows, const int cols, \
               const int plane, const int step_h, const int skip_h, const int skip_w

/* to [channels][plane] = rows of `cols` pixels from (y0, x0) on, each skip-th of them, with zeros outside of the image;
 * `inside` elements from x on may be read. Up to a vector may be written behind a row, before the next one is. */
static inline void copy_region(global float *to, global const float *x, const ulong inside, const int channels,
                               const int src_h, const int src_w, const int y0, const int x0, const int rows,
                               const int cols, const int plane, const int skip_h, const int skip_w)
{
    const int begin = clamp((skip_w - 1 - x0) / skip_w, 0, cols);
    const int end = clamp((src_w - x0 + skip_w - 1) / skip_w, begin, cols);
    for (int c = 0; c < channels; c++)
        for (int i = 0; i < rows; i++) {
            global float *row = to + (ulong)c * plane + i * cols;
            const int   y = y0 + i * skip_h;
            const ulong at = ((ulong)c * src_h + y) * src_w; /* of an image's row */
            if (y < 0 || y >= src_h || begin == end) {
                for (int p = 0; p < cols; p += VEC) VPUT((vec)0.0f, row + p);
                continue;
            }
            for (int p = 0; p < begin; p++) row[p] = 0.0f;
            if (skip_w == 1 && (end - begin >= VEC || at + x0 + begin + VEC <= inside))
                for (int p = begin; p < end; p += VEC) {
                    const int from = max(min(p, end - VEC), begin); /* the last vector may overlap the one before */
                    VPUT(VLOAD(x + at + (x0 + from)), row + from);
                }
            else
                for (int p = begin; p < end; p++) row[p] = x[at + (x0 + p * skip_w)];
            for (int p = end; p < cols; p++) row[p] = 0.0f;
        }
}

#if !FILTER
/* Asks for what copy_region will want of one row of so many channels; `from` is its first pixel, or near it. */
static inline void fetch_row(global const float *from, const int channels, const ulong src, const int count)
{
    for (int c = 0; c < channels; c++)
        for (int p = 0; p < count; p += 16) FETCH(from + c * src + p);
}

TILE_KERNEL conv2d_pack(TENSOR_OF(const float, weight), TENSOR(packed), const int groups, const int channels,
                        const int outputs, AXES CLAIMS)
{
    const axis  h = AXIS_H, w = AXIS_W;
    const int   window = kh * kw, count = channels * window, parts = (outputs + NR - 1) / NR;
    const ulong row_step = back ? window : count, channel_step = back ? outputs * window : window;
    weight += weight_at, packed += packed_at;
    EACH_UNIT(unit, groups * parts) {
        const int k0 = unit % parts * NR;
        global float *to = packed + (ulong)unit * count * NR;
        const ulong first = unit / parts * (ulong)outputs * count, size = (ulong)groups * outputs * count;
        for (int v = 0; v < NR && k0 + v < outputs && !back; v += VEC) {
            const ulong at = first + (k0 + v) * row_step;
            for (int i = 0; i < count; i += VEC) {
                vec r[VEC];
                load_turned(r, weight + at + i, row_step, min(VEC, outputs - k0 - v), count - i, size - at - i);
                UNROLL for (int j = 0; j < VEC; j++)
                    if (j < count - i) VPUT(r[j], to + (ulong)(i + j) * NR + v);
            }
        }
        for (int q = 0; q < window && back; q += VEC) {
            int place[VEC], step[VEC];
            for (int j = 0; j < VEC && q + j < window; j++) { /* where the first channel's tap goes */
                const int tap_h = (q + j) / kw, tap_w = (q + j) % kw;
                const int eh = phase_of(&h, tap_h), ew = phase_of(&w, tap_w);
                const int across = taps_of_phase(&w, ew, kw);
                int before = 0;
                for (int e = 0; e < eh * phases_of(&w) + ew; e++)
                    before += taps_of_phase(&h, e / phases_of(&w), kh) * taps_of_phase(&w, e % phases_of(&w), kw);
                step[j] = taps_of_phase(&h, eh, kh) * across;
                place[j] = before * channels + taps_of_phase(&h, eh, tap_h) * across + taps_of_phase(&w, ew, tap_w);
            }
            for (int c = 0; c < channels; c++)
                for (int v = 0; v < NR && k0 + v < outputs; v += VEC) {
                    const int   lanes = min(VEC, outputs - k0 - v);
                    const ulong from = first + (k0 + v) * row_step + c * channel_step + q;
                    vec r[VEC];
                    if (window == 1)
                        r[0] = load_part(weight + from, lanes);
                    else
                        load_turned(r, weight + from, row_step, lanes, window - q, size - from);
                    UNROLL for (int j = 0; j < VEC; j++)
                        if (q + j < window) VPUT(r[j], to + (ulong)(place[j] + c * step[j]) * NR + v);
                }
        }
    }
}

/* Parts of the taps: at LEFT ones the first pixel of a row lies beside the image, at RIGHT ones the last. */
enum { LEFT, INSIDE, RIGHT, PARTS };

/* The taps in a few channels of those rows of the window, from the region's row `first` to `end`, that lie in the image:
 * where they lie in the region, and their weights; part by part, of which one has start[part] to start[part + 1] a channel. */
typedef struct list {
    int  first, end, start[PARTS + 1];
    int2 at[MOST_TAPS];
} list;

static inline void take_taps(list *l, const int first, const int end, const int *row, const int *col, const int *part,
                             const int taps, const int channels, const int plane, const int cols)
{
    int n = 0, each = 0;
    l->first = first, l->end = end;
    for (int g = 0; g < PARTS; g++) {
        l->start[g] = each;
        for (int t = 0; t < taps; t++) each += part[t] == g && row[t] >= first && row[t] < end;
        for (int c = 0; each > l->start[g] && c < channels; c++)
            for (int t = 0; t < taps; t++)
                if (part[t] == g && row[t] >= first && row[t] < end)
                    l->at[n++] = (int2)(c * plane + row[t] * cols + col[t], (c * taps + t) * NR);
    }
    l->start[PARTS] = each;
}

/* acc += sum over taps of a[at.x + i * STEP] times w [at.y][NR], in pixels from `first` to `end`. */
static inline __attribute__((always_inline)) void add_taps(vec acc[TILE_M][TILE_N], global const float *a,
                                                           const int2 *at, global const float *w, const int taps,
                                                           const int first, const int end)
{
    for (int k = 0; k < taps; k++) {
        global const float *from = a + at[k].x, *weight = w + at[k].y;
        vec b[TILE_N];
        UNROLL for (int j = 0; j < TILE_N; j++) b[j] = VLOAD(weight + j * VEC);
        UNROLL for (int i = 0; i < TILE_M; i++) {
            if (i < first || i >= end) continue;
            const vec s = from[i * STEP];
            UNROLL for (int j = 0; j < TILE_N; j++) acc[i][j] = fma(s, b[j], acc[i][j]);
        }
    }
}

/* m [TILE_M] at m_step (+)= the list's taps in `some` of its `channels` */
static inline void multiply(global float *m, const int m_step, global const float *a, const list *l, global const float *w,
                            const int some, const int channels, const bool leftmost, const bool rightmost, const bool add)
{
    vec acc[TILE_M][TILE_N];
    UNROLL for (int i = 0; i < TILE_M; i++)
        UNROLL for (int j = 0; j < TILE_N; j++) acc[i][j] = add ? VLOAD(m + i * m_step + j * VEC) : (vec)0.0f;
    for (int g = 0; g < PARTS; g++) {
        const int2 *at = l->at + l->start[g] * channels;
        const int   taps = (l->start[g + 1] - l->start[g]) * some;
        if (g == LEFT && leftmost) add_taps(acc, a, at, w, taps, 1, TILE_M);
        else if (g == RIGHT && rightmost) add_taps(acc, a, at, w, taps, 0, TILE_M - 1);
        else add_taps(acc, a, at, w, taps, 0, TILE_M);
    }
    UNROLL for (int i = 0; i < TILE_M; i++)
        UNROLL for (int j = 0; j < TILE_N; j++) VPUT(acc[i][j], m + i * m_step + j * VEC);
}

TILE_KERNEL conv2d_direct(TENSOR_OF(const float, packed), TENSOR_OF(const float, x), OPERANDS, TENSOR(y),
                          TENSOR(scratch), const ulong scratch_size, SHAPE, AXES, REGION, const int depth CLAIMS)
{
    const axis h = AXIS_H, w = AXIS_W;
    const int  up_h = phases_of(&h), up_w = phases_of(&w), window = kh * kw;
    const uint down = ((dst_h + up_h - 1) / up_h + high - 1) / high;
    const uint across = ((dst_w + up_w - 1) / up_w + wide - 1) / wide;
    const int  padded = (wide + TILE_M - 1) / TILE_M * TILE_M, pitch = padded * up_w;
    const ulong src = (ulong)src_h * src_w, dst = (ulong)dst_h * dst_w;
    global float *region = scratch + scratch_at + get_group_id(0) * scratch_size, *m = region + (ulong)channels * plane;
    const operands with = OPERANDS_OF((ulong)n * groups * outputs * dst);
    packed += packed_at, x += x_at, y += y_at;

    EACH_UNIT(unit, n * groups * down * across) {
        const int row0 = unit / across % down * high, col0 = unit % across * wide;
        const int count = min(high, (dst_h + up_h - 1) / up_h - row0);
        const ulong ng = unit / (down * across), g = ng % groups;
        const int   left = col0 * STEP * skip_w + low_w, top = row0 * step_h * skip_h + low_h;
        copy_region(region, x + ng * channels * src, (n * groups - ng) * channels * src, channels, src_h, src_w,
                    top, left, rows - (high - count) * step_h, cols, plane, skip_h, skip_w);
        /* rows of the region from `begin` to `inside` are the image's */
        const int   begin = (skip_h - 1 - top) / skip_h, inside = (src_h - top + skip_h - 1) / skip_h;
        const uint  next = unit + 1;
        const ulong row1 = next / across % down * high * step_h * skip_h, col1 = next % across * wide * STEP * skip_w;
        const ulong ahead = next / (down * across) * channels * src + row1 * src_w + col1; /* its region, but for the border */
        for (int k = 0; k < outputs; k += NR) {
            global const float *weight = packed + (g * ((outputs + NR - 1) / NR) + k / NR) * channels * window * NR;
            for (int e = 0; e < up_h * up_w; e++) {
                const int eh = e / up_w, ew = e % up_w;
                const int taps = taps_of_phase(&h, eh, kh) * taps_of_phase(&w, ew, kw);
                const int chunk = taps > 0 ? clamp(depth / taps, 1, channels) : channels;
                int tap_row[MOST_TAPS], tap_col[MOST_TAPS], part[MOST_TAPS], known = 0, spread = 0;
                int list_of[MOST_ROWS], lists = 0;
                for (int t = 0; t < window; t++)
                    if (phase_of(&h, t / kw) == eh && phase_of(&w, t % kw) == ew) {
                        tap_row[known] = (offset_of(&h, t / kw) - low_h) / skip_h;
                        tap_col[known] = (offset_of(&w, t % kw) - low_w) / skip_w;
                        const int begins = left + tap_col[known] * skip_w, ends = begins + (padded - 1) * STEP * skip_w;
                        part[known] = begins < 0 ? LEFT : ends >= src_w ? RIGHT : INSIDE;
                        spread = max(spread, tap_row[known++] + 1);
                    }
                list all[MOST_LISTS];
                for (int i = -1; i < count; i++) { /* the first has all taps, and serves rows for which there is no other */
                    const int first = i < 0 ? 0 : clamp(begin - i * step_h, 0, spread);
                    const int end = i < 0 ? spread : clamp(inside - i * step_h, first, spread);
                    int l = 0;
                    while (l < lists && (all[l].first != first || all[l].end != end)) l++;
                    if (l == lists && lists < MOST_LISTS)
                        take_taps(&all[lists++], first, end, tap_row, tap_col, part, taps, chunk, plane, cols);
                    if (i >= 0) list_of[i] = l < lists ? l : 0;
                }
                global float *to = m + (eh * pitch + ew) * NR;
                for (int c = 0; c < channels; c += chunk) {
                    const int some = min(chunk, channels - c);
                    for (int i = 0; i < count; i++) {
                        if (k == 0 && e == 0 && next < unit_end)
                            fetch_row(x + ahead + (ulong)c * src + i * step_h * skip_h * src_w, some, src, cols * skip_w);
                        for (int p = 0; p < padded; p += TILE_M)
                            multiply(to + (i * up_h * pitch + p * up_w) * NR, up_w * NR,
                                     region + (ulong)c * plane + i * step_h * cols + p * STEP, &all[list_of[i]], weight,
                                     some, chunk, p == 0, p + TILE_M == padded, c > 0);
                    }
                    weight += (ulong)some * taps * NR;
                }
            }
            const int y0 = row0 * up_h, x0 = col0 * up_w, width = min(wide * up_w, dst_w - x0);
            const int tall = min(count * up_h, dst_h - y0), runs = pitch == dst_w ? 1 : tall;
            const int length = tall * width / runs;
            for (int v = 0; v < NR && k + v < outputs; v += VEC) {
                const int lanes = min(VEC, outputs - k - v);
                const ulong out = (ng * outputs + k + v) * dst + (ulong)y0 * dst_w + x0;
                for (int run = 0; run < runs; run++)
                    for (int p = 0; p < length; p += VEC) {
                        const int from = max(min(p, length - VEC), 0);
                        vec r[VEC];
                        UNROLL for (int j = 0; j < VEC; j++) r[j] = VLOAD(m + (ulong)(run * pitch + from + j) * NR + v);
                        finish_turned(r, &with, y, out + (ulong)run * dst_w + from, g * outputs + k + v, dst, lanes,
                                      length - from);
                    }
            }
        }
    }
}
#else
#define SUM_M (VEC == 16 ? 8 : VEC < 4 ? VEC : 4) /* taps whose sums are in registers */

/* to [SUM_M][NR] (+)= sum over rows and their pixels of region[row + offset + p * STEP] times dy [pixel][NR] */
static inline void multiply(global float *to, global const float *region, const int *row, const int rows, const int wide,
                            global const int *offset, global const float *dy, const bool add)
{
    vec acc[SUM_M][TILE_N];
    UNROLL for (int i = 0; i < SUM_M; i++)
        UNROLL for (int j = 0; j < TILE_N; j++) acc[i][j] = add ? VLOAD(to + i * NR + j * VEC) : (vec)0.0f;
    for (int r = 0; r < rows; r++) {
        global const float *from[SUM_M];
        UNROLL for (int i = 0; i < SUM_M; i++) from[i] = region + row[r] + offset[i];
        for (int p = 0; p < wide; p++, dy += NR) {
            vec b[TILE_N];
            UNROLL for (int j = 0; j < TILE_N; j++) b[j] = VLOAD(dy + j * VEC);
            UNROLL for (int i = 0; i < SUM_M; i++) {
                const vec s = from[i][p * STEP];
                UNROLL for (int j = 0; j < TILE_N; j++) acc[i][j] = fma(s, b[j], acc[i][j]);
            }
        }
    }
    UNROLL for (int i = 0; i < SUM_M; i++)
        UNROLL for (int j = 0; j < TILE_N; j++) VPUT(acc[i][j], to + i * NR + j * VEC);
}

TILE_KERNEL conv2d_share(TENSOR_OF(const float, x), TENSOR_OF(const float, dy), TENSOR(partial), TENSOR(scratch),
                         const ulong scratch_size, SHAPE, AXES, REGION, const int shares CLAIMS)
{
    const axis  h = AXIS_H, w = AXIS_W;
    const int   window = kh * kw, taps = channels * window, kept = (taps + SUM_M - 1) / SUM_M * SUM_M;
    const ulong src = (ulong)src_h * src_w, dst = (ulong)dst_h * dst_w, parts = (outputs + NR - 1) / NR;
    const ulong blocks = ((ulong)n * dst_h + high - 1) / high; /* wide is dst_w */
    global float *region = scratch + scratch_at + get_group_id(0) * scratch_size;
    global float *turned = region + (ulong)channels * plane;
    global int *offset = (global int *)(turned + (ulong)(high * wide + VEC) * NR);
    x += x_at, dy += dy_at, partial += partial_at;

    for (int t = 0; t < kept; t++) {
        const int tap = min(t, taps - 1) % window;
        offset[t] = min(t, taps - 1) / window * plane + tap / kw * dil_h / skip_h * cols + tap % kw * dil_w / skip_w;
    }
    EACH_UNIT(share, shares) {
        const ulong b0 = share * blocks / shares, b1 = (share + 1) * blocks / shares;
        for (ulong b = b0; b < b1; b++)
            for (int g = 0; g < groups; g++) {
                const ulong row0 = b * high, row1 = min(row0 + high, (ulong)n * dst_h);
                int start[MOST_ROWS], used = 0;
                for (ulong row = row0; row < row1;) { /* rows of one image at a time */
                    const ulong image = row / dst_h;
                    const int top = row % dst_h, count = min((int)(row1 - row), dst_h - top);
                    const int tall = (count - 1) * step_h + rows; /* rows: of a window */
                    const ulong first = (image * groups + g) * channels * src;
                    copy_region(region + used * cols, x + first, (ulong)n * groups * channels * src - first, channels,
                                src_h, src_w, top * step_h * skip_h + low_h, low_w, tall, cols, plane, skip_h, skip_w);
                    for (int i = 0; i < count; i++) start[row - row0 + i] = (used + i * step_h) * cols;
                    row += count, used += tall;
                }
                for (int k = 0; k < outputs; k += NR) {
                    for (int v = 0; v < NR && k + v < outputs; v += VEC)
                        for (ulong row = row0, count; row < row1; row += count) {
                            const ulong image = row / dst_h;
                            const ulong plane_of = (image * groups + g) * outputs + k + v;
                            count = min(row1 - row, dst_h - row % dst_h);
                            global const float *from = dy + plane_of * dst + row % dst_h * wide;
                            const int length = count * wide;
                            for (int p = 0; p < length; p += VEC) {
                                const int at = max(min(p, length - VEC), 0);
                                vec r[VEC];
                                load_turned(r, from + at, dst, min(VEC, outputs - k - v), length - at, 0);
                                UNROLL for (int j = 0; j < VEC; j++)
                                    if (j < length - at) VPUT(r[j], turned + ((row - row0) * wide + at + j) * NR + v);
                            }
                        }
                    global float *to = partial + ((share * groups + g) * parts + k / NR) * kept * NR;
                    for (int t = 0; t < taps; t += SUM_M)
                        multiply(to + t * NR, region, start, row1 - row0, wide, offset + t, turned, b > b0);
                }
            }
    }
}

TILE_KERNEL conv2d_add(TENSOR_OF(const float, partial), TENSOR(dw), const int groups, const int outputs, const int taps,
                       const int shares CLAIMS)
{
    const int   kept = (taps + SUM_M - 1) / SUM_M * SUM_M, parts = (outputs + NR - 1) / NR;
    const int   vectors = (outputs + VEC - 1) / VEC;
    const ulong each = (ulong)kept * NR;
    partial += partial_at, dw += dw_at;
    EACH_UNIT(unit, groups * vectors) {
        const int g = unit / vectors, k = unit % vectors * VEC;
        global const float *from = partial + ((ulong)g * parts + k / NR) * each + k % NR;
        for (int p = 0; p < taps; p += VEC) {
            const int i = max(min(p, taps - VEC), 0);
            vec r[VEC];
            UNROLL for (int j = 0; j < VEC; j++) r[j] = VLOAD(from + (ulong)(i + j) * NR);
            for (int s = 1; s < shares; s++)
                UNROLL for (int j = 0; j < VEC; j++)
                    r[j] += VLOAD(from + (ulong)s * groups * parts * each + (ulong)(i + j) * NR);
            store_turned(r, dw + ((ulong)g * outputs + k) * taps + i, taps, min(VEC, outputs - k), taps - i);
        }
    }
}
#endif
#else
#define BLOCK const int high, const int wide, const int low_h, const int low_w, const int rows, const int pitch, \
              const int plane, const int step_h
#define RUN (NARROW > 2 ? 2 : 4) /* vectors of a row at a time */

/* VEC pixels, STEP apart. */
static inline vec load_apart(global const float *p)
{
#if STEP == 1 || VEC == 1
    return VLOAD(p);
#elif STEP == 2
    const vec a = VLOAD(p), b = VLOAD(p + VEC);
    return (vec)(a.even, b.even);
#else
    float t[VEC];
    for (int i = 0; i < VEC; i++) t[i] = p[i * STEP];
    return VLOAD(t);
#endif
}

/* to [channels][plane] = the region whose first pixel is (y0, x0), zeros outside of the image; `inside` elements from x on
 * may be read. Up to a vector is written behind a row, before the next one is; zeros behind the last. */
static inline void part_region(global float *to, global const float *x, const ulong inside, const int channels,
                               const int src_h, const int src_w, const int y0, const int x0, const int rows,
                               const int pitch, const int plane, const int step_h)
{
    for (int c = 0; c < channels; c++, to += plane) {
        for (int part = 0; part < step_h * STEP; part++) {
            const int left = x0 + part % STEP, first = clamp((STEP - 1 - left) / STEP, 0, pitch);
            const int last = clamp((src_w - left + STEP - 1) / STEP, first, pitch);
            for (int r = 0; r < rows; r++) {
                global float *row = to + (part * rows + r) * pitch;
                const int   y = y0 + r * step_h + part / STEP;
                const int   begin = y >= 0 && y < src_h ? first : pitch, end = y >= 0 && y < src_h ? last : pitch;
                const ulong at = ((ulong)c * src_h + y) * src_w + left; /* of column 0, where the row is the image's */
                for (int p = 0; p < begin; p += VEC) VPUT((vec)0.0f, row + p);
                for (int p = begin; p < end; p += VEC)
                    if (at + (ulong)(p + VEC) * STEP <= inside) VPUT(load_apart(x + at + p * STEP), row + p);
                    else for (int i = p; i < min(p + VEC, end); i++) row[i] = x[at + i * STEP];
                for (int p = end; p < pitch; p += VEC) VPUT((vec)0.0f, row + p);
            }
        }
        for (int p = step_h * STEP * rows * pitch; p < plane; p++) to[p] = 0.0f;
    }
}

/* Where the taps of phase (eh, ew) lie in the region from an output's place on, and which they are; how many. */
static inline int find_taps(int *at, int *tap, const axis *h, const axis *w, const int eh, const int ew, const int low_h,
                            const int low_w, const int rows, const int pitch, const int step_h)
{
    int n = 0;
    for (int t = 0; t < h->taps * w->taps; t++) {
        const int down = offset_of(h, t / w->taps) - low_h, across = offset_of(w, t % w->taps) - low_w;
        if (phase_of(h, t / w->taps) != eh || phase_of(w, t % w->taps) != ew) continue;
        at[n] = ((down % step_h * STEP + across % STEP) * rows + down / step_h) * pitch + across / STEP;
        tap[n++] = t;
    }
    return n;
}

#if !FILTER
/* m [NARROW] at m_step, of `length` = sums over channels and taps */
static inline void sum_rows(global float *m, const int m_step, const int length, global const float *region, const int plane,
                            const int channels, global const float *weight, const ulong *row, const ulong channel_step,
                            const int *at, const int *tap, const int taps)
{
    for (int p = 0; p < length; p += RUN * VEC) {
        vec acc[NARROW][RUN];
        UNROLL for (int j = 0; j < NARROW; j++) UNROLL for (int r = 0; r < RUN; r++) acc[j][r] = 0.0f;
        for (int c = 0; c < channels; c++)
            for (int t = 0; t < taps; t++) {
                global const float *from = region + c * plane + p + at[t], *by = weight + c * channel_step + tap[t];
                vec v[RUN];
                UNROLL for (int r = 0; r < RUN; r++) v[r] = VLOAD(from + r * VEC);
                UNROLL for (int j = 0; j < NARROW; j++) {
                    const vec s = by[row[j]];
                    UNROLL for (int r = 0; r < RUN; r++) acc[j][r] = fma(s, v[r], acc[j][r]);
                }
            }
        UNROLL for (int j = 0; j < NARROW; j++)
            UNROLL for (int r = 0; r < RUN; r++) VPUT(acc[j][r], m + j * m_step + p + r * VEC);
    }
}

/* VEC neighbours, from p on, of a row that `phases` rows, m_step apart, make in turn; where these are several, p is a
 * multiple of VEC. */
static inline vec load_phases(global const float *m, const int p, const int phases, const int m_step)
{
    if (phases == 1) return VLOAD(m + p);
#if VEC > 1
    if (phases == 2) {
        vec v;
        v.even = VLOAD(m + p / 2).lo, v.odd = VLOAD(m + m_step + p / 2).lo;
        return v;
    }
#endif
    float t[VEC];
    for (int i = 0, e = p % phases, at = p / phases; i < VEC; i++) {
        t[i] = m[e * m_step + at];
        if (++e == phases) e = 0, at++;
    }
    return VLOAD(t);
}

TILE_KERNEL conv2d_narrow(TENSOR_OF(const float, weight), TENSOR_OF(const float, x), OPERANDS, TENSOR(y), TENSOR(scratch),
                          const ulong scratch_size, SHAPE, AXES, BLOCK CLAIMS)
{
    const axis  h = AXIS_H, w = AXIS_W;
    const int   up_h = phases_of(&h), up_w = phases_of(&w), window = kh * kw;
    const int   length = (high * pitch + RUN * VEC - 1) / (RUN * VEC) * (RUN * VEC), m_step = length * up_h * up_w;
    const uint  down = ((dst_h + up_h - 1) / up_h + high - 1) / high;
    const uint  across = ((dst_w + up_w - 1) / up_w + wide - 1) / wide;
    const ulong src = (ulong)src_h * src_w, dst = (ulong)dst_h * dst_w;
    const ulong row_step = back ? window : channels * window, channel_step = back ? outputs * window : window;
    global float *region = scratch + scratch_at + get_group_id(0) * scratch_size, *m = region + (ulong)channels * plane;
    const operands with = OPERANDS_OF((ulong)n * groups * outputs * dst);
    int at[MOST_TAPS], tap[MOST_TAPS], first[MOST_PHASES + 1];
    first[0] = 0;
    for (int e = 0; e < up_h * up_w; e++)
        first[e + 1] = first[e] + find_taps(at + first[e], tap + first[e], &h, &w, e / up_w, e % up_w, low_h, low_w, rows, pitch,
                                            step_h);
    weight += weight_at, x += x_at, y += y_at;

    EACH_UNIT(unit, n * groups * down * across) {
        const int   row0 = unit / across % down * high, col0 = unit % across * wide;
        const ulong ng = unit / (down * across), g = ng % groups;
        part_region(region, x + ng * channels * src, (n * groups - ng) * channels * src, channels, src_h, src_w,
                    row0 * step_h + low_h, col0 * STEP + low_w, rows, pitch, plane, step_h);
        const int y0 = row0 * up_h, x0 = col0 * up_w, tall = min(high * up_h, dst_h - y0), width = min(wide * up_w, dst_w - x0);
        for (int k = 0; k < outputs; k += NARROW) {
            ulong row[NARROW];
            UNROLL for (int j = 0; j < NARROW; j++) row[j] = min(k + j, outputs - 1) * row_step;
            for (int e = 0; e < up_h * up_w; e++)
                sum_rows(m + e * length, m_step, length, region, plane, channels,
                         weight + g * outputs * channels * window, row, channel_step, at + first[e], tap + first[e],
                         first[e + 1] - first[e]);
            for (int j = 0; j < NARROW && k + j < outputs; j++) {
                const ulong channel = g * outputs + k + j, out = (ng * outputs + k + j) * dst + (ulong)y0 * dst_w + x0;
                const vec add = BIAS ? with.bias[channel] : 0.0f, c = CHANNELS > 0 ? with.channel0[channel] : 0.0f;
                const vec d = CHANNELS > 1 ? with.channel1[channel] : 0.0f;
                for (int i = 0; i < tall; i++)
                    for (int p = 0; p < width; p += VEC) {
                        /* A row's last vector overlaps the one before, or begins the next row, which is written after it. */
                        const int   from = up_w == 1 ? max(min(p, width - VEC), 0) : p;
                        const int   left = (width == dst_w ? (tall - i) * width : width) - from;
                        const ulong to = out + (ulong)i * dst_w + from;
                        vec sum = load_phases(m + j * m_step + i % up_h * up_w * length + i / up_h * pitch, from, up_w, length);
                        const vec b = OTHER ? load_part(with.other + to, left) : (vec)0.0f;
                        if (BIAS) sum += add;
                        store_part(EPILOGUE(vec, sum, b, c, d), y + to, left);
                    }
            }
        }
    }
}
#else
#define TAPS 9 /* whose sums are in registers */

TILE_KERNEL conv2d_narrow_filter(TENSOR_OF(const float, x), TENSOR_OF(const float, dy), TENSOR(partial), TENSOR(scratch),
                                 const ulong scratch_size, SHAPE, AXES, BLOCK, const int shares CLAIMS)
{
    const axis  h = AXIS_H, w = AXIS_W;
    const int   window = kh * kw, sums = outputs * channels * window, length = (high * pitch + VEC - 1) / VEC * VEC;
    const ulong src = (ulong)src_h * src_w, dst = (ulong)dst_h * dst_w, size = (ulong)n * groups * outputs * dst;
    const int   down = (dst_h + high - 1) / high, across = (dst_w + wide - 1) / wide;
    global float *region = scratch + scratch_at + get_group_id(0) * scratch_size, *padded = region + (ulong)channels * plane;
    global float *sum = padded + length + VEC; /* [sums][VEC] */
    int at[MOST_TAPS], tap[MOST_TAPS];
    find_taps(at, tap, &h, &w, 0, 0, low_h, low_w, rows, pitch, step_h);
    x += x_at, dy += dy_at, partial += partial_at;

    EACH_UNIT(unit, shares * groups) {
        const int   share = unit / groups, g = unit % groups;
        const ulong first = (ulong)share * n / shares, end = ((ulong)share + 1) * n / shares;
        for (int i = 0; i < sums; i++) VPUT((vec)0.0f, sum + i * VEC);
        for (ulong image = first; image < end; image++)
            for (int b = 0; b < down * across; b++) {
                const ulong ng = image * groups + g;
                const int   row0 = b / across * high, col0 = b % across * wide;
                const int   tall = min(high, dst_h - row0), width = min(wide, dst_w - col0);
                part_region(region, x + ng * channels * src, ((ulong)n * groups - ng) * channels * src, channels, src_h, src_w,
                            row0 * step_h + low_h, col0 * STEP + low_w, rows, pitch, plane, step_h);
                for (int k = 0; k < outputs; k++) {
                    for (int i = 0; i < tall; i++) {
                        const ulong from = (ng * outputs + k) * dst + (ulong)(row0 + i) * dst_w + col0;
                        for (int p = 0; p < width; p += VEC)
                            VPUT(load_part(dy + from + p, min(size - from - p, (ulong)VEC)), padded + i * pitch + p);
                        for (int p = width; p < pitch; p++) padded[i * pitch + p] = 0.0f;
                    }
                    for (int p = tall * pitch; p < length; p++) padded[p] = 0.0f;
                    for (int c = 0; c < channels; c++)
                        for (int t = 0; t < window; t += TAPS) {
                            global float *to = sum + ((k * channels + c) * window + t) * VEC;
                            global const float *from[TAPS];
                            vec acc[TAPS];
                            UNROLL for (int q = 0; q < TAPS; q++) {
                                from[q] = region + c * plane + at[min(t + q, window - 1)];
                                acc[q] = 0.0f;
                            }
                            for (int p = 0; p < tall * pitch; p += VEC) {
                                const vec d = VLOAD(padded + p);
                                UNROLL for (int q = 0; q < TAPS; q++) acc[q] = fma(d, VLOAD(from[q] + p), acc[q]);
                            }
                            UNROLL for (int q = 0; q < TAPS; q++)
                                if (t + q < window) VPUT(VLOAD(to + q * VEC) + acc[q], to + q * VEC);
                        }
                }
            }
        for (int i = 0; i < sums; i++) partial[((ulong)share * groups + g) * sums + i] = hsum(VLOAD(sum + i * VEC));
    }
}

TILE_KERNEL conv2d_narrow_add(TENSOR_OF(const float, partial), TENSOR(dw), const int count, const int shares CLAIMS)
{
    partial += partial_at, dw += dw_at;
    EACH_UNIT(unit, (count + VEC - 1) / VEC) {
        const int i = unit * VEC;
        vec sum = 0.0f;
        for (int s = 0; s < shares; s++) sum += load_part(partial + (ulong)s * count + i, count - i);
        store_part(sum, dw + i, count - i);
    }
}
#endif
#endif
