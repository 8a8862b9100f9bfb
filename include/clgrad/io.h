/* io.h - models in files, as safetensors (https://huggingface.co/docs/safetensors): float32, one entry a parameter. */
#ifndef CLGRAD_IO_H
#define CLGRAD_IO_H

#include <clgrad/nn.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A key and its value in a file's "__metadata__". */
typedef struct clg_metadata {
    const char *key, *value;
} clg_metadata;

/* Writes every parameter to `path`: beside it first, then renamed, so that no partial file is ever left. The same
 * parameters give the same bytes. The error's text is in clg_context_error; the context does not fail. */
CLG_API clg_status clg_model_save(clg_model *model, const char *path);
CLG_API clg_status clg_model_save_with(clg_model *model, const char *path, const clg_metadata *meta, size_t count);

/* Reads every parameter of the model from `path`; a missing one, another shape or type, or a malformed file is an error,
 * and then the model is unchanged. Entries that the model does not have are an error too. */
CLG_API clg_status clg_model_load(clg_model *model, const char *path);

/* Reads from `path` what fits: parameters and states of the same name and shape; the others stay. taken[i] says which, for
 * each of clg_model_count; it may be NULL. A malformed file is an error, and then the model is unchanged. */
CLG_API clg_status clg_model_load_fitting(clg_model *model, const char *path, bool *taken);

/* The value of `key` in the file's metadata into value (terminated, cut to size); "" when it has none. */
CLG_API clg_status clg_file_metadata(clg_context *ctx, const char *path, const char *key, char *value, size_t size);

/* Reads the file once and calls each(user, key, value) for all of its metadata; the texts are valid during the call. */
typedef void clg_metadata_fn(void *user, const char *key, const char *value);
CLG_API clg_status clg_file_metadata_each(clg_context *ctx, const char *path, clg_metadata_fn *each, void *user);

#ifdef __cplusplus
}
#endif
#endif
