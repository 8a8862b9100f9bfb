/* adaptive_pool2d.cl - windows of an image of H x W for a result of OH x OW: output i covers the rows from floor(i H / OH) up to
 * ceil((i + 1) H / OH), and row h lies in the windows from floor(h OH / H) up to ceil((h + 1) OH / H). A unit is a plane. */
#define FROM(i, have, want) ((i) * (have) / (want))
#define TO(i, have, want)   (((i) * (have) + (have) + (want) - 1) / (want))

KERNEL adaptive_avg_pool2d(TENSOR(x), TENSOR(y), const uint planes, const uint H, const uint W, const uint OH, const uint OW CLAIMS)
{
    x += x_at, y += y_at;
    EACH_UNIT(u, planes) {
        global const float *in = x + (ulong)u * H * W;
        for (uint o = get_local_id(0); o < OH * OW; o += WG) {
            const uint h0 = FROM(o / OW, H, OH), h1 = TO(o / OW, H, OH), w0 = FROM(o % OW, W, OW), w1 = TO(o % OW, W, OW);
            float sum = 0.0f;
            for (uint h = h0; h < h1; h++)
                for (uint w = w0; w < w1; w++) sum += in[h * W + w];
            y[(ulong)u * OH * OW + o] = sum / (float)((h1 - h0) * (w1 - w0));
        }
    }
}

KERNEL adaptive_avg_pool2d_grad(TENSOR(dy), TENSOR(dx), const uint planes, const uint H, const uint W, const uint OH,
                                const uint OW CLAIMS)
{
    dy += dy_at, dx += dx_at;
    EACH_UNIT(u, planes) {
        global const float *in = dy + (ulong)u * OH * OW;
        for (uint p = get_local_id(0); p < H * W; p += WG) {
            const uint i0 = FROM(p / W, OH, H), i1 = TO(p / W, OH, H), j0 = FROM(p % W, OW, W), j1 = TO(p % W, OW, W);
            float sum = 0.0f;
            for (uint i = i0; i < i1; i++)
                for (uint j = j0; j < j1; j++) {
                    const uint rows = TO(i, H, OH) - FROM(i, H, OH), cols = TO(j, W, OW) - FROM(j, W, OW);
                    sum += in[i * OW + j] / (float)(rows * cols);
                }
            dx[(ulong)u * H * W + p] = sum;
        }
    }
}

/* The index in the plane of each window's first maximum; NaN wins. */
KERNEL adaptive_max_pool2d(TENSOR(x), TENSOR_OF(int, y), const uint planes, const uint H, const uint W, const uint OH,
                           const uint OW CLAIMS)
{
    x += x_at, y += y_at;
    EACH_UNIT(u, planes) {
        global const float *in = x + (ulong)u * H * W;
        for (uint o = get_local_id(0); o < OH * OW; o += WG) {
            const uint h0 = FROM(o / OW, H, OH), h1 = TO(o / OW, H, OH), w0 = FROM(o % OW, W, OW), w1 = TO(o % OW, W, OW);
            uint at = h0 * W + w0;
            float best = in[at];
            for (uint h = h0; h < h1; h++)
                for (uint w = w0; w < w1; w++) {
                    const float v = in[h * W + w];
                    if (v > best || (v != v && best == best)) best = v, at = h * W + w;
                }
            y[(ulong)u * OH * OW + o] = (int)at;
        }
    }
}
