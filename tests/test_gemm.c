/* test_gemm.c - matrix products of both engines against a sum in double precision, under several profiles.
 *
 * Every operand lies at an offset between NaNs: a kernel that uses what lies outside of an operand, even times zero,
 * makes a NaN, and one that writes outside leaves something else there. */
#include "blas/gemm.h"
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { BEFORE = 5, BEHIND = 70 };

/* What epilogues do here: relu, or with a second operand relu's gradient, where b > 0. */
static const char relu[] = "a < (T)0 ? (T)0 : a", where_positive[] = "b > (T)0 ? a : (T)0";

typedef struct operand {
    float       *value; /* the elements between the NaNs */
    size_t       count;
    clg__buffer *buffer;
} operand;

static operand make(clg_context *ctx, size_t count, uint64_t seed)
{
    operand o = {.count = count};
    float  *all = malloc((BEFORE + count + BEHIND) * sizeof *all);
    assert_non_null(all);
    for (size_t i = 0; i < BEFORE + count + BEHIND; i++) all[i] = NAN;
    o.value = all + BEFORE;
    for (size_t i = 0; i < count; i++) o.value[i] = 2.0f * clg_random_uniform(seed, i) - 1.0f;
    o.buffer = clg__buffer_create(ctx, (BEFORE + count + BEHIND) * sizeof *all, "an operand");
    assert_int_equal(clg__buffer_write(ctx, o.buffer, 0, all, (BEFORE + count + BEHIND) * sizeof *all), CLG_OK);
    return o;
}

static void drop(operand *o)
{
    clg__buffer_destroy(&o->buffer);
    free(o->value - BEFORE);
}

static clg__span span(const operand *o) { return (clg__span){.buffer = o->buffer, .at = BEFORE}; }

/* The element (row, column) of C in double precision, and in *allowed what roundings may make of it: two of the sum of the
 * magnitudes that went into it, or in long sums five standard deviations: each partial sum is off by u / sqrt(3) of it,
 * u = epsilon / 2, so 1.5 epsilon of the root of their squares' sum. */
static double element(const clg__gemm *g, const float *a, const float *b, float c, float bias, float other,
                      int64_t i, int64_t j, double *allowed)
{
    double sum = (double)g->beta * (double)c + (g->bias ? (double)bias : 0.0);
    double size = fabs(sum) + 1.0, squares = 0.0;
    for (int64_t k = 0; k < g->k; k++) {
        const double p = (double)a[g->trans_a ? k * g->m + i : i * g->k + k] *
                         (double)b[g->trans_b ? j * g->k + k : k * g->n + j];
        sum += p;
        size += fabs(p);
        squares += sum * sum;
    }
    *allowed = (double)FLT_EPSILON * fmax(2.0 * size, 1.5 * sqrt(squares));
    if (!g->epilogue) return sum;
    return (g->other ? other > 0.0f : sum >= 0.0) ? sum : 0.0;
}

static void check(clg_context *ctx, clg__gemm g, clg__gemm_engine engine)
{
    const size_t batch = g.batch ? (size_t)g.batch : 1, mn = (size_t)(g.m * g.n);
    const size_t a_count = (size_t)(g.m * g.k) + (batch - 1) * (size_t)g.stride_a;
    const size_t b_count = (size_t)(g.k * g.n) + (batch - 1) * (size_t)g.stride_b;
    operand      a = make(ctx, a_count, 1), b = make(ctx, b_count, 2), c = make(ctx, mn * batch, 3);
    operand      bias = make(ctx, (size_t)g.n, 4), other = make(ctx, mn * batch, 5);
    const size_t bytes = clg__gemm_workspace(ctx, &g, engine);
    clg__buffer *workspace = clg__buffer_create(ctx, bytes + 64, "a workspace");
    clg__gemm_call *call = clg__gemm_create(ctx, &g, engine, &(clg__operands){
        .a = span(&a), .b = span(&b), .c = span(&c), .bias = span(&bias), .other = span(&other),
        .workspace = {.buffer = workspace, .at = 16}});
    if (!call) fail_msg("%s", clg_context_error(ctx));

    const clg_counters before = clg_context_counters(ctx);
    assert_int_equal(clg__gemm_enqueue(ctx, call), CLG_OK);
    assert_int_equal(clg_context_counters(ctx).launches - before.launches, clg__gemm_launches(call));
    assert_int_equal(clg_context_counters(ctx).allocations, before.allocations);

    float *out = malloc((BEFORE + c.count + BEHIND) * sizeof *out);
    assert_non_null(out);
    assert_int_equal(clg__buffer_read(ctx, c.buffer, 0, out, (BEFORE + c.count + BEHIND) * sizeof *out), CLG_OK);
    for (size_t i = 0; i < BEFORE; i++) assert_true(isnan(out[i]));
    for (size_t i = 0; i < BEHIND; i++) assert_true(isnan(out[BEFORE + c.count + i]));
    for (size_t i = 0; i < c.count; i++) {
        const size_t  z = i / mn;
        const int64_t row = (int64_t)(i % mn) / g.n, col = (int64_t)(i % mn) % g.n;
        double        allowed;
        const double  want = element(&g, a.value + z * (size_t)g.stride_a, b.value + z * (size_t)g.stride_b, c.value[i],
                                     bias.value[col], other.value[i], row, col, &allowed);
        const double  got = (double)out[BEFORE + i];
        if (!(fabs(got - want) <= allowed))
            fail_msg("%s, %lld x %lld x %lld: C[%zu][%lld][%lld] is %.9g, not %.9g", clg__gemm_text(call),
                     (long long)g.m, (long long)g.n, (long long)g.k, z, (long long)row, (long long)col, got, want);
    }
    free(out);
    clg__gemm_destroy(&call);
    assert_null(call);
    clg__buffer_destroy(&workspace);
    drop(&a);
    drop(&b);
    drop(&c);
    drop(&bias);
    drop(&other);
}

static clg_context *open_with(const char *profile)
{
    clg_context *ctx = clg_context_create(&(clg_context_desc){.profile = profile});
    if (clg_context_failed(ctx)) fail_msg("%s", clg_context_error(ctx));
    return ctx;
}

/* Extents of one, primes, tiles and their neighbours, sums longer than a panel and empty ones; every step-th. */
static void shapes_of(const char *profile, size_t step)
{
    static const int64_t extents[][3] = {
        {1, 1, 1}, {1, 67, 5}, {7, 33, 17}, {8, 32, 64}, {9, 31, 65}, {64, 65, 16}, {65, 64, 33}, {129, 10, 300},
        {31, 97, 129}, {5, 3, 0},
    };
    clg_context *ctx = open_with(profile);
    for (int trans = 0; trans < 4; trans++)
        for (size_t i = (size_t)trans % step; i < CLG__COUNT(extents); i += step) {
            const bool plain = trans == 1 || trans == 2; /* so that both forms of each operand meet a bias */
            check(ctx, (clg__gemm){
                .trans_a = trans & 1, .trans_b = trans >> 1, .bias = !plain, .other = trans == 2, .m = extents[i][0],
                .n = extents[i][1], .k = extents[i][2], .beta = i % 3 == 1 ? 0.5f : 0.0f,
                .epilogue = trans == 2 ? where_positive : plain ? NULL : relu}, CLG__GEMM_BUILTIN);
        }
    clg_context_destroy(&ctx);
}

#define SHAPES(name, profile, step) static void name(void **state) { (void)state, shapes_of(profile, step); }
SHAPES(shapes_on_cpu_profile, "cpu", 1)
SHAPES(shapes_with_wide_vectors, "cpu,vec=16,tile_m=8,tile_n=2,tile_k=64", 2)
SHAPES(shapes_with_odd_tiles, "cpu,vec=4,tile_m=5,tile_n=3,tile_k=16", 2)
SHAPES(shapes_without_vectors, "cpu,vec=1,tile_m=3,tile_n=2,tile_k=32", 2)
SHAPES(shapes_on_gpu_profile, "gpu", 1)
SHAPES(shapes_in_small_groups, "gpu,wg=64,tile_m=16,tile_n=32,tile_k=8", 2)

/* Large enough for a tile of its own, and for groups that share the rows. */
static void long_and_narrow(void **state)
{
    (void)state;
    clg_context *ctx = open_with("cpu");
    for (int trans = 0; trans < 4; trans++)
        check(ctx, (clg__gemm){.trans_a = trans & 1, .trans_b = trans >> 1, .bias = true, .m = 1003, .n = 10, .k = 13501,
                               .epilogue = relu}, CLG__GEMM_BUILTIN);
    clg_context_destroy(&ctx);
}

/* Each operand packed and in place: rows of 4096 bytes compete for the caches' sets, half a panel is never in place. */
static void packed_or_in_place(void **state)
{
    (void)state;
    clg_context *ctx = open_with("cpu");
    for (int64_t k = 1000; k <= 1024; k += 24)
        for (int64_t n = 96; n <= 97; n++) check(ctx, (clg__gemm){.m = 29, .n = n, .k = k, .bias = true}, CLG__GEMM_BUILTIN);
    clg_context_destroy(&ctx);
}

/* Units of several tiles and panels, so that a panel is packed in parts, the last ones short, beside the tiles of another. */
static void packed_in_parts(void **state)
{
    (void)state;
    clg_context *ctx = open_with("cpu,vec=4,tile_m=3,tile_n=2,tile_k=64");
    for (int trans = 0; trans < 4; trans++)
        for (int64_t k = 61; k <= 150; k += 89)
            check(ctx, (clg__gemm){.trans_a = trans & 1, .trans_b = trans >> 1, .bias = true, .m = 301, .n = 205, .k = k},
                  CLG__GEMM_BUILTIN);
    clg_context_destroy(&ctx);
}

static void batches_may_share_an_operand(void **state)
{
    (void)state;
    const char *const profiles[] = {"cpu", "gpu"};
    for (size_t i = 0; i < CLG__COUNT(profiles); i++) {
        clg_context *ctx = open_with(profiles[i]);
        const clg__gemm g = {.trans_b = true, .bias = true, .m = 19, .n = 21, .k = 35, .batch = 3, .stride_a = 19 * 35,
                             .stride_b = 21 * 35, .stride_c = 19 * 21, .epilogue = relu};
        clg__gemm shared = g;
        check(ctx, g, CLG__GEMM_BUILTIN);
        shared.stride_b = 0;
        check(ctx, shared, CLG__GEMM_BUILTIN);
        shared.other = true;
        shared.epilogue = where_positive;
        check(ctx, shared, CLG__GEMM_BUILTIN);
        shared.stride_a = 0;
        shared.stride_b = g.stride_b;
        check(ctx, shared, CLG__GEMM_BUILTIN);
        clg_context_destroy(&ctx);
    }
}

/* A NaN in one row of A spoils that row of C and no other, also where tiles are not full. */
static void nan_stays_in_its_row(void **state)
{
    (void)state;
    const char *const profiles[] = {"cpu", "gpu"};
    const int64_t     m = 21, n = 37, k = 19, spoilt = 20;
    for (size_t p = 0; p < CLG__COUNT(profiles); p++) {
        clg_context *ctx = open_with(profiles[p]);
        operand      a = make(ctx, (size_t)(m * k), 1), b = make(ctx, (size_t)(k * n), 2);
        operand      c = make(ctx, (size_t)(m * n), 3);
        const float  nan_value = NAN;
        assert_int_equal(clg__buffer_write(ctx, a.buffer, (size_t)(BEFORE + spoilt * k + 3) * sizeof(float), &nan_value,
                                           sizeof nan_value), CLG_OK);
        const clg__gemm g = {.m = m, .n = n, .k = k};
        clg__gemm_call *call =
            clg__gemm_create(ctx, &g, CLG__GEMM_BUILTIN, &(clg__operands){.a = span(&a), .b = span(&b), .c = span(&c)});
        assert_int_equal(clg__gemm_enqueue(ctx, call), CLG_OK);
        const size_t at = BEFORE * sizeof(float);
        assert_int_equal(clg__buffer_read(ctx, c.buffer, at, c.value, c.count * sizeof(float)), CLG_OK);
        for (int64_t i = 0; i < m * n; i++) assert_int_equal(isnan(c.value[i]) != 0, i / n == spoilt);
        drop(&a);
        drop(&b);
        drop(&c);
        clg_context_destroy(&ctx); /* the call goes with it */
    }
}

static void clblast_agrees(void **state)
{
    (void)state;
    if (!clg__gemm_has_clblast()) skip();
    static const int64_t extents[][3] = {{33, 47, 65}, {64, 64, 64}, {130, 70, 190}};
    const char *const epilogues[] = {NULL, where_positive, NULL, relu};
    clg_context      *ctx = open_with("gpu,clblast=1");
    for (int trans = 0; trans < 4; trans++)
        for (size_t i = 0; i < CLG__COUNT(extents); i++)
            check(ctx, (clg__gemm){
                .trans_a = trans & 1, .trans_b = trans >> 1, .bias = trans > 0, .other = trans == 1, .m = extents[i][0],
                .n = extents[i][1], .k = extents[i][2], .beta = i == 1 ? 0.5f : 0.0f,
                .epilogue = epilogues[trans]}, CLG__GEMM_CLBLAST);
    check(ctx, (clg__gemm){.bias = true, .m = 40, .n = 50, .k = 60, .batch = 2, .stride_a = 40 * 60, .stride_b = 0,
                           .stride_c = 40 * 50, .epilogue = relu}, CLG__GEMM_CLBLAST);
    check(ctx, (clg__gemm){.bias = true, .m = 40, .n = 50}, CLG__GEMM_CLBLAST); /* an empty sum */
    clg_context_destroy(&ctx);
}

static void large_products_go_to_clblast_where_the_profile_says_so(void **state)
{
    (void)state;
    clg_context     *gpu = open_with("gpu"), *cpu = open_with("cpu");
    const clg__gemm large = {.m = 64, .n = 64, .k = 64}, thin = {.m = 64, .n = 10, .k = 64};
    const clg__gemm many = {.m = 64, .n = 64, .k = 64, .batch = 8, .stride_c = 64 * 64};
    const clg__gemm_engine best = clg__gemm_has_clblast() ? CLG__GEMM_CLBLAST : CLG__GEMM_BUILTIN;
    assert_int_equal(clg__gemm_choose(gpu, &large), best);
    assert_int_equal(clg__gemm_choose(gpu, &thin), CLG__GEMM_BUILTIN);
    assert_int_equal(clg__gemm_choose(gpu, &many), CLG__GEMM_BUILTIN);
    assert_int_equal(clg__gemm_choose(cpu, &large), CLG__GEMM_BUILTIN);
    assert_int_equal(clg__gemm_workspace(cpu, &large, CLG__GEMM_AUTO), 0);
    clg_context_destroy(&gpu);
    clg_context_destroy(&cpu);
}

static void absurd_products_are_refused(void **state)
{
    (void)state;
    clg_context    *ctx = open_with("cpu");
    const clg__gemm g = {.m = INT64_C(1) << 31, .n = 1, .k = 1};
    assert_null(clg__gemm_create(ctx, &g, CLG__GEMM_AUTO, &(clg__operands){.bias = {0}}));
    assert_int_equal(clg_context_status(ctx), CLG_UNSUPPORTED);
    assert_non_null(strstr(clg_context_error(ctx), "2147483648 x 1 x 1"));
    assert_null(clg__gemm_create(ctx, &g, CLG__GEMM_AUTO, &(clg__operands){.bias = {0}}));
    assert_int_equal(clg__gemm_enqueue(ctx, NULL), CLG_UNSUPPORTED); /* the first error stays */
    clg_context_destroy(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_on_cpu_profile),
        cmocka_unit_test(shapes_with_wide_vectors),
        cmocka_unit_test(shapes_with_odd_tiles),
        cmocka_unit_test(shapes_without_vectors),
        cmocka_unit_test(shapes_on_gpu_profile),
        cmocka_unit_test(shapes_in_small_groups),
        cmocka_unit_test(long_and_narrow),
        cmocka_unit_test(packed_or_in_place), cmocka_unit_test(packed_in_parts),
        cmocka_unit_test(batches_may_share_an_operand),
        cmocka_unit_test(nan_stays_in_its_row),
        cmocka_unit_test(clblast_agrees),
        cmocka_unit_test(large_products_go_to_clblast_where_the_profile_says_so),
        cmocka_unit_test(absurd_products_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
