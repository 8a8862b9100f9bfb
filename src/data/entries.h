/* entries.h - what a safetensors file holds of a program's values: a list of entries, each of which can be read from
 * where it lives and written back there. Saving and loading go over the same list. */
#ifndef CLG_ENTRIES_H
#define CLG_ENTRIES_H

#include "base/base.h"
#include "data/safetensors.h"
#include <clgrad/io.h>

#define CLG__CHECKSUM "clgrad.checksum" /* its key in the metadata of every file that is saved */

/* A parameter or state `index` of a model, or a persistent tensor, or float32 on the host. */
typedef struct clg__entry {
    const char *name;
    clg_dtype   dtype;
    clg_shape   shape;
    clg_model  *model;
    size_t      index;
    clg_tensor *tensor;
    float      *value;
} clg__entry;

typedef struct clg__entries {
    clg__root  *root;
    const char *of;     /* what they make up, for messages: "model" */
    bool        strict; /* numbers that are not finite are not saved, and a file without a checksum is not loaded */
    clg__entry *at;
    size_t      count, capacity;
} clg__entries;

bool clg__entries_add(clg__entries *e, clg__entry entry); /* false when out of memory, which is reported */
bool clg__entries_add_model(clg__entries *e, clg_model *model);
void clg__entries_free(clg__entries *e);

clg_status clg__entries_save(const clg__entries *e, const char *path, const clg_metadata *meta, size_t count);

/* Puts the checksum of a file into its place, if it has one. */
void clg__file_seal(uint8_t *bytes, size_t size);

/* What bytes[size] hold, `path` being what messages call it; *file is to be freed when this returns CLG_OK. A file that
 * has a checksum is held to it. */
clg_status clg__file_parse(clg__root *root, const char *path, const uint8_t *bytes, size_t size,
                           clg__safetensors *file);

/* Reads and parses; *bytes and *file are valid, and to be freed, when this returns CLG_OK. */
clg_status clg__file_open(clg__root *root, const char *path, uint8_t **bytes, clg__safetensors *file);

/* Has the file all entries and no others, and a checksum if need be? */
clg_status clg__entries_check(const clg__entries *e, const char *path, const clg__safetensors *file);

/* Writes what the file has of them in the same shape and type; taken[i] says which, and may be NULL. */
clg_status clg__entries_load(const clg__entries *e, const clg__safetensors *file, bool *taken);

#endif
