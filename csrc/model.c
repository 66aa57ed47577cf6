/* The log-density and the samples of a fitted estimator, in the units of its data. nvpflow/supports/ has the formulas.
 */
#include "model.h"
#include "cells.h"
#include "checked.h"
#include "engine.h"
#include "workspace.h"
#include <math.h>
#include <stdlib.h>

enum {
    N_WINDINGS = 5, /* the angle itself, and two whole turns on either side */
    BLOCK = 8192    /* points at a time: enough for threads, and little memory */
};

static const double FIRST_UNRESOLVED = 9007199254740992.0; /* 2^53 */

void nvp_model_destroy(nvp_model *model) {
    if (!model)
        return;
    nvp_ensemble_destroy(model->ensemble);
    free(model->params);
    free(model->columns);
    free(model->origin);
    free(model->context_origin);
    free(model->context_range);
    free(model->cell_points);
    free(model->cell_log_weights);
    free(model);
}

const nvp_ensemble *nvp_model_ensemble(const nvp_model *model) { return model->ensemble; }
const void *nvp_model_parameters(const nvp_model *model) { return model->params; }

static size_t dim_of(const nvp_model *model) { return nvp_ensemble_dim(model->ensemble); }
static size_t context_dim_of(const nvp_model *model) { return nvp_ensemble_context_dim(model->ensemble); }
static size_t real_size(const nvp_model *model) { return model->ensemble->flows[0]->engine->real_size; }

static void put(nvp_dtype dtype, void *reals, size_t i, double value) {
    if (dtype == NVP_FLOAT32)
        ((float *)reals)[i] = (float)value;
    else
        ((double *)reals)[i] = value;
}

static double get(nvp_dtype dtype, const void *reals, size_t i) {
    return dtype == NVP_FLOAT32 ? (double)((const float *)reals)[i] : ((const double *)reals)[i];
}

/* -- columns -- */

static double into_turn(double x, double low, double turn) {
    const double offset = x - low;
    double within = fmod(isfinite(offset) ? offset : fmod(x, turn) - fmod(low, turn), turn);
    if (within < 0)
        within += turn;
    return within < turn ? low + within : low; /* rounding may reach the end */
}

static bool holds(const nvp_column *column, double x) {
    if (column->kind == NVP_COLUMN_ANGLE)
        return isfinite(x);
    const bool is_inside = x >= column->low && x <= column->high;
    return is_inside && (column->kind == NVP_COLUMN_REAL || (x == floor(x) && fabs(x) < FIRST_UNRESOLVED));
}

/* A value less the origin, an angle in the turn around it. Values outside of the support are infinite, so that no
 * rounding moves them inside. */
static double seen_by_flows(const nvp_column *column, double x, double origin) {
    if (isnan(x))
        return x;
    if (!holds(column, x))
        return copysign(INFINITY, x - origin);
    if (column->kind != NVP_COLUMN_ANGLE)
        return x - origin;
    const double turn = column->high - column->low;
    return into_turn(x, origin - turn / 2, turn) - origin;
}

/* An output of a flow as a value of the column: inside in spite of rounding. */
static double seen_by_users(const nvp_column *column, double y, double origin) {
    const double x = y + origin;
    if (column->kind == NVP_COLUMN_ANGLE)
        return into_turn(x, column->low, column->high - column->low);
    const double value = column->kind == NVP_COLUMN_WHOLE ? floor(x) : x;
    return value < column->low ? column->low : value > column->high ? column->high : value;
}

/* What the flows see of contexts (n, C), or of the one of row `first` on, repeated for `n_points` points of each row.
 */
static void put_context(const nvp_model *model, size_t point, size_t n, size_t n_points, const double *context,
                        void *seen) {
    const nvp_dtype dtype = nvp_ensemble_dtype(model->ensemble);
    const size_t width = context_dim_of(model);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < width; j++) {
            const double low = model->context_range[j], high = model->context_range[width + j];
            double value = context[(point + i) / n_points * width + j];
            value = value < low ? low : value > high ? high : value;
            put(dtype, seen, i * width + j, value - model->context_origin[j]);
        }
}

/* -- the log-density: a sum over the windings of angles, and over the points of cells -- */

static bool count_points(const nvp_model *model, size_t *n_points) {
    *n_points = nvp_cell_n_points(model->n_whole);
    for (size_t a = 0; a < model->n_angles; a++)
        if (!nvp_multiply(*n_points, N_WINDINGS, n_points))
            return false;
    return true;
}

/* Point `number` of a row x (D): the numbers that stand for its angles, and a place in the cells of its whole numbers.
 */
static void put_point(const nvp_model *model, const double *x, size_t number, void *point, size_t at) {
    const size_t n_nodes = nvp_cell_n_points(model->n_whole), node = number % n_nodes;
    size_t winding = number / n_nodes, whole = 0;
    for (size_t d = 0; d < dim_of(model); d++) {
        const nvp_column *column = &model->columns[d];
        double y = seen_by_flows(column, x[d], model->origin[d]);
        if (column->kind == NVP_COLUMN_ANGLE) {
            y += ((double)(winding % N_WINDINGS) - N_WINDINGS / 2) * (column->high - column->low);
            winding /= N_WINDINGS;
        } else if (column->kind == NVP_COLUMN_WHOLE)
            y += model->cell_points[node * model->n_whole + whole++];
        put(nvp_ensemble_dtype(model->ensemble), point, at * dim_of(model) + d, y);
    }
}

/* log(exp(t_1) + exp(t_2) + ...), one term after the other. */
typedef struct {
    double largest, sum;
} log_sum;

static void add_term(log_sum *total, double term) {
    if (isnan(term) || term > total->largest) {
        total->sum = total->sum * exp(total->largest - term) + 1;
        total->largest = term;
    } else if (term > -(double)INFINITY)
        total->sum += exp(term - total->largest);
}

static double value_of(log_sum total) { return total.sum > 0 ? total.largest + log(total.sum) : total.largest; }

typedef struct {
    char *x, *context, *log_prob;
} block;

static nvp_status lay_out(const nvp_model *model, size_t n, nvp_workspace *workspace, block *memory) {
    const size_t width = real_size(model), dim = dim_of(model), context_dim = context_dim_of(model);
    size_t reals = n, bytes;
    if (!nvp_add_product(n, dim, &reals) || !nvp_add_product(n, context_dim, &reals) ||
        !nvp_multiply(reals, width, &bytes))
        return NVP_ERROR_SIZE;
    char *memory_block = nvp_scratch_reserve(&workspace->model, bytes);
    if (!memory_block)
        return NVP_ERROR_MEMORY;
    memory->x = memory_block;
    memory->context = memory->x + n * dim * width;
    memory->log_prob = memory->context + n * context_dim * width;
    return NVP_OK;
}

static bool is_complete(const nvp_model *model, size_t n, const double *context, const nvp_workspace *workspace) {
    return model && workspace && (n == 0 || context || context_dim_of(model) == 0);
}

nvp_status nvp_model_log_prob(const nvp_model *model, size_t n, const double *x, const double *context,
                              double *log_prob, nvp_workspace *workspace) {
    size_t n_points, total;
    block memory;
    if (!is_complete(model, n, context, workspace) || (n && (!x || !log_prob)))
        return NVP_ERROR_ARGUMENT;
    if (!count_points(model, &n_points) || !nvp_multiply(n, n_points, &total))
        return NVP_ERROR_SIZE;
    nvp_status status = lay_out(model, total < BLOCK ? total : BLOCK, workspace, &memory);
    const size_t n_nodes = nvp_cell_n_points(model->n_whole);
    log_sum of_row = {-(double)INFINITY, 0};
    for (size_t first = 0; first < total && status == NVP_OK; first += BLOCK) {
        const size_t m = total - first < BLOCK ? total - first : BLOCK;
        for (size_t i = 0; i < m; i++)
            put_point(model, x + (first + i) / n_points * dim_of(model), (first + i) % n_points, memory.x, i);
        if (context)
            put_context(model, first, m, n_points, context, memory.context);
        status = nvp_ensemble_log_prob(model->ensemble, model->params, m, memory.x, memory.context, memory.log_prob,
                                       workspace);
        for (size_t i = 0; i < m && status == NVP_OK; i++) {
            const size_t number = (first + i) % n_points;
            add_term(&of_row, get(nvp_ensemble_dtype(model->ensemble), memory.log_prob, i) +
                                  model->cell_log_weights[number % n_nodes]);
            if (number + 1 == n_points) {
                log_prob[(first + i) / n_points] = value_of(of_row);
                of_row = (log_sum){-(double)INFINITY, 0};
            }
        }
    }
    return status;
}

/* -- samples -- */

nvp_status nvp_model_sample(const nvp_model *model, uint64_t seed, size_t n, const double *context, double *x,
                            nvp_workspace *workspace) {
    block memory;
    if (!is_complete(model, n, context, workspace) || (n && !x))
        return NVP_ERROR_ARGUMENT;
    nvp_status status = lay_out(model, n, workspace, &memory);
    if (status != NVP_OK)
        return status;
    if (context)
        put_context(model, 0, n, 1, context, memory.context);
    status = nvp_ensemble_sample(model->ensemble, model->params, seed, n, memory.context, memory.x, NULL, workspace);
    const size_t dim = dim_of(model);
    for (size_t i = 0; i < n * dim && status == NVP_OK; i++) {
        const double y = get(nvp_ensemble_dtype(model->ensemble), memory.x, i);
        x[i] = seen_by_users(&model->columns[i % dim], y, model->origin[i % dim]);
    }
    return status;
}
