/* Activation normalisation: Kingma and Dhariwal (2018), "Glow", section 3.1. One scale and one shift per dimension:
 *
 *   forward  x = z * exp(s) + b      log_det += sum of s
 *   inverse  z = (x - b) * exp(-s)   log_det -= sum of s
 *
 * Set to the data's standard deviation and mean it standardises the data inside the flow. */

static bool act_norm_plan(nvp_layer *layer) {
    layer->saved_rows = layer->scratch_rows = 0;
    return nvp_multiply(2, layer->dim, &layer->n_params);
}

static void act_norm_initialize(const nvp_layer *layer, uint64_t seed, uint64_t *counter, real *params) {
    (void)seed, (void)counter;
    memset(params, 0, layer->n_params * sizeof *params);
}

static void act_norm_apply(const layer_pass *pass, real *log_det) {
    const size_t tile = pass->tile, dim = pass->layer->dim;
    for (size_t j = 0; j < dim; j++) {
        const vreal s = splat(pass->params[j]), b = splat(pass->params[dim + j]);
        const vreal factor = vexp(pass->inverse ? -s : s);
        const real *in = pass->in + j * tile;
        real *out = pass->out + j * tile;
        for (size_t t = 0; t < tile; t += LANES) {
            store(out + t, pass->inverse ? (load(in + t) - b) * factor : load(in + t) * factor + b);
            store(log_det + t, load(log_det + t) + (pass->inverse ? -s : s));
        }
    }
}

static void act_norm_vjp(const layer_pass *pass, const real *d_log_det, real *d, real *d_params) {
    const size_t tile = pass->tile, dim = pass->layer->dim;
    for (size_t j = 0; j < dim; j++) {
        const vreal s = splat(pass->params[j]), factor = vexp(pass->inverse ? -s : s);
        const real *in = pass->in + j * tile, *out = pass->out + j * tile;
        real *d_row = d + j * tile;
        vreal d_s = splat(0), d_b = splat(0);
        for (size_t t = 0; t < tile; t += LANES) {
            const vreal d_out = load(d_row + t), d_in = d_out * factor, d_l = load(d_log_det + t);
            d_s += pass->inverse ? -(d_out * load(out + t)) - d_l : d_in * load(in + t) + d_l;
            d_b += pass->inverse ? -d_in : d_out;
            store(d_row + t, d_in);
        }
        if (d_params) {
            d_params[j] += sum_lanes(d_s);
            d_params[dim + j] += sum_lanes(d_b);
        }
    }
}
