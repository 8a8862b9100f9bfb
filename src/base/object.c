/* object.c - the object tree and the error record.
 *
 * A root lists its objects from the newest to the oldest. An object is off the list before its destructor runs, so a
 * destructor may itself destroy others. The error record keeps the first error; a text without an error (clg__report)
 * is replaced by whatever comes next. */
#include "base/base.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void clg__adopt(clg__root *root, clg__object *object, void (*destroy)(clg__object *))
{
    *object = (clg__object){.root = root, .older = root->newest, .destroy = destroy};
    if (root->newest) root->newest->newer = object;
    root->newest = object;
}

void clg__destroy(clg__object *object)
{
    if (!object) return;
    if (object->newer) object->newer->older = object->older;
    else object->root->newest = object->older;
    if (object->older) object->older->newer = object->newer;
    object->destroy(object);
}

void clg__root_destroy_children(clg__root *root)
{
    while (root->newest) clg__destroy(root->newest);
}

static void set_text(clg__root *root, const char *format, va_list args) CLG_PRINTF(2, 0);

static void set_text(clg__root *root, const char *format, va_list args)
{
    char text[CLG__ERROR_TEXT]; /* the arguments may point into root->text */
    if (vsnprintf(text, sizeof text, format, args) < 0) text[0] = '\0';
    memcpy(root->text, text, sizeof text);
}

clg_status clg__vfail(clg__root *root, clg_status status, const char *format, va_list args)
{
    if (!root || root->status != CLG_OK) return status;
    set_text(root, format, args);
    root->status = status;
    return status;
}

clg_status clg__fail(clg__root *root, clg_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    clg__vfail(root, status, format, args);
    va_end(args);
    return status;
}

clg_status clg__report(clg__root *root, clg_status status, const char *format, ...)
{
    if (!root || root->status != CLG_OK) return status;
    va_list args;
    va_start(args, format);
    set_text(root, format, args);
    va_end(args);
    return status;
}

void *clg__calloc(clg__root *root, size_t count, size_t size)
{
    void *memory = size > 0 && count > SIZE_MAX / size ? NULL : calloc(count > 0 ? count : 1, size > 0 ? size : 1);
    if (!memory)
        clg__fail(root, CLG_OUT_OF_MEMORY, "out of host memory: %zu elements of %zu bytes were needed", count, size);
    return memory;
}
