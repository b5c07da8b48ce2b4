/* The native core as the Python module sketch._native: one function, which releases the interpreter lock. */
#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "reader.h"

/* Lengths within an item are 32-bit, and an encoded item is at most four times as long as its text. */
#define MAX_TEXT 0x3fffffff

static PyObject *native_read(PyObject *module, PyObject *args)
{
    (void)module;
    int kind;
    Py_ssize_t third;
    Py_buffer text, packed, counts, cells;
    if (!PyArg_ParseTuple(args, "iy*y*nw*w*:read", &kind, &text, &packed, &third, &counts, &cells))
        return NULL;

    PyObject *answer = NULL;
    struct layout layout = {0};
    struct outcome outcome;
    if (kind < KIND_PAGE || kind > KIND_ION_CHANGES)
        PyErr_Format(PyExc_ValueError, "kind %d is not read natively", kind);
    else if (text.len > MAX_TEXT)
        PyErr_SetString(PyExc_ValueError, "the text is longer than 1 GiB");
    else if (third < 1 || third > MAX_TEXT / (Py_ssize_t)sizeof(struct record) || counts.len != POSITIONS * third * 8 ||
             cells.len != POSITIONS * third * (Py_ssize_t)sizeof(struct record))
        PyErr_SetString(PyExc_ValueError, "counts and cells are not of the size that the table has");
    else if (!layout_open(&layout, packed.buf, (size_t)packed.len))
        PyErr_SetString(PyExc_ValueError, "the layout is not whole");
    else {
        struct table table = {(size_t)third, counts.buf, cells.buf};
        Py_BEGIN_ALLOW_THREADS
        read_text((enum kind)kind, text.buf, (size_t)text.len, &layout, &table, &outcome);
        Py_END_ALLOW_THREADS
        if (outcome.problem == PROBLEM_MEMORY)
            PyErr_NoMemory();
        else
            answer = Py_BuildValue("(inny#LLLLL)", (int)outcome.problem, (Py_ssize_t)outcome.at,
                                   (Py_ssize_t)outcome.items, (const char *)outcome.total, (Py_ssize_t)DIGEST_BYTES,
                                   (long long)outcome.scanned, (long long)outcome.key_start, (long long)outcome.key_end,
                                   (long long)outcome.units_start, (long long)outcome.units_end);
    }
    layout_close(&layout);
    PyBuffer_Release(&text);
    PyBuffer_Release(&packed);
    PyBuffer_Release(&counts);
    PyBuffer_Release(&cells);
    return answer;
}

static PyMethodDef methods[] = {
    {"read", native_read, METH_VARARGS,
     "read(kind, text, layout, third, counts, cells) -> Outcome as a tuple; see sketch/reference.py."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "sketch._native", .m_size = 0, .m_methods = methods};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&definition); }
