#include "em.h"
#include "checked.h"
#include "engine.h"
#include "groups.h"
#include "triangular.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of a component that no sample belongs to: it vanishes step by step, and would underflow after fifty. */
static const double LEAST_SHARE = 1e-200;
static const double HALF_LOG_2_PI = 0.91893853320467274178;
/* With fewer components, all are read in every step. */
static const size_t FEW_COMPONENTS = 6;

/* The memory of a call, one allocation: Cholesky factors of the covariances and of the precisions (k, dim, dim), sums
 * of the expectation, shares (k), new covariances, and a square and a row as scratch. */
typedef struct {
    double *roots, *factors, *log_terms, *class_shares, *shift, *products, *shares, *squares, *square, *row;
} memory;

static bool allocate(memory *m, size_t dim, size_t k, size_t n_classes) {
    size_t square, all, of_classes, n = 0;
    if (!nvp_multiply(dim, dim, &square) || !nvp_multiply(square, k, &all) ||
        !nvp_multiply(n_classes, k, &of_classes) || !nvp_add_product(4, all, &n) ||
        !nvp_add_product(2, of_classes, &n) || !nvp_add_product(k, dim, &n) || !nvp_add(n, k, &n) ||
        !nvp_add(n, square, &n) || !nvp_add(n, dim, &n) || n > SIZE_MAX / sizeof *m->roots ||
        !(m->roots = malloc(n * sizeof *m->roots)))
        return false;
    m->factors = m->roots + all, m->products = m->factors + all, m->squares = m->products + all;
    m->log_terms = m->squares + all, m->class_shares = m->log_terms + of_classes;
    m->shift = m->class_shares + of_classes, m->shares = m->shift + k * dim;
    m->square = m->shares + k, m->row = m->square + square;
    return true;
}

/* Cholesky factors, and the logarithms of all factors of the densities that do not depend on the sample. */
static bool factorize(const nvp_em_samples *samples, const nvp_em_mixture *mixture, const memory *m) {
    const size_t dim = samples->dim, square = dim * dim, k = mixture->k;
    for (size_t c = 0; c < k; c++) {
        double *root = m->roots + c * square, constant = -HALF_LOG_2_PI * (double)dim;
        if (!nvp_cholesky(dim, mixture->covariances + c * square, root))
            return false;
        nvp_invert_triangle(dim, root, m->factors + c * square);
        for (size_t i = 0; i < dim; i++)
            constant -= log(root[i * dim + i]);
        for (size_t group = 0; group < samples->n_classes; group++) {
            const double *log_weights = mixture->log_weights;
            const double log_weight = log_weights ? log_weights[group * k + c] : log(mixture->weights[c]);
            m->log_terms[group * k + c] = log_weight + constant;
        }
    }
    return true;
}

/* Sums of the samples that are added to those of m, and their negative log-likelihood, to *nll. */
static nvp_expectation sums_of(const nvp_em_samples *samples, const nvp_em_mixture *mixture, const memory *m,
                               nvp_scratch *scratch, nvp_interrupt *interrupt, double *nll) {
    const nvp_expectation expectation = {.n = samples->n,
                                         .dim = samples->dim,
                                         .k = mixture->k,
                                         .n_classes = samples->n_classes,
                                         .x = samples->x,
                                         .weight = samples->weight,
                                         .classes = samples->classes,
                                         .log_terms = m->log_terms,
                                         .means = mixture->means,
                                         .factors = m->factors,
                                         .shares = m->class_shares,
                                         .shift = m->shift,
                                         .products = m->products,
                                         .nll = nll,
                                         .scratch = scratch,
                                         .interrupt = interrupt};
    return expectation;
}

/* Groups for the steps of a call. None: all components are read for all samples. */
static bool divide(const nvp_em_samples *samples, const nvp_em_mixture *mixture, nvp_groups *groups) {
    *groups = (nvp_groups){0};
    return mixture->k < FEW_COMPONENTS || mixture->log_weights ||
           nvp_groups_allocate(groups, samples->n, samples->dim, mixture->k);
}

static nvp_status expect(nvp_groups *groups, const nvp_engine *engine, const nvp_em_samples *samples,
                         const nvp_em_mixture *mixture, const memory *m, nvp_scratch *scratch, nvp_interrupt *interrupt,
                         double *nll) {
    const size_t dim = samples->dim, k = mixture->k;
    const nvp_expectation sums = sums_of(samples, mixture, m, scratch, interrupt, nll);
    memset(m->class_shares, 0, samples->n_classes * k * sizeof *m->class_shares);
    memset(m->shift, 0, k * dim * sizeof *m->shift);
    memset(m->products, 0, k * dim * dim * sizeof *m->products);
    *nll = 0;
    const nvp_status status = groups->n_groups ? nvp_groups_expect(groups, engine, &sums) : engine->expect(&sums);
    *nll /= (double)samples->n;
    return status;
}

/* The shares of the samples, which do not vanish. */
static void set_shares(const nvp_em_samples *samples, const nvp_em_mixture *mixture, const memory *m) {
    const double resolution = samples->dtype == NVP_FLOAT32 ? (double)FLT_EPSILON : DBL_EPSILON;
    for (size_t i = 0; i < samples->n_classes * mixture->k; i++)
        m->class_shares[i] /= (double)samples->n;
    for (size_t c = 0; c < mixture->k; c++) {
        m->shares[c] = 0;
        for (size_t group = 0; group < samples->n_classes; group++)
            m->shares[c] += m->class_shares[group * mixture->k + c];
        m->shares[c] = fmax(m->shares[c], fmax(resolution * mixture->weights[c], LEAST_SHARE));
    }
}

/* The shift (dim) of the mean of component c, and the squares (dim, dim) about the new one, times the share. The sums
 * are about the old mean, in units of the old covariance: so they resolve columns that hardly differ. Rounding can make
 * a variance negative if a component has moved far or has become flat; it counts as 0. */
static void center(const nvp_em_samples *samples, const memory *m, size_t c, double *squares) {
    const size_t dim = samples->dim, square = dim * dim;
    const double resolution = samples->dtype == NVP_FLOAT32 ? (double)FLT_EPSILON : DBL_EPSILON;
    const double factor = 1 / (m->shares[c] * (double)samples->n), *root = m->roots + c * square;
    double *shift = m->shift + c * dim, *white = m->products + c * square;
    for (size_t i = 0; i < dim; i++) {
        shift[i] *= factor;
        m->row[i] = resolution * factor * white[i * dim + i];
        for (size_t j = 0; j <= i; j++)
            white[i * dim + j] = factor * white[i * dim + j] - shift[i] * shift[j];
    }
    nvp_semidefinite_cholesky(dim, white, m->row, white);
    nvp_multiply_triangles(dim, root, white, m->square);
    nvp_outer_square(dim, m->square, m->shares[c], squares);
    for (size_t i = dim; i-- > 0;) {
        double sum = 0;
        for (size_t j = 0; j <= i; j++)
            sum += root[i * dim + j] * shift[j];
        shift[i] = sum;
    }
}

static nvp_status maximize(const nvp_em_samples *samples, const nvp_covariance_prior *prior, nvp_em_mixture *mixture,
                           const memory *m) {
    const size_t dim = samples->dim, square = dim * dim, k = mixture->k;
    double total = 0;
    set_shares(samples, mixture, m);
    for (size_t c = 0; c < k; c++) {
        center(samples, m, c, m->squares + c * square);
        total += m->shares[c];
    }
    const nvp_status status = nvp_covariances(prior, k, m->shares, m->squares);
    if (status != NVP_OK)
        return status;
    memcpy(mixture->covariances, m->squares, k * square * sizeof *m->squares);
    for (size_t c = 0; c < k; c++)
        mixture->weights[c] = m->shares[c] / total;
    for (size_t i = 0; i < k * dim; i++)
        mixture->means[i] += m->shift[i];
    if (mixture->class_shares)
        memcpy(mixture->class_shares, m->class_shares, samples->n_classes * k * sizeof *m->class_shares);
    return NVP_OK;
}

nvp_status nvp_em(const nvp_em_samples *samples, const nvp_covariance_prior *prior, size_t n_first, size_t max_iter,
                  double tolerance, nvp_interrupt *interrupt, nvp_em_mixture *mixture, double *nll) {
    if (samples->n == 0 || samples->dim == 0 || samples->n_classes == 0 || mixture->k == 0 ||
        samples->dim != prior->dim)
        return NVP_ERROR_ARGUMENT;
    const nvp_engine *engine = nvp_choose_engine(samples->dtype);
    if (!engine)
        return NVP_ERROR_UNSUPPORTED;
    memory m;
    if (!allocate(&m, samples->dim, mixture->k, samples->n_classes))
        return NVP_ERROR_MEMORY;
    nvp_groups groups;
    nvp_scratch scratch = {0};
    nvp_status status = divide(samples, mixture, &groups) ? NVP_OK : NVP_ERROR_MEMORY;
    for (size_t part = 0; part < 2 && status == NVP_OK; part++) {
        const size_t most = part ? max_iter : n_first;
        const double least_gain = part ? tolerance : 1 / prior->n;
        double before = INFINITY;
        for (size_t step = 0; step < most; step++) {
            status = factorize(samples, mixture, &m)
                         ? expect(&groups, engine, samples, mixture, &m, &scratch, interrupt, nll)
                         : NVP_ERROR_ARGUMENT;
            if (status == NVP_OK)
                status = maximize(samples, prior, mixture, &m);
            if (status != NVP_OK || before - *nll < least_gain || mixture->log_weights)
                break;
            before = *nll;
        }
    }
    nvp_groups_free(&groups);
    nvp_scratch_free(&scratch);
    free(m.roots);
    return status;
}

nvp_status nvp_em_log_prob(const nvp_em_samples *samples, const nvp_em_mixture *mixture, nvp_interrupt *interrupt,
                           double *log_prob) {
    if (samples->dim == 0 || samples->n_classes != 1 || mixture->k == 0)
        return NVP_ERROR_ARGUMENT;
    const nvp_engine *engine = nvp_choose_engine(samples->dtype);
    if (!engine)
        return NVP_ERROR_UNSUPPORTED;
    memory m;
    if (!allocate(&m, samples->dim, mixture->k, 1))
        return NVP_ERROR_MEMORY;
    nvp_scratch scratch = {0};
    nvp_status status = NVP_ERROR_ARGUMENT;
    if (factorize(samples, mixture, &m)) {
        const nvp_expectation expectation = {.n = samples->n,
                                             .dim = samples->dim,
                                             .k = mixture->k,
                                             .n_classes = 1,
                                             .x = samples->x,
                                             .log_terms = m.log_terms,
                                             .means = mixture->means,
                                             .factors = m.factors,
                                             .log_prob = log_prob,
                                             .scratch = &scratch,
                                             .interrupt = interrupt};
        status = engine->expect(&expectation);
    }
    nvp_scratch_free(&scratch);
    free(m.roots);
    return status;
}

nvp_status nvp_em_add_sums(const nvp_em_samples *samples, const nvp_em_mixture *mixture, nvp_interrupt *interrupt,
                           nvp_em_sums *sums) {
    if (samples->n == 0 || samples->dim == 0 || samples->n_classes != 1 || mixture->k == 0)
        return NVP_ERROR_ARGUMENT;
    const nvp_engine *engine = nvp_choose_engine(samples->dtype);
    if (!engine)
        return NVP_ERROR_UNSUPPORTED;
    memory m;
    if (!allocate(&m, samples->dim, mixture->k, 1))
        return NVP_ERROR_MEMORY;
    nvp_scratch scratch = {0};
    nvp_status status = NVP_ERROR_ARGUMENT;
    if (factorize(samples, mixture, &m)) {
        memory of_caller = m;
        of_caller.class_shares = sums->shares, of_caller.shift = sums->shift, of_caller.products = sums->products;
        const nvp_expectation of_all = sums_of(samples, mixture, &of_caller, &scratch, interrupt, &sums->nll);
        status = engine->expect(&of_all);
    }
    nvp_scratch_free(&scratch);
    free(m.roots);
    return status;
}

nvp_status nvp_em_step(nvp_dtype dtype, size_t n, const nvp_em_sums *sums, const nvp_covariance_prior *prior,
                       nvp_em_mixture *mixture) {
    const size_t dim = prior->dim, k = mixture->k;
    const nvp_em_samples samples = {.dtype = dtype, .n = n, .dim = dim, .n_classes = 1};
    if (n == 0 || dim == 0 || k == 0)
        return NVP_ERROR_ARGUMENT;
    memory m;
    if (!allocate(&m, dim, k, 1))
        return NVP_ERROR_MEMORY;
    nvp_status status = NVP_ERROR_ARGUMENT;
    if (factorize(&samples, mixture, &m)) {
        memcpy(m.class_shares, sums->shares, k * sizeof *m.class_shares);
        memcpy(m.shift, sums->shift, k * dim * sizeof *m.shift);
        memcpy(m.products, sums->products, k * dim * dim * sizeof *m.products);
        status = maximize(&samples, prior, mixture, &m);
    }
    free(m.roots);
    return status;
}
