/* build.c - making a plan: prune, then the stages in their order (plan.h). */
#include "plan/plan.h"
#include <stdlib.h>

static void plan_destroy(clg__object *object)
{
    clg_plan *p = (clg_plan *)object;
    for (size_t i = p->launch_count; i-- > 0;) { /* the newest first: pocl looks for a kernel from there */
        clg__kernel_destroy(&p->launches[i].launch);
        clg__gemm_destroy(&p->launches[i].call);
    }
    for (int i = 0; p->slabs && i < p->slab_sizes.count; i++) clg__buffer_destroy(&p->slabs[i]);
    for (size_t i = 0; i < p->held_count; i++) clg__storage_release(&p->held[i].storage);
    for (size_t i = 0; i < p->body_count; i++) clg__text_free(&p->bodies[i]);
    clg__text_free(&p->source);
    void *const arrays[] = {p->needed, p->is_output, p->step_of, p->last_use, p->place, p->steps, p->intervals,
                            p->launches, p->bodies, p->slabs, p->slab_sizes.bytes, p->held, p->seconds};
    for (size_t i = 0; i < CLG__COUNT(arrays); i++) free(arrays[i]);
    clg__arena_free(&p->arena);
    free(p);
}

void clg_plan_destroy(clg_plan **plan)
{
    if (!plan || !*plan) return;
    clg_context_finish((*plan)->ctx); /* its memory may be in use */
    clg__destroy(&(*plan)->object);
    *plan = NULL;
}

void *clg__plan_grow(clg_plan *p, void *array, size_t *capacity, size_t count, size_t size)
{
    if (count < *capacity) return array;
    const size_t more = *capacity ? 2 * *capacity : 32;
    void        *moved = realloc(array, more * size);
    if (moved)
        *capacity = more;
    else
        clg__fail(p->object.root, CLG_OUT_OF_MEMORY, "out of host memory for a plan");
    return moved;
}

bool clg__plan_add_launch(clg_plan *p, const clg__planned *launch)
{
    clg__planned *moved = clg__plan_grow(p, p->launches, &p->launch_capacity, p->launch_count, sizeof *moved);
    if (!moved) return false;
    p->launches = moved;
    p->launches[p->launch_count] = *launch;
    if (p->steps[launch->step].lasting == CLG__LASTS) p->launches[p->launch_count].kept = true;
    p->launch_count++;
    return true;
}

/* Marks what the outputs need. An output that is a view stands for the tensor that it shows. */
static void prune(clg_plan *p, clg_tensor *const *outs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        p->needed[outs[i]->id] = true;
        p->is_output[clg__base_of(outs[i])->id] = true;
    }
    for (size_t i = p->node_count; i-- > 0;) {
        const clg_tensor *t = p->graph->nodes[i];
        if (!p->needed[i]) continue;
        p->stats.nodes++;
        if (p->observed && !(t->op->flags & (CLG__LEAF | CLG__VIEW)) && t->op != &clg__op_full && t->op != &clg__op_pack)
            p->is_output[i] = true;
        for (int k = 0; k < t->arity; k++) p->needed[t->in[k]->id] = true;
    }
}

static clg_plan *give_up(clg_plan *p)
{
    clg__fail(p->object.root, CLG_INTERNAL, "a plan could not be made"); /* when no stage has said why */
    clg_plan_destroy(&p);
    return NULL;
}

clg_plan *clg__plan_prepare(clg_tensor *const *outs, size_t count, size_t guard)
{
    if (!outs || count == 0) return NULL;
    for (size_t i = 0; i < count; i++)
        if (!outs[i]) return NULL;
    clg_graph *g = outs[0]->graph;
    clg__root *root = g->object.root;
    if (clg_context_failed(g->ctx)) return NULL;
    for (size_t i = 1; i < count; i++)
        if (outs[i]->graph != g)
            return clg__fail(root, CLG_INVALID_ARGUMENT, "plan: outputs 0 and %zu belong to different graphs", i), NULL;
    clg_plan *p = clg__calloc(root, 1, sizeof *p);
    if (!p) return NULL;
    p->ctx = g->ctx;
    p->graph = g;
    p->observed = g->observed;
    p->node_count = g->count;
    p->guard = guard;
    p->last_hook = &p->hooks;
    clg__adopt(root, &p->object, plan_destroy);

    const size_t n = g->count;
    p->needed = clg__calloc(root, n, sizeof *p->needed);
    p->is_output = clg__calloc(root, n, sizeof *p->is_output);
    p->step_of = clg__calloc(root, n, sizeof *p->step_of);
    p->last_use = clg__calloc(root, n, sizeof *p->last_use);
    p->place = clg__calloc(root, n, sizeof *p->place);
    bool ok = p->needed && p->is_output && p->step_of && p->last_use && p->place;
    if (ok) prune(p, outs, count);
    ok = ok && clg__plan_fuse(p) && clg__plan_place(p) && clg__plan_fits(p) && clg__plan_record(p);
    if (!ok) return give_up(p);
    for (int s = 0; s < p->step_count; s++) {
        if (p->steps[s].lasting == CLG__LASTS) continue;
        const clg__cost cost = clg__plan_cost(p, s);
        p->stats.bytes += cost.bytes;
        p->stats.flops += cost.flops;
    }
    return p;
}

clg_plan *clg__plan_create_guarded(clg_tensor *const *outs, size_t count, size_t guard)
{
    clg_plan *p = clg__plan_prepare(outs, count, guard);
    return !p || clg__plan_bind(p) ? p : give_up(p);
}

clg_plan *clg_plan_create_all(clg_tensor *const *outs, size_t count) { return clg__plan_create_guarded(outs, count, 0); }
clg_plan *clg_plan_create(clg_tensor *out) { return clg_plan_create_all(&out, 1); }
