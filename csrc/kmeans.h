/* K-means, which starts mixtures. */
#ifndef NVP_KMEANS_H
#define NVP_KMEANS_H

#include "nvpflow.h"
#include <stdint.h>

/* n points (n, dim) and their shares of all weight (n). */
typedef struct {
    nvp_dtype dtype;
    size_t n, dim;
    const void *points;
    const double *share;
} nvp_points;

/* Lloyd (1982), "Least squares quantization in PCM": up to max_iter steps from centres (k, dim), which they change.
 * labels (n): the cluster of each point before the last change of the centres. */
nvp_status nvp_kmeans(const nvp_points *points, size_t k, size_t max_iter, double *centers, int64_t *labels);

enum { NVP_CANDIDATES = 3 };

/* Choose a point as one more centre, the best of candidates that are likelier the farther they are from the centres:
 * Arthur and Vassilvitskii (2007), "k-means++: the advantages of careful seeding".
 *
 * distances (n): squared distances from the nearest centre, which are updated. uniforms: for the candidates, in [0, 1).
 * *chosen: the point. */
nvp_status nvp_add_center(const nvp_points *points, const double uniforms[NVP_CANDIDATES], double *distances,
                          size_t *chosen);

/* Of each cluster its share (k) of all weight, at least 1 / n, its mean (k, dim), and the mean squares about it times
 * the share (k, dim, dim). Labels (n) are less than k. */
nvp_status nvp_cluster_moments(const nvp_points *points, size_t k, const int64_t *labels, double *shares, double *means,
                               double *squares);

#endif
