/* The training state, from which a later call resumes. */
#ifndef NVP_TRAIN_STATE_H
#define NVP_TRAIN_STATE_H

#include "flow.h"

/* The beginning of a caller's state; all zeros before the first call. */
typedef struct {
    uint64_t begun, ended, diverged, validated; /* ended: diverged or out of patience; validated: at least one epoch */
    uint64_t epochs, steps;                     /* completed; an interrupted epoch is repeated */
    uint64_t n_seen;                            /* samples used so far; each has its own noise */
    uint64_t best_epoch; /* that with the lowest validation NLL, or training NLL without validation data */
    double best_validation_nll, best_train_nll;
    uint64_t improved_at; /* the epoch of the last improvement that counts for patience, */
    double improved_nll;  /* and its validation NLL */
} nvp_progress;

/* The progress and the rows that follow it. Each row has the length of the parameters. */
typedef struct {
    nvp_progress *progress;
    void *last; /* the parameters, between calls */
    void *m, *v, *average;
    void *best; /* the parameters to return if training was validated or has diverged */
} nvp_train_state;

nvp_train_state nvp_train_state_at(const nvp_flow *flow, void *memory);

/* The state before the first epoch. */
void nvp_begin_train_state(const nvp_train_state *state, const nvp_flow *flow, const void *params);

#endif
