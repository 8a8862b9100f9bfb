/* profile.h - what distinguishes one device from another, as data: kernels are specialised by these numbers and by
 * nothing else, and only the table in profile.c knows vendors.
 *
 * CLGRAD_PROFILE and clg_context_desc.profile take "cpu", "gpu", or a comma-separated list of key=value after an optional
 * base, such as "gpu,wg=128,vec=2": the keys are the names of the fields below. */
#ifndef CLGRAD_PROFILE_H
#define CLGRAD_PROFILE_H

#include <clgrad/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct clg_profile {
    char     base[8];  /* "cpu" or "gpu": which kernel bodies are used */
    uint32_t wg;       /* work-items of a group in row-wise and pointwise kernels: a power of two, 1 to 256 */
    uint32_t vec;      /* floats in a vector: 1, 2, 4, 8 or 16 */
    uint32_t groups;   /* most work-groups per compute unit of a launch */
    uint32_t chunk;    /* elements that a group takes at once in pointwise kernels */
    uint32_t tile_m;   /* cpu: rows of the register tile of GEMM; gpu: rows of the local tile */
    uint32_t tile_n;   /* cpu: vectors per row of the register tile; gpu: columns of the local tile */
    uint32_t tile_k;   /* cpu: depth of a packed panel; gpu: depth of the local tile */
    uint32_t clblast;  /* 1: CLBlast does the large GEMMs where it was built in; 0: the built-in kernels */
    uint32_t winograd; /* cpu, 3x3 convolutions: 4: Winograd's F(4x4, 3x3) where that is faster, 2: F(2x2, 3x3), which
                          rounds less, 0: neither; a NaN or an infinity spreads over the m x m outputs around it */
    uint32_t stream;   /* cpu: KiB from which on results, pointwise or of conv2d, go past the caches, which are smaller; 0: never */
    uint32_t direct;   /* cpu: 1: other convolutions from regions of images, channels or pixels being lanes; 0: as matrix products */
    uint32_t fuse;     /* 1: chains of operators become one kernel where they can; 0: every operator alone */
} clg_profile;

/* Applies `text` to *profile. On a malformed text returns CLG_INVALID_ARGUMENT with the reason in `error`. */
CLG_API clg_status clg_profile_parse(clg_profile *profile, const char *text, char *error, size_t error_size);

/* "gpu,wg=256,vec=4,...", a text that clg_profile_parse takes back; returns text. 256 bytes hold any profile. */
CLG_API char *clg_profile_text(const clg_profile *profile, char *text, size_t size);

#ifdef __cplusplus
}
#endif
#endif
