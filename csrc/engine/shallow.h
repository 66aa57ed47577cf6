/* Linear -> activation -> Linear in one go: the conditioner with one hidden layer, which is the default.
 *
 * BLOCK hidden units are computed, used and forgotten before the next ones, so the hidden layer never exists as a
 * whole: on the way forward its values live in registers, on the way back in a few rows of the first-level cache. Every
 * sample sees the same operations in the same order, wherever in the tile it is. */

enum { BLOCK = ROWS };

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

/* Rows of a tile that shallow_vjp needs: PACKED units and their gradients, and the transposed input and gradient of the
 * output. */
static size_t shallow_scratch_rows(const nvp_mlp *mlp) {
    return 2 * PACKED + in_whole_vectors(mlp->widths[0]) + in_whole_vectors(mlp->widths[2]);
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

/* out (O, T) += W2 act(W1 in + b1), of `rows` hidden units, in `columns` vectors. Unless it is NULL, `kept` (H, T) gets
 * their values and, unless they are ReLU units, kept + slopes their slopes. */
INLINE void shallow_forward_block(const shallow_net *net, bool relu, size_t first, size_t rows, size_t columns,
                                  const real *restrict in, real *restrict out, real *restrict kept, size_t tile) {
    const size_t slopes = net->n_hidden * tile;
    vreal h[BLOCK][COLUMNS];
    pre_activations(net, first, rows, columns, in, tile, h);
    if (relu) {
        UNROLLED (j, rows)
            UNROLLED (c, columns)
                h[j][c] = positive_part(h[j][c]);
    } else { /* not unrolled: exp and tanh need the registers for themselves */
        for (size_t j = 0; j < rows; j++)
            for (size_t c = 0; c < columns; c++) {
                vreal slope;
                activate_lanes(net->activation, h[j][c], &h[j][c], &slope);
                if (kept)
                    store(kept + slopes + (first + j) * tile + c * LANES, slope);
            }
    }
    if (kept)
        UNROLLED (j, rows)
            UNROLLED (c, columns)
                store(kept + (first + j) * tile + c * LANES, h[j][c]);
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
                                 real *restrict out, real *restrict kept, size_t tile) {
    const size_t whole = tile - tile % (COLUMNS * LANES);
    for (size_t t = 0; t < whole; t += COLUMNS * LANES)
        shallow_forward_block(net, relu, first, rows, COLUMNS, in + t, out + t, kept ? kept + t : NULL, tile);
    for (size_t t = whole; t < tile; t += LANES)
        shallow_forward_block(net, relu, first, rows, 1, in + t, out + t, kept ? kept + t : NULL, tile);
}

INLINE void shallow_forward_units(const shallow_net *net, bool relu, const real *in, real *out, real *kept,
                                  size_t tile) {
    const size_t whole = net->n_hidden - net->n_hidden % BLOCK;
    for (size_t j = 0; j < whole; j += BLOCK)
        shallow_forward_rows(net, relu, j, BLOCK, in, out, kept, tile);
    for (size_t j = whole; j < net->n_hidden; j++)
        shallow_forward_rows(net, relu, j, 1, in, out, kept, tile);
}

/* in (I, T) -> out (O, T); kept (H, T), and as many slopes, or NULL. */
static void shallow_forward(const nvp_mlp *mlp, const real *params, const real *in, real *out, real *kept,
                            size_t tile) {
    const shallow_net net = shallow_view(mlp, params);
    for (size_t o = 0; o < net.n_out; o++)
        for (size_t t = 0; t < tile; t += LANES)
            store(out + o * tile + t, splat(net.b2[o]));
    if (net.activation == NVP_RELU)
        shallow_forward_units(&net, true, in, out, kept, tile);
    else
        shallow_forward_units(&net, false, in, out, kept, tile);
}

/* h = the values of `rows` hidden units in `columns` vectors and, unless they are ReLU units, d_h = their slopes. */
INLINE void shallow_units_again(const shallow_net *net, bool relu, size_t first, size_t rows, size_t columns,
                                const real *restrict in, real *restrict h, real *restrict d_h, size_t tile) {
    vreal v[BLOCK][COLUMNS];
    pre_activations(net, first, rows, columns, in, tile, v);
    UNROLLED (j, rows)
        UNROLLED (c, columns) {
            const size_t at = j * tile + c * LANES;
            vreal slope;
            if (relu) {
                v[j][c] = positive_part(v[j][c]);
            } else {
                activate_lanes(net->activation, v[j][c], &v[j][c], &slope);
                store(d_h + at, slope);
            }
            store(h + at, v[j][c]);
        }
}

/* Of `rows` hidden units in `columns` vectors, whose values are h: d_h = the gradients of their pre-activations, and
 * d_in += the gradient of the input. Slopes, of other units than ReLU, may be in d_h itself. */
INLINE void shallow_backward_block(const shallow_net *net, bool relu, size_t first, size_t rows, size_t columns,
                                   const real *restrict d_out, real *restrict d_in, const real *restrict h,
                                   const real *slopes, real *d_h, size_t tile) {
    vreal d[BLOCK][COLUMNS];
    UNROLLED (j, rows)
        UNROLLED (c, columns)
            d[j][c] = splat(0);
    for (size_t o = 0; o < net->n_out; o++)
        UNROLLED (j, rows)
            UNROLLED (c, columns)
                d[j][c] += net->w2[o * net->n_hidden + first + j] * load(d_out + o * tile + c * LANES);
    UNROLLED (j, rows)
        UNROLLED (c, columns) {
            const size_t at = j * tile + c * LANES;
            if (relu)
                d[j][c] = keep(less(splat(0), load(h + at)), d[j][c]);
            else
                d[j][c] *= load(slopes + at);
            store(d_h + at, d[j][c]);
        }
    for (size_t i = 0; i < net->n_in; i++)
        UNROLLED (c, columns) {
            vreal sum = load(d_in + i * tile + c * LANES);
            UNROLLED (j, rows)
                sum += net->w1[(first + j) * net->n_in + i] * d[j][c];
            store(d_in + i * tile + c * LANES, sum);
        }
}

INLINE void shallow_backward_columns(const shallow_net *net, bool relu, size_t first, size_t rows, size_t columns,
                                     const real *in, const real *d_out, real *d_in, const real *kept, real *scratch,
                                     size_t tile) {
    real *d_h = scratch + PACKED * tile;
    if (kept) {
        const real *h = kept + first * tile;
        shallow_backward_block(net, relu, first, rows, columns, d_out, d_in, h, h + net->n_hidden * tile, d_h, tile);
    } else {
        shallow_units_again(net, relu, first, rows, columns, in, scratch, d_h, tile);
        shallow_backward_block(net, relu, first, rows, columns, d_out, d_in, scratch, d_h, d_h, tile);
    }
}

INLINE void shallow_backward_rows(const shallow_net *net, bool relu, size_t first, size_t rows, const real *in,
                                  const real *d_out, real *d_in, const real *kept, real *scratch, size_t tile) {
    const size_t whole = tile - tile % (COLUMNS * LANES);
    for (size_t t = 0; t < whole; t += COLUMNS * LANES)
        shallow_backward_columns(net, relu, first, rows, COLUMNS, in + t, d_out + t, d_in + t, kept ? kept + t : NULL,
                                 scratch + t, tile);
    for (size_t t = whole; t < tile; t += LANES)
        shallow_backward_columns(net, relu, first, rows, 1, in + t, d_out + t, d_in + t, kept ? kept + t : NULL,
                                 scratch + t, tile);
}

/* The gradients of the parameters of `units` hidden units; in and d_out also transposed, in whole vectors. */
INLINE void shallow_weight_gradients(const shallow_net *net, size_t first, size_t units, const real *in,
                                     const real *in_columns, const real *d_out, const real *d_out_columns,
                                     const real *h, const real *d_h, real *d_params, size_t tile) {
    const size_t n_in = in_whole_vectors(net->n_in), n_out = units == PACKED ? in_whole_vectors(net->n_out) : 0;
    real *d_w1 = d_params + first * net->n_in, *d_b1 = d_params + net->n_hidden * net->n_in + first;
    real *d_w2 = d_params + net->n_hidden * (net->n_in + 1) + first;
    packed_gradient(units, n_in, d_h, in_columns, d_w1, net->n_in, tile);
    weight_gradient(units, net->n_in - n_in, d_h, in + n_in * tile, d_w1 + n_in, net->n_in, tile);
    row_sums(units, d_h, d_b1, tile);
    packed_gradient_transposed(n_out, h, d_out_columns, d_w2, net->n_hidden, tile);
    weight_gradient(net->n_out - n_out, units, d_out + n_out * tile, h, d_w2 + n_out * net->n_hidden, net->n_hidden,
                    tile);
}

INLINE void shallow_backward_units(const shallow_net *net, bool relu, const real *in, const real *d_out, real *d_in,
                                   real *d_params, const real *kept, real *scratch, size_t tile) {
    real *in_columns = scratch + 2 * PACKED * tile;
    real *d_out_columns = in_columns + in_whole_vectors(net->n_in) * tile;
    if (d_params) {
        transpose(in_whole_vectors(net->n_in), in, in_columns, tile);
        transpose(in_whole_vectors(net->n_out), d_out, d_out_columns, tile);
    }
    for (size_t first = 0; first < net->n_hidden; first += PACKED) {
        const size_t left = net->n_hidden - first, units = left < PACKED ? left : PACKED;
        size_t j = 0;
        for (; j + BLOCK <= units; j += BLOCK)
            shallow_backward_rows(net, relu, first + j, BLOCK, in, d_out, d_in, kept, scratch + j * tile, tile);
        for (; j < units; j++)
            shallow_backward_rows(net, relu, first + j, 1, in, d_out, d_in, kept, scratch + j * tile, tile);
        if (!d_params)
            continue;
        const real *h = kept ? kept + first * tile : scratch, *d_h = scratch + PACKED * tile;
        if (units == PACKED)
            shallow_weight_gradients(net, first, PACKED, in, in_columns, d_out, d_out_columns, h, d_h, d_params, tile);
        else
            for (j = 0; j < units; j++)
                shallow_weight_gradients(net, first + j, 1, in, in_columns, d_out, d_out_columns, h + j * tile,
                                         d_h + j * tile, d_params, tile);
    }
}

/* Given in and d_out, the gradient of the output: d_in += that of the input and, unless d_params is NULL, d_params +=
 * that of the parameters. kept: from shallow_forward, or NULL. scratch: shallow_scratch_rows. */
static void shallow_vjp(const nvp_mlp *mlp, const real *params, const real *in, const real *d_out, real *d_in,
                        real *d_params, const real *kept, real *scratch, size_t tile) {
    const shallow_net net = shallow_view(mlp, params);
    if (net.activation == NVP_RELU)
        shallow_backward_units(&net, true, in, d_out, d_in, d_params, kept, scratch, tile);
    else
        shallow_backward_units(&net, false, in, d_out, d_in, d_params, kept, scratch, tile);
    if (d_params)
        row_sums(net.n_out, d_out, d_params + (net.b2 - params), tile);
}
