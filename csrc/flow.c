/* Describing a flow, and the public compute functions, each of which is one pass (core.h). */
#include "checked.h"
#include "core.h"
#include "reals.h"
#include "sized.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *nvp_version(void) { return NVP_VERSION; }

void nvp_free(void *memory) { free(memory); }

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
    case NVP_ERROR_FILE:
        return "the file cannot be read or written";
    case NVP_ERROR_FORMAT:
        return "this is no whole nvpflow file";
    case NVP_INTERRUPTED:
        return "interrupted";
    case NVP_ERROR_FORKED:
        return "a forked process has no threads of the call that it was forked in";
    }
    return "unknown status";
}

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
    return choose_tiles(flow, kept_rows) && place_saved_rows(flow, kept_rows) ? NVP_OK : NVP_ERROR_SIZE;
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

void nvp_flow_destroy(nvp_flow *flow) {
    if (!flow)
        return;
    free(flow->layers);
    free(flow->indices);
    free(flow);
}

size_t nvp_flow_dim(const nvp_flow *flow) { return flow->dim; }
size_t nvp_flow_context_dim(const nvp_flow *flow) { return flow->context_dim; }
size_t nvp_flow_n_layers(const nvp_flow *flow) { return flow->n_layers; }
nvp_dtype nvp_flow_dtype(const nvp_flow *flow) { return flow->dtype; }
const char *nvp_flow_isa(const nvp_flow *flow) { return flow->engine->isa; }
size_t nvp_flow_n_parameters(const nvp_flow *flow) { return flow->n_params; }
size_t nvp_flow_n_components(const nvp_flow *flow) { return flow->base.n_components; }
size_t nvp_flow_base_offset(const nvp_flow *flow) { return flow->base.offset; }
size_t nvp_flow_layer_offset(const nvp_flow *flow, size_t layer) {
    return layer < flow->n_layers ? flow->layers[layer].offset : flow->base.offset;
}

void nvp_flow_initialize(const nvp_flow *flow, uint64_t seed, void *params) {
    flow->engine->initialize(flow, seed, params);
}

bool nvp_has_parameters(const nvp_flow *flow, const void *params) { return params || flow->n_params == 0; }

bool nvp_all_finite(nvp_dtype dtype, const void *reals, size_t n) {
    const float *singles = reals;
    const double *doubles = reals;
    for (size_t i = 0; i < n; i++)
        if (!(dtype == NVP_FLOAT32 ? isfinite(singles[i]) : isfinite(doubles[i])))
            return false;
    return true;
}

/* Whether all is there that a pass reads. */
static bool is_complete(const nvp_pass *pass) {
    return pass->flow && pass->workspace &&
           (pass->n == 0 || (nvp_has_parameters(pass->flow, pass->params) && (pass->draws || pass->in) &&
                             (pass->context || pass->flow->context_dim == 0)));
}

/* A call that is one pass, by a team of its own where there is enough to do. */
static nvp_status run_with_team(nvp_pass *pass) {
    if (!is_complete(pass))
        return NVP_ERROR_ARGUMENT;
    if (!pass->params)
        pass->params = pass->flow; /* nothing is read there */
    nvp_workspace_gather(pass->workspace, (double)pass->n * (double)pass->flow->n_params,
                         nvp_count_tiles(pass->flow, pass->n));
    const nvp_status status = pass->flow->engine->run(pass);
    nvp_workspace_dismiss(pass->workspace);
    return status;
}

/* The same for a pass that must have an output. */
static nvp_status run(nvp_pass pass, const void *output) {
    return pass.n && !output ? NVP_ERROR_ARGUMENT : run_with_team(&pass);
}

nvp_status nvp_forward(const nvp_flow *flow, const void *params, size_t n, const void *z, const void *context, void *x,
                       void *log_det, nvp_workspace *workspace) {
    return run((nvp_pass){.flow = flow,
                          .params = params,
                          .workspace = workspace,
                          .n = n,
                          .in = z,
                          .context = context,
                          .out = x,
                          .log_det = log_det},
               x);
}

nvp_status nvp_inverse(const nvp_flow *flow, const void *params, size_t n, const void *x, const void *context, void *z,
                       void *log_det, nvp_workspace *workspace) {
    return run((nvp_pass){.flow = flow,
                          .params = params,
                          .workspace = workspace,
                          .n = n,
                          .inverse = true,
                          .in = x,
                          .context = context,
                          .out = z,
                          .log_det = log_det},
               z);
}

nvp_status nvp_log_prob(const nvp_flow *flow, const void *params, size_t n, const void *x, const void *context,
                        void *log_prob, nvp_workspace *workspace) {
    return run((nvp_pass){.flow = flow,
                          .params = params,
                          .workspace = workspace,
                          .n = n,
                          .inverse = true,
                          .in = x,
                          .context = context,
                          .log_prob = log_prob},
               log_prob);
}

nvp_status nvp_trace(const nvp_flow *flow, const void *params, int inverse, size_t n, const void *in,
                     const void *context, void *states, nvp_workspace *workspace) {
    return run((nvp_pass){.flow = flow,
                          .params = params,
                          .workspace = workspace,
                          .n = n,
                          .inverse = inverse != 0,
                          .in = in,
                          .context = context,
                          .states = states},
               states);
}

nvp_status nvp_sample(const nvp_flow *flow, const void *params, uint64_t seed, size_t n, const void *context, void *x,
                      void *log_prob, nvp_workspace *workspace) {
    return run((nvp_pass){.flow = flow,
                          .params = params,
                          .workspace = workspace,
                          .n = n,
                          .draws = true,
                          .context = context,
                          .seed = seed,
                          .out = x,
                          .log_prob = log_prob},
               x);
}

bool nvp_check_data(const nvp_flow *flow, const nvp_data *data, double *mean_weight) {
    if (data->n == 0 || !data->x || (flow->context_dim && !data->context))
        return false;
    *mean_weight = 1;
    if (!data->weight)
        return true;
    double sum = 0;
    for (size_t i = 0; i < data->n; i++) {
        if (!(data->weight[i] >= 0))
            return false;
        sum += data->weight[i];
    }
    *mean_weight = sum / (double)data->n;
    return *mean_weight > 0 && isfinite(*mean_weight);
}

nvp_status nvp_nll(const nvp_flow *flow, const void *params, const nvp_data *given, double *nll, void *grad,
                   nvp_workspace *workspace) {
    nvp_data data;
    double mean_weight;
    if (!flow || !nll || !nvp_take_data(given, &data) || !nvp_check_data(flow, &data, &mean_weight))
        return NVP_ERROR_ARGUMENT;
    nvp_pass pass = {.flow = flow,
                     .params = params,
                     .workspace = workspace,
                     .n = data.n,
                     .inverse = true,
                     .in = data.x,
                     .context = data.context,
                     .weight = data.weight,
                     .mean_weight = mean_weight,
                     .sum_log_prob = true,
                     .nll_gradient = true,
                     .grad_params = grad};
    const nvp_status status = run_with_team(&pass);
    *nll = -pass.log_prob_sum / (double)data.n;
    return status;
}

nvp_status nvp_forward_vjp(const nvp_flow *flow, const void *params, size_t n, const void *z, const void *context,
                           const void *grad_x, const void *grad_log_det, void *grad_z, void *grad_context,
                           void *grad_params, nvp_workspace *workspace) {
    nvp_pass pass = {.flow = flow,
                     .params = params,
                     .workspace = workspace,
                     .n = n,
                     .in = z,
                     .context = context,
                     .grad_out = grad_x,
                     .grad_log_det = grad_log_det,
                     .grad_in = grad_z,
                     .grad_context = grad_context,
                     .grad_params = grad_params};
    return run_with_team(&pass);
}

nvp_status nvp_inverse_vjp(const nvp_flow *flow, const void *params, size_t n, const void *x, const void *context,
                           const void *grad_z, const void *grad_log_det, void *grad_x, void *grad_context,
                           void *grad_params, nvp_workspace *workspace) {
    nvp_pass pass = {.flow = flow,
                     .params = params,
                     .workspace = workspace,
                     .n = n,
                     .inverse = true,
                     .in = x,
                     .context = context,
                     .grad_out = grad_z,
                     .grad_log_det = grad_log_det,
                     .grad_in = grad_x,
                     .grad_context = grad_context,
                     .grad_params = grad_params};
    return run_with_team(&pass);
}

nvp_status nvp_adam_step(nvp_dtype dtype, const nvp_adam_options *options, size_t step, size_t n, void *params,
                         const void *grad, void *m, void *v) {
    nvp_adam_options adam;
    if ((dtype != NVP_FLOAT32 && dtype != NVP_FLOAT64) || !nvp_take_adam_options(options, &adam) || step == 0 ||
        (n && !(params && grad && m && v)))
        return NVP_ERROR_ARGUMENT;
    nvp_fill_in_adam(&adam);
    if (!nvp_check_adam(dtype, &adam))
        return NVP_ERROR_ARGUMENT;
    if (n == 0)
        return NVP_OK;
    const nvp_engine *engine = nvp_choose_engine(dtype);
    if (!engine)
        return NVP_ERROR_UNSUPPORTED;
    const nvp_update update = {
        .adam = &adam, .step = step, .grad_scale = 1, .params = params, .grad = {grad}, .m = m, .v = v};
    engine->update(&update, 0, n);
    return NVP_OK;
}
