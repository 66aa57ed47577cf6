/* Random numbers as a function of (seed, stream, counter): Philox4x32-10, Salmon, Moraes, Dror and Shaw (2011),
 * "Parallel random numbers: as easy as 1, 2, 3". Numbers can be drawn in any order and on any thread. */
#ifndef NVP_RNG_H
#define NVP_RNG_H

#include <stddef.h>
#include <stdint.h>

/* Independent streams of one seed, one for each use of random numbers. */
typedef enum {
    NVP_STREAM_SAMPLE,
    NVP_STREAM_INITIALIZE,
    NVP_STREAM_SHUFFLE,
    NVP_STREAM_NOISE,
    NVP_STREAM_COMPONENT,
    NVP_STREAM_MEANS,
    NVP_STREAM_MEMBER,
    NVP_STREAM_MEMBER_SEED
} nvp_stream;

static inline void nvp_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], key0 = key[0], key1 = key[1];
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ key0, c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ key1, c3 = (uint32_t)p0;
        key0 += 0x9E3779B9u, key1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

/* 128 random bits. */
static inline void nvp_philox(uint64_t seed, nvp_stream stream, uint64_t counter, uint32_t out[4]) {
    const uint32_t counters[4] = {(uint32_t)counter, (uint32_t)(counter >> 32), (uint32_t)stream, 0};
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    nvp_philox4x32(counters, key, out);
}

/* Two uniform numbers of 52 bits in the open interval (0, 1). */
static inline void nvp_uniform_pair(uint64_t seed, nvp_stream stream, uint64_t counter, double out[2]) {
    uint32_t bits[4];
    nvp_philox(seed, stream, counter, bits);
    for (int i = 0; i < 2; i++) {
        uint64_t joined = (uint64_t)bits[2 * i] << 32 | bits[2 * i + 1];
        out[i] = ((double)(joined >> 12) + 0.5) * 0x1p-52;
    }
}

/* A uniformly random permutation of 0, ..., n - 1 (Fisher and Yates). Each `round` of a seed has its own. */
void nvp_shuffle(uint64_t seed, size_t round, size_t n, size_t *order);

#endif
