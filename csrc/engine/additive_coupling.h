/* The additive coupling layer: Dinh, Krueger and Bengio (2014), "NICE", section 3.2.
 *
 *   forward  x = z + b
 *   inverse  z = x - b
 *
 * on the transformed columns. It preserves volumes: its log_det is 0. */

static void additive_coupling_initialize(const nvp_layer *layer, uint64_t seed, uint64_t *counter, real *params) {
    conditioner_initialize(layer, 0.3, seed, counter, params); /* as the bounded affine coupling */
}

static void additive_coupling_apply(const layer_pass *pass, real *log_det) {
    (void)log_det;
    const nvp_layer *layer = pass->layer;
    const size_t tile = pass->tile;
    const real *b_rows = conditioner_forward(pass);
    for (size_t j = 0; j < layer->n_transformed; j++) {
        const real *in = pass->in + layer->transformed[j] * tile, *b = b_rows + j * tile;
        real *out = pass->out + layer->transformed[j] * tile;
        for (size_t t = 0; t < tile; t += LANES)
            store(out + t, pass->inverse ? load(in + t) - load(b + t) : load(in + t) + load(b + t));
    }
}

static void additive_coupling_vjp(const layer_pass *pass, const real *d_log_det, real *d, real *d_params) {
    (void)d_log_det;
    const nvp_layer *layer = pass->layer;
    const size_t tile = pass->tile;
    real *d_b = conditioner_rows(pass);
    for (size_t j = 0; j < layer->n_transformed; j++) {
        const real *d_row = d + layer->transformed[j] * tile;
        for (size_t t = 0; t < tile; t += LANES)
            store(d_b + j * tile + t, pass->inverse ? -load(d_row + t) : load(d_row + t));
    }
    conditioner_vjp(pass, d, d_params);
}
