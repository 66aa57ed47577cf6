#include "kmeans.h"
#include "checked.h"
#include "engine.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static double value(const nvp_points *points, size_t i) {
    return points->dtype == NVP_FLOAT32 ? (double)((const float *)points->points)[i]
                                        : ((const double *)points->points)[i];
}

static nvp_status check(const nvp_points *points, size_t k, const nvp_engine **engine) {
    *engine = nvp_choose_engine(points->dtype);
    if (points->n == 0 || points->dim == 0 || k == 0)
        return NVP_ERROR_ARGUMENT;
    return *engine ? NVP_OK : NVP_ERROR_UNSUPPORTED;
}

/* Move the centres of clusters with a weight to their means. `sums` (k, dim + 1): scratch memory. */
static void move_centers(const nvp_points *points, size_t k, const int64_t *labels, double *sums, double *centers) {
    const size_t dim = points->dim, row = dim + 1;
    memset(sums, 0, k * row * sizeof *sums);
    for (size_t t = 0; t < points->n; t++) {
        double *sum = sums + (size_t)labels[t] * row;
        for (size_t i = 0; i < dim; i++)
            sum[i] += points->share[t] * value(points, t * dim + i);
        sum[dim] += points->share[t];
    }
    for (size_t c = 0; c < k; c++)
        for (size_t i = 0; i < dim; i++)
            if (sums[c * row + dim] > 0)
                centers[c * dim + i] = sums[c * row + i] / sums[c * row + dim];
}

nvp_status nvp_kmeans(const nvp_points *points, size_t k, size_t max_iter, double *centers, int64_t *labels) {
    const nvp_engine *engine;
    nvp_scratch scratch = {0};
    nvp_status status = check(points, k, &engine);
    size_t n;
    if (status != NVP_OK)
        return status;
    if (!nvp_add(points->dim, 1, &n) || !nvp_multiply(n, k, &n) || n > SIZE_MAX / sizeof(double) ||
        points->n > SIZE_MAX / sizeof *labels)
        return NVP_ERROR_MEMORY;
    double *sums = malloc(n * sizeof *sums);
    int64_t *before = malloc(points->n * sizeof *before);
    if (!sums || !before)
        status = NVP_ERROR_MEMORY;
    for (size_t step = 0; step < max_iter && status == NVP_OK; step++) {
        const nvp_nearest nearest = {points->n, points->dim, k, points->points, centers, labels, NULL, &scratch};
        status = engine->find_nearest(&nearest);
        if (status != NVP_OK || (step && !memcmp(labels, before, points->n * sizeof *labels)))
            break;
        memcpy(before, labels, points->n * sizeof *labels);
        move_centers(points, k, labels, sums, centers);
    }
    nvp_scratch_free(&scratch);
    free(before);
    free(sums);
    return status;
}

/* The points at which the cumulative distances, times shares, pass the uniform numbers. */
static void draw(const nvp_points *points, const double *uniforms, const double *distances, size_t *candidates) {
    double total = 0, sum = 0;
    for (size_t t = 0; t < points->n; t++)
        total += distances[t] * points->share[t];
    for (size_t c = 0; c < NVP_CANDIDATES; c++)
        candidates[c] = total > 0 ? points->n : (size_t)(uniforms[c] * (double)points->n);
    for (size_t t = 0; t < points->n && total > 0; t++) {
        sum += distances[t] * points->share[t];
        for (size_t c = 0; c < NVP_CANDIDATES; c++)
            if (candidates[c] == points->n && sum > uniforms[c] * total)
                candidates[c] = t;
    }
    for (size_t c = 0; c < NVP_CANDIDATES; c++)
        if (candidates[c] >= points->n)
            candidates[c] = points->n - 1;
}

/* from (NVP_CANDIDATES, n): distances from the candidates. Return the candidate that leaves the smallest distances. */
static size_t find_best(const nvp_points *points, const double *distances, double *from) {
    size_t best = 0;
    double sums[NVP_CANDIDATES] = {0}; /* side by side, so that none waits for the addition before it */
    for (size_t t = 0; t < points->n; t++)
        for (size_t c = 0; c < NVP_CANDIDATES; c++) {
            double *own = from + c * points->n + t;
            *own = *own < distances[t] ? *own : distances[t];
            sums[c] += points->share[t] * *own;
        }
    for (size_t c = 1; c < NVP_CANDIDATES; c++)
        best = sums[c] < sums[best] ? c : best;
    return best;
}

nvp_status nvp_add_center(const nvp_points *points, const double uniforms[NVP_CANDIDATES], double *distances,
                          size_t *chosen) {
    const nvp_engine *engine;
    const nvp_status status = check(points, 1, &engine);
    size_t n, centers, candidates[NVP_CANDIDATES];
    if (status != NVP_OK)
        return status;
    if (!nvp_multiply(NVP_CANDIDATES, points->n, &n) || !nvp_multiply(NVP_CANDIDATES, points->dim, &centers) ||
        !nvp_add(n, centers, &centers) || centers > SIZE_MAX / sizeof *distances)
        return NVP_ERROR_MEMORY;
    double *from = malloc(centers * sizeof *from);
    if (!from)
        return NVP_ERROR_MEMORY;
    draw(points, uniforms, distances, candidates);
    for (size_t c = 0; c < NVP_CANDIDATES; c++)
        for (size_t i = 0; i < points->dim; i++)
            from[n + c * points->dim + i] = value(points, candidates[c] * points->dim + i);
    nvp_scratch scratch = {0};
    const nvp_nearest nearest = {points->n, points->dim, NVP_CANDIDATES, points->points,
                                 from + n,  NULL,        from,           &scratch};
    const nvp_status found = engine->find_nearest(&nearest);
    if (found == NVP_OK) {
        const size_t best = find_best(points, distances, from);
        memcpy(distances, from + best * points->n, points->n * sizeof *distances);
        *chosen = candidates[best];
    }
    nvp_scratch_free(&scratch);
    free(from);
    return found;
}

static void add_squares(const nvp_points *points, size_t t, const double *mean, double *offset, double *squares) {
    const size_t dim = points->dim;
    for (size_t i = 0; i < dim; i++)
        offset[i] = value(points, t * dim + i) - mean[i];
    for (size_t i = 0; i < dim; i++) {
        const double weighted = points->share[t] * offset[i];
        for (size_t j = 0; j <= i; j++)
            squares[i * dim + j] += weighted * offset[j];
    }
}

nvp_status nvp_cluster_moments(const nvp_points *points, size_t k, const int64_t *labels, double *shares, double *means,
                               double *squares) {
    const size_t dim = points->dim, square = dim * dim;
    if (points->n == 0 || dim == 0 || k == 0)
        return NVP_ERROR_ARGUMENT;
    double *offset = dim > SIZE_MAX / sizeof *offset ? NULL : malloc(dim * sizeof *offset);
    if (!offset)
        return NVP_ERROR_MEMORY;
    memset(shares, 0, k * sizeof *shares);
    memset(means, 0, k * dim * sizeof *means);
    memset(squares, 0, k * square * sizeof *squares);
    for (size_t t = 0; t < points->n; t++) {
        shares[labels[t]] += points->share[t];
        for (size_t i = 0; i < dim; i++)
            means[(size_t)labels[t] * dim + i] += points->share[t] * value(points, t * dim + i);
    }
    for (size_t c = 0; c < k; c++) {
        shares[c] = fmax(shares[c], 1 / (double)points->n);
        for (size_t i = 0; i < dim; i++)
            means[c * dim + i] /= shares[c];
    }
    for (size_t t = 0; t < points->n; t++) {
        const size_t c = (size_t)labels[t];
        add_squares(points, t, means + c * dim, offset, squares + c * square);
    }
    for (size_t c = 0; c < k; c++)
        for (size_t i = 0; i < dim; i++)
            for (size_t j = 0; j < i; j++)
                squares[c * square + j * dim + i] = squares[c * square + i * dim + j];
    free(offset);
    return NVP_OK;
}
