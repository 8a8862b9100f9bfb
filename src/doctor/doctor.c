/* doctor.c - clg_doctor_run: what is examined, what is told, what is kept. */
#include "doctor/examine.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- tallies ----------------------------------------------------------------------------------------------------- */

static bool open_tallies(clg__doctor *d)
{
    for (const clg__op *const *unit = clg__registry; *unit; unit++)
        for (const clg__op *op = *unit; op->name; op++) d->operators++;
    for (const clg__machine_check *c = clg__machine_checks; c->name; c++) d->checks++;
    d->checks++; /* what only cases together do wrong */
    d->tallies = clg__calloc(clg__context_root(d->ctx), d->operators + d->checks, sizeof *d->tallies);
    clg__tally *next = d->tallies;
    if (!next) return false;
    for (const clg__op *const *unit = clg__registry; *unit; unit++)
        for (const clg__op *op = *unit; op->name; op++) (next++)->name = op->name;
    for (const clg__machine_check *c = clg__machine_checks; c->name; c++) (next++)->name = c->name;
    next->name = "together";
    return true;
}

static void run_check(clg__doctor *d, const clg__machine_check *check)
{
    clg__text    fault = {0};
    clg__tally  *t = clg__tally_of(d, check->name);
    const char  *how = clg__doctor_begin(d, check->name);
    clg_context *own = clg__doctor_open(d->ctx, NULL, "", true);
    if (how) clg__text_append(&fault, "ended the process, %s", how);
    else t->cases = check->run(own, d->desc->seed, d->desc->quick, &fault);
    t->crashed = how != NULL;
    if (clg_context_failed(own) && !fault.size) clg__text_append(&fault, "%s", clg_context_error(own));
    if (fault.size) {
        t->failed = 1;
        t->cases = CLG__MAX(t->cases, 1);
        snprintf(t->fault, sizeof t->fault, "%s", fault.data);
        snprintf(t->replay, sizeof t->replay, "%s", check->name);
    }
    d->result->cases += t->cases;
    d->result->failed += t->failed;
    clg_context_destroy(&own);
    clg__text_free(&fault);
}

static void report(clg__doctor *d)
{
    for (size_t i = 0; d->desc->report && i < d->operators + d->checks; i++) {
        const clg__tally *t = &d->tallies[i];
        if (t->cases || t->failed)
            d->desc->report(d->desc->user, &(clg_doctor_line){.name = t->name, .cases = t->cases, .failed = t->failed,
                                                              .crashed = t->crashed, .fault = t->fault, .replay = t->replay});
    }
}

/* ---- what is examined --------------------------------------------------------------------------------------------- */

typedef struct selection {
    char        name[64];
    const char *variant; /* NULL: none given */
    bool       *chosen;
    size_t      count;
} selection;

static void ignore(void *user, const clg__fault *fault) { (void)user, (void)fault; }

/* A case by its name, else the cases in which an operator occurs. */
static bool select_cases(clg__doctor *d, selection *s)
{
    const char *only = d->desc->only, *slash = only ? strchr(only, '/') : NULL;
    s->chosen = clg__calloc(clg__context_root(d->ctx), d->count, sizeof *s->chosen);
    if (!s->chosen) return false;
    s->variant = slash ? slash + 1 : NULL;
    if (only) snprintf(s->name, sizeof s->name, "%.*s", (int)(slash ? CLG__MIN(slash - only, 63) : 63), only);
    if (only && clg__tally_of(d, s->name) >= d->tallies + d->operators) return true; /* a check */
    for (size_t i = 0; i < d->count; i++) {
        s->chosen[i] = !only || strcmp(d->cases[i].name, s->name) == 0;
        if (only && !strchr(s->name, '.')) {
            clg__batch b;
            clg__batch_open(&b, d->ctx, &d->cases[i], 1, &(clg__check){.graph_only = true, .failed = ignore});
            s->chosen[i] = b.count && clg__batch_has(&b, 0, s->name);
            clg__batch_close(&b);
        }
        s->count += s->chosen[i];
    }
    return true;
}

static bool examine_cases(clg__doctor *d, const selection *s)
{
    clg__pass plain = {.variant = s->variant ? s->variant : "", .chosen = s->chosen, .quarantine = "", .counts = true};
    clg__pass alone = {.variant = "alone", .chosen = s->chosen, .quarantine = "", .counts = true};
    bool      ok = clg__examine(d, &plain);
    if (!s->variant && !strchr(s->name, '.')) {
        ok = ok && (d->desc->quick || clg__examine(d, &alone));
        ok = ok && clg__conclude(d, &plain, &alone);
        d->concluded = ok;
    }
    free(plain.blamed);
    free(plain.together);
    free(alone.blamed);
    free(alone.together);
    return ok;
}

/* ---- what is kept ------------------------------------------------------------------------------------------------- */

/* The new entries, and of the old ones those that this examination says nothing about. */
static clg_status keep(clg__doctor *d)
{
    char       *old = clg__quarantine_load(d->ctx);
    const char *base = clg_context_device(d->ctx)->profile.base;
    clg__text   all = {0};
    clg__text_append(&all, "%s", d->result->quarantine);
    for (const char *line = old; line && *line;) {
        const char  *end = strchr(line, '\n');
        const size_t size = end ? (size_t)(end - line) + 1 : strlen(line);
        char         copy[160];
        snprintf(copy, sizeof copy, "%.*s", (int)CLG__MIN(size, sizeof copy - 1), line);
        const bool own = strncmp(copy, base, strlen(base)) == 0 && copy[strlen(base)] == ' ';
        if ((!own || d->desc->quick || d->desc->only) && all.data && !strstr(all.data, copy)) clg__text_append(&all, "%s", copy);
        line += size;
    }
    free(old);
    const clg_status status = all.failed ? clg__report(clg__context_root(d->ctx), CLG_OUT_OF_MEMORY, "out of host memory")
                                         : clg__quarantine_save(d->ctx, all.data);
    clg__text_free(&all);
    return status;
}

clg_status clg_doctor_run(clg_context *ctx, const clg_doctor_desc *desc, clg_doctor_result *result)
{
    static const clg_doctor_desc none = {0};
    clg_doctor_result            ignored;
    clg__doctor d = {.ctx = ctx, .desc = desc ? desc : &none, .result = result ? result : &ignored};
    selection   s = {.chosen = NULL};
    clg_status  status = clg_context_status(ctx);
    *d.result = (clg_doctor_result){0};
    if (status == CLG_OK) status = clg__units_read(ctx); /* a file that is missing is not the device's fault */
    if (status != CLG_OK) return status;
    clg__root *root = clg__context_root(ctx);
    d.cases = clg__cases_create(&d.count);
    bool ok = d.cases && open_tallies(&d) && select_cases(&d, &s);
    const clg__machine_check *check = clg__machine_checks;
    for (; ok && check->name; check++)
        if (!d.desc->only || strcmp(check->name, s.name) == 0) run_check(&d, check);
    if (ok && s.count) ok = examine_cases(&d, &s);
    if (ok && !d.result->cases)
        status = clg__report(root, CLG_INVALID_ARGUMENT, "there is no case, operator or check \"%s\"", d.desc->only);
    else if (!ok) status = root->text[0] && d.cases ? CLG_INVALID_ARGUMENT : CLG_OUT_OF_MEMORY;
    if (ok && status == CLG_OK) report(&d);
    if (ok && status == CLG_OK && d.desc->keep && d.concluded) status = keep(&d);
    free(s.chosen);
    free(d.cases);
    free(d.tallies);
    return status;
}
