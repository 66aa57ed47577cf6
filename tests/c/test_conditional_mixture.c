/* A mixture of context and latent point, given the context, as the base: its density by the formula, gradient, samples,
 * far contexts, numbers and files. */
#include "small_flow.h"

enum { MOST_COLUMNS = 6, TRIANGLE = MOST_COLUMNS * (MOST_COLUMNS + 1) / 2, K = 4, N = 150 };
enum { MOST_PARAMS = K * (1 + MOST_COLUMNS + TRIANGLE) };
static const size_t order[MOST_COLUMNS] = {0, 1, 2, 3, 4, 5};

static nvp_status create(nvp_flow **flow, nvp_dtype dtype, size_t dim, size_t context_dim, size_t n_components) {
    const nvp_layer_config config = NVP_LAYER_CONFIG(.type = NVP_PERMUTATION, .permutation = order);
    const nvp_base_config base = NVP_BASE_CONFIG(.kind = NVP_CONDITIONAL_MIXTURE, .n_components = n_components);
    return nvp_flow_create(flow, dtype, dim, context_dim, &base, 1, &config);
}

/* log sum exp over the components of log(weight N) for the first n of `columns`, but for -n/2 log(2 pi) and the sum of
 * the weights. */
static double log_density(const double *params, size_t columns, size_t n, const double *v) {
    const double *means = params + K, *factors = means + K * columns;
    double sum = 0;
    for (size_t k = 0; k < K; k++) {
        const double *row = factors + k * columns * (columns + 1) / 2;
        double square = 0, log_det = 0;
        for (size_t i = 0; i < n; row += ++i) {
            double u = exp(row[i]) * (v[i] - means[k * columns + i]);
            for (size_t j = 0; j < i; j++)
                u += row[j] * (v[j] - means[k * columns + j]);
            square += u * u;
            log_det += row[i];
        }
        sum += exp(params[k] + log_det - square / 2);
    }
    return log(sum);
}

static void check_density(size_t dim, size_t context_dim) {
    const size_t columns = context_dim + dim, n_params = K * (1 + columns + columns * (columns + 1) / 2);
    nvp_workspace *workspace = make_workspace();
    nvp_flow *flow;
    double params[MOST_PARAMS], grad[MOST_PARAMS], z[N * MOST_COLUMNS], context[N * MOST_COLUMNS], found[N], nll,
        sides[2], worst = 0;
    CHECK(create(&flow, NVP_FLOAT64, dim, context_dim, K) == NVP_OK);
    CHECK(nvp_flow_n_parameters(flow) == n_params && nvp_flow_base_offset(flow) == 0);
    CHECK(nvp_flow_base_kind(flow) == NVP_CONDITIONAL_MIXTURE && nvp_flow_n_components(flow) == K);
    fill(params, n_params, columns);
    for (size_t i = 0; i < n_params; i++)
        params[i] /= 2;
    fill(z, N * dim, 31);
    fill(context, N * context_dim, 32);
    CHECK(nvp_log_prob(flow, params, N, z, context, found, workspace) == NVP_OK);
    CHECK(nvp_log_prob(flow, params, N, z, NULL, found, workspace) == NVP_ERROR_ARGUMENT);
    for (size_t t = 0; t < N; t++) {
        double v[MOST_COLUMNS];
        memcpy(v, context + t * context_dim, context_dim * sizeof *v);
        memcpy(v + context_dim, z + t * dim, dim * sizeof *v);
        const double expected = log_density(params, columns, columns, v) -
                                log_density(params, columns, context_dim, v) -
                                (double)dim / 2 * log(2 * 3.14159265358979323846);
        worst = fmax(worst, fabs(found[t] - expected) / (1 + fabs(expected)));
    }
    CHECK(worst < 1e-11);

    nvp_data data = NVP_DATA(.n = N, .x = z, .context = context);
    CHECK(nvp_nll(flow, params, &data, &nll, grad, workspace) == NVP_OK);
    worst = 0;
    for (size_t i = 0; i < n_params; i++) {
        const double kept = params[i], h = 1e-6;
        for (int side = 0; side < 2; side++) {
            params[i] = kept + (side ? h : -h);
            CHECK(nvp_nll(flow, params, &data, &sides[side], NULL, workspace) == NVP_OK);
        }
        params[i] = kept;
        worst = fmax(worst, fabs((sides[1] - sides[0]) / (2 * h) - grad[i]) / (1 + fabs(grad[i])));
    }
    CHECK(worst < 1e-6);
    nvp_workspace_destroy(workspace);
    nvp_flow_destroy(flow);
}

static void test_density(void) {
    check_density(1, 1);
    check_density(1, 3);
    check_density(3, 1);
    check_density(2, 4);
}

/* It needs a context, components, and sizes whose product fits. */
static void test_bad_descriptions(void) {
    nvp_flow *flow;
    CHECK(create(&flow, NVP_FLOAT64, 2, 0, K) == NVP_ERROR_ARGUMENT && !flow);
    CHECK(create(&flow, NVP_FLOAT64, 2, 1, 0) == NVP_ERROR_ARGUMENT && !flow);
    CHECK(create(&flow, NVP_FLOAT64, 2, 1, SIZE_MAX / 4) == NVP_ERROR_SIZE && !flow);
    CHECK(create(&flow, NVP_FLOAT64, 2, SIZE_MAX / 2, 1) == NVP_ERROR_SIZE && !flow);
}

/* Few samples, down to one, are the first of many, and their densities are those that the flow computes. */
static void check_samples(nvp_dtype dtype) {
    enum { MANY = 300 };
    const size_t size = dtype == NVP_FLOAT32 ? sizeof(float) : sizeof(double);
    double params[MOST_PARAMS], context[MANY], many[2 * MANY], few[2 * MANY];
    for (size_t i = 0; i < MANY; i++)
        if (dtype == NVP_FLOAT32)
            ((float *)(void *)context)[i] = (float)i / MANY;
        else
            context[i] = (double)i / MANY;
    for (size_t n_components = 1; n_components <= K; n_components++) {
        nvp_flow *flow;
        CHECK(create(&flow, dtype, 2, 1, n_components) == NVP_OK);
        nvp_flow_initialize(flow, 1, params);
        for (size_t n = 1; n <= MANY; n += n < 5 ? 1 : 59) {
            nvp_workspace *fresh = make_workspace(); /* as large as the call needs, so that the sanitizers see more */
            CHECK(nvp_sample(flow, params, 2, n, context, n == 1 ? many : few, NULL, fresh) == NVP_OK);
            CHECK(n == 1 || memcmp(many, few, 2 * size) == 0);
            nvp_workspace_destroy(fresh);
        }
        nvp_flow_destroy(flow);
    }
}

static void test_samples(void) {
    check_samples(NVP_FLOAT32);
    check_samples(NVP_FLOAT64);
}

/* Components of the same shape with independent columns: a far context leaves N(0, 1), however far it is. */
static void test_far_contexts(void) {
    enum { POINTS = 5 };
    const float z[POINTS] = {-2, -1, 0, 1, 2}, sizes[] = {0, 1, 1e4f, 1e18f, 1e20f, 3e38f};
    float params[2 * 6] = {1, -1, /* logits */ 1, 0, -1, 0, /* means */ 0, 0, 0, 0, 0, 0};
    nvp_workspace *workspace = make_workspace();
    nvp_flow *flow;
    CHECK(create(&flow, NVP_FLOAT32, 1, 1, 2) == NVP_OK);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int side = -1; side <= 1; side += 2) {
            float context[POINTS], log_prob[POINTS];
            for (int t = 0; t < POINTS; t++)
                context[t] = (float)side * sizes[i];
            CHECK(nvp_log_prob(flow, params, POINTS, z, context, log_prob, workspace) == NVP_OK);
            for (int t = 0; t < POINTS; t++)
                CHECK(fabsf(log_prob[t] + 0.5f * z[t] * z[t] + 0.91893853f) < 1e-5f);
        }
    nvp_workspace_destroy(workspace);
    nvp_flow_destroy(flow);
}

/* In the third version of the numbers. */
static void test_files(void) {
    double params[MOST_PARAMS], *numbers, z[2] = {0.3, -1}, context = 0.4, expected, found;
    void *bytes, *loaded;
    size_t n, n_bytes;
    nvp_workspace *workspace = make_workspace();
    nvp_flow *flow, *decoded, *twin;
    CHECK(create(&flow, NVP_FLOAT64, 2, 1, 3) == NVP_OK);
    nvp_flow_initialize(flow, 1, params);
    CHECK(nvp_flow_encode(flow, &n, &numbers) == NVP_OK);
    const double begin[] = {3, NVP_FLOAT64, 2, 1, NVP_CONDITIONAL_MIXTURE, 3, 1};
    CHECK(n > 7 && memcmp(numbers, begin, sizeof begin) == 0);
    CHECK(nvp_flow_decode(&decoded, n, numbers) == NVP_OK);
    CHECK(nvp_flow_n_parameters(decoded) == nvp_flow_n_parameters(flow));
    numbers[3] = 0; /* without a context */
    CHECK(nvp_flow_decode(&twin, n, numbers) == NVP_ERROR_ARGUMENT && !twin);
    CHECK(nvp_flow_save_bytes(flow, params, &bytes, &n_bytes) == NVP_OK);
    CHECK(nvp_flow_load_bytes(bytes, n_bytes, &twin, &loaded) == NVP_OK);
    CHECK(nvp_log_prob(flow, params, 1, z, &context, &expected, workspace) == NVP_OK);
    CHECK(nvp_log_prob(twin, loaded, 1, z, &context, &found, workspace) == NVP_OK);
    CHECK(isfinite(found) && memcmp(&found, &expected, sizeof found) == 0);
    nvp_free(numbers);
    nvp_free(bytes);
    nvp_free(loaded);
    nvp_flow_destroy(flow);
    nvp_flow_destroy(decoded);
    nvp_flow_destroy(twin);
    nvp_workspace_destroy(workspace);
}

static const named_test tests[] = {TEST(density), TEST(bad_descriptions), TEST(samples), TEST(far_contexts),
                                   TEST(files)};

int main(int n_arguments, char **arguments) { return RUN_TESTS(tests, n_arguments, arguments); }
