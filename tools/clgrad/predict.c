/* predict.c - clgrad predict: the classes of pictures, the likeliest first, or what follows a prompt. */
#include "network.h"
#include "source.h"
#include "text.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct predict_options {
    const char *model, *prompt, *device;
    arguments   inputs;
    int64_t     top, batch, length;
    uint64_t    seed;
    float       temperature;
    bool        json;
} predict_options;

#define FIELD(name) offsetof(predict_options, name)

static const option options[] = {
    {"model", OPTION_ARGUMENT, FIELD(model), "MODEL", "A file that clgrad train has written", 0, 0},
    {"input", OPTION_ARGUMENTS, FIELD(inputs), "INPUT...", "PNG or JPEG files; a gpt takes none", 0, 0},
    {"top", OPTION_COUNT, FIELD(top), "N", "classes to print for each (default 5)", 0, 0},
    {"batch", OPTION_COUNT, FIELD(batch), "N", "pictures at once (default 32)", 1 << 20, 0},
    {"json", OPTION_FLAG, FIELD(json), NULL, "one JSON object per input and line", 0, 0},
    {"prompt", OPTION_TEXT, FIELD(prompt), "TEXT", "gpt: what is to be continued (default: the first character it knows)", 0, 0},
    {"length", OPTION_COUNT, FIELD(length), "N", "gpt: characters to add (default 200)", INT32_MAX, 0},
    {"temperature", OPTION_POSITIVE, FIELD(temperature), "X", "gpt: below 1: the likely ones more often (default 1)", 0, 0},
    {"seed", OPTION_SEED, FIELD(seed), "N", "gpt: of the draws (default 1)", 0, 0},
    {"device", OPTION_TEXT, FIELD(device), "DEVICE", "P:D, gpu, cpu, or part of a name (default: the best)", 0, 0},
    {0},
};

typedef struct ranked {
    int   class;
    float probability;
} ranked;

static int by_probability(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->probability != y->probability && x->probability == x->probability && y->probability == y->probability)
        return x->probability < y->probability ? 1 : -1;
    return (x->class > y->class) - (x->class < y->class);
}

static int print_json(const char *input, const network *net, const ranked *row, int top)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "input", input);
    cJSON *list = cJSON_AddArrayToObject(object, "classes");
    for (int i = 0; i < top; i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddNumberToObject(item, "class", row[i].class);
        if (net->class_names) cJSON_AddStringToObject(item, "name", net->class_names[row[i].class]);
        cJSON_AddNumberToObject(item, "probability", (double)row[i].probability);
        cJSON_AddItemToArray(list, item);
    }
    char *text = cJSON_PrintUnformatted(object);
    cJSON_Delete(object);
    if (!text) return fail(&command_predict, "out of memory");
    puts(text);
    cJSON_free(text);
    return 0;
}

static int print(const predict_options *o, const char *input, const network *net, const float *probability)
{
    ranked    row[NETWORK_MAX_CLASSES];
    const int top = o->top < net->classes ? (int)o->top : net->classes;
    for (int c = 0; c < net->classes; c++) row[c] = (ranked){c, probability[c]};
    qsort(row, (size_t)net->classes, sizeof row[0], by_probability);
    if (o->json) return print_json(input, net, row, top);
    printf("%s:", input);
    for (int i = 0; i < top; i++) {
        const double percent = 100.0 * (double)row[i].probability;
        if (net->class_names) printf("%s %s %.2f%%", i ? "," : "", net->class_names[row[i].class], percent);
        else printf("%s %d %.2f%%", i ? "," : "", row[i].class, percent);
    }
    putchar('\n');
    return 0;
}

typedef struct predictor {
    network     net;
    int64_t     batch, pixels, classes;
    clg_tensor *x, *y;
    clg_plan   *plan;
    uint8_t    *bytes; /* of one picture */
    float      *value; /* x */
    float      *probability;
} predictor;

/* `count` inputs from the first on. */
static int predict_batch(const predict_options *o, clg_context *ctx, predictor *p, int first, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        if (clg_image_read(ctx, o->inputs.at[first + i], p->net.input, p->bytes)) return fail_context(&command_predict, ctx);
        for (int64_t k = 0; k < p->pixels; k++) p->value[i * p->pixels + k] = (float)p->bytes[k] / 255.0f;
    }
    clg_tensor_write(p->x, p->value, (size_t)(p->batch * p->pixels) * sizeof *p->value);
    clg_plan_run(p->plan);
    if (clg_tensor_read(p->y, p->probability, (size_t)(p->batch * p->classes) * sizeof *p->probability))
        return fail_context(&command_predict, ctx);
    int status = 0;
    for (int64_t i = 0; i < count && !status; i++)
        status = print(o, o->inputs.at[first + i], &p->net, p->probability + i * p->classes);
    return status;
}

static int predict_pictures(const predict_options *o, clg_context *ctx, predictor *p)
{
    const command *cmd = &command_predict;
    const int      status = network_open(cmd, ctx, o->model, &p->net);
    char           shape[128];
    if (status) return status;
    const clg_shape in = p->net.input;
    if (in.rank != 3 || (in.dim[0] != 1 && in.dim[0] != 3))
        return fail(cmd, "%s takes %s and not pictures", o->model, clg_shape_text(in, shape, sizeof shape));
    p->batch = o->batch < o->inputs.count ? o->batch : o->inputs.count;
    p->pixels = clg_shape_count(in);
    p->classes = p->net.classes;
    clg_model *model = clg_model_create(ctx, NULL);
    clg_graph *g = clg_graph_create(ctx, NULL);
    p->x = network_input(g, &p->net, p->batch);
    p->y = clg_softmax(network_build(&p->net, model, p->x));
    p->plan = clg_plan_create(p->y);
    if (clg_context_failed(ctx) || clg_model_load(model, o->model)) return fail_context(cmd, ctx);
    p->bytes = malloc((size_t)p->pixels);
    p->value = calloc((size_t)(p->batch * p->pixels), sizeof *p->value);
    p->probability = calloc((size_t)(p->batch * p->classes), sizeof *p->probability);
    if (!p->bytes || !p->value || !p->probability) return fail(cmd, "out of memory");
    for (int first = 0; first < o->inputs.count; first += (int)p->batch) {
        const int64_t left = o->inputs.count - first;
        const int     wrong = predict_batch(o, ctx, p, first, left < p->batch ? left : p->batch);
        if (wrong) return wrong;
    }
    return 0;
}

static int predict(predict_options *o, clg_context *ctx)
{
    const command *cmd = &command_predict;
    char           name[8];
    if (clg_context_failed(ctx) || clg_file_metadata(ctx, o->model, "network", name, sizeof name)) return fail_context(cmd, ctx);
    const bool of_text = o->prompt || o->length || o->temperature > 0.0f, of_classes = o->top || o->json || o->batch;
    if (!strcmp(name, "gpt")) {
        if (o->inputs.count || of_classes) return usage(cmd, "%s is a gpt: it takes no INPUT, --top, --batch or --json", o->model);
        const text_prompt t = {o->model, o->prompt, o->length ? o->length : 200, o->seed,
                               o->temperature > 0.0f ? o->temperature : 1.0f};
        return text_predict(cmd, ctx, &t);
    }
    if (of_text) return usage(cmd, "%s is no gpt: it takes no --prompt, --length or --temperature", o->model);
    if (!o->inputs.count) return usage(cmd, "INPUT is missing");
    if (!o->top) o->top = 5;
    if (!o->batch) o->batch = 32;
    predictor p = {0};
    const int status = predict_pictures(o, ctx, &p);
    free(p.bytes);
    free(p.value);
    free(p.probability);
    return status;
}

static int run(int argc, char **argv)
{
    predict_options o = {.seed = 1};
    if (!options_parse(&command_predict, argc, argv, &o)) return EXIT_USAGE;
    clg_context *ctx = clg_context_create(&(clg_context_desc){.device = o.device});
    const int    status = predict(&o, ctx);
    clg_context_destroy(&ctx);
    return status;
}

const command command_predict = {"predict", "The classes of pictures, or a text continued by a gpt", options, run};
