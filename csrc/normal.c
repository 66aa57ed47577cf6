#include "normal.h"
#include <math.h>
#include <stddef.h>

static const double SQRT_HALF = 0.70710678118654752440, LOG_2 = 0.69314718055994530942,
                    HALF_LOG_2_PI = 0.91893853320467274178;

double nvp_normal_cdf(double z) { return 0.5 * erfc(-z * SQRT_HALF); }

double nvp_normal_log_density(double z) { return -0.5 * z * z - HALF_LOG_2_PI; }

static double ratio(const double (*coefficients)[2], double r) {
    double above = coefficients[0][0], below = coefficients[0][1];
    for (size_t i = 1; i < 8; i++)
        above = above * r + coefficients[i][0], below = below * r + coefficients[i][1];
    return above / below;
}

/* log Phi(-z) for z >= 30 by the asymptotic series: Abramowitz and Stegun (1964), 26.2.12. */
static double far_log_tail(double z) {
    const double s = 1 / (z * z);
    return nvp_normal_log_density(z) - log(z) + log1p(s * (-1 + s * (3 + s * (-15 + s * (105 - s * 945)))));
}

/* Wichura (1988), "Algorithm AS 241: the percentage points of the normal distribution", PPND16. Beyond its range, where
 * p < 1e-300, Newton's method on log Phi(-z), which is nearly quadratic in z. */
double nvp_normal_quantile(double log_p) {
    static const double central[8][2] = {
        {2.5090809287301226727e+3, 5.2264952788528545610e+3}, {3.3430575583588128105e+4, 2.8729085735721942674e+4},
        {6.7265770927008700853e+4, 3.9307895800092710610e+4}, {4.5921953931549871457e+4, 2.1213794301586595867e+4},
        {1.3731693765509461125e+4, 5.3941960214247511077e+3}, {1.9715909503065514427e+3, 6.8718700749205790830e+2},
        {1.3314166789178437745e+2, 4.2313330701600911252e+1}, {3.3871328727963666080e+0, 1.0},
    };
    static const double middle[8][2] = {
        {7.74545014278341407640e-4, 1.05075007164441684324e-9}, {2.27238449892691845833e-2, 5.47593808499534494600e-4},
        {2.41780725177450611770e-1, 1.51986665636164571966e-2}, {1.27045825245236838258e+0, 1.48103976427480074590e-1},
        {3.64784832476320460504e+0, 6.89767334985100004550e-1}, {5.76949722146069140550e+0, 1.67638483018380384940e+0},
        {4.63033784615654529590e+0, 2.05319162663775882187e+0}, {1.42343711074968357734e+0, 1.0},
    };
    static const double far[8][2] = {
        {2.01033439929228813265e-7, 2.04426310338993978564e-15}, {2.71155556874348757815e-5, 1.42151175831644588870e-7},
        {1.24266094738807843860e-3, 1.84631831751005468180e-5},  {2.65321895265761230930e-2, 7.86869131145613259100e-4},
        {2.96560571828504891230e-1, 1.48753612908506148525e-2},  {1.78482653991729133580e+0, 1.36929880922735805310e-1},
        {5.46378491116411436990e+0, 5.99832206555887937690e-1},  {6.65790464350110377720e+0, 1.0},
    };
    if (log_p > -2.590267165445826) { /* p > 0.075 */
        const double q = expm1(log_p) + 0.5;
        return q * ratio(central, 0.180625 - q * q);
    }
    const double r = sqrt(-log_p);
    if (r <= 5)
        return -ratio(middle, r - 1.6);
    if (r <= 26)
        return -ratio(far, r - 5);
    if (isinf(r))
        return log_p;
    double z = sqrt(2 * (-log_p - HALF_LOG_2_PI - 0.5 * log(2 * -log_p)));
    for (int i = 0; i < 3; i++)
        z += (far_log_tail(z) - log_p) / (z + 1 / z);
    return -z;
}

double nvp_exponential_of_normal(double z) {
    if (z < 0)
        return -log1p(-nvp_normal_cdf(z));
    return z < 30 ? -log(nvp_normal_cdf(-z)) : -far_log_tail(z);
}

double nvp_normal_of_exponential(double e) {
    return e < LOG_2 ? nvp_normal_quantile(log(-expm1(-e))) : -nvp_normal_quantile(-e);
}
