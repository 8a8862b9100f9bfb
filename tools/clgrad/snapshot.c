/* snapshot.c - one array with the entries one after another. */
#include "snapshot.h"

#include <math.h>
#include <stdlib.h>

static size_t entry_count(const clg_model *model, size_t i)
{
    return (size_t)clg_shape_count(clg_model_shape(model, i));
}

size_t snapshot_count(const clg_model *model)
{
    size_t total = 0;
    for (size_t i = 0; i < clg_model_count(model); i++) total += entry_count(model, i);
    return total;
}

bool snapshot_room(snapshot *s, clg_model *model)
{
    if (!s->value) s->value = malloc((snapshot_count(model) + 1) * sizeof *s->value);
    return s->value;
}

bool snapshot_take(snapshot *s, clg_model *model)
{
    size_t at = 0;
    bool   good = snapshot_room(s, model);
    for (size_t i = 0; good && i < clg_model_count(model); at += entry_count(model, i++))
        good = clg_model_read(model, i, s->value + at, entry_count(model, i)) == CLG_OK;
    return good;
}

void snapshot_restore(const snapshot *s, clg_model *model)
{
    size_t at = 0;
    for (size_t i = 0; s->value && i < clg_model_count(model); at += entry_count(model, i++))
        clg_model_write(model, i, s->value + at, entry_count(model, i));
}

void snapshot_free(snapshot *s)
{
    free(s->value);
    s->value = NULL;
}

int64_t snapshot_not_finite(clg_model *model)
{
    snapshot s = {0};
    int64_t  bad = -1;
    size_t   at = 0;
    const bool taken = snapshot_take(&s, model);
    for (size_t i = 0; taken && bad < 0 && i < clg_model_count(model); i++)
        for (size_t n = entry_count(model, i); n && bad < 0; n--)
            if (!isfinite(s.value[at++])) bad = (int64_t)i;
    snapshot_free(&s);
    return bad;
}
