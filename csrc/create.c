/* From the configurations of layers to the description of a flow. */
#include "checked.h"
#include "engine.h"
#include "plan.h"
#include "reals.h"
#include "sized.h"
#include <math.h>
#include <stdlib.h>

static bool is_coupling(nvp_layer_type type) {
    return type == NVP_AFFINE_COUPLING || type == NVP_ADDITIVE_COUPLING || type == NVP_SPLINE_COUPLING;
}

/* Scales are multiplied by the bound and by its reciprocal. */
static bool valid_scale(nvp_dtype dtype, const nvp_layer_config *config) {
    const double bound = config->scale_bound;
    return config->scale == NVP_SCALE_EXP ||
           (config->scale == NVP_SCALE_TANH && nvp_is_normal(dtype, bound) && nvp_is_normal(dtype, 1 / bound));
}

/* The density squares what a spline gives, up to the bound, and the gradient divides by squares of parts of it. */
static bool valid_spline(nvp_dtype dtype, const nvp_layer_config *config) {
    const double bound = config->tail_bound;
    return config->n_bins >= 2 && config->n_bins <= NVP_MAX_BINS && bound > 0 && nvp_is_normal(dtype, bound * bound);
}

static bool valid_coupling(nvp_dtype dtype, size_t dim, const nvp_layer_config *config) {
    if (!config->mask || (config->n_hidden && !config->hidden) || (unsigned)config->activation >= NVP_N_ACTIVATIONS)
        return false;
    for (size_t i = 0; i < dim; i++)
        if (config->mask[i] > 1)
            return false;
    for (size_t i = 0; i < config->n_hidden; i++)
        if (config->hidden[i] == 0)
            return false;
    switch (config->type) {
    case NVP_AFFINE_COUPLING:
        return valid_scale(dtype, config);
    case NVP_SPLINE_COUPLING:
        return valid_spline(dtype, config);
    default:
        return true;
    }
}

static bool valid_config(nvp_dtype dtype, size_t dim, const nvp_layer_config *config) {
    if (is_coupling(config->type))
        return valid_coupling(dtype, dim, config);
    return config->type == NVP_PERMUTATION ? config->permutation != NULL : (unsigned)config->type < NVP_N_LAYER_TYPES;
}

static bool plan_mlp(nvp_mlp *net) {
    for (size_t k = 0; k < net->n_linears; k++) {
        size_t weights;
        if (!nvp_multiply(net->widths[k], net->widths[k + 1], &weights) ||
            !nvp_add_product(1, weights, &net->n_params) || !nvp_add_product(1, net->widths[k + 1], &net->n_params))
            return false;
        if (k == 0)
            continue;
        if (!nvp_add_product(1, net->widths[k], &net->total_hidden))
            return false;
        if (net->widths[k] > net->widest_hidden)
            net->widest_hidden = net->widths[k];
    }
    return true;
}

/* How many networks a coupling has, and the outputs of each for a transformed column. */
static size_t n_networks(const nvp_layer_config *config) {
    return config->type == NVP_AFFINE_COUPLING && !config->shared_network ? 2 : 1;
}

static size_t outputs_per_column(const nvp_layer_config *config) {
    switch (config->type) {
    case NVP_SPLINE_COUPLING:
        return 3 * config->n_bins - 1;
    case NVP_AFFINE_COUPLING:
        return config->shared_network ? 2 : 1;
    default:
        return 1;
    }
}

/* Fill in a coupling layer. `indices` has room for D columns and n_hidden + 2 widths. */
static bool describe_coupling(nvp_layer *layer, const nvp_layer_config *config, size_t *indices) {
    const size_t dim = layer->dim;
    size_t n_identity = 0, at[2] = {0, 0};
    for (size_t i = 0; i < dim; i++)
        n_identity += config->mask[i];
    size_t *columns[2] = {indices + n_identity, indices};
    for (size_t i = 0; i < dim; i++)
        columns[config->mask[i]][at[config->mask[i]]++] = i;
    size_t *widths = indices + dim;
    widths[0] = n_identity + layer->context_dim;
    for (size_t i = 0; i < config->n_hidden; i++)
        widths[i + 1] = config->hidden[i];

    layer->n_identity = n_identity, layer->n_transformed = dim - n_identity;
    layer->identity = columns[1], layer->transformed = columns[0];
    layer->input_bound = config->type == NVP_SPLINE_COUPLING ? config->tail_bound : (double)INFINITY;
    layer->scale = config->scale, layer->scale_bound = config->scale_bound;
    layer->n_bins = config->n_bins, layer->tail_bound = config->tail_bound;
    layer->n_networks = n_networks(config);
    layer->net.n_linears = config->n_hidden + 1;
    layer->net.widths = widths;
    layer->net.full_inputs = dim + layer->context_dim;
    layer->net.activation = config->activation;
    return nvp_multiply(layer->n_transformed, outputs_per_column(config), &widths[config->n_hidden + 1]) &&
           plan_mlp(&layer->net);
}

/* Fill in a permutation; `places` is D zeros. False: it is none. */
static bool describe_permutation(nvp_layer *layer, const nvp_layer_config *config, size_t *places) {
    for (size_t i = 0; i < layer->dim; i++) {
        const size_t column = config->permutation[i];
        if (column >= layer->dim || places[column])
            return false;
        places[column] = i + 1;
    }
    for (size_t i = 0; i < layer->dim; i++)
        places[i]--;
    layer->places = places;
    return true;
}

/* How many indices a layer of this configuration has; false: overflow. */
static bool count_indices(size_t dim, const nvp_layer_config *config, size_t *n) {
    *n = is_coupling(config->type) || config->type == NVP_PERMUTATION ? dim : 0;
    return !is_coupling(config->type) || (nvp_add(*n, config->n_hidden, n) && nvp_add(*n, 2, n));
}

/* One layer, which gets its index lists from `indices` on and moves that behind them. */
static nvp_status describe_layer(nvp_flow *flow, nvp_layer *layer, const nvp_layer_config *config, size_t **indices) {
    layer->type = config->type;
    layer->dim = flow->dim, layer->context_dim = flow->context_dim;
    layer->offset = flow->n_params;
    if (is_coupling(layer->type) && !describe_coupling(layer, config, *indices))
        return NVP_ERROR_SIZE;
    if (layer->type == NVP_PERMUTATION && !describe_permutation(layer, config, *indices))
        return NVP_ERROR_ARGUMENT;
    size_t n_indices = 0;
    count_indices(flow->dim, config, &n_indices);
    *indices += n_indices;
    if (!flow->engine->plan_layer(layer) || !nvp_add_product(1, layer->n_params, &flow->n_params))
        return NVP_ERROR_SIZE;
    if (layer->scratch_rows > flow->scratch_rows)
        flow->scratch_rows = layer->scratch_rows;
    if (layer->hidden_rows > flow->hidden_rows)
        flow->hidden_rows = layer->hidden_rows;
    if (layer->n_params > flow->largest_layer)
        flow->largest_layer = layer->n_params;
    return NVP_OK;
}

static nvp_status describe_parts(nvp_flow *flow, const nvp_layer_config *configs) {
    size_t *indices = flow->indices, kept_rows = 0; /* the layers' states and saved rows */
    for (size_t l = 0; l < flow->n_layers; l++) {
        nvp_layer_config config;
        nvp_take_layer_config(configs, l, &config);
        const nvp_status status = describe_layer(flow, &flow->layers[l], &config, &indices);
        if (status != NVP_OK)
            return status;
        if (!nvp_add_product(1, flow->layers[l].saved_rows, &kept_rows))
            return NVP_ERROR_SIZE;
    }
    nvp_base *base = &flow->base;
    base->offset = flow->n_params;
    size_t bytes;
    if (!flow->engine->plan_base(flow) || !nvp_add(flow->n_params, base->n_params, &flow->n_params))
        return NVP_ERROR_SIZE;
    if (base->scratch_rows > flow->scratch_rows)
        flow->scratch_rows = base->scratch_rows;
    if (base->n_params > flow->largest_layer)
        flow->largest_layer = base->n_params;
    if (!nvp_multiply(flow->n_params, flow->engine->real_size, &bytes) ||
        !nvp_add_product(flow->n_layers + 1, flow->dim, &kept_rows))
        return NVP_ERROR_SIZE;
    return nvp_plan_tiles(flow, kept_rows) ? NVP_OK : NVP_ERROR_SIZE;
}

nvp_status nvp_flow_create(nvp_flow **created, nvp_dtype dtype, size_t dim, size_t context_dim, size_t n_components,
                           size_t n_layers, const nvp_layer_config *layers) {
    if (!created)
        return NVP_ERROR_ARGUMENT;
    *created = NULL;
    if (dim == 0 || n_layers == 0 || !layers || (dtype != NVP_FLOAT32 && dtype != NVP_FLOAT64))
        return NVP_ERROR_ARGUMENT;
    size_t n_indices = 1, columns, bytes;
    if (!nvp_add(dim, context_dim, &columns))
        return NVP_ERROR_SIZE;
    for (size_t l = 0; l < n_layers; l++) {
        nvp_layer_config config;
        size_t n;
        if (!nvp_take_layer_config(layers, l, &config) || !valid_config(dtype, dim, &config))
            return NVP_ERROR_ARGUMENT;
        if (!count_indices(dim, &config, &n) || !nvp_add(n_indices, n, &n_indices))
            return NVP_ERROR_SIZE;
    }
    if (!nvp_multiply(n_indices, sizeof(size_t), &bytes) || !nvp_multiply(n_layers, sizeof(nvp_layer), &bytes))
        return NVP_ERROR_SIZE;
    const nvp_engine *engine = nvp_choose_engine(dtype);
    if (!engine)
        return NVP_ERROR_UNSUPPORTED;

    nvp_flow *flow = calloc(1, sizeof *flow);
    if (!flow)
        return NVP_ERROR_MEMORY;
    flow->dtype = dtype, flow->dim = dim, flow->context_dim = context_dim, flow->n_layers = n_layers,
    flow->engine = engine, flow->base.n_components = n_components;
    flow->layers = calloc(n_layers, sizeof *flow->layers);
    flow->indices = calloc(n_indices, sizeof *flow->indices);
    nvp_status status = flow->layers && flow->indices ? describe_parts(flow, layers) : NVP_ERROR_MEMORY;
    if (status != NVP_OK) {
        nvp_flow_destroy(flow);
        return status;
    }
    *created = flow;
    return NVP_OK;
}
