/* test_data.c - the shuffle, and the IDX reader against files that lie; no device. */
#include "base/base.h"
#include "data/idx.h"
#include "data/shuffle.h"
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <sys/stat.h>
#include <zlib.h>

#include "scratch.h"

/* ---- shuffle ---------------------------------------------------------------------------------------------------- */

static void shuffle_is_a_permutation(void **state)
{
    (void)state;
    static const uint32_t counts[] = {1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 31, 64, 97, 100, 127, 128, 129, 255, 256, 257,
                                      1000, 1023, 1024, 1025, 4099, 10000, 59999, 60000, 65536, 65537};
    for (size_t c = 0; c < CLG__COUNT(counts); c++) {
        const uint32_t n = counts[c];
        uint8_t *seen = calloc(n, 1);
        assert_non_null(seen);
        const clg__shuffle s = clg__shuffle_begin(n, 42 + c);
        for (uint32_t i = 0; i < n; i++) {
            const uint32_t to = clg__shuffle_at(&s, i);
            assert_true(to < n);
            assert_int_equal(seen[to]++, 0);
        }
        free(seen);
    }
}

static void shuffle_depends_on_the_seed(void **state)
{
    (void)state;
    enum { N = 1000 };
    const clg__shuffle a = clg__shuffle_begin(N, 1), again = clg__shuffle_begin(N, 1), b = clg__shuffle_begin(N, 2);
    int same = 0, fixed = 0;
    for (uint32_t i = 0; i < N; i++) {
        assert_int_equal(clg__shuffle_at(&a, i), clg__shuffle_at(&again, i));
        same += clg__shuffle_at(&a, i) == clg__shuffle_at(&b, i);
        fixed += clg__shuffle_at(&a, i) == i;
    }
    assert_true(same < 10); /* about 1 expected, as for any two random permutations */
    assert_true(fixed < 10);
}

/* Where one element goes, over many seeds: Pearson's chi-square with n - 1 degrees of freedom stays below its mean plus
 * five standard deviations, sqrt(2 (n - 1)). */
static void shuffle_is_uniform(void **state)
{
    (void)state;
    static const uint32_t counts[] = {2, 3, 6, 10, 37, 100};
    enum { PER_CELL = 200 };
    for (size_t c = 0; c < CLG__COUNT(counts); c++) {
        const uint32_t n = counts[c];
        for (uint32_t element = 0; element < n; element += CLG__MAX(n / 3, 1)) {
            double cell[100] = {0}, chi = 0.0;
            for (uint64_t seed = 0; seed < (uint64_t)n * PER_CELL; seed++) {
                const clg__shuffle s = clg__shuffle_begin(n, seed);
                cell[clg__shuffle_at(&s, element)] += 1.0;
            }
            for (uint32_t i = 0; i < n; i++) chi += (cell[i] - PER_CELL) * (cell[i] - PER_CELL) / PER_CELL;
            assert_true(chi < n - 1 + 5.0 * sqrt(2.0 * (n - 1)));
        }
    }
}

/* Neighbours in the data do not stay neighbours in a batch. */
static void shuffle_parts_neighbours(void **state)
{
    (void)state;
    enum { N = 60000 };
    const clg__shuffle s = clg__shuffle_begin(N, 7);
    double sum = 0.0;
    for (uint32_t i = 1; i < N; i++) sum += fabs((double)clg__shuffle_at(&s, i) - (double)clg__shuffle_at(&s, i - 1));
    assert_true(fabs(sum / (N - 1) - N / 3.0) < N * 0.01); /* two uniform places lie n/3 apart on average */
}

/* ---- IDX -------------------------------------------------------------------------------------------------------- */

static const uint8_t two_images[] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3,
                                     1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

static void idx_parses(void **state)
{
    (void)state;
    clg__idx idx;
    char error[256] = "";
    assert_int_equal(clg__idx_parse(two_images, sizeof two_images, 3, &idx, error, sizeof error), CLG_OK);
    assert_int_equal(idx.dim[0], 2);
    assert_int_equal(idx.dim[1], 2);
    assert_int_equal(idx.dim[2], 3);
    assert_int_equal(idx.size, 12);
    assert_ptr_equal(idx.data, two_images + 16);
}

typedef struct malformed {
    const char *what, *complaint;
    size_t      size;
    uint8_t     bytes[24];
} malformed;

static const malformed malformed_idx[] = {
    {"empty", "truncated", 0, {0}},
    {"half a magic", "truncated", 2, {0, 0}},
    {"half a header", "truncated", 10, {0, 0, 8, 3, 0, 0, 0, 1, 0, 0}},
    {"not IDX", "not an IDX file", 16, {'P', 'K', 3, 4}},
    {"gzip where plain was meant", "not an IDX file", 16, {0x1f, 0x8b, 8, 0}},
    {"floats", "00 00 08 03", 16, {0, 0, 0x0d, 3}},
    {"labels for images", "00 00 08 01", 16, {0, 0, 8, 1}},
    {"no images", "empty", 16, {0, 0, 8, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1}},
    {"no pixels", "empty", 16, {0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1}},
    {"data missing", "truncated", 17, {0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 5}},
    {"data to spare", "trailing", 18, {0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 5, 6}},
    {"2^96", "product", 16, {0, 0, 8, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}},
    {"2^64, which wraps to 0", "product", 16, {0, 0, 8, 3, 0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 4}},
    {"2^62 in a small file", "truncated", 16, {0, 0, 8, 3, 0x80, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 1}},
};

static void idx_refuses(void **state)
{
    (void)state;
    for (size_t i = 0; i < CLG__COUNT(malformed_idx); i++) {
        const malformed *m = &malformed_idx[i];
        uint8_t *bytes = malloc(m->size ? m->size : 1); /* exactly as long as the file, for the address sanitizer */
        assert_non_null(bytes);
        memcpy(bytes, m->bytes, m->size);
        clg__idx idx;
        char error[512] = "";
        assert_int_equal(clg__idx_parse(bytes, m->size, 3, &idx, error, sizeof error), CLG_FORMAT);
        if (!strstr(error, m->complaint)) fail_msg("%s: '%s' does not say '%s'", m->what, error, m->complaint);
        free(bytes);

        scratch_write("lie", m->bytes, m->size);
        uint8_t *read = NULL;
        const clg_status status = clg__idx_read(scratch_path("lie"), 3, &read, &idx, error, sizeof error);
        assert_true(status != CLG_OK);
        assert_null(read);
        if (!strstr(error, scratch_path("lie"))) fail_msg("%s: '%s' does not name the file", m->what, error);
    }
    scratch_files(true);
}

static void idx_survives_mutation(void **state)
{
    (void)state;
    uint8_t bytes[sizeof two_images];
    for (uint64_t round = 0; round < 20000; round++) {
        memcpy(bytes, two_images, sizeof bytes);
        for (uint64_t k = 0; k < 1 + round % 4; k++)
            bytes[clg_random_u32(round, 2 * k) % 16] = (uint8_t)clg_random_u32(round, 2 * k + 1);
        const size_t size = clg_random_u32(round, 99) % (sizeof bytes + 1);
        clg__idx idx;
        char error[256];
        if (clg__idx_parse(bytes, size, 3, &idx, error, sizeof error) == CLG_OK) {
            assert_true(idx.data + idx.size == bytes + size);
            assert_int_equal(idx.dim[0] * idx.dim[1] * idx.dim[2], idx.size);
        }
    }
}

static void write_gzip(const char *name, const void *bytes, size_t size)
{
    gzFile file = gzopen(scratch_path(name), "wb");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, bytes, (unsigned)size), (int)size);
    assert_int_equal(gzclose(file), Z_OK);
}

static clg_status read_scratch_idx(const char *name, char *error, size_t error_size)
{
    uint8_t *bytes = NULL;
    clg__idx idx;
    const clg_status status = clg__idx_read(scratch_path(name), 3, &bytes, &idx, error, error_size);
    if (!status) assert_memory_equal(idx.data, two_images + 16, idx.size);
    free(bytes);
    return status;
}

static void idx_reads_gzip(void **state)
{
    (void)state;
    char error[512] = "";
    scratch_write("plain", two_images, sizeof two_images);
    write_gzip("whole.gz", two_images, sizeof two_images);
    assert_int_equal(read_scratch_idx("plain", error, sizeof error), CLG_OK);
    assert_int_equal(read_scratch_idx("whole.gz", error, sizeof error), CLG_OK);

    size_t size;
    uint8_t *gz = scratch_read("whole.gz", &size);
    for (size_t cut = 0; cut < size; cut++) {
        scratch_write("cut.gz", gz, cut);
        assert_int_equal(read_scratch_idx("cut.gz", error, sizeof error), CLG_FORMAT);
    }
    gz[size - 6] ^= 1; /* the checksum */
    scratch_write("corrupt.gz", gz, size);
    assert_int_equal(read_scratch_idx("corrupt.gz", error, sizeof error), CLG_FORMAT);
    assert_non_null(strstr(error, "corrupt"));
    free(gz);
    scratch_files(true);
}

/* A quarter of a gigabyte of zeros in a small file whose header announces twelve bytes is not inflated. */
static void idx_stops_at_a_bomb(void **state)
{
    (void)state;
    gzFile file = gzopen(scratch_path("bomb.gz"), "wb1");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, two_images, sizeof two_images), (int)sizeof two_images);
    static const uint8_t zeros[1 << 16];
    for (int i = 0; i < 4096; i++) assert_int_equal(gzwrite(file, zeros, sizeof zeros), (int)sizeof zeros);
    assert_int_equal(gzclose(file), Z_OK);
    char error[512] = "";
    assert_int_equal(read_scratch_idx("bomb.gz", error, sizeof error), CLG_FORMAT);
    assert_non_null(strstr(error, "trailing"));
    scratch_files(true);
}

static void idx_refuses_what_is_no_file(void **state)
{
    (void)state;
    char error[512] = "";
    assert_int_equal(read_scratch_idx("nowhere", error, sizeof error), CLG_IO);
    assert_non_null(strstr(error, strerror(ENOENT)));
    assert_int_equal(mkdir(scratch_path("folder"), 0777), 0);
    assert_int_equal(read_scratch_idx("folder", error, sizeof error), CLG_IO);
    assert_int_equal(mkfifo(scratch_path("pipe"), 0666), 0);
    assert_int_equal(read_scratch_idx("pipe", error, sizeof error), CLG_IO);
    if (geteuid() != 0) { /* root may read anything */
        scratch_write("secret", two_images, sizeof two_images);
        assert_int_equal(chmod(scratch_path("secret"), 0), 0);
        assert_int_equal(read_scratch_idx("secret", error, sizeof error), CLG_IO);
        assert_non_null(strstr(error, strerror(EACCES)));
    }
    scratch_files(true);
}

int main(void)
{
    const struct CMUnitTest shuffle[] = {
        cmocka_unit_test(shuffle_is_a_permutation),
        cmocka_unit_test(shuffle_depends_on_the_seed),
        cmocka_unit_test(shuffle_is_uniform),
        cmocka_unit_test(shuffle_parts_neighbours),
    };
    const struct CMUnitTest idx[] = {
        cmocka_unit_test(idx_parses),
        cmocka_unit_test(idx_refuses),
        cmocka_unit_test(idx_survives_mutation),
        cmocka_unit_test(idx_reads_gzip),
        cmocka_unit_test(idx_stops_at_a_bomb),
        cmocka_unit_test(idx_refuses_what_is_no_file),
    };
    int failed = cmocka_run_group_tests(shuffle, NULL, NULL);
    failed += cmocka_run_group_tests(idx, scratch_create, scratch_remove);
    return failed != 0;
}
