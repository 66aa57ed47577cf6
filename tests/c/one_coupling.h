/* One small coupling, and what tests of arguments need. */
#ifndef NVP_TESTS_ONE_COUPLING_H
#define NVP_TESTS_ONE_COUPLING_H
#include "check.h"
#include "nvpflow.h"

enum { DIM = 2, CONTEXT = 1, N = 5 };
static const unsigned char mask[DIM] = {1, 0};
static const size_t hidden[1] = {4};

static const nvp_layer_config coupling =
    NVP_LAYER_CONFIG(.mask = mask, .hidden = hidden, .n_hidden = 1, .scale = NVP_SCALE_TANH, .scale_bound = 1);
static const nvp_layer_config spline = NVP_LAYER_CONFIG(.type = NVP_SPLINE_COUPLING, .mask = mask, .hidden = hidden,
                                                        .n_hidden = 1, .n_bins = 4, .tail_bound = 3);

static inline nvp_flow *make_flow(nvp_dtype dtype, size_t context_dim) {
    nvp_flow *flow = NULL;
    CHECK(nvp_flow_create(&flow, dtype, DIM, context_dim, NULL, 1, &coupling) == NVP_OK);
    return flow;
}

static inline nvp_workspace *make_workspace(void) {
    nvp_workspace *workspace = NULL;
    CHECK(nvp_workspace_create(&workspace) == NVP_OK);
    return workspace;
}

static const nvp_adam_options good_adam =
    NVP_ADAM_OPTIONS(.learning_rate = 1e-2, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8);

#define REFUSED(call) CHECK((call) == NVP_ERROR_ARGUMENT)
#define FINE(call) CHECK((call) == NVP_OK)

#endif
