/* keeper.h - a command that finds something out about a device and keeps it in a file, or forgets it. */
#ifndef KEEPER_H
#define KEEPER_H

#include "options.h"

#include <clgrad/clgrad.h>

typedef struct keeper {
    const command   *cmd;
    clg_context_desc context;
    bool             forget;  /* only remove the file */
    const char      *nothing; /* what is said then: "nothing is kept" */
    void (*place)(const clg_device_list *list, const clg_device_info *device, char *file, size_t size); /* "": none */
    int (*find_out)(void *user, clg_context *ctx, const char *file); /* returns the exit status */
} keeper;

/* 0, or the exit status. */
int keeper_run(const keeper *k, void *user);

#endif
