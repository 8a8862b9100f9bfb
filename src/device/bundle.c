/* bundle.c - several programs in one translation unit, since a driver has a price for each program: pocl parses its
 * built-in functions and links them, a fifth of a second.
 *
 * A program goes into the bundle with its number behind every name that it declares at file scope, by macros before it
 * (#define gemm gemm_k3), and with its own macros undefined behind it. Finding the names takes no parser: at file scope, a
 * name stands before "(", "[" or "=", ends a typedef, follows struct, is in an enum's braces, or is the first argument of a
 * macro that begins a declaration. What this overlooks does not compile, and then the programs are built one by one. */
#include "device/cl_types.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

typedef struct names {
    char **each;
    size_t count, capacity;
    bool   failed;
} names;

typedef struct scanner {
    const char *at;
    int         braces, parens;
    bool        begins, is_typedef, after_struct, in_enum, line_begins; /* a declaration, a typedef, ... */
    const char *last;                                                   /* identifier at file scope */
    size_t      last_size;
    names       macros, declared;
    names       foreign; /* macros that the source undefines: they may be the driver's own, and stay */
} scanner;

static bool has(const names *n, const char *name, size_t size)
{
    for (size_t i = 0; i < n->count; i++)
        if (strncmp(n->each[i], name, size) == 0 && !n->each[i][size]) return true;
    return false;
}

static void add(names *n, const char *name, size_t size)
{
    if (size == 0 || has(n, name, size)) return;
    if (n->count == n->capacity) {
        const size_t more = n->capacity ? 2 * n->capacity : 64;
        char       **moved = realloc(n->each, more * sizeof *moved);
        if (!moved) {
            n->failed = true;
            return;
        }
        n->each = moved;
        n->capacity = more;
    }
    char *copy = calloc(1, size + 1);
    if (!copy) {
        n->failed = true;
        return;
    }
    memcpy(copy, name, size);
    n->each[n->count++] = copy;
}

static void free_names(names *n)
{
    for (size_t i = 0; i < n->count; i++) free(n->each[i]);
    free(n->each);
}

static const char *skip_space(const char *s)
{
    while (*s == ' ' || *s == '\t' || *s == '\n') s++;
    return s;
}

static size_t identifier(const char *s)
{
    size_t size = 0;
    if (isdigit((unsigned char)*s)) return 0;
    while (isalnum((unsigned char)s[size]) || s[size] == '_') size++;
    return size;
}

static bool is(const char *s, size_t size, const char *word) { return strlen(word) == size && strncmp(s, word, size) == 0; }

static void directive(scanner *s)
{
    const char *word = skip_space(s->at + 1);
    if (is(word, identifier(word), "define")) {
        word = skip_space(word + 6);
        add(has(&s->foreign, word, identifier(word)) ? &s->foreign : &s->macros, word, identifier(word));
    } else if (is(word, identifier(word), "undef")) {
        word = skip_space(word + 5);
        add(&s->foreign, word, identifier(word));
    }
    for (; *s->at && *s->at != '\n'; s->at++)
        if (s->at[0] == '\\' && s->at[1] == '\n') s->at++;
}

/* Strings, comments and everything else that is no identifier; false when there was none of it. */
static bool skip(scanner *s)
{
    const char c = *s->at;
    if (c == '/' && (s->at[1] == '*' || s->at[1] == '/')) {
        const char *end = strstr(s->at + 2, s->at[1] == '*' ? "*/" : "\n");
        s->at = !end ? s->at + strlen(s->at) : s->at[1] == '*' ? end + 2 : end;
    } else if (c == '"' || c == '\'') {
        for (s->at++; *s->at && *s->at != c; s->at++)
            if (s->at[0] == '\\' && s->at[1]) s->at++;
        if (*s->at) s->at++;
    } else if (isdigit((unsigned char)c)) {
        while (isalnum((unsigned char)*s->at) || *s->at == '.' || *s->at == '_') s->at++;
    } else {
        return false;
    }
    return true;
}

static void punctuation(scanner *s)
{
    const char c = *s->at++;
    if (c == '\n') s->line_begins = true;
    if (c == '(') s->parens++;
    if (c == ')' && s->parens > 0) s->parens--;
    if (c == '{') s->braces++, s->begins = false;
    if (c == '}' && s->braces > 0 && --s->braces == 0) s->begins = !s->is_typedef, s->in_enum = false;
    if (c != ';' || s->braces || s->parens) return;
    if (s->is_typedef && s->last) add(&s->declared, s->last, s->last_size);
    s->begins = true;
    s->is_typedef = false;
    s->last = NULL;
}

static void skip_arguments(scanner *s)
{
    int depth = 0;
    do {
        depth += (*s->at == '(') - (*s->at == ')');
        if (*s->at) s->at++;
    } while (*s->at && depth > 0);
}

static void word(scanner *s, size_t size)
{
    const char *name = s->at, *after = skip_space(name + size);
    s->at += size;
    if (s->in_enum && s->braces) add(&s->declared, name, size);
    if (s->braces || s->parens) return;
    const bool first = s->begins;
    s->begins = false;
    if (is(name, size, "__attribute__")) {
        s->at = after;
        skip_arguments(s);
        s->begins = first;
    } else if (*after == '(' && has(&s->macros, name, size)) {
        const char *argument = skip_space(after + 1);
        if (first) add(&s->declared, argument, identifier(argument));
        s->at = after;
        skip_arguments(s);
        s->begins = first;
    } else {
        if (first) s->is_typedef = is(name, size, "typedef");
        if ((*after == '(' && !s->is_typedef) || *after == '[' || *after == '=' || (s->after_struct && *after == '{'))
            add(&s->declared, name, size);
        s->in_enum = is(name, size, "enum") || (s->in_enum && *after == '{');
        s->after_struct = is(name, size, "struct") || is(name, size, "union") || is(name, size, "enum");
        s->last = name;
        s->last_size = size;
    }
}

static void scan(scanner *s)
{
    while (*s->at) {
        const bool line_begins = s->line_begins;
        if (*s->at != ' ' && *s->at != '\t') s->line_begins = false;
        const size_t size = identifier(s->at);
        if (*s->at == '#' && line_begins) directive(s);
        else if (size > 0) word(s, size);
        else if (!skip(s)) punctuation(s);
    }
}

void clg__bundle_append(clg__text *text, const char *source, unsigned number)
{
    scanner s = {.at = source, .begins = true, .line_begins = true};
    scan(&s);
    for (size_t i = 0; i < s.declared.count; i++)
        clg__text_append(text, "#define %s %s_k%u\n", s.declared.each[i], s.declared.each[i], number);
    clg__text_append(text, "%s\n", source);
    for (size_t i = 0; i < s.macros.count; i++) clg__text_append(text, "#undef %s\n", s.macros.each[i]);
    for (size_t i = 0; i < s.declared.count; i++) clg__text_append(text, "#undef %s\n", s.declared.each[i]);
    if (s.macros.failed || s.declared.failed || s.foreign.failed) text->failed = true;
    free_names(&s.macros);
    free_names(&s.foreign);
    free_names(&s.declared);
}
