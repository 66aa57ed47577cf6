#include "normal_lines.h"
#include "checked.h"
#include "engine.h"
#include <stdbool.h>
#include <stdlib.h>

static const double ONE_OVER_ROOT_2_PI = 0.39894228040143267794;

static size_t count(const nvp_normal_lines *lines, size_t i) {
    return (size_t)(lines->starts[i + 1] - lines->starts[i]);
}

/* Whether starts increase within the components; also find how many components a mixture has at most. */
static bool are_starts_valid(const nvp_normal_lines *lines, size_t *most) {
    *most = 0;
    if (lines->starts[0] != 0 || (uint64_t)lines->starts[lines->n] != lines->n_components)
        return false;
    for (size_t i = 0; i < lines->n; i++) {
        if (lines->starts[i + 1] < lines->starts[i])
            return false;
        *most = count(lines, i) > *most ? count(lines, i) : *most;
    }
    return true;
}

/* Copy the components of mixture i next to one another, up to whole vectors. What fills up has a share of 0. */
static void enter_mixture(const nvp_normal_lines *lines, size_t i, nvp_normal_column *column) {
    const size_t k = count(lines, i), first = (size_t)lines->starts[i];
    column->n = (k + NVP_MOST_LANES - 1) / NVP_MOST_LANES * NVP_MOST_LANES;
    for (size_t c = 0; c < column->n; c++) {
        const bool is_one = c < k;
        column->shares[c] = is_one ? lines->weights[first + c] : 0;
        column->centres[c] = is_one ? lines->means[first + c] : 0;
        column->slopes[c] = is_one ? 1 / lines->stds[first + c] : 1;
    }
}

nvp_status nvp_normal_lines_at(const nvp_normal_lines *lines, size_t m, const int64_t *which, const double *u,
                               double *density, double *below) {
    const nvp_engine *engine = nvp_choose_engine(NVP_FLOAT64);
    size_t most, size;
    if (!engine)
        return NVP_ERROR_UNSUPPORTED;
    if (!are_starts_valid(lines, &most))
        return NVP_ERROR_ARGUMENT;
    if (!nvp_add(most, NVP_MOST_LANES, &most) || !nvp_multiply(most, 4, &size) || size > SIZE_MAX / sizeof(double))
        return NVP_ERROR_MEMORY;
    double *numbers = calloc(size, sizeof *numbers);
    if (!numbers)
        return NVP_ERROR_MEMORY;
    nvp_normal_column column = {
        .rests = numbers, .slopes = numbers + most, .centres = numbers + 2 * most, .shares = numbers + 3 * most};
    nvp_status status = NVP_OK;
    int64_t entered = -1;
    for (size_t i = 0; i < m; i++) {
        if (which[i] < 0 || (uint64_t)which[i] >= lines->n) {
            status = NVP_ERROR_ARGUMENT;
            break;
        }
        if (which[i] != entered)
            enter_mixture(lines, (size_t)which[i], &column), entered = which[i];
        const nvp_normal_sums sums = engine->sum_normals(&column, u[i]);
        density[i] = ONE_OVER_ROOT_2_PI * sums.density, below[i] = sums.below;
    }
    free(numbers);
    return status;
}
