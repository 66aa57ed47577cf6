/* Small symmetric and triangular matrices in double precision, row by row. */
#ifndef NVP_TRIANGULAR_H
#define NVP_TRIANGULAR_H

#include <stdbool.h>
#include <stddef.h>

/* root (dim, dim): the lower Cholesky factor of a symmetric matrix a (dim, dim), with zeros above the diagonal. Only
 * the lower triangle of a is read, and root may be a. False: a is not positive definite. */
bool nvp_cholesky(size_t dim, const double *a, double *root);

/* The same for a positive semidefinite matrix. A column whose pivot is at most least[j] becomes zeros. */
void nvp_semidefinite_cholesky(size_t dim, const double *a, const double *least, double *root);

/* inverse (dim, dim) of a lower triangle with a positive diagonal, or with zeros there, whose columns become zeros. */
void nvp_invert_triangle(size_t dim, const double *root, double *inverse);

/* product (dim, dim) = a b of two lower triangles. */
void nvp_multiply_triangles(size_t dim, const double *a, const double *b, double *product);

/* square (dim, dim) = factor a a^T of a lower triangle, both triangles of it. */
void nvp_outer_square(size_t dim, const double *a, double factor, double *square);

#endif
