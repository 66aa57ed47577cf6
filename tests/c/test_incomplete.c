/* Sums of expectation-maximisation for rows with missing cells: by hand for two columns, and errors. */
#include "check.h"
#include "faults.h"
#include "incomplete.h"
#include <math.h>
#include <stdint.h>

enum { DIM = 2, N = 3 };
static const double mean[DIM] = {1, -1}, covariance[DIM * DIM] = {4, 1, 1, 9}, log_weight[1] = {0};

typedef struct {
    double shares[1], shift[DIM], squares[DIM * DIM], nll;
} sums;

static nvp_status add(size_t n, const double *x, const double *share, const double *covariances, sums *found) {
    memset(found, 0, sizeof *found);
    return nvp_incomplete_sums(n, DIM, 1, x, share, log_weight, mean, covariances, found->shares, found->shift,
                               found->squares, &found->nll);
}

static void test_missing_column(void) {
    /* The second column given the first one, which is 3: its offset is 1 / 4 of 2, and 9 - 1 / 4 of its variance is
     * left. */
    const double x[DIM] = {3, NAN}, share[1] = {0.5};
    sums found;
    CHECK(add(1, x, share, covariance, &found) == NVP_OK);
    CHECK(fabs(found.shares[0] - 0.5) < 1e-15);
    CHECK(fabs(found.shift[0] - 0.5 * 2) < 1e-14 && fabs(found.shift[1] - 0.5 * 0.5) < 1e-14);
    CHECK(fabs(found.squares[0] - 0.5 * 4) < 1e-14 && fabs(found.squares[1] - 0.5 * 1) < 1e-14);
    CHECK(found.squares[1] == found.squares[2]);
    CHECK(fabs(found.squares[3] - 0.5 * (0.25 + 8.75)) < 1e-14);
    const double log_density = -0.5 * (4.0 / 4 + log(2 * 3.14159265358979323846 * 4));
    CHECK(fabs(found.nll + 0.5 * log_density) < 1e-14);
}

/* Rows of one pattern after another give the sum of what each row gives. */
static void test_rows_add_up(void) {
    const double x[N * DIM] = {3, NAN, 2, NAN, 0, 5}, share[N] = {0.2, 0.3, 0.5};
    sums all, one, total = {0};
    CHECK(add(N, x, share, covariance, &all) == NVP_OK);
    for (size_t i = 0; i < N; i++) {
        CHECK(add(1, x + DIM * i, share + i, covariance, &one) == NVP_OK);
        total.shares[0] += one.shares[0], total.nll += one.nll;
        for (size_t j = 0; j < DIM * DIM; j++)
            total.squares[j] += one.squares[j];
    }
    CHECK(fabs(all.shares[0] - total.shares[0]) < 1e-14 && fabs(all.nll - total.nll) < 1e-13);
    for (size_t j = 0; j < DIM * DIM; j++)
        CHECK(fabs(all.squares[j] - total.squares[j]) < 1e-13);
}

static void test_errors(void) {
    const double x[DIM] = {3, 2}, share[1] = {1}, indefinite[DIM * DIM] = {1, 2, 2, 1},
                 undefined[DIM * DIM] = {NAN, 0, 0, 1};
    sums found;
    CHECK(add(1, x, share, indefinite, &found) == NVP_ERROR_ARGUMENT);
    CHECK(add(1, x, share, undefined, &found) == NVP_ERROR_ARGUMENT);
    CHECK(add(0, x, share, covariance, &found) == NVP_OK && found.nll == 0);
    CHECK(nvp_incomplete_sums(1, 0, 1, x, share, log_weight, mean, covariance, found.shares, found.shift, found.squares,
                              &found.nll) == NVP_ERROR_ARGUMENT);
    CHECK(nvp_incomplete_sums(1, SIZE_MAX / 2, 8, x, share, log_weight, mean, covariance, found.shares, found.shift,
                              found.squares, &found.nll) == NVP_ERROR_MEMORY);
}

static void test_failing_allocations(void) {
    const double x[DIM] = {3, NAN}, share[1] = {1};
    sums found;
    for (allocations_left = 0; allocations_left < 2;) {
        const long before = allocations_left;
        CHECK(add(1, x, share, covariance, &found) == NVP_ERROR_MEMORY);
        allocations_left = before + 1;
    }
    CHECK(add(1, x, share, covariance, &found) == NVP_OK);
    allocations_left = -1;
}

static const named_test tests[] = {TEST(missing_column), TEST(rows_add_up), TEST(errors), TEST(failing_allocations)};

int main(int n_arguments, char **arguments) { return RUN_TESTS(tests, n_arguments, arguments); }
