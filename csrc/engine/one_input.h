/* Networks with one hidden layer of ReLU units, one input and one output: the conditioners of two-dimensional data.
 *
 * Such a network is a piecewise linear function of one number, with a knot t = -b1 / w1 for each unit. A unit's value
 * is
 *
 *   max(w1 x + b1, 0) = |w1| max(x, t) + (w1 > 0 ? b1 : w1 x)
 *
 * so with c = w2 |w1| the network is  A x + B + sum of c max(x, t):  two operations for each unit instead of three, and
 * its slope at x is  A + sum of the c with t < x.  The gradients of a unit's three parameters follow from two sums over
 * the samples beyond its knot. The rounding errors are of the same size as those of the plain formula: c t = +-w2 b1.
 */

enum { WIDE = 8, UNITS = 8 };

/* A knot so far off that the unit is constant for all data. Up to here t is finite, and c, though it may be subnormal,
 * has an absolute error that stays small when multiplied by t; a context of large units has knots of their size. */
#define FAR_KNOT ((real)(NVP_PRECISION == 32 ? 1e35 : 1e300))
#define ROUNDING ((real)(NVP_PRECISION == 32 ? FLT_EPSILON : DBL_EPSILON))
#define SMALLEST ((real)(NVP_PRECISION == 32 ? FLT_MIN : DBL_MIN))

typedef struct {
    real *t, *c;          /* (H) */
    real slope, constant; /* A and B */
} knots;

static bool has_one_input(const nvp_mlp *net) {
    return net->n_linears == 2 && net->activation == NVP_RELU && net->widths[0] == 1 && net->widths[2] == 1;
}

/* Rows of a tile that can hold the knots, also of the smallest one. */
static size_t knot_rows(const nvp_mlp *net) { return 2 * (padded(net->widths[1]) / LANES); }

/* The knots of units j, ..., j + LANES - 1, from parameters that begin there; *slope and *constant += their part. */
INLINE void find_some_knots(vreal w1, vreal b1, vreal w2, real *t_out, real *c_out, vreal *slope, vreal *constant) {
    const vreal zero = splat(0), far = splat(FAR_KNOT), exact = -b1 / w1, size = larger(-exact, exact);
    const vmask has_knot = less(size, far), before = less(w1, zero), on = less(zero, b1);
    /* At its knot a unit is off; those that are on before it need it a rounding error earlier for that. */
    const vreal t = exact - blend(before, size * ROUNDING + SMALLEST, zero);
    store(t_out, blend(has_knot, t, blend(on, -far, far)));
    store(c_out, blend(has_knot, w2 * blend(before, -w1, w1), w1 - w1));
    *slope += blend(has_knot, blend(before, w2 * w1, zero), zero);
    /* A unit without a knot is on for all x, or off; NaN in the parameters stays NaN. */
    *constant += blend(has_knot, blend(before, zero, w2 * b1), w2 * larger(zero, b1));
}

static knots find_knots(const shallow_net *net, real *scratch) {
    const size_t n = net->n_hidden, whole = n - n % LANES;
    knots k = {scratch, scratch + padded(n), 0, 0};
    vreal slope = splat(0), constant = splat(0);
    for (size_t j = 0; j < whole; j += LANES)
        find_some_knots(load_unaligned(net->w1 + j), load_unaligned(net->b1 + j), load_unaligned(net->w2 + j), k.t + j,
                        k.c + j, &slope, &constant);
    if (whole < n) { /* the others in lanes whose rest is zero: units that are off */
        real rest[3][LANES] = {{0}};
        for (size_t j = whole; j < n; j++)
            rest[0][j - whole] = net->w1[j], rest[1][j - whole] = net->b1[j], rest[2][j - whole] = net->w2[j];
        find_some_knots(load_unaligned(rest[0]), load_unaligned(rest[1]), load_unaligned(rest[2]), k.t + whole,
                        k.c + whole, &slope, &constant);
    }
    k.slope = sum_lanes(slope);
    k.constant = sum_lanes(constant) + net->b2[0];
    return k;
}

INLINE void one_input_forward_block(const knots *k, size_t n_hidden, size_t columns, const real *restrict in,
                                    real *restrict out) {
    vreal x[WIDE], sum[WIDE];
    UNROLLED (i, columns) {
        x[i] = load(in + i * LANES);
        sum[i] = k->slope * x[i] + k->constant;
    }
    for (size_t j = 0; j < n_hidden; j++) {
        const vreal t = splat(k->t[j]), c = splat(k->c[j]);
        UNROLLED (i, columns)
            sum[i] += c * larger(t, x[i]);
    }
    UNROLLED (i, columns)
        store(out + i * LANES, sum[i]);
}

/* in (1, T) -> out (1, T). scratch: knot_rows. */
static void one_input_forward(const nvp_mlp *mlp, const real *params, const real *in, real *out, real *scratch,
                              size_t tile) {
    const shallow_net net = shallow_view(mlp, params);
    const knots k = find_knots(&net, scratch);
    const size_t wide = WIDE * LANES;
    for (size_t t = 0; tile >= wide && t < tile; t += wide) { /* the last block may begin within the one before it */
        const size_t at = t + wide <= tile ? t : tile - wide;
        one_input_forward_block(&k, net.n_hidden, WIDE, in + at, out + at);
    }
    for (size_t t = 0; tile < wide && t < tile; t += LANES)
        one_input_forward_block(&k, net.n_hidden, 1, in + t, out + t);
}

/* Of `units` units: sums of d_out and of d_out * in over the samples beyond the knot, and slope (1, T) += c there. */
INLINE void one_input_backward_block(const knots *k, size_t first, size_t units, const real *restrict in,
                                     const real *restrict d_out, const real *restrict product, real *restrict slope,
                                     real sums[UNITS], real moments[UNITS], size_t tile) {
    vreal sum[UNITS], moment[UNITS];
    UNROLLED (j, units)
        sum[j] = moment[j] = splat(0);
    for (size_t s = 0; s < tile; s += LANES) {
        const vreal x = load(in + s), d = load(d_out + s), dx = load(product + s);
        vreal total = load(slope + s);
        UNROLLED (j, units) {
            const vmask beyond = less(splat(k->t[first + j]), x);
            sum[j] = add_where(beyond, sum[j], d);
            moment[j] = add_where(beyond, moment[j], dx);
            total = add_where(beyond, total, splat(k->c[first + j]));
        }
        store(slope + s, total);
    }
    add_sums_of_lanes(units, sum, sums);
    add_sums_of_lanes(units, moment, moments);
}

/* The same interface as shallow_vjp. scratch: knot_rows and two more. */
static void one_input_vjp(const nvp_mlp *mlp, const real *params, const real *in, const real *d_out, real *d_in,
                          real *d_params, real *scratch, size_t tile) {
    const shallow_net net = shallow_view(mlp, params);
    real *product = scratch, *slope = scratch + tile;
    const knots k = find_knots(&net, scratch + 2 * tile);
    vreal all = splat(0), all_moments = splat(0);
    for (size_t s = 0; s < tile; s += LANES) {
        const vreal d = load(d_out + s), dx = d * load(in + s);
        store(product + s, dx);
        store(slope + s, splat(k.slope));
        all += d;
        all_moments += dx;
    }
    const real total = sum_lanes(all), total_moment = sum_lanes(all_moments);

    for (size_t first = 0; first < net.n_hidden; first += UNITS) {
        const size_t left = net.n_hidden - first, units = left < UNITS ? left : UNITS;
        real sums[UNITS] = {0}, moments[UNITS] = {0};
        if (units == UNITS)
            one_input_backward_block(&k, first, UNITS, in, d_out, product, slope, sums, moments, tile);
        else
            for (size_t j = 0; j < units; j++)
                one_input_backward_block(&k, first + j, 1, in, d_out, product, slope, sums + j, moments + j, tile);
        for (size_t j = 0; d_params && j < units; j++) {
            const size_t unit = first + j;
            const real w1 = net.w1[unit], w2 = net.w2[unit];
            /* A unit with w1 < 0 is on before its knot, if it has one. Where it is off for all samples the sums are
             * those of all samples to the last bit, and its gradients exactly zero: Adam would act on less. */
            const bool before = w1 < 0 && k.t[unit] > -FAR_KNOT && k.t[unit] < FAR_KNOT;
            const real sum = before ? total - sums[j] : sums[j];
            const real moment = before ? total_moment - moments[j] : moments[j];
            d_params[unit] += w2 * moment;
            d_params[net.n_hidden + unit] += w2 * sum;
            d_params[2 * net.n_hidden + unit] += w1 * moment + net.b1[unit] * sum;
        }
    }
    if (d_params)
        d_params[3 * net.n_hidden] += total;
    for (size_t s = 0; s < tile; s += LANES)
        store(d_in + s, load(d_in + s) + load(d_out + s) * load(slope + s));
}
