#include "average.h"
#include "checked.h"
#include "engine.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

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

/* n numbers, and zeros up to `width` of them. */
static double *copy_row(const double *row, size_t n, size_t width, double *to) {
    memcpy(to, row, n * sizeof *to);
    memset(to + n, 0, (width - n) * sizeof *to);
    return to;
}

/* Without memory the pointers may be NULL. The rows are copied, so that each fills whole vectors. */
static nvp_status start_average(const nvp_densities *all, average_of *of, nvp_scratch *scratch) {
    const size_t k = all->k, n = all->n;
    size_t width, rows, size;
    if (!nvp_add(n, NVP_AVERAGE_ROWS - 1, &width) || !nvp_add(k, 1, &rows))
        return NVP_ERROR_MEMORY;
    width -= width % NVP_AVERAGE_ROWS;
    if (!nvp_multiply(rows, width, &size) || !nvp_add_product(k, NVP_MOST_LANES, &size) ||
        !nvp_multiply(size, sizeof(double), &size))
        return NVP_ERROR_MEMORY;
    double *copies = nvp_scratch_reserve(scratch, size);
    of->densities = malloc(k * sizeof *of->densities);
    of->shares = malloc(k * sizeof *of->shares);
    of->numbers = malloc(k * sizeof *of->numbers);
    double *factors = of->average.factors = malloc(k * sizeof *factors);
    if (!copies || !of->densities || !of->shares || !of->numbers || !factors)
        return NVP_ERROR_MEMORY;
    for (size_t i = 0; i < k; i++) {
        of->densities[i] = copy_row(all->density + i * n, n, width, copies + i * width);
        of->numbers[i] = i, of->shares[i] = 1 / (double)k;
    }
    const double *weight = copy_row(all->weight, n, width, copies + k * width);
    /* An average may be 0 of a sample of next to no weight, whose only density was left out. */
    of->average = (nvp_average){k, width, of->densities, of->shares, weight, 1e-300, factors, copies + (k + 1) * width};
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
