/* nvpflow: normalizing flows of the Real NVP family, in plain C11.
 *
 * This header is the whole interface of the library. A flow is an immutable description (which layers, in which
 * order); its parameters are one flat buffer that the caller owns. Every compute function takes both, so one
 * description may serve many threads and many sets of parameters at once.
 *
 * Conventions
 *   - Samples are rows: an array of n samples of D dimensions is n * D numbers in C order.
 *   - A conditional flow has a context of C > 0 numbers for each sample, an array of n * C numbers; every network reads
 *     it in addition to its columns of the sample, and log p(x) means log p(x | context). Without one, C = 0, pass
 * NULL.
 *   - Buffers are `const void *` or `void *` and hold float or double, as the dtype of the flow says.
 *   - `forward` generates (z -> x, layer 1 first); `inverse` scores (x -> z, layer L first).
 *   - Log-determinants, log-densities and losses are in nats.
 *   - Every function that can fail returns a status; after a failure the outputs are unspecified, the parameters are
 *     untouched (but by nvp_train when it was interrupted).
 *   - NULL for a required argument is NVP_ERROR_ARGUMENT. A call for n = 0 samples requires no arrays, and a flow
 *     without parameters no address of them. Functions that return no status require all their arguments.
 *   - Input and output arrays must not overlap.
 *   - Structs that a caller fills in begin with their own size, so that later versions can append fields: a program
 *     that was compiled with an older header, or a newer one, keeps working. The macro that is named like the struct
 *     sets the size: `nvp_data data = NVP_DATA(.n = 100, .x = x)`. Fields that are not named are zero, and their
 *     comments say what that means. A size smaller than in version 0.1, such as 0, is NVP_ERROR_ARGUMENT, and so are
 *     bytes that are not zero where a newer header has fields that this library does not know.
 */
#ifndef NVPFLOW_H
#define NVPFLOW_H

#include <stddef.h>
#include <stdint.h>

/* The version of this header; nvp_version() returns that of the library. CMake reads it here, and a test compares it
 * with the version of the Python package. */
#define NVP_VERSION_MAJOR 0
#define NVP_VERSION_MINOR 1
#define NVP_VERSION_PATCH 0
#define NVP_VERSION_NUMBER (NVP_VERSION_MAJOR * 10000 + NVP_VERSION_MINOR * 100 + NVP_VERSION_PATCH)
#define NVP_VERSION NVP_QUOTE(NVP_VERSION_MAJOR) "." NVP_QUOTE(NVP_VERSION_MINOR) "." NVP_QUOTE(NVP_VERSION_PATCH)
#define NVP_QUOTE(number) NVP_QUOTE_TOKEN(number)
#define NVP_QUOTE_TOKEN(token) #token

/* For a shared library, define NVP_SHARED and NVP_BUILDING to compile it, and on Windows NVP_SHARED to use it. A static
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
    NVP_ERROR_ARGUMENT,    /* an argument is outside of its documented range */
    NVP_ERROR_UNSUPPORTED, /* NVPFLOW_ISA names an instruction set that this machine or build lacks */
    NVP_ERROR_FILE,        /* a file cannot be read or written */
    NVP_ERROR_FORMAT,      /* a file is of another format, or damaged */
    NVP_INTERRUPTED,       /* the poll function or a callback asked to stop */
    NVP_ERROR_FORKED       /* the poll function or a callback returned in a forked process, which has no threads */
} nvp_status;

/* "major.minor.patch" of the library. */
NVP_API const char *nvp_version(void);

/* A sentence for a status, never NULL. */
NVP_API const char *nvp_status_string(nvp_status status);

typedef enum { NVP_FLOAT32, NVP_FLOAT64 } nvp_dtype;

typedef enum {
    NVP_AFFINE_COUPLING,   /* Dinh, Sohl-Dickstein and Bengio (2017), equations 7 and 8 */
    NVP_ACT_NORM,          /* x = z * exp(log_scale) + bias; Kingma and Dhariwal (2018), section 3.1 */
    NVP_SPLINE_COUPLING,   /* rational-quadratic splines; Durkan, Bekasov, Murray and Papamakarios (2019) */
    NVP_ADDITIVE_COUPLING, /* x = z + b; Dinh, Krueger and Bengio (2014) */
    NVP_PERMUTATION,       /* x_i = z_p(i) */
    NVP_LU_LINEAR,         /* x = L U z + b; Kingma and Dhariwal (2018), section 3.2 */
    NVP_N_LAYER_TYPES
} nvp_layer_type;

typedef enum { NVP_RELU, NVP_TANH, NVP_SILU, NVP_N_ACTIVATIONS } nvp_activation;

typedef enum {
    NVP_SCALE_EXP, /* s is the output of its network: the published layer, unbounded */
    NVP_SCALE_TANH /* s = bound * tanh(output / bound) */
} nvp_scale;

enum { NVP_MAX_BINS = 64 };

/* What one layer is. nvp_flow_create copies all of it. */
typedef struct {
    size_t size;
    nvp_layer_type type;

    /* Of couplings: */
    const unsigned char *mask; /* D entries, 1: identity and input of the networks, 0: transformed */
    const size_t *hidden;      /* widths of the hidden layers of the networks, each at least 1 */
    size_t n_hidden;
    nvp_activation activation;

    /* Of NVP_AFFINE_COUPLING: */
    nvp_scale scale;
    double scale_bound; /* > 0, for NVP_SCALE_TANH; in the dtype of the flow it and its reciprocal are normal numbers,
                         * neither subnormal nor infinite */
    int shared_network; /* 0: s and b have a network each; otherwise they share one */

    /* Of NVP_SPLINE_COUPLING: */
    size_t n_bins;     /* 2 to NVP_MAX_BINS */
    double tail_bound; /* > 0: the splines end at +- this number, beyond is the identity, and the network sees identity
                        * columns (not the context) clamped to it; its square is a normal number in the dtype of the
                        * flow, whose epsilon times tail_bound is what it can tell apart */

    /* Of NVP_PERMUTATION: */
    const size_t *permutation; /* D entries, each of 0, ..., D - 1 once */
} nvp_layer_config;
#define NVP_LAYER_CONFIG(...)                                                                                          \
    { .size = sizeof(nvp_layer_config), __VA_ARGS__ }

typedef enum {
    NVP_STANDARD_NORMAL, /* N(0, I) */
    NVP_MIXTURE,         /* of normal distributions; Izmailov, Kirichenko, Finzi and Wilson (2020), section 3 */
    NVP_N_BASE_KINDS
} nvp_base_kind;

/* What the base density is. */
typedef struct {
    size_t size;
    nvp_base_kind kind;

    /* Of NVP_MIXTURE: */
    size_t n_components; /* >= 1 */
} nvp_base_config;
#define NVP_BASE_CONFIG(...)                                                                                           \
    { .size = sizeof(nvp_base_config), __VA_ARGS__ }

typedef struct nvp_flow nvp_flow;

/* Describe a flow of n_layers >= 1 layers over dim >= 1 dimensions, with context_dim >= 0 columns of context, and over
 * a base density; NULL is N(0, I). All layers must have the same size. */
NVP_API nvp_status nvp_flow_create(nvp_flow **flow, nvp_dtype dtype, size_t dim, size_t context_dim,
                                   const nvp_base_config *base, size_t n_layers, const nvp_layer_config *layers);
NVP_API void nvp_flow_destroy(nvp_flow *flow); /* NULL is fine */

/* The same flow from n plain numbers, as model files hold it: the version of this list, 1, 2 or 3; nvp_dtype; D; C; the
 * base; L; and for each layer its nvp_layer_type, followed by the fields of nvp_layer_config that belong to it, in this
 * order:
 *
 * - couplings: activation, n_hidden, the hidden widths, the mask (D numbers),
 * - and then affine ones: scale, scale_bound, shared_network,
 * - and spline ones: n_bins, tail_bound,
 * - permutation: its D entries.
 *
 * In version 1 the base is N(0, I), and takes no number; in version 2 it is a mixture, and the number that of its
 * components, or 0 for N(0, I). In version 3 it is its nvp_base_kind, followed by the fields of nvp_base_config that
 * belong to it:
 *
 * - mixture: n_components.
 *
 * NVP_ERROR_ARGUMENT or NVP_ERROR_SIZE where they do not describe a flow. They need not be trusted: the memory that is
 * taken is bounded by a multiple of their own. */
NVP_API nvp_status nvp_flow_decode(nvp_flow **flow, size_t n, const double *numbers);

/* The opposite: the numbers of a flow, in the lowest version that can hold them. nvp_free releases *numbers; after a
 * failure it is NULL. */
NVP_API nvp_status nvp_flow_encode(const nvp_flow *flow, size_t *n, double **numbers);

/* Read a flow and its parameters from an .npz file of up to 4 GiB that nvpflow's `save` has written, be it of a flow or
 * of an estimator around one, or that nvp_flow_save has. Only its members "description", the numbers above, and
 * "parameters" are looked at. After success nvp_flow_destroy releases *flow and nvp_free releases *params; after a
 * failure both are NULL.
 *
 * The content need not be trusted: every size is checked before it is used, checksums are compared, and parameters must
 * be finite; otherwise NVP_ERROR_FORMAT. The memory that is taken is bounded by a multiple of the file's size. */
NVP_API nvp_status nvp_flow_load(const char *path, nvp_flow **flow, void **params);
NVP_API nvp_status nvp_flow_load_bytes(const void *bytes, size_t n, nvp_flow **flow,
                                       void **params); /* of a file in memory */

/* Write a flow and its parameters, which must be finite, to an .npz file that nvp_flow_load reads, and `nvpflow.load`
 * of Python as a Flow. A file of more than 4 GiB is NVP_ERROR_SIZE.
 *
 * A file of that name is whole at any time: the new one is written beside it, and takes its place when it is on the
 * disk. It keeps the mode and, where permitted, the owner of an old one; symbolic links are followed, and stay. What is
 * there and no file, such as a pipe or a device, is written through. After a failure an old file is as it was, and
 * nothing is left beside it. */
NVP_API nvp_status nvp_flow_save(const char *path, const nvp_flow *flow, const void *params);
NVP_API nvp_status nvp_flow_save_bytes(const nvp_flow *flow, const void *params, void **bytes,
                                       size_t *n); /* nvp_free them */

/* Release memory that the library has given to the caller: on Windows, free() may belong to another C library. */
NVP_API void nvp_free(void *memory); /* NULL is fine */

NVP_API size_t nvp_flow_dim(const nvp_flow *flow);
NVP_API size_t nvp_flow_context_dim(const nvp_flow *flow);
NVP_API size_t nvp_flow_n_layers(const nvp_flow *flow);
NVP_API nvp_base_kind nvp_flow_base_kind(const nvp_flow *flow);
NVP_API size_t nvp_flow_n_components(const nvp_flow *flow); /* of a mixture; 0: the base is none */
NVP_API nvp_dtype nvp_flow_dtype(const nvp_flow *flow);
NVP_API const char *nvp_flow_isa(const nvp_flow *flow); /* "avx512", "avx2", "neon" or "baseline" */

/* Length of the parameter buffer, and where the parameters of one layer begin in it.
 *
 * A coupling with I identity and T transformed columns holds its networks; a network holds for each linear map its
 * weight (outputs x inputs, C order), then its bias. The first map has I + C inputs, the context last: weights of
 * columns that the mask makes irrelevant do not exist. An affine coupling has an s network and then a b network, of T
 * outputs each, or one of 2 T outputs, s before b; an additive coupling has a b network; a spline coupling has one
 * network whose outputs are, for each transformed column, K widths, K heights and K - 1 derivatives.
 *
 * An act norm holds log_scale (D), bias (D); an LU map a matrix (D, D) of L below, log diag U on and U above its
 * diagonal, then its bias (D); a permutation nothing.
 *
 * Behind the layers a mixture of K normal distributions has K logits of the weights, the means (K, D), and for each
 * component the lower triangle of P, row after row, with log diag P on the diagonal: the precision is P^T P.
 */
NVP_API size_t nvp_flow_n_parameters(const nvp_flow *flow);
NVP_API size_t nvp_flow_layer_offset(const nvp_flow *flow, size_t layer); /* of the base, for layer >= L */
NVP_API size_t nvp_flow_base_offset(const nvp_flow *flow);

/* Starting parameters: each linear map uniform in +-1/sqrt(fan_in), where fan_in counts all D + C columns, as
 * torch.nn.Linear has it for full-shape networks, but the last one of all couplings without NVP_SCALE_EXP 0.3 times
 * that; act norms and LU maps start at the identity; a mixture starts with equal weights, means from N(0, I) and
 * identities. */
NVP_API void nvp_flow_initialize(const nvp_flow *flow, uint64_t seed, void *params);

/* Scratch memory of the compute functions. It grows to what a call needs and is kept for the next one. One workspace
 * serves one call at a time; every thread needs its own. */
typedef struct nvp_workspace nvp_workspace;
NVP_API nvp_status nvp_workspace_create(nvp_workspace **workspace);
NVP_API void nvp_workspace_destroy(nvp_workspace *workspace); /* NULL is fine */

/* How many threads a call may use, the calling one among them; 1 at first. They end with the call and take no signals
 * of the process. Small calls start none, others may get fewer from the system; the results are the same to the last
 * bit for any number. */
NVP_API void nvp_workspace_set_threads(nvp_workspace *workspace, size_t n_threads);

/* Have calls that run longer ask `poll(context)` about every 50 ms whether to stop; non-zero ends the call with
 * NVP_INTERRUPTED. In a process that `poll` or a callback has forked, a call with threads ends with NVP_ERROR_FORKED,
 * and one without them goes on. */
typedef int (*nvp_poll)(void *context);
NVP_API void nvp_workspace_set_poll(nvp_workspace *workspace, nvp_poll poll, void *context);

/* z (n, D), context (n, C) -> x (n, D) and log|det dx/dz| (n). log_det may be NULL. */
NVP_API nvp_status nvp_forward(const nvp_flow *flow, const void *params, size_t n, const void *z, const void *context,
                               void *x, void *log_det, nvp_workspace *workspace);

/* x (n, D), context (n, C) -> z (n, D) and log|det dz/dx| (n). log_det may be NULL. */
NVP_API nvp_status nvp_inverse(const nvp_flow *flow, const void *params, size_t n, const void *x, const void *context,
                               void *z, void *log_det, nvp_workspace *workspace);

/* x (n, D), context (n, C) -> log p(x) (n) = log p(z) + log|det dz/dx|, with the base density of z.
 *
 * It is -infinity where x has no density that the dtype can express: where it has an infinite coordinate, or where z or
 * the determinant overflows. It is NaN only where a coordinate is, or where a number of the context or a parameter is
 * not finite. */
NVP_API nvp_status nvp_log_prob(const nvp_flow *flow, const void *params, size_t n, const void *x, const void *context,
                                void *log_prob, nvp_workspace *workspace);

/* The states on the way: states (L + 1, n, D), states[0] the input. inverse = 0: from z through layer 1, 2, ..., L;
 * otherwise from x through layer L, ..., 1. */
NVP_API nvp_status nvp_trace(const nvp_flow *flow, const void *params, int inverse, size_t n, const void *in,
                             const void *context, void *states, nvp_workspace *workspace);

/* Draw x (n, D) from the flow, given context (n, C). Sample i depends on the seed, its context and on i alone. log_prob
 * (n) may be NULL. */
NVP_API nvp_status nvp_sample(const nvp_flow *flow, const void *params, uint64_t seed, size_t n, const void *context,
                              void *x, void *log_prob, nvp_workspace *workspace);

/* Samples to learn from. */
typedef struct {
    size_t size;
    size_t n;
    const void *x;        /* (n, D) */
    const void *context;  /* (n, C) */
    const double *weight; /* (n): w >= 0, finite, as their sum, which is > 0; NULL: all 1. A sample of weight 0 is
                           * absent, whatever its numbers are */
} nvp_data;
#define NVP_DATA(...)                                                                                                  \
    { .size = sizeof(nvp_data), __VA_ARGS__ }

/* Mean negative log-likelihood of n >= 1 samples, sum(w nll) / sum(w), and, unless grad is NULL, its gradient with
 * respect to the parameters. The log-densities are those of nvp_log_prob: a sample without a density makes the mean
 * infinite, and the gradient is not finite then. */
NVP_API nvp_status nvp_nll(const nvp_flow *flow, const void *params, const nvp_data *data, double *nll, void *grad,
                           nvp_workspace *workspace);

/* Vector-Jacobian products. Given the gradients of a scalar with respect to the outputs of nvp_forward (grad_x (n, D),
 * grad_log_det (n)), the gradients with respect to its inputs: grad_z (n, D), grad_context (n, C), grad_params. NULL
 * for an incoming gradient means zeros, NULL for an outgoing one that it is not wanted. */
NVP_API nvp_status nvp_forward_vjp(const nvp_flow *flow, const void *params, size_t n, const void *z,
                                   const void *context, const void *grad_x, const void *grad_log_det, void *grad_z,
                                   void *grad_context, void *grad_params, nvp_workspace *workspace);

/* The same for nvp_inverse. */
NVP_API nvp_status nvp_inverse_vjp(const nvp_flow *flow, const void *params, size_t n, const void *x,
                                   const void *context, const void *grad_z, const void *grad_log_det, void *grad_x,
                                   void *grad_context, void *grad_params, nvp_workspace *workspace);

/* Adam, Kingma and Ba (2015), algorithm 1. Options outside of their ranges are NVP_ERROR_ARGUMENT. If epsilon
 * is 0, each of the four that is 0 stands for the value of the article: 1e-3, 0.9, 0.999 and 1e-8. With an epsilon,
 * zeros are taken literally. */
typedef struct {
    size_t size;
    double learning_rate; /* >= 0; learning_rate / (1 - beta1) is finite in the dtype */
    double beta1, beta2;  /* in [0, 1) */
    double epsilon;       /* a normal number in the dtype: parameters that never had a gradient would get 0 / 0 */
} nvp_adam_options;
#define NVP_ADAM_OPTIONS(...)                                                                                          \
    { .size = sizeof(nvp_adam_options), __VA_ARGS__ }

/* Step number `step` >= 1 on n parameters, whose moment estimates m and v start as zeros. */
NVP_API nvp_status nvp_adam_step(nvp_dtype dtype, const nvp_adam_options *options, size_t step, size_t n, void *params,
                                 const void *grad, void *m, void *v);

/* Called after every epoch, counted from 1, also after one that diverged. validation_nll is NaN if it was not measured.
 * A non-zero result ends the training, and nvp_train returns NVP_OK. */
typedef int (*nvp_epoch_callback)(void *context, size_t epoch, double train_nll, double validation_nll);

typedef enum {
    NVP_CONSTANT, /* learning_rate of the options */
    NVP_COSINE    /* half a period of a cosine down to final_fraction of it; Loshchilov and Hutter (2017), equation 5 */
} nvp_schedule;

/* Zero turns an option off, except for those of Adam, whose zeros are explained at nvp_adam_options. Options outside of
 * their ranges, such as NaN, are NVP_ERROR_ARGUMENT, and nothing has changed then. */
typedef struct {
    size_t size;
    size_t max_epochs; /* 0: the parameters stay as they are */
    size_t batch_size; /* 0: the full batch, in its order; otherwise minibatches, shuffled anew every epoch */
    double learning_rate, beta1, beta2, epsilon;
    nvp_schedule schedule; /* a function of the step, from the end of the warm-up to the last step of max_epochs */
    double final_fraction; /* in [0, 1], of the learning rate: where NVP_COSINE ends */
    size_t warmup;         /* the first steps, during which the learning rate grows linearly */
    double max_grad_norm;  /* >= 0: a gradient with a larger Euclidean norm is scaled down to it: Pascanu, Mikolov and
                            * Bengio (2013), "On the difficulty of training recurrent neural networks", algorithm 1 */
    double weight_decay;   /* >= 0: before each step, parameters shrink by learning rate times weight_decay, a finite
                            * number in the dtype, of themselves:
                            * Loshchilov and Hutter (2019), "Decoupled weight decay regularization", algorithm 2. It
                            * acts on the weights of the networks, not on their biases nor on other layers. */
    double average;        /* in [0, 1): decay of an exponential moving average of the parameters over the steps, with
                            * bias correction. It is what is validated, kept and returned. Polyak and Juditsky (1992),
                            * "Acceleration of stochastic approximation by averaging" */
    /* Standard deviations (D) >= 0, finite, in the dtype of the flow, of normal noise that is added to every sample,
     * not to its context, anew each time it is used; NULL for none. It smooths the density that is learned, as the
     * bandwidth of a kernel estimate does: Rothfuss et al. (2019), "Noise regularization for conditional density
     * estimation". */
    const void *noise;
    size_t validate_every;       /* epochs, and after the last one; 0 is 1 */
    size_t patience;             /* stop after this many epochs without a better validation NLL; 0: never */
    double tolerance;            /* >= 0, finite: what counts as better, an NLL lower by more than this, in nats */
    uint64_t seed;               /* of the shuffling and of the noise */
    size_t pause_after;          /* return after this many epochs of the call; 0: at the end */
    void *state;                 /* to resume from, see nvp_train_state_size; NULL: begin, and keep no state */
    int on_epoch_alone;          /* call on_epoch while no thread of the call is alive: it may then fork, write the
                                  * parameters, from which the training continues, or end the calling thread. Threads
                                  * are started for each epoch; the results are the same. */
    nvp_epoch_callback on_epoch; /* may be NULL */
    void *context;               /* for on_epoch */
} nvp_train_options;
#define NVP_TRAIN_OPTIONS(...)                                                                                         \
    { .size = sizeof(nvp_train_options), __VA_ARGS__ }

/* What nvp_train reports. The caller sets the size, with NVP_TRAIN_RESULT(). */
typedef struct {
    size_t size;
    size_t epochs;         /* completed, with those of earlier calls on the same state */
    size_t best_epoch;     /* the epoch whose parameters the caller gets */
    int diverged;          /* a loss or gradient was not finite: training stopped there */
    double validation_nll; /* of the parameters that the caller gets; NaN where it was not measured */
} nvp_train_result;
#define NVP_TRAIN_RESULT(...)                                                                                          \
    { .size = sizeof(nvp_train_result), __VA_ARGS__ }

/* The bytes of a training's state, from which a later call of nvp_train resumes: pause_after epochs and then the rest
 * of max_epochs give the same bits as one call. The caller owns the memory, aligned as by malloc, and fills it with
 * zeros before the first call; a copy of it is a second training from the same point. The calls on a state must agree
 * in flow, data and options, except for pause_after. A resumed training continues from the parameters in the state, not
 * from those that are passed. A training that has diverged, or run out of patience, has ended for good. */
NVP_API nvp_status nvp_train_state_size(const nvp_flow *flow, size_t *size);

/* Fit the parameters in place by minimising the mean NLL of the training data, n >= 1. The loss of a minibatch of b
 * samples is sum(w nll) / (b W), where W is the mean weight of all training data: its mean over the minibatches of an
 * epoch is the loss of all, and its gradient estimates that of all without bias.
 *
 * With validation data, not NULL and n >= 1, the parameters of the validated epoch with the lowest validation NLL are
 * kept, or the starting ones if theirs is lower, otherwise those of the last epoch; when training diverges without
 * validation data, the best ones by training loss. The returned parameters have a finite NLL on the training
 * data, unless the starting ones had none: if the NLL is not finite at the end, training counts as diverged, and
 * earlier parameters are returned. An epoch's train_nll is the mean of the losses of its batches, each before its
 * update. During the callback the parameters are those of the last step; only one with on_epoch_alone may write them.
 * `result` may be NULL. After NVP_INTERRUPTED it is filled in as well, and the parameters are the best so far, or if
 * none were validated those of the last step, which were not checked. */
NVP_API nvp_status nvp_train(const nvp_flow *flow, void *params, const nvp_train_options *options, const nvp_data *data,
                             const nvp_data *validation, nvp_train_result *result, nvp_workspace *workspace);

#ifdef __cplusplus
}
#endif

#endif
