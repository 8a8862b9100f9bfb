/* io.h - models and checkpoints in files, as safetensors (https://huggingface.co/docs/safetensors): float32, one entry a
 * parameter; and how any file is written. */
#ifndef CLGRAD_IO_H
#define CLGRAD_IO_H

#include <clgrad/optim.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A key and its value in a file's "__metadata__". */
typedef struct clg_metadata {
    const char *key, *value;
} clg_metadata;

/* Writes every parameter to `path`: beside it first, then renamed, so that no partial file is ever left. The same
 * parameters give the same bytes. The error's text is in clg_context_error; the context does not fail. Keys and values are
 * UTF-8. The file carries a checksum of itself, the metadata "clgrad.checksum": whatever reads it here refuses it when it was
 * damaged, and reads files without one, as other programs write them. */
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

/* Reads the file once and calls each(user, key, value) for all of its metadata but the checksum; the texts are valid during the call. */
typedef void clg_metadata_fn(void *user, const char *key, const char *value);
CLG_API clg_status clg_file_metadata_each(clg_context *ctx, const char *path, clg_metadata_fn *each, void *user);

/* Leaves the file `path` with these bytes, or as it was: they are written beside it, then renamed. The error's text is in
 * clg_context_error; the context does not fail. */
CLG_API clg_status clg_file_replace(clg_context *ctx, const char *path, const void *bytes, size_t size);

/* ---- checkpoints: a training to be gone on with ------------------------------------------------------------------ */

/* An array of the program's own: a persistent tensor, f32 or i32, or float32 on the host. */
typedef struct clg_checkpoint_array {
    const char *name;
    clg_tensor *tensor;
    float      *value; /* without a tensor: of this shape */
    clg_shape   shape;
} clg_checkpoint_array;

/* All that a training is made of. The optimiser's plan and the graph's must have been made. */
typedef struct clg_checkpoint {
    clg_model     *model;     /* its parameters and states, under their names */
    clg_optimizer *optimizer; /* its states and its position; or NULL */
    clg_graph     *graph;     /* what its training plans carry from step to step, such as dropout's counters; or NULL */
    const clg_checkpoint_array *arrays;
    size_t         array_count;
} clg_checkpoint;

/* Writes all of it, waiting for the device, into a safetensors file with a checksum; one without is no checkpoint. As with
 * models the old file stays until the new one is on the disk. A value that is infinite or not a number is refused (CLG_NOT_FINITE):
 * nobody wants to go back there. Metadata keys that begin with "optimizer." are the library's. */
CLG_API clg_status clg_checkpoint_save(const clg_checkpoint *checkpoint, const char *path, const clg_metadata *meta, size_t count);

/* Puts all of it back, so that the next step is what it would have been: the same bits on the same device. A schedule is to
 * be set before. A file that is damaged anywhere, or that is not of such a training, is an error, and then nothing changes. */
CLG_API clg_status clg_checkpoint_load(const clg_checkpoint *checkpoint, const char *path);

#ifdef __cplusplus
}
#endif
#endif
