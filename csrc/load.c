/* Read a flow, an ensemble or a model from an .npz file: a zip archive (PKWARE, APPNOTE.TXT 6.3) of arrays in NumPy's
 * format (numpy.lib.format, version 1.0). Only the form that numpy.savez writes is accepted: members are not
 * compressed, so none is larger than the file. */
#include "bytes.h"
#include "cells.h"
#include "checked.h"
#include "ensemble.h"
#include "model.h"
#include "reals.h"
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The members that tell a flow from an ensemble. */
static const char FLOW[] = "description.npy", ENSEMBLE[] = "descriptions.npy";

typedef struct {
    const unsigned char *bytes;
    size_t size;
} span;

/* A little-endian unsigned integer. */
static uint64_t integer(const unsigned char *bytes, size_t n) {
    uint64_t value = 0;
    while (n--)
        value = value << 8 | bytes[n];
    return value;
}

static size_t integer16(const unsigned char *bytes) { return (size_t)integer(bytes, 2); }
static size_t integer32(const unsigned char *bytes) { return (size_t)integer(bytes, 4); }

/* Find the n bytes at an offset of a span. False: the span is too short. */
static bool part(span of, size_t offset, size_t n, span *found) {
    if (offset > of.size || n > of.size - offset)
        return false;
    *found = (span){of.bytes + offset, n};
    return true;
}

static bool equal(span a, const char *text) { return a.size == strlen(text) && memcmp(a.bytes, text, a.size) == 0; }

static bool begins_with(span a, const char *signature) { return a.size >= 4 && memcmp(a.bytes, signature, 4) == 0; }

/* -- the archive -- */

/* Find the central directory. It ends at the record that locates it, the last 22 bytes: savez writes no comment. */
static bool find_directory(span file, span *directory) {
    enum { END = 22 };
    span end;
    if (file.size < END || !part(file, file.size - END, END, &end) || !begins_with(end, "PK\5\6"))
        return false;
    const size_t size = integer32(end.bytes + 12), offset = integer32(end.bytes + 16);
    return part(file, offset, size, directory) && directory->bytes + size == end.bytes;
}

/* Find the content of the member that a directory entry describes. */
static bool read_member(span file, span entry, span name, span *content) {
    enum { LOCAL = 30 };
    const size_t flags = integer16(entry.bytes + 8), method = integer16(entry.bytes + 10);
    const size_t packed = integer32(entry.bytes + 20), size = integer32(entry.bytes + 24);
    const size_t offset = integer32(entry.bytes + 42);
    span local, local_name;
    if (method != 0 || flags & 1 || packed != size || !part(file, offset, LOCAL, &local) ||
        !begins_with(local, "PK\3\4"))
        return false;
    const size_t name_size = integer16(local.bytes + 26), extra_size = integer16(local.bytes + 28);
    return name_size == name.size && part(file, offset + LOCAL, name_size, &local_name) &&
           memcmp(local_name.bytes, name.bytes, name.size) == 0 &&
           part(file, offset + LOCAL + name_size + extra_size, size, content);
}

/* Read the directory entry at *at, and move *at to the next one. */
static bool next_entry(span directory, size_t *at, span *entry, span *name) {
    enum { ENTRY = 46 };
    if (!part(directory, *at, ENTRY, entry) || !begins_with(*entry, "PK\1\2") ||
        !part(directory, *at + ENTRY, integer16(entry->bytes + 28), name))
        return false;
    *at += ENTRY + name->size + integer16(entry->bytes + 30) + integer16(entry->bytes + 32);
    return true;
}

/* Whether all members are what the directory says of them. Otherwise one that a file need not have, under a damaged
 * name, would be taken as absent. */
static bool is_whole(span file) {
    span directory, entry, name, content;
    if (!find_directory(file, &directory))
        return false;
    for (size_t at = 0; at < directory.size;)
        if (!next_entry(directory, &at, &entry, &name) || !read_member(file, entry, name, &content) ||
            nvp_crc32(content.bytes, content.size) != integer32(entry.bytes + 16))
            return false;
    return true;
}

/* Find the only member with a name. */
static bool find_member(span file, const char *wanted, span *content) {
    span directory, entry, name;
    bool found = false;
    if (!find_directory(file, &directory))
        return false;
    for (size_t at = 0; at < directory.size;) {
        if (!next_entry(directory, &at, &entry, &name))
            return false;
        if (!equal(name, wanted))
            continue;
        if (found || !read_member(file, entry, name, content))
            return false;
        found = true;
    }
    return found;
}

/* Whether the directory has a member with a name, and no damaged entry before it. */
static bool has_member(span file, const char *wanted) {
    span directory, entry, name = {0};
    if (!find_directory(file, &directory))
        return false;
    for (size_t at = 0; at < directory.size && next_entry(directory, &at, &entry, &name);)
        if (equal(name, wanted))
            return true;
    return false;
}

/* -- the arrays -- */

/* Find the elements of a one-dimensional array. Its header must be NumPy's text for the shape, padded with blanks. */
static bool find_array(span file, const char *name, size_t real_size, span *data) {
    enum { PREFIX = 10 };
    span content = {0}, header = {0};
    if (!find_member(file, name, &content) || content.size < PREFIX || memcmp(content.bytes, "\x93NUMPY\1\0", 8) != 0 ||
        !part(content, PREFIX, integer16(content.bytes + 8), &header) ||
        !part(content, PREFIX + header.size, content.size - PREFIX - header.size, data) || data->size % real_size)
        return false;
    char text[100];
    const int length = snprintf(text, sizeof text, "{'descr': '<f%zu', 'fortran_order': False, 'shape': (%zu,), }",
                                real_size, data->size / real_size);
    if (length < 0 || (size_t)length >= header.size || memcmp(header.bytes, text, (size_t)length) != 0 ||
        header.bytes[header.size - 1] != '\n')
        return false;
    for (size_t i = (size_t)length; i < header.size - 1; i++)
        if (header.bytes[i] != ' ')
            return false;
    return true;
}

/* Copy little-endian reals to the byte order of the machine. NULL: no memory. */
static void *copy_reals(span data, size_t real_size) {
    char *reals = malloc(data.size + 1);
    for (size_t i = 0; reals && i < data.size; i += real_size) {
        const uint64_t bits = integer(data.bytes + i, real_size);
        const uint32_t half = (uint32_t)bits;
        memcpy(reals + i, real_size == sizeof half ? (const void *)&half : &bits, real_size);
    }
    return reals;
}

/* Copy an array of doubles. The caller frees *numbers. */
static nvp_status load_numbers(span file, const char *name, double **numbers, size_t *n) {
    span data;
    if (!find_array(file, name, sizeof **numbers, &data))
        return NVP_ERROR_FORMAT;
    *n = data.size / sizeof **numbers;
    *numbers = copy_reals(data, sizeof **numbers);
    return *numbers ? NVP_OK : NVP_ERROR_MEMORY;
}

/* Copy the n parameters. The caller frees *params. */
static nvp_status load_parameters(span file, nvp_dtype dtype, size_t n, void **params) {
    const size_t real_size = dtype == NVP_FLOAT32 ? sizeof(float) : sizeof(double);
    span data;
    if (!find_array(file, "parameters.npy", real_size, &data) || data.size / real_size != n)
        return NVP_ERROR_FORMAT;
    *params = copy_reals(data, real_size);
    if (!*params)
        return NVP_ERROR_MEMORY;
    return nvp_all_finite(dtype, *params, n) ? NVP_OK : NVP_ERROR_FORMAT;
}

/* -- one flow -- */

/* What is wrong with the numbers of a file is wrong with the file. */
static nvp_status status_of_file(nvp_status status) {
    return status == NVP_ERROR_ARGUMENT || status == NVP_ERROR_SIZE ? NVP_ERROR_FORMAT : status;
}

static nvp_status load_flow(span file, nvp_flow **flow) {
    double *numbers;
    size_t n;
    if (!has_member(file, FLOW) && has_member(file, ENSEMBLE))
        return NVP_ERROR_ENSEMBLE;
    nvp_status status = load_numbers(file, FLOW, &numbers, &n);
    if (status != NVP_OK)
        return status;
    status = status_of_file(nvp_flow_decode(flow, n, numbers));
    free(numbers);
    return status;
}

nvp_status nvp_flow_load_bytes(const void *bytes, size_t n, nvp_flow **flow, void **params) {
    const span file = {bytes, n};
    if (!flow || !params || (n && !bytes))
        return NVP_ERROR_ARGUMENT;
    *flow = NULL, *params = NULL;
    nvp_status status = is_whole(file) ? load_flow(file, flow) : NVP_ERROR_FORMAT;
    if (status == NVP_OK)
        status = load_parameters(file, nvp_flow_dtype(*flow), nvp_flow_n_parameters(*flow), params);
    if (status != NVP_OK) {
        nvp_flow_destroy(*flow);
        free(*params);
        *flow = NULL, *params = NULL;
    }
    return status;
}

/* -- an ensemble -- */

/* Decode the next flow, whose length stands before its numbers, and append it. */
static nvp_status load_member(nvp_ensemble *ensemble, const double **next, size_t *left, double weight) {
    nvp_flow *flow;
    if (*left == 0 || !(**next >= 0 && **next <= (double)(*left - 1)) || **next != floor(**next))
        return NVP_ERROR_FORMAT;
    const size_t n = (size_t)**next;
    const nvp_status status = nvp_flow_decode(&flow, n, *next + 1);
    if (status != NVP_OK)
        return status;
    *next += n + 1, *left -= n + 1;
    return nvp_ensemble_append(ensemble, flow, weight);
}

static nvp_status load_members(nvp_ensemble *ensemble, const double *numbers, size_t n, const double *weights,
                               size_t n_flows) {
    nvp_status status = NVP_OK;
    for (size_t k = 0; k < n_flows && status == NVP_OK; k++)
        status = load_member(ensemble, &numbers, &n, weights[k]);
    return status == NVP_OK && n ? NVP_ERROR_FORMAT : status_of_file(status);
}

static nvp_status load_ensemble(span file, nvp_ensemble **ensemble) {
    double *numbers = NULL, *weights = NULL;
    size_t n = 0, n_flows = 0;
    nvp_status status = load_numbers(file, ENSEMBLE, &numbers, &n);
    if (status == NVP_OK)
        status = load_numbers(file, "weights.npy", &weights, &n_flows);
    if (status == NVP_OK && (n_flows == 0 || !nvp_are_shares(weights, n_flows)))
        status = NVP_ERROR_FORMAT;
    if (status == NVP_OK && !(*ensemble = nvp_ensemble_allocate(n_flows)))
        status = NVP_ERROR_MEMORY;
    if (status == NVP_OK)
        status = load_members(*ensemble, numbers, n, weights, n_flows);
    free(numbers);
    free(weights);
    return status;
}

static nvp_status load_ensemble_of_one(span file, nvp_ensemble **ensemble) {
    nvp_flow *flow;
    const nvp_status status = load_flow(file, &flow);
    if (status != NVP_OK)
        return status;
    *ensemble = nvp_ensemble_allocate(1);
    if (*ensemble)
        return nvp_ensemble_append(*ensemble, flow, 1);
    nvp_flow_destroy(flow);
    return NVP_ERROR_MEMORY;
}

nvp_status nvp_ensemble_load_bytes(const void *bytes, size_t n, nvp_ensemble **ensemble, void **params) {
    const span file = {bytes, n};
    if (!ensemble || !params || (n && !bytes))
        return NVP_ERROR_ARGUMENT;
    *ensemble = NULL, *params = NULL;
    nvp_status status = NVP_ERROR_FORMAT;
    if (is_whole(file))
        status = (has_member(file, FLOW) ? load_ensemble_of_one : load_ensemble)(file, ensemble);
    if (status == NVP_OK)
        status = load_parameters(file, nvp_ensemble_dtype(*ensemble), nvp_ensemble_n_parameters(*ensemble), params);
    if (status != NVP_OK) {
        nvp_ensemble_destroy(*ensemble);
        free(*params);
        *ensemble = NULL, *params = NULL;
    }
    return status;
}

/* -- a model -- */

/* Read n numbers without NaN, or where the file has none, let all be `otherwise`. The caller frees *numbers. */
static nvp_status load_optional(span file, const char *name, size_t n, double otherwise, double **numbers) {
    size_t found = n;
    if (has_member(file, name)) {
        const nvp_status status = load_numbers(file, name, numbers, &found);
        if (status != NVP_OK)
            return status;
    } else if ((*numbers = calloc(n + 1, sizeof **numbers)))
        for (size_t i = 0; i < n; i++)
            (*numbers)[i] = otherwise;
    else
        return NVP_ERROR_MEMORY;
    for (size_t i = 0; i < n && found == n; i++)
        if (isnan((*numbers)[i]))
            return NVP_ERROR_FORMAT;
    return found == n ? NVP_OK : NVP_ERROR_FORMAT;
}

static bool are_finite(const double *numbers, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite(numbers[i]))
            return false;
    return true;
}

/* Whether there are numbers between the two. */
static bool is_range(double low, double high) {
    return low <= high && low < (double)INFINITY && high > -(double)INFINITY;
}

/* Finite numbers, 0 without them in the file. */
static nvp_status load_origin(span file, const char *name, size_t n, double **origin) {
    const nvp_status status = load_optional(file, name, n, 0, origin);
    return status == NVP_OK && !are_finite(*origin, n) ? NVP_ERROR_FORMAT : status;
}

/* A column from its three numbers. */
static bool read_column(const double *numbers, nvp_column *column) {
    if (!(numbers[0] >= 0 && numbers[0] < NVP_N_COLUMN_KINDS) || numbers[0] != floor(numbers[0]))
        return false;
    *column = (nvp_column){(nvp_column_kind)numbers[0], numbers[1], numbers[2]};
    if (column->kind == NVP_COLUMN_ANGLE)
        return isfinite(column->low) && isfinite(column->high) && isfinite(column->high - column->low) &&
               column->low < column->high;
    return is_range(column->low, column->high);
}

static nvp_status load_columns(span file, nvp_model *model) {
    double *numbers = NULL;
    size_t n;
    const size_t dim = nvp_ensemble_dim(model->ensemble);
    const bool has_columns = has_member(file, "columns.npy");
    if (!nvp_multiply(dim, 3, &n))
        return NVP_ERROR_SIZE;
    nvp_status status = load_optional(file, "columns.npy", n, 0, &numbers);
    if (status == NVP_OK && !(model->columns = calloc(dim, sizeof *model->columns)))
        status = NVP_ERROR_MEMORY;
    for (size_t d = 0; d < dim && status == NVP_OK; d++) {
        nvp_column *column = &model->columns[d];
        *column = (nvp_column){NVP_COLUMN_REAL, -(double)INFINITY, (double)INFINITY};
        if (has_columns && !read_column(numbers + 3 * d, column))
            status = NVP_ERROR_FORMAT;
        model->n_angles += column->kind == NVP_COLUMN_ANGLE;
        model->n_whole += column->kind == NVP_COLUMN_WHOLE;
    }
    free(numbers);
    return status;
}

/* The limits of a context, and without any in the file infinite ones. */
static nvp_status load_context_range(span file, size_t n, double **range) {
    size_t size;
    if (!nvp_multiply(n, 2, &size))
        return NVP_ERROR_SIZE;
    nvp_status status = load_optional(file, "context_range.npy", size, (double)INFINITY, range);
    for (size_t i = 0; i < n && status == NVP_OK; i++) {
        double *low = *range + i;
        if (!has_member(file, "context_range.npy"))
            *low = -(double)INFINITY;
        if (!is_range(*low, low[n]))
            status = NVP_ERROR_FORMAT;
    }
    return status;
}

/* The turn around an origin begins at a finite number. */
static bool turns_are_finite(const nvp_model *model) {
    for (size_t d = 0; d < nvp_ensemble_dim(model->ensemble); d++) {
        const nvp_column *column = &model->columns[d];
        if (column->kind == NVP_COLUMN_ANGLE && !isfinite(model->origin[d] - (column->high - column->low) / 2))
            return false;
    }
    return true;
}

/* What the flows see of a context at its origin and at its limits is finite in their precision. */
static bool contexts_are_finite(const nvp_model *model) {
    const size_t n = nvp_ensemble_context_dim(model->ensemble);
    const double largest = nvp_ensemble_dtype(model->ensemble) == NVP_FLOAT32 ? (double)FLT_MAX : DBL_MAX;
    for (size_t i = 0; i < n; i++) {
        const double origin = model->context_origin[i],
                     limits[] = {model->context_range[i], model->context_range[n + i]};
        for (int end = 0; end < 2; end++)
            if (fabs(isinf(limits[end]) ? origin : limits[end] - origin) > largest)
                return false;
    }
    return true;
}

static nvp_status load_units(span file, nvp_model *model) {
    const size_t dim = nvp_ensemble_dim(model->ensemble), context_dim = nvp_ensemble_context_dim(model->ensemble);
    /* A flow may have columns without a number in the file, of a context that no network reads. */
    if (dim > file.size || context_dim > file.size)
        return NVP_ERROR_FORMAT;
    nvp_status status = load_columns(file, model);
    if (status == NVP_OK)
        status = load_origin(file, "origin.npy", dim, &model->origin);
    if (status == NVP_OK && !turns_are_finite(model))
        status = NVP_ERROR_FORMAT;
    if (status == NVP_OK)
        status = load_origin(file, "context_origin.npy", context_dim, &model->context_origin);
    if (status == NVP_OK)
        status = load_context_range(file, context_dim, &model->context_range);
    if (status == NVP_OK && !contexts_are_finite(model))
        status = NVP_ERROR_FORMAT;
    return status == NVP_OK ? nvp_cell_points(model->n_whole, &model->cell_points, &model->cell_log_weights) : status;
}

nvp_status nvp_model_load_bytes(const void *bytes, size_t n, nvp_model **model) {
    if (!model)
        return NVP_ERROR_ARGUMENT;
    nvp_model *found = *model = NULL;
    if (n && !bytes)
        return NVP_ERROR_ARGUMENT;
    if (has_member((span){bytes, n}, "categories.codes.npy")) /* perhaps without a flow */
        return NVP_ERROR_CATEGORIES;
    if (!(found = calloc(1, sizeof *found)))
        return NVP_ERROR_MEMORY;
    nvp_status status = nvp_ensemble_load_bytes(bytes, n, &found->ensemble, &found->params);
    if (status == NVP_OK)
        status = load_units((span){bytes, n}, found);
    if (status == NVP_OK)
        *model = found;
    else
        nvp_model_destroy(found);
    return status;
}

/* -- files -- */

/* Read an open file to its end. The caller frees *bytes, even after a failure. Read in pieces, because ftell does not
 * work for all kinds of files, and on some systems not for large ones. */
static nvp_status read_rest(FILE *file, unsigned char **bytes, size_t *n) {
    const uint64_t most = (uint64_t)1 << 32; /* larger archives are refused */
    size_t capacity = 0;
    while (!feof(file) && !ferror(file)) {
        if (*n == capacity) {
            capacity = capacity ? 2 * capacity : 1 << 16;
            unsigned char *larger = capacity > *n ? realloc(*bytes, capacity) : NULL;
            if (!larger)
                return NVP_ERROR_MEMORY;
            *bytes = larger;
        }
        *n += fread(*bytes + *n, 1, capacity - *n, file);
        if (*n > most)
            return NVP_ERROR_FORMAT;
    }
    return ferror(file) ? NVP_ERROR_FILE : NVP_OK;
}

static nvp_status read_file(const char *path, unsigned char **bytes, size_t *n) {
    FILE *file = fopen(path, "rb");
    if (!file)
        return NVP_ERROR_FILE;
    const nvp_status status = read_rest(file, bytes, n);
    fclose(file);
    return status;
}

nvp_status nvp_flow_load(const char *path, nvp_flow **flow, void **params) {
    unsigned char *bytes = NULL;
    size_t n = 0;
    if (!path || !flow || !params)
        return NVP_ERROR_ARGUMENT;
    *flow = NULL, *params = NULL;
    nvp_status status = read_file(path, &bytes, &n);
    if (status == NVP_OK)
        status = nvp_flow_load_bytes(bytes, n, flow, params);
    free(bytes);
    return status;
}

nvp_status nvp_ensemble_load(const char *path, nvp_ensemble **ensemble, void **params) {
    unsigned char *bytes = NULL;
    size_t n = 0;
    if (!path || !ensemble || !params)
        return NVP_ERROR_ARGUMENT;
    *ensemble = NULL, *params = NULL;
    nvp_status status = read_file(path, &bytes, &n);
    if (status == NVP_OK)
        status = nvp_ensemble_load_bytes(bytes, n, ensemble, params);
    free(bytes);
    return status;
}

nvp_status nvp_model_load(const char *path, nvp_model **model) {
    unsigned char *bytes = NULL;
    size_t n = 0;
    if (!path || !model)
        return NVP_ERROR_ARGUMENT;
    *model = NULL;
    nvp_status status = read_file(path, &bytes, &n);
    if (status == NVP_OK)
        status = nvp_model_load_bytes(bytes, n, model);
    free(bytes);
    return status;
}
