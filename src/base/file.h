/* file.h - whole files to and from memory. */
#ifndef CLG_BASE_FILE_H
#define CLG_BASE_FILE_H

#include "base/base.h"

/* The whole file into *bytes, the caller's to free, with a zero after its end that is not counted; NULL on an error. */
clg_status clg__file_load(clg__root *root, const char *path, uint8_t **bytes, size_t *size);

/* Leaves `path` with these bytes, or as it was. */
clg_status clg__file_replace(clg__root *root, const char *path, const uint8_t *bytes, size_t size);
clg_status clg__file_may_replace(clg__root *root, const char *path); /* to be asked before the bytes are made */

#endif
