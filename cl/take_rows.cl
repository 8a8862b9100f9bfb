/* take_rows.cl - y[i] = table[index[i]] * scale + shift; a group takes rows of y in turn.
 *
 * FROM, TO     types of the table and of the result
 * CONVERT(x)   the result for an element of the table, in terms of scale and shift
 * MISSING      the result where the index is out of range */
#if !defined(FROM) || !defined(TO) || !defined(CONVERT) || !defined(MISSING)
#error "take_rows.cl needs FROM, TO, CONVERT and MISSING"
#endif

KERNEL take_rows(TENSOR_OF(FROM, table), TENSOR_OF(int, index), TENSOR_OF(TO, y), const uint rows, const uint width,
                 const int have, const float scale, const float shift CLAIMS)
{
    table += table_at, index += index_at, y += y_at;
    EACH_UNIT(r, rows) {
        const int at = index[r];
        global TO *out = y + r * (ulong)width;
        global const FROM *in = table + (at < 0 ? 0 : at) * (ulong)width;
        if (at < 0 || at >= have)
            for (uint i = get_local_id(0); i < width; i += WG) out[i] = MISSING;
        else
            for (uint i = get_local_id(0); i < width; i += WG) out[i] = CONVERT(in[i]);
    }
}
