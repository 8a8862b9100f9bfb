/* trace.h - --trace FILE: what device and host did and when, for chrome://tracing and ui.perfetto.dev. */
#ifndef TRACE_H
#define TRACE_H

#include <clgrad/clgrad.h>
#include <stdio.h>

typedef struct trace {
    FILE *file; /* NULL: nobody asked; then everything below does nothing */
} trace;

/* `path` may be NULL. False, with errno set, when it cannot be written. */
bool trace_open(trace *t, const char *path);
void trace_host(trace *t, const char *name, double start); /* host work from then (clock_seconds) until now */
void trace_drain(trace *t, clg_context *ctx);              /* waits for the device */
bool trace_close(trace *t);                                /* false, with errno set, when something was not written */

#endif
