#ifndef NVP_ADAM_H
#define NVP_ADAM_H

#include "nvpflow.h"
#include <stdbool.h>

/* Replace the zeros that stand for the values of the article (options.c). */
void nvp_fill_in_adam(nvp_adam_options *adam);

/* Whether options are in their ranges. */
bool nvp_check_adam(nvp_dtype dtype, const nvp_adam_options *adam);

/* One step of Adam and what training adds to it. Rows are as long as the parameters; NULL is "not wanted". */
typedef struct {
    const nvp_adam_options *adam;
    size_t step;           /* the first is 1 */
    double grad_scale;     /* what the gradient is multiplied by */
    double weight_decay;   /* acts where `decays` is 1 */
    double average_weight; /* average += average_weight * (params - average) */
    void *params, *m, *v, *average;
    const void *grad[2]; /* their sum is the gradient; the second may be NULL */
    const void *decays;
} nvp_update;

#endif
