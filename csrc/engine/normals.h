/* Standard normal numbers, LANES blocks of the generator at a time, by Box and Muller (1958): from uniform u and v
 *
 *   r cos(2 pi v)  and  r sin(2 pi v),  r = sqrt(-2 log u).
 *
 * A block is 128 bits: two pairs of 32-bit uniforms in single precision, one pair of 52-bit ones in double. Normal
 * number q of a stream is number q % PER_BLOCK of block q / PER_BLOCK, so any of them can be had alone. */

enum { PER_BLOCK = NVP_PRECISION == 32 ? 4 : 2 };

typedef struct {
    real values[PER_BLOCK][LANES]; /* values[i][b]: number i of block first_block + b */
    uint64_t first_block;
} normal_lanes;

/* The generator of rng.h in lanes of 64 bits, of which the low halves matter. */
INLINE void philox_lanes(uint64_t seed, nvp_stream stream, uint64_t first_block, uint64_t words[4][LANES]) {
    enum { BLOCKS = sizeof(vwide) / sizeof(uint64_t) };
    for (size_t b = 0; b < LANES; b++)
        words[0][b] = first_block + b;
    for (size_t b = 0; b < LANES; b += BLOCKS) {
        uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
        vwide c0, c1, c2 = splat_wide((uint64_t)stream), c3 = splat_wide(0);
        memcpy(&c0, &words[0][b], sizeof c0);
        c1 = c0 >> 32;
        for (int round = 0; round < 10; round++) {
            const vwide p0 = multiply_low(splat_wide(0xD2511F53u), c0), p1 = multiply_low(splat_wide(0xCD9E8D57u), c2);
            c0 = (p1 >> 32) ^ c1 ^ splat_wide(key0), c1 = p1;
            c2 = (p0 >> 32) ^ c3 ^ splat_wide(key1), c3 = p0;
            key0 += 0x9E3779B9u, key1 += 0xBB67AE85u;
        }
        memcpy(&words[0][b], &c0, sizeof c0), memcpy(&words[1][b], &c1, sizeof c1);
        memcpy(&words[2][b], &c2, sizeof c2), memcpy(&words[3][b], &c3, sizeof c3);
    }
}

static void draw_normals(uint64_t seed, nvp_stream stream, uint64_t first_block, normal_lanes *normals) {
    uint64_t words[4][LANES];
    real uniform[PER_BLOCK][LANES];
    philox_lanes(seed, stream, first_block, words);
#if NVP_PRECISION == 32
    for (size_t i = 0; i < 4; i++)
        for (size_t b = 0; b < LANES; b++)
            uniform[i][b] = (float)(uint32_t)words[i][b] * 0x1p-32f + 0x1p-33f; /* in (0, 1] */
#else
    for (size_t i = 0; i < 2; i++)
        for (size_t b = 0; b < LANES; b++) {
            const uint64_t joined = words[2 * i][b] << 32 | (uint32_t)words[2 * i + 1][b];
            uniform[i][b] = ((double)(joined >> 12) + 0.5) * 0x1p-52; /* in (0, 1) */
        }
#endif
    for (size_t i = 0; i < PER_BLOCK; i += 2) {
        const vreal radius = square_root((real)-2 * vlog(load_unaligned(uniform[i])));
        vreal sine, cosine;
        vsincos_of_turns(load_unaligned(uniform[i + 1]), &sine, &cosine);
        store_unaligned(normals->values[i], radius * cosine);
        store_unaligned(normals->values[i + 1], radius * sine);
    }
    normals->first_block = first_block;
}

/* Normal number q; draws anew where q is not among those at hand. */
INLINE real normal_number(uint64_t seed, nvp_stream stream, uint64_t q, normal_lanes *normals) {
    const uint64_t block = q / PER_BLOCK;
    if (block - normals->first_block >= LANES)
        draw_normals(seed, stream, block, normals);
    return normals->values[q % PER_BLOCK][block - normals->first_block];
}
