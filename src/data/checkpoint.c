/* checkpoint.c - a training to and from a file: the entries of its model under their own names, then
 * "optimizer.<state>", "graph.<i>" for the i-th of the graph's updates (running statistics are there twice: they are
 * the model's states too), and the program's arrays; the optimiser's position is metadata. */
#include "data/entries.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POSITIONS = 3 };
static const char *const position_keys[POSITIONS] = {"optimizer.steps", "optimizer.scheduled", "optimizer.lr"};

/* All values, named by texts in `arena`; false when out of memory or something is missing, which is reported. */
static bool list(const clg_checkpoint *c, clg__entries *e, clg__arena *names)
{
    clg__root *root = (clg__root *)clg_model_context(c->model);
    *e = (clg__entries){.root = root, .of = "training", .strict = true};
    bool good = clg__entries_add_model(e, c->model);
    for (size_t i = 0; good && i < clg_optimizer_state_count(c->optimizer); i++) {
        clg_tensor *t = clg_optimizer_state(c->optimizer, i);
        good = clg__entries_add(
            e, (clg__entry){.name = clg__arena_printf(names, "optimizer.%s", clg_tensor_name(t)), .tensor = t});
    }
    for (size_t i = 0; good && i < clg_graph_update_count(c->graph); i++)
        good = clg__entries_add(
            e, (clg__entry){.name = clg__arena_printf(names, "graph.%zu", i), .tensor = clg_graph_update(c->graph, i)});
    for (size_t i = 0; good && i < c->array_count; i++)
        good = clg__entries_add(e, (clg__entry){.name = c->arrays[i].name,
                                                .tensor = c->arrays[i].tensor,
                                                .value = c->arrays[i].value,
                                                .shape = c->arrays[i].shape});
    for (size_t i = 0; good && i < e->count; i++) {
        clg__entry *entry = &e->at[i];
        if (entry->tensor)
            entry->dtype = clg_tensor_dtype(entry->tensor), entry->shape = clg_tensor_shape(entry->tensor);
        good = entry->name && *entry->name && clg_shape_count(entry->shape) >= 0 &&
               clg__safetensors_dtype(entry->dtype) &&
               (entry->model || entry->value || (entry->tensor && clg_tensor_storage_id(entry->tensor)));
        if (!good)
            clg__report(root, CLG_INVALID_ARGUMENT,
                        "checkpoint: value %zu%s%s has no name, no values, or another type than f32 and i32", i,
                        entry->name ? ", " : "", entry->name ? entry->name : "");
    }
    return good;
}

static clg_status ready(const clg_checkpoint *c, const char *path)
{
    if (!c || !c->model) return CLG_INVALID_ARGUMENT;
    clg_context *ctx = clg_model_context(c->model);
    if (clg_context_failed(ctx)) return clg_context_status(ctx);
    if (!path || (c->array_count && !c->arrays))
        return clg__report((clg__root *)ctx, CLG_INVALID_ARGUMENT, "checkpoint: no path or no arrays given");
    return CLG_OK;
}

clg_status clg_checkpoint_save(const clg_checkpoint *c, const char *path, const clg_metadata *meta, size_t count)
{
    clg_status status = ready(c, path);
    if (status) return status;
    clg__root     *root = (clg__root *)clg_model_context(c->model);
    const clg_optimizer_position at = clg_optimizer_tell(c->optimizer);
    char           text[POSITIONS][32];
    clg__entries   e;
    clg__arena     names = {0};
    clg_metadata  *all = calloc(POSITIONS + count, sizeof *all);
    if (!all || (count && !meta)) {
        free(all);
        return clg__report(root, all ? CLG_INVALID_ARGUMENT : CLG_OUT_OF_MEMORY,
                           "%s: no metadata, or no memory for them", path);
    }
    snprintf(text[0], sizeof text[0], "%llu", (unsigned long long)at.steps);
    snprintf(text[1], sizeof text[1], "%llu", (unsigned long long)at.scheduled);
    snprintf(text[2], sizeof text[2], "%.17g", at.lr);
    for (size_t i = 0; i < POSITIONS; i++) all[i] = (clg_metadata){position_keys[i], text[i]};
    if (count) memcpy(all + POSITIONS, meta, count * sizeof *meta);
    const size_t skipped = c->optimizer ? 0 : POSITIONS;
    status = list(c, &e, &names) ? clg__entries_save(&e, path, all + skipped, POSITIONS + count - skipped)
                                 : CLG_INVALID_ARGUMENT;
    clg__entries_free(&e);
    clg__arena_free(&names);
    free(all);
    return status;
}

/* The optimiser's position in the file's metadata. */
static bool read_position(const clg__safetensors *file, clg_optimizer_position *at)
{
    const char *text[POSITIONS];
    char       *end[POSITIONS];
    for (int i = 0; i < POSITIONS; i++)
        if (!(text[i] = clg__safetensors_metadata(file, position_keys[i])) || !*text[i]) return false;
    errno = 0;
    at->steps = strtoull(text[0], &end[0], 10);
    at->scheduled = strtoull(text[1], &end[1], 10);
    at->lr = strtod(text[2], &end[2]);
    return !errno && !*end[0] && !*end[1] && !*end[2] && at->scheduled <= at->steps && isfinite(at->lr);
}

clg_status clg_checkpoint_load(const clg_checkpoint *c, const char *path)
{
    clg_status status = ready(c, path);
    if (status) return status;
    clg__root       *root = (clg__root *)clg_model_context(c->model);
    clg__safetensors file;
    uint8_t         *bytes = NULL;
    clg__entries     e;
    clg__arena       names = {0};
    clg_optimizer_position at = {0};
    status = clg__file_open(root, path, &bytes, &file);
    if (status) return status;
    status = list(c, &e, &names) ? clg__entries_check(&e, path, &file) : CLG_INVALID_ARGUMENT;
    if (!status && c->optimizer && !read_position(&file, &at))
        status = clg__report(root, CLG_FORMAT, "%s: does not say where its optimizer is", path);
    if (!status) status = clg__entries_load(&e, &file, NULL);
    if (!status) clg_optimizer_seek(c->optimizer, at);
    clg__entries_free(&e);
    clg__arena_free(&names);
    clg__safetensors_free(&file);
    free(bytes);
    return status;
}
