/* pass.c - sum += loss * rows on the device, so that a pass needs no reading until its end; `rows` is written only when
 * it changes, which is at a last batch that is not full. */
#include "pass.h"
#include "report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static pass pass_inputs(clg_graph *g, const network *net, clg_dataset *data, int64_t batch)
{
    pass p = {.data = data, .batch = batch};
    p.x = network_input(g, net, batch);
    p.y = net->regression ? clg_input(g, CLG_F32, CLG_SHAPE(batch, net->classes))
                          : clg_input(g, CLG_I32, CLG_SHAPE(batch));
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
static clg_tensor *mean_loss(const pass *p, clg_tensor *out, clg_tensor *class_weight)
{
    if (class_weight) return clg_cross_entropy_with(out, p->y, &(clg_cross_entropy_desc){.weight = class_weight});
    if (!p->real) return clg_cross_entropy(out, p->y);
    clg_tensor  *miss = clg_mul(clg_sub(out, p->y), p->real);
    const double outputs = (double)(clg_tensor_count(p->y) / p->batch);
    return clg_div(clg_sum(clg_mul(miss, miss), NULL), clg_scale(p->rows, outputs));
}

pass pass_train(const network *net, clg_model *model, clg_optimizer *opt, clg_dataset *data, int64_t batch,
                const float *class_weight, const clg_augment_desc *augment, numerics *look)
{
    clg_graph  *g = clg_graph_create(clg_model_context(model), &(clg_graph_desc){.training = true, .observed = look});
    pass        p = pass_inputs(g, net, data, batch);
    clg_tensor *weight = class_weight ? clg_input(g, CLG_F32, CLG_SHAPE(net->classes)) : NULL;
    if (weight) clg_tensor_write(weight, class_weight, (size_t)net->classes * sizeof *class_weight);
    p.loss = mean_loss(&p, network_build(net, model, augment ? clg_augment(p.x, augment) : p.x), weight);
    clg_tensor *sum = add_to(p.loss_sum, clg_mul(p.loss, p.rows));
    p.plan = clg_plan_train_with(p.loss, opt, &sum, 1);
    p.numerics = look;
    return p;
}

pass pass_eval(const network *net, clg_model *model, clg_dataset *data, int64_t batch)
{
    clg_graph  *g = clg_graph_create(clg_model_context(model), NULL);
    pass        p = pass_inputs(g, net, data, batch);
    clg_tensor *logits = network_build(net, model, p.x);
    p.sums[0] = add_to(p.loss_sum, clg_mul(mean_loss(&p, logits, NULL), p.rows));
    p.logits = logits;
    p.sum_count = net->regression ? 1 : 2;
    if (net->regression) return p;
    p.right_sum = clg_state(g, CLG_F32, CLG_SCALAR);
    p.sums[1] = add_to(p.right_sum, clg_count_correct(logits, p.y));
    return p;
}

/* One-hot labels against one-hot guesses; a row that fills the batch has the label -1, all zeros. Among the `top`
 * likeliest is a label that no more than top - 1 others beat, and NaN is no likelihood. */
void pass_count_classes(pass *p, int classes, int top)
{
    clg_graph  *g = clg_tensor_graph(p->logits);
    clg_tensor *label = clg_one_hot(p->y, classes), *guess = clg_one_hot(clg_argmax(p->logits, -1, false), classes);
    const clg_reduce_desc last = {.axes = {-1}, .count = 1, .keepdims = true};
    clg_tensor *own = clg_sum(clg_where(label, p->logits, clg_scalar(g, 0.0)), &last);
    clg_tensor *held = clg_sum(clg_less_equal(p->logits, own), &last); /* the label itself too */
    clg_tensor *found = clg_mul(clg_less(clg_scalar(g, (double)(classes - top)), held), clg_sum(label, &last));
    p->confusion = clg_state(g, CLG_F32, CLG_SHAPE(classes, classes));
    p->top_sum = clg_state(g, CLG_F32, CLG_SCALAR);
    p->top = top;
    p->sums[p->sum_count++] = add_to(p->confusion, clg_matmul(label, guess, &(clg_matmul_desc){.trans_a = true}));
    p->sums[p->sum_count++] = add_to(p->top_sum, clg_sum(found, NULL));
}

void pass_keep_outputs(pass *p)
{
    p->output = p->real ? p->logits : clg_softmax(p->logits);
    p->sums[p->sum_count++] = p->output;
}

static void clear(clg_tensor *sum)
{
    const size_t bytes = (size_t)clg_tensor_count(sum) * sizeof(float);
    void        *zeros = calloc(1, bytes);
    clg_tensor_write(sum, zeros, bytes); /* NULL is an error of the context */
    free(zeros);
}

void pass_begin(pass *p, const uint64_t *seed)
{
    if (!p->plan)
        p->plan = clg_plan_create_all(p->sums, p->sum_count); /* a first training step does not wait for its kernels */
    clg_tensor *const sums[] = {p->loss_sum, p->right_sum, p->confusion, p->top_sum};
    for (int i = 0; i < 4; i++)
        if (sums[i]) clear(sums[i]);
    pass_resume(p, seed, 0);
}

void pass_resume(pass *p, const uint64_t *seed, int64_t steps)
{
    const int64_t count = clg_dataset_count(p->data), dealt = steps * p->batch;
    p->loader = clg_loader_begin(
        p->data, &(clg_loader_desc){.batch = p->batch, .shuffle = seed, .seed = seed ? *seed : 0});
    p->loader.next = dealt;
    p->seen = dealt < count ? dealt : count;
    p->steps = steps;
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
    if (p->numerics) numerics_step(p->numerics, p->plan);
    else clg_plan_run(p->plan);
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
static double target_variance(const pass *p)
{
    const size_t rows = (size_t)clg_dataset_count(p->data), outputs = (size_t)clg_dataset_outputs(p->data);
    float       *y = calloc(rows * outputs, sizeof *y);
    double       sum = !y || clg_dataset_targets(p->data, y, rows * outputs) ? (double)NAN : 0.0;
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
    return 1.0 - pass_loss(p) / target_variance(p);
}

void pass_look(pass *p, double *loss, double *accuracy)
{
    pass_begin(p, NULL);
    while (pass_next(p)) continue;
    *loss = pass_loss(p);
    *accuracy = pass_accuracy(p);
}
