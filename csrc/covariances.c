#include "covariances.h"
#include "checked.h"
#include "factor_model.h"
#include "reals.h"
#include "triangular.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One allocation: the pooled covariance (dim, dim), the prior of all components, its inverse, and further squares to
 * compute it. broad (k, dim): 1 for the columns in which a component does not hold one value; scale (dim). `factors`
 * is scratch of a factor model. */
typedef struct {
    double *pooled, *prior, *inverse, *root, *broad, *scale;
} memory;

static bool allocate(memory *m, size_t dim, size_t k) {
    size_t square, n = 0;
    if (!nvp_multiply(dim, dim, &square) || !nvp_add_product(4, square, &n) || !nvp_add_product(k, dim, &n) ||
        !nvp_add_product(1, dim, &n) || n > SIZE_MAX / sizeof *m->pooled ||
        !(m->pooled = malloc(n * sizeof *m->pooled)))
        return false;
    m->prior = m->pooled + square, m->inverse = m->prior + square, m->root = m->inverse + square;
    m->broad = m->root + square, m->scale = m->broad + k * dim;
    return true;
}

/* pooled = the sum of the squares over the components, by their share of all samples. Return that share. */
static double pool(size_t square, size_t k, const double *shares, const double *squares, double *pooled) {
    double total = 0;
    memset(pooled, 0, square * sizeof *pooled);
    for (size_t c = 0; c < k; c++) {
        total += shares[c];
        for (size_t i = 0; i < square; i++)
            pooled[i] += squares[c * square + i];
    }
    for (size_t i = 0; i < square; i++)
        pooled[i] /= total;
    return total;
}

/* Find the columns in which components hold one value. The pooled covariance becomes that of the other components. */
static void separate_values(const nvp_covariance_prior *prior, size_t k, const double *shares, const double *squares,
                            double total, const memory *m) {
    const size_t dim = prior->dim;
    for (size_t i = 0; i < dim; i++) {
        double share = 0;
        for (size_t c = 0; c < k; c++) {
            const double variance = squares[(c * dim + i) * dim + i] / shares[c];
            const bool has_few = shares[c] * prior->n / (double)dim <= prior->enough_for_values;
            const bool broad = variance > prior->one_value * prior->floor[i] || prior->repeated[i] == 0 || has_few;
            m->broad[c * dim + i] = broad;
            share += broad ? shares[c] : 0;
        }
        m->scale[i] = sqrt(total / fmax(share, DBL_MIN));
    }
    for (size_t i = 0; i < dim; i++)
        for (size_t j = 0; j < dim; j++)
            m->pooled[i * dim + j] *= m->scale[i] * m->scale[j];
}

static nvp_status set_prior(const nvp_covariance_prior *prior, const memory *m) {
    const size_t dim = prior->dim;
    if (prior->n_factors)
        return nvp_factor_model(dim, prior->n_factors, m->pooled, m->prior);
    for (size_t i = 0; i < dim * dim; i++)
        m->prior[i] = (1 - prior->shrinkage) * m->pooled[i];
    for (size_t i = 0; i < dim; i++)
        m->prior[i * dim + i] = m->pooled[i * dim + i];
    return NVP_OK;
}

/* The inverse of the prior, without the columns that depend on others. */
static void invert_prior(size_t dim, const memory *m) {
    for (size_t i = 0; i < dim; i++)
        m->scale[i] = DBL_EPSILON * m->prior[i * dim + i];
    nvp_semidefinite_cholesky(dim, m->prior, m->scale, m->root);
    nvp_invert_triangle(dim, m->root, m->pooled); /* which nothing needs any more */
    for (size_t i = 0; i < dim; i++)
        for (size_t j = 0; j <= i; j++) {
            double sum = 0;
            for (size_t c = i; c < dim; c++)
                sum += m->pooled[c * dim + i] * m->pooled[c * dim + j];
            m->inverse[i * dim + j] = m->inverse[j * dim + i] = sum;
        }
}

/* The factor of the prior of a component, by its size beside the prior. */
static double limit(const nvp_covariance_prior *prior, double share, const double *squares, const double *inverse) {
    double size = 0;
    for (size_t i = 0; i < prior->dim * prior->dim; i++)
        size += squares[i] * inverse[i];
    return fmin(1, prior->widest * size / (share * (double)prior->dim));
}

static bool is_large(const nvp_covariance_prior *prior, double share) {
    return share * prior->n / (double)prior->dim > prior->enough_rows;
}

/* squares (dim, dim) of one component become its covariance. `broad` (dim) may be NULL. */
static void combine(const nvp_covariance_prior *prior, double own, double others, const double *shared,
                    const double *broad, double *squares) {
    const size_t dim = prior->dim;
    for (size_t i = 0; i < dim; i++)
        for (size_t j = 0; j < dim; j++) {
            const double mask = broad ? broad[i] * broad[j] : 1;
            squares[i * dim + j] = own * squares[i * dim + j] + others * mask * shared[i * dim + j];
        }
    for (size_t i = 0; i < dim; i++) {
        const double variance = squares[i * dim + i] * (1 + prior->least_relative) + prior->added[i];
        squares[i * dim + i] = fmax(variance, prior->floor[i]);
    }
}

nvp_status nvp_covariances(const nvp_covariance_prior *prior, size_t k, const double *shares, double *squares) {
    const size_t dim = prior->dim, square = dim * dim;
    memory m;
    if (!allocate(&m, dim, k))
        return NVP_ERROR_MEMORY;
    const double total = pool(square, k, shares, squares, m.pooled);
    if (prior->repeated)
        separate_values(prior, k, shares, squares, total, &m);
    const nvp_status status = set_prior(prior, &m);
    if (status != NVP_OK) {
        free(m.pooled);
        return status;
    }
    bool inverted = false;
    for (size_t c = 0; c < k; c++) {
        const double share = shares[c], whole = share + prior->samples * (double)dim / prior->n;
        double *own = squares + c * square, factor = 1;
        if (k > 1 && !prior->repeated && is_large(prior, share)) {
            if (!inverted)
                invert_prior(dim, &m);
            inverted = true;
            factor = limit(prior, share, own, m.inverse);
        }
        combine(prior, k > 1 ? 1 / whole : 0, k > 1 ? (1 - share / whole) * factor : 1, m.prior,
                prior->repeated ? m.broad + c * dim : NULL, own);
    }
    free(m.pooled);
    return NVP_OK;
}
