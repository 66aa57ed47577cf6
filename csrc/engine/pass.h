/* The tile loop: a tile of samples goes through the whole flow, and back where gradients are wanted, before the next
 * one begins. Nothing of the size of the batch exists beside the caller's arrays. */

/* What a worker has for the tile it is at, in the workspace. */
typedef struct {
    real *states;    /* D rows for each state that is kept: all L + 1 for gradients, else two that take turns */
    real *saved;     /* the layers' saved rows, one layer after the other; NULL without gradients */
    real *context;   /* (C, T) */
    real *scratch;   /* shared by the layers */
    real *d;         /* (D, T): the gradient of the current state */
    real *d_context; /* (C, T); NULL where it is not wanted */
    real *log_det;   /* (T) */
    real *d_log_det; /* (T) */
    real *base;      /* (T): log N(z; 0, I) */
    real *d_params;  /* of one layer, from this tile alone */
    size_t n_states;
} tile_rows;

/* The tiles of a pass, taken one by one by the workers of a team. Sums over tiles are taken in the order of the tiles,
 * so that they do not depend on the number of workers: whoever has a tile waits for its turn with each sum. A tile that
 * was taken is always finished, so every turn comes. */
typedef struct {
    nvp_pass *pass;
    char *block; /* of the workspace */
    size_t n_tiles;
    size_t tile; /* T */
    size_t n_dealt; /* the first tiles, one for each worker */
    bool gradient;
    atomic_size_t next;   /* the tile that nobody has taken yet */
    atomic_bool stopped;  /* no more tiles are taken: interrupted */
    atomic_size_t *turns; /* for each layer's gradient, and last for the sum of log_prob, the tile whose turn it is */
} tile_queue;

enum { ALIGNMENT = 64 };

static size_t n_states(const tile_queue *queue) { return queue->gradient ? queue->pass->flow->n_layers + 1 : 2; }

/* Bytes for the turns, and for the rows of one worker; false: overflow. */
static bool measure(const tile_queue *queue, size_t *turns, size_t *rows) {
    const nvp_flow *flow = queue->pass->flow;
    size_t n_rows = 3, numbers = 0;
    if (!nvp_add_product(n_states(queue), flow->dim, &n_rows) || !nvp_add(n_rows, flow->context_dim, &n_rows) ||
        !nvp_add(n_rows, flow->scratch_rows, &n_rows))
        return false;
    if (queue->gradient &&
        (!nvp_add(n_rows, flow->saved_rows, &n_rows) || !nvp_add(n_rows, flow->dim, &n_rows) ||
         !nvp_add(n_rows, flow->context_dim, &n_rows) || !nvp_add(numbers, flow->largest_layer, &numbers)))
        return false;
    *rows = *turns = ALIGNMENT - 1; /* to round up */
    if (!nvp_add_product(n_rows, queue->tile, &numbers) || !nvp_add_product(numbers, sizeof(real), rows) ||
        !nvp_add_product(flow->n_layers + 1, sizeof *queue->turns, turns))
        return false;
    *rows -= *rows % ALIGNMENT;
    *turns -= *turns % ALIGNMENT;
    return true;
}

static tile_rows worker_rows(const tile_queue *queue, size_t worker) {
    const nvp_flow *flow = queue->pass->flow;
    const size_t tile = queue->tile;
    size_t turns = 0, bytes = 0;
    measure(queue, &turns, &bytes);
    tile_rows rows = {.n_states = n_states(queue)};
    rows.log_det = (real *)(void *)(queue->block + turns + worker * bytes);
    rows.d_log_det = rows.log_det + tile;
    rows.base = rows.d_log_det + tile;
    rows.states = rows.base + tile;
    rows.context = rows.states + rows.n_states * flow->dim * tile;
    rows.scratch = rows.context + flow->context_dim * tile;
    if (queue->gradient) {
        rows.d = rows.scratch + flow->scratch_rows * tile;
        real *d_context = rows.d + flow->dim * tile;
        rows.d_context = queue->pass->grad_context ? d_context : NULL;
        rows.saved = d_context + flow->context_dim * tile;
        rows.d_params = rows.saved + flow->saved_rows * tile;
    }
    return rows;
}

static size_t source_row(const nvp_pass *pass, size_t sample) { return pass->rows ? pass->rows[sample] : sample; }

/* The other lanes of rows (D, T) repeat the last one of `count` samples. */
static void fill_lanes(size_t dim, size_t count, real *rows, size_t tile) {
    for (size_t d = 0; d < dim; d++)
        for (size_t t = count; t < tile; t++)
            rows[d * tile + t] = rows[d * tile + count - 1];
}

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

/* log p(x) = log N(z) + log|det dz/dx|, whichever way x and z were reached. Returns the weighted sum over the tile. */
static double finish_log_prob(const nvp_pass *pass, const tile_rows *rows, size_t first, size_t count) {
    double sum = 0;
    for (size_t t = 0; t < count; t++) {
        const real log_prob = pass->inverse ? rows->base[t] + rows->log_det[t] : rows->base[t] - rows->log_det[t];
        if (pass->log_prob)
            ((real *)pass->log_prob)[first + t] = log_prob;
        sum += relative_weight(pass, first + t) * (double)log_prob;
    }
    return sum;
}

/* The gradients of the mean NLL: d/d(log det) = -w / n, d/dz = w z / n. */
static void seed_nll_gradient(const nvp_pass *pass, const tile_rows *rows, const real *z, size_t first, size_t count,
                              size_t tile) {
    for (size_t t = 0; t < tile; t++)
        rows->d_log_det[t] = t < count ? -(real)(relative_weight(pass, first + t) / (double)pass->n) : 0;
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
static void seed_gradient(const nvp_pass *pass, const tile_rows *rows, const real *last, size_t first, size_t count,
                          size_t tile) {
    if (pass->nll_gradient)
        seed_nll_gradient(pass, rows, last, first, count, tile);
    else
        load_gradient(pass, rows, first, count, tile);
    for (size_t d = 0; d < pass->flow->dim; d++)
        memset(rows->d + d * tile + count, 0, (tile - count) * sizeof(real));
    if (rows->d_context)
        clear_rows(rows->d_context, pass->flow->context_dim, tile);
}

/* *sum += term, when it is the turn of tile k. */
static void add_log_prob_in_turn(tile_queue *queue, size_t k, double term) {
    atomic_size_t *turn = &queue->turns[queue->pass->flow->n_layers];
    nvp_wait_for(turn, k);
    queue->pass->log_prob_sum += term;
    atomic_store_explicit(turn, k + 1, memory_order_release);
}

/* The gradient of layer l += d_params, when it is the turn of tile k. */
static void add_gradient_in_turn(tile_queue *queue, size_t k, size_t l, const real *d_params) {
    const nvp_layer *layer = &queue->pass->flow->layers[l];
    real *sum = (real *)queue->pass->grad_params + layer->offset;
    nvp_wait_for(&queue->turns[l], k);
    if (k == 0)
        memcpy(sum, d_params, layer->n_params * sizeof *sum);
    else
        for (size_t i = 0; i < layer->n_params; i++)
            sum[i] += d_params[i];
    atomic_store_explicit(&queue->turns[l], k + 1, memory_order_release);
}

/* Tile k back through all layers. */
static void run_tile_back(tile_queue *queue, const tile_rows *rows, size_t k, size_t tile) {
    const nvp_pass *pass = queue->pass;
    real *d_params = pass->grad_params ? rows->d_params : NULL;
    for (size_t i = pass->flow->n_layers; i-- > 0;) {
        const layer_pass layer = step(pass, rows, i, tile);
        if (d_params)
            memset(d_params, 0, layer.layer->n_params * sizeof *d_params);
        layer_types[layer.layer->type].vjp(&layer, rows->d_log_det, rows->d, d_params);
        if (d_params)
            add_gradient_in_turn(queue, k, (size_t)(layer.layer - pass->flow->layers), d_params);
    }
}

static void run_tile(tile_queue *queue, const tile_rows *rows, size_t k) {
    const nvp_pass *pass = queue->pass;
    const nvp_flow *flow = pass->flow;
    const size_t first = k * queue->tile, left = pass->n - first;
    const size_t count = left < queue->tile ? left : queue->tile, tile = padded(count);
    if (pass->in)
        load_tile(pass, flow->dim, pass->in, first, count, rows->states, tile);
    else
        add_normals(pass, NVP_STREAM_SAMPLE, first, NULL, count, rows->states, tile);
    if (pass->noise)
        add_normals(pass, NVP_STREAM_NOISE, pass->noise_from + first, pass->noise, count, rows->states, tile);
    if (flow->context_dim)
        load_tile(pass, flow->context_dim, pass->context, first, count, rows->context, tile);

    const bool wants_log_prob = pass->log_prob || pass->sum_log_prob;
    if (wants_log_prob && !pass->inverse) /* now: the layers may overwrite z */
        base_log_prob(flow->dim, rows->states, rows->base, tile);
    const real *last = apply_layers(pass, rows, first, count, tile);
    if (wants_log_prob && pass->inverse)
        base_log_prob(flow->dim, last, rows->base, tile);
    if (pass->out)
        store_tile(flow->dim, last, first, count, pass->out, tile);
    if (pass->log_det)
        memcpy((real *)pass->log_det + first, rows->log_det, count * sizeof(real));
    if (wants_log_prob) {
        const double sum = finish_log_prob(pass, rows, first, count);
        if (pass->sum_log_prob)
            add_log_prob_in_turn(queue, k, sum);
    }
    if (!queue->gradient)
        return;
    seed_gradient(pass, rows, last, first, count, tile);
    run_tile_back(queue, rows, k, tile);
    if (pass->grad_in)
        store_tile(flow->dim, rows->d, first, count, pass->grad_in, tile);
    if (rows->d_context)
        store_tile(flow->context_dim, rows->d_context, first, count, pass->grad_context, tile);
}

/* The calling thread has just written the parameters. A helper that fetches them one by one as it needs them waits for
 * each line of the other core's cache; asked for at once they come together. */
static void fetch_parameters(const nvp_pass *pass) {
#if defined(__GNUC__) || defined(__clang__)
    enum { LINE = 64, MOST = 256 * 1024 };
    const size_t bytes = pass->flow->n_params * sizeof(real);
    for (size_t at = 0; at < bytes && at < MOST; at += LINE)
        __builtin_prefetch((const char *)pass->params + at);
#else
    (void)pass;
#endif
}

/* What each worker of the team does. */
static void run_tiles(void *context, size_t worker) {
    tile_queue *queue = context;
    const tile_rows rows = worker_rows(queue, worker);
    if (worker)
        fetch_parameters(queue->pass);
    /* Of the first tiles the calling thread has the last: it adds to the sums last, and has them at hand for the update. */
    size_t k = worker ? worker - 1 : queue->n_dealt - 1;
    if (worker >= queue->n_dealt)
        return;
    while (k < queue->n_tiles) {
        run_tile(queue, &rows, k);
        /* The calling thread alone may ask, and does so between tiles. */
        if (worker == 0 && atomic_load(&queue->next) < queue->n_tiles && nvp_interrupted(queue->pass->workspace))
            atomic_store(&queue->stopped, true);
        if (atomic_load(&queue->stopped))
            return;
        k = atomic_fetch_add(&queue->next, 1);
    }
}

static nvp_status run_pass(nvp_pass *pass) {
    const nvp_flow *flow = pass->flow;
    nvp_team *team = pass->workspace->team;
    tile_queue queue = {.pass = pass, .gradient = pass->grad_in || pass->grad_context || pass->grad_params};
    /* As few tiles as can be, and all of about one size: no worker waits for one who has more to do. */
    queue.n_tiles = pass->n ? (pass->n - 1) / flow->tile + 1 : 0;
    queue.tile = pass->n ? padded((pass->n - 1) / queue.n_tiles + 1) : 0;
    queue.n_dealt = nvp_team_size(team) < queue.n_tiles ? nvp_team_size(team) : queue.n_tiles;
    atomic_init(&queue.next, queue.n_dealt);
    atomic_init(&queue.stopped, false);

    size_t turns, bytes;
    if (!measure(&queue, &turns, &bytes))
        return NVP_ERROR_SIZE;
    size_t total = turns;
    if (!nvp_add_product(nvp_team_size(team), bytes, &total))
        return NVP_ERROR_SIZE;
    queue.block = nvp_workspace_reserve(pass->workspace, total);
    if (!queue.block)
        return NVP_ERROR_MEMORY;
    queue.turns = (atomic_size_t *)(void *)queue.block;
    for (size_t l = 0; l <= flow->n_layers; l++)
        atomic_init(&queue.turns[l], 0);

    pass->log_prob_sum = 0;
    if (queue.n_tiles == 0) {
        if (pass->grad_params)
            memset(pass->grad_params, 0, flow->n_params * sizeof(real));
        return NVP_OK;
    }
    /* One tile needs no team, and where there are two one helper is enough: the others have nothing to do. */
    nvp_team_run(queue.n_tiles > 1 ? team : NULL, run_tiles, &queue);
    return atomic_load(&queue.stopped) ? NVP_INTERRUPTED : NVP_OK;
}
