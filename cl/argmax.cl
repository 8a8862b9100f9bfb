/* argmax.cl - the index of the first largest element along one dimension: x [outer, length, inner] -> y [outer, inner]. x is a SOURCE
 * of cl/prelude.cl.
 *
 * NaN is the largest. A group takes rows in turn, or where inner > 1 strips of columns. Lanes and items start at the first
 * elements that they would see with minus infinity, so that a row of nothing else gives 0. */

#define WINS(v, w) (((v) > (w)) | (((v) != (v)) & ((w) == (w))))

static inline bool wins(const float v, const int at, const float w, const int other)
{
    return WINS(v, w) || (!WINS(w, v) && at < other);
}

KERNEL argmax(SOURCE, TENSOR_OF(int, y), const uint outer, const uint length, const uint inner CLAIMS)
{
    local float values[WG];
    local int places[WG];
    const uint me = get_local_id(0), strips = (inner + WG * VEC - 1) / (WG * VEC);
    y += y_at;
    if (inner > 1) {
        EACH_UNIT(u, outer * strips) {
            const uint strip = u % strips * (WG * VEC), n = min((uint)(WG * VEC), inner - strip);
            const ulong in = (ulong)(u / strips) * length * inner + strip;
            global int *out = y + (ulong)(u / strips) * inner + strip;
            EACH_VEC(i, n) {
                vec best = -INFINITY;
                ivec at = 0;
                for (uint k = 0; k < length; k++) {
                    const vec v = SOURCE_VEC(in + (ulong)k * inner + i);
                    const ivec win = WINS(v, best);
                    best = select(best, v, win);
                    at = select(at, (ivec)(int)k, win);
                }
                VSTORE(at, out + i);
            }
            EACH_TAIL(i, n) {
                float best = -INFINITY;
                int at = 0;
                for (uint k = 0; k < length; k++) {
                    const float v = SOURCE_ONE(in + (ulong)k * inner + i);
                    if (WINS(v, best)) best = v, at = k;
                }
                out[i] = at;
            }
        }
        return;
    }
    EACH_UNIT(r, outer) {
        const ulong in = (ulong)r * length;
        vec best = -INFINITY;
        ivec at = (int)(me * VEC) + LANES;
        EACH_VEC(i, length) {
            const vec v = SOURCE_VEC(in + i);
            const ivec win = WINS(v, best);
            best = select(best, v, win);
            at = select(at, (int)i + LANES, win);
        }
        float lane[VEC];
        int place[VEC];
        VSTORE(best, lane);
        VSTORE(at, place);
        for (uint i = 1; i < VEC; i++)
            if (wins(lane[i], place[i], lane[0], place[0])) lane[0] = lane[i], place[0] = place[i];
        EACH_TAIL(i, length) {
            const float v = SOURCE_ONE(in + i);
            if (wins(v, i, lane[0], place[0])) lane[0] = v, place[0] = i;
        }
#if WG > 1
        values[me] = lane[0], places[me] = place[0];
        for (uint s = WG / 2; s > 0; s >>= 1) {
            barrier(CLK_LOCAL_MEM_FENCE);
            if (me < s && wins(values[me + s], places[me + s], values[me], places[me]))
                values[me] = values[me + s], places[me] = places[me + s];
        }
        place[0] = places[0];
        barrier(CLK_LOCAL_MEM_FENCE);
#endif
        if (me == 0) y[r] = place[0];
    }
}
