/* npy.c - NPY files (npy.h), and the data set made of two of them.
 *
 *     header = "{" { "'descr'" ":" text | "'fortran_order'" ":" ("True" | "False")
 *                    | "'shape'" ":" "(" { number [","] } ")" } "}"
 *
 * with commas between the entries and blanks anywhere; each of the three is there once. */
#include "data/npy.h"

#include "data/dataset.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    size_t      size;
} types[] = {
    [CLG__NPY_F4] = {"<f4", 4}, [CLG__NPY_F8] = {"<f8", 8}, [CLG__NPY_U1] = {"|u1", 1},
    [CLG__NPY_I4] = {"<i4", 4}, [CLG__NPY_I8] = {"<i8", 8},
};

typedef struct cursor {
    const uint8_t *at, *end;
} cursor;

/* The next character that is no blank; 0 at the end. */
static char peek(cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r')) c->at++;
    return c->at < c->end ? (char)*c->at : 0;
}

static bool take(cursor *c, char wanted)
{
    if (!wanted || peek(c) != wanted) return false;
    c->at++;
    return true;
}

/* Between single or double quotes, without escapes. */
static bool take_text(cursor *c, char *text, size_t size)
{
    const char quote = peek(c);
    if (quote != '\'' && quote != '"') return false;
    c->at++;
    size_t length = 0;
    while (c->at < c->end && (char)*c->at != quote && *c->at && length + 1 < size) text[length++] = (char)*c->at++;
    text[length] = 0;
    return take(c, quote);
}

static bool take_word(cursor *c, const char *word)
{
    const size_t length = strlen(word);
    if (!peek(c) || (size_t)(c->end - c->at) < length || memcmp(c->at, word, length) != 0) return false;
    c->at += length;
    return true;
}

static bool take_shape(cursor *c, clg_shape *shape)
{
    *shape = CLG_SCALAR;
    if (!take(c, '(')) return false;
    while (!take(c, ')')) {
        int64_t extent = 0;
        char    digit = peek(c);
        if (digit < '0' || digit > '9' || shape->rank == CLG_MAX_RANK) return false;
        for (; digit >= '0' && digit <= '9'; digit = c->at < c->end ? (char)*c->at : 0) {
            if (extent > (INT64_MAX - 9) / 10) return false;
            extent = 10 * extent + (digit - '0');
            c->at++;
        }
        shape->dim[shape->rank++] = extent;
        if (!take(c, ',') && peek(c) != ')') return false;
    }
    return true;
}

typedef struct header {
    char      descr[64];
    bool      fortran;
    clg_shape shape;
    unsigned  seen; /* a bit for each of the three */
} header;

static bool take_entry(cursor *c, header *h)
{
    char     key[32];
    unsigned bit = 0;
    if (!take_text(c, key, sizeof key) || !take(c, ':')) return false;
    if (!strcmp(key, "descr")) {
        bit = 1;
        if (peek(c) == '[')
            snprintf(h->descr, sizeof h->descr, "a record"), c->at = c->end; /* the rest does not matter */
        else if (!take_text(c, h->descr, sizeof h->descr)) return false;
    } else if (!strcmp(key, "fortran_order")) {
        bit = 2;
        h->fortran = take_word(c, "True");
        if (!h->fortran && !take_word(c, "False")) return false;
    } else if (!strcmp(key, "shape")) {
        bit = 4;
        if (!take_shape(c, &h->shape)) return false;
    }
    const bool fresh = bit && !(h->seen & bit);
    h->seen |= bit;
    return fresh;
}

static clg_status refuse(clg_status status, char *error, size_t size, const char *format, ...) CLG_PRINTF(4, 5);
static clg_status refuse(clg_status status, char *error, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error, size, format, args);
    va_end(args);
    return status;
}

static clg_status find_type(const header *h, clg__npy *npy, char *error, size_t error_size)
{
    for (size_t i = 0; i < CLG__COUNT(types); i++) {
        const bool same =
            !strcmp(h->descr + (*h->descr == '=' || *h->descr == '<' || *h->descr == '|'), types[i].name + 1);
        if (same && !(*h->descr == '|' && types[i].size > 1)) return npy->type = (clg__npy_type)i, CLG_OK;
    }
    return refuse(CLG_UNSUPPORTED, error, error_size,
                  "elements of type %s: save it as float32, float64, uint8, int32 or int64", h->descr);
}

clg_status clg__npy_parse(const uint8_t *bytes, size_t size, clg__npy *npy, char *error, size_t error_size)
{
    *npy = (clg__npy){0};
    if (size < 10 || memcmp(bytes, "\x93NUMPY", 6) != 0)
        return refuse(CLG_FORMAT, error, error_size, "not an NPY file: it does not start with 93 4e 55 4d 50 59");
    if (bytes[6] < 1 || bytes[6] > 3)
        return refuse(CLG_UNSUPPORTED, error, error_size, "version %d of the NPY format, not 1 to 3", bytes[6]);
    const size_t prefix = bytes[6] == 1 ? 10 : 12;
    size_t       length = 0;
    for (size_t i = prefix; i > 8 && size >= prefix; i--) length = length << 8 | bytes[i - 1];
    if (size < prefix || length > size - prefix)
        return refuse(CLG_FORMAT, error, error_size, "truncated in its header");

    cursor c = {bytes + prefix, bytes + prefix + length};
    header h = {0};
    bool   good = take(&c, '{');
    while (good && !take(&c, '}') && c.at < c.end) {
        good = take_entry(&c, &h);
        if (good && !take(&c, ',') && peek(&c) != '}') good = c.at == c.end && !strcmp(h.descr, "a record");
    }
    if (good && !strcmp(h.descr, "a record"))
        return refuse(CLG_UNSUPPORTED, error, error_size,
                      "its elements are records; save the columns as one array of floats");
    if (!good || h.seen != 7 || c.at[-1] != '}' || peek(&c))
        return refuse(CLG_FORMAT, error, error_size,
                      "malformed header: not a dictionary of descr, fortran_order and shape");
    if (h.fortran)
        return refuse(CLG_UNSUPPORTED, error, error_size,
                      "the array is in Fortran order; save numpy.ascontiguousarray(it)");
    clg_status status = find_type(&h, npy, error, error_size);
    if (status) return status;
    npy->shape = h.shape;
    npy->count = clg_shape_count(h.shape);
    npy->data = bytes + prefix + length;
    const size_t present = size - prefix - length, element = types[npy->type].size;
    if (npy->count < 0 || (uint64_t)npy->count > SIZE_MAX / element)
        return refuse(CLG_FORMAT, error, error_size, "the product of the extents in its header does not fit in memory");
    if (present != (size_t)npy->count * element)
        return refuse(CLG_FORMAT, error, error_size, "%s: the header announces %zu bytes of data, the file has %zu",
                      present < (size_t)npy->count * element ? "truncated" : "trailing bytes",
                      (size_t)npy->count * element, present);
    return CLG_OK;
}

static uint64_t little_endian(const uint8_t *p, size_t size)
{
    uint64_t bits = 0;
    for (size_t i = size; i > 0; i--) bits = bits << 8 | p[i - 1];
    return bits;
}

int64_t clg__npy_whole(const clg__npy *npy, int64_t i)
{
    const size_t   size = types[npy->type].size;
    const uint64_t bits = little_endian(npy->data + (size_t)i * size, size);
    return npy->type == CLG__NPY_I4 ? (int64_t)(int32_t)(uint32_t)bits : (int64_t)bits;
}

double clg__npy_real(const clg__npy *npy, int64_t i)
{
    if (npy->type != CLG__NPY_F4 && npy->type != CLG__NPY_F8) return (double)clg__npy_whole(npy, i);
    const size_t   size = types[npy->type].size;
    const uint64_t bits = little_endian(npy->data + (size_t)i * size, size);
    if (npy->type == CLG__NPY_F4) {
        const uint32_t half = (uint32_t)bits;
        float          f;
        memcpy(&f, &half, sizeof f);
        return (double)f;
    }
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

/* ---- the data set ----------------------------------------------------------------------------------------------- */

typedef struct array {
    const char *path;
    uint8_t    *bytes;
    clg__npy    npy;
    void       *values; /* f32, or labels */
} array;

static clg_status open_array(clg__root *root, array *a)
{
    size_t size = 0;
    char   error[256];
    a->bytes = clg__file_read(root, a->path, &size);
    if (!a->bytes) return root->status;
    const clg_status status = clg__npy_parse(a->bytes, size, &a->npy, error, sizeof error);
    if (status) return clg__fail(root, status, "%s: %s", a->path, error);
    if (a->npy.shape.rank < 1 || a->npy.count < 1)
        return clg__fail(root, CLG_FORMAT, "%s: there are no rows in it", a->path);
    return CLG_OK;
}

static clg_status to_floats(clg__root *root, array *a)
{
    float *values = a->values = clg__calloc(root, (size_t)a->npy.count, sizeof *values);
    const int64_t row = a->npy.count / a->npy.shape.dim[0];
    for (int64_t i = 0; values && i < a->npy.count; i++) {
        values[i] = (float)clg__npy_real(&a->npy, i);
        if (!isfinite(values[i]))
            return clg__fail(root, CLG_FORMAT,
                             "%s: row %lld, element %lld: the value is missing, infinite or too large", a->path,
                             (long long)(i / row), (long long)(i % row));
    }
    return values ? CLG_OK : CLG_OUT_OF_MEMORY;
}

static clg_status to_labels(clg__root *root, array *a)
{
    int32_t *values = a->values = clg__calloc(root, (size_t)a->npy.count, sizeof *values);
    for (int64_t i = 0; values && i < a->npy.count; i++) {
        const int64_t label = clg__npy_whole(&a->npy, i);
        if (label < 0 || label >= INT32_MAX)
            return clg__fail(root, CLG_FORMAT, "%s: row %lld: %lld is not a class from 0", a->path, (long long)i,
                             (long long)label);
        values[i] = (int32_t)label;
    }
    return values ? CLG_OK : CLG_OUT_OF_MEMORY;
}

static clg_dataset *dataset_of(clg_context *ctx, array *x, array *y)
{
    clg__root       *root = (clg__root *)ctx;
    const bool       regression = !y->path || y->npy.type == CLG__NPY_F4 || y->npy.type == CLG__NPY_F8;
    const clg_shape *have = &y->npy.shape;
    clg_dataset_desc d = {.dtype = CLG_F32, .shape = x->npy.shape};
    char             text[128];
    if (y->path && have->dim[0] != d.shape.dim[0])
        return clg__fail(root, CLG_FORMAT, "%s: %lld rows, and %s has %lld", y->path, (long long)have->dim[0], x->path,
                         (long long)d.shape.dim[0]), NULL;
    if (have->rank > 2 || (!regression && have->rank == 2 && have->dim[1] != 1))
        return clg__fail(root, CLG_FORMAT, "%s: %s, and %s", y->path, clg_shape_text(*have, text, sizeof text),
                         regression ? "targets are [rows] or [rows, outputs]" : "classes are [rows] or [rows, 1]; of one-hot answers save y.argmax(1)"), NULL;
    if (d.shape.rank == 1) d.shape = CLG_SHAPE(d.shape.dim[0], 1);
    if (!y->path) y->values = clg__calloc(root, (size_t)d.shape.dim[0], sizeof(float)); /* rows to predict for */
    if (y->path ? (regression ? to_floats : to_labels)(root, y) != CLG_OK : !y->values) return NULL;
    if (x->npy.type == CLG__NPY_U1) d.dtype = CLG_U8;
    else if (to_floats(root, x)) return NULL;
    d.examples = x->values ? x->values : x->npy.data;
    d.labels = regression ? NULL : y->values;
    d.targets = regression ? y->values : NULL;
    d.outputs = have->rank == 2 ? have->dim[1] : 1;
    return clg_dataset_create_from(ctx, &d);
}

clg_dataset *clg_dataset_open_npy(clg_context *ctx, const char *examples, const char *answers)
{
    if (clg_context_failed(ctx)) return NULL;
    clg__root   *root = (clg__root *)ctx;
    array        x = {.path = examples}, y = {.path = answers};
    clg_dataset *data = NULL;
    if (!open_array(root, &x) && (!answers || !open_array(root, &y))) data = dataset_of(ctx, &x, &y);
    free(x.bytes);
    free(y.bytes);
    free(x.values);
    free(y.values);
    return data;
}
