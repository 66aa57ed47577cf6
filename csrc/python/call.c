/* The frame of every call into the library: the workspace, the GIL, Ctrl-C, statuses. */
#include "binding.h"
#include "../interrupt.h"

int raise_status(nvp_status status) {
    switch (status) {
    case NVP_OK:
        return 0;
    case NVP_ERROR_MEMORY:
    case NVP_ERROR_SIZE:
        PyErr_Format(PyExc_MemoryError, "nvpflow: %s", nvp_status_string(status));
        return -1;
    case NVP_ERROR_FORKED:
    case NVP_ERROR_UNSUPPORTED:
        PyErr_Format(PyExc_RuntimeError, "nvpflow: %s", nvp_status_string(status));
        return -1;
    case NVP_INTERRUPTED: /* another thread asked for it: check_signals stores an exception of its own */
        PyErr_SetNone(PyExc_KeyboardInterrupt);
        return -1;
    default:
        PyErr_Format(PyExc_ValueError, "nvpflow: %s", nvp_status_string(status));
        return -1;
    }
}

void enter_python(Call *call) { PyEval_RestoreThread(call->thread); }

void leave_python(Call *call) {
    if (PyErr_Occurred())
        call->exception = PyErr_GetRaisedException();
    call->thread = PyEval_SaveThread();
}

/* The library calls this every 50 ms of a long call. A pending Ctrl-C raises an exception here, which ends the call.
 * Signals after an exception are left to the interpreter. */
static int check_signals(void *context) {
    Call *call = context;
    if (call->exception)
        return 0;
    enter_python(call);
    const int interrupted = PyErr_CheckSignals();
    leave_python(call);
    return interrupted;
}

/* Python's list of threads begins with the newest one and ends with the main thread. */
static int is_main_thread(void) { return PyThreadState_Next(PyThreadState_Get()) == NULL; }

/* Only the main thread handles signals. Other threads must not take the GIL while a team works: when the interpreter
 * exits, a thread that asks for the GIL ends at once, and the memory on its stack disappears. */
static nvp_poll poll_of_thread(void) { return is_main_thread() ? check_signals : NULL; }

void release_gil(Call *call, nvp_interrupt *interrupt) {
    if (interrupt)
        *interrupt = (nvp_interrupt){poll_of_thread(), call, nvp_seconds()};
    call->exception = NULL;
    call->thread = PyEval_SaveThread();
}

int take_gil(Call *call, nvp_status status) {
    PyEval_RestoreThread(call->thread);
    if (!call->exception)
        return raise_status(status);
    PyErr_SetRaisedException(call->exception);
    return -1;
}

PyArrayObject *hold_parameters(TransformObject *self) {
    PyArrayObject *parameters;
    Py_BEGIN_CRITICAL_SECTION(self);
    parameters = (PyArrayObject *)Py_NewRef(self->parameters);
    Py_END_CRITICAL_SECTION();
    return parameters;
}

static void copy_numbers(PyArrayObject *to, PyArrayObject *from) {
    memmove(PyArray_DATA(to), PyArray_DATA(from), (size_t)PyArray_NBYTES(from));
}

void read_parameters(TransformObject *self, PyArrayObject *into) {
    Py_BEGIN_CRITICAL_SECTION(self);
    copy_numbers(into, self->parameters);
    Py_END_CRITICAL_SECTION();
}

void write_parameters(TransformObject *self, PyArrayObject *from) {
    Py_BEGIN_CRITICAL_SECTION(self);
    copy_numbers(self->parameters, from);
    Py_END_CRITICAL_SECTION();
}

void replace_parameters(TransformObject *self, PyArrayObject *parameters) {
    PyArrayObject *before;
    Py_BEGIN_CRITICAL_SECTION(self);
    before = self->parameters;
    copy_numbers(parameters, before);
    self->parameters = parameters;
    Py_END_CRITICAL_SECTION();
    Py_DECREF(before);
}

/* The kept workspace and the parameters. The workspace is NULL while another call uses it. */
static void take_from(TransformObject *self, Call *call) {
    Py_BEGIN_CRITICAL_SECTION(self);
    call->workspace = self->workspace;
    self->workspace = NULL;
    call->parameters = (PyArrayObject *)Py_NewRef(self->parameters);
    Py_END_CRITICAL_SECTION();
}

static void give_back(Call *call) {
    nvp_workspace *surplus = call->workspace;
    Py_BEGIN_CRITICAL_SECTION(call->self);
    if (!call->self->workspace) {
        call->self->workspace = call->workspace;
        surplus = NULL;
    }
    Py_END_CRITICAL_SECTION();
    nvp_workspace_destroy(surplus);
    Py_DECREF(call->parameters);
}

int begin_call(Call *call, TransformObject *self) {
    call->self = self;
    call->exception = NULL;
    take_from(self, call);
    if (!call->workspace) {
        const nvp_status status = nvp_workspace_create(&call->workspace);
        if (status != NVP_OK) {
            Py_DECREF(call->parameters);
            return raise_status(status);
        }
    }
    nvp_workspace_set_poll(call->workspace, poll_of_thread(), call);
    nvp_workspace_set_threads(call->workspace, (size_t)self->n_threads);
    call->thread = PyEval_SaveThread();
    return 0;
}

int end_call(Call *call, nvp_status status) {
    PyEval_RestoreThread(call->thread);
    nvp_workspace_set_poll(call->workspace, NULL, NULL);
    give_back(call);
    if (!call->exception)
        return raise_status(status);
    PyErr_SetRaisedException(call->exception);
    return -1;
}
