/* nvpflow._core.em, em_log_prob, em_sums, em_step, covariances and factor_model. */
#include "binding.h"
#include "../em.h"
#include "../factor_model.h"

static int has_shape(PyArrayObject *array, npy_intp size, int writeable) {
    return is_array(array, NPY_DOUBLE, size, writeable);
}

/* The prior: (n, samples, shrinkage, limits, floor, added, repeated, n_factors). Its arrays belong to the tuple. */
static int parse_prior(PyObject *tuple, nvp_covariance_prior *prior) {
    PyArrayObject *limits, *floor, *added;
    PyObject *repeated;
    Py_ssize_t n_factors;
    if (!PyArg_ParseTuple(tuple, "dddO!O!O!On", &prior->n, &prior->samples, &prior->shrinkage, &PyArray_Type, &limits,
                          &PyArray_Type, &floor, &PyArray_Type, &added, &repeated, &n_factors))
        return -1;
    const npy_intp dim = PyArray_SIZE(floor);
    if (dim == 0 || !has_shape(floor, dim, 0) || !has_shape(added, dim, 0) || !has_shape(limits, 5, 0) ||
        (repeated != Py_None && (!PyArray_Check(repeated) || !has_shape((PyArrayObject *)repeated, dim, 0)))) {
        PyErr_SetString(PyExc_ValueError,
                        "limits (5), floor (dim), added (dim) and repeated (dim) or None must be contiguous "
                        "arrays of float64");
        return -1;
    }
    const double *numbers = PyArray_DATA(limits);
    prior->least_relative = numbers[0], prior->widest = numbers[1], prior->enough_rows = numbers[2];
    prior->one_value = numbers[3], prior->enough_for_values = numbers[4];
    prior->dim = (size_t)dim, prior->floor = PyArray_DATA(floor), prior->added = PyArray_DATA(added);
    prior->repeated = repeated == Py_None ? NULL : PyArray_DATA((PyArrayObject *)repeated);
    if (n_factors < 0 || n_factors >= dim) {
        PyErr_SetString(PyExc_ValueError, "the number of factors must be at least 0, and less than dim");
        return -1;
    }
    prior->n_factors = (size_t)n_factors;
    return 0;
}

PyObject *covariances(PyObject *module, PyObject *args) {
    (void)module;
    PyArrayObject *squares, *shares;
    PyObject *tuple;
    nvp_covariance_prior prior;
    Call call = {0};
    if (!PyArg_ParseTuple(args, "O!O!O!", &PyArray_Type, &squares, &PyArray_Type, &shares, &PyTuple_Type, &tuple) ||
        parse_prior(tuple, &prior) < 0)
        return NULL;
    const npy_intp k = PyArray_SIZE(shares), dim = (npy_intp)prior.dim;
    if (k == 0 || !has_shape(shares, k, 0) || !has_shape(squares, k * dim * dim, 1)) {
        PyErr_SetString(PyExc_ValueError, "squares (k, dim, dim) and shares (k) must be contiguous arrays of float64, "
                                          "and squares writeable");
        return NULL;
    }
    release_gil(&call, NULL);
    const nvp_status status = nvp_covariances(&prior, (size_t)k, PyArray_DATA(shares), PyArray_DATA(squares));
    if (take_gil(&call, status) < 0)
        return NULL;
    Py_RETURN_NONE;
}

PyObject *factor_model(PyObject *module, PyObject *args) {
    (void)module;
    PyArrayObject *covariance;
    Py_ssize_t n_factors;
    if (!PyArg_ParseTuple(args, "O!n", &PyArray_Type, &covariance, &n_factors))
        return NULL;
    npy_intp shape[2] = {PyArray_NDIM(covariance) == 2 ? PyArray_DIM(covariance, 0) : 0, 0};
    const npy_intp dim = shape[1] = shape[0];
    if (dim == 0 || !has_shape(covariance, dim * dim, 0) || n_factors < 1 || n_factors >= dim) {
        PyErr_SetString(PyExc_ValueError,
                        "covariance (dim, dim) must be a contiguous array of float64, and the number of "
                        "factors at least 1, and less than dim");
        return NULL;
    }
    PyObject *model = PyArray_SimpleNew(2, shape, NPY_DOUBLE);
    if (!model)
        return NULL;
    Call call = {0};
    release_gil(&call, NULL);
    const nvp_status status = nvp_factor_model((size_t)dim, (size_t)n_factors, PyArray_DATA(covariance),
                                               PyArray_DATA((PyArrayObject *)model));
    if (take_gil(&call, status) < 0) {
        Py_DECREF(model);
        return NULL;
    }
    return model;
}

/* Optional arrays. */
enum { WEIGHT, CLASSES, LOG_WEIGHTS, CLASS_SHARES, N_OPTIONAL };

static int check_classes(PyArrayObject *classes, npy_intp n, npy_intp n_classes) {
    if (PyArray_TYPE(classes) != NPY_INT64 || PyArray_SIZE(classes) != n || !PyArray_ISCARRAY_RO(classes))
        return -1;
    const int64_t *numbers = PyArray_DATA(classes);
    for (npy_intp i = 0; i < n; i++)
        if (numbers[i] < 0 || numbers[i] >= n_classes)
            return -1;
    return 0;
}

static int raise_not_definite(Call *call, nvp_status status) {
    if (status != NVP_ERROR_ARGUMENT)
        return take_gil(call, status);
    PyEval_RestoreThread(call->thread);
    PyErr_SetString(PyExc_ValueError, "covariances must be positive definite");
    return -1;
}

PyObject *em(PyObject *module, PyObject *args) {
    (void)module;
    PyArrayObject *x, *weights, *means, *covariances_;
    PyObject *optional[N_OPTIONAL], *tuple;
    Py_ssize_t max_iter, n_first = 0;
    double tolerance, nll = NAN;
    nvp_covariance_prior prior;
    Call call = {0};
    if (!PyArg_ParseTuple(args, "O!OOOOO!O!O!O!nd|n", &PyArray_Type, &x, &optional[WEIGHT], &optional[CLASSES],
                          &optional[LOG_WEIGHTS], &optional[CLASS_SHARES], &PyArray_Type, &weights, &PyArray_Type,
                          &means, &PyArray_Type, &covariances_, &PyTuple_Type, &tuple, &max_iter, &tolerance,
                          &n_first) ||
        parse_prior(tuple, &prior) < 0)
        return NULL;
    PyArrayObject *arrays[N_OPTIONAL];
    for (int i = 0; i < N_OPTIONAL; i++) {
        if (optional[i] != Py_None && !PyArray_Check(optional[i])) {
            PyErr_SetString(PyExc_TypeError, "weight, classes, log_weights and class_shares must be arrays or None");
            return NULL;
        }
        arrays[i] = optional[i] == Py_None ? NULL : (PyArrayObject *)optional[i];
    }
    const npy_intp dim = (npy_intp)prior.dim, k = PyArray_SIZE(weights), n = PyArray_SIZE(x) / dim;
    const npy_intp n_classes = k && arrays[LOG_WEIGHTS] ? PyArray_SIZE(arrays[LOG_WEIGHTS]) / k : 1;
    const int typenum = PyArray_TYPE(x), has_classes = arrays[CLASSES] != NULL;
    if ((typenum != NPY_FLOAT && typenum != NPY_DOUBLE) || !PyArray_ISCARRAY_RO(x) || n == 0 ||
        PyArray_SIZE(x) != n * dim || k == 0 || !has_shape(weights, k, 1) || !has_shape(means, k * dim, 1) ||
        !has_shape(covariances_, k * dim * dim, 1) || (arrays[WEIGHT] && !has_shape(arrays[WEIGHT], n, 0)) ||
        has_classes != (arrays[LOG_WEIGHTS] != NULL) || has_classes != (arrays[CLASS_SHARES] != NULL) ||
        (has_classes &&
         (!has_shape(arrays[LOG_WEIGHTS], n_classes * k, 0) || !has_shape(arrays[CLASS_SHARES], n_classes * k, 1) ||
          check_classes(arrays[CLASSES], n, n_classes) < 0))) {
        PyErr_SetString(
            PyExc_ValueError,
            "x (n, dim), of float32 or float64, weight (n) or None, weights (k), means (k, dim), covariances "
            "(k, dim, dim), and either none or all of classes (n), numbers of int64 less than n_classes, "
            "log_weights and class_shares (n_classes, k) must be contiguous arrays, else of float64");
        return NULL;
    }
    const nvp_em_samples samples = {.dtype = typenum == NPY_FLOAT ? NVP_FLOAT32 : NVP_FLOAT64,
                                    .n = (size_t)n,
                                    .dim = (size_t)dim,
                                    .x = PyArray_DATA(x),
                                    .weight = data_or_null(arrays[WEIGHT]),
                                    .classes = data_or_null(arrays[CLASSES]),
                                    .n_classes = (size_t)n_classes};
    nvp_em_mixture mixture = {.k = (size_t)k,
                              .weights = PyArray_DATA(weights),
                              .means = PyArray_DATA(means),
                              .covariances = PyArray_DATA(covariances_),
                              .log_weights = data_or_null(arrays[LOG_WEIGHTS]),
                              .class_shares = data_or_null(arrays[CLASS_SHARES])};
    nvp_interrupt interrupt;
    release_gil(&call, &interrupt);
    const nvp_status status = nvp_em(&samples, &prior, n_first > 0 ? (size_t)n_first : 0,
                                     max_iter > 0 ? (size_t)max_iter : 0, tolerance, &interrupt, &mixture, &nll);
    return raise_not_definite(&call, status) < 0 ? NULL : PyFloat_FromDouble(nll);
}

/* The arrays of a mixture and of sums, all of float64. */
enum { WEIGHTS, MEANS, COVARIANCES, SHARES, SHIFT, PRODUCTS, N_SUMMED };

/* Whether they fit to each other: k components of `dim` columns. `from`: the first of those that are changed; `to`: one
 * after the last. */
static int are_sums(PyArrayObject *const arrays[N_SUMMED], npy_intp dim, int from, int to) {
    const npy_intp k = PyArray_SIZE(arrays[WEIGHTS]);
    const npy_intp per_component[N_SUMMED] = {1, dim, dim * dim, 1, dim, dim * dim};
    for (int i = 0; i < N_SUMMED; i++)
        if (!has_shape(arrays[i], k * per_component[i], i >= from && i < to))
            return 0;
    return k > 0 && dim > 0;
}

static void raise_of_sums(void) {
    PyErr_SetString(PyExc_ValueError,
                    "weights (k), means (k, dim), covariances (k, dim, dim), shares (k), shift (k, dim) and products "
                    "(k, dim, dim) must be contiguous arrays of float64, writeable where they are changed, and x (n, "
                    "dim) one of float32 or float64");
}

static nvp_em_mixture mixture_of(PyArrayObject *const arrays[N_SUMMED]) {
    return (nvp_em_mixture){.k = (size_t)PyArray_SIZE(arrays[WEIGHTS]),
                            .weights = PyArray_DATA(arrays[WEIGHTS]),
                            .means = PyArray_DATA(arrays[MEANS]),
                            .covariances = PyArray_DATA(arrays[COVARIANCES])};
}

static nvp_em_sums sums_of(PyArrayObject *const arrays[N_SUMMED]) {
    return (nvp_em_sums){.shares = PyArray_DATA(arrays[SHARES]),
                         .shift = PyArray_DATA(arrays[SHIFT]),
                         .products = PyArray_DATA(arrays[PRODUCTS])};
}

PyObject *em_sums(PyObject *module, PyObject *args) {
    (void)module;
    PyArrayObject *x, *arrays[N_SUMMED];
    PyTypeObject *type = &PyArray_Type;
    if (!PyArg_ParseTuple(args, "O!O!O!O!O!O!O!", type, &x, type, &arrays[WEIGHTS], type, &arrays[MEANS], type,
                          &arrays[COVARIANCES], type, &arrays[SHARES], type, &arrays[SHIFT], type, &arrays[PRODUCTS]))
        return NULL;
    const int typenum = PyArray_TYPE(x);
    const npy_intp dim = PyArray_NDIM(x) == 2 ? PyArray_DIM(x, 1) : 0;
    if ((typenum != NPY_FLOAT && typenum != NPY_DOUBLE) || !PyArray_ISCARRAY_RO(x) || PyArray_SIZE(x) == 0 ||
        !are_sums(arrays, dim, SHARES, N_SUMMED)) {
        raise_of_sums();
        return NULL;
    }
    const nvp_em_samples samples = {.dtype = typenum == NPY_FLOAT ? NVP_FLOAT32 : NVP_FLOAT64,
                                    .n = (size_t)PyArray_DIM(x, 0),
                                    .dim = (size_t)dim,
                                    .x = PyArray_DATA(x),
                                    .n_classes = 1};
    const nvp_em_mixture mixture = mixture_of(arrays);
    nvp_em_sums sums = sums_of(arrays);
    Call call = {0};
    nvp_interrupt interrupt;
    release_gil(&call, &interrupt);
    const nvp_status status = nvp_em_add_sums(&samples, &mixture, &interrupt, &sums);
    return raise_not_definite(&call, status) < 0 ? NULL : PyFloat_FromDouble(sums.nll);
}

PyObject *em_log_prob(PyObject *module, PyObject *args) {
    (void)module;
    PyArrayObject *x, *weights, *means, *covariances_;
    PyTypeObject *type = &PyArray_Type;
    if (!PyArg_ParseTuple(args, "O!O!O!O!", type, &x, type, &weights, type, &means, type, &covariances_))
        return NULL;
    const int typenum = PyArray_TYPE(x);
    const npy_intp k = PyArray_SIZE(weights), dim = PyArray_NDIM(x) == 2 ? PyArray_DIM(x, 1) : 0;
    if ((typenum != NPY_FLOAT && typenum != NPY_DOUBLE) || !PyArray_ISCARRAY_RO(x) || dim == 0 || k == 0 ||
        !has_shape(weights, k, 0) || !has_shape(means, k * dim, 0) || !has_shape(covariances_, k * dim * dim, 0)) {
        PyErr_SetString(PyExc_ValueError, "x (n, dim), of float32 or float64, weights (k), means (k, dim) and "
                                          "covariances (k, dim, dim) must be contiguous arrays, else of float64");
        return NULL;
    }
    npy_intp n = PyArray_DIM(x, 0);
    PyObject *log_prob = PyArray_SimpleNew(1, &n, NPY_DOUBLE);
    if (!log_prob)
        return NULL;
    const nvp_em_samples samples = {.dtype = typenum == NPY_FLOAT ? NVP_FLOAT32 : NVP_FLOAT64,
                                    .n = (size_t)n,
                                    .dim = (size_t)dim,
                                    .x = PyArray_DATA(x),
                                    .n_classes = 1};
    const nvp_em_mixture mixture = {.k = (size_t)k,
                                    .weights = PyArray_DATA(weights),
                                    .means = PyArray_DATA(means),
                                    .covariances = PyArray_DATA(covariances_)};
    Call call = {0};
    nvp_interrupt interrupt;
    release_gil(&call, &interrupt);
    const nvp_status status = nvp_em_log_prob(&samples, &mixture, &interrupt, PyArray_DATA((PyArrayObject *)log_prob));
    if (raise_not_definite(&call, status) < 0) {
        Py_DECREF(log_prob);
        return NULL;
    }
    return log_prob;
}

PyObject *em_step(PyObject *module, PyObject *args) {
    (void)module;
    PyArrayObject *arrays[N_SUMMED];
    PyObject *tuple;
    PyTypeObject *type = &PyArray_Type;
    Py_ssize_t n;
    int is_single;
    nvp_covariance_prior prior;
    Call call = {0};
    if (!PyArg_ParseTuple(args, "npO!O!O!O!O!O!O!", &n, &is_single, &PyTuple_Type, &tuple, type, &arrays[WEIGHTS], type,
                          &arrays[MEANS], type, &arrays[COVARIANCES], type, &arrays[SHARES], type, &arrays[SHIFT], type,
                          &arrays[PRODUCTS]) ||
        parse_prior(tuple, &prior) < 0)
        return NULL;
    if (n < 1 || !are_sums(arrays, (npy_intp)prior.dim, WEIGHTS, SHARES)) {
        raise_of_sums();
        return NULL;
    }
    nvp_em_mixture mixture = mixture_of(arrays);
    const nvp_em_sums sums = sums_of(arrays);
    release_gil(&call, NULL);
    const nvp_status status = nvp_em_step(is_single ? NVP_FLOAT32 : NVP_FLOAT64, (size_t)n, &sums, &prior, &mixture);
    if (raise_not_definite(&call, status) < 0)
        return NULL;
    Py_RETURN_NONE;
}
