/* entries.c - lists of values to and from safetensors files.
 *
 * The header is the metadata, then the entries in the list's order, padded with spaces to a multiple of 8 bytes;
 * nothing in it depends on time or place. The first of the metadata is the checksum, clg__hash of the whole file in 16
 * digits, which count as zeros themselves. FNV-1a's steps are one-to-one, so whatever changes within one byte shows for
 * certain. */
#include "data/entries.h"
#include "base/file.h"
#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NO_CHECKSUM "0000000000000000"
static const char before_checksum[] = "{\"__metadata__\":{\"" CLG__CHECKSUM "\":\"";
enum { DIGITS = sizeof NO_CHECKSUM - 1, CHECKSUM_AT = CLG__SAFETENSORS_PREFIX + sizeof before_checksum - 1 };

static size_t values_of(const clg__entry *entry) { return (size_t)clg_shape_count(entry->shape); }

/* ---- the list ---------------------------------------------------------------------------------------------------- */

bool clg__entries_add(clg__entries *e, clg__entry entry)
{
    if (e->count == e->capacity) {
        const size_t more = e->capacity ? 2 * e->capacity : 32;
        clg__entry  *moved = realloc(e->at, more * sizeof *moved);
        if (!moved) return clg__report(e->root, CLG_OUT_OF_MEMORY, "no memory for a list of %zu values", more), false;
        e->at = moved;
        e->capacity = more;
    }
    e->at[e->count++] = entry;
    return true;
}

bool clg__entries_add_model(clg__entries *e, clg_model *model)
{
    bool good = true;
    for (size_t i = 0; good && i < clg_model_count(model); i++)
        good = clg__entries_add(e, (clg__entry){.name = clg_model_name(model, i), .shape = clg_model_shape(model, i),
                                                .model = model, .index = i});
    return good;
}

void clg__entries_free(clg__entries *e)
{
    free(e->at);
    e->at = NULL;
    e->count = e->capacity = 0;
}

static clg_status get(const clg__entry *entry, void *value)
{
    const size_t count = values_of(entry);
    if (entry->model) return clg_model_read(entry->model, entry->index, value, count);
    if (entry->tensor) return clg_tensor_read(entry->tensor, value, 4 * count);
    memcpy(value, entry->value, 4 * count);
    return CLG_OK;
}

static clg_status set(const clg__entry *entry, const void *value)
{
    const size_t count = values_of(entry);
    if (entry->model) return clg_model_write(entry->model, entry->index, value, count);
    if (entry->tensor) return clg_tensor_write(entry->tensor, value, 4 * count);
    memcpy(entry->value, value, 4 * count);
    return CLG_OK;
}

/* Room for the values of any entry; NULL, reported, when there is none. */
static void *room_for_one(const clg__entries *e)
{
    size_t largest = 1;
    for (size_t i = 0; i < e->count; i++) largest = CLG__MAX(largest, values_of(&e->at[i]));
    void *room = malloc(4 * largest);
    if (!room) clg__report(e->root, CLG_OUT_OF_MEMORY, "no memory for %zu values", largest);
    return room;
}

/* ---- saving ------------------------------------------------------------------------------------------------------ */

/* cJSON does not take over a number that it cannot add. */
static bool add_number(cJSON *array, int64_t value)
{
    cJSON *number = array ? cJSON_CreateNumber((double)value) : NULL;
    return number && cJSON_AddItemToArray(array, number);
}

static bool add_entry(cJSON *json, const clg__entry *entry, int64_t *at)
{
    const int64_t begin = *at;
    *at += 4 * clg_shape_count(entry->shape);
    cJSON *object = cJSON_AddObjectToObject(json, entry->name);
    bool   good = object && cJSON_AddStringToObject(object, "dtype", clg__safetensors_dtype(entry->dtype));
    cJSON *extents = cJSON_AddArrayToObject(object, "shape");
    for (int d = 0; good && d < entry->shape.rank; d++) good = add_number(extents, entry->shape.dim[d]);
    cJSON *offsets = cJSON_AddArrayToObject(object, "data_offsets");
    return good && add_number(offsets, begin) && add_number(offsets, *at);
}

/* The JSON of the header; NULL when out of memory. */
static char *header_json(const clg__entries *e, const clg_metadata *meta, size_t count)
{
    cJSON  *json = cJSON_CreateObject();
    bool    good = json != NULL;
    cJSON  *texts = good ? cJSON_AddObjectToObject(json, "__metadata__") : NULL;
    int64_t at = 0;
    good = cJSON_AddStringToObject(texts, CLG__CHECKSUM, NO_CHECKSUM) != NULL;
    for (size_t i = 0; good && i < count; i++)
        good = cJSON_AddStringToObject(texts, meta[i].key, meta[i].value) != NULL;
    for (size_t i = 0; good && i < e->count; i++) good = add_entry(json, &e->at[i], &at);
    char *text = good ? cJSON_PrintUnformatted(json) : NULL;
    cJSON_Delete(json);
    return text;
}

static clg_status refuse_not_finite(const clg__entries *e, const clg__entry *entry, const float *value)
{
    char shape[128];
    if (entry->dtype != CLG_F32) return CLG_OK;
    for (size_t i = 0; i < values_of(entry); i++)
        if (!isfinite(value[i]))
            return clg__report(e->root, CLG_NOT_FINITE, "%s %s has the value %g at element %zu: the %s is not saved",
                               entry->name, clg_shape_text(entry->shape, shape, sizeof shape), (double)value[i], i,
                               e->of);
    return CLG_OK;
}

static bool has_place(const uint8_t *bytes, size_t size)
{
    return size >= CHECKSUM_AT + DIGITS &&
           memcmp(bytes + CLG__SAFETENSORS_PREFIX, before_checksum, sizeof before_checksum - 1) == 0;
}

/* The checksum of a file that has a place for it. */
static void checksum_text(const uint8_t *bytes, size_t size, char text[DIGITS + 1])
{
    const uint8_t *after = bytes + CHECKSUM_AT + DIGITS;
    uint64_t       hash = clg__hash(0, bytes, CHECKSUM_AT);
    hash = clg__hash(hash, NO_CHECKSUM, DIGITS);
    hash = clg__hash(hash, after, size - (size_t)(after - bytes));
    snprintf(text, DIGITS + 1, "%016llx", (unsigned long long)hash);
}

void clg__file_seal(uint8_t *bytes, size_t size)
{
    char digits[DIGITS + 1];
    if (!has_place(bytes, size)) return;
    checksum_text(bytes, size, digits);
    memcpy(bytes + CHECKSUM_AT, digits, DIGITS);
}

static bool seal_holds(const uint8_t *bytes, size_t size)
{
    char digits[DIGITS + 1];
    if (!has_place(bytes, size)) return false;
    checksum_text(bytes, size, digits);
    return memcmp(bytes + CHECKSUM_AT, digits, DIGITS) == 0;
}

/* The whole file in memory, *bytes the caller's to free. */
static clg_status compose(const clg__entries *e, const char *json, uint8_t **bytes, size_t *size)
{
    const size_t length = strlen(json), header = (length + 7) / 8 * 8;
    *size = CLG__SAFETENSORS_PREFIX + header;
    for (size_t i = 0; i < e->count; i++) *size += 4 * values_of(&e->at[i]);
    *bytes = malloc(*size);
    if (!*bytes) return clg__report(e->root, CLG_OUT_OF_MEMORY, "no memory for a file of %zu bytes", *size);
    void *value = room_for_one(e);
    if (!value) return CLG_OUT_OF_MEMORY;
    for (int i = 0; i < CLG__SAFETENSORS_PREFIX; i++) (*bytes)[i] = (uint8_t)((uint64_t)header >> 8 * i);
    uint8_t *at = *bytes + CLG__SAFETENSORS_PREFIX;
    memset(at, ' ', header);
    memcpy(at, json, length);
    at += header;
    clg_status status = CLG_OK;
    for (size_t i = 0; !status && i < e->count; i++) {
        status = get(&e->at[i], value);
        if (!status && e->strict) status = refuse_not_finite(e, &e->at[i], value);
        if (!status) clg__safetensors_encode(value, at, values_of(&e->at[i]));
        at += 4 * values_of(&e->at[i]);
    }
    clg__file_seal(*bytes, *size);
    free(value);
    return status;
}

static clg_status check_names(const clg__entries *e, const char *path, const clg_metadata *meta, size_t count)
{
    if (!path || (count && !meta))
        return clg__report(e->root, CLG_INVALID_ARGUMENT, "save: no path or no metadata given");
    for (size_t i = 0; i < count; i++) {
        if (!meta[i].key || !meta[i].value)
            return clg__report(e->root, CLG_INVALID_ARGUMENT, "%s: a metadata key or value is missing", path);
        if (clg_utf8_fault(meta[i].key, strlen(meta[i].key)) || clg_utf8_fault(meta[i].value, strlen(meta[i].value)))
            return clg__report(e->root, CLG_INVALID_ARGUMENT, "%s: the metadata %.100s: not UTF-8", path, meta[i].key);
        bool taken = strcmp(meta[i].key, CLG__CHECKSUM) == 0;
        for (size_t k = 0; k < i && !taken; k++) taken = strcmp(meta[k].key, meta[i].key) == 0;
        if (taken)
            return clg__report(e->root, CLG_INVALID_ARGUMENT, "%s: the metadata key %s is given twice", path,
                               meta[i].key);
    }
    for (size_t i = 0; i < e->count; i++) {
        const char *name = e->at[i].name;
        bool        taken = strcmp(name, "__metadata__") == 0 || clg_utf8_fault(name, strlen(name));
        for (size_t k = e->at[i].model ? i : 0; k < i && !taken; k++) taken = strcmp(e->at[k].name, name) == 0;
        if (taken)
            return clg__report(e->root, CLG_INVALID_ARGUMENT, "%s: no parameter or value can be saved as %s", path,
                               name);
    }
    return CLG_OK;
}

clg_status clg__entries_save(const clg__entries *e, const char *path, const clg_metadata *meta, size_t count)
{
    clg_status status = check_names(e, path, meta, count);
    if (!status) status = clg__file_may_replace(e->root, path);
    if (status) return status;
    char *json = header_json(e, meta, count);
    if (!json) return clg__report(e->root, CLG_OUT_OF_MEMORY, "%s: no memory for its header", path);
    uint8_t *bytes = NULL;
    size_t   size = 0;
    status = compose(e, json, &bytes, &size);
    if (!status) status = clg__file_replace(e->root, path, bytes, size);
    free(bytes);
    cJSON_free(json);
    return status;
}

/* ---- loading ----------------------------------------------------------------------------------------------------- */

clg_status clg__file_parse(clg__root *root, const char *path, const uint8_t *bytes, size_t size, clg__safetensors *file)
{
    char             error[CLG__ERROR_TEXT];
    const clg_status status = clg__safetensors_parse(bytes, size, file, error, sizeof error);
    if (status) return clg__report(root, status, "%s: %s", path, error);
    file->sealed = clg__safetensors_metadata(file, CLG__CHECKSUM);
    if (!file->sealed || seal_holds(bytes, size)) return CLG_OK;
    clg__safetensors_free(file);
    return clg__report(root, CLG_FORMAT, "%s: damaged, or changed by a program that should have dropped the metadata "
                       CLG__CHECKSUM ": its contents do not have this checksum", path);
}

clg_status clg__file_open(clg__root *root, const char *path, uint8_t **bytes, clg__safetensors *file)
{
    size_t     size = 0;
    clg_status status = clg__file_load(root, path, bytes, &size);
    if (!status) status = clg__file_parse(root, path, *bytes, size, file);
    if (status) free(*bytes), *bytes = NULL;
    return status;
}

static bool fits(const clg__entry *entry, const clg__safetensor *has)
{
    return has && has->dtype == entry->dtype && clg_shape_equal(has->shape, entry->shape);
}

clg_status clg__entries_check(const clg__entries *e, const char *path, const clg__safetensors *file)
{
    if (e->strict && !file->sealed)
        return clg__report(e->root, CLG_FORMAT, "%s: not a checkpoint, or damaged: it has no checksum", path);
    for (size_t i = 0; i < e->count; i++) {
        const clg__entry      *entry = &e->at[i];
        const clg__safetensor *has = clg__safetensors_find(file, entry->name);
        char                   there[128], wants[128];
        if (!has)
            return clg__report(e->root, CLG_INVALID_SHAPE, "%s: has no %s, a %s of the %s", path, entry->name,
                               entry->model ? "parameter" : "value", e->of);
        if (has->dtype != entry->dtype)
            return clg__report(e->root, CLG_UNSUPPORTED, "%s: %s is %s, and the %s's is %s", path, entry->name,
                               clg__safetensors_dtype(has->dtype), e->of, clg__safetensors_dtype(entry->dtype));
        if (!clg_shape_equal(has->shape, entry->shape))
            return clg__report(e->root, CLG_INVALID_SHAPE, "%s: %s has the shape %s, and the %s's has %s", path,
                               entry->name, clg_shape_text(has->shape, there, sizeof there), e->of,
                               clg_shape_text(entry->shape, wants, sizeof wants));
    }
    for (size_t i = 0; file->count > e->count && i < file->count; i++) {
        bool known = false;
        for (size_t k = 0; k < e->count && !known; k++) known = strcmp(file->entries[i].name, e->at[k].name) == 0;
        if (!known)
            return clg__report(e->root, CLG_INVALID_SHAPE, "%s: has %s, which the %s does not have", path,
                               file->entries[i].name, e->of);
    }
    return CLG_OK;
}

clg_status clg__entries_load(const clg__entries *e, const clg__safetensors *file, bool *taken)
{
    void *value = room_for_one(e);
    if (!value) return CLG_OUT_OF_MEMORY;
    clg_status status = CLG_OK;
    for (size_t i = 0; !status && i < e->count; i++) {
        const clg__safetensor *has = clg__safetensors_find(file, e->at[i].name);
        const bool             fit = fits(&e->at[i], has);
        if (taken) taken[i] = fit;
        if (!fit) continue;
        clg__safetensors_decode(has->data, value, values_of(&e->at[i]));
        status = set(&e->at[i], value);
    }
    free(value);
    return status;
}
