/* pass.h - one plan run over all batches of a data set, its sums kept on the device. */
#ifndef PASS_H
#define PASS_H

#include "network.h"
#include "numerics.h"
#include "trace.h"

typedef struct pass {
    clg_dataset *data;
    clg_loader   loader;
    clg_plan    *plan;      /* of a pass that only looks: NULL until it begins */
    clg_tensor  *sums[5];   /* what that plan computes */
    size_t       sum_count;
    clg_tensor  *logits;    /* likewise of such a pass */
    clg_tensor  *output;    /* [batch, classes]: probabilities, or predictions; NULL unless asked for */
    clg_tensor  *loss;      /* of a training pass: the batch's */
    clg_tensor  *x, *y;     /* the batch */
    clg_tensor  *rows;      /* scalar: how many images of the batch are real, the weight of its mean loss */
    clg_tensor  *loss_sum;  /* over the images so far */
    clg_tensor  *right_sum; /* likewise the images recognised; NULL in a training pass and in a regression */
    clg_tensor  *real;      /* of a regression: [batch, 1], 1 for a row that is real, 0 for one that fills the batch */
    clg_tensor  *confusion; /* [classes, classes]: how often class i was taken for j; NULL unless asked for */
    clg_tensor  *top_sum;   /* likewise: those whose class was among the `top` likeliest */
    int64_t      batch, rows_now, seen, steps;
    int          top;
    trace       *trace;     /* NULL: none */
    numerics    *numerics;  /* steps are looked into; NULL: they just run */
} pass;

/* A pass that trains `model` by the optimiser, and one that only looks. On an error the context has failed. The weights
 * of the classes may be NULL: equal ones; and so may how to change the pictures at random: not at all; and where to
 * look into the steps: they just run. */
pass pass_train(const network *net, clg_model *model, clg_optimizer *opt, clg_dataset *data, int64_t batch,
                const float *class_weight, const clg_augment_desc *augment, numerics *look);
pass pass_eval(const network *net, clg_model *model, clg_dataset *data, int64_t batch);

/* Makes a pass that only looks, before it begins for the first time, count confusion and top_sum too. */
void pass_count_classes(pass *p, int classes, int top);

/* Likewise, keep each batch's outputs to be read. */
void pass_keep_outputs(pass *p);

/* Begins anew, with the images in the order given by `seed` or, without one, in that of the file. */
void pass_begin(pass *p, const uint64_t *seed);

/* Goes on after so many steps of such a pass, whose sums are there. */
void pass_resume(pass *p, const uint64_t *seed, int64_t steps);

/* Enqueues the next batch; false at the end of the data and in a failed context. */
bool pass_next(pass *p);

/* Means over the images so far. Reading waits for the device. */
double pass_loss(pass *p);
double pass_accuracy(pass *p); /* of a regression: R^2, 1 - loss / the variance of the targets */

/* The whole of a pass that only looks. */
void pass_look(pass *p, double *loss, double *accuracy);

#endif
