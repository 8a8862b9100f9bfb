/* text.h - gpt learns the characters of a text file: those that occur are its vocabulary, which its own file keeps. */
#ifndef TEXT_H
#define TEXT_H

#include "options.h"

#include <clgrad/clgrad.h>

typedef struct text_options {
    const char *data, *out;
    int64_t     epochs, batch;
    uint64_t    seed;
    float       lr;
} text_options;

/* Trains and saves; the exit status, what went wrong having been said. */
int text_train(const command *cmd, clg_context *ctx, const text_options *o);

#endif
