#include "rng.h"

/* An index below `bound`: the high half of a 64 x 64 bit product, with a negligible bias of bound / 2^64. */
static size_t scale_to(uint64_t random, size_t bound) {
    uint64_t r_hi = random >> 32, r_lo = (uint32_t)random, b_hi = (uint64_t)bound >> 32, b_lo = (uint32_t)bound;
    uint64_t middle = r_hi * b_lo + (r_lo * b_lo >> 32);
    uint64_t middle2 = r_lo * b_hi + (uint32_t)middle;
    return (size_t)(r_hi * b_hi + (middle >> 32) + (middle2 >> 32));
}

/* SplitMix64: Steele, Lea and Flood (2014), "Fast splittable pseudorandom number generators". A shuffle
 * needs its numbers in sequence, and these cost a quarter of Philox's. */
static uint64_t next_random(uint64_t *state) {
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

void nvp_shuffle(uint64_t seed, size_t round, size_t n, size_t *order) {
    for (size_t i = 0; i < n; i++)
        order[i] = i;
    uint32_t bits[4];
    nvp_philox(seed, NVP_STREAM_SHUFFLE, round, bits);
    uint64_t state = (uint64_t)bits[0] << 32 | bits[1];
    for (size_t i = n; i > 1; i--) {
        size_t j = scale_to(next_random(&state), i);
        size_t swapped = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swapped;
    }
}
