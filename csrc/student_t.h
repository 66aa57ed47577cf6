/* Student's t distribution with any number of degrees of freedom from 1/2 to 10^6, and its map to N(0, 1). */
#ifndef NVP_STUDENT_T_H
#define NVP_STUDENT_T_H

#include "nvpflow.h"
#include <stdbool.h>

typedef struct {
    double df;
    double excess;    /* d df / d parameter */
    double log_ratio; /* log(Gamma((df + 1)/2) / Gamma(df/2)) - log(df/2)/2, which tends to 0 as df grows */
    double slope;     /* d log_ratio / d df */
} nvp_student_t;

/* The distribution with df = 1/2 + exp(log_excess), at most 1/2 + 10^6. Its log-density is
 *     log_ratio - log(2 pi)/2 - (df + 1)/2 log(1 + t^2/df). */
nvp_student_t nvp_student_t_of(double log_excess);

/* y = Phi^-1(F(t)) for a finite t, and the t for y, which is infinite beyond the range of doubles; *log_slope is
 * log dy/dt of either. */
double nvp_student_t_to_normal(const nvp_student_t *student, double t, double *log_slope);
double nvp_student_t_from_normal(const nvp_student_t *student, double y, double *log_slope);

/* Map n points (n, D) column by column, from t to y, or `backward`; log_det (n) is that of the map. A row that is not
 * finite stays as it is, with a log_det of 0. log_excess (D). */
void nvp_student_t_map(size_t n, size_t dim, const double *log_excess, bool backward, const double *points,
                       double *found, double *log_det);

#endif
