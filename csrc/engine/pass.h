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

enum { ALIGNMENT = 64, HALVES = 2 };

/* Half of the tiles of a pass, and the sums over them. */
typedef struct {
    char apart[ALIGNMENT]; /* from the other half's cache lines */
    size_t begin, end;     /* its tiles */
    atomic_size_t next;    /* the tile that nobody has taken yet */
    atomic_size_t *turns;  /* for each block of the gradient, and last for log_prob, the tile whose turn it is */
    real *grad;            /* NULL: not wanted */
    double log_prob_sum;
} tile_half;

/* Where things are in the workspace, in bytes: for each half its turns, then sums over halves, then each worker's rows.
 */
typedef struct {
    size_t turns, grad, rows; /* each */
    size_t n_grads;
} block_sizes;

/* The tiles of a pass, taken one by one by the workers of a team. A sum over all tiles is that over the first half of
 * them plus that over the second, each taken in the order of the tiles, so that it does not depend on the number of
 * workers: whoever has a tile waits for its turn with each sum. Two workers with a half each never wait. A tile that
 * was taken is always finished, so every turn comes. */
typedef struct {
    nvp_pass *pass;
    nvp_team *team; /* that has the tiles; NULL: the caller alone */
    char *block;    /* of the workspace */
    block_sizes sizes;
    size_t tile; /* T */
    bool gradient;
    atomic_bool stopped; /* no more tiles are taken: interrupted */
    tile_half halves[HALVES];
} tile_queue;

static size_t n_states(const tile_queue *queue) { return queue->gradient ? queue->pass->flow->n_layers + 1 : 2; }

/* The gradient comes in blocks, one for each layer, and then the base's. */
static size_t n_blocks(const nvp_flow *flow) { return flow->n_layers + 1; }

/* bytes = those of n numbers, in whole cache lines; false: overflow. */
static bool round_up(size_t n, size_t size, size_t *bytes) {
    *bytes = ALIGNMENT - 1;
    if (!nvp_add_product(n, size, bytes))
        return false;
    *bytes -= *bytes % ALIGNMENT;
    return true;
}

/* The sizes, and the bytes of all; false: overflow. */
static bool measure(tile_queue *queue, size_t n_tiles, size_t *total) {
    const nvp_pass *pass = queue->pass;
    const nvp_flow *flow = pass->flow;
    block_sizes *sizes = &queue->sizes;
    size_t n_rows = 3, numbers = 0;
    if (!nvp_add_product(n_states(queue), flow->dim, &n_rows) || !nvp_add(n_rows, flow->context_dim, &n_rows) ||
        !nvp_add(n_rows, flow->scratch_rows, &n_rows))
        return false;
    if (queue->gradient &&
        (!nvp_add(n_rows, flow->saved_rows, &n_rows) || !nvp_add(n_rows, flow->dim, &n_rows) ||
         !nvp_add(n_rows, flow->context_dim, &n_rows) || !nvp_add(numbers, flow->largest_layer, &numbers)))
        return false;
    sizes->n_grads = pass->then ? HALVES : pass->grad_params && n_tiles > 1 ? HALVES - 1 : 0;
    *total = 0;
    return nvp_add_product(n_rows, queue->tile, &numbers) && round_up(numbers, sizeof(real), &sizes->rows) &&
           round_up(n_blocks(flow) + 1, sizeof(atomic_size_t), &sizes->turns) &&
           round_up(flow->n_params, sizeof(real), &sizes->grad) && nvp_add_product(HALVES, sizes->turns, total) &&
           nvp_add_product(sizes->n_grads, sizes->grad, total) &&
           nvp_add_product(nvp_team_size(queue->team), sizes->rows, total);
}

static tile_rows worker_rows(const tile_queue *queue, size_t worker) {
    const nvp_pass *pass = queue->pass;
    const nvp_flow *flow = pass->flow;
    const block_sizes *sizes = &queue->sizes;
    const size_t tile = queue->tile, before = HALVES * sizes->turns + sizes->n_grads * sizes->grad;
    tile_rows rows = {.n_states = n_states(queue), .params = pass->params};
    if (worker && pass->copies)
        rows.params = (const real *)(const void *)((const char *)pass->copies + (worker - 1) * pass->copy_size);
    rows.log_det = (real *)(void *)(queue->block + before + worker * sizes->rows);
    rows.d_log_det = rows.log_det + tile;
    rows.base = rows.d_log_det + tile;
    rows.states = rows.base + tile;
    rows.context = rows.states + rows.n_states * flow->dim * tile;
    rows.scratch = rows.context + flow->context_dim * tile;
    if (queue->gradient) {
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

/* A line of another worker's cache takes long to come; asked for at once, and before they are needed, they come
 * together. Inline, for gcc leaves out calls of functions that do nothing else. To read them: */
INLINE void fetch(size_t bytes, const void *from) {
#if defined(__GNUC__) || defined(__clang__)
    enum { MOST = 256 * 1024 };
    for (size_t at = 0; at < bytes && at < MOST; at += ALIGNMENT)
        __builtin_prefetch((const char *)from + at, 0);
#else
    (void)bytes, (void)from;
#endif
}

/* To write them: */
INLINE void claim(size_t bytes, const void *from) {
#if defined(__GNUC__) || defined(__clang__)
    for (size_t at = 0; at < bytes; at += ALIGNMENT)
        __builtin_prefetch((const char *)from + at, 1);
#else
    (void)bytes, (void)from;
#endif
}

static tile_half *half_of(tile_queue *queue, size_t k) { return &queue->halves[k >= queue->halves[1].begin]; }

/* The half's sum += term, when it is the turn of tile k. */
static void add_log_prob_in_turn(tile_queue *queue, size_t k, double term) {
    tile_half *half = half_of(queue, k);
    atomic_size_t *turn = &half->turns[n_blocks(queue->pass->flow)];
    nvp_wait_for(turn, k);
    half->log_prob_sum += term;
    atomic_store_explicit(turn, k + 1, memory_order_release);
}

/* Zeros, to which the gradient of a block from tile k is added: the first tile of a half begins the half's sum. NULL:
 * it is not wanted. */
static real *begin_gradient(tile_queue *queue, const tile_rows *rows, size_t k, size_t offset, size_t n) {
    const tile_half *half = half_of(queue, k);
    if (!half->grad)
        return NULL;
    real *d_params = k == half->begin ? half->grad + offset : rows->d_params;
    memset(d_params, 0, n * sizeof *d_params);
    return d_params;
}

/* The half's gradient of a block += d_params, when it is the turn of tile k. */
static void add_gradient_in_turn(tile_queue *queue, size_t k, size_t block, size_t offset, size_t n,
                                 const real *d_params) {
    tile_half *half = half_of(queue, k);
    if (k > half->begin) {
        real *sum = half->grad + offset;
        nvp_wait_for(&half->turns[block], k);
        for (size_t i = 0; i < n; i++)
            sum[i] += d_params[i];
    }
    atomic_store_explicit(&half->turns[block], k + 1, memory_order_release);
}

/* Workers with copies read the sums of both halves. While this one is at a block, it asks for the next block of its own
 * sum, which the others have read, and for the one before the last of the other sum, which is mostly finished by then:
 * stretches of this block's size before and behind it. */
INLINE void exchange_early(tile_queue *queue, size_t k, size_t offset, size_t n) {
    const tile_half *own = half_of(queue, k), *other = &queue->halves[own == queue->halves];
    if (k == own->begin && offset + 2 * n <= queue->pass->flow->n_params)
        claim(n * sizeof(real), own->grad + offset + n);
    if (offset >= 2 * n)
        fetch(n * sizeof(real), other->grad + offset - 2 * n);
}

/* The way back through a mixture. */
static void run_base_back(tile_queue *queue, const tile_rows *rows, const real *z, size_t k, size_t tile) {
    const nvp_flow *flow = queue->pass->flow;
    const nvp_base *base = &flow->base;
    const mixture mixture = mixture_of(queue->pass, rows);
    real *d_params = begin_gradient(queue, rows, k, base->offset, base->n_params);
    mixture_vjp(&mixture, z, rows->d_log_det, rows->d, d_params, rows->scratch, tile);
    add_gradient_in_turn(queue, k, flow->n_layers, base->offset, base->n_params, d_params);
}

/* The gradients of the mean NLL: d/d(log det) = d/d(log p(z)) = -w / n; for N(0, I) then d/dz = w z / n. */
static void seed_nll_gradient(tile_queue *queue, const tile_rows *rows, const real *z, size_t k, size_t count,
                              size_t tile) {
    const nvp_pass *pass = queue->pass;
    for (size_t t = 0; t < tile; t++)
        rows->d_log_det[t] = t < count ? -(real)(relative_weight(pass, k * queue->tile + t) / (double)pass->n) : 0;
    if (pass->flow->base.n_components) {
        run_base_back(queue, rows, z, k, tile);
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
static void seed_gradient(tile_queue *queue, const tile_rows *rows, const real *last, size_t k, size_t count,
                          size_t tile) {
    const nvp_pass *pass = queue->pass;
    if (pass->nll_gradient)
        seed_nll_gradient(queue, rows, last, k, count, tile);
    else
        load_gradient(pass, rows, k * queue->tile, count, tile);
    for (size_t d = 0; d < pass->flow->dim; d++)
        memset(rows->d + d * tile + count, 0, (tile - count) * sizeof(real));
    if (rows->d_context)
        clear_rows(rows->d_context, pass->flow->context_dim, tile);
}

/* Tile k back through all layers. */
static void run_tile_back(tile_queue *queue, const tile_rows *rows, size_t k, size_t tile) {
    const nvp_flow *flow = queue->pass->flow;
    for (size_t i = flow->n_layers; i-- > 0;) {
        const layer_pass pass = step(queue->pass, rows, i, tile);
        const nvp_layer *layer = pass.layer;
        real *d_params = begin_gradient(queue, rows, k, layer->offset, layer->n_params);
        if (queue->pass->copies)
            exchange_early(queue, k, layer->offset, layer->n_params);
        layer_types[layer->type].vjp(&pass, rows->d_log_det, rows->d, d_params);
        if (d_params)
            add_gradient_in_turn(queue, k, (size_t)(layer - flow->layers), layer->offset, layer->n_params, d_params);
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
        sample_base(pass, rows, first, count, tile);
    if (pass->noise)
        add_normals(pass, NVP_STREAM_NOISE, pass->noise_from + first, pass->noise, count, rows->states, tile);
    if (flow->context_dim)
        load_tile(pass, flow->context_dim, pass->context, first, count, rows->context, tile);

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
        const double sum = finish_log_prob(pass, rows, first, count);
        if (pass->sum_log_prob)
            add_log_prob_in_turn(queue, k, sum);
    }
    if (!queue->gradient)
        return;
    seed_gradient(queue, rows, last, k, count, tile);
    run_tile_back(queue, rows, k, tile);
    if (pass->grad_in)
        store_tile(flow->dim, rows->d, first, count, pass->grad_in, tile);
    if (rows->d_context)
        store_tile(flow->context_dim, rows->d_context, first, count, pass->grad_context, tile);
}

/* The calling thread's is the second, which is not the larger one. */
static tile_half *own_half(tile_queue *queue, size_t worker) { return &queue->halves[(worker + 1) % HALVES]; }

/* A worker's first tile is dealt to it. */
static size_t dealt_tile(tile_queue *queue, size_t worker) { return own_half(queue, worker)->begin + worker / HALVES; }

static size_t n_dealt(const tile_queue *queue, size_t half) { return (nvp_team_size(queue->team) + half) / HALVES; }

/* Take a tile, of the worker's own half if there is one left. */
static bool take_tile(tile_queue *queue, size_t worker, size_t *k) {
    for (size_t i = 0; i < HALVES && !atomic_load(&queue->stopped); i++) {
        tile_half *half = own_half(queue, worker + i);
        if (atomic_load(&half->next) < half->end) { /* looking is cheaper than taking */
            *k = atomic_fetch_add(&half->next, 1);
            if (*k < half->end)
                return true;
        }
    }
    return false;
}

static bool tiles_are_left(tile_queue *queue) {
    for (size_t i = 0; i < HALVES; i++)
        if (atomic_load(&queue->halves[i].next) < queue->halves[i].end)
            return true;
    return false;
}

/* When all tiles are done. */
static void go_on(tile_queue *queue, size_t worker) {
    const tile_half *first = &queue->halves[0], *second = &queue->halves[1];
    nvp_team_meet(queue->team, worker);
    if (atomic_load(&queue->stopped))
        return;
    const nvp_sums sums = {.team = queue->team,
                           .log_prob_sum = first->log_prob_sum + second->log_prob_sum,
                           .grad = {first->grad, second->begin < second->end ? second->grad : NULL}};
    queue->pass->then(queue->pass->then_context, worker, &sums);
}

/* What each worker of the team does. */
static void run_tiles(void *context, size_t worker) {
    tile_queue *queue = context;
    const nvp_pass *pass = queue->pass;
    const tile_rows rows = worker_rows(queue, worker);
    if (worker && !pass->copies)
        fetch(pass->flow->n_params * sizeof(real), rows.params);
    size_t k = dealt_tile(queue, worker);
    bool taken = k < own_half(queue, worker)->end;
    while (taken || take_tile(queue, worker, &k)) {
        run_tile(queue, &rows, k);
        taken = false;
        /* The calling thread alone may ask, and does so between tiles. */
        if (worker == 0 && tiles_are_left(queue) && nvp_interrupted(pass->workspace))
            atomic_store(&queue->stopped, true);
    }
    if (pass->then)
        go_on(queue, worker);
}

static void begin_half(tile_queue *queue, size_t i, size_t begin, size_t end) {
    const nvp_pass *pass = queue->pass;
    tile_half *half = &queue->halves[i];
    half->begin = begin, half->end = end;
    atomic_init(&half->next, begin + n_dealt(queue, i));
    half->turns = (atomic_size_t *)(void *)(queue->block + i * queue->sizes.turns);
    for (size_t block = 0; block <= n_blocks(pass->flow); block++)
        atomic_init(&half->turns[block], begin);
    half->log_prob_sum = 0;
    /* Without `then` the first half's gradient becomes the caller's. */
    char *grads = queue->block + HALVES * queue->sizes.turns;
    if (pass->then)
        half->grad = (real *)(void *)(grads + i * queue->sizes.grad);
    else if (pass->grad_params)
        half->grad = i ? (real *)(void *)grads : pass->grad_params;
}

/* The sums over all tiles, where the caller wants them. */
static void add_halves(tile_queue *queue) {
    nvp_pass *pass = queue->pass;
    const tile_half *first = &queue->halves[0], *second = &queue->halves[1];
    const nvp_base *base = &pass->flow->base;
    const size_t n = pass->nll_gradient ? pass->flow->n_params : base->offset; /* others have none through the base */
    pass->log_prob_sum = first->log_prob_sum + second->log_prob_sum;
    if (!pass->grad_params)
        return;
    if (second->begin < second->end)
        for (size_t i = 0; i < n; i++)
            first->grad[i] += second->grad[i];
    memset(first->grad + n, 0, (pass->flow->n_params - n) * sizeof(real));
}

static nvp_status run_pass(nvp_pass *pass) {
    const nvp_flow *flow = pass->flow;
    tile_queue queue = {.pass = pass};
    queue.gradient = pass->grad_in || pass->grad_context || pass->grad_params || pass->then;
    pass->log_prob_sum = 0;
    if (pass->n == 0) {
        if (pass->grad_params)
            memset(pass->grad_params, 0, flow->n_params * sizeof(real));
        return NVP_OK;
    }
    /* As few tiles as can be, and all of about one size: no worker waits for one who has more to do. */
    const size_t n_tiles = (pass->n - 1) / flow->tile + 1;
    queue.tile = padded((pass->n - 1) / n_tiles + 1);
    /* One tile needs no team. */
    queue.team = n_tiles > 1 || pass->together ? pass->workspace->team : NULL;
    atomic_init(&queue.stopped, false);
    size_t bytes;
    if (!measure(&queue, n_tiles, &bytes))
        return NVP_ERROR_SIZE;
    queue.block = nvp_workspace_reserve(pass->workspace, bytes);
    if (!queue.block)
        return NVP_ERROR_MEMORY;
    const size_t middle = n_tiles - n_tiles / 2;
    begin_half(&queue, 0, 0, middle);
    begin_half(&queue, 1, middle, n_tiles);
    nvp_team_run(queue.team, run_tiles, &queue);
    if (atomic_load(&queue.stopped))
        return NVP_INTERRUPTED;
    add_halves(&queue);
    return NVP_OK;
}
