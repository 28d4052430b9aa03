/* Weighted sums in one pass over memory, and the short way of a short message. Optional: without it arithmetic.py does the same
 * sums with torch, to the bit, and short messages go the way of the long ones.
 *
 * Every product and every sum is rounded by itself, in the order given: with a fused multiply-add, which -ffp-contract=off
 * forbids, the result would depend on the processor.
 */

#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <float.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>

#if FLT_EVAL_METHOD != 0
#error "this processor calculates with more digits than float and double have: leave it to torch"
#endif

/* One binary for every processor: the loader takes the variant with the widest vectors. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__has_attribute)
#if __has_attribute(target_clones)
#define VARIANTS __attribute__((target_clones("default", "avx2", "avx512f")))
#endif
#endif
#ifndef VARIANTS
#define VARIANTS
#endif

/* The sum may be its own first term, and overlaps no other: the loop can be vectorised as it stands. */
#ifdef __clang__
#define EACH _Pragma("clang loop vectorize(assume_safety)") for (size_t i = 0; i < n; i++)
#else
#define EACH _Pragma("GCC ivdep") for (size_t i = 0; i < n; i++)
#endif

#define CHUNK (32 * 1024)        /* bytes of the sum that stay in the first cache while the terms go by */
#define LARGE (32 * 1024 * 1024) /* bytes of a sum that stays in no cache: it is written past them, */
#define GATHER (4 * 1024)        /* so many at a time */
#define BUSY (128 * 1024)        /* bytes read and written from which on Python's other threads may run meanwhile */

typedef float f32 __attribute__((aligned(1), may_alias)); /* a view may begin at any byte */
typedef double f64 __attribute__((aligned(1), may_alias));

typedef struct {
    const char *at;
    double weight;
} Term;

typedef void Add(char *sum, const Term *t, int k, size_t bytes);

#define ADD(T)                                                                                  \
    VARIANTS static void add_##T(char *sum, const Term *t, int k, size_t bytes)                 \
    {                                                                                           \
        const size_t n = bytes / sizeof(T);                                                     \
        T *s = (T *)sum;                                                                        \
        const T *a = (const T *)t[0].at, *b = (const T *)t[1].at;                               \
        const T *c = (const T *)t[2].at, *d = (const T *)t[3].at;                               \
        const T u = (T)t[0].weight, v = (T)t[1].weight, w = (T)t[2].weight, x = (T)t[3].weight; \
        switch (k) {                                                                            \
        case 1: EACH s[i] = u * a[i]; break;                                                    \
        case 2: EACH s[i] = u * a[i] + v * b[i]; break;                                         \
        case 3: EACH s[i] = u * a[i] + v * b[i] + w * c[i]; break;                              \
        case 4: EACH s[i] = u * a[i] + v * b[i] + w * c[i] + x * d[i]; break;                   \
        }                                                                                       \
    }

ADD(f32)
ADD(f64)

/* Write past the caches, without reading first what is there. `to` begins with a line of the cache, or is written as usual. */
static void stream(char *to, const char *from, size_t bytes)
{
#ifdef __SSE2__
    typedef long long Quarter __attribute__((vector_size(16)));
    for (; (uintptr_t)to % 16 == 0 && bytes >= 16; to += 16, from += 16, bytes -= 16)
        __builtin_ia32_movntdq((Quarter *)to, *(const Quarter *)from);
#endif
    memcpy(to, from, bytes);
}

static void add_up(char *out, const Term *terms, Py_ssize_t k, size_t bytes, Add *add, size_t width, int past)
{
    char gathered[GATHER] __attribute__((aligned(64)));
    const size_t most = past ? GATHER : CHUNK;
    size_t size = most - (uintptr_t)out % 64 / width * width; /* the chunks after the first begin with a line of the cache */
    for (size_t start = 0; start < bytes; start += size, size = most) {
        if (size > bytes - start)
            size = bytes - start;
        char *sum = past ? gathered : out + start;
        for (Py_ssize_t j = 0; j < k;) {
            Term four[4] = {{sum, 1.0}}; /* four at a time; later the sum so far is the first of them */
            int d = j > 0;
            while (d < 4 && j < k) {
                four[d].at = terms[j].at + start;
                four[d++].weight = terms[j++].weight;
            }
            add(sum, four, d, size);
        }
        if (past)
            stream(out + start, gathered, size);
    }
#ifdef __SSE2__
    if (past)
        __builtin_ia32_sfence(); /* such writes are ordered with no others, unless told */
#endif
}

static int read_terms(Term *terms, PyObject *addresses, PyObject *weights, Py_ssize_t k)
{
    for (Py_ssize_t j = 0; j < k; j++) {
        PyObject *address = PySequence_GetItem(addresses, j), *weight = PySequence_GetItem(weights, j);
        if (address && weight) {
            terms[j].at = PyLong_AsVoidPtr(address);
            terms[j].weight = PyFloat_AsDouble(weight);
        }
        Py_XDECREF(address);
        Py_XDECREF(weight);
        if (PyErr_Occurred())
            return -1;
    }
    return 0;
}

/* weighted_sum(out, terms, weights, n, width, past=-1): addresses, floats, and n numbers of `width` bytes; whether the sum is
 * written past the caches, or by its length. */
static PyObject *weighted_sum(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    if (count != 5 && count != 6)
        return PyErr_Format(PyExc_TypeError, "weighted_sum(out, terms, weights, n, width, past) got %zd arguments", count);
    char *out = PyLong_AsVoidPtr(args[0]);
    const Py_ssize_t k = PySequence_Size(args[1]), weights = PySequence_Size(args[2]);
    const size_t n = PyLong_AsSize_t(args[3]), width = PyLong_AsSize_t(args[4]), bytes = n * width;
    const int past = count == 6 ? (int)PyLong_AsLong(args[5]) : -1;
    if (PyErr_Occurred())
        return NULL;
    if (k != weights)
        return PyErr_Format(PyExc_ValueError, "%zd terms and %zd weights: one weight for each term", k, weights);
    if (width != sizeof(f32) && width != sizeof(f64))
        return PyErr_Format(PyExc_ValueError, "width=%zu: 4 or 8 bytes", width);

    Term few[16], *terms = k <= 16 ? few : PyMem_Malloc((size_t)k * sizeof(Term));
    if (!terms)
        return PyErr_NoMemory();
    PyObject *result = NULL;
    if (read_terms(terms, args[1], args[2], k) == 0) {
        PyThreadState *thread = bytes * (size_t)(k + 1) >= BUSY ? PyEval_SaveThread() : NULL;
        if (k == 0)
            memset(out, 0, bytes);
        else if (k == 1 && terms[0].weight == 1.0)
            memmove(out, terms[0].at, bytes);
        else
            add_up(out, terms, k, bytes, width == sizeof(f32) ? add_f32 : add_f64, width,
                   (past < 0 ? bytes >= LARGE : past) && out != terms[0].at);
        if (thread)
            PyEval_RestoreThread(thread);
        result = Py_NewRef(Py_None);
    }
    if (terms != few)
        PyMem_Free(terms);
    return result;
}

/* sum_rows(out, terms, weights, starts, rows, row_bytes, width, panel): row after row, the weighted sum of the rows whose
 * addresses lie in `terms` from starts[row] to starts[row + 1]. All rows' first `panel` bytes come first, then the next: so what
 * several rows share is still in the cache. */
static PyObject *sum_rows(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    if (count != 8)
        return PyErr_Format(PyExc_TypeError, "sum_rows got %zd arguments", count);
    char *out = PyLong_AsVoidPtr(args[0]);
    const int64_t *at = PyLong_AsVoidPtr(args[1]);
    const double *weights = PyLong_AsVoidPtr(args[2]);
    const int64_t *starts = PyLong_AsVoidPtr(args[3]);
    const size_t rows = PyLong_AsSize_t(args[4]), row_bytes = PyLong_AsSize_t(args[5]), width = PyLong_AsSize_t(args[6]);
    const size_t panel = PyLong_AsSize_t(args[7]);
    if (PyErr_Occurred())
        return NULL;
    if ((width != sizeof(f32) && width != sizeof(f64)) || panel == 0 || panel % width)
        return PyErr_Format(PyExc_ValueError, "width=%zu, panel=%zu: 4 or 8 bytes, and a multiple of them", width, panel);

    int64_t most = 1;
    for (size_t row = 0; row < rows; row++)
        most = starts[row + 1] - starts[row] > most ? starts[row + 1] - starts[row] : most;
    Term *terms = PyMem_Malloc((size_t)most * sizeof(Term));
    if (!terms)
        return PyErr_NoMemory();
    PyThreadState *thread = PyEval_SaveThread();
    for (size_t low = 0; low < row_bytes; low += panel) {
        const size_t bytes = row_bytes - low < panel ? row_bytes - low : panel;
        for (size_t row = 0; row < rows; row++) {
            const int64_t begin = starts[row], k = starts[row + 1] - begin;
            char *sum = out + row * row_bytes + low;
            for (int64_t j = 0; j < k; j++)
                terms[j] = (Term){(const char *)at[begin + j] + low, weights[begin + j]};
            if (k == 0)
                memset(sum, 0, bytes);
            else
                add_up(sum, terms, k, bytes, width == sizeof(f32) ? add_f32 : add_f64, width, 0);
        }
    }
    PyEval_RestoreThread(thread);
    PyMem_Free(terms);
    return Py_NewRef(Py_None);
}

/* What the ranks write into the words of the board is seen in that order. */
#define WORD(address, i) ((int64_t *)(address))[i]
#define SHOW(word, value) __atomic_store_n(&(word), (value), __ATOMIC_RELEASE)
#define SEE(word) __atomic_load_n(&(word), __ATOMIC_ACQUIRE)

/* A shortcut: where the words are of all who take part in an exchange, as swift.py packs it. */
typedef struct {
    int64_t failed; /* the word with the last epoch that failed */
    int64_t slots, slot_bytes, slot_count;
    int64_t area, area_bytes; /* where short messages lie, and how much of it belongs to a slot */
    int64_t mark_bytes;       /* from the marks of a slot to those of the next */
    int64_t sources, marks;
    int64_t own_at; /* how many of the sources are added up before what this rank gives itself */
    double self_weight, divisor;
} Shortcut;
typedef struct {
    int64_t slots, memory;
    double weight;
} From; /* as many as there are sources, and then the words to mark, in slot 0 */
typedef struct {
    int64_t call, nbytes, width;
} Kind;

enum { KEY, CALL, OFFSET, NBYTES, ROWS, FACTORS }; /* the words of a slot, as in board.py */
enum { NOT_THERE, DONE, NOT_FREE, FAILED };
#define MOST 15   /* sources */
#define TRIES 400 /* looks, each of which gives the processor away */
#define FEW 4     /* looks for which Python's other threads can wait: to let them in takes time, too */

#define DIVIDE(T)                                                \
    static void divide_##T(char *sum, size_t bytes, double by)   \
    {                                                            \
        const size_t n = bytes / sizeof(T);                      \
        T *s = (T *)sum;                                         \
        EACH s[i] = s[i] / (T)by;                                \
    }

DIVIDE(f32)
DIVIDE(f64)

/* exchange(shortcut, kind, lent, key, x, out): publish the numbers at x, and if those of all sources come soon, put the weighted
 * sum at out. `lent` are the words, in slot 0, of those who read what was in the slot. */
static PyObject *exchange(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    char *plan, *what, *readers;
    Py_ssize_t plan_bytes, what_bytes, readers_bytes;
    if (count != 6)
        return PyErr_Format(PyExc_TypeError, "exchange got %zd arguments", count);
    if (PyBytes_AsStringAndSize(args[0], &plan, &plan_bytes) || PyBytes_AsStringAndSize(args[1], &what, &what_bytes) ||
        PyBytes_AsStringAndSize(args[2], &readers, &readers_bytes))
        return NULL;
    const int64_t key = PyLong_AsLongLong(args[3]);
    const char *x = PyLong_AsVoidPtr(args[4]);
    char *out = PyLong_AsVoidPtr(args[5]);
    if (PyErr_Occurred())
        return NULL;
    const Shortcut *way = (const Shortcut *)plan;
    const Kind *kind = (const Kind *)what;
    const size_t nbytes = (size_t)kind->nbytes, width = (size_t)kind->width;
    const From *from = (const From *)(way + 1);
    const int64_t *marks = (const int64_t *)(from + way->sources), *lent = (const int64_t *)readers;
    const int64_t slot = key % way->slot_count, before = key - way->slot_count, epoch = key >> 32;
    if (way->sources > MOST || kind->nbytes > way->area_bytes)
        return PyErr_Format(PyExc_ValueError, "exchange: too many sources or bytes");

    for (Py_ssize_t i = 0; i < readers_bytes / 8; i++)
        if (SEE(WORD(lent[i] + slot * way->mark_bytes, 0)) < before)
            return PyLong_FromLong(NOT_FREE);
    const int64_t mine = way->slots + slot * way->slot_bytes, offset = slot * way->area_bytes;
    char *copy = (char *)(way->area + offset);
    SHOW(WORD(mine, KEY), 0); /* whoever still looks at the last publication sees that it is gone */
    __atomic_thread_fence(__ATOMIC_RELEASE);
    memcpy(copy, x, nbytes);
    WORD(mine, CALL) = kind->call;
    WORD(mine, OFFSET) = offset;
    WORD(mine, NBYTES) = kind->nbytes;
    WORD(mine, ROWS) = WORD(mine, FACTORS) = 0;
    SHOW(WORD(mine, KEY), key);

    Term terms[1 + MOST];
    Py_ssize_t k = 0;
    PyThreadState *thread = NULL;
    int tries = 0, there = 1;
    for (int64_t j = 0; j <= way->sources; j++) {
        if (j == way->own_at && way->self_weight != 0)
            terms[k++] = (Term){copy, way->self_weight};
        if (j == way->sources)
            break;
        const int64_t theirs = from[j].slots + slot * way->slot_bytes;
        while (SEE(WORD(theirs, KEY)) != key && tries < TRIES && WORD(way->failed, 0) < epoch) {
            if (tries++ == FEW)
                thread = PyEval_SaveThread();
            sched_yield();
        }
        there = WORD(theirs, KEY) == key && WORD(theirs, CALL) == kind->call;
        if (!there)
            break;
        terms[k++] = (Term){(const char *)(from[j].memory + WORD(theirs, OFFSET)), from[j].weight};
    }
    if (thread)
        PyEval_RestoreThread(thread);
    if (there) {
        const int single = width == sizeof(f32);
        if (k == 0)
            memset(out, 0, nbytes);
        else
            add_up(out, terms, k, nbytes, single ? add_f32 : add_f64, width, 0);
        if (way->divisor != 1)
            (single ? divide_f32 : divide_f64)(out, nbytes, way->divisor);
        for (int64_t i = 0; i < way->marks; i++)
            SHOW(WORD(marks[i] + slot * way->mark_bytes, 0), key);
    }
    if (WORD(way->failed, 0) >= epoch)
        return PyLong_FromLong(FAILED);
    return PyLong_FromLong(there ? DONE : NOT_THERE);
}

static PyMethodDef methods[] = {
    {"weighted_sum", (PyCFunction)(void (*)(void))weighted_sum, METH_FASTCALL, NULL},
    {"sum_rows", (PyCFunction)(void (*)(void))sum_rows, METH_FASTCALL, NULL},
    {"exchange", (PyCFunction)(void (*)(void))exchange, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "ifog.comm._kernel", NULL, 0, methods, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__kernel(void)
{
    return PyModuleDef_Init(&module);
}
