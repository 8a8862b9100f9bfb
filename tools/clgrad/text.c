/* text.c - clgrad train --model gpt, and clgrad predict of such a model, which continues a prompt.
 *
 * A token is the rank of a byte among the bytes that occur in the text. Metadata: "network" gpt, "classes" the
 * vocabulary's size, "context" the positions that the network sees, "vocabulary" the bytes in hexadecimal. */
#include "text.h"
#include "interrupt.h"
#include "network.h"
#include "numerics.h"
#include "report.h"
#include "source.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct vocabulary {
    int     size;
    uint8_t byte[256];
    int     token[256]; /* -1: does not occur */
} vocabulary;

static vocabulary vocabulary_of(const bool *occurs)
{
    vocabulary v = {0};
    for (int b = 0; b < 256; b++) {
        v.token[b] = occurs[b] ? v.size : -1;
        if (occurs[b]) v.byte[v.size++] = (uint8_t)b;
    }
    return v;
}

/* ---- training ---------------------------------------------------------------------------------------------------- */

/* The whole file, the caller's to free; NULL after saying why not. */
static uint8_t *read_text(const command *cmd, const char *path, size_t *size)
{
    FILE    *file = fopen(path, "rb");
    uint8_t *text = NULL;
    size_t   room = 0;
    *size = 0;
    if (!file) return fail(cmd, "--data %s: %s", path, strerror(errno)), NULL;
    for (size_t more = 1; more;) {
        if (*size == room) {
            uint8_t *moved = realloc(text, room = room ? 2 * room : 1 << 16);
            if (!moved) break;
            text = moved;
        }
        more = fread(text + *size, 1, room - *size, file);
        *size += more;
    }
    const bool whole = feof(file) && !ferror(file);
    if (!whole) fail(cmd, "--data %s: %s", path, ferror(file) ? strerror(errno) : "out of memory");
    fclose(file);
    if (!whole) free(text), text = NULL;
    return text;
}

static clg_status save(const vocabulary *v, int64_t context, clg_model *model, const char *path)
{
    char classes[16], positions[24], bytes[2 * 256 + 1] = "";
    snprintf(classes, sizeof classes, "%d", v->size);
    snprintf(positions, sizeof positions, "%lld", (long long)context);
    for (int i = 0; i < v->size; i++) snprintf(bytes + 2 * i, 3, "%02x", v->byte[i]);
    const clg_metadata meta[] = {
        {"network", "gpt"}, {"classes", classes}, {"context", positions}, {"vocabulary", bytes}};
    return clg_model_save_with(model, path, meta, sizeof meta / sizeof meta[0]);
}

typedef struct learner {
    const uint8_t    *text;
    size_t            size;
    const vocabulary *vocabulary;
    clg_tensor       *x, *y, *sum;
    clg_plan         *plan;
    int64_t           batch, context;
    int32_t          *tokens; /* x, then y */
    numerics         *look;   /* NULL: steps just run */
} learner;

/* A batch of pieces from anywhere; y is x one character further. */
static void step(const learner *l, uint64_t seed, uint64_t number)
{
    const int64_t count = l->batch * l->context;
    for (int64_t row = 0; row < l->batch; row++) {
        const uint64_t draw = number * (uint64_t)l->batch + (uint64_t)row;
        const uint64_t wide = (uint64_t)clg_random_u32(seed, 2 * draw) << 32 | clg_random_u32(seed, 2 * draw + 1);
        const uint8_t *from = l->text + wide % (l->size - (size_t)l->context);
        for (int64_t i = 0; i < l->context; i++) {
            l->tokens[row * l->context + i] = l->vocabulary->token[from[i]];
            l->tokens[count + row * l->context + i] = l->vocabulary->token[from[i + 1]];
        }
    }
    clg_tensor_write(l->x, l->tokens, (size_t)count * sizeof *l->tokens);
    clg_tensor_write(l->y, l->tokens + count, (size_t)count * sizeof *l->tokens);
    if (l->look) numerics_step(l->look, l->plan);
    else clg_plan_run(l->plan);
}

/* From where it is to the end of the epoch, or to a signal; 0, or the exit status. */
static int learn_epoch(const command *cmd, clg_context *ctx, const text_options *o, learner *l, int64_t steps,
                       progress *at)
{
    const float   zero = 0.0f;
    const double  start = clock_seconds();
    const int64_t before = at->step;
    int           status = 0;
    if (!before) clg_tensor_write(l->sum, &zero, sizeof zero);
    bool finite = true;
    for (leash queue = {0}; at->step < steps && finite && !status && !interrupted();) {
        step(l, o->seed, (uint64_t)((at->epoch - 1) * steps + at->step++));
        if (l->look && l->look->bad) return numerics_report(l->look, cmd, o->keep, at);
        if (leash_step(&queue, ctx)) finite = isfinite(clg_tensor_scalar(l->sum));
        if (finite) status = checkpoint_step(o->keep, at);
    }
    const double mean = at->step ? clg_tensor_scalar(l->sum) / (double)at->step : 0.0;
    if (clg_context_failed(ctx)) return fail_context(cmd, ctx);
    if (!status && !isfinite(mean)) status = checkpoint_diverged(o->keep, cmd, at);
    if (status) return status;
    if (interrupted()) printf("interrupted after %lld steps\n", (long long)at->step);
    else
        printf("epoch %lld/%lld  train loss %.4f  %.0f characters/s\n", (long long)at->epoch, (long long)o->epochs,
               mean, (double)(steps - before) * (double)(l->batch * l->context) / (clock_seconds() - start));
    fflush(stdout);
    return 0;
}

static int learn(const command *cmd, clg_context *ctx, const text_options *o, learner *l)
{
    const network_kind *gpt = network_find("gpt");
    clg_model *model = clg_model_create(ctx, &(clg_model_desc){.seed = o->seed});
    clg_graph *g = clg_graph_create(ctx, &(clg_graph_desc){.training = true, .observed = l->look});
    l->x = clg_input(g, CLG_I32, CLG_SHAPE(l->batch, l->context));
    l->y = clg_input(g, CLG_I32, CLG_SHAPE(l->batch * l->context));
    l->sum = clg_state(g, CLG_F32, CLG_SCALAR);
    clg_tensor    *loss = clg_cross_entropy(network_kind_build(gpt, model, l->x, l->vocabulary->size), l->y);
    clg_tensor    *sum = clg_assign(l->sum, clg_add(l->sum, loss));
    clg_optimizer *opt = gpt->optimizer(model);
    if (o->lr > 0.0f) clg_optimizer_set_lr(opt, o->lr);
    l->plan = clg_plan_train_with(loss, opt, &sum, 1);
    if (clg_context_failed(ctx)) return fail_context(cmd, ctx);

    const int64_t steps = 1 + (int64_t)((l->size - 1) / (uint64_t)(l->batch * l->context));
    checkpoint   *keep = o->keep;
    progress      at;
    keep->model = model;
    keep->optimizer = opt;
    keep->graph = g;
    keep->sum = l->sum;
    checkpoint_setting_add(keep, "training data", "%zu characters with the checksum %016llx", l->size,
                           (unsigned long long)clg_hash(0, l->text, l->size));
    interrupt_catch();
    int status = checkpoint_resume(keep, o->epochs, steps, &at);
    if (!status) {
        printf("gpt, %zu characters, %d different, on %s\n", l->size, l->vocabulary->size,
               clg_context_device(ctx)->name);
        checkpoint_tell(keep, &at, steps);
        fflush(stdout);
    }
    while (at.epoch <= o->epochs && !status && !interrupted()) {
        status = learn_epoch(cmd, ctx, o, l, steps, &at);
        if (status || interrupted()) break;
        at.epoch++;
        at.step = 0;
        status = checkpoint_epoch(keep, &at);
    }
    if (!status) status = checkpoint_save(keep, &at);
    if (!status) status = checkpoint_check_model(keep, cmd, model);
    if (status) return status;
    if (save(l->vocabulary, l->context, model, o->out)) return fail_context(cmd, ctx);
    printf("saved %s\n", o->out);
    return interrupted() ? interrupted_status() : 0;
}

int text_train(const command *cmd, clg_context *ctx, const text_options *o)
{
    const network_kind *gpt = network_find("gpt");
    numerics            look = {0};
    learner l = {.batch = o->batch, .context = gpt->example.dim[0], .look = o->keep->check_numerics ? &look : NULL};
    bool                occurs[256] = {false};
    if (clg_context_failed(ctx)) return fail_context(cmd, ctx);
    uint8_t *text = read_text(cmd, o->data, &l.size);
    if (!text) return EXIT_RUN;
    l.text = text;
    for (size_t i = 0; i < l.size; i++) occurs[text[i]] = true;
    const vocabulary v = vocabulary_of(occurs);
    l.vocabulary = &v;
    int status = EXIT_RUN;
    if (l.size <= (size_t)l.context)
        fail(cmd, "--data %s has %zu characters, and gpt sees %lld at once and one more", o->data, l.size,
             (long long)l.context);
    else if (o->batch > INT32_MAX / 4 / l.context)
        fail(cmd, "--batch %lld is too large", (long long)o->batch);
    else if (!(l.tokens = malloc(2 * (size_t)(l.batch * l.context) * sizeof *l.tokens)))
        fail(cmd, "out of memory");
    else
        status = learn(cmd, ctx, o, &l);
    free(l.tokens);
    free(text);
    return status;
}

/* ---- prediction -------------------------------------------------------------------------------------------------- */

static clg_status describe(clg_context *ctx, const char *path, vocabulary *v, int64_t *context)
{
    char       name[16], positions[24], bytes[2 * 256 + 2], end;
    bool       occurs[256] = {false};
    long long  count = 0;
    clg_status status = clg_file_metadata(ctx, path, "network", name, sizeof name);
    if (!status) status = clg_file_metadata(ctx, path, "context", positions, sizeof positions);
    if (!status) status = clg_file_metadata(ctx, path, "vocabulary", bytes, sizeof bytes);
    if (status) return status;
    const size_t length = strlen(bytes);
    bool well_formed = !strcmp(name, "gpt") && sscanf(positions, "%7lld%c", &count, &end) == 1 && count > 0 && length &&
                       length % 2 == 0 && length <= 512 && strspn(bytes, "0123456789abcdef") == length;
    for (size_t i = 0; well_formed && i < length; i += 2) {
        unsigned value = 0;
        well_formed = sscanf(bytes + i, "%2x", &value) == 1 && !occurs[value];
        occurs[value] = true;
    }
    *v = vocabulary_of(occurs);
    *context = count;
    return well_formed ? CLG_OK : CLG_FORMAT;
}

static int draw(const float *logit, int count, double temperature, double u)
{
    double most = (double)logit[0], sum = 0.0;
    int    best = 0;
    for (int i = 1; i < count; i++)
        if ((double)logit[i] > most) most = (double)logit[i], best = i;
    for (int i = 0; i < count; i++) sum += exp(((double)logit[i] - most) / temperature);
    for (int i = 0; i < count; i++)
        if ((u -= exp(((double)logit[i] - most) / temperature) / sum) < 0.0) return i;
    return best; /* rounding, or no numbers */
}

/* Each character takes a run over the whole context: what lies behind it cannot be seen, and is token 0. */
static void continue_text(const text_prompt *o, const vocabulary *v, clg_plan *plan, clg_tensor *x, clg_tensor *logits,
                          int32_t *token, float *logit, int64_t context, int64_t known)
{
    for (int64_t n = 0; n < o->length; n++) {
        if (known == context) memmove(token, token + 1, (size_t)(--known) * sizeof *token);
        for (int64_t i = known; i < context; i++) token[i] = 0;
        clg_tensor_write(x, token, (size_t)context * sizeof *token);
        clg_plan_run(plan);
        if (clg_tensor_read(logits, logit, (size_t)(context * v->size) * sizeof *logit)) return;
        token[known] = draw(logit + (known - 1) * v->size, v->size, (double)o->temperature,
                            (double)clg_random_uniform(o->seed, (uint64_t)n));
        putchar(v->byte[token[known++]]);
        fflush(stdout);
    }
    putchar('\n');
}

int text_predict(const command *cmd, clg_context *ctx, const text_prompt *o)
{
    vocabulary     v;
    int64_t        context = 0, known = 0;
    const clg_status described = describe(ctx, o->model, &v, &context);
    if (described == CLG_FORMAT && !*clg_context_error(ctx))
        return fail(cmd, "%s has no metadata that describes a gpt of clgrad (network, context, vocabulary)", o->model);
    if (described) return fail_context(cmd, ctx);
    const char first[2] = {(char)v.byte[0], 0}, *prompt = o->prompt ? o->prompt : first;
    for (const char *c = prompt; *c; c++)
        if (v.token[(uint8_t)*c] < 0)
            return fail(cmd, "--prompt: the network has never seen the byte 0x%02x", (uint8_t)*c);

    clg_model  *model = clg_model_create(ctx, NULL);
    clg_graph  *g = clg_graph_create(ctx, NULL);
    clg_tensor *x = clg_input(g, CLG_I32, CLG_SHAPE(1, context));
    clg_tensor *logits = network_kind_build(network_find("gpt"), model, x, v.size);
    clg_plan   *plan = clg_plan_create(logits);
    if (clg_context_failed(ctx) || clg_model_load(model, o->model)) return fail_context(cmd, ctx);
    int32_t *token = malloc((size_t)context * sizeof *token);
    float   *logit = malloc((size_t)(context * v.size) * sizeof *logit);
    if (token && logit) {
        const size_t length = strlen(prompt), seen = length < (size_t)context ? length : (size_t)context;
        fputs(prompt, stdout);
        for (; known < (int64_t)seen; known++) token[known] = v.token[(uint8_t)prompt[length - seen + (size_t)known]];
        continue_text(o, &v, plan, x, logits, token, logit, context, known);
    }
    const bool enough = token && logit;
    free(token);
    free(logit);
    if (!enough) return fail(cmd, "out of memory");
    return clg_context_failed(ctx) ? fail_context(cmd, ctx) : 0;
}
