/* adaptive_pool2d.c - pooling to an image of given extents, by windows that differ by one row or column.
 *
 * Where the extents divide those of x it is plain pooling. The mean is linear: the gradient and it are each other's gradients.
 * The maximum is the place of it, as i32, and a gather from there. */
#include "graph/op.h"

typedef struct adaptive_attr {
    clg_shape x, y;
} adaptive_attr;

enum { AVG, AVG_GRAD, PLACE };
extern const clg__op clg__ops_adaptive_pool2d[];

static clg_status adaptive_infer(clg__infer *i)
{
    const adaptive_attr *a = i->attr;
    const bool           back = i->op == &clg__ops_adaptive_pool2d[AVG_GRAD];
    i->shape = back ? a->x : a->y;
    i->dtype = i->op == &clg__ops_adaptive_pool2d[PLACE] ? CLG_I32 : CLG_F32;
    if (i->in[0]->dtype != CLG_F32) return clg__infer_fail(i, "x must be f32");
    return clg_shape_equal(i->in[0]->shape, back ? a->y : a->x) ? CLG_OK : clg__infer_fail(i, "not the shape of this pooling");
}

static clg_status adaptive_record(clg__record *r)
{
    const adaptive_attr *a = r->node->attr;
    const int64_t        planes = a->x.dim[0] * a->x.dim[1];
    return clg__record_units(r, "adaptive_pool2d", r->node->op->name, NULL, (uint64_t)planes,
                             CLG__ARGS(CLG__IN(0), CLG__OUT, CLG__UINT(planes), CLG__UINT(a->x.dim[2]), CLG__UINT(a->x.dim[3]),
                                       CLG__UINT(a->y.dim[2]), CLG__UINT(a->y.dim[3])));
}

static void adaptive_reference(const clg__ref *r)
{
    const adaptive_attr *a = r->node->attr;
    const int64_t        H = a->x.dim[2], W = a->x.dim[3], OH = a->y.dim[2], OW = a->y.dim[3];
    const int            op = (int)(r->node->op - clg__ops_adaptive_pool2d);
    for (int64_t i = 0; i < r->node->count; i++) r->out[i] = 0.0;
    for (int64_t o = 0; o < clg_shape_count(a->y); o++) {
        const int64_t i = o / OW % OH, j = o % OW, plane = o / (OH * OW) * H * W;
        const int64_t h0 = i * H / OH, h1 = ((i + 1) * H + OH - 1) / OH, w0 = j * W / OW, w1 = ((j + 1) * W + OW - 1) / OW;
        const double  share = 1.0 / (double)((h1 - h0) * (w1 - w0));
        int64_t       best = h0 * W + w0;
        for (int64_t h = h0; h < h1; h++)
            for (int64_t w = w0; w < w1; w++) {
                const int64_t at = h * W + w;
                if (op == AVG) r->out[o] += share * r->in[0][plane + at];
                else if (op == AVG_GRAD) r->out[plane + at] += share * r->in[0][o];
                else if (r->in[0][plane + at] > r->in[0][plane + best]) best = at;
            }
        if (op == PLACE) r->out[o] = (double)best;
    }
}

static clg_tensor *adaptive_gradient(const clg__grad *g, int input)
{
    const int other = g->out->op == &clg__ops_adaptive_pool2d[AVG] ? AVG_GRAD : AVG;
    return (void)input, clg__apply_attr(&clg__ops_adaptive_pool2d[other], (const adaptive_attr *)g->out->attr, g->dout);
}

#define ROW(name_, flags_, gradient_)                                                                                \
    {.name = name_, .arity = 1, .flags = flags_, .infer = adaptive_infer, .record = adaptive_record, .gradient = gradient_, \
     .reference = adaptive_reference}
const clg__op clg__ops_adaptive_pool2d[] = {
    [AVG] = ROW("adaptive_avg_pool2d", 0, adaptive_gradient),
    [AVG_GRAD] = ROW("adaptive_avg_pool2d_grad", 0, adaptive_gradient),
    [PLACE] = ROW("adaptive_max_pool2d", CLG__NO_GRAD, NULL),
    {0},
};

static clg_tensor *adaptive(clg_tensor *x, int height, int width, int op)
{
    static const int64_t largest = 1 << 15; /* products of two extents have 32 bits */
    const char          *name = clg__ops_adaptive_pool2d[op].name;
    if (!x) return NULL;
    const clg_shape s = x->shape;
    if (s.rank != 4 || s.dim[2] < 1 || s.dim[3] < 1)
        return clg__op_fail(x, name, CLG_INVALID_SHAPE, "x must be [N, C, H, W] with images that are not empty");
    if (height < 1 || width < 1) return clg__op_fail(x, name, CLG_INVALID_ARGUMENT, "no image is %dx%d", height, width);
    if (s.dim[2] % height == 0 && s.dim[3] % width == 0) {
        const clg_pool2d_desc even = {.kernel_hw = {(int)(s.dim[2] / height), (int)(s.dim[3] / width)}};
        return op == AVG ? clg_avg_pool2d(x, &even) : clg_max_pool2d(x, &even);
    }
    if (s.dim[2] > largest || s.dim[3] > largest || height > largest || width > largest)
        return clg__op_fail(x, name, CLG_UNSUPPORTED, "extents above %lld are not supported", (long long)largest);
    const adaptive_attr a = {s, CLG_SHAPE(s.dim[0], s.dim[1], height, width)};
    clg_tensor         *y = clg__apply_attr(&clg__ops_adaptive_pool2d[op], &a, x);
    if (op == AVG) return y;
    const int64_t planes = s.dim[0] * s.dim[1];
    return clg_reshape(clg_gather(clg_reshape(x, CLG_SHAPE(planes, s.dim[2] * s.dim[3])),
                                  clg_reshape(y, CLG_SHAPE(planes, (int64_t)height * width)), 1), a.y);
}

clg_tensor *clg_adaptive_avg_pool2d(clg_tensor *x, int height, int width) { return adaptive(x, height, width, AVG); }
clg_tensor *clg_adaptive_max_pool2d(clg_tensor *x, int height, int width) { return adaptive(x, height, width, PLACE); }
