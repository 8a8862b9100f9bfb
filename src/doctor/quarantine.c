/* quarantine.c - from what fails to what is to be avoided.
 *
 * A ladder is a choice that a profile has, from the most special kernels down to those that do everything. All of its rungs
 * are examined (in a quick examination, with the cases that the profile's own fails); one that computes wrongly what the last
 * one computes right goes into quarantine. What of the profile's own then still fails does so without fusion too or not, by
 * the operator's other kernels too or not; at last the operator is refused. */
#include "doctor/examine.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct rung {
    const char *profile; /* what it is examined under */
    const char *avoid;   /* the key and value that go into quarantine; NULL: the last one */
} rung;

enum { RUNGS = 4, LADDERS = 3, MOST_ENTRIES = 64, ROUNDS = 6 };

static const struct {
    const char *base;   /* "": any */
    const char *tables; /* of op_table.h */
    rung        rungs[RUNGS];
} ladders[LADDERS] = {
    {"cpu", " conv conv_transpose ",
     {{"winograd=4", "winograd=4"}, {"winograd=2", "winograd=2"}, {"winograd=0", "direct=1"}, {"winograd=0,direct=0", NULL}}},
    {"cpu", " pointwise broadcast ", {{"stream=1", "stream=32768"}, {"stream=0", NULL}}},
    {"", " matmul ", {{"clblast=1", "clblast=1"}, {"clblast=0", NULL}}},
};

typedef struct entries {
    struct {
        const char *kind, *what;
    } at[MOST_ENTRIES];
    size_t    count;
    clg__text text;
} entries;

static const char *base_of(const clg__doctor *d) { return clg_context_device(d->ctx)->profile.base; }

static size_t find(const entries *e, const char *what)
{
    size_t i = 0;
    while (i < e->count && strcmp(e->at[i].what, what) != 0) i++;
    return i;
}

static void put(entries *e, const char *kind, const char *what)
{
    const size_t i = find(e, what);
    if (i == MOST_ENTRIES) return;
    e->at[i].kind = kind;
    e->at[i].what = what;
    e->count = CLG__MAX(e->count, i + 1);
}

static const char *text_of(entries *e, const char *base)
{
    clg__text_free(&e->text);
    clg__text_append(&e->text, "%s", "");
    for (size_t i = 0; i < e->count; i++) clg__text_append(&e->text, "%s %s %s\n", base, e->at[i].kind, e->at[i].what);
    return e->text.data ? e->text.data : "";
}

static void end_pass(clg__pass *p)
{
    free(p->blamed);
    free(p->together);
    *p = (clg__pass){0};
}

/* ---- ladders ----------------------------------------------------------------------------------------------------- */

static bool same_profile(const clg__doctor *d, const char *changes)
{
    const clg_profile *own = &clg_context_device(d->ctx)->profile;
    clg_profile        changed = *own;
    char               a[256], b[256];
    clg_profile_parse(&changed, changes, NULL, 0);
    return strcmp(clg_profile_text(own, a, sizeof a), clg_profile_text(&changed, b, sizeof b)) == 0;
}

/* Does the rung blame an operator that the last one does not? */
static bool is_worse(const clg__doctor *d, const bool *chosen, const clg__pass *p, const clg__pass *last)
{
    for (size_t i = 0; i < d->count; i++) {
        bool too = false;
        for (size_t k = 0; chosen[i] && p->blamed[i] && k < d->count; k++)
            too |= last->blamed[k] && strcmp(last->blamed[k], p->blamed[i]) == 0;
        if (chosen[i] && p->blamed[i] && !too) return true;
    }
    return false;
}

static bool climb(clg__doctor *d, const clg__pass *plain, size_t ladder, bool *chosen, entries *found)
{
    clg__pass passes[RUNGS] = {{0}};
    size_t    last = 0;
    bool      ok = true, any = false;
    for (size_t i = 0; i < d->count; i++) {
        char table[32];
        snprintf(table, sizeof table, " %s ", d->cases[i].table);
        any |= chosen[i] = plain->chosen[i] && strstr(ladders[ladder].tables, table) && (!d->desc->quick || plain->blamed[i]);
    }
    if (!any) return true;
    while (ladders[ladder].rungs[last].avoid) last++;
    for (size_t i = 0; ok && i <= last; i++) {
        const rung *r = &ladders[ladder].rungs[i];
        passes[i] = (clg__pass){.variant = r->profile, .chosen = chosen, .quarantine = "", .counts = true};
        if (!same_profile(d, r->profile)) ok = clg__examine(d, &passes[i]);
    }
    for (size_t i = 0; ok && i < last; i++) {
        const clg__pass *p = passes[i].blamed ? &passes[i] : plain, *lowest = passes[last].blamed ? &passes[last] : plain;
        if (is_worse(d, chosen, p, lowest)) put(found, "profile", ladders[ladder].rungs[i].avoid);
    }
    for (size_t i = 0; i <= last; i++) end_pass(&passes[i]);
    return ok;
}

/* ---- what is left ------------------------------------------------------------------------------------------------ */

typedef struct remains {
    clg__pass pass[2]; /* as plans run, alone */
    size_t    count;   /* of cases that fail still */
    bool      ok;
} remains;

static void forget(remains *r)
{
    end_pass(&r->pass[0]);
    end_pass(&r->pass[1]);
}

/* What of the profile's own fails with these entries. */
static remains verify(clg__doctor *d, const clg__pass *const own[2], const char *text, bool *chosen)
{
    remains r = {.ok = true};
    for (int k = 0; k < 2 && r.ok; k++) {
        size_t count = 0;
        for (size_t i = 0; i < d->count; i++) count += chosen[i] = own[k]->blamed && own[k]->blamed[i];
        r.pass[k] = (clg__pass){.variant = own[k]->variant, .chosen = chosen, .quarantine = text};
        if (count) r.ok = clg__examine(d, &r.pass[k]);
        for (size_t i = 0; count && r.ok && i < d->count; i++) {
            const char **op = &r.pass[k].blamed[i];
            if (*op && strstr(text, "profile fuse=1") && clg__op_find(*op)->flags & CLG__MERGED) *op = NULL; /* never made */
            r.count += *op != NULL;
        }
    }
    return r;
}

/* An operator's next resort: its other kernels, where there are any, else none; without one that fusion makes of others plans
 * do, when nothing is fused. */
static bool resort(clg__doctor *d, const remains *r, entries *found)
{
    bool more = false;
    entries before = *found;
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; r->pass[k].blamed && i < d->count; i++) {
            const char *op = r->pass[k].blamed[i];
            if (!op || (find(found, op) < found->count && find(&before, op) == before.count)) continue;
            const size_t was = find(&before, op);
            const bool   had = was < before.count || base_of(d)[0] != 'c';
            if (was < before.count && strcmp(before.at[was].kind, "refuse") == 0) continue;
            put(found, had ? "refuse" : "body", op);
            if (had && clg__op_find(op)->flags & CLG__MERGED) put(found, "profile", "fuse=1");
            more = true;
        }
    return more;
}

bool clg__conclude(clg__doctor *d, const clg__pass *plain, const clg__pass *alone)
{
    const clg__pass *const own[2] = {plain, alone};
    entries     found = {.count = 0};
    const char *base = base_of(d);
    bool       *chosen = clg__calloc(clg__context_root(d->ctx), d->count + 1, sizeof *chosen);
    bool        ok = chosen != NULL, fused = false;
    for (size_t i = 0; ok && i < LADDERS; i++)
        if ((!ladders[i].base[0] || strcmp(ladders[i].base, base) == 0) &&
            (ladders[i].rungs[0].profile[0] != 'c' || clg__gemm_has_clblast()))
            ok = climb(d, plain, i, chosen, &found);
    const clg__tally *clblast = clg__tally_of(d, "clblast"), *products = clg__tally_of(d, "products");
    if (clblast && clblast->failed) put(&found, "profile", "clblast=1");
    if (products && products->failed) put(&found, "refuse", "matmul");
    remains left = ok ? verify(d, own, text_of(&found, base), chosen) : (remains){0};
    for (size_t i = 0; left.ok && left.pass[0].together && i < d->count; i++) fused |= left.pass[0].together[i];
    if (left.ok && fused) {
        put(&found, "profile", "fuse=1");
        remains    without = verify(d, own, text_of(&found, base), chosen);
        const bool helps = without.ok && without.count < left.count;
        if (!helps) found.count--;
        forget(helps ? &left : &without);
        if (helps) left = without;
    }
    for (int round = 0; round < ROUNDS && left.ok && left.count && resort(d, &left, &found); round++) {
        forget(&left);
        left = verify(d, own, text_of(&found, base), chosen);
    }
    snprintf(d->result->quarantine, sizeof d->result->quarantine, "%s", text_of(&found, base));
    d->result->rejected = (int)left.count;
    ok = ok && left.ok;
    forget(&left);
    free(chosen);
    clg__text_free(&found.text);
    return ok;
}
