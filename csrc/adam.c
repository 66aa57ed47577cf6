/* Adam: defaults and ranges of the options, and a single step. NaN is in no range, because comparisons with it fail. */
#include "engine.h"
#include "reals.h"
#include "sized.h"

void nvp_fill_in_adam(nvp_adam_options *adam) {
    if (adam->epsilon != 0)
        return;
    adam->epsilon = 1e-8;
    if (adam->learning_rate == 0)
        adam->learning_rate = 1e-3;
    if (adam->beta1 == 0)
        adam->beta1 = 0.9;
    if (adam->beta2 == 0)
        adam->beta2 = 0.999;
}

static bool is_decay(double value) { return value >= 0 && value < 1; }

/* The step has a factor learning_rate / (1 - beta1^step); epsilon prevents 0 / 0 for parameters without a gradient. */
bool nvp_check_adam(nvp_dtype dtype, const nvp_adam_options *adam) {
    return adam->learning_rate >= 0 && is_decay(adam->beta1) && is_decay(adam->beta2) &&
           adam->learning_rate / (1 - adam->beta1) <= nvp_largest(dtype) && nvp_is_normal(dtype, adam->epsilon);
}

nvp_status nvp_adam_step(nvp_dtype dtype, const nvp_adam_options *options, size_t step, size_t n, void *params,
                         const void *grad, void *m, void *v) {
    nvp_adam_options adam;
    if ((dtype != NVP_FLOAT32 && dtype != NVP_FLOAT64) || !nvp_take_adam_options(options, &adam) || step == 0 ||
        (n && !(params && grad && m && v)))
        return NVP_ERROR_ARGUMENT;
    nvp_fill_in_adam(&adam);
    if (!nvp_check_adam(dtype, &adam))
        return NVP_ERROR_ARGUMENT;
    if (n == 0)
        return NVP_OK;
    const nvp_engine *engine = nvp_choose_engine(dtype);
    if (!engine)
        return NVP_ERROR_UNSUPPORTED;
    const nvp_update update = {
        .adam = &adam, .step = step, .grad_scale = 1, .params = params, .grad = {grad}, .m = m, .v = v};
    engine->update(&update, 0, n);
    return NVP_OK;
}
