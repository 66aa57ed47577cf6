/* The state of a training, from which a later call resumes. */
#ifndef NVP_TRAIN_STATE_H
#define NVP_TRAIN_STATE_H

#include "flow.h"

/* The beginning of a caller's state; all zeros before the first call. */
typedef struct {
    uint64_t begun, ended, diverged, validated; /* ended: diverged or out of patience; validated: at least one epoch */
    uint64_t epochs, steps;                     /* completed; an interrupted epoch is repeated */
    uint64_t n_seen;                            /* samples used so far: each has noise of its own */
    uint64_t best_epoch; /* whose parameters have the lowest validation NLL, or without validation data training NLL: */
    double best_validation_nll, best_train_nll;
    uint64_t improved_at; /* the epoch of the last improvement that counts for patience, */
    double improved_nll;  /* and its validation NLL */
} nvp_progress;

/* The progress and the rows behind it, each as long as the parameters. */
typedef struct {
    nvp_progress *progress;
    void *last; /* parameters, between calls */
    void *m, *v, *average;
    void *best; /* parameters: the result of a training that was validated, or has diverged */
} nvp_train_state;

nvp_train_state nvp_train_state_at(const nvp_flow *flow, void *memory);

/* The state before the first epoch. */
void nvp_begin_train_state(const nvp_train_state *state, const nvp_flow *flow, const void *params);

#endif
