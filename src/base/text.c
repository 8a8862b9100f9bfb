/* text.c - a string that grows, and what UTF-8 is. The string doubles its capacity; one failed allocation empties it
 * for good, so that a caller may append a hundred times and look at `failed` once. */
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

/* The first byte says how many follow and where the second one may lie. */
const void *clg_utf8_fault(const void *text, size_t size)
{
    const uint8_t *at = text, *const end = at + size;
    while (at < end) {
        const unsigned c = *at, more = c < 0x80 ? 0 : c < 0xc2 ? 4 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : c < 0xf5 ? 3 : 4;
        const unsigned low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
        const unsigned high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
        if (more == 4 || more >= (size_t)(end - at) || (more && (at[1] < low || at[1] > high))) return at;
        for (unsigned i = 2; i <= more; i++)
            if ((at[i] & 0xc0) != 0x80) return at;
        at += 1 + more;
    }
    return NULL;
}
