/* nvpflow: normalizing flows of the Real NVP family, in plain C11.
 *
 * This header is the complete interface of the library. A flow is an immutable description of its layers. Its
 * parameters are one flat buffer that the caller owns. Every compute function takes both, so many threads can share a
 * description, each with its own parameters.
 *
 * Conventions
 *   - Samples are rows: an array of n samples of D dimensions holds n * D numbers in C order.
 *   - A conditional flow has a context of C > 0 numbers for each sample, an array of n * C numbers. Every network reads
 *     it in addition to its columns of the sample, and log p(x) means log p(x | context). If C = 0, pass NULL.
 *   - Buffers are `const void *` or `void *` and hold float or double, according to the dtype of the flow.
 *   - `forward` generates (z -> x, layer 1 first); `inverse` scores (x -> z, layer L first).
 *   - Log-determinants, log-densities and losses are in nats.
 *   - Every function that can fail returns a status. After a failure the outputs are unspecified and the parameters
 *     unchanged, except after an interruption of nvp_train.
 *   - NULL for a required argument is NVP_ERROR_ARGUMENT. Arrays may be NULL in a call for n = 0 samples, and so may
 *     the buffer of a flow without parameters. Functions that return no status require all their arguments.
 *   - Input and output arrays must not overlap.
 *   - Structs that the caller fills in begin with their own size, so that later versions can append fields. Programs
 *     compiled with an older or a newer header keep working. The macro named like the struct sets the size:
 *     `nvp_data data = NVP_DATA(.n = 100, .x = x)`. Other fields are zero; their comments explain what zero means.
 *     NVP_ERROR_ARGUMENT if a size is smaller than in version 0.1, such as 0, or if fields that this library does not
 *     know, from a newer header, are not zero.
 */
#ifndef NVPFLOW_H
#define NVPFLOW_H

#include <stddef.h>
#include <stdint.h>

/* Version of this header; nvp_version() returns that of the library. CMake reads it here, and a test compares it with
 * the version of the Python package. */
#define NVP_VERSION_MAJOR 0
#define NVP_VERSION_MINOR 1
#define NVP_VERSION_PATCH 0
#define NVP_VERSION_NUMBER (NVP_VERSION_MAJOR * 10000 + NVP_VERSION_MINOR * 100 + NVP_VERSION_PATCH)
#define NVP_VERSION NVP_QUOTE(NVP_VERSION_MAJOR) "." NVP_QUOTE(NVP_VERSION_MINOR) "." NVP_QUOTE(NVP_VERSION_PATCH)
#define NVP_QUOTE(number) NVP_QUOTE_TOKEN(number)
#define NVP_QUOTE_TOKEN(token) #token

/* To compile a shared library, define NVP_SHARED and NVP_BUILDING. To use one on Windows, define NVP_SHARED. A static
 * library needs neither. */
#if defined(NVP_SHARED) && defined(_WIN32)
#ifdef NVP_BUILDING
#define NVP_API __declspec(dllexport)
#else
#define NVP_API __declspec(dllimport)
#endif
#elif defined(NVP_SHARED) && defined(NVP_BUILDING) && (defined(__GNUC__) || defined(__clang__))
#define NVP_API __attribute__((visibility("default")))
#else
#define NVP_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    NVP_OK = 0,
    NVP_ERROR_MEMORY,      /* an allocation failed */
    NVP_ERROR_SIZE,        /* a product of sizes does not fit in size_t */
    NVP_ERROR_ARGUMENT,    /* an argument is out of its documented range */
    NVP_ERROR_UNSUPPORTED, /* NVPFLOW_ISA names an instruction set that this machine or build lacks */
    NVP_ERROR_FILE,        /* a file cannot be read or written */
    NVP_ERROR_FORMAT,      /* a file has another format, or is damaged */
    NVP_INTERRUPTED,       /* the poll function or a callback asked to stop */
    NVP_ERROR_FORKED,      /* the poll function or a callback returned in a forked process, which has no threads */
    NVP_ERROR_ENSEMBLE,    /* a file holds an ensemble, where one flow is expected: nvp_ensemble_load reads it */
    NVP_ERROR_CATEGORIES   /* a file holds a model with columns of categories, which C does not compute */
} nvp_status;

/* Version of the library, "major.minor.patch". */
NVP_API const char *nvp_version(void);

/* Message for a status, never NULL. */
NVP_API const char *nvp_status_string(nvp_status status);

typedef enum { NVP_FLOAT32, NVP_FLOAT64 } nvp_dtype;

typedef enum {
    NVP_AFFINE_COUPLING,          /* Dinh, Sohl-Dickstein and Bengio (2017), equations 7 and 8 */
    NVP_ACT_NORM,                 /* x = z * exp(log_scale) + bias; Kingma and Dhariwal (2018), section 3.1 */
    NVP_SPLINE_COUPLING,          /* rational-quadratic splines; Durkan, Bekasov, Murray and Papamakarios (2019) */
    NVP_ADDITIVE_COUPLING,        /* x = z + b; Dinh, Krueger and Bengio (2014) */
    NVP_PERMUTATION,              /* x_i = z_p(i) */
    NVP_LU_LINEAR,                /* x = L U z + b; Kingma and Dhariwal (2018), section 3.2 */
    NVP_BOUNDED,                  /* to intervals and half-lines: x = low + (high - low) Phi(z), and others */
    NVP_CIRCULAR_SPLINE_COUPLING, /* splines on circles beside splines on lines; Rezende, Papamakarios, Racaniere,
                                   * Albergo, Kanwar, Shanahan and Cranmer (2020), section 2.1.2 */
    NVP_N_LAYER_TYPES
} nvp_layer_type;

typedef enum { NVP_RELU, NVP_TANH, NVP_SILU, NVP_N_ACTIVATIONS } nvp_activation;

typedef enum {
    NVP_SCALE_EXP, /* s is the output of its network: the published layer, unbounded */
    NVP_SCALE_TANH /* s = bound * tanh(output / bound) */
} nvp_scale;

enum { NVP_MAX_BINS = 64 };

/* Description of a layer. nvp_flow_create copies it, including the arrays. */
typedef struct {
    size_t size;
    nvp_layer_type type;

    /* For couplings: */
    const unsigned char *mask; /* D entries, 1: identity and input of the networks, 0: transformed */
    const size_t *hidden;      /* widths of the networks' hidden layers, each >= 1 */
    size_t n_hidden;
    nvp_activation activation;

    /* For NVP_AFFINE_COUPLING: */
    nvp_scale scale;
    double scale_bound; /* > 0, for NVP_SCALE_TANH. It and its reciprocal must be normal numbers in the dtype of the
                         * flow, neither subnormal nor infinite. */
    int shared_network; /* 0: s and b have separate networks; otherwise they share one */

    /* For NVP_SPLINE_COUPLING and NVP_CIRCULAR_SPLINE_COUPLING: */
    size_t n_bins;     /* 2 to NVP_MAX_BINS */
    double tail_bound; /* > 0: the splines cover +-tail_bound and are the identity beyond. The network reads identity
                        * columns, but not the context, clamped to this range. Its square must be a normal number in
                        * the dtype of the flow. The splines resolve tail_bound times epsilon of the dtype. */

    /* For NVP_PERMUTATION: */
    const size_t *permutation; /* D entries, each of 0, ..., D - 1 once */

    /* For NVP_BOUNDED, with Phi of N(0, 1), e(z) = -log Phi(-z), S(z) = log(1 + exp(z)):
     *
     *   both bounds finite: x = low + (high - low) Phi(z)
     *     and scale = -s < 0: x = low + s (S(z) - S(z - (high - low) / s))
     *   one bound:          x = low + d(z) or high - d(-z), with d = scale * e if scale > 0, and d = exp if it is 0
     *     and scale = -s < 0: d = s S
     *   no bound:           x = z
     *
     * A uniform, exponential or log-normal column becomes normal. With a negative scale the map is a line, but for a
     * few s next to a bound. Samples outside have no density. */
    const double *bounds; /* D pairs low < high, -INFINITY and INFINITY for open ends. Finite bounds and their distance
                           * must be finite in the dtype of the flow, and different there. */
    const double *scales; /* D numbers, finite. If negative, s and (high - low) / s must be normal in the dtype of the
                           * flow. */
    const double *edges;  /* D numbers > 0, normal in the dtype of the flow and at most half of high - low: a value that
                           * equals a bound has the density of the point at this distance from it. */

    /* For NVP_CIRCULAR_SPLINE_COUPLING: */
    const double *periods; /* D numbers: 0 for a column of real numbers, or the period P of a column of angles, whose
                            * outputs are in [-P/2, P/2). Any other number stands for that angle. The square of a period
                            * must be a normal number in the dtype of the flow. The network reads the cosine and the
                            * sine of an angle. */
} nvp_layer_config;
#define NVP_LAYER_CONFIG(...) {.size = sizeof(nvp_layer_config), __VA_ARGS__}

typedef enum {
    NVP_STANDARD_NORMAL,     /* N(0, I) */
    NVP_MIXTURE,             /* normal distributions; Izmailov, Kirichenko, Finzi and Wilson (2020), section 3 */
    NVP_CONDITIONAL_MIXTURE, /* a mixture of context and z together, given the context, C >= 1: Sung (2004), "Gaussian
                              * mixture regression and classification" */
    NVP_CIRCULAR,            /* uniform on the circle of each column of angles, N(0, 1) in the others */
    NVP_STUDENT_T,           /* independent columns with heavy tails; Jaini, Kobyzev, Yu and Brubaker (2020), "Tails of
                              * Lipschitz triangular flows" */
    NVP_N_BASE_KINDS
} nvp_base_kind;

/* Description of the base density. */
typedef struct {
    size_t size;
    nvp_base_kind kind;

    /* For NVP_MIXTURE and NVP_CONDITIONAL_MIXTURE: */
    size_t n_components; /* >= 1 */

    /* For NVP_CONDITIONAL_MIXTURE: the last columns of the context that are indicators of categories, 0 to C of them.
     * They multiply the weight of component k by exp(W_k s), where W (K, n_indicators) are its last parameters: a table
     * of probabilities if one of the indicators of each variable is 1; Hunt and Jorgensen (1999), "Mixture model
     * clustering using the MULTIMIX program". The columns before them, and z, are the normal distributions'. */
    size_t n_indicators;

    /* For NVP_CIRCULAR: */
    const double *periods; /* D numbers, as in nvp_layer_config */
} nvp_base_config;
#define NVP_BASE_CONFIG(...) {.size = sizeof(nvp_base_config), __VA_ARGS__}

typedef struct nvp_flow nvp_flow;

/* Create a flow of n_layers >= 1 layers over dim >= 1 dimensions, with context_dim >= 0 columns of context and a base
 * density. NULL for `base` is N(0, I). The field `size` of all layers must be the same. */
NVP_API nvp_status nvp_flow_create(nvp_flow **flow, nvp_dtype dtype, size_t dim, size_t context_dim,
                                   const nvp_base_config *base, size_t n_layers, const nvp_layer_config *layers);
NVP_API void nvp_flow_destroy(nvp_flow *flow); /* does nothing for NULL */

/* Create a flow from n numbers, the form that model files store: the version of this list, 1 to 4; nvp_dtype; D; C; the
 * base; L; and for each layer its nvp_layer_type, followed by its fields of nvp_layer_config, in this order:
 *
 * - couplings: activation, n_hidden, the hidden widths, the mask (D numbers),
 * - then for affine couplings: scale, scale_bound, shared_network,
 * - and for spline couplings: n_bins, tail_bound, and for circular ones the D periods,
 * - permutations: their D entries,
 * - bounded layers: their D pairs of bounds, D scales, D edges.
 *
 * In version 1 the base is N(0, I) and takes no number. In version 2 it is the number of components of a mixture, or 0
 * for N(0, I). In versions 3 and 4 it is its nvp_base_kind, followed by its fields of nvp_base_config:
 *
 * - mixture and conditional mixture: n_components,
 * - conditional mixture, from version 4 on: n_indicators,
 * - circular base: its D periods,
 * - Student's t: none.
 *
 * NVP_ERROR_ARGUMENT or NVP_ERROR_SIZE if the numbers do not describe a flow. They need not be trusted: the memory used
 * is bounded by a multiple of theirs. */
NVP_API nvp_status nvp_flow_decode(nvp_flow **flow, size_t n, const double *numbers);

/* Encode a flow as such numbers, in the lowest version that can represent it. Release *numbers with nvp_free. After a
 * failure it is NULL. */
NVP_API nvp_status nvp_flow_encode(const nvp_flow *flow, size_t *n, double **numbers);

/* Read a flow and its parameters from an .npz file of up to 4 GiB, written by nvp_flow_save or by `save` of the Python
 * package, which stores a flow or an estimator with one; NVP_ERROR_ENSEMBLE if it holds several flows. Only the members
 * "description", the numbers above, and "parameters" are read. Release *flow with nvp_flow_destroy and *params with
 * nvp_free. After a failure both are NULL.
 *
 * The content need not be trusted. Every size is checked before use, checksums are compared, and parameters must be
 * finite; otherwise NVP_ERROR_FORMAT. The memory used is bounded by a multiple of the size of the file. */
NVP_API nvp_status nvp_flow_load(const char *path, nvp_flow **flow, void **params);
NVP_API nvp_status nvp_flow_load_bytes(const void *bytes, size_t n, nvp_flow **flow,
                                       void **params); /* from a file in memory */

/* Write a flow and its parameters, which must be finite, to an .npz file. nvp_flow_load reads it, and so does
 * `nvpflow.load` in Python, as a Flow. NVP_ERROR_SIZE if the file would exceed 4 GiB.
 *
 * Writing is atomic: the new file is written to the same directory and replaces the old one once it is on the disk. It
 * has the mode of the old one and, where permitted, its owner. Symbolic links are followed and stay. A pipe or a device
 * is written to directly. After a failure the old file is unchanged, and no temporary file is left. */
NVP_API nvp_status nvp_flow_save(const char *path, const nvp_flow *flow, const void *params);
NVP_API nvp_status nvp_flow_save_bytes(const nvp_flow *flow, const void *params, void **bytes,
                                       size_t *n); /* release *bytes with nvp_free */

/* Release memory that the library has allocated for the caller. On Windows, free() may belong to another C library. */
NVP_API void nvp_free(void *memory); /* does nothing for NULL */

NVP_API size_t nvp_flow_dim(const nvp_flow *flow);
NVP_API size_t nvp_flow_context_dim(const nvp_flow *flow);
NVP_API size_t nvp_flow_n_layers(const nvp_flow *flow);
NVP_API nvp_base_kind nvp_flow_base_kind(const nvp_flow *flow);
NVP_API size_t nvp_flow_n_components(const nvp_flow *flow); /* of a mixture of either kind, 0 for others */
NVP_API nvp_dtype nvp_flow_dtype(const nvp_flow *flow);
NVP_API const char *nvp_flow_isa(const nvp_flow *flow); /* "avx512", "avx2", "neon" or "baseline" */

/* Length of the parameter buffer, and the offset of a layer's parameters in it.
 *
 * A coupling with I identity and T transformed columns holds its networks. A network holds for each linear map the
 * weight (outputs x inputs, C order), then the bias. The first map has I + C inputs, the context last; the buffer has
 * no weights that the mask makes irrelevant. An affine coupling has an s network and then a b network, with T outputs
 * each, or one network with 2 T outputs, s before b. An additive coupling has a b network. A spline coupling has one
 * network with K widths, K heights and K - 1 derivatives for each transformed column. A circular spline coupling has
 * the same, but two inputs for each angle, cosine and sine in the place of its column, and three more outputs for each:
 * the derivative at the ends of the circle, and c and s of its rotation, by the angle of the point (1 + c, s).
 *
 * An act norm holds log_scale (D), then bias (D). An LU map holds a matrix (D, D), with L below its diagonal, log diag
 * U on it and U above it, then a bias (D). Permutations and bounded layers have no parameters.
 *
 * The base comes last. A mixture of K normal distributions has K logits of the weights, the means (K, D), and for each
 * component the lower triangle of P, row by row, with log diag P on the diagonal. The precision is P^T P. A conditional
 * mixture has the same for C + D columns, the context before z. Student's t has D numbers q: a
 * column has 1/2 + exp(q) degrees of freedom, at most 1/2 + 10^6. N(0, I) and the circular base have none.
 */
NVP_API size_t nvp_flow_n_parameters(const nvp_flow *flow);
NVP_API size_t nvp_flow_layer_offset(const nvp_flow *flow, size_t layer); /* that of the base for layer >= L */
NVP_API size_t nvp_flow_base_offset(const nvp_flow *flow);

/* Set initial parameters. Linear maps are uniform in +-1/sqrt(fan_in), where fan_in counts all D + C columns, as in
 * torch.nn.Linear for full-shape networks. The last map is multiplied by 0.3, except in couplings with NVP_SCALE_EXP.
 * Act norms and LU maps are the identity. A mixture has equal weights, means from N(0, I), and identities as P;
 * Student's t has 5 degrees of freedom. */
NVP_API void nvp_flow_initialize(const nvp_flow *flow, uint64_t seed, void *params);

/* Scratch memory of the compute functions. It grows as a call needs, and is kept for the next call. A workspace serves
 * one call at a time, so every thread needs its own. */
typedef struct nvp_workspace nvp_workspace;
NVP_API nvp_status nvp_workspace_create(nvp_workspace **workspace);
NVP_API void nvp_workspace_destroy(nvp_workspace *workspace); /* does nothing for NULL */

/* Set the number of threads that a call may use, including the calling one. Default: 1. Threads end with the call and
 * receive no signals of the process. Small calls start none, and the system may provide fewer. The results are the same
 * to the last bit for any number. */
NVP_API void nvp_workspace_set_threads(nvp_workspace *workspace, size_t n_threads);

/* Set a function that long calls call about every 50 ms as `poll(context)`. A non-zero result ends the call with
 * NVP_INTERRUPTED. In a process that `poll` or a callback has forked, a call with threads ends with NVP_ERROR_FORKED,
 * and one without threads continues. */
typedef int (*nvp_poll)(void *context);
NVP_API void nvp_workspace_set_poll(nvp_workspace *workspace, nvp_poll poll, void *context);

/* z (n, D), context (n, C) -> x (n, D) and log|det dx/dz| (n). log_det may be NULL. */
NVP_API nvp_status nvp_forward(const nvp_flow *flow, const void *params, size_t n, const void *z, const void *context,
                               void *x, void *log_det, nvp_workspace *workspace);

/* x (n, D), context (n, C) -> z (n, D) and log|det dz/dx| (n). log_det may be NULL. */
NVP_API nvp_status nvp_inverse(const nvp_flow *flow, const void *params, size_t n, const void *x, const void *context,
                               void *z, void *log_det, nvp_workspace *workspace);

/* x (n, D), context (n, C) -> log p(x) (n) = log p(z) + log|det dz/dx|, with the base density p(z).
 *
 * It is -infinity if x has no density in the range of the dtype: if a coordinate is infinite or outside of the bounds
 * of an NVP_BOUNDED layer, or if z or the determinant overflows. It is NaN only if a coordinate is NaN, or if a number
 * of the context or a parameter is not finite. */
NVP_API nvp_status nvp_log_prob(const nvp_flow *flow, const void *params, size_t n, const void *x, const void *context,
                                void *log_prob, nvp_workspace *workspace);

/* Compute the intermediate states (L + 1, n, D); states[0] is the input. inverse = 0: from z through layers 1, ..., L.
 * Otherwise from x through layers L, ..., 1. */
NVP_API nvp_status nvp_trace(const nvp_flow *flow, const void *params, int inverse, size_t n, const void *in,
                             const void *context, void *states, nvp_workspace *workspace);

/* Draw x (n, D) from the flow, given context (n, C). Sample i depends only on the seed, its context and i. log_prob (n)
 * may be NULL. */
NVP_API nvp_status nvp_sample(const nvp_flow *flow, const void *params, uint64_t seed, size_t n, const void *context,
                              void *x, void *log_prob, nvp_workspace *workspace);

/* An ensemble: the average of the densities of several flows, p(x) = w_1 p_1(x) + ... + w_K p_K(x). Like a flow, it is
 * an immutable description, and its parameters are one buffer that the caller owns: those of the first flow, of the
 * second, and so on. Many threads can share it. */
typedef struct nvp_ensemble nvp_ensemble;

/* Create an ensemble of n_flows >= 1 flows, which it copies. They must agree in dtype, dim and context_dim. The weights
 * (n_flows) are >= 0 and have the sum 1; NULL: all are equal. */
NVP_API nvp_status nvp_ensemble_create(nvp_ensemble **ensemble, size_t n_flows, const nvp_flow *const *flows,
                                       const double *weights);
NVP_API void nvp_ensemble_destroy(nvp_ensemble *ensemble); /* does nothing for NULL */

/* Read an ensemble and its parameters from an .npz file, written by nvp_ensemble_save or by `save` of the Python
 * package, which stores an ensemble or an estimator with one. A file with one flow is read as an ensemble of one. Only
 * the members "descriptions", "weights" and "parameters" are read, or those that nvp_flow_load reads, with its
 * guarantees. "descriptions" has for each flow the length of its numbers, see nvp_flow_decode, and these numbers. */
NVP_API nvp_status nvp_ensemble_load(const char *path, nvp_ensemble **ensemble, void **params);
NVP_API nvp_status nvp_ensemble_load_bytes(const void *bytes, size_t n, nvp_ensemble **ensemble, void **params);

/* Write an ensemble and its parameters, which must be finite, as nvp_flow_save writes a flow. `nvpflow.load` in Python
 * reads the file as a FlowEnsemble. */
NVP_API nvp_status nvp_ensemble_save(const char *path, const nvp_ensemble *ensemble, const void *params);
NVP_API nvp_status nvp_ensemble_save_bytes(const nvp_ensemble *ensemble, const void *params, void **bytes, size_t *n);

NVP_API size_t nvp_ensemble_n_flows(const nvp_ensemble *ensemble);
NVP_API size_t nvp_ensemble_dim(const nvp_ensemble *ensemble);
NVP_API size_t nvp_ensemble_context_dim(const nvp_ensemble *ensemble);
NVP_API nvp_dtype nvp_ensemble_dtype(const nvp_ensemble *ensemble);
NVP_API size_t nvp_ensemble_n_parameters(const nvp_ensemble *ensemble);

/* Flow k, which the ensemble owns, its weight, and the offset of its parameters in the buffer. For k >= n_flows they
 * are NULL, 0, and the length of the buffer. */
NVP_API const nvp_flow *nvp_ensemble_flow(const nvp_ensemble *ensemble, size_t k);
NVP_API double nvp_ensemble_weight(const nvp_ensemble *ensemble, size_t k);
NVP_API size_t nvp_ensemble_offset(const nvp_ensemble *ensemble, size_t k);

/* x (n, D), context (n, C) -> log p(x) (n), the logarithm of the average of the densities. It is -infinity if x has no
 * density in any flow. The log-densities of the flows are those of nvp_log_prob. */
NVP_API nvp_status nvp_ensemble_log_prob(const nvp_ensemble *ensemble, const void *params, size_t n, const void *x,
                                         const void *context, void *log_prob, nvp_workspace *workspace);

/* Draw x (n, D), given context (n, C): for each sample first a flow, by the weights, and then a sample of it. Sample i
 * depends only on the seed, its context and i. log_prob (n), that of nvp_ensemble_log_prob, may be NULL. */
NVP_API nvp_status nvp_ensemble_sample(const nvp_ensemble *ensemble, const void *params, uint64_t seed, size_t n,
                                       const void *context, void *x, void *log_prob, nvp_workspace *workspace);

/* A fitted estimator, FlowDensity or FlowOutlierDetector of the Python package: an ensemble of flows, and what is known
 * of the columns. It is immutable and owns its parameters. Many threads can share it. */
typedef struct nvp_model nvp_model;

/* Read a model from an .npz file that `save` has written, with the guarantees of nvp_flow_load. A file of a flow or of
 * an ensemble is a model of real columns. Beside the members that nvp_ensemble_load reads, these are read, where they
 * are: "columns" has three numbers for each column, 0 for reals, 1 for whole numbers or 2 for angles, and the least and
 * the largest value; "origin" what the flows see samples less of; "context_origin" the same of the context, and
 * "context_range" (2, C) the values to which it is clipped. Columns of categories have probabilities that this library
 * does not compute: NVP_ERROR_CATEGORIES. */
NVP_API nvp_status nvp_model_load(const char *path, nvp_model **model);
NVP_API nvp_status nvp_model_load_bytes(const void *bytes, size_t n, nvp_model **model);
NVP_API void nvp_model_destroy(nvp_model *model); /* does nothing for NULL */

NVP_API const nvp_ensemble *nvp_model_ensemble(const nvp_model *model); /* which the model owns */
NVP_API const void *nvp_model_parameters(const nvp_model *model);       /* of the ensemble */

/* x (n, D), context (n, C) -> log p(x) (n) in the units of the data, like `score_samples` in Python: angles may lie in
 * any turn, the probability of whole numbers is integrated over their cells, and values outside of the support of a
 * column have -infinity. The sum over the windings of q angles takes 5^q evaluations for each row, the integral 31, 67,
 * 257 or 521 for one, two, three or more columns of whole numbers. Categories and angles of a context are given as the
 * flows read them: as indicators, and as cosine and sine. */
NVP_API nvp_status nvp_model_log_prob(const nvp_model *model, size_t n, const double *x, const double *context,
                                      double *log_prob, nvp_workspace *workspace);

/* Draw x (n, D), given context (n, C), in the units of the data and within the supports. Sample i depends only on the
 * seed, its context and i. */
NVP_API nvp_status nvp_model_sample(const nvp_model *model, uint64_t seed, size_t n, const double *context, double *x,
                                    nvp_workspace *workspace);

/* Training or validation samples. */
typedef struct {
    size_t size;
    size_t n;
    const void *x;        /* (n, D) */
    const void *context;  /* (n, C) */
    const double *weight; /* (n): w >= 0, finite, with a finite sum > 0. NULL: all 1. A sample of weight 0 is ignored,
                           * even if its numbers are not finite. */
} nvp_data;
#define NVP_DATA(...) {.size = sizeof(nvp_data), __VA_ARGS__}

/* Mean negative log-likelihood (NLL) of n >= 1 samples, sum(w nll) / sum(w), and, unless grad is NULL, its gradient
 * with respect to the parameters. The log-densities are those of nvp_log_prob. A sample without a density makes the
 * mean infinite and the gradient not finite. */
NVP_API nvp_status nvp_nll(const nvp_flow *flow, const void *params, const nvp_data *data, double *nll, void *grad,
                           nvp_workspace *workspace);

/* Vector-Jacobian products. Given the gradients of a scalar with respect to the outputs of nvp_forward, grad_x (n, D)
 * and grad_log_det (n), compute the gradients with respect to its inputs: grad_z (n, D), grad_context (n, C) and
 * grad_params. An incoming gradient that is NULL stands for zeros. An outgoing one that is NULL is not computed. */
NVP_API nvp_status nvp_forward_vjp(const nvp_flow *flow, const void *params, size_t n, const void *z,
                                   const void *context, const void *grad_x, const void *grad_log_det, void *grad_z,
                                   void *grad_context, void *grad_params, nvp_workspace *workspace);

/* The same for nvp_inverse. */
NVP_API nvp_status nvp_inverse_vjp(const nvp_flow *flow, const void *params, size_t n, const void *x,
                                   const void *context, const void *grad_z, const void *grad_log_det, void *grad_x,
                                   void *grad_context, void *grad_params, nvp_workspace *workspace);

/* Adam, Kingma and Ba (2015), algorithm 1. NVP_ERROR_ARGUMENT if an option is out of its range. If epsilon is 0, each
 * of the four options that is 0 stands for the value of the article: 1e-3, 0.9, 0.999 and 1e-8. If epsilon is not 0,
 * zeros are literal. */
typedef struct {
    size_t size;
    double learning_rate; /* >= 0; learning_rate / (1 - beta1) must be finite in the dtype */
    double beta1, beta2;  /* in [0, 1) */
    double epsilon;       /* a normal number in the dtype, which prevents 0 / 0 for parameters without gradient */
} nvp_adam_options;
#define NVP_ADAM_OPTIONS(...) {.size = sizeof(nvp_adam_options), __VA_ARGS__}

/* Take step number `step` >= 1 on n parameters. The moment estimates m and v are zeros before the first step. */
NVP_API nvp_status nvp_adam_step(nvp_dtype dtype, const nvp_adam_options *options, size_t step, size_t n, void *params,
                                 const void *grad, void *m, void *v);

/* Called after every epoch, including one that diverged. Epochs count from 1. validation_nll is NaN if the epoch was
 * not validated. A non-zero result ends the training, and nvp_train returns NVP_OK. */
typedef int (*nvp_epoch_callback)(void *context, size_t epoch, double train_nll, double validation_nll);

typedef enum {
    NVP_CONSTANT, /* the learning_rate of the options */
    NVP_COSINE    /* half a period of a cosine, down to final_fraction; Loshchilov and Hutter (2017), equation 5 */
} nvp_schedule;

/* Zero turns an option off, except for those of Adam: see nvp_adam_options. An option out of its range, such as NaN, is
 * NVP_ERROR_ARGUMENT, and nothing changes. */
typedef struct {
    size_t size;
    size_t max_epochs; /* 0: the parameters are unchanged */
    size_t batch_size; /* 0: the full batch, in its order; otherwise minibatches, shuffled in every epoch */
    double learning_rate, beta1, beta2, epsilon;
    nvp_schedule schedule; /* a function of the step, from the end of the warm-up to the last step of max_epochs */
    double final_fraction; /* in [0, 1]: the fraction of the learning rate at which NVP_COSINE ends */
    size_t warmup;         /* number of first steps, in which the learning rate grows linearly */
    double max_grad_norm;  /* >= 0: gradients with a larger Euclidean norm are scaled down to it: Pascanu, Mikolov and
                            * Bengio (2013), "On the difficulty of training recurrent neural networks", algorithm 1 */
    double weight_decay;   /* >= 0: each step first shrinks the parameters by the fraction learning rate times
                            * weight_decay, which must be finite in the dtype: Loshchilov and Hutter (2019), "Decoupled
                            * weight decay regularization", algorithm 2. It acts only on the weights of networks, not on
                            * their biases or other layers. */
    double average;        /* in [0, 1): decay of an exponential moving average of the parameters over the steps, with
                            * bias correction. The average is validated, kept and returned. Polyak and Juditsky (1992),
                            * "Acceleration of stochastic approximation by averaging" */
    /* Standard deviations (D) of normal noise, >= 0, finite, in the dtype of the flow; NULL: no noise. Every sample
     * gets new noise each time it is used, its context none. The noise smooths the learned density, like the bandwidth
     * of a kernel density estimate: Rothfuss et al. (2019), "Noise regularization for conditional density
     * estimation". */
    const void *noise;
    size_t validate_every;       /* epochs between validations; the last epoch is always validated; 0 is 1 */
    size_t patience;             /* stop after this many epochs without a better validation NLL; 0: never */
    double tolerance;            /* >= 0, finite: an NLL counts as better if it is lower by more than this, in nats */
    uint64_t seed;               /* for the shuffling and the noise */
    size_t pause_after;          /* return after this many epochs of the call; 0: at the end */
    void *state;                 /* to resume from, see nvp_train_state_size; NULL: begin, and keep no state */
    int on_epoch_alone;          /* call on_epoch while no thread of the call is alive. The callback may then fork,
                                  * change the parameters, from which training continues, or end the calling thread.
                                  * Threads are started for each epoch; the results are the same. */
    nvp_epoch_callback on_epoch; /* may be NULL */
    void *context;               /* for on_epoch */
    double time_limit;           /* >= 0, finite, in seconds: the call ends after the first epoch that ends later than
                                  * this, as if on_epoch asked to stop. The results then depend on the machine. */
} nvp_train_options;
#define NVP_TRAIN_OPTIONS(...) {.size = sizeof(nvp_train_options), __VA_ARGS__}

/* Report of nvp_train. The caller sets the size, with NVP_TRAIN_RESULT(). */
typedef struct {
    size_t size;
    size_t epochs;         /* completed, including those of earlier calls on the same state */
    size_t best_epoch;     /* the epoch of the returned parameters */
    int diverged;          /* a loss or gradient was not finite: training stopped there */
    double validation_nll; /* of the returned parameters, NaN if not validated */
} nvp_train_result;
#define NVP_TRAIN_RESULT(...) {.size = sizeof(nvp_train_result), __VA_ARGS__}

/* Size in bytes of a training state, from which a later call of nvp_train resumes. Training for pause_after epochs, and
 * then for the rest of max_epochs, gives the same bits as one call. The caller owns the memory, aligned as by malloc,
 * and fills it with zeros before the first call. A copy of it resumes independently. All calls on a state must have the
 * same flow, data and options, except for pause_after. A resumed training continues from the parameters in the state,
 * not from the passed ones. A training that has diverged or run out of patience cannot be resumed. If the first call
 * ends with an error, the next one begins anew. */
NVP_API nvp_status nvp_train_state_size(const nvp_flow *flow, size_t *size);

/* Fit the parameters in place: minimise the mean NLL of the training data, n >= 1. The loss of a minibatch of b samples
 * is sum(w nll) / (b W), where W is the mean weight of all training data. Its mean over the minibatches of an epoch is
 * the loss of all samples, and its gradient is an unbiased estimate of theirs.
 *
 * With validation data, not NULL and n >= 1, the parameters with the lowest validation NLL are returned: those of a
 * validated epoch, or the initial ones. Without validation data those of the last epoch are returned or, if training
 * diverges, those with the lowest training loss. The returned parameters have a finite NLL on the training data, unless
 * the initial ones had none: if the NLL is not finite at the end, training counts as diverged, and earlier parameters
 * are returned.
 *
 * train_nll of an epoch is the mean of the losses of its batches, each before its update. During the callback the
 * parameters are those of the last step. Only a callback with on_epoch_alone may change them. `result` may be NULL. It
 * is also filled in after NVP_INTERRUPTED. The parameters are then the best so far or, if none were validated, those of
 * the last step, which were not checked. */
NVP_API nvp_status nvp_train(const nvp_flow *flow, void *params, const nvp_train_options *options, const nvp_data *data,
                             const nvp_data *validation, nvp_train_result *result, nvp_workspace *workspace);

#ifdef __cplusplus
}
#endif

#endif
