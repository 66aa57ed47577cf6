/* The common part of the descriptions of couplings: the mask, and the shape of the conditioner. */
#ifndef NVP_COUPLING_H
#define NVP_COUPLING_H

#include "flow.h"

/* Outputs of the networks for a spline on a circle beyond those for one on a line: the derivative at the ends of the
 * circle, and the rotation. */
enum { NVP_CIRCLE_OUTPUTS = 3 };

/* *n = the number of indices of a coupling: D columns and n_hidden + 2 widths. False: overflow. */
bool nvp_count_coupling_indices(size_t dim, const nvp_layer_config *config, size_t *n);

/* Fill in a coupling. NVP_ERROR_SIZE: overflow. */
nvp_status nvp_describe_coupling(nvp_layer *layer, const nvp_layer_config *config, size_t n_networks,
                                 size_t outputs_per_column, size_t *indices);

/* Fill in a coupling whose configuration may have periods, with other numbers of outputs for angles, of which the
 * networks read cosine and sine. */
nvp_status nvp_describe_columns(nvp_layer *layer, const nvp_layer_config *config, size_t n_networks, size_t of_line,
                                size_t of_circle, size_t *indices);

/* Recover the lists of the configuration. `mask` has room for D entries. */
void nvp_recover_coupling(const nvp_layer *layer, unsigned char *mask, nvp_layer_config *config);

#endif
