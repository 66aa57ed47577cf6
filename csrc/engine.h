/* An engine: the numerical code in engine/, compiled for one precision and one instruction set. nvp_flow_create chooses
 * the engine of a flow, through which all compute functions run. */
#ifndef NVP_ENGINE_H
#define NVP_ENGINE_H

#include "adam.h"
#include "expectation.h"
#include "normal_column.h"
#include "pass.h"

struct nvp_engine {
    const char *isa;
    size_t real_size;
    size_t lanes; /* lanes of a vector; rows of a tile are padded to a multiple */
    /* Compute the sizes of a layer, or of the base, from its checked configuration. False: overflow. */
    bool (*plan_layer)(nvp_layer *layer);
    bool (*plan_base)(nvp_base *base);
    void (*initialize)(const nvp_flow *flow, uint64_t seed, void *params);
    nvp_status (*run)(nvp_pass *pass);
    /* Initialise the shared state for passes with gradients over at most n samples, which every worker of the
     * workspace's team runs. With double-buffered gradients, a worker may begin a pass while others still read the
     * gradient of the last one. */
    nvp_status (*init_shared_state)(nvp_shared_state *shared, const nvp_flow *flow, nvp_workspace *workspace, size_t n,
                                    bool double_buffered_grads);
    /* marks = 1 for each parameter on which weight decay acts, 0 for the others. */
    void (*mark_decaying)(const nvp_flow *flow, void *marks);
    /* Update parameters from, ..., from + n - 1. */
    void (*update)(const nvp_update *update, size_t from, size_t n);
    /* The sum of squares of the gradient of these parameters. */
    double (*sum_of_squares)(const nvp_update *update, size_t from, size_t n);
    /* In 64-bit precision alone. The first one sets the shares to exp(logs) and returns their sum. */
    double (*share_out)(const nvp_normal_column *column);
    nvp_normal_sums (*sum_normals)(const nvp_normal_column *column, double x);
    /* Add the sums of an expectation step. */
    nvp_status (*expect)(const nvp_expectation *expectation);
    nvp_status (*find_nearest)(const nvp_nearest *nearest);
    /* In 64-bit precision alone. */
    void (*expect_shares)(const nvp_average *average);
};

/* The engine of a precision for the widest instruction set of this machine, or for the one that NVPFLOW_ISA names.
 * NULL: that instruction set is not available. */
const nvp_engine *nvp_choose_engine(nvp_dtype dtype);

#endif
