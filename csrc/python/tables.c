/* The core's table of layer kinds, as Python reads it. */
#include "binding.h"
#include "description.h"

/* The names of a choice; the least and the greatest of a count. */
static PyObject *allowed(const nvp_field *field) {
    if (field->form == NVP_COUNT)
        return Py_BuildValue("(nn)", (Py_ssize_t)field->least, (Py_ssize_t)field->most);
    Py_ssize_t n = 0;
    while (field->choices[n])
        n++;
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

PyObject *layer_kinds(void) {
    PyObject *kinds = PyDict_New();
    for (int type = 0; kinds && type < NVP_N_LAYER_TYPES; type++) {
        PyObject *fields = field_tuples(nvp_kinds[type].fields);
        if (!fields || PyDict_SetItemString(kinds, nvp_kinds[type].name, fields) < 0)
            Py_CLEAR(kinds);
        Py_XDECREF(fields);
    }
    return kinds;
}
