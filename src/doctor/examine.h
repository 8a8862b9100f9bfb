/* examine.h - the stages of clg_doctor_run: doctor.c chooses and reports, examine.c runs cases in a context and finds who is to
 * blame, quarantine.c concludes what is to be avoided. */
#ifndef CLG_DOCTOR_EXAMINE_H
#define CLG_DOCTOR_EXAMINE_H

#include "doctor/machine.h"
#include <clgrad/doctor.h>

typedef struct clg__tally { /* of an operator, or of a check */
    const char *name;
    int         cases, failed;
    bool        crashed;
    char        fault[512], replay[160];
} clg__tally;

typedef struct clg__doctor {
    clg_context           *ctx; /* the caller's: which device, which profile */
    const clg_doctor_desc *desc;
    clg_doctor_result     *result;
    clg__case             *cases;
    size_t                 count;
    clg__tally            *tallies;
    size_t                 operators, checks; /* tallies of these, in this order */
    bool                   concluded;         /* what fails in all variants is known */
} clg__doctor;

/* All cases that were chosen, in one context. */
typedef struct clg__pass {
    const char  *variant;    /* as after the / of a case's name: "", "alone", or a profile's text */
    const bool  *chosen;     /* by case */
    const char  *quarantine; /* entries */
    bool         counts;     /* in the tallies */
    const char **blamed;     /* by case: the operator that computes wrongly; NULL: right, or not run */
    bool        *together;   /* by case: every operator by itself was right */
} clg__pass;

/* Fills in `blamed` and `together`, which the caller frees. False, with an error in the caller's context, when the device cannot
 * be opened so or memory runs out. */
bool clg__examine(clg__doctor *d, clg__pass *pass);

/* Tells what is begun. Not NULL: how that ended the process when it was tried; it is not to be begun again. */
const char *clg__doctor_begin(const clg__doctor *d, const char *what);

clg__tally *clg__tally_of(clg__doctor *d, const char *name); /* or NULL */

/* Runs what the profile does not choose but could, then concludes. `plain` and `alone` are the passes of the profile as it
 * is. Fills in the result's entries. */
bool clg__conclude(clg__doctor *d, const clg__pass *plain, const clg__pass *alone);

#endif
