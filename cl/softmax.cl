/* softmax.cl - softmax and log_softmax over the last axis, and their gradients from y and dy.
 *
 * A group takes rows in turn. With WG == 1 and VEC == 16 this is a CPU's vector loop, with WG == 256 and VEC == 1 a
 * GPU's; the body is the same. An item reads and writes only its own elements, so the result may alias the first input. */

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

KERNEL softmax(TENSOR(x), TENSOR(y), const uint rows, const uint n)
{
    local float tmp[WG];
    x += x_at, y += y_at;
    EACH_ROW(r, rows) {
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

KERNEL log_softmax(TENSOR(x), TENSOR(y), const uint rows, const uint n)
{
    local float tmp[WG];
    x += x_at, y += y_at;
    EACH_ROW(r, rows) {
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

KERNEL softmax_grad(TENSOR(y), TENSOR(dy), TENSOR(dx), const uint rows, const uint n)
{
    local float tmp[WG];
    y += y_at, dy += dy_at, dx += dx_at;
    EACH_ROW(r, rows) {
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

KERNEL log_softmax_grad(TENSOR(y), TENSOR(dy), TENSOR(dx), const uint rows, const uint n)
{
    local float tmp[WG];
    y += y_at, dy += dy_at, dx += dx_at;
    EACH_ROW(r, rows) {
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
