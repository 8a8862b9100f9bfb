/* test_checkpoint.c - a training that is saved and gone on with elsewhere is the training that was never stopped, to the bit;
 * and a checkpoint that is not what it was, by one bit of it, is refused. */
#include "base/base.h"
#include <clgrad/clgrad.h>
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "scratch.h"

enum { BATCH = 6, IN = 5, HIDDEN = 7, STEPS = 9, SAVED = 4, MOST = 512 };

static clg_optimizer *sgd(clg_model *m) { return clg_sgd_create(m, &(clg_sgd_desc){.lr = 0.05f}); }

static clg_optimizer *momentum(clg_model *m) { return clg_sgd_create(m, &(clg_sgd_desc){.lr = 0.05f, .momentum = 0.9f}); }

static clg_optimizer *adam(clg_model *m) { return clg_adam_create(m, &(clg_adam_desc){.gradient = {.clip_norm = 0.5}}); }

static clg_optimizer *adamw(clg_model *m) { return clg_adam_create(m, &(clg_adam_desc){.lr = 0.01f, .weight_decay = 0.1}); }

static clg_optimizer *rmsprop(clg_model *m)
{
    return clg_rmsprop_create(m, &(clg_rmsprop_desc){.lr = 0.01f, .momentum = 0.5});
}

static clg_optimizer *(*const optimizers[])(clg_model *m) = {sgd, momentum, adam, adamw, rmsprop};

/* A net with dropout and batch normalisation, whose losses are summed up, and an array on the host. */
typedef struct training {
    clg_context   *ctx;
    clg_model     *model;
    clg_optimizer *opt;
    clg_graph     *graph;
    clg_tensor    *x, *y, *sum;
    clg_plan      *plan;
    float          best[3];
    clg_checkpoint_array arrays[2];
} training;

static void begin_with(training *t, clg_optimizer *(*create)(clg_model *m), int hidden)
{
    *t = (training){.ctx = clg_context_create(NULL), .best = {1.0f, -0.0f, 3e-40f}};
    t->model = clg_model_create(t->ctx, &(clg_model_desc){.seed = 3});
    t->graph = clg_graph_create(t->ctx, &(clg_graph_desc){.training = true});
    t->x = clg_input(t->graph, CLG_F32, CLG_SHAPE(BATCH, IN));
    t->y = clg_input(t->graph, CLG_I32, CLG_SHAPE(BATCH));
    t->sum = clg_state(t->graph, CLG_F32, CLG_SCALAR);
    clg_tensor *h = clg_nn_linear(t->model, "fc1", t->x, &(clg_linear_desc){.features = hidden});
    h = clg_nn_batch_norm2d(t->model, "norm", clg_reshape(h, CLG_SHAPE(BATCH, hidden, 1, 1)), NULL);
    h = clg_nn_dropout(t->model, clg_relu(clg_reshape(h, CLG_SHAPE(BATCH, hidden))), 0.3);
    clg_tensor *loss = clg_cross_entropy(clg_nn_linear(t->model, "fc2", h, &(clg_linear_desc){.features = 3}), t->y);
    clg_tensor *sum = clg_assign(t->sum, clg_add(t->sum, loss));
    t->opt = create(t->model);
    clg_optimizer_set_schedule(t->opt, &(clg_schedule_desc){.kind = CLG_SCHEDULE_COSINE, .steps = STEPS, .warmup = 2});
    t->plan = clg_plan_train_with(loss, t->opt, &sum, 1);
    t->arrays[0] = (clg_checkpoint_array){.name = "sum", .tensor = t->sum};
    t->arrays[1] = (clg_checkpoint_array){.name = "best", .value = t->best, .shape = CLG_SHAPE(3)};
    if (clg_context_failed(t->ctx)) fail_msg("%s", clg_context_error(t->ctx));
}

static void begin(training *t, clg_optimizer *(*create)(clg_model *m)) { begin_with(t, create, HIDDEN); }

static clg_checkpoint all_of(const training *t)
{
    return (clg_checkpoint){.model = t->model, .optimizer = t->opt, .graph = t->graph, .arrays = t->arrays, .array_count = 2};
}

static void run(training *t, int from, int to)
{
    for (int step = from; step < to; step++) {
        float   x[BATCH * IN];
        int32_t y[BATCH];
        for (size_t i = 0; i < CLG__COUNT(x); i++) x[i] = clg_random_uniform((uint64_t)step, i);
        for (size_t i = 0; i < CLG__COUNT(y); i++) y[i] = (int32_t)(clg_random_u32((uint64_t)step, i + 1000) % 3);
        clg_tensor_write(t->x, x, sizeof x);
        clg_tensor_write(t->y, y, sizeof y);
        clg_plan_run(t->plan);
    }
    if (clg_context_failed(t->ctx)) fail_msg("%s", clg_context_error(t->ctx));
}

/* All that the training has: parameters, states, optimiser, arrays. Returns how much that is. */
static size_t values_of(training *t, float value[MOST])
{
    size_t at = 0;
    for (size_t i = 0; i < clg_model_count(t->model); i++) {
        const size_t count = (size_t)clg_shape_count(clg_model_shape(t->model, i));
        assert_int_equal(clg_model_read(t->model, i, value + at, count), CLG_OK);
        at += count;
    }
    for (size_t i = 0; i < clg_optimizer_state_count(t->opt); i++) {
        clg_tensor  *state = clg_optimizer_state(t->opt, i);
        const size_t count = (size_t)clg_tensor_count(state);
        assert_true(at + count < MOST - 8);
        assert_int_equal(clg_tensor_read(state, value + at, count * sizeof *value), CLG_OK);
        at += count;
    }
    assert_int_equal(clg_tensor_read(t->sum, value + at++, sizeof *value), CLG_OK);
    memcpy(value + at, t->best, sizeof t->best);
    return at + 3;
}

static void expect(const training *t, clg_status got, clg_status status, const char *says)
{
    const char *text = clg_context_error(t->ctx);
    assert_false(clg_context_failed(t->ctx));
    if (got != status) fail_msg("status %d: %s", (int)got, text);
    if (status && !strstr(text, says)) fail_msg("'%s' does not say '%s'", text, says);
}

/* ---- what is put back is what was there -------------------------------------------------------------------------- */

static void goes_on_to_the_bit(void **state)
{
    (void)state;
    for (size_t i = 0; i < CLG__COUNT(optimizers); i++) {
        training       t;
        float          whole[MOST], resumed[MOST], other[MOST];
        begin(&t, optimizers[i]);
        run(&t, 0, SAVED);
        const clg_checkpoint saved = all_of(&t);
        expect(&t, clg_checkpoint_save(&saved, scratch_path("run"), &(clg_metadata){"epoch", "2"}, 1), CLG_OK, "");
        run(&t, SAVED, STEPS);
        const size_t count = values_of(&t, whole);
        clg_context_destroy(&t.ctx);

        begin(&t, optimizers[i]);
        memset(t.best, 0, sizeof t.best);
        if (i % 2) run(&t, 0, 2); /* not even the dropout's counter is where it was */
        const clg_checkpoint loaded = all_of(&t);
        char                 epoch[8];
        expect(&t, clg_checkpoint_load(&loaded, scratch_path("run")), CLG_OK, "");
        expect(&t, clg_file_metadata(t.ctx, scratch_path("run"), "epoch", epoch, sizeof epoch), CLG_OK, "");
        assert_string_equal(epoch, "2");
        const clg_optimizer_position at = clg_optimizer_tell(t.opt);
        assert_true(at.steps == SAVED && at.scheduled == SAVED);
        run(&t, SAVED, STEPS);
        assert_int_equal(values_of(&t, resumed), count);
        assert_memory_equal(whole, resumed, count * sizeof *whole);

        clg_optimizer_seek(t.opt, (clg_optimizer_position){SAVED, SAVED, at.lr}); /* the same steps without the right counters */
        run(&t, SAVED, STEPS);
        values_of(&t, other);
        assert_memory_not_equal(whole, other, count * sizeof *whole);
        clg_context_destroy(&t.ctx);
    }
    scratch_files(true);
}

static void the_same_training_is_the_same_file(void **state)
{
    (void)state;
    training t;
    uint8_t *bytes[2];
    size_t   size[2];
    for (int k = 0; k < 2; k++) {
        begin(&t, adam);
        run(&t, 0, 2);
        const clg_checkpoint all = all_of(&t);
        expect(&t, clg_checkpoint_save(&all, scratch_path("run"), NULL, 0), CLG_OK, "");
        clg_context_destroy(&t.ctx);
        bytes[k] = scratch_read("run", &size[k]);
    }
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(bytes[0], bytes[1], size[0]);
    free(bytes[0]);
    free(bytes[1]);
    assert_int_equal(scratch_files(true), 1);
}

static void an_optimizer_knows_where_it_is(void **state)
{
    (void)state;
    clg_context   *ctx = clg_context_create(NULL);
    clg_model     *m = clg_model_create(ctx, NULL);
    clg_optimizer *opt = adam(m);
    assert_int_equal(clg_optimizer_state_count(opt), 0);
    assert_null(clg_optimizer_state(opt, 0));
    clg_optimizer_seek(opt, (clg_optimizer_position){.steps = 7, .scheduled = 3, .lr = 0.25});
    const clg_optimizer_position at = clg_optimizer_tell(opt);
    assert_true(at.steps == 7 && at.scheduled == 3 && at.lr >= 0.25 && at.lr <= 0.25);
    assert_false(clg_context_failed(ctx));
    clg_optimizer_seek(opt, (clg_optimizer_position){.steps = 2, .scheduled = 3, .lr = 0.25});
    assert_true(clg_context_failed(ctx) && strstr(clg_context_error(ctx), "3 of 2"));
    assert_int_equal(clg_optimizer_tell(opt).steps, 7);
    assert_int_equal(clg_optimizer_tell(NULL).steps, 0);
    clg_context_destroy(&ctx);
}

/* ---- what is not right is refused -------------------------------------------------------------------------------- */

static training intact;
static float    before[MOST];
static size_t   before_count;

static void expect_unchanged(void)
{
    float after[MOST];
    assert_int_equal(values_of(&intact, after), before_count);
    assert_memory_equal(before, after, before_count * sizeof *before);
    assert_int_equal(clg_optimizer_tell(intact.opt).steps, 2);
}

/* The checkpoint that `intact` is not to get: of the same training, two steps later. */
static uint8_t *later(size_t *size)
{
    training t;
    begin(&t, adam);
    run(&t, 0, SAVED);
    const clg_checkpoint all = all_of(&t);
    expect(&t, clg_checkpoint_save(&all, scratch_path("later"), &(clg_metadata){"epoch", "1"}, 1), CLG_OK, "");
    clg_context_destroy(&t.ctx);
    return scratch_read("later", size);
}

static int open_intact(void **state)
{
    begin(&intact, adam);
    run(&intact, 0, 2);
    before_count = values_of(&intact, before);
    return scratch_create(state);
}

static int close_intact(void **state)
{
    clg_context_destroy(&intact.ctx);
    return scratch_remove(state);
}

static void every_flipped_bit_is_refused(void **state)
{
    (void)state;
    enum { FLIPS = 1000 };
    const clg_checkpoint all = all_of(&intact);
    size_t               size;
    uint8_t             *bytes = later(&size);
    for (uint64_t i = 0; i < FLIPS + 64; i++) { /* and each of the last */
        const uint64_t wide = (uint64_t)clg_random_u32(5, 2 * i) << 32 | clg_random_u32(5, 2 * i + 1);
        const size_t   bit = i < FLIPS ? (size_t)(wide % (8 * size)) : 8 * size - 1 - (size_t)(i - FLIPS);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        scratch_write("flipped", bytes, size);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        const clg_status status = clg_checkpoint_load(&all, scratch_path("flipped"));
        const char      *text = clg_context_error(intact.ctx);
        if (!status || clg_context_failed(intact.ctx) || !strstr(text, "flipped: "))
            fail_msg("bit %zu of %zu: status %d, '%s'", bit, 8 * size, (int)status, text);
        if (i % 100 == 0) expect_unchanged();
    }
    expect_unchanged();
    for (size_t cut = 0; cut < size; cut += cut < 64 ? 1 : 97) {
        scratch_write("flipped", bytes, cut);
        assert_int_not_equal(clg_checkpoint_load(&all, scratch_path("flipped")), CLG_OK);
    }
    expect_unchanged();
    free(bytes);
    scratch_files(true);
}

static void other_trainings_are_refused(void **state)
{
    (void)state;
    const clg_checkpoint all = all_of(&intact);
    clg_checkpoint       more = all, fewer = all;
    training             t;
    begin_with(&t, adam, HIDDEN + 1);
    const clg_checkpoint wider = all_of(&t);
    expect(&t, clg_checkpoint_save(&wider, scratch_path("wider"), NULL, 0), CLG_OK, "");
    clg_context_destroy(&t.ctx);
    begin(&t, momentum);
    const clg_checkpoint slower = all_of(&t);
    expect(&t, clg_checkpoint_save(&slower, scratch_path("slower"), NULL, 0), CLG_OK, "");
    clg_context_destroy(&t.ctx);
    fewer.array_count = 1;
    more.optimizer = NULL;
    expect(&intact, clg_checkpoint_save(&fewer, scratch_path("fewer"), NULL, 0), CLG_OK, "");
    expect(&intact, clg_checkpoint_save(&more, scratch_path("unoptimized"), NULL, 0), CLG_OK, "");
    expect(&intact, clg_model_save(intact.model, scratch_path("model")), CLG_OK, "");
    static const char bare[] = "\2\0\0\0\0\0\0\0{}";
    scratch_write("bare", bare, sizeof bare - 1);

    expect(&intact, clg_checkpoint_load(&all, scratch_path("wider")), CLG_INVALID_SHAPE, "wider: fc1.weight has the shape [5, 8]");
    expect(&intact, clg_checkpoint_load(&all, scratch_path("slower")), CLG_INVALID_SHAPE, "slower: has no optimizer.first moment");
    expect(&intact, clg_checkpoint_load(&all, scratch_path("fewer")), CLG_INVALID_SHAPE, "fewer: has no best");
    expect(&intact, clg_checkpoint_load(&fewer, scratch_path("unoptimized")), CLG_INVALID_SHAPE, "has no optimizer.");
    expect(&intact, clg_checkpoint_load(&all, scratch_path("model")), CLG_INVALID_SHAPE, "model: has no optimizer.");
    expect(&intact, clg_checkpoint_load(&all, scratch_path("bare")), CLG_FORMAT, "bare: not a checkpoint");
    expect(&intact, clg_checkpoint_load(&all, scratch_path("nothing")), CLG_IO, strerror(ENOENT));
    expect(&intact, clg_checkpoint_load(&all, NULL), CLG_INVALID_ARGUMENT, "path");
    assert_int_equal(clg_checkpoint_load(NULL, "x"), CLG_INVALID_ARGUMENT);
    expect_unchanged();
    scratch_files(true);
}

static void bad_saves_leave_the_old_file(void **state)
{
    (void)state;
    const clg_checkpoint all = all_of(&intact);
    clg_checkpoint       wrong = all;
    clg_checkpoint_array twice[2] = {all.arrays[0], all.arrays[0]}, nameless[2] = {all.arrays[0], {.value = intact.best}};
    size_t               size[2];
    expect(&intact, clg_checkpoint_save(&all, scratch_path("run"), NULL, 0), CLG_OK, "");
    uint8_t *old = scratch_read("run", &size[0]);

    const float bad[] = {(float)NAN, (float)INFINITY};
    float       good;
    assert_int_equal(clg_tensor_read(intact.sum, &good, sizeof good), CLG_OK);
    for (int i = 0; i < 2; i++) {
        clg_tensor_write(intact.sum, &bad[i], sizeof bad[i]);
        expect(&intact, clg_checkpoint_save(&all, scratch_path("run"), NULL, 0), CLG_NOT_FINITE, i ? "sum [] has the value inf" : "nan");
    }
    clg_tensor_write(intact.sum, &good, sizeof good);
    wrong.arrays = twice;
    expect(&intact, clg_checkpoint_save(&wrong, scratch_path("run"), NULL, 0), CLG_INVALID_ARGUMENT, "saved as sum");
    wrong.arrays = nameless;
    expect(&intact, clg_checkpoint_save(&wrong, scratch_path("run"), NULL, 0), CLG_INVALID_ARGUMENT, "no name");
    expect(&intact, clg_checkpoint_save(&all, scratch_path("run"), &(clg_metadata){"optimizer.steps", "1"}, 1), CLG_INVALID_ARGUMENT,
           "twice");
    expect(&intact, clg_checkpoint_save(&all, scratch_path("none/run"), NULL, 0), CLG_IO, strerror(ENOENT));
    expect(&intact, clg_checkpoint_save(&all, NULL, NULL, 0), CLG_INVALID_ARGUMENT, "path");
    uint8_t *now = scratch_read("run", &size[1]);
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(old, now, size[0]);
    free(old);
    free(now);
    assert_int_equal(scratch_files(true), 1);
}

int main(void)
{
    const struct CMUnitTest resuming[] = {
        cmocka_unit_test(goes_on_to_the_bit), cmocka_unit_test(the_same_training_is_the_same_file),
        cmocka_unit_test(an_optimizer_knows_where_it_is)};
    const struct CMUnitTest refusing[] = {
        cmocka_unit_test(every_flipped_bit_is_refused), cmocka_unit_test(other_trainings_are_refused),
        cmocka_unit_test(bad_saves_leave_the_old_file)};
    const int failed = cmocka_run_group_tests(resuming, scratch_create, scratch_remove);
    return failed + cmocka_run_group_tests(refusing, open_intact, close_intact);
}
