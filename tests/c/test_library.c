/* The C library tested from C, without Python. The last tests want the library compiled with -include failing.h. */
#define _POSIX_C_SOURCE 200809L /* setenv */
#include "check.h"
#include "faults.h"
#include "nvpflow.h"
#include "rng.h"
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* -- small flows to test with, in double precision unless said -- */

enum { DIM = 3, COUPLINGS = 7, LAYERS = COUPLINGS + 3 };
#define SAMPLES(count, values) (&(nvp_data)NVP_DATA(.n = (count), .x = (values)))
static const unsigned char masks[COUPLINGS][DIM] = {{1, 0, 1}, {0, 1, 0}, {0, 0, 0}, {1, 1, 0},
                                                    {0, 1, 1}, {0, 1, 0}, {1, 0, 0}};
static const size_t hidden[2] = {5, 4}, permutation[DIM] = {2, 0, 1};

/* Affine couplings of both depths, all activations and both scales, one with a shared network; a spline and an additive
 * coupling; a permutation; and at the end an LU map and an act norm. */
static nvp_flow *make_flow(nvp_dtype dtype, size_t context_dim, size_t n_components) {
    nvp_layer_config layers[LAYERS];
    for (int l = 0; l < LAYERS; l++)
        layers[l] = (nvp_layer_config)NVP_LAYER_CONFIG();
    for (int l = 0; l < COUPLINGS; l++) {
        layers[l].mask = masks[l];
        layers[l].hidden = hidden;
        layers[l].n_hidden = l % 2 ? 2 : 1;
        layers[l].activation = (nvp_activation)(l % NVP_N_ACTIVATIONS);
        layers[l].scale = l % 2 ? NVP_SCALE_EXP : NVP_SCALE_TANH;
        layers[l].scale_bound = 0.7;
    }
    layers[4].shared_network = 1;
    layers[5].type = NVP_SPLINE_COUPLING;
    layers[5].n_bins = 4;
    layers[5].tail_bound = 3;
    layers[6].type = NVP_ADDITIVE_COUPLING;
    layers[COUPLINGS].type = NVP_PERMUTATION;
    layers[COUPLINGS].permutation = permutation;
    layers[COUPLINGS + 1].type = NVP_LU_LINEAR;
    layers[COUPLINGS + 2].type = NVP_ACT_NORM;
    nvp_flow *flow = NULL;
    CHECK(nvp_flow_create(&flow, dtype, DIM, context_dim, BASE_OF(n_components), LAYERS, layers) == NVP_OK);
    return flow;
}

static nvp_workspace *make_workspace(void) {
    nvp_workspace *workspace = NULL;
    CHECK(nvp_workspace_create(&workspace) == NVP_OK);
    return workspace;
}

/* Standard normal numbers by the central limit theorem: plain, and apart from the library's. */
static void fill(double *values, size_t n, uint64_t seed) {
    for (size_t i = 0; i < n; i++) {
        values[i] = -6;
        for (int k = 0; k < 12; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            values[i] += (double)(seed >> 11) * 0x1p-53;
        }
    }
}

typedef struct {
    nvp_flow *flow;
    nvp_workspace *workspace;
    size_t n_params;
    double *params, *grad;
} fixture;

static fixture set_up_with(size_t context_dim, size_t n_components) {
    fixture f = {make_flow(NVP_FLOAT64, context_dim, n_components), make_workspace(), 0, NULL, NULL};
    f.n_params = nvp_flow_n_parameters(f.flow);
    f.params = calloc(f.n_params, sizeof(double));
    f.grad = calloc(f.n_params, sizeof(double));
    nvp_flow_initialize(f.flow, 1, f.params);
    const size_t end = nvp_flow_base_offset(f.flow);
    for (size_t i = nvp_flow_layer_offset(f.flow, COUPLINGS); i < end; i++) /* what starts as the identity */
        f.params[i] = 0.05 * (double)i - 0.05 * (double)end + 0.2;
    fill(f.params + end, f.n_params - end, 6);
    return f;
}

static fixture set_up_conditional(size_t context_dim) { return set_up_with(context_dim, 0); }

static fixture set_up(void) { return set_up_conditional(0); }

static void tear_down(fixture *f) {
    free(f->params);
    free(f->grad);
    nvp_workspace_destroy(f->workspace);
    nvp_flow_destroy(f->flow);
}

/* -- random numbers -- */

static void test_philox(void) {
    /* Known answers of the authors' library, Random123. */
    static const struct {
        uint32_t counter[4], key[2], answer[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint32_t out[4];
        nvp_philox4x32(known[i].counter, known[i].key, out);
        CHECK(memcmp(out, known[i].answer, sizeof out) == 0);
    }
}

static void test_shuffle(void) {
    enum { N = 1000 };
    size_t order[2][N];
    bool seen[N] = {false};
    nvp_shuffle(7, 1, N, order[0]);
    nvp_shuffle(7, 2, N, order[1]);
    for (size_t i = 0; i < N; i++)
        seen[order[0][i]] = true;
    size_t n_seen = 0, n_same = 0, n_fixed = 0;
    for (size_t i = 0; i < N; i++) {
        n_seen += seen[i];
        n_same += order[0][i] == order[1][i];
        n_fixed += order[0][i] == i;
    }
    CHECK(n_seen == N);
    CHECK(n_same < 10 && n_fixed < 10); /* one is expected of each */
}

/* -- descriptions -- */

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
        CHECK(nvp_flow_create(&flow, NVP_FLOAT32, 2, 0, NULL, 1, &config) == (status));                                   \
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

/* -- gradients, against central differences -- */

enum { FEW = 19 };

static double weighted(const double *out, const double *log_det, const double *d_out, const double *d_log_det) {
    double sum = 0;
    for (int i = 0; i < FEW * DIM; i++)
        sum += out[i] * d_out[i];
    for (int t = 0; t < FEW; t++)
        sum += log_det[t] * d_log_det[t];
    return sum;
}

/* Without a context (0) and with one. */
static void check_vjp(int inverse, size_t context_dim, size_t n_components) {
    enum { MOST = 2 };
    fixture f = set_up_with(context_dim, n_components);
    double in[FEW * DIM], context[FEW * MOST], d_out[FEW * DIM], d_log_det[FEW], d_in[FEW * DIM], d_context[FEW * MOST],
        out[FEW * DIM], log_det[FEW];
    fill(in, FEW * DIM, 11);
    fill(d_out, FEW * DIM, 12);
    fill(d_log_det, FEW, 13);
    fill(context, FEW * MOST, 14);
    nvp_status (*apply)(const nvp_flow *, const void *, size_t, const void *, const void *, void *, void *,
                        nvp_workspace *) = inverse ? nvp_inverse : nvp_forward;
    nvp_status (*vjp)(const nvp_flow *, const void *, size_t, const void *, const void *, const void *, const void *,
                      void *, void *, void *, nvp_workspace *) = inverse ? nvp_inverse_vjp : nvp_forward_vjp;
    CHECK(vjp(f.flow, f.params, FEW, in, context, d_out, d_log_det, d_in, d_context, f.grad, f.workspace) == NVP_OK);
    const struct {
        size_t n;
        double *numbers;
        const double *gradient;
    } inputs[3] = {{f.n_params, f.params, f.grad}, {FEW * DIM, in, d_in}, {FEW * context_dim, context, d_context}};
    const double h = 1e-6;
    double worst = 0, values[2];
    for (int k = 0; k < 3; k++)
        for (size_t i = 0; i < inputs[k].n; i++) {
            double *number = &inputs[k].numbers[i], kept = *number;
            for (int side = 0; side < 2; side++) {
                *number = kept + (side ? h : -h);
                CHECK(apply(f.flow, f.params, FEW, in, context, out, log_det, f.workspace) == NVP_OK);
                values[side] = weighted(out, log_det, d_out, d_log_det);
            }
            *number = kept;
            worst = fmax(worst, fabs((values[1] - values[0]) / (2 * h) - inputs[k].gradient[i]));
        }
    CHECK(worst < 1e-6);

    /* Nothing in, nothing out; and what is not wanted may be NULL. */
    CHECK(vjp(f.flow, f.params, FEW, in, context, d_out, d_log_det, out, NULL, NULL, f.workspace) == NVP_OK);
    CHECK(memcmp(out, d_in, sizeof out) == 0);
    CHECK(vjp(f.flow, f.params, FEW, in, context, d_out, d_log_det, NULL, out, NULL, f.workspace) == NVP_OK);
    CHECK(memcmp(out, context_dim ? d_context : d_in, FEW * context_dim * sizeof *out) == 0);
    CHECK(vjp(f.flow, f.params, FEW, in, context, NULL, NULL, out, d_context, f.grad, f.workspace) == NVP_OK);
    double sum = 0;
    for (size_t i = 0; i < f.n_params; i++)
        sum += fabs(f.grad[i]);
    for (int i = 0; i < FEW * DIM; i++)
        sum += fabs(out[i]);
    for (size_t i = 0; i < FEW * context_dim; i++)
        sum += fabs(d_context[i]);
    CHECK(sum == 0);
    tear_down(&f);
}

static void test_context(void) {
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

/* Of FEW samples with these weights, NULL for none. */
static void check_nll_gradient(const double *weight, size_t n_components) {
    fixture f = set_up_with(0, n_components);
    double x[FEW * DIM], nll, sides[2], log_prob[FEW], sum = 0, weights = 0;
    fill(x, FEW * DIM, 14);
    const nvp_data data = NVP_DATA(.n = FEW, .x = x, .weight = weight);
    CHECK(nvp_nll(f.flow, f.params, &data, &nll, f.grad, f.workspace) == NVP_OK);
    CHECK(nvp_log_prob(f.flow, f.params, FEW, x, NULL, log_prob, f.workspace) == NVP_OK);
    for (int t = 0; t < FEW; t++) {
        sum -= log_prob[t] * (weight ? weight[t] : 1);
        weights += weight ? weight[t] : 1;
    }
    CHECK(fabs(nll - sum / weights) < 1e-13);
    double worst = 0;
    const double h = 1e-6;
    for (size_t i = 0; i < f.n_params; i++) {
        const double kept = f.params[i];
        for (int side = 0; side < 2; side++) {
            f.params[i] = kept + (side ? h : -h);
            CHECK(nvp_nll(f.flow, f.params, &data, &sides[side], NULL, f.workspace) == NVP_OK);
        }
        f.params[i] = kept;
        worst = fmax(worst, fabs((sides[1] - sides[0]) / (2 * h) - f.grad[i]));
    }
    CHECK(worst < 1e-6);
    CHECK(nvp_nll(f.flow, f.params, SAMPLES(0, x), &nll, NULL, f.workspace) == NVP_ERROR_ARGUMENT);
    tear_down(&f);
}

static void test_weights(void) {
    static const double bad[][2] = {{1, -1}, {1, NAN}, {INFINITY, 1}, {0, 0}, {1e308, 1e308}};
    fixture f = set_up();
    double x[FEW * DIM], weight[FEW], nll[2], *grad = calloc(f.n_params, sizeof(double));
    nvp_train_options options = NVP_TRAIN_OPTIONS(.max_epochs = 1);
    fill(x, FEW * DIM, 14);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const nvp_data data = NVP_DATA(.n = 2, .x = x, .weight = bad[i]);
        CHECK(nvp_nll(f.flow, f.params, &data, nll, NULL, f.workspace) == NVP_ERROR_ARGUMENT);
        CHECK(nvp_train(f.flow, f.params, &options, &data, NULL, NULL, f.workspace) == NVP_ERROR_ARGUMENT);
        CHECK(nvp_train(f.flow, f.params, &options, SAMPLES(2, x), &data, NULL, f.workspace) == NVP_ERROR_ARGUMENT);
    }
    fill(weight, FEW, 17);
    for (int t = 0; t < FEW; t++)
        weight[t] = t % 3 ? fabs(weight[t]) : 0;
    check_nll_gradient(weight, 0);
    check_nll_gradient(weight, 3);
    /* Equal weights are none; to the last bit where their mean is exact. */
    for (int t = 0; t < FEW; t++)
        weight[t] = 0x1p990;
    CHECK(nvp_nll(f.flow, f.params, SAMPLES(FEW, x), &nll[0], grad, f.workspace) == NVP_OK);
    CHECK(nvp_nll(f.flow, f.params, &(nvp_data)NVP_DATA(.n = FEW, .x = x, .weight = weight), &nll[1], f.grad,
                  f.workspace) == NVP_OK);
    CHECK(nll[0] == nll[1] && memcmp(grad, f.grad, f.n_params * sizeof(double)) == 0);
    free(grad);
    tear_down(&f);
}

/* A unit of a one-input network that no sample switches on has gradients of exactly zero: Adam would act on less. */
static void test_dead_units(void) {
    enum { N = 1000, H = 9 };
    const unsigned char mask[2] = {1, 0};
    const size_t width = H;
    const nvp_layer_config config =
        NVP_LAYER_CONFIG(.mask = mask, .hidden = &width, .n_hidden = 1, .scale = NVP_SCALE_EXP);
    nvp_workspace *workspace = make_workspace();
    nvp_flow *flow;
    float x[N * 2], params[2 * (3 * H + 1)], grad[2 * (3 * H + 1)];
    double normals[N * 2], nll;
    CHECK(nvp_flow_create(&flow, NVP_FLOAT32, 2, 0, NULL, 1, &config) == NVP_OK);
    CHECK(nvp_flow_n_parameters(flow) == sizeof params / sizeof *params);
    nvp_flow_initialize(flow, 3, params);
    fill(normals, N * 2, 4);
    for (int i = 0; i < N * 2; i++)
        x[i] = (float)normals[i];
    for (int j = 0; j < H; j++)
        params[H + j] = -20; /* off for |x| < 20 / |w| */
    CHECK(nvp_nll(flow, params, SAMPLES(N, x), &nll, grad, workspace) == NVP_OK);
    for (int i = 0; i < 3 * H; i++)
        CHECK(grad[i] == 0);
    CHECK(grad[3 * H] != 0);
    nvp_workspace_destroy(workspace);
    nvp_flow_destroy(flow);
}

/* -- a mixture as the base density -- */

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

static void test_sampling_from_a_mixture(void) {
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

/* -- training -- */

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
static void test_the_start_is_kept(void) {
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
static void check_parts_of_a_training(size_t n_components) {
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

static int stop_now(void *context) { return ++*(int *)context > 1; }

static void test_interruption(void) {
    fixture f = set_up();
    int asked = 0;
    nvp_train_result result = NVP_TRAIN_RESULT();
    nvp_train_options options = options_of(SIZE_MAX, 0);
    nvp_workspace_set_poll(f.workspace, stop_now, &asked);
    CHECK(nvp_train(f.flow, f.params, &options, SAMPLES(TRAIN, train_x), NULL, &result, f.workspace) ==
          NVP_INTERRUPTED);
    CHECK(asked == 2 && result.epochs > 0 && all_finite(f.params, f.n_params));
    for (size_t n_threads = 2; n_threads <= 5; n_threads += 3) { /* more than one tile */
        static double x[4 * TRAIN * DIM];
        make_data(x, 4 * TRAIN, 3);
        asked = 0;
        nvp_workspace_set_threads(f.workspace, n_threads);
        CHECK(nvp_train(f.flow, f.params, &options, SAMPLES(4 * TRAIN, x), NULL, &result, f.workspace) ==
              NVP_INTERRUPTED);
        CHECK(asked == 2 && result.epochs > 0 && all_finite(f.params, f.n_params));
    }
    nvp_workspace_set_poll(f.workspace, NULL, NULL);
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

static void test_training_with_a_team(void) {
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

static void test_statuses_have_words(void) {
    for (int status = NVP_OK; status <= NVP_INTERRUPTED + 1; status++)
        CHECK(strlen(nvp_status_string((nvp_status)status)) > 5);
}

static void test_threads(void) {
    check_threads(0);
    check_threads(3);
}

static void test_vjp(void) {
    for (size_t context_dim = 0; context_dim <= 2; context_dim++) {
        check_vjp(0, context_dim, 0);
        check_vjp(1, context_dim, 2);
    }
}

static void test_nll_gradient(void) {
    check_nll_gradient(NULL, 0);
    check_nll_gradient(NULL, 1);
    check_nll_gradient(NULL, 5);
}

static void test_mixture(void) {
    for (size_t dim = 1; dim <= 6; dim++) {
        check_mixture(dim, 1);
        check_mixture(dim, 5);
    }
}

static void test_few_samples_from_many_components(void) {
    check_few_samples_from_many_components(NVP_FLOAT32);
    check_few_samples_from_many_components(NVP_FLOAT64);
}

static void test_parts_of_a_training(void) {
    check_parts_of_a_training(0);
    check_parts_of_a_training(2);
}

static void test_divergence_with_every_option(void) {
    check_divergence_with_every_option(0);
    check_divergence_with_every_option(2);
}

static const named_test tests[] = {TEST(philox),
                                   TEST(shuffle),
                                   TEST(bad_descriptions),
                                   TEST(instruction_sets),
                                   TEST(round_trip),
                                   TEST(one_layer_by_hand),
                                   TEST(sampling),
                                   TEST(threads),
                                   TEST(vjp),
                                   TEST(context),
                                   TEST(nll_gradient),
                                   TEST(weights),
                                   TEST(dead_units),
                                   TEST(mixture),
                                   TEST(starting_mixture),
                                   TEST(sampling_from_a_mixture),
                                   TEST(few_samples_from_many_components),
                                   TEST(training),
                                   TEST(validation),
                                   TEST(the_start_is_kept),
                                   TEST(parts_of_a_training),
                                   TEST(weight_decay),
                                   TEST(divergence),
                                   TEST(divergence_with_every_option),
                                   TEST(interruption),
                                   TEST(training_with_a_team),
                                   TEST(adam),
                                   TEST(failing_allocations),
                                   TEST(statuses_have_words)};

int main(int n_arguments, char **arguments) {
    make_data(train_x, TRAIN, 21);
    make_data(held_out_x, HELD_OUT, 22);
    return RUN_TESTS(tests, n_arguments, arguments);
}
