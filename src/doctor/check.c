/* check.c - what the device computes of cases, beside what the double-precision interpreter does. */
#include "doctor/cases.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    GUARD = 37, /* elements: intervals start at odd offsets */
    DRAWS = 3,  /* of values, to see how large results are */
};

static const double roundings = 4.0;   /* of sqrt(terms) times the largest element: see cases.h */
static const double step = 0x1p-20;    /* of central differences */
static const double difference = 1e-6; /* what their own error may be, relative */

void clg__case_fault(const clg__check *check, const clg__case *of, const char *format, ...)
{
    clg__fault fault = {.of = of};
    va_list    args;
    va_start(args, format);
    vsnprintf(fault.text, sizeof fault.text, format, args);
    va_end(args);
    check->failed(check->user, &fault);
}

static double rounding_of(const op_row *row) { return roundings * sqrt(fmax(row->terms, 1.0)) * 0x1p-24; }

double clg__case_tolerance(const op_row *row, double largest)
{
    return row->flags & EXACT ? 0.0 : rounding_of(row) * largest;
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

static void upload(clg_tensor *t, const double *value)
{
    const size_t size = clg_dtype_size(t->dtype), bytes = (size_t)t->count * size;
    char        *data = clg__calloc(t->graph->object.root, bytes + 1, 1);
    for (int64_t i = 0; data && i < t->count; i++) {
        if (t->dtype == CLG_F32) ((float *)(void *)data)[i] = (float)value[i];
        else if (t->dtype == CLG_I32) ((int32_t *)(void *)data)[i] = (int32_t)value[i];
        else ((uint8_t *)data)[i] = (uint8_t)value[i];
    }
    if (data) clg_tensor_write(t, data, bytes);
    free(data);
}

static void upload_all(const clg__batch *b)
{
    for (size_t i = 0; i < b->count; i++)
        for (int k = 0; k < b->subjects[i].leaves; k++) upload(b->subjects[i].leaf[k], b->subjects[i].value[k]);
}

static void *download(clg_tensor *t)
{
    const size_t bytes = (size_t)t->count * 4;
    void        *data = clg__calloc(t->graph->object.root, bytes + 1, 1);
    if (data) clg_tensor_read(t, data, bytes);
    return data;
}

static void free_results(void **results, size_t count)
{
    for (size_t i = 0; results && i < count; i++) free(results[i]);
    free(results);
}

/* Runs the plan on results that were spoilt before, so that what is read was written by this run. NULL: the context failed. */
static void **run(const clg__batch *b, clg_plan *plan)
{
    void **results = clg__calloc(clg__context_root(b->ctx), b->out_count + 1, sizeof *results);
    for (size_t i = 0; results && i < b->out_count; i++) {
        const size_t bytes = (size_t)b->outs[i]->count * 4;
        void        *spoilt = clg__base_of(b->outs[i])->op == &clg__op_leaf ? NULL : malloc(bytes + 1);
        if (!spoilt) continue;
        memset(spoilt, 0xff, bytes); /* NaN */
        clg_tensor_write(b->outs[i], spoilt, bytes);
        free(spoilt);
    }
    clg_plan_run(plan);
    for (size_t i = 0; results && i < b->out_count; i++) results[i] = download(b->outs[i]);
    if (!clg_context_failed(b->ctx)) return results;
    free_results(results, b->out_count);
    return NULL;
}

static double value_at(const clg_tensor *t, const void *values, int64_t i)
{
    return t->dtype == CLG_I32 ? (double)((const int32_t *)values)[i] : (double)((const float *)values)[i];
}

/* ---- comparisons ------------------------------------------------------------------------------------------------- */

/* What the k-th result of the subject is. */
static const char *result_name(const clg__subject *s, int k)
{
    static const char *const names[] = {"y", "dx0", "dx1", "dx2", "ddx0", "ddx1", "ddx2", "ddw"};
    if (k <= s->wrts) return names[k];
    return k == 2 * s->wrts + 1 ? "ddw" : names[3 + k - s->wrts];
}

static void compare_bits(const clg__batch *b, void **one, void **other, const clg__check *check, const char *when)
{
    size_t at = 0;
    for (size_t i = 0; i < b->count; i++)
        for (int k = 0; k < b->subjects[i].outs; k++, at++)
            if (memcmp(one[at], other[at], (size_t)b->outs[at]->count * 4) != 0)
                clg__case_fault(check, b->subjects[i].of, "%s has other bits %s", result_name(&b->subjects[i], k), when);
}

static void compare(const clg__subject *s, int k, const double *expected, const void *result, const clg__check *check)
{
    const clg_tensor *t = s->out[k];
    const double      tolerance = clg__case_tolerance(&s->of->row, s->largest[k]);
    for (int64_t i = 0; i < t->count; i++) {
        const double got = value_at(t, result, i), error = fabs(got - expected[i]);
        if (error <= tolerance) continue;
        clg__case_fault(check, s->of, "%s[%lld] is %.9g instead of %.9g: off by %.2g where %.2g is allowed", result_name(s, k),
                        (long long)i, got, expected[i], error, tolerance);
        return;
    }
}

static void compare_all(const clg__batch *b, clg__reference *ref, void **results, const clg__check *check)
{
    size_t at = 0;
    for (size_t i = 0; i < b->count; i++)
        for (int k = 0; k < b->subjects[i].outs; k++, at++) {
            const double *expected = clg__reference_value(ref, b->outs[at]);
            if (expected) compare(&b->subjects[i], k, expected, results[at], check);
            else clg__case_fault(check, b->subjects[i].of, "no reference value of %s", result_name(&b->subjects[i], k));
        }
}

/* The interpreter with the values of the cases, after other draws of them have shown how large results are. */
static clg__reference *reference_of(const clg__batch *b)
{
    clg__reference *ref = clg__reference_create(b->g);
    for (size_t i = 0; ref && i < b->count; i++) {
        clg__subject *s = &b->subjects[i];
        for (int draw = DRAWS - 1; draw >= 0; draw--) {
            for (int k = 0; k < s->leaves; k++) {
                double *value = clg__subject_draw(s, k, s->seed + 64 * (uint64_t)draw);
                if (value) clg__reference_set(ref, s->leaf[k], value);
                free(value);
            }
            for (int k = 0; k < s->outs; k++) {
                const double *value = clg__reference_value(ref, s->out[k]);
                for (int64_t e = 0; value && e < s->out[k]->count; e++)
                    s->largest[k] = fmax(s->largest[k], fabs(value[e]));
            }
        }
    }
    return ref;
}

/* ---- derivatives ------------------------------------------------------------------------------------------------- */

static double reference_scalar(clg__reference *ref, const clg_tensor *t)
{
    const double *value = clg__reference_value(ref, t);
    return value ? *value : (double)NAN;
}

/* d f / d leaf in a random direction, by differences and by the gradient: of the reference, and the device's. */
static void compare_derivative(const clg__subject *s, clg__reference *ref, const clg_tensor *f, const clg_tensor *leaf,
                               const clg_tensor *gradient, const void *device, const clg__check *check, const char *what)
{
    int k = 0;
    while (s->leaf[k] != leaf) k++;
    const size_t n = (size_t)leaf->count;
    clg__root   *root = leaf->graph->object.root;
    double      *direction = clg__calloc(root, n + 1, sizeof *direction), *at = clg__calloc(root, n + 1, sizeof *at);
    double       sum = 0.0, device_sum = 0.0, size = 0.0, side[2] = {0};
    for (size_t i = 0; direction && i < n; i++) direction[i] = 2.0 * (double)clg_random_uniform(s->seed + 77, i) - 1.0;
    for (int d = 0; direction && at && d < 2; d++) {
        for (size_t i = 0; i < n; i++) at[i] = s->value[k][i] + (d ? -step : step) * direction[i];
        clg__reference_set(ref, leaf, at);
        side[d] = reference_scalar(ref, f);
    }
    clg__reference_set(ref, leaf, s->value[k]);
    const double *expected = clg__reference_value(ref, gradient);
    for (size_t i = 0; direction && expected && i < n; i++) {
        sum += expected[i] * direction[i];
        device_sum += (double)((const float *)device)[i] * direction[i];
        size += fabs(expected[i] * direction[i]);
    }
    const double slope = (side[0] - side[1]) / (2.0 * step);
    const double noise = 0x1p-50 / step * (1.0 + fabs(side[0]) + size); /* of the two losses themselves */
    if (!(fabs(slope - sum) <= difference * size + noise))
        clg__case_fault(check, s->of, "%s of input %d: differences give %.9g, the reference's gradient %.9g", what, k, slope, sum);
    if (!(fabs(slope - device_sum) <= (difference + rounding_of(&s->of->row)) * size + noise))
        clg__case_fault(check, s->of, "%s of input %d: differences give %.9g, the device's gradient %.9g", what, k, slope,
                        device_sum);
    free(direction);
    free(at);
}

static void compare_derivatives(const clg__batch *b, clg__reference *ref, void **results, const clg__check *check)
{
    size_t at = 0;
    for (size_t i = 0; i < b->count; i++) {
        const clg__subject *s = &b->subjects[i];
        for (int k = 0; s->loss && k < s->wrts; k++)
            compare_derivative(s, ref, s->loss, s->wrt[k], s->d[k], results[at + 1 + (size_t)k], check, "the derivative");
        for (int k = 0; s->slope && k <= s->wrts; k++)
            compare_derivative(s, ref, s->slope, s->wrt[k], s->dd[k], results[at + 1 + (size_t)(s->wrts + k)], check,
                               "the second derivative");
        at += (size_t)s->outs;
    }
}

/* ---- a plan of cases --------------------------------------------------------------------------------------------- */

typedef struct attempt {
    clg__batch      batch;
    clg_plan       *plan, *guarded; /* where guarded is asked for, plan is there in a thorough check only */
    void          **results, **other;
    clg__reference *ref;
    bool            overrun;
} attempt;

static void compute(attempt *a, const clg__check *check)
{
    clg__batch *b = &a->batch;
    if (check->displaced || check->guarded) a->guarded = clg__plan_create_guarded(b->outs, b->out_count, GUARD);
    if (!a->guarded || check->thorough) a->plan = clg__plan_create_guarded(b->outs, b->out_count, 0);
    if (clg_context_failed(b->ctx)) return;
    upload_all(b);
    if (a->plan) a->results = run(b, a->plan);
    if (a->plan && !a->guarded && check->thorough) a->other = run(b, a->plan);
    if (!a->guarded || clg_context_failed(b->ctx)) return;
    clg__plan_guards_fill(a->guarded);
    void ***to = a->plan ? &a->other : &a->results;
    *to = run(b, a->guarded);
    a->overrun = !clg__plan_guards_intact(a->guarded);
}

/* False when no plan of these cases could be made or run, or memory beyond theirs was written: `why` says which. */
static bool try_cases(clg_context *ctx, const clg__case *cases, size_t count, const clg__check *check, clg__fault *why)
{
    attempt a = {.overrun = false};
    bool    whole = clg__batch_open(&a.batch, ctx, cases, count, check);
    if (whole && a.batch.out_count > 0) compute(&a, check);
    whole = whole && !clg_context_failed(ctx) && !a.overrun;
    if (whole && a.batch.out_count > 0) a.ref = reference_of(&a.batch);
    if (a.ref) compare_all(&a.batch, a.ref, a.results, check);
    if (a.ref && a.other) compare_bits(&a.batch, a.results, a.other, check, a.guarded ? "between guards" : "in the second run");
    if (a.ref && check->thorough && !a.guarded) compare_derivatives(&a.batch, a.ref, a.results, check);
    if (clg_context_failed(ctx)) snprintf(why->text, sizeof why->text, "%s", clg_context_error(ctx));
    else if (a.overrun) snprintf(why->text, sizeof why->text, "memory beside its own was written");
    else if (whole && a.batch.out_count > 0 && !a.ref) snprintf(why->text, sizeof why->text, "out of host memory");
    else why->text[0] = '\0';
    free_results(a.results, a.batch.out_count);
    free_results(a.other, a.batch.out_count);
    clg__reference_destroy(&a.ref);
    clg_plan_destroy(&a.plan);
    clg_plan_destroy(&a.guarded);
    clg__batch_close(&a.batch);
    clg_context_clear_error(ctx);
    return !why->text[0];
}

static size_t halve(clg_context *ctx, const clg__case *cases, size_t count, const clg__check *check)
{
    clg__fault why = {.of = count == 1 ? cases : NULL};
    if (count == 0 || try_cases(ctx, cases, count, check, &why)) return 0;
    size_t found = count == 1 ? 0 : halve(ctx, cases, count / 2, check) + halve(ctx, cases + count / 2, count - count / 2, check);
    if (found == 0) check->failed(check->user, &why);
    return found + (found == 0);
}

void clg__cases_check(clg_context *ctx, const clg__case *cases, size_t count, const clg__check *check)
{
    halve(ctx, cases, count, check);
}

/* ---- which operator ---------------------------------------------------------------------------------------------- */

/* Every node's values: as the device computed them, and those of views from these. Compared with what the operator's
 * reference makes of the same inputs. */
typedef struct witness {
    const clg__batch *batch;
    double          **value; /* by node id */
    void            **results;
} witness;

static double largest_of(const double *value, int64_t count)
{
    double largest = 0.0;
    for (int64_t i = 0; i < count; i++) largest = fmax(largest, fabs(value[i]));
    return largest;
}

/* Between its parts and beside them a result may hold anything; the reference has what kernels read there. */
static bool is_hidden(const clg_tensor *t, int64_t element)
{
    bool parts = t->op->flags & CLG__BYTES;
    for (uint32_t i = t->id + 1; i < t->graph->count; i++) {
        const clg_tensor *view = t->graph->nodes[i];
        if (!(view->op->flags & CLG__PART) || view->in[0] != t) continue;
        const int64_t from = ((const clg__part *)view->attr)->offset;
        if (element >= from && element < from + view->count) return false;
        parts = true;
    }
    return parts;
}

/* A result may nearly cancel: its inputs count too. */
static bool is_wrong(const witness *w, const clg_tensor *t, const double *expected)
{
    double largest = largest_of(expected, t->count);
    for (int k = 0; k < t->arity; k++) /* bytes that are no numbers would allow any fault */
        for (int64_t i = 0; i < t->in[k]->count; i++)
            if (!is_hidden(t->in[k], i)) largest = fmax(largest, fabs(w->value[t->in[k]->id][i]));
    const double tolerance = clg__case_tolerance(&w->batch->subjects[0].of->row, largest);
    for (int64_t i = 0; i < t->count; i++) {
        const double got = w->value[t->id][i];
        if (!(fabs(got - expected[i]) <= tolerance) && !(isnan(got) && isnan(expected[i]))) return true;
    }
    return false;
}

static const double *leaf_value(const clg__subject *s, const clg_tensor *t)
{
    for (int k = 0; k < s->leaves; k++)
        if (s->leaf[k] == t) return s->value[k];
    return NULL;
}

/* Fills in the node's value; its operator's name when that is wrong. */
static const char *judge(witness *w, const clg_tensor *t, const void *result)
{
    clg__root    *root = t->graph->object.root;
    const double *given = leaf_value(w->batch->subjects, t);
    double       *expected = clg__calloc(root, (size_t)t->count + 1, sizeof *expected);
    const double **in = clg__calloc(root, (size_t)t->arity + 1, sizeof *in);
    const char   *wrong = NULL;
    bool          ready = expected && in;
    for (int k = 0; ready && k < t->arity; k++) ready = (in[k] = w->value[t->in[k]->id]) != NULL;
    if (ready && t->op == &clg__op_leaf) {
        if (given && t->count > 0) memcpy(expected, given, (size_t)t->count * sizeof *expected);
    } else if (ready && t->op->reference) {
        const clg_tensor *x = t->arity ? t->in[0] : t;
        const size_t      n = x->shape.rank ? (size_t)x->shape.dim[x->shape.rank - 1] : 1;
        t->op->reference(&(clg__ref){.node = t, .in = in, .out = expected, .rows = n ? (size_t)x->count / n : 0, .n = n});
    }
    double *value = w->value[t->id] = clg__calloc(root, (size_t)t->count + 1, sizeof *value);
    for (int64_t i = 0; ready && value && i < t->count; i++) value[i] = result && !is_hidden(t, i) ? value_at(t, result, i) : expected[i];
    if (ready && value && result && t->op->reference && is_wrong(w, t, expected)) wrong = t->op->name;
    free(expected);
    free(in);
    return wrong;
}

static void ignore(void *user, const clg__fault *fault) { (void)user, (void)fault; }

/* The nodes with launches that the case's results need, in their order. */
static size_t needed_nodes(const clg__batch *b, clg_tensor **nodes, bool *needed)
{
    size_t count = 0;
    for (size_t i = 0; i < b->out_count; i++) needed[b->outs[i]->id] = true;
    for (uint32_t i = b->g->count; i-- > 0;)
        for (int k = 0; needed[i] && k < b->g->nodes[i]->arity; k++) needed[b->g->nodes[i]->in[k]->id] = true;
    for (uint32_t i = 0; i < b->g->count; i++)
        if (needed[i] && !(b->g->nodes[i]->op->flags & (CLG__VIEW | CLG__LEAF))) nodes[count++] = b->g->nodes[i];
    return count;
}

const char *clg__case_blame(clg_context *ctx, const clg__case *c, uint64_t seed)
{
    clg__batch       b;
    witness          w = {.batch = &b};
    const char      *wrong = NULL;
    const clg__check check = {.seed = seed, .failed = ignore};
    clg__root       *root = clg__context_root(ctx);
    bool             ready = clg__batch_open(&b, ctx, c, 1, &check) && b.count == 1;
    const uint32_t   nodes = ready ? b.g->count : 0;
    clg_tensor     **outs = clg__calloc(root, nodes + 1u, sizeof *outs);
    bool            *needed = clg__calloc(root, nodes + 1u, sizeof *needed);
    w.value = clg__calloc(root, nodes + 1u, sizeof *w.value);
    ready = ready && outs && needed && w.value;
    const size_t     count = ready ? needed_nodes(&b, outs, needed) : 0;
    clg_plan        *plan = count ? clg__plan_create_guarded(outs, count, 0) : NULL;
    if (plan) {
        upload_all(&b);
        free(b.outs);
        b.outs = outs, b.out_count = count, outs = NULL;
        w.results = run(&b, plan);
    }
    for (size_t i = 0, at = 0; w.results && i < nodes && !wrong; i++) {
        const bool launched = at < count && b.outs[at] == b.g->nodes[i];
        if (needed[i]) wrong = judge(&w, b.g->nodes[i], launched ? w.results[at] : NULL);
        at += launched;
    }
    free_results(w.results, count);
    for (size_t i = 0; w.value && i < nodes; i++) free(w.value[i]);
    free(w.value);
    free(needed);
    free(outs);
    clg_plan_destroy(&plan);
    clg__batch_close(&b);
    clg_context_clear_error(ctx);
    return wrong;
}
