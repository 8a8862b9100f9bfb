/* shape.c - element types, shapes, and arithmetic on extents that cannot overflow unnoticed. */
#include "base/base.h"
#include <stdio.h>

static const struct {
    const char *name;
    size_t      size;
} dtypes[] = {
    [CLG_F32] = {"f32", 4},
    [CLG_I32] = {"i32", 4},
    [CLG_U8]  = {"u8", 1},
};

size_t clg_dtype_size(clg_dtype dtype)
{
    return (size_t)dtype < CLG__COUNT(dtypes) ? dtypes[dtype].size : 0;
}

const char *clg_dtype_name(clg_dtype dtype)
{
    return (size_t)dtype < CLG__COUNT(dtypes) ? dtypes[dtype].name : "?";
}

bool clg__mul_overflows(int64_t a, int64_t b, int64_t *product)
{
    if (a > 0 && b > INT64_MAX / a) return true;
    *product = a * b;
    return false;
}

int64_t clg_shape_count(clg_shape shape)
{
    if (shape.rank < 0 || shape.rank > CLG_MAX_RANK) return -1;
    int64_t count = 1; /* of the extents above zero: then no stride of an empty tensor overflows either */
    bool    empty = false;
    for (int i = 0; i < shape.rank; i++) {
        const int64_t extent = shape.dim[i];
        if (extent < 0) return -1;
        if (extent == 0) empty = true;
        else if (clg__mul_overflows(count, extent, &count)) return -1;
    }
    return empty ? 0 : count;
}

bool clg_shape_equal(clg_shape a, clg_shape b)
{
    if (a.rank != b.rank || a.rank < 0 || a.rank > CLG_MAX_RANK) return false;
    for (int i = 0; i < a.rank; i++)
        if (a.dim[i] != b.dim[i]) return false;
    return true;
}

char *clg_shape_text(clg_shape shape, char *text, size_t size)
{
    if (size == 0) return text;
    if (shape.rank < 0 || shape.rank > CLG_MAX_RANK) {
        snprintf(text, size, "[rank %d]", shape.rank);
        return text;
    }
    size_t at = 0;
    for (int i = 0; i < shape.rank && at < size; i++)
        at += (size_t)snprintf(text + at, size - at, "%s%lld", i ? ", " : "[", (long long)shape.dim[i]);
    if (at < size) snprintf(text + at, size - at, shape.rank ? "]" : "[]");
    return text;
}

bool clg__broadcast(clg_shape a, clg_shape b, clg_shape *out)
{
    if (clg_shape_count(a) < 0 || clg_shape_count(b) < 0) return false;
    clg_shape c = {.rank = CLG__MAX(a.rank, b.rank)};
    for (int i = 0; i < c.rank; i++) { /* i counts from the last dimension */
        const int64_t da = i < a.rank ? a.dim[a.rank - 1 - i] : 1, db = i < b.rank ? b.dim[b.rank - 1 - i] : 1;
        if (da != db && da != 1 && db != 1) return false;
        c.dim[c.rank - 1 - i] = da == 1 ? db : da;
    }
    if (clg_shape_count(c) < 0) return false;
    *out = c;
    return true;
}
