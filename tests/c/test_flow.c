/* Flows: their descriptions, both directions, samples and contexts, with each instruction set and number of threads. */
#define _POSIX_C_SOURCE 200809L /* setenv */
#include "small_flow.h"

static void test_bad_descriptions(void) {
    const unsigned char mask[2] = {1, 0}, bad_mask[2] = {1, 2};
    const size_t none[1] = {0}, twice[2] = {1, 1}, beyond[2] = {0, 2}, order[2] = {1, 0},
                 huge[2] = {SIZE_MAX / 2, SIZE_MAX / 2};
    const nvp_layer_config good = NVP_LAYER_CONFIG(.mask = mask, .hidden = hidden, .n_hidden = 1, .scale_bound = 1);
    nvp_flow *flow;
#define EXPECT(status, ...)                                                                                            \
    do {                                                                                                               \
        nvp_layer_config config = good;                                                                                \
        __VA_ARGS__;                                                                                                   \
        flow = (nvp_flow *)(void *)&config;                                                                            \
        CHECK(nvp_flow_create(&flow, NVP_FLOAT32, 2, 0, NULL, 1, &config) == (status));                                \
        CHECK((flow != NULL) == ((status) == NVP_OK));                                                                 \
        nvp_flow_destroy(flow);                                                                                        \
    } while (0)
    EXPECT(NVP_OK, (void)config);
    EXPECT(NVP_OK, config.n_hidden = 0);
    EXPECT(NVP_ERROR_ARGUMENT, config.mask = bad_mask);
    EXPECT(NVP_ERROR_ARGUMENT, config.mask = NULL);
    EXPECT(NVP_ERROR_ARGUMENT, config.hidden = none);
    EXPECT(NVP_ERROR_ARGUMENT, config.hidden = NULL);
    EXPECT(NVP_ERROR_ARGUMENT, config.type = NVP_N_LAYER_TYPES);
    EXPECT(NVP_ERROR_ARGUMENT, config.activation = NVP_N_ACTIVATIONS);
    EXPECT(NVP_ERROR_ARGUMENT, config.scale = (nvp_scale)2);
    EXPECT(NVP_ERROR_ARGUMENT, (config.scale = NVP_SCALE_TANH, config.scale_bound = 0));
    EXPECT(NVP_ERROR_ARGUMENT, (config.scale = NVP_SCALE_TANH, config.scale_bound = (double)NAN));
    EXPECT(NVP_OK, config.type = NVP_ADDITIVE_COUPLING);
    EXPECT(NVP_ERROR_ARGUMENT, (config.type = NVP_ADDITIVE_COUPLING, config.mask = NULL));
    const nvp_layer_config spline = NVP_LAYER_CONFIG(.type = NVP_SPLINE_COUPLING, .mask = mask, .hidden = hidden,
                                                     .n_hidden = 1, .n_bins = 8, .tail_bound = 3);
    EXPECT(NVP_OK, config = spline);
    EXPECT(NVP_ERROR_ARGUMENT, (config = spline, config.n_bins = 1));
    EXPECT(NVP_ERROR_ARGUMENT, (config = spline, config.n_bins = NVP_MAX_BINS + 1));
    EXPECT(NVP_ERROR_ARGUMENT, (config = spline, config.tail_bound = 0));
    EXPECT(NVP_ERROR_ARGUMENT, (config = spline, config.tail_bound = (double)INFINITY));
    EXPECT(NVP_ERROR_ARGUMENT, config.type = NVP_PERMUTATION);
    EXPECT(NVP_OK, (config.type = NVP_PERMUTATION, config.permutation = order));
    EXPECT(NVP_ERROR_ARGUMENT, (config.type = NVP_PERMUTATION, config.permutation = twice));
    EXPECT(NVP_ERROR_ARGUMENT, (config.type = NVP_PERMUTATION, config.permutation = beyond));
    EXPECT(NVP_ERROR_SIZE, config.hidden = huge);
    EXPECT(NVP_ERROR_SIZE, (config.hidden = huge, config.n_hidden = 2));
#undef EXPECT
    CHECK(nvp_flow_create(&flow, NVP_FLOAT32, 0, 0, NULL, 1, &good) == NVP_ERROR_ARGUMENT);
    CHECK(nvp_flow_create(&flow, NVP_FLOAT32, 2, 0, NULL, 0, &good) == NVP_ERROR_ARGUMENT);
    CHECK(nvp_flow_create(&flow, NVP_FLOAT32, 2, SIZE_MAX - 1, NULL, 1, &good) == NVP_ERROR_SIZE);
    CHECK(nvp_flow_create(&flow, NVP_FLOAT32, 2, SIZE_MAX / 8, NULL, 1, &good) == NVP_ERROR_SIZE);
    CHECK(nvp_flow_create(&flow, NVP_FLOAT32, 2, 0, NULL, 1, NULL) == NVP_ERROR_ARGUMENT);
    CHECK(nvp_flow_create(&flow, (nvp_dtype)5, 2, 0, NULL, 1, &good) == NVP_ERROR_ARGUMENT);
    const nvp_layer_config act_norm = NVP_LAYER_CONFIG(.type = NVP_ACT_NORM);
    CHECK(nvp_flow_create(&flow, NVP_FLOAT64, SIZE_MAX / 4, 0, NULL, 1, &act_norm) == NVP_ERROR_SIZE);
    const nvp_layer_config lu = NVP_LAYER_CONFIG(.type = NVP_LU_LINEAR);
    CHECK(nvp_flow_create(&flow, NVP_FLOAT64, SIZE_MAX / 4, 0, NULL, 1, &lu) == NVP_ERROR_SIZE);
    /* Components: their number, and that of their parameters in all, K (1 + D + D (D + 1) / 2). */
    const nvp_layer_config permuted = NVP_LAYER_CONFIG(.type = NVP_PERMUTATION, .permutation = order);
    const size_t too_many[] = {SIZE_MAX, SIZE_MAX / 2, SIZE_MAX / 6 + 1, SIZE_MAX / 6 - 1, SIZE_MAX / 24 + 1};
    for (size_t i = 0; i < sizeof too_many / sizeof *too_many; i++) {
        flow = (nvp_flow *)(void *)&flow;
        CHECK(nvp_flow_create(&flow, NVP_FLOAT32, 2, 0, BASE_OF(too_many[i]), 1, &permuted) == NVP_ERROR_SIZE && !flow);
        CHECK(nvp_flow_create(&flow, NVP_FLOAT64, 2, 0, BASE_OF(too_many[i]), 1, &good) == NVP_ERROR_SIZE && !flow);
    }
    CHECK(nvp_flow_create(&flow, NVP_FLOAT64, SIZE_MAX / 32, 0, BASE_OF(1), 1, &act_norm) == NVP_ERROR_SIZE && !flow);
    CHECK(nvp_flow_create(&flow, NVP_FLOAT32, 2, 0, BASE_OF(SIZE_MAX), 1, NULL) == NVP_ERROR_ARGUMENT);
    CHECK(nvp_flow_create(&flow, NVP_FLOAT32, 2, 0, BASE_OF(7), 1, &permuted) == NVP_OK);
    CHECK(nvp_flow_n_components(flow) == 7 && nvp_flow_base_offset(flow) == 0 && nvp_flow_n_parameters(flow) == 7 * 6);
    nvp_flow_destroy(flow);
    CHECK(nvp_flow_create(&flow, NVP_FLOAT32, 2, 0, NULL, 1, &good) == NVP_OK);
    CHECK(nvp_flow_n_components(flow) == 0 && nvp_flow_base_offset(flow) == nvp_flow_n_parameters(flow));
    nvp_flow_destroy(flow);
    nvp_flow_destroy(NULL);
    nvp_workspace_destroy(NULL);
}

static void test_bases(void) {
    nvp_flow *flow;
    const nvp_layer_config layer = NVP_LAYER_CONFIG(.type = NVP_ACT_NORM);
    const nvp_base_config bad[] = {NVP_BASE_CONFIG(.kind = NVP_MIXTURE), NVP_BASE_CONFIG(.kind = NVP_N_BASE_KINDS),
                                   NVP_BASE_CONFIG(.kind = (nvp_base_kind)-1, .n_components = 2)};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(nvp_flow_create(&flow, NVP_FLOAT64, 2, 0, &bad[i], 1, &layer) == NVP_ERROR_ARGUMENT && !flow);
    const nvp_base_config normal = NVP_BASE_CONFIG(.n_components = 5), mixture = *BASE_OF(5);
    CHECK(nvp_flow_create(&flow, NVP_FLOAT64, 2, 0, &normal, 1, &layer) == NVP_OK);
    CHECK(nvp_flow_base_kind(flow) == NVP_STANDARD_NORMAL && nvp_flow_n_components(flow) == 0);
    CHECK(nvp_flow_base_offset(flow) == nvp_flow_n_parameters(flow));
    nvp_flow_destroy(flow);
    CHECK(nvp_flow_create(&flow, NVP_FLOAT64, 2, 0, &mixture, 1, &layer) == NVP_OK);
    CHECK(nvp_flow_base_kind(flow) == NVP_MIXTURE && nvp_flow_n_components(flow) == 5);
    nvp_flow_destroy(flow);
}

static void test_instruction_sets(void) {
    static const char *const names[] = {"baseline", "neon", "avx2", "avx512"};
    double x[DIM * 50], expected[50], log_prob[50], grad[550], expected_grad[550];
    fill(x, DIM * 50, 3);
    int n_available = 0;
    for (int i = 0; i < 4; i++) {
        setenv("NVPFLOW_ISA", names[i], 1);
        const nvp_layer_config act_norm = NVP_LAYER_CONFIG(.type = NVP_ACT_NORM);
        nvp_flow *probe;
        if (nvp_flow_create(&probe, NVP_FLOAT64, 1, 0, NULL, 1, &act_norm) == NVP_ERROR_UNSUPPORTED)
            continue;
        CHECK(strcmp(nvp_flow_isa(probe), names[i]) == 0 || strcmp(nvp_flow_isa(probe), "neon") == 0);
        nvp_flow_destroy(probe);
        fixture f = set_up_with(0, 4);
        double nll;
        CHECK(f.n_params <= 550);
        CHECK(nvp_log_prob(f.flow, f.params, 50, x, NULL, log_prob, f.workspace) == NVP_OK);
        CHECK(nvp_nll(f.flow, f.params, SAMPLES(50, x), &nll, grad, f.workspace) == NVP_OK);
        if (n_available++ == 0) {
            memcpy(expected, log_prob, sizeof expected);
            memcpy(expected_grad, grad, sizeof grad);
        }
        double worst = 0;
        for (int t = 0; t < 50; t++)
            worst = fmax(worst, fabs(log_prob[t] - expected[t]) / fabs(expected[t]));
        for (size_t p = 0; p < f.n_params; p++)
            worst = fmax(worst, fabs(grad[p] - expected_grad[p]));
        CHECK(worst < 1e-13);
        tear_down(&f);
    }
    CHECK(n_available >= 1);
    setenv("NVPFLOW_ISA", "abacus", 1);
    const nvp_layer_config act_norm = NVP_LAYER_CONFIG(.type = NVP_ACT_NORM);
    nvp_flow *flow;
    CHECK(nvp_flow_create(&flow, NVP_FLOAT32, 1, 0, NULL, 1, &act_norm) == NVP_ERROR_UNSUPPORTED && !flow);
    unsetenv("NVPFLOW_ISA");
}

/* -- passes -- */

static void test_round_trip(void) {
    enum { N = 777 };
    fixture f = set_up();
    static double z[N * DIM], x[N * DIM], back[N * DIM], there[N], again[N], log_prob[N],
        states[(LAYERS + 1) * N * DIM];
    fill(z, N * DIM, 1);
    CHECK(nvp_forward(f.flow, f.params, N, z, NULL, x, there, f.workspace) == NVP_OK);
    CHECK(nvp_inverse(f.flow, f.params, N, x, NULL, back, again, f.workspace) == NVP_OK);
    CHECK(nvp_log_prob(f.flow, f.params, N, x, NULL, log_prob, f.workspace) == NVP_OK);
    double worst = 0, worst_det = 0, worst_prob = 0;
    for (size_t i = 0; i < N * DIM; i++)
        worst = fmax(worst, fabs(back[i] - z[i]));
    for (size_t t = 0; t < N; t++) {
        double expected = -0.5 * DIM * log(2 * 3.14159265358979323846) + again[t];
        for (size_t d = 0; d < DIM; d++)
            expected -= 0.5 * back[t * DIM + d] * back[t * DIM + d];
        worst_det = fmax(worst_det, fabs(there[t] + again[t]));
        worst_prob = fmax(worst_prob, fabs(log_prob[t] - expected));
    }
    CHECK(worst < 1e-12 && worst_det < 1e-12 && worst_prob < 1e-12);
    CHECK(nvp_trace(f.flow, f.params, 0, N, z, NULL, states, f.workspace) == NVP_OK);
    CHECK(memcmp(states, z, sizeof z) == 0);
    CHECK(memcmp(states + LAYERS * N * DIM, x, sizeof x) == 0);
    CHECK(nvp_trace(f.flow, f.params, 1, N, x, NULL, states, f.workspace) == NVP_OK);
    CHECK(memcmp(states + LAYERS * N * DIM, back, sizeof x) == 0);

    /* The same samples alone, and without log_det. */
    CHECK(nvp_forward(f.flow, f.params, 1, z + 500 * DIM, NULL, back, NULL, f.workspace) == NVP_OK);
    CHECK(memcmp(back, x + 500 * DIM, DIM * sizeof *x) == 0);
    CHECK(nvp_forward(f.flow, f.params, 0, NULL, NULL, NULL, NULL, f.workspace) == NVP_OK);
    tear_down(&f);
}

/* Layer 0 of the fixture by the formulas, with loops over full-shape arrays. */
static void test_one_layer_by_hand(void) {
    fixture f = set_up();
    const nvp_layer_config config =
        NVP_LAYER_CONFIG(.mask = masks[0], .hidden = hidden, .n_hidden = 1, .activation = NVP_RELU,
                         .scale = NVP_SCALE_TANH, .scale_bound = 0.7);
    nvp_flow *layer;
    CHECK(nvp_flow_create(&layer, NVP_FLOAT64, DIM, 0, NULL, 1, &config) == NVP_OK);
    const double z[DIM] = {0.3, -1.2, 0.8}, inputs[2] = {0.3, 0.8};
    double out[2], x[DIM], log_det;
    const double *w = f.params;
    for (int net = 0; net < 2; net++) {
        const double *w1 = w, *b1 = w1 + 10, *w2 = b1 + 5, *b2 = w2 + 5;
        out[net] = b2[0];
        for (int j = 0; j < 5; j++)
            out[net] += w2[j] * fmax(0, w1[2 * j] * inputs[0] + w1[2 * j + 1] * inputs[1] + b1[j]);
        w = b2 + 1;
    }
    const double s = 0.7 * tanh(out[0] / 0.7);
    CHECK((size_t)(w - f.params) == nvp_flow_n_parameters(layer));
    CHECK(nvp_flow_layer_offset(f.flow, 1) == nvp_flow_n_parameters(layer));
    CHECK(nvp_forward(layer, f.params, 1, z, NULL, x, &log_det, f.workspace) == NVP_OK);
    CHECK(x[0] == z[0] && x[2] == z[2]);
    CHECK(fabs(x[1] - (z[1] * exp(s) + out[1])) < 1e-15 && fabs(log_det - s) < 1e-15);
    nvp_flow_destroy(layer);
    tear_down(&f);
}

static void test_sampling(void) {
    enum { N = 100000 };
    fixture f = set_up();
    static double x[N * DIM], again[N * DIM], log_prob[N], expected[N];
    CHECK(nvp_sample(f.flow, f.params, 5, N, NULL, x, log_prob, f.workspace) == NVP_OK);
    CHECK(nvp_sample(f.flow, f.params, 5, 321, NULL, again, NULL, f.workspace) == NVP_OK);
    CHECK(memcmp(x, again, 321 * DIM * sizeof *x) == 0);
    CHECK(nvp_sample(f.flow, f.params, 6, 321, NULL, again, NULL, f.workspace) == NVP_OK);
    CHECK(memcmp(x, again, 321 * DIM * sizeof *x) != 0);
    CHECK(nvp_log_prob(f.flow, f.params, N, x, NULL, expected, f.workspace) == NVP_OK);
    double worst = 0, moments[4] = {0};
    for (size_t t = 0; t < N; t++)
        worst = fmax(worst, fabs(log_prob[t] - expected[t]) / (1 + fabs(expected[t])));
    CHECK(worst < 1e-10);
    CHECK(nvp_inverse(f.flow, f.params, N, x, NULL, again, NULL, f.workspace) == NVP_OK);
    for (size_t i = 0; i < N * DIM; i++)
        for (int k = 0; k < 4; k++)
            moments[k] += pow(again[i], k + 1) / (N * DIM);
    /* Five standard errors of the moments of 300,000 standard normal numbers. */
    CHECK(fabs(moments[0]) < 0.01 && fabs(moments[1] - 1) < 0.015 && fabs(moments[2]) < 0.04 &&
          fabs(moments[3] - 3) < 0.1);
    tear_down(&f);
}

static void check_threads(size_t n_components) {
    enum { N = 60000 };
    fixture f = set_up_with(0, n_components);
    static double x[N * DIM], log_prob[2][N];
    double nll[2];
    double *grads[2] = {f.grad, calloc(f.n_params, sizeof(double))};
    fill(x, N * DIM, 9);
    for (size_t i = 0; i < 2; i++) {
        nvp_workspace_set_threads(f.workspace, i ? 5 : 1);
        CHECK(nvp_log_prob(f.flow, f.params, N, x, NULL, log_prob[i], f.workspace) == NVP_OK);
        CHECK(nvp_nll(f.flow, f.params, SAMPLES(N, x), &nll[i], grads[i], f.workspace) == NVP_OK);
    }
    CHECK(memcmp(log_prob[0], log_prob[1], sizeof log_prob[0]) == 0);
    CHECK(nll[0] == nll[1] && memcmp(grads[0], grads[1], f.n_params * sizeof(double)) == 0);
    free(grads[1]);
    tear_down(&f);
}

static void test_threads(void) {
    check_threads(0);
    check_threads(3);
}

static void test_context(void) {
    enum { FEW = 19 };
    fixture f = set_up_conditional(2);
    double x[FEW * DIM], context[FEW * 2], out[FEW * DIM], log_prob[2][FEW], nll;
    fill(x, FEW * DIM, 15);
    fill(context, FEW * 2, 16);
    nvp_train_options options = NVP_TRAIN_OPTIONS(.max_epochs = 1);
    CHECK(nvp_flow_context_dim(f.flow) == 2);
    CHECK(nvp_log_prob(f.flow, f.params, FEW, x, NULL, log_prob, f.workspace) == NVP_ERROR_ARGUMENT);
    CHECK(nvp_nll(f.flow, f.params, SAMPLES(FEW, x), &nll, NULL, f.workspace) == NVP_ERROR_ARGUMENT);
    CHECK(nvp_train(f.flow, f.params, &options, SAMPLES(FEW, x), NULL, NULL, f.workspace) == NVP_ERROR_ARGUMENT);
    CHECK(nvp_forward(f.flow, f.params, 0, NULL, NULL, NULL, NULL, f.workspace) == NVP_OK);

    /* Samples come with their log-density, and sample i has context i. */
    CHECK(nvp_sample(f.flow, f.params, 5, FEW, context, out, log_prob[0], f.workspace) == NVP_OK);
    CHECK(nvp_log_prob(f.flow, f.params, FEW, out, context, log_prob[1], f.workspace) == NVP_OK);
    for (int t = 0; t < FEW; t++)
        CHECK(fabs(log_prob[0][t] - log_prob[1][t]) < 1e-10);
    CHECK(nvp_log_prob(f.flow, f.params, 1, out + 7 * DIM, context + 7 * 2, log_prob[0], f.workspace) == NVP_OK);
    CHECK(log_prob[0][0] == log_prob[1][7]);
    CHECK(nvp_log_prob(f.flow, f.params, 1, out + 7 * DIM, context + 8 * 2, log_prob[0], f.workspace) == NVP_OK);
    CHECK(log_prob[0][0] != log_prob[1][7]);
    tear_down(&f);
}

static void test_status_strings(void) {
    for (int status = NVP_OK; status <= NVP_INTERRUPTED + 1; status++)
        CHECK(strlen(nvp_status_string((nvp_status)status)) > 5);
}

static const named_test tests[] = {TEST(bad_descriptions),  TEST(bases),    TEST(instruction_sets), TEST(round_trip),
                                   TEST(one_layer_by_hand), TEST(sampling), TEST(threads),          TEST(context),
                                   TEST(status_strings)};

int main(int n_arguments, char **arguments) { return RUN_TESTS(tests, n_arguments, arguments); }
