/* tune.h - measuring which matrix products are fastest on the user's device, once, and keeping what was found.
 *
 * A choice belongs to a class of products: the transpositions, batched or not, and m, n, k to the nearest power of two.
 * It is an engine and, for the built-in one, a tile; beside these, CLBlast's parameters. Choices lie in one text file in
 * the cache directory ($XDG_CACHE_HOME/clgrad, else ~/.cache/clgrad), named by the device, its driver and platform, the
 * profile, and the library's version; every later context reads it. A damaged file is ignored with a warning on standard
 * error. Without it a table in the library, then a model of the cost decide. */
#ifndef CLGRAD_TUNE_H
#define CLGRAD_TUNE_H

#include <clgrad/device.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What was measured of one class, or of one kernel's parameters in CLBlast. */
typedef struct clg_tune_row {
    const char *what;       /* "NT 128 x 512 x 784", "CLBlast Xgemm"; valid during the call, as are the others */
    const char *untuned, *winner; /* "built-in panel 14x32 NT"; the same text where the untuned choice stays */
    int         candidates; /* compared with the untuned choice */
    int         refused;    /* of these, did not build, or computed wrongly */
    double      ratio;      /* time of the untuned choice over that of the winner, in three of four alternating rounds
                               so or higher; 1: nothing won */
    double      gflops;     /* of the winner, 10^9 operations a second; 0 for parameters of CLBlast */
    bool        unfinished; /* the budget ended first: another call goes on with the other candidates */
} clg_tune_row;

typedef struct clg_tune_desc {
    double budget;   /* seconds; 0: 120. What is being compiled when they are over is finished */
    bool   dry_run;  /* keep nothing */
    void  *user;
    void (*report)(void *user, const clg_tune_row *row); /* called for every row; may be NULL */
} clg_tune_desc;

typedef struct clg_tune_result {
    int    measured, classes; /* in this call, by all their candidates; that it knows to measure */
    int    choices;           /* kept in the file, those of earlier calls included */
    double seconds;
} clg_tune_result;

/* Measures for as long as the budget lasts, the products that matter most first, and those that the file has no choice
 * for, or one of some candidates only, before the others. A candidate wins when its product of random matrices agrees with a sum in double precision to
 * within the rounding of a float sum, and it is more than 5% faster in three of four rounds. Contexts opened afterwards use the
 * choices. CLBlast keeps its parameters for the whole process: nothing else should use the device meanwhile.
 * Returns CLG_IO when the choices cannot be kept, told before anything is measured; the context does not fail by it. */
CLG_API clg_status clg_context_tune(clg_context *ctx, const clg_tune_desc *desc, clg_tune_result *result);

/* The number of choices in the device's file, 0 where there is none, and the file's path in `file`, "" without a cache
 * directory (4 KiB hold any). The profile is the device's. */
CLG_API int clg_tuning_choices(const clg_device_list *list, const clg_device_info *device, char *file, size_t size);

#ifdef __cplusplus
}
#endif
#endif
