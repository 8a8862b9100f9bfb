/* interrupt.h - Ctrl-C and kill: the step that runs is finished, what is learnt is saved, the exit status is 130. */
#ifndef INTERRUPT_H
#define INTERRUPT_H

#include <stdbool.h>

enum { EXIT_INTERRUPTED = 130 };

/* From now on the first SIGINT or SIGTERM only makes interrupted() true; a second one ends the process as ever. */
void interrupt_catch(void);
bool interrupted(void);

#endif
