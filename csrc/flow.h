/* The description of a flow. It is immutable and does not hold the parameters. */
#ifndef NVP_FLOW_H
#define NVP_FLOW_H

#include "nvpflow.h"
#include "reals.h" /* every file about flows refuses -ffast-math */
#include <stdbool.h>

/* The conditioner: Linear -> activation -> ... -> Linear. */
typedef struct {
    size_t n_linears;
    const size_t *widths; /* n_linears + 1: inputs, hidden layers, outputs */
    size_t widest_hidden, total_hidden;
    size_t n_params;
    size_t full_inputs; /* fan-in of the full-shape network, with the columns that the mask makes irrelevant */
    nvp_activation activation;
} nvp_mlp;

typedef struct {
    nvp_layer_type type;
    nvp_layer_config config; /* the fields of its type, without lists but those of reals */
    size_t dim, context_dim;
    size_t offset, n_params; /* in the parameter buffer of the flow */
    size_t saved_rows;       /* rows of a tile that `apply` saves for `vjp` */
    size_t hidden_rows;      /* further rows to save the hidden layers, which vjp would recompute otherwise */
    bool keeps_hidden;       /* whether there is memory for them; they are then the last of saved_rows */
    size_t saved_offset;     /* the saved rows of the layers before this one */
    size_t scratch_rows;     /* rows of a tile that `apply` and `vjp` need as scratch memory, */
    size_t table_numbers;    /* and numbers besides, whatever the size of the tile */

    /* For couplings: */
    size_t n_networks;
    nvp_mlp net; /* the shape of each network; its inputs are the identity columns, then the context */
    size_t n_identity, n_transformed;
    const size_t *identity, *transformed; /* their columns, in increasing order */
    double input_bound;                   /* identity columns are clamped to +- this for the networks */

    const size_t *places; /* for permutations: column i of z is column places[i] of x */
} nvp_layer;

typedef struct {
    nvp_base_config config; /* the fields of its kind */
    size_t dim, context_dim;
    size_t offset, n_params; /* in the parameter buffer of the flow, after the layers */
    size_t scratch_rows;     /* scratch rows of a tile, kept from the density to its gradient */
} nvp_base;

typedef struct nvp_engine nvp_engine;

struct nvp_flow {
    nvp_dtype dtype;
    size_t dim, context_dim, n_layers, n_params;
    size_t saved_rows;                               /* the sum over the layers */
    size_t scratch_rows, hidden_rows, table_numbers; /* the maximum over the layers */
    size_t largest_layer;                            /* the maximum number of parameters of a layer or the base */
    size_t tile;                                     /* the maximum number of samples in a tile */
    size_t two_tiles_from;                           /* the minimum number of samples that get more than one tile */
    nvp_layer *layers;
    nvp_base base;
    size_t *indices; /* storage of every index list and width list above */
    double *reals;   /* storage of every list of reals */
    const nvp_engine *engine;
};

/* Whether there are parameters, or the flow needs none. */
static inline bool nvp_has_parameters(const nvp_flow *flow, const void *params) {
    return params || flow->n_params == 0;
}

#endif
