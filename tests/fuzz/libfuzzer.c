/* libfuzzer.c - what libFuzzer calls: the target that the executable is named after, fuzz_<target>. */
#include "fuzz.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static const fuzz_target *target = fuzz_targets;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    const char *name = strstr((*argv)[0], "fuzz_");
    for (const char *next = name; next; next = strstr(next + 1, "fuzz_")) name = next;
    while (name && target->name && strcmp(target->name, name + strlen("fuzz_")) != 0) target++;
    if (name && target->name) return 0;
    fprintf(stderr, "%s: no such target\n", (*argv)[0]);
    exit(2);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    target->run(bytes, size);
    return 0;
}
