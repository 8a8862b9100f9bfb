/* image.c - PNG by libpng, JPEG by libjpeg, both to RGB bytes, and from there to the extents that are wanted.
 *
 * Resizing is one filter in either direction, w(d) = max(0, 1 - |d| / s) with d the distance from a source pixel's
 * centre and s = max(1, source extent / target extent), normalised: bilinear where it grows, and where it shrinks every
 * source pixel counts. Rows first, then columns. */
#include "data/image.h"
#include "base/file.h"
#include <clgrad/image.h>
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

static clg_status image_error(char *error, size_t size, clg_status status, const char *text)
{
    snprintf(error, size, "%s", text);
    return status;
}

/* Room for the pixels, where they are wanted. */
static clg_status make_room(clg__image *image, bool pixels, char *error, size_t size)
{
    if (image->width < 1 || image->height < 1 || image->width > CLG__IMAGE_MAX_SIDE ||
        image->height > CLG__IMAGE_MAX_SIDE || (int64_t)image->width * image->height > CLG__IMAGE_MAX_PIXELS) {
        snprintf(error, size, "a picture of %d x %d pixels is too large", image->width, image->height);
        return CLG_UNSUPPORTED;
    }
    if (pixels) image->rgb = calloc((size_t)image->width * (size_t)image->height, 3);
    return pixels && !image->rgb ? image_error(error, size, CLG_OUT_OF_MEMORY, "no memory for its pixels") : CLG_OK;
}

/* Is there an end? Pixels are read without looking for it. */
static bool png_ends(const uint8_t *bytes, size_t count)
{
    for (size_t at = 8; at + 12 <= count;) {
        const size_t length =
            (size_t)bytes[at] << 24 | (size_t)bytes[at + 1] << 16 | (size_t)bytes[at + 2] << 8 | bytes[at + 3];
        if (!memcmp(bytes + at + 4, "IEND", 4)) return true;
        if (length > count - at - 12) return false;
        at += length + 12;
    }
    return false;
}

static clg_status decode_png(const uint8_t *bytes, size_t count, bool pixels, clg__image *image, char *error,
                             size_t size)
{
    static const png_color white = {255, 255, 255};
    png_image              png = {.version = PNG_IMAGE_VERSION};
    if (!png_ends(bytes, count)) return image_error(error, size, CLG_FORMAT, "truncated: no IEND chunk ends it");
    if (!png_image_begin_read_from_memory(&png, bytes, count)) return image_error(error, size, CLG_FORMAT, png.message);
    image->width = png.width <= CLG__IMAGE_MAX_SIDE ? (int)png.width : CLG__IMAGE_MAX_SIDE + 1;
    image->height = png.height <= CLG__IMAGE_MAX_SIDE ? (int)png.height : CLG__IMAGE_MAX_SIDE + 1;
    image->colour = png.format & PNG_FORMAT_FLAG_COLOR;
    clg_status status = make_room(image, pixels, error, size);
    png.format = PNG_FORMAT_RGB;
    png.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;
    if (!status && pixels && !png_image_finish_read(&png, &white, image->rgb, 0, NULL))
        status = image_error(error, size, CLG_FORMAT, png.message);
    png_image_free(&png);
    return status;
}

/* ---- JPEG -------------------------------------------------------------------------------------------------------- */

typedef struct jpeg_failure {
    struct jpeg_error_mgr manager; /* what the library knows of it */
    jmp_buf               escape;
    char                  text[JMSG_LENGTH_MAX];
} jpeg_failure;

static void jpeg_leave(j_common_ptr jpeg)
{
    jpeg_failure *failure = (jpeg_failure *)(void *)jpeg->err;
    jpeg->err->format_message(jpeg, failure->text);
    longjmp(failure->escape, 1);
}

static void jpeg_message(j_common_ptr jpeg, int level)
{
    if (level < 0) jpeg_leave(jpeg); /* "warnings" are of damaged data, which it would fill up with grey */
}

/* Everything between jpeg_create_decompress and jpeg_destroy_decompress; a failure returns here by longjmp. */
static clg_status read_jpeg(struct jpeg_decompress_struct *jpeg, jpeg_failure *failure, const uint8_t *bytes,
                            size_t count, bool pixels, clg__image *image, char *error, size_t size)
{
    if (setjmp(failure->escape)) return image_error(error, size, CLG_FORMAT, failure->text);
    jpeg_mem_src(jpeg, bytes, (unsigned long)count);
    jpeg_read_header(jpeg, TRUE);
    image->width = (int)jpeg->image_width;
    image->height = (int)jpeg->image_height;
    image->colour = jpeg->num_components != 1;
    const clg_status status = make_room(image, pixels, error, size);
    if (status || !pixels) return status;
    jpeg->out_color_space = JCS_RGB;
    jpeg_start_decompress(jpeg);
    while (jpeg->output_scanline < jpeg->output_height) {
        JSAMPROW row = image->rgb + (size_t)jpeg->output_scanline * 3 * (size_t)image->width;
        jpeg_read_scanlines(jpeg, &row, 1);
    }
    jpeg_finish_decompress(jpeg);
    return CLG_OK;
}

static clg_status decode_jpeg(const uint8_t *bytes, size_t count, bool pixels, clg__image *image, char *error,
                              size_t size)
{
    struct jpeg_decompress_struct jpeg;
    jpeg_failure                  failure;
    memset(&jpeg, 0, sizeof jpeg);
    jpeg.err = jpeg_std_error(&failure.manager);
    failure.manager.error_exit = jpeg_leave;
    failure.manager.emit_message = jpeg_message;
    if (setjmp(failure.escape)) return image_error(error, size, CLG_FORMAT, failure.text);
    jpeg_create_decompress(&jpeg);
    const clg_status status = read_jpeg(&jpeg, &failure, bytes, count, pixels, image, error, size);
    jpeg_destroy_decompress(&jpeg);
    return status;
}

clg_status clg__image_decode(const uint8_t *bytes, size_t count, bool pixels, clg__image *image, char *error,
                             size_t size)
{
    *image = (clg__image){0};
    clg_status status = CLG_FORMAT;
    if (count >= 8 && !memcmp(bytes, "\x89PNG\r\n\x1a\n", 8))
        status = decode_png(bytes, count, pixels, image, error, size);
    else if (count >= 3 && !memcmp(bytes, "\xff\xd8\xff", 3))
        status = decode_jpeg(bytes, count, pixels, image, error, size);
    else image_error(error, size, CLG_FORMAT, "neither PNG nor JPEG");
    if (status) free(image->rgb), image->rgb = NULL;
    return status;
}

/* ---- extents ----------------------------------------------------------------------------------------------------- */

/* The weights of one target place: of sources from..from+count-1. */
typedef struct taps {
    int    from, count;
    float *weight;
} taps;

static void taps_at(taps *t, int at, int source, int target)
{
    const double scale = (double)source / target, reach = scale > 1.0 ? scale : 1.0, centre = (at + 0.5) * scale;
    const double low = centre - reach + 0.5, high = centre + reach + 0.5;
    double       sum = 0.0;
    t->from = low > 0.0 ? (int)low : 0;
    t->count = CLG__MIN(source, (int)high) - t->from;
    for (int i = 0; i < t->count; i++) {
        const double d = (t->from + i - centre + 0.5) / reach, w = 1.0 - (d < 0.0 ? -d : d);
        t->weight[i] = w > 0.0 ? (float)w : 0.0f;
        sum += (double)t->weight[i];
    }
    for (int i = 0; i < t->count; i++) t->weight[i] = (float)((double)t->weight[i] / sum);
}

static float channel_of(const uint8_t *rgb, int channels, int c)
{
    return channels == 3 ? (float)rgb[c] : (float)((19595u * rgb[0] + 38470u * rgb[1] + 7471u * rgb[2] + 32768u) >> 16);
}

bool clg__image_resize(const clg__image *image, int channels, int height, int width, uint8_t *out)
{
    const int    longest = CLG__MAX(image->width, image->height);
    const size_t line = (size_t)channels * (size_t)width;
    taps         t = {.weight = malloc(((size_t)longest + 3) * sizeof *t.weight)};
    float       *wide = calloc((size_t)image->height * line, sizeof *wide); /* [source height][channels][width] */
    const bool   enough = t.weight && wide;
    for (int x = 0; enough && x < width; x++) {
        taps_at(&t, x, image->width, width);
        for (int y = 0; y < image->height; y++)
            for (int c = 0; c < channels; c++) {
                const uint8_t *rgb = image->rgb + 3 * ((size_t)y * (size_t)image->width + (size_t)t.from);
                float          sum = 0.0f;
                for (int i = 0; i < t.count; i++, rgb += 3) sum += t.weight[i] * channel_of(rgb, channels, c);
                wide[(size_t)y * line + (size_t)c * (size_t)width + (size_t)x] = sum;
            }
    }
    for (int y = 0; enough && y < height; y++) {
        taps_at(&t, y, image->height, height);
        for (size_t i = 0; i < line; i++) {
            float sum = 0.5f;
            for (int k = 0; k < t.count; k++) sum += t.weight[k] * wide[(size_t)(t.from + k) * line + i];
            const size_t c = i / (size_t)width, x = i % (size_t)width;
            out[(c * (size_t)height + (size_t)y) * (size_t)width + x] = sum < 255.0f ? (uint8_t)sum : 255;
        }
    }
    free(wide);
    free(t.weight);
    return enough;
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static clg_status load(clg_context *ctx, const char *path, bool pixels, clg__image *image)
{
    clg__root *root = (clg__root *)ctx;
    uint8_t   *bytes;
    size_t     count;
    char       error[256];
    clg_status status = clg__file_load(root, path, &bytes, &count);
    if (status) return status;
    status = clg__image_decode(bytes, count, pixels, image, error, sizeof error);
    free(bytes);
    return status ? clg__report(root, status, "%s: %s", path, error) : CLG_OK;
}

static bool is_picture(clg_shape s)
{
    return s.rank == 3 && (s.dim[0] == 1 || s.dim[0] == 3) && s.dim[1] > 0 && s.dim[2] > 0 &&
           s.dim[1] <= CLG__IMAGE_MAX_SIDE && s.dim[2] <= CLG__IMAGE_MAX_SIDE &&
           s.dim[1] * s.dim[2] <= CLG__IMAGE_MAX_PIXELS;
}

static clg_status check_picture(clg_context *ctx, const char *path, clg_shape shape, const void *pixels)
{
    char text[128];
    if (!ctx) return CLG_INVALID_ARGUMENT;
    if (!path || !pixels)
        return clg__report((clg__root *)ctx, CLG_INVALID_ARGUMENT, "picture: no path or no pixels given");
    if (is_picture(shape)) return CLG_OK;
    return clg__report((clg__root *)ctx, CLG_INVALID_SHAPE, "%s: a picture is [1 or 3, height, width], not %s", path,
                       clg_shape_text(shape, text, sizeof text));
}

clg_status clg_image_shape(clg_context *ctx, const char *path, clg_shape *shape)
{
    clg__image image;
    if (!ctx) return CLG_INVALID_ARGUMENT;
    if (!path || !shape)
        return clg__report((clg__root *)ctx, CLG_INVALID_ARGUMENT, "picture: no path or no shape given");
    const clg_status status = load(ctx, path, false, &image);
    if (!status) *shape = CLG_SHAPE(image.colour ? 3 : 1, image.height, image.width);
    return status;
}

clg_status clg_image_read(clg_context *ctx, const char *path, clg_shape shape, uint8_t *pixels)
{
    clg__image image;
    clg_status status = check_picture(ctx, path, shape, pixels);
    if (!status) status = load(ctx, path, true, &image);
    if (status) return status;
    if (!clg__image_resize(&image, (int)shape.dim[0], (int)shape.dim[1], (int)shape.dim[2], pixels))
        status = clg__report((clg__root *)ctx, CLG_OUT_OF_MEMORY, "%s: no memory to resize it", path);
    free(image.rgb);
    return status;
}

clg_status clg_image_encode(clg_context *ctx, clg_shape shape, const uint8_t *pixels, uint8_t **bytes, size_t *size)
{
    clg_status status = check_picture(ctx, "PNG", shape, pixels);
    if (!status && (!bytes || !size))
        status = clg__report((clg__root *)ctx, CLG_INVALID_ARGUMENT, "PNG: nowhere to put it");
    if (status) return status;
    const size_t     channels = (size_t)shape.dim[0], plane = (size_t)(shape.dim[1] * shape.dim[2]);
    png_image png = {.version = PNG_IMAGE_VERSION,
                     .width = (png_uint_32)shape.dim[2],
                     .height = (png_uint_32)shape.dim[1],
                     .format = channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY};
    png_alloc_size_t room = PNG_IMAGE_PNG_SIZE_MAX(png); /* all that it can take */
    uint8_t         *packed = malloc(channels * plane);
    *bytes = malloc(room);
    for (size_t i = 0; packed && i < channels * plane; i++) packed[i % plane * channels + i / plane] = pixels[i];
    if (!packed || !*bytes) status = clg__report((clg__root *)ctx, CLG_OUT_OF_MEMORY, "PNG: no memory for it");
    else if (!png_image_write_to_memory(&png, *bytes, &room, 0, packed, 0, NULL))
        status = clg__report((clg__root *)ctx, CLG_INTERNAL, "PNG: %s", png.message);
    free(packed);
    if (status) free(*bytes), *bytes = NULL;
    else *size = room;
    return status;
}

clg_status clg_image_write(clg_context *ctx, const char *path, clg_shape shape, const uint8_t *pixels)
{
    uint8_t   *bytes = NULL;
    size_t     size = 0;
    clg_status status = check_picture(ctx, path, shape, pixels);
    if (!status) status = clg_image_encode(ctx, shape, pixels, &bytes, &size);
    if (!status) status = clg__file_replace((clg__root *)ctx, path, bytes, size);
    free(bytes);
    return status;
}
