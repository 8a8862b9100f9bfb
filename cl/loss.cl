/* loss.cl - cross entropy on integer labels and its gradient, row by row; a group takes rows in turn.
 *
 * A negative label marks padding, which counts for nothing; a label >= n makes its row NaN. */

/* The number of rows that have a label, the same in every item. Exact up to 2^24 rows. */
static inline float labelled(global const int *labels, const uint rows, local float *tmp)
{
    float count = 0.0f;
    for (uint i = get_local_id(0); i < rows; i += WG) count += labels[i] >= 0 ? 1.0f : 0.0f;
    return wg_sum(count, tmp);
}

/* max and log(sum(exp(x - max))) of a row, the same in every item. */
static inline float2 row_norm(global const float *in, const uint n, local float *tmp)
{
    vec vmax = -INFINITY, vsum = 0.0f;
    EACH_VEC(i, n) vmax = fmax(vmax, VLOAD(in + i));
    float max = hmax(vmax);
    EACH_TAIL(i, n) max = fmax(max, in[i]);
    max = wg_max(max, tmp);
    EACH_VEC(i, n) vsum += exp(VLOAD(in + i) - max);
    float sum = hsum(vsum);
    EACH_TAIL(i, n) sum += exp(in[i] - max);
    return (float2)(max, log(wg_sum(sum, tmp)));
}

KERNEL cross_entropy_rows(TENSOR(x), TENSOR_OF(int, labels), TENSOR(y), const uint rows, const uint n)
{
    local float tmp[WG];
    x += x_at, labels += labels_at, y += y_at;
    EACH_ROW(r, rows) {
        global const float *in = x + r * (ulong)n;
        const float2 norm = row_norm(in, n, tmp);
        const int label = labels[r];
        if (get_local_id(0) == 0) y[r] = label < 0 ? 0.0f : label >= (int)n ? NAN : norm.y - (in[label] - norm.x);
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

KERNEL cross_entropy_grad(TENSOR(x), TENSOR_OF(int, labels), TENSOR(dloss), TENSOR(dx), const uint rows, const uint n)
{
    local float tmp[WG];
    x += x_at, labels += labels_at, dloss += dloss_at, dx += dx_at;
    const float scale = dloss[0] / fmax(labelled(labels, rows, tmp), 1.0f);
    EACH_ROW(r, rows) {
        global const float *in = x + r * (ulong)n;
        global float *out = dx + r * (ulong)n;
        const int label = labels[r];
        const float2 norm = row_norm(in, n, tmp);
        const float s = label < 0 ? 0.0f : label >= (int)n ? NAN : scale;
        EACH_VEC(i, n) VSTORE(label < 0 ? (vec)(0.0f) : s * exp(VLOAD(in + i) - norm.x - norm.y), out + i);
        EACH_TAIL(i, n) out[i] = label < 0 ? 0.0f : s * exp(in[i] - norm.x - norm.y);
#if WG > 1
        barrier(CLK_GLOBAL_MEM_FENCE); /* the label's element belongs to another item */
#endif
        if (get_local_id(0) == 0 && label >= 0 && label < (int)n) out[label] -= scale;
    }
}

/* A row of zeros for a label that counts for nothing, of NaN for one beyond the classes. */
KERNEL one_hot(TENSOR_OF(int, labels), TENSOR(y), const uint rows, const uint n, const int ignored)
{
    labels += labels_at, y += y_at;
    EACH_ROW(r, rows) {
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
KERNEL correct_rows(TENSOR(x), TENSOR_OF(int, labels), TENSOR(y), const uint rows, const uint n)
{
    local float tmp[WG];
    x += x_at, labels += labels_at, y += y_at;
    EACH_ROW(r, rows) {
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
