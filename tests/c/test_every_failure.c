/* Every allocation, thread and call for a file fails, once alone and once with all that follow, in every function that
 * has any, in both precisions, with 1, 2 and 8 threads. The failure ends in a status: parameters, files and outputs
 * that must survive are as they were, and the same call then gives the same result. The sanitizers look for leaks. */
#define _POSIX_C_SOURCE 200809L
#include "faults.h"
#include "incomplete.h"
#include "rosenblatt.h"
#include "small_flow.h"
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <unistd.h>

enum { ROWS = 1200, HELD_OUT = 400, CONTEXT = 2, COMPONENTS = 3, MEMBERS = 2, ROOM = 80000 };

/* What a call works on, in the dtype of the flow, and what comes out. */
typedef struct {
    nvp_dtype dtype;
    size_t n_threads, n_params;
    nvp_flow *flow;
    nvp_ensemble *ensemble;
    char x[ROWS * DIM * sizeof(double)], context[ROWS * CONTEXT * sizeof(double)];
    char noise[DIM * sizeof(double)];
    char *params, *both, *trained; /* of the flow, of the ensemble, and what training changes */
    char *state;
    size_t state_size;
    double weight[ROWS];
    void *file;
    size_t file_size;
    char path[64];
    unsigned char out[ROOM * sizeof(double)];
} world;

static size_t width_of(const world *w) { return w->dtype == NVP_FLOAT64 ? sizeof(double) : sizeof(float); }

/* Numbers in the dtype of the flow. */
static void put(const world *w, void *to, size_t n, const double *from) {
    for (size_t i = 0; i < n; i++)
        if (w->dtype == NVP_FLOAT64)
            ((double *)to)[i] = from[i];
        else
            ((float *)to)[i] = (float)from[i];
}

static void put_random(const world *w, void *to, size_t n, uint64_t seed) {
    double *values = malloc(n * sizeof *values);
    fill(values, n, seed);
    put(w, to, n, values);
    free(values);
}

static void write_file(const world *w) { CHECK(nvp_flow_save(w->path, w->flow, w->params) == NVP_OK); }

static void set_up_world(world *w, nvp_dtype dtype, size_t n_threads) {
    memset(w, 0, sizeof *w);
    w->dtype = dtype, w->n_threads = n_threads;
    w->flow = make_flow(dtype, CONTEXT, COMPONENTS);
    w->n_params = nvp_flow_n_parameters(w->flow);
    const size_t bytes = w->n_params * width_of(w);
    w->params = calloc(1, bytes), w->trained = calloc(1, bytes), w->both = calloc(MEMBERS, bytes);
    nvp_flow_initialize(w->flow, 1, w->params);
    nvp_flow_initialize(w->flow, 2, w->both + bytes);
    memcpy(w->both, w->params, bytes);
    put_random(w, w->x, ROWS * DIM, 3);
    put_random(w, w->context, ROWS * CONTEXT, 4);
    put(w, w->noise, DIM, (const double[DIM]){0.1, 0.2, 0.3});
    for (int i = 0; i < ROWS; i++)
        w->weight[i] = 0.5 + i % 3;
    const nvp_flow *flows[MEMBERS] = {w->flow, w->flow};
    CHECK(nvp_ensemble_create(&w->ensemble, MEMBERS, flows, (const double[MEMBERS]){0.25, 0.75}) == NVP_OK);
    CHECK(nvp_flow_save_bytes(w->flow, w->params, &w->file, &w->file_size) == NVP_OK);
    CHECK(nvp_train_state_size(w->flow, &w->state_size) == NVP_OK);
    w->state = calloc(1, w->state_size);
    snprintf(w->path, sizeof w->path, "every-failure-%ld.npz", (long)getpid());
    write_file(w);
}

static void tear_down_world(world *w) {
    free(w->params), free(w->both), free(w->trained), free(w->state);
    nvp_free(w->file);
    nvp_ensemble_destroy(w->ensemble);
    nvp_flow_destroy(w->flow);
    CHECK(remove(w->path) == 0);
}

/* -- operations: each begins with what it needs and releases what it has made -- */

static nvp_workspace *begin(const world *w, nvp_status *status) {
    nvp_workspace *workspace = NULL;
    *status = nvp_workspace_create(&workspace);
    if (*status == NVP_OK)
        nvp_workspace_set_threads(workspace, w->n_threads);
    return workspace;
}

static nvp_status create(world *w) {
    nvp_flow *flow = NULL;
    const nvp_layer_config layers[2] = {
        NVP_LAYER_CONFIG(.mask = masks[0], .hidden = hidden, .n_hidden = 2, .scale = NVP_SCALE_EXP),
        NVP_LAYER_CONFIG(.type = NVP_PERMUTATION, .permutation = permutation)};
    const nvp_status status = nvp_flow_create(&flow, w->dtype, DIM, 0, BASE_OF(COMPONENTS), 2, layers);
    CHECK((flow != NULL) == (status == NVP_OK));
    nvp_flow_destroy(flow);
    return status;
}

static nvp_status code(world *w) {
    double *numbers = NULL;
    nvp_flow *flow = NULL;
    size_t n = 0;
    nvp_status status = nvp_flow_encode(w->flow, &n, &numbers);
    CHECK((numbers != NULL) == (status == NVP_OK));
    if (status == NVP_OK)
        status = nvp_flow_decode(&flow, n, numbers);
    CHECK((flow != NULL) == (status == NVP_OK));
    nvp_flow_destroy(flow);
    nvp_free(numbers);
    return status;
}

static nvp_status take(world *w, nvp_status status, nvp_flow *flow, void *params) {
    CHECK((flow != NULL) == (status == NVP_OK) && (params != NULL) == (status == NVP_OK));
    if (status == NVP_OK)
        memcpy(w->out, params, w->n_params * width_of(w));
    nvp_flow_destroy(flow);
    nvp_free(params);
    return status;
}

static nvp_status load(world *w) {
    nvp_flow *flow = NULL;
    void *params = NULL;
    const nvp_status status = nvp_flow_load(w->path, &flow, &params);
    return take(w, status, flow, params);
}

static nvp_status load_bytes(world *w) {
    nvp_flow *flow = NULL;
    void *params = NULL;
    const nvp_status status = nvp_flow_load_bytes(w->file, w->file_size, &flow, &params);
    return take(w, status, flow, params);
}

static nvp_status save(world *w) {
    const nvp_status status = nvp_flow_save(w->path, w->flow, w->params);
    const long left[] = {allocations_left, file_calls_left};
    allocations_left = file_calls_left = -1; /* to read what is there now */
    CHECK(load(w) == NVP_OK && memcmp(w->out, w->params, w->n_params * width_of(w)) == 0);
    allocations_left = left[0], file_calls_left = left[1];
    return status;
}

static nvp_status keep_bytes(world *w, nvp_status status, void *bytes, size_t n) {
    CHECK((bytes != NULL) == (status == NVP_OK));
    if (status == NVP_OK)
        memcpy(w->out, bytes, n < sizeof w->out ? n : sizeof w->out);
    nvp_free(bytes);
    return status;
}

static nvp_status save_bytes(world *w) {
    void *bytes = NULL;
    size_t n = 0;
    const nvp_status status = nvp_flow_save_bytes(w->flow, w->params, &bytes, &n);
    return keep_bytes(w, status, bytes, n);
}

static nvp_status make_ensemble(world *w) {
    const nvp_flow *flows[MEMBERS] = {w->flow, w->flow};
    nvp_ensemble *ensemble = NULL;
    const nvp_status status = nvp_ensemble_create(&ensemble, MEMBERS, flows, NULL);
    CHECK((ensemble != NULL) == (status == NVP_OK));
    nvp_ensemble_destroy(ensemble);
    return status;
}

static nvp_status ensemble_files(world *w) {
    void *bytes = NULL, *params = NULL;
    nvp_ensemble *ensemble = NULL;
    size_t n = 0;
    nvp_status status = nvp_ensemble_save_bytes(w->ensemble, w->both, &bytes, &n);
    if (status == NVP_OK)
        status = nvp_ensemble_load_bytes(bytes, n, &ensemble, &params);
    CHECK((ensemble != NULL) == (status == NVP_OK) && (params != NULL) == (status == NVP_OK));
    nvp_ensemble_destroy(ensemble);
    nvp_free(params);
    nvp_free(bytes);
    return status;
}

static nvp_status models(world *w) {
    void *bytes = NULL;
    nvp_model *model = NULL;
    size_t n = 0;
    nvp_status status = nvp_ensemble_save_bytes(w->ensemble, w->both, &bytes, &n);
    if (status == NVP_OK)
        status = nvp_model_load_bytes(bytes, n, &model);
    CHECK((model != NULL) == (status == NVP_OK));
    nvp_model_destroy(model);
    nvp_free(bytes);
    return status;
}

/* Rows of doubles, for any dtype of the flow. */
static nvp_status use_model(world *w) {
    static double rows[ROWS * DIM], context[ROWS * CONTEXT];
    fill(rows, ROWS * DIM, 3);
    fill(context, ROWS * CONTEXT, 4);
    double *log_prob = (double *)(void *)w->out, *draws = log_prob + ROWS;
    void *bytes = NULL;
    nvp_model *model = NULL;
    size_t n = 0;
    nvp_status status;
    nvp_workspace *workspace = begin(w, &status);
    if (status == NVP_OK)
        status = nvp_ensemble_save_bytes(w->ensemble, w->both, &bytes, &n);
    if (status == NVP_OK)
        status = nvp_model_load_bytes(bytes, n, &model);
    if (status == NVP_OK)
        status = nvp_model_log_prob(model, ROWS, rows, context, log_prob, workspace);
    if (status == NVP_OK)
        status = nvp_model_sample(model, 5, ROWS, context, draws, workspace);
    nvp_model_destroy(model);
    nvp_free(bytes);
    nvp_workspace_destroy(workspace);
    return status;
}

/* One component of one column, given another. */
static nvp_status map_normals(world *w) {
    const double log_weight = 0, means[2] = {0.5, -0.5}, factor[4] = {1, 0, 0.5, 2};
    const double given[2] = {0.1, 0.2}, points[2] = {1, -1};
    const nvp_normals normals = {1, 1, 1, &log_weight, false, means, factor};
    double *found = (double *)(void *)w->out;
    return nvp_rosenblatt(&normals, false, 2, given, points, found, found + 2);
}

static nvp_status sum_incomplete(world *w) {
    const double x[4] = {0.5, NAN, 1, 2}, share[2] = {0.5, 0.5}, log_weight = 0, mean[2] = {0, 0},
                 covariance[4] = {1, 0, 0, 1};
    double shares[1] = {0}, shift[2] = {0}, squares[4] = {0}, nll = 0;
    const nvp_status status =
        nvp_incomplete_sums(2, 2, 1, x, share, &log_weight, mean, covariance, shares, shift, squares, &nll);
    if (status == NVP_OK)
        memcpy(w->out, &nll, sizeof nll);
    return status;
}

/* Functions of rows, with a workspace of their own. */
#define OF_ROWS(name, ...)                                                                                             \
    static nvp_status name(world *w) {                                                                                 \
        nvp_status status;                                                                                             \
        nvp_workspace *workspace = begin(w, &status);                                                                  \
        char *first = (char *)w->out, *second = first + ROWS * DIM * sizeof(double);                                   \
        char *third = second + ROWS * DIM * sizeof(double);                                                            \
        (void)second, (void)third;                                                                                     \
        if (status == NVP_OK)                                                                                          \
            status = __VA_ARGS__;                                                                                      \
        nvp_workspace_destroy(workspace);                                                                              \
        return status;                                                                                                 \
    }

OF_ROWS(forward, nvp_forward(w->flow, w->params, ROWS, w->x, w->context, first, second, workspace))
OF_ROWS(inverse, nvp_inverse(w->flow, w->params, ROWS, w->x, w->context, first, second, workspace))
OF_ROWS(log_prob, nvp_log_prob(w->flow, w->params, ROWS, w->x, w->context, first, workspace))
OF_ROWS(trace, nvp_trace(w->flow, w->params, 1, ROWS, w->x, w->context, first, workspace))
OF_ROWS(sample, nvp_sample(w->flow, w->params, 5, ROWS, w->context, first, second, workspace))
OF_ROWS(nll, nvp_nll(w->flow, w->params,
                     &(nvp_data)NVP_DATA(.n = ROWS, .x = w->x, .context = w->context, .weight = w->weight),
                     (double *)(void *)first, second, workspace))
OF_ROWS(forward_vjp,
        nvp_forward_vjp(w->flow, w->params, ROWS, w->x, w->context, w->x, NULL, first, second, third, workspace))
OF_ROWS(inverse_vjp,
        nvp_inverse_vjp(w->flow, w->params, ROWS, w->x, w->context, w->x, NULL, first, second, third, workspace))
OF_ROWS(ensemble_log_prob, nvp_ensemble_log_prob(w->ensemble, w->both, ROWS, w->x, w->context, first, workspace))
OF_ROWS(ensemble_sample, nvp_ensemble_sample(w->ensemble, w->both, 6, ROWS, w->context, first, second, workspace))

static nvp_status train_with(world *w, nvp_train_options options, nvp_workspace *workspace) {
    const size_t bytes = w->n_params * width_of(w);
    const nvp_data samples = NVP_DATA(.n = ROWS - HELD_OUT, .x = w->x, .context = w->context, .weight = w->weight);
    const nvp_data held_out = NVP_DATA(.n = HELD_OUT, .x = w->x + (ROWS - HELD_OUT) * DIM * width_of(w),
                                       .context = w->context + (ROWS - HELD_OUT) * CONTEXT * width_of(w));
    memcpy(w->trained, w->params, bytes);
    nvp_train_result result = NVP_TRAIN_RESULT();
    const nvp_status status = nvp_train(w->flow, w->trained, &options, &samples, &held_out, &result, workspace);
    CHECK(status == NVP_OK || memcmp(w->trained, w->params, bytes) == 0);
    memcpy(w->out, w->trained, bytes);
    memcpy(w->out + bytes, &result.validation_nll, sizeof result.validation_nll);
    return status;
}

static nvp_train_options training(world *w) {
    return (nvp_train_options)NVP_TRAIN_OPTIONS(.max_epochs = 2, .batch_size = 400, .learning_rate = 1e-3, .beta1 = 0.9,
                                                .beta2 = 0.99, .epsilon = 1e-8, .average = 0.5, .weight_decay = 0.1,
                                                .max_grad_norm = 1, .noise = w->noise, .seed = 7);
}

static nvp_status train_and_pause(world *w) {
    nvp_status status;
    nvp_workspace *workspace = begin(w, &status);
    nvp_train_options options = training(w);
    options.state = w->state, options.pause_after = 1;
    if (status == NVP_OK)
        status = train_with(w, options, workspace);
    if (status == NVP_OK) /* or else the next call must do with what this one has left */
        memset(w->state, 0, w->state_size);
    nvp_workspace_destroy(workspace);
    return status;
}

static int go_on(void *context, size_t epoch, double train_nll, double validation_nll) {
    (void)context, (void)epoch, (void)train_nll, (void)validation_nll;
    return 0;
}

/* Threads are started for each epoch. */
static nvp_status train_alone(world *w) {
    nvp_status status;
    nvp_workspace *workspace = begin(w, &status);
    nvp_train_options options = training(w);
    options.on_epoch = go_on, options.on_epoch_alone = 1;
    if (status == NVP_OK)
        status = train_with(w, options, workspace);
    nvp_workspace_destroy(workspace);
    return status;
}

typedef struct {
    const char *name;
    nvp_status (*run)(world *w);
    bool allocates, opens, has_threads; /* what it must have: a call without failure points proves nothing */
} operation;

static const operation operations[] = {
    {"create", create, true, false, false},
    {"encode and decode", code, true, false, false},
    {"load", load, true, true, false},
    {"load_bytes", load_bytes, true, false, false},
    {"save", save, true, true, false},
    {"save_bytes", save_bytes, true, false, false},
    {"ensemble_create", make_ensemble, true, false, false},
    {"ensemble_save and load", ensemble_files, true, false, false},
    {"model_load", models, true, false, false},
    {"model_log_prob and model_sample", use_model, true, false, true},
    {"rosenblatt", map_normals, true, false, false},
    {"incomplete_sums", sum_incomplete, true, false, false},
    {"forward", forward, true, false, true},
    {"inverse", inverse, true, false, true},
    {"log_prob", log_prob, true, false, true},
    {"trace", trace, true, false, true},
    {"sample", sample, true, false, true},
    {"nll", nll, true, false, true},
    {"forward_vjp", forward_vjp, true, false, true},
    {"inverse_vjp", inverse_vjp, true, false, true},
    {"ensemble_log_prob", ensemble_log_prob, true, false, true},
    {"ensemble_sample", ensemble_sample, true, false, true},
    {"train, paused", train_and_pause, true, false, true},
    {"train, callback alone", train_alone, true, false, true},
};

/* -- failures -- */

typedef enum { ALLOCATION, FILE_CALL, THREAD, N_KINDS } fault;
static long *const left[N_KINDS] = {&allocations_left, &file_calls_left, &threads_left};

static unsigned char expected[sizeof((world *)0)->out];
static size_t n_points;

static nvp_status run(const operation *o, world *w) {
    memset(w->out, 0, sizeof w->out);
    return o->run(w);
}

/* The operation with failure k of a kind. Whether there was one. */
static bool fail(const operation *o, world *w, fault kind, long k) {
    n_faults = 0;
    *left[kind] = k;
    const nvp_status status = run(o, w);
    *left[kind] = -1;
    const bool same = memcmp(w->out, expected, sizeof expected) == 0;
    if (!n_faults) {
        CHECK(status == NVP_OK && same);
        return false;
    }
    n_points++;
    /* A call goes on with fewer threads, also where it is memory that they lack, and a directory that cannot be synced
     * does not undo a save. */
    const nvp_status refusal = kind == ALLOCATION ? NVP_ERROR_MEMORY : NVP_ERROR_FILE;
    const bool good = (status == NVP_OK && same) || (kind != THREAD && status == refusal);
    if (!good)
        printf("%s: status %d (same: %d), fault %d, point %ld, all after it: %d\n", o->name, (int)status, same,
               (int)kind, k, faults_last);
    CHECK(good);
    CHECK(run(o, w) == NVP_OK && memcmp(w->out, expected, sizeof expected) == 0);
    return true;
}

static void check_operation(const operation *o, world *w) {
    const bool expects[N_KINDS] = {o->allocates, o->opens, o->has_threads && w->n_threads > 1};
    CHECK(run(o, w) == NVP_OK);
    memcpy(expected, w->out, sizeof expected);
    for (int kind = 0; kind < N_KINDS; kind++)
        for (int last = 0; last < 2; last++) {
            faults_last = last;
            long k = 0;
            while (fail(o, w, (fault)kind, k))
                k++;
            CHECK((k > 0) == expects[kind]);
        }
    faults_last = false;
}

static void check_setting(nvp_dtype dtype, size_t n_threads) {
    world *w = malloc(sizeof *w);
    set_up_world(w, dtype, n_threads);
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
        check_operation(&operations[i], w);
    tear_down_world(w);
    free(w);
}

static bool all_settings = true; /* the argument "briefly" leaves out most */

static void test_every_failure(void) {
    static const size_t numbers[] = {2, 1, 8};
    n_points = 0;
    for (size_t i = 0; i < (all_settings ? sizeof numbers / sizeof *numbers : 1); i++) {
        check_setting(NVP_FLOAT64, numbers[i]);
        if (all_settings)
            check_setting(NVP_FLOAT32, numbers[i]);
    }
    printf("%zu failure points\n", n_points);
}

static const named_test tests[] = {TEST(every_failure)};

int main(int n_arguments, char **arguments) {
    const char *argument = *own_arguments(n_arguments, arguments);
    all_settings = !argument || strcmp(argument, "briefly") != 0;
    return RUN_TESTS(tests, n_arguments, arguments);
}
