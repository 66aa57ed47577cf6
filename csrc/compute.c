/* The public compute functions. Each is one pass. */
#include "data.h"
#include "engine.h"
#include "plan.h"
#include "sized.h"

/* Whether the pass has all required inputs. */
static bool is_complete(const nvp_pass *pass) {
    return pass->flow && pass->workspace &&
           (pass->n == 0 || (nvp_has_parameters(pass->flow, pass->params) && (pass->draws || pass->in) &&
                             (pass->context || pass->flow->context_dim == 0)));
}

/* Run a pass, with a team if it is large enough. */
static nvp_status run_with_team(nvp_pass *pass) {
    if (!is_complete(pass))
        return NVP_ERROR_ARGUMENT;
    if (!pass->params)
        pass->params = pass->flow; /* not read */
    nvp_workspace_start_team(pass->workspace, (double)pass->n * (double)pass->flow->n_params,
                             nvp_count_tiles(pass->flow, pass->n));
    const nvp_status status = pass->flow->engine->run(pass);
    nvp_workspace_stop_team(pass->workspace);
    return status;
}

/* Run a pass that requires an output. */
static nvp_status run(nvp_pass pass, const void *output) {
    return pass.n && !output ? NVP_ERROR_ARGUMENT : run_with_team(&pass);
}

nvp_status nvp_forward(const nvp_flow *flow, const void *params, size_t n, const void *z, const void *context, void *x,
                       void *log_det, nvp_workspace *workspace) {
    return run((nvp_pass){.flow = flow,
                          .params = params,
                          .workspace = workspace,
                          .n = n,
                          .in = z,
                          .context = context,
                          .out = x,
                          .log_det = log_det},
               x);
}

nvp_status nvp_inverse(const nvp_flow *flow, const void *params, size_t n, const void *x, const void *context, void *z,
                       void *log_det, nvp_workspace *workspace) {
    return run((nvp_pass){.flow = flow,
                          .params = params,
                          .workspace = workspace,
                          .n = n,
                          .inverse = true,
                          .in = x,
                          .context = context,
                          .out = z,
                          .log_det = log_det},
               z);
}

nvp_status nvp_log_prob(const nvp_flow *flow, const void *params, size_t n, const void *x, const void *context,
                        void *log_prob, nvp_workspace *workspace) {
    return run((nvp_pass){.flow = flow,
                          .params = params,
                          .workspace = workspace,
                          .n = n,
                          .inverse = true,
                          .in = x,
                          .context = context,
                          .log_prob = log_prob},
               log_prob);
}

nvp_status nvp_trace(const nvp_flow *flow, const void *params, int inverse, size_t n, const void *in,
                     const void *context, void *states, nvp_workspace *workspace) {
    return run((nvp_pass){.flow = flow,
                          .params = params,
                          .workspace = workspace,
                          .n = n,
                          .inverse = inverse != 0,
                          .in = in,
                          .context = context,
                          .states = states},
               states);
}

nvp_status nvp_sample(const nvp_flow *flow, const void *params, uint64_t seed, size_t n, const void *context, void *x,
                      void *log_prob, nvp_workspace *workspace) {
    return run((nvp_pass){.flow = flow,
                          .params = params,
                          .workspace = workspace,
                          .n = n,
                          .draws = true,
                          .context = context,
                          .seed = seed,
                          .out = x,
                          .log_prob = log_prob},
               x);
}

nvp_status nvp_nll(const nvp_flow *flow, const void *params, const nvp_data *given, double *nll, void *grad,
                   nvp_workspace *workspace) {
    nvp_data data;
    double mean_weight;
    if (!flow || !nll || !nvp_take_data(given, &data) || !nvp_check_data(flow, &data, &mean_weight))
        return NVP_ERROR_ARGUMENT;
    nvp_pass pass = {.flow = flow,
                     .params = params,
                     .workspace = workspace,
                     .n = data.n,
                     .inverse = true,
                     .in = data.x,
                     .context = data.context,
                     .weight = data.weight,
                     .mean_weight = mean_weight,
                     .sum_log_prob = true,
                     .nll_gradient = true,
                     .grad_params = grad};
    const nvp_status status = run_with_team(&pass);
    *nll = -pass.log_prob_sum / (double)data.n;
    return status;
}

nvp_status nvp_forward_vjp(const nvp_flow *flow, const void *params, size_t n, const void *z, const void *context,
                           const void *grad_x, const void *grad_log_det, void *grad_z, void *grad_context,
                           void *grad_params, nvp_workspace *workspace) {
    nvp_pass pass = {.flow = flow,
                     .params = params,
                     .workspace = workspace,
                     .n = n,
                     .in = z,
                     .context = context,
                     .grad_out = grad_x,
                     .grad_log_det = grad_log_det,
                     .grad_in = grad_z,
                     .grad_context = grad_context,
                     .grad_params = grad_params};
    return run_with_team(&pass);
}

nvp_status nvp_inverse_vjp(const nvp_flow *flow, const void *params, size_t n, const void *x, const void *context,
                           const void *grad_z, const void *grad_log_det, void *grad_x, void *grad_context,
                           void *grad_params, nvp_workspace *workspace) {
    nvp_pass pass = {.flow = flow,
                     .params = params,
                     .workspace = workspace,
                     .n = n,
                     .inverse = true,
                     .in = x,
                     .context = context,
                     .grad_out = grad_z,
                     .grad_log_det = grad_log_det,
                     .grad_in = grad_x,
                     .grad_context = grad_context,
                     .grad_params = grad_params};
    return run_with_team(&pass);
}
