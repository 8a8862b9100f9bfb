/* test_planner.c - properties of plans on random input: memory, order, places.
 *
 * Thousands of random graphs are planned without a device and carried out on paper: every element of planned and of
 * persistent memory remembers which node wrote it, and each step must find the values that it reads. Some are run. */
#include "plan/plan.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "plan_fixture.h"

/* A stream of numbers for a property test. */
typedef struct dice {
    uint64_t seed, at;
} dice;

static uint32_t roll(dice *d, uint32_t below) { return clg_random_u32(d->seed, d->at++) % below; }

/* ---- the memory planner ------------------------------------------------------------------------------------------ */

static uint64_t rounded(uint64_t bytes, uint64_t align) { return (bytes + align - 1) / align * align; }

static void expect_apart(const clg__interval *v, size_t count, const clg__slabs *slabs, uint64_t max_slab,
                         uint64_t align)
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
            assert_false(together && v[k].bytes && v[k].offset < v[i].offset + v[i].bytes &&
                         v[i].offset < v[k].offset + v[k].bytes);
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
        const uint64_t align = aligns[roll(&d, 4)],
                       max_slab = largest + (roll(&d, 2) ? roll(&d, 3 * largest) : 1000000);
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
            for (size_t i = 0; i < count; i++)
                alive += v[i].first <= (int)step && (int)step <= v[i].last ? v[i].bytes : 0;
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
    for (int i = 0; i < COUNT; i++)
        v[i] = (clg__interval){.bytes = 640, .first = i, .last = i + 1}; /* a chain: two buffers */
    assert_true(clg__plan_memory(v, COUNT, 1 << 20, ALIGN, &slabs));
    assert_int_equal(slabs.count, 1);
    assert_int_equal(slabs.bytes[0], 2 * 640);
    free(slabs.bytes);
    slabs = (clg__slabs){0};
    for (int i = 0; i < COUNT; i++)
        v[i] = (clg__interval){.bytes = 128, .first = 0, .last = COUNT}; /* all at once: the sum */
    assert_true(clg__plan_memory(v, COUNT, 1 << 20, ALIGN, &slabs));
    assert_int_equal(slabs.bytes[0], COUNT * 128);
    free(slabs.bytes);
    slabs = (clg__slabs){0};
    for (int i = 0; i < COUNT; i++)
        v[i] = (clg__interval){.bytes = 64u * (1 + (unsigned)i), .first = 2 * i, .last = 2 * i};
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

/* ---- random graphs ----------------------------------------------------------------------------------------------- */

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
    case 7:
        return rank ? clg_mean(a, &(clg_reduce_desc){.axes = {(int)roll(d, (uint32_t)rank)},
                                                     .count = 1,
                                                     .keepdims = roll(d, 2)})
                    : NULL;
    case 8: return clg_max(a, NULL);
    case 9: return rank == 2 ? clg_transpose(a, 0, 1) : clg_flatten(a, 0);
    case 10: return rank == 2 ? clg_reshape(a, CLG_SHAPE(a->shape.dim[1], a->shape.dim[0])) : NULL;
    case 11: return rank ? clg_softmax(a) : NULL;
    case 12:
        if (rank != 2 || b->shape.rank != 2 || a->shape.dim[1] != b->shape.dim[0]) return NULL;
        return clg_relu(clg_matmul(a, b, NULL));
    default: {
        const size_t l = roll(d, (uint32_t)s->leaves);
        if (!clg_shape_equal(s->leaf[l]->shape, a->shape) || s->outs + 3 > MAX_ROOTS || (s->assigned[l] && !reread))
            return NULL;
        if (roll(d, 2)) a = clg_add(a, s->leaf[l]);
        s->assigned[l] = true;
        return s->out[s->outs++] = clg_assign(s->leaf[l], a);
    }
    }
}

/* `reread`: nodes may read what was assigned before them. */
static sketch draw_graph(clg_graph *g, dice *d, int nodes, bool reread)
{
    static const clg_shape shapes[] = {{2, {4, 6}}, {2, {6, 4}}, {1, {6}}, {2, {4, 1}},
                                       {0, {0}},    {2, {4, 6}}, {1, {24}}};
    sketch s = {.g = g, .from = g->count, .leaves = 2 + roll(d, MAX_LEAVES - 1)};
    for (size_t i = 0; i < s.leaves; i++) {
        const clg_shape shape = shapes[roll(d, CLG__COUNT(shapes))];
        s.leaf[i] = roll(d, 2) ? clg_input(g, CLG_F32, shape) : clg_state(g, CLG_F32, shape);
    }
    for (int i = 0; i < nodes; i++) grow(&s, d, reread);
    for (uint32_t i = 0, wanted = 1 + roll(d, 3); i < wanted; i++) s.out[s.outs++] = pick(&s, d, false);
    assert_false(clg_context_failed(ctx));
    return s;
}

/* ---- plans carried out on paper ---------------------------------------------------------------------------------- */

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
    if (!at.storage)
        return m->planned[m->p->intervals[at.interval].slab] + m->p->intervals[at.interval].offset / 4 + at.offset;
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
        if (t->op == &clg__op_assign && m->p->needed[i] && ((const clg__assign_attr *)t->attr)->to == leaf)
            return (int)i;
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
        assert_true(m->p->steps[s].count > 1); /* handed on within the kernel, to an epilogue perhaps reshaped */
        assert_true(in == base || (m->p->steps[s].op >= 0 && m->p->step_of[in->id] == s));
        return;
    }
    if (base->op == &clg__op_full && m->p->step_of[base->id] < 0) return; /* an argument of the kernel */
    const int writer = base->op == &clg__op_leaf ? expected_writer(m, base, t->id) : (int)base->id;
    if (base->op != &clg__op_leaf) assert_true(m->p->step_of[base->id] >= 0 && m->p->step_of[base->id] < s);
    const int *owner = owners(m, m->p->place[base->id]);
    for (int64_t i = 0; i < base->count; i++)
        if (owner[i] != writer)
            fail_msg("step %d: %s (%u) reads element %lld of node %u (%s): written by %d instead of %d", s, t->op->name,
                     t->id, (long long)i, base->id, base->op->name, owner[i], writer);
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
            if ((m->p->step_of[base->id] == s && base->op != &clg__op_leaf) || (!from.storage && from.interval < 0))
                continue;
            const int *read = owners(m, from);
            if (read + base->count <= to || to + out->count <= read) continue;
            assert_true(same_place(from, m->p->place[out->id]) && base->count == out->count);
            assert_true(step->op < 0 ? clg__reads_exactly(t, base)
                                        : (t->op->flags & CLG__INPLACE) && k == 0 && step->count == 1);
        }
}

/* `again`: what is kept is left out. */
static void perform(paper *m, int step, bool again)
{
    const clg_plan  *p = m->p;
    const clg__step *now = &p->steps[step];
    if (again && now->lasting == CLG__LASTS) return;
    for (int i = 0; i < now->count; i++)
        for (int k = 0; k < now->nodes[i]->arity; k++) expect_to_find(m, step, now->nodes[i], now->nodes[i]->in[k]);
    for (int i = 0; i < now->count; i++) {
        const clg__place at = p->place[now->nodes[i]->id];
        if (!at.storage && at.interval < 0) continue;
        assert_true(now->op < 0 || i == now->count - 1); /* of an operator and its epilogue, the last is written */
        expect_harmless(m, step, now->nodes[i]);
    }
    for (int i = 0; i < now->count; i++) {
        const clg_tensor *t = now->nodes[i];
        const clg__place  at = p->place[t->id];
        int              *owner = at.storage || at.interval >= 0 ? owners(m, at) : NULL;
        for (int64_t e = 0; owner && e < t->count; e++) owner[e] = (int)t->id;
    }
}

/* The steps that are kept are added to *kept. */
static void carry_out(const sketch *s, int *kept)
{
    clg_plan *p = clg__plan_prepare(s->out, s->outs, 0);
    if (!p && strstr(clg_context_error(ctx), "a reshape made before an assignment")) { /* refused, as it should be */
        clg_context_clear_error(ctx);
        return;
    }
    if (!p) fail_msg("%s", clg_context_error(ctx));
    paper m = {.p = p, .s = s};
    assert_true(clg__plan_memory(p->intervals, p->interval_count, 1 << 20, 64, &m.slabs));
    expect_apart(p->intervals, p->interval_count, &m.slabs, 1 << 20, 64);
    assert_true(m.slabs.count <= (int)CLG__COUNT(m.planned));
    for (int i = 0; i < m.slabs.count; i++) m.planned[i] = blank(m.slabs.bytes[i] / 4 + 16);
    for (int run = 0; run < 4; run++) { /* the third prepares again what is kept */
        for (int step = 0; step < p->step_count; step++) perform(&m, step, run % 2);
        for (size_t i = 0; i < m.storages && run < 3; i++) /* the host fills them anew */
            for (int64_t e = 0; e < m.storage[i]->count; e++) m.held[i][e] = -1;
    }
    for (int step = 0; step < p->step_count; step++) *kept += p->steps[step].lasting == CLG__LASTS;
    for (size_t i = 0; i < s->outs; i++) {
        const clg_tensor *base = clg__base_of(s->out[i]);
        if (base->op == &clg__op_leaf || !base->count) continue;
        int last = (int)base->id;
        if (base->op == &clg__op_assign)
            last = expected_writer(&m, ((const clg__assign_attr *)base->attr)->to, p->graph->count);
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
    int kept = 0;
    for (uint64_t seed = 0; seed < 2000; seed++) {
        dice       d = {seed, 0};
        clg_graph *g = new_graph();
        const sketch s = draw_graph(g, &d, 4 + (int)roll(&d, 60), true);
        if (seed % 5 == 0) setenv("CLGRAD_REWRITE", "0", 1);
        carry_out(&s, &kept);
        unsetenv("CLGRAD_REWRITE");
        clg_graph_destroy(&g);
    }
    assert_true(kept > 1000);
}

static void fill_leaf(clg__reference *ref, clg_tensor *leaf, uint64_t seed)
{
    float  value[24];
    double exact[24];
    for (int64_t k = 0; k < leaf->count; k++)
        exact[k] = (double)(value[k] = 2.0f * clg_random_uniform(seed + leaf->id, (uint64_t)k) - 1.0f);
    assert_int_equal(clg_tensor_write(leaf, value, (size_t)leaf->count * 4), CLG_OK);
    clg__reference_set(ref, leaf, exact);
}

/* Many graphs in one plan, so that they compile together; the same again without fusion. A second run finds only those leaves
 * written that the first has assigned to, a third the inputs too, and a fourth states. */
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
        assert_true(clg_plan_statistics(plan).kept_launches > 5);
        for (uint64_t run = 0; run < 4; run++) {
            for (int i = 0; i < GRAPHS; i++)
                for (size_t l = 0; l < s[i].leaves; l++)
                    if (run == 0 || s[i].assigned[l] || (run > 1 && (run == 3 || s[i].leaf[l]->storage->fed)))
                        fill_leaf(ref, s[i].leaf[l], 1000 * run);
            clg_plan_run(plan);
            for (size_t o = 0; o < count; o++) {
                float         got[600];
                const double *value = clg__reference_value(ref, outs[o]);
                assert_true(value && outs[o]->count <= 600);
                assert_int_equal(clg_tensor_read(outs[o], got, (size_t)outs[o]->count * 4), CLG_OK);
                for (int64_t k = 0; k < outs[o]->count; k++)
                    if (!(fabs((double)got[k] - value[k]) <= 1e-4 * (1.0 + fabs(value[k]))))
                        fail_msg("pass %d, run %d, output %zu (%s %u)[%lld]: %g instead of %g", pass, (int)run, o,
                                 outs[o]->op->name, outs[o]->id, (long long)k, (double)got[k], value[k]);
            }
        }
        clg_plan_destroy(&plan);
    }
    clg__reference_destroy(&ref);
    clg_graph_destroy(&g);
}

int main(int argc, char **argv) /* an argument selects tests: "random*" */
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(intervals_alive_together_never_overlap, begin),
        cmocka_unit_test_setup(simple_patterns_take_the_least_memory, begin),
        cmocka_unit_test_setup(random_plans_hold_on_paper, begin),
        cmocka_unit_test_setup(random_graphs_give_the_interpreters_values, begin),
    };
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, open_context, close_context);
}
