/* lr_find.c - the rate grows from 1e-7 to 10 by the same factor each step; the loss is smoothed by a running mean, and
 * the sweep ends where that is four times its least. The suggestion is where it falls most steeply over the rate's
 * logarithm. */
#include "lr_find.h"
#include "interrupt.h"
#include "source.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { STEPS = 120, LINES = 24, WIDTH = 50 };

static const double first_rate = 1e-7, last_rate = 10.0, memory = 0.9;

typedef struct sample {
    double rate, loss, smooth;
} sample;

static int sweep(pass *p, clg_optimizer *opt, uint64_t seed, sample *s)
{
    const clg_schedule_desc d = {.kind = CLG_SCHEDULE_EXPONENTIAL, .steps = STEPS, .factor = last_rate / first_rate};
    double                  mean = 0.0, least = INFINITY;
    int                     n = 0;
    clg_optimizer_set_lr(opt, (float)first_rate);
    clg_optimizer_set_schedule(opt, &d);
    for (uint64_t epoch = 0; n < STEPS && !interrupted() && !clg_context_failed(clg_tensor_context(p->x)); epoch++) {
        const uint64_t order = seed + epoch;
        pass_begin(p, &order);
        while (n < STEPS && !interrupted() && pass_next(p)) {
            const double loss = clg_tensor_scalar(p->loss);
            mean = memory * mean + (1.0 - memory) * loss;
            s[n] = (sample){first_rate * clg_schedule_at(&d, n), loss, mean / (1.0 - pow(memory, n + 1))};
            if (!isfinite(loss) || (n > STEPS / 10 && s[n].smooth > 4.0 * least)) return n;
            least = fmin(least, s[n++].smooth);
        }
    }
    return n;
}

static void draw(const sample *s, int n)
{
    double low = INFINITY, high = -INFINITY;
    for (int i = 0; i < n; i++) low = fmin(low, s[i].smooth), high = fmax(high, s[i].smooth);
    for (int line = 0; line < LINES && line < n; line++) {
        const sample *at = &s[(int64_t)line * n / (LINES < n ? LINES : n)];
        const int     bar = high > low ? 1 + (int)((WIDTH - 1) * (at->smooth - low) / (high - low)) : 1;
        printf("%9.2e  loss %8.4f  ", at->rate, at->smooth);
        for (int k = 0; k < bar; k++) putchar('#');
        putchar('\n');
    }
}

static bool write_curve(const char *path, const sample *s, int n)
{
    FILE *file = fopen(path, "w");
    if (!file) return false;
    bool good = fprintf(file, "learning_rate,loss,smoothed_loss\n") > 0;
    for (int i = 0; i < n && good; i++) good = fprintf(file, "%.9g,%.9g,%.9g\n", s[i].rate, s[i].loss, s[i].smooth) > 0;
    if (fclose(file)) good = false;
    return good;
}

int lr_find(const loop *l, clg_optimizer *opt, const char *path)
{
    const command *cmd = l->cmd;
    clg_context   *ctx = l->ctx;
    sample         s[STEPS];
    int            best = 0;
    double         steepest = 0.0;
    fputs(l->title, stdout);
    fflush(stdout);
    const int n = sweep(l->train, opt, l->seed, s);
    if (clg_context_failed(ctx)) return fail_context(cmd, ctx);
    if (interrupted()) return interrupted_status();
    draw(s, n);
    for (int i = 5; i + 5 < n; i++) { /* the rates' logarithms are evenly apart */
        const double slope = s[i + 5].smooth - s[i - 5].smooth;
        if (slope < steepest) steepest = slope, best = i;
    }
    if (path && !write_curve(path, s, n)) return fail(cmd, "--lr-find %s: cannot write: %s", path, strerror(errno));
    if (!best) return fail(cmd, "the loss fell at no learning rate up to %.1e", n ? s[n - 1].rate : first_rate);
    printf("suggestion: --lr %.1e, where the loss falls most steeply\n", s[best].rate);
    return 0;
}
