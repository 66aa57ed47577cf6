/* How many samples a tile has, and which hidden layers are saved for the backward pass. */
#ifndef NVP_PLAN_H
#define NVP_PLAN_H

#include "nvpflow.h"
#include <stdbool.h>

/* To be called when all layers and the base are described. `kept_rows`: the layers' states and saved rows. False: a
 * size overflows. */
bool nvp_plan_tiles(nvp_flow *flow, size_t kept_rows);

/* The samples of each tile but the last one in a pass over n >= 1 samples, and the number of tiles. */
size_t nvp_tile_size(const nvp_flow *flow, size_t n);
size_t nvp_count_tiles(const nvp_flow *flow, size_t n);

#endif
