/* The kinds of layers: their names and fields, and the conversion of configurations to descriptions and back. Nothing
 * here depends on the precision. The engine has the table of their functions. */
#ifndef NVP_LAYER_KINDS_H
#define NVP_LAYER_KINDS_H

#include "fields.h"
#include "flow.h"

typedef struct {
    const char *name;
    nvp_field fields[7]; /* of nvp_layer_config, in the order of nvp_flow_decode; the last one has no name */
    /* Whether reals are in their ranges. NULL: the forms of the fields are sufficient. */
    bool (*is_valid)(nvp_dtype dtype, size_t dim, const nvp_layer_config *config);
    /* *n = the number of indices that the description stores, such as lists of columns. False: overflow. NULL: none. */
    bool (*count_indices)(size_t dim, const nvp_layer_config *config, size_t *n);
    /* Fill in what the kernels need besides the fields of a valid configuration. `indices` holds zeros. NULL:
     * nothing. */
    nvp_status (*describe)(nvp_layer *layer, const nvp_layer_config *config, size_t *indices);
    /* Recover the lists of the configuration. `mask` and `columns` have room for D entries. NULL: it has none. */
    void (*recover)(nvp_dtype dtype, const nvp_layer *layer, unsigned char *mask, size_t *columns,
                    nvp_layer_config *config);
} nvp_layer_kind;

/* By nvp_layer_type. */
extern const nvp_layer_kind nvp_layer_kinds[NVP_N_LAYER_TYPES];

#endif
