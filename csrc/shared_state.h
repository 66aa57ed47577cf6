/* The state that the workers of a team share in a pass: the schedule of tiles, sums over tiles, and a flag to stop. */
#ifndef NVP_SHARED_STATE_H
#define NVP_SHARED_STATE_H

#include "team.h"

enum { NVP_HALVES = 2, NVP_BUFFERS = 2 };

/* One half of the tiles of a pass. */
typedef struct {
    char padding[NVP_CACHE_LINE];
    atomic_size_t next;  /* the first tile that no worker has taken, counted from the half's first tile */
    double log_prob_sum; /* over the half, of log_prob times weight / mean_weight */
} nvp_half;

/* Double buffering: in training, pass p uses buffer p % 2. So a worker may begin a pass while others still read the
 * sums of the last one. */
typedef struct {
    nvp_team *team;      /* NULL: the caller alone */
    char *scratch;       /* scratch memory of the workers */
    size_t scratch_size; /* bytes of each worker */
    /* Ticket locks: the ticket being served. There is one for each block of the gradient; the last one is for log_prob.
     * A tile's ticket is its number in the half. */
    atomic_size_t *now_serving[NVP_BUFFERS][NVP_HALVES];
    void *grads[NVP_BUFFERS][NVP_HALVES]; /* sums over the half; NULL: not wanted */
    bool double_buffered_grads;           /* each buffer has its own gradients */
    atomic_size_t stopped;                /* the number of the pass that was stopped; SIZE_MAX: none */
    nvp_half halves[NVP_BUFFERS][NVP_HALVES];
} nvp_shared_state;

#endif
