/* What the workers of a team exchange in a pass. */
#ifndef NVP_EXCHANGE_H
#define NVP_EXCHANGE_H

#include "threads.h"

enum { NVP_HALVES = 2, NVP_BUFFERS = 2 };

/* Half of the tiles of a pass, and what changes while they are worked on. */
typedef struct {
    char apart[NVP_LINE]; /* from the lines of the other half */
    atomic_size_t next;   /* the tile that nobody has taken yet, counted from the half's first one */
    double log_prob_sum;  /* over the half, of log_prob times weight / mean_weight */
} nvp_half;

/* What the workers of a team exchange in a pass: tiles, sums over them, and the word to stop. Passes that every worker
 * runs by itself, one after the other, take the two buffers in turn: a worker may be in the next pass while others
 * still read the sums of the last one. */
typedef struct {
    nvp_team *team;                                /* NULL: the caller alone */
    char *rows;                                    /* each worker's scratch memory, */
    size_t rows_size;                              /* so many bytes */
    atomic_size_t *turns[NVP_BUFFERS][NVP_HALVES]; /* for each block of the gradient, and last for log_prob, the tile
                                                      whose turn it is, counted from the half's first one */
    void *grads[NVP_BUFFERS][NVP_HALVES];          /* sums over the half; NULL: not wanted */
    bool alternates;                               /* the two buffers have gradients of their own */
    atomic_size_t stopped;                         /* the number of the pass that is not finished; SIZE_MAX: none */
    nvp_half halves[NVP_BUFFERS][NVP_HALVES];
} nvp_exchange;

#endif
