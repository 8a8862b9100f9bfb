/* base.h - what all folders share and no OpenCL touches: the object tree, the error record, arenas, hashing.
 *
 * Ownership is a tree of depth one: a context's root lists everything created from it, newest first, and destroys it in
 * that order, so that what was built upon something goes before it. */
#ifndef CLG_BASE_INTERNAL_H
#define CLG_BASE_INTERNAL_H

#include <clgrad/base.h>
#include <stdarg.h>

#define CLG__COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define CLG__CEIL_DIV(a, b) (((a) + (b) - 1) / (b))
#define CLG__ROUND_UP(a, b) (CLG__CEIL_DIV(a, b) * (b))
#define CLG__MIN(a, b)    ((a) < (b) ? (a) : (b))
#define CLG__MAX(a, b)    ((a) > (b) ? (a) : (b))

/* ---- objects and errors (object.c) ------------------------------------------------------------------------------ */

typedef struct clg__root   clg__root;
typedef struct clg__object clg__object;

/* The first member of everything that a context owns. */
struct clg__object {
    clg__root   *root;
    clg__object *older, *newer;
    void (*destroy)(clg__object *self); /* frees self; the list has let go of it already */
};

enum { CLG__ERROR_TEXT = 2048 };

/* The first member of a context: src/graph, src/plan and others see a context only as its root. */
struct clg__root {
    clg__object *newest;
    clg_status   status;  /* sticky: CLG_OK until something fails */
    uint64_t     cleared; /* how often it has been CLG_OK again */
    int          cl_code; /* the OpenCL status that belongs to it, or 0 */
    char         text[CLG__ERROR_TEXT];
    char        *build_log;
    char        *cache_dir; /* NULL: nothing is kept on disk */
};

void clg__adopt(clg__root *root, clg__object *object, void (*destroy)(clg__object *));
void clg__destroy(clg__object *object);        /* unlinks and destroys; NULL is fine */
void clg__root_destroy_children(clg__root *root);

/* Records an error for good: the first one wins, later ones are dropped. Returns `status`. */
clg_status clg__fail(clg__root *root, clg_status status, const char *format, ...) CLG_PRINTF(3, 4);
clg_status clg__vfail(clg__root *root, clg_status status, const char *format, va_list args) CLG_PRINTF(3, 0);

/* Leaves a text for clg_context_error without failing the context: for operations that return a status. */
clg_status clg__report(clg__root *root, clg_status status, const char *format, ...) CLG_PRINTF(3, 4);

/* calloc that fails the root when it cannot; NULL then, and also when count * size overflows. */
void *clg__calloc(clg__root *root, size_t count, size_t size);

/* ---- arena (arena.c): memory that goes all at once --------------------------------------------------------------- */

typedef struct clg__arena {
    struct clg__arena_block *blocks;
} clg__arena;

void *clg__arena_alloc(clg__arena *arena, size_t bytes); /* zeroed, aligned for any type; NULL when out of memory */
char *clg__arena_printf(clg__arena *arena, const char *format, ...) CLG_PRINTF(2, 3);
void  clg__arena_free(clg__arena *arena);

/* ---- text (text.c): a string that grows; after a failed allocation it stays empty and `failed` is set ------------ */

typedef struct clg__text {
    char  *data; /* terminated; never NULL after the first append that succeeded */
    size_t size, capacity;
    bool   failed;
} clg__text;

void clg__text_append(clg__text *text, const char *format, ...) CLG_PRINTF(2, 3);
void clg__text_free(clg__text *text);

/* ---- files that only save time (cache.c) ------------------------------------------------------------------------- */

enum { CLG__CACHE_BYTES = 256 << 20 }; /* all files together; the oldest go first */

/* What the data of a file depend on: zeros, then everything of that by clg__cache_key_add. */
typedef struct clg__cache_key {
    uint64_t hash[2], size;
} clg__cache_key;

int clg__directory_fault(const char *path); /* errno of what hinders writing a file of 8 MiB there, or 0 */
char          *clg__cache_dir(void); /* created if need be; NULL when there is none; to be freed */
void           clg__cache_key_add(clg__cache_key *key, const void *data, size_t bytes);
unsigned char *clg__cache_read(const char *dir, const clg__cache_key *key, size_t *size); /* to be freed, or NULL */
/* Is bytes[size] a sound file of this key? Its data are the first *data_size of them. */
bool           clg__cache_parse(const uint8_t *bytes, size_t size, const clg__cache_key *key, size_t *data_size);
void           clg__cache_write(const char *dir, const clg__cache_key *key, const void *data, size_t size);
bool           clg__cache_is_empty(const char *dir);
void           clg__cache_trim(const char *dir, uint64_t most); /* bytes */

/* ---- numbers (shape.c, hash.c, random.c) ------------------------------------------------------------------------- */

bool     clg__mul_overflows(int64_t a, int64_t b, int64_t *product); /* of non-negative numbers */
uint64_t clg__hash(uint64_t seed, const void *data, size_t bytes);   /* FNV-1a, 64 bits; start with seed 0 */
void     clg__philox(const uint32_t counter[4], uint64_t key, uint32_t out[4]); /* what clg_random_* are made of */

/* Does a [from right-aligned] broadcast to b? NumPy's rule for two shapes, into *out. */
bool clg__broadcast(clg_shape a, clg_shape b, clg_shape *out);

#endif
