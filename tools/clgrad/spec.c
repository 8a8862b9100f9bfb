/* spec.c - the text of a layer list into layers, one pass from left to right, and messages that point into it. Every
 * read is checked against the text's size; what it fills is bounded by the limits of spec.h. */
#include "spec.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct parser {
    const char *text;
    size_t      size, at;
    spec_error *error;
} parser;

static bool __attribute__((format(printf, 3, 4))) wrong(parser *p, size_t at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(p->error->text, sizeof p->error->text, format, args);
    va_end(args);
    p->error->at = at;
    return false;
}

/* ---- characters: without the locale ------------------------------------------------------------------------------ */

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

static bool is_inside(char c) { return ((unsigned char)c & 0xC0) == 0x80; } /* a letter in UTF-8, not at its first byte */

static bool is_of_value(char c) { return is_digit(c) || is_letter(c) || c == '.' || c == '+' || c == '-'; }

/* Also of a name that is wrong, so that a message has the whole of it. */
static bool is_of_name(char c) { return is_of_value(c) || (unsigned char)c > 127; }

static void skip_blanks(parser *p)
{
    bool comment = false;
    for (; p->at < p->size; p->at++) {
        const char c = p->text[p->at];
        comment = c != '\n' && (comment || c == '#');
        if (!comment && !is_blank(c)) return;
    }
}

static bool follows(const parser *p, char c) { return p->at < p->size && p->text[p->at] == c; }

static bool take(parser *p, char c)
{
    skip_blanks(p);
    if (!follows(p, c)) return false;
    p->at++;
    return true;
}

/* The longest run of such characters; false, and out is cut, when it does not fit. */
static bool word(parser *p, bool (*of)(char), char *out, size_t room)
{
    size_t length = 0;
    for (; p->at < p->size && of(p->text[p->at]); p->at++, length++)
        if (length + 1 < room) out[length] = p->text[p->at];
    out[length < room ? length : room - 1] = 0;
    return length < room;
}

static bool unexpected(parser *p, const char *wanted)
{
    if (p->at >= p->size) return wrong(p, p->size, "the text ends where %s", wanted);
    const char         *at = p->text + p->at;
    const unsigned char c = (unsigned char)*at;
    size_t              length = 1; /* of a letter in UTF-8 */
    while (c > 127 && p->at + length < p->size && is_inside(at[length])) length++;
    if (c > ' ' && c != 127 && !clg_utf8_fault(at, length))
        return wrong(p, p->at, "'%.*s' where %s", (int)length, at, wanted);
    return wrong(p, p->at, "the byte 0x%02x where %s", c, wanted);
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

static const spec_argument *argument_named(const spec_kind *kind, const char *name)
{
    for (const spec_argument *a = kind->argument; a->type != SPEC_END; a++)
        if (!strcmp(a->name, name)) return a;
    return NULL;
}

/* "conv2d(channels, kernel, stride=, ...)" */
static const char *signature(const spec_kind *kind, char *out, size_t room)
{
    size_t used = (size_t)snprintf(out, room, "%s(", kind->name);
    for (const spec_argument *a = kind->argument; a->type != SPEC_END && used < room; a++)
        used += (size_t)snprintf(out + used, room - used, "%s%s%s", a == kind->argument ? "" : ", ", a->name,
                                 a->optional ? "=" : "");
    if (used < room) snprintf(out + used, room - used, ")");
    return out;
}

static bool read_whole(const char **text, double least, double most, int *value)
{
    const bool  minus = **text == '-';
    const char *digit = *text + minus;
    if (!is_digit(*digit)) return false;
    int64_t sum = 0;
    for (; is_digit(*digit); digit++)
        if ((sum = sum * 10 + (*digit - '0')) > INT_MAX) return false;
    if (minus) sum = -sum;
    *text = digit;
    *value = (int)sum;
    return (double)sum >= least && (double)sum <= most;
}

static bool read_value(const spec_argument *a, const char *text, spec_value *v)
{
    static const char *const words[] = {[SPEC_UNITS] = "classes", [SPEC_PAD] = "same", [SPEC_REAL] = NULL};
    *v = (spec_value){.given = true};
    if (words[a->type] && !strcmp(text, words[a->type])) return v->word = true;
    if (a->type == SPEC_REAL) {
        char *end = NULL;
        if (strspn(text, "0123456789.eE+-") != strlen(text)) return false; /* neither nan nor inf nor 0x1p3 */
        v->real = strtod(text, &end);
        return *text && !*end && v->real >= a->least && v->real <= a->most;
    }
    if (!read_whole(&text, a->least, a->most, &v->whole[0])) return false;
    v->whole[1] = v->whole[0];
    if (*text == 'x' && (a->type == SPEC_PAIR || a->type == SPEC_PAD)) {
        text++;
        if (!read_whole(&text, a->least, a->most, &v->whole[1])) return false;
    }
    return !*text;
}

static bool bad_value(parser *p, size_t at, const spec_kind *kind, const spec_argument *a, const char *text)
{
    static const char *const also[] = {[SPEC_WHOLE] = "",
                                       [SPEC_UNITS] = ", or classes",
                                       [SPEC_PAIR] = ", or two as HxW",
                                       [SPEC_PAD] = ", two as HxW, or same",
                                       [SPEC_REAL] = ""};
    return wrong(p, at, "%s: %s is a%s number from %.15g to %.15g%s, not '%s'", kind->name, a->name,
                 a->type == SPEC_REAL ? "" : " whole", a->least, a->most, also[a->type], text);
}

/* One value of the list, the place-th; *named once one has a name. */
static bool parse_value(parser *p, spec_layer *layer, int place, bool *named)
{
    const spec_kind *kind = layer->kind;
    char             text[48], takes[160];
    skip_blanks(p);
    size_t at = p->at;
    bool   whole = word(p, is_of_value, text, sizeof text);
    const spec_argument *a = NULL;
    const bool           has_name = *text && take(p, '=');
    if (has_name) {
        *named = true;
        a = argument_named(kind, text);
        if (!a)
            return wrong(p, at, "%s has no argument '%s', it is %s", kind->name, text,
                         signature(kind, takes, sizeof takes));
        skip_blanks(p);
        at = p->at;
        whole = word(p, is_of_value, text, sizeof text);
    } else if (*named) {
        return *text ? wrong(p, at, "%s: a value without a name after one with a name", kind->name)
                     : unexpected(p, "a value should be");
    } else {
        for (int i = 0; i <= place && kind->argument[i].type != SPEC_END; i++)
            a = i == place ? &kind->argument[i] : NULL;
        if (!a) return wrong(p, at, "%s: too many values, it is %s", kind->name, signature(kind, takes, sizeof takes));
    }
    if (!*text) {
        if (p->at >= p->size || follows(p, ',') || follows(p, ')'))
            return wrong(p, p->at, a->optional ? "%s: there is no value for %s" : "%s needs %s", kind->name, a->name);
        return unexpected(p, "a value should be");
    }
    spec_value *v = &layer->value[a - kind->argument];
    if (v->given) return wrong(p, at, "%s: %s is given twice", kind->name, a->name);
    return (whole && read_value(a, text, v)) || bad_value(p, at, kind, a, text);
}

/* What may stand between brackets; `end` becomes where a missing value is missed. */
static bool parse_values(parser *p, spec_layer *layer, size_t *end)
{
    bool named = false;
    if (!take(p, '(')) return true;
    skip_blanks(p);
    *end = p->at;
    if (take(p, ')')) return true;
    for (int place = 0;; place++) {
        if (!parse_value(p, layer, place, &named)) return false;
        skip_blanks(p);
        *end = p->at;
        if (take(p, ')')) return true;
        if (!take(p, ',')) return unexpected(p, "',' or ')' should be");
    }
}

/* ---- layers ------------------------------------------------------------------------------------------------------ */

static const spec_kind *kind_named(const char *name)
{
    for (const spec_kind *kind = spec_kinds; kind->name; kind++)
        if (!strcmp(kind->name, name)) return kind;
    return NULL;
}

/* How many letters both begin with, case and _ aside; 0 when they are fewer than 3, or than half of the shorter name. */
static size_t alike(const char *a, const char *b)
{
    size_t same = 0;
    for (;; a++, b++, same++) {
        while (*a == '_') a++;
        while (*b == '_') b++;
        if (!*a || (*a | 32) != (*b | 32)) break; /* ASCII's letters in either case */
    }
    const size_t rest = strlen(a) < strlen(b) ? strlen(a) : strlen(b);
    return same > 2 && same >= rest ? same : 0;
}

/* The kind whose name is most like a wrong one, or like what other libraries call it. */
static const char *like(const char *name)
{
    static const char *const others[][2] = {{"dense", "linear"}, {"averagepooling2d", "avg_pool2d"}};
    const char *best = NULL;
    size_t      most = 0;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (alike(name, others[i][0]) > most) most = alike(name, others[i][0]), best = others[i][1];
    for (const spec_kind *kind = spec_kinds; kind->name; kind++)
        if (alike(name, kind->name) > most) most = alike(name, kind->name), best = kind->name;
    return best;
}

static bool unknown(parser *p, size_t at, const char *name)
{
    const char *near = like(name);
    if (near) return wrong(p, at, "there is no layer '%s'; did you mean %s?", name, near);
    return wrong(p, at, "there is no layer '%s'", name);
}

static bool parse_layer(parser *p, spec_layer *layer)
{
    char name[SPEC_MAX_NAME];
    *layer = (spec_layer){.at = p->at};
    if (!is_letter(p->text[p->at])) return unexpected(p, "a layer's name should be");
    size_t at = p->at;
    if (!word(p, is_of_name, name, sizeof name - 8))
        return wrong(p, at, "a name of more than %d characters", SPEC_MAX_NAME - 9);
    if (follows(p, ':')) {
        for (const char *c = name; *c; c++)
            if (!is_of_value(*c)) return wrong(p, at, "'%s': a layer's name is of ASCII's letters and digits, _ . + -", name);
        memcpy(layer->name, name, sizeof name);
        p->at++;
        at = p->at;
        if (at >= p->size || !is_letter(p->text[at])) return unexpected(p, "a layer's kind should be");
        if (!word(p, is_of_name, name, sizeof name)) return unknown(p, at, name);
    }
    layer->kind = kind_named(name);
    if (!layer->kind) return unknown(p, at, name);
    size_t end = at;
    if (!parse_values(p, layer, &end)) return false;
    for (int i = 0; layer->kind->argument[i].type != SPEC_END; i++) {
        const spec_argument *a = &layer->kind->argument[i];
        spec_value          *v = &layer->value[i];
        if (v->given) continue;
        if (!a->optional) return wrong(p, end, "%s needs %s", name, a->name);
        *v = (spec_value){.whole = {(int)a->preset, (int)a->preset}, .real = a->preset};
    }
    return true;
}

/* Names those that have none, and finds names given twice. */
static bool name_layers(parser *p, spec *s)
{
    for (size_t i = 0; i < s->count; i++) {
        spec_layer *layer = &s->layer[i];
        int         number = 1;
        for (size_t k = 0; k < i; k++) number += s->layer[k].kind == layer->kind;
        if (!*layer->name) snprintf(layer->name, sizeof layer->name, "%s%d", layer->kind->name, number);
    }
    for (size_t i = 0; i < s->count; i++)
        for (size_t k = 0; k < i; k++)
            if (!strcmp(s->layer[i].name, s->layer[k].name))
                return wrong(p, s->layer[i].at, "two layers are called %s", s->layer[i].name);
    return true;
}

spec *spec_parse(const char *text, size_t size, spec_error *error)
{
    spec_error unseen;
    parser     p = {text, size, 0, error ? error : &unseen};
    if (size > SPEC_MAX_TEXT) return wrong(&p, 0, "more than %d characters", SPEC_MAX_TEXT), NULL;
    spec *s = calloc(1, sizeof *s + SPEC_MAX_LAYERS * sizeof s->layer[0]);
    bool  good = s || wrong(&p, 0, "out of memory");
    for (skip_blanks(&p); good && p.at < size; skip_blanks(&p)) {
        if (s->count == SPEC_MAX_LAYERS) good = wrong(&p, p.at, "more than %d layers", SPEC_MAX_LAYERS);
        else good = parse_layer(&p, &s->layer[s->count++]);
    }
    if (good && !s->count) good = wrong(&p, 0, "there is no layer");
    if (good && name_layers(&p, s)) return s;
    free(s);
    return NULL;
}

/* ---- the text, to be seen and to be kept ------------------------------------------------------------------------- */

enum { SHOW_BEFORE = 60, SHOW_AFTER = 40 };

char *spec_show(const char *text, size_t size, const spec_error *error, char *out, size_t room)
{
    const size_t at = error->at < size ? error->at : size;
    size_t       from = at, to = at, used;
    char         line[SHOW_BEFORE + SHOW_AFTER + 1], caret[SHOW_BEFORE + 2];
    while (from > 0 && text[from - 1] != '\n' && at - from < SHOW_BEFORE) from--;
    while (to < size && text[to] != '\n' && to - at < SHOW_AFTER) to++;
    while (from < at && is_inside(text[from])) from++; /* whole letters */
    while (to > at && to < size && is_inside(text[to])) to--;
    used = 0;
    for (size_t i = from; i < to; i++) line[i - from] = (unsigned char)text[i] < ' ' || text[i] == 127 ? ' ' : text[i];
    for (size_t i = from; i < at; i++)
        if (!is_inside(text[i])) caret[used++] = ' '; /* UTF-8: a letter is a column */
    line[to - from] = caret[used + 1] = 0;
    caret[used] = '^';
    snprintf(out, room, "%s\n  %s\n  %s", error->text, line, caret);
    return out;
}

void spec_compact(const char *text, size_t size, char *out)
{
    parser p = {.text = text, .size = size};
    size_t used = 0;
    for (skip_blanks(&p); p.at < size; skip_blanks(&p)) {
        if (used && p.at && is_blank(text[p.at - 1])) out[used++] = ' ';
        while (p.at < size && !is_blank(text[p.at]) && text[p.at] != '#') out[used++] = text[p.at++];
    }
    out[used] = 0;
}
