/* Weighted sums in one pass over memory, and a fence. Optional: without it arithmetic.py does the same with torch, to the bit.
 *
 * Every product and every sum is rounded by itself, in the order given: with a fused multiply-add, which -ffp-contract=off
 * forbids, the result would depend on the processor.
 */

#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <float.h>
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

/* weighted_sum(out, terms, weights, n, width): addresses, floats, and n numbers of `width` bytes. */
static PyObject *weighted_sum(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    if (count != 5)
        return PyErr_Format(PyExc_TypeError, "weighted_sum(out, terms, weights, n, width) got %zd arguments", count);
    char *out = PyLong_AsVoidPtr(args[0]);
    const Py_ssize_t k = PySequence_Size(args[1]), weights = PySequence_Size(args[2]);
    const size_t n = PyLong_AsSize_t(args[3]), width = PyLong_AsSize_t(args[4]), bytes = n * width;
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
                   bytes >= LARGE && out != terms[0].at);
        if (thread)
            PyEval_RestoreThread(thread);
        result = Py_NewRef(Py_None);
    }
    if (terms != few)
        PyMem_Free(terms);
    return result;
}

static PyObject *fence(PyObject *self, PyObject *nothing)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return Py_NewRef(Py_None);
}

static PyMethodDef methods[] = {
    {"weighted_sum", (PyCFunction)(void (*)(void))weighted_sum, METH_FASTCALL, NULL},
    {"fence", fence, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "ifog.comm._kernel", NULL, 0, methods, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__kernel(void)
{
    return PyModuleDef_Init(&module);
}
