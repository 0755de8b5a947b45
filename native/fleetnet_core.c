#include "fleetnet_core.h"

#include <stddef.h>

static int is_all(const double box[4], int width, int height) {
    return box[0] == 0 && box[1] == 0 && box[2] == width && box[3] == height;
}

fleetnet_status fleetnet_make_input(const fleetnet_preprocess *preprocess, const uint8_t *pixels,
                                    int width, int height, const double box[4], uint8_t *out) {
    const double all[4] = {0, 0, width, height};
    if (!box) box = all;
    int cv2 = preprocess->interpolation == FLEETNET_CV2_LINEAR;
    if (cv2 && !is_all(box, width, height)) return FLEETNET_BAD_ARGUMENT;
    fleetnet_geometry geometry;
    fleetnet_status status =
        fleetnet_geometry_of(preprocess, box[2] - box[0], box[3] - box[1], &geometry);
    if (status != FLEETNET_OK) return status;
    fleetnet_task task = {
        .pixels = pixels,
        .width = width,
        .height = height,
        .box = {(float)box[0], (float)box[1], (float)box[2], (float)box[3]},
        .resized_width = geometry.width,
        .resized_height = geometry.height,
        .left = geometry.left,
        .top = geometry.top,
        .crop = preprocess->crop,
    };
    if (!fleetnet_is_sound(&task, preprocess->interpolation)) return FLEETNET_BAD_ARGUMENT;
    return fleetnet_resample(&task, preprocess->interpolation, out) ? FLEETNET_NO_MEMORY
                                                                    : FLEETNET_OK;
}
