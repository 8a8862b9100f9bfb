/* idx.h - the IDX format of LeCun's MNIST: {0, 0, type, rank}, then rank extents as 32-bit big-endian integers, then
 * the elements, row-major. Type 8, unsigned bytes, is the one that image sets use and the one read here. */
#ifndef CLG_IDX_H
#define CLG_IDX_H

#include <clgrad/base.h>

enum { CLG__IDX_MAX_RANK = 4 };

typedef struct clg__idx {
    int64_t        dim[CLG__IDX_MAX_RANK];
    const uint8_t *data; /* inside the file's bytes */
    size_t         size; /* of the data */
} clg__idx;

/* Describes the IDX file bytes[size] of `rank` dimensions, checking all of it. CLG_FORMAT otherwise, with the reason in
 * `error`. */
clg_status clg__idx_parse(const uint8_t *bytes, size_t size, int rank, clg__idx *idx, char *error, size_t error_size);

/* Reads and parses `path`, plain or compressed by gzip; *bytes is the caller's to free and what idx->data points into.
 * Never takes much more memory than what the file's header announces. On an error, `error` names the file. */
clg_status clg__idx_read(const char *path, int rank, uint8_t **bytes, clg__idx *idx, char *error, size_t error_size);

#endif
