/* test_tune.c - the tuning file and the measuring that writes it: choices are honoured, a damaged file is ignored, and
 * what computes wrongly cannot win. */
#include "blas/tuned.h"
#include "device/embedded.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "scratch.h"

static char home[64], file[1024], dir[128];

#define SMALL "cpu,vec=1,tile_m=2,tile_n=1,tile_k=32" /* quick to compile */

static const clg__gemm product = {.m = 60, .n = 70, .k = 40};

static int set_up(void **state)
{
    if (scratch_create(state)) return -1;
    strcpy(home, scratch_dir);
    snprintf(dir, sizeof dir, "%s/clgrad", home);
    unsetenv("CLGRAD_PROFILE");
    unsetenv("CLGRAD_CL_DIR");
    return setenv("XDG_CACHE_HOME", home, 1);
}

static int tear_down(void **state) /* pocl's cache lies there too */
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", home);
    return system(command);
}

static clg_context *open_with(const char *profile)
{
    setenv("CLGRAD_PROFILE", profile, 1);
    clg_context *ctx = clg_context_create(NULL);
    if (clg_context_failed(ctx)) fail_msg("%s", clg_context_error(ctx));
    return ctx;
}

/* The number of choices in the file of this profile; the path goes to `file`. */
static int choices(const char *profile)
{
    static clg_device_list *list;
    static const char      *listed;
    if (listed != profile) {
        clg_device_list_destroy(&list);
        setenv("CLGRAD_PROFILE", listed = profile, 1);
        list = clg_device_list_create();
    }
    const clg_device_info *device = clg_device_list_select(list, NULL, NULL, 0);
    assert_non_null(device);
    return clg_tuning_choices(list, device, file, sizeof file);
}

static void keep(const char *profile, clg__choice choice)
{
    clg_context *ctx = open_with(profile);
    clg__tuned  *t = clg__tuned_of(ctx, false);
    assert_non_null(t);
    clg__tuned_keep(t, &product, choice, 0);
    assert_int_equal(clg__tuned_save(ctx, t), CLG_OK);
    clg_context_destroy(&ctx);
}

/* What carries out a product in a new context; it has to be right. */
static const char *multiply(const char *profile, clg__gemm g)
{
    static char  text[64];
    clg_context *ctx = open_with(profile);
    const size_t mk = (size_t)(g.m * g.k), kn = (size_t)(g.k * g.n), mn = (size_t)(g.m * g.n);
    float       *a = malloc(mk * sizeof *a), *b = malloc(kn * sizeof *b), *c = malloc(mn * sizeof *c);
    for (size_t i = 0; i < mk; i++) a[i] = (float)(i % 7) - 3.0f;
    for (size_t i = 0; i < kn; i++) b[i] = (float)(i % 5) - 2.0f;
    clg__buffer *da = clg__buffer_create(ctx, mk * sizeof *a, "a"), *db = clg__buffer_create(ctx, kn * sizeof *b, "b");
    clg__buffer *dc = clg__buffer_create(ctx, mn * sizeof *c, "c");
    const size_t bytes = clg__gemm_workspace(ctx, &g, CLG__GEMM_AUTO);
    clg__buffer *workspace = clg__buffer_create(ctx, bytes, "a workspace");
    clg__buffer_write(ctx, da, 0, a, mk * sizeof *a);
    clg__buffer_write(ctx, db, 0, b, kn * sizeof *b);
    clg__gemm_call *call = clg__gemm_create(ctx, &g, CLG__GEMM_AUTO, &(clg__operands){
        .a = {.buffer = da}, .b = {.buffer = db}, .c = {.buffer = dc}, .workspace = {.buffer = workspace}});
    clg__gemm_enqueue(ctx, call);
    if (clg__buffer_read(ctx, dc, 0, c, mn * sizeof *c) != CLG_OK) fail_msg("%s", clg_context_error(ctx));
    for (int64_t i = 0; i < g.m; i++)
        for (int64_t j = 0; j < g.n; j++) {
            float sum = 0.0f; /* of small integers: exact */
            for (int64_t k = 0; k < g.k; k++) sum += a[i * g.k + k] * b[k * g.n + j];
            assert_float_equal(c[i * g.n + j], sum, 0.0f);
        }
    snprintf(text, sizeof text, "%s", clg__gemm_text(call));
    clg__gemm_destroy(&call);
    clg__buffer_destroy(&da);
    clg__buffer_destroy(&db);
    clg__buffer_destroy(&dc);
    clg__buffer_destroy(&workspace);
    free(a);
    free(b);
    free(c);
    clg_context_destroy(&ctx);
    return text;
}

/* Standard error goes to a file of the scratch directory while work() runs; how often `text` is in it. */
static int said(const char *text, void (*work)(void))
{
    size_t size;
    fflush(stderr);
    const int old = dup(2);
    assert_non_null(freopen(scratch_path("stderr"), "wb", stderr));
    work();
    fflush(stderr);
    dup2(old, 2);
    close(old);
    char *all = (char *)scratch_read("stderr", &size);
    all[size] = '\0';
    int count = 0;
    for (const char *at = all; (at = strstr(at, text)); at++) count++;
    free(all);
    return count;
}

static char *read_tuning(size_t *size) { return (char *)scratch_read(file + strlen(home) + 1, size); }

static void write_tuning(const char *bytes, size_t size) { scratch_write(file + strlen(home) + 1, bytes, size); }

/* ---- the file ---------------------------------------------------------------------------------------------------- */

static void a_choice_is_honoured_by_its_class(void **state)
{
    (void)state;
    const clg__gemm near = {.m = 60, .n = 75, .k = 36}, far = {.m = 200, .n = 70, .k = 40};
    keep("cpu,vec=1,clblast=0", (clg__choice){.m = 5, .n = 3, .k = 32});
    assert_int_equal(choices("cpu,vec=1,clblast=0"), 1);
    assert_non_null(strstr(multiply("cpu,vec=1,clblast=0", product), "panel 5x3x32 "));
    assert_non_null(strstr(multiply("cpu,vec=1,clblast=0", near), "panel 5x3x32 "));
    assert_null(strstr(multiply("cpu,vec=1,clblast=0", far), "panel 5x3x32 "));
    assert_int_equal(choices("cpu,vec=2,clblast=0"), 0); /* another profile, another file */
    assert_null(strstr(multiply("cpu,vec=1,clblast=0", near), "B packed"));
    keep("cpu,vec=1,clblast=0", (clg__choice){.m = 5, .n = 3, .pack_b = 2});
    assert_non_null(strstr(multiply("cpu,vec=1,clblast=0", near), "B packed"));
    keep("cpu,vec=1,clblast=0", (clg__choice){.m = 5, .n = 3, .pack_b = 1});
    assert_null(strstr(multiply("cpu,vec=1,clblast=0", near), "B packed"));
    assert_non_null(strstr(multiply("cpu,vec=1,clblast=0", product), "B packed")); /* no whole panels */
    keep("gpu,clblast=0", (clg__choice){.m = 32, .n = 32, .k = 8});
    assert_non_null(strstr(multiply("gpu,clblast=0", product), "tile 32x32x8 "));
}

static void an_engine_is_chosen(void **state)
{
    (void)state;
    if (!clg__gemm_has_clblast()) skip();
    keep("gpu", (clg__choice){.engine = CLG__GEMM_BUILTIN});
    keep("cpu,clblast=1", (clg__choice){.engine = CLG__GEMM_CLBLAST});
    clg_context *gpu = open_with("gpu"), *cpu = open_with("cpu,clblast=1");
    const clg__gemm other = {.m = 200, .n = 200, .k = 200};
    assert_int_equal(clg__gemm_choose(gpu, &product), CLG__GEMM_BUILTIN);
    assert_int_equal(clg__gemm_choose(gpu, &other), CLG__GEMM_CLBLAST);
    assert_int_equal(clg__gemm_choose(cpu, &product), CLG__GEMM_CLBLAST);
    clg_context_destroy(&gpu);
    clg_context_destroy(&cpu);
}

static void use_tuning(void) { assert_null(strstr(multiply("cpu,vec=1", product), "panel 5x3x32 ")); }

static void a_damaged_file_is_ignored(void **state)
{
    (void)state;
    const char *const profile = "cpu,vec=1";
    size_t            size;
    keep(profile, (clg__choice){.m = 5, .n = 3, .k = 32});
    assert_int_equal(choices(profile), 1);
    char *good = read_tuning(&size), *bad = malloc(size);
    for (size_t i = 0; i < size; i++)
        for (int bit = 0; bit < 8; bit += 1 + (int)(i % 3)) {
            memcpy(bad, good, size);
            bad[i] ^= (char)(1 << bit);
            write_tuning(bad, size);
            if (choices(profile) != 0) fail_msg("bit %d of byte %zu may differ", bit, i);
        }
    for (size_t cut = 0; cut < size; cut++) {
        write_tuning(good, cut);
        assert_int_equal(choices(profile), 0);
        if (cut % 100 == 0) assert_int_equal(said(file, use_tuning), 1);
    }
    write_tuning(good, size);
    assert_non_null(strstr(multiply(profile, product), "panel 5x3x32 "));
    free(good);
    free(bad);
}

static void nothing_that_could_not_be_measured_is_taken(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "gemm NN single 6 6 5 auto 0 0 48 0\n", "gemm NN single 6 6 5 auto 17 1 0 0\n", "gemm NN single 6 6 5 auto 5 0 0 0\n",
        "gemm NN single 6 6 99 auto 0 0 0 0\n", "gemm NN single 6 6 5 other 0 0 0 0\n", "gemm NN single 6 6 5 auto 0 0 0 3\n",
        "gemm NN single 6 6 5 auto 0 0 0 0 0\n", "gemm NN\n", "\n", "clblast Xgemm\n", "clblast Xgemm GEMMK=9\n",
        "gemm NN single 6 6 5 auto 0 0 0 0", "gemm NN single 6 6 5 auto 0 0 0 0 next 0\n",
        "gemm NN single 6 6 5 auto 0 0 0 0 next\n", "gemm NN single 6 6 5 auto 0 0 0 0 next 32\n",
        "gemm NN single 6 6 5 auto 0 0 0 0 next 3x\n",
    };
    size_t size;
    keep("cpu,vec=1", (clg__choice){.m = 5, .n = 3, .k = 32});
    choices("cpu,vec=1");
    char *good = read_tuning(&size);
    good[size] = '\0';
    *strstr(good, "gemm ") = '\0';
    const char *body = strchr(good, '\n') + 1;
    for (size_t i = 0; i < CLG__COUNT(lines); i++) {
        clg__text text = {0}, all = {0};
        if (!clg__gemm_has_clblast() && strncmp(lines[i], "clblast", 7) == 0) continue; /* taken from other builds */
        clg__text_append(&text, "%sgemm NN single 6 6 5 auto 5 3 0 0\n%s", body, lines[i]);
        clg__text_append(&all, "clgrad-tuning 1 %016llx\n%s", (unsigned long long)clg__hash(0, text.data, text.size),
                         text.data);
        write_tuning(all.data, all.size);
        if (choices("cpu,vec=1") != 0) fail_msg("%s is taken", lines[i]);
        clg__text_free(&text);
        clg__text_free(&all);
    }
    free(good);
}

/* ---- measuring --------------------------------------------------------------------------------------------------- */

static int          rows, refused;
static clg_tune_row last;
static char         last_what[64];

static void note(void *user, const clg_tune_row *row)
{
    (void)user;
    rows++, refused += row->refused;
    last = *row;
    snprintf(last_what, sizeof last_what, "%s", row->what);
    assert_true(row->ratio >= 1.0 && row->what && row->winner && row->untuned);
}

static clg_tune_result tune(const char *profile, int forms, clg_tune_desc desc)
{
    const clg__tune_product small = {60, 70, 40, 1, forms};
    clg_tune_result result;
    clg_context    *ctx = open_with(profile);
    rows = refused = 0;
    desc.report = note;
    if (clg__tune(ctx, &small, 1, &desc, &result) != CLG_OK) fail_msg("%s", clg_context_error(ctx));
    assert_false(clg_context_failed(ctx));
    clg_context_destroy(&ctx);
    return result;
}

static void measuring_keeps_what_it_found(void **state)
{
    (void)state;
    const char *const profiles[] = {SMALL, "gpu,wg=16,clblast=0"};
    for (size_t i = 0; i < CLG__COUNT(profiles); i++) {
        const double budget = i == 0 ? 100.0 : 3.0; /* time for all, or for some candidates */
        tune(profiles[i], CLG__TUNE_NT, (clg_tune_desc){.dry_run = true, .budget = 0.1});
        choices(profiles[i]);
        assert_int_not_equal(access(file, F_OK), 0);
        const clg_tune_result result = tune(profiles[i], CLG__TUNE_NT, (clg_tune_desc){.budget = budget});
        assert_int_equal(result.classes, 1);
        assert_int_equal(rows, 1);
        assert_int_equal(result.measured, !last.unfinished);
        if (i == 0) assert_false(last.unfinished);
        assert_int_equal(refused, 0);
        assert_int_equal(choices(profiles[i]), result.choices);
        multiply(profiles[i], product);
        assert_int_equal(tune(profiles[i], CLG__TUNE_NN, (clg_tune_desc){.budget = 1e-9}).measured, 0);
        assert_int_equal(choices(profiles[i]), result.choices); /* what is kept stays */
    }
}

/* Each of many short runs gets some candidates further in the class that the one before left, and only then in the next. */
static void a_run_goes_on_where_the_last_one_stopped(void **state)
{
    (void)state;
    static const char *const profile = SMALL, *const forms[] = {"NN ", "NT "};
    size_t size;
    choices(profile);
    unlink(file);
    for (int form = 0; form < 2; form++) {
        int candidates = 0, runs = 0, done = 0, before = 0;
        for (; !done && runs < 100; runs++) {
            done = tune(profile, CLG__TUNE_NN | CLG__TUNE_NT, (clg_tune_desc){.budget = 0.03}).measured;
            if (rows == 0) continue; /* the file took the whole budget */
            assert_int_equal(rows, 1);
            assert_int_equal(strncmp(last_what, forms[form], 3), 0);
            assert_int_equal(last.unfinished, !done);
            candidates += last.candidates;
            char *text = read_tuning(&size);
            text[size] = '\0';
            const char *next = strstr(text, " next ");
            assert_int_equal(next != NULL, !done);
            if (next) assert_true(atoi(next + strlen(" next ")) > before);
            if (next) before = atoi(next + strlen(" next "));
            free(text);
            multiply(profile, product);
        }
        assert_int_equal(done, 1);
        assert_true(runs > 1 && candidates > 3); /* the depths alone are three */
    }
    unlink(file);
}

/* Tiles that are deeper or shallower than the profile's do almost nothing, and are fast. */
static void what_computes_wrongly_cannot_win(void **state)
{
    (void)state;
    char directory[128];
    snprintf(directory, sizeof directory, "%s/cl", home);
    mkdir(directory, 0700);
    for (const struct clg__embedded *e = clg__embedded; e->name; e++) {
        clg__text text = {0};
        char      name[64];
        clg__text_append(&text, "%s", e->text);
        if (strcmp(e->name, "prelude") == 0)
            clg__text_append(&text, "\n#if defined(TILE_K) && TILE_K != 32\n#define fma(a, b, c) (b)\n#endif\n");
        snprintf(name, sizeof name, "cl/%s.cl", e->name);
        scratch_write(name, text.data, text.size);
        clg__text_free(&text);
    }
    setenv("CLGRAD_CL_DIR", directory, 1);
    tune(SMALL, CLG__TUNE_NN, (clg_tune_desc){.budget = 100.0});
    assert_int_equal(refused, 3);
    assert_int_equal(rows, 1);
    multiply(SMALL, product);
    unsetenv("CLGRAD_CL_DIR");
}

static void clblast_is_measured_too(void **state)
{
    (void)state;
    if (!clg__gemm_has_clblast()) skip();
    tune("cpu,clblast=1", CLG__TUNE_NN, (clg_tune_desc){.budget = 1.0});
    assert_true(rows >= 1);
    multiply("cpu,clblast=1", product);
}

static void choices_that_cannot_be_kept_are_not_measured(void **state)
{
    (void)state;
    clg_context *ctx = open_with("cpu,vec=2");
    choices("cpu,vec=2");
    assert_int_equal(mkdir(file, 0700), 0); /* in the file's place */
    assert_int_equal(clg_context_tune(ctx, NULL, NULL), CLG_IO);
    assert_non_null(strstr(clg_context_error(ctx), file));
    assert_false(clg_context_failed(ctx));
    clg_context_destroy(&ctx);
    rmdir(file);
    setenv("XDG_CACHE_HOME", "/dev/null/nowhere", 1);
    ctx = open_with("cpu,vec=2");
    assert_int_equal(clg_context_tune(ctx, NULL, NULL), CLG_IO);
    assert_non_null(strstr(clg_context_error(ctx), "XDG_CACHE_HOME"));
    clg_context_destroy(&ctx);
    setenv("XDG_CACHE_HOME", home, 1);
    assert_int_equal(clg_context_tune(NULL, NULL, NULL), CLG_OUT_OF_MEMORY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_choice_is_honoured_by_its_class),
        cmocka_unit_test(an_engine_is_chosen),
        cmocka_unit_test(a_damaged_file_is_ignored),
        cmocka_unit_test(nothing_that_could_not_be_measured_is_taken),
        cmocka_unit_test(measuring_keeps_what_it_found),
        cmocka_unit_test(a_run_goes_on_where_the_last_one_stopped),
        cmocka_unit_test(what_computes_wrongly_cannot_win),
        cmocka_unit_test(clblast_is_measured_too),
        cmocka_unit_test(choices_that_cannot_be_kept_are_not_measured),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
