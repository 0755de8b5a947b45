/* Sixteen threads share one classifier for many images: each gets its own answers to the end, and
the memory that is used stays what it was after the first tenth.

Where the allocator says what was allocated and not freed (glibc), that may hardly grow. OpenVINO
has an allocator of its own, TBB's, which says nothing: what the process has in memory is looked at
for its sake. That was seen to grow by some kilobytes for each call in one process of sixty, though
only one thread computes; so it is tried in a second process before it is called wrong.

    endurance [IMAGES [THROUGHPUT [BUNDLE]]] */
#define _DEFAULT_SOURCE /* and with it POSIX */
#include <fleetnet.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#define THREADS 16
#define STEPS 10
/* Of what was allocated; and of what is in memory, for allocators keep what they were given by the
largest moment, which may come late. */
#define ALLOWED_ALLOCATED (4L << 20)
#define ALLOWED_RESIDENT (24L << 20)

static const char* const names[] = {
    "jpeg-baseline.jpg", "jpeg-progressive.jpg", "jpeg-scaled-8.jpg",
    "jpeg-turned-6.jpg", "jpeg-cmyk.jpg",        "png-rgb.png",
    "png-palette.png",   "png-interlaced.png",   "gif.gif",
    "bmp.bmp",           "wide-99.png",          "bad-cut-jpeg.jpg",
    "bad-text.jpg",      "bad-png-checksum.png"};
#define PICTURES (sizeof names / sizeof names[0])

struct picture {
    char path[4096];
    uint8_t* data;
    size_t size;
    int32_t code;
    fleetnet_score best;
    char error[256];
};

static struct picture pictures[PICTURES];
static const fleetnet_classifier* shared;
static atomic_long next_image;
static atomic_long wrong;
static long images;
static long resident[STEPS + 1]; /* bytes, after each tenth */
static long used[STEPS + 1];     /* of them allocated and not freed; 0 where nobody says */

/* Bytes in memory; 0 where the system does not say. */
static long resident_now(void) {
    long pages = 0;
    FILE* file = fopen("/proc/self/statm", "r");
    if (!file) return 0;
    if (fscanf(file, "%*d %ld", &pages) != 1) pages = 0;
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

static long used_now(void) {
#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 33)
    const struct mallinfo2 all = mallinfo2();
    return (long)(all.uordblks + all.hblkhd);
#else
    return 0;
#endif
}

static void read_picture(struct picture* picture, const char* name) {
    snprintf(picture->path, sizeof picture->path, FLEETNET_CONFORMANCE "/pictures/%s", name);
    FILE* file = fopen(picture->path, "rb");
    picture->data = malloc(1 << 20);
    if (!file || !picture->data) {
        fprintf(stderr, "cannot read %s\n", picture->path);
        exit(2);
    }
    picture->size = fread(picture->data, 1, 1 << 20, file);
    fclose(file);
}

/* In turn by a file's path and content, alone and in a batch. */
static int32_t answer(const struct picture* picture, long turn, fleetnet_score* best,
                      const char** error, fleetnet_answers** answers) {
    *answers = NULL;
    *error = "";
    if (turn % 3 == 2) {
        fleetnet_image batch[2];
        size_t count;
        memset(batch, 0, sizeof batch);
        batch[0].path = picture->path;
        batch[1].data = picture->data;
        batch[1].size = picture->size;
        const int32_t code = fleetnet_classify_batch(shared, batch, 2, 1, answers);
        if (code != FLEETNET_SUCCESS) return code;
        if (fleetnet_answer_error(*answers, 1)) {
            *error = fleetnet_answer_error(*answers, 1);
            return FLEETNET_ERROR_IMAGE;
        }
        *best = fleetnet_answer_scores(*answers, 1, &count)[0];
        return code;
    }
    const int32_t code =
        turn % 3 == 0
            ? fleetnet_classify_file(shared, picture->path, 1, best, NULL)
            : fleetnet_classify_bytes(shared, picture->data, picture->size, 1, best, NULL);
    if (code != FLEETNET_SUCCESS) *error = fleetnet_last_error();
    return code;
}

static void* work(void* unused) {
    (void)unused;
    for (long image; (image = atomic_fetch_add(&next_image, 1)) < images;) {
        const struct picture* picture = &pictures[image % (long)PICTURES];
        fleetnet_score best = {-1, 0};
        fleetnet_answers* answers;
        const char* error;
        const int32_t code = answer(picture, image / (long)PICTURES, &best, &error, &answers);
        const int same = code == picture->code && strcmp(error, picture->error) == 0 &&
                         best.index == picture->best.index &&
                         fabsf(best.probability - picture->best.probability) < 1e-4f;
        if (!same && atomic_fetch_add(&wrong, 1) == 0) {
            fprintf(stderr, "image %ld, %s: code %d, class %d, %s\n", image, picture->path,
                    (int)code, (int)best.index, error);
        }
        fleetnet_answers_free(answers);
        if ((image + 1) % (images / STEPS) == 0) {
            const long step = (image + 1) / (images / STEPS);
            resident[step] = resident_now();
            used[step] = used_now();
        }
    }
    return NULL;
}

int main(int count, char** arguments) {
    images = count > 1 ? atol(arguments[1]) : 2000;
    if (images < STEPS) return 2;
    fleetnet_options options = {sizeof options};
    options.throughput = count > 2 ? atoi(arguments[2]) : 1;
    options.threads = 2;
    options.batch_size = 2;
    fleetnet_classifier* classifier;
    const char* bundle = count > 3 ? arguments[3] : FLEETNET_CONFORMANCE "/network.onnx";
    if (fleetnet_open(bundle, &options, &classifier) != FLEETNET_SUCCESS) {
        fprintf(stderr, "%s\n", fleetnet_last_error());
        return 2;
    }
    shared = classifier;
    for (size_t i = 0; i < PICTURES; ++i) {
        fleetnet_answers* answers;
        const char* error;
        read_picture(&pictures[i], names[i]);
        pictures[i].best.index = -1;
        pictures[i].code = answer(&pictures[i], 0, &pictures[i].best, &error, &answers);
        snprintf(pictures[i].error, sizeof pictures[i].error, "%s", error);
    }
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; ++i) {
        if (pthread_create(&threads[i], NULL, work, NULL) != 0) return 2;
    }
    for (int i = 0; i < THREADS; ++i) pthread_join(threads[i], NULL);
    printf("%ld images, %d threads, %ld wrong; MiB after each tenth:", images, THREADS,
           atomic_load(&wrong));
    for (int step = 1; step <= STEPS; ++step) printf(" %.1f", (double)resident[step] / (1 << 20));
    printf("\nallocated:");
    for (int step = 1; step <= STEPS; ++step) printf(" %.1f", (double)used[step] / (1 << 20));
    printf("\n");
    fleetnet_close(classifier);
    for (size_t i = 0; i < PICTURES; ++i) free(pictures[i].data);
#ifndef FLEETNET_WATCHED /* with which some of it is not ours */
    if (used[STEPS] - used[1] > ALLOWED_ALLOCATED) {
        fprintf(stderr, "%.1f MiB were allocated and not freed\n",
                (double)(used[STEPS] - used[1]) / (1 << 20));
        return 1;
    }
    if (resident[STEPS] - resident[1] > ALLOWED_RESIDENT) {
        fprintf(stderr, "memory has grown by %.1f MiB\n",
                (double)(resident[STEPS] - resident[1]) / (1 << 20));
        if (atomic_load(&wrong) == 0 && used[STEPS] > 0 && !getenv("FLEETNET_SECOND")) {
            setenv("FLEETNET_SECOND", "1", 1);
            fflush(NULL);
            execv("/proc/self/exe", arguments);
        }
        return 1;
    }
#endif
    return atomic_load(&wrong) != 0;
}
