/* layer_table.h - the layers of a network one by one: shapes, parameters, operations. */
#ifndef LAYER_TABLE_H
#define LAYER_TABLE_H

#include "network.h"

typedef struct layer_row {
    char        name[128];
    const char *kind;
    clg_shape   output;
    int64_t     parameters;
    double      flops; /* two for each product of a weight, else one for each number of the output */
} layer_row;

typedef struct layer_table {
    layer_row *rows;
    size_t     count;
    bool       layers; /* false: the network is no list, and these are its parameters and states, without flops */
} layer_table;

/* Builds the network in a model that has no parameters yet; its logits, or NULL with an error in the context. */
clg_tensor *layer_table_build(layer_table *t, const network *net, clg_model *model, clg_tensor *x);
void        layer_table_free(layer_table *t);

#endif
