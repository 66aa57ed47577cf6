#include "triangular.h"
#include <math.h>
#include <string.h>

/* The sum of n products, in four parts that do not wait for each other. */
static double dot(size_t n, const double *a, const double *b) {
    double sum[4] = {0};
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (size_t part = 0; part < 4; part++)
            sum[part] += a[i + part] * b[i + part];
    for (; i < n; i++)
        sum[0] += a[i] * b[i];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* `least` NULL: a pivot must be positive. */
static bool decompose(size_t dim, const double *a, const double *least, double *root) {
    for (size_t i = 0; i < dim; i++) {
        double *row = root + i * dim;
        for (size_t j = 0; j < i; j++) {
            const double *other = root + j * dim, pivot = other[j];
            row[j] = pivot > 0 ? (a[i * dim + j] - dot(j, row, other)) / pivot : 0;
        }
        const double square = a[i * dim + i] - dot(i, row, row);
        if (!least && !(square > 0 && isfinite(square)))
            return false;
        row[i] = !least || square > least[i] ? sqrt(square) : 0;
        memset(row + i + 1, 0, (dim - i - 1) * sizeof *row);
    }
    return true;
}

bool nvp_cholesky(size_t dim, const double *a, double *root) { return decompose(dim, a, NULL, root); }

void nvp_semidefinite_cholesky(size_t dim, const double *a, const double *least, double *root) {
    decompose(dim, a, least, root);
}

void nvp_invert_triangle(size_t dim, const double *root, double *inverse) {
    for (size_t i = 0; i < dim; i++) {
        const double *row = root + i * dim;
        double *to = inverse + i * dim;
        const double scale = row[i] > 0 ? 1 / row[i] : 0;
        memset(to, 0, dim * sizeof *to);
        for (size_t c = 0; c < i; c++)
            for (size_t j = 0; j <= c; j++)
                to[j] -= row[c] * inverse[c * dim + j];
        for (size_t j = 0; j < i; j++)
            to[j] *= scale;
        to[i] = scale;
    }
}

void nvp_multiply_triangles(size_t dim, const double *a, const double *b, double *product) {
    memset(product, 0, dim * dim * sizeof *product);
    for (size_t i = 0; i < dim; i++)
        for (size_t c = 0; c <= i; c++)
            for (size_t j = 0; j <= c; j++)
                product[i * dim + j] += a[i * dim + c] * b[c * dim + j];
}

void nvp_outer_square(size_t dim, const double *a, double factor, double *square) {
    for (size_t i = 0; i < dim; i++)
        for (size_t j = 0; j <= i; j++)
            square[i * dim + j] = square[j * dim + i] = factor * dot(j + 1, a + i * dim, a + j * dim);
}
