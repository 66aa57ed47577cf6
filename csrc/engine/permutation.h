/* A fixed permutation of the columns, p:
 *
 *   forward  x_i = z_p(i)
 *   inverse  z_p(i) = x_i
 *
 * Its log_det is 0 and it has no parameters. */

static bool permutation_plan(nvp_layer *layer) {
    layer->n_params = layer->saved_rows = 0;
    layer->scratch_rows = layer->dim; /* the gradient while it is permuted */
    return true;
}

static void permutation_initialize(const nvp_layer *layer, uint64_t seed, uint64_t *counter, real *params) {
    (void)layer, (void)seed, (void)counter, (void)params;
}

static void permute_rows(const nvp_layer *layer, bool inverse, const real *in, real *out, size_t tile) {
    for (size_t i = 0; i < layer->dim; i++) {
        const size_t place = layer->places[i];
        memcpy(out + (inverse ? i : place) * tile, in + (inverse ? place : i) * tile, tile * sizeof *out);
    }
}

static void permutation_apply(const layer_pass *pass, real *log_det) {
    (void)log_det;
    permute_rows(pass->layer, pass->inverse, pass->in, pass->out, pass->tile);
}

static void permutation_vjp(const layer_pass *pass, const real *d_log_det, real *d, real *d_params) {
    (void)d_log_det, (void)d_params;
    memcpy(pass->scratch, d, pass->layer->dim * pass->tile * sizeof *d);
    permute_rows(pass->layer, !pass->inverse, pass->scratch, d, pass->tile);
}
