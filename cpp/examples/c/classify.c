/* Names the most probable classes of images, several at once: classify BUNDLE IMAGE...

    cc classify.c $(pkg-config --cflags --libs fleetnet) -o classify */
#include <fleetnet.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(void) {
    fprintf(stderr, "error: %s\n", fleetnet_last_error());
    return 2;
}

int main(int count, char** arguments) {
    fleetnet_options options = {sizeof options};
    fleetnet_classifier* classifier;
    fleetnet_answers* answers;
    const size_t images = count > 2 ? (size_t)count - 2 : 0;
    fleetnet_image* given = calloc(images + 1, sizeof *given);
    int code = 0;
    if (images == 0 || !given) {
        fprintf(stderr, "usage: %s BUNDLE IMAGE...\n", arguments[0]);
        return 2;
    }
    options.throughput = 1; /* as many images per second as possible */
    for (size_t i = 0; i < images; ++i) given[i].path = arguments[i + 2];
    if (fleetnet_open(arguments[1], &options, &classifier)) return fail();
    if (fleetnet_classify_batch(classifier, given, images, 1, &answers)) return fail();

    for (size_t i = 0; i < images; ++i) {
        const char* error = fleetnet_answer_error(answers, i);
        if (error) {
            fprintf(stderr, "%s: %s\n", given[i].path, error);
            code = 2;
        } else {
            const fleetnet_score* best = fleetnet_answer_scores(answers, i, NULL);
            const char* name = fleetnet_class_name(classifier, (size_t)best->index);
            printf("%s: %s %.4f\n", given[i].path, name, best->probability);
        }
    }
    fleetnet_answers_free(answers);
    fleetnet_close(classifier);
    free(given);
    return code;
}
