/* idx.c - reading IDX files, plain or compressed; the layout is in idx.h.
 *
 * The header is read first and tells how many bytes a sound file has, so neither one that lies about its extents nor a
 * small file that inflates to gigabytes takes the machine's memory. */
#include "data/idx.h"

#include "base/base.h"
#include "base/file.h"
#include "data/gzip.h"
#include <stdio.h>
#include <stdlib.h>

enum { UNSIGNED_BYTE = 8 };

static size_t header_size(int rank)
{
    return 4 + 4 * (size_t)rank;
}

static int64_t big_endian(const uint8_t *p)
{
    return (int64_t)p[0] << 24 | (int64_t)p[1] << 16 | (int64_t)p[2] << 8 | (int64_t)p[3];
}

static clg_status parse_header(const uint8_t *bytes, size_t size, int rank, clg__idx *idx, char *error,
                               size_t error_size)
{
    if (size >= 4 && (bytes[0] != 0 || bytes[1] != 0 || bytes[2] != UNSIGNED_BYTE || bytes[3] != rank)) {
        snprintf(error, error_size, "not an IDX file of unsigned bytes with %d dimension%s: it starts with "
                 "%02x %02x %02x %02x instead of 00 00 08 %02x", rank, rank == 1 ? "" : "s", bytes[0], bytes[1],
                 bytes[2], bytes[3], (unsigned)rank);
        return CLG_FORMAT;
    }
    if (size < header_size(rank)) {
        snprintf(error, error_size, "truncated: %zu bytes, and the header alone takes %zu", size, header_size(rank));
        return CLG_FORMAT;
    }
    int64_t count = 1;
    for (int i = 0; i < rank; i++) {
        idx->dim[i] = big_endian(bytes + 4 + 4 * i);
        if (idx->dim[i] == 0) {
            snprintf(error, error_size, "empty: dimension %d has the extent 0", i);
            return CLG_FORMAT;
        }
        if (clg__mul_overflows(count, idx->dim[i], &count) || (uint64_t)count > SIZE_MAX / 2) {
            snprintf(error, error_size, "the product of the extents in its header does not fit in memory");
            return CLG_FORMAT;
        }
    }
    idx->size = (size_t)count;
    idx->data = bytes + header_size(rank);
    return CLG_OK;
}

clg_status clg__idx_parse(const uint8_t *bytes, size_t size, int rank, clg__idx *idx, char *error, size_t error_size)
{
    const clg_status status = parse_header(bytes, size, rank, idx, error, error_size);
    if (status) return status;
    const size_t present = size - header_size(rank);
    if (present < idx->size) {
        snprintf(error, error_size, "truncated: the header announces %zu bytes of data, the file has %zu", idx->size,
                 present);
        return CLG_FORMAT;
    }
    if (present > idx->size) {
        snprintf(error, error_size, "trailing bytes after the %zu that the header announces", idx->size);
        return CLG_FORMAT;
    }
    return CLG_OK;
}

/* Of what is compressed no more is inflated than the header announces, and one byte, enough to see trailing ones. */
static clg_status inflate_idx(int rank, uint8_t **bytes, size_t *size, clg__idx *idx, char *error, size_t error_size)
{
    uint8_t    *packed = *bytes;
    const char *reason = NULL;
    size_t      packed_size = *size;
    clg_status  status = clg__gunzip(packed, packed_size, header_size(rank), bytes, size, &reason);
    if (!status) status = parse_header(*bytes, *size, rank, idx, error, error_size);
    if (!status) {
        free(*bytes);
        status = clg__gunzip(packed, packed_size, header_size(rank) + idx->size + 1, bytes, size, &reason);
    }
    if (reason) snprintf(error, error_size, "%s", reason);
    free(packed);
    return status;
}

clg_status clg__idx_read(const char *path, int rank, uint8_t **bytes, clg__idx *idx, char *error, size_t error_size)
{
    clg__root  root = {0};
    char       reason[256] = "";
    size_t     size = 0;
    clg_status status = clg__file_load(&root, path, bytes, &size);
    if (status) {
        snprintf(error, error_size, "%s", root.text);
        return status;
    }
    if (clg__is_gzip(*bytes, size)) status = inflate_idx(rank, bytes, &size, idx, reason, sizeof reason);
    if (!status) status = clg__idx_parse(*bytes, size, rank, idx, reason, sizeof reason);
    if (status) {
        snprintf(error, error_size, "%s: %s", path, reason);
        free(*bytes);
        *bytes = NULL;
    }
    return status;
}
