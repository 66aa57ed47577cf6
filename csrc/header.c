#include "header.h"
#include "base_kinds.h"
#include "description.h"
#include "ensemble.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_size(nvp_bytes *to, size_t value) {
    char text[32];
    snprintf(text, sizeof text, "%zu", value);
    nvp_put_text(to, text);
}

/* Write the shortest decimal number that is read as this double. The decimal point of the locale may differ from that
 * of JSON, and have more than one byte. */
static void put_real(nvp_bytes *to, double value) {
    char text[64];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    const size_t whole = strspn(text, "-0123456789"), point = strcspn(text + whole, "0123456789e");
    nvp_put(to, text, whole);
    if (point || !text[whole])
        nvp_put_text(to, ".");
    nvp_put_text(to, text[whole] ? text + whole + point : "0");
}

static void put_sizes(nvp_bytes *to, const size_t *values, size_t n) {
    nvp_put_text(to, "[");
    for (size_t i = 0; i < n; i++) {
        nvp_put_text(to, i ? ", " : "");
        put_size(to, values[i]);
    }
    nvp_put_text(to, "]");
}

static void put_mask(nvp_bytes *to, const unsigned char *mask, size_t n) {
    nvp_put_text(to, "[");
    for (size_t i = 0; i < n; i++) {
        nvp_put_text(to, i ? ", " : "");
        nvp_put_text(to, mask[i] ? "1" : "0");
    }
    nvp_put_text(to, "]");
}

/* Begin a further member of an object: ", " and the name, before the value. */
static void put_name(nvp_bytes *to, const char *name) {
    nvp_put_text(to, ", \"");
    nvp_put_text(to, name);
    nvp_put_text(to, "\": ");
}

static void put_string(nvp_bytes *to, const char *text) {
    nvp_put_text(to, "\"");
    nvp_put_text(to, text);
    nvp_put_text(to, "\"");
}

/* Infinite bounds are null: JSON has no infinity. */
static void put_bounds(nvp_bytes *to, const double *bounds, size_t n) {
    nvp_put_text(to, "[");
    for (size_t i = 0; i < n; i++) {
        nvp_put_text(to, i % 2 ? ", " : i ? "], [" : "[");
        if (isfinite(bounds[i]))
            put_real(to, bounds[i]);
        else
            nvp_put_text(to, "null");
    }
    nvp_put_text(to, "]]");
}

static void put_reals(nvp_bytes *to, const double *reals, size_t n) {
    nvp_put_text(to, "[");
    for (size_t i = 0; i < n; i++) {
        nvp_put_text(to, i ? ", " : "");
        put_real(to, reals[i]);
    }
    nvp_put_text(to, "]");
}

static void put_field(nvp_bytes *to, const nvp_field *field, const nvp_flow *flow, const void *config) {
    const size_t *sizes;
    const double *reals;
    size_t n;
    put_name(to, field->name);
    switch (field->form) {
    case NVP_CHOICE:
    case NVP_SWITCH:
        put_string(to, field->choices[nvp_get_choice(config, field)]);
        break;
    case NVP_REAL:
        put_real(to, nvp_get_real(config, field));
        break;
    case NVP_COUNT:
    case NVP_ADDED:
        put_size(to, nvp_get_count(config, field));
        break;
    case NVP_MASK: /* layers with a mask also read the context */
        put_mask(to, nvp_get_mask(config, field), flow->dim);
        put_name(to, "context_dim");
        put_size(to, flow->context_dim);
        break;
    case NVP_WIDTHS:
    case NVP_ORDER:
        sizes = nvp_get_sizes(config, field, flow->dim, &n);
        put_sizes(to, sizes, n);
        break;
    case NVP_BOUNDS:
        reals = nvp_get_reals(config, field, flow->dim, &n);
        put_bounds(to, reals, n);
        break;
    case NVP_REALS:
        reals = nvp_get_reals(config, field, flow->dim, &n);
        put_reals(to, reals, n);
        break;
    }
}

static void put_fields(nvp_bytes *to, const nvp_field *fields, const nvp_flow *flow, const void *config) {
    for (const nvp_field *field = fields; field->name; field++)
        if (!nvp_is_left_out(config, field))
            put_field(to, field, flow, config);
}

static void put_layer(nvp_bytes *to, const nvp_flow *flow, const nvp_layer_config *layer) {
    const nvp_layer_kind *kind = &nvp_layer_kinds[layer->type];
    nvp_put_text(to, "{\"type\": ");
    put_string(to, kind->name);
    put_name(to, "data_dim");
    put_size(to, flow->dim);
    put_fields(to, kind->fields, flow, layer);
    nvp_put_text(to, "}");
}

static void put_layers(nvp_bytes *to, const nvp_flow *flow, unsigned char *mask, size_t *columns) {
    nvp_put_text(to, "[");
    for (size_t l = 0; l < flow->n_layers; l++) {
        nvp_layer_config layer;
        nvp_recover_config(flow, l, mask, columns, &layer);
        nvp_put_text(to, l ? ", " : "");
        put_layer(to, flow, &layer);
    }
    nvp_put_text(to, "]");
}

static void put_base(nvp_bytes *to, const nvp_flow *flow) {
    const nvp_base_config *base = &flow->base.config;
    nvp_put_text(to, "{\"type\": ");
    put_string(to, nvp_base_kinds[base->kind].name);
    put_fields(to, nvp_base_kinds[base->kind].fields, flow, base);
    put_name(to, "data_dim");
    put_size(to, flow->dim);
    if (nvp_base_kinds[base->kind].reads_context) {
        put_name(to, "context_dim");
        put_size(to, flow->context_dim);
    }
    nvp_put_text(to, "}");
}

/* The configuration of a flow, as `Flow.config` in Python. `mask` and `columns` have room for D entries each. */
static void put_flow(nvp_bytes *to, const nvp_flow *flow, unsigned char *mask, size_t *columns) {
    nvp_put_text(to, "{\"dtype\": ");
    put_string(to, flow->dtype == NVP_FLOAT32 ? "float32" : "float64");
    put_name(to, "layers");
    put_layers(to, flow, mask, columns);
    if (flow->base.config.kind != NVP_STANDARD_NORMAL) { /* the default */
        put_name(to, "base");
        put_base(to, flow);
    }
    nvp_put_text(to, "}");
}

/* Begin a header, and put flows of the same dimension into it. */
static nvp_status put_header(nvp_bytes *to, const char *kind, size_t n_flows, const nvp_flow *flow,
                             const nvp_ensemble *ensemble) {
    unsigned char *mask = malloc(flow->dim);
    size_t *columns = calloc(flow->dim, sizeof *columns);
    if (mask && columns) {
        nvp_put_text(to, "{\"format\": \"nvpflow\", \"version\": 1, \"kind\": ");
        nvp_put_text(to, kind);
        for (size_t k = 0; k < n_flows; k++) {
            nvp_put_text(to, k ? ", " : "");
            put_flow(to, ensemble ? nvp_ensemble_flow(ensemble, k) : flow, mask, columns);
        }
        nvp_put_text(to, ensemble ? "]}" : "}");
    } else {
        to->status = NVP_ERROR_MEMORY;
    }
    free(mask);
    free(columns);
    return to->status;
}

nvp_status nvp_put_header(nvp_bytes *to, const nvp_flow *flow) {
    return put_header(to, "\"Flow\", \"flow\": ", 1, flow, NULL);
}

nvp_status nvp_put_ensemble_header(nvp_bytes *to, const nvp_ensemble *ensemble) {
    return put_header(to, "\"FlowEnsemble\", \"flows\": [", ensemble->n_flows, ensemble->flows[0], ensemble);
}
