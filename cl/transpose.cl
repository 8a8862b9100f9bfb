/* transpose.cl - y[o, j, m, i, c] = x[o, i, m, j, c]: exchanges the extents d1 and d2 around `middle`.
 *
 * A group takes rows (o, j, m) of the result, d1 x inner contiguous elements each, in turn. */
KERNEL transpose(TENSOR(x), TENSOR(y), const uint rows, const uint d1, const uint middle, const uint d2, const uint inner)
{
    x += x_at, y += y_at;
    EACH_ROW(r, rows) {
        const uint m = r % middle, j = r / middle % d2, o = r / middle / d2;
        global const float *in = x + (((ulong)o * d1 * middle + m) * d2 + j) * inner;
        global float *out = y + (ulong)r * d1 * inner;
        const ulong step = (ulong)middle * d2 * inner;
        if (inner == 1) {
            for (uint i = get_local_id(0); i < d1; i += WG) out[i] = in[i * step];
        } else {
            for (uint i = 0; i < d1; i++)
                for (uint c = get_local_id(0); c < inner; c += WG) out[(ulong)i * inner + c] = in[i * step + c];
        }
    }
}
