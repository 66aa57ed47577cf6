/* nvpflow._core.Transform: a chain of invertible layers over a flat parameter buffer. */
#include "binding.h"

nvp_flow *decode_flow(PyObject *description) {
    PyArrayObject *numbers = (PyArrayObject *)PyArray_FROM_OTF(description, NPY_DOUBLE, NPY_ARRAY_IN_ARRAY);
    if (!numbers)
        return NULL;
    nvp_flow *flow;
    raise_status(nvp_flow_decode(&flow, (size_t)PyArray_SIZE(numbers), PyArray_DATA(numbers)));
    Py_DECREF(numbers);
    return flow;
}

/* Check a buffer for the parameters: one-dimensional, contiguous, aligned, writeable, with the right dtype and length.
 * None gives a new buffer. New reference, or NULL with an exception. */
static PyArrayObject *take_parameters(const nvp_flow *flow, int typenum, PyObject *value) {
    npy_intp n = (npy_intp)nvp_flow_n_parameters(flow);
    if (value == Py_None)
        return (PyArrayObject *)PyArray_ZEROS(1, &n, typenum, 0);
    PyArrayObject *array = PyArray_CheckExact(value) ? (PyArrayObject *)value : NULL;
    if (array && PyArray_TYPE(array) == typenum && PyArray_NDIM(array) == 1 && PyArray_DIM(array, 0) == n &&
        PyArray_ISCARRAY(array))
        return view_array(array);
    PyErr_Format(PyExc_ValueError,
                 "parameters must be a writeable contiguous array of %zd numbers in the dtype of the transform",
                 (Py_ssize_t)n);
    return NULL;
}

static int check_unused(const TransformObject *self) {
    if (!self->flow)
        return 0;
    PyErr_SetString(PyExc_RuntimeError, "a transform cannot be initialised twice");
    return -1;
}

PyDoc_STRVAR(check_unused_doc, "_check_unused($self, /)\n--\n\n"
"Raise RuntimeError if __init__ was called before. For subclasses that set attributes before they call it.");

static PyObject *transform_check_unused(PyObject *object, PyObject *unused) {
    (void)unused;
    if (check_unused((TransformObject *)object) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* Of several threads that initialise an object the first one wins. -1 with an exception, and nothing is taken. */
static int set_flow(TransformObject *self, nvp_flow *flow, PyArrayObject *parameters, int typenum) {
    int failed;
    Py_BEGIN_CRITICAL_SECTION(self);
    failed = check_unused(self);
    if (!failed) {
        self->parameters = parameters;
        self->dim = (Py_ssize_t)nvp_flow_dim(flow);
        self->context_dim = (Py_ssize_t)nvp_flow_context_dim(flow);
        self->typenum = typenum;
        self->flow = flow;
    }
    Py_END_CRITICAL_SECTION();
    return failed;
}

static int transform_init(PyObject *object, PyObject *args, PyObject *keywords) {
    static char *names[] = {"description", "parameters", NULL};
    TransformObject *self = (TransformObject *)object;
    PyObject *description, *value = Py_None;
    PyArrayObject *parameters = NULL;
    if (check_unused(self) < 0 || !PyArg_ParseTupleAndKeywords(args, keywords, "O|O", names, &description, &value))
        return -1;
    nvp_flow *flow = decode_flow(description);
    const int typenum = flow && nvp_flow_dtype(flow) == NVP_FLOAT32 ? NPY_FLOAT : NPY_DOUBLE;
    if (flow)
        parameters = take_parameters(flow, typenum, value);
    /* Reading the description may run Python code, which may call __init__ as well. */
    if (!parameters || set_flow(self, flow, parameters, typenum) < 0) {
        nvp_flow_destroy(flow);
        Py_XDECREF(parameters);
        return -1;
    }
    return 0;
}

static int transform_traverse(PyObject *object, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(((TransformObject *)object)->parameters);
    return 0;
}

static int transform_clear(PyObject *object) {
    (void)object; /* an array of numbers is in no cycle, and methods need it until the end */
    return 0;
}

static void transform_dealloc(PyObject *object) {
    TransformObject *self = (TransformObject *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    nvp_flow_destroy(self->flow);
    nvp_workspace_destroy(self->workspace);
    Py_XDECREF(self->parameters);
    type->tp_free(object);
    Py_DECREF(type);
}

int check_ready(const TransformObject *self) {
    if (self->flow)
        return 0;
    PyErr_Format(PyExc_RuntimeError, "%s.__init__ was not called", Py_TYPE(self)->tp_name);
    return -1;
}

/* forward and inverse: samples in, (samples, log_det) out. */
static PyObject *apply(TransformObject *self, const char *method, const char *const *names, int inverse,
                       PyObject *const *args, Py_ssize_t n_args, PyObject *keywords) {
    PyObject *values[2];
    if (check_ready(self) < 0 || parse_arguments(method, names, 1, 2, args, n_args, keywords, values) < 0)
        return NULL;
    PyArrayObject *in = convert_samples(self, values[0], names[0]), *context, *out = NULL, *log_det = NULL;
    Call call;
    if (!in)
        return NULL;
    if (convert_context(self, values[1], names[1], PyArray_DIM(in, 0), &context) == 0 &&
        (out = new_array(self, 2, PyArray_DIMS(in))) && (log_det = new_array(self, 1, PyArray_DIMS(in))) &&
        begin_call(&call, self) == 0) {
        const nvp_status status = (inverse ? nvp_inverse : nvp_forward)(
            self->flow, PyArray_DATA(call.parameters), (size_t)PyArray_DIM(in, 0), PyArray_DATA(in),
            data_or_null(context), PyArray_DATA(out), PyArray_DATA(log_det), call.workspace);
        if (end_call(&call, status) < 0)
            Py_CLEAR(out);
    } else {
        Py_CLEAR(out);
    }
    Py_DECREF(in);
    Py_XDECREF(context);
    return pair(out, log_det);
}

PyDoc_STRVAR(forward_doc, "forward($self, /, z, context=None)\n--\n\n"
"Generate data: map z through the layers, beginning with the first.\n\n"
"Parameters\n----------\nz : array_like of real numbers, shape (n, D)\n    Latent points.\n" CONTEXT_DOC "\n"
"Returns\n-------\nx : ndarray, shape (n, D)\nlog_det : ndarray, shape (n,)\n"
"    log|det dx/dz| in nats. Both in the dtype of the transform.\n\n"
"Raises\n------\nTypeError\n    If z or context is not made of real numbers.\nValueError\n    If a shape is wrong.\n\n"
"Notes\n-----\nNaN and infinity in a row give NaN or infinity in that row alone.");

static PyObject *transform_forward(PyObject *self, PyObject *const *args, Py_ssize_t n_args, PyObject *keywords) {
    static const char *const names[] = {"z", "context"};
    return apply((TransformObject *)self, "forward", names, 0, args, n_args, keywords);
}

PyDoc_STRVAR(inverse_doc, "inverse($self, /, x, context=None)\n--\n\n"
"Undo `forward`: map x through the inverses of the layers, beginning with the last.\n\n"
"Parameters\n----------\nx : array_like of real numbers, shape (n, D)\n    Data points.\n" CONTEXT_DOC "\n"
"Returns\n-------\nz : ndarray, shape (n, D)\nlog_det : ndarray, shape (n,)\n"
"    log|det dz/dx| in nats. Both in the dtype of the transform.\n\n"
"Raises\n------\nTypeError\n    If x or context is not made of real numbers.\nValueError\n    If a shape is wrong.\n\n"
"Notes\n-----\nNaN and infinity in a row give NaN or infinity in that row alone.");

static PyObject *transform_inverse(PyObject *self, PyObject *const *args, Py_ssize_t n_args, PyObject *keywords) {
    static const char *const names[] = {"x", "context"};
    return apply((TransformObject *)self, "inverse", names, 1, args, n_args, keywords);
}

static PyObject *vjp(TransformObject *self, const char *method, const char *const *names, int inverse,
                     PyObject *const *args, Py_ssize_t n_args, PyObject *keywords) {
    PyObject *values[4];
    if (check_ready(self) < 0 || parse_arguments(method, names, 3, 4, args, n_args, keywords, values) < 0)
        return NULL;
    PyArrayObject *in = convert_samples(self, values[0], names[0]), *context = NULL, *d_out = NULL, *d_log_det = NULL;
    PyArrayObject *d_in = NULL, *d_context = NULL, *d_params = NULL;
    Call call;
    if (!in)
        return NULL;
    const npy_intp n = PyArray_DIM(in, 0);
    npy_intp n_params = (npy_intp)nvp_flow_n_parameters(self->flow);
    if (convert_optional(self->typenum, values[1], names[1], n, self->dim, &d_out) == 0 &&
        convert_optional(self->typenum, values[2], names[2], n, VECTOR, &d_log_det) == 0 &&
        convert_context(self, values[3], names[3], n, &context) == 0 && (d_in = new_array(self, 2, PyArray_DIMS(in))) &&
        (d_params = new_array(self, 1, &n_params)) &&
        (!context || (d_context = new_array(self, 2, PyArray_DIMS(context)))) && begin_call(&call, self) == 0) {
        const nvp_status status = (inverse ? nvp_inverse_vjp : nvp_forward_vjp)(
            self->flow, PyArray_DATA(call.parameters), (size_t)n, PyArray_DATA(in), data_or_null(context),
            data_or_null(d_out), data_or_null(d_log_det), PyArray_DATA(d_in), data_or_null(d_context),
            PyArray_DATA(d_params), call.workspace);
        if (end_call(&call, status) < 0)
            Py_CLEAR(d_in);
    } else {
        Py_CLEAR(d_in);
    }
    Py_DECREF(in);
    Py_XDECREF(context);
    Py_XDECREF(d_out);
    Py_XDECREF(d_log_det);
    return pack((PyArrayObject *[]){d_in, d_params, d_context}, self->context_dim ? 3 : 2);
}

PyDoc_STRVAR(forward_vjp_doc, "forward_vjp($self, /, z, grad_x, grad_log_det, context=None)\n--\n\n"
"Vector-Jacobian product of `forward`.\n\n"
"Given the gradients of a scalar loss with respect to ``x, log_det = forward(z)``, compute its gradients with\n"
"respect to z and the parameters.\n\n"
"Parameters\n----------\nz : array_like, shape (n, D)\ngrad_x : array_like, shape (n, D), or None for zeros\n"
"grad_log_det : array_like, shape (n,), or None for zeros\n" CONTEXT_DOC "\n"
"Returns\n-------\ngrad_z : ndarray, shape (n, D)\ngrad_parameters : ndarray, shape (n_parameters,)\n"
"    Flat, in the order of ``parameters``; summed over the samples.\n"
"grad_context : ndarray, shape (n, C)\n    Only with a context.\n\n"
"Raises\n------\nTypeError\n    If an argument is not made of real numbers.\nValueError\n    If a shape is wrong.");

static PyObject *transform_forward_vjp(PyObject *self, PyObject *const *args, Py_ssize_t n_args, PyObject *keywords) {
    static const char *const names[] = {"z", "grad_x", "grad_log_det", "context"};
    return vjp((TransformObject *)self, "forward_vjp", names, 0, args, n_args, keywords);
}

PyDoc_STRVAR(inverse_vjp_doc, "inverse_vjp($self, /, x, grad_z, grad_log_det, context=None)\n--\n\n"
"Vector-Jacobian product of `inverse`.\n\n"
"Given the gradients of a scalar loss with respect to ``z, log_det = inverse(x)``, compute its gradients with\n"
"respect to x and the parameters.\n\n"
"Parameters\n----------\nx : array_like, shape (n, D)\ngrad_z : array_like, shape (n, D), or None for zeros\n"
"grad_log_det : array_like, shape (n,), or None for zeros\n" CONTEXT_DOC "\n"
"Returns\n-------\ngrad_x : ndarray, shape (n, D)\ngrad_parameters : ndarray, shape (n_parameters,)\n"
"    Flat, in the order of ``parameters``; summed over the samples.\n"
"grad_context : ndarray, shape (n, C)\n    Only with a context.\n\n"
"Raises\n------\nTypeError\n    If an argument is not made of real numbers.\nValueError\n    If a shape is wrong.");

static PyObject *transform_inverse_vjp(PyObject *self, PyObject *const *args, Py_ssize_t n_args, PyObject *keywords) {
    static const char *const names[] = {"x", "grad_z", "grad_log_det", "context"};
    return vjp((TransformObject *)self, "inverse_vjp", names, 1, args, n_args, keywords);
}

PyDoc_STRVAR(trace_doc, "trace($self, /, z, inverse=False, context=None)\n--\n\n"
"The state after every layer.\n\n"
"Parameters\n----------\nz : array_like of real numbers, shape (n, D)\n    Latent points; data points if `inverse`.\n"
"inverse : bool\n    Map data to latent points, beginning with the last layer.\n" CONTEXT_DOC "\n"
"Returns\n-------\nstates : ndarray, shape (L + 1, n, D)\n    ``states[0]`` is the input, ``states[k]`` the state after "
"k layers.\n\n"
"Raises\n------\nTypeError\n    If z or context is not made of real numbers.\nValueError\n    If a shape is wrong.");

static PyObject *transform_trace(PyObject *object, PyObject *const *args, Py_ssize_t n_args, PyObject *keywords) {
    static const char *const names[] = {"z", "inverse", "context"};
    TransformObject *self = (TransformObject *)object;
    PyObject *values[3];
    if (check_ready(self) < 0 || parse_arguments("trace", names, 1, 3, args, n_args, keywords, values) < 0)
        return NULL;
    if (values[1] && !PyBool_Check(values[1])) {
        PyErr_Format(PyExc_TypeError, "inverse must be True or False, got an object of type %s",
                     Py_TYPE(values[1])->tp_name);
        return NULL;
    }
    const int inverse = values[1] == Py_True;
    PyArrayObject *in = convert_samples(self, values[0], names[0]), *context, *states = NULL;
    if (!in)
        return NULL;
    npy_intp shape[3] = {(npy_intp)nvp_flow_n_layers(self->flow) + 1, PyArray_DIM(in, 0), self->dim};
    Call call;
    if (convert_context(self, values[2], names[2], shape[1], &context) == 0 && (states = new_array(self, 3, shape)) &&
        begin_call(&call, self) == 0) {
        const nvp_status status =
            nvp_trace(self->flow, PyArray_DATA(call.parameters), inverse, (size_t)shape[1], PyArray_DATA(in),
                      data_or_null(context), PyArray_DATA(states), call.workspace);
        if (end_call(&call, status) < 0)
            Py_CLEAR(states);
    } else {
        Py_CLEAR(states);
    }
    Py_DECREF(in);
    Py_XDECREF(context);
    return (PyObject *)states;
}

PyDoc_STRVAR(initialize_doc, "_initialize($self, seed, /)\n--\n\nSet the parameters to random starting values.");

static PyObject *transform_initialize(PyObject *object, PyObject *seed) {
    TransformObject *self = (TransformObject *)object;
    if (check_ready(self) < 0)
        return NULL;
    const unsigned long long value = PyLong_AsUnsignedLongLong(seed);
    if (PyErr_Occurred())
        return NULL;
    PyArrayObject *parameters = hold_parameters(self);
    nvp_flow_initialize(self->flow, value, PyArray_DATA(parameters));
    Py_DECREF(parameters);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(rebind_doc, "_rebind($self, parameters, /)\n--\n\n"
"Copy the parameters to this buffer and use it from now on.");

static PyObject *transform_rebind(PyObject *object, PyObject *value) {
    TransformObject *self = (TransformObject *)object;
    if (check_ready(self) < 0)
        return NULL;
    PyArrayObject *parameters = take_parameters(self->flow, self->typenum, value);
    if (!parameters)
        return NULL;
    replace_parameters(self, parameters);
    Py_RETURN_NONE;
}

/* A new view, so that the caller cannot reshape this one. */
static PyObject *get_parameters(PyObject *object, void *closure) {
    (void)closure;
    TransformObject *self = (TransformObject *)object;
    if (check_ready(self) < 0)
        return NULL;
    PyArrayObject *parameters = hold_parameters(self), *view = view_array(parameters);
    Py_DECREF(parameters);
    return (PyObject *)view;
}

static PyObject *get_n_parameters(PyObject *object, void *closure) {
    (void)closure;
    TransformObject *self = (TransformObject *)object;
    return check_ready(self) < 0 ? NULL : PyLong_FromSize_t(nvp_flow_n_parameters(self->flow));
}

static PyObject *get_data_dim(PyObject *object, void *closure) {
    (void)closure;
    TransformObject *self = (TransformObject *)object;
    return check_ready(self) < 0 ? NULL : PyLong_FromSsize_t(self->dim);
}

static PyObject *get_context_dim(PyObject *object, void *closure) {
    (void)closure;
    TransformObject *self = (TransformObject *)object;
    return check_ready(self) < 0 ? NULL : PyLong_FromSsize_t(self->context_dim);
}

static PyObject *get_dtype(PyObject *object, void *closure) {
    (void)closure;
    TransformObject *self = (TransformObject *)object;
    return check_ready(self) < 0 ? NULL : (PyObject *)PyArray_DescrFromType(self->typenum);
}

static PyObject *get_isa(PyObject *object, void *closure) {
    (void)closure;
    TransformObject *self = (TransformObject *)object;
    return check_ready(self) < 0 ? NULL : PyUnicode_FromString(nvp_flow_isa(self->flow));
}

static PyObject *get_layer_offsets(PyObject *object, void *closure) {
    (void)closure;
    TransformObject *self = (TransformObject *)object;
    if (check_ready(self) < 0)
        return NULL;
    const size_t n = nvp_flow_n_layers(self->flow);
    PyObject *offsets = PyTuple_New((Py_ssize_t)n);
    for (size_t l = 0; offsets && l < n; l++) {
        PyObject *offset = PyLong_FromSize_t(nvp_flow_layer_offset(self->flow, l));
        if (!offset)
            Py_CLEAR(offsets);
        else
            PyTuple_SET_ITEM(offsets, (Py_ssize_t)l, offset);
    }
    return offsets;
}

static PyObject *get_base_offset(PyObject *object, void *closure) {
    (void)closure;
    TransformObject *self = (TransformObject *)object;
    return check_ready(self) < 0 ? NULL : PyLong_FromSize_t(nvp_flow_base_offset(self->flow));
}

static PyObject *get_n_threads(PyObject *object, void *closure) {
    (void)closure;
    const Py_ssize_t n = ((TransformObject *)object)->n_threads;
    return PyLong_FromSsize_t(n ? n : 1);
}

static int set_n_threads(PyObject *object, PyObject *value, void *closure) {
    (void)closure;
    if (!value) {
        PyErr_SetString(PyExc_AttributeError, "_n_threads cannot be deleted");
        return -1;
    }
    const Py_ssize_t n = PyNumber_AsSsize_t(value, NULL); /* clipped: the library has a limit of its own */
    if (n == -1 && PyErr_Occurred())
        return -1;
    if (n < 1) {
        PyErr_Format(PyExc_ValueError, "_n_threads must be at least 1, got %R", value);
        return -1;
    }
    atomic_store_explicit(&((TransformObject *)object)->n_threads, n, memory_order_relaxed);
    return 0;
}

static PyMethodDef transform_methods[] = {
    FAST_METHOD("forward", transform_forward, forward_doc),
    FAST_METHOD("inverse", transform_inverse, inverse_doc),
    FAST_METHOD("forward_vjp", transform_forward_vjp, forward_vjp_doc),
    FAST_METHOD("inverse_vjp", transform_inverse_vjp, inverse_vjp_doc),
    FAST_METHOD("trace", transform_trace, trace_doc),
    {"_check_unused", transform_check_unused, METH_NOARGS, check_unused_doc},
    {"_initialize", transform_initialize, METH_O, initialize_doc},
    {"_rebind", transform_rebind, METH_O, rebind_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef transform_attributes[] = {
    {"parameters", get_parameters, NULL,
     "ndarray, shape (n_parameters,): all parameters, as a view. Writing to it "
     "changes the transform.",
     NULL},
    {"n_parameters", get_n_parameters, NULL, "int: the number of parameters.", NULL},
    {"data_dim", get_data_dim, NULL, "int: D, the number of dimensions.", NULL},
    {"context_dim", get_context_dim, NULL, "int: C, the number of columns of the context; 0 for none.", NULL},
    {"dtype", get_dtype, NULL, "numpy.dtype: float32 or float64, of the parameters and of every computation.", NULL},
    {"isa", get_isa, NULL, "str: the instruction set of the kernels in use.", NULL},
    {"_layer_offsets", get_layer_offsets, NULL, "tuple of int: offset of each layer in the parameters.", NULL},
    {"_n_threads", get_n_threads, set_n_threads, "int: number of threads that a call may use.", NULL},
    {"_base_offset", get_base_offset, NULL, "int: offset of the base in the parameters.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot transform_slots[] = {
    {Py_tp_doc, "A chain of invertible layers over a flat buffer of parameters."},
    {Py_tp_init, transform_init},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_traverse, transform_traverse},
    {Py_tp_clear, transform_clear},
    {Py_tp_dealloc, transform_dealloc},
    {Py_tp_methods, transform_methods},
    {Py_tp_getset, transform_attributes},
    {0, NULL},
};

PyType_Spec transform_spec = {
    .name = "nvpflow._core.Transform",
    .basicsize = sizeof(TransformObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = transform_slots,
};
