/* main.c - clgrad: lists OpenCL devices, trains networks on them, evaluates models, measures.
 *
 * Exit status: 0 success, 1 a failure at run time, 2 a wrong command line, 3 a training whose loss is no longer a
 * number, 128 + n a training that signal n has stopped, saved. */
#include "help.h"

#include <clgrad/clgrad.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const command *const commands[] = {&command_devices, &command_train, &command_eval, &command_predict, &command_explain,
                                   &command_summary, &command_bench, &command_tune, &command_doctor,  &command_layers,
                                   &command_ops,     &command_help,  NULL};

const command *command_find(const char *name)
{
    const command *const *c = commands;
    while (*c && strcmp((*c)->name, name)) c++;
    return *c;
}

static int run(int argc, char **argv)
{
    if (argc < 2) {
        help_text(stderr, NULL);
        return EXIT_USAGE;
    }
    const char *name = argv[1];
    if (!strcmp(name, "--version")) {
        printf("clgrad %s\n", clg_version());
        return 0;
    }
    if (!strcmp(name, "--help") || !strcmp(name, "-h")) name = "help";
    const command *cmd = command_find(name);
    if (!cmd) return usage(NULL, "unknown %s '%s'", name[0] == '-' ? "option" : "command", name);
    for (int i = 2; i < argc && strcmp(argv[i], "--"); i++) {
        if (strcmp(argv[i], "--help") && strcmp(argv[i], "-h")) continue;
        help_text(stdout, cmd);
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
