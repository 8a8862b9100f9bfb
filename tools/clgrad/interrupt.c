/* interrupt.c - a flag that a signal sets, and a queue that is kept short enough to look at it. Who reads what is
 * printed may go: a training is not lost for that. */
#include "interrupt.h"
#include "report.h"

#include <math.h>
#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t caught;

static void note(int signal_number)
{
    caught = signal_number;
}

void interrupt_catch(void)
{
    struct sigaction action = {.sa_handler = note, .sa_flags = (int)SA_RESETHAND | SA_RESTART};
    struct sigaction old;
    sigemptyset(&action.sa_mask);
    const int signals[] = {SIGINT, SIGTERM};
    signal(SIGPIPE, SIG_IGN); /* the program's end says that its output could not be written */
    for (int i = 0; i < 2; i++) /* what a parent has had ignored, such as a shell of jobs in the background, stays so */
        if (!sigaction(signals[i], NULL, &old) && old.sa_handler != SIG_IGN) sigaction(signals[i], &action, NULL);
}

bool interrupted(void) { return caught; }
int  interrupted_status(void) { return 128 + (int)caught; }

bool leash_step(leash *l, clg_context *ctx)
{
    if (++l->steps < l->next) return false;
    clg_context_finish(ctx);
    const double now = clock_seconds(), each = (now - l->since) / (double)l->steps;
    *l = (leash){.since = now, .next = each > 0.0 && each < 0.25 ? (int64_t)fmin(0.25 / each, 1e6) : 1};
    return true;
}
