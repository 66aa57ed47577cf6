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
INLINE vreal power_of_two(vreal k) {
    return from_bits(shift_up(add_bits(bits_of(k + ROUNDING_MAGIC), splat_int(EXPONENT_BIAS)), MANTISSA_BITS));
}

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
    v = blend(less(v, splat(lowest)), splat(lowest), v);
    v = blend(less(splat(highest), v), splat(highest), v);

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

/* exp of one number, with the bits that it has in a vector. */
INLINE real scalar_exp(real x) {
    const vreal power = vexp(splat(x));
    real lanes[LANES];
    memcpy(lanes, &power, sizeof lanes);
    return lanes[0];
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
    return blend(less(magnitude, splat((real)0.625)), small, signed_large);
}

/* 1 / (1 + exp(-v)) */
INLINE vreal vsigmoid(vreal v) { return (real)1 / ((real)1 + vexp(-v)); }

/* log(v) to about 1 ulp for positive normal numbers, which is what the random numbers need. */
INLINE vreal vlog(vreal v) {
    /* v = m 2^e with m in [sqrt(1/2), sqrt(2)): adding the difference to 1 moves the split of the exponent there. */
    const vint one = bits_of(splat(1)), split = bits_of(splat((real)0.70710678118654752440));
    const vint shifted = add_bits(bits_of(v), one - split);
    const vint exponent = (shifted >> MANTISSA_BITS) - EXPONENT_BIAS;
    const vreal m = from_bits((shifted & (((integer)1 << MANTISSA_BITS) - 1)) + split);
    const vreal e = from_bits(add_bits(bits_of(splat(ROUNDING_MAGIC)), exponent)) - ROUNDING_MAGIC;
    const vreal x = m - (real)1, square = x * x;
#if NVP_PRECISION == 32
    vreal p = splat(7.0376836292e-2f);
    p = p * x - 1.1514610310e-1f;
    p = p * x + 1.1676998740e-1f;
    p = p * x - 1.2420140846e-1f;
    p = p * x + 1.4249322787e-1f;
    p = p * x - 1.6668057665e-1f;
    p = p * x + 2.0000714765e-1f;
    p = p * x - 2.4999993993e-1f;
    p = p * x + 3.3333331174e-1f;
    p = p * x * square;
    const real ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
#else
    vreal p = splat(1.01875663804580931796e-4), q = x + 1.12873587189167450590e1;
    p = p * x + 4.97494994976747001425e-1;
    p = p * x + 4.70579119878881725854e0;
    p = p * x + 1.44989225341610930846e1;
    p = p * x + 1.79368678507819816313e1;
    p = p * x + 7.70838733755885391666e0;
    q = q * x + 4.52279145837532221105e1;
    q = q * x + 8.29875266912776603211e1;
    q = q * x + 7.11544750618563894466e1;
    q = q * x + 2.31251620126765340583e1;
    p = p / q * x * square;
    const real ln2_high = 0.693359375, ln2_low = -2.121944400546905827679e-4;
#endif
    return ((p + e * ln2_low) - (real)0.5 * square) + x + e * ln2_high;
}

/* sin(2 pi v) and cos(2 pi v) for v in [0, 1]. */
INLINE void vsincos_of_turns(vreal v, vreal *sine, vreal *cosine) {
    /* The nearest quarter turn, and the rest in radians, at most pi/4. */
    const vreal quarters = round_to_integer(v * (real)4);
    const vreal x = (v - quarters * (real)0.25) * (real)6.283185307179586476925, square = x * x;
#if NVP_PRECISION == 32
    vreal s = splat(-1.9515295891e-4f), c = splat(2.443315711809948e-5f);
    s = s * square + 8.3321608736e-3f;
    s = s * square - 1.6666654611e-1f;
    c = c * square - 1.388731625493765e-3f;
    c = c * square + 4.166664568298827e-2f;
#else
    vreal s = splat(1.58962301576546568060e-10), c = splat(-1.13585365213876817300e-11);
    s = s * square - 2.50507477628578072866e-8;
    s = s * square + 2.75573136213857245213e-6;
    s = s * square - 1.98412698295895385996e-4;
    s = s * square + 8.33333333332211858878e-3;
    s = s * square - 1.66666666666666307295e-1;
    c = c * square + 2.08757008419747316778e-9;
    c = c * square - 2.75573141792967388112e-7;
    c = c * square + 2.48015872888517045348e-5;
    c = c * square - 1.38888888888730564116e-3;
    c = c * square + 4.16666666666665929218e-2;
#endif
    s = s * square * x + x;
    c = c * square * square - (real)0.5 * square + (real)1;
    /* An odd number of quarter turns swaps them; the second bit, and for the cosine the sum of both, is the sign. */
    const vint turn = bits_of(quarters + ROUNDING_MAGIC);
    const vmask odd = less(splat(0), from_bits((turn & 1) * bits_of(splat(1))));
    const vreal sine_size = blend(odd, c, s), cosine_size = blend(odd, s, c);
    const int sign_bit = (int)(8 * sizeof(real)) - 1;
    *sine = from_bits(bits_of(sine_size) ^ shift_up((turn >> 1) & 1, sign_bit));
    *cosine = from_bits(bits_of(cosine_size) ^ shift_up(((turn + 1) >> 1) & 1, sign_bit));
}
