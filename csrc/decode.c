/* A flow from the numbers that describe it in a file. */
#include "nvpflow.h"
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

enum { WITHOUT_BASE = 1, WITH_BASE = 2 }; /* versions */

/* The numbers still to be read. One that is not what it should be, or missing, makes them bad for good. */
typedef struct {
    const double *next;
    size_t left;
    bool bad;
} numbers;

static double next_real(numbers *in) {
    if (in->left == 0) {
        in->bad = true;
        return 0;
    }
    in->left--;
    return *in->next++;
}

/* A double holds every integer up to 2^53 without rounding. */
static size_t next_size(numbers *in) {
    const double value = next_real(in);
    if (value >= 0 && value < 0x1p53 && value < (double)SIZE_MAX && value == floor(value))
        return (size_t)value;
    in->bad = true;
    return 0;
}

/* One of 0, ..., n - 1. */
static unsigned next_choice(numbers *in, unsigned n) {
    const size_t value = next_size(in);
    if (value < n)
        return (unsigned)value;
    in->bad = true;
    return 0;
}

/* Where the lists of the layers go. There is a place for each number, so that they cannot run over. */
typedef struct {
    size_t *sizes;
    unsigned char *mask;
} storage;

static const size_t *next_sizes(numbers *in, size_t n, storage *lists) {
    const size_t *sizes = lists->sizes;
    for (size_t i = 0; i < n && !in->bad; i++)
        *lists->sizes++ = next_size(in);
    return sizes;
}

static const unsigned char *next_mask(numbers *in, size_t dim, storage *lists) {
    const unsigned char *mask = lists->mask;
    for (size_t i = 0; i < dim && !in->bad; i++)
        *lists->mask++ = (unsigned char)next_choice(in, 2);
    return mask;
}

static void read_layer(numbers *in, size_t dim, nvp_layer_config *layer, storage *lists) {
    layer->type = (nvp_layer_type)next_choice(in, NVP_N_LAYER_TYPES);
    switch (layer->type) {
    case NVP_AFFINE_COUPLING:
    case NVP_SPLINE_COUPLING:
    case NVP_ADDITIVE_COUPLING:
        layer->activation = (nvp_activation)next_choice(in, NVP_N_ACTIVATIONS);
        layer->n_hidden = next_size(in);
        layer->hidden = next_sizes(in, layer->n_hidden, lists);
        layer->mask = next_mask(in, dim, lists);
        break;
    case NVP_PERMUTATION:
        layer->permutation = next_sizes(in, dim, lists);
        break;
    default:
        break;
    }
    if (layer->type == NVP_AFFINE_COUPLING) {
        layer->scale = (nvp_scale)next_choice(in, 2);
        layer->scale_bound = next_real(in);
        layer->shared_network = (int)next_choice(in, 2);
    } else if (layer->type == NVP_SPLINE_COUPLING) {
        layer->n_bins = next_size(in);
        layer->tail_bound = next_real(in);
    }
}

nvp_status nvp_flow_decode(nvp_flow **flow, size_t n, const double *list) {
    if (!flow || (n && !list))
        return NVP_ERROR_ARGUMENT;
    *flow = NULL;
    numbers in = {list, n, false};
    const size_t version = next_size(&in);
    in.bad = version != WITHOUT_BASE && version != WITH_BASE;
    const nvp_dtype dtype = (nvp_dtype)next_choice(&in, 2);
    const size_t dim = next_size(&in), context_dim = next_size(&in);
    const size_t n_components = version == WITH_BASE ? next_size(&in) : 0, n_layers = next_size(&in);
    if (in.bad || n_layers > in.left) /* each has at least its type */
        return NVP_ERROR_ARGUMENT;

    nvp_layer_config *layers = calloc(n_layers + 1, sizeof *layers);
    size_t *sizes = calloc(in.left + 1, sizeof *sizes);
    unsigned char *masks = malloc(in.left + 1);
    nvp_status status = NVP_ERROR_MEMORY;
    if (layers && sizes && masks) {
        storage lists = {sizes, masks};
        for (size_t l = 0; l < n_layers && !in.bad; l++)
            read_layer(&in, dim, &layers[l], &lists);
        status = in.bad || in.left ? NVP_ERROR_ARGUMENT
                                   : nvp_flow_create(flow, dtype, dim, context_dim, n_components, n_layers, layers);
    }
    free(layers);
    free(sizes);
    free(masks);
    return status;
}
