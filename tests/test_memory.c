/* test_memory.c - a device with too little memory, which pocl makes of any: what is refused says how much is needed and how much
 * there is, whether this context's own use, the sum of a plan, or only the driver shows it; then the context goes on. */
#include "device/cl_types.h"
#include <clgrad/clgrad.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <sys/resource.h>
#include <unistd.h>

static const uint64_t GIB = 1u << 30;

static clg_context *open_small(void)
{
    clg_context *ctx = clg_context_create(NULL);
    if (clg_context_failed(ctx)) fail_msg("%s", clg_context_error(ctx));
    if (clg_context_device(ctx)->memory != GIB) {
        clg_context_destroy(&ctx);
        skip(); /* not pocl's */
    }
    return ctx;
}

/* exp(x) + x of so many MiB: an input, and a result. */
static clg_plan *plan_of(clg_context *ctx, int64_t mib, clg_graph **g)
{
    *g = clg_graph_create(ctx, NULL);
    clg_tensor *x = clg_input(*g, CLG_F32, CLG_SHAPE(mib << 18));
    return clg_plan_create(clg_add(clg_exp(x), x));
}

static void expect(const clg_context *ctx, const char *const *says)
{
    assert_int_equal(clg_context_status(ctx), CLG_OUT_OF_MEMORY);
    for (; *says; says++)
        if (!strstr(clg_context_error(ctx), *says)) fail_msg("\"%s\" is not in \"%s\"", *says, clg_context_error(ctx));
}

static void expect_to_go_on(clg_context *ctx)
{
    clg_context_clear_error(ctx);
    clg_graph *g;
    clg_plan  *plan = plan_of(ctx, 1, &g);
    clg_plan_run(plan);
    if (clg_context_failed(ctx)) fail_msg("%s", clg_context_error(ctx));
    clg_plan_destroy(&plan);
    clg_graph_destroy(&g);
}

static void a_plan_that_cannot_fit(void **state)
{
    (void)state;
    clg_context *ctx = open_small();
    clg_graph   *g;
    assert_null(plan_of(ctx, 600, &g));
    expect(ctx, (const char *const[]){"1200.0 MiB", "1024.0 MiB", "smaller", NULL});
    clg_graph_destroy(&g);
    expect_to_go_on(ctx);
    clg_context_destroy(&ctx);
    assert_null(ctx);
}

static rlim_t address_space(void)
{
    unsigned long pages = 0;
    FILE         *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%lu", &pages) != 1) skip();
    fclose(file);
    return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

/* The process has room for the input, not for the result. */
static void only_the_driver_knows(void **state)
{
    (void)state;
    clg_context  *ctx = open_small();
    clg_graph    *g;
    struct rlimit limit;
    expect_to_go_on(ctx); /* so that nothing is compiled below */
    assert_int_equal(getrlimit(RLIMIT_AS, &limit), 0);
    assert_int_equal(setrlimit(RLIMIT_AS, &(struct rlimit){address_space() + (300 << 20), limit.rlim_max}), 0);
    clg_plan *plan = plan_of(ctx, 200, &g);
    clg_plan_run(plan);
    assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
    expect(ctx, (const char *const[]){"200.0 MiB", "1024.0 MiB", "smaller", NULL});
    clg_plan_destroy(&plan);
    clg_graph_destroy(&g);
    expect_to_go_on(ctx);
    clg_context_destroy(&ctx);
    assert_null(ctx);
}

int main(void)
{
    setenv("POCL_MEMORY_LIMIT", "1", 1); /* GiB */
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_plan_that_cannot_fit), cmocka_unit_test(only_the_driver_knows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
