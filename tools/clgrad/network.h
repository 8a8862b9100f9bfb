/* network.h - the networks that the program trains, and what a saved one says about itself. */
#ifndef NETWORK_H
#define NETWORK_H

#include <clgrad/clgrad.h>

#define NETWORK_IMAGES "cnn|mlp|resnet18" /* that take images */
#define NETWORK_NAMES  NETWORK_IMAGES "|gpt"

enum { NETWORK_MAX_CLASSES = 256 }; /* labels are bytes */

typedef struct network {
    char      name[16];
    int       classes;
    clg_shape image; /* [channels, height, width] */
} network;

/* A row of the table of networks; the defaults are what `clgrad bench` measures. */
typedef struct network_kind {
    const char *name;
    clg_tensor *(*build)(clg_model *model, clg_tensor *x, int classes); /* logits, their last extent being classes */
    clg_optimizer *(*optimizer)(clg_model *model);
    clg_shape   example; /* x without its first extent: {channels, height, width} f32, or {context}: i32 tokens, each of
                          * which is to be followed by the next one */
    int         classes, batch;
} network_kind;

const network_kind *network_find(const char *name); /* NULL: there is none */

/* The logits [N, classes] for images x [N, channels, height, width]. */
clg_tensor *network_build(const network *net, clg_model *model, clg_tensor *x);

/* A model's file carries its network as metadata, so that it can be built again from the file alone. An error's text is
 * in clg_context_error. */
clg_status network_save(const network *net, clg_model *model, const char *path);
clg_status network_describe(clg_context *ctx, const char *path, network *net);

/* Do the data's images and labels fit? Otherwise false with the reason in `error`. */
bool network_fits(const network *net, const clg_dataset *data, const char *part, char *error, size_t size);

#endif
