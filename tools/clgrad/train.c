/* train.c - clgrad train: learns the training data, measures itself on the test or validation data after each epoch, saves.
 *
 * What can be refused is refused before the first step: options, where the model goes, device,
 * data, the log. */
#include "augment.h"
#include "checkpoint.h"
#include "folds.h"
#include "interrupt.h"
#include "lr_find.h"
#include "page.h"
#include "source.h"
#include "start.h"
#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct train_options {
    const char *data, *test, *label, *target, *size, *augment, *model, *device, *out, *log, *trace, *report;
    int64_t     epochs, batch, limit, classes;
    uint64_t    seed;
    int64_t     patience, folds;
    float       split, validation;
    const char *class_weights, *init_from, *freeze, *lr_find;
    learn_options learn;
    const char *spec; /* the file that the network is in, if it is in one */
    bool        batch_given, normalize, metrics, stream;
    checkpoint_options checkpoint;
} train_options;

static const train_options defaults = {.epochs = 5, .seed = 1, .learn.momentum = LEARN_UNSET};

#define FIELD(name) offsetof(train_options, name)

static const option options[] = {
    {"data", OPTION_TEXT, FIELD(data), "DATA", SOURCE_HELP, 0, 0},
    {"label", OPTION_TEXT, FIELD(label), "COLUMN", "of a CSV file: the classes to be learnt", 0, 0},
    {"target", OPTION_TEXT, FIELD(target), "COLUMN", "of a CSV file: the numbers to be learnt", 0, 0},
    {"test", OPTION_TEXT, FIELD(test), "DATA", "what to test with, when DATA has no test part", 0, 0},
    {"split", OPTION_FRACTION, FIELD(split), "X", "without --test: the share to test with, by --seed (default 0.2)", 0, 0},
    {"image-size", OPTION_TEXT, FIELD(size), "HxW", "scale the pictures of a folder to this height and width", 0, 0},
    {"stream", OPTION_FLAG, FIELD(stream), NULL, "keep the data on the host, as when they are too large for the device", 0, 0},
    {"normalize", OPTION_FLAG, FIELD(normalize), NULL, "each feature (of images: channel) to mean 0 and deviation 1", 0, 0},
    {"augment", OPTION_TEXT, FIELD(augment), "CHANGES", "of the pictures, at random, when they are learnt: " AUGMENT_HELP, 0, 0},
    {"model", OPTION_TEXT, FIELD(model), "NETWORK", NETWORK_HELP, 0, 0},
    {"classes", OPTION_COUNT, FIELD(classes), "N", "outputs of the network (default: as the SPEC or the labels have it; IDX files: 10)", NETWORK_MAX_CLASSES, 0},
    {"epochs", OPTION_COUNT, FIELD(epochs), "N", "passes over the data (default 5)", INT32_MAX, 0},
    {"batch", OPTION_COUNT, FIELD(batch), "N", "examples per step (default 128, or all where there are fewer; resnet18 and gpt: 8)", INT32_MAX, 0},
    {"limit", OPTION_COUNT, FIELD(limit), "N", "train on the first N images only", 0, 0},
    LEARN_ROWS(FIELD(learn)),
    {"validation", OPTION_FRACTION, FIELD(validation), "X", "measure on this share of the training data, by --seed; test at the end", 0, 0},
    {"patience", OPTION_COUNT, FIELD(patience), "N", "stop after N epochs without a smaller validation loss, keep the best", INT32_MAX, 0},
    {"folds", OPTION_COUNT, FIELD(folds), "K", "cross-validation: trains K networks, each on all but a part; saves none", 1000, 0},
    {"class-weights", OPTION_TEXT, FIELD(class_weights), "WEIGHTS", "of the classes in the loss: balanced, or numbers as 1,2.5,1", 0, 0},
    {"init-from", OPTION_TEXT, FIELD(init_from), "FILE", "start from the weights of a model, where name and shape are the same", 0, 0},
    {"freeze", OPTION_TEXT, FIELD(freeze), "LAYERS", "layers that do not learn, such as conv1,fc1", 0, 0},
    {"metrics", OPTION_FLAG, FIELD(metrics), NULL, "at the end: precision, recall, F1 and confusion of the classes", 0, 0},
    {"lr-find", OPTION_MAYBE, FIELD(lr_find), "[=FILE]", "sweep the learning rate, draw the loss (and write FILE, as CSV); saves none", 0, 0},
    {"seed", OPTION_SEED, FIELD(seed), "N", "of the first weights and of the order of images (default 1)", 0, 0},
    OPTION_DEVICE_ROW(FIELD(device)),
    {"out", OPTION_TEXT, FIELD(out), "FILE", "where the model goes (default clgrad-NETWORK.safetensors)", 0, 0},
    CHECKPOINT_ROWS(FIELD(checkpoint)),
    {"log", OPTION_TEXT, FIELD(log), "FILE", "one JSON object per epoch and line, replacing the file; with --resume, after the lines of the epochs before", 0, 0},
    {"report", OPTION_TEXT, FIELD(report), "FILE", "write a page of HTML: curves, confusion, scores, worst mistakes, settings", 0, 0},
    {"trace", OPTION_TEXT, FIELD(trace), "FILE", "write kernels, transfers and host work for chrome://tracing", 0, 0},
    {0},
};

/* Can a file be put at `path`? Tries one beside it, as saving will, and leaves `path` alone. */
static bool can_save(const char *name, const char *path)
{
    struct stat info;
    if (!stat(path, &info) && !S_ISREG(info.st_mode))
        return fail(&command_train, "--%s %s: not a regular file", name, path), false;
    const size_t length = strlen(path) + sizeof ".XXXXXX";
    char        *probe = malloc(length);
    if (!probe) return fail(&command_train, "out of memory"), false;
    snprintf(probe, length, "%s.XXXXXX", path);
    const int file = mkstemp(probe);
    if (file < 0) fail(&command_train, "--%s %s: cannot write there: %s", name, path, strerror(errno));
    else close(file), unlink(probe);
    free(probe);
    return file >= 0;
}

/* What is written must be different files, and none that is read; but a training may go on writing the checkpoint that it resumes. */
static bool check_files(const train_options *o)
{
    char labels[4096] = "";
    if (o->data && ends_with(o->data, "x.npy")) snprintf(labels, sizeof labels, "%.*sy.npy", (int)(strlen(o->data) - strlen("x.npy")), o->data);
    const struct {
        const char *name, *path;
    } files[] = {{"out", o->out}, {"log", o->log}, {"trace", o->trace}, {"report", o->report}, {"lr-find", o->lr_find},
                 {"checkpoint", o->checkpoint.path}, {"data", o->data}, {"data", labels}, {"test", o->test},
                 {"model", o->spec}, {"init-from", o->init_from}, {"resume", o->checkpoint.resume}};
    enum { WRITTEN = 6, CHECKPOINT = 5, FILES = sizeof files / sizeof files[0] };
    for (int i = 0; i < FILES; i++)
        for (int k = 0; k < i && k < WRITTEN; k++) {
            const char *a = files[i].path, *b = files[k].path;
            if (!a || !*a || !b || !*b || (k == CHECKPOINT && i == FILES - 1) || (strcmp(a, b) != 0 && !same_file(a, b))) continue;
            return usage(&command_train, "--%s and --%s name the same file", files[i].name, files[k].name), false;
        }
    return true;
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

/* The network that suits the data; 0, or the exit status. Labels without names say how many classes there are where neither
 * --classes nor the list of layers does; those of IDX files are of ten. */
static int describe(const train_options *o, const clg_augment_desc *augment, clg_context *ctx, clg_dataset *data, clg_dataset *test, network *net)
{
    const command  *cmd = &command_train;
    const clg_shape shape = clg_dataset_shape(data);
    const int64_t   outputs = clg_dataset_outputs(data), named = clg_dataset_class_name(data, 0) ? clg_dataset_classes(data) : 0;
    const int64_t   reach = clg_dataset_classes(data) > clg_dataset_classes(test) ? clg_dataset_classes(data) : clg_dataset_classes(test);
    const int64_t   found = outputs ? outputs : named, usual = source_is_npy(o->data) && reach ? reach : NETWORK_CLASSES;
    if (found > NETWORK_MAX_CLASSES || usual > NETWORK_MAX_CLASSES)
        return fail(cmd, "%s: %lld classes, and a network has at most %d", o->data, (long long)(found ? found : usual), NETWORK_MAX_CLASSES);
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
    const int unfit = o->augment ? augment_fit(cmd, augment, net) : 0;
    if (unfit) return unfit;
    const int checked = network_check(cmd, ctx, net, (int)usual);
    if (checked) return checked;
    if (!named) net->class_names = source_known_names(o->data, net->classes);
    return !o->normalize || learn_moments(ctx, data, net) ? 0 : fail_context(cmd, ctx);
}

static pass pass_of(const network *net, clg_model *model, clg_dataset *data, int64_t batch)
{
    const int64_t count = clg_dataset_count(data);
    return pass_eval(net, model, data, batch < count ? batch : count);
}

/* What is measured of the model that was saved: the test data, unless each epoch has seen them, and the classes. */
static int final_test(const train_options *o, const network *net, pass *test, bool unseen, double *loss, double *score)
{
    if (unseen) {
        pass_look(test, loss, score);
        clg_context *ctx = clg_tensor_context(test->x);
        if (clg_context_failed(ctx)) return fail_context(&command_train, ctx);
        if (net->regression) printf("test loss %.4f  test R^2 %.4f\n", *loss, *score);
        else printf("test loss %.4f  test accuracy %.2f%%\n", *loss, 100.0 * *score);
    }
    return o->metrics ? metrics_report(&command_train, test, net, "test", o->log) : 0;
}

/* A training that is resumed must have the same data. */
static int describe_data(clg_dataset *data, checkpoint *keep)
{
    uint64_t sum;
    char     shape[128];
    if (!checkpoint_is_used(keep)) return 0;
    if (clg_dataset_checksum(data, &sum)) return fail_context(&command_train, clg_model_context(keep->model));
    checkpoint_setting_add(keep, "training data", "%s with the checksum %016llx", clg_shape_text(clg_dataset_shape(data), shape, sizeof shape),
                           (unsigned long long)sum);
    return 0;
}

static int train(const train_options *o, const clg_augment_desc *augment, clg_context *ctx, const source *src, checkpoint *keep)
{
    const command *cmd = &command_train;
    if (clg_context_failed(ctx)) return fail_context(cmd, ctx);
    clg_dataset *train_data, *test_data;
    network      net;
    if (!source_open_both(cmd, ctx, src, &train_data, &test_data)) return EXIT_RUN;
    const int described = describe(o, augment, ctx, train_data, test_data, &net);
    if (described) return described;
    char error[512];
    if (!network_fits(&net, train_data, "training", error, sizeof error) ||
        !network_fits(&net, test_data, "test", error, sizeof error))
        return fail(cmd, "%s: %s", o->data, error);
    if (o->limit) clg_dataset_limit(train_data, o->limit);
    clg_dataset  *whole = train_data, *watch_data = o->folds ? train_data : test_data;
    if (o->validation > 0.0f && !source_split(whole, (double)o->validation, o->seed, &watch_data, &train_data))
        return usage(cmd, "--validation %g of %lld examples is none or all", (double)o->validation, (long long)clg_dataset_count(whole));
    const int64_t count = clg_dataset_count(train_data), test_count = clg_dataset_count(test_data);
    if (o->folds > count) return usage(cmd, "--folds %lld of %lld examples", (long long)o->folds, (long long)count);
    const int64_t least = o->folds ? count - (count + o->folds - 1) / o->folds : count;
    train_options smaller = *o;
    if (!o->batch_given && o->batch > least) smaller.batch = least, o = &smaller;
    if (o->batch > least)
        return fail(cmd, "--batch %lld is larger than the %lld training examples", (long long)o->batch, (long long)least);
    if (test_count < 1) return fail(cmd, "%s has no test images", o->data);

    float weight[NETWORK_MAX_CLASSES];
    if (o->class_weights && net.regression) return usage(cmd, "--class-weights needs classes, not a --target");
    if (o->metrics && net.regression) return usage(cmd, "--metrics needs classes, not a --target");
    int status = o->class_weights ? start_class_weights(cmd, ctx, o->class_weights, train_data, net.classes, weight) : 0;
    if (status) return status;

    numerics   look = {0};
    if (keep->check_numerics) net.look = &look;
    clg_model *model = clg_model_create(ctx, &(clg_model_desc){.seed = o->seed});
    clg_context_build_later(ctx);
    pass testing = pass_of(&net, model, test_data, o->batch), watching = testing;
    const int64_t fold = o->folds ? count / o->folds : o->batch; /* the smallest */
    if (watch_data != test_data) watching = pass_of(&net, model, watch_data, o->batch < fold ? o->batch : fold);
    pass *final = watch_data == test_data ? &watching : &testing;
    if (o->metrics || (o->report && !net.regression)) pass_count_classes(final, net.classes, net.classes < 5 ? net.classes : 5);
    if (o->report) pass_keep_outputs(final);
    if (o->init_from && !clg_context_failed(ctx)) status = start_from(cmd, model, o->init_from);
    if (o->freeze && !status && !clg_context_failed(ctx)) status = start_freeze(cmd, model, o->freeze);
    if (status) return status;
    clg_optimizer *opt = learn_optimizer(&o->learn, model);
    status = o->folds || o->lr_find ? 0 : learn_schedule(cmd, &o->learn, opt, o->epochs * ((count + o->batch - 1) / o->batch));
    if (status) return status;
    pass training = pass_train(&net, model, opt, train_data, o->batch, o->class_weights ? weight : NULL,
                               o->augment ? augment : NULL);
    keep->model = model;
    keep->optimizer = opt;
    keep->graph = clg_tensor_graph(training.loss);
    keep->sum = training.loss_sum;
    status = clg_context_failed(ctx) ? fail_context(cmd, ctx) : describe_data(train_data, keep);
    if (status) return status;

    const clg_device_info *device = clg_context_device(ctx);
    printf("%s, %lld parameters, %lld %s, on %s (%d:%d)\n", net.model, (long long)network_elements(model, 0, clg_model_count(model), false), (long long)count,
           net.input.rank == 3 ? "images" : "examples", device->name, device->platform, device->device);
    fflush(stdout);
    interrupt_catch();
    history epochs = {0};
    keep->history = &epochs;
    loop l = {.cmd = cmd, .ctx = ctx, .model = model, .train = &training, .watch = &watching, .epochs = o->epochs,
              .part = o->folds || o->validation > 0.0f ? "validation" : "test", .log = o->log, .trace = o->trace,
              .patience = o->patience, .seed = o->seed, .history = o->folds ? NULL : &epochs, .keep = keep};
    if (o->lr_find) return lr_find(cmd, &training, opt, o->seed, *o->lr_find ? o->lr_find : NULL);
    if (o->folds) return folds_run(&l, &o->learn, opt, o->folds);
    status = loop_run(&l);
    const int bad = status && status != interrupted_status() ? status : checkpoint_check_model(keep, cmd, model);
    if (bad) return free(epochs.at), bad;
    const int unsaved = network_save(&net, model, o->out) ? fail_context(cmd, ctx) : 0;
    int       wrong = unsaved || status ? unsaved : final_test(o, &net, final, final != &watching, &l.at.loss, &l.at.score);
    if (!unsaved) printf("saved %s\n", o->out);
    if (!wrong && o->report) {
        const page p = {.cmd = cmd, .options = o, .data = o->data, .net = &net, .model = model, .train = &training, .history = &epochs,
                        .part = l.part, .watched = clg_dataset_count(watch_data), .epochs = o->epochs, .best = l.at.best_epoch,
                        .final = status ? NULL : final, .final_part = "test", .loss = l.at.loss, .score = l.at.score};
        wrong = page_write(&p, o->report);
        if (!wrong) printf("saved %s\n", o->report);
    }
    free(epochs.at);
    return wrong ? wrong : status;
}

/* What the options leave open, and what they contradict. */
static int run_options(train_options *o)
{
    const command      *cmd = &command_train;
    const network_kind *kind = network_find(o->model);
    const bool          text = !strcmp(o->model, "gpt");
    char                out[64];
    if (text && !o->data) return usage(cmd, "--model gpt needs --data FILE, a text");
    const char *other = text ? options_beyond(cmd, "model|data|epochs|batch|lr|seed|device|out|checkpoint|checkpoint-every|resume|check-numerics", o, &defaults) : NULL;
    if (other)
        return usage(cmd, "--%s: --model gpt takes no options but --data, --epochs, --batch, --lr, --seed, --device, --out, --checkpoint, "
                          "--checkpoint-every, --resume and --check-numerics", other);
    if (o->patience && !(o->validation > 0.0f) && !o->folds) return usage(cmd, "--patience needs --validation, a share to measure on");
    if (o->folds && o->lr_find) return usage(cmd, "--folds and --lr-find do not go together");
    if ((o->folds || o->lr_find) && (o->out || o->log || o->trace || o->validation > 0.0f || o->metrics || o->report))
        return usage(cmd, "--%s takes no --out, --log, --trace, --validation, --metrics or --report", o->folds ? "folds" : "lr-find");
    if (o->checkpoint.check_numerics && o->lr_find) return usage(cmd, "--lr-find takes no --check-numerics: its sweep ends where the loss does");
    if (o->folds == 1) return usage(cmd, "--folds takes at least 2");
    if ((o->folds || o->lr_find) && (o->checkpoint.path || o->checkpoint.resume))
        return usage(cmd, "--%s takes no --checkpoint and no --resume", o->folds ? "folds" : "lr-find");
    checkpoint keep;
    const int  begun = checkpoint_begin(&keep, cmd, &o->checkpoint);
    if (begun) return begun;
    const float lr = o->learn.lr; /* before the default */
    const int   learn = learn_check(cmd, &o->learn);
    if (learn) return learn;
    if (!o->data) o->data = "fashion-mnist";
    source src = {.data = o->data, .test = o->test, .label = o->label, .target = o->target, .split = o->split, .seed = o->seed};
    long long height = 0, width = 0;
    char      end;
    if (o->size && (sscanf(o->size, "%5lldx%5lld%c", &height, &width, &end) != 2 || height < 1 || width < 1))
        return usage(cmd, "--image-size takes a height and a width as 32x48, not '%s'", o->size);
    if (o->size && !source_is_folder(o->data))
        return usage(cmd, "--image-size is for a folder of pictures, and --data %s is none", o->data);
    if (o->size) src.image = CLG_SHAPE(0, height, width);
    clg_augment_desc augment = {.seed = o->seed};
    if (o->augment && !augment_parse(cmd, o->augment, &augment)) return EXIT_USAGE;
    if (!text && !source_check(cmd, &src)) return EXIT_USAGE;
    o->batch_given = o->batch > 0;
    if (!o->batch) o->batch = kind ? kind->batch : 128;
    snprintf(out, sizeof out, "clgrad-%s.safetensors", kind ? kind->name : "model");
    if (!o->out) o->out = out;
    if (!check_files(o)) return EXIT_USAGE;
    if (o->stream) setenv("CLGRAD_STREAM", "1", 1);
    if (!o->folds && !o->lr_find && !can_save("out", o->out)) return EXIT_RUN;
    if (o->report && !can_save("report", o->report)) return EXIT_RUN;
    if (o->checkpoint.path && !can_save("checkpoint", o->checkpoint.path)) return EXIT_RUN;

    if (checkpoint_is_used(&keep)) checkpoint_settings_add(&keep, o);
    if (checkpoint_is_used(&keep) && strcmp(o->learn.schedule, "constant")) /* it is laid out over them */
        checkpoint_setting_add(&keep, "--epochs", "%lld", (long long)o->epochs);
    clg_context *ctx = clg_context_create(&(clg_context_desc){.device = o->device, .trace = o->trace != NULL});
    const text_options t = {o->data, o->out, o->epochs, o->batch, o->seed, lr, &keep};
    const int          status = text ? text_train(cmd, ctx, &t) : train(o, &augment, ctx, &src, &keep);
    clg_context_destroy(&ctx);
    checkpoint_end(&keep);
    return status;
}

static int run(int argc, char **argv)
{
    train_options o = defaults;
    if (!options_parse(&command_train, argc, argv, &o)) return EXIT_USAGE;
    if (!o.model) o.model = o.label || o.target ? "mlp" : "cnn";
    o.spec = *o.model == '@' ? o.model + 1 : o.model;
    char *model = network_model(&command_train, o.model);
    o.model = model;
    const int status = model ? run_options(&o) : EXIT_USAGE;
    free(model);
    return status;
}

const command command_train = {
    "train", "Train a network and save it", options, run,
    "After each epoch the network is measured on the test data or, with --validation, on a part of the training "
    "data. Everything that can be refused is refused before the first step. The same seed gives the same bits on "
    "the same device. Ctrl-C finishes the step, saves what is learnt so far, and ends with status 130.",
    "  clgrad train --data fashion-mnist --model cnn --epochs 10 --out cnn.safetensors\n"
    "  clgrad train --data iris.csv --label species --normalize --report iris.html\n"
    "  clgrad train --data pictures --image-size 32x32 --validation 0.1 --patience 5\n"
    "  clgrad train --model \"conv2d(32,3) relu max_pool2d(2) flatten dropout(0.5) linear(10)\"\n"
    "  clgrad train --model gpt --data anything.txt\n"
    "  clgrad train --epochs 50 --checkpoint run.ckpt --resume run.ckpt\n",
};
