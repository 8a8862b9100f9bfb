/* outcome.c - reads each batch's outputs and answers; its inputs only when one of them is among the worst so far. A
 * large picture is shrunk by the mean of k x k pixels; values that are not 0..1 are scaled, the picture's least to
 * black, its most to white. */
#include "outcome.h"
#include "source.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SIDE = 160 };

typedef struct batch {
    float   *output, *target, *input;
    int32_t *label;
    int64_t  pixels; /* of an example */
    bool     read;   /* the input of this batch */
} batch;

static int64_t lesser(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t shrink(clg_shape in) { return (-lesser(-in.dim[1], -in.dim[2]) + MOST_SIDE - 1) / MOST_SIDE; }

static clg_shape picture_of(clg_shape in)
{
    if (in.rank != 3 || (in.dim[0] != 1 && in.dim[0] != 3)) return (clg_shape){0};
    const int64_t k = shrink(in);
    return CLG_SHAPE(in.dim[0], in.dim[1] / k > 0 ? in.dim[1] / k : 1, in.dim[2] / k > 0 ? in.dim[2] / k : 1);
}

static uint8_t *draw(const float *value, clg_shape in, clg_shape out)
{
    const int64_t count = clg_shape_count(in), kh = lesser(shrink(in), in.dim[1]), kw = lesser(shrink(in), in.dim[2]);
    uint8_t      *pixels = malloc((size_t)clg_shape_count(out)), *to = pixels;
    float         low = 0.0f, high = 1.0f;
    for (int64_t i = 0; i < count; i++) low = fminf(low, value[i]), high = fmaxf(high, value[i]);
    for (int64_t c = 0; pixels && c < out.dim[0]; c++)
        for (int64_t y = 0; y < out.dim[1]; y++)
            for (int64_t x = 0; x < out.dim[2]; x++) {
                float sum = 0.0f;
                for (int64_t i = 0; i < kh * kw; i++)
                    sum += value[(c * in.dim[1] + y * kh + i / kw) * in.dim[2] + x * kw + i % kw];
                const float grey = (sum / (float)(kh * kw) - low) / (high - low);
                *to++ = grey > 0.0f ? (uint8_t)(255.0f * fminf(grey, 1.0f) + 0.5f) : 0; /* NaN: black */
            }
    return pixels;
}

/* Is a the worse mistake? */
static bool worse(const mistake *a, const mistake *b)
{
    return a->own < b->own || (a->own == b->own && a->guessed > b->guessed);
}

/* Puts it where it belongs, when it does. */
static bool keep(outcome *o, pass *p, const network *net, batch *b, int64_t row, mistake m)
{
    const bool full = o->count == OUTCOME_MISTAKES;
    o->wrong++;
    if (!o->picture.rank || (full && !worse(&m, &o->worst[o->count - 1]))) return true;
    if (!b->read && clg_tensor_read(p->x, b->input, (size_t)(p->batch * b->pixels) * sizeof *b->input)) return false;
    b->read = true;
    m.pixels = draw(b->input + row * b->pixels, net->input, o->picture);
    if (full) free(o->worst[--o->count].pixels);
    int at = o->count++;
    for (; at > 0 && worse(&m, &o->worst[at - 1]); at--) o->worst[at] = o->worst[at - 1];
    o->worst[at] = m;
    return m.pixels;
}

static bool look(outcome *o, pass *p, const network *net, batch *b, int64_t first, int64_t rows)
{
    const size_t batch_size = (size_t)p->batch, outputs = (size_t)net->classes;
    if (clg_tensor_read(p->output, b->output, batch_size * outputs * sizeof *b->output)) return false;
    if (net->regression) {
        const int64_t every = (clg_dataset_count(p->data) + OUTCOME_POINTS - 1) / OUTCOME_POINTS;
        if (clg_tensor_read(p->y, b->target, batch_size * outputs * sizeof *b->target)) return false;
        for (int64_t i = 0; i < rows; i++) {
            if ((first + i) % every) continue;
            o->answer[o->points] = b->target[i * net->classes];
            o->prediction[o->points++] = b->output[i * net->classes];
        }
        return true;
    }
    if (clg_tensor_read(p->y, b->label, batch_size * sizeof *b->label)) return false;
    b->read = false;
    for (int64_t i = 0; i < rows; i++) {
        const float *share = b->output + i * net->classes;
        int          guess = 0;
        for (int c = 1; c < net->classes; c++)
            if (share[c] > share[guess]) guess = c;
        const int label = b->label[i];
        const mistake m = {label, guess, share[label], share[guess], NULL};
        if (guess != label && !keep(o, p, net, b, i, m)) return false;
    }
    return true;
}

int outcome_collect(const command *cmd, pass *p, const network *net, outcome *o)
{
    clg_context *ctx = clg_tensor_context(p->x);
    const size_t rows = (size_t)p->batch, outputs = rows * (size_t)net->classes;
    batch        b = {.pixels = clg_shape_count(net->input)};
    *o = (outcome){.picture = picture_of(net->input)};
    b.output = calloc(outputs, sizeof *b.output);
    b.target = calloc(outputs, sizeof *b.target);
    b.label = calloc(rows, sizeof *b.label);
    b.input = calloc(rows * (size_t)b.pixels, sizeof *b.input);
    if (net->regression) {
        o->answer = calloc(OUTCOME_POINTS, sizeof *o->answer);
        o->prediction = calloc(OUTCOME_POINTS, sizeof *o->prediction);
    }
    bool good = b.output && b.target && b.label && b.input && (!net->regression || (o->answer && o->prediction));
    pass_begin(p, NULL);
    for (int64_t first = 0; good && pass_next(p); first = p->seen) good = look(o, p, net, &b, first, p->seen - first);
    free(b.output);
    free(b.target);
    free(b.label);
    free(b.input);
    if (clg_context_failed(ctx)) return fail_context(cmd, ctx);
    return good ? 0 : fail(cmd, "out of memory");
}

void outcome_free(outcome *o)
{
    for (int i = 0; i < o->count; i++) free(o->worst[i].pixels);
    free(o->answer);
    free(o->prediction);
    *o = (outcome){0};
}
