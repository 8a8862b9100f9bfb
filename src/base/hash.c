/* hash.c - FNV-1a, 64 bits (Fowler, Noll, Vo). Feeding a hash back as the seed continues it, so that hashing pieces one
 * after the other equals hashing them in one. */
#include "base/base.h"

uint64_t clg__hash(uint64_t seed, const void *data, size_t bytes)
{
    const unsigned char *byte = data;
    uint64_t h = seed ? seed : UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < bytes; i++) h = (h ^ byte[i]) * UINT64_C(0x100000001b3);
    return h;
}

uint64_t clg_hash(uint64_t seed, const void *data, size_t bytes) { return clg__hash(seed, data, bytes); }
