/* run.c - running a plan, timing it, and telling about it. */
#include "plan/plan.h"
#include <stdlib.h>

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

clg_status clg__plan_launch(clg_plan *p, size_t i)
{
    const clg__planned *l = &p->launches[i];
    return l->is_gemm ? clg__gemm_enqueue(p->ctx, l->call) : clg__kernel_enqueue(p->ctx, l->launch);
}

void clg__plan_begin(clg_plan *p)
{
    for (const clg__hook *h = p->hooks; h; h = h->next) h->call(h->user, p->runs);
    for (size_t i = 0; i < p->held_count; i++)
        if (p->held[i].written) clg__storage_changed(p->held[i].storage);
    p->runs++;
}

/* `mark`, when there is one, becomes the number of commands traced before each launch and after the last. */
static void run(clg_plan *p, size_t *mark)
{
    if (!p || clg_context_failed(p->ctx)) return;
    clg__plan_begin(p);
    const uint64_t version = clg__plan_version(p);
    const bool     prepared = p->prepared == version;
    clg_status     status = clg_context_status(p->ctx);
    for (size_t i = 0; i < p->launch_count && status == CLG_OK; i++) {
        if (mark) mark[i] = clg__trace_count(p->ctx);
        if (!prepared || !p->launches[i].kept) status = clg__plan_launch(p, i);
    }
    if (mark) mark[p->launch_count] = clg__trace_count(p->ctx);
    p->prepared = version; /* if this run fails, that changes: clg__plan_version */
}

void clg_plan_run(clg_plan *p) { run(p, NULL); }

/* ---- times ------------------------------------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

clg_status clg_plan_measure(clg_plan *p, int runs)
{
    if (!p) return CLG_INVALID_ARGUMENT;
    if (runs < 1) return clg__fail(p->object.root, CLG_INVALID_ARGUMENT, "plan: %d runs cannot be measured", runs);
    clg_status status = clg_context_trace(p->ctx, NULL, NULL); /* nothing of before */
    if (status != CLG_OK) return status;
    const size_t count = p->launch_count, n = (size_t)runs;
    size_t      *mark = clg__calloc(p->object.root, n, (count + 1) * sizeof *mark); /* of each run */
    double      *sample = clg__calloc(p->object.root, n, sizeof *sample);
    if (!p->seconds) p->seconds = clg__calloc(p->object.root, count + 1, sizeof *p->seconds);
    if (mark && sample && p->seconds) {
        run(p, NULL); /* what happens once */
        for (size_t r = 0; r < n; r++) run(p, mark + r * (count + 1));
        status = clg_context_finish(p->ctx);
        for (size_t i = 0; i < count && status == CLG_OK; i++) {
            for (size_t r = 0; r < n; r++) {
                const size_t *at = mark + r * (count + 1) + i;
                sample[r] = clg__trace_busy(p->ctx, at[0], at[1]);
            }
            qsort(sample, n, sizeof *sample, ascending);
            p->seconds[i] = 0.5 * (sample[(n - 1) / 2] + sample[n / 2]);
        }
        clg__trace_forget(p->ctx);
    }
    free(mark);
    free(sample);
    return clg_context_status(p->ctx);
}

/* ---- telling ----------------------------------------------------------------------------------------------------- */

clg_plan_stats clg_plan_statistics(const clg_plan *p) { return p ? p->stats : (clg_plan_stats){0}; }

static void dump_inputs(const clg__step *step, FILE *to)
{
    char shape[128];
    if (step->op < 0 || step->nodes[step->op]->arity > 4) return; /* a group's are many, and of the result's shape */
    const clg_tensor *t = step->nodes[step->op];
    for (int k = 0; k < t->arity; k++) fprintf(to, " %s", clg_shape_text(t->in[k]->shape, shape, sizeof shape));
    if (t->arity) fprintf(to, " ->");
}

static void dump_cost(clg__cost cost, double seconds, FILE *to)
{
    fprintf(to, "  %.3f MB, %.3f Mflop", 1e-6 * cost.bytes, 1e-6 * cost.flops);
    if (seconds > 0.0)
        fprintf(to, ", %.3f ms, %.1f GB/s, %.1f GFLOP/s", 1e3 * seconds, 1e-9 * cost.bytes / seconds,
                1e-9 * cost.flops / seconds);
    fputc('\n', to);
}

static void dump_step(const clg_plan *p, int s, double seconds, FILE *to)
{
    const clg__step  *step = &p->steps[s];
    const clg_tensor *out = step->nodes[step->count - 1];
    char              shape[128];
    fprintf(to, "%4d  ", s);
    for (int i = 0; i < step->count; i++) fprintf(to, "%s%s", i ? "+" : "", step->nodes[i]->op->name);
    dump_inputs(step, to);
    fprintf(to, " %s", clg_shape_text(out->shape, shape, sizeof shape));
    const clg__place at = p->place[out->id];
    if (at.storage)
        fprintf(to, " in %s", at.storage->what);
    else if (at.interval >= 0)
        fprintf(to, " at %d:%llu", p->intervals[at.interval].slab, (unsigned long long)p->intervals[at.interval].offset);
    dump_cost(clg__plan_cost(p, s), seconds, to);
}

static void dump_launch(const clg_plan *p, size_t i, FILE *to)
{
    const clg__planned *k = &p->launches[i];
    if (k->is_gemm)
        fprintf(to, "        gemm %lld x %lld x %lld, batch %lld: %s", (long long)k->gemm.m, (long long)k->gemm.n,
                (long long)k->gemm.k, (long long)CLG__MAX(1, k->gemm.batch), clg__gemm_text(k->call));
    else
        fprintf(to, "        %s%s%s, %llu x %llu x %llu groups", k->unit ? k->unit : "", k->unit ? "." : "", k->kernel,
                (unsigned long long)CLG__MAX(1u, k->groups[0]), (unsigned long long)CLG__MAX(1u, k->groups[1]),
                (unsigned long long)CLG__MAX(1u, k->groups[2]));
    if (k->kept) fputs(", kept", to);
    if (p->seconds && (!k->kept || p->seconds[i] > 0.0)) fprintf(to, ", %.3f ms", 1e3 * p->seconds[i]);
    fputc('\n', to);
}

void clg_plan_dump(const clg_plan *p, FILE *to)
{
    if (!p || !to) return;
    double all = 0.0;
    for (int s = 0, l = 0; s < p->step_count; s++) {
        double seconds = 0.0;
        int    end = l;
        for (; (size_t)end < p->launch_count && p->launches[end].step == s; end++)
            if (p->seconds) seconds += p->seconds[end];
        dump_step(p, s, seconds, to);
        for (; l < end; l++) dump_launch(p, (size_t)l, to);
        all += seconds;
    }
    fprintf(to, "%zu nodes, %zu launches (%zu kept), %zu bytes planned (%zu without sharing), %zu bytes persistent\n",
            p->stats.nodes, p->stats.launches, p->stats.kept_launches, p->stats.planned_bytes, p->stats.unplanned_bytes,
            p->stats.persistent_bytes);
    fprintf(to, "all  ");
    dump_cost((clg__cost){p->stats.bytes, p->stats.flops}, all, to);
}
