/* run.c - running a plan, and telling about it. */
#include "plan/plan.h"

void clg_plan_on_run(clg_plan *p, clg_plan_hook *hook, void *user)
{
    if (!p || !hook) return;
    clg__hook *h = clg__arena_alloc(&p->arena, sizeof *h);
    if (!h) {
        clg__fail(p->object.root, CLG_OUT_OF_MEMORY, "out of host memory for a hook");
        return;
    }
    *h = (clg__hook){.call = hook, .user = user};
    *p->last_hook = h;
    p->last_hook = &h->next;
}

void clg_plan_run(clg_plan *p)
{
    if (!p || clg_context_failed(p->ctx)) return;
    for (const clg__hook *h = p->hooks; h; h = h->next) h->call(h->user, p->runs);
    clg_status status = clg_context_status(p->ctx);
    for (size_t i = 0; i < p->launch_count && status == CLG_OK; i++) {
        const clg__planned *l = &p->launches[i];
        status = l->is_gemm ? clg__gemm_enqueue(p->ctx, l->call) : clg__kernel_enqueue(p->ctx, l->launch);
    }
    p->runs++;
}

clg_plan_stats clg_plan_statistics(const clg_plan *p) { return p ? p->stats : (clg_plan_stats){0}; }

static void dump_step(const clg_plan *p, int s, FILE *to)
{
    const clg__step  *step = &p->steps[s];
    const clg_tensor *out = step->nodes[step->count - 1];
    char              shape[128];
    fprintf(to, "%4d  ", s);
    for (int i = 0; i < step->count; i++) fprintf(to, "%s%s", i ? "+" : "", step->nodes[i]->op->name);
    fprintf(to, " %s", clg_shape_text(out->shape, shape, sizeof shape));
    const clg__place at = p->place[out->id];
    if (at.storage)
        fprintf(to, " in %s", at.storage->what);
    else if (at.interval >= 0)
        fprintf(to, " at %d:%llu", p->intervals[at.interval].slab, (unsigned long long)p->intervals[at.interval].offset);
    fputc('\n', to);
}

void clg_plan_dump(const clg_plan *p, FILE *to)
{
    if (!p || !to) return;
    size_t l = 0;
    for (int s = 0; s < p->step_count; s++) {
        dump_step(p, s, to);
        for (; l < p->launch_count && p->launches[l].step == s; l++) {
            const clg__planned *k = &p->launches[l];
            if (k->is_gemm)
                fprintf(to, "        gemm %lld x %lld x %lld, batch %lld: %s\n", (long long)k->gemm.m, (long long)k->gemm.n,
                        (long long)k->gemm.k, (long long)CLG__MAX(1, k->gemm.batch), clg__gemm_text(k->call));
            else
                fprintf(to, "        %s%s%s, %llu x %llu x %llu groups\n", k->unit ? k->unit : "", k->unit ? "." : "", k->kernel,
                        (unsigned long long)CLG__MAX(1u, k->groups[0]), (unsigned long long)CLG__MAX(1u, k->groups[1]),
                        (unsigned long long)CLG__MAX(1u, k->groups[2]));
        }
    }
    fprintf(to, "%zu nodes, %zu launches, %zu bytes planned (%zu without sharing), %zu bytes persistent\n", p->stats.nodes,
            p->stats.launches, p->stats.planned_bytes, p->stats.unplanned_bytes, p->stats.persistent_bytes);
}
