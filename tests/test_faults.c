/* test_faults.c - every call that can fail does, once, in turn: a listing, a training of two steps, a save and a load of
 * a model and of a checkpoint.
 *
 * What must come of it: an error that says something, or, where the call only saved time, the very result of a run
 * without faults. Never a crash, a leak, a silent NULL, a half-written file; and the context can be destroyed. With
 * arguments FIRST LAST: only those calls, each reported. */
#include "base/base.h"
#include "fault.h"
#include "scratch.h"
#include <clgrad/clgrad.h>
#include <cjson/cJSON.h>
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <cmocka.h>

enum { ROWS = 8, FEATURES = 3, BATCH = 4, STEPS = 2, MOST_COMPLAINTS = 20 };

typedef struct outcome {
    bool  failed;  /* as the library said */
    bool  silent;  /* something went wrong and there is no word of it */
    bool  saved;
    float loss, after; /* of the last step; of the model loaded again */
    char  text[256];
} outcome;

static void fails(outcome *o, clg_context *ctx, clg_status status)
{
    o->failed = true;
    const char *text = clg_context_error(ctx);
    o->silent = o->silent || !*text || (status == CLG_OK && !clg_context_failed(ctx));
    snprintf(o->text, sizeof o->text, "%s", text);
}

static clg_dataset *open_data(clg_context *ctx)
{
    float   x[ROWS * FEATURES];
    int32_t label[ROWS];
    for (int i = 0; i < ROWS * FEATURES; i++) x[i] = clg_random_uniform(1, (uint64_t)i);
    for (int i = 0; i < ROWS; i++) label[i] = i % 2;
    return clg_dataset_create_from(ctx, &(clg_dataset_desc){.shape = CLG_SHAPE(ROWS, FEATURES), .examples = x, .labels = label});
}

static clg_tensor *network(clg_model *m, clg_tensor *x)
{
    x = clg_nn_dropout(m, clg_relu(clg_nn_linear(m, "fc1", x, &(clg_linear_desc){.features = 5})), 0.1);
    return clg_nn_linear(m, "fc2", x, &(clg_linear_desc){.features = 2});
}

static const float large[1 << 19]; /* beyond what a driver's own memory is for */

static void train(outcome *o, clg_context *ctx)
{
    clg_dataset *data = open_data(ctx);
    clg_model   *net = clg_model_create(ctx, &(clg_model_desc){.seed = 1});
    clg_graph   *g = clg_graph_create(ctx, &(clg_graph_desc){.training = true});
    clg_tensor  *x = clg_input(g, CLG_F32, CLG_SHAPE(BATCH, FEATURES)), *y = clg_input(g, CLG_I32, CLG_SHAPE(BATCH));
    clg_tensor  *loss = clg_cross_entropy(network(net, x), y);
    clg_optimizer *adam = clg_adam_create(net, &(clg_adam_desc){.lr = 1e-2f});
    clg_plan    *step = clg_plan_train(loss, adam);
    clg_tensor_write(clg_input(g, CLG_F32, CLG_SHAPE(CLG__COUNT(large))), large, sizeof large);
    clg_loader   it = clg_loader_begin(data, &(clg_loader_desc){.batch = BATCH, .shuffle = true});
    int          steps = 0;
    while (steps < STEPS && clg_loader_next(&it, x, y)) clg_plan_run(step), steps++;
    o->loss = (float)clg_tensor_scalar(loss);
    if (clg_context_failed(ctx)) {
        fails(o, ctx, CLG_OK);
        return;
    }
    o->silent = o->silent || !step || steps != STEPS;
    clg_status status = clg_model_save_with(net, scratch_path("model"), &(clg_metadata){"key", "value"}, 1);
    o->saved = status == CLG_OK;
    if (!o->saved) {
        fails(o, ctx, status);
        return;
    }
    char value[16];
    if (!status) status = clg_file_metadata(ctx, scratch_path("model"), "key", value, sizeof value);
    if (!status) status = clg_model_load(net, scratch_path("model"));
    const clg_checkpoint all = {.model = net, .optimizer = adam, .graph = g};
    if (!status) status = clg_checkpoint_save(&all, scratch_path("checkpoint"), NULL, 0);
    if (!status) status = clg_checkpoint_load(&all, scratch_path("checkpoint"));
    if (!status) clg_plan_run(step);
    o->after = (float)clg_tensor_scalar(loss);
    if (status || clg_context_failed(ctx)) fails(o, ctx, status);
}

#define FILE_OF(name, bytes) {name, bytes, sizeof bytes - 1}
static const struct {
    const char *name, *bytes;
    size_t      size;
} files[] = {
    FILE_OF("table.csv", "a,b,kind\n1,2,x\n3,4,y\n5,6,x\n"),
    FILE_OF("train-images-idx3-ubyte", "\0\0\10\3\0\0\0\2\0\0\0\1\0\0\0\2abcd"),
    FILE_OF("train-labels-idx1-ubyte.gz", "\037\213\010\000\000\000\000\000\002\003\143\140\340\140\144\140\140\140\142\144\000" /* 0 0 8 1, 0 0 0 2, 1 0 */
            "\000\130\235\207\214\012\000\000\000"),
    FILE_OF("x.npy", "\x93NUMPY\1\0\x46\0{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2), }          \nabcd"),
};

/* Data of each kind from files. */
static void read_files(outcome *o, clg_context *ctx)
{
    clg_dataset *csv = clg_dataset_open_csv(ctx, scratch_path("table.csv"), &(clg_csv_desc){.label = "kind"});
    clg_dataset *idx = csv ? clg_dataset_open_idx(ctx, scratch_dir, "train") : NULL;
    clg_dataset *npy = idx ? clg_dataset_open_npy(ctx, scratch_path("x.npy"), NULL) : NULL;
    if (!npy || clg_context_failed(ctx)) fails(o, ctx, CLG_OK);
    clg_dataset_destroy(&csv);
    clg_dataset_destroy(&idx);
    clg_dataset_destroy(&npy);
}

static outcome scenario(void)
{
    outcome          o = {0};
    clg_device_list *list = clg_device_list_create();
    const bool       listed = list && list->device_count > 0;
    clg_device_list_destroy(&list);
    clg_context *ctx = clg_context_create(NULL);
    if (clg_context_failed(ctx)) fails(&o, ctx, CLG_OK);
    else read_files(&o, ctx);
    if (!o.failed) train(&o, ctx);
    clg_context_destroy(&ctx);
    o.failed = o.failed || !listed;
    return o;
}

/* ---- the runs ------------------------------------------------------------------------------------------------------ */

static long    now;      /* the call that fails, for the message of a crash */
static long    first_asked, last_asked; /* by arguments, or 0 */
static outcome expected; /* of a run without faults */
static uint8_t *model_bytes;
static size_t   model_size;
static int      complaints;
static char     cache_home[] = "/tmp/clgrad-cache-XXXXXX", cache[64];

static void crashed(int number)
{
    fprintf(stderr, "signal %d when call %ld (%s) fails\n", number, now, fault_name() ? fault_name() : "?");
    signal(number, SIG_DFL);
    raise(number);
}

static void complain(const char *format, ...) CLG_PRINTF(1, 2);
static void complain(const char *format, ...)
{
    va_list args;
    if (++complaints > MOST_COMPLAINTS) return;
    va_start(args, format);
    fprintf(stderr, "call %ld (%s) fails: ", now, fault_name());
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
}

/* Of a device that does not tell all of itself other kernels are used, whose sums are rounded otherwise. */
static bool near(float a, float b) { return fabsf(a - b) <= 16.0f * FLT_EPSILON * fabsf(b); }

/* The file is the old one, "old", or the new one, whole: `after` was computed with what was loaded of it. */
static void check_file(const outcome *o)
{
    size_t   size;
    uint8_t *bytes = scratch_read("model", &size);
    const bool fresh = size == model_size && (!o->failed || memcmp(bytes, model_bytes, size) == 0);
    const bool old = size == 3 && memcmp(bytes, "old", 3) == 0;
    if (o->saved ? !fresh : !fresh && !old) complain("the file is %s", old ? "the old one" : "neither the old nor the new one");
    free(bytes);
}

/* One run in which call `k` fails, and, if asked, all calls after it; 0: none. Whether there was such a call. */
static bool try_call(long k, bool and_later)
{
    scratch_write("model", "old", 3);
    scratch_write("checkpoint", "old", 3);
    const int            entries = scratch_files(false);
    const fault_holdings before = fault_held();
    now = k;
    fault_at(k, and_later);
    const outcome        o = scenario();
    const fault_holdings after = fault_held();
    const bool           reached = fault_name() != NULL;
    fault_at(0, false);
    if (!reached) return false;
    if (after.memory != before.memory) complain("%ld blocks of memory leak", after.memory - before.memory);
    if (after.opencl != before.opencl) complain("%ld OpenCL objects leak", after.opencl - before.opencl);
    if (after.files != before.files) complain("%ld files stay open", after.files - before.files);
    if (scratch_files(false) != entries) complain("a file is left behind");
    if (o.silent) complain("no word of it (%s)", o.text);
    if (!o.failed && (!near(o.loss, expected.loss) || !near(o.after, expected.after)))
        complain("the loss is %g, then %g, not %g, then %g", (double)o.loss, (double)o.after, (double)expected.loss,
                 (double)expected.after);
    check_file(&o);
    if (first_asked) fprintf(stderr, "call %ld, %s: %s\n", k, fault_name(), o.failed ? o.text : "no harm");
    return true;
}

/* Every step-th call; `emptied`: a directory of the library's that is, before each. */
static void every_call(long step, bool and_later, const char *emptied, const char *text)
{
    long k = CLG__MAX(first_asked, 1), tried = 0;
    complaints = 0;
    for (; !last_asked || k <= last_asked; k += step, tried++) {
        if (emptied) clg__cache_trim(emptied, 0);
        if (!try_call(k, and_later)) break;
    }
    print_message("%s: %ld points tried, %d crashed, leaked or were silent\n", text, tried, complaints);
    assert_int_equal(complaints, 0);
    assert_true(tried > 0);
}

static void each_call_fails(void **state)
{
    (void)state;
    every_call(1, false, NULL, "each call fails once");
}

/* Each call's own failure is what the test before is about; here it is what later ones meet, so every 7th will do. */
static void all_later_calls_fail(void **state)
{
    (void)state;
    every_call(last_asked ? 1 : 7, true, NULL, "all calls from every 7th on fail");
}

/* What is done only when the library's cache has nothing yet: programs are built by other processes, or here, and kept. (The
 * driver's cache has them, or this would take minutes.) */
static void all_is_new(void **state)
{
    (void)state;
    fault_only("mkdir open64 mkstemp64 fdopen fwrite rename opendir clCreateProgramWithSource clBuildProgram clGetProgramInfo");
    every_call(1, false, cache, "each call fails once, nothing is cached");
    setenv("CLGRAD_BUILDERS", "1", 1);
    fault_only("socketpair posix_spawn_file_actions_init posix_spawn_file_actions_adddup2 posix_spawn_file_actions_addopen "
               "posix_spawn send recv poll");
    every_call(1, false, cache, "each call to builders fails once");
    fault_only(NULL);
    setenv("CLGRAD_BUILDERS", "0", 1);
}

/* Without the processes that build programs, and with a cache of its own that has them: every file there is a call more. */
static int prepare(void **state)
{
    char pocl[512];
    if (scratch_create(state) || !getenv("XDG_CACHE_HOME") || !mkdtemp(cache_home)) return -1;
    snprintf(pocl, sizeof pocl, "%s/pocl/kcache", getenv("XDG_CACHE_HOME"));
    snprintf(cache, sizeof cache, "%s/clgrad", cache_home);
    setenv("POCL_CACHE_DIR", pocl, 0);
    setenv("XDG_CACHE_HOME", cache_home, 1);
    setenv("CLGRAD_BUILDERS", "0", 1);
    for (size_t i = 0; i < CLG__COUNT(files); i++) scratch_write(files[i].name, files[i].bytes, files[i].size);
    cJSON_InitHooks(&(cJSON_Hooks){malloc, free});
    const int signals[] = {SIGSEGV, SIGABRT, SIGBUS, SIGFPE};
    for (size_t i = 0; i < CLG__COUNT(signals); i++) signal(signals[i], crashed);
    scenario();
    expected = scenario();
    if (expected.failed || expected.silent) {
        fprintf(stderr, "without faults: %s\n", expected.text);
        return -1;
    }
    model_bytes = scratch_read("model", &model_size);
    return 0;
}

static int clean(void **state)
{
    free(model_bytes);
    clg__cache_trim(cache, 0);
    rmdir(cache);
    rmdir(cache_home);
    return scratch_remove(state);
}

int main(int argc, char **argv)
{
    if (argc > 1) first_asked = last_asked = atol(argv[1]);
    if (argc > 2) last_asked = atol(argv[2]);
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_call_fails), cmocka_unit_test(all_later_calls_fail),
                                        cmocka_unit_test(all_is_new)};
    return cmocka_run_group_tests(tests, prepare, clean);
}
