/* bench_feed.c - synthetic inputs, resident as a data set's are: images lie on the device as bytes and a step uploads
 * indices; tokens are uploaded a batch at a time.
 *
 *   h(i)            x = i 0x9E3779B1; x ^= x >> 16; x = x 0x85EBCA6B; x ^= x >> 13, in 32 bits
 *   label[n]        h(n ^ 0x40000000) mod min(classes, 256)
 *   image[n][p]     (h(n P + p) >> 25) + (h((label[n] P + p) ^ 0x20000000) >> 25), P pixels: a pattern and noise
 *   token[0]        0
 *   token[i]        h(i) mod 4 ? (7 token[i - 1] + 3) mod classes : (h(i) >> 8) mod classes
 *
 * Row r of a batch of tokens is token[r T .. r T + T - 1], counted over all batches, and its labels are the tokens one
 * further. */
#include "bench.h"

#include <stdlib.h>

uint32_t bench_hash(uint32_t x)
{
    x *= 0x9E3779B1u;
    x ^= x >> 16;
    x *= 0x85EBCA6Bu;
    return x ^ x >> 13;
}

static clg_dataset *images(clg_context *ctx, const network_kind *kind, int64_t count)
{
    const uint32_t pixels = (uint32_t)clg_shape_count(kind->example);
    const uint32_t labels_used = kind->classes < 256 ? (uint32_t)kind->classes : 256;
    uint8_t       *image = malloc((size_t)count * pixels), *label = malloc((size_t)count);
    clg_dataset   *data = NULL;
    if (!image || !label)
        clg_context_fail(ctx, CLG_OUT_OF_MEMORY, "out of host memory for %lld images: use a smaller batch", (long long)count);
    else {
        for (uint32_t n = 0; n < (uint32_t)count; n++) {
            label[n] = (uint8_t)(bench_hash(n ^ 0x40000000u) % labels_used);
            uint8_t *out = image + (size_t)n * pixels;
            for (uint32_t p = 0; p < pixels; p++)
                out[p] = (uint8_t)((bench_hash(n * pixels + p) >> 25) +
                                   (bench_hash((label[n] * pixels + p) ^ 0x20000000u) >> 25));
        }
        const int64_t *d = kind->example.dim;
        data = clg_dataset_create(ctx, CLG_SHAPE(count, d[0], d[1], d[2]), image, label);
    }
    free(image);
    free(label);
    return data;
}

static int32_t *tokens(clg_context *ctx, int64_t count, int32_t vocabulary)
{
    int32_t *token = calloc((size_t)count, sizeof *token);
    if (!token) clg_context_fail(ctx, CLG_OUT_OF_MEMORY, "out of host memory for %lld tokens: use a smaller batch", (long long)count);
    for (int64_t i = 1; token && i < count; i++) {
        const uint32_t h = bench_hash((uint32_t)i);
        token[i] = h % 4 ? (7 * token[i - 1] + 3) % vocabulary : (int32_t)((h >> 8) % (uint32_t)vocabulary);
    }
    return token;
}

feed feed_create(clg_graph *g, const network_kind *kind, int64_t batch)
{
    clg_context   *ctx = clg_graph_context(g);
    const int64_t *d = kind->example.dim;
    feed           f = {.batch = batch};
    if (clg_context_failed(ctx)) return f;
    if (kind->example.rank == 1) {
        f.x = clg_input(g, CLG_I32, CLG_SHAPE(batch, d[0]));
        f.y = clg_input(g, CLG_I32, CLG_SHAPE(batch * d[0]));
        f.tokens = tokens(ctx, FEED_BATCHES * batch * d[0] + 1, kind->classes);
    } else {
        f.x = clg_input(g, CLG_F32, CLG_SHAPE(batch, d[0], d[1], d[2]));
        f.y = clg_input(g, CLG_I32, CLG_SHAPE(batch));
        f.data = images(ctx, kind, FEED_BATCHES * batch);
    }
    feed_begin(&f);
    return f;
}

void feed_destroy(feed *f)
{
    clg_dataset_destroy(&f->data);
    free(f->tokens);
    f->tokens = NULL;
}

void feed_begin(feed *f)
{
    f->next = 0;
    if (f->data) f->loader = clg_loader_begin(f->data, &(clg_loader_desc){.batch = f->batch});
}

bool feed_next(feed *f)
{
    if (f->data) {
        if (clg_loader_next(&f->loader, f->x, f->y)) return true;
        feed_begin(f);
        return clg_loader_next(&f->loader, f->x, f->y);
    }
    if (!f->tokens) return false;
    const int64_t  count = clg_tensor_count(f->x);
    const int32_t *from = f->tokens + f->next++ % FEED_BATCHES * count;
    const size_t   bytes = (size_t)count * sizeof *from;
    return clg_tensor_write(f->x, from, bytes) == CLG_OK && clg_tensor_write(f->y, from + 1, bytes) == CLG_OK;
}
