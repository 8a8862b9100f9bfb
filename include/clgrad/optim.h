/* optim.h - optimisers. An optimiser belongs to a model and updates all of its parameters in one kernel launch. */
#ifndef CLGRAD_OPTIM_H
#define CLGRAD_OPTIM_H

#include <clgrad/nn.h>
#include <clgrad/plan.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct clg_optimizer clg_optimizer;

/* What becomes of the gradient g before an optimiser uses it, in this order; zeros: nothing. The norm is that of the whole
 * gradient, Pascanu, Mikolov & Bengio 2013; the penalties l1 |p| and l2 p^2 / 2 are summed over all parameters, and a loss
 * that is read is without them. L1's derivative at 0 is 0. */
typedef struct clg_gradient_desc {
    double clip_value; /* g = min(max(g, -clip_value), clip_value) */
    double clip_norm;  /* g = g min(1, clip_norm / (|g| + 1e-6)) */
    double l1, l2;     /* g = g + l1 sign(p) + l2 p */
} clg_gradient_desc;

typedef struct clg_sgd_desc {
    float lr;       /* learning rate; 0 means 0.01 */
    float momentum; /* v = momentum v + g; p = p - lr v */
    bool  nesterov; /* p = p - lr (g + momentum v) with that v; Sutskever et al. 2013, as PyTorch has it */
    clg_gradient_desc gradient;
} clg_sgd_desc;

CLG_API clg_optimizer *clg_sgd_create(clg_model *model, const clg_sgd_desc *desc);

/* Kingma & Ba 2015, with bias correction; zeros mean lr 1e-3, beta1 0.9, beta2 0.999, eps 1e-8. */
typedef struct clg_adam_desc {
    float  lr;
    double beta1, beta2, eps;
    double weight_decay; /* of every parameter, decoupled from the gradient (AdamW, Loshchilov & Hutter 2019) */
    clg_gradient_desc gradient;
} clg_adam_desc;

CLG_API clg_optimizer *clg_adam_create(clg_model *model, const clg_adam_desc *desc);

/* s = alpha s + (1 - alpha) g^2; p = p - lr g / (sqrt(s) + eps), or with momentum v = momentum v + g / (sqrt(s) + eps);
 * p = p - lr v: Tieleman & Hinton 2012, as PyTorch has it. Zeros mean lr 1e-3, alpha 0.99, eps 1e-8. */
typedef struct clg_rmsprop_desc {
    float  lr;
    double alpha, eps, momentum;
    clg_gradient_desc gradient;
} clg_rmsprop_desc;

CLG_API clg_optimizer *clg_rmsprop_create(clg_model *model, const clg_rmsprop_desc *desc);

CLG_API void  clg_optimizer_destroy(clg_optimizer **opt); /* a plan that uses it fails at its next run */
CLG_API void  clg_optimizer_reset(clg_optimizer *opt);   /* forgets its steps: moments and velocities are zeros again */
CLG_API void  clg_optimizer_set_lr(clg_optimizer *opt, float lr); /* finite, or the context fails and it stays */
CLG_API float clg_optimizer_lr(const clg_optimizer *opt);

/* What an optimiser carries from step to step, to be kept and put back (clg_checkpoint_save does it): where it is, and its
 * moments or velocities: tensors [n] laid out as clg_model_arena, for clg_tensor_read and clg_tensor_write, that
 * clg_tensor_name calls "velocity", "first moment", ... There are none before its first plan is made. */
typedef struct clg_optimizer_position {
    uint64_t steps;     /* made so far */
    uint64_t scheduled; /* of these, since the schedule was set: t of the next step */
    double   lr;
} clg_optimizer_position;

CLG_API clg_optimizer_position clg_optimizer_tell(const clg_optimizer *opt);
CLG_API void        clg_optimizer_seek(clg_optimizer *opt, clg_optimizer_position to);
CLG_API size_t      clg_optimizer_state_count(const clg_optimizer *opt);
CLG_API clg_tensor *clg_optimizer_state(const clg_optimizer *opt, size_t i);

/* ---- schedules: the learning rate of step t = 0, 1, ... is the optimiser's times a factor ------------------------- */

typedef enum clg_schedule_kind {
    CLG_SCHEDULE_CONSTANT,    /* 1 */
    CLG_SCHEDULE_STEP,        /* factor^floor(t / every) */
    CLG_SCHEDULE_COSINE,      /* from 1 down to `floor`: floor + (1 - floor) (1 + cos(pi t / n)) / 2; Loshchilov & Hutter 2017 */
    CLG_SCHEDULE_ONE_CYCLE,   /* by half a cosine each from 1/25 up to 1 in the first 30%, then down to 1/250000; Smith &
                               * Topin 2017 with the numbers of PyTorch's OneCycleLR */
    CLG_SCHEDULE_EXPONENTIAL, /* factor^(t / (n - 1)), the sweep of a learning-rate range test; Smith 2015 */
    CLG_SCHEDULE_COUNT
} clg_schedule_kind;

typedef struct clg_schedule_desc {
    int     kind;
    int64_t warmup; /* steps before the schedule starts: (t + 1) / warmup; Goyal et al. 2017 */
    int64_t steps;  /* of the whole training: n = steps - warmup, and the last value stays */
    int64_t every;  /* STEP */
    double  factor; /* STEP and EXPONENTIAL; 0 means 0.1 */
    double  floor;  /* COSINE */
} clg_schedule_desc;

/* The factor of step t (before 0: that of 0); 1 for what clg_optimizer_set_schedule refuses. */
CLG_API double clg_schedule_at(const clg_schedule_desc *desc, int64_t t);

/* From the next step on, which is t = 0; NULL: constant. Each step uploads its few numbers, and no plan is made anew. */
CLG_API void clg_optimizer_set_schedule(clg_optimizer *opt, const clg_schedule_desc *desc);

/* A plan whose run is one training step: it computes `loss`, its gradients, and updates the optimiser's model. `extra`
 * are further tensors to compute in the same run, such as assignments that sum up losses. */
CLG_API clg_plan *clg_plan_train(clg_tensor *loss, clg_optimizer *opt);
CLG_API clg_plan *clg_plan_train_with(clg_tensor *loss, clg_optimizer *opt, clg_tensor *const *extra, size_t count);

/* A plan that only updates the model, by a gradient [n] laid out as its arena: one summed up over several batches, say. */
CLG_API clg_plan *clg_plan_update(clg_tensor *gradients, clg_optimizer *opt);

#ifdef __cplusplus
}
#endif
#endif
