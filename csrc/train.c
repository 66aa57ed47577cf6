/* The public training function: memory, the epochs of this call, and the choice of the returned parameters. */
#include "checked.h"
#include "data.h"
#include "engine.h"
#include "interrupt.h"
#include "options.h"
#include "plan.h"
#include "reals.h"
#include "sized.h"
#include "training.h"
#include <math.h>
#include <stdlib.h>

typedef struct {
    void *state;     /* if the caller passed none */
    size_t *order;   /* NULL: full batch */
    double *squares; /* one block for the rest */
    void *initial;   /* the parameters that the caller passed */
} buffers;

static nvp_status allocate(const nvp_training *t, buffers *memory) {
    size_t row, bytes, state_bytes;
    if (!nvp_multiply(t->flow->n_params, t->flow->engine->real_size, &row) ||
        !nvp_multiply(nvp_count_chunks(t->flow), sizeof *memory->squares, &bytes) || !nvp_add_product(3, row, &bytes) ||
        nvp_train_state_size(t->flow, &state_bytes) != NVP_OK)
        return NVP_ERROR_SIZE;
    memory->squares = malloc(bytes);
    if (!t->options->state)
        memory->state = calloc(state_bytes, 1);
    if (!memory->squares || !(t->options->state || memory->state))
        return NVP_ERROR_MEMORY;
    if (t->batch_size == t->data.n)
        return NVP_OK;
    if (!nvp_multiply(t->data.n, sizeof *memory->order, &bytes))
        return NVP_ERROR_SIZE;
    memory->order = malloc(bytes);
    return memory->order ? NVP_OK : NVP_ERROR_MEMORY;
}

static void release(buffers *memory) {
    free(memory->state);
    free(memory->squares);
    free(memory->order);
}

/* Three rows follow the sums of squares. */
static void assign_memory(nvp_training *t, buffers *memory) {
    const size_t row = t->flow->n_params * t->flow->engine->real_size;
    char *rows = (char *)(memory->squares + nvp_count_chunks(t->flow));
    t->state = nvp_train_state_at(t->flow, t->options->state ? t->options->state : memory->state);
    t->chunk_squares = memory->squares;
    t->epoch_start = rows, memory->initial = rows + row, t->decays = rows + 2 * row;
    t->order = memory->order;
    nvp_init_update(t);
}

/* Set the numbers of epochs and steps, from the options and the state. */
static void count_steps(nvp_training *t) {
    const size_t n = t->data.n, most = t->options->max_epochs, before = (size_t)t->state.progress->epochs;
    const size_t pause = t->options->pause_after;
    t->n_steps_per_epoch = ceil((double)n / (double)t->batch_size);
    t->n_steps = (double)most * t->n_steps_per_epoch;
    t->last_epoch = before < most && pause && pause < most - before ? before + pause : most;
}

/* Begin, or resume from the state. */
static nvp_status prepare(nvp_training *t, buffers *memory) {
    const size_t n = t->data.n, batch_size = t->options->batch_size;
    t->batch_size = batch_size && batch_size < n ? batch_size : n;
    const nvp_status status = allocate(t, memory);
    if (status != NVP_OK)
        return status;
    assign_memory(t, memory);
    nvp_copy_row(t, memory->initial, t->params);
    if (t->options->time_limit > 0)
        t->begun_at = nvp_seconds();
    if (t->update.decays)
        t->flow->engine->mark_decaying(t->flow, t->decays);
    if (t->state.progress->begun)
        nvp_copy_row(t, t->params, t->state.last);
    else
        nvp_begin_train_state(&t->state, t->flow, t->params);
    count_steps(t);
    return NVP_OK;
}

typedef struct {
    const void *params;
    uint64_t epoch;
} candidate;

/* The parameters to return by the rules of nvp_train. */
static candidate first_choice(const nvp_training *t) {
    const nvp_progress *progress = t->state.progress;
    if (progress->validated || progress->diverged)
        return (candidate){t->state.best, progress->best_epoch};
    return (candidate){t->options->average > 0 ? t->state.average : t->state.last, progress->epochs};
}

/* Return the parameters of the result to the caller. If `check`, their NLL on the training data must be finite, or else
 * earlier parameters are returned. Until now neither the parameters of the last step, nor the average, nor all samples
 * with the same parameters have been evaluated. */
static nvp_status choose_result(nvp_training *t, candidate initial, bool check, nvp_train_result *result) {
    nvp_progress *progress = t->state.progress;
    nvp_copy_row(t, t->state.last, t->params);
    const candidate candidates[] = {first_choice(t), {t->state.best, progress->best_epoch}, initial};
    nvp_status status = NVP_OK;
    double nll = NAN;
    size_t i = 0;
    for (; i < 3; i++) {
        nvp_copy_row(t, t->params, candidates[i].params);
        result->best_epoch = (size_t)candidates[i].epoch;
        if (!check)
            break;
        status = nvp_measure(t, t->params, &t->data, t->mean_weight, &nll);
        if (status != NVP_OK || isfinite(nll))
            break;
        progress->ended = progress->diverged = true;
    }
    const double best_nll = progress->best_validation_nll;
    result->epochs = (size_t)progress->epochs;
    result->diverged = progress->diverged != 0;
    result->validation_nll = progress->validated && i < 2 && isfinite(best_nll) ? best_nll : NAN;
    return status;
}

/* The epochs of this call, after prepare. */
static nvp_status train(nvp_training *t, void *initial_params, nvp_train_result *result) {
    const candidate initial = {initial_params, t->state.progress->epochs};
    const bool resumes = t->state.progress->epochs > 0;
    nvp_status status = nvp_run_teams(t);
    if (status == NVP_OK)
        nvp_workspace_start_team(t->workspace, (double)t->data.n * (double)t->flow->n_params,
                                 nvp_count_tiles(t->flow, t->data.n));
    const nvp_status chosen = choose_result(t, initial, status == NVP_OK, result);
    nvp_workspace_stop_team(t->workspace);
    if (status == NVP_OK)
        status = chosen;
    if (status != NVP_OK && status != NVP_INTERRUPTED) {
        nvp_copy_row(t, t->params, initial.params);
        t->state.progress->begun = resumes; /* the next call may have other parameters */
    }
    return status;
}

/* Copy and check the caller's structs. False: an argument is out of its range. */
static bool read_arguments(nvp_training *t, nvp_train_options *options, const nvp_train_options *given,
                           const nvp_data *data, const nvp_data *validation) {
    if (!nvp_take_train_options(given, options) || !nvp_take_data(data, &t->data) ||
        (validation && !nvp_take_data(validation, &t->validation)))
        return false;
    t->adam = nvp_adam_of(options);
    options->learning_rate = t->adam.learning_rate;
    t->options = options;
    return nvp_check_training(t->flow, options, &t->adam) && nvp_check_data(t->flow, &t->data, &t->mean_weight) &&
           (!t->validation.n || nvp_check_data(t->flow, &t->validation, &t->mean_validation_weight));
}

nvp_status nvp_train(const nvp_flow *flow, void *params, const nvp_train_options *given, const nvp_data *data,
                     const nvp_data *validation, nvp_train_result *result, nvp_workspace *workspace) {
    nvp_train_options options;
    nvp_train_result own_result = NVP_TRAIN_RESULT(.validation_nll = NAN);
    nvp_training t = {.flow = flow, .workspace = workspace};
    buffers memory = {0};
    if (!flow || !workspace || !nvp_has_parameters(flow, params) || (result && !nvp_accepts_result(result)) ||
        !read_arguments(&t, &options, given, data, validation))
        return NVP_ERROR_ARGUMENT;
    t.params = params ? params : &own_result; /* without parameters: a valid address, to which nothing is copied */
    nvp_status status = prepare(&t, &memory);
    if (status == NVP_OK)
        status = train(&t, memory.initial, &own_result);
    release(&memory);
    if (result)
        nvp_give_result(result, &own_result);
    return status;
}
