/* folds.h - k-fold cross-validation. */
#ifndef FOLDS_H
#define FOLDS_H

#include "learn.h"
#include "loop.h"

/* Cuts the examples of loop->train, shuffled by the seed, into `folds` parts; for each trains from the same first
 * weights on the others and looks at it. Both passes of the loop go through the same data set. Prints mean and
 * deviation; 0, or the exit status. */
int folds_run(loop *l, const learn_options *learn, clg_optimizer *opt, int64_t folds);

#endif
