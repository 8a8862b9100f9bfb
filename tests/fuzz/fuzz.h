/* fuzz.h - every parser of the library and the program as a function of bytes, and its name. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>

typedef struct fuzz_target {
    const char *name; /* its seeds are in corpus/<name> */
    void (*run)(const uint8_t *bytes, size_t size);
} fuzz_target;

extern const fuzz_target fuzz_targets[]; /* ends with a row without a name */

#endif
