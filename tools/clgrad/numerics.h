/* numerics.h - --check-numerics: steps that run node by node, and where the first value came from that is no number. */
#ifndef NUMERICS_H
#define NUMERICS_H

#include "checkpoint.h"

typedef struct numerics {
    bool bad; /* the last step has spoilt what stays: the weights, the optimiser's, a state, the sum of the losses */
    char first[4096]; /* of that step, the first operator with such a result, and what it was computed from */
} numerics;

/* One step of a plan of an observed graph, up to where it goes bad. */
void numerics_step(numerics *n, clg_plan *plan);

/* Says what has gone bad; returns EXIT_NOT_FINITE. */
int numerics_report(const numerics *n, const command *cmd, const checkpoint *keep, const progress *at);

#endif
