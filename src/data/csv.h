/* csv.h - the cells of a CSV file: RFC 4180, with LF as well as CR LF; the first record names the columns. */
#ifndef CLG_CSV_H
#define CLG_CSV_H

#include "base/base.h"

typedef struct clg__csv {
    size_t  rows, columns; /* without the line of names */
    char  **cells;         /* (1 + rows) x columns texts, the names first */
    size_t *lines;         /* where each of the 1 + rows records begins, from 1 */
    char   *text;          /* what the cells point into */
} clg__csv;

/* CLG_FORMAT when bytes[size] is no such file, with the line, and the column where there is one, in `error`. What
 * succeeds is to be freed. */
clg_status clg__csv_parse(const uint8_t *bytes, size_t size, clg__csv *csv, char *error, size_t error_size);
void       clg__csv_free(clg__csv *csv);

/* A cell that is a decimal number that fits in a float, in whatever locale. False when not; *number is then 0 or, for
 * one that is too large, infinite. */
bool clg__csv_number(const char *cell, float *number);

#endif
