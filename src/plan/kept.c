/* kept.c - what a plan computes once, and again only when it would come out differently.
 *
 * A storage lasts when it is no input and the plan does not write it: parameters and states, where nothing is learnt. A
 * step is kept when it reads what lasts, numbers and results of such steps alone, and leaves its results in planned memory;
 * and so is a launch of another step that prepares a workspace of what lasts (clg__launch.prepares). The storages that all
 * of this is made of are the plan's sources. run.c leaves the kept launches out, all of them, as long as no source has
 * changed since they ran; else they run, all of them, each in its place. So what kept steps hand to each other lies in
 * memory as any value does, while what others read has memory of its own, from before the first step until after the last. */
#include "plan/plan.h"

static clg__held *find(const clg_plan *p, const clg__storage *s)
{
    for (size_t i = 0; i < p->held_count; i++)
        if (p->held[i].storage == s) return &p->held[i];
    return NULL;
}

/* Every storage that a needed node lies in, whether or not something launches on it. */
static bool hold_storages(clg_plan *p)
{
    for (size_t i = 0; i < p->node_count; i++) {
        clg__storage *s = p->place[i].storage;
        if (!p->needed[i] || !s) continue;
        clg__held *held = find(p, s);
        if (!held) {
            clg__held *moved = clg__plan_grow(p, p->held, &p->held_capacity, p->held_count, sizeof *moved);
            if (!moved) return false;
            p->held = moved;
            held = &p->held[p->held_count++];
            clg__storage_retain(s);
            *held = (clg__held){.storage = s};
        }
        held->written = held->written || p->step_of[i] >= 0;
    }
    return true;
}

static clg__lasting lasting(const clg_plan *p, const clg_tensor *in)
{
    const clg_tensor *base = clg__base_of(in);
    if (base->op != &clg__op_leaf) return p->step_of[base->id] < 0 ? CLG__NUMBERS : p->steps[p->step_of[base->id]].lasting;
    const clg__held *held = find(p, base->storage);
    return !held || held->written || held->storage->fed || held->storage->unseen || p->observed ? CLG__CHANGES : CLG__LASTS;
}

bool clg__plan_lasts(clg_plan *p, const clg_tensor *in)
{
    const clg_tensor *base = clg__base_of(in);
    if (lasting(p, in) != CLG__LASTS) return false;
    clg__held *held = base->op == &clg__op_leaf ? find(p, base->storage) : NULL;
    if (held) held->source = true;
    return true;
}

static clg__lasting step_lasting(const clg_plan *p, int s)
{
    const clg__step *step = &p->steps[s];
    clg__lasting     most = CLG__NUMBERS;
    for (int i = 0; i < step->count; i++) {
        const clg_tensor *t = step->nodes[i];
        if (p->place[t->id].storage) return CLG__CHANGES; /* where others may write */
        for (int k = 0; k < t->arity; k++) {
            if (p->step_of[clg__base_of(t->in[k])->id] == s) continue;
            const clg__lasting of = lasting(p, t->in[k]);
            if (of == CLG__CHANGES) return of;
            most = CLG__MAX(most, of);
        }
    }
    return most;
}

bool clg__plan_keep(clg_plan *p)
{
    if (!hold_storages(p)) return false;
    for (int s = 0; s < p->step_count; s++) {
        const clg__step *step = &p->steps[s];
        p->steps[s].lasting = step_lasting(p, s);
        for (int i = 0; i < step->count; i++)
            for (int k = 0; k < step->nodes[i]->arity; k++) {
                const clg_tensor *in = step->nodes[i]->in[k], *base = clg__base_of(in);
                if (step->lasting == CLG__LASTS) clg__plan_lasts(p, in); /* a source */
                else if (p->step_of[base->id] >= 0 && p->steps[p->step_of[base->id]].lasting == CLG__LASTS)
                    p->last_use[base->id] = p->step_count;
            }
    }
    return true;
}

uint64_t clg__plan_version(const clg_plan *p)
{
    uint64_t sum = 1 + p->object.root->cleared; /* when a run has failed, or later what it enqueued, nothing of it counts */
    for (size_t i = 0; i < p->held_count; i++)
        if (p->held[i].source) sum += clg__storage_version(p->held[i].storage);
    return sum; /* none ever falls: it is the same when all are */
}
