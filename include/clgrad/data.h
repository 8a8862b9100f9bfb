/* data.h - labelled data sets that live on the device as bytes, and the loader that deals them out in batches.
 *
 * A batch costs an upload of one index per image; gathering the rows, converting and scaling them is a kernel. */
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

CLG_API void clg_dataset_destroy(clg_dataset **data);

CLG_API int64_t   clg_dataset_count(const clg_dataset *data);
CLG_API int64_t   clg_dataset_classes(const clg_dataset *data); /* the largest label + 1 */
CLG_API clg_shape clg_dataset_shape(const clg_dataset *data);   /* [count, channels, height, width] */

/* The labels of the images in use into label[count]. */
CLG_API clg_status clg_dataset_labels(clg_dataset *data, int32_t *label, size_t count);

/* Only the first `count` images from now on (more than there are: all). */
CLG_API void clg_dataset_limit(clg_dataset *data, int64_t count);

typedef struct clg_loader_desc {
    int64_t  batch;     /* images at once: the first extent of x and y; at most the data set's count */
    bool     shuffle;   /* a permutation chosen by `seed`; the same on every machine */
    uint64_t seed;
    bool     drop_last; /* leave out a last batch that is not full; else its missing rows have the label -1 */
    const int32_t *rows; /* deal these images only, `count` of them (NULL: all); read whenever a batch is made */
    int64_t        count;
} clg_loader_desc;

/* A cursor, used by value; it owns nothing. */
typedef struct clg_loader {
    clg_dataset    *data;
    clg_loader_desc desc;
    int64_t         next; /* position of the next image */
} clg_loader;

CLG_API clg_loader clg_loader_begin(clg_dataset *data, const clg_loader_desc *desc);

/* The data set keeps the means to feed a pair x, y, and their memory, until it is destroyed: use a pair again and again.
 *
 * Enqueues the next batch into x [batch, channels, height, width] f32 (bytes scaled to 0..1) and y [batch] i32; false at
 * the end of the data and in a failed context. */
CLG_API bool clg_loader_next(clg_loader *loader, clg_tensor *x, clg_tensor *y);

#ifdef __cplusplus
}
#endif
#endif
