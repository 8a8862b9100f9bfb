/* test_optim.c - optimisers, what becomes of their gradient, schedules, initialisers, frozen parameters.
 *
 * The numbers at the top are PyTorch 1.13's in double precision: torch.optim.SGD, Adam, AdamW, RMSprop, clip_grad_value_,
 * clip_grad_norm_ and lr_scheduler, six steps from w[i] = (i - 2) / 2 with the gradient ((7 i + 5 t) mod 11 - 5) / 4. */
#include "base/base.h"
#include <clgrad/clgrad.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

enum { N = 5, STEPS = 6 };

static void start(float *value, clg_shape shape, uint64_t seed, double scale)
{
    (void)seed, (void)scale;
    for (int64_t i = 0; i < clg_shape_count(shape); i++) value[i] = (float)(i - 2) / 2.0f;
}

static clg_optimizer *sgd(clg_model *m)
{
    return clg_sgd_create(m, &(clg_sgd_desc){.lr = 0.05f, .gradient = {.l2 = 0.1}});
}

static clg_optimizer *momentum(clg_model *m) { return clg_sgd_create(m, &(clg_sgd_desc){.lr = 0.05f, .momentum = 0.9f}); }

static clg_optimizer *nesterov(clg_model *m)
{
    return clg_sgd_create(m, &(clg_sgd_desc){.lr = 0.05f, .momentum = 0.9f, .nesterov = true});
}

static clg_optimizer *adam_l2(clg_model *m)
{
    return clg_adam_create(m, &(clg_adam_desc){.lr = 0.05f, .gradient = {.l2 = 0.1}});
}

static clg_optimizer *adamw(clg_model *m) { return clg_adam_create(m, &(clg_adam_desc){.lr = 0.05f, .weight_decay = 0.3}); }

static clg_optimizer *rmsprop(clg_model *m)
{
    return clg_rmsprop_create(m, &(clg_rmsprop_desc){.lr = 0.05f, .alpha = 0.9});
}

static clg_optimizer *rmsprop_momentum(clg_model *m)
{
    return clg_rmsprop_create(m, &(clg_rmsprop_desc){.lr = 0.05f, .momentum = 0.5});
}

static clg_optimizer *clip_value(clg_model *m)
{
    return clg_sgd_create(m, &(clg_sgd_desc){.lr = 0.05f, .gradient = {.clip_value = 0.6}});
}

static clg_optimizer *clip_norm(clg_model *m)
{
    return clg_sgd_create(m, &(clg_sgd_desc){.lr = 0.05f, .momentum = 0.9f, .gradient = {.clip_norm = 1.25}});
}

static clg_optimizer *everything(clg_model *m)
{
    return clg_sgd_create(m, &(clg_sgd_desc){.lr = 0.05f, .gradient = {.clip_value = 1, .clip_norm = 1.5, .l1 = 0.25, .l2 = 0.2}});
}

static clg_optimizer *one_cycle(clg_model *m)
{
    clg_optimizer *opt = clg_sgd_create(m, &(clg_sgd_desc){.lr = 0.2f});
    clg_optimizer_set_schedule(opt, &(clg_schedule_desc){.kind = CLG_SCHEDULE_ONE_CYCLE, .steps = 7});
    return opt;
}

static const struct {
    clg_optimizer *(*create)(clg_model *m);
    double expected[N];
} rules[] = {
    {sgd, {-0.983361329473648, -0.47349687191243, 0.0370652953671094, 0.412169457615828, 0.920002181231305}},
    {momentum, {-0.958213125, -0.34849725, 0.107286, 0.120389375, 1.001748875}},
    {nesterov, {-0.9748918125, -0.351147525, 0.1340574, 0.0833504374999999, 0.9515739875}},
    {adam_l2, {-0.914912530084237, -0.464593846696602, 0.0731871633674949, 0.324920115198962, 0.953843955408141}},
    {adamw, {-0.856254813879808, -0.434531779488083, 0.0707618178261954, 0.297971446167191, 0.894538276414797}},
    {rmsprop, {-0.977588655088856, -0.532629512621988, 0.140671107821003, 0.318705918809546, 0.818973848979567}},
    {rmsprop_momentum, {-0.808271426808114, -0.474134967175354, 0.822538386816532, -0.731871353869346, 0.209653294753238}},
    {clip_value, {-0.9925, -0.5075, 0.0175, 0.4775, 0.97}},
    {clip_norm, {-0.994245982407732, -0.394875394013691, 0.0797904634367062, 0.239235071255496, 1.01543050613517}},
    {everything, {-0.880922394671994, -0.384943114600095, 0.0221699033627853, 0.340998266727828, 0.82296300671669}},
    {one_cycle, {-1.24774497820201, -0.210494132199674, -0.00591230575457361, 0.383721042183902, 1.07299577812193}},
};

static const struct {
    clg_schedule_desc desc;
    double            expected[8];
} schedules[] = {
    {{.kind = CLG_SCHEDULE_STEP, .every = 3, .factor = 0.5}, {1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25}},
    {{.kind = CLG_SCHEDULE_COSINE, .steps = 7, .floor = 0.1},
     {1, 0.955435990556089, 0.83057041083643, 0.650134420280341, 0.449865579719659, 0.26942958916357, 0.144564009443911, 0.1}},
    {{.kind = CLG_SCHEDULE_ONE_CYCLE, .steps = 8},
     {0.04, 0.819275104892192, 0.971941777387523, 0.811745653949763, 0.555984014122702, 0.283060998208699, 0.0766415938342564,
      4e-06}},
    {{.kind = CLG_SCHEDULE_CONSTANT, .warmup = 4}, {0.25, 0.5, 0.75, 1, 1, 1, 1, 1}},
    {{.kind = CLG_SCHEDULE_STEP, .every = 2, .warmup = 2}, {0.5, 1, 1, 1, 0.1, 0.1, 0.01, 0.01}}, /* by hand, here and below */
    {{.kind = CLG_SCHEDULE_EXPONENTIAL, .steps = 7, .factor = 64}, {1, 2, 4, 8, 16, 32, 64, 64}},
    {{.kind = CLG_SCHEDULE_ONE_CYCLE, .steps = 1}, {4e-6, 4e-6, 4e-6, 4e-6, 4e-6, 4e-6, 4e-6, 4e-6}},
};

/* One parameter [n], its gradient an input of the graph. */
typedef struct fixture {
    clg_context   *ctx;
    clg_model     *m;
    clg_tensor    *g;
    clg_optimizer *opt;
    clg_plan      *plan;
} fixture;

static fixture begin(clg_optimizer *(*create)(clg_model *m))
{
    fixture    f = {.ctx = clg_context_create(NULL)};
    f.m = clg_model_create(f.ctx, NULL);
    clg_graph *graph = clg_graph_create(f.ctx, NULL);
    assert_non_null(clg_model_parameter(f.m, graph, "w", CLG_SHAPE(N), start, 0.0));
    f.g = clg_input(graph, CLG_F32, clg_tensor_shape(clg_model_arena(f.m, graph)));
    f.opt = create(f.m);
    f.plan = clg_plan_update(f.g, f.opt);
    assert_non_null(f.plan);
    return f;
}

static void step(fixture *f, int t)
{
    float g[16] = {0};
    assert_int_equal(clg_tensor_count(f->g), 16);
    for (int i = 0; i < N; i++) g[i] = (float)((i * 7 + t * 5) % 11 - 5) / 4.0f;
    assert_int_equal(clg_tensor_write(f->g, g, sizeof g), CLG_OK);
    clg_plan_run(f->plan);
}

static void rules_agree_with_pytorch(void **state)
{
    (void)state;
    for (size_t r = 0; r < CLG__COUNT(rules); r++) {
        fixture f = begin(rules[r].create);
        float   w[N];
        for (int t = 0; t < STEPS; t++) step(&f, t);
        assert_int_equal(clg_model_read(f.m, 0, w, N), CLG_OK);
        for (int i = 0; i < N; i++) /* a few roundings a step of numbers near 1, a square root among them */
            if (!(fabs((double)w[i] - rules[r].expected[i]) <= STEPS * 5e-7))
                fail_msg("rule %zu: w[%d] is %.9g, not %.9g", r, i, (double)w[i], rules[r].expected[i]);
        assert_false(clg_context_failed(f.ctx));
        clg_context_destroy(&f.ctx);
    }
}

/* A step that only clips, penalises and masks is still one kernel; a norm needs its reduction. */
static void an_update_is_one_kernel(void **state)
{
    (void)state;
    fixture f = begin(adam_l2), value = begin(clip_value), norm = begin(clip_norm);
    assert_int_equal(clg_plan_statistics(f.plan).launches, 1);
    assert_int_equal(clg_plan_statistics(value.plan).launches, 1);
    assert_in_range(clg_plan_statistics(norm.plan).launches, 2, 5);
    clg_context_destroy(&f.ctx);
    clg_context_destroy(&value.ctx);
    clg_context_destroy(&norm.ctx);
}

static void a_norm_that_is_no_number_spreads(void **state)
{
    (void)state;
    fixture f = begin(clip_norm);
    float   g[16] = {[2] = NAN}, w[N];
    assert_int_equal(clg_tensor_write(f.g, g, sizeof g), CLG_OK);
    clg_plan_run(f.plan);
    assert_int_equal(clg_model_read(f.m, 0, w, N), CLG_OK);
    for (int i = 0; i < N; i++) assert_true(isnan(w[i]));
    clg_context_destroy(&f.ctx);
}

static void schedules_agree_with_pytorch(void **state)
{
    (void)state;
    for (size_t k = 0; k < CLG__COUNT(schedules); k++)
        for (int t = 0; t < 8; t++)
            if (!(fabs(clg_schedule_at(&schedules[k].desc, t) - schedules[k].expected[t]) <= 1e-14))
                fail_msg("schedule %zu: step %d is %.15g, not %.15g", k, t, clg_schedule_at(&schedules[k].desc, t),
                         schedules[k].expected[t]);
}

/* A step under a schedule uploads as much as one without, and builds nothing. */
static void schedules_cost_a_scalar(void **state)
{
    (void)state;
    fixture f = begin(momentum);
    step(&f, 0);
    clg_optimizer_set_schedule(f.opt, &(clg_schedule_desc){.kind = CLG_SCHEDULE_COSINE, .steps = 9});
    const clg_counters before = clg_context_counters(f.ctx);
    clg_plan_run(f.plan);
    const clg_counters after = clg_context_counters(f.ctx);
    assert_int_equal(after.bytes_to_device - before.bytes_to_device, 4);
    assert_int_equal(after.program_builds, before.program_builds);
    assert_int_equal(after.allocations, before.allocations);
    static const clg_schedule_desc bad[] = {{.kind = CLG_SCHEDULE_COUNT}, {.kind = -1}, {.kind = CLG_SCHEDULE_COSINE},
        {.kind = CLG_SCHEDULE_ONE_CYCLE, .steps = 3, .warmup = 3}, {.kind = CLG_SCHEDULE_STEP}, {.warmup = -1},
        {.kind = CLG_SCHEDULE_STEP, .every = 1, .factor = -1.0}, {.kind = CLG_SCHEDULE_COSINE, .steps = 2, .floor = (double)NAN}};
    for (size_t i = 0; i < CLG__COUNT(bad); i++) {
        clg_optimizer_set_schedule(f.opt, &bad[i]);
        assert_int_equal(clg_context_status(f.ctx), CLG_INVALID_ARGUMENT);
        assert_non_null(strstr(clg_context_error(f.ctx), "schedule"));
        clg_context_clear_error(f.ctx);
    }
    assert_true(clg_schedule_at(&(clg_schedule_desc){.kind = CLG_SCHEDULE_COSINE, .steps = 9}, INT64_MIN) == 1.0);
    clg_optimizer_set_lr(f.opt, 0.25f);
    clg_optimizer_set_lr(f.opt, NAN);
    assert_int_equal(clg_context_status(f.ctx), CLG_INVALID_ARGUMENT);
    assert_non_null(strstr(clg_context_error(f.ctx), "learning rate"));
    assert_true(clg_optimizer_lr(f.opt) == 0.25f);
    clg_context_clear_error(f.ctx);
    assert_null(clg_plan_train_with(f.g, f.opt, NULL, 1));
    assert_int_equal(clg_context_status(f.ctx), CLG_INVALID_ARGUMENT);
    clg_context_clear_error(f.ctx);
    assert_null(clg_sgd_create(f.m, &(clg_sgd_desc){.gradient = {.clip_norm = -1.0}}));
    assert_null(clg_rmsprop_create(f.m, &(clg_rmsprop_desc){.alpha = 1.0}));
    clg_context_destroy(&f.ctx);
}

/* Uniform and normal by their moments, orthogonal by its products. */
static void initialisers_have_their_distributions(void **state)
{
    (void)state;
    enum { COUNT = 40000 };
    static float value[COUNT];
    double       sum = 0.0, squares = 0.0;
    clg_fill_uniform(value, CLG_SHAPE(COUNT), 3, 0.5);
    for (int i = 0; i < COUNT; i++) {
        assert_true(fabsf(value[i]) <= 0.5f);
        sum += (double)value[i];
        squares += (double)value[i] * (double)value[i];
    }
    assert_true(fabs(sum / COUNT) < 5.0 * 0.289 / 200.0 && fabs(squares / COUNT - 0.25 / 3.0) < 0.003);

    static const int64_t extents[][4] = {{7, 31, 1, 1}, {31, 7, 1, 1}, {13, 13, 1, 1}, {6, 3, 5, 2}, {1, 9, 1, 1}, {9, 1, 1, 1}};
    for (size_t e = 0; e < CLG__COUNT(extents); e++) {
        const int64_t *d = extents[e], rows = d[0], columns = d[1] * d[2] * d[3];
        const bool     wide = rows < columns;
        clg_fill_orthogonal(value, CLG_SHAPE(d[0], d[1], d[2], d[3]), 4, 2.0);
        for (int64_t i = 0; i < (wide ? rows : columns); i++)
            for (int64_t j = 0; j <= i; j++) {
                double product = 0.0;
                for (int64_t k = 0; k < (wide ? columns : rows); k++)
                    product += (double)(wide ? value[i * columns + k] : value[k * columns + i]) *
                               (double)(wide ? value[j * columns + k] : value[k * columns + j]);
                assert_true(fabs(product - (i == j ? 4.0 : 0.0)) < 1e-5);
            }
    }
}

static size_t entry(const clg_model *m, const char *name)
{
    for (size_t i = 0; i < clg_model_count(m); i++)
        if (strcmp(clg_model_name(m, i), name) == 0) return i;
    fail_msg("the model has no %s", name);
    return 0;
}

/* Two layers, one frozen: it stays bit by bit under weight decay, what feeds its gradient is not computed, and it learns
 * again in a plan made after it was thawed. fc10 does not belong to fc1. */
static void frozen_layers_stay(void **state)
{
    (void)state;
    clg_context *ctx = clg_context_create(NULL);
    clg_model   *m = clg_model_create(ctx, &(clg_model_desc){.seed = 1});
    size_t       launches[2];
    float        first[12], before[12], second[6], after[6];
    clg_tensor  *loss[2];
    for (int k = 0; k < 2; k++) {
        clg_graph  *g = clg_graph_create(ctx, &(clg_graph_desc){.training = true});
        clg_tensor *x = clg_full(g, CLG_SHAPE(2, 4), 1.5);
        x = clg_tanh(clg_nn_linear(m, "fc1", x, &(clg_linear_desc){.features = 3, .init = CLG_INIT_ORTHOGONAL, .gain = 0.5}));
        x = clg_nn_linear(m, "fc10", x, &(clg_linear_desc){.features = 2, .init = CLG_INIT_UNIFORM});
        loss[k] = clg_mean(clg_mul(x, x), NULL);
    }
    assert_int_equal(clg_model_freeze(m, "fc2"), 0);
    assert_int_equal(clg_model_freeze(m, "fc1"), 2);
    assert_true(clg_model_is_frozen(m, entry(m, "fc1.bias")) && !clg_model_is_frozen(m, entry(m, "fc10.bias")));
    clg_optimizer *opt = clg_adam_create(m, &(clg_adam_desc){.lr = 0.01f, .weight_decay = 0.5, .gradient = {.clip_norm = 1}});
    for (int k = 0; k < 2; k++) {
        clg_plan *plan = clg_plan_train(loss[k], opt);
        assert_non_null(plan);
        launches[k] = clg_plan_statistics(plan).launches;
        clg_model_read(m, entry(m, "fc1.weight"), before, 12);
        clg_model_read(m, entry(m, "fc10.weight"), second, 6);
        for (int t = 0; t < 3; t++) clg_plan_run(plan);
        clg_model_read(m, entry(m, "fc1.weight"), first, 12);
        clg_model_read(m, entry(m, "fc10.weight"), after, 6);
        assert_int_equal(memcmp(first, before, sizeof first) == 0, k == 0);
        assert_true(memcmp(after, second, sizeof after) != 0);
        assert_int_equal(clg_model_thaw(m, ""), 4);
    }
    assert_true(launches[0] < launches[1]);
    assert_false(clg_context_failed(ctx));
    clg_model_freeze(m, "");
    assert_null(clg_plan_train(loss[0], opt));
    assert_non_null(strstr(clg_context_error(ctx), "not frozen"));
    clg_context_destroy(&ctx);
}

/* Its plans know it: they say so, the others of the model go on. */
static void a_destroyed_optimizer_is_told(void **state)
{
    (void)state;
    fixture        f = begin(momentum);
    clg_optimizer *unused = momentum(f.m), *other = sgd(f.m);
    clg_plan      *plan = clg_plan_update(f.g, other);
    float          before[N], after[N];
    clg_optimizer_destroy(&unused);
    step(&f, 0);
    clg_optimizer_destroy(&f.opt);
    assert_null(f.opt);
    assert_int_equal(clg_model_read(f.m, 0, before, N), CLG_OK);
    clg_plan_run(f.plan);
    assert_int_equal(clg_context_status(f.ctx), CLG_INVALID_ARGUMENT);
    assert_non_null(strstr(clg_context_error(f.ctx), "optimizer was destroyed"));
    clg_context_clear_error(f.ctx);
    assert_int_equal(clg_model_read(f.m, 0, after, N), CLG_OK);
    assert_memory_equal(before, after, sizeof before);
    clg_plan_run(plan);
    assert_int_equal(clg_model_read(f.m, 0, after, N), CLG_OK);
    assert_memory_not_equal(before, after, sizeof before);
    clg_plan_destroy(&f.plan);
    clg_context_destroy(&f.ctx);
}

/* A single vector of as many elements as the arena is the same leaf of the graph as that. */
static void one_vector_is_learnt(void **state)
{
    (void)state;
    enum { COUNT = 16 };
    clg_context *ctx = clg_context_create(NULL);
    clg_model   *m = clg_model_create(ctx, NULL);
    clg_graph   *g = clg_graph_create(ctx, &(clg_graph_desc){.training = true});
    clg_tensor  *w = clg_model_parameter(m, g, "w", CLG_SHAPE(COUNT), start, 1.0);
    clg_plan    *plan = clg_plan_train(clg_sum(clg_mul(w, w), NULL), clg_sgd_create(m, &(clg_sgd_desc){.lr = 0.25f}));
    float        before[COUNT], after[COUNT];
    assert_int_equal(clg_tensor_count(clg_model_arena(m, g)), COUNT);
    assert_non_null(plan);
    assert_int_equal(clg_model_read(m, 0, before, COUNT), CLG_OK);
    clg_plan_run(plan);
    assert_int_equal(clg_model_read(m, 0, after, COUNT), CLG_OK);
    for (int i = 0; i < COUNT; i++) assert_true(after[i] == before[i] / 2.0f);
    clg_context_destroy(&ctx);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_agree_with_pytorch),
        cmocka_unit_test(an_update_is_one_kernel),
        cmocka_unit_test(a_norm_that_is_no_number_spreads),
        cmocka_unit_test(schedules_agree_with_pytorch),
        cmocka_unit_test(schedules_cost_a_scalar),
        cmocka_unit_test(initialisers_have_their_distributions),
        cmocka_unit_test(frozen_layers_stay), cmocka_unit_test(a_destroyed_optimizer_is_told),
        cmocka_unit_test(one_vector_is_learnt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
