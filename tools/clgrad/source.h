/* source.h - where the examples come from: --data and what goes with it, and its errors. */
#ifndef SOURCE_H
#define SOURCE_H

#include "options.h"

#include <clgrad/clgrad.h>

#define SOURCE_HELP \
    "fashion-mnist, a .csv file, x.npy beside y.npy (whole numbers: classes; others: targets), a directory with " \
    "IDX files or with a folder of pictures for each class (default fashion-mnist); for gpt a text"

typedef struct source {
    const char        *data, *test; /* the second NULL: a part of the first, when it has no test data of its own */
    const char        *label, *target; /* columns of a CSV file */
    const char        *answer;      /* the column when neither is given, or NULL: source_check makes it one of them */
    bool               regression;  /* the answer is a target */
    clg_shape          image;       /* of a folder's pictures; rank 0: as they are */
    const char *const *names;       /* the classes, when they are known already, or NULL */
    int                classes;     /* how many names */
    const char *const *features;    /* the columns of features of a CSV file, when they are known already, or NULL */
    int64_t            feature_count;
    float              split;       /* the share that `test` takes; 0: the default */
    uint64_t           seed;        /* of that choice */
} source;

bool source_is_csv(const char *name);    /* by its end, .csv or .csv.gz */
bool source_is_npy(const char *name);    /* likewise */
bool source_is_folder(const char *name); /* a directory with a folder in it, and without IDX files */

/* Do the options go together? False when not, which has been said as a wrong command line. */
bool source_check(const command *cmd, source *s);

/* The data to be trained on and the data to be tested with; false when that fails, which has been said. */
bool source_open_both(const command *cmd, clg_context *ctx, const source *s, clg_dataset **train, clg_dataset **test);

/* Two parts of the data, shuffled by `seed`: the first takes the share. False when that is none of them or all; a part
 * is NULL in a context that has failed. */
bool source_split(clg_dataset *all, double share, uint64_t seed, clg_dataset **first, clg_dataset **rest);

/* Those to be tested with alone: a part "t10k" of IDX files, or the whole file. */
clg_dataset *source_open_test(const command *cmd, clg_context *ctx, const source *s);

/* The names name(data, 0) to name(data, count - 1), which lie in the data; the list is the context's. NULL: there are none,
 * or no memory, of which the context is told. */
typedef const char *source_name(const clg_dataset *data, int64_t index);
const char *const  *source_names(clg_context *ctx, const clg_dataset *data, int64_t count, source_name *name);

/* What the classes of a well-known data set are called, when it is one and has so many; else NULL. */
const char *const *source_known_names(const char *data, int classes);

/* The context's error, with the compiler's log when there is one. */
int fail_context(const command *cmd, const clg_context *ctx);

#endif
