/* loop.h - the epochs of a training. */
#ifndef LOOP_H
#define LOOP_H

#include "checkpoint.h"
#include "options.h"
#include "pass.h"
#include "report.h"

typedef struct loop {
    const command *cmd;
    clg_context   *ctx;
    clg_model     *model;
    pass          *train, *watch; /* what is learnt, and what is measured after each epoch */
    const char    *part;          /* what the second is: "test", "validation" */
    const char    *log, *trace;   /* files, or NULL */
    int64_t        epochs;
    int64_t patience; /* stop after so many epochs without a smaller loss there, and go back to the weights of the
                                   * smallest; 0: never */
    uint64_t       seed;          /* of the order of the examples */
    const char    *title;         /* lines to be printed before the first step, or NULL */
    history       *history;       /* to add each epoch to, or NULL */
    checkpoint    *keep;          /* NULL: neither kept nor resumed */
    progress at; /* filled in; .loss and .score are what was measured with the weights that the model has now,
                                   * .best_epoch is, with `patience`, the epoch that these are of */
    snapshot       best;
} loop;

/* 0, interrupted_status() when a signal ended it early, or the exit status of what went wrong, which has been said. */
int loop_run(loop *o);

#endif
