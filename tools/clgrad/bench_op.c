/* bench_op.c - one operator on inputs that lie on the device: a row of the table builds it from its shape, a plan runs
 * it.
 *
 * The roofline is the time that the device needs at least, max(operations / peak, bytes / copy speed); the fraction of
 * it says how much of the device an operator uses. */
#include "bench.h"
#include "report.h"
#include "source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_EXTENTS = 5, MAX_INPUTS = 3, MAX_LAUNCHES = 10000 };

typedef struct op_case {
    const bench_options *o;
    clg_graph           *graph;
    int64_t              extent[MAX_EXTENTS];
    int                  extents, inputs;
    clg_tensor          *in[MAX_INPUTS]; /* to which gradients are taken */
    clg_plan            *plan;           /* of operators that make their own, and the one that runs */
    int64_t              runs;           /* of it, */
    double               host;           /* and the seconds that the host took to enqueue them */
} op_case;

/* ---- inputs ------------------------------------------------------------------------------------------------------ */

/* Uniform in [-0.5, 0.5). */
static clg_tensor *input(op_case *c, clg_shape shape)
{
    clg_context  *ctx = clg_graph_context(c->graph);
    clg_tensor   *t = clg_input(c->graph, CLG_F32, shape);
    const int64_t count = clg_tensor_count(t);
    float        *value = t ? malloc((size_t)(count ? count : 1) * sizeof *value) : NULL;
    if (t && !value) clg_context_fail(ctx, CLG_OUT_OF_MEMORY, "out of host memory for an input");
    for (int64_t i = 0; value && i < count; i++) value[i] = (float)(bench_hash((uint32_t)i) >> 8) * 0x1p-24f - 0.5f;
    if (value) clg_tensor_write(t, value, (size_t)count * sizeof *value);
    free(value);
    return t;
}

static clg_tensor *in(op_case *c, clg_shape shape) { return c->in[c->inputs++] = input(c, shape); }

static clg_shape all(const op_case *c)
{
    clg_shape shape = {.rank = c->extents};
    memcpy(shape.dim, c->extent, (size_t)c->extents * sizeof *shape.dim);
    return shape;
}

/* ---- operators --------------------------------------------------------------------------------------------------- */

static clg_tensor *matmul(op_case *c)
{
    const int64_t m = c->extent[0], n = c->extent[1], k = c->extent[2];
    const bool    ta = c->o->trans && c->o->trans[0] == 'T', tb = c->o->trans && c->o->trans[1] == 'T';
    clg_tensor   *a = in(c, ta ? CLG_SHAPE(k, m) : CLG_SHAPE(m, k)), *b = in(c, tb ? CLG_SHAPE(n, k) : CLG_SHAPE(k, n));
    return clg_matmul(a, b, &(clg_matmul_desc){.trans_a = ta, .trans_b = tb});
}

static clg_tensor *conv2d(op_case *c)
{
    const int64_t *d = c->extent;
    const int      kernel = c->o->kernel ? (int)c->o->kernel : 3, groups = c->o->groups ? (int)c->o->groups : 1;
    clg_tensor *x = in(c, CLG_SHAPE(d[0], d[1], d[2], d[2])),
               *w = in(c, CLG_SHAPE(d[3], d[1] / groups, kernel, kernel));
    return clg_conv2d(x, w, NULL,
                      &(clg_conv2d_desc){.stride = (int)c->o->stride, .pad = c->o->pad > 0 ? (int)c->o->pad : 0,
                                         .groups = groups});
}

/* The gradient of y to one of the inputs, alone. */
static clg_tensor *backward(op_case *c, clg_tensor *y, int to)
{
    clg_tensor *dy = y ? input(c, clg_tensor_shape(y)) : NULL, *dx = NULL;
    clg_gradients_from(y, dy, &c->in[to], 1, &dx);
    return dx;
}

static clg_tensor *conv2d_data(op_case *c) { return backward(c, conv2d(c), 0); }
static clg_tensor *conv2d_filter(op_case *c) { return backward(c, conv2d(c), 1); }
static clg_tensor *softmax(op_case *c) { return clg_softmax(in(c, all(c))); }
static clg_tensor *relu(op_case *c) { return clg_relu(in(c, all(c))); }
static clg_tensor *gelu(op_case *c) { return clg_gelu(in(c, all(c))); }

static clg_tensor *add(op_case *c)
{
    clg_tensor *a = in(c, all(c));
    return clg_add(a, in(c, all(c)));
}

static clg_tensor *copy(op_case *c)
{
    return clg_assign(clg_state(c->graph, CLG_F32, all(c)), in(c, all(c)));
}

static clg_tensor *layer_norm(op_case *c)
{
    const clg_shape n = CLG_SHAPE(c->extent[c->extents - 1]);
    clg_tensor     *x = in(c, all(c)), *gain = in(c, n);
    return clg_layer_norm(x, gain, in(c, n), 0.0);
}

static clg_tensor *batch_norm(op_case *c)
{
    const clg_shape n = CLG_SHAPE(c->extent[1]);
    clg_tensor     *x = in(c, all(c)), *gain = in(c, n);
    return clg_batch_norm(x, gain, in(c, n), &(clg_batch_norm_desc){.training = true});
}

static clg_tensor *attention(op_case *c)
{
    const int64_t *d = c->extent;
    clg_tensor    *qkv = in(c, CLG_SHAPE(d[0], d[1], 3 * d[2] * d[3]));
    return clg_attention(qkv, &(clg_attention_desc){.heads = (int)d[2], .causal = true});
}

/* So many launches of next to no work, each waiting for the one before: what the host and the driver take. */
static clg_tensor *launches(op_case *c)
{
    if (c->extent[0] > MAX_LAUNCHES) {
        clg_context_fail(clg_graph_context(c->graph), CLG_INVALID_ARGUMENT, "launches: at most %d are timed, not %lld",
                         MAX_LAUNCHES, (long long)c->extent[0]);
        return NULL;
    }
    clg_tensor *x = in(c, CLG_SHAPE(1, 16));
    for (int64_t i = 0; i < c->extent[0]; i++) x = clg_softmax(x);
    return x;
}

static clg_tensor *adam(op_case *c)
{
    clg_model *model = clg_model_create(clg_graph_context(c->graph), NULL);
    clg_model_parameter(model, c->graph, "weight", all(c), NULL, 0.0);
    clg_tensor *g = input(c, CLG_SHAPE(clg_tensor_count(clg_model_arena(model, c->graph))));
    c->plan = clg_plan_update(g, clg_adam_create(model, NULL));
    return NULL;
}

#define CONV2D "kernel|stride|pad|groups"

static const struct operator {
    const char *name;
    int         least, most; /* extents */
    const char *extents;
    clg_tensor *(*build)(op_case *c);
    const char *options; /* of its own */
} operators[] = {
    {"matmul", 3, 3, "M,N,K", matmul, "backward|trans"},
    {"conv2d", 4, 4, "N,C,H,K (K outputs of N images C x H x H)", conv2d, "backward|" CONV2D},
    {"conv2d_backward_data", 4, 4, "N,C,H,K (K outputs of N images C x H x H)", conv2d_data, CONV2D},
    {"conv2d_backward_filter", 4, 4, "N,C,H,K (K outputs of N images C x H x H)", conv2d_filter, CONV2D},
    {"softmax", 1, MAX_EXTENTS, "...,N", softmax, "backward"},
    {"layer_norm", 1, MAX_EXTENTS, "...,N", layer_norm, "backward"},
    {"batch_norm", 2, MAX_EXTENTS, "N,C,...", batch_norm, "backward"},
    {"attention", 4, 4, "B,T,heads,D (causal)", attention, "backward"},
    {"add", 1, MAX_EXTENTS, "up to 5 extents", add, "backward"},
    {"relu", 1, MAX_EXTENTS, "up to 5 extents", relu, "backward"},
    {"gelu", 1, MAX_EXTENTS, "up to 5 extents", gelu, "backward"},
    {"adam", 1, 1, "N", adam, ""},
    {"copy", 1, MAX_EXTENTS, "up to 5 extents", copy, ""},
    {"launches", 1, 1, "N (tiny kernels, one after the other)", launches, ""},
};

static const struct operator *find(const char *name)
{
    for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++)
        if (!strcmp(operators[i].name, name)) return &operators[i];
    return NULL;
}

/* ---- the measurement --------------------------------------------------------------------------------------------- */

static bool parse_shape(const char *text, op_case *c)
{
    for (const char *at = text;; at++) {
        char *end = NULL;
        errno = 0;
        const long long value = *at >= '0' && *at <= '9' ? strtoll(at, &end, 10) : 0;
        if (errno || value < 1 || value > INT32_MAX || c->extents == MAX_EXTENTS) return false;
        c->extent[c->extents++] = value;
        if (!*end) return clg_shape_count(all(c)) > 0;
        if (*end != ',') return false;
        at = end;
    }
}

static void run_plan(void *user)
{
    op_case     *c = user;
    const double start = clock_seconds();
    clg_plan_run(c->plan);
    c->host += clock_seconds() - start;
    c->runs++;
}

static clg_plan *build(op_case *c, const struct operator *op)
{
    clg_tensor *y = op->build(c), *out[MAX_INPUTS] = {y};
    if (c->plan || !y) return c->plan;
    if (c->o->backward) clg_gradients_from(y, input(c, clg_tensor_shape(y)), c->in, (size_t)c->inputs, out);
    return c->plan = clg_plan_create_all(out, c->o->backward ? (size_t)c->inputs : 1);
}

static int report(const bench_options *o, clg_context *ctx, const op_case *c, clg_plan *plan, bench_times times)
{
    const clg_plan_stats s = clg_plan_statistics(plan);
    const bench_peak     peak = bench_peak_measure(ctx, s.bytes);
    if (clg_context_failed(ctx)) return fail_context(&command_bench, ctx);
    const double by_flops = s.flops / peak.flops, by_bytes = s.bytes / peak.bytes;
    const double least = by_flops > by_bytes ? by_flops : by_bytes;
    const struct {
        const char *name;
        double      value;
    } rows[] = {
        {"steps", (double)times.count},
        {"median_seconds", times.median},
        {"best_seconds", times.best},
        {"mean_seconds", times.mean},
        {"host_seconds", c->host / (double)c->runs},
        {"flops", s.flops},
        {"bytes", s.bytes},
        {"gflops", 1e-9 * s.flops / times.median},
        {"gigabytes_per_second", 1e-9 * s.bytes / times.median},
        {"peak_gflops", 1e-9 * peak.flops},
        {"copy_gigabytes_per_second", 1e-9 * peak.bytes},
        {"roofline_fraction", least / times.median},
        {"launches", (double)s.launches},
        {"planned_bytes", (double)s.planned_bytes},
    };
    const char *limit = by_flops > by_bytes ? "arithmetic" : "memory";
    if (o->json) {
        cJSON *object = cJSON_CreateObject(), *shape = cJSON_CreateArray();
        cJSON_AddStringToObject(object, "op", o->op);
        for (int i = 0; i < c->extents; i++) cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)c->extent[i]));
        cJSON_AddItemToObject(object, "shape", shape);
        cJSON_AddBoolToObject(object, "backward", o->backward);
        cJSON_AddStringToObject(object, "limit", limit);
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
            cJSON_AddNumberToObject(object, rows[i].name, rows[i].value);
        return report_json(&command_bench, object);
    }
    printf("%s%s %s on %s\n", o->op, o->backward ? ", backward," : "", o->shape, clg_context_device(ctx)->name);
    printf("  time           %.4f ms in the median, %.4f ms at best, of %lld\n", 1e3 * times.median, 1e3 * times.best,
           (long long)times.count);
    printf("  host           %.4f ms to enqueue\n", 1e3 * c->host / (double)c->runs);
    printf("  speed          %.1f GFLOP/s, %.1f GB/s\n", 1e-9 * s.flops / times.median, 1e-9 * s.bytes / times.median);
    printf("  roofline       %.0f%% of it: %s limits, %.1f GFLOP/s of multiply-adds and %.1f GB/s of a copy measured\n",
           100.0 * least / times.median, limit, 1e-9 * peak.flops, 1e-9 * peak.bytes);
    if (least > 1.05 * times.median) printf("                 more than all: the machine was busy while it was measured\n");
    return 0;
}

int bench_op(const bench_options *o)
{
    const command         *cmd = &command_bench;
    const struct operator *op = find(o->op);
    op_case                c = {.o = o};
    char                   taken[128];
    if (!op) return usage(cmd, "--op %s is not in the table", o->op);
    if (!o->shape) return usage(cmd, "--shape is missing: %s takes %s", op->name, op->extents);
    if (!parse_shape(o->shape, &c) || c.extents < op->least || c.extents > op->most)
        return usage(cmd, "--shape: %s takes %s, each from 1 to %d, not '%s'", op->name, op->extents, INT32_MAX, o->shape);
    snprintf(taken, sizeof taken, "op|shape|steps|device|json|dump-plan|dump-programs|%s", op->options);
    const char *other = options_beyond(cmd, taken, o, &bench_defaults);
    if (other) return usage(cmd, "--%s: %s has none; leave it out", other, op->name);

    clg_context *ctx = bench_context(o);
    c.graph = clg_graph_create(ctx, &(clg_graph_desc){.training = true});
    clg_plan *plan = c.graph ? build(&c, op) : NULL;
    int       status = 0;
    if (clg_context_failed(ctx)) status = fail_context(cmd, ctx);
    else if (o->dump_plan) {
        if (clg_plan_measure(plan, bench_runs(ctx, o->steps, run_plan, &c))) status = fail_context(cmd, ctx);
        else clg_plan_dump(plan, stdout);
    } else {
        const bench_times times = bench_time(ctx, o->steps, 0.4, run_plan, &c);
        status = clg_context_failed(ctx) ? fail_context(cmd, ctx) : report(o, ctx, &c, plan, times);
    }
    clg_context_destroy(&ctx);
    return status;
}
