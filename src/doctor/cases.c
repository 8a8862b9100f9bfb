/* cases.c - the cases that op_table.h stands for, one after another in its order. */
#include "doctor/op_table.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct table {
    const char   *name;
    const op_row *rows;
    size_t        count;
} table;

#define TABLE(name) {#name, name##_rows, CLG__COUNT(name##_rows)},
static const table tables[] = {EACH_TABLE(TABLE)};

static unsigned subsets(const op_row *row) { return row->flags & EVERY_AXES ? (1u << row->in[0].shape.rank) - 1 : 1; }

static clg_reduce_desc axes_of(unsigned subset)
{
    clg_reduce_desc reduce = {.keepdims = subset & 1};
    for (int d = 0; d < CLG_MAX_RANK; d++)
        if (subset >> d & 1) reduce.axes[reduce.count++] = d;
    return reduce;
}

static void fill(clg__case *c, const clg__case *first, const table *t, const op_row *row, unsigned subset)
{
    int number = 0;
    *c = (clg__case){.row = *row, .table = t->name};
    if (row->flags & EVERY_AXES) c->row.with.reduce = axes_of(subset);
    for (const clg__case *other = first; other < c; other++) number += strcmp(other->row.op, row->op) == 0;
    snprintf(c->name, sizeof c->name, "%.28s.%d", row->op, number);
    for (int k = 0; k < CLG__CASE_INPUTS && row->in[k].values; k++) c->elements += clg_shape_count(row->in[k].shape);
}

clg__case *clg__cases_create(size_t *count)
{
    *count = 0;
    for (size_t t = 0; t < CLG__COUNT(tables); t++)
        for (size_t i = 0; i < tables[t].count; i++) *count += subsets(&tables[t].rows[i]);
    clg__case *cases = calloc(*count, sizeof *cases), *next = cases;
    for (size_t t = 0; cases && t < CLG__COUNT(tables); t++)
        for (size_t i = 0; i < tables[t].count; i++)
            for (unsigned subset = 1; subset <= subsets(&tables[t].rows[i]); subset++)
                fill(next++, cases, &tables[t], &tables[t].rows[i], subset);
    return cases;
}
