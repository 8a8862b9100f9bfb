/* train.c - clgrad train: learns the training images, measures itself on the test images after each epoch, saves.
 *
 * What can be refused is refused before the first step: options, where the model goes, device,
 * data, the log. */
#include "options.h"
#include "pass.h"
#include "report.h"
#include "source.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct train_options {
    const char *data, *test, *label, *target, *size, *model, *optimizer, *device, *out, *log, *trace;
    int64_t     epochs, batch, limit, classes;
    uint64_t    seed;
    float       lr, momentum, split;
    bool        normalize;
} train_options;

#define FIELD(name) offsetof(train_options, name)

static const option options[] = {
    {"data", OPTION_TEXT, FIELD(data), "DATA", SOURCE_HELP, 0, 0},
    {"label", OPTION_TEXT, FIELD(label), "COLUMN", "of a CSV file: the classes to be learnt", 0, 0},
    {"target", OPTION_TEXT, FIELD(target), "COLUMN", "of a CSV file: the numbers to be learnt", 0, 0},
    {"test", OPTION_TEXT, FIELD(test), "DATA", "what to test with, when DATA has no test part", 0, 0},
    {"split", OPTION_FRACTION, FIELD(split), "X", "without --test: the share to test with, by --seed (default 0.2)", 0, 0},
    {"image-size", OPTION_TEXT, FIELD(size), "HxW", "scale the pictures of a folder to this height and width", 0, 0},
    {"normalize", OPTION_FLAG, FIELD(normalize), NULL, "each feature (of images: channel) to mean 0 and deviation 1", 0, 0},
    {"model", OPTION_TEXT, FIELD(model), "MODEL", NETWORK_HELP, 0, 0},
    {"classes", OPTION_COUNT, FIELD(classes), "N", "outputs of the network (default 10, or as a SPEC has it)", NETWORK_MAX_CLASSES, 0},
    {"epochs", OPTION_COUNT, FIELD(epochs), "N", "passes over the data (default 5)", INT32_MAX, 0},
    {"batch", OPTION_COUNT, FIELD(batch), "N", "examples per step (default 128; resnet18 and gpt: 8)", INT32_MAX, 0},
    {"limit", OPTION_COUNT, FIELD(limit), "N", "train on the first N images only", 0, 0},
    {"optimizer", OPTION_CHOICE, FIELD(optimizer), "adam|sgd", "how to learn (default adam)", 0, 0},
    {"lr", OPTION_POSITIVE, FIELD(lr), "X", "learning rate (default 0.001 for adam, 0.01 for sgd)", 0, 0},
    {"momentum", OPTION_FRACTION, FIELD(momentum), "X", "of sgd (default 0.9)", 0, 0},
    {"seed", OPTION_SEED, FIELD(seed), "N", "of the first weights and of the order of images (default 1)", 0, 0},
    {"device", OPTION_TEXT, FIELD(device), "DEVICE", "P:D, gpu, cpu, or part of a name (default: the best)", 0, 0},
    {"out", OPTION_TEXT, FIELD(out), "FILE", "where the model goes (default clgrad-MODEL.safetensors)", 0, 0},
    {"log", OPTION_TEXT, FIELD(log), "FILE", "one JSON object per epoch and line, replacing the file", 0, 0},
    {"trace", OPTION_TEXT, FIELD(trace), "FILE", "write kernels, transfers and host work for chrome://tracing", 0, 0},
    {0},
};

static const float unset = -1.0f;

/* Can a model be saved at `path`? Tries a file beside it, as saving will, and leaves `path` alone. */
static bool can_save(const char *path)
{
    struct stat info;
    if (!stat(path, &info) && !S_ISREG(info.st_mode))
        return fail(&command_train, "--out %s: not a regular file", path), false;
    const size_t length = strlen(path) + sizeof ".XXXXXX";
    char        *probe = malloc(length);
    if (!probe) return fail(&command_train, "out of memory"), false;
    snprintf(probe, length, "%s.XXXXXX", path);
    const int file = mkstemp(probe);
    if (file < 0) fail(&command_train, "--out %s: cannot write there: %s", path, strerror(errno));
    else close(file), unlink(probe);
    free(probe);
    return file >= 0;
}

static long long parameters(const clg_model *model)
{
    long long sum = 0;
    for (size_t i = 0; i < clg_model_count(model); i++)
        if (!clg_model_is_state(model, i)) sum += clg_shape_count(clg_model_shape(model, i));
    return sum;
}

/* The order of the images differs from epoch to epoch and follows from the seed. */
static uint64_t epoch_seed(uint64_t seed, int64_t epoch)
{
    const uint64_t index = 2 * (uint64_t)epoch;
    return (uint64_t)clg_random_u32(seed, index) << 32 | clg_random_u32(seed, index + 1);
}

static void train_epoch(pass *p, const train_options *o, epoch_result *r, bool terminal)
{
    const uint64_t seed = epoch_seed(o->seed, r->epoch);
    clg_context   *ctx = clg_tensor_context(p->x);
    const double   start = clock_seconds();
    double         drawn = start;
    r->before = clg_context_counters(ctx);
    pass_begin(p, &seed);
    while (pass_next(p)) {
        if (!terminal) continue;
        const double now = clock_seconds();
        if (now - drawn < 0.25) continue;
        const double loss = pass_loss(p);
        drawn = clock_seconds();
        report_progress(r, p->seen, drawn - start, loss);
    }
    r->train_loss = pass_loss(p);
    r->after = clg_context_counters(ctx);
    r->seconds = clock_seconds() - start;
    r->steps = p->steps;
}

static void test_epoch(pass *p, epoch_result *r)
{
    pass_begin(p, NULL);
    while (pass_next(p)) continue;
    r->test_loss = pass_loss(p);
    r->test_accuracy = pass_accuracy(p);
}

static int epochs(const train_options *o, clg_context *ctx, pass *train, pass *test, FILE *log)
{
    const bool terminal = isatty(STDOUT_FILENO);
    for (int64_t epoch = 1; epoch <= o->epochs; epoch++) {
        epoch_result r = {.epoch = epoch, .epochs = o->epochs, .images = clg_dataset_count(train->data),
                          .regression = train->real};
        train_epoch(train, o, &r, terminal);
        test_epoch(test, &r);
        if (train->trace) trace_drain(train->trace, ctx);
        if (clg_context_failed(ctx)) return fail_context(&command_train, ctx);
        report_epoch(&r, terminal);
        if (log && !report_log(&r, log))
            return fail(&command_train, "--log %s: cannot write: %s", o->log, strerror(errno));
        if (!isfinite(r.train_loss))
            return fail(&command_train, "the loss is no longer a number; try a smaller --lr. Nothing was saved");
    }
    return 0;
}

/* epochs() between opening and closing the log; a log without a single line is not left behind. */
static int logged_epochs(const train_options *o, clg_context *ctx, pass *train, pass *test)
{
    if (!o->log) return epochs(o, ctx, train, test, NULL);
    const int   file = open(o->log, O_WRONLY | O_CREAT, 0666);
    FILE       *log = file < 0 ? NULL : fdopen(file, "w");
    struct stat same[2];
    if (!log) return fail(&command_train, "--log %s: %s", o->log, strerror(errno));
    if (!stat(o->out, &same[0]) && !fstat(file, &same[1]) && same[0].st_ino == same[1].st_ino &&
        same[0].st_dev == same[1].st_dev) {
        fclose(log);
        if (same[1].st_size == 0) unlink(o->log);
        return usage(&command_train, "--log and --out name the same file");
    }
    if (ftruncate(file, 0) && errno != EINVAL) /* EINVAL: a pipe or a terminal */
        return fclose(log), fail(&command_train, "--log %s: cannot write: %s", o->log, strerror(errno));
    setvbuf(log, NULL, _IONBF, 0);
    const int   status = epochs(o, ctx, train, test, log);
    struct stat info;
    if (status && !fstat(fileno(log), &info) && S_ISREG(info.st_mode) && info.st_size == 0) unlink(o->log);
    fclose(log);
    return status;
}

static int traced_epochs(const train_options *o, clg_context *ctx, pass *train, pass *test)
{
    if (!o->trace) return logged_epochs(o, ctx, train, test);
    trace t;
    if (!trace_open(&t, o->trace)) return fail(&command_train, "--trace %s: %s", o->trace, strerror(errno));
    train->trace = test->trace = &t;
    const int status = logged_epochs(o, ctx, train, test);
    if (!trace_close(&t) && !status) return fail(&command_train, "--trace %s: cannot write: %s", o->trace, strerror(errno));
    return status;
}

static clg_optimizer *optimizer(const train_options *o, clg_model *model)
{
    const float lr = o->lr == unset ? 0.0f : o->lr; /* 0: the library's default */
    if (!strcmp(o->optimizer, "adam")) return clg_adam_create(model, &(clg_adam_desc){.lr = lr});
    return clg_sgd_create(model, &(clg_sgd_desc){.lr = lr, .momentum = o->momentum == unset ? 0.9f : o->momentum});
}

/* Mean and deviation of the training data, for as long as the context lives; false when out of memory. */
static bool learn_moments(clg_context *ctx, clg_dataset *data, network *net)
{
    const size_t places = (size_t)net->input.dim[0];
    float       *mean = calloc(2 * places, sizeof *mean), *deviation = mean ? mean + places : NULL;
    if (!mean || !clg_context_own(ctx, mean, free) || clg_dataset_moments(data, mean, deviation)) return false;
    for (size_t i = 0; i < places; i++)
        if (!(deviation[i] > 0.0f)) deviation[i] = 1.0f; /* always the same: nothing to learn from it */
    net->mean = mean;
    net->std = deviation;
    return true;
}

/* The network that suits the data; 0, or the exit status. */
static int describe(const train_options *o, clg_context *ctx, clg_dataset *data, network *net)
{
    const command  *cmd = &command_train;
    const clg_shape shape = clg_dataset_shape(data);
    const int64_t   outputs = clg_dataset_outputs(data), named = clg_dataset_class_name(data, 0) ? clg_dataset_classes(data) : 0;
    const int64_t   found = outputs ? outputs : named;
    if (found > NETWORK_MAX_CLASSES)
        return fail(cmd, "%s: %lld classes, and a network has at most %d", o->data, (long long)found, NETWORK_MAX_CLASSES);
    if (named && o->classes && o->classes != named)
        return fail(cmd, "%s: %lld classes, and --classes says %lld", o->data, (long long)named, (long long)o->classes);
    *net = (network){.model = o->model, .classes = (int)(o->classes ? o->classes : found), .regression = outputs,
                     .answer = o->label ? o->label : o->target, .input.rank = shape.rank - 1};
    for (int d = 1; d < shape.rank; d++) net->input.dim[d - 1] = shape.dim[d];
    const network_kind *kind = network_find(o->model);
    if (kind && net->input.rank != 3 && strcmp(kind->name, "mlp"))
        return fail(cmd, "%s: --model %s takes images, and these are not", o->data, kind->name);
    if (named) {
        const char **names = calloc((size_t)named, sizeof *names);
        if (!names || !clg_context_own(ctx, names, free)) return fail(cmd, "out of memory");
        for (int64_t i = 0; i < named; i++) names[i] = clg_dataset_class_name(data, i);
        net->class_names = names;
    }
    const int checked = network_check(cmd, ctx, net);
    if (checked) return checked;
    return !o->normalize || learn_moments(ctx, data, net) ? 0 : fail_context(cmd, ctx);
}

static int train(const train_options *o, clg_context *ctx, const source *src)
{
    const command *cmd = &command_train;
    if (clg_context_failed(ctx)) return fail_context(cmd, ctx);
    clg_dataset *train_data, *test_data;
    network      net;
    if (!source_open_both(cmd, ctx, src, &train_data, &test_data)) return EXIT_RUN;
    const int described = describe(o, ctx, train_data, &net);
    if (described) return described;
    char error[512];
    if (!network_fits(&net, train_data, "training", error, sizeof error) ||
        !network_fits(&net, test_data, "test", error, sizeof error))
        return fail(cmd, "%s: %s", o->data, error);
    if (o->limit) clg_dataset_limit(train_data, o->limit);
    const int64_t count = clg_dataset_count(train_data), test_count = clg_dataset_count(test_data);
    if (o->batch > count)
        return fail(cmd, "--batch %lld is larger than the %lld training images", (long long)o->batch, (long long)count);
    if (test_count < 1) return fail(cmd, "%s has no test images", o->data);

    clg_model *model = clg_model_create(ctx, &(clg_model_desc){.seed = o->seed});
    clg_context_build_later(ctx);
    pass       training = pass_train(&net, model, optimizer(o, model), train_data, o->batch);
    pass       testing = pass_eval(&net, model, test_data, o->batch < test_count ? o->batch : test_count);
    if (clg_context_failed(ctx)) return fail_context(cmd, ctx);

    const clg_device_info *device = clg_context_device(ctx);
    printf("%s, %lld parameters, %lld %s, on %s (%d:%d)\n", net.model, parameters(model), (long long)count,
           net.input.rank == 3 ? "images" : "examples",
           device->name, device->platform, device->device);
    fflush(stdout);
    const int status = traced_epochs(o, ctx, &training, &testing);
    if (status) return status;
    if (network_save(&net, model, o->out)) return fail_context(cmd, ctx);
    printf("saved %s\n", o->out);
    return 0;
}

/* What the options leave open, and what they contradict. */
static int run_options(train_options *o)
{
    const command      *cmd = &command_train;
    const network_kind *kind = network_find(o->model);
    const bool          text = !strcmp(o->model, "gpt");
    char                out[64];
    if (text && !o->data) return usage(cmd, "--model gpt needs --data FILE, a text");
    if (text && (o->optimizer || o->classes || o->limit || o->log || o->trace || o->momentum != unset))
        return usage(cmd, "--model gpt takes no --optimizer, --momentum, --classes, --limit, --log or --trace");
    if (text && (o->label || o->target || o->test || o->split > 0.0f || o->normalize))
        return usage(cmd, "--model gpt takes no --label, --target, --test, --split or --normalize");
    if (!o->data) o->data = "fashion-mnist";
    source src = {.data = o->data, .test = o->test, .label = o->label, .target = o->target, .split = o->split, .seed = o->seed};
    long long height = 0, width = 0;
    char      end;
    if (o->size && (sscanf(o->size, "%5lldx%5lld%c", &height, &width, &end) != 2 || height < 1 || width < 1))
        return usage(cmd, "--image-size takes a height and a width as 32x48, not '%s'", o->size);
    if (o->size) src.image = CLG_SHAPE(0, height, width);
    if (!text && !source_check(cmd, &src)) return EXIT_USAGE;
    if (!o->optimizer) o->optimizer = "adam";
    if (!o->batch) o->batch = kind ? kind->batch : 128;
    if (o->momentum != unset && strcmp(o->optimizer, "sgd")) return usage(cmd, "--momentum needs --optimizer sgd");
    snprintf(out, sizeof out, "clgrad-%s.safetensors", kind ? kind->name : "model");
    if (!o->out) o->out = out;
    if (o->log && !strcmp(o->log, o->out)) return usage(cmd, "--log and --out name the same file");
    if (o->trace && (!strcmp(o->trace, o->out) || (o->log && !strcmp(o->trace, o->log))))
        return usage(cmd, "--trace and --%s name the same file", strcmp(o->trace, o->out) ? "log" : "out");
    if (!can_save(o->out)) return EXIT_RUN;

    clg_context *ctx = clg_context_create(&(clg_context_desc){.device = o->device, .trace = o->trace != NULL});
    const text_options t = {o->data, o->out, o->epochs, o->batch, o->seed, o->lr == unset ? 0.0f : o->lr};
    const int          status = text ? text_train(cmd, ctx, &t) : train(o, ctx, &src);
    clg_context_destroy(&ctx);
    return status;
}

static int run(int argc, char **argv)
{
    train_options o = {.epochs = 5, .seed = 1, .lr = unset, .momentum = unset};
    if (!options_parse(&command_train, argc, argv, &o)) return EXIT_USAGE;
    if (!o.model) o.model = o.label || o.target ? "mlp" : "cnn";
    char *model = network_model(&command_train, o.model);
    o.model = model;
    const int status = model ? run_options(&o) : EXIT_USAGE;
    free(model);
    return status;
}

const command command_train = {"train", "Train a network and save it", options, run};
