/* recurrent.c - layers that go through a sequence: Elman's network, LSTM and GRU, as plain operators step by step.
 *
 * The inputs of all steps meet their weights in one product; a step adds that of the state before it. Gates lie side by
 * side in the rows of the weights, in PyTorch's order and with its two biases, so that weights can be exchanged. */
#include "init.h"
#include "layer.h"
#include <stdlib.h>

typedef struct cell_kind {
    const char *name;
    int         gates;
    bool        apart; /* the state's share comes with its bias; else both biases are added to all steps at once */
    /* The state after a step: x [N, gates H] is the input's share, s the state's (or its bias alone, or NULL), *h and
     * *c the state before (NULL: zeros), which it replaces. */
    void (*step)(clg_tensor *x, clg_tensor *s, int units, clg_tensor **h, clg_tensor **c);
} cell_kind;

static clg_tensor *gate(clg_tensor *x, int k, int units)
{
    return clg_slice(x, -1, (int64_t)k * units, (int64_t)(k + 1) * units, 1);
}

static clg_tensor *plus(clg_tensor *x, clg_tensor *s) { return s ? clg_add(x, s) : x; }

static void tanh_step(clg_tensor *x, clg_tensor *s, int units, clg_tensor **h, clg_tensor **c)
{
    (void)units, (void)c;
    *h = clg_tanh(plus(x, s));
}

static void relu_step(clg_tensor *x, clg_tensor *s, int units, clg_tensor **h, clg_tensor **c)
{
    (void)units, (void)c;
    *h = clg_relu(plus(x, s));
}

static void lstm_step(clg_tensor *x, clg_tensor *s, int units, clg_tensor **h, clg_tensor **c)
{
    clg_tensor *all = plus(x, s), *i = clg_sigmoid(gate(all, 0, units)), *f = clg_sigmoid(gate(all, 1, units));
    clg_tensor *new = clg_mul(i, clg_tanh(gate(all, 2, units)));
    *c = *c ? clg_add(clg_mul(f, *c), new) : new;
    *h = clg_mul(clg_sigmoid(gate(all, 3, units)), clg_tanh(*c));
}

static void gru_step(clg_tensor *x, clg_tensor *s, int units, clg_tensor **h, clg_tensor **c)
{
    clg_tensor *part[3];
    (void)c;
    for (int k = 0; k < 3; k++) part[k] = s ? gate(s, k, units) : NULL;
    clg_tensor *r = clg_sigmoid(plus(gate(x, 0, units), part[0])), *z = clg_sigmoid(plus(gate(x, 1, units), part[1]));
    clg_tensor *n = clg_tanh(plus(gate(x, 2, units), part[2] ? clg_mul(r, part[2]) : NULL));
    clg_tensor *kept = clg_mul(z, *h ? clg_sub(*h, n) : clg_neg(n));
    *h = clg_add(n, kept);
}

static const cell_kind tanh_cell = {"rnn", 1, false, tanh_step}, relu_cell = {"rnn", 1, false, relu_step},
                       lstm_cell = {"lstm", 4, false, lstm_step}, gru_cell = {"gru", 3, true, gru_step};

static clg_tensor *through_time(clg_model *m, const char *name, clg_tensor *x, const clg_recurrent_desc *desc,
                                const cell_kind *cell)
{
    if (!m || !x) return NULL;
    const clg_recurrent_desc d = desc ? *desc : (clg_recurrent_desc){0};
    const clg_shape          shape = clg_tensor_shape(x);
    if (!name || !*name) return clg__layer_fail(x, cell->name, name, "a layer needs a name");
    if (shape.rank != 3 || shape.dim[1] < 1 || shape.dim[2] < 1)
        return clg__layer_fail(x, cell->name, name, "the input must be [N, steps, features]");
    if (d.units < 1) return clg__layer_fail(x, cell->name, name, "units must be at least 1");

    const int64_t n = shape.dim[0], steps = shape.dim[1], in = shape.dim[2], rows = (int64_t)cell->gates * d.units;
    static const char *const parts[] = {"weight_ih", "weight_hh", "bias_ih", "bias_hh"};
    const clg_shape shapes[] = {CLG_SHAPE(rows, in), CLG_SHAPE(rows, d.units), CLG_SHAPE(rows), CLG_SHAPE(rows)};
    clg_tensor              *p[4] = {NULL};
    clg_fill_fn             *fill;
    double                   scale;
    clg__init(CLG_INIT_HE_UNIFORM, 6.0 * d.units, 1.0, &fill, &scale); /* U(-1 / sqrt(units), 1 / sqrt(units)) */
    const size_t before = clg_model_count(m);
    for (int k = 0; k < (d.no_bias ? 2 : 4); k++) {
        p[k] = clg__layer_tensor(clg_model_parameter, m, x, name, parts[k], shapes[k], fill, scale);
        if (!p[k]) return clg__layer_end(m, before, NULL);
    }
    if (!d.no_bias && !cell->apart) {
        p[2] = clg_add(p[2], p[3]);
        p[3] = NULL;
    }
    clg_tensor **out = calloc((size_t)steps, sizeof *out), *h = NULL, *c = NULL;
    if (!out) return clg__layer_end(m, before, clg__layer_fail(x, cell->name, name, "out of host memory"));
    clg_tensor *all = clg_matmul(clg_reshape(x, CLG_SHAPE(n * steps, in)), p[0],
                                 &(clg_matmul_desc){.trans_b = true, .bias = p[2]});
    all = all ? clg_reshape(all, CLG_SHAPE(n, steps, rows)) : NULL;
    for (int64_t t = 0; t < steps; t++) {
        clg_tensor *now = clg_reshape(clg_slice(all, 1, t, t + 1, 1), CLG_SHAPE(n, rows));
        clg_tensor *state = h ? clg_matmul(h, p[1], &(clg_matmul_desc){.trans_b = true, .bias = p[3]}) : p[3];
        cell->step(now, state, d.units, &h, &c);
        if (!h) break;
        out[t] = clg_reshape(h, CLG_SHAPE(n, 1, d.units));
    }
    clg_tensor *y = !h || d.last ? h : clg_concat(out, (size_t)steps, 1);
    free(out);
    return clg__layer_end(m, before, y);
}

clg_tensor *clg_nn_rnn(clg_model *m, const char *name, clg_tensor *x, const clg_recurrent_desc *desc)
{
    return through_time(m, name, x, desc, desc && desc->relu ? &relu_cell : &tanh_cell);
}

clg_tensor *clg_nn_lstm(clg_model *m, const char *name, clg_tensor *x, const clg_recurrent_desc *desc)
{
    return through_time(m, name, x, desc, &lstm_cell);
}

clg_tensor *clg_nn_gru(clg_model *m, const char *name, clg_tensor *x, const clg_recurrent_desc *desc)
{
    return through_time(m, name, x, desc, &gru_cell);
}
