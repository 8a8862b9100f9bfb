/* builders.h - what a context and its builder processes (builder_main.c) say to each other.
 *
 * Through one socket: a job goes out, one byte comes back, CLG__BUILT or CLG__NOT_BUILT. A job is this header, a program's
 * source, and the name of one of its kernels (or nothing: the program alone), both with their terminating zeros. */
#ifndef CLG_BUILDERS_H
#define CLG_BUILDERS_H

#include <stdint.h>

typedef struct clg__job {
    uint32_t source_size, name_size;
} clg__job;

enum { CLG__BUILT = 'b', CLG__NOT_BUILT = 'n' };

#endif
