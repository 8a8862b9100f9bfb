/* test_fork.c - programs that fork: before OpenCL is used each process may use it; afterwards only the parent may, and the
 * child is told so. Drivers have threads and locks that do not survive. */
#include <clgrad/clgrad.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

enum { ROWS = 4, FEATURES = 3, STEPS = 3 };

typedef struct training {
    clg_context *ctx;
    clg_tensor  *loss;
    clg_plan    *step;
} training;

static training begin(void)
{
    const float x[ROWS * FEATURES] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 3, 5}, y[ROWS] = {1, 0, 1, 0};
    training     t = {.ctx = clg_context_create(NULL)};
    clg_model   *net = clg_model_create(t.ctx, &(clg_model_desc){.seed = 1});
    clg_graph   *g = clg_graph_create(t.ctx, &(clg_graph_desc){.training = true});
    clg_tensor  *in = clg_input(g, CLG_F32, CLG_SHAPE(ROWS, FEATURES)), *want = clg_input(g, CLG_F32, CLG_SHAPE(ROWS, 1));
    clg_tensor  *miss = clg_sub(clg_nn_linear(net, "fc", in, &(clg_linear_desc){.features = 1}), want);
    t.loss = clg_mean(clg_mul(miss, miss), NULL);
    t.step = clg_plan_train(t.loss, clg_sgd_create(net, &(clg_sgd_desc){.lr = 1e-3f}));
    clg_tensor_write(in, x, sizeof x);
    clg_tensor_write(want, y, sizeof y);
    return t;
}

static float go_on(training *t)
{
    for (int i = 0; i < STEPS; i++) clg_plan_run(t->step);
    return (float)clg_tensor_scalar(t->loss);
}

/* What the child returns; -1 if it did not end by itself within the time of an alarm. */
static int in_child(int (*work)(void *), void *with)
{
    fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(60);
        _exit(work(with));
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int train_and_tell(void *pipe)
{
    training    t = begin();
    const float loss = go_on(&t);
    const bool  good = !clg_context_failed(t.ctx) && write(((int *)pipe)[1], &loss, sizeof loss) == sizeof loss;
    clg_context_destroy(&t.ctx);
    return good && !t.ctx ? 0 : 1;
}

static void before_opencl_is_used(void **state)
{
    (void)state;
    int   ends[2];
    float theirs = 0.0f;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(in_child(train_and_tell, ends), 0);
    assert_int_equal(read(ends[0], &theirs, sizeof theirs), sizeof theirs);
    close(ends[0]);
    close(ends[1]);
    training    t = begin();
    const float ours = go_on(&t);
    if (clg_context_failed(t.ctx)) fail_msg("%s", clg_context_error(t.ctx));
    assert_memory_equal(&ours, &theirs, sizeof ours);
    clg_context_destroy(&t.ctx);
}

/* Each check that fails is a bit of the result. */
static int use_what_was_inherited(void *with)
{
    training *t = with;
    int       wrong = 0;
    clg_plan_run(t->step);
    wrong |= !clg_context_failed(t->ctx) << 0 | !strstr(clg_context_error(t->ctx), "fork") << 1;
    clg_context_clear_error(t->ctx);
    wrong |= (clg_input(clg_graph_create(t->ctx, NULL), CLG_F32, CLG_SCALAR) != NULL) << 2 | !clg_context_failed(t->ctx) << 3;
    clg_context_destroy(&t->ctx);
    wrong |= (t->ctx != NULL) << 4;
    clg_context *own = clg_context_create(NULL);
    wrong |= !clg_context_failed(own) << 5 | !strstr(clg_context_error(own), "fork") << 6;
    clg_context_destroy(&own);
    return wrong;
}

static void after_a_context_exists(void **state)
{
    (void)state;
    training    plain = begin(), forked = begin();
    const float expected = (go_on(&plain), go_on(&plain));
    go_on(&forked);
    assert_int_equal(in_child(use_what_was_inherited, &forked), 0);
    const float loss = go_on(&forked); /* nothing has happened to the parent's */
    if (clg_context_failed(forked.ctx)) fail_msg("%s", clg_context_error(forked.ctx));
    assert_memory_equal(&loss, &expected, sizeof loss);
    clg_context_destroy(&plain.ctx);
    clg_context_destroy(&forked.ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(before_opencl_is_used), /* the first */
        cmocka_unit_test(after_a_context_exists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
