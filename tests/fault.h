/* fault.h - calls that fail on purpose: every OpenCL entry point, allocation, file operation and process start that the
 * library makes goes through fault.c, by the linker's --wrap, so drivers and libraries underneath see nothing of it.
 *
 * fault_at(k, and_later) has the k-th call from then on fail, 1 being the next, and all later ones too if asked. */
#ifndef CLG_TEST_FAULT_H
#define CLG_TEST_FAULT_H

#include <stdbool.h>

void        fault_at(long k, bool and_later); /* 0: none any more */
const char *fault_name(void); /* of the call that failed first since the last fault_at(k > 0), or NULL */
void        fault_only(const char *names); /* count calls of these alone, separated by spaces; NULL: all */

/* What the library holds now: blocks of memory, and OpenCL objects, streams and descriptors. */
typedef struct fault_holdings {
    long memory, opencl, files;
} fault_holdings;

fault_holdings fault_held(void);

#endif
