/* take_rows.c - y[i] = table[index[i]] * scale + shift: a batch out of a data set that lies on the device. */
#include "graph/op.h"

typedef struct take_attr {
    float scale, shift;
} take_attr;

extern const clg__op clg__ops_take_rows[];

static clg_status take_infer(clg__infer *i)
{
    const clg_tensor *table = i->in[0], *index = i->in[1];
    if (table->shape.rank < 1) return clg__infer_fail(i, "the table must have rows");
    if (index->dtype != CLG_I32 || index->shape.rank != 1) return clg__infer_fail(i, "the index must be i32 [rows]");
    i->shape = table->shape;
    i->shape.dim[0] = index->shape.dim[0];
    i->dtype = table->dtype == CLG_I32 ? CLG_I32 : CLG_F32;
    return CLG_OK;
}

static clg_status take_record(clg__record *r)
{
    static const char *const defines[] = {
        [CLG_F32] = "#define FROM float\n#define TO float\n#define CONVERT(x) ((x) * scale + shift)\n#define MISSING 0.0f\n",
        [CLG_U8] = "#define FROM uchar\n#define TO float\n#define CONVERT(x) ((float)(x) * scale + shift)\n#define MISSING 0.0f\n",
        [CLG_I32] = "#define FROM int\n#define TO int\n#define CONVERT(x) (x)\n#define MISSING -1\n",
    };
    const clg_tensor *table = r->node->in[0];
    const take_attr  *attr = r->node->attr;
    const int64_t rows = r->node->shape.dim[0], width = r->node->count / rows;
    return clg__record_units(r, "take_rows", "take_rows", defines[table->dtype], (uint64_t)rows,
                             CLG__ARGS(CLG__IN(0), CLG__IN(1), CLG__OUT, CLG__UINT(rows), CLG__UINT(width),
                                       CLG__INT(table->shape.dim[0]), CLG__FLOAT(attr->scale), CLG__FLOAT(attr->shift)));
}

static void take_reference(const clg__ref *r)
{
    const take_attr *attr = r->node->attr;
    const int64_t    rows = r->node->shape.dim[0], have = r->node->in[0]->shape.dim[0];
    const bool       whole = r->node->dtype == CLG_I32;
    const int64_t    width = rows ? r->node->count / rows : 0;
    for (int64_t i = 0; i < r->node->count; i++) {
        const double at = r->in[1][i / width];
        if (at < 0.0 || at >= (double)have)
            r->out[i] = whole ? -1.0 : 0.0;
        else
            r->out[i] = r->in[0][(int64_t)at * width + i % width] * (whole ? 1.0 : (double)attr->scale) +
                        (whole ? 0.0 : (double)attr->shift);
    }
}

static clg__cost take_cost(const clg_tensor *t) /* of the table only the rows that are taken */
{
    const size_t row = clg_dtype_size(t->in[0]->dtype) + clg_dtype_size(t->dtype);
    return (clg__cost){.bytes = (double)t->count * (double)row + 4.0 * (double)t->in[1]->count};
}

const clg__op clg__ops_take_rows[] = {
    {.name = "take_rows", .arity = 2, .infer = take_infer, .record = take_record,
     .reference = take_reference, .cost = take_cost},
    {0},
};

clg_tensor *clg_take_rows(clg_tensor *table, clg_tensor *index, double scale, double shift)
{
    const take_attr attr = {scale == 0.0 ? 1.0f : (float)scale, (float)shift};
    return clg__apply_attr(&clg__ops_take_rows[0], &attr, table, index);
}
