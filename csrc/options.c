/* Training options: defaults and ranges. NaN is in no range, because comparisons with it fail. */
#include "options.h"
#include "adam.h"
#include "reals.h"
#include <math.h>

nvp_adam_options nvp_adam_of(const nvp_train_options *options) {
    nvp_adam_options adam = NVP_ADAM_OPTIONS(.learning_rate = options->learning_rate, .beta1 = options->beta1,
                                             .beta2 = options->beta2, .epsilon = options->epsilon);
    nvp_fill_in_adam(&adam);
    return adam;
}

static bool check_noise(const nvp_flow *flow, const void *noise) {
    const float *singles = noise;
    const double *doubles = noise;
    for (size_t d = 0; noise && d < flow->dim; d++) {
        const double deviation = flow->dtype == NVP_FLOAT32 ? (double)singles[d] : doubles[d];
        if (!(deviation >= 0 && isfinite(deviation)))
            return false;
    }
    return true;
}

bool nvp_check_training(const nvp_flow *flow, const nvp_train_options *options, const nvp_adam_options *adam) {
    return nvp_check_adam(flow->dtype, adam) && (unsigned)options->schedule <= NVP_COSINE &&
           options->final_fraction >= 0 && options->final_fraction <= 1 && options->max_grad_norm >= 0 &&
           options->weight_decay >= 0 && adam->learning_rate * options->weight_decay <= nvp_largest(flow->dtype) &&
           options->average >= 0 && options->average < 1 && options->tolerance >= 0 && isfinite(options->tolerance) &&
           options->time_limit >= 0 && isfinite(options->time_limit) && check_noise(flow, options->noise);
}
