/* loader.c - deals a data set out in batches.
 *
 * A feed copies a batch into one pair of tensors of the user's graph:
 *
 *     x <- take_rows(examples, index, 1/255 or 1)    y <- take_rows(answers, index)    index: an input, int32 [batch]
 *
 * so that a batch uploads its indices and nothing else. A missing row of the last batch has the index -1, for which
 * take_rows gives zeros and the label -1. Feeds are made when a pair is first seen and kept with the data set. */
#include "data/dataset.h"

#include <clgrad/ops.h>
#include <stdlib.h>

struct clg__feed {
    uint64_t    x_id, y_id; /* storage */
    clg_tensor *index;
    clg_plan   *plan;
};

void clg__feeds_destroy(clg_dataset *data)
{
    for (size_t i = 0; i < data->feed_count; i++) clg_plan_destroy(&data->feeds[i].plan);
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
    if (data && used.rows && used.count < 1) {
        clg__fail((clg__root *)data->ctx, CLG_INVALID_ARGUMENT, "loader: %lld rows given", (long long)used.count);
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
    f->x_id = clg_tensor_storage_id(x);
    f->y_id = clg_tensor_storage_id(y);
    f->index = clg_tensor_named(clg_input(data->graph, CLG_I32, CLG_SHAPE((int64_t)batch)), "index");
    const bool bytes = clg_tensor_dtype(data->examples) == CLG_U8;
    clg_tensor *const outs[2] = {
        clg_assign(clg_share(data->graph, x), clg_take_rows(data->examples, f->index, bytes ? 1.0 / 255.0 : 1.0, 0.0)),
        clg_assign(clg_share(data->graph, y), clg_take_rows(data->answers, f->index, 1.0, 0.0)),
    };
    f->plan = clg_plan_create_all(outs, 2);
    if (!f->plan) return NULL;
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

/* The loader's caller may name any row; one that is not there is a missing one. */
static int32_t row_of(const clg_dataset *data, int64_t place)
{
    return place < 0 || place >= data->most ? -1 : (int32_t)clg__dataset_row(data, place);
}

bool clg_loader_next(clg_loader *loader, clg_tensor *x, clg_tensor *y)
{
    clg_dataset *data = loader ? loader->data : NULL;
    if (!data || clg_context_failed(data->ctx)) return false;
    const clg_loader_desc *desc = &loader->desc;
    const int64_t count = desc->rows ? desc->count : data->count, left = count - loader->next;
    if (left <= 0 || (desc->drop_last && left < desc->batch)) return false;
    clg__feed *f = feed_for(data, x, y, desc->batch);
    if (!f) return false;

    const clg__shuffle order = clg__shuffle_begin((uint32_t)count, desc->seed);
    for (int64_t i = 0; i < desc->batch; i++) {
        const uint32_t place = (uint32_t)(loader->next + i);
        const uint32_t at = i < left && desc->shuffle ? clg__shuffle_at(&order, place) : place;
        data->rows[i] = i >= left ? -1 : row_of(data, desc->rows ? desc->rows[at] : (int64_t)at);
    }
    if (clg_tensor_write(f->index, data->rows, (size_t)desc->batch * sizeof *data->rows)) return false;
    clg_plan_run(f->plan);
    loader->next += desc->batch;
    return !clg_context_failed(data->ctx);
}
