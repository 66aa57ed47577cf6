/* A training under way: what the files train_*.c share. */
#ifndef NVP_TRAINING_H
#define NVP_TRAINING_H

#include "adam.h"
#include "pass.h"
#include "train_state.h"

/* A worker's copy of a training. All workers run the same epochs, and compute the same numbers and decisions, so that
 * they meet in the same passes. Worker 0, the calling thread, alone has the caller's parameters and state, stores the
 * best parameters, calls the caller back, and polls. */
typedef struct {
    const nvp_flow *flow;
    const nvp_train_options *options;
    nvp_workspace *workspace;
    nvp_shared_state *shared; /* of the team; NULL while there is none */
    size_t worker;
    size_t n_passes; /* so far */
    bool stop;       /* worker 0's: the caller has asked to stop */
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
    nvp_train_state state; /* of other workers than 0: without last and best */
    double *chunk_squares; /* the gradient's sums of squares, chunk by chunk */
    void *decays;          /* 1 where weights decay, otherwise 0 */
    void *epoch_start;     /* worker 0's: the parameters before the epoch */
    nvp_adam_options adam;
    nvp_update update;
} nvp_training;

/* The optimiser works on chunks of the parameters. */
size_t nvp_count_chunks(const nvp_flow *flow);

/* Point the update at the training's own rows. */
void nvp_init_update(nvp_training *t);

/* One step of the optimiser along the gradient of `pass`, a batch with this NLL. Returns whether the NLL and the
 * gradient are finite; otherwise nothing is updated. */
bool nvp_take_step(nvp_training *t, const nvp_pass *pass, double nll);

/* The mean NLL of the data, in a pass of all workers, or without a team of the caller alone. */
nvp_status nvp_measure(nvp_training *t, const void *params, const nvp_data *data, double mean_weight, double *nll);

/* Epochs up to team_last_epoch, within a task of the team. Sets t->status. */
void nvp_run_epochs(nvp_training *t);

/* Call the caller back after an epoch; t->stop becomes its answer. */
void nvp_report_epoch(nvp_training *t);

/* All epochs of this call, by one team, or with on_epoch_alone by a team for each epoch. */
nvp_status nvp_run_teams(nvp_training *t);

/* to = from, rows as long as the parameters. */
void nvp_copy_row(const nvp_training *t, void *to, const void *from);

#endif
