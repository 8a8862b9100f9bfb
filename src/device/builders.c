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
    clg__program *job; /* being built, or NULL */
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
    while (program && b->count < wanted && start(&b->each[b->count], program, ctx)) b->each[b->count++].job = NULL;
    free(program);
    return b->count > 0;
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

static bool give(builder *b, clg__program *program)
{
    const clg__job job = {(uint32_t)strlen(program->source) + 1, (uint32_t)program->names.size};
    b->job = program;
    return send_all(b->socket, &job, sizeof job) && send_all(b->socket, program->source, job.source_size) &&
           send_all(b->socket, program->names.data, job.names_size);
}

size_t clg__builders_run(clg_context *ctx, clg__program *const *programs, size_t count, clg__built *done)
{
    size_t next = 0, built = 0, open = 0;
    if (!gather(ctx, count)) return 0;
    clg__builders *b = ctx->builders;
    for (size_t i = b->count; i-- > 0;) {
        if (next < count && give(&b->each[i], programs[next++])) open++;
        else stop(b, i);
    }
    while (open > 0) {
        struct pollfd sockets[MOST_BUILDERS];
        for (size_t i = 0; i < b->count; i++) sockets[i] = (struct pollfd){.fd = b->each[i].socket, .events = POLLIN};
        const int ready = poll(sockets, (nfds_t)b->count, PATIENCE_MS);
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) break;
        for (size_t i = b->count; i-- > 0;) {
            char answer = CLG__NOT_BUILT;
            if (!sockets[i].revents || !b->each[i].job) continue;
            clg__program *program = b->each[i].job;
            const bool    alive = recv(b->each[i].socket, &answer, 1, 0) == 1;
            b->each[i].job = NULL;
            open--;
            if (alive && next < count && give(&b->each[i], programs[next++])) open++;
            else if (!alive || b->each[i].job) stop(b, i);
            if (answer == CLG__BUILT) {
                built++;
                if (done) done(ctx, program); /* while the builders go on */
            }
        }
    }
    if (open > 0) clg__builders_destroy(&ctx->builders); /* no answer: the context goes on alone */
    return built;
}
