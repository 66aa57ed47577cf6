/* nvpflow._core.normal_lines. */
#include "binding.h"
#include "../normal_lines.h"

enum { STARTS, WEIGHTS, MEANS, STDS, WHICH, POINTS, DENSITY, BELOW, N_ARRAYS };

PyObject *normal_lines(PyObject *module, PyObject *args) {
    (void)module;
    PyArrayObject *arrays[N_ARRAYS];
    PyTypeObject *type = &PyArray_Type;
    if (!PyArg_ParseTuple(args, "O!O!O!O!O!O!O!O!", type, &arrays[STARTS], type, &arrays[WEIGHTS], type, &arrays[MEANS],
                          type, &arrays[STDS], type, &arrays[WHICH], type, &arrays[POINTS], type, &arrays[DENSITY],
                          type, &arrays[BELOW]))
        return NULL;
    const npy_intp n = PyArray_SIZE(arrays[STARTS]) - 1, k = PyArray_SIZE(arrays[WEIGHTS]),
                   m = PyArray_SIZE(arrays[WHICH]);
    const npy_intp sizes[N_ARRAYS] = {n + 1, k, k, k, m, m, m, m};
    for (int i = 0; i < N_ARRAYS; i++) {
        if (n < 0 || PyArray_TYPE(arrays[i]) != (i == STARTS || i == WHICH ? NPY_INT64 : NPY_DOUBLE) ||
            PyArray_SIZE(arrays[i]) != sizes[i] ||
            !(i < DENSITY ? PyArray_ISCARRAY_RO(arrays[i]) : PyArray_ISCARRAY(arrays[i]))) {
            PyErr_SetString(PyExc_ValueError,
                            "starts (n + 1) and which (m) must be contiguous arrays of int64, weights "
                            "(k), means (k), stds (k), points (m), density (m) and below (m) of "
                            "float64, and the last two writeable");
            return NULL;
        }
    }
    void *data[N_ARRAYS];
    for (int i = 0; i < N_ARRAYS; i++)
        data[i] = PyArray_DATA(arrays[i]);
    const nvp_normal_lines lines = {(size_t)n, (size_t)k, data[STARTS], data[WEIGHTS], data[MEANS], data[STDS]};
    nvp_status status;
    Py_BEGIN_ALLOW_THREADS;
    status = nvp_normal_lines_at(&lines, (size_t)m, data[WHICH], data[POINTS], data[DENSITY], data[BELOW]);
    Py_END_ALLOW_THREADS;
    if (raise_status(status) < 0)
        return NULL;
    Py_RETURN_NONE;
}
