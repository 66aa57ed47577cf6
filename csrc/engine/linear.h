/* The three products of a linear map y = W x + b with the rows of a tile:
 *
 *   linear_forward          y  (O, T)  = W (O, I) x (I, T) + b
 *   linear_input_gradient   dx (I, T) += W^T dy
 *   linear_weight_gradient  dW (O, I) += dy (O, T) x^T,  db += the sums of the rows of dy
 *
 * Samples lie in the lanes and weights are broadcast, so a product needs no transposing and no packing. A block of
 * ROWS x COLUMNS vectors is accumulated in registers; every lane adds its terms in the same order whatever the block,
 * so a sample's result does not depend on its place in the tile. */

#if NVP_VECTOR_BYTES == 64 || defined(__aarch64__)
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
    vreal sum[ROWS][COLUMNS] = {0};
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

/* The same for many inputs: with the inputs transposed, (T, I), the weights lie in the lanes and no lanes have to be
 * added up. PACKED rows of weights, of PACKED_COLUMNS vectors each, are accumulated in registers. */
enum { PACKED = 2 * ROWS, PACKED_COLUMNS = COLUMNS / 2 };

/* How many of n inputs or outputs fill vectors of their own. */
INLINE size_t in_whole_vectors(size_t n) { return n - n % LANES; }

/* columns (T, n) = rows (n, T) transposed, for n in whole vectors. */
static void transpose(size_t n, const real *restrict rows, real *restrict columns, size_t tile) {
    for (size_t i = 0; i < n; i += LANES)
        for (size_t t = 0; t < tile; t += LANES) {
            vreal square[LANES];
            UNROLLED (k, LANES)
                square[k] = load(rows + (i + k) * tile + t);
            transpose_square(square);
            UNROLLED (k, LANES)
                store(columns + (t + k) * n + i, square[k]);
        }
}

/* sum (rows, columns) = d_out (rows, T) times in (T, .), whose rows are `stride` apart. */
INLINE void packed_products(size_t rows, size_t columns, const real *restrict d_out, const real *restrict in,
                            size_t stride, vreal sum[PACKED][PACKED_COLUMNS], size_t tile) {
    UNROLLED (j, rows)
        UNROLLED (c, columns)
            sum[j][c] = splat(0);
    for (size_t t = 0; t < tile; t++) {
        vreal x[PACKED_COLUMNS];
        UNROLLED (c, columns)
            x[c] = load(in + t * stride + c * LANES);
        UNROLLED (j, rows) {
            const vreal d = splat(d_out[j * tile + t]);
            UNROLLED (c, columns)
                sum[j][c] += d * x[c];
        }
    }
}

INLINE void packed_gradient_block(size_t rows, size_t columns, const real *restrict d_out, const real *restrict in,
                                  size_t stride, real *restrict d_w, size_t w_row, size_t tile) {
    vreal sum[PACKED][PACKED_COLUMNS];
    packed_products(rows, columns, d_out, in, stride, sum, tile);
    UNROLLED (j, rows)
        UNROLLED (c, columns) {
            real *w = d_w + j * w_row + c * LANES;
            store_unaligned(w, load_unaligned(w) + sum[j][c]);
        }
}

INLINE void packed_gradient_rows(size_t rows, size_t n_in, const real *restrict d_out, const real *restrict in,
                                 real *restrict d_w, size_t w_row, size_t tile) {
    const size_t whole = n_in - n_in % (PACKED_COLUMNS * LANES);
    for (size_t i = 0; i < whole; i += PACKED_COLUMNS * LANES)
        packed_gradient_block(rows, PACKED_COLUMNS, d_out, in + i, n_in, d_w + i, w_row, tile);
    for (size_t i = whole; i < n_in; i += LANES)
        packed_gradient_block(rows, 1, d_out, in + i, n_in, d_w + i, w_row, tile);
}

/* d_w (O, I), whose rows are w_row apart, += d_out (O, T) in (T, I), for I in whole vectors. */
static void packed_gradient(size_t n_out, size_t n_in, const real *restrict d_out, const real *restrict in,
                            real *restrict d_w, size_t w_row, size_t tile) {
    const size_t whole = n_out - n_out % PACKED;
    for (size_t j = 0; j < whole; j += PACKED)
        packed_gradient_rows(PACKED, n_in, d_out + j * tile, in, d_w + j * w_row, w_row, tile);
    for (size_t j = whole; j < n_out; j++)
        packed_gradient_rows(1, n_in, d_out + j * tile, in, d_w + j * w_row, w_row, tile);
}

/* sum (PACKED, columns vectors), transposed, is added to w: `columns` * LANES rows of PACKED. */
INLINE void add_transposed(size_t columns, vreal sum[PACKED][PACKED_COLUMNS], real *restrict w, size_t w_row) {
    enum { RUN = LANES < PACKED ? LANES : PACKED }; /* sums that end up side by side */
    for (size_t first = 0; first < PACKED * columns; first += LANES) {
        vreal square[LANES];
        UNROLLED (i, LANES) {
            const size_t j = (first + i) % PACKED, c = (first + i) / PACKED;
            square[i] = c < columns ? sum[j][c] : splat(0);
        }
        transpose_square(square);
        UNROLLED (k, LANES)
            for (size_t i = 0; i < LANES; i += RUN) {
                const size_t j = (first + i) % PACKED, c = (first + i) / PACKED;
                if (c < columns)
                    add_run((RUN), w + (c * LANES + k) * w_row + j, square[k], i);
            }
    }
}

/* The same as packed_gradient for PACKED outputs, with the result transposed: d_w (I, PACKED) += (d_out in)^T. */
INLINE void packed_gradient_transposed(size_t n_in, const real *restrict d_out, const real *restrict in,
                                       real *restrict d_w, size_t w_row, size_t tile) {
    const size_t whole = n_in - n_in % (PACKED_COLUMNS * LANES);
    vreal sum[PACKED][PACKED_COLUMNS];
    for (size_t i = 0; i < whole; i += PACKED_COLUMNS * LANES) {
        packed_products(PACKED, PACKED_COLUMNS, d_out, in + i, n_in, sum, tile);
        add_transposed(PACKED_COLUMNS, sum, d_w + i * w_row, w_row);
    }
    for (size_t i = whole; i < n_in; i += LANES) {
        packed_products(PACKED, 1, d_out, in + i, n_in, sum, tile);
        add_transposed(1, sum, d_w + i * w_row, w_row);
    }
}

/* Rows of a tile that hold the transposed inputs of a linear map where that pays. */
INLINE size_t transposed_rows(size_t n_out, size_t n_in) { return n_out < PACKED ? 0 : in_whole_vectors(n_in); }

/* scratch: transposed_rows. */
static void linear_weight_gradient(size_t n_out, size_t n_in, const real *restrict d_out, const real *restrict in,
                                   real *restrict d_w, real *restrict d_b, real *restrict scratch, size_t tile) {
    const size_t packed = transposed_rows(n_out, n_in);
    if (packed) {
        transpose(packed, in, scratch, tile);
        packed_gradient(n_out, packed, d_out, scratch, d_w, n_in, tile);
    }
    weight_gradient(n_out, n_in - packed, d_out, in + packed * tile, d_w + packed, n_in, tile);
    row_sums(n_out, d_out, d_b, tile);
}
