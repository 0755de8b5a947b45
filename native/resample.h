/* Resizing of 8-bit RGB pixels, and only of what a crop needs.

The integers of Pillow's antialiased filters (rows first, then columns, rounded to 8 bits between)
and of OpenCV's bilinear interpolation, whatever the processor. No Python in here: the arithmetic is
for every host that is written in C or C++.
*/
#ifndef FLEETNET_RESAMPLE_H
#define FLEETNET_RESAMPLE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Sides beyond this have no pixels that memory could hold, and fit every sum in the arithmetic. */
#define FLEETNET_MAX_SIDE (1 << 27)

typedef enum { FLEETNET_BILINEAR, FLEETNET_BICUBIC, FLEETNET_CV2_LINEAR } fleetnet_filter;

/* A picture that is to be resized, and what of it is wanted. */
typedef struct {
    const uint8_t *pixels; /* height rows of width RGB triples, nothing between them */
    int width, height;
    float box[4];                     /* left, top, right, bottom of what is resized, in pixels */
    int resized_width, resized_height; /* what the box becomes */
    int left, top, crop;              /* the square wanted, in pixels of the resized picture */
} fleetnet_task;

/* Tell whether the numbers of a task fit one another, the box in the picture and the crop in the
resized one. The caller sees to it that the buffers are as large as they say. */
int fleetnet_is_sound(const fleetnet_task *task, fleetnet_filter filter);

/* Write crop × crop RGB triples to out; return 0, or -1 where memory is short.

The task is sound. */
int fleetnet_resample(const fleetnet_task *task, fleetnet_filter filter, uint8_t *out);

#ifdef __cplusplus
}
#endif

#endif
