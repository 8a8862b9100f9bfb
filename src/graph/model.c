/* model.c - models: named parameters in one storage, their gradients in another of the same layout, and in a third what
 * layers keep besides: states, which are saved like parameters and learnt by no optimiser. */
#include "graph/graph.h"
#include <stdlib.h>
#include <string.h>

static void model_destroy(clg__object *object)
{
    clg_model *m = (clg_model *)object;
    if (m->values) m->values->owner = NULL;
    if (m->states) m->states->owner = NULL;
    clg__storage_release(&m->values);
    clg__storage_release(&m->gradients);
    clg__storage_release(&m->states);
    for (size_t i = 0; i < m->count; i++) free(m->parameters[i].name);
    free(m->parameters);
    free(m);
}

/* The first values: each parameter's own stream, so that they do not depend on the order of the layers. */
static void fill_values(const clg__storage *s, void *host)
{
    const clg_model *m = s->owner;
    for (size_t i = 0; m && i < m->count; i++) {
        const clg__parameter *p = &m->parameters[i];
        const uint64_t        seed = clg__hash(m->seed ^ 0x9e3779b97f4a7c15u, p->name, strlen(p->name));
        if (p->fill && p->in == s) p->fill((float *)host + p->offset, p->shape, seed, p->scale);
    }
}

clg_model *clg_model_create(clg_context *ctx, const clg_model_desc *desc)
{
    if (clg_context_failed(ctx)) return NULL;
    clg__root *root = (clg__root *)ctx;
    clg_model *m = clg__calloc(root, 1, sizeof *m);
    if (!m) return NULL;
    m->ctx = ctx;
    m->seed = desc ? desc->seed : 0;
    m->values = clg__storage_create(root, CLG_F32, 0, "the parameters");
    m->gradients = clg__storage_create(root, CLG_F32, 0, "the gradients");
    m->states = clg__storage_create(root, CLG_F32, 0, "the model's states");
    clg__adopt(root, &m->object, model_destroy);
    if (!m->values || !m->gradients || !m->states) return clg__destroy(&m->object), NULL;
    m->values->fill = m->states->fill = fill_values;
    m->values->owner = m->states->owner = m;
    m->values->sealed = m->gradients->sealed = m->states->sealed = false;
    return m;
}

void clg_model_destroy(clg_model **model)
{
    if (!model || !*model) return;
    clg__destroy(&(*model)->object);
    *model = NULL;
}

uint64_t clg_model_seed(const clg_model *m) { return m ? m->seed : 0; }
clg_context *clg_model_context(const clg_model *m) { return m ? m->ctx : NULL; }
size_t       clg_model_count(const clg_model *m) { return m ? m->count : 0; }
const char  *clg_model_name(const clg_model *m, size_t i) { return m && i < m->count ? m->parameters[i].name : ""; }
clg_shape    clg_model_shape(const clg_model *m, size_t i) { return m && i < m->count ? m->parameters[i].shape : CLG_SCALAR; }

bool clg_model_is_state(const clg_model *m, size_t i) { return m && i < m->count && m->parameters[i].in == m->states; }

static clg__parameter *add_parameter(clg_model *m, clg__storage *in, const char *name, clg_shape shape, clg_fill_fn *fill, double scale)
{
    clg__root *root = m->object.root;
    char       text[128];
    clg_shape_text(shape, text, sizeof text);
    if (m->values->sealed || m->states->sealed)
        return clg__fail(root, CLG_INVALID_ARGUMENT,
                         "parameter %s %s: a plan uses the model already, and nothing can be added to it; build every "
                         "graph that brings new parameters first", name, text), NULL;
    int64_t count = clg_shape_count(shape), end = 0;
    if (count <= 0 || __builtin_add_overflow(in->count, count, &end) || end > INT64_MAX / 64)
        return clg__fail(root, CLG_INVALID_SHAPE, "parameter %s %s: no elements, or too many", name, text), NULL;
    if (m->count == m->capacity) {
        const size_t more = m->capacity ? 2 * m->capacity : 16;
        void        *moved = realloc(m->parameters, more * sizeof *m->parameters);
        if (!moved) return clg__fail(root, CLG_OUT_OF_MEMORY, "out of host memory for parameter %s", name), NULL;
        m->parameters = moved;
        m->capacity = more;
    }
    char *copy = malloc(strlen(name) + 1);
    if (!copy) return clg__fail(root, CLG_OUT_OF_MEMORY, "out of host memory for parameter %s", name), NULL;
    strcpy(copy, name);
    clg__parameter *p = &m->parameters[m->count++];
    *p = (clg__parameter){copy, shape, count, in->count, fill, scale, in, false};
    in->count = (end + CLG__PARAMETER_ALIGN - 1) / CLG__PARAMETER_ALIGN * CLG__PARAMETER_ALIGN;
    m->gradients->count = m->values->count;
    return p;
}

void clg_model_truncate(clg_model *m, size_t count)
{
    while (m && m->count > count && !m->values->sealed && !m->states->sealed) { /* the last added lies at the end */
        const clg__parameter *p = &m->parameters[--m->count];
        p->in->count = p->offset;
        free(p->name);
    }
    if (m && !m->gradients->sealed) m->gradients->count = m->values->count;
}

static clg_tensor *find(clg_model *m, clg__storage *in, clg_graph *g, const char *name, clg_shape shape,
                        clg_fill_fn *fill, double scale)
{
    if (!name || !*name) return clg__fail(m->object.root, CLG_INVALID_ARGUMENT, "a parameter needs a name"), NULL;
    if (g->ctx != m->ctx)
        return clg__fail(g->object.root, CLG_INVALID_ARGUMENT, "parameter %s: model and graph have different contexts", name), NULL;
    const clg__parameter *p = NULL;
    for (size_t i = 0; i < m->count && !p; i++)
        if (strcmp(m->parameters[i].name, name) == 0) p = &m->parameters[i];
    const bool added = !p;
    if (added) p = add_parameter(m, in, name, shape, fill, scale);
    if (!p) return NULL;
    if (p->in != in)
        return clg__fail(m->object.root, CLG_INVALID_ARGUMENT, "%s is a parameter and a state at once", name), NULL;
    if (!clg_shape_equal(p->shape, shape)) {
        char has[128], wants[128];
        clg__fail(m->object.root, CLG_INVALID_SHAPE, "parameter %s is %s, but this layer needs %s", name,
                  clg_shape_text(p->shape, has, sizeof has), clg_shape_text(shape, wants, sizeof wants));
        return NULL;
    }
    clg_tensor *t = clg__leaf(g, in, p->offset, shape);
    if (!t && added) clg_model_truncate(m, m->count - 1);
    return added || (t && !t->name) ? clg_tensor_named(t, name) : t; /* one that was taken back may have lain there */
}

clg_tensor *clg_model_parameter(clg_model *m, clg_graph *g, const char *name, clg_shape shape, clg_fill_fn *fill,
                                double scale)
{
    return m && g && !clg_context_failed(m->ctx) ? find(m, m->values, g, name, shape, fill, scale) : NULL;
}

clg_tensor *clg_model_state(clg_model *m, clg_graph *g, const char *name, clg_shape shape, clg_fill_fn *fill, double scale)
{
    return m && g && !clg_context_failed(m->ctx) ? find(m, m->states, g, name, shape, fill, scale) : NULL;
}

clg_tensor *clg_model_arena(clg_model *m, clg_graph *g)
{
    if (!m || !g || clg_context_failed(m->ctx)) return NULL;
    if (m->values->count == 0)
        return clg__fail(m->object.root, CLG_INVALID_ARGUMENT, "the model has no parameters: build its network first"), NULL;
    m->values->sealed = m->gradients->sealed = true;
    return clg__leaf(g, m->values, 0, CLG_SHAPE(m->values->count));
}

/* ---- frozen parameters ------------------------------------------------------------------------------------------- */

static bool belongs(const char *name, const char *layer)
{
    const size_t length = strlen(layer);
    return !length || (!strncmp(name, layer, length) && (!name[length] || name[length] == '.'));
}

static size_t set_frozen(clg_model *m, const char *layer, bool frozen)
{
    size_t count = 0;
    for (size_t i = 0; m && layer && i < m->count; i++) {
        if (m->parameters[i].in != m->values || !belongs(m->parameters[i].name, layer)) continue;
        m->parameters[i].frozen = frozen;
        count++;
    }
    return count;
}

size_t clg_model_freeze(clg_model *m, const char *layer) { return set_frozen(m, layer, true); }
size_t clg_model_thaw(clg_model *m, const char *layer) { return set_frozen(m, layer, false); }
bool   clg_model_is_frozen(const clg_model *m, size_t i) { return m && i < m->count && m->parameters[i].frozen; }

clg_tensor *clg_model_mask(clg_model *m, clg_graph *g)
{
    clg_tensor *arena = clg_model_arena(m, g), *mask = NULL;
    bool        any = false;
    for (size_t i = 0; arena && i < m->count; i++) any = any || m->parameters[i].frozen;
    float *value = any ? clg__calloc(m->object.root, (size_t)arena->count, sizeof *value) : NULL;
    if (!value) return NULL;
    for (int64_t k = 0; k < arena->count; k++) value[k] = 1.0f;
    for (size_t i = 0; i < m->count; i++) {
        const clg__parameter *p = &m->parameters[i];
        for (int64_t k = 0; p->frozen && k < p->count; k++) value[p->offset + k] = 0.0f;
    }
    mask = clg_tensor_named(clg_state(g, CLG_F32, arena->shape), "learnt");
    if (clg_tensor_write(mask, value, (size_t)arena->count * sizeof *value) != CLG_OK) mask = NULL;
    free(value);
    return mask;
}

/* ---- gradients --------------------------------------------------------------------------------------------------- */

clg_tensor *clg_model_gradients(clg_model *m, clg_tensor *loss)
{
    if (!m || !loss) return NULL;
    clg_graph   *g = loss->graph;
    clg__root   *root = g->object.root;
    clg_tensor  *arena = clg_model_arena(m, g);
    if (!arena) return NULL;
    clg_tensor **wrt = clg__calloc(root, m->count + 1, sizeof *wrt), **grad = clg__calloc(root, m->count + 1, sizeof *grad);
    clg_tensor **of = clg__calloc(root, m->count + 1, sizeof *of);
    const size_t attr_size = sizeof(clg__pack_attr) + m->count * sizeof(int64_t);
    clg__pack_attr *attr = clg__calloc(root, 1, attr_size);
    clg_tensor     *packed = NULL;
    if (!wrt || !grad || !of || !attr) goto done;

    size_t count = 0, learnt = 0;
    for (size_t i = 0; i < m->count; i++) {
        const clg__parameter *p = &m->parameters[i];
        if (p->in == m->values && !p->frozen) wrt[learnt++] = clg__leaf(g, m->values, p->offset, p->shape);
    }
    wrt[learnt] = arena;
    if (clg__gradients_or_null(loss, wrt, learnt + 1, of) != CLG_OK) goto done;
    bool any = false, whole = false; /* a single vector may be all that the arena has, and is then the same leaf */
    attr->storage = m->gradients;
    learnt = 0;
    for (size_t i = 0; i < m->count; i++) { /* zeros too are written: other losses share the storage */
        const clg__parameter *p = &m->parameters[i];
        if (p->in != m->values) continue;
        attr->offset[count] = p->offset;
        whole = whole || (p->offset == 0 && clg_shape_equal(p->shape, arena->shape));
        grad[count] = p->frozen ? NULL : of[learnt++];
        any = any || grad[count];
        if (!grad[count]) grad[count] = clg_full(g, p->shape, 0.0);
        count++;
    }
    if (of[learnt] && !whole)
        clg__fail(root, CLG_UNSUPPORTED, "a loss cannot be built on clg_model_arena: use the parameters themselves");
    else if (!any)
        clg__fail(root, CLG_INVALID_ARGUMENT, "the loss does not depend on any parameter of the model that is not frozen");
    else if (clg__graph_hold(g, m->gradients))
        packed = clg__apply_n(&clg__op_pack, attr, attr_size, grad, (int)count);
done:
    free(wrt);
    free(grad);
    free(of);
    free(attr);
    return packed;
}
