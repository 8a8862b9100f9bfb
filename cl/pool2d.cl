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

#if VEC == 1
typedef int ivec;
#define LANES         0
#define IVSTORE(v, p) (*(p) = (v))
#else
typedef CAT(int, VEC) ivec;
constant int lane_numbers[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#define LANES         CAT(vload, VEC)(0, lane_numbers)
#define IVSTORE(v, p) CAT(vstore, VEC)(v, 0, p)
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
            const ivec inside = PAD_W == 0 ? (ivec)-1 : (col >= 0) & (col < in->w);
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
    const image in = {x + x_at, (ulong)planes * src_h * src_w, src_h, src_w};
    g += g_at, y += y_at;
    EACH_UNIT(u, planes) EACH_STRIP(s, dst_h, dst_w) {
        const int py = STRIP_Y(s, dst_w), px = STRIP_X(s, dst_w), count = min(VEC, dst_w - px);
        const ulong plane = u * (ulong)src_h * src_w;
        ivec where;
        int  tap[VEC];
        window_max(&in, plane, py, px, count, &where);
        IVSTORE(where, tap);
        for (int i = 0; i < count; i++) {
            const int sy = py * STRIDE_H - PAD_H + tap[i] / KW, sx = (px + i) * STRIDE_W - PAD_W + tap[i] % KW;
            y[(u * (ulong)dst_h + py) * dst_w + px + i] = g[plane + sy * src_w + sx];
        }
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
                sum += PAD_W == 0 ? v : (col >= 0) & (col < src_w) ? v : (vec)0.0f;
            }
        }
        float weight[VEC] = {0.0f};
        for (int i = 0; i < count; i++) weight[i] = weight_of(py, px + i, src_h, src_w);
        store_part(sum * VLOAD(weight), y + (u * (ulong)dst_h + py) * dst_w + px, count);
    }
}

#if WG == 1
static inline void clear(global float *p, const int count)
{
    for (int i = 0; i < count; i += VEC) store_part(0.0f, p + i, count - i);
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
            ivec where;
            int  tap[VEC];
            window_max(&in, plane, py, px, count, &where);
            IVSTORE(where, tap);
            for (int i = 0; i < count; i++) {
                const int sy = py * STRIDE_H - PAD_H + tap[i] / KW, sx = (px + i) * STRIDE_W - PAD_W + tap[i] % KW;
                dx[plane + sy * src_w + sx] += dy[(u * (ulong)dst_h + py) * dst_w + px + i];
            }
        }
    }
}

KERNEL avg_pool2d_grad(TENSOR_OF(const float, dy), TENSOR(dx), const uint planes, const int src_h, const int src_w,
                       const int dst_h, const int dst_w)
{
    dy += dy_at, dx += dx_at;
    EACH_UNIT(u, planes) {
        global float *to = dx + u * (ulong)src_h * src_w;
        clear(to, src_h * src_w);
        for (int py = 0; py < dst_h; py++)
            for (int px = 0; px < dst_w; px++) {
                const float d = dy[(u * (ulong)dst_h + py) * dst_w + px] * weight_of(py, px, src_h, src_w);
                const int y0 = py * STRIDE_H - PAD_H, x0 = px * STRIDE_W - PAD_W;
                for (int y = max(y0, 0); y < min(y0 + KH, src_h); y++)
                    for (int x = max(x0, 0); x < min(x0 + KW, src_w); x++) to[y * src_w + x] += d;
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
