/* A mixture as the base: its density by the formula, its start and its samples. */
#include "small_flow.h"

/* A flow that is the identity over a mixture: by its formula, with loops, and its gradient by differences. */
static void check_mixture(size_t dim, size_t n_components) {
    enum { D = 6, K = 5, N = 70, MOST = K * (1 + D + D * (D + 1) / 2) };
    const size_t order[D] = {0, 1, 2, 3, 4, 5}, triangle = dim * (dim + 1) / 2,
                 n_params = n_components * (1 + dim + triangle);
    const nvp_layer_config config = NVP_LAYER_CONFIG(.type = NVP_PERMUTATION, .permutation = order);
    nvp_workspace *workspace = make_workspace();
    nvp_flow *flow;
    double params[MOST], grad[MOST], x[N * D], found[N], expected, worst = 0, total = 0, nll, sides[2];
    CHECK(nvp_flow_create(&flow, NVP_FLOAT64, dim, 0, BASE_OF(n_components), 1, &config) == NVP_OK);
    CHECK(nvp_flow_n_parameters(flow) == n_params && nvp_flow_base_offset(flow) == 0);
    fill(params, n_params, dim);
    fill(x, N * dim, 31);
    CHECK(nvp_log_prob(flow, params, N, x, NULL, found, workspace) == NVP_OK);
    const double *logits = params, *means = logits + n_components, *factors = means + n_components * dim;
    for (size_t k = 0; k < n_components; k++)
        total += exp(logits[k]);
    for (size_t t = 0; t < N; t++) {
        double density = 0;
        for (size_t k = 0; k < n_components; k++) {
            const double *row = factors + k * triangle;
            double square = 0, determinant = 1;
            for (size_t i = 0; i < dim; row += ++i) {
                double u = exp(row[i]) * (x[t * dim + i] - means[k * dim + i]);
                for (size_t j = 0; j < i; j++)
                    u += row[j] * (x[t * dim + j] - means[k * dim + j]);
                square += u * u;
                determinant *= exp(row[i]);
            }
            density += exp(logits[k] - square / 2) / total * determinant;
        }
        expected = log(density) - (double)dim / 2 * log(2 * 3.14159265358979323846);
        worst = fmax(worst, fabs(found[t] - expected) / (1 + fabs(expected)));
    }
    CHECK(worst < 1e-12);

    CHECK(nvp_nll(flow, params, SAMPLES(N, x), &nll, grad, workspace) == NVP_OK);
    worst = 0;
    for (size_t i = 0; i < n_params; i++) {
        const double kept = params[i], h = 1e-6;
        for (int side = 0; side < 2; side++) {
            params[i] = kept + (side ? h : -h);
            CHECK(nvp_nll(flow, params, SAMPLES(N, x), &sides[side], NULL, workspace) == NVP_OK);
        }
        params[i] = kept;
        worst = fmax(worst, fabs((sides[1] - sides[0]) / (2 * h) - grad[i]) / (1 + fabs(grad[i])));
    }
    CHECK(worst < 1e-6);
    nvp_workspace_destroy(workspace);
    nvp_flow_destroy(flow);
}

static void test_mixture(void) {
    for (size_t dim = 1; dim <= 6; dim++) {
        check_mixture(dim, 1);
        check_mixture(dim, 5);
    }
}

/* Equal weights, identities, means that are apart. */
static void test_starting_mixture(void) {
    enum { K = 50 };
    const size_t order[2] = {1, 0};
    const nvp_layer_config config = NVP_LAYER_CONFIG(.type = NVP_PERMUTATION, .permutation = order);
    nvp_flow *flow;
    float params[K * 6], other[K * 6];
    CHECK(nvp_flow_create(&flow, NVP_FLOAT32, 2, 0, BASE_OF(K), 1, &config) == NVP_OK);
    for (int i = 0; i < K * 6; i++)
        params[i] = other[i] = 9;
    nvp_flow_initialize(flow, 1, params);
    nvp_flow_initialize(flow, 2, other);
    double mean = 0, square = 0;
    for (int i = 0; i < K * 6; i++)
        if (i < K || i >= 3 * K)
            CHECK(params[i] == 0 && other[i] == 0);
        else {
            CHECK(params[i] != other[i] && (i == K || params[i] != params[i - 1]));
            mean += (double)params[i] / (2 * K);
            square += (double)params[i] * (double)params[i] / (2 * K);
        }
    CHECK(fabs(mean) < 0.5 && fabs(square - 1) < 0.7); /* five standard errors of 100 normal numbers */
    nvp_flow_destroy(flow);
}

static void test_sampling(void) {
    enum { N = 3000 };
    fixture f = set_up_with(0, 4);
    static double x[N * DIM], again[N * DIM], log_prob[N], expected[N];
    for (size_t n_threads = 1; n_threads <= 3; n_threads += 2) {
        nvp_workspace_set_threads(f.workspace, n_threads);
        CHECK(nvp_sample(f.flow, f.params, 5, N, NULL, n_threads == 1 ? x : again, log_prob, f.workspace) == NVP_OK);
    }
    CHECK(memcmp(x, again, sizeof x) == 0);
    CHECK(nvp_sample(f.flow, f.params, 5, 321, NULL, again, NULL, f.workspace) == NVP_OK);
    CHECK(memcmp(x, again, 321 * DIM * sizeof *x) == 0);
    CHECK(nvp_sample(f.flow, f.params, 6, 321, NULL, again, NULL, f.workspace) == NVP_OK);
    CHECK(memcmp(x, again, 321 * DIM * sizeof *x) != 0);
    CHECK(nvp_log_prob(f.flow, f.params, N, x, NULL, expected, f.workspace) == NVP_OK);
    double worst = 0, shares[4] = {0}, sum = 0;
    for (size_t t = 0; t < N; t++)
        worst = fmax(worst, fabs(log_prob[t] - expected[t]) / (1 + fabs(expected[t])));
    CHECK(worst < 1e-9);

    /* Components so far apart, and so narrow, that each sample shows from which it is. */
    double *logits = f.params + nvp_flow_base_offset(f.flow), *means = logits + 4, *factors = means + 4 * DIM;
    for (int k = 0; k < 4; k++) {
        sum += exp(logits[k]);
        for (int i = 0; i < DIM; i++)
            means[k * DIM + i] = k;
        for (int i = 0; i < DIM * (DIM + 1) / 2; i++)
            factors[k * DIM * (DIM + 1) / 2 + i] = i == 0 || i == 2 || i == 5 ? 5 : 0;
    }
    CHECK(nvp_sample(f.flow, f.params, 5, N, NULL, x, NULL, f.workspace) == NVP_OK);
    CHECK(nvp_inverse(f.flow, f.params, N, x, NULL, again, NULL, f.workspace) == NVP_OK);
    for (int t = 0; t < N; t++) {
        const double nearest = round(again[t * DIM]);
        CHECK(nearest >= 0 && nearest <= 3 && fabs(again[t * DIM + 2] - nearest) < 0.1);
        shares[(int)nearest] += 1.0 / N;
    }
    for (int k = 0; k < 4; k++)
        CHECK(fabs(shares[k] - exp(logits[k]) / sum) < 0.05);
    tear_down(&f);
}

/* A few samples, down to one, are the first of many, whatever the number of components: nothing is written beyond the
 * rows of a tile. */
static void check_few_samples_from_many_components(nvp_dtype dtype) {
    enum { K = 16, MANY = 200 };
    const size_t order[1] = {0}, size = dtype == NVP_FLOAT32 ? sizeof(float) : sizeof(double);
    const nvp_layer_config config = NVP_LAYER_CONFIG(.type = NVP_PERMUTATION, .permutation = order);
    double params[3 * K], many[MANY], few[MANY];
    for (size_t n_components = 1; n_components <= K; n_components++) {
        nvp_flow *flow;
        CHECK(nvp_flow_create(&flow, dtype, 1, 0, BASE_OF(n_components), 1, &config) == NVP_OK);
        nvp_flow_initialize(flow, 1, params);
        for (size_t n = 1; n <= MANY; n += n < 5 ? 1 : 65) {
            nvp_workspace *fresh = make_workspace(); /* as large as the call needs, so that the sanitizers see more */
            CHECK(nvp_sample(flow, params, 2, n, NULL, n == 1 ? many : few, NULL, fresh) == NVP_OK);
            CHECK(n == 1 || memcmp(many, few, size) == 0);
            nvp_workspace_destroy(fresh);
        }
        nvp_flow_destroy(flow);
    }
}

static void test_few_samples_from_many_components(void) {
    check_few_samples_from_many_components(NVP_FLOAT32);
    check_few_samples_from_many_components(NVP_FLOAT64);
}

static const named_test tests[] = {TEST(mixture), TEST(starting_mixture), TEST(sampling),
                                   TEST(few_samples_from_many_components)};

int main(int n_arguments, char **arguments) { return RUN_TESTS(tests, n_arguments, arguments); }
