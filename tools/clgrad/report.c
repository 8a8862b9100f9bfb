/* report.c - numbers of an epoch as a bar, a line and a JSON object. */
#include "report.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

double clock_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

bool report_keep(history *h, const epoch_result *r)
{
    if (h->count == h->room) {
        const int64_t  room = h->room ? 2 * h->room : 64;
        history_point *moved = realloc(h->at, (size_t)room * sizeof *moved);
        if (!moved) return false;
        h->at = moved;
        h->room = room;
    }
    h->at[h->count++] = (history_point){r->train_loss, r->test_loss, r->test_accuracy, r->seconds};
    return true;
}

void report_progress(const epoch_result *r, int64_t examples_now, double seconds_now, double loss_now)
{
    static const char bar[] = "##############################";
    const double  share = (double)examples_now / (double)r->examples;
    const double  rate = (double)(examples_now - r->examples_before) / seconds_now;
    const int64_t left = (r->epochs - r->epoch + 1) * r->examples - examples_now;
    const int     width = (int)sizeof bar - 1;
    const int64_t seconds = (int64_t)((double)left / rate);
    printf("\repoch %lld/%lld [%-*.*s] %3.0f%%  %.0f %s/s  loss %.4f  %lld:%02d left \033[K", (long long)r->epoch,
           (long long)r->epochs, width, (int)(share * width), bar, 100.0 * share, rate, r->word, loss_now,
           (long long)seconds / 60, (int)(seconds % 60));
    fflush(stdout);
}

static double examples_per_second(const epoch_result *r) { return (double)(r->examples - r->examples_before) / r->seconds; }

void report_epoch(const epoch_result *r, bool terminal)
{
    char score[64];
    if (r->regression) snprintf(score, sizeof score, "%s R^2 %.4f", r->part, r->test_accuracy);
    else snprintf(score, sizeof score, "%s accuracy %.2f%%", r->part, 100.0 * r->test_accuracy);
    printf("%sepoch %lld/%lld  train loss %.4f  %s loss %.4f  %s  %.0f %s/s%s\n", terminal ? "\r" : "",
           (long long)r->epoch, (long long)r->epochs, r->train_loss, r->part, r->test_loss, score, examples_per_second(r), r->word,
           terminal ? "\033[K" : "");
    fflush(stdout);
}

bool report_log(const epoch_result *r, FILE *log)
{
    const double steps = r->steps ? (double)r->steps : 1.0;
    char         loss[32], score[32];
    snprintf(loss, sizeof loss, "%s_loss", r->part);
    snprintf(score, sizeof score, "%s_%s", r->part, r->regression ? "r2" : "accuracy");
    const struct {
        const char *name;
        double      value;
    } rows[] = {
        {"epoch", (double)r->epoch},
        {"train_loss", r->train_loss},
        {loss, r->test_loss},
        {score, r->test_accuracy},
        {"examples_per_second", examples_per_second(r)},
        {"steps", (double)r->steps},
        {"bytes_to_device_per_step", (double)(r->after.bytes_to_device - r->before.bytes_to_device) / steps},
        {"bytes_from_device_per_step", (double)(r->after.bytes_from_device - r->before.bytes_from_device) / steps},
        {"launches_per_step", (double)(r->after.launches - r->before.launches) / steps},
        {"device_allocations", (double)(r->after.allocations - r->before.allocations)},
        {"program_builds", (double)(r->after.program_builds - r->before.program_builds)},
    };
    cJSON *object = cJSON_CreateObject();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cJSON_AddNumberToObject(object, rows[i].name, rows[i].value);
    char *text = cJSON_PrintUnformatted(object);
    cJSON_Delete(object);
    const long start = ftell(log);
    errno = 0;
    const bool ok = text && fprintf(log, "%s\n", text) > 0;
    const int  reason = errno;
    if (!ok && start >= 0 && ftruncate(fileno(log), start)) clearerr(log);
    cJSON_free(text);
    errno = reason;
    return ok;
}

/* JSON is UTF-8, and the name of a file need not be: a byte that is not becomes half of a surrogate pair, as Python
 * reads it. */
static void put_json(const char *text)
{
    for (const char *fault; (fault = clg_utf8_fault(text, strlen(text))); text = fault + 1)
        printf("%.*s\\udc%02x", (int)(fault - text), text, (unsigned char)*fault);
    puts(text);
}

int report_json(const command *cmd, cJSON *object)
{
    char *text = cJSON_PrintUnformatted(object);
    cJSON_Delete(object);
    if (!text) return fail(cmd, "out of memory");
    put_json(text);
    cJSON_free(text);
    return 0;
}
