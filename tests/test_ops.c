/* test_ops.c - every case of src/doctor/op_table.h, forward and backward, by the checks that `clgrad doctor` has too:
 *
 *   - results, gradients and, where smooth, gradients of gradients on the device against the double interpreter;
 *   - the interpreter's gradients against signed directional derivatives, by central differences in double precision,
 *     so that the reference of a gradient is not merely the same mistake twice;
 *   - a second run and a run without fusion;
 *   - every input and result at an odd offset between guards that must stay as they are.
 *
 * test_values.c has values known from mathematics, since a wrong formula could be shared by device and reference.
 *
 * CLGRAD_TEST_ELEMENTS=N leaves out rows with more elements, all but a table's smallest, for devices that are slow
 * (tools/lanes); how many is printed, and every operator still needs a row. CLGRAD_TEST_PROGRAMS=DIR writes the programs there and runs nothing. */
#include "doctor/cases.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "fixture.h"

static int         failures;
static const char *only; /* the name of a table, or NULL for all of them */

static void failed(void *user, const clg__fault *fault)
{
    char shape[128];
    (void)user;
    fprintf(stderr, "%s", fault->of ? fault->of->name : "cases together");
    for (int i = 0; fault->of && i < CLG__CASE_INPUTS && fault->of->row.in[i].values; i++)
        fprintf(stderr, " %s", clg_shape_text(fault->of->row.in[i].shape, shape, sizeof shape));
    fprintf(stderr, ": %s\n", fault->text);
    failures++;
}

/* Elements of the smallest case of a table. */
static int64_t least_of(const clg__case *cases, size_t count, const char *table)
{
    int64_t least = INT64_MAX;
    for (size_t i = 0; i < count; i++)
        if (strcmp(cases[i].table, table) == 0) least = CLG__MIN(least, cases[i].elements);
    return least;
}

/* The cases that are asked for, with few enough elements, of each table one at least; with `all`, all of them. */
static clg__case *choose(size_t *count, bool all)
{
    const char   *most = getenv("CLGRAD_TEST_ELEMENTS");
    const int64_t limit = most && *most ? strtoll(most, NULL, 10) : INT64_MAX;
    int64_t       elements = limit;
    const char   *table = NULL;
    size_t        kept = 0, left_out = 0;
    clg__case    *cases = clg__cases_create(count);
    assert_non_null(cases);
    for (size_t i = 0; i < *count && !all; i++) {
        if (only && strcmp(only, cases[i].table) != 0) continue;
        if (!table || strcmp(table, cases[i].table) != 0) { /* a table's cases lie together */
            table = cases[i].table;
            elements = least_of(cases + i, *count - i, table);
            elements = elements > limit ? elements : limit;
        }
        if (cases[i].elements <= elements) cases[kept++] = cases[i];
        else left_out++;
    }
    if (left_out) printf("# %zu rows, %zu left out\n", kept, left_out);
    if (!all) *count = kept;
    return cases;
}

static void check(bool displaced)
{
    size_t     count;
    clg__case *cases = choose(&count, false);
    clg__cases_check(ctx, cases, count, &(clg__check){.displaced = displaced, .thorough = true, .failed = failed});
    free(cases);
    assert_false(clg_context_failed(ctx));
    assert_int_equal(failures, 0);
}

static void rows_agree_with_the_reference(void **state)
{
    (void)state;
    check(false);
}

static void rows_keep_within_their_memory(void **state)
{
    (void)state;
    check(true);
}

/* leaf is what everything starts from; pack belongs to models, and test_graph looks at it. */
static void every_operator_has_a_row(void **state)
{
    (void)state;
    static const char *const elsewhere[] = {"leaf", "pack"};
    size_t                   count;
    clg__batch               b;
    clg__case               *cases = choose(&count, true);
    assert_true(clg__batch_open(&b, ctx, cases, count, &(clg__check){.failed = failed}));
    for (const clg__op *const *unit = clg__registry; *unit; unit++)
        for (const clg__op *op = *unit; op->name; op++) {
            bool found = false;
            for (size_t i = 0; i < b.count && !found; i++) found = clg__batch_has(&b, i, op->name);
            for (size_t i = 0; i < CLG__COUNT(elsewhere); i++) found |= strcmp(op->name, elsewhere[i]) == 0;
            if (!found)
                fail_msg("operator %s has no row in op_table.h, nor does the gradient of a row use it", op->name);
        }
    clg__batch_close(&b);
    free(cases);
    assert_int_equal(failures, 0);
}

/* A wrong answer would be found: the reference is moved, not the device. */
static double off_by;

static void wrong_reference(const clg__ref *r)
{
    for (int64_t i = 0; i < r->node->count; i++) r->out[i] = exp(r->in[0][i]) + (i == 5 ? off_by : 0.0);
}

static clg_tensor *build_wrong(const op_row *row, clg_tensor *const *in)
{
    static clg__op wrong;
    (void)row;
    wrong = *clg__op_find("exp");
    wrong.reference = wrong_reference;
    return clg__apply(&wrong, clg_neg(in[0]));
}

static char found[512];

static void note(void *user, const clg__fault *fault)
{
    (void)user;
    snprintf(found, sizeof found, "%s", fault->text);
}

static void a_wrong_element_is_found_and_blamed(void **state)
{
    (void)state;
    const clg__case c = {.name = "exp.x", .row = {.op = "exp", .build = build_wrong, .flags = FIXED,
                         .in = {{NORMAL, {.rank = 2, .dim = {3, 5}}}}}};
    for (int wrong = 0; wrong < 2; wrong++) {
        off_by = wrong ? 1e-4 : 0.0;
        found[0] = '\0';
        clg__cases_check(ctx, &c, 1, &(clg__check){.seed = 3, .failed = note});
        const char *blamed = clg__case_blame(ctx, &c, 3);
        assert_int_equal(strncmp(found, "y[5] is ", 8) == 0, wrong);
        assert_int_equal(found[0] != 0, wrong);
        if (wrong) assert_string_equal(blamed, "exp");
        else assert_null(blamed);
    }
}

/* ------------------------------------------------------------------------------------------------------------------ */

static int forget_failures(void **state)
{
    (void)state;
    failures = 0;
    clg_context_clear_error(ctx);
    return 0;
}

/* Writes the programs of all rows, with fusion and without, and builds none of them. */
static int write_programs(const char *directory)
{
    ctx = clg_context_create(&(clg_context_desc){.dump_programs = directory});
    clg_context_build_later(ctx);
    for (int displaced = 0; displaced < 2; displaced++) {
        size_t     count;
        clg__batch b;
        clg__case *cases = choose(&count, false);
        clg__batch_open(&b, ctx, cases, count, &(clg__check){.displaced = displaced, .failed = failed});
        clg_plan *plan = clg__plan_create_guarded(b.outs, b.out_count, 0);
        clg_plan_destroy(&plan);
        clg__batch_close(&b);
        free(cases);
    }
    const int bad = clg_context_failed(ctx);
    if (bad) fprintf(stderr, "%s\n", clg_context_error(ctx));
    clg_context_destroy(&ctx);
    return bad;
}

int main(int argc, char **argv) /* arguments select tests and a table of rows, "rows*" shape; --tables names those */
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_operator_has_a_row, forget_failures),
        cmocka_unit_test_setup(a_wrong_element_is_found_and_blamed, forget_failures),
        cmocka_unit_test_setup(rows_agree_with_the_reference, forget_failures),
        cmocka_unit_test_setup(rows_keep_within_their_memory, forget_failures),
    };
    const char *programs = getenv("CLGRAD_TEST_PROGRAMS");
    if (argc == 2 && strcmp(argv[1], "--tables") == 0) {
        size_t     count;
        clg__case *cases = clg__cases_create(&count);
        for (size_t i = 0; i < count; i++)
            if (i == 0 || strcmp(cases[i].table, cases[i - 1].table) != 0) puts(cases[i].table);
        free(cases);
        return 0;
    }
    if (programs) return write_programs(programs);
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    if (argc > 2) only = argv[2];
    return cmocka_run_group_tests(tests, open_context, close_context);
}
