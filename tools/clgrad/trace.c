/* trace.c - the JSON of the Trace Event Format: complete events ("X") in microseconds of CLOCK_MONOTONIC, a track for
 * each kind of work. */
#include "trace.h"
#include "report.h"

#include <errno.h>

static const char *const tracks[] = {
    [CLG_TRACE_KERNEL] = "kernels",
    [CLG_TRACE_UPLOAD] = "uploads",
    [CLG_TRACE_DOWNLOAD] = "downloads",
    [CLG_TRACE_HOST] = "host",
};

enum { TRACKS = sizeof tracks / sizeof tracks[0] };

bool trace_open(trace *t, const char *path)
{
    *t = (trace){.file = path ? fopen(path, "w") : NULL};
    if (!t->file) return !path;
    fputs("{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n"
          "{\"name\": \"process_name\", \"ph\": \"M\", \"pid\": 1, \"args\": {\"name\": \"clgrad\"}}", t->file);
    for (int i = 0; i < TRACKS; i++)
        fprintf(t->file,
                ",\n{\"name\": \"thread_name\", \"ph\": \"M\", \"pid\": 1, \"tid\": %d, \"args\": {\"name\": \"%s\"}}",
                i + 1, tracks[i]);
    return true;
}

/* Names are identifiers, or titles such as "cl/softmax.cl": nothing that JSON would have escaped. */
static void write_event(void *user, const clg_trace_event *e)
{
    const trace *t = user;
    const double length = e->end > e->start ? e->end - e->start : 0.0;
    fprintf(t->file,
            ",\n{\"name\": \"%s\", \"cat\": \"%s\", \"ph\": \"X\", \"pid\": 1, \"tid\": %d, "
            "\"ts\": %.3f, \"dur\": %.3f",
            e->name, tracks[e->kind], (int)e->kind + 1, 1e6 * e->start, 1e6 * length);
    if (e->bytes) fprintf(t->file, ", \"args\": {\"bytes\": %llu}", (unsigned long long)e->bytes);
    fputs("}", t->file);
}

void trace_host(trace *t, const char *name, double start)
{
    if (t->file)
        write_event(t,
                    &(clg_trace_event){.kind = CLG_TRACE_HOST, .name = name, .start = start, .end = clock_seconds()});
}

void trace_drain(trace *t, clg_context *ctx)
{
    if (t->file) clg_context_trace(ctx, write_event, t);
}

bool trace_close(trace *t)
{
    if (!t->file) return true;
    errno = 0;
    bool ok = fputs("\n]}\n", t->file) >= 0 && !ferror(t->file);
    ok = !fclose(t->file) && ok;
    t->file = NULL;
    return ok;
}
