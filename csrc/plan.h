/* The number of samples in a tile, and the choice of hidden layers to save for the backward pass. */
#ifndef NVP_PLAN_H
#define NVP_PLAN_H

#include "nvpflow.h"
#include <stdbool.h>

/* Call this after the layers and the base are described. `kept_rows`: the layers' states and saved rows. False:
 * overflow. */
bool nvp_plan_tiles(nvp_flow *flow, size_t kept_rows);

/* The number of samples in each tile but the last one in a pass over n >= 1 samples, and the number of tiles. */
size_t nvp_tile_size(const nvp_flow *flow, size_t n);
size_t nvp_count_tiles(const nvp_flow *flow, size_t n);

#endif
