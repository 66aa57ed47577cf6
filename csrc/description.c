/* A flow as the numbers that describe it in a file, and back. */
#include "description.h"
#include "checked.h"
#include "reals.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WITHOUT_BASE = 1, WITH_BASE = 2 }; /* versions */

_Static_assert(sizeof(nvp_activation) == sizeof(int) && sizeof(nvp_scale) == sizeof(int), "choices are ints");

#define FIELD(name, form, member, ...)                                                                                 \
    {                                                                                                                  \
        name, form, offsetof(nvp_layer_config, member), { __VA_ARGS__ }                                                \
    }
#define CONDITIONER                                                                                                    \
    FIELD("activation", NVP_CHOICE, activation, "relu", "tanh", "silu"),                                               \
        FIELD("hidden_dim", NVP_WIDTHS, hidden, NULL), FIELD("mask", NVP_MASK, mask, NULL)

const nvp_kind nvp_kinds[NVP_N_LAYER_TYPES] = {
    [NVP_AFFINE_COUPLING] = {"affine_coupling",
                             {CONDITIONER, FIELD("scale", NVP_CHOICE, scale, "exp", "tanh"),
                              FIELD("scale_bound", NVP_REAL, scale_bound, NULL),
                              FIELD("networks", NVP_CHOICE, shared_network, "separate", "shared")}},
    [NVP_ACT_NORM] = {.name = "act_norm"},
    [NVP_SPLINE_COUPLING] = {"spline_coupling",
                             {CONDITIONER, FIELD("n_bins", NVP_COUNT, n_bins, NULL),
                              FIELD("tail_bound", NVP_REAL, tail_bound, NULL)}},
    [NVP_ADDITIVE_COUPLING] = {"additive_coupling", {CONDITIONER}},
    [NVP_PERMUTATION] = {"permutation", {FIELD("permutation", NVP_PERMUTATION_COLUMNS, permutation, NULL)}},
    [NVP_LU_LINEAR] = {.name = "lu_linear"},
};

static unsigned count_choices(const nvp_field *field) {
    unsigned n = 0;
    while (field->choices[n])
        n++;
    return n;
}

static void get(const nvp_layer_config *config, const nvp_field *field, void *value, size_t size) {
    memcpy(value, (const char *)config + field->offset, size);
}

static void set(nvp_layer_config *config, const nvp_field *field, const void *value, size_t size) {
    memcpy((char *)config + field->offset, value, size);
}

int nvp_get_choice(const nvp_layer_config *config, const nvp_field *field) {
    int choice;
    get(config, field, &choice, sizeof choice);
    return choice;
}

double nvp_get_real(const nvp_layer_config *config, const nvp_field *field) {
    double real;
    get(config, field, &real, sizeof real);
    return real;
}

size_t nvp_get_count(const nvp_layer_config *config, const nvp_field *field) {
    size_t count;
    get(config, field, &count, sizeof count);
    return count;
}

/* -- from numbers -- */

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

/* A double holds every integer up to this without rounding. */
static const double most = 0x1p53;

static size_t next_size(numbers *in) {
    const double value = next_real(in);
    if (value >= 0 && value < most && value < (double)SIZE_MAX && value == floor(value))
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

static void read_field(numbers *in, const nvp_field *field, size_t dim, nvp_layer_config *layer, storage *lists) {
    switch (field->form) {
    case NVP_CHOICE: {
        const int choice = (int)next_choice(in, count_choices(field));
        set(layer, field, &choice, sizeof choice);
        break;
    }
    case NVP_REAL: {
        const double real = next_real(in);
        set(layer, field, &real, sizeof real);
        break;
    }
    case NVP_COUNT: {
        const size_t count = next_size(in);
        set(layer, field, &count, sizeof count);
        break;
    }
    case NVP_WIDTHS:
        layer->n_hidden = next_size(in);
        layer->hidden = next_sizes(in, layer->n_hidden, lists);
        break;
    case NVP_MASK:
        layer->mask = next_mask(in, dim, lists);
        break;
    case NVP_PERMUTATION_COLUMNS:
        layer->permutation = next_sizes(in, dim, lists);
        break;
    }
}

static void read_layer(numbers *in, size_t dim, nvp_layer_config *layer, storage *lists) {
    *layer = (nvp_layer_config)NVP_LAYER_CONFIG(.type = (nvp_layer_type)next_choice(in, NVP_N_LAYER_TYPES));
    for (const nvp_field *field = nvp_kinds[layer->type].fields; field->name; field++)
        read_field(in, field, dim, layer, lists);
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

/* -- to numbers -- */

void nvp_recover_config(const nvp_flow *flow, size_t l, unsigned char *mask, size_t *columns,
                        nvp_layer_config *config) {
    const nvp_layer *layer = &flow->layers[l];
    *config =
        (nvp_layer_config)NVP_LAYER_CONFIG(.type = layer->type, .mask = mask, .permutation = columns,
                                           .activation = layer->net.activation, .scale = layer->scale,
                                           .scale_bound = layer->scale_bound, .n_bins = layer->n_bins,
                                           .tail_bound = layer->tail_bound, .shared_network = layer->n_networks == 1);
    if (layer->net.n_linears) { /* a coupling */
        config->hidden = layer->net.widths + 1, config->n_hidden = layer->net.n_linears - 1;
        memset(mask, 0, layer->dim);
        for (size_t i = 0; i < layer->n_identity; i++)
            mask[layer->identity[i]] = 1;
    }
    for (size_t i = 0; layer->places && i < layer->dim; i++)
        columns[layer->places[i]] = i;
    if (config->scale == NVP_SCALE_EXP &&
        !(nvp_is_normal(flow->dtype, config->scale_bound) && nvp_is_normal(flow->dtype, 1 / config->scale_bound)))
        config->scale_bound = 1;
}

/* Numbers as they are written; without a place, they are counted. */
typedef struct {
    double *next;
    size_t n;
    bool too_large; /* one is no integer that a double can hold */
} list;

static void put_real(list *out, double value) {
    out->n++;
    if (out->next)
        *out->next++ = value;
}

static void put_size(list *out, size_t value) {
    out->too_large |= (double)value >= most;
    put_real(out, (double)value);
}

static void write_field(list *out, const nvp_field *field, size_t dim, const nvp_layer_config *layer) {
    switch (field->form) {
    case NVP_CHOICE:
        put_size(out, (size_t)nvp_get_choice(layer, field));
        break;
    case NVP_REAL:
        put_real(out, nvp_get_real(layer, field));
        break;
    case NVP_COUNT:
        put_size(out, nvp_get_count(layer, field));
        break;
    case NVP_WIDTHS:
        put_size(out, layer->n_hidden);
        for (size_t i = 0; i < layer->n_hidden; i++)
            put_size(out, layer->hidden[i]);
        break;
    case NVP_MASK:
        for (size_t i = 0; i < dim; i++)
            put_size(out, layer->mask[i]);
        break;
    case NVP_PERMUTATION_COLUMNS:
        for (size_t i = 0; i < dim; i++)
            put_size(out, layer->permutation[i]);
        break;
    }
}

static void write_flow(list *out, const nvp_flow *flow, unsigned char *mask, size_t *columns) {
    const size_t n_components = flow->base.n_components;
    put_size(out, n_components ? WITH_BASE : WITHOUT_BASE);
    put_size(out, (size_t)flow->dtype);
    put_size(out, flow->dim);
    put_size(out, flow->context_dim);
    if (n_components)
        put_size(out, n_components);
    put_size(out, flow->n_layers);
    for (size_t l = 0; l < flow->n_layers; l++) {
        nvp_layer_config layer;
        nvp_recover_config(flow, l, mask, columns, &layer);
        put_size(out, (size_t)layer.type);
        for (const nvp_field *field = nvp_kinds[layer.type].fields; field->name; field++)
            write_field(out, field, flow->dim, &layer);
    }
}

nvp_status nvp_flow_encode(const nvp_flow *flow, size_t *n, double **encoded) {
    if (!encoded)
        return NVP_ERROR_ARGUMENT;
    *encoded = NULL;
    if (!flow || !n)
        return NVP_ERROR_ARGUMENT;
    nvp_status status = NVP_ERROR_MEMORY;
    list counted = {0};
    unsigned char *mask = malloc(flow->dim);
    size_t *columns = calloc(flow->dim, sizeof *columns);
    if (mask && columns) {
        write_flow(&counted, flow, mask, columns);
        *encoded = counted.too_large ? NULL : calloc(counted.n, sizeof **encoded);
        status = counted.too_large ? NVP_ERROR_SIZE : *encoded ? NVP_OK : NVP_ERROR_MEMORY;
    }
    if (status == NVP_OK) {
        list written = {.next = *encoded};
        write_flow(&written, flow, mask, columns);
        *n = counted.n;
    }
    free(mask);
    free(columns);
    return status;
}
