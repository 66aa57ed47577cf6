/* The conditioner of a coupling layer: n_networks networks of the identity columns, which pass the layer unchanged.
 * Their outputs stand in rows one network below the other. */

static size_t conditioner_outputs(const nvp_layer *layer) {
    return layer->n_networks * layer->net.widths[layer->net.n_linears];
}

/* n_params and scratch_rows: the networks' input, its gradient, their outputs or gradients, and what they need. */
static bool conditioner_plan(nvp_layer *layer) {
    size_t outputs;
    layer->n_params = layer->saved_rows = layer->scratch_rows = 0;
    return nvp_multiply(layer->n_networks, layer->net.widths[layer->net.n_linears], &outputs) &&
           nvp_add_product(layer->n_networks, layer->net.n_params, &layer->n_params) &&
           nvp_add_product(2, layer->n_identity, &layer->scratch_rows) &&
           nvp_add(layer->scratch_rows, outputs, &layer->scratch_rows) &&
           mlp_add_scratch_rows(&layer->net, &layer->scratch_rows);
}

static void conditioner_initialize(const nvp_layer *layer, double last, uint64_t seed, uint64_t *counter,
                                   real *params) {
    for (size_t k = 0; k < layer->n_networks; k++)
        mlp_initialize(&layer->net, last, seed, counter, params + k * layer->net.n_params);
}

/* The identity columns side by side, as the networks read them. */
static const real *gather_identity(const layer_pass *pass, real *rows) {
    const nvp_layer *layer = pass->layer;
    for (size_t i = 0; i < layer->n_identity; i++)
        memcpy(rows + i * pass->tile, pass->in + layer->identity[i] * pass->tile, pass->tile * sizeof *rows);
    return rows;
}

/* The rows of the networks' outputs, where vjp leaves their gradients. */
static real *conditioner_rows(const layer_pass *pass) {
    return pass->scratch + 2 * pass->layer->n_identity * pass->tile;
}

/* The identity columns to pass->out, and the networks' outputs, which are returned. */
static const real *conditioner_forward(const layer_pass *pass) {
    const nvp_layer *layer = pass->layer;
    const size_t tile = pass->tile, n_out = layer->net.widths[layer->net.n_linears];
    const real *input = gather_identity(pass, pass->scratch);
    real *rows = conditioner_rows(pass), *hidden = rows + conditioner_outputs(layer) * tile;
    for (size_t i = 0; i < layer->n_identity; i++)
        memcpy(pass->out + layer->identity[i] * tile, input + i * tile, tile * sizeof *input);
    for (size_t k = 0; n_out && k < layer->n_networks; k++)
        mlp_forward(&layer->net, pass->params + k * layer->net.n_params, input, rows + k * n_out * tile, hidden, tile);
    return rows;
}

/* From the gradients in conditioner_rows: identity columns of d += theirs, d_params += the networks'. */
static void conditioner_vjp(const layer_pass *pass, real *d, real *d_params) {
    const nvp_layer *layer = pass->layer;
    const size_t tile = pass->tile, n_out = layer->net.widths[layer->net.n_linears], n_net = layer->net.n_params;
    const real *input = gather_identity(pass, pass->scratch), *d_out = conditioner_rows(pass);
    real *d_input = pass->scratch + layer->n_identity * tile;
    real *hidden = conditioner_rows(pass) + conditioner_outputs(layer) * tile;
    if (n_out == 0)
        return;
    clear_rows(d_input, layer->n_identity, tile);
    for (size_t k = 0; k < layer->n_networks; k++)
        mlp_vjp(&layer->net, pass->params + k * n_net, input, d_out + k * n_out * tile, d_input,
                d_params ? d_params + k * n_net : NULL, hidden, tile);
    for (size_t i = 0; i < layer->n_identity; i++) {
        real *d_row = d + layer->identity[i] * tile;
        for (size_t t = 0; t < tile; t += LANES)
            store(d_row + t, load(d_row + t) + load(d_input + i * tile + t));
    }
}
