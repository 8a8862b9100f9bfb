/* base.h - what every other header of clgrad builds upon: status codes, element types and shapes.
 *
 * Conventions of the whole interface
 *   - Descriptors are structs whose all-zero value is the sensible default; they are read during the call only.
 *   - Constructors return NULL on failure and accept NULL, so a chain of them stays straight; the reason waits in the
 *     context (clg_context_failed, clg_context_error), which keeps the first error until it is cleared.
 *   - Everything created from a context is owned by it and ends with it; every create has a destroy that takes the
 *     address of the pointer, sets it to NULL, and accepts NULL.
 *   - Contexts are independent of each other; one context is used by one thread at a time, and so is all it owns.
 *   - Dimensions are outermost first: N, C, H, W. Tensors are dense and row-major.
 *   - The library never ends the process. */
#ifndef CLGRAD_BASE_H
#define CLGRAD_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define CLG_API           __attribute__((visibility("default")))
#define CLG_PRINTF(f, a)  __attribute__((format(printf, f, a)))
#else
#define CLG_API
#define CLG_PRINTF(f, a)
#endif

/* One table yields the codes and their texts. */
#define CLG_STATUS_TABLE(X)                                         \
    X(OK, "success")                                                \
    X(INVALID_ARGUMENT, "invalid argument")                         \
    X(INVALID_SHAPE, "shapes do not fit")                           \
    X(UNSUPPORTED, "not supported")                                 \
    X(NO_DEVICE, "no such OpenCL device")                           \
    X(OUT_OF_MEMORY, "out of memory")                               \
    X(OPENCL, "an OpenCL call failed")                              \
    X(BUILD, "a program did not build")                             \
    X(IO, "input or output failed")                                 \
    X(FORMAT, "malformed data")                                     \
    X(NOT_FINITE, "a value is infinite or not a number")            \
    X(INTERNAL, "internal error, please report it")

typedef enum clg_status {
#define CLG_STATUS_CODE(code, text) CLG_##code,
    CLG_STATUS_TABLE(CLG_STATUS_CODE)
#undef CLG_STATUS_CODE
} clg_status;

/* A status in words; never NULL. */
CLG_API const char *clg_status_text(clg_status status);

/* The library's version, "0.1.0". */
CLG_API const char *clg_version(void);

typedef enum clg_dtype {
    CLG_F32, /* float: what operators compute in */
    CLG_I32, /* int32_t: labels and indices */
    CLG_U8,  /* uint8_t: stored data, such as images */
} clg_dtype;

CLG_API size_t      clg_dtype_size(clg_dtype dtype); /* in bytes */
CLG_API const char *clg_dtype_name(clg_dtype dtype); /* "f32", "i32", "u8" */

enum { CLG_MAX_RANK = 6 };

/* Extents, outermost first. Rank 0 is a scalar; an extent of 0 makes an empty tensor. */
typedef struct clg_shape {
    int     rank;
    int64_t dim[CLG_MAX_RANK];
} clg_shape;

/* CLG_SHAPE(128, 1, 28, 28); a scalar is CLG_SCALAR. */
#ifdef __cplusplus
extern "C++" template <class... D> char (*clg_extents(D...))[sizeof...(D)]; /* for its type alone */
#define CLG_SHAPE(...) (clg_shape{(int)sizeof(*clg_extents(__VA_ARGS__)), {__VA_ARGS__}})
#define CLG_SCALAR     (clg_shape{0, {0}})
#else
#define CLG_SHAPE(...) \
    ((clg_shape){.rank = (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), .dim = {__VA_ARGS__}})
#define CLG_SCALAR ((clg_shape){.rank = 0})
#endif

/* The number of elements, or -1 when the shape is malformed or the product does not fit in int64_t. */
CLG_API int64_t clg_shape_count(clg_shape shape);
CLG_API bool    clg_shape_equal(clg_shape a, clg_shape b);

/* "[128, 1, 28, 28]" into `text`, always terminated; returns text. 128 bytes hold any shape. */
CLG_API char *clg_shape_text(clg_shape shape, char *text, size_t size);

/* Counter-based random numbers (Philox 4x32-10, Salmon et al. 2011): the `index`-th value of stream `seed`, the same on
 * every machine. clg_random_uniform lies in [0, 1) with 24 bits. */
CLG_API uint32_t clg_random_u32(uint64_t seed, uint64_t index);
CLG_API float    clg_random_uniform(uint64_t seed, uint64_t index);

/* FNV-1a, 64 bits, of these bytes; `seed` 0, or the hash of what comes before them. Not for secrets. */
CLG_API uint64_t clg_hash(uint64_t seed, const void *data, size_t bytes);

/* The first byte of text[size] that is not part of well-formed UTF-8 (Unicode's table 3-7); NULL: there is none. Names that go
 * into a model's file must have none. */
CLG_API const void *clg_utf8_fault(const void *text, size_t size);

#ifdef __cplusplus
}
#endif
#endif
