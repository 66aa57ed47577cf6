/* The elementary functions of the engine in ulps against the C library in a wider format. Compiled once for each
 * precision and target: -DNVP_PRECISION=32 or 64, -DNVP_VECTORS and -DNVP_VECTOR_BYTES as in the engine's files, and
 * the flags of the target. */
#include "check.h"
#include "engine/headers.h"

#include "engine/vec.inc"
#include "engine/vmath.inc"

typedef vreal (*vector_function)(vreal);
typedef long double (*exact_function)(long double);

static vreal vexp_function(vreal v) { return vexp(v); }
static vreal vexp2_function(vreal v) { return vexp2(v); }
static vreal vexp_of_negative_function(vreal v) { return vexp_of_negative(v); }
static vreal vlog1p_function(vreal v) { return vlog1p(v); }
static vreal vtanh_function(vreal v) { return vtanh(v); }
static vreal vsigmoid_function(vreal v) { return vsigmoid(v); }
static vreal vlog_function(vreal v) { return vlog(v); }
static vreal sine(vreal v) {
    vreal s, c;
    vsincos_of_turns(v, &s, &c);
    return s;
}
static vreal cosine(vreal v) {
    vreal s, c;
    vsincos_of_turns(v, &s, &c);
    return c;
}

/* The angle of a point to the right, above, and to the left of the origin. */
static vreal angle_right(vreal v) { return vturns(splat(1), v); }
static vreal angle_above(vreal v) { return vturns(v, splat(1)); }
static vreal angle_left(vreal v) { return vturns(splat(-1), v); }
static long double turns(long double x, long double y) {
    return atan2l(y, x) / 6.283185307179586476925286766559005768L;
}
static long double exact_right(long double x) { return turns(1, x); }
static long double exact_above(long double x) { return turns(x, 1); }
static long double exact_left(long double x) { return turns(-1, x); }

static long double exact_sigmoid(long double x) { return 1 / (1 + expl(-x)); }
static long double exact_sine(long double x) { return sinl(6.283185307179586476925286766559005768L * x); }
static long double exact_cosine(long double x) { return cosl(6.283185307179586476925286766559005768L * x); }

static real apply(vector_function function, real x) {
    real lanes[LANES];
    const vreal v = function(splat(x));
    memcpy(lanes, &v, sizeof v);
    for (size_t i = 1; i < LANES; i++)
        CHECK(memcmp(&lanes[i], &lanes[0], sizeof(real)) == 0);
    return lanes[0];
}

#if NVP_PRECISION == 32
#define NEXT_AFTER nextafterf
#define LARGEST FLT_MAX
#define SMALLEST_NORMAL FLT_MIN
#define SUBNORMAL FLT_TRUE_MIN
#define EPSILON FLT_EPSILON
#define EXP_OVERFLOW 88.72284f /* exp of this is finite, of the next number it is not */
#else
#define NEXT_AFTER nextafter
#define LARGEST DBL_MAX
#define SMALLEST_NORMAL DBL_MIN
#define SUBNORMAL DBL_TRUE_MIN
#define EPSILON DBL_EPSILON
#define EXP_OVERFLOW 709.782712893384
#endif

/* The distance of a result from the exact one in units of the last place of the exact one. */
static double ulps(real result, long double exact) {
    const real rounded = (real)exact;
    if (isinf(rounded) || isinf(result))
        return isinf(rounded) && isinf(result) && rounded == result ? 0 : 1e9;
    const real size = (real)fabsl(exact);
    const long double ulp = (long double)(NEXT_AFTER(size, (real)INFINITY) - size);
    return (double)(fabsl((long double)result - exact) / ulp);
}

/* The greatest error over n points from low to high, evenly spaced, where the exact value is at least so large. */
static double worst_of(vector_function function, exact_function exact, double low, double high, int n, double least) {
    double worst = 0;
    for (int i = 0; i <= n; i++) {
        const real x = (real)(low + (high - low) * i / n);
        const long double expected = exact((long double)x);
        if (fabsl(expected) >= (long double)least)
            worst = fmax(worst, ulps(apply(function, x), expected));
    }
    return worst;
}

static void check_within(const char *name, vector_function function, exact_function exact, double low, double high,
                         double least, double allowed) {
    const double worst = worst_of(function, exact, low, high, 200000, least);
    printf("  %-8s on [%g, %g]: %.2f ulp\n", name, low, high, worst);
    CHECK(worst <= allowed);
}

static void test_limits(void) {
    const real infinity = (real)INFINITY, nan = (real)NAN;
    CHECK(apply(vexp_function, 0) == 1);
    CHECK(apply(vexp_function, infinity) == infinity);
    CHECK(apply(vexp_function, -infinity) == 0);
    CHECK(isnan(apply(vexp_function, nan)));
    CHECK(isfinite(apply(vexp_function, (real)EXP_OVERFLOW - (real)EXP_OVERFLOW * EPSILON)));
    CHECK(isinf(apply(vexp_function, (real)EXP_OVERFLOW + 2 * (real)EXP_OVERFLOW * EPSILON)));
    CHECK(isinf(apply(vexp_function, LARGEST)));
    CHECK(apply(vexp_function, -LARGEST) == 0);
    CHECK(apply(vexp_function, (real)(NVP_PRECISION == 32 ? -103 : -745)) == SUBNORMAL);
    CHECK(apply(vexp_function, (real)(NVP_PRECISION == 32 ? -104.5 : -746)) == 0);

    CHECK(apply(vexp2_function, 0) == 1 && apply(vexp2_function, -7) == (real)0x1p-7);
    CHECK(apply(vexp2_function, -infinity) == SMALLEST_NORMAL && apply(vexp2_function, -LARGEST) == SMALLEST_NORMAL);
    CHECK(isnan(apply(vexp2_function, nan)));
    CHECK(apply(vexp_of_negative_function, 0) == 1 && apply(vexp_of_negative_function, -infinity) == 0);
    CHECK(apply(vexp_of_negative_function, (real)(NVP_PRECISION == 32 ? -87.5 : -708.5)) == 0);
    CHECK(isnan(apply(vexp_of_negative_function, nan)));
    CHECK(apply(vlog1p_function, 0) == 0 && apply(vlog1p_function, SMALLEST_NORMAL) == SMALLEST_NORMAL);
    CHECK(isnan(apply(vlog1p_function, nan)));

    CHECK(apply(vtanh_function, infinity) == 1 && apply(vtanh_function, -infinity) == -1);
    CHECK(apply(vtanh_function, LARGEST) == 1 && apply(vtanh_function, -LARGEST) == -1);
    CHECK(isnan(apply(vtanh_function, nan)));
    CHECK(apply(vtanh_function, 0) == 0);
    for (real x = SMALLEST_NORMAL; x < 100; x *= (real)3.7)
        CHECK(apply(vtanh_function, -x) == -apply(vtanh_function, x));

    CHECK(apply(vsigmoid_function, infinity) == 1 && apply(vsigmoid_function, -infinity) == 0);
    CHECK(apply(vsigmoid_function, 0) == (real)0.5 && isnan(apply(vsigmoid_function, nan)));
    CHECK(apply(vlog_function, 1) == 0);
    CHECK(apply(sine, 0) == 0 && apply(cosine, 0) == 1 && apply(cosine, (real)0.5) == -1);
    CHECK(isnan(apply(angle_right, nan)) && isnan(apply(angle_above, nan)) && isnan(apply(angle_left, nan)));
    CHECK(apply(angle_right, 0) == 0 && apply(angle_above, 0) == (real)0.25 && apply(angle_left, 0) == (real)0.5);
    CHECK(apply(angle_right, infinity) == (real)0.25 && apply(angle_right, -infinity) == (real)-0.25);
    const vreal origin = vturns(splat(0), splat(0));
    CHECK(memcmp(&origin, &(vreal){0}, sizeof origin) == 0);
    CHECK(isnan(apply(positive_part, nan)) && apply(positive_part, -1) == 0 && apply(positive_part, 2) == 2);
}

/* Sums over lanes do not depend on how many are taken at once. */
static void test_sums(void) {
    vreal v[7];
    real sums[7] = {0};
    for (int k = 0; k < 7; k++) {
        real lanes[LANES];
        for (size_t i = 0; i < LANES; i++)
            lanes[i] = (real)1 / (real)(3 * k + (int)i + 1);
        memcpy(&v[k], lanes, sizeof lanes);
    }
    add_sums_of_lanes(7, v, sums);
    for (int k = 0; k < 7; k++) {
        long double exact = 0;
        for (size_t i = 0; i < LANES; i++)
            exact += (long double)((real)1 / (real)(3 * k + (int)i + 1));
        CHECK(sums[k] == sum_lanes(v[k]));
        CHECK(fabsl(sums[k] - exact) <= 4 * (long double)EPSILON * exact);
    }
}

static void test_errors(void) {
    const double range = NVP_PRECISION == 32 ? 87.3 : 708.3, subnormal = NVP_PRECISION == 32 ? 103.9 : 745.1;
    check_within("exp", vexp_function, expl, -range, (double)EXP_OVERFLOW, 0, 2);
    check_within("exp", vexp_function, expl, -1, 1, 0, 2);
    check_within("exp", vexp_function, expl, -subnormal, -range, 0,
                 2); /* subnormal results: an ulp is what they have */
    check_within("exp <= 0", vexp_of_negative_function, expl, NVP_PRECISION == 32 ? -87 : -708, 0, 0, 2);
    check_within("exp <= 0", vexp_of_negative_function, expl, -1, 0, 0, 2);
    check_within("exp2", vexp2_function, exp2l, NVP_PRECISION == 32 ? -126 : -1022, 0, 0, 2);
    check_within("exp2", vexp2_function, exp2l, -1, 0, 0, 2);
    check_within("log1p", vlog1p_function, log1pl, 0, 1, 0, 2);
    check_within("log1p", vlog1p_function, log1pl, 0, 1e-3, 0, 2);
    check_within("tanh", vtanh_function, tanhl, -12, 12, 0, 3);
    check_within("tanh", vtanh_function, tanhl, -0.7, 0.7, 0, 3);
    check_within("tanh", vtanh_function, tanhl, -1e-6, 1e-6, 0, 3);
    check_within("sigmoid", vsigmoid_function, exact_sigmoid, -80, 40, 0, 4);
    check_within("log", vlog_function, logl, 1e-10, 1, 0, 2);
    check_within("log", vlog_function, logl, 0.9, 1, 0, 2);
    /* Near their zeros only the absolute error counts: they are multiplied by numbers of the size of 1. */
    check_within("sine", sine, exact_sine, 0, 1, 0.01, 3);
    check_within("cosine", cosine, exact_cosine, 0, 1, 0.01, 3);
    check_within("sine", sine, exact_sine, -1, 0, 0.01, 3);
    check_within("cosine", cosine, exact_cosine, -1, 0, 0.01, 3);
    check_within("angle", angle_right, exact_right, -4, 4, 0, 4);
    check_within("angle", angle_above, exact_above, -4, 4, 0, 4);
    check_within("angle", angle_left, exact_left, -4, 4, 0, 4);
    check_within("angle", angle_right, exact_right, -1e6, 1e6, 0, 4);
}

static const named_test tests[] = {TEST(errors), TEST(limits), TEST(sums)};

int main(int n_arguments, char **arguments) {
    printf("%d bits, vectors of %d bytes\n", NVP_PRECISION, NVP_VECTOR_BYTES);
    return RUN_TESTS(tests, n_arguments, arguments);
}
