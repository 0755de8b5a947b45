/* The C interface, used as a C99 program uses it. */
#include <fleetnet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#include <windows.h>
#else
#include <pthread.h>
#endif

#define SIDE 40
#define THREADS 16

static int failures = 0;

static void check(int good, const char *what, int line) {
    if (good) return;
    fprintf(stderr, "line %d: %s (last error: %s)\n", line, what, fleetnet_last_error());
    ++failures;
}
#define CHECK(condition) check((condition), #condition, __LINE__)

static void paint(uint8_t *rgb, unsigned seed) {
    for (size_t i = 0; i < SIDE * SIDE * 3; ++i) rgb[i] = (uint8_t)((i + 1) * (seed * 7 + 1));
}

static void refuses_what_is_wrong(const char *bundle) {
    fleetnet_classifier *classifier = NULL;
    fleetnet_options options = {sizeof options};
    fleetnet_score score;
    CHECK(fleetnet_open(NULL, NULL, &classifier) == FLEETNET_ERROR_ARGUMENT);
    CHECK(fleetnet_open(bundle, NULL, NULL) == FLEETNET_ERROR_ARGUMENT);
    CHECK(fleetnet_open("not there", NULL, &classifier) == FLEETNET_ERROR_BUNDLE);
    CHECK(strcmp(fleetnet_last_error(), "no such bundle: not there") == 0);
    CHECK(classifier == NULL);
    options.engine = "abacus";
    CHECK(fleetnet_open(bundle, &options, &classifier) == FLEETNET_ERROR_ARGUMENT);
    options.engine = NULL;
    options.size = 4;
    CHECK(fleetnet_open(bundle, &options, &classifier) == FLEETNET_ERROR_ARGUMENT);
    options.size = SIZE_MAX; /* as memory that was never set may say */
    CHECK(fleetnet_open(bundle, &options, &classifier) == FLEETNET_ERROR_ARGUMENT);
    CHECK(strstr(fleetnet_last_error(), "it must be sizeof(fleetnet_options)") != NULL);
    CHECK(fleetnet_open("two\nlines", NULL, &classifier) == FLEETNET_ERROR_BUNDLE);
    CHECK(strcmp(fleetnet_last_error(), "no such bundle: two lines") == 0);
    options.size = sizeof options;
    options.batch_size = 5000;
    CHECK(fleetnet_open(bundle, &options, &classifier) == FLEETNET_ERROR_ARGUMENT);
    CHECK(strcmp(fleetnet_last_error(), "batch size is 5000; it must be from 1 to 4096") == 0);
    CHECK(fleetnet_classify_file(NULL, "x", 1, &score, NULL) == FLEETNET_ERROR_ARGUMENT);
    fleetnet_close(NULL);
    fleetnet_answers_free(NULL);
    CHECK(fleetnet_class_count(NULL) == 0 && fleetnet_class_name(NULL, 0) == NULL);
}

static void takes_options_of_a_newer_header(const char *bundle) {
    /* What is not known may be there as long as nothing is asked for with it. */
    struct {
        fleetnet_options options;
        long future;
    } newer;
    fleetnet_classifier *classifier = NULL;
    memset(&newer, 0, sizeof newer);
    newer.options.size = sizeof newer;
    CHECK(fleetnet_open(bundle, &newer.options, &classifier) == FLEETNET_SUCCESS);
    fleetnet_close(classifier);
    newer.future = 1;
    CHECK(fleetnet_open(bundle, &newer.options, &classifier) == FLEETNET_ERROR_ARGUMENT);
}

static void answers_single_images(const fleetnet_classifier *classifier) {
    static uint8_t rgb[SIDE * SIDE * 3];
    fleetnet_score scores[10];
    size_t found = 99;
    float sum = 0;
    paint(rgb, 3);
    CHECK(fleetnet_classify_pixels(classifier, rgb, SIDE, SIDE, 10, scores, &found) == 0);
    CHECK(found == fleetnet_class_count(classifier));
    for (size_t i = 0; i < found; ++i) sum += scores[i].probability;
    CHECK(sum > 0.999f && sum < 1.001f);
    CHECK(scores[0].probability >= scores[1].probability);
    CHECK(fleetnet_class_name(classifier, (size_t)scores[0].index) != NULL);
    CHECK(fleetnet_class_name(classifier, found) == NULL);
    CHECK(fleetnet_classify_pixels(classifier, rgb, 0, SIDE, 1, scores, &found) ==
          FLEETNET_ERROR_ARGUMENT);
    CHECK(found == 0);
    CHECK(fleetnet_classify_pixels(classifier, rgb, SIDE, SIDE, 0, scores, NULL) ==
          FLEETNET_ERROR_ARGUMENT);
    CHECK(fleetnet_classify_bytes(classifier, rgb, 100, 1, scores, NULL) == FLEETNET_ERROR_IMAGE);
    CHECK(fleetnet_classify_file(classifier, "not there.jpg", 1, scores, NULL) ==
          FLEETNET_ERROR_IMAGE);
}

static void answers_batches(const fleetnet_classifier *classifier, const char *picture) {
    static uint8_t rgb[5][SIDE * SIDE * 3];
    fleetnet_image images[7];
    fleetnet_answers *answers = NULL;
    size_t count = 0;
    memset(images, 0, sizeof images);
    for (unsigned i = 0; i < 5; ++i) {
        paint(rgb[i], i);
        images[i].data = rgb[i];
        images[i].size = sizeof rgb[i];
        images[i].width = images[i].height = SIDE;
    }
    images[5].path = picture;
    images[6].path = "not there.jpg";
    CHECK(fleetnet_classify_batch(classifier, images, 7, 2, &answers) == 0);
    CHECK(fleetnet_answer_count(answers) == 7);
    for (unsigned i = 0; i < 5; ++i) {
        fleetnet_score alone[2];
        const fleetnet_score *scores = fleetnet_answer_scores(answers, i, &count);
        CHECK(fleetnet_answer_error(answers, i) == NULL && count == 2);
        CHECK(fleetnet_classify_pixels(classifier, rgb[i], SIDE, SIDE, 2, alone, NULL) == 0);
        CHECK(scores[0].index == alone[0].index);
        CHECK(fleetnet_answer_logits(answers, i, &count) != NULL);
        CHECK(count == fleetnet_class_count(classifier));
    }
    CHECK(fleetnet_answer_error(answers, 5) == NULL);
    CHECK(fleetnet_answer_error(answers, 6) != NULL);
    (void)fleetnet_answer_scores(answers, 6, &count);
    CHECK(count == 0);
    CHECK(fleetnet_answer_scores(answers, 7, &count) == NULL && count == 0);
    fleetnet_answers_free(answers);
    images[2].path = picture;
    CHECK(fleetnet_classify_batch(classifier, images, 7, 2, &answers) == FLEETNET_ERROR_ARGUMENT);
    CHECK(answers == NULL);
    CHECK(fleetnet_classify_batch(classifier, NULL, 0, 2, &answers) == 0);
    CHECK(fleetnet_answer_count(answers) == 0);
    fleetnet_answers_free(answers);
}

/* Threads that share a classifier, each with a picture and errors of its own. */
struct work {
    const fleetnet_classifier *classifier;
    unsigned seed;
    int turns;
    int wrong;
};

static void hammer(struct work *work) {
    uint8_t *rgb = malloc(SIDE * SIDE * 3);
    fleetnet_score first[2], again[2];
    char missing[64], error[256];
    fleetnet_classifier *none;
    paint(rgb, work->seed);
    snprintf(missing, sizeof missing, "missing-%u", work->seed);
    snprintf(error, sizeof error, "no such bundle: %s", missing);
    if (fleetnet_classify_pixels(work->classifier, rgb, SIDE, SIDE, 2, first, NULL)) ++work->wrong;
    for (int turn = 0; turn < work->turns; ++turn) {
        if (fleetnet_classify_pixels(work->classifier, rgb, SIDE, SIDE, 2, again, NULL) ||
            first[0].index != again[0].index ||
            first[0].probability - again[0].probability > 1e-5f ||
            again[0].probability - first[0].probability > 1e-5f) {
            ++work->wrong;
        }
        if (!fleetnet_open(missing, NULL, &none) || strcmp(fleetnet_last_error(), error) != 0) {
            ++work->wrong;
        }
    }
    free(rgb);
}

#ifdef _WIN32
static DWORD WINAPI run(void *work) {
    hammer(work);
    return 0;
}
#else
static void *run(void *work) {
    hammer(work);
    return NULL;
}
#endif

static void answers_many_threads(const fleetnet_classifier *classifier, int turns) {
    struct work works[THREADS];
#ifdef _WIN32
    HANDLE threads[THREADS];
#else
    pthread_t threads[THREADS];
#endif
    for (unsigned i = 0; i < THREADS; ++i) {
        works[i].classifier = classifier;
        works[i].seed = i;
        works[i].turns = turns;
        works[i].wrong = 0;
#ifdef _WIN32
        threads[i] = CreateThread(NULL, 0, run, &works[i], 0, NULL);
#else
        pthread_create(&threads[i], NULL, run, &works[i]);
#endif
    }
    for (unsigned i = 0; i < THREADS; ++i) {
#ifdef _WIN32
        WaitForSingleObject(threads[i], INFINITE);
        CloseHandle(threads[i]);
#else
        pthread_join(threads[i], NULL);
#endif
        CHECK(works[i].wrong == 0);
    }
}

int main(int count, char **arguments) {
    const char *bundle = count > 1 ? arguments[1] : FLEETNET_CONFORMANCE "/network.onnx";
    const char *picture = FLEETNET_CONFORMANCE "/pictures/png-rgb.png";
    const int turns = count > 2 ? atoi(arguments[2]) : 100;
    CHECK(fleetnet_abi_version() == FLEETNET_ABI_VERSION);
    CHECK(strlen(fleetnet_version()) > 0);
    refuses_what_is_wrong(bundle);
    takes_options_of_a_newer_header(bundle);
    for (int throughput = 0; throughput < 2; ++throughput) {
        fleetnet_classifier *classifier = NULL;
        fleetnet_options options = {sizeof options};
        options.throughput = throughput;
        options.batch_size = 3;
        options.threads = 2;
        CHECK(fleetnet_open(bundle, &options, &classifier) == FLEETNET_SUCCESS);
        if (!classifier) return 1;
        CHECK(fleetnet_threads(classifier) == 2);
        CHECK(strcmp(fleetnet_precision(classifier), "fp32") == 0);
        answers_single_images(classifier);
        answers_batches(classifier, picture);
        answers_many_threads(classifier, turns);
        fleetnet_close(classifier);
    }
    printf("%d failures\n", failures);
    return failures != 0;
}
