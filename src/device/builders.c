/* builders.c - processes that build programs, as many at once as there are processors.
 *
 * Drivers such as pocl hold one lock a process while they compile, and compile a kernel a second time at its first launch:
 * threads gain nothing. So a context with programs to build that the driver has not seen yet starts builders, which build
 * them, launch their kernels once on no data, and leave the results in the driver's cache on disk (on devices other than
 * CPUs also in ours); then the context builds them quickly itself. A builder that fails, or is not there, costs time alone.
 *
 * Builders go when they had nothing to do for a while (builder_main.c) or with their context. CLGRAD_BUILDERS says how
 * many there may be, 0 being none; CLGRAD_BUILDER where the program is. */
#define _GNU_SOURCE /* dladdr */
#include "device/builders.h"
#include "device/cl_types.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum {
    MOST_BUILDERS = 8,
    LEAST_JOBS    = 2,         /* for one program, starting a process costs more than it gains */
    PATIENCE_MS   = 60 * 1000, /* with a builder that does not answer */
};

typedef struct builder {
    pid_t         pid;
    int           socket;
    clg__program *job;  /* being built, or NULL */
    clg__program *last; /* that it was given */
} builder;

struct clg__builders {
    builder each[MOST_BUILDERS];
    size_t  count;
};

/* ---- processes --------------------------------------------------------------------------------------------------- */

/* Beside the library (or the program that it is linked into), else where it is installed. To be freed; NULL: nowhere. */
static char *find_program(void)
{
    static const char here = 0;
    const char       *named = getenv("CLGRAD_BUILDER");
    clg__text         path = {0};
    Dl_info           self;
    if (named) {
        clg__text_append(&path, "%s", named);
    } else if (dladdr(&here, &self) && self.dli_fname && strchr(self.dli_fname, '/')) {
        clg__text_append(&path, "%.*s/clgrad-builder", (int)(strrchr(self.dli_fname, '/') - self.dli_fname), self.dli_fname);
        if (!path.data || access(path.data, X_OK) != 0) {
            clg__text_free(&path);
            clg__text_append(&path, "%s", CLG_BUILDER_PATH);
        }
    }
    if (path.data && access(path.data, X_OK) == 0) return path.data;
    clg__text_free(&path);
    return NULL;
}

static bool start(builder *b, const char *program, const clg_context *ctx)
{
    char  device[32];
    int   pair[2];
    char *argv[] = {(char[]){"clgrad-builder"}, device, NULL};
    snprintf(device, sizeof device, "%d:%d", ctx->info->platform, ctx->info->device);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return false;
    for (int i = 0; i < 2; i++) fcntl(pair[i], F_SETFD, FD_CLOEXEC);

    posix_spawn_file_actions_t files;
    bool                       ok = posix_spawn_file_actions_init(&files) == 0;
    if (ok) {
        ok = posix_spawn_file_actions_adddup2(&files, pair[1], 0) == 0 &&
             posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0) == 0 &&
             posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0) == 0 &&
             posix_spawn(&b->pid, program, &files, NULL, argv, environ) == 0;
        posix_spawn_file_actions_destroy(&files);
    }
    close(pair[1]);
    if (ok) b->socket = pair[0];
    else close(pair[0]);
    return ok;
}

static void stop(clg__builders *builders, size_t i)
{
    builder *b = &builders->each[i];
    close(b->socket);
    kill(b->pid, SIGKILL); /* it has nothing to lose: what it writes, it renames into place */
    while (waitpid(b->pid, NULL, 0) < 0 && errno == EINTR) continue;
    *b = builders->each[--builders->count];
}

void clg__builders_destroy(clg__builders **builders)
{
    if (!*builders) return;
    while ((*builders)->count > 0) stop(*builders, (*builders)->count - 1);
    free(*builders);
    *builders = NULL;
}

static size_t allowed(size_t jobs)
{
    const char  *text = getenv("CLGRAD_BUILDERS");
    const long   online = sysconf(_SC_NPROCESSORS_ONLN);
    const size_t most = text && *text ? strtoul(text, NULL, 10) : online > 1 ? (size_t)online : 0;
    return CLG__MIN(CLG__MIN(most, MOST_BUILDERS), jobs);
}

/* As many builders as there are jobs and processors; those that left for want of work are replaced. */
static bool gather(clg_context *ctx, size_t jobs)
{
    const size_t wanted = allowed(jobs);
    if (wanted == 0 || (!ctx->builders && jobs < LEAST_JOBS)) return false;
    if (!ctx->builders && !(ctx->builders = calloc(1, sizeof *ctx->builders))) return false;
    clg__builders *b = ctx->builders;
    for (size_t i = b->count; i-- > 0;) {
        struct pollfd gone = {.fd = b->each[i].socket, .events = POLLIN};
        if (poll(&gone, 1, 0) != 0) stop(b, i);
    }
    if (b->count == 0 && jobs < LEAST_JOBS) return false;
    char *program = b->count < wanted ? find_program() : NULL;
    while (program && b->count < wanted && start(&b->each[b->count], program, ctx)) b->count++;
    for (size_t i = 0; i < b->count; i++) b->each[i].job = b->each[i].last = NULL;
    free(program);
    return b->count > 0;
}

void clg__builders_warm(clg_context *ctx)
{
    if (ctx->root.cache_dir && clg__cache_is_empty(ctx->root.cache_dir)) gather(ctx, MOST_BUILDERS);
}

/* ---- jobs -------------------------------------------------------------------------------------------------------- */

static bool send_all(int socket, const void *data, size_t size)
{
    const char *from = data;
    while (size > 0) {
        const ssize_t sent = send(socket, from, size, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) return false;
        if (sent > 0) from += sent, size -= (size_t)sent;
    }
    return true;
}

/* The next kernel for b: of the program that it had, of one that nobody has begun, of one that others have built. */
static clg__program *choose(const builder *b, clg__program *const *programs, size_t count)
{
    if (b->last && b->last->built && b->last->sent < b->last->names.size) return b->last;
    for (size_t i = 0; i < count; i++)
        if (!programs[i]->begun) return programs[i];
    for (size_t i = 0; i < count; i++)
        if (programs[i]->built && programs[i]->sent < programs[i]->names.size) return programs[i];
    return NULL;
}

static bool give(builder *b, clg__program *p)
{
    const char    *name = p->names.data + p->sent;
    const clg__job job = {(uint32_t)strlen(p->source) + 1, p->sent < p->names.size ? (uint32_t)strlen(name) + 1 : 0};
    p->sent += job.name_size;
    p->begun = true;
    b->job = b->last = p;
    return send_all(b->socket, &job, sizeof job) && send_all(b->socket, p->source, job.source_size) &&
           send_all(b->socket, name, job.name_size);
}

/* True while some builder works. */
static bool keep_busy(clg__builders *b, clg__program *const *programs, size_t count)
{
    bool busy = false;
    for (size_t i = b->count; i-- > 0;) {
        clg__program *p = b->each[i].job ? NULL : choose(&b->each[i], programs, count);
        if (p && !give(&b->each[i], p)) stop(b, i);
        else busy = busy || b->each[i].job;
    }
    return busy;
}

void clg__builders_run(clg_context *ctx, clg__program *const *programs, size_t count, clg__built *done)
{
    size_t kernels = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t at = 0; at < programs[i]->names.size; at += strlen(programs[i]->names.data + at) + 1) kernels++;
    if (!gather(ctx, kernels)) return;
    clg__builders *b = ctx->builders;
    while (keep_busy(b, programs, count)) {
        struct pollfd sockets[MOST_BUILDERS];
        for (size_t i = 0; i < b->count; i++) sockets[i] = (struct pollfd){.fd = b->each[i].socket, .events = POLLIN};
        const int ready = poll(sockets, (nfds_t)b->count, PATIENCE_MS);
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) {
            clg__builders_destroy(&ctx->builders); /* no answer: the context goes on alone */
            return;
        }
        for (size_t i = b->count; i-- > 0;) {
            char          answer = CLG__NOT_BUILT;
            clg__program *p = b->each[i].job;
            if (!sockets[i].revents || !p) continue;
            if (recv(b->each[i].socket, &answer, 1, 0) == 1) b->each[i].job = NULL;
            else stop(b, i);
            if (answer != CLG__BUILT) continue;
            ctx->built_elsewhere++;
            if (!p->built) done(ctx, p); /* while the builders go on */
            p->built = true;
        }
    }
}
