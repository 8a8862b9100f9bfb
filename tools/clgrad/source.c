/* source.c - fashion-mnist is what Debian installs; anything else is a directory. */
#include "source.h"

#include <string.h>
#include <sys/stat.h>

static const char *const fashion_mnist = "/usr/share/datasets/fashion-mnist";

int fail_context(const command *cmd, const clg_context *ctx)
{
    const char *log = ctx ? clg_context_build_log(ctx) : "";
    return fail(cmd, "%s%s%s", ctx ? clg_context_error(ctx) : "out of memory", *log ? "\n" : "", log);
}

clg_dataset *source_open(const command *cmd, clg_context *ctx, const char *name, const char *part)
{
    struct stat info;
    if (!strcmp(name, "fashion-mnist")) {
        name = fashion_mnist;
        if (stat(name, &info)) {
            fail(cmd, "%s is missing: apt install dataset-fashion-mnist, or give --data a directory with IDX files",
                 name);
            return NULL;
        }
    }
    clg_dataset *data = clg_dataset_open_idx(ctx, name, part);
    if (!data) fail_context(cmd, ctx);
    return data;
}
