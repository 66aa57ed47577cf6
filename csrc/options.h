#ifndef NVP_OPTIONS_H
#define NVP_OPTIONS_H

#include "flow.h"

/* The options of Adam among the training options, with defaults filled in. */
nvp_adam_options nvp_adam_of(const nvp_train_options *options);

/* Whether the options are in their ranges. `adam`: from nvp_adam_of. */
bool nvp_check_training(const nvp_flow *flow, const nvp_train_options *options, const nvp_adam_options *adam);

#endif
