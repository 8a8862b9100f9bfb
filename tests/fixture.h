/* fixture.h - one context on the default device for all cases of an executable. */
#ifndef CLG_TEST_FIXTURE_H
#define CLG_TEST_FIXTURE_H

#include <clgrad/clgrad.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

static clg_context *ctx;

static inline int open_context(void **state)
{
    (void)state;
    ctx = clg_context_create(NULL);
    if (clg_context_failed(ctx)) fprintf(stderr, "%s\n", clg_context_error(ctx));
    return clg_context_failed(ctx) ? -1 : 0;
}

static inline int close_context(void **state)
{
    (void)state;
    clg_context_destroy(&ctx);
    return 0;
}

static inline clg_graph *new_graph(void)
{
    clg_graph *g = clg_graph_create(ctx, NULL);
    assert_non_null(g);
    return g;
}

#endif
