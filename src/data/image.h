/* image.h - pictures in memory. */
#ifndef CLG_DATA_IMAGE_H
#define CLG_DATA_IMAGE_H

#include "base/base.h"

enum { CLG__IMAGE_MAX_SIDE = 1 << 16, CLG__IMAGE_MAX_PIXELS = 1 << 26 };

typedef struct clg__image {
    int      width, height;
    bool     colour; /* as stored; the pixels are RGB either way */
    uint8_t *rgb;    /* to be freed */
} clg__image;

/* Decodes PNG or JPEG; without `pixels` only the extents. On failure the reason is in error[size] and rgb is NULL. */
clg_status clg__image_decode(const uint8_t *bytes, size_t count, bool pixels, clg__image *image, char *error,
                             size_t size);

/* Into [channels][height][width] with 1 or 3 channels; false when out of memory. */
bool clg__image_resize(const clg__image *image, int channels, int height, int width, uint8_t *out);

#endif
