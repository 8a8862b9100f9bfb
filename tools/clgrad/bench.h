/* bench.h - what clgrad bench measures, and how it tells. */
#ifndef BENCH_H
#define BENCH_H

#include "network.h"
#include "options.h"

typedef struct bench_options {
    const char *model, *op, *shape, *trans, *device, *dump_programs, *loss_curve, *save_initial, *trace;
    int64_t     batch, steps, kernel, stride, pad, groups;
    bool        json, dump_plan, untimed, backward, eval;
} bench_options;

extern const bench_options bench_defaults;

/* ---- whole steps, of training or evaluation (bench_model.c) ------------------------------------------------------ */

int bench_model(const bench_options *o);

/* ---- single operators (bench_op.c, bench_peak.c) ----------------------------------------------------------------- */

#define BENCH_OPERATORS \
    "matmul|conv2d|conv2d_backward_data|conv2d_backward_filter|softmax|layer_norm|batch_norm|" \
    "attention|add|relu|gelu|adam|copy|launches"

int bench_op(const bench_options *o);

typedef struct bench_peak {
    double flops, bytes; /* per second */
} bench_peak;

/* Of the device: multiply-adds, and a copy that moves about so many bytes, up to 128 MiB. */
bench_peak bench_peak_measure(clg_context *ctx, double bytes);

clg_context *bench_context(const bench_options *o); /* as the options want it; it may have failed */

/* ---- inputs (bench_feed.c) --------------------------------------------------------------------------------------- */

enum { FEED_BATCHES = 20 };

/* Twenty batches that any program can make again (bench_feed.c has the formula; tools/bench/peer.py makes them too). */
typedef struct feed {
    clg_tensor  *x, *y;
    clg_dataset *data; /* of images; NULL: tokens */
    clg_loader   loader;
    int32_t     *tokens;
    int64_t      batch, next;
} feed;

uint32_t bench_hash(uint32_t x); /* h of that formula */

/* Inputs of graph g for the network; on an error the context has failed. */
feed feed_create(clg_graph *g, const network_kind *kind, int64_t batch);
void feed_destroy(feed *f);
void feed_begin(feed *f);
bool feed_next(feed *f); /* enqueues the next batch, after the last the first again; false in a failed context */

/* ---- times ------------------------------------------------------------------------------------------------------- */

double process_seconds(void); /* since the process was started: loading its libraries is part of it */

typedef struct bench_times {
    double  median, best, mean; /* seconds of one */
    int64_t count;              /* how many were timed */
} bench_times;

/* Calls work(user) `count` times (0: for about `seconds`) and waits for the device after every six or more, which take 20 ms
 * or more together: what is timed is a stream of work. One takes from the end of the one before to its own, which the
 * trace tells of a context opened with .trace, as it must be; what that does not trace takes its share of the few. The
 * mean is of all the time. */
bench_times bench_time(clg_context *ctx, int64_t count, double seconds, void (*work)(void *user), void *user);

/* How many runs --dump-plan measures: `count`, or if that is 0 about a second of them. */
int bench_runs(clg_context *ctx, int64_t count, void (*work)(void *user), void *user);

#endif
