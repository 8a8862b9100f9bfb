/* profile.c - which numbers a device gets: a base, then the rows of `rules` that fit the device, then the user's text.
 *
 * A profile is valid when every value lies within its base's limits; clg_profile_parse keeps that, so kernels need not
 * check. Rules come from measurements: a register tile of m rows by n vectors needs m * n accumulators and n + 1 more
 * registers, so at most 14x2 for the 32 registers of AVX-512 (13 leaves
 * less over of the usual extents) and 6x2 for the 16 of AVX2 and SSE. */
#include "device/cl_types.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>

typedef struct limit {
    uint32_t low, high;
    bool     power_of_two;
} limit;

typedef struct field {
    const char *name;
    size_t      offset;
    limit       cpu, gpu;
} field;

#define FIELD(name) #name, offsetof(clg_profile, name)
static const field fields[] = {
    {FIELD(wg),      {1, 256, true},      {1, 256, true}},
    {FIELD(vec),     {1, 16, true},       {1, 16, true}},
    {FIELD(groups),  {1, 65536, false},   {1, 65536, false}},
    {FIELD(chunk),   {16, 1 << 24, true}, {16, 1 << 24, true}},
    {FIELD(tile_m),  {1, 16, false},      {16, 128, true}},
    {FIELD(tile_n),  {1, 4, false},       {16, 128, true}},
    {FIELD(tile_k),  {16, 4096, true},    {4, 64, true}},
    {FIELD(clblast), {0, 1, false},       {0, 1, false}},
    {FIELD(winograd), {0, 4, true},       {0, 4, true}},
    {FIELD(stream),  {0, 1 << 24, false}, {0, 1 << 24, false}},
    {FIELD(direct),  {0, 1, false},       {0, 1, false}},
    {FIELD(fuse),    {0, 1, false},       {0, 1, false}},
};

static const clg_profile bases[] = {
    {.base = "cpu", .wg = 1, .vec = 4, .groups = 1, .chunk = 8192, .tile_m = 6, .tile_n = 2, .tile_k = 256,
     .winograd = 4, .stream = 32768, .direct = 1, .fuse = 1},
    {.base = "gpu", .wg = 256, .vec = 4, .groups = 32, .chunk = 4096, .tile_m = 64, .tile_n = 64, .tile_k = 16,
     .clblast = 1, .fuse = 1},
};

static const struct {
    const char *base;
    uint32_t    vector_width; /* the device's native float vector */
    const char *values;
} rules[] = {
    {"cpu", 8, "vec=8"},
    {"cpu", 16, "vec=16,tile_m=13,tile_k=512"},
};

static uint32_t *value_of(clg_profile *profile, const field *f)
{
    return (uint32_t *)(void *)((char *)profile + f->offset);
}

/* The next item of a comma-separated list; false at its end. */
static bool next_item(const char **text, const char **item, size_t *size)
{
    if (!*text) return false;
    const char *end = strchr(*text, ',');
    *item = *text;
    *size = end ? (size_t)(end - *text) : strlen(*text);
    *text = end ? end + 1 : NULL;
    return true;
}

static const field *field_named(const char *name, size_t size)
{
    for (size_t i = 0; i < CLG__COUNT(fields); i++)
        if (strlen(fields[i].name) == size && memcmp(fields[i].name, name, size) == 0) return &fields[i];
    return NULL;
}

static bool parse_number(const char *text, size_t size, uint32_t *value)
{
    if (size == 0 || size > 9) return false;
    for (*value = 0; size > 0; size--, text++) {
        if (!isdigit((unsigned char)*text)) return false;
        *value = *value * 10 + (uint32_t)(*text - '0');
    }
    return true;
}

static clg_status bad(char *error, size_t size, const char *format, ...) CLG_PRINTF(3, 4);

static clg_status bad(char *error, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (error && size > 0) vsnprintf(error, size, format, args);
    va_end(args);
    return CLG_INVALID_ARGUMENT;
}

static clg_status set_value(clg_profile *profile, const char *item, size_t size, char *error, size_t error_size)
{
    const char  *equals = memchr(item, '=', size);
    const size_t name_size = equals ? (size_t)(equals - item) : size;
    const field *f = equals ? field_named(item, name_size) : NULL;
    if (!f)
        return bad(error, error_size,
                   "profile: unknown key in \"%.*s\"; a profile is cpu or gpu, then key=value of wg, vec, groups, "
                   "chunk, tile_m, tile_n, tile_k, clblast, winograd, stream, direct, fuse, separated by commas", (int)size,
                   item);
    const limit *l = strcmp(profile->base, "cpu") == 0 ? &f->cpu : &f->gpu;
    uint32_t     value = 0;
    if (!parse_number(equals + 1, size - name_size - 1, &value) || value < l->low || value > l->high ||
        (l->power_of_two && (value & (value - 1)) != 0))
        return bad(error, error_size, "profile: \"%.*s\": %s is %s from %u to %u on %s", (int)size, item, f->name,
                   l->power_of_two ? "a power of two" : "a number", l->low, l->high, profile->base);
    *value_of(profile, f) = value;
    return CLG_OK;
}

static const clg_profile *base_named(const char *name, size_t size)
{
    for (size_t i = 0; i < CLG__COUNT(bases); i++)
        if (strlen(bases[i].base) == size && memcmp(bases[i].base, name, size) == 0) return &bases[i];
    return NULL;
}

clg_status clg_profile_parse(clg_profile *profile, const char *text, char *error, size_t error_size)
{
    if (error && error_size > 0) error[0] = '\0';
    if (!profile) return bad(error, error_size, "profile: no profile to change");
    clg_profile changed = *profile;
    const char *item;
    size_t      size;
    if (!text || !*text) return CLG_OK;
    for (bool first = true; next_item(&text, &item, &size); first = false) {
        const clg_profile *base = first ? base_named(item, size) : NULL;
        if (base) { /* naming the base that it has keeps what suits the device */
            if (strcmp(changed.base, base->base) != 0) changed = *base;
            continue;
        }
        if (!base_named(changed.base, strlen(changed.base)))
            return bad(error, error_size, "profile: \"%.*s\" needs a base before it: cpu or gpu", (int)size, item);
        const clg_status status = set_value(&changed, item, size, error, error_size);
        if (status != CLG_OK) return status;
    }
    *profile = changed;
    return CLG_OK;
}

char *clg_profile_text(const clg_profile *profile, char *text, size_t size)
{
    if (size == 0 || !profile) return text;
    clg_profile copy = *profile;
    size_t      at = (size_t)snprintf(text, size, "%s", copy.base);
    for (size_t i = 0; i < CLG__COUNT(fields) && at < size; i++)
        at += (size_t)snprintf(text + at, size - at, ",%s=%u", fields[i].name, *value_of(&copy, &fields[i]));
    return text;
}

static void fit(clg_profile *profile, const clg_device_info *info)
{
    while (profile->wg > 1 && profile->wg > info->max_work_group) profile->wg /= 2;
}

/* A CPU device whose vectors are single floats fills the processor's with work-items, as GPUs do. */
const char *clg__profile_base(const clg_device_info *info)
{
    return info->type == CLG_DEVICE_CPU && info->vector_width > 1 ? "cpu" : "gpu";
}

void clg__profile_of(clg_profile *profile, const char *base, const clg_device_info *info)
{
    const clg_profile *found = base_named(base, strlen(base));
    *profile = found ? *found : bases[0];
    for (size_t i = 0; i < CLG__COUNT(rules); i++)
        if (strcmp(rules[i].base, profile->base) == 0 && rules[i].vector_width == info->vector_width)
            clg_profile_parse(profile, rules[i].values, NULL, 0);
    fit(profile, info);
}

clg_status clg__profile_apply(clg_device_info *info, const char *text, char *error, size_t error_size)
{
    clg_profile profile = info->profile;
    clg_status  status = clg_profile_parse(&profile, text, error, error_size);
    if (status != CLG_OK) return status;
    clg__profile_of(&profile, profile.base, info);
    status = clg_profile_parse(&profile, text, error, error_size);
    fit(&profile, info);
    info->profile = profile;
    info->gemm_engine = clg__list_engine(&profile);
    return status;
}

void clg__profile_avoid(clg_device_info *info, const char *quarantine)
{
    for (size_t i = 0; i < CLG__COUNT(fields); i++) {
        uint32_t *value = value_of(&info->profile, &fields[i]);
        const bool halves = fields[i].cpu.power_of_two;
        while (*value > 0 && clg__quarantine_has(quarantine, info->profile.base, fields[i].name, *value))
            *value = halves ? *value / 2 : 0;
    }
    info->gemm_engine = clg__list_engine(&info->profile);
}
