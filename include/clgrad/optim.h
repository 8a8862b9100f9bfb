/* optim.h - optimisers. An optimiser belongs to a model and updates all of its parameters in one kernel launch. */
#ifndef CLGRAD_OPTIM_H
#define CLGRAD_OPTIM_H

#include <clgrad/nn.h>
#include <clgrad/plan.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct clg_optimizer clg_optimizer;

typedef struct clg_sgd_desc {
    float lr;       /* learning rate; 0 means 0.01 */
    float momentum; /* v = momentum v + g; p = p - lr v */
} clg_sgd_desc;

CLG_API clg_optimizer *clg_sgd_create(clg_model *model, const clg_sgd_desc *desc);

/* Kingma & Ba 2015, with bias correction; zeros mean lr 1e-3, beta1 0.9, beta2 0.999, eps 1e-8. */
typedef struct clg_adam_desc {
    float  lr;
    double beta1, beta2, eps;
    double weight_decay; /* of every parameter, decoupled from the gradient (AdamW, Loshchilov & Hutter 2019) */
} clg_adam_desc;

CLG_API clg_optimizer *clg_adam_create(clg_model *model, const clg_adam_desc *desc);

CLG_API void  clg_optimizer_destroy(clg_optimizer **opt); /* after the plans that use it */
CLG_API void  clg_optimizer_set_lr(clg_optimizer *opt, float lr);
CLG_API float clg_optimizer_lr(const clg_optimizer *opt);

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
