/* layer_norm.cl - layer normalisation of rows of n, and its gradients: formulas in src/ops/layer_norm.c.
 *
 * A group takes rows in turn; a row is read from memory once and from the cache after that. An item reads and writes only
 * its own elements, so y may lie where x lies. */

typedef struct moments {
    float mean, scale;
} moments;

/* Two passes: a variance by differences of large numbers would lose what layer_norm is there to keep. */
static inline moments moments_of(global const float *in, const uint n, const float eps, local float *tmp)
{
    vec v0 = 0.0f, v1 = 0.0f; /* two, so that additions overlap */
    uint i = get_local_id(0) * VEC;
    for (; i + (WG + 1) * VEC <= n; i += 2 * WG * VEC) v0 += VLOAD(in + i), v1 += VLOAD(in + i + WG * VEC);
    for (; i + VEC <= n; i += WG * VEC) v0 += VLOAD(in + i);
    float sum = hsum(v0 + v1);
    EACH_TAIL(t, n) sum += in[t];
    const float mean = wg_sum(sum, tmp) / n;

    v0 = 0.0f, v1 = 0.0f;
    for (i = get_local_id(0) * VEC; i + (WG + 1) * VEC <= n; i += 2 * WG * VEC) {
        const vec a = VLOAD(in + i) - mean, b = VLOAD(in + i + WG * VEC) - mean;
        v0 = fma(a, a, v0), v1 = fma(b, b, v1);
    }
    for (; i + VEC <= n; i += WG * VEC) {
        const vec a = VLOAD(in + i) - mean;
        v0 = fma(a, a, v0);
    }
    sum = hsum(v0 + v1);
    EACH_TAIL(t, n) sum = fma(in[t] - mean, in[t] - mean, sum);
    return (moments){mean, 1.0f / sqrt(wg_sum(sum, tmp) / n + eps)};
}

KERNEL layer_norm(TENSOR(x), TENSOR(gain), TENSOR(bias), TENSOR(y), const uint rows, const uint n, const float eps CLAIMS)
{
    local float tmp[WG];
    x += x_at, gain += gain_at, bias += bias_at, y += y_at;
    EACH_UNIT(r, rows) {
        global const float *in = x + r * (ulong)n;
        global float *out = y + r * (ulong)n;
        const moments m = moments_of(in, n, eps, tmp);
        EACH_VEC(i, n) VPUT(fma((VLOAD(in + i) - m.mean) * m.scale, VLOAD(gain + i), VLOAD(bias + i)), out + i);
        EACH_TAIL(i, n) out[i] = fma((in[i] - m.mean) * m.scale, gain[i], bias[i]);
    }
}

/* sums [groups, 2, n]: the share of dgain and dbias of each group's rows. `with` is added to dx if it is to be. */
KERNEL layer_norm_grad(TENSOR(x), TENSOR(gain), TENSOR(dy), TENSOR(with), TENSOR(dx), TENSOR(sums), const uint rows,
                       const uint n, const float eps, const uint adds)
{
    local float tmp[WG];
    x += x_at, gain += gain_at, dy += dy_at, with += with_at, dx += dx_at;
    global float *dgain = sums + sums_at + get_group_id(0) * 2 * (ulong)n, *dbias = dgain + n;
    EACH_VEC(i, n) VPUT((vec)0.0f, dgain + i), VPUT((vec)0.0f, dbias + i);
    EACH_TAIL(i, n) dgain[i] = dbias[i] = 0.0f;
    EACH_OWN_UNIT(r, rows) {
        const ulong at = r * (ulong)n;
        const moments m = moments_of(x + at, n, eps, tmp);
        vec vsum = 0.0f, vdot = 0.0f;
        EACH_VEC(i, n) {
            const vec d = VLOAD(dy + at + i), q = d * VLOAD(gain + i), xh = (VLOAD(x + at + i) - m.mean) * m.scale;
            vsum += q, vdot = fma(q, xh, vdot);
            VPUT(fma(d, xh, VLOAD(dgain + i)), dgain + i);
            VPUT(d + VLOAD(dbias + i), dbias + i);
        }
        float sum = hsum(vsum), dot = hsum(vdot);
        EACH_TAIL(i, n) {
            const float d = dy[at + i], q = d * gain[i], xh = (x[at + i] - m.mean) * m.scale;
            sum += q, dot = fma(q, xh, dot);
            dgain[i] = fma(d, xh, dgain[i]);
            dbias[i] += d;
        }
        sum = wg_sum(sum, tmp) / n, dot = wg_sum(dot, tmp) / n;

        EACH_VEC(i, n) {
            const vec xh = (VLOAD(x + at + i) - m.mean) * m.scale, add = adds ? VLOAD(with + at + i) : (vec)0.0f;
            VPUT((VLOAD(dy + at + i) * VLOAD(gain + i) - sum - xh * dot) * m.scale + add, dx + at + i);
        }
        EACH_TAIL(i, n)
            dx[at + i] = (dy[at + i] * gain[i] - sum - (x[at + i] - m.mean) * m.scale * dot) * m.scale +
                         (adds ? with[at + i] : 0.0f);
    }
}

/* The groups' shares joined in their order; a unit is 64 columns. */
KERNEL layer_norm_join(TENSOR(sums), TENSOR(out), const uint groups, const uint n, const ulong gain_at, const ulong bias_at CLAIMS)
{
    sums += sums_at, out += out_at;
    EACH_UNIT(u, (n + 63) / 64)
        for (uint i = u * 64 + get_local_id(0); i < min(n, u * 64 + 64); i += WG) {
            float dgain = 0.0f, dbias = 0.0f;
            for (uint g = 0; g < groups; g++) {
                dgain += sums[g * 2 * (ulong)n + i];
                dbias += sums[(g * 2 + 1) * (ulong)n + i];
            }
            out[gain_at + i] = dgain, out[bias_at + i] = dbias;
        }
}
