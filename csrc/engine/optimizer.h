/* Adam: Kingma and Ba (2015), "Adam: a method for stochastic optimization", algorithm 1. */

typedef struct {
    real beta1, beta2, rest1, rest2; /* rest = 1 - beta, which would lose its digits in single precision */
    real rate, root_correction, epsilon;
} adam_factors;

/* Moments of parameters whose gradient has become zero decay; once they no longer matter they must not become subnormal
 * numbers, with which some machines compute a hundred times slower. */
INLINE vreal without_traces(vreal v) {
    const vreal least = splat((real)(NVP_PRECISION == 32 ? 1e-30 : 1e-290));
    return select(less(larger(-v, v), least), splat(0), v); /* NaN stays */
}

INLINE void adam_lanes(const adam_factors *f, real *p, const real *grad, real *m, real *v) {
    const vreal g = load_unaligned(grad);
    const vreal first = without_traces(f->beta1 * load_unaligned(m) + f->rest1 * g);
    const vreal second = without_traces(f->beta2 * load_unaligned(v) + f->rest2 * g * g);
    store_unaligned(m, first);
    store_unaligned(v, second);
    store_unaligned(p, load_unaligned(p) - f->rate * first / (square_root(second) * f->root_correction + f->epsilon));
}

static void adam_step(const nvp_adam_options *options, size_t step, size_t n, void *params, const void *grad, void *m,
                      void *v) {
    const double correction1 = 1 - pow(options->beta1, (double)step),
                 correction2 = 1 - pow(options->beta2, (double)step);
    const adam_factors f = {.beta1 = (real)options->beta1,
                            .beta2 = (real)options->beta2,
                            .rest1 = (real)(1 - options->beta1),
                            .rest2 = (real)(1 - options->beta2),
                            .rate = (real)(options->learning_rate / correction1),
                            .root_correction = (real)(1 / sqrt(correction2)),
                            .epsilon = (real)options->epsilon};
    real *p = params, *first = m, *second = v;
    const real *g = grad;
    const size_t whole = n - n % LANES;
    for (size_t i = 0; i < whole; i += LANES)
        adam_lanes(&f, p + i, g + i, first + i, second + i);
    if (whole < n) {
        real rest[4][LANES] = {{0}};
        const size_t bytes = (n - whole) * sizeof(real);
        memcpy(rest[0], p + whole, bytes), memcpy(rest[1], g + whole, bytes);
        memcpy(rest[2], first + whole, bytes), memcpy(rest[3], second + whole, bytes);
        adam_lanes(&f, rest[0], rest[1], rest[2], rest[3]);
        memcpy(p + whole, rest[0], bytes);
        memcpy(first + whole, rest[2], bytes), memcpy(second + whole, rest[3], bytes);
    }
}

static bool all_finite(size_t n, const void *values) {
    /* A number minus itself is zero, unless it is not finite: then it is NaN. */
    const real *v = values;
    const size_t whole = n - n % LANES;
    vreal sums = splat(0);
    for (size_t i = 0; i < whole; i += LANES)
        sums += load_unaligned(v + i) - load_unaligned(v + i);
    real sum = sum_lanes(sums);
    for (size_t i = whole; i < n; i++)
        sum += v[i] - v[i];
    return sum == 0;
}
