/* What the library refuses: NULL for what a call needs, sizes that wrap, bounds outside of their ranges. */
#include "one_coupling.h"
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const size_t order[DIM] = {1, 0};

/* -- NULL -- */

static void test_passes_without_arrays(void) {
    nvp_flow *f = make_flow(NVP_FLOAT64, CONTEXT);
    nvp_workspace *w = make_workspace();
    double p[100] = {0}, x[N * DIM] = {0.5}, c[N * CONTEXT] = {0}, out[2 * N * DIM], ld[N], g[100], nll;
    CHECK(nvp_flow_n_parameters(f) <= 100);
    nvp_flow_initialize(f, 1, p);

    FINE(nvp_forward(f, p, N, x, c, out, NULL, w));
    REFUSED(nvp_forward(NULL, p, N, x, c, out, ld, w));
    REFUSED(nvp_forward(f, NULL, N, x, c, out, ld, w));
    REFUSED(nvp_forward(f, p, N, NULL, c, out, ld, w)); /* once this drew samples */
    REFUSED(nvp_forward(f, p, N, x, NULL, out, ld, w));
    REFUSED(nvp_forward(f, p, N, x, c, NULL, ld, w));
    REFUSED(nvp_forward(f, p, N, x, c, out, ld, NULL));
    FINE(nvp_forward(f, NULL, 0, NULL, NULL, NULL, NULL, w));
    REFUSED(nvp_forward(NULL, NULL, 0, NULL, NULL, NULL, NULL, w));
    REFUSED(nvp_forward(f, NULL, 0, NULL, NULL, NULL, NULL, NULL));

    FINE(nvp_inverse(f, p, N, x, c, out, NULL, w));
    REFUSED(nvp_inverse(f, p, N, NULL, c, out, ld, w));
    REFUSED(nvp_inverse(f, p, N, x, NULL, out, ld, w));
    REFUSED(nvp_inverse(f, p, N, x, c, NULL, ld, w));
    REFUSED(nvp_inverse(f, NULL, N, x, c, out, ld, w));
    REFUSED(nvp_inverse(f, p, N, x, c, out, ld, NULL));
    FINE(nvp_inverse(f, NULL, 0, NULL, NULL, NULL, NULL, w));

    FINE(nvp_log_prob(f, p, N, x, c, ld, w));
    REFUSED(nvp_log_prob(NULL, p, N, x, c, ld, w));
    REFUSED(nvp_log_prob(f, NULL, N, x, c, ld, w));
    REFUSED(nvp_log_prob(f, p, N, NULL, c, ld, w));
    REFUSED(nvp_log_prob(f, p, N, x, NULL, ld, w));
    REFUSED(nvp_log_prob(f, p, N, x, c, NULL, w));
    REFUSED(nvp_log_prob(f, p, N, x, c, ld, NULL));
    FINE(nvp_log_prob(f, NULL, 0, NULL, NULL, NULL, w));

    FINE(nvp_trace(f, p, 1, N, x, c, out, w));
    REFUSED(nvp_trace(f, p, 1, N, NULL, c, out, w));
    REFUSED(nvp_trace(f, p, 0, N, x, NULL, out, w));
    REFUSED(nvp_trace(f, p, 0, N, x, c, NULL, w));
    REFUSED(nvp_trace(f, NULL, 0, N, x, c, out, w));
    FINE(nvp_trace(f, NULL, 0, 0, NULL, NULL, NULL, w));

    FINE(nvp_sample(f, p, 1, N, c, out, NULL, w));
    REFUSED(nvp_sample(NULL, p, 1, N, c, out, ld, w));
    REFUSED(nvp_sample(f, NULL, 1, N, c, out, ld, w));
    REFUSED(nvp_sample(f, p, 1, N, NULL, out, ld, w));
    REFUSED(nvp_sample(f, p, 1, N, c, NULL, ld, w));
    REFUSED(nvp_sample(f, p, 1, N, c, out, ld, NULL));
    FINE(nvp_sample(f, NULL, 1, 0, NULL, NULL, NULL, w));

    const nvp_data data = NVP_DATA(.n = N, .x = x, .context = c), no_x = NVP_DATA(.n = N, .context = c),
                   no_context = NVP_DATA(.n = N, .x = x);
    FINE(nvp_nll(f, p, &data, &nll, NULL, w));
    REFUSED(nvp_nll(NULL, p, &data, &nll, g, w));
    REFUSED(nvp_nll(f, NULL, &data, &nll, g, w));
    REFUSED(nvp_nll(f, p, NULL, &nll, g, w));
    REFUSED(nvp_nll(f, p, &no_x, &nll, g, w)); /* once this drew samples */
    REFUSED(nvp_nll(f, p, &no_context, &nll, g, w));
    REFUSED(nvp_nll(f, p, &data, NULL, g, w));
    REFUSED(nvp_nll(f, p, &data, &nll, g, NULL));

    nvp_status (*const vjps[2])(const nvp_flow *, const void *, size_t, const void *, const void *, const void *,
                                const void *, void *, void *, void *,
                                nvp_workspace *) = {nvp_forward_vjp, nvp_inverse_vjp};
    for (int i = 0; i < 2; i++) {
        FINE(vjps[i](f, p, N, x, c, NULL, NULL, NULL, NULL, NULL, w));
        REFUSED(vjps[i](NULL, p, N, x, c, x, NULL, out, NULL, g, w));
        REFUSED(vjps[i](f, NULL, N, x, c, x, NULL, out, NULL, g, w));
        REFUSED(vjps[i](f, p, N, NULL, c, x, NULL, out, NULL, g, w));
        REFUSED(vjps[i](f, p, N, x, NULL, x, NULL, out, NULL, g, w));
        REFUSED(vjps[i](f, p, N, x, c, x, NULL, out, NULL, g, NULL));
        g[0] = 7;
        FINE(vjps[i](f, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, g, w));
        CHECK(g[0] == 0); /* the gradient of an empty sum */
    }

    nvp_train_options options = NVP_TRAIN_OPTIONS(.max_epochs = 3, .learning_rate = 1e-2);
    nvp_train_result result = NVP_TRAIN_RESULT();
    double before[100];
    memcpy(before, p, sizeof p);
    REFUSED(nvp_train(NULL, p, &options, &data, NULL, &result, w));
    REFUSED(nvp_train(f, NULL, &options, &data, NULL, &result, w));
    REFUSED(nvp_train(f, p, NULL, &data, NULL, &result, w));
    REFUSED(nvp_train(f, p, &options, NULL, NULL, &result, w));
    REFUSED(nvp_train(f, p, &options, &no_x, NULL, &result, w)); /* once this learnt noise */
    REFUSED(nvp_train(f, p, &options, &no_context, NULL, &result, w));
    REFUSED(nvp_train(f, p, &options, &data, &no_x, &result, w));
    REFUSED(nvp_train(f, p, &options, &data, &no_context, &result, w));
    REFUSED(nvp_train(f, p, &options, &data, NULL, &result, NULL));
    CHECK(memcmp(before, p, sizeof p) == 0);
    FINE(nvp_train(f, p, &options, &data, &(nvp_data)NVP_DATA(), NULL, w));

    REFUSED(nvp_adam_step(NVP_FLOAT64, NULL, 1, 2, p, g, out, ld));
    REFUSED(nvp_adam_step(NVP_FLOAT64, &good_adam, 1, 2, NULL, g, out, ld));
    REFUSED(nvp_adam_step(NVP_FLOAT64, &good_adam, 1, 2, p, NULL, out, ld));
    REFUSED(nvp_adam_step(NVP_FLOAT64, &good_adam, 1, 2, p, g, NULL, ld));
    REFUSED(nvp_adam_step(NVP_FLOAT64, &good_adam, 1, 2, p, g, out, NULL));
    REFUSED(nvp_adam_step((nvp_dtype)2, &good_adam, 1, 2, p, g, out, ld));
    FINE(nvp_adam_step(NVP_FLOAT64, &good_adam, 1, 0, NULL, NULL, NULL, NULL));
    nvp_workspace_destroy(w);
    nvp_flow_destroy(f);
}

static void test_create_without_outputs(void) {
    size_t size;
    nvp_flow *flow;
    void *params;
    REFUSED(nvp_flow_create(NULL, NVP_FLOAT64, DIM, 0, NULL, 1, &coupling));
    REFUSED(nvp_workspace_create(NULL));
    REFUSED(nvp_train_state_size(NULL, &size));
    REFUSED(nvp_flow_decode(NULL, 0, NULL));
    REFUSED(nvp_flow_decode(&flow, 3, NULL));
    REFUSED(nvp_flow_decode(&flow, 0, NULL));
    REFUSED(nvp_flow_load(NULL, &flow, &params));
    REFUSED(nvp_flow_load("/", NULL, &params));
    REFUSED(nvp_flow_load("/", &flow, NULL));
    REFUSED(nvp_flow_load_bytes(NULL, 5, &flow, &params));
    REFUSED(nvp_flow_load_bytes("PK", 2, NULL, &params));
    REFUSED(nvp_flow_load_bytes("PK", 2, &flow, NULL));
    CHECK(nvp_flow_load_bytes(NULL, 0, &flow, &params) == NVP_ERROR_FORMAT);
    nvp_flow *made = make_flow(NVP_FLOAT64, 0);
    REFUSED(nvp_train_state_size(made, NULL));
    CHECK(nvp_flow_layer_offset(made, 0) == 0 && nvp_flow_layer_offset(made, 1) == nvp_flow_base_offset(made));
    CHECK(nvp_flow_layer_offset(made, SIZE_MAX) == nvp_flow_base_offset(made));
    nvp_flow_destroy(made);
}

/* Nothing is read where a flow has no parameters. */
static void test_no_parameters(void) {
    const nvp_layer_config permuted = NVP_LAYER_CONFIG(.type = NVP_PERMUTATION, .permutation = order);
    nvp_workspace *w = make_workspace();
    nvp_flow *f;
    const double x[DIM] = {1, 2};
    double out[DIM], log_prob, nll;
    const nvp_data data = NVP_DATA(.n = 1, .x = x);
    const nvp_train_options options = NVP_TRAIN_OPTIONS(.max_epochs = 2, .learning_rate = 1e-2);
    FINE(nvp_flow_create(&f, NVP_FLOAT64, DIM, 0, NULL, 1, &permuted));
    nvp_flow_initialize(f, 1, NULL);
    FINE(nvp_forward(f, NULL, 1, x, NULL, out, NULL, w));
    CHECK(out[0] == 2 && out[1] == 1);
    FINE(nvp_log_prob(f, NULL, 1, x, NULL, &log_prob, w));
    CHECK(fabs(log_prob + 2.5 + log(2 * 3.14159265358979323846)) < 1e-14);
    FINE(nvp_train(f, NULL, &options, &data, NULL, NULL, w));
    FINE(nvp_nll(f, NULL, &data, &nll, NULL, w));
    CHECK(nll == -log_prob);
    nvp_flow_destroy(f);
    nvp_workspace_destroy(w);
}

/* -- sizes that wrap -- */

static void test_overflowing_sizes(void) {
    const nvp_layer_config act_norm = NVP_LAYER_CONFIG(.type = NVP_ACT_NORM),
                           lu = NVP_LAYER_CONFIG(.type = NVP_LU_LINEAR);
    const nvp_layer_config permuted = NVP_LAYER_CONFIG(.type = NVP_PERMUTATION, .permutation = order);
    const nvp_layer_config *const layers[] = {&act_norm, &lu, &permuted, &coupling, &spline};
    nvp_flow *flow;
    /* 4 D + 2 C rows, and what the layer has of its own, would come out as 0 or little more. */
    const size_t half = SIZE_MAX / 2 + 1;
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
        for (int dtype = 0; dtype < 2; dtype++)
            for (size_t more = 0; more < 70; more++) {
                CHECK(nvp_flow_create(&flow, (nvp_dtype)dtype, 2, half - 4 + more, NULL, 1, layers[i]) ==
                      NVP_ERROR_SIZE);
                CHECK(!flow);
            }
    /* The same with D, where the layer has no list of its columns. */
    for (size_t part = 1; part <= 4; part *= 2)
        for (size_t less = 1; less < 5; less++)
            CHECK(nvp_flow_create(&flow, NVP_FLOAT32, SIZE_MAX / part + 1 - less, 0, NULL, 1, &act_norm) ==
                  NVP_ERROR_SIZE);
    /* As a file may have it: numbers below 2^53 wrap where size_t has 32 bits. */
    const double odd[] = {0x1p29, 0x1p30, 0x1p31, 0x1p31 - 4, 0x1p32 - 4, 0x1p51, 0x1p52, 0x1p53 - 1};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        for (size_t j = 0; j < 3; j++) {
            double numbers[7] = {2, 0, 2, 0, 0, 1, NVP_ACT_NORM};
            numbers[2 + j] = odd[i];
            const nvp_status status = nvp_flow_decode(&flow, 7, numbers);
            CHECK(status == NVP_OK || status == NVP_ERROR_SIZE || status == NVP_ERROR_ARGUMENT);
            nvp_flow_destroy(flow);
        }
}

/* -- bounds that the dtype cannot compute with -- */

static nvp_status create(nvp_dtype dtype, nvp_layer_config config, double bound) {
    nvp_flow *flow;
    config.scale_bound = config.tail_bound = bound;
    const nvp_status status = nvp_flow_create(&flow, dtype, DIM, 0, NULL, 1, &config);
    CHECK((flow != NULL) == (status == NVP_OK));
    nvp_flow_destroy(flow);
    return status;
}

static void test_bounds(void) {
    static const double never[] = {0, -1, -1e-3, (double)NAN, (double)INFINITY, -(double)INFINITY};
    for (int dtype = 0; dtype < 2; dtype++) {
        const bool single = dtype == NVP_FLOAT32;
        const double least = single ? (double)FLT_MIN : DBL_MIN, root = sqrt(least);
        const double largest_root = sqrt(single ? (double)FLT_MAX : DBL_MAX);
        for (size_t i = 0; i < sizeof never / sizeof *never; i++) {
            REFUSED(create((nvp_dtype)dtype, coupling, never[i]));
            REFUSED(create((nvp_dtype)dtype, spline, never[i]));
        }
        FINE(create((nvp_dtype)dtype, coupling, least));
        FINE(create((nvp_dtype)dtype, coupling, 1 / least));
        REFUSED(create((nvp_dtype)dtype, coupling, least / 2));
        REFUSED(create((nvp_dtype)dtype, coupling, 2 / least));
        FINE(create((nvp_dtype)dtype, spline, 1.01 * root));
        FINE(create((nvp_dtype)dtype, spline, 0.99 * largest_root));
        REFUSED(create((nvp_dtype)dtype, spline, 0.99 * root));
        REFUSED(create((nvp_dtype)dtype, spline, 1.01 * largest_root));
    }
    REFUSED(create(NVP_FLOAT32, coupling, 1e39));
    REFUSED(create(NVP_FLOAT32, coupling, 1e-39));
    REFUSED(create(NVP_FLOAT32, spline, 3e38));
    FINE(create(NVP_FLOAT64, coupling, 1e39));
    FINE(create(NVP_FLOAT64, coupling, 1e-39));
    FINE(create(NVP_FLOAT64, spline, 3e38));
    /* The published layer has no bound. */
    nvp_layer_config unbounded = coupling;
    unbounded.scale = NVP_SCALE_EXP;
    FINE(create(NVP_FLOAT32, unbounded, (double)NAN));
}

/* What is accepted computes: numbers and gradients of samples within the bound are finite, at both ends. */
static void test_extreme_bounds(void) {
    enum { MANY = 300 };
    nvp_workspace *w = make_workspace();
    for (int end = 0; end < 2; end++) {
        const double root = sqrt(end ? (double)FLT_MAX : (double)FLT_MIN), bound = (end ? 0.99 : 1.01) * root;
        nvp_layer_config config = spline;
        nvp_flow *flow;
        float params[200], grad[200], x[MANY * DIM], log_prob[MANY];
        double nll;
        config.tail_bound = bound;
        FINE(nvp_flow_create(&flow, NVP_FLOAT32, DIM, 0, NULL, 1, &config));
        const size_t n = nvp_flow_n_parameters(flow);
        CHECK(n <= 200);
        nvp_flow_initialize(flow, 1, params);
        for (size_t i = 0; i < n; i++)
            params[i] *= 20;
        for (int t = 0; t < MANY; t++)
            x[2 * t] = (float)(t % 7 - 3), x[2 * t + 1] = (float)(bound * 0.5 * (t - MANY / 2) / MANY);
        FINE(nvp_log_prob(flow, params, MANY, x, NULL, log_prob, w));
        FINE(nvp_nll(flow, params, &(nvp_data)NVP_DATA(.n = MANY, .x = x), &nll, grad, w));
        CHECK(isfinite(nll));
        for (int t = 0; t < MANY; t++)
            CHECK(isfinite(log_prob[t]));
        for (size_t i = 0; i < n; i++)
            CHECK(isfinite(grad[i]));
        nvp_flow_destroy(flow);
    }
    nvp_workspace_destroy(w);
}

static void test_version(void) {
    char text[40];
    snprintf(text, sizeof text, "%d.%d.%d", NVP_VERSION_MAJOR, NVP_VERSION_MINOR, NVP_VERSION_PATCH);
    CHECK(strcmp(nvp_version(), text) == 0 && strcmp(NVP_VERSION, text) == 0);
    CHECK(NVP_VERSION_NUMBER == NVP_VERSION_MAJOR * 10000 + NVP_VERSION_MINOR * 100 + NVP_VERSION_PATCH);
    nvp_free(NULL);
}

/* A directory can be opened on some systems, but not read. */
static void test_unreadable_files(void) {
    nvp_flow *flow;
    void *params;
    CHECK(nvp_flow_load("/", &flow, &params) == NVP_ERROR_FILE && !flow && !params);
    CHECK(nvp_flow_load(".", &flow, &params) == NVP_ERROR_FILE);
    CHECK(nvp_flow_load("no such file", &flow, &params) == NVP_ERROR_FILE);
    CHECK(nvp_flow_load("", &flow, &params) == NVP_ERROR_FILE);
    CHECK(nvp_flow_load("/dev/null", &flow, &params) == NVP_ERROR_FORMAT);
}

static const named_test tests[] = {TEST(passes_without_arrays),
                                   TEST(create_without_outputs),
                                   TEST(no_parameters),
                                   TEST(overflowing_sizes),
                                   TEST(bounds),
                                   TEST(extreme_bounds),
                                   TEST(version),
                                   TEST(unreadable_files)};

int main(int n_arguments, char **arguments) { return RUN_TESTS(tests, n_arguments, arguments); }
