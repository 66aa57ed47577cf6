/* A covariance of few factors, in double precision. */
#ifndef NVP_FACTOR_MODEL_H
#define NVP_FACTOR_MODEL_H

#include <stddef.h>

/* model (dim, dim) = L L^T + a diagonal, with L of shape (dim, n_factors), that is likeliest for samples of this
 * covariance (dim, dim); n_factors < dim. Its diagonal is positive where that of the covariance is.
 * scratch: 3 dim dim + 2 dim numbers.
 *
 * For a given diagonal the best L follows from an eigendecomposition, and L determines the diagonal: Joreskog (1967),
 * "Some contributions to maximum likelihood factor analysis". Eigenvectors are found by Jacobi's rotations, which suit
 * few columns: Golub and Van Loan (2013), "Matrix computations", section 8.5. */
void nvp_factor_model(size_t dim, size_t n_factors, const double *covariance, double *model, double *scratch);

#endif
