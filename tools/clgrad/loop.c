/* loop.c - epochs of training and looking, between opening and closing the log and the trace; early stopping. */
#include "loop.h"
#include "interrupt.h"
#include "snapshot.h"
#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The order of the images differs from epoch to epoch and follows from the seed. */
static uint64_t epoch_seed(uint64_t seed, int64_t epoch)
{
    const uint64_t index = 2 * (uint64_t)epoch;
    return (uint64_t)clg_random_u32(seed, index) << 32 | clg_random_u32(seed, index + 1);
}

static void train_epoch(pass *p, uint64_t run_seed, epoch_result *r, bool terminal)
{
    const uint64_t seed = epoch_seed(run_seed, r->epoch);
    clg_context   *ctx = clg_tensor_context(p->x);
    const double   start = clock_seconds();
    double         drawn = start;
    r->before = clg_context_counters(ctx);
    pass_begin(p, &seed);
    for (leash l = {0}; !interrupted() && pass_next(p);) {
        leash_step(&l, ctx);
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

static int epochs(loop *o, FILE *log)
{
    const bool terminal = isatty(STDOUT_FILENO);
    snapshot   best = {0};
    double     least = INFINITY;
    int64_t    best_epoch = 0;
    int        status = 0;
    for (int64_t epoch = 1; epoch <= o->epochs && !status; epoch++) {
        epoch_result r = {.epoch = epoch, .epochs = o->epochs, .images = clg_dataset_count(o->train->data), .regression = o->train->real,
                          .part = o->part};
        train_epoch(o->train, o->seed, &r, terminal);
        if (interrupted()) {
            status = EXIT_INTERRUPTED;
            if (r.steps && !isfinite(r.train_loss)) status = fail(o->cmd, "the loss is no longer a number. Nothing was saved");
            printf("%sepoch %lld/%lld  interrupted after %lld steps\n", terminal ? "\r\033[K" : "", (long long)epoch,
                   (long long)o->epochs, (long long)r.steps);
            break;
        }
        pass_look(o->watch, &r.test_loss, &r.test_accuracy);
        if (o->train->trace) trace_drain(o->train->trace, o->ctx);
        if (clg_context_failed(o->ctx)) status = fail_context(o->cmd, o->ctx);
        else report_epoch(&r, terminal);
        if (!status && o->history && !report_keep(o->history, &r)) status = fail(o->cmd, "out of memory");
        if (!status && log && !report_log(&r, log))
            status = fail(o->cmd, "--log %s: cannot write: %s", o->log, strerror(errno));
        if (!status && !isfinite(r.train_loss))
            status = fail(o->cmd, "the loss is no longer a number; try a smaller --lr. Nothing was saved");
        if (!o->patience || !best_epoch) o->loss = r.test_loss, o->score = r.test_accuracy;
        if (status || !o->patience) continue;
        if (r.test_loss < least) {
            o->loss = r.test_loss, o->score = r.test_accuracy;
            least = r.test_loss;
            best_epoch = epoch;
            if (!snapshot_take(&best, o->model)) status = fail(o->cmd, "out of memory");
        } else if (epoch - best_epoch >= o->patience) {
            printf("stopped: no better %s loss in %lld epochs\n", o->part, (long long)o->patience);
            break;
        }
    }
    if (best_epoch && (!status || status == EXIT_INTERRUPTED)) {
        snapshot_restore(&best, o->model);
        printf("the weights are those after epoch %lld, %s loss %.4f\n", (long long)best_epoch, o->part, least);
    }
    o->best = best_epoch;
    fflush(stdout);
    snapshot_free(&best);
    if (!status && clg_context_failed(o->ctx)) status = fail_context(o->cmd, o->ctx);
    return status;
}

/* epochs() between opening and closing the log; a log without a single line is not left behind. */
static int logged_epochs(loop *o)
{
    if (!o->log) return epochs(o, NULL);
    const int   file = open(o->log, O_WRONLY | O_CREAT, 0666);
    FILE       *log = file < 0 ? NULL : fdopen(file, "w");
    struct stat same[2];
    if (!log) return fail(o->cmd, "--log %s: %s", o->log, strerror(errno));
    if (o->out && !stat(o->out, &same[0]) && !fstat(file, &same[1]) && same[0].st_ino == same[1].st_ino &&
        same[0].st_dev == same[1].st_dev) {
        fclose(log);
        if (same[1].st_size == 0) unlink(o->log);
        return usage(o->cmd, "--log and --out name the same file");
    }
    if (ftruncate(file, 0) && errno != EINVAL) /* EINVAL: a pipe or a terminal */
        return fclose(log), fail(o->cmd, "--log %s: cannot write: %s", o->log, strerror(errno));
    setvbuf(log, NULL, _IONBF, 0);
    const int   status = epochs(o, log);
    struct stat info;
    if (status && !fstat(fileno(log), &info) && S_ISREG(info.st_mode) && info.st_size == 0) unlink(o->log);
    fclose(log);
    return status;
}

int loop_run(loop *o)
{
    if (!o->trace) return logged_epochs(o);
    trace t;
    if (!trace_open(&t, o->trace)) return fail(o->cmd, "--trace %s: %s", o->trace, strerror(errno));
    o->train->trace = o->watch->trace = &t;
    const int status = logged_epochs(o);
    if (!trace_close(&t) && !status) return fail(o->cmd, "--trace %s: cannot write: %s", o->trace, strerror(errno));
    return status;
}
