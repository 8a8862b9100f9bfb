/* softmax.cl - softmax and log_softmax along an axis, and their gradients from y and dy.
 *
 * Of the last axis a group takes rows in turn. With WG == 1 and VEC == 16 this is a CPU's vector loop, with WG == 256 and
 * VEC == 1 a GPU's; the body is the same. Of another one, x [outer, length, inner], an item has columns as lanes and walks
 * their rows: kernels _along. An item reads and writes only its own elements, so the result may alias the first input. */

static inline float row_max(global const float *in, const uint n, local float *tmp)
{
    vec m0 = -INFINITY, m1 = -INFINITY; /* two, so that they overlap */
    uint i = get_local_id(0) * VEC;
    for (; i + (WG + 1) * VEC <= n; i += 2 * WG * VEC)
        m0 = fmax(m0, VLOAD(in + i)), m1 = fmax(m1, VLOAD(in + i + WG * VEC));
    for (; i + VEC <= n; i += WG * VEC) m0 = fmax(m0, VLOAD(in + i));
    float max = hmax(fmax(m0, m1));
    EACH_TAIL(t, n) max = fmax(max, in[t]);
    return wg_max(max, tmp);
}

KERNEL softmax(TENSOR(x), TENSOR(y), const uint rows, const uint n CLAIMS)
{
    local float tmp[WG];
    x += x_at, y += y_at;
    EACH_UNIT(r, rows) {
        global const float *in = x + r * (ulong)n;
        global float *out = y + r * (ulong)n;
        const float max = row_max(in, n, tmp);
        vec vsum = 0.0f;
        EACH_VEC(i, n) {
            const vec e = exp(VLOAD(in + i) - max);
            VPUT(e, out + i);
            vsum += e;
        }
        float sum = hsum(vsum);
        EACH_TAIL(i, n) sum += out[i] = exp(in[i] - max);
        const float scale = 1.0f / wg_sum(sum, tmp);

        EACH_VEC(i, n) VPUT(VLOAD(out + i) * scale, out + i);
        EACH_TAIL(i, n) out[i] *= scale;
    }
}

KERNEL log_softmax(TENSOR(x), TENSOR(y), const uint rows, const uint n CLAIMS)
{
    local float tmp[WG];
    x += x_at, y += y_at;
    EACH_UNIT(r, rows) {
        global const float *in = x + r * (ulong)n;
        global float *out = y + r * (ulong)n;
        const float max = row_max(in, n, tmp);
        vec vsum = 0.0f;
        EACH_VEC(i, n) vsum += exp(VLOAD(in + i) - max);
        float sum = hsum(vsum);
        EACH_TAIL(i, n) sum += exp(in[i] - max);
        const float log_sum = log(wg_sum(sum, tmp)); /* subtracted after max: x - max loses nothing */

        EACH_VEC(i, n) VPUT(VLOAD(in + i) - max - log_sum, out + i);
        EACH_TAIL(i, n) out[i] = in[i] - max - log_sum;
    }
}

KERNEL softmax_grad(TENSOR(y), TENSOR(dy), TENSOR(dx), const uint rows, const uint n CLAIMS)
{
    local float tmp[WG];
    y += y_at, dy += dy_at, dx += dx_at;
    EACH_UNIT(r, rows) {
        const ulong at = r * (ulong)n;
        vec vdot = 0.0f;
        EACH_VEC(i, n) vdot += VLOAD(y + at + i) * VLOAD(dy + at + i);
        float dot = hsum(vdot);
        EACH_TAIL(i, n) dot += y[at + i] * dy[at + i];
        dot = wg_sum(dot, tmp);

        EACH_VEC(i, n) VPUT(VLOAD(y + at + i) * (VLOAD(dy + at + i) - dot), dx + at + i);
        EACH_TAIL(i, n) dx[at + i] = y[at + i] * (dy[at + i] - dot);
    }
}

KERNEL log_softmax_grad(TENSOR(y), TENSOR(dy), TENSOR(dx), const uint rows, const uint n CLAIMS)
{
    local float tmp[WG];
    y += y_at, dy += dy_at, dx += dx_at;
    EACH_UNIT(r, rows) {
        const ulong at = r * (ulong)n;
        vec vsum = 0.0f;
        EACH_VEC(i, n) vsum += VLOAD(dy + at + i);
        float sum = hsum(vsum);
        EACH_TAIL(i, n) sum += dy[at + i];
        sum = wg_sum(sum, tmp);

        EACH_VEC(i, n) VPUT(VLOAD(dy + at + i) - exp(VLOAD(y + at + i)) * sum, dx + at + i);
        EACH_TAIL(i, n) dx[at + i] = dy[at + i] - exp(y[at + i]) * sum;
    }
}

/* An item has n columns: on a CPU `width` at most, a strip of whole cache lines; on a GPU one, beside its neighbours'. */
#if WG == 1
typedef vec col;
#define STRIP      64 /* vectors */
#define UNITS      (outer * ((inner + width - 1) / width))
#define EACH_COL(v) for (uint v = 0; v < (n + VEC - 1) / VEC; v++)
#define COL(p)      load_part((p) + at + v * VEC, n - v * VEC)
#define COL_PUT(c, p) store_part(c, (p) + at + v * VEC, n - v * VEC)
#define COLUMNS(u)                                                                                       \
    const uint strips = (inner + width - 1) / width, n = min(width, inner - (u) % strips * width);       \
    const ulong first = (u) / strips * (ulong)length * inner + (u) % strips * width;
#else
typedef float col;
#define STRIP      1
#define UNITS      ((outer * inner + WG - 1) / WG)
#define EACH_COL(v) UNROLL for (uint v = 0; v < 1; v++) if (n)
#define COL(p)      (p)[at]
#define COL_PUT(c, p) (p)[at] = (c)
#define COLUMNS(u)                                                                                       \
    const uint mine = (u) * WG + get_local_id(0), n = mine < outer * inner;                              \
    const ulong first = mine / inner * (ulong)length * inner + mine % inner;
#endif
#define EACH_AT for (ulong at = first; at < first + (ulong)length * inner; at += inner)
#define EXTENTS const uint outer, const uint length, const uint inner, const uint width

static inline void max_and_sum(col *max, col *sum, global const float *x, const ulong first, const uint length,
                               const uint inner, const uint n)
{
    EACH_COL(v) max[v] = -INFINITY, sum[v] = 0.0f;
    EACH_AT EACH_COL(v) max[v] = fmax(max[v], COL(x));
    EACH_AT EACH_COL(v) sum[v] += exp(COL(x) - max[v]);
}

KERNEL softmax_along(TENSOR(x), TENSOR(y), EXTENTS CLAIMS)
{
    x += x_at, y += y_at;
    EACH_UNIT(u, UNITS) {
        COLUMNS(u)
        col max[STRIP], scale[STRIP];
        max_and_sum(max, scale, x, first, length, inner, n);
        EACH_COL(v) scale[v] = 1.0f / scale[v];
        EACH_AT EACH_COL(v) COL_PUT(exp(COL(x) - max[v]) * scale[v], y);
    }
}

KERNEL log_softmax_along(TENSOR(x), TENSOR(y), EXTENTS CLAIMS)
{
    x += x_at, y += y_at;
    EACH_UNIT(u, UNITS) {
        COLUMNS(u)
        col max[STRIP], sum[STRIP];
        max_and_sum(max, sum, x, first, length, inner, n);
        EACH_COL(v) sum[v] = log(sum[v]);
        EACH_AT EACH_COL(v) COL_PUT(COL(x) - max[v] - sum[v], y);
    }
}

KERNEL softmax_grad_along(TENSOR(y), TENSOR(dy), TENSOR(dx), EXTENTS CLAIMS)
{
    y += y_at, dy += dy_at, dx += dx_at;
    EACH_UNIT(u, UNITS) {
        COLUMNS(u)
        col dot[STRIP];
        EACH_COL(v) dot[v] = 0.0f;
        EACH_AT EACH_COL(v) dot[v] += COL(y) * COL(dy);
        EACH_AT EACH_COL(v) COL_PUT(COL(y) * (COL(dy) - dot[v]), dx);
    }
}

KERNEL log_softmax_grad_along(TENSOR(y), TENSOR(dy), TENSOR(dx), EXTENTS CLAIMS)
{
    y += y_at, dy += dy_at, dx += dx_at;
    EACH_UNIT(u, UNITS) {
        COLUMNS(u)
        col sum[STRIP];
        EACH_COL(v) sum[v] = 0.0f;
        EACH_AT EACH_COL(v) sum[v] += COL(dy);
        EACH_AT EACH_COL(v) COL_PUT(COL(dy) - exp(COL(y)) * sum[v], dx);
    }
}
