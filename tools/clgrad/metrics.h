/* metrics.h - what a confusion matrix says: precision, recall and F1 of each class. */
#ifndef METRICS_H
#define METRICS_H

#include "pass.h"

#include <stdio.h>

typedef struct class_score {
    double precision, recall, f1; /* tp / (tp + fp), tp / (tp + fn), their harmonic mean; 0 where nothing is divided */
    double count;                 /* examples of the class */
} class_score;

/* confusion[i * classes + j]: how often class i was taken for j. Fills score[classes]. */
void metrics_scores(const float *confusion, int classes, class_score *score);

/* The mean over the classes that there are; `count` is their sum. */
class_score metrics_mean(const class_score *score, int classes);

/* Prints what a pass counted, one table for the scores and one for the matrix, and appends one JSON object to the file
 * `log` (NULL: none). 0, or the exit status. */
int metrics_report(const command *cmd, const pass *p, const network *net, const char *part, const char *log);

#endif
