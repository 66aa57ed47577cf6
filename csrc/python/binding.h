/* The CPython binding: it converts arguments, releases the GIL, and turns statuses into exceptions. The C library does
 * not depend on it. */
#ifndef NVPFLOW_BINDING_H
#define NVPFLOW_BINDING_H

#include "../engine/smaller.h"

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL nvpflow_ARRAY_API
#ifndef NVPFLOW_IMPORTS_NUMPY
#define NO_IMPORT_ARRAY
#endif
#include <numpy/arrayobject.h>
#include <stdatomic.h>

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

#if PY_VERSION_HEX < 0x030D0000 /* Pythons with a GIL, which does what a critical section does where there is none */
#define Py_BEGIN_CRITICAL_SECTION(object) {
#define Py_END_CRITICAL_SECTION() }
#endif

/* A chain of layers and its parameters. The description never changes. The parameters may be replaced by a part of
 * another transform's: this is how a flow takes ownership of its layers.
 *
 * Without the GIL several threads may use one object at a time. What __init__ sets is published by `flow`, which it
 * sets last. `parameters` and `workspace` are read and replaced in critical sections of the object. */
typedef struct {
    PyObject_HEAD
    _Atomic(nvp_flow *) flow; /* NULL until __init__ */
    PyArrayObject *parameters;
    nvp_workspace *workspace; /* kept between calls; NULL while a call uses it */
    Py_ssize_t dim, context_dim;
    int typenum;
    _Atomic Py_ssize_t n_threads; /* 0 counts as 1 */
    atomic_long training_process; /* the process that trains this flow at present; 0: none */
} TransformObject;

extern PyType_Spec transform_spec;
extern PyType_Spec flow_spec;

/* Create a flow from the numbers of nvp_flow_decode. NULL with an exception. */
nvp_flow *decode_flow(PyObject *description);

/* The core's tables as dicts, which map the name of a kind to its fields (name, form, allowed values). For bases these
 * are paired with the version of the numbers that can represent the kind. New references, or NULL with an exception. */
PyObject *layer_kinds(void);
PyObject *base_kinds(void);

/* -1 with an exception if __init__ was not called, which a subclass may forget. */
int check_ready(const TransformObject *self);

/* A new reference to the present parameters, which another thread may replace at any time. */
PyArrayObject *hold_parameters(TransformObject *self);

/* Copy the numbers of the present parameters, or replace them by those of an array of the same length and dtype. */
void read_parameters(TransformObject *self, PyArrayObject *into);
void write_parameters(TransformObject *self, PyArrayObject *from);

/* Copy the numbers into this array, whose reference is taken, and use it from now on. */
void replace_parameters(TransformObject *self, PyArrayObject *parameters);

#define FAST_METHOD(name, function, doc)                                                                               \
    {name, (PyCFunction)(void (*)(void))(function), METH_FASTCALL | METH_KEYWORDS, doc}

/* Parse the arguments of a METH_FASTCALL | METH_KEYWORDS method into values[0..n_names), NULL for missing ones. The
 * first n_required are mandatory. Returns -1 with an exception. */
int parse_arguments(const char *method, const char *const *names, int n_required, int n_names, PyObject *const *args,
                    Py_ssize_t n_args, PyObject *keywords, PyObject **values);

/* Convert `value` to a C-contiguous, aligned array of a dtype, with shape (n, columns), or (n,) for VECTOR columns. A
 * negative n accepts any. New reference, or NULL with an exception that names the argument. */
enum { VECTOR = -1 };
PyArrayObject *convert_array(int typenum, PyObject *value, const char *name, npy_intp n, npy_intp columns);

/* A new view of the same memory, whose shape no other code can change. New reference, or NULL with an exception. */
PyArrayObject *view_array(PyArrayObject *array);

/* Convert samples (n, D) to the dtype of the transform. */
static inline PyArrayObject *convert_samples(const TransformObject *self, PyObject *value, const char *name) {
    return convert_array(self->typenum, value, name, -1, self->dim);
}

/* convert_array into *array, which becomes NULL for NULL or None. -1 with an exception. */
int convert_optional(int typenum, PyObject *value, const char *name, npy_intp n, npy_intp columns,
                     PyArrayObject **array);

/* Convert the context (n, C) of n samples into *array, which becomes NULL for a transform without context. -1 with an
 * exception, also if a context is missing or unexpected. */
int convert_context(const TransformObject *self, PyObject *value, const char *name, npy_intp n, PyArrayObject **array);

/* Convert sample weights (n), to double precision for any dtype. *array becomes NULL for none. -1 with an exception,
 * also if a weight is negative or not finite, or if all are zero. */
int convert_weights(PyObject *value, const char *name, npy_intp n, PyArrayObject **array);

/* A call into the library: the workspace, and the references that keep its memory alive while the GIL is released.
 * Python code that the library calls takes the GIL with enter_python. Its exceptions are stored before the GIL is
 * released, because other Python code then runs. */
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
/* Take the GIL again. 0, or -1 with the stored exception or that of the status. */
int end_call(Call *call, nvp_status status);
int raise_status(nvp_status status);

/* The same for a call without a flow: the GIL, the exceptions of what it calls, and Ctrl-C if it takes an interrupt. */
struct nvp_interrupt;
void release_gil(Call *call, struct nvp_interrupt *interrupt); /* `interrupt` may be NULL */
int take_gil(Call *call, nvp_status status);                   /* as end_call */

/* An uninitialised array in the dtype of the transform. */
PyArrayObject *new_array(const TransformObject *self, int n_dims, npy_intp *shape);

static inline void *data_or_null(PyArrayObject *array) { return array ? PyArray_DATA(array) : NULL; }

/* Pack n arrays into a tuple, which takes their references. Any of them may be NULL after an error. */
PyObject *pack(PyArrayObject *const *arrays, Py_ssize_t n);

static inline PyObject *pair(PyArrayObject *first, PyArrayObject *second) {
    return pack((PyArrayObject *[]){first, second}, 2);
}

#define CONTEXT_DOC                                                                                                    \
    "context : array_like of real numbers, shape (n, C), optional\n"                                                   \
    "    The condition of the density. Required if context_dim, C, is not 0.\n"

/* Whether this is a contiguous array of so many elements of a type. */
static inline int is_array(PyArrayObject *array, int typenum, npy_intp size, int writeable) {
    return PyArray_TYPE(array) == typenum && PyArray_SIZE(array) == size &&
           (writeable ? PyArray_ISCARRAY(array) : PyArray_ISCARRAY_RO(array));
}

PyObject *adam_step(PyObject *module, PyObject *args);
PyObject *incomplete_sums(PyObject *module, PyObject *args);
PyObject *em(PyObject *module, PyObject *args);
PyObject *em_log_prob(PyObject *module, PyObject *args);
PyObject *em_sums(PyObject *module, PyObject *args);
PyObject *em_step(PyObject *module, PyObject *args);
PyObject *covariances(PyObject *module, PyObject *args);
PyObject *factor_model(PyObject *module, PyObject *args);
PyObject *kmeans(PyObject *module, PyObject *args);
PyObject *add_center(PyObject *module, PyObject *args);
PyObject *cluster_moments(PyObject *module, PyObject *args);
PyObject *rosenblatt(PyObject *module, PyObject *args);
PyObject *find_shares(PyObject *module, PyObject *args);
PyObject *normal_lines(PyObject *module, PyObject *args);
PyObject *student_t(PyObject *module, PyObject *args);

#endif
