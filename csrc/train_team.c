/* Teams for training: each worker has a copy of the training, and all run the same epochs. */
#include "checked.h"
#include "engine.h"
#include "plan.h"
#include "training.h"
#include <stdlib.h>

/* The training of worker 0, and the copies of the other workers in one allocation. */
typedef struct {
    nvp_training *original;
    char *copies;
    size_t copy_size;
} workers;

static nvp_training *training_of(const workers *all, size_t worker) {
    return worker ? (nvp_training *)(void *)(all->copies + (worker - 1) * all->copy_size) : all->original;
}

/* The copy is followed by its progress and, unless the parameters are shared, by chunk_squares and four rows. */
static void copy_training(nvp_training *t, const nvp_training *original, size_t worker, size_t row) {
    *t = *original;
    nvp_progress *progress = (nvp_progress *)(void *)((char *)t + sizeof *t);
    *progress = *original->state.progress;
    t->state.progress = progress;
    t->worker = worker;
    if (!t->shares_params) {
        t->chunk_squares = (double *)(void *)(progress + 1);
        char *rows = (char *)(t->chunk_squares + 1);
        nvp_copy_row(t, t->params = rows, original->params);
        nvp_copy_row(t, t->state.m = rows + row, original->state.m);
        nvp_copy_row(t, t->state.v = rows + 2 * row, original->state.v);
        nvp_copy_row(t, t->state.average = rows + 3 * row, original->state.average);
    }
    nvp_init_update(t);
}

/* Copies occupy whole cache lines, against false sharing. */
static nvp_status copy_for_workers(workers *all) {
    const nvp_training *original = all->original;
    const size_t n_copies = nvp_team_size(original->workspace->team) - 1;
    const size_t row = original->flow->n_params * original->flow->engine->real_size;
    all->copy_size = sizeof(nvp_training) + sizeof(nvp_progress) + sizeof(double) + NVP_CACHE_LINE;
    if (n_copies == 0)
        return NVP_OK;
    if (!original->shares_params && !nvp_add_product(4, row, &all->copy_size))
        return NVP_ERROR_SIZE;
    size_t bytes;
    if (!nvp_add(all->copy_size, NVP_CACHE_LINE - all->copy_size % NVP_CACHE_LINE, &all->copy_size) ||
        !nvp_multiply(n_copies, all->copy_size, &bytes))
        return NVP_ERROR_SIZE;
    all->copies = malloc(bytes);
    if (!all->copies)
        return NVP_ERROR_MEMORY;
    for (size_t worker = 1; worker <= n_copies; worker++)
        copy_training(training_of(all, worker), original, worker, row);
    return NVP_OK;
}

static void run_worker(void *context, size_t worker) { nvp_run_epochs(training_of(context, worker)); }

/* A worker is useful if it has a tile of each batch, or enough chunks to update to outweigh two more barriers. */
static size_t max_workers(const nvp_training *t) {
    enum { CHUNKS_PER_WORKER = 16 };
    const size_t by_tiles = nvp_count_tiles(t->flow, t->batch_size);
    const size_t by_chunks = nvp_count_chunks(t->flow) / CHUNKS_PER_WORKER;
    return by_tiles > by_chunks ? by_tiles : by_chunks;
}

static void start_team(const nvp_training *t) {
    const double n_epochs = (double)t->team_last_epoch - (double)t->state.progress->epochs;
    nvp_workspace_start_team(t->workspace,
                             (double)t->batch_size * (double)t->flow->n_params * (t->n_steps_per_epoch * n_epochs),
                             max_workers(t));
}

/* Run the epochs up to team_last_epoch with a team. */
static nvp_status run_team(nvp_training *t) {
    nvp_workspace *workspace = t->workspace;
    nvp_shared_state shared;
    workers all = {.original = t};
    start_team(t);
    t->shared = &shared;
    t->n_passes = 0;
    t->shares_params = workspace->team && nvp_count_chunks(t->flow) > 1;
    const size_t largest = t->validation.n > t->batch_size ? t->validation.n : t->batch_size;
    nvp_status status =
        t->flow->engine->init_shared_state(&shared, t->flow, workspace, largest, workspace->team && !t->shares_params);
    if (status == NVP_OK)
        status = copy_for_workers(&all);
    if (status == NVP_OK) {
        nvp_team_run(workspace->team, run_worker, &all);
        status = t->status;
    }
    nvp_workspace_stop_team(workspace);
    free(all.copies);
    t->shared = NULL;
    return status;
}

nvp_status nvp_run_teams(nvp_training *t) {
    const nvp_progress *progress = t->state.progress;
    const bool alone = t->options->on_epoch && t->options->on_epoch_alone;
    nvp_status status;
    do {
        const size_t before = (size_t)progress->epochs;
        t->team_last_epoch = alone && before < t->last_epoch ? before + 1 : t->last_epoch;
        status = run_team(t);
        if (alone && status == NVP_OK && progress->epochs > before)
            nvp_report_epoch(t);
    } while (status == NVP_OK && !t->stop && !progress->ended && progress->epochs < t->last_epoch);
    return status;
}
