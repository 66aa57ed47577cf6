/* The update: Adam, Kingma and Ba (2015), "Adam: a method for stochastic optimization", algorithm 1, in one pass over
 * the parameters with what training adds to it:
 *
 *   weight decay   p -= rate * decay * p before the step, where marked   Loshchilov and Hutter (2019), algorithm 2
 *   an average     average += weight * (p - average) after the step      Polyak and Juditsky (1992)
 *
 * and the sum of squares that clipping needs. */

typedef struct {
    real beta1, beta2, rest1, rest2; /* rest = 1 - beta, which would lose its digits in single precision */
    real rate, root_correction, epsilon;
    real grad_scale, decay, average_weight;
} update_factors;

typedef struct {
    real *params, *m, *v, *average;
    const real *grad[2], *decays;
} update_rows;

/* Moments of parameters whose gradient has become zero decay; once they no longer matter they must not become subnormal
 * numbers, with which some machines compute a hundred times slower. */
INLINE vreal without_traces(vreal v) {
    const vreal least = splat((real)(NVP_PRECISION == 32 ? 1e-30 : 1e-290));
    return blend(less(larger(-v, v), least), splat(0), v); /* NaN stays */
}

/* The first `count` lanes; the others are zeros. */
INLINE vreal load_first(const real *p, size_t count) {
    vreal v = splat(0);
    memcpy(&v, p, count * sizeof *p);
    return v;
}

/* The gradient: the sum of two, or one. */
INLINE vreal load_gradient_of(const real *const grad[2], size_t at, size_t count) {
    const vreal first = load_first(grad[0] + at, count);
    return grad[1] ? first + load_first(grad[1] + at, count) : first;
}

INLINE void store_first(real *p, vreal v, size_t count) { memcpy(p, &v, count * sizeof *p); }

INLINE void update_lanes(const update_factors *f, const update_rows *rows, size_t at, size_t count) {
    const vreal g = f->grad_scale * load_gradient_of(rows->grad, at, count);
    const vreal first = without_traces(f->beta1 * load_first(rows->m + at, count) + f->rest1 * g);
    const vreal second = without_traces(f->beta2 * load_first(rows->v + at, count) + f->rest2 * g * g);
    store_first(rows->m + at, first, count);
    store_first(rows->v + at, second, count);
    vreal p = load_first(rows->params + at, count);
    if (rows->decays)
        p -= f->decay * load_first(rows->decays + at, count) * p;
    p -= f->rate * first / (square_root(second) * f->root_correction + f->epsilon);
    store_first(rows->params + at, p, count);
    if (rows->average) {
        const vreal average = load_first(rows->average + at, count);
        store_first(rows->average + at, average + f->average_weight * (p - average), count);
    }
}

static void update_parameters(const nvp_update *update, size_t from, size_t n) {
    const nvp_adam_options *adam = update->adam;
    const double correction1 = 1 - pow(adam->beta1, (double)update->step),
                 correction2 = 1 - pow(adam->beta2, (double)update->step);
    const update_factors f = {.beta1 = (real)adam->beta1,
                              .beta2 = (real)adam->beta2,
                              .rest1 = (real)(1 - adam->beta1),
                              .rest2 = (real)(1 - adam->beta2),
                              .rate = (real)(adam->learning_rate / correction1),
                              .root_correction = (real)(1 / sqrt(correction2)),
                              .epsilon = (real)adam->epsilon,
                              .grad_scale = (real)update->grad_scale,
                              .decay = (real)(adam->learning_rate * update->weight_decay),
                              .average_weight = (real)update->average_weight};
    const update_rows rows = {
        .params = (real *)update->params + from,
        .m = (real *)update->m + from,
        .v = (real *)update->v + from,
        .average = update->average ? (real *)update->average + from : NULL,
        .grad = {(const real *)update->grad[0] + from, update->grad[1] ? (const real *)update->grad[1] + from : NULL},
        .decays = update->decays ? (const real *)update->decays + from : NULL};
    const size_t whole = n - n % LANES;
    for (size_t i = 0; i < whole; i += LANES)
        update_lanes(&f, &rows, i, LANES);
    if (whole < n)
        update_lanes(&f, &rows, whole, n - whole);
}

INLINE void add_squares(const real *const grad[2], size_t at, size_t count, double sums[LANES]) {
    real v[LANES];
    store_unaligned(v, load_gradient_of(grad, at, count));
    for (size_t b = 0; b < LANES; b++)
        sums[b] += (double)v[b] * (double)v[b];
}

/* In double precision, where no square of a float overflows. NaN or infinity where a value is not finite. */
static double sum_of_squares(const nvp_update *update, size_t from, size_t n) {
    const real *const grad[2] = {update->grad[0], update->grad[1]};
    const size_t whole = n - n % LANES;
    double sums[LANES] = {0}, sum = 0;
    for (size_t i = 0; i < whole; i += LANES)
        add_squares(grad, from + i, LANES, sums);
    if (whole < n)
        add_squares(grad, from + whole, n - whole, sums);
    for (size_t b = 0; b < LANES; b++)
        sum += sums[b];
    return sum;
}
