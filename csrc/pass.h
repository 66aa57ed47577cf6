#ifndef NVP_PASS_H
#define NVP_PASS_H

#include "flow.h"
#include "shared_state.h"
#include "workspace.h"

/* One pass of samples through a flow, and back if gradients are wanted. The public functions differ only in the fields
 * that they fill in; NULL or zero means "not wanted". Arrays are float or double, as in nvpflow.h. */
typedef struct {
    const nvp_flow *flow;
    const void *params;
    nvp_workspace *workspace;
    bool inverse;
    size_t n;

    bool draws;          /* draw the samples from the base density instead of reading `in` */
    const void *in;      /* (., D) */
    const void *context; /* (., C) */
    const size_t *rows;  /* n row indices into `in`, `context` and `weight`; NULL: the first n rows */
    uint64_t seed;       /* of the draws */
    const void *noise;   /* (D): standard deviations of normal noise to add to `in` */
    uint64_t noise_from; /* number of earlier samples with noise of this seed */

    void *out, *log_det, *log_prob, *states;
    const double *weight; /* (.): of the samples in log_prob_sum and the mean NLL; NULL: all 1 */
    double mean_weight;   /* of all data, if the samples are a batch of them; unused without weights */
    bool sum_log_prob;
    double log_prob_sum; /* of log_prob times weight / mean_weight */

    bool nll_gradient;                   /* the incoming gradients are those of the mean NLL, */
    const void *grad_out, *grad_log_det; /* or these */
    void *grad_in, *grad_context;
    void *grad_params; /* is overwritten */

    /* NULL: a pass of the calling thread, which the workspace's team executes. Otherwise every worker of a team calls
     * run, each with its own pass with equal fields, and the gradient of the parameters is the sum of both `grads`. */
    nvp_shared_state *shared;
    size_t worker;
    size_t number;                 /* the number of passes before this one */
    bool stop;                     /* worker 0 interrupts the pass for all */
    const void *grads[NVP_HALVES]; /* the second may be NULL */
} nvp_pass;

#endif
