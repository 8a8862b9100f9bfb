/* test_loader.c - data sets on a device: opening them, and what the loader deals out of them. */
#include "base/base.h"
#include <clgrad/clgrad.h>
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <zlib.h>

#include "scratch.h"

static const uint8_t two_images[] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3,
                                     1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
static const uint8_t two_labels[] = {0, 0, 8, 1, 0, 0, 0, 2, 7, 9};

static void write_gzip(const char *name, const void *bytes, size_t size)
{
    gzFile file = gzopen(scratch_path(name), "wb");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, bytes, (unsigned)size), (int)size);
    assert_int_equal(gzclose(file), Z_OK);
}

static clg_context *ctx;

static int open_context(void **state)
{
    ctx = clg_context_create(NULL);
    if (clg_context_failed(ctx)) fprintf(stderr, "%s\n", clg_context_error(ctx));
    return clg_context_failed(ctx) || scratch_create(state);
}

static int close_context(void **state)
{
    clg_context_destroy(&ctx);
    return scratch_remove(state);
}

/* The context has failed with this status and a text that has all of these words; clears it. */
static void expect_failure(clg_status status, const char *first, const char *second)
{
    if (!clg_context_failed(ctx)) fail_msg("no failure about '%s'", first);
    const char *text = clg_context_error(ctx);
    if (clg_context_status(ctx) != status) fail_msg("status %d: %s", (int)clg_context_status(ctx), text);
    if (!strstr(text, first) || !strstr(text, second)) fail_msg("'%s' does not say '%s', '%s'", text, first, second);
    clg_context_clear_error(ctx);
}

static void no_failure(void)
{
    if (clg_context_failed(ctx)) fail_msg("%s", clg_context_error(ctx));
}

static void dataset_opens_every_name(void **state)
{
    (void)state;
    static const char *const names[][2] = {
        {"train-images-idx3-ubyte", "train-labels-idx1-ubyte"},
        {"train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"},
        {"train-images.idx3-ubyte", "train-labels.idx1-ubyte"},
        {"train-images.idx3-ubyte.gz", "train-labels.idx1-ubyte.gz"},
        {"train-images-idx3-ubyte", "train-labels.idx1-ubyte.gz"},
    };
    for (size_t i = 0; i < CLG__COUNT(names); i++) {
        for (int k = 0; k < 2; k++) {
            const uint8_t *bytes = k ? two_labels : two_images;
            const size_t size = k ? sizeof two_labels : sizeof two_images;
            if (strstr(names[i][k], ".gz")) write_gzip(names[i][k], bytes, size);
            else scratch_write(names[i][k], bytes, size);
        }
        clg_dataset *data = clg_dataset_open_idx(ctx, scratch_dir, "train");
        no_failure();
        assert_int_equal(clg_dataset_count(data), 2);
        assert_int_equal(clg_dataset_classes(data), 10);
        assert_true(clg_shape_equal(clg_dataset_shape(data), CLG_SHAPE(2, 1, 2, 3)));
        clg_dataset_destroy(&data);
        assert_null(data);
        scratch_files(true);
    }
}

/* A compressed file of some size is unpacked once; as soon as it changes, again. */
static void dataset_keeps_what_it_unpacked(void **state)
{
    (void)state;
    enum { IMAGES = 400, SIDE = 28, BYTES = 16 + IMAGES * SIDE * SIDE };
    static uint8_t images[BYTES] = {0, 0, 8, 3, 0, 0, IMAGES >> 8, IMAGES & 255, 0, 0, 0, SIDE, 0, 0, 0, SIDE};
    static uint8_t labels[8 + IMAGES] = {0, 0, 8, 1, 0, 0, IMAGES >> 8, IMAGES & 255};
    scratch_write("train-labels-idx1-ubyte", labels, sizeof labels);
    clg_graph  *g = clg_graph_create(ctx, NULL);
    clg_tensor *x = clg_input(g, CLG_F32, CLG_SHAPE(1, 1, SIDE, SIDE)), *y = clg_input(g, CLG_I32, CLG_SHAPE(1));
    char       *cache = clg__cache_dir();
    assert_non_null(cache);
    for (int version = 1; version <= 2; version++) {
        memset(images + 16, version, BYTES - 16);
        write_gzip("train-images-idx3-ubyte.gz", images, BYTES);
        for (int again = 0; again < 2; again++) {
            clg__cache_trim(cache, again ? UINT64_MAX : 0);
            clg_dataset *data = clg_dataset_open_idx(ctx, scratch_dir, "train");
            clg_loader   it = clg_loader_begin(data, &(clg_loader_desc){.batch = 1});
            float        pixels[SIDE * SIDE];
            assert_true(clg_loader_next(&it, x, y));
            assert_int_equal(clg_tensor_read(x, pixels, sizeof pixels), CLG_OK);
            assert_float_equal(pixels[SIDE * SIDE - 1], version / 255.0f, 1e-7f);
            clg_dataset_destroy(&data);
        }
        truncate(scratch_path("train-images-idx3-ubyte.gz"), 100); /* what was kept belongs to another file now */
        assert_null(clg_dataset_open_idx(ctx, scratch_dir, "train"));
        expect_failure(CLG_FORMAT, "train-images-idx3-ubyte.gz", "truncated");
    }
    free(cache);
    clg_graph_destroy(&g);
    scratch_files(true);
}

static void dataset_refuses(void **state)
{
    (void)state;
    assert_null(clg_dataset_open_idx(ctx, "/nonexistent", "train"));
    expect_failure(CLG_IO, "/nonexistent", strerror(ENOENT));
    assert_null(clg_dataset_open_idx(ctx, "/dev/null", "train"));
    expect_failure(CLG_IO, "/dev/null", "not a directory");
    assert_null(clg_dataset_open_idx(ctx, NULL, "train"));
    expect_failure(CLG_INVALID_ARGUMENT, "data set", "directory");
    assert_null(clg_dataset_open_idx(ctx, scratch_dir, "train"));
    expect_failure(CLG_IO, scratch_dir, "train-images.idx3-ubyte.gz");

    scratch_write("train-images-idx3-ubyte", two_images, sizeof two_images);
    assert_null(clg_dataset_open_idx(ctx, scratch_dir, "train"));
    expect_failure(CLG_IO, scratch_dir, "train-labels-idx1-ubyte");

    static const uint8_t three[] = {0, 0, 8, 1, 0, 0, 0, 3, 1, 2, 3};
    scratch_write("train-labels-idx1-ubyte", three, sizeof three);
    assert_null(clg_dataset_open_idx(ctx, scratch_dir, "train"));
    expect_failure(CLG_FORMAT, "3 labels for the 2 images", "train-labels-idx1-ubyte");

    scratch_write("train-images-idx3-ubyte", two_images, sizeof two_images - 1);
    assert_null(clg_dataset_open_idx(ctx, scratch_dir, "train"));
    expect_failure(CLG_FORMAT, "train-images-idx3-ubyte", "truncated");
    scratch_files(true);

    static const uint8_t byte = 0;
    assert_null(clg_dataset_create(ctx, CLG_SHAPE(1, 1, 1), &byte, &byte));
    expect_failure(CLG_INVALID_SHAPE, "[1, 1, 1]", "[count, channels, height, width]");
    assert_null(clg_dataset_create(ctx, CLG_SHAPE(0, 1, 1, 1), &byte, &byte));
    expect_failure(CLG_INVALID_SHAPE, "[0, 1, 1, 1]", "data set");
    assert_null(clg_dataset_create(ctx, CLG_SHAPE(INT64_MAX, 2, 2, 1), &byte, &byte));
    expect_failure(CLG_INVALID_SHAPE, "data set", "images");
    assert_null(clg_dataset_create(ctx, CLG_SHAPE((int64_t)1 << 32, 1, 1, 1), &byte, &byte));
    expect_failure(CLG_UNSUPPORTED, "4294967296", "32 bits");
    assert_null(clg_dataset_create(ctx, CLG_SHAPE(1, 1, 1, 1), &byte, NULL));
    expect_failure(CLG_INVALID_ARGUMENT, "labels", "data set");
}

/* Image i is {i mod 256, i / 256, 255, 0} with the label i mod 7. */
static clg_dataset *numbered(int64_t count)
{
    uint8_t *images = malloc((size_t)count * 4), *labels = malloc((size_t)count);
    assert_non_null(images);
    assert_non_null(labels);
    for (int64_t i = 0; i < count; i++) {
        memcpy(images + 4 * i, (const uint8_t[4]){(uint8_t)(i % 256), (uint8_t)(i / 256), 255, 0}, 4);
        labels[i] = (uint8_t)(i % 7);
    }
    clg_dataset *data = clg_dataset_create(ctx, CLG_SHAPE(count, 1, 2, 2), images, labels);
    memset(images, 0xaa, (size_t)count * 4); /* the data set has its own copy */
    free(images);
    free(labels);
    no_failure();
    return data;
}

/* Runs the loader to its end, checking every row, and counts how often image i came into seen[i]; order[] gets them as
 * they came. Returns the number of rows that were padding. */
static int64_t run_epoch(clg_dataset *data, const clg_loader_desc *desc, clg_tensor *x, clg_tensor *y, int *seen,
                         int *order)
{
    const int64_t batch = desc->batch;
    float *pixels = malloc((size_t)batch * 4 * sizeof *pixels);
    int32_t *labels = malloc((size_t)batch * sizeof *labels);
    assert_non_null(pixels);
    assert_non_null(labels);
    int64_t padding = 0, row = 0;
    clg_loader it = clg_loader_begin(data, desc);
    while (clg_loader_next(&it, x, y)) {
        assert_int_equal(clg_tensor_read(x, pixels, (size_t)batch * 4 * sizeof *pixels), CLG_OK);
        assert_int_equal(clg_tensor_read(y, labels, (size_t)batch * sizeof *labels), CLG_OK);
        for (int64_t i = 0; i < batch; i++) {
            const float *p = pixels + 4 * i;
            if (labels[i] == -1) {
                for (int k = 0; k < 4; k++) assert_true(p[k] == 0.0f);
                padding++;
                continue;
            }
            const int image = (int)lrintf(p[0] * 255.0f) + 256 * (int)lrintf(p[1] * 255.0f);
            assert_int_equal(labels[i], image % 7);
            assert_true(fabsf(p[0] - (float)(image % 256) / 255.0f) < 1e-6f);
            assert_true(fabsf(p[2] - 1.0f) < 1e-6f && p[3] == 0.0f);
            seen[image]++;
            order[row++] = image;
        }
    }
    no_failure();
    free(pixels);
    free(labels);
    return padding;
}

enum { IMAGES = 1000, BATCH = 64 };

static void loader_delivers_every_image_once(void **state)
{
    (void)state;
    clg_dataset *data = numbered(IMAGES);
    clg_graph *g = clg_graph_create(ctx, NULL);
    clg_tensor *x = clg_input(g, CLG_F32, CLG_SHAPE(BATCH, 1, 2, 2)), *y = clg_input(g, CLG_I32, CLG_SHAPE(BATCH));
    assert_int_equal(clg_dataset_classes(data), 7);

    int seen[IMAGES] = {0}, order[IMAGES], shuffled[IMAGES], again[IMAGES];
    assert_int_equal(run_epoch(data, &(clg_loader_desc){.batch = BATCH}, x, y, seen, order), BATCH - IMAGES % BATCH);
    for (int i = 0; i < IMAGES; i++) assert_int_equal(order[i], i);

    const clg_loader_desc desc = {.batch = BATCH, .shuffle = true, .seed = 3};
    run_epoch(data, &desc, x, y, seen, shuffled);
    run_epoch(data, &desc, x, y, seen, again);
    for (int i = 0; i < IMAGES; i++) assert_int_equal(seen[i], 3);
    assert_memory_equal(shuffled, again, sizeof again);
    run_epoch(data, &(clg_loader_desc){.batch = BATCH, .shuffle = true, .seed = 4}, x, y, seen, again);
    int moved = 0, differ = 0;
    for (int i = 0; i < IMAGES; i++) {
        moved += shuffled[i] != i;
        differ += shuffled[i] != again[i];
    }
    assert_true(moved > IMAGES * 9 / 10 && differ > IMAGES * 9 / 10);
    clg_dataset_destroy(&data);
    clg_graph_destroy(&g);
}

static void loader_drops_limits_and_pads(void **state)
{
    (void)state;
    clg_dataset *data = numbered(IMAGES);
    clg_graph *g = clg_graph_create(ctx, NULL);
    clg_tensor *x = clg_input(g, CLG_F32, CLG_SHAPE(BATCH, 1, 2, 2)), *y = clg_input(g, CLG_I32, CLG_SHAPE(BATCH));

    int seen[IMAGES] = {0}, order[IMAGES], sum = 0;
    const clg_loader_desc drop = {.batch = BATCH, .shuffle = true, .drop_last = true};
    assert_int_equal(run_epoch(data, &drop, x, y, seen, order), 0);
    for (int i = 0; i < IMAGES; i++) sum += seen[i];
    assert_int_equal(sum, IMAGES / BATCH * BATCH);

    memset(seen, 0, sizeof seen);
    clg_dataset_limit(data, 100);
    assert_int_equal(clg_dataset_count(data), 100);
    assert_int_equal(clg_dataset_shape(data).dim[0], 100);
    assert_int_equal(run_epoch(data, &(clg_loader_desc){.batch = BATCH, .shuffle = true}, x, y, seen, order), 28);
    for (int i = 0; i < IMAGES; i++) assert_int_equal(seen[i], i < 100);

    clg_dataset_limit(data, 1 << 20);
    assert_int_equal(clg_dataset_count(data), IMAGES);
    clg_dataset_limit(data, 0);
    expect_failure(CLG_INVALID_ARGUMENT, "limited", "0");
    clg_dataset_destroy(&data);
    clg_graph_destroy(&g);
}

/* A steady epoch moves four bytes an image to the device, nothing back, and allocates and builds nothing. */
static void loader_moves_only_indices(void **state)
{
    (void)state;
    clg_dataset *data = numbered(IMAGES);
    clg_graph *g = clg_graph_create(ctx, NULL);
    clg_tensor *x = clg_input(g, CLG_F32, CLG_SHAPE(BATCH, 1, 2, 2)), *y = clg_input(g, CLG_I32, CLG_SHAPE(BATCH));
    clg_counters before = {0};
    for (int epoch = 0; epoch < 2; epoch++) {
        before = clg_context_counters(ctx);
        clg_loader it = clg_loader_begin(data, &(clg_loader_desc){.batch = BATCH, .shuffle = true, .seed = 1});
        while (clg_loader_next(&it, x, y)) continue;
    }
    clg_context_finish(ctx);
    no_failure();
    const clg_counters after = clg_context_counters(ctx);
    const uint64_t steps = (IMAGES + BATCH - 1) / BATCH;
    assert_int_equal(after.bytes_to_device - before.bytes_to_device, steps * BATCH * sizeof(int32_t));
    assert_int_equal(after.bytes_from_device, before.bytes_from_device);
    assert_int_equal(after.allocations, before.allocations);
    assert_int_equal(after.program_builds + after.program_loads, before.program_builds + before.program_loads);
    clg_dataset_destroy(&data);
    clg_graph_destroy(&g);
}

/* Two pairs of tensors with different batches are fed in turn, and one of their graphs goes before the data set. */
static void loader_feeds_several_graphs(void **state)
{
    (void)state;
    clg_dataset *data = numbered(10);
    int seen[10] = {0}, order[10];
    clg_graph *kept = clg_graph_create(ctx, NULL);
    clg_tensor *x = clg_input(kept, CLG_F32, CLG_SHAPE(10, 1, 2, 2)), *y = clg_input(kept, CLG_I32, CLG_SHAPE(10));
    for (int round = 0; round < 3; round++) {
        clg_graph *g = clg_graph_create(ctx, NULL);
        clg_tensor *gx = clg_input(g, CLG_F32, CLG_SHAPE(4, 1, 2, 2)), *gy = clg_input(g, CLG_I32, CLG_SHAPE(4));
        assert_int_equal(run_epoch(data, &(clg_loader_desc){.batch = 4}, gx, gy, seen, order), 2);
        assert_int_equal(run_epoch(data, &(clg_loader_desc){.batch = 10}, x, y, seen, order), 0);
        clg_graph_destroy(&g);
    }
    for (int i = 0; i < 10; i++) assert_int_equal(seen[i], 6);
    clg_dataset_destroy(&data);
    clg_graph_destroy(&kept);
}

/* A fold and the others, which go on from the last example with the first: together all, none twice. */
static void folds_and_their_others(void **state)
{
    (void)state;
    clg_dataset *data = numbered(10);
    clg_graph   *g = clg_graph_create(ctx, NULL);
    clg_tensor  *x = clg_input(g, CLG_F32, CLG_SHAPE(2, 1, 2, 2)), *y = clg_input(g, CLG_I32, CLG_SHAPE(2));
    for (int shuffle = 0; shuffle < 2; shuffle++) {
        int          seen[10] = {0}, order[10];
        clg_dataset *fold = clg_dataset_part(data, &(clg_part_desc){shuffle, 3, 3, 6});
        clg_dataset *others = clg_dataset_part(data, &(clg_part_desc){shuffle, 3, 6, 13});
        run_epoch(fold, &(clg_loader_desc){.batch = 2}, x, y, seen, order);
        run_epoch(others, &(clg_loader_desc){.batch = 2}, x, y, seen, order);
        for (int i = 0; i < 10; i++) assert_int_equal(seen[i], 1);
        for (int i = 0; i < 7 && !shuffle; i++) assert_int_equal(order[i], (6 + i) % 10);
        clg_dataset_destroy(&fold);
        clg_dataset_destroy(&others);
    }
    no_failure();
    clg_dataset_limit(data, 6);
    int32_t labels[6];
    assert_int_equal(clg_dataset_labels(data, labels, 6), CLG_OK);
    for (int i = 0; i < 6; i++) assert_int_equal(labels[i], i % 7);
    clg_dataset_destroy(&data);
    clg_graph_destroy(&g);
}

static void loader_refuses(void **state)
{
    (void)state;
    clg_dataset *data = numbered(10);
    clg_graph *g = clg_graph_create(ctx, NULL);
    clg_tensor *x = clg_input(g, CLG_F32, CLG_SHAPE(4, 1, 2, 2)), *y = clg_input(g, CLG_I32, CLG_SHAPE(4));
    static const int64_t batches[] = {0, -1, 11, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < CLG__COUNT(batches); i++) {
        clg_loader it = clg_loader_begin(data, &(clg_loader_desc){.batch = batches[i]});
        expect_failure(CLG_INVALID_ARGUMENT, "batch", "10 examples");
        assert_false(clg_loader_next(&it, x, y));
        no_failure();
    }
    clg_loader it = clg_loader_begin(data, NULL);
    expect_failure(CLG_INVALID_ARGUMENT, "batch of 0", "10 examples");
    int32_t labels[11];
    assert_int_equal(clg_dataset_labels(data, labels, 11), CLG_INVALID_ARGUMENT);
    expect_failure(CLG_INVALID_ARGUMENT, "10 labels", "11");
    it = clg_loader_begin(NULL, &(clg_loader_desc){.batch = 4});
    assert_false(clg_loader_next(&it, x, y));
    no_failure();

    it = clg_loader_begin(data, &(clg_loader_desc){.batch = 5});
    assert_false(clg_loader_next(&it, x, y));
    expect_failure(CLG_INVALID_SHAPE, "x is f32 [4, 1, 2, 2]", "f32 [5, 1, 2, 2]");
    it = clg_loader_begin(data, &(clg_loader_desc){.batch = 4});
    assert_false(clg_loader_next(&it, x, clg_input(g, CLG_F32, CLG_SHAPE(4))));
    expect_failure(CLG_INVALID_SHAPE, "y is f32 [4]", "i32 [4]");
    assert_false(clg_loader_next(&it, NULL, y));
    expect_failure(CLG_INVALID_ARGUMENT, "loader", "x");
    assert_false(clg_loader_next(&it, clg_relu(x), y));
    expect_failure(CLG_INVALID_ARGUMENT, "x", "computed");
    assert_true(clg_loader_next(&it, x, y));
    no_failure();
    clg_dataset_destroy(&data);
    clg_graph_destroy(&g);
}

/* The context ends with data set, feeds and graphs still open. */
static void context_owns_its_data_sets(void **state)
{
    (void)state;
    clg_context *other = clg_context_create(NULL);
    static const uint8_t images[4] = {1, 2, 3, 4}, labels[4] = {0, 1, 2, 3};
    clg_dataset *data = clg_dataset_create(other, CLG_SHAPE(4, 1, 1, 1), images, labels);
    clg_graph *g = clg_graph_create(other, NULL);
    clg_tensor *x = clg_input(g, CLG_F32, CLG_SHAPE(2, 1, 1, 1)), *y = clg_input(g, CLG_I32, CLG_SHAPE(2));
    clg_loader it = clg_loader_begin(data, &(clg_loader_desc){.batch = 2});
    assert_true(clg_loader_next(&it, x, y));
    clg_context_destroy(&other);
    assert_null(other);
}

static void fashion_mnist(void **state)
{
    (void)state;
    const char *dir = "/usr/share/datasets/fashion-mnist";
    if (access(dir, R_OK) != 0) skip();
    clg_dataset *train = clg_dataset_open_idx(ctx, dir, "train"), *test = clg_dataset_open_idx(ctx, dir, "t10k");
    no_failure();
    assert_true(clg_shape_equal(clg_dataset_shape(train), CLG_SHAPE(60000, 1, 28, 28)));
    assert_true(clg_shape_equal(clg_dataset_shape(test), CLG_SHAPE(10000, 1, 28, 28)));
    assert_int_equal(clg_dataset_classes(train), 10);
    assert_int_equal(clg_dataset_classes(test), 10);

    enum { SOME = 500 };
    clg_graph *g = clg_graph_create(ctx, NULL);
    clg_tensor *x = clg_input(g, CLG_F32, CLG_SHAPE(SOME, 1, 28, 28)), *y = clg_input(g, CLG_I32, CLG_SHAPE(SOME));
    static int32_t labels[SOME];
    int per_class[10] = {0};
    clg_loader it = clg_loader_begin(test, &(clg_loader_desc){.batch = SOME, .shuffle = true, .seed = 1});
    while (clg_loader_next(&it, x, y)) {
        assert_int_equal(clg_tensor_read(y, labels, sizeof labels), CLG_OK);
        for (int i = 0; i < SOME; i++) {
            assert_true(labels[i] >= 0 && labels[i] < 10);
            per_class[labels[i]]++;
        }
    }
    no_failure();
    for (int i = 0; i < 10; i++) assert_int_equal(per_class[i], 1000);
    clg_graph_destroy(&g);
    clg_dataset_destroy(&train);
    clg_dataset_destroy(&test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dataset_opens_every_name),
        cmocka_unit_test(dataset_keeps_what_it_unpacked),
        cmocka_unit_test(dataset_refuses),
        cmocka_unit_test(loader_delivers_every_image_once),
        cmocka_unit_test(loader_drops_limits_and_pads),
        cmocka_unit_test(loader_moves_only_indices),
        cmocka_unit_test(loader_feeds_several_graphs),
        cmocka_unit_test(folds_and_their_others),
        cmocka_unit_test(loader_refuses),
        cmocka_unit_test(context_owns_its_data_sets),
        cmocka_unit_test(fashion_mnist),
    };
    return cmocka_run_group_tests(tests, open_context, close_context) != 0;
}
