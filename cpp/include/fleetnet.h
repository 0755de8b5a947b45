/* Fleetnet: images in, classes out, in a program without Python.

    fleetnet_classifier *classifier;
    fleetnet_score best[5];
    size_t found;
    if (fleetnet_open("model.bundle", NULL, &classifier) != FLEETNET_SUCCESS ||
        fleetnet_classify_file(classifier, "photo.jpg", 5, best, &found) != FLEETNET_SUCCESS) {
        fprintf(stderr, "%s\n", fleetnet_last_error());
        return 2;
    }
    printf("%s %.4f\n", fleetnet_class_name(classifier, best[0].index), best[0].probability);
    fleetnet_close(classifier);

Answers are those of the Python package: the same pixels to the bit, the same logits up to the
rounding of the engine.

Threads: any number of threads may call any function at once, with one classifier or with several,
and each gets its own answer. Calls share the threads that the classifier computes with.

Processes: the threads of an engine are not copied by fork. In a process that was forked after the
first fleetnet_open, opening and classifying are refused with FLEETNET_ERROR_ENGINE: fork before
it, or start a new program.

Errors: functions that can fail return a fleetnet_code, and FLEETNET_SUCCESS is 0. What was wrong, in one
line that says what to do, is in fleetnet_last_error() of the same thread until its next call. No
C++ exception leaves the library, and no function ends the process.

Text is UTF-8, paths on Windows too; elsewhere paths are the bytes that the system knows. Text that is
returned belongs to the library, and lives as long as the comment at its function says.

Versions: what is declared here stays; more may be added. FLEETNET_ABI_VERSION grows when a program
that was compiled with an older header would no longer run, and is part of the library's file name
(libfleetnet.so.1) where systems have that. */
#ifndef FLEETNET_H
#define FLEETNET_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32) && !defined(FLEETNET_STATIC)
#ifdef FLEETNET_BUILDS
#define FLEETNET_API __declspec(dllexport)
#else
#define FLEETNET_API __declspec(dllimport)
#endif
#elif defined(__GNUC__)
#define FLEETNET_API __attribute__((visibility("default")))
#else
#define FLEETNET_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define FLEETNET_ABI_VERSION 1

/* What was wrong. Codes of later versions may be others: treat unknown ones as FLEETNET_ERROR_INTERNAL. */
typedef enum fleetnet_code {
    FLEETNET_SUCCESS = 0,
    FLEETNET_ERROR_ARGUMENT = 1, /* the request: NULL, an unknown engine, a precision that is not offered */
    FLEETNET_ERROR_BUNDLE = 2,   /* the bundle is missing, damaged, or newer than this library */
    FLEETNET_ERROR_IMAGE = 3,    /* the image cannot be read or decoded */
    FLEETNET_ERROR_DATA = 4,     /* there are no images */
    FLEETNET_ERROR_ENGINE = 5,   /* the engine's runtime is not there, or fails */
    FLEETNET_ERROR_MEMORY = 6,   /* there is not enough memory */
    FLEETNET_ERROR_INTERNAL = 7  /* a fault of this library */
} fleetnet_code;

/* A bundle made ready to answer on this machine. */
typedef struct fleetnet_classifier fleetnet_classifier;

/* The answers to a batch of images. */
typedef struct fleetnet_answers fleetnet_answers;

/* How to compute. Zero or NULL in a field is its default, so this is enough:

    fleetnet_options options = {sizeof options};
    options.threads = 4;
*/
typedef struct fleetnet_options {
    size_t size;            /* sizeof(fleetnet_options): a newer library knows by it which fields
                               there are. */
    const char *engine;     /* "openvino" (the default) or "onnxruntime". */
    const char *precision;  /* "fp32" (the default), "bf16", "fp16" or "int8", where the engine, the
                               processor and the bundle offer it; otherwise it is refused. */
    const char *device;     /* "cpu" (the default), or another that the engine finds: "gpu", "npu". */
    int32_t threads;        /* how many to compute with, to 1024; 0: all available processors. */
    int32_t throughput;     /* 0: each answer as soon as possible. 1: as many as possible per second:
                               as many batches are computed at once as there are threads. */
    int32_t exact;          /* 0: JPEGs much larger than the network needs are decoded smaller, which
                               takes much less time and gives nearly the same answers. 1: every
                               image is decoded in full size. */
    int32_t batch_size;     /* how many images the engine gets at once, to 4096; 0: one, or four in
                               fewer bits than fp32 with `throughput`. */
    const char *const *labels; /* names of the classes instead of the bundle's; NULL: the bundle's. */
    size_t label_count;     /* how many; it has to be the number of classes. */
    int32_t reject;         /* for a bundle that rejects answers of which the network is not certain
                               enough. 0: fleetnet_open refuses it, so that no program takes such an
                               answer for another by mistake. 1: they are rejected, see
                               fleetnet_answer_rejected and the fleetnet_classify functions.
                               2: nothing is rejected. */
} fleetnet_options;

/* One class and its probability. With a network of one class for each image all probabilities sum up
to 1; with one of any number of classes each is independent. */
typedef struct fleetnet_score {
    int32_t index;
    float probability;
} fleetnet_score;

/* One image of a batch: exactly one of `path` and `data` is not NULL. */
typedef struct fleetnet_image {
    const char *path;    /* of a file */
    const uint8_t *data; /* the content of a file; or pixels, if `width` is not 0 */
    size_t size;         /* bytes of `data` */
    int32_t width;       /* of pixels: `height` rows of `width` RGB triples, nothing between them */
    int32_t height;
} fleetnet_image;

/* FLEETNET_ABI_VERSION of the library; a program may compare it with that of its header. */
FLEETNET_API int32_t fleetnet_abi_version(void);

/* The library's version, such as "0.1.0"; it lives for ever. */
FLEETNET_API const char *fleetnet_version(void);

/* What was wrong with the last call of this thread that failed; it lives until the thread's next
call. Empty if none has failed. */
FLEETNET_API const char *fleetnet_last_error(void);

/* Make a bundle ready: check its manifest and the hashes of its files, and load its network.

bundle:     path of a bundle's folder, or of an .onnx file that Fleetnet wrote.
options:    NULL for the defaults; nothing of it is kept.
classifier: set to a new one, to be closed; to NULL if there is an error.

FLEETNET_ERROR_BUNDLE, FLEETNET_ERROR_ARGUMENT, FLEETNET_ERROR_ENGINE, FLEETNET_ERROR_MEMORY. */
FLEETNET_API int32_t fleetnet_open(const char *bundle, const fleetnet_options *options,
                                   fleetnet_classifier **classifier);

/* Free a classifier; NULL is allowed. Calls that other threads have begun with it are finished first;
no call may begin with it any more. Answers that it gave stay. */
FLEETNET_API void fleetnet_close(fleetnet_classifier *classifier);

/* How many classes there are; 0 for NULL. */
FLEETNET_API size_t fleetnet_class_count(const fleetnet_classifier *classifier);

/* The name of a class, by its index; it lives as long as the classifier. NULL if there is none. */
FLEETNET_API const char *fleetnet_class_name(const fleetnet_classifier *classifier, size_t index);

/* What computes and how; the texts live as long as the classifier. */
FLEETNET_API const char *fleetnet_model_name(const fleetnet_classifier *classifier);
FLEETNET_API const char *fleetnet_engine_name(const fleetnet_classifier *classifier);
FLEETNET_API const char *fleetnet_engine_version(const fleetnet_classifier *classifier);
FLEETNET_API const char *fleetnet_precision(const fleetnet_classifier *classifier);
FLEETNET_API int32_t fleetnet_threads(const fleetnet_classifier *classifier);

/* Answer one image: a file's path, a file's content, or pixels: `height` rows of `width` RGB triples,
nothing between them.

top_k:  how many classes to name, at least 1.
scores: room for `top_k`; gets the most probable classes, best first.
found:  how many they are: `top_k`, or all classes if there are fewer; 0 if the answer is rejected,
        while `scores` has the classes all the same.

FLEETNET_ERROR_IMAGE, FLEETNET_ERROR_ARGUMENT, FLEETNET_ERROR_BUNDLE, FLEETNET_ERROR_ENGINE, FLEETNET_ERROR_MEMORY. */
FLEETNET_API int32_t fleetnet_classify_file(const fleetnet_classifier *classifier, const char *path,
                                            size_t top_k, fleetnet_score *scores, size_t *found);
FLEETNET_API int32_t fleetnet_classify_bytes(const fleetnet_classifier *classifier,
                                             const uint8_t *data, size_t size, size_t top_k,
                                             fleetnet_score *scores, size_t *found);
FLEETNET_API int32_t fleetnet_classify_pixels(const fleetnet_classifier *classifier,
                                              const uint8_t *rgb, int32_t width, int32_t height,
                                              size_t top_k, fleetnet_score *scores, size_t *found);

/* Answer several images, `batch_size` of the options at once; with `throughput` several batches.

An image that cannot be read does not harm the others: fleetnet_answer_error says so of it.

answers: set to new ones, to be freed; to NULL if there is an error.

FLEETNET_ERROR_ARGUMENT, FLEETNET_ERROR_BUNDLE, FLEETNET_ERROR_ENGINE, FLEETNET_ERROR_MEMORY. */
FLEETNET_API int32_t fleetnet_classify_batch(const fleetnet_classifier *classifier,
                                             const fleetnet_image *images, size_t count,
                                             size_t top_k, fleetnet_answers **answers);

/* How many images were answered; 0 for NULL. */
FLEETNET_API size_t fleetnet_answer_count(const fleetnet_answers *answers);

/* Why an image could not be read, NULL if it could be. What these three return lives as long as the
answers, and is NULL or nothing for an image that is not there. */
FLEETNET_API const char *fleetnet_answer_error(const fleetnet_answers *answers, size_t image);

/* The most probable classes of an image, best first; `*count` is how many, 0 if it was not read. */
FLEETNET_API const fleetnet_score *fleetnet_answer_scores(const fleetnet_answers *answers,
                                                          size_t image, size_t *count);

/* The logits of an image, one for each class, as the network gives them, before the temperature. */
FLEETNET_API const float *fleetnet_answer_logits(const fleetnet_answers *answers, size_t image,
                                                 size_t *count);

/* Whether the answer for an image is rejected: 1 or 0; 0 if it was not read. */
FLEETNET_API int32_t fleetnet_answer_rejected(const fleetnet_answers *answers, size_t image);

/* How certain the network is of an image, as the bundle's threshold takes it; NULL where nothing is
rejected, or the image was not read. */
FLEETNET_API const float *fleetnet_answer_certainty(const fleetnet_answers *answers, size_t image);

/* Free answers; NULL is allowed. */
FLEETNET_API void fleetnet_answers_free(fleetnet_answers *answers);

#ifdef __cplusplus
}
#endif

#endif
