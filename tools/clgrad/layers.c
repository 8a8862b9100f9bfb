/* layers.c - clgrad layers: what a SPEC can be made of, from the table that reads it. */
#include "options.h"
#include "spec.h"

#include <stdio.h>

static const option options[] = {{0}};

static void print_argument(const spec_argument *a)
{
    static const char *const form[] = {[SPEC_WHOLE] = "whole", [SPEC_UNITS] = "whole, or classes", [SPEC_PAIR] = "whole, or HxW",
                                       [SPEC_PAD] = "whole, HxW, or same", [SPEC_REAL] = "number"};
    printf("      %-10s %s, %.9g to %.9g", a->name, form[a->type], a->least, a->most);
    if (a->optional && a->preset != 0.0) printf("; %.9g unless given", a->preset);
    else if (a->optional) printf("; may be left out");
    putchar('\n');
}

static int run(int argc, char **argv)
{
    if (!options_parse(&command_layers, argc, argv, NULL)) return EXIT_USAGE;
    puts("A SPEC is a list of layers, such as\n"
         "    conv2d(32,3) relu max_pool2d(2) flatten linear(128) relu dropout(0.5) linear(classes)\n"
         "Values come in this order or by name, conv2d(32,3,pad=same). NAME:layer names its parameters. In a file, # begins a\n"
         "comment. The first axis of every shape, N, counts the examples. Layers:\n");
    for (const spec_kind *kind = spec_kinds; kind->name; kind++) {
        printf("  %-22s %s\n", kind->name, kind->help);
        for (const spec_argument *a = kind->argument; a->type != SPEC_END; a++) print_argument(a);
    }
    return 0;
}

const command command_layers = {
    "layers", "List the layers that train --model takes", options, run,
    NULL,
    "  clgrad layers\n"
    "  clgrad train --model \"conv2d(16,3,pad=same) relu global_avg_pool2d linear(classes)\"\n",
};
