/* The Python module fleetnet._native: checks what it is given, lets go of the lock, and computes. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "fleetnet_core.h"

static int holds(const Py_buffer *pixels, int width, int height) {
    return width > 0 && height > 0 && pixels->len == 3 * (int64_t)width * height;
}

/* Raise what a status says, and return NULL. */
static PyObject *refuse(fleetnet_status status) {
    if (status == FLEETNET_NO_MEMORY) return PyErr_NoMemory();
    PyErr_SetString(PyExc_ValueError, status == FLEETNET_TOO_LONG
                                          ? "sides too far apart"
                                          : "sizes, box, crop and buffers do not fit one another");
    return NULL;
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
    int failed = 0;
    int fits = fleetnet_is_sound(&task, (fleetnet_filter)filter) &&
               holds(&image, task.width, task.height) && holds(&out, task.crop, task.crop);
    if (fits) {
        task.pixels = image.buf;
        Py_BEGIN_ALLOW_THREADS
        failed = fleetnet_resample(&task, (fleetnet_filter)filter, out.buf);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&image);
    PyBuffer_Release(&out);
    if (!fits) return refuse(FLEETNET_BAD_ARGUMENT);
    if (failed) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

PyDoc_STRVAR(geometry_doc,
             "geometry(width, height, resize, crop, filter)\n--\n\n"
             "Return (width, height), (left, top); see fleetnet.geometry.");

static PyObject *geometry(PyObject *self, PyObject *arguments) {
    (void)self;
    double width, height;
    fleetnet_preprocess preprocess;
    fleetnet_geometry found;
    int filter;
    if (!PyArg_ParseTuple(arguments, "ddiii:geometry", &width, &height, &preprocess.resize,
                          &preprocess.crop, &filter))
        return NULL;
    preprocess.interpolation = (fleetnet_filter)filter;
    fleetnet_status status = fleetnet_geometry_of(&preprocess, width, height, &found);
    if (status != FLEETNET_OK) return refuse(status);
    return Py_BuildValue("(ii)(ii)", found.width, found.height, found.left, found.top);
}

PyDoc_STRVAR(shrink_doc,
             "shrink(width, height, resize, filter)\n--\n\n"
             "Return by how much a JPEG may be decoded smaller; see fleetnet.geometry.");

static PyObject *shrink(PyObject *self, PyObject *arguments) {
    (void)self;
    int width, height, filter;
    fleetnet_preprocess preprocess = {.crop = 1};
    if (!PyArg_ParseTuple(arguments, "iiii:shrink", &width, &height, &preprocess.resize, &filter))
        return NULL;
    preprocess.interpolation = (fleetnet_filter)filter;
    return PyLong_FromLong(fleetnet_shrink_for(&preprocess, width, height));
}

PyDoc_STRVAR(extent_doc,
             "extent(width, height, shrink, orientation)\n--\n\n"
             "Return left, top, right, bottom of a picture in what is decoded of it.");

static PyObject *extent(PyObject *self, PyObject *arguments) {
    (void)self;
    int width, height, by, orientation;
    double box[4];
    if (!PyArg_ParseTuple(arguments, "iiii:extent", &width, &height, &by, &orientation)) return NULL;
    if (by < 1) return refuse(FLEETNET_BAD_ARGUMENT);
    fleetnet_extent_of(width, height, by, orientation, box);
    return Py_BuildValue("(dddd)", box[0], box[1], box[2], box[3]);
}

PyDoc_STRVAR(make_input_doc,
             "make_input(image, out, size, box, resize, crop, filter)\n--\n\n"
             "Resize and crop a picture into out, as any host does.");

static PyObject *make_input(PyObject *self, PyObject *arguments) {
    (void)self;
    Py_buffer image, out;
    fleetnet_preprocess preprocess;
    int width, height, filter;
    double box[4];
    if (!PyArg_ParseTuple(arguments, "y*w*(ii)(dddd)iii:make_input", &image, &out, &width, &height,
                          &box[0], &box[1], &box[2], &box[3], &preprocess.resize, &preprocess.crop,
                          &filter))
        return NULL;
    preprocess.interpolation = (fleetnet_filter)filter;
    fleetnet_status status = FLEETNET_BAD_ARGUMENT;
    if (holds(&image, width, height) && holds(&out, preprocess.crop, preprocess.crop)) {
        Py_BEGIN_ALLOW_THREADS
        status = fleetnet_make_input(&preprocess, image.buf, width, height, box, out.buf);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&image);
    PyBuffer_Release(&out);
    if (status != FLEETNET_OK) return refuse(status);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {{"extent", extent, METH_VARARGS, extent_doc},
                                {"geometry", geometry, METH_VARARGS, geometry_doc},
                                {"make_input", make_input, METH_VARARGS, make_input_doc},
                                {"resample", resample, METH_VARARGS, resample_doc},
                                {"shrink", shrink, METH_VARARGS, shrink_doc},
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
