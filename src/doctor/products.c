/* products.c - matrix products by every engine, tile and packing that `clgrad tune` may choose for a product. Their elements are
 * small integers, so that all of them have to give the same bits. */
#include "blas/tuned.h"
#include "doctor/machine.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rests in every direction; one row; few columns; batches; whole tiles. */
static const struct {
    int64_t batch, m, k, n;
} sizes[] = {{1, 133, 67, 139}, {1, 1, 300, 129}, {1, 129, 64, 7}, {3, 17, 33, 19}, {1, 64, 64, 64}};

static const uint32_t local_tiles[][2] = {{64, 64}, {128, 64}, {64, 128}, {128, 128}, {64, 32}, {32, 64}, {32, 32}};

/* The i-th after the profile's own; false: there is none. */
static bool choice_at(const clg_profile *p, size_t i, clg__choice *c)
{
    const bool cpu = strcmp(p->base, "cpu") == 0;
    *c = (clg__choice){.engine = CLG__GEMM_BUILTIN};
    if (!cpu) {
        if (i < CLG__COUNT(local_tiles)) c->m = local_tiles[i][0], c->n = local_tiles[i][1];
        return i < CLG__COUNT(local_tiles);
    }
    if (i < 2) { /* packed or in place */
        c->pack_b = 1 + (uint32_t)i;
        return true;
    }
    c->n = (uint32_t)i - 1;
    c->m = CLG__MAX(CLG__MIN(p->tile_m * p->tile_n / c->n, 16), 1);
    return i < 6;
}

static void describe(const clg__choice *c, char *text, size_t size)
{
    int at = snprintf(text, size, "%s", clg__gemm_engine_name(c->engine));
    if (c->m) snprintf(text + at, size - (size_t)at, " %ux%u", c->m, c->n);
    if (c->pack_b) snprintf(text + at, size - (size_t)at, c->pack_b == 2 ? " packed" : " in place");
}

static clg__case *products(size_t *count)
{
    clg__case *all = clg__cases_create(count), *made = calloc(CLG__COUNT(sizes) * 4, sizeof *made);
    size_t     like = 0, next = 0;
    while (all && like < *count && strcmp(all[like].row.op, "matmul") != 0) like++;
    for (size_t s = 0; all && made && s < CLG__COUNT(sizes); s++)
        for (int form = 0; form < 4; form++) {
            const bool    a = form & 1, b = form & 2, many = sizes[s].batch > 1;
            const int64_t batch = sizes[s].batch, m = sizes[s].m, k = sizes[s].k, n = sizes[s].n;
            clg__case    *c = &made[next++];
            c->row = (op_row){.op = "matmul", .build = all[like].row.build, .flags = EXACT | FIXED,
                              .with = {.matmul = {.trans_a = a, .trans_b = b}}};
            c->row.in[0] = (op_input){WHOLE, many ? CLG_SHAPE(batch, a ? k : m, a ? m : k) : CLG_SHAPE(a ? k : m, a ? m : k)};
            c->row.in[1] = (op_input){WHOLE, many ? CLG_SHAPE(batch, b ? n : k, b ? k : n) : CLG_SHAPE(b ? n : k, b ? k : n)};
            c->row.in[2] = (op_input){WHOLE, CLG_SHAPE(n)};
            snprintf(c->name, sizeof c->name, "%lldx%lldx%lld %c%c", (long long)m, (long long)n, (long long)k, a ? 'T' : 'N',
                     b ? 'T' : 'N');
        }
    free(all);
    *count = next;
    return made;
}

typedef struct note {
    clg__text  *fault;
    clg__choice choice;
} note;

static void wrong(void *user, const clg__fault *fault)
{
    note *n = user;
    char  choice[64];
    describe(&n->choice, choice, sizeof choice);
    if (!n->fault->size) clg__text_append(n->fault, "%s, %s: %s", choice, fault->of ? fault->of->name : "together", fault->text);
}

static void try(clg_context *ctx, const clg__case *cases, size_t count, uint64_t seed, clg__choice choice, clg__text *fault)
{
    note              n = {fault, choice};
    clg__tuned       *tuned = clg__tuned_of(ctx, true);
    const clg__check  check = {.seed = seed, .user = &n, .failed = wrong};
    if (!tuned) return;
    tuned->trial = &choice;
    clg__cases_check(ctx, cases, count, &check);
    tuned->trial = NULL;
}

int clg__doctor_products(clg_context *ctx, uint64_t seed, bool quick, clg__text *fault)
{
    size_t      count;
    clg__case  *cases = products(&count);
    clg__choice choice = {.engine = CLG__GEMM_BUILTIN};
    int         tried = 0;
    if (!cases) return 0;
    try(ctx, cases, count, seed, choice, fault);
    tried++;
    for (size_t i = 0; !quick && choice_at(&clg_context_device(ctx)->profile, i, &choice); i++, tried++)
        try(ctx, cases, count, seed, choice, fault);
    free(cases);
    return tried * (int)count;
}

/* CLBlast's kernels take seconds to compile: not quick where the profile does not use them. */
int clg__doctor_clblast(clg_context *ctx, uint64_t seed, bool quick, clg__text *fault)
{
    if (!clg__gemm_has_clblast() || (quick && !clg_context_device(ctx)->profile.clblast)) return 0;
    size_t       count;
    clg__case   *cases = products(&count);
    clg_context *with = clg__doctor_open(ctx, "clblast=1", "", true);
    if (cases && clg_context_failed(with)) clg__text_append(fault, "%s", clg_context_error(with));
    else if (cases) try(with, cases, count, seed, (clg__choice){.engine = CLG__GEMM_CLBLAST}, fault);
    clg_context_destroy(&with);
    free(cases);
    return (int)count;
}
