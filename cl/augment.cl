/* augment.cl - pictures flipped, shifted and cropped at random, and their gradients: src/ops/augment.c says by which draws of
 * Philox 4x32-10. A group takes planes (a channel of a picture) in turn. */
#if WG == 1 /* no division for each pixel */
#define EACH_PIXEL(i, j) for (int i = 0; i < h; i++) for (int j = 0; j < w; j++)
#else
#define EACH_PIXEL(i, j) \
    for (int at = get_local_id(0), i = at / w, j = at % w; at < h * w; at += WG, i = at / w, j = at % w)
#endif

/* From planes [from_h, from_w] to planes [h, w]; `last` is the window's last column, `sign` 1, or -1 for the gradient. */
KERNEL augment(TENSOR(x), TENSOR_OF(int, step), TENSOR(y), const uint planes, const uint channels, const int from_h,
               const int from_w, const int h, const int w, const uint key0, const uint key1, const uint shifts, const uint places_h,
               const uint places_w, const int most, const int flip, const int last, const int sign CLAIMS)
{
    x += x_at, y += y_at;
    const uint now = step[step_at];
    EACH_UNIT(plane, planes) {
        uint word[4] = {plane / channels, 0, now, 2};
        PHILOX(uint, word, key0, key1)
        const int  v = (int)mul_hi(word[0], shifts) + (int)mul_hi(word[2], places_h) - most;
        const int  u = (int)mul_hi(word[1], shifts) + (int)mul_hi(word[3], places_w) - most;
        const bool mirrored = flip && (word[0] & 1);
        global const float *from = x + plane * (ulong)from_h * from_w;
        global float       *to = y + plane * (ulong)h * w;
        EACH_PIXEL(i, j) {
            const int  row = i + sign * v, column = mirrored ? last + u - j : j + sign * u;
            const bool inside = row >= 0 && row < from_h && column >= 0 && column < from_w;
            to[i * w + j] = inside ? from[row * from_w + column] : 0.0f;
        }
    }
}
