/* completion.c - a shell function with a case for each option that takes a value. What a value may be follows from the
 * words of the table, or from what the help calls it: FILE and its like are completed as paths, DEVICE by the two that
 * are always understood. It needs nothing but bash; "--name=value" arrives as three words and is taken for two. */
#include "help.h"
#include "network.h"

#include <clgrad/clgrad.h>
#include <string.h>

/* What the help calls a value, the words that it may be, and the paths: 'f' files, 'd' directories, 0 none. */
static const struct {
    const char *name, *words;
    char        paths;
} values[] = {
    {"DATA", "fashion-mnist", 'f'}, {"DEVICE", "gpu|cpu", 0}, {"DIR", "", 'd'}, {"FILE", "", 'f'}, {"IMAGE", "", 'f'},
    {"INPUT", "", 'f'}, {"MODEL", "", 'f'}, {"NETWORK", NETWORK_NAMES, 'f'}, {"WEIGHTS", "balanced", 0},
};

static void word(void *user, const char *text, int length) { fprintf(user, "%.*s ", length, text); }

static void command_names(FILE *to)
{
    for (const command *const *c = commands; *c; c++) fprintf(to, "%s ", (*c)->name);
}

/* Assignments for a value: of `words`, where there are some, and of `paths`. */
static void value(FILE *to, const option *o)
{
    const char  *name = o->value + strspn(o->value, "[=");
    const size_t length = strcspn(name, "].");
    const bool   is_choice = o->kind == OPTION_CHOICE, is_command = length == 7 && !strncmp(name, "COMMAND", length);
    const char  *words = is_choice ? o->value : "";
    char         paths = 0;
    for (size_t i = 0; !is_choice && i < sizeof values / sizeof values[0]; i++)
        if (strlen(values[i].name) == length && !strncmp(values[i].name, name, length))
            words = values[i].words, paths = values[i].paths;
    if (*words || is_command) fputs("words='", to);
    help_words(words, word, to);
    if (is_command) command_names(to);
    if (*words || is_command) fputs("' ", to);
    if (paths) fprintf(to, "paths=%c ", paths);
}

void help_completion(FILE *to)
{
    fprintf(to, "# bash completion of clgrad %s, made by clgrad help --completion bash\n\n"
                "_clgrad()\n{\n"
                "    local cur=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD - 1]} sign= words= paths=\n"
                "    COMPREPLY=()\n"
                "    if [[ $cur == '=' ]]; then cur= sign==\n"
                "    elif [[ $option == '=' ]]; then option=${COMP_WORDS[COMP_CWORD - 2]} sign==\n"
                "    fi\n"
                "    case $COMP_CWORD$sign:${COMP_WORDS[1]}:$option in\n"
                "    1:*) words='", clg_version());
    command_names(to);
    fputs("--help --version' ;;\n", to);
    for (const command *const *c = commands; *c; c++)
        for (const option *o = (*c)->options; o->name; o++) {
            if (help_is_argument(o) || !o->value) continue;
            fprintf(to, "    *%s:%s:--%s", o->kind == OPTION_MAYBE ? "=" : "", (*c)->name, o->name);
            if (o->letter) fprintf(to, " | *:%s:-%c", (*c)->name, o->letter);
            fputs(") ", to);
            value(to, o);
            fputs(";;\n", to);
        }
    for (const command *const *c = commands; *c; c++) {
        fprintf(to, "    *:%s:*)\n        if [[ $cur == -* ]]; then words='--help ", (*c)->name);
        const option *argument = NULL;
        for (const option *o = (*c)->options; o->name; o++)
            if (!help_is_argument(o)) fprintf(to, "--%s ", o->name);
            else argument = o;
        fputs("'", to);
        if (argument) fputs("\n        else ", to), value(to, argument);
        fputs("\n        fi ;;\n", to);
    }
    fputs("    esac\n"
          "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\"\n"
          "        [[ -z $paths ]] || compgen -\"$paths\" -- \"$cur\")\n"
          "    [[ -z $paths ]] || compopt -o filenames 2>/dev/null\n"
          "    return 0\n"
          "}\n\ncomplete -F _clgrad clgrad\n", to);
}
