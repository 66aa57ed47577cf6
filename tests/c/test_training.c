/* Training: validation, pauses, decay, divergence, interruption, teams, Adam, and allocations that fail. */
#include "faults.h"
#include "small_flow.h"
#include <stdbool.h>

static nvp_train_options options_of(size_t epochs, size_t batch_size) {
    return (nvp_train_options)NVP_TRAIN_OPTIONS(.max_epochs = epochs, .batch_size = batch_size, .seed = 1,
                                                .learning_rate = 1e-2, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8);
}

static bool all_finite(const double *values, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite(values[i]))
            return false;
    return true;
}

/* Points on a bent line, x2 = x1^2 and x3 = x1, with noise. */
static void make_data(double *x, size_t n, uint64_t seed) {
    fill(x, n * DIM, seed);
    for (size_t t = 0; t < n; t++) {
        x[t * DIM + 1] = x[t * DIM] * x[t * DIM] + 0.2 * x[t * DIM + 1];
        x[t * DIM + 2] = x[t * DIM] + 0.2 * x[t * DIM + 2];
    }
}

enum { TRAIN = 300, HELD_OUT = 100 };
static double train_x[TRAIN * DIM], held_out_x[HELD_OUT * DIM];

static void test_training(void) {
    fixture f = set_up();
    double *start = malloc(f.n_params * sizeof(double)), *first = malloc(f.n_params * sizeof(double));
    double before, after;
    memcpy(start, f.params, f.n_params * sizeof(double));
    CHECK(nvp_nll(f.flow, f.params, SAMPLES(TRAIN, train_x), &before, NULL, f.workspace) == NVP_OK);
    for (int run = 0; run < 3; run++) {
        nvp_train_options options = options_of(100, 32);
        options.schedule = NVP_COSINE;
        options.seed = run == 2;
        nvp_train_result result = NVP_TRAIN_RESULT();
        memcpy(f.params, start, f.n_params * sizeof(double));
        CHECK(nvp_train(f.flow, f.params, &options, SAMPLES(TRAIN, train_x), NULL, &result, f.workspace) == NVP_OK);
        CHECK(result.epochs == 100 && result.best_epoch == 100 && !result.diverged && isnan(result.validation_nll));
        if (run == 0)
            memcpy(first, f.params, f.n_params * sizeof(double));
        /* The same seed gives the same bits, another one does not. */
        CHECK((memcmp(first, f.params, f.n_params * sizeof(double)) == 0) == (run < 2));
    }
    CHECK(nvp_nll(f.flow, f.params, SAMPLES(TRAIN, train_x), &after, NULL, f.workspace) == NVP_OK);
    CHECK(after < before - 1);
    free(start);
    free(first);
    tear_down(&f);
}

typedef struct {
    size_t n, stop_at;
    double validation_nll[400];
} curves;

static int record(void *context, size_t epoch, double train_nll, double validation_nll) {
    curves *c = context;
    CHECK(epoch == c->n + 1 && !isnan(train_nll));
    c->validation_nll[c->n++] = validation_nll;
    return epoch == c->stop_at;
}

static void test_validation(void) {
    fixture f = set_up();
    curves c = {0};
    nvp_train_options options = options_of(400, 0);
    options.on_epoch = record;
    options.context = &c;
    options.patience = 20;
    nvp_train_result result = NVP_TRAIN_RESULT();
    CHECK(nvp_train(f.flow, f.params, &options, SAMPLES(30, train_x), SAMPLES(HELD_OUT, held_out_x), &result,
                    f.workspace) == NVP_OK);
    CHECK(result.epochs == c.n && result.epochs == result.best_epoch + 20 && c.n < 400);
    double nll, best = INFINITY;
    for (size_t i = 0; i < c.n; i++)
        best = fmin(best, c.validation_nll[i]);
    CHECK(result.validation_nll == best && c.validation_nll[result.best_epoch - 1] == best);
    CHECK(nvp_nll(f.flow, f.params, SAMPLES(HELD_OUT, held_out_x), &nll, NULL, f.workspace) == NVP_OK && nll == best);
    c = (curves){.stop_at = 3};
    CHECK(nvp_train(f.flow, f.params, &options, SAMPLES(30, train_x), NULL, &result, f.workspace) == NVP_OK);
    CHECK(c.n == 3 && result.epochs == 3);
    tear_down(&f);
}

/* Where no epoch betters the held-out samples, the start is what comes back. */
static void test_keeps_best_start(void) {
    fixture f = set_up_with(0, 2);
    const size_t bytes = f.n_params * sizeof(double);
    double *start = malloc(bytes), nll;
    nvp_train_result result = NVP_TRAIN_RESULT();
    nvp_train_options options = options_of(300, 0);
    CHECK(nvp_train(f.flow, f.params, &options, SAMPLES(HELD_OUT, held_out_x), NULL, NULL, f.workspace) == NVP_OK);
    memcpy(start, f.params, bytes);
    CHECK(nvp_nll(f.flow, start, SAMPLES(HELD_OUT, held_out_x), &nll, NULL, f.workspace) == NVP_OK);
    options = options_of(20, 0);
    options.learning_rate = 0.1;
    for (size_t patience = 0; patience <= 3; patience += 3) {
        options.patience = patience;
        CHECK(nvp_train(f.flow, f.params, &options, SAMPLES(3, train_x), SAMPLES(HELD_OUT, held_out_x), &result,
                        f.workspace) == NVP_OK);
        CHECK(result.best_epoch == 0 && result.epochs == (patience ? 3 : 20) && !result.diverged);
        CHECK(result.validation_nll == nll && memcmp(f.params, start, bytes) == 0);
    }
    free(start);
    tear_down(&f);
}

static void test_divergence(void) {
    fixture f = set_up();
    double nll;
    nvp_train_result result = NVP_TRAIN_RESULT();
    nvp_train_options options = options_of(1000, 0);
    options.learning_rate = 50;
    CHECK(nvp_train(f.flow, f.params, &options, SAMPLES(TRAIN, train_x), NULL, &result, f.workspace) == NVP_OK);
    CHECK(result.diverged && result.epochs < 1000);
    CHECK(all_finite(f.params, f.n_params));
    CHECK(nvp_nll(f.flow, f.params, SAMPLES(TRAIN, train_x), &nll, NULL, f.workspace) == NVP_OK && isfinite(nll));

    double spoilt[3 * DIM] = {1, 2, NAN}, start = f.params[0];
    options.learning_rate = 1e-3;
    CHECK(nvp_train(f.flow, f.params, &options, SAMPLES(3, spoilt), NULL, &result, f.workspace) == NVP_OK);
    CHECK(result.diverged && result.epochs == 1 && f.params[0] == start);
    CHECK(nvp_train(f.flow, f.params, &options, SAMPLES(0, spoilt), NULL, NULL, f.workspace) == NVP_ERROR_ARGUMENT);
    tear_down(&f);
}

/* All options at once. */
static nvp_train_options rich_options(void) {
    nvp_train_options options = options_of(30, 64);
    options.schedule = NVP_COSINE;
    options.final_fraction = 0.1;
    options.warmup = 10;
    options.max_grad_norm = 1;
    options.weight_decay = 0.1;
    options.average = 0.9;
    options.validate_every = 4;
    return options;
}

/* A training in parts, which keeps all that it needs in its state, is the training at once. */
static void check_paused_training(size_t n_components) {
    fixture f = set_up_with(0, n_components);
    const size_t bytes = f.n_params * sizeof(double);
    double *whole = malloc(bytes);
    size_t size = 0;
    CHECK(nvp_train_state_size(f.flow, &size) == NVP_OK && size > 5 * bytes);
    for (int validated = 0; validated < 2; validated++) {
        const size_t n_held_out = validated ? HELD_OUT : 0;
        nvp_train_options options = rich_options();
        nvp_train_result results[2] = {NVP_TRAIN_RESULT(), NVP_TRAIN_RESULT()};
        void *state = calloc(1, size);
        nvp_flow_initialize(f.flow, 1, f.params);
        CHECK(nvp_train(f.flow, f.params, &options, SAMPLES(TRAIN, train_x), SAMPLES(n_held_out, held_out_x),
                        &results[0], f.workspace) == NVP_OK);
        memcpy(whole, f.params, bytes);
        nvp_flow_initialize(f.flow, 1, f.params);
        options.state = state;
        for (size_t part = 1; part <= 5; part++) {
            options.pause_after = part < 5 ? part : 0;
            CHECK(nvp_train(f.flow, f.params, &options, SAMPLES(TRAIN, train_x), SAMPLES(n_held_out, held_out_x),
                            &results[1], f.workspace) == NVP_OK);
            CHECK(results[1].epochs == (part < 5 ? part * (part + 1) / 2 : 30));
        }
        CHECK(memcmp(whole, f.params, bytes) == 0);
        CHECK(results[1].best_epoch == results[0].best_epoch && results[0].epochs == 30);
        CHECK(validated ? results[0].validation_nll == results[1].validation_nll : isnan(results[1].validation_nll));
        CHECK(validated ? results[0].best_epoch % 4 == 0 || results[0].best_epoch == 30 : results[0].best_epoch == 30);
        free(state);
    }
    free(whole);
    tear_down(&f);
}

static void test_paused_training(void) {
    check_paused_training(0);
    check_paused_training(2);
}

static int count_epochs(void *context, size_t epoch, double train_nll, double validation_nll) {
    (void)train_nll, (void)validation_nll;
    *(size_t *)context = epoch;
    return 0;
}

/* A time that is over ends the training after an epoch, with its parameters; a long one changes nothing. */
static void test_time_limit(void) {
    fixture f = set_up();
    const size_t bytes = f.n_params * sizeof(double);
    double *one_epoch = malloc(bytes);
    for (size_t threads = 1; threads <= 3; threads += 2)
        for (int alone = 0; alone < 2; alone++) {
            size_t told = 0;
            nvp_train_result result = NVP_TRAIN_RESULT();
            nvp_train_options options = options_of(1, 0);
            options.schedule = NVP_CONSTANT;
            nvp_workspace_set_threads(f.workspace, threads);
            nvp_flow_initialize(f.flow, 1, f.params);
            CHECK(nvp_train(f.flow, f.params, &options, SAMPLES(TRAIN, train_x), NULL, &result, f.workspace) == NVP_OK);
            memcpy(one_epoch, f.params, bytes);
            options.max_epochs = 1000, options.time_limit = 1e-9;
            options.on_epoch = count_epochs, options.context = &told, options.on_epoch_alone = alone;
            nvp_flow_initialize(f.flow, 1, f.params);
            CHECK(nvp_train(f.flow, f.params, &options, SAMPLES(TRAIN, train_x), NULL, &result, f.workspace) == NVP_OK);
            CHECK(result.epochs == 1 && told == 1 && memcmp(one_epoch, f.params, bytes) == 0);
            options.max_epochs = 5, options.time_limit = 1e6;
            CHECK(nvp_train(f.flow, f.params, &options, SAMPLES(TRAIN, train_x), NULL, &result, f.workspace) == NVP_OK);
            CHECK(result.epochs == 5 && told == 5);
        }
    free(one_epoch);
    tear_down(&f);
}

/* Where the gradient is scaled to nothing, the weights of linear maps shrink and nothing else moves. */
static void test_weight_decay(void) {
    fixture f = set_up_with(0, 2);
    nvp_train_options options = options_of(10, 0);
    options.weight_decay = 5;
    options.max_grad_norm = 1e-100;
    for (size_t i = 0; i < f.n_params; i++)
        f.params[i] = 1;
    CHECK(nvp_train(f.flow, f.params, &options, SAMPLES(TRAIN, train_x), NULL, NULL, f.workspace) == NVP_OK);
    size_t n_weights = 0, n_others = 0;
    for (size_t i = 0; i < f.n_params; i++) {
        n_weights += fabs(f.params[i] - pow(0.95, 10)) < 1e-14;
        n_others += f.params[i] == 1;
    }
    /* By hand, for two networks in each coupling of the fixture. */
    /* Of the affine couplings, the one with a shared network, the spline with 11 outputs a column, the additive one. */
    CHECK(n_weights == 2 * ((2 * 5 + 5 * 1) + (1 * 5 + 5 * 4 + 4 * 2) + (0 * 5 + 5 * 3) + (2 * 5 + 5 * 4 + 4 * 1)) +
                           (2 * 5 + 5 * 2) + (1 * 5 + 5 * 4 + 4 * 22) + (1 * 5 + 5 * 2));
    CHECK(n_others == f.n_params - n_weights);
    tear_down(&f);
}

static void check_divergence_with_every_option(size_t n_components) {
    fixture f = set_up_with(0, n_components);
    nvp_train_result result = NVP_TRAIN_RESULT();
    nvp_train_options options = rich_options();
    options.learning_rate = 1e200;
    for (int validated = 0; validated < 2; validated++) {
        double nll;
        nvp_flow_initialize(f.flow, 1, f.params);
        CHECK(nvp_train(f.flow, f.params, &options, SAMPLES(TRAIN, train_x),
                        SAMPLES(validated ? HELD_OUT : 0, held_out_x), &result, f.workspace) == NVP_OK);
        CHECK(result.diverged && result.epochs < 30 && all_finite(f.params, f.n_params));
        CHECK(nvp_nll(f.flow, f.params, SAMPLES(TRAIN, train_x), &nll, NULL, f.workspace) == NVP_OK && isfinite(nll));
    }
    tear_down(&f);
}

static void test_divergence_with_every_option(void) {
    check_divergence_with_every_option(0);
    check_divergence_with_every_option(2);
}

static int stop_now(void *context) { return ++*(int *)context > 1; }

/* A busy machine may let the time between two polls pass within the first epoch: then the training is made again. */
static void check_interruption(fixture *f, const nvp_data *data) {
    nvp_train_result result = NVP_TRAIN_RESULT();
    const nvp_train_options options = options_of(SIZE_MAX, 0);
    int asked = 0;
    nvp_workspace_set_poll(f->workspace, stop_now, &asked);
    for (int attempt = 0; result.epochs == 0 && attempt < 100; attempt++) {
        asked = 0;
        CHECK(nvp_train(f->flow, f->params, &options, data, NULL, &result, f->workspace) == NVP_INTERRUPTED);
        CHECK(asked == 2 && all_finite(f->params, f->n_params));
    }
    CHECK(result.epochs > 0);
    nvp_workspace_set_poll(f->workspace, NULL, NULL);
}

static void test_interruption(void) {
    fixture f = set_up();
    check_interruption(&f, SAMPLES(TRAIN, train_x));
    for (size_t n_threads = 2; n_threads <= 5; n_threads += 3) { /* more than one tile */
        static double x[4 * TRAIN * DIM];
        make_data(x, 4 * TRAIN, 3);
        nvp_workspace_set_threads(f.workspace, n_threads);
        check_interruption(&f, SAMPLES(4 * TRAIN, x));
    }
    tear_down(&f);
}

/* A team takes the same steps as one thread, whatever the numbers of tiles in a batch, in the rest of an epoch and in
 * the validation: with parameters of each worker's own and, in a flow of many, shared ones. */
static void train_with_team(const nvp_flow *flow, nvp_workspace *workspace, const double *start, size_t n,
                            size_t n_held_out, size_t batch_size, size_t n_epochs, size_t stop_at) {
    const size_t n_params = nvp_flow_n_parameters(flow);
    double *x = malloc((n + n_held_out) * DIM * sizeof *x), *first = malloc(n_params * sizeof *first),
           *params = malloc(n_params * sizeof *params);
    make_data(x, n + n_held_out, 5);
    curves c[2];
    nvp_train_result results[2] = {NVP_TRAIN_RESULT(), NVP_TRAIN_RESULT()};
    for (size_t n_threads = 1; n_threads <= 7; n_threads += 1 + n_threads / 3) {
        const bool alone = n_threads == 1;
        nvp_train_options options = options_of(n_epochs, batch_size);
        options.average = 0.5;
        options.on_epoch = record;
        options.context = &c[!alone];
        c[!alone] = (curves){.stop_at = stop_at};
        memcpy(params, start, n_params * sizeof *params);
        nvp_workspace_set_threads(workspace, n_threads);
        CHECK(nvp_train(flow, params, &options, SAMPLES(n, x), SAMPLES(n_held_out, x + n * DIM), &results[!alone],
                        workspace) == NVP_OK);
        if (alone)
            memcpy(first, params, n_params * sizeof *params);
        CHECK(memcmp(first, params, n_params * sizeof *params) == 0);
        CHECK(memcmp(first, start, n_params * sizeof *params) != 0 && all_finite(params, n_params));
        CHECK(c[!alone].n == (stop_at ? stop_at : n_epochs) && results[!alone].epochs == c[0].n);
        CHECK(results[!alone].best_epoch == results[0].best_epoch);
    }
    free(x);
    free(first);
    free(params);
}

/* More parameters than fit into one part of the update. */
static nvp_flow *make_wide_flow(void) {
    const size_t width[2] = {70, 70};
    nvp_layer_config layers[2] = {NVP_LAYER_CONFIG(.mask = masks[0], .hidden = width, .n_hidden = 2),
                                  NVP_LAYER_CONFIG(.mask = masks[1], .hidden = width, .n_hidden = 2)};
    nvp_flow *flow = NULL;
    CHECK(nvp_flow_create(&flow, NVP_FLOAT64, DIM, 0, NULL, 2, layers) == NVP_OK);
    return flow;
}

static void test_training_with_threads(void) {
    static const size_t sizes[][3] = {{1025, 0, 0}, {2500, 700, 1300}, {1030, 1900, 520}, {600, 100, 600}};
    fixture f = set_up();
    nvp_flow *wide = make_wide_flow();
    double *start = malloc(nvp_flow_n_parameters(wide) * sizeof *start);
    nvp_flow_initialize(wide, 1, start);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        /* As many epochs as make enough work for seven. */
        train_with_team(f.flow, f.workspace, f.params, sizes[i][0], sizes[i][1], sizes[i][2], 150, i == 1 ? 2 : 0);
        train_with_team(wide, f.workspace, start, sizes[i][0], sizes[i][1], sizes[i][2], 4, i == 2 ? 3 : 0);
    }
    free(start);
    nvp_flow_destroy(wide);
    tear_down(&f);
}

static void test_adam(void) {
    const nvp_adam_options options =
        NVP_ADAM_OPTIONS(.learning_rate = 0.1, .beta1 = 0.8, .beta2 = 0.9, .epsilon = 1e-3);
    enum { N = 21 };
    double params[N], grad[N], m[N] = {0}, v[N] = {0}, expected[N], em[N] = {0}, ev[N] = {0};
    fill(params, N, 1);
    memcpy(expected, params, sizeof params);
    for (size_t step = 1; step <= 10; step++) {
        fill(grad, N, step);
        CHECK(nvp_adam_step(NVP_FLOAT64, &options, step, N, params, grad, m, v) == NVP_OK);
        for (int i = 0; i < N; i++) {
            em[i] = 0.8 * em[i] + 0.2 * grad[i];
            ev[i] = 0.9 * ev[i] + 0.1 * grad[i] * grad[i];
            expected[i] -=
                0.1 * em[i] / (1 - pow(0.8, (double)step)) / (sqrt(ev[i] / (1 - pow(0.9, (double)step))) + 1e-3);
        }
    }
    double worst = 0;
    for (int i = 0; i < N; i++)
        worst = fmax(worst, fabs(params[i] - expected[i]));
    CHECK(worst < 1e-14);
    CHECK(nvp_adam_step(NVP_FLOAT64, &options, 0, N, params, grad, m, v) == NVP_ERROR_ARGUMENT);
}

/* -- every allocation may fail -- */

static nvp_status use_everything(double *params) {
    const unsigned char mask[2] = {1, 0};
    const nvp_layer_config config = NVP_LAYER_CONFIG(.mask = mask, .hidden = hidden, .n_hidden = 1);
    nvp_flow *flow = NULL;
    nvp_workspace *workspace = NULL;
    nvp_train_options options = rich_options();
    nvp_status status = nvp_flow_create(&flow, NVP_FLOAT64, 2, 0, BASE_OF(3), 1, &config);
    if (status == NVP_OK)
        status = nvp_workspace_create(&workspace);
    if (status == NVP_OK)
        status = nvp_train(flow, params, &options, SAMPLES(20, train_x), SAMPLES(20, held_out_x), NULL, workspace);
    nvp_workspace_destroy(workspace);
    nvp_flow_destroy(flow);
    return status;
}

static void test_failing_allocations(void) {
    double params[64], start[64];
    fill(start, 64, 2);
    long n = 0;
    for (;; n++) {
        memcpy(params, start, sizeof params);
        allocations_left = n;
        const nvp_status status = use_everything(params);
        const bool failed = allocations_left < 0;
        allocations_left = -1;
        if (!failed) {
            CHECK(status == NVP_OK);
            break;
        }
        CHECK(status == NVP_ERROR_MEMORY);
        CHECK(memcmp(params, start, sizeof params) == 0);
    }
    CHECK(n >= 5); /* the library was compiled to use the allocator of faults.c */
}

static const named_test tests[] = {TEST(training),
                                   TEST(validation),
                                   TEST(keeps_best_start),
                                   TEST(paused_training),
                                   TEST(time_limit),
                                   TEST(weight_decay),
                                   TEST(divergence),
                                   TEST(divergence_with_every_option),
                                   TEST(interruption),
                                   TEST(training_with_threads),
                                   TEST(adam),
                                   TEST(failing_allocations)};

int main(int n_arguments, char **arguments) {
    make_data(train_x, TRAIN, 21);
    make_data(held_out_x, HELD_OUT, 22);
    return RUN_TESTS(tests, n_arguments, arguments);
}
