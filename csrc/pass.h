/* One pass of samples through a flow. */
#ifndef NVP_PASS_H
#define NVP_PASS_H

#include "exchange.h"
#include "flow.h"
#include "workspace.h"

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

#endif
