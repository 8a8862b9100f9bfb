/* manual.c - pages in the macros of man(7): clgrad(1) and clgrad-COMMAND(1). Characters that roff would take for its
 * own or show as another are written by their names; a line never begins with a control character. */
#include "help.h"

#include <clgrad/clgrad.h>
#include <ctype.h>
#include <string.h>

static void text_of(FILE *to, const char *text, size_t length)
{
    static const struct {
        char        from;
        const char *to;
    } names[] = {{'\\', "\\e"},   {'-', "\\-"},   {'\'', "\\(aq"}, {'`', "\\(ga"},
                 {'^', "\\(ha"}, {'~', "\\(ti"}, {'"', "\\(dq"}};
    if (length && (*text == '.' || *text == '\'')) fputs("\\&", to);
    for (size_t i = 0; i < length; i++) {
        const char *name = NULL;
        for (size_t k = 0; k < sizeof names / sizeof names[0]; k++)
            if (names[k].from == text[i]) name = names[k].to;
        if (name) fputs(name, to);
        else fputc(text[i], to);
        if (text[i] == '\n' && i + 1 < length && (text[i + 1] == '.' || text[i + 1] == '\'')) fputs("\\&", to);
    }
}

static void text(FILE *to, const char *words) { text_of(to, words, strlen(words)); }

static void bold(FILE *to, const char *words, size_t length)
{
    fputs("\\fB", to);
    text_of(to, words, length);
    fputs("\\fR", to);
}

static void italic(FILE *to, const char *words)
{
    fputs("\\fI", to);
    text(to, words);
    fputs("\\fR", to);
}

static void sentence(FILE *to, const char *words)
{
    text(to, words);
    fputs(words[strlen(words) - 1] == '.' ? "\n" : ".\n", to);
}

static void choice(void *user, const char *word, int length)
{
    FILE *to = user;
    bold(to, word, (size_t)length);
    if (word[length]) fputc('|', to);
}

static void option_row(FILE *to, const option *o)
{
    fputs(".TP\n", to);
    if (help_is_argument(o)) {
        italic(to, o->value);
    } else {
        if (o->letter) {
            fputs("\\fB\\-", to);
            fprintf(to, "%c\\fR, ", o->letter);
        }
        fputs("\\fB\\-\\-", to);
        text(to, o->name);
        fputs("\\fR", to);
        if (o->value && o->kind != OPTION_MAYBE) fputc(' ', to);
        if (o->kind == OPTION_CHOICE) help_words(o->value, choice, to);
        else if (o->value) italic(to, o->value);
    }
    fputc('\n', to);
    sentence(to, o->help);
}

static void rows(FILE *to, const char *title, const help_row *r)
{
    fprintf(to, ".SH %s\n", title);
    for (; r->name; r++) {
        fputs(".TP\n", to);
        bold(to, r->name, strlen(r->name));
        fputc('\n', to);
        sentence(to, r->text);
    }
}

static void see_also(FILE *to, const command *but)
{
    fputs(".SH SEE ALSO\n", to);
    if (but) fputs(".BR clgrad (1)", to);
    for (const command *const *c = commands; *c; c++)
        if (*c != but) fprintf(to, "%s.BR clgrad\\-%s (1)", but || c != commands ? ",\n" : "", (*c)->name);
    fputc('\n', to);
}

static void heading(FILE *to, const command *cmd)
{
    char title[64];
    snprintf(title, sizeof title, "clgrad%s%s", cmd ? "-" : "", cmd ? cmd->name : "");
    for (char *at = title; *at; at++) *at = (char)toupper((unsigned char)*at);
    fputs(".\\\" Made by clgrad help \\-\\-man.\n.TH ", to);
    text(to, title);
    fprintf(to, " 1 \"\" \"clgrad %s\" \"User Commands\"\n.SH NAME\n", clg_version());
}

static void program_manual(FILE *to)
{
    heading(to, NULL);
    fputs(
        "clgrad \\- train neural networks on any OpenCL device\n"
        ".SH SYNOPSIS\n\\fBclgrad\\fR \\fICOMMAND\\fR [\\fIoptions\\fR]\n"
        ".SH DESCRIPTION\nTrains, evaluates and measures neural networks on GPUs and CPUs that have an OpenCL driver.\n"
        "Each command has a page of its own.\n.SH COMMANDS\n",
        to);
    for (const command *const *c = commands; *c; c++) {
        fprintf(to, ".TP\n.BR clgrad\\-%s (1)\n", (*c)->name);
        sentence(to, (*c)->summary);
    }
    fputs(".SH OPTIONS\n.TP\n\\fB\\-h\\fR, \\fB\\-\\-help\\fR\nThe list of commands; after a command, its options.\n"
          ".TP\n\\fB\\-\\-version\\fR\nThe library\\(aqs version.\n", to);
}

void help_manual(FILE *to, const command *cmd)
{
    if (!cmd) {
        program_manual(to);
    } else {
        heading(to, cmd);
        fprintf(to, "clgrad\\-%s \\- ", cmd->name);
        fputc(tolower((unsigned char)cmd->summary[0]), to);
        text(to, cmd->summary + 1);
        fprintf(to, "\n.SH SYNOPSIS\n\\fBclgrad %s\\fR", cmd->name);
        for (const option *o = cmd->options; o->name; o++)
            if (help_is_argument(o)) fputc(' ', to), italic(to, o->value);
        fputs(cmd->options->name ? " [\\fIoptions\\fR]\n.SH DESCRIPTION\n" : "\n.SH DESCRIPTION\n", to);
        sentence(to, cmd->summary);
        if (cmd->more) fputs(".PP\n", to), sentence(to, cmd->more);
        if (cmd->options->name) fputs(".SH OPTIONS\n", to);
        for (const option *o = cmd->options; o->name; o++) option_row(to, o);
        if (cmd->examples) {
            fputs(".SH EXAMPLES\n.nf\n", to);
            text(to, cmd->examples);
            fputs(".fi\n", to);
        }
    }
    rows(to, "ENVIRONMENT", help_environment);
    rows(to, "EXIT STATUS", help_statuses);
    see_also(to, cmd);
}
