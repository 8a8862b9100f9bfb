/* test_io.c - safetensors: the parser against files that lie, and models saved to and loaded from disk. */
#include "base/base.h"
#include "data/safetensors.h"
#include <clgrad/clgrad.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <cmocka.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scratch.h"

/* A file of this header and `data` bytes of data (0, 1, 2, ...), to be freed; exactly as long as it says. */
static uint8_t *compose(const char *json, size_t data, size_t *size)
{
    const size_t header = strlen(json);
    *size = 8 + header + data;
    uint8_t *bytes = malloc(*size);
    assert_non_null(bytes);
    for (size_t i = 0; i < 8; i++) bytes[i] = (uint8_t)((uint64_t)header >> 8 * i);
    memcpy(bytes + 8, json, header);
    for (size_t i = 0; i < data; i++) bytes[8 + header + i] = (uint8_t)i;
    return bytes;
}

/* ---- the parser ------------------------------------------------------------------------------------------------ */

static const char *const good_header =
    "{\"b\":{\"shape\":[3],\"data_offsets\":[8,20],\"dtype\":\"F32\"},"
    "\"__metadata__\":{\"model\":\"cnn\",\"empty\":\"\"},"
    "\"a.weight\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[0,8]},"
    "\"none\":{\"dtype\":\"F32\",\"shape\":[0,5],\"data_offsets\":[8,8]},"
    "\"scalar\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[20,24]}}   ";

static void parses(void **state)
{
    (void)state;
    size_t size;
    uint8_t *bytes = compose(good_header, 24, &size);
    clg__safetensors file;
    char error[256] = "";
    if (clg__safetensors_parse(bytes, size, &file, error, sizeof error) != CLG_OK) fail_msg("%s", error);
    assert_int_equal(file.count, 4);
    const clg__safetensor *b = clg__safetensors_find(&file, "b");
    assert_non_null(b);
    assert_true(clg_shape_equal(b->shape, CLG_SHAPE(3)));
    assert_int_equal(b->data[0], 8);
    assert_int_equal(b->end - b->begin, 12);
    assert_true(clg_shape_equal(clg__safetensors_find(&file, "scalar")->shape, CLG_SCALAR));
    assert_null(clg__safetensors_find(&file, "c"));
    assert_null(clg__safetensors_find(&file, "__metadata__"));
    assert_string_equal(clg__safetensors_metadata(&file, "model"), "cnn");
    assert_null(clg__safetensors_metadata(&file, "author"));
    clg__safetensors_free(&file);
    free(bytes);

    bytes = compose("{}", 0, &size);
    assert_int_equal(clg__safetensors_parse(bytes, size, &file, error, sizeof error), CLG_OK);
    assert_int_equal(file.count, 0);
    assert_null(clg__safetensors_find(&file, "b"));
    assert_null(clg__safetensors_metadata(&file, "model"));
    clg__safetensors_free(&file);
    free(bytes);
}

#define ENTRY(name, rest) "{\"" name "\":{\"dtype\":\"F32\"," rest "}}"

static const struct {
    const char *complaint, *json;
    size_t      data;
} malformed[] = {
    {"JSON object", "", 0},
    {"JSON object", "[]", 0},
    {"JSON object", " {}", 0},
    {"well-formed", "{", 0},
    {"well-formed", "{\"a\":", 0},
    {"well-formed", "{\"1\":1,", 0},
    {"well-formed", "{} {}", 0},
    {"well-formed", "{\"a\":{\"dtype\":\"F32\"", 0},
    {"not an object", "{\"a\":1}", 0},
    {"not an object", "{\"a\":null}", 0},
    {"no dtype", "{\"a\":{}}", 0},
    {"no dtype", "{\"a\":{\"dtype\":32}}", 0},
    {"dtype F16", "{\"a\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4},
    {"no shape", ENTRY("a", "\"data_offsets\":[0,4]"), 4},
    {"no shape", ENTRY("a", "\"shape\":1,\"data_offsets\":[0,4]"), 4},
    {"shape of a", ENTRY("a", "\"shape\":[-1],\"data_offsets\":[0,4]"), 4},
    {"shape of a", ENTRY("a", "\"shape\":[1.5],\"data_offsets\":[0,6]"), 6},
    {"shape of a", ENTRY("a", "\"shape\":[\"1\"],\"data_offsets\":[0,4]"), 4},
    {"shape of a", ENTRY("a", "\"shape\":[1e300],\"data_offsets\":[0,4]"), 4},
    {"dimensions", ENTRY("a", "\"shape\":[1,1,1,1,1,1,1],\"data_offsets\":[0,4]"), 4},
    {"has the shape", ENTRY("a", "\"shape\":[2],\"data_offsets\":[0,4]"), 4},
    {"has the shape", ENTRY("a", "\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]"), 0},
    {"shape of a", ENTRY("a", "\"shape\":[4611686018427387904],\"data_offsets\":[0,0]"), 0},
    {"has the shape", ENTRY("a", "\"shape\":[9007199254740992,512],\"data_offsets\":[0,0]"), 0},
    {"data_offsets", ENTRY("a", "\"shape\":[1]"), 4},
    {"data_offsets", ENTRY("a", "\"shape\":[1],\"data_offsets\":[0]"), 4},
    {"data_offsets", ENTRY("a", "\"shape\":[1],\"data_offsets\":[0,4,8]"), 4},
    {"data_offsets", ENTRY("a", "\"shape\":[1],\"data_offsets\":[-4,0]"), 4},
    {"data_offsets", ENTRY("a", "\"shape\":[1],\"data_offsets\":[0,4.5]"), 4},
    {"data_offsets", ENTRY("a", "\"shape\":[1],\"data_offsets\":{\"a\":0,\"b\":\"4\"}"), 4},
    {"outside", ENTRY("a", "\"shape\":[1],\"data_offsets\":[0,4]"), 3},
    {"outside", ENTRY("a", "\"shape\":[1],\"data_offsets\":[4,0]"), 4},
    {"outside", ENTRY("a", "\"shape\":[1],\"data_offsets\":[9007199254740988,9007199254740992]"), 4},
    {"belong to no entry", "{}", 4},
    {"belong to no entry", ENTRY("a", "\"shape\":[1],\"data_offsets\":[0,4]"), 5},
    {"begins at 4", ENTRY("a", "\"shape\":[1],\"data_offsets\":[4,8]"), 8},
    {"begins at 0", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
                    "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4},
    {"begins at 2", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
                    "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[2,6]}}", 6},
    {"occurs twice", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
                     "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8},
    {"__metadata__", "{\"__metadata__\":[]}", 0},
    {"__metadata__", "{\"__metadata__\":{\"a\":1}}", 0},
    {"__metadata__", "{\"__metadata__\":{},\"__metadata__\":{}}", 0},
};

static void refuses(void **state)
{
    (void)state;
    clg__safetensors file;
    for (size_t i = 0; i < CLG__COUNT(malformed); i++) {
        size_t size;
        char error[512] = "";
        uint8_t *bytes = compose(malformed[i].json, malformed[i].data, &size);
        if (clg__safetensors_parse(bytes, size, &file, error, sizeof error) == CLG_OK)
            fail_msg("%s was accepted", malformed[i].json);
        if (!strstr(error, malformed[i].complaint))
            fail_msg("%s: '%s' does not say '%s'", malformed[i].json, error, malformed[i].complaint);
        free(bytes);
    }
    static const uint8_t huge[16] = {255, 255, 255, 255, 255, 255, 255, 255, '{', '}'};
    char error[256];
    for (size_t size = 0; size <= sizeof huge; size++)
        assert_int_equal(clg__safetensors_parse(huge, size, &file, error, sizeof error), CLG_FORMAT);
    static const uint8_t zero[16] = {2, 0, 0, 0, 0, 0, 0, 0, '{', 0};
    assert_int_equal(clg__safetensors_parse(zero, 10, &file, error, sizeof error), CLG_FORMAT);
}

static void refuses_every_truncation(void **state)
{
    (void)state;
    size_t size;
    uint8_t *bytes = compose(good_header, 24, &size);
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *copy = malloc(cut ? cut : 1);
        assert_non_null(copy);
        memcpy(copy, bytes, cut);
        clg__safetensors file;
        char error[256];
        assert_int_equal(clg__safetensors_parse(copy, cut, &file, error, sizeof error), CLG_FORMAT);
        free(copy);
    }
    free(bytes);
}

static void survives_mutation(void **state)
{
    (void)state;
    static const uint8_t json[] = "0123456789,:[]{}\"-e\\u";
    size_t size;
    uint8_t *bytes = compose(good_header, 24, &size), *copy = malloc(size);
    assert_non_null(copy);
    for (uint64_t round = 0; round < 30000; round++) {
        memcpy(copy, bytes, size);
        for (uint64_t k = 0; k < 1 + round % 5; k++) {
            const uint32_t random = clg_random_u32(round, 2 * k + 1);
            copy[clg_random_u32(round, 2 * k) % size] = round % 2 ? (uint8_t)random : json[random % sizeof json];
        }
        clg__safetensors file;
        char error[256];
        if (clg__safetensors_parse(copy, size, &file, error, sizeof error) != CLG_OK) continue;
        for (size_t i = 0; i < file.count; i++) {
            const clg__safetensor *e = &file.entries[i];
            assert_true(e->begin <= e->end && e->data >= copy && e->data + (e->end - e->begin) <= copy + size);
            assert_int_equal(4 * clg_shape_count(e->shape), e->end - e->begin);
        }
        clg__safetensors_free(&file);
    }
    free(bytes);
    free(copy);
}

/* ---- models --------------------------------------------------------------------------------------------------- */

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

static void fill_random(float *value, clg_shape shape, uint64_t seed, double scale)
{
    for (int64_t i = 0; i < clg_shape_count(shape); i++) value[i] = (float)scale * (clg_random_uniform(seed, (uint64_t)i) - 0.5f);
}

/* Parameters a.weight [2, 3], a.bias [3] and odd [5, 1, 1]. */
static clg_model *small_model(clg_graph *g, uint64_t seed)
{
    clg_model *model = clg_model_create(ctx, &(clg_model_desc){.seed = seed});
    clg_model_parameter(model, g, "a.weight", CLG_SHAPE(2, 3), fill_random, 1.0);
    clg_model_parameter(model, g, "a.bias", CLG_SHAPE(3), NULL, 0.0);
    clg_model_parameter(model, g, "odd", CLG_SHAPE(5, 1, 1), fill_random, 1e6);
    if (clg_context_failed(ctx)) fail_msg("%s", clg_context_error(ctx));
    return model;
}

enum { VALUES = 6 + 3 + 5 };

static void values_of(clg_model *model, float value[VALUES])
{
    size_t at = 0;
    for (size_t i = 0; i < clg_model_count(model); i++) {
        const size_t count = (size_t)clg_shape_count(clg_model_shape(model, i));
        assert_int_equal(clg_model_read(model, i, value + at, count), CLG_OK);
        at += count;
    }
    assert_int_equal(at, VALUES);
}

/* The operation has failed with this status and a text with these words, and the context has not. */
static void expect_report(clg_status got, clg_status status, const char *first, const char *second)
{
    const char *text = clg_context_error(ctx);
    assert_false(clg_context_failed(ctx));
    if (got != status) fail_msg("status %d: %s", (int)got, text);
    if (!strstr(text, first) || !strstr(text, second)) fail_msg("'%s' does not say '%s', '%s'", text, first, second);
}

static void expect_success(clg_status got)
{
    if (got != CLG_OK) fail_msg("%s", clg_context_error(ctx));
}

static void saved_and_loaded(void **state)
{
    (void)state;
    clg_graph *g = clg_graph_create(ctx, NULL);
    clg_model *a = small_model(g, 1), *b = small_model(g, 2);
    float before[VALUES], other[VALUES], after[VALUES];
    static const float bias[3] = {-0.0f, 1e-40f, 3.402823466e38f}; /* kept to the bit */
    expect_success(clg_model_write(a, 1, bias, 3));
    values_of(a, before);
    values_of(b, other);
    assert_memory_not_equal(before, other, sizeof before);

    expect_success(clg_model_save(a, scratch_path("a.safetensors")));
    expect_success(clg_model_load(b, scratch_path("a.safetensors")));
    values_of(b, after);
    assert_memory_equal(before, after, sizeof before);
    assert_int_equal(scratch_files(false), 1);

    expect_success(clg_model_save(b, scratch_path("b.safetensors")));
    size_t size_a, size_b;
    uint8_t *bytes_a = scratch_read("a.safetensors", &size_a), *bytes_b = scratch_read("b.safetensors", &size_b);
    assert_int_equal(size_a, size_b);
    assert_memory_equal(bytes_a, bytes_b, size_a);

    static const char header[] = "{\"__metadata__\":{\"clgrad.checksum\":\"#\"},\"a.weight\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
                                 "\"a.bias\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[24,36]},"
                                 "\"odd\":{\"dtype\":\"F32\",\"shape\":[5,1,1],\"data_offsets\":[36,56]}}";
    const size_t head = strcspn(header, "#"), tail = sizeof header - 1 - head - 1; /* the checksum */
    const size_t padded = (head + 16 + tail + 7) / 8 * 8;
    assert_int_equal(size_a, 8 + padded + 56);
    assert_int_equal(bytes_a[0] + 256 * bytes_a[1], padded);
    assert_memory_equal(bytes_a + 8, header, head);
    assert_memory_equal(bytes_a + 8 + head + 16, header + head + 1, tail);
    char digits[17] = "";
    memcpy(digits, bytes_a + 8 + head, 16);
    memset(bytes_a + 8 + head, '0', 16);
    assert_int_equal(strtoull(digits, NULL, 16), clg__hash(0, bytes_a, size_a)); /* its own digits being zeros */
    free(bytes_a);
    free(bytes_b);
    clg_graph_destroy(&g);
    clg_model_destroy(&a);
    clg_model_destroy(&b);
    scratch_files(true);
}

static const clg_metadata some_metadata[] = {{"model", "cnn"}, {"quoted \"key\"", "line\n\ttab \\ \xc3\xa9"}, {"empty", ""}};

static void count_known(void *user, const char *key, const char *value)
{
    assert_string_not_equal(key, "clgrad.checksum");
    for (size_t i = 0; i < CLG__COUNT(some_metadata); i++)
        *(size_t *)user += !strcmp(some_metadata[i].key, key) && !strcmp(some_metadata[i].value, value);
}

static void metadata_comes_back(void **state)
{
    (void)state;
    clg_graph *g = clg_graph_create(ctx, NULL);
    clg_model *model = small_model(g, 1);
    const char *path = scratch_path("m.safetensors");
    const clg_metadata *meta = some_metadata;
    expect_success(clg_model_save_with(model, path, meta, 3));
    char value[64];
    for (size_t i = 0; i < CLG__COUNT(some_metadata); i++) {
        expect_success(clg_file_metadata(ctx, path, meta[i].key, value, sizeof value));
        assert_string_equal(value, meta[i].value);
    }
    size_t told = 0;
    expect_success(clg_file_metadata_each(ctx, path, count_known, &told));
    assert_int_equal(told, CLG__COUNT(some_metadata));
    expect_success(clg_file_metadata(ctx, path, "author", value, sizeof value));
    assert_string_equal(value, "");
    expect_success(clg_file_metadata(ctx, path, "model", value, 3));
    assert_string_equal(value, "cn");
    expect_success(clg_file_metadata(ctx, path, "model", NULL, 0));
    expect_success(clg_model_load(model, path));

    static const clg_metadata twice[] = {{"a", "1"}, {"a", "2"}}, missing[] = {{"a", NULL}}, latin1[] = {{"a", "caf\xe9"}},
                              checksum[] = {{"clgrad.checksum", "0"}};
    expect_report(clg_model_save_with(model, path, latin1, 1), CLG_INVALID_ARGUMENT, path, "UTF-8");
    expect_report(clg_model_save_with(model, path, checksum, 1), CLG_INVALID_ARGUMENT, path, "clgrad.checksum");
    expect_report(clg_model_save_with(model, path, twice, 2), CLG_INVALID_ARGUMENT, path, "twice");
    expect_report(clg_model_save_with(model, path, missing, 1), CLG_INVALID_ARGUMENT, path, "missing");
    expect_report(clg_file_metadata(ctx, "/nonexistent", "a", value, 9), CLG_IO, "/nonexistent", strerror(ENOENT));
    clg_graph_destroy(&g);
    clg_model_destroy(&model);
    scratch_files(true);
}

/* Entries in any order, as other programs write them. */
static void foreign_file_loads(void **state)
{
    (void)state;
    clg_graph *g = clg_graph_create(ctx, NULL);
    clg_model *model = small_model(g, 1);
    size_t size;
    uint8_t *bytes = compose("{\"odd\":{\"dtype\":\"F32\",\"shape\":[5,1,1],\"data_offsets\":[36,56]},"
                             "\"a.bias\":{\"data_offsets\": [0, 12], \"shape\": [3], \"dtype\": \"F32\"},"
                             "\"__metadata__\":{\"format\":\"pt\"},"
                             "\"a.weight\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[12,36]}}  ", 56, &size);
    for (size_t i = 0; i < VALUES; i++) memcpy(bytes + size - 56 + 4 * i, &(float){(float)i}, 4);
    scratch_write("foreign", bytes, size);
    free(bytes);
    expect_success(clg_model_load(model, scratch_path("foreign")));
    float value[VALUES];
    values_of(model, value);
    for (size_t i = 0; i < VALUES; i++) /* a.weight, a.bias, odd */
        assert_true(value[i] == (i < 6 ? (float)(i + 3) : i < 9 ? (float)(i - 6) : (float)i));
    clg_graph_destroy(&g);
    clg_model_destroy(&model);
    scratch_files(true);
}

#define WEIGHT  "\"a.weight\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}"
#define BIAS    "\"a.bias\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[24,36]}"
#define ODD     "\"odd\":{\"dtype\":\"F32\",\"shape\":[5,1,1],\"data_offsets\":[36,56]}"

static void load_leaves_the_model_unchanged(void **state)
{
    (void)state;
    static const struct {
        const char *complaint, *json;
        size_t      data;
        clg_status  status;
    } bad[] = {
        {"outside", "{" WEIGHT "," BIAS "," ODD "}", 55, CLG_FORMAT},
        {"no odd", "{" WEIGHT "," BIAS "}", 36, CLG_INVALID_SHAPE},
        {"no a.weight", "{}", 0, CLG_INVALID_SHAPE},
        {"which the model does not have", "{" WEIGHT "," BIAS "," ODD ",\"extra\":{\"dtype\":\"F32\",\"shape\":[1],"
         "\"data_offsets\":[56,60]}}", 60, CLG_INVALID_SHAPE},
        {"[3, 2]", "{\"a.weight\":{\"dtype\":\"F32\",\"shape\":[3,2],\"data_offsets\":[0,24]}," BIAS "," ODD "}", 56,
         CLG_INVALID_SHAPE},
        {"[5]", "{" WEIGHT "," BIAS ",\"odd\":{\"dtype\":\"F32\",\"shape\":[5],\"data_offsets\":[36,56]}}", 56,
         CLG_INVALID_SHAPE},
        {"I32", "{" WEIGHT ",\"a.bias\":{\"dtype\":\"I32\",\"shape\":[3],\"data_offsets\":[24,36]}," ODD "}", 56,
         CLG_UNSUPPORTED},
        {"JSON", "not a model", 0, CLG_FORMAT},
    };
    clg_graph *g = clg_graph_create(ctx, NULL);
    clg_model *model = small_model(g, 1);
    float before[VALUES], after[VALUES];
    values_of(model, before);
    for (size_t i = 0; i < CLG__COUNT(bad); i++) {
        size_t size;
        uint8_t *bytes = compose(bad[i].json, bad[i].data, &size);
        scratch_write("bad", bytes, size);
        free(bytes);
        expect_report(clg_model_load(model, scratch_path("bad")), bad[i].status, scratch_path("bad"), bad[i].complaint);
        values_of(model, after);
        assert_memory_equal(before, after, sizeof before);
    }
    expect_report(clg_model_load(model, scratch_path("none")), CLG_IO, "none", strerror(ENOENT));
    expect_report(clg_model_load(model, scratch_dir), CLG_IO, scratch_dir, "regular file");
    expect_report(clg_model_load(model, NULL), CLG_INVALID_ARGUMENT, "load", "path");
    assert_int_equal(clg_model_load(NULL, "x"), CLG_INVALID_ARGUMENT);
    clg_graph_destroy(&g);
    clg_model_destroy(&model);
    scratch_files(true);
}

/* One bit: refused, or, where it hides the checksum, the model all the same. */
static void a_flipped_bit_changes_nothing(void **state)
{
    (void)state;
    clg_graph *g = clg_graph_create(ctx, NULL);
    clg_model *model = small_model(g, 1), *other = small_model(g, 2);
    float      saved[VALUES], kept[VALUES], got[VALUES];
    char       text[64];
    size_t     size, refused = 0;
    values_of(model, saved);
    values_of(other, kept);
    expect_success(clg_model_save_with(model, scratch_path("m"), &(clg_metadata){"network", "linear(3)"}, 1));
    uint8_t *bytes = scratch_read("m", &size);
    for (uint64_t i = 0; i < 1000; i++) {
        const size_t bit = (size_t)(clg_random_u32(7, i) % (8 * size));
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        scratch_write("flipped", bytes, size);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        const bool taken = clg_model_load(other, scratch_path("flipped")) == CLG_OK;
        refused += !taken;
        values_of(other, got);
        if (memcmp(got, taken ? saved : kept, sizeof got)) fail_msg("bit %zu of %zu changes the model", bit, 8 * size);
        for (size_t at = 0, v = 0; taken && v < clg_model_count(other); at += (size_t)clg_shape_count(clg_model_shape(other, v)), v++)
            expect_success(clg_model_write(other, v, kept + at, (size_t)clg_shape_count(clg_model_shape(other, v))));
        if (!clg_file_metadata(ctx, scratch_path("flipped"), "network", text, sizeof text)) assert_string_equal(text, "linear(3)");
    }
    assert_in_range(refused, 900, 1000);
    free(bytes);
    clg_graph_destroy(&g);
    clg_model_destroy(&model);
    clg_model_destroy(&other);
    scratch_files(true);
}

/* A save that fails leaves what was there before, and nothing beside it. */
static void failed_save_leaves_the_old_file(void **state)
{
    (void)state;
    clg_graph *g = clg_graph_create(ctx, NULL);
    clg_model *small = small_model(g, 1), *large = clg_model_create(ctx, NULL);
    clg_model_parameter(large, g, "w", CLG_SHAPE(5000), NULL, 0.0);
    const char *path = scratch_path("kept.safetensors");
    expect_success(clg_model_save(small, path));
    size_t size, again;
    uint8_t *bytes = scratch_read("kept.safetensors", &size);

    signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit){.rlim_cur = 4096, .rlim_max = limit.rlim_max}), 0);
    const clg_status status = clg_model_save(large, path);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    expect_report(status, CLG_IO, path, strerror(EFBIG));

    uint8_t *after = scratch_read("kept.safetensors", &again);
    assert_int_equal(size, again);
    assert_memory_equal(bytes, after, size);
    assert_int_equal(scratch_files(false), 1);
    free(bytes);
    free(after);

    expect_report(clg_file_replace(ctx, "/nonexistent/x", "y", 1), CLG_IO, "/nonexistent", strerror(ENOENT));
    expect_report(clg_file_replace(ctx, "x", NULL, 1), CLG_INVALID_ARGUMENT, "file", "no bytes");
    expect_report(clg_model_save(small, "/nonexistent/m.safetensors"), CLG_IO, "/nonexistent", strerror(ENOENT));
    expect_report(clg_model_save(small, scratch_dir), CLG_IO, scratch_dir, "regular file");
    expect_report(clg_model_save(small, "/dev/null"), CLG_IO, "/dev/null", "regular file");
    expect_report(clg_model_save(small, ""), CLG_IO, "cannot be written", "");
    expect_report(clg_model_save(small, NULL), CLG_INVALID_ARGUMENT, "save", "path");
    assert_int_equal(clg_model_save(NULL, path), CLG_INVALID_ARGUMENT);
    assert_int_equal(scratch_files(false), 1);
    clg_graph_destroy(&g);
    clg_model_destroy(&small);
    clg_model_destroy(&large);
    scratch_files(true);
}

/* Beside a model whose saving was killed; beside one that another process is saving; beside what leads elsewhere. */
static void saves_leave_nothing_behind(void **state)
{
    (void)state;
    char        beside[128];
    const char *path = scratch_path("m.safetensors");
    snprintf(beside, sizeof beside, "%s.tmp", path);
    scratch_write("m.safetensors.tmp", "half a model that is longer than what is written next", 53);
    expect_success(clg_file_replace(ctx, path, "whole", 5));
    assert_int_equal(scratch_files(false), 1);

    scratch_write("m.safetensors.tmp", "another's", 9);
    const int other = open(beside, O_RDWR);
    assert_int_equal(flock(other, LOCK_EX | LOCK_NB), 0);
    expect_success(clg_file_replace(ctx, path, "again", 5));
    assert_int_equal(scratch_files(false), 2);
    close(other);
    assert_int_equal(unlink(beside), 0);

    scratch_write("elsewhere", "kept", 4);
    assert_int_equal(symlink(scratch_path("elsewhere"), beside), 0);
    expect_success(clg_file_replace(ctx, scratch_path("m.safetensors"), "third", 5));
    assert_int_equal(scratch_files(false), 3);
    size_t   size, kept;
    uint8_t *bytes = scratch_read("m.safetensors", &size), *elsewhere = scratch_read("elsewhere", &kept);
    assert_memory_equal(bytes, "third", 5);
    assert_memory_equal(elsewhere, "kept", 4);
    assert_true(size == 5 && kept == 4);
    free(bytes);
    free(elsewhere);
    scratch_files(true);
}

int main(void)
{
    const struct CMUnitTest parser[] = {
        cmocka_unit_test(parses),
        cmocka_unit_test(refuses),
        cmocka_unit_test(refuses_every_truncation),
        cmocka_unit_test(survives_mutation),
    };
    const struct CMUnitTest models[] = {
        cmocka_unit_test(saved_and_loaded),
        cmocka_unit_test(metadata_comes_back),
        cmocka_unit_test(foreign_file_loads),
        cmocka_unit_test(a_flipped_bit_changes_nothing),
        cmocka_unit_test(load_leaves_the_model_unchanged),
        cmocka_unit_test(failed_save_leaves_the_old_file),
        cmocka_unit_test(saves_leave_nothing_behind),
    };
    int failed = cmocka_run_group_tests(parser, NULL, NULL);
    failed += cmocka_run_group_tests(models, open_context, close_context);
    return failed != 0;
}
