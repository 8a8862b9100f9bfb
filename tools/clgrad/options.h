/* options.h - a command line by one table: the same rows parse it, check it and print its help. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a value must be, and the type of its field. */
typedef enum option_kind {
    OPTION_FLAG,     /* bool: takes no value */
    OPTION_TEXT,     /* const char *: not empty */
    OPTION_MAYBE,    /* const char *: "--name=value", or "--name" alone: "" */
    OPTION_CHOICE,   /* const char *: one of the words of `value`, "cnn|mlp" */
    OPTION_COUNT,    /* int64_t: 1 to `most` (0: any) */
    OPTION_PARTS,    /* int64_t: 2 to `most` */
    OPTION_WHOLE,    /* int64_t: 0 to `most` */
    OPTION_SEED,     /* uint64_t */
    OPTION_POSITIVE, /* float: more than 0, finite */
    OPTION_FRACTION, /* float: 0 to less than 1 */
    OPTION_ARGUMENT, /* const char *: not an option; rows of this kind take the arguments in turn, and all are needed */
    OPTION_ARGUMENTS, /* arguments: the last row of these, which takes all the others, if any */
} option_kind;

typedef struct arguments {
    char **at;
    int    count;
} arguments;

typedef struct option {
    const char *name; /* without its dashes */
    option_kind kind;
    size_t      offset; /* of its field in the command's options */
    const char *value;  /* what the help calls its value */
    const char *help;
    int64_t     most;
    char        letter; /* "-v"; 0: none */
} option;

typedef struct command {
    const char   *name, *summary;
    const option *options; /* ends with a row without a name */
    int (*run)(int argc, char **argv);
    const char   *more;     /* a paragraph below the summary, or NULL */
    const char   *examples; /* lines, each indented by two blanks, or NULL */
} command;

/* Rows of many tables; `offset` is that of the field. */
#define OPTION_DEVICE_ROW(offset) \
    { \
        "device", OPTION_TEXT, offset, "DEVICE", "P:D, gpu, cpu, or part of a name (default: the best)", 0, 0 \
    }
#define OPTION_JSON_ROW(offset)   {"json", OPTION_FLAG, offset, NULL, "one JSON object instead of text", 0, 0}
#define OPTION_MODEL_ROW(offset) \
    { \
        "model", OPTION_ARGUMENT, offset, "MODEL", "a file that clgrad train has written", 0, 0 \
    }

extern const command command_devices, command_train, command_eval, command_predict, command_bench, command_layers,
    command_summary, command_explain, command_tune, command_ops, command_doctor, command_help;
extern const command *const commands[]; /* all of them, then NULL */

const command *command_find(const char *name); /* NULL: there is none */

enum { EXIT_RUN = 1, EXIT_USAGE = 2, EXIT_NOT_FINITE = 3 };

/* Fills the struct at `fields`. False when the arguments are wrong (said on standard error). */
bool options_parse(const command *cmd, int argc, char **argv, void *fields);

/* The first option whose field differs from that of `defaults` and that is not among the words of `allowed`, "data|lr";
 * NULL: there is none. */
const char *options_beyond(const command *cmd, const char *allowed, const void *fields, const void *defaults);

/* The first that differs and is among `words`. */
const char *options_among(const command *cmd, const char *words, const void *fields, const void *defaults);

/* What an option is set to, as it would be given; false when it is not, its field being zero. */
bool option_text(const option *o, const void *fields, char *text, size_t size);

/* Say what went wrong on standard error, after the command's name; return the exit status. */
int fail(const command *cmd, const char *format, ...) __attribute__((format(printf, 2, 3)));
int usage(const command *cmd, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Says what goes wrong and does not end anything. */
void warn(const command *cmd, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The directory that a path names a file in, which can be looked into ("dir/."); returns the name there, or NULL: too long. */
const char *parent_of(const char *path, char *parent, size_t size);

/* Do two paths, of files that need not be there yet, name the same one? */
bool same_file(const char *a, const char *b);

/* Is `end` what a longer name ends with? */
bool ends_with(const char *name, const char *end);

#endif
