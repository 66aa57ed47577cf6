/* What must hold of every flow that a file or a list of numbers has led to, whatever they were. A fuzzer sees the
 * abort. */
#ifndef NVP_FUZZ_MODEL_WORKS_H
#define NVP_FUZZ_MODEL_WORKS_H
#include "nvpflow.h"
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);                                  \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* More columns or parameters than these load, and compute too slowly to be worth it here. */
enum { N = 4, MOST_COLUMNS = 24, MOST_PARAMETERS = 3000 };

static inline size_t size_of_real(nvp_dtype dtype) { return dtype == NVP_FLOAT32 ? sizeof(float) : sizeof(double); }

static inline double get_real(nvp_dtype dtype, const void *reals, size_t i) {
    return dtype == NVP_FLOAT32 ? (double)((const float *)reals)[i] : ((const double *)reals)[i];
}

static inline void set_real(nvp_dtype dtype, void *reals, size_t i, double value) {
    if (dtype == NVP_FLOAT32)
        ((float *)reals)[i] = (float)value;
    else
        ((double *)reals)[i] = value;
}

/* N rows: usual points, one far away, one at infinity. */
static inline void fill_rows(nvp_dtype dtype, size_t n_columns, bool is_context, double *storage) {
    static const double values[] = {0.3, -1.25, 0, 2.5, 1e-3, -0.75, 1};
    for (size_t i = 0; i < N * n_columns; i++)
        set_real(dtype, storage, i, values[i % 7] * (i / n_columns == 2 ? 1e30 : 1));
    if (!is_context && n_columns)
        set_real(dtype, storage, N * n_columns - 1, INFINITY);
}

/* A log-density is a number or -infinity, for finite parameters and any point that is not NaN. */
static inline void check_log_prob(nvp_dtype dtype, const double *log_prob) {
    for (size_t i = 0; i < N; i++) {
        const double value = get_real(dtype, log_prob, i);
        MUST(!isnan(value) && value < (double)INFINITY);
    }
}

static inline nvp_workspace *the_workspace(void) {
    static nvp_workspace *workspace;
    if (!workspace)
        MUST(nvp_workspace_create(&workspace) == NVP_OK);
    return workspace;
}

static inline bool is_small(size_t dim, size_t context_dim, size_t n_params) {
    return dim <= MOST_COLUMNS && context_dim <= MOST_COLUMNS && n_params <= MOST_PARAMETERS;
}

/* A flow scores and samples, and gives gradients. */
static inline void flow_computes(const nvp_flow *flow, const void *params) {
    const nvp_dtype dtype = nvp_flow_dtype(flow);
    const size_t dim = nvp_flow_dim(flow), n_context = nvp_flow_context_dim(flow);
    double x[N * MOST_COLUMNS], context[N * MOST_COLUMNS], draws[N * MOST_COLUMNS], log_prob[N], nll;
    double grad[MOST_PARAMETERS + 1];
    fill_rows(dtype, dim, false, x);
    fill_rows(dtype, n_context, true, context);
    const nvp_data data = NVP_DATA(.n = N, .x = x, .context = n_context ? context : NULL);
    MUST(nvp_log_prob(flow, params, N, x, data.context, log_prob, the_workspace()) == NVP_OK);
    check_log_prob(dtype, log_prob);
    MUST(nvp_sample(flow, params, 1, N, data.context, draws, log_prob, the_workspace()) == NVP_OK);
    MUST(nvp_forward(flow, params, N, x, data.context, draws, log_prob, the_workspace()) == NVP_OK);
    MUST(nvp_nll(flow, params, &data, &nll, grad, the_workspace()) == NVP_OK);
}

/* The numbers of a flow are those of its copy. */
static inline void check_same(const nvp_flow *flow, const nvp_flow *twin) {
    double *numbers, *of_twin;
    size_t n, n_twin;
    MUST(nvp_flow_encode(flow, &n, &numbers) == NVP_OK && nvp_flow_encode(twin, &n_twin, &of_twin) == NVP_OK);
    MUST(n == n_twin && memcmp(numbers, of_twin, n * sizeof *numbers) == 0);
    nvp_free(numbers);
    nvp_free(of_twin);
}

/* A flow decodes from its own numbers. */
static inline void flow_decodes(const nvp_flow *flow) {
    double *numbers;
    size_t n;
    nvp_flow *twin;
    MUST(nvp_flow_encode(flow, &n, &numbers) == NVP_OK);
    MUST(nvp_flow_decode(&twin, n, numbers) == NVP_OK);
    check_same(flow, twin);
    MUST(nvp_flow_n_parameters(flow) == nvp_flow_n_parameters(twin));
    nvp_free(numbers);
    nvp_flow_destroy(twin);
}

/* A flow is saved, and the file loads as the same flow. */
static inline void flow_saves(const nvp_flow *flow, const void *params) {
    void *bytes, *same;
    size_t n;
    nvp_flow *twin;
    MUST(nvp_flow_save_bytes(flow, params, &bytes, &n) == NVP_OK);
    MUST(nvp_flow_load_bytes(bytes, n, &twin, &same) == NVP_OK);
    check_same(flow, twin);
    MUST(memcmp(params, same, nvp_flow_n_parameters(flow) * size_of_real(nvp_flow_dtype(flow))) == 0);
    nvp_free(bytes);
    nvp_free(same);
    nvp_flow_destroy(twin);
}

static inline void flow_works(const nvp_flow *flow, const void *params) {
    if (is_small(nvp_flow_dim(flow), nvp_flow_context_dim(flow), nvp_flow_n_parameters(flow))) {
        flow_computes(flow, params);
        flow_saves(flow, params);
    }
}

#endif
