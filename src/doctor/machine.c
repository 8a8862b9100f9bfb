/* machine.c - checks of a device that are not operators: bytes there and back, order between commands and queues, limits that
 * kernels rely on, programs kept on disk. */
#include "doctor/machine.h"
#include <clgrad/clgrad.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

clg_context *clg__doctor_open(clg_context *ctx, const char *profile, const char *quarantine, bool cache)
{
    char                   device[32], text[512];
    const clg_device_info *info = clg_context_device(ctx);
    snprintf(device, sizeof device, "%d:%d", info->platform, info->device);
    clg_profile_text(&info->profile, text, sizeof text);
    if (profile) snprintf(text + strlen(text), sizeof text - strlen(text), ",%s", profile);
    return clg_context_create(&(clg_context_desc){.device = device, .profile = text, .quarantine = quarantine, .no_cache = !cache});
}

/* ---- transfers --------------------------------------------------------------------------------------------------- */

static void draw_bytes(unsigned char *to, size_t size, uint64_t seed)
{
    for (size_t i = 0; i < size; i++) to[i] = (unsigned char)(clg_random_u32(seed, i / 4) >> 8 * (i % 4));
}

/* Odd sizes at odd offsets, smaller and larger than what is staged; nothing beside them may change. */
static int transfers(clg_context *ctx, uint64_t seed, bool quick, clg__text *fault)
{
    static const size_t sizes[] = {1, 3, 5, 17, 255, 4097, 65537, (1 << 20) + 7}, offsets[] = {0, 1, 3, 13, 4095};
    const size_t        whole = (1 << 20) + 8209;
    clg__root          *root = clg__context_root(ctx);
    int                 tried = 0;
    clg__buffer        *buffer = clg__buffer_create(ctx, whole, "a buffer to examine transfers");
    unsigned char      *expected = clg__calloc(root, 1, whole + 1), *got = clg__calloc(root, 1, whole + 1);
    if (buffer && expected && got) draw_bytes(expected, whole, seed);
    clg__buffer_write(ctx, buffer, 0, expected, whole);
    for (size_t i = 0; i < CLG__COUNT(sizes) && clg_context_status(ctx) == CLG_OK && !fault->size; i++) {
        for (size_t j = quick ? CLG__COUNT(offsets) - 2 : 0; j < CLG__COUNT(offsets); j++, tried++) {
            const size_t at = offsets[j], size = sizes[i];
            draw_bytes(expected + at, size, seed + (uint64_t)tried + 1);
            clg__buffer_write(ctx, buffer, at, expected + at, size);
            clg__buffer_read(ctx, buffer, at, got + 1, size);
            if (memcmp(got + 1, expected + at, size) != 0 && !fault->size)
                clg__text_append(fault, "%zu bytes written at offset %zu come back otherwise", size, at);
        }
        clg__buffer_read(ctx, buffer, 0, got, whole);
        if (memcmp(got, expected, whole) != 0 && !fault->size)
            clg__text_append(fault, "writing %zu bytes changed others", sizes[i]);
    }
    free(expected);
    free(got);
    clg__buffer_destroy(&buffer);
    return tried;
}

/* ---- queues ------------------------------------------------------------------------------------------------------ */

/* s = x - s, many times without waiting, x written between the steps by the main queue or from a second one. */
static int queues(clg_context *ctx, uint64_t seed, bool quick, clg__text *fault)
{
    enum { N = 1003 };
    const int   steps = quick ? 32 : 256;
    clg_graph  *g = clg_graph_create(ctx, NULL);
    float       x[N], s[N], got[N];
    int         tried = 0;
    for (int second = 0; second < 2 && !clg_context_failed(ctx) && !fault->size; second++) {
        clg_tensor *in = clg_input(g, CLG_F32, CLG_SHAPE(N)), *state = clg_state(g, CLG_F32, CLG_SHAPE(N));
        clg_plan   *plan = clg_plan_create(clg_assign(state, clg_sub(in, state)));
        clg_upload *upload = second && plan ? clg_upload_create(in) : NULL;
        memset(s, 0, sizeof s);
        for (int t = 0; t < steps && !clg_context_failed(ctx); t++, tried++) {
            for (int i = 0; i < N; i++) x[i] = (float)(clg_random_u32(seed + (uint64_t)t, (uint64_t)i) % 9), s[i] = x[i] - s[i];
            void *pinned = clg_upload_memory(upload);
            if (pinned) {
                memcpy(pinned, x, sizeof x);
                clg_upload_send(upload);
                clg_upload_acquire(upload);
            } else {
                clg_tensor_write(in, x, sizeof x);
            }
            clg_plan_run(plan);
            clg_upload_release(upload);
        }
        if (!clg_context_failed(ctx)) clg_tensor_read(state, got, sizeof got);
        for (int i = 0; i < N && !clg_context_failed(ctx) && !fault->size; i++)
            if (got[i] != s[i])
                clg__text_append(fault, "after %d steps, with x from %s: s[%d] is %g instead of %g", steps,
                                 second ? "a second queue" : "the same queue", i, (double)got[i], (double)s[i]);
        clg_upload_destroy(&upload);
        clg_plan_destroy(&plan);
    }
    clg_graph_destroy(&g);
    return tried;
}

/* ---- limits ------------------------------------------------------------------------------------------------------ */

static const char limits_source[] =
    "kernel void limits(TENSOR(out), local uint *shared, uint words)\n"
    "{\n"
    "    const uint size = (uint)get_local_size(0), me = (uint)get_local_id(0);\n"
    "    uint sum = 0;\n"
    "    out += out_at;\n"
    "    for (uint j = me; j < words; j += size) shared[j] = j * 2654435761u;\n"
    "    barrier(CLK_LOCAL_MEM_FENCE);\n"
    "    for (uint j = size - 1 - me; j < words; j += size) sum += shared[j] >> 20;\n"
    "    out[get_global_id(0)] = (float)sum;\n"
    "}\n";

/* Groups of `size` items that share `words` of local memory: every item sums what another one wrote. */
static void share(clg_context *ctx, size_t size, uint32_t words, clg__text *fault)
{
    enum { GROUPS = 3 };
    float           got[GROUPS * 256] = {0};
    clg__buffer    *out = clg__buffer_create(ctx, sizeof got, "a buffer to examine limits");
    const clg__value args[] = {{.kind = CLG__SPAN, .span = {out, 0}}, {.kind = CLG__LOCAL, .local_bytes = words * 4},
                               {.kind = CLG__U32, .u32 = words}};
    clg__kernel *kernel = clg__kernel_create(ctx, &(clg__kernel_desc){
        .program = clg__program_get(ctx, &(clg__program_desc){.source = limits_source}), .name = "limits", .args = args,
        .arg_count = CLG__COUNT(args), .groups = {GROUPS}, .local = {size, 1, 1}});
    clg__buffer_write(ctx, out, 0, got, sizeof got);
    clg__kernel_enqueue(ctx, kernel);
    clg__buffer_read(ctx, out, 0, got, GROUPS * size * sizeof *got);
    for (size_t i = 0; i < GROUPS * size && !clg_context_failed(ctx) && !fault->size; i++) {
        uint32_t sum = 0;
        for (uint32_t j = (uint32_t)(size - 1 - i % size); j < words; j += (uint32_t)size) sum += (j * 2654435761u) >> 20;
        if (got[i] != (float)sum)
            clg__text_append(fault, "groups of %zu items do not share %u bytes of local memory: item %zu has %g instead of %u", size,
                             words * 4, i, (double)got[i], sum);
    }
    clg__kernel_destroy(&kernel);
    clg__buffer_destroy(&out);
}

/* A buffer of `bytes` keeps what is written to its ends and its middle. */
static void allocate(clg_context *ctx, size_t bytes, clg__text *fault)
{
    clg__buffer *buffer = clg__buffer_create(ctx, bytes, "the largest buffer that is allowed");
    const size_t at[] = {0, bytes / 2 + 1, bytes - 8};
    for (size_t i = 0; buffer && i < CLG__COUNT(at); i++) clg__buffer_write(ctx, buffer, at[i], &(uint64_t){0x5eed + i}, 8);
    for (size_t i = 0; buffer && i < CLG__COUNT(at); i++) {
        uint64_t got = 0;
        clg__buffer_read(ctx, buffer, at[i], &got, 8);
        if (got != 0x5eed + i && !fault->size)
            clg__text_append(fault, "a buffer of %zu bytes does not keep what is written at %zu", bytes, at[i]);
    }
    clg__buffer_destroy(&buffer);
}

static int limits(clg_context *ctx, uint64_t seed, bool quick, clg__text *fault)
{
    enum { MOST_LOCAL = 32768, LEAST = 1 << 20, QUICK = 64 << 20 };
    const clg_device_info *info = clg_context_device(ctx);
    const uint64_t         most = CLG__MIN(info->max_allocation, info->memory / 4);
    const uint32_t         words = (uint32_t)CLG__MIN(info->local_memory, MOST_LOCAL) / 4;
    const size_t           sizes[] = {1, info->profile.wg, CLG__MIN(info->max_work_group, 256)};
    (void)seed;
    if (info->max_work_group < info->profile.wg || words == 0 || most < LEAST)
        clg__text_append(fault, "work-groups to %zu items, %llu bytes of local memory, allocations to %llu bytes: too little",
                         info->max_work_group, (unsigned long long)info->local_memory, (unsigned long long)info->max_allocation);
    for (size_t i = 0; i < CLG__COUNT(sizes) && !fault->size; i++) share(ctx, sizes[i], words, fault);
    if (!fault->size) allocate(ctx, quick ? CLG__MIN(most, QUICK) : most, fault);
    return (int)CLG__COUNT(sizes) + 1;
}

/* ---- programs on disk -------------------------------------------------------------------------------------------- */

/* In a directory of its own: what a program wrote, and the counters of a context that had to have it. */
static float remembered(clg_context *ctx, const char *dir, uint64_t seed, clg_counters *counters, clg__text *fault)
{
    float        got = -1.0f;
    clg__text    source = {0};
    clg_context *own = clg__doctor_open(ctx, NULL, "", false);
    clg__buffer *out = clg__buffer_create(own, sizeof got, "a buffer to examine the cache");
    const clg__value arg = {.kind = CLG__SPAN, .span = {out, 0}};
    clg__text_append(&source, "kernel void remember(TENSOR(out)) { out[out_at] = (float)%u; }\n", clg_random_u32(seed, 0) >> 8);
    if (!clg_context_failed(own)) clg__context_root(own)->cache_dir = strdup(dir);
    clg__kernel *kernel = clg__kernel_create(own, &(clg__kernel_desc){
        .program = clg__program_get(own, &(clg__program_desc){.source = source.data}), .name = "remember", .args = &arg,
        .arg_count = 1, .groups = {1}, .local = {1, 1, 1}});
    clg__kernel_enqueue(own, kernel);
    clg__buffer_read(own, out, 0, &got, sizeof got);
    if (clg_context_failed(own) && !fault->size) clg__text_append(fault, "%s", clg_context_error(own));
    *counters = clg_context_counters(own);
    clg__kernel_destroy(&kernel);
    clg__buffer_destroy(&out);
    clg_context_destroy(&own);
    clg__text_free(&source);
    return got;
}

typedef enum deed { COUNT, DAMAGE, REMOVE } deed;

static void flip_a_bit(const char *path, uint64_t seed)
{
    FILE *file = fopen(path, "r+b");
    if (file && fseek(file, 0, SEEK_END) == 0 && ftell(file) > 0) {
        const long at = (long)(clg_random_u32(seed, 0) % (uint64_t)ftell(file));
        fseek(file, at, SEEK_SET);
        const int byte = fgetc(file);
        fseek(file, at, SEEK_SET);
        fputc(byte ^ 1 << (seed & 7), file);
    }
    if (file) fclose(file);
}

/* To every file in the directory; how many there are. */
static int each_file(const char *path, deed what, uint64_t seed)
{
    DIR *dir = opendir(path);
    int  count = 0;
    for (const struct dirent *d; dir && (d = readdir(dir));) {
        if (d->d_name[0] == '.') continue;
        clg__text name = {0};
        clg__text_append(&name, "%s/%s", path, d->d_name);
        count++;
        if (name.data && what == DAMAGE) flip_a_bit(name.data, seed + (uint64_t)count);
        if (name.data && what == REMOVE) unlink(name.data);
        clg__text_free(&name);
    }
    if (dir) closedir(dir);
    return count;
}

static void check_stage(int stage, const char *dir, clg_counters c, clg__text *fault)
{
    if (stage == 0 && each_file(dir, COUNT, 0) == 0)
        clg__text_append(fault, "a program was not kept in %s: every run compiles all its kernels", dir);
    else if (stage == 1 && c.program_loads != 1)
        clg__text_append(fault, "a kept program was not loaded again: every run compiles all its kernels");
    else if (stage == 2 && c.program_loads != 0)
        clg__text_append(fault, "a damaged program was loaded");
}

static int cache(clg_context *ctx, uint64_t seed, bool quick, clg__text *fault)
{
    static const char *const stages[] = {"a fresh", "a kept", "a damaged"};
    clg__text    path = {0};
    char        *dir = clg__cache_dir();
    clg_counters counters = {0};
    int          tried = 0;
    const float  expected = (float)(clg_random_u32(seed, 0) >> 8);
    (void)quick;
    clg__text_append(&path, "%s/doctor-XXXXXX", dir ? dir : "");
    if (!dir) clg__text_append(fault, "there is no cache directory: every run compiles all its kernels");
    else if (!path.data || !mkdtemp(path.data)) clg__text_append(fault, "%s cannot be written to", dir);
    const bool made = !fault->size;
    for (; tried < (int)CLG__COUNT(stages) && !fault->size; tried++) {
        if (tried == 2) each_file(path.data, DAMAGE, seed);
        const float got = remembered(ctx, path.data, seed, &counters, fault);
        if (!fault->size && got != expected)
            clg__text_append(fault, "%s program computes %g instead of %g", stages[tried], (double)got, (double)expected);
        if (!fault->size) check_stage(tried, path.data, counters, fault);
    }
    if (made) each_file(path.data, REMOVE, 0), rmdir(path.data);
    clg__text_free(&path);
    free(dir);
    return tried;
}

const clg__machine_check clg__machine_checks[] = {
    {"products", clg__doctor_products},
    {"clblast", clg__doctor_clblast},
    {"transfers", transfers},
    {"queues", queues},
    {"limits", limits},
    {"cache", cache},
    {0},
};
