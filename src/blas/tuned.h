/* tuned.h - choices for classes of matrix products: from the tuning file, from the shipped table, or none. */
#ifndef CLG_BLAS_TUNED_H
#define CLG_BLAS_TUNED_H

#include "blas/engines.h"
#include <clgrad/tune.h>

enum { CLG__TUNED_CLASSES = 256 };

/* Zeros: the engine by the profile, the tile by the cost model. */
typedef struct clg__choice {
    clg__gemm_engine engine;
    uint32_t         m, n, k; /* instead of the profile's tile_m, tile_n, tile_k, and within their limits */
    uint32_t         pack_b;  /* cpu: 1: never, 2: always */
} clg__choice;

typedef struct clg__tuned_row {
    bool        trans_a, trans_b, batched;
    uint8_t     m, n, k; /* the nearest powers of two */
    uint8_t     next;    /* the candidate that tuning goes on with, or 0: all were measured */
    clg__choice choice;
} clg__tuned_row;

struct clg__tuned {
    clg__object        object;
    char              *path;  /* NULL: no cache directory */
    const clg__choice *trial; /* while tuning: what is chosen for every product, or NULL */
    size_t             count;
    clg__tuned_row     row[CLG__TUNED_CLASSES];
    int                set[CLG__CLBLAST_KERNELS]; /* of CLBlast's parameters, or -1 */
};

/* The context's choices, read when it is first asked for them; NULL in a context that has failed. With `use`, CLBlast
 * gets its parameters too. */
clg__tuned *clg__tuned_of(clg_context *ctx, bool use);

clg__choice clg__tuned_choice(clg_context *ctx, const clg__gemm *gemm); /* what holds for this product */
const clg__tuned_row *clg__tuned_find(const clg__tuned *t, const clg__gemm *gemm); /* in the file; NULL: not there */
bool        clg__tuned_same(clg__choice a, clg__choice b);

void        clg__tuned_keep(clg__tuned *t, const clg__gemm *gemm, clg__choice choice, uint8_t next);
int         clg__tuned_count(const clg__tuned *t); /* choices that differ from none */
/* The choices in a file's bytes[size], measured with what `identity` says; false when a doubt is left about any of them. */
bool        clg__tuned_parse(clg__tuned *t, const clg_profile *profile, const clg__text *identity, const uint8_t *bytes,
                             size_t size);
clg__text   clg__tuned_checksum(const void *data, size_t size); /* a file's first line, of all that follows it */
clg_status  clg__tuned_save(clg_context *ctx, const clg__tuned *t);

/* ---- tune.c ------------------------------------------------------------------------------------------------------- */

enum { CLG__TUNE_NN = 1, CLG__TUNE_NT = 2, CLG__TUNE_TN = 4 }; /* as they are, B transposed, A transposed */

typedef struct clg__tune_product {
    int64_t m, n, k, batch;
    int     forms;
} clg__tune_product;

/* clg_context_tune on a list of products instead of its own. */
clg_status clg__tune(clg_context *ctx, const clg__tune_product *list, size_t count, const clg_tune_desc *desc,
                     clg_tune_result *result);

#endif
