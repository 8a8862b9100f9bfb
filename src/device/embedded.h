/* embedded.h - the kernels of cl/, put into the library at build time by tools/embed_cl.c. */
#ifndef CLG_EMBEDDED_H
#define CLG_EMBEDDED_H

struct clg__embedded {
    const char *name, *text; /* "softmax" for cl/softmax.cl */
};

extern const struct clg__embedded clg__embedded[]; /* ends with {NULL, NULL} */

#endif
