#ifndef NVP_OPTIONS_H
#define NVP_OPTIONS_H

#include "flow.h"

nvp_adam_options nvp_adam_of(const nvp_train_options *options); /* filled in */

/* Whether options are in their ranges; `adam` are those of the training's steps. */
bool nvp_check_training(const nvp_flow *flow, const nvp_train_options *options, const nvp_adam_options *adam);

#endif
