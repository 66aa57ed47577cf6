/* nvpflow._core.Flow: a transform with a base density. */
#include "training.h"

#define WEIGHT_DOC                                                                                                     \
    "sample_weight : array_like of real numbers, shape (n,), optional\n"                                               \
    "    w >= 0, finite, not all zero. The mean is sum(w nll) / sum(w). Default: all 1.\n"

PyDoc_STRVAR(log_prob_doc, "log_prob($self, /, x, context=None)\n--\n\n"
"Log-density of each sample, log p(x) = log p(z) + log|det dz/dx|, with the base density p(z).\n\n"
"Parameters\n----------\nx : array_like of real numbers, shape (n, D)\n" CONTEXT_DOC "\n"
"Returns\n-------\nlog_prob : ndarray, shape (n,)\n    In nats, in the dtype of the flow. -inf if x has an infinite coordinate or a layer overflows.\n"
"    NaN only if x is NaN, or if the context or a parameter is not finite.\n\n"
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

PyDoc_STRVAR(sample_doc, "_sample($self, n, seed, context, with_log_prob, /)\n--\n\n"
"Draw n samples. Return them and their log-densities, or None instead.");

static PyObject *flow_sample(PyObject *object, PyObject *args) {
    TransformObject *self = (TransformObject *)object;
    Py_ssize_t n;
    PyObject *seed_value, *context_value;
    int with_log_prob;
    if (check_ready(self) < 0 || !PyArg_ParseTuple(args, "nOOp", &n, &seed_value, &context_value, &with_log_prob))
        return NULL;
    const unsigned long long seed = PyLong_AsUnsignedLongLong(seed_value);
    if (PyErr_Occurred())
        return NULL;
    npy_intp shape[2] = {n, self->dim};
    PyArrayObject *context, *x = NULL, *log_prob = NULL;
    Call call;
    if (convert_context(self, context_value, "context", n, &context) == 0 && (x = new_array(self, 2, shape)) &&
        (!with_log_prob || (log_prob = new_array(self, 1, shape))) && begin_call(&call, self) == 0) {
        const nvp_status status =
            nvp_sample(self->flow, PyArray_DATA(call.parameters), seed, (size_t)n, data_or_null(context),
                       PyArray_DATA(x), data_or_null(log_prob), call.workspace);
        if (end_call(&call, status) < 0)
            Py_CLEAR(x);
    } else {
        Py_CLEAR(x);
    }
    Py_XDECREF(context);
    if (x && !with_log_prob)
        return Py_BuildValue("(NO)", x, Py_None);
    return pair(x, log_prob);
}

/* Compute the mean NLL and, unless grad is NULL, its gradient *grad, a new reference. -1 with an exception. */
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
        PyErr_SetString(PyExc_ValueError,
                        "x must have at least one sample, got shape (0, D): there is no mean of none");
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
"Returns\n-------\nnll : float\n    inf if a sample has no density, see `log_prob`.\n\n"
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
"    Exact gradient with respect to ``parameters``, in the same order.\n\n"
"Raises\n------\nTypeError\n    If an argument is not made of real numbers.\nValueError\n"
"    If a shape is wrong, there is no sample, or a weight is outside of its range.");

static PyObject *flow_nll_and_grad(PyObject *self, PyObject *const *args, Py_ssize_t n_args, PyObject *keywords) {
    double nll;
    PyArrayObject *grad = NULL;
    if (compute_nll(self, "nll_and_grad", args, n_args, keywords, &nll, &grad) < 0)
        return NULL;
    return Py_BuildValue("dN", nll, (PyObject *)grad);
}

PyDoc_STRVAR(train_doc, "_train($self, data, validation_data, options, history, callback, state, stop=None, /)\n--\n\n"
"Train in place and fill the dict `history`, even if interrupted. Data are tuples (x, context, sample_weight). `options`\n"
"is a dict of those options of `Flow.fit` that are plain values, a `seed` and perhaps a `time_limit`. `stop` is None, or an\n"
"array of one byte: in a thread that handles no signals, training ends as after Ctrl-C when another thread sets it.");

PyDoc_STRVAR(train_state_size_doc, "_train_state_size($self, /)\n--\n\nSize of a training state in bytes.");

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
