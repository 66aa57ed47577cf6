/* nvpflow._core.kmeans, add_center and cluster_moments. */
#include "binding.h"
#include "../kmeans.h"

/* Points (n, dim) and their share (n). -1 with an exception. */
static int set_points(PyArrayObject *points, PyArrayObject *share, nvp_points *to) {
    const int typenum = PyArray_TYPE(points);
    if ((typenum != NPY_FLOAT && typenum != NPY_DOUBLE) || PyArray_NDIM(points) != 2 || PyArray_SIZE(points) == 0 ||
        !PyArray_ISCARRAY_RO(points) || !is_array(share, NPY_DOUBLE, PyArray_DIM(points, 0), 0)) {
        PyErr_SetString(PyExc_ValueError, "points (n, dim), of float32 or float64, and share (n), of float64, must be "
                                          "contiguous arrays that are not empty");
        return -1;
    }
    *to = (nvp_points){typenum == NPY_FLOAT ? NVP_FLOAT32 : NVP_FLOAT64, (size_t)PyArray_DIM(points, 0),
                       (size_t)PyArray_DIM(points, 1), PyArray_DATA(points), PyArray_DATA(share)};
    return 0;
}

static PyObject *refuse(const char *message) {
    PyErr_SetString(PyExc_ValueError, message);
    return NULL;
}

PyObject *kmeans(PyObject *module, PyObject *args) {
    (void)module;
    PyArrayObject *points, *share, *centers, *labels;
    Py_ssize_t max_iter;
    nvp_points of;
    if (!PyArg_ParseTuple(args, "O!O!nO!O!", &PyArray_Type, &points, &PyArray_Type, &share, &max_iter, &PyArray_Type,
                          &centers, &PyArray_Type, &labels) ||
        set_points(points, share, &of) < 0)
        return NULL;
    const npy_intp dim = (npy_intp)of.dim, k = PyArray_SIZE(centers) / dim;
    if (k == 0 || max_iter < 1 || !is_array(centers, NPY_DOUBLE, k * dim, 1) ||
        !is_array(labels, NPY_INT64, (npy_intp)of.n, 1))
        return refuse(
            "max_iter must be positive, and centers (k, dim), of float64, and labels (n), of int64, contiguous "
            "arrays that are writeable");
    nvp_status status;
    Py_BEGIN_ALLOW_THREADS;
    status = nvp_kmeans(&of, (size_t)k, (size_t)max_iter, PyArray_DATA(centers), PyArray_DATA(labels));
    Py_END_ALLOW_THREADS;
    if (raise_status(status) < 0)
        return NULL;
    Py_RETURN_NONE;
}

PyObject *add_center(PyObject *module, PyObject *args) {
    (void)module;
    PyArrayObject *points, *share, *uniforms, *distances;
    nvp_points of;
    size_t chosen = 0;
    if (!PyArg_ParseTuple(args, "O!O!O!O!", &PyArray_Type, &points, &PyArray_Type, &share, &PyArray_Type, &uniforms,
                          &PyArray_Type, &distances) ||
        set_points(points, share, &of) < 0)
        return NULL;
    if (!is_array(uniforms, NPY_DOUBLE, NVP_CANDIDATES, 0) || !is_array(distances, NPY_DOUBLE, (npy_intp)of.n, 1))
        return refuse("uniforms (3) and distances (n) must be contiguous arrays of float64, and distances writeable");
    nvp_status status;
    Py_BEGIN_ALLOW_THREADS;
    status = nvp_add_center(&of, PyArray_DATA(uniforms), PyArray_DATA(distances), &chosen);
    Py_END_ALLOW_THREADS;
    return raise_status(status) < 0 ? NULL : PyLong_FromSize_t(chosen);
}

PyObject *cluster_moments(PyObject *module, PyObject *args) {
    (void)module;
    PyArrayObject *points, *share, *labels, *shares, *means, *squares;
    nvp_points of;
    if (!PyArg_ParseTuple(args, "O!O!O!O!O!O!", &PyArray_Type, &points, &PyArray_Type, &share, &PyArray_Type, &labels,
                          &PyArray_Type, &shares, &PyArray_Type, &means, &PyArray_Type, &squares) ||
        set_points(points, share, &of) < 0)
        return NULL;
    const npy_intp dim = (npy_intp)of.dim, k = PyArray_SIZE(shares);
    int valid = k > 0 && is_array(labels, NPY_INT64, (npy_intp)of.n, 0) && is_array(shares, NPY_DOUBLE, k, 1) &&
                is_array(means, NPY_DOUBLE, k * dim, 1) && is_array(squares, NPY_DOUBLE, k * dim * dim, 1);
    const int64_t *numbers = valid ? PyArray_DATA(labels) : NULL;
    for (size_t i = 0; valid && i < of.n; i++)
        valid = numbers[i] >= 0 && numbers[i] < k;
    if (!valid)
        return refuse(
            "labels (n), numbers of int64 less than k, shares (k), means (k, dim) and squares (k, dim, dim), of "
            "float64, must be contiguous arrays, and the last three writeable");
    nvp_status status;
    Py_BEGIN_ALLOW_THREADS;
    status =
        nvp_cluster_moments(&of, (size_t)k, numbers, PyArray_DATA(shares), PyArray_DATA(means), PyArray_DATA(squares));
    Py_END_ALLOW_THREADS;
    if (raise_status(status) < 0)
        return NULL;
    Py_RETURN_NONE;
}
