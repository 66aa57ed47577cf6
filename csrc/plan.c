/* Sizes of tiles, from the cache's. */
#include "plan.h"
#include "checked.h"
#include "engine.h"

/* Bytes that a tile may take for what the way forward leaves to the way back. */
enum { ROOM = 2 * 1024 * 1024 };

/* The rows of a tile that the busiest layer works on. */
static bool count_busiest(const nvp_flow *flow, size_t *rows) {
    return nvp_add(flow->scratch_rows, flow->hidden_rows, rows) && nvp_add_product(4, flow->dim, rows) &&
           nvp_add_product(2, flow->context_dim, rows);
}

/* The most samples of a tile: as many as keep the busiest layer's rows within the second-level cache, and fewer in deep
 * flows, whose `kept_rows` for the way back would not fit their room. One tile would do for as many, but two are work
 * for two threads, and take one thread hardly longer where each has rows of some size. False: overflow. */
static bool choose_tiles(nvp_flow *flow, size_t kept_rows) {
    enum { CACHE = 256 * 1024, SMALLEST = 64, LARGEST = 512, SOME_SIZE = 18 * 1024 };
    size_t busiest;
    if (!count_busiest(flow, &busiest))
        return false;
    const size_t size = flow->engine->real_size, some = SOME_SIZE / size / busiest;
    size_t tile = LARGEST;
    while (tile > SMALLEST && (busiest > CACHE / (tile * size) || kept_rows > ROOM / (tile * size)))
        tile /= 2;
    const size_t two_tiles_from = 2 * (some > SMALLEST ? some : SMALLEST);
    flow->tile = tile;
    flow->two_tiles_from = two_tiles_from <= tile ? two_tiles_from : tile + 1;
    return true;
}

/* Where each layer's saved rows lie. Hidden layers are kept as long as there is room for them: memory hardly grows with
 * depth, and a deep flow computes those of its other layers twice. */
static bool place_saved_rows(nvp_flow *flow, size_t kept_rows) {
    size_t room = ROOM / (flow->tile * flow->engine->real_size);
    room -= kept_rows < room ? kept_rows : room;
    flow->saved_rows = 0;
    for (size_t l = 0; l < flow->n_layers; l++) {
        nvp_layer *layer = &flow->layers[l];
        layer->keeps_hidden = layer->hidden_rows && layer->hidden_rows <= room;
        if (layer->keeps_hidden) {
            room -= layer->hidden_rows;
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
    return choose_tiles(flow, kept_rows) && place_saved_rows(flow, kept_rows);
}

static size_t whole_vectors(const nvp_flow *flow, size_t n) {
    const size_t lanes = flow->engine->lanes;
    return (n + lanes - 1) / lanes * lanes;
}

/* As few tiles as can be, but the same number in both halves, and all of about one size: no worker waits for one who
 * has more to do. */
size_t nvp_tile_size(const nvp_flow *flow, size_t n) {
    const size_t least = (n - 1) / flow->tile + 1, even = n < flow->two_tiles_from ? 1 : least + least % 2;
    return whole_vectors(flow, (n - 1) / even + 1);
}

size_t nvp_count_tiles(const nvp_flow *flow, size_t n) { return n ? (n - 1) / nvp_tile_size(flow, n) + 1 : 0; }
