/* Python objects into arrays that the library can read. */
#include "binding.h"

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

static int is_ready(const TransformObject *self, PyArrayObject *array, int n_dims) {
    return PyArray_TYPE(array) == self->typenum && PyArray_NDIM(array) == n_dims && PyArray_ISCARRAY_RO(array);
}

/* The shape is checked first: a wrong one should not cost a conversion. */
static int check_shape(const TransformObject *self, PyArrayObject *array, const char *name, int vector, npy_intp n) {
    const int n_dims = PyArray_NDIM(array);
    const npy_intp *shape = PyArray_DIMS(array);
    if (n_dims == (vector ? 1 : 2) && (n < 0 || shape[0] == n) && (vector || shape[1] == self->dim))
        return 0;
    PyObject *given = PyObject_GetAttrString((PyObject *)array, "shape");
    if (!given)
        return -1;
    if (vector)
        PyErr_Format(PyExc_ValueError, "%s must have shape (%zd,), got %S", name, (Py_ssize_t)n, given);
    else if (n_dims == 2 && n >= 0 && shape[0] != n)
        PyErr_Format(PyExc_ValueError, "%s must have shape (%zd, %zd), got %S", name, (Py_ssize_t)n, self->dim, given);
    else if (n_dims == 1 && shape[0] == self->dim)
        PyErr_Format(PyExc_ValueError,
                     "%s must have shape (n, %zd), got %S: for a single sample use %s.reshape(1, -1)", name,
                     self->dim, given, name);
    else if (n_dims == 1 && self->dim == 1)
        PyErr_Format(PyExc_ValueError,
                     "%s must have shape (n, 1), got %S: for samples of one dimension use %s.reshape(-1, 1)", name,
                     given, name);
    else
        PyErr_Format(PyExc_ValueError, "%s must have shape (n, %zd), got %S", name, self->dim, given);
    Py_DECREF(given);
    return -1;
}

/* What is not an array yet is Python's to read: frames, tensors, DLPack, and the errors that they may give. */
static PyArrayObject *as_array(PyObject *value, const char *name) {
    if (PyArray_Check(value))
        return (PyArrayObject *)Py_NewRef(value);
    PyObject *module = PyImport_ImportModule("nvpflow._arrays");
    PyObject *array = module ? PyObject_CallMethod(module, "as_array", "sO", name, value) : NULL;
    Py_XDECREF(module);
    return (PyArrayObject *)array;
}

PyArrayObject *convert_array(const TransformObject *self, PyObject *value, const char *name, int vector, npy_intp n) {
    PyArrayObject *array = as_array(value, name);
    if (!array)
        return NULL;
    PyArrayObject *converted = NULL;
    if (!(PyArray_ISINTEGER(array) || PyArray_ISFLOAT(array) || PyArray_ISBOOL(array))) {
        PyErr_Format(PyExc_TypeError, "%s must be an array of real numbers, got dtype %S", name,
                     (PyObject *)PyArray_DESCR(array));
    } else if (check_shape(self, array, name, vector, n) == 0) {
        converted = is_ready(self, array, vector ? 1 : 2)
                        ? (PyArrayObject *)Py_NewRef(array)
                        : (PyArrayObject *)PyArray_FROM_OTF((PyObject *)array, self->typenum,
                                                            NPY_ARRAY_CARRAY_RO | NPY_ARRAY_FORCECAST |
                                                                NPY_ARRAY_ENSUREARRAY);
    }
    Py_DECREF(array);
    return converted;
}

int convert_optional(const TransformObject *self, PyObject *value, const char *name, int vector, npy_intp n,
                     PyArrayObject **array) {
    *array = value == Py_None ? NULL : convert_array(self, value, name, vector, n);
    return *array || value == Py_None ? 0 : -1;
}

PyArrayObject *new_array(const TransformObject *self, int n_dims, npy_intp *shape) {
    return (PyArrayObject *)PyArray_SimpleNew(n_dims, shape, self->typenum);
}

PyObject *pair(PyArrayObject *first, PyArrayObject *second) {
    PyObject *result = first && second ? PyTuple_Pack(2, (PyObject *)first, (PyObject *)second) : NULL;
    Py_XDECREF(first);
    Py_XDECREF(second);
    return result;
}
