/* schedule.c - learning rates as a function of the step: each kind is a formula in t and n, after a linear warm-up. */
#include "schedule.h"
#include <math.h>

static const double pi = 3.141592653589793;

/* From `start` to `end` by half a cosine while x goes from 0 to 1. */
static double half_cosine(double start, double end, double x)
{
    return end + (start - end) * (1.0 + cos(pi * fmin(x, 1.0))) / 2.0;
}

static double constant(const clg_schedule_desc *d, double t, double n)
{
    return (void)d, (void)t, (void)n, 1.0;
}

static double factor_of(const clg_schedule_desc *d) { return d->factor > 0.0 ? d->factor : 0.1; }

static double step(const clg_schedule_desc *d, double t, double n)
{
    return (void)n, pow(factor_of(d), floor(t / (double)d->every));
}

static double cosine(const clg_schedule_desc *d, double t, double n) { return half_cosine(1.0, d->floor, t / n); }

static double one_cycle(const clg_schedule_desc *d, double t, double n)
{
    const double first = 1.0 / 25.0, last = first / 1e4, top = fmax(0.3 * n - 1.0, 0.0), end = n - 1.0;
    (void)d;
    if (t < top) return half_cosine(first, 1.0, t / top);
    return t >= end ? last : half_cosine(1.0, last, (t - top) / (end - top));
}

static double exponential(const clg_schedule_desc *d, double t, double n)
{
    return n > 1.0 ? pow(factor_of(d), fmin(t / (n - 1.0), 1.0)) : 1.0;
}

static const struct {
    double (*at)(const clg_schedule_desc *d, double t, double n);
    bool ends; /* needs `steps` */
} kinds[CLG_SCHEDULE_COUNT] = {
    [CLG_SCHEDULE_CONSTANT] = {constant, false}, [CLG_SCHEDULE_STEP] = {step, false},
    [CLG_SCHEDULE_COSINE] = {cosine, true},      [CLG_SCHEDULE_ONE_CYCLE] = {one_cycle, true},
    [CLG_SCHEDULE_EXPONENTIAL] = {exponential, true},
};

const char *clg__schedule_error(const clg_schedule_desc *d)
{
    if (d->kind < 0 || d->kind >= CLG_SCHEDULE_COUNT) return "unknown kind";
    if (d->warmup < 0) return "the warm-up must not be negative";
    if (kinds[d->kind].ends && d->steps <= d->warmup) return "there must be more steps than those of the warm-up";
    if (d->kind == CLG_SCHEDULE_STEP && d->every < 1) return "`every` must be at least 1";
    if (!isfinite(d->factor) || d->factor < 0.0 || !isfinite(d->floor) || d->floor < 0.0)
        return "factor and floor must be finite and not negative";
    return NULL;
}

double clg_schedule_at(const clg_schedule_desc *d, int64_t t)
{
    if (!d || clg__schedule_error(d)) return 1.0;
    if (t < 0) t = 0;
    if (t < d->warmup) return (double)(t + 1) / (double)d->warmup;
    return kinds[d->kind].at(d, (double)(t - d->warmup), (double)(d->steps - d->warmup));
}
