/* layer.h - what layers share: parameters by the layer's name, its errors, and taking back what a failed one has added. */
#ifndef CLG_LAYER_H
#define CLG_LAYER_H

#include <clgrad/nn.h>

/* Fails the context with "<layer> "<name>" on <shape of x>: <what>"; returns NULL. */
clg_tensor *clg__layer_fail(clg_tensor *x, const char *layer, const char *name, const char *what);

/* Parameter or state "<name>.<part>" of x's graph, from clg_model_parameter or clg_model_state. */
typedef clg_tensor *clg__tensor_of_model(clg_model *m, clg_graph *g, const char *name, clg_shape shape, clg_fill_fn *fill,
                                         double scale);
clg_tensor *clg__layer_tensor(clg__tensor_of_model *get, clg_model *m, clg_tensor *x, const char *name, const char *part,
                              clg_shape shape, clg_fill_fn *fill, double scale);

/* y; where that is NULL the model has `before` parameters again. */
clg_tensor *clg__layer_end(clg_model *m, size_t before, clg_tensor *y);

#endif
