/* page_classes.c - the confusion matrix as a picture, and tables beside it. A cell's shade is its share of the row: of
 * what is right as it is, of mistakes the square root, so that the rare ones show. Many classes: smaller cells, then no
 * numbers, then no names; a cell's tip always says everything. */
#include "page.h"
#include "html.h"

#include <math.h>
#include <stdlib.h>

enum { NUMBERED = 20, NAMED = 40, PAIRS = 6 };

static void named(FILE *to, const network *net, int c, int most)
{
    char number[16];
    html_short(to, network_class_name(net, c, number), most);
}

static double row_sum(const network *net, const float *confusion, int row)
{
    double sum = 0.0;
    for (int c = 0; c < net->classes; c++) sum += (double)confusion[row * net->classes + c];
    return sum;
}

static void axis_names(FILE *to, const network *net, double left, double top, double cell)
{
    const int n = net->classes, every = n <= NAMED ? 1 : n <= 120 ? 10 : 20;
    for (int c = 0; c < n; c += every) {
        const double at = ((double)c + 0.5) * cell;
        fprintf(to, "<text class=\"name\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">", left - 7.0, top + at + 4.0);
        if (n <= NAMED) named(to, net, c, 14);
        else fprintf(to, "%d", c);
        fprintf(to, "</text><text class=\"name\" transform=\"translate(%.1f %.1f) rotate(%d)\" text-anchor=\"%s\">",
                left + at,
                top - 8.0, n <= NAMED ? -45 : 0, n <= NAMED ? "start" : "middle");
        if (n <= NAMED) named(to, net, c, 14);
        else fprintf(to, "%d", c);
        fputs("</text>\n", to);
    }
}

void page_matrix(FILE *to, const network *net, const float *confusion)
{
    const int    n = net->classes;
    const bool   names = n <= NAMED;
    const double cell = n <= 10 ? 38.0 : n <= NUMBERED ? 27.0 : names ? 15.0 : 520.0 / n, gap = names ? 1.0 : 0.0;
    const double left = names ? 118.0 : 40.0, top = names ? 92.0 : 30.0, width = left + n * cell + (names ? 40.0 : 8.0);
    float        most = 0.0f;
    for (int i = 0; i < n * n; i++) most = fmaxf(most, confusion[i]);
    const double digits = floor(log10(fmax(1.0, (double)most))) + 1.0, font = fmin(12.0, cell / (0.62 * digits + 0.4));
    fprintf(to, "<svg viewBox=\"0 0 %.0f %.0f\" style=\"max-width:%.0fpx\" role=\"img\" "
            "aria-label=\"Confusion matrix\">\n",
            width, top + n * cell + 4.0, width);
    axis_names(to, net, left, top, cell);
    fprintf(to, "<path class=\"grid\" d=\"M%.1f %.1fh%.1fv%.1fh-%.1fz\"/>\n", left, top, n * cell, n * cell, n * cell);
    for (int r = 0; r < n; r++) {
        const double sum = row_sum(net, confusion, r);
        for (int c = 0; c < n; c++) {
            const double count = (double)confusion[r * n + c], share = sum > 0.0 ? count / sum : 0.0;
            if (!(count > 0.0)) continue;
            const double shade = 0.05 + 0.95 * (r == c ? share : sqrt(share)), x = left + c * cell, y = top + r * cell;
            fprintf(to, "<g><title>");
            named(to, net, r, 60);
            if (r != c) fputs(" taken for ", to), named(to, net, c, 60);
            fprintf(to, ": %.0f of %.0f, %.1f%%</title><rect class=\"%s\" fill-opacity=\"%.3f\" x=\"%.2f\" y=\"%.2f\" "
                    "width=\"%.2f\" "
                    "height=\"%.2f\"/>", count, sum, 100.0 * share, r == c ? "right" : "wrong", shade, x + gap, y + gap,
                    cell - 2.0 * gap, cell - 2.0 * gap);
            if (n <= NUMBERED && font >= 7.0)
                fprintf(to, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" "
                        "style=\"font-size:%.1fpx\">%.0f</text>",
                        shade > 0.6 ? "on" : "name", x + 0.5 * cell, y + 0.5 * cell + 0.36 * font, font, count);
            fputs("</g>\n", to);
        }
    }
    fputs("</svg>\n", to);
}

typedef struct pair {
    int    label, guess;
    double count, share;
} pair;

static int by_count(const void *a, const void *b)
{
    const pair *x = a, *y = b;
    if (x->count != y->count) return x->count < y->count ? 1 : -1;
    return x->label != y->label ? x->label - y->label : x->guess - y->guess;
}

void page_pairs(FILE *to, const network *net, const float *confusion)
{
    const int n = net->classes;
    int       count = 0;
    pair     *all = calloc((size_t)n * (size_t)n, sizeof *all);
    for (int r = 0; all && r < n; r++)
        for (int c = 0; c < n; c++)
            if (r != c && confusion[r * n + c] > 0.0f)
                all[count++] = (pair){r, c, (double)confusion[r * n + c],
                                      (double)confusion[r * n + c] / row_sum(net, confusion, r)};
    if (count) {
        qsort(all, (size_t)count, sizeof *all, by_count);
        fputs("<section class=\"card\">\n<h2>Most frequent mistakes</h2>\n<table>\n"
              "<tr><th>true class</th><th>taken for</th>"
              "<th class=\"n\">times</th><th class=\"n\">of the class</th></tr>\n", to);
        for (int i = 0; i < count && i < PAIRS; i++) {
            fputs("<tr><td>", to);
            named(to, net, all[i].label, 60);
            fputs("</td><td>", to);
            named(to, net, all[i].guess, 60);
            fprintf(to, "</td><td class=\"n\">%.0f</td><td class=\"n\">%.1f%%</td></tr>\n", all[i].count,
                    100.0 * all[i].share);
        }
        fputs("</table>\n</section>\n", to);
    }
    free(all);
}

static void score_cells(FILE *to, const class_score *s)
{
    fprintf(to, "</td><td class=\"n\">%.4f</td><td class=\"n\">%.4f</td><td class=\"n\">%.4f</td>"
            "<td class=\"bar\"><i style=\"width:%.0f%%\"></i></td>"
            "<td class=\"n\">%.0f</td></tr>\n", s->precision, s->recall, s->f1, 100.0 * s->f1, s->count);
}

void page_scores(FILE *to, const network *net, const class_score *score)
{
    const class_score mean = metrics_mean(score, net->classes);
    fputs("<section class=\"card\">\n<h2>Scores of the classes</h2>\n<div class=\"scroll\">\n<table>\n"
          "<tr><th>class</th>"
          "<th class=\"n\">precision</th><th class=\"n\">recall</th><th class=\"n\">F1</th><th class=\"bar\"></th>"
          "<th class=\"n\">examples</th></tr>\n", to);
    for (int c = 0; c < net->classes; c++) {
        fputs("<tr><td>", to);
        named(to, net, c, 60);
        score_cells(to, &score[c]);
    }
    fputs("<tr class=\"sum\"><td>mean", to);
    score_cells(to, &mean);
    fputs("</table>\n</div>\n</section>\n", to);
}
