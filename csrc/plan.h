/* How many samples a tile has, and what fits into the cache beside it. */
#ifndef NVP_PLAN_H
#define NVP_PLAN_H

#include "nvpflow.h"
#include <stdbool.h>

/* Choose the sizes of tiles, and which layers keep their hidden layers, once all layers and the base are described;
 * `kept_rows` are those of the layers' states and saved rows. False: a size overflows. */
bool nvp_plan_tiles(nvp_flow *flow, size_t kept_rows);

/* The samples of a tile, but for the last, in a pass over n >= 1 of them, and how many tiles n make. */
size_t nvp_tile_size(const nvp_flow *flow, size_t n);
size_t nvp_count_tiles(const nvp_flow *flow, size_t n);

#endif
