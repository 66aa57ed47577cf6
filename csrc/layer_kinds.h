/* The kinds of layers, whatever the precision: their names, their fields, and how a configuration becomes a description
 * and a description a configuration. What they compute is in the engine's table. */
#ifndef NVP_LAYER_KINDS_H
#define NVP_LAYER_KINDS_H

#include "fields.h"
#include "flow.h"

typedef struct {
    const char *name;
    nvp_field fields[7]; /* of nvp_layer_config, in the order of nvp_flow_decode; the last one has no name */
    /* Whether reals are in their ranges, too; NULL: the forms of the fields say all. */
    bool (*is_valid)(nvp_dtype dtype, const nvp_layer_config *config);
    /* *n = the indices that the description keeps, such as lists of columns; false: overflow. NULL: none. */
    bool (*count_indices)(size_t dim, const nvp_layer_config *config, size_t *n);
    /* Fill in what the kernels need besides the fields of a valid configuration; `indices` are zeros. NULL: nothing. */
    nvp_status (*describe)(nvp_layer *layer, const nvp_layer_config *config, size_t *indices);
    /* The lists of the configuration again, for which `mask` and `columns` have room for D entries. NULL: there are
     * none. */
    void (*recover)(nvp_dtype dtype, const nvp_layer *layer, unsigned char *mask, size_t *columns,
                    nvp_layer_config *config);
} nvp_layer_kind;

/* By nvp_layer_type. */
extern const nvp_layer_kind nvp_layer_kinds[NVP_N_LAYER_TYPES];

#endif
