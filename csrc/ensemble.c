/* Ensembles: descriptions, and the average of the densities. */
#include "ensemble.h"
#include "checked.h"
#include "engine.h"
#include "rng.h"
#include "workspace.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* -- descriptions -- */

nvp_ensemble *nvp_ensemble_allocate(size_t n) {
    nvp_ensemble *ensemble = calloc(1, sizeof *ensemble);
    if (!ensemble || n == SIZE_MAX) {
        free(ensemble);
        return NULL;
    }
    ensemble->flows = calloc(n, sizeof *ensemble->flows);
    ensemble->weights = calloc(n, sizeof *ensemble->weights);
    ensemble->offsets = calloc(n + 1, sizeof *ensemble->offsets);
    if (ensemble->flows && ensemble->weights && ensemble->offsets)
        return ensemble;
    nvp_ensemble_destroy(ensemble);
    return NULL;
}

nvp_status nvp_ensemble_append(nvp_ensemble *ensemble, nvp_flow *flow, double weight) {
    const size_t k = ensemble->n_flows++;
    const nvp_flow *first = ensemble->flows[0];
    ensemble->flows[k] = flow, ensemble->weights[k] = weight;
    if (k && (flow->dtype != first->dtype || flow->dim != first->dim || flow->context_dim != first->context_dim))
        return NVP_ERROR_ARGUMENT;
    return nvp_add(ensemble->offsets[k], flow->n_params, &ensemble->offsets[k + 1]) ? NVP_OK : NVP_ERROR_SIZE;
}

bool nvp_are_shares(const double *weights, size_t n) {
    double sum = 0;
    for (size_t k = 0; k < n; k++) {
        if (!(weights[k] >= 0))
            return false;
        sum += weights[k];
    }
    return fabs(sum - 1) <= 1e-6;
}

static nvp_status copy_flow(const nvp_flow *flow, nvp_flow **copy) {
    size_t n;
    double *numbers;
    nvp_status status = nvp_flow_encode(flow, &n, &numbers);
    if (status == NVP_OK)
        status = nvp_flow_decode(copy, n, numbers);
    free(numbers);
    return status;
}

static nvp_status append_copies(nvp_ensemble *ensemble, size_t n, const nvp_flow *const *flows, const double *weights) {
    for (size_t k = 0; k < n; k++) {
        nvp_flow *copy;
        nvp_status status = flows[k] ? copy_flow(flows[k], &copy) : NVP_ERROR_ARGUMENT;
        if (status == NVP_OK)
            status = nvp_ensemble_append(ensemble, copy, weights ? weights[k] : 1 / (double)n);
        if (status != NVP_OK)
            return status;
    }
    return NVP_OK;
}

nvp_status nvp_ensemble_create(nvp_ensemble **created, size_t n_flows, const nvp_flow *const *flows,
                               const double *weights) {
    if (!created)
        return NVP_ERROR_ARGUMENT;
    *created = NULL;
    if (!n_flows || !flows || (weights && !nvp_are_shares(weights, n_flows)))
        return NVP_ERROR_ARGUMENT;
    nvp_ensemble *ensemble = nvp_ensemble_allocate(n_flows);
    if (!ensemble)
        return NVP_ERROR_MEMORY;
    const nvp_status status = append_copies(ensemble, n_flows, flows, weights);
    if (status == NVP_OK)
        *created = ensemble;
    else
        nvp_ensemble_destroy(ensemble);
    return status;
}

void nvp_ensemble_destroy(nvp_ensemble *ensemble) {
    if (!ensemble)
        return;
    for (size_t k = 0; k < ensemble->n_flows; k++)
        nvp_flow_destroy(ensemble->flows[k]);
    free(ensemble->flows);
    free(ensemble->weights);
    free(ensemble->offsets);
    free(ensemble);
}

size_t nvp_ensemble_n_flows(const nvp_ensemble *ensemble) { return ensemble->n_flows; }
size_t nvp_ensemble_dim(const nvp_ensemble *ensemble) { return ensemble->flows[0]->dim; }
size_t nvp_ensemble_context_dim(const nvp_ensemble *ensemble) { return ensemble->flows[0]->context_dim; }
nvp_dtype nvp_ensemble_dtype(const nvp_ensemble *ensemble) { return ensemble->flows[0]->dtype; }
size_t nvp_ensemble_n_parameters(const nvp_ensemble *ensemble) { return ensemble->offsets[ensemble->n_flows]; }
const nvp_flow *nvp_ensemble_flow(const nvp_ensemble *ensemble, size_t k) {
    return k < ensemble->n_flows ? ensemble->flows[k] : NULL;
}
double nvp_ensemble_weight(const nvp_ensemble *ensemble, size_t k) {
    return k < ensemble->n_flows ? ensemble->weights[k] : 0;
}
size_t nvp_ensemble_offset(const nvp_ensemble *ensemble, size_t k) {
    return ensemble->offsets[k < ensemble->n_flows ? k : ensemble->n_flows];
}

/* -- the average -- */

static size_t real_size(const nvp_ensemble *ensemble) { return ensemble->flows[0]->engine->real_size; }

static const void *params_of(const nvp_ensemble *ensemble, size_t k, const void *params) {
    return params ? (const char *)params + ensemble->offsets[k] * real_size(ensemble) : NULL;
}

static bool is_complete(const nvp_ensemble *ensemble, const void *params, size_t n, const void *context,
                        const nvp_workspace *workspace) {
    return ensemble && workspace &&
           (n == 0 || ((params || nvp_ensemble_n_parameters(ensemble) == 0) &&
                       (context || nvp_ensemble_context_dim(ensemble) == 0)));
}

/* log(exp(a) + exp(b)), without overflow. NaN comes from NaN alone. */
static double log_add(double a, double b) {
    if (a == b) /* also where both are infinite */
        return a + 0.69314718055994530942;
    const double larger = a > b ? a : b, smaller = a > b ? b : a;
    return larger + log1p(exp(smaller - larger));
}

/* total = log(exp(total) + exp(log_weight + log_prob)), n numbers each. */
static void add_member(nvp_dtype dtype, size_t n, double log_weight, const void *log_prob, void *total) {
    for (size_t i = 0; i < n; i++)
        if (dtype == NVP_FLOAT32)
            ((float *)total)[i] =
                (float)log_add((double)((float *)total)[i], log_weight + (double)((const float *)log_prob)[i]);
        else
            ((double *)total)[i] = log_add(((double *)total)[i], log_weight + ((const double *)log_prob)[i]);
}

/* The logarithm of no density. */
static void begin_sum(nvp_dtype dtype, size_t n, void *total) {
    for (size_t i = 0; i < n; i++)
        if (dtype == NVP_FLOAT32)
            ((float *)total)[i] = -(float)INFINITY;
        else
            ((double *)total)[i] = -(double)INFINITY;
}

nvp_status nvp_ensemble_log_prob(const nvp_ensemble *ensemble, const void *params, size_t n, const void *x,
                                 const void *context, void *log_prob, nvp_workspace *workspace) {
    size_t bytes;
    if (!is_complete(ensemble, params, n, context, workspace) || (n && (!x || !log_prob)))
        return NVP_ERROR_ARGUMENT;
    if (!nvp_multiply(n, real_size(ensemble), &bytes))
        return NVP_ERROR_SIZE;
    void *of_member = nvp_scratch_reserve(&workspace->members, bytes);
    if (!of_member)
        return NVP_ERROR_MEMORY;
    const nvp_dtype dtype = nvp_ensemble_dtype(ensemble);
    begin_sum(dtype, n, log_prob);
    for (size_t k = 0; k < ensemble->n_flows; k++) {
        if (ensemble->weights[k] == 0)
            continue;
        const nvp_status status =
            nvp_log_prob(ensemble->flows[k], params_of(ensemble, k, params), n, x, context, of_member, workspace);
        if (status != NVP_OK)
            return status;
        add_member(dtype, n, log(ensemble->weights[k]), of_member, log_prob);
    }
    return NVP_OK;
}

/* -- samples -- */

/* What one member draws: `index` (n) has the member of each sample, the other arrays room for n rows. */
typedef struct {
    size_t *index;
    char *x, *context;
} draws;

static nvp_status lay_out_draws(const nvp_ensemble *ensemble, size_t n, nvp_workspace *workspace, draws *memory) {
    size_t rows, indices, bytes;
    const size_t dim = nvp_ensemble_dim(ensemble), context_dim = nvp_ensemble_context_dim(ensemble);
    if (!nvp_multiply(n, real_size(ensemble), &rows) || !nvp_multiply(n, sizeof *memory->index, &indices) ||
        !nvp_add(0, indices, &bytes) || !nvp_add_product(rows, dim, &bytes) ||
        !nvp_add_product(rows, context_dim, &bytes))
        return NVP_ERROR_SIZE;
    char *block = nvp_scratch_reserve(&workspace->members, bytes);
    if (!block)
        return NVP_ERROR_MEMORY;
    *memory = (draws){.index = (size_t *)(void *)block, .x = block + indices, .context = block + indices + rows * dim};
    return NVP_OK;
}

/* The member of sample i: by its own random number, so that more samples change none of the first. */
static size_t choose_member(const nvp_ensemble *ensemble, uint64_t seed, size_t i) {
    double uniform[2], below = 0;
    nvp_uniform_pair(seed, NVP_STREAM_MEMBER, i, uniform);
    size_t last = 0;
    for (size_t k = 0; k < ensemble->n_flows; k++) {
        if (ensemble->weights[k] == 0)
            continue;
        below += ensemble->weights[k], last = k;
        if (uniform[0] < below)
            return k;
    }
    return last; /* the sum of the weights is 1 but for rounding */
}

static uint64_t seed_of_member(uint64_t seed, size_t k) {
    uint32_t bits[4];
    nvp_philox(seed, NVP_STREAM_MEMBER_SEED, k, bits);
    return (uint64_t)bits[1] << 32 | bits[0];
}

/* Draw the samples of member k, and put each in its place in x (n, D). */
static nvp_status draw_from(const nvp_ensemble *ensemble, size_t k, const void *params, uint64_t seed, size_t n,
                            const char *context, char *x, const draws *memory, nvp_workspace *workspace) {
    const size_t row = nvp_ensemble_dim(ensemble) * real_size(ensemble);
    const size_t context_row = nvp_ensemble_context_dim(ensemble) * real_size(ensemble);
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        if (memory->index[i] == k) {
            if (context_row)
                memcpy(memory->context + count * context_row, context + i * context_row, context_row);
            count++;
        }
    const nvp_status status = nvp_sample(ensemble->flows[k], params_of(ensemble, k, params), seed_of_member(seed, k),
                                         count, memory->context, memory->x, NULL, workspace);
    for (size_t i = 0, drawn = 0; i < n && status == NVP_OK; i++)
        if (memory->index[i] == k)
            memcpy(x + i * row, memory->x + drawn++ * row, row);
    return status;
}

nvp_status nvp_ensemble_sample(const nvp_ensemble *ensemble, const void *params, uint64_t seed, size_t n,
                               const void *context, void *x, void *log_prob, nvp_workspace *workspace) {
    draws memory;
    if (!is_complete(ensemble, params, n, context, workspace) || (n && !x))
        return NVP_ERROR_ARGUMENT;
    nvp_status status = lay_out_draws(ensemble, n, workspace, &memory);
    if (status != NVP_OK)
        return status;
    for (size_t i = 0; i < n; i++)
        memory.index[i] = choose_member(ensemble, seed, i);
    for (size_t k = 0; k < ensemble->n_flows && status == NVP_OK; k++)
        status = draw_from(ensemble, k, params, seed, n, context, x, &memory, workspace);
    if (status == NVP_OK && log_prob)
        status = nvp_ensemble_log_prob(ensemble, params, n, x, context, log_prob, workspace);
    return status;
}
