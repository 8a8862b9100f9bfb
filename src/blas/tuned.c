/* tuned.c - the tuning file, the shipped table, and looking a product up in them.
 *
 * The file is text: a line with the checksum of all that follows, the lines that say what it was measured with, and a line
 * per choice: "gemm NT single 7 9 10 built-in 14 2 512 0", with " next 5" behind it when tuning has to go on there, or
 * "clblast Xgemm GEMMK=0 ...", parameters of which only the sets that the library knows are taken. It is renamed into its
 * place. Any doubt about a file and none of it is used. */
#include "blas/tuned.h"
#include "base/file.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LARGEST_FILE = 1 << 20, LARGEST_LOG = 31, LARGEST_NEXT = 31 };

static const char *const engines[] = {"auto", "built-in", "clblast"};

/* The shipped table, by profile: only what `clgrad tune` found to be more than 5% faster. Tiles have no row: on these
 * devices the cost model's were not beaten, but for one of 36 classes, by 6%, which another program to build is not worth. */
static const struct {
    const char *base;
    uint32_t    vec;
    int         set[CLG__CLBLAST_KERNELS]; /* counted from 1 */
} shipped_sets[] = {
    {"cpu", 16, {1, 0, 9}}, /* 512 cubed: 53 GFLOP/s, as CLBlast comes 16; 1024 cubed: 19 to 26, and 9 */
};

/* ---- classes ----------------------------------------------------------------------------------------------------- */

static uint8_t nearest_log2(int64_t x) { return x < 2 ? 0 : (uint8_t)lround(log2((double)x)); }

static clg__tuned_row class_of(const clg__gemm *g)
{
    return (clg__tuned_row){.trans_a = g->trans_a, .trans_b = g->trans_b, .batched = g->batch > 1,
                            .m = nearest_log2(g->m), .n = nearest_log2(g->n), .k = nearest_log2(g->k)};
}

/* Its index, or the count. */
static size_t find(const clg__tuned *t, const clg__tuned_row *c)
{
    size_t i = 0;
    for (; i < t->count; i++) {
        const clg__tuned_row *r = &t->row[i];
        if (r->trans_a == c->trans_a && r->trans_b == c->trans_b && r->batched == c->batched && r->m == c->m &&
            r->n == c->n && r->k == c->k)
            break;
    }
    return i;
}

const clg__tuned_row *clg__tuned_find(const clg__tuned *t, const clg__gemm *gemm)
{
    const clg__tuned_row c = class_of(gemm);
    const size_t         i = find(t, &c);
    return i < t->count ? &t->row[i] : NULL;
}

bool clg__tuned_same(clg__choice a, clg__choice b)
{
    return a.engine == b.engine && a.m == b.m && a.n == b.n && a.k == b.k && a.pack_b == b.pack_b;
}

static bool put(clg__tuned *t, clg__tuned_row row)
{
    const size_t i = find(t, &row);
    if (i == CLG__TUNED_CLASSES) return false;
    t->row[i] = row;
    t->count = CLG__MAX(t->count, i + 1);
    return true;
}

void clg__tuned_keep(clg__tuned *t, const clg__gemm *gemm, clg__choice choice, uint8_t next)
{
    clg__tuned_row row = class_of(gemm);
    row.choice = choice;
    row.next = next;
    put(t, row);
}

int clg__tuned_count(const clg__tuned *t)
{
    int count = 0;
    for (size_t i = 0; i < t->count; i++) count += !clg__tuned_same(t->row[i].choice, (clg__choice){0});
    for (int k = 0; k < CLG__CLBLAST_KERNELS; k++) count += t->set[k] >= 0;
    return count;
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

/* All that choices depend on. */
static clg__text identity(const clg_device_list *list, const clg_device_info *info)
{
    char      profile[256];
    clg__text text = {0};
    clg__text_append(&text, "device %s\ndriver %s\nversion %s\nplatform %s\nclgrad %s\nprofile %s\n", info->name,
                     info->driver, info->version, list->platforms[info->platform].version, clg_version(),
                     clg_profile_text(&info->profile, profile, sizeof profile));
    return text;
}

static char *path_of(const char *dir, const clg__text *identity)
{
    clg__text path = {0};
    if (dir && identity->data)
        clg__text_append(&path, "%s/tuning-%016llx.txt", dir,
                         (unsigned long long)clg__hash(0, identity->data, identity->size));
    return path.data;
}

clg__text clg__tuned_checksum(const void *data, size_t size)
{
    clg__text line = {0};
    clg__text_append(&line, "clgrad-tuning 1 %016llx\n", (unsigned long long)clg__hash(0, data, size));
    return line;
}

/* Only sets that the library knows: the text of one of them, as a whole. */
static bool parse_set(clg__tuned *t, const char *line)
{
    char text[256], want[320];
    for (int i = 0; i < clg__clblast_sets(); i++) {
        const int kernel = clg__clblast_kernel_of(i);
        snprintf(want, sizeof want, "clblast %s %s", clg__clblast_kernel_name(kernel),
                 clg__clblast_set_text(i, text, sizeof text));
        if (strcmp(line, want) != 0) continue;
        t->set[kernel] = i;
        return true;
    }
    return clg__clblast_sets() == 0 && strncmp(line, "clblast ", 8) == 0; /* of a build with CLBlast */
}

static bool within_limits(const clg_profile *profile, const clg__choice *c)
{
    const struct {
        const char *name;
        uint32_t    value;
    } tile[] = {{"tile_m", c->m}, {"tile_n", c->n}, {"tile_k", c->k}};
    for (size_t i = 0; i < CLG__COUNT(tile); i++) {
        char        text[32];
        clg_profile changed = *profile;
        snprintf(text, sizeof text, "%s=%u", tile[i].name, tile[i].value);
        if (tile[i].value > 0 && clg_profile_parse(&changed, text, NULL, 0) != CLG_OK) return false;
    }
    return !c->m == !c->n && c->pack_b <= 2;
}

static bool parse_line(clg__tuned *t, const clg_profile *profile, const char *line)
{
    char           a, b, batch[8], engine[16];
    unsigned       m, n, k, e = 0, next = 0;
    int            end = 0, further = 0;
    clg__tuned_row row = {0};
    clg__choice   *c = &row.choice;
    if (strncmp(line, "gemm ", 5) != 0) return parse_set(t, line);
    if (sscanf(line, "gemm %c%c %7s %2u %2u %2u %15s %4u %4u %4u %1u%n next %2u%n", &a, &b, batch, &m, &n, &k, engine, &c->m,
               &c->n, &c->k, &c->pack_b, &end, &next, &further) < 11)
        return false;
    if (line[CLG__MAX(end, further)] || (further > 0 && (next == 0 || next > LARGEST_NEXT))) return false;
    while (e < CLG__COUNT(engines) && strcmp(engine, engines[e]) != 0) e++;
    if (e == CLG__COUNT(engines) || m > LARGEST_LOG || n > LARGEST_LOG || k > LARGEST_LOG || !within_limits(profile, c))
        return false;
    c->engine = (clg__gemm_engine)e;
    row.trans_a = a == 'T', row.trans_b = b == 'T', row.batched = strcmp(batch, "batched") == 0;
    row.m = (uint8_t)m, row.n = (uint8_t)n, row.k = (uint8_t)k, row.next = (uint8_t)next;
    return put(t, row);
}

static bool parse_lines(clg__tuned *t, const clg_profile *profile, char *at)
{
    for (char *end; *at; at = end + 1) {
        end = strchr(at, '\n');
        if (!end) return false;
        *end = '\0';
        if (!parse_line(t, profile, at)) return false;
    }
    return true;
}

bool clg__tuned_parse(clg__tuned *t, const clg_profile *profile, const clg__text *identity, const uint8_t *bytes, size_t size)
{
    const uint8_t *first = size < LARGEST_FILE && !memchr(bytes, '\0', size) ? memchr(bytes, '\n', size) : NULL;
    if (!first) return false;
    const size_t head = (size_t)(first + 1 - bytes), body = size - head;
    clg__text    line = clg__tuned_checksum(first + 1, body), lines = {0};
    if (line.size == head && memcmp(line.data, bytes, head) == 0 && body >= identity->size &&
        memcmp(first + 1, identity->data, identity->size) == 0)
        clg__text_append(&lines, "%.*s", (int)(body - identity->size), (const char *)first + 1 + identity->size);
    const bool good = lines.data && parse_lines(t, profile, lines.data);
    clg__text_free(&line);
    clg__text_free(&lines);
    return good;
}

/* False: there is a file, and it cannot be used. */
static bool load(clg__tuned *t, const clg_profile *profile, const clg__text *identity)
{
    clg__root root = {0};
    uint8_t  *bytes = NULL;
    size_t    size = 0;
    if (!t->path || (access(t->path, F_OK) != 0 && errno == ENOENT)) return true;
    const bool usable = clg__file_load(&root, t->path, &bytes, &size) == CLG_OK &&
                        clg__tuned_parse(t, profile, identity, bytes, size);
    free(bytes);
    return usable;
}

static void forget(clg__tuned *t)
{
    t->count = 0;
    for (int k = 0; k < CLG__CLBLAST_KERNELS; k++) t->set[k] = -1;
}

clg_status clg__tuned_save(clg_context *ctx, const clg__tuned *t)
{
    if (!t->path)
        return clg__report(&ctx->root, CLG_IO, "there is no cache directory to keep choices in: neither $XDG_CACHE_HOME "
                           "nor $HOME names one that can be created, or the context was opened without a cache");
    clg__text body = identity(ctx->list, ctx->info);
    for (size_t i = 0; i < t->count; i++) {
        const clg__tuned_row *r = &t->row[i];
        clg__text_append(&body, "gemm %c%c %s %u %u %u %s %u %u %u %u", r->trans_a ? 'T' : 'N', r->trans_b ? 'T' : 'N',
                         r->batched ? "batched" : "single", r->m, r->n, r->k, engines[r->choice.engine], r->choice.m,
                         r->choice.n, r->choice.k, r->choice.pack_b);
        clg__text_append(&body, r->next ? " next %u\n" : "\n", r->next);
    }
    for (int k = 0; k < CLG__CLBLAST_KERNELS; k++) {
        char text[256];
        if (t->set[k] >= 0)
            clg__text_append(&body, "clblast %s %s\n", clg__clblast_kernel_name(k),
                             clg__clblast_set_text(t->set[k], text, sizeof text));
    }
    clg__text file = clg__tuned_checksum(body.data ? body.data : "", body.size);
    if (!body.failed) clg__text_append(&file, "%s", body.data);
    const clg_status status = body.failed || file.failed
                                  ? clg__report(&ctx->root, CLG_OUT_OF_MEMORY, "out of host memory while writing %s", t->path)
                                  : clg__file_replace(&ctx->root, t->path, (const uint8_t *)file.data, file.size);
    clg__text_free(&file);
    clg__text_free(&body);
    return status;
}

/* ---- contexts ---------------------------------------------------------------------------------------------------- */

static void destroy(clg__object *object)
{
    free(((clg__tuned *)object)->path);
    free(object);
}

static void use_sets(clg_context *ctx, const clg__tuned *t)
{
    if (!ctx->info->profile.clblast) return;
    for (int k = 0; k < CLG__CLBLAST_KERNELS; k++) {
        int set = t->set[k];
        for (size_t i = 0; set < 0 && i < CLG__COUNT(shipped_sets); i++)
            if (strcmp(shipped_sets[i].base, ctx->info->profile.base) == 0 && shipped_sets[i].vec == ctx->info->profile.vec)
                set = shipped_sets[i].set[k] - 1;
        if (set >= 0 && set < clg__clblast_sets()) clg__clblast_use(ctx, set);
    }
}

clg__tuned *clg__tuned_of(clg_context *ctx, bool use)
{
    if (ctx->tuned || !clg__usable(ctx)) return ctx->tuned;
    clg__tuned *t = clg__calloc(&ctx->root, 1, sizeof *t);
    if (!t) return NULL;
    clg__text what = identity(ctx->list, ctx->info);
    t->path = path_of(ctx->root.cache_dir, &what);
    forget(t);
    if (!load(t, &ctx->info->profile, &what)) {
        fprintf(stderr, "clgrad: %s is damaged or unreadable and is ignored; clgrad tune writes it anew\n", t->path);
        forget(t);
    }
    clg__text_free(&what);
    clg__adopt(&ctx->root, &t->object, destroy);
    ctx->tuned = t;
    if (use) use_sets(ctx, t);
    return t;
}

clg__choice clg__tuned_choice(clg_context *ctx, const clg__gemm *gemm)
{
    const clg__tuned *t = clg__tuned_of(ctx, true);
    if (!t) return (clg__choice){0};
    if (t->trial) return *t->trial;
    const clg__tuned_row *row = clg__tuned_find(t, gemm);
    return row ? row->choice : (clg__choice){0};
}

int clg_tuning_choices(const clg_device_list *list, const clg_device_info *device, char *file, size_t size)
{
    if (size > 0) file[0] = '\0';
    if (!list || !device) return 0;
    clg__text   what = identity(list, device);
    char       *dir = clg__cache_dir();
    clg__tuned *t = calloc(1, sizeof *t);
    int         count = 0;
    if (t && what.data) {
        forget(t);
        t->path = path_of(dir, &what);
        if (t->path) snprintf(file, size, "%s", t->path);
        if (load(t, &device->profile, &what)) count = clg__tuned_count(t);
        free(t->path);
    }
    free(t);
    free(dir);
    clg__text_free(&what);
    return count;
}
