/* safetensors.h - the file format (https://huggingface.co/docs/safetensors): 8 bytes, the little-endian length of the
 * header; the header, a JSON object {"name": {"dtype", "shape", "data_offsets": [begin, end]}, ...} in which
 * "__metadata__" holds texts; the data, row-major, little-endian, without gaps. Of the types, F32 and I32 are read and
 * written here. */
#ifndef CLG_SAFETENSORS_H
#define CLG_SAFETENSORS_H

#include <clgrad/base.h>

struct cJSON;

enum { CLG__SAFETENSORS_PREFIX = 8 };

typedef struct clg__safetensor {
    const char    *name;
    clg_dtype      dtype;
    clg_shape      shape;
    size_t         begin, end; /* offsets in the data */
    const uint8_t *data;       /* inside the file's bytes */
} clg__safetensor;

typedef struct clg__safetensors {
    struct cJSON    *json;
    clg__safetensor *entries; /* ordered by name */
    size_t           count;
    bool             sealed; /* it has a checksum, which holds: set by clg__file_parse */
} clg__safetensors;

/* Describes the file bytes[size], checking all of it: afterwards every entry lies in the data and holds what its shape
 * says. On an error returns its status with the reason in `error`; nothing is to be freed then. */
clg_status clg__safetensors_parse(const uint8_t *bytes, size_t size, clg__safetensors *file, char *error,
                                  size_t error_size);
void       clg__safetensors_free(clg__safetensors *file);

/* The entry `name`, the metadata's value of `key`; NULL when there is none. */
const clg__safetensor *clg__safetensors_find(const clg__safetensors *file, const char *name);
const char            *clg__safetensors_metadata(const clg__safetensors *file, const char *key);

/* "F32"; NULL: there is no such type here. */
const char *clg__safetensors_dtype(clg_dtype dtype);

/* Values of 32 bits to and from the file's byte order. */
void clg__safetensors_decode(const uint8_t *bytes, void *value, size_t count);
void clg__safetensors_encode(const void *value, uint8_t *bytes, size_t count);

#endif
