/* folds.c - the folds share model, plans and data on the device: weights go back to the first ones, and each pass gets
 * a part of the data. */
#include "folds.h"
#include "snapshot.h"
#include "source.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

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

/* The k-th of the folds is looked at, the others are learnt. */
static int run(loop *l, const learn_options *learn, clg_optimizer *opt, clg_dataset *all, int64_t k, int64_t folds)
{
    const int64_t count = clg_dataset_count(all), begin = k * count / folds, end = (k + 1) * count / folds;
    clg_dataset  *fold = clg_dataset_part(all, &(clg_part_desc){true, l->seed, begin, end});
    clg_dataset *others =
        clg_dataset_part(all, &(clg_part_desc){true, l->seed, end % count, end % count + count - (end - begin)});
    int           status = fold && others ? 0 : fail_context(l->cmd, l->ctx);
    l->watch->data = fold;
    l->train->data = others;
    if (!status)
        status = learn_schedule(l->cmd, learn, opt,
                                l->epochs * ((clg_dataset_count(others) + l->train->batch - 1) / l->train->batch));
    if (!status) status = loop_run(l);
    l->watch->data = l->train->data = all;
    clg_dataset_destroy(&fold);
    clg_dataset_destroy(&others);
    return status;
}

int folds_run(loop *l, const learn_options *learn, clg_optimizer *opt, int64_t folds)
{
    clg_dataset *all = l->train->data;
    snapshot     first = {0};
    double      *loss = calloc(2 * (size_t)folds, sizeof *loss), *score = loss ? loss + folds : NULL;
    const bool   regression = l->train->real;
    if (l->title) fputs(l->title, stdout);
    l->title = NULL;
    int          status = loss && snapshot_take(&first, l->model) ? 0 : fail(l->cmd, "out of memory");
    for (int64_t k = 0; k < folds && !status; k++) {
        snapshot_restore(&first, l->model);
        clg_optimizer_reset(opt);
        printf("fold %lld/%lld\n", (long long)k + 1, (long long)folds);
        status = run(l, learn, opt, all, k, folds);
        loss[k] = l->at.loss;
        score[k] = l->at.score;
    }
    snapshot_free(&first);
    if (!status) {
        const spread a = spread_of(loss, folds), b = spread_of(score, folds);
        const double unit = regression ? 1.0 : 100.0;
        printf("%lld folds: validation loss %.4f +- %.4f, %s %.*f%s +- %.*f%s\n", (long long)folds, a.mean, a.deviation,
               regression ? "R^2" : "accuracy", regression ? 4 : 2, unit * b.mean, regression ? "" : "%",
               regression ? 4 : 2, unit * b.deviation, regression ? "" : "%");
    }
    free(loss);
    return status;
}
