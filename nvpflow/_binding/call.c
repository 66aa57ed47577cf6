/* Around every call into the library: the workspace, the GIL, Ctrl-C, statuses. */
#include "binding.h"

int raise_status(nvp_status status) {
    switch (status) {
    case NVP_OK:
        return 0;
    case NVP_ERROR_MEMORY:
    case NVP_ERROR_SIZE:
        PyErr_Format(PyExc_MemoryError, "nvpflow: %s", nvp_status_string(status));
        return -1;
    case NVP_INTERRUPTED: /* whoever interrupted has set the exception */
        if (!PyErr_Occurred())
            PyErr_SetNone(PyExc_KeyboardInterrupt);
        return -1;
    case NVP_ERROR_FORKED: /* what Python code has raised in the child comes first */
        if (PyErr_Occurred())
            return -1;
        /* fall through */
    case NVP_ERROR_UNSUPPORTED:
        PyErr_Format(PyExc_RuntimeError, "nvpflow: %s", nvp_status_string(status));
        return -1;
    default:
        PyErr_Format(PyExc_ValueError, "nvpflow: %s", nvp_status_string(status));
        return -1;
    }
}

/* The library asks every 50 ms of a long call; a pending Ctrl-C raises here and ends the call. */
static int check_signals(void *context) {
    Call *call = context;
    PyEval_RestoreThread(call->thread);
    const int interrupted = PyErr_CheckSignals();
    call->thread = PyEval_SaveThread();
    return interrupted;
}

int begin_call(Call *call, TransformObject *self) {
    /* The kept workspace, or a new one when another thread is using it. */
    call->self = self;
    call->workspace = self->workspace;
    self->workspace = NULL;
    if (!call->workspace) {
        const nvp_status status = nvp_workspace_create(&call->workspace);
        if (status != NVP_OK)
            return raise_status(status);
    }
    call->parameters = (PyArrayObject *)Py_NewRef(self->parameters);
    nvp_workspace_set_poll(call->workspace, check_signals, call);
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
    return raise_status(status);
}
