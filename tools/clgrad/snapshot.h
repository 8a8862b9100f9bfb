/* snapshot.h - a model's parameters and states on the host, to go back to. */
#ifndef SNAPSHOT_H
#define SNAPSHOT_H

#include <clgrad/clgrad.h>

typedef struct snapshot {
    float *value; /* NULL: nothing was taken */
} snapshot;

size_t snapshot_count(const clg_model *model); /* numbers of one */
bool   snapshot_room(snapshot *s, clg_model *model); /* makes room, if there is none; false when out of memory */

/* false when out of memory or the context has failed. */
bool snapshot_take(snapshot *s, clg_model *model);
void snapshot_restore(const snapshot *s, clg_model *model);
void snapshot_free(snapshot *s);

/* The first of the model's entries that has a value that is infinite or not a number; -1: all are finite. */
int64_t snapshot_not_finite(clg_model *model);

#endif
