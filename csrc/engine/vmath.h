/* Elementary functions of vectors.
 *
 * exp and tanh reduce their argument and evaluate the polynomials of S. L. Moshier's Cephes library (for exp in double
 * precision the Taylor polynomial of degree 13); the tests measure their errors in ulps against the C library. */

/* Adding this number leaves the nearest integer in the low bits of the mantissa. */
#if NVP_PRECISION == 32
#define ROUNDING_MAGIC 12582912.0f /* 1.5 * 2^23 */
#define MANTISSA_BITS 23
#define EXPONENT_BIAS 127
#else
#define ROUNDING_MAGIC 6755399441055744.0 /* 1.5 * 2^52 */
#define MANTISSA_BITS 52
#define EXPONENT_BIAS 1023
#endif

INLINE vreal round_to_integer(vreal v) { return (v + ROUNDING_MAGIC) - ROUNDING_MAGIC; }

/* 2^k for integers k of the normal range. */
INLINE vreal power_of_two(vreal k) { return from_bits((bits_of(k + ROUNDING_MAGIC) + EXPONENT_BIAS) << MANTISSA_BITS); }

/* exp(v) to about 1 ulp; overflows to infinity, underflows gradually to zero, NaN stays NaN. */
INLINE vreal vexp(vreal v) {
#if NVP_PRECISION == 32
    const real lowest = -104.0f, highest = 89.0f, log2e = 1.44269504088896341f;
    const real ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
#else
    const real lowest = -746.0, highest = 710.0, log2e = 1.4426950408889634073599;
    const real ln2_high = 6.93145751953125e-1, ln2_low = 1.42860682030941723212e-6;
#endif
    /* Beyond these limits the result is 0 or infinity, and the integers below would wrap. */
    v = select(less(v, splat(lowest)), splat(lowest), v);
    v = select(less(splat(highest), v), splat(highest), v);

    /* v = k ln 2 + r with |r| <= ln(2)/2; k * ln2_high is exact. */
    vreal k = round_to_integer(v * log2e);
    vreal r = (v - k * ln2_high) - k * ln2_low;
#if NVP_PRECISION == 32
    vreal p = splat(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
#else
    vreal p = splat(1.0 / 6227020800.0);
    p = p * r + 1.0 / 479001600.0;
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
#endif
    p = (p * r) * r + r + (real)1;

    /* In two factors: 2^k itself may overflow, or be subnormal, where the product is neither. */
    vreal half = round_to_integer(k * (real)0.5);
    return p * power_of_two(half) * power_of_two(k - half);
}

/* tanh(v) to about 2 ulp. */
INLINE vreal vtanh(vreal v) {
    const vint sign = bits_of(splat(-(real)0)) & bits_of(v);
    const vreal magnitude = from_bits(bits_of(v) ^ sign), square = v * v;
#if NVP_PRECISION == 32
    vreal p = splat(-5.70498872745e-3f);
    p = p * square + 2.06390887954e-2f;
    p = p * square - 5.37397155531e-2f;
    p = p * square + 1.33314422036e-1f;
    p = p * square - 3.33332819422e-1f;
    const vreal small = p * square * v + v;
#else
    vreal p = splat(-9.64399179425052238628e-1);
    p = p * square - 9.92877231001918586564e1;
    p = p * square - 1.61468768441708447952e3;
    vreal q = square + 1.12811678491632931402e2;
    q = q * square + 2.23548839060100448583e3;
    q = q * square + 4.84406305325125486048e3;
    const vreal small = p / q * square * v + v;
#endif
    const vreal large = (real)1 - (real)2 / (vexp(magnitude + magnitude) + (real)1);
    const vreal signed_large = from_bits(bits_of(large) | sign);
    /* Written so that NaN takes the second branch and stays NaN. */
    return select(less(magnitude, splat((real)0.625)), small, signed_large);
}

/* 1 / (1 + exp(-v)) */
INLINE vreal vsigmoid(vreal v) { return (real)1 / ((real)1 + vexp(-v)); }
