/* report.h - how a training tells of itself: a bar on a terminal, a line an epoch, a log for machines. */
#ifndef REPORT_H
#define REPORT_H

#include "options.h"

#include <cjson/cJSON.h>
#include <clgrad/device.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct epoch_result {
    int64_t      epoch, epochs; /* from 1 */
    int64_t      examples, steps;
    int64_t      examples_before; /* of these, seen by a run that this one goes on with; not among the steps */
    double       seconds;       /* of the training steps */
    double       train_loss, test_loss, test_accuracy;
    bool         regression; /* test_accuracy is R^2 */
    const char  *word;       /* "images", or what else the examples are */
    const char  *part;       /* "test", or what else was measured */
    clg_counters before, after; /* the training steps */
} epoch_result;

/* What was measured after each epoch. */
typedef struct history_point {
    double train_loss, loss, score, seconds;
} history_point;

typedef struct history {
    history_point *at;
    int64_t        count, room;
} history;

bool report_keep(history *h, const epoch_result *r); /* false when out of memory */

double clock_seconds(void);

/* The bar of a running epoch, drawn over itself. */
void report_progress(const epoch_result *r, int64_t examples_now, double seconds_now, double loss_now);
void report_epoch(const epoch_result *r, bool terminal);

/* Appends one JSON object and a newline to an unbuffered file; false, with errno set and no part of the line left, when
 * that cannot be written. */
bool report_log(const epoch_result *r, FILE *log);

/* Prints the object, on one line, and deletes it; the exit status. */
int report_json(const command *cmd, cJSON *object);

#endif
