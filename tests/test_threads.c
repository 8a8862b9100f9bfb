/* test_threads.c - contexts in two threads at once: they train alike, while both build and keep the same programs, save to the
 * same file and load what the other saved. tools/lanes tsan looks for data races in it. */
#include <clgrad/clgrad.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "scratch.h"

enum { THREADS = 2, ROWS = 32, FEATURES = 5, BATCH = 8, EPOCHS = 2, STEPS = EPOCHS * ROWS / BATCH };

typedef struct worker {
    pthread_t thread;
    float     losses[STEPS], loaded; /* the last: of the model that came back from the file */
    char      error[256];
} worker;

static clg_dataset *open_data(clg_context *ctx)
{
    float   x[ROWS * FEATURES];
    int32_t label[ROWS];
    for (int i = 0; i < ROWS * FEATURES; i++) x[i] = clg_random_uniform(1, (uint64_t)i);
    for (int i = 0; i < ROWS; i++) label[i] = x[i * FEATURES] > 0.5f;
    return clg_dataset_create_from(ctx, &(clg_dataset_desc){.shape = CLG_SHAPE(ROWS, FEATURES), .examples = x, .labels = label});
}

static clg_tensor *network(clg_model *m, clg_tensor *x)
{
    x = clg_nn_dropout(m, clg_relu(clg_nn_linear(m, "fc1", x, &(clg_linear_desc){.features = 7})), 0.1);
    return clg_nn_linear(m, "fc2", x, &(clg_linear_desc){.features = 2});
}

static void *train_save_load(void *user)
{
    worker        *w = user;
    clg_context   *ctx = clg_context_create(NULL);
    clg_dataset   *data = open_data(ctx);
    clg_model     *net = clg_model_create(ctx, &(clg_model_desc){.seed = 1}), *copy = clg_model_create(ctx, NULL);
    clg_graph     *g = clg_graph_create(ctx, &(clg_graph_desc){.training = true}), *h = clg_graph_create(ctx, NULL);
    clg_tensor    *x = clg_input(g, CLG_F32, CLG_SHAPE(BATCH, FEATURES)), *y = clg_input(g, CLG_I32, CLG_SHAPE(BATCH));
    clg_tensor    *loss = clg_cross_entropy(network(net, x), y);
    clg_optimizer *adam = clg_adam_create(net, &(clg_adam_desc){.lr = 1e-2f});
    clg_plan      *step = clg_plan_train(loss, adam);
    int            steps = 0;
    for (int epoch = 0; epoch < EPOCHS; epoch++)
        for (clg_loader it = clg_loader_begin(data, &(clg_loader_desc){.batch = BATCH, .shuffle = true}); clg_loader_next(&it, x, y);) {
            clg_plan_run(step);
            w->losses[steps++] = (float)clg_tensor_scalar(loss);
        }
    char model[128], kept[128];
    snprintf(model, sizeof model, "%s/model.safetensors", scratch_dir);
    snprintf(kept, sizeof kept, "%s/kept.checkpoint", scratch_dir);
    const clg_checkpoint checkpoint = {.model = net, .optimizer = adam};
    clg_checkpoint_save(&checkpoint, kept, NULL, 0);
    clg_model_save(net, model);
    clg_tensor *in = clg_input(h, CLG_F32, CLG_SHAPE(BATCH, FEATURES)), *out = clg_sum(network(copy, in), NULL);
    clg_model_load(copy, model);
    clg_checkpoint_load(&checkpoint, kept);
    clg_plan   *forward = clg_plan_create(out);
    const float ones[BATCH * FEATURES] = {1.0f};
    clg_tensor_write(in, ones, sizeof ones);
    clg_plan_run(forward);
    w->loaded = (float)clg_tensor_scalar(out);
    clg_device_list *list = clg_device_list_create();
    clg_device_list_destroy(&list);
    snprintf(w->error, sizeof w->error, "%s", clg_context_error(ctx));
    clg_context_destroy(&ctx);
    return NULL;
}

static void both(worker w[THREADS])
{
    memset(w, 0, THREADS * sizeof *w);
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&w[i].thread, NULL, train_save_load, &w[i]), 0);
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_join(w[i].thread, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        if (w[i].error[0]) fail_msg("%s", w[i].error);
    assert_memory_equal(w[0].losses, w[1].losses, sizeof w[0].losses);
    assert_true(w[0].losses[STEPS - 1] < w[0].losses[0] && w[0].loaded == w[1].loaded);
}

static void two_threads_train_alike(void **state)
{
    (void)state;
    worker first[THREADS], again[THREADS];
    both(first); /* nothing is kept yet */
    both(again);
    assert_memory_equal(first[0].losses, again[0].losses, sizeof first[0].losses);
    static const char *const left[] = {"model.safetensors.tmp", "model.safetensors.1.tmp", "kept.checkpoint.tmp", "kept.checkpoint.1.tmp"};
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++) assert_int_not_equal(access(scratch_path(left[i]), F_OK), 0);
}

static int set_up(void **state)
{
    clg_device_list *list = clg_device_list_create(); /* drivers look for their own caches now, not in ours below */
    clg_device_list_destroy(&list);
    unsetenv("CLGRAD_PROFILE");
    setenv("CLGRAD_BUILDERS", "2", 1);
    return scratch_create(state) || setenv("XDG_CACHE_HOME", scratch_dir, 1) ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[160];
    snprintf(command, sizeof command, "rm -r '%s'", scratch_dir);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(two_threads_train_alike)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
