/* Which pixels of a picture are wanted: sizes after resizing, where the crop lies, and by how much a
JPEG may be decoded smaller.

The arithmetic of each interpolation's original, rounding included: torchvision and timm for
Pillow's filters, PaddleClas for OpenCV's. Only doubles, so that every processor rounds alike.
*/
#ifndef FLEETNET_GEOMETRY_H
#define FLEETNET_GEOMETRY_H

#include "resample.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Beyond this ratio of the sides, resizing the short one would make a gigantic picture. */
#define FLEETNET_MAX_ASPECT 100
/* The largest `resize` and `crop`. */
#define FLEETNET_MAX_TARGET 4096

typedef enum {
    FLEETNET_OK = 0,
    FLEETNET_NO_MEMORY = -1,
    FLEETNET_TOO_LONG = -2,    /* sides more than 1:FLEETNET_MAX_ASPECT apart */
    FLEETNET_BAD_ARGUMENT = -3 /* numbers that do not fit one another */
} fleetnet_status;

/* How a picture becomes a square: short side to `resize`, centred square of `crop`. */
typedef struct {
    int resize, crop;
    fleetnet_filter interpolation;
} fleetnet_preprocess;

/* Sides of the resized picture, and where the square lies in it. */
typedef struct {
    int width, height;
    int left, top;
} fleetnet_geometry;

/* Compute the geometry for a picture of `width` by `height` pixels, which may be fractions: those
of a JPEG that was decoded smaller are. */
fleetnet_status fleetnet_geometry_of(const fleetnet_preprocess *preprocess, double width,
                                     double height, fleetnet_geometry *out);

/* Return 8, 4, 2 or 1: by how much a JPEG of this size may be decoded smaller with hardly a change
of the answer. With OpenCV's interpolation it may not: that uses single pixels of the large picture,
which a smaller one does not have. */
int fleetnet_shrink_for(const fleetnet_preprocess *preprocess, int width, int height);

/* Write left, top, right, bottom of the upright picture in the pixels that decoding by `shrink` gives.

Sides that `shrink` does not divide are rounded up: libjpeg fills the last block from beyond the edge.
`width` and `height` are the upright picture's at full size, `orientation` is EXIF's, 1 to 8. */
void fleetnet_extent_of(int width, int height, int shrink, int orientation, double box[4]);

#ifdef __cplusplus
}
#endif

#endif
