/* The affine coupling layer: Dinh, Sohl-Dickstein and Bengio (2017), "Density estimation using Real NVP", equations
 * 7, 8.
 *
 *   forward  x = z * exp(s) + b      log_det += s
 *   inverse  z = (x - b) * exp(-s)   log_det -= s
 *
 * on the transformed columns, where s and b are outputs of the conditioner: of two networks, or the first and the
 * second half of one. */

static bool affine_coupling_plan(nvp_layer *layer) {
    return conditioner_plan(layer) && nvp_add_product(2, layer->n_transformed, &layer->saved_rows); /* s, exp(+-s) */
}

/* The bounded layer starts nearer to the identity. At full size 64 layers of random networks stretch rounding errors by
 * 1e7 or more (D = 16), at this size hardly at all, and fits to two moons came out better. */
static void affine_coupling_initialize(const nvp_layer *layer, uint64_t seed, uint64_t *counter, real *params) {
    conditioner_initialize(layer, layer->scale == NVP_SCALE_EXP ? 1.0 : 0.3, seed, counter, params);
}

INLINE vreal bounded_scale(const nvp_layer *layer, vreal raw) {
    if (layer->scale == NVP_SCALE_EXP)
        return raw;
    const real bound = (real)layer->scale_bound;
    return bound * vtanh(raw / bound);
}

static void affine_coupling_apply(const layer_pass *pass, real *log_det) {
    const nvp_layer *layer = pass->layer;
    const size_t tile = pass->tile, n = layer->n_transformed;
    const real *s_rows = conditioner_forward(pass), *b_rows = s_rows + n * tile;
    for (size_t j = 0; j < n; j++) {
        const real *in = pass->in + layer->transformed[j] * tile;
        real *out = pass->out + layer->transformed[j] * tile;
        for (size_t t = 0; t < tile; t += LANES) {
            const vreal s = bounded_scale(layer, load(s_rows + j * tile + t)), b = load(b_rows + j * tile + t);
            const vreal factor = vexp(pass->inverse ? -s : s);
            if (pass->inverse) {
                store(out + t, (load(in + t) - b) * factor);
                store(log_det + t, load(log_det + t) - s);
            } else {
                store(out + t, load(in + t) * factor + b);
                store(log_det + t, load(log_det + t) + s);
            }
            if (pass->saved) {
                store(pass->saved + j * tile + t, s);
                store(pass->saved + (n + j) * tile + t, factor);
            }
        }
    }
}

static void affine_coupling_vjp(const layer_pass *pass, const real *d_log_det, real *d, real *d_params) {
    const nvp_layer *layer = pass->layer;
    const size_t tile = pass->tile, n = layer->n_transformed;
    real *d_s = conditioner_rows(pass), *d_b = d_s + n * tile;
    const real inverse_bound = layer->scale == NVP_SCALE_EXP ? 0 : (real)(1 / layer->scale_bound);
    for (size_t j = 0; j < n; j++) {
        const real *in = pass->in + layer->transformed[j] * tile, *out = pass->out + layer->transformed[j] * tile;
        real *d_row = d + layer->transformed[j] * tile;
        for (size_t t = 0; t < tile; t += LANES) {
            const vreal s = load(pass->saved + j * tile + t), factor = load(pass->saved + (n + j) * tile + t);
            const vreal d_out = load(d_row + t), d_in = d_out * factor, d_l = load(d_log_det + t);
            const vreal d_scale = pass->inverse ? -(d_out * load(out + t)) - d_l : d_in * load(in + t) + d_l;
            const vreal ratio = s * inverse_bound; /* ds/d_raw = 1 - tanh^2 */
            store(d_s + j * tile + t, d_scale * ((real)1 - ratio * ratio));
            store(d_b + j * tile + t, pass->inverse ? -d_in : d_out);
            store(d_row + t, d_in);
        }
    }
    conditioner_vjp(pass, d, d_params);
}
