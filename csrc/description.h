/* A flow's configuration again, for those who write it. */
#ifndef NVP_DESCRIPTION_H
#define NVP_DESCRIPTION_H

#include "layer_kinds.h"

/* What nvp_flow_create was given for layer l. `mask` and `columns` have room for D entries, of which it makes use. */
void nvp_recover_config(const nvp_flow *flow, size_t l, unsigned char *mask, size_t *columns, nvp_layer_config *config);

#endif
