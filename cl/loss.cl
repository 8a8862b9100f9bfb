/* loss.cl - cross entropy on integer labels and its gradient, row by row; a group takes rows in turn.
 *
 * A negative label marks padding, which counts for nothing; a label >= n makes its row NaN. */

/* A tensor of one element, or, where `given`, a number that lies nowhere. */
#define NUMBER(p)    TENSOR_OF(const float, p), const uint p##_given, const float p##_number
#define NUMBER_OF(p) (p##_given ? p##_number : p[p##_at])

/* The number of rows that have a label, the same in every item. Exact up to 2^24 rows. */
static inline float labelled(global const int *labels, const uint rows, local float *tmp)
{
    uint count = 0;
    for (uint i = get_local_id(0); i < rows; i += WG) count += labels[i] >= 0;
    return wg_sum(count, tmp);
}

/* A row's classes may be fewer than a vector has lanes: those past the end are as of no weight. */
#define EACH_PART(i, n) for (uint i = get_local_id(0) * VEC; i < (n); i += WG * VEC)
static inline vec load_logits(global const float *p, const int count)
{
    if (count >= VEC) return VLOAD(p);
    float t[VEC];
    UNROLL for (int i = 0; i < VEC; i++) t[i] = i < count ? p[i] : -INFINITY;
    return VLOAD(t);
}

static inline float row_max(global const float *in, const uint n, local float *tmp)
{
    vec max = -INFINITY;
    EACH_PART(i, n) max = fmax(max, load_logits(in + i, n - i));
    return wg_max(hmax(max), tmp);
}

KERNEL cross_entropy_rows(TENSOR(x), TENSOR_OF(int, labels), TENSOR(y), const uint rows, const uint n CLAIMS)
{
    local float tmp[WG];
    x += x_at, labels += labels_at, y += y_at;
    EACH_UNIT(r, rows) {
        global const float *in = x + r * (ulong)n;
        const int label = labels[r];
        const float max = row_max(in, n, tmp);
        vec sum = 0.0f;
        EACH_PART(i, n) sum += exp(load_logits(in + i, n - i) - max);
        const float norm = log(wg_sum(hsum(sum), tmp));
        if (get_local_id(0) == 0) y[r] = label < 0 ? 0.0f : label >= (int)n ? NAN : norm - (in[label] - max);
    }
}

/* One group: the sum of the rows' losses over the number of labels. */
KERNEL cross_entropy_mean(TENSOR(x), TENSOR_OF(int, labels), TENSOR(y), const uint rows)
{
    local float tmp[WG];
    x += x_at, labels += labels_at, y += y_at;
    vec vsum = 0.0f;
    EACH_VEC(i, rows) vsum += VLOAD(x + i);
    float sum = hsum(vsum);
    EACH_TAIL(i, rows) sum += x[i];
    sum = wg_sum(sum, tmp);
    const float count = labelled(labels, rows, tmp);
    if (get_group_id(0) == 0 && get_local_id(0) == 0) y[0] = sum / fmax(count, 1.0f);
}

/* And the rows' losses with it, where they are wanted. dx may lie where x lies. */
KERNEL cross_entropy_grad(TENSOR(x), TENSOR_OF(int, labels), NUMBER(dloss), TENSOR(dx), TENSOR(y), const uint with_losses,
                          const uint rows, const uint n CLAIMS)
{
    local float tmp[WG];
    x += x_at, labels += labels_at, dx += dx_at, y += y_at;
    const float scale = NUMBER_OF(dloss) / fmax(labelled(labels, rows, tmp), 1.0f);
    EACH_UNIT(r, rows) {
        global const float *in = x + r * (ulong)n;
        global float *out = dx + r * (ulong)n;
        const int label = labels[r];
        const bool known = label >= 0 && label < (int)n;
        const float own = known ? in[label] : label < 0 ? 0.0f : NAN;
        const float max = row_max(in, n, tmp);
#if WG > 1
        barrier(CLK_GLOBAL_MEM_FENCE); /* the label's element belongs to another item */
#endif
        vec part = 0.0f;
        EACH_PART(i, n) {
            const vec e = exp(load_logits(in + i, n - i) - max);
            part += e;
            store_part(e, out + i, n - i);
        }
        const float sum = wg_sum(hsum(part), tmp), s = (known ? scale : own) / sum;
        EACH_PART(i, n) store_part(label < 0 ? (vec)(0.0f) : s * load_part(out + i, n - i), out + i, n - i);
#if WG > 1
        barrier(CLK_GLOBAL_MEM_FENCE);
#endif
        if (get_local_id(0) != 0) continue;
        if (known) out[label] -= scale;
        if (with_losses) y[r] = label < 0 ? 0.0f : log(sum) - (own - max);
    }
}

/* A row of zeros for a label that counts for nothing, of NaN for one beyond the classes. */
KERNEL one_hot(TENSOR_OF(int, labels), TENSOR(y), const uint rows, const uint n, const int ignored CLAIMS)
{
    labels += labels_at, y += y_at;
    EACH_UNIT(r, rows) {
        const int label = labels[r];
        const bool out = label < 0 || label == ignored;
        global float *to = y + r * (ulong)n;
        for (uint i = get_local_id(0); i < n; i += WG) to[i] = out ? 0.0f : label >= (int)n ? NAN : i == (uint)label ? 1.0f : 0.0f;
    }
}

KERNEL row_weight(TENSOR_OF(int, labels), TENSOR(y), const uint rows)
{
    local float tmp[WG];
    labels += labels_at, y += y_at;
    const float weight = 1.0f / fmax(labelled(labels, rows, tmp), 1.0f);
    for (uint i = get_local_id(0); i < rows; i += WG) y[i] = labels[i] < 0 ? 0.0f : weight;
}

/* 1 where the first largest element is the label's. */
KERNEL correct_rows(TENSOR(x), TENSOR_OF(int, labels), TENSOR(y), const uint rows, const uint n CLAIMS)
{
    local float tmp[WG];
    x += x_at, labels += labels_at, y += y_at;
    EACH_UNIT(r, rows) {
        global const float *in = x + r * (ulong)n;
        const int label = labels[r];
        const bool known = label >= 0 && label < (int)n;
        const float mine = known ? in[label] : 0.0f;
        float better = 0.0f; /* elements that win over the label's */
        for (uint i = get_local_id(0); i < n; i += WG)
            better += in[i] > mine || (in[i] == mine && (int)i < label) ? 1.0f : 0.0f;
        better = wg_sum(better, tmp);
        if (get_local_id(0) == 0) y[r] = known && better == 0.0f && mine == mine ? 1.0f : 0.0f;
    }
}
