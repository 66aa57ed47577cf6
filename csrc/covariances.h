/* The prior of the covariances of a mixture's components, and their maximum a posteriori. */
#ifndef NVP_COVARIANCES_H
#define NVP_COVARIANCES_H

#include "nvpflow.h"
#include <stdbool.h>

/* Fraley and Raftery (2007), "Bayesian regularization for normal mixture estimation and model-based clustering": the
 * prior counts as samples with the pooled covariance of all components, shrunk to its diagonal or a factor model of it.
 */
typedef struct {
    size_t dim;
    double n;              /* the effective number of samples */
    double samples;        /* the weight of the prior, in samples per dimension; may be infinite */
    double shrinkage;      /* the share of the diagonal in the pooled covariance */
    double least_relative; /* what a variance grows by, as a share of it */
    /* Of a component with more than `enough_rows` samples per dimension, the prior is at most `widest` times as wide as
     * the component. */
    double widest, enough_rows;
    /* With more than `enough_for_values` samples per dimension, a component holds one value in a repeated column if its
     * variance there is at most `one_value` times the floor. The prior then has no variance there. */
    double one_value, enough_for_values;
    const double *floor;    /* (dim): the least variances */
    const double *added;    /* (dim): what a variance grows by */
    const double *repeated; /* (dim): 1 for columns with many equal values, else 0; NULL: there are none */
    size_t n_factors;       /* less than dim: the prior is a factor model instead; 0: shrinkage */
} nvp_covariance_prior;

/* Replace squares (k, dim, dim), mean squares about the means of the components times their shares, by covariances.
 *
 * shares (k): positive, of all samples. */
nvp_status nvp_covariances(const nvp_covariance_prior *prior, size_t k, const double *shares, double *squares);

#endif
