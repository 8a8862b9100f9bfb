/* chart.c - an axis maps low..high to pixels and carries ticks at 1, 2 or 5 times a power of ten; a logarithmic one at
 * powers of ten, and at 2 and 5 of them where there are few. */
#include "chart.h"
#include "html.h"

#include <math.h>

enum { LEFT = 62, RIGHT = 504, TOP = 12, BOTTOM = 262, HEIGHT = 304, WIDTH = 520, MOST_POINTS = 600, MOST_DOTS = 30 };

typedef struct axis {
    double low, high, step;
    double from, to; /* pixels */
    bool   logarithmic, percent;
} axis;

static double place(const axis *a, double value)
{
    if (a->logarithmic) value = log10(value);
    return a->from + (a->to - a->from) * (value - a->low) / (a->high - a->low);
}

static double nice_step(double span, int ticks)
{
    const double rough = span / ticks, power = pow(10.0, floor(log10(rough))), digit = rough / power;
    return power * (digit <= 1.0 ? 1.0 : digit <= 2.0 ? 2.0 : digit <= 5.0 ? 5.0 : 10.0);
}

/* Whole steps from low to high and a little around; one value is in the middle. */
static axis make_axis(double low, double high, double from, double to, bool percent, bool logarithmic)
{
    if (!(high > low)) {
        const double around = low != 0.0 ? fabs(low) * 0.1 : 1.0;
        low -= around, high += around;
        logarithmic = false;
    }
    axis a = {.from = from, .to = to, .percent = percent, .logarithmic = logarithmic};
    if (logarithmic) {
        a.low = log10(low) - 0.05, a.high = log10(high) + 0.05;
        return a;
    }
    a.step = nice_step(high - low, 5);
    a.low = floor(low / a.step + 1e-9) * a.step;
    a.high = ceil(high / a.step - 1e-9) * a.step;
    return a;
}

static void tick(FILE *to, const axis *a, double value, bool vertical)
{
    const double at = place(a, value), shown = a->percent ? 100.0 * value : value;
    char         text[32];
    snprintf(text, sizeof text, "%.6g%s", fabs(shown) < 1e-12 ? 0.0 : shown, a->percent ? "%" : "");
    if (vertical)
        fprintf(to, "<path class=\"grid\" d=\"M%d %.1fH%d\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
                LEFT, at, RIGHT, LEFT - 8, at + 4.0, text);
    else
        fprintf(to,
                "<path class=\"axis\" d=\"M%.1f %dv5\"/><text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
                at, BOTTOM, at, BOTTOM + 19, text);
}

static void ticks(FILE *to, const axis *a, bool vertical)
{
    static const double digits[] = {1.0, 2.0, 5.0};
    if (!a->logarithmic) {
        const int64_t count = (int64_t)((a->high - a->low) / a->step + 0.5);
        for (int64_t i = 0; i <= count; i++) tick(to, a, a->low + (double)i * a->step, vertical);
        return;
    }
    for (int power = (int)floor(a->low); power <= (int)ceil(a->high); power++)
        for (int d = 0; d < (a->high - a->low < 2.5 ? 3 : 1); d++) {
            const double value = digits[d] * pow(10.0, power);
            if (log10(value) >= a->low && log10(value) <= a->high) tick(to, a, value, vertical);
        }
}

static void frame(FILE *to, const char *label, const char *x_name, const char *y_name, bool logarithmic)
{
    fprintf(to, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", WIDTH, HEIGHT);
    html_text(to, label);
    fprintf(to, "\">\n<path class=\"axis\" d=\"M%d %dH%d\"/>\n<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">", LEFT,
            BOTTOM, RIGHT, (LEFT + RIGHT) / 2, HEIGHT - 4);
    html_text(to, x_name);
    fprintf(to, "</text>\n<text transform=\"translate(12 %d) rotate(-90)\" text-anchor=\"middle\">",
            (TOP + BOTTOM) / 2);
    html_text(to, y_name);
    fprintf(to, "%s</text>\n", logarithmic ? ", logarithmic" : "");
}

const char *chart_number(double value, char text[32])
{
    const double size = fabs(value);
    snprintf(text, 32, size >= 1e4 && size < 1e8 ? "%.0f" : "%.4g", value);
    return text;
}

static double value_at(const chart *c, int line, int64_t i) { return c->series[line].y[i * c->series[line].stride]; }

static void legend(FILE *to, const chart *c)
{
    char text[32];
    fputs("<p class=\"legend\">", to);
    for (int k = 0; k < c->lines; k++) {
        const double last = value_at(c, k, c->count - 1);
        const int    style = k + (c->lines == 1);
        fprintf(to, "<span><svg viewBox=\"0 0 26 10\" aria-hidden=\"true\"><path class=\"s%d\" d=\"M1 5H25\"/></svg>",
                style);
        html_text(to, c->series[k].name);
        if (c->percent) fprintf(to, " <b>%.2f%%</b></span>", 100.0 * last);
        else fprintf(to, " <b>%s</b></span>", chart_number(last, text));
    }
    fputs("</p>\n", to);
}

static void curve(FILE *to, const chart *c, int line, const axis *x, const axis *y)
{
    const int64_t every = c->count / MOST_POINTS + 1;
    const int     style = line + (c->lines == 1);
    bool          drawing = false;
    fprintf(to, "<path class=\"s%d\" d=\"", style);
    for (int64_t i = (c->count - 1) % every; i < c->count; i += every) { /* the last one always */
        const double value = value_at(c, line, i);
        const bool   good = isfinite(value);
        if (good) fprintf(to, "%c%.1f %.1f", drawing ? 'L' : 'M', place(x, (double)i + 1.0), place(y, value));
        drawing = good;
    }
    fputs("\"/>\n", to);
    for (int64_t i = 0; c->count <= MOST_DOTS && i < c->count; i++) {
        const double value = value_at(c, line, i);
        if (isfinite(value))
            fprintf(to,
                    "<circle class=\"d%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\"><title>%s %lld: %.6g</title></circle>\n",
                    style, place(x, (double)i + 1.0), place(y, value), c->x, (long long)i + 1, value);
    }
}

void chart_curves(FILE *to, const chart *c)
{
    double low = INFINITY, high = -INFINITY;
    for (int k = 0; k < c->lines; k++)
        for (int64_t i = 0; i < c->count; i++) {
            if (!isfinite(value_at(c, k, i))) continue;
            low = fmin(low, value_at(c, k, i));
            high = fmax(high, value_at(c, k, i));
        }
    if (!(low <= high)) return;
    axis y = make_axis(low, high, BOTTOM, TOP, c->percent, c->wide && low > 0.0 && high > 30.0 * low);
    axis x = make_axis(1.0, (double)c->count, LEFT, RIGHT, false, false);
    if (c->percent) y.high = fmin(y.high, 1.0), y.low = fmax(y.low, 0.0);
    if (c->count > 1) x.low = 1.0, x.high = (double)c->count; /* the curves fill the width */
    x.step = fmax(1.0, x.step);
    legend(to, c);
    frame(to, c->label, c->x, c->y, y.logarithmic);
    ticks(to, &y, true);
    tick(to, &x, 1.0, false);
    for (double at = x.step > 1.0 ? x.step : 2.0; at <= (double)c->count; at += x.step)
        if (at - 1.0 >= 0.5 * x.step) tick(to, &x, at, false);
    if (c->mark) {
        const double at = place(&x, (double)c->mark);
        const bool   left = at > (LEFT + RIGHT) / 2; /* the text: away from the edge and from the curve */
        const bool   low_text = place(&y, value_at(c, c->lines - 1, c->mark - 1)) < 0.5 * (TOP + BOTTOM);
        fprintf(to, "<path class=\"mark\" d=\"M%.1f %dV%d\"/><text x=\"%.1f\" y=\"%d\" text-anchor=\"%s\">best, "
                "%s %lld</text>\n",
                at, TOP, BOTTOM, left ? at - 6.0 : at + 6.0, low_text ? BOTTOM - 8 : TOP + 10, left ? "end" : "start",
                c->x, (long long)c->mark);
    }
    for (int k = 0; k < c->lines; k++) curve(to, c, k, &x, &y);
    fputs("</svg>\n", to);
}

void chart_cloud(FILE *to, const chart *c, const float *x_value, const float *y_value, int64_t count)
{
    double low = INFINITY, high = -INFINITY;
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(x_value[i]) || !isfinite(y_value[i])) continue;
        low = fmin(low, (double)fminf(x_value[i], y_value[i]));
        high = fmax(high, (double)fmaxf(x_value[i], y_value[i]));
    }
    if (!(low <= high)) return;
    const axis x = make_axis(low, high, LEFT, RIGHT, false, false), y = make_axis(low, high, BOTTOM, TOP, false, false);
    frame(to, c->label, c->x, c->y, false);
    ticks(to, &y, true);
    ticks(to, &x, false);
    fprintf(to, "<path class=\"mark\" d=\"M%d %dL%d %d\"/>\n", LEFT, BOTTOM, RIGHT, TOP);
    for (int64_t i = 0; i < count; i++)
        if (isfinite(x_value[i]) && isfinite(y_value[i]))
            fprintf(to, "<circle class=\"cloud\" cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\"/>\n", place(&x, (double)x_value[i]),
                    place(&y, (double)y_value[i]));
    fputs("</svg>\n", to);
}
