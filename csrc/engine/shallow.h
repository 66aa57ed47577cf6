/* Linear -> activation -> Linear in one go: the conditioner with one hidden layer, which is the default.
 *
 * BLOCK hidden units are computed, used and forgotten before the next ones, so the hidden layer never exists as a
 * whole: on the way forward its values live in registers, on the way back in a few rows of the first-level cache. Every
 * sample sees the same operations in the same order, wherever in the tile it is. */

#if NVP_VECTOR_BYTES == 64
enum { BLOCK = 4 }; /* with COLUMNS, of 32 registers */
#else
enum { BLOCK = 4 }; /* of 16 registers */
#endif

/* The first linear map W1 (H, I), b1 (H) and the second, W2 (O, H), b2 (O), from hidden unit `first` on. */
typedef struct {
    nvp_activation activation;
    size_t n_in, n_hidden, n_out;
    const real *w1, *b1, *w2, *b2;
} shallow_net;

static shallow_net shallow_view(const nvp_mlp *net, const real *params) {
    const size_t n_in = net->widths[0], n_hidden = net->widths[1], n_out = net->widths[2];
    const real *b1 = params + n_hidden * n_in, *w2 = b1 + n_hidden;
    return (shallow_net){net->activation, n_in, n_hidden, n_out, params, b1, w2, w2 + n_out * n_hidden};
}

/* value = activation(v), slope = its derivative there. */
INLINE void activate_lanes(nvp_activation activation, vreal v, vreal *value, vreal *slope) {
    if (activation == NVP_TANH) {
        *value = vtanh(v);
        *slope = (real)1 - *value * *value;
    } else {
        const vreal sigmoid = vsigmoid(v);
        *value = v * sigmoid;
        *slope = sigmoid * ((real)1 + v * ((real)1 - sigmoid));
    }
}

/* sum = W1 in + b1 for `rows` hidden units from `first` on, in `columns` vectors. */
INLINE void pre_activations(const shallow_net *net, size_t first, size_t rows, size_t columns, const real *restrict in,
                            size_t tile, vreal sum[BLOCK][COLUMNS]) {
    const real *w = net->w1 + first * net->n_in;
    UNROLLED (j, rows)
        UNROLLED (c, columns)
            sum[j][c] = splat(net->b1[first + j]);
    for (size_t i = 0; i < net->n_in; i++)
        UNROLLED (j, rows)
            UNROLLED (c, columns)
                sum[j][c] += w[j * net->n_in + i] * load(in + i * tile + c * LANES);
}

/* out (O, T) += W2 act(W1 in + b1), of `rows` hidden units, in `columns` vectors. */
INLINE void shallow_forward_block(const shallow_net *net, bool relu, size_t first, size_t rows, size_t columns,
                                  const real *restrict in, real *restrict out, size_t tile) {
    vreal h[BLOCK][COLUMNS], slope;
    pre_activations(net, first, rows, columns, in, tile, h);
    if (relu) {
        UNROLLED (j, rows)
            UNROLLED (c, columns)
                h[j][c] = positive_part(h[j][c]);
    } else { /* not unrolled: exp and tanh need the registers for themselves */
        for (size_t j = 0; j < rows; j++)
            for (size_t c = 0; c < columns; c++)
                activate_lanes(net->activation, h[j][c], &h[j][c], &slope);
    }
    for (size_t o = 0; o < net->n_out; o++) {
        const real *w = net->w2 + o * net->n_hidden + first;
        UNROLLED (c, columns) {
            vreal sum = load(out + o * tile + c * LANES);
            UNROLLED (j, rows)
                sum += w[j] * h[j][c];
            store(out + o * tile + c * LANES, sum);
        }
    }
}

INLINE void shallow_forward_rows(const shallow_net *net, bool relu, size_t first, size_t rows, const real *restrict in,
                                 real *restrict out, size_t tile) {
    const size_t whole = tile - tile % (COLUMNS * LANES);
    for (size_t t = 0; t < whole; t += COLUMNS * LANES)
        shallow_forward_block(net, relu, first, rows, COLUMNS, in + t, out + t, tile);
    for (size_t t = whole; t < tile; t += LANES)
        shallow_forward_block(net, relu, first, rows, 1, in + t, out + t, tile);
}

INLINE void shallow_forward_units(const shallow_net *net, bool relu, const real *in, real *out, size_t tile) {
    const size_t whole = net->n_hidden - net->n_hidden % BLOCK;
    for (size_t j = 0; j < whole; j += BLOCK)
        shallow_forward_rows(net, relu, j, BLOCK, in, out, tile);
    for (size_t j = whole; j < net->n_hidden; j++)
        shallow_forward_rows(net, relu, j, 1, in, out, tile);
}

/* in (I, T) -> out (O, T) */
static void shallow_forward(const nvp_mlp *mlp, const real *params, const real *in, real *out, size_t tile) {
    const shallow_net net = shallow_view(mlp, params);
    for (size_t o = 0; o < net.n_out; o++)
        for (size_t t = 0; t < tile; t += LANES)
            store(out + o * tile + t, splat(net.b2[o]));
    if (net.activation == NVP_RELU)
        shallow_forward_units(&net, true, in, out, tile);
    else
        shallow_forward_units(&net, false, in, out, tile);
}

/* Of `rows` hidden units in `columns` vectors: h = their values, d_h = the gradients of their pre-activations, and
 * d_in += the gradient of the input. */
INLINE void shallow_backward_block(const shallow_net *net, bool relu, size_t first, size_t rows, size_t columns,
                                   const real *restrict in, const real *restrict d_out, real *restrict d_in,
                                   real *restrict h, real *restrict d_h, size_t tile) {
    vreal d[BLOCK][COLUMNS];
    pre_activations(net, first, rows, columns, in, tile, d);
    UNROLLED (j, rows)
        UNROLLED (c, columns)
            store(h + j * tile + c * LANES, d[j][c]);
    UNROLLED (j, rows)
        UNROLLED (c, columns)
            d[j][c] = splat(0);
    for (size_t o = 0; o < net->n_out; o++)
        UNROLLED (j, rows)
            UNROLLED (c, columns)
                d[j][c] += net->w2[o * net->n_hidden + first + j] * load(d_out + o * tile + c * LANES);
    UNROLLED (j, rows)
        UNROLLED (c, columns) {
            real *value = h + j * tile + c * LANES;
            if (relu) {
                d[j][c] = keep(less(splat(0), load(value)), d[j][c]);
                store(value, positive_part(load(value)));
            } else {
                vreal slope, activated;
                activate_lanes(net->activation, load(value), &activated, &slope);
                d[j][c] *= slope;
                store(value, activated);
            }
            store(d_h + j * tile + c * LANES, d[j][c]);
        }
    for (size_t i = 0; i < net->n_in; i++)
        UNROLLED (c, columns) {
            vreal sum = load(d_in + i * tile + c * LANES);
            UNROLLED (j, rows)
                sum += net->w1[(first + j) * net->n_in + i] * d[j][c];
            store(d_in + i * tile + c * LANES, sum);
        }
}

INLINE void shallow_backward_rows(const shallow_net *net, bool relu, size_t first, size_t rows, const real *in,
                                  const real *d_out, real *d_in, real *d_params, real *scratch, size_t tile) {
    real *h = scratch, *d_h = scratch + BLOCK * tile;
    const size_t whole = tile - tile % (COLUMNS * LANES);
    for (size_t t = 0; t < whole; t += COLUMNS * LANES)
        shallow_backward_block(net, relu, first, rows, COLUMNS, in + t, d_out + t, d_in + t, h + t, d_h + t, tile);
    for (size_t t = whole; t < tile; t += LANES)
        shallow_backward_block(net, relu, first, rows, 1, in + t, d_out + t, d_in + t, h + t, d_h + t, tile);
    if (!d_params)
        return;
    real *d_w1 = d_params + first * net->n_in, *d_b1 = d_params + net->n_hidden * net->n_in + first;
    real *d_w2 = d_params + net->n_hidden * (net->n_in + 1) + first;
    weight_gradient(rows, net->n_in, d_h, in, d_w1, net->n_in, tile);
    row_sums(rows, d_h, d_b1, tile);
    weight_gradient(net->n_out, rows, d_out, h, d_w2, net->n_hidden, tile);
}

INLINE void shallow_backward_units(const shallow_net *net, bool relu, const real *in, const real *d_out, real *d_in,
                                   real *d_params, real *scratch, size_t tile) {
    const size_t whole = net->n_hidden - net->n_hidden % BLOCK;
    for (size_t j = 0; j < whole; j += BLOCK)
        shallow_backward_rows(net, relu, j, BLOCK, in, d_out, d_in, d_params, scratch, tile);
    for (size_t j = whole; j < net->n_hidden; j++)
        shallow_backward_rows(net, relu, j, 1, in, d_out, d_in, d_params, scratch, tile);
}

/* Given in and d_out, the gradient of the output: d_in += that of the input and, unless d_params is NULL, d_params +=
 * that of the parameters. scratch: 2 * BLOCK rows. */
static void shallow_vjp(const nvp_mlp *mlp, const real *params, const real *in, const real *d_out, real *d_in,
                        real *d_params, real *scratch, size_t tile) {
    const shallow_net net = shallow_view(mlp, params);
    if (net.activation == NVP_RELU)
        shallow_backward_units(&net, true, in, d_out, d_in, d_params, scratch, tile);
    else
        shallow_backward_units(&net, false, in, d_out, d_in, d_params, scratch, tile);
    if (d_params)
        row_sums(net.n_out, d_out, d_params + (net.b2 - params), tile);
}
