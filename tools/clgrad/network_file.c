/* network_file.c - what a model's file says of its network.
 *
 * Metadata: "network" is a name or a SPEC, "classes" the number of outputs, "input" the extents of an example ("image"
 * in files of version 0.1), "window" the height and width of the part of a picture that it sees; when known
 * "class_names", a JSON list of strings, "mean" and "std", numbers between commas, "answer", the column of a CSV file, with
 * "features", a JSON list of the columns that it is predicted from, and "task", which is "regression" or absent. */
#include "network.h"
#include "source.h"
#include "spec.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_ROOM = 20 };

/* "1,28,28", to be freed. */
static char *numbers_text(const float *value, int64_t count)
{
    const size_t size = (size_t)count * NUMBER_ROOM + 1;
    char        *text = malloc(size);
    size_t       used = 0;
    for (int64_t i = 0; text && i < count; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%.9g", i ? "," : "", (double)value[i]);
    return text;
}

/* ["a","b"], to be freed by cJSON_free. */
static char *names_text(const char *const *name, int count)
{
    cJSON *list = cJSON_CreateStringArray(name, count);
    char  *text = list ? cJSON_PrintUnformatted(list) : NULL;
    cJSON_Delete(list);
    return text;
}

clg_status network_save(const network *net, clg_model *model, const char *path)
{
    char classes[16], input[160] = "", window[48], *text[4] = {0};
    int  used = 0;
    snprintf(classes, sizeof classes, "%d", net->classes);
    for (int d = 0; d < net->input.rank; d++)
        used +=
            snprintf(input + used, sizeof input - (size_t)used, "%s%lld", d ? "," : "", (long long)net->input.dim[d]);
    clg_metadata meta[10] = {{"network", net->model}, {"classes", classes}, {"input", input}};
    size_t       count = 3;
    bool         enough = true;
    if (net->regression) meta[count++] = (clg_metadata){"task", "regression"};
    snprintf(window, sizeof window, "%lld,%lld", (long long)net->window.dim[0], (long long)net->window.dim[1]);
    if (net->window.rank) meta[count++] = (clg_metadata){"window", window};
    if (net->answer) meta[count++] = (clg_metadata){"answer", net->answer};
    const char *const *const list[] = {net->class_names, net->features};
    const float *const       value[] = {net->mean, net->std};
    for (int i = 0; i < 4; i++) {
        const int at = i % 2;
        if (i < 2 ? !list[at] : !value[at]) continue;
        text[i] = i < 2 ? names_text(list[at], at ? (int)net->input.dim[0] : net->classes)
                        : numbers_text(value[at], net->input.dim[0]);
        meta[count++] = (clg_metadata){((const char *[]){"class_names", "features", "mean", "std"})[i], text[i]};
        enough = enough && text[i];
    }
    clg_context *ctx = clg_model_context(model);
    const clg_status status = enough ? clg_model_save_with(model, path, meta, count)
                                     : clg_context_fail(ctx, CLG_OUT_OF_MEMORY, "out of memory");
    for (int i = 0; i < 4; i++) (i < 2 ? cJSON_free : free)(text[i]);
    return status;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static void *kept(clg_context *ctx, void *memory)
{
    if (memory && clg_context_own(ctx, memory, free)) return memory;
    free(memory);
    return NULL;
}

enum { NETWORK, CLASSES, INPUT, IMAGE, WINDOW, TASK, ANSWER, CLASS_NAMES, FEATURES, MEAN, STD, KEYS };
static const char *const keys[KEYS] = {"network", "classes",     "input",    "image", "window", "task",
                                       "answer",  "class_names", "features", "mean",  "std"};

typedef struct found {
    clg_context *ctx;
    const char  *value[KEYS]; /* "" when there is none */
} found;

static void keep(void *user, const char *key, const char *value)
{
    found *f = user;
    for (int k = 0; k < KEYS; k++)
        if (!strcmp(keys[k], key)) f->value[k] = kept(f->ctx, strdup(value));
}

bool network_extents(const char *text, clg_shape *shape)
{
    *shape = CLG_SCALAR;
    while (shape->rank < CLG_MAX_RANK - 1 && *text >= '0' && *text <= '9') {
        char           *end = NULL;
        const long long extent = strtoll(text, &end, 10);
        if (extent < 1 || extent > INT32_MAX) return false;
        shape->dim[shape->rank++] = extent;
        if (!*end) return clg_shape_count(*shape) > 0;
        if (*end != ',') return false;
        text = end + 1;
    }
    return false;
}

/* `count` numbers; *value is NULL when there is no text. */
static bool read_numbers(clg_context *ctx, const char *text, int64_t count, bool positive, const float **value)
{
    *value = NULL;
    if (!*text) return true;
    float *number = kept(ctx, calloc((size_t)count, sizeof *number));
    for (int64_t i = 0; number && i < count; i++) {
        char *end = NULL;
        number[i] = strtof(text, &end);
        if (end == text || !isfinite(number[i]) || (positive && number[i] <= 0.0f) || *end != (i + 1 < count ? ',' : 0))
            return false;
        text = end + 1;
    }
    *value = number;
    return number != NULL;
}

static void delete_json(void *json) { cJSON_Delete(json); }

/* A JSON list of `count` texts; *value is NULL when there is no text. */
static bool read_names(clg_context *ctx, const char *text, int64_t count, const char *const **value)
{
    *value = NULL;
    if (!*text) return true;
    cJSON       *list = cJSON_Parse(text);
    const char **name = kept(ctx, calloc((size_t)count, sizeof *name));
    bool         good = cJSON_IsArray(list) && name && cJSON_GetArraySize(list) == count;
    cJSON       *item = list ? list->child : NULL;
    for (int64_t i = 0; good && i < count; i++, item = item->next) {
        good = cJSON_IsString(item) && item->valuestring;
        name[i] = good ? item->valuestring : NULL;
    }
    if (list && !clg_context_own(ctx, list, delete_json)) good = false, cJSON_Delete(list);
    if (good) *value = name;
    return good;
}

static bool known(const char *model)
{
    spec      *s = network_find(model) ? NULL : spec_parse(model, strlen(model), NULL);
    const bool yes = s || network_find(model);
    free(s);
    return yes;
}

/* The key whose value is wrong, or KEYS. */
static int describe(const found *f, network *net)
{
    char end;
    *net = (network){.model = f->value[NETWORK], .regression = *f->value[TASK]};
    if (!known(net->model)) return NETWORK;
    if (sscanf(f->value[CLASSES], "%5d%c", &net->classes, &end) != 1 || net->classes < 1 ||
        net->classes > NETWORK_MAX_CLASSES)
        return CLASSES;
    const int input = *f->value[IMAGE] && !*f->value[INPUT] ? IMAGE : INPUT;
    if (!network_extents(f->value[input], &net->input)) return input;
    const int64_t *whole = net->input.dim, *part = net->window.dim;
    if (*f->value[WINDOW] && (!network_extents(f->value[WINDOW], &net->window) || net->window.rank != 2 ||
                              net->input.rank != 3 || part[0] > whole[1] || part[1] > whole[2]))
        return WINDOW;
    if (net->regression && strcmp(f->value[TASK], "regression")) return TASK;
    net->answer = *f->value[ANSWER] ? f->value[ANSWER] : NULL;
    if (!read_names(f->ctx, f->value[CLASS_NAMES], net->classes, &net->class_names)) return CLASS_NAMES;
    if (!read_names(f->ctx, f->value[FEATURES], net->input.dim[0], &net->features)) return FEATURES;
    if (!read_numbers(f->ctx, f->value[MEAN], net->input.dim[0], false, &net->mean)) return MEAN;
    return read_numbers(f->ctx, f->value[STD], net->input.dim[0], true, &net->std) ? KEYS : STD;
}

int network_open(const command *cmd, clg_context *ctx, const char *path, network *net)
{
    found f = {.ctx = ctx};
    for (int k = 0; k < KEYS; k++) f.value[k] = "";
    if (clg_file_metadata_each(ctx, path, keep, &f)) return fail_context(cmd, ctx);
    for (int k = 0; k < KEYS; k++)
        if (!f.value[k]) return fail(cmd, "out of memory");
    const int wrong = describe(&f, net);
    if (wrong == KEYS) return 0;
    if (*f.value[wrong])
        return fail(cmd, "%s: its metadata describe no network of clgrad: \"%s\" is \"%.100s\"", path, keys[wrong],
                    f.value[wrong]);
    return fail(cmd, "%s: its metadata describe no network of clgrad, as clgrad train writes them: \"%s\" is missing",
                path, keys[wrong]);
}
