/* reference.c - the double-precision interpreter: every node by its operator's reference, on the host.
 *
 * What a device computes is compared with this; so are gradients, by differences of the loss that it computes. */
#include "graph/graph.h"
#include <stdlib.h>
#include <string.h>

struct clg__reference {
    clg_graph *graph;
    double   **leaf;  /* by node id: given values */
    double   **value; /* by node id: computed in the current call */
    uint32_t   count;
};

clg__reference *clg__reference_create(clg_graph *g)
{
    clg__reference *ref = calloc(1, sizeof *ref);
    if (!ref) return NULL;
    ref->graph = g;
    ref->count = g->count;
    ref->leaf = calloc(g->count + 1u, sizeof *ref->leaf);
    ref->value = calloc(g->count + 1u, sizeof *ref->value);
    if (!ref->leaf || !ref->value) clg__reference_destroy(&ref);
    return ref;
}

static void forget(double **values, uint32_t count)
{
    for (uint32_t i = 0; values && i < count; i++) {
        free(values[i]);
        values[i] = NULL;
    }
}

void clg__reference_destroy(clg__reference **reference)
{
    clg__reference *ref = *reference;
    if (!ref) return;
    forget(ref->leaf, ref->count);
    forget(ref->value, ref->count);
    free(ref->leaf);
    free(ref->value);
    free(ref);
    *reference = NULL;
}

static double *copy_of(const double *value, int64_t count)
{
    double *copy = malloc(((size_t)count + 1) * sizeof *copy);
    if (copy && count) memcpy(copy, value, (size_t)count * sizeof *copy);
    return copy;
}

void clg__reference_set(clg__reference *ref, const clg_tensor *leaf, const double *value)
{
    free(ref->leaf[leaf->id]);
    ref->leaf[leaf->id] = copy_of(value, leaf->count);
}

static bool compute(clg__reference *ref, const clg_tensor *t)
{
    if (ref->value[t->id]) return true;
    if (t->op == &clg__op_leaf) {
        ref->value[t->id] = ref->leaf[t->id] ? copy_of(ref->leaf[t->id], t->count)
                                             : calloc((size_t)t->count + 1, sizeof(double));
        return ref->value[t->id] != NULL;
    }
    const double **in = calloc((size_t)t->arity + 1, sizeof *in);
    double        *out = calloc((size_t)t->count + 1, sizeof *out);
    bool           ok = in && out && t->op->reference;
    for (int k = 0; ok && k < t->arity; k++) {
        ok = compute(ref, t->in[k]);
        in[k] = ref->value[t->in[k]->id];
    }
    if (ok) {
        const clg_tensor *x = t->arity ? t->in[0] : t;
        const size_t      n = x->shape.rank ? (size_t)x->shape.dim[x->shape.rank - 1] : 1;
        t->op->reference(&(clg__ref){.node = t, .in = in, .out = out, .rows = n ? (size_t)x->count / n : 0, .n = n});
        ref->value[t->id] = out;
    } else {
        free(out);
    }
    free(in);
    return ok;
}

const double *clg__reference_value(clg__reference *ref, const clg_tensor *t)
{
    forget(ref->value, ref->count);
    return t->id < ref->count && compute(ref, t) ? ref->value[t->id] : NULL;
}
