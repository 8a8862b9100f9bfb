/* value.c - values between host and device: storages, tensors, parameters; and the guards that tests put around memory. */
#include "plan/plan.h"
#include <clgrad/cl.h>
#include <stdlib.h>
#include <string.h>

static void release_buffer(clg__storage *s) { clg__buffer_destroy(&s->buffer); }

static clg_status allocate(clg__storage *s)
{
    clg_context *ctx = (clg_context *)s->root;
    s->sealed = true;
    s->buffer = clg__buffer_create(ctx, (size_t)s->count * clg_dtype_size(s->dtype), s->what);
    s->release = release_buffer;
    return s->buffer ? CLG_OK : clg_context_status(ctx);
}

clg_status clg__storage_ready(clg__storage *s)
{
    if (s->buffer) return CLG_OK;
    const size_t bytes = (size_t)s->count * clg_dtype_size(s->dtype);
    void        *first = clg__calloc(s->root, bytes ? bytes : 1, 1);
    if (!first) return CLG_OUT_OF_MEMORY;
    if (s->fill) s->fill(s, first);
    clg_status status = allocate(s);
    if (status == CLG_OK) status = clg__buffer_write((clg_context *)s->root, s->buffer, 0, first, bytes);
    free(first);
    return status;
}

/* The storage of t, which must have one, and the offset in it in bytes. NULL after failing the context. When
 * `overwritten` bytes are all of it, it needs no first values. */
static clg__storage *storage_of(const clg_tensor *t, const char *what, size_t *offset, size_t overwritten)
{
    const clg_tensor *base = clg__base_of(t);
    if (!base || clg_context_failed(base->graph->ctx)) return NULL;
    if (!base->storage) {
        clg__op_fail(t, what, CLG_INVALID_ARGUMENT,
                     "the tensor has no value: it is neither persistent nor an output of a plan made so far");
        return NULL;
    }
    *offset = (size_t)(base->offset + clg__view_offset(t)) * clg_dtype_size(base->dtype);
    clg__storage *s = base->storage;
    const bool    whole = !s->buffer && base->count == s->count && overwritten > 0 &&
                       overwritten == (size_t)s->count * clg_dtype_size(s->dtype);
    return (whole ? allocate(s) : clg__storage_ready(s)) == CLG_OK ? s : NULL;
}

/* The one way by which the host's values come into a storage that has some. */
static clg_status write_storage(clg__storage *s, size_t at, const void *data, size_t bytes)
{
    clg__storage_changed(s);
    return clg__buffer_write((clg_context *)s->root, s->buffer, at, data, bytes);
}

static clg_status transfer_size(const clg_tensor *t, const char *what, size_t bytes)
{
    const size_t whole = (size_t)t->count * clg_dtype_size(t->dtype);
    if (bytes == whole) return CLG_OK;
    clg__op_fail(t, what, CLG_INVALID_ARGUMENT, "%zu bytes for a tensor of %zu", bytes, whole);
    return CLG_INVALID_ARGUMENT;
}

clg_status clg_tensor_write(clg_tensor *t, const void *data, size_t bytes)
{
    size_t        at;
    clg__storage *s = storage_of(t, "write", &at, data ? bytes : 0);
    if (!s) return t ? clg_context_status(t->graph->ctx) : CLG_INVALID_ARGUMENT;
    const clg_status status = transfer_size(t, "write", bytes);
    return status == CLG_OK ? write_storage(s, at, data, bytes) : status;
}

clg_status clg_tensor_read(clg_tensor *t, void *data, size_t bytes)
{
    size_t        at;
    clg__storage *s = storage_of(t, "read", &at, 0);
    if (!s) return t ? clg_context_status(t->graph->ctx) : CLG_INVALID_ARGUMENT;
    const clg_status status = transfer_size(t, "read", bytes);
    return status == CLG_OK ? clg__buffer_read(t->graph->ctx, s->buffer, at, data, bytes) : status;
}

clg_upload *clg_upload_create(clg_tensor *t)
{
    size_t        at;
    clg__storage *s = storage_of(t, "upload", &at, 0);
    if (s && !t->count) return clg__op_fail(t, "upload", CLG_INVALID_ARGUMENT, "the tensor is empty"), NULL;
    if (!s) return NULL;
    s->unseen = true;
    return clg__upload_create(t->graph->ctx, s->buffer, at, (size_t)t->count * clg_dtype_size(t->dtype));
}

double clg_tensor_scalar(clg_tensor *t)
{
    float value = NAN;
    if (t && t->dtype != CLG_F32) clg__op_fail(t, "scalar", CLG_INVALID_ARGUMENT, "the tensor is not f32");
    return clg_tensor_read(t, &value, sizeof value) == CLG_OK ? (double)value : (double)NAN;
}

cl_mem clg_tensor_cl_mem(clg_tensor *t, size_t *offset)
{
    size_t        at = 0;
    clg__storage *s = storage_of(t, "cl_mem", &at, 0);
    if (offset) *offset = at;
    if (!s) return NULL;
    s->unseen = true;
    return (cl_mem)clg__buffer_handle(s->buffer);
}

/* ---- parameters -------------------------------------------------------------------------------------------------- */

static clg_status parameter(clg_model *m, size_t i, size_t count, const void *value)
{
    if (!m) return CLG_INVALID_ARGUMENT;
    if (clg_context_failed(m->ctx)) return clg_context_status(m->ctx);
    if (!value) return clg__fail(m->object.root, CLG_INVALID_ARGUMENT, "no memory given for the values of parameter %zu", i);
    if (i >= m->count)
        return clg__fail(m->object.root, CLG_INVALID_ARGUMENT, "the model has %zu parameters, no number %zu", m->count, i);
    if (count != (size_t)m->parameters[i].count)
        return clg__fail(m->object.root, CLG_INVALID_SHAPE, "%zu values for parameter %s, which has %lld", count,
                         m->parameters[i].name, (long long)m->parameters[i].count);
    m->values->sealed = m->gradients->sealed = m->states->sealed = true;
    return clg__storage_ready(m->parameters[i].in);
}

clg_status clg_model_read(clg_model *m, size_t i, float *value, size_t count)
{
    const clg_status status = parameter(m, i, count, value);
    if (status != CLG_OK) return status;
    return clg__buffer_read(m->ctx, m->parameters[i].in->buffer, (size_t)m->parameters[i].offset * 4, value, count * 4);
}

clg_status clg_model_write(clg_model *m, size_t i, const float *value, size_t count)
{
    const clg_status status = parameter(m, i, count, value);
    if (status != CLG_OK) return status;
    return write_storage(m->parameters[i].in, (size_t)m->parameters[i].offset * 4, value, count * 4);
}

/* ---- guards ------------------------------------------------------------------------------------------------------ */

static const uint32_t pattern = 0x7fc0beefu; /* a NaN: what is read by mistake shows */

clg_status clg__plan_guards_fill(clg_plan *p)
{
    clg_status status = CLG_OK;
    p->prepared = 0;
    for (int i = 0; i < p->slab_sizes.count && status == CLG_OK; i++) {
        const size_t words = (size_t)p->slab_sizes.bytes[i] / 4;
        uint32_t    *fill = clg__calloc(p->object.root, words, 4);
        if (!fill) return CLG_OUT_OF_MEMORY;
        for (size_t w = 0; w < words; w++) fill[w] = pattern;
        status = clg__buffer_write(p->ctx, p->slabs[i], 0, fill, words * 4);
        free(fill);
    }
    return status;
}

bool clg__plan_guards_intact(clg_plan *p)
{
    bool intact = true;
    for (size_t i = 0; i < p->interval_count; i++) {
        const clg__interval *v = &p->intervals[i];
        if (v->slab < 0) continue;
        uint32_t *words = malloc(v->bytes);
        if (!words) return false;
        if (clg__buffer_read(p->ctx, p->slabs[v->slab], v->offset, words, v->bytes) != CLG_OK) intact = false;
        for (size_t w = 0; w < p->guard && intact; w++)
            intact = words[w] == pattern && words[v->bytes / 4 - 1 - w] == pattern;
        free(words);
    }
    return intact;
}
