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

int begin_call(Call *call, TransformObject *self) {
    /* The kept workspace, or a new one while another thread uses that. */
    call->self = self;
    call->exception = NULL;
    call->workspace = self->workspace;
    self->workspace = NULL;
    if (!call->workspace) {
        const nvp_status status = nvp_workspace_create(&call->workspace);
        if (status != NVP_OK)
            return raise_status(status);
    }
    call->parameters = (PyArrayObject *)Py_NewRef(self->parameters);
    nvp_workspace_set_poll(call->workspace, poll_of_thread(), call);
    nvp_workspace_set_threads(call->workspace, (size_t)self->n_threads);
    call->thread = PyEval_SaveThread();
    return 0;
}

int end_call(Call *call, nvp_status status) {
    PyEval_RestoreThread(call->thread);
    nvp_workspace_set_poll(call->workspace, NULL, NULL);
    if (call->self->workspace)
        nvp_workspace_destroy(call->workspace);
    else
        call->self->workspace = call->workspace;
    Py_DECREF(call->parameters);
    if (!call->exception)
        return raise_status(status);
    PyErr_SetRaisedException(call->exception);
    return -1;
}
