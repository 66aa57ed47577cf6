#include "layer_kinds.h"
#include "coupling.h"
#include "reals.h"

_Static_assert(sizeof(nvp_activation) == sizeof(int) && sizeof(nvp_scale) == sizeof(int), "choices are ints");

#define AT(member) .offset = offsetof(nvp_layer_config, member)
#define CHOICE(label, member, ...)                                                                                     \
    {                                                                                                                  \
        .name = label, .form = NVP_CHOICE, AT(member), .choices = {__VA_ARGS__}                                        \
    }
#define SWITCH(label, member, off, on)                                                                                 \
    {                                                                                                                  \
        .name = label, .form = NVP_SWITCH, AT(member), .choices = {off, on}                                            \
    }
#define REAL(label, member) {.name = label, .form = NVP_REAL, AT(member)}
#define COUNT(label, member, from, to) {.name = label, .form = NVP_COUNT, AT(member), .least = from, .most = to}
#define WIDTHS(label, member, n_member)                                                                                \
    {.name = label, .form = NVP_WIDTHS, AT(member), .n_offset = offsetof(nvp_layer_config, n_member)}
#define MASK(label, member) {.name = label, .form = NVP_MASK, AT(member)}
#define ORDER(label, member) {.name = label, .form = NVP_ORDER, AT(member)}
#define BOUNDS(label, member) {.name = label, .form = NVP_BOUNDS, AT(member)}
#define REALS(label, member) {.name = label, .form = NVP_REALS, AT(member)}

/* -- couplings -- */

#define ACTIVATIONS "relu", "tanh", "silu" /* by nvp_activation */
_Static_assert(sizeof((const char *const[]){ACTIVATIONS}) / sizeof(char *) == NVP_N_ACTIVATIONS, "each has a name");

#define CONDITIONER                                                                                                    \
    CHOICE("activation", activation, ACTIVATIONS), WIDTHS("hidden_dim", hidden, n_hidden), MASK("mask", mask)

static bool is_scale_bound(nvp_dtype dtype, double bound) {
    return nvp_is_normal(dtype, bound) && nvp_is_normal(dtype, 1 / bound);
}

static void coupling_recover(nvp_dtype dtype, const nvp_layer *layer, unsigned char *mask, size_t *columns,
                             nvp_layer_config *config) {
    (void)dtype, (void)columns;
    nvp_recover_coupling(layer, mask, config);
}

/* The kernels multiply by the bound and by its reciprocal. */
static bool affine_is_valid(nvp_dtype dtype, size_t dim, const nvp_layer_config *config) {
    (void)dim;
    return config->scale == NVP_SCALE_EXP || is_scale_bound(dtype, config->scale_bound);
}

static nvp_status affine_describe(nvp_layer *layer, const nvp_layer_config *config, size_t *indices) {
    return config->shared_network ? nvp_describe_coupling(layer, config, 1, 2, indices)
                                  : nvp_describe_coupling(layer, config, 2, 1, indices);
}

/* An unused scale_bound may be any number. In a file it must be a possible bound. */
static void affine_recover(nvp_dtype dtype, const nvp_layer *layer, unsigned char *mask, size_t *columns,
                           nvp_layer_config *config) {
    (void)columns;
    nvp_recover_coupling(layer, mask, config);
    if (!is_scale_bound(dtype, config->scale_bound))
        config->scale_bound = 1;
}

/* The density squares results of splines, up to the bound. The gradient divides by squares of parts of it. */
static bool spline_is_valid(nvp_dtype dtype, size_t dim, const nvp_layer_config *config) {
    (void)dim;
    const double bound = config->tail_bound;
    return bound > 0 && nvp_is_normal(dtype, bound * bound);
}

static nvp_status spline_describe(nvp_layer *layer, const nvp_layer_config *config, size_t *indices) {
    const nvp_status status = nvp_describe_coupling(layer, config, 1, 3 * config->n_bins - 1, indices);
    layer->input_bound = config->tail_bound;
    return status;
}

static nvp_status additive_describe(nvp_layer *layer, const nvp_layer_config *config, size_t *indices) {
    return nvp_describe_coupling(layer, config, 1, 1, indices);
}

static bool circular_is_valid(nvp_dtype dtype, size_t dim, const nvp_layer_config *config) {
    return nvp_are_periods(dtype, dim, config->periods) && spline_is_valid(dtype, dim, config);
}

static nvp_status circular_describe(nvp_layer *layer, const nvp_layer_config *config, size_t *indices) {
    const size_t of_line = 3 * config->n_bins - 1, of_circle = of_line + NVP_CIRCLE_OUTPUTS;
    const nvp_status status = nvp_describe_columns(layer, config, 1, of_line, of_circle, indices);
    layer->input_bound = config->tail_bound;
    return status;
}

/* -- permutations -- */

static bool permutation_count_indices(size_t dim, const nvp_layer_config *config, size_t *n) {
    (void)config;
    *n = dim;
    return true;
}

static nvp_status permutation_describe(nvp_layer *layer, const nvp_layer_config *config, size_t *places) {
    for (size_t i = 0; i < layer->dim; i++) {
        const size_t column = config->permutation[i];
        if (column >= layer->dim || places[column])
            return NVP_ERROR_ARGUMENT;
        places[column] = i + 1;
    }
    for (size_t i = 0; i < layer->dim; i++)
        places[i]--;
    layer->places = places;
    return NVP_OK;
}

static void permutation_recover(nvp_dtype dtype, const nvp_layer *layer, unsigned char *mask, size_t *columns,
                                nvp_layer_config *config) {
    (void)dtype, (void)mask;
    for (size_t i = 0; i < layer->dim; i++)
        columns[layer->places[i]] = i;
    config->permutation = columns;
}

/* -- bounded layers -- */

/* Bounds and their distance, also in units of a negative scale, must be different and finite after rounding. */
static bool bounded_is_valid(nvp_dtype dtype, size_t dim, const nvp_layer_config *config) {
    for (size_t i = 0; i < dim; i++) {
        const double scale = config->scales[i];
        const double low = nvp_round(dtype, config->bounds[2 * i]), high = nvp_round(dtype, config->bounds[2 * i + 1]);
        const double most = nvp_largest(dtype), width = high - low;
        if ((isinf(low) && isfinite(config->bounds[2 * i])) || (isinf(high) && isfinite(config->bounds[2 * i + 1])) ||
            !(width > 0) || (isfinite(low) && isfinite(high) && width > most) ||
            (scale < 0 && !(nvp_is_normal(dtype, -scale) && (isinf(width) || nvp_is_normal(dtype, width / -scale)))) ||
            !nvp_is_normal(dtype, config->edges[i]) || config->edges[i] > width / 2)
            return false;
    }
    return true;
}

const nvp_layer_kind nvp_layer_kinds[NVP_N_LAYER_TYPES] = {
    [NVP_AFFINE_COUPLING] = {"affine_coupling",
                             {CONDITIONER, CHOICE("scale", scale, "exp", "tanh"), REAL("scale_bound", scale_bound),
                              SWITCH("networks", shared_network, "separate", "shared")},
                             affine_is_valid,
                             nvp_count_coupling_indices,
                             affine_describe,
                             affine_recover},
    [NVP_ACT_NORM] = {.name = "act_norm"},
    [NVP_SPLINE_COUPLING] = {"spline_coupling",
                             {CONDITIONER, COUNT("n_bins", n_bins, 2, NVP_MAX_BINS), REAL("tail_bound", tail_bound)},
                             spline_is_valid,
                             nvp_count_coupling_indices,
                             spline_describe,
                             coupling_recover},
    [NVP_ADDITIVE_COUPLING] =
        {"additive_coupling", {CONDITIONER}, NULL, nvp_count_coupling_indices, additive_describe, coupling_recover},
    [NVP_PERMUTATION] = {"permutation",
                         {ORDER("permutation", permutation)},
                         NULL,
                         permutation_count_indices,
                         permutation_describe,
                         permutation_recover},
    [NVP_LU_LINEAR] = {.name = "lu_linear"},
    [NVP_BOUNDED] = {.name = "bounded",
                     .fields = {BOUNDS("bounds", bounds), REALS("scales", scales), REALS("edges", edges)},
                     .is_valid = bounded_is_valid},
    [NVP_CIRCULAR_SPLINE_COUPLING] = {"circular_spline_coupling",
                                      {CONDITIONER, COUNT("n_bins", n_bins, 2, NVP_MAX_BINS),
                                       REAL("tail_bound", tail_bound), REALS("periods", periods)},
                                      circular_is_valid,
                                      nvp_count_coupling_indices,
                                      circular_describe,
                                      coupling_recover},
};
