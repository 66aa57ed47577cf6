/* An engine: the whole numerical code, compiled from the one source in engine/ for one precision and one instruction
 * set. A flow picks its engine when it is created (dispatch.c) and every compute function runs through it. */
#ifndef NVP_ENGINE_H
#define NVP_ENGINE_H

#include "adam.h"
#include "pass.h"

struct nvp_engine {
    const char *isa;
    size_t real_size;
    size_t lanes; /* of a vector: the rows of a tile are padded to a multiple of this */
    /* The layer's sizes from its configuration, already checked. False: overflow. */
    bool (*plan_layer)(nvp_layer *layer);
    bool (*plan_base)(nvp_base *base); /* the same for the base */
    void (*initialize)(const nvp_flow *flow, uint64_t seed, void *params);
    nvp_status (*run)(nvp_pass *pass);
    /* Shared state for passes of at most n samples, with gradients, that every worker of the workspace's team runs.
     * With double-buffered gradients, a worker may begin a pass while others still read the gradient of the last one.
     */
    nvp_status (*init_shared_state)(nvp_shared_state *shared, const nvp_flow *flow, nvp_workspace *workspace, size_t n,
                                    bool double_buffered_grads);
    /* 1 for each parameter on which weight decay acts, 0 for the others. */
    void (*mark_decaying)(const nvp_flow *flow, void *marks);
    /* On parameters from, ..., from + n - 1 of the rows. */
    void (*update)(const nvp_update *update, size_t from, size_t n);
    /* Of the gradient there. */
    double (*sum_of_squares)(const nvp_update *update, size_t from, size_t n);
};

/* The engine for a precision: the widest instruction set of this machine, or the one that NVPFLOW_ISA names. NULL when
 * that one is not to be had. */
const nvp_engine *nvp_choose_engine(nvp_dtype dtype);

#endif
