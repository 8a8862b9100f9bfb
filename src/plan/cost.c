/* cost.c - what the steps of a plan cost at least, however their kernels go about it: each input and each stored result
 * once over the bus, and the operators' arithmetic. Values that never leave a fused kernel cost no bytes. */
#include "plan/plan.h"

/* Parts show a piece of their base; other views all of it, and what repeats is read once. */
static double bytes_of(const clg_tensor *t)
{
    const clg_tensor *base = clg__base_of(t);
    return (double)CLG__MIN(t->count, base->count) * (double)clg_dtype_size(t->dtype);
}

static bool seen_before(const clg__step *step, int node, int input)
{
    const clg_tensor *base = clg__base_of(step->nodes[node]->in[input]);
    for (int i = 0; i <= node; i++)
        for (int k = 0; k < (i < node ? step->nodes[i]->arity : input); k++)
            if (clg__base_of(step->nodes[i]->in[k]) == base) return true;
    return false;
}

static double step_bytes(const clg_plan *p, int s)
{
    const clg__step *step = &p->steps[s];
    double           sum = 0.0;
    for (int i = 0; i < step->count; i++) {
        const clg_tensor *t = step->nodes[i];
        const clg__place  at = p->place[t->id];
        if (at.storage || at.interval >= 0) sum += bytes_of(t);
        for (int k = 0; k < t->arity; k++) {
            const clg_tensor *base = clg__base_of(t->in[k]);
            const clg__place  from = p->place[base->id];
            if (p->step_of[base->id] != s && (from.storage || from.interval >= 0) && !seen_before(step, i, k))
                sum += bytes_of(t->in[k]);
        }
    }
    return sum;
}

static double copied_bytes(const clg_plan *p, const clg_tensor *pack)
{
    const clg__pack_attr *attr = pack->attr;
    double                sum = 0.0;
    for (int k = 0; k < pack->arity; k++) {
        const clg__place from = clg__plan_where(p, pack->in[k]);
        if (from.storage != attr->storage || from.offset != attr->offset[k]) sum += 2.0 * bytes_of(pack->in[k]);
    }
    return sum;
}

static double node_flops(const clg_tensor *t)
{
    if (t->op->cost) return t->op->cost(t).flops;
    if (t->op == &clg__op_pack || t->op == &clg__op_full || t->op == &clg__op_assign) return 0.0;
    return (double)(t->arity ? CLG__MAX(t->count, t->in[0]->count) : t->count);
}

clg__cost clg__plan_cost(const clg_plan *p, int s)
{
    const clg__step  *step = &p->steps[s];
    const clg_tensor *t = step->nodes[CLG__MAX(step->op, 0)];
    clg__cost         sum = {0};
    if (t->op == &clg__op_pack) return (clg__cost){.bytes = copied_bytes(p, t)};
    sum.bytes = t->op->cost ? t->op->cost(t).bytes : 0.0;
    if (sum.bytes == 0.0) sum.bytes = step_bytes(p, s);
    for (int i = 0; i < step->count; i++) sum.flops += node_flops(step->nodes[i]);
    return sum;
}
