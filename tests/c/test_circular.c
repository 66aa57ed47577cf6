/* Circular layers and the circular base: which descriptions are valid, and files. */
#include "check.h"
#include "nvpflow.h"
#include <math.h>

#define INF (double)INFINITY
enum { DIM = 3 };
static const unsigned char mask[DIM] = {1, 0, 0};
static const size_t hidden[1] = {4};
static const double periods[DIM] = {2, 0, 360};

static nvp_status create(nvp_dtype dtype, const double *of_layer, const double *of_base, nvp_flow **flow) {
    const nvp_layer_config config =
        NVP_LAYER_CONFIG(.type = NVP_CIRCULAR_SPLINE_COUPLING, .mask = mask, .hidden = hidden, .n_hidden = 1,
                         .n_bins = 5, .tail_bound = 3, .periods = of_layer);
    const nvp_base_config base = NVP_BASE_CONFIG(.kind = NVP_CIRCULAR, .periods = of_base);
    const nvp_status status = nvp_flow_create(flow, dtype, DIM, 0, &base, 1, &config);
    CHECK((*flow != NULL) == (status == NVP_OK));
    return status;
}

static void check_status(nvp_status expected, nvp_dtype dtype, const double *of_layer, const double *of_base) {
    nvp_flow *flow;
    CHECK(create(dtype, of_layer, of_base, &flow) == expected);
    nvp_flow_destroy(flow);
}

static void test_descriptions(void) {
    static const double bad[] = {-1, (double)NAN, INF, 1e-30, 1e30};
    check_status(NVP_OK, NVP_FLOAT32, periods, periods);
    check_status(NVP_OK, NVP_FLOAT64, periods, periods);
    check_status(NVP_ERROR_ARGUMENT, NVP_FLOAT32, NULL, periods);
    check_status(NVP_ERROR_ARGUMENT, NVP_FLOAT32, periods, NULL);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const double odd[DIM] = {1, bad[i], 1};
        const bool in_double = bad[i] > 0 && isfinite(bad[i]);
        check_status(NVP_ERROR_ARGUMENT, NVP_FLOAT32, odd, periods);
        check_status(NVP_ERROR_ARGUMENT, NVP_FLOAT32, periods, odd);
        check_status(in_double ? NVP_OK : NVP_ERROR_ARGUMENT, NVP_FLOAT64, odd, odd);
    }
}

/* Two inputs of the passive angle; 3 K - 1 = 14 outputs of the real column, and three more of the angle. */
static void test_parameters(void) {
    nvp_flow *flow;
    CHECK(create(NVP_FLOAT64, periods, periods, &flow) == NVP_OK);
    CHECK(nvp_flow_n_parameters(flow) == 2 * 4 + 4 + (4 + 1) * (14 + 17));
    CHECK(nvp_flow_base_kind(flow) == NVP_CIRCULAR && nvp_flow_n_components(flow) == 0);
    nvp_flow_destroy(flow);
}

static void evaluate(const nvp_flow *flow, const double *params, double *log_prob) {
    static const double x[2 * DIM] = {0.5, -1, 100, 0.5 + 2, -1, 100 - 3 * 360};
    nvp_workspace *workspace;
    CHECK(nvp_workspace_create(&workspace) == NVP_OK);
    CHECK(nvp_log_prob(flow, params, 2, x, NULL, log_prob, workspace) == NVP_OK);
    nvp_workspace_destroy(workspace);
}

/* A file gives the same densities, which do not depend on whole turns. The description keeps a copy of the lists. */
static void test_files(void) {
    double of_layer[DIM] = {2, 0, 360}, of_base[DIM] = {2, 0, 360}, params[1000], found[2], again[2];
    nvp_flow *flow, *loaded;
    void *bytes, *read;
    size_t n;
    CHECK(create(NVP_FLOAT64, of_layer, of_base, &flow) == NVP_OK);
    for (size_t i = 0; i < DIM; i++)
        of_layer[i] = of_base[i] = 7;
    nvp_flow_initialize(flow, 3, params);
    for (size_t i = 0; i < nvp_flow_n_parameters(flow); i++)
        params[i] *= 5;
    evaluate(flow, params, found);
    CHECK(isfinite(found[0]) && fabs(found[0] - found[1]) < 1e-10);
    CHECK(nvp_flow_save_bytes(flow, params, &bytes, &n) == NVP_OK);
    CHECK(nvp_flow_load_bytes(bytes, n, &loaded, &read) == NVP_OK);
    evaluate(loaded, read, again);
    CHECK(found[0] == again[0] && found[1] == again[1]);
    nvp_free(bytes);
    nvp_free(read);
    nvp_flow_destroy(loaded);
    nvp_flow_destroy(flow);
}

static const named_test tests[] = {TEST(descriptions), TEST(parameters), TEST(files)};

int main(int n_arguments, char **arguments) { return RUN_TESTS(tests, n_arguments, arguments); }
