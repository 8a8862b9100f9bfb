/* safetensors.h - the file format (https://huggingface.co/docs/safetensors): 8 bytes, the little-endian length of the
 * header; the header, a JSON object {"name": {"dtype", "shape", "data_offsets": [begin, end]}, ...} in which
 * "__metadata__" holds texts; the data, row-major, little-endian, without gaps. Only F32 is read and written here. */
#ifndef CLG_SAFETENSORS_H
#define CLG_SAFETENSORS_H

#include <clgrad/base.h>

struct cJSON;

enum { CLG__SAFETENSORS_PREFIX = 8 };

typedef struct clg__safetensor {
    const char    *name;
    clg_shape      shape;
    size_t         begin, end; /* offsets in the data */
    const uint8_t *data;       /* inside the file's bytes */
} clg__safetensor;

typedef struct clg__safetensors {
    struct cJSON    *json;
    clg__safetensor *entries; /* ordered by name */
    size_t           count;
} clg__safetensors;

/* Describes the file bytes[size], checking all of it: afterwards every entry lies in the data and holds what its shape
 * says. On an error returns its status with the reason in `error`; nothing is to be freed then. */
clg_status clg__safetensors_parse(const uint8_t *bytes, size_t size, clg__safetensors *file, char *error,
                                  size_t error_size);
void       clg__safetensors_free(clg__safetensors *file);

/* The entry `name`, the metadata's value of `key`; NULL when there is none. */
const clg__safetensor *clg__safetensors_find(const clg__safetensors *file, const char *name);
const char            *clg__safetensors_metadata(const clg__safetensors *file, const char *key);

/* Float32 values to and from the file's byte order. */
void clg__safetensors_decode(const uint8_t *bytes, float *value, size_t count);
void clg__safetensors_encode(const float *value, uint8_t *bytes, size_t count);

#endif
