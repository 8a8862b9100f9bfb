/* strided.cl - y[y_first + sum c_d ys_d] = x[x_first + sum c_d xs_d] over a box of at most six dimensions, and what goes
 * with it. Elements are four bytes of any type; `add` adds them as floats.
 *
 * strided: the innermost extent is n, the others make `rows`. One item a group takes rows in turn, many items chunks of
 * CHUNK elements, whatever their row: rows may be short.
 *
 * turned: neighbours in x (dimension 4) are none in y (dimension 5). A unit is a block of both, small enough for a cache: one
 * item turns tiles in registers, the last of a row moved back over the one before; many pass it through local memory, where
 * an odd pitch spares the banks. The other dimensions make `rows`. */
#define CHUNK (WG * 4)
#define BLOCK 1536 /* elements of a block; with the pitch, for side 32 in src/ops/strided.c */

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

#define BOX                                                                                                         \
    TENSOR_OF(uint, x), TENSOR_OF(uint, y), const ulong x_first, const ulong y_first, const uint rows, const uint e1, \
    const uint e2, const uint e3, const uint e4, const uint n, const uint xs0, const uint xs1, const uint xs2,      \
    const uint xs3, const uint xs4, const uint xs5, const uint ys0, const uint ys1, const uint ys2, const uint ys3, \
    const uint ys4, const uint ys5
/* Where in x and y the dimensions 0 to 3 begin. */
#define CORNERS(row)                                                                                             \
    uint r = row;                                                                                                \
    const uint c3 = r % e3; r /= e3;                                                                             \
    const uint c2 = r % e2; r /= e2;                                                                             \
    const uint c1 = r % e1; r /= e1;                                                                             \
    global const uint *in = x + (ulong)r * xs0 + (ulong)c1 * xs1 + (ulong)c2 * xs2 + (ulong)c3 * xs3;            \
    global uint *out = y + (ulong)r * ys0 + (ulong)c1 * ys1 + (ulong)c2 * ys2 + (ulong)c3 * ys3;
#define CORNERS_OF_ROW(row)                                                                                      \
    CORNERS((row) / e4)                                                                                          \
    in += (ulong)((row) % e4) * xs4, out += (ulong)((row) % e4) * ys4;

KERNEL strided(BOX, const uint add CLAIMS)
{
    x += x_at + x_first, y += y_at + y_first;
#define ELEMENT(i)                                                                                                  \
    {                                                                                                               \
        const uint v = in[(ulong)(i) * xs5];                                                                        \
        global uint *to = out + (ulong)(i) * ys5;                                                                   \
        *to = add ? as_uint(as_float(*to) + as_float(v)) : v;                                                       \
    }
#if WG == 1
    EACH_UNIT(row, rows) {
        CORNERS_OF_ROW(row)
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
        const uint row = (uint)(at / n);
        CORNERS_OF_ROW(row)
        ELEMENT((uint)(at % n))
    }
#endif
}

/* xs4 and ys5 are 1; blocks of `wide` x `high` of dimensions 4 and 5, `across` and `along` in number. */
KERNEL turned(BOX, const uint wide, const uint high, const uint across, const uint along CLAIMS)
{
#if WG > 1
    local uint block[BLOCK];
#endif
    x += x_at + x_first, y += y_at + y_first;
    EACH_UNIT(u, rows * across * along) {
        CORNERS(u / (across * along))
        const uint i = u / along % across, j = u % along;
        const uint w = i + 1 < across ? wide : e4 - i * wide, h = j + 1 < along ? high : n - j * high;
        in += (ulong)j * high * xs5 + i * wide, out += (ulong)i * wide * ys4 + j * high;
#if WG == 1
        if (w < VEC || h < VEC) {
            for (uint a = 0; a < w; a++)
                for (uint b = 0; b < h; b++) out[(ulong)a * ys4 + b] = in[(ulong)b * xs5 + a];
            continue;
        }
        for (uint a = 0; a < w; a += VEC)
            for (uint b = 0; b < h; b += VEC) {
                const uint from = min(a, w - VEC), to = min(b, h - VEC);
                vec tile[VEC];
                UNROLL for (uint k = 0; k < VEC; k++) tile[k] = AS_VEC(VLOAD(in + (ulong)(to + k) * xs5 + from));
                transpose_tile(tile);
                UNROLL for (uint k = 0; k < VEC; k++) PUT(AS_UVEC(tile[k]), out + (ulong)(from + k) * ys4 + to);
            }
#else
        const uint pitch = w | 1;
        for (uint k = get_local_id(0); k < w * h; k += WG) block[k / w * pitch + k % w] = in[(ulong)(k / w) * xs5 + k % w];
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint k = get_local_id(0); k < w * h; k += WG) out[(ulong)(k / h) * ys4 + k % h] = block[k % h * pitch + k / h];
        barrier(CLK_LOCAL_MEM_FENCE);
#endif
    }
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
