/* layer_table.c - what a layer has is what building it adds to the model. */
#include "layer_table.h"
#include "spec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What parameters from..to of the model, the layer's, cost at each of the places where they are used. */
static double layer_flops(const clg_model *model, size_t from, size_t to, clg_shape in, clg_shape out)
{
    double products = 0.0;
    int    weights = 0, rank = 0;
    for (size_t i = from; i < to; i++) {
        const clg_shape w = clg_model_shape(model, i);
        if (w.rank < 2) continue;
        products += (double)clg_shape_count(w);
        weights++, rank = w.rank;
    }
    const double all = (double)clg_shape_count(out);
    if (!weights) return all;
    if (weights > 1) return 2.0 * products * (double)(in.dim[0] * in.dim[1]); /* recurrent: each step of each example */
    return 2.0 * products * all / (double)out.dim[rank == 2 ? out.rank - 1 : 1]; /* linear; convolution */
}

clg_tensor *layer_table_build(layer_table *t, const network *net, clg_model *model, clg_tensor *x)
{
    const network_kind *kind = network_find(net->model);
    const char         *text = kind ? kind->spec : net->model;
    spec               *list = text ? spec_parse(text, strlen(text), NULL) : NULL;
    x = network_window(net, x);
    clg_tensor         *y = list ? x : network_kind_build(kind, model, x, net->classes);
    const size_t        all = clg_model_count(model);
    *t = (layer_table){.layers = text, .rows = calloc(list ? list->count : all + 1, sizeof *t->rows)};
    for (size_t i = 0; list && t->rows && y && i < list->count; i++) {
        const clg_shape in = clg_tensor_shape(y);
        const size_t    from = clg_model_count(model);
        y = spec_build_layer(list, i, model, y, net->classes);
        const size_t to = clg_model_count(model);
        layer_row   *r = &t->rows[t->count++];
        *r = (layer_row){.kind = list->layer[i].kind->name, .output = clg_tensor_shape(y)};
        snprintf(r->name, sizeof r->name, "%s", list->layer[i].name);
        r->parameters = network_elements(model, from, to, false);
        r->flops = y ? layer_flops(model, from, to, in, r->output) : 0.0;
    }
    for (size_t i = 0; !list && t->rows && i < all; i++) {
        layer_row *r = &t->rows[t->count++];
        *r = (layer_row){.kind = clg_model_is_state(model, i) ? "state" : "parameter",
                         .output = clg_model_shape(model, i)};
        snprintf(r->name, sizeof r->name, "%s", clg_model_name(model, i));
        r->parameters = network_elements(model, i, i + 1, false);
    }
    free(list);
    return t->rows ? y : NULL;
}

void layer_table_free(layer_table *t)
{
    free(t->rows);
    *t = (layer_table){0};
}
