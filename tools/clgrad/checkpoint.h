/* checkpoint.h - --checkpoint, --checkpoint-every and --resume: a training kept in a file, and taken up again; and what
 * is said of one that goes bad, for which --check-numerics asks. */
#ifndef CHECKPOINT_H
#define CHECKPOINT_H

#include "options.h"
#include "report.h"
#include "snapshot.h"

typedef struct checkpoint_options {
    const char *path, *every, *resume; /* NULL: not given */
    bool        check_numerics;
} checkpoint_options;

/* Rows of a command's table; `at` is where its checkpoint_options lie. */
#define CHECKPOINT_AT(at, name) ((at) + offsetof(checkpoint_options, name))
#define CHECKPOINT_ROWS(at) \
    {"check-numerics", OPTION_FLAG, CHECKPOINT_AT(at, check_numerics), NULL, \
     "run operator by operator, slowly: where a loss or weights cease to be numbers, which ends any training with " \
     "exit status 3, tell in which operator, tensor and element that began", 0, 0}, \
    {"checkpoint", OPTION_TEXT, CHECKPOINT_AT(at, path), "FILE", \
     "keep all that is needed to go on later: replaced as --checkpoint-every says, at the end, and on Ctrl-C", 0, 0}, \
    {"checkpoint-every", OPTION_TEXT, CHECKPOINT_AT(at, every), "N[steps|epochs]", \
     "how often; a bare N means epochs (default 1epochs)", 0, 0}, \
    {"resume", OPTION_TEXT, CHECKPOINT_AT(at, resume), "FILE", \
     "go on from a checkpoint: the same bits as without a stop, on the same device; data and options must be those " \
     "it was made with, but for --data (the path), --test, --epochs (with a constant schedule), --device, " \
     "--init-from and what is written", 0, 0}

/* Where a training is, beside what its model, optimiser and sums say. */
typedef struct progress {
    int64_t epoch, step;        /* the epoch that runs, from 1, and the steps done in it */
    int64_t best_epoch;         /* whose weights are kept; 0: none */
    double  least, loss, score; /* the smallest loss; what was measured last, or with those weights */
} progress;

typedef struct checkpoint_setting checkpoint_setting;

typedef struct checkpoint {
    const command *cmd;
    const char    *path, *resume; /* NULL: none */
    int64_t        every, since;  /* steps or epochs */
    bool           steps, fresh;  /* the file is of where the training is */
    bool           check_numerics;
    clg_model     *model;
    clg_optimizer *optimizer;
    clg_graph     *graph;
    clg_tensor    *sum;  /* of the losses of the epoch so far */
    snapshot      *best; /* NULL: none is kept */
    history       *history; /* of the epochs before the one that runs; likewise */
    checkpoint_setting *settings;
    size_t         setting_count;
    bool           failed; /* out of memory for them */
    progress       saved_at; /* where the training was when this run saved last; epoch 0: it has not */
    int64_t        missed; /* saves since the file could be written last */
    char           from[1024]; /* the device of a checkpoint that is resumed on another; "" */
} checkpoint;

/* Begins one with what the options say; 0, or the exit status after saying what is wrong with them. */
int  checkpoint_begin(checkpoint *c, const command *cmd, const checkpoint_options *o);
bool checkpoint_is_used(const checkpoint *c);
void checkpoint_end(checkpoint *c);

/* What must be the same when the training is taken up again: a value of the caller's; and every option of the command
 * but those that may change. */
void checkpoint_setting_add(checkpoint *c, const char *key, const char *format, ...) 
    __attribute__((format(printf, 3, 4)));
void checkpoint_settings_add(checkpoint *c, const void *options);

/* *p becomes the start or, with --resume, where the training was, whose values are put back. 0, or the exit status. An
 * epoch has so many steps. */
int checkpoint_resume(checkpoint *c, int64_t epochs, int64_t steps, progress *p);

/* Prints where a training that was resumed goes on. */
void checkpoint_tell(const checkpoint *c, const progress *p, int64_t steps);

/* After a step, and after an epoch and what is measured then: save if it is time to. At the end, or on a signal: save.
 * A file that cannot be written is only warned of, once. 0, or EXIT_NOT_FINITE, which is said, when the training has
 * gone bad; then the file is left alone. */
int checkpoint_step(checkpoint *c, const progress *p);
int checkpoint_epoch(checkpoint *c, const progress *p);
int checkpoint_save(checkpoint *c, const progress *p);

/* What is left of a training that has gone bad. */
enum { CHECKPOINT_LEFT = 384 };
const char *checkpoint_left(const checkpoint *c, char text[CHECKPOINT_LEFT]);

/* Says that the loss is no longer a number in that step, and what is left; returns EXIT_NOT_FINITE. `c` may be NULL. */
int checkpoint_diverged(const checkpoint *c, const command *cmd, const progress *p);

/* 0, or likewise when a value of the model is none. */
int checkpoint_check_model(const checkpoint *c, const command *cmd, clg_model *model);

#endif
