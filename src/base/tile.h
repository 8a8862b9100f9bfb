/* tile.h - the tile of a matrix product that one group computes, in cl/gemm.cl and cl/conv2d.cl alike.
 *
 * cpu: side 1, m rows of n vectors in an item's registers, k rows of the right operand packed at a time.
 * gpu: side x side items share m x n through local memory, 16, 32 or 64 elements each, a depth of k at a time. */
#ifndef CLG_TILE_H
#define CLG_TILE_H

#include "base/base.h"
#include <clgrad/profile.h>

typedef struct clg__tile {
    uint32_t side, m, n, k;
    uint32_t cols; /* elements of a row: n, or n vectors */
} clg__tile;

/* What the profile wants, cut to the local memory and to a product of rows x cols. */
clg__tile clg__tile_choose(const clg_profile *profile, uint64_t local_memory, uint64_t rows, uint64_t cols);

/* A register tile for the cpu body of GEMM: the profile's, or one of no more sums that wastes much less on a large
 * product of rows x cols and `depth`. */
clg__tile clg__tile_registers(const clg_profile *profile, uint64_t rows, uint64_t cols, uint64_t depth);

/* Roughly the cycles that one step in depth takes a register tile, on a core with two units for vectors. */
double clg__tile_cycles(const clg__tile *tile);

/* Appends the TILE_* macros of prelude.cl. */
void clg__tile_define(clg__text *defines, const clg__tile *tile);

#endif
