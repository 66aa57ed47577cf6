/* Describing a flow, and the public compute functions, each of which is one pass (core.h). */
#include "checked.h"
#include "core.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *nvp_status_string(nvp_status status) {
    switch (status) {
    case NVP_OK:
        return "success";
    case NVP_ERROR_MEMORY:
        return "out of memory";
    case NVP_ERROR_SIZE:
        return "a size does not fit in memory";
    case NVP_ERROR_ARGUMENT:
        return "an argument is outside of its range";
    case NVP_ERROR_UNSUPPORTED:
        return "NVPFLOW_ISA names an instruction set that is not available here";
    case NVP_INTERRUPTED:
        return "interrupted";
    }
    return "unknown status";
}

static bool valid_config(size_t dim, const nvp_layer_config *config) {
    if ((unsigned)config->type >= NVP_N_LAYER_TYPES)
        return false;
    if (config->type != NVP_AFFINE_COUPLING)
        return true;
    if (!config->mask || (config->n_hidden && !config->hidden) || (unsigned)config->activation >= NVP_N_ACTIVATIONS)
        return false;
    for (size_t i = 0; i < dim; i++)
        if (config->mask[i] > 1)
            return false;
    for (size_t i = 0; i < config->n_hidden; i++)
        if (config->hidden[i] == 0)
            return false;
    return config->scale == NVP_SCALE_EXP ||
           (config->scale == NVP_SCALE_TANH && config->scale_bound > 0 && isfinite(config->scale_bound));
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

/* Fill in a coupling layer. `indices` has room for D columns and n_hidden + 2 widths; returns the room behind them. */
static size_t *describe_coupling(nvp_layer *layer, const nvp_layer_config *config, size_t *indices) {
    const size_t dim = layer->dim;
    size_t n_identity = 0, at[2] = {0, 0};
    for (size_t i = 0; i < dim; i++)
        n_identity += config->mask[i];
    size_t *columns[2] = {indices + n_identity, indices};
    for (size_t i = 0; i < dim; i++)
        columns[config->mask[i]][at[config->mask[i]]++] = i;
    size_t *widths = indices + dim;
    widths[0] = n_identity;
    memcpy(widths + 1, config->hidden, config->n_hidden * sizeof *widths);
    widths[config->n_hidden + 1] = dim - n_identity;

    layer->n_identity = n_identity, layer->n_transformed = dim - n_identity;
    layer->identity = columns[1], layer->transformed = columns[0];
    layer->scale = config->scale, layer->scale_bound = config->scale_bound;
    layer->net.n_linears = config->n_hidden + 1;
    layer->net.widths = widths;
    layer->net.full_inputs = dim;
    layer->net.activation = config->activation;
    return widths + config->n_hidden + 2;
}

/* How many samples make a tile: as many as keep the busiest layer's rows within the second-level cache. It depends on
 * the flow alone, so that results do not depend on the batch or the threads. */
static size_t choose_tile(const nvp_flow *flow) {
    enum { CACHE = 256 * 1024, SMALLEST = 64, LARGEST = 512 };
    size_t rows = flow->scratch_rows + 4 * flow->dim, tile = LARGEST;
    while (tile > SMALLEST && rows > CACHE / (tile * flow->engine->real_size))
        tile /= 2;
    return tile;
}

static nvp_status describe_layers(nvp_flow *flow, const nvp_layer_config *configs) {
    size_t *indices = flow->indices;
    for (size_t l = 0; l < flow->n_layers; l++) {
        nvp_layer *layer = &flow->layers[l];
        layer->type = configs[l].type;
        layer->dim = flow->dim;
        layer->offset = flow->n_params;
        layer->saved_offset = flow->saved_rows;
        if (layer->type == NVP_AFFINE_COUPLING) {
            indices = describe_coupling(layer, &configs[l], indices);
            if (!plan_mlp(&layer->net))
                return NVP_ERROR_SIZE;
        }
        if (!flow->engine->plan_layer(layer) || !nvp_add_product(1, layer->n_params, &flow->n_params) ||
            !nvp_add_product(1, layer->saved_rows, &flow->saved_rows))
            return NVP_ERROR_SIZE;
        if (layer->scratch_rows > flow->scratch_rows)
            flow->scratch_rows = layer->scratch_rows;
        if (layer->n_params > flow->largest_layer)
            flow->largest_layer = layer->n_params;
    }
    size_t bytes;
    if (!nvp_multiply(flow->n_params, flow->engine->real_size, &bytes))
        return NVP_ERROR_SIZE;
    flow->tile = choose_tile(flow);
    return NVP_OK;
}

nvp_status nvp_flow_create(nvp_flow **created, nvp_dtype dtype, size_t dim, size_t n_layers,
                           const nvp_layer_config *layers) {
    *created = NULL;
    if (dim == 0 || n_layers == 0 || !layers || (dtype != NVP_FLOAT32 && dtype != NVP_FLOAT64))
        return NVP_ERROR_ARGUMENT;
    size_t n_indices = 1, bytes;
    for (size_t l = 0; l < n_layers; l++) {
        if (!valid_config(dim, &layers[l]))
            return NVP_ERROR_ARGUMENT;
        if (layers[l].type == NVP_AFFINE_COUPLING &&
            (!nvp_add_product(1, dim, &n_indices) || !nvp_add_product(1, layers[l].n_hidden, &n_indices) ||
             !nvp_add(n_indices, 2, &n_indices)))
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
    flow->dtype = dtype, flow->dim = dim, flow->n_layers = n_layers, flow->engine = engine;
    flow->layers = calloc(n_layers, sizeof *flow->layers);
    flow->indices = calloc(n_indices, sizeof *flow->indices);
    nvp_status status = flow->layers && flow->indices ? describe_layers(flow, layers) : NVP_ERROR_MEMORY;
    if (status != NVP_OK) {
        nvp_flow_destroy(flow);
        return status;
    }
    *created = flow;
    return NVP_OK;
}

void nvp_flow_destroy(nvp_flow *flow) {
    if (!flow)
        return;
    free(flow->layers);
    free(flow->indices);
    free(flow);
}

size_t nvp_flow_dim(const nvp_flow *flow) { return flow->dim; }
size_t nvp_flow_n_layers(const nvp_flow *flow) { return flow->n_layers; }
nvp_dtype nvp_flow_dtype(const nvp_flow *flow) { return flow->dtype; }
const char *nvp_flow_isa(const nvp_flow *flow) { return flow->engine->isa; }
size_t nvp_flow_n_parameters(const nvp_flow *flow) { return flow->n_params; }
size_t nvp_flow_layer_offset(const nvp_flow *flow, size_t layer) { return flow->layers[layer].offset; }

void nvp_flow_initialize(const nvp_flow *flow, uint64_t seed, void *params) {
    flow->engine->initialize(flow, seed, params);
}

/* A call that is one pass, by a team of its own where there is enough to do. */
static nvp_status run_with_team(nvp_pass *pass) {
    nvp_workspace_gather(pass->workspace, (double)pass->n * (double)pass->flow->n_params);
    const nvp_status status = pass->flow->engine->run(pass);
    nvp_workspace_dismiss(pass->workspace);
    return status;
}

static nvp_status run(nvp_pass pass) { return run_with_team(&pass); }

nvp_status nvp_forward(const nvp_flow *flow, const void *params, size_t n, const void *z, void *x, void *log_det,
                       nvp_workspace *workspace) {
    return run((nvp_pass){
        .flow = flow, .params = params, .workspace = workspace, .n = n, .in = z, .out = x, .log_det = log_det});
}

nvp_status nvp_inverse(const nvp_flow *flow, const void *params, size_t n, const void *x, void *z, void *log_det,
                       nvp_workspace *workspace) {
    return run((nvp_pass){.flow = flow,
                          .params = params,
                          .workspace = workspace,
                          .n = n,
                          .inverse = true,
                          .in = x,
                          .out = z,
                          .log_det = log_det});
}

nvp_status nvp_log_prob(const nvp_flow *flow, const void *params, size_t n, const void *x, void *log_prob,
                        nvp_workspace *workspace) {
    return run((nvp_pass){.flow = flow,
                          .params = params,
                          .workspace = workspace,
                          .n = n,
                          .inverse = true,
                          .in = x,
                          .log_prob = log_prob});
}

nvp_status nvp_trace(const nvp_flow *flow, const void *params, int inverse, size_t n, const void *in, void *states,
                     nvp_workspace *workspace) {
    return run((nvp_pass){.flow = flow,
                          .params = params,
                          .workspace = workspace,
                          .n = n,
                          .inverse = inverse != 0,
                          .in = in,
                          .states = states});
}

nvp_status nvp_sample(const nvp_flow *flow, const void *params, uint64_t seed, size_t n, void *x, void *log_prob,
                      nvp_workspace *workspace) {
    return run((nvp_pass){
        .flow = flow, .params = params, .workspace = workspace, .n = n, .seed = seed, .out = x, .log_prob = log_prob});
}

nvp_status nvp_nll(const nvp_flow *flow, const void *params, size_t n, const void *x, double *nll, void *grad,
                   nvp_workspace *workspace) {
    if (n == 0)
        return NVP_ERROR_ARGUMENT;
    nvp_pass pass = {.flow = flow,
                     .params = params,
                     .workspace = workspace,
                     .n = n,
                     .inverse = true,
                     .in = x,
                     .sum_log_prob = true,
                     .nll_gradient = true,
                     .grad_params = grad};
    nvp_status status = run_with_team(&pass);
    *nll = -pass.log_prob_sum / (double)n;
    return status;
}

nvp_status nvp_forward_vjp(const nvp_flow *flow, const void *params, size_t n, const void *z, const void *grad_x,
                           const void *grad_log_det, void *grad_z, void *grad_params, nvp_workspace *workspace) {
    return run((nvp_pass){.flow = flow,
                          .params = params,
                          .workspace = workspace,
                          .n = n,
                          .in = z,
                          .grad_out = grad_x,
                          .grad_log_det = grad_log_det,
                          .grad_in = grad_z,
                          .grad_params = grad_params});
}

nvp_status nvp_inverse_vjp(const nvp_flow *flow, const void *params, size_t n, const void *x, const void *grad_z,
                           const void *grad_log_det, void *grad_x, void *grad_params, nvp_workspace *workspace) {
    return run((nvp_pass){.flow = flow,
                          .params = params,
                          .workspace = workspace,
                          .n = n,
                          .inverse = true,
                          .in = x,
                          .grad_out = grad_z,
                          .grad_log_det = grad_log_det,
                          .grad_in = grad_x,
                          .grad_params = grad_params});
}

nvp_status nvp_adam_step(nvp_dtype dtype, const nvp_adam_options *options, size_t step, size_t n, void *params,
                         const void *grad, void *m, void *v) {
    const nvp_engine *engine = nvp_choose_engine(dtype);
    if (!engine)
        return NVP_ERROR_UNSUPPORTED;
    if (step == 0)
        return NVP_ERROR_ARGUMENT;
    const nvp_update update = {
        .adam = options, .step = step, .grad_scale = 1, .params = params, .grad = grad, .m = m, .v = v};
    engine->update(&update, 0, n);
    return NVP_OK;
}
