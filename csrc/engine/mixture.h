/* The base density where it is a mixture of K normal distributions:
 *
 *   p(z) = sum over k of softmax(logits)_k N(z; mean_k, (P_k^T P_k)^-1)
 *
 *   log N(z; mean, (P^T P)^-1) = sum of log diag P - |P (z - mean)|^2 / 2 - D/2 log(2 pi)
 *
 * with P, a Cholesky factor of the precision, lower triangular, and a diagonal that is the exponential of its
 * parameters. These are K logits, the means (K, D), and for each component the triangle row after row, D (D + 1) / 2
 * numbers. */

#define LARGEST ((real)(NVP_PRECISION == 32 ? FLT_MAX : DBL_MAX))

typedef struct {
    size_t dim, n_components, triangle; /* triangle: the numbers of one */
    const real *logits, *means, *factors;
} mixture;

static mixture base_mixture(const nvp_flow *flow, const real *params) {
    const size_t dim = flow->dim, n = flow->base.n_components;
    return (mixture){.dim = dim,
                     .n_components = n,
                     .triangle = dim * (dim + 1) / 2,
                     .logits = params,
                     .means = params + n,
                     .factors = params + n + n * dim};
}

static bool plan_base(nvp_flow *flow) {
    size_t square, numbers = 1; /* numbers: of each component */
    nvp_base *base = &flow->base;
    base->n_params = base->scratch_rows = 0;
    if (base->n_components == 0)
        return true;
    base->scratch_rows = base->n_components;
    return nvp_add(flow->dim, 1, &square) && nvp_multiply(square, flow->dim, &square) &&
           nvp_add(numbers, flow->dim, &numbers) && nvp_add(numbers, square / 2, &numbers) &&
           nvp_multiply(base->n_components, numbers, &base->n_params) &&
           nvp_add_product(2, flow->dim, &base->scratch_rows);
}

/* Equal weights, means drawn from N(0, I), and identities. */
static void initialize_base(const nvp_flow *flow, uint64_t seed, real *params) {
    const size_t n_means = flow->base.n_components * flow->dim;
    normal_lanes normals;
    if (n_means == 0)
        return;
    memset(params, 0, flow->base.n_params * sizeof *params);
    draw_normals(seed, NVP_STREAM_MEANS, 0, &normals);
    for (size_t i = 0; i < n_means; i++)
        params[flow->base.n_components + i] = normal_number(seed, NVP_STREAM_MEANS, i, &normals);
}

/* Row i of the lower triangle of component k; its last number is the logarithm of the diagonal's. */
static const real *factor_row(const mixture *m, size_t k, size_t i) {
    return m->factors + k * m->triangle + i * (i + 1) / 2;
}

/* log sum exp of the logits. */
static double log_total(const mixture *m) {
    double largest = (double)m->logits[0], sum = 0;
    for (size_t k = 1; k < m->n_components; k++)
        largest = (double)m->logits[k] > largest ? (double)m->logits[k] : largest;
    for (size_t k = 0; k < m->n_components; k++)
        sum += exp((double)m->logits[k] - largest);
    return largest + log(sum);
}

/* NaN where a parameter of the component is not finite, which may put it infinitely far from all points. */
static double log_determinant(const mixture *m, size_t k) {
    double sum = 0, numbers = 0;
    for (size_t i = 0; i < m->dim; i++)
        sum += (double)factor_row(m, k, i)[i];
    for (size_t i = 0; i < m->dim; i++)
        numbers += (double)m->means[k * m->dim + i];
    for (size_t i = 0; i < m->triangle; i++)
        numbers += (double)m->factors[k * m->triangle + i];
    return sum + 0 * numbers;
}

/* Sums over the samples from which a component's gradient follows, in the places of the gradient. */
typedef struct {
    real *w, *v, *products; /* 1, D, and a lower triangle */
} component_sums;

/* log N from |u|^2. A square that is too large for a number, or that overflowed on the way, infinity less infinity, is
 * that of a point too far away. */
INLINE vreal log_density(real constant, vreal square) {
    const vreal far = splat((real)INFINITY);
    return constant - blend(less(square, far), (real)0.5 * square, far);
}

/* -- one component: in rows of the tile -- */

/* offset (D, T) = z - mean. */
static void subtract_mean(const mixture *m, size_t k, const real *z, real *offset, size_t tile) {
    for (size_t i = 0; i < m->dim; i++)
        for (size_t t = 0; t < tile; t += LANES)
            store(offset + i * tile + t, load(z + i * tile + t) - m->means[k * m->dim + i]);
}

/* u (D, T) = P offset. */
static void whiten(const mixture *m, size_t k, const real *offset, real *u, size_t tile) {
    for (size_t i = 0; i < m->dim; i++) {
        const real *row = factor_row(m, k, i);
        const real scale = scalar_exp(row[i]);
        for (size_t t = 0; t < tile; t += LANES)
            store(u + i * tile + t, load(offset + i * tile + t) * scale);
        multiply(1, i, row, 0, 1, NULL, offset, u + i * tile, tile, false);
    }
}

/* joint (T) = constant - |P (z - mean)|^2 / 2. */
static void wide_log_prob(const mixture *m, size_t k, real constant, const real *z, real *joint, real *scratch,
                          size_t tile) {
    real *offset = scratch, *u = offset + m->dim * tile;
    subtract_mean(m, k, z, offset, tile);
    whiten(m, k, offset, u, tile);
    for (size_t t = 0; t < tile; t += LANES) {
        vreal sum = splat(0);
        for (size_t i = 0; i < m->dim; i++)
            sum += load(u + i * tile + t) * load(u + i * tile + t);
        store(joint + t, log_density(constant, sum));
    }
}

/* d (D, T) += P^T v. */
static void add_transposed_product(const mixture *m, size_t k, const real *v, real *d, size_t tile) {
    for (size_t i = 0; i < m->dim; i++) {
        const real *row = factor_row(m, k, i);
        const real scale = scalar_exp(row[i]);
        multiply(i, 1, row, 1, 0, NULL, v + i * tile, d, tile, false);
        for (size_t t = 0; t < tile; t += LANES)
            store(d + i * tile + t, load(d + i * tile + t) + load(v + i * tile + t) * scale);
    }
}

/* With v = -w P (z - mean): d (D, T) += P^T v, and to the sums are added those of w, of v, and of v (z - mean)^T. */
static void wide_vjp(const mixture *m, size_t k, const real *z, const real *w, real *d, component_sums sums,
                     real *scratch, size_t tile) {
    real *offset = scratch, *v = offset + m->dim * tile;
    subtract_mean(m, k, z, offset, tile);
    whiten(m, k, offset, v, tile);
    for (size_t i = 0; i < m->dim; i++)
        for (size_t t = 0; t < tile; t += LANES)
            store(v + i * tile + t, -load(w + t) * load(v + i * tile + t));
    add_transposed_product(m, k, v, d, tile);
    row_sums(1, w, sums.w, tile);
    row_sums(m->dim, v, sums.v, tile);
    for (size_t i = 0; i < m->dim; i++)
        weight_gradient(1, i + 1, v + i * tile, offset, sums.products + i * (i + 1) / 2, i + 1, tile);
}

/* -- the same in registers, for few dimensions, which the compiler has as a constant -- */

enum { NARROW = 4, NARROW_TRIANGLE = NARROW * (NARROW + 1) / 2 };

typedef struct {
    vreal mean[NARROW], factor[NARROW_TRIANGLE];
} narrow_component;

INLINE narrow_component load_component(size_t dim, const mixture *m, size_t k) {
    narrow_component c;
    UNROLLED (i, dim) {
        const real *row = factor_row(m, k, i);
        c.mean[i] = splat(m->means[k * dim + i]);
        UNROLLED (j, i)
            c.factor[i * (i + 1) / 2 + j] = splat(row[j]);
        c.factor[i * (i + 1) / 2 + i] = vexp(splat(row[i]));
    }
    return c;
}

/* offset = z - mean and u = P offset, of LANES samples from t on. */
INLINE void whiten_lanes(size_t dim, const narrow_component *c, const real *z, vreal *offset, vreal *u, size_t tile) {
    UNROLLED (i, dim)
        offset[i] = load(z + i * tile) - c->mean[i];
    UNROLLED (i, dim) {
        u[i] = c->factor[i * (i + 1) / 2] * offset[0];
        UNROLLED (j, i)
            u[i] += c->factor[i * (i + 1) / 2 + 1 + j] * offset[1 + j];
    }
}

INLINE void narrow_log_prob(size_t dim, const mixture *m, size_t k, real constant, const real *z, real *joint,
                            size_t tile) {
    const narrow_component c = load_component(dim, m, k);
    for (size_t t = 0; t < tile; t += LANES) {
        vreal offset[NARROW], u[NARROW], sum = splat(0);
        whiten_lanes(dim, &c, z + t, offset, u, tile);
        UNROLLED (i, dim)
            sum += u[i] * u[i];
        store(joint + t, log_density(constant, sum));
    }
}

INLINE void narrow_vjp(size_t dim, const mixture *m, size_t k, const real *z, const real *w, real *d,
                       component_sums sums, size_t tile) {
    const narrow_component c = load_component(dim, m, k);
    vreal sum_w = splat(0), sum_v[NARROW] = {0}, products[NARROW_TRIANGLE] = {0};
    for (size_t t = 0; t < tile; t += LANES) {
        const vreal weight = load(w + t);
        vreal offset[NARROW], v[NARROW];
        whiten_lanes(dim, &c, z + t, offset, v, tile);
        sum_w += weight;
        UNROLLED (i, dim) {
            v[i] *= -weight;
            sum_v[i] += v[i];
            UNROLLED (j, i + 1)
                products[i * (i + 1) / 2 + j] += v[i] * offset[j];
        }
        UNROLLED (j, dim) {
            vreal gradient = load(d + j * tile + t);
            UNROLLED (i, dim - j)
                gradient += c.factor[(j + i) * (j + i + 1) / 2 + j] * v[j + i];
            store(d + j * tile + t, gradient);
        }
    }
    *sums.w += sum_lanes(sum_w);
    add_sums_of_lanes(dim, sum_v, sums.v);
    add_sums_of_lanes(dim * (dim + 1) / 2, products, sums.products);
}

/* -- all components -- */

static void component_log_prob(const mixture *m, size_t k, real constant, const real *z, real *joint, real *scratch,
                               size_t tile) {
    switch (m->dim) {
    case 1:
        narrow_log_prob(1, m, k, constant, z, joint, tile);
        break;
    case 2:
        narrow_log_prob(2, m, k, constant, z, joint, tile);
        break;
    case 3:
        narrow_log_prob(3, m, k, constant, z, joint, tile);
        break;
    case NARROW:
        narrow_log_prob(NARROW, m, k, constant, z, joint, tile);
        break;
    default:
        wide_log_prob(m, k, constant, z, joint, scratch, tile);
    }
}

static void component_vjp(const mixture *m, size_t k, const real *z, const real *w, real *d, component_sums sums,
                          real *scratch, size_t tile) {
    switch (m->dim) {
    case 1:
        narrow_vjp(1, m, k, z, w, d, sums, tile);
        break;
    case 2:
        narrow_vjp(2, m, k, z, w, d, sums, tile);
        break;
    case 3:
        narrow_vjp(3, m, k, z, w, d, sums, tile);
        break;
    case NARROW:
        narrow_vjp(NARROW, m, k, z, w, d, sums, tile);
        break;
    default:
        wide_vjp(m, k, z, w, d, sums, scratch, tile);
    }
}

/* Which samples have no NaN. */
static vmask are_numbers(size_t dim, const real *z, size_t tile) {
    const vreal zero = splat(0), one = splat(1);
    vmask numbers = less(zero, one);
    for (size_t i = 0; i < dim; i++)
        numbers &= less(load(z + i * tile), one) | less(zero, load(z + i * tile));
    return numbers;
}

/* log p(z), T of them. scratch: rows of the base; the first K keep each component's share of p(z). */
static void mixture_log_prob(const mixture *m, const real *z, real *log_prob, real *scratch, size_t tile) {
    const size_t n = m->n_components;
    const double offset = -log_total(m) - 0.9189385332046727418 * (double)m->dim; /* D/2 log(2 pi) */
    for (size_t k = 0; k < n; k++) {
        const real constant = (real)((double)m->logits[k] + log_determinant(m, k) + offset);
        component_log_prob(m, k, constant, z, scratch + k * tile, scratch + n * tile, tile);
    }
    for (size_t t = 0; t < tile; t += LANES) {
        real *joint = scratch + t;
        vreal largest = load(joint), sum = splat(0);
        for (size_t k = 1; k < n; k++)
            largest = larger(largest, load(joint + k * tile));
        const vreal shift = larger(largest, splat(-LARGEST)); /* a number, also where no component has a density */
        for (size_t k = 0; k < n; k++) {
            const vreal power = vexp(load(joint + k * tile) - shift);
            sum += power;
            store(joint + k * tile, power);
        }
        sum = larger(splat(1), sum); /* less than 1 there alone */
        const vmask numbers = are_numbers(m->dim, z + t, tile) & less(sum, splat(LARGEST));
        store(log_prob + t, blend(numbers, largest + vlog(sum), splat((real)NAN)));
        const vreal factor = (real)1 / sum;
        for (size_t k = 0; k < n; k++)
            store(joint + k * tile, load(joint + k * tile) * factor);
    }
}

/* The gradient of component k from its sums, in place. */
static void finish_gradient(const mixture *m, size_t k, component_sums sums) {
    for (size_t i = 0; i < m->dim; i++) {
        const real scale = scalar_exp(factor_row(m, k, i)[i]);
        real sum = scale * sums.v[i];
        for (size_t j = i + 1; j < m->dim; j++)
            sum += factor_row(m, k, j)[i] * sums.v[j];
        sums.v[i] = -sum;
        real *diagonal = &sums.products[i * (i + 1) / 2 + i];
        *diagonal = *diagonal * scale + *sums.w;
    }
}

/* After mixture_log_prob, whose scratch this is: d (D, T) becomes the gradient of z where d_log_prob (T) is that of
 * log_prob; d_params, zeros, that of the parameters. With u = P (z - mean) and w = d_log_prob times the component's
 * share of p(z) they are, summed over components or samples,
 *
 *   z       -w P^T u                     mean    w P^T u
 *   logits  w - softmax * d_log_prob     P      -w u (z - mean)^T, and w / P on the diagonal */
static void mixture_vjp(const mixture *m, const real *z, const real *d_log_prob, real *d, real *d_params, real *scratch,
                        size_t tile) {
    const size_t n = m->n_components;
    const double log_sum = log_total(m);
    real total = 0;
    clear_rows(d, m->dim, tile);
    row_sums(1, d_log_prob, &total, tile);
    for (size_t k = 0; k < n; k++) {
        const component_sums sums = {d_params + k, d_params + n + k * m->dim,
                                     d_params + n + n * m->dim + k * m->triangle};
        real *w = scratch + k * tile;
        for (size_t t = 0; t < tile; t += LANES)
            store(w + t, load(w + t) * load(d_log_prob + t));
        component_vjp(m, k, z, w, d, sums, scratch + n * tile, tile);
        finish_gradient(m, k, sums);
        *sums.w -= (real)exp((double)m->logits[k] - log_sum) * total;
    }
}

/* The component of each of `count` samples, by one uniform number for each: the first at which the sum of the weights
 * is larger. Samples are taken in blocks, and the weights computed once for each block. */
static void choose_components(const mixture *m, uint64_t seed, uint64_t first, size_t count, real *chosen) {
    enum { BLOCK_OF_SAMPLES = 64 };
    const double log_sum = log_total(m);
    double left[BLOCK_OF_SAMPLES]; /* of the uniform number */
    for (size_t done = 0; done < count; done += BLOCK_OF_SAMPLES) {
        const size_t n = count - done < BLOCK_OF_SAMPLES ? count - done : BLOCK_OF_SAMPLES;
        for (size_t t = 0; t < n; t++) {
            double uniform[2];
            nvp_uniform_pair(seed, NVP_STREAM_COMPONENT, first + done + t, uniform);
            left[t] = uniform[0];
            chosen[done + t] = (real)(m->n_components - 1);
        }
        for (size_t k = 0; k + 1 < m->n_components; k++) {
            const double weight = exp((double)m->logits[k] - log_sum);
            for (size_t t = 0; t < n; t++) {
                if (left[t] >= 0 && left[t] < weight)
                    chosen[done + t] = (real)k;
                left[t] -= weight;
            }
        }
    }
}

/* z (D, T), draws from N(0, I), become draws from the mixture, mean + P^-1 z of the component that is chosen. Sample t
 * of the tile is number first + t of all. */
static void mixture_sample(const mixture *m, uint64_t seed, uint64_t first, size_t count, real *z, real *scratch,
                           size_t tile) {
    real *chosen = scratch, *normals = chosen + m->n_components * tile, *y = normals + m->dim * tile;
    choose_components(m, seed, first, count, chosen);
    fill_lanes(1, count, chosen, tile);
    memcpy(normals, z, m->dim * tile * sizeof *z);
    for (size_t k = 0; k < m->n_components; k++)
        for (size_t i = 0; i < m->dim; i++) { /* y_i = (normals_i - sum over j < i of P_ij y_j) / P_ii */
            const real *row = factor_row(m, k, i), scale = scalar_exp(-row[i]), mean = m->means[k * m->dim + i];
            for (size_t t = 0; t < tile; t += LANES)
                store(y + i * tile + t, -load(normals + i * tile + t));
            multiply(1, i, row, 0, 1, NULL, y, y + i * tile, tile, false);
            for (size_t t = 0; t < tile; t += LANES) {
                const vreal value = load(y + i * tile + t) * -scale, number = splat((real)k);
                const vmask other = less(load(chosen + t), number), more = less(number, load(chosen + t));
                vreal *to = (vreal *)(z + i * tile + t);
                store(y + i * tile + t, value);
                *to = blend(other, *to, blend(more, *to, value + mean));
            }
        }
}
