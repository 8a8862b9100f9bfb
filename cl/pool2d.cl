/* pool2d.cl - the maximum or the mean of every window of an image, and the gradients.
 *
 * KH, KW, STRIDE_H, STRIDE_W, PAD_H, PAD_W   of the window
 * EXCLUDE_PAD                                1: means divide by the elements inside of the image, not by KH KW
 *
 * x, dx [planes, src_h, src_w], y, dy [planes, dst_h, dst_w]. The first maximum in row-major order wins, NaN before
 * anything else; code [planes, dst_h, dst_w] is its tap. A unit is a plane; VEC windows of one row are lanes. Gradients
 * are gathered: STRIDE_W neighbours of x meet different taps, VEC of each kind are lanes. */
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
#if WG == 1 /* the last strip of a row ends with it, and repeats some of the one before */
#define STRIP_X(s, cols) max(min((s) % (((cols) + VEC - 1) / VEC) * VEC, (cols) - VEC), 0)
#else
#define STRIP_X(s, cols) ((s) % (((cols) + VEC - 1) / VEC) * VEC)
#endif

/* Columns whose steps are read together. */
#if STRIDE_W == 2 && VEC > 1
#define STEPS 2
#else
#define STEPS 1
#endif
#if VEC == 1
#define TO_FLOAT(v) ((float)(v))
#else
#define TO_FLOAT(v) CAT(convert_float, VEC)(v)
#endif

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
    EACH_LANE(i, count)
        if (x + i * STRIDE_W >= 0 && x + i * STRIDE_W < in->w) t[i] = in->data[at + i * STRIDE_W];
    return VLOAD(t);
}

/* v[k] = load_step of column x + k. */
static inline void load_steps(vec v[STEPS], const image *in, const ulong plane, const int y, const int x, const int count)
{
#if STEPS == 2
    const long at = (long)plane + y * in->w + x;
    if (at >= 0 && at + 2 * VEC <= (long)in->size) {
        const vec a = VLOAD(in->data + at), b = VLOAD(in->data + at + VEC);
        v[0] = (vec)(a.even, b.even), v[1] = (vec)(a.odd, b.odd);
        return;
    }
#endif
    UNROLL for (int k = 0; k < STEPS; k++) v[k] = load_step(in, plane, y, x + k, count);
}

/* What one element counts for in the mean of window (py, px). */
static inline float weight_of(const int py, const int px, const int src_h, const int src_w)
{
#if EXCLUDE_PAD
    const int y = py * STRIDE_H - PAD_H, x = px * STRIDE_W - PAD_W;
    return 1.0f / (max(min(y + KH, src_h) - max(y, 0), 1) * max(min(x + KW, src_w) - max(x, 0), 1));
#else
    return 1.0f / (KH * KW);
#endif
}

static inline vec weights_of(const int py, const int px, const int count, const int src_h, const int src_w)
{
    float t[VEC] = {0.0f};
    EACH_LANE(i, count) t[i] = weight_of(py, px + i, src_h, src_w);
    return VLOAD(t);
}

KERNEL max_pool2d(TENSOR_OF(const float, x), TENSOR(y), const ulong code_part, const uint planes, const int src_h,
                  const int src_w, const int dst_h, const int dst_w CLAIMS)
{
    const image in = {x + x_at, (ulong)planes * src_h * src_w, src_h, src_w};
    y += y_at;
    EACH_UNIT(u, planes) EACH_STRIP(s, dst_h, dst_w) {
        const int py = STRIP_Y(s, dst_w), px = STRIP_X(s, dst_w), count = min(VEC, dst_w - px);
        const int  y0 = py * STRIDE_H - PAD_H, x0 = px * STRIDE_W - PAD_W, first = max(-y0, 0), rows = min(KH, src_h - y0);
        const bool whole = x0 >= 0 && x0 + (VEC - 1) * STRIDE_W + KW <= src_w;
        const ivec col = x0 + LANES * STRIDE_W;
        vec best = -INFINITY, found = TO_FLOAT(first * KW + max(-col, 0)); /* the first tap that there is */
        for (int h = first; h < rows; h++)
            UNROLL for (int w = 0; w < KW; w += STEPS) {
                vec v[STEPS];
                load_steps(v, &in, u * (ulong)src_h * src_w, y0 + h, x0 + w, count);
                UNROLL for (int k = 0; k < STEPS && w + k < KW; k++) {
                    const ivec inside = (col >= -w - k) & (col < src_w - w - k);
                    const vec  now = PAD_W == 0 || whole ? v[k] : inside ? v[k] : (vec)-INFINITY; /* that never wins */
                    const ivec take = !(now <= best) & (best == best);
                    best = take ? now : best;
                    found = take ? (vec)(h * KW + w + k) : found;
                }
            }
        global float *to = y + (u * (ulong)dst_h + py) * dst_w + px;
        store_part(best, to, count);
        store_part(found, to + code_part, count);
    }
}

/* y = the element of g where the maximum was. */
KERNEL max_pool2d_pick(TENSOR_OF(const float, code), TENSOR_OF(const float, g), TENSOR(y), const ulong code_part,
                       const uint planes, const int src_h, const int src_w, const int dst_h, const int dst_w CLAIMS)
{
    const image from = {g + g_at, (ulong)planes * src_h * src_w, src_h, src_w};
    code += code_at + code_part, y += y_at;
    EACH_UNIT(u, planes) EACH_STRIP(s, dst_h, dst_w) {
        const int   py = STRIP_Y(s, dst_w), px = STRIP_X(s, dst_w), count = min(VEC, dst_w - px);
        const ulong plane = u * (ulong)src_h * src_w, at = (u * (ulong)dst_h + py) * dst_w + px;
        const vec   found = load_part(code + at, count);
        vec picked = 0.0f;
        for (int tap = 0; tap < KH * KW; tap++) {
            const int sy = py * STRIDE_H - PAD_H + tap / KW, sx = px * STRIDE_W - PAD_W + tap % KW;
            if (sy < 0 || sy >= src_h) continue;
            picked = found == (vec)tap ? load_step(&from, plane, sy, sx, count) : picked;
        }
        store_part(picked, y + at, count);
    }
}

KERNEL avg_pool2d(TENSOR_OF(const float, x), TENSOR(y), const uint planes, const int src_h, const int src_w,
                  const int dst_h, const int dst_w CLAIMS)
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

/* ---- gradients --------------------------------------------------------------------------------------------------- */

/* Windows px, px + 1, ... of row py of the plane that starts at element `plane`; zeros where there are none, but anything
 * if that does not matter. */
static inline vec load_windows(const image *y, const ulong plane, const int py, const int px, const bool matters)
{
    const long at = (long)plane + py * y->w + px;
    const ivec col = px + LANES;
    if (at >= 0 && at + VEC <= (long)y->size) {
        const vec v = VLOAD(y->data + at);
        return !matters || (px >= 0 && px + VEC <= y->w) ? v : ((col >= 0) & (col < y->w)) ? v : (vec)0.0f;
    }
    float t[VEC] = {0.0f};
    EACH_LANE(i, min(VEC, y->w - px))
        if (px + i >= 0) t[i] = y->data[at + i];
    return VLOAD(t);
}

/* p[i * STRIDE_W + phase] = r[phase] lane i, `count` elements in all. */
static inline void store_phases(const vec *r, global float *p, const int count)
{
#if STRIDE_W == 1
    store_part(r[0], p, count);
#else
#if STRIDE_W == 2 && VEC > 1
    if (count >= 2 * VEC) {
        vec lo, hi;
        lo.even = r[0].lo, lo.odd = r[1].lo, hi.even = r[0].hi, hi.odd = r[1].hi;
        VPUT(lo, p);
        VPUT(hi, p + VEC);
        return;
    }
#endif
    float t[VEC];
    UNROLL for (int phase = 0; phase < STRIDE_W; phase++) {
        VSTORE(r[phase], t);
        EACH_LANE(i, min(VEC, (count - phase + STRIDE_W - 1) / STRIDE_W)) p[i * STRIDE_W + phase] = t[i];
    }
#endif
}

/* dx = the sum, over the windows that a pixel lies in, of the share SHARE of dy, whose lanes without one are zeros. */
#define GATHER(SHARE)                                                                                                   \
    EACH_UNIT(u, planes) EACH_STRIP(s, src_h, (src_w + STRIDE_W - 1) / STRIDE_W) {                                      \
        const int   cols = (src_w + STRIDE_W - 1) / STRIDE_W, y = STRIP_Y(s, cols), q = STRIP_X(s, cols);               \
        const ulong plane = u * (ulong)dst_h * dst_w;                                                                   \
        vec r[STRIDE_W];                                                                                                \
        UNROLL for (int phase = 0; phase < STRIDE_W; phase++) {                                                         \
            vec sum = 0.0f;                                                                                             \
            for (int h = 0; h < KH; h++) {                                                                              \
                const int py = (y + PAD_H - h) / STRIDE_H;                                                              \
                if (y + PAD_H < h || (y + PAD_H - h) % STRIDE_H || py >= dst_h) continue;                               \
                UNROLL for (int w = (phase + PAD_W) % STRIDE_W; w < KW; w += STRIDE_W) {                                \
                    const int px = q + (phase + PAD_W - w) / STRIDE_W; /* w - phase - PAD_W divides by STRIDE_W */      \
                    const vec d = load_windows(&from, plane, py, px, true);                                             \
                    sum += SHARE;                                                                                       \
                }                                                                                                       \
            }                                                                                                           \
            r[phase] = sum;                                                                                             \
        }                                                                                                               \
        store_phases(r, dx + (u * (ulong)src_h + y) * src_w + q * STRIDE_W, src_w - q * STRIDE_W);                      \
    }

KERNEL max_pool2d_grad(TENSOR_OF(const float, code), TENSOR_OF(const float, dy), TENSOR(dx), const ulong code_part,
                       const uint planes, const int src_h, const int src_w, const int dst_h, const int dst_w CLAIMS)
{
    const ulong size = (ulong)planes * dst_h * dst_w;
    const image from = {dy + dy_at, size, dst_h, dst_w}, found = {code + code_at + code_part, size, dst_h, dst_w};
    dx += dx_at;
    GATHER(load_windows(&found, plane, py, px, false) == (vec)(h * KW + w) ? d : (vec)0.0f)
}

KERNEL avg_pool2d_grad(TENSOR_OF(const float, dy), TENSOR(dx), const uint planes, const int src_h, const int src_w,
                       const int dst_h, const int dst_w CLAIMS)
{
    const image from = {dy + dy_at, (ulong)planes * dst_h * dst_w, dst_h, dst_w};
    dx += dx_at;
    GATHER(d * weights_of(py, px, VEC, src_h, src_w))
}
