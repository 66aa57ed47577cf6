#include "factor_model.h"
#include "checked.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Steps of the analysis, eigenvectors that are followed beside those of the factors, and turns of their span in the
 * first step. The likelihood was that of 8 steps with exact eigenvectors, or up to .3 nats more, on four tables. */
enum { STEPS = 12, MORE_VECTORS = 4, FIRST_TURNS = 4, MOST_SWEEPS = 30 };
/* The change of shares that ends the analysis, and the smallest share of a variance that is not from the factors. */
static const double TOLERANCE = 1e-3, LEAST_UNIQUE = 1e-3;
/* An entry beside the diagonal up to this share of those on it is left. */
static const double NEGLIGIBLE = 1e-9;
/* The fractional parts of its multiples by squares are spread evenly, and no rows of them depend on each other. */
static const double GOLDEN_RATIO = 1.6180339887498949;

/* n vectors in rows, their images under the matrix, and small squares (n, n): the matrix in the basis of the vectors,
 * whose diagonal becomes the eigenvalues, and rotations. */
typedef struct {
    size_t dim, n;
    double *vectors, *images, *small, *rotations;
} subspace;

static double dot(size_t n, const double *a, const double *b) {
    double sums[4] = {0}, rest = 0; /* side by side for the compiler, which may not change the order of a sum */
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (size_t j = 0; j < 4; j++)
            sums[j] += a[i + j] * b[i + j];
    for (; i < n; i++)
        rest += a[i] * b[i];
    return sums[0] + sums[1] + (sums[2] + sums[3]) + rest;
}

static void add_multiple(size_t n, double factor, const double *a, double *sum) {
    for (size_t i = 0; i < n; i++)
        sum[i] += factor * a[i];
}

/* Rows product (n, dim) = a (n, m) b (m, dim). */
static void multiply(size_t n, size_t m, size_t dim, const double *a, const double *b, double *product) {
    memset(product, 0, n * dim * sizeof *product);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < m; j++)
            add_multiple(dim, a[i * m + j], b + j * dim, product + i * dim);
}

/* Gram and Schmidt's, twice because of rounding. A row that depends on those before it becomes zeros. */
static void make_orthonormal(size_t n, size_t dim, double *rows) {
    for (size_t i = 0; i < n; i++) {
        double *row = rows + i * dim;
        const double before = sqrt(dot(dim, row, row));
        for (int time = 0; time < 2; time++)
            for (size_t j = 0; j < i; j++)
                add_multiple(dim, -dot(dim, row, rows + j * dim), rows + j * dim, row);
        const double length = sqrt(dot(dim, row, row)), factor = length > DBL_EPSILON * before ? 1 / length : 0;
        for (size_t j = 0; j < dim; j++)
            row[j] *= factor;
    }
}

/* Make a[p][q] zero by a rotation of rows and columns, and rotate rows of `vectors` with them. */
static void rotate(size_t dim, size_t p, size_t q, double *a, double *vectors) {
    const double off = a[p * dim + q], slope = (a[q * dim + q] - a[p * dim + p]) / (2 * off);
    const double tangent = copysign(1 / (fabs(slope) + sqrt(slope * slope + 1)), slope);
    const double cosine = 1 / sqrt(tangent * tangent + 1), sine = tangent * cosine;
    for (size_t i = 0; i < dim; i++) {
        const double of_p = a[i * dim + p], of_q = a[i * dim + q];
        a[i * dim + p] = cosine * of_p - sine * of_q;
        a[i * dim + q] = sine * of_p + cosine * of_q;
    }
    for (size_t i = 0; i < dim; i++) {
        double *const rows[2][2] = {{a + p * dim + i, a + q * dim + i}, {vectors + p * dim + i, vectors + q * dim + i}};
        for (size_t j = 0; j < 2; j++) {
            const double of_p = *rows[j][0], of_q = *rows[j][1];
            *rows[j][0] = cosine * of_p - sine * of_q;
            *rows[j][1] = sine * of_p + cosine * of_q;
        }
    }
    a[p * dim + q] = a[q * dim + p] = 0;
}

/* The diagonal of the positive semidefinite a (dim, dim) becomes its eigenvalues; row i of `vectors` is the eigenvector
 * of the i-th. Jacobi's rotations suit few columns: Golub and Van Loan (2013), section 8.5. */
static void diagonalize(size_t dim, double *a, double *vectors) {
    memset(vectors, 0, dim * dim * sizeof *vectors);
    for (size_t i = 0; i < dim; i++)
        vectors[i * dim + i] = 1;
    for (size_t sweep = 0, rotations = 1; rotations && sweep < MOST_SWEEPS; sweep++) {
        rotations = 0;
        for (size_t p = 0; p < dim; p++)
            for (size_t q = p + 1; q < dim; q++)
                if (fabs(a[p * dim + q]) > NEGLIGIBLE * sqrt(fabs(a[p * dim + p] * a[q * dim + q]))) {
                    rotate(dim, p, q, a, vectors);
                    rotations++;
                }
    }
}

static double fraction(double x) { return x - floor(x); }

/* Turn the span of the vectors to the first eigenvectors of a (dim, dim). */
static void turn(const subspace *space, const double *a) {
    multiply(space->n, space->dim, space->dim, space->vectors, a, space->images);
    memcpy(space->vectors, space->images, space->n * space->dim * sizeof *space->vectors);
    make_orthonormal(space->n, space->dim, space->vectors);
}

static void start(const subspace *space, const double *a) {
    for (size_t i = 0; i < space->n * space->dim; i++)
        space->vectors[i] = fraction((double)i * (double)i * GOLDEN_RATIO) - 0.5;
    for (size_t k = 1; k < FIRST_TURNS; k++)
        turn(space, a);
}

/* Eigenvalues of a (dim, dim) within the span of the vectors, which become eigenvectors, by Rayleigh and Ritz. */
static void solve(const subspace *space, const double *a) {
    const size_t n = space->n, dim = space->dim;
    multiply(n, dim, dim, space->vectors, a, space->images);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++)
            space->small[i * n + j] = space->small[j * n + i] =
                dot(dim, space->vectors + i * dim, space->images + j * dim);
    diagonalize(n, space->small, space->rotations);
    multiply(n, n, dim, space->rotations, space->vectors, space->images);
    memcpy(space->vectors, space->images, n * dim * sizeof *space->vectors);
}

/* The largest of the eigenvalues on the diagonal of a, which is then taken off it. */
static size_t take_largest(size_t dim, double *a, double *variance) {
    size_t best = 0;
    for (size_t i = 1; i < dim; i++)
        if (a[i * dim + i] > a[best * dim + best])
            best = i;
    *variance = a[best * dim + best];
    a[best * dim + best] = -INFINITY;
    return best;
}

/* The columns of L, for unit variances, that are likeliest for the shares `unique` (dim) of the variances; root (dim):
 * the roots of these. Then the shares that follow from them: together they are the variances. Return the largest
 * change. */
static double improve(const subspace *space, size_t n_factors, const double *root, double *loadings, double *unique) {
    const size_t dim = space->dim;
    double most = 0;
    for (size_t factor = 0; factor < n_factors; factor++) {
        double variance, *loading = loadings + factor * dim;
        const double *vector = space->vectors + dim * take_largest(space->n, space->small, &variance);
        for (size_t i = 0; i < dim; i++)
            loading[i] = root[i] * sqrt(fmax(variance - 1, 0)) * vector[i];
    }
    for (size_t i = 0; i < dim; i++) {
        double common = 0;
        for (size_t factor = 0; factor < n_factors; factor++)
            common += loadings[factor * dim + i] * loadings[factor * dim + i];
        const double improved = fmax(1 - common, LEAST_UNIQUE);
        for (size_t factor = 0; common > 1 - LEAST_UNIQUE && factor < n_factors; factor++)
            loadings[factor * dim + i] *= sqrt((1 - LEAST_UNIQUE) / common);
        most = fmax(most, fabs(improved - unique[i]));
        unique[i] = improved;
    }
    return most;
}

/* a (dim, dim) = correlations beside the roots of the shares `unique` (dim), which are `root`. */
static void scale_correlation(size_t dim, const double *correlation, const double *unique, double *root, double *a) {
    for (size_t i = 0; i < dim; i++)
        root[i] = sqrt(unique[i]);
    for (size_t i = 0; i < dim; i++)
        for (size_t j = 0; j <= i; j++)
            a[i * dim + j] = a[j * dim + i] = correlation[i * dim + j] / (root[i] * root[j]);
}

/* model (dim, dim) = L L^T + the diagonal, for columns with these deviations, `scale`. */
static void compose(size_t dim, size_t n_factors, const double *loadings, const double *unique, const double *scale,
                    double *model) {
    memset(model, 0, dim * dim * sizeof *model);
    for (size_t factor = 0; factor < n_factors; factor++)
        for (size_t i = 0; i < dim; i++)
            add_multiple(dim, loadings[factor * dim + i], loadings + factor * dim, model + i * dim);
    for (size_t i = 0; i < dim; i++) {
        model[i * dim + i] += unique[i];
        for (size_t j = 0; j < dim; j++)
            model[i * dim + j] *= scale[i] * scale[j];
    }
}

nvp_status nvp_factor_model(size_t dim, size_t n_factors, const double *covariance, double *model) {
    size_t square, size = 0;
    double *correlation;
    if (!nvp_multiply(dim, dim, &square) || !nvp_add_product(7, square, &size) || !nvp_add_product(3, dim, &size) ||
        size > SIZE_MAX / sizeof *correlation || !(correlation = malloc(size * sizeof *correlation)))
        return NVP_ERROR_MEMORY;
    double *a = correlation + square, *loadings = a + square;
    double *vectors = loadings + square, *scale = vectors + 4 * square, *unique = scale + dim, *root = unique + dim;
    const subspace space = {.dim = dim,
                            .n = n_factors + MORE_VECTORS < dim ? n_factors + MORE_VECTORS : dim,
                            .vectors = vectors,
                            .images = vectors + square,
                            .small = vectors + 2 * square,
                            .rotations = vectors + 3 * square};
    for (size_t i = 0; i < dim; i++) {
        scale[i] = sqrt(fmax(covariance[i * dim + i], DBL_MIN));
        unique[i] = 0.5;
    }
    for (size_t i = 0; i < dim; i++)
        for (size_t j = 0; j < dim; j++)
            correlation[i * dim + j] = covariance[i * dim + j] / (scale[i] * scale[j]);
    start(&space, correlation);
    for (size_t k = 0, go_on = 1; go_on && k < STEPS; k++) {
        scale_correlation(dim, correlation, unique, root, a);
        turn(&space, a);
        solve(&space, a);
        go_on = improve(&space, n_factors, root, loadings, unique) > TOLERANCE;
    }
    compose(dim, n_factors, loadings, unique, scale, model);
    free(correlation);
    return NVP_OK;
}
