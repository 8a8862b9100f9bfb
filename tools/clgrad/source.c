/* source.c - fashion-mnist is what Debian installs; FILE.csv and FILE.csv.gz are tables; X.npy (or .npy.gz) goes with
 * Y.npy beside it, x_test.npy with y_test.npy; anything else is a directory:
 * DIR/class/picture.png, DIR/train/class/... with DIR/test/class/..., or IDX files. */
#include "source.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *const fashion_mnist = "/usr/share/datasets/fashion-mnist";

const char *const *source_known_names(const char *data, int classes)
{
    static const char *const names[] = {
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
        "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"}; /* Xiao, Rasul & Vollgraf 2017 */
    return !strcmp(data, "fashion-mnist") && classes == 10 ? names : NULL;
}

int fail_context(const command *cmd, const clg_context *ctx)
{
    const char *log = ctx ? clg_context_build_log(ctx) : "";
    return fail(cmd, "%s%s%s", ctx ? clg_context_error(ctx) : "out of memory", *log ? "\n" : "", log);
}

bool source_is_csv(const char *name) { return ends_with(name, ".csv") || ends_with(name, ".csv.gz"); }
bool source_is_npy(const char *name) { return ends_with(name, ".npy") || ends_with(name, ".npy.gz"); }

bool source_is_folder(const char *name)
{
    DIR *dir = opendir(name);
    bool folder = false, idx = false;
    for (struct dirent *e; dir && (e = readdir(dir));) {
        char        path[4096];
        struct stat info;
        idx = idx || strstr(e->d_name, "idx3-ubyte");
        if (e->d_name[0] == '.' || snprintf(path, sizeof path, "%s/%s", name, e->d_name) >= (int)sizeof path) continue;
        folder = folder || (!stat(path, &info) && S_ISDIR(info.st_mode));
    }
    if (dir) closedir(dir);
    return folder && !idx;
}

/* DIR/train and DIR/test, when both are folders of folders. */
static bool has_parts(const char *name)
{
    char part[2][4096];
    for (int i = 0; i < 2; i++)
        if (snprintf(part[i], sizeof part[i], "%s/%s", name, i ? "test" : "train") >= (int)sizeof part[i]) return false;
    return source_is_folder(part[0]) && source_is_folder(part[1]);
}

/* Has it no test part of its own? */
static bool is_single(const char *name)
{
    return source_is_csv(name) || source_is_npy(name) || (source_is_folder(name) && !has_parts(name));
}

bool source_check(const command *cmd, source *s)
{
    if (ends_with(s->data, ".npz"))
        return usage(cmd, "--data %s: an archive; numpy.save its arrays as x_train.npy and y_train.npy, and give the first",
                     s->data), false;
    if (source_is_csv(s->data)) {
        if (!s->label && !s->target && s->answer) *(s->regression ? &s->target : &s->label) = s->answer;
        if (s->label && s->target) return usage(cmd, "--label and --target: a column is one or the other"), false;
        if (!s->label && !s->target)
            return usage(cmd, "a CSV file needs --label COLUMN (classes) or --target COLUMN (numbers)"), false;
        if (s->test && !source_is_csv(s->test))
            return usage(cmd, "--test %s: not a .csv file, as --data is", s->test), false;
    } else {
        if (s->label || s->target)
            return usage(cmd, "--%s names a column, and --data %s is not a .csv file", s->label ? "label" : "target",
                         s->data),
                   false;
        if (s->test && source_is_npy(s->data) != source_is_npy(s->test))
            return usage(cmd, "--test %s: not a .npy file, as --data is", s->test), false;
        if ((s->test || s->split > 0.0f) && !is_single(s->data))
            return usage(cmd, "--%s: %s has test data of its own", s->test ? "test" : "split", s->data), false;
    }
    if (s->test && s->split > 0.0f) return usage(cmd, "--split and --test: give one of them"), false;
    return true;
}

const char *const *source_names(clg_context *ctx, const clg_dataset *data, int64_t count, source_name *name)
{
    if (!name(data, 0)) return NULL;
    const char **list = calloc((size_t)count, sizeof *list);
    if (!list || !clg_context_own(ctx, list, free)) {
        clg_context_fail(ctx, CLG_OUT_OF_MEMORY, "out of memory");
        free(list);
        return NULL;
    }
    for (int64_t i = 0; i < count; i++) list[i] = name(data, i);
    return list;
}

static clg_dataset *open_csv(const command *cmd, clg_context *ctx, const source *s, const char *path)
{
    clg_dataset *data = clg_dataset_open_csv(
        ctx, path, &(clg_csv_desc){.label = s->label, .target = s->target, .names = s->names, .classes = s->classes,
                                   .features = s->features, .feature_count = s->feature_count});
    if (!data) fail_context(cmd, ctx);
    return data;
}

/* DIR/x_part.npy and DIR/y_part.npy. */
static clg_dataset *open_npy(const command *cmd, clg_context *ctx, const char *examples)
{
    char *answers = strdup(examples);
    if (!answers) return fail(cmd, "out of memory"), NULL;
    char *slash = strrchr(answers, '/'), *first = slash ? slash + 1 : answers;
    clg_dataset *data = NULL;
    if (*first == 'x' || *first == 'X') {
        *first = 'y';
        data = clg_dataset_open_npy(ctx, examples, answers);
        if (!data) fail_context(cmd, ctx);
    } else {
        fail(cmd, "%s: an array of examples must be called x....npy, so that its answers are y....npy beside it",
             examples);
    }
    free(answers);
    return data;
}

static clg_dataset *open_folder(const command *cmd, clg_context *ctx, const source *s, const char *name, const char *part)
{
    char path[4096];
    if (snprintf(path, sizeof path, "%s%s%s", name, part ? "/" : "", part ? part : "") >= (int)sizeof path)
        return fail(cmd, "%s: the name is too long", name), NULL;
    clg_dataset *data =
        clg_dataset_open_folder(ctx, path, &(clg_folder_desc){.shape = s->image, .names = s->names, .classes = s->classes});
    if (!data && clg_context_status(ctx) == CLG_INVALID_SHAPE && !s->image.rank)
        fail(cmd, "%s: --image-size HxW scales them", clg_context_error(ctx));
    else if (!data) fail_context(cmd, ctx);
    return data;
}

static int shown(const struct dirent *entry) { return entry->d_name[0] != '.'; }

/* Has the directory files that might be IDX? If not says what was looked for, what is there, and what might be
 * meant. */
static bool has_idx(const command *cmd, const char *name)
{
    enum { MOST = 8 };
    struct dirent **entry = NULL;
    const int       count = scandir(name, &entry, shown, alphasort);
    char            found[MOST * 56] = "nothing", meant[512] = "";
    bool            idx = count < 0; /* then the library says what is wrong with it */
    for (int i = 0, at = 0; i < count; i++) {
        const char *file = entry[i]->d_name;
        const bool  array = source_is_npy(file) && (*file == 'x' || *file == 'X');
        idx = idx || strstr(file, "-ubyte");
        if (i < MOST) at += snprintf(found + at, sizeof found - (size_t)at, "%s%.50s", i ? ", " : "", file);
        else if (i == MOST) snprintf(found + at, sizeof found - (size_t)at, ", ...");
        if (!*meant && (array || source_is_csv(file)))
            snprintf(meant, sizeof meant, "; try --data %.200s/%.200s", name, file);
        free(entry[i]);
    }
    free(entry);
    if (!idx)
        fail(cmd,
             "%s: no data set in it. Looked for: a folder of pictures for each class, as %s/cat/1.png; the four IDX "
             "files, as train-images-idx3-ubyte or with .gz. Found: %s%s", name, name, found, meant);
    return idx;
}

static clg_dataset *open_idx(const command *cmd, clg_context *ctx, const char *name, const char *part)
{
    struct stat info;
    if (!strcmp(name, "fashion-mnist")) {
        name = fashion_mnist;
        if (stat(name, &info)) {
            fail(cmd, "%s is missing: apt install dataset-fashion-mnist, or give --data a directory with IDX files",
                 name);
            return NULL;
        }
    }
    if (!has_idx(cmd, name)) return NULL;
    clg_dataset *data = clg_dataset_open_idx(ctx, name, part);
    if (!data) fail_context(cmd, ctx);
    return data;
}

/* The whole of the file, or of the folder's part. */
static clg_dataset *open_whole(const command *cmd, clg_context *ctx, const source *s, const char *name, const char *part)
{
    if (source_is_csv(name)) return open_csv(cmd, ctx, s, name);
    if (source_is_npy(name)) return open_npy(cmd, ctx, name);
    return open_folder(cmd, ctx, s, name, part);
}

clg_dataset *source_open_test(const command *cmd, clg_context *ctx, const source *s)
{
    if (source_is_csv(s->data) || source_is_npy(s->data) || source_is_folder(s->data))
        return open_whole(cmd, ctx, s, s->data, has_parts(s->data) ? "test" : NULL);
    return open_idx(cmd, ctx, s->data, "t10k");
}

bool source_split(clg_dataset *all, double share, uint64_t seed, clg_dataset **first, clg_dataset **rest)
{
    const int64_t count = clg_dataset_count(all), end = (int64_t)(share * (double)count + 0.5);
    if (end < 1 || end >= count) return false;
    *first = clg_dataset_part(all, &(clg_part_desc){true, seed, 0, end});
    *rest = clg_dataset_part(all, &(clg_part_desc){true, seed, end, count});
    return true;
}

static bool split(const command *cmd, clg_context *ctx, const source *s, clg_dataset *all, clg_dataset **train,
                  clg_dataset **test)
{
    const double share = s->split > 0.0f ? (double)s->split : 0.2;
    if (!source_split(all, share, s->seed, test, train))
        return fail(cmd,
                    "%s: %lld examples cannot be split into some to learn and a share of %g to test; use --test FILE",
                    s->data, (long long)clg_dataset_count(all), share),
               false;
    if (!*train || !*test) fail_context(cmd, ctx);
    return *train && *test;
}

bool source_open_both(const command *cmd, clg_context *ctx, const source *s, clg_dataset **train, clg_dataset **test)
{
    const bool parts = has_parts(s->data);
    if (!is_single(s->data) && !parts) {
        *train = open_idx(cmd, ctx, s->data, "train");
        *test = *train ? open_idx(cmd, ctx, s->data, "t10k") : NULL;
        return *test;
    }
    *train = open_whole(cmd, ctx, s, s->data, parts ? "train" : NULL);
    if (!*train) return false;
    if (!s->test && !parts) return split(cmd, ctx, s, *train, train, test);
    const clg_shape shape = clg_dataset_shape(*train);
    source          same = *s; /* what the training data have decided */
    same.classes = (int)clg_dataset_classes(*train);
    same.names = source_names(ctx, *train, same.classes, clg_dataset_class_name);
    same.feature_count = shape.dim[1];
    same.features = source_names(ctx, *train, same.feature_count, clg_dataset_feature_name);
    same.image = CLG_SHAPE(shape.dim[1], shape.dim[2], shape.dim[3]);
    if (!same.names) same.classes = 0;
    *test = open_whole(cmd, ctx, &same, parts ? s->data : s->test, parts ? "test" : NULL);
    return *test;
}
