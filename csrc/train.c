/* Training: epochs of minibatches, Adam, and the parameters that did best. */
#include "checked.h"
#include "core.h"
#include "rng.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const nvp_flow *flow;
    const nvp_train_options *options;
    nvp_workspace *workspace;
    void *params;
    size_t n, n_validation;
    nvp_data data, validation;
    double mean_weight, mean_validation_weight;

    void *block;               /* one allocation for the next five, as long as the parameters each */
    void *grad, *m, *v, *kept; /* kept: what the caller gets with validation data, or after divergence */
    void *start;               /* where the epoch began */
    size_t *order;             /* of the samples; NULL for the full batch */
    size_t batch_size, step;
    double n_steps;  /* in all epochs */
    uint64_t n_seen; /* samples used so far, over all epochs */
} training;

static size_t params_size(const training *t) { return t->flow->n_params * t->flow->engine->real_size; }

/* The update, shared out over the team: worker i has every part p of the parameters with p % workers == i. */
typedef struct {
    const training *t;
    const nvp_adam_options *adam;
    atomic_bool finite;
} update;

enum { PART = 8192 }; /* parameters */

typedef void (*part_function)(update *u, size_t from, size_t count);

static void for_my_parts(update *u, size_t worker, part_function function) {
    const size_t n = u->t->flow->n_params, stride = PART * nvp_team_size(u->t->workspace->team);
    for (size_t from = worker * PART; from < n; from += stride)
        function(u, from, n - from < PART ? n - from : PART);
}

static void *at(const training *t, void *buffer, size_t parameter) {
    return (char *)buffer + parameter * t->flow->engine->real_size;
}

static void check_part(update *u, size_t from, size_t count) {
    if (!u->t->flow->engine->all_finite(count, at(u->t, u->t->grad, from)))
        atomic_store(&u->finite, false);
}

static void step_part(update *u, size_t from, size_t count) {
    const training *t = u->t;
    t->flow->engine->adam_step(u->adam, t->step, count, at(t, t->params, from), at(t, t->grad, from), at(t, t->m, from),
                               at(t, t->v, from));
}

static void check_parts(void *context, size_t worker) { for_my_parts(context, worker, check_part); }
static void step_parts(void *context, size_t worker) { for_my_parts(context, worker, step_part); }

static void run_update(update *u, nvp_task task) {
    nvp_team *team = u->t->workspace->team;
    /* Worker 0 does its own parts only, so without the team there must be one part. */
    nvp_team_run(u->t->flow->n_params > PART ? team : NULL, task, u);
}

static nvp_status prepare(training *t) {
    size_t bytes;
    if (!nvp_multiply(5, params_size(t), &bytes))
        return NVP_ERROR_SIZE;
    t->block = calloc(bytes ? bytes : 1, 1);
    if (!t->block)
        return NVP_ERROR_MEMORY;
    char *part = t->block;
    t->grad = part, t->m = part + params_size(t), t->v = part + 2 * params_size(t), t->kept = part + 3 * params_size(t);
    t->start = part + 4 * params_size(t);
    memcpy(t->kept, t->params, params_size(t));
    t->batch_size = t->options->batch_size;
    if (t->batch_size == 0 || t->batch_size > t->n)
        t->batch_size = t->n;
    t->n_steps = (double)t->options->max_epochs * ceil((double)t->n / (double)t->batch_size);
    if (t->batch_size == t->n)
        return NVP_OK;
    if (!nvp_multiply(t->n, sizeof *t->order, &bytes))
        return NVP_ERROR_SIZE;
    t->order = malloc(bytes);
    return t->order ? NVP_OK : NVP_ERROR_MEMORY;
}

/* One update from the batch that begins at sample `first`; *nll is the batch's, before the update. *finite is false,
 * and nothing is updated, where the loss or its gradient is not finite. */
static nvp_status train_batch(training *t, size_t first, size_t count, double *nll, bool *finite) {
    const nvp_engine *engine = t->flow->engine;
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
                     .noise_from = t->n_seen,
                     .sum_log_prob = true,
                     .nll_gradient = true,
                     .grad_params = t->grad};
    nvp_status status = engine->run(&pass);
    if (status != NVP_OK)
        return status;
    t->n_seen += count;
    *nll = -pass.log_prob_sum / (double)count;
    nvp_adam_options adam = t->options->adam;
    if (t->options->schedule == NVP_COSINE)
        adam.learning_rate *= 0.5 * (1 + cos(3.14159265358979323846 * (double)t->step / t->n_steps));
    update u = {.t = t, .adam = &adam};
    atomic_init(&u.finite, isfinite(*nll));
    run_update(&u, check_parts);
    *finite = atomic_load(&u.finite);
    if (*finite) {
        t->step++;
        run_update(&u, step_parts);
    }
    return nvp_interrupted(t->workspace) ? NVP_INTERRUPTED : NVP_OK;
}

static nvp_status train_epoch(training *t, size_t epoch, double *nll, bool *finite) {
    if (t->order)
        nvp_shuffle(t->options->seed, epoch, t->n, t->order);
    *nll = 0;
    *finite = true;
    for (size_t first = 0; first < t->n && *finite; first += t->batch_size) {
        const size_t left = t->n - first, count = left < t->batch_size ? left : t->batch_size;
        double batch_nll = NAN;
        const nvp_status status = train_batch(t, first, count, &batch_nll, finite);
        if (status != NVP_OK)
            return status;
        *nll += batch_nll * ((double)count / (double)t->n);
    }
    return NVP_OK;
}

static nvp_status validate(training *t, double *nll) {
    *nll = NAN;
    if (t->n_validation == 0)
        return NVP_OK;
    nvp_pass pass = {.flow = t->flow,
                     .params = t->params,
                     .workspace = t->workspace,
                     .n = t->n_validation,
                     .inverse = true,
                     .in = t->validation.x,
                     .context = t->validation.context,
                     .weight = t->validation.weight,
                     .mean_weight = t->mean_validation_weight,
                     .sum_log_prob = true};
    const nvp_status status = t->flow->engine->run(&pass);
    *nll = -pass.log_prob_sum / (double)t->n_validation;
    return status;
}

static void keep(training *t, const void *params, size_t epoch, double validation_nll, nvp_train_result *result) {
    memcpy(t->kept, params, params_size(t));
    result->best_epoch = epoch;
    result->validation_nll = validation_nll;
}

static nvp_status run_epochs(training *t, nvp_train_result *result) {
    const nvp_train_options *options = t->options;
    double best = INFINITY, best_start = INFINITY; /* of the validation NLL, and of the training NLL */
    size_t improved_at = 0;
    for (size_t epoch = 1; epoch <= options->max_epochs; epoch++) {
        double nll, held_out;
        bool finite;
        memcpy(t->start, t->params, params_size(t));
        nvp_status status = train_epoch(t, epoch, &nll, &finite);
        if (status == NVP_OK)
            status = validate(t, &held_out);
        if (status != NVP_OK)
            return status;
        result->epochs = epoch;
        result->diverged = !finite;
        if (t->n_validation && finite && held_out < result->validation_nll)
            keep(t, t->params, epoch, held_out, result);
        /* The training NLL is that of the parameters before the updates: they are what to go back to. */
        if (t->n_validation == 0 && finite && nll < best_start) {
            best_start = nll;
            keep(t, t->start, epoch - 1, NAN, result);
        }
        if (held_out < best - options->tolerance) {
            best = held_out;
            improved_at = epoch;
        }
        if (options->on_epoch && options->on_epoch(options->context, epoch, nll, held_out))
            break;
        if (!finite || (t->n_validation && options->patience && epoch - improved_at >= options->patience))
            break;
    }
    return NVP_OK;
}

/* The parameters that the caller gets. */
static void settle(training *t, nvp_train_result *result) {
    if (t->n_validation || result->diverged)
        memcpy(t->params, t->kept, params_size(t));
    else
        result->best_epoch = result->epochs;
    if (!isfinite(result->validation_nll))
        result->validation_nll = NAN;
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
    *result = (nvp_train_result){.validation_nll = INFINITY};
    nvp_status status = prepare(&t);
    if (status == NVP_OK) {
        /* One team for all steps. */
        nvp_workspace_gather(workspace, (double)t.batch_size * (double)flow->n_params * t.n_steps);
        status = run_epochs(&t, result);
        nvp_workspace_dismiss(workspace);
        settle(&t, result);
    }
    free(t.block);
    free(t.order);
    return status;
}
