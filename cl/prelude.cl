/* prelude.cl - prepended to every program.
 *
 * WG   work-items in a group of row-wise and pointwise kernels (a power of two; 1 on CPU devices)
 * VEC  floats in a vector (16 on CPU devices, 1 to 4 on GPUs)
 *
 * A tensor reaches a kernel as a buffer and an offset in elements: TENSOR(x) declares both, x += x_at applies it. */
#if !defined(WG) || !defined(VEC)
#error "prelude.cl needs WG and VEC"
#endif
#define CAT_(a, b) a##b
#define CAT(a, b)  CAT_(a, b)

#if VEC == 1
typedef float vec;
typedef int   ivec;
#define LANES        0
#define VLOAD(p)     (*(p))
#define VSTORE(v, p) (*(p) = (v))
#define VPUT(v, p)   (*(p) = (v))
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
#endif

/* The first `count` lanes, which may be all of them; zeros behind. */
static inline vec load_part(global const float *p, const int count)
{
    if (count >= VEC) return VLOAD(p);
    float t[VEC] = {0.0f};
    for (int i = 0; i < count; i++) t[i] = p[i];
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
    for (int i = 0; i < count; i++) p[i] = t[i];
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
/* A group takes units of work (rows, chunks) in turn. */
#define EACH_UNIT(u, units) for (uint u = get_group_id(0); u < (units); u += get_num_groups(0))
#define EACH_ROW(r, rows)   EACH_UNIT(r, rows)
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

#define UNROLL _Pragma("unroll")

/* r[i] lane j becomes r[j] lane i: log2(VEC) perfect shuffles. */
static inline void transpose_tile(vec *r)
{
#if VEC > 1
    for (int step = 1; step < VEC; step *= 2) {
        vec t[VEC];
        UNROLL for (int i = 0; i < VEC / 2; i++) {
            t[2 * i].even = r[i].lo, t[2 * i].odd = r[i + VEC / 2].lo;
            t[2 * i + 1].even = r[i].hi, t[2 * i + 1].odd = r[i + VEC / 2].hi;
        }
        UNROLL for (int i = 0; i < VEC; i++) r[i] = t[i];
    }
#endif
}

/* ---- tiles of gemm.cl and conv2d.cl --------------------------------------------------------------------------------
 *
 * Both multiply A, TILE_M rows high, with B, TILE_N wide, a depth of TILE_K at a time; their defines say which body:
 *   TILE_SIDE == 1   a work-item holds TILE_M rows of TILE_N vectors in registers, B lies packed in private memory
 *   TILE_SIDE > 1    TILE_SIDE x TILE_SIDE items share a tile of TILE_M x TILE_N through local memory */
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

/* to[j * step + i] = r[i] lane j for i < count, j < lanes. */
static inline void store_turned(vec *r, global float *to, const ulong step, const int lanes, const int count)
{
    transpose_tile(r);
    if (count >= VEC && lanes >= VEC) {
        UNROLL for (int j = 0; j < VEC; j++) VPUT(r[j], to + j * step);
    } else {
        float t[VEC * VEC];
        UNROLL for (int j = 0; j < VEC; j++) VSTORE(r[j], t + j * VEC);
        for (int j = 0; j < min(lanes, VEC); j++)
            for (int i = 0; i < min(count, VEC); i++) to[j * step + i] = t[j * VEC + i];
    }
}

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
#define ITEM_M  (TILE_M / TILE_SIDE)
#define ITEM_N  (TILE_N / TILE_SIDE)
#define ITEM    (get_local_id(1) * TILE_SIDE + get_local_id(0))
#define ITEMS   (TILE_SIDE * TILE_SIDE)
#define PITCH_A (TILE_M + 1) /* off the powers of two, for local memory has banks */
#define PITCH_B (TILE_N + 1)

/* acc += A B for a depth of at most TILE_K: a [depth][PITCH_A], b [depth][PITCH_B]. An item's rows and columns are
 * TILE_SIDE apart, so that neighbours store side by side. */
static inline void tile_multiply(float acc[ITEM_M][ITEM_N], local const float *a, local const float *b, const int depth)
{
    a += get_local_id(1), b += get_local_id(0);
    for (int k = 0; k < depth; k++, a += PITCH_A, b += PITCH_B) {
        float col[ITEM_N];
        UNROLL for (int j = 0; j < ITEM_N; j++) col[j] = b[j * TILE_SIDE];
        UNROLL for (int i = 0; i < ITEM_M; i++) {
            const float s = a[i * TILE_SIDE];
            UNROLL for (int j = 0; j < ITEM_N; j++) acc[i][j] = fma(s, col[j], acc[i][j]);
        }
    }
}
#endif
