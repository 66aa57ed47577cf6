/* The optimiser's step: schedule, clipping, Adam, weight decay and averaging, divided among the workers. */
#include "engine.h"
#include "reals.h"
#include "training.h"
#include <math.h>
#include <string.h>

/* The learning rate after `step` steps: linear warm-up, then the schedule. */
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

enum { CHUNK = 8192 };

size_t nvp_count_chunks(const nvp_flow *flow) { return (flow->n_params + CHUNK - 1) / CHUNK; }

static size_t chunk_size(const nvp_flow *flow, size_t chunk) {
    const size_t left = flow->n_params - chunk * CHUNK;
    return left < CHUNK ? left : CHUNK;
}

/* Clip the gradient by its global norm: Pascanu, Mikolov and Bengio (2013), algorithm 1. Chunks are added in order, so
 * that the bits do not depend on the team. False if the gradient is not finite, or so large that Adam's v, a mean of
 * its squares, would be infinite: such a parameter never moves again. */
static bool clip_gradient(const nvp_training *t, double *scale) {
    double sum = 0;
    for (size_t chunk = 0; chunk < nvp_count_chunks(t->flow); chunk++)
        sum += t->chunk_squares[chunk];
    const double norm = sqrt(sum), max_norm = t->options->max_grad_norm;
    *scale = max_norm > 0 && norm > max_norm ? max_norm / norm : 1;
    const double clipped = norm * *scale;
    return isfinite(sum) && clipped * clipped <= nvp_largest(t->flow->dtype);
}

void nvp_init_update(nvp_training *t) {
    t->update = (nvp_update){.adam = &t->adam,
                             .weight_decay = t->options->weight_decay,
                             .params = t->params,
                             .m = t->state.m,
                             .v = t->state.v,
                             .average = t->options->average > 0 ? t->state.average : NULL,
                             .decays = t->options->weight_decay > 0 ? t->decays : NULL};
}

/* With these weights, the average is the exponential moving average divided by 1 - decay^step, the sum of its weights.
 * This is the bias correction that Adam applies to m. */
static void prepare_update(nvp_training *t, const nvp_pass *pass) {
    const double decay = t->options->average;
    t->adam.learning_rate = learning_rate(t->options, (double)t->state.progress->steps, t->n_steps);
    t->update.step = (size_t)t->state.progress->steps + 1;
    t->update.average_weight = decay > 0 ? (1 - decay) / (1 - pow(decay, (double)t->update.step)) : 0;
    memcpy(t->update.grad, pass->grads, sizeof pass->grads);
}

/* Workers that share the parameters update every n-th chunk, between barriers. With a single chunk, it would take
 * longer to send the new parameters from core to core than to compute them. Then each worker has its own parameters and
 * moments, and takes the whole step. */
bool nvp_take_step(nvp_training *t, const nvp_pass *pass, double nll) {
    const nvp_engine *engine = t->flow->engine;
    const size_t n = nvp_count_chunks(t->flow), first = t->shares_params ? t->worker : 0;
    const size_t stride = t->shares_params ? nvp_team_size(t->shared->team) : 1;
    prepare_update(t, pass);
    for (size_t chunk = first; chunk < n; chunk += stride)
        t->chunk_squares[chunk] = engine->sum_of_squares(&t->update, chunk * CHUNK, chunk_size(t->flow, chunk));
    if (t->shares_params)
        nvp_team_barrier(t->shared->team, t->worker);
    const bool finite = clip_gradient(t, &t->update.grad_scale) && isfinite(nll);
    for (size_t chunk = first; finite && chunk < n; chunk += stride)
        engine->update(&t->update, chunk * CHUNK, chunk_size(t->flow, chunk));
    if (t->shares_params)
        nvp_team_barrier(t->shared->team, t->worker);
    return finite;
}
