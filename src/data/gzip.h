/* gzip.h - what gzip compressed (RFC 1952), in memory. */
#ifndef CLG_GZIP_H
#define CLG_GZIP_H

#include "base/base.h"

bool clg__is_gzip(const uint8_t *bytes, size_t size);

/* The content of all members of the compressed bytes[size], but no more than its first `most` bytes, with a zero after
 * its end that is not counted; *out is to be freed. The buffer grows with what really comes out of it. */
clg_status clg__gunzip(const uint8_t *bytes, size_t size, size_t most, uint8_t **out, size_t *out_size,
                       const char **error);

#endif
