/* test_image.c - pictures: decoded, resized, written, and refused when they are damaged. */
#include "data/image.h"
#include "fixture.h"
#include "scratch.h"
#include <clgrad/image.h>
#include <jpeglib.h>

enum { H = 5, W = 7 };

static void fill(uint8_t *pixels, size_t count)
{
    for (size_t i = 0; i < count; i++) pixels[i] = (uint8_t)clg_random_u32(3, i);
}

static void read_back(void **state)
{
    (void)state;
    uint8_t   pixels[3 * H * W], back[3 * H * W], grey[H * W];
    clg_shape shape;
    fill(pixels, sizeof pixels);
    for (int channels = 1; channels <= 3; channels += 2) {
        const clg_shape s = CLG_SHAPE(channels, H, W);
        assert_int_equal(clg_image_write(ctx, scratch_path("a.png"), s, pixels), CLG_OK);
        assert_int_equal(clg_image_shape(ctx, scratch_path("a.png"), &shape), CLG_OK);
        assert_true(clg_shape_equal(shape, s));
        assert_int_equal(clg_image_read(ctx, scratch_path("a.png"), s, back), CLG_OK);
        assert_memory_equal(back, pixels, (size_t)channels * H * W);
        uint8_t *bytes = NULL;
        size_t   size = 0, written = 0;
        assert_int_equal(clg_image_encode(ctx, s, pixels, &bytes, &size), CLG_OK);
        uint8_t *file = scratch_read("a.png", &written);
        assert_int_equal(size, written);
        assert_memory_equal(bytes, file, size);
        free(bytes);
        free(file);
    }
    assert_int_equal(clg_image_read(ctx, scratch_path("a.png"), CLG_SHAPE(1, H, W), grey), CLG_OK);
    for (int i = 0; i < H * W; i++)
        assert_int_equal(grey[i], (19595 * pixels[i] + 38470 * pixels[H * W + i] + 7471 * pixels[2 * H * W + i] + 32768) >> 16);
}

/* The filter of image.c's first paragraph, in double precision and two dimensions at once. */
static double weight(int source, int target, int from, int to)
{
    const double scale = (double)from / to, reach = scale > 1.0 ? scale : 1.0;
    double sum = 0.0, mine = 0.0;
    for (int i = 0; i < from; i++) {
        const double d = (i + 0.5 - (target + 0.5) * scale) / reach, w = d < 0.0 ? 1.0 + d : 1.0 - d;
        sum += w > 0.0 ? w : 0.0;
        if (i == source) mine = w > 0.0 ? w : 0.0;
    }
    return mine / sum;
}

static void resizes(void **state)
{
    (void)state;
    static const int extents[][4] = {{H, W, H, W}, {H, W, 2, 3}, {H, W, 11, 13}, {H, W, 1, 1}, {1, 1, 4, 3}, {9, 2, 3, 8}, {28, 28, 10, 9}};
    uint8_t rgb[28 * 28 * 3], out[3 * 160];
    fill(rgb, sizeof rgb);
    for (size_t k = 0; k < sizeof extents / sizeof extents[0]; k++) {
        const int *e = extents[k];
        assert_true(clg__image_resize(&(clg__image){.height = e[0], .width = e[1], .rgb = rgb}, 3, e[2], e[3], out));
        for (int i = 0; i < 3 * e[2] * e[3]; i++) {
            const int c = i / (e[2] * e[3]), y = i / e[3] % e[2], x = i % e[3];
            double    sum = 0.0;
            for (int v = 0; v < e[0]; v++)
                for (int u = 0; u < e[1]; u++)
                    sum += weight(v, y, e[0], e[2]) * weight(u, x, e[1], e[3]) * rgb[3 * (v * e[1] + u) + c];
            const double error = sum - out[i];
            if (error > 0.501 || error < -0.501) fail_msg("%dx%d to %dx%d: %g, not %d", e[0], e[1], e[2], e[3], sum, out[i]);
        }
    }
}

/* A JPEG of H x W, of one grey or colour; to be freed. */
static uint8_t *jpeg_of(int components, J_COLOR_SPACE space, unsigned long *size)
{
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr       errors;
    uint8_t                    *bytes = NULL, row[4 * W];
    *size = 0;
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &bytes, size);
    jpeg.image_width = W, jpeg.image_height = H, jpeg.input_components = components, jpeg.in_color_space = space;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, 100, TRUE);
    jpeg_start_compress(&jpeg, TRUE);
    for (int i = 0; i < components * W; i++) row[i] = (uint8_t)(40 + 60 * (i % components));
    for (int y = 0; y < H; y++) jpeg_write_scanlines(&jpeg, (JSAMPROW[]){row}, 1);
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    return bytes;
}

static void reads_jpeg(void **state)
{
    (void)state;
    unsigned long size;
    uint8_t       pixels[3 * H * W];
    clg_shape     shape;
    for (int components = 1; components <= 3; components += 2) {
        uint8_t *bytes = jpeg_of(components, components == 1 ? JCS_GRAYSCALE : JCS_RGB, &size);
        scratch_write("a.png", bytes, size); /* the name decides nothing */
        free(bytes);
        assert_int_equal(clg_image_shape(ctx, scratch_path("a.png"), &shape), CLG_OK);
        assert_true(clg_shape_equal(shape, CLG_SHAPE(components, H, W)));
        assert_int_equal(clg_image_read(ctx, scratch_path("a.png"), CLG_SHAPE(3, H, W), pixels), CLG_OK);
        for (int c = 0; c < 3; c++) assert_in_range(pixels[c * H * W + 8], 38 + 60 * (components == 3 ? c : 0), 42 + 60 * (components == 3 ? c : 0));
    }
    uint8_t *bytes = jpeg_of(4, JCS_CMYK, &size);
    scratch_write("cmyk.jpg", bytes, size);
    free(bytes);
    assert_int_equal(clg_image_read(ctx, scratch_path("cmyk.jpg"), CLG_SHAPE(3, H, W), pixels), CLG_FORMAT);
    assert_non_null(strstr(clg_context_error(ctx), "cmyk.jpg"));
}

/* Of both formats every prefix, and 4000 copies with three bytes changed: an error with a text, or a picture. */
static void survives_damage(void **state)
{
    (void)state;
    uint8_t       pixels[3 * H * W];
    unsigned long jpeg_size;
    size_t        png_size;
    fill(pixels, sizeof pixels);
    assert_int_equal(clg_image_write(ctx, scratch_path("b.png"), CLG_SHAPE(3, H, W), pixels), CLG_OK);
    uint8_t *files[2] = {scratch_read("b.png", &png_size), jpeg_of(3, JCS_RGB, &jpeg_size)};
    for (int k = 0; k < 2; k++) {
        const size_t size = k ? jpeg_size : png_size;
        for (uint64_t n = 0; n < size + 4000; n++) {
            const size_t length = n < size ? n : size;
            uint8_t     *copy = malloc(length ? length : 1);
            char         error[256] = "";
            clg__image   image;
            assert_non_null(copy);
            memcpy(copy, files[k], length);
            for (uint64_t i = 0; n >= size && i < 6; i += 2)
                copy[clg_random_u32(9, 6 * n + i) % size] = (uint8_t)clg_random_u32(9, 6 * n + i + 1);
            const clg_status status = clg__image_decode(copy, length, true, &image, error, sizeof error);
            if (n + 20 < size) assert_int_not_equal(status, CLG_OK); /* the end of a PNG holds no pixels */
            assert_true(status ? *error && !image.rgb : image.width > 0 && image.height > 0 && image.rgb);
            free(image.rgb);
            free(copy);
        }
        free(files[k]);
    }
}

static void refuses(void **state)
{
    (void)state;
    uint8_t pixel[3] = {0}, *bytes = NULL;
    size_t  size = 0;
    scratch_write("text", "no picture", 10);
    const char *const names[] = {"text", "absent", "."};
    for (int i = 0; i < 3; i++) {
        assert_int_not_equal(clg_image_read(ctx, scratch_path(names[i]), CLG_SHAPE(1, 1, 1), pixel), CLG_OK);
        assert_non_null(strstr(clg_context_error(ctx), scratch_path(names[i])));
    }
    const clg_shape shapes[] = {CLG_SCALAR, CLG_SHAPE(1, 1), CLG_SHAPE(2, 1, 1), CLG_SHAPE(1, 0, 1), CLG_SHAPE(1, 1, -1),
                                CLG_SHAPE(3, 65536, 65536), CLG_SHAPE(1, INT64_MAX, 2)};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        assert_int_equal(clg_image_read(ctx, "x", shapes[i], pixel), CLG_INVALID_SHAPE);
        assert_int_equal(clg_image_write(ctx, "x", shapes[i], pixel), CLG_INVALID_SHAPE);
        assert_int_equal(clg_image_encode(ctx, shapes[i], pixel, &bytes, &size), CLG_INVALID_SHAPE);
    }
    assert_int_equal(clg_image_write(ctx, scratch_path("no/such"), CLG_SHAPE(1, 1, 1), pixel), CLG_IO);
    assert_int_equal(clg_image_write(ctx, "/dev/full", CLG_SHAPE(1, 1, 1), pixel), CLG_IO);
    assert_int_equal(clg_image_encode(ctx, CLG_SHAPE(1, 1, 1), pixel, &bytes, NULL), CLG_INVALID_ARGUMENT);
    assert_null(bytes);
    assert_int_equal(clg_image_read(NULL, "x", CLG_SHAPE(1, 1, 1), pixel), CLG_INVALID_ARGUMENT);
    assert_int_equal(clg_image_read(ctx, "x", CLG_SHAPE(1, 1, 1), NULL), CLG_INVALID_ARGUMENT);
    assert_false(clg_context_failed(ctx));
}

static int open_both(void **state) { return scratch_create(state) || open_context(state); }
static int close_both(void **state) { return close_context(state) | scratch_remove(state); }

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_back), cmocka_unit_test(resizes), cmocka_unit_test(reads_jpeg),
        cmocka_unit_test(survives_damage), cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests(tests, open_both, close_both);
}
