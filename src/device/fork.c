/* fork.c - OpenCL belongs to one process: the threads and locks of drivers do not survive a fork, so a child that used what
 * its parent had begun would hang. It is told so instead. */
#include "device/cl_types.h"
#include <pthread.h>

int clg__process;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int            user;

static void count_process(void) { clg__process++; }

static void begin(void)
{
    user = clg__process;
    pthread_atfork(NULL, NULL, count_process);
}

bool clg__may_use_opencl(void)
{
    pthread_once(&once, begin);
    return user == clg__process;
}
