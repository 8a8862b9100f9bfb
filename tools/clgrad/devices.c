/* devices.c - clgrad devices: what can be trained on, as a tree or as JSON.
 *
 * Which ICD loader is in use is read off the shared objects of this process, so it works with any loader. */
#define _GNU_SOURCE /* dl_iterate_phdr */
#include "options.h"
#include "report.h"

#include <cjson/cJSON.h>
#include <clgrad/clgrad.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct devices_options {
    const char *device;
    bool        verbose, json;
} devices_options;

#define FIELD(name) offsetof(devices_options, name)

static const option options[] = {
    {"device", OPTION_TEXT, FIELD(device), "DEVICE", "mark this one: P:D, gpu, cpu, or part of a name", 0, 0},
    {"verbose", OPTION_FLAG, FIELD(verbose), NULL, "what matters for training", 0, 'v'},
    OPTION_JSON_ROW(FIELD(json)),
    {0},
};

/* What the ICD loaders, pocl and clgrad itself listen to. */
static const char *const variables[] = {
    "CLGRAD_DEVICE", "CLGRAD_PROFILE", "CLGRAD_CL_DIR", "CLGRAD_REWRITE", "OCL_ICD_VENDORS", "OCL_ICD_FILENAMES",
    "OPENCL_VENDOR_PATH", "OPENCL_LAYERS", "OCL_ICD_DEBUG", "OCL_ICD_ENABLE_TRACE", "POCL_DEVICES",
    "POCL_MAX_PTHREAD_COUNT", "POCL_CACHE_DIR", "POCL_KERNEL_CACHE", "RUSTICL_ENABLE", "XDG_CACHE_HOME",
};

enum { VARIABLES = sizeof variables / sizeof variables[0] };

/* Extensions that change what a device can do in training; clgrad needs none of them. */
static const char *const telling[] = {"cl_khr_fp16", "cl_khr_fp64", "cl_khr_subgroups", "cl_intel_subgroups"};

enum { TELLING = sizeof telling / sizeof telling[0] };

static bool has_extension(const clg_device_info *d, const char *name)
{
    const size_t length = strlen(name);
    for (const char *at = d->extensions; (at = strstr(at, name)); at += length)
        if ((at == d->extensions || at[-1] == ' ') && (at[length] == ' ' || !at[length])) return true;
    return false;
}

static int note_loader(struct dl_phdr_info *info, size_t size, void *path)
{
    (void)size;
    if (!info->dlpi_name || !strstr(info->dlpi_name, "libOpenCL.so")) return 0;
    *(const char **)path = info->dlpi_name;
    return 1;
}

static const char *loader(void)
{
    const char *path = NULL;
    dl_iterate_phdr(note_loader, &path);
    return path;
}

static void print_details(const clg_device_list *list, const clg_device_info *d)
{
    const double MiB = 1024.0 * 1024.0;
    char         profile[256], file[4096];
    const int    tuned = clg_tuning_choices(list, d, file, sizeof file);
    const struct {
        const char *name, *value;
    } texts[] = {{"vendor", d->vendor}, {"driver", d->driver}, {"version", d->version}, {"OpenCL C", d->c_version}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        printf("      %-20s %s\n", texts[i].name, texts[i].value);
    printf("      %-20s %.0f MiB, largest allocation %.0f MiB, local %.0f KiB\n", "memory", (double)d->memory / MiB,
           (double)d->max_allocation / MiB, (double)d->local_memory / 1024.0);
    printf("      %-20s %u compute units at %u MHz, float vectors of %u, work-groups to %zu\n", "compute",
           d->compute_units, d->clock_mhz, d->vector_width, d->max_work_group);
    printf("      %-20s none; the device has", "extensions in use");
    int shown = 0;
    for (size_t i = 0; i < TELLING; i++)
        if (has_extension(d, telling[i])) printf("%s %s", shown++ ? "," : "", telling[i]);
    printf("%s\n", shown ? "" : " none that matter here");
    printf("      %-20s %s\n", "profile", clg_profile_text(&d->profile, profile, sizeof profile));
    printf("      %-20s %s", "GEMM engine", d->gemm_engine);
    if (tuned) printf("; %d choices of clgrad tune in %s\n", tuned, file);
    else printf(", not tuned\n");
    char      entries[4096];
    const int kept = clg_quarantine(list, d, entries, sizeof entries, file, sizeof file);
    if (kept <= 0) printf("      %-20s %s\n", "quarantine", kept ? entries : "nothing");
    for (const char *line = entries, *end; kept > 0 && (end = strchr(line, '\n')); line = end + 1)
        printf("      %-20s %.*s\n", line == entries ? "quarantine" : "", (int)(end - line), line);
}

static void print_tree(const clg_device_list *list, const clg_device_info *marked, bool verbose)
{
    for (size_t p = 0; p < list->platform_count; p++) {
        const clg_platform_info *platform = &list->platforms[p];
        printf("Platform #%zu: %s\n", p, platform->name);
        if (verbose) printf("    %s, %s\n", platform->vendor, platform->version);
        for (size_t i = 0; i < list->device_count; i++) {
            const clg_device_info *d = &list->devices[i];
            if (d->platform != (int)p) continue;
            const bool last = i + 1 == list->device_count || list->devices[i + 1].platform != (int)p;
            printf(" %s-- Device #%d: %s (%d:%d, %s%s)%s\n", last ? "`" : "+", d->device, d->name, d->platform,
                   d->device, clg_device_type_name(d->type), d->available ? "" : ", not available",
                   d == marked ? "  <- default" : "");
            if (verbose) print_details(list, d);
        }
    }
    if (!verbose) return;
    const char *path = loader();
    printf("ICD loader: %s\nEnvironment:\n", path ? path : "linked statically");
    for (size_t i = 0; i < VARIABLES; i++) {
        const char *value = getenv(variables[i]);
        printf("    %-24s %s\n", variables[i], value ? value : "(not set)");
    }
}

static void add_device(cJSON *devices, const clg_device_list *list, const clg_device_info *d,
                       const clg_device_info *marked)
{
    char   id[32], profile[256], file[4096];
    cJSON *object = cJSON_CreateObject();
    snprintf(id, sizeof id, "%d:%d", d->platform, d->device);
    const struct {
        const char *name, *value;
    } texts[] = {{"id", id}, {"name", d->name}, {"type", clg_device_type_name(d->type)}, {"vendor", d->vendor},
                 {"driver", d->driver}, {"version", d->version}, {"c_version", d->c_version},
                 {"profile", clg_profile_text(&d->profile, profile, sizeof profile)}, {"gemm_engine", d->gemm_engine}};
    const struct {
        const char *name;
        double      value;
    } numbers[] = {{"platform", d->platform},
                   {"device", d->device},
                   {"memory", (double)d->memory},
                   {"max_allocation", (double)d->max_allocation},
                   {"local_memory", (double)d->local_memory},
                   {"compute_units", d->compute_units},
                   {"clock_mhz", d->clock_mhz},
                   {"vector_width", d->vector_width},
                   {"tuned", clg_tuning_choices(list, d, file, sizeof file)},
                   {"max_work_group", (double)d->max_work_group}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        cJSON_AddStringToObject(object, texts[i].name, texts[i].value);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        cJSON_AddNumberToObject(object, numbers[i].name, numbers[i].value);
    cJSON_AddBoolToObject(object, "available", d->available);
    cJSON_AddBoolToObject(object, "default", d == marked);
    cJSON *extensions = cJSON_AddArrayToObject(object, "extensions");
    for (size_t i = 0; i < TELLING; i++)
        if (has_extension(d, telling[i])) cJSON_AddItemToArray(extensions, cJSON_CreateString(telling[i]));
    cJSON    *quarantine = cJSON_AddArrayToObject(object, "quarantine");
    char      entries[4096];
    const int kept = clg_quarantine(list, d, entries, sizeof entries, file, sizeof file);
    for (char *line = entries, *end; kept > 0 && (end = strchr(line, '\n')); line = end + 1) {
        *end = '\0';
        cJSON_AddItemToArray(quarantine, cJSON_CreateString(line));
    }
    cJSON_AddItemToArray(devices, object);
}

static int print_json(const clg_device_list *list, const clg_device_info *marked)
{
    cJSON *root = cJSON_CreateObject();
    cJSON *platforms = cJSON_AddArrayToObject(root, "platforms");
    for (size_t p = 0; p < list->platform_count; p++) {
        cJSON *object = cJSON_CreateObject();
        cJSON_AddStringToObject(object, "name", list->platforms[p].name);
        cJSON_AddStringToObject(object, "vendor", list->platforms[p].vendor);
        cJSON_AddStringToObject(object, "version", list->platforms[p].version);
        cJSON_AddItemToArray(platforms, object);
    }
    cJSON *devices = cJSON_AddArrayToObject(root, "devices");
    for (size_t i = 0; i < list->device_count; i++) add_device(devices, list, &list->devices[i], marked);
    const char *path = loader();
    cJSON_AddStringToObject(root, "icd_loader", path ? path : "");
    cJSON *environment = cJSON_AddObjectToObject(root, "environment");
    for (size_t i = 0; i < VARIABLES; i++)
        if (getenv(variables[i])) cJSON_AddStringToObject(environment, variables[i], getenv(variables[i]));
    return report_json(&command_devices, root);
}

static int list_devices(const devices_options *o, const clg_device_list *list)
{
    const command *cmd = &command_devices;
    char           error[1024];
    if (!list) return fail(cmd, "out of memory");
    const clg_device_info *marked =
        clg_device_list_select(list, o->device ? o->device : getenv("CLGRAD_DEVICE"), error, sizeof error);
    if (!marked && list->device_count > 0) return fail(cmd, "%s", error);
    clg_profile profile = marked ? marked->profile : (clg_profile){0};
    if (marked && clg_profile_parse(&profile, getenv("CLGRAD_PROFILE"), error, sizeof error) != CLG_OK)
        return fail(cmd, "%s", error);

    int status = 0;
    if (o->json) status = print_json(list, marked);
    else print_tree(list, marked, o->verbose);
    return status || list->device_count > 0 ? status : fail(cmd, "%s", error);
}

static int run(int argc, char **argv)
{
    devices_options o = {0};
    if (!options_parse(&command_devices, argc, argv, &o)) return EXIT_USAGE;
    clg_device_list *list = clg_device_list_create();
    const int        status = list_devices(&o, list);
    clg_device_list_destroy(&list);
    return status;
}

const command command_devices = {
    "devices", "List the OpenCL devices", options, run,
    "Platforms, devices, and which of them is taken when nothing is said. With -v what matters for training, the "
    "profile that shapes kernels, what clgrad tune has kept, and the environment that drivers listen to.",
    "  clgrad devices -v\n"
    "  clgrad devices --device gpu\n"
    "  CLGRAD_PROFILE=gpu,wg=128 clgrad devices -v\n",
};
