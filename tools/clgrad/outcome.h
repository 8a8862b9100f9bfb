/* outcome.h - example by example, what a model makes of the data that a pass looks at: its worst mistakes, or its
 * predictions. */
#ifndef OUTCOME_H
#define OUTCOME_H

#include "pass.h"

enum { OUTCOME_MISTAKES = 24, OUTCOME_POINTS = 1500 };

typedef struct mistake {
    int      label, guess;
    float    own, guessed; /* the probabilities of the two */
    uint8_t *pixels;       /* of outcome.picture */
} mistake;

typedef struct outcome {
    clg_shape picture;      /* of an example; rank 0: it is none */
    mistake   worst[OUTCOME_MISTAKES]; /* least probability of the own class first */
    int       count;
    int64_t   wrong;        /* of all examples */
    float    *answer, *prediction; /* [points] of a regression: the first output, of examples evenly apart */
    int64_t   points;
} outcome;

/* The whole of a pass that only looks, which must keep its outputs (pass_keep_outputs). 0, or the exit status. */
int  outcome_collect(const command *cmd, pass *p, const network *net, outcome *o);
void outcome_free(outcome *o);

#endif
