/* doctor.c - clgrad doctor: does this device compute what it should? What it does not is kept out of use.
 *
 * A driver may crash, in its compiler or in a kernel. So a second process examines, and notes in memory that both share
 * what it begins. When it crashes, another examines case by case, which tells whose fault that is; and one more leaves
 * that out. */
#define _GNU_SOURCE /* strsignal */
#include "keeper.h"
#include "report.h"
#include "source.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif
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
    {"case", OPTION_TEXT, FIELD(only), "NAME",
     "an operator, a check, or one case again, which quarantines nothing: NAME[/VARIANT], as a FAIL says", 0, 0},
    {"seed", OPTION_SEED, FIELD(seed), "S", "of the random values (default: another every time)", 0, 0},
    {"forget", OPTION_FLAG, FIELD(forget), NULL, "examine nothing, and lift what was put in quarantine", 0, 0},
    OPTION_JSON_ROW(FIELD(json)),
    {0},
};

enum { MOST_CRASHES = 64 };

typedef struct watched { /* shared between the processes */
    char what[160]; /* was begun last */
    bool ended;     /* nothing is left to be done */
    bool told;      /* the device, with the first line */
} watched;

typedef struct doctor {
    const doctor_options *options;
    watched              *watched;
    cJSON                *lines;
    bool                  drawn; /* a line of progress */
    const clg_device_info *device;
} doctor;

static clg_doctor_crash crashes[MOST_CRASHES + 1]; /* those so far */

static void tell_device(doctor *d)
{
    if (!d->watched->told) printf("%s, profile %s, %s\n", d->device->name, d->device->profile.base, d->device->driver);
    d->watched->told = true;
    fflush(stdout); /* before what may crash */
}

static void put_word(FILE *to, const char *word)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./:,=+-";
    const bool        quoted = !*word || word[strspn(word, plain)];
    if (quoted) fputc('\'', to);
    for (; *word; word++) fputs(*word == '\'' ? "'\\''" : (char[]){*word, '\0'}, to);
    fputs(quoted ? "' " : " ", to);
}

/* So that the line can be pasted into a shell: with what chooses driver, device and kernels. To be freed. */
static char *replay_text(const doctor_options *o, const char *only)
{
    static const char *const variables[] = {"CLGRAD_CL_DIR",   "CLGRAD_DEVICE", "CLGRAD_PROFILE", "CLGRAD_REWRITE",
                                            "OCL_ICD_VENDORS", "POCL_DEVICES",  "RUSTICL_ENABLE"};
    char          program[PATH_MAX] = "", *text = NULL;
    size_t        size = 0;
    FILE         *to = open_memstream(&text, &size);
    const ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (!to) return NULL;
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
        if (!getenv(variables[i])) continue;
        fprintf(to, "%s=", variables[i]);
        put_word(to, getenv(variables[i]));
    }
    put_word(to, length > 0 ? program : "clgrad");
    fprintf(to, "doctor --seed %llu ", (unsigned long long)o->seed);
    if (o->device) fprintf(to, "--device "), put_word(to, o->device);
    if (*only) fprintf(to, "--case %s", only);
    else if (o->quick) fprintf(to, "--quick");
    fclose(to);
    return text;
}

static void progress(void *user, const char *what)
{
    doctor *d = user;
    snprintf(d->watched->what, sizeof d->watched->what, "%s", what);
    if (d->lines || !isatty(STDOUT_FILENO)) return;
    tell_device(d);
    printf("%s%s ...\033[K", d->drawn ? "\r" : "", what);
    fflush(stdout);
    d->drawn = true;
}

static void print_line(void *user, const clg_doctor_line *line)
{
    doctor *d = user;
    if (d->drawn) printf("\r\033[K");
    d->drawn = false;
    tell_device(d);
    printf("%-5s %-26s", line->crashed ? "CRASH" : line->failed ? "FAIL" : "PASS", line->name);
    if (!line->failed) printf("%6d case%s\n", line->cases, line->cases == 1 ? "" : "s");
    if (!line->failed) return;
    char *replay = replay_text(d->options, line->replay);
    printf("%6d of %d cases\n      %s\n      %s\n", line->failed, line->cases, line->fault, replay ? replay : "");
    free(replay);
}

static void add_line(void *user, const clg_doctor_line *line)
{
    doctor *d = user;
    cJSON  *object = cJSON_CreateObject();
    char   *replay = line->failed ? replay_text(d->options, line->replay) : NULL;
    cJSON_AddStringToObject(object, "name", line->name);
    cJSON_AddNumberToObject(object, "cases", line->cases);
    cJSON_AddNumberToObject(object, "failed", line->failed);
    cJSON_AddBoolToObject(object, "crashed", line->crashed);
    cJSON_AddStringToObject(object, "fault", line->fault);
    cJSON_AddStringToObject(object, "replay", replay ? replay : "");
    cJSON_AddItemToArray(d->lines, object);
    free(replay);
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
        printf("What is in quarantine (%s) is replaced by other kernels, or refused; clgrad doctor --forget lifts "
               "it.\n", file);
    if (r->rejected) printf("%d cases fail even so: please report them.\n", r->rejected);
    return r->failed ? EXIT_RUN : 0;
}

static int examine(doctor d, clg_context *ctx, const char *file)
{
    const doctor_options  *o = d.options;
    const clg_device_info *device = clg_context_device(ctx);
    clg_doctor_result      result;
    d.lines = o->json ? cJSON_CreateArray() : NULL;
    d.device = device;
    const clg_doctor_desc desc = {.seed = o->seed,
                                  .quick = o->quick,
                                  .only = o->only,
                                  .keep = *file != '\0',
                                  .crashes = crashes,
                                  .single = crashes[0].what != NULL,
                                  .user = &d,
                                  .progress = progress,
                                  .report = o->json ? add_line : print_line};
    const clg_status status = clg_doctor_run(ctx, &desc, &result);
    if (status == CLG_INVALID_ARGUMENT || status == CLG_OUT_OF_MEMORY || clg_context_failed(ctx)) {
        cJSON_Delete(d.lines);
        if (status == CLG_INVALID_ARGUMENT && o->only)
            return usage(&command_doctor, "--case: %s", clg_context_error(ctx));
        return fail_context(&command_doctor, ctx);
    }
    const int end = o->json ? print_json(&d, &result, device, file) : print_summary(o, &result, file);
    return status ? fail_context(&command_doctor, ctx) : end; /* what failed could not be kept */
}

static int find_out(void *user, clg_context *ctx, const char *file)
{
    const doctor *d = user;
    const int     status = examine(*d, ctx, file);
    snprintf(d->watched->what, sizeof d->watched->what, "its end");
    return status;
}

static void place(const clg_device_list *list, const clg_device_info *device, char *file, size_t size)
{
    char entries[4096];
    clg_quarantine(list, device, entries, sizeof entries, file, size);
}

static int use_device(const doctor_options *o, watched *w)
{
    doctor       d = {.options = o, .watched = w};
    const keeper k = {.cmd = &command_doctor, .context = {.device = o->device, .quarantine = ""}, .forget = o->forget,
                      .nothing = "nothing is in quarantine", .place = place, .find_out = find_out};
    return keeper_run(&k, &d);
}

/* True when it is worth another try: it is known what crashed, or will be next time. */
static bool note_crash(const watched *w, int status)
{
    static char texts[MOST_CRASHES][2][sizeof w->what];
    size_t      count = 0;
    for (; crashes[count].what; count++)
        if (!strcmp(crashes[count].what, w->what)) return false;
    if (count == MOST_CRASHES) return false;
    snprintf(texts[count][0], sizeof texts[count][0], "%s", w->what);
    if (WIFSIGNALED(status))
        snprintf(texts[count][1], sizeof texts[count][1], "signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else snprintf(texts[count][1], sizeof texts[count][1], "exit status %d", WEXITSTATUS(status));
    crashes[count] = (clg_doctor_crash){texts[count][0], texts[count][1]};
    return true;
}

static bool is_crash(const watched *w, int status)
{
    const int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    return signal ? signal != SIGINT && signal != SIGTERM && signal != SIGHUP && signal != SIGPIPE : !w->ended;
}

static int watch(const doctor_options *o)
{
    watched *w = mmap(NULL, sizeof *w, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int      status = 0;
    pid_t    child = 0;
    if (w == MAP_FAILED) return fail(&command_doctor, "out of memory");
    do {
        snprintf(w->what, sizeof w->what, "the devices");
        fflush(NULL);
        if ((child = fork()) < 0) return fail(&command_doctor, "cannot start a process: %s", strerror(errno));
        if (child == 0) {
#ifdef __linux__
            prctl(PR_SET_PDEATHSIG, SIGTERM);
#endif
            status = use_device(o, w);
            fflush(stdout);
            w->ended = true;
            return status;
        }
        while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    } while (is_crash(w, status) && !w->ended && note_crash(w, status));
    if (is_crash(w, status))
        status = WIFSIGNALED(status) ? fail(&command_doctor, "the driver ended the process by signal %d (%s) at %s",
                                            WTERMSIG(status), strsignal(WTERMSIG(status)), w->what)
                                     : fail(&command_doctor, "the driver ended the process at %s", w->what);
    else status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    munmap(w, sizeof *w);
    return status;
}

static int run(int argc, char **argv)
{
    const command *cmd = &command_doctor;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    doctor_options  o = {.seed = ((uint64_t)now.tv_sec << 10) ^ (uint64_t)now.tv_nsec};
    const uint64_t  drawn = o.seed;
    if (!options_parse(cmd, argc, argv, &o)) return EXIT_USAGE;
    if (o.forget && (o.only || o.json || o.quick || o.seed != drawn))
        return usage(cmd, "--forget examines nothing: leave out the other options");
    return watch(&o);
}

const command command_doctor = {
    "doctor", "Examine whether a device computes what it should", options, run,
    "Every operator and its gradients are compared with references in double precision, by every kernel that the "
    "profile may choose; beside them matrix products, transfers, queues, limits and the program cache. What fails is "
    "put in quarantine: "
    "from then on other kernels take its place, or a network that needs it is refused.",
    "  clgrad doctor --quick\n"
    "  clgrad doctor --case conv2d\n"
    "  clgrad doctor --seed 5 --case conv2d.6/winograd=2\n"
    "  clgrad doctor --forget\n",
};
