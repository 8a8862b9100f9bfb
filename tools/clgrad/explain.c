/* explain.c - clgrad explain: which pixels speak for a class, by integrated gradients (Sundararajan, Taly & Yan 2017).
 *
 * With x the picture, f the class's score before softmax, and black as what x is compared with,
 *     a = x * mean over k < steps of df/dx at x (k + 1/2) / steps
 *
 * and sum(a) is about f(x) - f(black), the better the more steps.
 * The file shows the picture and, beside it, the sum of a over the channels: red speaks for the class, blue against
 * it. */
#include "network.h"
#include "report.h"
#include "source.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct explain_options {
    const char *model, *image, *out, *class, *device;
    int64_t     steps;
    bool        json;
} explain_options;

#define FIELD(name) offsetof(explain_options, name)

static const option options[] = {
    OPTION_MODEL_ROW(FIELD(model)),
    {"image", OPTION_ARGUMENT, FIELD(image), "IMAGE", "a PNG or JPEG file", 0, 0},
    {"out", OPTION_TEXT, FIELD(out), "FILE", "the PNG to write", 0, 'o'},
    {"class", OPTION_TEXT, FIELD(class), "CLASS", "which to explain, by name or number (default: the likeliest)", 0, 0},
    {"steps", OPTION_COUNT, FIELD(steps), "N", "of the integration (default 32)", 4096, 0},
    OPTION_DEVICE_ROW(FIELD(device)),
    OPTION_JSON_ROW(FIELD(json)),
    {0},
};

typedef struct explanation {
    network  net;
    int64_t  pixels; /* of all channels */
    uint8_t *bytes;
    float   *value;  /* inputs of a run, then what it gives */
    float   *score;  /* of every class for the picture, then for black */
    float   *share;  /* a */
    int      class;
} explanation;

/* The scores, and the class when none is chosen. */
static bool score(explanation *e, clg_model *model, const explain_options *o)
{
    clg_context *ctx = clg_model_context(model);
    clg_graph   *g = clg_graph_create(ctx, NULL);
    clg_tensor  *x = network_input(g, &e->net, 2), *y = network_build(&e->net, model, x);
    clg_plan    *plan = clg_plan_create(y);
    if (clg_context_failed(ctx) || clg_model_load(model, o->model)) return false;
    for (int64_t i = 0; i < e->pixels; i++) e->value[i] = (float)e->bytes[i] / 255.0f, e->value[e->pixels + i] = 0.0f;
    clg_tensor_write(x, e->value, 2 * (size_t)e->pixels * sizeof *e->value);
    clg_plan_run(plan);
    if (clg_tensor_read(y, e->score, 2 * (size_t)e->net.classes * sizeof *e->score)) return false;
    for (int c = 1; !o->class && c < e->net.classes; c++)
        if (e->score[c] > e->score[e->class]) e->class = c;
    return true;
}

static bool integrate(explanation *e, clg_model *model, int64_t steps)
{
    clg_context *ctx = clg_model_context(model);
    clg_graph   *g = clg_graph_create(ctx, NULL);
    clg_tensor  *x = network_input(g, &e->net, steps), *dx = NULL;
    clg_tensor  *chosen = clg_slice(network_build(&e->net, model, x), 1, e->class, e->class + 1, 1);
    if (clg_gradients(clg_sum(chosen, NULL), &x, 1, &dx)) return false;
    clg_tensor *mean = clg_mean(dx, &(clg_reduce_desc){.axes = {0}, .count = 1});
    clg_plan   *plan = clg_plan_create(mean);
    for (int64_t k = 0; k < steps; k++)
        for (int64_t i = 0; i < e->pixels; i++)
            e->value[k * e->pixels + i] = (float)e->bytes[i] / 255.0f * (((float)k + 0.5f) / (float)steps);
    clg_tensor_write(x, e->value, (size_t)(steps * e->pixels) * sizeof *e->value);
    clg_plan_run(plan);
    if (clg_tensor_read(mean, e->share, (size_t)e->pixels * sizeof *e->share)) return false;
    for (int64_t i = 0; i < e->pixels; i++) e->share[i] *= (float)e->bytes[i] / 255.0f;
    return !clg_context_failed(ctx);
}

/* By its name or, when no class is called that, by its number; -1: neither. */
static int find_class(const network *net, const char *text)
{
    int  number = -1;
    char end;
    for (int c = 0; net->class_names && c < net->classes; c++)
        if (!strcmp(net->class_names[c], text)) return c;
    return sscanf(text, "%5d%c", &number, &end) == 1 && number >= 0 && number < net->classes ? number : -1;
}

/* ---- the picture ------------------------------------------------------------------------------------------------- */

enum { SIDE = 256, GAP = 8 }; /* small pictures are enlarged to about that */

/* [3][height k][2 width k + GAP], each pixel k x k. */
static int draw(const explanation *e, clg_context *ctx, const char *path)
{
    const int64_t *d = e->net.input.dim, plane = d[1] * d[2], longest = d[1] > d[2] ? d[1] : d[2];
    const int64_t  k = longest < SIDE ? SIDE / longest : 1, height = d[1] * k, width = 2 * d[2] * k + GAP;
    uint8_t       *out = malloc((size_t)(3 * height * width));
    float          most = 0.0f;
    if (!out) return fail(&command_explain, "out of memory");
    memset(out, 128, (size_t)(3 * height * width));
    for (int pass = 0; pass < 2; pass++)
        for (int64_t i = 0; i < plane; i++) {
            float sum = 0.0f;
            for (int64_t c = 0; c < d[0]; c++) sum += e->share[c * plane + i];
            if (pass == 0) {
                most = fmaxf(most, fabsf(sum));
                continue;
            }
            const float   strength = most > 0.0f ? fabsf(sum) / most : 0.0f;
            const uint8_t pale = (uint8_t)(255.0f * (1.0f - strength) + 0.5f);
            const uint8_t colour[3] = {sum >= 0.0f ? 255 : pale, pale, sum <= 0.0f ? 255 : pale};
            for (int64_t at = 0; at < 3 * k * k; at++) {
                const int64_t c = at / (k * k), y = i / d[2] * k + at / k % k, x = i % d[2] * k + at % k;
                uint8_t      *row = out + (c * height + y) * width;
                row[x] = e->bytes[(d[0] == 3 ? c : 0) * plane + i];
                row[x + d[2] * k + GAP] = colour[c];
            }
        }
    const clg_status status = clg_image_write(ctx, path, CLG_SHAPE(3, height, width), out);
    free(out);
    return status ? fail_context(&command_explain, ctx) : 0;
}

static int print(const explain_options *o, const explanation *e)
{
    double     sum = 0.0;
    const char *name = e->net.class_names ? e->net.class_names[e->class] : NULL;
    for (int64_t i = 0; i < e->pixels; i++) sum += (double)e->share[i];
    if (!o->json) {
        if (name) printf("%s: %s", o->image, name);
        else printf("%s: class %d", o->image, e->class);
        printf(", score %.4f, %.4f for black; the pixels' shares sum to %.4f\nsaved %s\n", (double)e->score[e->class],
               (double)e->score[e->net.classes + e->class], sum, o->out);
        return 0;
    }
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "image", o->image);
    cJSON_AddNumberToObject(object, "class", e->class);
    if (name) cJSON_AddStringToObject(object, "name", name);
    cJSON_AddNumberToObject(object, "score", (double)e->score[e->class]);
    cJSON_AddNumberToObject(object, "black", (double)e->score[e->net.classes + e->class]);
    cJSON_AddNumberToObject(object, "sum", sum);
    cJSON_AddStringToObject(object, "out", o->out);
    return report_json(&command_explain, object);
}

static int explain_with(const explain_options *o, clg_context *ctx, explanation *e)
{
    const command  *cmd = &command_explain;
    const clg_shape in = e->net.input;
    char            shape[128];
    if (in.rank != 3 || (in.dim[0] != 1 && in.dim[0] != 3) || e->net.regression)
        return fail(cmd, "%s takes %s and does not tell pictures' classes", o->model,
                    clg_shape_text(in, shape, sizeof shape));
    if (o->class) e->class = find_class(&e->net, o->class);
    if (e->class < 0)
        return fail(cmd, "--class: %s knows %d classes, and none is %s", o->model, e->net.classes, o->class);
    e->pixels = clg_shape_count(in);
    const size_t pixels = (size_t)e->pixels, runs = o->steps > 2 ? (size_t)o->steps : 2;
    e->bytes = malloc(pixels);
    e->value = calloc(runs * pixels, sizeof *e->value);
    e->share = calloc(pixels, sizeof *e->share);
    e->score = calloc(2 * (size_t)e->net.classes, sizeof *e->score);
    if (!e->bytes || !e->value || !e->share || !e->score)
        return fail(cmd, "%s takes %s: no memory for %zu of them", o->model, clg_shape_text(in, shape, sizeof shape),
                    runs);
    clg_model *model = clg_model_create(ctx, NULL);
    if (clg_image_read(ctx, o->image, in, e->bytes) || !score(e, model, o) || !integrate(e, model, o->steps))
        return fail_context(cmd, ctx);
    const int status = draw(e, ctx, o->out);
    return status ? status : print(o, e);
}

static int run(int argc, char **argv)
{
    explain_options o = {.steps = 32};
    if (!options_parse(&command_explain, argc, argv, &o)) return EXIT_USAGE;
    if (!o.out) return usage(&command_explain, "--out FILE is missing");
    if (same_file(o.out, o.model) || same_file(o.out, o.image))
        return usage(&command_explain, "--out %s is the model or the picture", o.out);
    clg_context *ctx = clg_context_create(&(clg_context_desc){.device = o.device});
    explanation  e = {0};
    int status = clg_context_failed(ctx) ? fail_context(&command_explain, ctx)
                                         : network_open(&command_explain, ctx, o.model, &e.net);
    if (!status) status = explain_with(&o, ctx, &e);
    free(e.bytes);
    free(e.value);
    free(e.share);
    free(e.score);
    clg_context_destroy(&ctx);
    return status;
}

const command command_explain = {
    "explain", "Draw which pixels of a picture speak for its class", options, run,
    "By integrated gradients (Sundararajan, Taly & Yan 2017), compared with a black picture. The file shows the "
    "picture and, beside it, red where it speaks for the class, blue where against.",
    "  clgrad explain cnn.safetensors shirt.png -o why.png\n"
    "  clgrad explain cnn.safetensors shirt.png -o why.png --class Coat --steps 128\n",
};
