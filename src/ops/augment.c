/* augment.c - pictures flipped, shifted and cropped at random: y[i, j] = x[i + v, j + u], or x[i + v, w - 1 - j + u] where a
 * picture is mirrored, and 0 outside of it.
 *
 * The draws of a picture are a block of the counter-based generator, from the seed, the step and its place in the batch: words 0
 * and 1 shift it by -shift..shift, 2 and 3 place the window, and the last bit of word 0 mirrors. The same kernel, which draws
 * the same again, takes a gradient back. */
#include "graph/op.h"

typedef struct augment_attr {
    int32_t  flip, shift, pad;
    int32_t  picture[2], window[2]; /* height, width */
    uint64_t key;
} augment_attr;

extern const clg__op clg__ops_augment[];

static bool is_gradient(const clg__op *op) { return op != &clg__ops_augment[0]; }

static clg_status augment_infer(clg__infer *i)
{
    const augment_attr *a = i->attr;
    const int32_t      *to = is_gradient(i->op) ? a->picture : a->window;
    const clg_shape     x = i->in[0]->shape;
    if (i->in[0]->dtype != CLG_F32 || x.rank != 4) return clg__infer_fail(i, "x must be f32 [N, C, H, W]");
    if (i->in[1]->dtype != CLG_I32 || i->in[1]->count != 1) return clg__infer_fail(i, "the step must be one i32");
    i->shape = CLG_SHAPE(x.dim[0], x.dim[1], to[0], to[1]);
    return CLG_OK;
}

/* How many places the window can have, down or across. */
static uint32_t places(const augment_attr *a, int k) { return (uint32_t)(a->picture[k] + 2 * a->pad - a->window[k] + 1); }

static clg_status augment_record(clg__record *r)
{
    const augment_attr *a = r->node->attr;
    const bool          back = is_gradient(r->node->op);
    const int64_t      *from = r->node->in[0]->shape.dim, *to = r->node->shape.dim, planes = to[0] * to[1];
    return clg__record_units(r, "augment", "augment", NULL, (uint64_t)planes,
                             CLG__ARGS(CLG__IN(0), CLG__IN(1), CLG__OUT, CLG__UINT(planes), CLG__UINT(to[1]), CLG__INT(from[2]),
                                       CLG__INT(from[3]), CLG__INT(to[2]), CLG__INT(to[3]), CLG__UINT(a->key),
                                       CLG__UINT(a->key >> 32), CLG__UINT(2 * a->shift + 1), CLG__UINT(places(a, 0)),
                                       CLG__UINT(places(a, 1)), CLG__INT(a->shift + a->pad), CLG__INT(a->flip),
                                       CLG__INT(a->window[1] - 1), CLG__INT(back ? -1 : 1)));
}

static void augment_reference(const clg__ref *r)
{
    const augment_attr *a = r->node->attr;
    const int64_t       sign = is_gradient(r->node->op) ? -1 : 1, *from = r->node->in[0]->shape.dim, *to = r->node->shape.dim;
    for (int64_t at = 0; at < r->node->count; at++) {
        const int64_t plane = at / (to[2] * to[3]), i = at / to[3] % to[2], j = at % to[3];
        uint32_t      word[4];
        clg__philox((const uint32_t[4]){(uint32_t)(plane / to[1]), 0, (uint32_t)(int32_t)r->in[1][0], 2}, a->key, word);
        int64_t offset[2];
        for (int k = 0; k < 2; k++)
            offset[k] = (int64_t)((uint64_t)word[k] * (uint64_t)(2 * a->shift + 1) >> 32) +
                        (int64_t)((uint64_t)word[2 + k] * places(a, k) >> 32) - a->shift - a->pad;
        const int64_t v = i + sign * offset[0];
        const int64_t u = a->flip && word[0] & 1 ? a->window[1] - 1 + offset[1] - j : j + sign * offset[1];
        const bool    inside = v >= 0 && v < from[2] && u >= 0 && u < from[3];
        r->out[at] = inside ? r->in[0][(plane * from[2] + v) * from[3] + u] : 0.0;
    }
}

static clg_tensor *augment_gradient(const clg__grad *g, int input)
{
    const augment_attr *a = g->out->attr;
    return (void)input, clg__apply_attr(&clg__ops_augment[!is_gradient(g->out->op)], a, g->dout, g->out->in[1]);
}

const clg__op clg__ops_augment[] = {
    {.name = "augment", .arity = 2, .infer = augment_infer, .record = augment_record, .gradient = augment_gradient,
     .reference = augment_reference},
    {.name = "augment_grad", .arity = 2, .infer = augment_infer, .record = augment_record, .gradient = augment_gradient,
     .reference = augment_reference},
    {0},
};

clg_tensor *clg_augment(clg_tensor *x, const clg_augment_desc *desc)
{
    clg_augment_desc d = desc ? *desc : (clg_augment_desc){0};
    if (!x) return NULL;
    if (x->shape.rank != 4) return clg__op_fail(x, "augment", CLG_INVALID_SHAPE, "pictures are [N, C, H, W]");
    const int64_t *size = x->shape.dim + 2;
    augment_attr   a = {.flip = d.flip, .shift = d.shift, .pad = d.pad};
    for (int k = 0; k < 2; k++) {
        if (!d.crop_hw[k]) d.crop_hw[k] = (int)CLG__MIN(size[k], INT32_MAX);
        if (d.crop_hw[k] < 1 || d.crop_hw[k] > size[k] || size[k] > 1 << 24)
            return clg__op_fail(x, "augment", CLG_INVALID_ARGUMENT, "a window of %d x %d is not in the picture", d.crop_hw[0], d.crop_hw[1]);
        if (d.shift < 0 || d.pad < 0 || d.shift >= size[k] || d.pad >= size[k])
            return clg__op_fail(x, "augment", CLG_INVALID_ARGUMENT, "shift is %d and pad %d: they must be from 0 to less than the extents",
                                d.shift, d.pad);
        a.picture[k] = (int32_t)size[k], a.window[k] = d.crop_hw[k];
    }
    if (!d.step && !clg_graph_training(x->graph)) { /* the middle */
        for (int k = 0; k < 2; k++) {
            const int64_t begin = (size[k] - d.crop_hw[k]) / 2;
            if (d.crop_hw[k] < size[k]) x = clg_slice(x, 2 + k, begin, begin + d.crop_hw[k], 1);
            if (!x) return NULL;
        }
        return x;
    }
    uint32_t place = x->id;
    if (!d.step) {
        d.step = clg__own_step(x->graph);
        if (!d.step) return NULL;
        place = d.step->id;
    }
    a.key = clg__hash(d.seed, &place, sizeof place);
    return clg__apply_attr(&clg__ops_augment[0], &a, x, d.step);
}
