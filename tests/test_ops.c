/* test_ops.c - every row of op_table.h, forward and backward:
 *
 *   - results, gradients and, where smooth, gradients of gradients on the device against the double interpreter;
 *   - the interpreter's gradients against signed directional derivatives, by central differences in double precision,
 *     so that the reference of a gradient is not merely the same mistake twice;
 *   - a second run and a run without fusion;
 *   - every input and result at an odd offset between guards that must stay as they are.
 *
 * test_values.c has values known from mathematics, since a wrong formula could be shared by device and reference.
 *
 * CLGRAD_TEST_ELEMENTS=N leaves out rows with more elements, for devices that are slow (tools/lanes); how many is printed,
 * and every operator still needs a row. CLGRAD_TEST_PROGRAMS=DIR writes the programs there and runs nothing.
 *
 * The loss of a row is sum(y w), its slope sum(d loss / d input * v), with w and v drawn at random. */
#include "op_table.h"
#include "plan/plan.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "fixture.h"

enum {
    MAX_INPUTS = 3,
    MAX_LEAVES = 2 * MAX_INPUTS + 1, /* inputs, w, the v */
    MAX_OUTS   = 2 * MAX_INPUTS + 2, /* y, first derivatives, second ones (of w too) */
    GUARD      = 37,
};

static const double roundings = 4.0;    /* of sqrt(terms) times the largest element: see op_table.h */
static const double step = 0x1p-20;     /* of central differences */
static const double difference = 1e-6;  /* what their own error may be, relative */

typedef struct subject {
    op_row      row;
    clg_tensor *leaf[MAX_LEAVES], *out[MAX_OUTS];
    op_values   values[MAX_LEAVES];
    double     *value[MAX_LEAVES];
    int         inputs, leaves, outs;
    clg_tensor *wrt[MAX_INPUTS + 1]; /* float inputs, then w */
    clg_tensor *d[MAX_INPUTS], *dd[MAX_INPUTS + 1];
    int         wrts;
    clg_tensor *loss, *slope;
    double      largest[MAX_OUTS]; /* element of a result, in a few draws of the values: one may nearly cancel */
    uint64_t    seed;
} subject;

static int          failures;
static const char  *only; /* the name of a table, or NULL for all of them */

static void failed(const subject *s, const char *format, ...) CLG_PRINTF(2, 3);
static void failed(const subject *s, const char *format, ...)
{
    char    shape[128];
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s", s->row.op);
    for (int i = 0; i < MAX_INPUTS && s->row.in[i].values; i++)
        fprintf(stderr, " %s", clg_shape_text(s->row.in[i].shape, shape, sizeof shape));
    fprintf(stderr, ": ");
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    failures++;
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

static clg_dtype dtype_of(op_values v)
{
    return v == BYTES ? CLG_U8 : v == LABELS || v == NO_LABELS || v == INDICES || v == NUMBERS || v == BITS ? CLG_I32 : CLG_F32;
}

static double draw(const subject *s, int k, int64_t i)
{
    const uint64_t seed = s->seed + (uint64_t)k;
    const double   u = (double)clg_random_uniform(seed, 2 * (uint64_t)i);
    const int64_t  n = (int64_t)clg_random_u32(seed, 2 * (uint64_t)i + 1);
    const int64_t *dim = s->row.in[0].shape.dim;
    switch (s->values[k]) {
    case NORMAL:    return (double)(float)(4.0 * u - 2.0);
    case POSITIVE:  return (double)(float)(0.5 + 2.0 * u);
    case AWAY:      return (double)(float)((0.5 + 1.5 * u) * (n & 1 ? -1.0 : 1.0));
    case WHOLE:     return (double)(n % 9 - 4);
    case UNIT:      return u;
    case LABELS:    return i % 3 == 2 ? -1.0 : (double)(n % dim[1]);
    case NO_LABELS: return -1.0;
    case INDICES:   return (double)(n % (dim[0] + 4) - 2);
    case BYTES:     return (double)(n % 256);
    case BITS:      return (double)(n & 1);
    case NUMBERS:   return (double)(n % 2000001 - 1000000);
    case DISTINCT:
    case NOTHING:   break;
    }
    return 0.0;
}

static double *draw_all(const subject *s, int k)
{
    const int64_t n = s->leaf[k]->count;
    double       *value = malloc(((size_t)n + 1) * sizeof *value);
    assert_non_null(value);
    for (int64_t i = 0; i < n; i++) value[i] = draw(s, k, i);
    if (s->values[k] != DISTINCT) return value;
    for (int64_t i = 0; i < n; i++) value[i] = (double)(float)((2.0 * (double)i + 1.0) / (double)n - 1.0);
    for (int64_t i = n - 1; i > 0; i--) {
        const int64_t other = (int64_t)(clg_random_u32(s->seed, (uint64_t)i) % (uint64_t)(i + 1));
        const double  kept = value[i];
        value[i] = value[other];
        value[other] = kept;
    }
    return value;
}

static void upload(clg_tensor *t, const double *value)
{
    const size_t size = clg_dtype_size(t->dtype), bytes = (size_t)t->count * size;
    char        *data = malloc(bytes + 1);
    assert_non_null(data);
    for (int64_t i = 0; i < t->count; i++) {
        if (t->dtype == CLG_F32) ((float *)(void *)data)[i] = (float)value[i];
        else if (t->dtype == CLG_I32) ((int32_t *)(void *)data)[i] = (int32_t)value[i];
        else ((uint8_t *)data)[i] = (uint8_t)value[i];
    }
    assert_int_equal(clg_tensor_write(t, data, bytes), CLG_OK);
    free(data);
}

static void *download(clg_tensor *t)
{
    const size_t bytes = (size_t)t->count * 4;
    void        *data = malloc(bytes + 1);
    assert_non_null(data);
    assert_int_equal(clg_tensor_read(t, data, bytes), CLG_OK);
    return data;
}

/* ---- graphs ------------------------------------------------------------------------------------------------------ */

/* t itself, or a copy of it that is nobody's leaf or output and so lies between guards. */
static clg_tensor *moved(clg_tensor *t, bool displaced)
{
    return displaced && t && t->dtype == CLG_F32 ? clg_scale(t, 1.0) : t;
}

static clg_tensor *add_leaf(subject *s, clg_graph *g, op_values values, clg_shape shape)
{
    s->values[s->leaves] = values;
    return s->leaf[s->leaves++] = clg_input(g, dtype_of(values), shape);
}

static bool occurs(const clg_graph *g, uint32_t from, const char *op)
{
    for (uint32_t i = from; i < g->count; i++)
        if (strcmp(g->nodes[i]->op->name, op) == 0) return true;
    return false;
}

/* The row's graph; false, and a failure, when it cannot be built. */
static bool build(subject *s, clg_graph *g, const op_row *row, uint64_t seed, bool displaced)
{
    clg_tensor    *in[MAX_INPUTS] = {0};
    const uint32_t before = g->count;
    *s = (subject){.row = *row, .seed = seed};
    const op_values other = row->flags & EXACT ? WHOLE : row->in[0].values == POSITIVE ? POSITIVE : NORMAL;
    for (; s->inputs < MAX_INPUTS && row->in[s->inputs].values; s->inputs++) {
        const op_input *input = &row->in[s->inputs];
        clg_tensor     *t = add_leaf(s, g, input->values, input->shape);
        in[s->inputs] = moved(t, displaced);
        if (t->dtype == CLG_F32) s->wrt[s->wrts++] = t;
    }
    clg_tensor *y = row->build(row, in);
    s->out[s->outs++] = moved(y, displaced);
    if (y && !(row->flags & FIXED)) {
        clg_tensor *w = s->wrt[s->wrts] = add_leaf(s, g, other, y->shape);
        s->loss = clg_sum(clg_mul(y, moved(w, displaced)), NULL);
        clg_gradients(s->loss, s->wrt, (size_t)s->wrts, s->d);
        for (int i = 0; i < s->wrts; i++) s->out[s->outs++] = moved(s->d[i], displaced);
    }
    if (s->loss && row->flags & SMOOTH) {
        for (int i = 0; i < s->wrts; i++) {
            clg_tensor *v = add_leaf(s, g, other, s->wrt[i]->shape);
            clg_tensor *part = clg_sum(clg_mul(s->d[i], moved(v, displaced)), NULL);
            s->slope = s->slope ? clg_add(s->slope, part) : part;
        }
        clg_gradients(s->slope, s->wrt, (size_t)s->wrts + 1, s->dd);
        for (int i = 0; i <= s->wrts; i++) s->out[s->outs++] = moved(s->dd[i], displaced);
    }
    bool whole = !clg_context_failed(ctx);
    for (int i = 0; i < s->outs; i++) whole = whole && s->out[i];
    if (!whole)
        failed(s, "%s", clg_context_error(ctx));
    else if (!occurs(g, before, row->op))
        failed(s, "the row says %s, but its graph has no such operator", row->op);
    clg_context_clear_error(ctx);
    return whole;
}

/* ---- all rows in one plan: what differs only in sizes is compiled once ------------------------------------------- */

typedef struct table {
    const char   *name;
    const op_row *rows;
    size_t        count;
} table;

#define TABLE(name) {#name, name##_rows, CLG__COUNT(name##_rows)},
static const table tables[] = {EACH_TABLE(TABLE)};

typedef struct batch {
    clg_graph  *g;
    subject    *subjects;
    size_t      count, left_out;
    clg_tensor **outs;
    size_t      out_count;
} batch;

/* Of its inputs; a row has at most some times as many in all its tensors. */
static bool wanted(const op_row *row)
{
    const char *most = getenv("CLGRAD_TEST_ELEMENTS");
    int64_t     elements = 0;
    for (int k = 0; k < MAX_INPUTS && row->in[k].values; k++) elements += clg_shape_count(row->in[k].shape);
    return !most || !*most || elements <= strtoll(most, NULL, 10);
}

static void add_row(batch *b, const op_row *row, bool displaced)
{
    if (!wanted(row)) {
        b->left_out++;
        return;
    }
    subject *moved_to = realloc(b->subjects, (b->count + 1) * sizeof *moved_to);
    assert_non_null(moved_to);
    b->subjects = moved_to;
    uint64_t seed = clg__hash(0, row->op, strlen(row->op)); /* a row's own, wherever it stands */
    for (int k = 0; k < MAX_INPUTS; k++) seed = clg__hash(seed, row->in[k].shape.dim, sizeof row->in[k].shape.dim);
    if (build(&b->subjects[b->count], b->g, row, seed, displaced)) b->count++;
}

static void add_table(batch *b, const table *t, bool displaced)
{
    for (size_t i = 0; i < t->count; i++) {
        if (!(t->rows[i].flags & EVERY_AXES)) {
            add_row(b, &t->rows[i], displaced);
            continue;
        }
        const int rank = t->rows[i].in[0].shape.rank;
        for (unsigned axes = 1; axes < 1u << rank; axes++) {
            op_row row = t->rows[i];
            row.with.reduce = (clg_reduce_desc){.keepdims = axes & 1};
            for (int d = 0; d < rank; d++)
                if (axes >> d & 1) row.with.reduce.axes[row.with.reduce.count++] = d;
            add_row(b, &row, displaced);
        }
    }
}

static batch build_tables(bool displaced)
{
    batch b = {.g = clg_graph_create(ctx, NULL)};
    assert_non_null(b.g);
    for (size_t i = 0; i < CLG__COUNT(tables); i++)
        if (!only || strcmp(only, tables[i].name) == 0) add_table(&b, &tables[i], displaced);
    if (b.left_out) printf("# %zu rows, %zu left out\n", b.count, b.left_out);
    b.outs = calloc(b.count * MAX_OUTS + 1, sizeof(clg_tensor *));
    assert_non_null(b.outs);
    for (size_t i = 0; i < b.count; i++) {
        subject *s = &b.subjects[i];
        for (int k = 0; k < s->leaves; k++) s->value[k] = draw_all(s, k);
        for (int k = 0; k < s->outs; k++) b.outs[b.out_count++] = s->out[k];
    }
    return b;
}

static void end_tables(batch *b)
{
    for (size_t i = 0; i < b->count; i++)
        for (int k = 0; k < b->subjects[i].leaves; k++) free(b->subjects[i].value[k]);
    free(b->subjects);
    free(b->outs);
    clg_graph_destroy(&b->g);
}

/* Runs the plan on results that were spoilt before, so that what is read was written by this run. */
static void **run(const batch *b, clg_plan *plan)
{
    void **results = calloc(b->out_count + 1, sizeof *results);
    assert_non_null(results);
    for (size_t i = 0; i < b->out_count; i++) {
        const size_t bytes = (size_t)b->outs[i]->count * 4;
        if (clg__base_of(b->outs[i])->op == &clg__op_leaf) continue;
        void *spoilt = malloc(bytes + 1);
        assert_non_null(spoilt);
        memset(spoilt, 0xff, bytes); /* NaN */
        assert_int_equal(clg_tensor_write(b->outs[i], spoilt, bytes), CLG_OK);
        free(spoilt);
    }
    clg_plan_run(plan);
    for (size_t i = 0; i < b->out_count; i++) results[i] = download(b->outs[i]);
    return results;
}

static void free_results(const batch *b, void **results)
{
    for (size_t i = 0; i < b->out_count; i++) free(results[i]);
    free(results);
}

/* What the k-th result of the subject is. */
static const char *result_name(const subject *s, int k)
{
    static const char *const names[] = {"y", "dx0", "dx1", "dx2", "ddx0", "ddx1", "ddx2", "ddw"};
    if (k <= s->wrts) return names[k];
    return k == 2 * s->wrts + 1 ? "ddw" : names[3 + k - s->wrts];
}

static void expect_same_bits(const batch *b, void **one, void **other, const char *when)
{
    size_t at = 0;
    for (size_t i = 0; i < b->count; i++)
        for (int k = 0; k < b->subjects[i].outs; k++, at++)
            if (memcmp(one[at], other[at], (size_t)b->outs[at]->count * 4) != 0)
                failed(&b->subjects[i], "%s has other bits %s", result_name(&b->subjects[i], k), when);
}

static void expect_close(const subject *s, int k, const double *expected, const void *result, const char *when)
{
    const clg_tensor *t = s->out[k];
    const double      terms = s->row.terms > 1.0 ? s->row.terms : 1.0;
    const double      tolerance = s->row.flags & EXACT ? 0.0 : roundings * sqrt(terms) * 0x1p-24 * s->largest[k];
    for (int64_t i = 0; i < t->count; i++) {
        const double got =
            t->dtype == CLG_I32 ? (double)((const int32_t *)result)[i] : (double)((const float *)result)[i];
        if (fabs(got - expected[i]) <= tolerance) continue;
        failed(s, "%s[%lld] is %.9g instead of %.9g (tolerance %.2g) %s", result_name(s, k), (long long)i, got,
               expected[i], tolerance, when);
        return;
    }
}

static void expect_reference(const batch *b, clg__reference *ref, void **results, const char *when)
{
    size_t at = 0;
    for (size_t i = 0; i < b->count; i++)
        for (int k = 0; k < b->subjects[i].outs; k++, at++) {
            const double *expected = clg__reference_value(ref, b->outs[at]);
            if (expected) expect_close(&b->subjects[i], k, expected, results[at], when);
            else failed(&b->subjects[i], "no reference value of %s", result_name(&b->subjects[i], k));
        }
}

/* ---- derivatives ------------------------------------------------------------------------------------------------- */

static double reference_scalar(clg__reference *ref, const clg_tensor *t)
{
    const double *value = clg__reference_value(ref, t);
    return value ? *value : (double)NAN;
}

/* d f / d leaf in a random direction, by differences and by the gradient: of the reference, and the device's. */
static void expect_derivative(const subject *s, clg__reference *ref, const clg_tensor *f, const clg_tensor *leaf,
                              const clg_tensor *gradient, const void *device, const char *what)
{
    int k = 0;
    while (s->leaf[k] != leaf) k++;
    const size_t n = (size_t)leaf->count;
    double      *direction = malloc((n + 1) * sizeof *direction), *at = malloc((n + 1) * sizeof *at);
    assert_true(direction && at);
    double sum = 0.0, device_sum = 0.0, size = 0.0, side[2];
    for (size_t i = 0; i < n; i++) direction[i] = 2.0 * (double)clg_random_uniform(s->seed + 77, i) - 1.0;
    for (int d = 0; d < 2; d++) {
        for (size_t i = 0; i < n; i++) at[i] = s->value[k][i] + (d ? -step : step) * direction[i];
        clg__reference_set(ref, leaf, at);
        side[d] = reference_scalar(ref, f);
    }
    clg__reference_set(ref, leaf, s->value[k]);
    const double *expected = clg__reference_value(ref, gradient);
    for (size_t i = 0; expected && i < n; i++) {
        sum += expected[i] * direction[i];
        device_sum += (double)((const float *)device)[i] * direction[i];
        size += fabs(expected[i] * direction[i]);
    }
    const double slope = (side[0] - side[1]) / (2.0 * step);
    const double noise = 0x1p-50 / step * (1.0 + fabs(side[0]) + size); /* of the two losses themselves */
    if (!(fabs(slope - sum) <= difference * size + noise))
        failed(s, "%s of input %d: differences give %.9g, the reference's gradient %.9g", what, k, slope, sum);
    const double terms = s->row.terms > 1.0 ? s->row.terms : 1.0;
    if (!(fabs(slope - device_sum) <= (difference + roundings * sqrt(terms) * 0x1p-24) * size + noise))
        failed(s, "%s of input %d: differences give %.9g, the device's gradient %.9g", what, k, slope, device_sum);
    free(direction);
    free(at);
}

static void expect_derivatives(const batch *b, clg__reference *ref, void **results)
{
    size_t at = 0;
    for (size_t i = 0; i < b->count; i++) {
        const subject *s = &b->subjects[i];
        for (int k = 0; s->loss && k < s->wrts; k++)
            expect_derivative(s, ref, s->loss, s->wrt[k], s->d[k], results[at + 1 + (size_t)k], "the derivative");
        for (int k = 0; s->slope && k <= s->wrts; k++)
            expect_derivative(s, ref, s->slope, s->wrt[k], s->dd[k], results[at + 1 + (size_t)(s->wrts + k)],
                              "the second derivative");
        at += (size_t)s->outs;
    }
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

/* The interpreter with the values of the rows, after other draws of them have shown how large results are. */
static clg__reference *reference_of(const batch *b)
{
    enum { DRAWS = 3 };
    clg__reference *ref = clg__reference_create(b->g);
    assert_non_null(ref);
    for (size_t i = 0; i < b->count; i++) {
        subject *s = &b->subjects[i];
        for (int draw = DRAWS - 1; draw >= 0; draw--) {
            subject other = *s;
            other.seed += 64 * (uint64_t)draw;
            for (int k = 0; k < s->leaves; k++) {
                double *value = draw_all(&other, k);
                clg__reference_set(ref, s->leaf[k], value);
                free(value);
            }
            for (int k = 0; k < s->outs; k++) {
                const double *value = clg__reference_value(ref, s->out[k]);
                for (int64_t e = 0; value && e < s->out[k]->count; e++)
                    s->largest[k] = fmax(s->largest[k], fabs(value[e]));
            }
        }
    }
    return ref;
}

static void upload_all(const batch *b)
{
    for (size_t i = 0; i < b->count; i++)
        for (int k = 0; k < b->subjects[i].leaves; k++) upload(b->subjects[i].leaf[k], b->subjects[i].value[k]);
}

static clg_plan *planned(const batch *b, size_t guard)
{
    clg_plan *plan = clg__plan_create_guarded(b->outs, b->out_count, guard);
    if (!plan) fail_msg("%s\n%s", clg_context_error(ctx), clg_context_build_log(ctx));
    return plan;
}

static void rows_agree_with_the_reference(void **state)
{
    (void)state;
    batch           b = build_tables(false);
    clg_plan       *plan = planned(&b, 0);
    clg__reference *ref = reference_of(&b);
    upload_all(&b);
    void          **first = run(&b, plan), **second = run(&b, plan);
    expect_same_bits(&b, first, second, "in the second run");
    expect_reference(&b, ref, first, "");
    expect_derivatives(&b, ref, first);
    free_results(&b, first);
    free_results(&b, second);
    clg__reference_destroy(&ref);
    clg_plan_destroy(&plan);
    end_tables(&b);
    assert_false(clg_context_failed(ctx));
    assert_int_equal(failures, 0);
}

static void rows_keep_within_their_memory(void **state)
{
    (void)state;
    batch b = build_tables(true);
    setenv("CLGRAD_REWRITE", "0", 1); /* else copies to displace an input would be folded into its operator */
    clg_plan       *plain = planned(&b, 0), *guarded = planned(&b, GUARD);
    clg__reference *ref = reference_of(&b);
    upload_all(&b);
    void **there = run(&b, plain);
    assert_int_equal(clg__plan_guards_fill(guarded), CLG_OK);
    void **here = run(&b, guarded);
    assert_true(clg__plan_guards_intact(guarded));
    expect_same_bits(&b, there, here, "between guards");
    expect_reference(&b, ref, there, "without fusion");
    free_results(&b, there);
    free_results(&b, here);
    clg__reference_destroy(&ref);
    clg_plan_destroy(&plain);
    clg_plan_destroy(&guarded);
    end_tables(&b);
    assert_false(clg_context_failed(ctx));
    assert_int_equal(failures, 0);
}

/* leaf is what everything starts from; pack belongs to models, and test_graph looks at it. */
static void every_operator_has_a_row(void **state)
{
    (void)state;
    static const char *const elsewhere[] = {"leaf", "pack"};
    const char *const        selected = only;
    only = NULL;
    batch b = build_tables(false);
    for (const clg__op *const *unit = clg__registry; *unit; unit++)
        for (const clg__op *op = *unit; op->name; op++) {
            bool found = occurs(b.g, 0, op->name);
            for (size_t i = 0; i < CLG__COUNT(elsewhere); i++) found |= strcmp(op->name, elsewhere[i]) == 0;
            if (!found)
                fail_msg("operator %s has no row in op_table.h, nor does the gradient of a row use it", op->name);
        }
    end_tables(&b);
    only = selected;
    assert_int_equal(failures, 0);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static int forget_failures(void **state)
{
    (void)state;
    failures = 0;
    clg_context_clear_error(ctx);
    unsetenv("CLGRAD_REWRITE");
    return 0;
}

/* Writes the programs of all rows, with fusion and without, and builds none of them. */
static int write_programs(const char *directory)
{
    ctx = clg_context_create(&(clg_context_desc){.dump_programs = directory});
    clg_context_build_later(ctx);
    for (int displaced = 0; displaced < 2; displaced++) {
        batch b = build_tables(displaced);
        if (displaced) setenv("CLGRAD_REWRITE", "0", 1);
        clg_plan *plan = clg__plan_create_guarded(b.outs, b.out_count, 0);
        clg_plan_destroy(&plan);
        end_tables(&b);
    }
    const int failed = clg_context_failed(ctx);
    if (failed) fprintf(stderr, "%s\n", clg_context_error(ctx));
    clg_context_destroy(&ctx);
    return failed;
}

int main(int argc, char **argv) /* arguments select tests and a table of rows: "rows*" shape */
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_operator_has_a_row, forget_failures),
        cmocka_unit_test_setup(rows_agree_with_the_reference, forget_failures),
        cmocka_unit_test_setup(rows_keep_within_their_memory, forget_failures),
    };
    const char *programs = getenv("CLGRAD_TEST_PROGRAMS");
    if (programs) return write_programs(programs);
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    if (argc > 2) only = argv[2];
    return cmocka_run_group_tests(tests, open_context, close_context);
}
