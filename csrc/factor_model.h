/* A covariance of few factors, in double precision. */
#ifndef NVP_FACTOR_MODEL_H
#define NVP_FACTOR_MODEL_H

#include "nvpflow.h"

/* model (dim, dim) = L L^T + a diagonal, with L of shape (dim, n_factors), that is likeliest for samples of this
 * covariance (dim, dim); n_factors < dim. Its diagonal is positive where that of the covariance is.
 * Errors: NVP_ERROR_MEMORY.
 *
 * For a given diagonal the best L follows from the first eigenvectors of a matrix, and L determines the diagonal:
 * Joreskog (1967), "Some contributions to maximum likelihood factor analysis". The diagonal changes little from step to
 * step, so their span is followed by orthogonal iteration: Golub and Van Loan (2013), "Matrix computations",
 * section 8.2. */
nvp_status nvp_factor_model(size_t dim, size_t n_factors, const double *covariance, double *model);

#endif
