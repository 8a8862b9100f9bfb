/* shuffle.c - a keyed Feistel network on b bits, 2^(b-1) < count <= 2^b, walked along its cycle until it is in range.
 *
 * A place is split into a left and a right half of b/2 bits, rounded up and down; rounds alternately replace left by
 * left ^ f(key, right) and right by right ^ f(key, left), each its own inverse, so that a round permutes [0, 2^b)
 * whatever f is. Black and Rogaway 2002: applying a permutation of a larger set until it returns to [0, count) permutes
 * [0, count). As 2^b < 2 count, two applications suffice on average. */
#include "data/shuffle.h"

#include <clgrad/base.h>

clg__shuffle clg__shuffle_begin(uint32_t count, uint64_t seed)
{
    clg__shuffle s = {.count = count};
    uint32_t bits = 0;
    while (bits < 32 && ((uint64_t)1 << bits) < count) bits++;
    s.right_bits = bits / 2;
    s.left_bits = bits - s.right_bits;
    for (uint32_t i = 0; i < CLG__SHUFFLE_ROUNDS; i++) s.key[i] = clg_random_u32(seed, i);
    return s;
}

/* The finaliser of MurmurHash3: every input bit changes every output bit with a probability of about one half. */
static uint32_t mix(uint32_t x)
{
    x ^= x >> 16;
    x *= 0x85ebca6bu;
    x ^= x >> 13;
    x *= 0xc2b2ae35u;
    return x ^ x >> 16;
}

uint32_t clg__shuffle_at(const clg__shuffle *s, uint32_t place)
{
    const uint32_t left_mask = ((uint32_t)1 << s->left_bits) - 1, right_mask = ((uint32_t)1 << s->right_bits) - 1;
    do {
        uint32_t left = place >> s->right_bits, right = place & right_mask;
        for (int i = 0; i < CLG__SHUFFLE_ROUNDS; i += 2) {
            left ^= mix(right ^ s->key[i]) & left_mask;
            right ^= mix(left ^ s->key[i + 1]) & right_mask;
        }
        place = left << s->right_bits | right;
    } while (place >= s->count);
    return place;
}
