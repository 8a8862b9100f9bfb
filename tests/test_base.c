/* test_base.c - what everything rests upon: numbers, shapes, random streams, arenas, texts, objects and errors. */
#include "base/base.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "scratch.h"

/* ---- random numbers --------------------------------------------------------------------------------------------- */

static void philox_matches_the_published_answers(void **state) /* kat_vectors of Random123, philox4x32 10 */
{
    (void)state;
    static const struct {
        uint32_t counter[4];
        uint64_t key;
        uint32_t answer[4];
    } known[] = {
        {{0, 0, 0, 0}, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX}, UINT64_MAX,
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, UINT64_C(0x299f31d0a4093822),
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < CLG__COUNT(known); i++) {
        uint32_t out[4];
        clg__philox(known[i].counter, known[i].key, out);
        assert_memory_equal(out, known[i].answer, sizeof out);
    }
}

static void streams_are_words_of_consecutive_counters(void **state)
{
    (void)state;
    static const uint64_t blocks[] = {0, 1, UINT32_MAX, (uint64_t)UINT32_MAX + 1, UINT64_MAX / 4};
    for (size_t b = 0; b < CLG__COUNT(blocks); b++) {
        uint32_t out[4];
        clg__philox((const uint32_t[4]){(uint32_t)blocks[b], (uint32_t)(blocks[b] >> 32)}, 77, out);
        for (uint64_t i = 0; i < 4; i++) assert_int_equal(clg_random_u32(77, blocks[b] * 4 + i), out[i]);
    }
}

static void uniform_lies_in_its_range_and_is_even(void **state)
{
    (void)state;
    enum { N = 40000 };
    double sum = 0.0, squares = 0.0;
    for (uint64_t i = 0; i < N; i++) {
        const double u = (double)clg_random_uniform(3, i);
        assert_true(u >= 0.0 && u < 1.0);
        assert_true(u * 0x1p24 == (double)(uint32_t)(u * 0x1p24));
        sum += u;
        squares += u * u;
    }
    assert_true(sum / N > 0.49 && sum / N < 0.51);
    assert_true(squares / N > 0.323 && squares / N < 0.343);
    assert_int_not_equal(clg_random_u32(3, 0), clg_random_u32(4, 0));
}

/* ---- numbers and shapes ----------------------------------------------------------------------------------------- */

static void hash_is_fnv1a_and_can_be_continued(void **state)
{
    (void)state;
    assert_true(clg__hash(0, "", 0) == UINT64_C(0xcbf29ce484222325));
    assert_true(clg__hash(0, "a", 1) == UINT64_C(0xaf63dc4c8601ec8c));
    assert_true(clg__hash(0, "foobar", 6) == UINT64_C(0x85944171f73967e8));
    assert_true(clg__hash(clg__hash(0, "foo", 3), "bar", 3) == clg__hash(0, "foobar", 6));
}

static void products_overflow_noticed(void **state)
{
    (void)state;
    int64_t p = -1;
    assert_false(clg__mul_overflows(0, INT64_MAX, &p));
    assert_int_equal(p, 0);
    assert_false(clg__mul_overflows(INT64_MAX, 1, &p));
    assert_true(p == INT64_MAX);
    assert_false(clg__mul_overflows(INT64_C(1) << 31, INT64_C(1) << 31, &p));
    assert_true(p == INT64_C(1) << 62);
    assert_true(clg__mul_overflows(INT64_C(1) << 32, INT64_C(1) << 31, &p));
    assert_true(clg__mul_overflows(INT64_MAX, 2, &p));
    assert_true(clg__mul_overflows(3037000500, 3037000500, &p));
}

static void shapes_are_counted(void **state)
{
    (void)state;
    assert_int_equal(clg_shape_count(CLG_SCALAR), 1);
    assert_int_equal(clg_shape_count(CLG_SHAPE(2, 3, 5)), 30);
    assert_int_equal(clg_shape_count(CLG_SHAPE(2, 0, 5)), 0);
    assert_int_equal(clg_shape_count(CLG_SHAPE(2, -1, 5)), -1);
    assert_int_equal(clg_shape_count((clg_shape){.rank = -1}), -1);
    assert_int_equal(clg_shape_count((clg_shape){.rank = CLG_MAX_RANK + 1}), -1);
    assert_int_equal(clg_shape_count(CLG_SHAPE(INT64_MAX, 2)), -1);
    assert_int_equal(clg_shape_count(CLG_SHAPE(INT64_MAX, 2, 0)), -1);
    assert_int_equal(clg_shape_count(CLG_SHAPE(0, INT64_MAX, 2)), -1);
    assert_true(clg_shape_count(CLG_SHAPE(1, INT64_MAX, 1, 1, 1, 1)) == INT64_MAX);
}

static void shapes_are_compared(void **state)
{
    (void)state;
    clg_shape a = CLG_SHAPE(2, 3), b = CLG_SHAPE(2, 3);
    b.dim[5] = 99; /* beyond the rank: means nothing */
    assert_true(clg_shape_equal(a, b));
    assert_false(clg_shape_equal(a, CLG_SHAPE(3, 2)));
    assert_false(clg_shape_equal(a, CLG_SHAPE(2, 3, 1)));
    assert_true(clg_shape_equal(CLG_SCALAR, CLG_SCALAR));
    assert_false(clg_shape_equal((clg_shape){.rank = 100}, (clg_shape){.rank = 100}));
}

static void shapes_are_written(void **state)
{
    (void)state;
    char text[128];
    assert_string_equal(clg_shape_text(CLG_SHAPE(128, 1, 28, 28), text, sizeof text), "[128, 1, 28, 28]");
    assert_string_equal(clg_shape_text(CLG_SCALAR, text, sizeof text), "[]");
    assert_string_equal(clg_shape_text((clg_shape){.rank = 9}, text, sizeof text), "[rank 9]");
    clg_shape longest = {.rank = CLG_MAX_RANK};
    for (int i = 0; i < CLG_MAX_RANK; i++) longest.dim[i] = INT64_MAX;
    assert_int_equal(strlen(clg_shape_text(longest, text, sizeof text)), 6 * 19 + 5 * 2 + 2); /* 128 bytes suffice */
    for (size_t size = 1; size < 20; size++) { /* terminated in whatever room there is, and nothing beyond it */
        memset(text, 'x', sizeof text);
        clg_shape_text(CLG_SHAPE(128, 1, 28, 28), text, size);
        assert_int_equal(strlen(text), size < 17 ? size - 1 : 16);
        assert_int_equal(text[size], 'x');
    }
}

static void shapes_broadcast_as_in_numpy(void **state)
{
    (void)state;
    static const struct {
        clg_shape a, b, out; /* out of rank -1: they do not */
    } rows[] = {
        {{.rank = 0}, {.rank = 0}, {.rank = 0}},
        {{.rank = 0}, {2, {3, 4}}, {2, {3, 4}}},
        {{1, {4}}, {2, {3, 4}}, {2, {3, 4}}},
        {{2, {3, 1}}, {2, {1, 4}}, {2, {3, 4}}},
        {{3, {8, 1, 6}}, {4, {7, 1, 5, 1}}, {4, {7, 8, 5, 6}}},
        {{1, {3}}, {2, {3, 4}}, {.rank = -1}},
        {{2, {2, 3}}, {2, {3, 3}}, {.rank = -1}},
        {{2, {0, 3}}, {2, {1, 3}}, {2, {0, 3}}},
        {{2, {0, 3}}, {2, {2, 3}}, {.rank = -1}},
        {{2, {INT64_MAX, 1}}, {2, {1, 2}}, {.rank = -1}},
        {{.rank = 7}, {1, {1}}, {.rank = -1}},
    };
    for (size_t i = 0; i < CLG__COUNT(rows); i++) {
        clg_shape out = {0};
        const bool fits = rows[i].out.rank >= 0;
        assert_int_equal(clg__broadcast(rows[i].a, rows[i].b, &out), fits);
        if (fits) assert_true(clg_shape_equal(out, rows[i].out));
        assert_int_equal(clg__broadcast(rows[i].b, rows[i].a, &out), fits);
        if (fits) assert_true(clg_shape_equal(out, rows[i].out));
    }
}

static void tables_answer_for_every_code(void **state)
{
    (void)state;
    assert_string_equal(clg_status_text(CLG_OK), "success");
    assert_string_equal(clg_status_text(CLG_INTERNAL), "internal error, please report it");
    assert_string_equal(clg_status_text((clg_status)1000), "unknown status");
    assert_int_equal(clg_dtype_size(CLG_F32) + clg_dtype_size(CLG_I32) + clg_dtype_size(CLG_U8), 9);
    assert_int_equal(clg_dtype_size((clg_dtype)1000), 0);
    assert_string_equal(clg_dtype_name(CLG_U8), "u8");
    assert_string_equal(clg_version(), CLG_VERSION);
}

/* ---- arena and text --------------------------------------------------------------------------------------------- */

static void arena_gives_zeroed_aligned_pieces(void **state)
{
    (void)state;
    enum { N = 3000 };
    static unsigned char *piece[N];
    static size_t         size[N];
    clg__arena arena = {0};
    for (size_t i = 0; i < N; i++) {
        size[i] = i % 500 == 499 ? 100000 : clg_random_u32(1, i) % 100;
        piece[i] = clg__arena_alloc(&arena, size[i]);
        assert_non_null(piece[i]);
        assert_int_equal((uintptr_t)piece[i] % _Alignof(max_align_t), 0);
        for (size_t j = 0; j < size[i]; j++) assert_int_equal(piece[i][j], 0);
        memset(piece[i], (int)(i % 251) + 1, size[i]);
    }
    for (size_t i = 0; i < N; i++) /* nobody wrote into another's piece */
        for (size_t j = 0; j < size[i]; j++) assert_int_equal(piece[i][j], i % 251 + 1);
    assert_true(piece[0] != piece[1]);
    assert_null(clg__arena_alloc(&arena, SIZE_MAX));
    assert_string_equal(clg__arena_printf(&arena, "%s %d", "layer", 7), "layer 7");
    clg__arena_free(&arena);
    assert_null(arena.blocks);
    assert_non_null(clg__arena_alloc(&arena, 1)); /* usable again */
    clg__arena_free(&arena);
}

static void text_grows(void **state)
{
    (void)state;
    clg__text text = {0};
    for (int i = 0; i < 5000; i++) clg__text_append(&text, "%05d", i);
    assert_false(text.failed);
    assert_int_equal(text.size, 25000);
    assert_int_equal(strlen(text.data), 25000);
    assert_memory_equal(text.data + 5 * 4321, "04321", 5);
    clg__text_free(&text);
    assert_null(text.data);
    clg__text_append(&text, "%s", "");
    assert_string_equal(text.data, "");
    clg__text_free(&text);
}

/* ---- objects and errors ----------------------------------------------------------------------------------------- */

typedef struct thing {
    clg__object object;
    int         id;
    struct thing *takes_along;
} thing;

static int destroyed[8], destroyed_count;

static void destroy_thing(clg__object *object)
{
    thing *t = (thing *)object;
    destroyed[destroyed_count++] = t->id;
    if (t->takes_along) clg__destroy(&t->takes_along->object);
    free(t);
}

static thing *new_thing(clg__root *root, int id)
{
    thing *t = clg__calloc(root, 1, sizeof *t);
    assert_non_null(t);
    clg__adopt(root, &t->object, destroy_thing);
    t->id = id;
    return t;
}

static void utf8_is_told_from_what_is_not(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int         fault; /* -1: none */
    } rows[] = {{"", -1}, {"plain\x7f\n", -1}, {"caf\xc3\xa9", -1}, {"\xe0\xa0\x80\xed\x9f\xbf\xef\xbf\xbf", -1},
                {"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", -1}, {"caf\xe9", 3}, {"caf\xe9 noir", 3}, {"\x80", 0}, {"a\xc3", 1},
                {"a\xc3z", 1}, {"\xc1\xbf", 0}, {"\xe0\x9f\xbf", 0}, {"\xed\xa0\x80", 0}, {"\xe2\x82", 0}, {"\xe2\x82z", 0},
                {"\xf0\x8f\xbf\xbf", 0}, {"\xf4\x90\x80\x80", 0}, {"\xf5\x80\x80\x80", 0}, {"\xf1\x80\x80z", 0},
                {"\xff\x80\x80\x80\x80\x80\x80", 0}, {"\xf8\x88\x80\x80\x80", 0}};
    for (size_t i = 0; i < CLG__COUNT(rows); i++) {
        const char *fault = clg_utf8_fault(rows[i].text, strlen(rows[i].text));
        const int   at = fault ? (int)(fault - rows[i].text) : -1;
        if (at != rows[i].fault) fail_msg("row %zu: at %d, not %d", i, at, rows[i].fault);
    }
}

static void children_go_newest_first(void **state)
{
    (void)state;
    clg__root root = {0};
    destroyed_count = 0;
    thing *t[6];
    for (int i = 0; i < 6; i++) t[i] = new_thing(&root, i);
    clg__destroy(&t[2]->object); /* from the middle, */
    clg__destroy(&t[5]->object); /* the newest, */
    clg__destroy(&t[0]->object); /* the oldest */
    t[4]->takes_along = t[3];
    clg__root_destroy_children(&root);
    clg__destroy(NULL);
    assert_int_equal(destroyed_count, 6);
    assert_memory_equal(destroyed, ((const int[]){2, 5, 0, 4, 3, 1}), 6 * sizeof(int));
    assert_null(root.newest);
}

static void first_error_wins(void **state)
{
    (void)state;
    clg__root root = {0};
    assert_int_equal(clg__report(&root, CLG_IO, "no file %d", 1), CLG_IO);
    assert_int_equal(root.status, CLG_OK);
    assert_string_equal(root.text, "no file 1");
    assert_int_equal(clg__fail(&root, CLG_INVALID_SHAPE, "conv: %s", root.text), CLG_INVALID_SHAPE);
    assert_string_equal(root.text, "conv: no file 1");
    assert_int_equal(clg__fail(&root, CLG_IO, "later"), CLG_IO);
    assert_int_equal(clg__report(&root, CLG_IO, "later"), CLG_IO);
    assert_int_equal(root.status, CLG_INVALID_SHAPE);
    assert_string_equal(root.text, "conv: no file 1");
    assert_int_equal(clg__fail(NULL, CLG_IO, "nobody listens"), CLG_IO);

    clg__root other = {0};
    char      wide[2 * CLG__ERROR_TEXT];
    memset(wide, 'w', sizeof wide - 1);
    wide[sizeof wide - 1] = '\0';
    clg__fail(&other, CLG_IO, "%s", wide);
    assert_int_equal(strlen(other.text), CLG__ERROR_TEXT - 1);
}

static void calloc_reports_what_cannot_be(void **state)
{
    (void)state;
    clg__root root = {0};
    assert_null(clg__calloc(&root, SIZE_MAX / 2, 3));
    assert_int_equal(root.status, CLG_OUT_OF_MEMORY);
    clg__root other = {0};
    void     *empty = clg__calloc(&other, 0, 8);
    assert_non_null(empty);
    free(empty);
    assert_int_equal(other.status, CLG_OK);
}

/* ---- files that only save time ----------------------------------------------------------------------------------- */

static clg__cache_key key_of(const char *text)
{
    clg__cache_key key = {0};
    clg__cache_key_add(&key, text, strlen(text));
    return key;
}

static bool is_kept(const char *text, size_t bytes)
{
    const clg__cache_key key = key_of(text);
    size_t               size = 0;
    unsigned char       *data = clg__cache_read(scratch_dir, &key, &size);
    bool                 right = data && size == bytes;
    for (size_t i = 0; right && i < size; i++) right = data[i] == (unsigned char)(i * 7);
    assert_true(data || size == 0);
    free(data);
    return right;
}

static void keep(const char *text, size_t bytes)
{
    const clg__cache_key key = key_of(text);
    unsigned char       *data = malloc(bytes + 1);
    assert_non_null(data);
    for (size_t i = 0; i < bytes; i++) data[i] = (unsigned char)(i * 7);
    clg__cache_write(scratch_dir, &key, data, bytes);
    free(data);
}

static char room[256];

static void *look_for_room(void *faults)
{
    for (int i = 0; i < 300; i++) *(int *)faults |= clg__directory_fault(room);
    return NULL;
}

static void threads_look_for_room_at_once(void **state)
{
    (void)state;
    pthread_t thread;
    int       faults[2] = {0};
    snprintf(room, sizeof room, "%s", scratch_path("a/b"));
    assert_int_equal(pthread_create(&thread, NULL, look_for_room, &faults[0]), 0);
    look_for_room(&faults[1]);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(!faults[0] && !faults[1]);
}

static void cache_keeps_what_it_is_given(void **state)
{
    scratch_create(state);
    static const size_t sizes[] = {0, 1, 31, 32, 33, 1000};
    for (size_t i = 0; i < CLG__COUNT(sizes); i++) {
        char name[8] = {(char)('a' + i)};
        assert_false(is_kept(name, sizes[i]));
        keep(name, sizes[i]);
        assert_true(is_kept(name, sizes[i]));
        assert_int_equal(scratch_files(false), i + 1);
    }
    const clg__cache_key key = key_of("a");
    clg__cache_write(NULL, &key, "", 0);
    assert_null(clg__cache_read(NULL, &key, &(size_t){0}));
    scratch_remove(state);
}

static void cache_has_nothing_where_a_bit_has_flipped(void **state)
{
    enum { BYTES = 3000, FLIPS = 1000 };
    scratch_create(state);
    keep("a", BYTES);
    char name[32];
    snprintf(name, sizeof name, "%016llx.bin", (unsigned long long)key_of("a").hash[0]);
    size_t   size;
    uint8_t *bytes = scratch_read(name, &size);
    for (uint64_t i = 0; i < FLIPS; i++) {
        const size_t  at = clg_random_u32(1, 2 * i) % size;
        const uint8_t bit = (uint8_t)(1u << clg_random_u32(1, 2 * i + 1) % 8);
        bytes[at] ^= bit;
        scratch_write(name, bytes, size);
        if (is_kept("a", BYTES)) fail_msg("byte %zu may differ by %d", at, bit);
        bytes[at] ^= bit;
    }
    scratch_write(name, bytes, size);
    assert_true(is_kept("a", BYTES));
    char beside[64];
    snprintf(beside, sizeof beside, "%s.real", name);
    char from[512], to[512];
    strcpy(from, scratch_path(name));
    strcpy(to, scratch_path(beside));
    assert_int_equal(rename(from, to), 0);
    assert_int_equal(symlink(to, from), 0);
    assert_false(is_kept("a", BYTES)); /* a link is not followed */
    free(bytes);
    scratch_remove(state);
}

static void cache_forgets_what_was_not_used_for_longest(void **state)
{
    scratch_create(state);
    scratch_write("not-mine.bin", "x", 1);
    static const char *const names[] = {"one", "two", "three", "four"};
    for (int i = 0; i < 4; i++) keep(names[i], 1000);
    assert_int_equal(scratch_files(false), 5);
    clg__cache_trim(scratch_dir, 1 << 20);
    assert_int_equal(scratch_files(false), 5);
    assert_true(is_kept("one", 1000)); /* used again, so that two is the oldest now */
    clg__cache_trim(scratch_dir, 3500);
    assert_int_equal(scratch_files(false), 4);
    assert_false(is_kept("two", 1000));
    assert_true(is_kept("one", 1000) && is_kept("three", 1000) && is_kept("four", 1000));
    clg__cache_trim(scratch_dir, 0);
    assert_int_equal(scratch_files(false), 1); /* what is not the cache's own stays */
    scratch_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_matches_the_published_answers),
        cmocka_unit_test(streams_are_words_of_consecutive_counters),
        cmocka_unit_test(uniform_lies_in_its_range_and_is_even),
        cmocka_unit_test(hash_is_fnv1a_and_can_be_continued),
        cmocka_unit_test(products_overflow_noticed),
        cmocka_unit_test(shapes_are_counted),
        cmocka_unit_test(shapes_are_compared),
        cmocka_unit_test(shapes_are_written),
        cmocka_unit_test(shapes_broadcast_as_in_numpy),
        cmocka_unit_test(tables_answer_for_every_code),
        cmocka_unit_test(arena_gives_zeroed_aligned_pieces),
        cmocka_unit_test(text_grows),
        cmocka_unit_test(utf8_is_told_from_what_is_not),
        cmocka_unit_test(children_go_newest_first),
        cmocka_unit_test(first_error_wins),
        cmocka_unit_test(calloc_reports_what_cannot_be),
        cmocka_unit_test(threads_look_for_room_at_once),
        cmocka_unit_test(cache_keeps_what_it_is_given),
        cmocka_unit_test(cache_has_nothing_where_a_bit_has_flipped),
        cmocka_unit_test(cache_forgets_what_was_not_used_for_longest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
