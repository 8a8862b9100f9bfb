/* checkpoint.c - the metadata of a checkpoint: where the training is ("epoch", "step", "best_epoch", ...), the device,
 * and what must not change, an option under its name on the command line ("--batch"). Values that are not given are not
 * there. */
#include "checkpoint.h"
#include "source.h"
#include "spec.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct checkpoint_setting {
    char key[32];
    char *here, *there; /* there: in the file that is resumed */
};

/* Options that say nothing about the training: where its data lie, where it runs, what is written. What the data are is
 * compared by their checksum; --epochs is the caller's to add. */
static const char *const may_change[] = {
    "data",   "test",   "epochs",         "init-from",  "device",           "out",    "log",   "trace",  "metrics",
    "stream", "report", "check-numerics", "checkpoint", "checkpoint-every", "resume", "folds", "lr-find"};

/* ---- options ----------------------------------------------------------------------------------------------------- */

static bool parse_every(const char *text, checkpoint *c)
{
    char *end = NULL;
    errno = 0;
    const long long n = strtoll(text, &end, 10);
    c->every = n;
    c->steps = !strcmp(end, "steps") || !strcmp(end, "step");
    return *text >= '0' && *text <= '9' && !errno && n > 0 &&
           (c->steps || !*end || !strcmp(end, "epochs") || !strcmp(end, "epoch"));
}

int checkpoint_begin(checkpoint *c, const command *cmd, const checkpoint_options *o)
{
    *c =
        (checkpoint){.cmd = cmd, .path = o->path, .resume = o->resume, .every = 1, .check_numerics = o->check_numerics};
    if (o->every && !o->path) return usage(cmd, "--checkpoint-every needs --checkpoint FILE");
    if (o->every && !parse_every(o->every, c))
        return usage(cmd,
                     "--checkpoint-every takes a number of epochs, as 1 or 1epochs, or of steps, as 200steps, not '%s'",
                     o->every);
    return 0;
}

bool checkpoint_is_used(const checkpoint *c) { return c->path || c->resume; }

/* ---- settings ---------------------------------------------------------------------------------------------------- */

static void add(checkpoint *c, const char *key, char *value) /* takes the value */
{
    checkpoint_setting *more = realloc(c->settings, (c->setting_count + 1) * sizeof *more);
    if (more) c->settings = more;
    if (!more || !value) {
        c->failed = true;
        free(value);
        return;
    }
    c->settings[c->setting_count] = (checkpoint_setting){.here = value};
    snprintf(c->settings[c->setting_count++].key, sizeof c->settings->key, "%s", key);
}

void checkpoint_setting_add(checkpoint *c, const char *key, const char *format, ...)
{
    char    text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    add(c, key, strdup(text));
}

void checkpoint_settings_add(checkpoint *c, const void *options)
{
    for (const option *o = c->cmd->options; o->name; o++) {
        char key[32], *text = malloc(SPEC_MAX_TEXT + 1);
        bool free_to_change = false;
        for (size_t i = 0; i < sizeof may_change / sizeof may_change[0]; i++)
            free_to_change = free_to_change || !strcmp(o->name, may_change[i]);
        snprintf(key, sizeof key, "--%s", o->name);
        if (text && !option_text(o, options, text, SPEC_MAX_TEXT + 1)) *text = 0;
        if (free_to_change) free(text);
        else add(c, key, text);
    }
}

static void device_text(const checkpoint *c, char *text, size_t size)
{
    const clg_device_info *device = clg_context_device(clg_model_context(c->model));
    char                   profile[256];
    snprintf(text, size, "clgrad %s, %s, profile %s", clg_version(), device->name,
             clg_profile_text(&device->profile, profile, sizeof profile));
}

/* ---- going bad --------------------------------------------------------------------------------------------------- */

const char *checkpoint_left(const checkpoint *c, char text[CHECKPOINT_LEFT])
{
    size_t          at = (size_t)snprintf(text, CHECKPOINT_LEFT, "No model was saved");
    const progress *p = c ? &c->saved_at : NULL;
    if (!c || !c->path) return text;
    at += (size_t)snprintf(text + at, CHECKPOINT_LEFT - at, "; %.200s ", c->path);
    if (p->epoch && p->step)
        snprintf(text + at, CHECKPOINT_LEFT - at, "has the training as it was in epoch %lld, after step %lld",
                 (long long)p->epoch, (long long)p->step);
    else if (p->epoch)
        snprintf(text + at, CHECKPOINT_LEFT - at, "has the training as it was after epoch %lld", (long long)p->epoch - 1);
    else snprintf(text + at, CHECKPOINT_LEFT - at, access(c->path, F_OK) ? "is not there yet" : "is as it was");
    return text;
}

static int diverged(const checkpoint *c, const command *cmd, const char *what)
{
    char left[CHECKPOINT_LEFT];
    fail(cmd, "%s; try a smaller --lr; --check-numerics tells where it began. %s", what, checkpoint_left(c, left));
    return EXIT_NOT_FINITE;
}

int checkpoint_diverged(const checkpoint *c, const command *cmd, const progress *p)
{
    char what[128];
    snprintf(what, sizeof what, "the loss is no longer a number in epoch %lld, at step %lld or before it",
             (long long)p->epoch, (long long)p->step);
    return diverged(c, cmd, what);
}

int checkpoint_check_model(const checkpoint *c, const command *cmd, clg_model *model)
{
    char          what[128];
    const int64_t bad = snapshot_not_finite(model);
    if (bad < 0) return 0;
    snprintf(what, sizeof what, "%.80s has values that are no numbers", clg_model_name(model, (size_t)bad));
    return diverged(c, cmd, what);
}

/* ---- saving ------------------------------------------------------------------------------------------------------ */

/* What the library is to keep; arrays has room for 2. */
static clg_checkpoint all_of(const checkpoint *c, const progress *p, clg_checkpoint_array *arrays)
{
    arrays[0] = (clg_checkpoint_array){.name = "epoch.loss_sum", .tensor = c->sum};
    if (p->best_epoch)
        arrays[1] = (clg_checkpoint_array){
            .name = "best", .value = c->best->value, .shape = CLG_SHAPE((int64_t)snapshot_count(c->model))};
    return (clg_checkpoint){c->model, c->optimizer, c->graph, arrays, p->best_epoch ? 2 : 1};
}

enum { PROGRESS = 6 }; /* fields */
static const char *const progress_keys[PROGRESS] = {"epoch", "step", "best_epoch", "least", "loss", "score"};

/* The numbers of each epoch, one after another; to be freed. */
static char *history_text(const history *h)
{
    const size_t room = (size_t)(h ? h->count : 0) * 4 * 32 + 1;
    char        *text = calloc(room, 1);
    size_t       at = 0;
    for (int64_t i = 0; text && h && i < h->count; i++)
        at += (size_t)snprintf(text + at, room - at, "%.17g %.17g %.17g %.17g ", h->at[i].train_loss, h->at[i].loss,
                               h->at[i].score, h->at[i].seconds);
    return text;
}

/* The first of them was warned of. */
static void tell_missed(checkpoint *c)
{
    if (c->missed > 1)
        warn(c->cmd, "--checkpoint %s: in all, %lld checkpoints were not written", c->path, (long long)c->missed);
    c->missed = 0;
}

int checkpoint_save(checkpoint *c, const progress *p)
{
    if (!c || !c->path || c->fresh || clg_context_failed(clg_model_context(c->model))) return 0;
    const int64_t        whole[] = {p->epoch, p->step, p->best_epoch};
    const double         real[] = {p->least, p->loss, p->score};
    char                 number[PROGRESS][32], device[1024], *told = history_text(c->history);
    clg_checkpoint_array arrays[2];
    size_t               count = 0;
    clg_metadata        *meta = told ? calloc(PROGRESS + 2 + c->setting_count, sizeof *meta) : NULL;
    for (int i = 0; i < PROGRESS; i++) {
        if (i < 3) snprintf(number[i], sizeof number[i], "%lld", (long long)whole[i]);
        else snprintf(number[i], sizeof number[i], "%.17g", real[i - 3]);
        if (meta) meta[count++] = (clg_metadata){progress_keys[i], number[i]};
    }
    device_text(c, device, sizeof device);
    if (meta) meta[count++] = (clg_metadata){"device", device}, meta[count++] = (clg_metadata){"history", told};
    for (size_t i = 0; meta && i < c->setting_count; i++)
        if (*c->settings[i].here) meta[count++] = (clg_metadata){c->settings[i].key, c->settings[i].here};
    const clg_checkpoint all = all_of(c, p, arrays);
    const clg_status     status = meta ? clg_checkpoint_save(&all, c->path, meta, count) : CLG_OUT_OF_MEMORY;
    const char          *why = meta ? clg_context_error(clg_model_context(c->model)) : "out of memory";
    free(meta);
    free(told);
    c->since = 0;
    c->fresh = status == CLG_OK;
    if (c->fresh) tell_missed(c), c->saved_at = *p;
    if (status == CLG_NOT_FINITE) {
        char what[512];
        snprintf(what, sizeof what, "epoch %lld, after step %lld: %s", (long long)p->epoch, (long long)p->step, why);
        return diverged(c, c->cmd, what);
    }
    if (status && !clg_context_failed(clg_model_context(c->model)) && !c->missed++)
        warn(c->cmd, "--checkpoint %s: %s. The training goes on%s", c->path, why,
             access(c->path, F_OK) ? "" : "; the older checkpoint there is as it was");
    return 0;
}

void checkpoint_end(checkpoint *c)
{
    tell_missed(c);
    for (size_t i = 0; i < c->setting_count; i++) free(c->settings[i].here), free(c->settings[i].there);
    free(c->settings);
    *c = (checkpoint){0};
}

int checkpoint_step(checkpoint *c, const progress *p)
{
    if (!c || !c->path) return 0;
    c->fresh = false;
    return c->steps && ++c->since >= c->every ? checkpoint_save(c, p) : 0;
}

int checkpoint_epoch(checkpoint *c, const progress *p)
{
    if (!c || !c->path) return 0;
    c->fresh = false;
    return !c->steps && ++c->since >= c->every ? checkpoint_save(c, p) : 0;
}

/* ---- resuming ---------------------------------------------------------------------------------------------------- */

typedef struct reading {
    checkpoint *c;
    char        number[PROGRESS][32], device[1024], unknown[128];
    history     past;
    bool        failed;
} reading;

static void read_history(reading *r, const char *text)
{
    for (char *end = NULL; !r->failed && *text; text = end + 1) {
        double value[4];
        for (int i = 0; i < 4; i++, text = end) value[i] = strtod(text, &end);
        r->failed = *end != ' ' || !report_keep(&r->past, &(epoch_result){.train_loss = value[0],
                                                                          .test_loss = value[1],
                                                                          .test_accuracy = value[2],
                                                                          .seconds = value[3]});
    }
}

static void read_one(void *user, const char *key, const char *value)
{
    reading *r = user;
    for (int i = 0; i < PROGRESS; i++)
        if (!strcmp(key, progress_keys[i])) snprintf(r->number[i], sizeof r->number[i], "%s", value);
    if (!strcmp(key, "history")) read_history(r, value);
    if (!strcmp(key, "device")) snprintf(r->device, sizeof r->device, "%s", value);
    bool known = strncmp(key, "--", 2) != 0;
    for (size_t i = 0; i < r->c->setting_count; i++) {
        checkpoint_setting *s = &r->c->settings[i];
        if (strcmp(key, s->key)) continue;
        known = true;
        free(s->there);
        s->there = strdup(value);
        r->failed = r->failed || !s->there;
    }
    if (!known) snprintf(r->unknown, sizeof r->unknown, "%.30s (the checkpoint has %.60s)", key, value);
}

static bool parse_progress(const reading *r, progress *p)
{
    int64_t *const whole[] = {&p->epoch, &p->step, &p->best_epoch};
    double *const  real[] = {&p->least, &p->loss, &p->score};
    bool           good = true;
    errno = 0;
    for (int i = 0; i < PROGRESS; i++) {
        char *end = NULL;
        if (i < 3) *whole[i] = strtoll(r->number[i], &end, 10);
        else *real[i - 3] = strtod(r->number[i], &end);
        good = good && *r->number[i] && !*end;
    }
    return good && !errno && p->epoch >= 1 && p->step >= 0 && p->best_epoch >= 0 && p->best_epoch < p->epoch;
}

/* Says what differs; 0 when nothing does. */
static int compare(const reading *r)
{
    char   text[2048] = "";
    size_t at = 0;
    for (size_t i = 0; i < r->c->setting_count && at < sizeof text; i++) {
        const checkpoint_setting *s = &r->c->settings[i];
        if (strcmp(s->here, s->there ? s->there : ""))
            at += (size_t)snprintf(text + at, sizeof text - at, "%s%s %.100s (the checkpoint has %.100s)", at ? "; " : "",
                                   s->key, *s->here ? s->here : "not given", s->there && *s->there ? s->there : "none");
    }
    if (!at && *r->unknown) at = (size_t)snprintf(text, sizeof text, "%s", r->unknown);
    return at ? usage(r->c->cmd, "--resume %s: not the same training: %s", r->c->resume, text) : 0;
}

/* Puts back what the file has. */
static int load(checkpoint *c, reading *r, const progress *p)
{
    clg_checkpoint_array arrays[2];
    if (p->best_epoch && (!c->best || !snapshot_room(c->best, c->model))) return fail(c->cmd, "out of memory");
    const clg_checkpoint all = all_of(c, p, arrays);
    if (clg_checkpoint_load(&all, c->resume)) return fail_context(c->cmd, clg_model_context(c->model));
    if (!c->history) return 0;
    const history mine = *c->history;
    *c->history = r->past;
    r->past = mine; /* to be freed */
    return 0;
}

static int resume(checkpoint *c, reading *r, int64_t epochs, int64_t steps, progress *p)
{
    clg_context *ctx = clg_model_context(c->model);
    if (clg_file_metadata_each(ctx, c->resume, read_one, r)) return fail_context(c->cmd, ctx);
    if (r->failed || !parse_progress(r, p) || p->step > steps || (c->history && r->past.count != p->epoch - 1))
        return fail(c->cmd, "--resume %s: not a checkpoint of clgrad train, or damaged", c->resume);
    const int different = compare(r);
    if (different) return different;
    if (p->epoch - (p->step == 0) > epochs)
        return usage(c->cmd, "--epochs %lld: the training in %s is in epoch %lld already", (long long)epochs, c->resume,
                     (long long)(p->epoch - (p->step == 0)));
    const int status = load(c, r, p);
    if (status) return status;
    char device[1024];
    device_text(c, device, sizeof device);
    if (strcmp(device, r->device)) snprintf(c->from, sizeof c->from, "%s", *r->device ? r->device : "another device");
    c->fresh = c->path && !strcmp(c->path, c->resume);
    return 0;
}

int checkpoint_resume(checkpoint *c, int64_t epochs, int64_t steps, progress *p)
{
    *p = (progress){.epoch = 1, .least = INFINITY};
    if (!c || !c->resume) return c && c->failed ? fail(c->cmd, "out of memory") : 0;
    reading   r = {.c = c};
    const int status = c->failed ? fail(c->cmd, "out of memory") : resume(c, &r, epochs, steps, p);
    free(r.past.at);
    return status;
}

void checkpoint_tell(const checkpoint *c, const progress *p, int64_t steps)
{
    char device[1024];
    if (!c || !c->resume) return;
    printf("%s: going on after epoch %lld", c->resume, (long long)p->epoch - 1);
    if (p->step) printf(" and %lld of %lld steps", (long long)p->step, (long long)steps);
    printf("\n");
    device_text(c, device, sizeof device);
    if (*c->from) printf("note: the checkpoint is of %s; here: %s. Bits will differ\n", c->from, device);
}
