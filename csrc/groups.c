#include "groups.h"
#include "checked.h"
#include <stdlib.h>
#include <string.h>

/* Rows of a group. With fewer, fewer components are responsible for them, but their parameters are read more often. */
static const size_t GROUP = 128;
/* A component is responsible for a group if it has more than this share of it: less than float32 resolves. With a
 * larger one, 1e-6, the steps of heavy tails differed enough to change what was chosen. */
static const double LEAST_SHARE = 1e-8;
/* The first pass reads all components for all groups, and so does every so many-th one for each group, in turn. */
static const size_t TURNS = 8;

bool nvp_groups_allocate(nvp_groups *groups, size_t n, size_t dim, size_t k) {
    size_t n_flags, square, numbers = 2;
    *groups = (nvp_groups){.n_groups = n / GROUP + (n % GROUP > 0)};
    if (!nvp_multiply(groups->n_groups, k, &n_flags) || !nvp_multiply(dim, dim, &square) ||
        !nvp_add_product(2, square, &numbers) || !nvp_add_product(2, dim, &numbers) ||
        !nvp_multiply(numbers, k, &numbers) || numbers > SIZE_MAX / sizeof *groups->numbers)
        return false;
    groups->is_responsible = malloc(n_flags * sizeof *groups->is_responsible);
    groups->chosen = malloc(k * sizeof *groups->chosen);
    groups->numbers = malloc(numbers * sizeof *groups->numbers);
    if (groups->is_responsible && groups->chosen && groups->numbers)
        return true;
    nvp_groups_free(groups);
    return false;
}

void nvp_groups_free(nvp_groups *groups) {
    free(groups->is_responsible);
    free(groups->chosen);
    free(groups->numbers);
    *groups = (nvp_groups){0};
}

/* Copy the blocks of `size` numbers of the k chosen components. */
static void gather(const size_t *chosen, size_t k, size_t size, const double *from, double *to) {
    for (size_t c = 0; c < k; c++)
        memcpy(to + c * size, from + chosen[c] * size, size * sizeof *to);
}

/* Add blocks to those of the k chosen components. */
static void scatter(const size_t *chosen, size_t k, size_t size, const double *from, double *to) {
    for (size_t c = 0; c < k; c++)
        for (size_t i = 0; i < size; i++)
            to[chosen[c] * size + i] += from[c * size + i];
}

/* The expectation of the group that begins at a row, under the k chosen components, with sums of its own, at 0. */
static nvp_expectation of_group(const nvp_groups *groups, const nvp_engine *engine, const nvp_expectation *whole,
                                size_t first, size_t k) {
    const size_t dim = whole->dim, square = dim * dim;
    double *shares = groups->numbers, *shift = shares + k, *products = shift + k * dim;
    double *log_terms = products + k * square, *means = log_terms + k, *factors = means + k * dim;
    memset(shares, 0, k * (1 + dim + square) * sizeof *shares);
    gather(groups->chosen, k, 1, whole->log_terms, log_terms);
    gather(groups->chosen, k, dim, whole->means, means);
    gather(groups->chosen, k, square, whole->factors, factors);
    nvp_expectation part = *whole;
    part.n = whole->n - first < GROUP ? whole->n - first : GROUP, part.k = k;
    part.x = (const char *)whole->x + first * dim * engine->real_size;
    part.weight = whole->weight ? whole->weight + first : NULL;
    part.log_terms = log_terms, part.means = means, part.factors = factors;
    part.shares = shares, part.shift = shift, part.products = products;
    return part;
}

static size_t choose(const bool *is_responsible, bool all, size_t k, size_t *chosen) {
    size_t n = 0;
    for (size_t c = 0; c < k; c++)
        if (all || is_responsible[c])
            chosen[n++] = c;
    return n;
}

static void remember(const double *shares, size_t k, bool *is_responsible) {
    double total = 0;
    for (size_t c = 0; c < k; c++)
        total += shares[c];
    for (size_t c = 0; c < k; c++)
        is_responsible[c] = shares[c] > LEAST_SHARE * total;
}

nvp_status nvp_groups_expect(nvp_groups *groups, const nvp_engine *engine, const nvp_expectation *whole) {
    const size_t dim = whole->dim, pass = groups->n_passes++;
    for (size_t group = 0; group < groups->n_groups; group++) {
        bool *is_responsible = groups->is_responsible + group * whole->k;
        const bool all = pass == 0 || (group + pass) % TURNS == 0;
        const size_t k = choose(is_responsible, all, whole->k, groups->chosen);
        const nvp_expectation part = of_group(groups, engine, whole, group * GROUP, k);
        const nvp_status status = k ? engine->expect(&part) : NVP_OK;
        if (status != NVP_OK)
            return status;
        if (all)
            remember(part.shares, k, is_responsible);
        scatter(groups->chosen, k, 1, part.shares, whole->shares);
        scatter(groups->chosen, k, dim, part.shift, whole->shift);
        scatter(groups->chosen, k, dim * dim, part.products, whole->products);
    }
    return NVP_OK;
}
