/* sheet.h - a sheet of small grey pictures as one PNG. */
#ifndef SHEET_H
#define SHEET_H

#include <png.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* value[rows * columns][height][width] from 0 (black) to 1, a black line between. False, with a message, on errors. */
static inline bool sheet_write(const char *path, const float *value, int rows, int columns, int height, int width)
{
    const int stride = columns * (width + 1) - 1, lines = rows * (height + 1) - 1;
    png_byte *grey = calloc((size_t)stride * (size_t)lines, 1);
    for (int i = 0; grey && i < rows * columns * height * width; i++) {
        const int picture = i / (height * width), y = i / width % height, x = i % width;
        const int at = (picture / columns * (height + 1) + y) * stride + picture % columns * (width + 1) + x;
        const float v = value[i] > 0.0f ? value[i] < 1.0f ? value[i] : 1.0f : 0.0f;
        grey[at] = (png_byte)(v * 255.0f + 0.5f);
    }
    png_image image = {.version = PNG_IMAGE_VERSION, .width = (png_uint_32)stride, .height = (png_uint_32)lines,
                       .format = PNG_FORMAT_GRAY};
    const bool written = grey && png_image_write_to_file(&image, path, 0, grey, stride, NULL);
    if (!written) fprintf(stderr, "%s: %s\n", path, grey ? image.message : "out of memory");
    free(grey);
    return written;
}

#endif
