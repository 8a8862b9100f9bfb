/* test_device.c - contexts, buffers, programs, their cache on disk, and kernels on the default device of this machine. */
#define _XOPEN_SOURCE 700 /* nftw */
#include "device/cl_types.h"
#include <clgrad/cl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static const char scale_source[] =
    "KERNEL scale(TENSOR(x), TENSOR(y), const uint n, const float f)\n"
    "{\n"
    "    for (uint i = get_global_id(0); i < n; i += get_global_size(0)) y[y_at + i] = f * x[x_at + i];\n"
    "}\n";

static char cache_home[64], cl_dir[64];

/* ---- contexts ---------------------------------------------------------------------------------------------------- */

static clg_context *open_context(bool no_cache)
{
    clg_context *ctx = clg_context_create(&(clg_context_desc){.no_cache = no_cache});
    assert_non_null(ctx);
    if (clg_context_failed(ctx)) fail_msg("%s", clg_context_error(ctx));
    return ctx;
}

static void contexts_that_cannot_open_say_why(void **state)
{
    (void)state;
    clg_context *ctx = clg_context_create(&(clg_context_desc){.device = "no such thing"});
    assert_non_null(ctx);
    for (int cleared = 0; cleared < 2; cleared++) {
        assert_true(clg_context_failed(ctx));
        assert_int_equal(clg_context_status(ctx), CLG_NO_DEVICE);
        assert_non_null(strstr(clg_context_error(ctx), "no such thing"));
        clg_context_clear_error(ctx); /* does not make a device appear */
    }
    assert_null(clg_context_device(ctx));
    assert_null(clg_context_cl_queue(ctx));
    assert_null(clg__buffer_create(ctx, 16, "a test"));
    assert_null(clg__program_get(ctx, &(clg__program_desc){.source = scale_source}));
    assert_null(clg__kernel_create(ctx, &(clg__kernel_desc){.name = "scale", .groups = {1}}));
    assert_int_equal(clg_context_finish(ctx), CLG_NO_DEVICE);
    assert_int_equal(clg_context_counters(ctx).allocations, 0);
    clg_context_destroy(&ctx);
    assert_null(ctx);

    ctx = clg_context_create(&(clg_context_desc){.profile = "gpu,wg=7"});
    assert_int_equal(clg_context_status(ctx), CLG_INVALID_ARGUMENT);
    assert_non_null(strstr(clg_context_error(ctx), "wg=7"));
    clg_context_destroy(&ctx);
}

static void no_context_is_a_failed_one(void **state)
{
    (void)state;
    clg_context *none = NULL;
    assert_true(clg_context_failed(NULL));
    assert_true(strlen(clg_context_error(NULL)) > 0);
    assert_string_equal(clg_context_build_log(NULL), "");
    assert_null(clg_context_device(NULL));
    assert_int_not_equal(clg_context_finish(NULL), CLG_OK);
    assert_int_not_equal(clg__buffer_write(NULL, NULL, 0, "", 1), CLG_OK);
    clg_context_clear_error(NULL);
    clg_context_destroy(&none);
    clg_context_destroy(NULL);
}

static void environment_chooses_device_and_profile(void **state)
{
    (void)state;
    setenv("CLGRAD_PROFILE", "gpu,wg=32,clblast=0", 1);
    clg_context *ctx = open_context(true);
    assert_string_equal(clg_context_device(ctx)->profile.base, "gpu");
    assert_int_equal(clg_context_device(ctx)->profile.wg, 32);
    assert_string_equal(clg_context_device(ctx)->gemm_engine, "built-in");
    clg_context_destroy(&ctx);
    ctx = clg_context_create(&(clg_context_desc){.profile = "cpu"}); /* what is said counts more */
    assert_string_equal(clg_context_device(ctx)->profile.base, "cpu");
    clg_context_destroy(&ctx);
    unsetenv("CLGRAD_PROFILE");

    const char *device = getenv("CLGRAD_DEVICE"); /* whoever runs the tests may have chosen one */
    char *kept = device ? strdup(device) : NULL;
    setenv("CLGRAD_DEVICE", "no such thing", 1);
    ctx = clg_context_create(NULL);
    assert_int_equal(clg_context_status(ctx), CLG_NO_DEVICE);
    clg_context_destroy(&ctx);
    if (kept) setenv("CLGRAD_DEVICE", kept, 1);
    else unsetenv("CLGRAD_DEVICE");
    free(kept);
}

/* ---- buffers ----------------------------------------------------------------------------------------------------- */

static void bytes_come_back_from_where_they_went(void **state)
{
    (void)state;
    enum { SIZE = 5 << 20, WRITES = 200 };
    clg_context   *ctx = open_context(true);
    unsigned char *mirror = calloc(1, SIZE), *data = malloc(SIZE), *back = malloc(SIZE);
    assert_true(mirror && data && back);
    clg__buffer *b = clg__buffer_create(ctx, SIZE, "a test");
    assert_int_equal(clg__buffer_size(b), SIZE);
    uint64_t sent = SIZE;
    assert_int_equal(clg__buffer_write(ctx, b, 0, mirror, SIZE), CLG_OK);
    for (uint64_t i = 0; i < WRITES; i++) { /* more than there are slots, of all sizes, some too large for one */
        const size_t most = i % 50 == 7 ? SIZE : i % 3 ? 1000 : CLG__SLOT_BYTES;
        const size_t size = clg_random_u32(1, i) % most, at = clg_random_u32(2, i) % (SIZE - size);
        memset(data, (int)i + 1, size);
        memset(mirror + at, (int)i + 1, size);
        assert_int_equal(clg__buffer_write(ctx, b, at, data, size), CLG_OK);
        memset(data, 0xee, size); /* it was copied */
        sent += size;
    }
    assert_int_equal(clg__buffer_read(ctx, b, 0, back, SIZE), CLG_OK);
    assert_memory_equal(back, mirror, SIZE);
    assert_int_equal(clg__buffer_read(ctx, b, 12345, back, 777), CLG_OK);
    assert_memory_equal(back, mirror + 12345, 777);

    const clg_counters c = clg_context_counters(ctx);
    assert_true(c.bytes_to_device == sent);
    assert_true(c.bytes_from_device == SIZE + 777);
    assert_int_equal(c.allocations, 1);
    assert_int_equal(c.bytes_allocated, SIZE);
    clg__buffer_destroy(&b);
    assert_null(b);
    assert_int_equal(clg_context_counters(ctx).bytes_allocated, 0);
    assert_int_equal(clg_context_counters(ctx).allocations, 1);
    clg_context_destroy(&ctx);
    free(mirror), free(data), free(back);
}

static void empty_buffers_and_transfers_are_fine(void **state)
{
    (void)state;
    clg_context *ctx = open_context(true);
    clg__buffer *b = clg__buffer_create(ctx, 0, "nothing");
    assert_non_null(b);
    assert_int_equal(clg__buffer_write(ctx, b, 0, NULL, 0), CLG_OK);
    assert_int_equal(clg__buffer_read(ctx, b, 0, NULL, 0), CLG_OK);
    assert_int_equal(clg_context_counters(ctx).bytes_to_device, 0);
    clg_context_destroy(&ctx); /* takes the buffer along */
}

static void transfers_beyond_the_end_are_refused(void **state)
{
    (void)state;
    static const size_t ranges[][2] = {{0, 65}, {64, 1}, {65, 0 + 1}, {SIZE_MAX, 2}, {1, SIZE_MAX}};
    clg_context *ctx = open_context(true);
    clg__buffer *b = clg__buffer_create(ctx, 64, "a test");
    char         bytes[128] = {0};
    for (size_t i = 0; i < CLG__COUNT(ranges); i++) {
        assert_int_equal(clg__buffer_write(ctx, b, ranges[i][0], bytes, ranges[i][1]), CLG_INTERNAL);
        assert_int_equal(clg__buffer_read(ctx, b, 0, bytes, 1), CLG_INTERNAL); /* it sticks */
        clg_context_clear_error(ctx);
        assert_int_equal(clg__buffer_read(ctx, b, ranges[i][0], bytes, ranges[i][1]), CLG_INTERNAL);
        clg_context_clear_error(ctx);
    }
    assert_int_equal(clg__buffer_read(ctx, b, 63, bytes, 1), CLG_OK);
    clg_context_destroy(&ctx);
}

static void too_large_a_buffer_says_what_there_is(void **state)
{
    (void)state;
    clg_context *ctx = open_context(true);
    const clg_device_info *info = clg_context_device(ctx);
    char needed[64], memory[64];
    assert_null(clg__buffer_create(ctx, (size_t)info->max_allocation + 1, "the parameters"));
    assert_int_equal(clg_context_status(ctx), CLG_OUT_OF_MEMORY);
    snprintf(needed, sizeof needed, "%llu bytes", (unsigned long long)info->max_allocation + 1);
    snprintf(memory, sizeof memory, "has %.1f MiB", (double)info->memory / 1048576.0);
    assert_non_null(strstr(clg_context_error(ctx), "the parameters: "));
    assert_non_null(strstr(clg_context_error(ctx), needed));
    assert_non_null(strstr(clg_context_error(ctx), memory));
    clg_context_clear_error(ctx);
    assert_null(clg__buffer_create(ctx, SIZE_MAX, "the parameters"));
    assert_int_equal(clg_context_status(ctx), CLG_OUT_OF_MEMORY);
    clg_context_clear_error(ctx);

    clg__buffer *b = clg__buffer_create(ctx, 1 << 20, "what is held");
    assert_non_null(b);
    uint64_t held = clg_context_counters(ctx).bytes_allocated;
    ctx->info->memory = held + (1 << 20); /* a small device: the sum counts, not only the piece */
    assert_null(clg__buffer_create(ctx, (1 << 20) + 1, "one too many"));
    assert_int_equal(clg_context_status(ctx), CLG_OUT_OF_MEMORY);
    assert_non_null(strstr(clg_context_error(ctx), "1.0 MiB are in use"));
    clg_context_clear_error(ctx);
    assert_non_null(clg__buffer_create(ctx, 1 << 20, "the last that fits"));
    clg_context_destroy(&ctx);
}

/* ---- programs and kernels ---------------------------------------------------------------------------------------- */

/* y[5 + i] = f * x[3 + i] through `ctx`; checks all of y. */
static void scale_on(clg_context *ctx, const char *defines, float f)
{
    enum { N = 1001 };
    float x[N + 3], y[N + 9];
    for (int i = 0; i < N + 3; i++) x[i] = (float)i;
    for (int i = 0; i < N + 9; i++) y[i] = -1.0f;
    clg__buffer *bx = clg__buffer_create(ctx, sizeof x, "x"), *by = clg__buffer_create(ctx, sizeof y, "y");
    clg__buffer_write(ctx, bx, 0, x, sizeof x);
    clg__buffer_write(ctx, by, 0, y, sizeof y);
    const clg__value args[] = {{.kind = CLG__SPAN, .span = {bx, 3}}, {.kind = CLG__SPAN, .span = {by, 5}},
                               {.kind = CLG__U32, .u32 = N}, {.kind = CLG__F32, .f32 = f}};
    clg__kernel *k = clg__kernel_create(ctx, &(clg__kernel_desc){
        .program = clg__program_get(ctx, &(clg__program_desc){.source = scale_source, .defines = defines}),
        .name = "scale", .args = args, .arg_count = CLG__COUNT(args), .groups = {3}});
    assert_string_equal(clg__kernel_name(k), "scale");
    assert_int_equal(clg__kernel_enqueue(ctx, k), CLG_OK);
    assert_int_equal(clg__buffer_read(ctx, by, 0, y, sizeof y), CLG_OK);
    for (int i = 0; i < N + 9; i++) assert_true(y[i] == (i < 5 || i >= N + 5 ? -1.0f : f * (float)(i - 5 + 3)));
    clg__kernel_destroy(&k);
    assert_null(k);
    clg__buffer_destroy(&bx);
    clg__buffer_destroy(&by);
}

static void kernels_run_under_both_profiles(void **state)
{
    (void)state;
    static const char *const profiles[] = {"cpu", "gpu", "gpu,wg=16,vec=1", "cpu,vec=2"};
    for (size_t i = 0; i < CLG__COUNT(profiles); i++) {
        clg_context *ctx = clg_context_create(&(clg_context_desc){.profile = profiles[i], .no_cache = true});
        scale_on(ctx, NULL, 2.0f);
        if (clg_context_failed(ctx)) fail_msg("%s", clg_context_error(ctx));
        assert_int_equal(clg_context_counters(ctx).launches, 1);
        clg_context_destroy(&ctx);
    }
}

static void programs_are_built_once(void **state)
{
    (void)state;
    clg_context *ctx = open_context(true);
    const clg__program_desc desc = {.source = scale_source, .defines = "#define A 1\n"};
    clg__program *p = clg__program_get(ctx, &desc);
    assert_non_null(p);
    assert_ptr_equal(clg__program_get(ctx, &desc), p);
    assert_int_equal(clg_context_counters(ctx).program_builds, 1);
    clg__program *q = clg__program_get(ctx, &(clg__program_desc){.source = scale_source, .defines = "#define A 2\n"});
    assert_true(q && q != p);
    assert_ptr_equal(clg__program_get(ctx, &desc), p);
    assert_int_equal(clg_context_counters(ctx).program_builds, 2);
    assert_int_equal(clg_context_counters(ctx).program_loads, 0);
    clg_context_destroy(&ctx);
}

static void a_program_that_does_not_build_gives_its_log(void **state)
{
    (void)state;
    clg_context *ctx = open_context(false);
    const clg__program_desc bad = {.source = "KERNEL k(global float *y)\n{\n    y[0] = not_declared;\n}\n"};
    for (int i = 0; i < 2; i++) { /* nothing of it is kept */
        assert_null(clg__program_get(ctx, &bad));
        assert_int_equal(clg_context_status(ctx), CLG_BUILD);
        assert_non_null(strstr(clg_context_error(ctx), "a generated program"));
        assert_non_null(strstr(clg_context_error(ctx), "not_declared"));
        assert_non_null(strstr(clg_context_build_log(ctx), "not_declared"));
        clg_context_clear_error(ctx);
        assert_string_equal(clg_context_build_log(ctx), "");
        assert_string_equal(clg_context_error(ctx), "");
    }
    assert_int_equal(clg_context_counters(ctx).program_builds, 0);
    scale_on(ctx, NULL, 3.0f); /* and the context goes on */
    assert_false(clg_context_failed(ctx));
    assert_null(clg__program_get(ctx, &(clg__program_desc){.unit = "no_such_unit"}));
    assert_int_equal(clg_context_status(ctx), CLG_INTERNAL);
    clg_context_destroy(&ctx);
}

static void write_file(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", cl_dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void units_come_from_a_directory_when_asked(void **state)
{
    (void)state;
    write_file("prelude.cl", "#define KERNEL kernel void\n#define TENSOR(p) global float *p, const ulong p##_at\n");
    write_file("good.cl", scale_source);
    write_file("broken.cl", "\nKERNEL k(global float *y) { y[0] = not_declared; }\n");
    setenv("CLGRAD_CL_DIR", cl_dir, 1);
    clg_context *ctx = open_context(true);
    const clg__program *good = clg__program_get(ctx, &(clg__program_desc){.unit = "good"});
    assert_non_null(good);
    assert_non_null(strstr(good->source, "#line 1 \"cl/good.cl\"")); /* for logs that name file and line */
    assert_null(clg__program_get(ctx, &(clg__program_desc){.unit = "broken"}));
    assert_int_equal(clg_context_status(ctx), CLG_BUILD);
    assert_non_null(strstr(clg_context_error(ctx), "cl/broken.cl did not build"));
    assert_non_null(strstr(clg_context_build_log(ctx), "not_declared"));
    clg_context_clear_error(ctx);
    assert_null(clg__program_get(ctx, &(clg__program_desc){.unit = "missing"}));
    assert_int_equal(clg_context_status(ctx), CLG_IO);
    assert_non_null(strstr(clg_context_error(ctx), "missing.cl"));
    unsetenv("CLGRAD_CL_DIR");
    clg_context_destroy(&ctx);
}

/* Every unit is done once in every launch, however many groups claim how many units. */
static void units_are_claimed_once(void **state)
{
    (void)state;
    static const char count_source[] = "KERNEL count(TENSOR_OF(int, y), const uint units CLAIMS)\n"
                                       "{\n"
                                       "    EACH_UNIT(u, units) if (get_local_id(0) == 0) atomic_inc(y + y_at + u);\n"
                                       "}\n";
    enum { MOST = 60001, LAUNCHES = 3 }; /* llvmpipe ends loops after 65,535 turns */
    static const uint32_t units[] = {1, 2, 7, 16, 17, 33, 255, 1000, MOST}, groups[] = {1, 2, 3, 8, 40};
    int32_t              *done = calloc(MOST, sizeof *done);
    clg_context          *ctx = open_context(true);
    clg__program         *p = clg__program_get(ctx, &(clg__program_desc){.source = count_source});
    clg__buffer          *b = clg__buffer_create(ctx, MOST * sizeof *done, "counts");
    for (size_t i = 0; i < CLG__COUNT(units); i++)
        for (size_t g = 0; g < CLG__COUNT(groups); g++) {
            const clg__value args[] = {{.kind = CLG__SPAN, .span = {b, 0}}, {.kind = CLG__U32, .u32 = units[i]}};
            clg__kernel     *kernel = clg__kernel_create(ctx, &(clg__kernel_desc){p, "count", args, 2, {groups[g]}, {0}});
            memset(done, 0, MOST * sizeof *done);
            clg__buffer_write(ctx, b, 0, done, MOST * sizeof *done);
            for (int launch = 0; launch < LAUNCHES; launch++) clg__kernel_enqueue(ctx, kernel);
            clg__buffer_read(ctx, b, 0, done, MOST * sizeof *done);
            assert_int_equal(clg_context_status(ctx), CLG_OK);
            for (uint32_t u = 0; u < MOST; u++)
                if (done[u] != (u < units[i] ? LAUNCHES : 0))
                    fail_msg("%u units, %u groups: unit %u was done %d times", units[i], groups[g], u, done[u]);
            clg__kernel_destroy(&kernel);
        }
    free(done);
    clg_context_destroy(&ctx);
}

static void wrong_launches_are_refused(void **state)
{
    (void)state;
    clg_context  *ctx = open_context(true);
    clg__program *p = clg__program_get(ctx, &(clg__program_desc){.source = scale_source});
    clg__buffer  *b = clg__buffer_create(ctx, 64, "b");
    const clg__value args[] = {{.kind = CLG__SPAN, .span = {b, 0}}, {.kind = CLG__SPAN, .span = {b, 0}},
                               {.kind = CLG__U32, .u32 = 4}, {.kind = CLG__F32, .f32 = 1.0f}};
    const size_t huge = (size_t)UINT32_MAX + 1, wg = clg_context_device(ctx)->profile.wg;
    const struct {
        clg__kernel_desc desc;
        const char      *says;
    } rows[] = {
        {{NULL, "scale", args, 4, {1}, {0}}, "no program"},
        {{p, "scales", args, 4, {1}, {0}}, "scales"},
        {{p, "scale", args, 3, {1}, {0}}, "takes 6 arguments, not 5"},
        {{p, "scale", args + 2, 2, {1}, {0}}, "scale"},
        {{p, "scale", args, 4, {0}, {0}}, "no groups"},
        {{p, "scale", args, 4, {huge}, {0}}, "too many"},
        {{p, "scale", args, 4, {1}, {2 * wg}}, "compiled for groups of"},
        {{p, "scale", args, 4, {1}, {wg, 1 << 20, 1 << 20}}, "runs at most"},
    };
    for (size_t i = 0; i < CLG__COUNT(rows); i++) {
        assert_null(clg__kernel_create(ctx, &rows[i].desc));
        assert_true(clg_context_failed(ctx));
        if (!strstr(clg_context_error(ctx), rows[i].says)) fail_msg("row %zu: %s", i, clg_context_error(ctx));
        clg_context_clear_error(ctx);
    }
    assert_int_equal(clg_context_counters(ctx).launches, 0);
    clg_context_destroy(&ctx);
}

static void opencl_errors_have_names(void **state)
{
    (void)state;
    assert_string_equal(clg__cl_name(CL_INVALID_KERNEL_ARGS), "CL_INVALID_KERNEL_ARGS");
    assert_string_equal(clg__cl_name(-1001), "CL_PLATFORM_NOT_FOUND_KHR");
    assert_non_null(clg__cl_name(-99999));
    clg_context *ctx = open_context(true);
    assert_int_equal(clg__cl_fail(ctx, CL_OUT_OF_RESOURCES, "kernel %s", "k"), CLG_OPENCL);
    assert_string_equal(clg_context_error(ctx), "kernel k: CL_OUT_OF_RESOURCES (-5)");
    assert_int_equal(ctx->root.cl_code, CL_OUT_OF_RESOURCES);
    clg_context_clear_error(ctx);
    assert_int_equal(clg__cl_fail(ctx, CL_MEM_OBJECT_ALLOCATION_FAILURE, "a step"), CLG_OUT_OF_MEMORY);
    clg_context_destroy(&ctx);
}

/* ---- the cache on disk ------------------------------------------------------------------------------------------- */

static char cached_path[256];
static int  cached_files;

static int note_cached(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)at;
    if (type != FTW_F || !strstr(path, "/clgrad/")) return 0;
    cached_files++;
    snprintf(cached_path, sizeof cached_path, "%s", path);
    assert_int_equal(st->st_mode & 0777, 0600);
    return 0;
}

/* Looks at the cache: how many files, and the path of the last. */
static int look_at_cache(void)
{
    cached_files = 0;
    nftw(cache_home, note_cached, 8, FTW_PHYS);
    return cached_files;
}

static clg_counters run_once(bool no_cache)
{
    clg_context *ctx = open_context(no_cache);
    scale_on(ctx, NULL, 2.5f);
    const clg_counters c = clg_context_counters(ctx);
    clg_context_destroy(&ctx);
    return c;
}

static void assert_built(clg_counters c, uint64_t builds, uint64_t loads)
{
    assert_int_equal(c.program_builds, builds);
    assert_int_equal(c.program_loads, loads);
}

static void clear_cache(void)
{
    while (look_at_cache() > 0) assert_int_equal(unlink(cached_path), 0);
}

static void programs_are_kept_on_disk(void **state)
{
    (void)state;
    struct stat st;
    char        dir[128];
    clear_cache();
    assert_built(run_once(true), 1, 0);
    assert_int_equal(look_at_cache(), 0);
    assert_built(run_once(false), 1, 0);
    assert_int_equal(look_at_cache(), 1);
    snprintf(dir, sizeof dir, "%s/clgrad", cache_home);
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_built(run_once(false), 0, 1);
    assert_built(run_once(true), 1, 0);

    clg_context *ctx = open_context(false); /* another source is another program */
    scale_on(ctx, "#define OTHER 1\n", 2.0f);
    assert_built(clg_context_counters(ctx), 1, 0);
    clg_context_destroy(&ctx);
    assert_int_equal(look_at_cache(), 2);
    clear_cache();
}

static unsigned char *read_cached(size_t *size)
{
    struct stat st;
    FILE       *file = fopen(cached_path, "rb");
    assert_true(file && fstat(fileno(file), &st) == 0);
    *size = (size_t)st.st_size;
    unsigned char *bytes = malloc(*size);
    assert_true(bytes && fread(bytes, 1, *size, file) == *size);
    fclose(file);
    return bytes;
}

static void write_cached(const unsigned char *bytes, size_t size)
{
    FILE *file = fopen(cached_path, "wb");
    assert_true(file && fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
}

static void damaged_files_are_built_anew(void **state)
{
    (void)state;
    size_t size;
    clear_cache();
    run_once(false);
    assert_int_equal(look_at_cache(), 1);
    unsigned char *bytes = read_cached(&size);
    const size_t   flips[] = {0, 8, 16, 24, 32, 40, 48, size / 2, size - 1};
    for (size_t i = 0; i < CLG__COUNT(flips); i++) {
        bytes[flips[i]] ^= 0x10;
        write_cached(bytes, size);
        bytes[flips[i]] ^= 0x10;
        assert_built(run_once(false), 1, 0);
        assert_built(run_once(false), 0, 1); /* it was repaired */
    }
    const size_t cuts[] = {0, 1, 47, 48, 49, size / 2, size - 1};
    for (size_t i = 0; i < CLG__COUNT(cuts); i++) {
        write_cached(bytes, cuts[i]);
        assert_built(run_once(false), 1, 0);
    }
    unsigned char *longer = calloc(1, size + 1);
    assert_non_null(longer);
    memcpy(longer, bytes, size);
    write_cached(longer, size + 1);
    assert_built(run_once(false), 1, 0);
    assert_built(run_once(false), 0, 1);
    assert_int_equal(chmod(cached_path, 0620), 0); /* others could have written it */
    assert_built(run_once(false), 1, 0);
    assert_built(run_once(false), 0, 1);
    assert_int_equal(look_at_cache(), 1); /* no temporary file stayed */
    free(longer);
    free(bytes);
    clear_cache();
}

static void without_a_place_nothing_is_cached(void **state)
{
    (void)state;
    setenv("XDG_CACHE_HOME", "/dev/null/no/directory", 1);
    assert_built(run_once(false), 1, 0);
    assert_built(run_once(false), 1, 0);
    setenv("XDG_CACHE_HOME", cache_home, 1);
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

static int set_up(void **state)
{
    (void)state;
    unsetenv("CLGRAD_PROFILE");
    unsetenv("CLGRAD_CL_DIR");
    clg_device_list *list = clg_device_list_create(); /* drivers look for their own caches now, not in ours below */
    clg_device_list_destroy(&list);
    strcpy(cache_home, "/tmp/clgrad-cache-XXXXXX");
    strcpy(cl_dir, "/tmp/clgrad-cl-XXXXXX");
    return mkdtemp(cache_home) && mkdtemp(cl_dir) ? setenv("XDG_CACHE_HOME", cache_home, 1) : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

static int tear_down(void **state)
{
    (void)state;
    return nftw(cache_home, remove_one, 8, FTW_DEPTH | FTW_PHYS) | nftw(cl_dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contexts_that_cannot_open_say_why),
        cmocka_unit_test(no_context_is_a_failed_one),
        cmocka_unit_test(environment_chooses_device_and_profile),
        cmocka_unit_test(bytes_come_back_from_where_they_went),
        cmocka_unit_test(empty_buffers_and_transfers_are_fine),
        cmocka_unit_test(transfers_beyond_the_end_are_refused),
        cmocka_unit_test(too_large_a_buffer_says_what_there_is),
        cmocka_unit_test(kernels_run_under_both_profiles),
        cmocka_unit_test(programs_are_built_once),
        cmocka_unit_test(a_program_that_does_not_build_gives_its_log),
        cmocka_unit_test(units_come_from_a_directory_when_asked),
        cmocka_unit_test(units_are_claimed_once),
        cmocka_unit_test(wrong_launches_are_refused),
        cmocka_unit_test(opencl_errors_have_names),
        cmocka_unit_test(programs_are_kept_on_disk),
        cmocka_unit_test(damaged_files_are_built_anew),
        cmocka_unit_test(without_a_place_nothing_is_cached),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
