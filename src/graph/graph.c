/* graph.c - graphs, nodes, and the storages that leaves refer to. */
#include "graph/graph.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- storages ---------------------------------------------------------------------------------------------------- */

clg__storage *clg__storage_create(clg__root *root, clg_dtype dtype, int64_t count, const char *what)
{
    static uint64_t last_id;
    clg__storage   *s = clg__calloc(root, 1, sizeof *s);
    if (!s) return NULL;
    *s = (clg__storage){.id = __atomic_add_fetch(&last_id, 1, __ATOMIC_RELAXED), .root = root, .dtype = dtype,
                        .count = count, .what = what, .refs = 1, .sealed = true};
    return s;
}

void clg__storage_retain(clg__storage *s) { s->refs++; }

void clg__storage_release(clg__storage **storage)
{
    clg__storage *s = *storage;
    *storage = NULL;
    if (!s || --s->refs > 0) return;
    if (s->release) s->release(s);
    free(s);
}

void clg__storage_changed(clg__storage *s) { s->version++; }

uint64_t clg__storage_version(clg__storage *s)
{
    if (s->unseen) clg__storage_changed(s);
    return s->version;
}

/* ---- graphs ------------------------------------------------------------------------------------------------------ */

static void graph_destroy(clg__object *object)
{
    clg_graph *g = (clg_graph *)object;
    for (size_t i = 0; i < g->storage_count; i++) clg__storage_release(&g->storages[i]);
    free(g->storages);
    free(g->updates);
    free(g->nodes);
    clg__arena_free(&g->arena);
    free(g);
}

clg_graph *clg_graph_create(clg_context *ctx, const clg_graph_desc *desc)
{
    clg__root *root = (clg__root *)ctx;
    if (clg_context_failed(ctx)) return NULL;
    clg_graph *g = clg__calloc(root, 1, sizeof *g);
    if (!g) return NULL;
    g->ctx = ctx;
    g->training = desc && desc->training;
    g->observed = desc && desc->observed;
    clg__adopt(root, &g->object, graph_destroy);
    return g;
}

void clg_graph_destroy(clg_graph **graph)
{
    if (!graph || !*graph) return;
    clg__destroy(&(*graph)->object);
    *graph = NULL;
}

bool         clg_graph_training(const clg_graph *g) { return g && g->training; }
clg_context *clg_graph_context(const clg_graph *g) { return g ? g->ctx : NULL; }
clg_context *clg_tensor_context(const clg_tensor *t) { return t ? t->graph->ctx : NULL; }
clg_graph   *clg_tensor_graph(const clg_tensor *t) { return t ? t->graph : NULL; }
clg_shape    clg_tensor_shape(const clg_tensor *t) { return t ? t->shape : CLG_SCALAR; }
clg_dtype    clg_tensor_dtype(const clg_tensor *t) { return t ? t->dtype : CLG_F32; }
int64_t      clg_tensor_count(const clg_tensor *t) { return t ? t->count : 0; }
const char  *clg_tensor_name(const clg_tensor *t) { return t && t->name ? t->name : ""; }

clg_tensor *clg_tensor_named(clg_tensor *t, const char *name)
{
    if (t && name) t->name = clg__arena_printf(&t->graph->arena, "%s", name);
    return t;
}

uint64_t clg_tensor_storage_id(const clg_tensor *t)
{
    t = clg__base_of(t);
    return t && t->storage ? t->storage->id : 0;
}

const clg_tensor *clg__base_of(const clg_tensor *t)
{
    while (t && t->op->flags & CLG__VIEW) t = t->in[0];
    return t;
}

int64_t clg__view_offset(const clg_tensor *t)
{
    int64_t offset = 0;
    for (; t->op->flags & CLG__VIEW; t = t->in[0])
        if (t->op->flags & CLG__PART) offset += ((const clg__part *)t->attr)->offset;
    return offset;
}

/* The array with room for one more element; NULL when out of memory, and then the old one stays. */
static void *grown(clg__root *root, void *array, size_t *capacity, size_t count, size_t size)
{
    if (count < *capacity) return array;
    const size_t more = *capacity ? 2 * *capacity : 64;
    void        *moved = realloc(array, more * size);
    if (moved)
        *capacity = more;
    else
        clg__fail(root, CLG_OUT_OF_MEMORY, "out of host memory for a graph of %zu nodes", count);
    return moved;
}

bool clg__graph_hold(clg_graph *g, clg__storage *s)
{
    for (size_t i = 0; i < g->storage_count; i++)
        if (g->storages[i] == s) return true;
    clg__storage **storages = grown(g->object.root, g->storages, &g->storage_capacity, g->storage_count, sizeof *storages);
    if (!storages) return false;
    g->storages = storages;
    clg__storage_retain(s);
    g->storages[g->storage_count++] = s;
    return true;
}

/* ---- nodes ------------------------------------------------------------------------------------------------------- */

static void describe_inputs(const clg_tensor *const *in, int arity, clg__text *text)
{
    char shape[128];
    for (int i = 0; i < arity; i++)
        clg__text_append(text, "%s%s%s%s", i ? ", " : "", in[i]->name ? in[i]->name : "", in[i]->name ? " " : "",
                         clg_shape_text(in[i]->shape, shape, sizeof shape));
}

/* "<op>(<shapes>): <text>" */
static void fail_op(clg_graph *g, const char *op, const clg_tensor *const *in, int arity, clg_status status, const char *format,
                    va_list args) CLG_PRINTF(6, 0);

static void fail_op(clg_graph *g, const char *op, const clg_tensor *const *in, int arity, clg_status status, const char *format,
                    va_list args)
{
    char      what[512];
    clg__text inputs = {0};
    vsnprintf(what, sizeof what, format, args);
    describe_inputs(in, arity, &inputs);
    clg__fail(g->object.root, status, "%s(%s): %s", op, inputs.data ? inputs.data : "", what);
    clg__text_free(&inputs);
}

clg_status clg__infer_fail(clg__infer *i, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail_op(i->graph, i->op->name, (const clg_tensor *const *)i->in, i->arity, CLG_INVALID_SHAPE, format, args);
    va_end(args);
    return CLG_INVALID_SHAPE;
}

clg_tensor *clg__op_fail(const clg_tensor *any, const char *op, clg_status status, const char *format, ...)
{
    if (!any) return NULL;
    va_list args;
    va_start(args, format);
    fail_op(any->graph, op, &any, 1, status, format, args);
    va_end(args);
    return NULL;
}

bool clg__find_axis(const clg_tensor *x, const char *op, int *axis)
{
    const int given = *axis;
    if (*axis < 0) *axis += x->shape.rank;
    if (*axis >= 0 && *axis < x->shape.rank) return true;
    clg__op_fail(x, op, CLG_INVALID_ARGUMENT, "axis %d is out of range for rank %d", given, x->shape.rank);
    return false;
}

clg_status clg__infer_same(clg__infer *i)
{
    i->shape = i->in[0]->shape;
    for (int k = 0; k < i->arity; k++) {
        if (i->in[k]->dtype != CLG_F32) return clg__infer_fail(i, "input %d must be f32", k);
        if (!clg_shape_equal(i->in[k]->shape, i->shape)) return clg__infer_fail(i, "the inputs must have equal shapes");
    }
    return CLG_OK;
}

clg_status clg__infer_broadcast_mixed(clg__infer *i, unsigned whole)
{
    i->shape = i->in[0]->shape;
    for (int k = 0; k < i->arity; k++) {
        const bool also = whole >> k & 1;
        if (i->in[k]->dtype != CLG_F32 && !(also && i->in[k]->dtype == CLG_I32))
            return clg__infer_fail(i, "input %d must be f32%s", k, also ? " or i32" : "");
        if (!clg__broadcast(i->shape, i->in[k]->shape, &i->shape))
            return clg__infer_fail(i, "the shapes do not broadcast: each pair of extents must be equal or one of them 1");
    }
    return CLG_OK;
}

clg_status clg__infer_broadcast(clg__infer *i) { return clg__infer_broadcast_mixed(i, 0); }

clg_status clg__part_infer(clg__infer *i)
{
    const clg__part *part = i->attr;
    i->shape = part->shape;
    return part->offset + clg_shape_count(i->shape) <= i->in[0]->count ? CLG_OK : clg__infer_fail(i, "a part beyond the end");
}

void clg__part_reference(const clg__ref *r)
{
    const clg__part *part = r->node->attr;
    if (r->node->count) memcpy(r->out, r->in[0] + part->offset, (size_t)r->node->count * sizeof *r->out);
}

static clg_tensor *add_node(clg_graph *g, const clg__op *op, const void *attr, size_t attr_size, clg_tensor *const *in,
                            int arity)
{
    if (clg_context_failed(g->ctx)) return NULL;
    clg__infer i = {.graph = g, .op = op, .in = in, .arity = arity, .attr = attr, .dtype = CLG_F32};
    if (op->infer(&i) != CLG_OK) return NULL;
    const int64_t count = clg_shape_count(i.shape);
    if (count < 0 || (uint64_t)count > SIZE_MAX / 16) {
        char text[128];
        clg__infer_fail(&i, "the result %s has too many elements", clg_shape_text(i.shape, text, sizeof text));
        return NULL;
    }
    clg_tensor **nodes = grown(g->object.root, g->nodes, &g->capacity, g->count, sizeof *nodes);
    if (!nodes) return NULL;
    g->nodes = nodes;

    clg_tensor *t = clg__arena_alloc(&g->arena, sizeof *t);
    void       *own_attr = attr_size ? clg__arena_alloc(&g->arena, attr_size) : NULL;
    clg_tensor **own_in = arity ? clg__arena_alloc(&g->arena, (size_t)arity * sizeof *in) : NULL;
    if (!t || (attr_size && !own_attr) || (arity && !own_in)) {
        clg__fail(g->object.root, CLG_OUT_OF_MEMORY, "out of host memory for a graph of %u nodes", g->count);
        return NULL;
    }
    if (attr_size) memcpy(own_attr, attr, attr_size);
    if (arity) memcpy(own_in, in, (size_t)arity * sizeof *in);
    *t = (clg_tensor){.graph = g, .op = op, .in = own_in, .attr = own_attr, .count = count, .id = g->count, .arity = arity,
                      .dtype = i.dtype, .shape = i.shape};
    return g->nodes[g->count++] = t;
}

clg_tensor *clg__apply_n(const clg__op *op, const void *attr, size_t attr_size, clg_tensor *const *in, int arity)
{
    for (int k = 0; k < arity; k++)
        if (!in[k]) return NULL;
    for (int k = 1; k < arity; k++)
        if (in[k]->graph != in[0]->graph)
            return clg__op_fail(in[0], op->name, CLG_INVALID_ARGUMENT,
                                "inputs 0 and %d belong to different graphs; clg_share brings a persistent tensor over", k);
    return add_node(in[0]->graph, op, attr, attr_size, in, arity);
}

bool clg__may_rewrite(const clg_graph *g)
{
    const char *rewrite = getenv("CLGRAD_REWRITE");
    return !g->observed && clg_context_device(g->ctx)->profile.fuse && (!rewrite || rewrite[0] != '0');
}

clg_tensor *clg__find_newest(const clg__op *op, const void *attr, size_t attr_size, clg_tensor *const *in, int arity)
{
    uint32_t newest = 0;
    for (int k = 0; k < arity; k++) {
        if (!in[k]) return NULL;
        newest = CLG__MAX(newest, in[k]->id);
    }
    const clg_graph *g = in[0]->graph;
    for (uint32_t i = g->count; i-- > newest;) {
        clg_tensor *t = g->nodes[i];
        if (t->op == op && t->arity >= arity && memcmp(t->in, in, (size_t)arity * sizeof *in) == 0 &&
            (attr_size == 0 || memcmp(t->attr, attr, attr_size) == 0))
            return t;
    }
    return NULL;
}

clg_tensor *clg__apply_once(const clg__op *op, const void *attr, size_t attr_size, clg_tensor *const *in, int arity)
{
    clg_tensor *there = clg__find_newest(op, attr, attr_size, in, arity);
    return there && there->arity == arity ? there : clg__apply_n(op, attr, attr_size, in, arity);
}

/* ---- leaves ------------------------------------------------------------------------------------------------------ */

clg_tensor *clg__leaf(clg_graph *g, clg__storage *s, int64_t offset, clg_shape shape)
{
    for (uint32_t i = 0; i < g->count; i++) {
        clg_tensor *t = g->nodes[i];
        if (t->op == &clg__op_leaf && t->storage == s && t->offset == offset && clg_shape_equal(t->shape, shape)) return t;
    }
    if (!clg__graph_hold(g, s)) return NULL;
    clg_tensor *t = add_node(g, &clg__op_leaf, &shape, sizeof shape, NULL, 0);
    if (!t) return NULL;
    t->storage = s;
    t->offset = offset;
    t->dtype = s->dtype;
    return t;
}

static clg_tensor *persistent(clg_graph *g, clg_dtype dtype, clg_shape shape, const char *what)
{
    if (!g || clg_context_failed(g->ctx)) return NULL;
    if (clg_dtype_size(dtype) == 0)
        return clg__fail(g->object.root, CLG_INVALID_ARGUMENT, "%s: %d is no type", what, (int)dtype), NULL;
    const int64_t count = clg_shape_count(shape);
    char          text[128];
    if (count < 0) {
        clg__fail(g->object.root, CLG_INVALID_SHAPE, "%s: %s is no shape, or has too many elements", what,
                  clg_shape_text(shape, text, sizeof text));
        return NULL;
    }
    clg__storage *s = clg__storage_create(g->object.root, dtype, count, what);
    if (!s) return NULL;
    clg_tensor *t = clg__leaf(g, s, 0, shape);
    clg__storage_release(&s);
    return t;
}

clg_tensor *clg_input(clg_graph *g, clg_dtype dtype, clg_shape shape)
{
    clg_tensor *t = persistent(g, dtype, shape, "an input");
    if (t) t->storage->fed = true;
    return t;
}

clg_tensor *clg_state(clg_graph *g, clg_dtype dtype, clg_shape shape) { return persistent(g, dtype, shape, "a state"); }

clg_tensor *clg_share(clg_graph *g, clg_tensor *t)
{
    if (!g || !t) return NULL;
    if (t->op != &clg__op_leaf) return clg__op_fail(t, "share", CLG_INVALID_ARGUMENT, "the tensor is not persistent");
    if (t->graph->ctx != g->ctx) return clg__op_fail(t, "share", CLG_INVALID_ARGUMENT, "the contexts differ");
    return clg__leaf(g, t->storage, t->offset, t->shape);
}

clg_tensor *clg_full(clg_graph *g, clg_shape shape, double value)
{
    return g ? add_node(g, &clg__op_full, &(clg__full_attr){shape, value}, sizeof(clg__full_attr), NULL, 0) : NULL;
}

clg_tensor *clg_scalar(clg_graph *g, double value) { return clg_full(g, CLG_SCALAR, value); }

clg_tensor *clg_assign(clg_tensor *dst, clg_tensor *value)
{
    if (!dst || !value) return NULL;
    char a[128], b[128];
    if (dst->op != &clg__op_leaf) return clg__op_fail(dst, "assign", CLG_INVALID_ARGUMENT, "the target is not persistent");
    if (dst->graph != value->graph)
        return clg__op_fail(dst, "assign", CLG_INVALID_ARGUMENT, "target and value belong to different graphs: use clg_share");
    if (dst->dtype != value->dtype || !clg_shape_equal(dst->shape, value->shape))
        return clg__op_fail(dst, "assign", CLG_INVALID_SHAPE, "%s %s into %s %s", clg_dtype_name(value->dtype),
                            clg_shape_text(value->shape, a, sizeof a), clg_dtype_name(dst->dtype),
                            clg_shape_text(dst->shape, b, sizeof b));
    return clg__apply_attr(&clg__op_assign, &(clg__assign_attr){dst}, value);
}

void clg_graph_add_update(clg_graph *g, clg_tensor *assignment)
{
    if (!g || !assignment) return;
    if (assignment->graph != g || assignment->op != &clg__op_assign) {
        clg__op_fail(assignment, "graph_add_update", CLG_INVALID_ARGUMENT, "it is not an assignment of this graph");
        return;
    }
    clg_tensor **updates = grown(g->object.root, g->updates, &g->update_capacity, g->update_count, sizeof *updates);
    if (!updates) return;
    g->updates = updates;
    g->updates[g->update_count++] = assignment;
}

/* What reads it may be newer than the assignment, as gradients are: they get the value, not the state. */
clg_tensor *clg__own_step(clg_graph *g)
{
    clg_tensor *state = clg_state(g, CLG_I32, CLG_SHAPE(1)), *step = clg_next(state);
    if (step) clg_graph_add_update(g, clg_assign(state, step));
    return step;
}

size_t      clg_graph_update_count(const clg_graph *g) { return g ? g->update_count : 0; }
clg_tensor *clg_graph_update(const clg_graph *g, size_t i) { return g && i < g->update_count ? g->updates[i] : NULL; }

const clg__op *clg__op_find(const char *name)
{
    for (const clg__op *const *table = clg__registry; *table; table++)
        for (const clg__op *op = *table; op->name; op++)
            if (strcmp(op->name, name) == 0) return op;
    return NULL;
}

bool clg_op_info_get(size_t i, clg_op_info *info)
{
    for (const clg__op *const *table = clg__registry; *table; table++)
        for (const clg__op *op = *table; op->name; op++) {
            if (i-- > 0) continue;
            const bool pointwise = op->flags & CLG__POINTWISE, gradient = op->gradient && !(op->flags & CLG__NO_GRAD);
            if (info)
                *info = (clg_op_info){op->name, op->arity, gradient, pointwise, pointwise || op->flags & CLG__INPLACE,
                                      op->flags & CLG__VIEW};
            return true;
        }
    return false;
}
