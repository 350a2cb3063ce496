/* Rows of `metric_chunks` in PostgreSQL's binary COPY format, woven in C: what `_woven_rows` of `pgcopy.py` does in numpy.

   Optional, as the client's `_hot.c` is: `hatch_build.py` compiles it where there is a C compiler. A row of 100 points takes
   a tenth of the time, and the service is bound by its own CPU long before PostgreSQL is.
   `tests/unit/ingest/store/test_pgcopy.py` holds both to the same bytes.

   All lengths are checked against the buffers here, whatever the caller says, before the first byte is written. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#define HEAD_BYTES 58     /* column count, run_id, writer_id, seq, and the length of the key: `_heads` */
#define ARRAY_BYTES 24    /* of one array before its elements: length, dimensions, has nulls, type, size, lower bound */
#define ELEMENT_BYTES 12  /* int32 length, then eight bytes */
#define INT8_OID 20
#define FLOAT8_OID 701

static uint8_t *put32(uint8_t *out, uint32_t number)
{
    number = __builtin_bswap32(number);
    memcpy(out, &number, 4);
    return out + 4;
}

static uint8_t *put_array(uint8_t *out, uint32_t oid, const uint64_t *column, int64_t count)
{
    out = put32(out, (uint32_t)(ARRAY_BYTES - 4 + ELEMENT_BYTES * count));
    out = put32(out, 1);
    out = put32(out, 0);
    out = put32(out, oid);
    out = put32(out, (uint32_t)count);
    out = put32(out, 1);
    const uint32_t length = __builtin_bswap32(8);
    for (int64_t i = 0; i < count; i++, out += ELEMENT_BYTES) {
        uint64_t element = __builtin_bswap64(column[i]);
        memcpy(out, &length, 4);
        memcpy(out + 4, &element, 8);
    }
    return out;
}

typedef struct {
    Py_buffer heads, counts, starts, steps, times_ms, values;
    PyObject *keys, *scalars; /* lists of bytes */
    Py_ssize_t begin, end;
} Table;

/* The bytes of the rows from begin to end; -1 with an exception if the columns do not fit together. */
static Py_ssize_t size_of_rows(const Table *table)
{
    Py_ssize_t points = table->values.len / 8, size = 0;
    if (table->begin < 0 || table->begin > table->end || table->end > PyList_GET_SIZE(table->keys)
        || table->end > PyList_GET_SIZE(table->scalars) || table->end > table->heads.len / HEAD_BYTES
        || table->end > table->counts.len / 8 || table->end > table->starts.len / 8 || points > table->steps.len / 8
        || points > table->times_ms.len / 8) {
        PyErr_SetString(PyExc_ValueError, "columns of different lengths");
        return -1;
    }
    const int64_t *counts = table->counts.buf, *starts = table->starts.buf;
    for (Py_ssize_t i = table->begin; i < table->end; i++) {
        PyObject *key = PyList_GET_ITEM(table->keys, i), *scalars = PyList_GET_ITEM(table->scalars, i);
        if (!PyBytes_Check(key) || !PyBytes_Check(scalars)) {
            PyErr_SetString(PyExc_TypeError, "keys and scalars must be bytes");
            return -1;
        }
        if (counts[i] < 0 || counts[i] > 1 << 24 || starts[i] < 0 || starts[i] > points - counts[i]) {
            PyErr_Format(PyExc_ValueError, "chunk %zd reaches beyond the points", i);
            return -1;
        }
        size += HEAD_BYTES + PyBytes_GET_SIZE(key) + PyBytes_GET_SIZE(scalars)
                + 3 * (ARRAY_BYTES + ELEMENT_BYTES * (Py_ssize_t)counts[i]);
    }
    return size;
}

static uint8_t *put_bytes(uint8_t *out, const void *data, Py_ssize_t size)
{
    memcpy(out, data, (size_t)size);
    return out + size;
}

static uint8_t *put_row(uint8_t *out, const Table *table, Py_ssize_t i)
{
    PyObject *key = PyList_GET_ITEM(table->keys, i), *scalars = PyList_GET_ITEM(table->scalars, i);
    int64_t count = ((const int64_t *)table->counts.buf)[i], start = ((const int64_t *)table->starts.buf)[i];
    out = put_bytes(out, (const uint8_t *)table->heads.buf + i * HEAD_BYTES, HEAD_BYTES);
    out = put_bytes(out, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key));
    out = put_bytes(out, PyBytes_AS_STRING(scalars), PyBytes_GET_SIZE(scalars));
    out = put_array(out, INT8_OID, (const uint64_t *)table->steps.buf + start, count);
    out = put_array(out, INT8_OID, (const uint64_t *)table->times_ms.buf + start, count);
    return put_array(out, FLOAT8_OID, (const uint64_t *)table->values.buf + start, count);
}

static PyObject *weave(PyObject *module, PyObject *args)
{
    (void)module;
    Table table = {0};
    PyObject *rows = NULL;
    if (!PyArg_ParseTuple(args, "y*O!O!y*y*y*y*y*nn:weave", &table.heads, &PyList_Type, &table.keys, &PyList_Type,
                          &table.scalars, &table.counts, &table.starts, &table.steps, &table.times_ms, &table.values,
                          &table.begin, &table.end))
        return NULL;
    Py_ssize_t size = size_of_rows(&table);
    if (size >= 0 && (rows = PyBytes_FromStringAndSize(NULL, size)) != NULL) {
        uint8_t *out = (uint8_t *)PyBytes_AS_STRING(rows);
        for (Py_ssize_t i = table.begin; i < table.end; i++)
            out = put_row(out, &table, i);
    }
    PyBuffer_Release(&table.heads);
    PyBuffer_Release(&table.counts);
    PyBuffer_Release(&table.starts);
    PyBuffer_Release(&table.steps);
    PyBuffer_Release(&table.times_ms);
    PyBuffer_Release(&table.values);
    return rows;
}

static PyMethodDef functions[] = {
    {"weave", weave, METH_VARARGS,
     "weave(heads, keys, scalars, counts, starts, steps, times_ms, values, begin, end, /)\n--\n\n"
     "The rows of the chunks from begin to end."},
    {NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "ingest.store._weave",
    .m_doc = "Rows for COPY in C; see _weave.c.",
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__weave(void)
{
    return PyModuleDef_Init(&module);
}
