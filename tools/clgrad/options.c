/* options.c - parses "--name value", "--name=value", "-v" and plain arguments by a command's table. */
#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void __attribute__((format(printf, 2, 0))) say(const command *cmd, const char *format, va_list args)
{
    fflush(stdout);
    fprintf(stderr, "clgrad%s%s: ", cmd ? " " : "", cmd ? cmd->name : "");
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
}

int fail(const command *cmd, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(cmd, format, args);
    va_end(args);
    return EXIT_RUN;
}

int usage(const command *cmd, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(cmd, format, args);
    va_end(args);
    fprintf(stderr, "Try 'clgrad %s%s'.\n", cmd ? "help " : "--help", cmd ? cmd->name : "");
    return EXIT_USAGE;
}

void warn(const command *cmd, const char *format, ...)
{
    char    text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fail(cmd, "warning: %s", text);
}

static bool is_word_of(const char *words, const char *word)
{
    const size_t length = strlen(word);
    for (const char *at = words; *at; at += strcspn(at, "|"), at += *at == '|')
        if (length > 0 && strcspn(at, "|") == length && !strncmp(at, word, length)) return true;
    return false;
}

static bool set_count(const command *cmd, const option *o, const char *text, int64_t *field)
{
    char *end = NULL;
    errno = 0;
    const long long value = strtoll(text, &end, 10);
    const long long least = o->kind == OPTION_PARTS ? 2 : o->kind != OPTION_WHOLE, most = o->most ? o->most : INT64_MAX;
    if (isdigit((unsigned char)text[0]) && !*end && !errno && value >= least && value <= most) {
        *field = value;
        return true;
    }
    usage(cmd, "--%s takes a whole number from %lld to %lld, not '%s'", o->name, least, most, text);
    return false;
}

static bool set_seed(const command *cmd, const option *o, const char *text, uint64_t *field)
{
    char *end = NULL;
    errno = 0;
    const unsigned long long value = strtoull(text, &end, 10);
    if (isdigit((unsigned char)text[0]) && !*end && !errno) {
        *field = value;
        return true;
    }
    usage(cmd, "--%s takes a whole number from 0 to 18446744073709551615, not '%s'", o->name, text);
    return false;
}

static bool set_real(const command *cmd, const option *o, const char *text, float *field)
{
    char *end = NULL;
    const float value = strtof(text, &end);
    const bool in_range = o->kind == OPTION_POSITIVE ? value > 0.0f : value >= 0.0f && value < 1.0f;
    if (end != text && !*end && isfinite(value) && in_range) {
        *field = value;
        return true;
    }
    usage(cmd, "--%s takes a number %s, not '%s'", o->name,
          o->kind == OPTION_POSITIVE ? "above 0 that fits in a float" : "from 0 to less than 1", text);
    return false;
}

static bool set(const command *cmd, const option *o, const char *text, void *fields)
{
    void *field = (char *)fields + o->offset;
    switch (o->kind) {
    case OPTION_FLAG: *(bool *)field = true; return true;
    case OPTION_MAYBE: break;
    case OPTION_COUNT:
    case OPTION_WHOLE:
    case OPTION_PARTS: return set_count(cmd, o, text, field);
    case OPTION_SEED: return set_seed(cmd, o, text, field);
    case OPTION_POSITIVE:
    case OPTION_FRACTION: return set_real(cmd, o, text, field);
    case OPTION_CHOICE:
        if (!is_word_of(o->value, text)) return usage(cmd, "--%s takes %s, not '%s'", o->name, o->value, text), false;
        break;
    case OPTION_TEXT:
        if (!*text) return usage(cmd, "--%s: %s is empty", o->name, o->value), false;
        break;
    case OPTION_ARGUMENT:
    case OPTION_ARGUMENTS:
        if (!*text) return usage(cmd, "%s is empty", o->value), false;
        break;
    }
    *(const char **)field = text;
    return true;
}

/* Those taken move to the front of argv, where what stood has been read. */
static bool take_more(const command *cmd, const option *o, char **argv, char *text, void *fields)
{
    arguments *list = (arguments *)(void *)((char *)fields + o->offset);
    if (!*text) return usage(cmd, "%s is empty", o->value), false;
    list->at = argv;
    argv[list->count++] = text;
    return true;
}

/* The row that `arg` names, "--name", "--name=..." or "-v"; *value becomes what follows the sign, or NULL. */
static const option *find(const command *cmd, const char *arg, const char **value)
{
    const bool   is_long = arg[1] == '-';
    const char  *name = arg + 1 + is_long;
    const size_t length = is_long ? strcspn(name, "=") : strlen(name);
    *value = name[length] ? name + length + 1 : NULL;
    for (const option *o = cmd->options; o->name; o++) {
        if (o->kind == OPTION_ARGUMENT || o->kind == OPTION_ARGUMENTS) continue;
        if (is_long ? strlen(o->name) == length && !strncmp(o->name, name, length)
                    : length == 1 && o->letter && o->letter == name[0])
            return o;
    }
    return NULL;
}

/* The option that a wrong --name shares its beginning with, or NULL. */
static const char *like(const command *cmd, const char *arg)
{
    const char *best = NULL;
    size_t      most = 2;
    if (strncmp(arg, "--", 2)) return NULL;
    for (const option *o = cmd->options; o->name; o++) {
        size_t same = 0;
        while (arg[2 + same] && arg[2 + same] == o->name[same]) same++;
        if (o->kind == OPTION_ARGUMENT || o->kind == OPTION_ARGUMENTS || same <= most) continue;
        most = same;
        best = o->name;
    }
    return best;
}

/* The first option that is not as in `defaults` and is, or is not, one of the words. */
static const char *first_given(const command *cmd, const char *words, bool among, const void *fields, const void *defaults)
{
    static const size_t size[] = {
        [OPTION_FLAG] = sizeof(bool),      [OPTION_TEXT] = sizeof(char *),     [OPTION_MAYBE] = sizeof(char *),
        [OPTION_CHOICE] = sizeof(char *),  [OPTION_COUNT] = sizeof(int64_t),   [OPTION_SEED] = sizeof(uint64_t),
        [OPTION_POSITIVE] = sizeof(float), [OPTION_FRACTION] = sizeof(float),  [OPTION_ARGUMENT] = sizeof(char *),
        [OPTION_PARTS] = sizeof(int64_t),  [OPTION_ARGUMENTS] = sizeof(arguments),
        [OPTION_WHOLE] = sizeof(int64_t),
    };
    for (const option *o = cmd->options; o->name; o++)
        if (is_word_of(words, o->name) == among &&
            memcmp((const char *)fields + o->offset, (const char *)defaults + o->offset, size[o->kind]))
            return o->name;
    return NULL;
}

const char *options_beyond(const command *cmd, const char *allowed, const void *fields, const void *defaults)
{
    return first_given(cmd, allowed, false, fields, defaults);
}

const char *options_among(const command *cmd, const char *words, const void *fields, const void *defaults)
{
    return first_given(cmd, words, true, fields, defaults);
}

static const option *next_argument(const option *o)
{
    while (o->name && o->kind != OPTION_ARGUMENT && o->kind != OPTION_ARGUMENTS) o++;
    return o;
}

bool options_parse(const command *cmd, int argc, char **argv, void *fields)
{
    const option *argument = next_argument(cmd->options);
    bool          options_end = false;
    for (int i = 0; i < argc; i++) {
        const char *arg = argv[i], *value = NULL;
        if (!options_end && !strcmp(arg, "--")) {
            options_end = true;
        } else if (!options_end && arg[0] == '-' && arg[1]) {
            const option *o = find(cmd, arg, &value);
            const char *near = o ? NULL : like(cmd, arg);
            if (near) return usage(cmd, "unknown option '%s'; did you mean --%s?", arg, near), false;
            if (!o) return usage(cmd, "unknown option '%s'", arg), false;
            if (o->kind == OPTION_FLAG && value) return usage(cmd, "--%s takes no value", o->name), false;
            if (o->kind == OPTION_MAYBE && !value) value = "";
            if (o->kind != OPTION_FLAG && !value) {
                if (++i == argc) return usage(cmd, "%s needs a value", arg), false;
                value = argv[i];
            }
            if (!set(cmd, o, value, fields)) return false;
        } else {
            if (!argument->name) return usage(cmd, "unexpected argument '%s'", arg), false;
            const bool more = argument->kind == OPTION_ARGUMENTS;
            if (!(more ? take_more(cmd, argument, argv, argv[i], fields) : set(cmd, argument, arg, fields)))
                return false;
            if (argument->kind == OPTION_ARGUMENT) argument = next_argument(argument + 1);
        }
    }
    if (argument->name && argument->kind == OPTION_ARGUMENT) return usage(cmd, "%s is missing", argument->value), false;
    return true;
}

/* The fewest digits that give the number back. */
static bool real_text(float value, char *text, size_t size)
{
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, size, "%.*g", digits, (double)value);
        const float back = strtof(text, NULL);
        if (back >= value && back <= value) return true;
    }
    return true;
}

bool option_text(const option *o, const void *fields, char *text, size_t size)
{
    const void  *field = (const char *)fields + o->offset;
    const char  *word = NULL;
    switch (o->kind) {
    case OPTION_FLAG: return *(const bool *)field && snprintf(text, size, "yes");
    case OPTION_COUNT:
    case OPTION_WHOLE:
    case OPTION_PARTS:
        return *(const int64_t *)field && snprintf(text, size, "%lld", (long long)*(const int64_t *)field);
    case OPTION_SEED: return snprintf(text, size, "%llu", (unsigned long long)*(const uint64_t *)field);
    case OPTION_POSITIVE:
    case OPTION_FRACTION: return *(const float *)field > 0.0f && real_text(*(const float *)field, text, size);
    case OPTION_TEXT:
    case OPTION_MAYBE:
    case OPTION_CHOICE:
    case OPTION_ARGUMENT: word = *(const char *const *)field; break;
    case OPTION_ARGUMENTS: break; /* a list */
    }
    return word && snprintf(text, size, "%s", word);
}

bool ends_with(const char *name, const char *end)
{
    const size_t length = strlen(name), tail = strlen(end);
    return length > tail && !strcmp(name + length - tail, end);
}

const char *parent_of(const char *path, char *parent, size_t size)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    return snprintf(parent, size, "%.*s.", (int)(name - path), path) < (int)size ? name : NULL;
}

bool same_file(const char *a, const char *b)
{
    const char *const path[2] = {a, b};
    const char       *base[2];
    struct stat       file[2], folder[2];
    int               there = 0;
    for (int i = 0; i < 2; i++) {
        char parent[4096];
        base[i] = parent_of(path[i], parent, sizeof parent);
        if (!base[i] || stat(parent, &folder[i])) return false;
        there += !stat(path[i], &file[i]);
    }
    if (there == 2) return file[0].st_ino == file[1].st_ino && file[0].st_dev == file[1].st_dev;
    return !strcmp(base[0], base[1]) && folder[0].st_ino == folder[1].st_ino && folder[0].st_dev == folder[1].st_dev;
}
