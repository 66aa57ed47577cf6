/* The rational-quadratic spline coupling layer: Durkan, Bekasov, Murray and Papamakarios (2019), "Neural spline flows".
 *
 * On [-B, B] each transformed column goes through a monotone spline of K bins, outside it is unchanged. Bin k has a
 * width and a height, and a derivative at either end, which the conditioner gives: K widths and K heights through a
 * softmax, K - 1 derivatives of the inner knots through a softplus; at +-B the derivative is 1. With
 *
 *   t = (x - left) / width,   q = t (1 - t),   s = height / width,
 *   den = s (1 - 2q) + (d_left + d_right) q,   num = d_right t^2 + 2 s q + d_left (1 - t)^2
 *
 * the spline and its derivative are (equations 4 and 5)
 *
 *   z = bottom + height (s t^2 + d_left q) / den,   dz/dx = (s / den)^2 num
 *
 * That is the inverse pass, which scoring and training take; the forward pass solves the quadratic equation for t. An
 * output of zero everywhere is the identity.
 *
 * The conditioner sees the identity columns clamped to [-B, B]: networks extrapolate along lines, and splines for far
 * points as they are would be so steep and so flat that the other columns lost all digits. */

/* Of a bin, relative to the whole spline; and of the derivatives. */
#define SMALLEST_BIN ((real)1e-3)
#define SMALLEST_DERIVATIVE ((real)1e-3)
/* log(exp(1 - SMALLEST_DERIVATIVE) - 1): an output of zero is a derivative of 1. */
#define DERIVATIVE_OFFSET ((real)0.539742417236952079)
/* Derivatives end here, far beyond use, so that no product of them can overflow. */
#define LARGEST_DERIVATIVE ((real)1e6)

/* What apply leaves to vjp of each column: the softmaxes of widths and heights, 2 K rows, and these. */
enum {
    BIN,                    /* its number; -1 outside of the spline */
    POSITION,               /* t */
    BEFORE,                 /* sums of the softmaxes before the bin: widths, heights */
    SHARE = BEFORE + 2,     /* the softmaxes of the bin */
    DERIVATIVE = SHARE + 2, /* left, right */
    SLOPE = DERIVATIVE + 2, /* of the derivatives in the outputs */
    SPLINE_ROWS = SLOPE + 2
};

static size_t spline_outputs(const nvp_layer *layer) { return 3 * layer->n_bins - 1; }

static size_t spline_saved(const nvp_layer *layer) { return 2 * layer->n_bins + SPLINE_ROWS; }

static bool spline_coupling_plan(nvp_layer *layer) {
    return conditioner_plan(layer) && nvp_add_product(spline_saved(layer), layer->n_transformed, &layer->saved_rows);
}

/* A start near the identity. */
static void spline_coupling_initialize(const nvp_layer *layer, uint64_t seed, uint64_t *counter, real *params) {
    conditioner_initialize(layer, 0.3, seed, counter, params);
}

/* p = softmax of n rows, without overflow. */
INLINE void softmax(size_t n, const real *rows, size_t tile, vreal *p) {
    vreal largest = load(rows), sum = splat(0);
    for (size_t k = 1; k < n; k++)
        largest = larger(largest, load(rows + k * tile));
    for (size_t k = 0; k < n; k++) {
        p[k] = vexp(load(rows + k * tile) - largest);
        sum += p[k];
    }
    const vreal inverse = (real)1 / sum;
    for (size_t k = 0; k < n; k++)
        p[k] *= inverse;
}

/* The logarithm of positive numbers, and NaN of NaN, which vlog does not take. */
INLINE vreal log_of_positive(vreal v) {
    const vmask positive = less(splat(0), v);
    return blend(positive, vlog(blend(positive, v, splat(1))), v);
}

/* The derivative at a knot from the conditioner's output, and its slope there: SMALLEST_DERIVATIVE + log(1 + exp(v)),
 * which is accurate on both sides. */
INLINE vreal knot_derivative(vreal raw, vreal *slope) {
    const vreal one = splat(1), v = raw + DERIVATIVE_OFFSET, cap = splat(LARGEST_DERIVATIVE);
    const vreal power = vexp(-larger(-v, v)), sum = power + one; /* exp(-|v|) */
    /* log(1 + e) = e log(s) / (s - 1) with s = 1 + e as rounded; the roundings cancel. */
    const vreal log_sum = blend(less(one, sum), log_of_positive(sum) * (power / (sum - one)), power);
    const vreal derivative = positive_part(v) + log_sum + SMALLEST_DERIVATIVE;
    const vmask capped = less(cap, v);
    *slope = blend(capped, splat(0), blend(less(v, splat(0)), power, one) / sum);
    return blend(capped, cap, derivative);
}

/* A bin has at least the size `step`, and its share of `spread` besides; all bins together have 2 B. */
typedef struct {
    size_t n_bins;
    real bound, step, spread;
} spline_grid;

static spline_grid grid_of(const nvp_layer *layer) {
    const real bound = (real)layer->tail_bound, n_bins = (real)layer->n_bins;
    return (spline_grid){layer->n_bins, bound, 2 * bound * SMALLEST_BIN, 2 * bound * (1 - n_bins * SMALLEST_BIN)};
}

/* Which axis the bin is sought on, and the values that stand on it. */
enum { X, Z };

/* The bin that holds v, counted from -B, into the rows of `found`. */
INLINE void find_bin(const spline_grid *grid, size_t axis, vreal p[2][NVP_MAX_BINS], const real *derivatives,
                     size_t tile, vreal v, vreal found[SPLINE_ROWS]) {
    vreal before[2] = {splat(0), splat(0)}, raw[2] = {splat(0), load(derivatives)};
    found[BIN] = found[BEFORE + X] = found[BEFORE + Z] = splat(0);
    found[SHARE + X] = p[X][0], found[SHARE + Z] = p[Z][0];
    for (size_t k = 1; k < grid->n_bins; k++) {
        before[X] += p[X][k - 1], before[Z] += p[Z][k - 1];
        const vmask beyond = less((real)k * grid->step + before[axis] * grid->spread, v);
        found[BIN] = blend(beyond, splat((real)k), found[BIN]);
        for (size_t a = 0; a < 2; a++) {
            found[BEFORE + a] = blend(beyond, before[a], found[BEFORE + a]);
            found[SHARE + a] = blend(beyond, p[a][k], found[SHARE + a]);
        }
        raw[0] = blend(beyond, raw[1], raw[0]);
        raw[1] = blend(beyond, k + 1 < grid->n_bins ? load(derivatives + k * tile) : splat(0), raw[1]);
    }
    for (size_t e = 0; e < 2; e++)
        found[DERIVATIVE + e] = knot_derivative(raw[e], &found[SLOPE + e]);
}

/* Where the bin that was found begins, counted from -B, and its size. */
INLINE vreal bin_start(const spline_grid *grid, const vreal found[SPLINE_ROWS], size_t axis) {
    return found[BIN] * grid->step + found[BEFORE + axis] * grid->spread;
}

INLINE vreal bin_size(const spline_grid *grid, const vreal found[SPLINE_ROWS], size_t axis) {
    return grid->step + found[SHARE + axis] * grid->spread;
}

/* What the formulas above name, of the bin that was found and the position in it. */
typedef struct {
    vreal t, rest, width, height, s, d_left, d_right; /* rest = 1 - t */
    vreal q, den, ratio, num, derivative;             /* ratio = (s t^2 + d_left q) / den */
} spline_point;

INLINE spline_point spline_at(const spline_grid *grid, const vreal found[SPLINE_ROWS], vreal t) {
    spline_point p = {.t = t, .rest = (real)1 - t, .d_left = found[DERIVATIVE], .d_right = found[DERIVATIVE + 1]};
    p.width = bin_size(grid, found, X), p.height = bin_size(grid, found, Z), p.s = p.height / p.width;
    p.q = t * p.rest;
    p.den = p.s * ((real)1 - (real)2 * p.q) + (p.d_left + p.d_right) * p.q;
    p.ratio = (p.s * t * t + p.d_left * p.q) / p.den;
    p.num = p.d_right * t * t + (real)2 * p.s * p.q + p.d_left * p.rest * p.rest;
    p.derivative = p.s / p.den * (p.s / p.den) * p.num;
    return p;
}

/* v where it is in [0, 1], else the nearer end: rounding may lead out of the bin. NaN stays NaN. */
INLINE vreal clamp_to_one(vreal v) { return larger(splat(0), blend(less(splat(1), v), splat(1), v)); }

/* The position t in a bin whose height a share of `rise` has been climbed, from the quadratic equation a t^2 + b t = s
 * rise with a + b = s. Of its two forms the one without cancellation is taken, and the discriminant b^2 + 4 a s rise is
 * written as a sum of what is never negative. */
INLINE vreal solve_for_position(const spline_grid *grid, const vreal found[SPLINE_ROWS], vreal rise) {
    const vreal zero = splat(0), rest = (real)1 - rise, s = bin_size(grid, found, Z) / bin_size(grid, found, X);
    const vreal a = (s - found[DERIVATIVE]) * rest + (found[DERIVATIVE + 1] - s) * rise, b = s - a;
    const vreal size = larger(-a, a), difference = s - size;
    const vreal root = square_root(difference * difference + (real)4 * s * size * blend(less(a, zero), rest, rise));
    const vmask falls = less(b, zero);
    return clamp_to_one(blend(falls, root - b, (real)2 * s * rise) / blend(falls, a + a, b + root));
}

/* One vector of samples: v -> the result, and the log of its derivative. What vjp needs goes into `found`, the
 * softmaxes into p. */
INLINE vreal spline_lanes(const spline_grid *grid, bool inverse, const real *outputs, size_t tile, vreal v,
                          vreal p[2][NVP_MAX_BINS], vreal found[SPLINE_ROWS], vreal *log_derivative) {
    const vreal bound = splat(grid->bound);
    const vmask inside = less(-bound, v) & less(v, bound);
    const size_t from = inverse ? X : Z, to = inverse ? Z : X;
    const vreal along = keep(inside, v) + bound;
    softmax(grid->n_bins, outputs, tile, p[X]);
    softmax(grid->n_bins, outputs + grid->n_bins * tile, tile, p[Z]);
    find_bin(grid, from, p, outputs + 2 * grid->n_bins * tile, tile, along, found);

    const vreal start = bin_start(grid, found, to),
                share = (along - bin_start(grid, found, from)) / bin_size(grid, found, from);
    found[POSITION] = inverse ? clamp_to_one(share) : solve_for_position(grid, found, clamp_to_one(share));
    const spline_point at = spline_at(grid, found, found[POSITION]);
    const vreal log_slope = log_of_positive(at.derivative);
    *log_derivative = keep(inside, inverse ? log_slope : -log_slope);
    found[BIN] = blend(inside, found[BIN], splat(-1));
    return blend(inside, start + (inverse ? at.height * at.ratio : at.width * at.t) - bound, v);
}

static void spline_coupling_apply(const layer_pass *pass, real *log_det) {
    const nvp_layer *layer = pass->layer;
    const size_t tile = pass->tile, n_bins = layer->n_bins;
    const spline_grid grid = grid_of(layer);
    const real *outputs = conditioner_forward(pass);
    vreal p[2][NVP_MAX_BINS], found[SPLINE_ROWS], log_derivative;
    for (size_t j = 0; j < layer->n_transformed; j++) {
        const real *in = pass->in + layer->transformed[j] * tile, *column = outputs + j * spline_outputs(layer) * tile;
        real *out = pass->out + layer->transformed[j] * tile;
        for (size_t t = 0; t < tile; t += LANES) {
            store(out + t,
                  spline_lanes(&grid, pass->inverse, column + t, tile, load(in + t), p, found, &log_derivative));
            store(log_det + t, load(log_det + t) + log_derivative);
            if (!pass->saved)
                continue;
            real *saved = pass->saved + j * spline_saved(layer) * tile + t;
            for (size_t k = 0; k < n_bins; k++) {
                store(saved + k * tile, p[X][k]);
                store(saved + (n_bins + k) * tile, p[Z][k]);
            }
            for (size_t k = 0; k < SPLINE_ROWS; k++)
                store(saved + (2 * n_bins + k) * tile, found[k]);
        }
    }
}

/* Gradients of a scalar with respect to what shapes the spline: the sizes of the bins before the one of the sample,
 * that bin's size, and the outputs for the derivatives at its ends. */
typedef struct {
    vreal before[2], bin[2], derivative[2];
} spline_gradient;

/* From the gradients of the result and of the log-det to those of the argument, returned, and of the spline.
 *
 * For the spline z(x) and l(x) = log dz/dx the result is a = dz and c = dl times their partial derivatives. The forward
 * pass has x as its result: with d the gradient of x and -c that of l, x = x(z) gives a = -(d + c dl/dx) / (dz/dx), and
 * -a is the gradient of z. */
INLINE vreal spline_gradients(const spline_grid *grid, bool inverse, const vreal found[SPLINE_ROWS], vreal d,
                              vreal d_log_det, spline_gradient *g) {
    const spline_point p = spline_at(grid, found, found[POSITION]);
    const vreal centre = (real)1 - (real)2 * p.q, turn = (real)1 - (real)2 * p.t; /* dden/ds, dq/dt */
    const vreal per_num = (real)1 / p.num, per_den = (real)1 / p.den, per_width = (real)1 / p.width;

    /* Of l = 2 log s + log num - 2 log den, and of z = bottom + height * ratio. */
    const vreal l_t = (real)2 * (p.d_right * p.t + p.s * turn - p.d_left * p.rest) * per_num -
                      (real)2 * (p.d_left + p.d_right - (real)2 * p.s) * turn * per_den;
    const vreal l_s = (real)2 / p.s + (real)2 * p.q * per_num - (real)2 * centre * per_den;
    const vreal l_left = p.rest * p.rest * per_num - (real)2 * p.q * per_den;
    const vreal l_right = p.t * p.t * per_num - (real)2 * p.q * per_den;
    const vreal z_s = p.height * per_den * (p.t * p.t - p.ratio * centre);
    const vreal z_left = p.height * per_den * p.q * ((real)1 - p.ratio),
                z_right = -(p.height * per_den * p.q * p.ratio);

    const vreal c = inverse ? d_log_det : -d_log_det;
    const vreal a = inverse ? d : -(d + c * l_t * per_width) / p.derivative;
    const vreal d_x = a * p.derivative + c * l_t * per_width, d_s = a * z_s + c * l_s;
    g->before[X] = -d_x;
    g->bin[X] = -(p.t * d_x + p.s * per_width * d_s);
    g->before[Z] = a;
    g->bin[Z] = a * p.ratio + d_s * per_width;
    g->derivative[0] = (a * z_left + c * l_left) * found[SLOPE];
    g->derivative[1] = (a * z_right + c * l_right) * found[SLOPE + 1];
    return inverse ? d_x : -a;
}

/* The gradients of the conditioner's outputs, from those of the spline. Bin k of the sample's bin n is before it where
 * n >= k + 1, and it where only n >= k. */
INLINE void spread_gradients(const spline_grid *grid, const spline_gradient *g, const real *saved, real *d_outputs,
                             size_t tile) {
    const size_t n_bins = grid->n_bins;
    const real *found = saved + 2 * n_bins * tile;
    const vreal bin = load(found + BIN * tile);
    vreal before[2], of_bin[2]; /* less the mean under the softmax, and `other`: the mean with its sign */
    vreal other[2];
    for (size_t a = 0; a < 2; a++) {
        other[a] = -(g->before[a] * load(found + (BEFORE + a) * tile) + g->bin[a] * load(found + (SHARE + a) * tile));
        before[a] = g->before[a] + other[a];
        of_bin[a] = g->bin[a] + other[a];
    }
    vmask here = less(splat((real)-0.5), bin);
    for (size_t k = 0; k < n_bins; k++) {
        const vmask later = less(splat((real)k + (real)0.5), bin);
        for (size_t a = 0; a < 2; a++) {
            const size_t row = (a * n_bins + k) * tile;
            const vreal gradient = blend(later, before[a], blend(here, of_bin[a], other[a]));
            store(d_outputs + row, load(saved + row) * grid->spread * gradient);
        }
        if (k + 1 < n_bins) {
            const vmask beyond = less(splat((real)k + (real)1.5), bin);
            const vreal gradient = blend(later, g->derivative[0], keep(here, g->derivative[1]));
            store(d_outputs + (2 * n_bins + k) * tile, blend(beyond, splat(0), gradient));
        }
        here = later;
    }
}

static void spline_coupling_vjp(const layer_pass *pass, const real *d_log_det, real *d, real *d_params) {
    const nvp_layer *layer = pass->layer;
    const size_t tile = pass->tile;
    const spline_grid grid = grid_of(layer);
    vreal found[SPLINE_ROWS];
    spline_gradient gradient;
    for (size_t j = 0; j < layer->n_transformed; j++) {
        real *d_row = d + layer->transformed[j] * tile;
        real *d_outputs = conditioner_rows(pass) + j * spline_outputs(layer) * tile;
        const real *saved = pass->saved + j * spline_saved(layer) * tile;
        for (size_t t = 0; t < tile; t += LANES) {
            for (size_t k = 0; k < SPLINE_ROWS; k++)
                found[k] = load(saved + (2 * layer->n_bins + k) * tile + t);
            const vmask inside = less(splat((real)-0.5), found[BIN]);
            const vreal d_out = load(d_row + t);
            const vreal d_in = spline_gradients(&grid, pass->inverse, found, keep(inside, d_out),
                                                keep(inside, load(d_log_det + t)), &gradient);
            spread_gradients(&grid, &gradient, saved + t, d_outputs + t, tile);
            store(d_row + t, blend(inside, d_in, d_out));
        }
    }
    conditioner_vjp(pass, d, d_params);
}
