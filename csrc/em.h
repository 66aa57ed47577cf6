/* Expectation-maximisation for a mixture of normal distributions. */
#ifndef NVP_EM_H
#define NVP_EM_H

#include "covariances.h"
#include "interrupt.h"
#include <stdint.h>

/* n samples of `dim` columns, of about unit deviation. */
typedef struct {
    nvp_dtype dtype;
    size_t n, dim;
    const void *x;          /* (n, dim) */
    const double *weight;   /* (n), with a mean of 1; NULL: all 1 */
    const int64_t *classes; /* (n): of each sample, less than n_classes; NULL: there is one class */
    size_t n_classes;       /* at least 1 */
} nvp_em_samples;

/* k components. */
typedef struct {
    size_t k;
    double *weights;           /* (k) */
    double *means;             /* (k, dim) */
    double *covariances;       /* (k, dim, dim) */
    const double *log_weights; /* (n_classes, k), within each class; NULL: those of `weights`, for one class */
    double *class_shares;      /* (n_classes, k): receives the shares of the samples of each class; NULL: not wanted */
} nvp_em_mixture;

/* Take up to n_first steps, until one raises the likelihood by less than a factor of e. Then take up to max_iter steps,
 * until one of these raises the mean log-likelihood by less than `tolerance`. *nll: the negative of the mean, in nats,
 * before the last step. Only one step if log_weights are given, which steps do not change.
 *
 * Errors: NVP_ERROR_ARGUMENT, a covariance is not positive definite; NVP_INTERRUPTED. The mixture is then as
 * after the last complete step.
 *
 * Dempster, Laird and Rubin (1977), "Maximum likelihood from incomplete data via the EM algorithm", section 4.3. The
 * covariances are those of nvp_covariances. */
nvp_status nvp_em(const nvp_em_samples *samples, const nvp_covariance_prior *prior, size_t n_first, size_t max_iter,
                  double tolerance, nvp_interrupt *interrupt, nvp_em_mixture *mixture, double *nll);

/* The sums of an expectation step, with u = P (x - mean) and P the lower Cholesky factor of a precision: of
 * responsibilities, these times u, these times u u^T (its lower triangle), and the negative log-likelihood. */
typedef struct {
    double *shares;   /* (k) */
    double *shift;    /* (k, dim) */
    double *products; /* (k, dim, dim) */
    double nll;
} nvp_em_sums;

/* Add the sums of these samples of one class, which may be a part of all: sums over parts are those over all samples.
 *
 * Errors: NVP_ERROR_ARGUMENT, a covariance is not positive definite; NVP_INTERRUPTED. */
nvp_status nvp_em_add_sums(const nvp_em_samples *samples, const nvp_em_mixture *mixture, nvp_interrupt *interrupt,
                           nvp_em_sums *sums);

/* log_prob (n): log-densities of the samples, of one class, in nats; -inf where the dtype is too small for them.
 *
 * Errors: NVP_ERROR_ARGUMENT, a covariance is not positive definite; NVP_INTERRUPTED. */
nvp_status nvp_em_log_prob(const nvp_em_samples *samples, const nvp_em_mixture *mixture, nvp_interrupt *interrupt,
                           double *log_prob);

/* The maximisation step after which nvp_em would be, from the sums over n samples under this mixture. `dtype`: of the
 * samples. Errors: as nvp_em. */
nvp_status nvp_em_step(nvp_dtype dtype, size_t n, const nvp_em_sums *sums, const nvp_covariance_prior *prior,
                       nvp_em_mixture *mixture);

#endif
