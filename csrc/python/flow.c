/* nvpflow._core.Flow: a transform with a base density. */
#include "binding.h"

#ifdef _WIN32
#include <process.h>
static long process_id(void) { return _getpid(); }
#else
#include <unistd.h>
static long process_id(void) { return (long)getpid(); }
#endif

#define WEIGHT_DOC                                                                                                     \
    "sample_weight : array_like of real numbers, shape (n,), optional\n"                                               \
    "    w >= 0, finite, not all zero: the mean is sum(w nll) / sum(w). Default: all 1.\n"

PyDoc_STRVAR(log_prob_doc, "log_prob($self, /, x, context=None)\n--\n\n"
"Log-density of each sample, log p(x) = log p(z) + log|det dz/dx|, with the base density of z.\n\n"
"Parameters\n----------\nx : array_like of real numbers, shape (n, D)\n" CONTEXT_DOC "\n"
"Returns\n-------\nlog_prob : ndarray, shape (n,)\n    In nats, in the dtype of the flow; -inf where x has an infinite coordinate or a layer\n"
"    overflows, NaN only where x is NaN, or the context or a parameter is not finite.\n\n"
"Raises\n------\nTypeError\n    If x or context is not made of real numbers.\nValueError\n    If a shape is wrong.\n\n"
"References\n----------\nDinh, Sohl-Dickstein and Bengio (2017), \"Density estimation using Real NVP\", equation 2.");

static PyObject *flow_log_prob(PyObject *object, PyObject *const *args, Py_ssize_t n_args, PyObject *keywords) {
    static const char *const names[] = {"x", "context"};
    TransformObject *self = (TransformObject *)object;
    PyObject *values[2];
    if (check_ready(self) < 0 || parse_arguments("log_prob", names, 1, 2, args, n_args, keywords, values) < 0)
        return NULL;
    PyArrayObject *x = convert_samples(self, values[0], names[0]), *context, *log_prob = NULL;
    if (!x)
        return NULL;
    Call call;
    if (convert_context(self, values[1], names[1], PyArray_DIM(x, 0), &context) == 0 &&
        (log_prob = new_array(self, 1, PyArray_DIMS(x))) && begin_call(&call, self) == 0) {
        const nvp_status status =
            nvp_log_prob(self->flow, PyArray_DATA(call.parameters), (size_t)PyArray_DIM(x, 0), PyArray_DATA(x),
                         data_or_null(context), PyArray_DATA(log_prob), call.workspace);
        if (end_call(&call, status) < 0)
            Py_CLEAR(log_prob);
    } else {
        Py_CLEAR(log_prob);
    }
    Py_DECREF(x);
    Py_XDECREF(context);
    return (PyObject *)log_prob;
}

PyDoc_STRVAR(sample_doc, "_sample($self, n, seed, context, /)\n--\n\n"
"Draw n samples; returns them and their log-densities.");

static PyObject *flow_sample(PyObject *object, PyObject *args) {
    TransformObject *self = (TransformObject *)object;
    Py_ssize_t n;
    PyObject *seed_value, *context_value;
    if (check_ready(self) < 0 || !PyArg_ParseTuple(args, "nOO", &n, &seed_value, &context_value))
        return NULL;
    const unsigned long long seed = PyLong_AsUnsignedLongLong(seed_value);
    if (PyErr_Occurred())
        return NULL;
    npy_intp shape[2] = {n, self->dim};
    PyArrayObject *context, *x = NULL, *log_prob = NULL;
    Call call;
    if (convert_context(self, context_value, "context", n, &context) == 0 && (x = new_array(self, 2, shape)) &&
        (log_prob = new_array(self, 1, shape)) && begin_call(&call, self) == 0) {
        const nvp_status status =
            nvp_sample(self->flow, PyArray_DATA(call.parameters), seed, (size_t)n, data_or_null(context),
                       PyArray_DATA(x), PyArray_DATA(log_prob), call.workspace);
        if (end_call(&call, status) < 0)
            Py_CLEAR(x);
    } else {
        Py_CLEAR(x);
    }
    Py_XDECREF(context);
    return pair(x, log_prob);
}

/* Converted samples; the arrays belong to it, and may be NULL. */
typedef struct {
    PyArrayObject *x, *context, *weight;
} Data;

static nvp_data data_of(const Data *data) {
    const size_t n = data->x ? (size_t)PyArray_DIM(data->x, 0) : 0;
    return (nvp_data)NVP_DATA(.n = n, .x = data_or_null(data->x), .context = data_or_null(data->context),
                              .weight = data_or_null(data->weight));
}

static void release_data(Data *data) {
    Py_XDECREF(data->x);
    Py_XDECREF(data->context);
    Py_XDECREF(data->weight);
}

/* The mean NLL, and into *grad (a new reference) its gradient unless grad is NULL. -1 with an exception. */
static int compute_nll(PyObject *object, const char *method, PyObject *const *args, Py_ssize_t n_args,
                       PyObject *keywords, double *nll, PyArrayObject **grad) {
    static const char *const names[] = {"x", "context", "sample_weight"};
    TransformObject *self = (TransformObject *)object;
    PyObject *values[3];
    if (check_ready(self) < 0 || parse_arguments(method, names, 1, 3, args, n_args, keywords, values) < 0)
        return -1;
    Data data = {.x = convert_samples(self, values[0], names[0])};
    if (!data.x)
        return -1;
    const npy_intp n = PyArray_DIM(data.x, 0);
    npy_intp n_params = (npy_intp)nvp_flow_n_parameters(self->flow);
    int failed = -1;
    Call call;
    if (n == 0) {
        PyErr_SetString(PyExc_ValueError, "x must have at least one sample, got shape (0, D): there is no mean of none");
    } else if (convert_context(self, values[1], names[1], n, &data.context) == 0 &&
               convert_weights(values[2], names[2], n, &data.weight) == 0 &&
               (!grad || (*grad = new_array(self, 1, &n_params))) && begin_call(&call, self) == 0) {
        const nvp_data samples = data_of(&data);
        const nvp_status status = nvp_nll(self->flow, PyArray_DATA(call.parameters), &samples, nll,
                                          grad ? PyArray_DATA(*grad) : NULL, call.workspace);
        failed = end_call(&call, status);
    }
    release_data(&data);
    if (failed && grad)
        Py_CLEAR(*grad);
    return failed;
}

PyDoc_STRVAR(nll_doc, "nll($self, /, x, context=None, sample_weight=None)\n--\n\n"
"Mean negative log-likelihood of the samples, in nats.\n\n"
"Parameters\n----------\nx : array_like of real numbers, shape (n, D), n >= 1\n" CONTEXT_DOC WEIGHT_DOC "\n"
"Returns\n-------\nnll : float\n    inf where a sample has no density, as `log_prob` says.\n\n"
"Raises\n------\nTypeError\n    If an argument is not made of real numbers.\nValueError\n"
"    If a shape is wrong, there is no sample, or a weight is outside of its range.");

static PyObject *flow_nll(PyObject *self, PyObject *const *args, Py_ssize_t n_args, PyObject *keywords) {
    double nll;
    return compute_nll(self, "nll", args, n_args, keywords, &nll, NULL) < 0 ? NULL : PyFloat_FromDouble(nll);
}

PyDoc_STRVAR(nll_and_grad_doc, "nll_and_grad($self, /, x, context=None, sample_weight=None)\n--\n\n"
"Mean negative log-likelihood of the samples and its gradient.\n\n"
"Parameters\n----------\nx : array_like of real numbers, shape (n, D), n >= 1\n" CONTEXT_DOC WEIGHT_DOC "\n"
"Returns\n-------\nnll : float\n    In nats.\ngrad : ndarray, shape (n_parameters,)\n"
"    Exact gradient with respect to ``parameters``, in their order.\n\n"
"Raises\n------\nTypeError\n    If an argument is not made of real numbers.\nValueError\n"
"    If a shape is wrong, there is no sample, or a weight is outside of its range.");

static PyObject *flow_nll_and_grad(PyObject *self, PyObject *const *args, Py_ssize_t n_args, PyObject *keywords) {
    double nll;
    PyArrayObject *grad = NULL;
    if (compute_nll(self, "nll_and_grad", args, n_args, keywords, &nll, &grad) < 0)
        return NULL;
    return Py_BuildValue("dN", nll, (PyObject *)grad);
}

/* What the epoch callback of a training needs. */
typedef struct {
    Call call;
    PyArrayObject *parameters;          /* a copy: what others do with the flow's meanwhile is no concern of the threads */
    PyObject *callback;                 /* Python's, or NULL */
    double *train_nll, *validation_nll; /* the curves of this call so far */
    size_t n_epochs, capacity;
    int out_of_memory;
} Training;

static int grow_curves(Training *training, size_t epochs) {
    if (epochs <= training->capacity)
        return 0;
    const size_t capacity = training->capacity ? 2 * training->capacity : 256;
    double *train_nll = PyMem_RawRealloc(training->train_nll, capacity * sizeof(double));
    if (train_nll)
        training->train_nll = train_nll;
    double *validation_nll = PyMem_RawRealloc(training->validation_nll, capacity * sizeof(double));
    if (validation_nll)
        training->validation_nll = validation_nll;
    if (!train_nll || !validation_nll)
        return -1;
    training->capacity = capacity;
    return 0;
}

static void copy_parameters(PyArrayObject *to, PyArrayObject *from) {
    memcpy(PyArray_DATA(to), PyArray_DATA(from), (size_t)PyArray_NBYTES(from));
}

/* The flow has the parameters of the last step, and what the callback makes of them counts. Whether it wants to stop. */
static int call_back(Training *training, size_t epoch, double train_nll, double validation_nll) {
    TransformObject *flow = training->call.self;
    copy_parameters(flow->parameters, training->parameters);
    PyObject *answer = PyObject_CallFunction(training->callback, "ndd", (Py_ssize_t)epoch, train_nll, validation_nll);
    copy_parameters(training->parameters, flow->parameters);
    const int stop = !answer || answer == Py_True;
    Py_XDECREF(answer);
    return stop;
}

/* Only a Python callback needs the GIL. */
static int on_epoch(void *context, size_t epoch, double train_nll, double validation_nll) {
    Training *training = context;
    if (grow_curves(training, training->n_epochs + 1) < 0) {
        training->out_of_memory = 1;
        return 1;
    }
    training->train_nll[training->n_epochs] = train_nll;
    training->validation_nll[training->n_epochs++] = validation_nll;
    if (!training->callback)
        return 0;
    enter_python(&training->call);
    const int stop = call_back(training, epoch, train_nll, validation_nll);
    leave_python(&training->call);
    return stop;
}

static int set_item(PyObject *dict, const char *key, PyObject *value) {
    const int failed = value ? PyDict_SetItemString(dict, key, value) : -1;
    Py_XDECREF(value);
    return failed;
}

static PyObject *curve(const double *values, size_t n) {
    npy_intp length = (npy_intp)n;
    PyObject *array = PyArray_SimpleNew(1, &length, NPY_DOUBLE);
    if (array && n)
        memcpy(PyArray_DATA((PyArrayObject *)array), values, n * sizeof *values);
    return array;
}

/* The curves and how it ended, also after an interruption, whose exception is kept. */
static int report(const Training *training, const nvp_train_result *result, PyObject *history) {
    PyObject *exception = PyErr_GetRaisedException();
    const int failed = set_item(history, "train_nll", curve(training->train_nll, training->n_epochs)) < 0 ||
                       set_item(history, "validation_nll", curve(training->validation_nll, training->n_epochs)) < 0 ||
                       set_item(history, "n_iter", PyLong_FromSize_t(result->epochs)) < 0 ||
                       set_item(history, "best_iter", PyLong_FromSize_t(result->best_epoch)) < 0 ||
                       set_item(history, "diverged", PyBool_FromLong(result->diverged)) < 0;
    if (exception) {
        PyErr_SetRaisedException(exception);
        return -1;
    }
    return failed ? -1 : 0;
}

/* Training writes the flow's parameters: an array that lies in them, or NULL for none, becomes a copy. */
static int keep_apart(const TransformObject *self, PyArrayObject **array) {
    const char *const parameters = PyArray_BYTES(self->parameters), *const bytes = *array ? PyArray_BYTES(*array) : NULL;
    if (!bytes || bytes >= parameters + PyArray_NBYTES(self->parameters) ||
        parameters >= bytes + PyArray_NBYTES(*array))
        return 0;
    Py_SETREF(*array, (PyArrayObject *)PyArray_NewCopy(*array, NPY_CORDER));
    return *array ? 0 : -1;
}

/* From (x, context, sample_weight), whose names stand in `names`. -1 with an exception; release it in any case. */
static int convert_data(const TransformObject *self, PyObject *values, const char *const *names, Data *data) {
    PyObject *x, *context, *weight;
    if (!PyArg_ParseTuple(values, "OOO", &x, &context, &weight) || !(data->x = convert_samples(self, x, names[0])))
        return -1;
    const npy_intp n = PyArray_DIM(data->x, 0);
    return convert_context(self, context, names[1], n, &data->context) < 0 ||
                   convert_weights(weight, names[2], n, &data->weight) < 0 || keep_apart(self, &data->x) < 0 ||
                   keep_apart(self, &data->context) < 0 || keep_apart(self, &data->weight) < 0
               ? -1
               : 0;
}

PyDoc_STRVAR(train_doc, "_train($self, data, validation_data, noise, history, callback, max_iter, batch_size, learning_rate, "
"cosine, patience, tol, seed, warmup, final_fraction, max_grad_norm, weight_decay, average, validate_every, pause_after, "
"state, /)\n--\n\n"
"Train in place and fill the dict `history`, also when interrupted. Data are tuples (x, context, sample_weight).");

/* What nvp_train gets, all of it converted. */
typedef struct {
    nvp_train_options options;
    Data data, validation;
    PyArrayObject *noise;
    PyObject *history, *callback;
} Job;

static int check_state(const TransformObject *self, PyArrayObject *state) {
    size_t size;
    if (raise_status(nvp_train_state_size(self->flow, &size)) < 0)
        return -1;
    if (PyArray_TYPE(state) == NPY_UINT8 && PyArray_ISCARRAY(state) && (size_t)PyArray_SIZE(state) == size)
        return 0;
    PyErr_Format(PyExc_ValueError, "state must be %zu writeable bytes", size);
    return -1;
}

/* -1 with an exception; release it in any case. */
static int read_job(const TransformObject *self, PyObject *args, Job *job) {
    static const char *const names[] = {"x", "context", "sample_weight"};
    static const char *const validation_names[] = {"validation_data[0]", "validation_data[1]", "validation_data[2]"};
    nvp_train_options *options = &job->options;
    PyObject *values, *validation_values, *noise_value;
    Py_ssize_t max_iter, batch_size, patience, warmup, validate_every, pause_after;
    PyArrayObject *state;
    unsigned long long seed;
    int cosine;
    if (!PyArg_ParseTuple(args, "O!OOO!OnndpndKnddddnnO!", &PyTuple_Type, &values, &validation_values, &noise_value,
                          &PyDict_Type, &job->history, &job->callback, &max_iter, &batch_size,
                          &options->learning_rate, &cosine, &patience, &options->tolerance, &seed, &warmup,
                          &options->final_fraction, &options->max_grad_norm, &options->weight_decay,
                          &options->average, &validate_every, &pause_after, &PyArray_Type, &state) ||
        check_state(self, state) < 0)
        return -1;
    if (convert_data(self, values, names, &job->data) < 0 ||
        (validation_values != Py_None &&
         convert_data(self, validation_values, validation_names, &job->validation) < 0) ||
        convert_optional(self->typenum, noise_value, "noise", self->dim, VECTOR, &job->noise) < 0 ||
        keep_apart(self, &job->noise) < 0)
        return -1;
    options->max_epochs = (size_t)max_iter;
    options->batch_size = (size_t)batch_size;
    options->schedule = cosine ? NVP_COSINE : NVP_CONSTANT;
    options->patience = (size_t)patience;
    options->warmup = (size_t)warmup;
    options->validate_every = (size_t)validate_every;
    options->pause_after = (size_t)pause_after;
    options->state = PyArray_DATA(state);
    options->seed = seed;
    options->noise = data_or_null(job->noise);
    return 0;
}

static void release_job(Job *job) {
    release_data(&job->data);
    release_data(&job->validation);
    Py_XDECREF(job->noise);
}

/* On a copy of the parameters, which the flow gets in the end. */
static int train(TransformObject *self, Job *job) {
    Training training = {.callback = job->callback == Py_None ? NULL : job->callback};
    job->options.on_epoch = on_epoch;
    job->options.on_epoch_alone = training.callback != NULL;
    job->options.context = &training;
    training.parameters = (PyArrayObject *)PyArray_NewCopy(self->parameters, NPY_CORDER);
    if (!training.parameters || begin_call(&training.call, self) < 0) {
        Py_XDECREF(training.parameters);
        return -1;
    }
    const nvp_data data = data_of(&job->data), validation = data_of(&job->validation);
    nvp_train_result result = NVP_TRAIN_RESULT();
    const nvp_status status = nvp_train(self->flow, PyArray_DATA(training.parameters), &job->options, &data,
                                        &validation, &result, training.call.workspace);
    int failed = end_call(&training.call, training.out_of_memory ? NVP_ERROR_MEMORY : status) < 0;
    copy_parameters(self->parameters, training.parameters);
    if (status == NVP_OK || status == NVP_INTERRUPTED)
        failed = report(&training, &result, job->history) < 0 || failed;
    PyMem_RawFree(training.train_nll);
    PyMem_RawFree(training.validation_nll);
    Py_DECREF(training.parameters);
    return failed ? -1 : 0;
}

static PyObject *flow_train(PyObject *object, PyObject *args) {
    TransformObject *self = (TransformObject *)object;
    Job job = {.options = NVP_TRAIN_OPTIONS(.beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8)};
    if (check_ready(self) < 0)
        return NULL;
    if (self->training_process == process_id()) {
        PyErr_SetString(PyExc_RuntimeError, "a training of this flow is under way: train a copy() of it");
        return NULL;
    }
    self->training_process = process_id();
    const int failed = read_job(self, args, &job) < 0 || train(self, &job) < 0;
    self->training_process = 0;
    release_job(&job);
    if (failed)
        return NULL;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(train_state_size_doc, "_train_state_size($self, /)\n--\n\nBytes of the state of a training.");

static PyObject *flow_train_state_size(PyObject *object, PyObject *unused) {
    (void)unused;
    const TransformObject *self = (TransformObject *)object;
    size_t size;
    if (check_ready(self) < 0 || raise_status(nvp_train_state_size(self->flow, &size)) < 0)
        return NULL;
    return PyLong_FromSize_t(size);
}

PyObject *adam_step(PyObject *module, PyObject *args) {
    (void)module;
    PyArrayObject *arrays[4]; /* parameters, grad, m, v */
    Py_ssize_t step;
    nvp_adam_options options = NVP_ADAM_OPTIONS();
    if (!PyArg_ParseTuple(args, "O!O!O!O!ndddd", &PyArray_Type, &arrays[0], &PyArray_Type, &arrays[1], &PyArray_Type,
                          &arrays[2], &PyArray_Type, &arrays[3], &step, &options.learning_rate, &options.beta1,
                          &options.beta2, &options.epsilon))
        return NULL;
    const int typenum = PyArray_TYPE(arrays[0]);
    for (int i = 0; i < 4; i++)
        if ((typenum != NPY_FLOAT && typenum != NPY_DOUBLE) || PyArray_TYPE(arrays[i]) != typenum ||
            PyArray_SIZE(arrays[i]) != PyArray_SIZE(arrays[0]) ||
            !(i == 1 ? PyArray_ISCARRAY_RO(arrays[i]) : PyArray_ISCARRAY(arrays[i]))) {
            PyErr_SetString(PyExc_ValueError, "parameters, grad, m and v must be contiguous arrays of one length, all "
                                              "float32 or all float64, and all but grad writeable");
            return NULL;
        }
    const nvp_status status =
        nvp_adam_step(typenum == NPY_FLOAT ? NVP_FLOAT32 : NVP_FLOAT64, &options, step > 0 ? (size_t)step : 0,
                      (size_t)PyArray_SIZE(arrays[0]), PyArray_DATA(arrays[0]), PyArray_DATA(arrays[1]),
                      PyArray_DATA(arrays[2]), PyArray_DATA(arrays[3]));
    if (raise_status(status) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef flow_methods[] = {
    FAST_METHOD("log_prob", flow_log_prob, log_prob_doc),
    FAST_METHOD("nll", flow_nll, nll_doc),
    FAST_METHOD("nll_and_grad", flow_nll_and_grad, nll_and_grad_doc),
    {"_sample", flow_sample, METH_VARARGS, sample_doc},
    {"_train", flow_train, METH_VARARGS, train_doc},
    {"_train_state_size", flow_train_state_size, METH_NOARGS, train_state_size_doc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot flow_slots[] = {
    {Py_tp_doc, "A chain of invertible layers over a base density."},
    {Py_tp_methods, flow_methods},
    {0, NULL},
};

PyType_Spec flow_spec = {
    .name = "nvpflow._core.Flow",
    .basicsize = sizeof(TransformObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = flow_slots,
};
