/* dataset.c - examples and their answers on the device.
 *
 * A data set is a small graph of its own: the examples as a state of bytes or float32 [count, ...], the answers as a
 * state of int32 [count] or float32 [count, outputs]. What the loader copies out of them is in loader.c. A part has no
 * states of its own: it shares those of its base and knows which rows are its own, by a rule and not by a list.
 *
 * Graph and plans are the context's own objects. When the context ends it destroys them itself, the plans before the
 * data set and the graph after it; so the object's destructor frees host memory only, clg_dataset_destroy the rest. */
#include "data/dataset.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void dataset_free(clg__object *object)
{
    clg_dataset *data = (clg_dataset *)object;
    if (!data->base) {
        free(data->names);
        free(data->features);
        free(data->kept);
        free(data->lines);
        free(data->host);
    }
    free(data->feeds);
    free(data->rows);
    free(data);
}

void clg_dataset_destroy(clg_dataset **data)
{
    if (!data || !*data) return;
    clg__feeds_destroy(*data);
    clg_graph_destroy(&(*data)->graph);
    clg__destroy(&(*data)->object);
    *data = NULL;
}

/* ---- making one ------------------------------------------------------------------------------------------------- */

static clg_status check(clg__root *root, const clg_dataset_desc *d)
{
    char text[128];
    if (d->shape.rank < 1 || clg_shape_count(d->shape) < 1)
        return clg__fail(root, CLG_INVALID_SHAPE, "data set: %s is not a shape of examples [count, ...]",
                         clg_shape_text(d->shape, text, sizeof text));
    if (d->shape.dim[0] > INT32_MAX)
        return clg__fail(root, CLG_UNSUPPORTED, "data set: %lld examples, and an index has 32 bits",
                         (long long)d->shape.dim[0]);
    if (!d->examples || (!d->labels && !d->targets))
        return clg__fail(root, CLG_INVALID_ARGUMENT, "data set: no %s given", d->examples ? "labels" : "examples");
    if (d->labels && d->targets) return clg__fail(root, CLG_INVALID_ARGUMENT, "data set: labels and targets given");
    if (d->dtype != CLG_F32 && d->dtype != CLG_U8)
        return clg__fail(root, CLG_UNSUPPORTED, "data set: examples must be f32 or u8, not %s",
                         clg_dtype_name(d->dtype));
    int64_t values = 0;
    if (d->outputs < 0 || d->classes < 0 || clg__mul_overflows(d->shape.dim[0], CLG__MAX(d->outputs, 1), &values))
        return clg__fail(root, CLG_INVALID_ARGUMENT, "data set: %lld outputs and %lld classes", (long long)d->outputs,
                         (long long)d->classes);
    if (d->names && !d->classes) return clg__fail(root, CLG_INVALID_ARGUMENT, "data set: names of 0 classes given");
    for (int64_t i = 0; d->labels && i < d->shape.dim[0]; i++) {
        if (d->classes && d->labels[i] >= d->classes)
            return clg__fail(root, CLG_INVALID_ARGUMENT,
                             "data set: label %lld is %d, and there are %lld classes from 0", (long long)i,
                             d->labels[i], (long long)d->classes);
        if (d->labels[i] < 0)
            return clg__fail(root, CLG_INVALID_ARGUMENT, "data set: label %lld is %d: labels count from 0",
                             (long long)i, d->labels[i]);
    }
    return CLG_OK;
}

char **clg__names_copy(clg__root *root, const char *const *names, size_t count)
{
    size_t size = count * sizeof(char *);
    for (size_t i = 0; i < count; i++) size += (names[i] ? strlen(names[i]) : 0) + 1;
    char **copy = clg__calloc(root, size, 1), *text = (char *)(copy + count);
    for (size_t i = 0; copy && i < count; i++, text += strlen(text) + 1)
        copy[i] = strcpy(text, names[i] ? names[i] : "");
    return copy;
}

static clg_status fill(clg_dataset *data, const clg_dataset_desc *d)
{
    clg__root   *root = (clg__root *)data->ctx;
    const size_t count = (size_t)data->count, bytes = 4 * count * (d->labels ? 1 : (size_t)data->outputs);
    data->kept = clg__calloc(root, bytes, 1);
    data->names = d->labels && d->names ? clg__names_copy(root, d->names, (size_t)d->classes) : NULL;
    if (!data->kept || (d->labels && d->names && !data->names)) return CLG_OUT_OF_MEMORY;
    memcpy(data->kept, d->labels ? (const void *)d->labels : d->targets, bytes);
    for (size_t i = 0; d->labels && i < count; i++) data->classes = CLG__MAX(data->classes, (int64_t)d->labels[i] + 1);
    const clg_status status = clg_tensor_write(data->answers, data->kept, bytes);
    if (status) return status;
    const size_t whole = (size_t)clg_shape_count(data->shape) * clg_dtype_size(d->dtype);
    if (data->examples) return clg_tensor_write(data->examples, d->examples, whole);
    data->host = clg__calloc(root, whole, 1);
    if (data->host) memcpy(data->host, d->examples, whole);
    return data->host ? CLG_OK : CLG_OUT_OF_MEMORY;
}

static clg_dataset *adopt(clg_context *ctx)
{
    clg__root   *root = (clg__root *)ctx;
    clg_graph   *graph = clg_graph_create(ctx, NULL); /* before the data set is adopted: it has to outlive it */
    clg_dataset *data = graph ? clg__calloc(root, 1, sizeof *data) : NULL;
    if (!data) {
        clg_graph_destroy(&graph);
        return NULL;
    }
    clg__adopt(root, &data->object, dataset_free);
    data->ctx = ctx;
    data->graph = graph;
    return data;
}

static bool must_stream(clg_context *ctx, const clg_dataset_desc *d)
{
    const char            *asked = getenv("CLGRAD_STREAM");
    const clg_device_info *device = clg_context_device(ctx);
    const uint64_t         held = clg_context_counters(ctx).bytes_allocated;
    const uint64_t         bytes = (uint64_t)clg_shape_count(d->shape) * clg_dtype_size(d->dtype);
    return d->stream || (asked && !strcmp(asked, "1")) || (device->max_allocation && bytes > device->max_allocation) ||
           (device->memory && (held > device->memory || bytes > (device->memory - held) / 2));
}

clg_dataset *clg_dataset_create_from(clg_context *ctx, const clg_dataset_desc *desc)
{
    if (clg_context_failed(ctx)) return NULL;
    const clg_dataset_desc d = desc ? *desc : (clg_dataset_desc){0};
    if (check((clg__root *)ctx, &d)) return NULL;
    clg_dataset *data = adopt(ctx);
    if (!data) return NULL;
    data->shape = d.shape;
    data->count = data->most = d.shape.dim[0];
    data->outputs = d.labels ? 0 : CLG__MAX(d.outputs, 1);
    data->classes = d.labels ? d.classes : 0;
    data->dtype = d.dtype;
    const bool stream = must_stream(ctx, &d);
    data->examples = stream ? NULL : clg_tensor_named(clg_state(data->graph, d.dtype, d.shape), "examples");
    data->answers = d.labels ? clg_state(data->graph, CLG_I32, CLG_SHAPE(data->count))
                             : clg_state(data->graph, CLG_F32, CLG_SHAPE(data->count, data->outputs));
    clg_tensor_named(data->answers, d.labels ? "labels" : "targets");
    if ((!data->examples && !stream) || !data->answers || fill(data, &d)) clg_dataset_destroy(&data);
    return data;
}

clg_dataset *clg_dataset_create(clg_context *ctx, clg_shape shape, const uint8_t *images, const uint8_t *labels)
{
    clg__root *root = (clg__root *)ctx;
    if (clg_context_failed(ctx)) return NULL;
    char text[128];
    if (shape.rank != 4 || clg_shape_count(shape) < 1) {
        clg__fail(root, CLG_INVALID_SHAPE, "data set: %s is not a shape of images [count, channels, height, width]",
                  clg_shape_text(shape, text, sizeof text));
        return NULL;
    }
    clg_dataset_desc d = {.dtype = CLG_U8, .shape = shape, .examples = images};
    int32_t         *wide = NULL;
    if (images && labels && shape.dim[0] <= INT32_MAX) {
        wide = clg__calloc(root, (size_t)shape.dim[0], sizeof *wide);
        if (!wide) return NULL;
        for (int64_t i = 0; i < shape.dim[0]; i++) wide[i] = labels[i];
    }
    d.labels = shape.dim[0] > INT32_MAX ? (const int32_t *)&d : wide; /* refused before it is read */
    clg_dataset *data = clg_dataset_create_from(ctx, &d);
    free(wide);
    return data;
}

clg_dataset *clg_dataset_part(clg_dataset *data, const clg_part_desc *desc)
{
    if (!data || clg_context_failed(data->ctx)) return NULL;
    const clg_part_desc d = desc ? *desc : (clg_part_desc){.end = data->count};
    if (d.begin < 0 || d.begin >= d.end || d.begin >= data->count || d.end - data->count > d.begin) {
        clg__fail((clg__root *)data->ctx, CLG_INVALID_ARGUMENT, "data set: %lld to %lld is no part of %lld examples",
                  (long long)d.begin, (long long)d.end, (long long)data->count);
        return NULL;
    }
    clg_dataset *part = adopt(data->ctx);
    if (!part) return NULL;
    part->base = data;
    part->shape = data->shape;
    part->count = part->most = d.end - d.begin;
    part->classes = data->classes;
    part->outputs = data->outputs;
    part->names = data->names;
    part->features = data->features;
    part->kept = data->kept;
    part->lines = data->lines;
    part->shuffled = d.shuffle;
    part->order = clg__shuffle_begin((uint32_t)data->count, d.seed);
    part->first = d.begin;
    part->around = data->count;
    part->dtype = data->dtype;
    part->host = data->host;
    part->examples = data->host ? NULL : clg_share(part->graph, data->examples);
    part->answers = clg_share(part->graph, data->answers);
    if ((!part->examples && !part->host) || !part->answers) clg_dataset_destroy(&part);
    return part;
}

void clg_dataset_limit(clg_dataset *data, int64_t count)
{
    if (!data) return;
    if (count < 1) {
        clg__fail((clg__root *)data->ctx, CLG_INVALID_ARGUMENT, "data set: cannot be limited to %lld examples",
                  (long long)count);
        return;
    }
    data->count = CLG__MIN(count, data->most);
}

/* ---- asking about one ------------------------------------------------------------------------------------------- */

int64_t clg__dataset_row(const clg_dataset *data, int64_t place)
{
    for (; data->base; data = data->base) {
        place = (place + data->first) % data->around;
        if (data->shuffled) place = clg__shuffle_at(&data->order, (uint32_t)place);
    }
    return place;
}

bool    clg_dataset_streams(const clg_dataset *data) { return data && data->host; }
int64_t clg_dataset_count(const clg_dataset *data) { return data ? data->count : 0; }
int64_t clg_dataset_classes(const clg_dataset *data) { return data ? data->classes : 0; }
int64_t clg_dataset_outputs(const clg_dataset *data) { return data ? data->outputs : 0; }

const char *clg_dataset_class_name(const clg_dataset *data, int64_t label)
{
    return data && data->names && label >= 0 && label < data->classes ? data->names[label] : NULL;
}

const char *clg_dataset_feature_name(const clg_dataset *data, int64_t feature)
{
    return data && data->features && feature >= 0 && feature < data->shape.dim[1] ? data->features[feature] : NULL;
}

int64_t clg_dataset_line(const clg_dataset *data, int64_t example)
{
    if (!data || !data->lines || example < 0 || example >= data->count) return 0;
    return (int64_t)data->lines[clg__dataset_row(data, example)];
}

clg_shape clg_dataset_shape(const clg_dataset *data)
{
    if (!data) return CLG_SCALAR;
    clg_shape shape = data->shape;
    shape.dim[0] = data->count;
    return shape;
}

clg_status clg_dataset_labels(clg_dataset *data, int32_t *label, size_t count)
{
    if (!data) return CLG_INVALID_ARGUMENT;
    if (!label || count != (size_t)data->count || data->outputs)
        return clg__fail((clg__root *)data->ctx, CLG_INVALID_ARGUMENT, "data set: %lld labels asked into room for %zu",
                         (long long)(data->outputs ? 0 : data->count), label ? count : 0);
    for (size_t i = 0; i < count; i++) label[i] = ((const int32_t *)data->kept)[clg__dataset_row(data, (int64_t)i)];
    return CLG_OK;
}

clg_status clg_dataset_targets(clg_dataset *data, float *target, size_t count)
{
    if (!data) return CLG_INVALID_ARGUMENT;
    const size_t outputs = (size_t)data->outputs;
    if (!target || count != (size_t)data->count * outputs || !outputs)
        return clg__fail((clg__root *)data->ctx, CLG_INVALID_ARGUMENT, "data set: %zu targets asked into room for %zu",
                         (size_t)data->count * outputs, target ? count : 0);
    for (size_t i = 0; i < (size_t)data->count; i++)
        memcpy(target + i * outputs, (const float *)data->kept + (size_t)clg__dataset_row(data, (int64_t)i) * outputs,
               outputs * sizeof *target);
    return CLG_OK;
}

/* Two passes in double: the sum of squares about the mean loses nothing where the mean is large. */
static void moments(const clg_dataset *data, const void *examples, int64_t groups, float *mean, float *deviation)
{
    const int64_t row = clg_shape_count(data->shape) / data->shape.dim[0], run = row / groups;
    const float  *floats = data->dtype == CLG_F32 ? examples : NULL;
    const uint8_t *bytes = examples;
    for (int64_t g = 0; g < groups; g++) {
        const double n = (double)data->count * (double)run;
        double       centre = 0.0, sum = 0.0;
        for (int pass = 0; pass < 2; pass++) {
            for (int64_t i = 0; i < data->count; i++) {
                const int64_t at = clg__dataset_row(data, i) * row + g * run;
                double        part = 0.0;
                for (int64_t k = 0; k < run; k++) {
                    const double v = (floats ? (double)floats[at + k] : bytes[at + k] / 255.0) - centre;
                    part += pass ? v * v : v;
                }
                sum += part;
            }
            if (pass == 0) centre = sum / n, sum = 0.0;
        }
        mean[g] = (float)centre;
        deviation[g] = (float)sqrt(sum / n);
    }
}

/* All examples in memory; *owned is to be freed. NULL when that fails. */
static const void *examples_of(clg_dataset *data, void **owned)
{
    *owned = NULL;
    if (data->host) return data->host;
    const size_t bytes = (size_t)clg_tensor_count(data->examples) * clg_dtype_size(data->dtype);
    *owned = clg__calloc((clg__root *)data->ctx, bytes, 1);
    if (*owned && clg_tensor_read(data->examples, *owned, bytes)) free(*owned), *owned = NULL;
    return *owned;
}

clg_status clg_dataset_moments(clg_dataset *data, float *mean, float *deviation)
{
    if (!data || !mean || !deviation) return CLG_INVALID_ARGUMENT;
    if (clg_context_failed(data->ctx)) return clg_context_status(data->ctx);
    const int64_t groups = data->shape.rank > 1 ? data->shape.dim[1] : 1;
    void         *owned;
    const void   *examples = examples_of(data, &owned);
    if (examples) moments(data, examples, groups, mean, deviation);
    free(owned);
    return clg_context_status(data->ctx);
}

clg_status clg_dataset_checksum(clg_dataset *data, uint64_t *sum)
{
    if (!data || !sum) return CLG_INVALID_ARGUMENT;
    if (clg_context_failed(data->ctx)) return clg_context_status(data->ctx);
    const size_t row = (size_t)(clg_shape_count(data->shape) / data->shape.dim[0]) * clg_dtype_size(data->dtype);
    const size_t answer = 4 * (size_t)CLG__MAX(data->outputs, 1);
    void        *owned;
    const char  *examples = examples_of(data, &owned);
    *sum = 0;
    for (int64_t i = 0; examples && i < data->count; i++) {
        const size_t at = (size_t)clg__dataset_row(data, i);
        *sum = clg_hash(*sum, examples + at * row, row);
        *sum = clg_hash(*sum, (const char *)data->kept + at * answer, answer);
    }
    free(owned);
    return clg_context_status(data->ctx);
}
