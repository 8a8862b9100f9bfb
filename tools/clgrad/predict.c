/* predict.c - clgrad predict: the classes of pictures or of a table's rows, the likeliest first, or the numbers that a
 * regression predicts; of a gpt what follows a prompt. */
#include "network.h"
#include "report.h"
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
    OPTION_MODEL_ROW(FIELD(model)),
    {"input", OPTION_ARGUMENTS, FIELD(inputs), "INPUT...",
     "PNG or JPEG files, or .csv or .npy files, line by line; a gpt takes none", 0, 0},
    {"top", OPTION_COUNT, FIELD(top), "N", "classes to print for each (default 5)", 0, 0},
    {"batch", OPTION_COUNT, FIELD(batch), "N", "examples at once (default 32)", 1 << 20, 0},
    {"json", OPTION_FLAG, FIELD(json), NULL, "one JSON object per input and line", 0, 0},
    {"prompt", OPTION_TEXT, FIELD(prompt), "TEXT",
     "gpt: what is to be continued (default: the first character it knows)", 0, 0},
    {"length", OPTION_COUNT, FIELD(length), "N", "gpt: characters to add (default 200)", INT32_MAX, 0},
    {"temperature", OPTION_POSITIVE, FIELD(temperature), "X", "gpt: below 1: the likely ones more often (default 1)", 0,
     0},
    {"seed", OPTION_SEED, FIELD(seed), "N", "gpt: of the draws (default 1)", 0, 0},
    OPTION_DEVICE_ROW(FIELD(device)),
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

static void add_classes(cJSON *object, const network *net, const ranked *rank, int top)
{
    cJSON *list = cJSON_AddArrayToObject(object, "classes");
    for (int i = 0; i < top; i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddNumberToObject(item, "class", rank[i].class);
        if (net->class_names) cJSON_AddStringToObject(item, "name", net->class_names[rank[i].class]);
        cJSON_AddNumberToObject(item, "probability", (double)rank[i].probability);
        cJSON_AddItemToArray(list, item);
    }
}

/* Where an example of a table is, from 1: messages about a CSV file have its lines. */
typedef struct where {
    int64_t row, line; /* 0: it has none, as a picture */
} where;

static int print_json(const char *input, where at, const network *net, const float *result, const ranked *rank,
                      int top)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "input", input);
    if (at.line) cJSON_AddNumberToObject(object, "line", (double)at.line);
    if (at.row) cJSON_AddNumberToObject(object, "row", (double)at.row);
    if (net->regression) {
        cJSON *list = cJSON_AddArrayToObject(object, "values");
        for (int i = 0; i < net->classes; i++) cJSON_AddItemToArray(list, cJSON_CreateNumber((double)result[i]));
    } else {
        add_classes(object, net, rank, top);
    }
    return report_json(&command_predict, object);
}

static int print(const predict_options *o, const char *input, where at, const network *net, const float *result)
{
    ranked    rank[NETWORK_MAX_CLASSES];
    char      number[16];
    const int top = o->top < net->classes ? (int)o->top : net->classes;
    for (int c = 0; c < net->classes; c++) rank[c] = (ranked){c, result[c]};
    if (!net->regression) qsort(rank, (size_t)net->classes, sizeof rank[0], by_probability);
    if (o->json) return print_json(input, at, net, result, rank, top);
    printf("%s:", input);
    if (at.row) printf(" %s %lld:", at.line ? "line" : "row", (long long)(at.line ? at.line : at.row));
    for (int i = 0; i < (net->regression ? net->classes : top); i++) {
        const double percent = 100.0 * (double)rank[i].probability;
        if (net->regression) printf("%s %.9g", i ? "," : "", (double)result[i]);
        else printf("%s %s %.2f%%", i ? "," : "", network_class_name(net, rank[i].class, number), percent);
    }
    putchar('\n');
    return 0;
}

/* A network for batches of one size. */
typedef struct predictor {
    int64_t     batch;
    clg_tensor *x, *y, *answers; /* the last of no use, but the loader deals them too */
    clg_plan   *plan;
    float      *result; /* y */
} predictor;

typedef struct prediction {
    const predict_options *o;
    clg_context *ctx;
    network      net;
    clg_model   *model;
    bool         loaded;
    predictor    pictures;
    int64_t      pixels;
    uint8_t     *bytes; /* of one picture */
    float       *value; /* of a batch of them */
} prediction;

static int make_predictor(prediction *p, int64_t batch, predictor *made)
{
    clg_graph *g = clg_graph_create(p->ctx, NULL);
    *made = (predictor){.batch = batch};
    made->x = network_input(g, &p->net, batch);
    made->answers = clg_input(g, CLG_F32, CLG_SHAPE(batch, 1));
    made->y = network_build(&p->net, p->model, made->x);
    if (!p->net.regression) made->y = clg_softmax(made->y);
    made->plan = clg_plan_create(made->y);
    if (clg_context_failed(p->ctx) || (!p->loaded && clg_model_load(p->model, p->o->model)))
        return fail_context(&command_predict, p->ctx);
    p->loaded = true;
    made->result = calloc((size_t)(batch * p->net.classes), sizeof *made->result);
    return made->result ? 0 : fail(&command_predict, "out of memory");
}

/* Reads what the batch's run gives for an input each or, of a table, for its examples from `first` on. */
static int print_batch(const prediction *p, predictor *with, char *const *input, const clg_dataset *table, int64_t first,
                       int64_t count)
{
    int status = 0;
    if (clg_tensor_read(with->y, with->result, (size_t)(with->batch * p->net.classes) * sizeof *with->result))
        return fail_context(&command_predict, p->ctx);
    for (int64_t i = 0; i < count && !status; i++) {
        const where at = {table ? first + i + 1 : 0, clg_dataset_line(table, first + i)};
        status = print(p->o, input[table ? 0 : i], at, &p->net, with->result + i * p->net.classes);
    }
    return status;
}

/* ---- pictures ---------------------------------------------------------------------------------------------------- */

static bool wants_pictures(const prediction *p)
{
    const clg_shape in = p->net.input;
    return in.rank == 3 && (in.dim[0] == 1 || in.dim[0] == 3);
}

static int prepare_pictures(prediction *p)
{
    char shape[128];
    if (!wants_pictures(p))
        return fail(&command_predict, "%s takes %s and not pictures", p->o->model,
                    clg_shape_text(p->net.input, shape, sizeof shape));
    const int64_t batch = p->o->batch < p->o->inputs.count ? p->o->batch : p->o->inputs.count;
    const int     status = make_predictor(p, batch, &p->pictures);
    if (status) return status;
    p->pixels = clg_shape_count(p->net.input);
    p->bytes = malloc((size_t)p->pixels);
    p->value = calloc((size_t)(batch * p->pixels), sizeof *p->value);
    return p->bytes && p->value ? 0 : fail(&command_predict, "out of memory");
}

static int predict_pictures(prediction *p, char *const *path, int64_t count)
{
    const int wrong = p->bytes ? 0 : prepare_pictures(p);
    if (wrong) return wrong;
    for (int64_t i = 0; i < count; i++) {
        if (clg_image_read(p->ctx, path[i], p->net.input, p->bytes)) return fail_context(&command_predict, p->ctx);
        for (int64_t k = 0; k < p->pixels; k++) p->value[i * p->pixels + k] = (float)p->bytes[k] / 255.0f;
    }
    clg_tensor_write(p->pictures.x, p->value, (size_t)(p->pictures.batch * p->pixels) * sizeof *p->value);
    clg_plan_run(p->pictures.plan);
    return print_batch(p, &p->pictures, path, NULL, 0, count);
}

/* ---- tables ------------------------------------------------------------------------------------------------------ */

static bool is_table(const char *path) { return source_is_csv(path) || source_is_npy(path); }

static int predict_table(prediction *p, char *const *path)
{
    const clg_csv_desc d = {.label = p->net.answer, .unanswered = true,
                             .features = p->net.features, .feature_count = p->net.input.dim[0]};
    clg_dataset *data =
        source_is_npy(*path) ? clg_dataset_open_npy(p->ctx, *path, NULL) : clg_dataset_open_csv(p->ctx, *path, &d);
    char               has[128], wants[128];
    if (!data) return fail_context(&command_predict, p->ctx);
    clg_shape one = clg_dataset_shape(data);
    for (int k = 1; k < one.rank; k++) one.dim[k - 1] = one.dim[k];
    one.rank--;
    if (!clg_shape_equal(one, p->net.input))
        return fail(&command_predict, "%s: its rows are %s, and %s takes %s%s%s", *path,
                    clg_shape_text(one, has, sizeof has), p->o->model, wants_pictures(p) ? "pictures of " : "",
                    clg_shape_text(p->net.input, wants, sizeof wants),
                    wants_pictures(p) ? ": PNG or JPEG files, or an .npy array of them" : "");
    const int64_t count = clg_dataset_count(data);
    predictor     with;
    int           status = make_predictor(p, p->o->batch < count ? p->o->batch : count, &with);
    clg_loader    loader = clg_loader_begin(data, &(clg_loader_desc){.batch = with.batch});
    for (int64_t row = 0; !status && clg_loader_next(&loader, with.x, with.answers); row += with.batch) {
        clg_plan_run(with.plan);
        status = print_batch(p, &with, path, data, row, count - row < with.batch ? count - row : with.batch);
    }
    if (!status && clg_context_failed(p->ctx)) status = fail_context(&command_predict, p->ctx);
    free(with.result);
    clg_dataset_destroy(&data);
    return status;
}

static int predict_inputs(prediction *p)
{
    const arguments *in = &p->o->inputs;
    int              status = network_open(&command_predict, p->ctx, p->o->model, &p->net);
    p->model = clg_model_create(p->ctx, NULL);
    for (int first = 0, next; first < in->count && !status; first = next) {
        for (next = first; next < in->count && next - first < p->o->batch && !is_table(in->at[next]);) next++;
        if (next > first) status = predict_pictures(p, in->at + first, next - first);
        else status = predict_table(p, in->at + next++);
    }
    return status;
}

static int predict(predict_options *o, clg_context *ctx)
{
    const command *cmd = &command_predict;
    char           name[8];
    if (clg_context_failed(ctx) || clg_file_metadata(ctx, o->model, "network", name, sizeof name))
        return fail_context(cmd, ctx);
    const bool of_text = o->prompt || o->length || o->temperature > 0.0f, of_classes = o->top || o->json || o->batch;
    if (!strcmp(name, "gpt")) {
        if (o->inputs.count || of_classes)
            return usage(cmd, "%s is a gpt: it takes no INPUT, --top, --batch or --json", o->model);
        const text_prompt t = {o->model, o->prompt, o->length ? o->length : 200, o->seed,
                               o->temperature > 0.0f ? o->temperature : 1.0f};
        return text_predict(cmd, ctx, &t);
    }
    if (of_text) return usage(cmd, "%s is no gpt: it takes no --prompt, --length or --temperature", o->model);
    if (!o->inputs.count) return usage(cmd, "INPUT is missing");
    if (!o->top) o->top = 5;
    if (!o->batch) o->batch = 32;
    prediction p = {.o = o, .ctx = ctx};
    const int  status = predict_inputs(&p);
    free(p.bytes);
    free(p.value);
    free(p.pictures.result);
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

const command command_predict = {
    "predict", "The classes of pictures or rows, or a text continued by a gpt", options, run,
    "A line for each picture or row: the likeliest classes with their probabilities or, of a regression, "
    "numbers. Pictures are brought to the size that the network takes.",
    "  clgrad predict cnn.safetensors shirt.png boot.jpg\n"
    "  clgrad predict iris.safetensors flowers.csv --top 1 --json\n"
    "  clgrad predict clgrad-gpt.safetensors --prompt \"The \" --length 500\n",
};
