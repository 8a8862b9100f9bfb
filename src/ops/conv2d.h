/* conv2d.h - what conv2d.c, conv2d_lanes.c, pool2d.c and conv2d_pool.c know of each other: their rows and attributes. */
#ifndef CLG_CONV2D_H
#define CLG_CONV2D_H

#include "graph/op.h"

enum { CONV, DATA, FILTER };
extern const clg__op clg__ops_conv2d[];

typedef struct conv_attr {
    int       stride[2], pad[2], dilation[2], groups;
    clg_shape x, w, y; /* complete from shape inference of conv2d on */
} conv_attr;

/* The operands of an epilogue and the macros of cl/conv2d.cl that say which of them there are. conv2d.c. */
#define CONV_OPERANDS(bias) bias, CLG__OTHER, CLG__CHANNEL(0), CLG__CHANNEL(1)
void clg__conv2d_epilogue(clg__text *defines, const clg__record *r);

/* A pair of an axis each, and a workspace of so many floats. */
#define CONV_INTS(a) CLG__INT((a)[0]), CLG__INT((a)[1])
static inline clg__arg clg__floats_of(clg__record *r, uint64_t count)
{
    return CLG__WS(clg__record_workspace(r, count * sizeof(float)));
}

/* Records the operator with channels as lanes; false where that does not apply. conv2d_lanes.c. */
bool clg__conv2d_lanes(clg__record *r, const conv_attr *a, int op, clg_status *status);

/* The same with pixels as lanes, for groups of few outputs. conv2d_narrow.c. */
bool clg__conv2d_narrow(clg__record *r, const conv_attr *a, int op, clg_status *status);

/* What the taps of axis d meet, from the first output on: the first source row or column, and how many from there to the
 * last. conv2d_lanes.c. */
int64_t clg__conv2d_meets(const conv_attr *a, int op, int d, int64_t *low);

enum { MAX_POOL, MAX_POOL_VALUE, MAX_POOL_GRAD, MAX_POOL_PICK, AVG_POOL, AVG_POOL_GRAD };
extern const clg__op clg__ops_pool2d[];

typedef struct pool_attr {
    int       kernel[2], stride[2], pad[2], exclude_pad;
    clg_shape x; /* of what is pooled */
} pool_attr;

/* max_pool2d(x) as one operator with the convolution and the ReLU that x is made of; NULL where that does not apply. */
clg_tensor *clg__conv2d_pool(clg_tensor *x, const pool_attr *pool);

#endif
