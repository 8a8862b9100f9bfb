/* loop.c - epochs of training and looking, between opening and closing the log and the trace; early stopping;
 * checkpoints.
 *
 * That the loss is a number is looked at where the device has been waited for: now and then, and at an epoch's end. */
#include "loop.h"
#include "interrupt.h"
#include "source.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The order of the images differs from epoch to epoch and follows from the seed. */
static uint64_t epoch_seed(uint64_t seed, int64_t epoch)
{
    const uint64_t index = 2 * (uint64_t)epoch;
    return (uint64_t)clg_random_u32(seed, index) << 32 | clg_random_u32(seed, index + 1);
}

/* The epoch that o->at is in, to its end or to a signal. 0, or the exit status. */
static int train_epoch(loop *o, epoch_result *r, bool terminal)
{
    const uint64_t seed = epoch_seed(o->seed, r->epoch);
    pass          *p = o->train;
    const double   start = clock_seconds();
    const int64_t  steps_before = o->at.step;
    double         drawn = start;
    int            status = 0;
    bool           finite = true;
    r->before = clg_context_counters(o->ctx);
    if (o->at.step) pass_resume(p, &seed, o->at.step);
    else pass_begin(p, &seed);
    r->examples_before = p->seen;
    for (leash l = {0}; finite && !status && !interrupted() && pass_next(p);) {
        o->at.step = p->steps;
        if (p->numerics && p->numerics->bad) status = numerics_report(p->numerics, o->cmd, o->keep, &o->at);
        if (status) break;
        if (leash_step(&l, o->ctx)) finite = isfinite(pass_loss(p)); /* the device has been waited for anyway */
        if (finite) status = checkpoint_step(o->keep, &o->at);
        if (!terminal || !finite) continue;
        const double now = clock_seconds();
        if (now - drawn < 0.25) continue;
        const double loss = pass_loss(p);
        drawn = clock_seconds();
        report_progress(r, p->seen, drawn - start, loss);
    }
    r->train_loss = pass_loss(p);
    r->after = clg_context_counters(o->ctx);
    r->seconds = clock_seconds() - start;
    r->steps = p->steps - steps_before;
    if (clg_context_failed(o->ctx)) return fail_context(o->cmd, o->ctx);
    if (!status && p->steps && !isfinite(r->train_loss)) status = checkpoint_diverged(o->keep, o->cmd, &o->at);
    return status;
}

/* Keeps the weights, if they are the best so far. */
static int keep_best(loop *o, const epoch_result *r)
{
    progress *at = &o->at;
    const bool better = o->patience && r->test_loss < at->least;
    if (!o->patience || !at->best_epoch || better) at->loss = r->test_loss, at->score = r->test_accuracy;
    if (!better) return 0;
    at->least = r->test_loss;
    at->best_epoch = r->epoch;
    return snapshot_take(&o->best, o->model) ? 0 : fail(o->cmd, "out of memory");
}

static int64_t steps_of(const loop *o)
{
    return (clg_dataset_count(o->train->data) + o->train->batch - 1) / o->train->batch;
}

static int epochs(loop *o, FILE *log)
{
    const bool terminal = isatty(STDOUT_FILENO);
    progress  *at = &o->at;
    int        status = 0;
    int64_t    unlogged = 0;
    if (o->title) fputs(o->title, stdout);
    checkpoint_tell(o->keep, at, steps_of(o));
    fflush(stdout);
    while (at->epoch <= o->epochs && !status) {
        epoch_result r = {.epoch = at->epoch,
                          .epochs = o->epochs,
                          .examples = clg_dataset_count(o->train->data),
                          .regression = o->train->real,
                          .word = clg_tensor_shape(o->train->x).rank == 4 ? "images" : "examples",
                          .part = o->part};
        if (at->best_epoch && at->epoch - 1 - at->best_epoch >= o->patience) {
            printf("stopped: no better %s loss in %lld epochs\n", o->part, (long long)o->patience);
            break;
        }
        status = train_epoch(o, &r, terminal);
        if (!status && interrupted()) {
            status = interrupted_status();
            printf("%sepoch %lld/%lld  interrupted after %lld steps\n", terminal ? "\r\033[K" : "", (long long)r.epoch,
                   (long long)o->epochs, (long long)at->step);
        }
        if (status) break;
        pass_look(o->watch, &r.test_loss, &r.test_accuracy);
        if (o->train->trace) trace_drain(o->train->trace, o->ctx);
        if (clg_context_failed(o->ctx)) status = fail_context(o->cmd, o->ctx);
        else report_epoch(&r, terminal);
        if (!status && o->history && !report_keep(o->history, &r)) status = fail(o->cmd, "out of memory");
        if (!status && log && !report_log(&r, log) && !unlogged++)
            warn(o->cmd, "--log %s: cannot write: %s; epoch %lld is not in it", o->log, strerror(errno),
                 (long long)r.epoch);
        if (!status && !isfinite(r.test_loss)) status = checkpoint_diverged(o->keep, o->cmd, at);
        if (!status) status = keep_best(o, &r);
        if (status) break;
        at->epoch++;
        at->step = 0;
        status = checkpoint_epoch(o->keep, at);
    }
    if (!status || status == interrupted_status()) {
        const int kept = checkpoint_save(o->keep, at);
        if (kept) status = kept;
    }
    if (at->best_epoch && (!status || status == interrupted_status())) {
        snapshot_restore(&o->best, o->model);
        printf("the weights are those after epoch %lld, %s loss %.4f\n", (long long)at->best_epoch, o->part, at->least);
    }
    fflush(stdout);
    if (unlogged > 1) warn(o->cmd, "--log %s: in all, %lld epochs are not in it", o->log, (long long)unlogged);
    if (!status && clg_context_failed(o->ctx)) status = fail_context(o->cmd, o->ctx);
    return status;
}

/* Where a training that goes on writes on: behind the lines of the epochs before. */
static long end_of_lines(const char *path, int64_t epoch)
{
    FILE  *file = fopen(path, "r");
    char  *line = NULL;
    size_t room = 0;
    long   end = 0;
    for (bool earlier = true; file && earlier && getline(&line, &room, file) > 0;) {
        cJSON       *object = cJSON_Parse(line);
        const cJSON *number = cJSON_GetObjectItem(object, "epoch");
        earlier = cJSON_IsNumber(number) && number->valuedouble < (double)epoch && ends_with(line, "\n");
        cJSON_Delete(object);
        if (earlier) end = ftell(file);
    }
    free(line);
    if (file) fclose(file);
    return end;
}

/* epochs() between opening and closing the log; a log without a single line is not left behind. */
static int logged_epochs(loop *o)
{
    if (!o->log) return epochs(o, NULL);
    const int   file = open(o->log, O_WRONLY | O_CREAT, 0666);
    FILE       *log = file < 0 ? NULL : fdopen(file, "w");
    struct stat info;
    if (!log) return fail(o->cmd, "--log %s: %s", o->log, strerror(errno));
    const long end =
        o->at.epoch > 1 && !fstat(file, &info) && S_ISREG(info.st_mode) ? end_of_lines(o->log, o->at.epoch) : 0;
    if (ftruncate(file, end) && errno != EINVAL) /* EINVAL: a pipe or a terminal */
        return fclose(log), fail(o->cmd, "--log %s: cannot write: %s", o->log, strerror(errno));
    setvbuf(log, NULL, _IONBF, 0);
    if (end) fseek(log, end, SEEK_SET);
    const int status = epochs(o, log);
    if (status && !fstat(fileno(log), &info) && S_ISREG(info.st_mode) && info.st_size == 0) unlink(o->log);
    fclose(log);
    return status;
}

static int traced_epochs(loop *o)
{
    if (!o->trace) return logged_epochs(o);
    trace t;
    if (!trace_open(&t, o->trace)) return fail(o->cmd, "--trace %s: %s", o->trace, strerror(errno));
    o->train->trace = o->watch->trace = &t;
    const int status = logged_epochs(o);
    if (!trace_close(&t)) warn(o->cmd, "--trace %s: cannot write: %s; it is cut", o->trace, strerror(errno));
    return status;
}

int loop_run(loop *o)
{
    if (o->keep) o->keep->best = &o->best;
    int status = checkpoint_resume(o->keep, o->epochs, steps_of(o), &o->at);
    if (!status) status = traced_epochs(o);
    snapshot_free(&o->best);
    return status;
}
