/* doctor.c - clgrad doctor: does this device compute what it should? What it does not is kept out of use. */
#include "options.h"
#include "report.h"
#include "source.h"

#include <cjson/cJSON.h>
#include <clgrad/clgrad.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct doctor_options {
    const char *device, *only;
    uint64_t    seed;
    bool        json, quick, forget;
} doctor_options;

#define FIELD(name) offsetof(doctor_options, name)

static const option options[] = {
    OPTION_DEVICE_ROW(FIELD(device)),
    {"quick", OPTION_FLAG, FIELD(quick), NULL, "a few small cases that have every operator and every kernel", 0, 0},
    {"case", OPTION_TEXT, FIELD(only), "NAME", "an operator, a check, or one case again: NAME[/VARIANT], as a FAIL says", 0, 0},
    {"seed", OPTION_SEED, FIELD(seed), "S", "of the random values (default: another every time)", 0, 0},
    {"forget", OPTION_FLAG, FIELD(forget), NULL, "examine nothing, and lift what was put in quarantine", 0, 0},
    OPTION_JSON_ROW(FIELD(json)),
    {0},
};

typedef struct doctor {
    const doctor_options *options;
    cJSON                *lines;
    bool                  drawn; /* a line of progress */
} doctor;

/* So that the line can be pasted into a shell. */
static void replay_text(const doctor_options *o, const char *only, char *text, size_t size)
{
    static const char *const variables[] = {"CLGRAD_CL_DIR", "CLGRAD_DEVICE", "CLGRAD_PROFILE", "CLGRAD_REWRITE"};
    int at = 0;
    text[0] = '\0';
    for (size_t i = 0; i < sizeof variables / sizeof variables[0] && at < (int)size; i++)
        if (getenv(variables[i])) at += snprintf(text + at, size - (size_t)at, "%s='%s' ", variables[i], getenv(variables[i]));
    if (at < (int)size) at += snprintf(text + at, size - (size_t)at, "clgrad doctor --seed %llu", (unsigned long long)o->seed);
    if (o->device && at < (int)size) at += snprintf(text + at, size - (size_t)at, " --device '%s'", o->device);
    if (at < (int)size) snprintf(text + at, size - (size_t)at, *only ? " --case %s" : o->quick ? " --quick" : "", only);
}

static void progress(void *user, const char *what)
{
    doctor *d = user;
    if (d->lines || !isatty(STDOUT_FILENO)) return;
    printf("%s%s ...\033[K", d->drawn ? "\r" : "", what);
    fflush(stdout);
    d->drawn = true;
}

static void print_line(void *user, const clg_doctor_line *line)
{
    doctor *d = user;
    char    replay[1024];
    if (d->drawn) printf("\r\033[K");
    d->drawn = false;
    printf("%s  %-26s", line->failed ? "FAIL" : "PASS", line->name);
    if (!line->failed) printf("%6d case%s\n", line->cases, line->cases == 1 ? "" : "s");
    if (!line->failed) return;
    replay_text(d->options, line->replay, replay, sizeof replay);
    printf("%6d of %d cases\n      %s\n      %s\n", line->failed, line->cases, line->fault, replay);
}

static void add_line(void *user, const clg_doctor_line *line)
{
    doctor *d = user;
    char    replay[1024] = "";
    cJSON  *object = cJSON_CreateObject();
    if (line->failed) replay_text(d->options, line->replay, replay, sizeof replay);
    cJSON_AddStringToObject(object, "name", line->name);
    cJSON_AddNumberToObject(object, "cases", line->cases);
    cJSON_AddNumberToObject(object, "failed", line->failed);
    cJSON_AddStringToObject(object, "fault", line->fault);
    cJSON_AddStringToObject(object, "replay", replay);
    cJSON_AddItemToArray(d->lines, object);
}

static int print_json(doctor *d, const clg_doctor_result *r, const clg_device_info *device, const char *file)
{
    char   profile[256], seed[32];
    cJSON *object = cJSON_CreateObject(), *entries = cJSON_CreateArray();
    cJSON_AddStringToObject(object, "device", device->name);
    cJSON_AddStringToObject(object, "driver", device->driver);
    cJSON_AddStringToObject(object, "profile", clg_profile_text(&device->profile, profile, sizeof profile));
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)d->options->seed); /* more than a double holds */
    cJSON_AddStringToObject(object, "seed", seed);
    cJSON_AddItemToObject(object, "lines", d->lines);
    cJSON_AddNumberToObject(object, "cases", r->cases);
    cJSON_AddNumberToObject(object, "failed", r->failed);
    for (const char *line = r->quarantine, *end; (end = strchr(line, '\n')); line = end + 1) {
        char entry[160];
        snprintf(entry, sizeof entry, "%.*s", (int)(end - line), line);
        cJSON_AddItemToArray(entries, cJSON_CreateString(entry));
    }
    cJSON_AddItemToObject(object, "quarantine", entries);
    cJSON_AddNumberToObject(object, "rejected", r->rejected);
    cJSON_AddStringToObject(object, "file", file);
    const int status = report_json(&command_doctor, object);
    return status ? status : r->failed ? EXIT_RUN : 0;
}

static int print_summary(const doctor_options *o, const clg_doctor_result *r, const char *file)
{
    printf("%d of %d cases failed, seed %llu\n", r->failed, r->cases, (unsigned long long)o->seed);
    for (const char *line = r->quarantine, *end; (end = strchr(line, '\n')); line = end + 1)
        printf("in quarantine: %.*s\n", (int)(end - line), line);
    if (r->quarantine[0])
        printf("What is in quarantine (%s) is replaced by other kernels, or refused; clgrad doctor --forget lifts it.\n", file);
    if (r->rejected) printf("%d cases fail even so: please report them.\n", r->rejected);
    return r->failed ? EXIT_RUN : 0;
}

static int examine(const doctor_options *o, clg_context *ctx, const char *file)
{
    const clg_device_info *device = clg_context_device(ctx);
    clg_doctor_result      result;
    doctor                 d = {.options = o, .lines = o->json ? cJSON_CreateArray() : NULL};
    if (!o->json) printf("%s, profile %s, %s\n", device->name, device->profile.base, device->driver);
    const clg_doctor_desc desc = {.seed = o->seed, .quick = o->quick, .only = o->only, .keep = *file != '\0', .user = &d,
                                  .progress = progress, .report = o->json ? add_line : print_line};
    const clg_status status = clg_doctor_run(ctx, &desc, &result);
    if (status == CLG_INVALID_ARGUMENT || status == CLG_OUT_OF_MEMORY || clg_context_failed(ctx)) {
        cJSON_Delete(d.lines);
        if (status == CLG_INVALID_ARGUMENT && o->only) return usage(&command_doctor, "--case: %s", clg_context_error(ctx));
        return fail_context(&command_doctor, ctx);
    }
    const int end = o->json ? print_json(&d, &result, device, file) : print_summary(o, &result, file);
    return status ? fail_context(&command_doctor, ctx) : end; /* what failed could not be kept */
}

static int run(int argc, char **argv)
{
    const command *cmd = &command_doctor;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    doctor_options  o = {.seed = ((uint64_t)now.tv_sec << 10) ^ (uint64_t)now.tv_nsec};
    const uint64_t  drawn = o.seed;
    char            entries[4096], file[4096];
    if (!options_parse(cmd, argc, argv, &o)) return EXIT_USAGE;
    if (o.forget && (o.only || o.json || o.quick || o.seed != drawn))
        return usage(cmd, "--forget examines nothing: leave out the other options");
    clg_context     *ctx = clg_context_create(&(clg_context_desc){.device = o.device, .quarantine = ""});
    clg_device_list *list = clg_device_list_create();
    int              status = 0;
    if (clg_context_failed(ctx)) {
        status = fail_context(cmd, ctx);
    } else if (!list) {
        status = fail(cmd, "out of memory");
    } else {
        clg_quarantine(list, clg_context_device(ctx), entries, sizeof entries, file, sizeof file);
        if (!o.forget) status = examine(&o, ctx, file);
        else if (remove(file) && errno != ENOENT) status = fail(cmd, "cannot remove %s: %s", file, strerror(errno));
        else printf("nothing of %s is in quarantine\n", clg_context_device(ctx)->name);
    }
    clg_device_list_destroy(&list);
    clg_context_destroy(&ctx);
    return status;
}

const command command_doctor = {
    "doctor", "Examine whether a device computes what it should", options, run,
    "Every operator and its gradients are compared with references in double precision, by every kernel that the profile may "
    "choose; beside them matrix products, transfers, queues, limits and the program cache. What fails is put in quarantine: "
    "from then on other kernels take its place, or a network that needs it is refused.",
    "  clgrad doctor --quick\n"
    "  clgrad doctor --case conv2d\n"
    "  clgrad doctor --seed 5 --case conv2d.6/winograd=2\n"
    "  clgrad doctor --forget\n",
};
