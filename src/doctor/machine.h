/* machine.h - checks of a device that are not operators. */
#ifndef CLG_DOCTOR_MACHINE_H
#define CLG_DOCTOR_MACHINE_H

#include "doctor/cases.h"

typedef struct clg__machine_check {
    const char *name;
    /* What was tried: a count; `fault` stays empty when all of it was right. */
    int (*run)(clg_context *ctx, uint64_t seed, bool quick, clg__text *fault);
} clg__machine_check;

extern const clg__machine_check clg__machine_checks[]; /* ends with a row without a name */

/* Another context on the same device; profile NULL: the same. The caller asks whether it failed. */
clg_context *clg__doctor_open(clg_context *ctx, const char *profile, const char *quarantine, bool cache);

/* products.c */
int clg__doctor_products(clg_context *ctx, uint64_t seed, bool quick, clg__text *fault);
int clg__doctor_clblast(clg_context *ctx, uint64_t seed, bool quick, clg__text *fault);

#endif
