/* The shares of densities in an average of them. */
#ifndef NVP_AVERAGE_H
#define NVP_AVERAGE_H

#include "nvpflow.h"

/* k densities of n samples, each in units that may differ from sample to sample. */
typedef struct {
    size_t k, n;
    const double *density; /* (k, n), at least 0 */
    const double *weight;  /* (n), with a sum of 1 */
} nvp_densities;

/* Each step goes `overshoot` times as far, in logarithms, as one of expectation-maximisation. After every
 * `steps_to_drop` of them, densities are left out whose shares are less than `negligible` and fall. */
typedef struct {
    size_t n_steps, steps_to_drop;
    double overshoot, negligible;
} nvp_share_steps;

/* shares (k): those that maximise the likelihood of the average, after steps from equal ones; 0 of what was left out.
 *
 * Helmbold, Schapire, Singer and Warmuth (1997), "A comparison of new and old algorithms for a mixture estimation
 * problem". Errors: NVP_ERROR_ARGUMENT, there are no densities, samples or steps. */
nvp_status nvp_find_shares(const nvp_densities *densities, const nvp_share_steps *steps, double *shares);

#endif
