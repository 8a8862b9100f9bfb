/* chart.h - curves and clouds of points as inline SVG. */
#ifndef CHART_H
#define CHART_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct chart_series {
    const char   *name;
    const double *y;      /* of x = 1, 2, ... */
    int64_t       stride; /* between them, in doubles */
} chart_series;

typedef struct chart {
    const char  *label;   /* what it shows, for who cannot see it */
    const char  *x, *y;   /* what the axes count */
    bool         percent; /* values are shares, shown as such */
    bool         wide;    /* values may differ so much that their logarithm is shown */
    int64_t      count;
    chart_series series[2];
    int          lines;
    int64_t      mark;    /* an x to point at, or 0 */
} chart;

/* A number for people to read. */
const char *chart_number(double value, char text[32]);

/* A legend with the last values, and the curves; values that are no numbers are left out. */
void chart_curves(FILE *to, const chart *c);

/* Points (x, y) beside the line x = y. */
void chart_cloud(FILE *to, const chart *c, const float *x, const float *y, int64_t count);

#endif
