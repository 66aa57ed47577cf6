/* The rule is that of nvpflow/supports/_masses.py, which has measured its error. */
#include "cells.h"
#include "checked.h"
#include <math.h>
#include <stdlib.h>

/* By the number of columns; the last one is for more of them. Prime, but for the first. */
static const size_t N_POINTS[] = {1, 31, 67, 257, 521};
static const double TIE = 1e-9; /* relative difference between errors that are equal but for rounding */
/* Of many columns: from this number on, how much each counts in the choice of the lattice, and what shifts it. */
static const size_t MANY = 5;
static const double IMPORTANCE = 0.1, GOLDEN = 0.61803398874989484820;
enum { MOST = sizeof N_POINTS / sizeof *N_POINTS - 1 };

size_t nvp_cell_n_points(size_t dim) { return N_POINTS[dim < MOST ? dim : MOST]; }

/* The kernel of the worst-case error at k / n: 1 + importance 2 pi^2 B_2(k / n), with the second Bernoulli polynomial.
 */
static double kernel(double importance, size_t k, size_t n) {
    const double pi = 3.14159265358979323846, x = (double)k / (double)n;
    return 1 + importance * 2 * pi * pi * (x * x - x + 1.0 / 6);
}

/* The component of the generating vector that minimises the worst-case error, given the product (n) of the kernels of
 * those before, which it extends: Sloan and Reztsov (2002), "Component-by-component construction of good lattice
 * rules". */
static size_t next_component(double importance, size_t n, double *product) {
    size_t best = 1;
    double least = INFINITY;
    for (size_t candidate = 1; candidate < (n > 2 ? n / 2 + 1 : 2); candidate++) {
        double error = 0;
        for (size_t i = 0; i < n; i++)
            error += kernel(importance, candidate * i % n, n) * product[i];
        if (error < least * (1 - TIE)) /* rounding must not choose */
            least = error, best = candidate;
    }
    for (size_t i = 0; i < n; i++)
        product[i] *= kernel(importance, best * i % n, n);
    return best;
}

/* Fill in one column, after the substitution u = v^3 (10 - 15 v + 6 v^2), which makes integrands periodic: Sloan and
 * Joe (1994), "Lattice methods for multiple integration", section 2.12. Its slope goes to the weights. */
static void put_column(size_t n, size_t dim, size_t component, double *column, double *log_weights) {
    for (size_t i = 0; i < n; i++) {
        const double v = ((double)(component * i % n) + 0.5) / (double)n;
        column[i * dim] = v * v * v * (10 - 15 * v + 6 * v * v);
        log_weights[i] += 2 * log(v * (1 - v));
    }
}

/* Fill in one of many columns: shifted, and folded by u = 1 - |2 v - 1|, which leaves all weights equal: Hickernell
 * (2002), "Obtaining O(N^(-2+e)) convergence for lattice quadrature rules". */
static void put_folded(size_t n, size_t dim, size_t component, double shift, double *column) {
    for (size_t i = 0; i < n; i++) {
        const double v = fmod((double)(component * i % n) / (double)n + shift, 1.0);
        column[i * dim] = 1 - fabs(2 * v - 1);
    }
}

static void normalize(size_t n, double *log_weights) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += exp(log_weights[i]);
    for (size_t i = 0; i < n; i++)
        log_weights[i] -= log(sum);
}

nvp_status nvp_cell_points(size_t dim, double **points, double **log_weights) {
    const size_t n = nvp_cell_n_points(dim);
    size_t size;
    *points = *log_weights = NULL;
    if (!nvp_multiply(n, dim ? dim : 1, &size))
        return NVP_ERROR_SIZE;
    *points = calloc(size, sizeof **points);
    *log_weights = calloc(n, sizeof **log_weights);
    double *product = calloc(n, sizeof *product);
    if (!*points || !*log_weights || !product) {
        free(product);
        return NVP_ERROR_MEMORY;
    }
    for (size_t i = 0; i < n; i++)
        product[i] = 1;
    for (size_t d = 0; d < dim; d++) {
        const size_t component = next_component(dim < MANY ? 1 : IMPORTANCE, n, product);
        if (dim < MANY)
            put_column(n, dim, component, *points + d, *log_weights);
        else
            put_folded(n, dim, component, (double)(d + 1) * GOLDEN, *points + d);
    }
    free(product);
    normalize(n, *log_weights);
    return NVP_OK;
}
