#include "fields.h"
#include "checked.h"
#include <math.h>
#include <string.h>

const char *const nvp_form_names[] = {
    [NVP_CHOICE] = "choice", [NVP_SWITCH] = "choice", [NVP_REAL] = "real", [NVP_COUNT] = "count",
    [NVP_ADDED] = "added",   [NVP_WIDTHS] = "widths", [NVP_MASK] = "mask", [NVP_ORDER] = "order",
    [NVP_BOUNDS] = "bounds", [NVP_REALS] = "reals",
};

size_t nvp_count_choices(const nvp_field *field) {
    size_t n = 0;
    while (field->choices[n])
        n++;
    return n;
}

static void get(const void *config, size_t offset, void *value, size_t size) {
    memcpy(value, (const char *)config + offset, size);
}

static void set(void *config, size_t offset, const void *value, size_t size) {
    memcpy((char *)config + offset, value, size);
}

int nvp_get_choice(const void *config, const nvp_field *field) {
    int choice;
    get(config, field->offset, &choice, sizeof choice);
    return field->form == NVP_SWITCH ? choice != 0 : choice;
}

double nvp_get_real(const void *config, const nvp_field *field) {
    double real;
    get(config, field->offset, &real, sizeof real);
    return real;
}

size_t nvp_get_count(const void *config, const nvp_field *field) {
    size_t count;
    get(config, field->offset, &count, sizeof count);
    return count;
}

const unsigned char *nvp_get_mask(const void *config, const nvp_field *field) {
    const unsigned char *mask;
    get(config, field->offset, &mask, sizeof mask);
    return mask;
}

const size_t *nvp_get_sizes(const void *config, const nvp_field *field, size_t dim, size_t *n) {
    const size_t *sizes;
    get(config, field->offset, &sizes, sizeof sizes);
    *n = dim;
    if (field->form == NVP_WIDTHS)
        get(config, field->n_offset, n, sizeof *n);
    return sizes;
}

static bool holds_reals(const nvp_field *field) { return field->form == NVP_BOUNDS || field->form == NVP_REALS; }

const double *nvp_get_reals(const void *config, const nvp_field *field, size_t dim, size_t *n) {
    const double *reals;
    get(config, field->offset, &reals, sizeof reals);
    *n = field->form == NVP_BOUNDS ? 2 * dim : dim;
    return reals;
}

bool nvp_is_left_out(const void *config, const nvp_field *field) {
    return field->form == NVP_ADDED && nvp_get_count(config, field) == 0;
}

void nvp_set_choice(void *config, const nvp_field *field, int value) {
    set(config, field->offset, &value, sizeof value);
}

void nvp_set_real(void *config, const nvp_field *field, double value) {
    set(config, field->offset, &value, sizeof value);
}

void nvp_set_count(void *config, const nvp_field *field, size_t value) {
    set(config, field->offset, &value, sizeof value);
}

void nvp_set_mask(void *config, const nvp_field *field, const unsigned char *mask) {
    set(config, field->offset, &mask, sizeof mask);
}

void nvp_set_sizes(void *config, const nvp_field *field, const size_t *sizes, size_t n) {
    set(config, field->offset, &sizes, sizeof sizes);
    if (field->form == NVP_WIDTHS)
        set(config, field->n_offset, &n, sizeof n);
}

void nvp_set_reals(void *config, const nvp_field *field, const double *reals) {
    set(config, field->offset, &reals, sizeof reals);
}

bool nvp_count_reals(const nvp_field *fields, size_t dim, size_t *n) {
    *n = 0;
    for (const nvp_field *field = fields; field->name; field++)
        if (holds_reals(field) && !nvp_add_product(field->form == NVP_BOUNDS ? 2 : 1, dim, n))
            return false;
    return true;
}

void nvp_copy_reals(const nvp_field *fields, size_t dim, const void *from, double **reals, void *to) {
    for (const nvp_field *field = fields; field->name; field++)
        if (holds_reals(field)) {
            size_t n;
            const double *given = nvp_get_reals(from, field, dim, &n);
            memcpy(*reals, given, n * sizeof *given);
            nvp_set_reals(to, field, *reals);
            *reals += n;
        }
}

void nvp_refer_to_reals(const nvp_field *fields, const void *from, void *to) {
    for (const nvp_field *field = fields; field->name; field++)
        if (holds_reals(field)) {
            size_t n;
            nvp_set_reals(to, field, nvp_get_reals(from, field, 0, &n));
        }
}

void nvp_copy_values(const nvp_field *fields, const void *from, void *to) {
    for (const nvp_field *field = fields; field->name; field++)
        switch (field->form) {
        case NVP_CHOICE:
        case NVP_SWITCH:
            nvp_set_choice(to, field, nvp_get_choice(from, field));
            break;
        case NVP_REAL:
            nvp_set_real(to, field, nvp_get_real(from, field));
            break;
        case NVP_COUNT:
        case NVP_ADDED:
            nvp_set_count(to, field, nvp_get_count(from, field));
            break;
        case NVP_WIDTHS:
        case NVP_MASK:
        case NVP_ORDER:
        case NVP_BOUNDS:
        case NVP_REALS:
            break;
        }
}

static bool is_mask(const unsigned char *mask, size_t dim) {
    for (size_t i = 0; mask && i < dim; i++)
        if (mask[i] > 1)
            return false;
    return mask != NULL;
}

static bool are_widths(const size_t *widths, size_t n) {
    for (size_t i = 0; widths && i < n; i++)
        if (widths[i] == 0)
            return false;
    return widths || n == 0;
}

static bool are_bounds(const double *bounds, size_t dim) {
    for (size_t i = 0; bounds && i < dim; i++)
        if (!(bounds[2 * i] < bounds[2 * i + 1]))
            return false;
    return bounds != NULL;
}

static bool are_reals(const double *reals, size_t n) {
    for (size_t i = 0; reals && i < n; i++)
        if (!isfinite(reals[i]))
            return false;
    return reals != NULL;
}

static bool is_valid(const nvp_field *field, size_t dim, const void *config) {
    size_t n;
    switch (field->form) {
    case NVP_CHOICE:
        return (unsigned)nvp_get_choice(config, field) < nvp_count_choices(field);
    case NVP_COUNT:
    case NVP_ADDED:
        return nvp_get_count(config, field) >= field->least && nvp_get_count(config, field) <= field->most;
    case NVP_WIDTHS: {
        const size_t *widths = nvp_get_sizes(config, field, dim, &n);
        return are_widths(widths, n);
    }
    case NVP_MASK:
        return is_mask(nvp_get_mask(config, field), dim);
    case NVP_ORDER:
        return nvp_get_sizes(config, field, dim, &n) != NULL;
    case NVP_BOUNDS:
        return are_bounds(nvp_get_reals(config, field, dim, &n), dim);
    case NVP_REALS:
        return are_reals(nvp_get_reals(config, field, dim, &n), dim);
    case NVP_SWITCH:
    case NVP_REAL:
        break;
    }
    return true;
}

bool nvp_fields_are_valid(const nvp_field *fields, size_t dim, const void *config) {
    for (const nvp_field *field = fields; field->name; field++)
        if (!is_valid(field, dim, config))
            return false;
    return true;
}
