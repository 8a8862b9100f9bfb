/* reduce.cl - y = factor * sum(x), or the maximum, minimum or product, over segments of one dimension.
 *
 * REDUCE_SUM, _MAX, _MIN or _PROD   what is computed; NaN wins a maximum or minimum
 *
 * x is a SOURCE of cl/prelude.cl.
 *
 * reduce_rows: x [outer, length] -> y [outer, segments]; a unit is one segment.
 * reduce_cols: x [outer, length, inner] -> y [outer, segments, inner]; a unit is one segment of a strip of columns. */
#if defined(REDUCE_SUM)
#define JOIN(a, b) ((a) + (b))
#define START      0.0f
#elif defined(REDUCE_MAX)
#define JOIN(a, b) ((((a) > (b)) | ((a) != (a))) ? (a) : (b))
#define START      (-INFINITY)
#elif defined(REDUCE_MIN)
#define JOIN(a, b) ((((a) < (b)) | ((a) != (a))) ? (a) : (b))
#define START      INFINITY
#elif defined(REDUCE_PROD)
#define JOIN(a, b) ((a) * (b))
#define START      1.0f
#else
#error "reduce.cl needs REDUCE_SUM, REDUCE_MAX, REDUCE_MIN or REDUCE_PROD"
#endif

static inline float join_lanes(vec v)
{
#if VEC == 1
    return v;
#else
    float s[VEC];
    VSTORE(v, s);
    for (uint i = 1; i < VEC; i++) s[0] = JOIN(s[0], s[i]);
    return s[0];
#endif
}
WG_REDUCE(wg_join, JOIN)

KERNEL reduce_rows(SOURCE, TENSOR(y), const uint outer, const uint length, const uint segment, const float factor CLAIMS)
{
    local float tmp[WG];
    const uint segments = max(1u, (length + segment - 1) / segment);
    y += y_at;
    EACH_UNIT(u, outer * segments) {
        const uint row = u / segments, from = u % segments * segment, n = min(segment, length - from);
        const ulong in = (ulong)row * length + from;
        vec v0 = START, v1 = START; /* two, so that additions overlap */
        uint i = get_local_id(0) * VEC;
        for (; i + (WG + 1) * VEC <= n; i += 2 * WG * VEC) {
            const vec a = SOURCE_VEC(in + i), b = SOURCE_VEC(in + i + WG * VEC);
            v0 = JOIN(a, v0), v1 = JOIN(b, v1);
        }
        for (; i + VEC <= n; i += WG * VEC) {
            const vec a = SOURCE_VEC(in + i);
            v0 = JOIN(a, v0);
        }
        v0 = JOIN(v0, v1);
        float s = join_lanes(v0);
        EACH_TAIL(t, n) {
            const float a = SOURCE_ONE(in + t);
            s = JOIN(a, s);
        }
        s = wg_join(s, tmp);
        if (get_local_id(0) == 0) y[u] = factor * s;
    }
}

/* `width` columns, at most STRIP vectors of an item, a row at a time: neighbouring cache lines together. */
#if WG == 1
#define STRIP 128
#define EACH_OF_STRIP(v, n) for (uint v = 0; v < (n) / VEC; v++)
#else
#define STRIP 4
#define EACH_OF_STRIP(v, n) UNROLL for (uint v = 0; v < STRIP; v++) if ((v * WG + get_local_id(0) + 1) * VEC <= (n))
#endif

KERNEL reduce_cols(SOURCE, TENSOR(y), const uint outer, const uint length, const uint inner, const uint segment,
                   const uint width, const float factor CLAIMS)
{
    const uint strips = (inner + width - 1) / width, segments = max(1u, (length + segment - 1) / segment);
    y += y_at;
    EACH_UNIT(u, outer * segments * strips) {
        const uint strip = u % strips * width, n = min(width, inner - strip), at = u / strips;
        const uint from = at % segments * segment, to = min(from + segment, length);
        const ulong in = (ulong)(at / segments) * length * inner + strip;
        global float *out = y + (ulong)at * inner + strip;
        vec s[STRIP];
        EACH_OF_STRIP(v, n) s[v] = START;
        for (uint k = from; k < to; k++)
            EACH_OF_STRIP(v, n) {
                const vec a = SOURCE_VEC(in + (ulong)k * inner + (v * WG + get_local_id(0)) * VEC);
                s[v] = JOIN(a, s[v]);
            }
        EACH_OF_STRIP(v, n) VPUT(s[v] * factor, out + (v * WG + get_local_id(0)) * VEC);
        EACH_TAIL(i, n) {
            float one = START;
            for (uint k = from; k < to; k++) {
                const float a = SOURCE_ONE(in + (ulong)k * inner + i);
                one = JOIN(a, one);
            }
            out[i] = one * factor;
        }
    }
}
