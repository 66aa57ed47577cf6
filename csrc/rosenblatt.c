#include "rosenblatt.h"
#include "checked.h"
#include "engine.h"
#include "normal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double HALF_LOG_2_PI = 0.91893853320467274178;
static const double LEAST = 1e-280;     /* smaller sums are computed as logarithms */
static const double NEGLIGIBLE = 1e-20; /* what no sum of doubles notices, for any number of components */
static const double RESOLUTION = 1e-14; /* of a root, in the smallest deviation of a component */
enum { MOST_STEPS = 200 };

/* What is known of one row before one of its columns. Numbers of components are filled up to whole vectors. */
typedef struct {
    const nvp_normals *normals;
    const nvp_engine *engine;
    nvp_normal_column column;
    double total;                       /* the sum of the shares */
    double *log_scales;                 /* (columns, n): logarithms of the diagonals of the factors */
    double *centres, *slopes, *factors; /* (columns, n), (columns, n) and (columns, columns, n) */
} row_state;

/* A value's place on the axis of N(0, 1), and the logarithm of its slope. */
typedef struct {
    double normal, log_slope;
} image;

static double whitened(const nvp_normal_column *column, size_t c, double x) {
    return column->rests[c] + column->slopes[c] * (x - column->centres[c]);
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
    const nvp_normal_column *column = &at->column;
    for (size_t c = 0; c < at->normals->k; c++) {
        const double u = whitened(column, c, x), log_share = column->logs[c] - log(at->total);
        below = log_add(below, log_share - nvp_exponential_of_normal(-u));
        above = log_add(above, log_share - nvp_exponential_of_normal(u));
        density = log_add(density, log_share + log(column->slopes[c]) + nvp_normal_log_density(u));
    }
    return image_of(below, above, density);
}

static image to_normal(const row_state *at, double x) {
    const nvp_normal_sums sums = at->engine->sum_normals(&at->column, x);
    if (!(fmin(sums.below, sums.above) > LEAST && sums.density > LEAST))
        return far_image(at, x);
    const double log_total = log(at->total);
    return image_of(log(sums.below) - log_total, log(sums.above) - log_total,
                    log(sums.density) - log_total - HALF_LOG_2_PI);
}

/* The value with this place. It is between those of the components alone: Newton's method in an interval that shrinks,
 * halved where Newton's method gains little. */
static double from_normal(const row_state *at, double z) {
    const double least_share = NEGLIGIBLE * fmin(nvp_normal_cdf(z), nvp_normal_cdf(-z)) * at->total;
    double low = INFINITY, high = -INFINITY, x = 0, sum = 0, steepest = 0, before = INFINITY;
    const nvp_normal_column *column = &at->column;
    for (size_t c = 0; c < at->normals->k; c++) {
        if (column->shares[c] < least_share)
            continue;
        const double own = column->centres[c] + (z - column->rests[c]) / column->slopes[c];
        low = fmin(low, own), high = fmax(high, own), steepest = fmax(steepest, column->slopes[c]);
        x += column->shares[c] * own, sum += column->shares[c];
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
static void enter_column(row_state *at, size_t i, const double *values) {
    const size_t n_columns = at->normals->n_given + at->normals->dim, k = at->normals->k, n = at->column.n;
    double *logs = at->column.logs, *rests = at->column.rests, largest = -INFINITY;
    at->column.slopes = at->slopes + i * n, at->column.centres = at->centres + i * n;
    for (size_t c = 0; c < k; c++)
        largest = logs[c] > largest ? logs[c] : largest;
    for (size_t c = 0; c < k; c++)
        logs[c] = largest > -INFINITY ? logs[c] - largest : 0; /* or all are equally far away */
    at->total = at->engine->share_out(&at->column);
    memset(rests, 0, n * sizeof *rests);
    for (size_t j = 0; j < i; j++) {
        const double *factor = at->factors + (i * n_columns + j) * n, *centres = at->centres + j * n, value = values[j];
        for (size_t c = 0; c < n; c++)
            rests[c] += factor[c] * (value - centres[c]);
    }
}

/* Weigh the components by the value of the column. */
static void leave_column(row_state *at, size_t i, double x) {
    const double *log_scales = at->log_scales + i * at->column.n;
    for (size_t c = 0; c < at->normals->k; c++) {
        const double u = whitened(&at->column, c, x);
        at->column.logs[c] += log_scales[c] - 0.5 * u * u;
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

/* Put the components side by side. Those that fill up have a slope of 1 and a share of 0. */
static void lay_out(row_state *at) {
    const nvp_normals *normals = at->normals;
    const size_t n_columns = normals->n_given + normals->dim, n = at->column.n;
    for (size_t c = 0; c < n; c++)
        for (size_t i = 0; i < n_columns; i++) {
            const double *row = c < normals->k ? normals->factors + (c * n_columns + i) * n_columns : NULL;
            at->slopes[i * n + c] = row ? row[i] : 1;
            at->log_scales[i * n + c] = row ? log(row[i]) : 0;
            at->centres[i * n + c] = row ? normals->means[c * n_columns + i] : 0;
            for (size_t j = 0; row && j < i; j++)
                at->factors[(i * n_columns + j) * n + c] = row[j];
        }
}

static double *allocate(row_state *at, const nvp_normals *normals, double **values) {
    size_t n = normals->k, n_columns, size = 0, square;
    if (!nvp_add(n, NVP_MOST_LANES - 1, &n) || !nvp_add(normals->n_given, normals->dim, &n_columns))
        return NULL;
    n -= n % NVP_MOST_LANES;
    if (!nvp_multiply(n_columns, n_columns, &square) || !nvp_add_product(square, n, &size) ||
        !nvp_multiply(n_columns, 3, &square) || !nvp_add(square, 3, &square) || !nvp_add_product(square, n, &size) ||
        !nvp_add(size, n_columns, &size) || size > SIZE_MAX / sizeof(double))
        return NULL;
    double *numbers = calloc(size, sizeof *numbers);
    if (!numbers)
        return NULL;
    at->normals = normals, at->column.n = n;
    at->factors = numbers, at->slopes = at->factors + n_columns * n_columns * n;
    at->centres = at->slopes + n_columns * n, at->log_scales = at->centres + n_columns * n;
    at->column.rests = at->log_scales + n_columns * n, at->column.logs = at->column.rests + n;
    at->column.shares = at->column.logs + n, *values = at->column.shares + n;
    lay_out(at);
    return numbers;
}

nvp_status nvp_rosenblatt(const nvp_normals *normals, bool backward, size_t n, const double *given,
                          const double *points, double *found, double *log_det) {
    const size_t k = normals->k, n_given = normals->n_given, dim = normals->dim;
    if (dim == 0 || k == 0)
        return NVP_ERROR_ARGUMENT;
    row_state at = {.engine = nvp_choose_engine(NVP_FLOAT64)};
    if (!at.engine)
        return NVP_ERROR_UNSUPPORTED;
    double *values, *numbers = allocate(&at, normals, &values);
    if (!numbers)
        return NVP_ERROR_MEMORY;
    for (size_t row = 0; row < n; row++) {
        const double *point = points + row * dim;
        for (size_t i = 0; i < n_given; i++)
            values[i] = given[row * n_given + i];
        for (size_t c = 0; c < at.column.n; c++)
            at.column.logs[c] = c < k ? normals->log_weights[(normals->weights_per_row ? row * k : 0) + c] : -INFINITY;
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
