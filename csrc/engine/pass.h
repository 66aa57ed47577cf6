/* The tile loop: a tile of samples goes through the whole flow, and back where gradients are wanted, before the next
 * one begins. Nothing of the size of the batch exists beside the caller's arrays. */

/* What a worker has for the tile it is at, in the workspace. */
typedef struct {
    const real *params;
    real *states;    /* D rows for each state that is kept: all L + 1 for gradients, else two that take turns */
    real *saved;     /* the layers' saved rows, one layer after the other; NULL without gradients */
    real *context;   /* (C, T) */
    real *scratch;   /* shared by the layers */
    real *d;         /* (D, T): the gradient of the current state */
    real *d_context; /* (C, T); NULL where it is not wanted */
    real *log_det;   /* (T) */
    real *d_log_det; /* (T) */
    real *base;      /* (T): log p(z) */
    real *d_params;  /* of one block of the parameters, from this tile alone */
    size_t n_states;
} tile_rows;

/* Whether tiles go back, too. */
static bool wants_gradient(const nvp_pass *pass) {
    return pass->grad_in || pass->grad_context || pass->grad_params || (pass->exchange && pass->nll_gradient);
}

static size_t n_states(const nvp_flow *flow, bool gradient) { return gradient ? flow->n_layers + 1 : 2; }

/* bytes = those of n numbers, in whole cache lines; false: overflow. */
static bool round_up(size_t n, size_t size, size_t *bytes) {
    *bytes = NVP_LINE - 1;
    if (!nvp_add_product(n, size, bytes))
        return false;
    *bytes -= *bytes % NVP_LINE;
    return true;
}

/* The bytes of a worker's rows; false: overflow. */
static bool measure_rows(const nvp_flow *flow, bool gradient, size_t tile, size_t *bytes) {
    size_t n_rows = 3, numbers = 0;
    if (!nvp_add_product(n_states(flow, gradient), flow->dim, &n_rows) ||
        !nvp_add(n_rows, flow->context_dim, &n_rows) || !nvp_add(n_rows, flow->scratch_rows, &n_rows))
        return false;
    if (gradient && (!nvp_add(n_rows, flow->saved_rows, &n_rows) || !nvp_add(n_rows, flow->dim, &n_rows) ||
                     !nvp_add(n_rows, flow->context_dim, &n_rows) || !nvp_add(numbers, flow->largest_layer, &numbers)))
        return false;
    return nvp_add_product(n_rows, tile, &numbers) && round_up(numbers, sizeof(real), bytes);
}

/* An exchange in the workspace: the turns, then so many sums of gradients, which become the first of exchange->grads,
 * then each worker's rows, for passes of at most n samples. */
static nvp_status lay_out_exchange(nvp_exchange *exchange, const nvp_flow *flow, nvp_workspace *workspace,
                                   nvp_team *team, size_t n, bool gradient, size_t n_grads) {
    enum { ALL = NVP_BUFFERS * NVP_HALVES };
    size_t turns, grad, bytes = 0;
    if (!measure_rows(flow, gradient, largest_tile(flow, n), &exchange->rows_size) ||
        !round_up(n_blocks(flow) + 1, sizeof(atomic_size_t), &turns) ||
        !round_up(flow->n_params, sizeof(real), &grad) || !nvp_add_product(ALL, turns, &bytes) ||
        !nvp_add_product(n_grads, grad, &bytes) || !nvp_add_product(nvp_team_size(team), exchange->rows_size, &bytes))
        return NVP_ERROR_SIZE;
    char *block = nvp_workspace_reserve(workspace, bytes);
    if (!block)
        return NVP_ERROR_MEMORY;
    exchange->team = team;
    exchange->alternates = false;
    exchange->rows = block + ALL * turns + n_grads * grad;
    for (size_t i = 0; i < ALL; i++) {
        const size_t buffer = i / NVP_HALVES, half = i % NVP_HALVES;
        exchange->turns[buffer][half] = (atomic_size_t *)(void *)(block + i * turns);
        exchange->grads[buffer][half] = i < n_grads ? block + ALL * turns + i * grad : NULL;
    }
    atomic_init(&exchange->stopped, SIZE_MAX);
    for (size_t half = 0; half < NVP_HALVES; half++)
        reset_half(exchange, flow, 0, half);
    return NVP_OK;
}

static tile_rows worker_rows(const share *s) {
    const nvp_pass *pass = s->pass;
    const nvp_flow *flow = pass->flow;
    const bool gradient = wants_gradient(pass);
    const size_t tile = s->tile;
    tile_rows rows = {.n_states = n_states(flow, gradient), .params = pass->params};
    rows.log_det = (real *)(void *)(s->exchange->rows + s->worker * s->exchange->rows_size);
    rows.d_log_det = rows.log_det + tile;
    rows.base = rows.d_log_det + tile;
    rows.states = rows.base + tile;
    rows.context = rows.states + rows.n_states * flow->dim * tile;
    rows.scratch = rows.context + flow->context_dim * tile;
    if (gradient) {
        rows.d = rows.scratch + flow->scratch_rows * tile;
        real *d_context = rows.d + flow->dim * tile;
        rows.d_context = pass->grad_context ? d_context : NULL;
        rows.saved = d_context + flow->context_dim * tile;
        rows.d_params = rows.saved + flow->saved_rows * tile;
    }
    return rows;
}

static size_t source_row(const nvp_pass *pass, size_t sample) { return pass->rows ? pass->rows[sample] : sample; }

/* rows (dim, T) = samples (count, dim), and back; where dim is a constant the compiler shuffles vectors. */
INLINE void samples_to_rows(size_t dim, size_t count, const real *restrict samples, real *restrict rows, size_t tile) {
    for (size_t d = 0; d < dim; d++)
        for (size_t t = 0; t < count; t++)
            rows[d * tile + t] = samples[t * dim + d];
}

INLINE void rows_to_samples(size_t dim, size_t count, const real *restrict rows, real *restrict samples, size_t tile) {
    for (size_t t = 0; t < count; t++)
        for (size_t d = 0; d < dim; d++)
            samples[t * dim + d] = rows[d * tile + t];
}

/* rows (dim, T) = samples first, ..., first + count - 1 of `from` (., dim). */
static void load_tile(const nvp_pass *pass, size_t dim, const real *from, size_t first, size_t count, real *rows,
                      size_t tile) {
    if (pass->rows)
        for (size_t t = 0; t < count; t++)
            for (size_t d = 0; d < dim; d++)
                rows[d * tile + t] = from[source_row(pass, first + t) * dim + d];
    else if (dim == 2)
        samples_to_rows(2, count, from + 2 * first, rows, tile);
    else
        samples_to_rows(dim, count, from + dim * first, rows, tile);
    fill_lanes(dim, count, rows, tile);
}

static void store_tile(size_t dim, const real *rows, size_t first, size_t count, real *to, size_t tile) {
    if (dim == 2)
        rows_to_samples(2, count, rows, to + 2 * first, tile);
    else
        rows_to_samples(dim, count, rows, to + dim * first, tile);
}

/* rows (D, T) += scale * normal draws, or just the draws where scale is NULL. Draw q of the stream belongs to dimension
 * q % D of sample q / D; the tile begins with sample `first`. */
static void add_normals(const nvp_pass *pass, nvp_stream stream, uint64_t first, const real *scale, size_t count,
                        real *rows, size_t tile) {
    const size_t dim = pass->flow->dim;
    uint64_t q = first * dim;
    normal_lanes normals;
    draw_normals(pass->seed, stream, q / PER_BLOCK, &normals);
    for (size_t t = 0; t < count; t++)
        for (size_t d = 0; d < dim; d++, q++) {
            const real draw = normal_number(pass->seed, stream, q, &normals);
            rows[d * tile + t] = scale ? rows[d * tile + t] + scale[d] * draw : draw;
        }
    fill_lanes(dim, count, rows, tile);
}

/* log N(z; 0, I), T of them. */
static void normal_log_prob(size_t dim, const real *z, real *log_prob, size_t tile) {
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

static mixture mixture_of(const nvp_pass *pass, const tile_rows *rows) {
    return base_mixture(pass->flow, rows->params + pass->flow->base.offset);
}

/* rows->base = log p(z). */
static void base_log_prob(const nvp_pass *pass, const tile_rows *rows, const real *z, size_t tile) {
    if (pass->flow->base.n_components) {
        const mixture base = mixture_of(pass, rows);
        mixture_log_prob(&base, z, rows->base, rows->scratch, tile);
    } else {
        normal_log_prob(pass->flow->dim, z, rows->base, tile);
    }
}

/* Draws from the base density, of sample `first` and those behind it. */
static void sample_base(const nvp_pass *pass, const tile_rows *rows, size_t first, size_t count, size_t tile) {
    add_normals(pass, NVP_STREAM_SAMPLE, first, NULL, count, rows->states, tile);
    if (pass->flow->base.n_components) {
        const mixture base = mixture_of(pass, rows);
        mixture_sample(&base, pass->seed, first, count, rows->states, rows->scratch, tile);
    }
}

/* What step k of the pass reads and writes: forward passes through layer k, inverse ones through layer L - 1 - k. */
static layer_pass step(const nvp_pass *pass, const tile_rows *rows, size_t k, size_t tile) {
    const nvp_flow *flow = pass->flow;
    const nvp_layer *layer = &flow->layers[pass->inverse ? flow->n_layers - 1 - k : k];
    const size_t state = flow->dim * tile;
    return (layer_pass){
        .layer = layer,
        .params = rows->params + layer->offset,
        .inverse = pass->inverse,
        .in = rows->states + k % rows->n_states * state,
        .out = rows->states + (k + 1) % rows->n_states * state,
        .context = rows->context,
        .d_context = rows->d_context,
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

/* How much a sample counts beside others, whose mean is 1. */
static double relative_weight(const nvp_pass *pass, size_t sample) {
    return pass->weight ? pass->weight[source_row(pass, sample)] / pass->mean_weight : 1;
}

/* A sample of weight 0 is absent, whatever it is: infinity times 0 would be NaN. On the way back another of the tile
 * stands in for it, or zeros. */
static void replace_absent(const nvp_pass *pass, const tile_rows *rows, size_t first, size_t count, size_t tile) {
    const size_t dim = pass->flow->dim, context_dim = pass->flow->context_dim;
    size_t present = 0;
    while (present < count && relative_weight(pass, first + present) == 0)
        present++;
    for (size_t t = 0; t < count; t++) {
        if (relative_weight(pass, first + t) > 0)
            continue;
        for (size_t d = 0; d < dim; d++)
            rows->states[d * tile + t] = present < count ? rows->states[d * tile + present] : 0;
        for (size_t d = 0; d < context_dim; d++)
            rows->context[d * tile + t] = present < count ? rows->context[d * tile + present] : 0;
    }
    fill_lanes(dim, count, rows->states, tile);
    fill_lanes(context_dim, count, rows->context, tile);
}

/* rows->base = log p(x) = log p(z) + log|det dz/dx|, whichever way x and z were reached. Returns how many are NaN. */
static size_t add_log_det(const nvp_pass *pass, const tile_rows *rows, size_t count, size_t tile) {
    size_t n_nan = 0;
    for (size_t t = 0; t < tile; t += LANES) {
        const vreal log_det = load(rows->log_det + t);
        store(rows->base + t, load(rows->base + t) + (pass->inverse ? log_det : -log_det));
    }
    for (size_t t = 0; t < count; t++)
        n_nan += isnan(rows->base[t]) != 0;
    return n_nan;
}

static bool all_finite(const real *numbers, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite(numbers[i]))
            return false;
    return true;
}

static bool has_nan(const real *numbers, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (isnan(numbers[i]))
            return true;
    return false;
}

/* A NaN that did not come in, with the sample, its context or the parameters, is infinity less infinity: the sample or
 * its z is too far away to have a density. */
static void mend_log_prob(const nvp_pass *pass, const tile_rows *rows, size_t first, size_t count) {
    const size_t dim = pass->flow->dim, context_dim = pass->flow->context_dim;
    const real *x = pass->inverse ? pass->in : pass->out, *context = pass->context;
    if (!all_finite(rows->params, pass->flow->n_params))
        return;
    for (size_t t = 0; t < count; t++) {
        const size_t row = source_row(pass, first + t);
        if (isnan(rows->base[t]) && !has_nan(x + row * dim, dim) &&
            (context_dim == 0 || all_finite(context + row * context_dim, context_dim)))
            rows->base[t] = -(real)INFINITY;
    }
}

/* The log-densities of a tile, from those of the base. Returns their weighted sum. */
static double finish_log_prob(const nvp_pass *pass, const tile_rows *rows, size_t first, size_t count, size_t tile) {
    double sum = 0;
    if (add_log_det(pass, rows, count, tile))
        mend_log_prob(pass, rows, first, count);
    if (pass->log_prob)
        memcpy((real *)pass->log_prob + first, rows->base, count * sizeof(real));
    for (size_t t = 0; pass->sum_log_prob && t < count; t++) {
        const double weight = relative_weight(pass, first + t);
        sum += weight > 0 ? weight * (double)rows->base[t] : 0;
    }
    return sum;
}

/* The way back through a mixture. */
static void run_base_back(const share *s, const tile_rows *rows, const real *z, size_t k, size_t tile) {
    const nvp_flow *flow = s->pass->flow;
    const nvp_base *base = &flow->base;
    const mixture density = mixture_of(s->pass, rows);
    real *d_params = begin_gradient(s, k, base->offset, base->n_params, rows->d_params);
    mixture_vjp(&density, z, rows->d_log_det, rows->d, d_params, rows->scratch, tile);
    if (d_params)
        add_gradient_in_turn(s, k, flow->n_layers, base->offset, base->n_params, d_params);
}

/* The gradients of the mean NLL: d/d(log det) = d/d(log p(z)) = -w / n; for N(0, I) then d/dz = w z / n. */
static void seed_nll_gradient(const share *s, const tile_rows *rows, const real *z, size_t k, size_t count,
                              size_t tile) {
    const nvp_pass *pass = s->pass;
    for (size_t t = 0; t < tile; t++)
        rows->d_log_det[t] = t < count ? -(real)(relative_weight(pass, k * s->tile + t) / (double)pass->n) : 0;
    if (pass->flow->base.n_components) {
        run_base_back(s, rows, z, k, tile);
        return;
    }
    for (size_t d = 0; d < pass->flow->dim; d++)
        for (size_t t = 0; t < tile; t += LANES)
            store(rows->d + d * tile + t, load(z + d * tile + t) * -load(rows->d_log_det + t));
}

/* The gradients that the caller gave. */
static void load_gradient(const nvp_pass *pass, const tile_rows *rows, size_t first, size_t count, size_t tile) {
    const real *d_log_det = pass->grad_log_det;
    for (size_t t = 0; t < tile; t++)
        rows->d_log_det[t] = t < count && d_log_det ? d_log_det[first + t] : 0;
    if (pass->grad_out)
        load_tile(pass, pass->flow->dim, pass->grad_out, first, count, rows->d, tile);
    else
        clear_rows(rows->d, pass->flow->dim, tile);
}

/* The incoming gradients of one tile, zero in the lanes that no sample fills. */
static void seed_gradient(const share *s, const tile_rows *rows, const real *last, size_t k, size_t count,
                          size_t tile) {
    const nvp_pass *pass = s->pass;
    if (pass->nll_gradient)
        seed_nll_gradient(s, rows, last, k, count, tile);
    else
        load_gradient(pass, rows, k * s->tile, count, tile);
    for (size_t d = 0; d < pass->flow->dim; d++)
        memset(rows->d + d * tile + count, 0, (tile - count) * sizeof(real));
    if (rows->d_context)
        clear_rows(rows->d_context, pass->flow->context_dim, tile);
}

/* Tile k back through all layers. */
static void run_tile_back(const share *s, const tile_rows *rows, size_t k, size_t tile) {
    const nvp_flow *flow = s->pass->flow;
    for (size_t i = flow->n_layers; i-- > 0;) {
        const layer_pass pass = step(s->pass, rows, i, tile);
        const nvp_layer *layer = pass.layer;
        real *d_params = begin_gradient(s, k, layer->offset, layer->n_params, rows->d_params);
        claim_next(s, k, layer->offset, layer->n_params);
        layer_types[layer->type].vjp(&pass, rows->d_log_det, rows->d, d_params);
        if (d_params)
            add_gradient_in_turn(s, k, (size_t)(layer - flow->layers), layer->offset, layer->n_params, d_params);
    }
}

static void run_tile(const share *s, const tile_rows *rows, size_t k) {
    const nvp_pass *pass = s->pass;
    const nvp_flow *flow = pass->flow;
    const size_t first = k * s->tile, left = pass->n - first;
    const size_t count = left < s->tile ? left : s->tile, tile = padded(count);
    if (pass->draws)
        sample_base(pass, rows, first, count, tile);
    else
        load_tile(pass, flow->dim, pass->in, first, count, rows->states, tile);
    if (pass->noise)
        add_normals(pass, NVP_STREAM_NOISE, pass->noise_from + first, pass->noise, count, rows->states, tile);
    if (flow->context_dim)
        load_tile(pass, flow->context_dim, pass->context, first, count, rows->context, tile);
    if (pass->weight && wants_gradient(pass))
        replace_absent(pass, rows, first, count, tile);

    const bool wants_log_prob = pass->log_prob || pass->sum_log_prob;
    if (wants_log_prob && !pass->inverse) /* now: the layers may overwrite z */
        base_log_prob(pass, rows, rows->states, tile);
    const real *last = apply_layers(pass, rows, first, count, tile);
    if (wants_log_prob && pass->inverse)
        base_log_prob(pass, rows, last, tile);
    if (pass->out)
        store_tile(flow->dim, last, first, count, pass->out, tile);
    if (pass->log_det)
        memcpy((real *)pass->log_det + first, rows->log_det, count * sizeof(real));
    if (wants_log_prob) {
        const double sum = finish_log_prob(pass, rows, first, count, tile);
        if (pass->sum_log_prob)
            add_log_prob_in_turn(s, k, sum);
    }
    if (!wants_gradient(pass))
        return;
    seed_gradient(s, rows, last, k, count, tile);
    run_tile_back(s, rows, k, tile);
    if (pass->grad_in)
        store_tile(flow->dim, rows->d, first, count, pass->grad_in, tile);
    if (rows->d_context)
        store_tile(flow->context_dim, rows->d_context, first, count, pass->grad_context, tile);
}

/* The worker's tiles. */
static void run_tiles(const share *s) {
    const tile_rows rows = worker_rows(s);
    size_t k;
    for (bool dealt = deal_tile(s, &k); dealt || take_tile(s, &k); dealt = false) {
        run_tile(s, &rows, k);
        /* The calling thread alone may ask, and does so between tiles, where it owes nobody anything. */
        if (s->worker == 0 && tiles_are_left(s) && !stopped(s) && nvp_interrupted(s->pass->workspace))
            stop(s);
    }
}

static nvp_status why_stopped(const share *s) {
    return nvp_team_is_lost(s->exchange->team) ? NVP_ERROR_FORKED : NVP_INTERRUPTED;
}

/* A pass that each worker of a team runs by itself. */
static nvp_status run_own_share(nvp_pass *pass) {
    const share s = share_of(pass, pass->exchange, pass->worker);
    reset_next(&s);
    if (s.worker == 0 && (pass->stop || nvp_interrupted(pass->workspace)))
        stop(&s);
    run_tiles(&s);
    nvp_team_meet(pass->exchange->team, pass->worker);
    if (stopped(&s))
        return why_stopped(&s);
    fetch_other_half(&s);
    pass->log_prob_sum = sum_of_log_prob(&s);
    pass->grads[0] = s.grads[0];
    pass->grads[1] = s.counts[1] ? s.grads[1] : NULL;
    return NVP_OK;
}

/* What each worker of the team does in an ordinary pass. */
static void run_share(void *context, size_t worker) {
    share s = *(const share *)context;
    s.worker = worker;
    run_tiles(&s);
}

/* The gradient, from its two sums; that of the first half is in the caller's array. */
static void add_halves(const share *s) {
    const nvp_pass *pass = s->pass;
    const nvp_flow *flow = pass->flow;
    const size_t n = pass->nll_gradient ? flow->n_params : flow->base.offset; /* others have none through the base */
    if (!pass->grad_params)
        return;
    if (s->counts[1])
        for (size_t i = 0; i < n; i++)
            s->grads[0][i] += s->grads[1][i];
    memset(s->grads[0] + n, 0, (flow->n_params - n) * sizeof(real));
}

static nvp_status run_pass(nvp_pass *pass) {
    const nvp_flow *flow = pass->flow;
    pass->log_prob_sum = 0;
    if (pass->n == 0) {
        if (pass->grad_params)
            memset(pass->grad_params, 0, flow->n_params * sizeof(real));
        return NVP_OK;
    }
    if (pass->exchange)
        return run_own_share(pass);
    /* One tile needs no team. */
    const bool one_tile = nvp_count_tiles(flow, pass->n) == 1;
    nvp_exchange exchange;
    const nvp_status status =
        lay_out_exchange(&exchange, flow, pass->workspace, one_tile ? NULL : pass->workspace->team, pass->n,
                         wants_gradient(pass), pass->grad_params && !one_tile);
    if (status != NVP_OK)
        return status;
    exchange.grads[0][1] = exchange.grads[0][0];
    exchange.grads[0][0] = pass->grad_params;
    share s = share_of(pass, &exchange, 0);
    nvp_team_run(exchange.team, run_share, &s);
    if (stopped(&s))
        return why_stopped(&s);
    if (pass->sum_log_prob)
        pass->log_prob_sum = sum_of_log_prob(&s);
    add_halves(&s);
    return NVP_OK;
}

static nvp_status open_exchange(nvp_exchange *exchange, const nvp_flow *flow, nvp_workspace *workspace, size_t n,
                                bool alternate) {
    const size_t n_grads = NVP_HALVES * (alternate ? NVP_BUFFERS : 1);
    const nvp_status status = lay_out_exchange(exchange, flow, workspace, workspace->team, n, true, n_grads);
    exchange->alternates = alternate;
    if (status == NVP_OK && !alternate)
        memcpy(exchange->grads[1], exchange->grads[0], sizeof exchange->grads[0]);
    return status;
}
