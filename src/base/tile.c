/* tile.c - tiles of matrix products. */
#include "base/tile.h"
#include <string.h>

/* Each register tile is a program, which takes a second to build: one other than the profile's has to gain so much, and
 * on products of so many multiplications. */
#define ANOTHER 1.25
#define LARGE   0x1p27

enum {
    LEAST_SHARE  = 16,  /* of a local tile is an item's, as 4x4; MOST_SHARE is 8x8: less would not feed its products */
    MOST_SHARE   = 64,
    LEAST_SIDE   = 8,   /* 64 items fill what a GPU runs in step */
    GATHERED     = 8,   /* most rows of a register tile whose rows have an address each */
    SHALLOW      = 256, /* deepest panel that is packed for them */
};

clg__tile clg__tile_choose(const clg_profile *p, uint64_t local_memory, uint64_t rows, uint64_t cols)
{
    if (strcmp(p->base, "cpu") == 0) {
        const uint32_t n = cols <= p->vec ? 1 : p->tile_n; /* a narrow product would waste the other vectors */
        return (clg__tile){.side = 1, .m = CLG__MIN(p->tile_m, GATHERED), .n = n, .k = CLG__MIN(p->tile_k, SHALLOW),
                           .cols = n * p->vec};
    }
    clg__tile t = {.side = 16, .m = p->tile_m, .n = p->tile_n, .k = p->tile_k};
    while (t.side > 2 && t.side * t.side > p->wg) t.side /= 2;
    while (t.m * t.n > MOST_SHARE * t.side * t.side) *(t.m > t.n ? &t.m : &t.n) /= 2;
    const uint32_t side = CLG__MIN(t.side, LEAST_SIDE), least = LEAST_SHARE * side * side;
    while (t.m > 8 && t.m / 2 >= rows && t.m * t.n > least) t.m /= 2; /* small products would waste most of a tile */
    while (t.n > 8 && t.n / 2 >= cols && t.m * t.n > least) t.n /= 2;
    while (t.side > LEAST_SIDE && t.m * t.n <= MOST_SHARE * t.side * t.side / 4) t.side /= 2;
    while (t.side > 2 && t.m * t.n < LEAST_SHARE * t.side * t.side) t.side /= 2;
    t.cols = t.n;
    while (t.k > 4 && t.k * (t.m + t.n + 8) * sizeof(float) > local_memory) t.k /= 2;
    return t;
}

double clg__tile_cycles(const clg__tile *t)
{
    const double products = (double)t->m * t->n, loads = t->m + t->n;
    double       cycles = products / 2.0; /* two of them at once, where there are enough to hide their latency of 4 */
    cycles = CLG__MAX(cycles, 4.0);
    cycles = CLG__MAX(cycles, loads / 1.6);
    return CLG__MAX(cycles, (products + loads + 4.0) / 3.5);
}

static double cycles_of(const clg__tile *t, uint64_t rows, uint64_t vectors)
{
    return (double)((rows + t->m - 1) / t->m) * (double)((vectors + t->n - 1) / t->n) * (clg__tile_cycles(t) + 0.5);
}

clg__tile clg__tile_registers(const clg_profile *p, uint64_t rows, uint64_t cols, uint64_t depth)
{
    const uint32_t sums = p->tile_m * p->tile_n;
    const uint64_t vectors = (cols + p->vec - 1) / p->vec;
    clg__tile      best = {.side = 1, .m = p->tile_m, .n = p->tile_n, .k = p->tile_k, .cols = p->tile_n * p->vec};
    double         least = cycles_of(&best, rows, vectors) / ANOTHER;
    if ((double)rows * (double)cols * (double)depth < LARGE) return best;
    for (uint32_t n = 1; n <= CLG__MIN(vectors, 4); n++)
        for (uint32_t m = 4; m * n <= sums && m * n + n <= sums + p->tile_n; m += 4) {
            const clg__tile t = {.side = 1, .m = m, .n = n, .k = p->tile_k, .cols = n * p->vec};
            if (cycles_of(&t, rows, vectors) >= least) continue;
            least = cycles_of(&t, rows, vectors);
            best = t;
        }
    return best;
}

void clg__tile_define(clg__text *defines, const clg__tile *t)
{
    clg__text_append(defines, "#define TILE_SIDE %u\n#define TILE_M %u\n#define TILE_N %u\n#define TILE_K %u\n",
                     t->side, t->m, t->n, t->k);
}
