/* arena.c - memory that goes all at once: a list of blocks, the newest first, each filled from its start.
 *
 * A request larger than a block gets a block of its own behind the newest, so that what is left of the newest is not
 * lost. Blocks come zeroed and are never reused, so every piece is zeroed. */
#include "base/base.h"
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct clg__arena_block {
    struct clg__arena_block *next;
    size_t used, capacity;
    alignas(max_align_t) unsigned char data[];
} block;

enum { BLOCK_BYTES = 16384 - sizeof(block), ALIGN = alignof(max_align_t) };

static block *block_create(size_t capacity)
{
    block *b = capacity > SIZE_MAX - sizeof *b ? NULL : calloc(1, sizeof *b + capacity);
    if (b) b->capacity = capacity;
    return b;
}

void *clg__arena_alloc(clg__arena *arena, size_t bytes)
{
    if (bytes > SIZE_MAX - ALIGN) return NULL;
    const size_t size = CLG__MAX(bytes + ALIGN - 1, ALIGN) / ALIGN * ALIGN;
    block *b = arena->blocks;
    if (!b || size > b->capacity - b->used) {
        const bool large = size > BLOCK_BYTES;
        block *fresh = block_create(large ? size : BLOCK_BYTES);
        if (!fresh) return NULL;
        if (b && large) {
            fresh->next = b->next;
            b->next = fresh;
        } else {
            fresh->next = b;
            arena->blocks = fresh;
        }
        b = fresh;
    }
    void *piece = b->data + b->used;
    b->used += size;
    return piece;
}

char *clg__arena_printf(clg__arena *arena, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    const int length = vsnprintf(NULL, 0, format, args);
    char *text = length < 0 ? NULL : clg__arena_alloc(arena, (size_t)length + 1);
    if (text) vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    va_end(args);
    return text;
}

void clg__arena_free(clg__arena *arena)
{
    for (block *b = arena->blocks, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    arena->blocks = NULL;
}
