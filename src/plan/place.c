/* place.c - where values lie.
 *
 * Leaves lie in their storages. So do outputs, the values of assignments, and what is packed: a gradient is written to its
 * place in the model's gradient storage by the kernel that computes it. Everything else gets an interval of planned
 * memory, taking over the interval of an input that ends here where the operator allows it. */
#include "plan/plan.h"
#include <limits.h>
#include <stdlib.h>

static clg_tensor *node(const clg_plan *p, size_t i) { return p->graph->nodes[i]; }

clg__place clg__plan_where(const clg_plan *p, const clg_tensor *t)
{
    clg__place at = p->place[clg__base_of(t)->id];
    at.offset += clg__view_offset(t);
    return at;
}

int clg__plan_interval(clg_plan *p, uint64_t bytes, int first, int last)
{
    clg__interval *moved = clg__plan_grow(p, p->intervals, &p->interval_capacity, p->interval_count, sizeof *moved);
    if (!moved) return -1;
    p->intervals = moved;
    if (p->guard) last = INT_MAX; /* nothing is shared then, so that every guard keeps its pattern */
    p->intervals[p->interval_count] = (clg__interval){.bytes = bytes + 8 * p->guard, .first = first, .last = last, .slab = -1};
    p->stats.unplanned_bytes += bytes;
    return (int)p->interval_count++;
}

static bool has_place(const clg_plan *p, size_t i) { return p->place[i].storage || p->place[i].interval >= 0; }

/* Which values somebody wants in memory, and until when. */
static void find_uses(clg_plan *p, bool *stored)
{
    for (size_t i = 0; i < p->node_count; i++) {
        p->last_use[i] = p->step_of[i];
        p->place[i] = (clg__place){.interval = -1};
        stored[i] = p->is_output[i] || node(p, i)->op == &clg__op_assign;
    }
    for (size_t i = 0; i < p->node_count; i++) {
        const clg_tensor *t = node(p, i);
        for (int k = 0; p->needed[i] && k < t->arity; k++) {
            const clg_tensor *base = clg__base_of(t->in[k]);
            const bool folded = p->step_of[i] >= 0 && p->steps[p->step_of[i]].op >= 0; /* its views are in the step */
            if (p->step_of[i] != p->step_of[base->id] || (base != t->in[k] && !folded)) stored[base->id] = true;
            p->last_use[base->id] = CLG__MAX(p->last_use[base->id], p->step_of[i]);
        }
    }
}

/* ---- storages ---------------------------------------------------------------------------------------------------- */

static bool place_outputs(clg_plan *p)
{
    for (size_t i = 0; i < p->node_count; i++) {
        clg_tensor *t = node(p, i);
        if (!p->needed[i]) continue;
        if (t->op == &clg__op_assign) { /* an output, if it is one, is read where it was assigned */
            const clg_tensor *to = ((const clg__assign_attr *)t->attr)->to;
            t->storage = to->storage;
            t->offset = to->offset;
        } else if (t->op == &clg__op_pack) {
            t->storage = ((const clg__pack_attr *)t->attr)->storage;
            for (size_t k = 0; k < i; k++)
                if (p->needed[k] && node(p, k)->op == &clg__op_pack && node(p, k)->storage == t->storage)
                    return clg__fail(p->object.root, CLG_UNSUPPORTED, "a plan can hold one gradient of a model's parameters: "
                                     "make a plan for each, or add the losses"), false;
        } else if (p->is_output[i] && !t->storage) {
            t->storage = clg__storage_create(p->object.root, t->dtype, t->count, "an output");
            if (!t->storage || !clg__graph_hold(p->graph, t->storage)) return false;
            clg__storage *held = t->storage;
            clg__storage_release(&held); /* the graph holds it now */
        }
        if (t->storage && (p->is_output[i] || t->op->flags & CLG__LEAF || t->op == &clg__op_assign || t->op == &clg__op_pack))
            p->place[i] = (clg__place){t->storage, -1, t->offset};
    }
    return true;
}

/* May it be computed right where it is to go? Only what nobody has claimed yet. */
static bool may_go(const clg_plan *p, const clg_tensor *base)
{
    return p->step_of[base->id] >= 0 && !has_place(p, base->id) && base->op != &clg__op_assign;
}

/* Is all of `base` packed where it would lie, were its first element at `from`? */
static bool packs_whole(const clg_tensor *pack, const clg_tensor *base, int64_t from)
{
    const clg__pack_attr *attr = pack->attr;
    int64_t               count = 0;
    for (int k = 0; k < pack->arity; k++)
        if (clg__base_of(pack->in[k]) == base && attr->offset[k] - clg__view_offset(pack->in[k]) == from) count += pack->in[k]->count;
    return count == base->count;
}

static void place_packed(clg_plan *p)
{
    for (size_t i = 0; i < p->node_count; i++) {
        const clg_tensor *t = node(p, i);
        if (!p->needed[i] || t->op != &clg__op_pack) continue;
        const clg__pack_attr *attr = t->attr;
        for (int k = 0; k < t->arity; k++) {
            const clg_tensor *base = clg__base_of(t->in[k]);
            const int64_t     from = attr->offset[k] - clg__view_offset(t->in[k]);
            if (may_go(p, base) && packs_whole(t, base, from)) p->place[base->id] = (clg__place){attr->storage, -1, from};
        }
    }
}

/* The operand of an assignment that stands alone goes straight to its target, when nobody in the plan reads the target
 * and nobody else the operand. */
static void place_assigned(clg_plan *p)
{
    for (size_t a = 0; a < p->node_count; a++) {
        const clg_tensor *assign = node(p, a);
        if (!p->needed[a] || assign->op != &clg__op_assign || p->steps[p->step_of[a]].count != 1) continue;
        const clg_tensor *base = clg__base_of(assign->in[0]);
        if (base->count != assign->count || !may_go(p, base)) continue;
        bool alone = true;
        for (size_t i = 0; i < p->node_count && alone; i++) {
            const clg_tensor *t = node(p, i);
            for (int k = 0; p->needed[i] && k < t->arity; k++) {
                const clg_tensor *in = clg__base_of(t->in[k]);
                alone = alone && (in != base || i == a) && !(in->op == &clg__op_leaf && in->storage == p->place[a].storage);
            }
            alone = alone && (i == a || !p->needed[i] || t->op != &clg__op_assign || t->storage != p->place[a].storage);
        }
        if (alone) p->place[base->id] = p->place[a];
    }
}

/* ---- intervals --------------------------------------------------------------------------------------------------- */

/* May step s put `out` where `in`, read by it as input k of node t, lies? */
static bool may_take(const clg_plan *p, int s, const clg_tensor *t, int k, const clg_tensor *out)
{
    const clg__step  *step = &p->steps[s];
    const clg_tensor *in = clg__base_of(t->in[k]);
    if (p->place[in->id].interval < 0 || p->step_of[in->id] == s || p->last_use[in->id] != s || in->dtype != out->dtype ||
        in->count != out->count)
        return false;
    if (step->op < 0) {
        for (int i = 0; i < step->count; i++)
            if (!clg__reads_exactly(step->nodes[i], in)) return false;
        return clg_shape_equal(in->shape, out->shape);
    }
    for (int other = 1; other < t->arity; other++)
        if (clg__base_of(t->in[other]) == in) return false;
    return k == 0 && out == t && step->count == 1 + !!step->forward && t->op->flags & CLG__INPLACE;
}

/* The interval of an input that `out` can have, or -1. */
static int take_over(clg_plan *p, int s, const clg_tensor *out)
{
    const clg__step *step = &p->steps[s];
    for (int i = 0; i < step->count; i++)
        for (int k = 0; k < step->nodes[i]->arity; k++) {
            if (!may_take(p, s, step->nodes[i], k, out)) continue;
            const int interval = clg__plan_where(p, step->nodes[i]->in[k]).interval;
            if (p->intervals[interval].last == s) return interval; /* not taken by another result of this step */
        }
    return -1;
}

bool clg__plan_place(clg_plan *p)
{
    bool *stored = clg__calloc(p->object.root, p->node_count, sizeof *stored);
    if (!stored) return false;
    find_uses(p, stored);
    bool ok = place_outputs(p);
    if (ok) place_packed(p);
    if (ok) place_assigned(p);
    ok = ok && clg__plan_keep(p);
    for (int s = 0; ok && s < p->step_count; s++)
        for (int i = 0; ok && i < p->steps[s].count; i++) {
            const clg_tensor *t = p->steps[s].nodes[i];
            if (!stored[t->id] || has_place(p, t->id) || t->op == &clg__op_pack) continue;
            const int  last = p->last_use[t->id];
            const bool stays = last == p->step_count; /* from run to run */
            int        interval = stays ? -1 : take_over(p, s, t);
            /* in the step itself both are alive: one past it, so that no second result takes it */
            if (interval >= 0)
                p->intervals[interval].last = CLG__MAX(last, s + 1);
            else
                interval = clg__plan_interval(p, (uint64_t)t->count * clg_dtype_size(t->dtype), stays ? 0 : s, last);
            ok = interval >= 0;
            p->place[t->id] = (clg__place){NULL, interval, (int64_t)p->guard};
        }
    free(stored);
    return ok;
}
