/* autodiff.c - reverse-mode differentiation: a walk from the loss back to the leaves that emits ordinary nodes.
 *
 * Only nodes that lie between `wrt` and the loss are visited, so nobody computes the gradient of the images. Where a
 * tensor is used several times its gradients are added. */
#include "graph/graph.h"
#include <stdlib.h>

clg_tensor *clg__reduce_to(clg_tensor *x, clg_shape shape)
{
    if (!x || clg_shape_equal(x->shape, shape)) return x;
    clg_reduce_desc desc = {.keepdims = true};
    const int       lead = x->shape.rank - shape.rank;
    for (int i = 0; i < x->shape.rank; i++)
        if (i < lead || (shape.dim[i - lead] == 1 && x->shape.dim[i] != 1)) desc.axes[desc.count++] = i;
    if (desc.count) x = clg_sum(x, &desc);
    return clg_reshape(x, shape);
}

/* a + b, by an operator that knows a shorter way where there is one. */
static clg_tensor *sum_of(clg_tensor *a, clg_tensor *b)
{
    clg_tensor *sum = b->op->added ? b->op->added(a, b) : NULL;
    if (!sum && a->op->added) sum = a->op->added(b, a);
    return sum ? sum : clg_add(a, b);
}

/* `seed` is d loss / d y; NULL: y is the loss itself. */
static clg_status walk(clg_tensor *y, clg_tensor *seed, clg_tensor *const *wrt, size_t count, clg_tensor **out)
{
    if (count && (!wrt || !out)) return CLG_INVALID_ARGUMENT;
    for (size_t i = 0; i < count; i++) out[i] = NULL;
    if (!y) return CLG_INVALID_ARGUMENT;
    clg_graph *g = y->graph;
    clg__root *root = g->object.root;
    char       text[128];
    if (!seed && (y->count != 1 || y->dtype != CLG_F32))
        return clg__fail(root, CLG_INVALID_SHAPE, "gradients: the loss must be one f32 number, but it is %s %s",
                         clg_dtype_name(y->dtype), clg_shape_text(y->shape, text, sizeof text));
    if (seed && (seed->graph != g || y->dtype != CLG_F32 || seed->dtype != CLG_F32 || !clg_shape_equal(seed->shape, y->shape)))
        return clg__fail(root, CLG_INVALID_SHAPE, "gradients: dy must be f32 %s of y's graph, and so must y be",
                         clg_shape_text(y->shape, text, sizeof text));
    const uint32_t nodes = y->id + 1; /* what is added below comes later and is never visited */
    bool          *on_path = clg__calloc(root, nodes, sizeof *on_path);
    clg_tensor   **grad = clg__calloc(root, nodes, sizeof *grad);
    clg_status     status = on_path && grad ? CLG_OK : CLG_OUT_OF_MEMORY;

    for (size_t i = 0; i < count && status == CLG_OK; i++) {
        if (!wrt[i] || wrt[i]->graph != g)
            status = clg__fail(root, CLG_INVALID_ARGUMENT, "gradients: wrt[%zu] does not belong to the loss's graph", i);
        else if (wrt[i]->id < nodes)
            on_path[wrt[i]->id] = true;
    }
    for (uint32_t id = 0; id < nodes && status == CLG_OK; id++) {
        const clg_tensor *t = g->nodes[id];
        if (t->op->flags & CLG__NO_GRAD) continue;
        for (int k = 0; k < t->arity; k++) on_path[id] |= on_path[t->in[k]->id];
    }
    if (status == CLG_OK && on_path[y->id]) grad[y->id] = seed ? seed : clg_full(g, y->shape, 1.0);

    for (uint32_t id = nodes; id-- > 0 && status == CLG_OK;) {
        clg_tensor *t = g->nodes[id];
        if (!grad[id] || t->op->flags & CLG__NO_GRAD) continue;
        for (int k = 0; k < t->arity; k++) {
            clg_tensor *in = t->in[k];
            if (!on_path[in->id] || in->dtype != CLG_F32) continue;
            if (!t->op->gradient) {
                status = clg__fail(root, CLG_UNSUPPORTED, "%s cannot be differentiated", t->op->name);
                break;
            }
            clg_tensor *d = t->op->gradient(&(clg__grad){t, grad[id]}, k);
            if (d) grad[in->id] = grad[in->id] ? sum_of(grad[in->id], d) : d;
        }
        if (clg_context_failed(g->ctx)) status = clg_context_status(g->ctx);
    }
    for (size_t i = 0; i < count && status == CLG_OK; i++) out[i] = wrt[i]->id < nodes ? grad[wrt[i]->id] : NULL;
    free(on_path);
    free(grad);
    return status;
}

clg_status clg__gradients_or_null(clg_tensor *loss, clg_tensor *const *wrt, size_t count, clg_tensor **out)
{
    return walk(loss, NULL, wrt, count, out);
}

static clg_status walk_or_zeros(clg_tensor *y, clg_tensor *seed, clg_tensor *const *wrt, size_t count, clg_tensor **out)
{
    const clg_status status = walk(y, seed, wrt, count, out);
    for (size_t i = 0; i < count && status == CLG_OK; i++)
        if (!out[i]) out[i] = clg_full(y->graph, wrt[i]->shape, 0.0);
    return status;
}

clg_status clg_gradients(clg_tensor *loss, clg_tensor *const *wrt, size_t count, clg_tensor **out)
{
    return walk_or_zeros(loss, NULL, wrt, count, out);
}

clg_status clg_gradients_from(clg_tensor *y, clg_tensor *dy, clg_tensor *const *wrt, size_t count, clg_tensor **out)
{
    return dy ? walk_or_zeros(y, dy, wrt, count, out) : CLG_INVALID_ARGUMENT;
}

/* `in` is seen as a new node, so that paths to it through the other inputs do not count. */
clg_tensor *clg__plain_gradient(const clg__grad *g, int input,
                                clg_tensor *(*plain)(const clg_tensor *node, clg_tensor *const *in))
{
    clg_tensor      *in[CLG__MAX_INPUTS], *d = NULL;
    const clg_shape  shape = g->out->in[input]->shape;
    const int64_t    count = g->out->in[input]->count;
    for (int k = 0; k < g->out->arity; k++) in[k] = g->out->in[k];
    clg_tensor *fresh = clg_reshape(in[input], shape.rank == 1 ? CLG_SHAPE(1, count) : CLG_SHAPE(count));
    in[input] = clg_reshape(fresh, shape);
    clg_tensor *loss = clg_sum(clg_mul(plain(g->out, in), g->dout), NULL);
    return clg_gradients(loss, &fresh, 1, &d) == CLG_OK ? clg_reshape(d, shape) : NULL;
}
