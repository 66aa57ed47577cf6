/* Student's t: its normaliser, its map to N(0, 1) in both tails, and flows over it. */
#include "check.h"
#include "nvpflow.h"
#include "student_t.h"
#include <float.h>
#include <math.h>

enum { DIM = 2 };
static const double LOG_2_PI = 1.83787706640934548356;

static nvp_student_t student_of(double df) { return nvp_student_t_of(log(df - 0.5)); }

/* P(T > t), exactly, for 1, 2 and 4 degrees of freedom. */
static double tail_of_1(double t) { return atan(1 / t) / acos(-1.0); }
static double tail_of_2(double t) { return 1 / ((2 + t * t) * (1 + t / sqrt(2 + t * t))); }
static double tail_of_4(double t) { /* with c = t / sqrt(4 + t^2): (2 - 3 c + c^3)/4 = (1 - c)^2 (2 + c)/4 */
    const double c = t / sqrt(4 + t * t), rest = 4 / ((4 + t * t) * (1 + c));
    return rest * rest * (2 + c) / 4;
}

static void check_tail(double df, double (*tail)(double)) {
    const nvp_student_t student = student_of(df);
    for (double t = 0.01; t < 1e60; t *= 1.7) {
        double log_slope, back;
        const double y = nvp_student_t_to_normal(&student, t, &log_slope), p = 0.5 * erfc(y * sqrt(0.5));
        if (tail(t) > 1e-290)
            CHECK(fabs(p / tail(t) - 1) < 1e-12);
        CHECK(nvp_student_t_to_normal(&student, -t, &back) == -y && back == log_slope);
        CHECK(fabs(nvp_student_t_from_normal(&student, y, &back) / t - 1) < 1e-11);
        CHECK(fabs(back - log_slope) < 1e-9);
    }
}

static void test_tails(void) {
    check_tail(1, tail_of_1);
    check_tail(2, tail_of_2);
    check_tail(4, tail_of_4);
}

/* Gamma(1) / Gamma(1/2), Gamma(3/2) / Gamma(1), and -1/(4 df) for large df; slopes against differences. */
static void test_normaliser(void) {
    CHECK(fabs(student_of(1).log_ratio - (-0.5 * log(acos(-1.0) / 2))) < 1e-15);
    CHECK(fabs(student_of(2).log_ratio - log(sqrt(acos(-1.0)) / 2)) < 1e-15);
    CHECK(fabs(student_of(1e6).log_ratio / -2.5e-7 - 1) < 1e-12);
    static const double dfs[] = {0.6, 1, 3, 20, 31.9, 1000};
    for (size_t i = 0; i < sizeof dfs / sizeof *dfs; i++) {
        const double step = 1e-5 * dfs[i];
        const double rise = student_of(dfs[i] + step).log_ratio - student_of(dfs[i] - step).log_ratio;
        CHECK(fabs(student_of(dfs[i]).slope / (rise / (2 * step)) - 1) < 1e-5);
    }
    CHECK(fabs(nvp_student_t_of(-1000).df - 0.5) < 1e-15 && nvp_student_t_of(-1000).excess == 0);
    CHECK(nvp_student_t_of(1000).df == nvp_student_t_of(14).df && nvp_student_t_of(14).excess == 0);
    CHECK(isnan(nvp_student_t_of((double)NAN).log_ratio));
}

/* The two ways to compute a tail meet, and many degrees of freedom are N(0, 1). */
static void test_many_degrees_of_freedom(void) {
    double log_slope, other;
    const nvp_student_t below = student_of(99.9999), above = student_of(100.0001), normal = student_of(1e6);
    for (double t = 0.01; t < 12; t *= 1.3) {
        const double step = nvp_student_t_to_normal(&above, t, &log_slope) - nvp_student_t_to_normal(&below, t, &other);
        CHECK(step >= 0 && step < 1e-6 * (t + t * t * t));
        CHECK(fabs(nvp_student_t_to_normal(&normal, t, &log_slope) - t) < 1e-6 * (t + t * t * t));
    }
}

/* Rows that are not finite stay. */
static void test_rows(void) {
    const double log_excess[DIM] = {0, 1}, points[3 * DIM] = {1, -2, (double)NAN, 3, -(double)INFINITY, 0};
    double found[3 * DIM], log_det[3], one;
    nvp_student_t_map(3, DIM, log_excess, false, points, found, log_det);
    const nvp_student_t first = nvp_student_t_of(0);
    CHECK(found[0] == nvp_student_t_to_normal(&first, 1, &one));
    CHECK(isnan(found[2]) && found[3] == 3 && found[4] == -(double)INFINITY && found[5] == 0);
    CHECK(log_det[1] == 0 && log_det[2] == 0 && log_det[0] != 0);
}

static nvp_flow *create(nvp_dtype dtype) {
    static const size_t order[DIM] = {1, 0};
    const nvp_layer_config layer = NVP_LAYER_CONFIG(.type = NVP_PERMUTATION, .permutation = order);
    const nvp_base_config base = NVP_BASE_CONFIG(.kind = NVP_STUDENT_T);
    nvp_flow *flow;
    CHECK(nvp_flow_create(&flow, dtype, DIM, 0, &base, 1, &layer) == NVP_OK);
    return flow;
}

/* Five degrees of freedom at first; points as far as the type reaches have densities, infinite ones have none. */
static void test_flow(void) {
    nvp_flow *flow = create(NVP_FLOAT32);
    const float x[4 * DIM] = {0, 0, FLT_MAX, 0, -FLT_MAX, 0, (float)INFINITY, 0};
    float params[DIM], log_prob[4];
    nvp_workspace *workspace;
    CHECK(nvp_flow_n_parameters(flow) == DIM && nvp_flow_base_kind(flow) == NVP_STUDENT_T);
    nvp_flow_initialize(flow, 0, params);
    CHECK(fabsf(params[0] - logf(4.5F)) < 1e-6F);
    CHECK(nvp_workspace_create(&workspace) == NVP_OK);
    for (int i = 0; i < 2; i++) {
        params[1] = i ? -20 : params[1]; /* the first column of x */
        const nvp_student_t student = nvp_student_t_of((double)params[1]), other = nvp_student_t_of((double)params[0]);
        CHECK(nvp_log_prob(flow, params, 4, x, NULL, log_prob, workspace) == NVP_OK);
        const double centre = student.log_ratio + other.log_ratio - LOG_2_PI;
        const double far = centre - (student.df + 1) * (log((double)FLT_MAX) - 0.5 * log(student.df));
        CHECK(fabs((double)log_prob[0] - centre) < 1e-6 && fabs((double)log_prob[1] / far - 1) < 1e-6);
        CHECK(log_prob[1] == log_prob[2] && log_prob[3] == -INFINITY);
    }
    nvp_workspace_destroy(workspace);
    nvp_flow_destroy(flow);
}

static void test_files(void) {
    nvp_flow *flow = create(NVP_FLOAT64), *loaded;
    const double params[DIM] = {-1, 2}, x[DIM] = {3, -4};
    double log_prob[2];
    void *bytes, *read;
    size_t n;
    nvp_workspace *workspace;
    CHECK(nvp_workspace_create(&workspace) == NVP_OK);
    CHECK(nvp_flow_save_bytes(flow, params, &bytes, &n) == NVP_OK);
    CHECK(nvp_flow_load_bytes(bytes, n, &loaded, &read) == NVP_OK);
    CHECK(nvp_flow_base_kind(loaded) == NVP_STUDENT_T);
    CHECK(nvp_log_prob(flow, params, 1, x, NULL, log_prob, workspace) == NVP_OK);
    CHECK(nvp_log_prob(loaded, read, 1, x, NULL, log_prob + 1, workspace) == NVP_OK);
    CHECK(log_prob[0] == log_prob[1]);
    nvp_free(bytes);
    nvp_free(read);
    nvp_workspace_destroy(workspace);
    nvp_flow_destroy(loaded);
    nvp_flow_destroy(flow);
}

static const named_test tests[] = {TEST(tails), TEST(normaliser), TEST(many_degrees_of_freedom),
                                   TEST(rows),  TEST(flow),       TEST(files)};

int main(int n_arguments, char **arguments) { return RUN_TESTS(tests, n_arguments, arguments); }
