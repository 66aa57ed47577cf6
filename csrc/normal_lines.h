/* Mixtures of normal distributions on a line, of which each has components of its own. */
#ifndef NVP_NORMAL_LINES_H
#define NVP_NORMAL_LINES_H

#include "nvpflow.h"

/* The components of mixture i, of n, are starts[i] ... starts[i + 1] - 1, of n_components in all. */
typedef struct {
    size_t n, n_components;
    const int64_t *starts; /* (n + 1), increasing from 0 to n_components */
    const double *weights, *means, *stds;
} nvp_normal_lines;

/* The density and the distribution function (m) of the mixtures which (m) at the numbers u (m), which may be infinite;
 * NaN where u or a weight is NaN. Numbers of one mixture should follow one another. NVP_ERROR_ARGUMENT: starts do not
 * increase, or there is no such mixture. */
nvp_status nvp_normal_lines_at(const nvp_normal_lines *lines, size_t m, const int64_t *which, const double *u,
                               double *density, double *below);

#endif
