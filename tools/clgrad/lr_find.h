/* lr_find.h - learning-rate range test: Smith 2015. */
#ifndef LR_FIND_H
#define LR_FIND_H

#include "loop.h"

/* Trains l->train while the learning rate grows from step to step, and prints the loss against it with a suggestion;
 * writes the whole curve to the CSV file `path` (NULL: none). 0, or the exit status. */
int lr_find(const loop *l, clg_optimizer *opt, const char *path);

#endif
