/* The C core of Fleetnet: from a decoded picture to a network's input, the same bits on every host.

No Python, no engine, no state: any number of threads may call it at once. C99 with the mathematics
library; a host in C++ includes it as it is. Compile with -ffp-contract=off (or /fp:precise): fused
multiply-adds would give other weights on processors that have them.
*/
#ifndef FLEETNET_CORE_H
#define FLEETNET_CORE_H

#include "geometry.h"
#include "resample.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Resize and crop a picture.

pixels: `height` rows of `width` RGB triples, nothing between them.
box:    left, top, right, bottom of the picture in those pixels, as fleetnet_extent_of gives them;
        NULL for all of them. With FLEETNET_CV2_LINEAR it has to be all.
out:    room for crop × crop RGB triples; what is in it after an error is undefined. */
fleetnet_status fleetnet_make_input(const fleetnet_preprocess *preprocess, const uint8_t *pixels,
                                    int width, int height, const double box[4], uint8_t *out);

#ifdef __cplusplus
}
#endif

#endif
