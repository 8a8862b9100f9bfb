/* test_fuzz.c - what the fuzzers start from and what they have found (tests/fuzz/corpus), and a number of mutations of each,
 * through every parser. tools/fuzz does the same in earnest. */
#include "base/base.h"
#include "fuzz/fuzz.h"
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MUTATIONS = 500, MOST_EDITS = 4, LARGEST = 1 << 16 };

static const char *corpus;

/* Byte flips, cuts and repeated stretches; returns the new size. The buffer has LARGEST bytes. */
static size_t mutate(uint8_t *bytes, size_t size, uint64_t seed)
{
    const uint32_t edits = 1 + clg_random_u32(seed, 0) % MOST_EDITS;
    for (uint32_t e = 0; e < edits; e++) {
        const uint32_t what = clg_random_u32(seed, 4 * e + 1), value = clg_random_u32(seed, 4 * e + 2);
        const size_t   at = size ? clg_random_u32(seed, 4 * e + 3) % size : 0, some = CLG__MIN(size - at, value % 32);
        if (size == 0) break;
        switch (what % 5) {
        case 0: bytes[at] ^= (uint8_t)(1u << value % 8); break;
        case 1: bytes[at] = (uint8_t)value; break;
        case 2: bytes[at] = value & 1 ? 0xff : 0; break;
        case 3: size = at; break;
        default:
            if (size + some > LARGEST) break;
            memmove(bytes + at + some, bytes + at, size - at);
            size += some;
        }
    }
    return size;
}

/* A buffer of exactly this size, so that a sanitizer or valgrind sees its end. */
static void run_on(const fuzz_target *t, const uint8_t *bytes, size_t size)
{
    uint8_t *exact = malloc(size ? size : 1);
    assert_non_null(exact);
    memcpy(exact, bytes, size);
    t->run(exact, size);
    free(exact);
}

static int replay(const fuzz_target *t, const char *path, uint64_t seed)
{
    static uint8_t seed_bytes[LARGEST], bytes[LARGEST];
    FILE          *file = fopen(path, "rb");
    assert_non_null(file);
    const size_t size = fread(seed_bytes, 1, sizeof seed_bytes, file);
    fclose(file);
    run_on(t, seed_bytes, size);
    for (uint64_t i = 0; i < MUTATIONS; i++) {
        memcpy(bytes, seed_bytes, size);
        run_on(t, bytes, mutate(bytes, size, seed * MUTATIONS + i));
    }
    return 1 + MUTATIONS;
}

static void every_parser_survives(void **state)
{
    (void)state;
    for (const fuzz_target *t = fuzz_targets; t->name; t++) {
        char path[1024];
        int  inputs = 0;
        snprintf(path, sizeof path, "%s/%s", corpus, t->name);
        DIR *dir = opendir(path);
        if (!dir) fail_msg("%s has no seeds", t->name);
        for (const struct dirent *e; (e = readdir(dir));) {
            snprintf(path, sizeof path, "%s/%s/%s", corpus, t->name, e->d_name);
            if (*e->d_name != '.') inputs += replay(t, path, (uint64_t)inputs);
        }
        closedir(dir);
        print_message("%s: %d inputs\n", t->name, inputs);
        assert_true(inputs > 0);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) return fprintf(stderr, "Usage: test_fuzz CORPUS\n"), 2;
    corpus = argv[1];
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_parser_survives)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
