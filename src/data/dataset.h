/* dataset.h - what a data set is made of, for the files that make one and for the loader. */
#ifndef CLG_DATASET_H
#define CLG_DATASET_H

#include "base/base.h"
#include "data/shuffle.h"
#include <clgrad/data.h>
#include <clgrad/plan.h>

typedef struct clg__feed clg__feed; /* loader.c */

struct clg_dataset {
    clg__object  object;
    clg_context *ctx;
    clg_graph   *graph;
    clg_dtype    dtype;              /* of the examples */
    uint8_t     *host;               /* the examples when they are streamed: not on the device */
    clg_tensor  *examples, *answers; /* states: [most, ...] (NULL: streamed), i32 [most] or f32 [most, outputs] */
    clg_shape    shape;              /* of all examples in memory */
    int64_t      count, most;        /* examples in use, and that can be */
    int64_t      classes, outputs;
    char       **names, **features;  /* of the classes; of the CSV file's columns that are features; or NULL */
    void        *kept;               /* the answers again, on the host */
    size_t      *lines;              /* of the CSV file, where each row in memory begins; or NULL */
    clg__feed   *feeds;
    size_t       feed_count;
    int32_t     *rows; /* the indices of a batch on their way */
    size_t       row_capacity;

    /* Of a part: place p is row order((first + p) mod around) of the base. */
    const clg_dataset *base; /* NULL: this is no part */
    bool               shuffled;
    clg__shuffle       order;
    int64_t            first, around;
};

/* The row in memory that holds example `place` < count. */
int64_t clg__dataset_row(const clg_dataset *data, int64_t place);

/* A copy of texts, NULL being "", to be freed as one; NULL: out of memory, of which the context is told. */
char **clg__names_copy(clg__root *root, const char *const *names, size_t count);

void clg__feeds_destroy(clg_dataset *data);

/* The file at `path`, inflated when it is compressed, with a zero after its end that is not counted; to be freed. Fails
 * the context, naming the file. */
uint8_t *clg__file_read(clg__root *root, const char *path, size_t *size);

#endif
