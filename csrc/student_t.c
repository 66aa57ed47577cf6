#include "student_t.h"
#include "normal.h"
#include <float.h>
#include <math.h>
#include <string.h>

static const double LEAST_DF = 0.5, MOST_LOG_EXCESS = 13.815510557964274 /* log 10^6 */, LOG_2 = 0.69314718055994530942,
                    LOG_PI = 1.1447298858494001741;

/* From here on the asymptotic series is exact to rounding. */
static const double LEAST_OF_SERIES = 16;

/* log(Gamma(x + 1/2) / Gamma(x)) - log(x)/2 by its series in 1/x (Tricomi and Erdelyi, 1951), and from x + 1 to x by
 * the recurrence of Gamma. A difference of two values of lgamma would cancel. */
static double log_ratio(double x, double *slope) {
    static const double series[] = {-1.0 / 8,      1.0 / 192,      -1.0 / 640,      17.0 / 14336,
                                    -31.0 / 18432, 691.0 / 180224, -5461.0 / 425984};
    double sum = 0, power_sum = 0, shift = 0, shift_slope = 0;
    for (; x < LEAST_OF_SERIES; x++) {
        shift += 0.5 * log1p(1 / x) - log1p(0.5 / x);
        shift_slope += 0.25 / (x * (x + 0.5) * (x + 1));
    }
    const double square = 1 / (x * x);
    for (int i = 6; i >= 0; i--) {
        sum = sum * square + series[i];
        power_sum = power_sum * square + (2 * i + 1) * series[i];
    }
    *slope = shift_slope - power_sum * square;
    return shift + sum / x;
}

nvp_student_t nvp_student_t_of(double log_excess) {
    const bool capped = log_excess > MOST_LOG_EXCESS;
    const double excess = exp(capped ? MOST_LOG_EXCESS : log_excess);
    nvp_student_t student = {.df = LEAST_DF + excess, .excess = capped ? 0 : excess};
    if (isnan(student.df))
        student.log_ratio = student.slope = student.df;
    else
        student.log_ratio = log_ratio(student.df / 2, &student.slope), student.slope /= 2;
    return student;
}

/* The continued fraction of the incomplete beta function, by the method of Lentz: DLMF 8.17.22. */
static double beta_fraction(double a, double b, double x) {
    double c = 1, d = 1 / (1 - (a + b) * x / (a + 1)), value = d;
    for (int m = 1; m < 10000; m++) {
        const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        d = 1 / (1 + even * d), c = 1 + even / c, value *= d * c;
        const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1 / (1 + odd * d), c = 1 + odd / c, value *= d * c;
        if (fabs(d * c - 1) < DBL_EPSILON)
            break;
    }
    return value;
}

/* log P(T > t) for many degrees of freedom and v = log(1 + t^2/df) < 1, uniformly in t. In the variable v the density
 * is exp(-alpha v) v^(-1/2) (2 sinh(v/2)/v)^(-1/2),    alpha = (df - 1/2)/2, up to a constant, and each term of the
 * series of the last factor gives an incomplete gamma function, by recurrence from that of the normal distribution. */
static double series_of_tail(const nvp_student_t *student, double v) {
    static const double series[] = {1,
                                    -0.020833333333333332,
                                    0.000390625,
                                    -7.879670965608466e-06,
                                    1.6967665791721782e-07,
                                    -3.805064191721906e-09,
                                    8.748377596315407e-11,
                                    -2.044523359411974e-12};
    const double alpha = (student->df - 0.5) / 2, x = alpha * v, y = sqrt(2 * x), e = nvp_exponential_of_normal(y);
    double power = 0.5 * y * exp(nvp_normal_log_density(y) + e), gamma = 1, scale = 1, sum = 1, s = 0.5;
    for (size_t k = 1; k < sizeof series / sizeof *series; k++) {
        for (int step = 0; step < 2; step++, s++)
            gamma = s * gamma + power, power *= x;
        scale /= alpha * alpha;
        sum += series[k] * scale * gamma;
    }
    return student->log_ratio - 0.5 * log1p(-0.5 / student->df) - e + log(sum);
}

/* log P(T > t) for t >= 0, where v = log(1 + t^2/df). */
static double log_tail(const nvp_student_t *student, double v) {
    const double half = student->df / 2, share = -expm1(-v);
    if (half > 50 && v < 1)
        return series_of_tail(student, v);
    const double log_front = student->log_ratio + 0.5 * (log(half) - LOG_PI + log(share)) - half * v;
    if (share < 1.5 / (half + 2.5)) /* near the centre, where the other fraction converges slowly */
        return log1p(-2 * exp(log_front) * beta_fraction(0.5, half, share)) - LOG_2;
    return log_front - log(half) + log(beta_fraction(half, 0.5, exp(-v))) - LOG_2;
}

/* y >= 0 with the mass beyond it that the distribution has beyond t, and log dy/dt. */
static double normal_of(const nvp_student_t *student, double v, double *log_slope) {
    const double y = nvp_normal_of_exponential(-log_tail(student, v));
    *log_slope = student->log_ratio - (student->df + 1) / 2 * v + 0.5 * y * y;
    return y;
}

/* Below it, y is linear in t to rounding. */
static const double CENTRE = 1e-8;

double nvp_student_t_to_normal(const nvp_student_t *student, double t, double *log_slope) {
    const double s = fabs(t) / sqrt(student->df);
    if (fabs(t) < CENTRE) {
        *log_slope = student->log_ratio;
        return t * exp(student->log_ratio);
    }
    return copysign(normal_of(student, s < 1e8 ? log1p(s * s) : 2 * log(s), log_slope), t);
}

/* Newton's method in r = sqrt(log(1 + t^2/df)), in which y is almost linear: it is at the centre and far away. */
double nvp_student_t_from_normal(const nvp_student_t *student, double y, double *log_slope) {
    const double size = fabs(y), df = student->df;
    *log_slope = student->log_ratio;
    if (size < CENTRE)
        return y * exp(-student->log_ratio);
    double r = size / sqrt(df), step = r;
    for (int i = 0; i < 50 && fabs(step) > 1e-9 * r; i++) {
        const double v = r * r, at = normal_of(student, v, log_slope);
        step = (size - at) * exp(-*log_slope - 0.5 * (log(df) + v + log(v / -expm1(-v))));
        r = fmax(r + step, r / 4);
    }
    const double v = r * r;
    *log_slope = student->log_ratio - (df + 1) / 2 * v + 0.5 * y * y;
    return copysign(exp(0.5 * (log(df) + v + log(-expm1(-v)))), y);
}

static bool is_finite(const double *point, size_t dim) {
    for (size_t i = 0; i < dim; i++)
        if (!isfinite(point[i]))
            return false;
    return true;
}

void nvp_student_t_map(size_t n, size_t dim, const double *log_excess, bool backward, const double *points,
                       double *found, double *log_det) {
    memmove(found, points, n * dim * sizeof *found);
    for (size_t row = 0; row < n; row++)
        log_det[row] = is_finite(found + row * dim, dim) ? 0 : (double)NAN;
    for (size_t d = 0; d < dim; d++) {
        const nvp_student_t student = nvp_student_t_of(log_excess[d]);
        for (size_t row = 0; row < n; row++) {
            double *place = found + row * dim + d, log_slope;
            if (isnan(log_det[row]))
                continue;
            *place = backward ? nvp_student_t_from_normal(&student, *place, &log_slope)
                              : nvp_student_t_to_normal(&student, *place, &log_slope);
            log_det[row] += backward ? -log_slope : log_slope;
        }
    }
    for (size_t row = 0; row < n; row++)
        if (isnan(log_det[row]))
            log_det[row] = 0;
}
