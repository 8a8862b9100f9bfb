/* doctor.h - examining a device: does it compute what it should?
 *
 * A case is a row of the library's operator table: an operator, its inputs' shapes, random values. Its results, first and,
 * where there are any, second derivatives are compared with a reference in double precision. Every case runs as plans run
 * it, and once more operator by operator, with every input and result at an odd offset between guards; the cases that a
 * profile has several kernels for (clgrad/profile.h: clblast, winograd, direct) run by each of them. Beside them there are the
 * checks "products" (the engines and tiles for matrix products), "transfers", "queues", "limits" and "cache".
 *
 * What is found wrong can be kept in one text file in the cache directory ($XDG_CACHE_HOME/clgrad, else ~/.cache/clgrad),
 * named by the device, its driver and platform, and every later context on the device minds it. An entry is a line:
 *
 *     cpu profile winograd=4   under the base cpu that value is not used: half of it is, then 0; of other keys 0
 *     cpu body attention       the operator takes the kernels that the base gpu has
 *     cpu refuse softmax       plans with that operator are refused, with an error that says so
 *
 * A damaged file is an error of whoever opens the device. */
#ifndef CLGRAD_DOCTOR_H
#define CLGRAD_DOCTOR_H

#include <clgrad/device.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What was seen of an operator, or of a check. Texts are valid during the call. */
typedef struct clg_doctor_line {
    const char *name;   /* "conv2d", "transfers" */
    int         cases;  /* in which the operator occurs, or that the check tried; 0: none was selected */
    int         failed; /* of these, because of this operator */
    bool        crashed; /* one of these ended the process */
    const char *fault;  /* of the first that failed: "y[3] is 0.5 instead of 0.25: off by 0.25 where 1.2e-06 is allowed"; or "" */
    const char *replay; /* clg_doctor_desc.only that repeats it with the same seed; "": it takes all of them together */
} clg_doctor_line;

/* What ended the process: the driver's compiler or a kernel crashed. */
typedef struct clg_doctor_crash {
    const char *what; /* as `progress` was told last; NULL ends a list */
    const char *how;  /* "signal 11 (Segmentation fault)" */
} clg_doctor_crash;

typedef struct clg_doctor_desc {
    uint64_t    seed;  /* of the values */
    bool        quick; /* a few small cases that between them have every operator and every kernel, once; a profile's other
                        * kernels only where its own are wrong */
    const char *only;  /* NULL: everything. "conv2d": the cases in which that operator occurs, or a check; and to repeat, which
                        * keeps nothing, "conv2d.5": one case as plans run it; "conv2d.5/alone": operator by operator;
                        * "conv2d.5/winograd=2": under that profile */
    bool        keep;  /* what fails goes into quarantine; what passes, when everything was examined, leaves it */
    bool        single; /* a plan for each case, each told to `progress` before it is begun: slower, and what crashes has a name */
    const clg_doctor_crash *crashes; /* of earlier runs, or NULL: they, and with them cases of the same operator in the same
                                      * kernels, count as failed and are not run */
    void       *user;
    void (*progress)(void *user, const char *what); /* told before it is begun, for what does not return; may be NULL */
    void (*report)(void *user, const clg_doctor_line *line); /* at the end, a line each; may be NULL */
} clg_doctor_desc;

typedef struct clg_doctor_result {
    int  cases, failed;        /* runs of cases, checks included */
    char quarantine[4096];     /* the entries for this device that follow from what failed; kept when that was asked for */
    int  rejected;             /* cases that fail with these entries too, and are not refused; not 0: please report it */
} clg_doctor_result;

/* Examines the device under the profile of `ctx`, which should have been opened with .quarantine = "", or what is in quarantine
 * already is not looked at. Opens contexts of its own: nothing else should use the device meanwhile. A device that computes wrongly is no error; CLG_INVALID_ARGUMENT: there is no case
 * or profile as `only` says; CLG_IO: the quarantine cannot be written. */
CLG_API clg_status clg_doctor_run(clg_context *ctx, const clg_doctor_desc *desc, clg_doctor_result *result);

/* The number of entries that are kept for the device; in `entries` the lines (4 KiB hold any), in `file` the path, "" without
 * a cache directory. -1, with the reason in `entries`: the file cannot be read. */
CLG_API int clg_quarantine(const clg_device_list *list, const clg_device_info *device, char *entries, size_t size, char *file,
                           size_t file_size);

#ifdef __cplusplus
}
#endif
#endif
