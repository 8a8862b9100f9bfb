/* test_kept.c - what plans keep from run to run: it is left out, it is made anew after whoever wrote what it is made of, and
 * results have the bits of a plan that has never kept anything. */
#include "plan/plan.h"
#include <clgrad/cl.h>
#include <clgrad/clgrad.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "plan_fixture.h"
#include "scratch.h"

enum { BATCH = 2, CHANNELS = 8, SIDE = 12, CLASSES = 5, PIXELS = BATCH * CHANNELS * SIDE * SIDE };

/* Predictions of a network with all that can be kept: packed weights, turned ones, constants of batch norm, a product. */
typedef struct predictor {
    clg_model  *model;
    clg_tensor *x, *turn, *y; /* turn: a weight that is a state of the graph */
    clg_plan   *plan;
} predictor;

static clg_tensor *network(clg_model *m, clg_tensor *x, clg_tensor *turn)
{
    clg_graph  *g = clg_tensor_graph(x);
    clg_tensor *u = clg_model_parameter(m, g, "u", CLG_SHAPE(CHANNELS, 7), clg_fill_uniform, 1.0);
    clg_tensor *v = clg_model_parameter(m, g, "v", CLG_SHAPE(7, CLASSES), clg_fill_uniform, 1.0);
    x = clg_nn_conv2d(m, "a", x, &(clg_conv2d_desc){.channels = CHANNELS, .kernel = 3, .pad = 1});
    x = clg_relu(clg_nn_batch_norm2d(m, "norm", x, NULL));
    x = clg_nn_conv2d(m, "b", x, &(clg_conv2d_desc){.channels = CHANNELS, .kernel = 3, .pad = 1, .stride = 2});
    x = clg_conv_transpose2d(x, turn, NULL, &(clg_conv2d_desc){.stride = 2});
    x = clg_nn_conv2d(m, "c", x, &(clg_conv2d_desc){.channels = CHANNELS, .kernel = 3, .pad = 1}); /* large, as the first is */
    return clg_matmul(clg_flatten(clg_global_avg_pool2d(x), 1), clg_matmul(u, v, NULL), NULL);
}

static void no_failure(void)
{
    if (clg_context_failed(ctx)) fail_msg("%s\n%s", clg_context_error(ctx), clg_context_build_log(ctx));
}

static void fill(float *value, size_t count, uint64_t seed)
{
    for (size_t i = 0; i < count; i++) value[i] = clg_random_uniform(seed, i) - 0.5f;
}

static void write_random(clg_tensor *t, uint64_t seed)
{
    float value[PIXELS];
    assert_true(t && t->count <= PIXELS);
    fill(value, (size_t)t->count, seed);
    assert_int_equal(clg_tensor_write(t, value, (size_t)t->count * 4), CLG_OK);
}

/* The network on what `like` has, or on values of its own. */
static predictor predict(const predictor *like, bool observed)
{
    clg_graph *g = clg_graph_create(ctx, &(clg_graph_desc){.observed = observed});
    predictor  p = {.model = like ? like->model : clg_model_create(ctx, &(clg_model_desc){.seed = 3})};
    p.x = like ? clg_share(g, like->x) : clg_input(g, CLG_F32, CLG_SHAPE(BATCH, CHANNELS, SIDE, SIDE));
    p.turn = like ? clg_share(g, like->turn) : clg_state(g, CLG_F32, CLG_SHAPE(CHANNELS, CHANNELS, 2, 2));
    p.y = network(p.model, p.x, p.turn);
    if (!like) write_random(p.x, 1), write_random(p.turn, 2);
    p.plan = clg_plan_create(p.y);
    no_failure();
    return p;
}

static predictor start(void) { return predict(NULL, false); }

static size_t launched(clg_plan *p)
{
    const uint64_t before = clg_context_counters(ctx).launches;
    clg_plan_run(p);
    no_failure();
    return (size_t)(clg_context_counters(ctx).launches - before);
}

typedef struct scores {
    float value[BATCH * CLASSES];
} scores;

static scores read_scores(clg_tensor *y)
{
    scores s = {{0}};
    assert_int_equal(clg_tensor_read(y, s.value, sizeof s.value), CLG_OK);
    return s;
}

static bool same(scores a, scores b) { return memcmp(&a, &b, sizeof a) == 0; }

/* The results lie there, with the bits of a plan that runs for the first time. */
static void expect_fresh(const predictor *p)
{
    predictor    other = predict(p, false);
    clg_graph   *g = clg_tensor_graph(other.y);
    const scores got = read_scores(p->y);
    clg_plan_run(other.plan);
    const scores fresh = read_scores(other.y);
    for (int i = 0; i < BATCH * CLASSES; i++)
        if (!same(got, fresh)) fail_msg("result %d is %.9g, of a new plan %.9g", i, (double)got.value[i], (double)fresh.value[i]);
    clg_plan_destroy(&other.plan);
    clg_graph_destroy(&g);
}

static size_t all_of(const clg_plan *p) { return clg_plan_statistics(p).launches; }
static size_t steady_of(const clg_plan *p) { return all_of(p) - clg_plan_statistics(p).kept_launches; }

static void run_until_steady(const predictor *p)
{
    clg_plan_run(p->plan);
    assert_int_equal(launched(p->plan), steady_of(p->plan));
}

static void finish(predictor *p)
{
    clg_graph *g = clg_tensor_graph(p->y);
    no_failure();
    clg_plan_destroy(&p->plan);
    clg_graph_destroy(&g);
    clg_model_destroy(&p->model);
}

/* ---- steady runs ------------------------------------------------------------------------------------------------- */

static void steady_runs_leave_out_what_is_kept(void **state)
{
    (void)state;
    predictor p = start();
    char     *text = NULL;
    size_t    size = 0, lines = 0;
    FILE     *to = open_memstream(&text, &size);
    clg_plan_dump(p.plan, to);
    fclose(to);
    for (const char *at = text; (at = strstr(at, ", kept\n")); at++) lines++;
    const bool cpu = strcmp(clg_context_device(ctx)->profile.base, "cpu") == 0;
    /* batch norm, the product, the turned weight; on a CPU packed ones, but by Winograd on many cores */
    assert_in_range(clg_plan_statistics(p.plan).kept_launches, cpu ? 4 : 3, cpu ? 6 : 3);
    assert_int_equal(lines, clg_plan_statistics(p.plan).kept_launches);
    free(text);
    assert_int_equal(launched(p.plan), all_of(p.plan));
    const scores first = read_scores(p.y);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(launched(p.plan), steady_of(p.plan));
        assert_true(same(first, read_scores(p.y)));
    }
    write_random(p.x, 5); /* an input */
    assert_int_equal(launched(p.plan), steady_of(p.plan));
    assert_false(same(first, read_scores(p.y)));
    expect_fresh(&p);
    finish(&p);
}

static void what_changes_is_not_kept(void **state)
{
    (void)state;
    clg_graph  *g = new_graph();
    clg_model  *m = clg_model_create(ctx, NULL);
    clg_tensor *in = clg_input(g, CLG_F32, CLG_SHAPE(4, 4)), *s = clg_state(g, CLG_F32, CLG_SHAPE(4, 4)),
               *r = clg_state(g, CLG_F32, CLG_SHAPE(4, 4)), *w = clg_model_parameter(m, g, "w", CLG_SHAPE(4, 4), NULL, 0);
    clg_tensor *of_input = clg_sum(clg_softmax(clg_neg(in)), NULL), *of_state = clg_sum(clg_softmax(clg_neg(s)), NULL);
    clg_tensor *changed[] = {of_state, clg_assign(s, clg_mul(in, in))};
    clg_tensor *of_numbers = clg_sum(clg_softmax(clg_neg(clg_full(g, CLG_SHAPE(4, 4), 2.0))), NULL);
    clg_plan   *plans[] = {planned(&of_input, 1), planned(changed, 2), planned(&of_numbers, 1), NULL};
    plans[3] = clg_plan_train(clg_sum(clg_softmax(clg_matmul(w, r, NULL)), NULL), clg_sgd_create(m, NULL));
    for (int i = 0; i < 4; i++) assert_int_equal(clg_plan_statistics(plans[i]).kept_launches, 0);
    clg_plan *still = planned(&of_state, 1); /* nobody writes it here */
    assert_true(clg_plan_statistics(still).kept_launches > 0);
    clg_plan_run(still);
    assert_true(clg_tensor_scalar(of_state) > 3.999);
    clg_plan_destroy(&still);
    for (int i = 0; i < 4; i++) clg_plan_destroy(&plans[i]);
    no_failure();
}

/* Kept memory is nobody else's, and makes up what a plan has more. */
static void memory_is_kept_too(void **state)
{
    (void)state;
    predictor p = start();
    clg_plan *guarded = clg__plan_create_guarded(&p.y, 1, 16);
    assert_non_null(guarded);
    assert_int_equal(launched(guarded), all_of(guarded));
    assert_int_equal(launched(guarded), steady_of(guarded));
    const scores before = read_scores(p.y);
    assert_int_equal(clg__plan_guards_fill(guarded), CLG_OK); /* and what was kept is gone */
    assert_int_equal(launched(guarded), all_of(guarded));
    assert_true(same(before, read_scores(p.y)) && clg__plan_guards_intact(guarded));
    assert_int_equal(launched(guarded), steady_of(guarded));
    assert_true(same(before, read_scores(p.y)) && clg__plan_guards_intact(guarded));
    expect_fresh(&p);
    clg_plan_destroy(&guarded);
    finish(&p);
}

/* ---- everybody who writes ------------------------------------------------------------------------------------------ */

static void by_tensor_write(predictor *p) { write_random(p->turn, 7); }

static void by_writing_a_parameter_as_a_tensor(predictor *p)
{
    write_random(clg_model_parameter(p->model, clg_tensor_graph(p->x), "u", CLG_SHAPE(CHANNELS, 7), NULL, 0.0), 8);
}

static void by_model_write(predictor *p)
{
    float value[7 * CLASSES];
    fill(value, 7 * CLASSES, 9);
    for (size_t i = 0; i < clg_model_count(p->model); i++)
        if (strcmp(clg_model_name(p->model, i), "v") == 0)
            assert_int_equal(clg_model_write(p->model, i, value, 7 * CLASSES), CLG_OK);
}

static void by_a_model_file(predictor *p)
{
    clg_model *other = clg_model_create(ctx, &(clg_model_desc){.seed = 10});
    clg_graph *g = new_graph();
    network(other, clg_share(g, p->x), clg_share(g, p->turn));
    assert_int_equal(scratch_create(NULL), 0);
    assert_int_equal(clg_model_save(other, scratch_path("kept.safetensors")), CLG_OK);
    assert_int_equal(clg_model_load(p->model, scratch_path("kept.safetensors")), CLG_OK);
    scratch_remove(NULL);
    clg_graph_destroy(&g);
    clg_model_destroy(&other);
}

/* A training step on the same model: parameters by the optimiser, running statistics by an assignment. */
static clg_plan *trainer(predictor *p, bool observed, clg_optimizer **opt)
{
    clg_graph  *g = clg_graph_create(ctx, &(clg_graph_desc){.training = true, .observed = observed});
    clg_tensor *y = network(p->model, clg_share(g, p->x), clg_share(g, p->turn));
    *opt = clg_sgd_create(p->model, &(clg_sgd_desc){.lr = 0.5f});
    clg_plan *plan = clg_plan_train(clg_sum(clg_mul(y, y), NULL), *opt);
    no_failure();
    return plan;
}

static void by_an_optimiser(predictor *p)
{
    clg_optimizer *opt;
    clg_plan      *plan = trainer(p, false, &opt);
    clg_plan_run(plan);
    clg_plan_destroy(&plan);
    clg_optimizer_destroy(&opt);
}

static bool look(void *user, clg_tensor *t) { return (void)user, (void)t, true; }

static void by_a_walk(predictor *p)
{
    clg_optimizer *opt;
    clg_plan      *plan = trainer(p, true, &opt);
    assert_int_equal(clg_plan_walk(plan, look, NULL), CLG_OK);
    clg_plan_destroy(&plan);
    clg_optimizer_destroy(&opt);
}

static void by_an_assignment(predictor *p)
{
    clg_graph  *g = new_graph();
    clg_tensor *turn = clg_share(g, p->turn), *set = clg_assign(turn, clg_neg(turn));
    clg_plan   *plan = planned(&set, 1);
    clg_plan_run(plan);
    clg_plan_destroy(&plan);
    clg_graph_destroy(&g);
}

static void by_running_statistics(predictor *p)
{
    clg_graph *g = clg_graph_create(ctx, &(clg_graph_desc){.training = true});
    network(p->model, clg_share(g, p->x), clg_share(g, p->turn));
    clg_tensor *update[] = {clg_graph_update(g, 0), clg_graph_update(g, 1)};
    clg_plan   *plan = planned(update, 2);
    clg_plan_run(plan);
    clg_plan_destroy(&plan);
    clg_graph_destroy(&g);
}

static void hook(void *user, uint64_t run)
{
    if (run == 2) write_random(user, 11);
}

static void by_a_hook(predictor *p) { clg_plan_on_run(p->plan, hook, p->turn); } /* in the third run, which comes next */

static void by_an_upload(predictor *p)
{
    clg_upload *upload = clg_upload_create(p->turn);
    float      *memory = clg_upload_memory(upload);
    assert_non_null(memory);
    fill(memory, (size_t)p->turn->count, 12);
    clg_upload_send(upload);
    clg_upload_acquire(upload);
    clg_upload_release(upload);
    clg_context_finish(ctx);
    clg_upload_destroy(&upload);
}

static void by_opencl(predictor *p)
{
    size_t at;
    cl_mem mem = clg_tensor_cl_mem(p->turn, &at);
    float  value[CHANNELS * CHANNELS * 4];
    fill(value, CHANNELS * CHANNELS * 4, 13);
    const cl_command_queue queue = clg_context_cl_queue(ctx);
    assert_int_equal(clEnqueueWriteBuffer(queue, mem, CL_TRUE, at, sizeof value, value, 0, NULL, NULL), CL_SUCCESS);
}

static const struct {
    const char *name;
    void (*write)(predictor *p);
    bool unseen; /* from then on nobody knows */
} writers[] = {
#define WRITER(name, unseen) {#name, name, unseen}
    WRITER(by_tensor_write, false), WRITER(by_writing_a_parameter_as_a_tensor, false), WRITER(by_model_write, false),
    WRITER(by_a_model_file, false), WRITER(by_an_optimiser, false), WRITER(by_a_walk, false), WRITER(by_an_assignment, false),
    WRITER(by_running_statistics, false), WRITER(by_a_hook, false), WRITER(by_an_upload, true), WRITER(by_opencl, true),
};

/* Two plans keep values of their own, and both notice. */
static void every_write_is_noticed(void **state)
{
    (void)state;
    for (size_t i = 0; i < CLG__COUNT(writers); i++) {
        predictor p = start(), second = predict(&p, false);
        run_until_steady(&p);
        run_until_steady(&second);
        const scores before = read_scores(p.y);
        writers[i].write(&p);
        if (launched(p.plan) != all_of(p.plan)) fail_msg("%s: not noticed", writers[i].name);
        if (same(before, read_scores(p.y))) fail_msg("%s: it changed nothing", writers[i].name);
        expect_fresh(&p);
        if (launched(second.plan) != all_of(second.plan)) fail_msg("%s: not noticed by a second plan", writers[i].name);
        assert_true(same(read_scores(second.y), read_scores(p.y)));
        for (int run = 0; run < 2; run++)
            if (launched(p.plan) != (writers[i].unseen ? all_of(p.plan) : steady_of(p.plan)))
                fail_msg("%s: run %d after it", writers[i].name, run);
        expect_fresh(&p);
        clg_graph *g = clg_tensor_graph(second.y);
        clg_plan_destroy(&second.plan);
        clg_graph_destroy(&g);
        finish(&p);
    }
}

/* Whoever has its cl_mem may write at any time. */
static void what_others_may_write_is_not_kept(void **state)
{
    (void)state;
    predictor p = start();
    const size_t kept = clg_plan_statistics(p.plan).kept_launches;
    assert_non_null(clg_tensor_cl_mem(p.turn, NULL));
    predictor later = predict(&p, false);
    assert_int_equal(clg_plan_statistics(later.plan).kept_launches, kept - 1);
    run_until_steady(&later); /* of the others it is kept */
    by_opencl(&p);
    assert_int_equal(launched(later.plan), steady_of(later.plan));
    clg_plan_run(p.plan);
    assert_true(same(read_scores(later.y), read_scores(p.y)));
    clg_graph *g = clg_tensor_graph(later.y);
    clg_plan_destroy(&later.plan);
    clg_graph_destroy(&g);
    finish(&p);
}

/* ---- failures ---------------------------------------------------------------------------------------------------- */

/* A run that breaks off has kept nothing, wherever it does, and whether it was steady; nor has one whose work fails later. */
static void a_failed_run_keeps_nothing(void **state)
{
    (void)state;
    predictor p = start();
    for (size_t i = 0; i < p.plan->launch_count; i++)
        for (int steady = 0; steady < 2; steady++) {
            clg__planned *l = &p.plan->launches[i];
            if (l->is_gemm || (steady && l->kept)) continue;
            clg__kernel *kernel = l->launch;
            write_random(p.turn, 20 + i);
            if (steady) run_until_steady(&p);
            l->launch = NULL;
            clg_plan_run(p.plan);
            assert_true(clg_context_failed(ctx));
            clg_context_clear_error(ctx);
            l->launch = kernel;
            assert_int_equal(launched(p.plan), all_of(p.plan));
            assert_int_equal(launched(p.plan), steady_of(p.plan));
        }
    expect_fresh(&p);
    clg_context_fail(ctx, CLG_OPENCL, "what was enqueued has failed");
    clg_context_clear_error(ctx);
    assert_int_equal(launched(p.plan), all_of(p.plan));
    clg_context_clear_error(ctx); /* of none */
    assert_int_equal(launched(p.plan), steady_of(p.plan));
    finish(&p);
}

/* Times are of steady runs. */
static void what_is_kept_takes_no_time(void **state)
{
    (void)state;
    clg_context *own = ctx;
    ctx = clg_context_create(&(clg_context_desc){.trace = true});
    predictor p = start();
    assert_int_equal(clg_plan_measure(p.plan, 3), CLG_OK);
    for (size_t i = 0; i < p.plan->launch_count; i++)
        assert_true(p.plan->launches[i].kept ? p.plan->seconds[i] <= 0.0 : p.plan->seconds[i] > 0.0);
    finish(&p);
    clg_context_destroy(&ctx);
    ctx = own;
}

int main(int argc, char **argv) /* an argument selects tests: "every*" */
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(steady_runs_leave_out_what_is_kept, begin),
        cmocka_unit_test_setup(what_changes_is_not_kept, begin),
        cmocka_unit_test_setup(memory_is_kept_too, begin),
        cmocka_unit_test_setup(every_write_is_noticed, begin),
        cmocka_unit_test_setup(what_others_may_write_is_not_kept, begin),
        cmocka_unit_test_setup(a_failed_run_keeps_nothing, begin),
        cmocka_unit_test_setup(what_is_kept_takes_no_time, begin),
    };
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, open_context, close_context);
}
