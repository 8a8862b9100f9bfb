/* dropout.c - y = x m / (1 - rate), with m 0 or 1 at random: Srivastava et al. 2014.
 *
 * The mask is never in memory: forward and backward draw it again, from the seed, the step and the element's index. So the
 * gradient is the operator itself, applied to dy. */
#include "graph/op.h"

typedef struct dropout_attr {
    double   rate;
    uint64_t key;
} dropout_attr;

extern const clg__op clg__ops_dropout[];

static clg_status dropout_infer(clg__infer *i)
{
    i->shape = i->in[0]->shape;
    if (i->in[0]->dtype != CLG_F32) return clg__infer_fail(i, "x must be f32");
    return i->in[1]->dtype == CLG_I32 && i->in[1]->count == 1 ? CLG_OK : clg__infer_fail(i, "the step must be one i32");
}

static uint32_t threshold(double rate) { return (uint32_t)(rate * 4294967296.0); }

static clg_status dropout_record(clg__record *r)
{
    const dropout_attr *a = r->node->attr;
    const uint64_t      items = ((uint64_t)r->node->count + 63) / 64 * (16 / r->profile->vec), wg = r->profile->wg;
    return clg__record_units(r, "dropout", "dropout", NULL, (items + wg - 1) / wg,
                             CLG__ARGS(CLG__IN(0), CLG__IN(1), CLG__OUT, CLG__ULONG(r->node->count), CLG__UINT(a->key),
                                       CLG__UINT(a->key >> 32), CLG__UINT(threshold(a->rate)), CLG__FLOAT(1.0 / (1.0 - a->rate))));
}

static void dropout_reference(const clg__ref *r)
{
    const dropout_attr *a = r->node->attr;
    for (int64_t i = 0; i < r->node->count; i++) {
        const uint64_t block = (uint64_t)i / 64 * 16 + (uint64_t)i % 16;
        uint32_t       word[4];
        clg__philox((const uint32_t[4]){(uint32_t)block, (uint32_t)(block >> 32), (uint32_t)(int32_t)r->in[1][0], 1}, a->key, word);
        r->out[i] = word[i % 64 / 16] < threshold(a->rate) ? 0.0 * r->in[0][i] : r->in[0][i] / (1.0 - a->rate);
    }
}

static clg_tensor *dropout_gradient(const clg__grad *g, int input)
{
    const dropout_attr *a = g->out->attr;
    return (void)input, clg__apply_attr(&clg__ops_dropout[0], a, g->dout, g->out->in[1]);
}

const clg__op clg__ops_dropout[] = {
    {.name = "dropout", .arity = 2, .flags = CLG__INPLACE, .infer = dropout_infer, .record = dropout_record,
     .gradient = dropout_gradient, .reference = dropout_reference},
    {0},
};

clg_tensor *clg_dropout(clg_tensor *x, const clg_dropout_desc *desc)
{
    clg_dropout_desc d = desc ? *desc : (clg_dropout_desc){0};
    if (!x) return NULL;
    if (!(d.rate >= 0.0 && d.rate < 1.0))
        return clg__op_fail(x, "dropout", CLG_INVALID_ARGUMENT, "the rate is %g: it must be in [0, 1)", d.rate);
    if (d.rate == 0.0 || (!d.step && !clg_graph_training(x->graph))) return x;
    uint32_t place = x->id;
    if (!d.step) {
        d.step = clg__own_step(x->graph);
        if (!d.step) return NULL;
        place = d.step->id;
    }
    return clg__apply_attr(&clg__ops_dropout[0], &((dropout_attr){d.rate, clg__hash(d.seed, &place, sizeof place)}), x, d.step);
}
