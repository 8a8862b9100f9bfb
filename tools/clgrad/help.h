/* help.h - what a table of options says, as text for a terminal, as a manual page, and as completion for a shell. */
#ifndef HELP_H
#define HELP_H

#include "options.h"

#include <stdio.h>

typedef struct help_row {
    const char *name, *text;
} help_row;

/* Rows that belong to all commands; each list ends with a row without a name. */
extern const help_row help_environment[], help_statuses[];

/* NULL: of the program. */
void help_text(FILE *to, const command *cmd);
void help_manual(FILE *to, const command *cmd); /* roff for man(7) */
void help_completion(FILE *to);                 /* bash */

/* Is the row an argument and no option? */
bool help_is_argument(const option *o);

/* Calls each(user, word, length) for the parts of a text such as "cnn|mlp". */
void help_words(const char *text, void (*each)(void *user, const char *word, int length), void *user);

#endif
