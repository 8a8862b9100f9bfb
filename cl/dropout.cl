/* dropout.cl - y = x times 0 or `scale`, as the counter-based generator says: Philox 4x32-10 (src/base/random.c).
 *
 * Element i = 64 tile + 16 word + lane has word `word` of block 16 tile + lane of the stream `key` at `step`, so that lanes
 * are blocks for any VEC, and the mask is the same on every device. */
#if VEC == 1
typedef uint uvec;
#else
typedef CAT(uint, VEC) uvec;
#endif
#define PARTS (16 / VEC)

KERNEL dropout(TENSOR(x), TENSOR_OF(int, step), TENSOR(y), const ulong count, const uint key0, const uint key1,
               const uint threshold, const float scale)
{
    const ulong items = (count + 63) / 64 * PARTS;
    x += x_at, y += y_at;
    const uint now = step[step_at];
    for (ulong q = get_global_id(0); q < items; q += get_global_size(0)) {
        const ulong tile = q / PARTS, at = tile * 64 + q % PARTS * VEC;
        const ulong block = tile * 16 + q % PARTS * VEC;
        uvec c[4] = {(uvec)(uint)block, (uvec)(uint)(block >> 32), (uvec)now, (uvec)1u};
#if VEC > 1
        c[0] += CAT(convert_uint, VEC)(LANES);
#endif
        PHILOX(uvec, c, key0, key1)
        UNROLL for (int w = 0; w < 4; w++) {
            const ulong i = at + w * 16;
            if (i >= count) break;
            const int n = (int)min(count - i, (ulong)VEC);
            const vec keep = c[w] < (uvec)threshold ? (vec)0.0f : (vec)scale;
            store_part(load_part(x + i, n) * keep, y + i, n);
        }
    }
}
