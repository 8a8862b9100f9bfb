/* program.c - programs: put together from their parts, built once per context, taken from the disk when they can be.
 *
 * Every program is compiled as OpenCL C 1.2, the floor that every usable device reaches, without fast-math. A #line
 * before each part makes a build log name the file and line that it is about. */
#include "device/cl_types.h"
#include "device/embedded.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Builders (builder_main.c) ask kernels what arguments they take. */
const char clg__build_options[] = "-cl-std=CL1.2 -cl-kernel-arg-info";

static void destroy_program(clg__object *object)
{
    clg__program *program = (clg__program *)object;
    if (program->cl) clReleaseProgram(program->cl);
    free(program->source);
    free(program->title);
    clg__text_free(&program->names);
    free(program);
}

/* ---- source ------------------------------------------------------------------------------------------------------ */

static clg_status append_file(clg_context *ctx, clg__text *text, const char *dir, const char *unit)
{
    char      piece[4096];
    clg__text path = {0};
    clg__text_append(&path, "%s/%s.cl", dir, unit);
    FILE *file = path.data ? fopen(path.data, "rb") : NULL;
    if (!file)
        clg__fail(&ctx->root, CLG_IO, "CLGRAD_CL_DIR: %s: %s", path.data ? path.data : unit, strerror(errno));
    clg__text_free(&path);
    if (!file) return CLG_IO;
    for (size_t size; (size = fread(piece, 1, sizeof piece, file)) > 0;)
        clg__text_append(text, "%.*s", (int)size, piece);
    const bool bad = ferror(file);
    fclose(file);
    return bad ? clg__fail(&ctx->root, CLG_IO, "CLGRAD_CL_DIR: cannot read %s/%s.cl", dir, unit) : CLG_OK;
}

static clg_status append_unit(clg_context *ctx, clg__text *text, const char *unit)
{
    const char *dir = getenv("CLGRAD_CL_DIR");
    clg__text_append(text, "#line 1 \"cl/%s.cl\"\n", unit);
    if (dir && *dir) return append_file(ctx, text, dir, unit);
    for (const struct clg__embedded *e = clg__embedded; e->name; e++) {
        if (strcmp(e->name, unit) != 0) continue;
        clg__text_append(text, "%s", e->text);
        return CLG_OK;
    }
    return clg__fail(&ctx->root, CLG_INTERNAL, "there is no cl/%s.cl in this library", unit);
}

clg_status clg__units_read(clg_context *ctx)
{
    clg_status status = CLG_OK;
    for (const struct clg__embedded *e = clg__embedded; e->name && status == CLG_OK; e++) {
        clg__text text = {0};
        status = append_unit(ctx, &text, e->name);
        clg__text_free(&text);
    }
    return status;
}

static clg_status assemble(clg_context *ctx, clg__text *text, const clg__program_desc *desc)
{
    const clg_profile *profile = &ctx->info->profile;
    clg__text_append(text, "#define WG %u\n#define VEC %u\n", profile->wg, profile->vec);
    if (ctx->slow_fma) clg__text_append(text, "#define SLOW_FMA\n");
    if (desc->defines) clg__text_append(text, "#line 1 \"defines\"\n%s\n", desc->defines);
    clg_status status = append_unit(ctx, text, "prelude");
    clg__text_append(text, "\n");
    if (desc->unit && status == CLG_OK) status = append_unit(ctx, text, desc->unit);
    if (desc->source) clg__text_append(text, "\n#line 1 \"generated\"\n%s\n", desc->source);
    if (text->failed) return clg__fail(&ctx->root, CLG_OUT_OF_MEMORY, "out of host memory while assembling a program");
    return status;
}

/* ---- building ---------------------------------------------------------------------------------------------------- */

static void keep_build_log(clg_context *ctx, cl_program program)
{
    size_t size = 0;
    clGetProgramBuildInfo(program, ctx->device, CL_PROGRAM_BUILD_LOG, 0, NULL, &size);
    char *log = calloc(1, size + 1);
    if (log && size > 0) clGetProgramBuildInfo(program, ctx->device, CL_PROGRAM_BUILD_LOG, size, log, NULL);
    free(ctx->root.build_log);
    ctx->root.build_log = log;
}

/* How much of a log goes into the error's text: some lines, as a whole. */
static int first_lines(const char *log)
{
    const char *end = log;
    for (int lines = 0; lines < 12; lines++) {
        const char *newline = strchr(end, '\n');
        if (!newline) return (int)CLG__MIN(strlen(log), (size_t)1500);
        if (newline - log > 1500) break;
        end = newline + 1;
    }
    return (int)(end - log);
}

/* Asked once for all programs that are built together, and of one that did not build. */
static bool may_build(clg_context *ctx, const char *title)
{
    char fault[1024];
    clg__driver_fault(ctx->list, ctx->info->platform, fault, sizeof fault);
    if (*fault) clg__fail(&ctx->root, CLG_BUILD, "%s did not build: %s", title, fault);
    return !*fault;
}

static clg_status build(clg_context *ctx, clg__program *program)
{
    const char *source = program->source;
    cl_int      code = CL_SUCCESS;
    program->cl = clCreateProgramWithSource(ctx->cl, 1, &source, NULL, &code);
    if (!program->cl) return clg__cl_fail(ctx, code, "%s: cannot create a program", program->title);
    const double start = clg__seconds();
    code = clBuildProgram(program->cl, 1, &ctx->device, clg__build_options, NULL, NULL);
    clg__trace_host(ctx, program->title, start);
    if (code == CL_SUCCESS) {
        ctx->counters.program_builds++;
        return CLG_OK;
    }
    keep_build_log(ctx, program->cl);
    ctx->root.cl_code = code;
    if (!may_build(ctx, program->title)) return CLG_BUILD;
    const char *log = clg_context_build_log(ctx);
    return clg__fail(&ctx->root, CLG_BUILD, "%s did not build on %s: %s (%d)\n%.*s", program->title, ctx->info->name,
                     clg__cl_name(code), code, first_lines(log), log);
}

/* The compiler sees this file and nothing else, but for `options`. */
static clg_status dump(clg_context *ctx, const char *unit, const char *source, uint64_t key)
{
    clg__text path = {0};
    clg__text_append(&path, "%s/%s-%016llx.cl", ctx->dump_dir, unit ? unit : "generated", (unsigned long long)key);
    FILE *file = path.data ? fopen(path.data, "wb") : NULL;
    bool  ok = file && fputs(source, file) >= 0;
    if (file) ok = !fclose(file) && ok;
    if (!ok) clg__fail(&ctx->root, CLG_IO, "cannot write %s: %s", path.data ? path.data : unit, strerror(errno));
    clg__text_free(&path);
    return ok ? CLG_OK : CLG_IO;
}

static bool load(clg_context *ctx, clg__program *program)
{
    program->cl = clg__binary_load(ctx, program->source, &program->known);
    if (program->cl) ctx->counters.program_loads++;
    return program->cl != NULL;
}

static clg_status make(clg_context *ctx, clg__program *program)
{
    if (load(ctx, program)) return CLG_OK;
    if (build(ctx, program) != CLG_OK) return ctx->root.status;
    program->unsaved = true;
    if (!program->known) clg__binary_mark(ctx, program->source);
    return CLG_OK;
}

/* Takes over both texts; fails the context when one of them, or memory, failed. */
static clg__program *new_program(clg_context *ctx, clg__text *source, clg__text *title)
{
    clg__program *program = source->failed || title->failed ? NULL : clg__calloc(&ctx->root, 1, sizeof *program);
    if (!program) {
        clg__fail(&ctx->root, CLG_OUT_OF_MEMORY, "out of host memory while building a program");
        clg__text_free(source);
        clg__text_free(title);
        return NULL;
    }
    clg__adopt(&ctx->root, &program->object, destroy_program);
    program->source = source->data;
    program->title = title->data;
    program->key = clg__hash(0, source->data, source->size);
    program->next = ctx->programs;
    ctx->programs = program;
    return program;
}

static void drop(clg_context *ctx, clg__program *program)
{
    clg__program **at = &ctx->programs;
    while (*at != program) at = &(*at)->next;
    *at = program->next;
    clg__destroy(&program->object);
}

clg__program *clg__program_get(clg_context *ctx, const clg__program_desc *desc)
{
    if (!clg__usable(ctx)) return NULL;
    clg__text source = {0}, title = {0};
    if (assemble(ctx, &source, desc) != CLG_OK) {
        clg__text_free(&source);
        return NULL;
    }
    const uint64_t key = clg__hash(0, source.data, source.size);
    for (clg__program *p = ctx->programs; p; p = p->next) {
        if (p->key != key || strcmp(p->source, source.data) != 0) continue;
        clg__text_free(&source);
        return p;
    }
    if (ctx->dump_dir && dump(ctx, desc->unit, source.data, key) != CLG_OK) {
        clg__text_free(&source);
        return NULL;
    }
    if (desc->unit) clg__text_append(&title, "cl/%s.cl", desc->unit);
    else clg__text_append(&title, "a generated program");
    clg__program *program = new_program(ctx, &source, &title);
    if (!program || ctx->deferring || (may_build(ctx, program->title) && make(ctx, program) == CLG_OK)) return program;
    drop(ctx, program);
    return NULL;
}

/* ---- many at once ------------------------------------------------------------------------------------------------ */

enum { BUNDLES = 2, LEAST_TO_BUNDLE = 4 }; /* a few are rather shared with other plans, one by one */

/* Every `step`-th of `members` from the first one on, in one program. */
static clg__program *bundle(clg_context *ctx, clg__program *const *members, size_t count, size_t step)
{
    clg__text source = {0}, title = {0}, all = {0};
    unsigned  number = 0;
    clg__text_append(&title, "a bundle of programs");
    for (size_t i = 0; i < count; i += step) {
        const clg__text *names = &members[i]->names;
        clg__bundle_append(&source, members[i]->source, ++number);
        for (size_t at = 0; at < names->size; at += strlen(names->data + at) + 1)
            clg__text_append(&all, "%s_k%u%c", names->data + at, number, '\0');
    }
    clg__program *program = new_program(ctx, &source, &title);
    if (program) program->names = all;
    else clg__text_free(&all);
    return program;
}

/* What failed here is tried again, one by one, and fails there with a text that names it. */
static bool make_quietly(clg_context *ctx, clg__program *program)
{
    if (make(ctx, program) == CLG_OK) return true;
    clg_context_clear_error(ctx);
    if (program->cl) clReleaseProgram(program->cl);
    program->cl = NULL;
    return false;
}

static void made_elsewhere(clg_context *ctx, clg__program *program)
{
    if (!program->cl) make_quietly(ctx, program);
}

/* Loads those that it can, and has builders see to those that the driver does not know. */
static void prepare(clg_context *ctx, clg__program *const *programs, size_t count)
{
    clg__program **strange = clg__calloc(&ctx->root, count, sizeof *strange);
    size_t         found = 0;
    for (size_t i = 0; strange && i < count; i++)
        if (!load(ctx, programs[i]) && !programs[i]->known) strange[found++] = programs[i];
    if (found > 0 && ctx->root.cache_dir) clg__builders_run(ctx, strange, found, made_elsewhere);
    free(strange);
}

static void build_bundles(clg_context *ctx, clg__program *const *members, size_t count)
{
    clg__program *bundles[BUNDLES];
    for (size_t b = 0; b < BUNDLES; b++)
        if (!(bundles[b] = bundle(ctx, members + b, count - b, BUNDLES))) return;
    prepare(ctx, bundles, BUNDLES);
    for (size_t b = 0; b < BUNDLES; b++) {
        if (!bundles[b]->cl && !make_quietly(ctx, bundles[b])) {
            drop(ctx, bundles[b]);
            continue;
        }
        for (size_t i = b; i < count; i += BUNDLES) {
            if (clRetainProgram(bundles[b]->cl) != CL_SUCCESS) continue;
            members[i]->cl = bundles[b]->cl;
            members[i]->number = (unsigned)(i / BUNDLES) + 1;
        }
    }
}

bool clg__programs_build(clg_context *ctx)
{
    size_t count = 0;
    for (const clg__program *p = ctx->programs; p; p = p->next) count += !p->cl;
    clg__program **members = clg__calloc(&ctx->root, count, sizeof *members);
    size_t         next = count;
    for (clg__program *p = ctx->programs; members && p; p = p->next) /* oldest first: the same bundles in every run */
        if (!p->cl) members[--next] = p;
    if (members && count > 0 && clg__usable(ctx) && may_build(ctx, members[0]->title))
        (count < LEAST_TO_BUNDLE ? prepare : build_bundles)(ctx, members, count);
    for (size_t i = 0; members && i < count; i++)
        if (!members[i]->cl && !(clg__usable(ctx) && make(ctx, members[i]) == CLG_OK)) drop(ctx, members[i]);
    free(members);
    return clg__usable(ctx);
}

/* Asked for a binary, pocl compiles every kernel once more, for any local size: a quarter of a second each, where
 * others take no time. So storing may take a tenth of the context's life and at least a second; what is left over is
 * stored by a later run, which builds it quickly out of the driver's own cache. */
void clg__programs_save(clg_context *ctx)
{
    const double start = clg__seconds(), end = start + fmax(1.0, 0.1 * (start - ctx->opened));
    for (clg__program *p = ctx->programs; p && clg__seconds() < end; p = p->next) {
        if (p->unsaved) clg__binary_store(ctx, p->source, p->cl);
        p->unsaved = false;
    }
}
