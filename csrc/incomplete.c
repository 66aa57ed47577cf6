#include "incomplete.h"
#include "checked.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A component with less of a row's weight adds nothing to its sums that float64 would tell. */
static const double NEGLIGIBLE = 1e-15;
static const double HALF_LOG_2_PI = 0.91893853320467274178;

/* What the components know of one pattern of missing cells. With d present and m missing columns, d + m = dim: the
 * inverse Cholesky factor R (d, d) of the covariance of the present ones, the slopes (m, d) of the missing ones on
 * these, and what these leave of the covariance of the missing ones (m, m). Arrays have room for (k, dim, dim). */
typedef struct {
    size_t dim, k, n_present, n_missing;
    size_t *present, *missing;
    double *inverse, *slopes, *left, *scale, *expected; /* scale (k): the constant of the log-density */
    double *terms, *offsets, *products;                 /* (k), (k, dim), (dim, dim) */
} pattern;

static bool allocate(pattern *at, size_t dim, size_t k, double **numbers) {
    size_t square, n = 0;
    *numbers = NULL, at->present = NULL;
    if (!nvp_multiply(dim, dim, &square) || !nvp_add_product(square, 3 * k + 1, &n) || k > SIZE_MAX / 8 ||
        !nvp_add_product(k, dim, &n) || !nvp_add_product(k, 3, &n) || n > SIZE_MAX / sizeof **numbers || dim > n)
        return false;
    *numbers = calloc(n, sizeof **numbers);
    at->present = calloc(2 * dim, sizeof *at->present);
    if (!*numbers || !at->present)
        return false;
    at->dim = dim, at->k = k, at->missing = at->present + dim;
    at->inverse = *numbers;
    at->slopes = at->inverse + k * square, at->left = at->slopes + k * square, at->products = at->left + k * square;
    at->offsets = at->products + square, at->scale = at->offsets + k * dim;
    at->expected = at->scale + k, at->terms = at->expected + k;
    return true;
}

static bool has_pattern(const pattern *at, const double *x) {
    for (size_t i = 0; i < at->n_present; i++)
        if (isnan(x[at->present[i]]))
            return false;
    for (size_t i = 0; i < at->n_missing; i++)
        if (!isnan(x[at->missing[i]]))
            return false;
    return at->n_present + at->n_missing > 0;
}

/* The inverse (d, d) of the lower Cholesky factor of the covariance of the present columns. The factor goes to
 * `products`. False if the covariance is not positive definite. */
static bool invert(const pattern *at, const double *covariance, double *inverse) {
    const size_t d = at->n_present;
    double *factor = at->products;
    for (size_t i = 0; i < d; i++) {
        const double *row = covariance + at->present[i] * at->dim;
        for (size_t j = 0; j <= i; j++) {
            double sum = row[at->present[j]];
            for (size_t c = 0; c < j; c++)
                sum -= factor[i * d + c] * factor[j * d + c];
            if (i == j && !(sum > 0 && isfinite(sum)))
                return false;
            factor[i * d + j] = i == j ? sqrt(sum) : sum / factor[j * d + j];
        }
    }
    for (size_t j = 0; j < d; j++) {
        inverse[j * d + j] = 1 / factor[j * d + j];
        for (size_t i = j + 1; i < d; i++) {
            double sum = 0;
            for (size_t c = j; c < i; c++)
                sum -= factor[i * d + c] * inverse[c * d + j];
            inverse[i * d + j] = sum / factor[i * d + i];
        }
    }
    return true;
}

/* Slopes and what is left, from half = covariance of missing and present columns times R^T, (m, d), in `products`. */
static void regress(const pattern *at, const double *covariance, const double *inverse, double *slopes, double *left) {
    const size_t d = at->n_present, m = at->n_missing;
    double *half = at->products;
    for (size_t i = 0; i < m; i++) {
        const double *row = covariance + at->missing[i] * at->dim;
        for (size_t a = 0; a < d; a++) {
            double sum = 0;
            for (size_t b = 0; b <= a; b++)
                sum += inverse[a * d + b] * row[at->present[b]];
            half[i * d + a] = sum;
        }
        for (size_t b = 0; b < d; b++) {
            double sum = 0;
            for (size_t a = b; a < d; a++)
                sum += half[i * d + a] * inverse[a * d + b];
            slopes[i * d + b] = sum;
        }
        for (size_t j = 0; j <= i; j++) {
            double sum = row[at->missing[j]];
            for (size_t a = 0; a < d; a++)
                sum -= half[i * d + a] * half[j * d + a];
            left[i * m + j] = left[j * m + i] = sum;
        }
    }
}

static bool set_pattern(pattern *at, const double *x, const double *log_weights, const double *covariances) {
    const size_t square = at->dim * at->dim;
    at->n_present = at->n_missing = 0;
    for (size_t i = 0; i < at->dim; i++)
        if (isnan(x[i]))
            at->missing[at->n_missing++] = i;
        else
            at->present[at->n_present++] = i;
    for (size_t c = 0; c < at->k; c++) {
        double *inverse = at->inverse + c * square;
        if (!invert(at, covariances + c * square, inverse))
            return false;
        at->scale[c] = log_weights[c] - HALF_LOG_2_PI * (double)at->n_present;
        for (size_t i = 0; i < at->n_present; i++)
            at->scale[c] += log(inverse[i * at->n_present + i]);
        regress(at, covariances + c * square, inverse, at->slopes + c * square, at->left + c * square);
        at->expected[c] = 0;
    }
    return true;
}

/* The log-density of a row by a component, and the expected offsets (dim) of all columns from the mean. */
static double expect(const pattern *at, size_t c, const double *x, const double *mean, double *offsets) {
    const size_t d = at->n_present, square = at->dim * at->dim;
    const double *inverse = at->inverse + c * square, *slopes = at->slopes + c * square;
    double term = at->scale[c];
    for (size_t i = 0; i < d; i++)
        offsets[at->present[i]] = x[at->present[i]] - mean[at->present[i]];
    for (size_t a = 0; a < d; a++) {
        double white = 0;
        for (size_t b = 0; b <= a; b++)
            white += inverse[a * d + b] * offsets[at->present[b]];
        term -= 0.5 * white * white;
    }
    for (size_t i = 0; i < at->n_missing; i++) {
        double sum = 0;
        for (size_t b = 0; b < d; b++)
            sum += slopes[i * d + b] * offsets[at->present[b]];
        offsets[at->missing[i]] = sum;
    }
    return term;
}

/* Add the expectations of one row. Return its log-density. */
static double add_row(pattern *at, const double *x, double share, const double *means, double *shares, double *shift,
                      double *squares) {
    double largest = -INFINITY, total = 0;
    for (size_t c = 0; c < at->k; c++) {
        at->terms[c] = expect(at, c, x, means + c * at->dim, at->offsets + c * at->dim);
        largest = fmax(largest, at->terms[c]);
    }
    for (size_t c = 0; c < at->k; c++)
        total += exp(at->terms[c] - largest);
    for (size_t c = 0; c < at->k; c++) {
        const double part = share * exp(at->terms[c] - largest) / total, *offsets = at->offsets + c * at->dim;
        if (!(part > NEGLIGIBLE * share))
            continue;
        shares[c] += part, at->expected[c] += part;
        for (size_t i = 0; i < at->dim; i++) {
            const double weighted = part * offsets[i];
            double *row = squares + (c * at->dim + i) * at->dim;
            shift[c * at->dim + i] += weighted;
            for (size_t j = 0; j <= i; j++)
                row[j] += weighted * offsets[j];
        }
    }
    return largest + log(total);
}

/* Add what the missing columns vary by, for all rows of the pattern. */
static void end_pattern(const pattern *at, double *squares) {
    const size_t m = at->n_missing, square = at->dim * at->dim;
    for (size_t c = 0; c < at->k; c++)
        for (size_t i = 0; i < m; i++)
            for (size_t j = 0; j <= i; j++)
                squares[c * square + at->missing[i] * at->dim + at->missing[j]] +=
                    at->expected[c] * at->left[c * square + i * m + j];
}

nvp_status nvp_incomplete_sums(size_t n, size_t dim, size_t k, const double *x, const double *share,
                               const double *log_weights, const double *means, const double *covariances,
                               double *shares, double *shift, double *squares, double *nll) {
    if (dim == 0 || k == 0)
        return NVP_ERROR_ARGUMENT;
    pattern at = {0};
    double *numbers;
    nvp_status status = allocate(&at, dim, k, &numbers) ? NVP_OK : NVP_ERROR_MEMORY;
    for (size_t row = 0; status == NVP_OK && row < n; row++) {
        const double *own = x + row * dim;
        if (!has_pattern(&at, own)) {
            end_pattern(&at, squares);
            if (!set_pattern(&at, own, log_weights, covariances)) {
                status = NVP_ERROR_ARGUMENT;
                break;
            }
        }
        *nll -= share[row] * add_row(&at, own, share[row], means, shares, shift, squares);
    }
    if (status == NVP_OK)
        end_pattern(&at, squares);
    for (size_t c = 0; status == NVP_OK && c < k; c++)
        for (size_t i = 0; i < dim; i++)
            for (size_t j = 0; j < i; j++)
                squares[(c * dim + j) * dim + i] = squares[(c * dim + i) * dim + j];
    free(numbers);
    free(at.present);
    return status;
}
