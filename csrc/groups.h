/* Expectations group by group: of rows that follow one another, under the components that are responsible for them. */
#ifndef NVP_GROUPS_H
#define NVP_GROUPS_H

#include "engine.h"
#include <stdbool.h>

/* Which components are responsible for which groups of rows, and memory for one group. */
typedef struct {
    size_t n_groups, n_passes; /* passes so far */
    bool *is_responsible;      /* (n_groups, k) */
    size_t *chosen;            /* (k) */
    double *numbers;           /* of the chosen components: what an expectation reads, and its sums */
} nvp_groups;

/* Groups of n rows. False: no memory. */
bool nvp_groups_allocate(nvp_groups *groups, size_t n, size_t dim, size_t k);
void nvp_groups_free(nvp_groups *groups);

/* As engine->expect, for the sums of samples of one class under a mixture that changes little from pass to pass. In
 * most passes only the components that were responsible for a group have a part in its sums. This is fast where rows
 * that follow one another are near each other: then few components are responsible for a group.
 *
 * Such steps still raise the likelihood: Neal and Hinton (1998), "A view of the EM algorithm that justifies
 * incremental, sparse, and other variants". */
nvp_status nvp_groups_expect(nvp_groups *groups, const nvp_engine *engine, const nvp_expectation *whole);

#endif
