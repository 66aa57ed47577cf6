/* The kinds of base densities: their names and fields, which do not depend on the precision. The engine has the table
 * of their functions. */
#ifndef NVP_BASE_KINDS_H
#define NVP_BASE_KINDS_H

#include "fields.h"
#include "flow.h"

typedef struct {
    const char *name;
    int version; /* first version of nvp_flow_decode's numbers with the kind; NVP_FIRST_WITH_ADDED for new ones */
    nvp_field fields[4]; /* of nvp_base_config, in the order of nvp_flow_decode; the last one has no name */
    bool reads_context;  /* and needs one */
    /* Whether reals are in their ranges. NULL: the forms of the fields are sufficient. */
    bool (*is_valid)(nvp_dtype dtype, size_t dim, const nvp_base_config *config);
} nvp_base_traits;

/* Each version before NVP_FIRST_WITH_KIND has a single base; the numbers of each before NVP_FIRST_WITH_ADDED lack the
 * added fields, which are 0. */
enum { NVP_FIRST_WITH_KIND = 3, NVP_FIRST_WITH_ADDED = 4 };

/* By nvp_base_kind. */
extern const nvp_base_traits nvp_base_kinds[NVP_N_BASE_KINDS];

#endif
