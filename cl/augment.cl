/* augment.cl - pictures flipped, shifted and cropped at random, and their gradients: src/ops/augment.c says by which draws of
 * Philox 4x32-10. A group takes planes (a channel of a picture) in turn. */
static inline uint4 philox(uint4 c, uint2 k)
{
    for (int round = 0; round < 10; round++) {
        const uint high0 = mul_hi(0xd2511f53u, c.x), low0 = 0xd2511f53u * c.x;
        const uint high1 = mul_hi(0xcd9e8d57u, c.z), low1 = 0xcd9e8d57u * c.z;
        c = (uint4)(high1 ^ c.y ^ k.x, low1, high0 ^ c.w ^ k.y, low0);
        k += (uint2)(0x9e3779b9u, 0xbb67ae85u);
    }
    return c;
}

#if WG == 1 /* no division for each pixel */
#define EACH_PIXEL(i, j) for (int i = 0; i < h; i++) for (int j = 0; j < w; j++)
#else
#define EACH_PIXEL(i, j) \
    for (int at = get_local_id(0), i = at / w, j = at % w; at < h * w; at += WG, i = at / w, j = at % w)
#endif

/* From planes [from_h, from_w] to planes [h, w]; `last` is the window's last column, `sign` 1, or -1 for the gradient. */
KERNEL augment(TENSOR(x), TENSOR_OF(int, step), TENSOR(y), const uint planes, const uint channels, const int from_h,
               const int from_w, const int h, const int w, const uint key0, const uint key1, const uint shifts, const uint places_h,
               const uint places_w, const int most, const int flip, const int last, const int sign)
{
    x += x_at, y += y_at;
    const uint now = step[step_at];
    EACH_UNIT(plane, planes) {
        const uint4 word = philox((uint4)(plane / channels, 0, now, 2), (uint2)(key0, key1));
        const int   v = (int)mul_hi(word.x, shifts) + (int)mul_hi(word.z, places_h) - most;
        const int   u = (int)mul_hi(word.y, shifts) + (int)mul_hi(word.w, places_w) - most;
        const bool  mirrored = flip && (word.x & 1);
        global const float *from = x + plane * (ulong)from_h * from_w;
        global float       *to = y + plane * (ulong)h * w;
        EACH_PIXEL(i, j) {
            const int  row = i + sign * v, column = mirrored ? last + u - j : j + sign * u;
            const bool inside = row >= 0 && row < from_h && column >= 0 && column < from_w;
            to[i * w + j] = inside ? from[row * from_w + column] : 0.0f;
        }
    }
}
