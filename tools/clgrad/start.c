/* start.c - reads the values of --init-from, --freeze and --class-weights, and says what does not fit. */
#include "start.h"
#include "source.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The weights of a network that saw (x - mean) / std mean little to one that sees x. */
static void warn_of_scale(const command *cmd, clg_context *ctx, const char *path, bool normalized)
{
    char trained[2], mean[2];
    if (clg_file_metadata(ctx, path, "network", trained, sizeof trained) ||
        clg_file_metadata(ctx, path, "mean", mean, sizeof mean) || !*trained || !*mean == !normalized)
        return;
    warn(cmd, "--init-from %s: its network was trained %s --normalize, and this one is trained %s", path,
         *mean ? "with" : "without", normalized ? "with it" : "without");
}

int start_from(const command *cmd, clg_model *model, const char *path, bool normalized, FILE *said)
{
    const size_t count = clg_model_count(model);
    bool        *taken = calloc(count + 1, sizeof *taken);
    size_t       found = 0;
    if (!taken) return fail(cmd, "out of memory");
    int status = clg_model_load_fitting(model, path, taken) ? fail_context(cmd, clg_model_context(model)) : 0;
    for (size_t i = 0; i < count; i++) found += taken[i];
    if (!status && !found)
        status = fail(cmd, "--init-from %s: no parameter of the network is there in its shape", path);
    if (!status) {
        warn_of_scale(cmd, clg_model_context(model), path, normalized);
        fprintf(said, "%s: %zu of %zu parameters taken", path, found, count);
        for (size_t i = 0, told = 0; i < count; i++)
            if (!taken[i]) fprintf(said, "%s%s", told++ ? ", " : "; new: ", clg_model_name(model, i));
        fputc('\n', said);
    }
    free(taken);
    return status;
}

int start_freeze(const command *cmd, clg_model *model, const char *layers)
{
    const char *all = layers;
    size_t      learnt = 0;
    while (*layers) {
        char         layer[256];
        const size_t length = strcspn(layers, ",");
        if (!length || length >= sizeof layer)
            return usage(cmd, "--freeze takes layers as conv1,fc1, not '%s'", layers);
        memcpy(layer, layers, length);
        layer[length] = 0;
        if (!clg_model_freeze(model, layer)) return usage(cmd, "--freeze %s: the network has no such layer", layer);
        layers += length + (layers[length] == ',');
    }
    for (size_t i = 0; i < clg_model_count(model); i++)
        learnt += !clg_model_is_state(model, i) && !clg_model_is_frozen(model, i);
    return learnt ? 0 : usage(cmd, "--freeze %s: these are all layers that learn; leave one of them out", all);
}

static int balanced(const command *cmd, clg_context *ctx, clg_dataset *data, int classes, float *weight)
{
    const size_t count = (size_t)clg_dataset_count(data);
    int32_t     *label = calloc(count + 1, sizeof *label);
    int64_t      of[NETWORK_MAX_CLASSES] = {0};
    if (!label) return fail(cmd, "out of memory");
    const bool read = clg_dataset_labels(data, label, count) == CLG_OK;
    for (size_t i = 0; read && i < count; i++) of[label[i]]++;
    for (int c = 0; c < classes; c++)
        weight[c] = of[c] ? (float)((double)count / ((double)classes * (double)of[c])) : 0.0f;
    free(label);
    return read ? 0 : fail_context(cmd, ctx);
}

int start_class_weights(const command *cmd, clg_context *ctx, const char *text, clg_dataset *data, int classes,
                        float *weight)
{
    if (!strcmp(text, "balanced")) return balanced(cmd, ctx, data, classes, weight);
    const char *at = text;
    bool        any = false, good = true;
    int         count = 0;
    for (; good && *at; count++) {
        char       *end = NULL;
        const float value = strtof(at, &end);
        good = end != at && (*end == ',' || !*end) && isfinite(value) && value >= 0.0f && !(*end == ',' && !end[1]);
        if (good && count < classes) weight[count] = value;
        any = any || value > 0.0f;
        at = end + (*end == ',');
    }
    if (!good || !any)
        return usage(cmd, "--class-weights takes balanced or numbers from 0 on such as 1,2.5, not '%s'", text);
    if (count != classes) return usage(cmd, "--class-weights %s: %d numbers for %d classes", text, count, classes);
    return 0;
}
