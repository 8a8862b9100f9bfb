/* gather.cl - y[o, j, i] = x[o, index[o, j, i], i], and the sum of what flows back; zeros for an index out of range.
 *
 * x [outer, length, inner], index and y [outer, count, inner]. In the gradient an item owns a column (o, i): it adds in the
 * order of j, and nobody else writes there. */

KERNEL gather(TENSOR(x), TENSOR_OF(int, index), TENSOR(y), const uint outer, const uint length, const uint count,
              const uint inner CLAIMS)
{
    const uint n = count * inner;
    x += x_at, index += index_at, y += y_at;
    EACH_UNIT(o, outer) {
        global const float *in = x + (ulong)o * length * inner;
        for (uint e = get_local_id(0); e < n; e += WG) {
            const uint at = index[(ulong)o * n + e]; /* a negative one is beyond the end too */
            y[(ulong)o * n + e] = at < length ? in[(ulong)at * inner + e % inner] : 0.0f;
        }
    }
}

KERNEL gather_grad(TENSOR(dy), TENSOR_OF(int, index), TENSOR(dx), const uint outer, const uint length, const uint count,
                   const uint inner CLAIMS)
{
    const uint strips = (inner + WG * VEC - 1) / (WG * VEC);
    dy += dy_at, index += index_at, dx += dx_at;
    EACH_UNIT(u, outer * strips) {
        const uint o = u / strips, from = u % strips * (WG * VEC);
        global const float *in = dy + (ulong)o * count * inner;
        global const int *place = index + (ulong)o * count * inner;
        global float *out = dx + (ulong)o * length * inner;
        for (uint i = from + get_local_id(0); i < min(inner, from + WG * VEC); i += WG) {
            for (uint k = 0; k < length; k++) out[(ulong)k * inner + i] = 0.0f;
            for (uint j = 0; j < count; j++) {
                const uint at = place[(ulong)j * inner + i];
                if (at < length) out[(ulong)at * inner + i] += in[(ulong)j * inner + i];
            }
        }
    }
}
