/* attention.c - for each head of each sequence P = softmax(scale Q K^T), O = P V; causal: P_ij = 0 for j > i.
 *
 *   dV = P^T dO,   dS = P (dO V^T - D) with D_i = sum_d dO_id O_id,   dQ = scale dS K,   dK = scale dS^T Q
 *
 * Q, K, V are columns of qkv [B, T, 3 heads D]. The result has two parts, O [B, T, heads D] and the logarithm of the sum of
 * exponentials of each row of scores, [B, heads, T]: with it the gradient finds P again block by block (Dao et al. 2022).
 *
 * CPU body: a group packs K and V of the head at hand into panels of TILE_N vectors, with zeros behind the end. A unit of
 * the forward pass is a tile of queries of a head; of the gradient it is a head, whose dK and dV are added up by one group.
 * GPU body: a unit is a block of queries, or for dK and dV one of keys, which a group keeps in local memory. */
#include "graph/op.h"
#include <stdio.h>

enum { ATTENTION, OUT, GRAD };
extern const clg__op clg__ops_attention[];

typedef struct attention_attr {
    int64_t heads, width;
    int     causal;
    double  scale;
} attention_attr;

typedef struct out_attr {
    clg__part      part;
    attention_attr attention;
} out_attr;

static int64_t sums_at(const clg_tensor *qkv) { return clg__part_end(0, qkv->count / 3); }

static clg_status attention_infer(clg__infer *i)
{
    const attention_attr *a = i->attr;
    const clg_tensor     *qkv = i->in[0];
    if (i->op == &clg__ops_attention[GRAD])
        i->shape = qkv->shape;
    else
        i->shape = CLG_SHAPE(sums_at(qkv) + qkv->shape.dim[0] * qkv->shape.dim[1] * a->heads);
    return CLG_OK;
}

/* ---- launches ---------------------------------------------------------------------------------------------------- */

static clg_status cpu_record(clg__record *r, const attention_attr *a, bool back)
{
    enum { QUERY_TILES = 4, KEYS = 256, BACK_KEYS = 128 };
    const uint64_t batch = (uint64_t)r->node->in[0]->shape.dim[0], length = (uint64_t)r->node->in[0]->shape.dim[1];
    const uint64_t m = r->profile->tile_m, panel = r->profile->tile_n * r->profile->vec, width = (uint64_t)a->width;
    const uint64_t padded = CLG__ROUND_UP(length, panel), wide = CLG__ROUND_UP(width, panel);
    const uint64_t heads = batch * (uint64_t)a->heads;
    char           defines[256];
    snprintf(defines, sizeof defines, "#define TILE_SIDE 1\n#define TILE_M %u\n#define TILE_N %u\n#define WIDTH %u\n"
             "#define QUERIES %u\n#define KEYS %u\n#define CAUSAL %d\n", (unsigned)m, (unsigned)r->profile->tile_n,
             (unsigned)width, (unsigned)(QUERY_TILES * m), (unsigned)CLG__ROUND_UP(back ? BACK_KEYS : KEYS, panel), a->causal);
    const uint64_t units = back ? heads : heads * ((length + m - 1) / m);
    const uint64_t each = back ? padded * (2 * width + wide) + 2 * (padded + m) * wide : padded * (width + wide);
    const int      packed = clg__record_workspace(r, clg__record_groups(r, units) * each * 4);
    const clg__arg sizes[] = {CLG__UINT(batch), CLG__UINT(length), CLG__UINT(a->heads), CLG__UINT(padded)};
    const clg__arg logs = CLG__ULONG(sums_at(r->node->in[0])), scale = CLG__FLOAT(a->scale);
    if (!back)
        return clg__record_units(r, "attention", "attention", defines, units,
                                 CLG__ARGS(CLG__IN(0), CLG__WS(packed), CLG__OUT, logs, sizes[0], sizes[1], sizes[2], sizes[3],
                                           scale));
    return clg__record_units(r, "attention", "attention_grad", defines, units,
                             CLG__ARGS(CLG__IN(0), CLG__WS(packed), CLG__IN(1), CLG__IN(2), CLG__OUT, logs, sizes[0], sizes[1],
                                       sizes[2], sizes[3], scale));
}

/* Local memory in floats: `rows` matrices [block, width + 1] and `squares` [block, block + 1], and a few rows. */
static uint64_t local_floats(uint64_t block, uint64_t width, uint64_t rows, uint64_t squares)
{
    return rows * block * (width + 1) + squares * block * (block + 1) + 4 * block;
}

static clg_status gpu_record(clg__record *r, const attention_attr *a, bool back)
{
    const uint64_t batch = (uint64_t)r->node->in[0]->shape.dim[0], length = (uint64_t)r->node->in[0]->shape.dim[1];
    const uint64_t width = (uint64_t)a->width, local = CLG__MIN(r->local_memory, 32768) / 4;
    uint64_t       block = 32;
    while (block > 1 && local_floats(block, width, back ? 4 : 3, back ? 2 : 1) > local) block /= 2;
    if (local_floats(block, width, back ? 4 : 3, back ? 2 : 1) > local)
        return clg__op_fail(r->node->in[0], "attention", CLG_UNSUPPORTED, "a head of width %d does not fit into local memory",
                            (int)width), CLG_UNSUPPORTED;
    char defines[160];
    snprintf(defines, sizeof defines, "#define WIDTH %u\n#define BLOCK %u\n#define BACK %d\n#define CAUSAL %d\n",
             (unsigned)width, (unsigned)block, back, a->causal);
    const uint64_t units = batch * (uint64_t)a->heads * ((length + block - 1) / block);
    const clg__arg sizes[] = {CLG__UINT(batch), CLG__UINT(length), CLG__UINT(a->heads), CLG__FLOAT(a->scale)};
    const clg__arg at = CLG__ULONG(sums_at(r->node->in[0]));
    if (!back)
        return clg__record_units(r, "attention", "attention", defines, units,
                                 CLG__ARGS(CLG__IN(0), CLG__OUT, at, sizes[0], sizes[1], sizes[2], sizes[3]));
    static const char *const kernels[] = {"attention_grad_queries", "attention_grad_keys"};
    clg_status               status = CLG_OK;
    for (int k = 0; k < 2 && status == CLG_OK; k++)
        status = clg__record_units(r, "attention", kernels[k], defines, units,
                                   CLG__ARGS(CLG__IN(0), CLG__IN(1), CLG__IN(2), CLG__OUT, at, sizes[0], sizes[1], sizes[2],
                                             sizes[3]));
    return status;
}

static clg_status attention_record(clg__record *r)
{
    const bool            back = r->node->op == &clg__ops_attention[GRAD];
    const attention_attr *a = r->node->attr;
    if (r->node->in[0]->count == 0) return CLG_OK;
    return r->profile->base[0] == 'c' ? cpu_record(r, a, back) : gpu_record(r, a, back);
}

/* ---- references -------------------------------------------------------------------------------------------------- */

typedef struct head { /* of a sequence; `pitch` from position to position */
    const double *q, *k, *v;
    int64_t       pitch, length;
} head;

static head head_of(const clg_tensor *qkv, const attention_attr *a, const double *value, int64_t index)
{
    const int64_t pitch = qkv->shape.dim[2], length = qkv->shape.dim[1];
    const double *q = value + index / a->heads * length * pitch + index % a->heads * a->width;
    return (head){q, q + pitch / 3, q + 2 * (pitch / 3), pitch, length};
}

static double dot(const double *a, const double *b, int64_t n)
{
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

static double score(const head *h, const attention_attr *a, int64_t i, int64_t j)
{
    return a->scale * dot(h->q + i * h->pitch, h->k + j * h->pitch, a->width);
}

static double log_sum(const head *h, const attention_attr *a, int64_t i)
{
    double        max = -(double)INFINITY, sum = 0.0;
    const int64_t end = a->causal ? i + 1 : h->length;
    for (int64_t j = 0; j < end; j++) max = fmax(max, score(h, a, i, j));
    for (int64_t j = 0; j < end; j++) sum += exp(score(h, a, i, j) - max);
    return max + log(sum);
}

static void attention_reference(const clg__ref *r)
{
    const attention_attr *a = r->node->attr;
    const clg_tensor     *qkv = r->node->in[0];
    for (int64_t i = 0; i < r->node->count; i++) r->out[i] = 0.0;
    for (int64_t index = 0; index < qkv->shape.dim[0] * a->heads; index++) {
        const head h = head_of(qkv, a, r->in[0], index);
        double    *out = r->out + (h.q - r->in[0]) / h.pitch * (h.pitch / 3) + index % a->heads * a->width;
        for (int64_t i = 0; i < h.length; i++) {
            const double sum = r->out[sums_at(qkv) + index * h.length + i] = log_sum(&h, a, i);
            for (int64_t j = 0; j < (a->causal ? i + 1 : h.length); j++) {
                const double p = exp(score(&h, a, i, j) - sum);
                for (int64_t d = 0; d < a->width; d++) out[i * (h.pitch / 3) + d] += p * h.v[j * h.pitch + d];
            }
        }
    }
}

static void grad_reference(const clg__ref *r) /* qkv, both results, dO */
{
    const attention_attr *a = r->node->attr;
    const clg_tensor     *qkv = r->node->in[0];
    for (int64_t i = 0; i < r->node->count; i++) r->out[i] = 0.0;
    for (int64_t index = 0; index < qkv->shape.dim[0] * a->heads; index++) {
        const head    h = head_of(qkv, a, r->in[0], index);
        const int64_t third = h.pitch / 3, at = (h.q - r->in[0]) / h.pitch * third + index % a->heads * a->width;
        double       *dq = r->out + (h.q - r->in[0]), *dk = dq + third, *dv = dk + third;
        for (int64_t i = 0; i < h.length; i++) {
            const double *dout = r->in[2] + at + i * third, *out = r->in[1] + at + i * third;
            const double  sum = r->in[1][sums_at(qkv) + index * h.length + i], D = dot(dout, out, a->width);
            for (int64_t j = 0; j < (a->causal ? i + 1 : h.length); j++) {
                const double p = exp(score(&h, a, i, j) - sum);
                const double ds = a->scale * p * (dot(dout, h.v + j * h.pitch, a->width) - D);
                for (int64_t d = 0; d < a->width; d++) {
                    dq[i * h.pitch + d] += ds * h.k[j * h.pitch + d];
                    dk[j * h.pitch + d] += ds * h.q[i * h.pitch + d];
                    dv[j * h.pitch + d] += p * dout[d];
                }
            }
        }
    }
}

/* ---- interface --------------------------------------------------------------------------------------------------- */

static clg_tensor *out_gradient(const clg__grad *g, int input)
{
    const out_attr *attr = g->out->attr;
    return input == 0 ? NULL
                      : clg__apply_attr(&clg__ops_attention[GRAD], &attr->attention, g->out->in[1], g->out->in[0], g->dout);
}

/* A pair of positions takes two dot products of a head's width, in the gradient five. */
static clg__cost attention_cost(const clg_tensor *t)
{
    const attention_attr *a = t->attr;
    const int64_t        *d = t->in[0]->shape.dim;
    const double          length = (double)d[1], pairs = a->causal ? 0.5 * length * (length + 1.0) : length * length;
    const double          products = t->op == &clg__ops_attention[GRAD] ? 5.0 : 2.0;
    return (clg__cost){.flops = 2.0 * products * pairs * (double)(d[0] * a->heads * a->width)};
}

const clg__op clg__ops_attention[] = {
    [ATTENTION] = {.name = "attention", .arity = 1, .flags = CLG__NO_GRAD, .infer = attention_infer,
                   .record = attention_record, .reference = attention_reference, .cost = attention_cost},
    [OUT] = {.name = "attention_out", .arity = 2, .flags = CLG__VIEW | CLG__PART, .infer = clg__part_infer,
             .gradient = out_gradient, .reference = clg__part_reference},
    [GRAD] = {.name = "attention_grad", .arity = 3, .infer = attention_infer, .record = attention_record,
              .reference = grad_reference, .cost = attention_cost},
    {0},
};

clg_tensor *clg_attention(clg_tensor *qkv, const clg_attention_desc *desc)
{
    const clg_attention_desc d = desc ? *desc : (clg_attention_desc){0};
    if (!qkv) return NULL;
    const clg_shape shape = qkv->shape;
    if (qkv->dtype != CLG_F32 || shape.rank != 3 || d.heads < 1 || shape.dim[2] < 1 || shape.dim[2] % (3 * (int64_t)d.heads))
        return clg__op_fail(qkv, "attention", CLG_INVALID_SHAPE, "qkv must be f32 [B, T, 3 * heads * D], with %d heads", d.heads);
    if (shape.dim[1] > INT32_MAX / 2 || shape.dim[2] > INT32_MAX / 2)
        return clg__op_fail(qkv, "attention", CLG_UNSUPPORTED, "an extent is beyond 2^30");
    if (!isfinite(d.scale)) return clg__op_fail(qkv, "attention", CLG_INVALID_ARGUMENT, "the scale is not finite");
    attention_attr a = {d.heads, shape.dim[2] / 3 / d.heads, d.causal, d.scale};
    if (a.scale == 0.0) a.scale = 1.0 / sqrt((double)a.width);
    clg_tensor    *all = clg__apply_attr(&clg__ops_attention[ATTENTION], &a, qkv);
    const out_attr out = {{0, CLG_SHAPE(shape.dim[0], shape.dim[1], shape.dim[2] / 3)}, a};
    return clg__apply_attr(&clg__ops_attention[OUT], &out, all, qkv);
}
