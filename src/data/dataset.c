/* dataset.c - images and labels on the device, and the loader that deals them out.
 *
 * A data set is a small graph of its own: the images as a state of bytes [count, C, H, W], the labels as a state of
 * int32 [count]. A feed copies a batch of them into one pair of tensors of the user's graph:
 *
 *     x <- take_rows(images, index, 1/255)    y <- take_rows(labels, index)    index: an input, int32 [batch]
 *
 * so that a batch uploads its indices and nothing else. A missing row of the last batch has the index -1, for which
 * take_rows gives zeros and the label -1. Feeds are made when a pair is first seen and kept with the data set.
 *
 * Graph and plans are the context's own objects. When the context ends it destroys them itself, the plans before the
 * data set and the graph after it; so the object's destructor frees host memory only, clg_dataset_destroy the rest. */
#include "base/base.h"
#include "data/idx.h"
#include "data/shuffle.h"
#include <clgrad/data.h>
#include <clgrad/ops.h>
#include <clgrad/plan.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of what compressed files hold, in bytes: less is unpacked in no time, more would crowd out the rest of the cache. */
enum { KEPT_LEAST = 1 << 18, KEPT_MOST = CLG__CACHE_BYTES / 4 };

typedef struct feed {
    uint64_t    x_id, y_id; /* storage */
    clg_tensor *index;
    clg_plan   *plan;
} feed;

struct clg_dataset {
    clg__object  object;
    clg_context *ctx;
    clg_graph   *graph;
    clg_tensor  *images, *labels;
    clg_shape    shape; /* of the images on the device */
    int64_t      count; /* of those in use */
    int64_t      classes;
    feed        *feeds;
    size_t       feed_count;
    int32_t     *rows; /* the indices of a batch on their way */
    size_t       row_capacity;
};

/* ---- data sets -------------------------------------------------------------------------------------------------- */

static void dataset_free(clg__object *object)
{
    clg_dataset *data = (clg_dataset *)object;
    free(data->feeds);
    free(data->rows);
    free(data);
}

void clg_dataset_destroy(clg_dataset **data)
{
    if (!data || !*data) return;
    for (size_t i = 0; i < (*data)->feed_count; i++) clg_plan_destroy(&(*data)->feeds[i].plan);
    clg_graph_destroy(&(*data)->graph);
    clg__destroy(&(*data)->object);
    *data = NULL;
}

static clg_status upload(clg_dataset *data, const uint8_t *images, const uint8_t *labels)
{
    const size_t count = (size_t)data->count;
    int32_t *wide = clg__calloc((clg__root *)data->ctx, count, sizeof *wide);
    if (!wide) return CLG_OUT_OF_MEMORY;
    for (size_t i = 0; i < count; i++) {
        wide[i] = labels[i];
        data->classes = CLG__MAX(data->classes, wide[i] + 1);
    }
    clg_status status = clg_tensor_write(data->labels, wide, count * sizeof *wide);
    if (!status) status = clg_tensor_write(data->images, images, (size_t)clg_shape_count(data->shape));
    free(wide);
    return status;
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
    if (shape.dim[0] > INT32_MAX) {
        clg__fail(root, CLG_UNSUPPORTED, "data set: %lld images, and an index has 32 bits", (long long)shape.dim[0]);
        return NULL;
    }
    if (!images || !labels) {
        clg__fail(root, CLG_INVALID_ARGUMENT, "data set: no %s given", images ? "labels" : "images");
        return NULL;
    }
    clg_graph *graph = clg_graph_create(ctx, NULL); /* before the data set is adopted: it has to outlive it */
    clg_dataset *data = graph ? clg__calloc(root, 1, sizeof *data) : NULL;
    if (!data) {
        clg_graph_destroy(&graph);
        return NULL;
    }
    clg__adopt(root, &data->object, dataset_free);
    data->ctx = ctx;
    data->graph = graph;
    data->shape = shape;
    data->count = shape.dim[0];
    data->images = clg_tensor_named(clg_state(graph, CLG_U8, shape), "images");
    data->labels = clg_tensor_named(clg_state(graph, CLG_I32, CLG_SHAPE(data->count)), "labels");
    if (!data->images || !data->labels || upload(data, images, labels)) clg_dataset_destroy(&data);
    return data;
}

int64_t clg_dataset_count(const clg_dataset *data)
{
    return data ? data->count : 0;
}

int64_t clg_dataset_classes(const clg_dataset *data)
{
    return data ? data->classes : 0;
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
    clg__root *root = (clg__root *)data->ctx;
    if (!label || count != (size_t)data->count)
        return clg__fail(root, CLG_INVALID_ARGUMENT, "data set: %lld labels asked into room for %zu", (long long)data->count,
                         label ? count : 0);
    const size_t whole = (size_t)data->shape.dim[0] * sizeof *label;
    int32_t     *all = clg__calloc(root, 1, whole);
    if (!all) return CLG_OUT_OF_MEMORY;
    const clg_status status = clg_tensor_read(data->labels, all, whole);
    if (!status) memcpy(label, all, count * sizeof *label);
    free(all);
    return status;
}

void clg_dataset_limit(clg_dataset *data, int64_t count)
{
    if (!data) return;
    if (count < 1) {
        clg__fail((clg__root *)data->ctx, CLG_INVALID_ARGUMENT, "data set: cannot be limited to %lld images",
                  (long long)count);
        return;
    }
    data->count = CLG__MIN(count, data->shape.dim[0]);
}

/* ---- IDX files -------------------------------------------------------------------------------------------------- */

/* As clg__idx_read; a compressed file is unpacked once and its bytes are kept on disk, until it changes. */
static clg_status read_idx(clg__root *root, const char *path, int rank, uint8_t **bytes, clg__idx *idx, char *error,
                           size_t error_size)
{
    const size_t   length = strlen(path);
    struct stat    st;
    clg__cache_key key = {0};
    if (root->cache_dir && length > 3 && strcmp(path + length - 3, ".gz") == 0 && stat(path, &st) == 0) {
        const int64_t version[] = {(int64_t)st.st_dev, (int64_t)st.st_ino, (int64_t)st.st_size, (int64_t)st.st_mtim.tv_sec,
                                   (int64_t)st.st_mtim.tv_nsec, (int64_t)st.st_ctim.tv_sec, (int64_t)st.st_ctim.tv_nsec};
        clg__cache_key_add(&key, version, sizeof version);
    }
    size_t size = 0;
    *bytes = key.size ? clg__cache_read(root->cache_dir, &key, &size) : NULL;
    if (*bytes && clg__idx_parse(*bytes, size, rank, idx, error, error_size) == CLG_OK) return CLG_OK;
    free(*bytes);
    const clg_status status = clg__idx_read(path, rank, bytes, idx, error, error_size);
    if (status == CLG_OK && key.size && idx->size >= KEPT_LEAST && idx->size <= KEPT_MOST)
        clg__cache_write(root->cache_dir, &key, *bytes, (size_t)(idx->data - *bytes) + idx->size);
    return status;
}

/* Finds DIR/<part><suffix> under one of its usual names and reads it. */
static clg_status read_part(clg__root *root, const char *dir, const char *part, const char *const suffix[4], int rank,
                            uint8_t **bytes, clg__idx *idx, clg__text *path)
{
    clg__text tried = {0};
    bool found = false;
    for (int i = 0; i < 4 && !found; i++) {
        clg__text_free(path);
        clg__text_append(path, "%s/%s%s", dir, part, suffix[i]);
        clg__text_append(&tried, "%s%s%s", i ? ", " : "", part, suffix[i]);
        found = !path->failed && access(path->data, F_OK) == 0;
    }
    char error[CLG__ERROR_TEXT];
    clg_status status = CLG_OK;
    if (path->failed || tried.failed) {
        status = clg__fail(root, CLG_OUT_OF_MEMORY, "no memory for a file name");
    } else if (!found) {
        status = clg__fail(root, CLG_IO, "%s: none of these files is there: %s", dir, tried.data);
    } else if ((status = read_idx(root, path->data, rank, bytes, idx, error, sizeof error))) {
        clg__fail(root, status, "%s", error);
    }
    clg__text_free(&tried);
    return status;
}

clg_dataset *clg_dataset_open_idx(clg_context *ctx, const char *dir, const char *part)
{
    static const char *const image_names[4] = {"-images-idx3-ubyte", "-images-idx3-ubyte.gz", "-images.idx3-ubyte",
                                               "-images.idx3-ubyte.gz"};
    static const char *const label_names[4] = {"-labels-idx1-ubyte", "-labels-idx1-ubyte.gz", "-labels.idx1-ubyte",
                                               "-labels.idx1-ubyte.gz"};
    clg__root *root = (clg__root *)ctx;
    if (clg_context_failed(ctx)) return NULL;
    if (!dir || !part) {
        clg__fail(root, CLG_INVALID_ARGUMENT, "data set: no %s given", dir ? "part" : "directory");
        return NULL;
    }
    struct stat info;
    const bool exists = stat(dir, &info) == 0;
    if (!exists || !S_ISDIR(info.st_mode)) {
        clg__fail(root, CLG_IO, "%s: %s", dir, exists ? "not a directory" : strerror(errno));
        return NULL;
    }
    uint8_t *image_bytes = NULL, *label_bytes = NULL;
    clg__text image_path = {0}, label_path = {0};
    clg__idx images, labels;
    clg_dataset *data = NULL;
    if (!read_part(root, dir, part, image_names, 3, &image_bytes, &images, &image_path) &&
        !read_part(root, dir, part, label_names, 1, &label_bytes, &labels, &label_path)) {
        if (images.dim[0] == labels.dim[0]) {
            data = clg_dataset_create(ctx, CLG_SHAPE(images.dim[0], 1, images.dim[1], images.dim[2]), images.data,
                                      labels.data);
        } else {
            clg__fail(root, CLG_FORMAT, "%s: %lld labels for the %lld images of %s", label_path.data,
                      (long long)labels.dim[0], (long long)images.dim[0], image_path.data);
        }
    }
    free(image_bytes);
    free(label_bytes);
    clg__text_free(&image_path);
    clg__text_free(&label_path);
    return data;
}

/* ---- the loader ------------------------------------------------------------------------------------------------- */

clg_loader clg_loader_begin(clg_dataset *data, const clg_loader_desc *desc)
{
    const clg_loader_desc used = desc ? *desc : (clg_loader_desc){0};
    if (data && (used.batch < 1 || used.batch > data->count)) {
        clg__fail((clg__root *)data->ctx, CLG_INVALID_ARGUMENT,
                  "loader: a batch of %lld, and the data set has %lld image%s", (long long)used.batch,
                  (long long)data->count, data->count == 1 ? "" : "s");
        data = NULL;
    }
    if (data && used.rows && used.count < 1) {
        clg__fail((clg__root *)data->ctx, CLG_INVALID_ARGUMENT, "loader: %lld rows given", (long long)used.count);
        data = NULL;
    }
    return (clg_loader){.data = data, .desc = used};
}

/* Can a feed write `t`? Says what is wrong with it otherwise. */
static bool accepts(clg_dataset *data, const char *role, const clg_tensor *t, clg_dtype dtype, clg_shape shape)
{
    if (t && clg_tensor_context(t) == data->ctx && clg_tensor_storage_id(t) && clg_tensor_dtype(t) == dtype &&
        clg_shape_equal(clg_tensor_shape(t), shape))
        return true;
    clg__root *root = (clg__root *)data->ctx;
    char has[128], wants[128];
    if (!t) {
        clg__fail(root, CLG_INVALID_ARGUMENT, "loader: no tensor %s given", role);
    } else if (clg_tensor_context(t) != data->ctx) {
        clg__fail(root, CLG_INVALID_ARGUMENT, "loader: %s belongs to another context than the data set", role);
    } else if (!clg_tensor_storage_id(t)) {
        clg__fail(root, CLG_INVALID_ARGUMENT, "loader: %s is computed; only an input or a state can be filled", role);
    } else {
        clg__fail(root, CLG_INVALID_SHAPE, "loader: %s is %s %s, and the batch is %s %s", role,
                  clg_dtype_name(clg_tensor_dtype(t)), clg_shape_text(clg_tensor_shape(t), has, sizeof has),
                  clg_dtype_name(dtype), clg_shape_text(shape, wants, sizeof wants));
    }
    return false;
}

static feed *add_feed(clg_dataset *data, clg_tensor *x, clg_tensor *y, size_t batch)
{
    clg__root *root = (clg__root *)data->ctx;
    feed *feeds = realloc(data->feeds, (data->feed_count + 1) * sizeof *feeds);
    if (feeds) data->feeds = feeds;
    if (batch > data->row_capacity) {
        free(data->rows);
        data->rows = clg__calloc(root, batch, sizeof *data->rows);
        data->row_capacity = data->rows ? batch : 0;
    }
    if (!feeds || !data->rows) {
        clg__fail(root, CLG_OUT_OF_MEMORY, "loader: no memory for a batch of %zu", batch);
        return NULL;
    }
    feed *f = &feeds[data->feed_count];
    f->x_id = clg_tensor_storage_id(x);
    f->y_id = clg_tensor_storage_id(y);
    f->index = clg_tensor_named(clg_input(data->graph, CLG_I32, CLG_SHAPE((int64_t)batch)), "index");
    clg_tensor *const outs[2] = {
        clg_assign(clg_share(data->graph, x), clg_take_rows(data->images, f->index, 1.0 / 255.0, 0.0)),
        clg_assign(clg_share(data->graph, y), clg_take_rows(data->labels, f->index, 1.0, 0.0)),
    };
    f->plan = clg_plan_create_all(outs, 2);
    if (!f->plan) return NULL;
    data->feed_count++;
    return f;
}

static feed *feed_for(clg_dataset *data, clg_tensor *x, clg_tensor *y, int64_t batch)
{
    clg_shape shape = data->shape;
    shape.dim[0] = batch;
    if (!accepts(data, "x", x, CLG_F32, shape) || !accepts(data, "y", y, CLG_I32, CLG_SHAPE(batch))) return NULL;
    for (size_t i = 0; i < data->feed_count; i++) {
        feed *f = &data->feeds[i];
        if (f->x_id == clg_tensor_storage_id(x) && f->y_id == clg_tensor_storage_id(y)) return f;
    }
    return add_feed(data, x, y, (size_t)batch);
}

bool clg_loader_next(clg_loader *loader, clg_tensor *x, clg_tensor *y)
{
    clg_dataset *data = loader ? loader->data : NULL;
    if (!data || clg_context_failed(data->ctx)) return false;
    const clg_loader_desc *desc = &loader->desc;
    const int64_t count = desc->rows ? desc->count : data->count, left = count - loader->next;
    if (left <= 0 || (desc->drop_last && left < desc->batch)) return false;
    feed *f = feed_for(data, x, y, desc->batch);
    if (!f) return false;

    const clg__shuffle order = clg__shuffle_begin((uint32_t)count, desc->seed);
    for (int64_t i = 0; i < desc->batch; i++) {
        const uint32_t place = (uint32_t)(loader->next + i);
        const uint32_t at = i < left && desc->shuffle ? clg__shuffle_at(&order, place) : place;
        data->rows[i] = i >= left ? -1 : desc->rows ? desc->rows[at] : (int32_t)at;
    }
    if (clg_tensor_write(f->index, data->rows, (size_t)desc->batch * sizeof *data->rows)) return false;
    clg_plan_run(f->plan);
    loader->next += desc->batch;
    return !clg_context_failed(data->ctx);
}
