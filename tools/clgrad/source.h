/* source.h - where the images come from: --data, and its errors. */
#ifndef SOURCE_H
#define SOURCE_H

#include "options.h"

#include <clgrad/clgrad.h>

#define SOURCE_HELP "fashion-mnist, or a directory with IDX files (default fashion-mnist); for gpt a text"

/* The part "train" or "t10k" of `name`; NULL when that fails, which has been said. */
clg_dataset *source_open(const command *cmd, clg_context *ctx, const char *name, const char *part);

/* The context's error, with the compiler's log when there is one. */
int fail_context(const command *cmd, const clg_context *ctx);

#endif
