/* nvpflow._core.incomplete_sums. */
#include "binding.h"
#include "../incomplete.h"

enum { X, SHARE, LOG_WEIGHTS, MEANS, COVARIANCES, SHARES, SHIFT, SQUARES, N_ARRAYS };

PyObject *incomplete_sums(PyObject *module, PyObject *args) {
    (void)module;
    PyArrayObject *arrays[N_ARRAYS];
    PyTypeObject *type = &PyArray_Type;
    if (!PyArg_ParseTuple(args, "O!O!O!O!O!O!O!O!", type, &arrays[X], type, &arrays[SHARE], type, &arrays[LOG_WEIGHTS],
                          type, &arrays[MEANS], type, &arrays[COVARIANCES], type, &arrays[SHARES], type, &arrays[SHIFT],
                          type, &arrays[SQUARES]))
        return NULL;
    const npy_intp n = PyArray_SIZE(arrays[SHARE]), k = PyArray_SIZE(arrays[SHARES]);
    const npy_intp dim = PyArray_NDIM(arrays[X]) == 2 ? PyArray_DIM(arrays[X], 1) : 0;
    const npy_intp per_row[N_ARRAYS] = {dim, 1, 1, dim, dim * dim, 1, dim, dim * dim};
    for (int i = 0; i < N_ARRAYS; i++) {
        const npy_intp size = (i <= SHARE ? n : k) * per_row[i];
        if (dim == 0 || PyArray_TYPE(arrays[i]) != NPY_DOUBLE || PyArray_SIZE(arrays[i]) != size ||
            !(i < SHARES ? PyArray_ISCARRAY_RO(arrays[i]) : PyArray_ISCARRAY(arrays[i]))) {
            PyErr_SetString(PyExc_ValueError,
                            "x (n, dim), share (n), log_weights (k), means (k, dim), covariances "
                            "(k, dim, dim), shares (k), shift (k, dim) and squares (k, dim, dim) must "
                            "be contiguous arrays of float64, and the last three writeable");
            return NULL;
        }
    }
    double *data[N_ARRAYS], nll = 0;
    for (int i = 0; i < N_ARRAYS; i++)
        data[i] = PyArray_DATA(arrays[i]);
    nvp_status status;
    Py_BEGIN_ALLOW_THREADS;
    status = nvp_incomplete_sums((size_t)n, (size_t)dim, (size_t)k, data[X], data[SHARE], data[LOG_WEIGHTS],
                                 data[MEANS], data[COVARIANCES], data[SHARES], data[SHIFT], data[SQUARES], &nll);
    Py_END_ALLOW_THREADS;
    if (status == NVP_ERROR_ARGUMENT) {
        PyErr_SetString(PyExc_ValueError, "covariances must be positive definite");
        return NULL;
    }
    return raise_status(status) < 0 ? NULL : PyFloat_FromDouble(nll);
}
