/* interrupt.h - Ctrl-C and kill: the step that runs is finished, what is learnt is saved, the exit status is 130 or
 * 143. */
#ifndef INTERRUPT_H
#define INTERRUPT_H

#include <clgrad/clgrad.h>

/* From now on the first SIGINT or SIGTERM only makes interrupted() true; a second one ends the process as ever. */
void interrupt_catch(void);
bool interrupted(void);
int  interrupted_status(void); /* 128 + the signal, as a shell has it; 128: there was none, which is no exit status */

/* A device's queue holds many steps; called after each, this waits now and then, so that never more than about a
 * quarter of a second of them is ahead of it, and returns true when it has. Starts as zeros. */
typedef struct leash {
    double  since; /* seconds: when it waited last */
    int64_t steps; /* since then */
    int64_t next;  /* how many may come before it waits */
} leash;

bool leash_step(leash *l, clg_context *ctx);

#endif
