/* bench.c - clgrad bench: how fast whole training steps and single operators are, and what they need.
 *
 * Everything is measured on the device in one process; figures of another day or machine are never shown. */
#define _GNU_SOURCE /* CLOCK_BOOTTIME */
#include "bench.h"
#include "report.h"
#include "source.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FIELD(name) offsetof(bench_options, name)

static const option options[] = {
    {"model", OPTION_CHOICE, FIELD(model), NETWORK_NAMES, "time whole training steps of this network", 0, 0},
    {"op", OPTION_CHOICE, FIELD(op), BENCH_OPERATORS, "time this operator, beside the device's roofline", 0, 0},
    {"shape", OPTION_TEXT, FIELD(shape), "A,B,...", "of the operator: M,N,K of matmul, N,C,H,K of conv2d", 0, 0},
    {"trans", OPTION_CHOICE, FIELD(trans), "NN|NT|TN|TT", "which operands of matmul are stored transposed (default NN)",
     0, 0},
    {"kernel", OPTION_COUNT, FIELD(kernel), "N", "of conv2d (default 3)", 1 << 15, 0},
    {"stride", OPTION_COUNT, FIELD(stride), "N", "of conv2d (default 1)", 1 << 15, 0},
    {"pad", OPTION_WHOLE, FIELD(pad), "N", "of conv2d (default 0)", 1 << 15, 0},
    {"groups", OPTION_COUNT, FIELD(groups), "N", "of conv2d (default 1)", 1 << 15, 0},
    {"backward", OPTION_FLAG, FIELD(backward), NULL, "the operator's gradients to all inputs instead", 0, 0},
    {"eval", OPTION_FLAG, FIELD(eval), NULL, "the network forward instead, as it predicts: no gradients, no update", 0, 0},
    {"batch", OPTION_COUNT, FIELD(batch), "N", "examples per step (default: the network's own)", INT32_MAX, 0},
    {"steps", OPTION_COUNT, FIELD(steps), "N", "how many are timed (default: a second or two of them)", INT32_MAX, 0},
    OPTION_DEVICE_ROW(FIELD(device)),
    OPTION_JSON_ROW(FIELD(json)),
    {"dump-plan", OPTION_FLAG, FIELD(dump_plan), NULL, "every step and launch, with bytes, operations and times", 0, 0},
    {"untimed", OPTION_FLAG, FIELD(untimed), NULL, "plan and stop: with the --dumps, which then take no steps", 0, 0},
    {"trace", OPTION_TEXT, FIELD(trace), "FILE", "write kernels, transfers and host work for chrome://tracing; print no figures", 0, 0},
    {"dump-programs", OPTION_TEXT, FIELD(dump_programs), "DIR", "write the source of every program there", 0, 0},
    {"save-initial", OPTION_TEXT, FIELD(save_initial), "FILE", "write the first weights, as safetensors", 0, 0},
    {"loss-curve", OPTION_TEXT, FIELD(loss_curve), "FILE",
     "write the losses of the first steps, as a JSON array; print no figures", 0, 0},
    {0},
};

/* ---- times ------------------------------------------------------------------------------------------------------- */

double process_seconds(void)
{
    char            text[1024];
    struct timespec now = {0};
    FILE           *file = fopen("/proc/self/stat", "r");
    const size_t    size = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file) fclose(file);
    text[size] = '\0';
    unsigned long long ticks = 0;
    const char        *at = strrchr(text, ')'); /* of the name, the second field; the start is the 22nd */
    for (int field = 2; at && field < 22; field++) at = strchr(at + 1, ' ');
    if (!at || sscanf(at, " %llu", &ticks) != 1 || clock_gettime(CLOCK_BOOTTIME, &now)) return 0.0;
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec - (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* A growing list of seconds. */
typedef struct times {
    double *seconds;
    size_t  count, capacity;
} times;

static void keep(times *t, double seconds)
{
    if (t->count == t->capacity) {
        const size_t more = t->capacity ? 2 * t->capacity : 1024;
        double      *moved = realloc(t->seconds, more * sizeof *moved);
        if (!moved) return; /* and is timed by what there is */
        t->seconds = moved;
        t->capacity = more;
    }
    t->seconds[t->count++] = seconds;
}

static void keep_end(void *user, const clg_trace_event *event)
{
    if (event->kind != CLG_TRACE_HOST) keep(user, event->end);
}

/* Calls work(user) `count` times, waits for the device and keeps what each took, as bench_time says. The time of all. */
static double block(clg_context *ctx, int64_t count, void (*work)(void *user), void *user, times *each)
{
    times        ends = {0};
    const double start = clock_seconds();
    for (int64_t i = 0; i < count; i++) work(user);
    clg_context_finish(ctx);
    const double all = clock_seconds() - start;
    if (each) clg_context_trace(ctx, keep_end, &ends);
    const size_t events = ends.count / (size_t)count;
    double       before = 0.0;
    if (each && count > 1 && events > 0 && ends.count % (size_t)count == 0) {
        for (int64_t i = 0; i < count; i++) {
            double end = 0.0;
            for (size_t c = 0; c < events; c++) end = fmax(end, ends.seconds[(size_t)i * events + c]);
            if (i) keep(each, end - before);
            before = end;
        }
    } else if (each) keep(each, all / (double)count);
    free(ends.seconds);
    return all;
}

bench_times bench_time(clg_context *ctx, int64_t count, double seconds, void (*work)(void *user), void *user)
{
    enum { LEAST = 6 };
    times  sample = {0};
    double one = block(ctx, 1, work, user, NULL);
    if (one < 0.3) one = fmin(one, block(ctx, 3, work, user, NULL) / 3.0); /* the first may have been a cold one */
    one = fmax(one, 1e-6);
    if (!count) count = (int64_t)fmax(LEAST, seconds / one);
    const int64_t each = (int64_t)fmax(LEAST, 0.02 / one), blocks = count < each ? 1 : count / each;
    clg_context_trace(ctx, NULL, NULL); /* nothing of before */
    bench_times told = {.count = count};
    for (int64_t i = 0; i < blocks; i++)
        told.mean += block(ctx, count * (i + 1) / blocks - count * i / blocks, work, user, &sample) / (double)count;
    if (sample.count) {
        qsort(sample.seconds, sample.count, sizeof *sample.seconds, ascending);
        told.median = 0.5 * (sample.seconds[(sample.count - 1) / 2] + sample.seconds[sample.count / 2]);
        told.best = sample.seconds[0];
    }
    free(sample.seconds);
    return told;
}

int bench_runs(clg_context *ctx, int64_t count, void (*work)(void *user), void *user)
{
    enum { LEAST = 5, MOST = 1000 };
    if (count) return (int)count;
    const double one = bench_time(ctx, 1, 0.0, work, user).best;
    return one > 1.0 / LEAST ? LEAST : one < 1.0 / MOST ? MOST : (int)(1.0 / one);
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

clg_context *bench_context(const bench_options *o)
{
    return clg_context_create(&(clg_context_desc){
        .device = o->device, .trace = !o->untimed, .dump_programs = o->dump_programs});
}

const bench_options bench_defaults = {.pad = -1};

/* What would be left undone beside an option. */
static const struct {
    const char *option, *does, *excludes;
} exclusions[] = {
    {"model", "measures a network", "op|shape|trans|kernel|stride|pad|groups|backward"},
    {"op", "measures one operator", "batch|eval|trace|untimed|loss-curve|save-initial"},
    {"untimed", "takes no steps", "steps|json|trace|loss-curve"},
    {"dump-plan", "prints the plan, as text", "json|trace|loss-curve"},
    {"loss-curve", "writes losses of training, and prints nothing", "json|trace|eval"},
    {"trace", "writes a trace, and prints nothing", "json"},
};

static int run(int argc, char **argv)
{
    const command *cmd = &command_bench;
    bench_options  o = bench_defaults;
    if (!options_parse(cmd, argc, argv, &o)) return EXIT_USAGE;
    if (!o.model && !o.op) return usage(cmd, "give --model or --op: what is to be measured?");
    for (size_t i = 0; i < sizeof exclusions / sizeof exclusions[0]; i++) {
        const char *given = options_among(cmd, exclusions[i].option, &o, &bench_defaults);
        const char *other = given ? options_among(cmd, exclusions[i].excludes, &o, &bench_defaults) : NULL;
        if (other) return usage(cmd, "--%s %s: leave out --%s", given, exclusions[i].does, other);
    }
    if (o.untimed && !o.dump_plan && !o.dump_programs) return usage(cmd, "--untimed: there is nothing else to do");
    if (o.dump_programs && mkdir(o.dump_programs, 0777) && errno != EEXIST)
        return fail(cmd, "--dump-programs %s: %s", o.dump_programs, strerror(errno));
    return o.op ? bench_op(&o) : bench_model(&o);
}

const command command_bench = {
    "bench", "Measure the speed of training", options, run,
    "Whole training steps of a network (with --eval, predictions by it), or one operator beside the roofline measured with it: the best that the "
    "device reaches in arithmetic and in copying.",
    "  clgrad bench --model cnn\n"
    "  clgrad bench --model cnn --dump-plan\n"
    "  clgrad bench --model resnet18 --eval --batch 1\n"
    "  clgrad bench --op matmul --shape 512,512,512 --trans NT\n"
    "  clgrad bench --op conv2d --shape 64,64,56,64 --pad 1 --backward\n",
};
