/* strided.c - copies between boxes of elements: permute, slice, concat, pad.
 *
 * slice takes the elements first + i step of every dimension; place puts x there in a larger tensor that is `value`
 * elsewhere; each is the other's gradient. Where gradients of slices meet, place_add adds one to the sum of the others in
 * its memory: the gradient of a tensor cut into many slices costs one pass over it, not one a slice. */
#include "graph/op.h"
#include <string.h>

enum { PERMUTE, SLICE, PLACE, PLACE_ADD, CONCAT };
extern const clg__op clg__ops_strided[];
#define OP(name) (&clg__ops_strided[name])

typedef struct permute_attr {
    int axes[CLG_MAX_RANK]; /* dimension d of the result is axes[d] of x */
} permute_attr;

typedef struct box {
    clg_shape shape; /* of the result */
    int64_t   first[CLG_MAX_RANK], step[CLG_MAX_RANK];
    double    value;
} box;

typedef struct concat_attr {
    int axis;
} concat_attr;

/* ---- shapes ------------------------------------------------------------------------------------------------------ */

static clg_status four_bytes(clg__infer *i) /* all of one type */
{
    i->dtype = i->in[0]->dtype;
    for (int k = 0; k < i->arity; k++)
        if (i->in[k]->dtype == CLG_U8 || i->in[k]->dtype != i->dtype)
            return clg__infer_fail(i, "input %d is %s: all must be f32, or all i32", k, clg_dtype_name(i->in[k]->dtype));
    return CLG_OK;
}

static clg_status permute_infer(clg__infer *i)
{
    const permute_attr *a = i->attr;
    i->shape = i->in[0]->shape;
    for (int d = 0; d < i->shape.rank; d++) i->shape.dim[d] = i->in[0]->shape.dim[a->axes[d]];
    return four_bytes(i);
}

static clg_status box_infer(clg__infer *i)
{
    i->shape = ((const box *)i->attr)->shape;
    return four_bytes(i);
}

static clg_status concat_infer(clg__infer *i)
{
    const int axis = ((const concat_attr *)i->attr)->axis;
    i->shape = i->in[0]->shape;
    for (int k = 1; k < i->arity; k++) {
        clg_shape shape = i->in[k]->shape;
        if (shape.rank != i->shape.rank) return clg__infer_fail(i, "the ranks differ");
        shape.dim[axis] = i->shape.dim[axis];
        if (!clg_shape_equal(shape, i->shape)) return clg__infer_fail(i, "the extents differ, besides those of axis %d", axis);
        i->shape.dim[axis] += i->in[k]->shape.dim[axis];
    }
    return four_bytes(i);
}

/* ---- a copy: from x[from_first + sum c from] to y[to_first + sum c to] ------------------------------------------- */

typedef struct copy {
    clg_shape region;
    int64_t   from_first, to_first, from[CLG_MAX_RANK], to[CLG_MAX_RANK];
} copy;

static void dense_strides(clg_shape shape, int64_t *stride)
{
    int64_t step = 1;
    for (int d = shape.rank - 1; d >= 0; d--) {
        stride[d] = step;
        step *= shape.dim[d];
    }
}

/* Between a dense tensor of shape `region` and the box at `first` in one of shape `whole`. */
static void into_box(clg_shape whole, const box *b, int64_t *first, int64_t *stride)
{
    dense_strides(whole, stride);
    *first = 0;
    for (int d = 0; d < whole.rank; d++) {
        *first += b->first[d] * stride[d];
        stride[d] *= b->step[d];
    }
}

static copy copy_of(const clg_tensor *t, int input)
{
    copy             c = {0};
    const clg_tensor *x = t->in[input];
    if (t->op == OP(PERMUTE)) {
        int64_t stride[CLG_MAX_RANK];
        dense_strides(x->shape, stride);
        for (int d = 0; d < t->shape.rank; d++) c.from[d] = stride[((const permute_attr *)t->attr)->axes[d]];
        dense_strides(t->shape, c.to);
        c.region = t->shape;
    } else if (t->op == OP(SLICE)) {
        into_box(x->shape, t->attr, &c.from_first, c.from);
        dense_strides(t->shape, c.to);
        c.region = t->shape;
    } else if (t->op == OP(CONCAT)) {
        box b = {0};
        for (int d = 0; d < t->shape.rank; d++) b.step[d] = 1;
        const int axis = ((const concat_attr *)t->attr)->axis;
        for (int k = 0; k < input; k++) b.first[axis] += t->in[k]->shape.dim[axis];
        into_box(t->shape, &b, &c.to_first, c.to);
        dense_strides(x->shape, c.from);
        c.region = x->shape;
    } else {
        into_box(t->shape, t->attr, &c.to_first, c.to);
        dense_strides(x->shape, c.from);
        c.region = x->shape;
    }
    return c;
}

typedef struct run {
    uint64_t count, from, to; /* steps in x and y */
} run;

/* Dimensions that go on where the next one ends are one, and those of one element none; how many remain. */
static int joined(const copy *c, run *e)
{
    int n = 0;
    for (int d = 0; d < c->region.rank; d++) {
        const run next = {(uint64_t)c->region.dim[d], (uint64_t)c->from[d], (uint64_t)c->to[d]};
        if (next.count == 1) continue;
        const bool goes_on = n > 0 && e[n - 1].from == next.from * next.count && e[n - 1].to == next.to * next.count;
        const uint64_t outer = goes_on ? e[--n].count : 1;
        e[n++] = (run){outer * next.count, next.from, next.to};
    }
    return n;
}

/* Where neighbours in x are none in y, which is so after permutations alone: their dimension becomes the last but one. */
static bool turn(run *e, int n)
{
    if (n < 2 || e[n - 1].to != 1 || e[n - 1].from == 1) return false;
    for (int d = n - 2; d >= 0; d--)
        if (e[d].from == 1) {
            const run neighbours = e[d];
            memmove(e + d, e + d + 1, (size_t)(n - 2 - d) * sizeof *e);
            e[n - 2] = neighbours;
            return true;
        }
    return false;
}

enum { SIDE_CPU = 64, SIDE_GPU = 32 }; /* of a block, unless one extent is smaller: BLOCK in cl/strided.cl */

static clg_status record_copy(clg__record *r, int input, bool add)
{
    const copy     c = copy_of(r->node, input);
    const uint64_t total = (uint64_t)clg_shape_count(c.region);
    run            e[CLG_MAX_RANK];
    const int      n = joined(&c, e);
    const bool     turned = turn(e, n), many = r->profile->wg > 1;
    if (total == 0) return CLG_OK;
    clg__arg args[26] = {CLG__IN(input), CLG__OUT, CLG__ULONG(c.from_first), CLG__ULONG(c.to_first)};
    for (int d = 0; d < CLG_MAX_RANK; d++) {
        const int    k = d - (CLG_MAX_RANK - n), inner = d == CLG_MAX_RANK - 1;
        const run own = k >= 0 ? e[k] : (run){1, (uint64_t)inner, (uint64_t)inner};
        args[4 + d] = CLG__UINT(own.count);
        args[10 + d] = CLG__UINT(own.from);
        args[16 + d] = CLG__UINT(own.to);
    }
    if (turned) {
        const uint64_t a = e[n - 2].count, b = e[n - 1].count, side = many ? SIDE_GPU : SIDE_CPU, area = side * side;
        const uint64_t wide = CLG__MIN(a, area / CLG__MIN(b, side) / 16 * 16), high = CLG__MIN(b, area / CLG__MIN(a, side) / 16 * 16);
        const uint64_t across = many ? CLG__CEIL_DIV(a, wide) : CLG__MAX(a / wide, 1);
        const uint64_t along = many ? CLG__CEIL_DIV(b, high) : CLG__MAX(b / high, 1), rows = total / (a * b);
        args[4] = CLG__UINT(rows);
        args[22] = CLG__UINT(wide), args[23] = CLG__UINT(high), args[24] = CLG__UINT(across), args[25] = CLG__UINT(along);
        return clg__record_units(r, "strided", "turned", NULL, rows * across * along, args, 26);
    }
    const uint64_t rows = n ? total / e[n - 1].count : 1, chunk = (uint64_t)r->profile->wg * 4;
    args[4] = CLG__UINT(rows);
    args[22] = CLG__UINT(add);
    return clg__record_units(r, "strided", "strided", NULL, many ? CLG__CEIL_DIV(total, chunk) : rows, args, 23);
}

static uint64_t vectors(const clg__record *r)
{
    const uint64_t lanes = (uint64_t)r->profile->wg * r->profile->vec;
    return ((uint64_t)r->node->count + lanes - 1) / lanes;
}

static clg_status strided_record(clg__record *r)
{
    clg_status status = CLG_OK;
    if (r->node->count == 0) return CLG_OK;
    if (r->node->op == OP(PLACE)) {
        const float   f32 = (float)((const box *)r->node->attr)->value;
        const int32_t i32 = (int32_t)((const box *)r->node->attr)->value;
        uint32_t      bits;
        memcpy(&bits, r->node->dtype == CLG_F32 ? (const void *)&f32 : &i32, sizeof bits);
        status = clg__record_units(r, "strided", "strided_fill", NULL, vectors(r),
                                   CLG__ARGS(CLG__OUT, CLG__ULONG(r->node->count), CLG__UINT(bits)));
    } else if (r->node->op == OP(PLACE_ADD)) {
        status = clg__record_units(r, "strided", "strided_keep", NULL, vectors(r),
                                   CLG__ARGS(CLG__IN(0), CLG__OUT, CLG__ULONG(r->node->count)));
        return status == CLG_OK ? record_copy(r, 1, true) : status;
    }
    for (int k = 0; k < r->node->arity && status == CLG_OK; k++) status = record_copy(r, k, false);
    return status;
}

static void strided_reference(const clg__ref *r)
{
    const clg_tensor *t = r->node;
    const bool        add = t->op == OP(PLACE_ADD);
    for (int64_t i = 0; i < t->count; i++)
        r->out[i] = add ? r->in[0][i] : t->op == OP(PLACE) ? ((const box *)t->attr)->value : 0.0;
    for (int k = add; k < t->arity; k++) {
        const copy c = copy_of(t, k);
        for (int64_t i = 0; i < clg_shape_count(c.region); i++) {
            int64_t from = c.from_first, to = c.to_first, rest = i;
            for (int d = c.region.rank - 1; d >= 0; rest /= c.region.dim[d--]) {
                from += rest % c.region.dim[d] * c.from[d];
                to += rest % c.region.dim[d] * c.to[d];
            }
            r->out[to] = r->in[k][from] + (add ? r->out[to] : 0.0);
        }
    }
}

/* ---- gradients --------------------------------------------------------------------------------------------------- */

static clg_tensor *permute_gradient(const clg__grad *g, int input)
{
    permute_attr back = {{0}};
    for (int d = 0; d < g->out->shape.rank; d++) back.axes[((const permute_attr *)g->out->attr)->axes[d]] = d;
    return (void)input, clg__apply_attr(OP(PERMUTE), &back, g->dout);
}

static box with_shape(const clg_tensor *t, clg_shape shape)
{
    box b = *(const box *)t->attr;
    b.shape = shape;
    b.value = 0.0;
    return b;
}

static clg_tensor *slice_gradient(const clg__grad *g, int input)
{
    const box b = with_shape(g->out, g->out->in[input]->shape);
    return clg__apply_attr(OP(PLACE), &b, g->dout);
}

static clg_tensor *place_gradient(const clg__grad *g, int input)
{
    if (g->out->op == OP(PLACE_ADD) && input == 0) return g->dout;
    const box b = with_shape(g->out, g->out->in[input]->shape);
    return clg__apply_attr(OP(SLICE), &b, g->dout);
}

static clg_tensor *place_added(clg_tensor *sum, const clg_tensor *t)
{
    const box *b = t->attr;
    return b->value == 0.0 && sum->dtype == CLG_F32 ? clg__apply_attr(OP(PLACE_ADD), b, sum, t->in[0]) : NULL;
}

static clg_tensor *concat_gradient(const clg__grad *g, int input)
{
    const int axis = ((const concat_attr *)g->out->attr)->axis;
    box       b = {.shape = g->out->in[input]->shape};
    for (int d = 0; d < b.shape.rank; d++) b.step[d] = 1;
    for (int k = 0; k < input; k++) b.first[axis] += g->out->in[k]->shape.dim[axis];
    return clg__apply_attr(OP(SLICE), &b, g->dout);
}

const clg__op clg__ops_strided[] = {
    [PERMUTE] = {.name = "permute", .arity = 1, .infer = permute_infer, .record = strided_record,
                 .gradient = permute_gradient, .reference = strided_reference},
    [SLICE] = {.name = "slice", .arity = 1, .infer = box_infer, .record = strided_record, .gradient = slice_gradient,
               .reference = strided_reference},
    [PLACE] = {.name = "place", .arity = 1, .infer = box_infer, .record = strided_record, .gradient = place_gradient,
               .added = place_added, .reference = strided_reference},
    [PLACE_ADD] = {.name = "place_add", .arity = 2, .flags = CLG__INPLACE, .infer = box_infer, .record = strided_record,
                   .gradient = place_gradient, .reference = strided_reference},
    [CONCAT] = {.name = "concat", .arity = CLG__VARIADIC, .infer = concat_infer, .record = strided_record,
                .gradient = concat_gradient, .reference = strided_reference},
    {0},
};

/* ---- interface --------------------------------------------------------------------------------------------------- */

clg_tensor *clg_permute(clg_tensor *x, const int *axes)
{
    if (!x) return NULL;
    if (!axes) return clg__op_fail(x, "permute", CLG_INVALID_ARGUMENT, "no axes given");
    const int    rank = x->shape.rank;
    permute_attr a = {{0}};
    unsigned     seen = 0;
    bool         moves = false;
    for (int d = 0; d < rank; d++) {
        a.axes[d] = axes[d] < 0 ? axes[d] + rank : axes[d];
        if (a.axes[d] < 0 || a.axes[d] >= rank || seen >> a.axes[d] & 1)
            return clg__op_fail(x, "permute", CLG_INVALID_ARGUMENT, "axis %d is out of range or named twice (rank %d)", axes[d],
                                rank);
        seen |= 1u << a.axes[d];
        moves |= a.axes[d] != d;
    }
    return moves ? clg__apply_attr(OP(PERMUTE), &a, x) : x;
}

clg_tensor *clg_transpose(clg_tensor *x, int a, int b)
{
    int axes[CLG_MAX_RANK];
    if (!x || !clg__find_axis(x, "transpose", &a) || !clg__find_axis(x, "transpose", &b)) return NULL;
    for (int d = 0; d < x->shape.rank; d++) axes[d] = d == a ? b : d == b ? a : d;
    return clg_permute(x, axes);
}

clg_tensor *clg_slice(clg_tensor *x, int axis, int64_t start, int64_t stop, int64_t step)
{
    if (!x || !clg__find_axis(x, "slice", &axis)) return NULL;
    const int64_t extent = x->shape.dim[axis];
    const int64_t from = start < 0 ? start + extent : start;
    const int64_t to = stop == CLG_END ? extent : stop < 0 ? stop + extent : stop;
    const int64_t by = step == 0 ? 1 : CLG__MIN(step, CLG__MAX(extent, 1)); /* a longer step takes the first as well */
    if (from < 0 || from > to || to > extent || by < 1)
        return clg__op_fail(x, "slice", CLG_INVALID_ARGUMENT, "from %lld to %lld by %lld does not fit into axis %d",
                            (long long)start, (long long)stop, (long long)step, axis);
    if (from == 0 && to == extent && by == 1) return x;
    box b = {.shape = x->shape};
    for (int d = 0; d < x->shape.rank; d++) b.step[d] = 1;
    if (x->op == OP(SLICE)) { /* of a slice: one of what that was made from */
        b = *(const box *)x->attr;
        x = x->in[0];
    }
    b.first[axis] += from * b.step[axis];
    b.step[axis] *= by;
    b.shape.dim[axis] = (to - from + by - 1) / by;
    return clg__apply_attr(OP(SLICE), &b, x);
}

clg_status clg_split(clg_tensor *x, int axis, const int64_t *sizes, size_t count, clg_tensor **out)
{
    if (!out) return CLG_INVALID_ARGUMENT;
    for (size_t i = 0; i < count; i++) out[i] = NULL;
    if (!x) return CLG_INVALID_ARGUMENT;
    const int     at = axis < 0 ? axis + x->shape.rank : axis;
    const int64_t extent = at >= 0 && at < x->shape.rank ? x->shape.dim[at] : 0;
    int64_t       sum = 0;
    for (size_t i = 0; sizes && i < count; i++) sum = sizes[i] < 0 || sum < 0 || sizes[i] > extent ? -1 : sum + sizes[i];
    const bool fits = count > 0 && (sizes ? sum == extent : extent % (int64_t)count == 0);
    if (at < 0 || at >= x->shape.rank || !fits)
        return clg__op_fail(x, "split", CLG_INVALID_ARGUMENT, "axis %d cannot be split into these %zu parts", axis, count),
               CLG_INVALID_ARGUMENT;
    int64_t from = 0;
    for (size_t i = 0; i < count; i++) {
        const int64_t size = sizes ? sizes[i] : extent / (int64_t)count;
        out[i] = clg_slice(x, at, from, from + size, 1);
        from += size;
        if (!out[i]) return CLG_INVALID_ARGUMENT;
    }
    return CLG_OK;
}

clg_tensor *clg_concat(clg_tensor *const *in, size_t count, int axis)
{
    if (!in || count == 0 || !in[0] || !clg__find_axis(in[0], "concat", &axis)) return NULL;
    return count == 1 ? in[0] : clg__apply_n(OP(CONCAT), &(concat_attr){axis}, sizeof(concat_attr), in, (int)count);
}

clg_tensor *clg_pad(clg_tensor *x, const int64_t *before, const int64_t *after, double value)
{
    if (!x) return NULL;
    if (!before || !after) return clg__op_fail(x, "pad", CLG_INVALID_ARGUMENT, "no counts given");
    if (x->dtype == CLG_I32 && !(value >= INT32_MIN && value <= INT32_MAX && value == floor(value)))
        return clg__op_fail(x, "pad", CLG_INVALID_ARGUMENT, "%g is no i32", value);
    box b = {.shape = x->shape, .value = value};
    for (int d = 0; d < x->shape.rank; d++) {
        if (before[d] < 0 || after[d] < 0 || before[d] > INT64_MAX / 4 || after[d] > INT64_MAX / 4)
            return clg__op_fail(x, "pad", CLG_INVALID_ARGUMENT, "axis %d: %lld before and %lld after", d, (long long)before[d],
                                (long long)after[d]);
        b.first[d] = before[d];
        b.step[d] = 1;
        b.shape.dim[d] += before[d] + after[d];
    }
    return clg__apply_attr(OP(PLACE), &b, x);
}
