/* learn.h - how a network learns, from the command line: optimiser, penalties, clipping, schedule. */
#ifndef LEARN_H
#define LEARN_H

#include "options.h"

#include <clgrad/clgrad.h>

typedef struct learn_options {
    const char *optimizer, *schedule; /* NULL: not given; numbers 0 likewise */
    int64_t     warmup;
    float       lr, weight_decay, l1, l2, clip_norm, clip_value;
    float       momentum; /* LEARN_UNSET: not given */
} learn_options;

#define LEARN_UNSET (-1.0f)

/* Rows of a command's table; `at` is where its learn_options lie. */
#define LEARN_AT(at, name) ((at) + offsetof(learn_options, name))
#define LEARN_ROWS(at) \
    {"optimizer", OPTION_CHOICE, LEARN_AT(at, optimizer), "adam|adamw|sgd|nesterov|rmsprop", \
     "how to learn (default adam)", 0, 0}, \
    {"lr", OPTION_POSITIVE, LEARN_AT(at, lr), "X", "learning rate (default 0.001; 0.01 for sgd and nesterov)", 0, 0}, \
    {"momentum", OPTION_FRACTION, LEARN_AT(at, momentum), "X", \
     "of sgd and nesterov (default 0.9) and rmsprop (0)", 0, 0}, \
    {"weight-decay", OPTION_POSITIVE, LEARN_AT(at, weight_decay), "X", "of adamw (default 0.01)", 0, 0}, \
    {"l1", OPTION_POSITIVE, LEARN_AT(at, l1), "X", "adds X |p| to the loss for every parameter p", 0, 0}, \
    {"l2", OPTION_POSITIVE, LEARN_AT(at, l2), "X", "adds X p^2 / 2 to the loss for every parameter p", 0, 0}, \
    {"clip-norm", OPTION_POSITIVE, LEARN_AT(at, clip_norm), "X", \
     "scales a gradient with a larger norm down to it", 0, 0}, \
    {"clip-value", OPTION_POSITIVE, LEARN_AT(at, clip_value), "X", \
     "limits each number of the gradient to -X..X", 0, 0}, \
    {"schedule", OPTION_CHOICE, LEARN_AT(at, schedule), "constant|step|cosine|one-cycle", \
     "of the learning rate; step: a tenth after each third (default constant)", 0, 0}, \
    {"warmup", OPTION_COUNT, LEARN_AT(at, warmup), "N", "steps in which the learning rate rises first", INT32_MAX, 0}

/* Do they go together? 0, or the exit status after saying what is wrong. Fills in what was not given. */
int learn_check(const command *cmd, learn_options *o);

clg_optimizer *learn_optimizer(const learn_options *o, clg_model *model);

/* The schedule over `steps` of them; 0, or the exit status. */
int learn_schedule(const command *cmd, const learn_options *o, clg_optimizer *opt, int64_t steps);

#endif
