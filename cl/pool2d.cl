/* pool2d.cl - the maximum or the mean of every window of an image, and the gradients.
 *
 * KH, KW, STRIDE_H, STRIDE_W, PAD_H, PAD_W   of the window
 * EXCLUDE_PAD                                1: means divide by the elements inside of the image, not by KH KW
 *
 * x, dx [planes, src_h, src_w], y, dy [planes, dst_h, dst_w]. The first maximum in row-major order wins, NaN before
 * anything else. A unit is a plane; VEC windows of one row are lanes. Where windows overlap, gradients add up: with one
 * item a group they are scattered in order, with more every item gathers for its own pixels. */
#if !defined(KH) || !defined(KW) || !defined(STRIDE_H) || !defined(STRIDE_W) || !defined(PAD_H) || !defined(PAD_W) || \
    !defined(EXCLUDE_PAD)
#error "pool2d.cl needs KH, KW, STRIDE_H, STRIDE_W, PAD_H, PAD_W and EXCLUDE_PAD"
#endif

typedef struct image {
    global const float *data; /* the whole tensor */
    ulong size;               /* its elements */
    int   h, w;
} image;

#define EACH_STRIP(s, rows, cols) \
    for (int s = get_local_id(0); s < (rows) * (((cols) + VEC - 1) / VEC); s += WG)
#define STRIP_Y(s, cols) ((s) / (((cols) + VEC - 1) / VEC))
#define STRIP_X(s, cols) ((s) % (((cols) + VEC - 1) / VEC) * VEC)

/* Columns x, x + STRIDE_W, ... of row y, `count` lanes of them; what lies outside of the row is anything. */
static inline vec load_step(const image *in, const ulong plane, const int y, const int x, const int count)
{
    const long at = (long)plane + y * in->w + x;
#if STRIDE_W == 1
    if (at >= 0 && at + VEC <= (long)in->size) return VLOAD(in->data + at);
#elif STRIDE_W == 2 && VEC > 1
    if (at >= 0 && at + 2 * VEC <= (long)in->size) {
        vec v;
        v.lo = VLOAD(in->data + at).even;
        v.hi = VLOAD(in->data + at + VEC).even;
        return v;
    }
#endif
    float t[VEC] = {0.0f};
    for (int i = 0; i < count; i++)
        if (x + i * STRIDE_W >= 0 && x + i * STRIDE_W < in->w) t[i] = in->data[at + i * STRIDE_W];
    return VLOAD(t);
}

/* What one element counts for in the mean of window (py, px). */
static inline float weight_of(const int py, const int px, const int src_h, const int src_w)
{
#if EXCLUDE_PAD
    const int y = py * STRIDE_H - PAD_H, x = px * STRIDE_W - PAD_W;
    return 1.0f / ((min(y + KH, src_h) - max(y, 0)) * (min(x + KW, src_w) - max(x, 0)));
#else
    return 1.0f / (KH * KW);
#endif
}

static inline vec weights_of(const int py, const int px, const int count, const int src_h, const int src_w)
{
    float t[VEC] = {0.0f};
    for (int i = 0; i < count; i++) t[i] = weight_of(py, px + i, src_h, src_w);
    return VLOAD(t);
}

/* The maxima of the windows at (y, x), (y, x + 1), ..., and in *where the tap that wins. */
static inline vec window_max(const image *in, const ulong plane, const int y, const int x, const int count, ivec *where)
{
    vec  best = -INFINITY;
    ivec found = -1;
    for (int h = 0; h < KH; h++) {
        const int sy = y * STRIDE_H - PAD_H + h;
        if (sy < 0 || sy >= in->h) continue;
        for (int w = 0; w < KW; w++) {
            const int  sx = x * STRIDE_W - PAD_W + w;
            const ivec col = sx + LANES * STRIDE_W;
            const vec  v = load_step(in, plane, sy, sx, count);
            const ivec inside = PAD_W == 0 ? (ivec)-1 : ((col >= 0) & (col < in->w));
            const ivec larger = !(v <= best) & (best == best);
            const ivec take = inside & (larger | (found < 0));
            best = take ? v : best;
            found = take ? (ivec)(h * KW + w) : found;
        }
    }
    *where = found;
    return best;
}

KERNEL max_pool2d(TENSOR_OF(const float, x), TENSOR(y), const uint planes, const int src_h, const int src_w,
                  const int dst_h, const int dst_w)
{
    const image in = {x + x_at, (ulong)planes * src_h * src_w, src_h, src_w};
    y += y_at;
    EACH_UNIT(u, planes) EACH_STRIP(s, dst_h, dst_w) {
        const int py = STRIP_Y(s, dst_w), px = STRIP_X(s, dst_w), count = min(VEC, dst_w - px);
        ivec where;
        const vec best = window_max(&in, u * (ulong)src_h * src_w, py, px, count, &where);
        store_part(best, y + (u * (ulong)dst_h + py) * dst_w + px, count);
    }
}

/* y = the element of g where x has its window's maximum. */
KERNEL max_pool2d_pick(TENSOR_OF(const float, x), TENSOR_OF(const float, g), TENSOR(y), const uint planes,
                       const int src_h, const int src_w, const int dst_h, const int dst_w)
{
    const image in = {x + x_at, (ulong)planes * src_h * src_w, src_h, src_w}, from = {g + g_at, in.size, src_h, src_w};
    y += y_at;
    EACH_UNIT(u, planes) EACH_STRIP(s, dst_h, dst_w) {
        const int py = STRIP_Y(s, dst_w), px = STRIP_X(s, dst_w), count = min(VEC, dst_w - px);
        const ulong plane = u * (ulong)src_h * src_w;
        ivec where;
        vec  picked = 0.0f;
        window_max(&in, plane, py, px, count, &where);
        for (int tap = 0; tap < KH * KW; tap++) {
            const int sy = py * STRIDE_H - PAD_H + tap / KW, sx = px * STRIDE_W - PAD_W + tap % KW;
            if (sy < 0 || sy >= src_h) continue;
            picked = where == tap ? load_step(&from, plane, sy, sx, count) : picked;
        }
        store_part(picked, y + (u * (ulong)dst_h + py) * dst_w + px, count);
    }
}

KERNEL avg_pool2d(TENSOR_OF(const float, x), TENSOR(y), const uint planes, const int src_h, const int src_w,
                  const int dst_h, const int dst_w)
{
    const image in = {x + x_at, (ulong)planes * src_h * src_w, src_h, src_w};
    y += y_at;
    EACH_UNIT(u, planes) EACH_STRIP(s, dst_h, dst_w) {
        const int py = STRIP_Y(s, dst_w), px = STRIP_X(s, dst_w), count = min(VEC, dst_w - px);
        vec sum = 0.0f;
        for (int h = 0; h < KH; h++) {
            const int sy = py * STRIDE_H - PAD_H + h;
            if (sy < 0 || sy >= src_h) continue;
            for (int w = 0; w < KW; w++) {
                const int  sx = px * STRIDE_W - PAD_W + w;
                const ivec col = sx + LANES * STRIDE_W;
                const vec  v = load_step(&in, u * (ulong)src_h * src_w, sy, sx, count);
                sum += PAD_W == 0 ? v : ((col >= 0) & (col < src_w)) ? v : (vec)0.0f;
            }
        }
        store_part(sum * weights_of(py, px, count, src_h, src_w), y + (u * (ulong)dst_h + py) * dst_w + px, count);
    }
}

#if WG == 1
static inline void clear(global float *p, const int count)
{
    for (int i = 0; i < count; i += VEC) store_part(0.0f, p + i, count - i);
}

#if STRIDE_W == 2 && KW <= 2 && KH <= STRIDE_H && PAD_W == 0 && VEC > 1
#define DISJOINT_PAIRS
/* Columns x, x + 2, ... of row y become v0, the ones between v1; both are zero in lanes behind `count`. Whole vectors
 * may reach into the row below when that is written later, as it is where one strip spans the row. */
static inline void put_pairs(global float *plane, const int src_h, const int src_w, const int y, const int x,
                             const vec v0, const vec v1, const int count)
{
    const int at = y * src_w + x;
    vec lo, hi;
    lo.even = v0.lo, lo.odd = v1.lo, hi.even = v0.hi, hi.odd = v1.hi;
    if ((x == 0 && count * 2 + 1 >= src_w && at + 2 * VEC <= src_h * src_w) || count == VEC) {
        VPUT(lo, plane + at);
        VPUT(hi, plane + at + VEC);
    } else {
        store_part(lo, plane + at, 2 * count);
        if (2 * count > VEC) store_part(hi, plane + at + VEC, 2 * count - VEC);
    }
}
#endif

/* load_step's columns += v, which is zero in lanes outside of the row or behind `count`. */
static inline void add_step(global float *plane, const int src_h, const int src_w, const int y, const int x,
                            const vec v, const int count)
{
    const int at = y * src_w + x;
#if STRIDE_W == 1
    if (at >= 0 && at + VEC <= src_h * src_w) {
        VPUT(VLOAD(plane + at) + v, plane + at);
        return;
    }
#elif STRIDE_W == 2 && VEC > 1
    if (at >= 0 && at + 2 * VEC <= src_h * src_w) {
        vec lo = 0.0f, hi = 0.0f;
        lo.even = v.lo, hi.even = v.hi;
        VPUT(VLOAD(plane + at) + lo, plane + at);
        VPUT(VLOAD(plane + at + VEC) + hi, plane + at + VEC);
        return;
    }
#endif
    float t[VEC];
    VSTORE(v, t);
    for (int i = 0; i < count; i++)
        if (x + i * STRIDE_W >= 0 && x + i * STRIDE_W < src_w) plane[at + i * STRIDE_W] += t[i];
}

KERNEL max_pool2d_grad(TENSOR_OF(const float, x), TENSOR_OF(const float, dy), TENSOR(dx), const uint planes,
                       const int src_h, const int src_w, const int dst_h, const int dst_w)
{
    const image in = {x + x_at, (ulong)planes * src_h * src_w, src_h, src_w};
    dy += dy_at, dx += dx_at;
    EACH_UNIT(u, planes) {
        const ulong plane = u * (ulong)src_h * src_w;
        clear(dx + plane, src_h * src_w);
        EACH_STRIP(s, dst_h, dst_w) {
            const int py = STRIP_Y(s, dst_w), px = STRIP_X(s, dst_w), count = min(VEC, dst_w - px);
            const vec d = load_part(dy + (u * (ulong)dst_h + py) * dst_w + px, count);
            ivec where;
            window_max(&in, plane, py, px, count, &where);
#ifdef DISJOINT_PAIRS
            for (int h = 0; h < KH; h++) {
                const int sy = py * STRIDE_H - PAD_H + h;
                if (sy < 0 || sy >= src_h) continue;
                put_pairs(dx + plane, src_h, src_w, sy, px * 2, where == h * KW ? d : (vec)0.0f,
                          where == (KW == 2 ? h * KW + 1 : -2) ? d : (vec)0.0f, count);
            }
#else
            for (int tap = 0; tap < KH * KW; tap++) {
                const int sy = py * STRIDE_H - PAD_H + tap / KW, sx = px * STRIDE_W - PAD_W + tap % KW;
                if (sy < 0 || sy >= src_h) continue;
                add_step(dx + plane, src_h, src_w, sy, sx, where == tap ? d : (vec)0.0f, count);
            }
#endif
        }
    }
}

KERNEL avg_pool2d_grad(TENSOR_OF(const float, dy), TENSOR(dx), const uint planes, const int src_h, const int src_w,
                       const int dst_h, const int dst_w)
{
    dy += dy_at, dx += dx_at;
    EACH_UNIT(u, planes) {
        const ulong plane = u * (ulong)src_h * src_w;
        clear(dx + plane, src_h * src_w);
        EACH_STRIP(s, dst_h, dst_w) {
            const int py = STRIP_Y(s, dst_w), px = STRIP_X(s, dst_w), count = min(VEC, dst_w - px);
            const vec d = load_part(dy + (u * (ulong)dst_h + py) * dst_w + px, count) *
                          weights_of(py, px, count, src_h, src_w);
#ifdef DISJOINT_PAIRS
            for (int h = 0; h < KH; h++) {
                const int sy = py * STRIDE_H - PAD_H + h;
                if (sy >= 0 && sy < src_h)
                    put_pairs(dx + plane, src_h, src_w, sy, px * 2, d, KW == 2 ? d : (vec)0.0f, count);
            }
#else
            for (int tap = 0; tap < KH * KW; tap++) {
                const int  sy = py * STRIDE_H - PAD_H + tap / KW, sx = px * STRIDE_W - PAD_W + tap % KW;
                const ivec col = sx + LANES * STRIDE_W;
                if (sy < 0 || sy >= src_h) continue;
                add_step(dx + plane, src_h, src_w, sy, sx, ((col >= 0) & (col < src_w)) ? d : (vec)0.0f, count);
            }
#endif
        }
    }
}
#else
/* The windows that a pixel lies in: first <= window < end, along one dimension. */
#define FIRST_WINDOW(at, K, S, P)    (max((at) + P - K + S, 0) / S)
#define END_WINDOW(at, S, P, size)   min(((at) + P) / S + 1, size)
#define EACH_WINDOW(py, px, y, x)                                                                              \
    for (int py = FIRST_WINDOW(y, KH, STRIDE_H, PAD_H); py < END_WINDOW(y, STRIDE_H, PAD_H, dst_h); py++)      \
        for (int px = FIRST_WINDOW(x, KW, STRIDE_W, PAD_W); px < END_WINDOW(x, STRIDE_W, PAD_W, dst_w); px++)

/* Whether (y, x) holds the maximum of window (py, px). */
static inline bool wins(global const float *x, const int y, const int col, const int py, const int px, const int src_h,
                        const int src_w)
{
    const int y0 = py * STRIDE_H - PAD_H, x0 = px * STRIDE_W - PAD_W;
    const float mine = x[y * src_w + col];
    for (int h = max(y0, 0); h < min(y0 + KH, src_h); h++)
        for (int w = max(x0, 0); w < min(x0 + KW, src_w); w++) {
            const float v = x[h * src_w + w];
            const bool before = h < y || (h == y && w < col);
            if (isnan(mine) ? isnan(v) && before : isnan(v) || v > mine || (v == mine && before)) return false;
        }
    return true;
}

KERNEL max_pool2d_grad(TENSOR_OF(const float, x), TENSOR_OF(const float, dy), TENSOR(dx), const uint planes,
                       const int src_h, const int src_w, const int dst_h, const int dst_w)
{
    x += x_at, dy += dy_at, dx += dx_at;
    EACH_UNIT(u, planes)
        for (int i = get_local_id(0); i < src_h * src_w; i += WG) {
            const ulong plane = u * (ulong)src_h * src_w;
            const int   row = i / src_w, col = i % src_w;
            float sum = 0.0f;
            EACH_WINDOW(py, px, row, col)
                if (wins(x + plane, row, col, py, px, src_h, src_w)) sum += dy[(u * (ulong)dst_h + py) * dst_w + px];
            dx[plane + i] = sum;
        }
}

KERNEL avg_pool2d_grad(TENSOR_OF(const float, dy), TENSOR(dx), const uint planes, const int src_h, const int src_w,
                       const int dst_h, const int dst_w)
{
    dy += dy_at, dx += dx_at;
    EACH_UNIT(u, planes)
        for (int i = get_local_id(0); i < src_h * src_w; i += WG) {
            float sum = 0.0f;
            EACH_WINDOW(py, px, i / src_w, i % src_w)
                sum += dy[(u * (ulong)dst_h + py) * dst_w + px] * weight_of(py, px, src_h, src_w);
            dx[u * (ulong)src_h * src_w + i] = sum;
        }
}
#endif
