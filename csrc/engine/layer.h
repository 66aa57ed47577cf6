/* What a layer type provides. A new type is a file with these functions and a line in layers.h. */

typedef struct {
    const nvp_layer *layer;
    const real *params; /* of this layer */
    bool inverse;
    const real *in;      /* (D, T) */
    real *out;           /* (D, T), apart from `in` */
    const real *context; /* (C, T) */
    real *d_context;     /* (C, T); NULL where its gradient is not wanted */
    real *saved;         /* saved_rows: what apply leaves to vjp; NULL when no gradient follows */
    real *scratch;       /* scratch_rows */
    size_t tile;         /* T */
} layer_pass;

typedef struct {
    /* n_params, saved_rows and scratch_rows from the configuration; false: a size overflows. */
    bool (*plan)(nvp_layer *layer);
    /* Starting parameters; `counter` counts the random numbers used so far. */
    void (*initialize)(const nvp_layer *layer, uint64_t seed, uint64_t *counter, real *params);
    /* in -> out; log_det (T) += this layer's. */
    void (*apply)(const layer_pass *pass, real *log_det);
    /* After apply: d (D, T), the gradient of out, becomes that of in; d_log_det (T) is the gradient of log_det. Unless
     * they are NULL, d_params and pass->d_context += the gradients of the parameters and of the context. */
    void (*vjp)(const layer_pass *pass, const real *d_log_det, real *d, real *d_params);
    /* marks = 1 for the parameters on which weight decay acts; they come as zeros. NULL: it acts on none. */
    void (*mark_decaying)(const nvp_layer *layer, real *marks);
} layer_type;
