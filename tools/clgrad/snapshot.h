/* snapshot.h - a model's parameters and states on the host, to go back to. */
#ifndef SNAPSHOT_H
#define SNAPSHOT_H

#include <clgrad/clgrad.h>

typedef struct snapshot {
    float *value; /* NULL: nothing was taken */
} snapshot;

/* false when out of memory or the context has failed. */
bool snapshot_take(snapshot *s, clg_model *model);
void snapshot_restore(const snapshot *s, clg_model *model);
void snapshot_free(snapshot *s);

#endif
