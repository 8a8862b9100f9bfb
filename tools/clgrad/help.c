/* help.c - clgrad help, and what --help prints: each is made from the tables that parse the command line. */
#include "help.h"

#include <clgrad/clgrad.h>
#include <string.h>

typedef struct help_options {
    const char *completion;
    arguments   command;
    bool        man;
} help_options;

#define FIELD(name) offsetof(help_options, name)

static const option options[] = {
    {"command", OPTION_ARGUMENTS, FIELD(command), "[COMMAND]",
     "which command's options to show (default: all commands)", 0, 0},
    {"man", OPTION_FLAG, FIELD(man), NULL, "as a manual page, for man -l", 0, 0},
    {"completion", OPTION_CHOICE, FIELD(completion), "bash", "print what completes clgrad's command lines", 0, 0},
    {0},
};

const help_row help_environment[] = {
    {"CLGRAD_DEVICE", "the device to use, as --device"},
    {"CLGRAD_PROFILE", "how kernels are shaped: cpu, gpu, key=value,... (clgrad devices -v shows it)"},
    {"CLGRAD_CL_DIR", "a directory with kernels to be used in place of those in the program"},
    {"CLGRAD_REWRITE", "0: plans fuse nothing"},
    {"CLGRAD_DUMP_PROGRAMS", "a directory to which the source of every program in use is written"},
    {"CLGRAD_STREAM", "1: training data stay on the host, as with train --stream"},
    {"XDG_CACHE_HOME", "where the directory clgrad of built kernels and tuned choices is (default ~/.cache)"},
    {0},
};

const help_row help_statuses[] = {
    {"0", "success"},
    {"1", "a failure at run time, told on standard error"},
    {"2", "a wrong command line"},
    {"3", "train: the loss is no longer a number; neither the model nor a checkpoint is overwritten by that"},
    {"130, 143", "train: stopped by Ctrl-C or SIGTERM after a step; what is learnt so far is saved"},
    {0},
};

bool help_is_argument(const option *o) { return o->kind == OPTION_ARGUMENT || o->kind == OPTION_ARGUMENTS; }

void help_words(const char *text, void (*each)(void *user, const char *word, int length), void *user)
{
    for (size_t length; *text; text += length + (text[length] == '|')) {
        length = strcspn(text, "|");
        each(user, text, (int)length);
    }
}

enum { WIDTH = 96, INDENT = 25 };

/* Words from `column` on; further lines begin at `indent`. */
static void wrapped(FILE *to, const char *text, int column, int indent)
{
    for (bool first = true; *text; first = false) {
        const int length = (int)strcspn(text, " ");
        if (!first && column + 1 + length > WIDTH) column = fprintf(to, "\n%*s", indent, "") - 1;
        else if (!first) column += fprintf(to, " ");
        column += fprintf(to, "%.*s", length, text);
        text += length + (text[length] == ' ');
    }
    fputc('\n', to);
}

static void row(FILE *to, const char *left, const char *text)
{
    fprintf(to, "  %-22s", left);
    if (strlen(left) > 22) fprintf(to, "\n  %22s", "");
    fputc(' ', to);
    wrapped(to, text, INDENT, INDENT);
}

static void rows(FILE *to, const char *title, const help_row *r)
{
    fprintf(to, "\n%s:\n", title);
    for (; r->name; r++) row(to, r->name, r->text);
}

static void program_text(FILE *to)
{
    fputs("Usage: clgrad COMMAND [options]\n\nTrain neural networks on any OpenCL device.\n\n", to);
    for (const command *const *c = commands; *c; c++) row(to, (*c)->name, (*c)->summary);
    row(to, "--version", "The library's version");
    rows(to, "Environment", help_environment);
    rows(to, "Exit status", help_statuses);
}

void help_text(FILE *to, const command *cmd)
{
    if (!cmd) {
        program_text(to);
        return;
    }
    fprintf(to, "Usage: clgrad %s", cmd->name);
    for (const option *o = cmd->options; o->name; o++)
        if (help_is_argument(o)) fprintf(to, " %s", o->value);
    fprintf(to, "%s\n\n%s.\n", cmd->options->name ? " [options]" : "", cmd->summary);
    if (cmd->more) fputc('\n', to), wrapped(to, cmd->more, 0, 0);
    if (cmd->options->name) fputc('\n', to);
    for (const option *o = cmd->options; o->name; o++) {
        char left[256], letter[8] = "";
        if (o->letter) snprintf(letter, sizeof letter, "-%c, ", o->letter);
        if (help_is_argument(o)) snprintf(left, sizeof left, "%s", o->value);
        else snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name, o->value && o->kind != OPTION_MAYBE ? " " : "",
                      o->value ? o->value : "");
        row(to, left, o->help);
    }
    if (cmd->examples) fprintf(to, "\nExamples:\n%s", cmd->examples);
}

static int run(int argc, char **argv)
{
    help_options o = {0};
    if (!options_parse(&command_help, argc, argv, &o)) return EXIT_USAGE;
    const char    *name = o.command.count ? o.command.at[0] : NULL;
    const command *cmd = name ? command_find(name) : NULL;
    if (o.command.count > 1) return usage(&command_help, "unexpected argument '%s'", o.command.at[1]);
    if (name && !cmd) return usage(NULL, "unknown command '%s'", name);
    if (o.completion && (name || o.man))
        return usage(&command_help, "--completion is of all commands: leave out the rest");
    if (o.completion) help_completion(stdout);
    else if (o.man) help_manual(stdout, cmd);
    else help_text(stdout, cmd);
    return 0;
}

const command command_help = {
    "help", "This text, or a command's options", options, run,
    "All of it is made from the tables that the command lines are parsed by.",
    "  clgrad help train\n"
    "  clgrad help --man train | man -l -\n"
    "  source <(clgrad help --completion bash)\n",
};
