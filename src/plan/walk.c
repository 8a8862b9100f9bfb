/* walk.c - looking inside: a run that stops after each node, and what a tensor's values are like.
 *
 * The plans of an observed graph are made for it: fuse.c leaves every node alone, and build.c makes each an output, whose value
 * has memory of its own. An operator with several results is looked at by these, since nobody defines what lies between. */
#include "plan/plan.h"
#include <math.h>
#include <stdlib.h>

/* Calls visit for what step s has computed; false when it has had enough. */
static bool show(const clg_plan *p, int s, clg_plan_visit *visit, void *user)
{
    clg_tensor *node = p->graph->nodes[p->steps[s].nodes[0]->id];
    bool        parts = false, more = true;
    if (node->op == &clg__op_full || node->op == &clg__op_pack) return true; /* constant; a copy */
    for (size_t i = node->id + 1; i < p->node_count && more; i++) {
        clg_tensor *part = p->graph->nodes[i];
        if (!p->needed[i] || !(part->op->flags & CLG__PART) || part->in[0] != node) continue;
        parts = true;
        more = visit(user, part);
    }
    return parts ? more : visit(user, node);
}

clg_status clg_plan_walk(clg_plan *p, clg_plan_visit *visit, void *user)
{
    if (!p) return CLG_INVALID_ARGUMENT;
    if (clg_context_failed(p->ctx)) return clg_context_status(p->ctx);
    if (!visit) return clg__fail(p->object.root, CLG_INVALID_ARGUMENT, "plan: no function given to walk it with");
    if (!p->observed)
        return clg__fail(p->object.root, CLG_INVALID_ARGUMENT, "plan: only those of a graph that was created with .observed can be walked");
    clg__plan_begin(p);
    size_t launch = 0;
    for (int s = 0; s < p->step_count; s++) {
        for (; launch < p->launch_count && p->launches[launch].step == s; launch++)
            if (clg__plan_launch(p, launch)) return clg_context_status(p->ctx);
        if (p->steps[s].nodes[0]->count && !show(p, s, visit, user)) break;
    }
    return clg_context_status(p->ctx);
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

static void gather(clg_tensor_stats *s, const void *value, clg_dtype dtype)
{
    double  sum = 0.0;
    int64_t finite = 0;
    for (int64_t i = 0; i < s->count; i++) {
        const double v = dtype == CLG_F32 ? (double)((const float *)value)[i] : (double)((const int32_t *)value)[i];
        if (!isfinite(v)) {
            if (s->first < 0) s->first = i, s->value = v;
            if (isnan(v)) s->nans++;
            else s->infinities++;
            continue;
        }
        if (!finite++) s->min = s->max = v;
        s->min = fmin(s->min, v);
        s->max = fmax(s->max, v);
        sum += v;
    }
    if (finite) s->mean = sum / (double)finite;
}

clg_status clg_tensor_measure(clg_tensor *t, clg_tensor_stats *stats)
{
    if (!t || !stats) return CLG_INVALID_ARGUMENT;
    clg_context *ctx = t->graph->ctx;
    const double none = (double)NAN;
    *stats = (clg_tensor_stats){.count = t->count, .min = none, .max = none, .mean = none, .first = -1};
    const clg_tensor *base = clg__base_of(t);
    if (base->op == &clg__op_full) {
        const double value = ((const clg__full_attr *)base->attr)->value;
        if (t->count) stats->min = stats->max = stats->mean = value;
        return CLG_OK;
    }
    if (t->dtype == CLG_U8) return clg__fail(t->graph->object.root, CLG_UNSUPPORTED, "measure: the tensor is u8"), CLG_UNSUPPORTED;
    void            *value = clg__calloc(t->graph->object.root, (size_t)t->count + 1, 4);
    const clg_status status = value ? clg_tensor_read(t, value, 4 * (size_t)t->count) : clg_context_status(ctx);
    if (!status) gather(stats, value, t->dtype);
    free(value);
    return status;
}

/* ---- where a tensor comes from: of a part, the operator that computes it -------------------------------------------- */

static const clg_tensor *computed(const clg_tensor *t) { return t->op->flags & CLG__PART ? t->in[0] : t; }

const char *clg_tensor_op(const clg_tensor *t) { return t ? computed(t)->op->name : ""; }
int         clg_tensor_input_count(const clg_tensor *t) { return t ? computed(t)->arity : 0; }

clg_tensor *clg_tensor_input(const clg_tensor *t, int i)
{
    return i >= 0 && i < clg_tensor_input_count(t) ? computed(t)->in[i] : NULL;
}
