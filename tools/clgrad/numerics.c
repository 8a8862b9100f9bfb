/* numerics.c - an infinite value inside a step may be meant, as where it is masked out later. What an assignment stores
 * is not: then the first such value of the step is told. */
#include "numerics.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Appends to the report, which may be cut. */
static void __attribute__((format(printf, 3, 4))) tell(numerics *n, size_t *at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int length = vsnprintf(n->first + *at, sizeof n->first - *at, format, args);
    va_end(args);
    if (length > 0) *at = *at + (size_t)length < sizeof n->first ? *at + (size_t)length : sizeof n->first - 1;
}

/* "matmul [32, 10]", or "fc1.weight [784, 512]" for what has a name. */
static void tell_tensor(numerics *n, size_t *at, const clg_tensor *t)
{
    char shape[128];
    tell(n, at, "%s%s%s %s", clg_tensor_op(t), *clg_tensor_name(t) ? " " : "", clg_tensor_name(t),
         clg_shape_text(clg_tensor_shape(t), shape, sizeof shape));
}

static void tell_element(numerics *n, size_t *at, clg_shape shape, int64_t element)
{
    int64_t place[CLG_MAX_RANK] = {0};
    for (int d = shape.rank - 1; d >= 0; element /= shape.dim[d--]) place[d] = element % shape.dim[d];
    tell(n, at, "[");
    for (int d = 0; d < shape.rank; d++) tell(n, at, "%s%lld", d ? ", " : "", (long long)place[d]);
    tell(n, at, "]");
}

static void tell_counts(numerics *n, size_t *at, const clg_tensor_stats *s)
{
    tell(n, at, "%lld NaN and %lld infinite of %lld", (long long)s->nans, (long long)s->infinities,
         (long long)s->count);
    if (s->nans + s->infinities < s->count) tell(n, at, "; min %.6g, max %.6g, mean %.6g", s->min, s->max, s->mean);
}

static void describe(numerics *n, clg_tensor *t, const clg_tensor_stats *s)
{
    size_t at = 0;
    tell_tensor(n, &at, t);
    tell(n, &at, " is %g at element ", s->value);
    tell_element(n, &at, clg_tensor_shape(t), s->first);
    tell(n, &at, ": ");
    tell_counts(n, &at, s);
    for (int i = 0; i < clg_tensor_input_count(t); i++) {
        clg_tensor      *in = clg_tensor_input(t, i);
        clg_tensor_stats stats;
        tell(n, &at, "\n  input %d, ", i);
        tell_tensor(n, &at, in);
        tell(n, &at, ": ");
        if (!clg_tensor_measure(in, &stats)) tell_counts(n, &at, &stats);
    }
}

static bool look(void *user, clg_tensor *t)
{
    numerics        *n = user;
    clg_tensor_stats s;
    if (clg_tensor_dtype(t) != CLG_F32 || clg_tensor_measure(t, &s) || s.first < 0) return true;
    if (!*n->first) describe(n, t, &s);
    n->bad = !strcmp(clg_tensor_op(t), "assign");
    return !n->bad;
}

void numerics_step(numerics *n, clg_plan *plan)
{
    *n->first = 0;
    clg_plan_walk(plan, look, n); /* a failure is the context's */
}

int numerics_report(const numerics *n, const command *cmd, const checkpoint *keep, const progress *at)
{
    char left[CHECKPOINT_LEFT];
    fail(cmd, "epoch %lld, step %lld goes bad. First, %s\n%s", (long long)at->epoch, (long long)at->step, n->first,
         checkpoint_left(keep, left));
    return EXIT_NOT_FINITE;
}
