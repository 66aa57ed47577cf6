/* Options and structs: values outside of their ranges, sizes of older and later headers, and defaults. */
#include "one_coupling.h"
#include "sized.h"
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

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
        double params[100] = {0}, start[100], numbers[2 * DIM] = {0};
        float singles[DIM] = {0};
        const nvp_data data = NVP_DATA(.n = 2, .x = numbers);
        const nvp_train_result as_before = NVP_TRAIN_RESULT(.epochs = 77, .validation_nll = 7);
        nvp_train_result result = as_before;
        nvp_flow_initialize(f, 1, params);
        memcpy(start, params, sizeof params);
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
        EXPECT(NVP_ERROR_ARGUMENT, o.time_limit = -1e-9);
        EXPECT(NVP_ERROR_ARGUMENT, o.time_limit = nan);
        EXPECT(NVP_ERROR_ARGUMENT, o.time_limit = inf);
        EXPECT(NVP_OK, o.time_limit = 1e-9);
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

static void test_other_struct_sizes(void) {
    nvp_flow *f = make_flow(NVP_FLOAT64, 0);
    nvp_workspace *w = make_workspace();
    double p[100] = {0}, before[100], m[100] = {0}, v[100] = {0}, nll, x[N * DIM] = {0.5, -0.5, 1};
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

/* An array of layers is as its first element says. */
static void test_other_layer_sizes(void) {
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
static void test_other_result_sizes(void) {
    nvp_flow *f = make_flow(NVP_FLOAT64, 0);
    nvp_workspace *w = make_workspace();
    double p[100] = {0}, x[N * DIM] = {0.5, -0.5, 1};
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
static void test_older_structs(void) {
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
static void test_adam_defaults(void) {
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

static const named_test tests[] = {TEST(adam_options),      TEST(training_options),   TEST(other_struct_sizes),
                                   TEST(other_layer_sizes), TEST(other_result_sizes), TEST(older_structs),
                                   TEST(adam_defaults)};

int main(int n_arguments, char **arguments) { return RUN_TESTS(tests, n_arguments, arguments); }
