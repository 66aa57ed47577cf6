/* The training options, by their names in Python. */
#include "training.h"

typedef enum { COUNT, REAL, SEED, SCHEDULE, NOISE } Form;

static const struct {
    const char *name;
    Form form;
    size_t offset;
} table[] = {
    {"max_iter", COUNT, offsetof(nvp_train_options, max_epochs)},
    {"batch_size", COUNT, offsetof(nvp_train_options, batch_size)},
    {"learning_rate", REAL, offsetof(nvp_train_options, learning_rate)},
    {"schedule", SCHEDULE, offsetof(nvp_train_options, schedule)},
    {"final_fraction", REAL, offsetof(nvp_train_options, final_fraction)},
    {"warmup", COUNT, offsetof(nvp_train_options, warmup)},
    {"max_grad_norm", REAL, offsetof(nvp_train_options, max_grad_norm)},
    {"weight_decay", REAL, offsetof(nvp_train_options, weight_decay)},
    {"average", REAL, offsetof(nvp_train_options, average)},
    {"noise", NOISE, 0}, /* an array of its own */
    {"validate_every", COUNT, offsetof(nvp_train_options, validate_every)},
    {"n_iter_no_change", COUNT, offsetof(nvp_train_options, patience)},
    {"tol", REAL, offsetof(nvp_train_options, tolerance)},
    {"seed", SEED, offsetof(nvp_train_options, seed)},
    {"pause_after", COUNT, offsetof(nvp_train_options, pause_after)},
    {"time_limit", REAL, offsetof(nvp_train_options, time_limit)},
};

enum { N_OPTIONS = sizeof table / sizeof *table };

static int find_option(PyObject *name) {
    for (int i = 0; PyUnicode_Check(name) && i < N_OPTIONS; i++)
        if (PyUnicode_CompareWithASCIIString(name, table[i].name) == 0)
            return i;
    PyErr_Format(PyExc_TypeError, "unknown training option %R", name);
    return -1;
}

static int read_schedule(PyObject *value, nvp_schedule *schedule) {
    static const char *const names[] = {[NVP_CONSTANT] = "constant", [NVP_COSINE] = "cosine"};
    for (int i = NVP_CONSTANT; PyUnicode_Check(value) && i <= NVP_COSINE; i++)
        if (PyUnicode_CompareWithASCIIString(value, names[i]) == 0) {
            *schedule = (nvp_schedule)i;
            return 0;
        }
    PyErr_Format(PyExc_ValueError, "schedule must be 'constant' or 'cosine', got %R", value);
    return -1;
}

/* Convert a value that is not None into its field. */
static int read_option(const TransformObject *self, Form form, PyObject *value, void *field, PyArrayObject **noise) {
    switch (form) {
    case COUNT:
        *(size_t *)field = PyLong_AsSize_t(value);
        break;
    case REAL:
        *(double *)field = PyFloat_AsDouble(value);
        break;
    case SEED:
        *(uint64_t *)field = PyLong_AsUnsignedLongLong(value);
        break;
    case SCHEDULE:
        return read_schedule(value, field);
    case NOISE:
        return convert_optional(self->typenum, value, "noise", self->dim, VECTOR, noise);
    }
    return PyErr_Occurred() ? -1 : 0;
}

int read_train_options(const TransformObject *self, PyObject *dict, nvp_train_options *options, PyArrayObject **noise) {
    PyObject *name, *value;
    Py_ssize_t position = 0;
    int failed = 0;
    *noise = NULL;
    Py_BEGIN_CRITICAL_SECTION(dict);
    while (!failed && PyDict_Next(dict, &position, &name, &value)) {
        const int i = find_option(name);
        failed = i < 0 || (value != Py_None &&
                           read_option(self, table[i].form, value, (char *)options + table[i].offset, noise) < 0);
    }
    Py_END_CRITICAL_SECTION();
    return failed ? -1 : 0;
}
