#include "rosenblatt.h"
#include "checked.h"
#include "normal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double HALF_LOG_2_PI = 0.91893853320467274178;
static const double LEAST = 1e-280;     /* smaller sums are computed as logarithms */
static const double NEGLIGIBLE = 1e-20; /* what no sum of doubles notices, for any number of components */
static const double RESOLUTION = 1e-14; /* of a root, in the smallest deviation of a component */
enum { MOST_STEPS = 200 };

/* What is known of one row before one of its columns. */
typedef struct {
    const nvp_normals *normals;
    double *log_scales;    /* (k, columns): logarithms of the diagonals of the factors */
    double *rests;         /* (k): the part of a whitened value that the columns before determine */
    double *slopes;        /* (k): how fast it grows with the column */
    double *centres;       /* (k) */
    double *logs, *shares; /* (k): the components' shares given the columns before, the largest of which is 1 */
    double total;          /* the sum of the shares */
} row_state;

/* A value's place on the axis of N(0, 1), and the logarithm of its slope. */
typedef struct {
    double normal, log_slope;
} image;

static double whitened(const row_state *at, size_t c, double x) {
    return at->rests[c] + at->slopes[c] * (x - at->centres[c]);
}

/* log(exp(a) + exp(b)) */
static double log_add(double a, double b) {
    const double most = fmax(a, b), least = fmin(a, b);
    return least == -INFINITY ? most : most + log1p(exp(least - most));
}

static image image_of(double log_below, double log_above, double log_density) {
    const double z = log_below <= log_above ? nvp_normal_quantile(log_below) : -nvp_normal_quantile(log_above);
    return (image){z, log_density - nvp_normal_log_density(z)};
}

/* The same where probabilities or the density underflow: components whose share underflows may then count. */
static image far_image(const row_state *at, double x) {
    double below = -INFINITY, above = -INFINITY, density = -INFINITY;
    for (size_t c = 0; c < at->normals->k; c++) {
        const double white = whitened(at, c, x), log_share = at->logs[c] - log(at->total);
        below = log_add(below, log_share - nvp_exponential_of_normal(-white));
        above = log_add(above, log_share - nvp_exponential_of_normal(white));
        density = log_add(density, log_share + log(at->slopes[c]) + nvp_normal_log_density(white));
    }
    return image_of(below, above, density);
}

static image to_normal(const row_state *at, double x) {
    double below = 0, above = 0, density = 0;
    for (size_t c = 0; c < at->normals->k; c++) {
        if (at->shares[c] == 0)
            continue;
        const double white = whitened(at, c, x), tail = nvp_normal_cdf(-fabs(white));
        below += at->shares[c] * (white < 0 ? tail : 1 - tail);
        above += at->shares[c] * (white < 0 ? 1 - tail : tail);
        density += at->shares[c] * at->slopes[c] * exp(-0.5 * white * white);
    }
    if (!(fmin(below, above) > LEAST && density > LEAST))
        return far_image(at, x);
    const double log_total = log(at->total);
    return image_of(log(below) - log_total, log(above) - log_total, log(density) - log_total - HALF_LOG_2_PI);
}

/* The value with this place. It is between those of the components alone: Newton's method in an interval that shrinks,
 * halved where Newton's method gains little. */
static double from_normal(const row_state *at, double z) {
    const double least_share = NEGLIGIBLE * fmin(nvp_normal_cdf(z), nvp_normal_cdf(-z)) * at->total;
    double low = INFINITY, high = -INFINITY, x = 0, sum = 0, steepest = 0, before = INFINITY;
    for (size_t c = 0; c < at->normals->k; c++) {
        if (at->shares[c] < least_share)
            continue;
        const double own = at->centres[c] + (z - at->rests[c]) / at->slopes[c];
        low = fmin(low, own), high = fmax(high, own), steepest = fmax(steepest, at->slopes[c]);
        x += at->shares[c] * own, sum += at->shares[c];
    }
    x = fmin(fmax(x / sum, low), high);
    for (int i = 0; i < MOST_STEPS && low < high; i++) {
        const image now = to_normal(at, x);
        const double excess = now.normal - z;
        if (excess == 0)
            break;
        *(excess > 0 ? &high : &low) = x;
        double next = x - excess * exp(-now.log_slope);
        if (!(next > low && next < high) || fabs(excess) > 0.5 * before)
            next = low + 0.5 * (high - low);
        before = fabs(excess);
        const double step = fabs(next - x);
        x = next;
        if (step <= 4e-16 * fabs(x) + RESOLUTION / steepest)
            break;
    }
    return x;
}

/* Prepare for a column of a row whose first columns are `values`. */
static void enter_column(row_state *at, size_t column, const double *values) {
    const size_t n_columns = at->normals->n_given + at->normals->dim;
    double largest = -INFINITY;
    for (size_t c = 0; c < at->normals->k; c++)
        largest = fmax(largest, at->logs[c]);
    at->total = 0;
    for (size_t c = 0; c < at->normals->k; c++) {
        at->logs[c] = largest > -INFINITY ? at->logs[c] - largest : 0; /* all are equally far away */
        at->shares[c] = exp(at->logs[c]);
        at->total += at->shares[c];
        const double *mean = at->normals->means + c * n_columns;
        const double *row = at->normals->factors + (c * n_columns + column) * n_columns;
        double rest = 0;
        for (size_t j = 0; j < column; j++)
            rest += row[j] * (values[j] - mean[j]);
        at->rests[c] = rest, at->slopes[c] = row[column], at->centres[c] = mean[column];
    }
}

/* Weigh the components by the value of the column. */
static void leave_column(row_state *at, size_t column, double x) {
    const size_t n_columns = at->normals->n_given + at->normals->dim;
    for (size_t c = 0; c < at->normals->k; c++) {
        const double white = whitened(at, c, x);
        at->logs[c] += at->log_scales[c * n_columns + column] - 0.5 * white * white;
    }
}

/* Map one row. values (n_given + dim): the given columns, and room for those of x. Return the log-determinant. */
static double map_row(row_state *at, bool backward, double *values, const double *points, double *found) {
    const size_t n_given = at->normals->n_given, dim = at->normals->dim;
    double log_det = 0;
    for (size_t i = 0; i < n_given + dim; i++) {
        enter_column(at, i, values);
        if (i >= n_given) {
            const double point = points[i - n_given];
            values[i] = backward ? from_normal(at, point) : point;
            const image now = to_normal(at, values[i]);
            found[i - n_given] = backward ? values[i] : now.normal;
            log_det += backward ? -now.log_slope : now.log_slope;
        }
        leave_column(at, i, values[i]);
    }
    return log_det;
}

static bool is_finite(const double *values, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite(values[i]))
            return false;
    return true;
}

static double *allocate(row_state *at, const nvp_normals *normals, double **values) {
    const size_t k = normals->k;
    size_t n_columns, n = 0, n_factors;
    if (!nvp_add(normals->n_given, normals->dim, &n_columns) || !nvp_add_product(k, n_columns, &n) ||
        !nvp_multiply(n, n_columns, &n_factors) || !nvp_add_product(k, 5, &n) || !nvp_add(n, n_columns, &n) ||
        n > SIZE_MAX / sizeof(double))
        return NULL;
    double *numbers = calloc(n, sizeof *numbers);
    if (!numbers)
        return NULL;
    at->normals = normals, at->log_scales = numbers, at->rests = at->log_scales + k * n_columns;
    at->slopes = at->rests + k, at->centres = at->slopes + k, at->logs = at->centres + k, at->shares = at->logs + k;
    *values = at->shares + k;
    for (size_t i = 0; i < k * n_columns; i++)
        at->log_scales[i] = log(normals->factors[i * n_columns + i % n_columns]);
    return numbers;
}

nvp_status nvp_rosenblatt(const nvp_normals *normals, bool backward, size_t n, const double *given,
                          const double *points, double *found, double *log_det) {
    const size_t k = normals->k, n_given = normals->n_given, dim = normals->dim;
    if (dim == 0 || k == 0)
        return NVP_ERROR_ARGUMENT;
    row_state at = {0};
    double *values, *numbers = allocate(&at, normals, &values);
    if (!numbers)
        return NVP_ERROR_MEMORY;
    for (size_t row = 0; row < n; row++) {
        const double *point = points + row * dim;
        for (size_t i = 0; i < n_given; i++)
            values[i] = given[row * n_given + i];
        memcpy(at.logs, normals->log_weights + (normals->weights_per_row ? row * k : 0), k * sizeof *at.logs);
        if (is_finite(point, dim) && is_finite(values, n_given)) {
            log_det[row] = map_row(&at, backward, values, point, found + row * dim);
        } else {
            memmove(found + row * dim, point, dim * sizeof *found);
            log_det[row] = 0;
        }
    }
    free(numbers);
    return NVP_OK;
}
