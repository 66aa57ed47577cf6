/* Training: epochs of minibatches, clipped gradients, Adam, averages, and the parameters that did best. */
#include "checked.h"
#include "core.h"
#include "rng.h"
#include <float.h>
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

typedef struct {
    const nvp_flow *flow;
    const nvp_train_options *options;
    nvp_workspace *workspace;
    void *params;
    size_t n, n_validation;
    nvp_data data, validation;
    double mean_weight, mean_validation_weight;

    progress *progress;
    void *last, *m, *v, *average, *kept; /* rows of the state. last: where training stands, between calls; kept: what
                                            the caller gets with validation data, or after divergence */
    void *own_state;                     /* allocated here, when the caller has none */
    void *block;                         /* one allocation for the next four */
    double *squares;                     /* of the gradient, summed up part by part */
    void *start, *given, *decays;        /* start: where the epoch began; given: what the caller came with */
    void *copies;                        /* of worker 1 and the others, or NULL; see below */
    size_t copied_row;
    size_t *order; /* of the samples; NULL for the full batch */
    size_t batch_size;
    size_t epochs_before; /* this call */
    double n_steps;       /* in all epochs */
    nvp_adam_options adam;
    nvp_update update;
    size_t count; /* samples of the batch at hand, */
    double nll;   /* and theirs */
    bool finite;
} training;

/* The learning rate after `step` steps: a line up to its full size, then the schedule. */
static double learning_rate(const nvp_train_options *options, double step, double n_steps) {
    const double warmup = (double)options->warmup, full = options->adam.learning_rate;
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
 * each worker has a copy of parameters and moments of its own, and all of them take the same step. */

enum { PART = 8192, COPIED_ROWS = 4 };

static size_t n_parts(const nvp_flow *flow) { return (flow->n_params + PART - 1) / PART; }

static size_t part_size(const nvp_flow *flow, size_t part) {
    const size_t left = flow->n_params - part * PART;
    return left < PART ? left : PART;
}

static size_t copy_size(const training *t) { return COPIED_ROWS * t->copied_row; }

/* What the worker updates. */
static nvp_update update_of(const training *t, size_t worker, const nvp_sums *sums) {
    nvp_update update = t->update;
    update.grad[0] = sums->grad[0], update.grad[1] = sums->grad[1];
    if (worker && t->copies) {
        char *rows = (char *)t->copies + (worker - 1) * copy_size(t);
        update.params = rows;
        update.m = rows + t->copied_row, update.v = rows + 2 * t->copied_row;
        update.average = update.average ? rows + 3 * t->copied_row : NULL;
    }
    return update;
}

/* Clipping by the global norm: Pascanu, Mikolov and Bengio (2013), algorithm 1. Parts are added in their order, so that
 * the bits do not depend on the team. False where the gradient is not finite, or so large that Adam's v, a mean of its
 * squares, would not be: a parameter with an infinite v never moves again. */
static bool clip_gradient(const training *t, const double *squares, double *scale) {
    double sum = 0;
    for (size_t part = 0; part < n_parts(t->flow); part++)
        sum += squares[part];
    const double norm = sqrt(sum), most = t->options->max_grad_norm;
    *scale = most > 0 && norm > most ? most / norm : 1;
    const double clipped = norm * *scale;
    return isfinite(sum) && clipped * clipped <= (t->flow->dtype == NVP_FLOAT32 ? FLT_MAX : DBL_MAX);
}

/* A worker's part in one step along the gradient. Nothing is updated where the loss or its gradient is not finite. */
static void take_step(void *context, size_t worker, const nvp_sums *sums) {
    training *t = context;
    const nvp_engine *engine = t->flow->engine;
    nvp_update update = update_of(t, worker, sums);
    const size_t n = n_parts(t->flow), first = t->copies ? 0 : worker;
    const size_t stride = t->copies ? 1 : nvp_team_size(sums->team);
    double own, *squares = t->copies ? &own : t->squares;
    for (size_t part = first; part < n; part += stride)
        squares[part] = engine->sum_of_squares(&update, part * PART, part_size(t->flow, part));
    if (!t->copies)
        nvp_team_meet(sums->team, worker);
    const double nll = -sums->log_prob_sum / (double)t->count;
    const bool finite = clip_gradient(t, squares, &update.grad_scale) && isfinite(nll);
    for (size_t part = first; finite && part < n; part += stride)
        engine->update(&update, part * PART, part_size(t->flow, part));
    if (worker == 0)
        t->nll = nll, t->finite = finite;
}

/* What the coming step is like. An average with these weights is the exponential moving average divided by the sum
 * 1 - decay^step of its weights, which is to it what Adam's bias correction is to m. */
static void plan_step(training *t) {
    const double decay = t->options->average;
    t->adam.learning_rate = learning_rate(t->options, (double)t->progress->steps, t->n_steps);
    t->update.step = (size_t)t->progress->steps + 1;
    t->update.average_weight = decay > 0 ? (1 - decay) / (1 - pow(decay, (double)t->update.step)) : 0;
}

/* One update from the batch that begins at sample `first`; t->nll is the batch's, before the update. t->finite is
 * false, and nothing is updated, where the loss or its gradient is not finite. */
static nvp_status train_batch(training *t, size_t first, size_t count) {
    nvp_pass pass = {.flow = t->flow,
                     .params = t->params,
                     .workspace = t->workspace,
                     .n = count,
                     .inverse = true,
                     .in = t->data.x,
                     .context = t->data.context,
                     .weight = t->data.weight,
                     .mean_weight = t->mean_weight,
                     .rows = t->order ? t->order + first : NULL,
                     .seed = t->options->seed,
                     .noise = t->options->noise,
                     .noise_from = t->progress->n_seen,
                     .sum_log_prob = true,
                     .nll_gradient = true,
                     .then = take_step,
                     .then_context = t,
                     .together = t->copies || n_parts(t->flow) > 1,
                     .copies = t->copies,
                     .copy_size = copy_size(t)};
    plan_step(t);
    t->count = count;
    nvp_status status = t->flow->engine->run(&pass);
    if (status != NVP_OK)
        return status;
    t->progress->n_seen += count;
    t->progress->steps += t->finite;
    return nvp_interrupted(t->workspace) ? NVP_INTERRUPTED : NVP_OK;
}

static nvp_status train_epoch(training *t, size_t epoch, double *nll, bool *finite) {
    if (t->order)
        nvp_shuffle(t->options->seed, epoch, t->n, t->order);
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
    nvp_pass pass = {.flow = t->flow,
                     .params = params,
                     .workspace = t->workspace,
                     .n = data->n,
                     .inverse = true,
                     .in = data->x,
                     .context = data->context,
                     .weight = data->weight,
                     .mean_weight = mean_weight,
                     .sum_log_prob = true};
    const nvp_status status = t->flow->engine->run(&pass);
    *nll = -pass.log_prob_sum / (double)data->n;
    return status;
}

static void keep(training *t, const void *params, size_t epoch) {
    memcpy(t->kept, params, t->flow->n_params * t->flow->engine->real_size);
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

static nvp_status run_epoch(training *t, size_t epoch, bool *stop) {
    const nvp_train_options *options = t->options;
    double nll, held_out = NAN;
    bool finite;
    if (t->n_validation == 0)
        memcpy(t->start, present(t), t->flow->n_params * t->flow->engine->real_size);
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
    *stop = t->progress->ended;
    if (options->on_epoch && options->on_epoch(options->context, epoch, nll, held_out))
        *stop = true;
    return NVP_OK;
}

static nvp_status run_epochs(training *t) {
    const size_t before = t->epochs_before, most = t->options->max_epochs, pause = t->options->pause_after;
    size_t left = before < most ? most - before : 0;
    if (pause && pause < left)
        left = pause;
    bool stop = t->progress->ended;
    nvp_status status = NVP_OK;
    if (before == 0 && t->n_validation) {
        double held_out;
        status = validate(t, 0, &held_out);
    }
    for (size_t epoch = before + 1; left > 0 && !stop && status == NVP_OK; epoch++, left--)
        status = run_epoch(t, epoch, &stop);
    return status;
}

/* The parameters that the caller gets, whose NLL on the training data must be finite where it can be: a training that
 * ends well has not measured its last step, nor its averages, nor all samples with the same parameters. */
static nvp_status settle(training *t, bool check, nvp_train_result *result) {
    const size_t bytes = t->flow->n_params * t->flow->engine->real_size;
    progress *p = t->progress;
    memcpy(t->last, t->params, bytes);
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
        memcpy(t->params, candidates[i].params, bytes);
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
    *size = HEADER;
    return nvp_multiply(flow->n_params, flow->engine->real_size, &row) && nvp_add_product(STATE_ROWS, row, size)
               ? NVP_OK
               : NVP_ERROR_SIZE;
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
    t->adam = t->options->adam;
    t->update = (nvp_update){.adam = &t->adam,
                             .weight_decay = t->options->weight_decay,
                             .params = t->params,
                             .m = t->m,
                             .v = t->v,
                             .average = t->options->average > 0 ? t->average : NULL,
                             .decays = t->options->weight_decay > 0 ? t->decays : NULL};
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
    t->n_steps = (double)t->options->max_epochs * ceil((double)t->n / (double)t->batch_size);
    const nvp_status status = allocate(t);
    if (status != NVP_OK)
        return status;
    lay_out(t, t->options->state ? t->options->state : t->own_state);
    const size_t bytes = t->flow->n_params * t->flow->engine->real_size;
    memcpy(t->given, t->params, bytes);
    if (t->update.decays)
        t->flow->engine->mark_decaying(t->flow, t->decays);
    if (t->progress->begun) {
        memcpy(t->params, t->last, bytes);
    } else {
        *t->progress = (progress){
            .begun = true, .kept_validation_nll = INFINITY, .kept_train_nll = INFINITY, .improved_nll = INFINITY};
        memcpy(t->average, t->params, bytes);
        memcpy(t->kept, t->params, bytes);
    }
    t->epochs_before = (size_t)t->progress->epochs;
    return NVP_OK;
}

/* The other workers' copies, for a team that has more than one tile to do in a step. */
static nvp_status copy_for_team(training *t) {
    enum { LINE = 64 };
    const size_t n_copies = nvp_team_size(t->workspace->team) - 1;
    const size_t bytes = t->flow->n_params * t->flow->engine->real_size;
    if (n_copies == 0 || n_parts(t->flow) > 1 || t->batch_size <= t->flow->tile)
        return NVP_OK;
    t->copied_row = bytes + LINE; /* no line has numbers of two workers */
    t->copies = malloc(n_copies * copy_size(t));
    if (!t->copies)
        return NVP_ERROR_MEMORY;
    const void *const rows[COPIED_ROWS] = {t->params, t->m, t->v, t->average};
    for (size_t i = 0; i < n_copies * COPIED_ROWS; i++)
        memcpy((char *)t->copies + i * t->copied_row, rows[i % COPIED_ROWS], bytes);
    return NVP_OK;
}

nvp_status nvp_train(const nvp_flow *flow, void *params, const nvp_train_options *options, const nvp_data *data,
                     const nvp_data *validation, nvp_train_result *result, nvp_workspace *workspace) {
    nvp_train_result unused;
    training t = {.flow = flow, .options = options, .workspace = workspace, .params = params, .data = *data};
    if (validation)
        t.validation = *validation;
    t.n = t.data.n, t.n_validation = t.validation.n;
    if (!nvp_check_data(flow, &t.data, &t.mean_weight) ||
        (t.n_validation && !nvp_check_data(flow, &t.validation, &t.mean_validation_weight)))
        return NVP_ERROR_ARGUMENT;
    if (!result)
        result = &unused;
    *result = (nvp_train_result){.validation_nll = NAN};
    nvp_status status = prepare(&t);
    if (status == NVP_OK) {
        /* One team for all steps. */
        nvp_workspace_gather(workspace, (double)t.batch_size * (double)flow->n_params * t.n_steps);
        status = copy_for_team(&t);
        if (status == NVP_OK)
            status = run_epochs(&t);
        const nvp_status settled = settle(&t, status == NVP_OK, result);
        if (status == NVP_OK)
            status = settled;
        nvp_workspace_dismiss(workspace);
        if (status != NVP_OK && status != NVP_INTERRUPTED)
            memcpy(params, t.given, flow->n_params * flow->engine->real_size);
    }
    free(t.own_state);
    free(t.block);
    free(t.copies);
    free(t.order);
    return status;
}
