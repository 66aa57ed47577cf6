/* The affine coupling layer: Dinh, Sohl-Dickstein and Bengio (2017), "Density estimation using Real NVP", equations
 * 7, 8.
 *
 *   forward  x = z * exp(s) + b      log_det += s
 *   inverse  z = (x - b) * exp(-s)   log_det -= s
 *
 * on the transformed columns, where s and b are networks of the identity columns, which pass unchanged. */

static bool affine_coupling_plan(nvp_layer *layer) {
    layer->n_params = layer->saved_rows = layer->scratch_rows = 0;
    return nvp_add_product(2, layer->net.n_params, &layer->n_params) &&
           nvp_add_product(2, layer->n_transformed, &layer->saved_rows) &&   /* s, exp(s) or exp(-s) */
           nvp_add_product(2, layer->n_identity, &layer->scratch_rows) &&    /* the networks' input, its gradient */
           nvp_add_product(2, layer->n_transformed, &layer->scratch_rows) && /* the networks' outputs, or gradients */
           mlp_add_scratch_rows(&layer->net, &layer->scratch_rows);
}

/* The bounded layer starts nearer to the identity. At full size 64 layers of random networks stretch rounding errors by
 * 1e7 or more (D = 16), at this size hardly at all, and fits to two moons came out better. */
static void affine_coupling_initialize(const nvp_layer *layer, uint64_t seed, uint64_t *counter, real *params) {
    const double last = layer->scale == NVP_SCALE_EXP ? 1.0 : 0.3;
    mlp_initialize(&layer->net, last, seed, counter, params);
    mlp_initialize(&layer->net, last, seed, counter, params + layer->net.n_params);
}

static void affine_coupling_mark_decaying(const nvp_layer *layer, real *marks) {
    mlp_mark_decaying(&layer->net, marks);
    mlp_mark_decaying(&layer->net, marks + layer->net.n_params);
}

/* The identity columns side by side, as the networks read them. */
static const real *gather_identity(const layer_pass *pass, real *rows) {
    const nvp_layer *layer = pass->layer;
    for (size_t i = 0; i < layer->n_identity; i++)
        memcpy(rows + i * pass->tile, pass->in + layer->identity[i] * pass->tile, pass->tile * sizeof *rows);
    return rows;
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
    const real *input = gather_identity(pass, pass->scratch);
    real *s_rows = pass->scratch + layer->n_identity * tile, *b_rows = s_rows + n * tile;
    real *hidden = b_rows + n * tile;
    for (size_t i = 0; i < layer->n_identity; i++)
        memcpy(pass->out + layer->identity[i] * tile, input + i * tile, tile * sizeof *input);
    if (n == 0)
        return;
    mlp_forward(&layer->net, pass->params, input, s_rows, hidden, tile);
    mlp_forward(&layer->net, pass->params + layer->net.n_params, input, b_rows, hidden, tile);

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
    if (n == 0)
        return;
    const real *input = gather_identity(pass, pass->scratch);
    real *d_input = pass->scratch + layer->n_identity * tile;
    real *d_s = d_input + layer->n_identity * tile, *d_b = d_s + n * tile, *hidden = d_b + n * tile;
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

    clear_rows(d_input, layer->n_identity, tile);
    const size_t n_net = layer->net.n_params;
    mlp_vjp(&layer->net, pass->params, input, d_s, d_input, d_params, hidden, tile);
    mlp_vjp(&layer->net, pass->params + n_net, input, d_b, d_input, d_params ? d_params + n_net : NULL, hidden, tile);
    for (size_t i = 0; i < layer->n_identity; i++) {
        real *d_row = d + layer->identity[i] * tile;
        for (size_t t = 0; t < tile; t += LANES)
            store(d_row + t, load(d_row + t) + load(d_input + i * tile + t));
    }
}
