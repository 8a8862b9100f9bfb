/* start.h - what a training starts from: weights of another model, frozen layers, weights of the classes. */
#ifndef START_H
#define START_H

#include "network.h"

#include <stdio.h>

/* Takes from the model file `path` the parameters of the same name and shape, and tells `said` which were not there. 0,
 * or the exit status. Warns when the one's examples were normalised and the other's are not. */
int start_from(const command *cmd, clg_model *model, const char *path, bool normalized, FILE *said);

/* Freezes the layers of a list such as "conv1,fc1", which must leave something to learn. */
int start_freeze(const command *cmd, clg_model *model, const char *layers);

/* "balanced", which is examples / (classes * examples of the class), or as many numbers as classes, into
 * weight[classes]. */
int start_class_weights(const command *cmd, clg_context *ctx, const char *text, clg_dataset *data, int classes,
                        float *weight);

#endif
