#ifndef NVP_DATA_H
#define NVP_DATA_H

#include "flow.h"

/* Whether there is at least one sample, the context if the flow has one, and valid weights. Sets their mean. */
bool nvp_check_data(const nvp_flow *flow, const nvp_data *data, double *mean_weight);

#endif
