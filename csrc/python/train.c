/* Flow._train: training in C, with a Python callback. */
#include "training.h"

#ifdef _WIN32
#include <process.h>
static long process_id(void) { return _getpid(); }
#else
#include <unistd.h>
static long process_id(void) { return (long)getpid(); }
#endif

/* The context of the epoch callback. */
typedef struct {
    Call call;
    PyArrayObject *parameters;          /* a copy: other threads may change those of the flow */
    PyObject *callback;                 /* the Python callback, or NULL */
    double *train_nll, *validation_nll; /* the curves of this call so far */
    size_t n_epochs, capacity;
    int out_of_memory;
} Training;

static int grow_curves(Training *training, size_t epochs) {
    if (epochs <= training->capacity)
        return 0;
    const size_t capacity = training->capacity ? 2 * training->capacity : 256;
    double *train_nll = PyMem_RawRealloc(training->train_nll, capacity * sizeof(double));
    if (train_nll)
        training->train_nll = train_nll;
    double *validation_nll = PyMem_RawRealloc(training->validation_nll, capacity * sizeof(double));
    if (validation_nll)
        training->validation_nll = validation_nll;
    if (!train_nll || !validation_nll)
        return -1;
    training->capacity = capacity;
    return 0;
}

/* Call the callback. The flow has the parameters of the last step then, and training continues with its changes to
 * them. Return whether to stop. */
static int call_back(Training *training, size_t epoch, double train_nll, double validation_nll) {
    TransformObject *flow = training->call.self;
    write_parameters(flow, training->parameters);
    PyObject *answer = PyObject_CallFunction(training->callback, "ndd", (Py_ssize_t)epoch, train_nll, validation_nll);
    read_parameters(flow, training->parameters);
    const int stop = !answer || answer == Py_True;
    Py_XDECREF(answer);
    return stop;
}

/* Only a Python callback needs the GIL. */
static int on_epoch(void *context, size_t epoch, double train_nll, double validation_nll) {
    Training *training = context;
    if (grow_curves(training, training->n_epochs + 1) < 0) {
        training->out_of_memory = 1;
        return 1;
    }
    training->train_nll[training->n_epochs] = train_nll;
    training->validation_nll[training->n_epochs++] = validation_nll;
    if (!training->callback)
        return 0;
    enter_python(&training->call);
    const int stop = call_back(training, epoch, train_nll, validation_nll);
    leave_python(&training->call);
    return stop;
}

static int set_item(PyObject *dict, const char *key, PyObject *value) {
    const int failed = value ? PyDict_SetItemString(dict, key, value) : -1;
    Py_XDECREF(value);
    return failed;
}

static PyObject *curve(const double *values, size_t n) {
    npy_intp length = (npy_intp)n;
    PyObject *array = PyArray_SimpleNew(1, &length, NPY_DOUBLE);
    if (array && n)
        memcpy(PyArray_DATA((PyArrayObject *)array), values, n * sizeof *values);
    return array;
}

/* Report the curves and the result, even after an interruption, whose exception is kept. -1 with an exception if there is
 * no memory for them. */
static int report(const Training *training, const nvp_train_result *result, PyObject *history) {
    PyObject *exception = PyErr_GetRaisedException();
    const int failed = set_item(history, "train_nll", curve(training->train_nll, training->n_epochs)) < 0 ||
                       set_item(history, "validation_nll", curve(training->validation_nll, training->n_epochs)) < 0 ||
                       set_item(history, "n_iter", PyLong_FromSize_t(result->epochs)) < 0 ||
                       set_item(history, "best_iter", PyLong_FromSize_t(result->best_epoch)) < 0 ||
                       set_item(history, "diverged", PyBool_FromLong(result->diverged)) < 0;
    if (exception)
        PyErr_SetRaisedException(exception);
    return failed ? -1 : 0;
}

/* Copy an array that overlaps the flow's parameters, which training changes. It may be NULL. */
static int keep_apart(TransformObject *self, PyArrayObject **array) {
    if (!*array)
        return 0;
    PyArrayObject *parameters = hold_parameters(self);
    const char *const changed = PyArray_BYTES(parameters), *const bytes = PyArray_BYTES(*array);
    const int overlap = bytes < changed + PyArray_NBYTES(parameters) && changed < bytes + PyArray_NBYTES(*array);
    Py_DECREF(parameters);
    if (!overlap)
        return 0;
    Py_SETREF(*array, (PyArrayObject *)PyArray_NewCopy(*array, NPY_CORDER));
    return *array ? 0 : -1;
}

/* Convert a tuple (x, context, sample_weight); `names` are their names in messages. -1 with an exception. The caller
 * releases the data in any case. */
static int convert_data(TransformObject *self, PyObject *values, const char *const *names, Data *data) {
    PyObject *x, *context, *weight;
    if (!PyArg_ParseTuple(values, "OOO", &x, &context, &weight) || !(data->x = convert_samples(self, x, names[0])))
        return -1;
    const npy_intp n = PyArray_DIM(data->x, 0);
    return convert_context(self, context, names[1], n, &data->context) < 0 ||
                   convert_weights(weight, names[2], n, &data->weight) < 0 || keep_apart(self, &data->x) < 0 ||
                   keep_apart(self, &data->context) < 0 || keep_apart(self, &data->weight) < 0
               ? -1
               : 0;
}

/* The converted arguments of nvp_train. */
typedef struct {
    nvp_train_options options;
    Data data, validation;
    PyArrayObject *noise;
    PyObject *history, *callback;
    const unsigned char *stop; /* NULL, or a byte that another thread sets to interrupt the training */
} Job;

static int check_state(const TransformObject *self, PyArrayObject *state) {
    size_t size;
    if (raise_status(nvp_train_state_size(self->flow, &size)) < 0)
        return -1;
    if (PyArray_TYPE(state) == NPY_UINT8 && PyArray_ISCARRAY(state) && (size_t)PyArray_SIZE(state) == size)
        return 0;
    PyErr_Format(PyExc_ValueError, "state must be %zu writeable bytes", size);
    return -1;
}

/* Find the byte of an array; None is no byte. The caller's reference to the array keeps it. -1 with an exception. */
static int find_stop(PyObject *value, const unsigned char **stop) {
    *stop = NULL;
    if (value == Py_None)
        return 0;
    if (!PyArray_Check(value) || PyArray_TYPE((PyArrayObject *)value) != NPY_UINT8 ||
        PyArray_SIZE((PyArrayObject *)value) != 1) {
        PyErr_SetString(PyExc_TypeError, "stop must be an array of one byte, or None");
        return -1;
    }
    *stop = PyArray_DATA((PyArrayObject *)value);
    return 0;
}

/* Convert (data, validation_data, options, history, callback, state, stop). -1 with an exception. The caller releases
 * the job in any case. */
static int read_job(TransformObject *self, PyObject *args, Job *job) {
    static const char *const names[] = {"x", "context", "sample_weight"};
    static const char *const validation_names[] = {"validation_data[0]", "validation_data[1]", "validation_data[2]"};
    PyObject *data, *validation, *options, *stop = Py_None;
    PyArrayObject *state;
    if (!PyArg_ParseTuple(args, "O!OO!O!OO!|O", &PyTuple_Type, &data, &validation, &PyDict_Type, &options, &PyDict_Type,
                          &job->history, &job->callback, &PyArray_Type, &state, &stop) ||
        check_state(self, state) < 0 || find_stop(stop, &job->stop) < 0 ||
        convert_data(self, data, names, &job->data) < 0 ||
        (validation != Py_None && convert_data(self, validation, validation_names, &job->validation) < 0) ||
        read_train_options(self, options, &job->options, &job->noise) < 0 || keep_apart(self, &job->noise) < 0)
        return -1;
    job->options.noise = data_or_null(job->noise);
    job->options.state = PyArray_DATA(state);
    return 0;
}

static void release_job(Job *job) {
    release_data(&job->data);
    release_data(&job->validation);
    Py_XDECREF(job->noise);
}

/* A poll function for threads that handle no signals: whether another thread has set the byte. */
static int is_asked_to_stop(void *context) { return *(const volatile unsigned char *)context; }

/* Train a copy of the parameters, which is copied back to the flow at the end if the history has its memory. */
static int train(TransformObject *self, Job *job) {
    Training training = {.callback = job->callback == Py_None ? NULL : job->callback};
    job->options.on_epoch = on_epoch;
    job->options.on_epoch_alone = training.callback != NULL;
    job->options.context = &training;
    PyArrayObject *parameters = hold_parameters(self);
    training.parameters = (PyArrayObject *)PyArray_NewCopy(parameters, NPY_CORDER);
    Py_DECREF(parameters);
    if (!training.parameters || begin_call(&training.call, self) < 0) {
        Py_XDECREF(training.parameters);
        return -1;
    }
    if (job->stop)
        nvp_workspace_set_poll(training.call.workspace, is_asked_to_stop, (void *)(uintptr_t)job->stop);
    const nvp_data data = data_of(&job->data), validation = data_of(&job->validation);
    nvp_train_result result = NVP_TRAIN_RESULT();
    const nvp_status status = nvp_train(self->flow, PyArray_DATA(training.parameters), &job->options, &data,
                                        &validation, &result, training.call.workspace);
    const int failed = end_call(&training.call, training.out_of_memory ? NVP_ERROR_MEMORY : status) < 0;
    int is_complete = !training.out_of_memory;
    if (is_complete && (status == NVP_OK || status == NVP_INTERRUPTED))
        is_complete = report(&training, &result, job->history) == 0;
    if (is_complete)
        write_parameters(self, training.parameters);
    PyMem_RawFree(training.train_nll);
    PyMem_RawFree(training.validation_nll);
    Py_DECREF(training.parameters);
    return failed || !is_complete ? -1 : 0;
}

/* A flow has one training at a time. That of another process has ended in a child that was forked from it. -1 with an
 * exception. */
static int claim_training(TransformObject *self) {
    const long process = process_id();
    long trainer = self->training_process;
    while (trainer != process)
        if (atomic_compare_exchange_weak(&self->training_process, &trainer, process))
            return 0;
    PyErr_SetString(PyExc_RuntimeError, "a training of this flow is under way: train a copy() of it");
    return -1;
}

PyObject *flow_train(PyObject *object, PyObject *args) {
    TransformObject *self = (TransformObject *)object;
    Job job = {.options = NVP_TRAIN_OPTIONS()};
    if (check_ready(self) < 0 || claim_training(self) < 0)
        return NULL;
    const int failed = read_job(self, args, &job) < 0 || train(self, &job) < 0;
    self->training_process = 0;
    release_job(&job);
    if (failed)
        return NULL;
    Py_RETURN_NONE;
}

PyObject *flow_train_state_size(PyObject *object, PyObject *unused) {
    (void)unused;
    const TransformObject *self = (TransformObject *)object;
    size_t size;
    if (check_ready(self) < 0 || raise_status(nvp_train_state_size(self->flow, &size)) < 0)
        return NULL;
    return PyLong_FromSize_t(size);
}
