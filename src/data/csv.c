/* csv.c - CSV files: cells, numbers, and the data set made of them.
 *
 *     file   = record *(newline record) [newline]        record = cell *("," cell)
 *     cell   = text without comma, quote, newline  |  '"' *(any but '"'  |  '""') '"'
 *
 * Cells are copied without their quotes into one text, each with a zero after it; a cell takes at most as much there as
 * in the file with the comma or newline after it. Every record has as many cells as the first. */
#include "data/csv.h"

#include "data/dataset.h"
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- cells ------------------------------------------------------------------------------------------------------ */

typedef struct reader {
    const uint8_t *at, *end;
    size_t         line;     /* of `at` */
    char          *out;      /* where the next cell goes */
    char          *error;
    size_t         error_size;
} reader;

static clg_status CLG_PRINTF(3, 4) refuse(const reader *r, size_t line, const char *format, ...)
{
    const int length = snprintf(r->error, r->error_size, "line %zu: ", line);
    va_list   args;
    va_start(args, format);
    if (length > 0 && (size_t)length < r->error_size)
        vsnprintf(r->error + length, r->error_size - (size_t)length, format, args);
    va_end(args);
    return CLG_FORMAT;
}

static bool at_newline(const reader *r)
{
    return *r->at == '\n' || (*r->at == '\r' && r->at + 1 < r->end && r->at[1] == '\n');
}

static clg_status quoted(reader *r)
{
    const size_t begin = r->line;
    for (r->at++;; r->at++) {
        if (r->at == r->end) return refuse(r, begin, "a quote is never closed");
        if (*r->at == '"' && (++r->at == r->end || *r->at != '"')) break;
        if (!*r->at) return refuse(r, r->line, "a zero byte: not a text");
        r->line += *r->at == '\n';
        *r->out++ = (char)*r->at;
    }
    if (r->at < r->end && *r->at != ',' && !at_newline(r))
        return refuse(r, r->line, "text after a closing quote, which was opened in line %zu", begin);
    return CLG_OK;
}

/* One cell; leaves `at` at the comma, the newline or the end behind it. */
static clg_status cell(reader *r)
{
    if (r->at < r->end && *r->at == '"') return quoted(r);
    for (; r->at < r->end && *r->at != ',' && !at_newline(r); r->at++) {
        if (*r->at == '"') return refuse(r, r->line, "a quote inside a cell that does not begin with one");
        if (*r->at == '\r') return refuse(r, r->line, "a carriage return that no line feed follows");
        if (!*r->at) return refuse(r, r->line, "a zero byte: not a text");
        *r->out++ = (char)*r->at;
    }
    return CLG_OK;
}

/* Room for one more pointer, or size, in an array that doubles. */
static void *grown(void *array, size_t count, size_t size)
{
    if (count & (count - 1)) return array; /* full at powers of two only */
    return count > SIZE_MAX / 2 / size ? NULL : realloc(array, (count ? 2 * count : 1) * size);
}

static clg_status record(reader *r, clg__csv *csv, size_t *cells, size_t records)
{
    const size_t line = r->line, first = *cells;
    for (bool more = true; more;) {
        char **pointers = grown(csv->cells, *cells, sizeof *pointers);
        if (!pointers)
            return snprintf(r->error, r->error_size, "no memory for %zu cells", *cells + 1), CLG_OUT_OF_MEMORY;
        csv->cells = pointers;
        csv->cells[(*cells)++] = r->out;
        const clg_status status = cell(r);
        if (status) return status;
        *r->out++ = 0;
        more = r->at < r->end && *r->at == ',';
        if (more) r->at++;
    }
    if (r->at < r->end) {
        r->at += *r->at == '\r' ? 2 : 1;
        r->line++;
    }
    size_t *lines = grown(csv->lines, records, sizeof *lines);
    if (!lines) return snprintf(r->error, r->error_size, "no memory for %zu lines", records + 1), CLG_OUT_OF_MEMORY;
    csv->lines = lines;
    csv->lines[records] = line;
    if (!csv->columns) csv->columns = *cells;
    if (*cells - first != csv->columns)
        return refuse(r, line, "%zu cell%s, and line 1 names %zu column%s", *cells - first,
                      *cells - first == 1 ? "" : "s", csv->columns, csv->columns == 1 ? "" : "s");
    return CLG_OK;
}

/* Names of columns and classes end up in models and in JSON. */
static clg_status is_text(const reader *r)
{
    const uint8_t *fault = clg_utf8_fault(r->at, (size_t)(r->end - r->at));
    size_t         line = 1;
    for (const uint8_t *at = r->at; fault && at < fault; at++) line += *at == '\n';
    if (!fault) return CLG_OK;
    return refuse(r, line, "the byte 0x%02x is not UTF-8: convert the file, as by iconv -f latin1 -t utf-8", *fault);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static clg_status distinct_names(const reader *r, const clg__csv *csv)
{
    char **sorted = malloc(csv->columns * sizeof *sorted);
    if (!sorted) return CLG_OUT_OF_MEMORY;
    memcpy(sorted, csv->cells, csv->columns * sizeof *sorted);
    qsort(sorted, csv->columns, sizeof *sorted, by_name);
    clg_status status = CLG_OK;
    for (size_t i = 1; i < csv->columns && !status; i++)
        if (strcmp(sorted[i - 1], sorted[i]) == 0)
            status = refuse(r, 1, "two columns are called \"%.100s\"", sorted[i]);
    free(sorted);
    return status;
}

clg_status clg__csv_parse(const uint8_t *bytes, size_t size, clg__csv *csv, char *error, size_t error_size)
{
    *csv = (clg__csv){0};
    reader r = {.at = bytes, .end = bytes + size, .line = 1, .error = error, .error_size = error_size};
    if (size >= 3 && !memcmp(bytes, "\xef\xbb\xbf", 3)) r.at += 3; /* the byte order mark that spreadsheets write */
    if (r.at == r.end) return refuse(&r, 1, "the file is empty: it must begin with the names of its columns");
    if (is_text(&r)) return CLG_FORMAT;
    csv->text = malloc(size + 1);
    r.out = csv->text;
    clg_status status = csv->text ? CLG_OK : CLG_OUT_OF_MEMORY;
    size_t     cells = 0, records = 0;
    for (; !status && r.at < r.end; records += !status) status = record(&r, csv, &cells, records);
    csv->rows = records ? records - 1 : 0;
    if (!status) status = distinct_names(&r, csv);
    if (!status && !csv->rows) status = refuse(&r, 1, "no line follows the names of the columns");
    if (status == CLG_OUT_OF_MEMORY) snprintf(error, error_size, "no memory for its cells");
    if (status) clg__csv_free(csv);
    return status;
}

void clg__csv_free(clg__csv *csv)
{
    free(csv->cells);
    free(csv->lines);
    free(csv->text);
    *csv = (clg__csv){0};
}

/* ---- numbers ---------------------------------------------------------------------------------------------------- */

static const char *trimmed(const char *cell, size_t *length)
{
    cell += strspn(cell, " \t");
    *length = strlen(cell);
    while (*length && (cell[*length - 1] == ' ' || cell[*length - 1] == '\t')) --*length;
    return cell;
}

bool clg__csv_number(const char *cell, float *number)
{
    size_t length;
    char   text[128], *end = NULL;
    *number = 0.0f;
    cell = trimmed(cell, &length);
    if (!length || length >= sizeof text || strspn(cell, "0123456789+-.eE") < length) return false;
    memcpy(text, cell, length);
    text[length] = 0;
    char *point = strchr(text, '.');
    const char local = *localeconv()->decimal_point;
    if (point && local && !localeconv()->decimal_point[1]) *point = local;
    *number = strtof(text, &end);
    if (*end || end == text) *number = 0.0f;
    return !*end && end != text && isfinite(*number);
}

/* What people write where they have no value. */
static bool is_missing(const char *cell)
{
    static const char *const words[] = {"", "?", "-", "NA", "N/A", "na", "nan", "NaN", "NAN", "null", "NULL", "None"};
    size_t length;
    cell = trimmed(cell, &length);
    for (size_t i = 0; i < CLG__COUNT(words); i++)
        if (strlen(words[i]) == length && !memcmp(words[i], cell, length)) return true;
    return false;
}

/* ---- the data set ----------------------------------------------------------------------------------------------- */

typedef struct table {
    clg__root  *root;
    const char *path;
    clg__csv    csv;
    size_t      answer;   /* the column; as many as there are: none */
    size_t     *feature, feature_count; /* the columns of features */
    float      *features, *targets;
    int32_t    *labels;
    char      **classes; /* the distinct texts, sorted; they lie in the csv */
    size_t      class_count;
} table;

static const char *cell_of(const table *t, size_t row, size_t column)
{
    return t->csv.cells[(1 + row) * t->csv.columns + column];
}

static clg_status complain(const table *t, size_t row, size_t column, const char *what)
{
    const char *cell = cell_of(t, row, column);
    if (is_missing(cell))
        return clg__fail(t->root, CLG_FORMAT, "%s: line %zu, column \"%.100s\": the value is missing", t->path,
                         t->csv.lines[1 + row], t->csv.cells[column]);
    return clg__fail(t->root, CLG_FORMAT, "%s: line %zu, column \"%.100s\": \"%.100s\" is %s", t->path,
                     t->csv.lines[1 + row], t->csv.cells[column], cell, what);
}

/* The column called `name`; as many as there are: none. */
static size_t column_of(const table *t, const char *name)
{
    size_t column = 0;
    while (column < t->csv.columns && strcmp(t->csv.cells[column], name)) column++;
    return column;
}

static clg_status no_column(const table *t, const char *name, const char *why)
{
    clg__text names = {0};
    for (size_t i = 0; i < t->csv.columns && i < 40; i++)
        clg__text_append(&names, "%s%.100s", i ? ", " : "", t->csv.cells[i]);
    clg__fail(t->root, CLG_INVALID_ARGUMENT, "%s: no column is called \"%.100s\"%s; line 1 has: %s%s%s", t->path, name, why,
              names.failed ? "?" : names.data, t->csv.columns > 40 ? ", ..." : "",
              t->csv.columns == 1 && strpbrk(t->csv.cells[0], ";\t|") ? " (only commas part columns)" : "");
    clg__text_free(&names);
    return CLG_INVALID_ARGUMENT;
}

static clg_status find_answer(table *t, const clg_csv_desc *d)
{
    const char *name = d->label ? d->label : d->target;
    if ((!name && !d->unanswered) || (d->label && d->target))
        return clg__fail(t->root, CLG_INVALID_ARGUMENT, "%s: %s", t->path,
                         name ? "both a label and a target column are given"
                              : "which column is to be predicted? Give a label (classes) or a target (numbers)");
    t->answer = name ? column_of(t, name) : t->csv.columns;
    return t->answer == t->csv.columns && !d->unanswered ? no_column(t, name, "") : CLG_OK;
}

static clg_status find_features(table *t, const clg_csv_desc *d)
{
    const size_t most = d->features ? (size_t)CLG__MAX(d->feature_count, 0) : t->csv.columns;
    t->feature = clg__calloc(t->root, most + 1, sizeof *t->feature);
    if (!t->feature) return CLG_OUT_OF_MEMORY;
    for (size_t i = 0; i < most; i++) {
        const size_t column = d->features ? column_of(t, d->features[i]) : i;
        if (column == t->csv.columns) return no_column(t, d->features[i], ", which is one of the features");
        if (column != t->answer) t->feature[t->feature_count++] = column;
    }
    if (!t->feature_count)
        return clg__fail(t->root, CLG_FORMAT, "%s: line 1: besides \"%.100s\" there is no column to learn from", t->path,
                         t->answer < t->csv.columns ? t->csv.cells[t->answer] : "");
    return CLG_OK;
}

static clg_status read_number(const table *t, size_t row, size_t column, float *to)
{
    if (clg__csv_number(cell_of(t, row, column), to)) return CLG_OK;
    return complain(t, row, column, isinf(*to) ? "out of float32's range, up to 3.4e38" : "not a number");
}

static clg_status read_numbers(table *t, bool regression)
{
    const size_t count = t->feature_count;
    clg_status   status = CLG_OK;
    for (size_t r = 0; r < t->csv.rows && !status; r++) {
        for (size_t f = 0; f < count && !status; f++) status = read_number(t, r, t->feature[f], &t->features[r * count + f]);
        if (regression && !status) status = read_number(t, r, t->answer, &t->targets[r]);
    }
    return status;
}

static bool whole_number(const char *text)
{
    const size_t length = strlen(text), digits = strspn(text + (*text == '-'), "0123456789");
    return digits && digits < 18 && digits + (*text == '-') == length;
}

static int by_value(const void *a, const void *b)
{
    const long long x = atoll(*(char *const *)a), y = atoll(*(char *const *)b);
    return x < y ? -1 : x > y ? 1 : by_name(a, b);
}

enum { MOST_CLASSES = 4096 }; /* more distinct texts are numbers, names or dates */

static clg_status find_classes(table *t)
{
    int (*order)(const void *, const void *) = by_value;
    for (size_t r = 0; r < t->csv.rows; r++) {
        const char *text = cell_of(t, r, t->answer);
        if (is_missing(text)) return complain(t, r, t->answer, "");
        if (!whole_number(text)) order = by_name;
        t->classes[r] = t->csv.cells[(1 + r) * t->csv.columns + t->answer];
    }
    qsort(t->classes, t->csv.rows, sizeof *t->classes, order);
    for (size_t r = 0; r < t->csv.rows; r++)
        if (!r || strcmp(t->classes[r], t->classes[t->class_count - 1])) t->classes[t->class_count++] = t->classes[r];
    if (t->class_count > MOST_CLASSES)
        return clg__fail(t->root, CLG_UNSUPPORTED,
                         "%s: column \"%.100s\" has %zu different values: too many to be classes", t->path,
                         t->csv.cells[t->answer], t->class_count);
    return CLG_OK;
}

static clg_status read_labels(table *t, const char *const *names, size_t count)
{
    /* Rows often come in runs of a class: look at the last one first. */
    for (size_t r = 0, k = 0; r < t->csv.rows; r++) {
        const char *text = cell_of(t, r, t->answer);
        if (strcmp(names[k], text))
            for (k = 0; k < count && strcmp(names[k], text);) k++;
        if (k == count) return complain(t, r, t->answer, "not one of the classes");
        t->labels[r] = (int32_t)k;
    }
    return CLG_OK;
}

static clg_dataset *dataset_of(table *t, clg_context *ctx, const clg_csv_desc *d)
{
    const size_t rows = t->csv.rows, features = t->feature_count;
    t->features = clg__calloc(t->root, rows * features, sizeof *t->features);
    t->targets = clg__calloc(t->root, rows, sizeof *t->targets);
    t->labels = clg__calloc(t->root, rows, sizeof *t->labels);
    t->classes = clg__calloc(t->root, rows, sizeof *t->classes);
    if (clg_context_failed(ctx) || read_numbers(t, d->target && !d->unanswered)) return NULL;
    clg_dataset_desc made = {
        .dtype = CLG_F32, .shape = CLG_SHAPE((int64_t)rows, (int64_t)features), .examples = t->features};
    if (d->target || d->unanswered) {
        made.targets = t->targets;
    } else {
        if (!d->names && find_classes(t)) return NULL;
        made.names = d->names ? d->names : (const char *const *)t->classes;
        made.classes = d->names ? d->classes : (int64_t)t->class_count;
        if (made.classes < 1 || read_labels(t, made.names, (size_t)made.classes)) return NULL;
        made.labels = t->labels;
    }
    clg_dataset *data = clg_dataset_create_from(ctx, &made);
    const char **name = data ? clg__calloc(t->root, features, sizeof *name) : NULL;
    for (size_t f = 0; name && f < features; f++) name[f] = t->csv.cells[t->feature[f]];
    if (name) data->features = clg__names_copy(t->root, name, features);
    free(name);
    if (data && !data->features) clg_dataset_destroy(&data);
    if (data) {
        memmove(t->csv.lines, t->csv.lines + 1, rows * sizeof *t->csv.lines); /* the names have one too */
        data->lines = t->csv.lines;
        t->csv.lines = NULL;
    }
    return data;
}

clg_dataset *clg_dataset_open_csv(clg_context *ctx, const char *path, const clg_csv_desc *desc)
{
    if (clg_context_failed(ctx)) return NULL;
    const clg_csv_desc d = desc ? *desc : (clg_csv_desc){0};
    table        t = {.root = (clg__root *)ctx, .path = path};
    clg_dataset *data = NULL;
    size_t       size = 0;
    char         error[512];
    uint8_t     *bytes = clg__file_read(t.root, path, &size);
    if (!bytes) return NULL;
    const clg_status status = clg__csv_parse(bytes, size, &t.csv, error, sizeof error);
    free(bytes);
    if (status) clg__fail(t.root, status, "%s: %s", path, error);
    else if (!find_answer(&t, &d) && !find_features(&t, &d)) data = dataset_of(&t, ctx, &d);
    free(t.feature);
    free(t.features);
    free(t.targets);
    free(t.labels);
    free(t.classes);
    clg__csv_free(&t.csv);
    return data;
}
