/* Public functions of an existing flow. */
#include "engine.h"
#include <stdlib.h>

void nvp_flow_destroy(nvp_flow *flow) {
    if (!flow)
        return;
    free(flow->layers);
    free(flow->indices);
    free(flow->reals);
    free(flow);
}

size_t nvp_flow_dim(const nvp_flow *flow) { return flow->dim; }
size_t nvp_flow_context_dim(const nvp_flow *flow) { return flow->context_dim; }
size_t nvp_flow_n_layers(const nvp_flow *flow) { return flow->n_layers; }
nvp_dtype nvp_flow_dtype(const nvp_flow *flow) { return flow->dtype; }
const char *nvp_flow_isa(const nvp_flow *flow) { return flow->engine->isa; }
size_t nvp_flow_n_parameters(const nvp_flow *flow) { return flow->n_params; }
nvp_base_kind nvp_flow_base_kind(const nvp_flow *flow) { return flow->base.config.kind; }
size_t nvp_flow_n_components(const nvp_flow *flow) { return flow->base.config.n_components; }
size_t nvp_flow_base_offset(const nvp_flow *flow) { return flow->base.offset; }
size_t nvp_flow_layer_offset(const nvp_flow *flow, size_t layer) {
    return layer < flow->n_layers ? flow->layers[layer].offset : flow->base.offset;
}

void nvp_flow_initialize(const nvp_flow *flow, uint64_t seed, void *params) {
    flow->engine->initialize(flow, seed, params);
}
