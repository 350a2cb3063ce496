/* The logging call in C: the same fast path as in `_recorder.py`, without the interpreter between its steps.

   Optional. `hatch_build.py` compiles it where there is a C compiler; without it the closures of `_recorder.py` do the
   same work, five times slower. `tests/unit/client/test_recorder.py` holds both to the same behaviour, byte for byte.

   A call goes this way only if everything about it is usual: a plain dict whose keys are known, values of the types seen
   last, an int step, an int timestamp or none, room in the segment. Anything else is handed, untouched, to the Python
   closure (`otherwise`), which knows what to do and which error to raise. So nothing here raises.

   The GIL is held from the first look at the dict to the end of `write`, which is `mmap.write`: one copy into the spool
   that no other thread and no signal handler can come between (`_segment.py`). The record is laid out in `_record.py`.

   Source of the layout: `_record.py`, "metrics". Little-endian only, as that module insists. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#define MAX_KEYS 4096 /* MAX_KEYS_PER_RECORD of _record.py */

typedef struct {
    PyObject_HEAD
    PyObject *shapes;            /* {tuple of keys: [pack, word0, types]}, shared with the recorder */
    PyObject *singles;           /* {key: word0} */
    PyObject *log_metrics_slow;  /* the Python closures */
    PyObject *log_metric_slow;
    PyObject *write;             /* mmap.write of the active segment, or what stands in for it */
    PyObject *keys;              /* tuple: the keys of the last call, in its order; compared by address */
    PyObject *entry;             /* their list in `shapes` */
} HotPath;

static PyObject *name_step, *name_timestamp; /* interned */

/* --- pieces of a record ---------------------------------------------------------------------------------------- */

static uint64_t adler32(const uint8_t *data, size_t size)
{
    uint32_t a = 1, b = 0;
    while (size > 0) {
        size_t n = size < 5552 ? size : 5552; /* RFC 1950: the most bytes before `b` can overflow 32 bits */
        size -= n;
        for (; n >= 8; n -= 8, data += 8) {
            /* Eight steps of a += byte, b += a, with the sums of `a` taken together. */
            b += 8 * a + 8 * data[0] + 7 * data[1] + 6 * data[2] + 5 * data[3] + 4 * data[4] + 3 * data[5] + 2 * data[6]
                 + data[7];
            a += data[0] + data[1] + data[2] + data[3] + data[4] + data[5] + data[6] + data[7];
        }
        for (; n > 0; n--, data++) {
            a += *data;
            b += a;
        }
        a %= 65521;
        b %= 65521;
    }
    return (uint64_t)b << 16 | a;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* An exact int in the range of int64; 0 if it is anything else. A bool is no exact int. */
static int as_int64(PyObject *number, int64_t *value)
{
    int overflow;
    if (!PyLong_CheckExact(number))
        return 0;
    *value = PyLong_AsLongLongAndOverflow(number, &overflow);
    return overflow == 0;
}

/* The time of the call: `timestamp` if there is one, else now. */
static int as_time_ms(PyObject *timestamp, int64_t *value)
{
    if (timestamp == NULL || timestamp == Py_None) {
        *value = now_ms();
        return 1;
    }
    return as_int64(timestamp, value);
}

/* A new record with everything but values and check in place; NULL without an exception to keep. */
static PyObject *new_record(PyObject *word0, int64_t step, int64_t time_ms, Py_ssize_t values, uint64_t **words)
{
    PyObject *record = PyBytes_FromStringAndSize(NULL, 8 * (4 + values));
    if (record == NULL)
        return NULL;
    *words = (uint64_t *)PyBytes_AS_STRING(record); /* 8-byte aligned from CPython 3.11 on; see the assertion below */
    (*words)[0] = PyLong_AsUnsignedLongLong(word0);
    (*words)[1] = (uint64_t)step;
    (*words)[2] = (uint64_t)time_ms;
    return record;
}

_Static_assert(offsetof(PyBytesObject, ob_sval) % 8 == 0, "a record would not be aligned");

static void put_value(uint64_t *word, double value)
{
    memcpy(word, &value, sizeof value);
}

/* Seal the record and write it. Takes the reference. 1 if it is in the spool; the exception that says why not is kept. */
static int write_record(HotPath *self, PyObject *record, uint64_t *words, Py_ssize_t values)
{
    words[3 + values] = adler32((const uint8_t *)words, 8 * (3 + (size_t)values));
    PyObject *write = Py_NewRef(self->write); /* attach() may replace it meanwhile */
    PyObject *done = PyObject_CallOneArg(write, record);
    Py_DECREF(write);
    Py_DECREF(record);
    Py_XDECREF(done);
    return done != NULL;
}

/* --- log_metrics ------------------------------------------------------------------------------------------------ */

/* Whether the keys of the last call are, object for object, those of `metrics`. */
static int has_last_keys(HotPath *self, PyObject *metrics, Py_ssize_t count)
{
    Py_ssize_t position = 0;
    PyObject *key;
    if (self->keys == NULL || PyTuple_GET_SIZE(self->keys) != count)
        return 0;
    for (Py_ssize_t i = 0; PyDict_Next(metrics, &position, &key, NULL); i++)
        if (key != PyTuple_GET_ITEM(self->keys, i))
            return 0;
    return 1;
}

/* The entry of `shapes` for the keys of `metrics`, borrowed; NULL if they were never seen, or on an error. */
static PyObject *entry_of(HotPath *self, PyObject *metrics, Py_ssize_t count)
{
    if (has_last_keys(self, metrics, count))
        return self->entry;
    PyObject *keys = PySequence_Tuple(metrics);
    if (keys == NULL)
        return NULL;
    PyObject *entry = PyDict_GetItemWithError(self->shapes, keys);
    if (entry == NULL || !PyList_CheckExact(entry) || PyList_GET_SIZE(entry) != 3) {
        Py_DECREF(keys);
        return NULL;
    }
    Py_XSETREF(self->keys, keys);
    Py_XSETREF(self->entry, Py_NewRef(entry));
    return entry;
}

/* Fill in the values, if each has the type that this place had last. Types are compared since `__float__` of a tensor on
   an accelerator would wait for the device. */
static int put_values(PyObject *metrics, PyObject *types, Py_ssize_t count, uint64_t *words)
{
    Py_ssize_t position = 0;
    PyObject *value;
    if (!PyList_CheckExact(types) || PyList_GET_SIZE(types) != count)
        return 0;
    for (Py_ssize_t i = 0; i < count && PyDict_Next(metrics, &position, NULL, &value); i++) {
        if ((PyObject *)Py_TYPE(value) != PyList_GET_ITEM(types, i))
            return 0;
        double number;
        if (PyFloat_CheckExact(value)) {
            number = PyFloat_AS_DOUBLE(value);
        } else {
            number = PyFloat_AsDouble(value); /* int, bool or a numpy scalar: no code of the user's */
            if (number == -1.0 && PyErr_Occurred())
                return 0;
        }
        put_value(&words[3 + i], number);
    }
    return 1;
}

static int try_log_metrics(HotPath *self, PyObject *metrics, PyObject *step, PyObject *timestamp)
{
    int64_t whole_step = 0, time_ms;
    if (!PyDict_CheckExact(metrics) || (step != NULL && !as_int64(step, &whole_step)) || !as_time_ms(timestamp, &time_ms))
        return 0;
    Py_ssize_t count = PyDict_GET_SIZE(metrics);
    if (count == 0 || count > MAX_KEYS)
        return 0;
    PyObject *entry = entry_of(self, metrics, count);
    if (entry == NULL)
        return 0;
    Py_INCREF(entry);
    uint64_t *words;
    PyObject *record = new_record(PyList_GET_ITEM(entry, 1), whole_step, time_ms, count, &words);
    int is_filled = record != NULL && put_values(metrics, PyList_GET_ITEM(entry, 2), count, &words[0]);
    Py_DECREF(entry);
    if (!is_filled) {
        Py_XDECREF(record);
        return 0;
    }
    return write_record(self, record, words, count);
}

/* --- log_metric ------------------------------------------------------------------------------------------------- */

static int try_log_metric(HotPath *self, PyObject *key, PyObject *value, PyObject *step, PyObject *timestamp)
{
    int64_t whole_step = 0, time_ms;
    double number;
    if (!PyUnicode_CheckExact(key) || (step != NULL && !as_int64(step, &whole_step)) || !as_time_ms(timestamp, &time_ms))
        return 0;
    if (PyFloat_CheckExact(value))
        number = PyFloat_AS_DOUBLE(value);
    else if (PyLong_CheckExact(value) || PyBool_Check(value))
        number = PyLong_AsDouble(value);
    else
        return 0;
    if (number == -1.0 && PyErr_Occurred())
        return 0;
    PyObject *word0 = PyDict_GetItemWithError(self->singles, key);
    if (word0 == NULL)
        return 0;
    uint64_t *words;
    PyObject *record = new_record(word0, whole_step, time_ms, 1, &words);
    if (record == NULL)
        return 0;
    put_value(&words[3], number);
    return write_record(self, record, words, 1);
}

/* --- the methods ------------------------------------------------------------------------------------------------ */

/* Sort out the arguments after the `required` first ones. 0: this is for the closure, which also says what is wrong. */
static int read_options(PyObject *const *args, Py_ssize_t count, PyObject *names, Py_ssize_t required, PyObject **step,
                        PyObject **timestamp)
{
    *step = count > required ? args[required] : NULL;
    *timestamp = count > required + 1 ? args[required + 1] : NULL;
    if (count < required || count > required + 2)
        return 0;
    Py_ssize_t named = names == NULL ? 0 : PyTuple_GET_SIZE(names);
    for (Py_ssize_t i = 0; i < named; i++) {
        PyObject *name = PyTuple_GET_ITEM(names, i), **option;
        if (name == name_step)
            option = step;
        else if (name == name_timestamp)
            option = timestamp;
        else
            return 0;
        if (*option != NULL)
            return 0;
        *option = args[count + i];
    }
    return 1;
}

static PyObject *hand_over(PyObject *closure, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    PyErr_Clear();
    return PyObject_Vectorcall(closure, args, (size_t)count, names);
}

static PyObject *log_metrics(HotPath *self, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    PyObject *step, *timestamp;
    if (read_options(args, count, names, 1, &step, &timestamp) && try_log_metrics(self, args[0], step, timestamp))
        Py_RETURN_NONE;
    return hand_over(self->log_metrics_slow, args, count, names);
}

static PyObject *log_metric(HotPath *self, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    PyObject *step, *timestamp;
    if (read_options(args, count, names, 2, &step, &timestamp)
        && try_log_metric(self, args[0], args[1], step, timestamp))
        Py_RETURN_NONE;
    return hand_over(self->log_metric_slow, args, count, names);
}

/* Another segment, or none: and the shapes may be new ones (after a fork), so what was remembered of them goes. */
static PyObject *attach(HotPath *self, PyObject *write)
{
    Py_XSETREF(self->write, Py_NewRef(write));
    Py_CLEAR(self->keys);
    Py_CLEAR(self->entry);
    Py_RETURN_NONE;
}

/* --- the type --------------------------------------------------------------------------------------------------- */

static int hot_init(HotPath *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"shapes", "singles", "log_metrics", "log_metric", "write", NULL};
    PyObject *shapes, *singles, *metrics_slow, *metric_slow, *write;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!O!OOO", names, &PyDict_Type, &shapes, &PyDict_Type, &singles,
                                     &metrics_slow, &metric_slow, &write))
        return -1;
    Py_XSETREF(self->shapes, Py_NewRef(shapes));
    Py_XSETREF(self->singles, Py_NewRef(singles));
    Py_XSETREF(self->log_metrics_slow, Py_NewRef(metrics_slow));
    Py_XSETREF(self->log_metric_slow, Py_NewRef(metric_slow));
    Py_XSETREF(self->write, Py_NewRef(write));
    return 0;
}

static int hot_traverse(HotPath *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->shapes);
    Py_VISIT(self->singles);
    Py_VISIT(self->log_metrics_slow);
    Py_VISIT(self->log_metric_slow);
    Py_VISIT(self->write);
    Py_VISIT(self->keys);
    Py_VISIT(self->entry);
    return 0;
}

static int hot_clear(HotPath *self)
{
    Py_CLEAR(self->shapes);
    Py_CLEAR(self->singles);
    Py_CLEAR(self->log_metrics_slow);
    Py_CLEAR(self->log_metric_slow);
    Py_CLEAR(self->write);
    Py_CLEAR(self->keys);
    Py_CLEAR(self->entry);
    return 0;
}

static void hot_dealloc(HotPath *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    hot_clear(self);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"log_metrics", (PyCFunction)(void (*)(void))log_metrics, METH_FASTCALL | METH_KEYWORDS,
     "log_metrics($self, metrics, step=0, timestamp=None)\n--\n\nLog one value for each name in `metrics`; see `Run`."},
    {"log_metric", (PyCFunction)(void (*)(void))log_metric, METH_FASTCALL | METH_KEYWORDS,
     "log_metric($self, key, value, step=0, timestamp=None)\n--\n\nLog one value; see `Run`."},
    {"attach", (PyCFunction)attach, METH_O, "attach($self, write, /)\n--\n\nWrite records by this function from now on."},
    {NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_init, hot_init},       {Py_tp_new, PyType_GenericNew}, {Py_tp_traverse, hot_traverse},
    {Py_tp_clear, hot_clear},     {Py_tp_dealloc, hot_dealloc},   {Py_tp_methods, methods},
    {Py_tp_doc, "The logging calls of one run in one process."},  {0, NULL},
};

static PyType_Spec spec = {
    .name = "ingest_client._hot.HotPath",
    .basicsize = sizeof(HotPath),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = slots,
};

static int execute(PyObject *module)
{
    name_step = PyUnicode_InternFromString("step");
    name_timestamp = PyUnicode_InternFromString("timestamp");
    PyObject *type = PyType_FromSpec(&spec);
    if (name_step == NULL || name_timestamp == NULL || type == NULL)
        return -1;
    int result = PyModule_AddObjectRef(module, "HotPath", type);
    Py_DECREF(type);
    return result;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, execute}, {0, NULL}};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "ingest_client._hot",
    .m_doc = "The logging call in C; see _hot.c.",
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__hot(void)
{
    return PyModuleDef_Init(&module);
}
