/* image.h - pictures in PNG and JPEG files, as bytes [channels, height, width] with 1 channel (grey) or 3 (RGB). An error's
 * text is in clg_context_error and names the file; the context does not fail. */
#ifndef CLGRAD_IMAGE_H
#define CLGRAD_IMAGE_H

#include <clgrad/device.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The extents of the picture in a file: what comes first in it decides what it is, not its name. */
CLG_API clg_status clg_image_shape(clg_context *ctx, const char *path, clg_shape *shape);

/* Reads it as these extents. Grey is (19595 R + 38470 G + 7471 B) / 65536, transparent is white, other extents are filled by
 * weights that fall off linearly over a source pixel or, where it shrinks, over a target one. */
CLG_API clg_status clg_image_read(clg_context *ctx, const char *path, clg_shape shape, uint8_t *pixels);

/* A PNG in memory, *bytes the caller's to free; *bytes is NULL on an error. */
CLG_API clg_status clg_image_encode(clg_context *ctx, clg_shape shape, const uint8_t *pixels, uint8_t **bytes, size_t *size);

/* Writes a PNG; the whole of it or nothing. */
CLG_API clg_status clg_image_write(clg_context *ctx, const char *path, clg_shape shape, const uint8_t *pixels);

#ifdef __cplusplus
}
#endif
#endif
