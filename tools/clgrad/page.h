/* page.h - train --report: a training as one self-contained page of HTML. */
#ifndef PAGE_H
#define PAGE_H

#include "metrics.h"
#include "outcome.h"
#include "report.h"

typedef struct page {
    const command  *cmd;
    const void     *options;  /* the command's: what was set is told */
    const char     *data;     /* where it came from */
    const network  *net;
    clg_model      *model;
    const pass     *train;
    const history  *history;
    const char     *part;     /* what was measured after each epoch: "test", "validation" */
    int64_t         watched;  /* of how many examples */
    int64_t         epochs;   /* how many there were to be */
    int64_t         best;     /* the epoch whose weights were kept; 0: the last */
    pass *final; /* what is measured at the end, keeping outputs and counting classes; NULL: nothing, the training
                               * was interrupted */
    const char     *final_part;
    double          loss, score; /* of that */
    const outcome  *seen;     /* likewise, example by example */
} page;

/* 0, or the exit status. */
int page_write(const page *p, const char *path);

/* Of classes: the matrix, the pairs taken for each other most often, the scores. */
void page_matrix(FILE *to, const network *net, const float *confusion);
void page_pairs(FILE *to, const network *net, const float *confusion);
void page_scores(FILE *to, const network *net, const class_score *score);

#endif
