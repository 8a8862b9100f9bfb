/* quarantine.c - what clg_doctor_run found a device to compute wrongly, kept in a file beside the program cache and minded by
 * every context on that device: clgrad/doctor.h says what the lines mean.
 *
 * The file is text: a line with the checksum of all that follows, the lines that say which device and driver it is about, and
 * the entries. It is renamed into its place. A damaged one stops the context: that the device computes wrongly is certain,
 * and what is not. */
#include "base/file.h"
#include "device/cl_types.h"
#include <clgrad/doctor.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static clg__text identity(const clg_device_list *list, const clg_device_info *info)
{
    clg__text text = {0};
    clg__text_append(&text, "device %s\ndriver %s\nversion %s\nplatform %s\n", info->name, info->driver, info->version,
                     list->platforms[info->platform].version);
    return text;
}

/* "" without a cache directory. */
static clg__text path_of(const clg__text *what)
{
    clg__text path = {0};
    char     *dir = clg__cache_dir();
    if (dir && what->data)
        clg__text_append(&path, "%s/quarantine-%016llx.txt", dir, (unsigned long long)clg__hash(0, what->data, what->size));
    free(dir);
    return path;
}

static clg__text first_line(const char *data, size_t size)
{
    clg__text line = {0};
    clg__text_append(&line, "clgrad-quarantine 1 %016llx\n", (unsigned long long)clg__hash(0, data, size));
    return line;
}

/* The entries in the file's text; NULL: it is damaged. */
static const char *entries_of(const char *data, size_t size, const clg__text *what)
{
    const char *body = memchr(data, '\n', size);
    if (!body || !what->data || memchr(data, '\0', size)) return NULL;
    body++;
    const size_t before = (size_t)(body - data);
    clg__text    first = first_line(body, size - before);
    const bool   whole = first.size == before && memcmp(first.data, data, before) == 0 && size - before >= what->size &&
                       memcmp(body, what->data, what->size) == 0;
    clg__text_free(&first);
    return whole ? body + what->size : NULL;
}

/* The entries, to be freed; NULL, with the error reported, when they cannot be had. */
static char *load(clg__root *root, const clg_device_list *list, const clg_device_info *info)
{
    clg__text   what = identity(list, info), path = path_of(&what);
    uint8_t    *data = NULL;
    size_t      size = 0;
    char       *entries = NULL;
    struct stat st;
    if (!path.data || stat(path.data, &st) != 0) {
        entries = strdup("");
    } else if (clg__file_load(root, path.data, &data, &size) == CLG_OK) {
        data[size] = '\0';
        const char *found = entries_of((const char *)data, size, &what);
        entries = found ? strdup(found) : NULL;
        if (!found)
            clg__report(root, CLG_FORMAT, "%s: damaged; it said what %s computes wrongly: clgrad doctor finds that out again, "
                        "clgrad doctor --forget removes the file", path.data, info->name);
    }
    free(data);
    clg__text_free(&path);
    clg__text_free(&what);
    return entries;
}

static bool has(const char *entries, const char *base, const char *kind, const char *what, unsigned value)
{
    char line[160], number[16] = "";
    if (kind[0] == 'p') snprintf(number, sizeof number, "=%u", value);
    snprintf(line, sizeof line, "%s %s %s%s", base, kind, what, number);
    const size_t n = strlen(line);
    for (const char *at = entries; at && (at = strstr(at, line)); at += n)
        if (at[n] == '\n' || at[n] == '\0') return true; /* the last line may want its end */
    return false;
}

bool clg__quarantine_has(const char *entries, const char *base, const char *key, unsigned value)
{
    return has(entries, base, "profile", key, value);
}

static bool is_known(const char *line, size_t size)
{
    char        text[160], base[16], kind[16], what[64], more, profile[96];
    clg_profile unused = {0};
    snprintf(text, sizeof text, "%.*s", (int)CLG__MIN(size, sizeof text - 1), line);
    if (sscanf(text, "%15s %15s %63s %c", base, kind, what, &more) != 3) return false;
    snprintf(profile, sizeof profile, "%s%s%s", base, kind[0] == 'p' ? "," : "", kind[0] == 'p' ? what : "");
    return (strcmp(kind, "profile") == 0 || strcmp(kind, "body") == 0 || strcmp(kind, "refuse") == 0) &&
           clg_profile_parse(&unused, profile, NULL, 0) == CLG_OK;
}

/* What a later version has written, or a hand, may be meant to keep wrong kernels out of use: it is not passed over in silence. */
static void warn_of_unknown(const clg_context *ctx, const char *entries)
{
    clg__text what = identity(ctx->list, ctx->info), path = path_of(&what);
    for (const char *line = entries; *line; line += *line == '\n') {
        const size_t size = strcspn(line, "\n");
        if (size && !is_known(line, size))
            fprintf(stderr, "clgrad: %s: \"%.*s\" is no entry that this version knows, and is ignored; clgrad doctor writes the "
                    "file anew\n", path.data ? path.data : "quarantine", (int)CLG__MIN(size, 100), line);
        line += size;
    }
    clg__text_free(&path);
    clg__text_free(&what);
}

clg_status clg__quarantine_open(clg_context *ctx, const char *given)
{
    ctx->quarantine = given ? strdup(given) : load(&ctx->root, ctx->list, ctx->info);
    if (!given && ctx->quarantine) warn_of_unknown(ctx, ctx->quarantine);
    if (!ctx->quarantine)
        return clg__fail(&ctx->root, ctx->root.text[0] ? CLG_FORMAT : CLG_OUT_OF_MEMORY, "%s",
                         ctx->root.text[0] ? ctx->root.text : "out of host memory while opening a device");
    if (!ctx->quarantine[0]) return CLG_OK;
    clg__profile_avoid(ctx->info, ctx->quarantine);
    clg__profile_of(&ctx->general, "gpu", ctx->info); /* its kernels run in groups of any size */
    ctx->general.wg = ctx->info->profile.wg;
    ctx->general.vec = ctx->info->profile.vec;
    return CLG_OK;
}

const clg_profile *clg__profile_for(clg_context *ctx, const char *op)
{
    const char *base = ctx->info->profile.base;
    if (!ctx->quarantine || !ctx->quarantine[0]) return &ctx->info->profile;
    if (has(ctx->quarantine, base, "refuse", op, 0)) {
        clg__fail(&ctx->root, CLG_UNSUPPORTED,
                  "%s: clgrad doctor found that %s computes it wrongly under the %s profile, and there are no other kernels for "
                  "it; those of CLGRAD_PROFILE=%s may be right; clgrad doctor examines the device anew, clgrad doctor --forget "
                  "lets it compute so", op, ctx->info->name, base, base[0] == 'c' ? "gpu" : "cpu");
        return NULL;
    }
    return has(ctx->quarantine, base, "body", op, 0) ? &ctx->general : &ctx->info->profile;
}

clg_status clg__quarantine_save(clg_context *ctx, const char *entries)
{
    clg__text  what = identity(ctx->list, ctx->info), path = path_of(&what), body = {0};
    clg_status status;
    clg__text_append(&body, "%s%s", what.data ? what.data : "", entries);
    clg__text file = first_line(body.data ? body.data : "", body.size);
    clg__text_append(&file, "%s", body.data ? body.data : "");
    if (what.failed || body.failed || file.failed)
        status = clg__report(&ctx->root, CLG_OUT_OF_MEMORY, "out of host memory while writing the quarantine");
    else if (!path.data)
        status = clg__report(&ctx->root, CLG_IO, "there is no cache directory to keep the quarantine in: neither $XDG_CACHE_HOME nor "
                             "$HOME names one that can be created");
    else if (!entries[0])
        status = remove(path.data) == 0 || access(path.data, F_OK) != 0
                     ? CLG_OK : clg__report(&ctx->root, CLG_IO, "%s: cannot be removed", path.data);
    else
        status = clg__file_replace(&ctx->root, path.data, (const uint8_t *)file.data, file.size);
    clg__text_free(&file);
    clg__text_free(&body);
    clg__text_free(&path);
    clg__text_free(&what);
    return status;
}

char *clg__quarantine_load(clg_context *ctx) { return load(&ctx->root, ctx->list, ctx->info); }

int clg_quarantine(const clg_device_list *list, const clg_device_info *device, char *entries, size_t size, char *file,
                   size_t file_size)
{
    if (size > 0) entries[0] = '\0';
    if (file_size > 0) file[0] = '\0';
    if (!list || !device) return 0;
    clg__root root = {0};
    clg__text what = identity(list, device), path = path_of(&what);
    char     *found = load(&root, list, device);
    int       count = found ? 0 : -1;
    for (const char *c = found; c && *c; c++) count += *c == '\n';
    if (size > 0) snprintf(entries, size, "%s", found ? found : root.text);
    if (file_size > 0) snprintf(file, file_size, "%s", path.data ? path.data : "");
    free(found);
    clg__text_free(&path);
    clg__text_free(&what);
    return count;
}
