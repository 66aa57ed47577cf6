/* Layers that lead to intervals and half-lines, and the tails of the normal distribution. */
#include "check.h"
#include "normal.h"
#include "nvpflow.h"
#include <float.h>
#include <math.h>

#define INF (double)INFINITY

enum { DIM = 3 };
static const double good_bounds[2 * DIM] = {0, 2, 1, INF, -INF, -1}, good_scales[DIM] = {0, 3, 0},
                                    good_edges[DIM] = {0.25, 0.5, 0.5};

static nvp_status create(nvp_dtype dtype, const double *bounds, const double *scales, const double *edges,
                         nvp_flow **flow) {
    const nvp_layer_config config =
        NVP_LAYER_CONFIG(.type = NVP_BOUNDED, .bounds = bounds, .scales = scales, .edges = edges);
    const nvp_status status = nvp_flow_create(flow, dtype, DIM, 0, NULL, 1, &config);
    CHECK((*flow != NULL) == (status == NVP_OK));
    return status;
}

static void check_status(nvp_status expected, nvp_dtype dtype, const double *bounds, const double *scales,
                         const double *edges) {
    nvp_flow *flow;
    CHECK(create(dtype, bounds, scales, edges, &flow) == expected);
    nvp_flow_destroy(flow);
}

static void test_descriptions(void) {
    static const double bad_bounds[][2 * DIM] = {
        {1, 1, 0, 1, 0, 1},     {2, 1, 0, 1, 0, 1},       {(double)NAN, 1, 0, 1, 0, 1}, {0, (double)NAN, 0, 1, 0, 1},
        {0, 1, INF, INF, 0, 1}, {0, 1, -INF, -INF, 0, 1}, {0, 1, INF, 0, 0, 1},         {-1e308, 1e308, 0, 1, 0, 1},
    };
    static const double in_double[2 * DIM] = {0, 4, 1e39, INF, -INF, -1e39}, near[2 * DIM] = {1, 1 + 4e-9, 0, 1, 0, 1},
                                      small_edges[DIM] = {1e-9, 1e-9, 1e-9};
    static const double bad_reals[] = {-1, (double)NAN, INF, -INF};
    check_status(NVP_OK, NVP_FLOAT32, good_bounds, good_scales, good_edges);
    check_status(NVP_ERROR_ARGUMENT, NVP_FLOAT32, NULL, good_scales, good_edges);
    check_status(NVP_ERROR_ARGUMENT, NVP_FLOAT32, good_bounds, NULL, good_edges);
    check_status(NVP_ERROR_ARGUMENT, NVP_FLOAT32, good_bounds, good_scales, NULL);
    for (size_t i = 0; i < sizeof bad_bounds / sizeof *bad_bounds; i++)
        check_status(NVP_ERROR_ARGUMENT, NVP_FLOAT64, bad_bounds[i], good_scales, good_edges);
    for (size_t i = 0; i < sizeof bad_reals / sizeof *bad_reals; i++) {
        const double reals[DIM] = {1, bad_reals[i], 1};
        check_status(bad_reals[i] < 0 && isfinite(bad_reals[i]) ? NVP_OK : NVP_ERROR_ARGUMENT, NVP_FLOAT64, good_bounds,
                     reals, good_edges);
        check_status(NVP_ERROR_ARGUMENT, NVP_FLOAT64, good_bounds, good_scales, reals);
    }
    /* Widths and distances in units of a negative scale must be numbers of the dtype. */
    static const double small[DIM] = {-1e-39, 1, 1}, large[DIM] = {-1e39, 1, 1}, of_half_line[DIM] = {0, -1e-39, 0};
    check_status(NVP_OK, NVP_FLOAT64, good_bounds, small, good_edges);
    check_status(NVP_ERROR_ARGUMENT, NVP_FLOAT32, good_bounds, small, good_edges);
    check_status(NVP_ERROR_ARGUMENT, NVP_FLOAT32, good_bounds, large, good_edges);
    check_status(NVP_ERROR_ARGUMENT, NVP_FLOAT32, good_bounds, of_half_line, good_edges);
    const double zero[DIM] = {0.5, 0, 0.5}, wide[DIM] = {1.01, 1, 1};
    check_status(NVP_ERROR_ARGUMENT, NVP_FLOAT64, good_bounds, good_scales, zero);
    check_status(NVP_ERROR_ARGUMENT, NVP_FLOAT64, good_bounds, good_scales, wide);
    check_status(NVP_OK, NVP_FLOAT64, in_double, good_scales, good_edges);
    check_status(NVP_ERROR_ARGUMENT, NVP_FLOAT32, in_double, good_scales, good_edges);
    check_status(NVP_OK, NVP_FLOAT64, near, good_scales, small_edges);
    check_status(NVP_ERROR_ARGUMENT, NVP_FLOAT32, near, good_scales, small_edges);
}

/* The description keeps a copy of the lists. */
static void test_lists_are_copied(void) {
    double bounds[2 * DIM], x[DIM] = {1, 2, -2}, z[DIM], again[DIM];
    for (int i = 0; i < 2 * DIM; i++)
        bounds[i] = good_bounds[i];
    nvp_flow *flow;
    nvp_workspace *workspace;
    CHECK(create(NVP_FLOAT64, bounds, good_scales, good_edges, &flow) == NVP_OK);
    CHECK(nvp_workspace_create(&workspace) == NVP_OK);
    CHECK(nvp_inverse(flow, NULL, 1, x, NULL, z, NULL, workspace) == NVP_OK);
    for (int i = 0; i < 2 * DIM; i++)
        bounds[i] = 7;
    CHECK(nvp_inverse(flow, NULL, 1, x, NULL, again, NULL, workspace) == NVP_OK);
    for (int i = 0; i < DIM; i++)
        CHECK(z[i] == again[i] && isfinite(z[i]));
    nvp_workspace_destroy(workspace);
    nvp_flow_destroy(flow);
}

/* Outside there is no density; on a bound there is that of the point at the distance `edges`. */
static void test_outside_and_on_bounds(void) {
    static const double outside[][DIM] = {{-1e-300, 2, -2},   {2 + 1e-15, 2, -2}, {1, 1 - 1e-15, -2},
                                          {1, 2, -1 + 1e-15}, {1, 2, 5},          {-INF, INF, -INF}};
    static const double on[][DIM] = {{0, 2, -2}, {2, 2, -2}, {1, 1, -2}, {1, 2, -1}, {0, 1, -1}};
    static const double near[][DIM] = {{0.25, 2, -2}, {1.75, 2, -2}, {1, 1.5, -2}, {1, 2, -1.5}, {0.25, 1.5, -1.5}};
    enum { OUTSIDE = sizeof outside / sizeof *outside, ON = sizeof on / sizeof *on };
    double found[OUTSIDE], expected[ON], grad[OUTSIDE][DIM];
    nvp_flow *flow;
    nvp_workspace *workspace;
    CHECK(create(NVP_FLOAT64, good_bounds, good_scales, good_edges, &flow) == NVP_OK);
    CHECK(nvp_workspace_create(&workspace) == NVP_OK);
    CHECK(nvp_log_prob(flow, NULL, OUTSIDE, outside, NULL, found, workspace) == NVP_OK);
    for (int i = 0; i < OUTSIDE; i++)
        CHECK(isinf(found[i]) && found[i] < 0);
    CHECK(nvp_log_prob(flow, NULL, ON, on, NULL, found, workspace) == NVP_OK);
    CHECK(nvp_log_prob(flow, NULL, ON, near, NULL, expected, workspace) == NVP_OK);
    for (int i = 0; i < ON; i++)
        CHECK(isfinite(found[i]) && fabs(found[i] - expected[i]) < 1e-14 * (1 + fabs(found[i])));
    CHECK(nvp_inverse_vjp(flow, NULL, OUTSIDE, outside, NULL, NULL, NULL, grad, NULL, NULL, workspace) == NVP_OK);
    CHECK(isnan(grad[0][0]) && isnan(grad[1][0]) && isnan(grad[2][1]) && isnan(grad[3][2]) && grad[0][1] == 0);
    nvp_workspace_destroy(workspace);
    nvp_flow_destroy(flow);
}

/* Reference numbers of mpmath, rounded. Below 0, the rounding of z^2 / 2 limits the relative accuracy. */
static void test_normal_tails(void) {
    static const double known[][2] = {
        {-37, 5.725571222524577e-300}, {-20, 2.7536241186062337e-89}, {-8, 6.220960574271786e-16},
        {-3, 0.0013508099647481938},   {-1, 0.17275377902344988},     {-0.25, 0.5129840754094305},
        {0, 0.6931471805599453},       {0.25, 0.9130617648111351},    {1, 1.8410216450092636},
        {3, 6.607726221510349},        {8, 35.01343715991455},        {19.5, 194.0169657774975},
        {29.5, 439.42947460915025},    {30.5, 469.4627373229121},     {37, 689.0305855768906},
        {100, 5005.524208694205},      {10000, 50000010.12927891},    {100000000, 5000000000000019.0},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const double z = known[i][0], e = known[i][1], tolerance = z < 0 ? 2e-16 * (2 + z * z) : 4e-16;
        CHECK(fabs(nvp_exponential_of_normal(z) - e) <= tolerance * e);
        CHECK(fabs(nvp_normal_of_exponential(e) - z) <= 1e-15 * (1 + fabs(z)));
    }
    CHECK(nvp_normal_of_exponential(0) == -INF && nvp_normal_of_exponential(INF) == INF);
    for (double log_p = -0.6931471805599453; log_p > -1e5; log_p *= 1.01)
        CHECK(fabs(nvp_exponential_of_normal(-nvp_normal_quantile(log_p)) + log_p) <= 1e-14 * (1 - log_p));
}

static const named_test tests[] = {TEST(descriptions), TEST(lists_are_copied), TEST(outside_and_on_bounds),
                                   TEST(normal_tails)};

int main(int n_arguments, char **arguments) { return RUN_TESTS(tests, n_arguments, arguments); }
