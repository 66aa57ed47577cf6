/* Requirements on floating-point arithmetic, and the limits of each dtype. */
#ifndef NVP_REALS_H
#define NVP_REALS_H

#include "nvpflow.h"
#include <float.h>
#include <math.h>
#include <stdbool.h>

#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__) ||                               \
    defined(__ASSOCIATIVE_MATH__) || defined(_M_FP_FAST)
#error "nvpflow needs NaN, infinity and sums in their order: compile it without -ffast-math, -Ofast or /fp:fast."
#endif

static inline double nvp_largest(nvp_dtype dtype) { return dtype == NVP_FLOAT32 ? (double)FLT_MAX : DBL_MAX; }

/* Whether a number is positive and neither subnormal nor infinite in a dtype. */
static inline bool nvp_is_normal(nvp_dtype dtype, double value) {
    return value >= (dtype == NVP_FLOAT32 ? (double)FLT_MIN : DBL_MIN) && value <= nvp_largest(dtype);
}

/* Whether each of n numbers is 0 or a period > 0, whose square the gradients of circular splines need. */
static inline bool nvp_are_periods(nvp_dtype dtype, size_t n, const double *periods) {
    for (size_t i = 0; i < n; i++)
        if (periods[i] != 0 && !(periods[i] > 0 && nvp_is_normal(dtype, periods[i] * periods[i])))
            return false;
    return true;
}

/* The nearest number of a dtype. */
static inline double nvp_round(nvp_dtype dtype, double value) {
    return dtype == NVP_FLOAT32 ? (double)(float)value : value;
}

static inline bool nvp_all_finite(nvp_dtype dtype, const void *reals, size_t n) {
    const float *singles = reals;
    const double *doubles = reals;
    for (size_t i = 0; i < n; i++)
        if (!(dtype == NVP_FLOAT32 ? isfinite(singles[i]) : isfinite(doubles[i])))
            return false;
    return true;
}

#endif
