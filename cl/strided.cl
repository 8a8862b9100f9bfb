/* strided.cl - y[y_first + sum c_d ys_d] = x[x_first + sum c_d xs_d] over a box of at most six dimensions, and what goes
 * with it. Elements are four bytes of any type; `add` adds them as floats.
 *
 * The innermost extent is n, the others make `rows`. One item a group takes rows in turn, many items chunks of CHUNK
 * elements, whatever their row: rows may be short. */
#define CHUNK (WG * 4)

#if VEC == 1
typedef uint uvec;
#define PUT(v, p) (*(p) = (v))
#define AS_VEC    as_float
#define AS_UVEC   as_uint
#else
typedef CAT(uint, VEC) uvec;
typedef CAT(uint, VEC) uvec_at __attribute__((aligned(4)));
#define PUT(v, p) (*(global uvec_at *)(p) = (v))
#define AS_VEC    CAT(as_float, VEC)
#define AS_UVEC   CAT(as_uint, VEC)
#endif

KERNEL strided(TENSOR_OF(uint, x), TENSOR_OF(uint, y), const ulong x_first, const ulong y_first, const uint rows,
               const uint e1, const uint e2, const uint e3, const uint e4, const uint n, const uint xs0, const uint xs1,
               const uint xs2, const uint xs3, const uint xs4, const uint xs5, const uint ys0, const uint ys1,
               const uint ys2, const uint ys3, const uint ys4, const uint ys5, const uint add)
{
    x += x_at + x_first, y += y_at + y_first;
#define CORNERS(row)                                                                                                \
    uint r = row;                                                                                                   \
    const uint c4 = r % e4; r /= e4;                                                                                \
    const uint c3 = r % e3; r /= e3;                                                                                \
    const uint c2 = r % e2; r /= e2;                                                                                \
    const uint c1 = r % e1; r /= e1;                                                                                \
    global const uint *in = x + (ulong)r * xs0 + (ulong)c1 * xs1 + (ulong)c2 * xs2 + (ulong)c3 * xs3 + (ulong)c4 * xs4; \
    global uint *out = y + (ulong)r * ys0 + (ulong)c1 * ys1 + (ulong)c2 * ys2 + (ulong)c3 * ys3 + (ulong)c4 * ys4;
#define ELEMENT(i)                                                                                                  \
    {                                                                                                               \
        const uint v = in[(ulong)(i) * xs5];                                                                        \
        global uint *to = out + (ulong)(i) * ys5;                                                                   \
        *to = add ? as_uint(as_float(*to) + as_float(v)) : v;                                                       \
    }
#if WG == 1
    EACH_ROW(row, rows) {
        CORNERS(row)
        if (xs5 == 1 && ys5 == 1) {
            EACH_VEC(i, n) {
                const uvec v = VLOAD(in + i);
                PUT(add ? AS_UVEC(AS_VEC(VLOAD(out + i)) + AS_VEC(v)) : v, out + i);
            }
            EACH_TAIL(i, n) ELEMENT(i)
        } else {
            for (uint i = 0; i < n; i++) ELEMENT(i)
        }
    }
#else
    const ulong total = (ulong)rows * n;
    EACH_UNIT(u, (uint)((total + CHUNK - 1) / CHUNK))
    for (ulong at = (ulong)u * CHUNK + get_local_id(0); at < min(total, ((ulong)u + 1) * CHUNK); at += WG) {
        CORNERS((uint)(at / n))
        ELEMENT((uint)(at % n))
    }
#endif
}

KERNEL strided_fill(TENSOR_OF(uint, y), const ulong count, const uint value)
{
    y += y_at;
    for (ulong i = get_global_id(0) * VEC; i + VEC <= count; i += get_global_size(0) * VEC) PUT((uvec)value, y + i);
    for (ulong i = count - count % VEC + get_global_id(0); i < count; i += get_global_size(0)) y[i] = value;
}

/* y = x, unless they are the same memory. */
KERNEL strided_keep(TENSOR_OF(uint, x), TENSOR_OF(uint, y), const ulong count)
{
    x += x_at, y += y_at;
    if (x == y) return;
    for (ulong i = get_global_id(0) * VEC; i + VEC <= count; i += get_global_size(0) * VEC) PUT(VLOAD(x + i), y + i);
    for (ulong i = count - count % VEC + get_global_id(0); i < count; i += get_global_size(0)) y[i] = x[i];
}
