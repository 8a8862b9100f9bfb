/* init.h - initialisers, for the layers. */
#ifndef CLG_NN_INIT_H
#define CLG_NN_INIT_H

#include <clgrad/nn.h>

/* What clg_model_parameter wants for initialiser `init` and a weight of these fans; false for an unknown one. */
bool clg__init(int init, double fan_in, double fan_out, clg_fill_fn **fill, double *scale);

#endif
