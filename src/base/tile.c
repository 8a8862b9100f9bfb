/* tile.c - tiles of matrix products. */
#include "base/tile.h"
#include <string.h>

enum { ITEM_OUTPUTS = 8 }; /* most rows, and most columns, of an item's share of a local tile */

clg__tile clg__tile_choose(const clg_profile *p, uint64_t local_memory, uint64_t rows, uint64_t cols)
{
    if (strcmp(p->base, "cpu") == 0) {
        const uint32_t n = cols <= p->vec ? 1 : p->tile_n; /* a narrow product would waste the other vectors */
        return (clg__tile){.side = 1, .m = p->tile_m, .n = n, .k = p->tile_k, .cols = n * p->vec};
    }
    clg__tile t = {.side = 16, .k = p->tile_k};
    while (t.side > 2 && t.side * t.side > p->wg) t.side /= 2;
    t.m = CLG__MIN(p->tile_m, t.side * ITEM_OUTPUTS);
    t.n = CLG__MIN(p->tile_n, t.side * ITEM_OUTPUTS);
    while (t.m > t.side && t.m / 2 >= rows) t.m /= 2; /* small products would waste most of a tile */
    while (t.n > t.side && t.n / 2 >= cols) t.n /= 2;
    t.cols = t.n;
    while (t.k > 1 && t.k * (t.m + t.n + 2) * sizeof(float) > local_memory) t.k /= 2;
    return t;
}

void clg__tile_define(clg__text *defines, const clg__tile *t)
{
    clg__text_append(defines, "#define TILE_SIDE %u\n#define TILE_M %u\n#define TILE_N %u\n#define TILE_K %u\n", t->side,
                     t->m, t->n, t->k);
}
