/* The Rosenblatt transform of a mixture of normal distributions: points of the mixture become points of N(0, I). */
#ifndef NVP_ROSENBLATT_H
#define NVP_ROSENBLATT_H

#include "nvpflow.h"
#include <stdbool.h>

/* K normal distributions of `n_given` columns that are given and `dim` others. With the lower triangular factor P, the
 * precision of a component is P^T P; columns of P that come first describe the marginals of the first columns. */
typedef struct {
    size_t k, n_given, dim;
    const double *log_weights; /* (k), or (n, k) if `weights_per_row` */
    bool weights_per_row;
    const double *means;   /* (k, n_given + dim) */
    const double *factors; /* (k, n_given + dim, n_given + dim) */
} nvp_normals;

/* Map n points (n, dim), given (n, n_given), column by column:
 *     z_d = Phi^-1(F(x_d | x_1, ..., x_(d-1), given)),
 * where F is a distribution function of the mixture; `backward` from z to x. log_det (n): log|det dz/dx|, or
 * log|det dx/dz|. So log p(x | given) = log N(z; 0, I) + log|det dz/dx|. A row that is not finite stays as it is, with
 * a log_det of 0.
 *
 * Rosenblatt (1952), "Remarks on a multivariate transformation". */
nvp_status nvp_rosenblatt(const nvp_normals *normals, bool backward, size_t n, const double *given,
                          const double *points, double *found, double *log_det);

#endif
