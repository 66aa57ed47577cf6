/* The tiles of a pass, dealt out to the workers of a team, and the sums over them.
 *
 * A sum over all tiles is that over the first half of them plus that over the second, each taken in the order of the
 * tiles, so that it does not depend on the number of workers: whoever has a tile waits for its turn with each sum. Two
 * workers with a half each never wait. A tile that was taken is always finished, so every turn comes. */

/* A worker's share in a pass. Every worker divides the tiles for itself. */
typedef struct {
    nvp_pass *pass;
    nvp_exchange *exchange;
    size_t worker;
    size_t tile;               /* T */
    size_t first[NVP_HALVES];  /* tile of each half, */
    size_t counts[NVP_HALVES]; /* and how many it has; the second may have none */
    /* What the workers have in common in this pass: */
    nvp_half *halves;
    atomic_size_t *const *turns;
    real *grads[NVP_HALVES];
} share;

/* The tiles of n samples or fewer are not larger. */
static size_t largest_tile(const nvp_flow *flow, size_t n) { return padded(n < flow->tile ? n : flow->tile); }

static share share_of(nvp_pass *pass, nvp_exchange *exchange, size_t worker) {
    const size_t tile = nvp_tile_size(pass->flow, pass->n), n_tiles = nvp_count_tiles(pass->flow, pass->n);
    const size_t buffer = pass->number % NVP_BUFFERS;
    return (share){.pass = pass,
                   .exchange = exchange,
                   .worker = worker,
                   .tile = tile,
                   .first = {0, n_tiles - n_tiles / 2},
                   .counts = {n_tiles - n_tiles / 2, n_tiles / 2},
                   .halves = exchange->halves[buffer],
                   .turns = exchange->turns[buffer],
                   .grads = {exchange->grads[buffer][0], exchange->grads[buffer][1]}};
}

/* The calling thread's is the second, which is not the larger one. */
static size_t own_half(size_t worker) { return (worker + 1) % NVP_HALVES; }

/* Every worker's first tile is dealt to it. */
static bool deal_tile(const share *s, size_t *k) {
    const size_t half = own_half(s->worker), place = s->worker / NVP_HALVES;
    *k = s->first[half] + place;
    return place < s->counts[half];
}

static size_t n_dealt(const nvp_exchange *exchange, size_t half) {
    return (nvp_team_size(exchange->team) + half) / NVP_HALVES;
}

/* The gradient comes in blocks, one for each layer, and then the base's. */
static size_t n_blocks(const nvp_flow *flow) { return flow->n_layers + 1; }

/* As a half is before a pass. */
static void reset_half(nvp_exchange *exchange, const nvp_flow *flow, size_t buffer, size_t half) {
    atomic_store_explicit(&exchange->halves[buffer][half].next, n_dealt(exchange, half), memory_order_relaxed);
    for (size_t block = 0; exchange->team && block <= n_blocks(flow); block++)
        atomic_store_explicit(&exchange->turns[buffer][half][block], 0, memory_order_relaxed);
}

/* The other buffer has been left by all, and is made ready for the next pass by those who have most to do with it. */
static void reset_next(const share *s) {
    const size_t next = (s->pass->number + 1) % NVP_BUFFERS;
    if (s->worker < NVP_HALVES)
        reset_half(s->exchange, s->pass->flow, next, own_half(s->worker));
    if (!s->exchange->team)
        reset_half(s->exchange, s->pass->flow, next, own_half(s->worker + 1));
}

/* Whether the pass is not to be finished. */
static bool stopped(const share *s) {
    return atomic_load_explicit(&s->exchange->stopped, memory_order_relaxed) <= s->pass->number;
}

static void stop(const share *s) {
    atomic_store_explicit(&s->exchange->stopped, s->pass->number, memory_order_relaxed);
}

/* Whether the half has tiles that nobody has taken. Mostly all are dealt, and nothing has to be looked at. */
static bool has_tiles(const share *s, size_t half) {
    return s->counts[half] > n_dealt(s->exchange, half) && atomic_load(&s->halves[half].next) < s->counts[half];
}

static bool tiles_are_left(const share *s) { return has_tiles(s, 0) || has_tiles(s, 1); }

/* Take a tile, of the worker's own half if there is one left. */
static bool take_tile(const share *s, size_t *k) {
    for (size_t i = 0; i < NVP_HALVES && !stopped(s); i++) {
        const size_t half = own_half(s->worker + i);
        if (has_tiles(s, half)) { /* looking is cheaper than taking */
            const size_t place = atomic_fetch_add(&s->halves[half].next, 1);
            *k = s->first[half] + place;
            if (place < s->counts[half])
                return true;
        }
    }
    return false;
}

static size_t half_of(const share *s, size_t k) { return k >= s->first[1]; }

/* A sum over a half goes from tile to tile; the last one passes it on to nobody. */
static void wait_for_turn(const share *s, atomic_size_t *turn, size_t place) {
    if (s->exchange->team && place > 0)
        nvp_team_wait(s->exchange->team, turn, place);
}

static void pass_turn(const share *s, atomic_size_t *turn, size_t half, size_t place) {
    if (s->exchange->team && place + 1 < s->counts[half])
        nvp_team_set(s->exchange->team, turn, place + 1);
}

/* The half's sum += term, when it is the turn of tile k. */
static void add_log_prob_in_turn(const share *s, size_t k, double term) {
    const size_t half = half_of(s, k), place = k - s->first[half];
    atomic_size_t *turn = &s->turns[half][n_blocks(s->pass->flow)];
    double *sum = &s->halves[half].log_prob_sum;
    wait_for_turn(s, turn, place);
    *sum = place ? *sum + term : term;
    pass_turn(s, turn, half, place);
}

static double sum_of_log_prob(const share *s) {
    return s->halves[0].log_prob_sum + (s->counts[1] ? s->halves[1].log_prob_sum : 0);
}

/* Zeros, to which the gradient of a block from tile k is added: the first tile of a half begins the half's sum, the
 * others have memory of their worker's. NULL: it is not wanted. */
static real *begin_gradient(const share *s, size_t k, size_t offset, size_t n, real *own) {
    const size_t half = half_of(s, k);
    if (!s->grads[half])
        return NULL;
    real *d_params = k == s->first[half] ? s->grads[half] + offset : own;
    memset(d_params, 0, n * sizeof *d_params);
    return d_params;
}

/* The half's gradient of a block += d_params, when it is the turn of tile k. */
static void add_gradient_in_turn(const share *s, size_t k, size_t block, size_t offset, size_t n,
                                 const real *d_params) {
    const size_t half = half_of(s, k), place = k - s->first[half];
    atomic_size_t *turn = &s->turns[half][block];
    real *sum = s->grads[half] + offset;
    wait_for_turn(s, turn, place);
    if (d_params != sum)
        for (size_t i = 0; i < n; i++)
            sum[i] += d_params[i];
    pass_turn(s, turn, half, place);
}

/* A line of another worker's cache takes long to come; asked for at once, and before they are needed, they come
 * together. Inline, for gcc leaves out calls of functions that do nothing else. */
INLINE void prefetch(size_t bytes, const void *from, bool to_write) {
#if defined(__GNUC__) || defined(__clang__)
    for (size_t at = 0; at < bytes; at += NVP_LINE)
        if (to_write) /* the builtin wants a constant */
            __builtin_prefetch((const char *)from + at, 1);
        else
            __builtin_prefetch((const char *)from + at, 0);
#else
    (void)bytes, (void)from, (void)to_write;
#endif
}

/* Whether every worker reads the sums of both halves, into a step of its own. */
static bool all_read(const share *s) { return s->exchange->team && s->exchange->alternates; }

/* While the first tile of a half is at a block of the gradient, it claims the sum's next one, which others have read:
 * a stretch of this block's size. At the first block, this one, too. */
INLINE void claim_next(const share *s, size_t k, size_t offset, size_t n) {
    const size_t half = half_of(s, k);
    if (all_read(s) && k == s->first[half] && offset + 2 * n <= s->pass->flow->n_params)
        prefetch((offset ? 1 : 2) * n * sizeof(real), s->grads[half] + (offset ? offset + n : 0), true);
}

/* When all have met. Earlier, some of it would be taken away from the worker who is still at it. */
INLINE void fetch_other_half(const share *s) {
    if (all_read(s) && s->pass->nll_gradient)
        prefetch(s->pass->flow->n_params * sizeof(real), s->grads[1 - own_half(s->worker)], false);
}
