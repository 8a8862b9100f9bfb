/* optim.c - optimisers, as ordinary nodes on the model's whole parameter buffer.
 *
 * A rule is a table row: how many states of the parameters' size it keeps, the numbers that change from step to step,
 * and the formula. All is pointwise on tensors of one shape, so a plan makes one kernel of it, with the clipping,
 * penalties and mask of frozen parameters; a norm is a reduction before. The changing numbers are computed in double
 * precision on the host and uploaded as small inputs. */
#include "schedule.h"
#include <math.h>
#include <stdlib.h>

enum { MAX_STATES = 2, MAX_NUMBERS = 3 };

typedef struct update { /* what a formula works with */
    clg_graph  *graph;
    clg_tensor *p, *g;                 /* parameters and their gradient, [n] */
    clg_tensor *state[MAX_STATES];     /* [n] */
    clg_tensor *number[MAX_NUMBERS];   /* scalars of this step */
    clg_tensor *next[MAX_STATES + 1];  /* the results: states, then parameters */
} update;

typedef struct rule {
    const char *names[MAX_STATES]; /* of the states */
    int         states, numbers;
    void (*numbers_at)(const clg_optimizer *opt, double lr, uint64_t step, float *number); /* step counts from 1 */
    void (*formula)(const clg_optimizer *opt, update *u);
} rule;

struct clg_optimizer {
    const rule  *rule;
    clg_context *ctx;
    clg_model   *model; /* NULL: destroyed, and still there for plans that know it */
    clg_graph   *graph; /* holds the states; NULL: no plan has been made */
    clg_tensor  *state[MAX_STATES], *numbers[MAX_NUMBERS];
    double       lr, momentum, beta1, beta2, eps, decay;
    uint64_t     steps, schedule_start;
    clg_gradient_desc gradient;
    clg_schedule_desc schedule;
};

/* ---- rules ------------------------------------------------------------------------------------------------------- */

static void lr_alone(const clg_optimizer *opt, double lr, uint64_t step, float *number)
{
    (void)opt, (void)step;
    number[0] = (float)lr;
}

static void sgd(const clg_optimizer *opt, update *u) /* p - lr g */
{
    (void)opt;
    u->next[0] = clg_sub(u->p, clg_mul(u->number[0], u->g));
}

static void momentum(const clg_optimizer *opt, update *u) /* v = momentum v + g; p - lr v */
{
    u->next[0] = clg_add(clg_scale(u->state[0], opt->momentum), u->g);
    u->next[1] = clg_sub(u->p, clg_mul(u->number[0], u->next[0]));
}

static void nesterov(const clg_optimizer *opt, update *u) /* p - lr (g + momentum v) */
{
    u->next[0] = clg_add(clg_scale(u->state[0], opt->momentum), u->g);
    u->next[1] = clg_sub(u->p, clg_mul(u->number[0], clg_add(u->g, clg_scale(u->next[0], opt->momentum))));
}

static clg_tensor *rms_step(const clg_optimizer *opt, update *u) /* g / (sqrt(s) + eps) with the new s */
{
    u->next[0] = clg_add(clg_scale(u->state[0], opt->beta2), clg_scale(clg_mul(u->g, u->g), 1.0 - opt->beta2));
    return clg_div(u->g, clg_add(clg_sqrt(u->next[0]), clg_scalar(u->graph, opt->eps)));
}

static void rmsprop(const clg_optimizer *opt, update *u)
{
    clg_tensor *by = rms_step(opt, u);
    u->next[1] = clg_sub(u->p, clg_mul(u->number[0], by));
}

static void rmsprop_momentum(const clg_optimizer *opt, update *u)
{
    clg_tensor *by = rms_step(opt, u);
    u->next[1] = clg_add(clg_scale(u->state[1], opt->momentum), by);
    u->next[2] = clg_sub(u->p, clg_mul(u->number[0], u->next[1]));
}

/* lr / (1 - beta1^t) and 1 / sqrt(1 - beta2^t) */
static void adam_numbers(const clg_optimizer *opt, double lr, uint64_t step, float *number)
{
    number[0] = (float)(lr / (1.0 - pow(opt->beta1, (double)step)));
    number[1] = (float)(1.0 / sqrt(1.0 - pow(opt->beta2, (double)step)));
}

static void adam(const clg_optimizer *opt, update *u) /* 1 - beta in double: 1.f - 0.999f is off by 1e-5 */
{
    clg_tensor *m = clg_add(clg_scale(u->state[0], opt->beta1), clg_scale(u->g, 1.0 - opt->beta1));
    clg_tensor *v = clg_add(clg_scale(u->state[1], opt->beta2), clg_scale(clg_mul(u->g, u->g), 1.0 - opt->beta2));
    clg_tensor *denominator = clg_add(clg_mul(clg_sqrt(v), u->number[1]), clg_scalar(u->graph, opt->eps));
    u->next[0] = m;
    u->next[1] = v;
    u->next[2] = clg_sub(u->p, clg_div(clg_mul(m, u->number[0]), denominator));
}

/* Loshchilov & Hutter 2019: p (1 - lr decay), then Adam's step */
static void adamw_numbers(const clg_optimizer *opt, double lr, uint64_t step, float *number)
{
    adam_numbers(opt, lr, step, number);
    number[2] = (float)(1.0 - lr * opt->decay);
}

static void adamw(const clg_optimizer *opt, update *u)
{
    u->p = clg_mul(u->p, u->number[2]);
    adam(opt, u);
}

static const rule sgd_rule = {.numbers = 1, .numbers_at = lr_alone, .formula = sgd};
static const rule momentum_rule = {{"velocity"}, 1, 1, lr_alone, momentum};
static const rule nesterov_rule = {{"velocity"}, 1, 1, lr_alone, nesterov};
static const rule rmsprop_rule = {{"mean square"}, 1, 1, lr_alone, rmsprop};
static const rule rmsprop_momentum_rule = {{"mean square", "velocity"}, 2, 1, lr_alone, rmsprop_momentum};
static const rule adam_rule = {{"first moment", "second moment"}, 2, 2, adam_numbers, adam};
static const rule adamw_rule = {{"first moment", "second moment"}, 2, 3, adamw_numbers, adamw};

/* ---- the gradient that a rule sees ------------------------------------------------------------------------------- */

static void prepare(const clg_gradient_desc *d, update *u)
{
    if (d->clip_value > 0.0) u->g = clg_clamp(u->g, -d->clip_value, d->clip_value);
    if (d->clip_norm > 0.0) {
        clg_tensor *norm = clg_sqrt(clg_sum(clg_mul(u->g, u->g), NULL)), *least = clg_scalar(u->graph, 1e-6);
        clg_tensor *most = clg_scalar(u->graph, d->clip_norm), *one = clg_scalar(u->graph, 1.0);
        u->g = clg_mul(u->g, clg_minimum(one, clg_div(most, clg_add(norm, least))));
    }
    if (d->l1 > 0.0) u->g = clg_add(u->g, clg_scale(clg_sign(u->p), d->l1));
    if (d->l2 > 0.0) u->g = clg_add(u->g, clg_scale(u->p, d->l2));
}

static bool is_weight(double x) { return x >= 0.0 && isfinite(x); }

/* ---- optimisers -------------------------------------------------------------------------------------------------- */

static clg_optimizer *create(clg_model *model, const rule *r, clg_optimizer fields)
{
    if (!model) return NULL;
    clg_context *ctx = clg_model_context(model);
    const clg_gradient_desc *g = &fields.gradient;
    const bool valid = isfinite(fields.lr) && fields.momentum >= 0.0 && fields.momentum < 1.0 && fields.beta1 >= 0.0 &&
                       fields.beta1 < 1.0 && fields.beta2 >= 0.0 && fields.beta2 < 1.0 && fields.eps >= 0.0 &&
                       is_weight(fields.decay) && is_weight(g->clip_value) && is_weight(g->clip_norm) &&
                       is_weight(g->l1) && is_weight(g->l2);
    if (!valid)
        clg_context_fail(
            ctx, CLG_INVALID_ARGUMENT,
            "optimizer: the learning rate must be finite, momentum, alpha and betas in [0, 1), eps, weight "
            "decay, penalties and clipping at least 0");
    clg_optimizer *opt = valid ? malloc(sizeof *opt) : NULL;
    if (!opt || !clg_context_own(ctx, opt, free)) {
        clg_context_fail(ctx, CLG_OUT_OF_MEMORY, "out of host memory for an optimizer");
        free(opt);
        return NULL;
    }
    *opt = fields;
    opt->rule = r;
    opt->ctx = ctx;
    opt->model = model;
    return opt;
}

clg_optimizer *clg_sgd_create(clg_model *model, const clg_sgd_desc *desc)
{
    const clg_sgd_desc d = desc ? *desc : (clg_sgd_desc){0};
    const rule        *r = d.momentum == 0.0f ? &sgd_rule : d.nesterov ? &nesterov_rule : &momentum_rule;
    return create(model, r, (clg_optimizer){.lr = d.lr != 0.0f ? (double)d.lr : 0.01, .momentum = (double)d.momentum,
                                            .gradient = d.gradient});
}

clg_optimizer *clg_rmsprop_create(clg_model *model, const clg_rmsprop_desc *desc)
{
    const clg_rmsprop_desc d = desc ? *desc : (clg_rmsprop_desc){0};
    return create(model, d.momentum != 0.0 ? &rmsprop_momentum_rule : &rmsprop_rule,
                  (clg_optimizer){.lr = d.lr != 0.0f ? (double)d.lr : 1e-3, .beta2 = d.alpha != 0.0 ? d.alpha : 0.99,
                                  .eps = d.eps != 0.0 ? d.eps : 1e-8, .momentum = d.momentum, .gradient = d.gradient});
}

clg_optimizer *clg_adam_create(clg_model *model, const clg_adam_desc *desc)
{
    const clg_adam_desc d = desc ? *desc : (clg_adam_desc){0};
    return create(model, d.weight_decay != 0.0 ? &adamw_rule : &adam_rule,
                  (clg_optimizer){.lr = d.lr != 0.0f ? (double)d.lr : 1e-3, .beta1 = d.beta1 != 0.0 ? d.beta1 : 0.9,
                                  .beta2 = d.beta2 != 0.0 ? d.beta2 : 0.999, .eps = d.eps != 0.0 ? d.eps : 1e-8,
                                  .decay = d.weight_decay, .gradient = d.gradient});
}

void clg_optimizer_destroy(clg_optimizer **opt)
{
    if (!opt || !*opt) return;
    const bool planned = (*opt)->graph;
    clg_graph_destroy(&(*opt)->graph);
    (*opt)->model = NULL;
    if (!planned) {
        clg_context_disown((*opt)->ctx, *opt);
        free(*opt);
    }
    *opt = NULL;
}

void clg_optimizer_set_lr(clg_optimizer *opt, float lr)
{
    if (!opt) return;
    if (isfinite(lr)) opt->lr = (double)lr;
    else clg_context_fail(opt->ctx, CLG_INVALID_ARGUMENT, "optimizer: the learning rate is %g: it must be finite", (double)lr);
}

float clg_optimizer_lr(const clg_optimizer *opt) { return opt ? (float)opt->lr : 0.0f; }

void clg_optimizer_reset(clg_optimizer *opt)
{
    if (!opt) return;
    opt->steps = opt->schedule_start = 0;
    for (int i = 0; opt->graph && i < opt->rule->states; i++) {
        const size_t bytes = (size_t)clg_tensor_count(opt->state[i]) * sizeof(float);
        void        *zeros = calloc(1, bytes);
        clg_tensor_write(opt->state[i], zeros, bytes); /* NULL is an error of the context */
        free(zeros);
    }
}

clg_optimizer_position clg_optimizer_tell(const clg_optimizer *opt)
{
    return opt ? (clg_optimizer_position){opt->steps, opt->steps - opt->schedule_start, opt->lr}
               : (clg_optimizer_position){0};
}

void clg_optimizer_seek(clg_optimizer *opt, clg_optimizer_position to)
{
    if (!opt) return;
    if (to.scheduled > to.steps || !isfinite(to.lr)) {
        clg_context_fail(opt->ctx, CLG_INVALID_ARGUMENT, "optimizer: no position: %llu of %llu steps, learning rate %g",
                         (unsigned long long)to.scheduled, (unsigned long long)to.steps, to.lr);
        return;
    }
    opt->steps = to.steps;
    opt->schedule_start = to.steps - to.scheduled;
    opt->lr = to.lr;
}

size_t clg_optimizer_state_count(const clg_optimizer *opt) { return opt && opt->graph ? (size_t)opt->rule->states : 0; }

clg_tensor *clg_optimizer_state(const clg_optimizer *opt, size_t i)
{
    return i < clg_optimizer_state_count(opt) ? opt->state[i] : NULL;
}

void clg_optimizer_set_schedule(clg_optimizer *opt, const clg_schedule_desc *desc)
{
    if (!opt) return;
    const clg_schedule_desc d = desc ? *desc : (clg_schedule_desc){0};
    const char             *error = clg__schedule_error(&d);
    if (error) {
        clg_context_fail(opt->ctx, CLG_INVALID_ARGUMENT, "schedule: %s", error);
        return;
    }
    opt->schedule = d;
    opt->schedule_start = opt->steps;
}

/* ---- training steps ---------------------------------------------------------------------------------------------- */

static void before_step(void *user, uint64_t run)
{
    clg_optimizer *opt = user;
    float          number[MAX_NUMBERS];
    (void)run;
    if (!opt->model) {
        clg_context_fail(opt->ctx, CLG_INVALID_ARGUMENT, "plan: its optimizer was destroyed: destroy an optimizer after the "
                         "plans that it updates in, or make a plan with another");
        return;
    }
    const double lr = opt->lr * clg_schedule_at(&opt->schedule, (int64_t)(opt->steps - opt->schedule_start));
    opt->rule->numbers_at(opt, lr, ++opt->steps, number);
    for (int i = 0; i < opt->rule->numbers; i++) clg_tensor_write(opt->numbers[i], &number[i], sizeof number[i]);
}

/* The states live in a graph of the optimiser's own, so that several training graphs can share them. */
static bool make_states(clg_optimizer *opt, clg_shape shape)
{
    if (opt->graph) return true;
    opt->graph = clg_graph_create(opt->ctx, NULL);
    bool made = opt->graph;
    for (int i = 0; i < opt->rule->states; i++) {
        opt->state[i] = clg_tensor_named(clg_state(opt->graph, CLG_F32, shape), opt->rule->names[i]);
        made = made && opt->state[i];
    }
    for (int i = 0; i < opt->rule->numbers; i++) {
        opt->numbers[i] = clg_input(opt->graph, CLG_F32, CLG_SCALAR);
        made = made && opt->numbers[i];
    }
    if (!made) clg_graph_destroy(&opt->graph); /* the next plan tries again */
    return made;
}

/* A plan that computes `loss` (if any), updates by the gradients, and computes `extra`. */
static clg_plan *update_plan(clg_tensor *loss, clg_tensor *gradients, clg_optimizer *opt, clg_tensor *const *extra,
                             size_t count)
{
    update u = {.graph = clg_tensor_graph(gradients), .g = gradients};
    clg_tensor *p = u.p = clg_model_arena(opt->model, u.graph);
    if (!u.g || !p || !make_states(opt, clg_tensor_shape(p))) return NULL;
    const int states = opt->rule->states;
    for (int i = 0; i < states; i++) u.state[i] = clg_share(u.graph, opt->state[i]);
    for (int i = 0; i < opt->rule->numbers; i++) u.number[i] = clg_share(u.graph, opt->numbers[i]);
    clg_tensor *mask = clg_model_mask(opt->model, u.graph);
    if (mask && !loss) u.g = clg_where(mask, u.g, clg_scalar(u.graph, 0.0)); /* a loss's has zeros there already */
    prepare(&opt->gradient, &u);
    opt->rule->formula(opt, &u);
    if (mask) u.next[states] = clg_where(mask, u.next[states], p);

    const size_t updates = loss ? clg_graph_update_count(u.graph) : 0;
    clg_tensor **out = calloc(2 + (size_t)states + count + updates, sizeof *out);
    if (!out) return clg_context_fail(opt->ctx, CLG_OUT_OF_MEMORY, "out of host memory for a plan"), NULL;
    size_t at = 0;
    if (loss) out[at++] = loss;
    for (int i = 0; i < states; i++) out[at++] = clg_assign(u.state[i], u.next[i]);
    out[at++] = clg_assign(p, u.next[states]);
    for (size_t i = 0; i < count; i++) out[at++] = extra[i];
    for (size_t i = 0; i < updates; i++) out[at++] = clg_graph_update(u.graph, i);
    clg_plan *plan = clg_plan_create_all(out, at);
    free(out);
    clg_plan_on_run(plan, before_step, opt);
    return plan;
}

clg_plan *clg_plan_train_with(clg_tensor *loss, clg_optimizer *opt, clg_tensor *const *extra, size_t count)
{
    if (!loss || !opt) return NULL;
    if (count && !extra)
        return clg_context_fail(opt->ctx, CLG_INVALID_ARGUMENT, "plan: no array given for %zu extra tensors", count), NULL;
    return update_plan(loss, clg_model_gradients(opt->model, loss), opt, extra, count);
}

clg_plan *clg_plan_update(clg_tensor *gradients, clg_optimizer *opt)
{
    return gradients && opt ? update_plan(NULL, gradients, opt, NULL, 0) : NULL;
}

clg_plan *clg_plan_train(clg_tensor *loss, clg_optimizer *opt) { return clg_plan_train_with(loss, opt, NULL, 0); }
