#include "rng.h"

/* An index below `bound`: the high half of a 64 x 64 bit product, whose bias of bound / 2^64 nobody can see. */
static size_t scale_to(uint64_t random, size_t bound) {
    uint64_t r_hi = random >> 32, r_lo = (uint32_t)random, b_hi = (uint64_t)bound >> 32, b_lo = (uint32_t)bound;
    uint64_t middle = r_hi * b_lo + (r_lo * b_lo >> 32);
    uint64_t middle2 = r_lo * b_hi + (uint32_t)middle;
    return (size_t)(r_hi * b_hi + (middle >> 32) + (middle2 >> 32));
}

void nvp_shuffle(uint64_t seed, size_t round, size_t n, size_t *order) {
    for (size_t i = 0; i < n; i++)
        order[i] = i;
    /* The round has a key of its own, drawn from the seed, so that no two rounds share counters however long they are.
     */
    uint32_t bits[4];
    nvp_philox(seed, NVP_STREAM_SHUFFLE, round, bits);
    uint64_t key = (uint64_t)bits[0] << 32 | bits[1];
    for (size_t i = n; i > 1; i--) {
        nvp_philox(key, NVP_STREAM_SHUFFLE, i, bits);
        size_t j = scale_to((uint64_t)bits[0] << 32 | bits[1], i);
        size_t swapped = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swapped;
    }
}
