/* The Python module fleetnet._jpeg: decodes only the part of a JPEG that is needed, by the system's
libjpeg-turbo. Whatever libjpeg refuses or warns of is left to the decoder of whole files. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#if !defined(LIBJPEG_TURBO_VERSION_NUMBER) || LIBJPEG_TURBO_VERSION_NUMBER < 2001000
#error "parts of JPEG files are decoded by libjpeg-turbo from 2.1 on"
#endif

/* So many pixels around the part are decoded too: smoothing of colours uses neighbours, and libjpeg
   treats the rim of what it decodes as the picture's. */
#define MARGIN 8

typedef struct {
    const uint8_t *data;
    size_t size;
    int width, height, shrink;      /* of the stored picture, as its header was read before */
    int left, top, right, bottom;   /* the part, in pixels of the picture decoded by shrink */
    uint8_t *out, *row;             /* room for the part, and for a whole row */
} part;

typedef struct {
    struct jpeg_error_mgr base; /* first, so that libjpeg's pointer is also one to this */
    jmp_buf jump;
} errors;

static void leave(j_common_ptr info) { longjmp(((errors *)info->err)->jump, 1); }

static void leave_at_warning(j_common_ptr info, int level) {
    if (level < 0) leave(info);
}

static void read_rows(j_decompress_ptr info, const part *wanted) {
    JDIMENSION start = 0, width = info->output_width;
    int left = wanted->left > MARGIN ? wanted->left - MARGIN : 0;
    int right = (int)width - wanted->right > MARGIN ? wanted->right + MARGIN : (int)width;
    if (left > 0 || right < (int)width) {
        start = (JDIMENSION)left;
        width = (JDIMENSION)(right - left);
        jpeg_crop_scanline(info, &start, &width);
    }
    if (wanted->top > MARGIN) jpeg_skip_scanlines(info, (JDIMENSION)(wanted->top - MARGIN));
    size_t length = 3 * (size_t)(wanted->right - wanted->left);
    size_t from = 3 * ((size_t)wanted->left - start);
    JSAMPROW row = wanted->row;
    for (int y = (int)info->output_scanline; y < wanted->bottom; y++) {
        jpeg_read_scanlines(info, &row, 1);
        if (y >= wanted->top)
            memcpy(wanted->out + (size_t)(y - wanted->top) * length, row + from, length);
    }
}

static int fits(const struct jpeg_decompress_struct *info, const part *wanted) {
    return info->output_components == 3 && 0 <= wanted->left && wanted->left < wanted->right &&
           wanted->right <= (int)info->output_width && 0 <= wanted->top &&
           wanted->top < wanted->bottom && wanted->bottom <= (int)info->output_height;
}

/* Return whether the part was decoded; what follows it in the file is not looked at. */
static int decode(const part *wanted) {
    struct jpeg_decompress_struct info;
    errors found;
    memset(&info, 0, sizeof info);
    info.err = jpeg_std_error(&found.base);
    found.base.error_exit = leave;
    found.base.emit_message = leave_at_warning;
    if (setjmp(found.jump)) {
        jpeg_destroy_decompress(&info);
        return 0;
    }
    jpeg_create_decompress(&info);
    jpeg_mem_src(&info, wanted->data, (unsigned long)wanted->size);
    jpeg_read_header(&info, TRUE);
    int done = (int)info.image_width == wanted->width && (int)info.image_height == wanted->height;
    if (done) {
        info.out_color_space = JCS_RGB;
        info.scale_num = 1;
        info.scale_denom = (unsigned)wanted->shrink;
        jpeg_start_decompress(&info);
        done = fits(&info, wanted);
        if (done) read_rows(&info, wanted);
    }
    jpeg_destroy_decompress(&info);
    return done;
}

static int is_sound(const part *wanted, const Py_buffer *out) {
    int64_t wide = (int64_t)wanted->right - wanted->left;
    int64_t high = (int64_t)wanted->bottom - wanted->top;
    return wanted->shrink >= 1 && wanted->shrink <= 8 && wanted->width > 0 &&
           wanted->width <= JPEG_MAX_DIMENSION && wide > 0 && wide <= wanted->width && high > 0 &&
           high <= JPEG_MAX_DIMENSION && out->len == 3 * wide * high;
}

PyDoc_STRVAR(decode_part_doc,
             "decode_part(data, out, size, shrink, box)\n--\n\n"
             "Write a box of a stored picture of a size into out and return True, or return False; "
             "see fleetnet.images.");

static PyObject *decode_part(PyObject *self, PyObject *arguments) {
    (void)self;
    Py_buffer data, out;
    part wanted = {0};
    if (!PyArg_ParseTuple(arguments, "y*w*(ii)i(iiii):decode_part", &data, &out, &wanted.width,
                          &wanted.height, &wanted.shrink, &wanted.left, &wanted.top, &wanted.right,
                          &wanted.bottom))
        return NULL;
    int sound = is_sound(&wanted, &out), done = 0;
    if (sound) {
        wanted.data = data.buf;
        wanted.size = (size_t)data.len;
        wanted.out = out.buf;
        Py_BEGIN_ALLOW_THREADS
        wanted.row = malloc(3 * (size_t)wanted.width);
        done = wanted.row && decode(&wanted);
        free(wanted.row);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&data);
    PyBuffer_Release(&out);
    if (sound) return PyBool_FromLong(done);
    PyErr_SetString(PyExc_ValueError, "sizes, box and buffer do not fit one another");
    return NULL;
}

static PyMethodDef methods[] = {{"decode_part", decode_part, METH_VARARGS, decode_part_doc},
                                {NULL, NULL, 0, NULL}};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_jpeg",
    .m_doc = "Parts of JPEG files.",
    .m_size = 0,
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__jpeg(void) { return PyModuleDef_Init(&definition); }
