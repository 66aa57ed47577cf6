/* The tile loop: a tile of samples goes through the whole flow, and back where gradients are wanted, before the next
 * one begins. Nothing of the size of the batch exists beside the caller's arrays. */

/* The rows of one tile in the workspace. */
typedef struct {
    real *states;    /* D rows for each state that is kept: all L + 1 for gradients, else two that take turns */
    real *saved;     /* the layers' saved rows, one layer after the other */
    real *scratch;   /* shared by the layers */
    real *d;         /* (D, T): the gradient of the current state */
    real *log_det;   /* (T) */
    real *d_log_det; /* (T) */
    size_t n_states;
} tile_rows;

/* Cut the workspace into the rows of tiles of T samples. */
static nvp_status reserve_tile(const nvp_pass *pass, bool gradient, size_t tile, tile_rows *rows) {
    const nvp_flow *flow = pass->flow;
    size_t n_rows = 2, bytes;
    rows->n_states = gradient ? flow->n_layers + 1 : 2;
    if (!nvp_add_product(rows->n_states, flow->dim, &n_rows) || !nvp_add_product(1, flow->scratch_rows, &n_rows) ||
        (gradient && (!nvp_add_product(1, flow->saved_rows, &n_rows) || !nvp_add_product(1, flow->dim, &n_rows))) ||
        !nvp_multiply(n_rows, tile * sizeof(real), &bytes))
        return NVP_ERROR_SIZE;
    real *block = nvp_workspace_reserve(pass->workspace, bytes);
    if (!block)
        return NVP_ERROR_MEMORY;
    rows->log_det = block;
    rows->d_log_det = rows->log_det + tile;
    rows->states = rows->d_log_det + tile;
    rows->scratch = rows->states + rows->n_states * flow->dim * tile;
    rows->d = rows->scratch + flow->scratch_rows * tile;
    rows->saved = gradient ? rows->d + flow->dim * tile : NULL;
    return NVP_OK;
}

static size_t source_row(const nvp_pass *pass, size_t sample) { return pass->rows ? pass->rows[sample] : sample; }

/* rows (D, T) = samples first, ..., first + count - 1 of `from` (., D); the other lanes repeat the last one. */
static void load_tile(const nvp_pass *pass, const real *from, size_t first, size_t count, real *rows, size_t tile) {
    const size_t dim = pass->flow->dim;
    for (size_t t = 0; t < tile; t++) {
        const real *sample = from + source_row(pass, first + (t < count ? t : count - 1)) * dim;
        for (size_t d = 0; d < dim; d++)
            rows[d * tile + t] = sample[d];
    }
}

static void store_tile(size_t dim, const real *rows, size_t first, size_t count, real *to, size_t tile) {
    to += first * dim;
    for (size_t t = 0; t < count; t++)
        for (size_t d = 0; d < dim; d++)
            to[t * dim + d] = rows[d * tile + t];
}

/* rows (D, T) += scale * normal draws, or just the draws where scale is NULL. Draw q of the stream belongs to dimension
 * q % D of sample q / D; the tile begins with sample `first`. */
static void add_normals(const nvp_pass *pass, nvp_stream stream, uint64_t first, const real *scale, size_t count,
                        real *rows, size_t tile) {
    const size_t dim = pass->flow->dim;
    double pair[2];
    uint64_t drawn = UINT64_MAX;
    for (size_t t = 0; t < tile; t++)
        for (size_t d = 0; d < dim; d++) {
            const uint64_t q = (first + (t < count ? t : count - 1)) * dim + d;
            if (q / 2 != drawn)
                nvp_normal_pair(pass->seed, stream, drawn = q / 2, pair);
            real *value = &rows[d * tile + t];
            *value = scale ? *value + scale[d] * (real)pair[q % 2] : (real)pair[q % 2];
        }
}

/* log N(z; 0, I), T of them. */
static void base_log_prob(size_t dim, const real *z, real *log_prob, size_t tile) {
    const real constant = (real)(-0.9189385332046727418 * (double)dim); /* -D/2 log(2 pi) */
    for (size_t t = 0; t < tile; t += LANES) {
        vreal sum = splat(0);
        for (size_t d = 0; d < dim; d++) {
            const vreal v = load(z + d * tile + t);
            sum += v * v;
        }
        store(log_prob + t, constant - (real)0.5 * sum);
    }
}

/* What step k of the pass reads and writes: forward passes through layer k, inverse ones through layer L - 1 - k. */
static layer_pass step(const nvp_pass *pass, const tile_rows *rows, size_t k, size_t tile) {
    const nvp_flow *flow = pass->flow;
    const nvp_layer *layer = &flow->layers[pass->inverse ? flow->n_layers - 1 - k : k];
    const size_t state = flow->dim * tile;
    return (layer_pass){
        .layer = layer,
        .params = (const real *)pass->params + layer->offset,
        .inverse = pass->inverse,
        .in = rows->states + k % rows->n_states * state,
        .out = rows->states + (k + 1) % rows->n_states * state,
        .saved = rows->saved ? rows->saved + layer->saved_offset * tile : NULL,
        .scratch = rows->scratch,
        .tile = tile,
    };
}

/* Through all layers, from states[0]. Returns the last state. */
static const real *apply_layers(const nvp_pass *pass, const tile_rows *rows, size_t first, size_t count, size_t tile) {
    const nvp_flow *flow = pass->flow;
    const real *state = rows->states;
    clear_rows(rows->log_det, 1, tile);
    for (size_t k = 0; k < flow->n_layers; k++) {
        if (pass->states)
            store_tile(flow->dim, state, first, count, (real *)pass->states + k * pass->n * flow->dim, tile);
        const layer_pass layer = step(pass, rows, k, tile);
        layer_types[layer.layer->type].apply(&layer, rows->log_det);
        state = layer.out;
    }
    if (pass->states)
        store_tile(flow->dim, state, first, count, (real *)pass->states + flow->n_layers * pass->n * flow->dim, tile);
    return state;
}

/* log p(x) = log N(z) + log|det dz/dx|, whichever way x and z were reached. Takes the place of log_det. */
static void finish_log_prob(nvp_pass *pass, const tile_rows *rows, const real *last, size_t first, size_t count,
                            size_t tile) {
    real *base = rows->scratch; /* no layer needs it any more; at least one row, see reserve_tile */
    base_log_prob(pass->flow->dim, pass->inverse ? last : rows->states, base, tile);
    for (size_t t = 0; t < count; t++) {
        const real log_prob = pass->inverse ? base[t] + rows->log_det[t] : base[t] - rows->log_det[t];
        if (pass->log_prob)
            ((real *)pass->log_prob)[first + t] = log_prob;
        pass->log_prob_sum += (double)log_prob;
    }
}

/* The incoming gradients of one tile, zero in the lanes that no sample fills. */
static void seed_gradient(const nvp_pass *pass, const tile_rows *rows, const real *last, size_t first, size_t count,
                          size_t tile) {
    const size_t dim = pass->flow->dim;
    const real *d_log_det = pass->grad_log_det;
    const real weight = (real)(1 / (double)pass->n); /* d(mean NLL)/dz = z / n, d(mean NLL)/d(log det) = -1 / n */
    for (size_t t = 0; t < tile; t++)
        rows->d_log_det[t] = t >= count ? 0 : pass->nll_gradient ? -weight : d_log_det ? d_log_det[first + t] : 0;
    if (pass->nll_gradient)
        for (size_t i = 0; i < dim * tile; i += LANES)
            store(rows->d + i, load(last + i) * weight);
    else if (pass->grad_out)
        load_tile(pass, pass->grad_out, first, count, rows->d, tile);
    else
        clear_rows(rows->d, dim, tile);
    for (size_t d = 0; d < dim; d++)
        memset(rows->d + d * tile + count, 0, (tile - count) * sizeof(real));
}

static void run_tile(nvp_pass *pass, const tile_rows *rows, size_t first, size_t count, size_t tile) {
    const nvp_flow *flow = pass->flow;
    if (pass->in)
        load_tile(pass, pass->in, first, count, rows->states, tile);
    else
        add_normals(pass, NVP_STREAM_SAMPLE, first, NULL, count, rows->states, tile);
    if (pass->noise)
        add_normals(pass, NVP_STREAM_NOISE, pass->noise_from + first, pass->noise, count, rows->states, tile);

    const real *last = apply_layers(pass, rows, first, count, tile);
    if (pass->out)
        store_tile(flow->dim, last, first, count, pass->out, tile);
    if (pass->log_det)
        memcpy((real *)pass->log_det + first, rows->log_det, count * sizeof(real));
    if (pass->log_prob || pass->sum_log_prob)
        finish_log_prob(pass, rows, last, first, count, tile);

    if (!rows->saved)
        return;
    seed_gradient(pass, rows, last, first, count, tile);
    for (size_t k = flow->n_layers; k-- > 0;) {
        const layer_pass layer = step(pass, rows, k, tile);
        real *d_params = pass->grad_params ? (real *)pass->grad_params + layer.layer->offset : NULL;
        layer_types[layer.layer->type].vjp(&layer, rows->d_log_det, rows->d, d_params);
    }
    if (pass->grad_in)
        store_tile(flow->dim, rows->d, first, count, pass->grad_in, tile);
}

static nvp_status run_pass(nvp_pass *pass) {
    const nvp_flow *flow = pass->flow;
    const bool gradient = pass->grad_in || pass->grad_params;
    const size_t largest = padded(pass->n < flow->tile ? pass->n : flow->tile);
    tile_rows rows;
    const nvp_status status = reserve_tile(pass, gradient, largest, &rows);
    if (status != NVP_OK)
        return status;
    pass->log_prob_sum = 0;
    if (pass->grad_params)
        memset(pass->grad_params, 0, flow->n_params * sizeof(real));
    for (size_t first = 0; first < pass->n; first += largest) {
        if (first && nvp_interrupted(pass->workspace))
            return NVP_INTERRUPTED;
        const size_t left = pass->n - first, count = left < largest ? left : largest;
        run_tile(pass, &rows, first, count, padded(count));
    }
    return NVP_OK;
}
