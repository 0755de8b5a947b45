#include "geometry.h"

#include <math.h>

/* With less, libjpeg's way of making a picture smaller changes answers: with 2, EfficientNet-Lite0
gave another answer for 5 photographs of 556, with 2.5 for 1 of 430. */
#define SPARE 2.5

/* One pixel that was decoded eight times smaller. The quotient of sides far below would be infinite,
which no whole number is. */
#define MIN_SIDE 0.125

/* Halve a whole number and round to the nearest, to the even one of two: Python's round(). */
static int half(int number) {
    int below = number >= 0 ? number / 2 : -((1 - number) / 2);
    return number % 2 != 0 && below % 2 != 0 ? below + 1 : below;
}

/* Halve a whole number and round down. */
static int half_down(int number) { return number >= 0 ? number / 2 : -((1 - number) / 2); }

/* Round to the nearest, to the even one of two, whatever mode the processor is in. */
static double round_even(double number) {
    double below = floor(number), over = number - below;
    if (over != 0.5) return over < 0.5 ? below : below + 1.0;
    return fmod(below, 2.0) == 0.0 ? below : below + 1.0;
}

static int sound(const fleetnet_preprocess *preprocess, double width, double height) {
    return preprocess->crop >= 1 && preprocess->crop <= preprocess->resize &&
           preprocess->resize <= FLEETNET_MAX_TARGET &&
           preprocess->interpolation >= FLEETNET_BILINEAR &&
           preprocess->interpolation <= FLEETNET_CV2_LINEAR && width >= MIN_SIDE &&
           height >= MIN_SIDE && width <= FLEETNET_MAX_SIDE && height <= FLEETNET_MAX_SIDE;
}

fleetnet_status fleetnet_geometry_of(const fleetnet_preprocess *preprocess, double width,
                                     double height, fleetnet_geometry *out) {
    if (!sound(preprocess, width, height)) return FLEETNET_BAD_ARGUMENT;
    double short_side = width < height ? width : height;
    double long_side = width < height ? height : width;
    if (long_side > FLEETNET_MAX_ASPECT * short_side) return FLEETNET_TOO_LONG;
    int resize = preprocess->resize, crop = preprocess->crop;
    if (preprocess->interpolation == FLEETNET_CV2_LINEAR) {
        double scale = resize / short_side;
        out->width = (int)round_even(width * scale);
        out->height = (int)round_even(height * scale);
        out->left = half_down(out->width - crop);
        out->top = half_down(out->height - crop);
    } else {
        out->width = (int)(resize * width / short_side);
        out->height = (int)(resize * height / short_side);
        out->left = half(out->width - crop);
        out->top = half(out->height - crop);
    }
    return FLEETNET_OK;
}

int fleetnet_shrink_for(const fleetnet_preprocess *preprocess, int width, int height) {
    int short_side = width < height ? width : height;
    if (preprocess->interpolation == FLEETNET_CV2_LINEAR) return 1;
    for (int shrink = 8; shrink > 1; shrink /= 2)
        if (short_side >= SPARE * shrink * preprocess->resize) return shrink;
    return 1;
}

void fleetnet_extent_of(int width, int height, int shrink, int orientation, double box[4]) {
    double wide = (double)width / shrink, high = (double)height / shrink;
    int mirrored = orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
    int upside_down = orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
    box[0] = mirrored ? ceil(wide) - wide : 0.0;
    box[1] = upside_down ? ceil(high) - high : 0.0;
    box[2] = box[0] + wide;
    box[3] = box[1] + high;
}
