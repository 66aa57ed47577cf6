/* Create the description of a flow from the configurations of its layers and its base. */
#include "base_kinds.h"
#include "checked.h"
#include "engine.h"
#include "layer_kinds.h"
#include "plan.h"
#include "sized.h"
#include <stdlib.h>

/* *n = the number of indices that a layer of a valid configuration stores. False: overflow. */
static bool count_indices(size_t dim, const nvp_layer_config *config, size_t *n) {
    const nvp_layer_kind *kind = &nvp_layer_kinds[config->type];
    *n = 0;
    return !kind->count_indices || kind->count_indices(dim, config, n);
}

/* Describe one layer. It stores its lists at *indices and *reals, and advances both past them. */
static nvp_status describe_layer(nvp_flow *flow, nvp_layer *layer, const nvp_layer_config *config, size_t **indices,
                                 double **reals) {
    const nvp_layer_kind *kind = &nvp_layer_kinds[config->type];
    layer->type = config->type;
    layer->config = (nvp_layer_config)NVP_LAYER_CONFIG(.type = config->type);
    nvp_copy_values(kind->fields, config, &layer->config);
    nvp_copy_reals(kind->fields, flow->dim, config, reals, &layer->config);
    layer->dim = flow->dim, layer->context_dim = flow->context_dim;
    layer->offset = flow->n_params;
    const nvp_status status = kind->describe ? kind->describe(layer, config, *indices) : NVP_OK;
    if (status != NVP_OK)
        return status;
    size_t n_indices;
    count_indices(flow->dim, config, &n_indices);
    *indices += n_indices;
    if (!flow->engine->plan_layer(layer) || !nvp_add_product(1, layer->n_params, &flow->n_params))
        return NVP_ERROR_SIZE;
    if (layer->scratch_rows > flow->scratch_rows)
        flow->scratch_rows = layer->scratch_rows;
    if (layer->hidden_rows > flow->hidden_rows)
        flow->hidden_rows = layer->hidden_rows;
    if (layer->table_numbers > flow->table_numbers)
        flow->table_numbers = layer->table_numbers;
    if (layer->n_params > flow->largest_layer)
        flow->largest_layer = layer->n_params;
    return NVP_OK;
}

static nvp_status describe_parts(nvp_flow *flow, const nvp_layer_config *configs) {
    size_t *indices = flow->indices, kept_rows = 0; /* the layers' states and saved rows */
    double *reals = flow->reals;
    for (size_t l = 0; l < flow->n_layers; l++) {
        nvp_layer_config config;
        nvp_take_layer_config(configs, l, &config);
        const nvp_status status = describe_layer(flow, &flow->layers[l], &config, &indices, &reals);
        if (status != NVP_OK)
            return status;
        if (!nvp_add_product(1, flow->layers[l].saved_rows, &kept_rows))
            return NVP_ERROR_SIZE;
    }
    nvp_base *base = &flow->base;
    nvp_copy_reals(nvp_base_kinds[base->config.kind].fields, flow->dim, &base->config, &reals, &base->config);
    base->dim = flow->dim, base->context_dim = flow->context_dim, base->offset = flow->n_params;
    size_t bytes;
    if (!flow->engine->plan_base(base) || !nvp_add(flow->n_params, base->n_params, &flow->n_params))
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

static bool is_valid_layer(nvp_dtype dtype, size_t dim, const nvp_layer_config *config) {
    if ((unsigned)config->type >= NVP_N_LAYER_TYPES)
        return false;
    const nvp_layer_kind *kind = &nvp_layer_kinds[config->type];
    return nvp_fields_are_valid(kind->fields, dim, config) && (!kind->is_valid || kind->is_valid(dtype, dim, config));
}

/* Take the fields of a base from its configuration, whose lists of reals are not copied. NULL stands for N(0, I). */
static bool take_base(nvp_dtype dtype, const nvp_base_config *given, size_t dim, size_t context_dim,
                      nvp_base_config *own) {
    nvp_base_config all = NVP_BASE_CONFIG(.kind = NVP_STANDARD_NORMAL);
    if ((given && !nvp_take_base_config(given, &all)) || (unsigned)all.kind >= NVP_N_BASE_KINDS)
        return false;
    const nvp_base_traits *kind = &nvp_base_kinds[all.kind];
    if (!nvp_fields_are_valid(kind->fields, dim, &all) || (kind->is_valid && !kind->is_valid(dtype, dim, &all)))
        return false;
    *own = (nvp_base_config)NVP_BASE_CONFIG(.kind = all.kind);
    nvp_copy_values(kind->fields, &all, own);
    nvp_refer_to_reals(kind->fields, &all, own);
    return own->n_indicators <= context_dim && (context_dim > 0 || !kind->reads_context);
}

/* Check the layers' configurations, and count the indices and reals that they store. */
static nvp_status check_layers(nvp_dtype dtype, size_t dim, size_t n_layers, const nvp_layer_config *layers,
                               size_t *n_indices, size_t *n_reals) {
    *n_indices = *n_reals = 1;
    for (size_t l = 0; l < n_layers; l++) {
        nvp_layer_config config;
        size_t n, n_own;
        if (!nvp_take_layer_config(layers, l, &config) || !is_valid_layer(dtype, dim, &config))
            return NVP_ERROR_ARGUMENT;
        if (!count_indices(dim, &config, &n) || !nvp_add(*n_indices, n, n_indices) ||
            !nvp_count_reals(nvp_layer_kinds[config.type].fields, dim, &n_own) || !nvp_add(*n_reals, n_own, n_reals))
            return NVP_ERROR_SIZE;
    }
    size_t bytes;
    return nvp_multiply(*n_indices, sizeof(size_t), &bytes) && nvp_multiply(*n_reals, sizeof(double), &bytes) &&
                   nvp_multiply(n_layers, sizeof(nvp_layer), &bytes)
               ? NVP_OK
               : NVP_ERROR_SIZE;
}

nvp_status nvp_flow_create(nvp_flow **created, nvp_dtype dtype, size_t dim, size_t context_dim,
                           const nvp_base_config *base, size_t n_layers, const nvp_layer_config *layers) {
    if (!created)
        return NVP_ERROR_ARGUMENT;
    *created = NULL;
    nvp_base_config own_base;
    if (dim == 0 || n_layers == 0 || !layers || (dtype != NVP_FLOAT32 && dtype != NVP_FLOAT64) ||
        !take_base(dtype, base, dim, context_dim, &own_base))
        return NVP_ERROR_ARGUMENT;
    size_t n_indices, n_reals, of_base, columns;
    if (!nvp_add(dim, context_dim, &columns))
        return NVP_ERROR_SIZE;
    nvp_status status = check_layers(dtype, dim, n_layers, layers, &n_indices, &n_reals);
    if (status != NVP_OK)
        return status;
    if (!nvp_count_reals(nvp_base_kinds[own_base.kind].fields, dim, &of_base) || !nvp_add(n_reals, of_base, &n_reals))
        return NVP_ERROR_SIZE;
    const nvp_engine *engine = nvp_choose_engine(dtype);
    if (!engine)
        return NVP_ERROR_UNSUPPORTED;

    nvp_flow *flow = calloc(1, sizeof *flow);
    if (!flow)
        return NVP_ERROR_MEMORY;
    flow->dtype = dtype, flow->dim = dim, flow->context_dim = context_dim, flow->n_layers = n_layers,
    flow->engine = engine, flow->base.config = own_base;
    flow->layers = calloc(n_layers, sizeof *flow->layers);
    flow->indices = calloc(n_indices, sizeof *flow->indices);
    flow->reals = calloc(n_reals, sizeof *flow->reals);
    status = flow->layers && flow->indices && flow->reals ? describe_parts(flow, layers) : NVP_ERROR_MEMORY;
    if (status != NVP_OK) {
        nvp_flow_destroy(flow);
        return status;
    }
    *created = flow;
    return NVP_OK;
}
