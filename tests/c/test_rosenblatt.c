/* Points of a mixture of normal distributions as points of N(0, I): by hand, there and back, far away, and errors. */
#include "check.h"
#include "faults.h"
#include "rosenblatt.h"
#include <math.h>
#include <stdint.h>

enum { DIM = 2, K = 2 };
static const double LOG_2_PI = 1.83787706640934548356;
/* P = [[1/2, 0], [1, 2]] about (1, -1), and the identity about (-4, 3). */
static const double log_weights[K] = {-0.35667494393873238, -1.2039728043259361}, means[K * DIM] = {1, -1, -4, 3},
                    factors[K * DIM * DIM] = {0.5, 0, 1, 2, 1, 0, 0, 1};
static const nvp_normals one = {1, 0, DIM, log_weights, false, means, factors},
                         two = {K, 0, DIM, log_weights, false, means, factors},
                         second_given_first = {K, 1, 1, log_weights, false, means, factors};

static double log_density(const nvp_normals *normals, const double *x) {
    double sum = 0;
    for (size_t c = 0; c < normals->k; c++) {
        const double *p = factors + c * DIM * DIM, *mean = means + c * DIM;
        const double u = p[0] * (x[0] - mean[0]), v = p[2] * (x[0] - mean[0]) + p[3] * (x[1] - mean[1]);
        sum += exp(log_weights[c] + log(p[0] * p[3]) - 0.5 * (u * u + v * v) - LOG_2_PI);
    }
    return log(sum);
}

/* One normal distribution is whitened. */
static void test_one_component(void) {
    const double x[DIM] = {2, 1};
    double z[DIM], log_det;
    CHECK(nvp_rosenblatt(&one, false, 1, NULL, x, z, &log_det) == NVP_OK);
    CHECK(fabs(z[0] - 0.5) < 1e-15 && fabs(z[1] - 5) < 1e-14 && fabs(log_det) < 1e-14);
}

/* The density of the mixture is that of N(0, I) times the determinant; the way back has the opposite one. */
static void test_density_and_way_back(void) {
    const double x[4 * DIM] = {1, -1, -4, 3, -1.5, 1, 7, -20};
    double z[4 * DIM], back[4 * DIM], log_det[4], log_det_back[4];
    CHECK(nvp_rosenblatt(&two, false, 4, NULL, x, z, log_det) == NVP_OK);
    CHECK(nvp_rosenblatt(&two, true, 4, NULL, z, back, log_det_back) == NVP_OK);
    for (size_t i = 0; i < 4; i++) {
        const double *own = z + DIM * i;
        const double of_normal = -0.5 * (own[0] * own[0] + own[1] * own[1]) - LOG_2_PI;
        CHECK(fabs(of_normal + log_det[i] - log_density(&two, x + DIM * i)) < 1e-11);
        CHECK(fabs(log_det[i] + log_det_back[i]) < 1e-9);
        for (size_t d = 0; d < DIM; d++)
            CHECK(fabs(back[DIM * i + d] - x[DIM * i + d]) < 1e-9);
    }
}

/* A column that is given changes the weights and means; log-weights may differ from row to row. */
static void test_given_column(void) {
    const double x[DIM] = {-1.5, 1},
                 weights[2 * K] = {log_weights[0], log_weights[1], log_weights[0] + 5, log_weights[1] + 5};
    double z[DIM], log_det, last[2], log_dets[2];
    CHECK(nvp_rosenblatt(&two, false, 1, NULL, x, z, &log_det) == NVP_OK);
    nvp_normals normals = second_given_first;
    normals.log_weights = weights, normals.weights_per_row = true;
    const double given[2] = {x[0], x[0]}, points[2] = {x[1], x[1]};
    CHECK(nvp_rosenblatt(&normals, false, 2, given, points, last, log_dets) == NVP_OK);
    for (size_t i = 0; i < 2; i++)
        CHECK(fabs(last[i] - z[1]) < 1e-13);
    CHECK(fabs(log_dets[0] - log_dets[1]) < 1e-13);
}

/* Where all probabilities underflow, logarithms stand for them. */
static void test_far_points(void) {
    const double x[2 * DIM] = {1e8, -1e8, 60, 80};
    double z[2 * DIM], log_det[2];
    CHECK(nvp_rosenblatt(&two, false, 2, NULL, x, z, log_det) == NVP_OK);
    CHECK(isfinite(z[0]) && isfinite(z[1]) && z[0] > 1e7 && isfinite(log_det[0]));
    /* log_density underflows for the second one: the first component has it. */
    const double u = 0.5 * 59, v = 59 + 2 * 81, exact = log_weights[0] - 0.5 * (u * u + v * v) - LOG_2_PI;
    const double other = log_weights[1] - 0.5 * (64.0 * 64 + 77.0 * 77) - LOG_2_PI;
    CHECK(fabs(-0.5 * (z[2] * z[2] + z[3] * z[3]) - LOG_2_PI + log_det[1] - fmax(exact, other)) < 1e-9);
}

static void test_rows_that_are_not_finite(void) {
    const double x[2 * DIM] = {INFINITY, 1, NAN, 0};
    double z[2 * DIM], log_det[2];
    CHECK(nvp_rosenblatt(&two, false, 2, NULL, x, z, log_det) == NVP_OK);
    CHECK(z[0] == INFINITY && z[1] == 1 && isnan(z[2]) && log_det[0] == 0 && log_det[1] == 0);
}

static void test_errors(void) {
    const double x[DIM] = {2, 1};
    double z[DIM], log_det;
    nvp_normals wrong = two;
    wrong.dim = 0;
    CHECK(nvp_rosenblatt(&wrong, false, 1, NULL, x, z, &log_det) == NVP_ERROR_ARGUMENT);
    wrong.dim = SIZE_MAX / 8;
    CHECK(nvp_rosenblatt(&wrong, false, 1, NULL, x, z, &log_det) == NVP_ERROR_MEMORY);
    allocations_left = 0;
    CHECK(nvp_rosenblatt(&two, false, 1, NULL, x, z, &log_det) == NVP_ERROR_MEMORY);
    allocations_left = -1;
}

static const named_test tests[] = {TEST(one_component), TEST(density_and_way_back),     TEST(given_column),
                                   TEST(far_points),    TEST(rows_that_are_not_finite), TEST(errors)};

int main(int n_arguments, char **arguments) { return RUN_TESTS(tests, n_arguments, arguments); }
