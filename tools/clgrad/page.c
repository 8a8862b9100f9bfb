/* page.c - the whole page is made in memory and then takes the place of the file at once. Sections that have nothing to
 * show are left out: a regression has no classes, a table no pictures, an interrupted training no measurement at its
 * end. */
#include "page.h"
#include "chart.h"
#include "html.h"
#include "layer_table.h"
#include "source.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void __attribute__((format(printf, 3, 4))) tile(FILE *to, const char *name, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("<div class=\"tile\"><b>", to);
    vfprintf(to, format, args);
    fprintf(to, "</b><span>%s</span></div>\n", name);
    va_end(args);
}

/* Digits in groups of three. */
static const char *grouped(int64_t number, char text[32])
{
    char      digits[24];
    const int length = snprintf(digits, sizeof digits, "%lld", (long long)number);
    char     *to = text;
    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0) *to++ = ',';
        *to++ = digits[i];
    }
    *to = 0;
    return text;
}

static const char *examples(const page *p) { return network_word(p->net); }

/* "cnn", or what stands for a list of layers. */
static const char *network_name(const page *p)
{
    return network_find(p->net->model) ? p->net->model : "custom network";
}

static double total_seconds(const history *h)
{
    double sum = 0.0;
    for (int64_t i = 0; i < h->count; i++) sum += h->at[i].seconds;
    return sum;
}

static void head(FILE *to, const page *p)
{
    const history *h = p->history;
    const double   seconds = total_seconds(h);
    char           title[512], number[32], part[64];
    snprintf(title, sizeof title, "%s on %.300s", network_name(p), p->data);
    html_begin(to, title);
    fputs("<header>\n<p class=\"soft\">Training report</p>\n<h1>", to);
    html_text(to, title);
    fputs("</h1>\n</header>\n<div class=\"tiles\">\n", to);
    if (p->final && !p->net->regression) {
        snprintf(part, sizeof part, "%s accuracy", p->final_part);
        tile(to, part, "%.2f%%", 100.0 * p->score);
        if (p->final->top > 1 && p->net->classes > p->final->top) {
            snprintf(part, sizeof part, "%s top-%d accuracy", p->final_part, p->final->top);
            tile(to, part, "%.2f%%", 100.0 * clg_tensor_scalar(p->final->top_sum) / (double)p->final->seen);
        }
    } else if (p->final) {
        snprintf(part, sizeof part, "%s R²", p->final_part);
        tile(to, part, "%.4f", p->score);
    }
    snprintf(part, sizeof part, "%s loss", p->final_part);
    if (p->final) tile(to, part, "%s", chart_number(p->loss, number));
    if (h->count == p->epochs) tile(to, "epochs", "%lld", (long long)h->count);
    else tile(to, p->final ? "epochs, stopped early" : "epochs, then interrupted", "%lld of %lld", (long long)h->count,
              (long long)p->epochs);
    tile(to, "parameters", "%s", grouped(network_elements(p->model, 0, clg_model_count(p->model), false), number));
    if (seconds < 60.0) tile(to, "training steps took", "%.3g s", seconds);
    else tile(to, "training steps took", "%lld:%02d min", (long long)(seconds / 60.0), (int)fmod(seconds, 60.0));
    fputs("</div>\n", to);
}

static chart_series column(const char *name, const history *h, const double *first)
{
    return (chart_series){name, first, sizeof *h->at / sizeof *first};
}

static void curves(FILE *to, const page *p)
{
    const history *h = p->history;
    if (!h->count) return;
    chart loss = {.label = "Loss after each epoch",
                  .x = "epoch",
                  .wide = true,
                  .count = h->count,
                  .lines = 2,
                  .mark = p->best,
                  .y = p->net->regression ? "mean squared error" : "mean cross-entropy, nats",
                  .series = {column("training", h, &h->at->train_loss), column(p->part, h, &h->at->loss)}};
    chart score = loss;
    score.label = p->net->regression ? "R squared after each epoch" : "Accuracy after each epoch";
    score.y = p->net->regression ? "R², 1 is perfect" : "accuracy";
    score.series[0] = column(p->part, h, &h->at->score);
    score.percent = !p->net->regression;
    score.wide = false;
    score.lines = 1;
    fputs("<div class=\"cards\">\n<section class=\"card\">\n<h2>Loss</h2>\n", to);
    chart_curves(to, &loss);
    fprintf(to, "</section>\n<section class=\"card\">\n<h2>%s</h2>\n", p->net->regression ? "R²" : "Accuracy");
    chart_curves(to, &score);
    fputs("</section>\n</div>\n", to);
}

static int classes(FILE *to, const page *p)
{
    const size_t n = (size_t)p->net->classes;
    float       *confusion = calloc(n * n, sizeof *confusion);
    class_score *score = calloc(n, sizeof *score);
    int          status = confusion && score ? 0 : fail(p->cmd, "out of memory");
    if (!status && clg_tensor_read(p->final->confusion, confusion, n * n * sizeof *confusion))
        status = fail_context(p->cmd, clg_tensor_context(p->final->x));
    if (!status) {
        metrics_scores(confusion, p->net->classes, score);
        fprintf(to, "<div class=\"cards\">\n<div class=\"stack\">\n<section class=\"card\">\n<h2>Confusion</h2>\n"
                "<p class=\"note\">"
                "Rows: the true class. Columns: what it was taken for. The shade is the share of the row. "
                "%lld %s %s.</p>\n", (long long)p->final->seen, p->final_part, examples(p));
        page_matrix(to, p->net, confusion);
        fputs("</section>\n</div>\n<div class=\"stack\">\n", to);
        page_scores(to, p->net, score);
        page_pairs(to, p->net, confusion);
        fputs("</div>\n</div>\n", to);
    }
    free(confusion);
    free(score);
    return status;
}

static int mistakes(FILE *to, const page *p, const outcome *o)
{
    if (!o->count) return 0;
    clg_context *ctx = clg_tensor_context(p->final->x);
    fprintf(to,
            "<section class=\"card\">\n<h2>Worst mistakes</h2>\n<p class=\"note\">Of %lld that are wrong, the %d whose "
            "own class was thought least likely; in grey, how likely.</p>\n<div class=\"pictures\">\n",
            (long long)o->wrong, o->count);
    for (int i = 0; i < o->count; i++) {
        const mistake *m = &o->worst[i];
        char           number[16];
        fprintf(to, "<figure><img%s width=\"%lld\" height=\"%lld\" alt=\"",
                o->picture.dim[1] < 100 ? " class=\"px\"" : "", (long long)o->picture.dim[2],
                (long long)o->picture.dim[1]);
        html_text(to, network_class_name(p->net, m->label, number));
        fputs("\" src=\"", to);
        if (html_picture(to, ctx, o->picture, m->pixels)) return fail_context(p->cmd, ctx);
        fputs("\"><figcaption><b>", to);
        html_short(to, network_class_name(p->net, m->label, number), 60);
        fprintf(to, "</b> <span class=\"soft\">%.2g%%</span><br>taken for ", 100.0 * (double)m->own);
        html_short(to, network_class_name(p->net, m->guess, number), 60);
        fprintf(to, " <span class=\"soft\">%.3g%%</span></figcaption></figure>\n", 100.0 * (double)m->guessed);
    }
    fputs("</div>\n</section>\n", to);
    return 0;
}

static void predictions(FILE *to, const page *p, const outcome *o)
{
    const chart c = {.label = "Predictions beside the true values", .x = "true value", .y = "predicted"};
    fprintf(to,
            "<section class=\"card\">\n<h2>Predictions</h2>\n<p class=\"note\">%lld %s examples%s; on the dotted line "
            "they are right.</p>\n",
            (long long)o->points, p->final_part, p->net->classes > 1 ? ", their first output" : "");
    chart_cloud(to, &c, o->answer, o->prediction, o->points);
    fputs("</section>\n", to);
}

/* ---- what was run ------------------------------------------------------------------------------------------------ */

static void settings(FILE *to, const page *p)
{
    char text[4096];
    fputs("<section class=\"card\">\n<h2>Settings</h2>\n<table>\n", to);
    for (const option *o = p->cmd->options; o->name; o++) {
        if (!option_text(o, p->options, text, sizeof text)) continue;
        fprintf(to, "<tr><th scope=\"row\">%s</th><td><code>", o->name);
        html_text(to, text);
        fputs("</code></td></tr>\n", to);
    }
    fputs("</table>\n</section>\n", to);
}

static void data(FILE *to, const page *p)
{
    char text[256];
    fputs("<section class=\"card\">\n<h2>Data</h2>\n<table>\n", to);
    html_fact(to, "from", "%s", p->data);
    html_fact(to, "trained on", "%s %s", grouped(clg_dataset_count(p->train->data), text), examples(p));
    html_fact(to, "each epoch measured on", "%s, %s", grouped(p->watched, text), p->part);
    if (p->final && strcmp(p->part, p->final_part))
        html_fact(to, "at the end measured on", "%s, %s", grouped(p->final->seen, text), p->final_part);
    html_fact(to, "an example", "%s", clg_shape_text(p->net->input, text, sizeof text));
    html_fact(to, p->net->regression ? "outputs" : "classes", "%d", p->net->classes);
    if (p->net->answer) html_fact(to, "column", "%s", p->net->answer);
    fputs("</table>\n</section>\n", to);
}

static void device(FILE *to, const page *p)
{
    const clg_device_info *d = clg_context_device(clg_tensor_context(p->train->x));
    const clg_plan_stats   plan = clg_plan_statistics(p->train->plan);
    const double           seconds = total_seconds(p->history);
    const double steps =
        (double)p->history->count * ceil((double)clg_dataset_count(p->train->data) / (double)p->train->batch);
    const time_t           now = time(NULL);
    struct tm              local;
    char                   text[256] = "";
    fputs("<section class=\"card\">\n<h2>Device and run</h2>\n<table>\n", to);
    html_fact(to, "device", "%s, %s (%d:%d)", d->name, clg_device_type_name(d->type), d->platform, d->device);
    html_fact(to, "driver", "%s, %s", d->version, d->driver);
    html_fact(to, "profile", "%s", clg_profile_text(&d->profile, text, sizeof text));
    html_fact(to, "memory of a step", "%.1f MiB planned, %.1f MiB kept", (double)plan.planned_bytes / 1048576.0,
              (double)plan.persistent_bytes / 1048576.0);
    if (seconds > 0.0 && p->history->count) {
        html_fact(to, "speed", "%.0f %s/s, %.3g ms a step",
                  (double)p->history->count * (double)clg_dataset_count(p->train->data) / seconds, examples(p),
                  1e3 * seconds / steps);
        html_fact(to, "arithmetic of a step", "%.4g Mflop, %.3g GFLOP/s", plan.flops / 1e6,
                  plan.flops * steps / seconds / 1e9);
    }
    html_fact(to, "clgrad", "%s", clg_version());
    if (localtime_r(&now, &local) && strftime(text, sizeof text, "%Y-%m-%d %H:%M", &local))
        html_fact(to, "finished", "%s", text);
    fputs("</table>\n</section>\n", to);
}

static void shape_cell(FILE *to, clg_shape shape)
{
    fputs("<td class=\"n\">", to);
    for (int i = 0; i < shape.rank; i++) fprintf(to, "%s%lld", i ? " × " : "", (long long)shape.dim[i]);
    fputs("</td>", to);
}

static int layers(FILE *to, const page *p)
{
    clg_context *ctx = clg_tensor_context(p->train->x);
    clg_model   *model = clg_model_create(ctx, NULL); /* never run: it takes no memory of the device */
    clg_graph   *g = clg_graph_create(ctx, NULL);
    layer_table  t;
    char         number[32];
    int64_t      sum = 0;
    const bool   built = layer_table_build(&t, p->net, model, network_input(g, p->net, 1));
    fprintf(to, "<section class=\"card\">\n<h2>Network</h2>\n<p class=\"note\"><code>");
    html_text(to, p->net->model);
    fprintf(to,
            "</code></p>\n<div class=\"scroll\">\n<table>\n<tr><th>%s</th><th></th><th class=\"n\">%s</th>"
            "<th class=\"n\">parameters</th>%s</tr>\n",
            t.layers ? "layer" : "tensor", t.layers ? "output" : "shape",
            t.layers ? "<th class=\"n\">operations an example</th>" : "");
    for (size_t i = 0; i < t.count; i++) {
        layer_row *r = &t.rows[i];
        if (t.layers) /* without the one example */
            for (int d = 0; d + 1 < r->output.rank; d++) r->output.dim[d] = r->output.dim[d + 1];
        r->output.rank -= t.layers;
        sum += r->parameters;
        fputs("<tr><td>", to);
        html_text(to, r->name);
        fprintf(to, "</td><td class=\"soft\">%s</td>", r->kind);
        shape_cell(to, r->output);
        fprintf(to, "<td class=\"n\">%s</td>", grouped(r->parameters, number));
        if (t.layers) fprintf(to, "<td class=\"n\">%s</td>", grouped((int64_t)r->flops, number));
        fputs("</tr>\n", to);
    }
    fprintf(to, "<tr class=\"sum\"><td>all</td><td></td><td></td><td class=\"n\">%s</td>%s</tr>\n</table>\n"
            "</div>\n</section>\n", grouped(sum, number), t.layers ? "<td></td>" : "");
    layer_table_free(&t);
    clg_graph_destroy(&g);
    clg_model_destroy(&model);
    return built ? 0 : fail_context(p->cmd, ctx);
}

/* ---- all --------------------------------------------------------------------------------------------------------- */

static int compose(FILE *to, const page *p)
{
    int status = 0;
    head(to, p);
    curves(to, p);
    const bool beside = p->final && p->net->regression; /* two cards in a row */
    if (p->final && !p->net->regression) status = classes(to, p);
    if (!status) status = mistakes(to, p, p->seen);
    if (beside) fputs("<div class=\"cards\">\n", to), predictions(to, p, p->seen);
    if (!status) status = layers(to, p);
    fputs(beside ? "</div>\n<div class=\"cards\">\n" : "<div class=\"cards\">\n", to);
    settings(to, p);
    fputs("<div class=\"stack\">\n", to);
    data(to, p);
    device(to, p);
    fputs("</div>\n</div>\n", to);
    html_end(to);
    return status;
}

int page_write(const page *p, const char *path)
{
    char  *text = NULL;
    size_t size = 0;
    FILE  *to = open_memstream(&text, &size);
    int    status = to ? compose(to, p) : fail(p->cmd, "out of memory");
    if (to && (ferror(to) | fclose(to)) && !status) status = fail(p->cmd, "out of memory");
    clg_context *ctx = clg_tensor_context(p->train->x);
    if (!status && clg_file_replace(ctx, path, text, size))
        status = fail(p->cmd, "--report %s", clg_context_error(ctx));
    free(text);
    return status;
}
