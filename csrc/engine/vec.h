/* Vectors of `real`, in the vector extension that gcc and clang share; a lane of one for other compilers. */

/* Floats are computed as floats. For some machines, such as s390x, gcc with -std=c11 computes them as doubles, which
 * cannot be mixed with vectors of floats. */
#if defined(__GNUC__) && !defined(__clang__) && __FLT_EVAL_METHOD__ != 0
#pragma GCC optimize("excess-precision=fast")
#endif

#if NVP_PRECISION == 32
typedef float real;
typedef int32_t integer;
typedef uint32_t natural;
#else
typedef double real;
typedef int64_t integer;
typedef uint64_t natural;
#endif

#if defined(__GNUC__) || defined(__clang__)
typedef real vreal __attribute__((vector_size(NVP_VECTOR_BYTES)));
typedef integer vint __attribute__((vector_size(NVP_VECTOR_BYTES)));
typedef natural vnatural __attribute__((vector_size(NVP_VECTOR_BYTES)));
#define INLINE static inline __attribute__((always_inline, unused))
#define UNROLLED(index, n) _Pragma("GCC unroll 16") for (size_t index = 0; index < (n); index++)
/* Comparisons of vectors already give lanes of all ones or all zeros. */
#define LANE_MASK(comparison) (comparison)
#else
typedef real vreal;
typedef integer vint;
typedef natural vnatural;
#define INLINE static inline
#define UNROLLED(index, n) for (size_t index = 0; index < (n); index++)
#define LANE_MASK(comparison) (-(integer)(comparison))
#endif

/* Whole numbers of 64 bits. */
#if defined(__GNUC__) || defined(__clang__)
typedef uint64_t vwide __attribute__((vector_size(NVP_VECTOR_BYTES)));
#else
typedef uint64_t vwide;
#endif
INLINE vwide splat_wide(uint64_t x) { return x - (vwide){0}; }

/* The products of the low halves. */
INLINE vwide multiply_low(vwide a, vwide b) {
#if NVP_VECTOR_BYTES == 64
    return (vwide)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif NVP_VECTOR_BYTES == 32
    return (vwide)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
    return (vwide)_mm_mul_epu32((__m128i)a, (__m128i)b);
#else
    return (a & 0xFFFFFFFFu) * (b & 0xFFFFFFFFu);
#endif
}

#define LANES (sizeof(vreal) / sizeof(real))

/* n rounded up to whole vectors. */
INLINE size_t padded(size_t n) { return (n + LANES - 1) / LANES * LANES; }

INLINE vreal splat(real x) { return x - (vreal){0}; }
INLINE vint splat_int(integer x) { return x - (vint){0}; }
INLINE vreal load(const real *p) { return *(const vreal *)p; }
INLINE vreal load_unaligned(const real *p) {
    vreal v;
    memcpy(&v, p, sizeof v);
    return v;
}
INLINE void store_unaligned(real *p, vreal v) { memcpy(p, &v, sizeof v); }
INLINE void store(real *p, vreal v) { *(vreal *)p = v; }

INLINE vint bits_of(vreal v) {
    vint bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

/* The bits of the sum, and those moved up, whatever the signs: integers of one lane may not overflow. */
INLINE vint add_bits(vint a, vint b) { return (vint)((vnatural)a + (vnatural)b); }
INLINE vint shift_up(vint bits, int n) { return (vint)((vnatural)bits << n); }

INLINE vreal from_bits(vint bits) {
    vreal v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* A condition for each lane. AVX-512 has registers of their own for them; elsewhere they are all ones or all zeros. */
#if NVP_VECTOR_BYTES == 64 && NVP_PRECISION == 32
typedef __mmask16 vmask;
INLINE vmask less(vreal a, vreal b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LT_OQ); }
INLINE vreal blend(vmask mask, vreal a, vreal b) { return (vreal)_mm512_mask_blend_ps(mask, (__m512)b, (__m512)a); }
INLINE vreal keep(vmask mask, vreal v) { return (vreal)_mm512_maskz_mov_ps(mask, (__m512)v); }
#elif NVP_VECTOR_BYTES == 64
typedef __mmask8 vmask;
INLINE vmask less(vreal a, vreal b) { return _mm512_cmp_pd_mask((__m512d)a, (__m512d)b, _CMP_LT_OQ); }
INLINE vreal blend(vmask mask, vreal a, vreal b) { return (vreal)_mm512_mask_blend_pd(mask, (__m512d)b, (__m512d)a); }
INLINE vreal keep(vmask mask, vreal v) { return (vreal)_mm512_maskz_mov_pd(mask, (__m512d)v); }
#else
typedef vint vmask;
#if defined(__SSE2__) && NVP_VECTOR_BYTES == 16 && NVP_PRECISION == 32
INLINE vmask less(vreal a, vreal b) { return (vint)_mm_cmplt_ps((__m128)a, (__m128)b); }
#elif defined(__SSE2__) && NVP_VECTOR_BYTES == 16 /* gcc 12 cannot compile all comparisons of vectors */
INLINE vmask less(vreal a, vreal b) { return (vint)_mm_cmplt_pd((__m128d)a, (__m128d)b); }
#else
INLINE vmask less(vreal a, vreal b) { return (vint)LANE_MASK(a < b); }
#endif
INLINE vreal blend(vmask mask, vreal a, vreal b) { return from_bits((mask & bits_of(a)) | (~mask & bits_of(b))); }
INLINE vreal keep(vmask mask, vreal v) { return from_bits(mask & bits_of(v)); } /* v or 0 */
#endif

/* Where the mask holds sum + v, elsewhere sum. */
#if NVP_VECTOR_BYTES == 64 && NVP_PRECISION == 32
INLINE vreal add_where(vmask mask, vreal sum, vreal v) {
    return (vreal)_mm512_mask_add_ps((__m512)sum, mask, (__m512)sum, (__m512)v);
}
#elif NVP_VECTOR_BYTES == 64
INLINE vreal add_where(vmask mask, vreal sum, vreal v) {
    return (vreal)_mm512_mask_add_pd((__m512d)sum, mask, (__m512d)sum, (__m512d)v);
}
#else
INLINE vreal add_where(vmask mask, vreal sum, vreal v) { return sum + keep(mask, v); }
#endif

/* The larger of a number and a value, and NaN where the value is NaN: x86 gives the second operand then. */
#if NVP_VECTOR_BYTES == 64 && NVP_PRECISION == 32
INLINE vreal larger(vreal a, vreal v) { return (vreal)_mm512_max_ps((__m512)a, (__m512)v); }
#elif NVP_VECTOR_BYTES == 64
INLINE vreal larger(vreal a, vreal v) { return (vreal)_mm512_max_pd((__m512d)a, (__m512d)v); }
#elif NVP_VECTOR_BYTES == 32 && NVP_PRECISION == 32
INLINE vreal larger(vreal a, vreal v) { return (vreal)_mm256_max_ps((__m256)a, (__m256)v); }
#elif NVP_VECTOR_BYTES == 32
INLINE vreal larger(vreal a, vreal v) { return (vreal)_mm256_max_pd((__m256d)a, (__m256d)v); }
#elif defined(__SSE2__) && NVP_VECTOR_BYTES == 16 && NVP_PRECISION == 32
INLINE vreal larger(vreal a, vreal v) { return (vreal)_mm_max_ps((__m128)a, (__m128)v); }
#elif defined(__SSE2__) && NVP_VECTOR_BYTES == 16
INLINE vreal larger(vreal a, vreal v) { return (vreal)_mm_max_pd((__m128d)a, (__m128d)v); }
#elif defined(__aarch64__) && NVP_PRECISION == 32 /* NaN where either is */
INLINE vreal larger(vreal a, vreal v) { return (vreal)vmaxq_f32((float32x4_t)a, (float32x4_t)v); }
#elif defined(__aarch64__)
INLINE vreal larger(vreal a, vreal v) { return (vreal)vmaxq_f64((float64x2_t)a, (float64x2_t)v); }
#else
INLINE vreal larger(vreal a, vreal v) { return blend(less(v, a), a, v); }
#endif

/* Square roots of numbers >= 0. */
INLINE vreal square_root(vreal v) {
#if NVP_VECTOR_BYTES == 64 && NVP_PRECISION == 32
    return (vreal)_mm512_sqrt_ps((__m512)v);
#elif NVP_VECTOR_BYTES == 64
    return (vreal)_mm512_sqrt_pd((__m512d)v);
#elif NVP_VECTOR_BYTES == 32 && NVP_PRECISION == 32
    return (vreal)_mm256_sqrt_ps((__m256)v);
#elif NVP_VECTOR_BYTES == 32
    return (vreal)_mm256_sqrt_pd((__m256d)v);
#elif defined(__SSE2__) && NVP_VECTOR_BYTES == 16 && NVP_PRECISION == 32
    return (vreal)_mm_sqrt_ps((__m128)v);
#elif defined(__SSE2__) && NVP_VECTOR_BYTES == 16
    return (vreal)_mm_sqrt_pd((__m128d)v);
#elif defined(__aarch64__) && NVP_PRECISION == 32
    return (vreal)vsqrtq_f32((float32x4_t)v);
#elif defined(__aarch64__)
    return (vreal)vsqrtq_f64((float64x2_t)v);
#else
    real lanes[LANES];
    memcpy(lanes, &v, sizeof v);
    for (size_t i = 0; i < LANES; i++)
        lanes[i] = (real)(NVP_PRECISION == 32 ? sqrtf((float)lanes[i]) : sqrt((double)lanes[i]));
    memcpy(&v, lanes, sizeof v);
    return v;
#endif
}

INLINE vreal positive_part(vreal v) { return larger(splat(0), v); }

#if defined(__GNUC__) || defined(__clang__)
/* Pieces of 16 bytes are vectors for every target. */
typedef real vpiece __attribute__((vector_size(16)));

/* The pieces of a vector added up: halves onto each other. */
INLINE vpiece sum_pieces(vreal v) {
    vpiece pieces[sizeof(vreal) / sizeof(vpiece)];
    memcpy(pieces, &v, sizeof v);
    for (size_t width = sizeof pieces / sizeof *pieces / 2; width > 0; width /= 2)
        UNROLLED (i, width)
            pieces[i] += pieces[i + width];
    return pieces[0];
}
#endif

/* The lanes of two vectors in turn: of their first halves, and of their second halves. */
#if defined(__clang__)
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#elif defined(__GNUC__)
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (vint){__VA_ARGS__})
#endif
#ifdef SHUFFLE
INLINE void interleave(vreal a, vreal b, vreal *first, vreal *second) {
#if NVP_VECTOR_BYTES / (NVP_PRECISION / 8) == 16
    *first = SHUFFLE(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    *second = SHUFFLE(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#elif NVP_VECTOR_BYTES / (NVP_PRECISION / 8) == 8
    *first = SHUFFLE(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
    *second = SHUFFLE(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#elif NVP_VECTOR_BYTES / (NVP_PRECISION / 8) == 4
    *first = SHUFFLE(a, b, 0, 4, 1, 5);
    *second = SHUFFLE(a, b, 2, 6, 3, 7);
#else
    *first = SHUFFLE(a, b, 0, 2);
    *second = SHUFFLE(a, b, 1, 3);
#endif
}

/* LANES vectors as the rows of a square matrix, transposed: interleaving the first half of the rows with the second
 * moves one bit of an element's column into its row, and log2(LANES) times moves all. */
INLINE void transpose_square(vreal v[LANES]) {
    vreal next[LANES];
    for (size_t width = 1; width < LANES; width *= 2) {
        UNROLLED (i, LANES / 2)
            interleave(v[i], v[i + LANES / 2], &next[2 * i], &next[2 * i + 1]);
        UNROLLED (i, LANES)
            v[i] = next[i];
    }
}
#else
INLINE void transpose_square(vreal v[LANES]) { (void)v; }
#endif

/* w[0], ..., w[n - 1] += lanes first, ..., first + n - 1 of v; n is LANES, or half of it. */
INLINE void add_run(size_t n, real *w, vreal v, size_t first) {
#if defined(__GNUC__) || defined(__clang__)
    if (n < LANES) {
        typedef real vhalf __attribute__((vector_size(NVP_VECTOR_BYTES / 2)));
        vhalf halves[2], sum;
        memcpy(halves, &v, sizeof v);
        memcpy(&sum, w, sizeof sum);
        sum += halves[first / n];
        memcpy(w, &sum, sizeof sum);
        return;
    }
#endif
    (void)n, (void)first;
    store_unaligned(w, load_unaligned(w) + v);
}

/* sums[i] += the lanes of v[i] added up, for four vectors. Where the compiler can shuffle, the vectors are folded into
 * one whose every piece holds partial sums of all four. */
#if defined(__clang__) || __GNUC__ >= 12
#if NVP_VECTOR_BYTES == 64 && NVP_PRECISION == 32
#define FOLD(x, y, a, b, c, d)                                                                                         \
    __builtin_shufflevector(x, y, a, b, c, d, a + 4, b + 4, c + 4, d + 4, a + 8, b + 8, c + 8, d + 8, a + 12, b + 12,  \
                            c + 12, d + 12)
#elif NVP_VECTOR_BYTES == 32 && NVP_PRECISION == 32
#define FOLD(x, y, a, b, c, d) __builtin_shufflevector(x, y, a, b, c, d, a + 4, b + 4, c + 4, d + 4)
#elif NVP_PRECISION == 32
#define FOLD(x, y, a, b, c, d) __builtin_shufflevector(x, y, a, b, c, d)
#endif
#endif

#ifdef FOLD
INLINE void add_sums_of_four(const vreal *v, real *sums) {
    enum { N = LANES };
    const vreal ab = FOLD(v[0], v[1], 0, N, 1, N + 1) + FOLD(v[0], v[1], 2, N + 2, 3, N + 3);
    const vreal cd = FOLD(v[2], v[3], 0, N, 1, N + 1) + FOLD(v[2], v[3], 2, N + 2, 3, N + 3);
    const vpiece all = sum_pieces(FOLD(ab, cd, 0, 1, N, N + 1) + FOLD(ab, cd, 2, 3, N + 2, N + 3));
    UNROLLED (i, 4)
        sums[i] += all[i];
}

/* The same for one, with the same roundings. */
INLINE real sum_lanes(vreal v) {
    const vreal four[4] = {v};
    real sums[4] = {0};
    add_sums_of_four(four, sums);
    return sums[0];
}
#else
INLINE real sum_lanes(vreal v) {
#if defined(__GNUC__) || defined(__clang__)
    const vpiece piece = sum_pieces(v);
    return NVP_PRECISION == 32
               ? (piece[0] + piece[2 % (16 / sizeof(real))]) + (piece[1] + piece[3 % (16 / sizeof(real))])
               : piece[0] + piece[1];
#else
    return v;
#endif
}

INLINE void add_sums_of_four(const vreal *v, real *sums) {
    UNROLLED (i, 4)
        sums[i] += sum_lanes(v[i]);
}
#endif

/* sums[i] += the lanes of v[i] added up, for n <= 16 vectors. The order is always the same: equal lanes have equal
 * sums. */
INLINE void add_sums_of_lanes(size_t n, const vreal *v, real *sums) {
    UNROLLED (i, n / 4)
        add_sums_of_four(v + 4 * i, sums + 4 * i);
    UNROLLED (i, n % 4)
        sums[n - n % 4 + i] += sum_lanes(v[n - n % 4 + i]);
}
