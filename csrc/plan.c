/* Tile sizes and saved rows, chosen for the second-level cache. */
#include "plan.h"
#include "checked.h"
#include "engine.h"

/* Bytes of a tile's states and saved rows, which the forward pass keeps for the backward pass. */
enum { SAVED_BYTES = 2 * 1024 * 1024 };

/* The largest working set of a layer, in rows of a tile. */
static bool count_working_set(const nvp_flow *flow, size_t *rows) {
    return nvp_add(flow->scratch_rows, flow->hidden_rows, rows) && nvp_add_product(4, flow->dim, rows) &&
           nvp_add_product(2, flow->context_dim, rows);
}

/* Choose the largest tile whose working set fits into the second-level cache and whose `kept_rows` fit into
 * SAVED_BYTES, so tiles of deep flows are smaller. A pass that fits into one tile is split into two if each half is
 * worth a thread, with rows of WORTH_SPLITTING bytes, and more samples than tables would slow down: they cost as much
 * as one sample for every NUMBERS_OF_A_SAMPLE. For one thread, two such tiles take hardly longer. False: overflow. */
static bool choose_tile_size(nvp_flow *flow, size_t kept_rows) {
    enum { CACHE = 256 * 1024, SMALLEST = 64, LARGEST = 512, WORTH_SPLITTING = 18 * 1024, NUMBERS_OF_A_SAMPLE = 32 };
    size_t working_set;
    if (!count_working_set(flow, &working_set))
        return false;
    const size_t size = flow->engine->real_size, by_rows = WORTH_SPLITTING / size / working_set;
    const size_t by_tables = flow->table_numbers / NUMBERS_OF_A_SAMPLE,
                 least = by_rows > by_tables ? by_rows : by_tables;
    size_t tile = LARGEST;
    while (tile > SMALLEST && (working_set > CACHE / (tile * size) || kept_rows > SAVED_BYTES / (tile * size)))
        tile /= 2;
    const size_t two_tiles_from = 2 * (least > SMALLEST ? least : SMALLEST);
    flow->tile = tile;
    flow->two_tiles_from = two_tiles_from <= tile ? two_tiles_from : tile + 1;
    return true;
}

/* Set the offset of each layer's saved rows. Hidden layers are saved until SAVED_BYTES are full. The backward pass
 * recomputes the others, so that memory hardly grows with depth. */
static bool place_saved_rows(nvp_flow *flow, size_t kept_rows) {
    size_t rows_left = SAVED_BYTES / (flow->tile * flow->engine->real_size);
    rows_left -= kept_rows < rows_left ? kept_rows : rows_left;
    flow->saved_rows = 0;
    for (size_t l = 0; l < flow->n_layers; l++) {
        nvp_layer *layer = &flow->layers[l];
        layer->keeps_hidden = layer->hidden_rows && layer->hidden_rows <= rows_left;
        if (layer->keeps_hidden) {
            rows_left -= layer->hidden_rows;
            if (!nvp_add(layer->saved_rows, layer->hidden_rows, &layer->saved_rows))
                return false;
        }
        layer->saved_offset = flow->saved_rows;
        if (!nvp_add(flow->saved_rows, layer->saved_rows, &flow->saved_rows))
            return false;
    }
    return true;
}

bool nvp_plan_tiles(nvp_flow *flow, size_t kept_rows) {
    return choose_tile_size(flow, kept_rows) && place_saved_rows(flow, kept_rows);
}

static size_t whole_vectors(const nvp_flow *flow, size_t n) {
    const size_t lanes = flow->engine->lanes;
    return (n + lanes - 1) / lanes * lanes;
}

/* As few tiles as possible, but equally many in both halves and all of about the same size, for equal loads of the
 * workers. */
size_t nvp_tile_size(const nvp_flow *flow, size_t n) {
    const size_t least = (n - 1) / flow->tile + 1, even = n < flow->two_tiles_from ? 1 : least + least % 2;
    return whole_vectors(flow, (n - 1) / even + 1);
}

size_t nvp_count_tiles(const nvp_flow *flow, size_t n) { return n ? (n - 1) / nvp_tile_size(flow, n) + 1 : 0; }
