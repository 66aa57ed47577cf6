/* nvpflow._core.adam_step. */
#include "binding.h"

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
