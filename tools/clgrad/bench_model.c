/* bench_model.c - whole training steps: the input's upload, forward, backward, update; or forward alone. */
#include "bench.h"
#include "report.h"
#include "source.h"
#include "trace.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct training {
    const network_kind *kind;
    int64_t             batch;
    clg_model          *model;
    feed                feed;
    clg_tensor         *logits, *loss;
    clg_plan           *plan;
    int64_t             steps; /* run so far, */
    double              host;  /* and the seconds that the host took to enqueue them */
    trace               trace;
} training;

typedef struct result {
    double       first_step;    /* seconds from the start of the process to the end of the first step */
    bench_times  step;
    clg_counters first, before, after; /* of them before and after the timed steps */
} result;

static training build(const bench_options *o, clg_context *ctx)
{
    training t = {.kind = network_find(o->model)};
    t.batch = o->batch ? o->batch : t.kind->batch;
    t.model = clg_model_create(ctx, &(clg_model_desc){.seed = 1});
    clg_graph *g = clg_graph_create(ctx, &(clg_graph_desc){.training = !o->eval});
    t.feed = feed_create(g, t.kind, t.batch);
    t.logits = network_kind_build(t.kind, t.model, t.feed.x, t.kind->classes);
    t.loss = clg_cross_entropy(clg_reshape(t.logits, CLG_SHAPE(-1, t.kind->classes)), t.feed.y);
    return t;
}

static void step(void *user)
{
    training    *t = user;
    const double start = clock_seconds();
    if (feed_next(&t->feed)) clg_plan_run(t->plan);
    t->host += clock_seconds() - start;
    trace_host(&t->trace, "step", start);
    t->steps++;
}

/* ---- the loss curve ---------------------------------------------------------------------------------------------- */

static int write_curve(const char *path, training *t, int64_t steps)
{
    FILE *file = fopen(path, "w");
    bool  ok = file && fputs("[", file) >= 0;
    feed_begin(&t->feed);
    for (int64_t i = 0; ok && i < steps; i++) {
        step(t);
        const double loss = clg_tensor_scalar(t->loss);
        ok = fprintf(file, isfinite(loss) ? "%s%.9g" : "%snull", i ? ", " : "", loss) > 0;
    }
    ok = ok && fputs("]\n", file) >= 0;
    if (file) ok = !fclose(file) && ok;
    return ok ? 0 : fail(&command_bench, "--loss-curve %s: cannot write: %s", path, strerror(errno));
}

#define per_step(counter) ((double)(r->after.counter - r->before.counter) / steps)

/* ---- the report -------------------------------------------------------------------------------------------------- */

static int report(const bench_options *o, clg_context *ctx, const training *t, const result *r)
{
    const clg_plan_stats   s = clg_plan_statistics(t->plan);
    const clg_device_info *device = clg_context_device(ctx);
    const double           steps = (double)t->steps, items = (double)clg_tensor_count(t->feed.y);
    const struct {
        const char *name;
        double      value;
    } rows[] = {
        {"batch", (double)t->batch},
        {"steps", (double)r->step.count},
        {"median_seconds", r->step.median},
        {"best_seconds", r->step.best},
        {"mean_seconds", r->step.mean},
        {"items_per_second", items / r->step.median},
        {"flops_per_step", s.flops},
        {"gflops", 1e-9 * s.flops / r->step.median},
        {"host_seconds_per_step", t->host / steps},
        {"launches_per_step", per_step(launches)},
        {"kept_launches", (double)s.kept_launches},
        {"bytes_per_step", s.bytes},
        {"bytes_to_device_per_step", per_step(bytes_to_device)},
        {"bytes_from_device_per_step", per_step(bytes_from_device)},
        {"planned_bytes", (double)s.planned_bytes},
        {"unplanned_bytes", (double)s.unplanned_bytes},
        {"persistent_bytes", (double)s.persistent_bytes},
        {"allocations", (double)(r->after.allocations - r->before.allocations)},
        {"program_builds", (double)(r->after.program_builds - r->before.program_builds)},
        {"first_step_seconds", r->first_step},
        {"first_step_program_builds", (double)r->first.program_builds},
        {"first_step_program_loads", (double)r->first.program_loads},
    };
    if (o->json) {
        char   profile[256];
        cJSON *object = cJSON_CreateObject();
        cJSON_AddStringToObject(object, "model", t->kind->name);
        cJSON_AddBoolToObject(object, "eval", o->eval);
        cJSON_AddStringToObject(object, "device", device->name);
        cJSON_AddStringToObject(object, "profile", clg_profile_text(&device->profile, profile, sizeof profile));
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
            cJSON_AddNumberToObject(object, rows[i].name, rows[i].value);
        return report_json(&command_bench, object);
    }
    printf("%s%s, batch %lld, on %s\n", t->kind->name, o->eval ? " forward" : "", (long long)t->batch, device->name);
    printf("  step           %.3f ms in the median, %.3f ms at best, of %lld\n", 1e3 * r->step.median,
           1e3 * r->step.best, (long long)r->step.count);
    printf("  speed          %.0f %s/s, %.1f GFLOP/s\n", items / r->step.median, t->feed.data ? "images" : "tokens",
           1e-9 * s.flops / r->step.median);
    const double gathers = per_step(launches) - (double)(s.launches - s.kept_launches);
    printf("  a step         %.0f launches", per_step(launches));
    if (gathers > 0.0) printf(", of which %.0f gather its examples", gathers);
    if (s.kept_launches) printf(" (what %zu of the first step made is kept)", s.kept_launches);
    printf(", %.0f allocations and %.0f builds in all\n", (double)(r->after.allocations - r->before.allocations),
           (double)(r->after.program_builds - r->before.program_builds));
    printf("  moved          %.1f MB read and written at least, %.0f bytes to the device, %.0f back\n", 1e-6 * s.bytes,
           per_step(bytes_to_device), per_step(bytes_from_device));
    printf("  host           %.3f ms to enqueue a step\n", 1e3 * t->host / steps);
    printf("  memory         %.1f MiB planned, %.1f MiB without sharing; %.1f MiB of parameters, states and inputs\n",
           (double)s.planned_bytes / 0x1p20, (double)s.unplanned_bytes / 0x1p20, (double)s.persistent_bytes / 0x1p20);
    printf("  first step     %.2f s after the start of the process; %.0f programs built, %.0f loaded\n", r->first_step,
           (double)r->first.program_builds, (double)r->first.program_loads);
    return 0;
}

/* A trace slows down what it shows, so nothing is timed besides. */
static int traced(const bench_options *o, clg_context *ctx, training *t)
{
    if (!trace_open(&t->trace, o->trace)) return fail(&command_bench, "--trace %s: %s", o->trace, strerror(errno));
    for (int64_t i = 0; i < (o->steps ? o->steps : FEED_BATCHES); i++) step(t);
    const double start = clock_seconds();
    clg_context_finish(ctx);
    trace_host(&t->trace, "wait", start);
    trace_drain(&t->trace, ctx);
    if (!trace_close(&t->trace)) return fail(&command_bench, "--trace %s: cannot write: %s", o->trace, strerror(errno));
    return clg_context_failed(ctx) ? fail_context(&command_bench, ctx) : 0;
}

static int measure(const bench_options *o, clg_context *ctx, training *t)
{
    const command *cmd = &command_bench;
    result         r = {0};
    clg_context_build_later(ctx); /* with the kernels of the input */
    t->plan = o->eval ? clg_plan_create(t->logits) : clg_plan_train(t->loss, t->kind->optimizer(t->model));
    if (clg_context_failed(ctx)) return fail_context(cmd, ctx);
    if (o->save_initial && clg_model_save(t->model, o->save_initial)) return fail_context(cmd, ctx);
    if (o->dump_plan) {
        const int runs = o->untimed ? 0 : bench_runs(ctx, o->steps, step, t);
        if (runs && (!feed_next(&t->feed) || clg_plan_measure(t->plan, runs))) return fail_context(cmd, ctx);
        clg_plan_dump(t->plan, stdout);
        return 0;
    }
    if (o->untimed) return 0;
    if (o->loss_curve) {
        const int status = write_curve(o->loss_curve, t, o->steps ? o->steps : FEED_BATCHES);
        return clg_context_failed(ctx) ? fail_context(cmd, ctx) : status;
    }
    if (o->trace) return traced(o, ctx, t);
    step(t);
    clg_context_finish(ctx);
    r.first_step = process_seconds();
    r.first = clg_context_counters(ctx);
    step(t);
    clg_context_finish(ctx);
    r.before = clg_context_counters(ctx);
    t->steps = 0;
    t->host = 0.0;
    r.step = bench_time(ctx, o->steps, 2.0, step, t);
    r.after = clg_context_counters(ctx);
    if (clg_context_failed(ctx)) return fail_context(cmd, ctx);
    return report(o, ctx, t, &r);
}

int bench_model(const bench_options *o)
{
    clg_context *ctx = bench_context(o);
    training     t = build(o, ctx);
    const int    status = clg_context_failed(ctx) ? fail_context(&command_bench, ctx) : measure(o, ctx, &t);
    feed_destroy(&t.feed);
    clg_context_destroy(&ctx);
    return status;
}
