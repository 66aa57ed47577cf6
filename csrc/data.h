#ifndef NVP_DATA_H
#define NVP_DATA_H

#include "flow.h"

/* Whether there are samples to learn from, with their context and weights in their range; the mean weight of all. */
bool nvp_check_data(const nvp_flow *flow, const nvp_data *data, double *mean_weight);

#endif
