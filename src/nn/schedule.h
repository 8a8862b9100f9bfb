/* schedule.h - what is wrong with a schedule, for the optimisers. */
#ifndef CLG_NN_SCHEDULE_H
#define CLG_NN_SCHEDULE_H

#include <clgrad/optim.h>

/* NULL when nothing is. */
const char *clg__schedule_error(const clg_schedule_desc *desc);

#endif
