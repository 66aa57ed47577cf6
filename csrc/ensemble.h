/* The description of an ensemble. It is immutable and does not hold the parameters. */
#ifndef NVP_ENSEMBLE_H
#define NVP_ENSEMBLE_H

#include "flow.h"

struct nvp_ensemble {
    size_t n_flows;
    nvp_flow **flows;
    double *weights;
    size_t *offsets; /* n_flows + 1: of the parameters of each flow in the buffer, and the length of the buffer */
};

/* An ensemble without flows, for at most n >= 1. NULL: no memory, or n is too large. */
nvp_ensemble *nvp_ensemble_allocate(size_t n);

/* Append a flow, which the ensemble then owns, even after a failure. NVP_ERROR_ARGUMENT if it does not agree with the
 * flows before it. */
nvp_status nvp_ensemble_append(nvp_ensemble *ensemble, nvp_flow *flow, double weight);

/* Whether the weights are shares: not negative, with the sum 1 up to rounding. */
bool nvp_are_shares(const double *weights, size_t n);

#endif
