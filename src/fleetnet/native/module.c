/* The Python module fleetnet._native: checks what it is given, lets go of the lock, and computes. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "resample.h"

/* Sides beyond this have no pixels that memory could hold, and fit every sum in the arithmetic. */
#define MAX_SIDE (1 << 27)

static int sound(const fleetnet_task *task, int filter, Py_ssize_t given, Py_ssize_t room) {
    const float *box = task->box;
    int sizes[] = {task->width, task->height, task->resized_width, task->resized_height, task->crop};
    for (int i = 0; i < 5; i++)
        if (sizes[i] < 1 || sizes[i] > MAX_SIDE) return 0;
    int boxed = box[0] >= 0 && box[0] < box[2] && box[2] <= (float)task->width && box[1] >= 0 &&
                box[1] < box[3] && box[3] <= (float)task->height;
    int cropped = task->left >= 0 && task->left <= task->resized_width - task->crop &&
                  task->top >= 0 && task->top <= task->resized_height - task->crop;
    return boxed && cropped && filter >= FLEETNET_BILINEAR && filter <= FLEETNET_CV2_LINEAR &&
           given == 3 * (int64_t)task->width * task->height &&
           room == 3 * (int64_t)task->crop * task->crop;
}

PyDoc_STRVAR(resample_doc,
             "resample(image, out, size, box, resized, offset, crop, filter)\n--\n\n"
             "Write a crop of a resized picture into out; see fleetnet.resampling.");

static PyObject *resample(PyObject *self, PyObject *arguments) {
    (void)self;
    Py_buffer image, out;
    fleetnet_task task;
    int filter;
    if (!PyArg_ParseTuple(arguments, "y*w*(ii)(ffff)(ii)(ii)ii:resample", &image, &out, &task.width,
                          &task.height, &task.box[0], &task.box[1], &task.box[2], &task.box[3],
                          &task.resized_width, &task.resized_height, &task.left, &task.top,
                          &task.crop, &filter))
        return NULL;
    int failed = 0, fits = sound(&task, filter, image.len, out.len);
    if (fits) {
        task.pixels = image.buf;
        Py_BEGIN_ALLOW_THREADS
        failed = fleetnet_resample(&task, (fleetnet_filter)filter, out.buf);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&image);
    PyBuffer_Release(&out);
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "sizes, box, crop and buffers do not fit one another");
        return NULL;
    }
    if (failed) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {{"resample", resample, METH_VARARGS, resample_doc},
                                {NULL, NULL, 0, NULL}};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_native",
    .m_doc = "What Fleetnet computes in C.",
    .m_size = 0,
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&definition); }
