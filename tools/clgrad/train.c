/* train.c - clgrad train: learns the training data, measures itself on the test or validation data after each epoch,
 * saves.
 *
 * What can be refused is refused before the first step: options, where the model goes, device, data, the log. */
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
    {"split", OPTION_FRACTION, FIELD(split), "X", "without --test: the share to test with, by --seed (default 0.2)", 0,
     0},
    {"image-size", OPTION_TEXT, FIELD(size), "HxW", "scale the pictures of a folder to this height and width", 0, 0},
    {"stream", OPTION_FLAG, FIELD(stream), NULL, "keep the data on the host, as when they are too large for the device",
     0, 0},
    {"normalize", OPTION_FLAG, FIELD(normalize), NULL, "each feature (of images: channel) to mean 0 and deviation 1", 0,
     0},
    {"augment", OPTION_TEXT, FIELD(augment), "CHANGES",
     "of the pictures, at random, when they are learnt: " AUGMENT_HELP, 0, 0},
    {"model", OPTION_TEXT, FIELD(model), "NETWORK", NETWORK_HELP, 0, 0},
    {"classes", OPTION_COUNT, FIELD(classes), "N",
     "outputs of the network (default: as the SPEC or the labels have it; IDX files: 10)", NETWORK_MAX_CLASSES, 0},
    {"epochs", OPTION_COUNT, FIELD(epochs), "N", "passes over the data (default 5)", INT32_MAX, 0},
    {"batch", OPTION_COUNT, FIELD(batch), "N",
     "examples per step (default 128, or all where there are fewer; resnet18 and gpt: 8)", INT32_MAX, 0},
    {"limit", OPTION_COUNT, FIELD(limit), "N", "train on the first N examples only", 0, 0},
    LEARN_ROWS(FIELD(learn)),
    {"validation", OPTION_FRACTION, FIELD(validation), "X",
     "measure on this share of the training data, by --seed; test at the end", 0, 0},
    {"patience", OPTION_COUNT, FIELD(patience), "N",
     "stop after N epochs without a smaller validation loss, keep the best", INT32_MAX, 0},
    {"folds", OPTION_PARTS, FIELD(folds), "K",
     "cross-validation: trains K networks, each on all but a part; saves none", 1000, 0},
    {"class-weights", OPTION_TEXT, FIELD(class_weights), "WEIGHTS",
     "of the classes in the loss: balanced, or numbers as 1,2.5,1", 0, 0},
    {"init-from", OPTION_TEXT, FIELD(init_from), "FILE",
     "start from the weights of a model, where name and shape are the same", 0, 0},
    {"freeze", OPTION_TEXT, FIELD(freeze), "LAYERS", "layers that do not learn, such as conv1,fc1", 0, 0},
    {"metrics", OPTION_FLAG, FIELD(metrics), NULL, "at the end: precision, recall, F1 and confusion of the classes", 0,
     0},
    {"lr-find", OPTION_MAYBE, FIELD(lr_find), "[=FILE]",
     "sweep the learning rate, draw the loss (and write FILE, as CSV); saves none", 0, 0},
    {"seed", OPTION_SEED, FIELD(seed), "N", "of the first weights and of the order of examples (default 1)", 0, 0},
    OPTION_DEVICE_ROW(FIELD(device)),
    {"out", OPTION_TEXT, FIELD(out), "FILE", "where the model goes (default clgrad-NETWORK.safetensors)", 0, 0},
    CHECKPOINT_ROWS(FIELD(checkpoint)),
    {"log", OPTION_TEXT, FIELD(log), "FILE",
     "one JSON object per epoch and line, replacing the file; with --resume, after the lines of the epochs before", 0,
     0},
    {"report", OPTION_TEXT, FIELD(report), "FILE",
     "write a page of HTML: curves, confusion, scores, worst mistakes, settings", 0, 0},
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

/* Is there a file at `path` that belongs to the data in the directory `data`, or is a picture of one of its classes? */
static bool is_data(const char *path, const char *data)
{
    static const char *const kinds[] = {"ubyte", ".gz", ".npy", ".csv", ".png", ".jpg", ".jpeg"};
    char parent[4000], above[4096];
    bool known = false;
    if (!parent_of(path, parent, sizeof parent)) return false;
    snprintf(above, sizeof above, "%s/..", parent);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) known |= ends_with(path, kinds[i]);
    return known && access(path, F_OK) == 0 && (same_file(parent, data) || same_file(above, data));
}

/* What is written must be different files, and none that is read; but a training may go on writing the checkpoint that
 * it resumes. */
static bool check_files(const train_options *o)
{
    char labels[4096] = "";
    if (o->data && ends_with(o->data, "x.npy"))
        snprintf(labels, sizeof labels, "%.*sy.npy", (int)(strlen(o->data) - strlen("x.npy")), o->data);
    const struct {
        const char *name, *path;
    } files[] = {{"out", o->out}, {"log", o->log}, {"trace", o->trace}, {"report", o->report}, {"lr-find", o->lr_find},
                 {"checkpoint", o->checkpoint.path}, {"data", o->data}, {"data", labels}, {"test", o->test},
                 {"model", o->spec}, {"init-from", o->init_from}, {"resume", o->checkpoint.resume}};
    enum { WRITTEN = 6, CHECKPOINT = 5, FILES = sizeof files / sizeof files[0] };
    for (int k = 0; k < WRITTEN; k++)
        if (o->data && files[k].path && is_data(files[k].path, o->data))
            return usage(&command_train, "--%s %s is a file of the data and would be lost", files[k].name,
                         files[k].path), false;
    for (int i = 0; i < FILES; i++)
        for (int k = 0; k < i && k < WRITTEN; k++) {
            const char *a = files[i].path, *b = files[k].path;
            if (!a || !*a || !b || !*b || (k == CHECKPOINT && i == FILES - 1) ||
                (strcmp(a, b) != 0 && !same_file(a, b)))
                continue;
            return usage(&command_train, "--%s and --%s name the same file", files[i].name, files[k].name), false;
        }
    return true;
}

/* A training, from its data to its outcome. */
typedef struct training {
    train_options           o; /* the caller's, the batch no larger than the data */
    const clg_augment_desc *augment;
    clg_context            *ctx;
    checkpoint             *keep;
    clg_dataset            *data, *test, *watched; /* to learn, to test with at the end, to measure after each epoch */
    network                 net;
    float                   class_weight[NETWORK_MAX_CLASSES];
    clg_model              *model;
    clg_optimizer          *opt;
    pass                    learning, testing, watching, *final;
    numerics                look;
    history                 epochs;
    FILE                   *said; /* what is printed when nothing can be refused any more; into: */
    char                   *title;
    size_t                  title_size;
    loop                    loop;
} training;

/* ---- data and the network that suits them ------------------------------------------------------------------------ */

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

/* How many classes there are where neither names nor --classes nor the list of layers say it: what the labels reach;
 * but a stray byte in IDX files is not to make a larger network. */
static int64_t usual_classes(const training *t)
{
    const int64_t learnt = clg_dataset_classes(t->data), tested = clg_dataset_classes(t->test);
    if (!source_is_npy(t->o.data) || !learnt) return NETWORK_CLASSES;
    return learnt > tested ? learnt : tested;
}

/* The network that suits the data; 0, or the exit status. */
static int describe(training *t)
{
    const command       *cmd = &command_train;
    const train_options *o = &t->o;
    network             *net = &t->net;
    const clg_shape      shape = clg_dataset_shape(t->data);
    const int64_t outputs = clg_dataset_outputs(t->data), usual = usual_classes(t);
    const int64_t named = clg_dataset_class_name(t->data, 0) ? clg_dataset_classes(t->data) : 0,
                  found = outputs ? outputs : named;
    if (found > NETWORK_MAX_CLASSES || usual > NETWORK_MAX_CLASSES)
        return fail(cmd, "%s: %lld classes, and a network has at most %d", o->data, (long long)(found ? found : usual),
                    NETWORK_MAX_CLASSES);
    if (named && o->classes && o->classes != named)
        return fail(cmd, "%s: %lld classes, and --classes says %lld", o->data, (long long)named, (long long)o->classes);
    *net = (network){.model = o->model, .classes = (int)(o->classes ? o->classes : found), .regression = outputs,
                     .answer = o->label ? o->label : o->target, .input.rank = shape.rank - 1};
    for (int d = 1; d < shape.rank; d++) net->input.dim[d - 1] = shape.dim[d];
    const network_kind *kind = network_find(o->model);
    char                text[128];
    if (kind && net->input.rank != 3 && strcmp(kind->name, "mlp"))
        return fail(cmd, "%s: --model %s takes images, and these are not: %s%s; try --model mlp", o->data, kind->name,
                    clg_shape_text(net->input, text, sizeof text),
                    net->input.rank == 2 ? ", without channels, which x[:, None] gives them" : "");
    net->class_names = source_names(t->ctx, t->data, named, clg_dataset_class_name);
    net->features = source_names(t->ctx, t->data, net->input.dim[0], clg_dataset_feature_name);
    if (clg_context_failed(t->ctx)) return fail_context(cmd, t->ctx);
    const int unfit = o->augment ? augment_fit(cmd, t->augment, net) : 0;
    if (unfit) return unfit;
    const int checked = network_check(cmd, t->ctx, net, (int)usual);
    if (checked) return checked;
    if (!net->regression && net->classes == 1)
        return fail(cmd, "%s: all examples are of one class, %s, and there is nothing to tell apart", o->data,
                    net->class_names ? net->class_names[0] : "0");
    if (!named) net->class_names = source_known_names(o->data, net->classes);
    return !o->normalize || learn_moments(t->ctx, t->data, net) ? 0 : fail_context(cmd, t->ctx);
}

/* Examples that are learnt in an epoch: all, or those beside the largest fold. */
static int64_t fewest(const train_options *o, int64_t count)
{
    return o->folds ? count - (count + o->folds - 1) / o->folds : count;
}

static bool is_one_hot(clg_dataset *data)
{
    const size_t rows = (size_t)clg_dataset_count(data), outputs = (size_t)clg_dataset_outputs(data);
    float       *y = outputs > 1 ? calloc(rows * outputs, sizeof *y) : NULL;
    bool         yes = y && !clg_dataset_targets(data, y, rows * outputs);
    for (size_t i = 0; yes && i < rows; i++) {
        size_t ones = 0, zeros = 0;
        for (size_t k = 0; k < outputs; k++) {
            const float v = y[i * outputs + k];
            ones += v >= 1.0f && v <= 1.0f;
            zeros += v >= 0.0f && v <= 0.0f;
        }
        yes = ones == 1 && zeros == outputs - 1;
    }
    free(y);
    return yes;
}

static bool are_numbers(const char *const *name, int count)
{
    char *end = NULL;
    for (int i = 0; i < count; i++)
        if (strtod(name[i], &end), end == name[i] || *end) return false;
    return true;
}

/* What is data, but hardly those that were meant: numbers for classes, and arrays as other libraries take them. */
static void warn_of_data(const training *t)
{
    const clg_shape in = t->net.input;
    const int64_t   rows = clg_dataset_count(t->data);
    char            text[128];
    if (t->o.label && t->net.classes > 20 && t->net.classes > rows / 5 && are_numbers(t->net.class_names, t->net.classes))
        warn(&command_train, "%s: %d classes in %lld examples; if \"%s\" is a number to be predicted, --target %s", t->o.data,
             t->net.classes, (long long)rows, t->o.label, t->o.label);
    if (!source_is_npy(t->o.data)) return;
    if (in.rank == 3 && in.dim[0] > 4 && (in.dim[2] == 1 || in.dim[2] == 3))
        warn(&command_train, "%s: %s is taken for %lld channels of %lld x %lld; channels come first: x.transpose(0, 3, 1, 2)",
             t->o.data, clg_shape_text(in, text, sizeof text), (long long)in.dim[0], (long long)in.dim[1],
             (long long)in.dim[2]);
    if (is_one_hot(t->data))
        warn(&command_train, "%s: its answers are one-hot, and are learnt as numbers; for classes save y.argmax(1)", t->o.data);
}

/* Are there enough examples for what is asked? Makes a batch that nobody asked for smaller. */
static int check_counts(training *t)
{
    const command *cmd = &command_train;
    train_options *o = &t->o;
    const int64_t  count = clg_dataset_count(t->data);
    if (o->folds > count)
        return usage(cmd, "--folds %lld of %lld training examples: it takes a number from 2 to that",
                     (long long)o->folds, (long long)count);
    const int64_t least = fewest(o, count);
    if (!o->batch_given && o->batch > least) o->batch = least;
    if (o->batch > least)
        return fail(cmd, "--batch %lld is larger than the %lld training examples", (long long)o->batch,
                    (long long)least);
    return clg_dataset_count(t->test) < 1 ? fail(cmd, "%s has no test examples", o->data) : 0;
}

static int open_data(training *t, const source *src)
{
    const command       *cmd = &command_train;
    const train_options *o = &t->o;
    char                 error[512];
    if (!source_open_both(cmd, t->ctx, src, &t->data, &t->test)) return EXIT_RUN;
    const int described = describe(t);
    if (described) return described;
    warn_of_data(t);
    if (!network_fits(&t->net, t->data, "training", error, sizeof error) ||
        !network_fits(&t->net, t->test, "test", error, sizeof error))
        return fail(cmd, "%s: %s", o->data, error);
    if (o->limit) clg_dataset_limit(t->data, o->limit);
    clg_dataset *whole = t->data;
    t->watched = o->folds ? whole : t->test;
    if (o->validation > 0.0f && !source_split(whole, (double)o->validation, o->seed, &t->watched, &t->data))
        return usage(cmd, "--validation %g of %lld examples is none or all", (double)o->validation,
                     (long long)clg_dataset_count(whole));
    if (clg_context_failed(t->ctx)) return fail_context(cmd, t->ctx);
    const int uncounted = check_counts(t);
    if (uncounted) return uncounted;
    if (t->net.regression && (o->class_weights || o->metrics))
        return usage(cmd, "--%s needs classes, not a --target", o->class_weights ? "class-weights" : "metrics");
    return o->class_weights
               ? start_class_weights(cmd, t->ctx, o->class_weights, t->data, t->net.classes, t->class_weight)
               : 0;
}

/* ---- model, optimiser and plans ---------------------------------------------------------------------------------- */

static pass pass_of(const training *t, clg_dataset *data, int64_t most)
{
    const int64_t count = clg_dataset_count(data);
    return pass_eval(&t->net, t->model, data, most < count ? most : count);
}

static void make_measurements(training *t)
{
    const train_options *o = &t->o;
    const int            classes = t->net.classes;
    const int64_t        fold = o->folds ? clg_dataset_count(t->data) / o->folds : o->batch; /* the smallest */
    t->testing = pass_of(t, t->test, o->batch);
    t->watching = t->watched == t->test ? t->testing : pass_of(t, t->watched, o->batch < fold ? o->batch : fold);
    t->final = t->watched == t->test ? &t->watching : &t->testing;
    if (o->metrics || (o->report && !t->net.regression))
        pass_count_classes(t->final, classes, classes < 5 ? classes : 5);
    if (o->report) pass_keep_outputs(t->final);
}

/* What a checkpoint keeps, and what must be the same when it is resumed: the data too. */
static int describe_state(training *t)
{
    uint64_t    sum;
    char        shape[128];
    checkpoint *keep = t->keep;
    keep->model = t->model;
    keep->optimizer = t->opt;
    keep->graph = clg_tensor_graph(t->learning.loss);
    keep->sum = t->learning.loss_sum;
    keep->history = &t->epochs;
    if (!checkpoint_is_used(keep)) return 0;
    if (clg_dataset_checksum(t->data, &sum)) return fail_context(&command_train, t->ctx);
    checkpoint_setting_add(keep, "training data", "%s with the checksum %016llx",
                           clg_shape_text(clg_dataset_shape(t->data), shape, sizeof shape), (unsigned long long)sum);
    return 0;
}

static int make_network(training *t)
{
    const command       *cmd = &command_train;
    const train_options *o = &t->o;
    int                  status = 0;
    t->model = clg_model_create(t->ctx, &(clg_model_desc){.seed = o->seed});
    clg_context_build_later(t->ctx);
    make_measurements(t);
    if (o->init_from && o->checkpoint.resume)
        fprintf(t->said, "%s: not read, the weights are those of %s\n", o->init_from, o->checkpoint.resume);
    else if (o->init_from && !clg_context_failed(t->ctx)) status = start_from(cmd, t->model, o->init_from, o->normalize, t->said);
    if (o->freeze && !status && !clg_context_failed(t->ctx)) status = start_freeze(cmd, t->model, o->freeze);
    if (status) return status;
    t->opt = learn_optimizer(&o->learn, t->model);
    const int64_t learnt = fewest(o, clg_dataset_count(t->data)),
                  steps = o->epochs * ((learnt + o->batch - 1) / o->batch);
    if (!o->lr_find) status = learn_schedule(cmd, &o->learn, t->opt, steps);
    if (status) return status;
    t->learning = pass_train(&t->net, t->model, t->opt, t->data, o->batch, o->class_weights ? t->class_weight : NULL,
                             o->augment ? t->augment : NULL, t->keep->check_numerics ? &t->look : NULL);
    return clg_context_failed(t->ctx) ? fail_context(cmd, t->ctx) : describe_state(t);
}

/* ---- run --------------------------------------------------------------------------------------------------------- */

static int run_epochs(training *t)
{
    const train_options   *o = &t->o;
    const clg_device_info *device = clg_context_device(t->ctx);
    fprintf(t->said, "%s, %lld parameters, %lld %s, on %s (%d:%d)\n", t->net.model,
            (long long)network_elements(t->model, 0, clg_model_count(t->model), false),
            (long long)clg_dataset_count(t->data), network_word(&t->net), device->name,
            device->platform, device->device);
    if (fflush(t->said)) return fail(&command_train, "out of memory");
    t->loop = (loop){.cmd = &command_train,
                     .ctx = t->ctx,
                     .model = t->model,
                     .train = &t->learning,
                     .watch = &t->watching,
                     .epochs = o->epochs,
                     .part = o->folds || o->validation > 0.0f ? "validation" : "test",
                     .log = o->log,
                     .trace = o->trace,
                     .patience = o->patience,
                     .seed = o->seed,
                     .title = t->title,
                     .history = o->folds ? NULL : &t->epochs,
                     .keep = t->keep};
    interrupt_catch();
    if (o->lr_find) return lr_find(&t->loop, t->opt, *o->lr_find ? o->lr_find : NULL);
    return o->folds ? folds_run(&t->loop, &o->learn, t->opt, o->folds) : loop_run(&t->loop);
}

/* ---- outcome ----------------------------------------------------------------------------------------------------- */

/* What is measured of the model that was saved: on the test data, in one pass, unless each epoch has seen them and
 * nobody asks for more than that. */
static int measure(training *t, outcome *seen)
{
    const command       *cmd = &command_train;
    const train_options *o = &t->o;
    double              *loss = &t->loop.at.loss, *score = &t->loop.at.score;
    if (o->report) {
        const int status = outcome_collect(cmd, t->final, &t->net, seen);
        if (status) return status;
    }
    if (t->final != &t->watching) {
        if (o->report) *loss = pass_loss(t->final), *score = pass_accuracy(t->final);
        else pass_look(t->final, loss, score);
        if (clg_context_failed(t->ctx)) return fail_context(cmd, t->ctx);
        if (t->net.regression) printf("test loss %.4f  test R^2 %.4f\n", *loss, *score);
        else printf("test loss %.4f  test accuracy %.2f%%\n", *loss, 100.0 * *score);
    }
    if (t->net.regression && *score < 0.0)
        warn(cmd, "R^2 is below 0: the answers' mean alone predicts them better. Where they are far from 0 or from 1 in size, "
             "scale them; otherwise more --epochs, another --lr, or --normalize may help");
    return o->metrics ? metrics_report(cmd, t->final, &t->net, "test", o->log) : 0;
}

static int write_report(const training *t, const outcome *seen, bool measured)
{
    const page p = {.cmd = &command_train, .options = &t->o, .data = t->o.data, .net = &t->net, .model = t->model,
                    .train = &t->learning, .history = &t->epochs, .part = t->loop.part,
                    .watched = clg_dataset_count(t->watched), .epochs = t->o.epochs, .best = t->loop.at.best_epoch,
                    .final = measured ? t->final : NULL, .final_part = "test", .loss = t->loop.at.loss,
                    .score = t->loop.at.score, .seen = seen};
    return page_write(&p, t->o.report);
}

/* Saves, measures and tells, when the epochs have ended with `status`. */
static int conclude(training *t, int status)
{
    const command       *cmd = &command_train;
    const train_options *o = &t->o;
    outcome              seen = {0};
    if (status && status != interrupted_status()) return status;
    const int bad = checkpoint_check_model(t->keep, cmd, t->model);
    if (bad) return bad;
    if (network_save(&t->net, t->model, o->out)) return fail_context(cmd, t->ctx);
    int wrong = status ? 0 : measure(t, &seen);
    printf("saved %s\n", o->out);
    if (!wrong && o->report) {
        wrong = write_report(t, &seen, !status);
        if (!wrong) printf("saved %s\n", o->report);
    }
    outcome_free(&seen);
    return wrong ? wrong : status;
}

static int train(training *t, const source *src)
{
    int status = clg_context_failed(t->ctx) ? fail_context(&command_train, t->ctx) : open_data(t, src);
    if (!status) status = make_network(t);
    if (status) return status;
    status = run_epochs(t);
    return t->o.folds || t->o.lr_find ? status : conclude(t, status);
}

/* ---- options ----------------------------------------------------------------------------------------------------- */

/* What the options leave open, and what they contradict. */
static int run_options(train_options *o)
{
    const command      *cmd = &command_train;
    const network_kind *kind = network_find(o->model);
    const bool          text = !strcmp(o->model, "gpt");
    char                out[64];
    if (text && !o->data) return usage(cmd, "--model gpt needs --data FILE, a text");
    const char *other =
        text ? options_beyond(
                   cmd, "model|data|epochs|batch|lr|seed|device|out|checkpoint|checkpoint-every|resume|check-numerics",
                   o, &defaults)
             : NULL;
    if (other)
        return usage(cmd, "--%s: --model gpt takes no options but --data, --epochs, --batch, --lr, --seed, --device, "
                     "--out, --checkpoint, --checkpoint-every, --resume and --check-numerics", other);
    if (o->patience && !(o->validation > 0.0f) && !o->folds)
        return usage(cmd, "--patience needs --validation, a share to measure on");
    if (o->folds && o->lr_find) return usage(cmd, "--folds and --lr-find do not go together");
    if ((o->folds || o->lr_find) && (o->out || o->log || o->trace || o->validation > 0.0f || o->metrics || o->report))
        return usage(cmd, "--%s takes no --out, --log, --trace, --validation, --metrics or --report",
                     o->folds ? "folds" : "lr-find");
    if (o->checkpoint.check_numerics && o->lr_find)
        return usage(cmd, "--lr-find takes no --check-numerics: its sweep ends where the loss does");
    if ((o->folds || o->lr_find) && (o->checkpoint.path || o->checkpoint.resume))
        return usage(cmd, "--%s takes no --checkpoint and no --resume", o->folds ? "folds" : "lr-find");
    checkpoint keep;
    const int  begun = checkpoint_begin(&keep, cmd, &o->checkpoint);
    if (begun) return begun;
    const float lr = o->learn.lr; /* before the default */
    const int   learn = learn_check(cmd, &o->learn);
    if (learn) return learn;
    if (!o->data) o->data = "fashion-mnist";
    source src = {
        .data = o->data, .test = o->test, .label = o->label, .target = o->target, .split = o->split, .seed = o->seed};
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
    if (o->lr_find && *o->lr_find && !can_save("lr-find", o->lr_find)) return EXIT_RUN;
    if (o->checkpoint.path && !can_save("checkpoint", o->checkpoint.path)) return EXIT_RUN;

    if (checkpoint_is_used(&keep)) checkpoint_settings_add(&keep, o);
    if (checkpoint_is_used(&keep) && strcmp(o->learn.schedule, "constant")) /* it is laid out over them */
        checkpoint_setting_add(&keep, "--epochs", "%lld", (long long)o->epochs);
    clg_context *ctx = clg_context_create(&(clg_context_desc){.device = o->device, .trace = o->trace != NULL});
    const text_options written = {o->data, o->out, o->epochs, o->batch, o->seed, lr, &keep};
    training           t = {.o = *o, .augment = &augment, .ctx = ctx, .keep = &keep};
    t.said = open_memstream(&t.title, &t.title_size);
    const int status = !t.said ? fail(cmd, "out of memory") : text ? text_train(cmd, ctx, &written) : train(&t, &src);
    if (t.said) fclose(t.said);
    free(t.title);
    free(t.epochs.at);
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
    "the same device. Ctrl-C finishes the step, saves what is learnt so far, and ends with status 130. When a reader of its output goes, as | head does, it trains "
    "and saves all the same, and ends with status 1.",
    "  clgrad train --data fashion-mnist --model cnn --epochs 10 --out cnn.safetensors\n"
    "  clgrad train --data iris.csv --label species --normalize --report iris.html\n"
    "  clgrad train --data pictures --image-size 32x32 --validation 0.1 --patience 5\n"
    "  clgrad train --model \"conv2d(32,3) relu max_pool2d(2) flatten dropout(0.5) linear(10)\"\n"
    "  clgrad train --model gpt --data anything.txt\n"
    "  clgrad train --epochs 50 --checkpoint run.ckpt --resume run.ckpt\n",
};
