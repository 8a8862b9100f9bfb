/* embedding.cl - rows of a table, and the sum of what flows back into each row.
 *
 * x [rows, width], index [count] -> y [count, width]; dy [count, width], index -> dx [rows, width]. In the gradient unit
 * u of all groups owns the rows u, u + groups, ...: nobody else writes there, so that no addition needs an atomic. */

KERNEL embedding(TENSOR(x), TENSOR_OF(int, index), TENSOR(y), const uint count, const uint width, const uint rows CLAIMS)
{
    x += x_at, index += index_at, y += y_at;
    EACH_UNIT(r, count) {
        const uint at = index[r]; /* a negative one is beyond the end too */
        global const float *in = x + (at < rows ? at : 0) * (ulong)width;
        global float *out = y + r * (ulong)width;
        EACH_VEC(i, width) VPUT(at < rows ? VLOAD(in + i) : (vec)0.0f, out + i);
        EACH_TAIL(i, width) out[i] = at < rows ? in[i] : 0.0f;
    }
}

KERNEL embedding_grad(TENSOR(dy), TENSOR_OF(int, index), TENSOR(dx), const uint count, const uint width,
                      const uint rows)
{
    const uint me = get_group_id(0), groups = get_num_groups(0);
    dy += dy_at, index += index_at, dx += dx_at;
    for (uint r = me; r < rows; r += groups) {
        global float *out = dx + r * (ulong)width;
        EACH_VEC(i, width) VPUT((vec)0.0f, out + i);
        EACH_TAIL(i, width) out[i] = 0.0f;
    }
    for (uint k = 0; k < count; k++) { /* an item adds only to its own elements: no barrier */
        const uint at = index[k];
        if (at >= rows || at % groups != me) continue;
        global const float *in = dy + k * (ulong)width;
        global float *out = dx + at * (ulong)width;
        EACH_VEC(i, width) VPUT(VLOAD(out + i) + VLOAD(in + i), out + i);
        EACH_TAIL(i, width) out[i] += in[i];
    }
}
