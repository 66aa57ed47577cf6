/* What the library refuses: NULL for what a call needs, sizes that wrap, options and bounds outside of their ranges. */
#include "check.h"
#include "nvpflow.h"
#include "sized.h"
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { DIM = 2, CONTEXT = 1, N = 5 };
static const unsigned char mask[DIM] = {1, 0};
static const size_t hidden[1] = {4}, order[DIM] = {1, 0};

static const nvp_layer_config coupling =
    NVP_LAYER_CONFIG(.mask = mask, .hidden = hidden, .n_hidden = 1, .scale = NVP_SCALE_TANH, .scale_bound = 1);
static const nvp_layer_config spline = NVP_LAYER_CONFIG(.type = NVP_SPLINE_COUPLING, .mask = mask, .hidden = hidden,
                                                        .n_hidden = 1, .n_bins = 4, .tail_bound = 3);

static nvp_flow *make_flow(nvp_dtype dtype, size_t context_dim) {
    nvp_flow *flow = NULL;
    CHECK(nvp_flow_create(&flow, dtype, DIM, context_dim, NULL, 1, &coupling) == NVP_OK);
    return flow;
}

static nvp_workspace *make_workspace(void) {
    nvp_workspace *workspace = NULL;
    CHECK(nvp_workspace_create(&workspace) == NVP_OK);
    return workspace;
}

static const nvp_adam_options good_adam =
    NVP_ADAM_OPTIONS(.learning_rate = 1e-2, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8);

/* -- NULL -- */

#define REFUSED(call) CHECK((call) == NVP_ERROR_ARGUMENT)
#define FINE(call) CHECK((call) == NVP_OK)

static void test_passes_without_arrays(void) {
    nvp_flow *f = make_flow(NVP_FLOAT64, CONTEXT);
    nvp_workspace *w = make_workspace();
    double p[100], x[N * DIM] = {0.5}, c[N * CONTEXT] = {0}, out[2 * N * DIM], ld[N], g[100], nll;
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

static void test_making_without_places(void) {
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

static void test_sizes_that_wrap(void) {
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
                CHECK(nvp_flow_create(&flow, (nvp_dtype)dtype, 2, half - 4 + more, NULL, 1, layers[i]) == NVP_ERROR_SIZE);
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
static void test_extreme_bounds_compute(void) {
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

/* -- options -- */

#define ADAM(rate, b1, b2, eps) NVP_ADAM_OPTIONS(.learning_rate = rate, .beta1 = b1, .beta2 = b2, .epsilon = eps)

static void test_adam_options(void) {
    const double nan = (double)NAN, inf = (double)INFINITY;
    const nvp_adam_options bad[] = {
        ADAM(nan, 0.9, 0.999, 1e-8),  ADAM(-1e-3, 0.9, 0.999, 1e-8), ADAM(inf, 0.9, 0.999, 1e-8),
        ADAM(1e-2, 1, 0.999, 1e-8),   ADAM(1e-2, -0.1, 0.999, 1e-8), ADAM(1e-2, nan, 0.999, 1e-8),
        ADAM(1e-2, 0.9, 1, 1e-8),     ADAM(1e-2, 0.9, 2, 1e-8),      ADAM(1e-2, 0.9, nan, 1e-8),
        ADAM(1e-2, 0.9, -1e-9, 1e-8), ADAM(1e-2, 0.9, 0.999, -1e-8), ADAM(1e-2, 0.9, 0.999, nan),
        ADAM(1e-2, 0.9, 0.999, inf),  ADAM(1e308, 0.9, 0.999, 1e-8)};
    /* In single precision alone. */
    const nvp_adam_options too_much_for_single[] = {ADAM(1e-2, 0.9, 0.999, 1e-50), ADAM(1e-2, 0.9, 0.999, 1e-40),
                                                    ADAM(1e39, 0.9, 0.999, 1e-8), ADAM(1e38, 0.9, 0.999, 1e-8)};
    enum { N_BAD = sizeof bad / sizeof *bad, N_MORE = sizeof too_much_for_single / sizeof *too_much_for_single };
    nvp_workspace *w = make_workspace();
    for (int dtype = 0; dtype < 2; dtype++) {
        nvp_flow *f = make_flow((nvp_dtype)dtype, 0);
        double memory[4][100] = {{0}}, untouched[4][100], x[2 * DIM] = {0};
        const nvp_data data = NVP_DATA(.n = 2, .x = x);
        const size_t n = nvp_flow_n_parameters(f);
        nvp_flow_initialize(f, 1, memory[0]);
        memcpy(untouched, memory, sizeof memory);
        for (int i = 0; i < N_BAD + N_MORE; i++) {
            const nvp_adam_options adam = i < N_BAD ? bad[i] : too_much_for_single[i - N_BAD];
            const nvp_train_options options =
                NVP_TRAIN_OPTIONS(.max_epochs = 1, .learning_rate = adam.learning_rate, .beta1 = adam.beta1,
                                  .beta2 = adam.beta2, .epsilon = adam.epsilon);
            const bool fine = i >= N_BAD && dtype == NVP_FLOAT64;
            CHECK(nvp_adam_step((nvp_dtype)dtype, &adam, 1, n, memory[0], memory[1], memory[2], memory[3]) ==
                  (fine ? NVP_OK : NVP_ERROR_ARGUMENT));
            if (fine)
                continue;
            REFUSED(nvp_train(f, memory[0], &options, &data, NULL, NULL, w));
            CHECK(memcmp(untouched, memory, sizeof memory) == 0);
        }
        /* The ends of the ranges; parameters without a gradient stay where they are. */
        const nvp_adam_options ends[] = {ADAM(0, 0, 0, 1), ADAM(1e-2, 0, 0, dtype ? DBL_MIN : (double)FLT_MIN)};
        for (int i = 0; i < 2; i++) {
            FINE(nvp_adam_step((nvp_dtype)dtype, &ends[i], 1, n, memory[0], memory[1], memory[2], memory[3]));
            CHECK(memcmp(untouched, memory, sizeof memory) == 0);
        }
        REFUSED(nvp_adam_step((nvp_dtype)dtype, &good_adam, 0, n, memory[0], memory[1], memory[2], memory[3]));
        nvp_flow_destroy(f);
    }
    nvp_workspace_destroy(w);
}

static void test_training_options(void) {
    const double nan = (double)NAN, inf = (double)INFINITY;
    nvp_workspace *w = make_workspace();
    for (int dtype = 0; dtype < 2; dtype++) {
        nvp_flow *f = make_flow((nvp_dtype)dtype, 0);
        double params[100], start[100], numbers[2 * DIM] = {0};
        float singles[DIM] = {0};
        const nvp_data data = NVP_DATA(.n = 2, .x = numbers);
        nvp_train_result result, as_before;
        nvp_flow_initialize(f, 1, params);
        memcpy(start, params, sizeof params);
        result.epochs = 77, result.validation_nll = 7;
        as_before = result;
#define EXPECT(status, ...)                                                                                            \
    do {                                                                                                               \
        nvp_train_options o = NVP_TRAIN_OPTIONS(.max_epochs = 1, .learning_rate = 1e-2);                               \
        __VA_ARGS__;                                                                                                   \
        CHECK(nvp_train(f, params, &o, &data, NULL, (status) == NVP_OK ? NULL : &result, w) == (status));              \
        if ((status) == NVP_ERROR_ARGUMENT)                                                                            \
            CHECK(memcmp(params, start, sizeof params) == 0 && memcmp(&result, &as_before, sizeof result) == 0);       \
        else                                                                                                           \
            memcpy(params, start, sizeof params);                                                                      \
    } while (0)
        static const double no_decay[] = {-0.1, 1, 2, (double)NAN, (double)INFINITY};
        for (size_t i = 0; i < sizeof no_decay / sizeof *no_decay; i++)
            EXPECT(NVP_ERROR_ARGUMENT, o.average = no_decay[i]);
        EXPECT(NVP_OK, o.average = 0.999999);
        EXPECT(NVP_ERROR_ARGUMENT, o.final_fraction = -0.1);
        EXPECT(NVP_ERROR_ARGUMENT, o.final_fraction = 1.1);
        EXPECT(NVP_ERROR_ARGUMENT, o.final_fraction = nan);
        EXPECT(NVP_OK, o.final_fraction = 1);
        EXPECT(NVP_ERROR_ARGUMENT, o.tolerance = -1e-9);
        EXPECT(NVP_ERROR_ARGUMENT, o.tolerance = nan);
        EXPECT(NVP_ERROR_ARGUMENT, o.tolerance = inf);
        EXPECT(NVP_OK, o.tolerance = 1);
        EXPECT(NVP_ERROR_ARGUMENT, o.weight_decay = nan);
        EXPECT(NVP_ERROR_ARGUMENT, o.weight_decay = -1);
        EXPECT(NVP_ERROR_ARGUMENT, o.weight_decay = inf);
        EXPECT(dtype ? NVP_OK : NVP_ERROR_ARGUMENT, o.weight_decay = 1e42);
        EXPECT(NVP_ERROR_ARGUMENT, o.max_grad_norm = -1);
        EXPECT(NVP_ERROR_ARGUMENT, o.max_grad_norm = nan);
        EXPECT(NVP_OK, o.max_grad_norm = inf); /* clips nothing */
        EXPECT(NVP_ERROR_ARGUMENT, o.schedule = (nvp_schedule)2);
        EXPECT(NVP_ERROR_ARGUMENT, o.schedule = (nvp_schedule)-1);
        EXPECT(NVP_ERROR_ARGUMENT, o.epsilon = -1);
        double doubles[DIM] = {0};
        const double no_deviation[] = {-1, -1e-30, nan, inf};
        for (size_t i = 0; i < sizeof no_deviation / sizeof *no_deviation; i++) {
            doubles[1] = no_deviation[i], singles[1] = (float)no_deviation[i];
            EXPECT(NVP_ERROR_ARGUMENT, o.noise = dtype ? (void *)doubles : singles);
        }
        doubles[1] = singles[1] = 0.5f;
        EXPECT(NVP_OK, o.noise = dtype ? (void *)doubles : singles);
#undef EXPECT
        nvp_flow_destroy(f);
    }
    nvp_workspace_destroy(w);
}

/* -- structs that grow -- */

/* What a later header may look like. */
typedef struct {
    nvp_train_options known;
    double later;
} later_options;
typedef struct {
    nvp_data known;
    const void *later;
} later_data;
typedef struct {
    nvp_layer_config known;
    double later[2];
} later_layer;
typedef struct {
    nvp_train_result known;
    double later;
} later_result;

static void test_structs_of_other_sizes(void) {
    nvp_flow *f = make_flow(NVP_FLOAT64, 0);
    nvp_workspace *w = make_workspace();
    double p[100], before[100], m[100] = {0}, v[100] = {0}, nll, x[N * DIM] = {0.5, -0.5, 1};
    const size_t n = nvp_flow_n_parameters(f);
    nvp_flow_initialize(f, 1, p);
    memcpy(before, p, sizeof p);
    const nvp_data data = NVP_DATA(.n = N, .x = x);
    const nvp_train_options options = NVP_TRAIN_OPTIONS(.max_epochs = 1);

    /* No size, too small a one, and more fields than are known, which must be zero. */
    const size_t none[] = {0, 1, sizeof(size_t)};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        nvp_data bad_data = data;
        nvp_train_options bad_options = options;
        nvp_adam_options adam = good_adam;
        nvp_layer_config layer = coupling;
        nvp_base_config base = NVP_BASE_CONFIG(.kind = NVP_MIXTURE, .n_components = 2);
        nvp_train_result result = NVP_TRAIN_RESULT();
        nvp_flow *none_made;
        bad_data.size = bad_options.size = adam.size = layer.size = base.size = result.size = none[i];
        REFUSED(nvp_nll(f, p, &bad_data, &nll, NULL, w));
        REFUSED(nvp_train(f, p, &options, &bad_data, NULL, NULL, w));
        REFUSED(nvp_train(f, p, &options, &data, &bad_data, NULL, w));
        REFUSED(nvp_train(f, p, &bad_options, &data, NULL, NULL, w));
        REFUSED(nvp_train(f, p, &options, &data, NULL, &result, w));
        REFUSED(nvp_adam_step(NVP_FLOAT64, &adam, 1, n, p, x, m, v));
        REFUSED(nvp_flow_create(&none_made, NVP_FLOAT64, DIM, 0, NULL, 1, &layer));
        REFUSED(nvp_flow_create(&none_made, NVP_FLOAT64, DIM, 0, &base, 1, &coupling));
        CHECK(memcmp(p, before, sizeof p) == 0 && result.epochs == 0);
    }
    for (int given = 0; given < 2; given++) {
        const nvp_status expected = given ? NVP_ERROR_ARGUMENT : NVP_OK;
        later_options later = {options, given ? -0.5 : 0};
        later_data more = {data, given ? x : NULL};
        later.known.size = sizeof later, more.known.size = sizeof more;
        CHECK(nvp_nll(f, p, &more.known, &nll, NULL, w) == expected);
        CHECK(nvp_train(f, p, &later.known, &data, NULL, NULL, w) == expected);
    }
    nvp_flow_destroy(f);
    nvp_workspace_destroy(w);
}

static void test_bases(void) {
    nvp_flow *flow;
    const nvp_base_config bad[] = {NVP_BASE_CONFIG(.kind = NVP_MIXTURE), NVP_BASE_CONFIG(.kind = NVP_N_BASE_KINDS),
                                   NVP_BASE_CONFIG(.kind = (nvp_base_kind)-1, .n_components = 2)};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        REFUSED(nvp_flow_create(&flow, NVP_FLOAT64, DIM, 0, &bad[i], 1, &coupling));
        CHECK(!flow);
    }
    const nvp_base_config normal = NVP_BASE_CONFIG(.n_components = 5), mixture = *BASE_OF(5);
    FINE(nvp_flow_create(&flow, NVP_FLOAT64, DIM, 0, &normal, 1, &coupling));
    CHECK(nvp_flow_base_kind(flow) == NVP_STANDARD_NORMAL && nvp_flow_n_components(flow) == 0);
    CHECK(nvp_flow_base_offset(flow) == nvp_flow_n_parameters(flow));
    nvp_flow_destroy(flow);
    FINE(nvp_flow_create(&flow, NVP_FLOAT64, DIM, 0, &mixture, 1, &coupling));
    CHECK(nvp_flow_base_kind(flow) == NVP_MIXTURE && nvp_flow_n_components(flow) == 5);
    nvp_flow_destroy(flow);
}

/* An array of layers is as its first element says. */
static void test_layers_of_another_size(void) {
    later_layer layers[2] = {{coupling, {0, 0}}, {spline, {0, 0}}};
    const nvp_layer_config same[2] = {coupling, spline};
    nvp_flow *flow, *expected;
    layers[0].known.size = layers[1].known.size = sizeof *layers;
    FINE(nvp_flow_create(&flow, NVP_FLOAT64, DIM, 0, NULL, 2, &layers[0].known));
    FINE(nvp_flow_create(&expected, NVP_FLOAT64, DIM, 0, NULL, 2, same));
    CHECK(nvp_flow_n_parameters(flow) == nvp_flow_n_parameters(expected));
    CHECK(nvp_flow_layer_offset(flow, 1) == nvp_flow_layer_offset(expected, 1));
    nvp_flow_destroy(flow);
    nvp_flow_destroy(expected);
    layers[1].later[1] = 1;
    REFUSED(nvp_flow_create(&flow, NVP_FLOAT64, DIM, 0, NULL, 2, &layers[0].known));
    layers[1].later[1] = 0, layers[1].known.size = sizeof(nvp_layer_config);
    REFUSED(nvp_flow_create(&flow, NVP_FLOAT64, DIM, 0, NULL, 2, &layers[0].known));
    CHECK(!flow);
}

/* A result is filled in as far as it goes, and what is not known stays. */
static void test_results_of_another_size(void) {
    nvp_flow *f = make_flow(NVP_FLOAT64, 0);
    nvp_workspace *w = make_workspace();
    double p[100], x[N * DIM] = {0.5, -0.5, 1};
    nvp_flow_initialize(f, 1, p);
    later_result result = {NVP_TRAIN_RESULT(), 5};
    result.known.size = sizeof result;
    FINE(nvp_train(f, p, &(nvp_train_options)NVP_TRAIN_OPTIONS(.max_epochs = 2), &(nvp_data)NVP_DATA(.n = N, .x = x),
                   NULL, &result.known, w));
    CHECK(result.known.epochs == 2 && isnan(result.known.validation_nll) && result.later == 5);
    CHECK(result.known.size == sizeof result);
    nvp_flow_destroy(f);
    nvp_workspace_destroy(w);
}

/* What an older header has: the later fields are zero. */
static void test_structs_of_older_callers(void) {
    struct {
        size_t size;
        int first, later;
        double last;
    } own;
    const struct {
        size_t size;
        int first;
        int not_its_own;
    } given = {2 * sizeof(size_t), 3, 4};
    memset(&own, 7, sizeof own);
    CHECK(nvp_take(&own, sizeof own, sizeof(size_t) + sizeof(int), &given));
    CHECK(own.size == sizeof own && own.first == 3 && own.last == 0);
    CHECK(own.later == (2 * sizeof(size_t) >= sizeof given ? 4 : 0));
    CHECK(!nvp_take(&own, sizeof own, 3 * sizeof(size_t), &given));
    CHECK(!nvp_take(&own, sizeof own, sizeof(size_t), NULL));
}

/* Zeros are the article's, but where there is an epsilon; in both structs alike. */
static void test_defaults_of_adam(void) {
    const nvp_adam_options given[] = {ADAM(0, 0, 0, 0), ADAM(1e-3, 0.9, 0.999, 1e-8), ADAM(2e-3, 0, 0.5, 0),
                                      ADAM(2e-3, 0.9, 0.5, 1e-8), ADAM(1e-3, 0, 0, 1e-8)};
    nvp_workspace *w = make_workspace();
    nvp_flow *f = make_flow(NVP_FLOAT64, 0);
    const size_t n = nvp_flow_n_parameters(f);
    double x[N * DIM] = {0.5, -0.5, 1}, steps[5][100], trained[5][100];
    for (int i = 0; i < 5; i++) {
        double grad[100], m[100] = {0}, v[100] = {0};
        nvp_flow_initialize(f, 1, steps[i]);
        nvp_flow_initialize(f, 1, trained[i]);
        for (size_t k = 0; k < n; k++)
            grad[k] = sin((double)k);
        for (size_t step = 1; step <= 3; step++)
            FINE(nvp_adam_step(NVP_FLOAT64, &given[i], step, n, steps[i], grad, m, v));
        const nvp_train_options options =
            NVP_TRAIN_OPTIONS(.max_epochs = 3, .learning_rate = given[i].learning_rate, .beta1 = given[i].beta1,
                              .beta2 = given[i].beta2, .epsilon = given[i].epsilon);
        FINE(nvp_train(f, trained[i], &options, &(nvp_data)NVP_DATA(.n = N, .x = x), NULL, NULL, w));
    }
    for (int i = 0; i < 5; i += 2) {
        const bool same = i < 4; /* as the next one */
        const int other = same ? i + 1 : 1;
        CHECK((memcmp(steps[i], steps[other], n * sizeof(double)) == 0) == same);
        CHECK((memcmp(trained[i], trained[other], n * sizeof(double)) == 0) == same);
    }
    nvp_flow_destroy(f);
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
static void test_files_that_cannot_be_read(void) {
    nvp_flow *flow;
    void *params;
    CHECK(nvp_flow_load("/", &flow, &params) == NVP_ERROR_FILE && !flow && !params);
    CHECK(nvp_flow_load(".", &flow, &params) == NVP_ERROR_FILE);
    CHECK(nvp_flow_load("no such file", &flow, &params) == NVP_ERROR_FILE);
    CHECK(nvp_flow_load("", &flow, &params) == NVP_ERROR_FILE);
    CHECK(nvp_flow_load("/dev/null", &flow, &params) == NVP_ERROR_FORMAT);
}

static const named_test tests[] = {TEST(passes_without_arrays),
                                   TEST(making_without_places),
                                   TEST(no_parameters),
                                   TEST(sizes_that_wrap),
                                   TEST(bounds),
                                   TEST(extreme_bounds_compute),
                                   TEST(adam_options),
                                   TEST(training_options),
                                   TEST(structs_of_other_sizes),
                                   TEST(bases),
                                   TEST(layers_of_another_size),
                                   TEST(results_of_another_size),
                                   TEST(structs_of_older_callers),
                                   TEST(defaults_of_adam),
                                   TEST(version),
                                   TEST(files_that_cannot_be_read)};

int main(int n_arguments, char **arguments) { return RUN_TESTS(tests, n_arguments, arguments); }
