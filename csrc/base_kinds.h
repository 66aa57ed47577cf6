/* The kinds of base densities, whatever the precision: their names and fields. What they compute is in the engine's
 * table. */
#ifndef NVP_BASE_KINDS_H
#define NVP_BASE_KINDS_H

#include "fields.h"
#include "flow.h"

typedef struct {
    const char *name;
    int version; /* of the numbers of nvp_flow_decode, the first one that has it; NVP_FIRST_WITH_KIND from now on */
    nvp_field fields[4]; /* of nvp_base_config, in the order of nvp_flow_decode; the last one has no name */
} nvp_base_traits;

/* Versions before this one were those of one base each: the number of the version says which it is. */
enum { NVP_FIRST_WITH_KIND = 3 };

/* By nvp_base_kind. */
extern const nvp_base_traits nvp_base_kinds[NVP_N_BASE_KINDS];

#endif
