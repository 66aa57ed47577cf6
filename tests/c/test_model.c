/* Models: those of real columns against their ensemble, arguments and failures. The library is compiled with -include
 * failing.h.
 *
 *     test_model [name...] [-- directory]
 *
 * In that directory, where there is one, it loads model.npz, writes the status to status.txt, and the log-densities of
 * the rows in rows.bin, each followed by its context, to log_prob.bin, and as many samples to samples.bin: material for
 * a test in Python. */
#include "faults.h"
#include "small_flow.h"

enum { N = 40, CONTEXT = 2 };

typedef struct {
    nvp_flow *flow;
    nvp_workspace *workspace;
    double *params, x[N * DIM], context[N * CONTEXT];
    void *bytes; /* of its file */
    size_t n_bytes;
} world;

static world set_up_model(size_t context_dim) {
    world w = {.flow = make_flow(NVP_FLOAT64, context_dim, 0), .workspace = make_workspace()};
    w.params = calloc(nvp_flow_n_parameters(w.flow), sizeof *w.params);
    nvp_flow_initialize(w.flow, 3, w.params);
    CHECK(nvp_flow_save_bytes(w.flow, w.params, &w.bytes, &w.n_bytes) == NVP_OK);
    fill(w.x, N * DIM, 1);
    fill(w.context, N * CONTEXT, 2);
    return w;
}

static void tear_down_model(world *w) {
    nvp_flow_destroy(w->flow);
    nvp_workspace_destroy(w->workspace);
    free(w->params);
    nvp_free(w->bytes);
}

/* A file of a flow is a model of real columns. */
static void check_real_columns(size_t context_dim) {
    world w = set_up_model(context_dim);
    nvp_model *model;
    const double *context = context_dim ? w.context : NULL;
    double of_flow[N], log_prob[N], samples[2][N * DIM];
    CHECK(nvp_model_load_bytes(w.bytes, w.n_bytes, &model) == NVP_OK);
    CHECK(nvp_ensemble_n_flows(nvp_model_ensemble(model)) == 1 && nvp_ensemble_dim(nvp_model_ensemble(model)) == DIM);
    const size_t n_params = nvp_flow_n_parameters(w.flow);
    CHECK(memcmp(nvp_model_parameters(model), w.params, n_params * sizeof *w.params) == 0);
    w.x[0] = INFINITY, w.x[DIM] = NAN;
    CHECK(nvp_log_prob(w.flow, w.params, N, w.x, context, of_flow, w.workspace) == NVP_OK);
    CHECK(nvp_model_log_prob(model, N, w.x, context, log_prob, w.workspace) == NVP_OK);
    CHECK(log_prob[0] == -(double)INFINITY && isnan(log_prob[1]));
    for (size_t i = 2; i < N; i++)
        CHECK(fabs(log_prob[i] - of_flow[i]) <= 1e-12 * (1 + fabs(of_flow[i])));
    CHECK(nvp_ensemble_sample(nvp_model_ensemble(model), w.params, 4, N, context, samples[0], NULL, w.workspace) ==
          NVP_OK);
    CHECK(nvp_model_sample(model, 4, N, context, samples[1], w.workspace) == NVP_OK);
    CHECK(memcmp(samples[0], samples[1], sizeof samples[0]) == 0);
    nvp_model_destroy(model);
    tear_down_model(&w);
}

static void test_real_columns(void) {
    check_real_columns(0);
    check_real_columns(CONTEXT);
}

static void test_arguments(void) {
    world w = set_up_model(CONTEXT);
    nvp_model *model;
    double out[N * DIM];
#define REFUSED(call) CHECK((call) == NVP_ERROR_ARGUMENT)
    REFUSED(nvp_model_load(NULL, &model));
    REFUSED(nvp_model_load("no/such/file", NULL));
    CHECK(nvp_model_load("no/such/file", &model) == NVP_ERROR_FILE && !model);
    REFUSED(nvp_model_load_bytes(NULL, 1, &model));
    REFUSED(nvp_model_load_bytes(w.bytes, w.n_bytes, NULL));
    CHECK(nvp_model_load_bytes("", 0, &model) == NVP_ERROR_FORMAT && !model);
    CHECK(nvp_model_load_bytes(w.bytes, w.n_bytes, &model) == NVP_OK);
    REFUSED(nvp_model_log_prob(NULL, N, w.x, w.context, out, w.workspace));
    REFUSED(nvp_model_log_prob(model, N, NULL, w.context, out, w.workspace));
    REFUSED(nvp_model_log_prob(model, N, w.x, NULL, out, w.workspace));
    REFUSED(nvp_model_log_prob(model, N, w.x, w.context, NULL, w.workspace));
    REFUSED(nvp_model_log_prob(model, N, w.x, w.context, out, NULL));
    REFUSED(nvp_model_sample(NULL, 1, N, w.context, out, w.workspace));
    REFUSED(nvp_model_sample(model, 1, N, NULL, out, w.workspace));
    REFUSED(nvp_model_sample(model, 1, N, w.context, NULL, w.workspace));
    REFUSED(nvp_model_sample(model, 1, N, w.context, out, NULL));
    CHECK(nvp_model_sample(model, 1, SIZE_MAX / 8, w.context, out, w.workspace) == NVP_ERROR_SIZE);
    CHECK(nvp_model_log_prob(model, 0, NULL, NULL, NULL, w.workspace) == NVP_OK);
    CHECK(nvp_model_sample(model, 1, 0, NULL, NULL, w.workspace) == NVP_OK);
    nvp_model_destroy(model);
    nvp_model_destroy(NULL);
    tear_down_model(&w);
}

static nvp_status use(const world *w) {
    nvp_model *model;
    nvp_workspace *workspace = make_workspace();
    double out[N * DIM];
    allocations_left += allocations_left >= 0; /* that of the workspace */
    nvp_status status = nvp_model_load_bytes(w->bytes, w->n_bytes, &model);
    CHECK((status == NVP_OK) == (model != NULL));
    if (status == NVP_OK)
        status = nvp_model_log_prob(model, N, w->x, w->context, out, workspace);
    if (status == NVP_OK)
        status = nvp_model_sample(model, 1, N, w->context, out, workspace);
    nvp_model_destroy(model);
    nvp_workspace_destroy(workspace);
    return status;
}

static void test_failing_allocations(void) {
    world w = set_up_model(CONTEXT);
    long n = 0;
    for (bool failed = true; failed; n++) {
        allocations_left = n + 1;
        const nvp_status status = use(&w);
        failed = allocations_left < 0;
        allocations_left = -1;
        CHECK(status == (failed ? NVP_ERROR_MEMORY : NVP_OK));
    }
    CHECK(n > 10);
    tear_down_model(&w);
}

static char **arguments_of_its_own;

static FILE *open_own(const char *name, const char *mode) {
    char path[1000];
    snprintf(path, sizeof path, "%s/%s", *arguments_of_its_own, name);
    return fopen(path, mode);
}

static void write_own(const char *name, const double *values, size_t n) {
    FILE *file = open_own(name, "wb");
    CHECK(file && fwrite(values, sizeof *values, n, file) == n && fclose(file) == 0);
}

static void test_files_for_python(void) {
    enum { MOST = 1 << 16 };
    char path[1000];
    nvp_model *model;
    if (!*arguments_of_its_own)
        return;
    snprintf(path, sizeof path, "%s/model.npz", *arguments_of_its_own);
    const nvp_status status = nvp_model_load(path, &model);
    FILE *file = open_own("status.txt", "w");
    CHECK(file && fprintf(file, "%d", (int)status) > 0 && fclose(file) == 0);
    if (status != NVP_OK)
        return;
    const size_t dim = nvp_ensemble_dim(nvp_model_ensemble(model));
    const size_t context_dim = nvp_ensemble_context_dim(nvp_model_ensemble(model)), width = dim + context_dim;
    double *rows = calloc(MOST, sizeof *rows), *x = calloc(MOST, sizeof *x), *context = calloc(MOST, sizeof *x);
    file = open_own("rows.bin", "rb");
    const size_t n = file ? fread(rows, sizeof *rows, MOST, file) / width : 0;
    CHECK(n && fclose(file) == 0);
    for (size_t i = 0; i < n; i++) {
        memcpy(x + i * dim, rows + i * width, dim * sizeof *x);
        memcpy(context + i * context_dim, rows + i * width + dim, context_dim * sizeof *x);
    }
    nvp_workspace *workspace = make_workspace();
    nvp_workspace_set_threads(workspace, 2);
    CHECK(nvp_model_log_prob(model, n, x, context_dim ? context : NULL, rows, workspace) == NVP_OK);
    write_own("log_prob.bin", rows, n);
    CHECK(nvp_model_sample(model, 1, n, context_dim ? context : NULL, x, workspace) == NVP_OK);
    write_own("samples.bin", x, n * dim);
    nvp_workspace_destroy(workspace);
    nvp_model_destroy(model);
    free(rows);
    free(x);
    free(context);
}

static const named_test tests[] = {TEST(real_columns), TEST(arguments), TEST(failing_allocations),
                                   TEST(files_for_python)};

int main(int n_arguments, char **arguments) {
    arguments_of_its_own = own_arguments(n_arguments, arguments);
    return RUN_TESTS(tests, n_arguments, arguments);
}
