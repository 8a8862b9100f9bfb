/* read.c - a whole file into memory, inflated when it is compressed by gzip. */
#include "data/dataset.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

static clg_status read_all(gzFile file, uint8_t **bytes, size_t *size, const char **error)
{
    for (size_t capacity = 0;;) {
        if (*size + 1 >= capacity) {
            capacity = CLG__MAX(2 * capacity, (size_t)1 << 16);
            uint8_t *grown = realloc(*bytes, capacity);
            if (!grown) return *error = "no memory for it", CLG_OUT_OF_MEMORY;
            *bytes = grown;
        }
        const unsigned part = (unsigned)CLG__MIN(capacity - *size - 1, (size_t)1 << 24);
        const int      got = gzread(file, *bytes + *size, part);
        if (got > 0) *size += (size_t)got;
        if (got < (int)part) break;
    }
    (*bytes)[*size] = 0;
    int code = Z_OK;
    gzerror(file, &code);
    if (code == Z_OK || code == Z_STREAM_END) return CLG_OK;
    *error = code == Z_ERRNO ? strerror(errno) : code == Z_BUF_ERROR ? "truncated: the compressed data end too early"
                                                                      : "the compressed data are corrupt";
    return code == Z_ERRNO ? CLG_IO : CLG_FORMAT;
}

uint8_t *clg__file_read(clg__root *root, const char *path, size_t *size)
{
    struct stat info;
    *size = 0;
    if (!path) return clg__fail(root, CLG_INVALID_ARGUMENT, "data set: no path given"), NULL;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) return clg__fail(root, CLG_IO, "%s: not a regular file", path), NULL;
    errno = 0;
    gzFile file = gzopen(path, "rb"); /* passes a plain file through */
    if (!file) return clg__fail(root, CLG_IO, "%s: %s", path, strerror(errno ? errno : ENOMEM)), NULL;
    gzbuffer(file, 1 << 18);
    uint8_t    *bytes = NULL;
    const char *error = "";
    clg_status  status = read_all(file, &bytes, size, &error);
    gzclose_r(file);
    if (!status) return bytes;
    clg__fail(root, status, "%s: %s", path, error);
    free(bytes);
    return NULL;
}
