/* embedding.c - y[i] = table[index[i]], and the gradient: dtable[r] = sum of dy[i] over the i with index[i] == r.
 *
 * Each is the other's gradient. A row's terms are added in the order of i, by the one group that owns the row, so the sum
 * is the same in every run. An index out of range takes zeros and gives nothing. */
#include "graph/op.h"

enum { EMBEDDING, EMBEDDING_GRAD };
extern const clg__op clg__ops_embedding[];

typedef struct embedding_attr {
    clg_shape table;
} embedding_attr;

/* table [R, row], index [...] -> [..., row] */
static clg_status embedding_infer(clg__infer *i)
{
    const clg_shape table = ((const embedding_attr *)i->attr)->table;
    const clg_tensor *x = i->in[0], *index = i->in[1];
    if (x->dtype != CLG_F32 || table.rank < 1) return clg__infer_fail(i, "the table must be f32 and have rows");
    if (index->dtype != CLG_I32) return clg__infer_fail(i, "the index must be i32");
    if (index->shape.rank + table.rank - 1 > CLG_MAX_RANK)
        return clg__infer_fail(i, "the result would have more than %d dimensions", CLG_MAX_RANK);
    i->shape = index->shape;
    for (int d = 1; d < table.rank; d++) i->shape.dim[i->shape.rank++] = table.dim[d];
    return CLG_OK;
}

static clg_status embedding_grad_infer(clg__infer *i)
{
    const clg_status status = embedding_infer(i);
    if (status == CLG_OK && !clg_shape_equal(i->in[0]->shape, i->shape))
        return clg__infer_fail(i, "dy does not have the shape of this embedding");
    i->shape = ((const embedding_attr *)i->attr)->table;
    return status;
}

static int64_t width_of(clg_shape table)
{
    int64_t width = 1;
    for (int d = 1; d < table.rank; d++) width *= table.dim[d];
    return width;
}

static clg_status embedding_record(clg__record *r)
{
    const clg_shape table = ((const embedding_attr *)r->node->attr)->table;
    const int64_t   count = r->node->in[1]->count, rows = table.dim[0];
    const bool      back = r->node->op == &clg__ops_embedding[EMBEDDING_GRAD];
    const uint64_t  units = back ? clg__record_groups(r, (uint64_t)rows) : (uint64_t)count;
    return clg__record_units(r, "embedding", r->node->op->name, NULL, units,
                             CLG__ARGS(CLG__IN(0), CLG__IN(1), CLG__OUT, CLG__UINT(count), CLG__UINT(width_of(table)),
                                       CLG__UINT(rows)));
}

static void embedding_reference(const clg__ref *r)
{
    const clg_shape table = ((const embedding_attr *)r->node->attr)->table;
    const int64_t   width = width_of(table), count = r->node->in[1]->count;
    const bool      back = r->node->op == &clg__ops_embedding[EMBEDDING_GRAD];
    for (int64_t i = 0; i < r->node->count; i++) r->out[i] = 0.0;
    for (int64_t i = 0; i < count; i++)
        for (int64_t k = 0; k < width; k++) {
            const double at = r->in[1][i];
            if (at < 0.0 || at >= (double)table.dim[0]) continue;
            const int64_t row = (int64_t)at * width + k, flat = i * width + k;
            r->out[back ? row : flat] += r->in[0][back ? flat : row];
        }
}

static clg_tensor *embedding_gradient(const clg__grad *g, int input)
{
    const bool back = g->out->op == &clg__ops_embedding[EMBEDDING_GRAD];
    (void)input;
    return clg__apply_attr(&clg__ops_embedding[back ? EMBEDDING : EMBEDDING_GRAD], (const embedding_attr *)g->out->attr,
                           g->dout, g->out->in[1]);
}

static clg__cost embedding_cost(const clg_tensor *t) /* of the table only the rows that are taken */
{
    return (clg__cost){.bytes = 8.0 * (double)t->count + 4.0 * (double)t->in[1]->count};
}

const clg__op clg__ops_embedding[] = {
    [EMBEDDING] = {.name = "embedding", .arity = 2, .infer = embedding_infer, .record = embedding_record,
                   .gradient = embedding_gradient, .reference = embedding_reference, .cost = embedding_cost},
    [EMBEDDING_GRAD] = {.name = "embedding_grad", .arity = 2, .infer = embedding_grad_infer, .record = embedding_record,
                        .gradient = embedding_gradient, .reference = embedding_reference},
    {0},
};

clg_tensor *clg_embedding(clg_tensor *table, clg_tensor *index)
{
    if (!table) return NULL;
    return clg__apply_attr(&clg__ops_embedding[EMBEDDING], &(embedding_attr){table->shape}, table, index);
}
