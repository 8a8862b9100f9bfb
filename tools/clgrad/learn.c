/* learn.c - a row for each optimiser, a row for each schedule. */
#include "learn.h"

#include <string.h>

typedef struct recipe {
    const char *name;
    clg_optimizer *(*create)(clg_model *model, const learn_options *o, clg_gradient_desc gradient);
    float lr, momentum, weight_decay; /* defaults; LEARN_UNSET: takes none */
} recipe;

static clg_optimizer *adam(clg_model *m, const learn_options *o, clg_gradient_desc gradient)
{
    return clg_adam_create(
        m, &(clg_adam_desc){.lr = o->lr, .weight_decay = (double)o->weight_decay, .gradient = gradient});
}

static clg_optimizer *sgd(clg_model *m, const learn_options *o, clg_gradient_desc gradient)
{
    return clg_sgd_create(m, &(clg_sgd_desc){.lr = o->lr, .momentum = o->momentum, .gradient = gradient});
}

static clg_optimizer *nesterov(clg_model *m, const learn_options *o, clg_gradient_desc gradient)
{
    return clg_sgd_create(
        m, &(clg_sgd_desc){.lr = o->lr, .momentum = o->momentum, .nesterov = true, .gradient = gradient});
}

static clg_optimizer *rmsprop(clg_model *m, const learn_options *o, clg_gradient_desc gradient)
{
    return clg_rmsprop_create(m,
                              &(clg_rmsprop_desc){.lr = o->lr, .momentum = (double)o->momentum, .gradient = gradient});
}

static const recipe recipes[] = {
    {"adam", adam, 1e-3f, LEARN_UNSET, LEARN_UNSET}, {"adamw", adam, 1e-3f, LEARN_UNSET, 0.01f},
    {"sgd", sgd, 0.01f, 0.9f, LEARN_UNSET},          {"nesterov", nesterov, 0.01f, 0.9f, LEARN_UNSET},
    {"rmsprop", rmsprop, 1e-3f, 0.0f, LEARN_UNSET},
};

static const struct {
    const char *name;
    int         kind;
} schedules[] = {
    {"constant", CLG_SCHEDULE_CONSTANT}, {"step", CLG_SCHEDULE_STEP},
    {"cosine", CLG_SCHEDULE_COSINE},     {"one-cycle", CLG_SCHEDULE_ONE_CYCLE},
};

static const recipe *find(const char *name)
{
    const recipe *r = recipes;
    while (strcmp(r->name, name)) r++; /* the table of options has checked it */
    return r;
}

int learn_check(const command *cmd, learn_options *o)
{
    if (!o->optimizer) o->optimizer = "adam";
    if (!o->schedule) o->schedule = "constant";
    const recipe *r = find(o->optimizer);
    if (o->momentum >= 0.0f && r->momentum < 0.0f)
        return usage(cmd, "--momentum needs --optimizer sgd, nesterov or rmsprop");
    if (o->weight_decay > 0.0f && r->weight_decay < 0.0f)
        return usage(cmd, "--weight-decay needs --optimizer adamw; --l2 is a penalty for all of them");
    if (o->momentum < 0.0f) o->momentum = r->momentum < 0.0f ? 0.0f : r->momentum;
    if (!(o->momentum > 0.0f) && r->create == nesterov)
        return usage(cmd, "--optimizer nesterov needs --momentum above 0");
    if (!(o->weight_decay > 0.0f)) o->weight_decay = r->weight_decay < 0.0f ? 0.0f : r->weight_decay;
    if (!(o->lr > 0.0f)) o->lr = r->lr;
    return 0;
}

clg_optimizer *learn_optimizer(const learn_options *o, clg_model *model)
{
    return find(o->optimizer)
        ->create(model, o,
                 (clg_gradient_desc){(double)o->clip_value, (double)o->clip_norm, (double)o->l1, (double)o->l2});
}

int learn_schedule(const command *cmd, const learn_options *o, clg_optimizer *opt, int64_t steps)
{
    clg_schedule_desc d = {.warmup = o->warmup, .steps = steps};
    if (o->warmup >= steps)
        return usage(cmd, "--warmup %lld: the training has %lld steps", (long long)o->warmup, (long long)steps);
    for (size_t i = 0; i < sizeof schedules / sizeof schedules[0]; i++)
        if (!strcmp(schedules[i].name, o->schedule)) d.kind = schedules[i].kind;
    d.every = (steps - o->warmup + 2) / 3;
    clg_optimizer_set_schedule(opt, &d);
    return 0;
}
