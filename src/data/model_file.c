/* model_file.c - models to and from safetensors files.
 *
 * The header is the metadata, then the parameters in the model's order, padded with spaces to a multiple of 8 bytes; nothing
 * in it depends on time or place. Loading checks everything before it changes the model. */
#include "base/base.h"
#include "base/file.h"
#include "data/safetensors.h"
#include <clgrad/io.h>
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- saving ----------------------------------------------------------------------------------------------------- */

/* The JSON of the header; NULL when out of memory. */
static char *header_json(const clg_model *model, const clg_metadata *meta, size_t count)
{
    cJSON *json = cJSON_CreateObject();
    bool good = json != NULL;
    cJSON *object = good && count ? cJSON_AddObjectToObject(json, "__metadata__") : NULL;
    for (size_t i = 0; good && i < count; i++)
        good = cJSON_AddStringToObject(object, meta[i].key, meta[i].value) != NULL;

    int64_t at = 0;
    for (size_t i = 0; good && i < clg_model_count(model); i++) {
        const clg_shape shape = clg_model_shape(model, i);
        const int64_t end = at + 4 * clg_shape_count(shape);
        object = cJSON_AddObjectToObject(json, clg_model_name(model, i));
        good = object && cJSON_AddStringToObject(object, "dtype", "F32");
        cJSON *extents = cJSON_AddArrayToObject(object, "shape");
        for (int d = 0; good && d < shape.rank; d++)
            good = cJSON_AddItemToArray(extents, cJSON_CreateNumber((double)shape.dim[d]));
        cJSON *offsets = cJSON_AddArrayToObject(object, "data_offsets");
        good = good && cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)at)) &&
               cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)end));
        at = end;
    }
    char *text = good ? cJSON_PrintUnformatted(json) : NULL;
    cJSON_Delete(json);
    return text;
}

/* The whole file in memory, *bytes the caller's to free. */
static clg_status compose(clg__root *root, clg_model *model, const char *json, uint8_t **bytes, size_t *size)
{
    const size_t length = strlen(json), header = (length + 7) / 8 * 8, count = clg_model_count(model);
    size_t total = 0, largest = 1;
    for (size_t i = 0; i < count; i++) {
        const size_t n = (size_t)clg_shape_count(clg_model_shape(model, i));
        total += n;
        largest = CLG__MAX(largest, n);
    }
    *size = CLG__SAFETENSORS_PREFIX + header + sizeof(float) * total;
    *bytes = malloc(*size);
    float *value = malloc(largest * sizeof *value);
    clg_status status = CLG_OK;
    if (!*bytes || !value) {
        status = clg__report(root, CLG_OUT_OF_MEMORY, "no memory for a file of %zu bytes", *size);
    } else {
        for (int i = 0; i < CLG__SAFETENSORS_PREFIX; i++) (*bytes)[i] = (uint8_t)((uint64_t)header >> 8 * i);
        uint8_t *at = *bytes + CLG__SAFETENSORS_PREFIX;
        memset(at, ' ', header);
        memcpy(at, json, length);
        at += header;
        for (size_t i = 0; !status && i < count; i++) {
            const size_t n = (size_t)clg_shape_count(clg_model_shape(model, i));
            status = clg_model_read(model, i, value, n);
            if (!status) clg__safetensors_encode(value, at, n);
            at += n * sizeof *value;
        }
    }
    free(value);
    return status;
}

static clg_status save(clg__root *root, clg_model *model, const char *path, const char *json)
{
    clg_status status = clg__file_may_replace(root, path);
    uint8_t   *bytes = NULL;
    size_t     size = 0;
    if (!status) status = compose(root, model, json, &bytes, &size);
    if (!status) status = clg__file_replace(root, path, bytes, size);
    free(bytes);
    return status;
}

clg_status clg_model_save(clg_model *model, const char *path)
{
    return clg_model_save_with(model, path, NULL, 0);
}

clg_status clg_model_save_with(clg_model *model, const char *path, const clg_metadata *meta, size_t count)
{
    if (!model) return CLG_INVALID_ARGUMENT;
    clg_context *ctx = clg_model_context(model);
    clg__root *root = (clg__root *)ctx;
    if (clg_context_failed(ctx)) return clg_context_status(ctx);
    if (!path || (count && !meta)) return clg__report(root, CLG_INVALID_ARGUMENT, "save: no path or no metadata given");
    for (size_t i = 0; i < count; i++) {
        if (!meta[i].key || !meta[i].value)
            return clg__report(root, CLG_INVALID_ARGUMENT, "%s: a metadata key or value is missing", path);
        for (size_t k = 0; k < i; k++) {
            if (strcmp(meta[k].key, meta[i].key) == 0)
                return clg__report(root, CLG_INVALID_ARGUMENT, "%s: the metadata key %s is given twice", path,
                                   meta[i].key);
        }
    }
    for (size_t i = 0; i < clg_model_count(model); i++) {
        if (strcmp(clg_model_name(model, i), "__metadata__") == 0)
            return clg__report(root, CLG_INVALID_ARGUMENT, "%s: no parameter can be saved as __metadata__", path);
    }
    char *json = header_json(model, meta, count);
    if (!json) return clg__report(root, CLG_OUT_OF_MEMORY, "%s: no memory for its header", path);
    const clg_status status = save(root, model, path, json);
    cJSON_free(json);
    return status;
}

/* ---- loading ---------------------------------------------------------------------------------------------------- */

/* Reads and parses; *bytes and *file are valid, and to be freed, when this returns CLG_OK. */
static clg_status open_file(clg__root *root, const char *path, uint8_t **bytes, clg__safetensors *file)
{
    size_t size = 0;
    clg_status status = clg__file_load(root, path, bytes, &size);
    if (!status) {
        char error[CLG__ERROR_TEXT];
        status = clg__safetensors_parse(*bytes, size, file, error, sizeof error);
        if (status) clg__report(root, status, "%s: %s", path, error);
    }
    if (status) free(*bytes);
    return status;
}

/* Has the file the model's parameters and no others? */
static clg_status check_model(clg__root *root, const clg_model *model, const char *path, const clg__safetensors *file)
{
    const size_t count = clg_model_count(model);
    for (size_t i = 0; i < count; i++) {
        const char *name = clg_model_name(model, i);
        const clg__safetensor *entry = clg__safetensors_find(file, name);
        if (!entry) return clg__report(root, CLG_INVALID_SHAPE, "%s: has no %s, a parameter of the model", path, name);
        const clg_shape shape = clg_model_shape(model, i);
        char has[128], wants[128];
        if (!clg_shape_equal(entry->shape, shape))
            return clg__report(root, CLG_INVALID_SHAPE, "%s: %s has the shape %s, and the model's has %s", path, name,
                               clg_shape_text(entry->shape, has, sizeof has),
                               clg_shape_text(shape, wants, sizeof wants));
    }
    for (size_t i = 0; file->count > count && i < file->count; i++) {
        bool known = false;
        for (size_t k = 0; k < count && !known; k++)
            known = strcmp(file->entries[i].name, clg_model_name(model, k)) == 0;
        if (!known)
            return clg__report(root, CLG_INVALID_SHAPE, "%s: has %s, which the model does not have", path,
                               file->entries[i].name);
    }
    return CLG_OK;
}

/* What the file has of the model, and in its shape. */
static clg_status write_model(clg__root *root, clg_model *model, const char *path, const clg__safetensors *file, bool *taken)
{
    size_t largest = 1;
    for (size_t i = 0; i < file->count; i++)
        largest = CLG__MAX(largest, (file->entries[i].end - file->entries[i].begin) / sizeof(float));
    float *value = malloc(largest * sizeof *value);
    if (!value)
        return clg__report(root, CLG_OUT_OF_MEMORY, "%s: no memory for a parameter of %zu values", path, largest);
    clg_status status = CLG_OK;
    for (size_t i = 0; !status && i < clg_model_count(model); i++) {
        const clg__safetensor *entry = clg__safetensors_find(file, clg_model_name(model, i));
        const bool fits = entry && clg_shape_equal(entry->shape, clg_model_shape(model, i));
        if (taken) taken[i] = fits;
        if (!fits) continue;
        const size_t count = (entry->end - entry->begin) / sizeof *value;
        clg__safetensors_decode(entry->data, value, count);
        status = clg_model_write(model, i, value, count);
    }
    free(value);
    return status;
}

static clg_status load(clg_model *model, const char *path, bool whole, bool *taken)
{
    if (!model) return CLG_INVALID_ARGUMENT;
    clg_context *ctx = clg_model_context(model);
    clg__root *root = (clg__root *)ctx;
    if (clg_context_failed(ctx)) return clg_context_status(ctx);
    if (!path) return clg__report(root, CLG_INVALID_ARGUMENT, "load: no path given");
    uint8_t *bytes = NULL;
    clg__safetensors file;
    clg_status status = open_file(root, path, &bytes, &file);
    if (status) return status;
    if (whole) status = check_model(root, model, path, &file);
    if (!status) status = write_model(root, model, path, &file, taken);
    clg__safetensors_free(&file);
    free(bytes);
    return status;
}

clg_status clg_model_load(clg_model *model, const char *path) { return load(model, path, true, NULL); }

clg_status clg_model_load_fitting(clg_model *model, const char *path, bool *taken)
{
    return load(model, path, false, taken);
}

clg_status clg_file_metadata(clg_context *ctx, const char *path, const char *key, char *value, size_t size)
{
    if (!ctx) return CLG_INVALID_ARGUMENT;
    clg__root *root = (clg__root *)ctx;
    if (!value) size = 0;
    if (size) value[0] = 0;
    if (!path || !key) return clg__report(root, CLG_INVALID_ARGUMENT, "metadata: no path or no key given");
    uint8_t *bytes = NULL;
    clg__safetensors file;
    const clg_status status = open_file(root, path, &bytes, &file);
    if (status) return status;
    const char *text = clg__safetensors_metadata(&file, key);
    if (size) snprintf(value, size, "%s", text ? text : "");
    clg__safetensors_free(&file);
    free(bytes);
    return CLG_OK;
}

clg_status clg_file_metadata_each(clg_context *ctx, const char *path, clg_metadata_fn *each, void *user)
{
    if (!ctx) return CLG_INVALID_ARGUMENT;
    clg__root *root = (clg__root *)ctx;
    if (!path || !each) return clg__report(root, CLG_INVALID_ARGUMENT, "metadata: no path or no function given");
    uint8_t         *bytes = NULL;
    clg__safetensors file;
    const clg_status status = open_file(root, path, &bytes, &file);
    if (status) return status;
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(file.json, "__metadata__")) each(user, item->string, item->valuestring);
    clg__safetensors_free(&file);
    free(bytes);
    return CLG_OK;
}
