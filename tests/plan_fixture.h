/* plan_fixture.h - fixture.h for tests of plans: a case begins with rewriting on, and a plan is there or the case fails. */
#ifndef CLG_TEST_PLAN_FIXTURE_H
#define CLG_TEST_PLAN_FIXTURE_H

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

#endif
