/* Standard normal numbers, LANES blocks of the generator at a time, by Box and Muller (1958): from uniform u and v
 *
 *   r cos(2 pi v)  and  r sin(2 pi v),  r = sqrt(-2 log u).
 *
 * A block is 128 bits: two pairs of 32-bit uniforms in single precision, one pair of 52-bit ones in double. Normal
 * number q of a stream is number q % PER_BLOCK of block q / PER_BLOCK, so any of them can be had alone. */

enum { PER_BLOCK = NVP_PRECISION == 32 ? 4 : 2 };

typedef struct {
    vreal values[PER_BLOCK]; /* values[i] lane b: number i of block first_block + b */
    uint64_t first_block;
} normal_lanes;

/* The generator of rng.h in lanes: loops over lanes that the compiler turns into vectors. */
INLINE void philox_lanes(uint64_t seed, nvp_stream stream, uint64_t first_block, uint32_t words[4][LANES]) {
    uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
    for (size_t b = 0; b < LANES; b++) {
        words[0][b] = (uint32_t)(first_block + b), words[1][b] = (uint32_t)((first_block + b) >> 32);
        words[2][b] = (uint32_t)stream, words[3][b] = 0;
    }
    for (int round = 0; round < 10; round++) {
        for (size_t b = 0; b < LANES; b++) {
            const uint64_t p0 = (uint64_t)0xD2511F53u * words[0][b], p1 = (uint64_t)0xCD9E8D57u * words[2][b];
            words[0][b] = (uint32_t)(p1 >> 32) ^ words[1][b] ^ key0, words[1][b] = (uint32_t)p1;
            words[2][b] = (uint32_t)(p0 >> 32) ^ words[3][b] ^ key1, words[3][b] = (uint32_t)p0;
        }
        key0 += 0x9E3779B9u, key1 += 0xBB67AE85u;
    }
}

static void draw_normals(uint64_t seed, nvp_stream stream, uint64_t first_block, normal_lanes *normals) {
    uint32_t words[4][LANES];
    real uniform[PER_BLOCK][LANES];
    philox_lanes(seed, stream, first_block, words);
#if NVP_PRECISION == 32
    for (size_t i = 0; i < 4; i++)
        for (size_t b = 0; b < LANES; b++)
            uniform[i][b] = (float)words[i][b] * 0x1p-32f + 0x1p-33f; /* in (0, 1] */
#else
    for (size_t i = 0; i < 2; i++)
        for (size_t b = 0; b < LANES; b++) {
            const uint64_t joined = (uint64_t)words[2 * i][b] << 32 | words[2 * i + 1][b];
            uniform[i][b] = ((double)(joined >> 12) + 0.5) * 0x1p-52; /* in (0, 1) */
        }
#endif
    for (size_t i = 0; i < PER_BLOCK; i += 2) {
        const vreal radius = square_root((real)-2 * vlog(load_unaligned(uniform[i])));
        vreal sine, cosine;
        vsincos_of_turns(load_unaligned(uniform[i + 1]), &sine, &cosine);
        normals->values[i] = radius * cosine;
        normals->values[i + 1] = radius * sine;
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
