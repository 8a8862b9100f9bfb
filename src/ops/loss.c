/* loss.c - cross entropy on integer labels, and the count of right answers; and losses made of other operators.
 *
 *   loss = sum over rows of (log(sum(exp(x))) - x[label]) / count,   dx = (softmax(x) - onehot(label)) dloss / count
 *
 * Rows with a negative label are padding: they are in neither sum nor count. A label beyond the classes gives NaN. */
#include "graph/op.h"

enum { CROSS_ENTROPY, CROSS_ENTROPY_GRAD, ROW_WEIGHT, COUNT_CORRECT, ONE_HOT };
extern const clg__op clg__ops_loss[];

static clg_status loss_infer(clg__infer *i) /* logits, labels, and for the gradient dloss */
{
    const clg_tensor *x = i->in[0], *labels = i->in[1];
    if (x->dtype != CLG_F32 || x->shape.rank != 2 || x->shape.dim[1] < 1)
        return clg__infer_fail(i, "the logits must be f32 [rows, classes]");
    if (labels->dtype != CLG_I32 || !clg_shape_equal(labels->shape, CLG_SHAPE(x->shape.dim[0])))
        return clg__infer_fail(i, "the labels must be i32 [%lld]", (long long)x->shape.dim[0]);
    i->shape = i->arity == 3 ? x->shape : CLG_SCALAR;
    return CLG_OK;
}

static clg_status record_mean(clg__record *r, clg__arg each, clg__arg mean)
{
    return clg__record_units(r, "loss", "cross_entropy_mean", NULL, 1, CLG__ARGS(each, CLG__IN(1), mean, CLG__ROWS));
}

static clg_status cross_entropy_record(clg__record *r)
{
    const clg__arg   each = CLG__WS(clg__record_workspace(r, r->rows * 4));
    const clg_status status = clg__record_rows(r, "loss", "cross_entropy_rows",
                                               CLG__ARGS(CLG__IN(0), CLG__IN(1), each, CLG__ROWS, CLG__COLS));
    return status != CLG_OK ? status : record_mean(r, each, CLG__OUT);
}

static clg_status cross_entropy_grad_record(clg__record *r)
{
    const clg__arg   each = r->forward ? CLG__WS(clg__record_workspace(r, r->rows * 4)) : CLG__OUT;
    const clg_status status = clg__record_rows(r, "loss", "cross_entropy_grad",
                                               CLG__ARGS(CLG__IN(0), CLG__IN(1), CLG__NUMBER(2), CLG__OUT, each,
                                                         CLG__UINT(r->forward), CLG__ROWS, CLG__COLS));
    return status != CLG_OK || !r->forward ? status : record_mean(r, each, CLG__FORWARD);
}

static clg_status count_correct_record(clg__record *r)
{
    const int  each = clg__record_workspace(r, r->rows * 4);
    clg_status status = clg__record_rows(r, "loss", "correct_rows",
                                         CLG__ARGS(CLG__IN(0), CLG__IN(1), CLG__WS(each), CLG__ROWS, CLG__COLS));
    return status != CLG_OK ? status
                            : clg__record_units(r, "reduce", "reduce_rows", "#define REDUCE_SUM\n", 1,
                                                CLG__ARGS(CLG__WS(each), CLG__OUT, CLG__UINT(1), CLG__ROWS,
                                                          CLG__UINT(CLG__MAX(1, r->rows)), CLG__FLOAT(1)));
}

static double row_loss(const double *x, size_t n, double label)
{
    double max = -(double)INFINITY, sum = 0.0;
    if (label >= (double)n) return (double)NAN;
    for (size_t i = 0; i < n; i++) max = isnan(x[i]) ? x[i] : fmax(max, x[i]);
    for (size_t i = 0; i < n; i++) sum += exp(x[i] - max);
    return max + log(sum) - x[(size_t)label];
}

static double valid_rows(const clg__ref *r)
{
    double count = 0.0;
    for (size_t row = 0; row < r->rows; row++) count += r->in[1][row] >= 0.0;
    return count;
}

static void cross_entropy_reference(const clg__ref *r)
{
    double sum = 0.0;
    for (size_t row = 0; row < r->rows; row++)
        if (r->in[1][row] >= 0.0) sum += row_loss(r->in[0] + row * r->n, r->n, r->in[1][row]);
    r->out[0] = sum / fmax(valid_rows(r), 1.0);
}

static void cross_entropy_grad_reference(const clg__ref *r)
{
    const double scale = r->in[2][0] / fmax(valid_rows(r), 1.0);
    for (size_t row = 0; row < r->rows; row++) {
        const double *x = r->in[0] + row * r->n, label = r->in[1][row];
        const double  log_sum = label >= 0.0 ? row_loss(x, r->n, label) + (label < (double)r->n ? x[(size_t)label] : 0.0) : 0.0;
        for (size_t i = 0; i < r->n; i++)
            r->out[row * r->n + i] = label < 0.0 ? 0.0 : scale * (exp(x[i] - log_sum) - ((double)i == label));
    }
}

static void count_correct_reference(const clg__ref *r)
{
    r->out[0] = 0.0;
    for (size_t row = 0; row < r->rows; row++) {
        const double *x = r->in[0] + row * r->n;
        size_t        best = 0;
        for (size_t i = 1; i < r->n; i++)
            if (x[i] > x[best]) best = i;
        r->out[0] += (double)best == r->in[1][row];
    }
}

static clg_tensor *cross_entropy_gradient(const clg__grad *g, int input)
{
    (void)input;
    return clg__apply(&clg__ops_loss[CROSS_ENTROPY_GRAD], g->out->in[0], g->out->in[1], g->dout);
}

/* z = (softmax(x) - onehot(label)) w dloss, with w = 1 / count for a row with a label and 0 for padding. It is linear in
 * dloss; its derivative in x is softmax's: p (up - sum(p up)) w dloss. */
static clg_tensor *cross_entropy_grad_gradient(const clg__grad *g, int input)
{
    clg_tensor *x = g->out->in[0], *labels = g->out->in[1], *dloss = g->out->in[2], *up = g->dout;
    if (input == 2) {
        clg_tensor *unit = clg__apply(&clg__ops_loss[CROSS_ENTROPY_GRAD], x, labels, clg_scalar(x->graph, 1.0));
        return clg__reduce_to(clg_mul(up, unit), dloss->shape);
    }
    clg_tensor *p = clg_softmax(x);
    clg_tensor *dot = clg_sum(clg_mul(p, up), &(clg_reduce_desc){.axes = {1}, .count = 1, .keepdims = true});
    clg_tensor *weight = clg__apply(&clg__ops_loss[ROW_WEIGHT], labels);
    return clg_mul(clg_mul(clg_mul(p, clg_sub(up, dot)), weight), dloss);
}

static clg_status row_weight_infer(clg__infer *i)
{
    i->shape = CLG_SHAPE(i->in[0]->count, 1);
    return i->in[0]->dtype == CLG_I32 ? CLG_OK : clg__infer_fail(i, "the labels must be i32");
}

static clg_status row_weight_record(clg__record *r)
{
    return clg__record_units(r, "loss", "row_weight", NULL, 1,
                             CLG__ARGS(CLG__IN(0), CLG__OUT, CLG__UINT(r->node->count)));
}

static void row_weight_reference(const clg__ref *r)
{
    double count = 0.0;
    for (int64_t i = 0; i < r->node->count; i++) count += r->in[0][i] >= 0.0;
    for (int64_t i = 0; i < r->node->count; i++) r->out[i] = r->in[0][i] >= 0.0 ? 1.0 / count : 0.0;
}

typedef struct one_hot_attr {
    int64_t classes;
    int     ignored; /* a label; negative ones are ignored anyway */
} one_hot_attr;

static clg_status one_hot_infer(clg__infer *i)
{
    const one_hot_attr *a = i->attr;
    const clg_shape     labels = i->in[0]->shape;
    if (i->in[0]->dtype != CLG_I32 || labels.rank != 1) return clg__infer_fail(i, "the labels must be i32 [rows]");
    if (a->classes < 1 || a->classes > INT32_MAX) return clg__infer_fail(i, "%lld classes", (long long)a->classes);
    i->shape = CLG_SHAPE(labels.dim[0], a->classes);
    return CLG_OK;
}

static clg_status one_hot_record(clg__record *r)
{
    const one_hot_attr *a = r->node->attr;
    const int64_t       rows = r->node->shape.dim[0];
    return clg__record_units(r, "loss", "one_hot", NULL, (uint64_t)rows,
                             CLG__ARGS(CLG__IN(0), CLG__OUT, CLG__UINT(rows), CLG__UINT(a->classes), CLG__INT(a->ignored)));
}

static void one_hot_reference(const clg__ref *r)
{
    const one_hot_attr *a = r->node->attr;
    for (int64_t i = 0; i < r->node->count; i++) {
        const double label = r->in[0][i / a->classes];
        const bool   out = label < 0.0 || (int)label == a->ignored;
        r->out[i] = out ? 0.0 : label >= (double)a->classes ? (double)NAN : (double)((int64_t)label == i % a->classes);
    }
}

const clg__op clg__ops_loss[] = {
    [CROSS_ENTROPY] = {.name = "cross_entropy", .arity = 2, .infer = loss_infer, .record = cross_entropy_record,
                       .gradient = cross_entropy_gradient, .reference = cross_entropy_reference},
    [CROSS_ENTROPY_GRAD] = {.name = "cross_entropy_grad", .arity = 3, .flags = CLG__INPLACE, .numbers = 1u << 2,
                            .forward = &clg__ops_loss[CROSS_ENTROPY], .infer = loss_infer,
                            .record = cross_entropy_grad_record, .gradient = cross_entropy_grad_gradient,
                            .reference = cross_entropy_grad_reference},
    [ROW_WEIGHT] = {.name = "row_weight", .arity = 1, .flags = CLG__NO_GRAD, .infer = row_weight_infer,
                    .record = row_weight_record, .reference = row_weight_reference},
    [COUNT_CORRECT] = {.name = "count_correct", .arity = 2, .infer = loss_infer,
                       .record = count_correct_record, .reference = count_correct_reference},
    [ONE_HOT] = {.name = "one_hot", .arity = 1, .flags = CLG__NO_GRAD, .infer = one_hot_infer, .record = one_hot_record,
                 .reference = one_hot_reference},
    {0},
};

clg_tensor *clg_one_hot(clg_tensor *labels, int64_t classes)
{
    return clg__apply_attr(&clg__ops_loss[ONE_HOT], &((one_hot_attr){classes, -1}), labels);
}

clg_tensor *clg_cross_entropy(clg_tensor *logits, clg_tensor *labels)
{
    return clg__apply(&clg__ops_loss[CROSS_ENTROPY], logits, labels);
}

clg_tensor *clg_count_correct(clg_tensor *logits, clg_tensor *labels)
{
    return clg__apply(&clg__ops_loss[COUNT_CORRECT], logits, labels);
}

/* - sum_i sum_c q[i, c] log_softmax(x)[i, c] / sum_i w[label_i], q = w_c ((1 - smoothing) [c is the label] + smoothing / C) */
clg_tensor *clg_cross_entropy_with(clg_tensor *logits, clg_tensor *labels, const clg_cross_entropy_desc *desc)
{
    const clg_cross_entropy_desc d = desc ? *desc : (clg_cross_entropy_desc){0};
    if (!logits || !labels) return NULL;
    const clg_shape shape = logits->shape;
    if (shape.rank != 2 || shape.dim[1] < 1 || !clg_shape_equal(labels->shape, CLG_SHAPE(shape.dim[0])))
        return clg__op_fail(logits, "cross_entropy", CLG_INVALID_SHAPE, "logits [rows, classes] need labels i32 [rows]");
    if (!(d.smoothing >= 0.0 && d.smoothing < 1.0))
        return clg__op_fail(logits, "cross_entropy", CLG_INVALID_ARGUMENT, "the smoothing is %g: it must be in [0, 1)", d.smoothing);
    if (d.weight && !clg_shape_equal(d.weight->shape, CLG_SHAPE(shape.dim[1])))
        return clg__op_fail(logits, "cross_entropy", CLG_INVALID_SHAPE, "the weight must be [%lld]", (long long)shape.dim[1]);
    const one_hot_attr attr = {shape.dim[1], d.ignore ? d.ignored : -1};
    clg_tensor *hot = clg__apply_attr(&clg__ops_loss[ONE_HOT], &attr, labels), *zero = clg_scalar(logits->graph, 0.0);
    clg_tensor *q = hot;
    if (d.smoothing > 0.0) {
        clg_tensor *counts = clg_sum(hot, &(clg_reduce_desc){.axes = {1}, .count = 1, .keepdims = true});
        q = clg_add(clg_scale(hot, 1.0 - d.smoothing), clg_scale(counts, d.smoothing / (double)shape.dim[1]));
    }
    if (d.weight) {
        q = clg_mul(q, d.weight);
        hot = clg_mul(hot, d.weight);
    }
    clg_tensor *count = clg_sum(hot, NULL), *log_p = clg_where(q, clg_log_softmax(logits), zero); /* 0 infinity is 0 here */
    return clg_div(clg_neg(clg_sum(clg_mul(q, log_p), NULL)), clg_where(count, count, clg_scalar(logits->graph, 1.0)));
}

clg_tensor *clg_l1(clg_tensor *a, clg_tensor *b) { return clg_mean(clg_abs(clg_sub(a, b)), NULL); }

clg_tensor *clg_huber(clg_tensor *a, clg_tensor *b, double delta) /* with c = clamp(a - b): c (a - b - c / 2) */
{
    if (!(delta > 0.0)) return clg__op_fail(a, "huber", CLG_INVALID_ARGUMENT, "delta is %g: it must be positive", delta);
    clg_tensor *d = clg_sub(a, b), *c = clg_clamp(d, -delta, delta);
    return clg_mean(clg_mul(c, clg_sub(d, clg_scale(c, 0.5))), NULL);
}

clg_tensor *clg_hinge(clg_tensor *x, clg_tensor *y)
{
    return x ? clg_mean(clg_relu(clg_sub(clg_scalar(x->graph, 1.0), clg_mul(x, y))), NULL) : NULL;
}

clg_tensor *clg_kl_divergence(clg_tensor *log_q, clg_tensor *p)
{
    if (!log_q || !p) return NULL;
    if (log_q->shape.rank < 1 || log_q->shape.dim[0] < 1 || !clg_shape_equal(log_q->shape, p->shape))
        return clg__op_fail(log_q, "kl_divergence", CLG_INVALID_SHAPE, "log_q and p must be [rows, ...], alike");
    clg_tensor *log_p = clg_log(clg_where(p, p, clg_scalar(p->graph, 1.0))); /* 0 log 0 is 0 */
    clg_tensor *d = clg_sub(log_p, clg_where(p, log_q, clg_scalar(p->graph, 0.0)));
    return clg_scale(clg_sum(clg_mul(p, d), NULL), 1.0 / (double)p->shape.dim[0]);
}
