#include "data.h"
#include <math.h>

bool nvp_check_data(const nvp_flow *flow, const nvp_data *data, double *mean_weight) {
    if (data->n == 0 || !data->x || (flow->context_dim && !data->context))
        return false;
    *mean_weight = 1;
    if (!data->weight)
        return true;
    double sum = 0;
    for (size_t i = 0; i < data->n; i++) {
        if (!(data->weight[i] >= 0))
            return false;
        sum += data->weight[i];
    }
    *mean_weight = sum / (double)data->n;
    return *mean_weight > 0 && isfinite(*mean_weight);
}
