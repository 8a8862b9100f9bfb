/* tune.c - clgrad tune: measures which matrix products are fastest on this device, and keeps what it found. */
#include "keeper.h"
#include "report.h"
#include "source.h"

#include <cjson/cJSON.h>
#include <stdio.h>

typedef struct tune_options {
    const char *device;
    float       budget;
    bool        json, dry_run, forget;
} tune_options;

#define FIELD(name) offsetof(tune_options, name)

static const option options[] = {
    OPTION_DEVICE_ROW(FIELD(device)),
    {"budget", OPTION_POSITIVE, FIELD(budget), "SECONDS", "stop after so many (default: 120); go on another time", 0,
     0},
    {"dry-run", OPTION_FLAG, FIELD(dry_run), NULL, "measure, and keep nothing", 0, 0},
    {"forget", OPTION_FLAG, FIELD(forget), NULL, "measure nothing, and remove what was kept for the device", 0, 0},
    OPTION_JSON_ROW(FIELD(json)),
    {0},
};

static void print_row(void *user, const clg_tune_row *row)
{
    (void)user;
    char ratio[32] = "stays";
    if (row->ratio > 1.0) snprintf(ratio, sizeof ratio, "%.2f times as fast", row->ratio);
    printf("%-26s %2d candidates", row->what, row->candidates);
    if (row->refused) printf(", %d wrong or impossible", row->refused);
    if (row->unfinished) printf(", others another time");
    if (row->gflops > 0.0) printf(", %.1f GFLOP/s", row->gflops);
    printf(": %s%s%s: %s\n", row->untuned, row->ratio > 1.0 ? " -> " : "", row->ratio > 1.0 ? row->winner : "", ratio);
    fflush(stdout);
}

static void add_row(void *rows, const clg_tune_row *row)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "what", row->what);
    cJSON_AddStringToObject(object, "untuned", row->untuned);
    cJSON_AddStringToObject(object, "winner", row->winner);
    cJSON_AddNumberToObject(object, "candidates", row->candidates);
    cJSON_AddNumberToObject(object, "refused", row->refused);
    cJSON_AddBoolToObject(object, "unfinished", row->unfinished);
    cJSON_AddNumberToObject(object, "ratio", row->ratio);
    cJSON_AddNumberToObject(object, "gflops", row->gflops);
    cJSON_AddItemToArray(rows, object);
}

static int print_json(cJSON *rows, const clg_tune_result *r, const clg_device_info *device, const char *file)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "device", device->name);
    cJSON_AddItemToObject(object, "rows", rows);
    cJSON_AddNumberToObject(object, "measured", r->measured);
    cJSON_AddNumberToObject(object, "classes", r->classes);
    cJSON_AddNumberToObject(object, "choices", r->choices);
    cJSON_AddNumberToObject(object, "seconds", r->seconds);
    cJSON_AddStringToObject(object, "file", file);
    return report_json(&command_tune, object);
}

static int tune(void *user, clg_context *ctx, const char *file)
{
    const tune_options *o = user;
    const command  *cmd = &command_tune;
    clg_tune_result result;
    cJSON          *rows = o->json ? cJSON_CreateArray() : NULL;
    const clg_device_info *device = clg_context_device(ctx);
    if (!o->json) printf("%s, profile %s, %s\n", device->name, device->profile.base, device->driver);
    const clg_tune_desc desc = {.budget = (double)o->budget, .dry_run = o->dry_run, .user = rows,
                                .report = o->json ? add_row : print_row};
    if (clg_context_tune(ctx, &desc, &result) != CLG_OK) {
        cJSON_Delete(rows);
        return fail_context(cmd, ctx);
    }
    if (o->json) return print_json(rows, &result, device, o->dry_run ? "" : file);
    printf("%d of %d classes of products measured in %.0f s; ", result.measured, result.classes, result.seconds);
    if (o->dry_run) printf("nothing kept\n");
    else printf("%d choices kept in %s\n", result.choices, file);
    return 0;
}

static void place(const clg_device_list *list, const clg_device_info *device, char *file, size_t size)
{
    clg_tuning_choices(list, device, file, size);
}

static int run(int argc, char **argv)
{
    tune_options o = {0};
    if (!options_parse(&command_tune, argc, argv, &o)) return EXIT_USAGE;
    if (o.forget && (o.budget > 0.0f || o.dry_run || o.json))
        return usage(&command_tune, "--forget measures nothing: leave out the other options");
    const keeper k = {.cmd = &command_tune,
                      .context.device = o.device,
                      .forget = o.forget,
                      .nothing = "no choices are kept",
                      .place = place,
                      .find_out = tune};
    return keeper_run(&k, &o);
}

const command command_tune = {
    "tune", "Measure matrix products, and keep the fastest choices", options, run,
    "Engines and tiles are compared for each class of shapes, and what is wrong on this device is left out. What "
    "is kept lies in the cache directory and is used from then on; another run goes on where the last one "
    "stopped.",
    "  clgrad tune --budget 120\n"
    "  clgrad tune --dry-run --budget 20 --json\n"
    "  clgrad tune --forget\n",
};
