/* nvpflow._core: multi-phase initialisation, heap types, no module state. */
#define NVPFLOW_IMPORTS_NUMPY
#include "binding.h"

/* Loading needs the size of a flow before it allocates memory. */
static PyObject *count_parameters(PyObject *module, PyObject *value) {
    (void)module;
    nvp_flow *flow = decode_flow(value);
    if (!flow)
        return NULL;
    const size_t n = nvp_flow_n_parameters(flow);
    nvp_flow_destroy(flow);
    return PyLong_FromSize_t(n);
}

static PyMethodDef module_functions[] = {
    {"adam_step", adam_step, METH_VARARGS,
     "adam_step(parameters, grad, m, v, step, learning_rate, beta_1, beta_2, epsilon)\n--\n\n"
     "One step of Adam, in place."},
    {"add_center", add_center, METH_VARARGS,
     "add_center(points, share, uniforms, distances, /)\n--\n\n"
     "Choose a point as one more centre of k-means. Update the distances in place. Return its number."},
    {"cluster_moments", cluster_moments, METH_VARARGS,
     "cluster_moments(points, share, labels, shares, means, squares, /)\n--\n\n"
     "Write the shares, means and weighted mean squares of clusters into the last three arrays."},
    {"count_parameters", count_parameters, METH_O,
     "count_parameters(description)\n--\n\n"
     "The number of parameters of a flow, from the numbers of nvp_flow_decode."},
    {"covariances", covariances, METH_VARARGS,
     "covariances(squares, shares, prior, /)\n--\n\n"
     "Replace the weighted mean squares of components by their covariances, in place."},
    {"factor_model", factor_model, METH_VARARGS,
     "factor_model(covariance, n_factors, /)\n--\n\n"
     "The likeliest covariance of so many factors and a diagonal, for samples with this covariance."},
    {"em", em, METH_VARARGS,
     "em(x, weight, classes, log_weights, class_shares, weights, means, covariances, prior, max_iter, tolerance, "
     "n_first=0, /)"
     "\n--\n\n"
     "Fit a mixture by expectation-maximisation, in place. Return the mean NLL before the last step."},
    {"em_step", em_step, METH_VARARGS,
     "em_step(n, is_single, prior, weights, means, covariances, shares, shift, products, /)\n--\n\n"
     "Change a mixture, in place, by the maximisation step for sums over n samples, of float32 if is_single."},
    {"em_log_prob", em_log_prob, METH_VARARGS,
     "em_log_prob(x, weights, means, covariances, /)\n--\n\n"
     "Log-densities (n) of samples by a mixture, in nats; -inf where the dtype of x is too small."},
    {"em_sums", em_sums, METH_VARARGS,
     "em_sums(x, weights, means, covariances, shares, shift, products, /)\n--\n\n"
     "Add the sums of the expectation step to the last three arrays. Return the sum of the NLL."},
    {"find_shares", find_shares, METH_VARARGS,
     "find_shares(density, weight, n_steps, steps_to_drop, overshoot, negligible, shares, /)\n--\n\n"
     "Write the shares that maximise the likelihood of an average of densities into the last array."},
    {"kmeans", kmeans, METH_VARARGS,
     "kmeans(points, share, max_iter, centers, labels, /)\n--\n\n"
     "Move the centres, and write the labels of the points, in place."},
    {"incomplete_sums", incomplete_sums, METH_VARARGS,
     "incomplete_sums(x, share, log_weights, means, covariances, shares, shift, squares, /)\n--\n\n"
     "Add the expectations of rows with missing cells to the last three arrays. Return the sum of the NLL."},
    {"rosenblatt", rosenblatt, METH_VARARGS,
     "rosenblatt(backward, points, given, log_weights, means, factors, found, log_det, /)\n--\n\n"
     "Map points of a mixture to points of N(0, I), or back, into the last two arrays."},
    {"normal_lines", normal_lines, METH_VARARGS,
     "normal_lines(starts, weights, means, stds, which, points, density, below, /)\n--\n\n"
     "Densities and distribution functions of mixtures on a line, into the last two arrays."},
    {"student_t", student_t, METH_VARARGS,
     "student_t(backward, points, log_excess, found, log_det, /)\n--\n\n"
     "Map points of Student's t to points of N(0, I), or back, into the last two arrays."},
    {NULL, NULL, 0, NULL},
};

/* Takes the reference. NULL stands for an earlier error. */
static int add_object(PyObject *module, const char *name, PyObject *object) {
    const int status = object ? PyModule_AddObjectRef(module, name, object) : -1;
    Py_XDECREF(object);
    return status;
}

static int execute(PyObject *module) {
    import_array1(-1);
    PyObject *transform = PyType_FromModuleAndSpec(module, &transform_spec, NULL);
    if (!transform)
        return -1;
    PyObject *flow = PyType_FromModuleAndSpec(module, &flow_spec, transform);
    int failed = !flow || PyModule_AddType(module, (PyTypeObject *)transform) < 0 ||
                 PyModule_AddType(module, (PyTypeObject *)flow) < 0 ||
                 add_object(module, "LAYER_KINDS", layer_kinds()) < 0 ||
                 add_object(module, "BASE_KINDS", base_kinds()) < 0;
    Py_DECREF(transform);
    Py_XDECREF(flow);
    return failed ? -1 : 0;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, execute},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED}, /* as NumPy */
#endif
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT, .m_name = "nvpflow._core",     .m_doc = "The C core of nvpflow, with NumPy arrays.",
    .m_size = 0,           .m_methods = module_functions, .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__core(void) { return PyModuleDef_Init(&module_definition); }
