/* An invertible linear map by its LU decomposition: Kingma and Dhariwal (2018), "Glow", section 3.2. The permutation of
 * their formula is a layer of its own.
 *
 *   forward  x = L U z + b            log_det += sum of log diag U
 *   inverse  z = U^-1 L^-1 (x - b)    log_det -= sum of log diag U
 *
 * L is unit lower triangular, and U upper triangular with a diagonal that is the exponential of its parameters, so that
 * no parameters make the map singular. The parameters are one matrix (D, D) with L below, log diag U on and U above its
 * diagonal, and then b: all zeros are the identity. */

/* A triangular matrix in rows and columns of `w`; its diagonal is 1 or, if `scaled`, the exponential of w's. The
 * transpose of an upper triangle is a lower one with the strides exchanged. */
typedef struct {
    const real *w;
    size_t dim, row, column;
    bool lower, scaled;
} triangle;

static triangle lower_triangle(const layer_pass *pass) {
    return (triangle){pass->params, pass->layer->dim, pass->layer->dim, 1, true, false};
}

static triangle upper_triangle(const layer_pass *pass) {
    return (triangle){pass->params, pass->layer->dim, pass->layer->dim, 1, false, true};
}

static triangle transposed(triangle m) { return (triangle){m.w, m.dim, m.column, m.row, !m.lower, m.scaled}; }

/* sum (count, T) of rows i, ... += those of m, in columns j, ... (n of them), times these rows. */
static void add_product(triangle m, size_t i, size_t count, size_t j, size_t n, real *rows, size_t tile) {
    multiply(count, n, m.w + i * m.row + j * m.column, m.row, m.column, NULL, rows + j * tile, rows + i * tile, tile,
             false);
}

static void scale_row(real *row, real factor, size_t tile) {
    for (size_t t = 0; t < tile; t += LANES)
        store(row + t, load(row + t) * factor);
}

static real diagonal(triangle m, size_t i, bool inverse) {
    if (!m.scaled)
        return 1;
    const real log_diagonal = m.w[i * (m.row + m.column)];
    return scalar_exp(inverse ? -log_diagonal : log_diagonal);
}

enum { TRIANGLE_BLOCK = 16 }; /* rows that share their product with the columns outside of the block */

/* rows (D, T) = m rows, in place: from the side where a row is read by no later one. */
static void triangle_multiply(triangle m, real *rows, size_t tile) {
    for (size_t done = 0; done < m.dim; done += TRIANGLE_BLOCK) {
        const size_t left = m.dim - done, count = left < TRIANGLE_BLOCK ? left : TRIANGLE_BLOCK;
        const size_t first = m.lower ? left - count : done, end = first + count;
        for (size_t k = 0; k < count; k++) {
            const size_t i = m.lower ? end - 1 - k : first + k, from = m.lower ? first : i + 1;
            scale_row(rows + i * tile, diagonal(m, i, false), tile);
            add_product(m, i, 1, from, count - 1 - k, rows, tile);
        }
        add_product(m, first, count, m.lower ? 0 : end, m.lower ? first : m.dim - end, rows, tile);
    }
}

/* rows (D, T) = m^-1 rows, in place: by substitution, from the side where a row depends on no other. */
static void triangle_solve(triangle m, real *rows, size_t tile) {
    for (size_t done = 0; done < m.dim; done += TRIANGLE_BLOCK) {
        const size_t left = m.dim - done, count = left < TRIANGLE_BLOCK ? left : TRIANGLE_BLOCK;
        const size_t first = m.lower ? done : left - count, end = first + count;
        for (size_t i = first; i < end; i++)
            scale_row(rows + i * tile, -1, tile);
        add_product(m, first, count, m.lower ? 0 : end, m.lower ? first : m.dim - end, rows, tile);
        for (size_t k = 0; k < count; k++) {
            const size_t i = m.lower ? first + k : end - 1 - k, from = m.lower ? first : i + 1;
            add_product(m, i, 1, from, k, rows, tile);
            scale_row(rows + i * tile, -diagonal(m, i, true), tile);
        }
    }
}

static bool lu_linear_plan(nvp_layer *layer) {
    layer->n_params = 0;
    layer->saved_rows = layer->dim;                             /* U z */
    return nvp_multiply(2, layer->dim, &layer->scratch_rows) && /* the gradients of both products */
           nvp_add_product(layer->dim, layer->dim, &layer->n_params) &&
           nvp_add(layer->n_params, layer->dim, &layer->n_params);
}

static void lu_linear_initialize(const nvp_layer *layer, uint64_t seed, uint64_t *counter, real *params) {
    (void)seed, (void)counter;
    memset(params, 0, layer->n_params * sizeof *params);
}

static void lu_linear_apply(const layer_pass *pass, real *log_det) {
    const size_t tile = pass->tile, dim = pass->layer->dim, size = dim * tile * sizeof(real);
    const real *b = pass->params + dim * dim;
    real sum = 0;
    for (size_t i = 0; i < dim; i++)
        sum += pass->params[i * (dim + 1)];
    for (size_t t = 0; t < tile; t += LANES)
        store(log_det + t, load(log_det + t) + (pass->inverse ? -sum : sum));

    memcpy(pass->out, pass->in, size);
    if (pass->inverse) {
        for (size_t i = 0; i < dim; i++)
            for (size_t t = 0; t < tile; t += LANES)
                store(pass->out + i * tile + t, load(pass->out + i * tile + t) - b[i]);
        triangle_solve(lower_triangle(pass), pass->out, tile);
    } else {
        triangle_multiply(upper_triangle(pass), pass->out, tile);
    }
    if (pass->saved)
        memcpy(pass->saved, pass->out, size);
    if (pass->inverse) {
        triangle_solve(upper_triangle(pass), pass->out, tile);
        return;
    }
    triangle_multiply(lower_triangle(pass), pass->out, tile);
    for (size_t i = 0; i < dim; i++)
        for (size_t t = 0; t < tile; t += LANES)
            store(pass->out + i * tile + t, load(pass->out + i * tile + t) + b[i]);
}

/* With y = U z and x = L y + b, whichever way they were reached, the parameters have the gradients u y^T (L), v z^T (U)
 * and u (b) summed over the samples. Forward, u is the gradient of x and v that of y; inverse, u and v are those
 * with the opposite signs. */
static void lu_linear_vjp(const layer_pass *pass, const real *d_log_det, real *d, real *d_params) {
    const size_t tile = pass->tile, dim = pass->layer->dim, size = dim * tile * sizeof(real);
    const triangle lower = transposed(lower_triangle(pass)), upper = transposed(upper_triangle(pass));
    const real *y = pass->saved, *z = pass->inverse ? pass->out : pass->in;
    real *u = pass->scratch, *v = u + dim * tile;
    if (pass->inverse) {
        memcpy(v, d, size);
        for (size_t i = 0; i < dim; i++)
            scale_row(v + i * tile, -1, tile);
        triangle_solve(upper, v, tile);
        memcpy(u, v, size);
        triangle_solve(lower, u, tile);
        memcpy(d, u, size);
        for (size_t i = 0; i < dim; i++)
            scale_row(d + i * tile, -1, tile);
    } else {
        memcpy(u, d, size);
        triangle_multiply(lower, d, tile);
        memcpy(v, d, size);
        triangle_multiply(upper, d, tile);
    }
    if (!d_params)
        return;
    real d_log_diagonal = 0;
    row_sums(1, d_log_det, &d_log_diagonal, tile);
    for (size_t i = 0; i < dim; i++) {
        real *d_w = d_params + i * dim, d_diagonal = 0;
        weight_gradient(1, i, u + i * tile, y, d_w, dim, tile);
        weight_gradient(1, 1, v + i * tile, z + i * tile, &d_diagonal, 1, tile);
        d_w[i] += d_diagonal * diagonal(upper, i, false) + (pass->inverse ? -d_log_diagonal : d_log_diagonal);
        weight_gradient(1, dim - 1 - i, v + i * tile, z + (i + 1) * tile, d_w + i + 1, dim, tile);
    }
    row_sums(dim, u, d_params + dim * dim, tile);
}
