/* The CPython side of nvpflow: converts arguments, releases the GIL, turns statuses into exceptions. The C library knows
 * nothing of it. */
#ifndef NVPFLOW_BINDING_H
#define NVPFLOW_BINDING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL nvpflow_ARRAY_API
#ifndef NVPFLOW_IMPORTS_NUMPY
#define NO_IMPORT_ARRAY
#endif
#include <numpy/arrayobject.h>

#include "nvpflow.h"

#if PY_VERSION_HEX < 0x030C0000 /* the functions of 3.12 */
static inline PyObject *PyErr_GetRaisedException(void) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback)
        PyException_SetTraceback(value, traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return value;
}

static inline void PyErr_SetRaisedException(PyObject *exception) {
    PyErr_Restore(Py_NewRef(Py_TYPE(exception)), exception, PyException_GetTraceback(exception));
}
#endif

/* A chain of layers and the parameters that it works on. The description never changes; the parameters may be swapped for
 * a part of another transform's, which is how a flow takes its layers over. */
typedef struct {
    PyObject_HEAD
    nvp_flow *flow; /* NULL until __init__ */
    PyArrayObject *parameters;
    nvp_workspace *workspace; /* the kept one; NULL while a call uses it */
    Py_ssize_t dim, context_dim;
    int typenum;
    Py_ssize_t n_threads;  /* 0 counts as 1 */
    long training_process; /* the process in which a training is under way; 0: none */
} TransformObject;

extern PyType_Spec transform_spec;
extern PyType_Spec flow_spec;

/* The flow that numbers describe, those of nvp_flow_decode; NULL with an exception. */
nvp_flow *decode_flow(PyObject *description);

/* The core's tables as dicts: for each name of a kind its fields (name, form, what they may be), of bases in a pair with
 * the version of the numbers that can hold it. New references, or NULL with an exception. */
PyObject *layer_kinds(void);
PyObject *base_kinds(void);

/* -1 with an exception where __init__ was not called, as a subclass may forget to. */
int check_ready(const TransformObject *self);

#define FAST_METHOD(name, function, doc)                                                                               \
    { name, (PyCFunction)(void (*)(void))(function), METH_FASTCALL | METH_KEYWORDS, doc }

/* Arguments of a METH_FASTCALL | METH_KEYWORDS method into values[0..n_names), missing ones NULL. The first n_required
 * must be there. Returns -1 with an exception. */
int parse_arguments(const char *method, const char *const *names, int n_required, int n_names, PyObject *const *args,
                    Py_ssize_t n_args, PyObject *keywords, PyObject **values);

/* `value` as a C-contiguous, aligned array of a dtype, of shape (n, columns), or (n,) for VECTOR columns. A negative n
 * accepts any. New reference, or NULL with an exception that names the argument. */
enum { VECTOR = -1 };
PyArrayObject *convert_array(int typenum, PyObject *value, const char *name, npy_intp n, npy_intp columns);

/* A view of its own of the same memory: nobody else can change its shape. New reference, or NULL with an exception. */
PyArrayObject *view_array(PyArrayObject *array);

/* Samples (n, D) in the dtype of the transform. */
static inline PyArrayObject *convert_samples(const TransformObject *self, PyObject *value, const char *name) {
    return convert_array(self->typenum, value, name, -1, self->dim);
}

/* The same as convert_array into *array, which is NULL for NULL or None. -1 with an exception. */
int convert_optional(int typenum, PyObject *value, const char *name, npy_intp n, npy_intp columns,
                     PyArrayObject **array);

/* The context (n, C) of n samples into *array, which is NULL for a transform that has none. -1 with an exception, also
 * where a context is missing or there should be none. */
int convert_context(const TransformObject *self, PyObject *value, const char *name, npy_intp n, PyArrayObject **array);

/* Sample weights (n), in double precision whatever the dtype; *array is NULL for none. -1 with an exception, also where
 * a weight is negative, or not finite, or all are zero. */
int convert_weights(PyObject *value, const char *name, npy_intp n, PyArrayObject **array);

/* A call into the library: the workspace, and the references that keep its memory alive while the GIL is released.
 * Python code that the library calls meanwhile takes the GIL with enter_python; an exception is kept aside when it
 * leaves, for other Python code runs as soon as the GIL is released. */
typedef struct {
    TransformObject *self;
    nvp_workspace *workspace;
    PyArrayObject *parameters;
    PyThreadState *thread;
    PyObject *exception;
} Call;

int begin_call(Call *call, TransformObject *self); /* -1 with an exception; after success, GIL released */
void enter_python(Call *call);
void leave_python(Call *call);
/* Takes the GIL back. 0, or -1 with the exception that was kept aside or belongs to the status. */
int end_call(Call *call, nvp_status status);
int raise_status(nvp_status status);

/* An uninitialised array in the dtype of the transform. */
PyArrayObject *new_array(const TransformObject *self, int n_dims, npy_intp *shape);

static inline void *data_or_null(PyArrayObject *array) { return array ? PyArray_DATA(array) : NULL; }

/* A tuple of n arrays, whose references it takes; any of them may be NULL after an error. */
PyObject *pack(PyArrayObject *const *arrays, Py_ssize_t n);

static inline PyObject *pair(PyArrayObject *first, PyArrayObject *second) {
    return pack((PyArrayObject *[]){first, second}, 2);
}

#define CONTEXT_DOC                                                                                                    \
    "context : array_like of real numbers, shape (n, C), optional\n"                                                   \
    "    What the density is conditional on; needed if context_dim, C, is not 0.\n"

PyObject *adam_step(PyObject *module, PyObject *args);

#endif
