/* What a flow's layers look like in a file: the one table for reading and writing them. A new kind of layer is an entry
 * of it. */
#ifndef NVP_DESCRIPTION_H
#define NVP_DESCRIPTION_H

#include "flow.h"

/* What a field of nvp_layer_config holds. */
typedef enum {
    NVP_CHOICE,             /* an enumeration, or a truth value, as an int */
    NVP_REAL,               /* a double */
    NVP_COUNT,              /* a size_t */
    NVP_WIDTHS,             /* `hidden`, n_hidden of them */
    NVP_MASK,               /* `mask`, D zeros and ones */
    NVP_PERMUTATION_COLUMNS /* `permutation`, D sizes */
} nvp_form;

typedef struct {
    const char *name; /* in Python's configuration; NULL: the list has ended */
    nvp_form form;
    size_t offset;          /* in nvp_layer_config, of the first three forms */
    const char *choices[4]; /* the names of an enumeration, and NULL */
} nvp_field;

typedef struct {
    const char *name;
    nvp_field fields[7]; /* in the order of nvp_flow_decode */
} nvp_kind;

extern const nvp_kind nvp_kinds[NVP_N_LAYER_TYPES];

int nvp_get_choice(const nvp_layer_config *config, const nvp_field *field);
double nvp_get_real(const nvp_layer_config *config, const nvp_field *field);
size_t nvp_get_count(const nvp_layer_config *config, const nvp_field *field);

/* What nvp_flow_create was given for layer l. `mask` and `columns` have room for D entries, of which it makes use. A
 * scale_bound that means nothing may have been any number; in a file it must be one that could be a bound. */
void nvp_recover_config(const nvp_flow *flow, size_t l, unsigned char *mask, size_t *columns, nvp_layer_config *config);

#endif
