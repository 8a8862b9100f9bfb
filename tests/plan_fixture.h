/* plan_fixture.h - fixture.h for tests of plans: a case begins with rewriting on, and a plan is there or the case fails; tensors
 * with values, and how many launches a plan takes. */
#ifndef CLG_TEST_PLAN_FIXTURE_H
#define CLG_TEST_PLAN_FIXTURE_H

#include "plan/plan.h"
#include "fixture.h"
#include <stdlib.h>

static inline int begin(void **state)
{
    (void)state;
    unsetenv("CLGRAD_REWRITE");
    clg_context_clear_error(ctx);
    return 0;
}

static inline clg_plan *planned(clg_tensor *const *outs, size_t count)
{
    clg_plan *plan = clg_plan_create_all(outs, count);
    if (!plan) fail_msg("%s\n%s", clg_context_error(ctx), clg_context_build_log(ctx));
    return plan;
}

#define PLAN(...) planned(TENSORS(__VA_ARGS__))
#define TENSORS(...) ((clg_tensor *const[]){__VA_ARGS__}), sizeof((clg_tensor *[]){__VA_ARGS__}) / sizeof(clg_tensor *)

static inline void expect(clg_tensor *t, const float *value)
{
    float got[64];
    assert_true(t && t->count <= 64);
    assert_int_equal(clg_tensor_read(t, got, (size_t)t->count * 4), CLG_OK);
    for (int64_t i = 0; i < t->count; i++)
        if (got[i] != value[i])
            fail_msg("element %lld is %g instead of %g", (long long)i, (double)got[i], (double)value[i]);
}
#define EXPECT(t, ...) expect(t, (const float[]){__VA_ARGS__})

static inline clg_tensor *given(clg_graph *g, clg_shape shape, const float *value)
{
    clg_tensor *t = clg_input(g, CLG_F32, shape);
    assert_int_equal(clg_tensor_write(t, value, (size_t)t->count * 4), CLG_OK);
    return t;
}

static inline size_t launches(clg_tensor *const *outs, size_t count)
{
    clg_plan    *plan = planned(outs, count);
    const size_t n = clg_plan_statistics(plan).launches;
    clg_plan_destroy(&plan);
    return n;
}
#define LAUNCHES(...) launches(TENSORS(__VA_ARGS__))

#endif
