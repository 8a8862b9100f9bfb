/* spec.h - a network as a list of layers: "conv2d(32,3) relu max_pool2d(2) flatten linear(128) relu linear(classes)".
 *
 *     list  = { layer }                         words between blanks and line ends; # begins a comment
 *     layer = [ name ":" ] kind [ "(" [ value { "," value } ] ")" ]        the name is that of its parameters
 *     value = [ argument "=" ] ( number | number "x" number | word )       those without a name come first, in order
 *
 * A layer without a name is called after its kind and counted: conv2d1, conv2d2. */
#ifndef SPEC_H
#define SPEC_H

#include <clgrad/clgrad.h>

enum { SPEC_MAX_TEXT = 1 << 16, SPEC_MAX_LAYERS = 256, SPEC_MAX_ARGUMENTS = 8, SPEC_MAX_NAME = 64 };

typedef enum spec_type {
    SPEC_END,   /* no argument */
    SPEC_WHOLE,
    SPEC_UNITS, /* whole, or "classes": as many as the network has */
    SPEC_PAIR,  /* a whole number for height and width, or HxW */
    SPEC_PAD,   /* likewise, or "same": as many as keep the extent at stride 1 */
    SPEC_REAL,
} spec_type;

typedef struct spec_argument {
    const char *name;
    spec_type   type;
    double      least, most;
    bool        optional;
    double      preset;
} spec_argument;

typedef struct spec_value {
    int    whole[2]; /* SPEC_WHOLE: both the same */
    double real;
    bool   given, word; /* word: "classes" or "same" */
} spec_value;

/* What a layer is built from. */
typedef struct spec_site {
    clg_model        *model;
    const char       *name;
    const spec_value *value; /* as in its kind's list of arguments */
    int               classes;
} spec_site;

typedef struct spec_kind {
    const char   *name, *help;
    clg_tensor *(*build)(const spec_site *site, clg_tensor *x);
    spec_argument argument[SPEC_MAX_ARGUMENTS]; /* ends with SPEC_END */
} spec_kind;

extern const spec_kind spec_kinds[]; /* ends with a row without a name */

typedef struct spec_layer {
    const spec_kind *kind;
    size_t           at; /* of its first character in the text */
    char             name[SPEC_MAX_NAME];
    spec_value       value[SPEC_MAX_ARGUMENTS];
} spec_layer;

typedef struct spec {
    size_t     count;
    spec_layer layer[];
} spec;

typedef struct spec_error {
    char   text[256];
    size_t at; /* where in the SPEC's text */
} spec_error;

/* The list, to be freed, or NULL with the error. The text is `size` bytes of anything. */
spec *spec_parse(const char *text, size_t size, spec_error *error);

/* Adds layer i to x, and does all of them. NULL: the reason is in the context. */
clg_tensor *spec_build_layer(const spec *s, size_t i, clg_model *model, clg_tensor *x, int classes);
clg_tensor *spec_build(const spec *s, clg_model *model, clg_tensor *x, int classes);

/* "message\n  the line\n      ^" into out, which is always terminated; returns out. */
char *spec_show(const char *text, size_t size, const spec_error *error, char *out, size_t room);

/* The text in one line: without comments, with single blanks; out has size + 1 bytes. */
void spec_compact(const char *text, size_t size, char *out);

#endif
