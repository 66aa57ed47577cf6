/* What the parts of the library share: the description of a flow, and the engine that computes it.
 *
 * An engine is the whole numerical code, compiled from the one source in engine/ for one precision and one instruction
 * set. A flow picks its engine when it is created (dispatch.c) and every compute function runs through it. */
#ifndef NVP_CORE_H
#define NVP_CORE_H

#include "nvpflow.h"
#include "reals.h"
#include "threads.h"
#include <stdbool.h>

/* The conditioner: Linear -> activation -> ... -> Linear. */
typedef struct {
    size_t n_linears;
    const size_t *widths; /* n_linears + 1: inputs, hidden layers, outputs */
    size_t widest_hidden, total_hidden;
    size_t n_params;
    size_t full_inputs; /* inputs of the network that also has the columns left out here: its fan-in */
    nvp_activation activation;
} nvp_mlp;

typedef struct {
    nvp_layer_type type;
    size_t dim, context_dim;
    size_t offset, n_params; /* in the parameter buffer of the flow */
    size_t saved_rows;       /* rows of a tile that `apply` leaves to `vjp` */
    size_t hidden_rows;      /* more of them, where the hidden layers are kept, which spares vjp computing them anew */
    bool keeps_hidden;       /* whether there is room for that: saved_rows then has them behind the others */
    size_t saved_offset;     /* the rows of the layers before this one */
    size_t scratch_rows;     /* rows of a tile that `apply` and `vjp` need besides */

    /* Of couplings: */
    size_t n_networks;
    nvp_mlp net; /* the shape of each; its inputs are the identity columns, then the context */
    size_t n_identity, n_transformed;
    const size_t *identity, *transformed; /* their columns, in increasing order */
    double input_bound;                   /* identity columns are clamped to +- this before the networks see them */
    nvp_scale scale;
    double scale_bound;
    size_t n_bins;
    double tail_bound;

    const size_t *places; /* of a permutation: column i of z is column places[i] of x */
} nvp_layer;

/* The base density: N(0, I) without components, otherwise a mixture. */
typedef struct {
    size_t n_components;
    size_t offset, n_params; /* in the parameter buffer of the flow, behind the layers' */
    size_t scratch_rows;     /* rows of a tile that it needs, and keeps from its density to the gradient */
} nvp_base;

typedef struct nvp_engine nvp_engine;

struct nvp_flow {
    nvp_dtype dtype;
    size_t dim, context_dim, n_layers, n_params;
    size_t saved_rows;                /* the sum over the layers */
    size_t scratch_rows, hidden_rows; /* the maximum over the layers */
    size_t largest_layer;             /* the most parameters of a layer, or the base's */
    size_t tile;                      /* the most samples that are taken through the whole flow at a time */
    size_t two_tiles_from;            /* the fewest that are taken in more than one tile */
    nvp_layer *layers;
    nvp_base base;
    size_t *indices; /* storage of every index list and width list above */
    const nvp_engine *engine;
};

struct nvp_workspace {
    void *block; /* as allocated */
    size_t capacity;
    size_t n_threads; /* that a call may use */
    nvp_team *team;   /* of the call under way; NULL: the caller alone */
    nvp_poll poll;
    void *poll_context;
    double polled_at;
};

/* The samples of a tile, but for the last, in a pass over n >= 1 of them, and how many tiles n make. */
size_t nvp_tile_size(const nvp_flow *flow, size_t n);
size_t nvp_count_tiles(const nvp_flow *flow, size_t n);

/* Gather a team for a call that has so many multiply-adds to do for no more than so many workers; a small one is done
 * before threads have started. */
void nvp_workspace_gather(nvp_workspace *workspace, double work, size_t most);
void nvp_workspace_dismiss(nvp_workspace *workspace);

/* `size` bytes at an address that every vector type accepts; NULL when there is no memory. The content is undefined. */
void *nvp_workspace_reserve(nvp_workspace *workspace, size_t size);

/* Whether the poll function asks to stop; it is asked only every 50 ms. */
bool nvp_interrupted(nvp_workspace *workspace);

enum { NVP_HALVES = 2, NVP_BUFFERS = 2 };

/* Half of the tiles of a pass, and what changes while they are worked on. */
typedef struct {
    char apart[NVP_LINE]; /* from the lines of the other half */
    atomic_size_t next;   /* the tile that nobody has taken yet, counted from the half's first one */
    double log_prob_sum;  /* over the half, of log_prob times weight / mean_weight */
} nvp_half;

/* What the workers of a team exchange in a pass: tiles, sums over them, and the word to stop. Passes that every worker
 * runs by itself, one after the other, take the two buffers in turn: a worker may be in the next pass while others
 * still read the sums of the last one. */
typedef struct {
    nvp_team *team;                                /* NULL: the caller alone */
    char *rows;                                    /* each worker's scratch memory, */
    size_t rows_size;                              /* so many bytes */
    atomic_size_t *turns[NVP_BUFFERS][NVP_HALVES]; /* for each block of the gradient, and last for log_prob, the tile
                                                      whose turn it is, counted from the half's first one */
    void *grads[NVP_BUFFERS][NVP_HALVES];          /* sums over the half; NULL: not wanted */
    bool alternates;                               /* the two buffers have gradients of their own */
    atomic_size_t stopped;                         /* the number of the pass that is not finished; SIZE_MAX: none */
    nvp_half halves[NVP_BUFFERS][NVP_HALVES];
} nvp_exchange;

/* One pass of samples through a flow, and back when gradients are wanted. The public functions differ only in which of
 * these fields they fill; NULL or zero is "not wanted". Arrays are float or double, as in nvpflow.h. */
typedef struct {
    const nvp_flow *flow;
    const void *params;
    nvp_workspace *workspace;
    bool inverse;
    size_t n;

    bool draws;          /* the samples are drawn from the base density; otherwise */
    const void *in;      /* (., D) */
    const void *context; /* (., C) */
    const size_t *rows;  /* which n rows of `in`, `context` and `weight`; NULL: the first n */
    uint64_t seed;       /* of the draws */
    const void *noise;   /* (D): standard deviations of what is added to `in` */
    uint64_t noise_from; /* how many samples have had noise of this seed before */

    void *out, *log_det, *log_prob, *states;
    const double *weight; /* (.): of the samples in the sum and the mean; NULL: all 1 */
    double mean_weight;   /* of all data, of which these may be a batch; unused without weights */
    bool sum_log_prob;
    double log_prob_sum; /* of log_prob times weight / mean_weight */

    bool nll_gradient;                   /* the incoming gradients are those of the mean NLL, */
    const void *grad_out, *grad_log_det; /* or these */
    void *grad_in, *grad_context;
    void *grad_params; /* is overwritten */

    /* A pass that every worker of a team runs, each with fields of its own that say the same; NULL: an ordinary one,
     * with the workspace's team. The gradient with respect to the parameters stays in two sums, which `grads` points
     * to. */
    nvp_exchange *exchange;
    size_t worker;
    size_t number;                 /* of passes before this one */
    bool stop;                     /* worker 0 says so to all; the pass is then interrupted */
    const void *grads[NVP_HALVES]; /* the second may be NULL */
} nvp_pass;

/* A flow without parameters does not need their address. */
bool nvp_has_parameters(const nvp_flow *flow, const void *params);

bool nvp_all_finite(nvp_dtype dtype, const void *reals, size_t n);

/* Whether there are samples to learn from, with their context and weights in their range; the mean weight of all. */
bool nvp_check_data(const nvp_flow *flow, const nvp_data *data, double *mean_weight);

/* Replace the zeros that stand for the values of the article (options.c). */
void nvp_fill_in_adam(nvp_adam_options *adam);
nvp_adam_options nvp_adam_of(const nvp_train_options *options); /* filled in */

/* Whether options are in their ranges; `adam` are those of the training's steps. */
bool nvp_check_adam(nvp_dtype dtype, const nvp_adam_options *adam);
bool nvp_check_training(const nvp_flow *flow, const nvp_train_options *options, const nvp_adam_options *adam);

/* One step of Adam and what training adds to it. Rows are as long as the parameters; NULL is "not wanted". */
typedef struct {
    const nvp_adam_options *adam;
    size_t step;           /* the first is 1 */
    double grad_scale;     /* what the gradient is multiplied by */
    double weight_decay;   /* acts where `decays` is 1 */
    double average_weight; /* average += average_weight * (params - average) */
    void *params, *m, *v, *average;
    const void *grad[2]; /* their sum is the gradient; the second may be NULL */
    const void *decays;
} nvp_update;

struct nvp_engine {
    const char *isa;
    size_t real_size;
    size_t lanes; /* of a vector: the rows of a tile are padded to a multiple of this */
    /* The layer's sizes from its configuration, already checked. False: overflow. */
    bool (*plan_layer)(nvp_layer *layer);
    bool (*plan_base)(nvp_flow *flow); /* the same for the base, from its number of components */
    void (*initialize)(const nvp_flow *flow, uint64_t seed, void *params);
    nvp_status (*run)(nvp_pass *pass);
    /* For passes of at most n samples, with gradients, that every worker of the workspace's team runs. `alternate`: a
     * worker may begin a pass while others have not yet read the gradient of the last one. */
    nvp_status (*open_exchange)(nvp_exchange *exchange, const nvp_flow *flow, nvp_workspace *workspace, size_t n,
                                bool alternate);
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
