/* nvpflow._core.find_shares. */
#include "binding.h"
#include "../average.h"

PyObject *find_shares(PyObject *module, PyObject *args) {
    (void)module;
    PyArrayObject *density, *weight, *shares;
    PyTypeObject *type = &PyArray_Type;
    Py_ssize_t n_steps, steps_to_drop;
    nvp_share_steps steps;
    if (!PyArg_ParseTuple(args, "O!O!nnddO!", type, &density, type, &weight, &n_steps, &steps_to_drop, &steps.overshoot,
                          &steps.negligible, type, &shares))
        return NULL;
    const npy_intp n = PyArray_SIZE(weight), k = PyArray_SIZE(shares);
    if (PyArray_NDIM(density) != 2 || PyArray_DIM(density, 0) != k || PyArray_DIM(density, 1) != n ||
        !is_array(density, NPY_DOUBLE, PyArray_SIZE(density), 0) || !is_array(weight, NPY_DOUBLE, n, 0) ||
        !is_array(shares, NPY_DOUBLE, k, 1) || n_steps < 0 || steps_to_drop < 0) {
        PyErr_SetString(PyExc_ValueError,
                        "density (k, n), weight (n) and shares (k) must be contiguous arrays of float64, "
                        "and the last one writeable; numbers of steps must not be negative");
        return NULL;
    }
    const nvp_densities densities = {(size_t)k, (size_t)n, PyArray_DATA(density), PyArray_DATA(weight)};
    steps.n_steps = (size_t)n_steps, steps.steps_to_drop = (size_t)steps_to_drop;
    nvp_status status;
    Py_BEGIN_ALLOW_THREADS;
    status = nvp_find_shares(&densities, &steps, PyArray_DATA(shares));
    Py_END_ALLOW_THREADS;
    if (raise_status(status) < 0)
        return NULL;
    Py_RETURN_NONE;
}
