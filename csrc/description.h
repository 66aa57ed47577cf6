/* Recover the configuration of a flow, in order to write it. */
#ifndef NVP_DESCRIPTION_H
#define NVP_DESCRIPTION_H

#include "layer_kinds.h"

/* The configuration of layer l that nvp_flow_create received. `mask` and `columns` have room for D entries each, which
 * the configuration may point to; none if no kind of layer has `recover`. */
void nvp_recover_config(const nvp_flow *flow, size_t l, unsigned char *mask, size_t *columns, nvp_layer_config *config);

#endif
