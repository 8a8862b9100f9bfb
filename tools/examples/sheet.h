/* sheet.h - a sheet of small grey pictures as one PNG. */
#ifndef SHEET_H
#define SHEET_H

#include <clgrad/clgrad.h>
#include <stdio.h>
#include <stdlib.h>

/* value[rows * columns][height][width] from 0 (black) to 1, a black line between. False, with a message, on errors. */
static inline bool sheet_write(clg_context *ctx, const char *path, const float *value, int rows, int columns,
                               int height, int width)
{
    const int stride = columns * (width + 1) - 1, lines = rows * (height + 1) - 1;
    uint8_t  *grey = calloc((size_t)stride * (size_t)lines, 1);
    for (int i = 0; grey && i < rows * columns * height * width; i++) {
        const int picture = i / (height * width), y = i / width % height, x = i % width;
        const int at = (picture / columns * (height + 1) + y) * stride + picture % columns * (width + 1) + x;
        const float v = value[i] > 0.0f ? value[i] < 1.0f ? value[i] : 1.0f : 0.0f;
        grey[at] = (uint8_t)(v * 255.0f + 0.5f);
    }
    const bool written = grey && !clg_image_write(ctx, path, CLG_SHAPE(1, lines, stride), grey);
    if (!written) fprintf(stderr, "%s\n", grey ? clg_context_error(ctx) : "out of memory");
    free(grey);
    return written;
}

#endif
