/* text.h - gpt learns the characters of a text file: those that occur are its vocabulary, which its own file keeps. */
#ifndef TEXT_H
#define TEXT_H

#include "checkpoint.h"
#include "options.h"

#include <clgrad/clgrad.h>

typedef struct text_options {
    const char *data, *out;
    int64_t     epochs, batch;
    uint64_t    seed;
    float       lr;
    checkpoint *keep;
} text_options;

/* Trains and saves; the exit status, what went wrong having been said. */
int text_train(const command *cmd, clg_context *ctx, const text_options *o);

typedef struct text_prompt {
    const char *model, *prompt; /* a file; NULL: the first character that the network knows */
    int64_t     length;
    uint64_t    seed;
    float       temperature;
} text_prompt;

/* Continues the prompt on standard output; likewise. */
int text_predict(const command *cmd, clg_context *ctx, const text_prompt *o);

#endif
