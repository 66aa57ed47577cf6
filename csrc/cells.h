/* A lattice rule for integrals over unit cells: the probability of whole numbers is the integral of a density over
 * theirs. */
#ifndef NVP_CELLS_H
#define NVP_CELLS_H

#include "nvpflow.h"

/* The number of points for `dim` columns of whole numbers. */
size_t nvp_cell_n_points(size_t dim);

/* Points (n, dim) in the unit cube and the logarithms of their weights (n), whose sum is 1. The caller frees both, even
 * after a failure. */
nvp_status nvp_cell_points(size_t dim, double **points, double **log_weights);

#endif
