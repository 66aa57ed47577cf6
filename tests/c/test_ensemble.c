/* Ensembles: the average against a plain sum, samples, files and what is done to their bytes. The library is compiled
 * with -include failing.h.
 *
 *     test_ensemble [name...] [-- directory]
 *
 * In that directory, where there is one, it loads ensemble.npz, writes the log-densities of points to ensemble.txt and
 * saves it as again.npz: material for a test in Python. */
#include "faults.h"
#include "small_flow.h"
#include <unistd.h>

enum { K = 3, N = 40, CONTEXT = 2 };

typedef struct {
    nvp_ensemble *ensemble;
    nvp_workspace *workspace;
    double *params, x[N * DIM], context[N * CONTEXT];
    size_t n_params;
} model;

static nvp_status create(nvp_ensemble **ensemble, nvp_dtype dtype, size_t context_dim, const double *weights) {
    nvp_flow *flows[K];
    for (size_t k = 0; k < K; k++)
        flows[k] = make_flow(dtype, context_dim, k);
    const nvp_status status = nvp_ensemble_create(ensemble, K, (const nvp_flow *const *)flows, weights);
    for (size_t k = 0; k < K; k++)
        nvp_flow_destroy(flows[k]);
    return status;
}

static model set_up_ensemble(size_t context_dim, const double *weights) {
    model m = {.workspace = make_workspace()};
    CHECK(create(&m.ensemble, NVP_FLOAT64, context_dim, weights) == NVP_OK);
    m.n_params = nvp_ensemble_n_parameters(m.ensemble);
    m.params = calloc(m.n_params, sizeof *m.params);
    for (size_t k = 0; k < K; k++)
        nvp_flow_initialize(nvp_ensemble_flow(m.ensemble, k), k, m.params + nvp_ensemble_offset(m.ensemble, k));
    fill(m.x, N * DIM, 1);
    fill(m.context, N * CONTEXT, 2);
    return m;
}

static void tear_down_model(model *m) {
    nvp_ensemble_destroy(m->ensemble);
    nvp_workspace_destroy(m->workspace);
    free(m->params);
}

static const void *context_of(const model *m) { return nvp_ensemble_context_dim(m->ensemble) ? m->context : NULL; }

static bool is_close(double a, double b) { return a == b || fabs(a - b) <= 1e-12 * (1 + fabs(a)); }

/* -- densities -- */

static void check_average(const double *weights, size_t context_dim) {
    model m = set_up_ensemble(context_dim, weights);
    double log_prob[N], of_flow[N], sum[N] = {0};
    m.x[0] = INFINITY;
    CHECK(nvp_ensemble_log_prob(m.ensemble, m.params, N, m.x, context_of(&m), log_prob, m.workspace) == NVP_OK);
    for (size_t k = 0; k < K; k++) {
        CHECK(nvp_log_prob(nvp_ensemble_flow(m.ensemble, k), m.params + nvp_ensemble_offset(m.ensemble, k), N, m.x,
                           context_of(&m), of_flow, m.workspace) == NVP_OK);
        for (size_t i = 0; i < N; i++)
            sum[i] += nvp_ensemble_weight(m.ensemble, k) * exp(of_flow[i]);
    }
    CHECK(log_prob[0] == -(double)INFINITY);
    for (size_t i = 1; i < N; i++)
        CHECK(isfinite(log_prob[i]) && is_close(log_prob[i], log(sum[i])));
    tear_down_model(&m);
}

static void test_average(void) {
    const double weights[K] = {0.2, 0.7, 0.1}, without_first[K] = {0, 0.5, 0.5}, first[K] = {1, 0, 0};
    check_average(NULL, 0);
    check_average(NULL, CONTEXT);
    check_average(weights, 0);
    check_average(without_first, 0);
    check_average(first, CONTEXT);
}

/* Densities of exp(-1e5), whose sum underflows. */
static void test_far_points(void) {
    model m = set_up_ensemble(0, NULL);
    double log_prob[N], of_flow[N], best[N];
    for (size_t i = 0; i < N * DIM; i++)
        m.x[i] = 1000, best[i % N] = -(double)INFINITY;
    CHECK(nvp_ensemble_log_prob(m.ensemble, m.params, N, m.x, NULL, log_prob, m.workspace) == NVP_OK);
    for (size_t k = 0; k < K; k++) {
        CHECK(nvp_log_prob(nvp_ensemble_flow(m.ensemble, k), m.params + nvp_ensemble_offset(m.ensemble, k), N, m.x,
                           NULL, of_flow, m.workspace) == NVP_OK);
        for (size_t i = 0; i < N; i++)
            best[i] = of_flow[i] > best[i] ? of_flow[i] : best[i];
    }
    for (size_t i = 0; i < N; i++)
        CHECK(best[i] < -1000 && log_prob[i] <= best[i] && log_prob[i] >= best[i] - log(K) - 1e-9);
    m.x[0] = NAN;
    CHECK(nvp_ensemble_log_prob(m.ensemble, m.params, 2, m.x, NULL, log_prob, m.workspace) == NVP_OK);
    CHECK(isnan(log_prob[0]) && !isnan(log_prob[1]));
    tear_down_model(&m);
}

static void test_single_precision(void) {
    nvp_ensemble *ensemble;
    nvp_workspace *workspace = make_workspace();
    float x[N * DIM], log_prob[N], of_flow[N];
    double sum[N] = {0};
    CHECK(create(&ensemble, NVP_FLOAT32, 0, NULL) == NVP_OK && nvp_ensemble_dtype(ensemble) == NVP_FLOAT32);
    float *params = calloc(nvp_ensemble_n_parameters(ensemble), sizeof *params);
    for (size_t k = 0; k < K; k++)
        nvp_flow_initialize(nvp_ensemble_flow(ensemble, k), k, params + nvp_ensemble_offset(ensemble, k));
    for (size_t i = 0; i < N * DIM; i++)
        x[i] = (float)sin((double)i);
    CHECK(nvp_ensemble_log_prob(ensemble, params, N, x, NULL, log_prob, workspace) == NVP_OK);
    for (size_t k = 0; k < K; k++) {
        CHECK(nvp_log_prob(nvp_ensemble_flow(ensemble, k), params + nvp_ensemble_offset(ensemble, k), N, x, NULL,
                           of_flow, workspace) == NVP_OK);
        for (size_t i = 0; i < N; i++)
            sum[i] += exp((double)of_flow[i]) / K;
    }
    for (size_t i = 0; i < N; i++)
        CHECK(fabs((double)log_prob[i] - log(sum[i])) < 1e-5);
    free(params);
    nvp_ensemble_destroy(ensemble);
    nvp_workspace_destroy(workspace);
}

/* -- samples -- */

/* Shares are those of the weights, in a mixed order; more samples, and more threads, change none of the first. */
static void check_samples(size_t context_dim) {
    enum { MANY = 3000 };
    const double weights[K] = {0.5, 0, 0.5};
    model m = set_up_ensemble(context_dim, weights);
    double *x = calloc(MANY * DIM, sizeof *x), *more = calloc(MANY * DIM, sizeof *x), *again = calloc(MANY, sizeof *x);
    double *context = calloc(MANY * CONTEXT, sizeof *x), *log_prob = calloc(MANY, sizeof *x);
    const void *given = context_dim ? context : NULL;
    const size_t act_norm = nvp_flow_layer_offset(nvp_ensemble_flow(m.ensemble, 2), LAYERS - 1);
    size_t n_far = 0, n_runs = 0;
    fill(context, MANY * CONTEXT, 3);
    m.params[nvp_ensemble_offset(m.ensemble, 2) + act_norm + DIM] = 1000; /* shifts the samples of the last flow */
    CHECK(nvp_ensemble_sample(m.ensemble, m.params, 5, MANY, given, x, log_prob, m.workspace) == NVP_OK);
    CHECK(nvp_ensemble_log_prob(m.ensemble, m.params, MANY, x, given, again, m.workspace) == NVP_OK);
    CHECK(memcmp(log_prob, again, MANY * sizeof *x) == 0);
    for (size_t i = 0; i < MANY; i++) {
        n_far += x[i * DIM] > 500;
        n_runs += i && (x[i * DIM] > 500) != (x[i * DIM - DIM] > 500);
    }
    CHECK(n_far > MANY / 2 - 150 && n_far < MANY / 2 + 150 && n_runs > MANY / 2 - 150);
    CHECK(nvp_ensemble_sample(m.ensemble, m.params, 5, MANY / 2, given, more, NULL, m.workspace) == NVP_OK);
    CHECK(memcmp(x, more, MANY / 2 * DIM * sizeof *x) == 0);
    nvp_workspace_set_threads(m.workspace, 4);
    CHECK(nvp_ensemble_sample(m.ensemble, m.params, 5, MANY, given, more, NULL, m.workspace) == NVP_OK);
    CHECK(memcmp(x, more, MANY * DIM * sizeof *x) == 0);
    CHECK(nvp_ensemble_sample(m.ensemble, m.params, 6, MANY, given, more, NULL, m.workspace) == NVP_OK);
    CHECK(memcmp(x, more, DIM * sizeof *x) != 0);
    free(x), free(more), free(again), free(context), free(log_prob);
    tear_down_model(&m);
}

static void test_samples(void) {
    check_samples(0);
    check_samples(CONTEXT);
}

/* -- arguments -- */

static void test_arguments(void) {
    model m = set_up_ensemble(CONTEXT, NULL);
    double log_prob[N], x[N * DIM];
    nvp_ensemble *other;
    const nvp_flow *flow = nvp_ensemble_flow(m.ensemble, 0), *flows[2] = {flow, NULL};
    nvp_flow *conditional = make_flow(NVP_FLOAT64, CONTEXT, 0), *single = make_flow(NVP_FLOAT32, CONTEXT, 0),
             *plain = make_flow(NVP_FLOAT64, 0, 0);
    const double bad[][2] = {{0.5, 0.6}, {1.5, -0.5}, {0, 0}, {(double)NAN, 1}, {(double)INFINITY, 0}};
#define REFUSED(call) CHECK((call) == NVP_ERROR_ARGUMENT)
    REFUSED(nvp_ensemble_create(NULL, 1, flows, NULL));
    REFUSED(nvp_ensemble_create(&other, 0, flows, NULL));
    REFUSED(nvp_ensemble_create(&other, 1, NULL, NULL));
    REFUSED(nvp_ensemble_create(&other, 2, flows, NULL));
    CHECK(!other);
    flows[1] = single;
    REFUSED(nvp_ensemble_create(&other, 2, flows, NULL));
    flows[1] = plain;
    REFUSED(nvp_ensemble_create(&other, 2, flows, NULL));
    flows[1] = conditional;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        REFUSED(nvp_ensemble_create(&other, 2, flows, bad[i]));
    CHECK(!other && nvp_ensemble_create(&other, 2, flows, NULL) == NVP_OK && nvp_ensemble_n_flows(other) == 2);
    nvp_ensemble_destroy(other);
    nvp_ensemble_destroy(NULL);
    CHECK(nvp_ensemble_dim(m.ensemble) == DIM && nvp_ensemble_context_dim(m.ensemble) == CONTEXT);
    CHECK(!nvp_ensemble_flow(m.ensemble, K) && nvp_ensemble_weight(m.ensemble, K) == 0 &&
          nvp_ensemble_offset(m.ensemble, K) == m.n_params);
    REFUSED(nvp_ensemble_log_prob(NULL, m.params, N, m.x, m.context, log_prob, m.workspace));
    REFUSED(nvp_ensemble_log_prob(m.ensemble, NULL, N, m.x, m.context, log_prob, m.workspace));
    REFUSED(nvp_ensemble_log_prob(m.ensemble, m.params, N, NULL, m.context, log_prob, m.workspace));
    REFUSED(nvp_ensemble_log_prob(m.ensemble, m.params, N, m.x, NULL, log_prob, m.workspace));
    REFUSED(nvp_ensemble_log_prob(m.ensemble, m.params, N, m.x, m.context, NULL, m.workspace));
    REFUSED(nvp_ensemble_log_prob(m.ensemble, m.params, N, m.x, m.context, log_prob, NULL));
    REFUSED(nvp_ensemble_sample(NULL, m.params, 1, N, m.context, x, NULL, m.workspace));
    REFUSED(nvp_ensemble_sample(m.ensemble, NULL, 1, N, m.context, x, NULL, m.workspace));
    REFUSED(nvp_ensemble_sample(m.ensemble, m.params, 1, N, NULL, x, NULL, m.workspace));
    REFUSED(nvp_ensemble_sample(m.ensemble, m.params, 1, N, m.context, NULL, NULL, m.workspace));
    REFUSED(nvp_ensemble_sample(m.ensemble, m.params, 1, N, m.context, x, NULL, NULL));
    CHECK(nvp_ensemble_log_prob(m.ensemble, NULL, 0, NULL, NULL, NULL, m.workspace) == NVP_OK);
    CHECK(nvp_ensemble_sample(m.ensemble, NULL, 1, 0, NULL, NULL, NULL, m.workspace) == NVP_OK);
    CHECK(nvp_ensemble_sample(m.ensemble, m.params, 1, SIZE_MAX / 16, m.context, x, NULL, m.workspace) ==
          NVP_ERROR_SIZE);
    nvp_flow_destroy(conditional);
    nvp_flow_destroy(single);
    nvp_flow_destroy(plain);
    tear_down_model(&m);
}

static void test_failing_allocations(void) {
    model m = set_up_ensemble(CONTEXT, NULL);
    double x[N * DIM], log_prob[N];
    long n = 0;
    for (bool failed = true; failed; n++) {
        nvp_workspace *workspace = make_workspace();
        allocations_left = n;
        const nvp_status status = nvp_ensemble_sample(m.ensemble, m.params, 1, N, m.context, x, log_prob, workspace);
        failed = allocations_left < 0;
        allocations_left = -1;
        CHECK(status == (failed ? NVP_ERROR_MEMORY : NVP_OK));
        nvp_workspace_destroy(workspace);
    }
    CHECK(n > 2);
    const nvp_flow *const flows[] = {nvp_ensemble_flow(m.ensemble, 0), nvp_ensemble_flow(m.ensemble, 1)};
    for (bool failed = true; failed; n++) {
        nvp_ensemble *other;
        allocations_left = n - 3;
        const nvp_status status = nvp_ensemble_create(&other, 2, flows, NULL);
        failed = allocations_left < 0;
        allocations_left = -1;
        CHECK(status == (failed ? NVP_ERROR_MEMORY : NVP_OK) && (other == NULL) == failed);
        nvp_ensemble_destroy(other);
    }
    tear_down_model(&m);
}

/* -- files -- */

/* Load a copy that ends where its memory does, so that the sanitizers see a read beyond. */
static nvp_status load_copy(const unsigned char *bytes, size_t n) {
    unsigned char *copy = malloc(n ? n : 1);
    nvp_ensemble *ensemble;
    void *params;
    memcpy(copy, bytes, n);
    const nvp_status status = nvp_ensemble_load_bytes(copy, n, &ensemble, &params);
    CHECK((status == NVP_OK) == (ensemble != NULL) && (status == NVP_OK) == (params != NULL));
    nvp_ensemble_destroy(ensemble);
    free(params);
    free(copy);
    return status;
}

static void check_same(const model *m, const nvp_ensemble *ensemble, const void *params) {
    double log_probs[2][N];
    CHECK(nvp_ensemble_n_flows(ensemble) == K && nvp_ensemble_n_parameters(ensemble) == m->n_params);
    CHECK(memcmp(params, m->params, m->n_params * sizeof *m->params) == 0);
    for (size_t k = 0; k < K; k++)
        CHECK(nvp_ensemble_weight(ensemble, k) == nvp_ensemble_weight(m->ensemble, k));
    CHECK(nvp_ensemble_log_prob(m->ensemble, m->params, N, m->x, m->context, log_probs[0], m->workspace) == NVP_OK);
    CHECK(nvp_ensemble_log_prob(ensemble, params, N, m->x, m->context, log_probs[1], m->workspace) == NVP_OK);
    CHECK(memcmp(log_probs[0], log_probs[1], sizeof log_probs[0]) == 0);
}

static void test_round_trip(void) {
    const double weights[K] = {0.1, 0.3, 0.6};
    model m = set_up_ensemble(CONTEXT, weights);
    nvp_ensemble *ensemble;
    nvp_flow *flow;
    void *bytes, *params, *untouched;
    size_t n;
    CHECK(nvp_ensemble_save_bytes(m.ensemble, m.params, &bytes, &n) == NVP_OK);
    CHECK(nvp_ensemble_load_bytes(bytes, n, &ensemble, &params) == NVP_OK);
    check_same(&m, ensemble, params);
    nvp_ensemble_destroy(ensemble);
    nvp_free(params);
    CHECK(nvp_flow_load_bytes(bytes, n, &flow, &untouched) == NVP_ERROR_ENSEMBLE && !flow && !untouched);
    CHECK(strstr(nvp_status_string(NVP_ERROR_ENSEMBLE), "nvp_ensemble_load") != NULL);
    nvp_free(bytes);

    /* A file of one flow is an ensemble of one. */
    CHECK(nvp_flow_save_bytes(nvp_ensemble_flow(m.ensemble, 1), m.params + nvp_ensemble_offset(m.ensemble, 1), &bytes,
                              &n) == NVP_OK);
    CHECK(nvp_ensemble_load_bytes(bytes, n, &ensemble, &params) == NVP_OK && nvp_ensemble_n_flows(ensemble) == 1);
    double log_probs[2][N];
    CHECK(nvp_ensemble_log_prob(ensemble, params, N, m.x, m.context, log_probs[0], m.workspace) == NVP_OK);
    CHECK(nvp_log_prob(nvp_ensemble_flow(ensemble, 0), params, N, m.x, m.context, log_probs[1], m.workspace) == NVP_OK);
    CHECK(memcmp(log_probs[0], log_probs[1], sizeof log_probs[0]) == 0);
    nvp_ensemble_destroy(ensemble);
    nvp_free(params);
    nvp_free(bytes);
    tear_down_model(&m);
}

static void test_bad_saves_and_loads(void) {
    model m = set_up_ensemble(0, NULL);
    nvp_ensemble *ensemble;
    void *bytes, *params;
    size_t n;
    CHECK(nvp_ensemble_load("no/such/file", &ensemble, &params) == NVP_ERROR_FILE && !ensemble && !params);
    REFUSED(nvp_ensemble_load(NULL, &ensemble, &params));
    REFUSED(nvp_ensemble_load_bytes(NULL, 1, &ensemble, &params));
    REFUSED(nvp_ensemble_load_bytes("", 0, NULL, &params));
    CHECK(nvp_ensemble_load_bytes("", 0, &ensemble, &params) == NVP_ERROR_FORMAT && !ensemble && !params);
    REFUSED(nvp_ensemble_save(NULL, m.ensemble, m.params));
    REFUSED(nvp_ensemble_save_bytes(NULL, m.params, &bytes, &n));
    REFUSED(nvp_ensemble_save_bytes(m.ensemble, NULL, &bytes, &n));
    REFUSED(nvp_ensemble_save_bytes(m.ensemble, m.params, NULL, &n));
    REFUSED(nvp_ensemble_save_bytes(m.ensemble, m.params, &bytes, NULL));
    CHECK(nvp_ensemble_save("no/such/directory/file.npz", m.ensemble, m.params) == NVP_ERROR_FILE);
    m.params[m.n_params - 1] = NAN;
    REFUSED(nvp_ensemble_save_bytes(m.ensemble, m.params, &bytes, &n));
    CHECK(!bytes);
    tear_down_model(&m);
}

static uint64_t state = 1;
static size_t draw(size_t n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(state >> 33) % n;
}

/* Truncated files, flips of bits, and bytes of every kind; half of them in the directory, where all sizes are. */
static void test_damaged_files(void) {
    enum { ROUNDS = 10000 };
    model m = set_up_ensemble(0, NULL);
    void *bytes;
    size_t n, n_loaded = 0, n_refused = 0, directory = 0;
    CHECK(nvp_ensemble_save_bytes(m.ensemble, m.params, &bytes, &n) == NVP_OK);
    unsigned char *spoiled = malloc(n);
    while (directory + 4 < n && memcmp((char *)bytes + directory, "PK\1\2", 4) != 0)
        directory++;
    largest_allocation = 0;
    for (size_t end = 0; end < n; end += 1 + end % 7)
        n_loaded += load_copy(bytes, end) != NVP_ERROR_FORMAT;
    CHECK(n_loaded == 0);
    for (int round = 0; round < ROUNDS; round++) {
        static const unsigned char extremes[] = {0, 1, 0x7f, 0x80, 0xff};
        memcpy(spoiled, bytes, n);
        for (size_t count = 1 + draw(3); count-- > 0;) {
            const size_t from = draw(2) ? directory : 0, at = from + draw(n - from);
            if (draw(2))
                spoiled[at] ^= (unsigned char)(1u << draw(8));
            else
                spoiled[at] = extremes[draw(sizeof extremes)];
        }
        const nvp_status status = load_copy(spoiled, n);
        CHECK(status == NVP_OK || status == NVP_ERROR_FORMAT);
        n_refused += status == NVP_ERROR_FORMAT;
    }
    CHECK(n_refused > ROUNDS / 4 && largest_allocation < 100 * n);
    free(spoiled);
    free(bytes);
    tear_down_model(&m);
}

static void test_failing_allocations_of_files(void) {
    model m = set_up_ensemble(0, NULL);
    void *bytes, *file, *params;
    size_t n, n_file;
    nvp_ensemble *ensemble;
    CHECK(nvp_ensemble_save_bytes(m.ensemble, m.params, &file, &n_file) == NVP_OK);
    for (int saves = 0; saves < 2; saves++) {
        long count = 0;
        for (bool failed = true; failed; count++) {
            allocations_left = count;
            const nvp_status status = saves ? nvp_ensemble_save_bytes(m.ensemble, m.params, &bytes, &n)
                                            : nvp_ensemble_load_bytes(file, n_file, &ensemble, &params);
            failed = allocations_left < 0;
            allocations_left = -1;
            CHECK(status == (failed ? NVP_ERROR_MEMORY : NVP_OK));
            if (saves) {
                CHECK((bytes == NULL) == failed);
                nvp_free(bytes);
            } else {
                nvp_ensemble_destroy(ensemble);
                nvp_free(params);
            }
        }
        CHECK(count > 8);
    }
    nvp_free(file);
    tear_down_model(&m);
}

static char **arguments_of_its_own;

static void test_files_for_python(void) {
    char path[1000];
    nvp_ensemble *ensemble;
    double x[N * DIM], context[N * CONTEXT], log_prob[N];
    void *params;
    if (!*arguments_of_its_own)
        return;
    for (size_t i = 0; i < N * DIM; i++)
        x[i] = 4 * sin((double)i);
    for (size_t i = 0; i < N * CONTEXT; i++)
        context[i] = cos((double)i);
    snprintf(path, sizeof path, "%s/ensemble.npz", *arguments_of_its_own);
    CHECK(nvp_ensemble_load(path, &ensemble, &params) == NVP_OK && nvp_ensemble_dtype(ensemble) == NVP_FLOAT64);
    nvp_workspace *workspace = make_workspace();
    CHECK(nvp_ensemble_log_prob(ensemble, params, N, x, context, log_prob, workspace) == NVP_OK);
    snprintf(path, sizeof path, "%s/ensemble.txt", *arguments_of_its_own);
    FILE *file = fopen(path, "w");
    for (size_t i = 0; file && i < N; i++)
        fprintf(file, "%.17g\n", log_prob[i]);
    CHECK(file && fclose(file) == 0);
    snprintf(path, sizeof path, "%s/again.npz", *arguments_of_its_own);
    CHECK(nvp_ensemble_save(path, ensemble, params) == NVP_OK);
    nvp_workspace_destroy(workspace);
    nvp_ensemble_destroy(ensemble);
    nvp_free(params);
}

static const named_test tests[] = {TEST(average),          TEST(far_points),
                                   TEST(single_precision), TEST(samples),
                                   TEST(arguments),        TEST(failing_allocations),
                                   TEST(round_trip),       TEST(bad_saves_and_loads),
                                   TEST(damaged_files),    TEST(failing_allocations_of_files),
                                   TEST(files_for_python)};

int main(int n_arguments, char **arguments) {
    arguments_of_its_own = own_arguments(n_arguments, arguments);
    return RUN_TESTS(tests, n_arguments, arguments);
}
