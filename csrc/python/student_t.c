/* nvpflow._core.student_t. */
#include "binding.h"
#include "../student_t.h"

enum { POINTS, LOG_EXCESS, FOUND, LOG_DET, N_ARRAYS };

PyObject *student_t(PyObject *module, PyObject *args) {
    (void)module;
    PyArrayObject *arrays[N_ARRAYS];
    PyTypeObject *type = &PyArray_Type;
    int backward;
    if (!PyArg_ParseTuple(args, "pO!O!O!O!", &backward, type, &arrays[POINTS], type, &arrays[LOG_EXCESS], type,
                          &arrays[FOUND], type, &arrays[LOG_DET]))
        return NULL;
    const int is_table = PyArray_NDIM(arrays[POINTS]) == 2;
    const npy_intp n = is_table ? PyArray_DIM(arrays[POINTS], 0) : -1,
                   dim = is_table ? PyArray_DIM(arrays[POINTS], 1) : 0;
    const npy_intp sizes[N_ARRAYS] = {n * dim, dim, n * dim, n};
    double *data[N_ARRAYS];
    for (int i = 0; i < N_ARRAYS; i++) {
        if (dim == 0 || PyArray_TYPE(arrays[i]) != NPY_DOUBLE || PyArray_SIZE(arrays[i]) != sizes[i] ||
            !(i < FOUND ? PyArray_ISCARRAY_RO(arrays[i]) : PyArray_ISCARRAY(arrays[i]))) {
            PyErr_SetString(PyExc_ValueError, "points (n, dim), log_excess (dim), found (n, dim) and log_det (n) must "
                                              "be contiguous arrays of float64, and the last two writeable");
            return NULL;
        }
        data[i] = PyArray_DATA(arrays[i]);
    }
    Py_BEGIN_ALLOW_THREADS;
    nvp_student_t_map((size_t)n, (size_t)dim, data[LOG_EXCESS], backward != 0, data[POINTS], data[FOUND],
                      data[LOG_DET]);
    Py_END_ALLOW_THREADS;
    Py_RETURN_NONE;
}
