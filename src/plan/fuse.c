/* fuse.c - which nodes run together.
 *
 * A step is either an operator, with pointwise nodes folded into its epilogue where nobody else wants the values between,
 * or one with its gradient, or a group of pointwise nodes of one shape. Groups grow along edges as long as no path leaves a group and
 * comes back. Besides the inputs there are edges of order: who reads a persistent value before an assignment to it must
 * run before, who reads it after must run after; within a group a read before the assignment is fine when it is of the
 * very element that is written.
 *
 * CLGRAD_REWRITE=0 leaves every node alone. */
#include "plan/plan.h"
#include <stdlib.h>
#include <string.h>

/* Kernel arguments are limited (CL_DEVICE_MAX_PARAMETER_SIZE is 1 KiB at least): tensors that a group may touch; with them
 * results whose only reader has not joined the group, and may yet; numbers. And a kernel has to be compiled: nodes. */
enum { MAX_GROUP_TENSORS = 24, MAX_GROUP_OPEN = 40, MAX_GROUP_CONSTANTS = 32, MAX_GROUP_NODES = 256 };

enum { MAX_CHAIN = 4 }; /* nodes of an epilogue: a scale, a shift, a residual, an activation */

#define LABEL_GAP (UINT64_C(1) << 36) /* there are fewer nodes than fill 64 bits with it */

typedef struct edge {
    uint32_t before, after; /* node ids */
    int      next;          /* another edge into `after`, or -1 */
    bool     exact;         /* may be inside a group */
} edge;

typedef struct met {
    uint64_t label;
    uint32_t group;
} met;

typedef struct fuser {
    clg_plan *p;
    clg__root *root;
    int      *group;  /* by node id: the same number for the nodes of a group; -1: no step */
    uint32_t *next;   /* the members of a group form a ring */
    int      *uses;
    edge     *edges;  /* of order */
    int      *into;   /* by node id: the first edge into it, or -1 */
    size_t    edge_count, edge_capacity;
    bool     *wanted; /* by node id, of numbers: somebody wants it in memory */
    uint32_t *stack;
    uint32_t *sooner, *later, ends; /* by group number: the list of groups in an order, which has its ends in `ends` */
    uint64_t *label;  /* by group number */
    uint32_t *search, searches; /* by group number: the last search that met it */
    met      *met;
} fuser;

#define EACH_MEMBER(m, of) for (uint32_t m = (of), m##_go = 1; m##_go; m = f->next[m], m##_go = m != (of))
#define EACH_EDGE_INTO(e, id) for (int e = f->into[id]; e >= 0; e = f->edges[e].next)

bool clg__reads_exactly(const clg_tensor *t, const clg_tensor *in)
{
    for (int k = 0; k < t->arity; k++)
        if (clg__base_of(t->in[k]) == clg__base_of(in) && !(t->in[k] == clg__base_of(in) && clg_shape_equal(in->shape, t->shape)))
            return false;
    return t->op->flags & CLG__POINTWISE;
}

static bool runs(const clg_tensor *t) { return !(t->op->flags & (CLG__LEAF | CLG__VIEW)); }

/* Has it kernels of its own? */
static bool is_operator(const clg_tensor *t) { return runs(t) && !(t->op->flags & CLG__POINTWISE) && t->op != &clg__op_full; }

/* Numbers are arguments of pointwise kernels, and of some others: one needs a step only when somebody else wants it in memory. */
static void note_inputs(fuser *f, const clg_tensor *t)
{
    for (int k = 0; k < t->arity; k++) {
        const clg_tensor *base = clg__base_of(t->in[k]);
        f->uses[t->in[k]->id]++;
        if (t->in[k] != base || !(t->op->flags & CLG__POINTWISE || t->op->numbers >> k & 1)) f->wanted[base->id] = true;
    }
}

/* ---- edges of order ---------------------------------------------------------------------------------------------- */

static bool overlap(const clg_tensor *a, const clg_tensor *b)
{
    return a->storage == b->storage && a->offset < b->offset + b->count && b->offset < a->offset + a->count;
}

static bool add_edge(fuser *f, const clg_tensor *before, const clg_tensor *after, bool exact)
{
    edge *moved = clg__plan_grow(f->p, f->edges, &f->edge_capacity, f->edge_count, sizeof *moved);
    if (!moved) return false;
    f->edges = moved;
    f->edges[f->edge_count] = (edge){before->id, after->id, f->into[after->id], exact};
    f->into[after->id] = (int)f->edge_count++;
    return true;
}

/* A view shows memory, not the value that it had: one made before an assignment but read after it would show the new. */
static bool is_stale(const clg_tensor *in, const clg_tensor *assign)
{
    const clg_tensor *to = ((const clg__assign_attr *)assign->attr)->to, *base = clg__base_of(in);
    while (in->op->flags & CLG__VIEW && in->in[0] != base) in = in->in[0];
    return in != base && base->op == &clg__op_leaf && overlap(base, to) && in->id < assign->id;
}

static bool order_assignments(fuser *f)
{
    const clg_plan *p = f->p;
    for (size_t a = 0; a < p->node_count; a++) {
        const clg_tensor *assign = p->graph->nodes[a];
        if (!p->needed[a] || assign->op != &clg__op_assign) continue;
        const clg_tensor *to = ((const clg__assign_attr *)assign->attr)->to;
        for (size_t i = 0; i < p->node_count; i++) {
            const clg_tensor *t = p->graph->nodes[i];
            if (!p->needed[i] || !runs(t) || i == a) continue;
            bool touches = t->op == &clg__op_assign && overlap(((const clg__assign_attr *)t->attr)->to, to);
            bool exact = !touches;
            for (int k = 0; k < t->arity; k++) {
                const clg_tensor *leaf = clg__base_of(t->in[k]);
                if (leaf->op != &clg__op_leaf || !overlap(leaf, to)) continue;
                touches = true;
                exact = exact && leaf == to && clg__reads_exactly(t, leaf);
            }
            for (int k = 0; k < t->arity && i > a; k++)
                if (is_stale(t->in[k], assign)) {
                    clg__fail(f->root, CLG_UNSUPPORTED, "%s: input %d is a reshape made before an assignment to the tensor "
                              "that it shows: reshape after it", t->op->name, k);
                    return false;
                }
            if (touches && !(i < a ? add_edge(f, t, assign, exact) : add_edge(f, assign, t, false))) return false;
        }
    }
    return true;
}

/* ---- cycles ------------------------------------------------------------------------------------------------------ */

/* Groups are kept in an order in which each comes after all that it waits for: a list with labels that grow along it. So a
 * search for `to` goes back no further than `to`, and what it has met on its way there then moves before it. */

static void link_after(fuser *f, uint32_t at, uint32_t g, uint64_t label)
{
    f->later[g] = f->later[at];
    f->sooner[g] = at;
    f->sooner[f->later[at]] = g;
    f->later[at] = g;
    f->label[g] = label;
}

static void unlink_group(fuser *f, uint32_t g)
{
    f->later[f->sooner[g]] = f->later[g];
    f->sooner[f->later[g]] = f->sooner[g];
}

static void append(fuser *f, uint32_t g)
{
    const uint32_t end = f->sooner[f->ends];
    link_after(f, end, g, f->label[end] + LABEL_GAP);
}

static int by_label(const void *a, const void *b)
{
    const met *x = a, *y = b;
    return x->label < y->label ? -1 : x->label > y->label;
}

/* Puts the `count` groups that a search from below has met, as they stand, before group `to`. */
static void move_before(fuser *f, size_t count, uint32_t to)
{
    qsort(f->met, count, sizeof *f->met, by_label);
    for (size_t i = 0; i < count; i++) unlink_group(f, f->met[i].group);
    uint32_t at = f->sooner[to];
    if (f->label[to] - f->label[at] <= count) {
        uint64_t label = 0;
        for (uint32_t g = f->later[f->ends]; g != f->ends; g = f->later[g]) f->label[g] = label += LABEL_GAP;
    }
    /* most of the gap is left for what comes between here later */
    const uint64_t step = CLG__MAX((f->label[to] - f->label[at]) / (count + 1) / 16, 1);
    for (size_t i = 0; i < count; i++) {
        const uint32_t g = f->met[i].group;
        link_after(f, at, g, f->label[at] + step);
        at = g;
    }
}

/* Notes what is waited for as `id`, directly by a member of group g or not; true when that leads back into g. */
static bool meet(fuser *f, size_t *count, uint32_t id, int g, bool direct)
{
    const clg_tensor *t = f->p->graph->nodes[id];
    for (; f->group[t->id] < 0 && t->op->flags & CLG__VIEW; t = t->in[0]) direct = false;
    const int of = f->group[t->id];
    if (of == g) return !direct;
    if (of < 0 || f->search[of] == f->searches || f->label[of] < f->label[g]) return false;
    f->search[of] = f->searches;
    f->met[(*count)++] = (met){f->label[of], (uint32_t)of};
    return false;
}

/* Is there a way out of the group of `member`, which has just grown, and back into it? If not, the order is mended. */
static bool cyclic(fuser *f, uint32_t member)
{
    const int g = f->group[member];
    size_t    count = 0, done = 0;
    uint32_t  of = member;
    f->searches++;
    do {
        EACH_MEMBER(m, of) {
            const clg_tensor *t = f->p->graph->nodes[m];
            for (int k = 0; k < t->arity; k++)
                if (meet(f, &count, t->in[k]->id, g, of == member)) return true;
            EACH_EDGE_INTO(e, m) if (meet(f, &count, f->edges[e].before, g, of == member)) return true;
        }
        if (done < count) of = f->met[done].group;
    } while (done++ < count);
    move_before(f, count, (uint32_t)g);
    return false;
}

/* ---- groups ------------------------------------------------------------------------------------------------------ */

static bool is_kept(const fuser *f, const clg_tensor *t)
{
    return f->uses[t->id] > 1 || t->op == &clg__op_assign || f->p->is_output[t->id];
}

/* Is the group's kernel within the limits, at most; and do the edges of order allow it? */
static bool fits(const fuser *f, uint32_t member)
{
    const int         g = f->group[member];
    const clg_tensor *constant[MAX_GROUP_CONSTANTS];
    int               nodes = 0, tensors = 0, open = 0, constants = 0;
    EACH_MEMBER(m, member) {
        const clg_tensor *t = f->p->graph->nodes[m];
        if (++nodes > MAX_GROUP_NODES) return false;
        for (int k = 0; k < t->arity; k++) {
            const clg_tensor *in = t->in[k];
            if (f->group[in->id] == g) {
                open -= !is_kept(f, in);
            } else if (in->op == &clg__op_full) {
                int i = 0;
                while (i < constants && constant[i] != in) i++;
                if (i == MAX_GROUP_CONSTANTS) return false;
                if (i == constants) constant[constants++] = in;
            } else {
                tensors++;
            }
        }
        if (is_kept(f, t)) tensors++;
        else open++;
        EACH_EDGE_INTO(e, m) if (f->group[f->edges[e].before] == g && !f->edges[e].exact) return false;
    }
    return tensors <= MAX_GROUP_TENSORS && tensors + open <= MAX_GROUP_OPEN;
}

/* Moves the ring of `from` to another group number, and joins it to the ring of `at` or parts it from there: exchanging
 * the successors of two nodes does either. */
static void splice(fuser *f, uint32_t from, uint32_t at)
{
    const uint32_t next = f->next[from];
    f->next[from] = f->next[at];
    f->next[at] = next;
}

/* Joins the group of `t` to the group of its input; undone where that is not allowed. */
static void try_join(fuser *f, const clg_tensor *t, const clg_tensor *in)
{
    const int from = f->group[t->id], to = f->group[in->id];
    if (from == to || to < 0 || !(in->op->flags & CLG__POINTWISE) || !clg_shape_equal(in->shape, t->shape) ||
        in->dtype != t->dtype || f->p->graph->nodes[to]->op->flags & CLG__EPILOGUE)
        return;
    EACH_MEMBER(m, t->id) f->group[m] = to;
    splice(f, t->id, in->id);
    if (fits(f, t->id) && !cyclic(f, t->id)) {
        unlink_group(f, (uint32_t)from);
        return;
    }
    splice(f, t->id, in->id);
    EACH_MEMBER(m, t->id) f->group[m] = from;
}

/* The product or convolution whose step ends with what t reads as input k, perhaps reshaped, and nobody else does; or NULL. */
static const clg_tensor *sole_product(const fuser *f, const clg_tensor *t, int k)
{
    const clg_tensor *in = t->in[k], *last = clg__base_of(in);
    if (f->group[last->id] < 0) return NULL;
    const clg_tensor *product = f->p->graph->nodes[f->group[last->id]];
    bool sole = product->op->flags & CLG__EPILOGUE && !f->p->is_output[last->id] && last->count == t->count;
    for (; sole && in != last; in = in->in[0]) sole = f->uses[in->id] == 1 && !(in->op->flags & CLG__PART);
    return sole && f->uses[last->id] == 1 && clg_shape_equal(t->in[k]->shape, t->shape) ? product : NULL;
}

/* An epilogue is unrolled over a tile of registers, and competes with the product for them. */
static bool is_light(const clg__op *op) { return strlen(op->expr) <= 32; }

/* Does `in` hold one number for each channel of the product, as t = [N, C, ...] reads it? */
static bool is_of_channels(const clg_tensor *in, const clg_tensor *t, const clg_tensor *product)
{
    const int at = 1 + in->shape.rank - t->shape.rank; /* where `in` has t's second dimension */
    return t->shape.rank >= 2 && at >= 0 && t->shape.dim[0] == product->shape.dim[0] &&
           t->shape.dim[1] == product->shape.dim[1] && in->shape.dim[at] == t->shape.dim[1] && in->count == t->shape.dim[1];
}

/* Counts the operands of t that come from outside of the product's step; false where an epilogue takes no such one. */
static bool count_operands(const fuser *f, const clg_tensor *t, const clg_tensor *product, int *others, int *channels)
{
    for (int k = 0; k < t->arity; k++) {
        const clg_tensor *in = t->in[k];
        if (f->group[clg__base_of(in)->id] == f->group[product->id]) continue;
        if (in->op == &clg__op_full || in->dtype != t->dtype) return false;
        if (clg_shape_equal(in->shape, t->shape)) (*others)++;
        else if (is_of_channels(in, t, product)) (*channels)++;
        else return false;
    }
    return true;
}

/* May the product's step have t as its last node? One node alone, or a chain where the operator allows that, and no more
 * operands than its kernels take. */
static bool may_follow(const fuser *f, const clg_tensor *t, const clg_tensor *product)
{
    const unsigned flags = product->op->flags;
    int            others = 0, channels = 0, links = 1;
    bool           fits = count_operands(f, t, product, &others, &channels);
    EACH_MEMBER(m, product->id) {
        const clg_tensor *link = f->p->graph->nodes[m];
        if (link == product || !runs(link)) continue;
        fits = fits && count_operands(f, link, product, &others, &channels);
        links++;
    }
    return fits && others <= !!(flags & CLG__EPILOGUE_OTHER) && channels <= (flags & CLG__EPILOGUE_CHAIN ? CLG__MOST_CHANNELS : 0) &&
           links <= (flags & CLG__EPILOGUE_CHAIN ? MAX_CHAIN : 1);
}

/* Folds a pointwise node into the product or convolution before it. */
static bool fold_epilogue(fuser *f, const clg_tensor *t)
{
    if (!(t->op->flags & CLG__POINTWISE) || t->arity > 2 || t->op == &clg__op_assign || !is_light(t->op)) return false;
    for (int k = 0; k < t->arity; k++) {
        const clg_tensor *product = sole_product(f, t, k), *last = clg__base_of(t->in[k]), *v;
        if (!product || !may_follow(f, t, product)) continue;
        for (v = t; v != last; v = v == t ? t->in[k] : v->in[0]) f->group[v->id] = f->group[last->id], splice(f, v->id, last->id);
        if (!cyclic(f, t->id)) {
            unlink_group(f, t->id);
            return true;
        }
        for (v = t; v != last; v = v == t ? t->in[k] : v->in[0]) { /* parted again, one after another */
            uint32_t before = v->id;
            EACH_MEMBER(m, v->id) before = m;
            splice(f, before, v->id);
            f->group[v->id] = v == t ? (int)t->id : -1;
        }
    }
    return false;
}

/* ---- producers --------------------------------------------------------------------------------------------------- */

enum { MAX_PRODUCERS = 16 }; /* nodes */

typedef struct producers {
    uint32_t          node[MAX_PRODUCERS];
    const clg_tensor *whole[CLG__MOST_PRODUCED]; /* tensors that they read element by element */
    int               count, wholes, others; /* nodes, such tensors, scalars and numbers */
    bool              rest; /* others of their group remain */
} producers;

static bool among(const producers *s, uint32_t id)
{
    for (int i = 0; i < s->count; i++)
        if (s->node[i] == id) return true;
    return false;
}

/* How often do they read t? */
static int reads(const fuser *f, const producers *s, const clg_tensor *t)
{
    int n = 0;
    for (int i = 0; i < s->count; i++) {
        const clg_tensor *reader = f->p->graph->nodes[s->node[i]];
        for (int k = 0; k < reader->arity; k++) n += reader->in[k] == t;
    }
    return n;
}

/* Notes an operand from outside; false where a kernel's index into the result does not find its elements, or it is one too many. */
static bool note_operand(producers *s, const clg_tensor *in, const clg_tensor *t)
{
    if (in->op == &clg__op_full || in->count == 1) return ++s->others <= CLG__MOST_PRODUCED;
    if (in->dtype == CLG_U8 || !clg_shape_equal(in->shape, t->shape)) return false;
    for (int i = 0; i < s->wholes; i++)
        if (s->whole[i] == in) return true;
    if (s->wholes == CLG__MOST_PRODUCED) return false;
    s->whole[s->wholes++] = in;
    return true;
}

static int latest_first(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x > y ? -1 : x < y;
}

/* The pointwise nodes that make the first input of t and nothing else; false when it is better in memory. Where others of
 * their group remain, they may read one tensor: it is written in place of theirs, if it was not anyway. */
static bool find_producers(const fuser *f, const clg_tensor *t, producers *s)
{
    const clg_tensor *x = t->in[0];
    uint32_t          member[MAX_GROUP_NODES];
    size_t            members = 0;
    if (f->uses[x->id] != 1 || f->p->is_output[x->id] || !(x->op->flags & CLG__POINTWISE) || x->dtype != CLG_F32 ||
        x->op == &clg__op_assign || t->count == x->count || x->count == 0 || is_operator(f->p->graph->nodes[f->group[x->id]]))
        return false;
    *s = (producers){.node = {x->id}, .count = 1};
    EACH_MEMBER(m, x->id) member[members++] = m;
    qsort(member, members, sizeof *member, latest_first); /* readers come before what they read */
    for (size_t i = 0; i < members; i++) {
        const clg_tensor *in = f->p->graph->nodes[member[i]];
        if (in == x || in->op == &clg__op_assign || f->p->is_output[in->id] || reads(f, s, in) != f->uses[in->id]) continue;
        if (s->count == MAX_PRODUCERS) return false;
        s->node[s->count++] = in->id;
    }
    s->rest = members > (size_t)s->count;
    for (int i = 0; i < s->count; i++) {
        const clg_tensor *node = f->p->graph->nodes[s->node[i]];
        for (int k = 0; k < node->arity; k++)
            if (!among(s, node->in[k]->id) && !note_operand(s, node->in[k], x)) return false;
    }
    for (size_t e = 0; e < f->edge_count; e++) /* an assignment that has its place waits for one of them where it is */
        if (among(s, f->edges[e].before) && f->group[f->edges[e].after] >= 0 && !among(s, f->edges[e].after)) return false;
    return !s->rest || s->wholes <= 1;
}

/* Moves them from their group to that of t. Nobody else waits for them, so that the order holds. */
static void absorb_producers(fuser *f, const clg_tensor *t)
{
    producers s;
    if (!(t->op->flags & CLG__PRODUCED) || !find_producers(f, t, &s)) return;
    const uint32_t from = (uint32_t)f->group[s.node[0]];
    for (int i = 0; i < s.count; i++) {
        uint32_t before = s.node[i];
        EACH_MEMBER(m, s.node[i]) before = m;
        splice(f, before, s.node[i]); /* out of one ring, */
        splice(f, s.node[i], t->id);  /* into the other */
        f->group[s.node[i]] = (int)t->id;
    }
    if (!s.rest) unlink_group(f, from);
}

/* A gradient is computed with its operator's value, in one pass over what both read. */
static void join_forward(fuser *f, const clg_tensor *t)
{
    for (uint32_t i = t->op->forward && t->count ? t->id : 0; i-- > 0;) {
        const clg_tensor *value = f->p->graph->nodes[i];
        if (value->op != t->op->forward || f->group[i] < 0 || f->next[i] != i ||
            memcmp(value->in, t->in, (size_t)value->arity * sizeof *value->in) != 0)
            continue;
        f->group[t->id] = f->group[i];
        splice(f, t->id, i);
        if (!cyclic(f, t->id)) {
            unlink_group(f, t->id);
            return;
        }
        splice(f, t->id, i);
        f->group[t->id] = (int)t->id;
    }
}

static void find_groups(fuser *f, bool rewrite)
{
    clg_plan *p = f->p;
    for (size_t i = 0; i < p->node_count; i++) {
        const clg_tensor *t = p->graph->nodes[i];
        if (!p->needed[i] || !runs(t) || (t->op == &clg__op_full && !p->is_output[i] && !f->wanted[i])) continue;
        f->group[i] = (int)i;
        append(f, (uint32_t)i);
        if (!rewrite || fold_epilogue(f, t)) continue;
        absorb_producers(f, t);
        join_forward(f, t);
        if (!(t->op->flags & CLG__POINTWISE)) continue;
        for (int k = 0; k < t->arity; k++) try_join(f, t, t->in[k]);
    }
}

static int by_id(const void *a, const void *b)
{
    const clg_tensor *x = *(clg_tensor *const *)a, *y = *(clg_tensor *const *)b;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* ---- the order of execution -------------------------------------------------------------------------------------- */

/* Emits the group of node `id` after everything that it waits for. The stack holds nodes whose group is to be emitted; a
 * group stays on it until its dependencies are done. */
static bool emit(fuser *f, uint32_t id)
{
    clg_plan *p = f->p;
    size_t    top = 0;
    f->stack[top++] = id;
    while (top) {
        const uint32_t now = f->stack[top - 1];
        const size_t   before = top;
        if (p->step_of[now] >= 0) {
            top--;
            continue;
        }
        EACH_MEMBER(m, now) {
            const clg_tensor *t = p->graph->nodes[m];
            for (int k = 0; k < t->arity; k++) {
                const uint32_t in = clg__base_of(t->in[k])->id;
                if (f->group[in] >= 0 && f->group[in] != f->group[now] && p->step_of[in] < 0) f->stack[top++] = in;
            }
            EACH_EDGE_INTO(e, m) {
                const uint32_t first = f->edges[e].before;
                if (f->group[first] != f->group[now] && p->step_of[first] < 0) f->stack[top++] = first;
            }
        }
        if (top > before) continue;
        clg__step *step = &p->steps[p->step_count];
        EACH_MEMBER(m, now) step->count++, p->step_of[m] = p->step_count;
        step->nodes = clg__arena_alloc(&p->arena, (size_t)step->count * sizeof *step->nodes);
        if (!step->nodes) return false;
        int count = 0;
        EACH_MEMBER(m, now) step->nodes[count++] = p->graph->nodes[m];
        qsort(step->nodes, (size_t)count, sizeof *step->nodes, by_id);
        step->op = count - 1;
        while (step->op >= 0 && !is_operator(step->nodes[step->op])) step->op--;
        if (step->op > 0 && is_operator(step->nodes[step->op - 1])) step->forward = step->nodes[step->op - 1];
        p->step_count++;
        top--;
    }
    return true;
}

bool clg__plan_fuse(clg_plan *p)
{
    const size_t n = p->node_count;
    fuser        state = {.p = p, .root = p->object.root, .ends = (uint32_t)n}, *f = &state;
    size_t       inputs = 0;
    f->group = clg__calloc(f->root, n, sizeof *f->group);
    f->next = clg__calloc(f->root, n, sizeof *f->next);
    f->into = clg__calloc(f->root, n, sizeof *f->into);
    f->uses = clg__calloc(f->root, n, sizeof *f->uses);
    f->wanted = clg__calloc(f->root, n, sizeof *f->wanted);
    f->sooner = clg__calloc(f->root, n + 1, sizeof *f->sooner);
    f->later = clg__calloc(f->root, n + 1, sizeof *f->later);
    f->label = clg__calloc(f->root, n + 1, sizeof *f->label);
    f->search = clg__calloc(f->root, n, sizeof *f->search);
    f->met = clg__calloc(f->root, n, sizeof *f->met);
    p->steps = clg__calloc(f->root, n, sizeof *p->steps);
    bool ok = f->group && f->next && f->into && f->uses && f->wanted && f->sooner && f->later && f->label && f->search &&
              f->met && p->steps;
    if (ok) f->sooner[n] = f->later[n] = f->ends;
    for (uint32_t i = 0; ok && i < n; i++) {
        const clg_tensor *t = p->graph->nodes[i];
        f->group[i] = p->step_of[i] = f->into[i] = -1;
        f->next[i] = i;
        inputs += (size_t)t->arity;
        if (p->needed[i]) note_inputs(f, t);
    }
    ok = ok && order_assignments(f);
    f->stack = ok ? clg__calloc(f->root, n + inputs + f->edge_count + 1, sizeof *f->stack) : NULL;
    ok = ok && f->stack;
    if (ok) find_groups(f, clg__may_rewrite(p->graph) && !p->graph->alone);
    for (uint32_t i = 0; ok && i < n; i++) { /* a group at its last node, unless somebody needs it sooner */
        bool last = f->group[i] >= 0;
        EACH_MEMBER(m, i) last = last && m <= i;
        if (last) ok = emit(f, i);
    }
    void *const arrays[] = {f->group, f->next,  f->into,  f->uses,   f->wanted, f->sooner,
                            f->later, f->label, f->search, f->met, f->stack, f->edges};
    for (size_t i = 0; i < CLG__COUNT(arrays); i++) free(arrays[i]);
    if (!ok) clg__fail(p->object.root, CLG_OUT_OF_MEMORY, "out of host memory for a plan of %zu nodes", n);
    return ok;
}
