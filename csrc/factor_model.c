#include "factor_model.h"
#include <float.h>
#include <math.h>
#include <string.h>

/* Steps of a factor analysis, and the smallest share of a column's variance that is not from the factors. Those of
 * `factor_model` in Python. */
enum { STEPS = 8, MOST_SWEEPS = 30 };
static const double LEAST_UNIQUE = 1e-3;
/* Entries beside the diagonal up to this, of matrices whose diagonal is at least 1, are rounding errors. */
static const double NEGLIGIBLE = 1e-15;

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

/* The diagonal of the symmetric a (dim, dim) becomes its eigenvalues; row i of `vectors` is the eigenvector of the
 * i-th. */
static void diagonalize(size_t dim, double *a, double *vectors) {
    memset(vectors, 0, dim * dim * sizeof *vectors);
    for (size_t i = 0; i < dim; i++)
        vectors[i * dim + i] = 1;
    for (size_t sweep = 0, rotations = 1; rotations && sweep < MOST_SWEEPS; sweep++) {
        rotations = 0;
        for (size_t p = 0; p < dim; p++)
            for (size_t q = p + 1; q < dim; q++)
                if (fabs(a[p * dim + q]) > NEGLIGIBLE) {
                    rotate(dim, p, q, a, vectors);
                    rotations++;
                }
    }
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

/* common (dim, dim) = L L^T for correlations and the shares `unique` (dim) of the variances. a, vectors: scratch. */
static void common_part(size_t dim, size_t n_factors, const double *correlation, const double *unique, double *a,
                        double *vectors, double *common) {
    for (size_t i = 0; i < dim; i++)
        for (size_t j = 0; j < dim; j++)
            a[i * dim + j] = correlation[i * dim + j] / sqrt(unique[i] * unique[j]);
    diagonalize(dim, a, vectors);
    memset(common, 0, dim * dim * sizeof *common);
    for (size_t factor = 0; factor < n_factors; factor++) {
        double variance;
        const double *vector = vectors + dim * take_largest(dim, a, &variance);
        for (size_t i = 0; i < dim && variance > 1; i++)
            for (size_t j = 0; j < dim; j++)
                common[i * dim + j] += (variance - 1) * sqrt(unique[i] * unique[j]) * vector[i] * vector[j];
    }
}

void nvp_factor_model(size_t dim, size_t n_factors, const double *covariance, double *model, double *scratch) {
    const size_t square = dim * dim;
    double *a = scratch, *vectors = a + square, *correlation = vectors + square, *scale = correlation + square;
    double *unique = scale + dim;
    for (size_t i = 0; i < dim; i++) {
        scale[i] = sqrt(fmax(covariance[i * dim + i], DBL_MIN));
        unique[i] = 0.5;
    }
    for (size_t i = 0; i < dim; i++)
        for (size_t j = 0; j < dim; j++)
            correlation[i * dim + j] = covariance[i * dim + j] / (scale[i] * scale[j]);
    for (size_t step = 0; step < STEPS; step++) {
        common_part(dim, n_factors, correlation, unique, a, vectors, model);
        for (size_t i = 0; i < dim; i++)
            unique[i] = fmin(fmax(1 - model[i * dim + i], LEAST_UNIQUE), 1);
    }
    for (size_t i = 0; i < dim; i++) {
        model[i * dim + i] += unique[i];
        for (size_t j = 0; j < dim; j++)
            model[i * dim + j] *= scale[i] * scale[j];
    }
}
