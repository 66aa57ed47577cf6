/* The conditioner network: Linear -> activation -> ... -> Linear. Its parameters are, for each linear map, the weight
 * (outputs x inputs) and then the bias. */

/* h = activation(h) on n numbers, in place; unless d is NULL, d = the derivative there. ReLU is fused with its linear
 * map and its derivative is read off its value. */
static void activate(nvp_activation activation, size_t n, real *restrict h, real *restrict d) {
    for (size_t t = 0; t < n; t += LANES) {
        vreal value, slope;
        activate_lanes(activation, load(h + t), &value, &slope);
        store(h + t, value);
        if (d)
            store(d + t, slope);
    }
}

/* One linear map and its activation. */
static void hidden_layer(nvp_activation activation, size_t n_out, size_t n_in, const real *restrict params,
                         const real *restrict in, real *restrict h, real *restrict d, size_t tile) {
    const real *w = params, *b = params + n_out * n_in;
    if (activation == NVP_RELU) {
        linear_relu_forward(n_out, n_in, w, b, in, h, tile);
    } else {
        linear_forward(n_out, n_in, w, b, in, h, tile);
        activate(activation, n_out * tile, h, d);
    }
}

/* *rows = what keeping the hidden layers takes, values and slopes, or 0 where computing them anew costs no more than
 * reading them; false: overflow. */
static bool mlp_hidden_rows(const nvp_mlp *net, size_t *rows) {
    enum { FEW_INPUTS = 8 };
    *rows = 0;
    if (has_one_input(net) || (net->n_linears == 2 && net->activation == NVP_RELU && net->widths[0] < FEW_INPUTS))
        return true;
    return nvp_multiply(net->activation == NVP_RELU ? 1 : 2, net->total_hidden, rows);
}

/* *rows += what mlp_forward and mlp_vjp need; false: overflow. */
static bool mlp_add_scratch_rows(const nvp_mlp *net, size_t *rows) {
    if (has_one_input(net))
        return nvp_add_product(1, 2 + knot_rows(net), rows);
    if (net->n_linears == 2)
        return nvp_add(*rows, shallow_scratch_rows(net), rows);
    size_t widest_input = net->widest_hidden > net->widths[0] ? net->widest_hidden : net->widths[0];
    return nvp_add_product(2, net->total_hidden, rows) && nvp_add_product(2, net->widest_hidden, rows) &&
           nvp_add(*rows, widest_input, rows);
}

/* All hidden layers: their values in h and, unless they are ReLU units, their slopes in d, total_hidden rows each.
 * Returns the parameters of the last linear map. */
static const real *hidden_layers(const nvp_mlp *net, const real *params, const real *in, real *h, real *d,
                                 size_t tile) {
    for (size_t k = 0; k + 1 < net->n_linears; k++) {
        const size_t n_out = net->widths[k + 1], n_in = net->widths[k];
        hidden_layer(net->activation, n_out, n_in, params, in, h, d, tile);
        params += n_out * (n_in + 1);
        in = h;
        h += n_out * tile, d += n_out * tile;
    }
    return params;
}

/* in (inputs, T) -> out (outputs, T). Unless it is NULL, `kept` gets the hidden layers for mlp_vjp: mlp_hidden_rows.
 * scratch: as mlp_add_scratch_rows says; here 2 * widest_hidden rows. */
static void mlp_forward(const nvp_mlp *net, const real *params, const real *in, real *out, real *kept, real *scratch,
                        size_t tile) {
    if (has_one_input(net)) {
        one_input_forward(net, params, in, out, scratch, tile);
        return;
    }
    if (net->n_linears == 2) {
        shallow_forward(net, params, in, out, kept, tile);
        return;
    }
    const size_t last = net->n_linears - 1, n_out = net->widths[last + 1], n_in = net->widths[last];
    if (kept && last) {
        params = hidden_layers(net, params, in, kept, kept + net->total_hidden * tile, tile);
        linear_forward(n_out, n_in, params, params + n_out * n_in, kept + (net->total_hidden - n_in) * tile, out, tile);
        return;
    }
    real *buffers[2] = {scratch, scratch + net->widest_hidden * tile};
    for (size_t k = 0; k < last; k++) {
        hidden_layer(net->activation, net->widths[k + 1], net->widths[k], params, in, buffers[k % 2], NULL, tile);
        in = buffers[k % 2];
        params += net->widths[k + 1] * (net->widths[k] + 1);
    }
    linear_forward(n_out, n_in, params, params + n_out * n_in, in, out, tile);
}

/* d_h *= activation'(h), where d holds the derivatives of the activations that need them. */
static void activation_gradient(nvp_activation activation, size_t n, const real *restrict h, const real *restrict d,
                                real *restrict d_h) {
    if (activation == NVP_RELU) {
        for (size_t t = 0; t < n; t += LANES)
            store(d_h + t, keep(less(splat(0), load(h + t)), load(d_h + t)));
    } else {
        for (size_t t = 0; t < n; t += LANES)
            store(d_h + t, load(d_h + t) * load(d + t));
    }
}

/* The other lanes of rows (n, T) repeat the last one of `count` samples. */
static void fill_lanes(size_t n, size_t count, real *rows, size_t tile) {
    for (size_t i = 0; i < n; i++)
        for (size_t t = count; t < tile; t++)
            rows[i * tile + t] = rows[i * tile + count - 1];
}

static void clear_rows(real *rows, size_t n, size_t tile) { memset(rows, 0, n * tile * sizeof *rows); }

/* Given in and d_out, the gradient of the output: d_in += that of the input and, unless d_params is NULL, d_params +=
 * that of the parameters. Unless mlp_forward has kept the hidden layers, they are computed anew. scratch: the values
 * and slopes of all hidden layers, two rows of gradients that take turns, and a map's input transposed. */
static void mlp_vjp(const nvp_mlp *net, const real *params, const real *in, const real *d_out, real *d_in,
                    real *d_params, const real *kept, real *scratch, size_t tile) {
    if (has_one_input(net)) {
        one_input_vjp(net, params, in, d_out, d_in, d_params, scratch, tile);
        return;
    }
    if (net->n_linears == 2) {
        shallow_vjp(net, params, in, d_out, d_in, d_params, kept, scratch, tile);
        return;
    }
    const size_t last = net->n_linears - 1;
    const size_t hidden = net->total_hidden * tile;
    if (!kept)
        hidden_layers(net, params, in, scratch, scratch + hidden, tile);
    const real *h = kept ? kept : scratch, *d = h + hidden;
    real *buffers[2] = {scratch + 2 * hidden, scratch + 2 * hidden + net->widest_hidden * tile};
    real *columns = scratch + 2 * hidden + 2 * net->widest_hidden * tile;
    size_t row = net->total_hidden; /* where the output of map k begins in h */
    size_t at = net->n_params - net->widths[last + 1] * (net->widths[last] + 1); /* and map k in the parameters */
    for (size_t k = last + 1; k-- > 0;) {
        size_t n_out = net->widths[k + 1], n_in = net->widths[k];
        const real *x = k ? h + (row - n_in) * tile : in;
        if (d_params)
            linear_weight_gradient(n_out, n_in, d_out, x, d_params + at, d_params + at + n_out * n_in, columns, tile);
        if (k == 0) {
            linear_input_gradient(n_out, n_in, params + at, d_out, d_in, tile);
            break;
        }
        real *d_h = buffers[k % 2];
        clear_rows(d_h, n_in, tile);
        linear_input_gradient(n_out, n_in, params + at, d_out, d_h, tile);
        activation_gradient(net->activation, n_in * tile, x, d + (row - n_in) * tile, d_h);
        d_out = d_h;
        row -= n_in;
        at -= n_in * (net->widths[k - 1] + 1);
    }
}

/* Each linear map uniform in +-1/sqrt(fan_in), as torch.nn.Linear, the last one times `last`. The bound counts the
 * inputs that the mask leaves out, so that the function is distributed as that of the full-shape network. */
static void mlp_initialize(const nvp_mlp *net, double last, uint64_t seed, uint64_t *counter, real *params) {
    for (size_t k = 0; k < net->n_linears; k++) {
        const size_t fan_in = k ? net->widths[k] : net->full_inputs;
        const double bound = (k + 1 == net->n_linears ? last : 1.0) / sqrt((double)fan_in);
        const size_t n = net->widths[k + 1] * (net->widths[k] + 1);
        for (size_t i = 0; i < n; i++) {
            double u[2];
            nvp_uniform_pair(seed, NVP_STREAM_INITIALIZE, (*counter)++, u);
            *params++ = (real)(bound * (2 * u[0] - 1));
        }
    }
}

/* Weights decay, biases do not: they do not make the function steeper. */
static void mlp_mark_decaying(const nvp_mlp *net, real *marks) {
    for (size_t k = 0; k < net->n_linears; k++) {
        const size_t n_weights = net->widths[k + 1] * net->widths[k];
        for (size_t i = 0; i < n_weights; i++)
            marks[i] = 1;
        marks += n_weights + net->widths[k + 1];
    }
}
