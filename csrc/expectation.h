/* What an engine computes of expectation-maximisation and of k-means: passes over the samples. */
#ifndef NVP_EXPECTATION_H
#define NVP_EXPECTATION_H

#include "interrupt.h"
#include "normal_column.h"
#include "scratch.h"
#include <stddef.h>
#include <stdint.h>

/* The expectations of n samples under k normal distributions of `dim` columns. Within a class of samples the components
 * have weights of their own. */
typedef struct {
    size_t n, dim, k, n_classes;
    const void *x;           /* (n, dim) in the engine's precision */
    const double *weight;    /* (n); NULL: all 1 */
    const int64_t *classes;  /* (n), of the samples; NULL: one class */
    const double *log_terms; /* (n_classes, k): logarithms of the weights, with the constants of the densities */
    const double *means;     /* (k, dim) */
    const double *factors;   /* (k, dim, dim): P, lower Cholesky factors of the precisions */
    /* Sums over the samples, to which they are added, with u = P (x - mean): of responsibilities, these times u, these
     * times u u^T (its lower triangle), and the negative log-likelihood. */
    double *shares;   /* (n_classes, k) */
    double *shift;    /* (k, dim) */
    double *products; /* (k, dim, dim) */
    double *nll;
    double *log_prob; /* (n): instead of all sums, the log-densities; NULL: not wanted */
    nvp_scratch *scratch;
    nvp_interrupt *interrupt;
} nvp_expectation;

/* Squared distances of n points from k centres. */
typedef struct {
    size_t n, dim, k;
    const void *points;    /* (n, dim) in the engine's precision */
    const double *centers; /* (k, dim) */
    int64_t *labels;       /* (n): the nearest centre, the first of equally near ones; NULL: not wanted */
    double *distances;     /* (k, n); NULL: not wanted */
    nvp_scratch *scratch;
} nvp_nearest;

enum { NVP_AVERAGE_VECTORS = 4, NVP_AVERAGE_ROWS = NVP_AVERAGE_VECTORS * NVP_MOST_LANES }; /* read at a time */

/* What an average of k densities says of the shares from which n samples come. */
typedef struct {
    size_t k, n;                    /* n: a multiple of NVP_AVERAGE_ROWS, with samples of weight 0 behind the others */
    const double *const *densities; /* (k) arrays (n), aligned for every vector type, as are the weights and the sums */
    const double *shares;           /* (k), of the average */
    const double *weight;           /* (n), of the samples */
    double least;                   /* a smaller average counts as this */
    double *factors;                /* (k): receives sums of weight * density / average */
    double *sums;                   /* (k) vectors: scratch memory */
} nvp_average;

#endif
