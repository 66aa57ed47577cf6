/* The description of a flow: immutable, without its parameters. */
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
    size_t full_inputs; /* inputs of the network that also has the columns left out here: its fan-in */
    nvp_activation activation;
} nvp_mlp;

typedef struct {
    nvp_layer_type type;
    nvp_layer_config config; /* the fields of its type, but for lists */
    size_t dim, context_dim;
    size_t offset, n_params; /* in the parameter buffer of the flow */
    size_t saved_rows;       /* rows of a tile that `apply` leaves to `vjp` */
    size_t hidden_rows;      /* more of them, where the hidden layers are kept, which spares vjp computing them anew */
    bool keeps_hidden;       /* whether there is room for that: saved_rows then has them behind the others */
    size_t saved_offset;     /* the rows of the layers before this one */
    size_t scratch_rows;     /* rows of a tile that `apply` and `vjp` need besides */

    /* Of couplings: */
    size_t n_networks;
    nvp_mlp net; /* the shape of each; its inputs are the identity columns, then the context */
    size_t n_identity, n_transformed;
    const size_t *identity, *transformed; /* their columns, in increasing order */
    double input_bound;                   /* identity columns are clamped to +- this before the networks see them */

    const size_t *places; /* of a permutation: column i of z is column places[i] of x */
} nvp_layer;

typedef struct {
    nvp_base_config config; /* the fields of its kind */
    size_t dim;
    size_t offset, n_params; /* in the parameter buffer of the flow, behind the layers' */
    size_t scratch_rows;     /* rows of a tile that it needs, and keeps from its density to the gradient */
} nvp_base;

typedef struct nvp_engine nvp_engine;

struct nvp_flow {
    nvp_dtype dtype;
    size_t dim, context_dim, n_layers, n_params;
    size_t saved_rows;                /* the sum over the layers */
    size_t scratch_rows, hidden_rows; /* the maximum over the layers */
    size_t largest_layer;             /* the most parameters of a layer, or the base's */
    size_t tile;                      /* the most samples that are taken through the whole flow at a time */
    size_t two_tiles_from;            /* the fewest that are taken in more than one tile */
    nvp_layer *layers;
    nvp_base base;
    size_t *indices; /* storage of every index list and width list above */
    const nvp_engine *engine;
};

/* A flow without parameters does not need their address. */
static inline bool nvp_has_parameters(const nvp_flow *flow, const void *params) {
    return params || flow->n_params == 0;
}

#endif
