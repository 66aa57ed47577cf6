/* Vectors of `real`, in the vector extension that gcc and clang share; a lane of one for other compilers. */
#if NVP_PRECISION == 32
typedef float real;
typedef int32_t integer;
#else
typedef double real;
typedef int64_t integer;
#endif

#if defined(__GNUC__) || defined(__clang__)
typedef real vreal __attribute__((vector_size(NVP_VECTOR_BYTES)));
typedef integer vint __attribute__((vector_size(NVP_VECTOR_BYTES)));
#define INLINE static inline __attribute__((always_inline, unused))
#define UNROLLED(index, n) _Pragma("GCC unroll 16") for (size_t index = 0; index < (n); index++)
/* Comparisons of vectors already give lanes of all ones or all zeros. */
#define LANE_MASK(comparison) (comparison)
#else
typedef real vreal;
typedef integer vint;
#define INLINE static inline
#define UNROLLED(index, n) for (size_t index = 0; index < (n); index++)
#define LANE_MASK(comparison) (-(integer)(comparison))
#endif

#define LANES (sizeof(vreal) / sizeof(real))

INLINE vreal splat(real x) { return x - (vreal){0}; }
INLINE vint splat_int(integer x) { return x - (vint){0}; }
INLINE vreal load(const real *p) { return *(const vreal *)p; }
INLINE void store(real *p, vreal v) { *(vreal *)p = v; }

INLINE vint bits_of(vreal v) {
    vint bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

INLINE vreal from_bits(vint bits) {
    vreal v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* Lane by lane: where the mask is all ones a, elsewhere b. */
INLINE vreal select(vint mask, vreal a, vreal b) { return from_bits((mask & bits_of(a)) | (~mask & bits_of(b))); }
INLINE vint less(vreal a, vreal b) { return (vint)LANE_MASK(a < b); }

/* max(v, 0), and NaN where v is NaN. */
INLINE vreal positive_part(vreal v) { return from_bits(~less(v, splat(0)) & bits_of(v)); }

/* The lanes added up, in an order that does not depend on anything. */
INLINE real sum_lanes(vreal v) {
#if defined(__GNUC__) || defined(__clang__)
    /* Halves onto each other: pieces of 16 bytes are vectors for every target. */
    typedef real quarter __attribute__((vector_size(16)));
    quarter pieces[sizeof(vreal) / 16];
    memcpy(pieces, &v, sizeof v);
    for (size_t width = sizeof(vreal) / 32; width > 0; width /= 2)
        UNROLLED (i, width)
            pieces[i] += pieces[i + width];
#if NVP_PRECISION == 32
    return (pieces[0][0] + pieces[0][2]) + (pieces[0][1] + pieces[0][3]);
#else
    return pieces[0][0] + pieces[0][1];
#endif
#else
    return v;
#endif
}
