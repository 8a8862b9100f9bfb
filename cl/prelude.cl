/* prelude.cl - prepended to every program.
 *
 * WG   work-items in a group of row-wise and pointwise kernels (a power of two; 1 on CPU devices)
 * VEC  floats in a vector (16 on CPU devices, 1 to 4 on GPUs)
 * SLOW_FMA  defined where the device has no instruction for fma()
 *
 * A tensor reaches a kernel as a buffer and an offset in elements: TENSOR(x) declares both, x += x_at applies it. */
#if !defined(WG) || !defined(VEC)
#error "prelude.cl needs WG and VEC"
#endif
#define CAT_(a, b) a##b
#define CAT(a, b)  CAT_(a, b)

/* In software it takes a hundred operations, and loops around it stay loops: Mesa's llvmpipe counts the turns of all loops
 * of a work-item, and after 65,535 of them ends each after its first. */
#ifdef SLOW_FMA
#undef fma /* some drivers' own is a macro */
#define fma(a, b, c) ((a) * (b) + (c))
#endif

#if VEC == 1
typedef float vec;
typedef int   ivec;
#define LANES        0
#define VLOAD(p)     (*(p))
#define VSTORE(v, p) (*(p) = (v))
#define VPUT(v, p)   (*(p) = (v))
#define VLOAD_I32(p) ((float)*(p))
#else
typedef CAT(float, VEC) vec;
typedef CAT(int, VEC)   ivec;
constant int lane_numbers[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#define LANES        CAT(vload, VEC)(0, lane_numbers)
/* An unaligned vector: pocl turns vstore16 into pieces, a store through this type into one instruction. */
typedef CAT(float, VEC) vec_at __attribute__((aligned(4)));
#define VLOAD(p)     CAT(vload, VEC)(0, p)
#define VSTORE(v, p) CAT(vstore, VEC)(v, 0, p)
#define VPUT(v, p)   (*(global vec_at *)(p) = (v))
#define VLOAD_I32(p) CAT(convert_float, VEC)(VLOAD(p))
#endif
/* A store past the caches: memory is not read before it is overwritten. Such stores want whole vectors of memory. */
#if WG == 1 && VEC > 1 && defined(__clang__)
#if __has_builtin(__builtin_nontemporal_store)
#define VPUT_PAST(v, p)                                                                          \
    if ((ulong)(p) % sizeof(vec) == 0) __builtin_nontemporal_store(v, (global vec *)(p));        \
    else VPUT(v, p)
#endif
#endif
#ifndef VPUT_PAST
#define VPUT_PAST(v, p) VPUT(v, p)
#endif

/* A line that will be wanted soon; for compilers that target the processor itself. */
#if defined(__x86_64__) || defined(__aarch64__)
#define FETCH(p) __builtin_prefetch((const void *)(ulong)(p))
#else
#define FETCH(p)
#endif

#define UNROLL _Pragma("unroll")
/* Some of an array's lanes: with one item a group by a loop, else by constants, which leave the array in registers. */
#if WG == 1
#define EACH_LANE(i, count) for (int i = 0; i < (count); i++)
#else
#define EACH_LANE(i, count) UNROLL for (int i = 0; i < VEC; i++) if (i < (count))
#endif

/* The counters c[4] become random words: Philox 4x32-10 (src/base/random.c), each lane of a vector by itself. */
#define PHILOX(type, c, key0, key1)                                                                      \
    {                                                                                                    \
        uint k0 = key0, k1 = key1;                                                                       \
        UNROLL for (int round = 0; round < 10; round++) {                                                \
            const type high0 = mul_hi((type)0xd2511f53u, c[0]), low0 = 0xd2511f53u * c[0];               \
            const type high1 = mul_hi((type)0xcd9e8d57u, c[2]), low1 = 0xcd9e8d57u * c[2];               \
            c[0] = high1 ^ c[1] ^ k0, c[1] = low1, c[2] = high0 ^ c[3] ^ k1, c[3] = low0;                \
            k0 += 0x9e3779b9u, k1 += 0xbb67ae85u;                                                        \
        }                                                                                                \
    }

/* The first `count` lanes, which may be all of them; zeros behind. */
static inline vec load_part(global const float *p, const int count)
{
    if (count >= VEC) return VLOAD(p);
    float t[VEC] = {0.0f};
    EACH_LANE(i, count) t[i] = p[i];
    return VLOAD(t);
}

static inline void store_part(const vec v, global float *p, const int count)
{
    if (count >= VEC) {
        VPUT(v, p);
        return;
    }
    float t[VEC];
    VSTORE(v, t);
    EACH_LANE(i, count) p[i] = t[i];
}

/* All lanes joined, halves with halves. */
#if VEC == 16
#define QUARTER(f) const float8 e = f(v.lo, v.hi); const float4 q = f(e.lo, e.hi);
#elif VEC == 8
#define QUARTER(f) const float4 q = f(v.lo, v.hi);
#elif VEC == 4
#define QUARTER(f) const float4 q = v;
#endif
#if VEC == 1
#define LANE_REDUCE(name, f) static inline float name(vec v) { return v; }
#elif VEC == 2
#define LANE_REDUCE(name, f) static inline float name(vec v) { return f(v.x, v.y); }
#else
#define LANE_REDUCE(name, f)           \
    static inline float name(vec v)    \
    {                                  \
        QUARTER(f)                     \
        const float2 d = f(q.lo, q.hi); \
        return f(d.x, d.y);            \
    }
#endif
#define ADD(a, b) ((a) + (b))
LANE_REDUCE(hmax, fmax)
LANE_REDUCE(hsum, ADD)

#define KERNEL              __attribute__((reqd_work_group_size(WG, 1, 1))) kernel void
#define TENSOR_OF(type, p)  global type *p, const ulong p##_at
#define TENSOR(p)           TENSOR_OF(float, p)
/* A group's share of the units of work (rows, chunks), by its number alone: for sums that a group keeps. A CPU's groups take
 * neighbours, which memory likes, a GPU's take turns, for they run side by side. */
#if WG == 1
#define UNITS_UNTIL(g, units) (uint)((ulong)(units) * (g) / get_num_groups(0))
#define EACH_OWN_UNIT(u, units) \
    for (uint u = UNITS_UNTIL(get_group_id(0), units), u##_end = UNITS_UNTIL(get_group_id(0) + 1, units); u < u##_end; u++)
#else
#define EACH_OWN_UNIT(u, units) for (uint u = get_group_id(0); u < (units); u += get_num_groups(0))
#endif

/* The units of which each stands for itself: a CPU's groups claim them, always fewer at a time (trapezoid self-scheduling,
 * Tzen & Ni 1993), so that a core which starts late, or which others slow down, does less. A kernel has one such loop (of
 * several that exclude each other), and CLAIMS as its last parameter, which counts them; src/device/kernel.c supplies it. */
#if WG == 1
#define CLAIMS , global uint *claims
#define CLAIMS_OF_A_GROUP 8 /* if cores are as fast as each other */
static inline uint claimed_until(const ulong left, const ulong all, const uint units)
{
    return units == all ? units - (uint)left : units - (uint)(units * left * left / (all * all));
}

static inline bool claim(global uint *claims, uint *u, uint *end, const uint units)
{
    const uint groups = get_num_groups(0), all = min(units, CLAIMS_OF_A_GROUP * groups);
    uint mine;
    while ((mine = atomic_inc(claims)) < all) {
        *u = claimed_until(all - mine, all, units), *end = claimed_until(all - mine - 1, all, units);
        if (*u < *end) return true;
    }
    if (mine + 1 == all + groups) *claims = 0; /* nobody will ask again: for the next launch */
    return false;
}
#define EACH_UNIT(u, units) for (uint u = 0, u##_end = 0; u < u##_end || claim(claims, &u, &u##_end, units); u++)
#else
#define CLAIMS
#define EACH_UNIT(u, units) EACH_OWN_UNIT(u, units)
#endif

#define EACH_VEC(i, n)      for (uint i = get_local_id(0) * VEC; i + VEC <= (n); i += WG * VEC)
#define EACH_TAIL(i, n)     for (uint i = (n) - (n) % VEC + get_local_id(0); i < (n); i += WG)

#if WG == 1
#define WG_REDUCE(name, f) \
    static inline float name(float v, local float *tmp) { return v; }
#else
#define WG_REDUCE(name, f)                                           \
    static inline float name(float v, local float *tmp)              \
    {                                                                \
        const uint me = get_local_id(0);                             \
        tmp[me] = v;                                                 \
        for (uint s = WG / 2; s > 0; s >>= 1) {                      \
            barrier(CLK_LOCAL_MEM_FENCE);                            \
            if (me < s) tmp[me] = f(tmp[me], tmp[me + s]);           \
        }                                                            \
        barrier(CLK_LOCAL_MEM_FENCE);                                \
        v = tmp[0];                                                  \
        barrier(CLK_LOCAL_MEM_FENCE); /* tmp may be reused */        \
        return v;                                                    \
    }
#endif
WG_REDUCE(wg_max, fmax)
WG_REDUCE(wg_sum, ADD)

/* ---- exp and erf for CPUs ------------------------------------------------------------------------------------------
 *
 * Drivers' own take five times as long. exp(x) = 2^n exp(r) with |r| <= log(2) / 2, and a polynomial for exp(r); erf(x) =
 * x (1 + p(x^2)) up to 15/16 and 1 - exp(q(|x|)) from there on, where q is log(erfc). The polynomials are minimax fits; results
 * are within 2 ulp. 2^n is applied in two halves, for it may lie outside of what a float holds. */
#if WG == 1
#define EXP_PARTS(x, T) /* n + 12582912 and exp(r) */                                          \
    const T moved = fma(x, (T)1.44269504f, (T)12582912.0f), n = moved - (T)12582912.0f;        \
    const T r = fma(n, (T)-1.42860677e-6f, fma(n, (T)-0.693145752f, x));                       \
    T p = fma(r, (T)0.00139504892f, (T)0.00836888980f);                                        \
    p = fma(fma(fma(p, r, (T)0.0416662060f), r, (T)0.166665182f), r, (T)0.5f);                 \
    p = fma(r * r, p, r) + (T)1.0f;
#define EXP_FUNCTION(name, T, as_number, as_bits)                                              \
    static inline T __attribute__((overloadable)) name(T x)                                    \
    {                                                                                          \
        x = x > (T)104.0f ? (T)104.0f : x < (T)-104.0f ? (T)-104.0f : x; /* NaN stays */       \
        EXP_PARTS(x, T)                                                                        \
        return p * as_number((((as_bits(moved) - 0x4B400000) >> 1) + 127) << 23) *             \
               as_number((((as_bits(moved) - 0x4B400000 + 1) >> 1) + 127) << 23);              \
    }
#define EXP_WITHIN_FUNCTION(name, T, as_number, as_bits) /* from -87 to 88 */                  \
    static inline T __attribute__((overloadable)) name(const T x)                              \
    {                                                                                          \
        EXP_PARTS(x, T)                                                                        \
        return p * as_number((as_bits(moved) - 0x4B400000 + 127) << 23);                       \
    }
#define ERF_FUNCTION(name, T, exp_name)                                                        \
    static inline T __attribute__((overloadable)) name(const T x)                              \
    {                                                                                          \
        const T t = fabs(x), s = x * x, u = t > (T)4.0f ? (T)4.0f : t;                         \
        T p = fma(s, (T)-5.94314246e-4f, (T)0.00498437881f), q = fma(u, (T)1.94011445e-4f, (T)-0.00302425772f); \
        p = fma(fma(fma(p, s, (T)-0.0267611071f), s, (T)0.112816818f), s, (T)-0.376124829f);   \
        q = fma(fma(fma(q, u, (T)0.0221510436f), u, (T)-0.103773512f), u, (T)-0.637363195f);   \
        q = fma(fma(q, u, (T)-1.12756765f), u, (T)-2.21948547e-4f);                            \
        p = fma(x, fma(p, s, (T)0.128379151f), x);                                             \
        return t <= (T)0.9375f ? p : copysign((T)1.0f - exp_name(q), x);                       \
    }
EXP_FUNCTION(quick_exp, float, as_float, as_int)
EXP_WITHIN_FUNCTION(quick_exp_within, float, as_float, as_int)
ERF_FUNCTION(quick_erf, float, quick_exp_within)
#if VEC > 1
EXP_FUNCTION(quick_exp, vec, CAT(as_float, VEC), CAT(as_int, VEC))
EXP_WITHIN_FUNCTION(quick_exp_within, vec, CAT(as_float, VEC), CAT(as_int, VEC))
ERF_FUNCTION(quick_erf, vec, quick_exp_within)
#endif
#undef exp
#undef erf
#define exp quick_exp
#define erf quick_erf
#endif

/* The lanes of a vector's halves; by name, for of halves themselves some compilers make three shuffles in place of one. */
#define PAIR(i) a.s##i, b.s##i
#if VEC == 16
#define EACH_LOW(F)  F(0), F(1), F(2), F(3), F(4), F(5), F(6), F(7)
#define EACH_HIGH(F) F(8), F(9), F(a), F(b), F(c), F(d), F(e), F(f)
#elif VEC == 8
#define EACH_LOW(F)  F(0), F(1), F(2), F(3)
#define EACH_HIGH(F) F(4), F(5), F(6), F(7)
#elif VEC == 4
#define EACH_LOW(F)  F(0), F(1)
#define EACH_HIGH(F) F(2), F(3)
#elif VEC == 2
#define EACH_LOW(F)  F(0)
#define EACH_HIGH(F) F(1)
#endif

/* r[i] lane j becomes r[j] lane i: log2(VEC) perfect shuffles. */
static inline void transpose_tile(vec *r)
{
#if VEC > 1
    for (int step = 1; step < VEC; step *= 2) {
        vec t[VEC];
        UNROLL for (int i = 0; i < VEC / 2; i++) {
            const vec a = r[i], b = r[i + VEC / 2];
            t[2 * i] = (vec)(EACH_LOW(PAIR)), t[2 * i + 1] = (vec)(EACH_HIGH(PAIR));
        }
        UNROLL for (int i = 0; i < VEC; i++) r[i] = t[i];
    }
#endif
}

/* What a kernel reads may not be in memory, but made of others element by element, by macros of src/plan/pointwise.c. Either
 * way SOURCE are its parameters, and from there SOURCE_VEC and SOURCE_ONE read at an index. */
#ifdef SOURCE
PRODUCE(produce_vec, vec, VLOAD, VLOAD_I32)
PRODUCE(produce_one, float, *, *)
#define SOURCE_VEC(at) produce_vec(SOURCE_ARGS at)
#define SOURCE_ONE(at) produce_one(SOURCE_ARGS at)
#else
#define SOURCE         TENSOR_OF(const float, x)
#define SOURCE_VEC(at) VLOAD(x + x_at + (at))
#define SOURCE_ONE(at) x[x_at + (at)]
#endif

/* What a convolution's epilogue reads beside its sums: numbers of a channel each, and elements of a tensor of the result's
 * shape. BIAS, OTHER, CHANNELS say what there is of it; the epilogue is one of EPILOGUE(T, a, b, c, d). */
#define OPERANDS TENSOR_OF(const float, bias), TENSOR_OF(const float, other), TENSOR_OF(const float, channel0), \
                 TENSOR_OF(const float, channel1)
typedef struct operands {
    global const float *bias, *other, *channel0, *channel1;
    ulong size; /* of the result, in elements */
} operands;
#define OPERANDS_OF(size) {bias + bias_at, other + other_at, channel0 + channel0_at, channel1 + channel1_at, size}

/* ---- tiles of gemm.cl and conv2d.cl --------------------------------------------------------------------------------
 *
 * Both multiply A, TILE_M rows high, with B, TILE_N wide, a depth of TILE_K at a time; their defines say which body:
 *   TILE_SIDE == 1   a work-item holds TILE_M rows of TILE_N vectors in registers, B lies packed in private memory
 *   TILE_SIDE > 1    TILE_SIDE^2 items share a tile of TILE_M x TILE_N, 4 or 8 rows and columns each, through local memory */
#ifdef TILE_SIDE
#define TILE_KERNEL __attribute__((reqd_work_group_size(TILE_SIDE, TILE_SIDE, 1))) kernel void
#endif
#if defined(TILE_SIDE) && TILE_SIDE == 1
#define TILE_COLS (TILE_N * VEC)

/* r[i] lane j = from[j * step + i] for i < count; what lies behind is read where `inside` elements from `from` on allow.
 * Lanes past the end repeat the last one. */
static inline void load_turned(vec *r, global const float *from, const ulong step, const int lanes, const int count,
                               const ulong inside)
{
    if (count >= VEC || (lanes - 1) * step + VEC <= inside) {
        UNROLL for (int j = 0; j < VEC; j++) r[j] = VLOAD(from + min(j, lanes - 1) * step);
    } else {
        float t[VEC * VEC];
        for (int j = 0; j < VEC; j++)
            for (int i = 0; i < VEC; i++) t[j * VEC + i] = i < count ? from[min(j, lanes - 1) * step + i] : 0.0f;
        UNROLL for (int j = 0; j < VEC; j++) r[j] = VLOAD(t + j * VEC);
    }
    transpose_tile(r);
}

/* to[j * step + i] = r[i] lane j for i < count, j < lanes; PAST: past the caches, where a vector is a line of memory. */
#if defined(PAST) && PAST && VEC == 16
#define TURNED_PUT(v, p) VPUT_PAST(v, p)
#else
#define TURNED_PUT(v, p) VPUT(v, p)
#endif
static inline void store_turned(vec *r, global float *to, const ulong step, const int lanes, const int count)
{
    transpose_tile(r);
    if (count >= VEC && lanes >= VEC) {
        UNROLL for (int j = 0; j < VEC; j++) { TURNED_PUT(r[j], to + j * step); }
    } else {
        float t[VEC * VEC];
        UNROLL for (int j = 0; j < VEC; j++) VSTORE(r[j], t + j * VEC);
        for (int j = 0; j < min(lanes, VEC); j++)
            for (int i = 0; i < min(count, VEC); i++) to[j * step + i] = t[j * VEC + i];
    }
}

#ifdef CHANNELS
/* y[at + j * step + i] = epilogue(sum[i] lane j, ...) for i < count, j < lanes: channels from `channel` on, and pixels. */
static inline void finish_turned(const vec *sum, const operands *with, global float *y, const ulong at, const int channel,
                                 const ulong step, const int lanes, const int count)
{
    const vec add = BIAS ? load_part(with->bias + channel, lanes) : (vec)0.0f;
    const vec c = CHANNELS > 0 ? load_part(with->channel0 + channel, lanes) : (vec)0.0f;
    const vec d = CHANNELS > 1 ? load_part(with->channel1 + channel, lanes) : (vec)0.0f;
    vec r[VEC], b[VEC];
#if OTHER
    load_turned(b, with->other + at, step, lanes, count, with->size - at);
#else
    UNROLL for (int j = 0; j < VEC; j++) b[j] = 0.0f;
#endif
    UNROLL for (int j = 0; j < VEC; j++) {
        const vec whole = BIAS ? sum[j] + add : sum[j];
        r[j] = EPILOGUE(vec, whole, b[j], c, d);
    }
    store_turned(r, y + at, step, lanes, count);
}
#endif

/* out = A panel, with A's element (i, k) at a[i * row_step + k * k_step]. Rows past the end repeat the last one, so
 * that nothing is read out of bounds; they are never stored. */
static inline void tile_multiply(vec *out, const int rows, global const float *a, const ulong row_step,
                                 const ulong k_step, const vec *panel, const int depth)
{
    vec acc[TILE_M][TILE_N];
    ulong row[TILE_M];
    UNROLL for (int i = 0; i < TILE_M; i++) {
        row[i] = min(i, rows - 1) * row_step;
        UNROLL for (int v = 0; v < TILE_N; v++) acc[i][v] = 0.0f;
    }
    for (int k = 0; k < depth; k++, a += k_step, panel += TILE_N)
        UNROLL for (int i = 0; i < TILE_M; i++) {
            const vec s = a[row[i]];
            UNROLL for (int v = 0; v < TILE_N; v++) acc[i][v] = fma(s, panel[v], acc[i][v]);
        }
    UNROLL for (int i = 0; i < TILE_M; i++)
        UNROLL for (int v = 0; v < TILE_N; v++) out[i * TILE_N + v] = acc[i][v];
}
#elif defined(TILE_SIDE)
#define ITEMS (TILE_SIDE * TILE_SIDE)
#define ITEM  ((int)(get_local_id(1) * TILE_SIDE + get_local_id(0)))
#if TILE_M * TILE_N == ITEMS * 64
#define ITEM_M 8 /* an item's share of the tile */
#define ITEM_N 8
#elif TILE_M * TILE_N == ITEMS * 32 && TILE_M >= TILE_N
#define ITEM_M 8
#define ITEM_N 4
#elif TILE_M * TILE_N == ITEMS * 32
#define ITEM_M 4
#define ITEM_N 8
#elif TILE_M * TILE_N == ITEMS * 16
#define ITEM_M 4
#define ITEM_N 4
#else
#error "an item has 16, 32 or 64 elements of a tile"
#endif
#define ITEM_COLS (TILE_N / ITEM_N) /* items side by side */
#define PITCH_A   (TILE_M / 4 + 1)  /* of float4; off the powers of two, for local memory has banks */
#define PITCH_B   (TILE_N / 4 + 1)

/* Rows and columns of an item come in fours, those of its neighbours side by side. Sums are indexed by constants alone,
 * which macros give, as some compilers keep in memory what loops index, though they unroll them. */
typedef CAT(float, ITEM_M) item_col;
typedef CAT(float, ITEM_N) item_row;
#if ITEM_M == 8
#define EACH_ITEM_ROW(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7)
#define COLUMN_OF_A(a)   ((float8)((a)[0], (a)[TILE_M / 8]))
#else
#define EACH_ITEM_ROW(F) F(0) F(1) F(2) F(3)
#define COLUMN_OF_A(a)   (*(a))
#endif
#define ITEM_ROW    (ITEM / ITEM_COLS * 4) /* its first; row i lies ROW_STEP(i) behind, a constant */
#define ITEM_COL    (ITEM % ITEM_COLS * 4)
#define ROW_STEP(i) ((i) / 4 * (TILE_M / 2) + (i) % 4)
/* F(step, column, four) for each four of row i, which begins `column` behind ITEM_COL. */
#if ITEM_N == 8
#define ROW_OF_B(b)     ((float8)((b)[0], (b)[TILE_N / 8]))
#define EACH_FOUR(F, i) F(ROW_STEP(i), 0, sum[i].lo) F(ROW_STEP(i), TILE_N / 2, sum[i].hi)
#else
#define ROW_OF_B(b)     (*(b))
#define EACH_FOUR(F, i) F(ROW_STEP(i), 0, sum[i])
#endif
#define CLEAR_SUM(i) sum[i] = 0.0f;
#define STEPS        (64 / (ITEM_M * ITEM_N)) /* of the depth at once: 64 multiplications pay for a round of the loop */
#define MULTIPLY_ROW(i) sum[i] = fma((item_row)col.s##i, row, sum[i]);
#define MULTIPLY(k)                                          \
    {                                                        \
        const item_col col = COLUMN_OF_A(a + (k) * PITCH_A); \
        const item_row row = ROW_OF_B(b + (k) * PITCH_B);    \
        EACH_ITEM_ROW(MULTIPLY_ROW)                          \
    }
/* Else a compiler may call what two kernels use, with the sums in memory. */
#define INLINE __attribute__((always_inline)) static inline

INLINE float4 load4(global const float *p, const int count)
{
    if (count >= 4) return vload4(0, p);
    return (float4)(count > 0 ? p[0] : 0.0f, count > 1 ? p[1] : 0.0f, count > 2 ? p[2] : 0.0f, 0.0f);
}

INLINE void store4(const float4 v, global float *p, const int count)
{
    if (count >= 4) {
        vstore4(v, 0, p);
        return;
    }
    if (count > 0) p[0] = v.x;
    if (count > 1) p[1] = v.y;
    if (count > 2) p[2] = v.z;
}

/* tile [TILE_K][extent / 4 + 1] = what memory holds in lines, one a row (or column) of the product where `along_k`, else
 * one a step of the depth; `left` rows and `depth` are there, zeros behind. Neighbours read neighbours in memory. */
INLINE void tile_fill(local float4 *tile, const int extent, global const float *from, const ulong line,
                             const bool along_k, const int left, const int depth)
{
    const int length = along_k ? TILE_K : extent, lines = along_k ? extent : TILE_K, pitch = extent + 4;
    local float *out = (local float *)tile;
    if (left >= extent && depth >= TILE_K && ITEMS * 4 % length == 0) {
        const int at = ITEM * 4 / length, to = ITEM * 4 % length, step = ITEMS * 4 / length;
        if (lines % step != 0 && at >= lines) return;
        from += at * line + to;
        out += along_k ? to * pitch + at : at * pitch + to;
        UNROLL for (int i = 0; i < lines; i += step) {
            const float4 v = vload4(0, from + i * line);
            if (along_k) out[i] = v.x, out[i + pitch] = v.y, out[i + 2 * pitch] = v.z, out[i + 3 * pitch] = v.w;
            else *(local float4 *)(out + i * pitch) = v;
        }
    } else {
        _Pragma("unroll 1") for (int e = ITEM; e < lines * length; e += ITEMS) {
            const int at = e / length, to = e % length, i = along_k ? at : to, k = along_k ? to : at;
            out[k * pitch + i] = i < left && k < depth ? from[at * line + to] : 0.0f;
        }
    }
}

/* sum += A B for a depth of at most TILE_K, rounded up to steps: a [TILE_K][PITCH_A], b [TILE_K][PITCH_B]. */
INLINE void tile_multiply(item_row sum[ITEM_M], local const float4 *a, local const float4 *b, const int depth)
{
    a += ITEM / ITEM_COLS, b += ITEM % ITEM_COLS;
    for (int k = 0; k < depth; k += STEPS, a += STEPS * PITCH_A, b += STEPS * PITCH_B) {
        MULTIPLY(0)
#if STEPS > 1
        MULTIPLY(1)
#endif
#if STEPS > 2
        MULTIPLY(2)
        MULTIPLY(3)
#endif
    }
}
#endif
