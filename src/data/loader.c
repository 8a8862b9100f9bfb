/* loader.c - deals a data set out in batches.
 *
 * A feed copies a batch into one pair of tensors of the user's graph:
 *
 *     x <- take_rows(examples, index, 1/255 or 1)    y <- take_rows(answers, index)    index: an input, int32 [batch]
 *
 * so that a batch uploads its indices and nothing else. A missing row of the last batch has the index -1, for which
 * take_rows gives zeros and the label -1. Feeds are made when a pair is first seen and kept with the data set.
 *
 * Streamed examples are on the host. Then a feed has two stages on the device, each with pinned memory and a queue of
 * its own; the rows of batch i lie in stage i mod 2, from which x is taken in order. Once batch i is on its way to x,
 * the rows of batch i + 1 are gathered and sent, while the device computes with x. */
#include "data/dataset.h"

#include <clgrad/ops.h>
#include <stdlib.h>
#include <string.h>

struct clg__feed {
    uint64_t    x_id, y_id; /* storage */
    clg_tensor *index; /* rows in memory */
    clg_plan   *plan[2]; /* one, or one for each stage */
    clg_tensor *place;  /* streamed: all rows of a stage, in their order */
    clg_upload *upload[2];
    int         turn;   /* the stage of the next batch */
    clg_loader  ahead;  /* of which batch that stage has the rows, dealt out of so many; data NULL: of none */
    int64_t     ahead_count;
};

static void destroy_feed(clg__feed *f)
{
    for (int k = 0; k < 2; k++) {
        clg_upload_destroy(&f->upload[k]);
        clg_plan_destroy(&f->plan[k]);
    }
}

void clg__feeds_destroy(clg_dataset *data)
{
    for (size_t i = 0; i < data->feed_count; i++) destroy_feed(&data->feeds[i]);
}

clg_loader clg_loader_begin(clg_dataset *data, const clg_loader_desc *desc)
{
    const clg_loader_desc used = desc ? *desc : (clg_loader_desc){0};
    if (data && (used.batch < 1 || used.batch > data->count)) {
        clg__fail((clg__root *)data->ctx, CLG_INVALID_ARGUMENT,
                  "loader: a batch of %lld, and the data set has %lld example%s", (long long)used.batch,
                  (long long)data->count, data->count == 1 ? "" : "s");
        data = NULL;
    }
    return (clg_loader){.data = data, .desc = used};
}

/* Can a feed write `t`? Says what is wrong with it otherwise. */
static bool accepts(clg_dataset *data, const char *role, const clg_tensor *t, clg_dtype dtype, clg_shape shape)
{
    if (t && clg_tensor_context(t) == data->ctx && clg_tensor_storage_id(t) && clg_tensor_dtype(t) == dtype &&
        clg_shape_equal(clg_tensor_shape(t), shape))
        return true;
    clg__root *root = (clg__root *)data->ctx;
    char has[128], wants[128];
    if (!t) {
        clg__fail(root, CLG_INVALID_ARGUMENT, "loader: no tensor %s given", role);
    } else if (clg_tensor_context(t) != data->ctx) {
        clg__fail(root, CLG_INVALID_ARGUMENT, "loader: %s belongs to another context than the data set", role);
    } else if (!clg_tensor_storage_id(t)) {
        clg__fail(root, CLG_INVALID_ARGUMENT, "loader: %s is computed; only an input or a state can be filled", role);
    } else {
        clg__fail(root, CLG_INVALID_SHAPE, "loader: %s is %s %s, and the batch is %s %s", role,
                  clg_dtype_name(clg_tensor_dtype(t)), clg_shape_text(clg_tensor_shape(t), has, sizeof has),
                  clg_dtype_name(dtype), clg_shape_text(shape, wants, sizeof wants));
    }
    return false;
}

static clg__feed *add_feed(clg_dataset *data, clg_tensor *x, clg_tensor *y, size_t batch)
{
    clg__root *root = (clg__root *)data->ctx;
    clg__feed *feeds = realloc(data->feeds, (data->feed_count + 1) * sizeof *feeds);
    if (feeds) data->feeds = feeds;
    if (batch > data->row_capacity) {
        free(data->rows);
        data->rows = clg__calloc(root, batch, sizeof *data->rows);
        data->row_capacity = data->rows ? batch : 0;
    }
    if (!feeds || !data->rows) {
        clg__fail(root, CLG_OUT_OF_MEMORY, "loader: no memory for a batch of %zu", batch);
        return NULL;
    }
    clg__feed *f = &feeds[data->feed_count];
    *f = (clg__feed){.x_id = clg_tensor_storage_id(x), .y_id = clg_tensor_storage_id(y)};
    f->index = clg_tensor_named(clg_input(data->graph, CLG_I32, CLG_SHAPE((int64_t)batch)), "index");
    f->place =
        data->host ? clg_tensor_named(clg_input(data->graph, CLG_I32, CLG_SHAPE((int64_t)batch)), "place") : NULL;
    for (int k = 0; k < (data->host ? 2 : 1); k++) {
        clg_shape   shape = data->shape;
        clg_tensor *from = data->examples;
        shape.dim[0] = (int64_t)batch;
        if (data->host) from = clg_tensor_named(clg_state(data->graph, data->dtype, shape), "stage");
        clg_tensor *const outs[2] = {
            clg_assign(clg_share(data->graph, x), clg_take_rows(from, data->host ? f->place : f->index,
                                                                data->dtype == CLG_U8 ? 1.0 / 255.0 : 1.0, 0.0)),
            clg_assign(clg_share(data->graph, y), clg_take_rows(data->answers, f->index, 1.0, 0.0)),
        };
        f->plan[k] = clg_plan_create_all(outs, 2);
        if (data->host) f->upload[k] = clg_upload_create(from);
        if (!f->plan[k] || (data->host && !f->upload[k])) return destroy_feed(f), NULL;
    }
    for (size_t i = 0; i < batch; i++) data->rows[i] = (int32_t)i; /* a stage holds the batch in its order */
    if (data->host && clg_tensor_write(f->place, data->rows, batch * sizeof *data->rows)) return destroy_feed(f), NULL;
    data->feed_count++;
    return f;
}

static clg__feed *feed_for(clg_dataset *data, clg_tensor *x, clg_tensor *y, int64_t batch)
{
    clg_shape shape = data->shape;
    shape.dim[0] = batch;
    const clg_shape answers = data->outputs ? CLG_SHAPE(batch, data->outputs) : CLG_SHAPE(batch);
    if (!accepts(data, "x", x, CLG_F32, shape) || !accepts(data, "y", y, data->outputs ? CLG_F32 : CLG_I32, answers))
        return NULL;
    for (size_t i = 0; i < data->feed_count; i++) {
        clg__feed *f = &data->feeds[i];
        if (f->x_id == clg_tensor_storage_id(x) && f->y_id == clg_tensor_storage_id(y)) return f;
    }
    return add_feed(data, x, y, (size_t)batch);
}

/* The rows in memory of the loader's next batch into data->rows. */
static void find_rows(clg_dataset *data, const clg_loader *loader)
{
    const clg_loader_desc *desc = &loader->desc;
    const clg__shuffle     order = clg__shuffle_begin((uint32_t)data->count, desc->seed);
    for (int64_t i = 0; i < desc->batch; i++) {
        const bool     there = loader->next + i < data->count;
        const uint32_t place = (uint32_t)(loader->next + i);
        const uint32_t at = there && desc->shuffle ? clg__shuffle_at(&order, place) : place;
        data->rows[i] = there ? (int32_t)clg__dataset_row(data, at) : -1;
    }
}

/* The rows of data->rows to the stage whose turn it is, zeros for missing ones. */
static bool send_rows(clg_dataset *data, clg__feed *f, int64_t batch)
{
    const size_t row = (size_t)(clg_shape_count(data->shape) / data->shape.dim[0]) * clg_dtype_size(data->dtype);
    uint8_t     *memory = clg_upload_memory(f->upload[f->turn]);
    for (int64_t i = 0; memory && i < batch; i++)
        if (data->rows[i] < 0) memset(memory + (size_t)i * row, 0, row);
        else memcpy(memory + (size_t)i * row, data->host + (size_t)data->rows[i] * row, row);
    return memory && !clg_upload_send(f->upload[f->turn]);
}

static bool has_sent(const clg__feed *f, const clg_loader *b)
{
    const clg_loader *a = &f->ahead;
    return a->data && a->data == b->data && a->next == b->next && a->desc.batch == b->desc.batch &&
           a->desc.shuffle == b->desc.shuffle && a->desc.seed == b->desc.seed && f->ahead_count == b->data->count;
}

/* Runs the feed on the batch in data->rows, and sends the batch after it. */
static bool run_streamed(clg_dataset *data, clg__feed *f, const clg_loader *loader)
{
    const int64_t batch = loader->desc.batch;
    if (!has_sent(f, loader) && !send_rows(data, f, batch)) return false;
    f->ahead.data = NULL;
    clg_upload *used = f->upload[f->turn];
    if (clg_upload_acquire(used)) return false;
    clg_plan_run(f->plan[f->turn]);
    if (clg_upload_release(used)) return false;
    f->turn ^= 1;

    clg_loader after = *loader;
    after.next += batch;
    const int64_t left = data->count - after.next;
    if (left <= 0 || (after.desc.drop_last && left < batch)) return true;
    find_rows(data, &after);
    if (!send_rows(data, f, batch)) return false;
    f->ahead = after;
    f->ahead_count = data->count;
    return true;
}

bool clg_loader_next(clg_loader *loader, clg_tensor *x, clg_tensor *y)
{
    clg_dataset *data = loader ? loader->data : NULL;
    if (!data || clg_context_failed(data->ctx)) return false;
    const clg_loader_desc *desc = &loader->desc;
    const int64_t left = data->count - loader->next;
    if (left <= 0 || (desc->drop_last && left < desc->batch)) return false;
    clg__feed *f = feed_for(data, x, y, desc->batch);
    if (!f) return false;

    find_rows(data, loader);
    if (clg_tensor_write(f->index, data->rows, (size_t)desc->batch * sizeof *data->rows)) return false;
    if (!data->host) clg_plan_run(f->plan[0]);
    else if (!run_streamed(data, f, loader)) return false;
    loader->next += desc->batch;
    return !clg_context_failed(data->ctx);
}
