/* tune.c - measuring candidates for classes of matrix products, for the tuning file (tuned.c).
 *
 * A class is measured at a shape that networks have. Candidates meet the best so far, the incumbent: their launches are
 * timed in alternating blocks, so that a clock that changes or another process slows down both, and it takes a lead in
 * three of four rounds to win. First tiles, then the packing and the depth of the best one. Who is left meets the untuned
 * choice once more. When the budget ends among a class's candidates, the file says which is next, and another run goes on
 * there from the choice kept; a class that was begun gets one candidate further, however small the budget is.
 *
 * A candidate's product is compared with a sum in double precision, every element. Of rows a of A and columns b of B,
 * uniform in [-1, 1), k terms sum up to less than 6 sqrt(k) / 3 = 6 |a| |b| / sqrt(k), six standard deviations; k additions
 * round by at most u = 2^-24 of that, at random, which makes a standard deviation below 3.5 u |a| |b|. 16 u |a| |b|
 * are allowed; a term has |a| |b| / k. C is all NaN before, and the NaNs around it must stay. */
#include "blas/tuned.h"
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUDGET 120.0 /* seconds, by default */
#define BLOCK  4e-3  /* seconds that one block of launches takes at least */
#define ENOUGH 1.0   /* seconds for a comparison of five rounds or more */
#define WIN    1.05  /* more than noise: another tile is another program to build */

enum { AROUND = 64, SHORT = 7, LONG = 15, MOST_TRIED = 32, MOST_PRODUCTS = 64 };

typedef struct problem {
    clg__gemm    gemm;
    size_t       count;          /* of C's elements, batches included */
    float       *a, *b, *c;      /* op(A), op(B); C with what lies around it */
    double      *want, *row, *col; /* one batch's C; the norms of A's rows, of B's columns */
    clg__buffer *buffer_a, *buffer_b, *buffer_c;
} problem;

typedef struct candidate {
    clg__choice     choice;
    clg__gemm_call *call; /* NULL: it cannot be, or computes wrongly */
    clg__buffer    *workspace;
    char            text[64];
} candidate;

typedef struct tuner {
    clg_context         *ctx;
    clg__tuned          *tuned;
    const clg_tune_desc *desc;
    const clg__tune_product *product;
    size_t               products;
    bool                 known[MOST_PRODUCTS][3]; /* the file had a choice for it, of all candidates */
    clg_tune_result      result;
    double               start, until;
    clg_status           status; /* of keeping choices */
} tuner;

/* The networks' products and those of benchmarks. */
#define NN CLG__TUNE_NN
#define NT CLG__TUNE_NT
#define TN CLG__TUNE_TN

static const clg__tune_product products[] = {
    {1024, 1024, 1024, 1, NN | NT | TN}, {512, 512, 512, 1, NN | NT | TN}, {128, 512, 784, 1, NN | NT},
    {128, 128, 5408, 1, NN | NT}, {2048, 1152, 384, 1, NN}, {2048, 1536, 384, 1, NN | NT}, {2048, 384, 1536, 1, NN | NT},
    {2048, 384, 1152, 1, NT}, {1536, 384, 2048, 1, TN}, {384, 1152, 2048, 1, TN}, {384, 1536, 2048, 1, TN},
    {2048, 384, 384, 1, NN | NT}, {384, 384, 2048, 1, TN}, {784, 512, 128, 1, TN}, {128, 512, 512, 1, NN | NT},
    {512, 512, 128, 1, TN}, {128, 5408, 128, 1, NT}, {5408, 128, 128, 1, TN}, {128, 10, 512, 1, NN}, {512, 10, 128, 1, TN},
    {128, 512, 10, 1, NT}, {2048, 65, 384, 1, NN}, {384, 65, 2048, 1, TN}, {2048, 384, 65, 1, NT}, {8, 1000, 512, 1, NN},
    {8, 512, 1000, 1, NT}, {512, 1000, 8, 1, TN}, {256, 256, 64, 48, NT}, {256, 64, 256, 48, NN},
    {2048, 2048, 2048, 1, NN | NT | TN},
};

static bool over(const tuner *t)
{
    return t->status != CLG_OK || !clg__usable(t->ctx) || clg__seconds() >= t->until;
}

/* ---- problems ---------------------------------------------------------------------------------------------------- */

/* Four rows at a time, for the host's caches. */
static void reference(problem *p)
{
    const size_t m = (size_t)p->gemm.m, n = (size_t)p->gemm.n, k = (size_t)p->gemm.k;
    for (size_t i = 0; i < m; i += 4) {
        const size_t rows = CLG__MIN(m - i, 4);
        double *restrict c0 = p->want + i * n, *restrict c1 = c0 + n, *restrict c2 = c1 + n, *restrict c3 = c2 + n;
        for (size_t e = 0; e < k; e++) {
            double       a[4] = {0};
            const float *restrict b = p->b + e * n;
            for (size_t r = 0; r < rows; r++) a[r] = (double)p->a[(i + r) * k + e], p->row[i + r] += a[r] * a[r];
            for (size_t j = 0; j < n; j++) {
                const double x = (double)b[j];
                c0[j] += a[0] * x, c1[j] += a[1] * x, c2[j] += a[2] * x, c3[j] += a[3] * x;
            }
        }
    }
    for (size_t e = 0; e < k; e++)
        for (size_t j = 0; j < n; j++) p->col[j] += (double)p->b[e * n + j] * (double)p->b[e * n + j];
    for (size_t i = 0; i < m; i++) p->row[i] = sqrt(p->row[i]);
    for (size_t j = 0; j < n; j++) p->col[j] = sqrt(p->col[j]);
}

/* Every batch the same matrix [rows, cols], or its transpose. */
static clg__buffer *upload(clg_context *ctx, const float *matrix, size_t rows, size_t cols, bool trans, size_t batch)
{
    const size_t size = rows * cols * sizeof(float);
    clg__buffer *buffer = clg__buffer_create(ctx, batch * size, "a matrix to tune with");
    float       *turned = trans && buffer ? clg__calloc(&ctx->root, rows * cols, sizeof *turned) : NULL;
    for (size_t i = 0; turned && i < rows; i++)
        for (size_t j = 0; j < cols; j++) turned[j * rows + i] = matrix[i * cols + j];
    for (size_t z = 0; buffer && z < batch; z++) clg__buffer_write(ctx, buffer, z * size, turned ? turned : matrix, size);
    free(turned);
    return buffer;
}

/* The operands on the device, in the form that the product wants. */
static void place(clg_context *ctx, problem *p, bool trans_a, bool trans_b)
{
    const size_t batch = (size_t)p->gemm.batch;
    p->gemm.trans_a = trans_a, p->gemm.trans_b = trans_b;
    clg__buffer_destroy(&p->buffer_a);
    clg__buffer_destroy(&p->buffer_b);
    p->buffer_a = upload(ctx, p->a, (size_t)p->gemm.m, (size_t)p->gemm.k, trans_a, batch);
    p->buffer_b = upload(ctx, p->b, (size_t)p->gemm.k, (size_t)p->gemm.n, trans_b, batch);
}

static float *uniform(clg_context *ctx, size_t count, uint64_t seed)
{
    float *value = clg__calloc(&ctx->root, count, sizeof *value);
    for (size_t i = 0; value && i < count; i++) value[i] = 2.0f * clg_random_uniform(seed, i) - 1.0f;
    return value;
}

static bool open_problem(clg_context *ctx, problem *p, int64_t m, int64_t n, int64_t k, int64_t batch)
{
    const size_t mn = (size_t)(m * n);
    *p = (problem){.gemm = {.m = m, .n = n, .k = k, .batch = batch, .stride_a = m * k, .stride_b = k * n, .stride_c = m * n},
                   .count = mn * (size_t)batch};
    p->a = uniform(ctx, (size_t)(m * k), 1);
    p->b = uniform(ctx, (size_t)(k * n), 2);
    p->c = clg__calloc(&ctx->root, p->count + 2 * AROUND, sizeof *p->c);
    p->want = clg__calloc(&ctx->root, mn + 3 * (size_t)n, sizeof *p->want);
    p->row = clg__calloc(&ctx->root, (size_t)m, sizeof *p->row);
    p->col = clg__calloc(&ctx->root, (size_t)n, sizeof *p->col);
    p->buffer_c = clg__buffer_create(ctx, (p->count + 2 * AROUND) * sizeof *p->c, "a matrix to tune with");
    if (clg__usable(ctx)) reference(p);
    return clg__usable(ctx);
}

static void close_problem(problem *p)
{
    clg__buffer_destroy(&p->buffer_a);
    clg__buffer_destroy(&p->buffer_b);
    clg__buffer_destroy(&p->buffer_c);
    free(p->a);
    free(p->b);
    free(p->c);
    free(p->want);
    free(p->row);
    free(p->col);
}

/* ---- candidates -------------------------------------------------------------------------------------------------- */

static void drop(candidate *c)
{
    clg__gemm_destroy(&c->call);
    clg__buffer_destroy(&c->workspace);
}

static bool is_right(clg_context *ctx, const problem *p, clg__gemm_call *call)
{
    const size_t size = (p->count + 2 * AROUND) * sizeof *p->c, n = (size_t)p->gemm.n, mn = (size_t)p->gemm.m * n;
    for (size_t i = 0; i < p->count + 2 * AROUND; i++) p->c[i] = NAN;
    clg__buffer_write(ctx, p->buffer_c, 0, p->c, size);
    clg__gemm_enqueue(ctx, call);
    if (clg__buffer_read(ctx, p->buffer_c, 0, p->c, size) != CLG_OK) return false;
    bool right = true;
    for (size_t i = 0; i < AROUND; i++) right = right && isnan(p->c[i]) && isnan(p->c[AROUND + p->count + i]);
    for (size_t i = 0; right && i < p->count; i++) {
        const double want = p->want[i % mn], within = 8.0 * (double)FLT_EPSILON * p->row[i % mn / n] * p->col[i % n];
        right = fabs((double)p->c[AROUND + i] - want) <= within; /* of a NaN: false */
    }
    return right;
}

static candidate prepare(tuner *t, const problem *p, clg__choice choice)
{
    candidate c = {.choice = choice};
    t->tuned->trial = &choice;
    const size_t bytes = clg__gemm_workspace(t->ctx, &p->gemm, CLG__GEMM_AUTO);
    if (bytes > 0) c.workspace = clg__buffer_create(t->ctx, bytes, "a workspace to tune with");
    c.call = clg__gemm_create(t->ctx, &p->gemm, CLG__GEMM_AUTO, &(clg__operands){
        .a = {.buffer = p->buffer_a}, .b = {.buffer = p->buffer_b}, .c = {.buffer = p->buffer_c, .at = AROUND},
        .workspace = {.buffer = c.workspace}});
    t->tuned->trial = NULL;
    snprintf(c.text, sizeof c.text, "%s", clg__gemm_text(c.call));
    return c;
}

/* What fails here is the candidate, and not the context. */
static bool passes(tuner *t, const problem *p, candidate *c)
{
    const bool right = c->call && is_right(t->ctx, p, c->call);
    if (!right) drop(c);
    clg_context_clear_error(t->ctx);
    return right;
}

static double block(clg_context *ctx, clg__gemm_call *call, int launches)
{
    const double start = clg__seconds();
    for (int i = 0; i < launches; i++) clg__gemm_enqueue(ctx, call);
    clg_context_finish(ctx);
    return (clg__seconds() - start) / launches;
}

static double at_quarter(double *x, int count, int quarter)
{
    for (int i = 1; i < count; i++)
        for (int j = i; j > 0 && x[j] < x[j - 1]; j--) {
            const double y = x[j];
            x[j] = x[j - 1], x[j - 1] = y;
        }
    return x[count * quarter / 4];
}

/* Time of a over that of b, as it is or higher in three of four rounds; *seconds: b's median. */
static double duel(clg_context *ctx, const candidate *a, const candidate *b, int rounds, double *seconds)
{
    double       ratio[LONG], time[LONG];
    const double one = block(ctx, a->call, 1) + block(ctx, b->call, 1);
    const int    launches = (int)fmin(BLOCK / fmax(0.5 * one, 1e-6), 1000.0) + 1;
    const double start = clg__seconds();
    for (int i = 0; i < rounds; i++) {
        const double first = block(ctx, i % 2 ? b->call : a->call, launches);
        const double second = block(ctx, i % 2 ? a->call : b->call, launches);
        time[i] = i % 2 ? first : second;
        ratio[i] = (i % 2 ? second : first) / time[i];
        const bool hopeless = i == 1 && fmax(ratio[0], ratio[1]) < 0.7;
        if (hopeless || (i >= 4 && clg__seconds() - start > ENOUGH)) rounds = i + 1;
    }
    *seconds = at_quarter(time, rounds, 2);
    return at_quarter(ratio, rounds, 1);
}

/* The i-th candidate after the best so far: its engine, its tile, then its packing and depth. False: there is none. */
static bool choice_at(const clg_profile *profile, int i, clg__choice best, clg__choice *choice)
{
    static const uint32_t local[][2] = {{64, 64}, {128, 64}, {64, 128}, {128, 128}, {64, 32}, {32, 64}, {32, 32}};
    const bool            cpu = strcmp(profile->base, "cpu") == 0;
    const uint32_t        sums = profile->tile_m * profile->tile_n;
    const int             tiles = cpu ? 5 : (int)CLG__COUNT(local);
    *choice = best;
    if (i < 2) {
        *choice = (clg__choice){.engine = i == 0 ? CLG__GEMM_BUILTIN : CLG__GEMM_CLBLAST};
        return true;
    }
    choice->engine = CLG__GEMM_BUILTIN;
    i -= 2;
    if (i < tiles) {
        const uint32_t n = i == 0 ? profile->tile_n : (uint32_t)i; /* the profile's own, then all widths */
        choice->m = cpu ? CLG__MIN(i == 0 ? 8 : sums / n, 16) : local[i][0];
        choice->n = cpu ? n : local[i][1];
        choice->m = CLG__MAX(choice->m, 1);
        return true;
    }
    i -= tiles;
    if (i < 2 && cpu) choice->pack_b = 1 + (uint32_t)i;
    if (i < 2) return true;
    if (i >= 5) return false;
    choice->k = (cpu ? 128u : 8u) << (i - 2);
    return true;
}

/* ---- classes ----------------------------------------------------------------------------------------------------- */

static void report(tuner *t, const clg_tune_row *row)
{
    if (t->desc->report) t->desc->report(t->desc->user, row);
    if (!t->desc->dry_run && t->status == CLG_OK) t->status = clg__tuned_save(t->ctx, t->tuned);
}

static void describe(const problem *p, char *text, size_t size)
{
    const clg__gemm *g = &p->gemm;
    int at = snprintf(text, size, "%c%c %" PRId64 " x %" PRId64 " x %" PRId64, g->trans_a ? 'T' : 'N',
                      g->trans_b ? 'T' : 'N', g->m, g->n, g->k);
    if (g->batch > 1) snprintf(text + at, size - (size_t)at, ", %" PRId64 " times", g->batch);
}

/* With `again`: only whether CLBlast, whose parameters have changed, is faster than what was chosen. Where the untuned
 * choice itself computes wrongly, the first that does not takes its place. */
static void measure(tuner *t, const problem *p, bool again)
{
    const clg_profile    *profile = &t->ctx->info->profile;
    const clg__tuned_row *found = clg__tuned_find(t->tuned, &p->gemm), kept = found ? *found : (clg__tuned_row){0};
    char         tried[MOST_TRIED][sizeof(((candidate *)0)->text)], what[64];
    candidate    untuned = prepare(t, p, again ? kept.choice : (clg__choice){0}), best;
    clg_tune_row row = {.what = what, .untuned = tried[0], .ratio = 1.0};
    clg__choice  choice;
    int          count = 1, i = again ? 1 : kept.next;
    strcpy(tried[0], untuned.text);
    passes(t, p, &untuned);
    best = untuned;
    if (!again && !clg__tuned_same(kept.choice, (clg__choice){0})) {
        candidate c = prepare(t, p, kept.choice);
        strcpy(tried[count++], c.text);
        if (passes(t, p, &c)) best = c;
    }
    for (; choice_at(profile, i, best.choice, &choice) && count < MOST_TRIED; i++) {
        if (row.candidates > 0 && over(t)) row.unfinished = true;
        if (row.unfinished || (again && i > 1)) break;
        if (choice.engine == CLG__GEMM_CLBLAST && (!profile->clblast || !clg__gemm_has_clblast())) continue;
        candidate c = prepare(t, p, choice);
        bool      seen = false;
        double    seconds;
        for (int j = 0; j < count; j++) seen = seen || strcmp(tried[j], c.text) == 0;
        if (!seen) {
            strcpy(tried[count++], c.text);
            row.candidates++;
            if (!passes(t, p, &c)) row.refused++;
            else if (!best.call || duel(t->ctx, &best, &c, SHORT, &seconds) > WIN) {
                const candidate worse = best;
                best = c, c = worse;
            }
        }
        if (c.call != untuned.call) drop(&c);
        clg_context_clear_error(t->ctx);
    }
    double seconds = 0.0;
    if (untuned.call && best.call) row.ratio = duel(t->ctx, &untuned, &best, LONG, &seconds);
    if (best.call == untuned.call || row.ratio <= WIN) row.ratio = 1.0;
    const candidate *winner = row.ratio > 1.0 || !untuned.call ? &best : &untuned;
    describe(p, what, sizeof what);
    if (winner->call && clg__usable(t->ctx)) {
        row.winner = winner->text;
        row.gflops = seconds > 0.0 ? 2e-9 * (double)p->count * (double)p->gemm.k / seconds : 0.0;
        clg__tuned_keep(t->tuned, &p->gemm, winner->choice, again ? kept.next : row.unfinished ? (uint8_t)i : 0);
        t->result.measured += !again && !row.unfinished;
        report(t, &row);
    } else if (clg__usable(t->ctx)) {
        t->status = clg__report(&t->ctx->root, CLG_INTERNAL, "no kernel multiplies %s rightly on %s", what,
                                t->ctx->info->name);
    }
    if (best.call != untuned.call) drop(&best);
    drop(&untuned);
}

static void measure_forms(tuner *t, size_t i, bool known, bool again)
{
    const clg__tune_product *d = &t->product[i];
    problem p = {.count = 0};
    for (int form = 0; form < 3 && !over(t); form++) {
        if (!(d->forms >> form & 1) || t->known[i][form] != known) continue;
        if (p.count == 0 && !open_problem(t->ctx, &p, d->m, d->n, d->k, d->batch)) break;
        place(t->ctx, &p, form == 2, form == 1);
        if (clg__usable(t->ctx)) measure(t, &p, again);
    }
    close_problem(&p);
}

/* Which products have a choice already: of all candidates, unless `any` is. */
static void look_up(tuner *t, bool any)
{
    for (size_t i = 0; i < t->products; i++)
        for (int form = 0; form < 3; form++) {
            const clg__gemm g = {.trans_a = form == 2, .trans_b = form == 1, .m = t->product[i].m, .n = t->product[i].n,
                                 .k = t->product[i].k, .batch = t->product[i].batch};
            const clg__tuned_row *found = clg__tuned_find(t->tuned, &g);
            t->known[i][form] = found && (any || found->next == 0);
        }
}

/* ---- CLBlast's parameters ---------------------------------------------------------------------------------------- */

/* What CLBlast had before cannot be had back, so sets meet it by way of a third, the built-in engine. */
static bool measure_sets(tuner *t, int kernel)
{
    static const int64_t shape[CLG__CLBLAST_KERNELS][3] = {{1024, 1024, 1024}, {128, 512, 784}, {512, 512, 512}};
    char         what[64], texts[2][256] = {"as it was"};
    clg_tune_row row = {.what = what, .untuned = texts[0], .ratio = 1.0};
    problem      p = {0};
    double       seconds, shipped = 0.0, fastest = 0.0;
    int          winner = -1, set = -1;
    const bool   cpu = strcmp(t->ctx->info->profile.base, "cpu") == 0;
    snprintf(what, sizeof what, "CLBlast %s", clg__clblast_kernel_name(kernel));
    if (open_problem(t->ctx, &p, shape[kernel][0], shape[kernel][1], shape[kernel][2], 1)) place(t->ctx, &p, false, false);
    candidate built_in = prepare(t, &p, (clg__choice){.engine = CLG__GEMM_BUILTIN});
    const bool possible = passes(t, &p, &built_in);
    for (; possible && set < clg__clblast_sets() && !over(t); set++) {
        if (set >= 0 && (clg__clblast_kernel_of(set) != kernel || !clg__clblast_suits(set, cpu))) continue;
        if (set >= 0) row.candidates++;
        candidate c = {.call = NULL};
        if (set < 0 || clg__clblast_use(t->ctx, set)) c = prepare(t, &p, (clg__choice){.engine = CLG__GEMM_CLBLAST});
        if (passes(t, &p, &c)) {
            const double ratio = duel(t->ctx, &built_in, &c, LONG, &seconds);
            if (set < 0) shipped = ratio;
            else if (ratio > fastest) fastest = ratio, winner = set;
        } else if (set >= 0) row.refused++;
        drop(&c);
    }
    drop(&built_in);
    close_problem(&p);
    if (winner >= 0) clg__clblast_use(t->ctx, winner);
    row.unfinished = set < clg__clblast_sets();
    const bool counts = !row.unfinished || t->tuned->set[kernel] < 0; /* some sets do not displace the best of all */
    const bool won = counts && winner >= 0 && fastest > WIN * shipped;
    row.winner = won ? clg__clblast_set_text(winner, texts[1], sizeof texts[1]) : texts[0];
    if (won && shipped > 0.0) row.ratio = fastest / shipped;
    if (row.candidates > 0 && counts) t->tuned->set[kernel] = won ? winner : -1;
    if (row.candidates > 0) report(t, &row);
    return won;
}

/* ---- the call ---------------------------------------------------------------------------------------------------- */

static void run(tuner *t, double budget)
{
    const double end = t->start + budget;
    const bool   clblast = clg__clblast_sets() > 0 && t->ctx->info->profile.clblast;
    bool         changed = false;
    t->until = clblast ? t->start + 0.5 * budget : end;
    look_up(t, false);
    for (size_t i = 0; i < 2 * t->products; i++) measure_forms(t, i % t->products, i >= t->products, false);
    t->until = end;
    for (int k = 0; clblast && k < CLG__CLBLAST_KERNELS && !over(t); k++) changed = measure_sets(t, k) || changed;
    look_up(t, true);
    for (size_t i = 0; changed && i < t->products; i++) measure_forms(t, i, true, true);
}

clg_status clg__tune(clg_context *ctx, const clg__tune_product *list, size_t count, const clg_tune_desc *desc,
                     clg_tune_result *result)
{
    const clg_tune_desc defaults = {0};
    tuner t = {.ctx = ctx, .desc = desc ? desc : &defaults, .product = list, .products = CLG__MIN(count, MOST_PRODUCTS),
               .start = clg__seconds()};
    if (result) *result = t.result;
    if (!clg__usable(ctx)) return clg_context_status(ctx);
    t.tuned = clg__tuned_of(ctx, false);
    if (!t.tuned) return clg_context_status(ctx);
    if (!t.desc->dry_run) t.status = clg__tuned_save(ctx, t.tuned);
    if (t.status != CLG_OK) return t.status;

    for (size_t i = 0; i < t.products; i++)
        for (int form = 0; form < 3; form++) t.result.classes += list[i].forms >> form & 1;
    run(&t, t.desc->budget > 0.0 ? t.desc->budget : BUDGET);
    t.result.choices = clg__tuned_count(t.tuned);
    t.result.seconds = clg__seconds() - t.start;
    if (result) *result = t.result;
    return clg__usable(ctx) ? t.status : clg_context_status(ctx);
}

clg_status clg_context_tune(clg_context *ctx, const clg_tune_desc *desc, clg_tune_result *result)
{
    return clg__tune(ctx, products, CLG__COUNT(products), desc, result);
}
