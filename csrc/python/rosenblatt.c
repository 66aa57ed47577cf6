/* nvpflow._core.rosenblatt. */
#include "binding.h"
#include "../rosenblatt.h"

enum { POINTS, GIVEN, LOG_WEIGHTS, MEANS, FACTORS, FOUND, LOG_DET, N_ARRAYS };

PyObject *rosenblatt(PyObject *module, PyObject *args) {
    (void)module;
    PyArrayObject *arrays[N_ARRAYS];
    PyTypeObject *type = &PyArray_Type;
    int backward;
    if (!PyArg_ParseTuple(args, "pO!O!O!O!O!O!O!", &backward, type, &arrays[POINTS], type, &arrays[GIVEN], type,
                          &arrays[LOG_WEIGHTS], type, &arrays[MEANS], type, &arrays[FACTORS], type, &arrays[FOUND],
                          type, &arrays[LOG_DET]))
        return NULL;
    const int is_table = PyArray_NDIM(arrays[POINTS]) == 2 && PyArray_NDIM(arrays[GIVEN]) == 2;
    const npy_intp n = is_table ? PyArray_DIM(arrays[POINTS], 0) : -1,
                   dim = is_table ? PyArray_DIM(arrays[POINTS], 1) : 0;
    const npy_intp n_given = is_table ? PyArray_DIM(arrays[GIVEN], 1) : 0, columns = n_given + dim;
    const npy_intp k = PyArray_NDIM(arrays[MEANS]) == 2 ? PyArray_DIM(arrays[MEANS], 0) : 0;
    const int per_row = PyArray_NDIM(arrays[LOG_WEIGHTS]) == 2;
    const npy_intp sizes[N_ARRAYS] = {
        n * dim, n * n_given, (per_row ? n : 1) * k, k * columns, k * columns * columns, n * dim, n};
    for (int i = 0; i < N_ARRAYS; i++) {
        if (dim == 0 || k == 0 || PyArray_TYPE(arrays[i]) != NPY_DOUBLE || PyArray_SIZE(arrays[i]) != sizes[i] ||
            !(i < FOUND ? PyArray_ISCARRAY_RO(arrays[i]) : PyArray_ISCARRAY(arrays[i]))) {
            PyErr_SetString(PyExc_ValueError,
                            "points (n, dim), given (n, c), log_weights (k) or (n, k), means (k, c + dim), "
                            "factors (k, c + dim, c + dim), found (n, dim) and log_det (n) must be "
                            "contiguous arrays of float64, and the last two writeable");
            return NULL;
        }
    }
    double *data[N_ARRAYS];
    for (int i = 0; i < N_ARRAYS; i++)
        data[i] = PyArray_DATA(arrays[i]);
    const nvp_normals normals = {(size_t)k,    (size_t)n_given, (size_t)dim,  data[LOG_WEIGHTS],
                                 per_row != 0, data[MEANS],     data[FACTORS]};
    nvp_status status;
    Py_BEGIN_ALLOW_THREADS;
    status = nvp_rosenblatt(&normals, backward != 0, (size_t)n, data[GIVEN], data[POINTS], data[FOUND], data[LOG_DET]);
    Py_END_ALLOW_THREADS;
    if (raise_status(status) < 0)
        return NULL;
    Py_RETURN_NONE;
}
