/* Adam: Kingma and Ba (2015), "Adam: a method for stochastic optimization", algorithm 1. */

static void adam_step(const nvp_adam_options *options, size_t step, size_t n, void *params, const void *grad, void *m,
                      void *v) {
    const real beta1 = (real)options->beta1, beta2 = (real)options->beta2, epsilon = (real)options->epsilon;
    const double correction1 = 1 - pow(options->beta1, (double)step),
                 correction2 = 1 - pow(options->beta2, (double)step);
    const real rate = (real)(options->learning_rate / correction1);
    const real root_correction = (real)(1 / sqrt(correction2));
    real *restrict p = params, *restrict first = m, *restrict second = v;
    const real *restrict g = grad;
    for (size_t i = 0; i < n; i++) {
        first[i] = beta1 * first[i] + (1 - beta1) * g[i];
        second[i] = beta2 * second[i] + (1 - beta2) * g[i] * g[i];
        const real root = NVP_PRECISION == 32 ? (real)sqrtf((float)second[i]) : (real)sqrt((double)second[i]);
        p[i] -= rate * first[i] / (root * root_correction + epsilon);
    }
}

static bool all_finite(size_t n, const void *values) {
    /* A number minus itself is zero, unless it is not finite. */
    const real *v = values;
    real sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += v[i] - v[i] == 0 ? 0 : 1;
    return sum == 0;
}
