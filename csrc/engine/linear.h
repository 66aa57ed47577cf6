/* The three products of a linear map y = W x + b with the rows of a tile:
 *
 *   linear_forward          y  (O, T)  = W (O, I) x (I, T) + b
 *   linear_input_gradient   dx (I, T) += W^T dy
 *   linear_weight_gradient  dW (O, I) += dy (O, T) x^T,  db += the sums of the rows of dy
 *
 * Samples lie in the lanes and weights are broadcast, so a product needs no transposing and no packing. A block of
 * ROWS x COLUMNS vectors is accumulated in registers; every lane adds its terms in the same order whatever the block,
 * so a sample's result does not depend on its place in the tile. */

#if NVP_VECTOR_BYTES == 64
enum { ROWS = 4, COLUMNS = 4 }; /* of 32 registers */
#else
enum { ROWS = 4, COLUMNS = 2 }; /* of 16 registers */
#endif

/* out[j] = start[j] + sum over i of w[j * w_row + i * w_column] in[i] for a block of `rows` x `columns` vectors.
 * start is the bias or, when that is NULL, what out holds. */
INLINE void multiply_block(size_t rows, size_t columns, size_t n_in, const real *restrict w, size_t w_row,
                           size_t w_column, const real *restrict bias, const real *restrict in, real *restrict out,
                           size_t tile, bool relu) {
    vreal sum[ROWS][COLUMNS];
    UNROLLED (j, rows)
        UNROLLED (c, columns)
            sum[j][c] = bias ? splat(bias[j]) : load(out + j * tile + c * LANES);
    for (size_t i = 0; i < n_in; i++) {
        vreal x[COLUMNS];
        UNROLLED (c, columns)
            x[c] = load(in + i * tile + c * LANES);
        UNROLLED (j, rows)
            UNROLLED (c, columns)
                sum[j][c] += w[j * w_row + i * w_column] * x[c];
    }
    UNROLLED (j, rows)
        UNROLLED (c, columns)

            store(out + j * tile + c * LANES, relu ? positive_part(sum[j][c]) : sum[j][c]);
}

/* The same for all columns of `rows` rows. */
INLINE void multiply_rows(size_t rows, size_t n_in, const real *restrict w, size_t w_row, size_t w_column,
                          const real *restrict bias, const real *restrict in, real *restrict out, size_t tile,
                          bool relu) {
    const size_t whole = tile - tile % (COLUMNS * LANES);
    for (size_t t = 0; t < whole; t += COLUMNS * LANES)
        multiply_block(rows, COLUMNS, n_in, w, w_row, w_column, bias, in + t, out + t, tile, relu);
    for (size_t t = whole; t < tile; t += LANES)
        multiply_block(rows, 1, n_in, w, w_row, w_column, bias, in + t, out + t, tile, relu);
}

INLINE void multiply(size_t n_out, size_t n_in, const real *restrict w, size_t w_row, size_t w_column,
                     const real *restrict bias, const real *restrict in, real *restrict out, size_t tile, bool relu) {
    const size_t whole = n_out - n_out % ROWS;
    for (size_t j = 0; j < whole; j += ROWS)
        multiply_rows(ROWS, n_in, w + j * w_row, w_row, w_column, bias ? bias + j : NULL, in, out + j * tile, tile,
                      relu);
    for (size_t j = whole; j < n_out; j++)
        multiply_rows(1, n_in, w + j * w_row, w_row, w_column, bias ? bias + j : NULL, in, out + j * tile, tile, relu);
}

static void linear_forward(size_t n_out, size_t n_in, const real *restrict w, const real *restrict b,
                           const real *restrict in, real *restrict out, size_t tile) {
    multiply(n_out, n_in, w, n_in, 1, b, in, out, tile, false);
}

static void linear_relu_forward(size_t n_out, size_t n_in, const real *restrict w, const real *restrict b,
                                const real *restrict in, real *restrict out, size_t tile) {
    multiply(n_out, n_in, w, n_in, 1, b, in, out, tile, true);
}

static void linear_input_gradient(size_t n_out, size_t n_in, const real *restrict w, const real *restrict d_out,
                                  real *restrict d_in, size_t tile) {
    multiply(n_in, n_out, w, 1, n_in, NULL, d_out, d_in, tile, false);
}

INLINE void weight_gradient_block(size_t rows, size_t columns, const real *restrict d_out, const real *restrict in,
                                  real *restrict d_w, size_t w_row, size_t tile) {
    vreal sum[ROWS][COLUMNS] = {{{0}}};
    for (size_t t = 0; t < tile; t += LANES) {
        vreal x[COLUMNS];
        UNROLLED (i, columns)
            x[i] = load(in + i * tile + t);
        UNROLLED (j, rows)
            UNROLLED (i, columns)
                sum[j][i] += load(d_out + j * tile + t) * x[i];
    }
    UNROLLED (j, rows)
        add_sums_of_lanes(columns, sum[j], d_w + j * w_row);
}

INLINE void weight_gradient_rows(size_t rows, size_t n_in, const real *restrict d_out, const real *restrict in,
                                 real *restrict d_w, size_t w_row, size_t tile) {
    const size_t whole = n_in - n_in % COLUMNS;
    for (size_t i = 0; i < whole; i += COLUMNS)
        weight_gradient_block(rows, COLUMNS, d_out, in + i * tile, d_w + i, w_row, tile);
    for (size_t i = whole; i < n_in; i++)
        weight_gradient_block(rows, 1, d_out, in + i * tile, d_w + i, w_row, tile);
}

static void row_sums(size_t n, const real *restrict rows, real *restrict sums, size_t tile) {
    for (size_t j = 0; j < n; j++) {
        vreal sum = splat(0);
        for (size_t t = 0; t < tile; t += LANES)
            sum += load(rows + j * tile + t);
        sums[j] += sum_lanes(sum);
    }
}

/* d_w (O, I), whose rows are w_row apart, += d_out in^T. */
static void weight_gradient(size_t n_out, size_t n_in, const real *restrict d_out, const real *restrict in,
                            real *restrict d_w, size_t w_row, size_t tile) {
    const size_t whole = n_out - n_out % ROWS;
    for (size_t j = 0; j < whole; j += ROWS)
        weight_gradient_rows(ROWS, n_in, d_out + j * tile, in, d_w + j * w_row, w_row, tile);
    for (size_t j = whole; j < n_out; j++)
        weight_gradient_rows(1, n_in, d_out + j * tile, in, d_w + j * w_row, w_row, tile);
}

static void linear_weight_gradient(size_t n_out, size_t n_in, const real *restrict d_out, const real *restrict in,
                                   real *restrict d_w, real *restrict d_b, size_t tile) {
    weight_gradient(n_out, n_in, d_out, in, d_w, n_in, tile);
    row_sums(n_out, d_out, d_b, tile);
}
