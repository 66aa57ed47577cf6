/* Mixtures on a line: densities and distribution functions by hand, far away, and errors. */
#include "check.h"
#include "faults.h"
#include "normal_lines.h"
#include <math.h>
#include <stdint.h>

enum { N = 2, K = 3 };
static const int64_t starts[N + 1] = {0, 1, K};
static const double weights[K] = {1, 0.25, 0.75}, means[K] = {1, -2, 3}, stds[K] = {2, 0.5, 1};
static const nvp_normal_lines lines = {N, K, starts, weights, means, stds};

static double normal_density(double u, double mean, double std) {
    const double z = (u - mean) / std;
    return exp(-0.5 * z * z) / (std * sqrt(2 * acos(-1)));
}

static double normal_below(double u, double mean, double std) { return 0.5 * erfc((mean - u) / (std * sqrt(2))); }

static void test_values(void) {
    const int64_t which[4] = {0, 1, 1, 0};
    const double u[4] = {2, -2.5, 3.5, -1};
    double density[4], below[4];
    CHECK(nvp_normal_lines_at(&lines, 4, which, u, density, below) == NVP_OK);
    for (size_t i = 0; i < 4; i++) {
        double exact_density = 0, exact_below = 0;
        for (int64_t c = starts[which[i]]; c < starts[which[i] + 1]; c++) {
            exact_density += weights[c] * normal_density(u[i], means[c], stds[c]);
            exact_below += weights[c] * normal_below(u[i], means[c], stds[c]);
        }
        CHECK(fabs(density[i] - exact_density) < 1e-14 && fabs(below[i] - exact_below) < 1e-14);
    }
}

static void test_infinity_and_nan(void) {
    const int64_t which[3] = {1, 1, 1};
    const double u[3] = {-INFINITY, INFINITY, NAN};
    double density[3], below[3];
    CHECK(nvp_normal_lines_at(&lines, 3, which, u, density, below) == NVP_OK);
    CHECK(density[0] == 0 && below[0] == 0 && density[1] == 0 && below[1] == 1);
    CHECK(isnan(density[2]) && isnan(below[2]));
}

static void test_errors(void) {
    const int64_t past[1] = {N}, negative[1] = {-1}, first[1] = {0}, falling[N + 1] = {0, 4, K},
                  late[N + 1] = {1, 1, K};
    const double u[1] = {0};
    double density, below;
    CHECK(nvp_normal_lines_at(&lines, 1, past, u, &density, &below) == NVP_ERROR_ARGUMENT);
    CHECK(nvp_normal_lines_at(&lines, 1, negative, u, &density, &below) == NVP_ERROR_ARGUMENT);
    nvp_normal_lines wrong = lines;
    wrong.starts = falling;
    CHECK(nvp_normal_lines_at(&wrong, 1, first, u, &density, &below) == NVP_ERROR_ARGUMENT);
    wrong.starts = late;
    CHECK(nvp_normal_lines_at(&wrong, 1, first, u, &density, &below) == NVP_ERROR_ARGUMENT);
    allocations_left = 0;
    CHECK(nvp_normal_lines_at(&lines, 1, first, u, &density, &below) == NVP_ERROR_MEMORY);
    allocations_left = -1;
}

static const named_test tests[] = {TEST(values), TEST(infinity_and_nan), TEST(errors)};

int main(int n_arguments, char **arguments) { return RUN_TESTS(tests, n_arguments, arguments); }
