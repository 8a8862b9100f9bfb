/* idx_set.c - a data set from the four files of MNIST, under any of their usual names. */
#include "base/base.h"
#include "data/idx.h"
#include <clgrad/data.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of what compressed files hold, in bytes: less is unpacked in no time, more would crowd out the rest of the cache. */
enum { KEPT_LEAST = 1 << 18, KEPT_MOST = CLG__CACHE_BYTES / 4 };

/* As clg__idx_read; a compressed file is unpacked once and its bytes are kept on disk, until it changes. */
static clg_status read_idx(clg__root *root, const char *path, int rank, uint8_t **bytes, clg__idx *idx, char *error,
                           size_t error_size)
{
    const size_t   length = strlen(path);
    struct stat    st;
    clg__cache_key key = {0};
    if (root->cache_dir && length > 3 && strcmp(path + length - 3, ".gz") == 0 && stat(path, &st) == 0) {
        const int64_t version[] = {(int64_t)st.st_dev,         (int64_t)st.st_ino,          (int64_t)st.st_size,
                                   (int64_t)st.st_mtim.tv_sec, (int64_t)st.st_mtim.tv_nsec, (int64_t)st.st_ctim.tv_sec,
                                   (int64_t)st.st_ctim.tv_nsec};
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
