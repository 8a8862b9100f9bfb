/* pass.c - sum += loss * rows on the device, so that a pass needs no reading until its end; `rows` is written only when
 * it changes, which is at a last batch that is not full. */
#include "pass.h"
#include "report.h"

static pass pass_inputs(clg_graph *g, const network *net, clg_dataset *data, int64_t batch)
{
    pass      p = {.data = data, .batch = batch};
    clg_shape shape = {.rank = net->input.rank + 1, .dim = {batch}};
    for (int d = 0; d < net->input.rank; d++) shape.dim[d + 1] = net->input.dim[d];
    p.x = clg_input(g, CLG_F32, shape);
    p.y = clg_input(g, CLG_I32, CLG_SHAPE(batch));
    p.rows = clg_input(g, CLG_F32, CLG_SCALAR);
    p.loss_sum = clg_state(g, CLG_F32, CLG_SCALAR);
    return p;
}

static clg_tensor *add_to(clg_tensor *sum, clg_tensor *value)
{
    return clg_assign(sum, clg_add(sum, value));
}

pass pass_train(const network *net, clg_model *model, clg_optimizer *opt, clg_dataset *data, int64_t batch)
{
    clg_graph  *g = clg_graph_create(clg_model_context(model), &(clg_graph_desc){.training = true});
    pass        p = pass_inputs(g, net, data, batch);
    clg_tensor *loss = clg_cross_entropy(network_build(net, model, p.x), p.y);
    clg_tensor *sum = add_to(p.loss_sum, clg_mul(loss, p.rows));
    p.plan = clg_plan_train_with(loss, opt, &sum, 1);
    return p;
}

pass pass_eval(const network *net, clg_model *model, clg_dataset *data, int64_t batch)
{
    clg_graph  *g = clg_graph_create(clg_model_context(model), NULL);
    pass        p = pass_inputs(g, net, data, batch);
    clg_tensor *logits = network_build(net, model, p.x);
    p.right_sum = clg_state(g, CLG_F32, CLG_SCALAR);
    p.sums[0] = add_to(p.loss_sum, clg_mul(clg_cross_entropy(logits, p.y), p.rows));
    p.sums[1] = add_to(p.right_sum, clg_count_correct(logits, p.y));
    return p;
}

void pass_begin(pass *p, const uint64_t *seed)
{
    const float zero = 0.0f;
    if (!p->plan) p->plan = clg_plan_create_all(p->sums, 2); /* a first training step does not wait for its kernels */
    clg_tensor_write(p->loss_sum, &zero, sizeof zero);
    if (p->right_sum) clg_tensor_write(p->right_sum, &zero, sizeof zero);
    p->loader = clg_loader_begin(
        p->data, &(clg_loader_desc){.batch = p->batch, .shuffle = seed, .seed = seed ? *seed : 0});
    p->seen = p->steps = 0;
}

bool pass_next(pass *p)
{
    const double start = p->trace ? clock_seconds() : 0.0;
    if (!clg_loader_next(&p->loader, p->x, p->y)) return false;
    const int64_t left = clg_dataset_count(p->data) - p->seen;
    const int64_t rows = left < p->batch ? left : p->batch;
    if (rows != p->rows_now) {
        const float weight = (float)rows;
        clg_tensor_write(p->rows, &weight, sizeof weight);
        p->rows_now = rows;
    }
    clg_plan_run(p->plan);
    p->seen += rows;
    p->steps++;
    if (p->trace) trace_host(p->trace, "step", start);
    return true;
}

double pass_loss(pass *p)
{
    const double start = p->trace ? clock_seconds() : 0.0;
    const double loss = clg_tensor_scalar(p->loss_sum) / (double)p->seen;
    if (p->trace) trace_host(p->trace, "wait for the loss", start);
    return loss;
}

double pass_accuracy(pass *p)
{
    return clg_tensor_scalar(p->right_sum) / (double)p->seen;
}
