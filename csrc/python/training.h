/* Conversion of training data and options, and the training of a flow. */
#ifndef NVPFLOW_TRAINING_H
#define NVPFLOW_TRAINING_H

#include "binding.h"

/* Converted samples. It owns the arrays, any of which may be NULL. */
typedef struct {
    PyArrayObject *x, *context, *weight;
} Data;

static inline nvp_data data_of(const Data *data) {
    const size_t n = data->x ? (size_t)PyArray_DIM(data->x, 0) : 0;
    return (nvp_data)NVP_DATA(.n = n, .x = data_or_null(data->x), .context = data_or_null(data->context),
                              .weight = data_or_null(data->weight));
}

static inline void release_data(Data *data) {
    Py_XDECREF(data->x);
    Py_XDECREF(data->context);
    Py_XDECREF(data->weight);
}

/* Read the dict of options, which train_options.c lists. None, like an absent option, means the default of nvp_train.
 * The noise becomes a new reference or NULL. -1 with an exception, also if a name is unknown. */
int read_train_options(const TransformObject *self, PyObject *dict, nvp_train_options *options, PyArrayObject **noise);

PyObject *flow_train(PyObject *self, PyObject *args);
PyObject *flow_train_state_size(PyObject *self, PyObject *unused);

#endif
