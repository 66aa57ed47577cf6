/* A training in progress, shared by the files train_*.c. */
#ifndef NVP_TRAINING_H
#define NVP_TRAINING_H

#include "adam.h"
#include "pass.h"
#include "train_state.h"

/* A worker's copy of a training. All workers run the same epochs and compute the same numbers and decisions, so that
 * they meet in the same passes. Only worker 0, the calling thread, has the caller's parameters and state, stores the
 * best parameters, calls the callback, and polls. */
typedef struct {
    const nvp_flow *flow;
    const nvp_train_options *options;
    nvp_workspace *workspace;
    nvp_shared_state *shared; /* of the team; NULL while there is none */
    size_t worker;
    size_t n_passes; /* so far */
    bool stop;       /* for worker 0: the caller has asked to stop, or the time is over */
    double begun_at; /* in seconds, where there is a time limit */
    nvp_status status;

    nvp_data data, validation;
    double mean_weight, mean_validation_weight;
    size_t *order; /* of the samples in this epoch; NULL: full batch */
    size_t batch_size;
    size_t last_epoch, team_last_epoch; /* of this call, and of the team */
    double n_steps_per_epoch, n_steps;  /* n_steps: of all epochs */
    double train_nll, validation_nll;   /* of the last epoch; NaN: not validated */

    bool shares_params; /* see nvp_take_step */
    void *params;
    nvp_train_state state; /* for workers other than 0 without last and best */
    double *chunk_squares; /* the gradient's sum of squares in each chunk */
    void *decays;          /* 1 for parameters with weight decay, otherwise 0 */
    void *epoch_start;     /* for worker 0: the parameters before the epoch */
    nvp_adam_options adam;
    nvp_update update;
} nvp_training;

/* The optimiser works on chunks of the parameters. */
size_t nvp_count_chunks(const nvp_flow *flow);

/* Point the update to the training's own rows. */
void nvp_init_update(nvp_training *t);

/* Take one step of the optimiser with the gradient of `pass`, a batch with this NLL. Return whether the NLL and the
 * gradient are finite; otherwise nothing is updated. */
bool nvp_take_step(nvp_training *t, const nvp_pass *pass, double nll);

/* Compute the mean NLL of the data, in a pass of all workers, or of the caller alone without a team. */
nvp_status nvp_measure(nvp_training *t, const void *params, const nvp_data *data, double mean_weight, double *nll);

/* Run the epochs up to team_last_epoch, within a task of the team. Sets t->status. */
void nvp_run_epochs(nvp_training *t);

/* Call the callback after an epoch, and set t->stop if it asks to stop. */
void nvp_report_epoch(nvp_training *t);

/* Run all epochs of this call, with one team, or with a team for each epoch if on_epoch_alone. */
nvp_status nvp_run_teams(nvp_training *t);

/* to = from, for rows with the length of the parameters. */
void nvp_copy_row(const nvp_training *t, void *to, const void *from);

#endif
