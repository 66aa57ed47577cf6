/* A small flow with a layer of each type, in double precision unless said, and what tests of it need. */
#ifndef NVP_TESTS_SMALL_FLOW_H
#define NVP_TESTS_SMALL_FLOW_H
#include "check.h"
#include "nvpflow.h"
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { DIM = 3, COUPLINGS = 7, LAYERS = COUPLINGS + 3 };
#define SAMPLES(count, values) (&(nvp_data)NVP_DATA(.n = (count), .x = (values)))
static const unsigned char masks[COUPLINGS][DIM] = {{1, 0, 1}, {0, 1, 0}, {0, 0, 0}, {1, 1, 0},
                                                    {0, 1, 1}, {0, 1, 0}, {1, 0, 0}};
static const size_t hidden[2] = {5, 4}, permutation[DIM] = {2, 0, 1};

/* Affine couplings of both depths, all activations and both scales, one with a shared network; a spline and an additive
 * coupling; a permutation; and at the end an LU map and an act norm. */
static inline nvp_flow *make_flow(nvp_dtype dtype, size_t context_dim, size_t n_components) {
    nvp_layer_config layers[LAYERS];
    for (int l = 0; l < LAYERS; l++)
        layers[l] = (nvp_layer_config)NVP_LAYER_CONFIG();
    for (int l = 0; l < COUPLINGS; l++) {
        layers[l].mask = masks[l];
        layers[l].hidden = hidden;
        layers[l].n_hidden = l % 2 ? 2 : 1;
        layers[l].activation = (nvp_activation)(l % NVP_N_ACTIVATIONS);
        layers[l].scale = l % 2 ? NVP_SCALE_EXP : NVP_SCALE_TANH;
        layers[l].scale_bound = 0.7;
    }
    layers[4].shared_network = 1;
    layers[5].type = NVP_SPLINE_COUPLING;
    layers[5].n_bins = 4;
    layers[5].tail_bound = 3;
    layers[6].type = NVP_ADDITIVE_COUPLING;
    layers[COUPLINGS].type = NVP_PERMUTATION;
    layers[COUPLINGS].permutation = permutation;
    layers[COUPLINGS + 1].type = NVP_LU_LINEAR;
    layers[COUPLINGS + 2].type = NVP_ACT_NORM;
    nvp_flow *flow = NULL;
    CHECK(nvp_flow_create(&flow, dtype, DIM, context_dim, BASE_OF(n_components), LAYERS, layers) == NVP_OK);
    return flow;
}

static inline nvp_workspace *make_workspace(void) {
    nvp_workspace *workspace = NULL;
    CHECK(nvp_workspace_create(&workspace) == NVP_OK);
    return workspace;
}

/* Standard normal numbers by the central limit theorem: plain, and apart from the library's. */
static inline void fill(double *values, size_t n, uint64_t seed) {
    for (size_t i = 0; i < n; i++) {
        values[i] = -6;
        for (int k = 0; k < 12; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            values[i] += (double)(seed >> 11) * 0x1p-53;
        }
    }
}

typedef struct {
    nvp_flow *flow;
    nvp_workspace *workspace;
    size_t n_params;
    double *params, *grad;
} fixture;

static inline fixture set_up_with(size_t context_dim, size_t n_components) {
    fixture f = {make_flow(NVP_FLOAT64, context_dim, n_components), make_workspace(), 0, NULL, NULL};
    f.n_params = nvp_flow_n_parameters(f.flow);
    f.params = calloc(f.n_params, sizeof(double));
    f.grad = calloc(f.n_params, sizeof(double));
    nvp_flow_initialize(f.flow, 1, f.params);
    const size_t end = nvp_flow_base_offset(f.flow);
    for (size_t i = nvp_flow_layer_offset(f.flow, COUPLINGS); i < end; i++) /* what starts as the identity */
        f.params[i] = 0.05 * (double)i - 0.05 * (double)end + 0.2;
    fill(f.params + end, f.n_params - end, 6);
    return f;
}

static inline fixture set_up_conditional(size_t context_dim) { return set_up_with(context_dim, 0); }

static inline fixture set_up(void) { return set_up_conditional(0); }

static inline void tear_down(fixture *f) {
    free(f->params);
    free(f->grad);
    nvp_workspace_destroy(f->workspace);
    nvp_flow_destroy(f->flow);
}

#endif
