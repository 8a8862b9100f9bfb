/* metrics.c - tables of a confusion matrix, as text and as JSON. */
#include "metrics.h"
#include "source.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_COLUMNS = 16 }; /* of a matrix that a terminal can show */

static double ratio(double a, double b) { return b > 0.0 ? a / b : 0.0; }

void metrics_scores(const float *confusion, int classes, class_score *score)
{
    for (int c = 0; c < classes; c++) {
        const double hit = (double)confusion[c * classes + c];
        double       row = 0.0, column = 0.0;
        for (int k = 0; k < classes; k++) {
            row += (double)confusion[c * classes + k];
            column += (double)confusion[k * classes + c];
        }
        score[c] = (class_score){.precision = ratio(hit, column),
                                 .recall = ratio(hit, row),
                                 .f1 = ratio(2.0 * hit, row + column),
                                 .count = row};
    }
}

class_score metrics_mean(const class_score *score, int classes)
{
    class_score mean = {0};
    int         present = 0;
    for (int c = 0; c < classes; c++) {
        if (!(score[c].count > 0.0)) continue;
        present++;
        mean.precision += score[c].precision;
        mean.recall += score[c].recall;
        mean.f1 += score[c].f1;
        mean.count += score[c].count;
    }
    const double n = present ? (double)present : 1.0;
    return (class_score){mean.precision / n, mean.recall / n, mean.f1 / n, mean.count};
}

static void print(const pass *p, const network *net, const char *part, const float *confusion, const class_score *score,
                  double top)
{
    const int         n = net->classes;
    const class_score mean = metrics_mean(score, n);
    if (p->top > 1) printf("%s top-%d accuracy %.2f%%\n", part, p->top, 100.0 * top);
    printf("%-20s %9s %9s %9s %9s\n", "class", "precision", "recall", "F1", "examples");
    for (int c = 0; c < n; c++) {
        char number[16];
        printf("%-20s %9.4f %9.4f %9.4f %9.0f\n", network_class_name(net, c, number), score[c].precision,
               score[c].recall, score[c].f1, score[c].count);
    }
    printf("%-20s %9.4f %9.4f %9.4f %9.0f\n", "mean", mean.precision, mean.recall, mean.f1, mean.count);
    if (n > MOST_COLUMNS) return;
    printf("%-8s", "is\\as");
    for (int c = 0; c < n; c++) printf(" %6d", c);
    for (int c = 0; c < n; c++) {
        printf("\n%-8d", c);
        for (int k = 0; k < n; k++) printf(" %6.0f", (double)confusion[c * n + k]);
    }
    printf("\n");
}

static cJSON *json(const pass *p, const network *net, const float *confusion, const class_score *score, double top)
{
    const int n = net->classes;
    cJSON    *object = cJSON_CreateObject(), *classes = cJSON_AddArrayToObject(object, "classes");
    cJSON    *matrix = cJSON_AddArrayToObject(object, "confusion");
    cJSON_AddNumberToObject(object, "top", p->top);
    cJSON_AddNumberToObject(object, "top_accuracy", top);
    for (int c = 0; c < n; c++) {
        cJSON *one = cJSON_CreateObject(), *row = cJSON_CreateArray();
        if (net->class_names) cJSON_AddStringToObject(one, "name", net->class_names[c]);
        cJSON_AddNumberToObject(one, "precision", score[c].precision);
        cJSON_AddNumberToObject(one, "recall", score[c].recall);
        cJSON_AddNumberToObject(one, "f1", score[c].f1);
        cJSON_AddNumberToObject(one, "examples", score[c].count);
        cJSON_AddItemToArray(classes, one);
        for (int k = 0; k < n; k++) cJSON_AddItemToArray(row, cJSON_CreateNumber((double)confusion[c * n + k]));
        cJSON_AddItemToArray(matrix, row);
    }
    return object;
}

static bool append(const char *log, cJSON *object)
{
    char *text = cJSON_PrintUnformatted(object);
    FILE *file = text ? fopen(log, "a") : NULL;
    bool  good = file && fprintf(file, "%s\n", text) > 0;
    if (file && fclose(file)) good = false;
    cJSON_free(text);
    return good;
}

int metrics_report(const command *cmd, const pass *p, const network *net, const char *part, const char *log)
{
    const size_t n = (size_t)net->classes;
    float       *confusion = calloc(n * n, sizeof *confusion);
    class_score *score = calloc(n, sizeof *score);
    int          status = confusion && score ? 0 : fail(cmd, "out of memory");
    if (!status && clg_tensor_read(p->confusion, confusion, n * n * sizeof *confusion))
        status = fail_context(cmd, clg_tensor_context(p->confusion));
    if (!status) {
        const double top = clg_tensor_scalar(p->top_sum) / (double)p->seen;
        metrics_scores(confusion, net->classes, score);
        print(p, net, part, confusion, score, top);
        cJSON *object = log ? json(p, net, confusion, score, top) : NULL;
        if (log && !append(log, object)) status = fail(cmd, "--log %s: cannot write: %s", log, strerror(errno));
        cJSON_Delete(object);
    }
    free(confusion);
    free(score);
    return status;
}
