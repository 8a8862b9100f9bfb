/* pass.c - sum += loss * rows on the device, so that a pass needs no reading until its end; `rows` is written only when
 * it changes, which is at a last batch that is not full. */
#include "pass.h"
#include "report.h"

#include <math.h>
#include <stdlib.h>

static pass pass_inputs(clg_graph *g, const network *net, clg_dataset *data, int64_t batch)
{
    pass p = {.data = data, .batch = batch};
    p.x = network_input(g, net, batch);
    p.y = net->regression ? clg_input(g, CLG_F32, CLG_SHAPE(batch, net->classes)) : clg_input(g, CLG_I32, CLG_SHAPE(batch));
    if (net->regression) p.real = clg_input(g, CLG_F32, CLG_SHAPE(batch, 1));
    p.rows = clg_input(g, CLG_F32, CLG_SCALAR);
    p.loss_sum = clg_state(g, CLG_F32, CLG_SCALAR);
    return p;
}

static clg_tensor *add_to(clg_tensor *sum, clg_tensor *value)
{
    return clg_assign(sum, clg_add(sum, value));
}

/* Over the real rows: mean cross-entropy, or mean squared error. */
static clg_tensor *mean_loss(const pass *p, clg_tensor *out)
{
    if (!p->real) return clg_cross_entropy(out, p->y);
    clg_tensor  *miss = clg_mul(clg_sub(out, p->y), p->real);
    const double outputs = (double)(clg_tensor_count(p->y) / p->batch);
    return clg_div(clg_sum(clg_mul(miss, miss), NULL), clg_scale(p->rows, outputs));
}

pass pass_train(const network *net, clg_model *model, clg_optimizer *opt, clg_dataset *data, int64_t batch)
{
    clg_graph  *g = clg_graph_create(clg_model_context(model), &(clg_graph_desc){.training = true});
    pass        p = pass_inputs(g, net, data, batch);
    clg_tensor *loss = mean_loss(&p, network_build(net, model, p.x));
    clg_tensor *sum = add_to(p.loss_sum, clg_mul(loss, p.rows));
    p.plan = clg_plan_train_with(loss, opt, &sum, 1);
    return p;
}

pass pass_eval(const network *net, clg_model *model, clg_dataset *data, int64_t batch)
{
    clg_graph  *g = clg_graph_create(clg_model_context(model), NULL);
    pass        p = pass_inputs(g, net, data, batch);
    clg_tensor *logits = network_build(net, model, p.x);
    p.sums[0] = add_to(p.loss_sum, clg_mul(mean_loss(&p, logits), p.rows));
    if (net->regression) return p;
    p.right_sum = clg_state(g, CLG_F32, CLG_SCALAR);
    p.sums[1] = add_to(p.right_sum, clg_count_correct(logits, p.y));
    return p;
}

void pass_begin(pass *p, const uint64_t *seed)
{
    const float zero = 0.0f;
    if (!p->plan) p->plan = clg_plan_create_all(p->sums, p->right_sum ? 2 : 1); /* a first training step does not wait for its kernels */
    clg_tensor_write(p->loss_sum, &zero, sizeof zero);
    if (p->right_sum) clg_tensor_write(p->right_sum, &zero, sizeof zero);
    p->loader = clg_loader_begin(
        p->data, &(clg_loader_desc){.batch = p->batch, .shuffle = seed, .seed = seed ? *seed : 0});
    p->seen = p->steps = 0;
}

static void mark_real(pass *p, int64_t rows)
{
    float *real = calloc((size_t)p->batch, sizeof *real);
    for (int64_t i = 0; real && i < rows; i++) real[i] = 1.0f;
    clg_tensor_write(p->real, real, (size_t)p->batch * sizeof *real); /* NULL is an error of the context */
    free(real);
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
        if (p->real) mark_real(p, rows);
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

/* Mean over the outputs of the variance over the examples; NaN when out of memory. */
static double target_variance(clg_dataset *data)
{
    const size_t rows = (size_t)clg_dataset_count(data), outputs = (size_t)clg_dataset_outputs(data);
    float       *y = calloc(rows * outputs, sizeof *y);
    double       sum = 0.0;
    if (!y || clg_dataset_targets(data, y, rows * outputs)) sum = (double)NAN;
    for (size_t k = 0; k < outputs && !isnan(sum); k++) {
        double mean = 0.0;
        for (size_t i = 0; i < rows; i++) mean += (double)y[i * outputs + k] / (double)rows;
        for (size_t i = 0; i < rows; i++) sum += pow((double)y[i * outputs + k] - mean, 2.0);
    }
    free(y);
    return sum / (double)(rows * outputs);
}

double pass_accuracy(pass *p)
{
    if (p->right_sum) return clg_tensor_scalar(p->right_sum) / (double)p->seen;
    return 1.0 - pass_loss(p) / target_variance(p->data);
}
