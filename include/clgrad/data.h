/* data.h - labelled data sets that live on the device, and the loader that deals them out in batches.
 *
 * An example is an array of any shape, bytes (images) or float32 (measurements); its answer is a class or, for regression,
 * one or more numbers. A batch costs an upload of one index per example; gathering the rows, converting and scaling them
 * is a kernel. */
#ifndef CLGRAD_DATA_H
#define CLGRAD_DATA_H

#include <clgrad/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct clg_dataset clg_dataset;

/* Opens DIR/<part>-images-idx3-ubyte and DIR/<part>-labels-idx1-ubyte, each plain or with .gz, and with a dot in place of
 * the last dash too (the format of LeCun's MNIST; `part` is "train" or "t10k"). NULL on an error, which names the file. */
CLG_API clg_dataset *clg_dataset_open_idx(clg_context *ctx, const char *dir, const char *part);

/* Images [count, channels, height, width] and labels [count] from memory, copied to the device. */
CLG_API clg_dataset *clg_dataset_create(clg_context *ctx, clg_shape shape, const uint8_t *images, const uint8_t *labels);

/* Examples of any shape from memory, copied to the device. */
typedef struct clg_dataset_desc {
    clg_dtype          dtype;    /* CLG_F32, or CLG_U8: bytes, which the loader scales to 0..1 */
    clg_shape          shape;    /* of all of them, [count, ...] */
    const void        *examples;
    const int32_t     *labels;   /* [count], from 0; or NULL and */
    const float       *targets;  /* [count, outputs] */
    int64_t            outputs;  /* 0: 1 */
    const char *const *names;    /* of the classes, copied; or NULL */
    int64_t            classes;  /* 0: the largest label + 1; how many names, when there are any */
    bool               stream;   /* keep the examples on the host and send each batch ahead, on a second queue; so it is done
                                  * anyway when they would take more than half of the device's free memory, and with
                                  * CLGRAD_STREAM=1 in the environment. The batches are the same. */
} clg_dataset_desc;

CLG_API clg_dataset *clg_dataset_create_from(clg_context *ctx, const clg_dataset_desc *desc);

/* A CSV file (RFC 4180; LF will do) that starts with a line of column names, plain or .gz. One column holds the answers,
 * all others, or those named, are features, float32. An error names the line and the column; a missing value is one. */
typedef struct clg_csv_desc {
    const char        *label;   /* the column of class names: the classes are its distinct texts, sorted (as numbers, when
                                 * all are whole numbers); or NULL and */
    const char        *target;  /* the column of numbers to be predicted */
    const char *const *names;   /* the classes, when they are known already: another text is an error; or NULL */
    int64_t            classes; /* how many names */
    const char *const *features; /* the columns of features, in the order wanted: others are left out; or NULL */
    int64_t            feature_count;
    bool               unanswered; /* rows to predict for: the column, when there is one, is left out, and all targets are 0 */
} clg_csv_desc;

CLG_API clg_dataset *clg_dataset_open_csv(clg_context *ctx, const char *path, const clg_csv_desc *desc);

/* Two NumPy arrays, versions 1 to 3, plain or .gz, row-major: examples [rows, ...] of float32, float64, int32 or int64, which
 * become float32, or of uint8, which are scaled to 0..1; answers [rows] or [rows, 1] of whole numbers, which are classes from 0,
 * or [rows] or [rows, outputs] of floats, which are targets. Without answers (NULL) all targets are 0. */
CLG_API clg_dataset *clg_dataset_open_npy(clg_context *ctx, const char *examples, const char *answers);

/* Pictures in folders, DIR/<class>/<any name>.png, .jpg or .jpeg; classes and files sorted by name. */
typedef struct clg_folder_desc {
    clg_shape          shape;   /* [channels, height, width], to which pictures are scaled; rank 0: they must all have one
                                 * height and width; channels 0: 3 when a picture is in colour, else 1 */
    const char *const *names;   /* the classes, when they are known already: another folder is an error; or NULL */
    int64_t            classes; /* how many names */
} clg_folder_desc;

CLG_API clg_dataset *clg_dataset_open_folder(clg_context *ctx, const char *dir, const clg_folder_desc *desc);

CLG_API void clg_dataset_destroy(clg_dataset **data);

/* A part of a data set that shares its memory and must not outlive it: of the examples, shuffled by `seed` when asked for,
 * those from `begin` to before `end`, which may be up to begin + count: after the last example comes the first again. So
 * [b, e) and [e, b + count) are a fold and all the others. */
typedef struct clg_part_desc {
    bool     shuffle;
    uint64_t seed;
    int64_t  begin, end;
} clg_part_desc;

CLG_API clg_dataset *clg_dataset_part(clg_dataset *data, const clg_part_desc *desc);

CLG_API bool        clg_dataset_streams(const clg_dataset *data);
CLG_API int64_t     clg_dataset_count(const clg_dataset *data);
CLG_API int64_t     clg_dataset_classes(const clg_dataset *data); /* the largest label + 1, or how many names; regression: 0 */
CLG_API const char *clg_dataset_class_name(const clg_dataset *data, int64_t label); /* NULL: it has none */
CLG_API const char *clg_dataset_feature_name(const clg_dataset *data, int64_t feature); /* its CSV column; NULL: none */
CLG_API int64_t     clg_dataset_outputs(const clg_dataset *data); /* targets of an example; classification: 0 */
CLG_API int64_t     clg_dataset_line(const clg_dataset *data, int64_t example); /* of its CSV file, from 1; 0: it has none */
CLG_API clg_shape   clg_dataset_shape(const clg_dataset *data);   /* [count, ...], such as [count, channels, height, width] */

/* The labels of the examples in use into label[count], their targets into target[count * outputs]. */
CLG_API clg_status clg_dataset_labels(clg_dataset *data, int32_t *label, size_t count);
CLG_API clg_status clg_dataset_targets(clg_dataset *data, float *target, size_t count);

/* A number that changes with any example in use, its answer, or their order: clg_hash over all of them. */
CLG_API clg_status clg_dataset_checksum(clg_dataset *data, uint64_t *sum);

/* Mean and standard deviation (divided by the number of values) over the examples and all extents but the first of an
 * example, as the loader delivers them: of each feature, of each channel. Each has shape.dim[1] elements (1 for [count]). */
CLG_API clg_status clg_dataset_moments(clg_dataset *data, float *mean, float *deviation);

/* Only the first `count` examples from now on (more than there are: all). */
CLG_API void clg_dataset_limit(clg_dataset *data, int64_t count);

typedef struct clg_loader_desc {
    int64_t  batch;     /* examples at once: the first extent of x and y; at most the data set's count */
    bool     shuffle;   /* a permutation chosen by `seed`; the same on every machine */
    uint64_t seed;
    bool     drop_last; /* leave out a last batch that is not full; else its missing rows are zeros with the label -1 */
} clg_loader_desc;

/* A cursor, used by value; it owns nothing. */
typedef struct clg_loader {
    clg_dataset    *data;
    clg_loader_desc desc;
    int64_t         next; /* position of the next example */
} clg_loader;

CLG_API clg_loader clg_loader_begin(clg_dataset *data, const clg_loader_desc *desc);

/* The data set keeps the means to feed a pair x, y, and their memory, until it is destroyed: use a pair again and again.
 *
 * Enqueues the next batch into x [batch, ...] f32 (bytes scaled to 0..1) and y: labels [batch] i32, or targets
 * [batch, outputs] f32. False at the end of the data and in a failed context. */
CLG_API bool clg_loader_next(clg_loader *loader, clg_tensor *x, clg_tensor *y);

#ifdef __cplusplus
}
#endif
#endif
