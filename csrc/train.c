/* Training: epochs of minibatches, clipped gradients, Adam, averages, and the parameters that did best. */
#include "checked.h"
#include "data.h"
#include "engine.h"
#include "options.h"
#include "plan.h"
#include "reals.h"
#include "rng.h"
#include "sized.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What a training takes along from one call to the next; a caller's state begins with it. */
typedef struct {
    uint64_t begun, ended, diverged, validated; /* ended: diverged or out of patience; validated: at least one epoch */
    uint64_t epochs, steps;                     /* so far; an epoch that was broken off is done again */
    uint64_t n_seen;                            /* samples used so far: each has noise of its own */
    uint64_t best_epoch; /* whose parameters are kept, for their validation NLL, or else training NLL: */
    double kept_validation_nll, kept_train_nll;
    uint64_t improved_at; /* the epoch with the last improvement that counts for patience, */
    double improved_nll;  /* and its validation NLL */
} progress;

/* The rest of a state is rows as long as the parameters. */
enum { HEADER = 128, STATE_ROWS = 5 };
_Static_assert(sizeof(progress) <= HEADER, "the rows begin behind the progress");

/* What a worker of the team has of a training. All workers run the same program, from the same numbers to the same
 * decisions, and meet in its passes, whose tiles and sums they share. Worker 0, the calling thread, alone talks to the
 * caller: it has the caller's parameters and state, keeps the best, and asks whether to stop. */
typedef struct {
    const nvp_flow *flow;
    const nvp_train_options *options;
    nvp_workspace *workspace;
    nvp_exchange *exchange; /* of the team, while it is at work; then NULL */
    size_t worker;
    size_t n_passes; /* so far */
    bool stop;       /* the caller said so; worker 0's */
    nvp_status status;

    size_t n, n_validation;
    nvp_data data, validation;
    double mean_weight, mean_validation_weight;
    size_t *order; /* of the samples; NULL for the full batch */
    size_t batch_size;
    size_t epochs_before;        /* this call */
    size_t last_epoch;           /* of this call, */
    size_t team_until;           /* and of the team at work */
    double epoch_steps, n_steps; /* in an epoch, and in all */

    bool shares_params; /* with the others; see below */
    void *params;
    progress *progress;
    void *m, *v, *average;
    double *squares; /* of the gradient, summed up part by part */
    void *decays;
    nvp_adam_options adam;
    nvp_update update;
    double nll; /* of the last batch */
    bool finite;
    double train_nll, validation_nll; /* of the last epoch */

    /* Worker 0's: rows of the state. last: where training stands, between calls; kept: what the caller gets with
     * validation data, or after divergence. */
    void *last, *kept;
    void *start, *given; /* start: where the epoch began; given: what the caller came with */
    void *own_state;     /* allocated here, when the caller has none */
    void *block;         /* one allocation for squares, start, given and decays */
} training;

/* The learning rate after `step` steps: a line up to its full size, then the schedule. */
static double learning_rate(const nvp_train_options *options, double step, double n_steps) {
    const double warmup = (double)options->warmup, full = options->learning_rate;
    if (step < warmup)
        return full * ((step + 1) / warmup);
    if (options->schedule == NVP_CONSTANT)
        return full;
    const double done = n_steps > warmup ? fmin(1, (step - warmup) / (n_steps - warmup)) : 1;
    const double last = options->final_fraction;
    return full * (last + (1 - last) * (0.5 * (1 + cos(3.14159265358979323846 * done))));
}

/* What the caller would get if training ended well here. */
static const void *present(const training *t) { return t->options->average > 0 ? t->average : t->params; }

/* The update of many parameters is shared out over the team: worker i has every part p of them with p % workers == i.
 * Where there is but one part, new parameters would take longer from one core to the next than they take to compute, so
 * each worker has parameters and moments of its own, and all of them take the same step. */

enum { PART = 8192 };

static size_t n_parts(const nvp_flow *flow) { return (flow->n_params + PART - 1) / PART; }

static size_t part_size(const nvp_flow *flow, size_t part) {
    const size_t left = flow->n_params - part * PART;
    return left < PART ? left : PART;
}

static void meet(const training *t) { nvp_team_meet(t->exchange->team, t->worker); }

/* Clipping by the global norm: Pascanu, Mikolov and Bengio (2013), algorithm 1. Parts are added in their order, so that
 * the bits do not depend on the team. False where the gradient is not finite, or so large that Adam's v, a mean of its
 * squares, would not be: a parameter with an infinite v never moves again. */
static bool clip_gradient(const training *t, double *scale) {
    double sum = 0;
    for (size_t part = 0; part < n_parts(t->flow); part++)
        sum += t->squares[part];
    const double norm = sqrt(sum), most = t->options->max_grad_norm;
    *scale = most > 0 && norm > most ? most / norm : 1;
    const double clipped = norm * *scale;
    return isfinite(sum) && clipped * clipped <= nvp_largest(t->flow->dtype);
}

/* One step along the gradient. Nothing is updated where the loss or its gradient is not finite. */
static void take_step(training *t) {
    const nvp_engine *engine = t->flow->engine;
    const size_t n = n_parts(t->flow), first = t->shares_params ? t->worker : 0;
    const size_t stride = t->shares_params ? nvp_team_size(t->exchange->team) : 1;
    for (size_t part = first; part < n; part += stride)
        t->squares[part] = engine->sum_of_squares(&t->update, part * PART, part_size(t->flow, part));
    if (t->shares_params)
        meet(t);
    t->finite = clip_gradient(t, &t->update.grad_scale) && isfinite(t->nll);
    for (size_t part = first; t->finite && part < n; part += stride)
        engine->update(&t->update, part * PART, part_size(t->flow, part));
    if (t->shares_params)
        meet(t);
}

/* What the coming step is like. An average with these weights is the exponential moving average divided by the sum
 * 1 - decay^step of its weights, which is to it what Adam's bias correction is to m. */
static void plan_step(training *t) {
    const double decay = t->options->average;
    t->adam.learning_rate = learning_rate(t->options, (double)t->progress->steps, t->n_steps);
    t->update.step = (size_t)t->progress->steps + 1;
    t->update.average_weight = decay > 0 ? (1 - decay) / (1 - pow(decay, (double)t->update.step)) : 0;
}

/* A pass that all workers run, or the caller alone after the training. */
static nvp_status run(training *t, nvp_pass *pass) {
    pass->flow = t->flow;
    pass->workspace = t->workspace;
    pass->inverse = true;
    pass->sum_log_prob = true;
    if (t->exchange) {
        pass->exchange = t->exchange;
        pass->worker = t->worker;
        pass->number = t->n_passes++;
        pass->stop = t->stop;
    }
    return t->flow->engine->run(pass);
}

/* One update from the batch that begins at sample `first`; t->nll is the batch's, before the update. t->finite is
 * false, and nothing is updated, where the loss or its gradient is not finite. */
static nvp_status train_batch(training *t, size_t first, size_t count) {
    nvp_pass pass = {.params = t->params,
                     .n = count,
                     .in = t->data.x,
                     .context = t->data.context,
                     .weight = t->data.weight,
                     .mean_weight = t->mean_weight,
                     .rows = t->order ? t->order + first : NULL,
                     .seed = t->options->seed,
                     .noise = t->options->noise,
                     .noise_from = t->progress->n_seen,
                     .nll_gradient = true};
    const nvp_status status = run(t, &pass);
    if (status != NVP_OK)
        return status;
    t->nll = -pass.log_prob_sum / (double)count;
    plan_step(t);
    memcpy(t->update.grad, pass.grads, sizeof pass.grads);
    take_step(t);
    t->progress->n_seen += count;
    t->progress->steps += t->finite;
    return NVP_OK;
}

/* A new order for all workers; none is in a pass, for none has met worker 0 since. */
static void shuffle(training *t, size_t epoch) {
    if (t->worker == 0)
        nvp_shuffle(t->options->seed, epoch, t->n, t->order);
    meet(t);
}

static nvp_status train_epoch(training *t, size_t epoch, double *nll, bool *finite) {
    if (t->order)
        shuffle(t, epoch);
    *nll = 0;
    *finite = true;
    for (size_t first = 0; first < t->n && *finite; first += t->batch_size) {
        const size_t left = t->n - first, count = left < t->batch_size ? left : t->batch_size;
        const nvp_status status = train_batch(t, first, count);
        if (status != NVP_OK)
            return status;
        *finite = t->finite;
        *nll += t->nll * ((double)count / (double)t->n);
    }
    return NVP_OK;
}

static nvp_status measure(training *t, const void *params, const nvp_data *data, double mean_weight, double *nll) {
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

static void copy(const training *t, void *to, const void *from) {
    memcpy(to, from, t->flow->n_params * t->flow->engine->real_size);
}

static void keep(training *t, const void *params, size_t epoch) {
    if (t->worker == 0)
        copy(t, t->kept, params);
    t->progress->best_epoch = epoch;
}

/* Keep the present parameters where they are the best so far; before the first epoch they are the starting ones. */
static nvp_status validate(training *t, size_t epoch, double *nll) {
    progress *p = t->progress;
    const nvp_status status = measure(t, present(t), &t->validation, t->mean_validation_weight, nll);
    if (status != NVP_OK)
        return status;
    p->validated |= epoch > 0;
    if (*nll < p->kept_validation_nll) {
        p->kept_validation_nll = *nll;
        keep(t, present(t), epoch);
    }
    if (*nll < p->improved_nll - t->options->tolerance) {
        p->improved_nll = *nll;
        p->improved_at = epoch;
    }
    return NVP_OK;
}

/* Without validation data, keep where the epoch began if that is the best so far: the training NLL is that of the
 * parameters before the updates. */
static void keep_start(training *t, size_t epoch, double nll) {
    if (nll < t->progress->kept_train_nll) {
        t->progress->kept_train_nll = nll;
        keep(t, t->start, epoch - 1);
    }
}

static bool validates(const training *t, size_t epoch) {
    const size_t every = t->options->validate_every;
    return t->n_validation && (every < 2 || epoch % every == 0 || epoch == t->options->max_epochs);
}

/* To the caller, who may say to stop. */
static void report_epoch(training *t) {
    const size_t epoch = (size_t)t->progress->epochs;
    t->stop = t->options->on_epoch(t->options->context, epoch, t->train_nll, t->validation_nll) != 0;
}

static nvp_status run_epoch(training *t, size_t epoch) {
    const nvp_train_options *options = t->options;
    double nll, held_out = NAN;
    bool finite;
    if (t->worker == 0 && t->n_validation == 0)
        copy(t, t->start, present(t));
    nvp_status status = train_epoch(t, epoch, &nll, &finite);
    const bool validated = finite && validates(t, epoch);
    if (status == NVP_OK && validated)
        status = validate(t, epoch, &held_out);
    if (status != NVP_OK)
        return status;
    if (t->n_validation == 0 && finite)
        keep_start(t, epoch, nll);
    t->progress->epochs = epoch;
    t->progress->diverged = !finite;
    t->progress->ended =
        !finite || (validated && options->patience && epoch - t->progress->improved_at >= options->patience);
    t->train_nll = nll, t->validation_nll = held_out;
    if (t->worker == 0 && options->on_epoch && !options->on_epoch_alone) {
        report_epoch(t);
        if (nvp_team_is_lost(t->exchange->team))
            return NVP_ERROR_FORKED;
    }
    return NVP_OK;
}

/* Worker 0 tells the others to stop with the next pass. */
static void run_epochs(training *t) {
    const bool alone = !t->exchange->team;
    if (t->progress->epochs == 0 && t->n_validation) {
        double held_out;
        t->status = validate(t, 0, &held_out);
    }
    while (t->status == NVP_OK && !t->progress->ended && !(t->stop && alone) && t->progress->epochs < t->team_until)
        t->status = run_epoch(t, (size_t)t->progress->epochs + 1);
    if (t->stop && t->status == NVP_INTERRUPTED)
        t->status = NVP_OK;
}

/* The parameters that the caller gets, whose NLL on the training data must be finite where it can be: a training that
 * ends well has not measured its last step, nor its averages, nor all samples with the same parameters. */
static nvp_status settle(training *t, bool check, nvp_train_result *result) {
    progress *p = t->progress;
    copy(t, t->last, t->params);
    const bool best = p->validated || p->diverged;
    const struct {
        const void *params;
        uint64_t epoch;
    } candidates[] = {{best                      ? t->kept
                       : t->options->average > 0 ? t->average
                                                 : t->last,
                       best ? p->best_epoch : p->epochs},
                      {t->kept, p->best_epoch},
                      {t->given, t->epochs_before}};
    nvp_status status = NVP_OK;
    double nll = NAN;
    size_t i = 0;
    for (; i < 3; i++) {
        copy(t, t->params, candidates[i].params);
        result->best_epoch = (size_t)candidates[i].epoch;
        if (!check)
            break;
        status = measure(t, t->params, &t->data, t->mean_weight, &nll);
        if (status != NVP_OK || isfinite(nll))
            break;
        p->ended = p->diverged = true;
    }
    result->epochs = (size_t)p->epochs;
    result->diverged = p->diverged != 0;
    result->validation_nll = p->validated && i < 2 && isfinite(p->kept_validation_nll) ? p->kept_validation_nll : NAN;
    return status;
}

nvp_status nvp_train_state_size(const nvp_flow *flow, size_t *size) {
    size_t row;
    if (!flow || !size)
        return NVP_ERROR_ARGUMENT;
    *size = HEADER;
    return nvp_multiply(flow->n_params, flow->engine->real_size, &row) && nvp_add_product(STATE_ROWS, row, size)
               ? NVP_OK
               : NVP_ERROR_SIZE;
}

/* At this training's own rows. */
static void aim_update(training *t) {
    t->update = (nvp_update){.adam = &t->adam,
                             .weight_decay = t->options->weight_decay,
                             .params = t->params,
                             .m = t->m,
                             .v = t->v,
                             .average = t->options->average > 0 ? t->average : NULL,
                             .decays = t->options->weight_decay > 0 ? t->decays : NULL};
}

/* Where things are in the state and in the block. */
static void lay_out(training *t, void *state) {
    const size_t row = t->flow->n_params * t->flow->engine->real_size;
    char *rows = (char *)state + HEADER;
    t->progress = state;
    t->last = rows, t->m = rows + row, t->v = rows + 2 * row, t->average = rows + 3 * row, t->kept = rows + 4 * row;
    t->squares = t->block;
    rows = (char *)(t->squares + n_parts(t->flow));
    t->start = rows, t->given = rows + row, t->decays = rows + 2 * row;
    aim_update(t);
}

static nvp_status allocate(training *t) {
    size_t row, bytes, state_bytes;
    if (!nvp_multiply(t->flow->n_params, t->flow->engine->real_size, &row) ||
        !nvp_multiply(n_parts(t->flow), sizeof *t->squares, &bytes) || !nvp_add_product(3, row, &bytes) ||
        nvp_train_state_size(t->flow, &state_bytes) != NVP_OK)
        return NVP_ERROR_SIZE;
    t->block = malloc(bytes);
    if (!t->options->state)
        t->own_state = calloc(state_bytes, 1);
    if (!t->block || !(t->options->state || t->own_state))
        return NVP_ERROR_MEMORY;
    if (t->batch_size == t->n)
        return NVP_OK;
    if (!nvp_multiply(t->n, sizeof *t->order, &bytes))
        return NVP_ERROR_SIZE;
    t->order = malloc(bytes);
    return t->order ? NVP_OK : NVP_ERROR_MEMORY;
}

/* Begin, or go on from the state. */
static nvp_status prepare(training *t) {
    t->batch_size = t->options->batch_size;
    if (t->batch_size == 0 || t->batch_size > t->n)
        t->batch_size = t->n;
    t->epoch_steps = ceil((double)t->n / (double)t->batch_size);
    t->n_steps = (double)t->options->max_epochs * t->epoch_steps;
    const nvp_status status = allocate(t);
    if (status != NVP_OK)
        return status;
    lay_out(t, t->options->state ? t->options->state : t->own_state);
    copy(t, t->given, t->params);
    if (t->update.decays)
        t->flow->engine->mark_decaying(t->flow, t->decays);
    if (t->progress->begun) {
        copy(t, t->params, t->last);
    } else {
        *t->progress = (progress){
            .begun = true, .kept_validation_nll = INFINITY, .kept_train_nll = INFINITY, .improved_nll = INFINITY};
        copy(t, t->average, t->params);
        copy(t, t->kept, t->params);
    }
    const size_t before = (size_t)t->progress->epochs, most = t->options->max_epochs, pause = t->options->pause_after;
    t->epochs_before = before;
    t->last_epoch = before < most && pause && pause < most - before ? before + pause : most;
    return NVP_OK;
}

/* The team: worker 0's training, and the others' in one allocation. */
typedef struct {
    training *first;
    char *others;
    size_t size; /* of each */
} team_training;

static training *training_of(const team_training *crew, size_t worker) {
    return worker ? (training *)(void *)(crew->others + (worker - 1) * crew->size) : crew->first;
}

/* A copy of worker 0's training for another. */
static void copy_training(training *t, const training *first, size_t worker, size_t row) {
    *t = *first;
    progress *own_progress = (progress *)(void *)((char *)t + sizeof *t);
    *own_progress = *first->progress;
    t->progress = own_progress;
    t->worker = worker;
    if (!t->shares_params) {
        t->squares = (double *)(void *)(own_progress + 1);
        char *rows = (char *)(t->squares + 1);
        copy(t, t->params = rows, first->params);
        copy(t, t->m = rows + row, first->m);
        copy(t, t->v = rows + 2 * row, first->v);
        copy(t, t->average = rows + 3 * row, first->average);
    }
    aim_update(t);
}

/* The others of the team. What a worker writes is no line of another's. */
static nvp_status make_others(team_training *crew) {
    const training *first = crew->first;
    const size_t n_others = nvp_team_size(first->workspace->team) - 1;
    const size_t row = first->flow->n_params * first->flow->engine->real_size;
    crew->size = sizeof(training) + sizeof(progress) + sizeof(double) + NVP_LINE;
    if (n_others == 0)
        return NVP_OK;
    if (!first->shares_params && !nvp_add_product(4, row, &crew->size))
        return NVP_ERROR_SIZE;
    size_t bytes;
    if (!nvp_add(crew->size, NVP_LINE - crew->size % NVP_LINE, &crew->size) ||
        !nvp_multiply(n_others, crew->size, &bytes))
        return NVP_ERROR_SIZE;
    crew->others = malloc(bytes);
    if (!crew->others)
        return NVP_ERROR_MEMORY;
    for (size_t worker = 1; worker <= n_others; worker++)
        copy_training(training_of(crew, worker), first, worker, row);
    return NVP_OK;
}

static void work(void *context, size_t worker) { run_epochs(training_of(context, worker)); }

/* How many workers can be of use in a step, each with a tile, or else with so many parameters to update that they are
 * worth the two meetings more. */
static size_t most_workers(const training *t) {
    enum { PARTS_EACH = 16 };
    const size_t tiles = nvp_count_tiles(t->flow, t->batch_size), shares = n_parts(t->flow) / PARTS_EACH;
    return tiles > shares ? tiles : shares;
}

/* Epochs up to t->team_until, by a team where they have enough to do for one. */
static nvp_status run_team(training *t) {
    nvp_workspace *workspace = t->workspace;
    nvp_exchange exchange;
    team_training crew = {.first = t};
    const double n_steps = t->epoch_steps * ((double)t->team_until - (double)t->progress->epochs);
    nvp_workspace_gather(workspace, (double)t->batch_size * (double)t->flow->n_params * n_steps, most_workers(t));
    t->exchange = &exchange;
    t->n_passes = 0;
    t->shares_params = workspace->team && n_parts(t->flow) > 1;
    const size_t most = t->n_validation > t->batch_size ? t->n_validation : t->batch_size;
    nvp_status status =
        t->flow->engine->open_exchange(&exchange, t->flow, workspace, most, workspace->team && !t->shares_params);
    if (status == NVP_OK)
        status = make_others(&crew);
    if (status == NVP_OK) {
        nvp_team_run(workspace->team, work, &crew);
        status = t->status;
    }
    nvp_workspace_dismiss(workspace);
    free(crew.others);
    t->exchange = NULL;
    return status;
}

/* All epochs of this call. A callback that must be alone is called between two teams. */
static nvp_status train(training *t) {
    const bool alone = t->options->on_epoch && t->options->on_epoch_alone;
    nvp_status status;
    do {
        const size_t before = (size_t)t->progress->epochs;
        t->team_until = alone && before < t->last_epoch ? before + 1 : t->last_epoch;
        status = run_team(t);
        if (alone && status == NVP_OK && t->progress->epochs > before)
            report_epoch(t);
    } while (status == NVP_OK && !t->stop && !t->progress->ended && t->progress->epochs < t->last_epoch);
    return status;
}

/* With what the caller gave, in the library's own structs, already checked. */
static nvp_status train_checked(training *t, nvp_train_result *result) {
    nvp_status status = prepare(t);
    if (status == NVP_OK) {
        status = train(t);
        if (status == NVP_OK)
            nvp_workspace_gather(t->workspace, (double)t->n * (double)t->flow->n_params,
                                 nvp_count_tiles(t->flow, t->n));
        const nvp_status settled = settle(t, status == NVP_OK, result);
        nvp_workspace_dismiss(t->workspace);
        if (status == NVP_OK)
            status = settled;
        if (status != NVP_OK && status != NVP_INTERRUPTED)
            copy(t, t->params, t->given);
    }
    free(t->own_state);
    free(t->block);
    free(t->order);
    return status;
}

nvp_status nvp_train(const nvp_flow *flow, void *params, const nvp_train_options *given, const nvp_data *data,
                     const nvp_data *validation, nvp_train_result *result, nvp_workspace *workspace) {
    nvp_train_options options;
    nvp_train_result own_result = NVP_TRAIN_RESULT(.validation_nll = NAN);
    training t = {.flow = flow, .options = &options, .workspace = workspace};
    if (!flow || !workspace || !nvp_has_parameters(flow, params) || !nvp_take_train_options(given, &options) ||
        !nvp_take_data(data, &t.data) || (validation && !nvp_take_data(validation, &t.validation)) ||
        (result && !nvp_accepts_result(result)))
        return NVP_ERROR_ARGUMENT;
    t.adam = nvp_adam_of(&options);
    options.learning_rate = t.adam.learning_rate;
    t.n = t.data.n, t.n_validation = t.validation.n;
    if (!nvp_check_training(flow, &options, &t.adam) || !nvp_check_data(flow, &t.data, &t.mean_weight) ||
        (t.n_validation && !nvp_check_data(flow, &t.validation, &t.mean_validation_weight)))
        return NVP_ERROR_ARGUMENT;
    t.params = params ? params : &own_result; /* where there are none, an address to copy nothing to */
    const nvp_status status = train_checked(&t, &own_result);
    if (result)
        nvp_give_result(result, &own_result);
    return status;
}
