/* network.h - the networks that the program trains, and what a saved one says about itself. */
#ifndef NETWORK_H
#define NETWORK_H

#include "options.h"

#include <clgrad/clgrad.h>

#define NETWORK_NAMES "cnn|mlp|resnet18|gpt"
#define NETWORK_HELP \
    NETWORK_NAMES ", layers as 'flatten linear(10)', or @FILE with layers (default cnn; CSV: mlp; see clgrad layers)"

enum { NETWORK_MAX_CLASSES = 256 };

typedef struct network {
    const char        *model;       /* the name of one, or a SPEC (spec.h) */
    int                classes;     /* outputs */
    bool               regression;  /* they are numbers, not scores of classes */
    const char        *answer;      /* the column of a CSV file that it predicts, or NULL */
    const char *const *features;    /* [input.dim[0]]: the columns that it reads, or NULL */
    clg_shape          input;       /* of one example */
    clg_shape
        window; /* height and width of the middle of a picture, which is all that the network sees; rank 0: it sees
                                     * the whole */
    const char *const *class_names; /* [classes], or NULL */
    const float       *mean, *std;  /* [input.dim[0]]: the network sees (x - mean) / std; or NULL */
} network;

/* A row of the table of networks; the defaults are what `clgrad bench` measures. */
typedef struct network_kind {
    const char *name;
    const char *spec; /* or, when it is no list of layers: */
    clg_tensor *(*build)(clg_model *model, clg_tensor *x, int classes); /* logits, their last extent being classes */
    clg_optimizer *(*optimizer)(clg_model *model);
    clg_shape   example; /* x without its first extent: {channels, height, width} f32, or {context}: i32 tokens, each of
                          * which is to be followed by the next one */
    int         classes, batch;
} network_kind;

const network_kind *network_find(const char *name); /* NULL: there is none */
clg_tensor         *network_kind_build(const network_kind *kind, clg_model *model, clg_tensor *x, int classes);

/* The value of --model: a network's name, a SPEC, or a file with one (@FILE, or a path that ends in .spec). Returns
 * what goes into network.model, to be freed; NULL after saying what is wrong with it. */
char *network_model(const command *cmd, const char *given);

enum { NETWORK_CLASSES = 10 }; /* where nobody says how many */

/* Does a SPEC fit its input and classes? Says why not and returns the exit status. Where net->classes is 0 it becomes
 * what the SPEC has, "classes" in it being `classes`. */
int network_check(const command *cmd, clg_context *ctx, network *net, int classes);

/* "1,28,28"; false when it is something else. */
bool network_extents(const char *text, clg_shape *shape);

/* The input of `rows` examples. */
clg_tensor *network_input(clg_graph *g, const network *net, int64_t rows);

/* What the network sees of examples x [N, ...]: all of them, or their windows, which they may be already. */
clg_tensor *network_window(const network *net, clg_tensor *x);

/* The logits [N, classes], or predictions, for examples x [N, ...]. */
clg_tensor *network_build(const network *net, clg_model *model, clg_tensor *x);

/* A model's file carries its network as metadata, so that it can be built again from the file alone. An error's text is
 * in clg_context_error. */
clg_status network_save(const network *net, clg_model *model, const char *path);

/* Reads that; what *net points to lives as long as the context. Says what is wrong and returns the exit status. */
int network_open(const command *cmd, clg_context *ctx, const char *path, network *net);

/* What a class is called; its number, written to `number`, where classes have no names. */
const char *network_class_name(const network *net, int class, char number[16]);

/* What its examples are: "images", or "examples". */
const char *network_word(const network *net);

/* Numbers in the model's entries from..to: those that it learns, or its states. */
int64_t network_elements(const clg_model *model, size_t from, size_t to, bool states);

/* Do the data's examples and answers fit? Otherwise false with the reason in `error`. */
bool network_fits(const network *net, const clg_dataset *data, const char *part, char *error, size_t size);

#endif
