/* summary.c - clgrad summary: the layers of a network, their shapes and parameters, and what it takes to run and to
 * train it. The operations of a whole run are what its plan says. */
#include "layer_table.h"
#include "report.h"
#include "source.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct summary_options {
    const char *model, *input, *device;
    int64_t     batch, classes;
    bool        json;
} summary_options;

#define FIELD(name) offsetof(summary_options, name)

static const option options[] = {
    {"model", OPTION_ARGUMENT, FIELD(model), "NETWORK",
     "a file that clgrad train has written, or what its --model takes", 0, 0},
    {"input", OPTION_TEXT, FIELD(input), "EXTENTS", "of an example, as C,H,W (default: as in the file, or 1,28,28)", 0,
     0},
    {"classes", OPTION_COUNT, FIELD(classes), "N", "outputs (default: as in the file, or 10)", NETWORK_MAX_CLASSES, 0},
    {"batch", OPTION_COUNT, FIELD(batch), "N", "examples at once (default 128; resnet18 and gpt: 8)", 1 << 20, 0},
    OPTION_DEVICE_ROW(FIELD(device)),
    OPTION_JSON_ROW(FIELD(json)),
    {0},
};

typedef struct summary {
    network        net;
    int64_t        batch, parameters, states;
    layer_table    table;
    clg_plan_stats inference, training;
} summary;

static clg_tensor *input(clg_graph *g, const summary *s)
{
    const network_kind *kind = network_find(s->net.model);
    if (kind && kind->example.rank == 1) return clg_input(g, CLG_I32, CLG_SHAPE(s->batch, s->net.input.dim[0]));
    return network_input(g, &s->net, s->batch);
}

/* Builds everything; false when the context has failed. */
static bool measure(summary *s, clg_context *ctx)
{
    const network_kind *kind = network_find(s->net.model);
    clg_model  *model = clg_model_create(ctx, NULL);
    clg_graph *infer = clg_graph_create(ctx, NULL), *train = clg_graph_create(ctx, &(clg_graph_desc){.training = true});
    clg_tensor *y = layer_table_build(&s->table, &s->net, model, input(infer, s)),
               *z = network_build(&s->net, model, input(train, s));
    clg_tensor *answer = s->net.regression ? clg_input(train, CLG_F32, clg_tensor_shape(z))
                                           : clg_input(train, CLG_I32, CLG_SHAPE(clg_tensor_shape(z).dim[0]));
    clg_tensor *loss = s->net.regression ? clg_mse(z, answer) : clg_cross_entropy(z, answer);
    clg_optimizer *opt = kind ? kind->optimizer(model) : clg_adam_create(model, NULL);
    if (clg_context_failed(ctx)) return false;
    s->parameters = network_elements(model, 0, clg_model_count(model), false);
    s->states = network_elements(model, 0, clg_model_count(model), true);
    s->training = clg_plan_statistics(clg_plan_train(loss, opt));
    s->inference = clg_plan_statistics(clg_plan_create(y));
    return y && !clg_context_failed(ctx);
}

/* ---- output ------------------------------------------------------------------------------------------------------ */

static void print_plan(const char *name, const clg_plan_stats *p)
{
    printf("%-10s %10.3f Mflop, %4zu launches, memory %.2f MiB planned for intermediate values (%.2f without "
           "sharing), %.2f kept\n",
           name, p->flops / 1e6, p->launches, (double)p->planned_bytes / 1048576.0,
           (double)p->unplanned_bytes / 1048576.0,(double)p->persistent_bytes / 1048576.0);
}

static void print_text(const summary *s)
{
    const bool layers = s->table.layers;
    char       shape[128];
    printf("%s, examples of %s, %d outputs, batch %lld\n\n", s->net.model,
           clg_shape_text(s->net.input, shape, sizeof shape), s->net.classes, (long long)s->batch);
    printf("%-30s %-20s %-24s %12s %14s\n", layers ? "layer" : "tensor", "", layers ? "output" : "shape", "parameters",
           layers ? "Mflop" : "");
    for (size_t i = 0; i < s->table.count; i++) {
        const layer_row *r = &s->table.rows[i];
        printf("%-30s %-20s %-24s %12lld", r->name, r->kind, clg_shape_text(r->output, shape, sizeof shape),
               (long long)r->parameters);
        if (layers) printf(" %14.3f", r->flops / 1e6);
        putchar('\n');
    }
    printf("%-30s %-20s %-24s %12lld\n\n", "all", "", "", (long long)s->parameters);
    print_plan("inference", &s->inference);
    print_plan("training", &s->training);
}

static void add_plan(cJSON *object, const char *name, const clg_plan_stats *p)
{
    cJSON *plan = cJSON_AddObjectToObject(object, name);
    cJSON_AddNumberToObject(plan, "flops", p->flops);
    cJSON_AddNumberToObject(plan, "launches", (double)p->launches);
    cJSON_AddNumberToObject(plan, "planned_bytes", (double)p->planned_bytes);
    cJSON_AddNumberToObject(plan, "unplanned_bytes", (double)p->unplanned_bytes);
    cJSON_AddNumberToObject(plan, "persistent_bytes", (double)p->persistent_bytes);
}

static void add_shape(cJSON *object, const char *name, clg_shape shape)
{
    cJSON *list = cJSON_AddArrayToObject(object, name);
    for (int d = 0; d < shape.rank; d++) cJSON_AddItemToArray(list, cJSON_CreateNumber((double)shape.dim[d]));
}

static int print_json(const summary *s)
{
    const bool layers = s->table.layers;
    cJSON     *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "network", s->net.model);
    add_shape(object, "input", s->net.input);
    cJSON_AddNumberToObject(object, "outputs", s->net.classes);
    cJSON_AddNumberToObject(object, "batch", (double)s->batch);
    cJSON_AddNumberToObject(object, "parameters", (double)s->parameters);
    cJSON_AddNumberToObject(object, "states", (double)s->states);
    cJSON *list = cJSON_AddArrayToObject(object, layers ? "layers" : "tensors");
    for (size_t i = 0; i < s->table.count; i++) {
        const layer_row *r = &s->table.rows[i];
        cJSON           *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "name", r->name);
        cJSON_AddStringToObject(item, "kind", r->kind);
        add_shape(item, layers ? "output" : "shape", r->output);
        cJSON_AddNumberToObject(item, "parameters", (double)r->parameters);
        if (layers) cJSON_AddNumberToObject(item, "flops", r->flops);
        cJSON_AddItemToArray(list, item);
    }
    add_plan(object, "inference", &s->inference);
    add_plan(object, "training", &s->training);
    return report_json(&command_summary, object);
}

/* ---- what is meant ----------------------------------------------------------------------------------------------- */

static bool is_file(const char *path)
{
    struct stat info;
    return !network_find(path) && !stat(path, &info) && !ends_with(path, ".spec");
}

static int describe_file(const summary_options *o, clg_context *ctx, network *net)
{
    char name[8], classes[8] = "", end;
    if (o->input || o->classes)
        return usage(&command_summary, "%s is a model's file: it says --input and --classes itself", o->model);
    if (clg_file_metadata(ctx, o->model, "network", name, sizeof name)) return fail_context(&command_summary, ctx);
    if (strcmp(name, "gpt")) return network_open(&command_summary, ctx, o->model, net);
    clg_file_metadata(ctx, o->model, "classes", classes, sizeof classes);
    *net = (network){.model = "gpt", .input = network_find("gpt")->example};
    if (sscanf(classes, "%5d%c", &net->classes, &end) == 1 && net->classes > 0 && net->classes <= 256) return 0;
    return fail(&command_summary, "%s has no metadata that describes a gpt of clgrad", o->model);
}

static int describe_text(const summary_options *o, clg_context *ctx, const char *model, network *net)
{
    const network_kind *kind = network_find(model);
    *net = (network){.model = model, .classes = (int)o->classes, .input = kind ? kind->example : CLG_SHAPE(1, 28, 28)};
    if (kind && !net->classes) net->classes = kind->classes;
    if (o->input && !network_extents(o->input, &net->input))
        return usage(&command_summary, "--input takes extents such as 1,28,28, not '%s'", o->input);
    if (kind && net->input.rank != kind->example.rank)
        return usage(&command_summary, "--input: %s takes %d extents", kind->name, kind->example.rank);
    return network_check(&command_summary, ctx, net, NETWORK_CLASSES);
}

static int summarise(const summary_options *o, clg_context *ctx, const char *model)
{
    summary s = {0};
    if (clg_context_failed(ctx)) return fail_context(&command_summary, ctx);
    clg_context_build_later(ctx); /* which is never: nothing is run */
    int status = model ? describe_text(o, ctx, model, &s.net) : describe_file(o, ctx, &s.net);
    if (status) return status;
    const network_kind *kind = network_find(s.net.model);
    s.batch = o->batch ? o->batch : kind ? kind->batch : 128;
    if (!measure(&s, ctx)) status = fail_context(&command_summary, ctx);
    else if (o->json) status = print_json(&s);
    else print_text(&s);
    layer_table_free(&s.table);
    return status;
}

static int run(int argc, char **argv)
{
    summary_options o = {0};
    if (!options_parse(&command_summary, argc, argv, &o)) return EXIT_USAGE;
    char *model = is_file(o.model) ? NULL : network_model(&command_summary, o.model);
    if (!model && !is_file(o.model)) return EXIT_USAGE;
    clg_context *ctx = clg_context_create(&(clg_context_desc){.device = o.device});
    const int    status = summarise(&o, ctx, model);
    clg_context_destroy(&ctx);
    free(model);
    return status;
}

const command command_summary = {
    "summary", "Layers, shapes, parameters, operations and memory of a network", options, run,
    "The operations of a layer are two for each product of a weight, else one for each number of its output; "
    "those of a run, and its memory, are what its plan says.",
    "  clgrad summary cnn.safetensors\n"
    "  clgrad summary \"flatten linear(128) relu linear(10)\" --input 3,32,32\n"
    "  clgrad summary resnet18 --batch 32 --json\n",
};
