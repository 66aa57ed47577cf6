#ifndef NVP_ADAM_H
#define NVP_ADAM_H

#include "nvpflow.h"
#include <stdbool.h>

/* Replace zeros by the values of the article, as nvp_adam_options documents. */
void nvp_fill_in_adam(nvp_adam_options *adam);

/* Whether the options are in their ranges. */
bool nvp_check_adam(nvp_dtype dtype, const nvp_adam_options *adam);

/* One step of Adam, with weight decay and averaging. Rows have the length of the parameters; NULL: not wanted. */
typedef struct {
    const nvp_adam_options *adam;
    size_t step;           /* the first is 1 */
    double grad_scale;     /* a factor of the gradient */
    double weight_decay;   /* of the parameters whose `decays` is 1 */
    double average_weight; /* average += average_weight * (params - average) */
    void *params, *m, *v, *average;
    const void *grad[2]; /* their sum is the gradient; the second may be NULL */
    const void *decays;
} nvp_update;

#endif
