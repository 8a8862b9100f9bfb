/* ops.c - clgrad ops: the operators that the library knows, from its own table. */
#include "options.h"
#include "report.h"

#include <cjson/cJSON.h>
#include <clgrad/clgrad.h>
#include <stdio.h>
#include <string.h>

typedef struct ops_options {
    bool markdown, json;
} ops_options;

#define FIELD(name) offsetof(ops_options, name)

static const option options[] = {
    {"markdown", OPTION_FLAG, FIELD(markdown), NULL, "names by kind, as in the README", 0, 0},
    {"json", OPTION_FLAG, FIELD(json), NULL, "one JSON array instead of text", 0, 0},
    {0},
};

typedef enum kind { POINTWISE, VIEW, KERNELS, NO_GRADIENT, KINDS } kind;

static const char *const kinds[KINDS] = {
    [POINTWISE] = "Pointwise, chains of them one kernel",
    [VIEW] = "Views, without a kernel",
    [KERNELS] = "With kernels of their own",
    [NO_GRADIENT] = "Without a gradient of their own",
};

static kind kind_of(const clg_op_info *op)
{
    return !op->differentiable ? NO_GRADIENT : op->pointwise ? POINTWISE : op->view ? VIEW : KERNELS;
}

static void print_markdown(void)
{
    clg_op_info op;
    for (int k = 0; k < KINDS; k++) {
        int column = printf("- %s:", kinds[k]);
        for (size_t i = 0; clg_op_info_get(i, &op); i++) {
            if ((int)kind_of(&op) != k) continue;
            const int width = (int)strlen(op.name) + 3;
            if (column + width > 120) column = printf("\n ") - 1;
            column += printf(" `%s`", op.name);
        }
        putchar('\n');
    }
}

static int print_json(void)
{
    clg_op_info op;
    cJSON      *all = cJSON_CreateArray();
    for (size_t i = 0; clg_op_info_get(i, &op); i++) {
        cJSON *object = cJSON_CreateObject();
        cJSON_AddStringToObject(object, "name", op.name);
        cJSON_AddNumberToObject(object, "inputs", op.inputs);
        cJSON_AddBoolToObject(object, "differentiable", op.differentiable);
        cJSON_AddBoolToObject(object, "pointwise", op.pointwise);
        cJSON_AddBoolToObject(object, "in_place", op.in_place);
        cJSON_AddBoolToObject(object, "view", op.view);
        cJSON_AddItemToArray(all, object);
    }
    return report_json(&command_ops, all);
}

static void print_table(void)
{
    clg_op_info op;
    printf("%-26s %-7s %-9s %-10s %s\n", "operator", "inputs", "gradient", "pointwise", "in place");
    for (size_t i = 0; clg_op_info_get(i, &op); i++) {
        char inputs[16] = "any";
        if (op.inputs >= 0) snprintf(inputs, sizeof inputs, "%d", op.inputs);
        printf("%-26s %-7s %-9s %-10s %s\n", op.name, inputs, op.differentiable ? "yes" : "no",
               op.pointwise ? "yes" : "no",
               op.in_place ? "yes"
               : op.view   ? "view"
                           : "no");
    }
}

static int run(int argc, char **argv)
{
    ops_options o = {0};
    if (!options_parse(&command_ops, argc, argv, &o)) return EXIT_USAGE;
    if (o.markdown && o.json) return usage(&command_ops, "--markdown and --json exclude each other");
    if (o.json) return print_json();
    if (o.markdown) print_markdown();
    else print_table();
    return 0;
}

const command command_ops = {
    "ops", "List the operators", options, run,
    "What graphs are made of: how many inputs each operator has, and whether it has a gradient, is pointwise, "
    "can work in place.",
    "  clgrad ops\n"
    "  clgrad ops --json\n",
};
