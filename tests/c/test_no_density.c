/* Points without a density: -infinity where a point, or its z, is infinitely far away; NaN only for what is unknown. */
#include "check.h"
#include "nvpflow.h"
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { DIM = 2, N = 40, MOST_PARAMS = 200 };
static const unsigned char mask[DIM] = {1, 0};
static const size_t hidden[1] = {4}, order[DIM] = {1, 0};

/* Wide enough for the points of the tests that have a density, except for those far away. */
static const double wide[2 * DIM] = {-100, 100, -100, (double)INFINITY}, scales[DIM] = {0, 30}, edges[DIM] = {1, 1};

/* Of angles wide enough likewise. */
static const double first[DIM] = {200, 0}, last[DIM] = {0, 200};

#define CONDITIONER .mask = mask, .hidden = hidden, .n_hidden = 1
static const nvp_layer_config layers[] = {
    NVP_LAYER_CONFIG(.type = NVP_AFFINE_COUPLING, CONDITIONER, .scale = NVP_SCALE_EXP),
    NVP_LAYER_CONFIG(.type = NVP_AFFINE_COUPLING, CONDITIONER, .scale = NVP_SCALE_TANH, .scale_bound = 1,
                     .activation = NVP_TANH),
    NVP_LAYER_CONFIG(.type = NVP_AFFINE_COUPLING, CONDITIONER, .scale = NVP_SCALE_EXP, .shared_network = 1,
                     .activation = NVP_SILU),
    NVP_LAYER_CONFIG(.type = NVP_SPLINE_COUPLING, CONDITIONER, .n_bins = 4, .tail_bound = 3),
    NVP_LAYER_CONFIG(.type = NVP_CIRCULAR_SPLINE_COUPLING, CONDITIONER, .n_bins = 4, .tail_bound = 3, .periods = first),
    NVP_LAYER_CONFIG(.type = NVP_CIRCULAR_SPLINE_COUPLING, CONDITIONER, .n_bins = 4, .tail_bound = 3, .periods = last),
    NVP_LAYER_CONFIG(.type = NVP_ADDITIVE_COUPLING, CONDITIONER),
    NVP_LAYER_CONFIG(.type = NVP_PERMUTATION, .permutation = order),
    NVP_LAYER_CONFIG(.type = NVP_LU_LINEAR),
    NVP_LAYER_CONFIG(.type = NVP_ACT_NORM),
    NVP_LAYER_CONFIG(.type = NVP_BOUNDED, .bounds = wide, .scales = scales, .edges = edges),
};
enum { N_LAYERS = sizeof layers / sizeof *layers };

/* Numbers in double precision beside a flow of either. */
typedef struct {
    nvp_dtype dtype;
    nvp_flow *flow;
    nvp_workspace *workspace;
    double params[MOST_PARAMS];
} fixture;

static fixture set_up(nvp_dtype dtype, const nvp_layer_config *config, size_t n_configs, size_t context_dim,
                      size_t n_components) {
    fixture f = {.dtype = dtype};
    uint64_t seed = 5;
    CHECK(nvp_workspace_create(&f.workspace) == NVP_OK);
    CHECK(nvp_flow_create(&f.flow, dtype, DIM, context_dim, BASE_OF(n_components), n_configs, config) == NVP_OK);
    CHECK(nvp_flow_n_parameters(f.flow) <= MOST_PARAMS);
    for (size_t i = 0; i < MOST_PARAMS; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        f.params[i] = (double)(seed >> 11) * 0x1p-53 - 0.5;
    }
    return f;
}

static void tear_down(fixture *f) {
    nvp_workspace_destroy(f->workspace);
    nvp_flow_destroy(f->flow);
}

/* In the flow's dtype, within the same bytes. */
static void narrow(nvp_dtype dtype, double *numbers, size_t n) {
    float *singles = (float *)(void *)numbers;
    for (size_t i = 0; dtype == NVP_FLOAT32 && i < n; i++) {
        const float single = (float)numbers[i];
        memcpy(&singles[i], &single, sizeof single);
    }
}

static void widen(nvp_dtype dtype, double *numbers, size_t n) {
    const float *singles = (const float *)(const void *)numbers;
    for (size_t i = n; dtype == NVP_FLOAT32 && i-- > 0;) {
        float single;
        memcpy(&single, &singles[i], sizeof single);
        numbers[i] = (double)single;
    }
}

static void log_prob(fixture *f, size_t n, const double *x, const double *context, double *found) {
    double params[MOST_PARAMS], points[N * DIM], contexts[N];
    memcpy(params, f->params, sizeof params);
    memcpy(points, x, n * DIM * sizeof *x);
    if (context)
        memcpy(contexts, context, n * sizeof *context);
    narrow(f->dtype, params, MOST_PARAMS);
    narrow(f->dtype, points, n * DIM);
    if (context)
        narrow(f->dtype, contexts, n);
    CHECK(nvp_log_prob(f->flow, params, n, points, context ? contexts : NULL, found, f->workspace) == NVP_OK);
    widen(f->dtype, found, n);
}

static double nll(fixture *f, size_t n, const double *x) {
    double params[MOST_PARAMS], points[N * DIM], found;
    memcpy(params, f->params, sizeof params);
    memcpy(points, x, n * DIM * sizeof *x);
    narrow(f->dtype, params, MOST_PARAMS);
    narrow(f->dtype, points, n * DIM);
    CHECK(nvp_nll(f->flow, params, &(nvp_data)NVP_DATA(.n = n, .x = points), &found, NULL, f->workspace) == NVP_OK);
    return found;
}

static bool is_minus_infinity(double value) { return isinf(value) && value < 0; }

/* Rows of points with a density, and among them every kind without. */
static void check_far_and_nan_points(nvp_dtype dtype, const nvp_layer_config *config, size_t n_components) {
    const double inf = (double)INFINITY, nan = (double)NAN, far = dtype == NVP_FLOAT32 ? 3e38 : 1e308;
    const double odd[][DIM] = {{inf, 0},    {0, inf},    {-inf, 1},   {1, -inf},   {inf, inf},
                               {inf, -inf}, {far, -far}, {-far, far}, {far, inf},  {far, far},
                               {nan, 0},    {0, nan},    {nan, inf},  {-inf, nan}, {nan, nan}};
    enum { ODD = sizeof odd / sizeof *odd, WITHOUT = 10 };
    fixture f = set_up(dtype, config, 1, 0, n_components);
    double x[N * DIM], found[N], alone[1];
    for (size_t t = 0; t < N; t++) {
        x[DIM * t] = 0.1 * (double)t - 1, x[DIM * t + 1] = 1.5 - 0.07 * (double)t;
        if (t % 2 && t / 2 < ODD)
            memcpy(x + DIM * t, odd[t / 2], sizeof *odd);
    }
    log_prob(&f, N, x, NULL, found);
    for (size_t t = 0; t < N; t++) {
        const bool is_odd = t % 2 && t / 2 < ODD;
        CHECK(!is_odd ? isfinite(found[t]) : t / 2 < WITHOUT ? is_minus_infinity(found[t]) : isnan(found[t]));
        log_prob(&f, 1, x + DIM * t, NULL, alone);
        CHECK(alone[0] == found[t] || (isnan(alone[0]) && isnan(found[t])));
    }
    /* Their mean: infinite with a point without a density, NaN with one that nobody knows. */
    CHECK(isfinite(nll(&f, 1, x)));
    CHECK(nll(&f, 2, x) == inf && nll(&f, 2 * WITHOUT, x) == inf && isnan(nll(&f, N, x)));

    /* Parameters that are not numbers make all unknown. */
    const size_t n_params = nvp_flow_n_parameters(f.flow);
    for (size_t i = 0; i < n_params; i++) {
        const double kept = f.params[i];
        f.params[i] = i % 2 ? nan : -inf;
        log_prob(&f, N, x, NULL, found);
        for (size_t t = 1; t < 2 * ODD; t += 2)
            CHECK(isnan(found[t]) || is_minus_infinity(found[t])); /* infinite parameters may leave |z| infinite */
        if (i % 2)
            for (size_t t = 0; t < N; t++)
                CHECK(!isinf(found[t]) || t % 2); /* no point with a density loses it without a word */
        f.params[i] = kept;
    }
    tear_down(&f);
}

/* A context that is not finite says nothing about x. */
static void check_nan_contexts(nvp_dtype dtype, const nvp_layer_config *config, size_t n_components) {
    const double inf = (double)INFINITY, nan = (double)NAN;
    const double x[4 * DIM] = {0.5, 0.3, 0.5, 0.3, 0.5, 0.3, inf, 0.3}, context[4] = {1, nan, inf, 1};
    const bool is_read = config->mask && config->activation == NVP_RELU; /* tanh has a value at infinity */
    fixture f = set_up(dtype, config, 1, 1, n_components);
    double found[4];
    log_prob(&f, 4, x, context, found);
    CHECK(isfinite(found[0]) && is_minus_infinity(found[3]));
    if (is_read)
        CHECK(isnan(found[1]) && !isfinite(found[2]));
    tear_down(&f);
}

/* Finite points that a layer takes to infinity, where the determinant is infinite, too. */
static void check_overflowing_layers(nvp_dtype dtype, size_t n_components) {
    const nvp_layer_config unbounded =
        NVP_LAYER_CONFIG(.type = NVP_AFFINE_COUPLING, .mask = mask, .scale = NVP_SCALE_EXP);
    const nvp_layer_config twice[2] = {unbounded, unbounded}, act_norm = NVP_LAYER_CONFIG(.type = NVP_ACT_NORM);
    const double largest = dtype == NVP_FLOAT32 ? (double)FLT_MAX : DBL_MAX, steep = largest / 2;
    const double x[4 * DIM] = {10, -10, -10, 10, 0, 0, 1, 1};
    double found[4];
    fixture f = set_up(dtype, &unbounded, 1, 0, n_components);
    /* s = w x_1 + c, b = w x_1 + c: parameters w, c, w, c. log_det = -s, z_2 = (x_2 - b) exp(-s). */
    const double affine[4] = {-steep, 0, 0, 0};
    memcpy(f.params, affine, sizeof affine);
    log_prob(&f, 4, x, NULL, found);
    CHECK(is_minus_infinity(found[0]) && is_minus_infinity(found[1]) && isfinite(found[2]) &&
          is_minus_infinity(found[3]));
    const double on_the_way[4] = {-1000, 0, 0, 0}; /* exp(10000) */
    memcpy(f.params, on_the_way, sizeof on_the_way);
    log_prob(&f, 4, x, NULL, found);
    CHECK(is_minus_infinity(found[0]) && isfinite(found[2]));
    tear_down(&f);

    /* Infinity, and then from it: infinity less infinity. */
    f = set_up(dtype, twice, 2, 0, n_components);
    const double there_and_back[8] = {steep, 0, 0, 0, -steep, 0, 0, 0};
    memcpy(f.params, there_and_back, sizeof there_and_back);
    log_prob(&f, 4, x, NULL, found);
    CHECK(is_minus_infinity(found[0]) && is_minus_infinity(found[1]) && isfinite(found[2]));
    tear_down(&f);

    f = set_up(dtype, &act_norm, 1, 0, n_components);
    const double narrow_scale[4] = {-steep, -steep, 0, 0};
    memcpy(f.params, narrow_scale, sizeof narrow_scale);
    log_prob(&f, 4, x, NULL, found);
    CHECK(is_minus_infinity(found[0]) && is_minus_infinity(found[3]));
    tear_down(&f);
}

/* A sample that is not NaN has no log-density that is. */
static void check_samples(nvp_dtype dtype, size_t n_components) {
    const nvp_layer_config unbounded =
        NVP_LAYER_CONFIG(.type = NVP_AFFINE_COUPLING, .mask = mask, .scale = NVP_SCALE_EXP);
    const nvp_layer_config twice[2] = {unbounded, unbounded};
    fixture f = set_up(dtype, twice, 2, 0, n_components);
    double params[MOST_PARAMS], x[N * DIM], found[N];
    size_t n_finite = 0, n_far = 0;
    const double steep = (dtype == NVP_FLOAT32 ? (double)FLT_MAX : DBL_MAX) / 2;
    const double affine[8] = {steep, 0, 0, 0, steep, 0, 0, 0};
    memcpy(f.params, affine, sizeof affine);
    memcpy(params, f.params, sizeof params);
    narrow(dtype, params, MOST_PARAMS);
    CHECK(nvp_sample(f.flow, params, 1, N, NULL, x, found, f.workspace) == NVP_OK);
    widen(dtype, x, N * DIM);
    widen(dtype, found, N);
    for (size_t t = 0; t < N; t++) {
        const bool is_nan = isnan(x[DIM * t]) || isnan(x[DIM * t + 1]);
        CHECK(is_nan || !isnan(found[t]));
        n_finite += isfinite(found[t]) ? 1 : 0;
        n_far += is_minus_infinity(found[t]);
    }
    CHECK(n_finite > 0 && n_far > 0);
    tear_down(&f);
}

/* Samples of weight 0 change neither the mean nor its gradient. */
static void check_zero_weights(nvp_dtype dtype, const nvp_layer_config *config, size_t n_components) {
    enum { FEW = 5 };
    const double inf = (double)INFINITY, weight[FEW] = {0, 1, 0, 2, 0};
    const double usual[2 * DIM] = {0.5, -0.3, -1, 0.2};
    const double among[FEW * DIM] = {inf, 1, 0.5, -0.3, (double)NAN, 0, -1, 0.2, -inf, inf};
    fixture f = set_up(dtype, config, 1, 0, n_components);
    double params[MOST_PARAMS], x[2][FEW * DIM], means[2];
    double grads[2][MOST_PARAMS] = {{0}};
    memcpy(params, f.params, sizeof params);
    memcpy(x[0], usual, sizeof usual);
    memcpy(x[1], among, sizeof among);
    narrow(dtype, params, MOST_PARAMS);
    for (int i = 0; i < 2; i++) {
        const double *weights = i ? weight : (const double[]){1, 2};
        narrow(dtype, x[i], i ? FEW * DIM : 2 * DIM);
        const nvp_data data = NVP_DATA(.n = i ? FEW : 2, .x = x[i], .weight = weights);
        CHECK(nvp_nll(f.flow, params, &data, &means[i], NULL, f.workspace) == NVP_OK && isfinite(means[i]));
        CHECK(nvp_nll(f.flow, params, &data, &means[i], grads[i], f.workspace) == NVP_OK);
        widen(dtype, grads[i], nvp_flow_n_parameters(f.flow));
    }
    const double tolerance = dtype == NVP_FLOAT32 ? 1e-5 : 1e-13;
    CHECK(fabs(means[0] - means[1]) < tolerance);
    for (size_t i = 0; i < nvp_flow_n_parameters(f.flow); i++)
        CHECK(fabs(grads[0][i] - grads[1][i]) < tolerance * (1 + fabs(grads[0][i])));
    tear_down(&f);
}

#define EACH_DTYPE_AND_BASE(dtype, n_components)                                                                       \
    for (int dtype = 0; dtype < 2; dtype++)                                                                            \
        for (size_t n_components = 0; n_components <= 3; n_components += 3)

static void test_far_and_nan_points(void) {
    EACH_DTYPE_AND_BASE(dtype, n_components)
    for (size_t i = 0; i < N_LAYERS; i++)
        check_far_and_nan_points((nvp_dtype)dtype, &layers[i], n_components);
}

static void test_nan_contexts(void) {
    EACH_DTYPE_AND_BASE(dtype, n_components)
    for (size_t i = 0; i < N_LAYERS; i++)
        check_nan_contexts((nvp_dtype)dtype, &layers[i], n_components);
}

static void test_zero_weights(void) {
    EACH_DTYPE_AND_BASE(dtype, n_components)
    for (size_t i = 0; i < N_LAYERS; i++)
        check_zero_weights((nvp_dtype)dtype, &layers[i], n_components);
}

static void test_overflowing_layers(void) {
    EACH_DTYPE_AND_BASE(dtype, n_components)
    check_overflowing_layers((nvp_dtype)dtype, n_components);
}

static void test_samples(void) {
    EACH_DTYPE_AND_BASE(dtype, n_components)
    check_samples((nvp_dtype)dtype, n_components);
}

static const named_test tests[] = {TEST(far_and_nan_points), TEST(nan_contexts), TEST(zero_weights),
                                   TEST(overflowing_layers), TEST(samples)};

int main(int n_arguments, char **arguments) { return RUN_TESTS(tests, n_arguments, arguments); }
