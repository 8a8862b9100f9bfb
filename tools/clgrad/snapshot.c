/* snapshot.c - one array with the entries one after another. */
#include "snapshot.h"

#include <stdlib.h>

static size_t entry_count(const clg_model *model, size_t i) { return (size_t)clg_shape_count(clg_model_shape(model, i)); }

bool snapshot_take(snapshot *s, clg_model *model)
{
    size_t total = 1, at = 0;
    for (size_t i = 0; i < clg_model_count(model); i++) total += entry_count(model, i);
    if (!s->value) s->value = malloc(total * sizeof *s->value);
    bool good = s->value;
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
