/* Expectation-maximisation for a mixture of normal distributions, fitted to rows with missing cells. */
#ifndef NVP_INCOMPLETE_H
#define NVP_INCOMPLETE_H

#include "nvpflow.h"

/* Add the expectations of n rows x (n, dim), NaN where a cell is missing, to sums. Rows with the same missing cells
 * should follow one another: what depends on these alone is then computed once.
 *
 * share (n): the weights of the rows. log_weights (k), means (k, dim), covariances (k, dim, dim): of the components.
 * Added to: shares (k), the expected weight of each component; shift (k, dim), the expected offsets from its mean,
 * times weights; squares (k, dim, dim), the expected products of these offsets; and *nll, in nats, the weighted
 * negative log-density of the present cells. NVP_ERROR_ARGUMENT: a covariance is not positive definite.
 *
 * Ghahramani and Jordan (1994), "Supervised learning from incomplete data via an EM approach", equations 9 to 11. */
nvp_status nvp_incomplete_sums(size_t n, size_t dim, size_t k, const double *x, const double *share,
                               const double *log_weights, const double *means, const double *covariances,
                               double *shares, double *shift, double *squares, double *nll);

#endif
