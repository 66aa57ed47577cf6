/* Convert flows to the numbers that describe them in files, and back. */
#include "description.h"
#include "base_kinds.h"
#include <math.h>
#include <stdlib.h>

/* -- from numbers -- */

/* The numbers still to be read. After a wrong or missing number they stay bad. */
typedef struct {
    const double *next;
    size_t left;
    bool bad;
    bool too_large; /* it was a size that does not fit in size_t */
} numbers;

static double next_real(numbers *in) {
    if (in->left == 0) {
        in->bad = true;
        return 0;
    }
    in->left--;
    return *in->next++;
}

/* A double represents every integer up to this exactly. */
static const double most = 0x1p53;

static bool fits(double value) { return value < most && value < (double)SIZE_MAX; }

static size_t next_count(numbers *in) {
    const double value = next_real(in);
    if (value >= 0 && fits(value) && value == floor(value))
        return (size_t)value;
    in->bad = true;
    return 0;
}

/* A number of dimensions, or the width of a hidden layer. */
static size_t next_size(numbers *in) {
    in->too_large |= in->left && isfinite(*in->next) && *in->next > 0 && !fits(*in->next);
    return next_count(in);
}

/* One of 0, ..., n - 1. */
static size_t next_choice(numbers *in, size_t n) {
    const size_t value = next_count(in);
    if (value < n)
        return value;
    in->bad = true;
    return 0;
}

/* Storage for the lists of the layers. It has a place for each number, so it cannot overflow. */
typedef struct {
    size_t *sizes;
    unsigned char *mask;
    double *reals;
} storage;

static const size_t *next_sizes(numbers *in, size_t n, size_t (*next)(numbers *), storage *lists) {
    const size_t *sizes = lists->sizes;
    for (size_t i = 0; i < n && !in->bad; i++)
        *lists->sizes++ = next(in);
    return sizes;
}

static const unsigned char *next_mask(numbers *in, size_t dim, storage *lists) {
    const unsigned char *mask = lists->mask;
    for (size_t i = 0; i < dim && !in->bad; i++)
        *lists->mask++ = (unsigned char)next_choice(in, 2);
    return mask;
}

/* dim numbers, or dim pairs. */
static const double *next_reals(numbers *in, bool pairs, size_t dim, storage *lists) {
    const double *reals = lists->reals;
    for (size_t i = 0; i < dim && !in->bad; i++)
        for (int k = 0; k < 1 + pairs; k++)
            *lists->reals++ = next_real(in);
    return reals;
}

static void read_field(numbers *in, const nvp_field *field, size_t dim, void *config, storage *lists) {
    switch (field->form) {
    case NVP_CHOICE:
    case NVP_SWITCH:
        nvp_set_choice(config, field, (int)next_choice(in, nvp_count_choices(field)));
        break;
    case NVP_REAL:
        nvp_set_real(config, field, next_real(in));
        break;
    case NVP_COUNT:
    case NVP_ADDED:
        nvp_set_count(config, field, next_count(in));
        break;
    case NVP_WIDTHS: {
        const size_t n = next_count(in);
        nvp_set_sizes(config, field, next_sizes(in, n, next_size, lists), n);
        break;
    }
    case NVP_MASK:
        nvp_set_mask(config, field, next_mask(in, dim, lists));
        break;
    case NVP_ORDER:
        nvp_set_sizes(config, field, next_sizes(in, dim, next_count, lists), dim);
        break;
    case NVP_BOUNDS:
    case NVP_REALS:
        nvp_set_reals(config, field, next_reals(in, field->form == NVP_BOUNDS, dim, lists));
        break;
    }
}

static void read_fields(numbers *in, const nvp_field *fields, size_t dim, void *config, storage *lists) {
    for (const nvp_field *field = fields; field->name; field++)
        read_field(in, field, dim, config, lists);
}

static void read_base(numbers *in, size_t version, size_t dim, nvp_base_config *base, storage *lists) {
    const size_t kind = version < NVP_FIRST_WITH_KIND ? version - 1 : next_choice(in, NVP_N_BASE_KINDS);
    *base = (nvp_base_config)NVP_BASE_CONFIG(.kind = (nvp_base_kind)kind);
    for (const nvp_field *field = nvp_base_kinds[kind].fields; field->name; field++)
        if (field->form != NVP_ADDED || version >= NVP_FIRST_WITH_ADDED)
            read_field(in, field, dim, base, lists);
    if (version < NVP_FIRST_WITH_KIND && base->n_components == 0)
        base->kind = NVP_STANDARD_NORMAL;
}

static void read_layer(numbers *in, size_t dim, nvp_layer_config *layer, storage *lists) {
    *layer = (nvp_layer_config)NVP_LAYER_CONFIG(.type = (nvp_layer_type)next_choice(in, NVP_N_LAYER_TYPES));
    read_fields(in, nvp_layer_kinds[layer->type].fields, dim, layer, lists);
}

static nvp_status why_bad(const numbers *in) { return in->too_large ? NVP_ERROR_SIZE : NVP_ERROR_ARGUMENT; }

static nvp_status read_flow(numbers *in, storage *lists, nvp_flow **flow) {
    const size_t version = next_count(in);
    in->bad |= version < 1 || version > NVP_FIRST_WITH_ADDED;
    if (in->bad)
        return NVP_ERROR_ARGUMENT;
    const nvp_dtype dtype = (nvp_dtype)next_choice(in, 2);
    const size_t dim = next_size(in), context_dim = next_size(in);
    nvp_base_config base;
    read_base(in, version, dim, &base, lists);
    const size_t n_layers = next_count(in);
    if (in->bad || n_layers > in->left) /* each has at least its type */
        return why_bad(in);
    nvp_layer_config *layers = calloc(n_layers + 1, sizeof *layers);
    if (!layers)
        return NVP_ERROR_MEMORY;
    for (size_t l = 0; l < n_layers && !in->bad; l++)
        read_layer(in, dim, &layers[l], lists);
    const nvp_status status =
        in->bad || in->left ? why_bad(in) : nvp_flow_create(flow, dtype, dim, context_dim, &base, n_layers, layers);
    free(layers);
    return status;
}

nvp_status nvp_flow_decode(nvp_flow **flow, size_t n, const double *list) {
    if (!flow || (n && !list))
        return NVP_ERROR_ARGUMENT;
    *flow = NULL;
    numbers in = {.next = list, .left = n};
    /* The lists have no more entries than there are numbers. */
    size_t *sizes = calloc(n + 1, sizeof *sizes);
    unsigned char *masks = malloc(n + 1);
    double *reals = calloc(n + 2, sizeof *reals); /* a pair may lack both numbers */
    nvp_status status = NVP_ERROR_MEMORY;
    if (sizes && masks && reals) {
        storage lists = {sizes, masks, reals};
        status = read_flow(&in, &lists, flow);
    }
    free(sizes);
    free(masks);
    free(reals);
    return status;
}

/* -- to numbers -- */

void nvp_recover_config(const nvp_flow *flow, size_t l, unsigned char *mask, size_t *columns,
                        nvp_layer_config *config) {
    const nvp_layer *layer = &flow->layers[l];
    const nvp_layer_kind *kind = &nvp_layer_kinds[layer->type];
    *config = layer->config;
    if (kind->recover)
        kind->recover(flow->dtype, layer, mask, columns, config);
}

/* The entries of the largest list of a layer. Without lists, D is no bound on the memory that a flow takes. */
static size_t room_for_lists(const nvp_flow *flow) {
    for (size_t l = 0; l < flow->n_layers; l++)
        if (nvp_layer_kinds[flow->layers[l].type].recover)
            return flow->dim;
    return 1;
}

/* The numbers to write. If `next` is NULL, they are only counted. */
typedef struct {
    double *next;
    size_t n;
    bool too_large; /* a double cannot represent one of the integers exactly */
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

static void put_sizes(list *out, const size_t *sizes, size_t n) {
    for (size_t i = 0; i < n; i++)
        put_size(out, sizes[i]);
}

static void write_field(list *out, const nvp_field *field, size_t dim, const void *config) {
    const size_t *sizes;
    const double *reals;
    size_t n;
    switch (field->form) {
    case NVP_CHOICE:
    case NVP_SWITCH:
        put_size(out, (size_t)nvp_get_choice(config, field));
        break;
    case NVP_REAL:
        put_real(out, nvp_get_real(config, field));
        break;
    case NVP_COUNT:
    case NVP_ADDED:
        put_size(out, nvp_get_count(config, field));
        break;
    case NVP_WIDTHS:
        sizes = nvp_get_sizes(config, field, dim, &n);
        put_size(out, n);
        put_sizes(out, sizes, n);
        break;
    case NVP_MASK:
        for (size_t i = 0; i < dim; i++)
            put_size(out, nvp_get_mask(config, field)[i]);
        break;
    case NVP_ORDER:
        sizes = nvp_get_sizes(config, field, dim, &n);
        put_sizes(out, sizes, n);
        break;
    case NVP_BOUNDS:
    case NVP_REALS:
        reals = nvp_get_reals(config, field, dim, &n);
        for (size_t i = 0; i < n; i++)
            put_real(out, reals[i]);
        break;
    }
}

static void write_fields(list *out, const nvp_field *fields, size_t dim, const void *config) {
    for (const nvp_field *field = fields; field->name; field++)
        write_field(out, field, dim, config);
}

/* The lowest version that can represent the base. */
static int version_of_base(const nvp_base_config *base) {
    const nvp_base_traits *traits = &nvp_base_kinds[base->kind];
    int version = traits->version;
    for (const nvp_field *field = traits->fields; field->name; field++)
        if (field->form == NVP_ADDED && !nvp_is_left_out(base, field))
            version = NVP_FIRST_WITH_ADDED;
    return version;
}

static void write_base(list *out, int version, size_t dim, const nvp_base_config *base) {
    if (version >= NVP_FIRST_WITH_KIND)
        put_size(out, (size_t)base->kind);
    for (const nvp_field *field = nvp_base_kinds[base->kind].fields; field->name; field++)
        if (field->form != NVP_ADDED || version >= NVP_FIRST_WITH_ADDED)
            write_field(out, field, dim, base);
}

static void write_flow(list *out, const nvp_flow *flow, unsigned char *mask, size_t *columns) {
    const int version = version_of_base(&flow->base.config);
    put_size(out, (size_t)version);
    put_size(out, (size_t)flow->dtype);
    put_size(out, flow->dim);
    put_size(out, flow->context_dim);
    write_base(out, version, flow->dim, &flow->base.config);
    put_size(out, flow->n_layers);
    for (size_t l = 0; l < flow->n_layers; l++) {
        nvp_layer_config layer;
        nvp_recover_config(flow, l, mask, columns, &layer);
        put_size(out, (size_t)layer.type);
        write_fields(out, nvp_layer_kinds[layer.type].fields, flow->dim, &layer);
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
    const size_t room = room_for_lists(flow);
    unsigned char *mask = malloc(room);
    size_t *columns = calloc(room, sizeof *columns);
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
