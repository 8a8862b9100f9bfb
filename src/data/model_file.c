/* model_file.c - models to and from safetensors files (entries.c). Loading checks everything before it changes the
 * model. */
#include "base/file.h"
#include "data/entries.h"
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The model's values; false when out of memory, which is reported. */
static bool list(clg_model *model, clg__entries *e)
{
    *e = (clg__entries){.root = (clg__root *)clg_model_context(model), .of = "model"};
    return clg__entries_add_model(e, model);
}

clg_status clg_model_save(clg_model *model, const char *path)
{
    return clg_model_save_with(model, path, NULL, 0);
}

clg_status clg_model_save_with(clg_model *model, const char *path, const clg_metadata *meta, size_t count)
{
    if (!model) return CLG_INVALID_ARGUMENT;
    clg_context *ctx = clg_model_context(model);
    if (clg_context_failed(ctx)) return clg_context_status(ctx);
    clg__entries     e;
    const clg_status status = list(model, &e) ? clg__entries_save(&e, path, meta, count) : CLG_OUT_OF_MEMORY;
    clg__entries_free(&e);
    return status;
}

static clg_status load(clg_model *model, const char *path, bool whole, bool *taken)
{
    if (!model) return CLG_INVALID_ARGUMENT;
    clg_context *ctx = clg_model_context(model);
    clg__root   *root = (clg__root *)ctx;
    if (clg_context_failed(ctx)) return clg_context_status(ctx);
    if (!path) return clg__report(root, CLG_INVALID_ARGUMENT, "load: no path given");
    uint8_t         *bytes = NULL;
    clg__safetensors file;
    clg__entries     e;
    clg_status       status = clg__file_open(root, path, &bytes, &file);
    if (status) return status;
    if (!list(model, &e)) status = CLG_OUT_OF_MEMORY;
    if (!status && whole) status = clg__entries_check(&e, path, &file);
    if (!status) status = clg__entries_load(&e, &file, taken);
    clg__entries_free(&e);
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
    const clg_status status = clg__file_open(root, path, &bytes, &file);
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
    const clg_status status = clg__file_open(root, path, &bytes, &file);
    if (status) return status;
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(file.json, "__metadata__"))
        if (strcmp(item->string, CLG__CHECKSUM) != 0) each(user, item->string, item->valuestring);
    clg__safetensors_free(&file);
    free(bytes);
    return CLG_OK;
}

clg_status clg_file_replace(clg_context *ctx, const char *path, const void *bytes, size_t size)
{
    if (!ctx) return CLG_INVALID_ARGUMENT;
    if (!path || (!bytes && size))
        return clg__report((clg__root *)ctx, CLG_INVALID_ARGUMENT, "file: no path or no bytes given");
    return clg__file_replace((clg__root *)ctx, path, bytes, size);
}
