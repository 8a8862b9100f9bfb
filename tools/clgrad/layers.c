/* layers.c - clgrad layers: what a SPEC can be made of, from the table that reads it. */
#include "options.h"
#include "report.h"
#include "spec.h"

#include <cjson/cJSON.h>
#include <stdio.h>

typedef struct layers_options {
    bool json;
} layers_options;

static const option options[] = {
    {"json", OPTION_FLAG, offsetof(layers_options, json), NULL, "one JSON array instead of text", 0, 0},
    {0},
};

static const char *const forms[] = {[SPEC_WHOLE] = "whole",
                                    [SPEC_UNITS] = "whole, or classes",
                                    [SPEC_PAIR] = "whole, or HxW",
                                    [SPEC_PAD] = "whole, HxW, or same",
                                    [SPEC_REAL] = "number"};

static void print_argument(const spec_argument *a)
{
    printf("      %-10s %s, %.9g to %.9g", a->name, forms[a->type], a->least, a->most);
    if (a->optional && a->preset != 0.0) printf("; %.9g unless given", a->preset);
    else if (a->optional) printf("; may be left out");
    putchar('\n');
}

static int print_json(void)
{
    cJSON *all = cJSON_CreateArray();
    for (const spec_kind *kind = spec_kinds; kind->name; kind++) {
        cJSON *object = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(object, "arguments");
        cJSON_AddStringToObject(object, "name", kind->name);
        cJSON_AddStringToObject(object, "help", kind->help);
        for (const spec_argument *a = kind->argument; a->type != SPEC_END; a++) {
            cJSON *one = cJSON_CreateObject();
            cJSON_AddStringToObject(one, "name", a->name);
            cJSON_AddStringToObject(one, "form", forms[a->type]);
            cJSON_AddNumberToObject(one, "least", a->least);
            cJSON_AddNumberToObject(one, "most", a->most);
            cJSON_AddBoolToObject(one, "optional", a->optional);
            if (a->optional) cJSON_AddNumberToObject(one, "preset", a->preset);
            cJSON_AddItemToArray(list, one);
        }
        cJSON_AddItemToArray(all, object);
    }
    return report_json(&command_layers, all);
}

static int run(int argc, char **argv)
{
    layers_options o = {0};
    if (!options_parse(&command_layers, argc, argv, &o)) return EXIT_USAGE;
    if (o.json) return print_json();
    puts(
        "A SPEC is a list of layers, such as\n"
        "    conv2d(32,3) relu max_pool2d(2) flatten linear(128) relu dropout(0.5) linear(classes)\n"
        "Values come in this order or by name, conv2d(32,3,pad=same). NAME:layer names its parameters. In a file, # "
         "begins a\n"
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
    "  clgrad layers --json\n"
    "  clgrad train --model \"conv2d(16,3,pad=same) relu global_avg_pool2d linear(classes)\"\n",
};
