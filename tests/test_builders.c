/* test_builders.c - programs built by other processes (src/device/builders.c), and what happens when these fail. */
#define _XOPEN_SOURCE 700 /* nftw */
#include "device/cl_types.h"
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "scratch.h"

enum { PROGRAMS = 5, N = 100 };

static char cache_home[64];

static int set_up(void **state)
{
    if (scratch_create(state)) return -1;
    strcpy(cache_home, scratch_dir);
    unsetenv("CLGRAD_PROFILE");
    unsetenv("CLGRAD_CL_DIR");
    setenv("CLGRAD_BUILDERS", "2", 1);
    return setenv("XDG_CACHE_HOME", cache_home, 1); /* nothing is known yet */
}

static void forget_all(void)
{
    char *dir = clg__cache_dir();
    clg__cache_trim(dir, 0);
    free(dir);
}

typedef struct outcome {
    uint64_t     built_elsewhere;
    clg_counters counters;
    clg_status   status;
} outcome;

/* Binds `count` kernels y = x + number, each of a program of its own, and runs them; `spoiled` stands in the first. */
static outcome run(int count, const char *spoiled)
{
    static const char source[] =
        "KERNEL add(TENSOR(x), TENSOR(y), const uint n)\n"
        "{\n"
        "    SPOILED\n"
        "    for (uint i = get_global_id(0); i < n; i += get_global_size(0)) y[y_at + i] = x[x_at + i] + NUMBER;\n"
        "}\n";
    clg_context *ctx = clg_context_create(NULL);
    if (clg_context_failed(ctx)) fail_msg("%s", clg_context_error(ctx));
    float        x[N] = {0}, y[N];
    clg__buffer *bx = clg__buffer_create(ctx, sizeof x, "x"), *by = clg__buffer_create(ctx, sizeof y, "y");
    clg__kernel *kernels[PROGRAMS] = {0};
    assert_int_equal(clg__buffer_write(ctx, bx, 0, x, sizeof x), CLG_OK);
    clg__builds_defer(ctx);
    for (int i = 0; i < count; i++) {
        char defines[256];
        snprintf(defines, sizeof defines, "#define NUMBER %d\n#define SPOILED %s\n", i, i == 0 ? spoiled : "");
        const clg__value args[] = {{.kind = CLG__SPAN, .span = {bx, 0}}, {.kind = CLG__SPAN, .span = {by, 0}},
                                   {.kind = CLG__U32, .u32 = N}};
        kernels[i] = clg__kernel_create(ctx, &(clg__kernel_desc){
            .program = clg__program_get(ctx, &(clg__program_desc){.source = source, .defines = defines}), .name = "add",
            .args = args, .arg_count = CLG__COUNT(args), .groups = {2}});
        assert_non_null(kernels[i]);
    }
    outcome o = {.status = clg__builds_finish(ctx)};
    for (int i = 0; i < count && o.status == CLG_OK; i++) {
        assert_int_equal(clg__kernel_enqueue(ctx, kernels[i]), CLG_OK);
        assert_int_equal(clg__buffer_read(ctx, by, 0, y, sizeof y), CLG_OK);
        for (int k = 0; k < N; k++) assert_true(y[k] == (float)i);
    }
    o.built_elsewhere = ctx->built_elsewhere;
    o.counters = clg_context_counters(ctx);
    for (int i = 0; i < PROGRAMS; i++) clg__kernel_destroy(&kernels[i]);
    clg__buffer_destroy(&bx);
    clg__buffer_destroy(&by);
    clg_context_destroy(&ctx);
    return o;
}

static void builders_build_what_is_new(void **state)
{
    (void)state;
    forget_all();
    const outcome first = run(PROGRAMS, "");
    assert_int_equal(first.status, CLG_OK);
    assert_int_equal(first.built_elsewhere, PROGRAMS);
    const outcome again = run(PROGRAMS, "");
    assert_int_equal(again.built_elsewhere, 0);
    assert_int_equal(again.counters.program_loads + again.counters.program_builds, 2); /* bundles */
}

static void one_program_takes_no_builder(void **state)
{
    (void)state;
    forget_all();
    run(1, ""); /* something is kept now: no builder is started for what may come */
    assert_int_equal(run(1, ";").built_elsewhere, 0);
}

static void broken_builders_do_no_harm(void **state)
{
    (void)state;
    char *kept = strdup(getenv("CLGRAD_BUILDER"));
    static const char *const programs[] = {"/bin/false", "/bin/true", "/nonexistent", "/dev/null", "/bin/cat"};
    for (size_t i = 0; i < CLG__COUNT(programs); i++) {
        forget_all();
        setenv("CLGRAD_BUILDER", programs[i], 1);
        const outcome o = run(2, "");
        assert_int_equal(o.status, CLG_OK);
        assert_int_equal(o.built_elsewhere, 0);
    }
    setenv("CLGRAD_BUILDER", kept, 1);
    free(kept);
    forget_all();
    setenv("CLGRAD_BUILDERS", "0", 1);
    assert_int_equal(run(2, "").built_elsewhere, 0);
    setenv("CLGRAD_BUILDERS", "2", 1);
}

/* A kernel that cannot bear its first launch takes its builder with it, and nothing else. */
static void builders_may_crash(void **state)
{
    (void)state;
    forget_all();
    const outcome o = run(PROGRAMS, "if (n == 1) x[1ul << 60] = 1.0f;");
    assert_int_equal(o.status, CLG_OK);
    assert_in_range(o.built_elsewhere, 1, PROGRAMS - 1);
}

static void errors_are_told_as_ever(void **state)
{
    (void)state;
    forget_all();
    assert_int_equal(run(PROGRAMS, "this is no C;").status, CLG_BUILD);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

static int tear_down(void **state)
{
    (void)state;
    return nftw(cache_home, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(builders_build_what_is_new), cmocka_unit_test(one_program_takes_no_builder),
        cmocka_unit_test(broken_builders_do_no_harm), cmocka_unit_test(builders_may_crash),
        cmocka_unit_test(errors_are_told_as_ever),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
