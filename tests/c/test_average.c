/* The shares of densities in an average of them. */
#include "average.h"
#include "check.h"
#include "faults.h"
#include <math.h>

enum { K = 3, N = 37 };

static double density[K * N], weight[N];

/* The third density is negligible beside the others. */
static nvp_densities densities(void) {
    for (int i = 0; i < N; i++) {
        density[i] = 1 + i % 5, density[N + i] = 1 + (i * i) % 7, density[2 * N + i] = 1e-3;
        weight[i] = (1 + i % 3) / 36.0 / 2.0;
    }
    double sum = 0;
    for (int i = 0; i < N; i++)
        sum += weight[i];
    for (int i = 0; i < N; i++)
        weight[i] /= sum;
    return (nvp_densities){K, N, density, weight};
}

static const nvp_share_steps STEPS = {400, 10, 1.9, 1e-4};

/* At the maximum each density that has a share has a factor of 1, and the others have less: the conditions of Karush,
 * Kuhn and Tucker. */
static void test_maximum(void) {
    const nvp_densities all = densities();
    double shares[K], factors[K] = {0};
    CHECK(nvp_find_shares(&all, &STEPS, shares) == NVP_OK);
    for (int i = 0; i < N; i++) {
        double average = 0;
        for (int k = 0; k < K; k++)
            average += shares[k] * density[k * N + i];
        for (int k = 0; k < K; k++)
            factors[k] += weight[i] * density[k * N + i] / average;
    }
    CHECK(fabs(shares[0] + shares[1] - 1) < 1e-15 && shares[2] == 0);
    CHECK(fabs(factors[0] - 1) < 1e-9 && fabs(factors[1] - 1) < 1e-9 && factors[2] < 1);
}

/* A sample without a density, such as one whose only density was left out, counts for nothing. */
static void test_sample_without_density(void) {
    nvp_densities all = densities();
    double with[K], without[K];
    for (int k = 0; k < K; k++)
        density[k * N + N - 1] = 0;
    CHECK(nvp_find_shares(&all, &STEPS, with) == NVP_OK);
    weight[N - 1] = 0;
    CHECK(nvp_find_shares(&all, &STEPS, without) == NVP_OK);
    for (int k = 0; k < K; k++)
        CHECK(fabs(with[k] - without[k]) < 1e-12);
}

static void test_errors(void) {
    const nvp_densities all = densities();
    nvp_densities wrong = all;
    nvp_share_steps none = STEPS;
    double shares[K];
    wrong.k = 0;
    CHECK(nvp_find_shares(&wrong, &STEPS, shares) == NVP_ERROR_ARGUMENT);
    wrong = all, wrong.n = 0;
    CHECK(nvp_find_shares(&wrong, &STEPS, shares) == NVP_ERROR_ARGUMENT);
    none.n_steps = 0;
    CHECK(nvp_find_shares(&all, &none, shares) == NVP_ERROR_ARGUMENT);
    none = STEPS, none.steps_to_drop = 0;
    CHECK(nvp_find_shares(&all, &none, shares) == NVP_ERROR_ARGUMENT);
    wrong = all, wrong.k = SIZE_MAX / 8;
    CHECK(nvp_find_shares(&wrong, &STEPS, shares) == NVP_ERROR_MEMORY);
    FAIL_EACH(nvp_find_shares(&all, &STEPS, shares));
}

static const named_test tests[] = {TEST(maximum), TEST(sample_without_density), TEST(errors)};

int main(int n_arguments, char **arguments) { return RUN_TESTS(tests, n_arguments, arguments); }
