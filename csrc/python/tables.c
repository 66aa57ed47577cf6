/* The core's tables of layer kinds and bases, as Python objects. */
#include "binding.h"
#include "base_kinds.h"
#include "layer_kinds.h"

/* The names of a choice; the minimum and maximum of a count. */
static PyObject *allowed(const nvp_field *field) {
    if (field->form == NVP_COUNT || field->form == NVP_ADDED)
        return Py_BuildValue("(NN)", PyLong_FromSize_t(field->least), PyLong_FromSize_t(field->most));
    const Py_ssize_t n = (Py_ssize_t)nvp_count_choices(field);
    PyObject *names = PyTuple_New(n);
    for (Py_ssize_t i = 0; names && i < n; i++) {
        PyObject *name = PyUnicode_FromString(field->choices[i]);
        if (!name)
            Py_CLEAR(names);
        else
            PyTuple_SET_ITEM(names, i, name);
    }
    return names;
}

static PyObject *field_tuple(const nvp_field *field) {
    return Py_BuildValue("(ssN)", field->name, nvp_form_names[field->form], allowed(field));
}

static PyObject *field_tuples(const nvp_field *fields) {
    Py_ssize_t n = 0;
    while (fields[n].name)
        n++;
    PyObject *tuples = PyTuple_New(n);
    for (Py_ssize_t i = 0; tuples && i < n; i++) {
        PyObject *tuple = field_tuple(&fields[i]);
        if (!tuple)
            Py_CLEAR(tuples);
        else
            PyTuple_SET_ITEM(tuples, i, tuple);
    }
    return tuples;
}

/* dict[name] = value. Takes the reference of value. NULL stands for an earlier error. Returns -1 with an exception. */
static int put(PyObject *dict, const char *name, PyObject *value) {
    const int status = value ? PyDict_SetItemString(dict, name, value) : -1;
    Py_XDECREF(value);
    return status;
}

PyObject *layer_kinds(void) {
    PyObject *kinds = PyDict_New();
    for (int i = 0; kinds && i < NVP_N_LAYER_TYPES; i++)
        if (put(kinds, nvp_layer_kinds[i].name, field_tuples(nvp_layer_kinds[i].fields)) < 0)
            Py_CLEAR(kinds);
    return kinds;
}

PyObject *base_kinds(void) {
    PyObject *kinds = PyDict_New();
    for (int i = 0; kinds && i < NVP_N_BASE_KINDS; i++) {
        const nvp_base_traits *kind = &nvp_base_kinds[i];
        if (put(kinds, kind->name, Py_BuildValue("(iN)", kind->version, field_tuples(kind->fields))) < 0)
            Py_CLEAR(kinds);
    }
    return kinds;
}
