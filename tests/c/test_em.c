/* Expectation-maximisation and k-means: small cases by hand, errors, interruptions, and allocations that fail. */
#include "check.h"
#include "em.h"
#include "factor_model.h"
#include "faults.h"
#include "kmeans.h"
#include <math.h>
#include <stdint.h>

enum { DIM = 2, K = 2, N = 4 };

/* Two pairs of points, so far apart that each belongs to one component. */
static const double x[N * DIM] = {-50, 0, -48, 2, 50, 1, 50, 3}, none[DIM] = {0, 0};

typedef struct {
    double weights[K], means[K * DIM], covariances[K * DIM * DIM];
} numbers;

static numbers start(void) { return (numbers){{0.5, 0.5}, {-49, 0, 49, 0}, {1, 0, 0, 1, 1, 0, 0, 1}}; }

static nvp_covariance_prior no_prior(void) {
    return (nvp_covariance_prior){.dim = DIM, .n = N, .widest = 10, .enough_rows = 10, .floor = none, .added = none};
}

static nvp_em_samples samples(void) {
    return (nvp_em_samples){.dtype = NVP_FLOAT64, .n = N, .dim = DIM, .x = x, .n_classes = 1};
}

static nvp_status fit(const nvp_em_samples *of, const nvp_covariance_prior *prior, size_t max_iter, numbers *found,
                      double *nll) {
    nvp_em_mixture mixture = {
        .k = K, .weights = found->weights, .means = found->means, .covariances = found->covariances};
    nvp_interrupt interrupt = {0};
    return nvp_em(of, prior, 0, max_iter, 0, &interrupt, &mixture, nll);
}

static bool is_near(double a, double b) { return fabs(a - b) < 1e-12; }

static void test_step(void) {
    const nvp_em_samples of = samples();
    const nvp_covariance_prior prior = no_prior();
    numbers found = start();
    double nll;
    CHECK(fit(&of, &prior, 1, &found, &nll) == NVP_OK);
    CHECK(is_near(found.weights[0], 0.5) && is_near(found.means[0], -49) && is_near(found.means[1], 1));
    CHECK(is_near(found.means[2], 50) && is_near(found.means[3], 2));
    CHECK(is_near(found.covariances[0], 1) && is_near(found.covariances[1], 1) && is_near(found.covariances[3], 1));
    CHECK(is_near(found.covariances[4], 0) && is_near(found.covariances[7], 1));
    /* Squares of the offsets: 1 + 0, 1 + 4, 1 + 1, 1 + 9. */
    CHECK(is_near(nll, log(2 * 2 * 3.14159265358979323846) + 0.5 * 18.0 / 4));
}

static void test_float32_and_weights(void) {
    float single[N * DIM];
    const double weight[N] = {2, 0, 1, 1};
    nvp_em_samples of = samples();
    const nvp_covariance_prior prior = no_prior();
    numbers found = start();
    double nll;
    for (int i = 0; i < N * DIM; i++)
        single[i] = (float)x[i];
    of.dtype = NVP_FLOAT32, of.x = single, of.weight = weight;
    CHECK(fit(&of, &prior, 1, &found, &nll) == NVP_OK);
    CHECK(is_near(found.means[0], -50) && fabs(found.means[1]) < 1e-6 && fabs(found.weights[0] - 0.5) < 1e-6);
}

/* In the first class only the second component is likely, although it is far away. */
static void test_classes(void) {
    const int64_t classes[N] = {0, 0, 1, 1};
    const double log_weights[2 * K] = {-1e6, 0, -0.1, -3};
    nvp_em_samples of = samples();
    const nvp_covariance_prior prior = no_prior();
    numbers found = start();
    double class_shares[2 * K], nll;
    nvp_em_mixture mixture = {K, found.weights, found.means, found.covariances, log_weights, class_shares};
    nvp_interrupt interrupt = {0};
    of.classes = classes, of.n_classes = 2;
    CHECK(nvp_em(&of, &prior, 0, 9, 0, &interrupt, &mixture, &nll) == NVP_OK);
    CHECK(is_near(class_shares[0], 0) && is_near(class_shares[1], 0.5));
    CHECK(is_near(class_shares[2], 0) && is_near(class_shares[3], 0.5));
    CHECK(is_near(found.means[2], 0.5) && is_near(found.means[3], 1.5));
}

static int stop(void *context) {
    ++*(int *)context;
    return 1;
}

/* The mixture stays as it was. */
static void test_interruptions(void) {
    const nvp_em_samples of = samples();
    const nvp_covariance_prior prior = no_prior();
    numbers found = start();
    const numbers before = start();
    double nll;
    int n = 0;
    nvp_interrupt interrupt = {stop, &n, 0};
    nvp_em_mixture mixture = {.k = K, .weights = found.weights, .means = found.means, .covariances = found.covariances};
    CHECK(nvp_em(&of, &prior, 0, 9, 0, &interrupt, &mixture, &nll) == NVP_INTERRUPTED && n == 1);
    CHECK(!memcmp(&found, &before, sizeof found));
}

static void test_errors(void) {
    nvp_em_samples of = samples();
    nvp_covariance_prior prior = no_prior();
    numbers found = start();
    double nll;
    found.covariances[0] = -1;
    CHECK(fit(&of, &prior, 1, &found, &nll) == NVP_ERROR_ARGUMENT);
    found.covariances[0] = NAN;
    CHECK(fit(&of, &prior, 1, &found, &nll) == NVP_ERROR_ARGUMENT);
    found = start(), of.n = 0;
    CHECK(fit(&of, &prior, 1, &found, &nll) == NVP_ERROR_ARGUMENT);
    of = samples(), prior.dim = 3;
    CHECK(fit(&of, &prior, 1, &found, &nll) == NVP_ERROR_ARGUMENT);
    prior.dim = of.dim = SIZE_MAX / 2;
    CHECK(fit(&of, &prior, 1, &found, &nll) == NVP_ERROR_MEMORY);
    CHECK(nvp_covariances(&prior, K, found.weights, found.covariances) == NVP_ERROR_MEMORY);
    const double share[1] = {1};
    nvp_points points = {NVP_FLOAT64, 0, DIM, x, share};
    int64_t labels[1];
    CHECK(nvp_kmeans(&points, 1, 1, found.means, labels) == NVP_ERROR_ARGUMENT);
    points.n = 1, points.dim = SIZE_MAX / 4;
    CHECK(nvp_kmeans(&points, 8, 1, found.means, labels) == NVP_ERROR_MEMORY);
}

static nvp_status add_sums(const nvp_em_samples *of, numbers *found, nvp_em_sums *sums) {
    const nvp_em_mixture mixture = {
        .k = K, .weights = found->weights, .means = found->means, .covariances = found->covariances};
    nvp_interrupt interrupt = {0};
    return nvp_em_add_sums(of, &mixture, &interrupt, sums);
}

/* A step from sums over two parts is one on all samples. */
static void test_parts(void) {
    nvp_em_samples part = samples();
    const nvp_covariance_prior prior = no_prior();
    numbers found = start(), expected = start();
    double nll, shares[K] = {0}, shift[K * DIM] = {0}, products[K * DIM * DIM] = {0};
    nvp_em_sums sums = {shares, shift, products, 0};
    const nvp_em_samples all = samples();
    CHECK(fit(&all, &prior, 1, &expected, &nll) == NVP_OK);
    part.n = 1;
    CHECK(add_sums(&part, &found, &sums) == NVP_OK);
    part.n = N - 1, part.x = x + DIM;
    CHECK(add_sums(&part, &found, &sums) == NVP_OK && is_near(sums.nll / N, nll));
    nvp_em_mixture mixture = {.k = K, .weights = found.weights, .means = found.means, .covariances = found.covariances};
    CHECK(nvp_em_step(NVP_FLOAT64, N, &sums, &prior, &mixture) == NVP_OK);
    for (int i = 0; i < K * DIM * DIM; i++)
        CHECK(is_near(found.covariances[i], expected.covariances[i]) &&
              is_near(found.means[i % 4], expected.means[i % 4]));
}

/* Many rows in a line of eight places, and a component near each of them, which groups of rows can be divided among. */
enum { MANY = 8, ROWS = 8 * 128 + 40 };

typedef struct {
    double x[ROWS], weights[MANY], means[MANY], covariances[MANY];
} line;

static nvp_status fit_line(line *all, size_t max_iter) {
    const nvp_covariance_prior prior = {
        .dim = 1, .n = ROWS, .widest = 10, .enough_rows = 10, .floor = none, .added = none};
    const nvp_em_samples of = {.dtype = NVP_FLOAT64, .n = ROWS, .dim = 1, .x = all->x, .n_classes = 1};
    nvp_em_mixture mixture = {.k = MANY, .weights = all->weights, .means = all->means, .covariances = all->covariances};
    nvp_interrupt interrupt = {0};
    double nll;
    for (int i = 0; i < ROWS; i++)
        all->x[i] = 100 * (i / 128 % MANY) + i % 2;
    for (int c = 0; c < MANY; c++)
        all->weights[c] = 1.0 / MANY, all->means[c] = 100 * c - 1, all->covariances[c] = 4;
    return nvp_em(&of, &prior, 0, max_iter, -1, &interrupt, &mixture, &nll);
}

static nvp_status log_prob(const nvp_em_samples *of, numbers *with, double *found) {
    const nvp_em_mixture mixture = {
        .k = K, .weights = with->weights, .means = with->means, .covariances = with->covariances};
    nvp_interrupt interrupt = {0};
    return nvp_em_log_prob(of, &mixture, &interrupt, found);
}

static void test_log_prob(void) {
    nvp_em_samples of = samples();
    numbers with = start();
    double found[N];
    CHECK(log_prob(&of, &with, found) == NVP_OK);
    CHECK(is_near(found[0], -log(2 * 2 * 3.14159265358979323846) - 0.5));
    CHECK(is_near(found[3], -log(2 * 2 * 3.14159265358979323846) - 5));
    of.n_classes = 2;
    CHECK(log_prob(&of, &with, found) == NVP_ERROR_ARGUMENT);
    of = samples(), of.dim = SIZE_MAX / 2;
    CHECK(log_prob(&of, &with, found) == NVP_ERROR_MEMORY);
    of = samples(), with.covariances[0] = -1;
    CHECK(log_prob(&of, &with, found) == NVP_ERROR_ARGUMENT);
}

/* Columns 0 and 1 are one factor and noise, column 2 is noise: the model says as much. */
static void test_factor_prior(void) {
    const double none_of_3[3] = {0}, covariance[9] = {2, 1, 0, 1, 2, 0, 0, 0, 3}, shares[1] = {1};
    const nvp_covariance_prior prior = {.dim = 3,
                                        .n = 100,
                                        .samples = INFINITY,
                                        .widest = 10,
                                        .enough_rows = 10,
                                        .floor = none_of_3,
                                        .added = none_of_3,
                                        .n_factors = 1};
    double squares[9];
    memcpy(squares, covariance, sizeof squares);
    CHECK(nvp_covariances(&prior, 1, shares, squares) == NVP_OK);
    for (int i = 0; i < 9; i++)
        CHECK(fabs(squares[i] - covariance[i]) < 0.02);
    CHECK(nvp_factor_model(SIZE_MAX / 2, 1, covariance, squares) == NVP_ERROR_MEMORY);
}

static void test_errors_of_parts(void) {
    nvp_em_samples of = samples();
    nvp_covariance_prior prior = no_prior();
    numbers found = start();
    double shares[K] = {2, 2}, shift[K * DIM] = {0}, products[K * DIM * DIM] = {2, 0, 0, 2, 2, 0, 0, 2};
    nvp_em_sums sums = {shares, shift, products, 0};
    nvp_em_mixture mixture = {.k = K, .weights = found.weights, .means = found.means, .covariances = found.covariances};
    CHECK(nvp_em_step(NVP_FLOAT64, 0, &sums, &prior, &mixture) == NVP_ERROR_ARGUMENT);
    of.n = 0;
    CHECK(add_sums(&of, &found, &sums) == NVP_ERROR_ARGUMENT);
    of = samples(), of.n_classes = 2;
    CHECK(add_sums(&of, &found, &sums) == NVP_ERROR_ARGUMENT);
    of = samples(), of.dim = prior.dim = SIZE_MAX / 2;
    CHECK(add_sums(&of, &found, &sums) == NVP_ERROR_MEMORY);
    CHECK(nvp_em_step(NVP_FLOAT64, N, &sums, &prior, &mixture) == NVP_ERROR_MEMORY);
    of = samples(), prior = no_prior(), found.covariances[0] = -1;
    CHECK(add_sums(&of, &found, &sums) == NVP_ERROR_ARGUMENT);
    CHECK(nvp_em_step(NVP_FLOAT64, N, &sums, &prior, &mixture) == NVP_ERROR_ARGUMENT);
}

static void test_kmeans(void) {
    const double share[N] = {0.25, 0.25, 0.25, 0.25}, uniforms[NVP_CANDIDATES] = {0.6, 0.9, 0.99};
    const nvp_points points = {NVP_FLOAT64, N, DIM, x, share};
    double distances[N] = {0, 8, 10001, 10009}, centers[K * DIM] = {-50, 0}, shares[K], means[K * DIM],
           squares[K * DIM * DIM];
    int64_t labels[N];
    size_t chosen = 0;
    CHECK(nvp_add_center(&points, uniforms, distances, &chosen) == NVP_OK && chosen == 3);
    CHECK(is_near(distances[1], 8) && is_near(distances[2], 4) && is_near(distances[3], 0));
    centers[2] = x[chosen * DIM], centers[3] = x[chosen * DIM + 1];
    CHECK(nvp_kmeans(&points, K, 10, centers, labels) == NVP_OK);
    CHECK(labels[0] == 0 && labels[1] == 0 && labels[2] == 1 && labels[3] == 1);
    CHECK(is_near(centers[0], -49) && is_near(centers[1], 1) && is_near(centers[2], 50) && is_near(centers[3], 2));
    CHECK(nvp_cluster_moments(&points, K, labels, shares, means, squares) == NVP_OK);
    CHECK(is_near(shares[0], 0.5) && is_near(means[3], 2) && is_near(squares[1], 0.5) && is_near(squares[2], 0.5));
}

static void test_groups(void) {
    static line all;
    CHECK(fit_line(&all, 20) == NVP_OK);
    CHECK(is_near(all.weights[0], 168.0 / ROWS) && is_near(all.weights[7], 128.0 / ROWS));
    for (int c = 0; c < MANY; c++)
        CHECK(is_near(all.means[c], 100 * c + 0.5) && is_near(all.covariances[c], 0.25));
    FAIL_EACH(fit_line(&all, 1));
}

static void test_failing_allocations(void) {
    const double share[N] = {0.25, 0.25, 0.25, 0.25}, uniforms[NVP_CANDIDATES] = {0};
    const nvp_points points = {NVP_FLOAT64, N, DIM, x, share};
    const nvp_em_samples of = samples();
    const nvp_covariance_prior prior = no_prior();
    numbers found = start();
    double nll, distances[N] = {0, 8, 9, 9};
    int64_t labels[N] = {0, 0, 1, 1};
    size_t chosen;
    double shares_of[K] = {2, 2}, shift[K * DIM] = {0}, products[K * DIM * DIM] = {2, 0, 0, 2, 2, 0, 0, 2};
    nvp_em_sums sums = {shares_of, shift, products, 0};
    nvp_em_mixture mixture = {.k = K, .weights = found.weights, .means = found.means, .covariances = found.covariances};
    FAIL_EACH(fit(&of, &prior, 1, &found, &nll));
    found = start();
    FAIL_EACH(add_sums(&of, &found, &sums));
    FAIL_EACH(log_prob(&of, &found, distances));
    FAIL_EACH(nvp_em_step(NVP_FLOAT64, N, &sums, &prior, &mixture));
    FAIL_EACH(nvp_covariances(&prior, K, found.weights, found.covariances));
    FAIL_EACH(nvp_kmeans(&points, K, 2, found.means, labels));
    FAIL_EACH(nvp_add_center(&points, uniforms, distances, &chosen));
    FAIL_EACH(nvp_cluster_moments(&points, K, labels, found.weights, found.means, found.covariances));
}

static const named_test tests[] = {TEST(step),
                                   TEST(float32_and_weights),
                                   TEST(classes),
                                   TEST(interruptions),
                                   TEST(errors),
                                   TEST(parts),
                                   TEST(groups),
                                   TEST(log_prob),
                                   TEST(errors_of_parts),
                                   TEST(factor_prior),
                                   TEST(kmeans),
                                   TEST(failing_allocations)};

int main(int n_arguments, char **arguments) { return RUN_TESTS(tests, n_arguments, arguments); }
