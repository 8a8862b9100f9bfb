/* test_plan.c - plans: memory, fusion, assignments, what a run moves, and limits.
 *
 * Thousands of random graphs are planned without a device and carried out on paper: every element of planned and of
 * persistent memory remembers which node wrote it, and each step must find the values that it reads. Some are run. */
#include "plan/plan.h"
#include <clgrad/clgrad.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static clg_context *ctx;

static int open_context(void **state)
{
    (void)state;
    ctx = clg_context_create(NULL);
    if (clg_context_failed(ctx)) fprintf(stderr, "%s\n", clg_context_error(ctx));
    return clg_context_failed(ctx) ? -1 : 0;
}

static int close_context(void **state)
{
    (void)state;
    clg_context_destroy(&ctx);
    return 0;
}

static int begin(void **state)
{
    (void)state;
    unsetenv("CLGRAD_REWRITE");
    clg_context_clear_error(ctx);
    return 0;
}

static clg_graph *new_graph(void)
{
    clg_graph *g = clg_graph_create(ctx, NULL);
    assert_non_null(g);
    return g;
}

static clg_plan *planned(clg_tensor *const *outs, size_t count)
{
    clg_plan *plan = clg_plan_create_all(outs, count);
    if (!plan) fail_msg("%s\n%s", clg_context_error(ctx), clg_context_build_log(ctx));
    return plan;
}

#define PLAN(...) planned(TENSORS(__VA_ARGS__))
#define TENSORS(...) ((clg_tensor *const[]){__VA_ARGS__}), sizeof((clg_tensor *[]){__VA_ARGS__}) / sizeof(clg_tensor *)

static void expect(clg_tensor *t, const float *value)
{
    float got[64];
    assert_true(t && t->count <= 64);
    assert_int_equal(clg_tensor_read(t, got, (size_t)t->count * 4), CLG_OK);
    for (int64_t i = 0; i < t->count; i++)
        if (got[i] != value[i]) fail_msg("element %lld is %g instead of %g", (long long)i, (double)got[i], (double)value[i]);
}
#define EXPECT(t, ...) expect(t, (const float[]){__VA_ARGS__})

static clg_tensor *given(clg_graph *g, clg_shape shape, const float *value)
{
    clg_tensor *t = clg_input(g, CLG_F32, shape);
    assert_int_equal(clg_tensor_write(t, value, (size_t)t->count * 4), CLG_OK);
    return t;
}

/* A stream of numbers for a property test. */
typedef struct dice {
    uint64_t seed, at;
} dice;

static uint32_t roll(dice *d, uint32_t below) { return clg_random_u32(d->seed, d->at++) % below; }

/* ---- the memory planner ------------------------------------------------------------------------------------------- */

static uint64_t rounded(uint64_t bytes, uint64_t align) { return (bytes + align - 1) / align * align; }

static void expect_apart(const clg__interval *v, size_t count, const clg__slabs *slabs, uint64_t max_slab, uint64_t align)
{
    uint64_t sum = 0, total = 0;
    for (size_t i = 0; i < count; i++) {
        sum += rounded(v[i].bytes, align);
        if (v[i].bytes == 0) {
            assert_int_equal(v[i].slab, -1);
            continue;
        }
        assert_in_range(v[i].slab, 0, slabs->count - 1);
        assert_int_equal(v[i].offset % align, 0);
        assert_true(v[i].offset + v[i].bytes <= slabs->bytes[v[i].slab]);
        for (size_t k = 0; k < i; k++) {
            const bool together = v[k].first <= v[i].last && v[i].first <= v[k].last && v[k].slab == v[i].slab;
            assert_false(together && v[k].bytes && v[k].offset < v[i].offset + v[i].bytes && v[i].offset < v[k].offset + v[k].bytes);
        }
    }
    for (int s = 0; s < slabs->count; s++) {
        assert_true(slabs->bytes[s] <= max_slab);
        total += slabs->bytes[s];
    }
    assert_true(total <= sum);
}

static void intervals_alive_together_never_overlap(void **state)
{
    (void)state;
    enum { MOST = 60 };
    static const uint64_t aligns[] = {1, 4, 64, 256};
    for (uint64_t seed = 0; seed < 3000; seed++) {
        clg__interval  v[MOST];
        dice           d = {seed, 0};
        clg__slabs     slabs = {0};
        const size_t   count = roll(&d, MOST + 1);
        const uint32_t steps = 1 + roll(&d, 40), largest = 1 + roll(&d, 5000);
        const uint64_t align = aligns[roll(&d, 4)], max_slab = largest + (roll(&d, 2) ? roll(&d, 3 * largest) : 1000000);
        uint64_t       peak = 0;
        for (size_t i = 0; i < count; i++) {
            const int first = (int)roll(&d, steps);
            v[i] = (clg__interval){.bytes = roll(&d, 8) ? roll(&d, largest + 1) : 0, .first = first,
                                   .last = first + (int)roll(&d, steps), .slab = 7, .offset = 7};
        }
        assert_true(clg__plan_memory(v, count, max_slab, align, &slabs));
        expect_apart(v, count, &slabs, max_slab, align);
        for (uint32_t step = 0; step < 2 * steps; step++) {
            uint64_t alive = 0;
            for (size_t i = 0; i < count; i++) alive += v[i].first <= (int)step && (int)step <= v[i].last ? v[i].bytes : 0;
            peak = CLG__MAX(peak, alive);
        }
        uint64_t total = 0;
        for (int s = 0; s < slabs.count; s++) total += slabs.bytes[s];
        assert_true(total >= peak);
        free(slabs.bytes);
    }
}

static void simple_patterns_take_the_least_memory(void **state)
{
    (void)state;
    enum { COUNT = 50, ALIGN = 64 };
    clg__interval v[COUNT];
    clg__slabs    slabs = {0};
    for (int i = 0; i < COUNT; i++) v[i] = (clg__interval){.bytes = 640, .first = i, .last = i + 1}; /* a chain: two buffers */
    assert_true(clg__plan_memory(v, COUNT, 1 << 20, ALIGN, &slabs));
    assert_int_equal(slabs.count, 1);
    assert_int_equal(slabs.bytes[0], 2 * 640);
    free(slabs.bytes);
    slabs = (clg__slabs){0};
    for (int i = 0; i < COUNT; i++) v[i] = (clg__interval){.bytes = 128, .first = 0, .last = COUNT}; /* all at once: the sum */
    assert_true(clg__plan_memory(v, COUNT, 1 << 20, ALIGN, &slabs));
    assert_int_equal(slabs.bytes[0], COUNT * 128);
    free(slabs.bytes);
    slabs = (clg__slabs){0};
    for (int i = 0; i < COUNT; i++) v[i] = (clg__interval){.bytes = 64u * (1 + (unsigned)i), .first = 2 * i, .last = 2 * i};
    assert_true(clg__plan_memory(v, COUNT, 1 << 20, ALIGN, &slabs)); /* never two: the largest */
    assert_int_equal(slabs.bytes[0], 64 * COUNT);
    free(slabs.bytes);
    slabs = (clg__slabs){0};
    for (int i = 0; i < COUNT; i++) v[i] = (clg__interval){.bytes = 1000, .first = 0, .last = 0}; /* one to a slab */
    assert_true(clg__plan_memory(v, COUNT, 1500, ALIGN, &slabs));
    assert_int_equal(slabs.count, COUNT);
    free(slabs.bytes);
    slabs = (clg__slabs){0};
    v[3].bytes = 1501;
    assert_false(clg__plan_memory(v, COUNT, 1500, ALIGN, &slabs));
    free(slabs.bytes);
    slabs = (clg__slabs){0};
    assert_true(clg__plan_memory(NULL, 0, 1500, ALIGN, &slabs));
    assert_int_equal(slabs.count, 0);
    free(slabs.bytes);
}

/* ---- random graphs ------------------------------------------------------------------------------------------------ */

enum { MAX_LEAVES = 5, MAX_ROOTS = 12 };

typedef struct sketch { /* a random graph */
    clg_graph  *g;
    clg_tensor *leaf[MAX_LEAVES], *out[MAX_ROOTS];
    bool        assigned[MAX_LEAVES]; /* and so no longer read, unless `reread` */
    size_t      leaves, outs;
    uint32_t    from; /* its first node */
} sketch;

static bool may_read(const sketch *s, const clg_tensor *t, bool reread)
{
    for (size_t i = 0; i < s->leaves && !reread; i++)
        if (s->assigned[i] && clg__base_of(t) == s->leaf[i]) return false;
    return t->dtype == CLG_F32 && t->op != &clg__op_assign;
}

static clg_tensor *pick(const sketch *s, dice *d, bool reread)
{
    for (;;) {
        const uint32_t range = s->g->count - s->from, back = roll(d, 2) ? CLG__MIN(range, 6u) : range;
        clg_tensor    *t = s->g->nodes[s->g->count - 1 - roll(d, back)];
        if (may_read(s, t, reread)) return t;
    }
}

/* One more node, mostly pointwise; values stay small. NULL when the choice does not fit. */
static clg_tensor *grow(sketch *s, dice *d, bool reread)
{
    clg_tensor *a = pick(s, d, reread), *b = pick(s, d, reread);
    clg_shape   both;
    const bool  fit = clg__broadcast(a->shape, b->shape, &both) && clg_shape_count(both) <= 600;
    const int   rank = a->shape.rank;
    switch (roll(d, 14)) {
    case 0: return clg_tanh(a);
    case 1: return clg_relu(a);
    case 2: return clg_neg(a);
    case 3: return clg_scale(a, 0.5);
    case 4: return fit ? clg_add(a, b) : NULL;
    case 5: return fit ? clg_sub(a, b) : NULL;
    case 6: return fit ? clg_mul(clg_tanh(a), b) : NULL;
    case 7: return rank ? clg_mean(a, &(clg_reduce_desc){.axes = {(int)roll(d, (uint32_t)rank)}, .count = 1, .keepdims = roll(d, 2)}) : NULL;
    case 8: return clg_max(a, NULL);
    case 9: return rank == 2 ? clg_transpose(a, 0, 1) : clg_flatten(a, 0);
    case 10: return rank == 2 ? clg_reshape(a, CLG_SHAPE(a->shape.dim[1], a->shape.dim[0])) : NULL;
    case 11: return rank ? clg_softmax(a) : NULL;
    case 12:
        if (rank != 2 || b->shape.rank != 2 || a->shape.dim[1] != b->shape.dim[0]) return NULL;
        return clg_relu(clg_matmul(a, b, NULL));
    default: {
        const size_t l = roll(d, (uint32_t)s->leaves);
        if (!clg_shape_equal(s->leaf[l]->shape, a->shape) || s->outs + 3 > MAX_ROOTS || (s->assigned[l] && !reread)) return NULL;
        if (roll(d, 2)) a = clg_add(a, s->leaf[l]);
        s->assigned[l] = true;
        return s->out[s->outs++] = clg_assign(s->leaf[l], a);
    }
    }
}

/* `reread`: nodes may read what was assigned before them. */
static sketch draw_graph(clg_graph *g, dice *d, int nodes, bool reread)
{
    static const clg_shape shapes[] = {{2, {4, 6}}, {2, {6, 4}}, {1, {6}}, {2, {4, 1}}, {0, {0}}, {2, {4, 6}}, {1, {24}}};
    sketch s = {.g = g, .from = g->count, .leaves = 2 + roll(d, MAX_LEAVES - 1)};
    for (size_t i = 0; i < s.leaves; i++) s.leaf[i] = clg_state(g, CLG_F32, shapes[roll(d, CLG__COUNT(shapes))]);
    for (int i = 0; i < nodes; i++) grow(&s, d, reread);
    for (uint32_t i = 0, wanted = 1 + roll(d, 3); i < wanted; i++) s.out[s.outs++] = pick(&s, d, false);
    assert_false(clg_context_failed(ctx));
    return s;
}

/* ---- plans carried out on paper ----------------------------------------------------------------------------------- */

typedef struct paper { /* who wrote each element: a node's id, or -1 */
    const clg_plan *p;
    const sketch   *s;
    int            *planned[8], *held[64];
    clg__storage   *storage[64];
    size_t          storages;
    clg__slabs      slabs;
} paper;

static int *blank(uint64_t elements)
{
    int *owner = malloc((elements + 1) * sizeof *owner);
    assert_non_null(owner);
    for (uint64_t i = 0; i < elements; i++) owner[i] = -1;
    return owner;
}

static int *owners(paper *m, clg__place at)
{
    if (!at.storage) return m->planned[m->p->intervals[at.interval].slab] + m->p->intervals[at.interval].offset / 4 + at.offset;
    size_t i = 0;
    while (i < m->storages && m->storage[i] != at.storage) i++;
    if (i == m->storages) {
        assert_true(i < CLG__COUNT(m->held));
        m->storage[i] = at.storage;
        m->held[m->storages++] = blank((uint64_t)at.storage->count);
    }
    return m->held[i] + at.offset;
}

/* The assignment whose value a node created as number `reader` sees in this leaf, or -1. */
static int expected_writer(const paper *m, const clg_tensor *leaf, uint32_t reader)
{
    for (uint32_t i = reader; i-- > 0;) {
        const clg_tensor *t = m->p->graph->nodes[i];
        if (t->op == &clg__op_assign && m->p->needed[i] && ((const clg__assign_attr *)t->attr)->to == leaf) return (int)i;
    }
    return -1;
}

static bool same_place(clg__place a, clg__place b)
{
    return a.storage == b.storage && a.interval == b.interval && a.offset == b.offset;
}

/* The value that node t of step s reads must be there, whole. */
static void expect_to_find(paper *m, int s, const clg_tensor *t, const clg_tensor *in)
{
    const clg_tensor *base = clg__base_of(in);
    if (m->p->step_of[base->id] == s && base->op != &clg__op_leaf) {
        assert_true(in == base && m->p->steps[s].count > 1); /* handed on within the kernel */
        return;
    }
    if (base->op == &clg__op_full && m->p->step_of[base->id] < 0) return; /* an argument of the kernel */
    const int writer = base->op == &clg__op_leaf ? expected_writer(m, base, t->id) : (int)base->id;
    if (base->op != &clg__op_leaf) assert_true(m->p->step_of[base->id] >= 0 && m->p->step_of[base->id] < s);
    const int *owner = owners(m, m->p->place[base->id]);
    for (int64_t i = 0; i < base->count; i++)
        if (owner[i] != writer)
            fail_msg("step %d: %s (%u) reads element %lld of node %u (%s): written by %d instead of %d", s, t->op->name, t->id,
                     (long long)i, base->id, base->op->name, owner[i], writer);
}

/* `out` may be written over a value that the step still reads only where each element is read before it is written. */
static void expect_harmless(paper *m, int s, const clg_tensor *out)
{
    const clg__step *step = &m->p->steps[s];
    const int       *to = owners(m, m->p->place[out->id]);
    for (int i = 0; i < step->count; i++)
        for (int k = 0; k < step->nodes[i]->arity; k++) {
            const clg_tensor *t = step->nodes[i], *base = clg__base_of(t->in[k]);
            const clg__place  from = m->p->place[base->id];
            if ((m->p->step_of[base->id] == s && base->op != &clg__op_leaf) || (!from.storage && from.interval < 0)) continue;
            const int *read = owners(m, from);
            if (read + base->count <= to || to + out->count <= read) continue;
            assert_true(same_place(from, m->p->place[out->id]) && base->count == out->count);
            assert_true(step->pointwise ? clg__reads_exactly(t, base)
                                        : (t->op->flags & CLG__INPLACE) && k == 0 && step->count == 1);
        }
}

static void carry_out(const sketch *s)
{
    clg_plan *p = clg__plan_prepare(s->out, s->outs, 0);
    if (!p) fail_msg("%s", clg_context_error(ctx));
    paper m = {.p = p, .s = s};
    assert_true(clg__plan_memory(p->intervals, p->interval_count, 1 << 20, 64, &m.slabs));
    expect_apart(p->intervals, p->interval_count, &m.slabs, 1 << 20, 64);
    assert_true(m.slabs.count <= (int)CLG__COUNT(m.planned));
    for (int i = 0; i < m.slabs.count; i++) m.planned[i] = blank(m.slabs.bytes[i] / 4 + 16);
    for (int step = 0; step < p->step_count; step++) {
        const clg__step *now = &p->steps[step];
        for (int i = 0; i < now->count; i++)
            for (int k = 0; k < now->nodes[i]->arity; k++) expect_to_find(&m, step, now->nodes[i], now->nodes[i]->in[k]);
        for (int i = 0; i < now->count; i++) {
            const clg__place at = p->place[now->nodes[i]->id];
            if (!at.storage && at.interval < 0) continue;
            assert_true(now->pointwise || i == now->count - 1); /* of an operator and its epilogue, the last is written */
            expect_harmless(&m, step, now->nodes[i]);
        }
        for (int i = 0; i < now->count; i++) {
            const clg_tensor *t = now->nodes[i];
            const clg__place  at = p->place[t->id];
            int              *owner = at.storage || at.interval >= 0 ? owners(&m, at) : NULL;
            for (int64_t e = 0; owner && e < t->count; e++) owner[e] = (int)t->id;
        }
    }
    for (size_t i = 0; i < s->outs; i++) {
        const clg_tensor *base = clg__base_of(s->out[i]);
        if (base->op == &clg__op_leaf || !base->count) continue;
        int last = (int)base->id;
        if (base->op == &clg__op_assign) last = expected_writer(&m, ((const clg__assign_attr *)base->attr)->to, p->graph->count);
        assert_int_equal(owners(&m, p->place[base->id])[0], last);
        assert_int_equal(owners(&m, p->place[base->id])[base->count - 1], last);
    }
    for (int i = 0; i < m.slabs.count; i++) free(m.planned[i]);
    for (size_t i = 0; i < m.storages; i++) free(m.held[i]);
    free(m.slabs.bytes);
    clg_plan_destroy(&p);
}

static void random_plans_hold_on_paper(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 2000; seed++) {
        dice       d = {seed, 0};
        clg_graph *g = new_graph();
        const sketch s = draw_graph(g, &d, 4 + (int)roll(&d, 60), true);
        if (seed % 5 == 0) setenv("CLGRAD_REWRITE", "0", 1);
        carry_out(&s);
        unsetenv("CLGRAD_REWRITE");
        clg_graph_destroy(&g);
    }
}

/* Many graphs in one plan, so that they compile together; the same again without fusion. */
static void random_graphs_give_the_interpreters_values(void **state)
{
    (void)state;
    enum { GRAPHS = 40 };
    static sketch s[GRAPHS];
    clg_tensor   *outs[GRAPHS * MAX_ROOTS];
    size_t        count = 0;
    dice          d = {99, 0};
    clg_graph    *g = new_graph();
    for (int i = 0; i < GRAPHS; i++) {
        s[i] = draw_graph(g, &d, 6 + (int)roll(&d, 14), false);
        for (size_t k = 0; k < s[i].outs; k++) outs[count++] = s[i].out[k];
    }
    clg__reference *ref = clg__reference_create(g);
    assert_non_null(ref);
    for (int pass = 0; pass < 2; pass++) {
        if (pass) setenv("CLGRAD_REWRITE", "0", 1);
        clg_plan *plan = planned(outs, count);
        unsetenv("CLGRAD_REWRITE");
        for (int i = 0; i < GRAPHS; i++)
            for (size_t l = 0; l < s[i].leaves; l++) {
                float  value[24];
                double exact[24];
                for (int64_t k = 0; k < s[i].leaf[l]->count; k++)
                    exact[k] = (double)(value[k] = 2.0f * clg_random_uniform(s[i].leaf[l]->id, (uint64_t)k) - 1.0f);
                assert_int_equal(clg_tensor_write(s[i].leaf[l], value, (size_t)s[i].leaf[l]->count * 4), CLG_OK);
                clg__reference_set(ref, s[i].leaf[l], exact);
            }
        clg_plan_run(plan);
        for (size_t o = 0; o < count; o++) {
            float         got[600];
            const double *value = clg__reference_value(ref, outs[o]);
            assert_true(value && outs[o]->count <= 600);
            assert_int_equal(clg_tensor_read(outs[o], got, (size_t)outs[o]->count * 4), CLG_OK);
            for (int64_t k = 0; k < outs[o]->count; k++)
                if (!(fabs((double)got[k] - value[k]) <= 1e-4 * (1.0 + fabs(value[k]))))
                    fail_msg("pass %d, output %zu (%s %u)[%lld]: %g instead of %g", pass, o, outs[o]->op->name, outs[o]->id,
                             (long long)k, (double)got[k], value[k]);
        }
        clg_plan_destroy(&plan);
    }
    clg__reference_destroy(&ref);
    clg_graph_destroy(&g);
}

/* ---- fusion ------------------------------------------------------------------------------------------------------- */

static size_t launches(clg_tensor *const *outs, size_t count)
{
    clg_plan    *plan = planned(outs, count);
    const size_t n = clg_plan_statistics(plan).launches;
    clg_plan_destroy(&plan);
    return n;
}
#define LAUNCHES(...) launches(TENSORS(__VA_ARGS__))

static void pointwise_chains_are_one_launch(void **state)
{
    (void)state;
    clg_graph  *g = new_graph();
    clg_tensor *x = clg_input(g, CLG_F32, CLG_SHAPE(5, 7)), *row = clg_input(g, CLG_F32, CLG_SHAPE(7));
    clg_tensor *column = clg_input(g, CLG_F32, CLG_SHAPE(5, 1));
    clg_tensor *y = clg_tanh(clg_div(clg_mul(clg_relu(clg_add(x, row)), column), clg_add(clg_exp(x), clg_scalar(g, 1.0))));
    assert_int_equal(LAUNCHES(y), 1);
    assert_int_equal(LAUNCHES(y, clg_neg(y)), 1); /* two results of one kernel */
    setenv("CLGRAD_REWRITE", "0", 1);
    assert_int_equal(LAUNCHES(y), 7);
    clg_graph_destroy(&g);
}

static void activations_fold_into_products(void **state)
{
    (void)state;
    clg_graph  *g = new_graph();
    clg_tensor *x = clg_input(g, CLG_F32, CLG_SHAPE(5, 7)), *w = clg_input(g, CLG_F32, CLG_SHAPE(7, 3));
    clg_tensor *b = clg_input(g, CLG_F32, CLG_SHAPE(3)), *image = clg_input(g, CLG_F32, CLG_SHAPE(2, 1, 6, 6));
    clg_tensor *filter = clg_input(g, CLG_F32, CLG_SHAPE(4, 1, 3, 3));
    clg_tensor *y = clg_matmul(x, w, &(clg_matmul_desc){.bias = b}), *z = clg_relu(y);
    clg_tensor *convolved = clg_conv2d(image, filter, NULL, NULL);
    assert_int_equal(LAUNCHES(y), 1);
    assert_int_equal(LAUNCHES(z), 1);
    assert_int_equal(LAUNCHES(clg_relu(convolved)), LAUNCHES(convolved));
    assert_int_equal(LAUNCHES(y, z), 2); /* the product itself is wanted too */
    assert_int_equal(LAUNCHES(clg_add(z, clg_neg(y))), 2);
    setenv("CLGRAD_REWRITE", "0", 1);
    assert_int_equal(LAUNCHES(z), 2);
    clg_graph_destroy(&g);
}

static void a_diamond_through_a_reduction_stays_apart(void **state)
{
    (void)state;
    clg_graph  *g = new_graph();
    clg_tensor *x = given(g, CLG_SHAPE(4), (const float[]){1, 2, 3, 2}), *twice = clg_add(x, x);
    clg_tensor *y = clg_div(twice, clg_sum(twice, NULL));
    clg_plan   *plan = PLAN(y);
    assert_int_equal(clg_plan_statistics(plan).launches, 3);
    clg_plan_run(plan);
    EXPECT(y, 0.125f, 0.25f, 0.375f, 0.25f);
    clg_plan_destroy(&plan);
    clg_graph_destroy(&g);
}

static clg_tensor *small_network(clg_model *m, clg_tensor *x)
{
    x = clg_relu(clg_nn_conv2d(m, "conv", x, &(clg_conv2d_desc){.channels = 3, .kernel = 3}));
    x = clg_flatten(clg_max_pool2d(x, &(clg_pool2d_desc){.kernel = 2}), 1);
    x = clg_relu(clg_nn_linear(m, "fc1", x, &(clg_linear_desc){.features = 9, .no_bias = true}));
    return clg_nn_linear(m, "fc2", x, &(clg_linear_desc){.features = 5});
}

typedef struct training {
    clg_model     *m;
    clg_graph     *g;
    clg_tensor    *x, *labels, *loss;
    clg_optimizer *opt;
    clg_plan      *step;
} training;

static training start_training(clg_context *in)
{
    training t = {.m = clg_model_create(in, &(clg_model_desc){.seed = 5}), .g = clg_graph_create(in, &(clg_graph_desc){.training = true})};
    t.x = clg_input(t.g, CLG_F32, CLG_SHAPE(8, 1, 8, 8));
    t.labels = clg_input(t.g, CLG_I32, CLG_SHAPE(8));
    t.loss = clg_cross_entropy(small_network(t.m, t.x), t.labels);
    t.opt = clg_adam_create(t.m, NULL);
    return t;
}

static void end_training(training *t)
{
    clg_plan_destroy(&t->step);
    clg_optimizer_destroy(&t->opt);
    clg_graph_destroy(&t->g);
    clg_model_destroy(&t->m);
}

static void feed(const training *t)
{
    float   x[8 * 64];
    int32_t labels[8];
    for (size_t i = 0; i < CLG__COUNT(x); i++) x[i] = clg_random_uniform(1, i);
    for (size_t i = 0; i < 8; i++) labels[i] = (int32_t)(i % 5);
    clg_tensor_write(t->x, x, sizeof x);
    clg_tensor_write(t->labels, labels, sizeof labels);
}

static void an_optimizer_step_is_one_launch(void **state)
{
    (void)state;
    training    t = start_training(ctx);
    clg_tensor *gradients = clg_model_gradients(t.m, t.loss);
    assert_int_equal(clg_model_count(t.m), 5);
    const size_t without = LAUNCHES(t.loss, gradients);
    t.step = clg_plan_train(t.loss, t.opt);
    assert_non_null(t.step);
    assert_int_equal(clg_plan_statistics(t.step).launches, without + 1);
    const size_t fused = clg_plan_statistics(t.step).launches;
    clg_plan_destroy(&t.step);
    setenv("CLGRAD_REWRITE", "0", 1);
    t.step = clg_plan_train(t.loss, t.opt);
    assert_non_null(t.step);
    assert_true(clg_plan_statistics(t.step).launches > fused + 10);
    end_training(&t);
}

/* ---- assignments -------------------------------------------------------------------------------------------------- */

static void assignments_take_effect_in_order(void **state)
{
    (void)state;
    clg_graph  *g = new_graph();
    clg_tensor *a = clg_state(g, CLG_F32, CLG_SHAPE(3)), *one = clg_full(g, CLG_SHAPE(3), 1.0);
    clg_tensor *before = clg_scale(a, 10.0), *count = clg_assign(a, clg_add(a, one)), *after = clg_scale(a, 10.0);
    clg_tensor *again = clg_assign(a, clg_mul(a, a)), *last = clg_sum(a, NULL);
    for (int rewrite = 0; rewrite < 2; rewrite++) {
        setenv("CLGRAD_REWRITE", rewrite ? "1" : "0", 1);
        assert_int_equal(clg_tensor_write(a, (const float[]){1, 2, 3}, 12), CLG_OK);
        clg_plan *plan = PLAN(before, count, after, again, last);
        clg_plan_run(plan);
        EXPECT(before, 10, 20, 30);
        EXPECT(after, 20, 30, 40);
        EXPECT(a, 4, 9, 16);
        EXPECT(last, 29);
        clg_plan_run(plan);
        EXPECT(before, 40, 90, 160);
        EXPECT(a, 25, 100, 289);
        clg_plan_destroy(&plan);
    }
    clg_graph_destroy(&g);
}

static void states_can_be_exchanged(void **state)
{
    (void)state;
    clg_graph  *g = new_graph();
    clg_tensor *a = given(g, CLG_SHAPE(2, 2), (const float[]){1, 2, 3, 4}), *b = given(g, CLG_SHAPE(2, 2), (const float[]){5, 6, 7, 8});
    clg_tensor *old_a = clg_scale(a, 1.0), *old_b = clg_scale(b, 1.0); /* a, b = b, a */
    clg_plan   *plan = PLAN(clg_assign(a, old_b), clg_assign(b, old_a));
    clg_plan_run(plan);
    EXPECT(a, 5, 6, 7, 8);
    EXPECT(b, 1, 2, 3, 4);
    clg_plan_run(plan);
    EXPECT(a, 1, 2, 3, 4);
    clg_plan_destroy(&plan);
    plan = PLAN(clg_assign(a, clg_transpose(a, 0, 1))); /* reads other elements than it writes */
    clg_plan_run(plan);
    EXPECT(a, 1, 3, 2, 4);
    clg_plan_destroy(&plan);
    plan = PLAN(clg_assign(a, clg_add(a, clg_transpose(a, 0, 1))), clg_assign(b, clg_matmul(b, b, NULL)));
    clg_plan_run(plan);
    EXPECT(a, 2, 5, 5, 8);
    EXPECT(b, 67, 78, 91, 106);
    clg_plan_destroy(&plan);
    clg_graph_destroy(&g);
}

static void anything_can_be_assigned(void **state)
{
    (void)state;
    clg_graph  *g = new_graph();
    clg_tensor *a = clg_state(g, CLG_F32, CLG_SHAPE(2, 2)), *b = clg_state(g, CLG_F32, CLG_SHAPE(4));
    clg_tensor *x = given(g, CLG_SHAPE(4), (const float[]){1, 2, 3, 4}), *c = clg_state(g, CLG_F32, CLG_SCALAR);
    clg_tensor *n = clg_state(g, CLG_I32, CLG_SHAPE(3)), *m = clg_state(g, CLG_I32, CLG_SHAPE(3)), *none = clg_state(g, CLG_F32, CLG_SHAPE(0));
    assert_int_equal(clg_tensor_write(n, (const int32_t[]){16777217, -5, 7}, 12), CLG_OK); /* no float32 */
    clg_plan *plan = PLAN(clg_assign(a, clg_reshape(x, CLG_SHAPE(2, 2))), clg_assign(b, clg_full(g, CLG_SHAPE(4), 2.5)),
                          clg_assign(c, clg_sum(x, NULL)), clg_assign(m, n), clg_assign(none, none));
    clg_plan_run(plan);
    int32_t whole[3];
    EXPECT(a, 1, 2, 3, 4);
    EXPECT(b, 2.5f, 2.5f, 2.5f, 2.5f);
    EXPECT(c, 10);
    assert_int_equal(clg_tensor_read(m, whole, sizeof whole), CLG_OK);
    assert_true(whole[0] == 16777217 && whole[1] == -5 && whole[2] == 7);
    clg_plan_destroy(&plan);
    plan = PLAN(clg_assign(b, clg_reshape(a, CLG_SHAPE(4))), clg_assign(a, clg_reshape(x, CLG_SHAPE(2, 2))));
    assert_int_equal(clg_tensor_write(x, (const float[]){9, 8, 7, 6}, 16), CLG_OK);
    clg_plan_run(plan);
    EXPECT(b, 1, 2, 3, 4); /* read before it was overwritten */
    EXPECT(a, 9, 8, 7, 6);
    clg_plan_destroy(&plan);
    clg_graph_destroy(&g);
}

/* ---- outputs ------------------------------------------------------------------------------------------------------ */

static void anything_can_be_an_output(void **state)
{
    (void)state;
    clg_graph  *g = new_graph();
    clg_tensor *x = given(g, CLG_SHAPE(2, 2), (const float[]){1, 2, 3, 4}), *view = clg_reshape(x, CLG_SHAPE(4));
    clg_tensor *y = clg_neg(x), *shown = clg_flatten(y, 0), *z = clg_exp(clg_sub(y, y)), *constant = clg_full(g, CLG_SHAPE(3), 0.5);
    clg_tensor *none = clg_neg(clg_input(g, CLG_F32, CLG_SHAPE(0, 3))), *total = clg_sum(none, NULL);
    clg_plan   *plan = PLAN(x, view, shown, z, y, constant, none, total, z);
    clg_plan_run(plan);
    EXPECT(x, 1, 2, 3, 4);
    EXPECT(view, 1, 2, 3, 4);
    EXPECT(y, -1, -2, -3, -4);
    EXPECT(shown, -1, -2, -3, -4);
    EXPECT(z, 1, 1, 1, 1);
    EXPECT(constant, 0.5f, 0.5f, 0.5f);
    EXPECT(total, 0);
    assert_int_equal(clg_tensor_read(none, NULL, 0), CLG_OK);
    clg_plan *later = PLAN(clg_scale(z, 3.0)), *third = PLAN(clg_neg(shown)); /* outputs of one plan inside another */
    clg_plan_run(later);
    clg_plan_run(third);
    assert_int_equal(clg_context_finish(ctx), CLG_OK);
    clg_plan_destroy(&third);
    clg_plan_destroy(&later);
    clg_plan_destroy(&plan);
    clg_graph_destroy(&g);
}

static void dumps_name_every_launch(void **state)
{
    (void)state;
    training t = start_training(ctx);
    char    *text = NULL;
    size_t   size = 0;
    FILE    *to = open_memstream(&text, &size);
    t.step = clg_plan_train(t.loss, t.opt);
    clg_plan_dump(t.step, to);
    clg_plan_dump(NULL, to);
    fclose(to);
    static const char *const words[] = {"conv2d", "relu", "gemm", "max_pool2d", "cross_entropy", "assign", "the parameters", "bytes planned"};
    for (size_t i = 0; i < CLG__COUNT(words); i++)
        if (!strstr(text, words[i])) fail_msg("the dump does not mention %s:\n%s", words[i], text);
    free(text);
    end_training(&t);
}

/* ---- runs --------------------------------------------------------------------------------------------------------- */

static void a_steady_step_moves_nothing_but_its_numbers(void **state)
{
    (void)state;
    enum { STEPS = 10 };
    training t = start_training(ctx);
    t.step = clg_plan_train(t.loss, t.opt);
    assert_non_null(t.step);
    feed(&t);
    clg_plan_run(t.step);
    const double first = clg_tensor_scalar(t.loss);
    const clg_counters before = clg_context_counters(ctx);
    for (int i = 0; i < STEPS; i++) clg_plan_run(t.step);
    assert_int_equal(clg_context_finish(ctx), CLG_OK);
    const clg_counters after = clg_context_counters(ctx);
    assert_int_equal(after.allocations, before.allocations);
    assert_int_equal(after.bytes_allocated, before.bytes_allocated);
    assert_int_equal(after.program_builds, before.program_builds);
    assert_int_equal(after.program_loads, before.program_loads);
    assert_int_equal(after.bytes_from_device, before.bytes_from_device);
    assert_in_range(after.bytes_to_device - before.bytes_to_device, 1, STEPS * 16); /* Adam's numbers */
    assert_int_equal(after.launches - before.launches, STEPS * clg_plan_statistics(t.step).launches);
    assert_true(clg_tensor_scalar(t.loss) < first);
    end_training(&t);
}

static void memory_of_a_plan_is_as_stated(void **state)
{
    (void)state;
    training       t = start_training(ctx);
    const uint64_t before = clg_context_counters(ctx).bytes_allocated;
    t.step = clg_plan_train(t.loss, t.opt);
    const clg_plan_stats stats = clg_plan_statistics(t.step);
    assert_true(stats.planned_bytes < stats.unplanned_bytes);
    assert_true(stats.persistent_bytes > 0 && stats.nodes > stats.launches);
    const uint64_t held = clg_context_counters(ctx).bytes_allocated - before;
    assert_true(held >= stats.planned_bytes + stats.persistent_bytes && held <= stats.planned_bytes + stats.persistent_bytes + 4096);
    end_training(&t);
}

static void count_runs(void *user, uint64_t run)
{
    uint64_t *next = user;
    assert_int_equal(run, *next);
    ++*next;
}

static void the_hook_is_called_before_each_run(void **state)
{
    (void)state;
    clg_graph *g = new_graph();
    uint64_t   next = 0;
    clg_plan  *plan = PLAN(clg_neg(clg_input(g, CLG_F32, CLG_SHAPE(2))));
    clg_plan_on_run(plan, count_runs, &next);
    for (int i = 0; i < 3; i++) clg_plan_run(plan);
    assert_int_equal(next, 3);
    clg_plan_destroy(&plan);
    clg_graph_destroy(&g);
}

static void too_much_memory_is_refused(void **state)
{
    (void)state;
    const clg_device_info *device = clg_context_device(ctx);
    const int64_t          whole = (int64_t)(device->memory / 4), most = (int64_t)(device->max_allocation / 4);
    const uint64_t         before = clg_context_counters(ctx).bytes_allocated;
    clg_graph             *g = new_graph();
    clg_tensor            *x = clg_input(g, CLG_F32, CLG_SHAPE(most / 16 + 1, 16)), *wide = clg_input(g, CLG_F32, CLG_SHAPE(whole / 2, 1));
    clg_tensor            *row = clg_input(g, CLG_F32, CLG_SHAPE(1, 4));
    clg_tensor            *result = clg_add(wide, row), *between = clg_sum(clg_transpose(clg_add(wide, row), 0, 1), NULL);
    clg_tensor *const      refused[] = {result, between, clg_sum(clg_transpose(x, 0, 1), NULL)};
    for (size_t i = 0; i < CLG__COUNT(refused); i++) {
        assert_null(clg_plan_create(refused[i]));
        assert_int_equal(clg_context_status(ctx), CLG_OUT_OF_MEMORY);
        assert_non_null(strstr(clg_context_error(ctx), "MiB"));
        assert_non_null(strstr(clg_context_error(ctx), device->name));
        clg_context_clear_error(ctx);
        assert_int_equal(clg_context_counters(ctx).bytes_allocated, before);
    }
    clg_tensor *small = clg_neg(row);
    clg_plan   *plan = PLAN(small);
    clg_plan_run(plan);
    EXPECT(small, 0, 0, 0, 0);
    clg_plan_destroy(&plan);
    clg_graph_destroy(&g);
}

typedef struct worker {
    pthread_t thread;
    float     losses[6];
    bool      failed;
} worker;

static void *train_alone(void *user)
{
    worker      *w = user;
    clg_context *own = clg_context_create(NULL);
    training     t = start_training(own);
    t.step = clg_plan_train(t.loss, t.opt);
    if (t.step) feed(&t);
    for (size_t i = 0; i < CLG__COUNT(w->losses); i++) {
        clg_plan_run(t.step);
        w->losses[i] = (float)clg_tensor_scalar(t.loss);
    }
    w->failed = clg_context_failed(own);
    clg_context_destroy(&own);
    return NULL;
}

static void two_threads_train_alike(void **state)
{
    (void)state;
    worker w[2] = {0};
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&w[i].thread, NULL, train_alone, &w[i]), 0);
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_join(w[i].thread, NULL), 0);
    assert_false(w[0].failed || w[1].failed);
    assert_memory_equal(w[0].losses, w[1].losses, sizeof w[0].losses);
    assert_true(w[0].losses[5] < w[0].losses[0]);
}

int main(int argc, char **argv) /* an argument selects tests: "random*" */
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(intervals_alive_together_never_overlap, begin),
        cmocka_unit_test_setup(simple_patterns_take_the_least_memory, begin),
        cmocka_unit_test_setup(random_plans_hold_on_paper, begin),
        cmocka_unit_test_setup(random_graphs_give_the_interpreters_values, begin),
        cmocka_unit_test_setup(pointwise_chains_are_one_launch, begin),
        cmocka_unit_test_setup(activations_fold_into_products, begin),
        cmocka_unit_test_setup(a_diamond_through_a_reduction_stays_apart, begin),
        cmocka_unit_test_setup(an_optimizer_step_is_one_launch, begin),
        cmocka_unit_test_setup(assignments_take_effect_in_order, begin),
        cmocka_unit_test_setup(states_can_be_exchanged, begin),
        cmocka_unit_test_setup(anything_can_be_assigned, begin),
        cmocka_unit_test_setup(anything_can_be_an_output, begin),
        cmocka_unit_test_setup(dumps_name_every_launch, begin),
        cmocka_unit_test_setup(a_steady_step_moves_nothing_but_its_numbers, begin),
        cmocka_unit_test_setup(memory_of_a_plan_is_as_stated, begin),
        cmocka_unit_test_setup(the_hook_is_called_before_each_run, begin),
        cmocka_unit_test_setup(too_much_memory_is_refused, begin),
        cmocka_unit_test_setup(two_threads_train_alike, begin),
    };
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, open_context, close_context);
}
