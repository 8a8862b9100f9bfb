/* read.c - a whole file into memory, inflated when it is compressed by gzip. */
#include "base/file.h"
#include "data/dataset.h"
#include "data/gzip.h"

#include <stdlib.h>
#define ZLIB_CONST
#include <zlib.h>

enum { GZIP_ONLY = 16 }; /* of inflateInit2 */

bool clg__is_gzip(const uint8_t *bytes, size_t size)
{
    return size >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b;
}

/* Room for one byte more, and the zero. */
static bool grow(uint8_t **out, size_t *capacity, size_t used, size_t most)
{
    if (used + 1 < *capacity) return true;
    const size_t larger = CLG__MIN(CLG__MAX(2 * *capacity, (size_t)1 << 16), CLG__MAX(most, used + 1) + 1);
    uint8_t     *grown = realloc(*out, larger);
    if (grown) *out = grown, *capacity = larger;
    return grown != NULL;
}

static clg_status refuse(const char **error, clg_status status, const char *text) { return *error = text, status; }

static clg_status out_of_memory(const char **error)
{
    return refuse(error, CLG_OUT_OF_MEMORY, "no memory to decompress it");
}

static clg_status inflate_all(z_stream *z, const uint8_t *bytes, size_t size, size_t most, uint8_t **out,
                              size_t *out_size, const char **error)
{
    const uint8_t *const end = bytes + size;
    size_t               capacity = 0;
    z->next_in = bytes;
    while (*out_size < most) {
        if (!grow(out, &capacity, *out_size, most)) return out_of_memory(error);
        const uInt given = (uInt)CLG__MIN((size_t)(end - z->next_in), (size_t)1 << 30);
        const uInt room = (uInt)CLG__MIN(CLG__MIN(capacity - 1, most) - *out_size, (size_t)1 << 30);
        z->avail_in = given;
        z->next_out = *out + *out_size;
        z->avail_out = room;
        const int code = inflate(z, Z_NO_FLUSH);
        *out_size += room - z->avail_out;
        const size_t left = (size_t)(end - z->next_in);
        if (code == Z_STREAM_END && left == 0) break;
        if (code == Z_STREAM_END && !clg__is_gzip(z->next_in, left))
            return refuse(error, CLG_FORMAT, "trailing bytes after the compressed data");
        if (code == Z_STREAM_END) inflateReset(z); /* another member */
        else if (code == Z_BUF_ERROR) return refuse(error, CLG_FORMAT, "truncated: the compressed data end too early");
        else if (code == Z_MEM_ERROR) return out_of_memory(error);
        else if (code != Z_OK) return refuse(error, CLG_FORMAT, "the compressed data are corrupt");
    }
    if (!grow(out, &capacity, *out_size, most)) return out_of_memory(error);
    (*out)[*out_size] = 0;
    return CLG_OK;
}

clg_status clg__gunzip(const uint8_t *bytes, size_t size, size_t most, uint8_t **out, size_t *out_size,
                       const char **error)
{
    z_stream z = {0};
    *out = NULL;
    *out_size = 0;
    if (inflateInit2(&z, MAX_WBITS + GZIP_ONLY) != Z_OK) return out_of_memory(error);
    const clg_status status = inflate_all(&z, bytes, size, most, out, out_size, error);
    inflateEnd(&z);
    if (status) free(*out), *out = NULL;
    return status;
}

uint8_t *clg__file_read(clg__root *root, const char *path, size_t *size)
{
    uint8_t *bytes = NULL, *content = NULL;
    *size = 0;
    if (!path) return clg__fail(root, CLG_INVALID_ARGUMENT, "data set: no path given"), NULL;
    clg_status status = clg__file_load(root, path, &bytes, size);
    if (status) return clg__fail(root, status, "%s", root->text), NULL;
    if (!clg__is_gzip(bytes, *size)) return bytes;
    const char *error;
    status = clg__gunzip(bytes, *size, SIZE_MAX / 4, &content, size, &error);
    if (status) clg__fail(root, status, "%s: %s", path, error);
    free(bytes);
    return content;
}
