/* Epochs: minibatches, validation, early stopping. */
#include "engine.h"
#include "interrupt.h"
#include "rng.h"
#include "training.h"
#include <math.h>
#include <string.h>

void nvp_copy_row(const nvp_training *t, void *to, const void *from) {
    memcpy(to, from, t->flow->n_params * t->flow->engine->real_size);
}

/* The parameters to validate, which are the result if training ends here. */
static const void *current_result(const nvp_training *t) {
    return t->options->average > 0 ? t->state.average : t->params;
}

static nvp_status run(nvp_training *t, nvp_pass *pass) {
    pass->flow = t->flow;
    pass->workspace = t->workspace;
    pass->inverse = true;
    pass->sum_log_prob = true;
    if (t->shared) {
        pass->shared = t->shared;
        pass->worker = t->worker;
        pass->number = t->n_passes++;
        pass->stop = t->stop;
    }
    return t->flow->engine->run(pass);
}

nvp_status nvp_measure(nvp_training *t, const void *params, const nvp_data *data, double mean_weight, double *nll) {
    nvp_pass pass = {.params = params,
                     .n = data->n,
                     .in = data->x,
                     .context = data->context,
                     .weight = data->weight,
                     .mean_weight = mean_weight};
    const nvp_status status = run(t, &pass);
    *nll = -pass.log_prob_sum / (double)data->n;
    return status;
}

/* One update on samples first, ..., first + count - 1 of the epoch. *nll: that of the batch, before the update. */
static nvp_status train_batch(nvp_training *t, size_t first, size_t count, double *nll, bool *finite) {
    nvp_progress *progress = t->state.progress;
    nvp_pass pass = {.params = t->params,
                     .n = count,
                     .in = t->data.x,
                     .context = t->data.context,
                     .weight = t->data.weight,
                     .mean_weight = t->mean_weight,
                     .rows = t->order ? t->order + first : NULL,
                     .seed = t->options->seed,
                     .noise = t->options->noise,
                     .noise_from = progress->n_seen,
                     .nll_gradient = true};
    const nvp_status status = run(t, &pass);
    if (status != NVP_OK)
        return status;
    *nll = -pass.log_prob_sum / (double)count;
    *finite = nvp_take_step(t, &pass, *nll);
    progress->n_seen += count;
    progress->steps += *finite;
    return NVP_OK;
}

/* Shuffle the samples for all workers. No worker still reads the old order: the last pass ended with a barrier. */
static void shuffle(nvp_training *t, size_t epoch) {
    if (t->worker == 0)
        nvp_shuffle(t->options->seed, epoch, t->data.n, t->order);
    nvp_team_barrier(t->shared->team, t->worker);
}

/* Train on all batches, or until a loss or gradient is not finite. *nll: the mean over the batches. */
static nvp_status train_batches(nvp_training *t, size_t epoch, double *nll, bool *finite) {
    const size_t n = t->data.n;
    if (t->order)
        shuffle(t, epoch);
    *nll = 0;
    *finite = true;
    for (size_t first = 0; first < n && *finite; first += t->batch_size) {
        const size_t left = n - first, count = left < t->batch_size ? left : t->batch_size;
        double batch_nll;
        const nvp_status status = train_batch(t, first, count, &batch_nll, finite);
        if (status != NVP_OK)
            return status;
        *nll += batch_nll * ((double)count / (double)n);
    }
    return NVP_OK;
}

static void store_best(nvp_training *t, const void *params, size_t epoch) {
    if (t->worker == 0)
        nvp_copy_row(t, t->state.best, params);
    t->state.progress->best_epoch = epoch;
}

/* Compute the validation NLL, and store the parameters if it is the lowest so far. Epoch 0: the initial parameters. */
static nvp_status validate(nvp_training *t, size_t epoch, double *nll) {
    nvp_progress *progress = t->state.progress;
    const nvp_status status = nvp_measure(t, current_result(t), &t->validation, t->mean_validation_weight, nll);
    if (status != NVP_OK)
        return status;
    progress->validated |= epoch > 0;
    if (*nll < progress->best_validation_nll) {
        progress->best_validation_nll = *nll;
        store_best(t, current_result(t), epoch);
    }
    if (*nll < progress->improved_nll - t->options->tolerance) {
        progress->improved_nll = *nll;
        progress->improved_at = epoch;
    }
    return NVP_OK;
}

/* Without validation data, store the parameters from the start of the epoch if the training NLL, which is computed
 * before the updates, is the lowest so far. */
static void store_epoch_start(nvp_training *t, size_t epoch, double nll) {
    if (nll < t->state.progress->best_train_nll) {
        t->state.progress->best_train_nll = nll;
        store_best(t, t->epoch_start, epoch - 1);
    }
}

static bool is_validated(const nvp_training *t, size_t epoch) {
    const size_t every = t->options->validate_every;
    return t->validation.n && (every < 2 || epoch % every == 0 || epoch == t->options->max_epochs);
}

void nvp_report_epoch(nvp_training *t) {
    const size_t epoch = (size_t)t->state.progress->epochs;
    t->stop |= t->options->on_epoch(t->options->context, epoch, t->train_nll, t->validation_nll) != 0;
}

static bool time_is_over(const nvp_training *t) {
    return t->options->time_limit > 0 && nvp_seconds() - t->begun_at >= t->options->time_limit;
}

/* The end of an epoch for worker 0. Without on_epoch_alone, the callback runs between two epochs of the team. It may
 * fork. */
static nvp_status end_epoch(nvp_training *t) {
    if (t->worker != 0)
        return NVP_OK;
    t->stop = time_is_over(t);
    if (!t->options->on_epoch || t->options->on_epoch_alone)
        return NVP_OK;
    nvp_report_epoch(t);
    return nvp_team_is_forked(t->shared->team) ? NVP_ERROR_FORKED : NVP_OK;
}

static nvp_status run_epoch(nvp_training *t, size_t epoch) {
    nvp_progress *progress = t->state.progress;
    const size_t patience = t->options->patience;
    double nll, validation_nll = NAN;
    bool finite;
    if (t->worker == 0 && t->validation.n == 0)
        nvp_copy_row(t, t->epoch_start, current_result(t));
    nvp_status status = train_batches(t, epoch, &nll, &finite);
    const bool validated = finite && is_validated(t, epoch);
    if (status == NVP_OK && validated)
        status = validate(t, epoch, &validation_nll);
    if (status != NVP_OK)
        return status;
    if (t->validation.n == 0 && finite)
        store_epoch_start(t, epoch, nll);
    progress->epochs = epoch;
    progress->diverged = !finite;
    progress->ended = !finite || (validated && patience && epoch - progress->improved_at >= patience);
    t->train_nll = nll, t->validation_nll = validation_nll;
    return end_epoch(t);
}

/* If the caller asks to stop, worker 0 interrupts the next pass. This ends the training of all workers. */
void nvp_run_epochs(nvp_training *t) {
    const nvp_progress *progress = t->state.progress;
    const bool alone = !t->shared->team;
    if (progress->epochs == 0 && t->validation.n) {
        double validation_nll;
        t->status = validate(t, 0, &validation_nll);
    }
    while (t->status == NVP_OK && !progress->ended && !(t->stop && alone) && progress->epochs < t->team_last_epoch)
        t->status = run_epoch(t, (size_t)progress->epochs + 1);
    if (t->stop && t->status == NVP_INTERRUPTED)
        t->status = NVP_OK;
}
