/* safetensors.c - parsing safetensors files that nobody vouches for; the layout is in safetensors.h.
 *
 * All checks are made before anything is used: the length of the header against the file, the JSON against the format,
 * every entry's offsets against its shape, the names for doubles, and, with the entries in the order of their offsets,
 * that each begins where the one before it ended and the last ends with the file. */
#include "data/safetensors.h"

#include "base/base.h"
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where the parse is, and where its complaint goes. */
typedef struct parser {
    clg__safetensors *file;
    const uint8_t    *data;
    size_t            data_size;
    char             *error;
    size_t            error_size;
} parser;

static clg_status complain(const parser *p, clg_status status, const char *format, ...) CLG_PRINTF(3, 4);
static clg_status complain(const parser *p, clg_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(p->error, p->error_size, format, args);
    va_end(args);
    return status;
}

/* JSON's numbers are doubles: a whole one up to 2^53 is exact. */
static bool whole_number(const cJSON *item, int64_t *value)
{
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0.0 && item->valuedouble <= 9007199254740992.0)) return false;
    *value = (int64_t)item->valuedouble;
    return (double)*value >= item->valuedouble && (double)*value <= item->valuedouble;
}

static clg_status parse_shape(const parser *p, const cJSON *item, clg__safetensor *entry)
{
    if (!cJSON_IsArray(item)) return complain(p, CLG_FORMAT, "%s has no shape", entry->name);
    const cJSON *extent = NULL;
    cJSON_ArrayForEach(extent, item) {
        if (entry->shape.rank == CLG_MAX_RANK)
            return complain(p, CLG_UNSUPPORTED, "%s has more than %d dimensions", entry->name, CLG_MAX_RANK);
        if (!whole_number(extent, &entry->shape.dim[entry->shape.rank++]))
            return complain(p, CLG_FORMAT, "the shape of %s is malformed", entry->name);
    }
    return CLG_OK;
}

static clg_status parse_entry(const parser *p, const cJSON *item, clg__safetensor *entry)
{
    entry->name = item->string;
    if (!cJSON_IsObject(item)) return complain(p, CLG_FORMAT, "%s is not an object", entry->name);

    const cJSON *dtype = cJSON_GetObjectItemCaseSensitive(item, "dtype");
    if (!cJSON_IsString(dtype)) return complain(p, CLG_FORMAT, "%s has no dtype", entry->name);
    const bool is_int = strcmp(dtype->valuestring, clg__safetensors_dtype(CLG_I32)) == 0;
    if (!is_int && strcmp(dtype->valuestring, clg__safetensors_dtype(CLG_F32)) != 0)
        return complain(p, CLG_UNSUPPORTED, "%s has the dtype %s; only F32 and I32 can be read", entry->name,
                        dtype->valuestring);
    entry->dtype = is_int ? CLG_I32 : CLG_F32;

    const clg_status status = parse_shape(p, cJSON_GetObjectItemCaseSensitive(item, "shape"), entry);
    if (status) return status;

    const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(item, "data_offsets");
    int64_t begin = 0, end = 0;
    if (cJSON_GetArraySize(offsets) != 2 || !whole_number(cJSON_GetArrayItem(offsets, 0), &begin) ||
        !whole_number(cJSON_GetArrayItem(offsets, 1), &end))
        return complain(p, CLG_FORMAT, "%s has no data_offsets [begin, end]", entry->name);
    if (begin > end || (uint64_t)end > p->data_size)
        return complain(p, CLG_FORMAT, "%s lies at %lld to %lld, outside the %zu bytes of data", entry->name,
                        (long long)begin, (long long)end, p->data_size);

    const int64_t count = clg_shape_count(entry->shape);
    char text[128];
    if (count < 0 || count > INT64_MAX / 4 || 4 * count != end - begin)
        return complain(p, CLG_FORMAT, "%s has the shape %s, which does not take the %lld bytes of its data_offsets",
                        entry->name, clg_shape_text(entry->shape, text, sizeof text), (long long)(end - begin));
    entry->begin = (size_t)begin;
    entry->end = (size_t)end;
    entry->data = p->data + begin;
    return CLG_OK;
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static clg_status parse_metadata(const parser *p, const cJSON *metadata)
{
    const cJSON *item = NULL;
    if (!cJSON_IsObject(metadata)) return complain(p, CLG_FORMAT, "__metadata__ is not an object");
    char **keys = calloc((size_t)cJSON_GetArraySize(metadata) + 1, sizeof *keys);
    size_t count = 0;
    if (!keys) return complain(p, CLG_OUT_OF_MEMORY, "no memory for the keys of __metadata__");
    clg_status status = CLG_OK;
    cJSON_ArrayForEach(item, metadata) {
        keys[count++] = item->string;
        if (!cJSON_IsString(item)) status = complain(p, CLG_FORMAT, "__metadata__ has a value that is not a text");
    }
    qsort(keys, count, sizeof *keys, by_text);
    for (size_t i = 1; i < count && !status; i++)
        if (!strcmp(keys[i - 1], keys[i])) status = complain(p, CLG_FORMAT, "__metadata__ has %.100s twice", keys[i]);
    free(keys);
    return status;
}

static int by_offset(const void *a, const void *b)
{
    const clg__safetensor *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const clg__safetensor *)a)->name, ((const clg__safetensor *)b)->name);
}

/* The entries as a whole: no gap, no overlap, nothing left over, no name twice. */
static clg_status check_entries(const parser *p)
{
    clg__safetensor *e = p->file->entries;
    const size_t count = p->file->count;
    size_t at = 0;
    if (count) qsort(e, count, sizeof *e, by_offset);
    for (size_t i = 0; i < count; at = e[i++].end) {
        if (e[i].begin != at)
            return complain(p, CLG_FORMAT, "%s begins at %zu, and the data before it end at %zu", e[i].name,
                            e[i].begin, at);
    }
    if (at != p->data_size)
        return complain(p, CLG_FORMAT, "%zu bytes of data belong to no entry", p->data_size - at);
    if (count) qsort(e, count, sizeof *e, by_name);
    for (size_t i = 1; i < count; i++) {
        if (strcmp(e[i - 1].name, e[i].name) == 0) return complain(p, CLG_FORMAT, "%s occurs twice", e[i].name);
    }
    return CLG_OK;
}

static clg_status parse_entries(const parser *p)
{
    const int items = cJSON_GetArraySize(p->file->json);
    p->file->entries = calloc(items > 0 ? (size_t)items : 1, sizeof *p->file->entries);
    if (!p->file->entries) return complain(p, CLG_OUT_OF_MEMORY, "no memory for %d entries", items);
    bool has_metadata = false;
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, p->file->json) {
        clg_status status;
        if (strcmp(item->string, "__metadata__") != 0) {
            status = parse_entry(p, item, &p->file->entries[p->file->count++]);
        } else if (has_metadata) {
            status = complain(p, CLG_FORMAT, "__metadata__ occurs twice");
        } else {
            has_metadata = true;
            status = parse_metadata(p, item);
        }
        if (status) return status;
    }
    return check_entries(p);
}

/* The header as JSON. It is copied so that it ends with a zero byte, which some versions of cJSON need to stop. */
static clg_status parse_json(const parser *p, const uint8_t *header, size_t size)
{
    if (size == 0 || header[0] != '{' || memchr(header, 0, size))
        return complain(p, CLG_FORMAT, "not a safetensors file: its header is not a JSON object");
    if (clg_utf8_fault(header, size)) return complain(p, CLG_FORMAT, "not a safetensors file: its header is not UTF-8");
    char *text = malloc(size + 1);
    if (!text) return complain(p, CLG_OUT_OF_MEMORY, "no memory for a header of %zu bytes", size);
    memcpy(text, header, size);
    text[size] = 0;
    p->file->json = cJSON_ParseWithOpts(text, NULL, 1);
    free(text);
    if (!cJSON_IsObject(p->file->json))
        return complain(p, CLG_FORMAT, "not a safetensors file: its header is not well-formed JSON");
    return CLG_OK;
}

clg_status clg__safetensors_parse(const uint8_t *bytes, size_t size, clg__safetensors *file, char *error,
                                  size_t error_size)
{
    *file = (clg__safetensors){0};
    parser p = {.file = file, .error = error, .error_size = error_size};
    if (size < CLG__SAFETENSORS_PREFIX)
        return complain(&p, CLG_FORMAT, "not a safetensors file: it has %zu bytes", size);
    uint64_t header = 0;
    for (int i = 0; i < CLG__SAFETENSORS_PREFIX; i++) header |= (uint64_t)bytes[i] << 8 * i;
    if (header > size - CLG__SAFETENSORS_PREFIX)
        return complain(&p, CLG_FORMAT, "truncated or not a safetensors file: its header should take %llu bytes of %zu",
                        (unsigned long long)header, size);
    p.data = bytes + CLG__SAFETENSORS_PREFIX + header;
    p.data_size = size - CLG__SAFETENSORS_PREFIX - (size_t)header;

    clg_status status = parse_json(&p, bytes + CLG__SAFETENSORS_PREFIX, (size_t)header);
    if (!status) status = parse_entries(&p);
    if (status) clg__safetensors_free(file);
    return status;
}

void clg__safetensors_free(clg__safetensors *file)
{
    cJSON_Delete(file->json);
    free(file->entries);
    *file = (clg__safetensors){0};
}

const clg__safetensor *clg__safetensors_find(const clg__safetensors *file, const char *name)
{
    if (file->count == 0) return NULL;
    const clg__safetensor key = {.name = name};
    return bsearch(&key, file->entries, file->count, sizeof key, by_name);
}

const char *clg__safetensors_metadata(const clg__safetensors *file, const char *key)
{
    const cJSON *metadata = cJSON_GetObjectItemCaseSensitive(file->json, "__metadata__");
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(metadata, key));
}

const char *clg__safetensors_dtype(clg_dtype dtype)
{
    return dtype == CLG_F32 ? "F32" : dtype == CLG_I32 ? "I32" : NULL;
}

void clg__safetensors_decode(const uint8_t *bytes, void *value, size_t count)
{
    for (size_t i = 0; i < count; i++, bytes += 4) {
        const uint32_t bits = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
                              (uint32_t)bytes[3] << 24;
        memcpy((uint32_t *)value + i, &bits, sizeof bits);
    }
}

void clg__safetensors_encode(const void *value, uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++, bytes += 4) {
        uint32_t bits;
        memcpy(&bits, (const uint32_t *)value + i, sizeof bits);
        for (int k = 0; k < 4; k++) bytes[k] = (uint8_t)(bits >> 8 * k);
    }
}
