/* batch.c - the graph of many cases, and the values of its leaves. */
#include "doctor/cases.h"
#include <stdlib.h>
#include <string.h>

/* ---- values ------------------------------------------------------------------------------------------------------ */

static clg_dtype dtype_of(op_values v)
{
    return v == BYTES ? CLG_U8 : v == LABELS || v == NO_LABELS || v == INDICES || v == NUMBERS || v == BITS ? CLG_I32 : CLG_F32;
}

static double draw(const clg__subject *s, int k, uint64_t seed, int64_t i)
{
    const double   u = (double)clg_random_uniform(seed + (uint64_t)k, 2 * (uint64_t)i);
    const int64_t  n = (int64_t)clg_random_u32(seed + (uint64_t)k, 2 * (uint64_t)i + 1);
    const int64_t *dim = s->of->row.in[0].shape.dim;
    switch (s->values[k]) {
    case NORMAL:    return (double)(float)(4.0 * u - 2.0);
    case POSITIVE:  return (double)(float)(0.5 + 2.0 * u);
    case AWAY:      return (double)(float)((0.5 + 1.5 * u) * (n & 1 ? -1.0 : 1.0));
    case WHOLE:     return (double)(n % 9 - 4);
    case UNIT:      return u;
    case LABELS:    return i % 3 == 2 ? -1.0 : (double)(n % dim[1]);
    case NO_LABELS: return -1.0;
    case INDICES:   return (double)(n % (dim[0] + 4) - 2);
    case BYTES:     return (double)(n % 256);
    case BITS:      return (double)(n & 1);
    case NUMBERS:   return (double)(n % 2000001 - 1000000);
    case DISTINCT:
    case NOTHING:   break;
    }
    return 0.0;
}

double *clg__subject_draw(const clg__subject *s, int k, uint64_t seed)
{
    const int64_t n = s->leaf[k]->count;
    double       *value = clg__calloc(s->leaf[k]->graph->object.root, (size_t)n + 1, sizeof *value);
    for (int64_t i = 0; value && i < n; i++) value[i] = draw(s, k, seed, i);
    if (!value || s->values[k] != DISTINCT) return value;
    for (int64_t i = 0; i < n; i++) value[i] = (double)(float)((2.0 * (double)i + 1.0) / (double)n - 1.0);
    for (int64_t i = n - 1; i > 0; i--) {
        const int64_t other = (int64_t)(clg_random_u32(seed, (uint64_t)i) % (uint64_t)(i + 1));
        const double  kept = value[i];
        value[i] = value[other];
        value[other] = kept;
    }
    return value;
}

/* ---- graphs ------------------------------------------------------------------------------------------------------ */

/* t itself, or a copy of it that is nobody's leaf or output and so lies between guards. */
static clg_tensor *moved(clg_tensor *t, bool displaced)
{
    return displaced && t && t->dtype == CLG_F32 ? clg_scale(t, 1.0) : t;
}

static clg_tensor *add_leaf(clg__subject *s, clg_graph *g, op_values values, clg_shape shape)
{
    s->values[s->leaves] = values;
    return s->leaf[s->leaves++] = clg_input(g, dtype_of(values), shape);
}

static void build(clg__subject *s, clg_graph *g, bool displaced)
{
    const op_row   *row = &s->of->row;
    clg_tensor     *in[CLG__CASE_INPUTS] = {0};
    const op_values other = row->flags & EXACT ? WHOLE : row->in[0].values == POSITIVE ? POSITIVE : NORMAL;
    for (; s->inputs < CLG__CASE_INPUTS && row->in[s->inputs].values; s->inputs++) {
        clg_tensor *t = add_leaf(s, g, row->in[s->inputs].values, row->in[s->inputs].shape);
        in[s->inputs] = moved(t, displaced);
        if (t && t->dtype == CLG_F32) s->wrt[s->wrts++] = t;
    }
    clg_tensor *y = row->build(row, in);
    s->out[s->outs++] = moved(y, displaced);
    if (y && !(row->flags & FIXED)) {
        clg_tensor *w = s->wrt[s->wrts] = add_leaf(s, g, other, y->shape);
        s->loss = clg_sum(clg_mul(y, moved(w, displaced)), NULL);
        clg_gradients(s->loss, s->wrt, (size_t)s->wrts, s->d);
        for (int i = 0; i < s->wrts; i++) s->out[s->outs++] = moved(s->d[i], displaced);
    }
    if (s->loss && row->flags & SMOOTH) {
        for (int i = 0; i < s->wrts; i++) {
            clg_tensor *v = add_leaf(s, g, other, s->wrt[i]->shape);
            clg_tensor *part = clg_sum(clg_mul(s->d[i], moved(v, displaced)), NULL);
            s->slope = s->slope ? clg_add(s->slope, part) : part;
        }
        clg_gradients(s->slope, s->wrt, (size_t)s->wrts + 1, s->dd);
        for (int i = 0; i <= s->wrts; i++) s->out[s->outs++] = moved(s->dd[i], displaced);
    }
}

bool clg__batch_has(const clg__batch *b, size_t subject, const char *op)
{
    for (uint32_t i = b->subjects[subject].first; i < b->subjects[subject].last; i++)
        if (strcmp(b->g->nodes[i]->op->name, op) == 0) return true;
    return false;
}

/* The values differ with the check's seed and with the row, and not with what stands beside it. */
static uint64_t seed_of(const op_row *row, uint64_t seed)
{
    uint64_t hash = clg__hash(seed, row->op, strlen(row->op));
    for (int k = 0; k < CLG__CASE_INPUTS; k++) hash = clg__hash(hash, row->in[k].shape.dim, sizeof row->in[k].shape.dim);
    return hash;
}

/* The next subject; false, and a fault, when it cannot be built. */
static bool add(clg__batch *b, const clg__case *c, const clg__check *check)
{
    clg__subject *s = &b->subjects[b->count];
    *s = (clg__subject){.of = c, .seed = seed_of(&c->row, check->seed), .first = b->g->count};
    build(s, b->g, check->displaced);
    s->last = b->g->count;
    bool whole = clg__batch_has(b, b->count, c->row.op);
    for (int i = 0; i < s->outs; i++) whole = whole && s->out[i];
    if (clg_context_failed(b->ctx)) clg__case_fault(check, c, "%s", clg_context_error(b->ctx));
    else if (!whole) clg__case_fault(check, c, "the row says %s, but its graph has no such operator", c->row.op);
    whole = whole && !clg_context_failed(b->ctx);
    clg_context_clear_error(b->ctx);
    return whole;
}

bool clg__batch_open(clg__batch *b, clg_context *ctx, const clg__case *cases, size_t count, const clg__check *check)
{
    *b = (clg__batch){.ctx = ctx, .g = clg_graph_create(ctx, NULL)};
    clg__root *root = clg__context_root(ctx);
    b->subjects = clg__calloc(root, count + 1, sizeof *b->subjects);
    b->outs = clg__calloc(root, count * CLG__CASE_OUTS + 1, sizeof *b->outs);
    if (!b->g || !b->subjects || !b->outs) return false;
    b->g->alone = check->displaced;
    for (size_t i = 0; i < count; i++) b->count += add(b, &cases[i], check);
    for (size_t i = 0; i < b->count; i++) {
        clg__subject *s = &b->subjects[i];
        for (int k = 0; k < s->leaves && !check->graph_only; k++)
            if (!(s->value[k] = clg__subject_draw(s, k, s->seed))) return false;
        for (int k = 0; k < s->outs; k++) b->outs[b->out_count++] = s->out[k];
    }
    return true;
}

void clg__batch_close(clg__batch *b)
{
    for (size_t i = 0; i < b->count; i++)
        for (int k = 0; k < b->subjects[i].leaves; k++) free(b->subjects[i].value[k]);
    free(b->subjects);
    free(b->outs);
    clg_graph_destroy(&b->g);
}
