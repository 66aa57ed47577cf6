#ifndef NVP_DATA_H
#define NVP_DATA_H

#include "flow.h"

/* Whether the data have at least one sample, a context if the flow has one, and valid weights. Sets the mean weight. */
bool nvp_check_data(const nvp_flow *flow, const nvp_data *data, double *mean_weight);

#endif
