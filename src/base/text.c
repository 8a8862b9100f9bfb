/* text.c - a string that grows. It doubles its capacity; one failed allocation empties it for good, so that a caller
 * may append a hundred times and look at `failed` once. */
#include "base/base.h"
#include <stdio.h>
#include <stdlib.h>

enum { FIRST_BYTES = 256 };

static bool reserve(clg__text *text, size_t bytes)
{
    if (bytes <= text->capacity) return true;
    size_t capacity = CLG__MAX(text->capacity, FIRST_BYTES);
    while (capacity < bytes) capacity = capacity > SIZE_MAX / 2 ? bytes : capacity * 2;
    char *data = realloc(text->data, capacity);
    if (!data) return false;
    text->data = data;
    text->capacity = capacity;
    return true;
}

void clg__text_append(clg__text *text, const char *format, ...)
{
    if (text->failed) return;
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    const int length = vsnprintf(NULL, 0, format, args);
    if (length >= 0 && reserve(text, text->size + (size_t)length + 1)) {
        vsnprintf(text->data + text->size, (size_t)length + 1, format, again);
        text->size += (size_t)length;
    } else {
        clg__text_free(text);
        text->failed = true;
    }
    va_end(again);
    va_end(args);
}

void clg__text_free(clg__text *text)
{
    free(text->data);
    *text = (clg__text){0};
}
