/* The conditioner of a coupling layer: n_networks networks of the identity columns, which pass the layer unchanged, and
 * beside them of the context. Their outputs stand in rows one network below the other. */

static size_t conditioner_inputs(const nvp_layer *layer) { return layer->n_identity + layer->context_dim; }

static size_t network_outputs(const nvp_layer *layer) { return layer->net.widths[layer->net.n_linears]; }

/* n_params, hidden_rows and scratch_rows: the networks' input, its gradient, their outputs or gradients, and what they
 * need. */
static bool conditioner_plan(nvp_layer *layer) {
    layer->n_params = layer->saved_rows = layer->scratch_rows = 0;
    return nvp_add_product(layer->n_networks, layer->net.n_params, &layer->n_params) &&
           mlp_hidden_rows(&layer->net, &layer->hidden_rows) &&
           nvp_multiply(layer->n_networks, layer->hidden_rows, &layer->hidden_rows) &&
           nvp_add_product(2, conditioner_inputs(layer), &layer->scratch_rows) &&
           nvp_add_product(layer->n_networks, network_outputs(layer), &layer->scratch_rows) &&
           mlp_add_scratch_rows(&layer->net, &layer->scratch_rows);
}

static void conditioner_initialize(const nvp_layer *layer, double last, uint64_t seed, uint64_t *counter,
                                   real *params) {
    for (size_t k = 0; k < layer->n_networks; k++)
        mlp_initialize(&layer->net, last, seed, counter, params + k * layer->net.n_params);
}

static void conditioner_mark_decaying(const nvp_layer *layer, real *marks) {
    for (size_t k = 0; k < layer->n_networks; k++)
        mlp_mark_decaying(&layer->net, marks + k * layer->net.n_params);
}

/* to (T) = from, clamped to +-bound. NaN stays NaN. */
static void clamp_row(real bound, const real *restrict from, real *restrict to, size_t tile) {
    const vreal lowest = splat(-bound);
    for (size_t t = 0; t < tile; t += LANES)
        store(to + t, -larger(lowest, -larger(lowest, load(from + t))));
}

/* The networks' input (conditioner_inputs, T): the identity columns, clamped, then the context, side by side. */
static const real *gather_inputs(const layer_pass *pass) {
    const nvp_layer *layer = pass->layer;
    const size_t tile = pass->tile;
    real *rows = pass->scratch;
    for (size_t i = 0; i < layer->n_identity; i++)
        clamp_row((real)layer->input_bound, pass->in + layer->identity[i] * tile, rows + i * tile, tile);
    if (layer->context_dim)
        memcpy(rows + layer->n_identity * tile, pass->context, layer->context_dim * tile * sizeof *rows);
    return rows;
}

/* to (T) += from */
static void add_row(const real *restrict from, real *restrict to, size_t tile) {
    for (size_t t = 0; t < tile; t += LANES)
        store(to + t, load(to + t) + load(from + t));
}

/* The same where |v| <= bound, v (T) being what clamp_row took. */
static void add_row_within(real bound, const real *restrict v, const real *restrict from, real *restrict to,
                           size_t tile) {
    for (size_t t = 0; t < tile; t += LANES) {
        const vreal size = larger(-load(v + t), load(v + t));
        store(to + t, load(to + t) + blend(less(splat(bound), size), splat(0), load(from + t)));
    }
}

/* The gradient of the networks' input back to where gather_inputs took it from: d (D, T) and pass->d_context += it. */
static void scatter_input_gradient(const layer_pass *pass, const real *d_input, real *d) {
    const nvp_layer *layer = pass->layer;
    const size_t tile = pass->tile;
    for (size_t i = 0; i < layer->n_identity; i++)
        add_row_within((real)layer->input_bound, pass->in + layer->identity[i] * tile, d_input + i * tile,
                       d + layer->identity[i] * tile, tile);
    for (size_t i = 0; pass->d_context && i < layer->context_dim; i++)
        add_row(d_input + (layer->n_identity + i) * tile, pass->d_context + i * tile, tile);
}

/* The rows of the networks' outputs, where vjp leaves their gradients. */
static real *conditioner_rows(const layer_pass *pass) {
    return pass->scratch + 2 * conditioner_inputs(pass->layer) * pass->tile;
}

/* What the networks need besides. */
static real *network_scratch(const layer_pass *pass) {
    return conditioner_rows(pass) + pass->layer->n_networks * network_outputs(pass->layer) * pass->tile;
}

/* Where the hidden layers of network k are kept, behind the layer's other saved rows; NULL: nowhere. */
static real *kept_hidden(const layer_pass *pass, size_t k) {
    const nvp_layer *layer = pass->layer;
    if (!pass->saved || !layer->keeps_hidden)
        return NULL;
    const size_t first = layer->saved_rows - layer->hidden_rows;
    return pass->saved + (first + k * (layer->hidden_rows / layer->n_networks)) * pass->tile;
}

/* The identity columns to pass->out, and the networks' outputs, which are returned. */
static const real *conditioner_forward(const layer_pass *pass) {
    const nvp_layer *layer = pass->layer;
    const size_t tile = pass->tile, n_out = network_outputs(layer);
    for (size_t i = 0; i < layer->n_identity; i++) {
        const size_t row = layer->identity[i] * tile;
        memcpy(pass->out + row, pass->in + row, tile * sizeof *pass->out);
    }
    const real *input = gather_inputs(pass);
    real *rows = conditioner_rows(pass);
    for (size_t k = 0; n_out && k < layer->n_networks; k++)
        mlp_forward(&layer->net, pass->params + k * layer->net.n_params, input, rows + k * n_out * tile,
                    kept_hidden(pass, k), network_scratch(pass), tile);
    return rows;
}

/* From the gradients in conditioner_rows: identity columns of d += theirs, d_params += the networks'. */
static void conditioner_vjp(const layer_pass *pass, real *d, real *d_params) {
    const nvp_layer *layer = pass->layer;
    const size_t tile = pass->tile, n_inputs = conditioner_inputs(layer), n_out = network_outputs(layer);
    const size_t n_net = layer->net.n_params;
    if (n_out == 0)
        return;
    const real *input = gather_inputs(pass), *d_out = conditioner_rows(pass);
    real *d_input = pass->scratch + n_inputs * tile;
    clear_rows(d_input, n_inputs, tile);
    for (size_t k = 0; k < layer->n_networks; k++)
        mlp_vjp(&layer->net, pass->params + k * n_net, input, d_out + k * n_out * tile, d_input,
                d_params ? d_params + k * n_net : NULL, kept_hidden(pass, k), network_scratch(pass), tile);
    scatter_input_gradient(pass, d_input, d);
}
