/* idx.c - reading IDX files, plain or compressed; the layout is in idx.h.
 *
 * The header is read first and tells how many bytes a sound file has. Reading stops one byte beyond that, which is
 * enough to see trailing bytes; the buffer grows with what really arrives. So neither a header that lies about its
 * extents nor a small file that inflates to gigabytes takes the machine's memory. */
#include "data/idx.h"

#include "base/base.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

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

/* Appends to the buffer until it holds `wanted` bytes or the file ends. */
static clg_status read_up_to(gzFile file, size_t wanted, uint8_t **bytes, size_t *size, char *error, size_t error_size)
{
    size_t capacity = *size;
    while (*size < wanted) {
        if (*size == capacity) {
            capacity = CLG__MIN(wanted, CLG__MAX(2 * capacity, (size_t)1 << 20));
            uint8_t *grown = realloc(*bytes, capacity);
            if (!grown) {
                snprintf(error, error_size, "no memory for %zu bytes", capacity);
                return CLG_OUT_OF_MEMORY;
            }
            *bytes = grown;
        }
        const unsigned part = (unsigned)CLG__MIN(capacity - *size, (size_t)1 << 20);
        const int got = gzread(file, *bytes + *size, part);
        if (got > 0) *size += (size_t)got;
        if (got < (int)part) break;
    }
    int code = Z_OK;
    gzerror(file, &code);
    if (code == Z_OK || code == Z_STREAM_END) return CLG_OK;
    if (code == Z_ERRNO) {
        snprintf(error, error_size, "%s", strerror(errno));
        return CLG_IO;
    }
    snprintf(error, error_size, "%s",
             code == Z_MEM_ERROR   ? "no memory to decompress it"
             : code == Z_BUF_ERROR ? "truncated: the compressed data end too early"
                                   : "the compressed data are corrupt");
    return code == Z_MEM_ERROR ? CLG_OUT_OF_MEMORY : CLG_FORMAT;
}

static clg_status read_file(const char *path, int rank, uint8_t **bytes, clg__idx *idx, char *error, size_t error_size)
{
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) {
        snprintf(error, error_size, "not a regular file");
        return CLG_IO;
    }
    errno = 0;
    gzFile file = gzopen(path, "rb"); /* passes a plain file through */
    if (!file) {
        snprintf(error, error_size, "%s", strerror(errno ? errno : ENOMEM));
        return CLG_IO;
    }
    size_t size = 0;
    clg_status status = read_up_to(file, header_size(rank), bytes, &size, error, error_size);
    if (!status) status = parse_header(*bytes, size, rank, idx, error, error_size);
    if (!status) status = read_up_to(file, header_size(rank) + idx->size + 1, bytes, &size, error, error_size);
    if (!status) status = clg__idx_parse(*bytes, size, rank, idx, error, error_size);
    gzclose_r(file);
    return status;
}

clg_status clg__idx_read(const char *path, int rank, uint8_t **bytes, clg__idx *idx, char *error, size_t error_size)
{
    char reason[256] = "";
    *bytes = NULL;
    const clg_status status = read_file(path, rank, bytes, idx, reason, sizeof reason);
    if (status) {
        snprintf(error, error_size, "%s: %s", path, reason);
        free(*bytes);
        *bytes = NULL;
    }
    return status;
}
