#include "average.h"
#include "checked.h"
#include "engine.h"
#include <math.h>
#include <stdlib.h>

/* The densities that are left, with the average of them. */
typedef struct {
    nvp_average average;
    const double **densities;
    double *shares;
    size_t *numbers; /* (k): which they are */
} average_of;

static void free_average(average_of *of, nvp_scratch *scratch) {
    free(of->densities);
    free(of->shares);
    free(of->numbers);
    free(of->average.factors);
    nvp_scratch_free(scratch);
}

/* Without memory the pointers may be NULL. */
static nvp_status start_average(const nvp_densities *all, average_of *of, nvp_scratch *scratch) {
    size_t size;
    if (!nvp_multiply(all->k, sizeof(double) * NVP_MOST_LANES, &size))
        return NVP_ERROR_MEMORY;
    of->densities = malloc(all->k * sizeof *of->densities);
    of->shares = malloc(all->k * sizeof *of->shares);
    of->numbers = malloc(all->k * sizeof *of->numbers);
    of->average =
        (nvp_average){all->k,
                      all->n,
                      of->densities,
                      of->shares,
                      all->weight,
                      1e-300, /* of a row of next to no weight, whose only density was left out, it may be 0 */
                      malloc(all->k * sizeof(double)),
                      nvp_scratch_reserve(scratch, size)};
    if (!of->densities || !of->shares || !of->numbers || !of->average.factors || !of->average.sums)
        return NVP_ERROR_MEMORY;
    for (size_t k = 0; k < all->k; k++) {
        of->densities[k] = all->density + k * all->n, of->numbers[k] = k;
        of->shares[k] = 1 / (double)all->k;
    }
    return NVP_OK;
}

static void normalize(size_t k, double *shares) {
    double sum = 0;
    for (size_t i = 0; i < k; i++)
        sum += shares[i];
    for (size_t i = 0; i < k; i++)
        shares[i] /= sum;
}

static void leave_out_negligible(average_of *of, double negligible) {
    size_t left = 0;
    for (size_t k = 0; k < of->average.k; k++)
        if (of->shares[k] > negligible || of->average.factors[k] > 1) {
            of->densities[left] = of->densities[k], of->numbers[left] = of->numbers[k];
            of->shares[left++] = of->shares[k];
        }
    of->average.k = left;
}

nvp_status nvp_find_shares(const nvp_densities *densities, const nvp_share_steps *steps, double *shares) {
    const nvp_engine *engine = nvp_choose_engine(NVP_FLOAT64);
    if (densities->k == 0 || densities->n == 0 || steps->n_steps == 0 || steps->steps_to_drop == 0)
        return NVP_ERROR_ARGUMENT;
    if (!engine)
        return NVP_ERROR_UNSUPPORTED;
    average_of of = {0};
    nvp_scratch scratch = {0};
    const nvp_status status = start_average(densities, &of, &scratch);
    if (status == NVP_OK) {
        for (size_t step = 1; step <= steps->n_steps; step++) {
            engine->expect_shares(&of.average);
            for (size_t k = 0; k < of.average.k; k++)
                of.shares[k] *= pow(of.average.factors[k], steps->overshoot);
            normalize(of.average.k, of.shares);
            if (step % steps->steps_to_drop == 0)
                leave_out_negligible(&of, steps->negligible);
        }
        normalize(of.average.k, of.shares);
        for (size_t k = 0; k < densities->k; k++)
            shares[k] = 0;
        for (size_t k = 0; k < of.average.k; k++)
            shares[of.numbers[k]] = of.shares[k];
    }
    free_average(&of, &scratch);
    return status;
}
