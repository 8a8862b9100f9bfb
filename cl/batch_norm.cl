/* batch_norm.cl - the sums over a channel of x [outer, channels, inner]: formulas in src/ops/batch_norm.c.
 *
 * A unit is a channel, seen in blocks of about BLOCK values that stay in the cache: the block's mean, then the squares of
 * the distances from it, then both joined to what came before (Chan, Golub & LeVeque 1979). So x is read from memory once
 * and the variance loses nothing however far the mean is from 0. Results lie `part` apart. */
#if WG == 1
#define BLOCK 4096
#else
#define BLOCK 16384
#endif

/* Sums term(x) over a block: `rows` pieces of `width`, `pitch` apart. */
#if WG == 1
#define BLOCK_SUM(name, vterm, term)                                                                             \
    static inline float name(global const float *x, const ulong pitch, const uint rows, const uint width,        \
                             const float m, local float *tmp)                                                    \
    {                                                                                                            \
        vec v0 = 0.0f, v1 = 0.0f, v2 = 0.0f, v3 = 0.0f;                                                          \
        float s = 0.0f;                                                                                          \
        for (uint r = 0; r < rows; r++, x += pitch) {                                                            \
            uint i = 0;                                                                                          \
            for (; i + 4 * VEC <= width; i += 4 * VEC) {                                                         \
                v0 = vterm(x + i, v0), v1 = vterm(x + i + VEC, v1);                                              \
                v2 = vterm(x + i + 2 * VEC, v2), v3 = vterm(x + i + 3 * VEC, v3);                                \
            }                                                                                                    \
            for (; i + VEC <= width; i += VEC) v0 = vterm(x + i, v0);                                            \
            for (; i < width; i++) s = term(x + i, s);                                                           \
        }                                                                                                        \
        return hsum((v0 + v1) + (v2 + v3)) + s;                                                                  \
    }
#else
#define BLOCK_SUM(name, vterm, term)                                                                             \
    static inline float name(global const float *x, const ulong pitch, const uint rows, const uint width,        \
                             const float m, local float *tmp)                                                    \
    {                                                                                                            \
        float s = 0.0f;                                                                                          \
        for (uint i = get_local_id(0); i < rows * width; i += WG) s = term(x + i / width * pitch + i % width, s); \
        return wg_sum(s, tmp);                                                                                   \
    }
#endif
#define VSUM(p, s)    ((s) + VLOAD(p))
#define SUM(p, s)     ((s) + *(p))
#define VSQUARE(p, s) fma(VLOAD(p) - m, VLOAD(p) - m, (s))
#define SQUARE(p, s)  fma(*(p) - m, *(p) - m, (s))
BLOCK_SUM(block_sum, VSUM, SUM)
BLOCK_SUM(block_squares, VSQUARE, SQUARE)

/* The blocks of a channel: n is the first plane, i the first element in each. */
#define EACH_BLOCK(n, i, rows, width)                                                          \
    for (uint n = 0, step = inner < BLOCK ? BLOCK / inner : 1; n < outer; n += step)           \
        for (uint i = 0, rows = min(step, outer - n), width = min(inner, (uint)BLOCK); i < inner; \
             i += BLOCK, width = min(inner - min(i, inner), (uint)BLOCK))

/* With one value of a channel in a row, a CPU has channels as lanes: a unit is a few vectors of them, in blocks of rows. */
#if WG == 1
#define WIDE 4
#define ROWS 64
#define EACH_COLUMNS(c) for (int c = UNITS_UNTIL(get_group_id(0), COLUMNS) * (WIDE * VEC),                                  \
                             c##_end = UNITS_UNTIL(get_group_id(0) + 1, COLUMNS) * (WIDE * VEC); c < c##_end; c += WIDE * VEC)
#define COLUMNS ((channels + WIDE * VEC - 1) / (WIDE * VEC))
#define LOAD_COLUMN(p, v) load_part((p) + (v) * VEC, (int)channels - c - (v) * VEC)
#define STORE_COLUMN(value, p, v) store_part(value, (p) + (v) * VEC, (int)channels - c - (v) * VEC)
#define EACH_WIDE(v) UNROLL for (int v = 0; v < WIDE; v++)

static inline void stats_of_columns(global const float *x, global float *out, const uint outer, const uint channels,
                                    const ulong part, const float eps)
{
    EACH_COLUMNS(c) {
        vec mean[WIDE], squares[WIDE];
        float count = 0.0f;
        EACH_WIDE(v) mean[v] = squares[v] = 0.0f;
        for (uint n = 0; n < outer; n += ROWS) {
            global const float *in = x + n * (ulong)channels + c;
            const uint rows = min(outer - n, (uint)ROWS);
            vec m[WIDE], s[WIDE];
            EACH_WIDE(v) m[v] = s[v] = 0.0f;
            for (uint r = 0; r < rows; r++) EACH_WIDE(v) m[v] += LOAD_COLUMN(in + r * channels, v);
            EACH_WIDE(v) m[v] /= (float)rows;
            for (uint r = 0; r < rows; r++) EACH_WIDE(v) {
                const vec d = LOAD_COLUMN(in + r * channels, v) - m[v];
                s[v] = fma(d, d, s[v]);
            }
            const float share = rows / (count + rows);
            EACH_WIDE(v) {
                const vec apart = m[v] - mean[v];
                squares[v] += s[v] + apart * apart * (count * share);
                mean[v] = fma(apart, (vec)share, mean[v]);
            }
            count += rows;
        }
        EACH_WIDE(v) {
            STORE_COLUMN(mean[v], out + c, v);
            STORE_COLUMN(1.0f / sqrt(squares[v] / count + eps), out + part + c, v);
            STORE_COLUMN(squares[v] / (count - 1.0f), out + 2 * part + c, v);
        }
    }
}

static inline void sums_of_columns(global const float *x, global const float *mean, global const float *scale,
                                   global const float *dy, global float *out, const uint outer, const uint channels,
                                   const ulong part)
{
    EACH_COLUMNS(c) {
        vec m[WIDE], sum[WIDE], dot[WIDE];
        EACH_WIDE(v) m[v] = LOAD_COLUMN(mean + c, v), sum[v] = dot[v] = 0.0f;
        for (uint n = 0; n < outer; n += ROWS) {
            vec s[WIDE], t[WIDE];
            EACH_WIDE(v) s[v] = t[v] = 0.0f;
            for (uint r = n; r < min(outer, n + ROWS); r++) {
                const ulong at = r * (ulong)channels + c;
                EACH_WIDE(v) {
                    const vec d = LOAD_COLUMN(dy + at, v);
                    s[v] += d;
                    t[v] = fma(d, LOAD_COLUMN(x + at, v) - m[v], t[v]);
                }
            }
            EACH_WIDE(v) sum[v] += s[v], dot[v] += t[v];
        }
        EACH_WIDE(v) {
            STORE_COLUMN(dot[v] * LOAD_COLUMN(scale + c, v), out + c, v);
            STORE_COLUMN(sum[v], out + part + c, v);
        }
    }
}
#endif

KERNEL batch_norm_stats(TENSOR(x), TENSOR(out), const uint outer, const uint channels, const uint inner, const ulong part,
                        const float eps CLAIMS)
{
    local float tmp[WG];
    const ulong pitch = (ulong)channels * inner;
    x += x_at, out += out_at;
#if WG == 1
    if (inner == 1) {
        stats_of_columns(x, out, outer, channels, part, eps);
        return;
    }
#endif
    EACH_UNIT(c, channels) {
        float mean = 0.0f, squares = 0.0f, count = 0.0f;
        EACH_BLOCK(n, i, rows, width) {
            global const float *in = x + n * pitch + c * (ulong)inner + i;
            const float more = (float)rows * width, m = block_sum(in, pitch, rows, width, 0.0f, tmp) / more;
            const float share = more / (count + more), apart = m - mean;
            squares += block_squares(in, pitch, rows, width, m, tmp) + apart * apart * count * share;
            mean = fma(apart, share, mean);
            count += more;
        }
        if (get_local_id(0) == 0) {
            out[c] = mean;
            out[part + c] = 1.0f / sqrt(squares / count + eps);
            out[2 * part + c] = squares / (count - 1.0f);
        }
    }
}

KERNEL batch_norm_sums(TENSOR(x), TENSOR(mean), TENSOR(scale), TENSOR(dy), TENSOR(out), const uint outer,
                       const uint channels, const uint inner, const ulong part CLAIMS)
{
    local float tmp[WG];
    const ulong pitch = (ulong)channels * inner;
    x += x_at, mean += mean_at, scale += scale_at, dy += dy_at, out += out_at;
#if WG == 1
    if (inner == 1) {
        sums_of_columns(x, mean, scale, dy, out, outer, channels, part);
        return;
    }
#endif
    EACH_UNIT(c, channels) {
        const float m = mean[c], r = scale[c];
        float sum = 0.0f, dot = 0.0f;
        EACH_BLOCK(n, i, rows, width) {
            const ulong at = n * pitch + c * (ulong)inner + i;
            global const float *in = x + at, *d = dy + at;
#if WG == 1
            vec s0 = 0.0f, s1 = 0.0f, d0 = 0.0f, d1 = 0.0f;
            float s = 0.0f, t = 0.0f;
            for (uint k = 0; k < rows; k++, in += pitch, d += pitch) {
                uint j = 0;
                for (; j + 2 * VEC <= width; j += 2 * VEC) {
                    const vec a = VLOAD(d + j), b = VLOAD(d + j + VEC);
                    s0 += a, s1 += b;
                    d0 = fma(a, VLOAD(in + j) - m, d0), d1 = fma(b, VLOAD(in + j + VEC) - m, d1);
                }
                for (; j + VEC <= width; j += VEC) {
                    const vec a = VLOAD(d + j);
                    s0 += a, d0 = fma(a, VLOAD(in + j) - m, d0);
                }
                for (; j < width; j++) s += d[j], t = fma(d[j], in[j] - m, t);
            }
            sum += hsum(s0 + s1) + s, dot += hsum(d0 + d1) + t;
#else
            float s = 0.0f, t = 0.0f;
            for (uint j = get_local_id(0); j < rows * width; j += WG) {
                const ulong k = j / width * pitch + j % width;
                s += d[k], t = fma(d[k], in[k] - m, t);
            }
            sum += wg_sum(s, tmp), dot += wg_sum(t, tmp);
#endif
        }
        if (get_local_id(0) == 0) {
            out[c] = dot * r;
            out[part + c] = sum;
        }
    }
}
