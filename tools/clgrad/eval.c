/* eval.c - clgrad eval: loss and accuracy of a saved model on the test data. */
#include "options.h"
#include "pass.h"
#include "report.h"
#include "source.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct eval_options {
    const char *model, *data, *label, *target, *device;
    int64_t     batch;
    bool        json;
} eval_options;

#define FIELD(name) offsetof(eval_options, name)

static const option options[] = {
    OPTION_MODEL_ROW(FIELD(model)),
    {"data", OPTION_TEXT, FIELD(data), "DATA", SOURCE_HELP, 0, 0},
    {"label", OPTION_TEXT, FIELD(label), "COLUMN", "of a CSV file (default: what the model was trained on)", 0, 0},
    {"target", OPTION_TEXT, FIELD(target), "COLUMN", "likewise, of numbers", 0, 0},
    {"batch", OPTION_COUNT, FIELD(batch), "N", "examples at once (default 128)", INT32_MAX, 0},
    OPTION_DEVICE_ROW(FIELD(device)),
    OPTION_JSON_ROW(FIELD(json)),
    {0},
};

static int print(const eval_options *o, const network *net, pass *p, double loss, double accuracy)
{
    if (!o->json) {
        if (net->regression)
            printf("%s (%s): loss %.4f, R^2 %.4f of %lld examples\n", o->model, net->model, loss, accuracy,
                   (long long)p->seen);
        else
            printf("%s (%s): loss %.4f, accuracy %.2f%% of %lld %s\n", o->model, net->model, loss, 100.0 * accuracy,
                   (long long)p->seen, network_word(net));
        return 0;
    }
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "model", o->model);
    cJSON_AddStringToObject(object, "network", net->model);
    cJSON_AddNumberToObject(object, "examples", (double)p->seen);
    cJSON_AddNumberToObject(object, "loss", loss);
    cJSON_AddNumberToObject(object, net->regression ? "r2" : "accuracy", accuracy);
    return report_json(&command_eval, object);
}

static int eval(const eval_options *o, clg_context *ctx)
{
    if (clg_context_failed(ctx)) return fail_context(&command_eval, ctx);
    network   net;
    const int described = network_open(&command_eval, ctx, o->model, &net);
    if (described) return described;

    source src = {.data = o->data, .label = o->label, .target = o->target, .names = net.class_names,
                  .classes = net.class_names ? net.classes : 0, .answer = net.answer, .image = net.input,
                  .features = net.features, .feature_count = net.input.dim[0],
                  .regression = net.regression};
    if (!source_check(&command_eval, &src)) return EXIT_USAGE;
    clg_dataset *data = source_open_test(&command_eval, ctx, &src);
    if (!data) return EXIT_RUN;
    char error[512];
    if (!network_fits(&net, data, "test", error, sizeof error)) return fail(&command_eval, "%s: %s", o->data, error);
    const int64_t count = clg_dataset_count(data);
    if (count < 1) return fail(&command_eval, "%s has no test examples", o->data);

    clg_model *model = clg_model_create(ctx, NULL);
    pass       p = pass_eval(&net, model, data, o->batch < count ? o->batch : count);
    if (clg_context_failed(ctx) || clg_model_load(model, o->model)) return fail_context(&command_eval, ctx);
    double loss, accuracy;
    pass_look(&p, &loss, &accuracy);
    if (clg_context_failed(ctx)) return fail_context(&command_eval, ctx);
    return print(o, &net, &p, loss, accuracy);
}

static int run(int argc, char **argv)
{
    eval_options o = {.data = "fashion-mnist", .batch = 128};
    if (!options_parse(&command_eval, argc, argv, &o)) return EXIT_USAGE;
    clg_context *ctx = clg_context_create(&(clg_context_desc){.device = o.device});
    const int    status = eval(&o, ctx);
    clg_context_destroy(&ctx);
    return status;
}

const command command_eval = {
    "eval", "Loss and accuracy of a saved model on the test data", options, run,
    "Data that have no test part are measured as a whole. Of a regression, R^2 takes the place of the accuracy.",
    "  clgrad eval cnn.safetensors --data fashion-mnist\n"
    "  clgrad eval prices.safetensors --data prices.csv --json\n",
};
