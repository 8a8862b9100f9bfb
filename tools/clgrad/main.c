/* main.c - clgrad: lists OpenCL devices, trains networks on them, evaluates models, measures.
 *
 * Exit status: 0 success, 1 a failure at run time, 2 a wrong command line, 3 a training whose loss is no longer a number, 128 + n
 * a training that signal n has stopped, saved. */
#include "options.h"

#include <clgrad/clgrad.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const command *const commands[] = {&command_devices, &command_train, &command_eval, &command_predict, &command_explain, &command_summary, &command_bench,
                                         &command_tune, &command_layers, &command_ops};

enum { COMMANDS = sizeof commands / sizeof commands[0] };

static const command *find(const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++)
        if (!strcmp(commands[i]->name, name)) return commands[i];
    return NULL;
}

static void help(FILE *to)
{
    fprintf(to, "Usage: clgrad COMMAND [options]\n\n"
                "Train neural networks on any OpenCL device.\n\n");
    for (size_t i = 0; i < COMMANDS; i++) fprintf(to, "  %-22s %s\n", commands[i]->name, commands[i]->summary);
    fprintf(to, "  %-22s %s\n"
                "  %-22s %s\n\n"
                "Exit status: 1 failure, 2 wrong command line, 3 a training's loss is no longer a number, 130 or 143 stopped and saved.\n"
                "Environment: CLGRAD_DEVICE (as --device), CLGRAD_PROFILE (cpu, gpu, key=value,...; see devices -v).\n",
            "help [COMMAND]", "This text, or a command's options", "--version", "The library's version");
}

static int run(int argc, char **argv)
{
    if (argc < 2) {
        help(stderr);
        return EXIT_USAGE;
    }
    const char *name = argv[1];
    if (!strcmp(name, "--version")) {
        printf("clgrad %s\n", clg_version());
        return 0;
    }
    if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
        if (argc < 3) {
            help(stdout);
            return 0;
        }
        const command *cmd = find(argv[2]);
        if (!cmd) return usage(NULL, "unknown command '%s'", argv[2]);
        options_help(cmd);
        return 0;
    }
    const command *cmd = find(name);
    if (!cmd) return usage(NULL, "unknown %s '%s'", name[0] == '-' ? "option" : "command", name);
    for (int i = 2; i < argc && strcmp(argv[i], "--"); i++) {
        if (strcmp(argv[i], "--help") && strcmp(argv[i], "-h")) continue;
        options_help(cmd);
        return 0;
    }
    return cmd->run(argc - 2, argv + 2);
}

int main(int argc, char **argv)
{
    for (int fd = 0; fd <= 2; fd++) /* a file opened later must not take the place of a closed standard stream */
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) < 0) return EXIT_RUN;
    const int status = run(argc, argv);
    errno = 0;
    if ((fflush(stdout) || ferror(stdout)) && !status)
        return fail(NULL, "cannot write to standard output: %s", errno ? strerror(errno) : "write error");
    return status;
}
