/* targets.c - the parsers, each called on bytes of anything. A target reads all that it was given back, so that a sanitizer
 * sees what lies outside; what must hold for any bytes it checks, and dies if it does not. */
#include "fuzz.h"
#include "blas/tuned.h"
#include "data/csv.h"
#include "data/entries.h"
#include "data/gzip.h"
#include "data/idx.h"
#include "data/image.h"
#include "data/npy.h"
#include "spec.h"
#include <clgrad/profile.h>
#include <stdlib.h>
#include <string.h>

#define MUST(condition) do { if (!(condition)) abort(); } while (0)

static volatile unsigned sink;

static void read_all(const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) sink += ((const uint8_t *)bytes)[i];
}

/* The bytes as a text, to be freed. */
static char *text_of(const uint8_t *bytes, size_t size)
{
    char *text = malloc(size + 1);
    MUST(text);
    if (size) memcpy(text, bytes, size);
    text[size] = '\0';
    return text;
}

static void fuzz_idx(const uint8_t *bytes, size_t size)
{
    for (int rank = 1; rank <= CLG__IDX_MAX_RANK; rank++) {
        clg__idx idx;
        char     error[256] = "";
        if (clg__idx_parse(bytes, size, rank, &idx, error, sizeof error)) MUST(*error);
        else read_all(idx.data, idx.size);
    }
}

static void fuzz_gzip(const uint8_t *bytes, size_t size)
{
    const size_t most[] = {0, 7, 1 << 20};
    for (int i = 0; i < 3; i++) {
        uint8_t    *out;
        size_t      out_size;
        const char *error = NULL;
        if (clg__gunzip(bytes, size, most[i], &out, &out_size, &error)) {
            MUST(error && !out);
            continue;
        }
        MUST(out_size <= most[i] && out[out_size] == 0);
        read_all(out, out_size);
        free(out);
    }
}

static void fuzz_csv(const uint8_t *bytes, size_t size)
{
    clg__csv csv;
    char     error[256] = "";
    if (clg__csv_parse(bytes, size, &csv, error, sizeof error)) {
        MUST(*error);
        return;
    }
    for (size_t i = 0; i < (1 + csv.rows) * csv.columns; i++) {
        float number;
        read_all(csv.cells[i], strlen(csv.cells[i]));
        clg__csv_number(csv.cells[i], &number);
    }
    clg__csv_free(&csv);
}

static void fuzz_npy(const uint8_t *bytes, size_t size)
{
    clg__npy npy;
    char     error[256] = "";
    if (clg__npy_parse(bytes, size, &npy, error, sizeof error)) {
        MUST(*error);
        return;
    }
    MUST(clg_shape_count(npy.shape) == npy.count);
    for (int64_t i = 0; i < npy.count; i++) sink += (unsigned)(clg__npy_real(&npy, i) > 0.0);
}

static void read_tensors(clg__safetensors *file)
{
    for (size_t i = 0; i < file->count; i++) read_all(file->entries[i].data, file->entries[i].end - file->entries[i].begin);
    clg__safetensors_metadata(file, "model");
    clg__safetensors_find(file, "weight");
    clg__safetensors_free(file);
}

static void fuzz_safetensors(const uint8_t *bytes, size_t size)
{
    clg__safetensors file;
    char             error[256] = "";
    if (clg__safetensors_parse(bytes, size, &file, error, sizeof error)) MUST(*error);
    else read_tensors(&file);
}

/* As it is, and with a checksum that holds. */
static void fuzz_checkpoint(const uint8_t *bytes, size_t size)
{
    for (int sealed = 0; sealed < 2; sealed++) {
        clg__root        root = {0};
        clg__safetensors file;
        uint8_t         *copy = (uint8_t *)text_of(bytes, size);
        if (sealed) clg__file_seal(copy, size);
        if (clg__file_parse(&root, "file", copy, size, &file)) MUST(*root.text);
        else read_tensors(&file);
        free(copy);
    }
}

static void fuzz_spec(const uint8_t *bytes, size_t size)
{
    char      *text = text_of(bytes, size), *shown = malloc(2 * size + 1024);
    spec_error error = {0};
    spec      *s = spec_parse(text, size, &error);
    MUST(shown);
    if (!s) {
        MUST(*error.text && error.at <= size);
        spec_show(text, size, &error, shown, 2 * size + 1024);
    }
    spec_compact(text, size, shown);
    free(s);
    free(shown);
    free(text);
}

static void fuzz_profile(const uint8_t *bytes, size_t size)
{
    char       *text = text_of(bytes, size), error[256], shown[512];
    clg_profile profile = {0};
    if (clg_profile_parse(&profile, text, error, sizeof error)) MUST(*error);
    else clg_profile_text(&profile, shown, sizeof shown);
    free(text);
}

/* The bytes as a tuning file, and as the choices of one whose first lines are right. */
static void fuzz_tuning(const uint8_t *bytes, size_t size)
{
    static const char who[] = "device d\n";
    clg_profile       profile = {0};
    clg__text         identity = {0};
    clg__tuned       *t = calloc(1, sizeof *t);
    uint8_t          *file = malloc(sizeof who + size + 64);
    MUST(t && file && clg_profile_parse(&profile, "cpu", NULL, 0) == CLG_OK);
    clg__text_append(&identity, "%s", who);
    clg__tuned_parse(t, &profile, &identity, bytes, size);
    uint8_t *body = file + 64 + 1;
    memcpy(body, who, sizeof who - 1);
    if (size) memcpy(body + sizeof who - 1, bytes, size);
    clg__text line = clg__tuned_checksum(body, sizeof who - 1 + size);
    memcpy(body - line.size, line.data, line.size);
    t->count = 0;
    clg__tuned_parse(t, &profile, &identity, body - line.size, line.size + sizeof who - 1 + size);
    MUST(t->count <= CLG__TUNED_CLASSES);
    clg__text_free(&line);
    clg__text_free(&identity);
    free(file);
    free(t);
}

static void fuzz_cache(const uint8_t *bytes, size_t size)
{
    clg__cache_key key = {0};
    size_t         data = 0;
    clg__cache_key_add(&key, "key", 3);
    if (clg__cache_parse(bytes, size, &key, &data)) MUST(data < size);
}

static void fuzz_image(const uint8_t *bytes, size_t size)
{
    for (int pixels = 0; pixels < 2; pixels++) {
        clg__image image = {0};
        char       error[256] = "";
        uint8_t    small[2 * 3 * 3];
        if (clg__image_decode(bytes, size, pixels, &image, error, sizeof error)) {
            MUST(*error && !image.rgb);
            return;
        }
        if ((int64_t)image.width * image.height > 1 << 16) return; /* a small file of a large picture takes long */
        if (pixels) {
            MUST(clg__image_resize(&image, 3, 2, 3, small));
            read_all(small, sizeof small);
        }
        free(image.rgb);
    }
}

const fuzz_target fuzz_targets[] = {
    {"cache", fuzz_cache}, {"checkpoint", fuzz_checkpoint}, {"csv", fuzz_csv},   {"gzip", fuzz_gzip},
    {"idx", fuzz_idx},     {"image", fuzz_image},           {"npy", fuzz_npy},   {"profile", fuzz_profile},
    {"safetensors", fuzz_safetensors}, {"spec", fuzz_spec}, {"tuning", fuzz_tuning}, {0},
};
