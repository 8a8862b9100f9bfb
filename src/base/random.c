/* random.c - Philox 4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3; SC 2011).
 *
 * Ten rounds of a keyed bijection on a counter of four words; every counter gives four independent values. Value
 * `index` of stream `seed` is word index % 4 of counter index / 4 under the key `seed`. */
#include "base/base.h"

void clg__philox(const uint32_t counter[4], uint64_t key, uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = UINT64_C(0xd2511f53) * c0, p1 = UINT64_C(0xcd9e8d57) * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

uint32_t clg_random_u32(uint64_t seed, uint64_t index)
{
    const uint64_t block = index / 4;
    uint32_t       out[4];
    clg__philox((const uint32_t[4]){(uint32_t)block, (uint32_t)(block >> 32)}, seed, out);
    return out[index % 4];
}

float clg_random_uniform(uint64_t seed, uint64_t index)
{
    return (float)(clg_random_u32(seed, index) >> 8) * 0x1p-24f;
}
