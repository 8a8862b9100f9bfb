/* keeper.c - the device and its file, for `clgrad doctor` and `clgrad tune`. */
#include "keeper.h"
#include "source.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int keeper_run(const keeper *k, void *user)
{
    clg_context     *ctx = clg_context_create(&k->context);
    clg_device_list *list = clg_device_list_create();
    char             file[4096] = "";
    int              status = 0;
    if (clg_context_failed(ctx)) {
        status = fail_context(k->cmd, ctx);
    } else if (!list) {
        status = fail(k->cmd, "out of memory");
    } else {
        const clg_device_info *device = clg_context_device(ctx);
        k->place(list, device, file, sizeof file);
        if (!k->forget) status = k->find_out(user, ctx, file);
        else if (*file && !remove(file)) printf("removed %s: %s for %s any more\n", file, k->nothing, device->name);
        else if (*file && errno != ENOENT) status = fail(k->cmd, "cannot remove %s: %s", file, strerror(errno));
        else printf("%s for %s: there was nothing to forget\n", k->nothing, device->name);
    }
    clg_device_list_destroy(&list);
    clg_context_destroy(&ctx);
    return status;
}
