/* test_tables.c - data sets made of tables: CSV against files that lie, what is in them, parts, regression. */
#include "base/base.h"
#include "data/csv.h"
#include "data/npy.h"
#include <clgrad/ops.h>
#include <clgrad/plan.h>
#include <math.h>
#include <sys/stat.h>

#include "fixture.h"
#include "scratch.h"

static int open_all(void **state)
{
    return open_context(state) || scratch_create(state);
}

static int close_all(void **state)
{
    return close_context(state) | scratch_remove(state);
}

/* The context has failed with a text that has both of these words; clears it. */
static void expect_failure(const char *first, const char *second)
{
    if (!clg_context_failed(ctx)) fail_msg("no failure about '%s'", first);
    const char *text = clg_context_error(ctx);
    if (!strstr(text, first) || !strstr(text, second)) fail_msg("'%s' does not say '%s', '%s'", text, first, second);
    clg_context_clear_error(ctx);
}

static void no_failure(void)
{
    if (clg_context_failed(ctx)) fail_msg("%s", clg_context_error(ctx));
}

/* ---- cells ------------------------------------------------------------------------------------------------------ */

/* Exactly as long as the file, for the address sanitizer. */
static clg_status parse(const void *text, size_t size, clg__csv *csv, char *error, size_t error_size)
{
    uint8_t *bytes = malloc(size ? size : 1);
    assert_non_null(bytes);
    memcpy(bytes, text, size);
    const clg_status status = clg__csv_parse(bytes, size, csv, error, error_size);
    free(bytes);
    return status;
}

static void csv_parses(void **state)
{
    (void)state;
    static const struct {
        const char *text, *cells; /* rows | cells / */
        size_t      rows, columns;
    } good[] = {
        {"a,b\n1,2\n", "a/b|1/2|", 1, 2},
        {"a,b\r\n1,2\r\n3,4", "a/b|1/2|3/4|", 2, 2},
        {"\xef\xbb\xbf" "a\n1\n", "a|1|", 1, 1},
        {"a,b\n,\n", "a/b|/|", 1, 2},
        {"a,\"b,\"\"c\"\"\"\r\n\"1\r\n2\",\"\"\n", "a/b,\"c\"|1\r\n2/|", 1, 2},
        {" a ,b\n x,y \n", " a /b| x/y |", 1, 2},
    };
    for (size_t i = 0; i < CLG__COUNT(good); i++) {
        clg__csv csv;
        char     error[256] = "", cells[256] = "";
        const clg_status status = parse(good[i].text, strlen(good[i].text), &csv, error, sizeof error);
        if (status) fail_msg("%s: %s", good[i].text, error);
        assert_int_equal(csv.rows, good[i].rows);
        assert_int_equal(csv.columns, good[i].columns);
        for (size_t k = 0; k < (1 + csv.rows) * csv.columns; k++) {
            strcat(cells, csv.cells[k]);
            strcat(cells, (k + 1) % csv.columns ? "/" : "|");
        }
        assert_string_equal(cells, good[i].cells);
        clg__csv_free(&csv);
    }
}

static void csv_knows_its_lines(void **state)
{
    (void)state;
    static const char text[] = "a,b\n\"1\n\n1\",2\n3,4\n";
    clg__csv csv;
    char     error[256];
    assert_int_equal(parse(text, sizeof text - 1, &csv, error, sizeof error), CLG_OK);
    assert_int_equal(csv.lines[0], 1);
    assert_int_equal(csv.lines[1], 2);
    assert_int_equal(csv.lines[2], 5);
    clg__csv_free(&csv);
}

static void csv_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *text, *complaint;
        size_t      size; /* 0: the text's */
    } bad[] = {
        {"", "line 1: the file is empty", 0},
        {"\xef\xbb\xbf", "empty", 0},
        {"a,b\n", "no line follows", 0},
        {"a,b", "no line follows", 0},
        {"a,b\n1,2\n1\n", "line 3: 1 cell, and line 1 names 2 columns", 0},
        {"a,b\n1,2,3\n", "line 2: 3 cells", 0},
        {"a,b\n1,2\n\n", "line 3: 1 cell", 0},
        {"a,b\n\"1,2\n3,4\n", "line 2: a quote is never closed", 0},
        {"a,b\n1,\"", "never closed", 0},
        {"a,b\n1,2\"3\"\n", "line 2: a quote inside", 0},
        {"a,b\n\"1\"2,3\n", "line 2: text after a closing quote", 0},
        {"a,b\n1,\"2\"\r", "after a closing quote", 0},
        {"a,b\r1,2\r", "line 1: a carriage return", 0},
        {"a,b\n1,\0002\n", "line 2: a zero byte", 9},
        {"a,b\n1,\"\0002\"\n", "line 2: a zero byte", 11},
        {"a,b,a\n1,2,3\n", "two columns are called \"a\"", 0},
        {"a,b\n1,x\n2,caf\xe9\n", "line 3: the byte 0xe9 is not UTF-8: convert the file", 0},
        {"\xef\xbb\xbfpri\xa3,b\n1,x\n", "line 1: the byte 0xa3", 0},
    };
    for (size_t i = 0; i < CLG__COUNT(bad); i++) {
        clg__csv csv;
        char     error[256] = "";
        const size_t size = bad[i].size ? bad[i].size : strlen(bad[i].text);
        assert_int_equal(parse(bad[i].text, size, &csv, error, sizeof error), CLG_FORMAT);
        if (!strstr(error, bad[i].complaint)) fail_msg("%s: '%s' does not say '%s'", bad[i].text, error, bad[i].complaint);
    }
}

static void csv_survives_mutation(void **state)
{
    (void)state;
    static const char text[] = "a,b,\"c\"\r\n1,\"2\",3\r\n\"4\"\"4\",5,6\n";
    static const char alphabet[] = ",\"\r\n\0001a";
    for (uint64_t round = 0; round < 20000; round++) {
        char bytes[sizeof text - 1];
        memcpy(bytes, text, sizeof bytes);
        for (uint64_t k = 0; k < 1 + round % 4; k++)
            bytes[clg_random_u32(round, 2 * k) % sizeof bytes] = alphabet[clg_random_u32(round, 2 * k + 1) % 7];
        clg__csv csv;
        char     error[256];
        const size_t size = clg_random_u32(round, 99) % (sizeof bytes + 1);
        if (parse(bytes, size, &csv, error, sizeof error)) continue;
        size_t length = 0;
        for (size_t k = 0; k < (1 + csv.rows) * csv.columns; k++) length += strlen(csv.cells[k]) + 1;
        assert_true(length <= size + 1);
        clg__csv_free(&csv);
    }
}

static void csv_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        float       value;
    } good[] = {{"1", 1.0f}, {" -2.5\t", -2.5f}, {"+.5", 0.5f}, {"1e3", 1000.0f}, {"1E-2", 0.01f}, {"007", 7.0f}};
    static const char *const bad[] = {"", " ", "x", "1x", "0x10", "nan", "inf", "-inf", "1e99", "1,5", "1 2", "--1", ".",
                                      "e5", "1e", "+"};
    float value;
    for (size_t i = 0; i < CLG__COUNT(good); i++) {
        assert_true(clg__csv_number(good[i].text, &value));
        assert_true(value == good[i].value);
    }
    for (size_t i = 0; i < CLG__COUNT(bad); i++)
        if (clg__csv_number(bad[i], &value)) fail_msg("'%s' is a number", bad[i]);
        else assert_true((isinf(value) != 0) == !strcmp(bad[i], "1e99"));
}

/* ---- NPY -------------------------------------------------------------------------------------------------------- */

/* An NPY file of this version and header, and `data` bytes 1, 2, 3, ...; returns its size. */
static size_t npy_file(uint8_t *bytes, uint8_t version, const char *header, size_t data)
{
    const size_t length = strlen(header), prefix = version == 1 ? 10 : 12;
    memcpy(bytes, "\x93NUMPY", 6);
    bytes[6] = version;
    bytes[7] = 0;
    for (size_t i = 8; i < prefix; i++) bytes[i] = (uint8_t)(length >> 8 * (i - 8));
    memcpy(bytes + prefix, header, length);
    for (size_t i = 0; i < data; i++) bytes[prefix + length + i] = (uint8_t)(i + 1);
    return prefix + length + data;
}

#define NPY(descr, order, shape) "{'descr': '" descr "', 'fortran_order': " order ", 'shape': " shape ", }  \n"

static void npy_parses(void **state)
{
    (void)state;
    uint8_t  bytes[256];
    char     error[256] = "";
    clg__npy npy;
    for (uint8_t version = 1; version <= 3; version++) {
        const size_t size = npy_file(bytes, version, NPY("|u1", "False", "(2, 3)"), 6);
        assert_int_equal(clg__npy_parse(bytes, size, &npy, error, sizeof error), CLG_OK);
        assert_true(clg_shape_equal(npy.shape, CLG_SHAPE(2, 3)) && npy.type == CLG__NPY_U1 && npy.count == 6);
        assert_int_equal(clg__npy_whole(&npy, 5), 6);
        for (size_t cut = 0; cut < size; cut++) {
            uint8_t *exact = malloc(cut ? cut : 1); /* for the address sanitizer */
            memcpy(exact, bytes, cut);
            assert_true(clg__npy_parse(exact, cut, &npy, error, sizeof error) != CLG_OK);
            free(exact);
        }
        assert_int_equal(clg__npy_parse(bytes, size + 1, &npy, error, sizeof error), CLG_FORMAT);
    }
    const size_t size = npy_file(bytes, 1, "{\"shape\":(2,),'fortran_order':False,'descr':'<i4'}", 8);
    assert_int_equal(clg__npy_parse(bytes, size, &npy, error, sizeof error), CLG_OK);
    assert_int_equal(clg__npy_whole(&npy, 1), 0x08070605);
    assert_true(clg__npy_real(&npy, 0) == (double)0x04030201);
    for (uint64_t round = 0; round < 20000; round++) { /* whatever is said is believed only when the data are there */
        const size_t whole = npy_file(bytes, 1, NPY("<f4", "False", "(2, 3)"), 24), cut = clg_random_u32(round, 9) % (whole + 1);
        for (uint64_t k = 0; k < 1 + round % 4; k++)
            bytes[clg_random_u32(round, 2 * k) % whole] = (uint8_t)clg_random_u32(round, 2 * k + 1);
        uint8_t *exact = malloc(cut ? cut : 1);
        memcpy(exact, bytes, cut);
        if (!clg__npy_parse(exact, cut, &npy, error, sizeof error) && npy.count) (void)clg__npy_real(&npy, npy.count - 1);
        free(exact);
    }
}

static void npy_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *header, *complaint;
        uint8_t     version;
    } bad[] = {
        {NPY("<f4", "False", "(2, 3)"), "version 4", 4},
        {NPY("<f4", "True", "(2, 3)"), "Fortran", 1},
        {NPY(">f4", "False", "(2, 3)"), "type >f4", 1},
        {NPY("<f2", "False", "(2, 3)"), "type <f2", 1},
        {NPY("|b1", "False", "(24,)"), "type |b1", 1},
        {NPY("|O", "False", "(24,)"), "type |O", 1},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,), }", "records", 1},
        {NPY("<f4", "False", "(2, 4)"), "truncated", 1},
        {NPY("<f4", "False", "(2, 2)"), "trailing", 1},
        {NPY("<f4", "False", "(4294967296, 4294967296)"), "does not fit", 1},
        {NPY("<f4", "False", "(99999999999999999999,)"), "malformed", 1},
        {NPY("<f4", "False", "(1,1,1,1,1,1,6)"), "malformed", 1},
        {NPY("<f4", "False", "(-1,)"), "malformed", 1},
        {NPY("<f4", "False", "(6"), "malformed", 1},
        {NPY("<f4", "Maybe", "(6,)"), "malformed", 1},
        {"{'descr': '<f4', 'shape': (6,)}", "malformed", 1},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (6,)}", "malformed", 1},
        {"", "malformed", 1},
        {"{", "malformed", 1},
    };
    for (size_t i = 0; i < CLG__COUNT(bad); i++) {
        uint8_t  bytes[256];
        char     error[256] = "";
        clg__npy npy;
        const size_t size = npy_file(bytes, bad[i].version, bad[i].header, 24);
        assert_true(clg__npy_parse(bytes, size, &npy, error, sizeof error) != CLG_OK);
        if (!strstr(error, bad[i].complaint)) fail_msg("%s: '%s' does not say '%s'", bad[i].header, error, bad[i].complaint);
    }
}

static void npy_data_sets(void **state)
{
    (void)state;
    uint8_t bytes[256];
    size_t  size = npy_file(bytes, 1, NPY("|u1", "False", "(2, 1, 2, 2)"), 8);
    scratch_write("x.npy", bytes, size);
    size = npy_file(bytes, 1, NPY("|u1", "False", "(2,)"), 2);
    scratch_write("y.npy", bytes, size);
    clg_dataset *data = clg_dataset_open_npy(ctx, scratch_path("x.npy"), scratch_path("y.npy"));
    no_failure();
    assert_true(clg_shape_equal(clg_dataset_shape(data), CLG_SHAPE(2, 1, 2, 2)));
    assert_int_equal(clg_dataset_classes(data), 3);
    float mean, deviation;
    assert_int_equal(clg_dataset_moments(data, &mean, &deviation), CLG_OK);
    assert_true(fabsf(mean - 4.5f / 255.0f) < 1e-8f);
    clg_dataset_destroy(&data);

    size = npy_file(bytes, 1, NPY("<f4", "False", "(2, 3)"), 24);
    const float targets[] = {1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f};
    memcpy(bytes + size - 24, targets, 24);
    scratch_write("y.npy", bytes, size);
    data = clg_dataset_open_npy(ctx, scratch_path("y.npy"), scratch_path("y.npy"));
    no_failure();
    assert_int_equal(clg_dataset_outputs(data), 3);
    clg_dataset_destroy(&data);
    memcpy(bytes + size - 24, &(uint32_t){0x7fc00000}, 4);
    scratch_write("y.npy", bytes, size);
    assert_null(clg_dataset_open_npy(ctx, scratch_path("x.npy"), scratch_path("y.npy")));
    expect_failure("y.npy: row 0, element 0", "missing");
    size = npy_file(bytes, 1, NPY("<i4", "False", "(2, 3)"), 24);
    scratch_write("y.npy", bytes, size);
    assert_null(clg_dataset_open_npy(ctx, scratch_path("x.npy"), scratch_path("y.npy")));
    expect_failure("y.npy", "classes are [rows]");
    size = npy_file(bytes, 1, NPY("<i4", "False", "(3,)"), 12);
    scratch_write("y.npy", bytes, size);
    assert_null(clg_dataset_open_npy(ctx, scratch_path("x.npy"), scratch_path("y.npy")));
    expect_failure("y.npy: 3 rows", "has 2");
    memset(bytes + size - 4, 0xff, 4);
    scratch_write("y.npy", bytes, size - 4);
    assert_null(clg_dataset_open_npy(ctx, scratch_path("x.npy"), scratch_path("y.npy")));
    expect_failure("y.npy", "truncated");
    assert_null(clg_dataset_open_npy(ctx, scratch_path("absent.npy"), scratch_path("y.npy")));
    expect_failure("absent.npy", "No such file");
}

/* ---- data sets -------------------------------------------------------------------------------------------------- */

static clg_dataset *open_text(const char *text, const clg_csv_desc *desc)
{
    scratch_write("table.csv", text, strlen(text));
    return clg_dataset_open_csv(ctx, scratch_path("table.csv"), desc);
}

/* Another value, answer or order is another checksum; the memory that the examples lie in is not. */
static void checksums_tell_data_apart(void **state)
{
    (void)state;
    enum { ROWS = 5 };
    const float   first[ROWS * 2] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, other[ROWS * 2] = {1, 2, 3, 4, 5, 6, 7, 8, 9, -10};
    const int32_t labels[ROWS] = {0, 1, 2, 1, 0}, changed[ROWS] = {0, 1, 2, 1, 1};
    const clg_dataset_desc desc = {.shape = CLG_SHAPE(ROWS, 2), .examples = first, .labels = labels};
    clg_dataset_desc d[4] = {desc, desc, desc, desc};
    d[1].stream = true, d[2].examples = other, d[3].labels = changed;
    clg_dataset *data[7];
    uint64_t     sum[7];
    for (int i = 0; i < 4; i++) data[i] = clg_dataset_create_from(ctx, &d[i]);
    data[4] = clg_dataset_part(data[0], &(clg_part_desc){.shuffle = true, .seed = 3, .end = ROWS});
    data[5] = clg_dataset_part(data[1], &(clg_part_desc){.shuffle = true, .seed = 3, .end = ROWS});
    data[6] = clg_dataset_part(data[0], &(clg_part_desc){.begin = 1, .end = ROWS + 1});
    for (int i = 0; i < 7; i++) assert_int_equal(clg_dataset_checksum(data[i], &sum[i]), CLG_OK);
    for (int i = 0; i < 7; i++)
        for (int k = 0; k < i; k++) assert_true((sum[i] == sum[k]) == ((i == 1 && k == 0) || (i == 5 && k == 4)));
    assert_int_equal(clg_dataset_checksum(NULL, &sum[0]), CLG_INVALID_ARGUMENT);
    for (int i = 6; i >= 0; i--) clg_dataset_destroy(&data[i]);
}

static void csv_classes(void **state)
{
    (void)state;
    clg_dataset *data = open_text("x,kind,y\n1,pear,2\n3,\"apple, red\",4\n5,pear,6\n", &(clg_csv_desc){.label = "kind"});
    no_failure();
    assert_true(clg_shape_equal(clg_dataset_shape(data), CLG_SHAPE(3, 2)));
    assert_int_equal(clg_dataset_classes(data), 2);
    assert_int_equal(clg_dataset_outputs(data), 0);
    assert_string_equal(clg_dataset_class_name(data, 0), "apple, red");
    assert_string_equal(clg_dataset_class_name(data, 1), "pear");
    assert_null(clg_dataset_class_name(data, 2));
    int32_t labels[3];
    assert_int_equal(clg_dataset_labels(data, labels, 3), CLG_OK);
    assert_true(labels[0] == 1 && labels[1] == 0 && labels[2] == 1);

    float mean[2], deviation[2];
    assert_int_equal(clg_dataset_moments(data, mean, deviation), CLG_OK);
    assert_true(mean[0] == 3.0f && mean[1] == 4.0f);
    assert_true(fabsf(deviation[0] - sqrtf(8.0f / 3.0f)) < 1e-6f);

    clg_graph  *g = new_graph();
    clg_tensor *x = clg_input(g, CLG_F32, CLG_SHAPE(2, 2)), *y = clg_input(g, CLG_I32, CLG_SHAPE(2));
    clg_loader  it = clg_loader_begin(data, &(clg_loader_desc){.batch = 2});
    float       features[4];
    int32_t     classes[2];
    assert_true(clg_loader_next(&it, x, y) && clg_loader_next(&it, x, y) && !clg_loader_next(&it, x, y));
    assert_int_equal(clg_tensor_read(x, features, sizeof features), CLG_OK);
    assert_int_equal(clg_tensor_read(y, classes, sizeof classes), CLG_OK);
    assert_true(features[0] == 5.0f && features[1] == 6.0f && features[2] == 0.0f && features[3] == 0.0f);
    assert_true(classes[0] == 1 && classes[1] == -1);
    clg_dataset_destroy(&data);

    data = open_text("n,x\n10,1\n9,1\n-1,1\n9,1\n", &(clg_csv_desc){.label = "n"}); /* numbers are sorted as numbers */
    assert_string_equal(clg_dataset_class_name(data, 0), "-1");
    assert_string_equal(clg_dataset_class_name(data, 2), "10");
    clg_dataset_destroy(&data);

    static const char *const names[] = {"z", "pear", "apple"};
    data = open_text("x,kind\n1,apple\n", &(clg_csv_desc){.label = "kind", .names = names, .classes = 3});
    assert_int_equal(clg_dataset_classes(data), 3);
    assert_int_equal(clg_dataset_labels(data, labels, 1), CLG_OK);
    assert_int_equal(labels[0], 2);
    clg_dataset_destroy(&data);
    clg_graph_destroy(&g);
    no_failure();
}

static void csv_features_are_found_by_name(void **state)
{
    (void)state;
    static const char *const names[] = {"b", "a"};
    clg_csv_desc             desc = {.target = "y", .features = names, .feature_count = 2};
    float                    mean[2], deviation[2];
    clg_dataset             *data = open_text("a,left,y,b\n1,text,7,3\n", &desc);
    no_failure();
    assert_true(clg_shape_equal(clg_dataset_shape(data), CLG_SHAPE(1, 2)));
    assert_string_equal(clg_dataset_feature_name(data, 0), "b");
    assert_string_equal(clg_dataset_feature_name(data, 1), "a");
    assert_null(clg_dataset_feature_name(data, 2));
    assert_null(clg_dataset_feature_name(NULL, 0));
    assert_int_equal(clg_dataset_moments(data, mean, deviation), CLG_OK);
    assert_true(mean[0] == 3.0f && mean[1] == 1.0f);
    clg_dataset_destroy(&data);
    desc.unanswered = true;
    assert_null(open_text("a,c\n1,2\n", &desc));
    expect_failure("\"b\", which is one of the features", "a, c");
    assert_null(open_text("a;b\n1;2\n", &desc));
    expect_failure("a;b", "only commas");
}

static void csv_targets_and_parts(void **state)
{
    (void)state;
    enum { ROWS = 10 };
    clg__text text = {0};
    clg__text_append(&text, "x,y\n");
    for (int i = 0; i < ROWS; i++) clg__text_append(&text, "%d,%d.5\n", i, 10 * i);
    clg_dataset *data = open_text(text.data, &(clg_csv_desc){.target = "y"});
    clg__text_free(&text);
    no_failure();
    assert_int_equal(clg_dataset_classes(data), 0);
    assert_int_equal(clg_dataset_outputs(data), 1);

    clg_dataset *part[2];
    for (int k = 0; k < 2; k++)
        part[k] = clg_dataset_part(
            data, &(clg_part_desc){.shuffle = true, .seed = 5, .begin = k ? 3 : 0, .end = k ? ROWS : 3});
    int          seen[ROWS] = {0}, moved = 0;
    clg_graph   *g = new_graph();
    clg_tensor  *x = clg_input(g, CLG_F32, CLG_SHAPE(1, 1)), *y = clg_input(g, CLG_F32, CLG_SHAPE(1, 1));
    for (int k = 0; k < 2; k++) {
        const int count = k ? ROWS - 3 : 3;
        float     targets[ROWS], feature, target;
        assert_int_equal(clg_dataset_count(part[k]), count);
        assert_int_equal(clg_dataset_targets(part[k], targets, (size_t)count), CLG_OK);
        clg_loader it = clg_loader_begin(part[k], &(clg_loader_desc){.batch = 1});
        for (int i = 0; i < count; i++) {
            assert_true(clg_loader_next(&it, x, y));
            assert_int_equal(clg_tensor_read(x, &feature, sizeof feature), CLG_OK);
            assert_int_equal(clg_tensor_read(y, &target, sizeof target), CLG_OK);
            assert_true(target == targets[i] && target == 10.0f * feature + 0.5f);
            moved += seen[(int)feature]++ == 0 && (int)feature != i + 3 * k;
        }
        assert_false(clg_loader_next(&it, x, y));
    }
    for (int i = 0; i < ROWS; i++) assert_int_equal(seen[i], 1);
    assert_true(moved > 3);
    float mean[1], deviation[1];
    assert_int_equal(clg_dataset_moments(data, mean, deviation), CLG_OK);
    assert_true(mean[0] == 4.5f);
    assert_null(clg_dataset_part(data, &(clg_part_desc){.begin = 3, .end = 3}));
    expect_failure("3 to 3", "10 examples");
    assert_null(clg_dataset_part(data, &(clg_part_desc){.begin = 0, .end = 11}));
    expect_failure("0 to 11", "10 examples");
    for (int k = 0; k < 2; k++) clg_dataset_destroy(&part[k]);
    clg_dataset_destroy(&data);
    clg_graph_destroy(&g);
}

static void csv_data_sets_refuse(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b"};
    static const struct {
        const char  *text;
        clg_csv_desc desc;
        const char  *first, *second;
    } bad[] = {
        {"x,y\n1,2\n", {0}, "table.csv", "which column"},
        {"x,y\n1,2\n", {.label = "y", .target = "x"}, "table.csv", "both"},
        {"x,y\n1,2\n", {.label = "z"}, "no column is called \"z\"", "x, y"},
        {"y\n1\n", {.label = "y"}, "line 1", "no column to learn from"},
        {"x,y\n1,a\n,b\n", {.label = "y"}, "line 3, column \"x\"", "missing"},
        {"x,y\n1,a\nNA,b\n", {.label = "y"}, "line 3, column \"x\"", "missing"},
        {"x,y\n1,a\n2,\n", {.label = "y"}, "line 3, column \"y\"", "missing"},
        {"x,y\n1,2\n2,\n", {.target = "y"}, "line 3, column \"y\"", "missing"},
        {"x,y\n1,a\ntwo,b\n", {.label = "y"}, "line 3, column \"x\"", "\"two\" is not a number"},
        {"x,y\n1,1\n2,b\n", {.target = "y"}, "line 3, column \"y\"", "\"b\" is not a number"},
        {"x,y\n1,1\n2,1e400\n", {.target = "y"}, "line 3, column \"y\"", "out of float32's range"},
        {"x,y\n1,c\n", {.label = "y", .names = names, .classes = 2}, "line 2, column \"y\"", "not one of the classes"},
        {"x,y\n1\n", {.label = "y"}, "table.csv: line 2", "1 cell"},
    };
    for (size_t i = 0; i < CLG__COUNT(bad); i++) {
        assert_null(open_text(bad[i].text, &bad[i].desc));
        expect_failure(bad[i].first, bad[i].second);
    }
    assert_null(clg_dataset_open_csv(ctx, "/nonexistent.csv", &(clg_csv_desc){.label = "y"}));
    expect_failure("/nonexistent.csv", "No such file");
    assert_null(clg_dataset_open_csv(ctx, "/tmp", &(clg_csv_desc){.label = "y"}));
    expect_failure("/tmp", "not a regular file");
    assert_null(clg_dataset_open_csv(ctx, NULL, NULL));
    expect_failure("no path", "data set");

    const float   one = 1.0f;
    const int32_t label = 3;
    assert_null(clg_dataset_create_from(ctx, NULL));
    expect_failure("not a shape", "data set");
    assert_null(clg_dataset_create_from(ctx, &(clg_dataset_desc){.shape = CLG_SHAPE(1), .examples = &one}));
    expect_failure("no labels", "data set");
    assert_null(clg_dataset_create_from(
        ctx, &(clg_dataset_desc){.shape = CLG_SHAPE(1), .examples = &one, .labels = &label, .classes = 3}));
    expect_failure("label 0 is 3", "3 classes");
    const int32_t least = -1, most = INT32_MAX;
    assert_null(clg_dataset_create_from(ctx, &(clg_dataset_desc){.shape = CLG_SHAPE(1), .examples = &one, .labels = &least}));
    expect_failure("label 0 is -1", "from 0");
    clg_dataset *many = clg_dataset_create_from(ctx, &(clg_dataset_desc){.shape = CLG_SHAPE(1), .examples = &one, .labels = &most});
    assert_int_equal(clg_dataset_classes(many), INT64_C(1) << 31);
    clg_dataset_destroy(&many);
    assert_null(clg_dataset_create_from(
        ctx, &(clg_dataset_desc){.dtype = CLG_I32, .shape = CLG_SHAPE(1), .examples = &label, .labels = &label}));
    expect_failure("f32 or u8", "i32");
}

/* ---- folders of pictures ---------------------------------------------------------------------------------------- */

static void put_picture(const char *folder, const char *name, clg_shape shape, uint8_t value)
{
    char    path[512];
    uint8_t pixels[64];
    mkdir(scratch_path(folder), 0777);
    snprintf(path, sizeof path, "%s/%s", scratch_path(folder), name);
    memset(pixels, value, sizeof pixels);
    assert_int_equal(clg_image_write(ctx, path, shape, pixels), CLG_OK);
}

static void clear_folders(void)
{
    static const char *const paths[] = {"set/b/1.PNG", "set/b/2.png", "set/a/1.png", "set/a/.png", "set/a/notes", "set/a", "set/b", "set/c", "set"};
    for (size_t i = 0; i < CLG__COUNT(paths); i++) remove(scratch_path(paths[i]));
}

static void folders_of_pictures(void **state)
{
    (void)state;
    mkdir(scratch_path("set"), 0777);
    assert_null(clg_dataset_open_folder(ctx, scratch_path("set"), NULL));
    expect_failure("set", "no folder in it");
    put_picture("set/b", "2.png", CLG_SHAPE(1, 2, 3), 20);
    put_picture("set/b", "1.PNG", CLG_SHAPE(1, 2, 3), 10);
    put_picture("set/a", "1.png", CLG_SHAPE(1, 2, 3), 30);
    scratch_write("set/a/notes", "x", 1);
    clg_dataset *data = clg_dataset_open_folder(ctx, scratch_path("set"), NULL);
    no_failure();
    assert_true(clg_shape_equal(clg_dataset_shape(data), CLG_SHAPE(3, 1, 2, 3)));
    assert_int_equal(clg_dataset_classes(data), 2);
    assert_string_equal(clg_dataset_class_name(data, 1), "b");
    int32_t labels[3];
    assert_int_equal(clg_dataset_labels(data, labels, 3), CLG_OK);
    assert_true(labels[0] == 0 && labels[1] == 1 && labels[2] == 1);
    clg_graph  *g = new_graph();
    clg_tensor *x = clg_input(g, CLG_F32, CLG_SHAPE(3, 1, 2, 3)), *y = clg_input(g, CLG_I32, CLG_SHAPE(3));
    clg_loader  it = clg_loader_begin(data, &(clg_loader_desc){.batch = 3});
    float       pixels[18];
    assert_true(clg_loader_next(&it, x, y));
    assert_int_equal(clg_tensor_read(x, pixels, sizeof pixels), CLG_OK);
    for (int i = 0; i < 18; i++) assert_true(fabsf(pixels[i] - (float)(i < 6 ? 30 : i < 12 ? 10 : 20) / 255.0f) < 1e-6f);
    clg_dataset_destroy(&data);
    clg_graph_destroy(&g);

    put_picture("set/a", "1.png", CLG_SHAPE(3, 4, 3), 30);
    assert_null(clg_dataset_open_folder(ctx, scratch_path("set"), NULL));
    expect_failure("set/b/1.PNG", "height and width");
    data = clg_dataset_open_folder(ctx, scratch_path("set"), &(clg_folder_desc){.shape = CLG_SHAPE(0, 5, 4)});
    no_failure();
    assert_true(clg_shape_equal(clg_dataset_shape(data), CLG_SHAPE(3, 3, 5, 4)));
    clg_dataset_destroy(&data);
    static const char *const names[] = {"b", "c"};
    assert_null(clg_dataset_open_folder(ctx, scratch_path("set"), &(clg_folder_desc){.names = names, .classes = 2}));
    expect_failure("set/a", "not one of the classes");
    mkdir(scratch_path("set/c"), 0777);
    assert_null(clg_dataset_open_folder(ctx, scratch_path("set"), NULL));
    expect_failure("set/c", "no picture in it");
    scratch_write("set/a/1.png", "no PNG", 6);
    remove(scratch_path("set/c"));
    assert_null(clg_dataset_open_folder(ctx, scratch_path("set"), NULL));
    expect_failure("set/a/1.png", "");
    assert_null(clg_dataset_open_folder(ctx, scratch_path("nowhere"), NULL));
    expect_failure("nowhere", "No such file");
    clear_folders();
}

/* ---- streaming -------------------------------------------------------------------------------------------------- */

static void streamed_batches_are_the_same(void **state)
{
    (void)state;
    enum { ROWS = 53, WIDTH = 700, BATCH = 8 };
    static uint8_t bytes[ROWS * WIDTH];
    int32_t        labels[ROWS];
    for (int i = 0; i < ROWS * WIDTH; i++) bytes[i] = (uint8_t)clg_random_u32(1, (uint64_t)i);
    for (int i = 0; i < ROWS; i++) labels[i] = i;
    clg_dataset_desc desc = {.dtype = CLG_U8, .shape = CLG_SHAPE(ROWS, WIDTH), .examples = bytes, .labels = labels};
    clg_dataset     *data[2];
    for (int k = 0; k < 2; k++) {
        desc.stream = k;
        data[k] = clg_dataset_create_from(ctx, &desc);
        assert_int_equal(clg_dataset_streams(data[k]), k);
    }
    clg_graph  *g = new_graph();
    clg_tensor *x = clg_input(g, CLG_F32, CLG_SHAPE(BATCH, WIDTH)), *y = clg_input(g, CLG_I32, CLG_SHAPE(BATCH));
    static float   pixels[2][BATCH * WIDTH];
    int32_t        answers[2][BATCH];
    for (int round = 0; round < 6; round++) {
        clg_loader_desc how = {.batch = BATCH, .shuffle = round > 0, .seed = (uint64_t)(round / 2), .drop_last = round == 3};
        clg_loader it[2] = {clg_loader_begin(data[0], &how), clg_loader_begin(data[1], &how)};
        for (int batch = 0;; batch++) {
            bool more[2];
            for (int k = 0; k < 2; k++) {
                more[k] = clg_loader_next(&it[k], x, y);
                if (!more[k]) continue;
                assert_int_equal(clg_tensor_read(x, pixels[k], sizeof pixels[k]), CLG_OK);
                assert_int_equal(clg_tensor_read(y, answers[k], sizeof answers[k]), CLG_OK);
            }
            no_failure();
            assert_int_equal(more[0], more[1]);
            if (!more[0]) break;
            assert_memory_equal(pixels[0], pixels[1], sizeof pixels[0]);
            assert_memory_equal(answers[0], answers[1], sizeof answers[0]);
            if (round == 2 && batch == 2) break; /* what was sent ahead is not what comes next */
        }
    }
    float mean[2][WIDTH], deviation[2][WIDTH];
    for (int k = 0; k < 2; k++) assert_int_equal(clg_dataset_moments(data[k], mean[k], deviation[k]), CLG_OK);
    assert_memory_equal(mean[0], mean[1], sizeof mean[0]);
    clg_dataset *part = clg_dataset_part(data[1], &(clg_part_desc){.begin = 10, .end = 26});
    clg_loader   it = clg_loader_begin(part, &(clg_loader_desc){.batch = BATCH});
    for (int b = 0; b < 2; b++) {
        assert_true(clg_loader_next(&it, x, y));
        assert_int_equal(clg_tensor_read(x, pixels[0], sizeof pixels[0]), CLG_OK);
        for (int i = 0; i < BATCH * WIDTH; i++)
            assert_true(fabsf(pixels[0][i] - bytes[(10 + b * BATCH) * WIDTH + i] / 255.0f) < 1e-6f);
    }
    assert_false(clg_loader_next(&it, x, y));
    clg_dataset_destroy(&part);
    for (int k = 0; k < 2; k++) clg_dataset_destroy(&data[k]);
    clg_graph_destroy(&g);
    no_failure();
}

int main(void)
{
    const struct CMUnitTest cells[] = {
        cmocka_unit_test(csv_parses),
        cmocka_unit_test(csv_knows_its_lines),
        cmocka_unit_test(csv_refuses),
        cmocka_unit_test(csv_survives_mutation),
        cmocka_unit_test(csv_numbers),
        cmocka_unit_test(npy_parses),
        cmocka_unit_test(npy_refuses),
    };
    const struct CMUnitTest sets[] = {
        cmocka_unit_test(checksums_tell_data_apart), cmocka_unit_test(csv_classes),
        cmocka_unit_test(csv_features_are_found_by_name),
        cmocka_unit_test(csv_targets_and_parts),
        cmocka_unit_test(csv_data_sets_refuse),
        cmocka_unit_test(npy_data_sets),
        cmocka_unit_test(folders_of_pictures),
        cmocka_unit_test(streamed_batches_are_the_same),
    };
    const int failed = cmocka_run_group_tests(cells, NULL, NULL);
    return failed + cmocka_run_group_tests(sets, open_all, close_all) != 0;
}
