/* Convert Python objects to arrays that the library can read. */
#include "binding.h"
#include <math.h>

int parse_arguments(const char *method, const char *const *names, int n_required, int n_names, PyObject *const *args,
                    Py_ssize_t n_args, PyObject *keywords, PyObject **values) {
    if (n_args > n_names) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %d arguments, got %zd", method, n_names, n_args);
        return -1;
    }
    for (int i = 0; i < n_names; i++)
        values[i] = i < n_args ? args[i] : NULL;
    const Py_ssize_t n_keywords = keywords ? PyTuple_GET_SIZE(keywords) : 0;
    for (Py_ssize_t k = 0; k < n_keywords; k++) {
        PyObject *keyword = PyTuple_GET_ITEM(keywords, k);
        int i = 0;
        while (i < n_names && PyUnicode_CompareWithASCIIString(keyword, names[i]) != 0)
            i++;
        if (i == n_names) {
            PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", method, keyword);
            return -1;
        }
        if (values[i]) {
            PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%s'", method, names[i]);
            return -1;
        }
        values[i] = args[n_args + k];
    }
    for (int i = 0; i < n_required; i++)
        if (!values[i]) {
            PyErr_Format(PyExc_TypeError, "%s() is missing the argument '%s'", method, names[i]);
            return -1;
        }
    return 0;
}

static int is_ready(int typenum, PyArrayObject *array, int n_dims) {
    return PyArray_TYPE(array) == typenum && PyArray_NDIM(array) == n_dims && PyArray_ISCARRAY_RO(array);
}

/* Check the shape before the conversion, which may be expensive. */
static int check_shape(PyArrayObject *array, const char *name, npy_intp n, npy_intp columns) {
    const int n_dims = PyArray_NDIM(array), vector = columns == VECTOR;
    const npy_intp *shape = PyArray_DIMS(array);
    if (n_dims == (vector ? 1 : 2) && (n < 0 || shape[0] == n) && (vector || shape[1] == columns))
        return 0;
    PyObject *given = PyObject_GetAttrString((PyObject *)array, "shape");
    if (!given)
        return -1;
    if (vector)
        PyErr_Format(PyExc_ValueError, "%s must have shape (%zd,), got %S", name, (Py_ssize_t)n, given);
    else if (n >= 0)
        PyErr_Format(PyExc_ValueError, "%s must have shape (%zd, %zd), got %S", name, (Py_ssize_t)n,
                     (Py_ssize_t)columns, given);
    else if (n_dims == 1 && shape[0] == columns)
        PyErr_Format(PyExc_ValueError, "%s must have shape (n, %zd), got %S: for a single sample use %s.reshape(1, -1)",
                     name, (Py_ssize_t)columns, given, name);
    else if (n_dims == 1 && columns == 1)
        PyErr_Format(PyExc_ValueError,
                     "%s must have shape (n, 1), got %S: for samples of one dimension use %s.reshape(-1, 1)", name,
                     given, name);
    else
        PyErr_Format(PyExc_ValueError, "%s must have shape (n, %zd), got %S", name, (Py_ssize_t)columns, given);
    Py_DECREF(given);
    return -1;
}

/* Everything except plain arrays is converted in Python: frames, tensors, DLPack, subclasses of arrays. */
static PyArrayObject *as_array(PyObject *value, const char *name) {
    if (PyArray_CheckExact(value))
        return (PyArrayObject *)Py_NewRef(value);
    PyObject *module = PyImport_ImportModule("nvpflow._validation.arrays");
    PyObject *array = module ? PyObject_CallMethod(module, "as_array", "sO", name, value) : NULL;
    Py_XDECREF(module);
    return (PyArrayObject *)array;
}

PyArrayObject *view_array(PyArrayObject *array) { return (PyArrayObject *)PyArray_View(array, NULL, &PyArray_Type); }

PyArrayObject *convert_array(int typenum, PyObject *value, const char *name, npy_intp n, npy_intp columns) {
    PyArrayObject *array = as_array(value, name);
    if (!array)
        return NULL;
    PyArrayObject *converted = NULL;
    if (!(PyArray_ISINTEGER(array) || PyArray_ISFLOAT(array) || PyArray_ISBOOL(array))) {
        PyErr_Format(PyExc_TypeError, "%s must be an array of real numbers, got dtype %S", name,
                     (PyObject *)PyArray_DESCR(array));
    } else if (check_shape(array, name, n, columns) == 0) {
        converted =
            is_ready(typenum, array, columns == VECTOR ? 1 : 2)
                ? view_array(array)
                : (PyArrayObject *)PyArray_FROM_OTF((PyObject *)array, typenum,
                                                    NPY_ARRAY_CARRAY_RO | NPY_ARRAY_FORCECAST | NPY_ARRAY_ENSUREARRAY);
    }
    Py_DECREF(array);
    return converted;
}

int convert_optional(int typenum, PyObject *value, const char *name, npy_intp n, npy_intp columns,
                     PyArrayObject **array) {
    *array = NULL;
    if (!value || value == Py_None)
        return 0;
    *array = convert_array(typenum, value, name, n, columns);
    return *array ? 0 : -1;
}

int convert_context(const TransformObject *self, PyObject *value, const char *name, npy_intp n, PyArrayObject **array) {
    const int is_missing = !value || value == Py_None;
    *array = NULL;
    if (self->context_dim == 0 && is_missing)
        return 0;
    if (self->context_dim == 0) {
        PyErr_Format(PyExc_ValueError, "%s must be None where context_dim is 0, got %s", name, Py_TYPE(value)->tp_name);
        return -1;
    }
    if (is_missing) {
        PyErr_Format(PyExc_ValueError, "%s must have shape (%zd, %zd), got None", name, (Py_ssize_t)n,
                     self->context_dim);
        return -1;
    }
    *array = convert_array(self->typenum, value, name, n, self->context_dim);
    return *array ? 0 : -1;
}

static int check_weights(const double *weights, npy_intp n, const char *name) {
    double sum = 0;
    for (npy_intp i = 0; i < n; i++) {
        sum += weights[i];
        if (!(weights[i] >= 0 && isfinite(weights[i]))) {
            PyObject *weight = PyFloat_FromDouble(weights[i]);
            if (weight)
                PyErr_Format(PyExc_ValueError, "%s must be finite and >= 0, got %R in row %zd", name, weight,
                             (Py_ssize_t)i);
            Py_XDECREF(weight);
            return -1;
        }
    }
    if (sum > 0 && isfinite(sum))
        return 0;
    PyErr_Format(PyExc_ValueError, "%s must have a finite sum > 0, got %s", name, sum > 0 ? "inf" : "0");
    return -1;
}

int convert_weights(PyObject *value, const char *name, npy_intp n, PyArrayObject **array) {
    if (convert_optional(NPY_DOUBLE, value, name, n, VECTOR, array) < 0)
        return -1;
    if (!*array || check_weights(PyArray_DATA(*array), n, name) == 0)
        return 0;
    Py_CLEAR(*array);
    return -1;
}

PyArrayObject *new_array(const TransformObject *self, int n_dims, npy_intp *shape) {
    return (PyArrayObject *)PyArray_SimpleNew(n_dims, shape, self->typenum);
}

PyObject *pack(PyArrayObject *const *arrays, Py_ssize_t n) {
    int complete = 1;
    for (Py_ssize_t i = 0; i < n; i++)
        complete &= arrays[i] != NULL;
    PyObject *result = complete ? PyTuple_New(n) : NULL;
    for (Py_ssize_t i = 0; i < n; i++)
        if (result)
            PyTuple_SET_ITEM(result, i, (PyObject *)arrays[i]);
        else
            Py_XDECREF(arrays[i]);
    return result;
}
