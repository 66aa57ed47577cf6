/* A mixture of context and latent point, given the context, as the base: its density by the formula, gradient, samples,
 * far contexts, numbers and files. */
#include "small_flow.h"

enum { MOST_COLUMNS = 6, TRIANGLE = MOST_COLUMNS * (MOST_COLUMNS + 1) / 2, K = 4, N = 150 };
enum { MOST_INDICATORS = 5, MOST_PARAMS = K * (1 + MOST_COLUMNS + TRIANGLE + MOST_INDICATORS) };
static const size_t order[MOST_COLUMNS] = {0, 1, 2, 3, 4, 5};

/* The last n_indicators columns of the context are indicators. */
static nvp_status create_with(nvp_flow **flow, nvp_dtype dtype, size_t dim, size_t context_dim, size_t n_components,
                              size_t n_indicators) {
    const nvp_layer_config config = NVP_LAYER_CONFIG(.type = NVP_PERMUTATION, .permutation = order);
    const nvp_base_config base =
        NVP_BASE_CONFIG(.kind = NVP_CONDITIONAL_MIXTURE, .n_components = n_components, .n_indicators = n_indicators);
    return nvp_flow_create(flow, dtype, dim, context_dim, &base, 1, &config);
}

static nvp_status create(nvp_flow **flow, nvp_dtype dtype, size_t dim, size_t context_dim, size_t n_components) {
    return create_with(flow, dtype, dim, context_dim, n_components, 0);
}

/* log sum exp over the components of log(weight N) for the first n of `columns`, but for -n/2 log(2 pi) and the sum of
 * the weights, which the indicators multiply. */
static double log_density(const double *params, size_t columns, size_t n, const double *v, size_t n_indicators,
                          const double *indicators) {
    const double *means = params + K, *factors = means + K * columns;
    const double *tables = factors + K * columns * (columns + 1) / 2;
    double sum = 0;
    for (size_t k = 0; k < K; k++) {
        const double *row = factors + k * columns * (columns + 1) / 2;
        double square = 0, log_det = 0;
        for (size_t i = 0; i < n_indicators; i++)
            log_det += tables[k * n_indicators + i] * indicators[i];
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

static void check_density(size_t dim, size_t n_real, size_t n_indicators) {
    const size_t context_dim = n_real + n_indicators, columns = n_real + dim;
    const size_t n_params = K * (1 + columns + columns * (columns + 1) / 2 + n_indicators);
    nvp_workspace *workspace = make_workspace();
    nvp_flow *flow;
    double params[MOST_PARAMS], grad[MOST_PARAMS], z[N * MOST_COLUMNS], context[N * (MOST_COLUMNS + MOST_INDICATORS)],
        found[N], nll, sides[2], worst = 0;
    CHECK(create_with(&flow, NVP_FLOAT64, dim, context_dim, K, n_indicators) == NVP_OK);
    CHECK(nvp_flow_n_parameters(flow) == n_params && nvp_flow_base_offset(flow) == 0);
    CHECK(nvp_flow_base_kind(flow) == NVP_CONDITIONAL_MIXTURE && nvp_flow_n_components(flow) == K);
    fill(params, n_params, columns);
    for (size_t i = 0; i < n_params; i++)
        params[i] /= 2;
    fill(z, N * dim, 31);
    fill(context, N * context_dim, 32);
    for (size_t t = 0; t < N; t++) /* a 1 among the indicators, or none */
        for (size_t i = 0; i < n_indicators; i++)
            context[t * context_dim + n_real + i] = t % (n_indicators + 1) == i;
    CHECK(nvp_log_prob(flow, params, N, z, context, found, workspace) == NVP_OK);
    CHECK(nvp_log_prob(flow, params, N, z, NULL, found, workspace) == NVP_ERROR_ARGUMENT);
    for (size_t t = 0; t < N; t++) {
        const double *indicators = context + t * context_dim + n_real;
        double v[MOST_COLUMNS];
        memcpy(v, context + t * context_dim, n_real * sizeof *v);
        memcpy(v + n_real, z + t * dim, dim * sizeof *v);
        const double expected = log_density(params, columns, columns, v, n_indicators, indicators) -
                                log_density(params, columns, n_real, v, n_indicators, indicators) -
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
    check_density(1, 1, 0);
    check_density(1, 3, 0);
    check_density(3, 1, 0);
    check_density(2, 4, 0);
    check_density(2, 0, 1);
    check_density(1, 0, MOST_INDICATORS);
    check_density(2, 3, MOST_INDICATORS);
}

/* It needs a context, components, and sizes whose product fits. */
static void test_bad_descriptions(void) {
    nvp_flow *flow;
    CHECK(create(&flow, NVP_FLOAT64, 2, 0, K) == NVP_ERROR_ARGUMENT && !flow);
    CHECK(create(&flow, NVP_FLOAT64, 2, 1, 0) == NVP_ERROR_ARGUMENT && !flow);
    CHECK(create(&flow, NVP_FLOAT64, 2, 1, SIZE_MAX / 4) == NVP_ERROR_SIZE && !flow);
    CHECK(create(&flow, NVP_FLOAT64, 2, SIZE_MAX / 2, 1) == NVP_ERROR_SIZE && !flow);
    CHECK(create_with(&flow, NVP_FLOAT64, 2, 3, K, 4) == NVP_ERROR_ARGUMENT && !flow);
    CHECK(create_with(&flow, NVP_FLOAT64, 2, SIZE_MAX / 2, K, SIZE_MAX / 2) == NVP_ERROR_SIZE && !flow);
    nvp_base_config other = NVP_BASE_CONFIG(.kind = NVP_MIXTURE, .n_components = K, .n_indicators = 1);
    const nvp_layer_config layer = NVP_LAYER_CONFIG(.type = NVP_PERMUTATION, .permutation = order);
    CHECK(nvp_flow_create(&flow, NVP_FLOAT64, 2, 1, &other, 1, &layer) == NVP_OK);
    CHECK(nvp_flow_n_parameters(flow) == K * (1 + 2 + 3)); /* a kind without indicators ignores their number */
    nvp_flow_destroy(flow);
}

/* Few samples, down to one, are the first of many, and their densities are those that the flow computes. */
static void check_samples(nvp_dtype dtype, size_t n_indicators) {
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
        CHECK(create_with(&flow, dtype, 2, 1, n_components, n_indicators) == NVP_OK);
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
    check_samples(NVP_FLOAT32, 0);
    check_samples(NVP_FLOAT64, 0);
    check_samples(NVP_FLOAT32, 1);
    check_samples(NVP_FLOAT64, 1);
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

/* Indicators choose the component: with logits of +-50, samples of category i come from component i. */
static void test_categories(void) {
    enum { POINTS = 40, TWO = 2 };
    double params[TWO * (1 + 1 + 1 + TWO)] = {0,   0, /* logits */ -8, 8, /* means */ 0, 0, /* factors */ 50, -50,
                                              -50, 50};
    double context[TWO * POINTS], z[POINTS], log_prob[POINTS];
    nvp_workspace *workspace = make_workspace();
    nvp_flow *flow;
    CHECK(create_with(&flow, NVP_FLOAT64, 1, TWO, TWO, TWO) == NVP_OK);
    CHECK(nvp_flow_n_parameters(flow) == sizeof params / sizeof *params);
    for (int t = 0; t < POINTS; t++)
        context[TWO * t] = t % 3 == 0, context[TWO * t + 1] = t % 3 != 0;
    CHECK(nvp_sample(flow, params, 5, POINTS, context, z, NULL, workspace) == NVP_OK);
    CHECK(nvp_log_prob(flow, params, POINTS, z, context, log_prob, workspace) == NVP_OK);
    for (int t = 0; t < POINTS; t++) {
        const double u = z[t] - (t % 3 ? 8 : -8);
        CHECK(fabs(u) < 6 && fabs(log_prob[t] + 0.5 * u * u + 0.91893853320467274) < 1e-12);
    }
    nvp_workspace_destroy(workspace);
    nvp_flow_destroy(flow);
}

/* In the third version of the numbers, or the fourth with indicators. */
static void check_files(size_t n_indicators) {
    double params[MOST_PARAMS], *numbers, z[2] = {0.3, -1}, context[2] = {0.4, 1}, expected, found;
    void *bytes, *loaded;
    size_t n, n_bytes;
    nvp_workspace *workspace = make_workspace();
    nvp_flow *flow, *decoded, *twin;
    CHECK(create_with(&flow, NVP_FLOAT64, 2, 2, 3, n_indicators) == NVP_OK);
    nvp_flow_initialize(flow, 1, params);
    CHECK(nvp_flow_encode(flow, &n, &numbers) == NVP_OK);
    const double begin[] = {3, NVP_FLOAT64, 2, 2, NVP_CONDITIONAL_MIXTURE, 3, 1};
    const double longer[] = {4, NVP_FLOAT64, 2, 2, NVP_CONDITIONAL_MIXTURE, 3, 1, 1};
    CHECK(n > 8 && memcmp(numbers, n_indicators ? longer : begin, n_indicators ? sizeof longer : sizeof begin) == 0);
    CHECK(nvp_flow_decode(&decoded, n, numbers) == NVP_OK);
    CHECK(nvp_flow_n_parameters(decoded) == nvp_flow_n_parameters(flow));
    numbers[3] = 0; /* without a context */
    CHECK(nvp_flow_decode(&twin, n, numbers) == NVP_ERROR_ARGUMENT && !twin);
    CHECK(nvp_flow_save_bytes(flow, params, &bytes, &n_bytes) == NVP_OK);
    CHECK(nvp_flow_load_bytes(bytes, n_bytes, &twin, &loaded) == NVP_OK);
    CHECK(nvp_log_prob(flow, params, 1, z, context, &expected, workspace) == NVP_OK);
    CHECK(nvp_log_prob(twin, loaded, 1, z, context, &found, workspace) == NVP_OK);
    CHECK(isfinite(found) && memcmp(&found, &expected, sizeof found) == 0);
    nvp_free(numbers);
    nvp_free(bytes);
    nvp_free(loaded);
    nvp_flow_destroy(flow);
    nvp_flow_destroy(decoded);
    nvp_flow_destroy(twin);
    nvp_workspace_destroy(workspace);
}

static void test_files(void) {
    check_files(0);
    check_files(1);
}

static const named_test tests[] = {TEST(density),      TEST(bad_descriptions), TEST(samples),
                                   TEST(far_contexts), TEST(categories),       TEST(files)};

int main(int n_arguments, char **arguments) { return RUN_TESTS(tests, n_arguments, arguments); }
