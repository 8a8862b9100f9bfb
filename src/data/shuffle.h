/* shuffle.h - a permutation of [0, count) that is computed place by place and never stored. */
#ifndef CLG_SHUFFLE_H
#define CLG_SHUFFLE_H

#include <stdint.h>

enum { CLG__SHUFFLE_ROUNDS = 10 };

typedef struct clg__shuffle {
    uint32_t count, left_bits, right_bits;
    uint32_t key[CLG__SHUFFLE_ROUNDS];
} clg__shuffle;

clg__shuffle clg__shuffle_begin(uint32_t count, uint64_t seed);

/* Where the element at `place` < count goes; every seed has its own order, the same on every machine. */
uint32_t clg__shuffle_at(const clg__shuffle *shuffle, uint32_t place);

#endif
