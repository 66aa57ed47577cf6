/* What coupling layers share: their networks read the identity columns, which pass the layer unchanged, and beside them
 * the context. */

static size_t coupling_inputs(const nvp_layer *layer) { return layer->n_identity + layer->context_dim; }

/* The networks' input (coupling_inputs, T): the identity columns, then the context, side by side. */
static const real *gather_inputs(const layer_pass *pass, real *rows) {
    const nvp_layer *layer = pass->layer;
    const size_t tile = pass->tile;
    for (size_t i = 0; i < layer->n_identity; i++)
        memcpy(rows + i * tile, pass->in + layer->identity[i] * tile, tile * sizeof *rows);
    if (layer->context_dim)
        memcpy(rows + layer->n_identity * tile, pass->context, layer->context_dim * tile * sizeof *rows);
    return rows;
}

/* The identity columns of the layer's output. */
static void pass_identity(const layer_pass *pass) {
    const nvp_layer *layer = pass->layer;
    for (size_t i = 0; i < layer->n_identity; i++) {
        const size_t row = layer->identity[i] * pass->tile;
        memcpy(pass->out + row, pass->in + row, pass->tile * sizeof *pass->out);
    }
}

/* to (T) += from */
static void add_row(const real *restrict from, real *restrict to, size_t tile) {
    for (size_t t = 0; t < tile; t += LANES)
        store(to + t, load(to + t) + load(from + t));
}

/* The gradient of the networks' input back to where gather_inputs took it from: d (D, T) and pass->d_context += it. */
static void scatter_input_gradient(const layer_pass *pass, const real *d_input, real *d) {
    const nvp_layer *layer = pass->layer;
    const size_t tile = pass->tile;
    for (size_t i = 0; i < layer->n_identity; i++)
        add_row(d_input + i * tile, d + layer->identity[i] * tile, tile);
    for (size_t i = 0; pass->d_context && i < layer->context_dim; i++)
        add_row(d_input + (layer->n_identity + i) * tile, pass->d_context + i * tile, tile);
}
