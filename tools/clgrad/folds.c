/* folds.c - the folds share model, plans and data on the device: weights go back to the first ones, and each pass deals its
 * rows only. */
#include "folds.h"
#include "snapshot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 0 .. count - 1 shuffled; Fisher & Yates. */
static int32_t *shuffled(int64_t count, uint64_t seed)
{
    int32_t *row = malloc((size_t)count * sizeof *row);
    for (int64_t i = 0; row && i < count; i++) {
        const int64_t k = (int64_t)(clg_random_u32(seed, (uint64_t)i) % (uint64_t)(i + 1));
        row[i] = row[k];
        row[k] = (int32_t)i;
    }
    return row;
}

typedef struct spread {
    double mean, deviation; /* of a sample: divided by count - 1 */
} spread;

static spread spread_of(const double *value, int64_t count)
{
    spread s = {0};
    for (int64_t i = 0; i < count; i++) s.mean += value[i] / (double)count;
    for (int64_t i = 0; i < count; i++) s.deviation += (value[i] - s.mean) * (value[i] - s.mean);
    s.deviation = sqrt(s.deviation / (double)(count - 1));
    return s;
}

static int run(loop *l, const learn_options *learn, clg_optimizer *opt, int64_t folds, const int32_t *row, int32_t *others,
               double *loss, double *score)
{
    const int64_t count = clg_dataset_count(l->train->data);
    snapshot      first = {0};
    int           status = snapshot_take(&first, l->model) ? 0 : fail(l->cmd, "out of memory");
    for (int64_t k = 0; k < folds && !status; k++) {
        const int64_t begin = k * count / folds, end = (k + 1) * count / folds, left = count - (end - begin);
        const int64_t steps = l->epochs * ((left + l->train->batch - 1) / l->train->batch);
        memcpy(others, row, (size_t)begin * sizeof *row);
        memcpy(others + begin, row + end, (size_t)(count - end) * sizeof *row);
        l->watch->only = row + begin, l->watch->only_count = end - begin;
        l->train->only = others, l->train->only_count = left;
        snapshot_restore(&first, l->model);
        clg_optimizer_reset(opt);
        printf("fold %lld/%lld\n", (long long)k + 1, (long long)folds);
        status = learn_schedule(l->cmd, learn, opt, steps);
        if (!status) status = loop_run(l);
        loss[k] = l->loss;
        score[k] = l->score;
    }
    snapshot_free(&first);
    return status;
}

int folds_run(loop *l, const learn_options *learn, clg_optimizer *opt, int64_t folds)
{
    const int64_t count = clg_dataset_count(l->train->data);
    int32_t      *row = shuffled(count, l->seed), *others = malloc((size_t)count * sizeof *others);
    double       *loss = calloc(2 * (size_t)folds, sizeof *loss), *score = loss ? loss + folds : NULL;
    const bool    regression = l->train->real;
    int           status = row && others && loss ? 0 : fail(l->cmd, "out of memory");
    if (!status) status = run(l, learn, opt, folds, row, others, loss, score);
    if (!status) {
        const spread a = spread_of(loss, folds), b = spread_of(score, folds);
        const double unit = regression ? 1.0 : 100.0;
        printf("%lld folds: validation loss %.4f +- %.4f, %s %.*f%s +- %.*f%s\n", (long long)folds, a.mean, a.deviation,
               regression ? "R^2" : "accuracy", regression ? 4 : 2, unit * b.mean, regression ? "" : "%", regression ? 4 : 2,
               unit * b.deviation, regression ? "" : "%");
    }
    free(row);
    free(others);
    free(loss);
    return status;
}
