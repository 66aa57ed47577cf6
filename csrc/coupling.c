#include "coupling.h"
#include "checked.h"
#include <math.h>
#include <string.h>

bool nvp_count_coupling_indices(size_t dim, const nvp_layer_config *config, size_t *n) {
    return nvp_add(dim, config->n_hidden, n) && nvp_add(*n, 2, n);
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

/* The sizes of the networks' input and output, and the input's size if the mask left everything in it. */
static bool count_ends(const nvp_layer *layer, const nvp_layer_config *config, size_t of_line, size_t of_circle,
                       size_t ends[2], size_t *full_inputs) {
    ends[0] = *full_inputs = layer->context_dim;
    ends[1] = 0;
    for (size_t i = 0; i < layer->dim; i++) {
        const bool is_circle = config->periods && config->periods[i] > 0;
        const size_t n_inputs = is_circle ? 2 : 1;
        if (!nvp_add(*full_inputs, n_inputs, full_inputs))
            return false;
        if (config->mask[i])
            ends[0] += n_inputs; /* at most full_inputs */
        else if (!nvp_add(ends[1], is_circle ? of_circle : of_line, &ends[1]))
            return false;
    }
    return true;
}

nvp_status nvp_describe_columns(nvp_layer *layer, const nvp_layer_config *config, size_t n_networks, size_t of_line,
                                size_t of_circle, size_t *indices) {
    const size_t dim = layer->dim;
    size_t n_identity = 0, at[2] = {0, 0}, ends[2];
    for (size_t i = 0; i < dim; i++)
        n_identity += config->mask[i];
    size_t *columns[2] = {indices + n_identity, indices};
    for (size_t i = 0; i < dim; i++)
        columns[config->mask[i]][at[config->mask[i]]++] = i;
    if (!count_ends(layer, config, of_line, of_circle, ends, &layer->net.full_inputs))
        return NVP_ERROR_SIZE;
    size_t *widths = indices + dim;
    widths[0] = ends[0], widths[config->n_hidden + 1] = ends[1];
    for (size_t i = 0; i < config->n_hidden; i++)
        widths[i + 1] = config->hidden[i];

    layer->n_identity = n_identity, layer->n_transformed = dim - n_identity;
    layer->identity = columns[1], layer->transformed = columns[0];
    layer->input_bound = (double)INFINITY;
    layer->n_networks = n_networks;
    layer->net.n_linears = config->n_hidden + 1;
    layer->net.widths = widths;
    layer->net.activation = config->activation;
    return plan_mlp(&layer->net) ? NVP_OK : NVP_ERROR_SIZE;
}

nvp_status nvp_describe_coupling(nvp_layer *layer, const nvp_layer_config *config, size_t n_networks,
                                 size_t outputs_per_column, size_t *indices) {
    nvp_layer_config own = *config;
    own.periods = NULL; /* of other kinds */
    return nvp_describe_columns(layer, &own, n_networks, outputs_per_column, outputs_per_column, indices);
}

void nvp_recover_coupling(const nvp_layer *layer, unsigned char *mask, nvp_layer_config *config) {
    memset(mask, 0, layer->dim);
    for (size_t i = 0; i < layer->n_identity; i++)
        mask[layer->identity[i]] = 1;
    config->mask = mask;
    config->hidden = layer->net.widths + 1, config->n_hidden = layer->net.n_linears - 1;
}
