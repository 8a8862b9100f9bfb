/* examine.c - cases in a context of their own: what fails among many is tried again by itself, and blamed on an operator.
 *
 * Quick examinations take a few small cases that between them have every operator and every kernel of all cases chosen. */
#include "doctor/examine.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

clg__tally *clg__tally_of(clg__doctor *d, const char *name)
{
    for (size_t i = 0; i < d->operators + d->checks; i++)
        if (strcmp(d->tallies[i].name, name) == 0) return &d->tallies[i];
    return NULL;
}

/* Of the same operator, whatever its number, in the same kernels: "conv2d.5/winograd=2" and "conv2d.6/winograd=2". */
static bool same_kind(const char *a, const char *b)
{
    static const char number[] = ".0123456789";
    const size_t      op = strcspn(a, ".");
    return strncmp(a, b, op) == 0 && strcmp(a + op + strspn(a + op, number), b + op + strspn(b + op, number)) == 0;
}

const char *clg__doctor_begin(const clg__doctor *d, const char *what)
{
    for (const clg_doctor_crash *c = d->desc->crashes; c && c->what; c++)
        if (same_kind(c->what, what)) return c->how;
    if (d->desc->progress) d->desc->progress(d->desc->user, what);
    return NULL;
}

/* ---- a few that cover all ---------------------------------------------------------------------------------------- */

static bool covers_more(clg__text *known, const char *kind, const char *name)
{
    char line[160];
    snprintf(line, sizeof line, "\n%s %s\n", kind, name);
    if (known->data && strstr(known->data, line)) return false;
    clg__text_append(known, "%s", line);
    return true;
}

static void ignore(void *user, const clg__fault *fault) { (void)user, (void)fault; }

static bool adds(clg_context *ctx, const clg__case *c, clg__text *known)
{
    clg__batch b;
    bool       more = false;
    clg__batch_open(&b, ctx, c, 1, &(clg__check){.graph_only = true, .failed = ignore});
    clg_plan *plan = b.out_count ? clg__plan_prepare(b.outs, b.out_count, 0) : NULL;
    for (uint32_t i = 0; b.g && i < b.g->count; i++) more |= covers_more(known, "op", b.g->nodes[i]->op->name);
    for (size_t i = 0; plan && i < plan->launch_count; i++) {
        const clg__planned *l = &plan->launches[i];
        char                name[96];
        if (l->is_gemm)
            snprintf(name, sizeof name, "%s %d%d%d", clg__gemm_engine_name(l->engine), l->gemm.trans_a, l->gemm.trans_b,
                     l->gemm.batch > 1);
        else snprintf(name, sizeof name, "%s.%s", l->unit ? l->unit : "", l->unit ? l->kernel : "");
        more |= covers_more(known, "kernel", name);
    }
    clg_plan_destroy(&plan);
    clg__batch_close(&b);
    clg_context_clear_error(ctx);
    return more;
}

/* Up to SMALL elements the largest first, which reach a kernel's loops and not only its rests; then the smallest. */
static int by_elements(const void *a, const void *b)
{
    enum { SMALL = 2048 };
    const clg__case *const *x = a, *const *y = b;
    const int64_t    m = (*x)->elements, n = (*y)->elements;
    if (m != n) return (m < n) == (m > SMALL || n > SMALL) ? -1 : 1;
    return (*x > *y) - (*x < *y);
}

static void cover(const clg__doctor *d, clg_context *ctx, bool *chosen)
{
    const clg__case **order = clg__calloc(clg__context_root(ctx), d->count, sizeof *order);
    clg__text         known = {0};
    size_t            count = 0;
    for (size_t i = 0; order && i < d->count; i++)
        if (chosen[i]) order[count++] = &d->cases[i];
    if (order) qsort(order, count, sizeof *order, by_elements);
    for (size_t i = 0; i < count; i++)
        if (order[i]->elements == 0 || !adds(ctx, order[i], &known)) chosen[order[i] - d->cases] = false;
    clg__text_free(&known);
    free(order);
}

/* ---- a pass ------------------------------------------------------------------------------------------------------ */

typedef struct run {
    clg__doctor *d;
    clg__pass   *pass;
    clg_context *ctx;
    clg__case   *set;   /* the cases that are chosen, */
    size_t      *index, count; /* and which these are */
    bool        *wrong, any;
    char         first[512], together[512];
} run;

static void note(void *user, const clg__fault *fault)
{
    run *r = user;
    if (fault->of) {
        r->wrong[fault->of - r->set] = true;
        if (!r->first[0]) snprintf(r->first, sizeof r->first, "%s", fault->text);
    } else if (!r->together[0]) {
        snprintf(r->together, sizeof r->together, "%s", fault->text);
    }
    r->any = true;
}

static clg__check check_of(run *r)
{
    return (clg__check){.seed = r->d->desc->seed, .guarded = true, .displaced = strcmp(r->pass->variant, "alone") == 0, .user = r, .failed = note};
}

/* Leaves out cases with an operator that the quarantine refuses: there is nothing to examine. */
static bool is_refused(const run *r, const clg__batch *b, size_t subject)
{
    for (size_t i = 0; i < r->d->operators; i++) {
        char line[96];
        snprintf(line, sizeof line, " refuse %s\n", r->d->tallies[i].name);
        if (strstr(r->pass->quarantine, line) && clg__batch_has(b, subject, r->d->tallies[i].name)) return true;
    }
    return false;
}

static void choose(run *r, const bool *chosen)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->d->count; i++)
        if (chosen[i]) r->index[r->count] = i, r->set[r->count++] = r->d->cases[i];
    if (!r->pass->quarantine[0]) return;
    for (size_t i = 0; i < r->count; i++) {
        clg__batch b;
        clg__batch_open(&b, r->ctx, &r->set[i], 1, &(clg__check){.graph_only = true, .failed = ignore});
        if (!b.count || !is_refused(r, &b, 0)) r->index[kept] = r->index[i], r->set[kept++] = r->set[i];
        clg__batch_close(&b);
        clg_context_clear_error(r->ctx);
    }
    r->count = kept;
}

/* As --case takes it; cases that are tried again under quarantine are others. */
static void name_of(const run *r, size_t i, char *name, size_t size)
{
    const char *variant = r->pass->variant, *quarantine = r->pass->quarantine;
    int         at = snprintf(name, size, "%s%s%s", r->set[i].name, variant[0] ? "/" : "", variant);
    if (quarantine[0])
        snprintf(name + at, size - (size_t)at, " in quarantine %llx", (unsigned long long)clg__hash(0, quarantine, strlen(quarantine)));
}

/* A case that failed among others: what it does by itself, and whose fault that is. */
static void blame(run *r, size_t i)
{
    const clg__case *c = &r->set[i];
    const clg__check check = check_of(r);
    const char      *op = clg__case_blame(r->ctx, c, check.seed);
    r->pass->together[r->index[i]] = op == NULL;
    if (!op) op = c->row.op;
    r->pass->blamed[r->index[i]] = op;
    clg__tally *t = r->pass->counts ? clg__tally_of(r->d, op) : NULL;
    if (!t) return;
    t->failed++;
    if (t->fault[0]) return;
    r->first[0] = '\0';
    clg__cases_check(r->ctx, c, 1, &check);
    const bool alone = r->first[0] != '\0';
    char name[96];
    name_of(r, i, name, sizeof name);
    snprintf(t->fault, sizeof t->fault, "%s: %s", name, alone ? r->first : "only together with other cases");
    if (alone) snprintf(t->replay, sizeof t->replay, "%s", name);
}

static void count_operators(run *r)
{
    clg__batch b;
    const clg__check check = {.graph_only = true, .failed = ignore};
    clg__batch_open(&b, r->ctx, r->set, r->count, &check);
    for (size_t i = 0; i < b.count; i++)
        for (size_t k = 0; k < r->d->operators; k++)
            r->d->tallies[k].cases += clg__batch_has(&b, i, r->d->tallies[k].name);
    clg__batch_close(&b);
    clg_context_clear_error(r->ctx);
    r->d->result->cases += (int)r->count;
}

static void blame_crash(run *r, size_t i, const char *what, const char *how)
{
    clg__tally *t = r->pass->counts ? clg__tally_of(r->d, r->set[i].row.op) : NULL;
    r->pass->blamed[r->index[i]] = r->set[i].row.op;
    if (!t) return;
    r->d->result->failed++;
    t->failed++;
    if (!t->crashed) {
        snprintf(t->fault, sizeof t->fault, "%s, or one like it: ended the process, %s", what, how);
        snprintf(t->replay, sizeof t->replay, "%s", what);
    }
    t->crashed = true;
}

static void run_cases(run *r)
{
    const clg__check check = check_of(r);
    const size_t     step = r->d->desc->single ? 1 : r->count;
    char             what[160];
    snprintf(what, sizeof what, "%zu cases%s%s", r->count, r->pass->variant[0] ? ", " : "", r->pass->variant);
    if (r->d->desc->progress) r->d->desc->progress(r->d->desc->user, what);
    if (r->pass->counts) count_operators(r);
    for (size_t i = 0; i < r->count; i += step) {
        if (step == 1) name_of(r, i, what, sizeof what);
        const char *how = step == 1 ? clg__doctor_begin(r->d, what) : NULL;
        if (how) blame_crash(r, i, what, how);
        else clg__cases_check(r->ctx, &r->set[i], step, &check);
        for (size_t k = i; k < i + step; k++) {
            if (!r->wrong[k]) continue;
            r->d->result->failed += r->pass->counts;
            blame(r, k);
        }
    }
    clg__tally *t = r->together[0] && r->pass->counts ? clg__tally_of(r->d, "together") : NULL;
    if (!t) return;
    r->d->result->failed++;
    if (t->failed++ == 0) snprintf(t->fault, sizeof t->fault, "%s", r->together);
}

bool clg__examine(clg__doctor *d, clg__pass *pass)
{
    clg__root *root = clg__context_root(d->ctx);
    const bool named = strcmp(pass->variant, "alone") != 0;
    run        r = {.d = d, .pass = pass};
    bool      *chosen = clg__calloc(root, d->count, sizeof *chosen);
    r.set = clg__calloc(root, d->count, sizeof *r.set);
    r.index = clg__calloc(root, d->count, sizeof *r.index);
    r.wrong = clg__calloc(root, d->count, sizeof *r.wrong);
    pass->blamed = clg__calloc(root, d->count, sizeof *pass->blamed);
    pass->together = clg__calloc(root, d->count, sizeof *pass->together);
    bool ok = chosen && r.set && r.index && r.wrong && pass->blamed && pass->together;
    r.ctx = ok ? clg__doctor_open(d->ctx, named && pass->variant[0] ? pass->variant : NULL, pass->quarantine, true) : NULL;
    if (ok && clg_context_failed(r.ctx)) {
        clg__report(root, clg_context_status(r.ctx), "%s", clg_context_error(r.ctx));
        ok = false;
    }
    if (ok) {
        memcpy(chosen, pass->chosen, d->count * sizeof *chosen);
        if (d->desc->quick && pass->counts) cover(d, r.ctx, chosen);
        choose(&r, chosen);
        if (r.count > 0) run_cases(&r);
    }
    clg_context_destroy(&r.ctx);
    free(chosen);
    free(r.set);
    free(r.index);
    free(r.wrong);
    return ok;
}
