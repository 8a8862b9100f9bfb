/* npy.h - NumPy's array files, versions 1 to 3: "\x93NUMPY", the version, a Python dictionary that describes the array,
 * and the elements, row-major, little-endian. */
#ifndef CLG_NPY_H
#define CLG_NPY_H

#include "base/base.h"

typedef enum clg__npy_type { CLG__NPY_F4, CLG__NPY_F8, CLG__NPY_U1, CLG__NPY_I4, CLG__NPY_I8 } clg__npy_type;

typedef struct clg__npy {
    clg__npy_type  type;
    clg_shape      shape;
    int64_t        count; /* of the elements */
    const uint8_t *data;  /* inside the file's bytes, not aligned */
} clg__npy;

/* Describes the file bytes[size], checking all of it; CLG_FORMAT or CLG_UNSUPPORTED otherwise, with the reason in
 * `error`. */
clg_status clg__npy_parse(const uint8_t *bytes, size_t size, clg__npy *npy, char *error, size_t error_size);

double  clg__npy_real(const clg__npy *npy, int64_t i);
int64_t clg__npy_whole(const clg__npy *npy, int64_t i); /* of U1, I4, I8 */

#endif
